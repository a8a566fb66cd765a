//! Shipments: cost when goods leave, in the order of the node's feed; revenue as soon as the order is known too.
//!
//! The entity of the shipping node is the seller of what it ships. When another entity holds the customer's deposit, that
//! one owes it to the seller from then on.

use std::collections::BTreeMap;

use stockmesh_proto::feed::v1::ShipmentDispatched;
use stockmesh_types::quantity::positive;
use stockmesh_types::{Currency, LegalEntity, NodeId, OrderId, Reason, Reject, StockKey};

use super::{Incoming, Posted, Stop, Wait, fingerprint, own_key, units};
use crate::accounts::Role;
use crate::books::{Books, Fault, Stamp};
use crate::layers::Taken;
use crate::records::{CellKey, Expense, Issue, IssueId, Records, SaleLine, Settlement, Stage, Supply, order_key};
use crate::rules::{Line, Rule, SHIPMENT_COST, SHIPMENT_DEPOSIT_TRANSFER, SHIPMENT_DEPOSIT_VAT, SHIPMENT_REVENUE};

/// Units that leave a node, for the entry of their cost.
pub(super) struct Leaving {
    pub id: IssueId,
    pub stock_key: StockKey,
    pub quantity: i64,
}

impl<R: Records> Books<R> {
    pub(super) fn shipment_dispatched(
        &mut self,
        incoming: &Incoming<'_>,
        fact: &ShipmentDispatched,
        stage: Stage,
    ) -> Posted<(), R> {
        let (node, record) = self.writer(incoming)?;
        let id = OrderId::new(&fact.shipment_id)?;
        let document = format!("shipment:{node}:{id}");
        let stamp = incoming.stamp()?;
        if stage == Stage::Whole {
            if !self.is_new_document(&document, fact)? {
                return Ok(());
            }
            OrderId::new(&fact.order_id)?;
            let line = |(n, line): (usize, &stockmesh_proto::feed::v1::ShipmentLine)| {
                Ok(Leaving {
                    id: format!("{document}:{n}"),
                    stock_key: own_key(&line.stock_key, &format!("lines[{n}].stock_key"))?,
                    quantity: positive(line.quantity, &format!("lines[{n}].quantity"))?,
                })
            };
            let leaving = fact.lines.iter().enumerate().map(line).collect::<Result<Vec<_>, Reject>>()?;
            let about = format!("shipment {id} from {node}, order {}", fact.order_id);
            // Cost waits for nothing: without the order it has no channel.
            let channel = self.sale(&order_key(&fact.order_id))?.map(|sale| sale.channel).unwrap_or_default();
            let expense = Expense::CostOfGoodsSold;
            let cost = Leave { rule: &SHIPMENT_COST, expense, channel: &channel, lane: "", about: &about };
            self.leave(&cost, &node, &record.entity, &fact.order_id, &leaving, &stamp)?;
            self.put_document(document.clone(), fingerprint(fact));
        }
        self.shipment_revenue(fact, &document, &node, &record.entity, &stamp)
    }

