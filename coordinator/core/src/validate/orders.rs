//! Orders and their cancellation.

use std::collections::BTreeSet;

use crate::supply::TRANSFER_PREFIX;
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::convert;
use stockmesh_proto::coordinator::v1::CancelOrderRequest;
use stockmesh_types::{OrderId, PartyId, Reason, Reject, RequestId, quantity};

/// Lines of an order at most.
pub const MAX_LINES: usize = 2_000;

/// How far ahead of the leader's clock an order may say that it was placed: clocks differ a little.
const AHEAD_MS: i64 = 5 * 60 * 1_000;

/// Checks the shape of an order.
///
/// # Errors
/// Whatever field is missing or wrong, with its path below `order`.
pub fn order(order: &wire::Order) -> Result<(), Reject> {
    let at = |field: &str, reject: Reject| reject.field(format!("order.{field}"));
    OrderId::new(&order.order_id).map_err(|reject| at("order_id", reject))?;
    if order.order_id.starts_with(TRANSFER_PREFIX) {
        let message = format!("ids that begin with {TRANSFER_PREFIX} are kept for transfers: choose another");
        return Err(at("order_id", Reject::new(Reason::InvalidId, message)));
    }
    check_channel(&order.channel)?;
    if order.placed_time_ms < 0 {
        let message = format!("placed_time_ms is {}, and counts from 1970", order.placed_time_ms);
        return Err(at("placed_time_ms", Reject::new(Reason::InvalidDate, message)));
    }
    let customer = convert::required(&order.customer, "order.customer")?;
    PartyId::new(&customer.id).map_err(|reject| at("customer.id", reject))?;
    convert::check_place(&order.ship_to, "order.ship_to")?;
    convert::currency(&order.currency_code, "order.currency_code")?;
    if order.shortage_policy != 0 {
        convert::specified::<wire::ShortagePolicy>(order.shortage_policy, "order.shortage_policy")?;
    }
    convert::specified::<wire::PaymentTerms>(order.payment_terms, "order.payment_terms")?;
    if order.lines.is_empty() {
        return Err(at("lines", Reject::new(Reason::MissingField, "an order needs at least one line")));
    }
    if order.lines.len() > MAX_LINES {
        let message = format!("{} lines, and an order holds at most {MAX_LINES}", order.lines.len());
        return Err(at("lines", Reject::new(Reason::TooManyLines, message)));
    }
    let mut numbers = BTreeSet::new();
    for (n, line) in order.lines.iter().enumerate() {
        let path = format!("order.lines[{n}]");
        check_line(line, &path)?;
        if !numbers.insert(line.line) {
            let message = format!("line number {} stands twice", line.line);
            return Err(Reject::new(Reason::DuplicateLine, message).field(format!("{path}.line")));
        }
    }
    Ok(())
}

/// When an order counts as placed: as it says, and `now_ms` when it says nothing.
///
/// # Errors
/// [`Reason::InvalidDate`]: a time that has not come yet; books would be dated by it.
pub(crate) fn placed_time(order: &wire::Order, now_ms: i64) -> Result<i64, Reject> {
    let placed_ms = order.placed_time_ms;
    if placed_ms == 0 {
        return Ok(now_ms);
    }
    if placed_ms > now_ms.saturating_add(AHEAD_MS) {
        let message = format!(
            "placed_time_ms is {placed_ms}, {} s ahead of the coordinator's clock ({now_ms}), and at most {} s are taken: \
             correct the sender's clock, or leave it 0 for the coordinator to set",
            placed_ms.saturating_sub(now_ms) / 1_000,
            AHEAD_MS / 1_000
        );
        return Err(Reject::new(Reason::InvalidDate, message).field("order.placed_time_ms"));
    }
    Ok(placed_ms)
}

fn check_channel(channel: &str) -> Result<(), Reject> {
    let refuse = |reason, message: String| Err(Reject::new(reason, message).field("order.channel"));
    if channel.is_empty() {
        return refuse(Reason::MissingField, "channel is missing".to_owned());
    }
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if channel.len() > 32 || !channel.chars().all(good) {
        let shown: String = channel.chars().take(80).collect();
        return refuse(Reason::InvalidId, format!("channel {shown:?} is not 1 to 32 characters of a-z 0-9 -"));
    }
    Ok(())
}

fn check_line(line: &wire::OrderLine, path: &str) -> Result<(), Reject> {
    if line.line == 0 {
        return Err(Reject::new(Reason::MissingField, "line numbers start at 1").field(format!("{path}.line")));
    }
    convert::stock_key(&line.stock_key, &format!("{path}.stock_key"))?;
    quantity::positive(line.quantity, &format!("{path}.quantity"))?;
    convert::check_price(&line.price, &format!("{path}.price"))
}

/// Checks the shape of a cancellation.
///
/// # Errors
/// Whatever field is missing or wrong, with its path.
pub fn cancel_order(request: &CancelOrderRequest) -> Result<RequestId, Reject> {
    let id = RequestId::new(&request.request_id).map_err(|reject| reject.field("request_id"))?;
    OrderId::new(&request.order_id).map_err(|reject| reject.field("order_id"))?;
    if request.lines.len() > MAX_LINES {
        let message = format!("{} lines, and an order holds at most {MAX_LINES}", request.lines.len());
        return Err(Reject::new(Reason::TooManyLines, message).field("lines"));
    }
    let mut numbers = BTreeSet::new();
    for (n, line) in request.lines.iter().enumerate() {
        quantity::positive(line.quantity, &format!("lines[{n}].quantity"))?;
        if line.line == 0 {
            return Err(Reject::new(Reason::MissingField, "line numbers start at 1").field(format!("lines[{n}].line")));
        }
        if !numbers.insert(line.line) {
            let message = format!("line number {} stands twice", line.line);
            return Err(Reject::new(Reason::DuplicateLine, message).field(format!("lines[{n}].line")));
        }
    }
    Ok(id)
}
