//! Lives of nodes: gaps of sealed epochs are named until they are filled, and nothing is posted in silence behind a seal.

mod common;

use common::*;
use stockmesh_finance_core::Source;
use stockmesh_types::FeedId;

/// A fact of another epoch of dc-1.
fn of_epoch(epoch: u64, seq: u64, fact: stockmesh_proto::feed::v1::entry_body::Fact) -> Sent {
    let Sent { source, body } = Feeds::default().send("node/dc-1", fact);
    Sent { source: Source { feed: FeedId { epoch, ..source.feed }, seq }, body }
}

fn post(ledger: &mut Ledger, sent: &Sent) -> usize {
    let before = ledger.books.records().entries.len();
    ledger.post(sent);
    ledger.write();
    ledger.books.records().entries.len() - before
}

#[test]
fn facts_of_a_new_epoch_wait_until_it_is_open() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 1, 100));
    assert_eq!(post(&mut ledger, &of_epoch(2, 1, received("R2", "A", 1, 100))), 0);
    assert_eq!(post(&mut ledger, &of_epoch(2, 2, received("R3", "A", 1, 100))), 0);
    assert_eq!(ledger.reasons(), ["EPOCH_NOT_OPEN whole"; 2]);
    assert_eq!(ledger.send("coordinator/1", epoch_opened("dc-1", 2, 1, 0)).len(), 2 * 3);
    assert_eq!(ledger.reasons(), Vec::<String>::new());
    assert_eq!(post(&mut ledger, &of_epoch(2, 3, received("R4", "A", 1, 100))), 1);
    // Said again, it changes nothing.
    assert!(ledger.send("coordinator/1", epoch_opened("dc-1", 2, 1, 0)).is_empty());
    assert_eq!(ledger.reasons(), Vec::<String>::new());
}

#[test]
fn a_gap_of_a_sealed_epoch_is_named_until_it_is_filled() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 1, 100));
    ledger.send("coordinator/1", epoch_opened("dc-1", 2, 3, 0));
    assert_eq!(ledger.reasons(), ["FEED_GAP note"]);
    let note = ledger.books.records().suspense.values().next().unwrap().description.clone();
    assert_eq!(note, "entries 2 to 3 of epoch 1 of node dc-1 have not come yet: the epoch is sealed at 3");
    // What was before the seal is posted, though the new epoch goes on meanwhile.
    assert_eq!(post(&mut ledger, &of_epoch(2, 1, received("R9", "A", 1, 100))), 1);
    ledger.send("node/dc-1", received("R2", "A", 1, 100));
    assert_eq!(ledger.reasons(), ["FEED_GAP note"]);
    assert!(!ledger.send("node/dc-1", received("R3", "A", 1, 100)).is_empty());
    assert_eq!(ledger.reasons(), Vec::<String>::new());
    // What comes behind it is set apart.
    assert!(ledger.send("node/dc-1", received("R4", "A", 1, 100)).is_empty());
    assert_eq!(ledger.reasons(), ["LATE_FACT_OF_SEALED_EPOCH whole"]);
}

#[test]
fn what_is_lost_of_an_epoch_stays_named() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 1, 100));
    // Entries 3 to 5 are lost, 2 is somewhere.
    ledger.send("coordinator/1", epoch_opened("dc-1", 2, 5, 3));
    assert_eq!(ledger.reasons(), ["FEED_GAP note"]);
    ledger.send("node/dc-1", received("R2", "A", 1, 100));
    let records = ledger.books.records();
    let note = records.suspense.values().next().unwrap();
    assert_eq!(
        note.description,
        "entries 3 to 5 of epoch 1 of node dc-1 are lost: nobody holds them, and the recount decided"
    );
    assert_eq!(note.waits_for, "");
}

#[test]
fn what_is_posted_beyond_a_seal_is_named() {
    let mut ledger = Ledger::new();
    for n in 0..3 {
        ledger.send("node/dc-1", received(&format!("R{n}"), "A", 1, 100));
    }
    ledger.send("coordinator/1", epoch_opened("dc-1", 2, 2, 0));
    assert_eq!(ledger.reasons(), ["FEED_BEYOND_SEAL note"]);
    let note = ledger.books.records().suspense.values().next().unwrap().description.clone();
    assert!(
        note.starts_with("entries 3 to 3 of epoch 1 of node dc-1 are posted, and the epoch is sealed at 2"),
        "{note}"
    );
}

#[test]
fn an_epoch_of_a_node_that_is_not_registered_waits_and_one_that_never_opened_is_set_apart() {
    let mut ledger = Ledger::empty();
    ledger.send("coordinator/1", epoch_opened("dc-1", 3, 0, 0));
    assert_eq!(ledger.reasons(), ["NODE_NOT_REGISTERED whole"]);
    ledger.send("coordinator/1", registered("dc-1", "uk"));
    assert_eq!(ledger.reasons(), Vec::<String>::new());
    assert_eq!(post(&mut ledger, &of_epoch(1, 1, received("R1", "A", 1, 100))), 0);
    assert_eq!(ledger.reasons(), ["LATE_FACT_OF_SEALED_EPOCH whole"]);
    // A coordinator's fact from a node is none.
    ledger.send("node/dc-1", epoch_opened("dc-1", 4, 0, 0));
    assert_eq!(ledger.reasons()[1], "NOT_ALLOWED whole");
}
