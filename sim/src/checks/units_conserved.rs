//! No unit appears or disappears: by node and stock key, and against what the simulator was told.

use std::collections::BTreeMap;

use super::{Check, Findings};
use crate::demo::DemoResult;
use crate::streams::Event;

/// The check.
pub const CHECK: Check = Check {
    name: "units conserved",
    guarantee: "received + found + returned = on hand in any condition + sold + shipped + written off, per node and stock key; and each part is what was acknowledged",
    source: "ARCHITECTURE.md, Invariants: I6",
    run,
};

fn run(result: &DemoResult) -> Findings {
    let DemoResult { evidence, acks, stream, .. } = result;
    let mut findings = Findings::new();
    let mut sold: BTreeMap<(String, String), i64> = BTreeMap::new();
    for sale in acks.sales.values() {
        if let Some(Event::Counter(counter)) = stream.events.get(sale.event) {
            for line in &counter.lines {
                *sold.entry((sale.node.clone(), stream.items[line.item].item.clone())).or_default() += line.quantity;
            }
        }
    }
    let mut returned: BTreeMap<(String, String), i64> = BTreeMap::new();
    let mut written_off: BTreeMap<(String, String), i64> = BTreeMap::new();
    for back in &acks.returns {
        let item = stream.items[stream.returns[back.planned].item].item.clone();
        *returned.entry((back.node.clone(), item.clone())).or_default() += back.quantity;
        if !back.resale {
            *written_off.entry((back.node.clone(), item)).or_default() += back.quantity;
        }
    }
    let mut shipped: BTreeMap<(String, String), i64> = BTreeMap::new();
    for (node, tasks) in &evidence.tasks {
        for task in tasks {
            let item = task.stock_key.clone().unwrap_or_default().item;
            *shipped.entry((node.clone(), item)).or_default() += task.shipped;
        }
    }
    let mut received = acks.received.clone();
    let (mut looked_at, mut shipped_units, mut lost_units) = (0, 0, 0);
    for (node, levels) in &evidence.levels {
        for level in levels {
            looked_at += 1;
            let key = (node.clone(), level.stock_key.clone().unwrap_or_default().item);
            let what = |part: &str| format!("{node} {}: {part}", key.1);
            let came = level.received_total + level.customer_returned_total + level.adjusted_total;
            let is_there = level.on_hand + level.quarantined + level.damaged + level.return_pending;
            let left = level.sold_total + level.shipped_total + level.disposed_total;
            findings.equal(|| what("on hand + left, and what came"), &(is_there + left), &came);
            let taken = |from: &mut BTreeMap<_, i64>| from.remove(&key).unwrap_or(0);
            findings.equal(|| what("received"), &level.received_total, &taken(&mut received));
            findings.equal(|| what("sold at the counter"), &level.sold_total, &taken(&mut sold));
            findings.equal(|| what("returned by customers"), &level.customer_returned_total, &taken(&mut returned));
            findings.equal(|| what("written off"), &level.disposed_total, &taken(&mut written_off));
            findings.equal(|| what("shipped, by level and by tasks"), &level.shipped_total, &taken(&mut shipped));
            findings.expect(level.return_pending == 0, || what("returns that were never inspected"));
            shipped_units += level.shipped_total;
            lost_units -= level.adjusted_total;
        }
    }
    for (what, rest) in [("received", received), ("sold", sold), ("returned", returned), ("shipped", shipped)] {
        for ((node, item), units) in rest.into_iter().filter(|(_, units)| *units != 0) {
            findings.expect(false, || format!("{units} units of {item} {what} at {node} are in no stock level"));
        }
    }
    findings.equal(|| "units shipped, by nodes and as acknowledged".into(), &shipped_units, &acks.shipped_units);
    let not_found = acks.declined_units.get("not found").copied().unwrap_or(0);
    findings.equal(|| "units lost, by nodes and as acknowledged".into(), &lost_units, &not_found);
    findings.over(looked_at, "stock keys at nodes")
}
