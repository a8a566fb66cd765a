//! What is over is cleared away by the command that ended it: pickups that wait for nothing, waves with nothing to pick, holds of
//! orders with nothing to ship.
//!
//! Must not know: which command it was.

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{FulfillmentResumed, PickupClosed, PickupOutcome};
use stockmesh_types::{OrderId, Quantity};

use super::OutboundKey;
use crate::allocation::Allocation;
use crate::draft::Draft;

impl Draft<'_> {
    /// Clears away what the allocations touched so far were the last of.
    pub(crate) fn clear_away(&mut self) {
        for allocation in self.touched_allocations() {
            self.clear_wave(&allocation);
            if allocation.left() == 0 {
                self.clear_pickup(&allocation);
                self.clear_hold(&allocation);
            }
        }
    }

    fn peek_wire(&self, id: &Option<stockmesh_proto::common::v1::AllocationId>) -> Option<Allocation> {
        self.peek_allocation(stockmesh_proto::convert::allocation_id(id, "allocation").ok()?)
    }

    fn clear_wave(&mut self, allocation: &Allocation) {
        let number = allocation.handling.wave;
        if number == 0 || allocation.to_pick() > 0 {
            return;
        }
        let Some(wave) = self.outbound.wave(&number).cloned() else { return };
        let to_pick: Quantity = wave
            .lines
            .iter()
            .filter_map(|line| self.peek_wire(&line.allocation))
            .map(|allocation| allocation.to_pick())
            .sum();
        if to_pick == 0 {
            self.outbound.remove(OutboundKey::Wave(number));
        }
    }

    fn clear_pickup(&mut self, allocation: &Allocation) {
        let Ok(id) = OrderId::new(&allocation.handling.pickup_id) else { return };
        let Some(pickup) = self.outbound.pickup(&id).cloned() else { return };
        let work: Vec<Allocation> = pickup.lines.iter().filter_map(|line| self.peek_wire(&line.allocation)).collect();
        if work.iter().any(|allocation| allocation.left() > 0) {
            return;
        }
        let outcome = if work.iter().any(|allocation| allocation.shipped > 0) {
            PickupOutcome::HandedOver
        } else if pickup.expires_time_ms <= self.meta.time.0 {
            PickupOutcome::Expired
        } else {
            PickupOutcome::Cancelled
        };
        self.outbound.remove(OutboundKey::Pickup(id.clone()));
        self.say(Fact::PickupClosed(PickupClosed { pickup_id: id.to_string(), outcome: outcome.into() }));
    }

    fn clear_hold(&mut self, allocation: &Allocation) {
        let order = &allocation.order_id;
        if self.outbound.hold(order).is_none() || !self.open_of_order(order).is_empty() {
            return;
        }
        self.outbound.remove(OutboundKey::Hold(order.clone()));
        self.say(Fact::FulfillmentResumed(FulfillmentResumed { order_id: order.to_string() }));
    }
}
