//! Room on the disk: a ballast file, and a low-water mark below which a node only reads.
//!
//! On a full disk sled fails for good, and even opening it fails. So writes stop while there is room left, and the ballast is a
//! file that an operator may delete to start a node whose disk is full all the same.
//!
//! Must not know: what is written.

use std::io::Write;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::StoreError;

/// Size of the ballast file.
pub const BALLAST_BYTES: u64 = 16 * 1024 * 1024;
/// Room below which a node only reads.
pub const LOW_WATER_BYTES: u64 = 64 * 1024 * 1024;

/// Says how many bytes there is room for.
pub type Gauge = Box<dyn Fn() -> Result<u64, StoreError> + Send + Sync>;

/// Room on the disk that holds `dir`, for users other than root.
#[must_use]
pub fn disk(dir: PathBuf) -> Gauge {
    Box::new(move || {
        let found = statvfs(&dir).map_err(|error| StoreError::file(&dir)(error.into()))?;
        // Both are counts of what a disk has: they fit into 64 bits, and so does their product.
        #[allow(clippy::unnecessary_cast)]
        Ok((found.blocks_available() as u64).saturating_mul(found.fragment_size() as u64))
    })
}

/// Makes the ballast file, if it is not there and there is room for it.
///
/// # Errors
/// [`StoreError`].
pub fn keep_ballast(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join("ballast");
    let there = std::fs::metadata(&path).is_ok_and(|found| found.len() >= BALLAST_BYTES);
    if there {
        return Ok(());
    }
    if disk(dir.to_owned())()? < LOW_WATER_BYTES + BALLAST_BYTES {
        tracing::warn!(file = %path.display(), "the disk has no room for the ballast file: free some");
        return Ok(());
    }
    let zeros = vec![0; 1024 * 1024];
    let write = || {
        let mut file = std::fs::File::create(&path)?;
        for _ in 0..BALLAST_BYTES / zeros.len() as u64 {
            file.write_all(&zeros)?;
        }
        file.sync_all()
    };
    write().map_err(StoreError::file(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ballast_is_made_once_and_the_disk_has_some_room() {
        let dir = tempfile::tempdir().unwrap();
        keep_ballast(dir.path()).unwrap();
        keep_ballast(dir.path()).unwrap();
        assert_eq!(std::fs::metadata(dir.path().join("ballast")).unwrap().len(), BALLAST_BYTES);
        assert!(disk(dir.path().to_owned())().unwrap() > 0);
        assert!(disk(dir.path().join("nowhere"))().is_err());
    }
}
