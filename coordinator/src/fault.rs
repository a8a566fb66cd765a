//! Faults: what a replica can't go on after. The process says what happened, and stops; it never skips an entry.

use stockmesh_coordinator_core::SnapshotError;

use crate::outbox::OutboxFault;
use crate::replica::ReplicaFault;
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
    /// The replica: its log, its members, its disk.
    #[error(transparent)]
    Replica(#[from] ReplicaFault),
    /// A peer has proof in the log that this replica must not go on.
    #[error("replica {peer} refused this one: {why}")]
    Refused {
        /// Who.
        peer: u64,
        /// Why.
        why: String,
    },
    /// This replica's state is not what the log makes of it elsewhere.
    #[error(
        "the state at log index {index} differs from that of replicas {others:?}, a majority: memory, disk or build of this \
         machine is wrong. Check the machine, then replace this replica: remove it, and add a new one under a new id"
    )]
    Diverged {
        /// Log index.
        index: u64,
        /// Replicas that agree with each other.
        others: Vec<u64>,
    },
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
