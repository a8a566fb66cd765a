//! Answers as tables for people and JSON for programs. JSON amounts are minor units, with the currency beside them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use stockmesh_proto::finance::v1 as wire;
use stockmesh_service::output::{OutputFormat, Table, print};

use super::show_raw;
use crate::money::decimal_of;

pub(super) fn trial_balance(output: OutputFormat, answer: &wire::GetTrialBalanceResponse) {
    let mut table = Table::new(&["entity", "account", "currency", "debit", "credit", "balance"]);
    let mut totals: BTreeMap<(&str, &str), (i64, i64)> = BTreeMap::new();
    for line in &answer.balances {
        let wire::AccountBalance { entity, account, currency_code, debit_minor, credit_minor } = line;
        let amount = |minor| decimal_of(minor, currency_code);
        table.push(vec![
            entity.clone(),
            account.clone(),
            currency_code.clone(),
            amount(*debit_minor),
            amount(*credit_minor),
            amount(debit_minor - credit_minor),
        ]);
        let (debit, credit) = totals.entry((entity, currency_code)).or_default();
        *debit += debit_minor;
        *credit += credit_minor;
    }
    for ((entity, currency), (debit, credit)) in totals {
        let amount = |minor| decimal_of(minor, currency);
        let cells = ["TOTAL".to_owned(), currency.to_owned(), amount(debit), amount(credit), amount(debit - credit)];
        table.push([entity.to_owned()].into_iter().chain(cells).collect());
    }
    let balances: Vec<Value> = answer
        .balances
        .iter()
        .map(|line| {
            json!({
                "entity": line.entity, "account": line.account, "currency": line.currency_code,
                "debit_minor": line.debit_minor, "credit_minor": line.credit_minor,
                "balance_minor": line.debit_minor - line.credit_minor,
            })
        })
        .collect();
    let json = json!({
        "balances": balances, "journal_entries": answer.journal_entries, "ledger_hash": answer.ledger_hash,
    });
    print(output, &table, &json);
    note(output, &format!("{} journal entries, chain hash {}", answer.journal_entries, answer.ledger_hash));
}

pub(super) fn journal(output: OutputFormat, entries: &[wire::JournalEntry], next: &str) {
    let mut table = Table::new(&["entry", "date", "entity", "account", "debit", "credit", "currency", "what"]);
    for entry in entries {
        let what = format!("{} [{}]", entry.description, entry.rule);
        for (n, posting) in entry.postings.iter().enumerate() {
            let amount = decimal_of(posting.amount_minor.abs(), &entry.currency_code);
            let (debit, credit) =
                if posting.amount_minor > 0 { (amount, String::new()) } else { (String::new(), amount) };
            let first = |text: &str| if n == 0 { text.to_owned() } else { String::new() };
            table.push(vec![
                first(&entry.number.to_string()),
                first(&entry.effective_date),
                first(&entry.entity),
                posting.account.clone(),
                debit,
                credit,
                entry.currency_code.clone(),
                first(&what),
            ]);
        }
    }
    let rows: Vec<Value> = entries.iter().map(entry_json).collect();
    print(output, &table, &json!({ "entries": rows, "next_page_token": next }));
    more(output, next);
}

fn entry_json(entry: &wire::JournalEntry) -> Value {
    let postings: Vec<Value> = entry
        .postings
        .iter()
        .map(|posting| {
            json!({
                "account": posting.account, "amount_minor": posting.amount_minor, "node": posting.node,
                "item": posting.item, "channel": posting.channel, "order_id": posting.order_id,
                "jurisdiction": posting.jurisdiction, "tax_rate_ppm": posting.tax_rate_ppm,
            })
        })
        .collect();
    let (source, destination, epoch) = feed_parts(entry.source.as_ref());
    json!({
        "number": entry.number, "entity": entry.entity, "currency": entry.currency_code,
        "effective_date": entry.effective_date, "posting_date": entry.posting_date, "rule": entry.rule,
        "source": source, "destination": destination, "epoch": epoch, "seq": entry.source_seq, "part": entry.part,
        "description": entry.description, "postings": postings, "hash": entry.hash,
    })
}

