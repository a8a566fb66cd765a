//! Which answer each command gives in which state, and which reject wins.

mod common;

use common::*;
use stockmesh_node_core::command::{Command, CoordinatorFact, ReceivedCondition, ReviewGrants, Work};
use stockmesh_node_core::views::TaskFilter;
use stockmesh_node_core::{Answer, BodyHash, GrantPolicy, PolicyScope, RequestStamp, SetPolicy};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AdjustReason, DeclineReason, Disposition, RightsReturned};
use stockmesh_types::{Epoch, Incarnation, MAX_QUANTITY, Reason};

const SELLABLE: ReceivedCondition = ReceivedCondition::Sellable;

/// Ten units of A on hand, of which a store keeps four; allocations 1 and 2 of three units each (orders o-1, o-2), two of
/// the first shipped; a return of two units, one inspected; documents r-1, s-1, c-1, ret-1 exist.
fn store() -> TestNode {
    let mut node = TestNode::new(GrantPolicy { floor: 3, walk_in_reserve: 1 });
    node.range("A");
    node.range("B");
    node.receive("r-1", "A", 12);
    node.open(1, "A", 3).unwrap();
    node.open(2, "A", 3).unwrap();
    node.ask(ship("s-1", &[(1, 2)])).unwrap();
    node.ask(sale("c-1", &[("A", 1)])).unwrap();
    node.ask(return_goods("ret-1", "A", 2)).unwrap();
    node.ask(inspect("ret-1", 1, Disposition::Resale)).unwrap();
    assert_eq!((node.cell("A").on_hand, node.cell("A").outstanding(), node.cell("A").retained()), (10, 6, 4));
    node
}

