//! Orders: promises, shortage policies, repeats, big orders, the queue.

use stockmesh_proto::common::v1::ShortagePolicy::{AllOrNothing, Backorder, Cancel};
use stockmesh_proto::common::v1::{CancelReason, Order};
use stockmesh_proto::coordinator::v1::OrderState;
use stockmesh_proto::feed::v1::AllocationDeclined;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_types::Reason;

use super::audit::audit;
use super::world::{START_MS, World, command, hash, order};
use crate::Answer;
use crate::decide::{self, OrderDecision, Overlay};

fn commit(world: &World, overlay: &Overlay, order: &Order) -> log::CommitOrder {
    match decide::order(&world.state, overlay, order, hash(order), 0, START_MS).unwrap() {
        OrderDecision::Commit(commit) => commit,
        OrderDecision::AlreadyPlaced => panic!("new"),
    }
}

#[test]
fn an_order_ships_from_the_nearest_node_that_has_it_all() {
    let mut world = World::with(2, 3);
    for (node, a, b) in [("n0", 5, 1), ("n1", 5, 5), ("n2", 5, 5)] {
        world.grant(node, "A", a);
        world.grant(node, "B", b);
    }
    let status = world.place(&order("o", Backorder, &[("A", 2), ("B", 3)])).unwrap();
    let nodes: Vec<&str> = status.lines.iter().map(|line| line.allocations[0].node.as_str()).collect();
    assert_eq!((status.state(), nodes.as_slice()), (OrderState::Promised, ["n1", "n1"].as_slice()));
    let sourcing = status.sourcing.unwrap();
    assert!(sourcing.proven_optimal);
    // 101 + 250 + one started kg 40 + 0.8 kg over 111 km at 60 a kg and 1,000 km (5.3) + 5 units at 5.
    assert_eq!((sourcing.chosen[0].shipment_minor, sourcing.chosen[0].handling_minor), (295, 126));
    assert_eq!((sourcing.total_minor, sourcing.chosen[0].distance_km, sourcing.candidates), (421, 111, 3));
    let opened = world.sent("node/n1").iter().filter(|fact| matches!(fact, Fact::AllocationOpened(_))).count();
    assert_eq!(opened, 2);
    audit(&world.state);
}

#[test]
fn an_order_without_a_placed_time_gets_the_leaders_and_repeats_under_any_clock() {
    let mut world = World::with(1, 1);
    world.grant("n0", "A", 9);
    let mut decide = |order: &Order, now_ms| {
        let decided = decide::order(&world.state, &Overlay::new(), order, hash(order), 0, now_ms)?;
        if let OrderDecision::Commit(commit) = &decided {
            world.run(Kind::CommitOrder(commit.clone()))?;
        }
        let placed_ms = world.order(&order.order_id).order.unwrap().placed_time_ms;
        Ok::<_, stockmesh_types::Reject>((decided == OrderDecision::AlreadyPlaced, placed_ms))
    };
    let at = |id, placed_time_ms| Order { placed_time_ms, ..order(id, Backorder, &[("A", 1)]) };
    assert_eq!(decide(&at("unsaid", 0), START_MS), Ok((false, START_MS)));
    // The repeat is the same message, whatever the clock of the leader that gets it says.
    assert_eq!(decide(&at("unsaid", 0), START_MS + 7), Ok((true, START_MS)));
    // To say the time that was set is to send another message.
    assert_eq!(decide(&at("unsaid", START_MS), START_MS).unwrap_err().reason, Reason::OrderIdReused);
    assert_eq!(decide(&at("past", 1), START_MS), Ok((false, 1)));
    let latest = START_MS + 300_000;
    assert_eq!(decide(&at("latest", latest), START_MS), Ok((false, latest)));
    // Placed under a clock that was ahead, repeated under one that is right.
    assert_eq!(decide(&at("latest", latest), START_MS - 7), Ok((true, latest)));
    for ahead in [latest + 1, i64::MAX] {
        let reject = decide(&at("ahead", ahead), START_MS).unwrap_err();
        assert_eq!((reject.reason, reject.field.as_str()), (Reason::InvalidDate, "order.placed_time_ms"));
    }
    audit(&world.state);
}

#[test]
fn what_is_short_waits_is_cancelled_or_refuses_the_order() {
    for (policy, state, parts) in
        [(Backorder, OrderState::PartiallyPromised, (0, 3)), (Cancel, OrderState::Promised, (3, 0))]
    {
        let mut world = World::with(1, 2);
        world.grant("n0", "A", 1);
        world.grant("n1", "A", 1);
        let status = world.place(&order("o", policy, &[("A", 5)])).unwrap();
        let line = &status.lines[0];
        assert_eq!((status.state(), (line.cancelled, line.backordered)), (state, parts));
        assert_eq!((line.allocations.len(), status.sourcing.unwrap().short_units), (2, 3));
        let cancelled = world.sent("finance/main").iter().any(|fact| match fact {
            Fact::OrderLineCancelled(fact) => fact.cancelled_total == 3 && fact.reason() == CancelReason::Shortage,
            _ => false,
        });
        assert_eq!(cancelled, policy == Cancel);
        audit(&world.state);
    }
    let mut world = World::with(1, 1);
    world.grant("n0", "A", 4);
    let reject = world.place(&order("o", AllOrNothing, &[("A", 5)])).unwrap_err();
    assert_eq!((reject.reason, reject.field.as_str()), (Reason::InsufficientRights, "order.shortage_policy"));
    assert!(world.place(&order("o", AllOrNothing, &[("A", 4)])).is_ok());
}

