//! Customers: orders placed with bounded concurrency, a share of them cancelled; sales at the stores' counters.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use stockmesh_proto::common::v1::{Order, OrderLine, PartyRef, PaymentTerms, ShortagePolicy, Tender};
use stockmesh_proto::coordinator::v1::{CancelLine, CancelOrderRequest, OrderStatus, PlaceOrderRequest};
use stockmesh_proto::feed::v1::CounterSaleLine;
use stockmesh_proto::node::v1::SellAtCounterRequest;
use stockmesh_service::request::new_request_id;
use stockmesh_service::status::known_reason;
use stockmesh_types::Reason;

use super::acks::{AcknowledgedOrder, AcknowledgedSale};
use super::context::{CallError, Context, Tried};
use crate::streams::{Counter, Event, StreamOrder};

/// Orders and sales under way at once.
const AT_ONCE: usize = 32;
/// Orders that their customers cancel, per mille.
const CANCELLED_PER_MILLE: u64 = 20;

/// The assumption, for the report.
#[must_use]
pub fn assumption() -> String {
    format!(
        "{CANCELLED_PER_MILLE} in 1,000 orders without a return, drawn by seed, are cancelled by their customers, whole or one line, as far as they have not left"
    )
}

/// Plays the stream's events in their order, `AT_ONCE` under way; `rate` is in events a second.
///
/// # Errors
/// The first call that failed for another reason than business.
pub async fn play(context: &Context, rate: Option<f64>) -> Result<(), CallError> {
    let start = Instant::now();
    let events = context.stream.events.iter().enumerate().map(|(n, event)| async move {
        // Open loop: latency counts from the moment at which the customer wanted to order.
        let intended = match rate {
            Some(rate) => {
                let at = start + Duration::from_secs_f64(n as f64 / rate);
                tokio::time::sleep_until(at.into()).await;
                at
            }
            None => Instant::now(),
        };
        match event {
            Event::Order(order) => place(context, order, intended).await?,
            Event::Counter(sale) => sell(context, n, sale, intended).await?,
        }
        context.done.send_modify(|done| *done += 1);
        Ok(())
    });
    stream::iter(events).buffer_unordered(AT_ONCE).try_collect::<()>().await
}

/// The order as it is sent.
#[must_use]
pub fn order_of(context: &Context, order: &StreamOrder) -> Order {
    let lines = order.lines.iter().zip(1..).map(|(line, number)| OrderLine {
        line: number,
        stock_key: Some(context.stock_key(line.item)),
        quantity: line.quantity,
        price: Some(line.price.clone()),
        ..Default::default()
    });
    Order {
        order_id: order.order_id.clone(),
        channel: order.channel.to_owned(),
        placed_time_ms: order.placed_time_ms,
        customer: Some(PartyRef { id: order.customer.clone() }),
        ship_to: Some(order.ship_to.clone()),
        currency_code: context.stream.currency_code.to_owned(),
        lines: lines.collect(),
        shortage_policy: ShortagePolicy::Backorder.into(),
        payment_terms: order.payment_terms.into(),
    }
}

async fn place(context: &Context, order: &StreamOrder, intended: Instant) -> Result<(), CallError> {
    let request = PlaceOrderRequest { order: Some(order_of(context, order)), incarnation: 0 };
    let status = match context.clients.place_order(request).await {
        Ok(answer) => answer.status.unwrap_or_default(),
        Err(status) => {
            // A business answer is part of the result, and a check says whether it should have come; all else ends the run.
            let Some(reason) = known_reason(&status).filter(|_| !stockmesh_service::status::is_retryable(&status))
            else {
                return Err(CallError { what: format!("order {} got no answer", order.order_id), status });
            };
            let why = format!("{}: {}", reason.code(), status.message());
            context.book.lock().refused_orders.push((order.order_id.clone(), why));
            return Ok(());
        }
    };
    let latency_us = u64::try_from(intended.elapsed().as_micros()).unwrap_or(u64::MAX);
    let at_us = context.book.now_us();
    context.book.lock().orders.push(acknowledged(order, &status, at_us, latency_us));
    context.gauges.orders.fetch_add(1, Relaxed);
    maybe_cancel(context, order).await
}

