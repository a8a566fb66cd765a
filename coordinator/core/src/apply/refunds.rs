//! Refunds: committed here, per order line, wherever they were asked. `RequestRefund` is customer service's; nodes ask over
//! their feed, or report what they paid while nobody could be asked.
//!
//! Units: those refunded after they came back never exceed those that came back; all together never exceed those shipped,
//! and neither do returned ones and those that customers keep. Amounts: each refund is at most the cumulative share of its
//! units in what was charged, so that all refunds of a line never exceed it.

use std::sync::Arc;

use stockmesh_proto::common::v1::{Money, TaxLine};
use stockmesh_proto::coordinator::v1::Refund;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{RefundCommitted, RefundDecided, RefundPaidOffline, RefundRequested};
use stockmesh_proto::raft::v1::RequestRefund;
use stockmesh_types::{ExceptionCode, OrderId, Quantity, Reason, Reject, quantity, share};

use super::{Stop, Tx};
use crate::State;
use crate::records::RememberedOutcome;
use crate::supply::{LineRefunds, MAX_REFUNDS};

/// A refund that somebody asks for.
struct Asked<'a> {
    refund_id: &'a str,
    /// Empty: customer service.
    node: &'a str,
    order_id: &'a str,
    line: u32,
    quantity: Quantity,
    with_return: bool,
    return_id: &'a str,
    /// 0: the whole share.
    amount_minor: i64,
    /// Empty: the order's.
    currency_code: &'a str,
}

/// What was charged for an order line, minor units.
pub(crate) struct Charged {
    pub currency_code: String,
    pub minor: i64,
    taxes: Vec<TaxLine>,
}

/// What units of a line may be refunded for.
struct Share {
    minor: i64,
    taxes: Vec<TaxLine>,
}

impl State {
    /// What the customer owes for a whole line, tax included.
    pub(crate) fn charged(&self, line: u32) -> Charged {
        let record = &self.lines[line];
        let order = Self::order_body(&self.orders[record.order]);
        let price = order.lines.into_iter().find(|given| given.line == record.line).and_then(|given| given.price);
        let price = price.unwrap_or_default();
        let tax: i64 = price.taxes.iter().map(|tax| tax.tax_minor).sum();
        let net = price.sales_minor - price.discount_minor - price.manufacturer_coupon_minor;
        Charged { currency_code: order.currency_code, minor: net + tax, taxes: price.taxes }
    }

    /// Refunds of a line so far.
    pub(crate) fn line_refunds(&self, line: u32) -> Option<&LineRefunds> {
        self.supply.refunds.get(&line).map(|refunds| &**refunds)
    }

    fn refund_line(&self, order_id: &str, line: u32) -> Result<u32, Reject> {
        let order = self.order_index.get(order_id).ok_or_else(|| {
            let shown: String = order_id.chars().take(80).collect();
            Reject::new(Reason::UnknownOrder, format!("there is no order {shown:?}")).field("order_id")
        })?;
        self.line_index(&self.orders[order], line).ok_or_else(|| {
            Reject::new(Reason::UnknownOrderLine, format!("order {order_id} has no line {line}")).field("line")
        })
    }
}

impl Charged {
    /// The share of units `from..to` of `ordered`; `amount`, which is at most the whole share, of it.
    fn share(&self, from: Quantity, to: Quantity, ordered: Quantity, amount: Option<i64>) -> Share {
        let whole = share(self.minor, from, to, ordered);
        let minor = amount.unwrap_or(whole);
        let part = |total: i64| {
            let units = share(total, from, to, ordered);
            // A part of the share: taxes in proportion.
            if whole > 0 && minor < whole { share(units, 0, minor, whole) } else { units }
        };
        let taxes = self.taxes.iter().map(|tax| TaxLine {
            taxable_minor: part(tax.taxable_minor),
            tax_minor: part(tax.tax_minor),
            ..tax.clone()
        });
        Share { minor, taxes: taxes.collect() }
    }
}

