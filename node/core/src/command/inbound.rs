//! Expected receipts: announced and closed by the coordinator, closed by people, and what is decided about units that are held because
//! a receipt differed.
//!
//! A line's claim is what waiting orders lay claim to of what is still to arrive. Units that become sellable fill it first: rights
//! for them are granted with the very entry that books them in, so that no walk-in gets them.

use prost::Message;
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::convert;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{
    InboundAnnounced, InboundClaimed, InboundCloseReason, InboundClosed, InboundLineResult, InboundReceiptsClosed,
    ReceiptDecision, ReceiptDifferenceResolved,
};
use stockmesh_proto::node::v1::{CloseInboundResponse, ResolveReceiptDifferenceResponse};
use stockmesh_types::{ExceptionCode, MAX_QUANTITY, OrderId, Quantity, Reason, Reject, StockKey};

use crate::draft::Draft;
use crate::effects::{Answer, Context};
use crate::site::raise::Raise;
use crate::site::{Condition, ExceptionId, Held, Inbound, InboundLine, TakeRule, UnitGroup, key_of, views};

/// How long a closed one is known, so that what arrives late is still told apart: milliseconds.
const KNOWN_AFTER_CLOSE_MS: i64 = 30 * 86_400_000;
/// Longest record of one: it must fit into one value of the store.
const MAX_RECORD_BYTES: usize = 64 * 1024;

/// Takes an announcement over: it replaces what was announced with a lower revision, and keeps what was received.
pub(super) fn announce(draft: &mut Draft<'_>, announced: InboundAnnounced) -> Result<(), Reject> {
    let id = inbound_id(&announced.inbound_id)?;
    forget_old(draft);
    let before = draft.site.inbounds.get(&id).cloned();
    if before.as_ref().is_some_and(|before| before.revision >= announced.revision) {
        return Ok(());
    }
    let InboundAnnounced { kind, reference, supplier, source_node, expected_date, lines, notices, revision, .. } =
        announced;
    let received = |line: u32| {
        let before = before.as_ref().and_then(|before| before.lines.iter().find(|known| known.line == line));
        before.map_or(0, |line| line.received)
    };
    let mut taken: Vec<InboundLine> = lines
        .into_iter()
        .map(|line| InboundLine {
            line: line.line,
            stock_key: line.stock_key,
            expected: line.quantity.clamp(0, MAX_QUANTITY),
            received: received(line.line),
            claimed: line.claimed_quantity.clamp(0, MAX_QUANTITY),
            cost: line.cost,
        })
        .collect();
    // A line that is no longer announced and of which something came stays, with nothing expected.
    let gone = before.iter().flat_map(|before| &before.lines).filter(|line| line.received > 0);
    for line in gone {
        if !taken.iter().any(|now| now.line == line.line) {
            taken.push(InboundLine { expected: 0, claimed: 0, ..line.clone() });
        }
    }
    let source = if supplier.is_empty() { source_node } else { supplier };
    let mut record = Inbound {
        kind,
        reference,
        source,
        expected_date,
        revision,
        lines: taken,
        closed: before.as_ref().is_some_and(|before| before.closed),
        closed_time_ms: before.as_ref().map_or(0, |before| before.closed_time_ms),
        notices,
    };
    if record.encoded_len() > MAX_RECORD_BYTES {
        for notice in &mut record.notices {
            notice.packages.clear();
        }
        let description =
            "its advance ship notices are too long to be kept here: receive without their lots and serial numbers";
        draft.raise(
            Raise { description: description.to_owned(), ..about(ExceptionCode::IntegrationFailed, id.as_str()) },
            None,
        );
    }
    draft.site.inbounds.put(id, record);
    Ok(())
}

/// Takes the coordinator's close over. What is missing becomes an exception, unless it was called off.
pub(super) fn closed_by_coordinator(draft: &mut Draft<'_>, closed: &InboundClosed) -> Result<(), Reject> {
    let id = inbound_id(&closed.inbound_id)?;
    let Some(known) = draft.site.inbounds.get(&id).cloned() else { return Ok(()) };
    if !known.closed {
        close(draft, &id, known, closed.reason != i32::from(InboundCloseReason::Cancelled));
    }
    Ok(())
}

