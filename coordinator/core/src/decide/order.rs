//! Where an order ships from.

use stockmesh_proto::common::v1::{Order, OrderLine, ShortagePolicy};
use stockmesh_proto::convert::required;
use stockmesh_proto::coordinator::v1::{QuoteOrderResponse, QuotedShortage, QuotedUnits, SourcingSummary};
use stockmesh_proto::raft::v1::{CommitOrder, Promise};
use stockmesh_types::{OrderId, Quantity, Reason, Reject};

use super::Overlay;
use super::candidates::{Candidates, Offer, Wanted};
use super::sourcing::Take;
use crate::State;
use crate::apply::commit_order::order_id_reused;
use crate::validate::{MAX_CELLS, placed_time};

/// What to do with an order.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every decision is a commit, and it is moved on at once")]
pub enum OrderDecision {
    /// Log this.
    Commit(CommitOrder),
    /// It was placed before with the same body: answer with [`State::order`], log nothing.
    AlreadyPlaced,
}

/// Decides where an order ships from: fewest short units first, then least cost.
///
/// `order_hash` is the SHA-256 of the order as the client sent it; `incarnation` the one that the client named (0: none);
/// `now_ms` the leader's clock, which an order without a placed time gets. A repeat is not held against the clock.
///
/// Units that wait in a queue go first: a new order gets what they leave. An order that touches more than 256 cells is
/// promised as far as one command may; the rest waits in the queue, and is promised by the steps that follow.
///
/// # Errors
/// [`Reason::OrderIdReused`], [`Reason::UnknownItem`], [`Reason::InsufficientRights`] (an order that is all or nothing),
/// [`Reason::TooManyCells`] (one that does not wait), [`Reason::StaleIncarnation`], [`Reason::GroupNotInitialized`],
/// [`Reason::InvalidDate`] (placed in the future).
/// The shape was checked before: [`crate::validate::order`].
pub fn order(
    state: &State,
    overlay: &Overlay,
    order: &Order,
    order_hash: [u8; 32],
    incarnation: u32,
    now_ms: i64,
) -> Result<OrderDecision, Reject> {
    if state.group.is_none() {
        return Err(no_group());
    }
    if let Some(known) = state.order_index.get(&order.order_id) {
        if state.orders[known].hash == order_hash {
            return Ok(OrderDecision::AlreadyPlaced);
        }
        return Err(order_id_reused(&OrderId::new(&order.order_id)?));
    }
    state.check_incarnation(incarnation)?;
    let placed_time_ms = placed_time(order, now_ms)?;
    let Plan { promises, sourcing, short, needed } = plan(state, overlay, order)?;
    let ordered: Quantity = order.lines.iter().map(|line| line.quantity).sum();
    match ShortagePolicy::try_from(order.shortage_policy) {
        Ok(ShortagePolicy::AllOrNothing | ShortagePolicy::Cancel) if needed > MAX_CELLS => {
            let message = format!(
                "the order needs {needed} cells at once, and a command touches at most {MAX_CELLS}: let it wait, or \
                 split it"
            );
            return Err(Reject::new(Reason::TooManyCells, message).field("order.shortage_policy"));
        }
        Ok(ShortagePolicy::AllOrNothing) if short > 0 => {
            let message = format!("{short} of {ordered} units can't be promised now, and the order is all or nothing");
            return Err(Reject::new(Reason::InsufficientRights, message).field("order.shortage_policy"));
        }
        Ok(_) | Err(_) => {}
    }
    Ok(OrderDecision::Commit(CommitOrder {
        order: Some(Order { placed_time_ms, ..order.clone() }),
        order_hash: order_hash.to_vec(),
        promises,
        sourcing: Some(sourcing),
        incarnation,
    }))
}

/// What would become of an order now: where it would ship from, at which cost. Nothing is promised by it, its id is not
/// looked at, and its shortage policy refuses nothing.
///
/// # Errors
/// [`Reason::UnknownItem`], [`Reason::GroupNotInitialized`]. The shape was checked before: [`crate::validate::order`].
pub fn quote(state: &State, overlay: &Overlay, order: &Order) -> Result<QuoteOrderResponse, Reject> {
    if state.group.is_none() {
        return Err(no_group());
    }
    let Plan { promises, sourcing, short: _, needed: _ } = plan(state, overlay, order)?;
    let promised = |line: u32| {
        let of_line = promises.iter().filter(|promise| promise.line == line);
        of_line.map(|promise| promise.quantity).sum::<Quantity>()
    };
    let shortages = order.lines.iter().map(|line| (line.line, line.quantity - promised(line.line)));
    let shortages = shortages.filter(|(_, units)| *units > 0).map(|(line, units)| QuotedShortage { line, units });
    let units = promises.iter().map(|Promise { line, node_index, quantity }| QuotedUnits {
        line: *line,
        node: state.node_name(*node_index),
        units: *quantity,
    });
    Ok(QuoteOrderResponse {
        units: units.collect(),
        shortages: shortages.collect(),
        sourcing: Some(sourcing),
        as_of_time_ms: state.log_time().0,
        as_of_index: state.applied_index(),
    })
}

