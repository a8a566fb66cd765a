//! What verbs print: tables for people, JSON for programs.

use serde_json::{Value, json};
use stockmesh_proto::convert;
use stockmesh_proto::node::v1::{GetNodeStatusResponse, LinkStatus, StockLevel, Task, TaskState};
use stockmesh_service::output::Table;

fn key(stock_key: &Option<stockmesh_proto::common::v1::StockKey>) -> String {
    convert::stock_key(stock_key, "stock_key").map(|key| key.to_string()).unwrap_or_default()
}

fn allocation(task: &Task) -> String {
    convert::allocation_id(&task.allocation, "allocation").map(|id| id.to_string()).unwrap_or_default()
}

fn state(task: &Task) -> String {
    let name = TaskState::try_from(task.state).unwrap_or(TaskState::Unspecified).as_str_name();
    name.trim_start_matches("TASK_STATE_").to_lowercase()
}

pub(crate) fn levels_table(levels: &[StockLevel]) -> Table {
    let mut table =
        Table::new(&["stock key", "on hand", "promised", "retained", "damaged", "quarantined", "return pending"]);
    for level in levels {
        let units =
            [level.on_hand, level.outstanding, level.retained, level.damaged, level.quarantined, level.return_pending];
        table.push(std::iter::once(key(&level.stock_key)).chain(units.map(|units| units.to_string())).collect());
    }
    table
}

pub(crate) fn levels_json(levels: &[StockLevel]) -> Value {
    levels.iter().map(level_json).collect()
}

fn level_json(level: &StockLevel) -> Value {
    json!({
        "stock_key": key(&level.stock_key),
        "on_hand": level.on_hand,
        "quarantined": level.quarantined,
        "damaged": level.damaged,
        "return_pending": level.return_pending,
        "granted": level.granted,
        "returned": level.returned,
        "consumed": level.consumed,
        "outstanding": level.outstanding,
        "retained": level.retained,
        "received_total": level.received_total,
        "sold_total": level.sold_total,
        "adjusted_total": level.adjusted_total,
        "shipped_total": level.shipped_total,
        "customer_returned_total": level.customer_returned_total,
        "disposed_total": level.disposed_total,
        "in_receiving": level.in_receiving,
        "sold_ahead": level.sold_ahead,
        "in_disposition": level.in_disposition,
        "transferred_in_total": level.transferred_in_total,
        "converted_total": level.converted_total,
    })
}

pub(crate) fn tasks_table(tasks: &[Task]) -> Table {
    let mut table = Table::new(&[
        "allocation",
        "order",
        "line",
        "stock key",
        "units",
        "picked",
        "packed",
        "shipped",
        "cancelled",
        "state",
    ]);
    for task in tasks {
        let units = [task.quantity, task.picked, task.packed, task.shipped, task.cancelled];
        let head = [allocation(task), task.order_id.clone(), task.line.to_string(), key(&task.stock_key)];
        let row = head.into_iter().chain(units.map(|units| units.to_string())).chain([state(task)]);
        table.push(row.collect());
    }
    table
}

pub(crate) fn tasks_json(tasks: &[Task]) -> Value {
    tasks.iter().map(task_json).collect()
}

fn task_json(task: &Task) -> Value {
    json!({
        "allocation": allocation(task),
        "order_id": task.order_id,
        "line": task.line,
        "stock_key": key(&task.stock_key),
        "quantity": task.quantity,
        "picked": task.picked,
        "packed": task.packed,
        "shipped": task.shipped,
        "cancelled": task.cancelled,
        "lost": task.lost,
        "state": state(task),
        "ship_to": task.ship_to.as_ref().map(|place| json!({
            "country_code": place.country_code,
            "postal_code": place.postal_code,
        })),
        "accepted_time_ms": task.accepted_time_ms,
    })
}

pub(crate) fn status_table(status: &GetNodeStatusResponse) -> Table {
    let mut table = Table::new(&["", ""]);
    let state = if status.recovering { "RECOVERING: changes nothing until it is recovered" } else { "serving" };
    for (name, value) in [
        ("node", status.node.clone()),
        ("state", state.to_owned()),
        ("epoch", status.epoch.to_string()),
        ("feed", format!("{} entries, hash {}", status.feed_seq, status.feed_hash)),
        ("stock keys", status.stock_keys.to_string()),
        ("open tasks", status.open_tasks.to_string()),
    ] {
        table.push(vec![name.to_owned(), value]);
    }
    for link in &status.links {
        table.push(vec![format!("link to {}", link.peer), link_words(link, status.feed_seq)]);
    }
    table
}

fn link_words(link: &LinkStatus, feed_seq: u64) -> String {
    let LinkStatus { peer: _, connected, acknowledged_seq, applied_seq, last_error } = link;
    let behind = feed_seq.saturating_sub(*acknowledged_seq);
    let state = if *connected { "connected" } else { "DOWN" };
    let error = if last_error.is_empty() { String::new() } else { format!(": {last_error}") };
    format!("{state}, {behind} entries not acknowledged, {applied_seq} taken{error}")
}

pub(crate) fn status_json(status: &GetNodeStatusResponse) -> Value {
    let link = |link: &LinkStatus| {
        json!({
            "peer": link.peer,
            "connected": link.connected,
            "acknowledged_seq": link.acknowledged_seq,
            "applied_seq": link.applied_seq,
            "last_error": link.last_error,
        })
    };
    json!({
        "node": status.node,
        "epoch": status.epoch,
        "feed_seq": status.feed_seq,
        "feed_hash": status.feed_hash,
        "links": status.links.iter().map(link).collect::<Vec<_>>(),
        "open_tasks": status.open_tasks,
        "recovering": status.recovering,
        "stock_keys": status.stock_keys,
    })
}