#[test]
fn which_reject_wins() {
    let cases: Vec<(&str, Command, Option<Reason>)> = vec![
        ("receipt", receipt("r-2", &[("A", 1, SELLABLE)]), None),
        ("receipt number taken", receipt("r-1", &[("A", 1, SELLABLE)]), Some(Reason::DocumentIdReused)),
        ("taken number before unknown item", receipt("r-1", &[("Z", 1, SELLABLE)]), Some(Reason::DocumentIdReused)),
        ("numbers of kinds are apart", receipt("s-1", &[("A", 1, SELLABLE)]), None),
        ("second line unknown", receipt("r-2", &[("A", 1, SELLABLE), ("Z", 1, SELLABLE)]), Some(Reason::UnknownItem)),
        ("beyond a cell", receipt("r-2", &[("A", MAX_QUANTITY, SELLABLE)]), Some(Reason::QuantityTooLarge)),
        ("sale of all that is retained", sale("c-2", &[("A", 4)]), None),
        ("sale of what is promised", sale("c-2", &[("A", 5)]), Some(Reason::InsufficientRetained)),
        ("two lines together", sale("c-2", &[("A", 3), ("A", 2)]), Some(Reason::InsufficientRetained)),
        ("nothing there", sale("c-2", &[("B", 1)]), Some(Reason::InsufficientRetained)),
        ("unknown before retained", sale("c-2", &[("Z", 1)]), Some(Reason::UnknownItem)),
        ("till document taken", sale("c-1", &[("A", 99)]), Some(Reason::DocumentIdReused)),
        ("pick", pick(2, 3), None),
        ("pick too much", pick(2, 4), Some(Reason::ExceedsAllocation)),
        ("pick what was shipped", pick(1, 2), Some(Reason::ExceedsAllocation)),
        ("pick unknown", pick(9, 1), Some(Reason::UnknownAllocation)),
        ("pack before pick", pack(2, 1), Some(Reason::NotPicked)),
        ("beyond before not picked", pack(2, 4), Some(Reason::ExceedsAllocation)),
        ("ship the rest", ship("s-2", &[(1, 1)]), None),
        ("ship too much", ship("s-2", &[(1, 2)]), Some(Reason::ExceedsAllocation)),
        ("ship without picking", ship("s-2", &[(2, 3)]), None),
        ("shipment number taken", ship("s-1", &[(9, 1)]), Some(Reason::DocumentIdReused)),
        ("two orders in a parcel", ship("s-2", &[(1, 1), (2, 1)]), Some(Reason::MixedOrders)),
        ("mixed before too much", ship("s-2", &[(1, 1), (2, 9)]), Some(Reason::MixedOrders)),
        ("too much comes first in order", ship("s-2", &[(1, 9), (2, 1)]), Some(Reason::ExceedsAllocation)),
        ("twice the same", ship("s-2", &[(1, 1), (1, 1)]), Some(Reason::DuplicateLine)),
        ("ship unknown", ship("s-2", &[(9, 1)]), Some(Reason::UnknownAllocation)),
        ("decline", decline(2, 3, DeclineReason::NoCapacity), None),
        ("decline too much", decline(1, 2, DeclineReason::NotFound), Some(Reason::ExceedsAllocation)),
        ("decline unknown", decline(9, 1, DeclineReason::NotFound), Some(Reason::UnknownAllocation)),
        ("lose more than retained", adjust("A", -10, AdjustReason::Loss), None),
        ("lose more than there is", adjust("A", -11, AdjustReason::Loss), Some(Reason::InsufficientOnHand)),
        ("sign before stock", adjust("A", 11, AdjustReason::Loss), Some(Reason::InvalidValue)),
        ("damage adds nothing", adjust("A", 1, AdjustReason::Damage), Some(Reason::InvalidValue)),
        ("found nothing", adjust("A", -1, AdjustReason::Found), Some(Reason::InvalidValue)),
        ("count both ways", adjust("A", 1, AdjustReason::Count), None),
        ("adjust unknown", adjust("Z", 1, AdjustReason::Found), Some(Reason::UnknownItem)),
        ("found too many", adjust("A", MAX_QUANTITY, AdjustReason::Found), Some(Reason::QuantityTooLarge)),
        ("return number taken", return_goods("ret-1", "Z", 1), Some(Reason::DocumentIdReused)),
        ("return unknown", return_goods("ret-2", "Z", 1), Some(Reason::UnknownItem)),
        ("inspect the rest", inspect("ret-1", 1, Disposition::WriteOff), None),
        ("inspect too much", inspect("ret-1", 2, Disposition::WriteOff), Some(Reason::ExceedsReturn)),
        ("too much to refurbish", inspect("ret-1", 2, Disposition::Refurbish), Some(Reason::ExceedsReturn)),
        ("set aside", inspect("ret-1", 1, Disposition::Refurbish), None),
        ("no such return", inspect("ret-9", 1, Disposition::Resale), Some(Reason::UnknownReturn)),
        ("a receipt is no return", inspect("r-1", 1, Disposition::Resale), Some(Reason::UnknownReturn)),
    ];
    for (case, command, expected) in cases {
        let mut node = store();
        assert_eq!(node.reason(command), expected, "{case}");
        assert_eq!(node.state.flaw(), None, "{case}");
        assert_eq!(node.reloaded(), node.state, "{case}");
    }
}

#[test]
fn rejects_name_the_field() {
    let mut node = store();
    let cases = [
        (receipt("r-2", &[("A", 1, SELLABLE), ("Z", 1, SELLABLE)]), "lines[1].stock_key.item"),
        (sale("c-2", &[("A", 3), ("A", 2)]), "lines[1].quantity"),
        (ship("s-2", &[(1, 9)]), "lines[0].quantity"),
        (ship("s-2", &[(9, 1)]), "lines[0].allocation"),
        (adjust("A", -11, AdjustReason::Loss), "delta"),
        (sale("c-1", &[("A", 1)]), "sale_id"),
    ];
    for (command, field) in cases {
        assert_eq!(node.ask(command).unwrap_err().field, field);
    }
}

