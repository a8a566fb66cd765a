//! Nodes, receipts, losses and finds.
//!
//! Damaged units stay in inventory at their cost: they are still there, and what they are worth is decided when they are
//! disposed of. So an adjustment for damage, or an allocation declined as damaged, posts nothing.

use stockmesh_proto::convert::{allocation_id, currency, required, specified};
use stockmesh_proto::feed::v1::{
    AdjustReason, AllocationDeclined, DeclineReason, NodeRegistered, ReceiptKind, ReceiptLine, StockAdjusted,
    StockReceived,
};
use stockmesh_types::quantity::{change, positive};
use stockmesh_types::{Currency, LegalEntity, NodeId, OrderId, Reason, Reject, StockKey};

use super::shipments::{Leave, Leaving};
use super::{ENTITY_KEY, Incoming, Posted, fingerprint, node_key, own_key, units};
use crate::books::{Books, Stamp};
use crate::records::{CellKey, Expense, Node, Records, UnitCost};
use crate::rules::{Line, RECEIPT_OPENING, RECEIPT_PURCHASE, STOCK_FOUND, STOCK_LOST};

struct Received {
    stock_key: StockKey,
    quantity: i64,
    currency: Currency,
    cost_minor: i64,
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
        self.put_node(id, Node { entity });
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
        let postings: Vec<_> = lines
            .iter()
            .map(|line| Line {
                node: Some(&node),
                item: Some(&line.stock_key.item),
                cost_minor: line.cost_minor,
                ..Line::new()
            })
            .collect();
        self.enter(rule, &record.entity, currency, &stamp, &about, &postings)?;
        for Received { stock_key, quantity, cost_minor, .. } in lines {
            let key = CellKey { node: node.clone(), stock_key };
            let mut cell = self.cell(&key)?;
            cell.currency = Some(currency);
            self.put_cell(key.clone(), cell);
            self.receive_units(&key, quantity, cost_minor, &record.entity, &stamp)?;
            self.note_cost(&key, UnitCost { quantity, value_minor: cost_minor })?;
        }
        self.put_document(document, fingerprint(fact));
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
        let leave = Leave { rule: &STOCK_LOST, expense: Expense::Shrinkage, channel: "", about: &about };
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
    })
}
