//! The backorder queue of a stock key: lines that wait, in the order in which their orders were committed.
//!
//! `ready` names the keys where a waiting line can use free rights, so that nobody has to search for them.

use stockmesh_proto::common::v1::CancelReason;
use stockmesh_types::Quantity;

use crate::State;
use crate::apply::Tx;
use crate::records::{KeyRecord, LineRecord, NONE};

impl State {
    /// A node declined part of this line: it is not asked again for it.
    pub(crate) fn excludes(&self, line: &LineRecord, node: u32) -> bool {
        self.allocations_of_line(line).any(|allocation| allocation.declined && allocation.node == node)
    }

    fn allocations_of_line(&self, line: &LineRecord) -> impl Iterator<Item = &crate::records::AllocationRecord> {
        let mut next = line.first_allocation;
        std::iter::from_fn(move || {
            if next == NONE {
                return None;
            }
            let allocation = &self.allocations[next];
            next = allocation.next_of_line;
            Some(allocation)
        })
    }

    /// A waiting line of this key can use free rights. Lines that exclude no node can use all of them.
    pub(crate) fn is_ready(&self, key: u32) -> bool {
        let record = &self.keys[key];
        self.free_of_key(record) > 0
            && (record.waiting.len() > record.waiting_excluding as usize
                || record.waiting.iter().any(|(line, ())| self.usable(record, &self.lines[*line]) > 0))
    }

    /// Free units of a stock key that a line may use.
    pub(crate) fn usable(&self, key: &KeyRecord, line: &LineRecord) -> Quantity {
        if !line.excludes {
            return self.free_of_key(key);
        }
        // Each node counts once, however often it declined.
        let mut nodes: Vec<u32> =
            self.allocations_of_line(line).filter(|allocation| allocation.declined).map(|a| a.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        // Those of fenced nodes are left out already.
        nodes.retain(|node| !self.is_fenced(*node));
        let excluded: Quantity = nodes.iter().filter_map(|node| key.cells.get(node)).map(|cell| cell.free()).sum();
        self.free_of_key(key) - excluded
    }
}

impl Tx<'_> {
    /// Changes how much of a line waits.
    pub(crate) fn set_waiting(&mut self, line: u32, waiting: Quantity) {
        let record = &mut self.state.lines[line];
        let (before, key, excludes) = (record.waiting, record.key, u32::from(record.excludes));
        record.waiting = waiting;
        let record = &mut self.state.keys[key];
        record.waiting_total += waiting - before;
        self.state.waiting_units += waiting - before;
        match (before > 0, waiting > 0) {
            (false, true) => {
                record.waiting.insert(line, ());
                record.waiting_excluding += excludes;
            }
            (true, false) => {
                record.waiting.remove(&line);
                record.waiting_excluding -= excludes;
            }
            (false, false) | (true, true) => {}
        }
        if before != waiting {
            self.touch(key);
        }
        self.refresh_ready(key);
        self.touch_claims(key);
    }

    /// From now on the line excludes a node: it can't use every cell of its key.
    pub(crate) fn set_excludes(&mut self, line: u32) {
        let record = &mut self.state.lines[line];
        if !std::mem::replace(&mut record.excludes, true) && record.waiting > 0 {
            let key = record.key;
            self.state.keys[key].waiting_excluding += 1;
            self.refresh_ready(key);
        }
    }

    /// Notes whether a waiting line of this key can use free rights.
    pub(crate) fn refresh_ready(&mut self, key: u32) {
        if self.state.is_ready(key) {
            if self.state.ready.get(&key).is_none() {
                self.state.ready.insert(key, ());
            }
        } else if !self.state.ready.is_empty() {
            self.state.ready.remove(&key);
        }
        self.refresh_substitutable(key);
    }

    /// Units of a line that a node will not ship are sourced anew: they wait in the queue, at the place of their order.
    /// An order that does not wait has those cancelled that nothing covers now.
    pub(crate) fn source_anew(&mut self, line: u32, units: Quantity) {
        if units == 0 {
            return;
        }
        let record = self.state.lines[line];
        let mut waits = units;
        if self.state.transfer_of_order(record.order).is_some() {
            // Its source is part of what was asked: no other node can stand in.
            waits = 0;
        } else if self.state.orders[record.order].cancels_shortage {
            let key = &self.state.keys[record.key];
            let covered = (self.state.usable(key, &record) - key.waiting_total).max(0);
            waits = units.min(covered);
        }
        self.set_waiting(line, record.waiting + waits);
        self.cancel_for_good(line, units - waits, CancelReason::Shortage);
    }

    /// Units of a line that will not be supplied: they are out of the order, and finance is told.
    /// They must have left the queue and every allocation before.
    pub(crate) fn cancel_for_good(&mut self, line: u32, units: Quantity, reason: CancelReason) {
        if units == 0 {
            return;
        }
        self.state.lines[line].cancelled += units;
        let order = self.state.lines[line].order;
        self.close_units(order, units);
        // Finance knows orders of customers; a transfer's goods stay where they are.
        if self.state.transfer_of_order(order).is_none() {
            self.emit_line_cancelled(line, reason);
        }
    }

    /// Units of an order that shipped or were cancelled; the last ones close it.
    pub(crate) fn close_units(&mut self, order: u32, units: Quantity) {
        let record = &mut self.state.orders[order];
        record.open_units -= units;
        let closed = record.open_units == 0 && units > 0;
        if let Some(transfer) = self.state.transfer_of_order(order) {
            self.transfers.push(transfer);
        } else if closed {
            self.state.open_orders -= 1;
        }
    }
}
