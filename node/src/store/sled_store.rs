//! The store on sled 0.34.7, with what that engine needs to be safe.
//!
//! - `flush()` is no fsync on Linux (it ends in `sync_file_range`): after it, `sync_data()` on a handle of our own on `<dir>/db`.
//! - A leftover `snap.*.generating` makes the store unopenable: it is removed before opening.
//! - The background flusher is off: nothing becomes durable that was not asked to.
//! - Values stay under 100 KiB, because longer ones go to files that `sync_data` on `db` does not cover.
//!
//! Must not know: keys, groups, markers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Batch, MAX_VALUE_BYTES, Store, StoreError};

/// Page cache of one store; its real use is a multiple of it.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// How long another holder of the store has to go: a process that ends, or an engine thread that is not quite done.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// A sled store in a folder. A clone is another handle on the same store.
#[derive(Clone, Debug)]
pub struct SledStore {
    db: sled::Db,
    /// Own handle on the engine's data file, to sync it for real.
    data: Arc<File>,
    data_path: PathBuf,
}

impl SledStore {
    /// Opens or creates the store in `dir`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(StoreError::file(dir))?;
        remove_unfinished_snapshots(dir)?;
        let db = open_when_free(dir)?;
        let data_path = dir.join("db");
        let data = Arc::new(File::open(&data_path).map_err(StoreError::file(&data_path))?);
        let store = Self { db, data, data_path };
        store.sync()?;
        // The names of the files must last as well as what is in them.
        sync_dir(dir)?;
        if let Some(parent) = dir.parent() {
            sync_dir(parent)?;
        }
        Ok(store)
    }
}

/// What sled leaves when it is killed while it writes a snapshot, and then stumbles over.
fn remove_unfinished_snapshots(dir: &Path) -> Result<(), StoreError> {
    for entry in std::fs::read_dir(dir).map_err(StoreError::file(dir))? {
        let path = entry.map_err(StoreError::file(dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            tracing::info!(file = %path.display(), "an unfinished snapshot of the store is removed");
            std::fs::remove_file(&path).map_err(StoreError::file(&path))?;
        }
    }
    Ok(())
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    // A relative path of one part has an empty parent, which is the working folder.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(StoreError::file(dir))
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get(key)?.map(|value| value.to_vec()))
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        for pair in self.db.range(from..to) {
            let (key, value) = pair?;
            if !visit(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut writes = sled::Batch::default();
        for (key, value) in batch {
            match value {
                Some(value) if value.len() > MAX_VALUE_BYTES => {
                    return Err(StoreError::ValueTooLong { bytes: value.len() });
                }
                Some(value) => writes.insert(key.as_slice(), value.as_slice()),
                None => writes.remove(key.as_slice()),
            }
        }
        Ok(self.db.apply_batch(writes)?)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        self.data.sync_data().map_err(StoreError::file(&self.data_path))
    }
}

/// Opens the engine, once whoever held it before has let it go.
fn open_when_free(dir: &Path) -> Result<sled::Db, StoreError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        match config.open() {
            // The engine tells a lock that is held in words only.
            Err(sled::Error::Io(error)) if error.to_string().contains("lock") && Instant::now() < deadline => {
                std::thread::sleep(LOCK_RETRY);
            }
            opened => return Ok(opened?),
        }
    }
}
