//! A group under test: applies commands one by one, keeps its log and what it emitted.

use std::collections::BTreeMap;

use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::coordinator::v1 as api;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{EntryBody, FeedEntry, FeedRef};
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_types::{FeedId, OrderId, Reject};

use crate::decide::{self, OrderDecision, Overlay};
use crate::{Answer, Notice, State};

/// Stamps of the tests begin here: 2026-11-21.
pub const START_MS: i64 = 1_795_000_000_000;

pub struct World {
    pub state: State,
    pub index: u64,
    pub log: Vec<(u64, log::LogEntry)>,
    /// Entries of our feeds, by destination.
    pub emitted: BTreeMap<String, Vec<FeedEntry>>,
    pub notices: Vec<Notice>,
    pub requests: u32,
    /// Feeds of nodes, for tests that write facts by hand.
    pub feeds: BTreeMap<String, Head>,
}

impl World {
    pub fn empty() -> Self {
        Self {
            state: State::new(),
            index: 0,
            log: Vec::new(),
            emitted: BTreeMap::new(),
            notices: Vec::new(),
            requests: 0,
            feeds: BTreeMap::new(),
        }
    }

    /// A group with `items` A, B, …, and nodes n0, n1, … that may handle all of them.
    pub fn with(items: usize, nodes: usize) -> Self {
        let mut world = Self::empty();
        world.initialize().unwrap();
        let list = (0..items).map(|n| item(&item_name(n), 100 * (n as i64 + 1))).collect();
        world.write(Kind::CreateItems(log::CreateItems { items: list })).unwrap();
        for n in 0..nodes {
            world.write(Kind::RegisterNode(log::RegisterNode { node: Some(node(n)) })).unwrap();
            let items = (0..items).map(item_name).collect();
            world.write(Kind::RangeItems(log::RangeItems { node: format!("n{n}"), items })).unwrap();
        }
        world
    }

    pub fn initialize(&mut self) -> Result<Answer, Reject> {
        let finance = vec!["finance/main".to_owned()];
        self.run(Kind::InitializeGroup(log::InitializeGroup { group: 1, incarnation: 1, finance }))
    }

    /// A fresh UUIDv7 of the present log time.
    pub fn request_id(&mut self) -> String {
        self.requests += 1;
        request_id(self.now(), self.requests)
    }

    pub fn now(&self) -> i64 {
        self.state.log_time().0.max(START_MS)
    }

    /// Runs a command that has no request id.
    pub fn run(&mut self, kind: Kind) -> Result<Answer, Reject> {
        self.apply(vec![command(kind, String::new())]).remove(0)
    }

    /// Runs a command under a fresh request id.
    pub fn write(&mut self, kind: Kind) -> Result<Answer, Reject> {
        let id = self.request_id();
        self.apply(vec![command(kind, id)]).remove(0)
    }

    /// Applies one log entry.
    pub fn apply(&mut self, commands: Vec<log::Command>) -> Vec<Result<Answer, Reject>> {
        self.index += 1;
        let entry = log::LogEntry {
            feature_level: 1,
            stamp_ms: START_MS + 10 * i64::try_from(self.index).unwrap(),
            proposer: 1,
            proposal: self.index,
            commands,
        };
        let applied = self.state.apply(self.index, &entry).unwrap();
        for emitted in applied.emitted {
            self.emitted.entry(emitted.destination.to_string()).or_default().push(emitted.entry);
        }
        self.notices.extend(applied.notices);
        self.log.push((self.index, entry));
        applied.outcomes
    }

    /// Decides and commits an order; gives it as it stands.
    pub fn place(&mut self, order: &wire::Order) -> Result<api::OrderStatus, Reject> {
        match decide::order(&self.state, &Overlay::new(), order, hash(order), 0, START_MS)? {
            OrderDecision::Commit(commit) => {
                self.run(Kind::CommitOrder(commit))?;
            }
            OrderDecision::AlreadyPlaced => {}
        }
        Ok(self.order(&order.order_id))
    }

    pub fn order(&self, id: &str) -> api::OrderStatus {
        self.state.order(&OrderId::new(id).unwrap()).unwrap()
    }

    /// Does all work that goes on by itself.
    pub fn settle(&mut self) {
        while let Some(kind) = decide::next_step(&self.state, &Overlay::new(), 256) {
            let answer = self.run(kind).unwrap();
            let got_on = match answer {
                Answer::BackordersAllocated { promised, left_out } => promised > 0 && left_out == 0,
                Answer::ShortfallsWorkedOff { asked } => asked > 0,
                Answer::SubstitutesReserved { reserved, left_out } => reserved > 0 && left_out == 0,
                // Each step of it looks at more; the last one ends it.
                Answer::WorkContinued { .. } => true,
                Answer::ItemsAnnounced { told } => told > 0,
                Answer::LateSupplyFound { found } => found > 0,
                _ => false,
            };
            assert!(got_on, "a step that gets nowhere: {answer:?}");
        }
    }

