//! Purchase orders, the claims of waiting lines on them, and what a receipt makes of claims.

use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::common::v1::ShortagePolicy::Backorder;
use stockmesh_proto::coordinator::v1 as api;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{
    InboundReceiptsClosed, NoticePackage, PackageLine, ReceiptKind, ReceiptLine, RightsGranted, ShipNotice,
    StockReceived,
};
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_types::{BusinessDate, LogTime, Reason};

use super::audit::audit;
use super::world::{START_MS, World, key, order};
use crate::{Answer, ExceptionFilter};

/// A day of the tests: `n` days after the first.
pub fn day(n: i64) -> String {
    BusinessDate::from_days(LogTime(START_MS).date().days() + n).to_string()
}

pub fn line(line: u32, item: &str, quantity: i64) -> api::PurchaseOrderLine {
    api::PurchaseOrderLine {
        line,
        stock_key: Some(key(item)),
        quantity,
        cost_minor: 7 * quantity,
        ..Default::default()
    }
}

pub fn purchase(id: &str, node: &str, days: i64, lines: &[api::PurchaseOrderLine]) -> api::PurchaseOrder {
    api::PurchaseOrder {
        purchase_order_id: id.into(),
        supplier: "s-1".into(),
        node: node.into(),
        currency_code: "GBP".into(),
        expected_date: day(days),
        lines: lines.to_vec(),
        ..Default::default()
    }
}

pub fn create(order: api::PurchaseOrder) -> Kind {
    Kind::CreatePurchaseOrder(log::CreatePurchaseOrder { purchase_order: Some(order) })
}

pub fn receipt(id: &str, purchase: &str, lines: &[(u32, &str, i64)]) -> Fact {
    let line = |(inbound_line, item, quantity): &(u32, &str, i64)| ReceiptLine {
        stock_key: Some(key(item)),
        quantity: *quantity,
        condition: wire::Condition::Sellable.into(),
        inbound_line: *inbound_line,
        ..Default::default()
    };
    Fact::StockReceived(StockReceived {
        receipt_id: id.into(),
        kind: ReceiptKind::PurchaseOrder.into(),
        reference: purchase.into(),
        lines: lines.iter().map(line).collect(),
        inbound_id: format!("po/{purchase}"),
    })
}

fn granted(item: &str, granted_total: i64) -> Fact {
    Fact::RightsGranted(RightsGranted { stock_key: Some(key(item)), granted_total })
}

/// Days and units that a line should come from.
fn expected(world: &World, id: &str) -> Vec<(i64, String, String)> {
    let lines = world.order(id).lines;
    let all = lines.iter().flat_map(|line| &line.expectations);
    all.map(|part| (part.quantity, part.expected_date.clone(), part.inbound_id.clone())).collect()
}

fn claimed(world: &World, id: &str) -> Vec<i64> {
    world.state.purchase_order(id).unwrap().lines.iter().map(|line| line.claimed).collect()
}

fn open_exceptions(world: &World) -> Vec<(String, String)> {
    let (page, _) = world.state.list_exceptions(0, 100, &ExceptionFilter::default());
    page.items.into_iter().map(|one| (one.code_name, one.document_id)).collect()
}

#[test]
fn the_queue_claims_the_earliest_supply_first_and_the_node_is_told() {
    let mut world = World::with(1, 2);
    world.place(&order("o1", Backorder, &[("A", 4)])).unwrap();
    world.write(create(purchase("late", "n0", 20, &[line(1, "A", 10)]))).unwrap();
    assert_eq!(expected(&world, "o1"), [(4, day(20), "po/late".into())]);
    world.write(create(purchase("soon", "n1", 5, &[line(1, "A", 6)]))).unwrap();
    world.place(&order("o2", Backorder, &[("A", 5)])).unwrap();
    audit(&world.state);
    // o1 has moved to the earlier supply; o2 takes what is left of it, and the rest from the later one.
    assert_eq!(expected(&world, "o1"), [(4, day(5), "po/soon".into())]);
    assert_eq!(expected(&world, "o2"), [(2, day(5), "po/soon".into()), (3, day(20), "po/late".into())]);
    assert_eq!((claimed(&world, "soon"), claimed(&world, "late")), (vec![6], vec![3]));
    let supply = world.state.supply_of(&stockmesh_proto::convert::stock_key(&Some(key("A")), "").unwrap());
    assert_eq!((supply.backordered, supply.available_to_order, supply.supplies.len()), (9, 7, 2));
    let told = |node: &str| -> Vec<String> {
        let facts = world.sent(&format!("node/{node}")).into_iter();
        let told = facts.filter_map(|fact| match fact {
            Fact::InboundAnnounced(announced) => {
                let line = &announced.lines[0];
                Some(format!(
                    "{} r{} {}/{}",
                    announced.inbound_id, announced.revision, line.claimed_quantity, line.quantity
                ))
            }
            Fact::InboundClaimed(claimed) => Some(format!("{} {}", claimed.inbound_id, claimed.claimed_quantity)),
            _ => None,
        });
        told.collect()
    };
    assert_eq!(told("n0"), ["po/late r1 4/10", "po/late 0", "po/late 3"]);
    assert_eq!(told("n1"), ["po/soon r1 4/6", "po/soon 6"]);
    // The first in the queue goes: everybody moves up.
    world.write(Kind::CancelOrder(log::CancelOrder { order_id: "o1".into(), lines: vec![] })).unwrap();
    assert_eq!(expected(&world, "o2"), [(5, day(5), "po/soon".into())]);
    audit(&world.state);
}

