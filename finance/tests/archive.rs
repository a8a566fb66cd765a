//! The raw feeds behind the books: read back as received, enough to recompute the books, and what shows when they, or the
//! books, were changed.

mod common;

use std::path::Path;

use common::{Chains, Feeds, Sent, received};
use rusqlite::Connection;
use stockmesh_finance::fold::{Fold, fold};
use stockmesh_finance::signing::is_signed;
use stockmesh_finance::store::{FILE_NAME, Store, StoreError, open_reader, verify};
use stockmesh_finance::verify_heads::{KeptHead, check_kept, check_signed};
use stockmesh_finance_core::Settings;
use stockmesh_proto::common::v1::PaymentTerms;
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_types::{FeedId, LegalEntity};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// Posts entries, each by itself or all of a feed's run at once, in one life of the writer.
fn post(dir: &Path, settings: Settings, entries: &[(FeedId, FeedEntry)], at_once: usize) {
    let (handle, writer) = common::start_with(dir, settings);
    runtime().block_on(async {
        for run in entries.chunk_by(|one, next| one.0 == next.0) {
            for part in run.chunks(at_once) {
                let bodies = part.iter().map(|(_, entry)| entry.clone()).collect();
                handle.apply(part[0].0.clone(), bodies).await.unwrap();
            }
        }
    });
    drop(handle);
    writer.join().unwrap();
}

/// Receipts of two nodes with an order between them.
fn history() -> Vec<Sent> {
    let mut feeds = Feeds::default();
    let mut facts = vec![feeds.send("coordinator/1", common::registered("dc-1", "uk"))];
    facts.extend((0..30).map(|n| feeds.send("node/dc-1", received(&format!("R{n}"), "A", 3, 100 + n))));
    let lines = [("A", 3, common::vat_price(1_000, 100, 0))];
    facts.push(feeds.send("coordinator/1", common::ordered("O1", PaymentTerms::Prepaid, &lines)));
    facts.push(feeds.send("node/st-1", received("WAITS", "A", 3, 100)));
    facts.extend((30..60).map(|n| feeds.send("node/dc-1", received(&format!("R{n}"), "B", 3, 100 + n))));
    facts
}

fn chained(facts: &[Sent]) -> Vec<(FeedId, FeedEntry)> {
    let mut chains = Chains::default();
    facts.iter().map(|sent| chains.append(sent)).collect()
}

fn again(dir: &Path) -> Fold {
    fold(&open_reader(dir).unwrap(), dir, |_, _| {}).unwrap()
}

fn details(fold: &Fold) -> Vec<&str> {
    fold.findings.iter().map(|finding| finding.detail.as_str()).collect()
}

#[test]
fn entries_are_read_back_as_received_from_wherever_pages_begin() {
    let entries = chained(&history());
    for at_once in [1, 7, 100] {
        let dir = tempfile::tempdir().unwrap();
        post(dir.path(), Settings::default(), &entries, at_once);
        let reader = open_reader(dir.path()).unwrap();
        let feeds = reader.archived_feeds(None, 10, "").unwrap().rows;
        let names: Vec<_> = feeds.iter().map(|one| one.feed.participant.as_str()).collect();
        assert_eq!(names, ["coordinator/1", "node/dc-1", "node/st-1"]);
        for archived in &feeds {
            let sent: Vec<_> =
                entries.iter().filter(|(feed, _)| *feed == archived.feed).map(|(_, entry)| entry.clone()).collect();
            assert_eq!((archived.first_seq(), archived.head.seq), (1, sent.len() as u64));
            assert_eq!(archived.body_bytes, sent.iter().map(|entry| entry.body.len() as u64).sum::<u64>());
            for after in 0..=sent.len() {
                for size in [1, 5, 1_000] {
                    let page = reader.archived_entries(archived, after as u64, size, usize::MAX).unwrap();
                    assert_eq!(page, sent[after..sent.len().min(after + size)], "after {after}, {size} at most");
                }
                // However few bytes a page has, it has an entry.
                let page = reader.archived_entries(archived, after as u64, 1_000, 1).unwrap();
                assert_eq!(page, sent[after..sent.len().min(after + 1)]);
            }
        }
        let second = reader.archived_feeds(Some(&feeds[0].feed), 1, "").unwrap();
        assert_eq!((second.rows.as_slice(), second.more), (&feeds[1..2], true));
        assert_eq!(reader.archived_feeds(None, 10, "node/st-1").unwrap().rows, feeds[2..]);
        let unknown = FeedId { epoch: 2, ..feeds[0].feed.clone() };
        assert_eq!(reader.archived_feed(&unknown).unwrap(), None);
    }
}

