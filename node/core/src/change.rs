//! Typed key values: what a command changed, and what a store holds.
//!
//! [`Change::encode`] and [`Change::decode`] are each other's inverse; a state is rebuilt from the decoded values alone.
//! Values are protobuf messages of the store's own, apart from the API: fields may be added, numbers are never used again.
//!
//! Must not know: what a change is for.

use prost::Message;
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::convert;
use stockmesh_types::{AllocationId, Incarnation, ItemId, LogTime, NodeId, OrderId, Quantity, RequestId, StockKey};

use crate::allocation::{Allocation, Handling};
use crate::archive::TaskValue;
use crate::cell::Cell;
use crate::documents::{RefundDocument, SaleDocument, TransferDocument, Waiting};
use crate::keys::Key;
use crate::outbound::{OutboundKey, OutboundValue};
use crate::policy::{PolicyScope, SetPolicy};
use crate::requests::BodyHash;
use crate::site::SiteChange;

/// What the state knows about itself. Written with every batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Latest time that an entry was stamped with: time in a feed never runs backwards.
    pub time: LogTime,
    /// Highest incarnation of the coordinator group that was met; 0: none. Lower ones are refused.
    pub incarnation: Incarnation,
    /// Allocations taken on so far.
    pub accepted: u64,
    /// No request of this time or before is new; see [`crate::requests`].
    pub forgotten_upto_ms: i64,
    /// Requests that are remembered in the store.
    pub requests: u64,
    /// Numbers given so far to exceptions and counts.
    pub issued: u64,
}

/// A ranged item.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Item {
    /// Description.
    #[prost(string, tag = "1")]
    pub description: String,
    /// Weight of a base unit, grams.
    #[prost(int64, tag = "2")]
    pub weight_grams: i64,
    /// Packs, codes, tracking and the like.
    #[prost(message, optional, tag = "3")]
    pub attributes: Option<common::ItemAttributes>,
    /// Version of the item; 0: not numbered.
    #[prost(uint64, tag = "4")]
    pub version: u64,
}

/// Kinds of documents whose numbers are unique at the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DocumentKind {
    /// A receipt of goods.
    Receipt,
    /// A till document.
    Sale,
    /// A shipment.
    Shipment,
    /// A customer's return.
    Return,
    /// A void of a sale.
    Void,
    /// An inspection of a return.
    Inspection,
    /// A disposition that was carried out.
    Disposition,
    /// A refund.
    Refund,
    /// A transfer that goods came by.
    Transfer,
    /// A pickup.
    Pickup,
    /// A conversion of kits.
    Conversion,
}

impl DocumentKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Receipt,
        Self::Sale,
        Self::Shipment,
        Self::Return,
        Self::Void,
        Self::Inspection,
        Self::Disposition,
        Self::Refund,
        Self::Transfer,
        Self::Pickup,
        Self::Conversion,
    ];

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Receipt => 1,
            Self::Sale => 2,
            Self::Shipment => 3,
            Self::Return => 4,
            Self::Void => 50,
            Self::Inspection => 51,
            Self::Disposition => 52,
            Self::Refund => 53,
            Self::Transfer => 54,
            Self::Pickup => 55,
            Self::Conversion => 56,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// What people call its number.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Receipt => "receipt",
            Self::Sale => "till document",
            Self::Shipment => "shipment",
            Self::Return => "return",
            Self::Void => "void",
            Self::Inspection => "inspection",
            Self::Disposition => "disposition",
            Self::Refund => "refund",
            Self::Transfer => "transfer",
            Self::Pickup => "pickup",
            Self::Conversion => "conversion",
        }
    }
}

/// A document: that its number is taken, and for a return what came back. Kept in the store, because a number may come again at
/// any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// The number is taken.
    Taken,
    /// A return and how much of it is inspected.
    Return {
        /// What came back.
        stock_key: StockKey,
        /// Base units.
        quantity: Quantity,
        /// Base units inspected.
        inspected: Quantity,
        /// Those that wait for what their inspection decided.
        waiting: Waiting,
    },
    /// A sale.
    Sale(SaleDocument),
    /// A refund.
    Refund(RefundDocument),
    /// A transfer that goods came by.
    Transfer(TransferDocument),
}

