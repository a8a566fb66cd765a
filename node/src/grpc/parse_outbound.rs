//! Requests of the way out become commands: sales, transfers, work, pickups, kits, labour, returns, refunds.
//!
//! Must not know: the node's state; what depends on it is the core's to refuse.

use std::collections::BTreeMap;

use stockmesh_node_core::command as core;
use stockmesh_node_core::command::Command;
use stockmesh_node_core::outbound::views::PickListOf;
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::convert::{self, currency, specified};
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::node::v1::*;
use stockmesh_types::quantity::positive;
use stockmesh_types::{
    AllocationId, BusinessDate, MAX_QUANTITY, Money, NodeId, OrderId, Quantity, Reason, Reject, RequestId, StockKey,
};

use super::parse::{document_id, lines, sale_line, text};

/// Latest time that a request may name: some 200 years from now. Sums of times stay far within 64 bits.
const MAX_TIME_MS: i64 = 8_000_000_000_000;
/// Scans of one kit.
const MAX_SCANS: usize = 2_000;

fn id(text: &str, field: &str) -> Result<OrderId, Reject> {
    OrderId::new(text).map_err(|reject| reject.field(field))
}

fn time(value: i64, field: &str) -> Result<Option<i64>, Reject> {
    if (0..=MAX_TIME_MS).contains(&value) {
        return Ok(Some(value).filter(|time| *time > 0));
    }
    Err(Reject::new(Reason::InvalidDate, format!("{field} is {value}: no time that can be")).field(field))
}

/// A quantity that may be 0.
fn count(value: i64, field: &str) -> Result<Quantity, Reject> {
    if value < 0 {
        return Err(Reject::new(Reason::QuantityNotPositive, format!("{field} is {value}")).field(field));
    }
    if value > MAX_QUANTITY {
        let message = format!("{field} is {value}, at most {MAX_QUANTITY}");
        return Err(Reject::new(Reason::QuantityTooLarge, message).field(field));
    }
    Ok(value)
}

fn reason(given: &str) -> Result<String, Reject> {
    if given.trim().is_empty() {
        return Err(Reject::new(Reason::MissingField, "reason is missing: say why").field("reason"));
    }
    text(given, "reason")
}

/// Names of units, where a quantity is given beside them.
fn units(given: &[common::UnitGroup], quantity: Quantity, field: &str) -> Result<Vec<common::UnitGroup>, Reject> {
    let groups = stockmesh_node_core::site::UnitGroup::of_wire(given, field)?;
    let named = stockmesh_node_core::site::UnitGroup::total(&groups);
    if !groups.is_empty() && named != quantity {
        let message = format!("{named} units are named, quantity is {quantity}");
        return Err(Reject::new(Reason::UnitsMismatch, message).field(field));
    }
    Ok(given.to_vec())
}

fn amount(money: &common::Money, field: &str) -> Result<Money, Reject> {
    let currency = currency(&money.currency_code, &format!("{field}.currency_code"))?;
    let at = format!("{field}.minor");
    if money.minor <= 0 {
        return Err(Reject::new(Reason::AmountNegative, format!("{at} is {}: give more than 0", money.minor)).field(at));
    }
    if money.minor > convert::MAX_AMOUNT_MINOR {
        let message = format!("{at} is {}, at most {}", money.minor, convert::MAX_AMOUNT_MINOR);
        return Err(Reject::new(Reason::AmountTooLarge, message).field(at));
    }
    Ok(Money { currency, minor: money.minor })
}

fn sale(
    sale_id: OrderId,
    currency_code: &str,
    given: &[feed::CounterSaleLine],
    tender: i32,
    sold_time_ms: i64,
) -> Result<core::SellAtCounter, Reject> {
    let parse = |line: &feed::CounterSaleLine, at: &str| {
        if !line.units.is_empty() {
            let message = "lots and serial numbers of counter sales are not in this release: leave units out";
            return Err(Reject::new(Reason::NotInThisRelease, message).field(format!("{at}.units")));
        }
        sale_line(line, at)
    };
    Ok(core::SellAtCounter {
        sale_id,
        currency: currency(currency_code, "currency_code")?,
        lines: lines(given, parse)?,
        tender: specified(tender, "tender")?,
        sold_time_ms: time(sold_time_ms, "sold_time_ms")?,
    })
}

