//! The file of books: the same books as in memory, whatever the batches and restarts; damage is found.

mod common;
#[path = "../core/tests/common/world.rs"]
mod world;

use std::path::Path;

use common::Chains;
use common::facts::{self, Ledger, Sent, received};
use proptest::prelude::*;
use rusqlite::Connection;
use stockmesh_finance::export::export;
use stockmesh_finance::fold::fold;
use stockmesh_finance::store::{FILE_NAME, StockRow, Store, StoreError, open_reader, verify};
use stockmesh_finance::writer::WriterHandle;
use stockmesh_proto::finance::v1::ExportFormat;
use stockmesh_types::{ChainHash, FeedId, Reason};
use world::{World, steps};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// Posts facts in batches, with a restart after each `restart` of them; each batch is sent twice.
fn keep(dir: &Path, facts: &[Sent], batch: usize, restart: usize) {
    let mut chains = Chains::default();
    let entries: Vec<_> = facts.iter().map(|sent| chains.append(sent)).collect();
    for life in entries.chunks(restart) {
        let (handle, writer) = common::start(dir);
        runtime().block_on(async {
            for batch in life.chunks(batch) {
                for _ in 0..2 {
                    for (feed, entry) in batch {
                        let head = handle.apply(feed.clone(), vec![entry.clone()]).await.unwrap();
                        assert!(head.seq >= entry.seq);
                    }
                }
            }
        });
        drop(handle);
        writer.join().unwrap();
    }
    let reader = open_reader(dir).unwrap();
    assert_eq!(reader.place().unwrap().cursors, *chains.heads());
}

fn exported(dir: &Path, format: ExportFormat) -> String {
    let mut bytes = Vec::new();
    export(&open_reader(dir).unwrap(), format, "", |piece| {
        bytes.extend(piece);
        Ok(())
    })
    .unwrap();
    String::from_utf8(bytes).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_file_has_the_books_that_memory_has(
        steps in steps(50), choices in proptest::collection::vec(0_usize..4, 0..100),
        batch in 1_usize..20, restart in 1_usize..40,
    ) {
        let facts = World::of(&steps, false).interleaved(&choices);
        let mut memory = Ledger::empty();
        facts.iter().for_each(|sent| memory.post(sent));
        memory.write();
        let dir = tempfile::tempdir().unwrap();
        keep(dir.path(), &facts, batch, restart);
        let reader = open_reader(dir.path()).unwrap();
        let records = memory.books.records();
        let entries = reader.entries(0, 10_000, "").unwrap();
        prop_assert_eq!(&entries.rows, &records.entries);
        let place = reader.place().unwrap();
        // When it came is the wall clock's; what waits is not.
        prop_assert_eq!(place.meta.suspended, records.meta.suspended);
        prop_assert_eq!(place.meta.head, records.meta.head);
        let stock: i64 = reader.stock(&StockRow::default(), 1_000, "").unwrap().rows.iter().map(|row| row.value_minor).sum();
        prop_assert_eq!(stock, records.cells.values().map(|cell| cell.value_minor).sum::<i64>());
        let result = verify(&reader, |_| {}).unwrap();
        prop_assert_eq!(&result.findings, &[]);
        prop_assert_eq!(result.head, records.meta.head.hash.to_string());
        let again = fold(&reader, dir.path(), |_, _| {}).unwrap();
        prop_assert_eq!(&again.findings, &[]);
        prop_assert_eq!((again.facts, again.impossible.as_str()), (facts.len() as u64, ""));
    }
}

/// Books with a few entries, in a folder.
fn some_books() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut feeds = facts::Feeds::default();
    let mut facts = vec![feeds.send("coordinator/1", facts::registered("dc-1", "uk"))];
    facts.extend((0..5).map(|n| feeds.send("node/dc-1", received(&format!("R\"{n}\""), "A", 3, 100 + n))));
    // An id with quotes is refused: five good receipts follow.
    facts.extend((0..5).map(|n| feeds.send("node/dc-1", received(&format!("R{n}"), "A", 3, 100 + n))));
    keep(dir.path(), &facts, 3, 100);
    dir
}