/// Takes a line's claim over.
pub(super) fn claimed(draft: &mut Draft<'_>, claimed: &InboundClaimed) -> Result<(), Reject> {
    let id = inbound_id(&claimed.inbound_id)?;
    let Some(mut known) = draft.site.inbounds.get(&id).cloned() else { return Ok(()) };
    for line in known.lines.iter_mut().filter(|line| line.line == claimed.line) {
        line.claimed = claimed.claimed_quantity.clamp(0, MAX_QUANTITY);
    }
    draft.site.inbounds.put(id, known);
    Ok(())
}

fn inbound_id(text: &str) -> Result<OrderId, Reject> {
    OrderId::new(text).map_err(|reject| reject.field("inbound_id"))
}

fn about<'a>(code: ExceptionCode, id: &'a str) -> Raise<'a> {
    Raise {
        code,
        stock_key: None,
        quantity: 0,
        document_kind: "inbound",
        document_id: id,
        line: 0,
        description: String::new(),
    }
}

/// Forgets some of those that were closed long ago; each announcement does a little of it.
fn forget_old(draft: &mut Draft<'_>) {
    let before = draft.meta.time.0 - KNOWN_AFTER_CLOSE_MS;
    for id in draft.state().site().inbounds_closed_before(before, 16) {
        draft.site.inbounds.remove(id);
    }
}

/// Closes an expected receipt; returns the exceptions for what is missing.
fn close(draft: &mut Draft<'_>, id: &OrderId, mut inbound: Inbound, missing_matters: bool) -> Vec<String> {
    inbound.closed = true;
    inbound.closed_time_ms = draft.meta.time.0;
    let mut raised = Vec::new();
    let mut results = Vec::with_capacity(inbound.lines.len());
    for line in &inbound.lines {
        let missing = line.expected - line.received;
        if missing > 0 && missing_matters {
            let key = key_of(&line.stock_key);
            let raise = Raise {
                stock_key: key.as_ref(),
                quantity: missing,
                line: line.line,
                description: format!("{} of {} expected units came", line.received, line.expected),
                ..about(ExceptionCode::UnderReceipt, id.as_str())
            };
            raised.push(draft.raise(raise, None).to_string());
        }
        results.push(InboundLineResult {
            line: line.line,
            stock_key: line.stock_key.clone(),
            expected: line.expected,
            received: line.received,
        });
    }
    draft.site.inbounds.put(id.clone(), inbound);
    draft.say(Fact::InboundReceiptsClosed(InboundReceiptsClosed { inbound_id: id.to_string(), lines: results }));
    raised
}

/// An expected receipt, as it is now.
///
/// # Errors
/// [`Reason::UnknownInbound`].
pub(super) fn known(draft: &Draft<'_>, id: &OrderId) -> Result<Inbound, Reject> {
    draft.site.inbounds.get(id).cloned().ok_or_else(|| {
        let node = &draft.state().identity().node;
        let message =
            format!("node {node} expects no receipt {id}: list what it expects, or receive without naming one");
        Reject::new(Reason::UnknownInbound, message).field("inbound_id")
    })
}

/// Says that no more comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseInbound {
    /// Expected receipt.
    pub inbound: OrderId,
}

impl CloseInbound {
    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { inbound: id } = self;
        let inbound = known(draft, &id)?;
        if inbound.closed {
            let message = format!("{id} is closed");
            return Err(Reject::new(Reason::InboundClosed, message).field("inbound_id"));
        }
        let exception_ids = close(draft, &id, inbound, true);
        let closed = known(draft, &id)?;
        let inbound = Some(views::inbound(&id, &closed, &[], context.business_date));
        Ok(Answer::InboundClosed(Box::new(CloseInboundResponse { inbound, exception_ids })))
    }
}

/// Decides about units that are held in receiving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveReceiptDifference {
    /// The exception that holds them.
    pub exception: ExceptionId,
    /// How many; `None`: all that are still held.
    pub quantity: Option<Quantity>,
    /// They stay, or go back.
    pub decision: ReceiptDecision,
    /// Reference; may be empty.
    pub reference: String,
}

