//! Before the first order: items, nodes, ranges, opening stock, and the rights that follow from it.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use stockmesh_proto::common::v1::{Condition, Money};
use stockmesh_proto::coordinator::v1 as coordinator;
use stockmesh_proto::feed::v1::{ReceiptKind, ReceiptLine};
use stockmesh_proto::node::v1 as node;
use stockmesh_service::request::new_request_id;

use super::context::{CallError, Context, Tried};
use super::quiet::{self, QuietError};
use super::stock_plan::Delivery;

/// Items of one call.
const ITEMS_PER_CALL: usize = 200;
/// Lines of one receipt.
const LINES_PER_RECEIPT: usize = 200;
/// Receipts under way at once.
const RECEIPTS_AT_ONCE: usize = 8;

/// Why the set-up failed.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The network did not take in what it was given.
    #[error(transparent)]
    Quiet(#[from] QuietError),
}

/// Registers everything and books the opening stock in; returns when every right is granted.
///
/// # Errors
/// [`SetupError`].
pub async fn set_up(context: &Context, say: impl Fn(&str)) -> Result<(), SetupError> {
    let Context { stream, layout, clients, stock, .. } = context;
    say("registering nodes and items");
    for spec in &layout.nodes {
        let node = Some(spec.registration(&layout.legal_entity));
        let request = coordinator::RegisterNodeRequest { request_id: new_request_id(), node };
        clients.register_node(request).await.tried(format!("node {} can't be registered", spec.node))?;
    }
    for items in stream.items.chunks(ITEMS_PER_CALL) {
        let items = items
            .iter()
            .map(|item| coordinator::Item {
                item: item.item.clone(),
                description: item.description.clone(),
                weight_grams: item.weight_grams,
                ..coordinator::Item::default()
            })
            .collect();
        let request = coordinator::CreateItemsRequest { request_id: new_request_id(), items };
        clients.create_items(request).await.tried("items can't be created")?;
    }
    say("ranging items at nodes");
    for (spec, ranged) in layout.nodes.iter().zip(&stock.ranged) {
        for items in ranged.chunks(ITEMS_PER_CALL) {
            let items = items.iter().map(|item| stream.items[*item].item.clone()).collect();
            let request =
                coordinator::RangeItemsRequest { request_id: new_request_id(), node: spec.node.clone(), items };
            clients.range_items(request).await.tried(format!("items can't be ranged at {}", spec.node))?;
        }
    }
    quiet::work_delivered(clients).await?;
    say("booking opening stock in");
    receive(context, &stock.opening, ReceiptKind::OpeningStock, "opening").await?;
    quiet::feeds_applied(clients, Duration::from_secs(60)).await?;
    Ok(())
}

/// Books deliveries in, node by node.
///
/// # Errors
/// The first receipt that is refused.
pub async fn receive(
    context: &Context,
    deliveries: &[Delivery],
    kind: ReceiptKind,
    reference: &str,
) -> Result<(), CallError> {
    let mut receipts = Vec::new();
    for at in 0..context.layout.nodes.len() {
        let of_node: Vec<Delivery> = deliveries.iter().filter(|delivery| delivery.node == at).copied().collect();
        for (n, lines) in of_node.chunks(LINES_PER_RECEIPT).enumerate() {
            receipts.push((at, format!("{reference}-{}", n + 1), lines.to_vec()));
        }
    }
    let calls = receipts.into_iter().map(|(at, receipt_id, lines)| receive_one(context, at, receipt_id, lines, kind));
    stream::iter(calls).buffer_unordered(RECEIPTS_AT_ONCE).try_collect::<()>().await
}

async fn receive_one(
    context: &Context,
    at: usize,
    receipt_id: String,
    deliveries: Vec<Delivery>,
    kind: ReceiptKind,
) -> Result<(), CallError> {
    let node = context.layout.nodes[at].node.clone();
    let currency_code = context.stream.currency_code;
    let cost_minor = |delivery: &Delivery| delivery.quantity * context.stream.items[delivery.item].unit_cost_minor;
    let lines = deliveries
        .iter()
        .map(|delivery| ReceiptLine {
            stock_key: Some(context.stock_key(delivery.item)),
            quantity: delivery.quantity,
            condition: Condition::Sellable.into(),
            cost: Some(Money { currency_code: currency_code.to_owned(), minor: cost_minor(delivery) }),
            ..ReceiptLine::default()
        })
        .collect();
    let request = node::ReceiveStockRequest {
        node: node.clone(),
        request_id: new_request_id(),
        reference: receipt_id.clone(),
        receipt_id: receipt_id.clone(),
        kind: kind.into(),
        lines,
        ..node::ReceiveStockRequest::default()
    };
    let answer = context.clients.receive_stock(request).await;
    answer.tried(format!("receipt {receipt_id} can't be booked in at {node}"))?;
    let mut acks = context.book.lock();
    acks.receipts += 1;
    for delivery in &deliveries {
        acks.received_cost_minor += cost_minor(delivery);
        let item = context.stream.items[delivery.item].item.clone();
        *acks.received.entry((node.clone(), item)).or_default() += delivery.quantity;
    }
    Ok(())
}