pub(super) fn suspense(output: OutputFormat, items: &[wire::SuspenseItem], next: &str) {
    let mut table = Table::new(&["source", "seq", "reason", "arrived (UTC)", "description"]);
    for item in items {
        let (source, _, _) = feed_parts(item.source.as_ref());
        let arrived = time(item.arrived_time_ms);
        table.push(vec![source, item.seq.to_string(), item.reason.clone(), arrived, item.description.clone()]);
    }
    let rows: Vec<Value> = items
        .iter()
        .map(|item| {
            let (source, destination, epoch) = feed_parts(item.source.as_ref());
            json!({
                "source": source, "destination": destination, "epoch": epoch, "seq": item.seq,
                "reason": item.reason, "description": item.description, "arrived_time_ms": item.arrived_time_ms,
            })
        })
        .collect();
    print(output, &table, &json!({ "items": rows, "next_page_token": next }));
    more(output, next);
}

pub(super) fn stock_values(output: OutputFormat, values: &[wire::StockValue], next: &str) {
    let columns = [
        "node",
        "item",
        "grade",
        "units",
        "value",
        "currency",
        "returned",
        "at value",
        "unreceived",
        "held",
        "set aside",
    ];
    let mut table = Table::new(&columns);
    for value in values {
        let amount = |minor| decimal_of(minor, &value.currency_code);
        let grade = if value.grade == 2 { "refurbished" } else { "new" };
        table.push(vec![
            value.node.clone(),
            value.item.clone(),
            grade.to_owned(),
            value.quantity.to_string(),
            amount(value.value_minor),
            value.currency_code.clone(),
            value.returns_pending_quantity.to_string(),
            amount(value.returns_pending_value_minor),
            value.unreceived_quantity.to_string(),
            value.held_quantity.to_string(),
            value.set_aside_quantity.to_string(),
        ]);
    }
    let rows: Vec<Value> = values
        .iter()
        .map(|value| {
            json!({
                "node": value.node, "item": value.item, "grade": value.grade, "owner": value.owner,
                "shelf_life_class": value.shelf_life_class, "quantity": value.quantity,
                "value_minor": value.value_minor, "currency": value.currency_code,
                "returns_pending_quantity": value.returns_pending_quantity,
                "returns_pending_value_minor": value.returns_pending_value_minor,
                "unreceived_quantity": value.unreceived_quantity,
                "held_quantity": value.held_quantity, "held_value_minor": value.held_value_minor,
                "set_aside_quantity": value.set_aside_quantity,
                "set_aside_value_minor": value.set_aside_value_minor,
            })
        })
        .collect();
    print(output, &table, &json!({ "values": rows, "next_page_token": next }));
    more(output, next);
}

pub(super) fn status(output: OutputFormat, answer: &wire::GetPostingStatusResponse) {
    let mut table = Table::new(&["feed", "for", "epoch", "posted up to"]);
    let mut rows = Vec::new();
    for cursor in &answer.cursors {
        let (source, destination, epoch) = feed_parts(cursor.feed.as_ref());
        let seq = cursor.position.as_ref().map_or(0, |position| position.seq);
        table.push(vec![source.clone(), destination.clone(), epoch.to_string(), seq.to_string()]);
        rows.push(json!({ "source": source, "destination": destination, "epoch": epoch, "seq": seq }));
    }
    let json = json!({
        "feeds": rows, "suspense": answer.suspense, "journal_entries": answer.journal_entries,
        "archived_bytes": answer.archived_bytes,
        "signed_head": answer.signed_head.as_ref().map(show_raw::head_json),
    });
    print(output, &table, &json);
    note(output, &format!("{} journal entries, {} facts in suspense", answer.journal_entries, answer.suspense));
    if let Some(head) = &answer.signed_head {
        note(output, &format!("signed up to entry {}, chain hash {}", head.number, head.hash));
    }
}

pub(super) fn exported(output: OutputFormat, out: &Path, bytes: u64) {
    let file = out.display().to_string();
    let table = Table::new(&["file", "bytes"]).row(vec![file.clone(), bytes.to_string()]);
    print(output, &table, &json!({ "file": file, "bytes": bytes }));
}

/// A time for people; the number when it is none.
pub(super) fn time(time_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(time_ms).map_or_else(|_| time_ms.to_string(), |time| time.to_string())
}

/// A line for people below a table.
pub(super) fn note(output: OutputFormat, text: &str) {
    if output == OutputFormat::Table {
        println!("{text}");
    }
}

pub(super) fn more(output: OutputFormat, next: &str) {
    if !next.is_empty() {
        note(output, &format!("there is more: --page-token {next}"));
    }
}

pub(super) fn feed_parts(feed: Option<&stockmesh_proto::feed::v1::FeedRef>) -> (String, String, u64) {
    feed.map(|feed| (feed.participant.clone(), feed.destination.clone(), feed.epoch)).unwrap_or_default()
}
