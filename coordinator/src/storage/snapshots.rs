//! Snapshots on disk: the state at a log index, in checksummed files.
//!
//! ```text
//!   snapshots/<index, 20 digits>-<term, 20 digits>/manifest     JSON, then its SHA-256 in hexadecimal, each on a line
//!                                                 /<file>       as named in the manifest, with bytes, CRC-32, SHA-256
//!   snapshots/<anything>.partial/                               being written or received; removed at start
//! ```
//!
//! A folder without `.partial` is whole and synced: it was written under another name, synced, and renamed. Nothing here
//! knows what is in the files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use raft::eraftpb::{ConfState, SnapshotMetadata};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{StorageFault, make_folder, sync_folder};

/// Name of the manifest's file.
pub const MANIFEST: &str = "manifest";
/// Largest manifest that is read.
const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// Where a snapshot stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index of the last entry that it contains.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
}

impl Place {
    fn folder(self) -> String {
        format!("{:020}-{:020}", self.index, self.term)
    }

    fn parse(name: &str) -> Option<Self> {
        let (index, term) = name.split_once('-')?;
        let place = Self { index: index.parse().ok()?, term: term.parse().ok()? };
        (place.folder() == name).then_some(place)
    }
}

/// One file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// Name: letters, digits, `.`, `-`, `_`.
    pub name: String,
    /// Length.
    pub bytes: u64,
    /// CRC-32 (IEEE) of the content.
    pub crc32: u32,
    /// SHA-256 of the content, hexadecimal.
    pub sha256: String,
}

/// What a snapshot consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format of the folder.
    pub format: u32,
    /// Coordinator group.
    pub group: u32,
    /// Its incarnation.
    pub incarnation: u32,
    /// Index of the last entry that it contains.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// Voters at that index.
    pub voters: Vec<u64>,
    /// Learners at that index.
    pub learners: Vec<u64>,
    /// Files, in the order in which they were written.
    pub files: Vec<ManifestFile>,
}

impl Manifest {
    /// Where it stands.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { index: self.index, term: self.term }
    }

    /// As Raft speaks of it.
    #[must_use]
    pub fn metadata(&self) -> SnapshotMetadata {
        let members =
            ConfState { voters: self.voters.clone(), learners: self.learners.clone(), ..ConfState::default() };
        let mut metadata = SnapshotMetadata { index: self.index, term: self.term, ..SnapshotMetadata::default() };
        metadata.set_conf_state(members);
        metadata
    }

    fn encode(&self) -> Result<Vec<u8>, StorageFault> {
        let json = serde_json::to_string(self)
            .map_err(|error| StorageFault::Corrupt(format!("manifest can't be written: {error}")))?;
        Ok(format!("{json}\n{}\n", hex(&Sha256::digest(json.as_bytes()))).into_bytes())
    }

    fn decode(text: &[u8]) -> Result<Self, StorageFault> {
        let wrong = |what: &str| StorageFault::Corrupt(format!("snapshot manifest {what}"));
        let text = std::str::from_utf8(text).map_err(|_| wrong("is not text"))?;
        let mut lines = text.lines();
        let (Some(json), Some(hash)) = (lines.next(), lines.next()) else { return Err(wrong("is cut")) };
        if hex(&Sha256::digest(json.as_bytes())) != hash {
            return Err(wrong("does not have its hash"));
        }
        serde_json::from_str(json).map_err(|error| wrong(&error.to_string()))
    }
}

/// The snapshots of one replica.
#[derive(Clone, Debug)]
pub struct Snapshots {
    folder: PathBuf,
}

