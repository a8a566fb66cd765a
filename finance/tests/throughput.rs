//! Measures the writer: facts and postings a second from feeds into the file, and raw inserts of the same rows in the same
//! run for comparison. `cargo test --release -p stockmesh-finance --test throughput -- --ignored --nocapture`

mod common;

use std::time::Instant;

use common::{Chains, Feeds, received, registered, shipped, sold, vat_price};
use rusqlite::{Connection, params};
use stockmesh_finance::fold::fold;
use stockmesh_finance::store::{FILE_NAME, open_reader, verify};
use stockmesh_proto::common::v1::{PaymentTerms, Tender};
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_types::FeedId;

const ORDERS: usize = 20_000;
const ITEMS: usize = 2_000;
const BATCH: usize = 1_000;

/// Two-line prepaid orders, each shipped by one node, and as many counter sales.
fn history() -> Vec<(FeedId, Vec<FeedEntry>)> {
    let (mut feeds, mut chains) = (Feeds::default(), Chains::default());
    let mut entries = Vec::new();
    let item = |n: usize| format!("I{}", n * 7_919 % ITEMS);
    let mut send = |participant: &str, fact| {
        let entry = chains.append(&feeds.send(participant, fact));
        entries.push(entry);
    };
    send("coordinator/1", registered("dc-1", "uk"));
    send("coordinator/1", registered("st-1", "uk"));
    for n in 0..ITEMS {
        send("node/dc-1", received(&format!("R{n}"), &format!("I{n}"), 1_000, 123_456));
        send("node/st-1", received(&format!("R{n}"), &format!("I{n}"), 1_000, 123_456));
    }
    for n in 0..ORDERS {
        let (a, b) = (item(n), item(n + 1));
        let lines = [(a.as_str(), 2, vat_price(1_999, 100, 0)), (b.as_str(), 1, vat_price(499, 0, 0))];
        let id = format!("O{n}");
        send("coordinator/1", common::ordered(&id, PaymentTerms::Prepaid, &lines));
        send("node/dc-1", shipped(&format!("S{n}"), &id, &[(1, &a, 2), (2, &b, 1)]));
        send("node/st-1", sold(&format!("C{n}"), Tender::Card, &[(&a, 1, vat_price(999, 0, 0))]));
    }
    let mut batches: Vec<(FeedId, Vec<FeedEntry>)> = Vec::new();
    for feed in chains.heads().keys() {
        let own: Vec<_> = entries.iter().filter(|(of, _)| of == feed).map(|(_, entry)| entry.clone()).collect();
        batches.extend(own.chunks(BATCH).map(|chunk| (feed.clone(), chunk.to_vec())));
    }
    // Feeds take turns, as links do.
    let mut turns: Vec<_> = Vec::new();
    for n in 0.. {
        let before = turns.len();
        for feed in chains.heads().keys() {
            turns.extend(batches.iter().filter(|(of, _)| of == feed).nth(n).cloned());
        }
        if turns.len() == before {
            return turns;
        }
    }
    turns
}

/// The same entries and postings, inserted in batches without any logic.
fn raw_inserts(books: &std::path::Path, to: &std::path::Path) -> f64 {
    let source = Connection::open(books).unwrap();
    let mut statement = source.prepare("SELECT number, entity, currency, effective_date, posting_date, rule, feed, source_seq, part, description, hash FROM entry").unwrap();
    let entries: Vec<_> = statement
        .query_map([], |row| {
            Ok((
                (row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?),
                (row.get::<_, String>(4)?, row.get::<_, String>(5)?, row.get::<_, i64>(6)?, row.get::<_, i64>(7)?),
                (row.get::<_, i64>(8)?, row.get::<_, String>(9)?, row.get::<_, Vec<u8>>(10)?),
            ))
        })
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut statement = source.prepare("SELECT entry, line, account, amount_minor, node, item, channel, order_id, jurisdiction, tax_rate_ppm FROM posting ORDER BY entry, line").unwrap();
    let postings: Vec<_> = statement
        .query_map([], |row| {
            Ok((
                (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?),
                (row.get::<_, String>(4)?, row.get::<_, String>(5)?, row.get::<_, String>(6)?),
                (row.get::<_, String>(7)?, row.get::<_, String>(8)?, row.get::<_, i64>(9)?),
            ))
        })
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let file = Connection::open(to).unwrap();
    file.pragma_update(None, "journal_mode", "WAL").unwrap();
    file.pragma_update(None, "synchronous", "FULL").unwrap();
    file.execute_batch(include_str!("../src/store/schema.sql")).unwrap();
    file.pragma_update(None, "foreign_keys", "OFF").unwrap();
    let begun = Instant::now();
    let mut next = postings.iter().peekable();
    for batch in entries.chunks(BATCH) {
        file.execute_batch("BEGIN").unwrap();
        for ((number, entity, currency, effective), (posted, rule, feed, seq), (part, description, hash)) in batch {
            file.prepare_cached("INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")
                .unwrap()
                .execute(params![number, entity, currency, effective, posted, rule, feed, seq, part, description, hash])
                .unwrap();
            while let Some(((_, line, account, amount), (node, item, channel), (order, jurisdiction, rate))) =
                next.next_if(|posting| posting.0.0 == *number)
            {
                file.prepare_cached("INSERT INTO posting VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")
                    .unwrap()
                    .execute(params![number, line, account, amount, node, item, channel, order, jurisdiction, rate])
                    .unwrap();
            }
        }
        file.execute_batch("COMMIT").unwrap();
    }
    begun.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement: run it in release"]
fn facts_and_postings_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let turns = history();
    let facts: usize = turns.iter().map(|(_, entries)| entries.len()).sum();
    let (handle, writer) = common::start(dir.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let begun = Instant::now();
    runtime.block_on(async {
        for (feed, entries) in turns {
            handle.apply(feed, entries).await.unwrap();
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    drop(handle);
    writer.join().unwrap();
    let reader = open_reader(dir.path()).unwrap();
    let result = verify(&reader, |_| {}).unwrap();
    assert_eq!((result.findings.len(), result.suspense), (0, 0));
    let begun = Instant::now();
    let again = fold(&reader, dir.path(), |_, _| {}).unwrap();
    assert_eq!((again.findings.len(), again.facts), (0, facts as u64));
    println!(
        "recomputed from {} bytes of raw feeds in {:.2} s; the file has {} bytes",
        reader.archived_bytes().unwrap(),
        begun.elapsed().as_secs_f64(),
        std::fs::metadata(dir.path().join(FILE_NAME)).unwrap().len()
    );
    let raw = raw_inserts(&dir.path().join(FILE_NAME), &dir.path().join("raw.sqlite"));
    let rate = |count: u64, seconds: f64| count as f64 / seconds;
    println!(
        "{facts} facts, {} entries, {} postings in {seconds:.2} s: {:.0} facts/s, {:.0} postings/s; raw inserts of the \
         same rows {:.0} postings/s: ratio {:.2}",
        result.entries,
        result.postings,
        rate(facts as u64, seconds),
        rate(result.postings, seconds),
        rate(result.postings, raw),
        raw / seconds
    );
}
