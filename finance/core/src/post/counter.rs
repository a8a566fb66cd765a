//! Counter sales: revenue and cost at once, settled in cash or by card; reported after the fact or not, that is the same. A sale
//! that is voided is taken back whole, and its goods are on the shelf at the cost at which they had left.

use stockmesh_proto::common::v1::Tender;
use stockmesh_proto::convert::{currency, required, specified};
use stockmesh_proto::feed::v1::{CounterSaleLine, SaleVoided, SoldAtCounter};
use stockmesh_types::quantity::positive;
use stockmesh_types::{NodeId, OrderId, Reason, Reject};

use super::shipments::{Leave, Leaving};
use super::{Incoming, Posted, Wait, fingerprint, own_key, price, units};
use crate::books::Books;
use crate::passages::segments_of;
use crate::records::{
    CellKey, Expense, Node, Passage, PassageId, PassageKind, PassagePart, Records, Sale, SaleLine, Settlement, Stage,
    Supply, counter_key, passage_key,
};
use crate::rules::{COUNTER_COST, COUNTER_REVENUE, Line, VOID_REVENUE};

/// Channel of every counter sale.
const CHANNEL: &str = "store";

impl<R: Records> Books<R> {
    pub(super) fn sold_at_counter(&mut self, incoming: &Incoming<'_>, fact: &SoldAtCounter) -> Posted<(), R> {
        let (node, record) = self.writer(incoming)?;
        let id = OrderId::new(&fact.sale_id)?;
        let key = counter_key(node.as_str(), id.as_str());
        if !self.is_new_document(&key, fact)? {
            return Ok(());
        }
        let stamp = incoming.stamp_at(fact.sold_time_ms)?;
        let currency = currency(&fact.currency_code, "currency_code")?;
        let settlement = match specified::<Tender>(fact.tender, "tender")? {
            Tender::Unspecified | Tender::Cash => Settlement::Cash,
            Tender::Card => Settlement::Card,
        };
        if fact.lines.is_empty() {
            return Err(Reject::new(Reason::MissingField, "the sale has no lines").field("lines").into());
        }
        let line = |(n, wire): (usize, &CounterSaleLine)| {
            let quantity = positive(wire.quantity, &format!("lines[{n}].quantity"))?;
            Ok(SaleLine {
                stock_key: own_key(&wire.stock_key, &format!("lines[{n}].stock_key"))?,
                quantity,
                price: price(&wire.price, &format!("lines[{n}].price"))?,
                shipped: quantity,
                cancelled: 0,
                returned: 0,
                supplies: vec![Supply { issue: format!("{key}:{n}"), quantity, returned: 0 }],
            })
        };
        let lines = fact.lines.iter().enumerate().map(line).collect::<Result<Vec<_>, Reject>>()?;

        let about = format!("counter sale {id} at {node}");
        let revenue: Vec<_> = lines
            .iter()
            .map(|line| Line {
                node: Some(&node),
                item: Some(&line.stock_key.item),
                channel: CHANNEL,
                order_id: id.as_str(),
                settlement: settlement.role(),
                price: line.price.clone(),
                ..Line::new()
            })
            .collect();
        self.enter(&COUNTER_REVENUE, &record.entity, currency, &stamp, &about, &revenue)?;
        let leaving: Vec<_> = lines
            .iter()
            .enumerate()
            .map(|(n, line)| Leaving {
                id: format!("{key}:{n}"),
                stock_key: line.stock_key.clone(),
                quantity: line.quantity,
            })
            .collect();
        let expense = Expense::CostOfGoodsSold;
        let cost = Leave { rule: &COUNTER_COST, expense, channel: CHANNEL, lane: "", about: &about };
        self.leave(&cost, &node, &record.entity, id.as_str(), &leaving, &stamp)?;

        let mut numbers = Vec::with_capacity(lines.len());
        for (number, line) in (1..).zip(lines) {
            numbers.push(number);
            self.put_sale_line(key.clone(), number, line);
        }
        let channel = CHANNEL.to_owned();
        self.put_sale(key.clone(), Sale { entity: record.entity, channel, currency, settlement, lines: numbers });
        self.put_document(key.clone(), fingerprint(fact));
        self.known.push_back(key);
        Ok(())
    }

