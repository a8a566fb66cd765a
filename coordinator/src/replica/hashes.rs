//! Replicas compare a running hash of their state at set indices. The one that differs from a majority stops.
//!
//! Each reports its hashes to the others. With three replicas that say A, A and B, the one that says B knows that it is wrong:
//! the log is the same, so its memory, disk or build is not. Where no majority says the same, nobody can know, and it is
//! said loudly. Bounded: the latest [`KEPT`] indices of each member.

use std::collections::{BTreeMap, BTreeSet};

/// Hashes are taken at multiples of this index.
pub const INTERVAL: u64 = 256;
/// Indices that are kept for each replica.
const KEPT: usize = 16;

/// A digest of the state.
pub type Digest = [u8; 32];

/// What the comparison says of one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Divergence {
    /// A majority has another state at this index: this replica must stop.
    Ours {
        /// Log index.
        index: u64,
        /// Replicas that agree with each other, and not with this one.
        others: Vec<u64>,
    },
    /// Another replica's state differs from this one's, which a majority shares, or nobody has a majority.
    Theirs {
        /// Log index.
        index: u64,
        /// Replicas that differ from this one.
        others: Vec<u64>,
    },
}

/// Hashes of this replica and of the others.
#[derive(Clone, Debug, Default)]
pub struct HashWatch {
    /// By index: digest by replica.
    seen: BTreeMap<u64, BTreeMap<u64, Digest>>,
    /// Divergences of others that were told already.
    told: BTreeSet<(u64, u64)>,
}

impl HashWatch {
    /// True at the indices at which hashes are taken.
    #[must_use]
    pub fn is_due(index: u64) -> bool {
        index.is_multiple_of(INTERVAL)
    }

    /// Notes a replica's digest at an index.
    pub fn note(&mut self, replica: u64, index: u64, digest: Digest) {
        if !Self::is_due(index) || index == 0 {
            return;
        }
        if self.seen.len() >= KEPT && self.seen.keys().next().is_some_and(|oldest| index < *oldest) {
            return;
        }
        self.seen.entry(index).or_default().insert(replica, digest);
        while self.seen.len() > KEPT {
            self.seen.pop_first();
        }
        let oldest = self.seen.keys().next().copied().unwrap_or(0);
        self.told.retain(|(index, _)| *index >= oldest);
    }

    /// This replica's hashes, latest first.
    pub fn of(&self, replica: u64) -> impl Iterator<Item = (u64, Digest)> {
        self.seen.iter().rev().filter_map(move |(index, digests)| Some((*index, *digests.get(&replica)?)))
    }

    /// Forgets replicas that are no members any more.
    pub fn retain(&mut self, mut member: impl FnMut(u64) -> bool) {
        self.seen.values_mut().for_each(|digests| digests.retain(|replica, _| member(*replica)));
    }

    /// Compares what is known, for a group of `members` replicas. [`Divergence::Theirs`] is told once for each.
    pub fn judge(&mut self, me: u64, members: usize) -> Option<Divergence> {
        let mut theirs = None;
        for (index, digests) in &self.seen {
            let Some(ours) = digests.get(&me) else { continue };
            let others: Vec<u64> =
                digests.iter().filter(|(_, digest)| *digest != ours).map(|(replica, _)| *replica).collect();
            if others.is_empty() {
                continue;
            }
            let agreeing = |digest: &Digest| digests.values().filter(|other| *other == digest).count();
            let majority = digests.values().find(|digest| agreeing(digest) > members / 2);
            if let Some(majority) = majority.filter(|majority| *majority != ours) {
                let others = digests.iter().filter(|(_, digest)| *digest == majority).map(|(id, _)| *id).collect();
                return Some(Divergence::Ours { index: *index, others });
            }
            let news: Vec<u64> = others.into_iter().filter(|other| self.told.insert((*index, *other))).collect();
            if !news.is_empty() && theirs.is_none() {
                theirs = Some(Divergence::Theirs { index: *index, others: news });
            }
        }
        theirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_differs_from_a_majority_is_the_one_that_is_wrong() {
        let (a, b) = ([1; 32], [2; 32]);
        let mut watch = HashWatch::default();
        watch.note(1, INTERVAL, a);
        watch.note(2, INTERVAL, a);
        assert_eq!(watch.judge(1, 3), None);
        watch.note(3, INTERVAL, b);
        assert_eq!(watch.judge(1, 3), Some(Divergence::Theirs { index: INTERVAL, others: vec![3] }));
        assert_eq!(watch.judge(1, 3), None, "told once");
        assert_eq!(watch.judge(3, 3), Some(Divergence::Ours { index: INTERVAL, others: vec![1, 2] }));
    }

    #[test]
    fn two_that_differ_can_not_know() {
        let mut watch = HashWatch::default();
        watch.note(1, INTERVAL, [1; 32]);
        watch.note(2, INTERVAL, [2; 32]);
        assert_eq!(watch.judge(1, 3), Some(Divergence::Theirs { index: INTERVAL, others: vec![2] }));
        assert!(matches!(watch.judge(2, 3), Some(Divergence::Theirs { .. })));
    }

    #[test]
    fn what_is_kept_is_bounded_and_only_set_indices_count() {
        let mut watch = HashWatch::default();
        for n in 1..=100 {
            watch.note(1, n * INTERVAL, [0; 32]);
            watch.note(1, n * INTERVAL + 1, [9; 32]);
        }
        watch.note(2, INTERVAL, [7; 32]);
        assert_eq!((watch.seen.len(), watch.of(1).count(), watch.of(2).count()), (KEPT, KEPT, 0));
        assert_eq!(watch.of(1).next(), Some((100 * INTERVAL, [0; 32])));
    }
}
