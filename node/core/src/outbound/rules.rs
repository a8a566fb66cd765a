//! What a node's owner allows its people to do by themselves.
//!
//! Must not know: where it is configured.

use stockmesh_types::{Currency, Quantity};

/// Rules of a node, from its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Milliseconds after it was taken on in which work may be rejected because of the site (no capacity, closed); `None`: at any
    /// time.
    pub reject_within_ms: Option<i64>,
    /// Refunds that may be paid without asking: currency, and minor units on one business date. `None`: none.
    pub refund_offline: Option<(Currency, i64)>,
    /// Milliseconds that goods wait for a customer where a pickup does not say.
    pub pickup_wait_ms: i64,
    /// How far the weight of a weighed item may be from what was ordered, parts per million.
    pub weight_tolerance_ppm: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            reject_within_ms: None,
            refund_offline: None,
            pickup_wait_ms: 7 * 24 * 60 * 60 * 1_000,
            weight_tolerance_ppm: 50_000,
        }
    }
}

impl Rules {
    /// Grams by which `ordered` grams may be missed, rounded down.
    #[must_use]
    pub fn weight_tolerance(&self, ordered: Quantity) -> Quantity {
        let product = i128::from(ordered) * i128::from(self.weight_tolerance_ppm) / 1_000_000;
        // A millionth of a quantity times at most 2^32 still fits, but for quantities that no cell holds.
        Quantity::try_from(product).unwrap_or(Quantity::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_are_rounded_down() {
        let rules = Rules::default();
        for (ordered, grams) in [(1_000, 50), (19, 0), (20, 1), (1_000_000_000, 50_000_000), (0, 0)] {
            assert_eq!(rules.weight_tolerance(ordered), grams, "{ordered}");
        }
    }
}
