//! Client verbs. Each sends one request, with an id that makes a repeat safe, and prints the answer.
//!
//! Must not know: how arguments are read, how a node is reached.

use serde_json::json;
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::node::v1::*;
use stockmesh_service::Security;
use stockmesh_service::output::{OutputFormat, print};
use stockmesh_types::Currency;
use stockmesh_types::money::tax_of;

use super::Failure;
use super::args::{ClientVerb, ReturnStep};
use super::client::{Client, call};
use super::lines::{AllocationLine, GoodsLine, minor_units, rate_ppm, wire};
use super::show::{levels_json, levels_table, status_json, status_table, tasks_json, tasks_table};

impl ClientVerb {
    pub(crate) fn run(self, security: Security) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Other(error.into()))?;
        runtime.block_on(self.execute(security))
    }

    async fn execute(self, security: Security) -> Result<(), Failure> {
        match self {
            Self::Receive { target, once, lines, currency, kind, reference, receipt_id, units } => {
                if lines.len() > 1 && (units.pack.is_some() || !units.groups().is_empty()) {
                    let message = "--pack, --lot, --bin and --serial are about one line: give one --line with them";
                    return Err(Failure::Usage(message.to_owned()));
                }
                let client = Client::new(target, security);
                let line = |line: GoodsLine| -> Result<feed::ReceiptLine, Failure> {
                    let amount = amount_of(&line, "cost")?;
                    let minor = minor_units(amount, currency)?;
                    let (quantity, entered) = units.quantity(line.quantity);
                    Ok(feed::ReceiptLine {
                        stock_key: wire(&line.stock_key),
                        quantity,
                        entered,
                        units: units.groups(),
                        condition: line.condition.into(),
                        cost: Some(common::Money { currency_code: currency.code().to_owned(), minor }),
                        ..Default::default()
                    })
                };
                let request = ReceiveStockRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    receipt_id,
                    kind: kind.wire(),
                    reference,
                    lines: lines.into_iter().map(line).collect::<Result<_, _>>()?,
                    ..Default::default()
                };
                let done = call!(client, receive_stock, request);
                client.levels("receipt_id", &done.receipt_id, &done.levels);
            }
            Self::Sell { target, once, lines, currency, tax, sales_tax, tender, sale_id } => {
                let client = Client::new(target, security);
                let tax = tax.map(|text| Tax::parse(&text, sales_tax)).transpose()?;
                let line = |line: GoodsLine| sale_line(&line, currency, tax.as_ref());
                let request = SellAtCounterRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    sale_id,
                    currency_code: currency.code().to_owned(),
                    lines: lines.into_iter().map(line).collect::<Result<_, _>>()?,
                    tender: tender.wire(),
                    sold_time_ms: 0,
                };
                let done = call!(client, sell_at_counter, request);
                client.levels("sale_id", &done.sale_id, &done.levels);
            }
            Self::Tasks { target, open, order, limit } => {
                let client = Client::new(target, security);
                let tasks = client.all_tasks(open, order, limit).await?;
                client.tasks(&tasks);
            }
            Self::Pick { target, once, allocation, quantity } => {
                let client = Client::new(target, security);
                let (node, request_id) = (client.node().await?, once.id());
                let request = PickItemsRequest { node, request_id, allocation: Some(allocation.into()), quantity };
                client.tasks(call!(client, pick_items, request).task.as_slice());
            }
            Self::Pack { target, once, allocation, quantity } => {
                let client = Client::new(target, security);
                let (node, request_id) = (client.node().await?, once.id());
                let request = PackItemsRequest { node, request_id, allocation: Some(allocation.into()), quantity };
                client.tasks(call!(client, pack_items, request).task.as_slice());
            }
            Self::Ship { target, once, lines, substitute, order, carrier, tracking, shipment_id } => {
                let client = Client::new(target, security);
                let request = ShipItemsRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    shipment_id,
                    lines: with_substitutes(ship_lines(&client, lines, order).await?, &substitute)?,
                    carrier,
                    tracking,
                };
                let done = call!(client, ship_items, request);
                let json = json!({ "shipment_id": done.shipment_id, "tasks": tasks_json(&done.tasks) });
                if client.output == OutputFormat::Table {
                    println!("shipment id {}", done.shipment_id);
                }
                print(client.output, &tasks_table(&done.tasks), &json);
            }
            Self::Decline { target, once, allocation, quantity, reason } => {
                let client = Client::new(target, security);
                let request = DeclineAllocationRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    allocation: Some(allocation.into()),
                    quantity,
                    reason: reason.wire(),
                };
                client.tasks(call!(client, decline_allocation, request).task.as_slice());
            }
            Self::Adjust { target, once, item, delta, reason, reference, units } => {
                let client = Client::new(target, security);
                let request = AdjustStockRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    stock_key: wire(&item),
                    delta: if units.pack.is_some() { delta.signum() } else { delta },
                    reason: reason.wire(),
                    reference,
                    entered: units.quantity(delta.abs()).1,
                    units: units.groups(),
                };
                let id = request.request_id.clone();
                client.levels("adjustment_id", &id, call!(client, adjust_stock, request).level.as_slice());
            }
            Self::Return { step } => step.execute(security).await?,
            Self::Counter { step } => step.execute(security).await?,
            Self::Transfer { step } => step.execute(security).await?,
            Self::Work { step } => step.execute(security).await?,
            Self::Pickup { step } => step.execute(security).await?,
            Self::Kit { step } => step.execute(security).await?,
            Self::Refund { step } => step.execute(security).await?,
            Self::Stock { target, item, limit } => {
                let client = Client::new(target, security);
                let levels = client.all_stock(item, limit).await?;
                print(client.output, &levels_table(&levels), &json!({ "levels": levels_json(&levels) }));
            }
            Self::Status { target } => {
                let client = Client::new(target, security);
                let status = call!(client, get_node_status, GetNodeStatusRequest { node: client.node().await? });
                print(client.output, &status_table(&status), &status_json(&status));
            }
        }
        Ok(())
    }
}