fn acknowledged(order: &StreamOrder, status: &OrderStatus, at_us: u64, latency_us: u64) -> AcknowledgedOrder {
    let mut nodes = std::collections::BTreeSet::new();
    let (mut split_lines, mut short_lines, mut short_units) = (0, 0, 0);
    for line in &status.lines {
        let of_line: std::collections::BTreeSet<_> = line.allocations.iter().map(|a| a.node.as_str()).collect();
        split_lines += usize::from(of_line.len() > 1);
        short_lines += usize::from(line.backordered > 0);
        short_units += line.backordered;
        nodes.extend(of_line);
    }
    AcknowledgedOrder {
        order: order.clone(),
        at_us,
        latency_us,
        nodes: nodes.len(),
        split_lines,
        short_lines,
        short_units,
    }
}

async fn maybe_cancel(context: &Context, order: &StreamOrder) -> Result<(), CallError> {
    let draw = context.draw(&format!("cancel/{}", order.order_id));
    let comes_back = || context.stream.returns.iter().any(|back| back.bought_on == order.order_id);
    if draw % 1_000 >= CANCELLED_PER_MILLE || comes_back() {
        return Ok(());
    }
    let one_line = (draw >> 20).is_multiple_of(2);
    let lines = match order.lines.first() {
        Some(first) if one_line => vec![CancelLine { line: 1, quantity: first.quantity }],
        _ => Vec::new(),
    };
    let request = CancelOrderRequest { request_id: new_request_id(), order_id: order.order_id.clone(), lines };
    match context.clients.cancel_order(request).await {
        Ok(_) => context.book.lock().cancellations += 1,
        Err(status) if matches!(known_reason(&status), Some(Reason::NothingToCancel | Reason::ExceedsLine)) => {
            context.book.lock().cancelled_too_late += 1;
        }
        Err(status) => return Err(status).tried(format!("order {} can't be cancelled", order.order_id)),
    }
    Ok(())
}

async fn sell(context: &Context, event: usize, sale: &Counter, intended: Instant) -> Result<(), CallError> {
    let stores = context.layout.stores();
    let Some(store) = stores.get(sale.store) else { return Ok(()) };
    let lines = sale.lines.iter().map(|line| CounterSaleLine {
        stock_key: Some(context.stock_key(line.item)),
        quantity: line.quantity,
        price: Some(line.price.clone()),
        ..Default::default()
    });
    let tender = if context.draw(&sale.sale_id).is_multiple_of(3) { Tender::Cash } else { Tender::Card };
    let request = SellAtCounterRequest {
        node: store.node.clone(),
        request_id: new_request_id(),
        sale_id: sale.sale_id.clone(),
        currency_code: context.stream.currency_code.to_owned(),
        lines: lines.collect(),
        tender: tender.into(),
        sold_time_ms: 0,
    };
    match context.clients.sell_at_counter(request).await {
        Ok(_) => {
            let units: i64 = sale.lines.iter().map(|line| line.quantity).sum();
            context.gauges.counter_units.fetch_add(units, Relaxed);
            let acknowledged = AcknowledgedSale { node: store.node.clone(), event };
            context.book.lock().sales.insert(sale.sale_id.clone(), acknowledged);
            Ok(())
        }
        Err(status)
            if matches!(known_reason(&status), Some(Reason::InsufficientRetained | Reason::InsufficientOnHand)) =>
        {
            // Endless aisle: what the shelf can't give without breaking a promise is ordered for the customer.
            context.book.lock().sales_ordered_instead += 1;
            let order = StreamOrder {
                order_id: sale.sale_id.clone(),
                channel: "endless-aisle",
                placed_time_ms: sale.sold_time_ms,
                customer: sale.customer.clone(),
                ship_to: crate::streams::places::near(&store.place, &sale.customer),
                payment_terms: PaymentTerms::Prepaid,
                lines: sale.lines.clone(),
            };
            place(context, &order, intended).await
        }
        Err(status) => Err(status).tried(format!("{} can't sell {}", store.node, sale.sale_id)),
    }
}
