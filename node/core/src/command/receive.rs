//! ReceiveStock: goods arrive. Sellable units raise what the policy may grant, and cure a shortfall.

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{ReceiptKind, ReceiptLine as WireLine, StockReceived};
use stockmesh_proto::node::v1::ReceiveStockResponse;
use stockmesh_types::{Money, OrderId, Quantity, Reason, Reject, StockKey, share};

use super::inbound::{Came, book_against, hold, split_units};
use crate::change::{Document, DocumentKind};
use crate::draft::Draft;
use crate::effects::{Answer, Context};
use crate::site::{Asked, Condition, Converted, UnitGroup};

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
    /// Expected receipt that it is booked against.
    pub inbound: Option<OrderId>,
}

/// One line of a receipt.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiptLine {
    /// What arrived.
    pub stock_key: StockKey,
    /// How many.
    pub quantity: Asked,
    /// Condition.
    pub condition: ReceivedCondition,
    /// Cost of the whole line, tax excluded; `None`: as the expected receipt states it.
    pub cost: Option<Money>,
    /// Line of the expected receipt; 0: none.
    pub inbound_line: u32,
    /// Lots, bins and serial numbers; none: as the item allows.
    pub units: Vec<UnitGroup>,
}

impl ReceiptLine {
    /// Base units without lots, bins or serial numbers.
    #[must_use]
    pub fn plain(stock_key: StockKey, quantity: Quantity, condition: ReceivedCondition, cost: Money) -> Self {
        Self {
            stock_key,
            quantity: Asked::base(quantity),
            condition,
            cost: Some(cost),
            inbound_line: 0,
            units: Vec::new(),
        }
    }
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
    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { receipt_id, kind, reference, lines, inbound } = self;
        draft.new_document(DocumentKind::Receipt, &receipt_id, Document::Taken, "receipt_id")?;
        let keys: Vec<StockKey> = lines.iter().map(|line| line.stock_key.clone()).collect();
        let into = Into { receipt_id: &receipt_id, inbound: inbound.as_ref() };
        let mut booked = Vec::with_capacity(lines.len());
        for (n, line) in lines.into_iter().enumerate() {
            let lines = into.book_in(context, draft, line).map_err(|reject| within_line(reject, n))?;
            booked.extend(lines);
        }
        check_currencies(&booked)?;
        let exception_ids = booked.iter().map(|line| line.exception_id.clone()).filter(|id| !id.is_empty()).collect();
        draft.say(Fact::StockReceived(StockReceived {
            receipt_id: receipt_id.to_string(),
            kind: kind.into(),
            reference,
            lines: booked,
            inbound_id: inbound.map(String::from).unwrap_or_default(),
        }));
        draft.settle();
        let levels = draft.levels(keys.iter());
        Ok(Answer::StockReceived(ReceiveStockResponse { receipt_id: receipt_id.to_string(), levels, exception_ids }))
    }
}

/// A field of the whole receipt stays one, whichever line found it wrong.
fn within_line(reject: Reject, n: usize) -> Reject {
    if reject.field == "inbound_id" { reject } else { reject.within(&format!("lines[{n}]")) }
}

/// Costs may come from the request or from what was announced: all of one receipt are in one currency.
fn check_currencies(lines: &[WireLine]) -> Result<(), Reject> {
    let code = |line: &WireLine| line.cost.as_ref().map(|cost| cost.currency_code.clone()).unwrap_or_default();
    let first = lines.first().map(code).unwrap_or_default();
    match lines.iter().map(code).find(|other| *other != first) {
        Some(other) => {
            let message = format!("costs of one receipt are in {first} and in {other}");
            Err(Reject::new(Reason::CurrencyMismatch, message).field("lines"))
        }
        None => Ok(()),
    }
}

/// What lines are booked into.
struct Into<'a> {
    receipt_id: &'a OrderId,
    inbound: Option<&'a OrderId>,
}

impl Into<'_> {
    /// Books a line in: as one line of the fact, or as two when part of it is held in receiving.
    fn book_in(&self, context: &Context, draft: &mut Draft<'_>, line: ReceiptLine) -> Result<Vec<WireLine>, Reject> {
        let ReceiptLine { stock_key, quantity, condition, cost, inbound_line, units } = line;
        let item = draft.ranged(&stock_key.item).map_err(|reject| reject.field("stock_key.item"))?;
        let Converted { base, entered } = quantity.convert(item)?;
        let units = draft.identified(&stock_key, base, units, context.business_date)?;
        draft.fits(&stock_key, base)?;
        draft.cell(&stock_key).received_total += base;
        let condition = match condition {
            ReceivedCondition::Sellable => Condition::Sellable,
            ReceivedCondition::Quarantined => Condition::Quarantined,
            ReceivedCondition::Damaged => Condition::Damaged,
        };
        let given =
            cost.map(|cost| common::Money { currency_code: cost.currency.code().to_owned(), minor: cost.minor });
        let missing = || Reject::new(Reason::MissingField, "cost is missing").field("cost");
        let came = match self.inbound {
            None => Came { taken: base, held: 0, costs: None },
            Some(id) => book_against(draft, id, inbound_line, &stock_key, base, condition)?,
        };
        let (taken_cost, held_cost) = match (given, came.costs) {
            (Some(given), _) => {
                let part = |from, to| common::Money { minor: share(given.minor, from, to, base), ..given.clone() };
                (part(0, came.taken), part(came.taken, base))
            }
            (None, Some(costs)) => costs,
            (None, None) => return Err(missing()),
        };
        let (taken, held) = split_units(units, came.taken);
        let wire = |units: &[UnitGroup], condition: Condition, cost, entered, exception_id| WireLine {
            stock_key: Some((&stock_key).into()),
            quantity: UnitGroup::total(units),
            condition: condition.wire().into(),
            cost: Some(cost),
            entered,
            units: UnitGroup::to_wire(units),
            inbound_line,
            exception_id,
        };
        let mut lines = Vec::with_capacity(2);
        // The quantity as entered stands with the line that has all of it.
        let whole = if came.taken == 0 || came.held == 0 { entered } else { None };
        if came.taken > 0 {
            draft.put_units(&stock_key, condition, &taken)?;
            lines.push(wire(&taken, condition, taken_cost, whole.clone(), String::new()));
        }
        if let Some(id) = self.inbound.filter(|_| came.held > 0) {
            draft.put_units(&stock_key, Condition::InReceiving, &held)?;
            let damaged = condition == Condition::Damaged;
            let exception = hold(draft, id, inbound_line, &stock_key, self.receipt_id, damaged, &held);
            lines.push(wire(&held, Condition::InReceiving, held_cost, whole, exception.to_string()));
        }
        Ok(lines)
    }
}
