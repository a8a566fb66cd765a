//! Transitions 7 and 9, step by step: losses, broken promises, cures.

use stockmesh_proto::common::v1::{AllocationId, CancelReason, ShortagePolicy};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AllocationDeclined, CancellationAnswered, ShortfallReported};
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;

use super::audit::audit;
use super::world::{World, key, order};
use crate::Answer;

/// One node with rights for ten units of A, `orders` orders of `units` each.
fn world(orders: usize, units: i64) -> World {
    let mut world = World::with(1, 1);
    world.grant("n0", "A", 10);
    for n in 0..orders {
        world.place(&order(&format!("o{n}"), ShortagePolicy::Backorder, &[("A", units)])).unwrap();
    }
    world
}

fn shortfall(level: i64, returned_total: i64) -> Fact {
    Fact::ShortfallReported(ShortfallReported { stock_key: Some(key("A")), level, returned_total })
}

fn answered(allocation: AllocationId, requested_total: i64, cancelled_total: i64) -> Fact {
    let allocation = Some(allocation);
    Fact::CancellationAnswered(CancellationAnswered { allocation, requested_total, cancelled_total, lost_total: 0 })
}

fn declined(allocation: AllocationId, cancelled_total: i64, lost_total: i64) -> Fact {
    let allocation = Some(allocation);
    Fact::AllocationDeclined(AllocationDeclined { allocation, cancelled_total, lost_total, ..Default::default() })
}

fn allocation(world: &World, order: &str) -> AllocationId {
    world.order(order).lines[0].allocations[0].id.unwrap()
}

/// (returned, open, free) of the cell.
fn rights(world: &World) -> (i64, i64, i64) {
    audit(&world.state);
    let cell = world.cell("A", "n0");
    (cell.returned, cell.open, cell.free)
}

