//! Random histories of a node's engine on a disk that loses what was not synced, with a coordinator behind a network that loses,
//! repeats and reorders below the feeds.
//!
//! A crash may come between any two durable writes: a group that was worked out, written, synced, marked or shown; another one
//! may be written behind it. What was synced is there afterwards, of what was only written any prefix of whole groups. Checked
//! after every step and every restart: the store opens, what was answered or shown is there, requests that were answered are
//! answered the same again, the shelf is what a person with a notebook wrote down, I2 to I7; and at the end, when
//! everything is delivered, both sides agree and the feed folds into the state.
//!
//! `PROPTEST_CASES=100000 cargo test --release -p stockmesh-node --test random_histories` is the long run.

#[path = "../../core/tests/common/mod.rs"]
mod common;
#[path = "../../core/tests/random_histories/coordinator.rs"]
mod coordinator;
mod disk;
mod network;
mod world;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use stockmesh_node_core::GrantPolicy;
use stockmesh_node_core::command::ReceivedCondition;
use stockmesh_proto::feed::v1::{AdjustReason, DeclineReason, Disposition};

use world::World;

const ITEMS: [&str; 2] = ["A", "B"];

/// What happens next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
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
    /// Sends an earlier request again.
    Repeat(usize),
    /// The open group is closed and written.
    Write,
    /// What is written is synced.
    Sync,
    /// What is synced is marked, then answered and shown.
    MarkAndAnswer,
    /// The marker is written, and torn or not, the process dies before it answers.
    MarkAndDie,
    /// The machine stops. That many of the groups that are written and not synced are there afterwards.
    Crash(usize),
    /// A message goes out: to the coordinator, or to the node, that many entries from where the reader is thought to be.
    Send(bool, usize),
    /// A message arrives, the nth of those under way, and stays under way too if it is repeated.
    Deliver(bool, usize, bool),
    /// A message is lost.
    Lose(bool, usize),
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
    let disposition = prop::sample::select(vec![Disposition::Resale, Disposition::WriteOff]);
    let adjust = prop_oneof![
        (1..4_i64).prop_map(|n| (n, AdjustReason::Found)),
        (1..4_i64).prop_map(|n| (-n, AdjustReason::Loss)),
        (1..4_i64).prop_map(|n| (-n, AdjustReason::Damage)),
        (1..4_i64).prop_map(|n| (-n, AdjustReason::Count)),
    ];
    let commands = prop_oneof![
        4 => (item.clone(), 1..9_i64, condition).prop_map(|(i, q, c)| Step::Receive(i, q, c)),
        2 => (item.clone(), units.clone()).prop_map(|(i, q)| Step::Sell(i, q)),
        1 => (work.clone(), units.clone()).prop_map(|(w, q)| Step::Pick(w, q)),
        1 => (work.clone(), units.clone()).prop_map(|(w, q)| Step::Pack(w, q)),
        4 => (work.clone(), units.clone()).prop_map(|(w, q)| Step::Ship(w, q)),
        2 => (work.clone(), units.clone(), decline).prop_map(|(w, q, r)| Step::Decline(w, q, r)),
        2 => (item.clone(), adjust).prop_map(|(i, (d, r))| Step::Adjust(i, d, r)),
        1 => (item.clone(), units.clone()).prop_map(|(i, q)| Step::ReturnGoods(i, q)),
        1 => (0..4_usize, units.clone(), disposition).prop_map(|(n, q, d)| Step::Inspect(n, q, d)),
        2 => (0..8_usize).prop_map(Step::Repeat),
    ];
    let rights = prop_oneof![
        5 => (item.clone(), units.clone()).prop_map(|(i, q)| Step::Promise(i, q)),
        2 => (work, units.clone()).prop_map(|(w, q)| Step::RequestCancel(w, q)),
        1 => (item, units).prop_map(|(i, q)| Step::GiveBack(i, q)),
    ];
    let disk = prop_oneof![
        6 => Just(Step::Write),
        5 => Just(Step::Sync),
        5 => Just(Step::MarkAndAnswer),
        1 => Just(Step::MarkAndDie),
        1 => (0..4_usize).prop_map(Step::Crash),
    ];
    let network = prop_oneof![
        4 => (any::<bool>(), 1..6_usize).prop_map(|(up, count)| Step::Send(up, count)),
        6 => (any::<bool>(), 0..4_usize, prop::bool::weighted(0.3)).prop_map(|(up, n, again)| Step::Deliver(up, n, again)),
        1 => (any::<bool>(), 0..4_usize).prop_map(|(up, n)| Step::Lose(up, n)),
    ];
    prop_oneof![4 => commands, 2 => rights, 4 => disk, 4 => network]
}

fn config() -> ProptestConfig {
    let failures = FileFailurePersistence::Direct("tests/random_histories/failures");
    ProptestConfig {
        cases: ProptestConfig::default().cases.max(200),
        failure_persistence: Some(Box::new(failures)),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_stops_the_machine_nothing_is_lost_and_nothing_happens_twice(
        floor in 0..3_i64,
        walk_in_reserve in 0..2_i64,
        steps in prop::collection::vec(step(), 1..160),
    ) {
        let mut world = World::new(GrantPolicy { floor, walk_in_reserve });
        for step in &steps {
            world.take(step);
            world.check();
        }
        world.settle();
    }
}
