//! Nodes, receipts, losses, finds and write-offs.
//!
//! Goods that are held in receiving, because they differ from what was ordered, are no stock yet: they have an account of their
//! own until somebody decides, and what is refused was never owed. Damaged units stay in inventory at their cost: they are still there, and what they are worth is decided when they are
//! disposed of. So an adjustment for damage, or an allocation declined as damaged, posts nothing.

use stockmesh_proto::common::v1::Condition;
use stockmesh_proto::convert::{allocation_id, currency, required, specified};
use stockmesh_proto::feed::v1::{
    AdjustReason, AllocationDeclined, DeclineReason, MoveReason, NodeRegistered, ReceiptDecision,
    ReceiptDifferenceResolved, ReceiptKind, ReceiptLine, StockAdjusted, StockMoved, StockReceived, StockWrittenOff,
};
use stockmesh_types::quantity::{change, positive};
use stockmesh_types::{Currency, LegalEntity, NodeId, OrderId, Reason, Reject, StockKey, share};

use super::shipments::{Leave, Leaving};
use super::{ENTITY_KEY, Incoming, Posted, Wait, fingerprint, node_key, own_key, units};
use crate::books::{Books, Stamp};
use crate::records::{CellKey, Expense, Held, HeldId, Node, Records, Stage, UnitCost, held_key};
use crate::rules::{
    HELD_ACCEPTED, HELD_REFUSED, Line, RECEIPT_HELD, RECEIPT_OPENING, RECEIPT_PURCHASE, STOCK_FOUND, STOCK_LOST,
    STOCK_WRITTEN_OFF,
};

struct Received {
    stock_key: StockKey,
    quantity: i64,
    currency: Currency,
    cost_minor: i64,
    /// The exception that holds the units in receiving; empty: none.
    exception_id: String,
}

/// What decisions wait for that came before the receipt of their goods.
fn held_wait(id: &HeldId) -> String {
    format!("held:{id}")
}

impl<R: Records> Books<R> {
    pub(super) fn node_registered(&mut self, incoming: &Incoming<'_>, fact: &NodeRegistered) -> Posted<(), R> {
        Self::check_coordinator(incoming)?;
        let id = NodeId::new(&fact.node)?;
        let entity = LegalEntity::new(&fact.legal_entity)?;
        if let Some(known) = self.node(&id)? {
            if known.entity == entity {
                return Ok(());
            }
            let message = format!("node {id} is in the books of {}, and can't move to {entity}", known.entity);
            return Err(Reject::new(Reason::NodeExists, message).into());
        }
        if self.meta.first_entity.is_none() {
            self.meta.first_entity = Some(entity.clone());
            self.known.push_back(ENTITY_KEY.to_owned());
        }
        self.known.push_back(node_key(&id));
        self.put_node(id, Node { entity, epoch: 1, sealed: Vec::new() });
        Ok(())
    }

