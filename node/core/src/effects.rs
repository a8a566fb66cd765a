//! What goes into a command beside itself, and what comes out.
//!
//! Must not know: how changes are made durable, or how an answer travels.

use prost::Message;
use stockmesh_proto::feed::v1::EntryBody;
use stockmesh_proto::node::v1 as api;
use stockmesh_types::{BusinessDate, LogTime, Principal, RequestId};

use crate::change::Change;
use crate::requests::BodyHash;

/// A request's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestStamp {
    /// Id.
    pub id: RequestId,
    /// Hash of its body.
    pub body: BodyHash,
}

/// When, and who.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The node's clock.
    pub now: LogTime,
    /// The node's business date.
    pub business_date: BusinessDate,
    /// Who caused it, as the connection proved it.
    pub principal: Principal,
    /// The request; `None` for what comes over a feed or from the node itself, which are exactly-once by other means.
    pub request: Option<RequestStamp>,
}

/// What must become durable together, and the answer that may leave afterwards.
#[derive(Clone, Debug, PartialEq)]
pub struct Effects {
    /// Key values.
    pub changes: Vec<Change>,
    /// Bodies of feed entries, in order.
    pub entries: Vec<EntryBody>,
    /// Answer.
    pub answer: Answer,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Nobody waits for more.
    Done,
    /// The request took effect before: its first answer is in the store, under its id.
    Repeated(RequestId),
    /// ReceiveStock.
    StockReceived(api::ReceiveStockResponse),
    /// SellAtCounter.
    SoldAtCounter(api::SellAtCounterResponse),
    /// PickItems.
    Picked(api::PickItemsResponse),
    /// PackItems.
    Packed(api::PackItemsResponse),
    /// ShipItems.
    Shipped(api::ShipItemsResponse),
    /// DeclineAllocation.
    Declined(api::DeclineAllocationResponse),
    /// AdjustStock.
    Adjusted(api::AdjustStockResponse),
    /// ReceiveReturn.
    ReturnReceived(api::ReceiveReturnResponse),
    /// InspectReturn.
    ReturnInspected(api::InspectReturnResponse),
    /// MoveStock.
    Moved(api::MoveStockResponse),
    /// PutAwayStock.
    PutAway(api::PutAwayStockResponse),
    /// SetBins.
    BinsSet(api::SetBinsResponse),
    /// ExpireLots.
    LotsExpired(api::ExpireLotsResponse),
    /// ResolveException.
    ExceptionResolved(api::ResolveExceptionResponse),
    /// CloseInbound.
    InboundClosed(Box<api::CloseInboundResponse>),
    /// ResolveReceiptDifference.
    DifferenceResolved(api::ResolveReceiptDifferenceResponse),
    /// RequestCount.
    CountRequested(Box<api::RequestCountResponse>),
    /// StartCount.
    CountStarted(Box<api::StartCountResponse>),
    /// RecordCount.
    CountRecorded(Box<api::RecordCountResponse>),
    /// FinishCount.
    CountFinished(Box<api::FinishCountResponse>),
    /// ReviewCount.
    CountReviewed(Box<api::ReviewCountResponse>),
    /// CancelCount.
    CountCancelled(Box<api::CancelCountResponse>),
    /// ReviewGrants: more cells follow after this one; `None`: all were looked at.
    GrantsReviewed(Option<stockmesh_types::StockKey>),
}

impl Answer {
    /// As the store keeps the answer of a request: a number for its kind, then the message. Empty where no request can ask
    /// for it again.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, message) = match self {
            Self::Done | Self::Repeated(_) | Self::GrantsReviewed(_) => return Vec::new(),
            Self::StockReceived(message) => (1, message.encode_to_vec()),
            Self::SoldAtCounter(message) => (2, message.encode_to_vec()),
            Self::Picked(message) => (3, message.encode_to_vec()),
            Self::Packed(message) => (4, message.encode_to_vec()),
            Self::Shipped(message) => (5, message.encode_to_vec()),
            Self::Declined(message) => (6, message.encode_to_vec()),
            Self::Adjusted(message) => (7, message.encode_to_vec()),
            Self::ReturnReceived(message) => (8, message.encode_to_vec()),
            Self::ReturnInspected(message) => (9, message.encode_to_vec()),
            Self::Moved(message) => (30, message.encode_to_vec()),
            Self::PutAway(message) => (31, message.encode_to_vec()),
            Self::BinsSet(message) => (32, message.encode_to_vec()),
            Self::LotsExpired(message) => (33, message.encode_to_vec()),
            Self::ExceptionResolved(message) => (34, message.encode_to_vec()),
            Self::InboundClosed(message) => (35, message.encode_to_vec()),
            Self::DifferenceResolved(message) => (36, message.encode_to_vec()),
            Self::CountRequested(message) => (37, message.encode_to_vec()),
            Self::CountStarted(message) => (38, message.encode_to_vec()),
            Self::CountRecorded(message) => (39, message.encode_to_vec()),
            Self::CountFinished(message) => (40, message.encode_to_vec()),
            Self::CountReviewed(message) => (41, message.encode_to_vec()),
            Self::CountCancelled(message) => (42, message.encode_to_vec()),
        };
        [&[kind], message.as_slice()].concat()
    }

    /// Reads what [`Answer::encode`] wrote; `None` when it is damaged.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, message) = bytes.split_first()?;
        Some(match kind {
            1 => Self::StockReceived(Message::decode(message).ok()?),
            2 => Self::SoldAtCounter(Message::decode(message).ok()?),
            3 => Self::Picked(Message::decode(message).ok()?),
            4 => Self::Packed(Message::decode(message).ok()?),
            5 => Self::Shipped(Message::decode(message).ok()?),
            6 => Self::Declined(Message::decode(message).ok()?),
            7 => Self::Adjusted(Message::decode(message).ok()?),
            8 => Self::ReturnReceived(Message::decode(message).ok()?),
            9 => Self::ReturnInspected(Message::decode(message).ok()?),
            30 => Self::Moved(Message::decode(message).ok()?),
            31 => Self::PutAway(Message::decode(message).ok()?),
            32 => Self::BinsSet(Message::decode(message).ok()?),
            33 => Self::LotsExpired(Message::decode(message).ok()?),
            34 => Self::ExceptionResolved(Message::decode(message).ok()?),
            35 => Self::InboundClosed(Box::new(Message::decode(message).ok()?)),
            36 => Self::DifferenceResolved(Message::decode(message).ok()?),
            37 => Self::CountRequested(Box::new(Message::decode(message).ok()?)),
            38 => Self::CountStarted(Box::new(Message::decode(message).ok()?)),
            39 => Self::CountRecorded(Box::new(Message::decode(message).ok()?)),
            40 => Self::CountFinished(Box::new(Message::decode(message).ok()?)),
            41 => Self::CountReviewed(Box::new(Message::decode(message).ok()?)),
            42 => Self::CountCancelled(Box::new(Message::decode(message).ok()?)),
            _ => return None,
        })
    }
}
