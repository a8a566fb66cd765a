//! Reads: the state as messages of the API.
//!
//! Pages go by dense position, so that a page costs what it holds. Must not know: page tokens, consistency levels.

use prost::Message;
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::coordinator::v1 as api;
use stockmesh_types::{OrderId, Quantity, StockKey};

use crate::State;
use crate::records::{Cell, NONE, NodeRecord, OrderRecord};
use crate::recovery::Standing;

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// What it holds.
    pub items: Vec<T>,
    /// Pass this as `after` for the next page; `None` at the end.
    pub next: Option<u64>,
}

/// An order in units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderTotals {
    /// Promised by nodes and not shipped.
    pub promised: Quantity,
    /// Waiting for stock.
    pub backordered: Quantity,
    /// Cancelled for good.
    pub cancelled: Quantity,
    /// When it was committed, log time, milliseconds since 1970-01-01T00:00:00Z.
    pub committed_ms: i64,
}

/// Records that one filtered page looks at, so that a rare filter can't hold up a replica. The page may then be short.
const LOOKED_AT: usize = 20_000;

/// Gathers a page: `all` gives the position to go on from after each record, and the record's message if it is wanted.
pub(crate) fn page<T>(limit: usize, all: impl Iterator<Item = (u64, Option<T>)>) -> Page<T> {
    let mut items = Vec::new();
    let mut next = None;
    for (looked, (position, item)) in all.enumerate() {
        // There is more: stop before it, and go on from the one before.
        if items.len() >= limit || looked >= LOOKED_AT {
            return Page { items, next };
        }
        items.extend(item);
        next = Some(position);
    }
    Page { items, next: None }
}

impl State {
    /// An order as it stands.
    #[must_use]
    pub fn order(&self, id: &OrderId) -> Option<api::OrderStatus> {
        let record = self.orders.get(self.order_index.get(id.as_str())?)?;
        Some(self.order_status(record))
    }

    /// Orders in the order in which they were committed, from position `after` on (0: the first).
    #[must_use]
    pub fn list_orders(&self, after: u64, limit: usize, state: Option<api::OrderState>) -> Page<api::OrderStatus> {
        let from = usize::try_from(after).unwrap_or(usize::MAX);
        let records = (after + 1..).zip(self.orders.iter_from(from));
        page(
            limit,
            records.map(|(next, record)| {
                let wanted = !record.is_transfer() && state.is_none_or(|state| self.order_state(record) == state);
                (next, wanted.then(|| self.order_status(record)))
            }),
        )
    }

    /// Items in the order of their creation, from position `after` on.
    #[must_use]
    pub fn list_items(&self, after: u64, limit: usize) -> Page<api::Item> {
        let from = usize::try_from(after).unwrap_or(usize::MAX);
        page(
            limit,
            (0u32..)
                .skip(from)
                .zip(self.items.iter_from(from))
                .map(|(index, _)| (u64::from(index) + 1, Some(self.item_message(index)))),
        )
    }

    /// Nodes in the order of their registration, from position `after` on.
    #[must_use]
    pub fn list_nodes(&self, after: u64, limit: usize) -> Page<api::Node> {
        let from = usize::try_from(after).unwrap_or(usize::MAX);
        let records = (after + 1..).zip(self.nodes.iter_from(from));
        page(limit, records.map(|(next, node)| (next, Some(self.node_message(node)))))
    }