#[test]
fn damage_is_found() {
    let cases: [(&str, &str, bool); 10] = [
        ("UPDATE posting SET amount_minor = amount_minor + 1 WHERE entry = 2 AND line = 0", "balance", false),
        ("UPDATE entry SET description = 'x' WHERE number = 2", "chain", false),
        ("UPDATE entry SET description = 'x' WHERE number = 5", "chain", true),
        ("DELETE FROM entry WHERE number = 2", "numbers", false),
        ("DELETE FROM entry WHERE number = 5", "chain", true),
        ("UPDATE account SET debit_minor = debit_minor + 1 WHERE name LIKE 'Assets:%'", "balances", true),
        ("UPDATE stock SET value_minor = value_minor + 1", "stock", false),
        ("DELETE FROM suspense WHERE id = 1", "suspense", false),
        ("UPDATE posting SET tax_rate_ppm = 1 WHERE entry = 2 AND line = 0", "chain", false),
        ("UPDATE entry SET part = 1 WHERE number = 2", "chain", false),
    ];
    for (damage, check, at_start) in cases {
        let dir = some_books();
        assert_eq!(verify(&open_reader(dir.path()).unwrap(), |_| {}).unwrap().findings, []);
        let file = Connection::open(dir.path().join(FILE_NAME)).unwrap();
        file.pragma_update(None, "foreign_keys", "OFF").unwrap();
        assert!(file.execute(damage, []).unwrap() > 0, "{damage}");
        drop(file);
        let findings = verify(&open_reader(dir.path()).unwrap(), |_| {}).unwrap().findings;
        assert!(findings.iter().any(|finding| finding.check == check), "{damage}: {findings:?}");
        let opened = Store::open(dir.path(), "main").map(|_| ());
        assert_eq!(matches!(opened, Err(StoreError::Damaged(_))), at_start, "{damage}: {opened:?}");
    }
}

#[test]
fn no_fact_is_posted_twice() {
    let dir = some_books();
    let file = Connection::open(dir.path().join(FILE_NAME)).unwrap();
    file.pragma_update(None, "foreign_keys", "OFF").unwrap();
    // The second receipt's entry as another one of the first receipt (the sixth fact of its feed).
    let again = "UPDATE entry SET source_seq = 6 WHERE number = 2";
    let refused = file.execute(again, []).unwrap_err();
    assert_eq!(refused.sqlite_error_code(), Some(rusqlite::ErrorCode::ConstraintViolation), "{refused}");
    // verify does not rely on the index.
    file.execute_batch("DROP INDEX posted_once").unwrap();
    assert_eq!(file.execute(again, []).unwrap(), 1);
    drop(file);
    let findings = verify(&open_reader(dir.path()).unwrap(), |_| {}).unwrap().findings;
    let twice = findings.iter().find(|finding| finding.check == "posted once").unwrap();
    assert_eq!(twice.detail, "entries 1 and 2 are the same part of receipt.purchase/1 of one fact");
}

#[test]
fn books_of_others_are_refused() {
    let dir = some_books();
    assert!(matches!(Store::open(dir.path(), "other"), Err(StoreError::Damaged(_))));
    let store = Store::open(dir.path(), "main").unwrap();
    assert!(matches!(Store::open(dir.path(), "main"), Err(StoreError::InUse(_))));
    drop(store);
    Connection::open(dir.path().join(FILE_NAME)).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Store::open(dir.path(), "main"), Err(StoreError::Format { format: 99, .. })));
    assert!(matches!(open_reader(dir.path()), Err(StoreError::Format { format: 99, .. })));
    let foreign = tempfile::tempdir().unwrap();
    Connection::open(foreign.path().join(FILE_NAME)).unwrap().execute_batch("CREATE TABLE x (y)").unwrap();
    assert!(matches!(Store::open(foreign.path(), "main"), Err(StoreError::Format { .. })));
}

fn apply(
    handle: &WriterHandle,
    feed: &FeedId,
    entries: &[&stockmesh_proto::feed::v1::FeedEntry],
) -> Result<u64, Reason> {
    let entries = entries.iter().map(|entry| (*entry).clone()).collect();
    let answer = runtime().block_on(handle.apply(feed.clone(), entries));
    answer.map(|head| head.seq).map_err(|reject| reject.reason)
}

