//! Proposals in flight: how an entry that commits finds the call that waits for it.
//!
//! Raft drops proposals silently when leadership changes. So every proposal has a number of its own, travels with it in
//! the entry's context, and is given up as *unknown* as soon as this replica stops leading the term it was made in.

use std::collections::BTreeMap;

/// Changes of members are numbered from here, apart from the others: who gathers commands under the number of the proposal
/// to come must find it unused.
const CHANGES: u64 = 1 << 63;

pub(super) struct Proposals {
    proposer: u64,
    next: u64,
    next_change: u64,
    /// By number: the index and term that it was appended at. Bounded by Raft's limit of uncommitted bytes.
    waiting: BTreeMap<u64, (u64, u64)>,
}

impl Proposals {
    pub(super) fn new(proposer: u64) -> Self {
        Self { proposer, next: 1, next_change: CHANGES, waiting: BTreeMap::new() }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn next_change(&self) -> u64 {
        self.next_change
    }

    /// What travels with the entry.
    pub(super) fn context(&self, number: u64) -> Vec<u8> {
        [self.proposer.to_be_bytes(), number.to_be_bytes()].concat()
    }

    pub(super) fn began(&mut self, number: u64, index: u64, term: u64) {
        let counter = if number >= CHANGES { &mut self.next_change } else { &mut self.next };
        *counter = number + 1;
        self.waiting.insert(number, (index, term));
    }

    /// The proposal that this committed entry is, when it is one that waits here. Numbers begin anew with each life of a
    /// process; the term tells an entry of an earlier life apart, because leading again takes a new term.
    pub(super) fn committed(&mut self, context: &[u8], index: u64, term: u64) -> Option<u64> {
        let (proposer, number) = context.split_at_checked(8)?;
        if proposer != self.proposer.to_be_bytes() {
            return None;
        }
        let number = u64::from_be_bytes(number.try_into().ok()?);
        if self.waiting.get(&number) != Some(&(index, term)) {
            return None;
        }
        self.waiting.remove(&number);
        Some(number)
    }

    pub(super) fn any_lost(&self, leads: bool, term: u64) -> bool {
        self.waiting.values().any(|(_, proposed_in)| !leads || *proposed_in != term)
    }

    /// Takes out those whose outcome this replica can't learn any more.
    pub(super) fn take_lost(&mut self, leads: bool, term: u64) -> Vec<u64> {
        let lost: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, (_, proposed_in))| !leads || *proposed_in != term)
            .map(|(number, _)| *number)
            .collect();
        for number in &lost {
            self.waiting.remove(number);
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_matched_by_proposer_number_index_and_term() {
        let mut ours = Proposals::new(1);
        ours.began(1, 10, 3);
        let context = ours.context(1);
        assert_eq!(Proposals::new(2).committed(&context, 10, 3), None, "another replica's");
        assert_eq!(ours.committed(&context, 10, 2), None, "an earlier life's");
        assert_eq!(ours.committed(&context, 9, 3), None, "another index");
        assert_eq!(ours.committed(b"", 10, 3), None, "an entry without a context");
        assert_eq!(ours.committed(&context, 10, 3), Some(1));
        assert_eq!(ours.committed(&context, 10, 3), None, "answered once");
    }

    #[test]
    fn proposals_of_a_term_that_is_over_are_given_up() {
        let mut ours = Proposals::new(1);
        ours.began(1, 10, 3);
        ours.began(2, 11, 3);
        assert!(!ours.any_lost(true, 3));
        assert!(ours.any_lost(false, 3) && ours.any_lost(true, 4));
        assert_eq!(ours.take_lost(true, 4), vec![1, 2]);
        assert!(!ours.any_lost(false, 9));
    }
}
