//! The engine: a node's state together with its feed and its cursors, and the group of writes that waits to become durable.
//!
//! It is synchronous and knows no actor: the actor, and tests with a store that loses unsynced writes, drive the same struct.
//! Everything that a command changed and every entry that it said go into the open group; [`Engine::take_group`] hands the
//! group out as one batch. Until it is durable, nothing of it may be shown to anyone.
//!
//! Must not know: threads, sockets, clocks.

mod migrate;
mod open;
mod overlay;
mod retention;
mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use stockmesh_node_core::command::{Command, CoordinatorFact, Work};
use stockmesh_node_core::site::SitePolicy;
use stockmesh_node_core::{Answer, Archive, Context, Key, NodeState, Rules, change};
use stockmesh_proto::entry::{ChainError, Head};
use stockmesh_proto::feed::v1::{EntryBody, FeedEntry};
use stockmesh_types::{
    BusinessDate, ChainHash, FeedId, Incarnation, LogTime, Principal, PrincipalKind, Reason, Reject, RequestId,
};

pub use open::{OpenError, Opened, RecoveryReason, open};

pub use overlay::Overlay;
use retention::Retention;
pub use retention::{Consumer, TRIM_STEP};
pub use verify::{Verification, Verified};

use crate::store::{Batch, Mark, Store, StoreError};

/// Head of the own feed, as the store keeps it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FeedHeadValue {
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    #[prost(uint64, tag = "2")]
    pub seq: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub hash: Vec<u8>,
    /// First entry that is still kept.
    #[prost(uint64, tag = "4")]
    pub first_seq: u64,
}

/// Writes that become durable together, and what shows afterwards.
#[derive(Debug)]
pub struct Group {
    /// Writes.
    pub batch: Batch,
    /// Entries that the batch adds to the feed.
    pub entries: Vec<FeedEntry>,
    /// Where the feed ends afterwards.
    pub mark: Mark,
}

