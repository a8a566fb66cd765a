//! After the last order: returns are taken and inspected, and what still waits for stock that never comes is given up.

use futures::{StreamExt, TryStreamExt, stream};
use stockmesh_proto::coordinator::v1::{CancelLine, CancelOrderRequest, GetOrderRequest};
use stockmesh_proto::feed::v1::Disposition;
use stockmesh_proto::node::v1::{InspectReturnRequest, ReceiveReturnRequest};
use stockmesh_service::request::new_request_id;
use stockmesh_service::status::known_reason;
use stockmesh_types::Reason;

use super::acks::AcknowledgedReturn;
use super::context::{CallError, Context, Tried};
use crate::streams::StreamReturn;

/// Returns under way at once.
const AT_ONCE: usize = 16;
/// Returned goods that are written off, percent.
const WRITTEN_OFF_PERCENT: u64 = 15;

/// The assumption, for the report.
#[must_use]
pub fn assumption() -> String {
    format!(
        "returns come back to the node that shipped or sold the goods; {WRITTEN_OFF_PERCENT} % of them, drawn by seed, are written off at inspection, the others go back to stock"
    )
}

/// Takes the stream's returns, as far as what they bring back has left.
///
/// # Errors
/// The first call that failed.
pub async fn take_returns(context: &Context) -> Result<(), CallError> {
    // Returns of one line follow each other, so that they never bring back more than was shipped.
    let mut by_line: std::collections::BTreeMap<(&str, u32), Vec<usize>> = std::collections::BTreeMap::new();
    for (n, back) in context.stream.returns.iter().enumerate() {
        by_line.entry((&back.bought_on, back.line)).or_default().push(n);
    }
    let work = by_line.into_values().map(|several| async move {
        for planned in several {
            take(context, planned, &context.stream.returns[planned]).await?;
        }
        Ok(())
    });
    stream::iter(work).buffer_unordered(AT_ONCE).try_collect::<()>().await
}

/// Where goods were bought: node, units that left there and are not back yet, and whether over a counter.
struct Bought {
    node: String,
    left: i64,
    at_counter: bool,
}

async fn bought(context: &Context, back: &StreamReturn) -> Result<Option<Bought>, CallError> {
    let sold = context.book.lock().sales.get(&back.bought_on).map(|sale| sale.node.clone());
    if let Some(node) = sold {
        return Ok(Some(Bought { node, left: back.quantity, at_counter: true }));
    }
    let request = GetOrderRequest { order_id: back.bought_on.clone() };
    let order = match context.clients.get_order(request).await {
        Ok(order) => order.status.unwrap_or_default(),
        Err(status) if known_reason(&status) == Some(Reason::UnknownOrder) => return Ok(None),
        Err(status) => return Err(status).tried(format!("order {} can't be read", back.bought_on)),
    };
    let line = order.lines.into_iter().find(|line| line.line == back.line);
    Ok(line.and_then(|line| {
        let from = line.allocations.iter().find(|allocation| allocation.shipped > 0)?;
        Some(Bought { node: from.node.clone(), left: line.shipped, at_counter: false })
    }))
}

async fn take(context: &Context, planned: usize, back: &StreamReturn) -> Result<(), CallError> {
    let taken: i64 = {
        let acks = context.book.lock();
        let same = |other: &&AcknowledgedReturn| {
            let other = &context.stream.returns[other.planned];
            other.bought_on == back.bought_on && other.line == back.line
        };
        acks.returns.iter().filter(same).map(|other| other.quantity).sum()
    };
    let bought = bought(context, back).await?.filter(|bought| bought.at_counter || bought.left > taken);
    let Some(bought) = bought else {
        context.book.lock().returns_not_shipped += 1;
        return Ok(());
    };
    let quantity = if bought.at_counter { back.quantity } else { back.quantity.min(bought.left - taken) };
    let (order_id, line, sale_id, sale_node) = if bought.at_counter {
        (String::new(), 0, back.bought_on.clone(), bought.node.clone())
    } else {
        (back.bought_on.clone(), back.line, String::new(), String::new())
    };
    let request = ReceiveReturnRequest {
        node: bought.node.clone(),
        request_id: new_request_id(),
        return_id: back.return_id.clone(),
        order_id,
        line,
        stock_key: Some(context.stock_key(back.item)),
        quantity,
        sale_id,
        sale_node,
        ..Default::default()
    };
    let answer = context.clients.receive_return(request).await;
    answer.tried(format!("return {} can't be taken at {}", back.return_id, bought.node))?;
    let resale = context.draw(&format!("inspect/{}", back.return_id)) % 100 >= WRITTEN_OFF_PERCENT;
    let request = InspectReturnRequest {
        node: bought.node.clone(),
        request_id: new_request_id(),
        return_id: back.return_id.clone(),
        quantity,
        disposition: if resale { Disposition::Resale } else { Disposition::WriteOff }.into(),
        ..Default::default()
    };
    let answer = context.clients.inspect_return(request).await;
    answer.tried(format!("return {} can't be inspected at {}", back.return_id, bought.node))?;
    context.book.lock().returns.push(AcknowledgedReturn { planned, node: bought.node, quantity, resale });
    Ok(())
}

/// Cancels what still waits for stock. Gives the number of orders; 0: nothing waits.
///
/// # Errors
/// The first call that failed.
pub async fn give_up_waiting(context: &Context) -> Result<u64, CallError> {
    let orders = context.clients.all_orders().await.tried("orders can't be listed")?;
    let mut given_up = 0;
    for status in orders {
        let lines: Vec<CancelLine> = status
            .lines
            .iter()
            .filter(|line| line.backordered > 0)
            .map(|line| CancelLine { line: line.line, quantity: line.backordered })
            .collect();
        let Some(order) = status.order.filter(|_| !lines.is_empty()) else { continue };
        let request = CancelOrderRequest { request_id: new_request_id(), order_id: order.order_id.clone(), lines };
        let answer = context.clients.cancel_order(request).await;
        answer.tried(format!("what waits of order {} can't be cancelled", order.order_id))?;
        given_up += 1;
    }
    context.book.lock().given_up_orders += given_up;
    Ok(given_up)
}
