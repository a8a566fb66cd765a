//! Every acknowledged order is there, as it was placed, and there is none that nobody placed.

use std::collections::HashMap;

use super::{Check, Findings};
use crate::demo::DemoResult;

/// The check.
pub const CHECK: Check = Check {
    name: "no acknowledged order lost",
    guarantee: "each order that was acknowledged is there once, line by line as it was placed, and no other; none of the stream was refused",
    source: "README.md: nothing acknowledged is lost",
    run,
};

fn run(result: &DemoResult) -> Findings {
    let DemoResult { evidence, acks, stream, .. } = result;
    let mut findings = Findings::new();
    let mut there: HashMap<&str, _> = HashMap::new();
    for status in &evidence.orders {
        let order_id = status.order.as_ref().map_or("", |order| order.order_id.as_str());
        findings.expect(there.insert(order_id, status).is_none(), || format!("order {order_id} is there twice"));
    }
    for acknowledged in &acks.orders {
        let placed = &acknowledged.order;
        let Some(status) = there.remove(placed.order_id.as_str()) else {
            findings.expect(false, || format!("order {} was acknowledged and is not there", placed.order_id));
            continue;
        };
        let lines: Option<Vec<_>> = status.order.as_ref().map(|order| {
            let part = |line: &stockmesh_proto::common::v1::OrderLine| {
                let item = line.stock_key.clone().unwrap_or_default().item;
                (line.line, item, line.quantity, line.price.clone().unwrap_or_default())
            };
            order.lines.iter().map(part).collect()
        });
        let want = placed
            .lines
            .iter()
            .zip(1..)
            .map(|(line, number)| (number, stream.items[line.item].item.clone(), line.quantity, line.price.clone()))
            .collect();
        findings.expect(lines == Some(want), || format!("order {} is not as it was placed", placed.order_id));
    }
    for order_id in there.into_keys() {
        findings.expect(false, || format!("order {order_id} is there, and nobody was told"));
    }
    for (order_id, why) in &acks.refused_orders {
        findings.expect(false, || format!("order {order_id} was refused: {why}"));
    }
    let events = stream.events.len();
    findings.equal(
        || "orders and sales acknowledged".into(),
        &(acks.orders.len() + acks.sales.len() + acks.refused_orders.len()),
        &events,
    );
    findings.over(acks.orders.len(), "orders")
}
