//! Returns: the refund at the prices and tax rates of the sale, the goods at the cost at which they left.
//!
//! No returns are estimated in this release: every one is beyond the estimate, and reduces revenue and cost of goods sold
//! when it arrives. A return names a line of an order, or a till document, not a parcel: it takes the shipped units of that
//! line in the order in which they were posted. The refund is the seller's, who is the entity of the node that shipped; goods
//! that another entity takes in are owed to the seller at cost.

use std::collections::BTreeMap;

use stockmesh_proto::convert::specified;
use stockmesh_proto::feed::v1::{Disposition, ReturnInspected, ReturnReceived};
use stockmesh_types::quantity::positive;
use stockmesh_types::{LegalEntity, NodeId, OrderId, Reason, Reject, share};

use super::shipments::shipped_key;
use super::{Incoming, Posted, Wait, fingerprint, own_key, units};
use crate::books::{Books, Fault, Stamp};
use crate::layers::issue_key;
use crate::records::{
    CellKey, Inspection, Price, Records, Return, ReturnId, SaleId, SaleLine, Segment, Stage, counter_key, order_key,
    return_key, spoken,
};
use crate::rules::{
    INSPECTION_RESALE, INSPECTION_WRITE_OFF, Line, RETURN_COST, RETURN_COST_SELLER, RETURN_COST_TAKER, RETURN_REVENUE,
};

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
            Stage::ReturnCost | Stage::Revenue => self.return_cost(&id, &stamp),
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
        let mut lines: Vec<(u32, SaleLine)> = Vec::new();
        for number in numbers {
            let line = self.sale_line(&sale_id, number)?;
            lines.extend(line.filter(|line| line.stock_key.item == record.stock_key.item).map(|line| (number, line)));
        }
        self.check_returnable(&sale_id, fact, &lines, record.quantity)?;

        let mut left = record.quantity;
        let mut refunds: BTreeMap<LegalEntity, Vec<Price>> = BTreeMap::new();
        for (number, mut line) in lines {
            let quantity = left.min(line.shipped - line.returned);
            if quantity == 0 {
                continue;
            }
            left -= quantity;
            for segment in segments(&line, quantity) {
                let units = segment.to - segment.from;
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

    /// Whether the sale has that many units that left and are not back yet.
    fn check_returnable(
        &self,
        sale_id: &SaleId,
        fact: &ReturnReceived,
        lines: &[(u32, SaleLine)],
        quantity: i64,
    ) -> Posted<(), R> {
        let returnable: i64 = lines.iter().map(|(_, line)| line.shipped - line.returned).sum();
        if quantity <= returnable {
            return Ok(());
        }
        let sold: i64 = lines.iter().map(|(_, line)| line.quantity - line.returned).sum();
        let message = format!(
            "{} of {} came back, of {sold} sold and {returnable} shipped and not returned",
            units(quantity),
            spoken(sale_id)
        );
        if quantity <= sold {
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
        let mut inspected_change = 0;
        let mut layers = Vec::new();
        for part in &mut record.inspections {
            let value_minor = share(record.value_minor, part.from, part.to, record.quantity);
            let change = value_minor - part.value_minor;
            part.value_minor = value_minor;
            inspected_change += change;
            layers.push((part.layer, value_minor, change));
        }
        let mut cell = self.cell(&cell_key)?;
        cell.pending_value_minor += record.value_minor - value_before - inspected_change;
        self.put_cell(cell_key.clone(), cell);
        let (entity, settled) = (record.entity.clone(), record.settled);
        self.put_return(id.clone(), record);
        for (layer, value_minor, cost_minor) in layers {
            let rule = if layer.is_some() { &INSPECTION_RESALE } else { &INSPECTION_WRITE_OFF };
            let line = Line { node: Some(&cell_key.node), item: Some(cell_key.item()), cost_minor, ..Line::new() };
            self.enter(rule, &entity, currency, stamp, &about, &[line])?;
            if let Some(number) = layer {
                self.layer_changed(&cell_key, number, value_minor, settled, stamp)?;
            }
        }
        Ok(())
    }

    pub(super) fn return_inspected(&mut self, incoming: &Incoming<'_>, fact: &ReturnInspected) -> Posted<(), R> {
        let (node, _) = self.writer(incoming)?;
        let id = return_key(node.as_str(), OrderId::new(&fact.return_id)?.as_str());
        let stamp = incoming.stamp()?;
        let Some(mut record) = self.return_of(&id)? else {
            let message = format!("waits for return {}", fact.return_id);
            return Err(Wait::partner(Stage::Whole, "RETURN_NOT_KNOWN", id, message).into());
        };
        let quantity = positive(fact.quantity, "quantity")?;
        check_inspection(fact, &record, quantity)?;
        let resale = match specified::<Disposition>(fact.disposition, "disposition")? {
            Disposition::Resale => true,
            Disposition::WriteOff => false,
            other @ (Disposition::Unspecified
            | Disposition::Refurbish
            | Disposition::Liquidate
            | Disposition::ReturnToVendor) => {
                let message = format!("{} is not posted in this release", other.as_str_name());
                return Err(Reject::new(Reason::NotInThisRelease, message).into());
            }
        };
        let (from, to) = (record.inspected, record.inspected + quantity);
        let value_minor = share(record.value_minor, from, to, record.quantity);
        let key = CellKey { node: node.clone(), stock_key: record.stock_key.clone() };
        let mut cell = self.cell(&key)?;
        cell.pending_quantity -= quantity;
        cell.pending_value_minor -= value_minor;
        let currency = cell.currency;
        self.put_cell(key.clone(), cell);
        let rule = if resale { &INSPECTION_RESALE } else { &INSPECTION_WRITE_OFF };
        if let Some(currency) = currency {
            let line = Line { node: Some(&node), item: Some(key.item()), cost_minor: value_minor, ..Line::new() };
            let about = format!("{} of {} at {node}, return {}", units(quantity), key.stock_key, fact.return_id);
            self.enter(rule, &record.entity, currency, &stamp, &about, &[line])?;
        }
        let layer = if resale { Some(self.restock_units(&key, quantity, value_minor, record.settled)?) } else { None };
        record.inspected = to;
        record.inspections.push(Inspection { from, to, layer, value_minor });
        self.put_return(id, record);
        Ok(())
    }

    fn known_return(&mut self, id: &ReturnId) -> Result<Return, Fault<R::Error>> {
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

/// The next `quantity` units of a line to come back, by the issues that took them out.
fn segments(line: &SaleLine, quantity: i64) -> Vec<Segment> {
    let (first, end) = (line.returned, line.returned + quantity);
    let mut start = 0;
    let mut segments = Vec::new();
    for supply in &line.supplies {
        let (from, to) = ((first - start).max(0), (end - start).min(supply.quantity));
        if from < to {
            segments.push(Segment { issue: supply.issue.clone(), from, to, value_minor: 0 });
        }
        start += supply.quantity;
    }
    segments
}

fn check_inspection(fact: &ReturnInspected, record: &Return, quantity: i64) -> Result<(), Reject> {
    if own_key(&fact.stock_key, "stock_key")? != record.stock_key {
        let message = format!(
            "return {} is of {}: a change of grade is not posted in this release",
            fact.return_id, record.stock_key
        );
        return Err(Reject::new(Reason::NotInThisRelease, message));
    }
    let left = record.quantity - record.inspected;
    if quantity > left {
        let message = format!("{} of return {} inspected, of {left} left", units(quantity), fact.return_id);
        return Err(Reject::new(Reason::ExceedsReturn, message));
    }
    Ok(())
}
