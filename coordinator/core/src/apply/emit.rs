//! Emitting: what the coordinator tells nodes and finance, chained per destination.
//!
//! Heads are part of the state, so that every replica makes the same entries with the same hashes.

use stockmesh_proto::common::v1::{AllocationId, CancelReason};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{CancellationRequested, EntryBody, OrderLineCancelled, RightsReturned};

use super::Tx;
use crate::answer::Emitted;

impl Tx<'_> {
    /// Appends a fact to the feed of one destination.
    pub(crate) fn emit(&mut self, destination: u32, fact: Fact) {
        // Nothing but InitializeGroup runs without a group, and it sets the group first.
        let Some(group) = self.state.group.as_ref() else { return };
        let body = EntryBody {
            time_ms: self.state.log_time.0,
            business_date: self.date.clone(),
            principal: self.principal.clone(),
            request_id: self.request_id.clone(),
            group: group.group.0,
            incarnation: group.incarnation.0,
            fact: Some(fact),
        };
        let record = &mut self.state.destinations[destination];
        let entry = record.head.append(&record.feed, &body);
        self.effects.extend_from_slice(&entry.hash);
        self.applied.emitted.push(Emitted { destination: record.name.clone(), entry });
    }

    /// Appends a fact to the feed of every finance.
    pub(crate) fn emit_finance(&mut self, fact: &Fact) {
        let finance = self.state.group.as_ref().map(|group| group.finance.clone()).unwrap_or_default();
        for destination in finance {
            self.emit(destination, fact.clone());
        }
    }

    /// Tells finance that units of a line will not be supplied.
    pub(crate) fn emit_line_cancelled(&mut self, line: u32, reason: CancelReason) {
        let record = self.state.lines[line];
        let fact = Fact::OrderLineCancelled(OrderLineCancelled {
            order_id: self.state.orders[record.order].id.to_string(),
            line: record.line,
            cancelled_total: record.cancelled,
            reason: reason.into(),
        });
        self.emit_finance(&fact);
    }

    /// Asks a node to cancel, up to the allocation's `requested`.
    pub(crate) fn emit_cancellation(&mut self, allocation: u32, reason: CancelReason) {
        let record = self.state.allocations[allocation];
        let destination = self.state.nodes[record.node].destination;
        let fact = Fact::CancellationRequested(CancellationRequested {
            allocation: Some(AllocationId::from(record.id)),
            requested_total: record.requested,
            reason: reason.into(),
        });
        self.emit(destination, fact);
    }

    /// Tells nodes what rights they have back: once for each cell that changed, with the total (transition 8).
    pub(crate) fn emit_returned(&mut self) {
        let mut cells = std::mem::take(&mut self.returned);
        for (key, node) in cells.drain(..) {
            let Some(cell) = self.state.cell(key, node) else { continue };
            let (returned_total, record) = (cell.returned, &self.state.nodes[node]);
            let fact = Fact::RightsReturned(RightsReturned {
                epoch: record.epoch,
                stock_key: Some((&self.state.keys[key].key).into()),
                returned_total,
            });
            let destination = record.destination;
            self.emit(destination, fact);
        }
        self.returned = cells;
    }
}