pub(super) fn sell(request: &SellRequest, stamp: RequestId) -> Result<Command, Reject> {
    let SellRequest { sale_id, currency_code, lines, tender, sold_time_ms, recall, node: _, request_id: _ } = request;
    let sale_id = document_id(sale_id, stamp, "sale_id")?;
    let sale = sale(sale_id, currency_code, lines, *tender, *sold_time_ms)?;
    Ok(Command::Sell(core::Sell { sale, recall: *recall }))
}

pub(super) fn record_sale(request: &RecordSaleRequest, _: RequestId) -> Result<Command, Reject> {
    let RecordSaleRequest { sale_id, currency_code, lines, tender, sold_time_ms, node: _, request_id: _ } = request;
    let sale = sale(id(sale_id, "sale_id")?, currency_code, lines, *tender, *sold_time_ms)?;
    if sale.sold_time_ms.is_none() {
        let message = "sold_time_ms is missing: say when the sale took place";
        return Err(Reject::new(Reason::MissingField, message).field("sold_time_ms"));
    }
    Ok(Command::RecordSale(core::RecordSale { sale }))
}

pub(super) fn void_sale(request: &VoidSaleRequest, stamp: RequestId) -> Result<Command, Reject> {
    let VoidSaleRequest { sale_id, currency_code, lines, tender, sold_time_ms, reason: why, node: _, request_id: _ } =
        request;
    let sale = sale(id(sale_id, "sale_id")?, currency_code, lines, *tender, *sold_time_ms)?;
    Ok(Command::VoidSale(core::VoidSale { void_id: OrderId::new(&stamp.to_string())?, sale, reason: reason(why)? }))
}

pub(super) fn return_at_counter(request: &ReturnAtCounterRequest, stamp: RequestId) -> Result<Command, Reject> {
    let line = |line: &CounterReturnLine, at: &str| {
        let quantity = positive(line.quantity, &format!("{at}.quantity"))?;
        Ok(core::CounterReturnLine {
            stock_key: convert::stock_key(&line.stock_key, &format!("{at}.stock_key"))?,
            quantity,
            disposition: match line.disposition {
                0 => None,
                given => Some(specified(given, &format!("{at}.disposition"))?),
            },
            units: units(&line.units, quantity, &format!("{at}.units"))?,
        })
    };
    let node = if request.sale_node.is_empty() { &request.node } else { &request.sale_node };
    let refund = match &request.refund {
        None => None,
        Some(money) => Some((amount(money, "refund")?, specified(request.tender, "tender")?)),
    };
    Ok(Command::ReturnAtCounter(core::ReturnAtCounter {
        return_id: document_id(&request.return_id, stamp, "return_id")?,
        sale_id: id(&request.sale_id, "sale_id")?,
        sale_node: NodeId::new(node).map_err(|reject| reject.field("sale_node"))?,
        lines: lines(&request.lines, line)?,
        refund,
    }))
}

pub(super) fn receive_transfer(request: &ReceiveTransferRequest, stamp: RequestId) -> Result<Command, Reject> {
    let line = |line: &TransferReceiptLine, at: &str| {
        let in_line = |field: &str| format!("{at}.{field}");
        if line.line == 0 {
            let message = "line is missing: lines of a transfer are numbered from 1";
            return Err(Reject::new(Reason::MissingField, message).field(in_line("line")));
        }
        let quantity = count(line.quantity, &in_line("quantity"))?;
        let damaged = count(line.damaged, &in_line("damaged"))?;
        let short = count(line.short, &in_line("short"))?;
        if quantity + damaged + short == 0 {
            let message = "nothing arrived and nothing is missing: leave the line out";
            return Err(Reject::new(Reason::QuantityNotPositive, message).field(in_line("quantity")));
        }
        Ok(core::TransferReceiptLine {
            line: line.line,
            stock_key: convert::stock_key(&line.stock_key, &in_line("stock_key"))?,
            quantity,
            damaged,
            short,
            units: stockmesh_node_core::site::UnitGroup::of_wire(&line.units, &in_line("units"))?,
        })
    };
    Ok(Command::ReceiveTransfer(core::ReceiveTransfer {
        receipt_id: document_id(&request.receipt_id, stamp, "receipt_id")?,
        transfer_id: id(&request.transfer_id, "transfer_id")?,
        source_node: NodeId::new(&request.source_node).map_err(|reject| reject.field("source_node"))?,
        lines: lines(&request.lines, line)?,
    }))
}

