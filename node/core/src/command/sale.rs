//! Sell, RecordSale, VoidSale: what a counter asks, what a till reports, what is taken back.
//!
//! A recorded sale has happened, so it is booked whatever the stock says. What goes beyond the units retained was promised to
//! orders: a shortfall. What goes beyond the units on hand was sold before it was booked in: the next units that come are taken for
//! it ([`crate::cell::Cell::sold_ahead`]). A till document takes effect once: the same content again is answered and nothing else,
//! another content under the same number is set apart as an exception.
//!
//! Must not know: what a void or a sale is worth; prices travel through.

use sha2::{Digest, Sha256};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{RecallRequested, SaleRecorded, SaleVoided, SoldAtCounter, SoldBeyond};
use stockmesh_proto::node::v1::{RecordOutcome, RecordSaleResponse, SellOutcome, SellResponse, VoidSaleResponse};
use stockmesh_types::{ExceptionCode, MAX_QUANTITY, OrderId, Quantity, Reason, Reject, StockKey};

use super::sell::{SaleLine, SellAtCounter};
use crate::change::{Document, DocumentKind};
use crate::documents::SaleDocument;
use crate::draft::Draft;
use crate::effects::{Answer, Context};
use crate::requests::AHEAD_MS;

/// Sells at the counter, or asks for rights back.
#[derive(Clone, Debug, PartialEq)]
pub struct Sell {
    /// The sale.
    pub sale: SellAtCounter,
    /// When too few units are retained, ask the coordinator for free ones.
    pub recall: bool,
}

impl Sell {
    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { sale, recall } = self;
        let (sale_id, keys) = (sale.sale_id.clone(), keys_of(&sale.lines));
        draft.check_new_document(DocumentKind::Sale, &sale_id, "sale_id")?;
        let mut missing = Vec::new();
        for (n, (stock_key, quantity)) in wanted(&sale.lines).into_iter().enumerate() {
            if recall {
                draft.ranged(&stock_key.item).map_err(|reject| reject.field(format!("lines[{n}].stock_key.item")))?;
            }
            let cell = draft.cell(&stock_key);
            let retained = cell.retained().min(cell.on_hand).max(0);
            // Only what lies on the shelf and no order here holds could be given back for this sale.
            let free_at_most = (cell.on_hand - retained).min(cell.outstanding() - cell.open).max(0);
            let lacks = quantity - retained;
            if lacks > 0 {
                missing.push((stock_key, lacks, lacks <= free_at_most));
            }
        }
        let outcome = if recall && !missing.is_empty() && missing.iter().all(|(_, _, possible)| *possible) {
            for (stock_key, quantity, _) in missing {
                draft.say(Fact::RecallRequested(RecallRequested {
                    stock_key: Some((&stock_key).into()),
                    quantity,
                    reference: sale_id.to_string(),
                }));
            }
            SellOutcome::RecallRequested
        } else {
            sale.execute(context, draft)?;
            SellOutcome::Sold
        };
        let levels = draft.levels(keys.iter());
        Ok(Answer::Sell(SellResponse { sale_id: sale_id.to_string(), outcome: outcome.into(), levels }))
    }
}

/// Books a sale that has happened.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordSale {
    /// The sale; its time is given.
    pub sale: SellAtCounter,
}

impl RecordSale {
    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { sale } = self;
        let (sale_id, keys) = (sale.sale_id.clone(), keys_of(&sale.lines));
        let given = sale.sold_time_ms.unwrap_or(context.now.0);
        // A till with a wrong clock: a time that can't be is not believed.
        let sold_time_ms = given.min(context.now.0);
        let quantities = wanted(&sale.lines);
        let fact = sale.fact(sold_time_ms);
        let content = content_of(&fact);
        let mut response = RecordSaleResponse { sale_id: sale_id.to_string(), ..RecordSaleResponse::default() };
        match draft.document(DocumentKind::Sale, &sale_id) {
            Some(Document::Sale(known)) if known.content == content => {
                response.outcome = RecordOutcome::Repeated.into();
            }
            Some(known) => {
                response.outcome = RecordOutcome::Conflict.into();
                response.exception_id = conflict(draft, &sale_id, known, content);
            }
            None => {
                draft.put_document(DocumentKind::Sale, &sale_id, Document::Sale(SaleDocument::of(content)));
                for (stock_key, quantity) in &quantities {
                    response.beyond.extend(book(draft, stock_key, *quantity)?);
                }
                let recorded = SaleRecorded { sale: Some(fact), beyond: response.beyond.clone() };
                draft.say(Fact::SaleRecorded(recorded));
                if given > context.now.0 + AHEAD_MS {
                    let words =
                        format!("a till reported the sale for a time {} s ahead", (given - context.now.0) / 1_000);
                    draft.except(ExceptionCode::IntegrationFailed, None, 0, "sale", sale_id.as_str(), words);
                }
                response.outcome = RecordOutcome::Recorded.into();
            }
        }
        draft.settle();
        response.levels = draft.levels(keys.iter());
        Ok(Answer::SaleRecorded(response))
    }
}