#[test]
fn gaps_forks_and_unknown_facts_stop_a_feed_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, writer) = common::start(dir.path());
    let (mut chains, mut feeds) = (Chains::default(), facts::Feeds::default());
    let mut next = |n: usize| chains.append(&feeds.send("node/dc-1", received(&format!("R{n}"), "A", 3, 100)));
    let entries: Vec<_> = (0..4).map(&mut next).collect();
    let feed = entries[0].0.clone();
    let [one, two, three, four] = [&entries[0].1, &entries[1].1, &entries[2].1, &entries[3].1];
    assert_eq!(apply(&handle, &feed, &[two]), Err(Reason::FeedGap));
    assert_eq!(apply(&handle, &feed, &[one, two]), Ok(2));
    assert_eq!(apply(&handle, &feed, &[one]), Ok(2));
    // The good part of a bad batch takes effect.
    let mut forked = (*four).clone();
    forked.body = three.body.clone();
    assert_eq!(apply(&handle, &feed, &[three, &forked]), Err(Reason::FeedForked));
    assert_eq!(handle.cursor(&feed).seq, 3);
    assert_eq!(apply(&handle, &feed, &[four]), Ok(4));

    let mut unknown = feeds.send("node/dc-1", received("R5", "A", 3, 100));
    unknown.body.fact = None;
    let (_, unknown) = chains.append(&unknown);
    assert_eq!(apply(&handle, &feed, &[&unknown]), Err(Reason::UnknownFact));
    assert_eq!(handle.cursor(&feed).seq, 4);
    drop(handle);
    writer.join().unwrap();
    let place = open_reader(dir.path()).unwrap().place().unwrap();
    assert_eq!((place.meta.suspended, place.cursors[&feed].seq), (4, 4));
    assert_ne!(place.cursors[&feed].hash, ChainHash::START);
}

#[test]
fn pages_of_lists_are_complete_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut feeds = facts::Feeds::default();
    let mut facts = vec![feeds.send("coordinator/1", facts::registered("dc-1", "uk"))];
    facts.extend((0..25).map(|n| feeds.send("node/dc-1", received(&format!("R{n}"), &format!("I{n:02}"), 3, 100))));
    facts.extend((0..25).map(|n| feeds.send("node/st-1", received(&format!("R{n}"), "A", 3, 100))));
    facts.push(feeds.send("coordinator/1", facts::registered("st-2", "uk")));
    facts.push(feeds.send("node/st-2", received("R", "I07", 3, 100)));
    keep(dir.path(), &facts, 100, 1_000);
    let reader = open_reader(dir.path()).unwrap();
    for size in [1, 7, 25, 26, 100] {
        let (mut rows, mut after) = (Vec::new(), StockRow::default());
        loop {
            let page = reader.stock(&after, size, "dc-1").unwrap();
            rows.extend(page.rows.iter().map(|row| row.item.clone()));
            after = page.rows.last().unwrap().clone();
            if !page.more {
                break;
            }
        }
        assert_eq!(rows, (0..25).map(|n| format!("I{n:02}")).collect::<Vec<_>>(), "pages of {size}");
        let (mut numbers, mut after) = (Vec::new(), 0);
        loop {
            let page = reader.suspense(after, size).unwrap();
            numbers.extend(page.rows.iter().map(|row| row.source.seq));
            after = page.rows.last().unwrap().id;
            if !page.more {
                break;
            }
        }
        assert_eq!(numbers, (1..=25).collect::<Vec<_>>(), "pages of {size}");
    }
    assert_eq!(reader.stock(&StockRow::default(), 100, "").unwrap().rows.len(), 26);
    assert_eq!(reader.stock(&StockRow::default(), 100, "none").unwrap().rows.len(), 0);
}

