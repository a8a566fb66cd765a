//! Which stock keys changed lately: what watchers of availability go by, so that nobody compares everything.
//!
//! The latest [`KEPT`] changes are kept, 16 bytes each, whoever watches. A watcher that is further behind is told to begin
//! anew: nothing is ever kept for it. Must not know: who watches, what a key's availability is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Changes kept.
const KEPT: usize = 1 << 17;

/// The latest changes, shared between the thread that applies and watchers.
#[derive(Clone, Debug, Default)]
pub struct Changes(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// Log index and dense index of the key, in the order of the log.
    changes: VecDeque<(u64, u32)>,
    /// Changes at and before this index are not all kept.
    forgotten: u64,
    /// The last index that was noted.
    last: u64,
}

/// What changed after some index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// These keys, by dense index, sorted, each once; up to this log index.
    Keys(Vec<u32>, u64),
    /// Not known any more: everything may have, up to this log index.
    Unknown(u64),
}

impl Changes {
    /// Notes what an entry changed.
    pub fn note(&self, index: u64, keys: &[u32]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last = index;
        for key in keys {
            if kept.changes.len() >= KEPT
                && let Some((oldest, _)) = kept.changes.pop_front()
            {
                kept.forgotten = oldest;
            }
            kept.changes.push_back((index, *key));
        }
    }

    /// The state was replaced by one at `index`.
    pub fn forget(&self, index: u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Kept { changes: VecDeque::new(), forgotten: index, last: index };
    }

    /// What changed after `index`. An index that was not reached here yet: nothing.
    #[must_use]
    pub fn since(&self, index: u64) -> Since {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if index < kept.forgotten {
            return Since::Unknown(kept.last);
        }
        let from = kept.changes.partition_point(|(at, _)| *at <= index);
        let mut keys: Vec<u32> = kept.changes.range(from..).map(|(_, key)| *key).collect();
        let last = kept.last.max(index);
        drop(kept);
        keys.sort_unstable();
        keys.dedup();
        Since::Keys(keys, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_from_any_index_until_they_are_forgotten() {
        let changes = Changes::default();
        changes.note(1, &[7, 8]);
        changes.note(3, &[7]);
        changes.note(4, &[]);
        assert_eq!(changes.since(0), Since::Keys(vec![7, 8], 4));
        assert_eq!(changes.since(1), Since::Keys(vec![7], 4));
        assert_eq!(changes.since(3), Since::Keys(vec![], 4));
        assert_eq!(changes.since(9), Since::Keys(vec![], 9), "ahead of this replica: nothing, until it is there");
        changes.forget(10);
        assert_eq!(changes.since(9), Since::Unknown(10));
        assert_eq!(changes.since(10), Since::Keys(vec![], 10));
    }

    #[test]
    fn only_so_many_are_kept_and_an_entry_is_forgotten_whole() {
        let changes = Changes::default();
        let keys: Vec<u32> = (0..1_000).collect();
        for index in 1..=200 {
            changes.note(index, &keys);
        }
        assert_eq!(changes.0.lock().unwrap().changes.len(), KEPT);
        // 131 whole entries and a part of one are kept: of that one, not all is known.
        assert_eq!(changes.since(68), Since::Unknown(200));
        assert!(matches!(changes.since(69), Since::Keys(known, 200) if known == keys));
    }
}
