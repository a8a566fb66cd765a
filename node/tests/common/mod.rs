//! What the tests of the shell share: a store that loses unsynced writes, a coordinator's feed, commands.

#![allow(dead_code, missing_docs)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use stockmesh_node::engine::{self, Engine, Opened, open};
use stockmesh_node::store::{Batch, Mark, Store, StoreError};
use stockmesh_node_core::command::*;
use stockmesh_node_core::{Allocation, BodyHash, Change, Context, GrantPolicy, Identity, Key, RequestStamp};
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AllocationOpened, EntryBody, FeedEntry, ItemRanged, ReceiptKind, RightsReturned};
use stockmesh_types::{
    AllocationId, Currency, Epoch, FeedId, Group, Incarnation, ItemId, LogTime, Money, NodeId, OrderId, Principal,
    RequestId, StockKey,
};

/// 2026-11-21T12:00:00Z.
pub const NOON: i64 = 1_795_262_400_000;

/// A disk: what is written is visible, what is synced survives a crash.
#[derive(Debug, Default)]
pub struct Disk {
    pub visible: BTreeMap<Vec<u8>, Vec<u8>>,
    pub durable: BTreeMap<Vec<u8>, Vec<u8>>,
    pub syncs: usize,
    pub fail_next_sync: bool,
}

/// A store on such a disk.
#[derive(Clone, Debug, Default)]
pub struct LossyStore(pub Arc<Mutex<Disk>>);

impl LossyStore {
    /// The machine loses power: what was not synced is gone.
    pub fn crash(&self) {
        let mut disk = self.0.lock().unwrap();
        disk.visible = disk.durable.clone();
    }
}

impl Store for LossyStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.lock().unwrap().visible.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        let disk = self.0.lock().unwrap();
        for (key, value) in disk.visible.range(from.to_vec()..to.to_vec()) {
            if !visit(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut disk = self.0.lock().unwrap();
        for (key, value) in batch {
            match value {
                Some(value) => disk.visible.insert(key.clone(), value.clone()),
                None => disk.visible.remove(key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut disk = self.0.lock().unwrap();
        if disk.fail_next_sync {
            let error = std::io::Error::other("the disk is on fire");
            return Err(StoreError::File { path: "db".into(), error });
        }
        disk.durable = disk.visible.clone();
        disk.syncs += 1;
        Ok(())
    }
}

pub fn identity() -> Identity {
    Identity { group: Group(1), node: NodeId::new("dc-1").unwrap(), epoch: Epoch(1) }
}

pub fn opened(store: &(impl Store + Clone), mark: Option<Mark>) -> Opened {
    open(Arc::new(store.clone()), identity(), GrantPolicy::default(), mark).unwrap()
}

pub fn ready(store: &(impl Store + Clone), mark: Option<Mark>) -> Engine {
    match opened(store, mark) {
        Opened::Ready(engine) => *engine,
        Opened::Recovering(_, reason) => panic!("recovering: {reason}"),
    }
}

/// What would be synced next, if there is anything.
pub fn group(engine: &mut Engine) -> Option<engine::Group> {
    engine.take_group().unwrap()
}

/// An allocation as the store has it.
pub fn stored_allocation(store: &impl Store, n: u64) -> Option<Allocation> {
    let value = store.get(&Key::Allocation(allocation(n)).encode()).unwrap()?;
    match Change::decode(Key::Allocation(allocation(n)), &value).unwrap() {
        Some(Change::Allocation(_, allocation)) => Some(allocation),
        other => panic!("{other:?}"),
    }
}

pub fn feed() -> FeedId {
    FeedId { participant: "node/dc-1".into(), destination: String::new(), epoch: 1 }
}

/// The coordinator's feed to dc-1.
pub struct Coordinator {
    pub feed: FeedId,
    pub head: Head,
    pub entries: Vec<FeedEntry>,
}

impl Default for Coordinator {
    fn default() -> Self {
        let feed = FeedId { participant: "coordinator/1".into(), destination: "node/dc-1".into(), epoch: 1 };
        Self { feed, head: Head::START, entries: Vec::new() }
    }
}

impl Coordinator {
    pub fn say(&mut self, fact: Fact) {
        let body = EntryBody { time_ms: NOON, group: 1, incarnation: 1, fact: Some(fact), ..EntryBody::default() };
        let entry = self.head.append(&self.feed, &body);
        self.entries.push(entry);
    }

    pub fn range(&mut self, item: &str) {
        let ranged =
            ItemRanged { item: item.into(), description: "An item".into(), weight_grams: 100, ..ItemRanged::default() };
        self.say(Fact::ItemRanged(ranged));
    }

    pub fn open(&mut self, n: u64, item: &str, quantity: i64) {
        self.say(Fact::AllocationOpened(AllocationOpened {
            allocation: Some(allocation(n).into()),
            epoch: 1,
            order_id: format!("o-{n}"),
            line: 1,
            stock_key: Some((&key(item)).into()),
            quantity,
            ship_to: None,
            customer: None,
            channel: "web".into(),
            transfer: None,
            ..Default::default()
        }));
    }

    pub fn take_back(&mut self, item: &str, returned_total: i64) {
        let fact = RightsReturned { epoch: 1, stock_key: Some((&key(item)).into()), returned_total };
        self.say(Fact::RightsReturned(fact));
    }
}

pub fn allocation(n: u64) -> AllocationId {
    AllocationId { incarnation: Incarnation(1), log_index: n, n: 0 }
}

pub fn key(item: &str) -> StockKey {
    StockKey::of(ItemId::new(item).unwrap())
}

pub fn stamp(n: u64) -> RequestStamp {
    let id = RequestId::new(&format!("{NOON:012x}70008000{n:012x}")).unwrap();
    RequestStamp { id, body: BodyHash([0; 16]) }
}

pub fn context(request: Option<RequestStamp>) -> Context {
    let now = LogTime(NOON);
    Context { now, business_date: now.date(), principal: Principal::insecure(), request }
}

pub fn receipt(id: &str, item: &str, quantity: i64) -> Command {
    Command::ReceiveStock(ReceiveStock {
        receipt_id: OrderId::new(id).unwrap(),
        kind: ReceiptKind::PurchaseOrder,
        reference: String::new(),
        lines: vec![ReceiptLine::plain(
            key(item),
            quantity,
            ReceivedCondition::Sellable,
            Money { currency: Currency::new("EUR").unwrap(), minor: 100 },
        )],
        inbound: None,
    })
}

pub fn ship(id: &str, n: u64, quantity: i64) -> Command {
    Command::ShipItems(ShipItems {
        shipment_id: OrderId::new(id).unwrap(),
        lines: vec![ShipLine { allocation: allocation(n), quantity }],
        carrier: String::new(),
        tracking: String::new(),
    })
}

pub fn sale(id: &str, item: &str, quantity: i64) -> Command {
    Command::SellAtCounter(SellAtCounter {
        sale_id: OrderId::new(id).unwrap(),
        currency: Currency::new("EUR").unwrap(),
        lines: vec![SaleLine { stock_key: key(item), quantity, price: common::LinePrice::default() }],
        tender: common::Tender::Cash,
        sold_time_ms: None,
    })
}

pub fn adjust(item: &str, delta: i64) -> Command {
    Command::AdjustStock(AdjustStock {
        adjustment_id: OrderId::new("adj").unwrap(),
        stock_key: key(item),
        delta,
        reason: stockmesh_proto::feed::v1::AdjustReason::Count,
        reference: String::new(),
        entered: None,
        units: Vec::new(),
    })
}