#[test]
fn a_receipt_and_its_grant_turn_claims_into_allocations_in_queue_order() {
    for grant_first in [false, true] {
        let mut world = World::with(1, 1);
        for (id, units) in [("o1", 4), ("o2", 3), ("o3", 5)] {
            world.place(&order(id, Backorder, &[("A", units)])).unwrap();
        }
        world.write(create(purchase("p", "n0", 5, &[line(1, "A", 20)]))).unwrap();
        assert_eq!(claimed(&world, "p"), [12]);
        // Nine arrive, and all nine are granted, because twelve were claimed.
        let facts = [receipt("r1", "p", &[(1, "A", 9)]), granted("A", 9)];
        let order_of = |n: usize| if grant_first { 1 - n } else { n };
        for n in 0..2 {
            world.fact("n0", facts[order_of(n)].clone()).unwrap();
            audit(&world.state);
        }
        let promised = |world: &World, id: &str| {
            world.order(id).lines[0].allocations.iter().map(|part| part.quantity).sum::<i64>()
        };
        assert_eq!(
            [promised(&world, "o1"), promised(&world, "o2"), promised(&world, "o3")],
            [4, 3, 2],
            "grant first: {grant_first}"
        );
        assert_eq!(expected(&world, "o3"), [(3, day(5), "po/p".into())]);
        let order = world.state.purchase_order("p").unwrap();
        assert_eq!(
            (order.state(), order.lines[0].received, claimed(&world, "p")),
            (api::PurchaseOrderState::PartiallyReceived, 9, vec![3])
        );
        // The rest: three for the queue, eight are free.
        world.fact("n0", receipt("r2", "p", &[(1, "A", 11)])).unwrap();
        world.grant("n0", "A", 20);
        assert_eq!((promised(&world, "o3"), world.cell("A", "n0").free), (5, 8));
        assert_eq!(world.state.purchase_order("p").unwrap().state(), api::PurchaseOrderState::Received);
        assert!(decide_nothing(&world), "nothing is left to do");
        audit(&world.state);
    }
}

fn decide_nothing(world: &World) -> bool {
    crate::decide::next_step(&world.state, &crate::decide::Overlay::new(), 256).is_none()
}

#[test]
fn claims_stay_due_until_a_grant_covers_them_and_lapse_when_nobody_waits() {
    let mut world = World::with(1, 2);
    world.place(&order("o1", Backorder, &[("A", 4)])).unwrap();
    world.write(create(purchase("p", "n0", 5, &[line(1, "A", 4)]))).unwrap();
    world.fact("n0", receipt("r1", "p", &[(1, "A", 4)])).unwrap();
    // It has arrived: no supply is left to wait for, and the day is today.
    assert_eq!(expected(&world, "o1"), [(4, day(0), String::new())]);
    world.grant("n0", "A", 1);
    assert_eq!(world.order("o1").lines[0].backordered, 3);
    assert_eq!(expected(&world, "o1"), [(3, day(0), String::new())]);
    audit(&world.state);
    // Another node has some: the line takes them, and no longer waits for what is due.
    world.grant("n1", "A", 3);
    world.settle();
    assert_eq!(world.order("o1").lines[0].backordered, 0);
    assert!(world.state.supply.due.is_empty());
    world.grant("n0", "A", 4);
    assert_eq!(world.cell("A", "n0").free, 3);
    audit(&world.state);
}

