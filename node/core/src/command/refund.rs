//! RequestRefund: asks the coordinator for a refund, or pays one within the node's limit; and the coordinator's answer.
//!
//! The coordinator knows what was charged and what was refunded elsewhere, so it decides. What is paid without asking is always
//! recorded: the money has gone.
//!
//! Must not know: prices.

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{RefundDecided, RefundPaidOffline, RefundReason, RefundRequested};
use stockmesh_proto::node::v1::{RefundState, RequestRefundResponse};
use stockmesh_types::{Money, OrderId, Quantity, Reason, Reject};

use crate::change::{Document, DocumentKind};
use crate::documents::RefundDocument;
use crate::draft::Draft;
use crate::effects::{Answer, Context};
use crate::outbound::views::refund_view;
use crate::outbound::{OutboundKey, OutboundValue, RefundsPaid};

/// Asks for a refund, or pays one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRefund {
    /// Refund, unique at the node.
    pub refund_id: OrderId,
    /// Order.
    pub order_id: OrderId,
    /// Line of that order.
    pub line: u32,
    /// Base units that it is for, positive.
    pub quantity: Quantity,
    /// Why.
    pub reason: RefundReason,
    /// Return of this node that brought the goods back.
    pub return_id: Option<OrderId>,
    /// Amount, positive; `None`: the units' share of what was charged.
    pub amount: Option<Money>,
    /// Pay at once, with this tender.
    pub pay_offline: Option<common::Tender>,
}

impl RequestRefund {
    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        self.check_return(draft)?;
        let Self { refund_id, order_id, line, quantity, reason, return_id, amount, pay_offline } = self;
        let mut document = RefundDocument {
            state: RefundState::Requested.into(),
            amount_minor: amount.map_or(0, |amount| amount.minor),
            currency_code: amount.map(|amount| amount.currency.code().to_owned()).unwrap_or_default(),
            refused_because: String::new(),
        };
        let (order_id, return_id) = (order_id.to_string(), return_id.map(String::from).unwrap_or_default());
        let (reason, id) = (reason.into(), refund_id.to_string());
        let (amount_minor, currency_code) = (document.amount_minor, document.currency_code.clone());
        let fact = match pay_offline {
            None => Fact::RefundRequested(RefundRequested {
                refund_id: id,
                order_id,
                line,
                quantity,
                reason,
                return_id,
                amount_minor,
                currency_code,
            }),
            Some(tender) => {
                spend(context, draft, amount)?;
                document.state = RefundState::PaidOffline.into();
                Fact::RefundPaidOffline(RefundPaidOffline {
                    refund_id: id,
                    order_id,
                    line,
                    quantity,
                    reason,
                    return_id,
                    amount_minor,
                    currency_code,
                    tender: tender.into(),
                })
            }
        };
        let refund = Some(refund_view(&refund_id, &document));
        draft.new_document(DocumentKind::Refund, &refund_id, Document::Refund(document), "refund_id")?;
        draft.say(fact);
        Ok(Answer::RefundRequested(RequestRefundResponse { refund }))
    }

    /// A refund for goods that came back names their return, which covers it.
    fn check_return(&self, draft: &Draft<'_>) -> Result<(), Reject> {
        let Some(return_id) = &self.return_id else {
            if self.reason == RefundReason::Return {
                let message = "return_id is missing: the reason is that goods came back";
                return Err(Reject::new(Reason::MissingField, message).field("return_id"));
            }
            return Ok(());
        };
        let Some(Document::Return { quantity, .. }) = draft.document(DocumentKind::Return, return_id) else {
            let message = format!("node {} has no return {return_id}", draft.node());
            return Err(Reject::new(Reason::UnknownReturn, message).field("return_id"));
        };
        if self.quantity > quantity {
            let message = format!("return {return_id} brought {quantity} units back, {} asked", self.quantity);
            return Err(Reject::new(Reason::ExceedsReturn, message).field("quantity"));
        }
        Ok(())
    }
}

/// Takes an amount out of what may be paid on the business date without asking.
fn spend(context: &Context, draft: &mut Draft<'_>, amount: Option<Money>) -> Result<(), Reject> {
    let Some((currency, limit)) = draft.state().rules().refund_offline else {
        let message = format!("node {} may not pay refunds without asking: leave pay_offline out", draft.node());
        return Err(Reject::new(Reason::NoOfflineRefunds, message).field("pay_offline"));
    };
    let Some(amount) = amount else {
        return Err(Reject::new(Reason::MissingField, "amount is missing: say what is paid").field("amount"));
    };
    if amount.currency != currency {
        let message = format!("refunds are paid here in {currency}, {} was given", amount.currency);
        return Err(Reject::new(Reason::CurrencyMismatch, message).field("amount.currency_code"));
    }
    let date = context.business_date.to_string();
    // A date before the latest one counts as the latest: a clock that is set back gives no second limit.
    let known = draft.outbound.refunds_paid().cloned().filter(|known| known.date >= date);
    let known = known.unwrap_or(RefundsPaid { date, paid_minor: 0 });
    let paid_minor = known.paid_minor.saturating_add(amount.minor);
    if paid_minor > limit {
        let message = format!(
            "{} of {limit} minor units of {currency} were paid on {} without asking: ask the coordinator",
            known.paid_minor, known.date
        );
        return Err(Reject::new(Reason::RefundLimitExceeded, message).field("amount"));
    }
    let value = OutboundValue::RefundsPaid(RefundsPaid { paid_minor, ..known });
    draft.outbound.put(OutboundKey::RefundsPaid, value);
    Ok(())
}

/// The coordinator's answer. One for a refund that is not known here, or is decided, changes nothing.
pub(super) fn decided(draft: &mut Draft<'_>, fact: &RefundDecided) -> Result<(), Reject> {
    let refund_id = OrderId::new(&fact.refund_id)?;
    let Some(Document::Refund(mut refund)) = draft.document(DocumentKind::Refund, &refund_id) else { return Ok(()) };
    if refund.state != i32::from(RefundState::Requested) {
        return Ok(());
    }
    if fact.approved {
        refund.state = RefundState::Committed.into();
        if let Some(amount) = &fact.amount {
            refund.amount_minor = amount.minor;
            refund.currency_code = amount.currency_code.clone();
        }
    } else {
        refund.state = RefundState::Refused.into();
        refund.refused_because = format!("{} [{}]", fact.message, fact.reason);
    }
    draft.put_document(DocumentKind::Refund, &refund_id, Document::Refund(refund));
    Ok(())
}
