//! Items of a stream, with what the files don't tell: cost and weight, each by a stated rule.

use std::collections::HashMap;

/// An item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamItem {
    /// SKU.
    pub item: String,
    /// Description, at most 200 characters.
    pub description: String,
    /// Weight of a unit in grams: an assumption.
    pub weight_grams: i64,
    /// Cost of a unit in minor units: an assumption.
    pub unit_cost_minor: i64,
}

/// Share of the median net price that a unit is assumed to cost, percent.
pub const COST_PERCENT: i64 = 60;

/// The two assumptions, for the report.
pub const ASSUMPTION: &str = "cost and weight are not in the data: a unit costs 60 % of the item's median net price (at least one minor unit), and weighs 100 g plus 40 g per pound or dollar of that price, at most 5 kg";

/// Interns items while a file is read, and prices them at its end.
#[derive(Default)]
pub struct ItemBook {
    index: HashMap<String, usize>,
    items: Vec<(String, String)>,
    prices_minor: Vec<Vec<i64>>,
}

impl ItemBook {
    /// The item's place in the stream's list; its first description that is not empty stays.
    pub fn intern(&mut self, item: &str, description: &str) -> usize {
        if let Some(&at) = self.index.get(item) {
            if self.items[at].1.is_empty() {
                self.items[at].1 = description.chars().take(200).collect();
            }
            return at;
        }
        let at = self.items.len();
        self.index.insert(item.to_owned(), at);
        self.items.push((item.to_owned(), description.chars().take(200).collect()));
        self.prices_minor.push(Vec::new());
        at
    }

    /// Notes a net price: the line's net amount over its units, rounded down.
    pub fn saw_price(&mut self, at: usize, net_minor: i64, quantity: i64) {
        if let Some(prices) = self.prices_minor.get_mut(at) {
            prices.push(net_minor / quantity.max(1));
        }
    }

    /// The items in the order in which they were first seen.
    #[must_use]
    pub fn finish(self) -> Vec<StreamItem> {
        let Self { index: _, items, prices_minor } = self;
        items
            .into_iter()
            .zip(prices_minor)
            .map(|((item, description), mut prices)| {
                prices.sort_unstable();
                let median_minor = prices.get(prices.len() / 2).copied().unwrap_or(1).max(1);
                StreamItem {
                    description: if description.is_empty() { item.clone() } else { description },
                    item,
                    weight_grams: (100 + 40 * median_minor / 100).min(5_000),
                    unit_cost_minor: (median_minor * COST_PERCENT / 100).max(1),
                }
            })
            .collect()
    }
}