impl ResolveReceiptDifference {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { exception: id, quantity, decision, reference } = self;
        let mut exception = draft.open_exception(id)?.clone();
        let (Some(held), Some(raised)) = (&mut exception.held, &exception.raised) else {
            let message = format!("exception {id} holds no units");
            return Err(Reject::new(Reason::NothingHeld, message).field("exception_id"));
        };
        let quantity = quantity.unwrap_or(held.quantity);
        if quantity > held.quantity {
            let message = format!("exception {id} holds {} units, {quantity} asked", held.quantity);
            return Err(Reject::new(Reason::NothingHeld, message).field("quantity"));
        }
        let key = convert::stock_key(&raised.stock_key, "stock_key")?;
        let units = UnitGroup::of_wire(&held.units, "units")?;
        let (units, rest) = split_units(units, quantity);
        let taken = draft.take_units(&key, Condition::InReceiving, quantity, &units, TakeRule::WITHIN)?;
        let to = match decision {
            ReceiptDecision::Refuse | ReceiptDecision::Unspecified => None,
            ReceiptDecision::Accept if held.damaged => Some(Condition::Damaged),
            ReceiptDecision::Accept => Some(Condition::Sellable),
        };
        match to {
            Some(to) => draft.put_units(&key, to, &taken)?,
            None => draft.cell(&key).disposed_total += quantity,
        }
        held.quantity -= quantity;
        held.parts += 1;
        held.units = UnitGroup::to_wire(&rest);
        let Held { quantity: left, parts, receipt_id, inbound_id, inbound_line, .. } = held.clone();
        if to == Some(Condition::Sellable) {
            fill_claim(draft, &inbound_id, inbound_line, quantity);
        }
        draft.say(Fact::ReceiptDifferenceResolved(ReceiptDifferenceResolved {
            exception_id: id.to_string(),
            part: parts,
            receipt_id,
            stock_key: Some((&key).into()),
            quantity,
            decision: decision.into(),
            to: to.map_or(0, |to| to.wire().into()),
            reference,
            units: UnitGroup::to_wire(&taken),
            inbound_id,
            inbound_line,
        }));
        if left == 0 {
            draft.close_exception(id, "every unit was decided about");
        } else {
            draft.site.exceptions.put(id, exception);
        }
        draft.settle();
        let level = Some(draft.level(&key));
        Ok(Answer::DifferenceResolved(ResolveReceiptDifferenceResponse { level, held: left }))
    }
}

/// Units of an expected receipt became sellable: those that orders wait for are granted with this entry.
fn fill_claim(draft: &mut Draft<'_>, inbound_id: &str, line: u32, sellable: Quantity) {
    let Ok(id) = OrderId::new(inbound_id) else { return };
    let Some(mut inbound) = draft.site.inbounds.get(&id).cloned() else { return };
    let Some(known) = inbound.lines.iter_mut().find(|known| known.line == line) else { return };
    let Some(key) = key_of(&known.stock_key) else { return };
    let filled = sellable.min(known.claimed);
    if filled > 0 {
        known.claimed -= filled;
        draft.grant_ahead(&key, filled);
        draft.site.inbounds.put(id, inbound);
    }
}

/// Units of a transfer came: they count against what was announced of it, if it was, and those that orders wait for are granted.
pub(super) fn transfer_came(
    draft: &mut Draft<'_>,
    transfer_id: &OrderId,
    line: u32,
    key: &StockKey,
    sellable: Quantity,
    damaged: Quantity,
) {
    let inbound_id = format!("transfer/{transfer_id}");
    let Ok(id) = OrderId::new(&inbound_id) else { return };
    let Some(mut inbound) = draft.site.inbounds.get(&id).cloned() else { return };
    let known = inbound.lines.iter_mut().find(|known| known.line == line);
    let Some(known) = known.filter(|known| key_of(&known.stock_key).as_ref() == Some(key)) else { return };
    known.received += sellable + damaged;
    draft.site.inbounds.put(id, inbound);
    fill_claim(draft, &inbound_id, line, sellable);
}

