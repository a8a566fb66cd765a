//! The demo showed something: lines that no place could fill at once, orders that were split.

use super::{Check, Findings};
use crate::demo::DemoResult;

/// The check.
pub const CHECK: Check = Check {
    name: "scarcity was real",
    guarantee: "at least 5 % of order lines could not be filled from one place or at once, and at least 10 % of orders were split",
    source: "README.md: at least 5 % short, 10 % split",
    run,
};

/// Orders below which shares say nothing.
const ENOUGH_ORDERS: usize = 100;

fn run(result: &DemoResult) -> Findings {
    let orders = &result.acks.orders;
    let mut findings = Findings::new();
    let lines: usize = orders.iter().map(|acknowledged| acknowledged.order.lines.len()).sum();
    let hard: usize = orders.iter().map(|acknowledged| acknowledged.short_lines.max(acknowledged.split_lines)).sum();
    let split = orders.iter().filter(|acknowledged| acknowledged.nodes > 1).count();
    if orders.len() < ENOUGH_ORDERS {
        return findings.over(lines, "order lines: of fewer than 100 orders, and not judged");
    }
    findings.expect(hard * 100 >= lines * 5, || format!("only {hard} of {lines} lines could not be filled at once"));
    findings.expect(split * 10 >= orders.len(), || format!("only {split} of {} orders were split", orders.len()));
    findings.over(lines, "order lines")
}
