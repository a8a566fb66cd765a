//! What verbs of a site print.

use serde_json::{Value, json};
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::convert;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::node::v1::*;
use stockmesh_service::output::Table;

fn key(stock_key: &Option<common::StockKey>) -> String {
    convert::stock_key(stock_key, "stock_key").map(|key| key.to_string()).unwrap_or_default()
}

fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase().replace('_', " ")
}

pub(super) fn condition(number: i32) -> String {
    match common::Condition::try_from(number).unwrap_or(common::Condition::Unspecified) {
        common::Condition::Unspecified => String::new(),
        condition => word(condition.as_str_name(), "CONDITION_"),
    }
}

fn state(count: &Count) -> String {
    word(count.state().as_str_name(), "COUNT_STATE_")
}

pub(super) fn units_table(units: &[common::UnitGroup]) -> Table {
    let mut table = Table::new(&["units", "lot", "expiry", "bin", "serial numbers"]);
    for group in units {
        let common::UnitGroup { quantity, lot, expiry_date, bin, serials } = group;
        table.push(vec![quantity.to_string(), lot.clone(), expiry_date.clone(), bin.clone(), serials.join(" ")]);
    }
    table
}

pub(super) fn units_json(units: &[common::UnitGroup]) -> Value {
    let json = |group: &common::UnitGroup| {
        let common::UnitGroup { quantity, lot, expiry_date, bin, serials } = group;
        json!({ "quantity": quantity, "lot": lot, "expiry_date": expiry_date, "bin": bin, "serials": serials })
    };
    units.iter().map(json).collect()
}

pub(super) fn holdings_table(holdings: &[Holding]) -> Table {
    let mut table = Table::new(&["stock key", "condition", "lot", "expiry", "bin", "units"]);
    for row in holdings {
        let (lot, expiry, bin) = (row.lot.clone(), row.expiry_date.clone(), row.bin.clone());
        table.push(vec![key(&row.stock_key), condition(row.condition), lot, expiry, bin, row.quantity.to_string()]);
    }
    table
}

pub(super) fn holdings_json(holdings: &[Holding]) -> Value {
    let json = |row: &Holding| {
        json!({
            "stock_key": key(&row.stock_key),
            "condition": condition(row.condition),
            "lot": row.lot,
            "expiry_date": row.expiry_date,
            "bin": row.bin,
            "quantity": row.quantity,
        })
    };
    holdings.iter().map(json).collect()
}

pub(super) fn serials_table(serials: &[SerialUnit]) -> Table {
    let mut table = Table::new(&["serial number", "stock key", "condition", "lot", "bin"]);
    for unit in serials {
        let SerialUnit { serial, stock_key, condition: number, lot, bin } = unit;
        table.push(vec![serial.clone(), key(stock_key), condition(*number), lot.clone(), bin.clone()]);
    }
    table
}

pub(super) fn serials_json(serials: &[SerialUnit]) -> Value {
    let json = |unit: &SerialUnit| {
        let SerialUnit { serial, stock_key, condition: number, lot, bin } = unit;
        json!({ "serial": serial, "stock_key": key(stock_key), "condition": condition(*number), "lot": lot, "bin": bin })
    };
    serials.iter().map(json).collect()
}

pub(super) fn bins_table(bins: &[feed::Bin]) -> Table {
    let mut table = Table::new(&["bin", "zone", "open to customers", "walk order"]);
    for feed::Bin { bin, zone, accessible, walk_order } in bins {
        let open = if *accessible { "yes" } else { "no" };
        table.push(vec![bin.clone(), zone.clone(), open.to_owned(), walk_order.to_string()]);
    }
    table
}

pub(super) fn bins_json(bins: &[feed::Bin]) -> Value {
    let json = |bin: &feed::Bin| {
        let feed::Bin { bin, zone, accessible, walk_order } = bin;
        json!({ "bin": bin, "zone": zone, "accessible": accessible, "walk_order": walk_order })
    };
    bins.iter().map(json).collect()
}

pub(super) fn bins_count_table(bins: u32) -> Table {
    Table::new(&["bins"]).row(vec![bins.to_string()])
}

pub(super) fn closed_table(exception: &str) -> Table {
    Table::new(&["closed"]).row(vec![exception.to_owned()])
}