impl Snapshots {
    /// Opens or makes the folder; what a crash left half-written is removed.
    ///
    /// # Errors
    /// I/O.
    pub fn open(folder: &Path) -> Result<Self, StorageFault> {
        make_folder(folder)?;
        for name in names(folder)? {
            if name.ends_with(".partial") {
                let path = folder.join(name);
                fs::remove_dir_all(&path).map_err(StorageFault::io("could not remove", &path))?;
            }
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// What is there, newest first. Not yet verified.
    ///
    /// # Errors
    /// I/O.
    pub fn list(&self) -> Result<Vec<Place>, StorageFault> {
        let mut places: Vec<Place> = names(&self.folder)?.iter().filter_map(|name| Place::parse(name)).collect();
        places.sort_unstable_by(|a, b| b.cmp(a));
        Ok(places)
    }

    /// Reads the manifest and checks every file against it.
    ///
    /// # Errors
    /// I/O and damage.
    pub fn verify(&self, place: Place) -> Result<Manifest, StorageFault> {
        verify(&self.path(place), Some(place))
    }

    /// Reads the manifest, and trusts the files.
    ///
    /// # Errors
    /// I/O and a damaged manifest.
    pub fn manifest(&self, place: Place) -> Result<Manifest, StorageFault> {
        Manifest::decode(&self.read(place, MANIFEST)?)
    }

    /// Opens one file of a snapshot.
    ///
    /// # Errors
    /// I/O, or a name that could leave the folder.
    pub fn file(&self, place: Place, name: &str) -> Result<File, StorageFault> {
        check_name(name)?;
        let path = self.path(place).join(name);
        File::open(&path).map_err(StorageFault::io("could not open", &path))
    }

    /// Reads one file of a snapshot.
    ///
    /// # Errors
    /// I/O, or a name that could leave the folder.
    pub fn read(&self, place: Place, name: &str) -> Result<Vec<u8>, StorageFault> {
        let mut bytes = Vec::new();
        let path = self.path(place).join(name);
        self.file(place, name)?.read_to_end(&mut bytes).map_err(StorageFault::io("could not read", &path))?;
        Ok(bytes)
    }

    /// Begins to write one. `tag` keeps a snapshot that is taken apart from one that is received at the same time.
    ///
    /// # Errors
    /// I/O.
    pub fn begin(&self, tag: &str) -> Result<Partial, StorageFault> {
        check_name(tag)?;
        let folder = self.folder.join(format!("{tag}.partial"));
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(StorageFault::io("could not remove", &folder))?;
        }
        make_folder(&folder)?;
        Ok(Partial { snapshots: self.clone(), folder, files: Vec::new(), open: BTreeMap::new() })
    }

    /// Removes all but those at or after `oldest_kept`.
    ///
    /// # Errors
    /// I/O.
    pub fn remove_before(&self, oldest_kept: Place) -> Result<(), StorageFault> {
        for place in self.list()?.into_iter().filter(|place| *place < oldest_kept) {
            let path = self.path(place);
            fs::remove_dir_all(&path).map_err(StorageFault::io("could not remove", &path))?;
        }
        Ok(())
    }

    fn path(&self, place: Place) -> PathBuf {
        self.folder.join(place.folder())
    }

    fn publish(&self, partial: &Path, place: Place) -> Result<(), StorageFault> {
        sync_folder(partial)?;
        let path = self.path(place);
        if path.exists() {
            // The same place holds the same state: the one that is there is as good.
            return fs::remove_dir_all(partial).map_err(StorageFault::io("could not remove", partial));
        }
        fs::rename(partial, &path).map_err(StorageFault::io("could not rename to", &path))?;
        sync_folder(&self.folder)
    }
}

/// A snapshot that is being written or received.
pub struct Partial {
    snapshots: Snapshots,
    folder: PathBuf,
    files: Vec<ManifestFile>,
    /// Received files that are not complete: length so far.
    open: BTreeMap<String, (File, u64)>,
}

impl Partial {
    /// Writes a file, from what `fill` gives.
    ///
    /// # Errors
    /// I/O.
    pub fn add(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), StorageFault>,
    ) -> Result<(), StorageFault> {
        check_name(name)?;
        let path = self.folder.join(name);
        let file = File::create_new(&path).map_err(StorageFault::io("could not create", &path))?;
        let mut summed = Summed::new(std::io::BufWriter::with_capacity(256 << 10, file));
        fill(&mut summed)?;
        let (inner, bytes, crc32, sha256) = summed.finish();
        let file =
            inner.into_inner().map_err(|error| StorageFault::io("could not write", &path)(error.into_error()))?;
        file.sync_all().map_err(StorageFault::io("could not sync", &path))?;
        self.files.push(ManifestFile { name: name.to_owned(), bytes, crc32, sha256 });
        Ok(())
    }