#[test]
fn a_change_of_settings_is_part_of_what_the_books_are_recomputed_from() {
    let mut feeds = Feeds::default();
    let order = |feeds: &mut Feeds, id: &str| {
        let lines = [("A", 3, common::vat_price(1_000, 100, 0))];
        feeds.send("coordinator/1", common::ordered(id, PaymentTerms::Prepaid, &lines))
    };
    let facts = [
        feeds.send("coordinator/1", common::registered("dc-1", "uk")),
        order(&mut feeds, "O1"),
        order(&mut feeds, "O2"),
        order(&mut feeds, "O3"),
    ];
    let entries = chained(&facts);
    let dir = tempfile::tempdir().unwrap();
    let entity = |name: &str| LegalEntity::new(name).unwrap();
    let of_channel = Settings {
        deposit_entity: Some(entity("us")),
        deposit_entities: [("web".to_owned(), entity("de"))].into_iter().collect(),
        ..Settings::default()
    };
    let of_all = Settings { deposit_entity: Some(entity("us")), ..Settings::default() };
    post(dir.path(), Settings::default(), &entries[..2], 10);
    post(dir.path(), of_channel, &entries[2..3], 10);
    post(dir.path(), of_all, &entries[3..], 10);
    let reader = open_reader(dir.path()).unwrap();
    let held: Vec<_> = reader
        .balances("")
        .unwrap()
        .into_iter()
        .filter(|account| account.name == "Liabilities:CustomerDeposits")
        .map(|account| (account.entity, account.credit_minor))
        .collect();
    assert_eq!(held, [("de".into(), 1_080), ("uk".into(), 1_080), ("us".into(), 1_080)]);
    assert_eq!(reader.posting_settings().unwrap().len(), 3);
    assert_eq!(details(&again(dir.path())), Vec::<&str>::new());
}

