//! What clients of the simulation send, and how the state is read for them.

use prost::Message as _;
use sha2::{Digest, Sha256};
use stockmesh_coordinator_core::State;
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::coordinator::v1::{Item, Node, NodeCosts};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::{EntryBody, FeedRef, RightsGranted, entry_body};
use stockmesh_proto::raft::v1::{
    ApplyFacts, Command, CreateItems, InitializeGroup, RangeItems, RegisterNode, command::Kind,
};
use stockmesh_types::{FeedId, OrderId};

/// Items that have stock from the beginning.
pub const STOCKED: usize = 6;
/// Items that clients create.
pub const LATE: usize = 6;
/// Units of each stocked item, at two nodes.
pub const UNITS: [i64; 2] = [9, 6];

pub fn item_name(item: usize) -> String {
    format!("ITEM-{item}")
}

fn key(item: usize) -> wire::StockKey {
    wire::StockKey { item: item_name(item), ..wire::StockKey::default() }
}

/// An order and its hash.
pub fn order(item: usize, id: u32, units: i64) -> (wire::Order, [u8; 32]) {
    let order = wire::Order {
        order_id: format!("O-{id}"),
        channel: "web".to_owned(),
        placed_time_ms: 1,
        customer: Some(wire::PartyRef { id: "guest".to_owned() }),
        ship_to: Some(wire::Place { country_code: "GB".to_owned(), ..wire::Place::default() }),
        currency_code: "GBP".to_owned(),
        lines: vec![wire::OrderLine {
            line: 1,
            stock_key: Some(key(item)),
            quantity: units,
            price: Some(wire::LinePrice { sales_minor: 100, ..wire::LinePrice::default() }),
            ..wire::OrderLine::default()
        }],
        shortage_policy: wire::ShortagePolicy::Backorder.into(),
        payment_terms: wire::PaymentTerms::Prepaid.into(),
    };
    let hash = Sha256::digest(order.encode_to_vec()).into();
    (order, hash)
}

/// A UUIDv7 of this time.
pub fn request_id(time_ms: i64, number: usize) -> String {
    let hex = format!("{time_ms:012x}");
    format!("{}-{}-7000-8000-{number:012x}", &hex[..8], &hex[8..])
}

fn item(number: usize) -> Item {
    Item { item: item_name(number), description: "an item".to_owned(), weight_grams: 100, ..Item::default() }
}

pub fn create_command(number: usize, time_ms: i64, call: usize) -> Command {
    Command {
        request_id: request_id(time_ms, call + 1_000),
        request_hash: vec![1; 32],
        kind: Some(Kind::CreateItems(CreateItems { items: vec![item(number)] })),
        ..Command::default()
    }
}

/// The group's first commands, with their request ids: a network with stock.
pub fn beginning(time_ms: i64) -> Vec<(Kind, String)> {
    let mut kinds = vec![
        Kind::InitializeGroup(InitializeGroup { group: 1, incarnation: 1, finance: vec![] }),
        Kind::CreateItems(CreateItems { items: (0..STOCKED).map(item).collect() }),
    ];
    for (n, units) in UNITS.iter().enumerate() {
        let name = format!("dc-{n}");
        let node = Node {
            node: name.clone(),
            kind: wire::NodeKind::DistributionCenter.into(),
            place: Some(wire::Place { country_code: "GB".to_owned(), ..wire::Place::default() }),
            legal_entity: "UK".to_owned(),
            costs: Some(NodeCosts::default()),
            ..Node::default()
        };
        kinds.push(Kind::RegisterNode(RegisterNode { node: Some(node) }));
        kinds.push(Kind::RangeItems(RangeItems { node: name.clone(), items: (0..STOCKED).map(item_name).collect() }));
        let feed = FeedId { participant: format!("node/{name}"), destination: String::new(), epoch: 1 };
        let mut head = Head::START;
        let grant = |item: usize| {
            let granted = RightsGranted { stock_key: Some(key(item)), granted_total: *units };
            let fact = Some(entry_body::Fact::RightsGranted(granted));
            head.append(&feed, &EntryBody { time_ms, group: 1, fact, ..EntryBody::default() })
        };
        let entries = (0..STOCKED).map(grant).collect();
        kinds.push(Kind::ApplyFacts(ApplyFacts { feed: Some(FeedRef::from(&feed)), entries }));
    }
    kinds.into_iter().enumerate().map(|(n, kind)| (kind, request_id(time_ms, n))).collect()
}

/// Units of an order that were promised.
pub fn promised(state: &State, order: &str) -> i64 {
    let status = state.order(&OrderId::new(order).unwrap()).expect("placed");
    status.lines[0].allocations.iter().map(|allocation| allocation.quantity).sum()
}

/// Units that can be promised.
pub fn free(state: &State, item: usize) -> i64 {
    let key = stockmesh_proto::convert::stock_key(&Some(key(item)), "stock_key").unwrap();
    state.availability(&[key])[0].available_to_fulfill
}
