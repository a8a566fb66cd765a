//! Inventory account = cost layers = units that nodes recorded.

use std::collections::BTreeMap;

use super::{Check, Findings};
use crate::demo::DemoResult;

/// The check.
pub const CHECK: Check = Check {
    name: "inventory account = cost layers = recorded units",
    guarantee: "per node and stock key the units in cost layers are those that the node has, in any condition; their value is the inventory account; no sale is left at provisional cost; receipts are in the books at their stated cost",
    source: "ARCHITECTURE.md, Invariants: Books",
    run,
};

fn run(result: &DemoResult) -> Findings {
    let evidence = &result.evidence;
    let mut findings = Findings::new();
    let mut layers = BTreeMap::new();
    let (mut value_by_node, mut pending_by_node): (BTreeMap<String, i64>, BTreeMap<String, i64>) = Default::default();
    for value in &evidence.values {
        *value_by_node.entry(value.node.clone()).or_default() += value.value_minor;
        *pending_by_node.entry(value.node.clone()).or_default() += value.returns_pending_value_minor;
        let what = || format!("{} {}", value.node, value.item);
        findings.expect(value.quantity >= 0 && (value.quantity > 0 || value.value_minor == 0), || {
            format!("{}: {} units worth {}", what(), value.quantity, value.value_minor)
        });
        findings.equal(|| format!("{}: units at provisional cost", what()), &value.unreceived_quantity, &0);
        let units = (value.quantity, value.returns_pending_quantity, value.held_quantity, value.set_aside_quantity);
        layers.insert((value.node.clone(), value.item.clone(), value.grade, value.owner.clone()), units);
    }
    for (node, levels) in &evidence.levels {
        for level in levels {
            let key = level.stock_key.clone().unwrap_or_default();
            let stocked = level.on_hand + level.quarantined + level.damaged;
            let recorded = (stocked, level.return_pending, level.in_receiving, level.in_disposition);
            let grade = if key.grade == 0 { 1 } else { key.grade };
            let valued = layers.remove(&(node.clone(), key.item.clone(), grade, key.owner)).unwrap_or_default();
            findings.equal(|| format!("{node} {}: units, in layers and at the node", key.item), &valued, &recorded);
        }
    }
    for ((node, item, ..), units) in layers {
        findings.equal(|| format!("{node} {item}: units in layers that the node has not"), &units, &(0, 0, 0, 0));
    }
    for (account, by_node) in [("Assets:Inventory", &value_by_node), ("Assets:ReturnsPending", &pending_by_node)] {
        let layers: i64 = by_node.values().sum();
        findings.equal(|| format!("{account}, and the layers' value"), &evidence.balance_of(account), &layers);
        for (node, value) in by_node {
            let account = format!("{account}:{}{}", node[..1].to_uppercase(), &node[1..]);
            findings.equal(|| format!("{account}, and the layers' value"), &evidence.balance_of(&account), value);
        }
    }
    // What came in is in the books at the cost that the receipts stated, whatever happened to it since.
    let came_in = -(evidence.balance_of("Equity:OpeningBalances") + evidence.balance_of("Liabilities:Grni"));
    findings.equal(|| "cost of all receipts, minor units".to_owned(), &came_in, &result.acks.received_cost_minor);
    findings.over(evidence.values.len(), "stock keys at cost")
}
