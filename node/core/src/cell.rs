//! One cell: the units of a stock key at this node, and the rights to promise them.
//!
//! The counters of rights are cumulative and absolute. `outstanding = granted - returned - consumed` is what the coordinator may
//! still promise; `retained = on_hand - outstanding` is what the node may sell by itself.
//!
//! Must not know: allocations one by one, requests, feeds.

use stockmesh_types::Quantity;

/// Counters of one cell, base units. Written to the store as it is (a protobuf message of the store's own).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Cell {
    /// Sellable units on hand, picked and packed ones included.
    #[prost(int64, tag = "1")]
    pub on_hand: Quantity,
    /// Held for a decision.
    #[prost(int64, tag = "2")]
    pub quarantined: Quantity,
    /// Damaged.
    #[prost(int64, tag = "3")]
    pub damaged: Quantity,
    /// Returned by customers, not inspected.
    #[prost(int64, tag = "4")]
    pub return_pending: Quantity,
    /// Cumulative rights granted in this epoch.
    #[prost(int64, tag = "5")]
    pub granted: Quantity,
    /// Cumulative rights that the coordinator gave back in this epoch.
    #[prost(int64, tag = "6")]
    pub returned: Quantity,
    /// Cumulative units shipped against allocations in this epoch.
    #[prost(int64, tag = "7")]
    pub consumed: Quantity,
    /// Units of accepted allocations that are neither shipped nor cancelled.
    #[prost(int64, tag = "8")]
    pub open: Quantity,
    /// Level of the shortfall that was reported last.
    #[prost(int64, tag = "9")]
    pub reported_shortfall: Quantity,
    /// Cumulative units received from suppliers or at migration, in any condition.
    #[prost(int64, tag = "10")]
    pub received_total: Quantity,
    /// Cumulative units sold at the counter.
    #[prost(int64, tag = "11")]
    pub sold_total: Quantity,
    /// Units found less units lost: counts, losses, finds, short picks. Damage changes a condition and is not in it.
    #[prost(sint64, tag = "12")]
    pub adjusted_total: Quantity,
    /// Cumulative units shipped.
    #[prost(int64, tag = "13")]
    pub shipped_total: Quantity,
    /// Cumulative units that customers returned here.
    #[prost(int64, tag = "14")]
    pub customer_returned_total: Quantity,
    /// Cumulative units that left by a disposition (written off).
    #[prost(int64, tag = "15")]
    pub disposed_total: Quantity,
    /// Arrived, and held until a difference is decided.
    #[prost(int64, tag = "30")]
    pub in_receiving: Quantity,
    /// When all of its sellable units were counted last, milliseconds since 1970-01-01T00:00:00Z; 0: never.
    #[prost(int64, tag = "31")]
    pub last_counted_ms: i64,
    /// Units sold before they were booked in: the next that come are theirs.
    #[prost(int64, tag = "50")]
    pub sold_ahead: Quantity,
    /// Returned units set aside to be refurbished, liquidated or sent back to the supplier.
    #[prost(int64, tag = "51")]
    pub in_disposition: Quantity,
    /// Cumulative units received by transfer, in any condition.
    #[prost(int64, tag = "52")]
    pub transferred_in_total: Quantity,
    /// Units that became this stock key less those that became another: kits, components, refurbished goods.
    #[prost(sint64, tag = "53")]
    pub converted_total: Quantity,
}

impl Cell {
    /// Rights on the coordinator's side.
    #[must_use]
    pub fn outstanding(&self) -> Quantity {
        self.granted - self.returned - self.consumed
    }

    /// Units that the node may sell by itself; negative in a shortfall.
    #[must_use]
    pub fn retained(&self) -> Quantity {
        self.on_hand - self.outstanding()
    }

    /// Units that were promised away beyond what is on hand; never negative.
    #[must_use]
    pub fn shortfall(&self) -> Quantity {
        (-self.retained()).max(0)
    }

