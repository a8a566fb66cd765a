//! Linearizable reads: ReadIndex, one round for all that wait together.
//!
//! Raft drops a ReadIndex silently: while the leader has not committed in its term, when there is no leader, when a
//! message is lost. So an attempt that is not answered in time is made again, under a fresh context: an answer to an old
//! one must never serve a read that came after it.

use std::collections::BTreeMap;

struct Attempt {
    tickets: Vec<u64>,
    ticks_left: usize,
}

pub(super) struct Reads {
    replica: u64,
    life: u64,
    patience_ticks: usize,
    next_attempt: u64,
    /// Not asked yet.
    fresh: Vec<u64>,
    /// Asked, by attempt.
    asked: BTreeMap<u64, Attempt>,
    /// Answered: by the index that must be applied first.
    answered: BTreeMap<u64, Vec<u64>>,
}

impl Reads {
    pub(super) fn new(replica: u64, life: u64, patience_ticks: usize) -> Self {
        Self {
            replica,
            life,
            patience_ticks,
            next_attempt: 1,
            fresh: Vec::new(),
            asked: BTreeMap::new(),
            answered: BTreeMap::new(),
        }
    }

    pub(super) fn ask(&mut self, ticket: u64) {
        self.fresh.push(ticket);
    }

    /// `gone`: sorted. One pass over what waits, however many they are.
    pub(super) fn forget(&mut self, gone: &[u64]) {
        let stays = |waiting: &u64| gone.binary_search(waiting).is_err();
        self.fresh.retain(stays);
        self.asked.values_mut().for_each(|attempt| attempt.tickets.retain(stays));
        self.answered.values_mut().for_each(|tickets| tickets.retain(stays));
        self.answered.retain(|_, tickets| !tickets.is_empty());
    }

    pub(super) fn tick(&mut self) {
        let (fresh, mut overdue) = (&mut self.fresh, Vec::new());
        for (number, attempt) in &mut self.asked {
            attempt.ticks_left = attempt.ticks_left.saturating_sub(1);
            if attempt.ticks_left == 0 {
                overdue.push(*number);
            }
        }
        for number in overdue {
            if let Some(attempt) = self.asked.remove(&number) {
                fresh.extend(attempt.tickets);
            }
        }
    }

    /// The context to ask with, when reads wait that are not asked yet.
    pub(super) fn begin_attempt(&mut self) -> Option<Vec<u8>> {
        if self.fresh.is_empty() {
            return None;
        }
        let number = self.next_attempt;
        self.next_attempt += 1;
        let tickets = std::mem::take(&mut self.fresh);
        self.asked.insert(number, Attempt { tickets, ticks_left: self.patience_ticks });
        Some([self.replica.to_be_bytes(), self.life.to_be_bytes(), number.to_be_bytes()].concat())
    }

    /// A quorum confirmed: what was asked under this context may be read once `index` is applied.
    pub(super) fn confirmed(&mut self, context: &[u8], index: u64) {
        let Some((who, number)) = context.split_at_checked(16) else { return };
        let Ok(number) = <[u8; 8]>::try_from(number) else { return };
        if who != [self.replica.to_be_bytes(), self.life.to_be_bytes()].concat() {
            return;
        }
        if let Some(attempt) = self.asked.remove(&u64::from_be_bytes(number)) {
            self.answered.entry(index).or_default().extend(attempt.tickets);
        }
    }

    /// Takes out those that may be read now.
    pub(super) fn take_readable(&mut self, applied: u64) -> Vec<u64> {
        let later = self.answered.split_off(&(applied + 1));
        std::mem::replace(&mut self.answered, later).into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overdue_attempt_is_made_again_under_another_context() {
        let mut reads = Reads::new(1, 77, 2);
        reads.ask(5);
        let first = reads.begin_attempt().unwrap();
        assert_eq!(reads.begin_attempt(), None, "asked already");
        reads.tick();
        reads.tick();
        let second = reads.begin_attempt().unwrap();
        assert_ne!(first, second);
        reads.confirmed(&first, 10);
        assert!(reads.take_readable(100).is_empty(), "an answer to the old attempt serves nobody");
        reads.confirmed(&second, 10);
        assert!(reads.take_readable(9).is_empty(), "not applied yet");
        assert_eq!(reads.take_readable(10), vec![5]);
    }

    #[test]
    fn forgotten_reads_are_gone_wherever_they_wait() {
        let mut reads = Reads::new(1, 77, 9);
        (1..=3).for_each(|ticket| reads.ask(ticket));
        let first = reads.begin_attempt().unwrap();
        reads.ask(4);
        let second = reads.begin_attempt().unwrap();
        reads.confirmed(&first, 10);
        (5..=6).for_each(|ticket| reads.ask(ticket));
        reads.forget(&[2, 3, 4, 6]);
        assert_eq!(reads.take_readable(10), vec![1]);
        reads.confirmed(&second, 11);
        assert!(reads.take_readable(11).is_empty());
        let third = reads.begin_attempt().unwrap();
        reads.confirmed(&third, 12);
        assert_eq!(reads.take_readable(12), vec![5]);
    }

    #[test]
    fn another_lifes_answer_is_not_ours() {
        let (mut old, mut new) = (Reads::new(1, 1, 9), Reads::new(1, 2, 9));
        old.ask(1);
        new.ask(1);
        let context = old.begin_attempt().unwrap();
        new.begin_attempt().unwrap();
        new.confirmed(&context, 1);
        assert!(new.take_readable(u64::MAX - 1).is_empty());
    }
}
