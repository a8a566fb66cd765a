//! How long the own feed is kept: until every registered consumer has it, and for a set time.
//!
//! A consumer is registered durably when it first stands in the config, and waited for until it is retired: one that is away for
//! a week costs disk, not memory. What is removed is folded into a checkpoint first (cells and open work as of its last entry), so
//! that the state can always be computed again from the checkpoint and the entries behind it. The chain hash at the
//! checkpoint ties it to the feed.
//!
//! Must not know: links.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prost::Message;
use stockmesh_node_core::fold::{Base, Fold};
use stockmesh_node_core::{Allocation, Cell, Change, Document, DocumentKind, Key};
use stockmesh_proto::feed::v1::EntryBody;
use stockmesh_types::{AllocationId, ChainHash, LogTime, OrderId, StockKey};

use super::Engine;
use crate::store::{Store, StoreError};
use crate::writer::read_feed;

/// Entries that are removed in one step.
pub const TRIM_STEP: u64 = 1_000;
/// Acknowledgements are noted durably after so many entries; one that is noted late only keeps entries longer.
const NOTED_EVERY: u64 = 1_000;
/// Bytes of entries read at once.
const READ_BYTES: usize = 1024 * 1024;

/// A consumer that the feed waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    /// Last entry of this epoch that it has, as far as is known.
    pub acknowledged_seq: u64,
    /// The same, as the store says.
    noted_seq: u64,
    /// When it was registered.
    pub registered: LogTime,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ConsumerValue {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, tag = "2")]
    acknowledged_seq: u64,
    #[prost(int64, tag = "3")]
    registered_time_ms: i64,
}

/// Where the checkpoint stands.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CheckpointValue {
    #[prost(uint64, tag = "1")]
    pub(crate) epoch: u64,
    /// Entries up to this one are in it.
    #[prost(uint64, tag = "2")]
    pub(crate) seq: u64,
    /// Chain hash of that entry.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) hash: Vec<u8>,
    /// Allocations taken on up to it.
    #[prost(uint64, tag = "4")]
    pub(crate) accepted: u64,
}

impl CheckpointValue {
    /// Of a store.
    pub(crate) fn read(store: &dyn Store) -> Result<Self, StoreError> {
        let Some(value) = store.get(&Key::Checkpoint.encode())? else {
            return Ok(Self { epoch: 0, seq: 0, hash: ChainHash::START.0.to_vec(), accepted: 0 });
        };
        Self::decode(value.as_slice()).map_err(|error| StoreError::Damaged(format!("the checkpoint: {error}")))
    }
}

/// The checkpoint of a store, as what a fold begins with.
pub struct CheckpointBase {
    store: Arc<dyn Store>,
    fault: Mutex<Option<StoreError>>,
}

impl std::fmt::Debug for CheckpointBase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointBase").finish_non_exhaustive()
    }
}

impl CheckpointBase {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, fault: Mutex::new(None) }
    }

    /// What went wrong while it was read.
    pub(crate) fn fault(&self) -> Option<StoreError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn read(&self, key: &Key, kept_as: Key) -> Option<Change> {
        let read = || {
            let Some(value) = self.store.get(&key.encode())? else { return Ok(None) };
            Change::decode(kept_as, &value).map_err(|error| StoreError::Damaged(error.to_string()))
        };
        read().unwrap_or_else(|error: StoreError| {
            self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            None
        })
    }
}

impl Base for CheckpointBase {
    fn cell(&self, key: &StockKey) -> Cell {
        match self.read(&Key::CheckpointCell(key.clone()), Key::Cell(key.clone())) {
            Some(Change::Cell(_, cell)) => cell,
            _ => Cell::default(),
        }
    }

    fn allocation(&self, id: AllocationId) -> Option<Allocation> {
        match self.read(&Key::CheckpointWork(id), Key::Allocation(id))? {
            Change::Allocation(_, allocation) => Some(allocation),
            _ => None,
        }
    }

    // Documents are not compared.
    fn document(&self, _: DocumentKind, _: &OrderId) -> Option<Document> {
        None
    }
}

/// Key and value of a cell or an allocation at the checkpoint; an allocation with nothing left is removed.
pub(crate) fn checkpoint_change(change: &Change) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    match change {
        Change::Cell(key, _) => Some((Key::CheckpointCell(key.clone()).encode(), change.encode().1)),
        Change::Allocation(id, allocation) => {
            let value = change.encode().1.filter(|_| allocation.left() > 0);
            Some((Key::CheckpointWork(*id).encode(), value))
        }
        _ => None,
    }
}

/// Retention, as an engine keeps it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Retention {
    consumers: BTreeMap<String, Consumer>,
    /// Nothing is old enough before this time.
    not_before: Option<LogTime>,
}

impl Retention {
    pub(crate) fn load(&mut self, peer: String, value: &[u8], epoch: u64) -> Result<(), String> {
        let value = ConsumerValue::decode(value).map_err(|error| error.to_string())?;
        // What was acknowledged of an epoch before says nothing of this one.
        let seq = if value.epoch == epoch { value.acknowledged_seq } else { 0 };
        let consumer =
            Consumer { acknowledged_seq: seq, noted_seq: seq, registered: LogTime(value.registered_time_ms) };
        self.consumers.insert(peer, consumer);
        Ok(())
    }
}