    /// Units here in any condition.
    #[must_use]
    pub fn present(&self) -> Quantity {
        self.on_hand + self.quarantined + self.damaged + self.return_pending + self.in_receiving + self.in_disposition
    }

    /// What is wrong with it, in words; `None` when it is in order. Checked when a store is opened, and by tests after every
    /// command: conservation (I6), no negative counter, a shortfall only when it is reported (I2), open work within the rights (I5).
    #[must_use]
    pub fn flaw(&self) -> Option<String> {
        // Destructured, so that a new counter is thought about here.
        let Self {
            on_hand,
            quarantined,
            damaged,
            return_pending,
            granted,
            returned,
            consumed,
            open,
            reported_shortfall,
            received_total,
            sold_total,
            adjusted_total,
            shipped_total,
            customer_returned_total,
            disposed_total,
            in_receiving,
            last_counted_ms: _,
            sold_ahead,
            in_disposition,
            transferred_in_total,
            converted_total,
        } = *self;
        let never_negative = [
            ("on_hand", on_hand),
            ("quarantined", quarantined),
            ("damaged", damaged),
            ("return_pending", return_pending),
            ("in_receiving", in_receiving),
            ("granted", granted),
            ("returned", returned),
            ("consumed", consumed),
            ("open", open),
            ("received_total", received_total),
            ("sold_total", sold_total),
            ("shipped_total", shipped_total),
            ("customer_returned_total", customer_returned_total),
            ("disposed_total", disposed_total),
            ("sold_ahead", sold_ahead),
            ("in_disposition", in_disposition),
            ("transferred_in_total", transferred_in_total),
        ];
        if let Some((name, value)) = never_negative.iter().find(|(_, value)| *value < 0) {
            return Some(format!("{name} is {value}"));
        }
        let came = received_total + transferred_in_total + customer_returned_total + adjusted_total + converted_total;
        // Units sold ahead of their receipt are counted as sold, and have not come yet.
        let there_or_gone = self.present() + sold_total - sold_ahead + shipped_total + disposed_total;
        if came != there_or_gone {
            return Some(format!(
                "units are not conserved: {came} came or were found, {there_or_gone} are here or left"
            ));
        }
        if sold_ahead > 0 && on_hand > 0 {
            return Some(format!("{on_hand} units on hand, and {sold_ahead} owed to sales that were not booked in"));
        }
        if self.shortfall() != reported_shortfall {
            return Some(format!("shortfall is {}, reported {reported_shortfall}", self.shortfall()));
        }
        if open > self.outstanding() {
            return Some(format!("{open} units of open work, {} rights outstanding", self.outstanding()));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flaws_are_found_and_named() {
        let good = Cell { on_hand: 5, granted: 4, open: 2, received_total: 5, ..Cell::default() };
        let cases = [
            (good, None),
            (Cell { received_total: 6, ..good }, Some("conserved")),
            (Cell { on_hand: -1, received_total: -1, ..good }, Some("on_hand is -1")),
            (Cell { granted: 6, ..good }, Some("shortfall is 1, reported 0")),
            (Cell { granted: 6, reported_shortfall: 1, ..good }, None),
            (Cell { reported_shortfall: 1, ..good }, Some("shortfall is 0, reported 1")),
            (Cell { open: 5, ..good }, Some("5 units of open work, 4 rights")),
            (Cell { damaged: 1, adjusted_total: 1, ..good }, None),
            (Cell { sold_ahead: 1, sold_total: 1, ..good }, Some("owed to sales")),
            (Cell { sold_ahead: 1, sold_total: 1, ..Cell::default() }, None),
            (Cell { sold_total: 1, ..Cell::default() }, Some("conserved")),
            (Cell { in_disposition: 1, transferred_in_total: 2, converted_total: -1, ..good }, None),
        ];
        for (cell, flaw) in cases {
            let got = cell.flaw();
            match flaw {
                None => assert_eq!(got, None, "{cell:?}"),
                Some(words) => assert!(got.as_deref().is_some_and(|g| g.contains(words)), "{cell:?}: {got:?}"),
            }
        }
    }
}
