//! Refunds: committed by the coordinator, paid at tills.
//!
//! Goods that came back were owed for when they arrived, at the price of the sale (`returns`): a committed refund says how much
//! of that is kept. For goods that the customer keeps, it is what makes the refund payable; a refund for them that a till paid
//! without asking does both at once, as the coordinator commits no other one for it. Whoever is the seller of the units
//! owes it; a till of another entity that pays it has a claim on the seller.

use stockmesh_proto::common::v1::Tender;
use stockmesh_proto::convert::{currency, required, specified};
use stockmesh_proto::feed::v1::{CounterRefundPaid, RefundCommitted, RefundPaidOffline};
use stockmesh_types::quantity::positive;
use stockmesh_types::{Currency, LegalEntity, NodeId, OrderId, Reason, Reject, share};

use super::shipments::shipped_key;
use super::{Incoming, Posted, Wait, fingerprint, units};
use crate::books::{Books, Fault, Stamp};
use crate::records::{Node, Price, Records, Sale, SaleId, SaleLine, Settlement, Stage, Tax, counter_key, order_key};
use crate::rules::{Line, REFUND_ALLOWANCE, REFUND_FEE, REFUND_OWED_TO_PAYER, REFUND_PAID, REFUND_PAID_FOR};

/// A refund that was paid at a till.
struct Paid<'a> {
    about: String,
    document: &'a str,
    channel: &'a str,
    seller: LegalEntity,
    currency: Currency,
    amount_minor: i64,
    tender: Settlement,
}

impl<R: Records> Books<R> {
    pub(super) fn refund_committed(&mut self, incoming: &Incoming<'_>, fact: &RefundCommitted) -> Posted<(), R> {
        Self::check_coordinator(incoming)?;
        let id = OrderId::new(&fact.refund_id)?;
        let document = format!("refund:{}:{id}", fact.node);
        if !self.is_new_document(&document, fact)? {
            return Ok(());
        }
        let stamp = incoming.stamp()?;
        let key = order_key(OrderId::new(&fact.order_id)?.as_str());
        let amount = required(&fact.amount, "amount")?;
        let committed = price_of(fact, amount.minor)?;
        let quantity = positive(fact.quantity, "quantity")?;
        let (sale, line, seller) = self.refundable(&key, &fact.order_id, fact.line)?;
        if currency(&amount.currency_code, "amount.currency_code")? != sale.currency {
            let message =
                format!("order {} is in {}, its refund in {}", fact.order_id, sale.currency, amount.currency_code);
            return Err(Reject::new(Reason::CurrencyMismatch, message).field("amount").into());
        }
        let node = (!fact.node.is_empty()).then(|| NodeId::new(&fact.node)).transpose()?;
        let (from, to) = (fact.refunded_total - quantity, fact.refunded_total);
        if from < 0 || to > line.quantity {
            let message = format!("units {from} to {to} of {} of order {} refunded", line.quantity, fact.order_id);
            return Err(Reject::new(Reason::ExceedsLine, message).field("refunded_total").into());
        }
        let charged = line.price.part(from, to, line.quantity);
        let about = format!("{id}, {} of order {}, line {}", units(quantity), fact.order_id, fact.line);
        let (rule, price) =
            if fact.with_return { (&REFUND_FEE, less(&charged, &committed)) } else { (&REFUND_ALLOWANCE, committed) };
        if rule.name == REFUND_FEE.name && price.owed_minor() < 0 {
            let message = format!(
                "refund {id} is of {}, and the units had cost the customer {}",
                amount.minor,
                charged.owed_minor()
            );
            return Err(Reject::new(Reason::AmountTooLarge, message).field("amount").into());
        }
        let posting = Line {
            node: node.as_ref(),
            item: Some(&line.stock_key.item),
            channel: &sale.channel,
            order_id: &fact.order_id,
            price,
            ..Line::new()
        };
        self.enter(rule, &seller, sale.currency, &stamp, &about, &[posting])?;
        self.put_document(document, fingerprint(fact));
        Ok(())
    }

