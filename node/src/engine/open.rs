//! Opening a store: the state is rebuilt from its key values, checked against the feed, and compared with the marker.
//!
//! Damage is a fault: the node does not start. A store behind its marker (restored from an older copy, replaced) is another
//! thing: the node starts RECOVERING, shows what it has, and changes nothing.
//!
//! Must not know: how a node recovers; that takes the coordinator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message;
use stockmesh_node_core::{Archive, Change, CorruptValue, GrantPolicy, Identity, Key, NodeState};
use stockmesh_proto::convert;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{EntryBody, FeedEntry};
use stockmesh_types::{AllocationId, ChainHash, FeedId, NodeId, StockKey, chain_hash};

use super::migrate::{FORMAT, prepare};
use super::retention::Retention;
use super::{Engine, FeedHeadValue, Overlay, decode_cursor, decode_entry};
use crate::store::{Batch, Mark, Store, StoreError};

/// Entries at the end of the feed that are checked against the state.
const CHECKED_ENTRIES: u64 = 1_000;
/// First bytes of the keys that are looked up when they are named, and not loaded: allocations (but for open ones), documents,
/// requests, feed entries.
const LEFT_IN_STORE: [u8; 6] = [b'a', b'd', b'e', b'f', b'r', b'z'];

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// I/O.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A value can't be read.
    #[error("the store is damaged: {0}. Restore it from a backup")]
    Value(#[from] CorruptValue),
    /// The parts contradict each other.
    #[error("the store is damaged: {0}. Restore it from a backup")]
    Damaged(String),
    /// Another version wrote it.
    #[error("the store has format {found}, this build reads {FORMAT} and lower: use the build that wrote it")]
    Format {
        /// Version found.
        found: u32,
    },
    /// Another node's store.
    #[error("the store belongs to {found}, not to {wanted}: mend the config or the data folder")]
    OtherNode {
        /// Feed in the store.
        found: String,
        /// Node that is configured.
        wanted: NodeId,
    },
}

/// Why a node is recovering.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryReason {
    /// It had acknowledged more.
    #[error(
        "the store ends at entry {stored} of epoch {epoch}, and entry {marked} of epoch {marked_epoch} was acknowledged"
    )]
    Behind {
        /// Last entry in the store.
        stored: u64,
        /// Epoch of the store.
        epoch: u64,
        /// Last entry by the marker.
        marked: u64,
        /// Epoch by the marker.
        marked_epoch: u64,
    },
    /// It is another history.
    #[error("entry {seq} in the store is not the one that was acknowledged")]
    OtherHistory {
        /// Entry.
        seq: u64,
    },
    /// The marker is gone.
    #[error("the store holds entries, and its marker file is missing")]
    NoMarker,
}

/// An opened store.
#[derive(Debug)]
pub enum Opened {
    /// In order: the node serves.
    Ready(Box<Engine>),
    /// Behind its marker: the node shows what it has.
    Recovering(Box<Engine>, RecoveryReason),
}

/// Opens the store of a node. A new store gets its format version, one of an earlier format is brought to the present one.
///
/// # Errors
/// [`OpenError`].
pub fn open(
    store: Arc<dyn Store>,
    identity: Identity,
    policy: GrantPolicy,
    mark: Option<Mark>,
) -> Result<Opened, OpenError> {
    prepare(&*store)?;
    let participant = stockmesh_node_core::change::participant(&identity.node);
    let feed = FeedId { participant, destination: String::new(), epoch: identity.epoch.0 };
    let mut loaded = Loaded { state: NodeState::new(identity, policy), cursors: BTreeMap::new(), head: None };
    loaded.read(&*store)?;
    let Loaded { state, cursors, head } = loaded;
    let head = head.unwrap_or(FeedHeadValue { epoch: feed.epoch, seq: 0, hash: vec![0; 32], first_seq: 1 });
    if head.epoch != feed.epoch {
        let message = format!("its feed is of epoch {}, and epoch {} is expected", head.epoch, feed.epoch);
        return Err(OpenError::Damaged(message));
    }
    let hash = ChainHash::from_bytes(&head.hash)
        .ok_or_else(|| OpenError::Damaged("the head of its feed has no hash".to_owned()))?;
    let (first_seq, head) = (head.first_seq, Head { seq: head.seq, hash });
    if let Some(flaw) = state.flaw() {
        return Err(OpenError::Damaged(flaw));
    }
    check_feed(&*store, &state, &feed, head, first_seq)?;
    let reason = compare(&*store, &feed, head, first_seq, mark)?;
    let retention = read_consumers(&*store, feed.epoch)?;
    let engine = Box::new(Engine::new(store, state, feed, head, first_seq, cursors, retention));
    Ok(match reason {
        None => Opened::Ready(engine),
        Some(reason) => Opened::Recovering(engine, reason),
    })
}

