//! Random histories of one node against a naive model of its shelf and a small, correct coordinator, over feeds that lag.
//!
//! Checked after every step: the node accepts and refuses exactly what the model does, and its stock is the model's; I2, I4, I5
//! and I6 (ARCHITECTURE.md); work of a correct coordinator is never refused; and a node that is killed and rebuilt from
//! the keys that it wrote has the same state. At the end everything is delivered, and both sides agree.

#[path = "../common/mod.rs"]
mod common;
mod coordinator;

use std::collections::BTreeMap;

use common::*;
use coordinator::Coordinator;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use stockmesh_node_core::GrantPolicy;
use stockmesh_node_core::command::{ReceivedCondition, Work};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AdjustReason, DeclineReason, Disposition};
use stockmesh_types::AllocationId;

const ITEMS: [&str; 2] = ["A", "B"];

#[derive(Clone, Debug)]
enum Step {
    Receive(usize, i64, ReceivedCondition),
    Sell(usize, i64),
    Pick(usize, i64),
    Pack(usize, i64),
    Ship(usize, i64),
    Decline(usize, i64, DeclineReason),
    Adjust(usize, i64, AdjustReason),
    ReturnGoods(usize, i64),
    Inspect(usize, i64, Disposition),
    Promise(usize, i64),
    RequestCancel(usize, i64),
    GiveBack(usize, i64),
    ToCoordinator(usize),
    ToNode(usize),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let item = 0..ITEMS.len();
    let units = 1..5_i64;
    let work = 0..6_usize;
    let condition = prop_oneof![
        8 => Just(ReceivedCondition::Sellable),
        1 => Just(ReceivedCondition::Damaged),
        1 => Just(ReceivedCondition::Quarantined),
    ];
    let decline =
        prop::sample::select(vec![DeclineReason::NotFound, DeclineReason::Damaged, DeclineReason::NoCapacity]);
    let disposition = prop::sample::select(vec![Disposition::Resale, Disposition::WriteOff, Disposition::Liquidate]);
    let adjust = prop_oneof![
        (1..4_i64).prop_map(|n| (n, AdjustReason::Found)),
        (1..4_i64).prop_map(|n| (-n, AdjustReason::Loss)),
        (1..4_i64).prop_map(|n| (-n, AdjustReason::Damage)),
        (1..4_i64).prop_map(|n| (-n, AdjustReason::Count)),
    ];
    prop_oneof![
        4 => (item.clone(), 1..9_i64, condition).prop_map(|(i, q, c)| Step::Receive(i, q, c)),
        2 => (item.clone(), units.clone()).prop_map(|(i, q)| Step::Sell(i, q)),
        1 => (work.clone(), units.clone()).prop_map(|(w, q)| Step::Pick(w, q)),
        1 => (work.clone(), units.clone()).prop_map(|(w, q)| Step::Pack(w, q)),
        4 => (work.clone(), units.clone()).prop_map(|(w, q)| Step::Ship(w, q)),
        2 => (work.clone(), units.clone(), decline).prop_map(|(w, q, r)| Step::Decline(w, q, r)),
        2 => (item.clone(), adjust).prop_map(|(i, (d, r))| Step::Adjust(i, d, r)),
        1 => (item.clone(), units.clone()).prop_map(|(i, q)| Step::ReturnGoods(i, q)),
        1 => (0..4_usize, units.clone(), disposition).prop_map(|(n, q, d)| Step::Inspect(n, q, d)),
        5 => (item.clone(), units.clone()).prop_map(|(i, q)| Step::Promise(i, q)),
        2 => (work, units.clone()).prop_map(|(w, q)| Step::RequestCancel(w, q)),
        1 => (item, units).prop_map(|(i, q)| Step::GiveBack(i, q)),
        6 => (1..6_usize).prop_map(Step::ToCoordinator),
        6 => (1..6_usize).prop_map(Step::ToNode),
        2 => Just(Step::Crash),
    ]
}

/// What a person with a notebook would write down of one item.
#[derive(Clone, Default, Debug, PartialEq)]
struct Shelf {
    sellable: i64,
    quarantined: i64,
    damaged: i64,
    pending: i64,
    /// Units that others may promise.
    promised: i64,
}

#[derive(Clone, Debug)]
struct Job {
    item: usize,
    quantity: i64,
    picked: i64,
    packed: i64,
    shipped: i64,
    cancelled: i64,
}

impl Job {
    fn left(&self) -> i64 {
        self.quantity - self.shipped - self.cancelled
    }
}

/// The model of the node.
#[derive(Default)]
struct Model {
    shelves: [Shelf; 2],
    jobs: BTreeMap<u64, Job>,
    returns: Vec<(usize, i64)>,
}

struct World {
    node: TestNode,
    model: Model,
    coordinator: Coordinator,
    documents: u32,
}

impl World {
    fn new(policy: GrantPolicy) -> Self {
        let mut node = TestNode::new(policy);
        ITEMS.iter().for_each(|item| node.range(item));
        Self { node, model: Model::default(), coordinator: Coordinator::default(), documents: 0 }
    }