/// Lines of a parcel: what leaves of each allocation, what leaves in its place, and which units.
type Parcel = (
    Vec<core::ShipLine>,
    BTreeMap<AllocationId, StockKey>,
    BTreeMap<AllocationId, Vec<stockmesh_node_core::site::UnitGroup>>,
);

fn ship_lines(given: &[ShipLine], may_substitute: bool) -> Result<Parcel, Reject> {
    let (mut parsed, mut substitutes, mut named) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for (n, line) in given.iter().enumerate() {
        let at = |field: &str| format!("lines[{n}].{field}");
        let allocation = convert::allocation_id(&line.allocation, &at("allocation"))?;
        let quantity = positive(line.quantity, &at("quantity"))?;
        if line.substitute.is_some() {
            if !may_substitute {
                let message = "what is set aside is handed over as it is";
                return Err(Reject::new(Reason::InvalidValue, message).field(at("substitute")));
            }
            substitutes.insert(allocation, convert::stock_key(&line.substitute, &at("substitute"))?);
        }
        let groups = stockmesh_node_core::site::UnitGroup::of_wire(&line.units, &at("units"))?;
        if !groups.is_empty() {
            named.insert(allocation, groups);
        }
        parsed.push(core::ShipLine { allocation, quantity });
    }
    Ok((parsed, substitutes, named))
}

pub(super) fn ship(request: &ShipItemsRequest, stamp: RequestId) -> Result<Command, Reject> {
    // Counts and refuses what is wrong with the number of lines.
    lines(&request.lines, |_, _| Ok(()))?;
    let (ship_lines, substitutes, units) = ship_lines(&request.lines, true)?;
    let ship = core::ShipItems {
        shipment_id: document_id(&request.shipment_id, stamp, "shipment_id")?,
        lines: ship_lines,
        carrier: text(&request.carrier, "carrier")?,
        tracking: text(&request.tracking, "tracking")?,
    };
    Ok(Command::ShipParcel(core::ShipParcel { ship, substitutes, units, pickup: None }))
}

pub(super) fn hold(request: &HoldFulfillmentOrderRequest, _: RequestId) -> Result<Command, Reject> {
    let (order_id, reason) = (id(&request.order_id, "order_id")?, reason(&request.reason)?);
    Ok(Command::HoldFulfillmentOrder(core::HoldFulfillmentOrder { order_id, reason }))
}

pub(super) fn resume(request: &ResumeFulfillmentOrderRequest, _: RequestId) -> Result<Command, Reject> {
    let order_id = id(&request.order_id, "order_id")?;
    Ok(Command::ResumeFulfillmentOrder(core::ResumeFulfillmentOrder { order_id }))
}

pub(super) fn reject(request: &RejectFulfillmentOrderRequest, _: RequestId) -> Result<Command, Reject> {
    let (order_id, reason) = (id(&request.order_id, "order_id")?, specified(request.reason, "reason")?);
    Ok(Command::RejectFulfillmentOrder(core::RejectFulfillmentOrder { order_id, reason }))
}

pub(super) fn create_wave(request: &CreateWaveRequest, _: RequestId) -> Result<Command, Reject> {
    let Some(cut_off_time_ms) = time(request.cut_off_time_ms, "cut_off_time_ms")? else {
        return Err(Reject::new(Reason::MissingField, "cut_off_time_ms is missing").field("cut_off_time_ms"));
    };
    let max_allocations = match request.max_allocations as usize {
        0 => core::MAX_WAVE,
        given if given <= core::MAX_WAVE => given,
        given => {
            let message = format!("max_allocations is {given}, at most {}", core::MAX_WAVE);
            return Err(Reject::new(Reason::InvalidValue, message).field("max_allocations"));
        }
    };
    let accepted_until_ms = time(request.accepted_until_ms, "accepted_until_ms")?;
    Ok(Command::CreateWave(core::CreateWave { cut_off_time_ms, accepted_until_ms, max_allocations }))
}

pub(super) fn short_pick(request: &ReportShortPickRequest, _: RequestId) -> Result<Command, Reject> {
    Ok(Command::ReportShortPick(core::ReportShortPick {
        allocation: convert::allocation_id(&request.allocation, "allocation")?,
        found: count(request.found, "found")?,
        reason: specified(request.reason, "reason")?,
    }))
}