impl Document {
    /// A return of which nothing is inspected.
    #[must_use]
    pub fn returned(stock_key: StockKey, quantity: Quantity) -> Self {
        Self::Return { stock_key, quantity, inspected: 0, waiting: Waiting::default() }
    }

    /// More units of a return are inspected.
    pub fn inspect(&mut self, quantity: Quantity) {
        if let Self::Return { inspected, .. } = self {
            *inspected += quantity;
        }
    }
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The state's knowledge about itself.
    Meta(Meta),
    /// An item was ranged.
    Item(ItemId, Item),
    /// A cell's counters.
    Cell(StockKey, Cell),
    /// An allocation.
    Allocation(AllocationId, Allocation),
    /// Where an allocation stands in the order in which work was taken on.
    TaskNumber(u64, AllocationId),
    /// The same among the work of its order.
    TaskOfOrder(OrderId, u64, AllocationId),
    /// An allocation has units left to ship; `None`: not any more, and the key is removed.
    OpenTask(u64, Option<AllocationId>),
    /// A document.
    Document(DocumentKind, OrderId, Document),
    /// An open thing on the way out; `None`: it is over, and the key is removed.
    Outbound(OutboundKey, Option<OutboundValue>),
    /// A request had an effect. `answer` is encoded; it stays in the store only.
    Request(RequestId, BodyHash, Vec<u8>),
    /// A request is forgotten: its key is removed.
    ForgetRequest(RequestId),
    /// The coordinator set a grant policy.
    Policy(PolicyScope, SetPolicy),
    /// A site's.
    Site(SiteChange),
}

/// A key value that can't be read: the store is damaged, or was written by a later version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("value of {key:?} can't be read: {why}")]
pub struct CorruptValue {
    /// Key.
    pub key: Key,
    /// What is wrong.
    pub why: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MetaValue {
    #[prost(int64, tag = "1")]
    time_ms: i64,
    #[prost(uint32, tag = "2")]
    incarnation: u32,
    #[prost(uint64, tag = "3")]
    accepted: u64,
    #[prost(int64, tag = "4")]
    forgotten_upto_ms: i64,
    #[prost(uint64, tag = "5")]
    requests: u64,
    #[prost(uint64, tag = "30")]
    issued: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AllocationValue {
    #[prost(string, tag = "1")]
    order_id: String,
    #[prost(uint32, tag = "2")]
    line: u32,
    #[prost(message, optional, tag = "3")]
    stock_key: Option<common::StockKey>,
    #[prost(int64, tag = "4")]
    quantity: i64,
    #[prost(int64, tag = "5")]
    picked: i64,
    #[prost(int64, tag = "6")]
    packed: i64,
    #[prost(int64, tag = "7")]
    shipped: i64,
    #[prost(int64, tag = "8")]
    cancelled: i64,
    #[prost(int64, tag = "9")]
    lost: i64,
    #[prost(message, optional, tag = "10")]
    ship_to: Option<common::Place>,
    #[prost(int64, tag = "11")]
    accepted_time_ms: i64,
    #[prost(uint64, tag = "12")]
    number: u64,
    #[prost(message, optional, tag = "50")]
    handling: Option<Handling>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DocumentValue {
    /// Set for a return.
    #[prost(message, optional, tag = "1")]
    stock_key: Option<common::StockKey>,
    #[prost(int64, tag = "2")]
    quantity: i64,
    #[prost(int64, tag = "3")]
    inspected: i64,
    /// Set for a return.
    #[prost(message, optional, tag = "50")]
    waiting: Option<Waiting>,
    /// Set for a sale.
    #[prost(message, optional, tag = "51")]
    sale: Option<SaleDocument>,
    /// Set for a refund.
    #[prost(message, optional, tag = "52")]
    refund: Option<RefundDocument>,
    /// Set for a transfer.
    #[prost(message, optional, tag = "53")]
    transfer: Option<TransferDocument>,
}

impl Change {
    /// The key.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Meta(_) => Key::Meta,
            Self::Item(item, _) => Key::Item(item.clone()),
            Self::Cell(key, _) => Key::Cell(key.clone()),
            Self::Allocation(id, _) => Key::Allocation(*id),
            Self::TaskNumber(number, _) => Key::TaskNumber(*number),
            Self::TaskOfOrder(order, number, _) => Key::TaskOfOrder(order.clone(), *number),
            Self::OpenTask(number, _) => Key::OpenTask(*number),
            Self::Document(kind, id, _) => Key::Document(*kind, id.clone()),
            Self::Outbound(key, _) => Key::Outbound(key.clone()),
            Self::Request(id, ..) | Self::ForgetRequest(id) => Key::Request(*id),
            Self::Policy(scope, _) => Key::Policy(scope.clone()),
            Self::Site(change) => Key::Site(Box::new(change.key())),
        }
    }

    /// As the store keeps it: the key, and the value; `None` removes the key.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        (self.key().encode(), self.encode_value())
    }

