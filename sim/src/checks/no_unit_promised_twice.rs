//! Every promised unit belongs to exactly one live allocation, and no order line gets more than it ordered.

use std::collections::{BTreeMap, HashMap};

use stockmesh_proto::common::v1::AllocationId;
use stockmesh_proto::node::v1::Task;

use super::{Check, Findings};
use crate::demo::DemoResult;

/// The check.
pub const CHECK: Check = Check {
    name: "no unit promised twice",
    guarantee: "each allocation exists once, alike at the coordinator and at its node, is shipped or cancelled at most as far as it goes, no line gets more than was ordered, and nobody at a shelf ever found fewer units than promised",
    source: "ARCHITECTURE.md, Invariants: I3, I5",
    run,
};

type Key = (u32, u64, u32);

fn key(id: Option<AllocationId>) -> Key {
    let AllocationId { incarnation, log_index, n } = id.unwrap_or_default();
    (incarnation, log_index, n)
}

fn run(result: &DemoResult) -> Findings {
    let evidence = &result.evidence;
    let mut findings = Findings::new();
    findings.equal(|| "work that found too few units on the shelf".to_owned(), &result.acks.short_on_hand, &0);
    let mut at_nodes: HashMap<Key, (&str, &Task)> = HashMap::new();
    for (node, tasks) in &evidence.tasks {
        for task in tasks {
            let id = key(task.allocation);
            let twice = at_nodes.insert(id, (node, task));
            findings
                .expect(twice.is_none(), || format!("allocation {id:?} is at {node} and at {:?}", twice.map(|t| t.0)));
            findings.expect(
                task.quantity > 0
                    && task.shipped >= 0
                    && task.cancelled >= 0
                    && task.shipped + task.cancelled <= task.quantity,
                || {
                    format!(
                        "{id:?} at {node}: shipped {} and cancelled {} of {}",
                        task.shipped, task.cancelled, task.quantity
                    )
                },
            );
        }
    }
    let mut allocations = 0;
    let mut open: BTreeMap<(String, String), i64> = BTreeMap::new();
    let mut seen = std::collections::HashSet::new();
    for order in &evidence.orders {
        let order_id = order.order.as_ref().map_or("", |order| order.order_id.as_str());
        for line in &order.lines {
            let what = |part: &str| format!("order {order_id} line {}: {part}", line.line);
            let (mut shipped, mut live) = (0, 0);
            for allocation in &line.allocations {
                allocations += 1;
                let id = key(allocation.id);
                findings.expect(seen.insert(id), || what(&format!("allocation {id:?} occurs twice")));
                let left = allocation.quantity - allocation.shipped - allocation.cancelled;
                shipped += allocation.shipped;
                live += left;
                findings.expect(left >= 0, || what(&format!("{id:?} shipped and cancelled more than it has")));
                let item = line.stock_key.as_ref().map_or(String::new(), |key| key.item.clone());
                *open.entry((allocation.node.clone(), item)).or_default() += left;
                let at_node = at_nodes.remove(&id);
                let known = at_node.map(|(node, task)| {
                    (node, task.order_id.as_str(), task.line, task.quantity, task.shipped, task.cancelled)
                });
                let want = (
                    allocation.node.as_str(),
                    order_id,
                    line.line,
                    allocation.quantity,
                    allocation.shipped,
                    allocation.cancelled,
                );
                findings.equal(|| what(&format!("{id:?} as its node knows it")), &known, &Some(want));
            }
            findings.equal(|| what("units shipped, by line and by allocation"), &line.shipped, &shipped);
            let sum = line.cancelled + line.backordered + live + line.shipped;
            findings.equal(|| what("cancelled + waiting + live + shipped"), &sum, &line.ordered);
            findings.expect(line.cancelled >= 0 && line.backordered >= 0, || what("a negative part"));
        }
    }
    for (id, (node, task)) in at_nodes {
        findings.expect(false, || {
            format!("{node} has allocation {id:?} of order {} that the coordinator has not", task.order_id)
        });
    }
    for cell in &evidence.cells {
        let id = cell.id.clone().unwrap_or_default();
        let item = id.stock_key.unwrap_or_default().item;
        let free = cell.granted - cell.returned - cell.shipped - cell.open - cell.held;
        let what = || format!("cell {} {item}", id.node);
        findings.expect(cell.free >= 0, || format!("{}: {} free", what(), cell.free));
        findings.equal(|| format!("{}: free", what()), &cell.free, &free);
        let promised = open.remove(&(id.node.clone(), item.clone())).unwrap_or(0);
        findings.equal(|| format!("{}: open units, by cell and by orders", what()), &cell.open, &promised);
    }
    for ((node, item), units) in open {
        findings.expect(units == 0, || format!("{units} units of {item} are promised from {node}, which granted none"));
    }
    findings.over(allocations, "allocations")
}