    fn document(&mut self) -> String {
        self.documents += 1;
        format!("d-{}", self.documents)
    }

    fn nth_job(&self, n: usize) -> Option<u64> {
        let count = self.model.jobs.len();
        (count > 0).then(|| *self.model.jobs.keys().nth_back(n % count).expect("within the count"))
    }

    fn grant(&mut self, item: usize) {
        let shelf = &mut self.model.shelves[item];
        shelf.promised = shelf.promised.max(self.node.policy.target(shelf.sellable));
    }

    /// Sends a command; the node's yes or no must be the model's.
    fn ask(&mut self, command: stockmesh_node_core::Command, expected: bool) -> bool {
        let got = self.node.ask(command.clone());
        assert_eq!(got.is_ok(), expected, "{command:?}: {got:?}");
        expected
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Receive(item, units, condition) => {
                let id = self.document();
                self.ask(receipt(&id, &[(ITEMS[item], units, condition)]), true);
                let shelf = &mut self.model.shelves[item];
                match condition {
                    ReceivedCondition::Sellable => {
                        shelf.sellable += units;
                        self.grant(item);
                    }
                    ReceivedCondition::Damaged => shelf.damaged += units,
                    ReceivedCondition::Quarantined => shelf.quarantined += units,
                }
            }
            Step::Sell(item, units) => {
                let id = self.document();
                let shelf = self.model.shelves[item].clone();
                if self.ask(sale(&id, &[(ITEMS[item], units)]), shelf.sellable - shelf.promised >= units) {
                    self.model.shelves[item].sellable -= units;
                }
            }
            Step::Pick(n, units) => self.on_job(n, |world, id, job| {
                if world.ask(pick(id, units), job.picked + units <= job.quantity - job.cancelled) {
                    job.picked += units;
                }
            }),
            Step::Pack(n, units) => self.on_job(n, |world, id, job| {
                let packed = job.packed + units;
                if world.ask(pack(id, units), packed <= job.picked && packed <= job.quantity - job.cancelled) {
                    job.packed = packed;
                }
            }),
            Step::Ship(n, units) => self.on_job(n, |world, id, job| {
                let number = world.document();
                let there = world.model.shelves[job.item].sellable >= units;
                if world.ask(ship(&number, &[(id, units)]), units <= job.left() && there) {
                    job.shipped += units;
                    job.packed = job.packed.max(job.shipped);
                    job.picked = job.picked.max(job.packed);
                    let shelf = &mut world.model.shelves[job.item];
                    shelf.sellable -= units;
                    shelf.promised -= units;
                }
            }),
            Step::Decline(n, units, reason) => self.on_job(n, |world, id, job| {
                if world.ask(decline(id, units, reason), units <= job.left()) {
                    job.cancelled += units;
                    let shelf = &mut world.model.shelves[job.item];
                    let gone = if reason == DeclineReason::NoCapacity { 0 } else { units.min(shelf.sellable) };
                    shelf.sellable -= gone;
                    if reason == DeclineReason::Damaged {
                        shelf.damaged += gone;
                    }
                }
            }),
            Step::Adjust(item, delta, reason) => {
                let there = self.model.shelves[item].sellable;
                if self.ask(adjust(ITEMS[item], delta, reason), there + delta >= 0) {
                    self.model.shelves[item].sellable += delta;
                    if reason == AdjustReason::Damage {
                        self.model.shelves[item].damaged -= delta;
                    }
                    if delta > 0 {
                        self.grant(item);
                    }
                }
            }
            Step::ReturnGoods(item, units) => {
                let id = format!("ret-{}", self.model.returns.len());
                self.ask(return_goods(&id, ITEMS[item], units), true);
                self.model.returns.push((item, units));
                self.model.shelves[item].pending += units;
            }
            Step::Inspect(n, units, disposition) => {
                let Some((item, left)) = self.model.returns.get(n).copied() else { return };
                if self.ask(inspect(&format!("ret-{n}"), units, disposition), units <= left) {
                    self.model.returns[n].1 -= units;
                    self.model.shelves[item].pending -= units;
                    if disposition == Disposition::Resale {
                        self.model.shelves[item].sellable += units;
                        self.grant(item);
                    }
                }
            }
            Step::Promise(item, units) => self.coordinator.promise(item, units),
            Step::RequestCancel(n, units) => self.coordinator.request_cancel(n as u64 + 1, units),
            Step::GiveBack(item, units) => self.coordinator.give_back(item, units),
            Step::ToCoordinator(count) => self.deliver_to_coordinator(count),
            Step::ToNode(count) => self.deliver_to_node(count),
            Step::Crash => {
                let reloaded = self.node.reloaded();
                assert_eq!(reloaded, self.node.state, "what was written is not the state");
                self.node.state = reloaded;
            }
        }
    }

    fn on_job(&mut self, n: usize, work: impl FnOnce(&mut Self, u64, &mut Job)) {
        let Some(id) = self.nth_job(n) else { return };
        let mut job = self.model.jobs[&id].clone();
        work(self, id, &mut job);
        self.model.jobs.insert(id, job);
    }

    fn deliver_to_coordinator(&mut self, count: usize) {
        for _ in 0..count {
            let Some(entry) = self.node.entries.get(self.coordinator.heard) else { return };
            let fact = entry.fact.clone().expect("every entry says something");
            self.coordinator.heard += 1;
            self.coordinator.hear(&fact);
        }
    }

    fn deliver_to_node(&mut self, count: usize) {
        for _ in 0..count {
            let Some(work) = self.coordinator.outbox.pop_front() else { return };
            self.node.follow(work.clone()).unwrap_or_else(|reject| panic!("{work:?} was refused: {reject}"));
            match work {
                Work::Open { id: AllocationId { log_index, .. }, stock_key, quantity, .. } => {
                    let item = ITEMS.iter().position(|item| *item == stock_key.item.as_str()).unwrap();
                    let job = Job { item, quantity, picked: 0, packed: 0, shipped: 0, cancelled: 0 };
                    self.model.jobs.insert(log_index, job);
                }
                Work::Cancel { id: AllocationId { log_index, .. }, requested_total } => {
                    let job = self.model.jobs.get_mut(&log_index).unwrap();
                    job.cancelled = job.cancelled.max(requested_total.min(job.quantity - job.shipped));
                }
                Work::TakeBackRights { stock_key, returned_total, .. } => {
                    let item = ITEMS.iter().position(|item| *item == stock_key.item.as_str()).unwrap();
                    let cell = self.node.cell(ITEMS[item]);
                    assert!(cell.returned >= returned_total);
                    self.model.shelves[item].promised = cell.granted - cell.returned - cell.consumed;
                }
                Work::RangeItem { .. }
                | Work::Announce(_)
                | Work::CloseInbound(_)
                | Work::ClaimInbound(_)
                | Work::SetPolicy(..)
                | Work::DecideRefund(_) => {}
            }
        }
    }

    fn check(&self) {
        // I2, I6 and the allocations' part of I5 are what `flaw` says, in words; here they are held against the model as well.
        assert_eq!(self.node.state.flaw(), None);
        for (item, name) in ITEMS.iter().enumerate() {
            let cell = self.node.cell(name);
            let Shelf { sellable, quarantined, damaged, pending, promised } = self.model.shelves[item].clone();
            assert_eq!(
                (cell.on_hand, cell.quarantined, cell.damaged, cell.return_pending, cell.outstanding()),
                (sellable, quarantined, damaged, pending, promised),
                "{name}"
            );
            let reported = self.node.facts().iter().rev().find_map(|fact| match fact {
                Fact::ShortfallReported(f) if f.stock_key.as_ref().unwrap().item == *name => Some(f.level),
                _ => None,
            });
            assert_eq!(reported.unwrap_or(0), (promised - sellable).max(0), "I2: shortfall of {name}");
            let rights = &self.coordinator.rights[item];
            assert!(self.coordinator.free(item) >= 0, "I3");
            assert!(rights.granted <= cell.granted, "I4: granted");
            assert!(rights.returned >= cell.returned, "I4: returned");
            assert!(rights.shipped <= cell.consumed, "I4: shipped");
        }
        for (n, job) in &self.model.jobs {
            let known = self.node.known(*n).expect("accepted");
            assert_eq!((known.shipped, known.cancelled), (job.shipped, job.cancelled), "{n}");
            assert!(known.shipped + known.cancelled <= known.quantity, "I5");
            let at_coordinator = &self.coordinator.allocations[n];
            assert!(at_coordinator.cancelled <= known.cancelled && at_coordinator.shipped <= known.shipped, "I4: {n}");
        }
    }

    /// Delivers everything both ways; then both sides agree, and no shortfall is left that could be worked off.
    fn settle(&mut self) {
        while self.coordinator.heard < self.node.entries.len() || !self.coordinator.outbox.is_empty() {
            self.deliver_to_coordinator(usize::MAX);
            self.deliver_to_node(usize::MAX);
            self.check();
        }
        for (item, name) in ITEMS.iter().enumerate() {
            let (cell, rights) = (self.node.cell(name), &self.coordinator.rights[item]);
            assert_eq!(
                (rights.granted, rights.returned, rights.shipped),
                (cell.granted, cell.returned, cell.consumed),
                "{name}"
            );
            assert_eq!(cell.outstanding(), self.coordinator.free(item) + cell.open, "{name}");
            assert_eq!(cell.shortfall(), 0, "a shortfall of {name} was not worked off");
        }
    }
}

fn config() -> ProptestConfig {
    let failures = FileFailurePersistence::Direct("tests/random_histories/failures");
    ProptestConfig {
        cases: ProptestConfig::default().cases.max(400),
        failure_persistence: Some(Box::new(failures)),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_node_does_what_its_model_does(
        floor in 0..3_i64,
        walk_in_reserve in 0..2_i64,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(GrantPolicy { floor, walk_in_reserve });
        for step in &steps {
            world.take(step);
            world.check();
        }
        world.settle();
    }
}
