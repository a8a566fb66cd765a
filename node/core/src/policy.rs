//! The grant policy: how much of a cell's stock the node lets the coordinator promise.
//!
//! Must not know: why a floor has its height. That is data, from the node's configuration.

use stockmesh_types::Quantity;

/// Units of each cell that stay with the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantPolicy {
    /// Units that stay on display. 0 for a warehouse or 3PL.
    pub floor: Quantity,
    /// Walk-in sales that are expected until the next delivery.
    pub walk_in_reserve: Quantity,
}

impl GrantPolicy {
    /// What `outstanding` should be with `on_hand` units: `max(0, on_hand - floor - walk_in_reserve)`.
    #[must_use]
    pub fn target(&self, on_hand: Quantity) -> Quantity {
        (on_hand - self.floor - self.walk_in_reserve).max(0)
    }
}