    pub(super) fn refund_paid_offline(&mut self, incoming: &Incoming<'_>, fact: &RefundPaidOffline) -> Posted<(), R> {
        let (node, record) = self.writer(incoming)?;
        let id = OrderId::new(&fact.refund_id)?;
        let document = format!("payment:{node}:{id}");
        if !self.is_new_document(&document, fact)? {
            return Ok(());
        }
        let stamp = incoming.stamp()?;
        let key = order_key(OrderId::new(&fact.order_id)?.as_str());
        let (amount_minor, currency) = paid_amount(fact.amount_minor, &fact.currency_code)?;
        let tender = tender(fact.tender)?;
        let (sale, line, seller) = self.refundable(&key, &fact.order_id, fact.line)?;
        let quantity = positive(fact.quantity, "quantity")?;
        if currency != sale.currency {
            let message = format!("order {} is in {}, its refund in {currency}", fact.order_id, sale.currency);
            return Err(Reject::new(Reason::CurrencyMismatch, message).field("currency_code").into());
        }
        let paid = Paid {
            about: format!("refund {id} at {node}, order {}, line {}", fact.order_id, fact.line),
            document: &fact.order_id,
            channel: &sale.channel,
            seller,
            currency,
            amount_minor,
            tender,
        };
        if fact.return_id.is_empty() {
            let charged = line.price.part(0, quantity.min(line.quantity), line.quantity);
            let posting = Line {
                node: Some(&node),
                item: Some(&line.stock_key.item),
                channel: &sale.channel,
                order_id: &fact.order_id,
                price: portion(&charged, amount_minor),
                ..Line::new()
            };
            self.enter(&REFUND_ALLOWANCE, &paid.seller, currency, &stamp, &paid.about, &[posting])?;
        }
        self.pay(&node, &record, &paid, &stamp)?;
        self.put_document(document, fingerprint(fact));
        Ok(())
    }

    pub(super) fn counter_refund_paid(&mut self, incoming: &Incoming<'_>, fact: &CounterRefundPaid) -> Posted<(), R> {
        let (node, record) = self.writer(incoming)?;
        let id = OrderId::new(&fact.refund_id)?;
        let document = format!("payment:{node}:{id}");
        if !self.is_new_document(&document, fact)? {
            return Ok(());
        }
        let stamp = incoming.stamp()?;
        let sale_node = NodeId::new(&fact.sale_node)?;
        let key = counter_key(sale_node.as_str(), OrderId::new(&fact.sale_id)?.as_str());
        let (amount_minor, currency) = paid_amount(fact.amount_minor, &fact.currency_code)?;
        let tender = tender(fact.tender)?;
        let Some(sale) = self.sale(&key)? else {
            let message = format!("waits for counter sale {} at {sale_node}", fact.sale_id);
            return Err(Wait::partner(Stage::Whole, "SALE_NOT_KNOWN", key, message).into());
        };
        let paid = Paid {
            about: format!("refund {id} at {node}, counter sale {} at {sale_node}", fact.sale_id),
            document: &fact.sale_id,
            channel: &sale.channel,
            seller: sale.entity,
            currency,
            amount_minor,
            tender,
        };
        self.pay(&node, &record, &paid, &stamp)?;
        self.put_document(document, fingerprint(fact));
        Ok(())
    }

    fn pay(&mut self, node: &NodeId, payer: &Node, paid: &Paid<'_>, stamp: &Stamp) -> Result<(), Fault<R::Error>> {
        let line = |counterparty| Line {
            node: Some(node),
            channel: paid.channel,
            order_id: paid.document,
            counterparty: Some(counterparty),
            settlement: paid.tender.role(),
            price: Price { sales_minor: paid.amount_minor, ..Price::default() },
            ..Line::new()
        };
        let (payer, seller, currency, about) = (&payer.entity, &paid.seller, paid.currency, paid.about.as_str());
        if payer == seller {
            return self.enter(&REFUND_PAID, payer, currency, stamp, about, &[line(seller)]);
        }
        self.enter(&REFUND_PAID_FOR, payer, currency, stamp, about, &[line(seller)])?;
        self.enter(&REFUND_OWED_TO_PAYER, seller, currency, stamp, about, &[line(payer)])
    }

