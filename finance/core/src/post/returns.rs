//! Returns: the refund at the prices and tax rates of the sale, the goods at the cost at which they left.
//!
//! No returns are estimated in this release: every one is beyond the estimate, and reduces revenue and cost of goods sold
//! when it arrives. A return names a line of an order, or a till document, and may name the parcel: its goods are units of that
//! parcel; without one, the shipped units of the line in the order in which they were posted. The refund is the seller's, who is
//! the entity of the node that shipped; goods that another entity takes in are owed to the seller at cost.

use std::collections::BTreeMap;

use stockmesh_proto::feed::v1::ReturnReceived;
use stockmesh_types::quantity::positive;
use stockmesh_types::{LegalEntity, NodeId, OrderId, Reason, Reject, share};

use super::shipments::shipped_key;
use super::{Incoming, Posted, Wait, fingerprint, own_key, units};
use crate::books::{Books, Fault, Stamp};
use crate::layers::issue_key;
use crate::records::{
    CellKey, Outcome, Price, Records, Return, ReturnId, SaleId, SaleLine, Segment, Stage, counter_key, order_key,
    return_key, spoken,
};
use crate::rules::{Line, RETURN_COST, RETURN_COST_SELLER, RETURN_COST_TAKER, RETURN_REVENUE};

impl<R: Records> Books<R> {
    pub(super) fn return_received(
        &mut self,
        incoming: &Incoming<'_>,
        fact: &ReturnReceived,
        stage: Stage,
    ) -> Posted<(), R> {
        let (node, record) = self.writer(incoming)?;
        let id = return_key(node.as_str(), OrderId::new(&fact.return_id)?.as_str());
        let stamp = incoming.stamp()?;
        match stage {
            Stage::Whole => {
                if !self.is_new_document(&id, fact)? {
                    return Ok(());
                }
                let stock_key = own_key(&fact.stock_key, "stock_key")?;
                let quantity = positive(fact.quantity, "quantity")?;
                returned_sale(fact)?;
                let cell_key = CellKey { node: node.clone(), stock_key: stock_key.clone() };
                let mut cell = self.cell(&cell_key)?;
                cell.pending_quantity += quantity;
                self.put_cell(cell_key, cell);
                let record = Return {
                    node,
                    entity: record.entity,
                    stock_key,
                    quantity,
                    segments: Vec::new(),
                    costed: false,
                    value_minor: 0,
                    settled: false,
                    inspected: 0,
                    inspections: Vec::new(),
                };
                self.put_return(id.clone(), record);
                self.put_document(id.clone(), fingerprint(fact));
                self.known.push_back(id.clone());
                self.return_origin(&id, fact, &stamp)
            }
            Stage::ReturnOrigin => self.return_origin(&id, fact, &stamp),
            Stage::ReturnCost | Stage::Revenue | Stage::Passage | Stage::Note => self.return_cost(&id, &stamp),
        }
    }

    /// Finds the units of the sale that came back, and posts the refund.
    fn return_origin(&mut self, id: &ReturnId, fact: &ReturnReceived, stamp: &Stamp) -> Posted<(), R> {
        let mut record = self.known_return(id)?;
        let (sale_id, reason) = returned_sale(fact)?;
        let Some(sale) = self.sale(&sale_id)? else {
            let message = format!("waits for {}; the returned units are in the books at no value", spoken(&sale_id));
            return Err(Wait::partner(Stage::ReturnOrigin, reason, sale_id, message).into());
        };
        let numbers = if fact.order_id.is_empty() { sale.lines.clone() } else { vec![fact.line] };
        let mut lines: Vec<(u32, SaleLine, Vec<usize>)> = Vec::new();
        for number in numbers {
            let Some(mut line) = self.sale_line(&sale_id, number)? else { continue };
            line.place_returns();
            let from = self.supplies_of(&line, fact, &record)?;
            if !from.is_empty() || line.stock_key.item == record.stock_key.item {
                lines.push((number, line, from));
            }
        }
        self.check_returnable(&sale_id, fact, &lines, record.quantity)?;

        let mut left = record.quantity;
        let mut refunds: BTreeMap<LegalEntity, Vec<Price>> = BTreeMap::new();
        for (number, mut line, from) in lines {
            let segments = take_back(&mut line, &from, left);
            if segments.is_empty() {
                continue;
            }
            for segment in segments {
                let units = segment.to - segment.from;
                left -= units;
                let seller = self.issue(&segment.issue)?.entity;
                let price = line.price.part(line.returned, line.returned + units, line.quantity);
                refunds.entry(seller).or_default().push(price);
                record.segments.push(segment);
                line.returned += units;
            }
            self.put_sale_line(sale_id.clone(), number, line);
        }
        let about = format!("{}, {}", spoken(id), spoken(&sale_id));
        let document = if fact.order_id.is_empty() { &fact.sale_id } else { &fact.order_id };
        for (seller, prices) in refunds {
            let refund: Vec<_> = prices
                .into_iter()
                .map(|price| Line {
                    node: Some(&record.node),
                    item: Some(&record.stock_key.item),
                    channel: &sale.channel,
                    order_id: document,
                    price,
                    ..Line::new()
                })
                .collect();
            self.enter(&RETURN_REVENUE, &seller, sale.currency, stamp, &about, &refund)?;
        }
        self.put_return(id.clone(), record);
        self.return_cost(id, stamp)
    }

