//! Credit notes of the UCI file, matched to the sales that they take back.
//!
//! A credit line takes its units from earlier lines (in the file) of the same customer and stock code, the latest first,
//! as far as they were not taken back before; it may span several. What finds no sale is left out by the caller.

use std::collections::{BTreeMap, HashMap};

use super::model::StreamReturn;

/// A line of a credit note.
pub struct CreditLine<'a> {
    /// The credit note.
    pub note: &'a str,
    /// Customer.
    pub customer: &'a str,
    /// Item.
    pub item: usize,
    /// Units, 1 or more.
    pub quantity: i64,
}

/// A sale line with what is left to bring back.
struct SaleLine {
    order_id: String,
    line: u32,
    left: i64,
}

/// Matches credit lines in the order of the file.
#[derive(Default)]
pub struct Returns {
    sales: HashMap<(String, usize), Vec<SaleLine>>,
    numbers: BTreeMap<String, u32>,
    returns: Vec<StreamReturn>,
}

impl Returns {
    /// Notes a sale.
    pub fn sold(&mut self, customer: &str, item: usize, order_id: &str, line: u32, quantity: i64) {
        let lines = self.sales.entry((customer.to_owned(), item)).or_default();
        lines.push(SaleLine { order_id: order_id.to_owned(), line, left: quantity });
    }

    /// Takes goods back; gives the units for which there is no sale.
    pub fn take_back(&mut self, credit: &CreditLine<'_>) -> i64 {
        let mut wanted = credit.quantity;
        let Some(lines) = self.sales.get_mut(&(credit.customer.to_owned(), credit.item)) else {
            return wanted;
        };
        while wanted > 0 {
            let Some(last) = lines.last_mut() else { break };
            let quantity = wanted.min(last.left);
            wanted -= quantity;
            last.left -= quantity;
            let number = self.numbers.entry(credit.note.to_owned()).or_default();
            *number += 1;
            self.returns.push(StreamReturn {
                return_id: format!("{}-{number}", credit.note),
                bought_on: last.order_id.clone(),
                line: last.line,
                item: credit.item,
                quantity,
            });
            if last.left == 0 {
                lines.pop();
            }
        }
        wanted
    }

    /// The returns in the order of the file.
    #[must_use]
    pub fn finish(self) -> Vec<StreamReturn> {
        self.returns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_sale_is_taken_back_first_and_no_unit_twice() {
        let mut returns = Returns::default();
        returns.sold("c", 1, "o1", 1, 5);
        returns.sold("c", 1, "o2", 3, 2);
        returns.sold("d", 1, "o3", 1, 9);
        let credit = |note, quantity| CreditLine { note, customer: "c", item: 1, quantity };
        assert_eq!(returns.take_back(&credit("C1", 4)), 0);
        assert_eq!(returns.take_back(&credit("C2", 4)), 1);
        assert_eq!(returns.take_back(&credit("C3", 1)), 1);
        assert_eq!(returns.take_back(&CreditLine { note: "C4", customer: "e", item: 1, quantity: 2 }), 2);
        let got: Vec<_> =
            returns.finish().into_iter().map(|r| (r.return_id, r.bought_on, r.line, r.quantity)).collect();
        let want = [("C1-1", "o2", 3, 2), ("C1-2", "o1", 1, 2), ("C2-1", "o1", 1, 3)];
        assert_eq!(got, want.map(|(a, b, c, d)| (a.to_owned(), b.to_owned(), c, d)));
    }
}