/// The requests that went to the node: order of asking, total, reason.
fn requests(world: &World) -> Vec<(u64, i64, CancelReason)> {
    let facts = world.sent("node/n0").into_iter();
    facts
        .filter_map(|fact| match fact {
            Fact::CancellationRequested(request) => {
                Some((request.allocation.unwrap().log_index, request.requested_total, request.reason()))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_shortfall_takes_what_is_free_then_breaks_the_latest_promises() {
    let mut world = world(3, 3);
    let last = allocation(&world, "o2");
    assert_eq!(rights(&world), (0, 9, 1));
    world.fact("n0", shortfall(5, 0)).unwrap();
    assert_eq!(rights(&world), (1, 9, 0), "one was free; four are asked for, and still open");
    let middle = allocation(&world, "o1");
    let asked = [(last.log_index, 3, CancelReason::PromiseBroken), (middle.log_index, 1, CancelReason::PromiseBroken)];
    assert_eq!(requests(&world), asked);
    assert_eq!(world.order("o2").lines[0].backordered, 0, "nothing is sourced anew before the node's answer");

    world.fact("n0", answered(last, 3, 3)).unwrap();
    assert_eq!(rights(&world), (4, 6, 0), "cancelled units of a broken promise are returned");
    assert_eq!(world.order("o2").lines[0].backordered, 3);
    world.fact("n0", answered(middle, 1, 0)).unwrap();
    assert_eq!(rights(&world), (4, 6, 0));
    assert_eq!(
        requests(&world).last(),
        Some(&(middle.log_index, 1, CancelReason::PromiseBroken)),
        "too late for one of it: the next is asked for, here another unit of the same"
    );
}

#[test]
fn a_grant_below_the_aim_goes_straight_back() {
    let mut world = world(1, 10);
    // Short of more than was granted here: further grants are on their way.
    world.fact("n0", shortfall(12, 0)).unwrap();
    assert_eq!(rights(&world), (0, 10, 0), "all ten are asked for, two more are owed");
    world.grant("n0", "A", 11);
    assert_eq!(rights(&world), (1, 10, 0));
    world.grant("n0", "A", 15);
    assert_eq!(rights(&world), (2, 10, 3));
}

#[test]
fn a_cure_withdraws_what_was_not_asked_and_no_more() {
    let mut world = world(1, 10);
    world.fact("n0", shortfall(3, 0)).unwrap();
    world.fact("n0", shortfall(0, 0)).unwrap();
    let id = allocation(&world, "o0");
    world.fact("n0", answered(id, 3, 3)).unwrap();
    assert_eq!(rights(&world), (3, 7, 0), "units of a broken promise are returned, cured or not");
    world.grant("n0", "A", 12);
    assert_eq!(rights(&world), (3, 7, 2), "and nothing more is owed");
}

#[test]
fn lost_units_are_returned_in_the_same_entry_and_others_are_free_for_other_lines() {
    for (lost, expected) in [(0, (0, 0, 10)), (3, (3, 0, 7)), (10, (10, 0, 0))] {
        let mut world = world(1, 10);
        let id = allocation(&world, "o0");
        world.fact("n0", declined(id, 10, lost)).unwrap();
        assert_eq!(rights(&world), expected);
        assert_eq!(world.order("o0").lines[0].backordered, 10);
        assert!(!world.state.backlog_nonempty(), "the only node declined: it is not asked again for this line");
        let other = world.place(&order("other", ShortagePolicy::AllOrNothing, &[("A", 1)]));
        assert!(other.is_err(), "a new order does not overtake the queue");
    }
}

#[test]
fn a_loss_comes_on_top_of_a_recall_and_of_a_shortfall() {
    let mut world = world(1, 6);
    let recall = log::RecallRights { node: "n0".into(), stock_key: Some(key("A")), quantity: 4 };
    world.write(Kind::RecallRights(recall)).unwrap();
    let id = allocation(&world, "o0");
    world.fact("n0", declined(id, 2, 2)).unwrap();
    assert_eq!(rights(&world), (6, 4, 0), "rights returned before do not pay for a loss");
    world.fact("n0", shortfall(1, 4)).unwrap();
    assert_eq!(rights(&world), (6, 4, 0), "the loss covered it: five are owed, six are back");

    let mut world = self::world(1, 10);
    let id = allocation(&world, "o0");
    world.fact("n0", shortfall(2, 0)).unwrap();
    world.fact("n0", declined(id, 1, 1)).unwrap();
    assert_eq!(rights(&world), (1, 9, 0));
    let totals: Vec<i64> = requests(&world).iter().map(|(_, total, _)| *total).collect();
    assert_eq!(totals, [2, 3], "what was lost covers its own loss, and not the shortfall: one more is asked for");
}

#[test]
fn a_shortfall_over_very_many_promises_is_worked_off_in_steps() {
    let mut world = World::with(1, 1);
    world.grant("n0", "A", 400);
    for n in 0..400 {
        world.place(&order(&format!("o{n}"), ShortagePolicy::Backorder, &[("A", 1)])).unwrap();
    }
    world.fact("n0", shortfall(400, 0)).unwrap();
    audit(&world.state);
    assert_eq!(requests(&world).len(), 256, "one entry asks for so many at most");
    assert!(world.state.backlog_nonempty());
    let answer = world.run(Kind::WorkOffShortfalls(log::WorkOffShortfalls { limit: 100 })).unwrap();
    assert_eq!(answer, Answer::ShortfallsWorkedOff { asked: 100 });
    world.settle();
    assert_eq!(requests(&world).len(), 400);
    assert!(!world.state.backlog_nonempty());
    // A cure in the middle would have withdrawn the rest.
    let mut world = self::world(0, 1);
    for n in 0..10 {
        world.place(&order(&format!("p{n}"), ShortagePolicy::Backorder, &[("A", 1)])).unwrap();
    }
    world.fact("n0", shortfall(10, 0)).unwrap();
    assert_eq!(requests(&world).len(), 10);
}
