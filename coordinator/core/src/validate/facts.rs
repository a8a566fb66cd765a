//! Facts of a node's feed, before they are logged: in the log, a fact that nobody can read would stop every replica.

use prost::Message;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{EntryBody, FeedEntry, FeedRef};
use stockmesh_types::{NodeId, Reason, Reject};

/// Cells that one log command may touch.
pub const MAX_CELLS: usize = 256;

/// The cells that a fact touches at the coordinator, at most.
pub(crate) fn cells_of(fact: &Fact) -> Option<usize> {
    match fact {
        Fact::RightsGranted(_)
        | Fact::AllocationDeclined(_)
        | Fact::CancellationAnswered(_)
        | Fact::RecallRequested(_)
        | Fact::ShortfallReported(_) => Some(1),
        Fact::ShipmentDispatched(shipment) => Some(shipment.lines.len()),
        Fact::TransferShipped(transfer) => Some(transfer.lines.len()),
        Fact::StockReceived(_)
        | Fact::AllocationAccepted(_)
        | Fact::EpochOpened(_)
        | Fact::RecoveryEnded(_)
        | Fact::ItemPicked(_)
        | Fact::ItemPacked(_)
        | Fact::SoldAtCounter(_)
        | Fact::ReturnReceived(_)
        | Fact::ReturnInspected(_)
        | Fact::StockMoved(_)
        | Fact::StockWrittenOff(_)
        | Fact::StockPutAway(_)
        | Fact::ReceiptDifferenceResolved(_)
        | Fact::InboundReceiptsClosed(_)
        | Fact::CountRequested(_)
        | Fact::StockCounted(_)
        | Fact::CountStateChanged(_)
        | Fact::BinsChanged(_)
        | Fact::ExceptionRaised(_)
        | Fact::ExceptionResolved(_)
        | Fact::StockAdjusted(_)
        | Fact::TransferReceived(_)
        | Fact::RefundRequested(_)
        | Fact::RefundPaidOffline(_)
        | Fact::SaleRecorded(_)
        | Fact::SaleVoided(_)
        | Fact::CounterRefundPaid(_)
        | Fact::FulfillmentHeld(_)
        | Fact::FulfillmentResumed(_)
        | Fact::WaveCreated(_)
        | Fact::CapacityReported(_)
        | Fact::PickupStaged(_)
        | Fact::PickupClosed(_)
        | Fact::KitsConverted(_)
        | Fact::DispositionFinished(_) => Some(0),
        // Not a node's facts.
        Fact::ItemRanged(_)
        | Fact::AllocationOpened(_)
        | Fact::CancellationRequested(_)
        | Fact::RightsReturned(_)
        | Fact::GrantPolicySet(_)
        | Fact::NodeEpochOpened(_)
        | Fact::NodeRetired(_)
        | Fact::DuplicatesAccepted(_)
        | Fact::InboundAnnounced(_)
        | Fact::InboundClosed(_)
        | Fact::RefundDecided(_)
        | Fact::ReturnAuthorised(_)
        | Fact::InboundClaimed(_)
        | Fact::ReturnAuthorisationClosed(_)
        | Fact::NodeRegistered(_)
        | Fact::OrderPlaced(_)
        | Fact::OrderLineCancelled(_)
        | Fact::RefundCommitted(_) => None,
    }
}

/// The node that writes a feed.
///
/// # Errors
/// [`Reason::UnknownFeed`] unless the participant is `node/<id>` and the feed is for everyone.
pub(crate) fn writer(feed: &FeedRef) -> Result<NodeId, Reject> {
    let unknown = || {
        let shown: String = feed.participant.chars().take(80).collect();
        Reject::new(Reason::UnknownFeed, format!("feed {shown:?} is not a node's feed: `node/<id>`, no destination"))
            .field("feed.participant")
    };
    let id = feed.participant.strip_prefix("node/").filter(|_| feed.destination.is_empty()).ok_or_else(unknown)?;
    NodeId::new(id).map_err(|_| unknown())
}

/// Checks that a batch can be logged: a node's feed, facts that this build knows, at most [`MAX_CELLS`] cells.
///
/// # Errors
/// [`Reason::UnknownFeed`], [`Reason::UnknownFact`], [`Reason::TooManyCells`].
pub fn facts(feed: &FeedRef, entries: &[FeedEntry]) -> Result<NodeId, Reject> {
    let node = writer(feed)?;
    let mut cells = 0;
    for entry in entries {
        cells += cells_of_entry(entry)?;
    }
    if cells > MAX_CELLS {
        let message = format!("the batch touches {cells} cells, and a command at most {MAX_CELLS}: cut it");
        return Err(Reject::new(Reason::TooManyCells, message).field("entries"));
    }
    Ok(node)
}

fn cells_of_entry(entry: &FeedEntry) -> Result<usize, Reject> {
    let refuse = |what: String| {
        Reject::new(Reason::UnknownFact, format!("entry {} {what}: upgrade the coordinator first", entry.seq))
            .field("entries")
    };
    let body = EntryBody::decode(entry.body.clone()).map_err(|error| refuse(format!("can't be decoded ({error})")))?;
    let fact = body.fact.ok_or_else(|| refuse("holds a fact that this build does not know".to_owned()))?;
    cells_of(&fact).ok_or_else(|| refuse("holds a fact that is not a node's".to_owned()))
}

/// How many of `entries` one command may hold: as many as touch at most [`MAX_CELLS`] cells together, and are at most
/// `max_bytes` long. Always at least 1 when there are any; cut again after it.
///
/// # Errors
/// [`Reason::UnknownFact`] when the first entry can't be logged at all; a later one that can't ends the batch before it.
pub fn cut_batch(entries: &[FeedEntry], max_bytes: usize) -> Result<usize, Reject> {
    let (mut cells, mut bytes) = (0, 0);
    for (n, entry) in entries.iter().enumerate() {
        let more = match cells_of_entry(entry) {
            Ok(more) => more,
            Err(reject) if n == 0 => return Err(reject),
            Err(_) => return Ok(n),
        };
        cells += more;
        bytes += entry.body.len();
        if n > 0 && (cells > MAX_CELLS || bytes > max_bytes) {
            return Ok(n);
        }
    }
    Ok(entries.len())
}