    pub(super) fn sale_voided(&mut self, incoming: &Incoming<'_>, fact: &SaleVoided, stage: Stage) -> Posted<(), R> {
        let (node, record) = self.writer(incoming)?;
        let id = OrderId::new(&fact.void_id)?;
        let document = format!("void:{node}:{id}");
        let voided = required(&fact.sale, "sale")?;
        let sale_id = OrderId::new(&voided.sale_id)?;
        let key = counter_key(node.as_str(), sale_id.as_str());
        let stamp = incoming.stamp()?;
        let Some(sale) = self.sale(&key)? else {
            let message = format!("waits for counter sale {sale_id} at {node}");
            return Err(Wait::partner(Stage::Whole, "SALE_NOT_KNOWN", key, message).into());
        };
        let passages: Vec<_> =
            (0..sale.lines.len()).map(|n| passage_key("void", node.as_str(), id.as_str(), n)).collect();
        if stage == Stage::Whole {
            if !self.is_new_document(&document, fact)? {
                return Ok(());
            }
            let mut lines = Vec::with_capacity(sale.lines.len());
            for number in &sale.lines {
                let Some(line) = self.sale_line(&key, *number)? else { continue };
                if line.returned > 0 {
                    let message = format!(
                        "{} of line {number} of counter sale {sale_id} at {node} came back before it was voided",
                        units(line.returned)
                    );
                    return Err(Reject::new(Reason::ExceedsLine, message).into());
                }
                lines.push((*number, line));
            }
            let about = format!("counter sale {sale_id} at {node}, void {id}");
            let revenue: Vec<_> = lines
                .iter()
                .map(|(_, line)| Line {
                    node: Some(&node),
                    item: Some(&line.stock_key.item),
                    channel: CHANNEL,
                    order_id: sale_id.as_str(),
                    settlement: sale.settlement.role(),
                    price: line.price.clone(),
                    ..Line::new()
                })
                .collect();
            self.enter(&VOID_REVENUE, &sale.entity, sale.currency, &stamp, &about, &revenue)?;
            for ((number, mut line), passage) in lines.into_iter().zip(&passages) {
                self.take_back(passage, &node, &record, sale_id.as_str(), &line)?;
                line.returned = line.quantity;
                line.place_returns();
                self.put_sale_line(key.clone(), number, line);
            }
            self.put_document(document, fingerprint(fact));
        }
        self.cost_passages(&passages, &stamp)
    }

    /// Puts the goods of a line back, as a layer beside those that wait for a receipt: they may be the same units.
    fn take_back(
        &mut self,
        id: &PassageId,
        node: &NodeId,
        record: &Node,
        sale_id: &str,
        line: &SaleLine,
    ) -> Posted<(), R> {
        let cell = CellKey { node: node.clone(), stock_key: line.stock_key.clone() };
        let layer = Some(self.restock_units(&cell, line.quantity, 0, false)?);
        let stock_key = line.stock_key.clone();
        let passage = Passage {
            kind: PassageKind::Void,
            node: node.clone(),
            entity: record.entity.clone(),
            source_node: node.clone(),
            source_entity: record.entity.clone(),
            lane: String::new(),
            channel: CHANNEL.to_owned(),
            order_id: sale_id.to_owned(),
            segments: segments_of(&line.supplies, 0, line.quantity),
            whole: line.quantity,
            parts: vec![PassagePart { stock_key, from: 0, to: line.quantity, layer, value_minor: 0 }],
            costed: false,
            value_minor: 0,
            settled: false,
        };
        self.put_passage(id.clone(), passage);
        Ok(())
    }
}