fn read_consumers(store: &dyn Store, epoch: u64) -> Result<Retention, OpenError> {
    let mut retention = Retention::default();
    let mut trouble = None;
    store.scan(&[b'z', 1], &[b'z', 2], &mut |key, value| {
        let loaded = match Key::decode(key) {
            Some(Key::Consumer(peer)) => retention.load(peer, value, epoch),
            _ => Err(format!("key {key:02x?} is none of a node's")),
        };
        trouble = loaded.err();
        trouble.is_none()
    })?;
    trouble.map_or(Ok(retention), |what| Err(OpenError::Damaged(what)))
}

struct Loaded {
    state: NodeState,
    cursors: BTreeMap<FeedId, Head>,
    head: Option<FeedHeadValue>,
}

impl Loaded {
    /// Reads what is kept in memory: everything but what may be looked up later.
    fn read(&mut self, store: &dyn Store) -> Result<(), OpenError> {
        let mut from = 0;
        for left in LEFT_IN_STORE.into_iter().chain([u8::MAX]) {
            let mut trouble = None;
            store.scan(&[from], &[left], &mut |key, value| match self.take(key, value) {
                Ok(()) => true,
                Err(error) => {
                    trouble = Some(error);
                    false
                }
            })?;
            if let Some(error) = trouble {
                return Err(error);
            }
            from = left.saturating_add(1);
        }
        self.read_open_work(store)
    }

    fn read_open_work(&mut self, store: &dyn Store) -> Result<(), OpenError> {
        let mut open = Vec::new();
        let (from, to) = (Key::OpenTask(0).encode(), Key::OpenTask(u64::MAX).encode());
        store.scan(&from, &to, &mut |key, value| {
            open.push((key.to_vec(), value.to_vec()));
            true
        })?;
        for (key, value) in open {
            let damaged = || OpenError::Damaged(format!("key {key:02x?} is none of a node's"));
            let decoded = Change::decode(Key::decode(&key).ok_or_else(damaged)?, &value)?;
            let Some(Change::OpenTask(number, Some(id))) = decoded else { return Err(damaged()) };
            let missing = || OpenError::Damaged(format!("allocation {id} is open as task {number}, and not there"));
            let value = store.get(&Key::Allocation(id).encode())?.ok_or_else(missing)?;
            if let Some(change) = Change::decode(Key::Allocation(id), &value)? {
                self.state.absorb(change);
            }
            if self.state.open_allocation(id).is_none_or(|found| found.number != number) {
                return Err(missing());
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], value: &[u8]) -> Result<(), OpenError> {
        // The engine's own keys are not ours to read; there are none in a tree of its own, so any other key is damage.
        let key =
            Key::decode(bytes).ok_or_else(|| OpenError::Damaged(format!("key {bytes:02x?} is none of a node's")))?;
        match key {
            Key::FeedHead => {
                let head = FeedHeadValue::decode(value).map_err(|error| OpenError::Damaged(error.to_string()))?;
                self.head = Some(head);
            }
            Key::Cursor(feed) => {
                let cursor = decode_cursor(value)
                    .ok_or_else(|| OpenError::Damaged(format!("the cursor of {feed} can't be read")))?;
                if feed.destination != stockmesh_node_core::change::participant(&self.state.identity().node) {
                    let wanted = self.state.identity().node.clone();
                    return Err(OpenError::OtherNode { found: feed.destination, wanted });
                }
                self.cursors.insert(feed, cursor);
            }
            other => {
                if let Some(change) = Change::decode(other, value)? {
                    self.state.absorb(change);
                }
            }
        }
        Ok(())
    }
}

/// Checks the end of the feed: its entries are there, chained, and say the same as the state.
fn check_feed(
    store: &dyn Store,
    state: &NodeState,
    feed: &FeedId,
    head: Head,
    first_seq: u64,
) -> Result<(), OpenError> {
    let damaged = |message: String| Err(OpenError::Damaged(message));
    let from = first_seq.max(head.seq.saturating_sub(CHECKED_ENTRIES) + 1);
    // One more than the head, so that an entry beyond it shows.
    let entries = read_all(store, feed.epoch, from, head.seq.saturating_add(1))?;
    let expected = (head.seq + 1).saturating_sub(from);
    if entries.len() as u64 != expected {
        return damaged(format!(
            "entries {from} to {} of its feed are expected, {} are there",
            head.seq,
            entries.len()
        ));
    }
    if entries.is_empty() {
        return Ok(());
    }
    // The first one's predecessor may be trimmed: then its own hash is believed, and all further ones follow from it.
    let mut hash = ChainHash::START;
    let mut said = Said::default();
    for (entry, seq) in entries.iter().zip(from..) {
        let believed = ChainHash::from_bytes(&entry.hash).filter(|_| seq == from && from > 1);
        hash = believed.unwrap_or_else(|| chain_hash(&hash, feed, seq, &entry.body));
        if entry.seq != seq || entry.hash != hash.0 {
            return damaged(format!("entry {seq} of its feed does not continue the chain"));
        }
        match EntryBody::decode(entry.body.clone()) {
            Ok(EntryBody { fact: Some(fact), .. }) => said.hear(&fact),
            Ok(_) | Err(_) => return damaged(format!("entry {seq} of its feed can't be read")),
        }
    }
    if hash != head.hash {
        return damaged(format!("the chain ends in {hash}, the head says {}", head.hash));
    }
    said.check(store, state)
}

fn read_all(store: &dyn Store, epoch: u64, from: u64, upto: u64) -> Result<Vec<FeedEntry>, OpenError> {
    let start = Key::FeedEntry { epoch, seq: from }.encode();
    let end = Key::FeedEntry { epoch, seq: upto.saturating_add(1) }.encode();
    let mut entries = Vec::new();
    let mut readable = true;
    store.scan(&start, &end, &mut |_, value| match decode_entry(value) {
        Some(entry) => {
            entries.push(entry);
            true
        }
        None => {
            readable = false;
            false
        }
    })?;
    if readable { Ok(entries) } else { Err(OpenError::Damaged(format!("an entry after {from} can't be read"))) }
}

/// The latest cumulative counters in a stretch of the feed.
#[derive(Default)]
struct Said {
    granted: BTreeMap<StockKey, i64>,
    shortfall: BTreeMap<StockKey, i64>,
    shipped: BTreeMap<AllocationId, i64>,
    cancelled: BTreeMap<AllocationId, i64>,
    accepted: BTreeSet<AllocationId>,
}

impl Said {
    fn hear(&mut self, fact: &Fact) {
        let key = |key| convert::stock_key(key, "stock_key").ok();
        let id = |id| convert::allocation_id(id, "allocation").ok();
        match fact {
            Fact::RightsGranted(fact) => {
                self.granted.extend(key(&fact.stock_key).map(|key| (key, fact.granted_total)));
            }
            Fact::ShortfallReported(fact) => {
                self.shortfall.extend(key(&fact.stock_key).map(|key| (key, fact.level)));
            }
            Fact::ShipmentDispatched(fact) => {
                let lines = fact.lines.iter();
                self.shipped.extend(lines.filter_map(|line| Some((id(&line.allocation)?, line.shipped_total))));
            }
            Fact::AllocationDeclined(fact) => {
                self.cancelled.extend(id(&fact.allocation).map(|id| (id, fact.cancelled_total)));
            }
            Fact::CancellationAnswered(fact) => {
                self.cancelled.extend(id(&fact.allocation).map(|id| (id, fact.cancelled_total)));
            }
            Fact::AllocationAccepted(fact) => self.accepted.extend(id(&fact.allocation)),
            // The rest carries no counter that must agree.
            _ => {}
        }
    }

