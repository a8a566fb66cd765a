//! Purchase orders, transfers, refunds, return authorisations.

use std::collections::BTreeSet;

use stockmesh_proto::convert::{self, required};
use stockmesh_proto::coordinator::v1::{
    AmendPurchaseOrderRequest, AuthoriseReturnRequest, ChangeTransferDateRequest, CreatePurchaseOrderRequest,
    CreateTransferRequest, PurchaseOrder, PurchaseOrderLine, RecordShipNoticeRequest, RequestRefundRequest,
    ReturnAuthorisation, Transfer,
};
use stockmesh_proto::feed::v1::ShipNotice;
use stockmesh_types::{BusinessDate, NodeId, OrderId, Reason, Reject, RequestId, quantity};

/// Lines of a purchase order, a transfer or an authorisation at most: no command touches more cells.
pub const MAX_DOCUMENT_LINES: usize = 256;
/// Advance ship notices of a purchase order at most.
const MAX_NOTICES: usize = 64;
/// Parts of packages in one notice at most.
const MAX_PARTS: usize = 1_024;
/// Highest cost of one line, minor units.
const MAX_LINE_COST_MINOR: i64 = 1_000_000_000_000;

fn request(id: &str) -> Result<RequestId, Reject> {
    RequestId::new(id).map_err(|reject| reject.field("request_id"))
}

fn name(given: &str, longest: usize, slash: bool, field: &str) -> Result<(), Reject> {
    if given.is_empty() {
        return Err(Reject::new(Reason::MissingField, format!("{field} is missing")).field(field));
    }
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c) || (slash && c == '/');
    let begins = given.starts_with(|c: char| c.is_ascii_alphanumeric());
    if given.len() > longest || !begins || !given.chars().all(good) {
        let shown: String = given.chars().take(80).collect();
        let message = format!("{field} {shown:?} is not 1 to {longest} characters of A-Z a-z 0-9 . _ -");
        return Err(Reject::new(Reason::InvalidId, message).field(field));
    }
    Ok(())
}

fn date(given: &str, field: &str) -> Result<(), Reject> {
    if given.is_empty() {
        return Ok(());
    }
    BusinessDate::parse(given).map(|_| ()).map_err(|reject| reject.field(field))
}

fn text(given: &str, longest: usize, field: &str) -> Result<(), Reject> {
    if given.chars().count() <= longest {
        return Ok(());
    }
    Err(Reject::new(Reason::TextTooLong, format!("{field} is longer than {longest} characters")).field(field))
}

/// Checks how many lines there are, and that each number stands once.
fn lines(numbers: impl ExactSizeIterator<Item = u32>) -> Result<(), Reject> {
    let given = numbers.len();
    if given == 0 {
        return Err(Reject::new(Reason::MissingField, "it needs at least one line").field("lines"));
    }
    if given > MAX_DOCUMENT_LINES {
        let message = format!("{given} lines, and at most {MAX_DOCUMENT_LINES} are taken: split it");
        return Err(Reject::new(Reason::TooManyLines, message).field("lines"));
    }
    let mut known = BTreeSet::new();
    for (n, line) in numbers.enumerate() {
        if line == 0 {
            return Err(Reject::new(Reason::MissingField, "line numbers start at 1").field(format!("lines[{n}].line")));
        }
        if !known.insert(line) {
            let message = format!("line number {line} stands twice");
            return Err(Reject::new(Reason::DuplicateLine, message).field(format!("lines[{n}].line")));
        }
    }
    Ok(())
}

/// Checks the shape of a new purchase order.
///
/// # Errors
/// Whatever field is missing or wrong, with its path.
pub fn create_purchase_order(message: &CreatePurchaseOrderRequest) -> Result<RequestId, Reject> {
    let id = request(&message.request_id)?;
    let order = required(&message.purchase_order, "purchase_order")?;
    check_purchase_order(order).map_err(|reject| reject.within("purchase_order"))?;
    Ok(id)
}