    fn encode_value(&self) -> Option<Vec<u8>> {
        Some(match self {
            Self::Meta(Meta { time, incarnation, accepted, forgotten_upto_ms, requests, issued }) => MetaValue {
                time_ms: time.0,
                incarnation: incarnation.0,
                accepted: *accepted,
                forgotten_upto_ms: *forgotten_upto_ms,
                requests: *requests,
                issued: *issued,
            }
            .encode_to_vec(),
            Self::Item(_, item) => item.encode_to_vec(),
            Self::Cell(_, cell) => cell.encode_to_vec(),
            Self::Allocation(_, allocation) => encode_allocation(allocation).encode_to_vec(),
            Self::TaskNumber(_, id) | Self::TaskOfOrder(_, _, id) | Self::OpenTask(_, Some(id)) => {
                TaskValue::write(*id)
            }
            Self::OpenTask(_, None) => return None,
            Self::Document(_, _, document) => encode_document(document).encode_to_vec(),
            Self::Outbound(_, Some(value)) => value.encode(),
            Self::Outbound(_, None) => return None,
            Self::Request(_, BodyHash(hash), answer) => [hash.as_slice(), answer].concat(),
            Self::ForgetRequest(_) => return None,
            Self::Policy(_, policy) => policy.encode_to_vec(),
            Self::Site(change) => return change.encode_value(),
        })
    }

    /// Reads a key value. `Ok(None)` for keys that are the shell's.
    ///
    /// # Errors
    /// [`CorruptValue`].
    pub fn decode(key: Key, value: &[u8]) -> Result<Option<Self>, CorruptValue> {
        Self::decode_value(&key, value).map_err(|why| CorruptValue { key, why })
    }

    fn decode_value(key: &Key, value: &[u8]) -> Result<Option<Self>, String> {
        Ok(Some(match key {
            Key::Format
            | Key::FeedHead
            | Key::FeedEntry { .. }
            | Key::Cursor(_)
            | Key::Consumer(_)
            | Key::Checkpoint
            | Key::CheckpointCell(_)
            | Key::CheckpointWork(_)
            | Key::Recovery => return Ok(None),
            Key::Meta => {
                let MetaValue { time_ms, incarnation, accepted, forgotten_upto_ms, requests, issued } = read(value)?;
                let incarnation = Incarnation(incarnation);
                Self::Meta(Meta { time: LogTime(time_ms), incarnation, accepted, forgotten_upto_ms, requests, issued })
            }
            Key::Item(item) => Self::Item(item.clone(), read(value)?),
            Key::Cell(key) => Self::Cell(key.clone(), read(value)?),
            Key::Allocation(id) => Self::Allocation(*id, decode_allocation(read(value)?)?),
            Key::TaskNumber(number) => Self::TaskNumber(*number, task(value)?),
            Key::TaskOfOrder(order, number) => Self::TaskOfOrder(order.clone(), *number, task(value)?),
            Key::OpenTask(number) => Self::OpenTask(*number, Some(task(value)?)),
            Key::Document(kind, id) => Self::Document(*kind, id.clone(), decode_document(read(value)?)?),
            Key::Policy(scope) => Self::Policy(scope.clone(), read(value)?),
            Key::Site(key) => Self::Site(SiteChange::decode(key, value)?),
            Key::Outbound(key) => Self::Outbound(key.clone(), Some(OutboundValue::decode(key, value)?)),
            Key::Request(id) => {
                let (hash, answer) = split_request(value).ok_or("shorter than its body hash")?;
                Self::Request(*id, hash, answer.to_vec())
            }
        }))
    }
}

