//! Faults: what a replica can't go on after. The process says what happened, and stops; it never skips an entry.

use stockmesh_coordinator_core::SnapshotError;

use crate::outbox::OutboxFault;
use crate::storage::StorageFault;

/// Why the replica stopped.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Disk.
    #[error(transparent)]
    Storage(#[from] StorageFault),
    /// A feed of our own.
    #[error(transparent)]
    Outbox(#[from] OutboxFault),
    /// The state machine refused a log entry.
    #[error("applying the log: {0}")]
    Apply(#[from] stockmesh_coordinator_core::Fault),
    /// A snapshot on disk, whose checksums are right, is no state.
    #[error("loading a snapshot: {0}")]
    Snapshot(#[from] SnapshotError),
    /// Raft.
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
    /// A log entry is no `LogEntry`.
    #[error("log entry {index} can't be decoded: {error}")]
    Undecodable {
        /// Log index.
        index: u64,
        /// Decoder's message.
        error: prost::DecodeError,
    },
    /// A thread could not be started.
    #[error("could not start a thread: {0}")]
    Thread(std::io::Error),
}
