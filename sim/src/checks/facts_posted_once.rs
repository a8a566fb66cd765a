//! Every fact of every feed took effect in the books exactly once.

use stockmesh_proto::entry::Head;

use super::{Check, Findings};
use crate::demo::DemoResult;

/// The check.
pub const CHECK: Check = Check {
    name: "every fact posted once",
    guarantee: "finance stands at the head of every feed, with the same hash; nothing waits in suspense; each part of a fact is posted once; documents posted = documents acknowledged",
    source: "ARCHITECTURE.md, Invariants: I7, Books",
    run,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run(result: &DemoResult) -> Findings {
    let DemoResult { evidence, acks, .. } = result;
    let mut findings = Findings::new();
    let cursor = |participant: &str| {
        let of = |cursor: &&stockmesh_proto::finance::v1::FeedCursor| {
            cursor.feed.as_ref().is_some_and(|feed| feed.participant == participant)
        };
        let position = evidence.cursors.iter().find(of).and_then(|cursor| cursor.position.clone());
        let head = position.and_then(|position| Head::from_wire(&position)).unwrap_or(Head::START);
        (head.seq, hex(&head.hash.0))
    };
    for status in &evidence.positions.statuses {
        let head = (status.feed_seq, status.feed_hash.clone());
        findings.equal(
            || format!("cursor and head of {}", status.node),
            &cursor(&format!("node/{}", status.node)),
            &head,
        );
        findings.expect(!status.recovering, || format!("{} is recovering", status.node));
    }
    let head = &evidence.finance_feed_head;
    let at = cursor(&format!("coordinator/{}", crate::network::GROUP));
    findings.equal(|| "cursor and head of the coordinator's feed".into(), &at, &(head.seq, hex(&head.hash)));
    findings.equal(|| "facts in suspense".into(), &evidence.suspense.len(), &0);
    for again in &evidence.journal.posted_again {
        findings.expect(false, || format!("posted more than once: {again}"));
    }
    for gap in &evidence.journal.gaps {
        findings.expect(false, || format!("journal entry {gap} does not follow the one before"));
    }
    let posted = |kind: &str| evidence.journal.facts.get(kind).copied().unwrap_or(0);
    for (kind, acknowledged) in [
        ("shipment", acks.shipments),
        ("counter", acks.sales.len() as u64),
        ("receipt", acks.receipts),
        ("return", acks.returns.len() as u64),
        ("inspection", acks.returns.len() as u64),
    ] {
        findings.equal(|| format!("{kind} documents posted and acknowledged"), &posted(kind), &acknowledged);
    }
    findings.over(usize::try_from(evidence.journal.entries).unwrap_or(usize::MAX), "journal entries")
}
