//! Requests become commands: every field is checked by itself, and what is wrong is said by its path (`lines[2].quantity`).
//!
//! Must not know: the node's state; what depends on it is the core's to refuse.

use stockmesh_node_core::command::*;
use stockmesh_node_core::site::{Asked, UnitGroup};
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::convert::{self, check_price, currency, specified};
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::node::v1::*;
use stockmesh_types::quantity::{change, positive};
use stockmesh_types::{Grade, ItemId, Money, NodeId, OrderId, Reason, Reject, RequestId, StockKey};

/// Lines of one request.
const MAX_LINES: usize = 200;
/// Longest free text.
const MAX_TEXT: usize = 64;

/// A business id; the request's own where none is given.
pub(super) fn document_id(text: &str, request: RequestId, field: &str) -> Result<OrderId, Reject> {
    if text.is_empty() {
        return OrderId::new(&request.to_string());
    }
    OrderId::new(text).map_err(|reject| reject.field(field))
}

fn optional_id(text: &str, field: &str) -> Result<Option<OrderId>, Reject> {
    if text.is_empty() {
        return Ok(None);
    }
    OrderId::new(text).map(Some).map_err(|reject| reject.field(field))
}

pub(super) fn lines<T, U>(given: &[T], parse: impl Fn(&T, &str) -> Result<U, Reject>) -> Result<Vec<U>, Reject> {
    if given.is_empty() {
        return Err(Reject::new(Reason::MissingField, "lines is empty: give one line or more").field("lines"));
    }
    if given.len() > MAX_LINES {
        let message = format!("{} lines, at most {MAX_LINES}", given.len());
        return Err(Reject::new(Reason::TooManyLines, message).field("lines"));
    }
    given.iter().enumerate().map(|(n, line)| parse(line, &format!("lines[{n}]"))).collect()
}

pub(super) fn text(given: &str, field: &str) -> Result<String, Reject> {
    if given.len() > MAX_TEXT {
        let message = format!("{field} has {} bytes, at most {MAX_TEXT}", given.len());
        return Err(Reject::new(Reason::TextTooLong, message).field(field));
    }
    if given.chars().any(char::is_control) {
        return Err(Reject::new(Reason::InvalidValue, format!("{field} has control characters")).field(field));
    }
    Ok(given.to_owned())
}

/// ReceiveStock.
///
/// # Errors
/// What is wrong with a field.
pub fn receive(request: &ReceiveStockRequest, id: RequestId) -> Result<Command, Reject> {
    let command = ReceiveStock {
        receipt_id: document_id(&request.receipt_id, id, "receipt_id")?,
        kind: specified(request.kind, "kind")?,
        reference: text(&request.reference, "reference")?,
        lines: lines(&request.lines, |line, at| receipt_line(line, at, !request.inbound_id.is_empty()))?,
        inbound: optional_id(&request.inbound_id, "inbound_id")?,
    };
    let mut currencies = command.lines.iter().enumerate().filter_map(|(n, line)| Some((n, line.cost?.currency)));
    if let Some((_, first)) = currencies.next()
        && let Some((n, other)) = currencies.find(|(_, other)| *other != first)
    {
        let message = format!("cost is in {other}, that of the first line in {first}");
        return Err(Reject::new(Reason::CurrencyMismatch, message).field(format!("lines[{n}].cost.currency_code")));
    }
    Ok(Command::ReceiveStock(command))
}

