//! Requests about stock, expected receipts, counts and exceptions become commands: every field is checked by itself.
//!
//! Must not know: the node's state; what depends on it is the core's to refuse.

use std::collections::BTreeSet;

use stockmesh_node_core::command::{CountFigure, *};
use stockmesh_node_core::site::units::Bin;
use stockmesh_node_core::site::{Asked, Condition, HoldingKey, Label, UnitGroup};
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::convert::{self, specified};
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::node::v1::*;
use stockmesh_types::quantity::positive;
use stockmesh_types::{MAX_QUANTITY, OrderId, Reason, Reject, RequestId};

use super::parse::{lines, stock_key_of_token, text, token_of_stock_key};

/// Names in one list of a request.
const MAX_NAMES: usize = 200;

fn condition(number: i32, field: &str) -> Result<Option<Condition>, Reject> {
    if number == 0 {
        return Ok(None);
    }
    Ok(Condition::of_wire(specified::<common::Condition>(number, field)?))
}

fn movement_id(id: RequestId) -> Result<OrderId, Reject> {
    OrderId::new(&id.to_string())
}

/// MoveStock.
///
/// # Errors
/// What is wrong with a field.
pub fn move_stock(request: &MoveStockRequest, id: RequestId) -> Result<Command, Reject> {
    let missing =
        || Reject::new(Reason::MissingField, "from is missing: the condition that the units are in").field("from");
    Ok(Command::MoveStock(MoveStock {
        movement_id: movement_id(id)?,
        stock_key: convert::stock_key(&request.stock_key, "stock_key")?,
        quantity: Asked::of_wire(request.quantity, &request.entered)?,
        from: condition(request.from, "from")?.ok_or_else(missing)?,
        to: condition(request.to, "to")?,
        reason: specified(request.reason, "reason")?,
        reference: text(&request.reference, "reference")?,
        units: UnitGroup::of_wire(&request.units, "units")?,
    }))
}

/// PutAwayStock.
///
/// # Errors
/// What is wrong with a field.
pub fn put_away(request: &PutAwayStockRequest, id: RequestId) -> Result<Command, Reject> {
    Ok(Command::PutAwayStock(PutAwayStock {
        movement_id: movement_id(id)?,
        stock_key: convert::stock_key(&request.stock_key, "stock_key")?,
        quantity: Asked::of_wire(request.quantity, &request.entered)?,
        condition: condition(request.condition, "condition")?.unwrap_or(Condition::Sellable),
        units: UnitGroup::of_wire(&request.units, "units")?,
        to_bin: Label::new(&request.to_bin, "to_bin")?,
    }))
}

/// A label that must be there.
fn named(text: &str, field: &str) -> Result<Label, Reject> {
    let label = Label::new(text, "bin").map_err(|reject| reject.field(field))?;
    if label.is_none() {
        return Err(Reject::new(Reason::MissingField, format!("{field} is missing")).field(field));
    }
    Ok(label)
}

fn names(given: &[String], field: &str) -> Result<Vec<Label>, Reject> {
    if given.len() > MAX_NAMES {
        let message = format!("{field} has {} names, at most {MAX_NAMES}", given.len());
        return Err(Reject::new(Reason::TooManyLines, message).field(field));
    }
    given.iter().enumerate().map(|(n, name)| named(name, &format!("{field}[{n}]"))).collect()
}

/// SetBins.
///
/// # Errors
/// What is wrong with a field.
pub fn set_bins(request: &SetBinsRequest, _: RequestId) -> Result<Command, Reject> {
    if request.set.is_empty() && request.removed.is_empty() {
        return Err(Reject::new(Reason::MissingField, "set and removed are empty: nothing would change").field("set"));
    }
    if request.set.len() > MAX_NAMES {
        let message = format!("set has {} bins, at most {MAX_NAMES}", request.set.len());
        return Err(Reject::new(Reason::TooManyLines, message).field("set"));
    }
    let bin = |(n, bin): (usize, &feed::Bin)| -> Result<(Label, Bin), Reject> {
        let zone = Label::new(&bin.zone, "zone").map_err(|reject| reject.within(&format!("set[{n}]")))?;
        let record = Bin { zone, accessible: bin.accessible, walk_order: bin.walk_order };
        Ok((named(&bin.bin, &format!("set[{n}].bin"))?, record))
    };
    let set: Vec<(Label, Bin)> = request.set.iter().enumerate().map(bin).collect::<Result<_, _>>()?;
    let removed = names(&request.removed, "removed")?;
    let mut seen = BTreeSet::new();
    if let Some(twice) = set.iter().map(|(name, _)| name).chain(&removed).find(|name| !seen.insert((*name).clone())) {
        return Err(Reject::new(Reason::DuplicateLine, format!("bin {twice} stands twice")).field("set"));
    }
    Ok(Command::SetBins(SetBins { set, removed }))
}