fn scan_fields(found: &ResolveScanResponse) -> Vec<(&'static str, String)> {
    vec![
        ("item", found.item.clone()),
        ("description", found.description.clone()),
        ("pack", found.pack.clone()),
        ("base_units", found.base_units.to_string()),
        ("gtin", found.gtin.clone()),
        ("lot", found.lot.clone()),
        ("expiry_date", found.expiry_date.clone()),
        ("serial", found.serial.clone()),
        ("weight_grams", found.weight_grams.to_string()),
    ]
}

pub(super) fn scan_table(found: &ResolveScanResponse) -> Table {
    let mut table = Table::new(&["", ""]);
    for (name, value) in scan_fields(found) {
        table.push(vec![name.replace('_', " "), value]);
    }
    table
}

pub(super) fn scan_json(found: &ResolveScanResponse) -> Value {
    let mut json: serde_json::Map<String, Value> =
        scan_fields(found).into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    json.insert("base_units".to_owned(), Value::from(found.base_units));
    json.insert("weight_grams".to_owned(), Value::from(found.weight_grams));
    Value::Object(json)
}

fn who(principal: &Option<common::Principal>) -> String {
    principal.as_ref().map(|principal| principal.id.clone()).unwrap_or_default()
}

pub(super) fn movements_table(movements: &[Movement]) -> Table {
    let mut table =
        Table::new(&["seq", "what", "document", "stock key", "units", "from", "to", "reason", "reference", "who"]);
    for movement in movements {
        table.push(vec![
            movement.seq.to_string(),
            movement.fact.replace('_', " "),
            movement.document_id.clone(),
            key(&movement.stock_key),
            movement.quantity.to_string(),
            condition(movement.from),
            condition(movement.to),
            movement.reason.clone(),
            movement.reference.clone(),
            who(&movement.principal),
        ]);
    }
    table
}

pub(super) fn movement_json(movement: &Movement) -> Value {
    let entered = movement.entered.as_ref();
    json!({
        "seq": movement.seq,
        "time_ms": movement.time_ms,
        "principal": who(&movement.principal),
        "fact": movement.fact,
        "document_id": movement.document_id,
        "stock_key": key(&movement.stock_key),
        "quantity": movement.quantity,
        "from": condition(movement.from),
        "to": condition(movement.to),
        "reason": movement.reason,
        "reference": movement.reference,
        "entered": entered.map(|entered| json!({ "quantity": entered.quantity, "pack": entered.pack })),
        "units": units_json(&movement.units),
    })
}

pub(super) fn inbounds_table(inbounds: &[Inbound]) -> Table {
    let mut table = Table::new(&[
        "expected receipt",
        "from",
        "day",
        "line",
        "stock key",
        "expected",
        "received",
        "held",
        "claimed",
        "state",
    ]);
    for inbound in inbounds {
        let state = match (inbound.closed, inbound.late) {
            (true, _) => "closed",
            (false, true) => "late",
            (false, false) => "open",
        };
        for line in &inbound.lines {
            table.push(vec![
                inbound.inbound_id.clone(),
                inbound.source.clone(),
                inbound.expected_date.clone(),
                line.line.to_string(),
                key(&line.stock_key),
                line.expected.to_string(),
                line.received.to_string(),
                line.held.to_string(),
                line.claimed.to_string(),
                state.to_owned(),
            ]);
        }
    }
    table
}

pub(super) fn inbound_json(inbound: &Inbound) -> Value {
    let line = |line: &ExpectedLine| {
        json!({
            "line": line.line,
            "stock_key": key(&line.stock_key),
            "expected": line.expected,
            "received": line.received,
            "held": line.held,
            "claimed": line.claimed,
        })
    };
    json!({
        "inbound_id": inbound.inbound_id,
        "kind": word(inbound.kind().as_str_name(), "INBOUND_KIND_"),
        "reference": inbound.reference,
        "source": inbound.source,
        "expected_date": inbound.expected_date,
        "revision": inbound.revision,
        "closed": inbound.closed,
        "late": inbound.late,
        "lines": inbound.lines.iter().map(line).collect::<Vec<_>>(),
        "notices": inbound.notices.iter().map(|notice| notice.notice_id.clone()).collect::<Vec<_>>(),
    })
}

