//! The checks with which a demo judges itself, one guarantee to a file. They compare what the network says of itself
//! ([`evidence::Evidence`]) with what it acknowledged and with the stream; they call nobody.

pub mod books_balanced;
pub mod customer_totals;
pub mod evidence;
pub mod facts_posted_once;
pub mod findings;
pub mod inventory_valued;
pub mod no_order_lost;
pub mod no_unit_promised_twice;
pub mod replicas_agree;
pub mod rights_agree;
pub mod scarcity_was_real;
pub mod units_conserved;

pub use findings::Findings;

use crate::demo::DemoResult;

/// A named guarantee.
pub struct Check {
    /// Name.
    pub name: &'static str,
    /// What it guarantees, in one sentence.
    pub guarantee: &'static str,
    /// Where the guarantee comes from.
    pub source: &'static str,
    /// Looks.
    pub run: fn(&DemoResult) -> Findings,
}

/// Every check, in the order of the report.
pub const ALL: [Check; 10] = [
    no_unit_promised_twice::CHECK,
    rights_agree::CHECK,
    units_conserved::CHECK,
    no_order_lost::CHECK,
    facts_posted_once::CHECK,
    books_balanced::CHECK,
    inventory_valued::CHECK,
    customer_totals::CHECK,
    replicas_agree::CHECK,
    scarcity_was_real::CHECK,
];

/// A check and what it found.
pub struct Verdict {
    /// The check.
    pub check: &'static Check,
    /// What it found.
    pub findings: Findings,
}

/// Runs every check.
#[must_use]
pub fn run_all(result: &DemoResult) -> Vec<Verdict> {
    ALL.iter().map(|check| Verdict { check, findings: (check.run)(result) }).collect()
}

#[cfg(test)]
mod tests;
