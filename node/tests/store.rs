//! A node's store: crashes between any two durable steps, damage, rollbacks, and the real engine on a real disk.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::*;
use prost::Message;
use stockmesh_node::engine::{Engine, Group, OpenError, Opened, RecoveryReason, TRIM_STEP, Verified, open};
use stockmesh_node::store::{Mark, MarkerFile, SledStore, Store};
use stockmesh_node_core::{Cell, Context, GrantPolicy, Key};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_types::{ChainHash, FeedId, LogTime, Reason, chain_hash};

/// One group after the other: work from the coordinator, receipts, shipments.
fn work(engine: &mut Engine, coordinator: &mut Coordinator, round: u64) {
    if round == 0 {
        coordinator.range("A");
    } else {
        coordinator.open(round, "A", 3);
    }
    let now = LogTime(NOON);
    engine.follow(now, now.date(), &coordinator.feed.clone(), &coordinator.entries).unwrap();
    engine.handle(&context(Some(stamp(2 * round))), receipt(&format!("r-{round}"), "A", 5)).unwrap();
    if round > 0 {
        engine.handle(&context(Some(stamp(2 * round + 1))), ship(&format!("s-{round}"), round, 2)).unwrap();
    }
}

/// Checks that `entries` continue one chain from its start.
fn chained(feed: &FeedId, entries: &[FeedEntry]) -> Head {
    let mut hash = ChainHash::START;
    for (entry, seq) in entries.iter().zip(1..) {
        hash = chain_hash(&hash, feed, seq, &entry.body);
        assert_eq!((entry.seq, entry.hash.as_slice()), (seq, hash.0.as_slice()));
    }
    Head { seq: entries.len() as u64, hash }
}

#[test]
fn a_crash_between_any_two_steps_loses_nothing_that_was_acknowledged() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum CrashAfter {
        Nothing,
        Write,
        Sync,
        Mark,
    }
    for crash in [CrashAfter::Nothing, CrashAfter::Write, CrashAfter::Sync, CrashAfter::Mark] {
        let (store, mut coordinator) = (LossyStore::default(), Coordinator::default());
        let mut mark = Some(Mark { epoch: 1, head: ready(&store, None).head() });
        let mut published: Vec<FeedEntry> = Vec::new();
        let mut engine = ready(&store, mark);
        let mut crashed_in = 0;
        let mut round = 0;
        while round < 6 {
            work(&mut engine, &mut coordinator, round);
            let before = (published.len(), mark);
            let Group { batch, entries, mark: next } = group(&mut engine).unwrap();
            let crash_now = round == 3 && crashed_in == 0;
            let reached = |step| crash_now && crash == step;
            let mut done = false;
            if !reached(CrashAfter::Nothing) {
                store.write(&batch).unwrap();
                if !reached(CrashAfter::Write) {
                    store.sync().unwrap();
                    done = true;
                    if !reached(CrashAfter::Sync) {
                        mark = Some(next);
                        published.extend(entries.clone());
                    }
                }
            }
            if crash_now {
                store.crash();
                engine = ready(&store, mark);
                crashed_in += 1;
                let expected = if done { next.head } else { before.1.unwrap().head };
                assert_eq!(engine.head(), expected, "{crash:?}");
                // Nobody saw more than the store has.
                assert!(before.0 as u64 <= engine.head().seq);
                if done && !reached(CrashAfter::Mark) {
                    published.extend(entries);
                }
                let cursor = engine.cursor(&coordinator.feed).unwrap();
                assert_eq!(cursor == coordinator.head, done, "{crash:?}: cursor and effect move together");
                if !done {
                    // The clients repeat, the link resumes: the same again.
                    coordinator.entries.pop();
                    coordinator.head = cursor;
                    continue;
                }
            }
            round += 1;
        }
        assert_eq!(crashed_in, 1);
        assert_eq!(chained(&feed(), &published), engine.head(), "{crash:?}");
        let reopened = ready(&store, mark);
        assert_eq!(reopened.state(), engine.state(), "{crash:?}");
        assert_eq!(reopened.state().cell(&key("A")).unwrap().on_hand, 6 * 5 - 5 * 2);
    }
}

/// A store with some history, and its mark.
fn with_history(store: &(impl Store + Clone)) -> (Engine, Mark) {
    let mut engine = ready(store, None);
    let mut coordinator = Coordinator::default();
    let mut mark = Mark { epoch: 1, head: engine.head() };
    for round in 0..3 {
        work(&mut engine, &mut coordinator, round);
        let group = group(&mut engine).unwrap();
        store.write(&group.batch).unwrap();
        store.sync().unwrap();
        mark = group.mark;
    }
    (engine, mark)
}

