//! What waits for a node's writer: asks, which become groups, and reads of the store.
//!
//! Group commit lives here, in [`Inbox::next`]: when a sync is under way, asks gather until it is done; when none is, they gather until
//! as many wait as the last sync answered, for a short while at most, because callers that were answered together come
//! back together. Many that wait are worked out while a sync is under way, so that neither processor nor disk is idle.
//!
//! Must not know: what is asked.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Asks that may wait; more are refused.
pub const MAX_ASKS: usize = 4_096;
/// Reads that may wait.
pub const MAX_JOBS: usize = 64;
/// Asks in one group.
pub const GROUP_ASKS: usize = 1_024;
/// Groups that may be written and not yet synced.
const MAX_GROUPS: usize = 2;
/// So many asks are worked out while a sync is under way.
const AHEAD_ASKS: usize = 128;
/// Longest time that asks wait for others to come.
const PATIENCE: Duration = Duration::from_micros(800);

/// See the module.
#[derive(Debug)]
pub struct Inbox<A, J> {
    waiting: Mutex<Waiting<A, J>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Waiting<A, J> {
    asks: VecDeque<A>,
    jobs: VecDeque<J>,
    /// Groups that were handed to be synced, and are not yet.
    groups: usize,
    /// Asks that the last sync answered.
    answered: usize,
    closed: bool,
    /// Nobody takes from it any more.
    abandoned: bool,
}

/// What the writer does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<A, J> {
    /// Something to read.
    Job(J),
    /// Asks that make a group.
    Asks(Vec<A>),
    /// Nobody can ask any more, and everything is answered.
    End,
}

impl<A, J> Default for Inbox<A, J> {
    fn default() -> Self {
        let waiting = Waiting {
            asks: VecDeque::new(),
            jobs: VecDeque::new(),
            groups: 0,
            answered: 0,
            closed: false,
            abandoned: false,
        };
        Self { waiting: Mutex::new(waiting), changed: Condvar::new() }
    }
}

impl<A, J> Inbox<A, J> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<A, J>> {
        // A panic anywhere ends the process; what is here stays consistent between two calls.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an ask.
    ///
    /// # Errors
    /// The ask, when it can't wait here: the inbox is full, or closed (`true`).
    pub fn ask(&self, ask: A) -> Result<(), (A, bool)> {
        let mut waiting = self.waiting();
        if waiting.abandoned || waiting.asks.len() >= MAX_ASKS {
            let gone = waiting.abandoned;
            return Err((ask, gone));
        }
        waiting.asks.push_back(ask);
        drop(waiting);
        self.changed.notify_all();
        Ok(())
    }