    /// Cells by stock key, then node, each in the order of first appearance, from position `after` on; `node` and `item`
    /// narrow it down. An item or node that is not there gives an empty page.
    #[must_use]
    pub fn list_cells(&self, after: u64, limit: usize, node: Option<&str>, item: Option<&str>) -> Page<api::Cell> {
        let empty = Page { items: Vec::new(), next: None };
        let only_node = match node.map(|id| self.node_index.get(id)) {
            Some(None) => return empty,
            Some(index) => index,
            None => None,
        };
        let only_item = match item.map(|id| self.item_index.get(id)) {
            Some(None) => return empty,
            Some(index) => index,
            None => None,
        };
        // A position is the key in the high half and the node after the last one in the low half.
        let (first_key, first_node) = ((after >> 32) as usize, (after & u64::from(u32::MAX)) as u32);
        let keys = (first_key as u64..).zip(self.keys.iter_from(first_key));
        let keys = keys.filter(|(_, record)| only_item.is_none_or(|item| record.item == item));
        let cells = keys.flat_map(|(key, record)| {
            let from = if key == first_key as u64 { first_node } else { 0 };
            record.cells.iter_from(&from).map(move |(node, cell)| (key, record, *node, cell))
        });
        page(
            limit,
            cells.map(|(key, record, node, cell)| {
                let wanted = only_node.is_none_or(|only| only == node);
                let position = (key << 32) | u64::from(node + 1);
                (position, wanted.then(|| self.cell_message(&record.key, node, cell)))
            }),
        )
    }

    /// Availability, one for each key asked. A key that nobody granted or ordered has nothing.
    #[must_use]
    pub fn availability(&self, keys: &[StockKey]) -> Vec<api::Availability> {
        keys.iter().map(|key| self.availability_of(key)).collect()
    }

    fn availability_of(&self, key: &StockKey) -> api::Availability {
        let mut answer = api::Availability { stock_key: Some(key.into()), ..Default::default() };
        if let Some(record) = self.key_index(key).and_then(|index| self.keys.get(index)) {
            answer.available_to_fulfill = self.free_of_key(record);
            answer.backordered = record.waiting_total;
            let free = record.cells.iter().filter(|(node, cell)| cell.free() > 0 && !self.is_fenced(*node));
            answer.nodes = free
                .map(|(node, cell)| api::NodeAvailability { node: self.node_name(*node), available: cell.free() })
                .collect();
        }
        answer
    }

    /// Dense index of a stock key that was granted or ordered before; `None` for one that was not, or is malformed.
    #[must_use]
    pub fn stock_key_index(&self, key: &wire::StockKey) -> Option<u32> {
        self.wire_key_index(key)
    }

    /// Units of a stock key, by dense index, that can be promised now, and that wait.
    #[must_use]
    pub fn availability_total(&self, key: u32) -> (Quantity, Quantity) {
        self.keys.get(key).map_or((0, 0), |record| (self.free_of_key(record), record.waiting_total))
    }

    /// The same with its stock key; `None` when there is no such index.
    #[must_use]
    pub fn availability_message(&self, key: u32) -> Option<api::AvailabilityTotal> {
        self.keys.get(key).map(|record| api::AvailabilityTotal {
            stock_key: Some((&record.key).into()),
            available_to_fulfill: self.free_of_key(record),
            backordered: record.waiting_total,
        })
    }

    /// What an order comes to in units; `None` for one that there is not.
    #[must_use]
    pub fn order_totals(&self, id: &str) -> Option<OrderTotals> {
        let record = self.orders.get(self.order_index.get(id)?)?;
        let lines = self.lines.iter_from(record.first_line as usize).take(record.lines as usize);
        let mut totals = OrderTotals { committed_ms: record.committed_ms, ..OrderTotals::default() };
        for line in lines {
            totals.promised += line.ordered - line.cancelled - line.waiting - line.shipped;
            totals.backordered += line.waiting;
            totals.cancelled += line.cancelled;
        }
        Some(totals)
    }

    pub(crate) fn node_name(&self, node: u32) -> String {
        self.nodes.get(node).map(|record| record.id.to_string()).unwrap_or_default()
    }

    pub(crate) fn node_message(&self, node: &NodeRecord) -> api::Node {
        let work = self.destinations.get(node.destination);
        api::Node {
            node: node.id.to_string(),
            kind: node.fixed.kind.into(),
            place: Some(node.fixed.place.clone()),
            legal_entity: node.fixed.legal_entity.to_string(),
            costs: Some(node.fixed.costs),
            epoch: node.epoch,
            feed_seq: node.cursor.seq,
            work_acknowledged_seq: work.map(|work| work.acknowledged.seq).unwrap_or_default(),
            work_seq: work.map(|work| work.head.seq).unwrap_or_default(),
            standing: self.standing_message(node).into(),
        }
    }