/// See the module.
pub struct Engine {
    store: Arc<dyn Store>,
    state: NodeState,
    feed: FeedId,
    head: Head,
    first_seq: u64,
    cursors: BTreeMap<FeedId, Head>,
    batch: Batch,
    entries: Vec<FeedEntry>,
    group_bytes: usize,
    /// The store failed while something was looked up: nothing more is handed out.
    fault: Option<StoreError>,
    retention: Retention,
    /// Held by whoever reads the feed from its checkpoint on: nothing is removed meanwhile.
    pin: Arc<()>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("feed", &self.feed).field("head", &self.head).finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        mut state: NodeState,
        feed: FeedId,
        head: Head,
        first_seq: u64,
        cursors: BTreeMap<FeedId, Head>,
        retention: Retention,
    ) -> Self {
        state.set_position(head.seq);
        Self {
            store,
            state,
            feed,
            head,
            first_seq,
            cursors,
            batch: Batch::new(),
            entries: Vec::new(),
            group_bytes: 0,
            fault: None,
            retention,
            pin: Arc::new(()),
        }
    }

    /// Takes settings of the site over.
    pub fn set_site_policy(&mut self, policy: SitePolicy) {
        self.state.set_site_policy(policy);
    }

    /// The state, ahead of the store by the open group.
    #[must_use]
    pub fn state(&self) -> &NodeState {
        &self.state
    }

    /// Sets what the node's people may do by themselves.
    pub fn set_rules(&mut self, rules: Rules) {
        self.state.set_rules(rules);
    }

    /// The own feed.
    #[must_use]
    pub fn feed(&self) -> &FeedId {
        &self.feed
    }

    /// Where the own feed ends, with the open group.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Bytes of the open group: the actor closes it before it grows large.
    #[must_use]
    pub fn group_bytes(&self) -> usize {
        self.group_bytes
    }

    /// What is not in memory: the store with the open group over it.
    #[must_use]
    pub fn archive(&self) -> Overlay<'_> {
        Overlay::new(&*self.store, &self.batch)
    }

    /// Works a command out, into the open group. The answer of a repeated request is its first one.
    ///
    /// # Errors
    /// The business answer that says no; it changes nothing.
    pub fn handle(&mut self, context: &Context, command: Command) -> Result<Answer, Reject> {
        let overlay = Overlay::new(&*self.store, &self.batch);
        let handled = self.state.handle(context, command, &overlay);
        if let Some(fault) = overlay.fault() {
            // Whatever was worked out is not to be believed. The group is never handed out, so nobody is told.
            self.failed(fault);
            return Err(Reject::new(Reason::ShuttingDown, "the store failed, the outcome is unknown"));
        }
        let effects = handled?;
        for change in &effects.changes {
            let (key, value) = change.encode();
            self.put(key, value);
        }
        for body in &effects.entries {
            let entry = self.head.append(&self.feed, body);
            let key = Key::FeedEntry { epoch: self.feed.epoch, seq: entry.seq }.encode();
            self.put(key, Some(entry.encode_to_vec()));
            self.entries.push(entry);
        }
        match effects.answer {
            Answer::Repeated(id) => self.remembered(id),
            answer => Ok(answer),
        }
    }

    /// The store failed while something was looked up: nothing more is handed out.
    pub(crate) fn failed(&mut self, fault: StoreError) {
        self.fault.get_or_insert(fault);
    }

    /// The first answer of a request.
    fn remembered(&mut self, id: RequestId) -> Result<Answer, Reject> {
        let overlay = self.archive();
        let value = overlay.get(&Key::Request(id).encode());
        let fault = overlay.fault();
        if fault.is_some() {
            self.fault = fault;
        }
        let answer = value.as_deref().and_then(change::split_request).and_then(|(_, answer)| Answer::decode(answer));
        answer.ok_or_else(|| {
            Reject::new(Reason::RequestExpired, "the request took effect, and its answer is no longer kept: look it up")
        })
    }

    /// How far the coordinator's feed to this node took effect, with the open group.
    ///
    /// # Errors
    /// [`Reason::UnknownFeed`] for a feed that is not for this node, [`Reason::StaleIncarnation`] for one that is over.
    pub fn cursor(&self, feed: &FeedId) -> Result<Head, Reject> {
        let identity = self.state.identity();
        let group = format!("coordinator/{}", identity.group);
        if feed.participant != group || feed.destination != self.feed.participant {
            let message = format!("{feed} is not {group} -> {}", self.feed.participant);
            return Err(Reject::new(Reason::UnknownFeed, message));
        }
        let known = u64::from(self.state.meta().incarnation.0);
        if feed.epoch < known {
            let message = format!("incarnation {} of the group is over: {known} was met", feed.epoch);
            return Err(Reject::new(Reason::StaleIncarnation, message));
        }
        Ok(self.cursors.get(feed).copied().unwrap_or(Head::START))
    }

    /// Takes entries of the coordinator's feed, each exactly once: its effect and the cursor go into the same group. Stops at the
    /// first one that can't be taken; those before it took effect.
    ///
    /// # Errors
    /// [`Reason::FeedGap`], [`Reason::FeedForked`], [`Reason::UnknownFact`], and what the command refuses.
    pub fn follow(
        &mut self,
        now: LogTime,
        business_date: BusinessDate,
        feed: &FeedId,
        entries: &[FeedEntry],
    ) -> Result<Head, Reject> {
        let mut cursor = self.cursor(feed)?;
        let principal = Principal { kind: PrincipalKind::Coordinator, id: self.state.identity().group.to_string() };
        let context = Context { now, business_date, principal, request: None };
        for entry in entries {
            let mut next = cursor;
            let Some(body) = next.accept(feed, entry).map_err(chain_reject)? else { continue };
            let fact = self.coordinator_fact(feed, &body).map_err(|reject| at_entry(feed, entry.seq, reject))?;
            let command = Command::FollowCoordinator(fact);
            self.handle(&context, command).map_err(|reject| at_entry(feed, entry.seq, reject))?;
            cursor = next;
            self.put_cursor(feed, cursor);
        }
        Ok(cursor)
    }

    fn coordinator_fact(&self, feed: &FeedId, body: &EntryBody) -> Result<CoordinatorFact, Reject> {
        let incarnation = u32::try_from(feed.epoch).map_err(|_| {
            Reject::new(Reason::StaleIncarnation, format!("incarnation {} is beyond what can be", feed.epoch))
        })?;
        Ok(CoordinatorFact { incarnation: Incarnation(incarnation), work: Work::from_fact(body.fact.as_ref())? })
    }

    fn put_cursor(&mut self, feed: &FeedId, cursor: Head) {
        let value = [cursor.seq.to_be_bytes().as_slice(), &cursor.hash.0].concat();
        self.put(Key::Cursor(feed.clone()).encode(), Some(value));
        self.cursors.insert(feed.clone(), cursor);
    }

    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.group_bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.batch.insert(key, value);
    }

    /// Closes the open group and hands it out: it is written before anything else is worked out. `None` when nothing is in it.
    ///
    /// # Errors
    /// The fault of the store that came up while the group was worked out: none of it may be written.
    pub fn take_group(&mut self) -> Result<Option<Group>, StoreError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if self.batch.is_empty() {
            return Ok(None);
        }
        let head = FeedHeadValue {
            epoch: self.feed.epoch,
            seq: self.head.seq,
            hash: self.head.hash.0.to_vec(),
            first_seq: self.first_seq,
        };
        self.put(Key::FeedHead.encode(), Some(head.encode_to_vec()));
        self.group_bytes = 0;
        Ok(Some(Group {
            batch: std::mem::take(&mut self.batch),
            entries: std::mem::take(&mut self.entries),
            mark: Mark { epoch: self.feed.epoch, head: self.head },
        }))
    }

    /// First entry of the own feed that is kept.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
}

/// Which entry could not be taken: the operator finds it in both logs.
fn at_entry(feed: &FeedId, seq: u64, reject: Reject) -> Reject {
    Reject { message: format!("entry {seq} of {feed}: {}", reject.message), ..reject }
}

fn chain_reject(error: ChainError) -> Reject {
    let reason = match error {
        ChainError::Gap { .. } => Reason::FeedGap,
        ChainError::Forked { .. } => Reason::FeedForked,
        ChainError::Undecodable { .. } => Reason::UnknownFact,
    };
    Reject::new(reason, error.to_string())
}

/// An entry as the store keeps it; `None` when it is damaged.
pub(crate) fn decode_entry(value: &[u8]) -> Option<FeedEntry> {
    FeedEntry::decode(value).ok()
}

/// A cursor as the store keeps it; `None` when it is damaged.
pub(crate) fn decode_cursor(value: &[u8]) -> Option<Head> {
    let (seq, hash) = value.split_first_chunk::<8>()?;
    Some(Head { seq: u64::from_be_bytes(*seq), hash: ChainHash::from_bytes(hash)? })
}
