//! Verbs of refunds: asked of the coordinator, or paid at the site within its limit.

use super::*;

fn refund(client: &Client, refund: Option<Refund>) {
    let refund = refund.unwrap_or_default();
    show(
        client,
        &[
            ("refund_id", refund.refund_id.clone()),
            ("state", name(refund.state().as_str_name(), "REFUND_STATE_")),
            ("amount_minor", refund.amount_minor.to_string()),
            ("currency_code", refund.currency_code.clone()),
            ("refused_because", refund.refused_because.clone()),
        ],
    );
}

impl RefundVerb {
    pub(crate) async fn execute(self, security: Security) -> Result<(), Failure> {
        use return_service_client::ReturnServiceClient as Api;
        match self {
            Self::Request { target, once, order, line, units, reason, return_id, amount, currency, pay, refund_id } => {
                let client = Client::new(target, security);
                let amount = match (amount, currency) {
                    (Some(text), Some(currency)) => Some(money(&text, currency)?),
                    _ => None,
                };
                let request = RequestRefundRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    refund_id,
                    order_id: order,
                    line,
                    quantity: units,
                    reason: reason.wire(),
                    return_id,
                    amount,
                    pay_offline: pay.is_some(),
                    tender: pay.map_or(0, super::super::args::TenderArg::wire),
                };
                refund(&client, call_on!(client, Api, request_refund, request).refund);
            }
            Self::Show { target, refund_id } => {
                let client = Client::new(target, security);
                let request = GetRefundRequest { node: client.node().await?, refund_id };
                refund(&client, call_on!(client, Api, get_refund, request).refund);
            }
            Self::Disposition { target, once, return_id, quantity, disposition, outcome } => {
                let client = Client::new(target, security);
                let request = FinishDispositionRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    finish_id: String::new(),
                    return_id: return_id.clone(),
                    disposition: disposition.wire(),
                    quantity,
                    outcome: outcome.wire(),
                    units: Vec::new(),
                };
                client.levels("return_id", &return_id, &call_on!(client, Api, finish_disposition, request).levels);
            }
            Self::Return { target, return_id } => {
                let client = Client::new(target, security);
                let request = GetReturnRequest { node: client.node().await?, return_id };
                let found = call_on!(client, Api, get_return, request).customer_return.unwrap_or_default();
                show(
                    &client,
                    &[
                        ("return_id", found.return_id.clone()),
                        ("stock_key", key(&found.stock_key)),
                        ("quantity", found.quantity.to_string()),
                        ("inspected", found.inspected.to_string()),
                        ("to_refurbish", found.to_refurbish.to_string()),
                        ("to_liquidate", found.to_liquidate.to_string()),
                        ("to_vendor", found.to_vendor.to_string()),
                    ],
                );
            }
        }
        Ok(())
    }
}
