//! What a replay leaves out of a file, and why: counted, never dropped silently.

use std::collections::BTreeMap;

/// Why a line, or part of one, is not replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeftOutReason {
    /// The line can't be read.
    Malformed,
    /// The stock code is no good.
    NotAGood,
    /// The invoice is neither a sale nor a credit note.
    OtherDocument,
    /// The unit price is zero or negative.
    NoPrice,
    /// Nothing was sold.
    ZeroQuantity,
    /// Negative quantity outside a credit note.
    StockAdjustment,
    /// A credit note that takes nothing back.
    PositiveCredit,
    /// A credit note without a customer: its sale can't be found.
    CreditWithoutCustomer,
    /// A credit note, or part of it, with no earlier sale in the part of the file that is replayed.
    CreditWithoutSale,
    /// Fuel: sold by thousandths of a gallon.
    Fuel,
    /// Neither price nor discount: a till's memo line.
    NoValue,
}

impl LeftOutReason {
    /// The rule, for people.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::Malformed => "malformed: wrong number of columns, or a field that can't be read",
            Self::NotAGood => "no good: the stock code neither begins with five digits nor with DCGS",
            Self::OtherDocument => "neither sale nor credit note: the invoice number is not digits, or C and digits",
            Self::NoPrice => "unit price zero or negative: samples, losses and corrections, not sales",
            Self::ZeroQuantity => "quantity zero",
            Self::StockAdjustment => "negative quantity outside a credit note: a stock adjustment",
            Self::PositiveCredit => "credit note with a positive quantity",
            Self::CreditWithoutCustomer => "credit note without a customer: its sale can't be found",
            Self::CreditWithoutSale => {
                "credit note, or part of one, with no earlier sale of that item to that customer"
            }
            Self::Fuel => "fuel: 100 units or more at less than a cent each (quantity in thousandths of a gallon)",
            Self::NoValue => "no value: sales value and discount both zero, or an amount is negative",
        }
    }

    /// The name in JSON.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "MALFORMED",
            Self::NotAGood => "NOT_A_GOOD",
            Self::OtherDocument => "OTHER_DOCUMENT",
            Self::NoPrice => "NO_PRICE",
            Self::ZeroQuantity => "ZERO_QUANTITY",
            Self::StockAdjustment => "STOCK_ADJUSTMENT",
            Self::PositiveCredit => "POSITIVE_CREDIT",
            Self::CreditWithoutCustomer => "CREDIT_WITHOUT_CUSTOMER",
            Self::CreditWithoutSale => "CREDIT_WITHOUT_SALE",
            Self::Fuel => "FUEL",
            Self::NoValue => "NO_VALUE",
        }
    }
}

/// One class of what was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOutClass {
    /// Lines, those left out in part included.
    pub lines: u64,
    /// Units, as the file has them, without sign.
    pub units: i64,
    /// Amount of the lines in minor units, with the file's sign; 0 where it can't be read.
    pub amount_minor: i64,
    /// Lines by what they name: the stock code of what is no good.
    pub names: BTreeMap<String, u64>,
    /// The first few, each with its line number.
    pub examples: Vec<String>,
}

/// Everything that was left out, by class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Classes.
    pub classes: BTreeMap<LeftOutReason, LeftOutClass>,
}

/// Distinct names kept per class; the rest are counted as "others".
const MAX_NAMES: usize = 40;
/// Examples kept per class.
const MAX_EXAMPLES: usize = 5;

impl LeftOut {
    /// Counts a line.
    pub fn add(&mut self, reason: LeftOutReason, units: i64, amount_minor: i64) -> &mut LeftOutClass {
        let class = self.classes.entry(reason).or_default();
        class.lines += 1;
        class.units = class.units.saturating_add(units.saturating_abs());
        class.amount_minor = class.amount_minor.saturating_add(amount_minor);
        class
    }

    /// Counts a line that can't be read.
    pub fn malformed(&mut self, line: u64, why: &str) {
        let class = self.add(LeftOutReason::Malformed, 0, 0);
        if class.examples.len() < MAX_EXAMPLES {
            class.examples.push(format!("line {line}: {why}"));
        }
    }

    /// Lines left out in all.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.classes.values().map(|class| class.lines).sum()
    }

    /// A sentence per class, for the summary.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        self.classes
            .iter()
            .map(|(reason, class)| {
                let mut text = format!("{} lines, {} units: {}", class.lines, class.units, reason.rule());
                if !class.names.is_empty() {
                    let mut names: Vec<_> = class.names.iter().collect();
                    names.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), (*name).clone()));
                    let listed: Vec<String> = names.iter().map(|(name, count)| format!("{name} {count}")).collect();
                    text.push_str(&format!(" ({})", listed.join(", ")));
                }
                if !class.examples.is_empty() {
                    text.push_str(&format!(" [{}]", class.examples.join("; ")));
                }
                text
            })
            .collect()
    }
}

impl LeftOutClass {
    /// Counts the line under a name.
    pub fn named(&mut self, name: &str) {
        let known = self.names.contains_key(name) || self.names.len() < MAX_NAMES;
        let name: String = if known { name.chars().take(32).collect() } else { "others".to_owned() };
        *self.names.entry(name).or_default() += 1;
    }
}