pub(super) fn pick_weighed(request: &PickWeighedRequest, _: RequestId) -> Result<Command, Reject> {
    Ok(Command::PickWeighed(core::PickWeighed {
        allocation: convert::allocation_id(&request.allocation, "allocation")?,
        weight_grams: positive(request.weight_grams, "weight_grams")?,
    }))
}

/// 6 to 12 digits.
fn code(given: &str) -> Result<String, Reject> {
    if (6..=12).contains(&given.len()) && given.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(given.to_owned());
    }
    // The code is not repeated: what is nearly right is a secret too.
    Err(Reject::new(Reason::InvalidValue, "a code has 6 to 12 digits").field("code"))
}

/// A request's id is drawn at random, and comes once: good enough a salt.
fn salt(stamp: RequestId) -> Vec<u8> {
    stamp.to_string().into_bytes()
}

pub(super) fn stage_pickup(request: &StagePickupRequest, stamp: RequestId) -> Result<Command, Reject> {
    Ok(Command::StagePickup(core::StagePickup {
        pickup_id: document_id(&request.pickup_id, stamp, "pickup_id")?,
        order_id: id(&request.order_id, "order_id")?,
        ready_time_ms: time(request.ready_time_ms, "ready_time_ms")?,
        expires_time_ms: time(request.expires_time_ms, "expires_time_ms")?,
        code: code(&request.code)?,
        salt: salt(stamp),
    }))
}

pub(super) fn replace_code(request: &ReplacePickupCodeRequest, stamp: RequestId) -> Result<Command, Reject> {
    let (pickup_id, code) = (id(&request.pickup_id, "pickup_id")?, code(&request.code)?);
    Ok(Command::ReplacePickupCode(core::ReplacePickupCode { pickup_id, code, salt: salt(stamp) }))
}

pub(super) fn hand_over(request: &HandOverPickupRequest, stamp: RequestId) -> Result<Command, Reject> {
    if !request.lines.is_empty() {
        lines(&request.lines, |_, _| Ok(()))?;
    }
    let (lines, _, units) = ship_lines(&request.lines, false)?;
    Ok(Command::HandOverPickup(core::HandOverPickup {
        pickup_id: id(&request.pickup_id, "pickup_id")?,
        code: code(&request.code)?,
        shipment_id: document_id(&request.shipment_id, stamp, "shipment_id")?,
        lines,
        units,
        proxy: request.proxy,
        age_checked: request.age_checked,
    }))
}

pub(super) fn expire_pickups(_: &ExpirePickupsRequest, _: RequestId) -> Result<Command, Reject> {
    Ok(Command::ExpirePickups(core::ExpirePickups))
}

pub(super) fn assemble(request: &AssembleKitsRequest, stamp: RequestId) -> Result<Command, Reject> {
    if request.scans.len() > MAX_SCANS {
        let message = format!("{} scans, at most {MAX_SCANS}: put fewer kits together at once", request.scans.len());
        return Err(Reject::new(Reason::TooManyLines, message).field("scans"));
    }
    Ok(Command::AssembleKits(core::AssembleKits {
        conversion_id: document_id(&request.conversion_id, stamp, "conversion_id")?,
        kit: convert::stock_key(&request.kit, "kit")?,
        kits: positive(request.kits, "kits")?,
        scans: request.scans.clone(),
    }))
}

pub(super) fn disassemble(request: &DisassembleKitsRequest, stamp: RequestId) -> Result<Command, Reject> {
    Ok(Command::DisassembleKits(core::DisassembleKits {
        conversion_id: document_id(&request.conversion_id, stamp, "conversion_id")?,
        kit: convert::stock_key(&request.kit, "kit")?,
        kits: positive(request.kits, "kits")?,
    }))
}

pub(super) fn set_capacity(request: &SetCapacityRequest, _: RequestId) -> Result<Command, Reject> {
    let mut hours = BTreeMap::new();
    for (n, SetHourCapacity { hour, capacity_units }) in request.hours.iter().enumerate() {
        let at = |field: &str| format!("hours[{n}].{field}");
        if *hour > 23 {
            return Err(Reject::new(Reason::InvalidValue, format!("hour is {hour}: 0 to 23")).field(at("hour")));
        }
        if hours.insert(*hour, count(*capacity_units, &at("capacity_units"))?).is_some() {
            return Err(Reject::new(Reason::DuplicateLine, format!("hour {hour} stands twice")).field(at("hour")));
        }
    }
    Ok(Command::SetCapacity(core::SetCapacity {
        date: BusinessDate::parse(&request.date).map_err(|reject| reject.field("date"))?,
        day_units: count(request.day_capacity_units, "day_capacity_units")?,
        hours,
    }))
}

