//! SellAtCounter: a walk-in buys what the node retained. Rights that were granted are never touched, whatever is on the shelf.

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{CounterSaleLine, SoldAtCounter};
use stockmesh_proto::node::v1::SellAtCounterResponse;
use stockmesh_types::{Currency, OrderId, Quantity, Reason, Reject, StockKey};

use super::sale::content_of;
use crate::change::{Document, DocumentKind};
use crate::documents::SaleDocument;
use crate::draft::Draft;
use crate::effects::{Answer, Context};
use crate::requests::AHEAD_MS;

/// Sells at the counter.
#[derive(Clone, Debug, PartialEq)]
pub struct SellAtCounter {
    /// Till document, unique at the node.
    pub sale_id: OrderId,
    /// Currency of every amount.
    pub currency: Currency,
    /// Lines, 1 or more.
    pub lines: Vec<SaleLine>,
    /// Tender.
    pub tender: common::Tender,
    /// When it takes place, milliseconds since 1970-01-01T00:00:00Z; `None`: now.
    pub sold_time_ms: Option<i64>,
}

/// One line of a sale.
#[derive(Clone, Debug, PartialEq)]
pub struct SaleLine {
    /// What is sold.
    pub stock_key: StockKey,
    /// Base units, positive.
    pub quantity: Quantity,
    /// Price of the whole line.
    pub price: common::LinePrice,
}

impl SellAtCounter {
    /// The sale as facts tell it.
    pub(super) fn fact(&self, sold_time_ms: i64) -> SoldAtCounter {
        let wire_line = |line: &SaleLine| CounterSaleLine {
            stock_key: Some((&line.stock_key).into()),
            quantity: line.quantity,
            price: Some(line.price.clone()),
            units: Vec::new(),
        };
        SoldAtCounter {
            sale_id: self.sale_id.to_string(),
            currency_code: self.currency.code().to_owned(),
            lines: self.lines.iter().map(wire_line).collect(),
            tender: self.tender.into(),
            sold_time_ms,
        }
    }

    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let sold_time_ms = self.sold_time_ms.unwrap_or(context.now.0);
        if sold_time_ms > context.now.0 + AHEAD_MS {
            let message = "sold_time_ms lies more than 5 minutes in the future";
            return Err(Reject::new(Reason::InvalidDate, message).field("sold_time_ms"));
        }
        let fact = self.fact(sold_time_ms);
        let Self { sale_id, lines, .. } = self;
        let document = Document::Sale(SaleDocument::of(content_of(&fact)));
        draft.new_document(DocumentKind::Sale, &sale_id, document, "sale_id")?;
        for (n, line) in lines.iter().enumerate() {
            take(draft, line).map_err(|reject| reject.within(&format!("lines[{n}]")))?;
        }
        let keys: Vec<StockKey> = lines.iter().map(|line| line.stock_key.clone()).collect();
        draft.say(Fact::SoldAtCounter(fact));
        draft.settle();
        let levels = draft.levels(keys.iter());
        Ok(Answer::SoldAtCounter(SellAtCounterResponse { sale_id: sale_id.to_string(), levels }))
    }
}

fn take(draft: &mut Draft<'_>, line: &SaleLine) -> Result<(), Reject> {
    let SaleLine { stock_key, quantity, price: _ } = line;
    draft.ranged(&stock_key.item).map_err(|reject| reject.field("stock_key.item"))?;
    let cell = draft.cell(stock_key);
    let retained = cell.retained().min(cell.on_hand);
    if retained < *quantity {
        let message = format!(
            "{} units of {stock_key} may be sold at the counter, {quantity} asked; {} are on hand, {} of them promised away",
            retained.max(0),
            cell.on_hand,
            cell.outstanding()
        );
        return Err(Reject::new(Reason::InsufficientRetained, message).field("quantity"));
    }
    cell.on_hand -= quantity;
    cell.sold_total += quantity;
    Ok(())
}