pub(crate) fn check_purchase_order(order: &PurchaseOrder) -> Result<(), Reject> {
    name(&order.purchase_order_id, 60, false, "purchase_order_id")?;
    if order.supplier.is_empty() {
        return Err(Reject::new(Reason::MissingField, "supplier is missing").field("supplier"));
    }
    text(&order.supplier, 64, "supplier")?;
    NodeId::new(&order.node).map_err(|reject| reject.field("node"))?;
    convert::currency(&order.currency_code, "currency_code")?;
    if order.expected_date.is_empty() {
        return Err(Reject::new(Reason::MissingField, "expected_date is missing").field("expected_date"));
    }
    date(&order.expected_date, "expected_date")?;
    lines(order.lines.iter().map(|line| line.line))?;
    for (n, line) in order.lines.iter().enumerate() {
        check_purchase_line(line).map_err(|reject| reject.within(&format!("lines[{n}]")))?;
    }
    if order.notices.len() > MAX_NOTICES {
        let message = format!("a purchase order takes at most {MAX_NOTICES} advance ship notices");
        return Err(Reject::new(Reason::TooManyLines, message).field("notice"));
    }
    Ok(())
}

pub(crate) fn check_purchase_line(line: &PurchaseOrderLine) -> Result<(), Reject> {
    convert::stock_key(&line.stock_key, "stock_key")?;
    quantity::positive(line.quantity, "quantity")?;
    if !(0..=MAX_LINE_COST_MINOR).contains(&line.cost_minor) {
        let message = format!("cost_minor is {}, and must be 0 to {MAX_LINE_COST_MINOR}", line.cost_minor);
        return Err(Reject::new(Reason::InvalidValue, message).field("cost_minor"));
    }
    date(&line.expected_date, "expected_date")
}

/// Checks the shape of a change of a purchase order.
///
/// # Errors
/// Whatever field is missing or wrong, with its path.
pub fn amend_purchase_order(message: &AmendPurchaseOrderRequest) -> Result<RequestId, Reject> {
    let id = request(&message.request_id)?;
    name(&message.purchase_order_id, 60, false, "purchase_order_id")?;
    date(&message.expected_date, "expected_date")?;
    if message.lines.is_empty() && message.expected_date.is_empty() {
        return Err(Reject::new(Reason::MissingField, "name a new expected day or lines that change").field("lines"));
    }
    if !message.lines.is_empty() {
        lines(message.lines.iter().map(|line| line.line))?;
    }
    for (n, line) in message.lines.iter().enumerate() {
        let at = |reject: Reject| reject.within(&format!("lines[{n}]"));
        // Quantity 0 takes the line away.
        if line.quantity != 0 {
            check_purchase_line(line).map_err(at)?;
        }
    }
    Ok(id)
}

/// Checks the shape of an advance ship notice; what it says is checked against its order.
///
/// # Errors
/// Whatever field is missing or wrong, with its path.
pub fn record_ship_notice(message: &RecordShipNoticeRequest) -> Result<RequestId, Reject> {
    let id = request(&message.request_id)?;
    name(&message.purchase_order_id, 60, false, "purchase_order_id")?;
    check_notice(required(&message.notice, "notice")?).map_err(|reject| reject.within("notice"))?;
    Ok(id)
}

fn check_notice(notice: &ShipNotice) -> Result<(), Reject> {
    name(&notice.notice_id, 64, true, "notice_id")?;
    text(&notice.carrier, 64, "carrier")?;
    text(&notice.tracking, 64, "tracking")?;
    date(&notice.expected_date, "expected_date")?;
    let parts: usize = notice.packages.iter().map(|package| package.lines.len().max(1)).sum();
    if parts > MAX_PARTS {
        let message = format!("{parts} parts of packages, and a notice holds at most {MAX_PARTS}: split it");
        return Err(Reject::new(Reason::TooManyLines, message).field("packages"));
    }
    for (p, package) in notice.packages.iter().enumerate() {
        text(&package.package_id, 64, &format!("packages[{p}].package_id"))?;
        for (n, part) in package.lines.iter().enumerate() {
            let path = format!("packages[{p}].lines[{n}]");
            let at = |reject: Reject| reject.within(&path);
            quantity::positive(part.quantity, "quantity").map_err(at)?;
            text(&part.lot, 64, "lot").map_err(at)?;
            date(&part.expiry_date, "expiry_date").map_err(at)?;
            let serials = part.serials.len();
            if serials != 0 && i64::try_from(serials).ok() != Some(part.quantity) {
                let message = format!("{serials} serial numbers for {} units", part.quantity);
                return Err(at(Reject::new(Reason::InvalidValue, message).field("serials")));
            }
        }
    }
    Ok(())
}