    /// Which supplies of a line may have brought the goods to the customer: those of the parcel that the return names; of the
    /// item that came back, which is another than the line's where goods were substituted.
    fn supplies_of(
        &mut self,
        line: &SaleLine,
        fact: &ReturnReceived,
        record: &Return,
    ) -> Result<Vec<usize>, Fault<R::Error>> {
        let parcel = parcel(fact);
        let mut from = Vec::new();
        for (at, supply) in line.supplies.iter().enumerate() {
            let of_parcel = parcel.as_ref().is_none_or(|parcel| supply.issue.starts_with(parcel));
            if of_parcel && self.issue(&supply.issue)?.stock_key.item == record.stock_key.item {
                from.push(at);
            }
        }
        Ok(from)
    }

    /// Whether the sale has that many units that left and are not back yet.
    fn check_returnable(
        &mut self,
        sale_id: &SaleId,
        fact: &ReturnReceived,
        lines: &[(u32, SaleLine, Vec<usize>)],
        quantity: i64,
    ) -> Posted<(), R> {
        let open =
            |line: &SaleLine, at: &usize| line.supplies.get(*at).map_or(0, |supply| supply.quantity - supply.returned);
        let returnable: i64 =
            lines.iter().map(|(_, line, from)| from.iter().map(|at| open(line, at)).sum::<i64>()).sum();
        if quantity <= returnable {
            return Ok(());
        }
        let sold: i64 = lines.iter().map(|(_, line, _)| line.quantity - line.returned).sum();
        let parcel_known = match parcel(fact) {
            Some(_) => self.document(&format!("shipment:{}:{}", fact.shipment_node, fact.shipment_id))?.is_some(),
            None => false,
        };
        let message = format!(
            "{} of {} came back, of {sold} sold and {returnable} shipped{} and not returned",
            units(quantity),
            spoken(sale_id),
            if fact.shipment_id.is_empty() { String::new() } else { format!(" in parcel {}", fact.shipment_id) }
        );
        if quantity <= sold && !parcel_known {
            let key = shipped_key(sale_id, fact.line);
            return Err(Wait::partner(Stage::ReturnOrigin, "SHIPMENT_NOT_KNOWN", key, message).into());
        }
        let reason = if lines.is_empty() { Reason::UnknownOrderLine } else { Reason::ExceedsLine };
        Err(Wait::person(Stage::ReturnOrigin, reason.code(), message).into())
    }

    /// Posts the cost of returned goods, as far as it is known; what is still provisional is trued up later.
    fn return_cost(&mut self, id: &ReturnId, stamp: &Stamp) -> Posted<(), R> {
        let mut record = self.known_return(id)?;
        let cell_key = CellKey { node: record.node.clone(), stock_key: record.stock_key.clone() };
        let mut cell = self.cell(&cell_key)?;
        for segment in &record.segments {
            let Some(currency) = self.issue(&segment.issue)?.currency else {
                return Err(Wait::partner(
                    Stage::ReturnCost,
                    "COST_NOT_KNOWN",
                    issue_key(&segment.issue),
                    format!("waits for a first receipt of {}: its cost was never known", record.stock_key),
                )
                .into());
            };
            if *cell.currency.get_or_insert(currency) != currency {
                let message = format!("{} left at a cost in {currency}, and came back to another", record.stock_key);
                return Err(Wait::person(Stage::ReturnCost, Reason::NotInThisRelease.code(), message).into());
            }
        }
        for part in &record.inspections {
            let Some(Outcome::Refurbished(stock_key)) = &part.outcome else { continue };
            let key = CellKey { node: record.node.clone(), stock_key: stock_key.clone() };
            let mut sellable = self.cell(&key)?;
            if sellable.currency.is_some_and(|known| Some(known) != cell.currency) {
                let message = format!("{stock_key} is kept in another currency than the cost of what was refurbished");
                return Err(Wait::person(Stage::ReturnCost, Reason::NotInThisRelease.code(), message).into());
            }
            sellable.currency = cell.currency;
            self.put_cell(key, sellable);
        }
        self.put_cell(cell_key, cell);
        for segment in &record.segments {
            let mut issue = self.issue(&segment.issue)?;
            if !issue.settled(segment.from, segment.to) && !issue.open_returns.contains(id) {
                issue.open_returns.push(id.clone());
                self.put_issue(segment.issue.clone(), issue);
            }
        }
        record.costed = true;
        self.put_return(id.clone(), record);
        Ok(self.return_changed(id, stamp)?)
    }

