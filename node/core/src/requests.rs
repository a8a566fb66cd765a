//! The memory of requests: a repeat gets the first answer, and is never executed again.
//!
//! Kept: the id and a hash of the body of every request that had an effect (rejects have none, and may be sent again with the
//! same id), for 24 hours by the time in the id, at most [`CAPACITY`] of them. Answers are in the store, beside the id; about
//! 50 bytes a request are in memory, 50 MB at the very most. What is evicted raises a mark in time (`forgotten_upto_ms`, durable):
//! a request that is not remembered and is not younger than the mark is refused, never executed. So clocks that jump can make
//! requests expire early, but never make one happen twice.
//!
//! Must not know: a clock. What the time is comes with each command.

use std::collections::BTreeMap;

use stockmesh_types::{LogTime, Reason, Reject, RequestId};

/// How long a request is remembered, by the time in its id.
pub const REMEMBERED_MS: i64 = 24 * 60 * 60 * 1_000;
/// How far ahead of the node's clock the time in an id may be.
pub const AHEAD_MS: i64 = 5 * 60 * 1_000;
/// Requests remembered at most; the oldest go first.
pub const CAPACITY: usize = 1_000_000;
/// Requests that one new request may push out: the work stays bounded, and the memory shrinks all the same.
const EVICTED_AT_ONCE: usize = 4;

/// First 16 bytes of the SHA-256 of a request's encoded body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyHash(pub [u8; 16]);

/// Whether a request is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recall {
    /// Never seen: execute it.
    New,
    /// Seen, with the same body: give its answer again.
    Repeated,
}

/// The requests of the last 24 hours.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RequestMemory {
    remembered: BTreeMap<RequestId, BodyHash>,
    /// No request of this time or before is new.
    pub(crate) forgotten_upto_ms: i64,
    capacity: usize,
}

impl RequestMemory {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { remembered: BTreeMap::new(), forgotten_upto_ms: i64::MIN, capacity }
    }

    pub(crate) fn recall(&self, now: LogTime, id: RequestId, body: BodyHash) -> Result<Recall, Reject> {
        if id.time_ms() > now.0 + AHEAD_MS {
            return Err(Reject::new(
                Reason::InvalidRequestId,
                "request_id lies more than 5 minutes in the future: set the clock of the machine that drew it",
            )
            .field("request_id"));
        }
        let expired = || {
            Err(Reject::new(
                Reason::RequestExpired,
                "request_id is older than what is remembered: look whether it took effect, then send a new one",
            )
            .field("request_id"))
        };
        if id.time_ms() < now.0 - REMEMBERED_MS {
            return expired();
        }
        match self.remembered.get(&id) {
            Some(known) if *known == body => Ok(Recall::Repeated),
            Some(_) => {
                Err(Reject::new(Reason::RequestIdReused, format!("request_id {id} was used for another request"))
                    .field("request_id"))
            }
            None if id.time_ms() <= self.forgotten_upto_ms => expired(),
            None => Ok(Recall::New),
        }
    }

    /// Requests to forget when one more is remembered, oldest first.
    pub(crate) fn evictions(&self, now: LogTime) -> Vec<RequestId> {
        let excess = (self.remembered.len() + 1).saturating_sub(self.capacity);
        self.remembered
            .keys()
            .enumerate()
            .take_while(|(n, id)| *n < excess || id.time_ms() < now.0 - REMEMBERED_MS)
            .map(|(_, id)| *id)
            .take(EVICTED_AT_ONCE)
            .collect()
    }

    pub(crate) fn remember(&mut self, id: RequestId, body: BodyHash) {
        self.remembered.insert(id, body);
    }

    pub(crate) fn forget(&mut self, id: RequestId) {
        self.remembered.remove(&id);
    }

    pub(crate) fn len(&self) -> usize {
        self.remembered.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UUIDv7 of a time, with a number in its random part.
    fn id(time_ms: i64, n: u8) -> RequestId {
        let time = u64::try_from(time_ms).unwrap();
        RequestId::new(&format!("{:08x}-{:04x}-7000-8000-0000000000{n:02x}", time >> 16, time & 0xffff)).unwrap()
    }

    const DAY: i64 = REMEMBERED_MS;
    const BODY: BodyHash = BodyHash([1; 16]);
    const OTHER: BodyHash = BodyHash([2; 16]);

    #[test]
    fn which_answer_wins() {
        let now = LogTime(10 * DAY);
        let mut memory = RequestMemory::new(10);
        memory.remember(id(now.0 - 5, 1), BODY);
        memory.remember(id(now.0 - DAY - 1, 2), BODY);
        memory.forgotten_upto_ms = now.0 - 1_000;
        memory.remember(id(now.0 - 2_000, 3), BODY);
        let cases = [
            (id(now.0, 1), BODY, Ok(Recall::New)),
            (id(now.0 - 5, 1), BODY, Ok(Recall::Repeated)),
            (id(now.0 - 5, 1), OTHER, Err(Reason::RequestIdReused)),
            (id(now.0 - 5, 2), BODY, Ok(Recall::New)),
            // Older than 24 hours: refused even while it is still remembered.
            (id(now.0 - DAY - 1, 2), BODY, Err(Reason::RequestExpired)),
            (id(now.0 - DAY - 1, 9), BODY, Err(Reason::RequestExpired)),
            // Not younger than the mark: a repeat is answered, anything else refused.
            (id(now.0 - 2_000, 3), BODY, Ok(Recall::Repeated)),
            (id(now.0 - 2_000, 4), BODY, Err(Reason::RequestExpired)),
            (id(now.0 - 1_000, 4), BODY, Err(Reason::RequestExpired)),
            (id(now.0 - 999, 4), BODY, Ok(Recall::New)),
            // Clocks differ a little, not a lot.
            (id(now.0 + AHEAD_MS, 4), BODY, Ok(Recall::New)),
            (id(now.0 + AHEAD_MS + 1, 4), BODY, Err(Reason::InvalidRequestId)),
        ];
        for (n, (id, body, expected)) in cases.into_iter().enumerate() {
            assert_eq!(memory.recall(now, id, body).map_err(|reject| reject.reason), expected, "case {n}");
        }
    }

    #[test]
    fn the_oldest_go_first_and_the_memory_stays_within_its_capacity() {
        let mut memory = RequestMemory::new(3);
        for n in 0..20_u8 {
            let now = LogTime(DAY + i64::from(n));
            let gone = memory.evictions(now);
            assert_eq!(gone, if n < 3 { vec![] } else { vec![id(DAY + i64::from(n) - 3, n - 3)] });
            gone.into_iter().for_each(|id| memory.forget(id));
            memory.remember(id(now.0, n), BODY);
            assert!(memory.len() <= 3);
        }
        // Two days later all of them are too old, and go a few at a time.
        assert_eq!(memory.evictions(LogTime(4 * DAY)).len(), 3);
    }
}