#[test]
fn a_store_is_compared_with_its_marker() {
    let store = LossyStore::default();
    let (engine, mark) = with_history(&store);
    let older = Mark { head: Head { seq: 1, hash: first_hash(&store) }, ..mark };
    let at = |seq| Mark { head: Head { seq, ..mark.head }, ..mark };
    let behind = |marked, marked_epoch| {
        Some(RecoveryReason::Behind { stored: engine.head().seq, epoch: 1, marked, marked_epoch })
    };
    let cases = [
        (Some(mark), None),
        (Some(older), None),
        (Some(at(engine.head().seq + 1)), behind(engine.head().seq + 1, 1)),
        (Some(Mark { epoch: 2, ..older }), behind(1, 2)),
        (Some(at(1)), Some(RecoveryReason::OtherHistory { seq: 1 })),
        (None, Some(RecoveryReason::NoMarker)),
    ];
    for (mark, expected) in cases {
        match opened(&store, mark) {
            Opened::Ready(ready) => {
                assert_eq!(expected, None, "{mark:?}");
                assert_eq!(ready.state(), engine.state());
            }
            Opened::Recovering(shown, reason) => {
                assert_eq!(Some(reason), expected, "{mark:?}");
                assert_eq!(shown.state(), engine.state(), "what is there is shown");
            }
        }
    }
    // A store that was lost altogether.
    assert!(matches!(opened(&LossyStore::default(), Some(mark)), Opened::Recovering(..)));
}

fn first_hash(store: &LossyStore) -> ChainHash {
    let value = store.get(&Key::FeedEntry { epoch: 1, seq: 1 }.encode()).unwrap().unwrap();
    ChainHash::from_bytes(&FeedEntry::decode(value.as_slice()).unwrap().hash).unwrap()
}

#[test]
fn damage_is_found_at_the_start() {
    type Damage = fn(&mut std::collections::BTreeMap<Vec<u8>, Vec<u8>>);
    fn entry(seq: u64) -> Vec<u8> {
        Key::FeedEntry { epoch: 1, seq }.encode()
    }
    let cases: [(&str, Damage, &str); 8] = [
        ("a flipped byte in an entry", |keys| *keys.get_mut(&entry(2)).unwrap().last_mut().unwrap() ^= 1, "entry 2"),
        ("a missing entry", |keys| drop(keys.remove(&entry(2))), "are expected"),
        ("an entry too many", |keys| drop(keys.insert(entry(99), keys[&entry(1)].clone())), ""),
        (
            "a counter that is not what the feed says",
            |keys| {
                let cell_key = Key::Cell(key("A")).encode();
                let mut cell = Cell::decode(keys[&cell_key].as_slice()).unwrap();
                cell.granted -= 1;
                cell.on_hand -= 1;
                cell.received_total -= 1;
                keys.insert(cell_key, cell.encode_to_vec());
            },
            "rights granted on A",
        ),
        (
            "units that are not conserved",
            |keys| {
                let cell_key = Key::Cell(key("A")).encode();
                let cell = Cell::decode(keys[&cell_key].as_slice()).unwrap();
                keys.insert(cell_key, Cell { on_hand: cell.on_hand + 1, ..cell }.encode_to_vec());
            },
            "not conserved",
        ),
        ("an allocation that is gone", |keys| drop(keys.remove(&Key::Allocation(allocation(1)).encode())), "not there"),
        ("a key of another kind", |keys| drop(keys.insert(b"Zebra".to_vec(), vec![])), "none of a node's"),
        ("a later format", |keys| drop(keys.insert(Key::Format.encode(), vec![0, 0, 0, 9])), "format 9"),
    ];
    for (case, damage, words) in cases {
        let store = LossyStore::default();
        let (_, mark) = with_history(&store);
        damage(&mut store.0.lock().unwrap().visible);
        let found = open(Arc::new(store.clone()), identity(), GrantPolicy::default(), Some(mark));
        match (case, found) {
            // Beyond the head by more than one: nothing reads it, and the next entry overwrites it.
            ("an entry too many", Ok(Opened::Ready(_))) => {}
            (_, Err(error)) => assert!(error.to_string().contains(words), "{case}: {error}"),
            (_, Ok(_)) => panic!("{case}: not found"),
        }
    }
}

#[test]
fn another_nodes_store_is_refused() {
    let store = LossyStore::default();
    let (_, mark) = with_history(&store);
    let other = stockmesh_node_core::Identity { node: "dc-2".parse().unwrap(), ..identity() };
    let error = open(Arc::new(store.clone()), other, GrantPolicy::default(), Some(mark)).unwrap_err();
    assert!(matches!(error, OpenError::OtherNode { .. }), "{error}");
}

