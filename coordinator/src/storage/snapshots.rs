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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use super::manifest::{Manifest, ManifestFile, ManifestMember};
use super::sums::Summed;
pub(crate) use super::sums::hex;
use super::{StorageFault, make_folder, sync_folder};

/// Name of the manifest's file.
pub const MANIFEST: &str = "manifest";
/// Names of folders into which snapshots are received.
const RECEIVED: &str = "received-";
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

fn received(place: Place) -> String {
    format!("{RECEIVED}{}.partial", place.folder())
}

/// The snapshots of one replica.
#[derive(Clone, Debug)]
pub struct Snapshots {
    folder: PathBuf,
    /// Those that are being sent, and how often: they are not removed meanwhile.
    held: Arc<Mutex<BTreeMap<Place, usize>>>,
}

/// While it lives, the snapshot is not removed.
#[derive(Debug)]
pub struct Hold {
    snapshots: Snapshots,
    place: Place,
}

impl Hold {
    /// The snapshot that is held.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.snapshots.held();
        if let Some(times) = held.get_mut(&self.place) {
            *times -= 1;
            if *times == 0 {
                held.remove(&self.place);
            }
        }
    }
}

/// What is there of a snapshot that is being received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// All of it.
    pub complete: bool,
    /// Files and their bytes.
    pub files: Vec<(String, u64)>,
}

impl Snapshots {
    /// Opens or makes the folder; what a crash left half-written is removed.
    ///
    /// # Errors
    /// I/O.
    pub fn open(folder: &Path) -> Result<Self, StorageFault> {
        make_folder(folder)?;
        for name in names(folder)? {
            // What was received in part is gone on with: it is checked as a whole at its end.
            if name.ends_with(".partial") && !name.starts_with(RECEIVED) {
                let path = folder.join(name);
                fs::remove_dir_all(&path).map_err(StorageFault::io("could not remove", &path))?;
            }
        }
        Ok(Self { folder: folder.to_owned(), held: Arc::default() })
    }

    /// Keeps a snapshot from being removed.
    #[must_use]
    pub fn hold(&self, place: Place) -> Hold {
        *self.held().entry(place).or_default() += 1;
        Hold { snapshots: self.clone(), place }
    }

