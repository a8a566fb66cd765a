//! Facts of nodes: each once, in order, and none that contradicts what was promised.

use stockmesh_proto::common::v1::{AllocationId, ShortagePolicy};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{
    AllocationDeclined, CancellationAnswered, EntryBody, FeedEntry, ItemRanged, RecallRequested, ReturnReceived,
    RightsGranted, ShipmentDispatched, ShipmentLine, ShortfallReported, StockAdjusted,
};
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_types::{FeedId, NodeId, Reason, Reject};

use super::audit::audit;
use super::world::{World, key, node_feed, order};
use crate::{Answer, Fault, Notice, State, validate};

fn entries(node: &str, epoch: u64, facts: Vec<Option<Fact>>) -> Vec<FeedEntry> {
    let (mut head, feed) = (Head::START, FeedId::from(&node_feed(node, epoch)));
    facts.into_iter().map(|fact| head.append(&feed, &EntryBody { fact, ..EntryBody::default() })).collect()
}

fn granted(total: i64) -> Fact {
    Fact::RightsGranted(RightsGranted { stock_key: Some(key("A")), granted_total: total })
}

fn push(world: &mut World, node: &str, epoch: u64, entries: &[FeedEntry]) -> Result<Answer, Reject> {
    let feed = Some(node_feed(node, epoch));
    world.run(Kind::ApplyFacts(log::ApplyFacts { feed, entries: entries.to_vec() }))
}

fn cursor(state: &State, node: &str) -> (u64, u64) {
    let (epoch, head) = state.node_cursor(&NodeId::new(node).unwrap()).unwrap();
    (epoch.0, head.seq)
}

#[test]
fn repeats_are_passed_over_and_gaps_and_forks_refused() {
    let mut world = World::with(1, 1);
    let good = entries("n0", 1, (1..=4).map(|n| Some(granted(n))).collect());
    assert_eq!(cursor(&world.state, "n0"), (0, 0));
    push(&mut world, "n0", 1, &good[..2]).unwrap();
    assert_eq!(cursor(&world.state, "n0"), (1, 2));
    assert!(matches!(world.notices.as_slice(), [Notice::NodeConnected { .. }]));
    let again = push(&mut world, "n0", 1, &good[..3]).unwrap();
    assert!(matches!(again, Answer::FactsApplied { applied: 1, refused: None, .. }));
    assert_eq!(world.cell("A", "n0").granted, 3);
    let gap = push(&mut world, "n0", 1, &entries("n0", 1, vec![Some(granted(9)); 5])[4..]).unwrap_err();
    assert_eq!(gap.reason, Reason::FeedGap);
    let fork = push(&mut world, "n0", 1, &entries("n0", 1, vec![Some(granted(9)); 4])[2..]).unwrap_err();
    assert_eq!(fork.reason, Reason::FeedForked);
    push(&mut world, "n0", 1, &good).unwrap();
    assert_eq!((cursor(&world.state, "n0"), world.cell("A", "n0").free), ((1, 4), 4));
}

#[test]
fn feeds_of_others_and_of_other_lives_are_refused() {
    let mut world = World::with(1, 1);
    push(&mut world, "n0", 1, &entries("n0", 1, vec![Some(granted(1))])).unwrap();
    for (node, epoch, reason) in [
        ("n0", 0, Reason::StaleEpoch),
        ("n0", 2, Reason::StaleEpoch),
        ("n9", 1, Reason::UnknownNode),
        ("N0", 1, Reason::UnknownFeed),
    ] {
        let before = world.state.snapshot();
        let reject = push(&mut world, node, epoch, &entries(node, epoch, vec![Some(granted(5))])).unwrap_err();
        assert_eq!(reject.reason, reason, "{node} {epoch}");
        assert_eq!(cursor(&world.state, "n0"), cursor(before.state(), "n0"));
        assert_eq!(world.cell("A", "n0").granted, 1, "nothing changed");
    }
    let feed = stockmesh_proto::feed::v1::FeedRef { destination: "finance/main".into(), ..node_feed("n0", 1) };
    let facts = log::ApplyFacts { feed: Some(feed), entries: Vec::new() };
    assert_eq!(world.run(Kind::ApplyFacts(facts)).unwrap_err().reason, Reason::UnknownFeed);
}

