//! What the commands do, shown in scenes, and random days of a counter against a naive model of its shelf.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stockmesh_node_core::allocation::Handling;
use stockmesh_node_core::command::*;
use stockmesh_node_core::{Answer, GrantPolicy};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{DeclineReason, Disposition, DispositionOutcome, PickupOutcome};
use stockmesh_proto::node::v1::{RecordOutcome, SellOutcome, ShortPickReason};
use stockmesh_types::{Grade, Reason, StockKey};

use crate::common::*;
use crate::scenes::*;

fn facts_since(node: &TestNode, n: usize) -> Vec<Fact> {
    node.facts()[n..].iter().map(|fact| (*fact).clone()).collect()
}

fn outcome(answer: Answer) -> RecordOutcome {
    match answer {
        Answer::SaleRecorded(response) => RecordOutcome::try_from(response.outcome).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_recorded_sale_is_booked_whatever_the_stock_says_and_once() {
    let mut node = TestNode::warehouse();
    node.receive("r-1", "A", 5);
    node.open(1, "A", 4).unwrap();
    // Seven left over the counter: five were there, all promised away; two were never booked in.
    let n = node.entries.len();
    assert_eq!(outcome(node.ask(record("t-1", &[("A", 4), ("A", 3)])).unwrap()), RecordOutcome::Recorded);
    let cell = node.cell("A");
    assert_eq!((cell.on_hand, cell.sold_ahead, cell.sold_total, cell.shortfall()), (0, 2, 7, 5));
    let Fact::SaleRecorded(fact) = &facts_since(&node, n)[0] else { panic!("{:?}", facts_since(&node, n)) };
    assert_eq!((fact.beyond[0].beyond_retained, fact.beyond[0].beyond_on_hand), (7, 2));
    assert_eq!(node.said_since(n)[1..], ["shortfall 5 at returned 0"]);
    sound(&node, "sold ahead");
    // Sent again, also with another time, it has no second effect; with another content it is an exception, told once.
    let n = node.entries.len();
    assert_eq!(outcome(node.ask(record("t-1", &[("A", 4), ("A", 3)])).unwrap()), RecordOutcome::Repeated);
    assert_eq!(node.entries.len(), n);
    for _ in 0..2 {
        assert_eq!(outcome(node.ask(record("t-1", &[("A", 7)])).unwrap()), RecordOutcome::Conflict);
    }
    assert_eq!(facts_since(&node, n).len(), 1);
    assert!(matches!(&facts_since(&node, n)[0], Fact::ExceptionRaised(_)));
    // The goods are booked in at last: two of them left long ago.
    node.receive("r-2", "A", 6);
    let cell = node.cell("A");
    assert_eq!((cell.on_hand, cell.sold_ahead, cell.reported_shortfall), (4, 0, 1));
    sound(&node, "booked in");
}

#[test]
fn a_void_undoes_a_sale_and_a_return_bars_it() {
    let mut node = store();
    let before = node.cell("A");
    node.ask(record("t-1", &[("A", 20)])).unwrap();
    node.ask(void("t-1", &[("A", 20)])).unwrap();
    assert_eq!(node.cell("A"), before);
    assert_eq!(node.reason(void("t-1", &[("A", 20)])), Some(Reason::DocumentIdReused), "the void's own number");
    assert_eq!(node.reason(counter_return("cr-1", "t-1", 1, None)), Some(Reason::SaleIsVoided));
    node.ask(counter_return("cr-1", "c-1", 1, Some(Disposition::Resale))).unwrap();
    assert_eq!(node.reason(void("c-1", &[("A", 1)])), Some(Reason::SaleHasReturns));
    sound(&node, "voided and returned");
}

#[test]
fn a_counter_that_lacks_units_asks_for_free_ones() {
    let mut node = store();
    let (before, n) = (node.cell("A"), node.entries.len());
    let Answer::Sell(response) = node.ask(sell("c-2", &[("A", 3), ("A", 2)], true)).unwrap() else { panic!() };
    assert_eq!(response.outcome, i32::from(SellOutcome::RecallRequested));
    let Fact::RecallRequested(recall) = &facts_since(&node, n)[0] else { panic!() };
    assert_eq!((recall.quantity, node.cell("A")), (2, before));
    // The coordinator gives two back, and the same document is sold.
    node.follow(take_back("A", 2)).unwrap();
    let Answer::Sell(response) = node.ask(sell("c-2", &[("A", 3), ("A", 2)], true)).unwrap() else { panic!() };
    assert_eq!(response.outcome, i32::from(SellOutcome::Sold));
    sound(&node, "recalled");
}

#[test]
fn a_transfer_leaves_by_its_own_fact_and_arrives_in_parts() {
    let mut node = store();
    let handling = Handling { transfer_id: "tr-7".into(), destination_node: "store-2".into(), ..Handling::default() };
    open_with(&mut node, 6, "A", 2, handling);
    let n = node.entries.len();
    node.ask(ship("s-6", &[(6, 2)])).unwrap();
    let Fact::TransferShipped(shipped) = &facts_since(&node, n)[0] else { panic!() };
    assert_eq!((shipped.transfer_id.as_str(), shipped.destination_node.as_str()), ("tr-7", "store-2"));
    assert_eq!((shipped.lines[0].quantity, shipped.lines[0].shipped_total), (2, 2));
    let before = node.cell("A");
    node.ask(transfer("tr-1", "dc-2", 3, 0, 0)).unwrap();
    let n = node.entries.len();
    node.ask(transfer("tr-1", "dc-2", 2, 1, 4)).unwrap();
    let Fact::TransferReceived(received) = &facts_since(&node, n)[0] else { panic!() };
    let line = &received.lines[0];
    assert_eq!((line.received_total, line.damaged_total, line.short_total), (5, 1, 4));
    let exceptions = facts_since(&node, n).iter().filter(|fact| matches!(fact, Fact::ExceptionRaised(_))).count();
    assert_eq!(exceptions, 2, "damaged, and short");
    let cell = node.cell("A");
    assert_eq!((cell.on_hand - before.on_hand, cell.damaged - before.damaged), (5, 1));
    assert_eq!(node.reason(transfer("tr-1", "dc-3", 1, 0, 0)), Some(Reason::InvalidValue), "from another node");
    sound(&node, "transferred");
}

#[test]
fn a_substitute_leaves_of_its_own_stock_and_spends_the_rights_of_what_was_promised() {
    let mut node = store();
    let (a, b) = (node.cell("A"), node.cell("B"));
    node.ask(substitute(3, 2, "B")).unwrap();
    let (after_a, after_b) = (node.cell("A"), node.cell("B"));
    assert_eq!((after_b.on_hand, after_b.shipped_total, after_b.consumed), (b.on_hand - 2, 2, 0));
    assert_eq!((after_a.on_hand, after_a.shipped_total), (a.on_hand, a.shipped_total));
    assert_eq!((after_a.consumed, after_a.open), (a.consumed + 2, a.open - 2));
    sound(&node, "substituted");
}

#[test]
fn waves_are_cut_to_the_labour_and_end_when_they_are_picked() {
    let mut node = store();
    node.ask(capacity(0, 2_000, &[(13, 1_003)])).unwrap();
    let Answer::WaveCreated(first) = node.ask(wave(NOON + HOUR)).unwrap() else { panic!() };
    // Work is taken in the order in which it came: three of o-1 and two of o-3. 1,000 g of o-4 go beyond the hour; o-2 and o-5 are
    // picked.
    let shown = first.wave.unwrap();
    assert_eq!((shown.allocations, shown.quantity, first.left_for_labour), (2, 5, 1_000));
    assert_eq!(node.reason(wave(NOON + HOUR)), Some(Reason::NothingToWave));
    // The next hour has no capacity of its own: the day's binds.
    let Answer::WaveCreated(second) = node.ask(wave(NOON + 2 * HOUR)).unwrap() else { panic!() };
    assert_eq!((second.wave.unwrap().quantity, second.left_for_labour), (1_000, 0));
    let day = &node.state.capacity()[0];
    assert_eq!((day.day_planned_units, day.hours[0].planned_units), (1_005, 5));
    assert_eq!(node.state.waves(0, 10).found.len(), 2);
    // What was found and what was not, and what was picked: nothing is left of the first wave.
    node.ask(short(1, 1, ShortPickReason::SomeMissing)).unwrap();
    node.ask(pick(3, 2)).unwrap();
    let left: Vec<u64> = node.state.waves(0, 10).found.iter().map(|wave| wave.wave).collect();
    assert_eq!(left, [2]);
    sound(&node, "waved");
}

#[test]
fn a_pickup_is_fetched_with_its_code_or_goes_back_to_stock() {
    let mut node = store();
    for left in (0..5).rev() {
        node.now += 1;
        let answer = node.ask(hand_over("p-1", "000000", true)).unwrap();
        assert_eq!(answer, Answer::WrongPickupCode(left));
    }
    assert_eq!(node.reason(hand_over("p-1", "123456", true)), Some(Reason::PickupLocked));
    let (pickup_id, code, salt) = (doc("p-1"), "654321".to_owned(), b"more".to_vec());
    node.ask(Command::ReplacePickupCode(ReplacePickupCode { pickup_id, code, salt })).unwrap();
    let n = node.entries.len();
    node.ask(hand_over("p-1", "654321", true)).unwrap();
    let said = facts_since(&node, n);
    assert!(matches!(&said[0], Fact::ShipmentDispatched(shipment) if shipment.pickup.is_some()), "{said:?}");
    let closed = |fact: &Fact| match fact {
        Fact::PickupClosed(closed) => Some(closed.outcome),
        _ => None,
    };
    assert_eq!(said.iter().find_map(closed), Some(PickupOutcome::HandedOver.into()));
    // Another waits until its time is over.
    node.ask(stage("p-2", "o-2")).unwrap();
    node.now += 8 * 24 * HOUR;
    let n = node.entries.len();
    node.ask(Command::ExpirePickups(ExpirePickups)).unwrap();
    let said = facts_since(&node, n);
    let reason = said.iter().find_map(|fact| match fact {
        Fact::AllocationDeclined(declined) => Some((declined.reason, declined.cancelled_total, declined.lost_total)),
        _ => None,
    });
    assert_eq!(reason, Some((DeclineReason::PickupExpired.into(), 3, 0)));
    assert_eq!(said.iter().find_map(closed), Some(PickupOutcome::Expired.into()));
    sound(&node, "expired");
}

#[test]
fn kits_and_refurbished_goods_change_their_stock_key_and_nothing_is_lost() {
    let mut node = store();
    let (a, b) = (node.cell("A"), node.cell("B"));
    node.ask(kits("k-1", key("KIT"), 2, &[])).unwrap();
    assert_eq!(
        (node.cell("KIT").on_hand, node.cell("A").on_hand, node.cell("B").on_hand),
        (2, a.on_hand - 2, b.on_hand - 4)
    );
    node.ask(unkit("k-2", 2)).unwrap();
    assert_eq!((node.cell("A").on_hand, node.cell("B").on_hand, node.cell("KIT").on_hand), (a.on_hand, b.on_hand, 0));
    node.ask(finish("f-1", Disposition::Refurbish, 1, DispositionOutcome::Refurbished)).unwrap();
    let refurbished = StockKey { grade: Grade::Refurbished, ..key("A") };
    assert_eq!(node.state.cell(&refurbished).unwrap().on_hand, 1);
    assert_eq!(node.cell("A").in_disposition, 0);
    sound(&node, "converted");
}

#[derive(Clone, Debug)]
enum Step {
    Receive(i64),
    Transfer(i64, i64),
    Sell(i64),
    Record(i64),
    Void(usize),
    Lose(i64),
    Open(i64),
    Ship(usize, i64),
    Short(usize, i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..9_i64).prop_map(Step::Receive),
        (0..5_i64, 0..3_i64).prop_map(|(quantity, damaged)| Step::Transfer(quantity, damaged)),
        (1..5_i64).prop_map(Step::Sell),
        (1..9_i64).prop_map(Step::Record),
        (0..9_usize).prop_map(Step::Void),
        (1..4_i64).prop_map(Step::Lose),
        (1..4_i64).prop_map(Step::Open),
        (0..9_usize, 1..4_i64).prop_map(|(which, units)| Step::Ship(which, units)),
        (0..9_usize, 0..3_i64).prop_map(|(which, found)| Step::Short(which, found)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// The shelf of the model goes below zero when more was sold than was booked in; the node's never does, and owes the rest.
    #[test]
    fn a_counters_day_ends_with_the_stock_that_a_naive_shelf_has(steps in prop::collection::vec(step(), 1..60)) {
        let mut node = TestNode::new(GrantPolicy { floor: 2, walk_in_reserve: 1 });
        node.range("A");
        let (mut shelf, mut damaged, mut sold) = (0_i64, 0_i64, BTreeMap::new());
        let mut jobs: Vec<(u64, i64, i64)> = Vec::new();
        for (n, step) in steps.iter().enumerate() {
            let id = format!("x-{n}");
            match step {
                Step::Receive(units) => {
                    node.receive(&id, "A", *units);
                    shelf += units;
                }
                Step::Transfer(quantity, broken) if quantity + broken > 0 => {
                    node.ask(transfer(&id, "dc-2", *quantity, *broken, 0)).unwrap();
                    shelf += quantity;
                    damaged += broken;
                }
                Step::Transfer(..) => {}
                Step::Sell(units) => {
                    let retained = node.cell("A").retained().min(shelf);
                    let done = node.ask(sell(&id, &[("A", *units)], false)).is_ok();
                    prop_assert_eq!(done, retained >= *units);
                    if done {
                        shelf -= units;
                        sold.insert(id, *units);
                    }
                }
                Step::Record(units) => {
                    node.ask(record(&id, &[("A", *units)])).unwrap();
                    node.ask(record(&id, &[("A", *units)])).unwrap();
                    shelf -= units;
                    sold.insert(id, *units);
                }
                Step::Void(which) => {
                    let Some((id, units)) = sold.iter().nth(*which).map(|(id, units)| (id.clone(), *units)) else { continue };
                    node.ask(void(&id, &[("A", units)])).unwrap();
                    shelf += units;
                    sold.remove(&id);
                }
                Step::Lose(units) => {
                    let done = node.ask(adjust("A", -units, stockmesh_proto::feed::v1::AdjustReason::Loss)).is_ok();
                    prop_assert_eq!(done, shelf >= *units);
                    shelf -= if done { *units } else { 0 };
                }
                Step::Open(units) => {
                    let cell = node.cell("A");
                    if cell.outstanding() - cell.open >= *units {
                        node.open(n as u64 + 1, "A", *units).unwrap();
                        jobs.push((n as u64 + 1, *units, 0));
                    }
                }
                Step::Ship(which, units) => {
                    let Some((job, left, picked)) = jobs.get_mut(*which) else { continue };
                    let done = node.ask(ship(&id, &[(*job, *units)])).is_ok();
                    prop_assert_eq!(done, *left >= *units && shelf >= *units);
                    if done {
                        *left -= units;
                        *picked = (*picked - units).max(0);
                        shelf -= units;
                    }
                }
                Step::Short(which, found) => {
                    let Some((job, left, picked)) = jobs.get_mut(*which) else { continue };
                    let to_pick = *left - *picked;
                    let reason =
                        if *found == 0 { ShortPickReason::NothingThere } else { ShortPickReason::SomeMissing };
                    let done = node.ask(short(*job, *found, reason)).is_ok();
                    prop_assert_eq!(done, to_pick > *found);
                    if done {
                        *picked += found;
                        *left -= to_pick - found;
                        shelf -= (to_pick - found).min(shelf.max(0));
                    }
                }
            }
            let cell = node.cell("A");
            prop_assert_eq!(cell.on_hand - cell.sold_ahead, shelf, "{:?}", step);
            prop_assert!(cell.on_hand == 0 || cell.sold_ahead == 0);
            prop_assert_eq!(cell.damaged, damaged);
            prop_assert_eq!(cell.sold_total, sold.values().sum::<i64>());
            prop_assert_eq!(cell.open, jobs.iter().map(|(_, left, _)| left).sum::<i64>());
            prop_assert_eq!(node.state.flaw(), None);
        }
        prop_assert_eq!(node.reloaded(), node.state);
    }
}