    /// Adds something to read.
    ///
    /// # Errors
    /// The job, when it can't wait here: as [`Self::ask`].
    pub fn job(&self, job: J) -> Result<(), (J, bool)> {
        let mut waiting = self.waiting();
        if waiting.abandoned || waiting.jobs.len() >= MAX_JOBS {
            let gone = waiting.abandoned;
            return Err((job, gone));
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.changed.notify_all();
        Ok(())
    }

    /// Puts asks back that did not fit into a group: they are the next ones.
    pub fn put_back(&self, asks: impl DoubleEndedIterator<Item = A>) {
        let mut waiting = self.waiting();
        asks.rev().for_each(|ask| waiting.asks.push_front(ask));
    }

    /// Nobody can ask any more.
    pub fn close(&self) {
        self.waiting().closed = true;
        self.changed.notify_all();
    }

    /// Nobody takes from it any more: whoever asks is told so, and what waits is dropped, which its callers notice.
    pub fn abandon(&self) {
        let mut waiting = self.waiting();
        waiting.abandoned = true;
        waiting.asks.clear();
        waiting.jobs.clear();
        drop(waiting);
        self.changed.notify_all();
    }

    /// A group was handed to be synced.
    pub fn group_begun(&self) {
        self.waiting().groups += 1;
    }

    /// Groups were synced, and so many asks answered.
    pub fn groups_done(&self, groups: usize, answered: usize) {
        let mut waiting = self.waiting();
        waiting.groups -= groups;
        waiting.answered = answered;
        drop(waiting);
        self.changed.notify_all();
    }

    /// Groups that are handed to be synced.
    pub fn groups_under_way(&self) -> usize {
        self.waiting().groups
    }

    /// Waits for what is to be done next. `idle`: work that has no caller waits, so this may return with no asks.
    pub fn next(&self) -> Next<A, J> {
        let mut waiting = self.waiting();
        let mut patient_until: Option<Instant> = None;
        loop {
            if let Some(job) = waiting.jobs.pop_front() {
                return Next::Job(job);
            }
            let asks = waiting.asks.len();
            let mut wait = None;
            if waiting.abandoned || (asks == 0 && waiting.closed) {
                return Next::End;
            } else if asks > 0 && waiting.groups > 0 {
                if asks >= AHEAD_ASKS && waiting.groups < MAX_GROUPS {
                    return Next::Asks(take(&mut waiting));
                }
            } else if asks > 0 {
                let now = Instant::now();
                let until = *patient_until.get_or_insert(now + PATIENCE);
                if asks >= waiting.answered || waiting.closed || now >= until {
                    return Next::Asks(take(&mut waiting));
                }
                wait = Some(until - now);
            }
            waiting = match wait {
                Some(time) => {
                    let woken = self.changed.wait_timeout(waiting, time);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

fn take<A, J>(waiting: &mut Waiting<A, J>) -> Vec<A> {
    let count = waiting.asks.len().min(GROUP_ASKS);
    waiting.asks.drain(..count).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    type Numbers = Inbox<usize, &'static str>;

    #[test]
    fn reads_go_first_and_bounds_hold() {
        let inbox = Numbers::default();
        (0..MAX_ASKS).for_each(|n| inbox.ask(n).unwrap());
        assert_eq!(inbox.ask(9), Err((9, false)));
        (0..MAX_JOBS).for_each(|_| inbox.job("read").unwrap());
        assert_eq!(inbox.job("read"), Err(("read", false)));
        for _ in 0..MAX_JOBS {
            assert_eq!(inbox.next(), Next::Job("read"));
        }
        assert_eq!(inbox.next(), Next::Asks((0..GROUP_ASKS).collect()));
        inbox.put_back([7, 8].into_iter());
        inbox.close();
        assert_eq!(inbox.next(), Next::Asks([7, 8].into_iter().chain(GROUP_ASKS..2 * GROUP_ASKS - 2).collect()));
        inbox.abandon();
        assert_eq!((inbox.next(), inbox.ask(1)), (Next::End, Err((1, true))));
    }

    #[test]
    fn asks_gather_while_a_sync_is_under_way_and_many_are_worked_out_ahead() {
        let inbox = Arc::new(Numbers::default());
        inbox.group_begun();
        inbox.ask(1).unwrap();
        inbox.ask(2).unwrap();
        let writer = std::thread::spawn({
            let inbox = Arc::clone(&inbox);
            move || inbox.next()
        });
        inbox.ask(3).unwrap();
        // Whatever the writer saw so far, it took nothing: the sync is still under way.
        inbox.groups_done(1, 3);
        assert_eq!(writer.join().unwrap(), Next::Asks(vec![1, 2, 3]));
        inbox.group_begun();
        (0..AHEAD_ASKS).for_each(|n| inbox.ask(n).unwrap());
        assert_eq!(inbox.next(), Next::Asks((0..AHEAD_ASKS).collect()));
    }

    #[test]
    fn an_end_comes_when_nobody_can_ask_and_everything_is_taken() {
        let inbox = Numbers::default();
        inbox.ask(1).unwrap();
        inbox.close();
        assert_eq!(inbox.next(), Next::Asks(vec![1]));
        assert_eq!(inbox.next(), Next::End);
    }
}
