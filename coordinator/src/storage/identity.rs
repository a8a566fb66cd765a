//! Whose disk this is. A folder that is started under another replica's id would vote twice in one term.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::snapshots::hex;
use super::{StorageFault, make_folder, sync_folder};
use crate::replica::members::StoreId;

/// Group, incarnation and replica that a data folder belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// `identity.json`. The first release wrote it without the store.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnDisk {
    format: u32,
    group: u32,
    incarnation: u32,
    replica_id: u64,
    /// Hexadecimal; empty: not drawn yet.
    #[serde(default)]
    store: String,
}

/// Checks the folder's identity, or gives a fresh folder this one. Gives the identity of the disk itself, which `draw` makes
/// for a folder that has none yet.
///
/// # Errors
/// I/O, and [`StorageFault::WrongIdentity`] when the folder belongs to another.
pub fn claim(
    data_dir: &Path,
    identity: Identity,
    draw: impl FnOnce() -> std::io::Result<StoreId>,
) -> Result<StoreId, StorageFault> {
    make_folder(data_dir)?;
    let path = data_dir.join("identity.json");
    match std::fs::read(&path) {
        Ok(bytes) => {
            let wrong = |what: String| StorageFault::Corrupt(format!("{} can't be read: {what}", path.display()));
            let OnDisk { format, group, incarnation, replica_id, store } =
                serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
            let found = Identity { format, group, incarnation, replica_id };
            if found != identity {
                return Err(StorageFault::WrongIdentity(format!(
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
                )));
            }
            if store.is_empty() {
                return write(data_dir, identity, draw);
            }
            store_of(&store).ok_or_else(|| wrong("the store is not 16 bytes in hexadecimal".to_owned()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => write(data_dir, identity, draw),
        Err(error) => Err(StorageFault::io("could not read", &path)(error)),
    }
}

fn write(
    data_dir: &Path,
    identity: Identity,
    draw: impl FnOnce() -> std::io::Result<StoreId>,
) -> Result<StoreId, StorageFault> {
    let path = data_dir.join("identity.json");
    let store = draw().map_err(StorageFault::io("could not draw an identity for", data_dir))?;
    let Identity { format, group, incarnation, replica_id } = identity;
    let on_disk = OnDisk { format, group, incarnation, replica_id, store: hex(&store) };
    let text = serde_json::to_vec_pretty(&on_disk)
        .map_err(|error| StorageFault::Corrupt(format!("identity can't be written: {error}")))?;
    let fresh = data_dir.join("identity.json.new");
    std::fs::File::create(&fresh)
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&fresh, &path))
        .map_err(StorageFault::io("could not write", &path))?;
    sync_folder(data_dir)?;
    Ok(store)
}

/// 16 random bytes from the operating system.
///
/// # Errors
/// I/O.
pub fn draw() -> std::io::Result<StoreId> {
    use std::io::Read;
    let mut store = StoreId::default();
    std::fs::File::open("/dev/urandom")?.read_exact(&mut store)?;
    Ok(store)
}

/// Reads a store's identity from its hexadecimal form.
#[must_use]
pub fn store_of(text: &str) -> Option<StoreId> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut store = StoreId::default();
    for (at, byte) in store.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_refused_under_another_identity_and_keeps_its_disks() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity { format: FORMAT, group: 1, incarnation: 1, replica_id: 2 };
        let store = claim(folder.path(), identity, draw).unwrap();
        let again = claim(folder.path(), identity, || Err(std::io::Error::other("not drawn again"))).unwrap();
        assert_eq!(again, store);
        assert_ne!(draw().unwrap(), store);
        let other = claim(folder.path(), Identity { replica_id: 3, ..identity }, draw).unwrap_err();
        assert!(matches!(other, StorageFault::WrongIdentity(_)), "{other}");
    }

    #[test]
    fn a_folder_of_the_first_release_gets_a_disks_identity_once() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"{ "format": 1, "group": 1, "incarnation": 1, "replica_id": 2 }"#;
        std::fs::write(folder.path().join("identity.json"), text).unwrap();
        let identity = Identity { format: FORMAT, group: 1, incarnation: 1, replica_id: 2 };
        let store = claim(folder.path(), identity, draw).unwrap();
        assert_eq!(claim(folder.path(), identity, draw).unwrap(), store);
        assert_eq!(store_of(&hex(&store)), Some(store));
        assert_eq!(store_of("zz"), None);
    }
}