#[test]
fn books_that_do_not_follow_from_their_raw_feeds_are_found() {
    let entries = chained(&history());
    // What is consistent in itself: only the raw feeds tell.
    let raise = "UPDATE account SET debit_minor = debit_minor + 5 WHERE name = 'Assets:Inventory:Dc-1'; \
                 UPDATE account SET credit_minor = credit_minor + 5 WHERE name = 'Liabilities:Grni'";
    for (damage, expected) in [
        (raise, "the books say 7775 debit, 0 credit, the raw feeds give 7770, 0"),
        ("DELETE FROM archive WHERE id = 3", "rows 3 to 3 of the archive are missing"),
        (
            "UPDATE archive SET bodies = (SELECT bodies FROM archive WHERE id = 2) WHERE id = 4",
            "chain hash of node/dc-1",
        ),
        ("UPDATE archive SET first_seq = first_seq + 1 WHERE id = 2", "begins node/dc-1 (epoch 1) at 2, behind 0"),
        ("UPDATE suspense SET reason = 'X'", "suspense: the books have X of entry 1 of node/st-1"),
        ("UPDATE stock SET quantity = quantity + 1 WHERE item = 'B'", "stock: the books have B at dc-1: 91 units"),
        ("UPDATE entry SET hash = zeroblob(32) WHERE number = 40", ""),
        ("UPDATE feed SET seq = seq - 1 WHERE participant = 'node/dc-1'", "posted up to 59, and archived up to 60"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        post(dir.path(), Settings::default(), &entries, 5);
        assert_eq!(details(&again(dir.path())), Vec::<&str>::new());
        let file = Connection::open(dir.path().join(FILE_NAME)).unwrap();
        file.execute_batch(damage).unwrap();
        drop(file);
        let result = again(dir.path());
        let found = details(&result).join("\n");
        assert!(found.contains(expected), "{damage}: {found}");
        assert_eq!(found.is_empty(), expected.is_empty(), "{damage}: {found}");
    }
    // A journal that was written anew, with a chain that is right in itself: other facts, the old archive.
    let (kept, forged) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    post(kept.path(), Settings::default(), &entries, 5);
    let mut facts = history();
    let other = Feeds::default().send("node/dc-1", received("R9", "A", 3, 999));
    let at = facts.iter().rposition(|sent| sent.source.feed.participant == "node/dc-1").unwrap();
    facts[at].body = other.body;
    post(forged.path(), Settings::default(), &chained(&facts), 5);
    let file = Connection::open(forged.path().join(FILE_NAME)).unwrap();
    let books = kept.path().join(FILE_NAME).display().to_string();
    file.execute_batch(&format!(
        "ATTACH '{books}' AS kept; DELETE FROM archive; INSERT INTO archive SELECT * FROM kept.archive;"
    ))
    .unwrap();
    drop(file);
    assert_eq!(verify(&open_reader(forged.path()).unwrap(), |_| {}).unwrap().findings, []);
    let result = again(forged.path());
    // The order's two entries and 60 receipts; one receipt waits.
    assert!(details(&result)[0].contains("entry 62 is the first that differs"), "{:?}", details(&result));
}

#[test]
fn signed_heads_show_a_journal_that_was_written_anew() {
    let entries = chained(&history());
    let dir = tempfile::tempdir().unwrap();
    let (handle, writer) = common::start(dir.path());
    let signed = runtime().block_on(async {
        handle.apply(entries[0].0.clone(), vec![entries[0].1.clone()]).await.unwrap();
        for (feed, entry) in &entries[1..20] {
            handle.apply(feed.clone(), vec![entry.clone()]).await.unwrap();
        }
        let signed = handle.sign_head().await.unwrap();
        assert_eq!(handle.sign_head().await.unwrap(), signed, "nothing was posted since");
        for (feed, entry) in &entries[20..] {
            handle.apply(feed.clone(), vec![entry.clone()]).await.unwrap();
        }
        let later = handle.sign_head().await.unwrap();
        assert!(later.head.number > signed.head.number);
        signed
    });
    drop(handle);
    writer.join().unwrap();
    assert!(is_signed("main", &signed));
    let reader = open_reader(dir.path()).unwrap();
    let mut findings = Vec::new();
    assert_eq!(check_signed(&reader, &mut findings).unwrap(), 2);
    let kept = |finance_id: &str| [KeptHead { finance_id: finance_id.to_owned(), signed: signed.clone() }];
    check_kept(&reader, &kept("main"), &mut findings).unwrap();
    assert_eq!(findings, []);
    check_kept(&reader, &kept("other"), &mut findings).unwrap();
    assert!(findings[0].detail.contains("of finance/other"), "{findings:?}");

    // The same facts in another order: books that are whole, and not the ones that were signed.
    let other = tempfile::tempdir().unwrap();
    let mut facts = history();
    facts.rotate_left(1);
    post(other.path(), Settings::default(), &chained(&facts), 5);
    let reader = open_reader(other.path()).unwrap();
    assert_eq!(verify(&reader, |_| {}).unwrap().findings, []);
    let mut findings = Vec::new();
    check_kept(&reader, &kept("main"), &mut findings).unwrap();
    assert!(findings[0].detail.contains("was signed"), "{findings:?}");
}

/// Books as format 2 kept them: the tables of that format, filled from books of today.
fn format_2(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let file = Connection::open(to.join(FILE_NAME)).unwrap();
    file.execute_batch(include_str!("data/books-format-2.sql")).unwrap();
    file.pragma_update(None, "application_id", 0x534d_4642).unwrap();
    file.pragma_update(None, "user_version", 2).unwrap();
    file.pragma_update(None, "foreign_keys", "OFF").unwrap();
    file.execute_batch(&format!("ATTACH '{}' AS present", from.join(FILE_NAME).display())).unwrap();
    let names = |sql: &str| -> Vec<String> {
        let mut statement = file.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    for table in names("SELECT name FROM main.sqlite_schema WHERE type = 'table'") {
        let columns = names(&format!("SELECT name FROM pragma_table_info('{table}')")).join(", ");
        file.execute_batch(&format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM present.{table}"))
            .unwrap();
    }
}

#[test]
fn books_of_format_2_go_on_and_archive_what_comes_from_then_on() {
    let entries = chained(&history());
    let (present, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    post(present.path(), Settings::default(), &entries[..40], 5);
    format_2(present.path(), old.path());
    // Readers change nothing.
    assert!(matches!(open_reader(old.path()), Err(StoreError::Format { format: 2, .. })));
    drop(Store::open(old.path(), "main").unwrap());
    let reader = open_reader(old.path()).unwrap();
    assert_eq!(verify(&reader, |_| {}).unwrap().findings, []);
    assert_eq!(reader.balances("").unwrap(), open_reader(present.path()).unwrap().balances("").unwrap());
    drop(reader);

    post(old.path(), Settings::default(), &entries[40..], 5);
    post(present.path(), Settings::default(), &entries[40..], 5);
    let (reader, other) = (open_reader(old.path()).unwrap(), open_reader(present.path()).unwrap());
    assert_eq!(reader.place().unwrap().meta.head, other.place().unwrap().meta.head);
    let archived = reader.archived_feeds(None, 10, "node/dc-1").unwrap().rows.remove(0);
    assert_eq!((archived.base.seq, archived.first_seq(), archived.head.seq), (37, 38, 60));
    let whole = other.archived_feeds(None, 10, "node/dc-1").unwrap().rows.remove(0);
    assert_eq!(
        reader.archived_entries(&archived, 37, 100, usize::MAX).unwrap(),
        other.archived_entries(&whole, 37, 100, usize::MAX).unwrap()
    );
    // What was never archived can't be recomputed, and that is said.
    let result = again(old.path());
    assert!(result.impossible.contains("up to entry"), "{result:?}");
    assert_eq!(details(&result), Vec::<&str>::new());
}
