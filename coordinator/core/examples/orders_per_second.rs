//! Measures decide and apply of two-line orders: 50 nodes, 10,000 items, demand by Zipf's law.
//!
//! `cargo run --release -p stockmesh-coordinator-core --example orders_per_second -- [orders] [nodes] [items]`

use std::time::Duration;

use prost::Message;
use sha2::{Digest, Sha256};
use stockmesh_coordinator_core::State;
use stockmesh_coordinator_core::decide::{self, OrderDecision, Overlay};
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::coordinator::v1 as api;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{EntryBody, FeedRef, RightsGranted};
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_proto::raft::v1::{self as log, Command, LogEntry};
use stockmesh_types::FeedId;

/// Commands that share a log entry.
const BATCH: usize = 64;

/// SplitMix64: the same stream in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Processor time of this thread so far: what other processes take of the machine does not count.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux keeps /proc/thread-self/schedstat");
    let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("its first number is nanoseconds on the processor"))
}

/// Items by Zipf's law with exponent 1.05: cumulative weights.
fn zipf(items: usize) -> Vec<f64> {
    let mut sum = 0.0;
    let weight = |rank: usize| 1.0 / (rank as f64).powf(1.05);
    (1..=items)
        .map(|rank| {
            sum += weight(rank);
            sum
        })
        .collect()
}

struct Run {
    state: State,
    index: u64,
    apply: Duration,
    emitted: usize,
}

impl Run {
    fn apply(&mut self, commands: Vec<Command>) -> usize {
        self.index += 1;
        let stamp_ms = 1_795_000_000_000 + self.index as i64;
        let entry = LogEntry { feature_level: 1, stamp_ms, commands, ..LogEntry::default() };
        let start = processor_time();
        let applied = self.state.apply(self.index, &entry).expect("no fault");
        self.apply += processor_time() - start;
        self.emitted += applied.emitted.len();
        applied.outcomes.iter().filter(|outcome| outcome.is_ok()).count()
    }

    fn write(&mut self, kind: Kind) {
        let request_id = format!("01a1ed16-bc00-7000-8000-{:012x}", self.index);
        let request_hash = vec![0; 32];
        let command = Command { principal: None, request_id, request_hash, kind: Some(kind) };
        assert_eq!(self.apply(vec![command]), 1);
    }
}

fn internal(kind: Kind) -> Command {
    Command { principal: None, request_id: String::new(), request_hash: Vec::new(), kind: Some(kind) }
}

fn set_up(run: &mut Run, nodes: usize, items: usize, random: &mut Random) {
    let finance = vec!["finance/main".to_owned()];
    run.apply(vec![internal(Kind::InitializeGroup(log::InitializeGroup { group: 1, incarnation: 1, finance }))]);
    let names: Vec<String> = (0..items).map(|n| format!("SKU-{n:06}")).collect();
    for chunk in names.chunks(1_000) {
        let item = |name: &String| api::Item { item: name.clone(), weight_grams: 250, ..Default::default() };
        run.write(Kind::CreateItems(log::CreateItems { items: chunk.iter().map(item).collect() }));
    }
    for n in 0..nodes {
        let node = api::Node {
            node: format!("n{n}"),
            kind: wire::NodeKind::Store.into(),
            place: Some(place(random)),
            legal_entity: "R".into(),
            costs: Some(api::NodeCosts {
                handling_per_shipment_minor: 80 + random.below(120) as i64,
                handling_per_unit_minor: 5 + random.below(20) as i64,
                parcel_fixed_minor: 250,
                parcel_per_kg_minor: 40,
                parcel_per_kg_1000km_minor: 60,
            }),
            ..Default::default()
        };
        run.write(Kind::RegisterNode(log::RegisterNode { node: Some(node) }));
        let feed = FeedRef { participant: format!("node/n{n}"), destination: String::new(), epoch: 1 };
        let mut head = Head::START;
        for chunk in names.chunks(256) {
            let entry = |name: &String| {
                let stock_key = Some(key(name));
                let fact = Fact::RightsGranted(RightsGranted { stock_key, granted_total: 2_000 });
                head.append(&FeedId::from(&feed), &EntryBody { fact: Some(fact), ..EntryBody::default() })
            };
            let entries = chunk.iter().map(entry).collect();
            run.apply(vec![internal(Kind::ApplyFacts(log::ApplyFacts { feed: Some(feed.clone()), entries }))]);
        }
    }
}