#[test]
fn a_node_that_declined_a_line_does_not_get_it_back_by_a_receipt() {
    let mut world = World::with(1, 1);
    world.grant("n0", "A", 2);
    world.place(&order("o1", Backorder, &[("A", 2)])).unwrap();
    let id = world.order("o1").lines[0].allocations[0].id;
    world
        .fact(
            "n0",
            Fact::AllocationDeclined(stockmesh_proto::feed::v1::AllocationDeclined {
                allocation: id,
                cancelled_total: 2,
                lost_total: 2,
                reason: stockmesh_proto::feed::v1::DeclineReason::NotFound.into(),
                stock_key: Some(key("A")),
                lost_quantity: 2,
            }),
        )
        .unwrap();
    world.place(&order("o2", Backorder, &[("A", 1)])).unwrap();
    world.write(create(purchase("p", "n0", 5, &[line(1, "A", 3)]))).unwrap();
    world.fact("n0", receipt("r1", "p", &[(1, "A", 3)])).unwrap();
    world.grant("n0", "A", 5);
    assert_eq!((world.order("o1").lines[0].backordered, world.order("o2").lines[0].backordered), (2, 0));
    audit(&world.state);
}

#[test]
fn a_date_that_moves_and_supply_that_falls_away_re_promise_visibly() {
    let mut world = World::with(1, 1);
    world.place(&order("o1", Backorder, &[("A", 4)])).unwrap();
    world.write(create(purchase("p", "n0", 5, &[line(1, "A", 4)]))).unwrap();
    world.write(create(purchase("q", "n0", 9, &[line(1, "A", 3)]))).unwrap();
    let amend = |date: i64, lines: Vec<api::PurchaseOrderLine>| {
        let expected_date = if date == 0 { String::new() } else { day(date) };
        Kind::AmendPurchaseOrder(log::AmendPurchaseOrder {
            purchase_order_id: "p".into(),
            revision: 0,
            expected_date,
            lines,
        })
    };
    world.write(amend(30, vec![])).unwrap();
    assert_eq!(expected(&world, "o1"), [(3, day(9), "po/q".into()), (1, day(30), "po/p".into())]);
    // A notice brings it forward again, for the line that it lists.
    let package = NoticePackage {
        package_id: "sscc".into(),
        lines: vec![PackageLine { line: 1, quantity: 4, ..Default::default() }],
    };
    let notice =
        ShipNotice { notice_id: "n-1".into(), expected_date: day(7), packages: vec![package], ..Default::default() };
    let record = log::RecordShipNotice { purchase_order_id: "p".into(), notice: Some(notice) };
    world.write(Kind::RecordShipNotice(record)).unwrap();
    assert_eq!(expected(&world, "o1"), [(4, day(7), "po/p".into())]);
    // Less will come.
    let mut less = line(1, "A", 1);
    less.expected_date = day(7);
    world.write(amend(0, vec![less])).unwrap();
    assert_eq!(expected(&world, "o1"), [(1, day(7), "po/p".into()), (3, day(9), "po/q".into())]);
    audit(&world.state);
    let close = |id: &str, cancel: bool| {
        Kind::ClosePurchaseOrder(log::ClosePurchaseOrder { purchase_order_id: id.into(), cancel })
    };
    world.write(close("q", true)).unwrap();
    assert_eq!(expected(&world, "o1"), [(1, day(7), "po/p".into())]);
    world
        .fact("n0", Fact::InboundReceiptsClosed(InboundReceiptsClosed { inbound_id: "po/p".into(), lines: vec![] }))
        .unwrap();
    assert_eq!(expected(&world, "o1"), []);
    assert_eq!(world.state.purchase_order("p").unwrap().state(), api::PurchaseOrderState::Closed);
    // Goods that come all the same are counted, and somebody is told.
    world.fact("n0", receipt("r9", "p", &[(1, "A", 2)])).unwrap();
    assert_eq!(open_exceptions(&world), [("OVER_RECEIPT".into(), "po/p".into())]);
    audit(&world.state);
}

#[test]
fn what_is_late_is_said_once_and_settled_by_a_new_day_or_the_receipt() {
    let mut world = World::with(1, 1);
    world.write(create(purchase("p", "n0", 1, &[line(1, "A", 4)]))).unwrap();
    world.write(create(purchase("q", "n0", 1, &[line(1, "A", 4)]))).unwrap();
    assert!(decide_nothing(&world));
    // Two days pass: any entry brings the time.
    world.index += 2 * 8_640_000;
    world.place(&order("o1", Backorder, &[("A", 1)])).unwrap();
    world.settle();
    let late = || "LATE_RECEIPT".to_owned();
    assert_eq!(open_exceptions(&world), [(late(), "po/p".into()), (late(), "po/q".into())]);
    let of = |late| crate::PurchaseOrderFilter { late, ..Default::default() };
    assert_eq!(world.state.list_purchase_orders(0, 10, &of(true)).items.len(), 2);
    audit(&world.state);
    let amend = log::AmendPurchaseOrder { purchase_order_id: "p".into(), expected_date: day(9), ..Default::default() };
    world.write(Kind::AmendPurchaseOrder(amend)).unwrap();
    assert_eq!(open_exceptions(&world), [(late(), "po/q".into())]);
    world.fact("n0", receipt("r1", "q", &[(1, "A", 4)])).unwrap();
    assert_eq!(open_exceptions(&world), []);
    assert!(world.state.list_purchase_orders(0, 10, &of(true)).items.is_empty());
    audit(&world.state);
}

