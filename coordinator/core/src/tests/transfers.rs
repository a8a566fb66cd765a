//! Transfers: an allocation whose customer is a node, from draft to receipt.

use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::common::v1::ShortagePolicy::Backorder;
use stockmesh_proto::coordinator::v1 as api;
use stockmesh_proto::coordinator::v1::TransferState;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_types::Reason;

use super::audit::audit;
use super::supply::day;
use super::world::{World, key, order};
use crate::{Answer, ExceptionFilter};

pub fn draft(id: &str, from: &str, to: &str, lines: &[(&str, i64)]) -> Kind {
    let line = |(n, (item, quantity)): (usize, &(&str, i64))| api::TransferLine {
        line: n as u32 + 1,
        stock_key: Some(key(item)),
        quantity: *quantity,
        ..Default::default()
    };
    let transfer = api::Transfer {
        transfer_id: id.into(),
        source_node: from.into(),
        destination_node: to.into(),
        expected_date: day(3),
        lines: lines.iter().enumerate().map(line).collect(),
        ..Default::default()
    };
    Kind::CreateTransfer(log::CreateTransfer { transfer: Some(transfer) })
}

pub fn release(id: &str, allow_partial: bool) -> Kind {
    Kind::ReleaseTransfer(log::ReleaseTransfer { transfer_id: id.into(), allow_partial })
}

fn cancel(id: &str) -> Kind {
    Kind::CancelTransfer(log::CancelTransfer { transfer_id: id.into() })
}

/// Allocations that a node was told of, with what they are for.
pub fn opened(world: &World, node: &str) -> Vec<feed::AllocationOpened> {
    let facts = world.sent(&format!("node/{node}")).into_iter();
    facts.filter_map(|fact| if let Fact::AllocationOpened(opened) = fact { Some(opened) } else { None }).collect()
}

pub fn shipped(id: &str, to: &str, parts: &[(&feed::AllocationOpened, i64, i64)]) -> Fact {
    let line = |(of, quantity, shipped_total): &(&feed::AllocationOpened, i64, i64)| feed::TransferLine {
        allocation: of.allocation,
        line: of.line,
        stock_key: of.stock_key.clone(),
        quantity: *quantity,
        shipped_total: *shipped_total,
        ..Default::default()
    };
    Fact::TransferShipped(feed::TransferShipped {
        shipment_id: format!("s-{id}"),
        transfer_id: id.into(),
        destination_node: to.into(),
        lines: parts.iter().map(line).collect(),
        ..Default::default()
    })
}

pub fn received(id: &str, from: &str, line: u32, item: &str, good: i64, damaged: i64, short: i64) -> Fact {
    let line = feed::TransferReceivedLine {
        line,
        stock_key: Some(key(item)),
        received_total: good,
        damaged_total: damaged,
        short_total: short,
        ..Default::default()
    };
    Fact::TransferReceived(feed::TransferReceived {
        receipt_id: format!("r-{id}"),
        transfer_id: id.into(),
        source_node: from.into(),
        lines: vec![line],
    })
}

fn state(world: &World, id: &str) -> TransferState {
    world.state.transfer(id).unwrap().state()
}

fn exceptions(world: &World) -> Vec<String> {
    let (page, _) = world.state.list_exceptions(0, 100, &ExceptionFilter::default());
    page.items.into_iter().map(|one| format!("{} {}", one.code_name, one.document_id)).collect()
}

