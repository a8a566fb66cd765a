//! The hash chain of feeds: what makes a gap, a change or a fork of history show.
//!
//! Anyone can recompute it with a SHA-256 tool; the bytes hashed are those of the entry as received.

use std::fmt;

use sha2::{Digest, Sha256};

/// A SHA-256 chain hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// Hash before the first entry.
    pub const START: Self = Self([0; 32]);

    /// From bytes; `None` unless there are 32.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names one feed: its writer, for whom it is, and the life of the writer's history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedId {
    /// `node/<id>`, `coordinator/<group>`, `finance/<id>`.
    pub participant: String,
    /// Empty: everyone.
    pub destination: String,
    /// Epoch of a node, incarnation of a coordinator group.
    pub epoch: u64,
}

impl fmt::Display for FeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.participant)?;
        if !self.destination.is_empty() {
            write!(f, " -> {}", self.destination)?;
        }
        write!(f, " (epoch {})", self.epoch)
    }
}

/// The hash of entry `seq` with `body`, whose predecessor has `previous`.
///
/// # Panics
/// When a participant's name is longer than 4 GiB.
#[must_use]
pub fn chain_hash(previous: &ChainHash, feed: &FeedId, seq: u64, body: &[u8]) -> ChainHash {
    let mut hasher = Sha256::new();
    hasher.update(b"stockmesh-feed-v1");
    hasher.update(previous.0);
    for text in [&feed.participant, &feed.destination] {
        hasher.update(u32::try_from(text.len()).expect("a name shorter than 4 GiB").to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(feed.epoch.to_be_bytes());
    hasher.update(seq.to_be_bytes());
    hasher.update(body);
    ChainHash(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed() -> FeedId {
        FeedId { participant: "node/dc-1".into(), destination: String::new(), epoch: 1 }
    }

    #[test]
    fn every_part_of_an_entry_is_in_its_hash() {
        let base = chain_hash(&ChainHash::START, &feed(), 1, b"body");
        let others = [
            chain_hash(&base, &feed(), 1, b"body"),
            chain_hash(&ChainHash::START, &feed(), 2, b"body"),
            chain_hash(&ChainHash::START, &feed(), 1, b"bodY"),
            chain_hash(&ChainHash::START, &FeedId { epoch: 2, ..feed() }, 1, b"body"),
            chain_hash(&ChainHash::START, &FeedId { participant: "node/dc-2".into(), ..feed() }, 1, b"body"),
            chain_hash(&ChainHash::START, &FeedId { destination: "x".into(), ..feed() }, 1, b"body"),
        ];
        assert!(others.iter().all(|other| *other != base));
    }

    #[test]
    fn the_hash_is_what_any_sha_256_tool_gives() {
        // printf 'stockmesh-feed-v1' + 32 zero bytes + 00000009 'node/dc-1' + 00000000 + epoch + seq + 'body' | sha256sum
        let hash = chain_hash(&ChainHash::START, &feed(), 1, b"body");
        assert_eq!(hash.to_string(), EXPECTED);
    }

    const EXPECTED: &str = "c0fc39e3412133ff7940d3bcbdeb160623f5b037d6c75a4054f4727e92ed5c40";
}
