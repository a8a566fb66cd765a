//! Feed entries: made with their hash, and checked against the chain as they arrive.

use bytes::Bytes;
use prost::Message;
use stockmesh_types::{ChainHash, FeedId, chain_hash};

use crate::feed::v1::{EntryBody, FeedEntry, FeedPosition, FeedRef};

/// What is wrong with an entry that arrives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Entries are missing before it: the link resumes from the cursor.
    #[error("entry {got} of {feed} came where {expected} is next")]
    Gap {
        /// Feed.
        feed: FeedId,
        /// Sequence number that is next.
        expected: u64,
        /// The one that came.
        got: u64,
    },
    /// It does not continue the chain: a fork or damage. The feed is halted until a person has looked.
    #[error("entry {seq} of {feed} does not continue the hash chain: the feed is halted")]
    Forked {
        /// Feed.
        feed: FeedId,
        /// Sequence number.
        seq: u64,
    },
    /// Its body is no EntryBody.
    #[error("entry {seq} of {feed} can't be decoded: {error}")]
    Undecodable {
        /// Feed.
        feed: FeedId,
        /// Sequence number.
        seq: u64,
        /// Decoder's message.
        error: String,
    },
}

/// A place in a chain: the last sequence number, and the hash up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Last sequence number; 0: none yet.
    pub seq: u64,
    /// Chain hash up to it.
    pub hash: ChainHash,
}

impl Head {
    /// Before the first entry.
    pub const START: Self = Self { seq: 0, hash: ChainHash::START };

    /// Makes the next entry, and moves on to it.
    pub fn append(&mut self, feed: &FeedId, body: &EntryBody) -> FeedEntry {
        self.append_encoded(feed, Bytes::from(body.encode_to_vec()))
    }

    /// Makes the next entry of an encoded [`EntryBody`], and moves on to it.
    pub fn append_encoded(&mut self, feed: &FeedId, body: Bytes) -> FeedEntry {
        let seq = self.seq + 1;
        let hash = chain_hash(&self.hash, feed, seq, &body);
        *self = Self { seq, hash };
        FeedEntry { seq, body, hash: hash.0.to_vec() }
    }

    /// Checks that `entry` is the next one, and moves on to it. `Ok(None)` for one that is included already.
    ///
    /// # Errors
    /// See [`ChainError`]; the head does not move.
    pub fn accept(&mut self, feed: &FeedId, entry: &FeedEntry) -> Result<Option<EntryBody>, ChainError> {
        if entry.seq < self.seq {
            return Ok(None);
        }
        let forked = || ChainError::Forked { feed: feed.clone(), seq: entry.seq };
        if entry.seq == self.seq {
            return if entry.hash == self.hash.0 { Ok(None) } else { Err(forked()) };
        }
        if entry.seq != self.seq + 1 {
            return Err(ChainError::Gap { feed: feed.clone(), expected: self.seq + 1, got: entry.seq });
        }
        let hash = chain_hash(&self.hash, feed, entry.seq, &entry.body);
        if entry.hash != hash.0 {
            return Err(forked());
        }
        let body = EntryBody::decode(entry.body.clone()).map_err(|error| ChainError::Undecodable {
            feed: feed.clone(),
            seq: entry.seq,
            error: error.to_string(),
        })?;
        *self = Self { seq: entry.seq, hash };
        Ok(Some(body))
    }

    /// As sent.
    #[must_use]
    pub fn to_wire(self) -> FeedPosition {
        FeedPosition { seq: self.seq, hash: self.hash.0.to_vec() }
    }

    /// As received; a position without hash is taken as the start when its seq is 0. `None` when it is malformed.
    #[must_use]
    pub fn from_wire(position: &FeedPosition) -> Option<Self> {
        if position.seq == 0 && position.hash.is_empty() {
            return Some(Self::START);
        }
        Some(Self { seq: position.seq, hash: ChainHash::from_bytes(&position.hash)? })
    }
}

impl From<&FeedRef> for FeedId {
    fn from(feed: &FeedRef) -> Self {
        Self { participant: feed.participant.clone(), destination: feed.destination.clone(), epoch: feed.epoch }
    }
}

impl From<&FeedId> for FeedRef {
    fn from(feed: &FeedId) -> Self {
        Self { participant: feed.participant.clone(), destination: feed.destination.clone(), epoch: feed.epoch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed() -> FeedId {
        FeedId { participant: "node/dc-1".into(), destination: String::new(), epoch: 1 }
    }

    fn body(time_ms: i64) -> EntryBody {
        EntryBody { time_ms, ..EntryBody::default() }
    }

    #[test]
    fn a_reader_follows_a_writer_and_passes_over_repeats() {
        let (mut writer, mut reader) = (Head::START, Head::START);
        let first = writer.append(&feed(), &body(1));
        let second = writer.append(&feed(), &body(2));
        assert_eq!(reader.accept(&feed(), &first).unwrap(), Some(body(1)));
        assert_eq!(reader.accept(&feed(), &first).unwrap(), None);
        assert_eq!(reader.accept(&feed(), &second).unwrap(), Some(body(2)));
        assert_eq!(reader.accept(&feed(), &first).unwrap(), None);
        assert_eq!(reader, writer);
        assert_eq!(Head::from_wire(&reader.to_wire()), Some(reader));
    }

    #[test]
    fn gaps_forks_and_damage_are_told_apart_and_move_nothing() {
        let mut writer = Head::START;
        let first = writer.append(&feed(), &body(1));
        let second = writer.append(&feed(), &body(2));
        let mut reader = Head::START;
        assert!(matches!(reader.accept(&feed(), &second), Err(ChainError::Gap { expected: 1, got: 2, .. })));
        let other_feed = FeedId { epoch: 2, ..feed() };
        assert!(matches!(reader.accept(&other_feed, &first), Err(ChainError::Forked { seq: 1, .. })));
        reader.accept(&feed(), &first).unwrap();
        let mut start = Head::START;
        let fork = start.append(&feed(), &body(9));
        assert!(matches!(reader.accept(&feed(), &fork), Err(ChainError::Forked { seq: 1, .. })));
        let mut flipped = second.clone();
        flipped.body = Bytes::from_static(b"\xff\xff");
        assert!(matches!(reader.accept(&feed(), &flipped), Err(ChainError::Forked { seq: 2, .. })));
        assert_eq!(reader.seq, 1);
    }
}
