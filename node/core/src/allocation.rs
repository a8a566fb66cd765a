//! An allocation at the node: work for one order line, and how far it got.
//!
//! `shipped`, `cancelled`, `lost`, `picked` and `packed` are cumulative. A decline is a cancellation with a reason.
//!
//! Must not know: the cell's counters; commands change both together.

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::node::v1::{Task, TaskState};
use stockmesh_types::{AllocationId, LogTime, OrderId, Quantity, StockKey};

/// One allocation. Invariants: `shipped <= packed <= picked <= quantity`, `shipped + cancelled <= quantity`,
/// `lost <= cancelled`.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// Order.
    pub order_id: OrderId,
    /// Order line.
    pub line: u32,
    /// What to ship.
    pub stock_key: StockKey,
    /// Base units.
    pub quantity: Quantity,
    /// Units picked.
    pub picked: Quantity,
    /// Units packed.
    pub packed: Quantity,
    /// Units shipped.
    pub shipped: Quantity,
    /// Units cancelled, declines included.
    pub cancelled: Quantity,
    /// Part of `cancelled` that was lost.
    pub lost: Quantity,
    /// Where it goes.
    pub ship_to: Option<common::Place>,
    /// When the node took it on.
    pub accepted_time: LogTime,
    /// Its place in the order in which work was taken on, from 1.
    pub number: u64,
    /// How it is handled.
    pub handling: Handling,
}

/// How an allocation is handled, beside its progress. Written to the store as it is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Handling {
    /// Transfer that it belongs to; empty: it is for a customer.
    #[prost(string, tag = "1")]
    pub transfer_id: String,
    /// Node that it goes to; empty: to a customer.
    #[prost(string, tag = "2")]
    pub destination_node: String,
    /// The customer takes a substitute.
    #[prost(bool, tag = "3")]
    pub allow_substitution: bool,
    /// Wave that it is in; 0: none.
    #[prost(uint64, tag = "4")]
    pub wave: u64,
    /// Pickup that it is set aside for; empty: none.
    #[prost(string, tag = "5")]
    pub pickup_id: String,
}

impl Allocation {
    /// Work as it is taken on.
    #[must_use]
    pub fn taken_on(
        order_id: OrderId,
        line: u32,
        stock_key: StockKey,
        quantity: Quantity,
        accepted_time: LogTime,
        number: u64,
    ) -> Self {
        Self {
            order_id,
            line,
            stock_key,
            quantity,
            picked: 0,
            packed: 0,
            shipped: 0,
            cancelled: 0,
            lost: 0,
            ship_to: None,
            accepted_time,
            number,
            handling: Handling::default(),
        }
    }

    /// Units that may still be shipped or cancelled.
    #[must_use]
    pub fn left(&self) -> Quantity {
        self.quantity - self.shipped - self.cancelled
    }

    /// Units that are neither picked nor cancelled.
    #[must_use]
    pub fn to_pick(&self) -> Quantity {
        (self.quantity - self.cancelled - self.picked).max(0)
    }

    /// Stage, as people see it.
    #[must_use]
    pub fn state(&self) -> TaskState {
        if self.cancelled == self.quantity {
            TaskState::Cancelled
        } else if self.left() == 0 {
            TaskState::Shipped
        } else if self.shipped > 0 {
            TaskState::PartiallyShipped
        } else if self.packed > 0 {
            TaskState::Packed
        } else if self.picked > 0 {
            TaskState::Picking
        } else {
            TaskState::Accepted
        }
    }

    /// As answered to callers.
    #[must_use]
    pub fn task(&self, id: AllocationId) -> Task {
        Task {
            allocation: Some(id.into()),
            order_id: self.order_id.to_string(),
            line: self.line,
            stock_key: Some((&self.stock_key).into()),
            quantity: self.quantity,
            picked: self.picked,
            packed: self.packed,
            shipped: self.shipped,
            cancelled: self.cancelled,
            lost: self.lost,
            state: self.state().into(),
            ship_to: self.ship_to.clone(),
            accepted_time_ms: self.accepted_time.0,
            transfer_id: self.handling.transfer_id.clone(),
            destination_node: self.handling.destination_node.clone(),
            // Holds are of the order: the state adds them.
            hold_reason: String::new(),
            wave: self.handling.wave,
            pickup_id: self.handling.pickup_id.clone(),
            allow_substitution: self.handling.allow_substitution,
        }
    }
}

#[cfg(test)]
mod tests {
    use stockmesh_types::ItemId;

    use super::*;

    #[test]
    fn stages_follow_the_counters() {
        // quantity, picked, packed, shipped, cancelled
        let cases = [
            ((5, 0, 0, 0, 0), TaskState::Accepted),
            ((5, 1, 0, 0, 0), TaskState::Picking),
            ((5, 5, 5, 0, 0), TaskState::Packed),
            ((5, 5, 5, 2, 0), TaskState::PartiallyShipped),
            ((5, 5, 5, 2, 2), TaskState::PartiallyShipped),
            ((5, 5, 5, 3, 2), TaskState::Shipped),
            ((5, 5, 5, 5, 0), TaskState::Shipped),
            ((5, 5, 0, 0, 5), TaskState::Cancelled),
        ];
        for ((quantity, picked, packed, shipped, cancelled), state) in cases {
            let allocation = Allocation {
                order_id: OrderId::new("o-1").unwrap(),
                line: 1,
                stock_key: StockKey::of(ItemId::new("A").unwrap()),
                quantity,
                picked,
                packed,
                shipped,
                cancelled,
                lost: 0,
                ship_to: None,
                accepted_time: LogTime(0),
                number: 1,
                handling: Handling::default(),
            };
            assert_eq!(allocation.state(), state);
        }
    }
}