#[test]
fn grants_follow_the_policy_and_are_cumulative() {
    let mut node = TestNode::new(GrantPolicy { floor: 3, walk_in_reserve: 1 });
    node.range("A");
    node.receive("r-1", "A", 4);
    assert_eq!(node.said_since(0), ["received"]);
    node.receive("r-2", "A", 5);
    assert_eq!(node.said_since(1), ["received", "granted 5"]);
    // A sale takes from what is kept; the next receipt fills that up before more is granted.
    node.ask(sale("c-1", &[("A", 4)])).unwrap();
    node.receive("r-3", "A", 3);
    node.receive("r-4", "A", 3);
    assert_eq!(node.said_since(3), ["sold", "received", "received", "granted 7"]);
    // Goods of other conditions are not granted.
    node.ask(receipt("r-5", &[("A", 7, ReceivedCondition::Damaged), ("A", 8, ReceivedCondition::Quarantined)]))
        .unwrap();
    assert_eq!(node.said_since(7), ["received"]);
    let cell = node.cell("A");
    assert_eq!((cell.on_hand, cell.damaged, cell.quarantined, cell.received_total), (11, 7, 8, 30));
}

#[test]
fn the_coordinators_policy_goes_before_the_configuration() {
    let mut node = TestNode::new(GrantPolicy { floor: 5, walk_in_reserve: 0 });
    for item in ["A", "B"] {
        node.range(item);
        node.receive(&format!("r-{item}"), item, 7);
    }
    let granted = |node: &TestNode| (node.cell("A").granted, node.cell("B").granted);
    assert_eq!(granted(&node), (2, 2));
    let set = |scope, floor, version| Work::SetPolicy(scope, SetPolicy { floor, walk_in_reserve: 1, version });
    // What a stock key may grant now, it grants at once; the other by a review.
    node.follow(set(PolicyScope::Key(key("A")), 2, 3)).unwrap();
    node.follow(set(PolicyScope::Segment(String::new()), 0, 4)).unwrap();
    assert_eq!(granted(&node), (4, 2));
    node.handle(None, Command::ReviewGrants(ReviewGrants { after: None })).unwrap();
    assert_eq!(granted(&node), (4, 6));
    // An older word that comes late is no news; a restart forgets nothing.
    node.follow(set(PolicyScope::Key(key("A")), 0, 2)).unwrap();
    node.state = node.reloaded();
    node.receive("r-3", "A", 1);
    assert_eq!(granted(&node), (5, 6), "8 on hand, 3 stay");
    // A higher floor takes nothing back by itself.
    node.follow(set(PolicyScope::Key(key("A")), 8, 9)).unwrap();
    assert_eq!(granted(&node), (5, 6));
}