    // A panic elsewhere ends the process: counts that it left behind are of no use to anybody.
    fn held(&self) -> MutexGuard<'_, BTreeMap<Place, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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
        Ok(Partial { snapshots: self.clone(), folder, files: Vec::new(), open: None, keep: false })
    }

    /// Begins to receive one, or goes on with what is there of it when `resume`. What was received of others is removed: one
    /// is received at a time.
    ///
    /// # Errors
    /// I/O.
    pub fn receive(&self, place: Place, resume: bool) -> Result<Partial, StorageFault> {
        let folder = self.folder.join(received(place));
        for name in names(&self.folder)? {
            let path = self.folder.join(&name);
            if name.starts_with(RECEIVED) && !(resume && path == folder) {
                fs::remove_dir_all(&path).map_err(StorageFault::io("could not remove", &path))?;
            }
        }
        make_folder(&folder)?;
        Ok(Partial { snapshots: self.clone(), folder, files: Vec::new(), open: None, keep: true })
    }

    /// How much there is of a snapshot that is being received.
    ///
    /// # Errors
    /// I/O.
    pub fn progress(&self, place: Place) -> Result<Progress, StorageFault> {
        if self.path(place).exists() {
            return Ok(Progress { complete: true, files: Vec::new() });
        }
        let folder = self.folder.join(received(place));
        if !folder.exists() {
            return Ok(Progress::default());
        }
        let mut files = Vec::new();
        for name in names(&folder)? {
            let path = folder.join(&name);
            let bytes = fs::metadata(&path).map_err(StorageFault::io("could not read", &path))?.len();
            files.push((name, bytes));
        }
        files.sort();
        Ok(Progress { complete: false, files })
    }

    /// Removes all but those at or after `oldest_kept`.
    ///
    /// # Errors
    /// I/O.
    pub fn remove_before(&self, oldest_kept: Place) -> Result<(), StorageFault> {
        for place in self.list()?.into_iter().filter(|place| *place < oldest_kept) {
            if self.held().contains_key(&place) {
                // It is being sent. The next snapshot removes it.
                continue;
            }
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
            if verify(&path, Some(place)).is_ok() {
                // The same place holds the same state: the one that is there is as good.
                return fs::remove_dir_all(partial).map_err(StorageFault::io("could not remove", partial));
            }
            tracing::error!(path = %path.display(), "a snapshot on disk is damaged; it is replaced");
            fs::remove_dir_all(&path).map_err(StorageFault::io("could not remove", &path))?;
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
    /// The file that is being received, with its name and length so far. Files come one after the other.
    open: Option<(String, File, u64)>,
    /// Given up half-way, it stays: a later attempt goes on with it.
    keep: bool,
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
        if self.open.as_ref().is_none_or(|(open, _, _)| open != name) {
            self.close()?;
            let file = File::options()
                .create(true)
                .append(true)
                .open(&path)
                .map_err(StorageFault::io("could not create", &path))?;
            let length = file.metadata().map_err(StorageFault::io("could not read", &path))?.len();
            self.open = Some((name.to_owned(), file, length));
        }
        let Some((_, file, written)) = &mut self.open else { return Ok(()) };
        if *written != offset {
            return Err(StorageFault::Corrupt(format!("a piece of {name} at {offset} came where {written} is next")));
        }
        file.write_all(data).map_err(StorageFault::io("could not write", &path))?;
        *written += data.len() as u64;
        Ok(())
    }

    fn close(&mut self) -> Result<(), StorageFault> {
        if let Some((name, file, _)) = self.open.take() {
            file.sync_all().map_err(StorageFault::io("could not sync", &self.folder.join(name)))?;
        }
        Ok(())
    }

    /// Everything was received: checks it, and makes it whole.
    ///
    /// # Errors
    /// I/O, damage, and a snapshot of another place or group than announced.
    pub fn finish_received(mut self, place: Place, group: u32) -> Result<Manifest, StorageFault> {
        self.close()?;
        // What fails now is no good for a later attempt.
        self.keep = false;
        for name in names(&self.folder)? {
            // Received before a break, perhaps of the process: synced now.
            let path = self.folder.join(name);
            File::open(&path).and_then(|file| file.sync_all()).map_err(StorageFault::io("could not sync", &path))?;
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
        if !self.keep
            && self.folder.exists()
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
            voters_outgoing: vec![],
            learners_next: vec![],
            directory: vec![],
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
        let mut partial = to.receive(sent.place(), false).unwrap();
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

    #[test]
    fn a_broken_transfer_goes_on_where_it_stopped() {
        let (from, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let from = Snapshots::open(from.path()).unwrap();
        let sent = take(&from, 10, 2);
        let to = Snapshots::open(folder.path()).unwrap();
        let (manifest, orders) =
            (from.read(sent.place(), MANIFEST).unwrap(), from.read(sent.place(), "orders-0").unwrap());
        let piece = |partial: &mut Partial, name: &str, offset: usize, data: &[u8]| {
            partial.piece(name, offset as u64, data, crc32fast::hash(data))
        };
        let mut partial = to.receive(sent.place(), true).unwrap();
        piece(&mut partial, MANIFEST, 0, &manifest).unwrap();
        piece(&mut partial, "orders-0", 0, &orders[..4]).unwrap();
        drop(partial);
        // Over a restart of the process as well.
        let to = Snapshots::open(folder.path()).unwrap();
        let there = to.progress(sent.place()).unwrap();
        let expected = vec![(MANIFEST.to_owned(), manifest.len() as u64), ("orders-0".to_owned(), 4)];
        assert_eq!(there, Progress { complete: false, files: expected });
        let mut partial = to.receive(sent.place(), true).unwrap();
        piece(&mut partial, "orders-0", 4, &orders[4..]).unwrap();
        piece(&mut partial, "empty", 0, b"").unwrap();
        assert_eq!(partial.finish_received(sent.place(), 1).unwrap(), sent);
        assert!(to.progress(sent.place()).unwrap().complete);

        // Damage on the way is found at the end, and nothing of it is kept.
        let other = take(&from, 11, 2);
        let mut partial = to.receive(other.place(), true).unwrap();
        piece(&mut partial, MANIFEST, 0, &from.read(other.place(), MANIFEST).unwrap()).unwrap();
        piece(&mut partial, "orders-0", 0, b"some others").unwrap();
        piece(&mut partial, "empty", 0, b"").unwrap();
        assert!(partial.finish_received(other.place(), 1).is_err());
        assert_eq!(to.progress(other.place()).unwrap(), Progress::default());
    }

    #[test]
    fn a_snapshot_that_is_being_sent_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(folder.path()).unwrap();
        let (old, new) = (take(&snapshots, 10, 2).place(), take(&snapshots, 20, 2).place());
        let hold = snapshots.hold(old);
        snapshots.remove_before(new).unwrap();
        assert_eq!(snapshots.list().unwrap(), vec![new, old]);
        drop(hold);
        snapshots.remove_before(new).unwrap();
        assert_eq!(snapshots.list().unwrap(), vec![new]);
    }
}