    fn check(&self, store: &dyn Store, state: &NodeState) -> Result<(), OpenError> {
        let Self { granted, shortfall, shipped, cancelled, accepted } = self;
        let none = Batch::new();
        let overlay = Overlay::new(store, &none);
        let archive: &dyn Archive = &overlay;
        let cell = |key: &StockKey| state.cell(key).copied().unwrap_or_default();
        let apart = |what: &str, said: i64, is: i64| format!("{what}: the feed says {said}, the state {is}");
        let grants = granted.iter().map(|(key, said)| (format!("rights granted on {key}"), *said, cell(key).granted));
        let shortfalls =
            shortfall.iter().map(|(key, said)| (format!("shortfall of {key}"), *said, cell(key).reported_shortfall));
        let of = |id: &AllocationId| archive.allocation(*id).map_or((-1, -1), |found| (found.shipped, found.cancelled));
        let shipments = shipped.iter().map(|(id, said)| (format!("units shipped of {id}"), *said, of(id).0));
        let cancels = cancelled.iter().map(|(id, said)| (format!("units cancelled of {id}"), *said, of(id).1));
        let known =
            accepted.iter().map(|id| (format!("allocation {id}"), 1, i64::from(archive.allocation(*id).is_some())));
        let found = grants
            .chain(shortfalls)
            .chain(shipments)
            .chain(cancels)
            .chain(known)
            .find(|(_, said, is)| said != is)
            .map(|(what, said, is)| apart(&what, said, is));
        if let Some(fault) = overlay.fault() {
            return Err(fault.into());
        }
        found.map_or(Ok(()), |flaw| Err(OpenError::Damaged(flaw)))
    }
}

/// Compares a store with its marker.
fn compare(
    store: &dyn Store,
    feed: &FeedId,
    head: Head,
    first_seq: u64,
    mark: Option<Mark>,
) -> Result<Option<RecoveryReason>, OpenError> {
    let Some(Mark { epoch, head: marked }) = mark else {
        return Ok((head.seq > 0).then_some(RecoveryReason::NoMarker));
    };
    if epoch > feed.epoch || (epoch == feed.epoch && marked.seq > head.seq) {
        let reason =
            RecoveryReason::Behind { stored: head.seq, epoch: feed.epoch, marked: marked.seq, marked_epoch: epoch };
        return Ok(Some(reason));
    }
    // Ahead of the marker is normal: the last group was synced, and the machine stopped before it was marked.
    if epoch < feed.epoch || marked.seq < first_seq {
        return Ok(None);
    }
    let stored = read_all(store, epoch, marked.seq, marked.seq)?;
    let same = stored.first().is_some_and(|entry| entry.hash == marked.hash.0);
    Ok((!same).then_some(RecoveryReason::OtherHistory { seq: marked.seq }))
}