#[test]
fn a_repeat_gets_the_order_as_it_stands_and_another_body_is_refused() {
    let mut world = World::with(1, 1);
    let first = order("o", Backorder, &[("A", 5)]);
    let decided = commit(&world, &Overlay::new(), &first);
    world.place(&first).unwrap();
    world.grant("n0", "A", 5);
    world.settle();
    assert_eq!(world.place(&first).unwrap().state(), OrderState::Promised);
    let again = world.run(Kind::CommitOrder(decided)).unwrap();
    assert!(matches!(again, Answer::OrderPlaced { already_placed: true, .. }), "decided before it was applied");
    assert_eq!(world.state.counters().orders, 1);
    let other = order("o", Backorder, &[("A", 6)]);
    assert_eq!(world.place(&other).unwrap_err().reason, Reason::OrderIdReused);
    let mut decided = commit(&World::with(1, 1), &Overlay::new(), &other);
    decided.order_hash = vec![1; 32];
    assert_eq!(world.run(Kind::CommitOrder(decided)).unwrap_err().reason, Reason::OrderIdReused);
}

#[test]
fn two_decisions_on_the_same_state_do_not_promise_the_same_unit() {
    let mut world = World::with(1, 1);
    world.grant("n0", "A", 5);
    let (one, two) = (order("one", Backorder, &[("A", 3)]), order("two", Backorder, &[("A", 3)]));
    let mut overlay = Overlay::new();
    let first = commit(&world, &overlay, &one);
    // Without the overlay, the second decision would count on units that are gone when it is applied.
    let blind = commit(&world, &overlay, &two);
    overlay.add(1, &world.state, &Kind::CommitOrder(first.clone()));
    let seeing = commit(&world, &overlay, &two);
    assert_eq!((blind.promises[0].quantity, seeing.promises[0].quantity), (3, 2));
    world.run(Kind::CommitOrder(first)).unwrap();
    overlay.remove(1);
    assert_eq!(world.run(Kind::CommitOrder(blind)).unwrap_err().reason, Reason::RightsChanged);
    assert!(overlay.is_empty());
    assert_eq!(commit(&world, &overlay, &two).promises[0].quantity, 2);
    world.run(Kind::CommitOrder(seeing)).unwrap();
    audit(&world.state);
}

#[test]
fn lines_of_one_item_share_what_is_there() {
    let mut world = World::with(1, 2);
    world.grant("n0", "A", 3);
    world.grant("n1", "A", 2);
    let status = world.place(&order("o", Backorder, &[("A", 2), ("A", 4)])).unwrap();
    let waiting: Vec<i64> = status.lines.iter().map(|line| line.backordered).collect();
    assert_eq!(waiting, [0, 1]);
    audit(&world.state);
}

#[test]
fn the_queue_is_served_in_commit_order_and_not_overtaken() {
    let mut world = World::with(1, 1);
    for id in ["first", "second"] {
        world.place(&order(id, Backorder, &[("A", 2)])).unwrap();
    }
    world.grant("n0", "A", 3);
    let late = world.place(&order("late", Backorder, &[("A", 1)])).unwrap();
    assert_eq!(late.state(), OrderState::Backordered, "three are free, and four wait for them");
    world.settle();
    let waiting = ["first", "second", "late"].map(|id| world.order(id).lines[0].backordered);
    assert_eq!(waiting, [0, 1, 1]);
    world.grant("n0", "A", 5);
    world.settle();
    assert_eq!(world.state.counters().backordered_units, 0);
    audit(&world.state);
}

#[test]
fn a_node_that_declined_a_line_is_not_asked_again_for_it() {
    let mut world = World::with(1, 2);
    world.grant("n0", "A", 2);
    let status = world.place(&order("o", Backorder, &[("A", 2)])).unwrap();
    let allocation = status.lines[0].allocations[0].id;
    let declined = AllocationDeclined { allocation, cancelled_total: 2, ..Default::default() };
    world.fact("n0", Fact::AllocationDeclined(declined)).unwrap();
    assert!(!world.state.backlog_nonempty());
    // Nor by a leader that is wrong about it.
    let promise = log::Promise { line: 1, node_index: 0, quantity: 1 };
    let promises = vec![log::BackorderPromise { order_id: "o".into(), promise: Some(promise) }];
    let answer = world.run(Kind::AllocateBackorders(log::AllocateBackorders { promises })).unwrap();
    assert_eq!(answer, Answer::BackordersAllocated { promised: 0, left_out: 1 });
    world.grant("n1", "A", 2);
    world.settle();
    let nodes: Vec<String> = world.order("o").lines[0].allocations.iter().map(|a| a.node.clone()).collect();
    assert_eq!(nodes, ["n0", "n1"]);
    audit(&world.state);
}

