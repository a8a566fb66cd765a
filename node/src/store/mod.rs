//! Durable storage behind one trait, so that tests can run on a store that loses what was not synced.
//!
//! One flat space of keys (see [`stockmesh_node_core::keys`]); a batch is atomic, and durable only after [`Store::sync`].
//! Errors are sticky and end the process: a store that failed once is not asked again.
//!
//! Must not know: what the keys mean.

pub mod marker;
pub mod sled_store;
pub mod space;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use marker::{Mark, MarkerFile};
pub use sled_store::SledStore;

/// Writes that become visible together: a value, or `None` to remove the key. A later write of a key replaces an earlier one.
pub type Batch = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Longest value: sled keeps longer ones in files of their own, beside the one that is synced.
pub const MAX_VALUE_BYTES: usize = 100 * 1024;

/// A fault of storage: the process stops.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine failed.
    #[error("the store failed: {0}")]
    Engine(#[from] sled::Error),
    /// A file failed.
    #[error("{path}: {error}")]
    File {
        /// File.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A value can't be read.
    #[error("the store is damaged: {0}. Restore it from a backup")]
    Damaged(String),
    /// A value is too long for the store.
    #[error("a value of {bytes} bytes is longer than {MAX_VALUE_BYTES}")]
    ValueTooLong {
        /// Length.
        bytes: usize,
    },
}

impl StoreError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| Self::File { path, error }
    }
}

/// A store of key values. One thread writes; syncing and reading may go on beside it.
pub trait Store: Send + Sync + 'static {
    /// The value of a key.
    ///
    /// # Errors
    /// [`StoreError`].
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Visits keys in `from..to`, in order, until `visit` returns false.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError>;

    /// Writes atomically. What was written is visible at once, and durable after the next [`Self::sync`].
    ///
    /// # Errors
    /// [`StoreError`].
    fn write(&self, batch: &Batch) -> Result<(), StoreError>;

    /// Makes every write so far durable. One that comes while this runs may be durable or not, as a whole.
    ///
    /// # Errors
    /// [`StoreError`].
    fn sync(&self) -> Result<(), StoreError>;
}
