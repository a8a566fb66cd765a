//! The Welcome: what a node starts a new epoch with, in pages.
//!
//! Pages are read as the state stands, and the node pulls our feed from where it stood when the epoch was opened: what
//! both tell is cumulative, so that hearing it twice changes nothing. Until the node speaks in the new epoch, nothing of
//! its allocations can change but what it is asked for.

use prost::Message;
use stockmesh_proto::common::v1::CancelReason;
use stockmesh_proto::coordinator::v1::{NodeStanding, PurchaseOrderState, Retirement, WelcomeAllocation, WelcomeCell};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{EntryBody, InboundAnnounced, InboundCloseReason, InboundClosed};
use stockmesh_types::{FeedId, NodeId, Reason, Reject};

use super::epochs::{uuid, uuid_text};
use crate::State;
use crate::supply::Document;

/// Records that one page looks at, those of other nodes too.
const LOOKED_AT: usize = 65_536;
/// Bytes of a page, about.
const PAGE_BYTES: usize = 1 << 20;

/// Positions: the section in the high byte, the index within it below.
const SECTION: u32 = 56;

/// One page.
#[derive(Clone, Debug)]
pub struct WelcomePage {
    /// Of the recovery.
    pub recovery_id: String,
    /// The new epoch.
    pub epoch: u64,
    /// Our feed to the node.
    pub work_feed: FeedId,
    /// Where the node goes on in it.
    pub work_cursor: Head,
    /// Facts that stand.
    pub standing: Vec<EntryBody>,
    /// Cells.
    pub cells: Vec<WelcomeCell>,
    /// Allocations.
    pub allocations: Vec<WelcomeAllocation>,
    /// Position of the next page; `None`: this is the last.
    pub next: Option<u64>,
}

/// What a page still holds.
struct Room {
    records: usize,
    looked_at: usize,
    bytes: usize,
}

impl Room {
    fn look(&mut self) -> bool {
        self.looked_at += 1;
        self.records > 0 && self.looked_at <= LOOKED_AT && self.bytes < PAGE_BYTES
    }

    fn take(&mut self, message: &impl Message) {
        self.records = self.records.saturating_sub(1);
        self.bytes += message.encoded_len();
    }
}

impl State {
    /// Epoch of a node, the cursor in its feed, and whether its rights can be used.
    ///
    /// # Errors
    /// [`Reason::UnknownNode`].
    pub fn node_epoch(&self, node: &NodeId) -> Result<(u64, Head, NodeStanding), Reject> {
        let record = &self.nodes[self.known_node(node.as_str(), "node")?];
        Ok((record.epoch, record.cursor, self.standing_message(record)))
    }

    /// How far the retirement of a node is. Looks at every stock key: ask a snapshot.
    ///
    /// # Errors
    /// [`Reason::UnknownNode`].
    pub fn retirement(&self, node: &NodeId) -> Result<Retirement, Reject> {
        Ok(self.retirement_message(self.known_node(node.as_str(), "node")?))
    }

    /// A feed that surfaced holds facts of an epoch that was sealed, beyond those that were sealed or noted.
    #[must_use]
    pub fn surfaced_late(&self, node: &NodeId, epoch: u64, head: Head) -> bool {
        self.node_index.get(node.as_str()).is_some_and(|node| self.is_late(node, epoch, head.seq))
    }

    /// A page of at most `limit` records, from position `after` on (0: the first page).
    ///
    /// # Errors
    /// [`Reason::UnknownNode`], [`Reason::StaleRecovery`] for an id that is not of the node's present recovery.
    pub fn welcome(&self, node: &str, recovery_id: &str, after: u64, limit: usize) -> Result<WelcomePage, Reject> {
        let id = uuid(recovery_id, "recovery_id")?;
        let index = self.known_node(node, "node")?;
        let record = &self.nodes[index];
        let present = self.recovery_of(index, &id).filter(|recovery| recovery.epoch == record.epoch);
        let Some(recovery) = present else {
            let message = format!(
                "recovery {recovery_id} is not the present one of node {node}: seal its epoch {} with a fresh id",
                record.epoch
            );
            return Err(Reject::new(Reason::StaleRecovery, message).field("recovery_id"));
        };
        let mut page = WelcomePage {
            recovery_id: uuid_text(&id),
            epoch: record.epoch,
            work_feed: (*self.destinations[record.destination].feed).clone(),
            work_cursor: recovery.work,
            standing: Vec::new(),
            cells: Vec::new(),
            allocations: Vec::new(),
            next: None,
        };
        let mut room = Room { records: limit.max(1), looked_at: 0, bytes: 0 };
        let (mut section, mut from) = (after >> SECTION, after & ((1 << SECTION) - 1));
        while section < 6 {
            let next = match section {
                0 => self.welcome_items(index, from, &mut room, &mut page),
                1 => self.welcome_policies(index, from, &mut room, &mut page),
                2 => self.welcome_purchases(node, from, &mut room, &mut page),
                3 => self.welcome_transfers(node, from, &mut room, &mut page),
                4 => self.welcome_cells(index, from, &mut room, &mut page),
                _ => self.welcome_allocations(index, from, &mut room, &mut page),
            };
            if let Some(next) = next {
                page.next = Some((section << SECTION) | next);
                return Ok(page);
            }
            (section, from) = (section + 1, 0);
        }
        Ok(page)
    }