#[test]
fn which_reject_wins() {
    let mut world = World::with(2, 1);
    world.write(create(purchase("p", "n0", 5, &[line(1, "A", 4)]))).unwrap();
    world.fact("n0", receipt("r1", "p", &[(1, "A", 3)])).unwrap();
    let good = || purchase("q", "n0", 5, &[line(1, "A", 4)]);
    let spoil = |change: fn(&mut api::PurchaseOrder)| {
        let mut order = good();
        change(&mut order);
        create(order)
    };
    let amend = |id: &str, revision: u64, lines: Vec<api::PurchaseOrderLine>| {
        let (purchase_order_id, expected_date) = (id.to_owned(), day(8));
        Kind::AmendPurchaseOrder(log::AmendPurchaseOrder { purchase_order_id, revision, expected_date, lines })
    };
    let close =
        |id: &str| Kind::ClosePurchaseOrder(log::ClosePurchaseOrder { purchase_order_id: id.into(), cancel: true });
    let notice = |part: u32| {
        let lines = vec![PackageLine { line: part, quantity: 1, ..Default::default() }];
        let packages = vec![NoticePackage { package_id: String::new(), lines }];
        let notice = ShipNotice { notice_id: "n".into(), packages, ..Default::default() };
        Kind::RecordShipNotice(log::RecordShipNotice { purchase_order_id: "p".into(), notice: Some(notice) })
    };
    let cases: Vec<(Kind, Reason, &str)> = vec![
        (
            spoil(|order| order.purchase_order_id = "p".into()),
            Reason::DocumentIdReused,
            "purchase_order.purchase_order_id",
        ),
        (spoil(|order| order.purchase_order_id = "a/b".into()), Reason::InvalidId, "purchase_order.purchase_order_id"),
        (spoil(|order| order.node = "n9".into()), Reason::UnknownNode, "purchase_order.node"),
        (spoil(|order| order.currency_code = "pounds".into()), Reason::InvalidCurrency, "purchase_order.currency_code"),
        (spoil(|order| order.expected_date = "soon".into()), Reason::InvalidDate, "purchase_order.expected_date"),
        (spoil(|order| order.lines.clear()), Reason::MissingField, "purchase_order.lines"),
        (spoil(|order| order.lines.push(line(1, "B", 1))), Reason::DuplicateLine, "purchase_order.lines[1].line"),
        (spoil(|order| order.lines[0].quantity = 0), Reason::QuantityNotPositive, "purchase_order.lines[0].quantity"),
        (
            spoil(|order| order.lines[0].stock_key = Some(key("Z"))),
            Reason::UnknownItem,
            "purchase_order.lines[0].stock_key.item",
        ),
        (
            spoil(|order| order.lines = (1..=65).map(|n| line(n, "B", 1)).collect()),
            Reason::TooManySupplies,
            "purchase_order.lines[0].stock_key",
        ),
        (amend("x", 0, vec![]), Reason::UnknownPurchaseOrder, "purchase_order_id"),
        (amend("p", 7, vec![]), Reason::RevisionChanged, "revision"),
        (amend("p", 1, vec![line(1, "A", 2)]), Reason::BelowReceived, "lines[0].quantity"),
        (amend("p", 1, vec![line(1, "B", 4)]), Reason::BelowReceived, "lines[0].stock_key"),
        (amend("p", 1, vec![line(2, "B", 0)]), Reason::UnknownOrderLine, "lines[0].line"),
        (close("p"), Reason::BelowReceived, "cancel"),
        (notice(2), Reason::UnknownOrderLine, "notice.packages[0].lines[0].line"),
    ];
    for (kind, reason, field) in cases {
        let what = format!("{kind:?}");
        let reject = world.write(kind).unwrap_err();
        assert_eq!((reject.reason, reject.field.as_str()), (reason, field), "{what}");
    }
    // Nothing of all that left a trace; a repeat of a good one gets the same answer.
    let id = world.request_id();
    let first = world.apply(vec![super::world::command(create(good()), id.clone())]).remove(0).unwrap();
    let again = world.apply(vec![super::world::command(create(good()), id)]).remove(0).unwrap();
    assert_eq!(first, again);
    let Answer::PurchaseOrder(order) = first else { panic!("{first:?}") };
    assert_eq!((order.revision, order.state()), (1, api::PurchaseOrderState::Open));
    audit(&world.state);
}