    pub(crate) fn standing_message(&self, node: &NodeRecord) -> api::NodeStanding {
        let standing = self.node_index.get(node.id.as_str()).map(|node| self.recovery.standing(node));
        match standing.unwrap_or_default() {
            Standing::Open => api::NodeStanding::Unspecified,
            Standing::Recovering => api::NodeStanding::Recovering,
            Standing::Lost | Standing::Found => api::NodeStanding::Lost,
        }
    }

    pub(crate) fn cell_message(&self, key: &StockKey, node: u32, cell: &Cell) -> api::Cell {
        let cell = cell.restamped(self.nodes.get(node).map_or(0, |node| node.marks.life));
        api::Cell {
            id: Some(wire::CellId {
                group: self.group().map(|group| group.0).unwrap_or_default(),
                node: self.node_name(node),
                stock_key: Some(key.into()),
            }),
            epoch: self.nodes.get(node).map(|node| node.epoch).unwrap_or_default(),
            granted: cell.granted,
            returned: cell.returned,
            shipped: cell.shipped,
            open: cell.open,
            held: cell.held,
            free: cell.free(),
            shortfall_level: cell.level,
            fenced: self.is_fenced(node),
        }
    }

    /// The order of a record, decoded from the bytes that `apply` encoded.
    pub(crate) fn order_body(record: &OrderRecord) -> wire::Order {
        // The bytes were encoded from an Order by this very code, and a snapshot's checksum covers them.
        wire::Order::decode(record.order()).unwrap_or_default()
    }

    pub(crate) fn order_status(&self, record: &OrderRecord) -> api::OrderStatus {
        let lines = self.lines.iter_from(record.first_line as usize).take(record.lines as usize);
        let lines = (record.first_line..).zip(lines).map(|(index, line)| api::OrderLineStatus {
            line: line.line,
            stock_key: self.keys.get(line.key).map(|key| (&key.key).into()),
            ordered: line.ordered,
            cancelled: line.cancelled,
            backordered: line.waiting,
            shipped: line.shipped,
            returned: line.returned,
            allocations: self.allocations_of(line.first_allocation),
            expectations: self.expectations(index, line),
        });
        api::OrderStatus {
            order: Some(Self::order_body(record)),
            state: self.order_state(record).into(),
            lines: lines.collect(),
            committed_time_ms: record.committed_ms,
            sourcing: api::SourcingSummary::decode(record.sourcing()).ok(),
        }
    }

    fn allocations_of(&self, first: u32) -> Vec<api::Allocation> {
        let mut list = Vec::new();
        let mut next = first;
        while let Some(allocation) = self.allocations.get(next).filter(|_| next != NONE) {
            list.push(api::Allocation {
                id: Some(allocation.id.into()),
                node: self.node_name(allocation.node),
                quantity: allocation.quantity,
                shipped: allocation.shipped,
                cancelled: allocation.cancelled,
                lost: allocation.lost,
                cancel_requested: allocation.requested,
            });
            next = allocation.next_of_line;
        }
        list
    }

    fn order_state(&self, record: &OrderRecord) -> api::OrderState {
        let lines = self.lines.iter_from(record.first_line as usize).take(record.lines as usize);
        let (mut ordered, mut cancelled, mut waiting, mut shipped) = (0, 0, 0, 0);
        for line in lines {
            ordered += line.ordered;
            cancelled += line.cancelled;
            waiting += line.waiting;
            shipped += line.shipped;
        }
        if cancelled == ordered {
            api::OrderState::Cancelled
        } else if shipped > 0 && shipped + cancelled == ordered {
            api::OrderState::Shipped
        } else if shipped > 0 {
            api::OrderState::PartiallyShipped
        } else if waiting == 0 {
            api::OrderState::Promised
        } else if waiting + cancelled == ordered {
            api::OrderState::Backordered
        } else {
            api::OrderState::PartiallyPromised
        }
    }
}