fn key(item: &str) -> wire::StockKey {
    wire::StockKey { item: item.to_owned(), grade: wire::Grade::New.into(), ..Default::default() }
}

fn place(random: &mut Random) -> wire::Place {
    wire::Place {
        country_code: "GB".into(),
        latitude_e7: 500_000_000 + random.below(80_000_000) as i32,
        longitude_e7: -50_000_000 + random.below(60_000_000) as i32,
        ..Default::default()
    }
}

fn main() {
    let argument =
        |n: usize, default: usize| std::env::args().nth(n).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (orders, nodes, items) = (argument(1, 200_000), argument(2, 50), argument(3, 10_000));
    let mut random = Random(7);
    let mut run = Run { state: State::new(), index: 0, apply: Duration::ZERO, emitted: 0 };
    set_up(&mut run, nodes, items, &mut random);
    let cumulative = zipf(items);
    let total = cumulative.last().copied().unwrap_or(1.0);
    let list: Vec<wire::Order> = (0..orders)
        .map(|n| {
            let line = |line: u32, random: &mut Random| {
                let at = random.next() as f64 / u64::MAX as f64 * total;
                let item = cumulative.partition_point(|sum| *sum < at).min(items - 1);
                let price = wire::LinePrice { sales_minor: 1_000, ..Default::default() };
                let quantity = 1 + random.below(3) as i64;
                let stock_key = Some(key(&format!("SKU-{item:06}")));
                wire::OrderLine { line, stock_key, quantity, price: Some(price), ..Default::default() }
            };
            wire::Order {
                order_id: format!("ORD-{n:09}"),
                channel: "web".into(),
                placed_time_ms: 1_795_000_000_000,
                customer: Some(wire::PartyRef { id: format!("c-{n}") }),
                ship_to: Some(place(&mut random)),
                currency_code: "GBP".into(),
                lines: vec![line(1, &mut random), line(2, &mut random)],
                shortage_policy: wire::ShortagePolicy::Backorder.into(),
                payment_terms: wire::PaymentTerms::OnShipment.into(),
            }
        })
        .collect();
    (run.apply, run.emitted) = (Duration::ZERO, 0);
    let (mut decide_time, mut committed, mut proven) = (Duration::ZERO, 0, 0);
    let mut overlay = Overlay::new();
    for (proposal, batch) in list.chunks(BATCH).enumerate() {
        let mut commands = Vec::with_capacity(BATCH);
        let hash = |order: &wire::Order| -> [u8; 32] { Sha256::digest(order.encode_to_vec()).into() };
        let hashes: Vec<[u8; 32]> = batch.iter().map(hash).collect();
        let start = processor_time();
        for (order, hash) in batch.iter().zip(hashes) {
            let decision =
                decide::order(&run.state, &overlay, order, hash, 0, order.placed_time_ms).expect("a decision");
            let OrderDecision::Commit(commit) = decision else { continue };
            proven += usize::from(commit.sourcing.as_ref().is_some_and(|sourcing| sourcing.proven_optimal));
            let kind = Kind::CommitOrder(commit);
            overlay.add(proposal as u64, &run.state, &kind);
            commands.push(internal(kind));
        }
        decide_time += processor_time() - start;
        committed += run.apply(commands);
        overlay.remove(proposal as u64);
    }
    let start = processor_time();
    let snapshot = run.state.snapshot();
    let taken = processor_time() - start;
    let bytes: usize = snapshot.chunks().map(|chunk| chunk.bytes.len()).sum();
    let encoded = processor_time() - start;
    let rate = |time: Duration| committed as f64 / time.as_secs_f64();
    println!("{committed} of {orders} orders committed, {proven} proven, {} entries emitted", run.emitted);
    println!("decide          {:>9.0}/s  {:.2} us an order", rate(decide_time), 1e6 / rate(decide_time));
    println!("apply           {:>9.0}/s  {:.2} us an order", rate(run.apply), 1e6 / rate(run.apply));
    println!("decide + apply  {:>9.0}/s", rate(decide_time + run.apply));
    println!("snapshot: taken in {taken:?}, {bytes} bytes encoded in {encoded:?}; {:?}", run.state.counters());
}