fn receipt_line(line: &feed::ReceiptLine, at: &str, inbound: bool) -> Result<ReceiptLine, Reject> {
    let in_line = |field: &str| format!("{at}.{field}");
    let stock_key = convert::stock_key(&line.stock_key, &in_line("stock_key"))?;
    let quantity = Asked::of_wire(line.quantity, &line.entered).map_err(|reject| reject.within(at))?;
    let units = UnitGroup::of_wire(&line.units, &in_line("units"))?;
    if inbound && line.inbound_line == 0 {
        let message = "inbound_line is missing: lines of an expected receipt are numbered from 1";
        return Err(Reject::new(Reason::MissingField, message).field(in_line("inbound_line")));
    }
    if !inbound && line.inbound_line != 0 {
        let message = "inbound_line is set, and the receipt names no inbound_id";
        return Err(Reject::new(Reason::InvalidValue, message).field(in_line("inbound_line")));
    }
    let condition = match line.condition {
        0 => ReceivedCondition::Sellable,
        other => match specified::<common::Condition>(other, &in_line("condition"))? {
            common::Condition::Unspecified | common::Condition::Sellable => ReceivedCondition::Sellable,
            common::Condition::Quarantined => ReceivedCondition::Quarantined,
            common::Condition::Damaged => ReceivedCondition::Damaged,
            common::Condition::ReturnPending => {
                let message = "returned goods are booked by ReceiveReturn";
                return Err(Reject::new(Reason::InvalidValue, message).field(in_line("condition")));
            }
            common::Condition::InReceiving => {
                let message = "what is held in receiving follows from the expected receipt: name it with inbound_id";
                return Err(Reject::new(Reason::InvalidValue, message).field(in_line("condition")));
            }
        },
    };
    let cost = match &line.cost {
        None if inbound => None,
        cost => Some(receipt_cost(convert::required(cost, &in_line("cost"))?, at)?),
    };
    Ok(ReceiptLine { stock_key, quantity, condition, cost, inbound_line: line.inbound_line, units })
}

fn receipt_cost(cost: &common::Money, at: &str) -> Result<Money, Reject> {
    let in_line = |field: &str| format!("{at}.{field}");
    let minor = cost.minor;
    let amount = in_line("cost.minor");
    if minor < 0 {
        return Err(Reject::new(Reason::AmountNegative, format!("cost is {minor} minor units")).field(amount));
    }
    if minor > convert::MAX_AMOUNT_MINOR {
        let message = format!("cost is {minor} minor units, at most {}", convert::MAX_AMOUNT_MINOR);
        return Err(Reject::new(Reason::AmountTooLarge, message).field(amount));
    }
    let currency = currency(&cost.currency_code, &in_line("cost.currency_code"))?;
    Ok(Money { currency, minor })
}

/// SellAtCounter.
///
/// # Errors
/// What is wrong with a field.
pub fn sell(request: &SellAtCounterRequest, id: RequestId) -> Result<Command, Reject> {
    let sold_time_ms = request.sold_time_ms;
    if sold_time_ms < 0 {
        let message = format!("sold_time_ms is {sold_time_ms}, before 1970");
        return Err(Reject::new(Reason::InvalidDate, message).field("sold_time_ms"));
    }
    Ok(Command::SellAtCounter(SellAtCounter {
        sale_id: document_id(&request.sale_id, id, "sale_id")?,
        currency: currency(&request.currency_code, "currency_code")?,
        lines: lines(&request.lines, sale_line)?,
        tender: specified(request.tender, "tender")?,
        sold_time_ms: Some(sold_time_ms).filter(|time| *time > 0),
    }))
}

pub(super) fn sale_line(line: &feed::CounterSaleLine, at: &str) -> Result<SaleLine, Reject> {
    let stock_key = convert::stock_key(&line.stock_key, &format!("{at}.stock_key"))?;
    let quantity = positive(line.quantity, &format!("{at}.quantity"))?;
    let field = format!("{at}.price");
    check_price(&line.price, &field)?;
    let price = convert::required(&line.price, &field)?.clone();
    Ok(SaleLine { stock_key, quantity, price })
}

/// PickItems.
///
/// # Errors
/// What is wrong with a field.
pub fn pick(request: &PickItemsRequest, _: RequestId) -> Result<Command, Reject> {
    Ok(Command::PickItems(PickItems {
        allocation: convert::allocation_id(&request.allocation, "allocation")?,
        quantity: positive(request.quantity, "quantity")?,
    }))
}

/// PackItems.
///
/// # Errors
/// What is wrong with a field.
pub fn pack(request: &PackItemsRequest, _: RequestId) -> Result<Command, Reject> {
    Ok(Command::PackItems(PackItems {
        allocation: convert::allocation_id(&request.allocation, "allocation")?,
        quantity: positive(request.quantity, "quantity")?,
    }))
}

