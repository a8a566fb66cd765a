//! Records of a site that commands open and close: exceptions, expected receipts, counts. Written to the store as they are
//! (protobuf messages of the store's own): fields may be added, numbers are never used again.
//!
//! Must not know: which command changes them.

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_types::Quantity;

/// An exception that is open. Forgotten when it is closed: the feed keeps both.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Exception {
    /// As it was raised.
    #[prost(message, optional, tag = "1")]
    pub raised: Option<feed::ExceptionRaised>,
    /// When, milliseconds since 1970-01-01T00:00:00Z.
    #[prost(int64, tag = "2")]
    pub raised_time_ms: i64,
    /// Units that it holds in receiving.
    #[prost(message, optional, tag = "3")]
    pub held: Option<Held>,
}

/// Units that an exception holds in receiving.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Held {
    /// Base units that are still held.
    #[prost(int64, tag = "1")]
    pub quantity: Quantity,
    /// They arrived damaged; else they were too many.
    #[prost(bool, tag = "2")]
    pub damaged: bool,
    /// Receipt that they were booked in with.
    #[prost(string, tag = "3")]
    pub receipt_id: String,
    /// Expected receipt.
    #[prost(string, tag = "4")]
    pub inbound_id: String,
    /// Line of it.
    #[prost(uint32, tag = "5")]
    pub inbound_line: u32,
    /// Decisions so far.
    #[prost(uint32, tag = "6")]
    pub parts: u32,
    /// Which units are still held.
    #[prost(message, repeated, tag = "7")]
    pub units: Vec<common::UnitGroup>,
}

/// An expected receipt, as announced and as it came. Forgotten some time after it was closed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Inbound {
    /// `stockmesh.feed.v1.InboundKind`.
    #[prost(enumeration = "feed::InboundKind", tag = "1")]
    pub kind: i32,
    /// Purchase order or transfer.
    #[prost(string, tag = "2")]
    pub reference: String,
    /// Supplier or sending node.
    #[prost(string, tag = "3")]
    pub source: String,
    /// ISO 8601; empty: not stated.
    #[prost(string, tag = "4")]
    pub expected_date: String,
    /// Revision.
    #[prost(uint64, tag = "5")]
    pub revision: u64,
    /// Lines.
    #[prost(message, repeated, tag = "6")]
    pub lines: Vec<InboundLine>,
    /// The node receives no more against it.
    #[prost(bool, tag = "7")]
    pub closed: bool,
    /// When it was closed, milliseconds since 1970-01-01T00:00:00Z.
    #[prost(int64, tag = "8")]
    pub closed_time_ms: i64,
    /// Advance ship notices.
    #[prost(message, repeated, tag = "9")]
    pub notices: Vec<feed::ShipNotice>,
}

/// A line of an expected receipt.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InboundLine {
    /// Line, from 1.
    #[prost(uint32, tag = "1")]
    pub line: u32,
    /// Stock key.
    #[prost(message, optional, tag = "2")]
    pub stock_key: Option<common::StockKey>,
    /// Base units expected in all.
    #[prost(int64, tag = "3")]
    pub expected: Quantity,
    /// Base units received in all, held ones included.
    #[prost(int64, tag = "4")]
    pub received: Quantity,
    /// Base units, of those still to arrive, that orders wait for.
    #[prost(int64, tag = "5")]
    pub claimed: Quantity,
    /// Cost of all that is expected, tax excluded.
    #[prost(message, optional, tag = "6")]
    pub cost: Option<common::Money>,
}

/// A count that is open.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Count {
    /// `stockmesh.feed.v1.CountState`.
    #[prost(enumeration = "feed::CountState", tag = "1")]
    pub state: i32,
    /// What is counted.
    #[prost(message, optional, tag = "2")]
    pub scope: Option<feed::CountScope>,
    /// Counters don't see what is expected.
    #[prost(bool, tag = "3")]
    pub blind: bool,
    /// Note.
    #[prost(string, tag = "4")]
    pub reference: String,
    /// Lines.
    #[prost(uint32, tag = "5")]
    pub lines: u32,
    /// When it was asked for, milliseconds since 1970-01-01T00:00:00Z.
    #[prost(int64, tag = "6")]
    pub requested_time_ms: i64,
    /// Who asked for it.
    #[prost(message, optional, tag = "7")]
    pub requested_by: Option<common::Principal>,
    /// The exception that has it reviewed; empty: none.
    #[prost(string, tag = "8")]
    pub exception_id: String,
}

/// A line of a count that is open.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CountLine {
    /// Stock key.
    #[prost(message, optional, tag = "1")]
    pub stock_key: Option<common::StockKey>,
    /// Bin; empty: all sellable units.
    #[prost(string, tag = "2")]
    pub bin: String,
    /// Lot; empty: not told apart.
    #[prost(string, tag = "3")]
    pub lot: String,
    /// Latest figure.
    #[prost(message, optional, tag = "4")]
    pub figure: Option<Figure>,
    /// How often it was counted.
    #[prost(uint32, tag = "5")]
    pub attempts: u32,
    /// Everybody who counted it.
    #[prost(message, repeated, tag = "6")]
    pub counters: Vec<common::Principal>,
    /// To be counted again.
    #[prost(bool, tag = "7")]
    pub recount: bool,
    /// How the record moved since people began, oldest first, at most [`MAX_TRACE`].
    #[prost(message, repeated, tag = "8")]
    pub trace: Vec<Recorded>,
}

/// Movements that a line remembers while it is counted.
pub const MAX_TRACE: usize = 64;

/// What was seen, and what the record said.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Figure {
    /// Base units seen.
    #[prost(int64, tag = "1")]
    pub counted: Quantity,
    /// Base units on record as of `position_seq`.
    #[prost(int64, tag = "2")]
    pub expected: Quantity,
    /// Entry of the feed.
    #[prost(uint64, tag = "3")]
    pub position_seq: u64,
    /// As entered.
    #[prost(message, optional, tag = "4")]
    pub entered: Option<common::EnteredQuantity>,
    /// Serial numbers on record that were not seen.
    #[prost(string, repeated, tag = "5")]
    pub missing: Vec<String>,
    /// Serial numbers seen that were not on record.
    #[prost(string, repeated, tag = "6")]
    pub extra: Vec<String>,
}

/// The record as of an entry of the feed.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Recorded {
    /// Entry of the feed.
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    /// Base units on record since then.
    #[prost(int64, tag = "2")]
    pub expected: Quantity,
}
