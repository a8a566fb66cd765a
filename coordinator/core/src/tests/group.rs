//! The group's life, master data, feeds of ours, reads.

use stockmesh_proto::common::v1::ShortagePolicy;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_types::{Grade, ItemId, Reason, StockKey};

use super::world::{START_MS, World, command, item, node, order};
use crate::{Answer, Fault, State};

#[test]
fn nothing_runs_before_the_group_has_a_life() {
    let mut world = World::empty();
    let create = Kind::CreateItems(log::CreateItems { items: vec![item("A", 1)] });
    assert_eq!(world.write(create).unwrap_err().reason, Reason::GroupNotInitialized);
    let decided = crate::decide::order(
        &world.state,
        &crate::decide::Overlay::new(),
        &order("o", ShortagePolicy::Backorder, &[("A", 1)]),
        [0; 32],
        0,
        START_MS,
    );
    assert_eq!(decided.unwrap_err().reason, Reason::GroupNotInitialized);
    let begin = |group, incarnation, finance: &[&str]| {
        let finance = finance.iter().map(|name| (*name).to_owned()).collect();
        Kind::InitializeGroup(log::InitializeGroup { group, incarnation, finance })
    };
    for (kind, reason) in [
        (begin(0, 1, &[]), Reason::InvalidValue),
        (begin(1, 0, &[]), Reason::InvalidValue),
        (begin(1, 1, &["main"]), Reason::InvalidId),
        (begin(1, 1, &["finance/main", "finance/main"]), Reason::InvalidId),
    ] {
        assert_eq!(world.run(kind).unwrap_err().reason, reason);
    }
    world.initialize().unwrap();
    let again = world.initialize().unwrap();
    assert!(matches!(again, Answer::GroupInitialized { existing: true, .. }));
    assert_eq!(world.run(begin(2, 1, &["finance/main"])).unwrap_err().reason, Reason::GroupExists);
    assert_eq!(world.run(begin(1, 1, &[])).unwrap_err().reason, Reason::GroupExists);
}

#[test]
fn master_data_is_all_or_nothing_and_repeats_are_no_error() {
    let mut world = World::with(1, 1);
    let create = |items: Vec<stockmesh_proto::coordinator::v1::Item>| Kind::CreateItems(log::CreateItems { items });
    let answer = world.write(create(vec![item("A", 100), item("Z", 5)])).unwrap();
    assert_eq!(answer, Answer::ItemsCreated { created: 1, existing: 1 });
    let reject = world.write(create(vec![item("Y", 5), item("A", 7)])).unwrap_err();
    assert_eq!((reject.reason, reject.field.as_str()), (Reason::ItemExists, "items[1]"));
    assert_eq!(world.write(create(vec![item("Y", 5), item("Y", 5)])).unwrap_err().reason, Reason::DuplicateLine);
    assert_eq!(world.state.counters().items, 2);

    let register = |node| Kind::RegisterNode(log::RegisterNode { node: Some(node) });
    assert!(world.write(register(node(0))).is_ok());
    let moved = stockmesh_proto::coordinator::v1::Node { legal_entity: "OTHER".into(), ..node(0) };
    assert_eq!(world.write(register(moved)).unwrap_err().reason, Reason::NodeExists);
    let told = world.sent("finance/main").iter().filter(|fact| matches!(fact, Fact::NodeRegistered(_))).count();
    assert_eq!(told, 1);

    let range = |node: &str, items: &[&str]| {
        let items = items.iter().map(|item| (*item).to_owned()).collect();
        Kind::RangeItems(log::RangeItems { node: node.into(), items })
    };
    assert_eq!(world.write(range("n0", &["A", "Z", "Z"])), Ok(Answer::ItemsRanged { ranged: 1 }));
    let reject = world.write(range("n0", &["A", "Q"])).unwrap_err();
    assert_eq!((reject.reason, reject.field.as_str()), (Reason::UnknownItem, "items[1]"));
    assert_eq!(world.write(range("n7", &["A"])).unwrap_err().reason, Reason::UnknownNode);
    assert_eq!(world.sent("node/n0").len(), 2);
}