#[test]
fn a_fact_that_contradicts_is_refused_and_stops_its_feed_only() {
    let mut world = World::with(1, 2);
    world.grant("n0", "A", 5);
    world.grant("n1", "A", 5);
    let status = world.place(&order("o", ShortagePolicy::Backorder, &[("A", 4)])).unwrap();
    let id = status.lines[0].allocations[0].id;
    let other = Some(AllocationId { incarnation: 1, log_index: 1, n: 0 });
    let ship = |allocation, shipped_total| {
        let line = ShipmentLine { allocation, shipped_total, ..Default::default() };
        Fact::ShipmentDispatched(ShipmentDispatched { lines: vec![line], ..Default::default() })
    };
    let decline = |cancelled_total, lost_total| {
        let declined = AllocationDeclined { allocation: id, cancelled_total, lost_total, ..Default::default() };
        Fact::AllocationDeclined(declined)
    };
    let shortfall = |level, returned_total| {
        Fact::ShortfallReported(ShortfallReported { stock_key: Some(key("A")), level, returned_total })
    };
    let unknown_item = RightsGranted { stock_key: Some(key("NEW")), granted_total: 1 };
    let answer = |requested_total, cancelled_total| {
        let answer = CancellationAnswered { allocation: id, requested_total, cancelled_total, lost_total: 0 };
        Fact::CancellationAnswered(answer)
    };
    let cases = [
        (ship(other, 1), Reason::UnknownAllocation, "lines[0].allocation"),
        (ship(None, 1), Reason::MissingField, "lines[0].allocation"),
        (ship(id, 5), Reason::ExceedsAllocation, "lines[0].shipped_total"),
        (ship(id, -1), Reason::InvalidValue, "lines[0].shipped_total"),
        (decline(5, 0), Reason::ExceedsAllocation, "cancelled_total"),
        (decline(1, 2), Reason::InvalidValue, "lost_total"),
        (answer(-1, 0), Reason::InvalidValue, "requested_total"),
        (answer(1, 9), Reason::ExceedsAllocation, "cancelled_total"),
        (shortfall(-1, 0), Reason::InvalidValue, "level"),
        (shortfall(1, 7), Reason::InvalidValue, "returned_total"),
        (granted(-1), Reason::InvalidValue, "granted_total"),
        (granted(i64::MAX), Reason::InvalidValue, "granted_total"),
        (Fact::RightsGranted(unknown_item), Reason::UnknownItem, "stock_key.item"),
    ];
    let before: Vec<_> = world.state.snapshot().chunks().filter(|chunk| chunk.name != "head").collect();
    for (fact, reason, field) in cases {
        let reject = world.fact("n0", fact.clone()).unwrap_err();
        assert_eq!((reject.reason, reject.field.as_str()), (reason, field), "{fact:?}");
        let after: Vec<_> = world.state.snapshot().chunks().filter(|chunk| chunk.name != "head").collect();
        assert!(before.iter().zip(&after).all(|(a, b)| a == b || a.name == "tail"), "nothing changed: {fact:?}");
    }
    // What stands before a refused entry has taken effect.
    let good = entries("n1", 1, vec![Some(granted(5)), Some(granted(6)), Some(ship(id, 1)), Some(granted(7))]);
    let Answer::FactsApplied { cursor, applied, refused } = push(&mut world, "n1", 1, &good).unwrap() else {
        panic!("facts")
    };
    assert_eq!((cursor.seq, applied, refused.unwrap().reason), (2, 1, Reason::UnknownAllocation));
    audit(&world.state);
}

#[test]
fn returns_are_counted_and_odd_ones_flagged() {
    let mut world = World::with(1, 1);
    world.grant("n0", "A", 5);
    let status = world.place(&order("o", ShortagePolicy::Backorder, &[("A", 2)])).unwrap();
    let allocation = status.lines[0].allocations[0].id;
    let line = ShipmentLine { allocation, shipped_total: 2, ..Default::default() };
    let shipment = ShipmentDispatched { lines: vec![line], ..Default::default() };
    world.fact("n0", Fact::ShipmentDispatched(shipment)).unwrap();
    world.notices.clear();
    let back = |order: &str, line, quantity| {
        Fact::ReturnReceived(ReturnReceived { order_id: order.into(), line, quantity, ..Default::default() })
    };
    world.fact("n0", back("o", 1, 1)).unwrap();
    world.fact("n0", back("", 0, 1)).unwrap();
    assert_eq!(world.notices, []);
    world.fact("n0", back("o", 1, 3)).unwrap();
    world.fact("n0", back("o", 7, 1)).unwrap();
    world.fact("n0", back("elsewhere", 1, 1)).unwrap();
    assert_eq!(world.order("o").lines[0].returned, 4);
    let node = NodeId::new("n0").unwrap();
    let unmatched = |order_id: &str, line| {
        let order_id = order_id.to_owned();
        Notice::UnmatchedReturn { node: node.clone(), order_id, line, quantity: 1 }
    };
    let beyond =
        Notice::ReturnBeyondShipped { node: node.clone(), order_id: "o".into(), line: 1, returned: 4, shipped: 2 };
    assert_eq!(world.notices, [beyond, unmatched("o", 7), unmatched("elsewhere", 1)]);
}

