//! Which reject wins: malformed orders before the log, and the same ones in it.

use stockmesh_proto::common::v1::{Order, Place, ShortagePolicy, StockKey};
use stockmesh_proto::feed::v1::RightsGranted;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_types::{NodeId, Reason};

use super::world::{World, hash, key, order};
use crate::rights::{MAX_KEYS, MAX_KEYS_BY_ORDERS};
use crate::{Answer, validate};

fn good() -> Order {
    order("o", ShortagePolicy::Backorder, &[("A", 1), ("B", 2)])
}

/// A way to spoil an order, the reason, the field.
type Case = (fn(&mut Order), Reason, &'static str);

#[test]
fn the_shape_of_an_order_is_checked_field_by_field() {
    assert_eq!(validate::order(&good()), Ok(()));
    let cases: [Case; 21] = [
        (|o| o.order_id.clear(), Reason::MissingField, "order.order_id"),
        (|o| o.order_id = "a b".into(), Reason::InvalidId, "order.order_id"),
        (|o| o.channel.clear(), Reason::MissingField, "order.channel"),
        (|o| o.channel = "Web".into(), Reason::InvalidId, "order.channel"),
        (|o| o.placed_time_ms = -1, Reason::InvalidDate, "order.placed_time_ms"),
        (|o| o.customer = None, Reason::MissingField, "order.customer"),
        (|o| o.ship_to = None, Reason::MissingField, "order.ship_to"),
        (
            |o| o.ship_to = Some(Place { country_code: "uk".into(), ..Place::default() }),
            Reason::InvalidPlace,
            "order.ship_to.country_code",
        ),
        (|o| o.currency_code.clear(), Reason::MissingField, "order.currency_code"),
        (|o| o.currency_code = "pounds".into(), Reason::InvalidCurrency, "order.currency_code"),
        (|o| o.payment_terms = 0, Reason::UnspecifiedEnum, "order.payment_terms"),
        (|o| o.shortage_policy = 9, Reason::UnspecifiedEnum, "order.shortage_policy"),
        (|o| o.lines.clear(), Reason::MissingField, "order.lines"),
        (|o| o.lines = vec![o.lines[0].clone(); 2_001], Reason::TooManyLines, "order.lines"),
        (|o| o.lines[1].line = 1, Reason::DuplicateLine, "order.lines[1].line"),
        (|o| o.lines[1].line = 0, Reason::MissingField, "order.lines[1].line"),
        (|o| o.lines[0].quantity = 0, Reason::QuantityNotPositive, "order.lines[0].quantity"),
        (|o| o.lines[0].quantity = -3, Reason::QuantityNotPositive, "order.lines[0].quantity"),
        (|o| o.lines[0].quantity = i64::MAX, Reason::QuantityTooLarge, "order.lines[0].quantity"),
        (|o| o.lines[1].stock_key = None, Reason::MissingField, "order.lines[1].stock_key"),
        (|o| o.lines[1].price = None, Reason::MissingField, "order.lines[1].price"),
    ];
    for (spoil, reason, field) in cases {
        let mut order = good();
        spoil(&mut order);
        let reject = validate::order(&order).unwrap_err();
        assert_eq!((reject.reason, reject.field.as_str()), (reason, field), "{reject}");
    }
}

#[test]
fn apply_believes_no_leader() {
    let mut world = World::with(2, 2);
    world.grant("n0", "A", 5);
    let commit = |spoil: fn(&mut log::CommitOrder)| {
        let order = good();
        let mut commit =
            log::CommitOrder { order_hash: hash(&order).to_vec(), order: Some(order), ..Default::default() };
        spoil(&mut commit);
        Kind::CommitOrder(commit)
    };
    fn promise(commit: &mut log::CommitOrder, line: u32, node_index: u32, quantity: i64) {
        commit.promises.push(log::Promise { line, node_index, quantity });
    }
    fn change(commit: &mut log::CommitOrder, change: fn(&mut Order)) {
        change(commit.order.as_mut().unwrap());
    }
    type Case = (fn(&mut log::CommitOrder), Reason);
    let cases: [Case; 15] = [
        (|c| c.order = None, Reason::MissingField),
        (|c| c.order_hash.truncate(3), Reason::InvalidValue),
        (|c| change(c, |o| o.order_id.clear()), Reason::MissingField),
        (|c| c.incarnation = 2, Reason::StaleIncarnation),
        (|c| change(c, |o| o.lines.clear()), Reason::TooManyLines),
        (|c| change(c, |o| o.lines[0].quantity = -1), Reason::QuantityNotPositive),
        (|c| change(c, |o| o.lines[1].line = 1), Reason::DuplicateLine),
        (|c| change(c, |o| o.lines[1].stock_key = Some(key("NEW"))), Reason::UnknownItem),
        (|c| promise(c, 3, 0, 1), Reason::InvalidValue),
        (|c| promise(c, 1, 0, 0), Reason::InvalidValue),
        (|c| promise(c, 1, 0, -1), Reason::InvalidValue),
        (|c| promise(c, 1, 0, 2), Reason::InvalidValue),
        (|c| promise(c, 1, 1, 1), Reason::RightsChanged),
        (|c| promise(c, 2, 0, 1), Reason::RightsChanged),
        (|c| change(c, |o| o.shortage_policy = ShortagePolicy::AllOrNothing.into()), Reason::InsufficientRights),
    ];
    for (n, (spoil, reason)) in cases.into_iter().enumerate() {
        let before = (world.state.counters(), world.cell("A", "n0"));
        assert_eq!(world.run(commit(spoil)).unwrap_err().reason, reason, "case {n}");
        assert_eq!((world.state.counters(), world.cell("A", "n0")), before, "case {n} changed something");
    }
    let answer = world.run(commit(|c| promise(c, 1, 0, 1))).unwrap();
    assert!(matches!(answer, Answer::OrderPlaced { already_placed: false, .. }));
}

#[test]
fn an_item_has_a_bounded_number_of_stock_keys() {
    let owned = |n: usize| StockKey { owner: format!("o-{n}"), ..key("A") };
    let order_of = |id: &str, owners: std::ops::Range<usize>| {
        let lines = vec![("A", 1); owners.len()];
        let mut order = order(id, ShortagePolicy::Backorder, &lines);
        for (line, n) in order.lines.iter_mut().zip(owners) {
            line.stock_key = Some(owned(n));
        }
        order
    };
    fn commit(order: &Order) -> Kind {
        Kind::CommitOrder(log::CommitOrder {
            order_hash: hash(order).to_vec(),
            order: Some(order.clone()),
            ..Default::default()
        })
    }
    let mut world = World::with(2, 1);
    world.run(commit(&order_of("many", 0..MAX_KEYS_BY_ORDERS - 1))).unwrap();
    let before = world.state.counters();
    let reject = world.run(commit(&order_of("two", 5_000..5_002))).unwrap_err();
    assert_eq!((reject.reason, reject.field.as_str()), (Reason::TooManyStockKeys, "order.lines"));
    assert_eq!(world.state.counters(), before, "nothing changed");
    // One key twice is one key.
    let mut twice = order_of("one", 5_000..5_002);
    twice.lines[1].stock_key = Some(owned(5_000));
    world.run(commit(&twice)).unwrap();
    assert_eq!(world.state.counters().stock_keys, MAX_KEYS_BY_ORDERS as u64);
    assert_eq!(world.run(commit(&order_of("full", 6_000..6_001))).unwrap_err().reason, Reason::TooManyStockKeys);
    world.run(commit(&order_of("known", 0..2))).unwrap();
    world.run(commit(&order("other", ShortagePolicy::Backorder, &[("B", 1)]))).unwrap();

    // What nodes grant has room of its own, and an end too.
    let grant = |n| Fact::RightsGranted(RightsGranted { stock_key: Some(owned(n)), granted_total: 1 });
    for n in MAX_KEYS_BY_ORDERS..MAX_KEYS {
        world.fact("n0", grant(10_000 + n)).unwrap();
    }
    let before = (world.state.counters(), world.state.node_cursor(&NodeId::new("n0").unwrap()));
    let reject = world.fact("n0", grant(20_000)).unwrap_err();
    assert_eq!((reject.reason, reject.field.as_str()), (Reason::TooManyStockKeys, "stock_key"));
    assert_eq!((world.state.counters(), world.state.node_cursor(&NodeId::new("n0").unwrap())), before);
    world.fact("n0", grant(0)).unwrap();
}

#[test]
fn recalls_take_only_what_is_free() {
    let mut world = World::with(2, 2);
    world.grant("n0", "A", 5);
    world.place(&order("o", ShortagePolicy::Backorder, &[("A", 3)])).unwrap();
    let recall = |node: &str, item: &str, quantity| {
        Kind::RecallRights(log::RecallRights { node: node.into(), stock_key: Some(key(item)), quantity })
    };
    for (kind, reason) in [
        (recall("n0", "A", 3), Reason::InsufficientRights),
        (recall("n0", "A", 0), Reason::QuantityNotPositive),
        (recall("n0", "B", 1), Reason::UnknownCell),
        (recall("n1", "A", 1), Reason::UnknownCell),
        (recall("n7", "A", 1), Reason::UnknownNode),
        (recall("n0", "NEW", 1), Reason::UnknownItem),
    ] {
        assert_eq!(world.write(kind).unwrap_err().reason, reason);
    }
    let Ok(Answer::RightsRecalled { cell }) = world.write(recall("n0", "A", 2)) else { panic!("recalled") };
    assert_eq!((cell.returned, cell.free, cell.open), (2, 0, 3));
}
