//! The records of the replicated state. They refer to each other by dense index; ids and names are interned once.
//!
//! Sizes are stated because a group holds millions of them. Must not know: how they are changed (`rights`, `apply`).

use std::sync::{Arc, OnceLock};

use stockmesh_proto::common::v1::{NodeKind, Place};
use stockmesh_proto::coordinator::v1::NodeCosts;
use stockmesh_proto::entry::Head;
use stockmesh_types::{AllocationId, FeedId, ItemId, LegalEntity, NodeId, OrderId, Quantity, StockKey};

use crate::cow::CowMap;
use crate::recovery::Marks;

/// No record: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// An item of the catalog.
#[derive(Clone, Debug)]
pub(crate) struct ItemRecord {
    pub id: ItemId,
    pub description: Arc<str>,
    /// Of a base unit.
    pub weight_grams: i64,
    /// Its stock keys, in the order of their first appearance.
    pub keys: Vec<u32>,
}

/// A node of the network.
#[derive(Clone, Debug)]
pub(crate) struct NodeRecord {
    pub id: NodeId,
    pub fixed: Arc<NodeFixed>,
    /// Where `fixed.place` lies, worked out when a decision first needs it; `apply` never looks at it.
    pub direction: Arc<OnceLock<[f64; 3]>>,
    /// Dense index of `node/<id>` among the destinations of our feeds.
    pub destination: u32,
    /// Epoch of its store; 0 until its first entry arrived.
    pub epoch: u64,
    /// Its feed is applied up to here.
    pub cursor: Head,
    /// The life of its rights.
    pub marks: Marks,
    /// Items that it may handle, by dense index.
    pub ranged: CowMap<u32, (), 256>,
}

/// What is said of a node when it is registered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeFixed {
    pub kind: NodeKind,
    pub place: Place,
    pub legal_entity: LegalEntity,
    pub costs: NodeCosts,
}

/// A stock key, its cells and its backorder queue.
#[derive(Clone, Debug)]
pub(crate) struct KeyRecord {
    pub key: StockKey,
    pub item: u32,
    /// Sum of `free` over its cells.
    pub free_total: Quantity,
    /// Units in its queue.
    pub waiting_total: Quantity,
    /// Lines in its queue that some node declined: they can't use every cell.
    pub waiting_excluding: u32,
    /// By dense index of the node.
    pub cells: CowMap<u32, Cell, 64>,
    /// Lines that wait, by dense index: that is commit order.
    pub waiting: CowMap<u32, (), 128>,
}

/// Promise rights of one cell: 72 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Cumulative in this epoch, as the node said.
    pub granted: Quantity,
    /// Cumulative in this epoch, as this group committed.
    pub returned: Quantity,
    /// Cumulative in this epoch.
    pub shipped: Quantity,
    /// Promised, and not shipped or cancelled.
    pub open: Quantity,
    /// In reservations.
    pub held: Quantity,
    /// Shortfall level that the node reported last.
    pub level: Quantity,
    /// Total of `returned` to aim at: what covers every loss and shortfall that was applied.
    pub aim: Quantity,
    /// Units that the node was asked to cancel because of a shortfall, and has not answered: sum of `ask_broken`.
    pub asked: Quantity,
    /// Its latest allocation that is not closed; [`NONE`]: none.
    pub last_open: u32,
    /// The node's life that the counters belong to: see [`Cell::restamped`].
    pub life: u32,
}

impl Cell {
    pub const EMPTY: Self = Self {
        granted: 0,
        returned: 0,
        shipped: 0,
        open: 0,
        held: 0,
        level: 0,
        aim: 0,
        asked: 0,
        last_open: NONE,
        life: 0,
    };

    /// Units that can be promised.
    pub fn free(&self) -> Quantity {
        self.granted - self.returned - self.shipped - self.open - self.held
    }

    /// Units that are still to be returned, or asked back, for a loss or shortfall.
    pub fn deficit(&self) -> Quantity {
        (self.aim - self.returned - self.asked).max(0)
    }
}

/// An order.
#[derive(Clone, Debug)]
pub(crate) struct OrderRecord {
    pub id: OrderId,
    /// Encoded `stockmesh.common.v1.Order`, as it was committed; then encoded `stockmesh.coordinator.v1.SourcingSummary` of
    /// the first decision. One piece of memory for both, and shared by copies.
    pub body: Arc<[u8]>,
    /// Bytes of the order's part.
    pub order_bytes: u32,
    /// SHA-256 of the order as the client sent it.
    pub hash: [u8; 32],
    pub committed_ms: i64,
    /// Dense index of its first line; the others follow.
    pub first_line: u32,
    pub lines: u32,
    /// Units neither shipped nor cancelled; at 0 the order is closed.
    pub open_units: Quantity,
    /// Units that nothing covers are cancelled, not queued.
    pub cancels_shortage: bool,
}