    pub fn cell(&self, item: &str, node: &str) -> api::Cell {
        let page = self.state.list_cells(0, 10, Some(node), Some(item));
        page.items.into_iter().next().unwrap_or_default()
    }

    /// A fact of a node, written and applied at once.
    pub fn fact(&mut self, node: &str, fact: Fact) -> Result<Answer, Reject> {
        let feed = node_feed(node, 1);
        let mut head = self.feeds.get(node).copied().unwrap_or(Head::START);
        let entry = head.append(&FeedId::from(&feed), &EntryBody { fact: Some(fact), ..EntryBody::default() });
        let answer = self.run(Kind::ApplyFacts(log::ApplyFacts { feed: Some(feed), entries: vec![entry] }));
        if answer.is_ok() {
            self.feeds.insert(node.to_owned(), head);
        }
        answer
    }

    pub fn grant(&mut self, node: &str, item: &str, total: i64) {
        let granted = stockmesh_proto::feed::v1::RightsGranted { stock_key: Some(key(item)), granted_total: total };
        self.fact(node, Fact::RightsGranted(granted)).unwrap();
    }

    /// The facts that went to a destination so far.
    pub fn sent(&self, destination: &str) -> Vec<Fact> {
        let entries = self.emitted.get(destination).map(Vec::as_slice).unwrap_or_default();
        let body = |entry: &FeedEntry| <EntryBody as prost::Message>::decode(entry.body.clone()).unwrap().fact.unwrap();
        entries.iter().map(body).collect()
    }
}

pub fn command(kind: Kind, request_id: String) -> log::Command {
    use prost::Message;
    let principal = Some(wire::Principal { kind: wire::PrincipalKind::User.into(), id: "tester".into() });
    let body = log::Command { kind: Some(kind.clone()), ..Default::default() }.encode_to_vec();
    log::Command { principal, request_id, request_hash: sha(&body).to_vec(), kind: Some(kind) }
}

pub fn request_id(time_ms: i64, n: u32) -> String {
    let (time, n) = (u64::try_from(time_ms).unwrap(), u64::from(n));
    format!("{:08x}-{:04x}-7000-8000-{n:012x}", time >> 16, time & 0xffff)
}

pub fn sha(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}

pub fn hash(order: &wire::Order) -> [u8; 32] {
    sha(&prost::Message::encode_to_vec(order))
}

pub fn node_feed(node: &str, epoch: u64) -> FeedRef {
    FeedRef { participant: format!("node/{node}"), destination: String::new(), epoch }
}

pub fn item_name(n: usize) -> String {
    char::from(b'A' + u8::try_from(n).unwrap()).to_string()
}

pub fn item(name: &str, weight_grams: i64) -> api::Item {
    api::Item { item: name.into(), description: format!("item {name}"), weight_grams, ..api::Item::default() }
}

pub fn key(item: &str) -> wire::StockKey {
    wire::StockKey { item: item.into(), grade: wire::Grade::New.into(), ..Default::default() }
}

pub fn place(latitude_e7: i32) -> wire::Place {
    wire::Place { country_code: "GB".into(), postal_code: "N1".into(), latitude_e7, longitude_e7: 0 }
}

/// Node n stands n x 1 degree north of the customer, and costs a little more each.
pub fn node(n: usize) -> api::Node {
    let n_i64 = n as i64;
    api::Node {
        node: format!("n{n}"),
        kind: wire::NodeKind::DistributionCenter.into(),
        place: Some(place(510_000_000 + 10_000_000 * i32::try_from(n).unwrap())),
        legal_entity: "RETAIL".into(),
        costs: Some(api::NodeCosts {
            handling_per_shipment_minor: 100 + n_i64,
            handling_per_unit_minor: 5,
            parcel_fixed_minor: 250,
            parcel_per_kg_minor: 40,
            parcel_per_kg_1000km_minor: 60,
        }),
        ..Default::default()
    }
}

pub fn order(id: &str, policy: wire::ShortagePolicy, lines: &[(&str, i64)]) -> wire::Order {
    let line = |(n, (item, quantity)): (usize, &(&str, i64))| wire::OrderLine {
        line: u32::try_from(n).unwrap() + 1,
        stock_key: Some(key(item)),
        quantity: *quantity,
        price: Some(wire::LinePrice { sales_minor: 100 * quantity, ..Default::default() }),
        ..Default::default()
    };
    wire::Order {
        order_id: id.into(),
        channel: "web".into(),
        placed_time_ms: START_MS,
        customer: Some(wire::PartyRef { id: "c-1".into() }),
        ship_to: Some(place(510_000_000)),
        currency_code: "GBP".into(),
        lines: lines.iter().enumerate().map(line).collect(),
        shortage_policy: policy.into(),
        payment_terms: wire::PaymentTerms::OnShipment.into(),
    }
}