fn no_group() -> Reject {
    Reject::new(Reason::GroupNotInitialized, "the group has no life yet: its first command has not been committed")
}

/// The best that can be done for an order now.
struct Plan {
    promises: Vec<Promise>,
    sourcing: SourcingSummary,
    /// Units that no node can promise, or that one command can't.
    short: Quantity,
    /// Cells that all of it takes; more than one command may touch: the rest is left out.
    needed: usize,
}

fn plan(state: &State, overlay: &Overlay, order: &Order) -> Result<Plan, Reject> {
    let (wanted, need_of_line) = wanted(state, overlay, order)?;
    let ship_to = required(&order.ship_to, "order.ship_to")?;
    let offer = Offer { overlay, wanted: &wanted, ship_to, may: |_| true, ships: &[], less: |_| 0 };
    let (candidates, answer) = state.source(&offer);
    let needed = answer.takes.len();
    let takes = &answer.takes[..needed.min(MAX_CELLS)];
    let ordered: Quantity = order.lines.iter().map(|line| line.quantity).sum();
    let short = ordered - takes.iter().map(|take| take.units).sum::<Quantity>();
    let mut sourcing = state.summary(&candidates, takes, &answer, short);
    // What the later steps choose is not known yet.
    sourcing.proven_optimal &= takes.len() == needed;
    Ok(Plan { promises: promises(order, &need_of_line, &candidates, takes), sourcing, short, needed })
}

/// What the order wants, by stock key, and which of it each line is. Lines of one key share what is there.
fn wanted(state: &State, overlay: &Overlay, order: &Order) -> Result<(Vec<Wanted>, Vec<usize>), Reject> {
    let mut wanted: Vec<Wanted> = Vec::with_capacity(order.lines.len());
    let mut need_of_line = Vec::with_capacity(order.lines.len());
    let mut by_key: Vec<(u32, usize)> = Vec::with_capacity(order.lines.len());
    for (n, OrderLine { line: _, stock_key, quantity, price: _, allow_substitution: _ }) in
        order.lines.iter().enumerate()
    {
        let path = || format!("order.lines[{n}].stock_key");
        let stock_key = required(stock_key, "stock_key").map_err(|reject| reject.field(path()))?;
        let item = state.known_item(&stock_key.item, "item").map_err(|reject| reject.within(&path()))?;
        let key = state.wire_key_of(item, stock_key);
        let place = key.map(|key| by_key.binary_search_by_key(&key, |(key, _)| *key));
        if let Some(Ok(at)) = place {
            let need = by_key[at].1;
            wanted[need].quantity += quantity;
            need_of_line.push(need);
            continue;
        }
        if let (Some(Err(at)), Some(key)) = (place, key) {
            by_key.insert(at, (key, wanted.len()));
        }
        need_of_line.push(wanted.len());
        let at_most = key.map_or(0, |key| left_by_queue(state, overlay, key));
        wanted.push(Wanted { key, weight_grams: state.items[item].weight_grams, quantity: *quantity, at_most });
    }
    Ok((wanted, need_of_line))
}

/// Free units of a key that those who wait for it leave.
fn left_by_queue(state: &State, overlay: &Overlay, key: u32) -> Quantity {
    let record = &state.keys[key];
    if record.waiting_total == 0 {
        return Quantity::MAX;
    }
    (state.free_of_key(record) - overlay.total(key) - record.waiting_total).max(0)
}

/// Deals the units of each stock key out to the lines that want it, in the order of the lines.
fn promises(order: &Order, need_of_line: &[usize], candidates: &Candidates, takes: &[Take]) -> Vec<Promise> {
    let mut left: Vec<Take> = takes.to_vec();
    let mut promises = Vec::with_capacity(takes.len());
    // Takes come by need, so that those of one need stand together.
    for (line, need) in order.lines.iter().zip(need_of_line) {
        let mut wants = line.quantity;
        let first = left.partition_point(|take| take.need < *need);
        for take in left[first..].iter_mut().take_while(|take| take.need == *need) {
            let units = wants.min(take.units);
            if units == 0 {
                continue;
            }
            take.units -= units;
            wants -= units;
            let node_index = candidates.nodes[take.node].0;
            promises.push(Promise { line: line.line, node_index, quantity: units });
        }
    }
    promises
}