impl OrderRecord {
    /// Both parts as they are kept, and the length of the first.
    pub fn body_of(order: &[u8], sourcing: &[u8]) -> (Arc<[u8]>, u32) {
        // An order of most lines takes some 400 KB.
        (Arc::from([order, sourcing].concat()), u32::try_from(order.len()).unwrap_or(u32::MAX))
    }

    /// Encoded `stockmesh.common.v1.Order`, as it was committed.
    pub fn order(&self) -> &[u8] {
        self.body.get(..self.order_bytes as usize).unwrap_or_default()
    }

    /// Encoded `stockmesh.coordinator.v1.SourcingSummary` of the first decision.
    pub fn sourcing(&self) -> &[u8] {
        self.body.get(self.order_bytes as usize..).unwrap_or_default()
    }

    /// Hash of an order of the group's own, which stands for a transfer: no client's order has it.
    pub const NO_HASH: [u8; 32] = [0; 32];

    /// It stands for a transfer, and is no order to anybody else.
    pub fn is_transfer(&self) -> bool {
        self.hash == Self::NO_HASH
    }
}

/// A line of an order: 72 bytes. Units in live allocations = ordered - cancelled - waiting - shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineRecord {
    pub order: u32,
    /// Number within the order.
    pub line: u32,
    pub key: u32,
    /// Its allocations form a list, in the order in which they were made.
    pub first_allocation: u32,
    pub last_allocation: u32,
    pub ordered: Quantity,
    pub cancelled: Quantity,
    pub waiting: Quantity,
    pub shipped: Quantity,
    /// Brought back by customers.
    pub returned: Quantity,
    /// A node declined some of it: it can't use every cell of its key.
    pub excludes: bool,
}

/// An order line's claim on one node: 96 bytes. Dense indices grow with ids, so that an id is found by bisection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AllocationRecord {
    pub id: AllocationId,
    pub line: u32,
    pub node: u32,
    pub next_of_line: u32,
    /// Neighbours among the allocations of the cell that are not closed.
    pub earlier_in_cell: u32,
    pub later_in_cell: u32,
    /// The node declined some of it: it is not asked again for this line.
    pub declined: bool,
    pub quantity: Quantity,
    pub shipped: Quantity,
    pub cancelled: Quantity,
    /// Part of `cancelled`.
    pub lost: Quantity,
    /// The total of `cancelled` that the node was asked for last.
    pub requested: Quantity,
    /// Units asked for by the customer and neither cancelled nor too late.
    pub ask_customer: Quantity,
    /// Units asked for because of a shortfall and neither cancelled nor too late.
    pub ask_broken: Quantity,
}

impl AllocationRecord {
    /// Units that may still ship.
    pub fn open(&self) -> Quantity {
        self.quantity - self.shipped - self.cancelled
    }

    /// Open units that nobody has asked back.
    pub fn unasked(&self) -> Quantity {
        (self.open() - self.ask_customer - self.ask_broken).max(0)
    }
}

/// One of our feeds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DestinationRecord {
    /// `node/<id>` or `finance/<id>`.
    pub name: Arc<str>,
    /// Its full name, of the group's present life.
    pub feed: Arc<FeedId>,
    pub head: Head,
    pub acknowledged: Head,
}

/// A request that was answered, kept so that a repeat gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub hash: [u8; 32],
    pub outcome: RememberedOutcome,
}

/// The numbers of an answer; records that it shows are shown as they stand when it is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RememberedOutcome {
    Refused { reason: u32, message: Arc<str>, field: Arc<str> },
    ItemsCreated { created: u32, existing: u32 },
    NodeRegistered { node: u32 },
    ItemsRanged { ranged: u32 },
    OrderCancelled { order: u32, cancelled: Quantity, requested: Quantity },
    RightsRecalled { key: u32, node: u32 },
    NodeRetirement { node: u32 },
    PoliciesSet { version: u64 },
    ItemsUpdated { updated: u32, created: u32, unchanged: u32 },
    PurchaseOrder { number: u64 },
    Transfer { number: u64, cancelled: Quantity, requested: Quantity },
    Refunded { line: u32, number: u32 },
    Authorisation { number: u64 },
    ExceptionResolved { number: u64 },
}
