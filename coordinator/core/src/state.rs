//! The replicated state: what every replica holds after the same log.
//!
//! Changed only by `apply`; read by `decide`, `read` and `snapshot`. Cloning shares every chunk.
//! Must not know: clocks, the log's storage, who leads.

use std::sync::Arc;

use stockmesh_proto::entry::Head;
use stockmesh_types::{
    AllocationId, Epoch, FeedId, Group, Incarnation, LogTime, NodeId, Quantity, Reason, Reject, StockKey,
};

use crate::answer::Fault;
use crate::cow::{CowMap, CowVec, IdIndex};
use crate::records::{
    AllocationRecord, Cell, DestinationRecord, ItemRecord, KeyRecord, LineRecord, NodeRecord, OrderRecord, Remembered,
};
use crate::recovery::RecoveryState;
use crate::supply::SupplyState;

/// The state of one coordinator group.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(crate) group: Option<GroupRecord>,
    pub(crate) feature_level: u32,
    pub(crate) applied_index: u64,
    pub(crate) log_time: LogTime,
    pub(crate) digest: [u8; 32],
    pub(crate) items: CowVec<ItemRecord, 64>,
    pub(crate) item_index: IdIndex<stockmesh_types::ItemId>,
    pub(crate) nodes: CowVec<NodeRecord, 16>,
    pub(crate) node_index: IdIndex<NodeId>,
    pub(crate) keys: CowVec<KeyRecord, 32>,
    pub(crate) orders: CowVec<OrderRecord, 128>,
    pub(crate) order_index: IdIndex<stockmesh_types::OrderId>,
    pub(crate) lines: CowVec<LineRecord, 256>,
    pub(crate) allocations: CowVec<AllocationRecord, 256>,
    pub(crate) destinations: CowVec<DestinationRecord, 64>,
    pub(crate) destination_index: IdIndex<Arc<str>>,
    /// Stock keys that have both free rights and waiting units that may use them.
    pub(crate) ready: CowMap<u32, (), 256>,
    /// Cells `(key, node)` with a deficit and promises that were not asked back yet.
    pub(crate) shortfalls: CowMap<(u32, u32), (), 256>,
    /// By request id: a UUIDv7 begins with its time, so that the first pair is the oldest.
    pub(crate) requests: CowMap<[u8; 16], Remembered, 128>,
    /// Requests drawn at or before this were remembered once, or may have been, or are older than the group: unknown
    /// ones are refused.
    pub(crate) requests_forgotten_ms: i64,
    /// Lives of nodes' rights beyond their first.
    pub(crate) recovery: RecoveryState,
    pub(crate) open_orders: u64,
    pub(crate) waiting_units: Quantity,
    pub(crate) supply: SupplyState,
}

/// The group that this state belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupRecord {
    pub group: Group,
    pub incarnation: Incarnation,
    /// Dense indices of the finance destinations.
    pub finance: Vec<u32>,
}

impl GroupRecord {
    /// The feed of a group's life to one destination.
    pub(crate) fn feed(group: Group, incarnation: Incarnation, destination: &str) -> Arc<FeedId> {
        Arc::new(FeedId {
            participant: format!("coordinator/{group}"),
            destination: destination.to_owned(),
            epoch: u64::from(incarnation.0),
        })
    }
}

/// Where one of our feeds stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedStanding {
    /// The feed: participant `coordinator/<group>`, its destination, epoch = incarnation.
    pub feed: FeedId,
    /// Its last entry.
    pub head: Head,
    /// What its consumer has, as far as the log knows.
    pub acknowledged: Head,
}

/// Counts of the whole group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Items of the catalog.
    pub items: u64,
    /// Nodes.
    pub nodes: u64,
    /// Stock keys that were granted or ordered.
    pub stock_keys: u64,
    /// Orders in all.
    pub orders: u64,
    /// Orders with units that neither shipped nor were cancelled.
    pub open_orders: u64,
    /// Allocations in all.
    pub allocations: u64,
    /// Units in all backorder queues.
    pub backordered_units: Quantity,
    /// Requests that are remembered.
    pub remembered_requests: u64,
}