    /// The cost of a return's units changed: posts the difference, and passes it on to what was inspected. A settled return
    /// is done: other units of its issues may still change.
    pub(crate) fn return_changed(&mut self, id: &ReturnId, stamp: &Stamp) -> Result<(), Fault<R::Error>> {
        let Some(mut record) = self.return_of(id)?.filter(|record| record.costed && !record.settled) else {
            return Ok(());
        };
        let cell_key = CellKey { node: record.node.clone(), stock_key: record.stock_key.clone() };
        let Some(currency) = self.cell(&cell_key)?.currency else { return Ok(()) };
        let about = format!("{}, {}", spoken(id), record.stock_key);
        record.settled = true;
        let value_before = record.value_minor;
        for segment in &mut record.segments {
            let issue = self.issue(&segment.issue)?;
            record.settled &= issue.settled(segment.from, segment.to);
            let value_minor = issue.value(segment.from, segment.to);
            let change = value_minor - segment.value_minor;
            segment.value_minor = value_minor;
            record.value_minor += change;
            let line = |node, counterparty| Line {
                node: Some(node),
                item: Some(&cell_key.stock_key.item),
                channel: &issue.channel,
                order_id: &issue.order_id,
                counterparty: Some(counterparty),
                expense: issue.expense.role(),
                cost_minor: change,
                ..Line::new()
            };
            let own = [line(&record.node, &issue.entity)];
            if issue.entity == record.entity {
                self.enter(&RETURN_COST, &record.entity, currency, stamp, &about, &own)?;
            } else {
                let sellers = [line(&issue.node, &record.entity)];
                self.enter(&RETURN_COST_SELLER, &issue.entity, currency, stamp, &about, &sellers)?;
                self.enter(&RETURN_COST_TAKER, &record.entity, currency, stamp, &about, &own)?;
            }
        }
        let mut inspected_minor = 0;
        let mut set_aside_minor = 0;
        let mut changes = Vec::with_capacity(record.inspections.len());
        let (total_minor, quantity) = (record.value_minor, record.quantity);
        for part in &mut record.inspections {
            let value_minor = share(total_minor, part.from, part.to, quantity);
            let carried_minor = part.carried(total_minor, quantity);
            let (cost, carried) = (value_minor - part.value_minor, carried_minor - part.carried_minor);
            (part.value_minor, part.carried_minor) = (value_minor, carried_minor);
            inspected_minor += cost;
            set_aside_minor += if part.waits() { carried } else { 0 };
            changes.push((part.clone(), cost, carried));
        }
        let mut cell = self.cell(&cell_key)?;
        cell.pending_value_minor += record.value_minor - value_before - inspected_minor;
        cell.set_aside_value_minor += set_aside_minor;
        self.put_cell(cell_key.clone(), cell);
        let (entity, settled) = (record.entity.clone(), record.settled);
        self.put_return(id.clone(), record);
        for (part, cost_minor, carried_minor) in changes {
            self.enter_inspected(&entity, &cell_key, currency, &part, (cost_minor, carried_minor), &about, stamp)?;
            if let Some((key, number)) = part.layer_of(&cell_key) {
                self.layer_changed(&key, number, part.carried_minor, settled, stamp)?;
            }
        }
        Ok(())
    }

    pub(super) fn known_return(&mut self, id: &ReturnId) -> Result<Return, Fault<R::Error>> {
        self.return_of(id)?.ok_or_else(|| Fault::Corrupt(format!("{} waits, and is not there", spoken(id))))
    }
}

/// The sale a return names, and the reason code while that is not known.
fn returned_sale(fact: &ReturnReceived) -> Result<(SaleId, &'static str), Reject> {
    match (fact.order_id.is_empty(), fact.sale_id.is_empty()) {
        (false, true) => Ok((order_key(OrderId::new(&fact.order_id)?.as_str()), "ORDER_NOT_KNOWN")),
        (true, false) => {
            let node = NodeId::new(&fact.sale_node)?;
            Ok((counter_key(node.as_str(), OrderId::new(&fact.sale_id)?.as_str()), "SALE_NOT_KNOWN"))
        }
        _ => Err(Reject::new(Reason::InvalidValue, "a return names either an order or a counter sale")),
    }
}

/// The parcel that a return names, as the issues of its goods begin; `None`: it names none.
fn parcel(fact: &ReturnReceived) -> Option<String> {
    (!fact.shipment_id.is_empty()).then(|| format!("shipment:{}:{}:", fact.shipment_node, fact.shipment_id))
}

/// The next `quantity` units of a line to come back, by the issues that took them out: of the supplies `from`, each from its
/// first unit that is not back.
fn take_back(line: &mut SaleLine, from: &[usize], quantity: i64) -> Vec<Segment> {
    let mut left = quantity;
    let mut segments = Vec::new();
    for at in from {
        let Some(supply) = line.supplies.get_mut(*at) else { continue };
        let units = left.min(supply.quantity - supply.returned);
        if units > 0 {
            let (low, high) = (supply.returned, supply.returned + units);
            segments.push(Segment { issue: supply.issue.clone(), from: low, to: high, value_minor: 0 });
            supply.returned = high;
            left -= units;
        }
    }
    segments
}