/// The first `quantity` units of some groups, and the rest. No groups: none in both.
pub(super) fn split_units(units: Vec<UnitGroup>, quantity: Quantity) -> (Vec<UnitGroup>, Vec<UnitGroup>) {
    let (mut first, mut rest, mut left) = (Vec::new(), Vec::new(), quantity);
    for mut group in units {
        let here = left.min(group.quantity);
        left -= here;
        let mut behind = group.clone();
        behind.quantity -= here;
        group.quantity = here;
        if !group.serials.is_empty() {
            // As many serial numbers as units, and units of one document fit into a usize.
            let at = usize::try_from(here).unwrap_or(usize::MAX).min(group.serials.len());
            behind.serials = group.serials.split_off(at);
        }
        if group.quantity > 0 {
            first.push(group);
        }
        if behind.quantity > 0 {
            rest.push(behind);
        }
    }
    (first, rest)
}

/// Units of one line that came: how many are taken as expected, and how many are held.
pub(super) struct Came {
    /// Taken into the condition in which they came.
    pub(super) taken: Quantity,
    /// Held in receiving.
    pub(super) held: Quantity,
    /// Cost of both, when the announcement states one.
    pub(super) costs: Option<(common::Money, common::Money)>,
}

/// Books units that came against a line of an expected receipt: what is damaged, and what goes beyond the expected, is held.
///
/// # Errors
/// [`Reason::UnknownInboundLine`].
pub(super) fn book_against(
    draft: &mut Draft<'_>,
    id: &OrderId,
    line: u32,
    key: &StockKey,
    quantity: Quantity,
    condition: Condition,
) -> Result<Came, Reject> {
    let mut inbound = known(draft, id)?;
    if inbound.kind() == feed::InboundKind::Transfer {
        let message = format!("{id} is a transfer: receive it as one");
        return Err(Reject::new(Reason::InvalidValue, message).field("inbound_id"));
    }
    let closed = inbound.closed;
    let Some(known) = inbound.lines.iter_mut().find(|known| known.line == line) else {
        let message = format!("{id} has no line {line}");
        return Err(Reject::new(Reason::UnknownInboundLine, message).field("inbound_line"));
    };
    if key_of(&known.stock_key).as_ref() != Some(key) {
        let message = format!("line {line} of {id} is of another stock key than {key}");
        return Err(Reject::new(Reason::UnknownInboundLine, message).field("inbound_line"));
    }
    let open = if closed { 0 } else { (known.expected - known.received).max(0) };
    let taken = if condition == Condition::Damaged { 0 } else { quantity.min(open) };
    let before = known.received;
    known.received += quantity;
    let cost = known.cost.as_ref().filter(|_| known.expected > 0);
    let costs = cost.map(|cost| {
        let upto = |units: Quantity| cost_upto(cost.minor, units, known.expected);
        let part = |from, to| common::Money { currency_code: cost.currency_code.clone(), minor: upto(to) - upto(from) };
        (part(before, before + taken), part(before + taken, before + quantity))
    });
    draft.site.inbounds.put(id.clone(), inbound);
    if condition == Condition::Sellable {
        fill_claim(draft, id.as_str(), line, taken);
    }
    Ok(Came { taken, held: quantity - taken, costs })
}

/// Cost of the first `units` of a line whose `expected` units cost `total`: rounded down, so that parts add up; beyond the expected at
/// the same price.
fn cost_upto(total: i64, units: Quantity, expected: Quantity) -> i64 {
    let exact = i128::from(total) * i128::from(units) / i128::from(expected.max(1));
    i64::try_from(exact).unwrap_or(i64::MAX)
}

/// Holds units of a receipt in receiving, by an exception that says why.
pub(super) fn hold(
    draft: &mut Draft<'_>,
    id: &OrderId,
    line: u32,
    key: &StockKey,
    receipt: &OrderId,
    damaged: bool,
    units: &[UnitGroup],
) -> ExceptionId {
    let quantity = UnitGroup::total(units);
    let held = Held {
        quantity,
        damaged,
        receipt_id: receipt.to_string(),
        inbound_id: id.to_string(),
        inbound_line: line,
        parts: 0,
        units: UnitGroup::to_wire(units),
    };
    let (code, what) = match damaged {
        true => (ExceptionCode::DamagedInTransit, "arrived damaged"),
        false => (ExceptionCode::OverReceipt, "are more than was expected"),
    };
    let raise = Raise {
        stock_key: Some(key),
        quantity,
        line,
        description: format!("receipt {receipt}: {quantity} units {what}; they wait in receiving"),
        ..about(code, id.as_str())
    };
    draft.raise(raise, Some(held))
}