pub(crate) fn check_ship_notice(order: &PurchaseOrder, notice: &ShipNotice) -> Result<(), Reject> {
    check_notice(notice)?;
    for (p, package) in notice.packages.iter().enumerate() {
        for (n, part) in package.lines.iter().enumerate() {
            if order.lines.iter().all(|line| line.line != part.line) {
                let message = format!("purchase order {} has no line {}", order.purchase_order_id, part.line);
                let field = format!("packages[{p}].lines[{n}].line");
                return Err(Reject::new(Reason::UnknownOrderLine, message).field(field));
            }
        }
    }
    Ok(())
}

/// Checks the shape of a new transfer.
///
/// # Errors
/// Whatever field is missing or wrong, with its path.
pub fn create_transfer(message: &CreateTransferRequest) -> Result<RequestId, Reject> {
    let id = request(&message.request_id)?;
    check_transfer(required(&message.transfer, "transfer")?).map_err(|reject| reject.within("transfer"))?;
    Ok(id)
}

pub(crate) fn check_transfer(transfer: &Transfer) -> Result<(), Reject> {
    name(&transfer.transfer_id, 50, false, "transfer_id")?;
    NodeId::new(&transfer.source_node).map_err(|reject| reject.field("source_node"))?;
    NodeId::new(&transfer.destination_node).map_err(|reject| reject.field("destination_node"))?;
    if transfer.source_node == transfer.destination_node {
        let message = "source and destination are the same node";
        return Err(Reject::new(Reason::InvalidValue, message).field("destination_node"));
    }
    date(&transfer.expected_date, "expected_date")?;
    lines(transfer.lines.iter().map(|line| line.line))?;
    for (n, line) in transfer.lines.iter().enumerate() {
        let at = |reject: Reject| reject.within(&format!("lines[{n}]"));
        convert::stock_key(&line.stock_key, "stock_key").map_err(at)?;
        quantity::positive(line.quantity, "quantity").map_err(at)?;
    }
    Ok(())
}

/// Checks the shape of a new day of a transfer.
///
/// # Errors
/// Whatever field is missing or wrong, with its path.
pub fn change_transfer_date(message: &ChangeTransferDateRequest) -> Result<RequestId, Reject> {
    let id = request(&message.request_id)?;
    date(&message.expected_date, "expected_date")?;
    Ok(id)
}

/// Checks the shape of a refund.
///
/// # Errors
/// Whatever field is missing or wrong, with its path.
pub fn request_refund(message: &RequestRefundRequest) -> Result<RequestId, Reject> {
    let id = request(&message.request_id)?;
    OrderId::new(&message.refund_id).map_err(|reject| reject.field("refund_id"))?;
    OrderId::new(&message.order_id).map_err(|reject| reject.field("order_id"))?;
    if message.line == 0 {
        return Err(Reject::new(Reason::MissingField, "line numbers start at 1").field("line"));
    }
    quantity::positive(message.quantity, "quantity")?;
    if message.amount_minor < 0 {
        return Err(Reject::new(Reason::AmountNegative, "amount_minor is negative").field("amount_minor"));
    }
    Ok(id)
}

/// Checks the shape of a return authorisation.
///
/// # Errors
/// Whatever field is missing or wrong, with its path.
pub fn authorise_return(message: &AuthoriseReturnRequest) -> Result<RequestId, Reject> {
    let id = request(&message.request_id)?;
    let authorisation = required(&message.authorisation, "authorisation")?;
    check_authorisation(authorisation).map_err(|reject| reject.within("authorisation"))?;
    Ok(id)
}

pub(crate) fn check_authorisation(authorisation: &ReturnAuthorisation) -> Result<(), Reject> {
    name(&authorisation.authorisation_id, 64, false, "authorisation_id")?;
    OrderId::new(&authorisation.order_id).map_err(|reject| reject.field("order_id"))?;
    if !authorisation.node.is_empty() {
        NodeId::new(&authorisation.node).map_err(|reject| reject.field("node"))?;
    }
    date(&authorisation.valid_until, "valid_until")?;
    lines(authorisation.lines.iter().map(|line| line.line))?;
    for (n, line) in authorisation.lines.iter().enumerate() {
        quantity::positive(line.quantity, &format!("lines[{n}].quantity"))?;
    }
    Ok(())
}

/// Checks a request that names a document and nothing else.
///
/// # Errors
/// [`Reason::InvalidRequestId`].
pub fn document_request(request_id: &str) -> Result<RequestId, Reject> {
    request(request_id)
}