/// ExpireLots.
///
/// # Errors
/// None: the id is checked before.
pub fn expire_lots(_: &ExpireLotsRequest, id: RequestId) -> Result<Command, Reject> {
    Ok(Command::ExpireLots(ExpireLots { movement_id: movement_id(id)? }))
}

/// ResolveException.
///
/// # Errors
/// What is wrong with a field.
pub fn resolve_exception(request: &ResolveExceptionRequest, _: RequestId) -> Result<Command, Reject> {
    let resolution = text(&request.resolution, "resolution")?;
    if resolution.is_empty() {
        let message = "resolution is missing: say what was done";
        return Err(Reject::new(Reason::MissingField, message).field("resolution"));
    }
    let exception = request.exception_id.parse().map_err(|reject: Reject| reject.field("exception_id"))?;
    Ok(Command::ResolveException(ResolveException { exception, resolution }))
}

/// CloseInbound.
///
/// # Errors
/// What is wrong with a field.
pub fn close_inbound(request: &CloseInboundRequest, _: RequestId) -> Result<Command, Reject> {
    let inbound = OrderId::new(&request.inbound_id).map_err(|reject| reject.field("inbound_id"))?;
    Ok(Command::CloseInbound(CloseInbound { inbound }))
}

/// ResolveReceiptDifference.
///
/// # Errors
/// What is wrong with a field.
pub fn resolve_difference(request: &ResolveReceiptDifferenceRequest, _: RequestId) -> Result<Command, Reject> {
    let quantity = match request.quantity {
        0 => None,
        quantity => Some(positive(quantity, "quantity")?),
    };
    Ok(Command::ResolveReceiptDifference(ResolveReceiptDifference {
        exception: request.exception_id.parse().map_err(|reject: Reject| reject.field("exception_id"))?,
        quantity,
        decision: specified(request.decision, "decision")?,
        reference: text(&request.reference, "reference")?,
    }))
}

fn count_id(text: &str) -> Result<stockmesh_node_core::site::CountId, Reject> {
    text.parse().map_err(|reject: Reject| reject.field("count_id"))
}

/// RequestCount.
///
/// # Errors
/// What is wrong with a field.
pub fn request_count(request: &RequestCountRequest, _: RequestId) -> Result<Command, Reject> {
    let feed::CountScope { stock_keys, bins, zone } = convert::required(&request.scope, "scope")?;
    if stock_keys.len() > MAX_NAMES {
        let message = format!("scope.stock_keys has {} stock keys, at most {MAX_NAMES}", stock_keys.len());
        return Err(Reject::new(Reason::TooManyLines, message).field("scope.stock_keys"));
    }
    let key = |(n, key): (usize, &common::StockKey)| {
        convert::stock_key(&Some(key.clone()), &format!("scope.stock_keys[{n}]"))
    };
    Ok(Command::RequestCount(RequestCount {
        stock_keys: stock_keys.iter().enumerate().map(key).collect::<Result<_, _>>()?,
        bins: names(bins, "scope.bins")?,
        zone: Label::new(zone, "zone").map_err(|reject| reject.within("scope"))?,
        blind: !request.open,
        reference: text(&request.reference, "reference")?,
    }))
}

/// StartCount.
///
/// # Errors
/// What is wrong with a field.
pub fn start_count(request: &StartCountRequest, _: RequestId) -> Result<Command, Reject> {
    Ok(Command::StartCount(StartCount { count: count_id(&request.count_id)? }))
}

