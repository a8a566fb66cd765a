//! The grant policy: how much of a cell's stock the node lets the coordinator promise.
//!
//! The coordinator's word on a stock key goes before its word on the item's segment, that before its word on every item,
//! and the node's own configuration comes last.
//!
//! Must not know: why a floor has its height. That is data.

use std::collections::BTreeMap;

use stockmesh_types::{Quantity, StockKey};

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

/// For which items the coordinator said something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyScope {
    /// ABC class of the item (A, B, C); empty: every item that nothing else is said of.
    Segment(String),
    /// One stock key.
    Key(StockKey),
}

/// A policy that the coordinator set.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct SetPolicy {
    /// Units that stay on display.
    #[prost(int64, tag = "1")]
    pub floor: Quantity,
    /// Units for walk-in sales.
    #[prost(int64, tag = "2")]
    pub walk_in_reserve: Quantity,
    /// Version of the group's policies.
    #[prost(uint64, tag = "3")]
    pub version: u64,
}

impl SetPolicy {
    fn policy(self) -> GrantPolicy {
        GrantPolicy { floor: self.floor, walk_in_reserve: self.walk_in_reserve }
    }
}

/// Everything that says how much stays: as many records as the coordinator set, and the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// What was set.
    pub set: BTreeMap<PolicyScope, SetPolicy>,
    /// For what nothing was set.
    pub configured: GrantPolicy,
}

impl Policies {
    /// The policy of a stock key whose item is of this class.
    #[must_use]
    pub fn of(&self, key: &StockKey, abc_class: &str) -> GrantPolicy {
        if self.set.is_empty() {
            return self.configured;
        }
        let by_key = self.set.get(&PolicyScope::Key(key.clone()));
        let by_class = by_key.or_else(|| self.set.get(&PolicyScope::Segment(abc_class.to_owned())));
        let found = by_class.or_else(|| self.set.get(&PolicyScope::Segment(String::new())));
        found.map_or(self.configured, |set| set.policy())
    }
}

#[cfg(test)]
mod tests {
    use stockmesh_types::ItemId;

    use super::*;

    #[test]
    fn the_most_particular_word_holds() {
        let key = |item: &str| StockKey::of(ItemId::new(item).unwrap());
        let set = |floor| SetPolicy { floor, walk_in_reserve: 1, version: 1 };
        let configured = GrantPolicy { floor: 9, walk_in_reserve: 0 };
        let mut policies = Policies { configured, ..Policies::default() };
        let floor = |policies: &Policies, item: &str, class: &str| policies.of(&key(item), class).floor;
        assert_eq!(floor(&policies, "X", "A"), 9);
        policies.set.insert(PolicyScope::Segment(String::new()), set(1));
        assert_eq!((floor(&policies, "X", "A"), floor(&policies, "X", "")), (1, 1));
        policies.set.insert(PolicyScope::Segment("A".to_owned()), set(2));
        assert_eq!((floor(&policies, "X", "A"), floor(&policies, "X", "B")), (2, 1));
        policies.set.insert(PolicyScope::Key(key("X")), set(3));
        assert_eq!((floor(&policies, "X", "A"), floor(&policies, "Y", "A")), (3, 2));
    }
}
