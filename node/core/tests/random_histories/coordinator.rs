//! A small, correct coordinator for one node: what it promises, asks and gives back is what promise rights allow.

use std::collections::{BTreeMap, VecDeque};

use stockmesh_node_core::command::Work;
use stockmesh_proto::convert;
use stockmesh_proto::feed::v1::entry_body::Fact;

use crate::ITEMS;
use crate::common::*;

/// What the coordinator keeps of one item.
#[derive(Clone, Default, Debug)]
pub struct Rights {
    pub granted: i64,
    pub returned: i64,
    pub shipped: i64,
    pub aim: i64,
}

#[derive(Clone, Debug)]
pub struct Promised {
    pub item: usize,
    pub quantity: i64,
    pub shipped: i64,
    pub cancelled: i64,
    pub lost: i64,
    pub requested: i64,
}

/// A correct coordinator for one node.
#[derive(Default)]
pub struct Coordinator {
    pub rights: [Rights; 2],
    pub allocations: BTreeMap<u64, Promised>,
    pub heard: usize,
    pub outbox: VecDeque<Work>,
}

impl Coordinator {
    pub fn free(&self, item: usize) -> i64 {
        let Rights { granted, returned, shipped, aim: _ } = self.rights[item];
        let open: i64 =
            self.allocations.values().filter(|a| a.item == item).map(|a| a.quantity - a.shipped - a.cancelled).sum();
        granted - returned - shipped - open
    }

    pub fn promise(&mut self, item: usize, quantity: i64) {
        if self.free(item) < quantity {
            return;
        }
        let n = self.allocations.len() as u64 + 1;
        let promised = Promised { item, quantity, shipped: 0, cancelled: 0, lost: 0, requested: 0 };
        self.allocations.insert(n, promised);
        self.outbox.push_back(opened(n, &format!("o-{n}"), ITEMS[item], quantity));
    }

    pub fn request_cancel(&mut self, n: u64, units: i64) {
        let Some(allocation) = self.allocations.get_mut(&n) else { return };
        let requested = (allocation.requested.max(allocation.cancelled) + units).min(allocation.quantity);
        if requested > allocation.requested {
            allocation.requested = requested;
            self.outbox.push_back(cancel(n, requested));
        }
    }

    pub fn give_back(&mut self, item: usize, units: i64) {
        if units > 0 && self.free(item) >= units {
            self.rights[item].returned += units;
            self.outbox.push_back(take_back(ITEMS[item], self.rights[item].returned));
        }
    }

    /// While less was returned than lost or short, whatever is free is returned, and promises are broken for the rest.
    fn work_off(&mut self, item: usize) {
        let missing = self.rights[item].aim - self.rights[item].returned;
        let from_free = missing.min(self.free(item)).max(0);
        self.give_back(item, from_free);
        let mut missing = self.rights[item].aim - self.rights[item].returned;
        for n in self.allocations.keys().rev().copied().collect::<Vec<_>>() {
            let a = &self.allocations[&n];
            if missing <= 0 {
                break;
            }
            if a.item == item {
                // What was asked and has shipped meanwhile came too late: it is asked of another one.
                let left = a.quantity - a.shipped - a.cancelled;
                let asked_already = (a.requested - a.cancelled).clamp(0, left);
                let more = (left - asked_already).min(missing - asked_already).max(0);
                missing -= asked_already + more;
                self.request_cancel(n, more);
            }
        }
    }

    pub fn hear(&mut self, fact: &Fact) {
        let number = |id: &Option<stockmesh_proto::common::v1::AllocationId>| {
            convert::allocation_id(id, "allocation").unwrap().log_index
        };
        let item_of = |key: &Option<stockmesh_proto::common::v1::StockKey>| {
            let key = convert::stock_key(key, "stock_key").unwrap();
            ITEMS.iter().position(|item| *item == key.item.as_str()).unwrap()
        };
        match fact {
            Fact::RightsGranted(f) => {
                let rights = &mut self.rights[item_of(&f.stock_key)];
                rights.granted = rights.granted.max(f.granted_total);
            }
            Fact::ShipmentDispatched(f) => {
                for line in &f.lines {
                    let a = self.allocations.get_mut(&number(&line.allocation)).unwrap();
                    self.rights[a.item].shipped += line.shipped_total - a.shipped;
                    a.shipped = line.shipped_total;
                }
            }
            Fact::AllocationDeclined(f) => self.cancelled(number(&f.allocation), f.cancelled_total, f.lost_total),
            Fact::CancellationAnswered(f) => self.cancelled(number(&f.allocation), f.cancelled_total, f.lost_total),
            Fact::ShortfallReported(f) => self.rights[item_of(&f.stock_key)].aim = f.level + f.returned_total,
            _ => {}
        }
        (0..ITEMS.len()).for_each(|item| self.work_off(item));
    }

    fn cancelled(&mut self, n: u64, cancelled: i64, lost: i64) {
        let a = self.allocations.get_mut(&n).unwrap();
        a.cancelled = a.cancelled.max(cancelled);
        let newly_lost = lost - a.lost;
        a.lost = lost;
        let item = a.item;
        // Lost units go to `returned` in the same entry, never through free.
        self.give_back(item, newly_lost);
    }
}
