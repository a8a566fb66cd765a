//! With all queues empty, node and coordinator agree on every counter of every cell, and rights are covered by stock.

use std::collections::HashMap;

use super::{Check, Findings};
use crate::demo::DemoResult;

/// The check.
pub const CHECK: Check = Check {
    name: "rights agree and are covered",
    guarantee: "granted, returned and shipped are the same on both sides; what the coordinator may still promise is on hand, or a reported shortfall",
    source: "ARCHITECTURE.md, Invariants: I1, I2, I4",
    run,
};

fn run(result: &DemoResult) -> Findings {
    let evidence = &result.evidence;
    let mut findings = Findings::new();
    let mut cells = HashMap::new();
    for cell in &evidence.cells {
        let id = cell.id.clone().unwrap_or_default();
        cells.insert((id.node, id.stock_key), cell);
    }
    let mut looked_at = 0;
    for (node, levels) in &evidence.levels {
        for level in levels {
            looked_at += 1;
            let item = level.stock_key.clone().unwrap_or_default().item;
            let what = |part: &str| format!("{node} {item}: {part}");
            let outstanding = level.granted - level.returned - level.consumed;
            findings.equal(|| what("outstanding"), &level.outstanding, &outstanding);
            findings.equal(|| what("retained"), &level.retained, &(level.on_hand - level.outstanding));
            findings.expect(level.on_hand >= 0, || what(&format!("{} on hand", level.on_hand)));
            let cell = cells.remove(&(node.clone(), level.stock_key.clone()));
            let shortfall = cell.map_or(0, |cell| cell.shortfall_level);
            findings.expect(level.on_hand + shortfall >= level.outstanding, || {
                what(&format!("{} on hand for {} outstanding, shortfall {shortfall}", level.on_hand, level.outstanding))
            });
            let here = (level.granted, level.returned, level.consumed);
            let there = cell.map_or((0, 0, 0), |cell| (cell.granted, cell.returned, cell.shipped));
            findings.equal(|| what("granted, returned, shipped at the node and at the coordinator"), &here, &there);
            let found_and_received = level.received_total + level.customer_returned_total + level.adjusted_total;
            let used = level.sold_total + level.shipped_total + cell.map_or(0, |cell| cell.open + cell.held);
            findings.expect(used <= found_and_received + shortfall, || {
                what(&format!("{used} units sold, shipped or promised of {found_and_received} that ever were there"))
            });
        }
    }
    for ((node, stock_key), cell) in cells {
        let item = stock_key.unwrap_or_default().item;
        findings
            .expect(cell.granted == 0, || format!("{node} {item}: rights at the coordinator, no stock at the node"));
    }
    findings.over(looked_at, "cells")
}