    /// The assortment. Each part gives where to go on, or `None` at its end.
    fn welcome_items(&self, node: u32, from: u64, room: &mut Room, page: &mut WelcomePage) -> Option<u64> {
        let first = u32::try_from(from).unwrap_or(u32::MAX);
        for (item, ()) in self.nodes[node].ranged.iter_from(&first) {
            if !room.look() {
                return Some(u64::from(*item));
            }
            let body = self.standing_body(Fact::ItemRanged(self.item_ranged(*item)));
            room.take(&body);
            page.standing.push(body);
        }
        None
    }

    fn welcome_policies(&self, node: u32, from: u64, room: &mut Room, page: &mut WelcomePage) -> Option<u64> {
        let first = usize::try_from(from).unwrap_or(usize::MAX);
        for (position, policy) in (from..).zip(self.policies_for(node).skip(first)) {
            if !room.look() {
                return Some(position);
            }
            let body = self.standing_body(Fact::GrantPolicySet(policy));
            room.take(&body);
            page.standing.push(body);
        }
        None
    }

    /// Goods that were announced to the node, and ended since: it takes what it does not know already.
    fn welcome_purchases(&self, node: &str, from: u64, room: &mut Room, page: &mut WelcomePage) -> Option<u64> {
        for (number, order) in self.supply.purchase_orders.iter_from(from) {
            if !room.look() {
                return Some(number);
            }
            if order.node != node {
                continue;
            }
            let ended = (order.ended_ms() != 0).then(|| match order.state() {
                PurchaseOrderState::Cancelled => InboundCloseReason::Cancelled,
                _ => InboundCloseReason::Closed,
            });
            self.welcome_inbound(self.announcement(number, order), ended, room, page);
        }
        None
    }

    fn welcome_transfers(&self, node: &str, from: u64, room: &mut Room, page: &mut WelcomePage) -> Option<u64> {
        for (number, transfer) in self.supply.transfers.iter_from(from) {
            if !room.look() {
                return Some(number);
            }
            if transfer.destination_node == node && transfer.lines.iter().any(|line| line.shipped > 0) {
                let ended = (transfer.ended_ms() != 0).then_some(InboundCloseReason::Closed);
                self.welcome_inbound(self.transfer_announcement(number, transfer), ended, room, page);
            }
        }
        None
    }

    fn welcome_inbound(
        &self,
        announced: InboundAnnounced,
        ended: Option<InboundCloseReason>,
        room: &mut Room,
        page: &mut WelcomePage,
    ) {
        let (inbound_id, revision) = (announced.inbound_id.clone(), announced.revision);
        let closed =
            ended.map(|reason| Fact::InboundClosed(InboundClosed { inbound_id, revision, reason: reason.into() }));
        for fact in std::iter::once(Fact::InboundAnnounced(announced)).chain(closed) {
            let body = self.standing_body(fact);
            room.take(&body);
            page.standing.push(body);
        }
    }

    fn welcome_cells(&self, node: u32, from: u64, room: &mut Room, page: &mut WelcomePage) -> Option<u64> {
        let life = self.nodes[node].marks.life;
        let first = usize::try_from(from).unwrap_or(usize::MAX);
        for (key, record) in (from..).zip(self.keys.iter_from(first)) {
            if !room.look() {
                return Some(key);
            }
            let Some(cell) = record.cells.get(&node).map(|cell| cell.restamped(life)) else { continue };
            let cell = WelcomeCell {
                stock_key: Some((&record.key).into()),
                granted: cell.granted,
                returned: cell.returned,
                shortfall_level: cell.level,
            };
            room.take(&cell);
            page.cells.push(cell);
        }
        None
    }

    fn welcome_allocations(&self, node: u32, from: u64, room: &mut Room, page: &mut WelcomePage) -> Option<u64> {
        let first = usize::try_from(from).unwrap_or(usize::MAX);
        for (index, record) in (from..).zip(self.allocations.iter_from(first)) {
            if !room.look() {
                return Some(index);
            }
            if record.node != node {
                continue;
            }
            let order = State::order_body(&self.orders[self.lines[record.line].order]);
            let reason = if record.ask_customer > 0 { CancelReason::Customer } else { CancelReason::PromiseBroken };
            let allocation = WelcomeAllocation {
                opened: Some(self.allocation_opened(record, &order)),
                shipped: record.shipped,
                cancelled: record.cancelled,
                lost: record.lost,
                requested: record.requested,
                reason: if record.requested > 0 { reason.into() } else { CancelReason::Unspecified.into() },
            };
            room.take(&allocation);
            page.allocations.push(allocation);
        }
        None
    }

    fn standing_body(&self, fact: Fact) -> EntryBody {
        EntryBody {
            time_ms: self.log_time.0,
            business_date: self.log_time.date().to_string(),
            group: self.group().map_or(0, |group| group.0),
            incarnation: self.incarnation().map_or(0, |incarnation| incarnation.0),
            fact: Some(fact),
            ..EntryBody::default()
        }
    }
}
