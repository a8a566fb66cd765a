//! What a replica keeps on disk, apart from its feeds.
//!
//! ```text
//!   <data_dir>/identity.json            whose disk this is: group, incarnation, replica
//!   <data_dir>/log/                     raft-engine: entries, term, vote, commit, members      [`log`]
//!   <data_dir>/snapshots/<index>-<term>/    the state at an index, in checksummed files        [`snapshots`]
//!   <data_dir>/outbox/<destination>/    the coordinator's own feeds                            `crate::outbox`
//! ```
//!
//! The state at a restart is the newest good snapshot and the replay of the log behind it; the state itself is nowhere
//! else. Nothing here knows what a command or a state means.

pub mod identity;
pub mod log;
pub mod manifest;
pub mod snapshots;
mod sums;

use std::fs::File;
use std::path::{Path, PathBuf};

/// I/O failed, or what is on disk can't be true. The process stops; nothing is skipped or mended by guessing.
#[derive(Debug, thiserror::Error)]
pub enum StorageFault {
    /// The operating system said no.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The log refused.
    #[error("log: {0}")]
    Engine(#[from] raft_engine::Error),
    /// Raft refused what the log holds.
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
    /// Something on disk does not decode, or contradicts itself.
    #[error("{0}")]
    Corrupt(String),
    /// The disk belongs to another replica.
    #[error("{0}")]
    WrongIdentity(String),
}

impl StorageFault {
    /// Wraps an I/O error with what was tried.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// Makes the names in a folder durable: a file that was made or renamed is only there after this.
///
/// # Errors
/// I/O.
pub fn sync_folder(folder: &Path) -> Result<(), StorageFault> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(StorageFault::io("could not sync folder", folder))
}

/// Makes a folder with its parents.
///
/// # Errors
/// I/O.
pub fn make_folder(folder: &Path) -> Result<(), StorageFault> {
    std::fs::create_dir_all(folder).map_err(StorageFault::io("could not make folder", folder))
}