#[test]
fn feeds_that_do_not_continue_or_are_for_others_are_refused() {
    let store = LossyStore::default();
    let mut engine = ready(&store, None);
    let mut coordinator = Coordinator::default();
    ["A", "B", "C"].iter().for_each(|item| coordinator.range(item));
    let now = LogTime(NOON);
    let mut follow = |feed: &FeedId, entries: &[FeedEntry]| {
        engine.follow(now, now.date(), feed, entries).map(|head| head.seq).map_err(|reject| reject.reason)
    };
    let own = coordinator.feed.clone();
    let entries = &coordinator.entries;
    assert_eq!(follow(&own, &entries[1..]), Err(Reason::FeedGap));
    assert_eq!(follow(&own, &entries[..2]), Ok(2));
    assert_eq!(follow(&own, entries), Ok(3));
    assert_eq!(follow(&own, &entries[..1]), Ok(3));
    let fork = FeedEntry { hash: vec![9; 32], ..entries[2].clone() };
    assert_eq!(follow(&own, &[fork]), Err(Reason::FeedForked));
    let others = FeedId { destination: "node/dc-2".into(), ..own.clone() };
    assert_eq!(follow(&others, entries), Err(Reason::UnknownFeed));
    let unknown_fact = {
        let mut head = coordinator.head;
        head.append(&own, &stockmesh_proto::feed::v1::EntryBody::default())
    };
    assert_eq!(follow(&own, &[unknown_fact]), Err(Reason::UnknownFact));
    // The next incarnation's chain begins anew; after that, the one before is over.
    let mut next = Coordinator { feed: FeedId { epoch: 2, ..own.clone() }, ..Coordinator::default() };
    next.range("D");
    assert_eq!(follow(&next.feed, &next.entries), Ok(1));
    assert_eq!(follow(&own, entries), Err(Reason::StaleIncarnation));
}

/// Writes some groups of receipts, sales and work, with what consumers acknowledged.
fn days_of_work(engine: &mut Engine, store: &LossyStore, groups: u64, acknowledged: u64, now: LogTime) -> Mark {
    let mut mark = None;
    for group_number in 0..groups {
        for n in 0..100 {
            let n = engine.head().seq * 1_000 + group_number * 100 + n;
            let context = Context { now, ..context(None) };
            engine.handle(&context, receipt(&format!("r-{n}"), "A", 2)).unwrap();
            engine.handle(&context, adjust("A", -1)).unwrap();
        }
        let acknowledged = ["c", "f"].map(|peer| (peer.to_owned(), if peer == "c" { u64::MAX } else { acknowledged }));
        engine.maintain(now, &BTreeMap::from(acknowledged), 1_000).unwrap();
        let group = group(engine).unwrap();
        store.write(&group.batch).unwrap();
        store.sync().unwrap();
        mark = Some(group.mark);
    }
    mark.unwrap()
}

fn kept(store: &LossyStore) -> u64 {
    store.0.lock().unwrap().visible.keys().filter(|key| key[0] == b'f').count() as u64
}

#[test]
fn entries_are_kept_until_every_consumer_has_them_and_for_a_time_and_the_state_can_be_folded_again() {
    let store = LossyStore::default();
    let mut engine = ready(&store, None);
    let mut coordinator = Coordinator::default();
    coordinator.range("A");
    let now = LogTime(NOON);
    engine.follow(now, now.date(), &coordinator.feed, &coordinator.entries).unwrap();
    engine.register_consumers(now, &["c".to_owned(), "f".to_owned()]);
    engine.handle(&context(None), receipt("r-first", "A", 50)).unwrap();
    for n in 1..=3 {
        coordinator.open(n, "A", 2);
    }
    engine.follow(now, now.date(), &coordinator.feed, &coordinator.entries).unwrap();
    engine.handle(&context(None), ship("s-1", 1, 2)).unwrap();
    engine.handle(&context(None), ship("s-2", 2, 1)).unwrap();
    // One consumer has nothing: everything is kept.
    days_of_work(&mut engine, &store, 10, 0, now);
    assert_eq!((engine.first_seq(), kept(&store)), (1, engine.head().seq));
    // Both have it, and it is too young.
    let before = engine.head().seq;
    days_of_work(&mut engine, &store, 3, before, now);
    assert_eq!(engine.first_seq(), 1);
    // Old enough: it goes, a step with each group.
    let later = LogTime(now.0 + 5_000);
    let mark = days_of_work(&mut engine, &store, 9, before, later);
    assert!(engine.first_seq() > before - TRIM_STEP && engine.first_seq() <= before + 1, "{}", engine.first_seq());
    assert_eq!(kept(&store), engine.head().seq + 1 - engine.first_seq());
    let reopened = ready(&store, Some(mark));
    assert_eq!((reopened.state(), reopened.first_seq()), (engine.state(), engine.first_seq()));
    assert!(
        reopened.consumers()["f"].acknowledged_seq + TRIM_STEP > before,
        "acknowledgements are known after a restart"
    );
    let verified = verify(&reopened, &store);
    assert_eq!(verified.findings, [""; 0]);
    assert_eq!((verified.from_seq, verified.cells, verified.allocations), (reopened.first_seq(), 1, 2));
    // A consumer that is retired is waited for no more.
    let mut engine = reopened;
    assert!(engine.retire_consumer("f") && !engine.retire_consumer("f"));
    let mark = days_of_work(&mut engine, &store, 30, 0, LogTime(later.0 + 5_000));
    assert!(engine.first_seq() > before + 1);
    assert!(!ready(&store, Some(mark)).consumers().contains_key("f"));
}