impl State {
    /// Before the first command: everything but `InitializeGroup` is refused with `GROUP_NOT_INITIALIZED`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Index of the last log entry that was applied.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.applied_index
    }

    /// The latest stamp of the log so far.
    #[must_use]
    pub fn log_time(&self) -> LogTime {
        self.log_time
    }

    /// Running SHA-256 over every entry's index and effects: equal on replicas that applied the same log.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Feature level in force: the highest that a logged entry named.
    #[must_use]
    pub fn feature_level(&self) -> u32 {
        self.feature_level
    }

    /// The group; `None` before `InitializeGroup`.
    #[must_use]
    pub fn group(&self) -> Option<Group> {
        self.group.as_ref().map(|group| group.group)
    }

    /// The group's life; `None` before `InitializeGroup`.
    #[must_use]
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.group.as_ref().map(|group| group.incarnation)
    }

    /// Counts of the whole group.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            items: self.items.len() as u64,
            nodes: self.nodes.len() as u64,
            stock_keys: self.keys.len() as u64,
            orders: (self.orders.len() - self.supply.transfer_orders.len()) as u64,
            open_orders: self.open_orders,
            allocations: self.allocations.len() as u64,
            backordered_units: self.waiting_units,
            remembered_requests: self.requests.len() as u64,
        }
    }

    /// Up to where a node's feed is applied; epoch 0 and the start of the chain for one that has never connected.
    /// `None` for a node that is not registered.
    #[must_use]
    pub fn node_cursor(&self, node: &NodeId) -> Option<(Epoch, Head)> {
        let record = self.nodes.get(self.node_index.get(node.as_str())?)?;
        Some((Epoch(record.epoch), record.cursor))
    }

    /// Every feed of this group and where it stands, in the order in which destinations came to be.
    pub fn feed_heads(&self) -> impl Iterator<Item = FeedStanding> {
        self.destinations.iter().map(standing)
    }

    /// Where the feed to `node/<id>` or `finance/<id>` stands; `None` for a destination that there is not.
    #[must_use]
    pub fn feed_head(&self, destination: &str) -> Option<FeedStanding> {
        self.destinations.get(self.destination_index.get(destination)?).map(standing)
    }

    /// Free rights and waiting units meet somewhere, or a shortfall is not worked off:
    /// [`crate::decide::next_step`] has something to propose.
    #[must_use]
    pub fn backlog_nonempty(&self) -> bool {
        !self.ready.is_empty()
            || !self.shortfalls.is_empty()
            || !self.recovery.works.is_empty()
            || !self.recovery.substitutable.is_empty()
            || !self.supply.items.to_tell.is_empty()
            || self.has_late_supply()
    }

    /// Some supply's day is past, and nobody has said so yet.
    pub(crate) fn has_late_supply(&self) -> bool {
        self.supply.days.first().is_some_and(|((day, _), ())| *day < self.log_time.date().days())
    }

    /// An order names the life of the group that it was first sent under, or none.
    pub(crate) fn check_incarnation(&self, named: u32) -> Result<(), Reject> {
        let present = self.incarnation().map_or(0, |incarnation| incarnation.0);
        if named == 0 || named == present {
            return Ok(());
        }
        let message = format!("the request names incarnation {named}, and the group is in {present}: send it anew");
        Err(Reject::new(Reason::StaleIncarnation, message).field("incarnation"))
    }

    /// Dense index of a stock key that was granted or ordered before.
    pub(crate) fn key_index(&self, key: &StockKey) -> Option<u32> {
        let item = self.items.get(self.item_index.get(key.item.as_str())?)?;
        item.keys.iter().copied().find(|index| self.keys.get(*index).is_some_and(|record| record.key == *key))
    }

    pub(crate) fn cell(&self, key: u32, node: u32) -> Option<&Cell> {
        self.keys.get(key)?.cells.get(&node)
    }

    /// Dense index of an allocation. Ids grow with the index: incarnation, log index and number only go up.
    pub(crate) fn allocation_index(&self, id: AllocationId) -> Option<u32> {
        let (mut low, mut high) = (0u32, u32::try_from(self.allocations.len()).ok()?);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.allocations.get(middle)?.id.cmp(&id) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Dense index of a line of an order; lines of an order are kept by number.
    pub(crate) fn line_index(&self, order: &OrderRecord, line: u32) -> Option<u32> {
        let (mut low, mut high) = (order.first_line, order.first_line + order.lines);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.lines.get(middle)?.line.cmp(&line) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

fn standing(record: &DestinationRecord) -> FeedStanding {
    FeedStanding { feed: (*record.feed).clone(), head: record.head, acknowledged: record.acknowledged }
}

/// A count that outgrew its index.
pub(crate) fn full(what: &'static str) -> Fault {
    Fault::Full { what }
}

impl State {
    /// Dense index of a stock key of a message; `None` when it is malformed or was never granted or ordered.
    pub(crate) fn wire_key_index(&self, key: &stockmesh_proto::common::v1::StockKey) -> Option<u32> {
        self.wire_key_of(self.item_index.get(&key.item)?, key)
    }

    /// The same where the item is known.
    pub(crate) fn wire_key_of(&self, item: u32, key: &stockmesh_proto::common::v1::StockKey) -> Option<u32> {
        use stockmesh_proto::common::v1::Grade as WireGrade;
        let item = self.items.get(item)?;
        let grade = match WireGrade::try_from(key.grade).ok()? {
            WireGrade::Unspecified | WireGrade::New => stockmesh_types::Grade::New,
            WireGrade::Refurbished => stockmesh_types::Grade::Refurbished,
        };
        item.keys.iter().copied().find(|index| {
            self.keys.get(*index).is_some_and(|record| {
                let StockKey { item: _, grade: other, owner, shelf_life_class } = &record.key;
                *other == grade && *owner == key.owner && *shelf_life_class == key.shelf_life_class
            })
        })
    }
}
