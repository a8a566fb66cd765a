//! Orders and their cancellation.

use std::collections::BTreeSet;

use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::convert;
use stockmesh_proto::coordinator::v1::CancelOrderRequest;
use stockmesh_types::{OrderId, PartyId, Reason, Reject, RequestId, quantity};

/// Lines of an order at most.
pub const MAX_LINES: usize = 2_000;

/// Checks the shape of an order.
///
/// # Errors
/// Whatever field is missing or wrong, with its path below `order`.
pub fn order(order: &wire::Order) -> Result<(), Reject> {
    let at = |field: &str, reject: Reject| reject.field(format!("order.{field}"));
    OrderId::new(&order.order_id).map_err(|reject| at("order_id", reject))?;
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