pub(super) fn receive_return(request: &ReceiveReturnRequest, stamp: RequestId) -> Result<Command, Reject> {
    let Command::ReceiveReturn(receive) = super::parse::receive_return(request, stamp)? else {
        return Err(Reject::new(Reason::InvalidValue, "no return"));
    };
    let optional = |given: &str, field: &str| {
        if given.is_empty() { Ok(String::new()) } else { id(given, field).map(String::from) }
    };
    let shipment_node = match request.shipment_node.as_str() {
        "" => String::new(),
        node => NodeId::new(node).map_err(|reject| reject.field("shipment_node"))?.to_string(),
    };
    if request.shipment_id.is_empty() != shipment_node.is_empty() {
        let message = "shipment_id and shipment_node go together: a shipment number is unique at its node only";
        return Err(Reject::new(Reason::MissingField, message).field("shipment_node"));
    }
    let origin = core::Origin {
        authorisation_id: optional(&request.authorisation_id, "authorisation_id")?,
        shipment_id: optional(&request.shipment_id, "shipment_id")?,
        shipment_node,
        units: units(&request.units, receive.quantity, "units")?,
    };
    Ok(Command::ReceiveKnownReturn(core::ReceiveKnownReturn { receive, origin }))
}

pub(super) fn inspect_return(request: &InspectReturnRequest, stamp: RequestId) -> Result<Command, Reject> {
    let Command::InspectReturn(inspect) = super::parse::inspect_return(request, stamp)? else {
        return Err(Reject::new(Reason::InvalidValue, "no inspection"));
    };
    let units = units(&request.units, inspect.quantity, "units")?;
    let inspection_id = document_id(&request.inspection_id, stamp, "inspection_id")?;
    Ok(Command::InspectKnownReturn(core::InspectKnownReturn { inspect, inspection_id, units }))
}

pub(super) fn finish(request: &FinishDispositionRequest, stamp: RequestId) -> Result<Command, Reject> {
    let quantity = positive(request.quantity, "quantity")?;
    Ok(Command::FinishDisposition(core::FinishDisposition {
        finish_id: document_id(&request.finish_id, stamp, "finish_id")?,
        return_id: id(&request.return_id, "return_id")?,
        disposition: specified(request.disposition, "disposition")?,
        quantity,
        outcome: specified(request.outcome, "outcome")?,
        units: units(&request.units, quantity, "units")?,
    }))
}

pub(super) fn refund(request: &RequestRefundRequest, stamp: RequestId) -> Result<Command, Reject> {
    if request.line == 0 {
        let message = "line is missing: lines of an order are numbered from 1";
        return Err(Reject::new(Reason::MissingField, message).field("line"));
    }
    let return_id = match request.return_id.as_str() {
        "" => None,
        given => Some(id(given, "return_id")?),
    };
    Ok(Command::RequestRefund(core::RequestRefund {
        refund_id: document_id(&request.refund_id, stamp, "refund_id")?,
        order_id: id(&request.order_id, "order_id")?,
        line: request.line,
        quantity: positive(request.quantity, "quantity")?,
        reason: specified(request.reason, "reason")?,
        return_id,
        amount: request.amount.as_ref().map(|money| amount(money, "amount")).transpose()?,
        pay_offline: if request.pay_offline { Some(specified(request.tender, "tender")?) } else { None },
    }))
}

/// What a pick list is of: a wave or an order, one of them.
pub(super) fn pick_list_of(wave: u64, order_id: &str) -> Result<PickListOf, Reject> {
    match (wave, order_id) {
        (0, "") => {
            let message = "wave or order_id is missing: say what the pick list is of";
            Err(Reject::new(Reason::MissingField, message).field("wave"))
        }
        (wave, "") => Ok(PickListOf::Wave(wave)),
        (0, order) => Ok(PickListOf::Order(id(order, "order_id")?)),
        _ => {
            let message = "wave and order_id are both set: a pick list is of one of them";
            Err(Reject::new(Reason::InvalidValue, message).field("order_id"))
        }
    }
}
