//! Transition 6: who is asked for what, and whose request an answer fills.

use stockmesh_proto::common::v1::{AllocationId, CancelReason, ShortagePolicy};
use stockmesh_proto::coordinator::v1::{CancelLine, OrderState};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{CancellationAnswered, ShipmentDispatched, ShipmentLine, ShortfallReported};
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_types::{Reason, Reject};

use super::audit::audit;
use super::world::{World, key, order};
use crate::Answer;

fn cancel(world: &mut World, order: &str, lines: &[(u32, i64)]) -> Result<(i64, i64), Reject> {
    let lines = lines.iter().map(|(line, quantity)| CancelLine { line: *line, quantity: *quantity }).collect();
    let answer = world.write(Kind::CancelOrder(log::CancelOrder { order_id: order.into(), lines }))?;
    audit(&world.state);
    match answer {
        Answer::OrderCancelled { cancelled, requested, .. } => Ok((cancelled, requested)),
        other => panic!("{other:?}"),
    }
}

fn answered(world: &mut World, id: AllocationId, requested_total: i64, cancelled_total: i64) {
    let allocation = Some(id);
    let answer = CancellationAnswered { allocation, requested_total, cancelled_total, lost_total: 0 };
    world.fact("n0", Fact::CancellationAnswered(answer)).unwrap();
    audit(&world.state);
}

fn ship(world: &mut World, id: AllocationId, shipped_total: i64) {
    let line = ShipmentLine { allocation: Some(id), shipped_total, ..Default::default() };
    let shipment = ShipmentDispatched { lines: vec![line], ..Default::default() };
    world.fact("n0", Fact::ShipmentDispatched(shipment)).unwrap();
    audit(&world.state);
}

/// An order of ten units, six promised from n0, four waiting.
fn world() -> (World, AllocationId) {
    let mut world = World::with(1, 1);
    world.grant("n0", "A", 6);
    let status = world.place(&order("o", ShortagePolicy::Backorder, &[("A", 10)])).unwrap();
    assert_eq!(status.state(), OrderState::PartiallyPromised);
    let id = status.lines[0].allocations[0].id.unwrap();
    (world, id)
}

/// (cancelled, backordered, shipped) of the order's line.
fn line(world: &World) -> (i64, i64, i64) {
    let line = &world.order("o").lines[0];
    (line.cancelled, line.backordered, line.shipped)
}

fn told_finance(world: &World) -> Vec<(i64, CancelReason)> {
    let facts = world.sent("finance/main").into_iter();
    facts
        .filter_map(|fact| match fact {
            Fact::OrderLineCancelled(cancelled) => Some((cancelled.cancelled_total, cancelled.reason())),
            _ => None,
        })
        .collect()
}

#[test]
fn waiting_units_go_first_and_at_once_the_node_is_asked_for_the_rest() {
    let (mut world, id) = world();
    assert_eq!(cancel(&mut world, "o", &[(1, 3)]).unwrap(), (3, 0));
    assert_eq!(cancel(&mut world, "o", &[(1, 3)]).unwrap(), (1, 2));
    assert_eq!(line(&world), (4, 0, 0), "the node's units are not cancelled before its answer");
    assert_eq!(world.cell("A", "n0").free, 0, "and not free");
    answered(&mut world, id, 2, 2);
    assert_eq!(line(&world), (6, 0, 0));
    assert_eq!(world.cell("A", "n0").free, 2);
    assert_eq!(told_finance(&world), [3, 4, 6].map(|total| (total, CancelReason::Customer)));
    assert_eq!(cancel(&mut world, "o", &[]).unwrap(), (0, 4));
    answered(&mut world, id, 6, 6);
    assert_eq!(world.order("o").state(), OrderState::Cancelled);
    assert_eq!(world.state.counters().open_orders, 0);
    assert_eq!(cancel(&mut world, "o", &[]).unwrap_err().reason, Reason::NothingToCancel);
}

#[test]
fn only_the_answer_to_the_latest_request_means_too_late() {
    let (mut world, id) = world();
    cancel(&mut world, "o", &[(1, 5)]).unwrap();
    cancel(&mut world, "o", &[(1, 2)]).unwrap();
    // Asked for 1, then for 3 in all.
    answered(&mut world, id, 1, 1);
    answered(&mut world, id, 3, 3);
    assert_eq!(line(&world), (7, 0, 0), "all three fill the customer's request, none is sourced anew");
}

#[test]
fn what_has_shipped_is_too_late() {
    let (mut world, id) = world();
    assert_eq!(cancel(&mut world, "o", &[]).unwrap(), (4, 6));
    ship(&mut world, id, 5);
    answered(&mut world, id, 6, 1);
    assert_eq!(line(&world), (5, 0, 5));
    assert_eq!(world.order("o").state(), OrderState::Shipped);
}

#[test]
fn the_customers_request_is_filled_before_the_broken_promises() {
    let (mut world, id) = world();
    let shortfall = ShortfallReported { stock_key: Some(key("A")), level: 2, returned_total: 0 };
    world.fact("n0", Fact::ShortfallReported(shortfall)).unwrap();
    assert_eq!(cancel(&mut world, "o", &[(1, 7)]).unwrap(), (4, 3));
    // Two for the shortfall, three more for the customer: five of six.
    answered(&mut world, id, 2, 2);
    assert_eq!(line(&world), (6, 0, 0), "the first two are the customer's");
    answered(&mut world, id, 5, 5);
    assert_eq!(line(&world), (7, 2, 0), "one more is, the others are sourced anew");
    let cell = world.cell("A", "n0");
    assert_eq!((cell.returned, cell.free, cell.open), (2, 3, 1), "as many are returned as were short");
}

#[test]
fn lines_are_refused_by_what_is_left_of_them() {
    let (mut world, _) = world();
    type Case = (&'static str, &'static [(u32, i64)], Reason, &'static str);
    let cases: [Case; 6] = [
        ("x", &[], Reason::UnknownOrder, "order_id"),
        ("o", &[(2, 1)], Reason::UnknownOrderLine, "lines[0].line"),
        ("o", &[(1, 11)], Reason::ExceedsLine, "lines[0].quantity"),
        ("o", &[(1, 0)], Reason::QuantityNotPositive, "lines[0].quantity"),
        ("o", &[(1, 2_000_000_000)], Reason::QuantityTooLarge, "lines[0].quantity"),
        ("o", &[(1, 1), (1, 1)], Reason::DuplicateLine, "lines[1].line"),
    ];
    for (order, lines, reason, field) in cases {
        let reject = cancel(&mut world, order, lines).unwrap_err();
        assert_eq!((reject.reason, reject.field.as_str()), (reason, field), "{order} {lines:?}");
        assert_eq!(line(&world), (0, 4, 0), "nothing changed");
    }
    cancel(&mut world, "o", &[]).unwrap();
    assert_eq!(cancel(&mut world, "o", &[(1, 1)]).unwrap_err().reason, Reason::NothingToCancel);
}
