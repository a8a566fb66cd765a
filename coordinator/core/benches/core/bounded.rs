//! Large work in small logged steps: how long the longest step holds up the thread that applies, and what orders cost
//! that are decided and applied between steps. By the wall clock: a thread's processor time is counted too coarsely.

use std::time::{Duration, Instant};

use prost::Message;
use sha2::{Digest, Sha256};
use stockmesh_coordinator_core::decide::{self, OrderDecision, Overlay};
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::feed::v1::FeedRef;
use stockmesh_proto::raft::v1::command::Kind;

use crate::world::{World, internal};

/// Promises of one step, as the leader's driver asks for.
const BUDGET: usize = 64;

/// Durations, to be summed up.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn at(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let place = (sorted.len() as f64 * share) as usize;
        sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// Places one order as the leader does; gives what deciding and applying it took.
fn place(world: &mut World, overlay: &Overlay, order: &wire::Order) -> Duration {
    let hash = Sha256::digest(order.encode_to_vec()).into();
    let start = Instant::now();
    let decision = decide::order(&world.state, overlay, order, hash, 0, order.placed_time_ms).expect("a decision");
    if let OrderDecision::Commit(commit) = decision {
        world.run(Kind::CommitOrder(commit));
    }
    start.elapsed()
}

fn place_all(world: &mut World, orders: &[wire::Order]) {
    let overlay = Overlay::new();
    for order in orders {
        place(world, &overlay, order);
    }
}

/// Works off what goes on by itself, with an order between any two steps.
fn work_off(name: &str, units: usize, world: &mut World, first: Duration, orders: &[wire::Order]) -> String {
    let (overlay, mut steps, mut placed) = (Overlay::new(), Times(vec![first]), Times::default());
    let mut orders = orders.iter();
    while world.state.backlog_nonempty() {
        let start = Instant::now();
        let Some(kind) = decide::next_step(&world.state, &overlay, BUDGET) else { break };
        world.run(kind);
        steps.0.push(start.elapsed());
        if let Some(order) = orders.next() {
            placed.0.push(place(world, &overlay, order));
        }
    }
    told(name, units, &steps, &placed)
}

fn told(name: &str, units: usize, steps: &Times, placed: &Times) -> String {
    let (total, longest): (Duration, Duration) = (steps.0.iter().sum(), steps.at(1.0));
    println!(
        "{name}: {units} in {} steps, {total:.1?} in all; a step {:.0?} p50, {longest:.0?} at most; an order between them \
         {:.1?} p50, {:.1?} p99",
        steps.0.len(),
        steps.at(0.5),
        placed.at(0.5),
        placed.at(0.99)
    );
    format!(
        "{{\"work\":\"{name}\",\"size\":{units},\"steps\":{},\"total_ms\":{},\"step_p50_us\":{},\"step_max_us\":{},\
         \"order_p50_us\":{:.1},\"order_p99_us\":{:.1}}}",
        steps.0.len(),
        total.as_millis(),
        steps.at(0.5).as_micros(),
        longest.as_micros(),
        placed.at(0.5).as_secs_f64() * 1e6,
        placed.at(0.99).as_secs_f64() * 1e6
    )
}

/// Measures `size` waiting orders and broken promises, and the import of `items`.
pub fn run(size: usize, items: usize) -> Vec<String> {
    println!();
    let mut told_all = Vec::new();

    // A receipt frees what many orders wait for.
    let mut world = World::new(50, 1_000, 0);
    world.grant(1, &(1..257).map(|item| (item, 1_000_000)).collect::<Vec<_>>());
    let waiting = world.orders("WAIT", size, true);
    place_all(&mut world, &waiting);
    let between = world.orders("NEW", 10_000, false);
    let start = Instant::now();
    world.grant(0, &[(0, 100_000_000)]);
    told_all.push(work_off("a receipt frees waiting orders", size, &mut world, start.elapsed(), &between));

    // The node then loses all of it: every promise is asked back.
    let between = world.orders("LATER", 10_000, false);
    let start = Instant::now();
    world.shortfall(0, 0, 100_000_000);
    told_all.push(work_off("a shortfall breaks promises", 2 * size, &mut world, start.elapsed(), &between));

    // A catalog is imported in calls of 1,000.
    let (mut steps, mut placed, overlay) = (Times::default(), Times::default(), Overlay::new());
    let between = world.orders("IMPORT", items / 1_000, false);
    for (n, order) in between.iter().enumerate() {
        let start = Instant::now();
        world.create_items(1_000_000 + n * 1_000, 1_000);
        steps.0.push(start.elapsed());
        placed.0.push(place(&mut world, &overlay, order));
    }
    told_all.push(told("an import of items", items, &steps, &placed));
    told_all
}

impl World {
    /// The node is short of so many units of an item.
    fn shortfall(&mut self, node: usize, item: usize, level: i64) {
        let feed = FeedRef { participant: format!("node/n{node}"), destination: String::new(), epoch: 1 };
        let entries = vec![self.shortfall_entry(node, item, level)];
        let kind = Kind::ApplyFacts(stockmesh_proto::raft::v1::ApplyFacts { feed: Some(feed), entries });
        let (outcomes, _) = self.apply(vec![internal(kind)]);
        outcomes.into_iter().for_each(|outcome| drop(outcome.expect("not refused")));
    }
}