fn verify(engine: &Engine, store: &impl Store) -> Verified {
    let mut verification = engine.begin_verification().unwrap();
    verification.run(store, engine.head().seq / 2).unwrap();
    verification.finish(engine)
}

#[test]
fn verification_finds_what_the_feed_does_not_say() {
    let store = LossyStore::default();
    let (engine, mark) = with_history(&store);
    assert_eq!(verify(&engine, &store).findings, [""; 0]);
    // Sellable units turned into damaged ones, behind the back of the feed: all sums agree.
    let cell_key = Key::Cell(key("A")).encode();
    let mut cell = *engine.state().cell(&key("A")).unwrap();
    cell.adjusted_total += 1;
    cell.damaged += 1;
    store.0.lock().unwrap().visible.insert(cell_key, cell.encode_to_vec());
    let findings = verify(&ready(&store, Some(mark)), &store).findings;
    assert!(findings.len() == 1 && findings[0].starts_with("cell A: the feed says"), "{findings:?}");
    // An entry in the middle, with another body.
    let entry = Key::FeedEntry { epoch: 1, seq: 2 }.encode();
    let mut damaged = FeedEntry::decode(store.get(&entry).unwrap().unwrap().as_slice()).unwrap();
    damaged.body = Vec::new().into();
    store.0.lock().unwrap().visible.insert(entry, damaged.encode_to_vec());
    let findings = verify(&engine, &store).findings;
    assert!(findings[0].contains("entry 2 does not continue the chain"), "{findings:?}");
}

#[test]
fn the_real_engine_keeps_what_was_synced_and_survives_an_unfinished_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dc-1");
    // An engine holds its store open.
    let (state, head, mark) = {
        let (engine, mark) = with_history(&SledStore::open(&path).unwrap());
        (engine.state().clone(), engine.head(), mark)
    };
    std::fs::write(path.join("snap.0000000000000042.generating"), b"half of it").unwrap();
    let store = SledStore::open(&path).unwrap();
    assert!(!path.join("snap.0000000000000042.generating").exists());
    let mut again = ready(&store, Some(mark));
    assert_eq!((again.state(), again.head()), (&state, head));
    again.handle(&context(Some(stamp(90))), receipt("r-90", "A", 1)).unwrap();
    let group = group(&mut again).unwrap();
    store.write(&group.batch).unwrap();
    store.sync().unwrap();
    let (state, head) = (again.state().clone(), again.head());
    drop((store, again));
    let mut entries = Vec::new();
    let store = SledStore::open(&path).unwrap();
    let (from, to) = (Key::FeedEntry { epoch: 1, seq: 0 }.encode(), Key::FeedEntry { epoch: 1, seq: 999 }.encode());
    store
        .scan(&from, &to, &mut |_, value| {
            entries.push(FeedEntry::decode(value).unwrap());
            true
        })
        .unwrap();
    assert_eq!(chained(&feed(), &entries), head);
    assert_eq!(ready(&store, Some(group.mark)).state(), &state);
}

#[test]
fn a_store_that_was_restored_from_a_copy_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("dc-1"), dir.path().join("copy"));
    let (mut marker, _) = MarkerFile::open(&dir.path().join("dc-1.marker")).unwrap();
    let store = SledStore::open(&path).unwrap();
    let (engine, mark) = with_history(&store);
    marker.create(mark).unwrap();
    drop((store, engine));
    copy_dir(&path, &copy);
    let store = SledStore::open(&path).unwrap();
    let mut engine = ready(&store, Some(mark));
    engine.handle(&context(Some(stamp(90))), receipt("r-90", "A", 1)).unwrap();
    let group = group(&mut engine).unwrap();
    store.write(&group.batch).unwrap();
    store.sync().unwrap();
    marker.write(group.mark).unwrap();
    drop((store, engine));
    std::fs::remove_dir_all(&path).unwrap();
    copy_dir(&copy, &path);
    let (_, mark) = MarkerFile::open(&dir.path().join("dc-1.marker")).unwrap();
    let found = opened(&SledStore::open(&path).unwrap(), mark);
    assert!(matches!(found, Opened::Recovering(_, RecoveryReason::Behind { .. })));
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