    /// Writes the manifest and makes the snapshot whole. `manifest.files` is filled in here.
    ///
    /// # Errors
    /// I/O.
    pub fn finish(mut self, mut manifest: Manifest) -> Result<Manifest, StorageFault> {
        manifest.files = std::mem::take(&mut self.files);
        let text = manifest.encode()?;
        let path = self.folder.join(MANIFEST);
        File::create_new(&path)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .map_err(StorageFault::io("could not write", &path))?;
        self.snapshots.publish(&self.folder, manifest.place())?;
        Ok(manifest)
    }

    /// Takes a received piece. Pieces of a file come in order.
    ///
    /// # Errors
    /// I/O, and pieces that don't fit.
    pub fn piece(&mut self, name: &str, offset: u64, data: &[u8], crc32: u32) -> Result<(), StorageFault> {
        check_name(name)?;
        if crc32fast::hash(data) != crc32 {
            return Err(StorageFault::Corrupt(format!("a piece of {name} at {offset} was damaged on the way")));
        }
        let path = self.folder.join(name);
        if !self.open.contains_key(name) {
            let file = File::create_new(&path).map_err(StorageFault::io("could not create", &path))?;
            self.open.insert(name.to_owned(), (file, 0));
        }
        let Some((file, written)) = self.open.get_mut(name) else { return Ok(()) };
        if *written != offset {
            return Err(StorageFault::Corrupt(format!("a piece of {name} at {offset} came where {written} is next")));
        }
        file.write_all(data).map_err(StorageFault::io("could not write", &path))?;
        *written += data.len() as u64;
        Ok(())
    }

    /// Everything was received: checks it, and makes it whole.
    ///
    /// # Errors
    /// I/O, damage, and a snapshot of another place or group than announced.
    pub fn finish_received(mut self, place: Place, group: u32) -> Result<Manifest, StorageFault> {
        for (name, (file, _)) in std::mem::take(&mut self.open) {
            file.sync_all().map_err(StorageFault::io("could not sync", &self.folder.join(name)))?;
        }
        let manifest = verify(&self.folder, Some(place))?;
        if manifest.group != group {
            return Err(StorageFault::Corrupt(format!("the snapshot is of group {}, not {group}", manifest.group)));
        }
        self.snapshots.publish(&self.folder, place)?;
        Ok(manifest)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Given up half-way: best effort, because `open` removes what is left.
        if self.folder.exists()
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            tracing::debug!(folder = %self.folder.display(), %error, "half a snapshot stays until the next start");
        }
    }
}

fn verify(folder: &Path, place: Option<Place>) -> Result<Manifest, StorageFault> {
    let path = folder.join(MANIFEST);
    let mut text = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(MAX_MANIFEST_BYTES).read_to_end(&mut text))
        .map_err(StorageFault::io("could not read", &path))?;
    let manifest = Manifest::decode(&text)?;
    if manifest.format != super::identity::FORMAT {
        return Err(StorageFault::Corrupt(format!("{} has format {}", path.display(), manifest.format)));
    }
    if place.is_some_and(|place| place != manifest.place()) {
        return Err(StorageFault::Corrupt(format!("{} is of another place than its folder", path.display())));
    }
    for file in &manifest.files {
        check_name(&file.name)?;
        let path = folder.join(&file.name);
        let mut content = File::open(&path).map_err(StorageFault::io("could not open", &path))?;
        let mut summed = Summed::new(std::io::sink());
        std::io::copy(&mut content, &mut summed).map_err(StorageFault::io("could not read", &path))?;
        let (_, bytes, crc32, sha256) = summed.finish();
        if (bytes, crc32, &sha256) != (file.bytes, file.crc32, &file.sha256) {
            return Err(StorageFault::Corrupt(format!("{} is damaged", path.display())));
        }
    }
    Ok(manifest)
}

/// Names come over the network: none may leave its folder.
fn check_name(name: &str) -> Result<(), StorageFault> {
    let good = !name.is_empty()
        && name.len() <= 128
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if good { Ok(()) } else { Err(StorageFault::Corrupt(format!("{name:?} is no file name of a snapshot"))) }
}