impl Tx<'_> {
    pub(super) fn request_refund(&mut self, command: &RequestRefund) -> Result<RememberedOutcome, Stop> {
        let RequestRefund { refund_id, order_id, line, quantity, with_return, amount_minor } = command;
        let id = OrderId::new(refund_id).map_err(|reject| reject.field("refund_id"))?;
        if self.state.supply.own_refunds.get(&Arc::from(id.as_str())).is_some() {
            let message = format!("refund {id} exists: give the new one an id of its own");
            return Err(Reject::new(Reason::DocumentIdReused, message).field("refund_id").into());
        }
        let asked = Asked {
            refund_id,
            node: "",
            order_id,
            line: *line,
            quantity: *quantity,
            with_return: *with_return,
            return_id: "",
            amount_minor: *amount_minor,
            currency_code: "",
        };
        let line = self.commit_refund(&asked)?;
        self.state.supply.own_refunds.insert(Arc::from(id.as_str()), line);
        let number = self.state.line_refunds(line).map_or(0, |refunds| refunds.refunds.len() - 1);
        Ok(RememberedOutcome::Refunded { line, number: u32::try_from(number).unwrap_or(u32::MAX) })
    }

    /// A node asks: it is answered over its feed, whatever the answer.
    pub(super) fn refund_requested(&mut self, node: u32, fact: &RefundRequested) -> Result<(), Stop> {
        let name = self.state.nodes[node].id.to_string();
        let asked = Asked {
            refund_id: &fact.refund_id,
            node: &name,
            order_id: &fact.order_id,
            line: fact.line,
            quantity: fact.quantity,
            with_return: !fact.return_id.is_empty(),
            return_id: &fact.return_id,
            amount_minor: fact.amount_minor,
            currency_code: &fact.currency_code,
        };
        let committed = match self.known_refund(&asked) {
            Some(amount) => Ok(amount),
            None => self.commit_refund(&asked).map(|line| {
                let last = self.state.line_refunds(line).and_then(|refunds| refunds.refunds.last());
                last.and_then(|refund| refund.amount.clone())
            }),
        };
        let (approved, amount, reason, message) = match committed {
            Ok(amount) => (true, amount, String::new(), String::new()),
            Err(Stop::Reject(reject)) => (false, None, reject.reason.code().to_owned(), reject.message),
            Err(fault @ Stop::Fault(_)) => return Err(fault),
        };
        let decided = RefundDecided { refund_id: fact.refund_id.clone(), approved, amount, reason, message };
        let destination = self.state.nodes[node].destination;
        self.emit(destination, Fact::RefundDecided(decided));
        Ok(())
    }

    /// A node has paid: it is recorded. What goes beyond the line's right is an exception.
    pub(super) fn refund_paid_offline(&mut self, node: u32, fact: &RefundPaidOffline) -> Result<(), Stop> {
        let name = self.state.nodes[node].id.to_string();
        let with_return = !fact.return_id.is_empty();
        let about = ("refund", fact.refund_id.as_str(), 0);
        let line = match self.state.refund_line(&fact.order_id, fact.line) {
            Ok(line) => line,
            Err(reject) => {
                let description = format!("{} was paid offline: {}", fact.amount_minor, reject.message);
                self.raise_incident(ExceptionCode::RefundExceeded, &name, about, None, fact.quantity, description);
                return Ok(());
            }
        };
        let known = self.state.line_refunds(line).is_some_and(|refunds| {
            refunds.refunds.iter().any(|refund| refund.node == name && refund.refund_id == fact.refund_id)
        });
        if known {
            return Ok(());
        }
        let charged = self.state.charged(line);
        let (quantity, minor) = (fact.quantity.max(0), fact.amount_minor.max(0));
        let refused = self.check_units(line, quantity, with_return).err();
        let allowed = if refused.is_some() || fact.currency_code != charged.currency_code {
            0
        } else {
            let (record, before) = (&self.state.lines[line], self.refunded_units(line));
            charged.share(before, before + quantity, record.ordered, None).minor
        };
        let excess_minor = (minor - allowed).max(0);
        if excess_minor > 0 {
            let why = refused
                .map_or_else(|| format!("the units' share of what was charged is {allowed}"), |reject| reject.message);
            let description = format!(
                "{minor} minor units of {} were paid offline on line {} of order {}, {excess_minor} of them beyond its right: {why}",
                charged.currency_code, fact.line, fact.order_id
            );
            let key = self.state.lines[line].key;
            self.raise_incident(ExceptionCode::RefundExceeded, &name, about, Some(key), quantity, description);
        }
        let refund = Refund {
            refund_id: fact.refund_id.clone(),
            node: name,
            line: fact.line,
            quantity,
            with_return,
            amount: Some(Money { currency_code: fact.currency_code.clone(), minor }),
            paid_offline: true,
            excess_minor,
            committed_time_ms: self.state.log_time.0,
        };
        self.record_refund(line, refund);
        Ok(())
    }

    /// Checks and commits a refund, and tells finance. Gives the dense index of its line.
    fn commit_refund(&mut self, asked: &Asked<'_>) -> Result<u32, Stop> {
        let units = quantity::positive(asked.quantity, "quantity")?;
        let line = self.state.refund_line(asked.order_id, asked.line)?;
        let charged = self.state.charged(line);
        if !asked.currency_code.is_empty() && asked.currency_code != charged.currency_code {
            let message = format!("the order is in {}, and not in {}", charged.currency_code, asked.currency_code);
            return Err(Reject::new(Reason::CurrencyMismatch, message).field("currency_code").into());
        }
        if asked.amount_minor < 0 {
            return Err(Reject::new(Reason::AmountNegative, "amount_minor is negative").field("amount_minor").into());
        }
        if self.state.line_refunds(line).is_some_and(|refunds| refunds.refunds.len() >= MAX_REFUNDS) {
            let message = format!("line {} has {MAX_REFUNDS} refunds: put the rest into one by hand", asked.line);
            return Err(Reject::new(Reason::TooManyDocuments, message).field("line").into());
        }
        self.check_units(line, units, asked.with_return)?;
        let (record, before) = (self.state.lines[line], self.refunded_units(line));
        let whole = charged.share(before, before + units, record.ordered, None).minor;
        if asked.amount_minor > whole {
            let message = format!(
                "{units} units of line {} were charged {whole} minor units of {}, and {} are to be refunded",
                asked.line, charged.currency_code, asked.amount_minor
            );
            return Err(Reject::new(Reason::RefundExceedsCharge, message).field("amount_minor").into());
        }
        let amount = (asked.amount_minor > 0).then_some(asked.amount_minor);
        let Share { minor, taxes } = charged.share(before, before + units, record.ordered, amount);
        let tax: i64 = taxes.iter().map(|tax| tax.tax_minor).sum();
        let money = Money { currency_code: charged.currency_code, minor };
        let refund = Refund {
            refund_id: asked.refund_id.to_owned(),
            node: asked.node.to_owned(),
            line: asked.line,
            quantity: units,
            with_return: asked.with_return,
            amount: Some(money.clone()),
            paid_offline: false,
            excess_minor: 0,
            committed_time_ms: self.state.log_time.0,
        };
        self.record_refund(line, refund);
        let fact = RefundCommitted {
            refund_id: asked.refund_id.to_owned(),
            node: asked.node.to_owned(),
            order_id: asked.order_id.to_owned(),
            line: asked.line,
            stock_key: Some((&self.state.keys[record.key].key).into()),
            quantity: units,
            with_return: asked.with_return,
            return_id: asked.return_id.to_owned(),
            amount: Some(money),
            net_minor: minor - tax,
            taxes,
            refunded_total: before + units,
        };
        self.emit_finance(&Fact::RefundCommitted(fact));
        Ok(line)
    }

    /// A refund of this node that was committed before under the same number: its amount.
    fn known_refund(&self, asked: &Asked<'_>) -> Option<Option<Money>> {
        let line = self.state.refund_line(asked.order_id, asked.line).ok()?;
        let refunds = &self.state.line_refunds(line)?.refunds;
        let same = refunds.iter().find(|refund| refund.node == asked.node && refund.refund_id == asked.refund_id)?;
        Some(same.amount.clone())
    }

    fn refunded_units(&self, line: u32) -> Quantity {
        self.state.line_refunds(line).map_or(0, |refunds| refunds.with_return + refunds.without_return)
    }

    /// Whether so many more units of a line may be refunded.
    fn check_units(&self, line: u32, units: Quantity, with_return: bool) -> Result<(), Reject> {
        let record = &self.state.lines[line];
        let (with, without) =
            self.state.line_refunds(line).map_or((0, 0), |known| (known.with_return, known.without_return));
        let returned = record.returned.min(record.shipped);
        let refuse = |message: String| Err(Reject::new(Reason::RefundExceedsUnits, message).field("quantity"));
        if with_return && with + units > returned {
            return refuse(format!(
                "{returned} units of line {} came back, {with} of them are refunded, and {units} more are asked for",
                record.line
            ));
        }
        if !with_return && returned + without + units > record.shipped {
            return refuse(format!(
                "{} units of line {} were shipped, {returned} came back, {without} are refunded without return, and \
                 {units} more are asked for",
                record.shipped, record.line
            ));
        }
        if with + without + units > record.shipped {
            return refuse(format!(
                "{} units of line {} were shipped, {} are refunded, and {units} more are asked for",
                record.shipped,
                record.line,
                with + without
            ));
        }
        Ok(())
    }

    fn record_refund(&mut self, line: u32, refund: Refund) {
        let mut known = self.state.line_refunds(line).cloned().unwrap_or_default();
        if refund.with_return {
            known.with_return = known.with_return.saturating_add(refund.quantity);
        } else {
            known.without_return = known.without_return.saturating_add(refund.quantity);
        }
        let minor = refund.amount.as_ref().map_or(0, |amount| amount.minor);
        known.minor = known.minor.saturating_add(minor);
        for number in [i64::from(line), known.with_return, known.without_return, known.minor] {
            self.effects.extend_from_slice(&number.to_be_bytes());
        }
        known.refunds.push(refund);
        self.state.supply.refunds.insert(line, Arc::new(known));
    }
}