/// DeclineAllocation.
///
/// # Errors
/// What is wrong with a field.
pub fn decline(request: &DeclineAllocationRequest, _: RequestId) -> Result<Command, Reject> {
    Ok(Command::DeclineAllocation(DeclineAllocation {
        allocation: convert::allocation_id(&request.allocation, "allocation")?,
        quantity: positive(request.quantity, "quantity")?,
        reason: specified(request.reason, "reason")?,
    }))
}

/// AdjustStock.
///
/// # Errors
/// What is wrong with a field.
pub fn adjust(request: &AdjustStockRequest, id: RequestId) -> Result<Command, Reject> {
    Ok(Command::AdjustStock(AdjustStock {
        adjustment_id: OrderId::new(&id.to_string())?,
        stock_key: convert::stock_key(&request.stock_key, "stock_key")?,
        delta: change(request.delta, "delta")?,
        reason: specified(request.reason, "reason")?,
        reference: text(&request.reference, "reference")?,
        entered: Asked::of_wire(1, &request.entered)?.entered,
        units: UnitGroup::of_wire(&request.units, "units")?,
    }))
}

/// ReceiveReturn.
///
/// # Errors
/// What is wrong with a field.
pub fn receive_return(request: &ReceiveReturnRequest, id: RequestId) -> Result<Command, Reject> {
    let bought_on = match (request.order_id.as_str(), request.sale_id.as_str()) {
        ("", "") => {
            let message = "order_id or sale_id is missing: say what the goods were bought on";
            return Err(Reject::new(Reason::MissingField, message).field("order_id"));
        }
        (order, "") => {
            if request.line == 0 {
                let message = "line is missing: lines of an order are numbered from 1";
                return Err(Reject::new(Reason::MissingField, message).field("line"));
            }
            let order_id = OrderId::new(order).map_err(|reject| reject.field("order_id"))?;
            BoughtOn::Order { order_id, line: request.line }
        }
        ("", sale) => {
            let sale_id = OrderId::new(sale).map_err(|reject| reject.field("sale_id"))?;
            let node = NodeId::new(&request.sale_node).map_err(|reject| reject.field("sale_node"))?;
            BoughtOn::Sale { sale_id, node }
        }
        _ => {
            let message = "order_id and sale_id are both set: goods were bought on one of them";
            return Err(Reject::new(Reason::InvalidValue, message).field("sale_id"));
        }
    };
    Ok(Command::ReceiveReturn(ReceiveReturn {
        return_id: document_id(&request.return_id, id, "return_id")?,
        bought_on,
        stock_key: convert::stock_key(&request.stock_key, "stock_key")?,
        quantity: positive(request.quantity, "quantity")?,
    }))
}

/// InspectReturn.
///
/// # Errors
/// What is wrong with a field.
pub fn inspect_return(request: &InspectReturnRequest, _: RequestId) -> Result<Command, Reject> {
    Ok(Command::InspectReturn(InspectReturn {
        return_id: OrderId::new(&request.return_id).map_err(|reject| reject.field("return_id"))?,
        quantity: positive(request.quantity, "quantity")?,
        disposition: specified(request.disposition, "disposition")?,
    }))
}

/// A stock key in a page token: its parts, apart by a character that no part may hold.
pub(crate) fn token_of_stock_key(key: &StockKey) -> String {
    let StockKey { item, grade, owner, shelf_life_class } = key;
    let grade = match grade {
        Grade::New => "new",
        Grade::Refurbished => "refurbished",
    };
    format!("{item}|{grade}|{owner}|{shelf_life_class}")
}

pub(crate) fn stock_key_of_token(text: &str) -> Result<StockKey, Reject> {
    let wrong = || Reject::new(Reason::InvalidPageToken, "the page token is not one of this list").field("page_token");
    let parts: Vec<&str> = text.split('|').collect();
    let [item, grade, owner, class] = parts.as_slice() else { return Err(wrong()) };
    let grade = match *grade {
        "new" => Grade::New,
        "refurbished" => Grade::Refurbished,
        _ => return Err(wrong()),
    };
    let item = ItemId::new(item).map_err(|_| wrong())?;
    StockKey::new(item, grade, (*owner).to_owned(), (*class).to_owned()).map_err(|_| wrong())
}