#[test]
fn from_draft_to_receipt() {
    let mut world = World::with(2, 2);
    world.grant("n0", "A", 10);
    world.place(&order("o1", Backorder, &[("B", 3)])).unwrap();
    world.write(draft("t", "n0", "n1", &[("A", 6), ("B", 4)])).unwrap();
    assert_eq!(state(&world, "t"), TransferState::Draft);
    assert_eq!(world.cell("A", "n0").free, 10, "a draft binds nothing");
    let orders = world.state.counters().orders;
    world.write(release("t", true)).unwrap();
    audit(&world.state);
    assert_eq!((state(&world, "t"), world.cell("A", "n0").open), (TransferState::ReadyToShip, 6));
    assert_eq!(world.state.transfer("t").unwrap().lines[1].cancelled, 4, "nothing of B was free");
    let work = opened(&world, "n0").remove(0);
    let reference = feed::TransferRef { transfer_id: "t".into(), destination_node: "n1".into() };
    assert_eq!((work.transfer, work.order_id.as_str(), work.quantity), (Some(reference), "transfer/t", 6));
    // It is no order to anybody else.
    let counters = world.state.counters();
    assert_eq!((counters.orders, counters.open_orders), (orders, 1));
    assert!(world.state.order(&stockmesh_types::OrderId::new("transfer/t").unwrap()).is_none());
    assert_eq!(world.state.list_orders(0, 10, None).items.len(), 1);
    let finance = world.sent("finance/main");
    assert!(finance.iter().all(|fact| !matches!(fact, Fact::OrderLineCancelled(_))), "{finance:?}");

    // Four of six leave: they are supply of the destination.
    let work = opened(&world, "n0");
    world.fact("n0", shipped("t", "n1", &[(&work[0], 4, 4)])).unwrap();
    assert_eq!((state(&world, "t"), world.cell("A", "n0").shipped), (TransferState::InTransit, 4));
    let supply = world.state.supply_of(&stockmesh_proto::convert::stock_key(&Some(key("A")), "").unwrap());
    let in_transit = &supply.supplies[0];
    assert_eq!((in_transit.quantity, in_transit.node.as_str(), in_transit.expected_date.clone()), (4, "n1", day(3)));
    audit(&world.state);
    // Three arrive, one of them damaged; more of it is still at the source.
    world.fact("n1", received("t", "n0", 1, "A", 2, 1, 0)).unwrap();
    assert_eq!(state(&world, "t"), TransferState::PartiallyReceived);
    // The source can't send the rest.
    world
        .fact(
            "n0",
            Fact::AllocationDeclined(feed::AllocationDeclined {
                allocation: work[0].allocation,
                cancelled_total: 2,
                lost_total: 2,
                reason: feed::DeclineReason::NotFound.into(),
                stock_key: Some(key("A")),
                lost_quantity: 2,
            }),
        )
        .unwrap();
    assert_eq!(state(&world, "t"), TransferState::PartiallyReceived);
    assert_eq!(world.state.counters().backordered_units, 3, "a transfer is not sourced anew");
    world.fact("n1", received("t", "n0", 1, "A", 2, 1, 1)).unwrap();
    assert_eq!(state(&world, "t"), TransferState::Received);
    let told = world.sent("node/n1");
    assert!(matches!(told.last(), Some(Fact::InboundClosed(closed)) if closed.inbound_id == "transfer/t"), "{told:?}");
    assert_eq!(exceptions(&world), Vec::<String>::new());
    audit(&world.state);
}

#[test]
fn a_waiting_line_claims_what_is_in_transit_and_gets_it_with_the_receipt() {
    let mut world = World::with(1, 2);
    world.grant("n0", "A", 6);
    world.write(draft("t", "n0", "n1", &[("A", 6)])).unwrap();
    world.write(release("t", false)).unwrap();
    let work = opened(&world, "n0");
    world.fact("n0", shipped("t", "n1", &[(&work[0], 6, 6)])).unwrap();
    world.place(&order("o1", Backorder, &[("A", 4)])).unwrap();
    let part = world.order("o1").lines[0].expectations[0].clone();
    assert_eq!((part.quantity, part.expected_date, part.inbound_id), (4, day(3), "transfer/t".into()));
    world.fact("n1", received("t", "n0", 1, "A", 6, 0, 0)).unwrap();
    world.grant("n1", "A", 4);
    let line = world.order("o1").lines[0].clone();
    assert_eq!((line.backordered, line.allocations[0].node.as_str()), (0, "n1"));
    audit(&world.state);
}

#[test]
fn more_received_than_shipped_is_an_exception_until_the_source_explains_it() {
    let mut world = World::with(1, 2);
    world.grant("n0", "A", 6);
    world.write(draft("t", "n0", "n1", &[("A", 6)])).unwrap();
    world.write(release("t", false)).unwrap();
    let work = opened(&world, "n0");
    world.fact("n1", received("t", "n0", 1, "A", 5, 0, 0)).unwrap();
    assert_eq!(exceptions(&world), ["OVER_RECEIPT t"]);
    world.fact("n0", shipped("t", "n1", &[(&work[0], 4, 4)])).unwrap();
    assert_eq!(exceptions(&world), ["OVER_RECEIPT t"], "one unit is still too many");
    world.fact("n0", shipped("t", "n1", &[(&work[0], 2, 6)])).unwrap();
    assert_eq!(exceptions(&world), Vec::<String>::new());
    // A transfer that nobody sent.
    world.fact("n1", received("u", "n0", 1, "A", 5, 0, 0)).unwrap();
    assert_eq!(exceptions(&world), ["OVER_RECEIPT u"]);
    audit(&world.state);
}