impl ReturnStep {
    async fn execute(self, security: Security) -> Result<(), Failure> {
        match self {
            Self::Receive { target, once, item, quantity, order, line, sale, sale_node, return_id } => {
                let client = Client::new(target, security);
                let node = client.node().await?;
                let sale_node = match (&sale, sale_node) {
                    (None, _) => String::new(),
                    (Some(_), named) => named.map_or_else(|| node.clone(), String::from),
                };
                let request = ReceiveReturnRequest {
                    node,
                    request_id: once.id(),
                    return_id,
                    order_id: order.unwrap_or_default(),
                    line: line.unwrap_or_default(),
                    stock_key: wire(&item),
                    quantity,
                    sale_id: sale.unwrap_or_default(),
                    sale_node,
                    ..Default::default()
                };
                let done = call!(client, receive_return, request);
                client.levels("return_id", &done.return_id, done.level.as_slice());
            }
            Self::Inspect { target, once, return_id, quantity, disposition } => {
                let client = Client::new(target, security);
                let request = InspectReturnRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    return_id: return_id.clone(),
                    quantity,
                    disposition: disposition.wire(),
                    ..Default::default()
                };
                client.levels("return_id", &return_id, call!(client, inspect_return, request).level.as_slice());
            }
        }
        Ok(())
    }
}

async fn ship_lines(
    client: &Client,
    lines: Vec<AllocationLine>,
    order: Option<String>,
) -> Result<Vec<ShipLine>, Failure> {
    let Some(order) = order else {
        let line = |line: AllocationLine| ShipLine {
            allocation: Some(line.allocation.into()),
            quantity: line.quantity,
            ..Default::default()
        };
        return Ok(lines.into_iter().map(line).collect());
    };
    let open = client.all_tasks(true, order.clone(), 200).await?;
    if open.is_empty() {
        let nothing = anyhow::anyhow!("nothing is left to ship of order {order} here: see `tasks --order {order}`");
        return Err(Failure::Other(nothing));
    }
    let line = |task: Task| ShipLine {
        allocation: task.allocation,
        quantity: task.quantity - task.shipped - task.cancelled,
        ..Default::default()
    };
    Ok(open.into_iter().map(line).collect())
}

/// Names what leaves in the place of an allocation's own goods.
fn with_substitutes(
    mut lines: Vec<ShipLine>,
    substitutes: &[(stockmesh_types::AllocationId, stockmesh_types::StockKey)],
) -> Result<Vec<ShipLine>, Failure> {
    for (allocation, key) in substitutes {
        let wanted = Some(common::AllocationId::from(*allocation));
        let Some(line) = lines.iter_mut().find(|line| line.allocation == wanted) else {
            return Err(Failure::Usage(format!("--substitute names {allocation}, which is not shipped")));
        };
        line.substitute = wire(key);
    }
    Ok(lines)
}

fn amount_of<'a>(line: &'a GoodsLine, what: &str) -> Result<&'a str, Failure> {
    let missing = || Failure::Usage(format!("the {what} of {} is missing: ITEM=QTY@AMOUNT", line.stock_key));
    line.amount.as_deref().ok_or_else(missing)
}

pub(super) struct Tax {
    jurisdiction: String,
    rate_ppm: u32,
    regime: common::TaxRegime,
}

impl Tax {
    pub(super) fn parse(text: &str, sales_tax: bool) -> Result<Self, Failure> {
        let (jurisdiction, rate) = text.split_once(':').ok_or_else(|| {
            Failure::Usage(format!("--tax {text:?} is not of the form JURISDICTION:RATE, like GB:20"))
        })?;
        let regime = if sales_tax { common::TaxRegime::SalesTax } else { common::TaxRegime::Vat };
        Ok(Self { jurisdiction: jurisdiction.to_owned(), rate_ppm: rate_ppm(rate)?, regime })
    }
}

pub(super) fn sale_line(
    line: &GoodsLine,
    currency: Currency,
    tax: Option<&Tax>,
) -> Result<feed::CounterSaleLine, Failure> {
    let sales_minor = minor_units(amount_of(line, "price")?, currency)?;
    let tax_line = |tax: &Tax| -> Result<common::TaxLine, Failure> {
        Ok(common::TaxLine {
            jurisdiction: tax.jurisdiction.clone(),
            regime: tax.regime.into(),
            rate_ppm: tax.rate_ppm,
            taxable_minor: sales_minor,
            tax_minor: tax_of(sales_minor, tax.rate_ppm)?,
        })
    };
    let taxes = tax.map(tax_line).transpose()?.into_iter().collect();
    let price = common::LinePrice { sales_minor, discount_minor: 0, manufacturer_coupon_minor: 0, taxes };
    Ok(feed::CounterSaleLine {
        stock_key: wire(&line.stock_key),
        quantity: line.quantity,
        price: Some(price),
        units: Vec::new(),
    })
}
