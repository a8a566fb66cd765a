//! Whose disk this is. A folder that is started under another replica's id would vote twice in one term.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{StorageFault, make_folder, sync_folder};

/// Group, incarnation and replica that a data folder belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Format of the whole folder.
    pub format: u32,
    /// Coordinator group.
    pub group: u32,
    /// Life of the group.
    pub incarnation: u32,
    /// Raft id.
    pub replica_id: u64,
}

/// The format that this build reads and writes.
pub const FORMAT: u32 = 1;

/// Checks the folder's identity, or gives a fresh folder this one.
///
/// # Errors
/// I/O, and [`StorageFault::WrongIdentity`] when the folder belongs to another.
pub fn claim(data_dir: &Path, identity: Identity) -> Result<(), StorageFault> {
    make_folder(data_dir)?;
    let path = data_dir.join("identity.json");
    match std::fs::read(&path) {
        Ok(bytes) => {
            let found: Identity = serde_json::from_slice(&bytes)
                .map_err(|error| StorageFault::Corrupt(format!("{} can't be read: {error}", path.display())))?;
            if found == identity {
                return Ok(());
            }
            Err(StorageFault::WrongIdentity(format!(
                "{} belongs to group {} incarnation {} replica {} (format {}), and the configuration says group {} \
                 incarnation {} replica {} (format {}): give this replica its own data_dir",
                data_dir.display(),
                found.group,
                found.incarnation,
                found.replica_id,
                found.format,
                identity.group,
                identity.incarnation,
                identity.replica_id,
                identity.format
            )))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let fresh = data_dir.join("identity.json.new");
            let text = serde_json::to_vec_pretty(&identity)
                .map_err(|error| StorageFault::Corrupt(format!("identity can't be written: {error}")))?;
            std::fs::File::create(&fresh)
                .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
                .and_then(|()| std::fs::rename(&fresh, &path))
                .map_err(StorageFault::io("could not write", &path))?;
            sync_folder(data_dir)
        }
        Err(error) => Err(StorageFault::io("could not read", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_refused_under_another_identity() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity { format: FORMAT, group: 1, incarnation: 1, replica_id: 2 };
        claim(folder.path(), identity).unwrap();
        claim(folder.path(), identity).unwrap();
        let other = claim(folder.path(), Identity { replica_id: 3, ..identity }).unwrap_err();
        assert!(matches!(other, StorageFault::WrongIdentity(_)), "{other}");
    }
}
