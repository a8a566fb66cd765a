//! What is kept of documents beside that their number is taken. Read from the store when a command names one.
//!
//! Messages of the store's own: fields may be added, numbers are never used again.
//!
//! Must not know: how a document changes.

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1::Disposition;
use stockmesh_proto::node::v1::RefundState;
use stockmesh_types::{Money, Quantity};

/// Base units of a return that wait for what their inspection decided.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Waiting {
    /// To be refurbished.
    #[prost(int64, tag = "1")]
    pub refurbish: Quantity,
    /// To be liquidated.
    #[prost(int64, tag = "2")]
    pub liquidate: Quantity,
    /// To go back to the supplier.
    #[prost(int64, tag = "3")]
    pub vendor: Quantity,
}

impl Waiting {
    /// The counter of a disposition; `None` for those that an inspection carries out itself.
    pub fn of(&mut self, disposition: Disposition) -> Option<&mut Quantity> {
        match disposition {
            Disposition::Refurbish => Some(&mut self.refurbish),
            Disposition::Liquidate => Some(&mut self.liquidate),
            Disposition::ReturnToVendor => Some(&mut self.vendor),
            Disposition::Resale | Disposition::WriteOff | Disposition::Unspecified => None,
        }
    }
}

/// A sale at the counter.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SaleDocument {
    /// Hash of its content, without its time; empty: not known.
    #[prost(bytes = "vec", tag = "1")]
    pub content: Vec<u8>,
    /// It was taken back as a whole.
    #[prost(bool, tag = "2")]
    pub voided: bool,
    /// Goods of it came back here.
    #[prost(bool, tag = "3")]
    pub returned: bool,
    /// Hash of the latest other content that came under its number; empty: none.
    #[prost(bytes = "vec", tag = "4")]
    pub conflict: Vec<u8>,
    /// The exception that was raised for it.
    #[prost(string, tag = "5")]
    pub exception_id: String,
}

impl SaleDocument {
    /// A sale of some content.
    #[must_use]
    pub fn of(content: Vec<u8>) -> Self {
        Self { content, ..Self::default() }
    }
}

/// A refund.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RefundDocument {
    /// Where it stands.
    #[prost(enumeration = "RefundState", tag = "1")]
    pub state: i32,
    /// Amount asked, committed or paid, minor units; 0: not decided.
    #[prost(int64, tag = "2")]
    pub amount_minor: i64,
    /// ISO 4217 code of the amount.
    #[prost(string, tag = "3")]
    pub currency_code: String,
    /// Why it was refused.
    #[prost(string, tag = "4")]
    pub refused_because: String,
}

impl RefundDocument {
    /// One that was paid here.
    #[must_use]
    pub fn paid(amount: Money) -> Self {
        Self {
            state: RefundState::PaidOffline.into(),
            amount_minor: amount.minor,
            currency_code: amount.currency.code().to_owned(),
            refused_because: String::new(),
        }
    }
}

/// What was booked of a transfer here.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TransferDocument {
    /// Node that the goods came from.
    #[prost(string, tag = "1")]
    pub source_node: String,
    /// Lines with something booked.
    #[prost(message, repeated, tag = "2")]
    pub lines: Vec<TransferLine>,
}

/// One line of it, cumulative base units.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TransferLine {
    /// Line of the transfer.
    #[prost(uint32, tag = "1")]
    pub line: u32,
    /// Stock key.
    #[prost(message, optional, tag = "2")]
    pub stock_key: Option<common::StockKey>,
    /// In order.
    #[prost(int64, tag = "3")]
    pub received: Quantity,
    /// Damaged.
    #[prost(int64, tag = "4")]
    pub damaged: Quantity,
    /// Declared missing.
    #[prost(int64, tag = "5")]
    pub short: Quantity,
}
