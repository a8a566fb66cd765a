//! Raw feeds and signed heads, as tables and JSON.

use prost::Message as _;
use serde_json::{Value, json};
use stockmesh_proto::feed::v1::{EntryBody, FeedEntry, FeedPosition};
use stockmesh_proto::finance::v1 as wire;
use stockmesh_service::output::{OutputFormat, Table, print};

use super::show::{feed_parts, more, note, time};
use crate::signing::to_hex;

pub(super) fn feeds(output: OutputFormat, feeds: &[wire::ArchivedFeed], next: &str) {
    let mut table = Table::new(&["feed", "for", "epoch", "archived from", "up to", "bytes"]);
    let mut rows = Vec::new();
    for feed in feeds {
        let (participant, destination, epoch) = feed_parts(feed.feed.as_ref());
        let head = feed.head.clone().unwrap_or_default();
        table.push(vec![
            participant.clone(),
            destination.clone(),
            epoch.to_string(),
            feed.first_seq.to_string(),
            head.seq.to_string(),
            feed.body_bytes.to_string(),
        ]);
        rows.push(json!({
            "participant": participant, "destination": destination, "epoch": epoch, "first_seq": feed.first_seq,
            "head_seq": head.seq, "head_hash": to_hex(&head.hash), "body_bytes": feed.body_bytes,
        }));
    }
    print(output, &table, &json!({ "feeds": rows, "next_page_token": next }));
    more(output, next);
}

pub(super) fn entries(output: OutputFormat, entries: &[FeedEntry], head: Option<&FeedPosition>) {
    let mut table = Table::new(&["seq", "time (UTC)", "business date", "fact"]);
    let mut rows = Vec::new();
    for entry in entries {
        let FeedEntry { seq, body, hash } = entry;
        let decoded = EntryBody::decode(body.clone()).unwrap_or_default();
        let fact = decoded.fact.as_ref().map(|fact| format!("{fact:?}")).unwrap_or_default();
        let at = time(decoded.time_ms);
        table.push(vec![seq.to_string(), at, decoded.business_date.clone(), shortened(&fact)]);
        rows.push(json!({
            "seq": seq, "time_ms": decoded.time_ms, "business_date": decoded.business_date, "fact": fact,
            "body": to_hex(body), "hash": to_hex(hash),
        }));
    }
    let head_seq = head.map_or(0, |head| head.seq);
    print(output, &table, &json!({ "entries": rows, "head_seq": head_seq }));
    if let Some(last) = entries.last().filter(|last| last.seq < head_seq) {
        note(output, &format!("the feed goes on to entry {head_seq}: --after {}", last.seq));
    }
}

/// As much of a fact as a line of a table has room for.
fn shortened(fact: &str) -> String {
    const WIDTH: usize = 160;
    if fact.chars().count() <= WIDTH {
        return fact.to_owned();
    }
    fact.chars().take(WIDTH).chain("...".chars()).collect()
}

pub(super) fn heads(output: OutputFormat, heads: &[wire::SignedHead], next: &str) {
    let mut table = Table::new(&["entry", "chain hash", "signed (UTC)", "key"]);
    for head in heads {
        let key = head.public_key.chars().take(16).collect();
        table.push(vec![head.number.to_string(), head.hash.clone(), time(head.signed_time_ms), key]);
    }
    let rows: Vec<Value> = heads.iter().map(head_json).collect();
    print(output, &table, &json!({ "heads": rows, "next_page_token": next }));
    more(output, next);
}

pub(super) fn head_json(head: &wire::SignedHead) -> Value {
    let wire::SignedHead { finance_id, number, hash, signed_time_ms, public_key, signature } = head;
    json!({
        "finance_id": finance_id, "number": number, "hash": hash, "signed_time_ms": signed_time_ms,
        "public_key": public_key, "signature": signature,
    })
}