#[test]
fn exports_have_every_account_and_every_posting() {
    let dir = tempfile::tempdir().unwrap();
    let (mut feeds, uk) = (facts::Feeds::default(), facts::registered("dc-1", "uk"));
    let terms = stockmesh_proto::common::v1::PaymentTerms::Prepaid;
    let order = facts::ordered("O1", terms, &[("A", 3, facts::vat_price(1_000, 100, 0))]);
    let facts = [
        feeds.send("coordinator/1", uk),
        feeds.send("node/dc-1", received("R1", "A", 10, 1_005)),
        feeds.send("coordinator/1", order),
        feeds.send("node/dc-1", facts::shipped("S1", "O1", &[(1, "A", 2)])),
    ];
    keep(dir.path(), &facts, 1, 10);
    let beancount = exported(dir.path(), ExportFormat::Beancount);
    for line in [
        "option \"tolerance_multiplier\" \"0\"",
        "2026-01-07 open Assets:Uk:Inventory:Dc-1 GBP",
        "2026-01-07 * \"Prepaid order O1\" ^coordinator/1/1/2",
        "  rule: \"order.deposit/1\"",
        "  order: \"O1\"",
        "  effective-date: 2026-01-05",
        "2026-01-07 * \"Revenue of shipment S1 from dc-1, order O1\" ^node/dc-1/1/2",
        "  Liabilities:Uk:CustomerDeposits  -10.80 GBP",
        // The day after the last entry; 10.05 less two tenths of it, 2.01.
        "2026-01-08 balance Assets:Uk:Inventory:Dc-1 8.04 GBP",
        "2026-01-08 balance Liabilities:Uk:CustomerDeposits -3.60 GBP",
    ] {
        assert!(beancount.lines().any(|found| found == line), "{line:?} in\n{beancount}");
    }
    // Only what happened on another day says so: the two entries of the order.
    assert_eq!(beancount.matches("effective-date:").count(), 2, "{beancount}");
    let hledger = exported(dir.path(), ExportFormat::Hledger);
    for line in [
        "commodity 1000.00 GBP",
        "account Liabilities:Uk:CustomerDeposits",
        "2026-01-07 * Revenue of shipment S1 from dc-1  order O1",
        "    ; number:5, rule:shipment.revenue/1, source:node/dc-1/1/2, order:O1",
        "    Liabilities:Uk:TaxPayable:GB  -1.20 GBP  ; tax-rate-ppm:200000",
        "2026-01-07 * Balances",
        "    Assets:Uk:Inventory:Dc-1  0.00 GBP = 8.04 GBP",
    ] {
        assert!(hledger.lines().any(|found| found == line), "{line:?} in\n{hledger}");
    }
    let csv = exported(dir.path(), ExportFormat::Csv);
    let reader = open_reader(dir.path()).unwrap();
    let postings = verify(&reader, |_| {}).unwrap().postings;
    assert_eq!(csv.lines().count() as u64, 1 + postings);
    let row = "2,1,uk,2026-01-05,2026-01-07,order.deposit/1,coordinator/1,finance/main,1,2,0,Prepaid order O1,\
               Liabilities:CustomerDeposits,GBP,,10.80,,A,web,O1,,,";
    assert!(csv.contains(row), "{csv}");
    // Two thirds of the line shipped: 6.67 - 0.67 at 20 % is 1.20 of VAT, each with its jurisdiction and rate.
    for row in [
        "Liabilities:TaxPayable:GB,GBP,,1.20,dc-1,A,web,O1,GB,200000,",
        "Income:Sales:Web,GBP,,6.67,dc-1,A,web,O1,GB,200000,",
        "Income:Discounts:Web,GBP,0.67,,dc-1,A,web,O1,GB,200000,",
        "Expenses:CostOfGoodsSold,GBP,2.01,,dc-1,A,web,O1,,,",
    ] {
        assert!(csv.contains(row), "{row} in\n{csv}");
    }
    // An accountant's view of the same.
    let file = Connection::open(dir.path().join(FILE_NAME)).unwrap();
    let sum: i64 = file.query_row("SELECT sum(balance_minor) FROM trial_balance", [], |row| row.get(0)).unwrap();
    let lines: i64 = file.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap();
    let left: i64 = file.query_row("SELECT sum(quantity_left) FROM stock_layer", [], |row| row.get(0)).unwrap();
    assert_eq!((sum, lines, left), (0, i64::try_from(postings).unwrap(), 8));
}