/// RecordCount.
///
/// # Errors
/// What is wrong with a field.
pub fn record_count(request: &RecordCountRequest, _: RequestId) -> Result<Command, Reject> {
    let figures = lines(&request.figures, |figure, at| {
        count_figure(figure, at).map_err(|reject| match reject.field.split_once('.') {
            // `lines` numbers what it is given; here they are figures.
            Some((_, field)) => {
                let field = field.to_owned();
                reject.field(format!("{}.{field}", at.replacen("lines", "figures", 1)))
            }
            None => reject,
        })
    })?;
    Ok(Command::RecordCount(RecordCount { count: count_id(&request.count_id)?, figures }))
}

fn count_figure(figure: &stockmesh_proto::node::v1::CountFigure, at: &str) -> Result<CountFigure, Reject> {
    let in_figure = |field: &str| format!("{at}.{field}");
    let line = match figure.line {
        0 => Err(CountedLine {
            stock_key: convert::stock_key(&figure.stock_key, &in_figure("stock_key"))?,
            bin: Label::new(&figure.bin, "bin").map_err(|reject| reject.within(at))?,
            lot: Label::new(&figure.lot, "lot").map_err(|reject| reject.within(at))?,
        }),
        line => Ok(line),
    };
    let counted = match (figure.counted, &figure.entered) {
        (0, None) => None,
        (counted, _) if !(0..=MAX_QUANTITY).contains(&counted) => {
            let message = format!("counted is {counted}, and must be 0 to {MAX_QUANTITY}");
            return Err(Reject::new(Reason::InvalidValue, message).field(in_figure("counted")));
        }
        (counted, entered) => Some(Asked::of_wire(counted, entered).map_err(|reject| reject.within(at))?),
    };
    if figure.serials.len() > 500 {
        return Err(Reject::new(Reason::TooManyLines, "more than 500 serial numbers").field(in_figure("serials")));
    }
    let serial = |serial: &String| named(serial, &in_figure("serials"));
    Ok(CountFigure {
        line,
        counted,
        position_seq: (figure.position_seq > 0).then_some(figure.position_seq),
        serials: figure.serials.iter().map(serial).collect::<Result<_, _>>()?,
    })
}

/// FinishCount.
///
/// # Errors
/// What is wrong with a field.
pub fn finish_count(request: &FinishCountRequest, _: RequestId) -> Result<Command, Reject> {
    Ok(Command::FinishCount(FinishCount { count: count_id(&request.count_id)? }))
}

/// ReviewCount.
///
/// # Errors
/// What is wrong with a field.
pub fn review_count(request: &ReviewCountRequest, _: RequestId) -> Result<Command, Reject> {
    Ok(Command::ReviewCount(ReviewCount {
        count: count_id(&request.count_id)?,
        decision: specified(request.decision, "decision")?,
        lines: request.lines.clone(),
        note: text(&request.note, "note")?,
    }))
}

/// CancelCount.
///
/// # Errors
/// What is wrong with a field.
pub fn cancel_count(request: &CancelCountRequest, _: RequestId) -> Result<Command, Reject> {
    Ok(Command::CancelCount(CancelCount { count: count_id(&request.count_id)?, note: text(&request.note, "note")? }))
}

/// Apart from all characters that a stock key may hold, and from those of labels by its place: it stands before them.
const SEPARATOR: char = '\u{1e}';

pub(crate) fn token_of_holding(key: &HoldingKey) -> String {
    let HoldingKey { stock_key, condition, lot, bin } = key;
    format!("{}{SEPARATOR}{}{SEPARATOR}{lot}{SEPARATOR}{bin}", token_of_stock_key(stock_key), condition.number())
}

pub(crate) fn holding_of_token(text: &str) -> Result<HoldingKey, Reject> {
    let wrong = || Reject::new(Reason::InvalidPageToken, "the page token is not one of this list").field("page_token");
    let parts: Vec<&str> = text.split(SEPARATOR).collect();
    let [key, condition, lot, bin] = parts.as_slice() else { return Err(wrong()) };
    Ok(HoldingKey {
        stock_key: stock_key_of_token(key)?,
        condition: condition.parse().ok().and_then(Condition::from_number).ok_or_else(wrong)?,
        lot: Label::new(lot, "lot").map_err(|_| wrong())?,
        bin: Label::new(bin, "bin").map_err(|_| wrong())?,
    })
}