#[test]
fn a_cancellation_waits_for_the_source_and_may_be_too_late() {
    let mut world = World::with(1, 2);
    world.grant("n0", "A", 6);
    world.write(draft("t", "n0", "n1", &[("A", 6)])).unwrap();
    world.write(release("t", false)).unwrap();
    let answer = world.write(cancel("t")).unwrap();
    assert!(matches!(answer, Answer::Transfer { cancelled: 0, requested: 6, .. }), "{answer:?}");
    assert_eq!(world.cell("A", "n0").free, 0, "only the node's word frees units");
    let work = opened(&world, "n0");
    world.fact("n0", shipped("t", "n1", &[(&work[0], 2, 2)])).unwrap();
    let answered = feed::CancellationAnswered {
        allocation: work[0].allocation,
        requested_total: 6,
        cancelled_total: 4,
        lost_total: 0,
    };
    world.fact("n0", Fact::CancellationAnswered(answered)).unwrap();
    assert_eq!((world.cell("A", "n0").free, state(&world, "t")), (4, TransferState::InTransit));
    let transfer = world.state.transfer("t").unwrap();
    assert_eq!((transfer.lines[0].cancelled, transfer.lines[0].shipped), (4, 2));
    audit(&world.state);
    // A draft ends at once.
    world.write(draft("u", "n0", "n1", &[("A", 1)])).unwrap();
    let answer = world.write(cancel("u")).unwrap();
    assert!(matches!(answer, Answer::Transfer { cancelled: 1, requested: 0, .. }), "{answer:?}");
    assert_eq!(state(&world, "u"), TransferState::Cancelled);
}

#[test]
fn those_who_wait_go_first() {
    let mut world = World::with(1, 2);
    world.place(&order("o1", Backorder, &[("A", 4)])).unwrap();
    world.grant("n0", "A", 6);
    world.write(draft("t", "n0", "n1", &[("A", 6)])).unwrap();
    let refused = world.write(release("t", false)).unwrap_err();
    assert_eq!((refused.reason, refused.field.as_str()), (Reason::InsufficientRights, "lines[0].quantity"));
    world.write(release("t", true)).unwrap();
    world.settle();
    assert_eq!(world.order("o1").lines[0].backordered, 0);
    assert_eq!(world.state.transfer("t").unwrap().lines[0].cancelled, 4);
    audit(&world.state);
}

#[test]
fn which_reject_wins() {
    let mut world = World::with(1, 2);
    world.grant("n0", "A", 5);
    world.write(draft("t", "n0", "n1", &[("A", 2)])).unwrap();
    world.write(release("t", false)).unwrap();
    world.write(draft("e", "n1", "n0", &[("A", 1)])).unwrap();
    world.write(cancel("e")).unwrap();
    world.write(draft("d", "n1", "n0", &[("A", 1)])).unwrap();
    world.write(Kind::CreateItems(log::CreateItems { items: vec![super::world::item("Z", 1)] })).unwrap();
    let date =
        |id: &str| Kind::ChangeTransferDate(log::ChangeTransferDate { transfer_id: id.into(), expected_date: day(9) });
    let cases: Vec<(Kind, Reason, &str)> = vec![
        (draft("t", "n0", "n1", &[("A", 1)]), Reason::DocumentIdReused, "transfer.transfer_id"),
        (draft("x", "n0", "n0", &[("A", 1)]), Reason::InvalidValue, "transfer.destination_node"),
        (draft("x", "n7", "n0", &[("A", 1)]), Reason::UnknownNode, "transfer.source_node"),
        (draft("x", "n0", "n1", &[]), Reason::MissingField, "transfer.lines"),
        (draft("x", "n0", "n1", &[("A", 0)]), Reason::QuantityNotPositive, "transfer.lines[0].quantity"),
        (draft("x", "n0", "n1", &[("Q", 1)]), Reason::UnknownItem, "transfer.lines[0].stock_key.item"),
        (draft("x", "n0", "n1", &[("Z", 1)]), Reason::NotRanged, "transfer.lines[0].stock_key.item"),
        (release("x", true), Reason::UnknownTransfer, "transfer_id"),
        (release("t", true), Reason::TransferNotDraft, "transfer_id"),
        (release("d", true), Reason::InsufficientRights, "transfer_id"),
        (cancel("e"), Reason::TransferEnded, "transfer_id"),
        (date("e"), Reason::TransferEnded, "transfer_id"),
    ];
    for (kind, reason, field) in cases {
        let what = format!("{kind:?}");
        let reject = world.write(kind).unwrap_err();
        assert_eq!((reject.reason, reject.field.as_str()), (reason, field), "{what}");
    }
    world.write(cancel("t")).unwrap();
    assert_eq!(world.write(cancel("t")).unwrap_err().reason, Reason::NothingToCancel, "it was asked already");
    let own = wire::Order { order_id: "transfer/x".into(), ..order("o", Backorder, &[("A", 1)]) };
    assert_eq!(crate::validate::order(&own).unwrap_err().reason, Reason::InvalidId);
    audit(&world.state);
}