#[test]
fn a_lower_floor_is_granted_at_review_a_higher_one_takes_nothing_back() {
    let mut node = TestNode::new(GrantPolicy { floor: 5, walk_in_reserve: 0 });
    for n in 0..300 {
        node.range(&format!("I{n:03}"));
        node.receive(&format!("r-{n}"), &format!("I{n:03}"), 7);
    }
    for (floor, granted) in [(9, 2), (1, 6)] {
        node.policy.floor = floor;
        node.state = node.reloaded();
        let mut after = None;
        let mut rounds = 0;
        loop {
            let review = Command::ReviewGrants(ReviewGrants { after });
            let Answer::GrantsReviewed(next) = node.handle(None, review).unwrap() else { panic!("another answer") };
            rounds += 1;
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(rounds, 2, "300 cells, 256 at once");
        assert!((0..300).all(|n| node.cell(&format!("I{n:03}")).granted == granted), "floor {floor}");
    }
}

#[test]
fn a_loss_beyond_retained_is_a_shortfall_reported_at_every_level() {
    let mut node = TestNode::warehouse();
    node.receive("r-1", "A", 10);
    node.open(1, "A", 4).unwrap();
    let start = node.entries.len();
    node.ask(adjust("A", -3, AdjustReason::Loss)).unwrap();
    assert_eq!(node.reason(sale("c-1", &[("A", 1)])), Some(Reason::InsufficientRetained));
    node.ask(adjust("A", -2, AdjustReason::Damage)).unwrap();
    node.follow(take_back("A", 2)).unwrap();
    node.follow(take_back("A", 2)).unwrap();
    node.follow(take_back("A", 1)).unwrap();
    node.receive("r-2", "A", 1);
    node.follow(take_back("A", 5)).unwrap();
    assert_eq!(
        node.said_since(start),
        [
            "adjusted -3",
            "shortfall 3 at returned 0",
            "adjusted -2",
            "shortfall 5 at returned 0",
            "shortfall 3 at returned 2",
            "received",
            "shortfall 2 at returned 2",
            "shortfall 0 at returned 5",
        ]
    );
    // One right more came back than was short: it stays with the node until the next delivery.
    assert_eq!((node.cell("A").outstanding(), node.cell("A").retained()), (5, 1));
    assert_eq!(node.reason(sale("c-2", &[("A", 1)])), None);
}

#[test]
fn a_short_pick_is_lost_and_a_damaged_one_is_kept_apart() {
    for (reason, lost, damaged, adjusted) in
        [(DeclineReason::NotFound, 2, 0, -2), (DeclineReason::Damaged, 2, 2, 0), (DeclineReason::NoCapacity, 0, 0, 0)]
    {
        let mut node = TestNode::warehouse();
        node.receive("r-1", "A", 5);
        node.open(1, "A", 4).unwrap();
        let start = node.entries.len();
        node.ask(decline(1, 2, reason)).unwrap();
        let cell = node.cell("A");
        assert_eq!((cell.on_hand, cell.damaged, cell.adjusted_total), (5 - lost, damaged, adjusted));
        let mut said = vec![format!("declined 2 lost {lost} now {lost}")];
        if lost > 0 {
            said.push("shortfall 2 at returned 0".into());
        }
        assert_eq!(node.said_since(start), said);
        assert_eq!(node.state.flaw(), None);
    }
}

#[test]
fn units_that_were_lost_before_are_not_lost_again() {
    let mut node = TestNode::warehouse();
    node.receive("r-1", "A", 3);
    node.open(1, "A", 3).unwrap();
    node.ask(adjust("A", -2, AdjustReason::Loss)).unwrap();
    let start = node.entries.len();
    node.ask(decline(1, 3, DeclineReason::NotFound)).unwrap();
    assert_eq!(node.said_since(start), ["declined 3 lost 1 now 1", "shortfall 3 at returned 0"]);
    assert_eq!(node.cell("A").on_hand, 0);
}

#[test]
fn cancellation_requests_are_cumulative_and_answered_with_totals() {
    let mut node = TestNode::warehouse();
    node.receive("r-1", "A", 10);
    node.open(1, "A", 6).unwrap();
    node.ask(ship("s-1", &[(1, 1)])).unwrap();
    node.ask(decline(1, 1, DeclineReason::NoCapacity)).unwrap();
    let start = node.entries.len();
    for requested in [2, 2, 1, 9] {
        node.follow(cancel(1, requested)).unwrap();
    }
    assert_eq!(
        node.said_since(start),
        [
            // The decline before fills the first unit that is asked.
            "cancel asked 2 cancelled 2 lost 0",
            "cancel asked 2 cancelled 2 lost 0",
            "cancel asked 1 cancelled 2 lost 0",
            // One is shipped: too late for it.
            "cancel asked 9 cancelled 5 lost 0",
        ]
    );
    assert_eq!(node.cell("A").open, 0);
    assert_eq!(node.follow(cancel(7, 1)).unwrap_err().reason, Reason::UnknownAllocation);
}

#[test]
fn an_allocation_is_accepted_once_and_only_within_the_rights() {
    let mut node = TestNode::warehouse();
    node.receive("r-1", "A", 5);
    node.open(1, "A", 3).unwrap();
    let before = (node.cell("A"), node.entries.len());
    node.open(1, "A", 3).unwrap();
    assert_eq!((node.cell("A"), node.entries.len()), before);
    assert_eq!(node.open(2, "A", 3).unwrap_err().reason, Reason::InsufficientRights);
    assert_eq!(node.follow(take_back("A", 3)).unwrap_err().reason, Reason::InsufficientRights);
    node.follow(take_back("A", 2)).unwrap();
    assert_eq!(node.open(2, "A", 1).unwrap_err().reason, Reason::InsufficientRights);
}

#[test]
fn counters_that_no_group_can_reach_are_refused_before_they_are_counted_with() {
    let returned = |returned_total| {
        let stock_key = Some((&key("A")).into());
        Work::from_fact(Some(&Fact::RightsReturned(RightsReturned { epoch: 1, stock_key, returned_total })))
    };
    for total in [0, 1, 1_000_000_000_000_000] {
        assert_eq!(returned(total), Ok(take_back("A", total)));
    }
    for total in [i64::MIN, -1, 1_000_000_000_000_001, i64::MAX] {
        let reject = returned(total).unwrap_err();
        assert_eq!((reject.reason, reject.field.as_str()), (Reason::InvalidValue, "returned_total"), "{total}");
    }
}

#[test]
fn epochs_and_incarnations_that_are_over_are_refused() {
    let mut node = TestNode::warehouse();
    node.receive("r-1", "A", 5);
    let at =
        |incarnation, work| Command::FollowCoordinator(CoordinatorFact { incarnation: Incarnation(incarnation), work });
    let Work::Open { id, order_id, line, stock_key, quantity, ship_to, handling, .. } = opened(1, "o-1", "A", 1) else {
        panic!("not work")
    };
    let other_epoch = Work::Open { id, epoch: Epoch(2), order_id, line, stock_key, quantity, ship_to, handling };
    assert_eq!(node.handle(None, at(1, other_epoch)).unwrap_err().reason, Reason::StaleEpoch);
    node.handle(None, at(3, opened(1, "o-1", "A", 1))).unwrap();
    assert_eq!(node.handle(None, at(2, opened(2, "o-2", "A", 1))).unwrap_err().reason, Reason::StaleIncarnation);
    assert_eq!(node.reloaded().meta().incarnation, Incarnation(3));
    // A counter of an epoch that is over has no effect.
    let old = Work::TakeBackRights { epoch: Epoch(0), stock_key: key("A"), returned_total: 4 };
    node.handle(None, at(3, old)).unwrap();
    assert_eq!(node.cell("A").returned, 0);
}

#[test]
fn a_repeat_is_answered_and_not_executed() {
    let mut node = TestNode::warehouse();
    let id = request_id(NOON, 77);
    let stamp = |body: u8| Some(RequestStamp { id, body: BodyHash([body; 16]) });
    node.handle(stamp(1), receipt("r-1", &[("A", 5, SELLABLE)])).unwrap();
    let before = node.state.clone();
    assert_eq!(node.handle(stamp(1), receipt("r-1", &[("A", 5, SELLABLE)])).unwrap(), Answer::Repeated(id));
    assert_eq!(node.state, before);
    let other = node.handle(stamp(2), receipt("r-2", &[("A", 5, SELLABLE)])).unwrap_err();
    assert_eq!(other.reason, Reason::RequestIdReused);
    node.now += 24 * 3_600_000 + 1;
    let late = node.handle(stamp(1), receipt("r-1", &[("A", 5, SELLABLE)])).unwrap_err();
    assert_eq!(late.reason, Reason::RequestExpired);
    // A request that was refused had no effect, and may come again with the same id.
    let again = Some(RequestStamp { id: request_id(node.now, 78), body: BodyHash([3; 16]) });
    assert_eq!(node.handle(again, sale("c-1", &[("B", 1)])).unwrap_err().reason, Reason::InsufficientRetained);
    node.receive("r-3", "B", 1);
    node.follow(take_back("B", 1)).unwrap();
    node.handle(again, sale("c-1", &[("B", 1)])).unwrap();
}

#[test]
fn the_answer_of_a_request_can_be_read_back_from_what_was_written() {
    let mut node = TestNode::warehouse();
    let id = request_id(NOON, 5);
    let stamp = RequestStamp { id, body: BodyHash([9; 16]) };
    let answer = node.handle(Some(stamp), receipt("r-1", &[("A", 5, SELLABLE)])).unwrap();
    let value = &node.stored[&stockmesh_node_core::Key::Request(id).encode()];
    let (body, bytes) = stockmesh_node_core::change::split_request(value).unwrap();
    assert_eq!((body, Answer::decode(bytes)), (stamp.body, Some(answer)));
}

#[test]
fn time_in_the_feed_never_runs_backwards() {
    let mut node = TestNode::warehouse();
    node.receive("r-1", "A", 1);
    node.now -= 60_000;
    node.receive("r-2", "A", 1);
    node.now += 120_000;
    node.receive("r-3", "A", 1);
    let times: Vec<i64> = node.entries.iter().map(|entry| entry.time_ms - NOON).collect();
    assert_eq!(times, [0, 0, 0, 0, 60_000, 60_000]);
}

#[test]
fn pages_of_tasks_and_stock() {
    let mut node = TestNode::warehouse();
    node.receive("r-1", "A", 9);
    node.receive("r-2", "B", 9);
    for n in 1..=6 {
        node.open(n, if n % 2 == 0 { "A" } else { "B" }, 1).unwrap();
    }
    node.follow(opened(7, "o-2", "A", 1)).unwrap();
    for n in [1, 2, 5] {
        node.ask(ship(&format!("s-{n}"), &[(n, 1)])).unwrap();
    }
    let pages = |node: &TestNode, filter: TaskFilter| {
        let (mut after, mut found) = (0, Vec::new());
        loop {
            let page = node.state.tasks(after, 2, &filter, &Kept(&node.stored));
            found.push(page.tasks.iter().map(|task| task.allocation.unwrap().log_index).collect::<Vec<_>>());
            match page.next_after {
                Some(next) => after = next,
                None => return found,
            }
        }
    };
    let of = |open_only, order: Option<&str>| TaskFilter { open_only, order_id: order.map(doc) };
    assert_eq!(pages(&node, of(false, None)), [vec![1, 2], vec![3, 4], vec![5, 6], vec![7]]);
    assert_eq!(pages(&node, of(true, None)), [vec![3, 4], vec![6, 7]]);
    assert_eq!(pages(&node, of(false, Some("o-2"))), [vec![2, 7]]);
    assert_eq!(pages(&node, of(true, Some("o-2"))), [vec![7]]);
    assert_eq!(pages(&node, of(true, Some("o-9"))), [Vec::<u64>::new()]);
    // A page token can be made up.
    for filter in [of(false, None), of(true, None), of(false, Some("o-2"))] {
        let page = node.state.tasks(u64::MAX, 2, &filter, &Kept(&node.stored));
        assert_eq!((page.tasks.len(), page.next_after), (0, None));
    }
    let page = node.state.stock(None, 1, None);
    assert_eq!((page.levels.len(), page.next_after.clone()), (1, Some(key("A"))));
    let rest = node.state.stock(page.next_after.as_ref(), 5, None);
    assert_eq!((rest.levels[0].on_hand, rest.next_after), (7, None));
    assert_eq!(node.state.stock(None, 5, Some(&key("B").item)).levels.len(), 1);
    assert_eq!(node.state.stock(None, 5, Some(&key("C").item)).levels.len(), 0);
    assert_eq!(node.state.open_tasks(), 4);
}
