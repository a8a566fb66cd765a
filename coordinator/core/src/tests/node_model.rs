//! A node as the specification's words say, and nothing more: the naive partner of the core under test.

use std::collections::BTreeMap;

use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{self as feed, EntryBody, FeedEntry};
use stockmesh_types::{AllocationId, FeedId, Incarnation};

use super::world::{key, node_feed};

#[derive(Clone, Debug, Default)]
pub struct Work {
    pub item: String,
    pub order: (String, u32),
    pub quantity: i64,
    pub shipped: i64,
    pub cancelled: i64,
    pub lost: i64,
}

/// A cell at the node.
#[derive(Clone, Debug, Default)]
pub struct Stock {
    pub on_hand: i64,
    pub granted: i64,
    pub returned: i64,
    pub consumed: i64,
    pub level: i64,
}

impl Stock {
    pub fn outstanding(&self) -> i64 {
        self.granted - self.returned - self.consumed
    }
    fn retained(&self) -> i64 {
        self.on_hand - self.outstanding()
    }
}

/// The node.
pub struct Node {
    pub name: String,
    pub stock: BTreeMap<String, Stock>,
    pub work: BTreeMap<(u32, u64, u32), Work>,
    pub head: Head,
    pub entries: Vec<FeedEntry>,
    /// Of the coordinator's feed to it.
    pub cursor: Head,
}

impl Node {
    pub fn new(name: String) -> Self {
        let (stock, work) = (BTreeMap::new(), BTreeMap::new());
        Self { name, stock, work, head: Head::START, entries: Vec::new(), cursor: Head::START }
    }

    fn say(&mut self, fact: Fact) {
        let body = EntryBody { fact: Some(fact), ..EntryBody::default() };
        self.entries.push(self.head.append(&FeedId::from(&node_feed(&self.name, 1)), &body));
    }

    /// Tells of a shortfall at every change of its level.
    fn report(&mut self, item: &str) {
        let Some(stock) = self.stock.get_mut(item) else { return };
        let level = (stock.outstanding() - stock.on_hand).max(0);
        if level == stock.level {
            return;
        }
        stock.level = level;
        let returned_total = stock.returned;
        self.say(Fact::ShortfallReported(feed::ShortfallReported {
            stock_key: Some(key(item)),
            level,
            returned_total,
        }));
    }

    pub fn adjust(&mut self, item: &str, delta: i64) {
        let stock = self.stock.entry(item.to_owned()).or_default();
        let delta = delta.max(-stock.on_hand);
        stock.on_hand += delta;
        let adjusted = feed::StockAdjusted { stock_key: Some(key(item)), delta, ..Default::default() };
        self.say(Fact::StockAdjusted(adjusted));
        self.report(item);
    }

    pub fn grant(&mut self, item: &str, units: i64) {
        let stock = self.stock.entry(item.to_owned()).or_default();
        let units = units.min(stock.retained());
        if units > 0 {
            stock.granted += units;
            let granted_total = stock.granted;
            self.say(Fact::RightsGranted(feed::RightsGranted { stock_key: Some(key(item)), granted_total }));
        }
    }

    pub fn sell(&mut self, item: &str, units: i64) {
        let stock = self.stock.entry(item.to_owned()).or_default();
        stock.on_hand -= units.min(stock.retained()).max(0);
    }

    pub fn nth_work(&self, n: usize) -> Option<(u32, u64, u32)> {
        let open: Vec<_> = self
            .work
            .iter()
            .filter(|(_, work)| work.quantity > work.shipped + work.cancelled)
            .map(|(id, _)| *id)
            .collect();
        if open.is_empty() { None } else { Some(open[n % open.len()]) }
    }

    pub fn ship(&mut self, id: (u32, u64, u32), units: i64) {
        let work = self.work.get_mut(&id).unwrap();
        let stock = self.stock.get_mut(&work.item).unwrap();
        let units = units.min(work.quantity - work.shipped - work.cancelled).min(stock.on_hand);
        if units == 0 {
            return;
        }
        work.shipped += units;
        stock.on_hand -= units;
        stock.consumed += units;
        let line =
            feed::ShipmentLine { allocation: Some(wire_id(id)), shipped_total: work.shipped, ..Default::default() };
        self.say(Fact::ShipmentDispatched(feed::ShipmentDispatched { lines: vec![line], ..Default::default() }));
    }

    pub fn decline(&mut self, id: (u32, u64, u32), units: i64, lost: bool) {
        let work = self.work.get_mut(&id).unwrap();
        let stock = self.stock.get_mut(&work.item).unwrap();
        let units = units.min(work.quantity - work.shipped - work.cancelled);
        work.cancelled += units;
        if lost {
            work.lost += units;
            stock.on_hand = (stock.on_hand - units).max(0);
        }
        let (item, cancelled_total, lost_total) = (work.item.clone(), work.cancelled, work.lost);
        let allocation = Some(wire_id(id));
        self.say(Fact::AllocationDeclined(feed::AllocationDeclined {
            allocation,
            cancelled_total,
            lost_total,
            ..Default::default()
        }));
        self.report(&item);
    }

    /// An entry of the coordinator's feed arrives: the next one, one that came before, or one too far ahead.
    pub fn receive(&mut self, entry: &FeedEntry) {
        let feed = FeedId { participant: "coordinator/1".into(), destination: format!("node/{}", self.name), epoch: 1 };
        let Ok(Some(body)) = self.cursor.accept(&feed, entry) else { return };
        match body.fact.unwrap() {
            Fact::AllocationOpened(opened) => {
                let item = opened.stock_key.unwrap().item;
                let order = (opened.order_id, opened.line);
                let work = Work { item, order, quantity: opened.quantity, ..Work::default() };
                assert!(self.work.insert(model_id(opened.allocation.unwrap()), work).is_none(), "an id came twice");
            }
            Fact::CancellationRequested(request) => {
                let id = model_id(request.allocation.unwrap());
                let work = self.work.get_mut(&id).unwrap();
                let open = work.quantity - work.shipped - work.cancelled;
                work.cancelled += (request.requested_total - work.cancelled).clamp(0, open);
                let (cancelled_total, lost_total) = (work.cancelled, work.lost);
                self.say(Fact::CancellationAnswered(feed::CancellationAnswered {
                    allocation: Some(wire_id(id)),
                    requested_total: request.requested_total,
                    cancelled_total,
                    lost_total,
                }));
            }
            Fact::RightsReturned(returned) => {
                let item = returned.stock_key.unwrap().item;
                let stock = self.stock.get_mut(&item).unwrap();
                stock.returned = stock.returned.max(returned.returned_total);
                self.report(&item);
            }
            Fact::ItemRanged(_) => {}
            other => panic!("not for a node: {other:?}"),
        }
    }
}

fn model_id(id: wire::AllocationId) -> (u32, u64, u32) {
    (id.incarnation, id.log_index, id.n)
}

fn wire_id((incarnation, log_index, n): (u32, u64, u32)) -> wire::AllocationId {
    wire::AllocationId { incarnation, log_index, n }
}

/// The id of a piece of work, as the core has it.
pub fn allocation_id((incarnation, log_index, n): (u32, u64, u32)) -> AllocationId {
    AllocationId { incarnation: Incarnation(incarnation), log_index, n }
}