#[test]
fn an_unknown_fact_is_stopped_before_the_log_and_stops_a_replica_in_it() {
    let feed = node_feed("n0", 1);
    let ours = Fact::ItemRanged(ItemRanged::default());
    let mut garbage = entries("n0", 1, vec![Some(granted(1))]);
    garbage[0].body = stockmesh_proto::feed::v1::FeedEntry::default().body;
    let nonsense = {
        let body = prost::bytes::Bytes::from_static(b"\xff\xff\xff");
        let hash = stockmesh_types::chain_hash(&Head::START.hash, &FeedId::from(&feed), 1, &body);
        vec![FeedEntry { seq: 1, body, hash: hash.0.to_vec() }]
    };
    for bad in [entries("n0", 1, vec![None]), entries("n0", 1, vec![Some(ours)]), nonsense] {
        assert_eq!(validate::facts(&feed, &bad).unwrap_err().reason, Reason::UnknownFact);
        assert_eq!(validate::cut_batch(&bad, 1_000).unwrap_err().reason, Reason::UnknownFact);
        let mut world = World::with(1, 1);
        let facts = Kind::ApplyFacts(log::ApplyFacts { feed: Some(feed.clone()), entries: bad });
        let commands = vec![super::world::command(facts, String::new())];
        let entry = log::LogEntry { feature_level: 1, stamp_ms: 0, commands, ..Default::default() };
        let fault = world.state.apply(world.index + 1, &entry).unwrap_err();
        assert!(matches!(fault, Fault::UnknownFact { seq: 1, .. }), "{fault}");
    }
    // A body that is not the one that was hashed is a fork, and refused.
    let mut world = World::with(1, 1);
    assert_eq!(push(&mut world, "n0", 1, &garbage).unwrap_err().reason, Reason::FeedForked);
}

#[test]
fn batches_are_cut_at_256_cells_and_by_bytes() {
    let adjusted = Fact::StockAdjusted(StockAdjusted::default());
    let shipment = |lines| {
        let lines = vec![ShipmentLine::default(); lines];
        Fact::ShipmentDispatched(ShipmentDispatched { lines, ..Default::default() })
    };
    let cases = [
        (vec![granted(1); 300], 1 << 20, 256),
        (vec![adjusted.clone(); 300], 1 << 20, 300),
        (vec![shipment(200), shipment(56), granted(1)], 1 << 20, 2),
        (vec![shipment(200), shipment(57)], 1 << 20, 1),
        (vec![granted(1); 300], 1, 1),
    ];
    for (facts, bytes, expected) in cases {
        let list = entries("n0", 1, facts.into_iter().map(Some).collect());
        assert_eq!(validate::cut_batch(&list, bytes), Ok(expected));
        assert!(validate::facts(&node_feed("n0", 1), &list[..expected]).is_ok());
    }
    let list = entries("n0", 1, vec![Some(adjusted), None]);
    assert_eq!(validate::cut_batch(&list, 1 << 20), Ok(1), "what can be logged goes first");
    // The core holds to it too: what fits takes effect, the rest is refused.
    let mut world = World::with(1, 1);
    let list = entries("n0", 1, vec![Some(granted(1)); 257]);
    let answer = push(&mut world, "n0", 1, &list).unwrap();
    assert!(matches!(answer, Answer::FactsApplied { applied: 256, refused: Some(_), .. }));
}

#[test]
fn a_counter_gets_back_what_is_free_and_no_more() {
    let mut world = World::with(1, 1);
    let recall = |quantity| {
        Fact::RecallRequested(RecallRequested { stock_key: Some(key("A")), quantity, reference: "till-1".into() })
    };
    // Nothing was ever granted: the counter had everything already.
    world.fact("n0", recall(3)).unwrap();
    assert_eq!(world.sent("node/n0").iter().filter(|fact| matches!(fact, Fact::RightsReturned(_))).count(), 0);
    world.grant("n0", "A", 10);
    world.place(&order("o", ShortagePolicy::Backorder, &[("A", 6)])).unwrap();
    let mut told = Vec::new();
    for (wanted, free) in [(1, 3), (5, 0), (2, 0)] {
        world.fact("n0", recall(wanted)).unwrap();
        assert_eq!(world.cell("A", "n0").free, free);
        audit(&world.state);
        told = world.sent("node/n0");
        told.retain(|fact| matches!(fact, Fact::RightsReturned(_)));
    }
    let totals: Vec<i64> = told
        .iter()
        .map(|fact| if let Fact::RightsReturned(returned) = fact { returned.returned_total } else { 0 })
        .collect();
    assert_eq!(totals, [1, 4], "told once for each change, cumulatively");
    assert_eq!(world.cell("A", "n0").open, 6);
    assert_eq!(world.fact("n0", recall(-1)).unwrap_err().reason, Reason::InvalidValue);
}