impl Engine {
    /// The consumers that the feed waits for.
    #[must_use]
    pub fn consumers(&self) -> &BTreeMap<String, Consumer> {
        &self.retention.consumers
    }

    /// Has the feed wait for consumers that are new. They get what is still kept.
    pub fn register_consumers(&mut self, now: LogTime, peers: &[String]) {
        for peer in peers {
            if self.retention.consumers.contains_key(peer) {
                continue;
            }
            if self.first_seq > 1 {
                tracing::warn!(feed = %self.feed, peer, first_seq = self.first_seq,
                    "a new consumer needs entries that are no longer kept: its link will be refused");
            }
            let consumer = Consumer { acknowledged_seq: 0, noted_seq: 0, registered: now };
            self.retention.consumers.insert(peer.clone(), consumer);
            self.note(peer);
        }
    }

    /// The feed no longer waits for a consumer. `false`: it did not.
    pub fn retire_consumer(&mut self, peer: &str) -> bool {
        let known = self.retention.consumers.remove(peer).is_some();
        if known {
            self.put(Key::Consumer(peer.to_owned()).encode(), None);
        }
        known
    }

    fn note(&mut self, peer: &str) {
        let Some(consumer) = self.retention.consumers.get_mut(peer) else { return };
        consumer.noted_seq = consumer.acknowledged_seq;
        let value = ConsumerValue {
            epoch: self.feed.epoch,
            acknowledged_seq: consumer.acknowledged_seq,
            registered_time_ms: consumer.registered.0,
        };
        self.put(Key::Consumer(peer.to_owned()).encode(), Some(value.encode_to_vec()));
    }

    /// Notes what consumers have, and removes a step of entries that all of them have and that are older than `keep_ms`, in the open
    /// group.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn maintain(
        &mut self,
        now: LogTime,
        acknowledged: &BTreeMap<String, u64>,
        keep_ms: i64,
    ) -> Result<(), StoreError> {
        for (peer, seq) in acknowledged {
            let Some(consumer) = self.retention.consumers.get_mut(peer) else { continue };
            consumer.acknowledged_seq = consumer.acknowledged_seq.max((*seq).min(self.head.seq));
            if consumer.acknowledged_seq >= consumer.noted_seq + NOTED_EVERY {
                self.note(peer);
            }
        }
        let consumers = &self.retention.consumers;
        let Some(everybody) = consumers.values().map(|consumer| consumer.acknowledged_seq).min() else { return Ok(()) };
        let due = everybody >= self.first_seq + TRIM_STEP;
        if !due || self.retention.not_before.is_some_and(|time| now < time) || Arc::strong_count(&self.pin) > 1 {
            return Ok(());
        }
        self.trim(now, keep_ms)
    }

    fn trim(&mut self, now: LogTime, keep_ms: i64) -> Result<(), StoreError> {
        let upto = self.first_seq + TRIM_STEP - 1;
        let damaged = |what: String| StoreError::Damaged(format!("{what} of {}", self.feed));
        let mut checkpoint = CheckpointValue::read(&*self.store)?;
        let base = CheckpointBase::new(Arc::clone(&self.store));
        let mut fold = Fold::new(base, checkpoint.accepted);
        let mut after = self.first_seq - 1;
        let mut time = LogTime(i64::MIN);
        while after < upto {
            let entries = read_feed(&*self.store, self.feed.epoch, after, upto, READ_BYTES)?;
            let Some(last) = entries.last() else { return Err(damaged(format!("entry {} is missing", after + 1))) };
            after = last.seq;
            for entry in &entries {
                let body = EntryBody::decode(entry.body.clone());
                let body = body.map_err(|error| damaged(format!("entry {} ({error})", entry.seq)))?;
                time = LogTime(body.time_ms);
                // What a checkpoint of a migrated store includes already is only removed.
                if checkpoint.epoch == self.feed.epoch && entry.seq <= checkpoint.seq {
                    continue;
                }
                fold.hear(&body).map_err(|error| damaged(format!("entry {} ({error})", entry.seq)))?;
                checkpoint = CheckpointValue {
                    epoch: self.feed.epoch,
                    seq: entry.seq,
                    hash: entry.hash.clone(),
                    accepted: fold.accepted(),
                };
            }
        }
        if time.0 > now.0 - keep_ms {
            self.retention.not_before = Some(LogTime(time.0.saturating_add(keep_ms)));
            return Ok(());
        }
        if let Some(fault) = fold.base().fault() {
            return Err(fault);
        }
        for (key, value) in fold.into_changes().iter().filter_map(checkpoint_change) {
            self.put(key, value);
        }
        for seq in self.first_seq..=upto {
            self.put(Key::FeedEntry { epoch: self.feed.epoch, seq }.encode(), None);
        }
        self.put(Key::Checkpoint.encode(), Some(checkpoint.encode_to_vec()));
        self.first_seq = upto + 1;
        Ok(())
    }
}
