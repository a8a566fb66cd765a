//! The marker: how far a node had acknowledged, kept outside its store's folder, against a rollback that nobody noticed.
//!
//! The order is: store synced, then the marker, then acknowledgements. So a store ahead of its marker is normal, and one behind it
//! was restored from an older copy. Two slots are written in turn, each with a checksum: a torn write leaves the other.
//!
//! | bytes of a slot | |
//! |---|---|
//! | 0..8 | epoch, big-endian |
//! | 8..16 | sequence number |
//! | 16..48 | chain hash |
//! | 48..52 | CRC-32 of the bytes before |
//!
//! Must not know: what is done about a store that is behind.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use stockmesh_proto::entry::Head;
use stockmesh_types::ChainHash;

use super::StoreError;
use super::sled_store::sync_dir;

const SLOT_BYTES: usize = 52;
/// Slots stand a disk block apart, so that one torn write can't touch both.
const SLOT_DISTANCE: u64 = 4096;

/// What a marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Epoch.
    pub epoch: u64,
    /// Last entry that was acknowledged.
    pub head: Head,
}

/// The file.
#[derive(Debug)]
pub struct MarkerFile {
    file: File,
    path: PathBuf,
    next_slot: u64,
}

impl MarkerFile {
    /// Opens the file and reads the newer of its slots; makes it when there is none, which is `None`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(path: &Path) -> Result<(Self, Option<Mark>), StoreError> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(StoreError::file(path))?;
        let mut newest: Option<(u64, Mark)> = None;
        for slot in 0..2 {
            let mut bytes = [0; SLOT_BYTES];
            // A new file is shorter: such a slot is empty.
            if file.read_exact_at(&mut bytes, slot * SLOT_DISTANCE).is_err() {
                continue;
            }
            if let Some(mark) = decode(&bytes)
                && newest.is_none_or(|(_, best)| order(&mark) >= order(&best))
            {
                newest = Some((slot, mark));
            }
        }
        let next_slot = newest.map_or(0, |(slot, _)| 1 - slot);
        Ok((Self { file, path: path.to_owned(), next_slot }, newest.map(|(_, mark)| mark)))
    }

    /// Makes the file's name and its first mark durable.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn create(&mut self, mark: Mark) -> Result<(), StoreError> {
        self.write(mark)?;
        self.file.sync_all().map_err(StoreError::file(&self.path))?;
        sync_dir(self.path.parent().unwrap_or(Path::new(".")))
    }

    /// Writes a mark durably.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn write(&mut self, mark: Mark) -> Result<(), StoreError> {
        let at = self.next_slot * SLOT_DISTANCE;
        let written = self.file.write_all_at(&encode(mark), at).and_then(|()| self.file.sync_data());
        written.map_err(StoreError::file(&self.path))?;
        self.next_slot = 1 - self.next_slot;
        Ok(())
    }
}

fn order(mark: &Mark) -> (u64, u64) {
    (mark.epoch, mark.head.seq)
}

fn encode(mark: Mark) -> [u8; SLOT_BYTES] {
    let Mark { epoch, head: Head { seq, hash: ChainHash(hash) } } = mark;
    let mut bytes = [0; SLOT_BYTES];
    bytes[..8].copy_from_slice(&epoch.to_be_bytes());
    bytes[8..16].copy_from_slice(&seq.to_be_bytes());
    bytes[16..48].copy_from_slice(&hash);
    let check = crc32fast::hash(&bytes[..48]);
    bytes[48..].copy_from_slice(&check.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8; SLOT_BYTES]) -> Option<Mark> {
    let number = |at: usize| Some(u64::from_be_bytes(bytes[at..at + 8].try_into().ok()?));
    let check = u32::from_be_bytes(bytes[48..].try_into().ok()?);
    // Epochs begin with 1: a slot of zero bytes was never written.
    let epoch = number(0).filter(|epoch| *epoch > 0)?;
    let head = Head { seq: number(8)?, hash: ChainHash::from_bytes(&bytes[16..48])? };
    (crc32fast::hash(&bytes[..48]) == check).then_some(Mark { epoch, head })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(seq: u64) -> Mark {
        Mark { epoch: 1, head: Head { seq, hash: ChainHash([7; 32]) } }
    }

    #[test]
    fn the_newest_mark_is_read_and_a_torn_one_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dc-1.marker");
        let (mut marker, found) = MarkerFile::open(&path).unwrap();
        assert_eq!(found, None);
        marker.create(mark(0)).unwrap();
        for seq in 1..=5 {
            marker.write(mark(seq)).unwrap();
            assert_eq!(MarkerFile::open(&path).unwrap().1, Some(mark(seq)));
        }
        // The sixth write is torn in the middle.
        let torn_at = marker.next_slot * SLOT_DISTANCE + 20;
        marker.write(mark(6)).unwrap();
        File::options().write(true).open(&path).unwrap().write_all_at(&[0xff; 9], torn_at).unwrap();
        let (mut again, found) = MarkerFile::open(&path).unwrap();
        assert_eq!(found, Some(mark(5)));
        again.write(mark(7)).unwrap();
        assert_eq!(MarkerFile::open(&path).unwrap().1, Some(mark(7)));
    }
}
