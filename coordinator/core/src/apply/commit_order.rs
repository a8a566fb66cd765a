//! `CommitOrder`: an order is accepted together with its promises, all or nothing (transition 3).
//!
//! Rights are checked here, in the entry that accepts the order: what the leader believed does not count.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use stockmesh_proto::common::v1::{CancelReason, Order, OrderLine, ShortagePolicy};
use stockmesh_proto::convert::{self, required};
use stockmesh_proto::raft::v1::{CommitOrder, Promise};
use stockmesh_types::{OrderId, Quantity, Reason, Reject, StockKey, quantity};

use super::emit::Delivery;
use super::{Stop, Tx};
use crate::answer::Answer;
use crate::records::{LineRecord, NONE, OrderRecord};
use crate::rights::{MAX_KEYS_BY_ORDERS, NewAllocation};
use crate::state::full;
use crate::validate::{MAX_CELLS, MAX_LINES};

/// A line as it will be recorded.
struct Line {
    number: u32,
    item: u32,
    key: Key,
    ordered: Quantity,
    promised: Quantity,
}

/// A stock key, or what it will be made of.
enum Key {
    Known(u32),
    New(StockKey),
}

impl Tx<'_> {
    pub(super) fn commit_order(&mut self, command: &CommitOrder) -> Result<Answer, Stop> {
        let CommitOrder { order, order_hash, promises, sourcing, incarnation } = command;
        let order = required(order, "order")?;
        let hash = <[u8; 32]>::try_from(order_hash.as_slice())
            .map_err(|_| Reject::new(Reason::InvalidValue, "order_hash is not 32 bytes").field("order_hash"))?;
        let id = OrderId::new(&order.order_id).map_err(|reject| reject.field("order.order_id"))?;
        if let Some(known) = self.state.order_index.get(id.as_str()) {
            if self.state.orders[known].hash == hash {
                return Ok(Answer::OrderPlaced { order_id: id, already_placed: true });
            }
            return Err(order_id_reused(&id).into());
        }
        self.state.check_incarnation(*incarnation)?;
        let lines = self.check_order(order, promises)?;
        let policy = ShortagePolicy::try_from(order.shortage_policy).unwrap_or(ShortagePolicy::Unspecified);
        let short: Quantity = lines.iter().map(|line| line.ordered - line.promised).sum();
        if policy == ShortagePolicy::AllOrNothing && short > 0 {
            let message = format!("{short} units can't be promised now, and the order is all or nothing");
            return Err(Reject::new(Reason::InsufficientRights, message).into());
        }

        self.effects.extend_from_slice(&hash);
        let encoded = order.encode_to_vec();
        self.emit_order_placed(&encoded);
        let first_line = u32::try_from(self.state.lines.len()).map_err(|_| full("order lines"))?;
        let sourcing = sourcing.as_ref().map(Message::encode_to_vec).unwrap_or_default();
        let (body, order_bytes) = OrderRecord::body_of(&encoded, &sourcing);
        let record = OrderRecord {
            id: id.clone(),
            body,
            order_bytes,
            hash,
            committed_ms: self.state.log_time.0,
            first_line,
            lines: u32::try_from(lines.len()).map_err(|_| full("order lines"))?,
            open_units: lines.iter().map(|line| line.ordered).sum(),
            cancels_shortage: policy == ShortagePolicy::Cancel,
        };
        let index = self.state.orders.push(record).ok_or_else(|| full("orders"))?;
        self.state.order_index.insert(id.clone(), index);
        self.state.open_orders += 1;
        self.add_lines(index, &lines)?;
        let delivery = Delivery::of(order);
        for promise in promises {
            // `check_order` found the line.
            let at = lines.partition_point(|line| line.number < promise.line);
            let line = first_line + u32::try_from(at).map_err(|_| full("order lines"))?;
            let quantity = promise.quantity;
            let node = promise.node_index;
            self.open_allocation(&NewAllocation { line, node, quantity, order, delivery: &delivery })?;
        }
        for (line, record) in (first_line..).zip(&lines) {
            let short = record.ordered - record.promised;
            if policy == ShortagePolicy::Cancel {
                self.cancel_for_good(line, short, CancelReason::Shortage);
            } else if short > 0 {
                self.set_waiting(line, short);
            }
        }
        Ok(Answer::OrderPlaced { order_id: id, already_placed: false })
    }

    /// Checks lines and promises against each other and against the rights of this moment. Lines come back by number.
    fn check_order(&self, order: &Order, promises: &[Promise]) -> Result<Vec<Line>, Reject> {
        if order.lines.is_empty() || order.lines.len() > MAX_LINES {
            let message = format!("{} lines, and an order holds 1 to {MAX_LINES}", order.lines.len());
            return Err(Reject::new(Reason::TooManyLines, message).field("order.lines"));
        }
        let mut lines = Vec::with_capacity(order.lines.len());
        for (n, line) in order.lines.iter().enumerate() {
            let at = |reject: Reject| reject.within(&format!("order.lines[{n}]"));
            let (item, key) = self.line_key(line).map_err(at)?;
            let ordered = quantity::positive(line.quantity, "quantity").map_err(at)?;
            lines.push(Line { number: line.line, item, key, ordered, promised: 0 });
        }
        lines.sort_unstable_by_key(|line| line.number);
        if let Some(pair) = lines.windows(2).find(|pair| pair[0].number == pair[1].number) {
            let message = format!("line number {} stands twice", pair[0].number);
            return Err(Reject::new(Reason::DuplicateLine, message).field("order.lines"));
        }
        self.check_keys(&lines)?;
        let mut taken = Vec::with_capacity(promises.len());
        for promise in promises {
            let Promise { line, node_index, quantity } = *promise;
            let known = lines.binary_search_by_key(&line, |line| line.number).ok();
            let Some(record) = known.map(|at| &mut lines[at]).filter(|_| quantity > 0) else {
                let message = format!("a promise of {quantity} units names line {line}, which the order does not have");
                return Err(Reject::new(Reason::InvalidValue, message).field("promises"));
            };
            record.promised += quantity;
            if record.promised > record.ordered {
                let message = format!("line {line} is promised more than ordered");
                return Err(Reject::new(Reason::InvalidValue, message).field("promises"));
            }
            // A key or cell that nobody granted has no rights.
            let Key::Known(key) = record.key else { return Err(rights_changed()) };
            taken.push((key, node_index, quantity));
        }
        taken.sort_unstable();
        let mut cells = 0;
        for cell in taken.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            cells += 1;
            let (key, node, _) = cell[0];
            let units: Quantity = cell.iter().map(|(_, _, units)| units).sum();
            if self.state.is_fenced(node) || self.state.cell(key, node).is_none_or(|cell| cell.free() < units) {
                return Err(rights_changed());
            }
        }
        if cells > MAX_CELLS {
            let message = format!("the promises touch {cells} cells, and a command at most {MAX_CELLS}");
            return Err(Reject::new(Reason::TooManyCells, message).field("promises"));
        }
        Ok(lines)
    }

    /// The item and stock key of a line. A key that is known is not spelled out again.
    fn line_key(&self, line: &OrderLine) -> Result<(u32, Key), Reject> {
        if let Some(key) = line.stock_key.as_ref().and_then(|key| self.state.wire_key_index(key)) {
            return Ok((self.state.keys[key].item, Key::Known(key)));
        }
        let stock_key = convert::stock_key(&line.stock_key, "stock_key")?;
        let item = self.state.known_item(stock_key.item.as_str(), "stock_key.item")?;
        Ok((item, Key::New(stock_key)))
    }

    /// Every item has room for the stock keys that the lines bring.
    fn check_keys(&self, lines: &[Line]) -> Result<(), Reject> {
        let mut new: BTreeMap<u32, BTreeSet<&StockKey>> = BTreeMap::new();
        for line in lines {
            if let Key::New(stock_key) = &line.key {
                new.entry(line.item).or_default().insert(stock_key);
            }
        }
        for (item, keys) in new {
            let checked = self.state.check_new_keys(item, keys.len(), MAX_KEYS_BY_ORDERS);
            checked.map_err(|reject| reject.field("order.lines"))?;
        }
        Ok(())
    }

    fn add_lines(&mut self, order: u32, lines: &[Line]) -> Result<(), Stop> {
        for line in lines {
            let key = match &line.key {
                Key::Known(key) => *key,
                Key::New(stock_key) => self.intern_key(line.item, stock_key)?,
            };
            let record = LineRecord {
                order,
                line: line.number,
                key,
                first_allocation: NONE,
                last_allocation: NONE,
                ordered: line.ordered,
                cancelled: 0,
                waiting: 0,
                shipped: 0,
                returned: 0,
                excludes: false,
            };
            self.state.lines.push(record).ok_or_else(|| full("order lines"))?;
        }
        Ok(())
    }
}

/// The answer to an order whose id stands for another one.
pub(crate) fn order_id_reused(id: &OrderId) -> Reject {
    let message = format!("order {id} exists with another body: give the new order an id of its own");
    Reject::new(Reason::OrderIdReused, message).field("order.order_id")
}

fn rights_changed() -> Reject {
    Reject::new(Reason::RightsChanged, "rights changed between decision and commit: decide again")
}