/// A till document that came before with another content. Told once for each content.
fn conflict(draft: &mut Draft<'_>, sale_id: &OrderId, known: Document, content: Vec<u8>) -> String {
    let mut known = match known {
        Document::Sale(known) => known,
        // Booked by a version that kept no content.
        _ => SaleDocument::of(Vec::new()),
    };
    if known.conflict == content {
        return known.exception_id;
    }
    let words = format!("till document {sale_id} came again with another content: the second one has no effect");
    known.conflict = content;
    known.exception_id = draft.except(ExceptionCode::DocumentConflict, None, 0, "sale", sale_id.as_str(), words);
    let exception_id = known.exception_id.clone();
    draft.put_document(DocumentKind::Sale, sale_id, Document::Sale(known));
    exception_id
}

/// Takes units that have left already, and says what was not there to sell.
fn book(draft: &mut Draft<'_>, stock_key: &StockKey, quantity: Quantity) -> Result<Option<SoldBeyond>, Reject> {
    let cell = draft.cell(stock_key);
    let retained = cell.retained().min(cell.on_hand).max(0);
    let here = quantity.min(cell.on_hand);
    if cell.sold_ahead + quantity - here > MAX_QUANTITY {
        let message = format!("more than {MAX_QUANTITY} units of {stock_key} would be sold ahead of their receipt");
        return Err(Reject::new(Reason::QuantityTooLarge, message).field("lines"));
    }
    cell.on_hand -= here;
    cell.sold_ahead += quantity - here;
    cell.sold_total += quantity;
    let beyond_retained = (quantity - retained).max(0);
    Ok((beyond_retained > 0).then(|| SoldBeyond {
        stock_key: Some(stock_key.into()),
        beyond_retained,
        beyond_on_hand: quantity - here,
    }))
}

/// Takes a sale back.
#[derive(Clone, Debug, PartialEq)]
pub struct VoidSale {
    /// Business id of the void.
    pub void_id: OrderId,
    /// The sale, as it was booked.
    pub sale: SellAtCounter,
    /// Why, for people.
    pub reason: String,
}

impl VoidSale {
    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { void_id, sale, reason } = self;
        let (sale_id, keys) = (sale.sale_id.clone(), keys_of(&sale.lines));
        draft.new_document(DocumentKind::Void, &void_id, Document::Taken, "request_id")?;
        let refuse = |reason, message: String| Err(Reject::new(reason, message).field("sale_id"));
        let mut known = match draft.document(DocumentKind::Sale, &sale_id) {
            Some(Document::Sale(known)) => known,
            Some(_) | None => {
                let message = format!("node {} has no sale {sale_id} that can be voided", draft.node());
                return refuse(Reason::UnknownSale, message);
            }
        };
        if known.voided {
            return refuse(Reason::SaleIsVoided, format!("sale {sale_id} is voided"));
        }
        if known.returned {
            let message = format!("goods of sale {sale_id} came back: take the others back as a return too");
            return refuse(Reason::SaleHasReturns, message);
        }
        let quantities = wanted(&sale.lines);
        let fact = sale.fact(sale.sold_time_ms.unwrap_or(context.now.0));
        if content_of(&fact) != known.content {
            return refuse(Reason::SaleDiffers, format!("sale {sale_id} was booked with another content"));
        }
        for (stock_key, quantity) in &quantities {
            draft.fits(stock_key, *quantity).map_err(|reject| reject.field("lines"))?;
            let cell = draft.cell(stock_key);
            // Units that were owed to the sale are owed no more; the others never left the shelf.
            let owed = (*quantity).min(cell.sold_ahead);
            cell.sold_ahead -= owed;
            cell.on_hand += quantity - owed;
            cell.sold_total -= quantity;
        }
        known.voided = true;
        draft.put_document(DocumentKind::Sale, &sale_id, Document::Sale(known));
        draft.say(Fact::SaleVoided(SaleVoided { void_id: void_id.to_string(), sale: Some(fact), reason }));
        draft.settle();
        let levels = draft.levels(keys.iter());
        Ok(Answer::SaleVoided(VoidSaleResponse { void_id: void_id.to_string(), levels }))
    }
}

/// What tells a till document from another under the same number. Not its time: tills send the same document again later.
pub(crate) fn content_of(fact: &SoldAtCounter) -> Vec<u8> {
    let timeless = SoldAtCounter { sold_time_ms: 0, ..fact.clone() };
    Sha256::digest(prost::Message::encode_to_vec(&timeless))[..16].to_vec()
}

fn keys_of(lines: &[SaleLine]) -> Vec<StockKey> {
    lines.iter().map(|line| line.stock_key.clone()).collect()
}

/// Units by stock key, in the order of their first mention.
fn wanted(lines: &[SaleLine]) -> Vec<(StockKey, Quantity)> {
    let mut wanted: Vec<(StockKey, Quantity)> = Vec::with_capacity(lines.len());
    for line in lines {
        match wanted.iter_mut().find(|(key, _)| *key == line.stock_key) {
            Some((_, quantity)) => *quantity += line.quantity,
            None => wanted.push((line.stock_key.clone(), line.quantity)),
        }
    }
    wanted
}