    fn shipment_revenue(
        &mut self,
        fact: &ShipmentDispatched,
        document: &str,
        node: &NodeId,
        entity: &LegalEntity,
        stamp: &Stamp,
    ) -> Posted<(), R> {
        let key = order_key(&fact.order_id);
        let Some(sale) = self.sale(&key)? else {
            let message = format!("waits for order {}; the shipment's cost is posted", fact.order_id);
            return Err(Wait::partner(Stage::Revenue, "ORDER_NOT_KNOWN", key, message).into());
        };
        // Everything is checked before anything is posted: two allocations of a shipment may serve one line.
        let mut lines: BTreeMap<u32, SaleLine> = BTreeMap::new();
        let mut parts = Vec::with_capacity(fact.lines.len());
        for (n, shipped) in fact.lines.iter().enumerate() {
            let refuse = |reason: Reason, message: String| -> Stop<R::Error> {
                Wait::person(Stage::Revenue, reason.code(), format!("{message}; the cost is posted")).into()
            };
            if let std::collections::btree_map::Entry::Vacant(vacant) = lines.entry(shipped.line) {
                let line = self.sale_line(&key, shipped.line)?.ok_or_else(|| {
                    refuse(Reason::UnknownOrderLine, format!("order {} has no line {}", fact.order_id, shipped.line))
                })?;
                vacant.insert(line);
            }
            let Some(line) = lines.get_mut(&shipped.line) else { continue };
            // What left in place of the goods ordered names these too.
            let ordered = shipped.substituted_for.is_some().then_some(&shipped.substituted_for);
            let ordered = ordered.unwrap_or(&shipped.stock_key);
            if own_key(ordered, "stock_key").ok().as_ref() != Some(&line.stock_key) {
                let message = format!("line {} of order {} is {}", shipped.line, fact.order_id, line.stock_key);
                return Err(refuse(Reason::InvalidValue, format!("{message}, and other goods were shipped")));
            }
            if shipped.quantity > line.quantity - line.cancelled - line.shipped {
                return Err(refuse(
                    Reason::ExceedsLine,
                    format!(
                        "{} of order {}, line {} shipped, of {} with {} shipped and {} cancelled before",
                        units(shipped.quantity),
                        fact.order_id,
                        shipped.line,
                        line.quantity,
                        line.shipped,
                        line.cancelled
                    ),
                ));
            }
            parts.push(line.price.part(line.shipped, line.shipped + shipped.quantity, line.quantity));
            line.shipped += shipped.quantity;
            let issue = format!("{document}:{n}");
            line.supplies.push(Supply { issue, quantity: shipped.quantity, returned: 0 });
        }
        let passed_on = sale.settlement == Settlement::Deposit && sale.entity != *entity;
        let posting = |counterparty| {
            let of = |(shipped, price): (&stockmesh_proto::feed::v1::ShipmentLine, &crate::records::Price)| Line {
                node: Some(node),
                item: lines.get(&shipped.line).map(|line| &line.stock_key.item),
                channel: &sale.channel,
                order_id: &fact.order_id,
                counterparty: Some(counterparty),
                settlement: if passed_on { Role::Intercompany } else { sale.settlement.role() },
                price: price.clone(),
                ..Line::new()
            };
            fact.lines.iter().zip(&parts).map(of).collect::<Vec<_>>()
        };
        let about = format!("shipment {} from {node}, order {}", fact.shipment_id, fact.order_id);
        if passed_on {
            let lines = posting(entity);
            self.enter(&SHIPMENT_DEPOSIT_TRANSFER, &sale.entity, sale.currency, stamp, &about, &lines)?;
        }
        self.enter(&SHIPMENT_REVENUE, entity, sale.currency, stamp, &about, &posting(&sale.entity))?;
        if sale.settlement == Settlement::Deposit {
            self.enter(&SHIPMENT_DEPOSIT_VAT, &sale.entity, sale.currency, stamp, &about, &posting(entity))?;
        }
        for n in 0..fact.lines.len() {
            self.note_channel(&format!("{document}:{n}"), &sale.channel)?;
        }
        for (number, line) in lines {
            self.known.push_back(shipped_key(&key, number));
            self.put_sale_line(key.clone(), number, line);
        }
        Ok(())
    }

    /// The order of an issue became known: its channel is on what its cost is trued up by, and on its returns.
    fn note_channel(&mut self, id: &IssueId, channel: &str) -> Result<(), Fault<R::Error>> {
        let mut issue = self.issue(id)?;
        if issue.channel != channel {
            channel.clone_into(&mut issue.channel);
            self.put_issue(id.clone(), issue);
        }
        Ok(())
    }

    /// Takes goods out of a node's stock, and posts their cost: one entry for each currency of cost.
    pub(super) fn leave(
        &mut self,
        leave: &Leave<'_>,
        node: &NodeId,
        entity: &LegalEntity,
        order_id: &str,
        leaving: &[Leaving],
        stamp: &Stamp,
    ) -> Result<(), Fault<R::Error>> {
        let mut by_currency: BTreeMap<Currency, Vec<Line<'_>>> = BTreeMap::new();
        for Leaving { id, stock_key, quantity } in leaving {
            let issue = Issue {
                node: node.clone(),
                entity: entity.clone(),
                stock_key: stock_key.clone(),
                currency: None,
                expense: leave.expense,
                order_id: order_id.to_owned(),
                channel: leave.channel.to_owned(),
                lane: leave.lane.to_owned(),
                parts: Vec::new(),
                open_returns: Vec::new(),
            };
            let cell = CellKey { node: node.clone(), stock_key: stock_key.clone() };
            let Taken { cost_minor, provisional_minor } = self.take_units(&cell, id, *quantity, issue)?;
            // Without a currency no cost was ever known, and there is nothing to post.
            let Some(currency) = self.cell(&cell)?.currency else { continue };
            by_currency.entry(currency).or_default().push(Line {
                node: Some(node),
                item: Some(&stock_key.item),
                channel: leave.channel,
                order_id,
                expense: leave.expense.role(),
                lane: leave.lane,
                cost_minor,
                provisional_minor,
                ..Line::new()
            });
        }
        by_currency
            .into_iter()
            .try_for_each(|(currency, lines)| self.enter(leave.rule, entity, currency, stamp, leave.about, &lines))
    }
}

/// How goods leave: the rule of their cost, and what it says about them.
pub(super) struct Leave<'a> {
    pub rule: &'a Rule,
    pub expense: Expense,
    pub channel: &'a str,
    /// Of goods that leave for another node; empty: none.
    pub lane: &'a str,
    pub about: &'a str,
}

/// What returns wait for that came before the shipment of their goods.
pub(super) fn shipped_key(sale: &str, line: u32) -> String {
    format!("shipped:{sale}:{line}")
}
