//! ReceiveStock: goods arrive. Sellable units raise what the policy may grant, and cure a shortfall.

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{ReceiptKind, ReceiptLine as WireLine, StockReceived};
use stockmesh_proto::node::v1::ReceiveStockResponse;
use stockmesh_types::{Money, OrderId, Quantity, Reject, StockKey};

use crate::change::{Document, DocumentKind};
use crate::draft::Draft;
use crate::effects::Answer;

/// Books goods in.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiveStock {
    /// Receipt number, unique at the node.
    pub receipt_id: OrderId,
    /// Why.
    pub kind: ReceiptKind,
    /// Purchase order or other reference.
    pub reference: String,
    /// Lines, 1 or more.
    pub lines: Vec<ReceiptLine>,
}

/// One line of a receipt.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiptLine {
    /// What arrived.
    pub stock_key: StockKey,
    /// Base units, positive.
    pub quantity: Quantity,
    /// Condition.
    pub condition: ReceivedCondition,
    /// Cost of the whole line, tax excluded.
    pub cost: Money,
}

/// Conditions in which goods are booked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceivedCondition {
    /// Sellable at once.
    Sellable,
    /// Held for a decision.
    Quarantined,
    /// Damaged on arrival.
    Damaged,
}

impl ReceiveStock {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { receipt_id, kind, reference, lines } = self;
        draft.new_document(DocumentKind::Receipt, &receipt_id, Document::Taken, "receipt_id")?;
        for (n, line) in lines.iter().enumerate() {
            book_in(draft, line).map_err(|reject| reject.within(&format!("lines[{n}]")))?;
        }
        draft.say(Fact::StockReceived(StockReceived {
            receipt_id: receipt_id.to_string(),
            kind: kind.into(),
            reference,
            lines: lines.iter().map(wire_line).collect(),
            ..StockReceived::default()
        }));
        draft.settle();
        let levels = draft.levels(lines.iter().map(|line| &line.stock_key));
        Ok(Answer::StockReceived(ReceiveStockResponse {
            receipt_id: receipt_id.to_string(),
            levels,
            exception_ids: Vec::new(),
        }))
    }
}

fn book_in(draft: &mut Draft<'_>, line: &ReceiptLine) -> Result<(), Reject> {
    draft.ranged(&line.stock_key.item).map_err(|reject| reject.field("stock_key.item"))?;
    draft.fits(&line.stock_key, line.quantity)?;
    let cell = draft.cell(&line.stock_key);
    cell.received_total += line.quantity;
    match line.condition {
        ReceivedCondition::Sellable => cell.on_hand += line.quantity,
        ReceivedCondition::Quarantined => cell.quarantined += line.quantity,
        ReceivedCondition::Damaged => cell.damaged += line.quantity,
    }
    Ok(())
}

fn wire_line(line: &ReceiptLine) -> WireLine {
    let condition = match line.condition {
        ReceivedCondition::Sellable => common::Condition::Sellable,
        ReceivedCondition::Quarantined => common::Condition::Quarantined,
        ReceivedCondition::Damaged => common::Condition::Damaged,
    };
    WireLine {
        stock_key: Some((&line.stock_key).into()),
        quantity: line.quantity,
        condition: condition.into(),
        cost: Some(common::Money { currency_code: line.cost.currency.code().to_owned(), minor: line.cost.minor }),
        ..WireLine::default()
    }
}