fn names(folder: &Path) -> Result<Vec<String>, StorageFault> {
    let wrap = || StorageFault::io("could not list", folder);
    fs::read_dir(folder)
        .map_err(wrap())?
        .map(|entry| Ok(entry.map_err(wrap())?.file_name().to_string_lossy().into_owned()))
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Passes bytes on, and sums them up.
struct Summed<W> {
    inner: W,
    bytes: u64,
    crc32: crc32fast::Hasher,
    sha256: Sha256,
}

impl<W> Summed<W> {
    fn new(inner: W) -> Self {
        Self { inner, bytes: 0, crc32: crc32fast::Hasher::new(), sha256: Sha256::new() }
    }

    fn finish(self) -> (W, u64, u32, String) {
        (self.inner, self.bytes, self.crc32.finalize(), hex(&self.sha256.finalize()))
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        self.crc32.update(&bytes[..written]);
        self.sha256.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(index: u64, term: u64) -> Manifest {
        Manifest {
            format: super::super::identity::FORMAT,
            group: 1,
            incarnation: 1,
            index,
            term,
            voters: vec![1, 2, 3],
            learners: vec![],
            files: vec![],
        }
    }

    fn take(snapshots: &Snapshots, index: u64, term: u64) -> Manifest {
        let mut partial = snapshots.begin("taken").unwrap();
        partial
            .add("orders-0", |out| out.write_all(b"some orders").map_err(StorageFault::io("x", Path::new("x"))))
            .unwrap();
        partial.add("empty", |_| Ok(())).unwrap();
        partial.finish(manifest(index, term)).unwrap()
    }

    #[test]
    fn a_snapshot_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(folder.path()).unwrap();
        let mut half = snapshots.begin("taken").unwrap();
        half.add("orders-0", |out| out.write_all(b"half").map_err(StorageFault::io("x", Path::new("x")))).unwrap();
        assert_eq!(snapshots.list().unwrap(), vec![]);
        std::mem::forget(half); // a crash
        let snapshots = Snapshots::open(folder.path()).unwrap();
        take(&snapshots, 10, 2);
        take(&snapshots, 9, 3);
        assert_eq!(snapshots.list().unwrap(), vec![Place { index: 10, term: 2 }, Place { index: 9, term: 3 }]);
        assert_eq!(snapshots.read(Place { index: 10, term: 2 }, "orders-0").unwrap(), b"some orders");
        snapshots.remove_before(Place { index: 10, term: 2 }).unwrap();
        assert_eq!(snapshots.list().unwrap().len(), 1);
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(folder.path()).unwrap();
        let place = take(&snapshots, 10, 2).place();
        for name in ["orders-0", MANIFEST] {
            let path = snapshots.path(place).join(name);
            let good = fs::read(&path).unwrap();
            for at in 0..good.len() - 1 {
                let mut bad = good.clone();
                bad[at] ^= 1;
                fs::write(&path, &bad).unwrap();
                assert!(snapshots.verify(place).is_err(), "{name} at {at}");
            }
            fs::write(&path, &good).unwrap();
        }
        snapshots.verify(place).unwrap();
    }

    #[test]
    fn pieces_make_the_same_snapshot() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (Snapshots::open(from.path()).unwrap(), Snapshots::open(to.path()).unwrap());
        let sent = take(&from, 10, 2);
        let mut partial = to.begin("received").unwrap();
        for name in [MANIFEST, "orders-0", "empty"] {
            let content = from.read(sent.place(), name).unwrap();
            partial.piece(name, 0, b"", 0).unwrap();
            for (n, piece) in content.chunks(4).enumerate() {
                partial.piece(name, n as u64 * 4, piece, crc32fast::hash(piece)).unwrap();
            }
        }
        assert!(partial.piece("orders-0", 3, b"x", crc32fast::hash(b"x")).is_err(), "a piece twice");
        assert!(partial.piece("orders-0", 11, b"x", 1).is_err(), "a damaged piece");
        for name in ["../x", "", ".hidden", "a/b"] {
            assert!(partial.piece(name, 0, b"", 0).is_err(), "{name:?}");
        }
        assert_eq!(partial.finish_received(sent.place(), 1).unwrap(), sent);
        assert_eq!(to.verify(sent.place()).unwrap(), sent);
    }
}
