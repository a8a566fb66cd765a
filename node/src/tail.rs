//! The durable end of a node's feed, shared between its actor (which adds to it) and its links (which read it).
//!
//! Holds the last [`MAX_ENTRIES`] entries in at most [`MAX_BYTES`], so that links that keep up never touch the disk; a link that is
//! further behind reads from the store. Entries appear here only when they are durable. Notes what each peer acknowledged,
//! which decides what the store may trim.
//!
//! Must not know: facts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_types::FeedId;
use tokio::sync::watch;

use crate::engine::Consumer;

/// Entries kept in memory.
pub const MAX_ENTRIES: usize = 8_192;
/// Bytes of them.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub struct FeedTail {
    feed: FeedId,
    inner: Mutex<Inner>,
    seq: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    head: Head,
    entries: VecDeque<FeedEntry>,
    bytes: usize,
    acknowledged: BTreeMap<String, u64>,
}

/// Where entries can be had.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Here they are; empty: there are none after that.
    Here(Vec<FeedEntry>),
    /// In the store only, up to this one.
    InStore(u64),
}

fn size(entry: &FeedEntry) -> usize {
    entry.body.len() + entry.hash.len() + 16
}

impl FeedTail {
    /// A feed that ends at `head`, and what its registered consumers have of it.
    #[must_use]
    pub fn new(feed: FeedId, head: Head, consumers: &BTreeMap<String, Consumer>) -> Self {
        let acknowledged = consumers.iter().map(|(peer, known)| (peer.clone(), known.acknowledged_seq)).collect();
        let inner = Inner { head, entries: VecDeque::new(), bytes: 0, acknowledged };
        Self { feed, inner: Mutex::new(inner), seq: watch::Sender::new(head.seq) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic anywhere ends the process; what is here stays consistent between two calls.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The feed.
    #[must_use]
    pub fn feed(&self) -> &FeedId {
        &self.feed
    }

    /// Last durable entry.
    #[must_use]
    pub fn head(&self) -> Head {
        self.inner().head
    }

    /// Follows the number of the last durable entry.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.seq.subscribe()
    }

    /// Adds entries that became durable.
    pub fn publish(&self, entries: Vec<FeedEntry>, head: Head) {
        {
            let mut inner = self.inner();
            inner.head = head;
            inner.bytes += entries.iter().map(size).sum::<usize>();
            inner.entries.extend(entries);
            while inner.entries.len() > MAX_ENTRIES || inner.bytes > MAX_BYTES {
                match inner.entries.pop_front() {
                    Some(oldest) => inner.bytes -= size(&oldest),
                    None => break,
                }
            }
        }
        self.seq.send_replace(head.seq);
    }

    /// Entries after `after`, about `max_bytes` of them, one at least.
    #[must_use]
    pub fn after(&self, after: u64, max_bytes: usize) -> Found {
        let inner = self.inner();
        if after >= inner.head.seq {
            return Found::Here(Vec::new());
        }
        let first = inner.entries.front().map_or(u64::MAX, |entry| entry.seq);
        let Some(skip) = (after + 1).checked_sub(first) else {
            // Below the first one in memory: the store has them. Stop where memory begins, the rest comes from here.
            return Found::InStore(inner.head.seq.min(first.saturating_sub(1)));
        };
        let mut bytes = 0;
        let from = usize::try_from(skip).unwrap_or(usize::MAX);
        let wanted = inner.entries.iter().skip(from).take_while(|entry| {
            let more = bytes < max_bytes;
            bytes += size(entry);
            more
        });
        Found::Here(wanted.cloned().collect())
    }

    /// The entry with that number, if it is in memory.
    #[must_use]
    pub fn entry(&self, seq: u64) -> Option<FeedEntry> {
        let inner = self.inner();
        let first = inner.entries.front()?.seq;
        inner.entries.get(usize::try_from(seq.checked_sub(first)?).ok()?).cloned()
    }

    /// Notes that `peer` has everything up to `seq`.
    pub fn acknowledge(&self, peer: &str, seq: u64) {
        let mut inner = self.inner();
        // Only peers that were named at the start count: a stranger can't grow this.
        if let Some(known) = inner.acknowledged.get_mut(peer) {
            *known = seq.max(*known);
        }
    }

    /// What each registered consumer has, as far as is known.
    #[must_use]
    pub fn acknowledged(&self) -> BTreeMap<String, u64> {
        self.inner().acknowledged.clone()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entries(seqs: std::ops::RangeInclusive<u64>, size: usize) -> Vec<FeedEntry> {
        seqs.map(|seq| FeedEntry { seq, body: Bytes::from(vec![0; size]), hash: vec![0; 32] }).collect()
    }

    fn head(seq: u64) -> Head {
        Head { seq, ..Head::START }
    }

    fn seqs(found: &Found) -> Vec<u64> {
        match found {
            Found::Here(entries) => entries.iter().map(|entry| entry.seq).collect(),
            Found::InStore(upto) => panic!("in store up to {upto}"),
        }
    }

    #[test]
    fn what_is_in_memory_comes_from_there_the_rest_from_the_store() {
        let feed = FeedId { participant: "node/a".into(), destination: String::new(), epoch: 1 };
        let tail = FeedTail::new(feed, head(10), &BTreeMap::new());
        assert_eq!(tail.after(3, 1), Found::InStore(10));
        assert_eq!(seqs(&tail.after(10, 1)), [0_u64; 0]);
        tail.publish(entries(11..=15, 100), head(15));
        assert_eq!(tail.after(3, 1), Found::InStore(10));
        assert_eq!(seqs(&tail.after(10, 1)), [11]);
        assert_eq!(seqs(&tail.after(12, 10_000)), [13, 14, 15]);
        assert_eq!(tail.entry(12).map(|entry| entry.seq), Some(12));
        assert_eq!((tail.entry(10), tail.entry(16)), (None, None));
        tail.publish(entries(16..=60, 100 * 1024), head(60));
        assert!(matches!(tail.after(15, 1), Found::InStore(upto) if upto < 60));
        assert_eq!(seqs(&tail.after(59, 1)), [60]);
        assert!(tail.inner().bytes <= MAX_BYTES);
        assert_eq!(*tail.watch().borrow(), 60);
    }

    #[test]
    fn only_registered_consumers_are_noted() {
        let feed = FeedId { participant: "node/a".into(), destination: String::new(), epoch: 1 };
        let consumers = BTreeMap::from(["c", "f"].map(|peer| (peer.to_owned(), Consumer::default())));
        let tail = FeedTail::new(feed, head(10), &consumers);
        tail.acknowledge("c", 9);
        tail.acknowledge("stranger", 9);
        tail.acknowledge("f", 4);
        tail.acknowledge("f", 3);
        assert_eq!(tail.acknowledged(), BTreeMap::from([("c".to_owned(), 9), ("f".to_owned(), 4)]));
    }
}
