//! A group under measurement: items, nodes with rights, orders by Zipf's law.

use std::time::Duration;

use stockmesh_coordinator_core::{Answer, State};
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::coordinator::v1 as api;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{EntryBody, FeedEntry, FeedRef, RightsGranted, ShortfallReported};
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_proto::raft::v1::{self as log, Command, LogEntry};
use stockmesh_types::{FeedId, Reject};

/// SplitMix64: the same stream in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Processor time of this thread so far: what other processes take of the machine does not count.
pub fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux keeps /proc/thread-self/schedstat");
    let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("its first number is nanoseconds on the processor"))
}

/// Memory of this process, bytes.
pub fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

pub struct World {
    pub state: State,
    pub index: u64,
    pub random: Random,
    names: Vec<String>,
    /// Heads of the nodes' feeds.
    heads: Vec<Head>,
}

impl World {
    /// `units` of each item at each node.
    pub fn new(nodes: usize, items: usize, units: i64) -> Self {
        let names = (0..items).map(|n| format!("SKU-{n:07}")).collect();
        let mut world =
            Self { state: State::new(), index: 0, random: Random(7), names, heads: vec![Head::START; nodes] };
        let finance = vec!["finance/main".to_owned()];
        world.run(Kind::InitializeGroup(log::InitializeGroup { group: 1, incarnation: 1, finance }));
        for n in (0..items).step_by(1_000) {
            world.create_items(n, 1_000.min(items - n));
        }
        for n in 0..nodes {
            let node = api::Node {
                node: format!("n{n}"),
                kind: wire::NodeKind::Store.into(),
                place: Some(place(&mut world.random)),
                legal_entity: "R".into(),
                costs: Some(api::NodeCosts {
                    handling_per_shipment_minor: 80 + world.random.below(120) as i64,
                    handling_per_unit_minor: 5 + world.random.below(20) as i64,
                    parcel_fixed_minor: 250,
                    parcel_per_kg_minor: 40,
                    parcel_per_kg_1000km_minor: 60,
                }),
                ..Default::default()
            };
            world.write(Kind::RegisterNode(log::RegisterNode { node: Some(node) }));
            for from in (0..items).step_by(256) {
                let to = items.min(from + 256);
                let grants: Vec<(usize, i64)> = (from..to).map(|item| (item, units)).collect();
                if units > 0 {
                    world.grant(n, &grants);
                }
            }
        }
        world
    }

    /// Applies one entry; gives the processor time that it took.
    pub fn apply(&mut self, commands: Vec<Command>) -> (Vec<Result<Answer, Reject>>, Duration) {
        self.index += 1;
        let entry = self.entry(commands);
        let start = processor_time();
        let applied = self.state.apply(self.index, &entry).expect("no fault");
        (applied.outcomes, processor_time() - start)
    }

    pub fn entry(&self, commands: Vec<Command>) -> LogEntry {
        let stamp_ms = 1_795_000_000_000 + self.index as i64;
        LogEntry { feature_level: 1, stamp_ms, commands, ..LogEntry::default() }
    }

    pub fn run(&mut self, kind: Kind) -> Answer {
        let (mut outcomes, _) = self.apply(vec![internal(kind)]);
        outcomes.remove(0).expect("not refused")
    }

    pub fn write(&mut self, kind: Kind) {
        let request_id = format!("01a1ed16-bc00-7000-8000-{:012x}", self.index);
        let request_hash = vec![0; 32];
        let (outcomes, _) = self.apply(vec![Command { principal: None, request_id, request_hash, kind: Some(kind) }]);
        outcomes.into_iter().for_each(|outcome| drop(outcome.expect("not refused")));
    }

    /// Items from number `from` on.
    pub fn create_items(&mut self, from: usize, count: usize) {
        let item = |n: usize| api::Item { item: format!("SKU-{n:07}"), weight_grams: 250, ..Default::default() };
        self.write(Kind::CreateItems(log::CreateItems { items: (from..from + count).map(item).collect() }));
    }

    /// Cumulative rights of items at a node, in one command.
    pub fn grant(&mut self, node: usize, grants: &[(usize, i64)]) {
        let feed = FeedRef { participant: format!("node/n{node}"), destination: String::new(), epoch: 1 };
        let (id, mut head) = (FeedId::from(&feed), self.heads[node]);
        let entries = grants.iter().map(|(item, granted_total)| {
            let fact = RightsGranted { stock_key: Some(key(&self.names[*item])), granted_total: *granted_total };
            head.append(&id, &EntryBody { fact: Some(Fact::RightsGranted(fact)), ..EntryBody::default() })
        });
        let entries = entries.collect();
        self.heads[node] = head;
        self.run(Kind::ApplyFacts(log::ApplyFacts { feed: Some(feed), entries }));
    }

    /// The next entry of a node's feed: it is short of units that it does not have back.
    pub fn shortfall_entry(&mut self, node: usize, item: usize, level: i64) -> FeedEntry {
        let feed = FeedRef { participant: format!("node/n{node}"), destination: String::new(), epoch: 1 };
        let fact = ShortfallReported { stock_key: Some(key(&self.names[item])), level, ..Default::default() };
        let body = EntryBody { fact: Some(Fact::ShortfallReported(fact)), ..EntryBody::default() };
        self.heads[node].append(&FeedId::from(&feed), &body)
    }

    /// Two-line orders; `hot`: all for the first item.
    pub fn orders(&mut self, prefix: &str, count: usize, hot: bool) -> Vec<wire::Order> {
        let mut sum = 0.0;
        let choices = if hot { 1 } else { self.names.len() };
        let cumulative: Vec<f64> = (1..=choices)
            .map(|rank| {
                sum += 1.0 / (rank as f64).powf(1.05);
                sum
            })
            .collect();
        let mut order = |n: usize| {
            let random = &mut self.random;
            let line = |line: u32, random: &mut Random| {
                let at = random.next() as f64 / u64::MAX as f64 * sum;
                let item = cumulative.partition_point(|weight| *weight < at).min(choices - 1);
                wire::OrderLine {
                    line,
                    stock_key: Some(key(&self.names[item])),
                    quantity: 1 + random.below(3) as i64,
                    price: Some(wire::LinePrice { sales_minor: 1_000, ..Default::default() }),
                    ..Default::default()
                }
            };
            wire::Order {
                order_id: format!("{prefix}-{n:09}"),
                channel: "web".into(),
                placed_time_ms: 1_795_000_000_000,
                customer: Some(wire::PartyRef { id: format!("c-{n}") }),
                ship_to: Some(place(random)),
                currency_code: "GBP".into(),
                lines: vec![line(1, random), line(2, random)],
                shortage_policy: wire::ShortagePolicy::Backorder.into(),
                payment_terms: wire::PaymentTerms::OnShipment.into(),
            }
        };
        (0..count).map(&mut order).collect()
    }
}

pub fn internal(kind: Kind) -> Command {
    Command { principal: None, request_id: String::new(), request_hash: Vec::new(), kind: Some(kind) }
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