pub(super) fn counts_table(counts: &[Count]) -> Table {
    let mut table = Table::new(&["count", "state", "blind", "note"]);
    for count in counts {
        let blind = if count.blind { "yes" } else { "no" };
        table.push(vec![count.count_id.clone(), state(count), blind.to_owned(), count.reference.clone()]);
    }
    table
}

pub(super) fn count_table(count: &Count) -> Table {
    let title = format!("{} ({})", count.count_id, state(count));
    let mut table = Table::new(&[&title, "line", "stock key", "bin", "lot", "counted", "expected", "variance", "who"]);
    for line in &count.lines {
        let hidden = count.blind && matches!(count.state(), feed::CountState::Counting | feed::CountState::Recount);
        let shown = |value: i64| if hidden { String::new() } else { value.to_string() };
        let counted = if line.has_figure { line.counted.to_string() } else { String::new() };
        table.push(vec![
            if line.recount { "again".to_owned() } else { String::new() },
            line.line.to_string(),
            key(&line.stock_key),
            line.bin.clone(),
            line.lot.clone(),
            counted,
            shown(line.expected),
            shown(line.variance),
            who(&line.counter),
        ]);
    }
    table
}

pub(super) fn count_json(count: &Count) -> Value {
    let line = |line: &CountLine| {
        json!({
            "line": line.line,
            "stock_key": key(&line.stock_key),
            "bin": line.bin,
            "lot": line.lot,
            "counted": line.has_figure.then_some(line.counted),
            "expected": line.expected,
            "variance": line.variance,
            "position_seq": line.position_seq,
            "attempts": line.attempts,
            "counter": who(&line.counter),
            "recount": line.recount,
        })
    };
    json!({
        "count_id": count.count_id,
        "state": state(count),
        "blind": count.blind,
        "reference": count.reference,
        "requested_time_ms": count.requested_time_ms,
        "requested_by": who(&count.requested_by),
        "lines": count.lines.iter().map(line).collect::<Vec<_>>(),
    })
}

pub(super) fn due_table(due: &[DueCount]) -> Table {
    let mut table = Table::new(&["stock key", "class", "last counted (ms)", "in a count"]);
    for row in due {
        let last =
            if row.last_counted_time_ms == 0 { "never".to_owned() } else { row.last_counted_time_ms.to_string() };
        let counted = if row.in_count { "yes" } else { "no" };
        table.push(vec![key(&row.stock_key), row.abc_class.clone(), last, counted.to_owned()]);
    }
    table
}

pub(super) fn due_json(row: &DueCount) -> Value {
    json!({
        "stock_key": key(&row.stock_key),
        "abc_class": row.abc_class,
        "last_counted_time_ms": row.last_counted_time_ms,
        "due_time_ms": row.due_time_ms,
        "in_count": row.in_count,
    })
}

pub(super) fn exceptions_table(exceptions: &[NodeException]) -> Table {
    let mut table =
        Table::new(&["exception", "code", "severity", "owner", "stock key", "units", "held", "what happened"]);
    for exception in exceptions {
        let Some(raised) = &exception.raised else { continue };
        table.push(vec![
            raised.exception_id.clone(),
            raised.code().as_str_name().trim_start_matches("EXCEPTION_CODE_").to_owned(),
            exception.severity.clone(),
            exception.owner_role.clone(),
            key(&raised.stock_key),
            raised.quantity.to_string(),
            exception.held.to_string(),
            raised.description.clone(),
        ]);
    }
    table
}

pub(super) fn exception_json(exception: &NodeException) -> Value {
    let raised = exception.raised.clone().unwrap_or_default();
    json!({
        "exception_id": raised.exception_id,
        "code": raised.code().as_str_name().trim_start_matches("EXCEPTION_CODE_"),
        "severity": exception.severity,
        "owner_role": exception.owner_role,
        "closed_by": exception.closed_by,
        "stock_key": key(&raised.stock_key),
        "quantity": raised.quantity,
        "held": exception.held,
        "document_kind": raised.document_kind,
        "document_id": raised.document_id,
        "line": raised.line,
        "description": raised.description,
        "raised_time_ms": exception.raised_time_ms,
    })
}
