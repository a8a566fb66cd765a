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
    /// Sell.
    Sell(api::SellResponse),
    /// RecordSale.
    SaleRecorded(api::RecordSaleResponse),
    /// VoidSale.
    SaleVoided(api::VoidSaleResponse),
    /// ReturnAtCounter.
    ReturnedAtCounter(api::ReturnAtCounterResponse),
    /// ReceiveTransfer.
    TransferReceived(api::ReceiveTransferResponse),
    /// HoldFulfillmentOrder.
    FulfillmentHeld(api::HoldFulfillmentOrderResponse),
    /// ResumeFulfillmentOrder.
    FulfillmentResumed(api::ResumeFulfillmentOrderResponse),
    /// RejectFulfillmentOrder.
    FulfillmentRejected(api::RejectFulfillmentOrderResponse),
    /// ReportShortPick.
    ShortPick(api::ReportShortPickResponse),
    /// PickWeighed.
    PickedByWeight(api::PickWeighedResponse),
    /// CreateWave.
    WaveCreated(api::CreateWaveResponse),
    /// SetCapacity.
    CapacitySet(api::SetCapacityResponse),
    /// StagePickup.
    PickupStaged(api::StagePickupResponse),
    /// ReplacePickupCode.
    PickupCodeReplaced(api::ReplacePickupCodeResponse),
    /// HandOverPickup.
    PickupHandedOver(api::HandOverPickupResponse),
    /// ExpirePickups.
    PickupsExpired(api::ExpirePickupsResponse),
    /// AssembleKits.
    KitsAssembled(api::AssembleKitsResponse),
    /// DisassembleKits.
    KitsDisassembled(api::DisassembleKitsResponse),
    /// FinishDisposition.
    DispositionFinished(api::FinishDispositionResponse),
    /// RequestRefund.
    RefundRequested(api::RequestRefundResponse),
    /// HandOverPickup: the code is wrong, and so many more may be tried before it must be replaced.
    WrongPickupCode(u32),
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
            Self::Sell(message) => (50, message.encode_to_vec()),
            Self::SaleRecorded(message) => (51, message.encode_to_vec()),
            Self::SaleVoided(message) => (52, message.encode_to_vec()),
            Self::ReturnedAtCounter(message) => (53, message.encode_to_vec()),
            Self::TransferReceived(message) => (54, message.encode_to_vec()),
            Self::FulfillmentHeld(message) => (55, message.encode_to_vec()),
            Self::FulfillmentResumed(message) => (56, message.encode_to_vec()),
            Self::FulfillmentRejected(message) => (57, message.encode_to_vec()),
            Self::ShortPick(message) => (58, message.encode_to_vec()),
            Self::PickedByWeight(message) => (59, message.encode_to_vec()),
            Self::WaveCreated(message) => (60, message.encode_to_vec()),
            Self::CapacitySet(message) => (61, message.encode_to_vec()),
            Self::PickupStaged(message) => (62, message.encode_to_vec()),
            Self::PickupCodeReplaced(message) => (63, message.encode_to_vec()),
            Self::PickupHandedOver(message) => (64, message.encode_to_vec()),
            Self::PickupsExpired(message) => (65, message.encode_to_vec()),
            Self::KitsAssembled(message) => (66, message.encode_to_vec()),
            Self::KitsDisassembled(message) => (67, message.encode_to_vec()),
            Self::DispositionFinished(message) => (68, message.encode_to_vec()),
            Self::RefundRequested(message) => (69, message.encode_to_vec()),
            Self::WrongPickupCode(left) => (70, left.to_be_bytes().to_vec()),
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
            50 => Self::Sell(Message::decode(message).ok()?),
            51 => Self::SaleRecorded(Message::decode(message).ok()?),
            52 => Self::SaleVoided(Message::decode(message).ok()?),
            53 => Self::ReturnedAtCounter(Message::decode(message).ok()?),
            54 => Self::TransferReceived(Message::decode(message).ok()?),
            55 => Self::FulfillmentHeld(Message::decode(message).ok()?),
            56 => Self::FulfillmentResumed(Message::decode(message).ok()?),
            57 => Self::FulfillmentRejected(Message::decode(message).ok()?),
            58 => Self::ShortPick(Message::decode(message).ok()?),
            59 => Self::PickedByWeight(Message::decode(message).ok()?),
            60 => Self::WaveCreated(Message::decode(message).ok()?),
            61 => Self::CapacitySet(Message::decode(message).ok()?),
            62 => Self::PickupStaged(Message::decode(message).ok()?),
            63 => Self::PickupCodeReplaced(Message::decode(message).ok()?),
            64 => Self::PickupHandedOver(Message::decode(message).ok()?),
            65 => Self::PickupsExpired(Message::decode(message).ok()?),
            66 => Self::KitsAssembled(Message::decode(message).ok()?),
            67 => Self::KitsDisassembled(Message::decode(message).ok()?),
            68 => Self::DispositionFinished(Message::decode(message).ok()?),
            69 => Self::RefundRequested(Message::decode(message).ok()?),
            70 => Self::WrongPickupCode(u32::from_be_bytes(message.try_into().ok()?)),
            _ => return None,
        })
    }
}