/// Takes the value of a remembered request apart: body hash and encoded answer.
#[must_use]
pub fn split_request(value: &[u8]) -> Option<(BodyHash, &[u8])> {
    let (hash, answer) = value.split_first_chunk::<16>()?;
    Some((BodyHash(*hash), answer))
}

fn task(value: &[u8]) -> Result<AllocationId, String> {
    TaskValue::read(value).ok_or_else(|| "no allocation id".to_owned())
}

fn read<M: Message + Default>(value: &[u8]) -> Result<M, String> {
    M::decode(value).map_err(|error| error.to_string())
}

fn encode_allocation(allocation: &Allocation) -> AllocationValue {
    let Allocation {
        order_id,
        line,
        stock_key,
        quantity,
        picked,
        packed,
        shipped,
        cancelled,
        lost,
        ship_to,
        accepted_time,
        number,
        handling,
    } = allocation;
    AllocationValue {
        order_id: order_id.to_string(),
        line: *line,
        stock_key: Some(stock_key.into()),
        quantity: *quantity,
        picked: *picked,
        packed: *packed,
        shipped: *shipped,
        cancelled: *cancelled,
        lost: *lost,
        ship_to: ship_to.clone(),
        accepted_time_ms: accepted_time.0,
        number: *number,
        handling: (*handling != Handling::default()).then(|| handling.clone()),
    }
}

fn decode_allocation(value: AllocationValue) -> Result<Allocation, String> {
    Ok(Allocation {
        order_id: OrderId::new(&value.order_id).map_err(|reject| reject.to_string())?,
        line: value.line,
        stock_key: convert::stock_key(&value.stock_key, "stock_key").map_err(|reject| reject.to_string())?,
        quantity: value.quantity,
        picked: value.picked,
        packed: value.packed,
        shipped: value.shipped,
        cancelled: value.cancelled,
        lost: value.lost,
        ship_to: value.ship_to,
        accepted_time: LogTime(value.accepted_time_ms),
        number: value.number,
        handling: value.handling.unwrap_or_default(),
    })
}

fn encode_document(document: &Document) -> DocumentValue {
    match document {
        Document::Taken => DocumentValue::default(),
        Document::Return { stock_key, quantity, inspected, waiting } => DocumentValue {
            stock_key: Some(stock_key.into()),
            quantity: *quantity,
            inspected: *inspected,
            waiting: (*waiting != Waiting::default()).then_some(*waiting),
            ..DocumentValue::default()
        },
        Document::Sale(sale) => DocumentValue { sale: Some(sale.clone()), ..DocumentValue::default() },
        Document::Refund(refund) => DocumentValue { refund: Some(refund.clone()), ..DocumentValue::default() },
        Document::Transfer(transfer) => DocumentValue { transfer: Some(transfer.clone()), ..DocumentValue::default() },
    }
}

fn decode_document(value: DocumentValue) -> Result<Document, String> {
    let DocumentValue { stock_key, quantity, inspected, waiting, sale, refund, transfer } = value;
    Ok(match (stock_key, sale, refund, transfer) {
        (None, None, None, None) => Document::Taken,
        (None, Some(sale), None, None) => Document::Sale(sale),
        (None, None, Some(refund), None) => Document::Refund(refund),
        (None, None, None, Some(transfer)) => Document::Transfer(transfer),
        (stock_key @ Some(_), None, None, None) => {
            let stock_key = convert::stock_key(&stock_key, "stock_key").map_err(|reject| reject.to_string())?;
            Document::Return { stock_key, quantity, inspected, waiting: waiting.unwrap_or_default() }
        }
        _ => return Err("a document of two kinds".to_owned()),
    })
}

/// The node's name as feeds write it.
#[must_use]
pub fn participant(node: &NodeId) -> String {
    format!("node/{node}")
}