    pub(super) fn stock_received(&mut self, incoming: &Incoming<'_>, fact: &StockReceived) -> Posted<(), R> {
        let (node, record) = self.writer(incoming)?;
        let id = OrderId::new(&fact.receipt_id)?;
        let document = format!("receipt:{node}:{id}");
        if !self.is_new_document(&document, fact)? {
            return Ok(());
        }
        let stamp = incoming.stamp()?;
        let rule = match specified::<ReceiptKind>(fact.kind, "kind")? {
            ReceiptKind::Unspecified | ReceiptKind::PurchaseOrder => &RECEIPT_PURCHASE,
            ReceiptKind::OpeningStock => &RECEIPT_OPENING,
        };
        let lines = fact.lines.iter().enumerate().map(received).collect::<Result<Vec<_>, Reject>>()?;
        let Some(currency) = lines.first().map(|line| line.currency) else {
            return Err(Reject::new(Reason::MissingField, "the receipt has no lines").field("lines").into());
        };
        for line in &lines {
            let key = CellKey { node: node.clone(), stock_key: line.stock_key.clone() };
            let known = self.cell(&key)?.currency.unwrap_or(currency);
            if line.currency != currency || known != currency {
                let message = format!(
                    "{} at {node} is kept in {known}, the receipt in {currency}, its line in {}",
                    line.stock_key, line.currency
                );
                return Err(Reject::new(Reason::CurrencyMismatch, message).into());
            }
        }
        let reference = if fact.reference.is_empty() { String::new() } else { format!(" for {}", fact.reference) };
        let about = format!("{id} at {node}{reference}");
        let (held, stocked): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| !line.exception_id.is_empty());
        let posting = |line| received_line(&node, line);
        let postings: Vec<_> = stocked.iter().map(posting).collect();
        self.enter(rule, &record.entity, currency, &stamp, &about, &postings)?;
        let postings: Vec<_> = held.iter().map(posting).collect();
        self.enter(&RECEIPT_HELD, &record.entity, currency, &stamp, &about, &postings)?;
        for Received { stock_key, quantity, cost_minor, .. } in stocked {
            let key = CellKey { node: node.clone(), stock_key };
            let mut cell = self.cell(&key)?;
            cell.currency = Some(currency);
            self.put_cell(key.clone(), cell);
            self.receive_units(&key, quantity, cost_minor, &record.entity, &stamp)?;
            self.note_cost(&key, UnitCost { quantity, value_minor: cost_minor })?;
        }
        for Received { stock_key, quantity, cost_minor, exception_id, .. } in held {
            let key = CellKey { node: node.clone(), stock_key };
            let mut cell = self.cell(&key)?;
            cell.currency = Some(currency);
            cell.held_quantity += quantity;
            cell.held_value_minor += cost_minor;
            self.put_cell(key.clone(), cell);
            let id = held_key(&node, &exception_id);
            let before = self.held(&id)?.unwrap_or(Held { cell: key, quantity: 0, value_minor: 0 });
            let (quantity, value_minor) = (before.quantity + quantity, before.value_minor + cost_minor);
            self.known.push_back(held_wait(&id));
            self.put_held(id, Held { quantity, value_minor, ..before });
        }
        self.put_document(document, fingerprint(fact));
        Ok(())
    }

    pub(super) fn receipt_difference_resolved(
        &mut self,
        incoming: &Incoming<'_>,
        fact: &ReceiptDifferenceResolved,
    ) -> Posted<(), R> {
        let (node, record) = self.writer(incoming)?;
        let exception = OrderId::new(&fact.exception_id)?;
        let document = format!("decision:{node}:{exception}:{}", fact.part);
        if !self.is_new_document(&document, fact)? {
            return Ok(());
        }
        let stamp = incoming.stamp()?;
        let stock_key = own_key(&fact.stock_key, "stock_key")?;
        let quantity = positive(fact.quantity, "quantity")?;
        let accepted = match specified::<ReceiptDecision>(fact.decision, "decision")? {
            ReceiptDecision::Unspecified | ReceiptDecision::Accept => true,
            ReceiptDecision::Refuse => false,
        };
        let id = held_key(&node, exception.as_str());
        let Some(mut held) = self.held(&id)? else {
            let message = format!("waits for the receipt whose goods exception {exception} holds");
            return Err(Wait::partner(Stage::Whole, "RECEIPT_NOT_KNOWN", held_wait(&id), message).into());
        };
        if held.cell.stock_key != stock_key || quantity > held.quantity {
            let message = format!(
                "{} of {stock_key} decided about, of {} of {} that exception {exception} holds",
                units(quantity),
                held.quantity,
                held.cell.stock_key
            );
            return Err(Reject::new(Reason::ExceedsReturn, message).field("quantity").into());
        }
        let cost_minor = share(held.value_minor, 0, quantity, held.quantity);
        held.quantity -= quantity;
        held.value_minor -= cost_minor;
        let key = held.cell.clone();
        self.put_held(id, held);
        let mut cell = self.cell(&key)?;
        cell.held_quantity -= quantity;
        cell.held_value_minor -= cost_minor;
        let currency = cell.currency;
        self.put_cell(key.clone(), cell);
        if let Some(currency) = currency {
            let rule = if accepted { &HELD_ACCEPTED } else { &HELD_REFUSED };
            let about = format!("{} of {stock_key} at {node}, receipt {}", units(quantity), fact.receipt_id);
            let line = Line { node: Some(&node), item: Some(key.item()), cost_minor, ..Line::new() };
            self.enter(rule, &record.entity, currency, &stamp, &about, &[line])?;
        }
        if accepted {
            self.receive_units(&key, quantity, cost_minor, &record.entity, &stamp)?;
            self.note_cost(&key, UnitCost { quantity, value_minor: cost_minor })?;
        }
        self.put_document(document, fingerprint(fact));
        Ok(())
    }

    pub(super) fn stock_written_off(&mut self, incoming: &Incoming<'_>, fact: &StockWrittenOff) -> Posted<(), R> {
        let (node, record) = self.writer(incoming)?;
        let id = OrderId::new(&fact.movement_id)?;
        let document = format!("movement:{node}:{id}");
        if !self.is_new_document(&document, fact)? {
            return Ok(());
        }
        let stamp = incoming.stamp()?;
        check_condition(fact.from, "from")?;
        let stock_key = own_key(&fact.stock_key, "stock_key")?;
        let quantity = positive(fact.quantity, "quantity")?;
        let used = specified::<MoveReason>(fact.reason, "reason")? == MoveReason::InternalUse;
        let expense = if used { Expense::InternalUse } else { Expense::WriteOff };
        let about = format!("{} of {stock_key} at {node}, movement {id}", units(quantity));
        let leave = Leave { rule: &STOCK_WRITTEN_OFF, expense, channel: "", lane: "", about: &about };
        let leaving = [Leaving { id: format!("{document}:0"), stock_key, quantity }];
        self.leave(&leave, &node, &record.entity, "", &leaving, &stamp)?;
        self.put_document(document, fingerprint(fact));
        Ok(())
    }

    /// Units that change condition keep their cost: nothing is posted.
    pub(super) fn stock_moved(&mut self, incoming: &Incoming<'_>, fact: &StockMoved) -> Posted<(), R> {
        self.writer(incoming)?;
        check_condition(fact.from, "from")?;
        check_condition(fact.to, "to")?;
        Ok(())
    }

    pub(super) fn stock_adjusted(&mut self, incoming: &Incoming<'_>, fact: &StockAdjusted) -> Posted<(), R> {
        let (node, record) = self.writer(incoming)?;
        let id = OrderId::new(&fact.adjustment_id)?;
        let document = format!("adjustment:{node}:{id}");
        if !self.is_new_document(&document, fact)? {
            return Ok(());
        }
        let stamp = incoming.stamp()?;
        let stock_key = own_key(&fact.stock_key, "stock_key")?;
        let delta = change(fact.delta, "delta")?;
        let note = format!("adjustment {id}");
        match specified::<AdjustReason>(fact.reason, "reason")? {
            AdjustReason::Damage => {}
            AdjustReason::Unspecified | AdjustReason::Count | AdjustReason::Loss | AdjustReason::Found => {
                if delta < 0 {
                    self.lose(&node, &record, &document, &note, stock_key, -delta, &stamp)?;
                } else {
                    self.find(&node, &record, &note, stock_key, delta, &stamp)?;
                }
            }
        }
        self.put_document(document, fingerprint(fact));
        Ok(())
    }

    pub(super) fn allocation_declined(&mut self, incoming: &Incoming<'_>, fact: &AllocationDeclined) -> Posted<(), R> {
        let (node, record) = self.writer(incoming)?;
        let allocation = allocation_id(&fact.allocation, "allocation")?;
        let reason = specified::<DeclineReason>(fact.reason, "reason")?;
        if reason != DeclineReason::NotFound || fact.lost_quantity == 0 {
            return Ok(());
        }
        // A decline has no number of its own; what the allocation has lost in all tells it apart.
        let document = format!("decline:{node}:{allocation}:{}", fact.lost_total);
        if !self.is_new_document(&document, fact)? {
            return Ok(());
        }
        let stamp = incoming.stamp()?;
        let stock_key = own_key(&fact.stock_key, "stock_key")?;
        let quantity = positive(fact.lost_quantity, "lost_quantity")?;
        self.lose(&node, &record, &document, &format!("allocation {allocation}"), stock_key, quantity, &stamp)?;
        self.put_document(document, fingerprint(fact));
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn lose(
        &mut self,
        node: &NodeId,
        record: &Node,
        document: &str,
        note: &str,
        stock_key: StockKey,
        quantity: i64,
        stamp: &Stamp,
    ) -> Posted<(), R> {
        let about = format!("{} of {stock_key} at {node}, {note}", units(quantity));
        let expense = Expense::Shrinkage;
        let leave = Leave { rule: &STOCK_LOST, expense, channel: "", lane: "", about: &about };
        let leaving = [Leaving { id: format!("{document}:0"), stock_key, quantity }];
        Ok(self.leave(&leave, node, &record.entity, "", &leaving, stamp)?)
    }

    fn find(
        &mut self,
        node: &NodeId,
        record: &Node,
        note: &str,
        stock_key: StockKey,
        quantity: i64,
        stamp: &Stamp,
    ) -> Posted<(), R> {
        let key = CellKey { node: node.clone(), stock_key };
        let cell = self.cell(&key)?;
        let cost_minor = cell.at_last_cost(quantity);
        if let Some(currency) = cell.currency {
            let line = Line { node: Some(node), item: Some(key.item()), cost_minor, ..Line::new() };
            let about = format!("{} of {} at {node}, {note}", units(quantity), key.stock_key);
            self.enter(&STOCK_FOUND, &record.entity, currency, stamp, &about, &[line])?;
        }
        Ok(self.receive_units(&key, quantity, cost_minor, &record.entity, stamp)?)
    }
}

