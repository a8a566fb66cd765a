//! Orders: prepayments become customer deposits, cancellations give them back.

use std::collections::BTreeSet;

use stockmesh_proto::common::v1::{Order, PaymentTerms};
use stockmesh_proto::convert::{currency, required, specified};
use stockmesh_proto::feed::v1::{OrderLineCancelled, OrderPlaced};
use stockmesh_types::quantity::positive;
use stockmesh_types::{OrderId, Reason, Reject};

use super::{ENTITY_KEY, Incoming, Posted, Wait, fingerprint, own_key, price, units};
use crate::books::Books;
use crate::records::{Records, Sale, SaleLine, Settlement, Stage, order_key};
use crate::rules::{CANCEL_DEPOSIT, Line, ORDER_DEPOSIT, ORDER_DEPOSIT_VAT};

impl<R: Records> Books<R> {
    pub(super) fn order_placed(&mut self, incoming: &Incoming<'_>, fact: &OrderPlaced) -> Posted<(), R> {
        Self::check_coordinator(incoming)?;
        let order = required(&fact.order, "order")?;
        let id = OrderId::new(&order.order_id)?;
        let key = order_key(id.as_str());
        if !self.is_new_document(&key, fact)? {
            return Ok(());
        }
        let stamp = incoming.stamp_at(order.placed_time_ms)?;
        let settlement = match specified::<PaymentTerms>(order.payment_terms, "payment_terms")? {
            PaymentTerms::Unspecified | PaymentTerms::Prepaid => Settlement::Deposit,
            PaymentTerms::OnShipment => Settlement::Psp,
            PaymentTerms::OnAccount => Settlement::Receivable,
        };
        let currency = currency(&order.currency_code, "currency_code")?;
        let lines = order_lines(order)?;
        let named = self.settings.deposit_entity(&order.channel).cloned();
        let Some(entity) = named.or_else(|| self.meta.first_entity.clone()) else {
            return Err(Wait::partner(
                Stage::Whole,
                "ENTITY_NOT_KNOWN",
                ENTITY_KEY.to_owned(),
                "waits until a node is registered: its legal entity holds customers' deposits".to_owned(),
            )
            .into());
        };
        if settlement == Settlement::Deposit {
            let postings: Vec<_> = lines
                .iter()
                .map(|(_, line)| Line {
                    item: Some(&line.stock_key.item),
                    channel: &order.channel,
                    order_id: id.as_str(),
                    price: line.price.clone(),
                    ..Line::new()
                })
                .collect();
            let about = format!("order {id}");
            self.enter(&ORDER_DEPOSIT, &entity, currency, &stamp, &about, &postings)?;
            self.enter(&ORDER_DEPOSIT_VAT, &entity, currency, &stamp, &about, &postings)?;
        }
        let numbers = lines.iter().map(|(number, _)| *number).collect();
        for (number, line) in lines {
            self.put_sale_line(key.clone(), number, line);
        }
        let channel = order.channel.clone();
        self.put_sale(key.clone(), Sale { entity, channel, currency, settlement, lines: numbers });
        self.put_document(key.clone(), fingerprint(fact));
        self.known.push_back(key);
        Ok(())
    }

    /// Units are cancelled from the top of the line, shipped from the bottom: see [`SaleLine`].
    pub(super) fn order_line_cancelled(&mut self, incoming: &Incoming<'_>, fact: &OrderLineCancelled) -> Posted<(), R> {
        Self::check_coordinator(incoming)?;
        let id = OrderId::new(&fact.order_id)?;
        let key = order_key(id.as_str());
        let stamp = incoming.stamp()?;
        let Some(sale) = self.sale(&key)? else {
            return Err(Wait::partner(Stage::Whole, "ORDER_NOT_KNOWN", key, format!("waits for order {id}")).into());
        };
        let Some(mut line) = self.sale_line(&key, fact.line)? else {
            return Err(Reject::new(Reason::UnknownOrderLine, format!("order {id} has no line {}", fact.line)).into());
        };
        if fact.cancelled_total <= line.cancelled {
            return Ok(());
        }
        if fact.cancelled_total > line.quantity - line.shipped {
            return Err(Reject::new(
                Reason::ExceedsLine,
                format!(
                    "{} of order {id}, line {} cancelled, of {} with {} shipped",
                    units(fact.cancelled_total),
                    fact.line,
                    line.quantity,
                    line.shipped
                ),
            )
            .into());
        }
        let (from, to) = (line.quantity - fact.cancelled_total, line.quantity - line.cancelled);
        if sale.settlement == Settlement::Deposit {
            let posting = Line {
                item: Some(&line.stock_key.item),
                channel: &sale.channel,
                order_id: id.as_str(),
                price: line.price.part(from, to, line.quantity),
                ..Line::new()
            };
            let about = format!("{} of order {id}, line {}", units(to - from), fact.line);
            self.enter(&CANCEL_DEPOSIT, &sale.entity, sale.currency, &stamp, &about, &[posting])?;
        }
        line.cancelled = fact.cancelled_total;
        self.put_sale_line(key, fact.line, line);
        Ok(())
    }
}

fn order_lines(order: &Order) -> Result<Vec<(u32, SaleLine)>, Reject> {
    if order.lines.is_empty() {
        return Err(Reject::new(Reason::MissingField, "the order has no lines").field("lines"));
    }
    let mut numbers = BTreeSet::new();
    let line = |(n, wire): (usize, &stockmesh_proto::common::v1::OrderLine)| {
        let field = format!("lines[{n}]");
        if wire.line == 0 || !numbers.insert(wire.line) {
            return Err(
                Reject::new(Reason::DuplicateLine, format!("line {} is 0 or stands twice", wire.line)).field(field)
            );
        }
        let line = SaleLine {
            stock_key: own_key(&wire.stock_key, &format!("{field}.stock_key"))?,
            quantity: positive(wire.quantity, &format!("{field}.quantity"))?,
            price: price(&wire.price, &format!("{field}.price"))?,
            shipped: 0,
            cancelled: 0,
            returned: 0,
            supplies: Vec::new(),
        };
        Ok((wire.line, line))
    };
    order.lines.iter().enumerate().map(line).collect()
}
