//! The memory of requests: a repeat gets the first answer, and is never executed again.
//!
//! Kept in the store, with the answer: the id and a hash of the body of every request that had an effect (rejects have none, and
//! may be sent again with the same id), for 24 hours by the time in the id, at most [`CAPACITY`] of them. In memory are their number
//! and the oldest id. What is evicted raises a mark in time (`forgotten_upto_ms`, durable): a request that is not remembered and is
//! not younger than the mark is refused, never executed. So clocks that jump can make requests expire early, but never make one
//! happen twice.
//!
//! Must not know: a clock. What the time is comes with each command.

use stockmesh_types::{LogTime, Reason, Reject, RequestId};

use crate::archive::Archive;
use crate::effects::RequestStamp;

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

/// What becomes of a request whose id is remembered with the body `known`, or not remembered.
pub(crate) fn recall(
    now: LogTime,
    RequestStamp { id, body }: RequestStamp,
    known: Option<BodyHash>,
    forgotten_upto_ms: i64,
) -> Result<Recall, Reject> {
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
    match known {
        Some(known) if known == body => Ok(Recall::Repeated),
        Some(_) => Err(Reject::new(Reason::RequestIdReused, format!("request_id {id} was used for another request"))
            .field("request_id")),
        None if id.time_ms() <= forgotten_upto_ms => expired(),
        None => Ok(Recall::New),
    }
}

/// How many requests are remembered, and which goes next.
#[derive(Clone, Debug)]
pub(crate) struct RequestMemory {
    capacity: u64,
    /// Time of the oldest one remembered, once it was looked up: spares a look at the archive for each request.
    oldest_ms: Option<i64>,
}

/// What was looked up before is no part of a state: a state that was just rebuilt has looked up nothing.
impl PartialEq for RequestMemory {
    fn eq(&self, other: &Self) -> bool {
        self.capacity == other.capacity
    }
}

impl RequestMemory {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity: capacity as u64, oldest_ms: None }
    }

    /// Requests to forget when `id` is remembered beside `remembered` others, oldest first.
    pub(crate) fn evictions(
        &mut self,
        now: LogTime,
        id: RequestId,
        remembered: u64,
        archive: &dyn Archive,
    ) -> Vec<RequestId> {
        let excess = usize::try_from((remembered + 1).saturating_sub(self.capacity)).unwrap_or(usize::MAX);
        let too_old = now.0 - REMEMBERED_MS;
        if excess == 0 && self.oldest_ms.is_some_and(|oldest| oldest >= too_old) {
            self.oldest_ms = self.oldest_ms.map(|oldest| oldest.min(id.time_ms()));
            return Vec::new();
        }
        let mut oldest = archive.oldest_requests(EVICTED_AT_ONCE + 1).into_iter().enumerate().peekable();
        let mut gone = Vec::new();
        while let Some((_, id)) =
            oldest.next_if(|(n, id)| *n < EVICTED_AT_ONCE && (*n < excess || id.time_ms() < too_old))
        {
            gone.push(id);
        }
        let left = oldest.peek().map_or(id.time_ms(), |(_, left)| left.time_ms());
        self.oldest_ms = Some(left.min(id.time_ms()));
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::change::{Change, CorruptValue};

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
        let forgotten_upto_ms = now.0 - 1_000;
        let remembered = [id(now.0 - 5, 1), id(now.0 - DAY - 1, 2), id(now.0 - 2_000, 3)];
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
            let known = remembered.contains(&id).then_some(BODY);
            let got = recall(now, RequestStamp { id, body }, known, forgotten_upto_ms);
            assert_eq!(got.map_err(|reject| reject.reason), expected, "case {n}");
        }
    }

    #[derive(Default)]
    struct Kept(BTreeMap<Vec<u8>, Vec<u8>>);

    impl Kept {
        fn remember(&mut self, id: RequestId) {
            let (key, value) = Change::Request(id, BODY, Vec::new()).encode();
            self.0.insert(key, value.unwrap());
        }

        fn forget(&mut self, id: RequestId) {
            self.0.remove(&Change::ForgetRequest(id).encode().0);
        }
    }

    impl Archive for Kept {
        fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
            self.0.get(key).cloned()
        }

        fn scan(&self, from: &[u8], to: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
            let _ = self.0.range(from.to_vec()..to.to_vec()).all(|(key, value)| visit(key, value));
        }

        fn damaged(&self, what: &CorruptValue) {
            panic!("{what}");
        }
    }

    #[test]
    fn the_oldest_go_first_and_the_memory_stays_within_its_capacity() {
        let (mut memory, mut kept) = (RequestMemory::new(3), Kept::default());
        for n in 0..20_u8 {
            let now = LogTime(DAY + i64::from(n));
            let new = id(now.0, n);
            let gone = memory.evictions(now, new, kept.0.len() as u64, &kept);
            assert_eq!(gone, if n < 3 { vec![] } else { vec![id(DAY + i64::from(n) - 3, n - 3)] });
            gone.into_iter().for_each(|id| kept.forget(id));
            kept.remember(new);
            assert!(kept.0.len() <= 3);
        }
        // Two days later all of them are too old, and go a few at a time.
        let now = LogTime(4 * DAY);
        let mut larger = RequestMemory::new(9);
        assert_eq!(larger.evictions(now, id(now.0, 50), 3, &kept).len(), 3);
        // One that comes with an older time than any other goes first.
        let (mut memory, mut kept) = (RequestMemory::new(9), Kept::default());
        for (time, n) in [(now.0, 1), (now.0 - DAY + 10, 2)] {
            assert!(memory.evictions(now, id(time, n), kept.0.len() as u64, &kept).is_empty());
            kept.remember(id(time, n));
        }
        let later = LogTime(now.0 + 20);
        assert_eq!(memory.evictions(later, id(later.0, 3), 2, &kept), [id(now.0 - DAY + 10, 2)]);
    }
}