fn received((n, line): (usize, &ReceiptLine)) -> Result<Received, Reject> {
    let field = |part: &str| format!("lines[{n}].{part}");
    let cost = required(&line.cost, &field("cost"))?;
    if cost.minor < 0 {
        return Err(Reject::new(Reason::AmountNegative, "the cost of a receipt is negative").field(field("cost")));
    }
    if cost.minor > stockmesh_proto::convert::MAX_AMOUNT_MINOR {
        return Err(Reject::new(Reason::AmountTooLarge, "the cost of a receipt is too large").field(field("cost")));
    }
    Ok(Received {
        stock_key: own_key(&line.stock_key, &field("stock_key"))?,
        quantity: positive(line.quantity, &field("quantity"))?,
        currency: currency(&cost.currency_code, &field("cost.currency_code"))?,
        cost_minor: cost.minor,
        exception_id: line.exception_id.clone(),
    })
}

fn received_line<'a>(node: &'a NodeId, line: &'a Received) -> Line<'a> {
    Line { node: Some(node), item: Some(&line.stock_key.item), cost_minor: line.cost_minor, ..Line::new() }
}

/// Goods that came back are inspected, which says where their value goes; no other movement may.
fn check_condition(condition: i32, field: &str) -> Result<(), Reject> {
    if specified::<Condition>(condition, field)? != Condition::ReturnPending {
        return Ok(());
    }
    let message = "goods that came back are valued by their inspection: other movements of them are not posted";
    Err(Reject::new(Reason::NotInThisRelease, message).field(field))
}
