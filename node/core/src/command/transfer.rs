//! ReceiveTransfer: goods that another node shipped are booked in: in order, damaged, missing.
//!
//! They may come before the coordinator announced them: they are here all the same, and are booked. What was shipped is compared with
//! what arrived by the coordinator, who hears both sides.
//!
//! Must not know: what the shipper did.

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{TransferReceived, TransferReceivedLine};
use stockmesh_proto::node::v1::ReceiveTransferResponse;
use stockmesh_types::{ExceptionCode, NodeId, OrderId, Quantity, Reason, Reject, StockKey};

use crate::change::{Document, DocumentKind};
use crate::documents::{TransferDocument, TransferLine};
use crate::draft::Draft;
use crate::effects::Answer;
use crate::site::{Condition, UnitGroup};

/// Lines of one transfer that a node keeps: what must fit into one value of the store.
const MAX_TRANSFER_LINES: usize = 500;

/// Books goods of a transfer in.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiveTransfer {
    /// Receipt number, unique at the node.
    pub receipt_id: OrderId,
    /// Transfer.
    pub transfer_id: OrderId,
    /// Node that the goods came from.
    pub source_node: NodeId,
    /// Lines, 1 or more.
    pub lines: Vec<TransferReceiptLine>,
}

/// One line of it; something of it is not 0.
#[derive(Clone, Debug, PartialEq)]
pub struct TransferReceiptLine {
    /// Line of the transfer.
    pub line: u32,
    /// Stock key.
    pub stock_key: StockKey,
    /// Base units in order.
    pub quantity: Quantity,
    /// Base units damaged.
    pub damaged: Quantity,
    /// Base units that did not come.
    pub short: Quantity,
    /// Which of those in order; empty: not told.
    pub units: Vec<UnitGroup>,
}

impl ReceiveTransfer {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { receipt_id, transfer_id, source_node, lines } = self;
        if source_node == *draft.node() {
            let message = "a transfer comes from another node";
            return Err(Reject::new(Reason::InvalidValue, message).field("source_node"));
        }
        draft.new_document(DocumentKind::Receipt, &receipt_id, Document::Taken, "receipt_id")?;
        let mut progress = match draft.document(DocumentKind::Transfer, &transfer_id) {
            Some(Document::Transfer(progress)) => progress,
            _ => TransferDocument { source_node: source_node.to_string(), lines: Vec::new() },
        };
        if progress.source_node != source_node.as_str() {
            let message = format!("transfer {transfer_id} came from {} so far", progress.source_node);
            return Err(Reject::new(Reason::InvalidValue, message).field("source_node"));
        }
        let mut said = Vec::with_capacity(lines.len());
        for (n, line) in lines.iter().enumerate() {
            said.push(
                book_in(draft, &transfer_id, &mut progress, line)
                    .map_err(|reject| reject.within(&format!("lines[{n}]")))?,
            );
        }
        draft.put_document(DocumentKind::Transfer, &transfer_id, Document::Transfer(progress));
        draft.say(Fact::TransferReceived(TransferReceived {
            receipt_id: receipt_id.to_string(),
            transfer_id: transfer_id.to_string(),
            source_node: source_node.to_string(),
            lines: said,
        }));
        for line in &lines {
            for (code, units, words) in [
                (ExceptionCode::DamagedInTransit, line.damaged, "arrived damaged"),
                (ExceptionCode::TransferShort, line.short, "did not arrive"),
            ] {
                if units > 0 {
                    let words = format!("{units} units of {} of transfer {transfer_id} {words}", line.stock_key);
                    draft.except(code, Some(&line.stock_key), units, "transfer", transfer_id.as_str(), words);
                }
            }
        }
        draft.settle();
        let levels = draft.levels(lines.iter().map(|line| &line.stock_key));
        Ok(Answer::TransferReceived(ReceiveTransferResponse { receipt_id: receipt_id.to_string(), levels }))
    }
}

fn book_in(
    draft: &mut Draft<'_>,
    transfer_id: &OrderId,
    progress: &mut TransferDocument,
    line: &TransferReceiptLine,
) -> Result<TransferReceivedLine, Reject> {
    let TransferReceiptLine { line: number, stock_key, quantity, damaged, short, units } = line;
    draft.ranged(&stock_key.item).map_err(|reject| reject.field("stock_key.item"))?;
    draft.fits(stock_key, quantity + damaged)?;
    let units = match quantity {
        0 => Vec::new(),
        _ => draft.identified(stock_key, *quantity, units.clone(), draft.meta.time.date())?,
    };
    let wire = Some(stock_key.into());
    let place = progress.lines.iter().position(|known| known.line == *number).unwrap_or(progress.lines.len());
    if place == progress.lines.len() {
        if place == MAX_TRANSFER_LINES {
            let message = format!("a transfer has at most {MAX_TRANSFER_LINES} lines here");
            return Err(Reject::new(Reason::TooManyLines, message).field("line"));
        }
        progress.lines.push(TransferLine { line: *number, stock_key: wire.clone(), ..TransferLine::default() });
    }
    let known = &mut progress.lines[place];
    if known.stock_key != wire {
        let message = format!("line {number} of the transfer was booked as other goods before");
        return Err(Reject::new(Reason::InvalidValue, message).field("stock_key"));
    }
    known.received += quantity;
    known.damaged += damaged;
    known.short += short;
    let said = TransferReceivedLine {
        line: *number,
        stock_key: wire,
        quantity: *quantity,
        damaged: *damaged,
        short: *short,
        received_total: known.received,
        damaged_total: known.damaged,
        short_total: known.short,
        units: UnitGroup::to_wire(&units),
    };
    draft.put_units(stock_key, Condition::Sellable, &units)?;
    super::inbound::transfer_came(draft, transfer_id, *number, stock_key, *quantity, *damaged);
    let cell = draft.cell(stock_key);
    cell.damaged += damaged;
    cell.transferred_in_total += quantity + damaged;
    Ok(said)
}