#[test]
fn consumers_acknowledge_up_to_the_head_and_never_beyond() {
    let mut world = World::with(1, 1);
    let feed = world.state.feed_head("finance/main").unwrap();
    assert_eq!((feed.head.seq, feed.acknowledged), (1, Head::START));
    let acknowledge = |destination: &str, cursor: Head| {
        let cursor = Some(cursor.to_wire());
        Kind::AcknowledgeFeed(log::AcknowledgeFeed { destination: destination.into(), cursor })
    };
    let forged = Head { hash: stockmesh_types::ChainHash([7; 32]), ..feed.head };
    let beyond = Head { seq: 2, ..feed.head };
    for (kind, reason) in [
        (acknowledge("finance/main", forged), Reason::FeedForked),
        (acknowledge("finance/main", beyond), Reason::FeedForked),
        (acknowledge("finance/other", feed.head), Reason::UnknownFeed),
    ] {
        assert_eq!(world.run(kind).unwrap_err().reason, reason);
    }
    world.run(acknowledge("finance/main", feed.head)).unwrap();
    world.run(acknowledge("finance/main", Head::START)).unwrap();
    assert_eq!(world.state.feed_head("finance/main").unwrap().acknowledged, feed.head, "an old one is no news");
}

#[test]
fn pages_hold_everything_once() {
    let mut world = World::with(3, 3);
    for node in ["n0", "n1", "n2"] {
        for item in ["A", "B", "C"] {
            world.grant(node, item, 2);
        }
    }
    for n in 0..5 {
        world.place(&order(&format!("o{n}"), ShortagePolicy::Backorder, &[("A", 2)])).unwrap();
    }
    let all = |limit: usize, node: Option<&str>, item: Option<&str>| {
        let (mut found, mut after) = (Vec::new(), 0);
        loop {
            let page = world.state.list_cells(after, limit, node, item);
            assert!(page.items.len() <= limit);
            found.extend(page.items.into_iter().map(|cell| {
                let id = cell.id.unwrap();
                format!("{}@{}", id.stock_key.unwrap().item, id.node)
            }));
            match page.next {
                Some(next) => after = next,
                None => return found,
            }
        }
    };
    for limit in [1, 2, 4, 100] {
        assert_eq!(all(limit, None, None).len(), 9);
        assert_eq!(all(limit, Some("n1"), None), ["A@n1", "B@n1", "C@n1"]);
        assert_eq!(all(limit, None, Some("B")), ["B@n0", "B@n1", "B@n2"]);
        assert_eq!(all(limit, Some("n2"), Some("C")), ["C@n2"]);
        assert_eq!(all(limit, Some("nowhere"), None).len() + all(limit, None, Some("X")).len(), 0);
    }
    use stockmesh_proto::coordinator::v1::OrderState;
    let waiting = world.state.list_orders(0, 10, Some(OrderState::Backordered));
    let ids: Vec<&str> = waiting.items.iter().map(|status| status.order.as_ref().unwrap().order_id.as_str()).collect();
    assert_eq!((ids.as_slice(), waiting.next), (["o3", "o4"].as_slice(), None));
    let first = world.state.list_orders(0, 2, None);
    assert_eq!((first.items.len(), first.next), (2, Some(2)));
    let last = world.state.list_orders(4, 2, None);
    assert_eq!((last.items.len(), last.next), (1, None));
    assert_eq!(world.state.list_items(1, 1).next, Some(2));
    assert_eq!(world.state.list_nodes(0, 3).items.len(), 3);

    let a = StockKey::of(ItemId::new("A").unwrap());
    let used = StockKey { grade: Grade::Refurbished, ..a.clone() };
    let availability = world.state.availability(&[a, used]);
    assert_eq!((availability[0].available_to_fulfill, availability[0].backordered), (0, 4));
    assert_eq!((availability[1].available_to_fulfill, availability[1].nodes.len()), (0, 0));
}

#[test]
fn what_a_replica_does_not_understand_stops_it() {
    let mut world = World::with(1, 1);
    let unknown = log::Command { kind: None, ..command(Kind::CommitOrder(log::CommitOrder::default()), String::new()) };
    let entry = |level, commands| log::LogEntry { feature_level: level, commands, ..Default::default() };
    let next = world.index + 1;
    let cases = [
        (next, entry(1, vec![unknown]), Fault::UnknownCommand { index: next, position: 0 }),
        (next, entry(3, Vec::new()), Fault::FeatureLevel { index: next, needed: 3, spoken: 2 }),
        (world.index, entry(1, Vec::new()), Fault::OutOfOrder { expected: next, got: world.index }),
    ];
    for (index, entry, fault) in cases {
        let mut state: State = world.state.clone();
        assert_eq!(state.apply(index, &entry).unwrap_err(), fault);
    }
    // Indices that hold no commands are passed.
    world.state.pass(next).unwrap();
    assert_eq!(world.state.applied_index(), next);
}
