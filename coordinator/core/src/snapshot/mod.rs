//! Snapshots: the whole state as named, versioned, checksummed chunks of bytes, and back.
//!
//! ```text
//!   head              group, indices, counts of everything that follows
//!   feeds/00000000    records of one kind, in dense order, cut at CHUNK_BYTES
//!   items, nodes, keys (with cells), orders, lines, allocations, shortfalls, requests
//!   rights, lives, works, substitutes, policies, velocities   kinds that later releases added: the head counts them behind the others
//!   supply            tagged records, added to the first format: none where there is nothing of it
//!   tail              SHA-256 over all checksums before it
//! ```
//!
//! Taking one shares every chunk of the state and stops nothing. The same state gives the same bytes on every replica.
//! Must not know: where chunks are kept, how they travel.

mod codec;
mod head;
mod records;
mod restore;
mod supply;

use std::borrow::Borrow;

use prost::bytes::Bytes;
use sha2::{Digest, Sha256};
use stockmesh_types::LogTime;

pub(crate) use self::codec::{Reader, Writer, Wrong};
use self::head::Head;
#[cfg(test)]
pub(crate) use self::head::first_release_head;
pub(crate) use self::records::Saved;
use crate::State;

/// The version of the chunks that this build writes.
pub const SNAPSHOT_VERSION: u32 = 1;

/// A chunk is cut at the record that reaches this many bytes. Records are far smaller, but for the order with most lines
/// (some 400 KB) and the stock key with most nodes.
pub const CHUNK_BYTES: usize = 192 * 1024;

/// The state at one log index, apart from the state that goes on.
#[derive(Clone, Debug)]
pub struct Snapshot(State);

/// A piece of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// What it holds and its number: `orders/00000012`. Unique within the snapshot; chunks are restored in the order given.
    pub name: String,
    /// Layout of the bytes.
    pub version: u32,
    /// SHA-256 of name, version and bytes: see [`SnapshotChunk::checksum_of`].
    pub checksum: [u8; 32],
    /// The records.
    pub bytes: Bytes,
}

/// Why a snapshot can't be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The bytes are not those that were written.
    #[error("chunk {name} of the snapshot is damaged: its checksum differs")]
    Damaged {
        /// Chunk.
        name: String,
    },
    /// Written by another version of this software.
    #[error("chunk {name} has version {version}, and this build reads {SNAPSHOT_VERSION}")]
    Version {
        /// Chunk.
        name: String,
        /// Its version.
        version: u32,
    },
    /// A chunk is missing, doubled or out of place.
    #[error("the snapshot is incomplete: chunk {expected} is missing where {got} came")]
    Incomplete {
        /// Chunk that is next.
        expected: String,
        /// Chunk that came, or "the end".
        got: String,
    },
    /// The checksum is right and the records are not: written by faulty software.
    #[error("chunk {name} of the snapshot can't be read: {what}")]
    Malformed {
        /// Chunk.
        name: String,
        /// What is wrong.
        what: String,
    },
}

impl SnapshotChunk {
    fn new(name: String, bytes: Vec<u8>) -> Self {
        let bytes = Bytes::from(bytes);
        let checksum = Self::checksum_of(&name, SNAPSHOT_VERSION, &bytes);
        Self { name, version: SNAPSHOT_VERSION, checksum, bytes }
    }

    /// SHA-256 of the name's length (4 bytes, big-endian), the name, the version (4 bytes) and the bytes.
    #[must_use]
    pub fn checksum_of(name: &str, version: u32, bytes: &[u8]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        // Names are short; one that is not has another checksum than any that was written.
        hasher.update(u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes());
        hasher.update(name.as_bytes());
        hasher.update(version.to_be_bytes());
        hasher.update(bytes);
        hasher.finalize().into()
    }

    /// Whether the bytes are those that were written.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.checksum == Self::checksum_of(&self.name, self.version, &self.bytes)
    }
}

impl State {
    /// The state as it is now; cheap, and unaffected by what is applied later.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.clone())
    }
}

impl Snapshot {
    /// Log index up to which it holds everything.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.0.applied_index
    }

    /// Log time at that index.
    #[must_use]
    pub fn log_time(&self) -> LogTime {
        self.0.log_time
    }

    /// The state's running digest at that index.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.0.digest
    }

    /// The state, for reads.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.0
    }

    /// Its chunks, made one by one as they are asked for, in the order in which [`State::restore`] takes them.
    pub fn chunks(&self) -> impl Iterator<Item = SnapshotChunk> {
        let state = &self.0;
        let mut head = Writer::default();
        Head::of(state).write(&mut head);
        let mut seal = Sha256::new();
        let chunks = std::iter::once(SnapshotChunk::new("head".to_owned(), head.bytes))
            .chain(cut("feeds", state.destinations.iter()))
            .chain(cut("items", state.items.iter()))
            .chain(cut("nodes", state.nodes.iter()))
            .chain(cut("keys", state.keys.iter()))
            .chain(cut("orders", state.orders.iter()))
            .chain(cut("lines", state.lines.iter()))
            .chain(cut("allocations", state.allocations.iter()))
            .chain(cut("shortfalls", state.shortfalls.iter().map(|(cell, ())| cell)))
            .chain(cut("requests", state.requests.iter()))
            .chain(cut("rights", state.recovery.nodes.iter()))
            .chain(cut_owned::<_, (u32, u32, u32)>("lives", state.lives()))
            .chain(cut("works", state.recovery.works.iter()))
            .chain(cut("substitutes", state.recovery.substitutes.iter()))
            .chain(cut("policies", state.recovery.policy.policies.iter()))
            .chain(cut("velocities", state.recovery.policy.velocities.iter()))
            .chain(cut_owned::<_, supply::SupplyRecord>("supply", supply::records(state)))
            .map(Some)
            .chain(std::iter::once(None));
        chunks.map(move |chunk| match chunk {
            Some(chunk) => {
                seal.update(chunk.checksum);
                chunk
            }
            None => SnapshotChunk::new("tail".to_owned(), seal.finalize_reset().to_vec()),
        })
    }
}

/// Records of one kind in chunks. A kind without records has no chunk.
fn cut<'a, T: Saved + 'a>(
    kind: &'static str,
    records: impl Iterator<Item = &'a T>,
) -> impl Iterator<Item = SnapshotChunk> {
    cut_owned::<&T, T>(kind, records)
}

/// The same for records that are put together as they are written.
fn cut_owned<T: Borrow<R>, R: Saved>(
    kind: &'static str,
    records: impl Iterator<Item = T>,
) -> impl Iterator<Item = SnapshotChunk> {
    let mut records = records.peekable();
    (0..).map_while(move |number: u64| {
        records.peek()?;
        let mut writer = Writer::default();
        while writer.bytes.len() < CHUNK_BYTES {
            let Some(record) = records.next() else { break };
            record.borrow().write(&mut writer);
        }
        Some(SnapshotChunk::new(format!("{kind}/{number:08}"), writer.bytes))
    })
}