    /// The line of an order that units left on, and who sold them: the entity of the node that shipped first.
    fn refundable(&mut self, key: &SaleId, order_id: &str, number: u32) -> Posted<(Sale, SaleLine, LegalEntity), R> {
        let Some(sale) = self.sale(key)? else {
            let message = format!("waits for order {order_id}");
            return Err(Wait::partner(Stage::Whole, "ORDER_NOT_KNOWN", key.clone(), message).into());
        };
        let Some(line) = self.sale_line(key, number)? else {
            return Err(Reject::new(Reason::UnknownOrderLine, format!("order {order_id} has no line {number}")).into());
        };
        let Some(first) = line.supplies.first() else {
            let message = format!("waits for a shipment of line {number} of order {order_id}");
            return Err(Wait::partner(Stage::Whole, "SHIPMENT_NOT_KNOWN", shipped_key(key, number), message).into());
        };
        let seller = self.issue(&first.issue)?.entity;
        Ok((sale, line, seller))
    }
}

/// What a refund gives back, as a price: net, and each tax. Its parts must be the whole.
fn price_of(fact: &RefundCommitted, amount_minor: i64) -> Result<Price, Reject> {
    let vat = i32::from(stockmesh_proto::common::v1::TaxRegime::Vat);
    let taxes: Vec<_> = fact
        .taxes
        .iter()
        .map(|tax| Tax {
            jurisdiction: tax.jurisdiction.clone(),
            vat: tax.regime == vat,
            rate_ppm: tax.rate_ppm,
            tax_minor: tax.tax_minor,
        })
        .collect();
    let parts = taxes.iter().map(|tax| tax.tax_minor).chain([fact.net_minor]);
    let sum: i128 = parts.clone().map(i128::from).sum();
    if sum != i128::from(amount_minor) || amount_minor <= 0 || parts.into_iter().any(|part| part < 0) {
        let message =
            format!("net {} and taxes are not the {amount_minor} refunded, or one is negative", fact.net_minor);
        return Err(Reject::new(Reason::Unbalanced, message).field("amount"));
    }
    if amount_minor > stockmesh_proto::convert::MAX_AMOUNT_MINOR {
        return Err(Reject::new(Reason::AmountTooLarge, "the refund is too large").field("amount"));
    }
    Ok(Price { sales_minor: fact.net_minor, discount_minor: 0, coupon_minor: 0, taxes })
}

/// An amount that was paid back of what was charged, with each tax in proportion; what goes beyond the charge has no tax.
fn portion(charged: &Price, amount_minor: i64) -> Price {
    let whole = charged.owed_minor();
    let taxes: Vec<_> = charged
        .taxes
        .iter()
        .map(|tax| {
            let part = amount_minor < whole;
            let tax_minor = if part { share(tax.tax_minor, 0, amount_minor, whole) } else { tax.tax_minor };
            Tax { tax_minor: tax_minor.min(amount_minor), ..tax.clone() }
        })
        .collect();
    let tax_minor: i64 = taxes.iter().map(|tax| tax.tax_minor).sum();
    Price { sales_minor: amount_minor - tax_minor, discount_minor: 0, coupon_minor: 0, taxes }
}

/// What was charged beyond what is refunded: net, and each tax by its jurisdiction and rate.
fn less(charged: &Price, refunded: &Price) -> Price {
    let mut taxes = charged.taxes.clone();
    for tax in &refunded.taxes {
        let same = |known: &&mut Tax| known.jurisdiction == tax.jurisdiction && known.rate_ppm == tax.rate_ppm;
        match taxes.iter_mut().find(same) {
            Some(known) => known.tax_minor -= tax.tax_minor,
            None => taxes.push(Tax { tax_minor: -tax.tax_minor, ..tax.clone() }),
        }
    }
    // A manufacturer's coupon was no money of the customer's.
    let net_minor = charged.sales_minor - charged.discount_minor - charged.coupon_minor - refunded.sales_minor;
    Price { sales_minor: net_minor, discount_minor: 0, coupon_minor: 0, taxes }
}

fn paid_amount(amount_minor: i64, currency_code: &str) -> Result<(i64, Currency), Reject> {
    if amount_minor <= 0 || amount_minor > stockmesh_proto::convert::MAX_AMOUNT_MINOR {
        let message = format!("{amount_minor} was paid: an amount is positive, and not too large");
        return Err(Reject::new(Reason::InvalidValue, message).field("amount_minor"));
    }
    Ok((amount_minor, currency(currency_code, "currency_code")?))
}

fn tender(wire: i32) -> Result<Settlement, Reject> {
    Ok(match specified::<Tender>(wire, "tender")? {
        Tender::Unspecified | Tender::Cash => Settlement::Cash,
        Tender::Card => Settlement::Card,
    })
}