#[test]
fn an_order_that_does_not_wait_loses_what_no_other_node_has() {
    let mut world = World::with(1, 2);
    world.grant("n0", "A", 4);
    let status = world.place(&order("o", Cancel, &[("A", 4)])).unwrap();
    world.grant("n1", "A", 1);
    let allocation = status.lines[0].allocations[0].id;
    let declined = AllocationDeclined { allocation, cancelled_total: 3, lost_total: 1, ..Default::default() };
    world.fact("n0", Fact::AllocationDeclined(declined)).unwrap();
    let line = world.order("o").lines.remove(0);
    assert_eq!((line.cancelled, line.backordered), (2, 1), "one unit is at the other node");
    world.settle();
    assert_eq!(world.order("o").state(), OrderState::Promised);
    audit(&world.state);
}

#[test]
fn an_order_beyond_256_cells_is_promised_in_steps() {
    let mut world = World::empty();
    world.initialize().unwrap();
    let names: Vec<String> = (0..600).map(|n| format!("SKU-{n}")).collect();
    let items = names.iter().map(|name| super::world::item(name, 100)).collect();
    world.write(Kind::CreateItems(log::CreateItems { items })).unwrap();
    world.write(Kind::RegisterNode(log::RegisterNode { node: Some(super::world::node(0)) })).unwrap();
    world.write(Kind::RegisterNode(log::RegisterNode { node: Some(super::world::node(1)) })).unwrap();
    for (n, name) in names.iter().enumerate() {
        world.grant(if n % 2 == 0 { "n0" } else { "n1" }, name, 1);
    }
    let lines: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let status = world.place(&order("big", Backorder, &lines)).unwrap();
    assert_eq!(status.state(), OrderState::PartiallyPromised);
    assert_eq!(status.sourcing.unwrap().short_units, 600 - 256);
    world.settle();
    assert_eq!(world.order("big").state(), OrderState::Promised);
    let reject = world.place(&order("strict", AllOrNothing, &lines)).unwrap_err();
    assert_eq!(reject.reason, Reason::InsufficientRights);
    audit(&world.state);
}

#[test]
fn allocation_ids_count_over_the_whole_log_entry() {
    let mut world = World::with(1, 2);
    world.grant("n0", "A", 2);
    world.grant("n1", "A", 2);
    let orders = ["a", "b"].map(|id| order(id, Backorder, &[("A", 1)]));
    let commands = orders.iter().map(|order| {
        let kind = Kind::CommitOrder(commit(&world, &Overlay::new(), order));
        command(kind, String::new())
    });
    let commands = commands.collect();
    assert!(world.apply(commands).iter().all(Result::is_ok));
    let ids = ["a", "b"].map(|id| world.order(id).lines[0].allocations[0].id.unwrap());
    assert_eq!((ids[0].log_index, ids[0].n, ids[1].n), (ids[1].log_index, 0, 1));
    audit(&world.state);
}

#[test]
fn backorder_promises_that_do_not_hold_are_left_out_and_the_others_commit() {
    let mut world = World::with(2, 2);
    world.place(&order("o", Backorder, &[("A", 4), ("B", 1)])).unwrap();
    world.grant("n0", "A", 3);
    world.grant("n1", "A", 9);
    let promise = |order_id: &str, line, node_index, quantity| log::BackorderPromise {
        order_id: order_id.into(),
        promise: Some(log::Promise { line, node_index, quantity }),
    };
    let promises = vec![
        promise("o", 1, 0, 4), // beyond the cell's rights
        promise("o", 1, 1, 5), // beyond what waits
        promise("o", 1, 0, 0),
        promise("o", 1, 0, -1),
        promise("o", 2, 0, 1), // nobody granted it
        promise("o", 3, 0, 1),
        promise("x", 1, 0, 1),
        promise("o", 1, 7, 1),
        log::BackorderPromise { order_id: "o".into(), promise: None },
        promise("o", 1, 0, 3),
        promise("o", 1, 1, 1),
        promise("o", 1, 1, 1), // no more waits
    ];
    let answer = world.run(Kind::AllocateBackorders(log::AllocateBackorders { promises })).unwrap();
    assert_eq!(answer, Answer::BackordersAllocated { promised: 4, left_out: 10 });
    assert_eq!((world.cell("A", "n0").free, world.cell("A", "n1").free), (0, 8));
    audit(&world.state);
}
