//! Shortfalls: promises are broken, latest first, by asking the node to cancel them (transition 9).
//!
//! `cell` has taken what was free; what is still owed is asked back here. The units of a broken promise are sourced anew
//! only after the node's answer: until then they may still ship.

use stockmesh_proto::common::v1::CancelReason;
use stockmesh_types::Quantity;

use crate::apply::{Stop, Tx};
use crate::records::{AllocationRecord, NONE};

impl Tx<'_> {
    /// Asks for what the cell owes, as far as this command may; the rest stays in `shortfalls` for the next step.
    /// Gives the units asked.
    pub(crate) fn break_promises(&mut self, key: u32, node: u32) -> Result<Quantity, Stop> {
        let Some(cell) = self.state.cell(key, node) else { return Ok(0) };
        let (mut owed, mut next) = (cell.deficit(), cell.last_open);
        if owed == 0 && self.state.shortfalls.is_empty() {
            return Ok(0);
        }
        // Reservations first: what is held here for promises broken elsewhere.
        if owed > 0 && cell.held > 0 {
            owed -= self.release_holds(key, node, owed)?;
        }
        let mut asked = 0;
        let mut broken = Vec::new();
        while owed > 0 && next != NONE {
            let record = self.state.allocations[next];
            let units = record.unasked().min(owed);
            if units > 0 {
                if self.may_ask == 0 {
                    break;
                }
                self.may_ask -= 1;
                self.state.allocations[next].ask_broken += units;
                self.request(next, CancelReason::PromiseBroken);
                broken.push(next);
                owed -= units;
                asked += units;
            }
            next = record.earlier_in_cell;
        }
        if asked > 0 {
            self.change_cell(key, node, |cell| cell.asked += asked)?;
        }
        for allocation in broken {
            self.fit_substitutes(allocation)?;
        }
        let held = self.state.cell(key, node).is_some_and(|cell| cell.held > 0);
        if owed > 0 && (next != NONE || held) {
            self.state.shortfalls.insert((key, node), ());
        } else {
            self.state.shortfalls.remove(&(key, node));
        }
        Ok(asked)
    }

    /// Asks the node for what is asked of an allocation now. The total only grows, whatever the node cancelled meanwhile.
    pub(crate) fn request(&mut self, allocation: u32, reason: CancelReason) {
        let record: &mut AllocationRecord = &mut self.state.allocations[allocation];
        let wanted = record.cancelled + (record.ask_customer + record.ask_broken).min(record.open());
        record.requested = record.requested.max(wanted);
        self.emit_cancellation(allocation, reason);
    }
}
