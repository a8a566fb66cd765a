//! The coordinator's own feeds on disk: one for each node and finance service.
//!
//! Entries are what `apply` emitted, so every replica has the same, and can serve them. They are not synced as they come:
//! replaying the log makes them again, byte by byte, which is checked. They are synced before a snapshot lets the log be
//! compacted, and a snapshot carries those that are not acknowledged. A consumer that stays away costs disk, not memory.
//!
//! It must not know what an entry says.

mod destination;
mod segment;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stockmesh_coordinator_core::FeedStanding;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedEntry;
use tokio::sync::watch;

use crate::storage::{StorageFault, make_folder};
use destination::{Destination, folder_of};

/// What is wrong with a feed of our own. All but `Gone` end the process.
#[derive(Debug, thiserror::Error)]
pub enum OutboxFault {
    /// I/O or damage.
    #[error(transparent)]
    Storage(#[from] StorageFault),
    /// An entry is missing before one that was emitted.
    #[error("entry {got} to {destination} was emitted, and the outbox ends at {head}")]
    Gap {
        /// Destination.
        destination: String,
        /// Where the outbox ends.
        head: u64,
        /// What came.
        got: u64,
    },
    /// Replaying the log made another entry than before: this replica is not what the others are.
    #[error("replaying the log made another entry {seq} to {destination} than was sent before")]
    Diverged {
        /// Destination.
        destination: String,
        /// Sequence number.
        seq: u64,
    },
    /// A reader asks for entries that were acknowledged and deleted.
    #[error("entries to {destination} after {after} are gone: it acknowledged everything up to {tail}")]
    Gone {
        /// Destination.
        destination: String,
        /// Position that was asked for.
        after: u64,
        /// Position before the oldest kept entry.
        tail: u64,
    },
}

type Shared = Arc<Mutex<Destination>>;

/// All feeds of this replica.
pub struct Outbox {
    folder: PathBuf,
    feeds: Mutex<BTreeMap<String, Shared>>,
    /// Destinations with entries that are not flushed.
    touched: Mutex<BTreeSet<String>>,
    /// Snapshots that are being written: nothing is deleted meanwhile.
    pins: AtomicUsize,
}

/// While it lives, nothing is deleted.
pub struct Pin(Arc<Outbox>);

impl Drop for Pin {
    fn drop(&mut self) {
        self.0.pins.fetch_sub(1, Ordering::SeqCst);
    }
}

// A panic elsewhere ends the process; what a lock guards here is checked again when it is read from disk.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outbox {
    /// Opens the folder.
    ///
    /// # Errors
    /// I/O.
    pub fn open(folder: &Path) -> Result<Arc<Self>, OutboxFault> {
        make_folder(folder)?;
        Ok(Arc::new(Self {
            folder: folder.to_owned(),
            feeds: Mutex::new(BTreeMap::new()),
            touched: Mutex::new(BTreeSet::new()),
            pins: AtomicUsize::new(0),
        }))
    }

    /// Makes sure that every feed reaches the place where a snapshot's state stands; what is missing is taken from the
    /// snapshot's own files, which `exported` opens. No file: everything up to there was acknowledged.
    ///
    /// # Errors
    /// I/O, damage, and a feed that says something else than the snapshot.
    pub fn install(
        &self,
        standings: impl Iterator<Item = FeedStanding>,
        mut exported: impl FnMut(&str) -> Result<Option<File>, StorageFault>,
    ) -> Result<(), OutboxFault> {
        for FeedStanding { feed, head, acknowledged: _ } in standings {
            let name = feed.destination;
            let shared = self.feed(&name)?;
            let mut destination = lock(&shared);
            if destination.head().seq < head.seq {
                destination.replace(exported(&name)?.as_ref(), head)?;
            } else if destination.position(head.seq)?.is_some_and(|position| position != head) {
                return Err(OutboxFault::Diverged { destination: name, seq: head.seq });
            }
        }
        Ok(())
    }

    fn feed(&self, destination: &str) -> Result<Shared, OutboxFault> {
        let mut feeds = lock(&self.feeds);
        if let Some(shared) = feeds.get(destination) {
            return Ok(shared.clone());
        }
        let opened = Destination::open(destination, folder_of(&self.folder, destination))?;
        let shared = Arc::new(Mutex::new(opened));
        feeds.insert(destination.to_owned(), shared.clone());
        Ok(shared)
    }

    /// Takes an entry that `apply` emitted; readable after [`Self::flush`].
    ///
    /// # Errors
    /// I/O, gaps, and an entry that differs from the one that was there.
    pub fn append(&self, destination: &str, entry: FeedEntry) -> Result<(), OutboxFault> {
        lock(&*self.feed(destination)?).append(entry)?;
        let mut touched = lock(&self.touched);
        if !touched.contains(destination) {
            touched.insert(destination.to_owned());
        }
        Ok(())
    }

    /// Makes what was appended readable.
    ///
    /// # Errors
    /// I/O.
    pub fn flush(&self) -> Result<(), OutboxFault> {
        for name in std::mem::take(&mut *lock(&self.touched)) {
            lock(&*self.feed(&name)?).flush()?;
        }
        Ok(())
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// I/O.
    pub fn sync(&self) -> Result<(), OutboxFault> {
        let feeds: Vec<Shared> = lock(&self.feeds).values().cloned().collect();
        for feed in feeds {
            lock(&feed).sync()?;
        }
        Ok(())
    }

    /// The consumer has everything up to `seq`, as the log says.
    ///
    /// # Errors
    /// I/O.
    pub fn acknowledge(&self, destination: &str, seq: u64) -> Result<(), OutboxFault> {
        if self.pins.load(Ordering::SeqCst) > 0 {
            // A snapshot is being written. The next acknowledgement deletes what this one would.
            return Ok(());
        }
        lock(&*self.feed(destination)?).acknowledge(seq)
    }

    /// Keeps everything until the pin is dropped. Take it on the thread that acknowledges.
    #[must_use]
    pub fn pin(self: &Arc<Self>) -> Pin {
        self.pins.fetch_add(1, Ordering::SeqCst);
        Pin(self.clone())
    }

    /// Writes what a snapshot whose state has this standing needs of the feed: the position before the first entry (u64, 32
    /// bytes), then records. Holds the feed piece by piece only: a consumer that is a week behind must not hold up the
    /// driver, which appends to the same feed.
    ///
    /// # Errors
    /// I/O; [`OutboxFault::Gone`] when an installed snapshot replaced the feed meanwhile.
    pub fn export(&self, standing: &FeedStanding, out: &mut dyn Write) -> Result<(), OutboxFault> {
        let shared = self.feed(&standing.feed.destination)?;
        let path = std::path::Path::new(&standing.feed.destination);
        let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(StorageFault::io("could not write", path));
        let base = lock(&shared).export_base(standing.acknowledged);
        write(&[&base.seq.to_be_bytes()[..], &base.hash.0].concat())?;
        let mut at = base.seq;
        loop {
            // The feed is free again before the piece is written.
            let next = lock(&shared).export_piece(at, standing.head.seq)?;
            let Some((piece, last)) = next else { return Ok(()) };
            write(&piece)?;
            at = last;
        }
    }

    /// The last readable entry.
    ///
    /// # Errors
    /// I/O.
    pub fn head(&self, destination: &str) -> Result<Head, OutboxFault> {
        Ok(lock(&*self.feed(destination)?).head())
    }

    /// Follows the number of the last readable entry.
    ///
    /// # Errors
    /// I/O.
    pub fn watch(&self, destination: &str) -> Result<watch::Receiver<u64>, OutboxFault> {
        Ok(lock(&*self.feed(destination)?).watch())
    }

    /// Entries after `after`, until they have `max_bytes`; at least one, if there is one.
    ///
    /// # Errors
    /// I/O, and [`OutboxFault::Gone`].
    pub fn read(&self, destination: &str, after: u64, max_bytes: usize) -> Result<Vec<FeedEntry>, OutboxFault> {
        lock(&*self.feed(destination)?).read(after, max_bytes)
    }

    /// The position of entry `seq`; `None` when it is not kept.
    ///
    /// # Errors
    /// I/O.
    pub fn position(&self, destination: &str, seq: u64) -> Result<Option<Head>, OutboxFault> {
        lock(&*self.feed(destination)?).position(seq)
    }
}

#[cfg(test)]
mod tests {
    use stockmesh_proto::feed::v1::EntryBody;
    use stockmesh_types::FeedId;

    use super::*;

    const NODE: &str = "node/dc-1";

    fn feed() -> FeedId {
        FeedId { participant: "coordinator/1".into(), destination: NODE.into(), epoch: 1 }
    }

    fn entries(count: u64, request_id: &str) -> (Vec<FeedEntry>, Vec<Head>) {
        let mut head = Head::START;
        let (mut entries, mut heads) = (Vec::new(), vec![Head::START]);
        for n in 0..count {
            let body =
                EntryBody { time_ms: i64::try_from(n).unwrap(), request_id: request_id.into(), ..EntryBody::default() };
            entries.push(head.append(&feed(), &body));
            heads.push(head);
        }
        (entries, heads)
    }

    fn append(outbox: &Outbox, entries: &[FeedEntry]) {
        for entry in entries {
            outbox.append(NODE, entry.clone()).unwrap();
        }
        outbox.flush().unwrap();
    }

    fn segments(folder: &Path) -> Vec<PathBuf> {
        let mut paths: Vec<_> =
            std::fs::read_dir(folder.join("node.dc-1")).unwrap().map(|file| file.unwrap().path()).collect();
        paths.sort();
        paths
    }

    #[test]
    fn entries_are_read_back_in_bounded_pieces_and_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (entries, heads) = entries(500, &"x".repeat(100));
        let outbox = Outbox::open(folder.path()).unwrap();
        append(&outbox, &entries);
        for outbox in [outbox.clone(), Outbox::open(folder.path()).unwrap()] {
            assert_eq!(outbox.head(NODE).unwrap(), heads[500]);
            assert_eq!(*outbox.watch(NODE).unwrap().borrow(), 500);
            let (mut read, mut pieces) = (Vec::new(), 0);
            while read.len() < 500 {
                read.extend(outbox.read(NODE, read.len() as u64, 4_000).unwrap());
                pieces += 1;
            }
            assert_eq!(read, entries);
            assert!(pieces > 10);
            assert_eq!(outbox.read(NODE, 499, 0).unwrap(), entries[499..], "one at least");
            assert!(outbox.read(NODE, 500, 4_000).unwrap().is_empty());
            assert_eq!(outbox.position(NODE, 123).unwrap(), Some(heads[123]));
        }
    }

    #[test]
    fn a_torn_tail_is_cut_wherever_it_tears_and_made_again() {
        let (entries, _) = entries(3, "");
        let whole = {
            let folder = tempfile::tempdir().unwrap();
            append(&Outbox::open(folder.path()).unwrap(), &entries);
            std::fs::read(&segments(folder.path())[0]).unwrap()
        };
        for length in 0..=whole.len() {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("node.dc-1")).unwrap();
            std::fs::write(folder.path().join("node.dc-1/00000000000000000001.feed"), &whole[..length]).unwrap();
            let outbox = Outbox::open(folder.path()).unwrap();
            append(&outbox, &entries);
            assert_eq!(outbox.read(NODE, 0, 1 << 20).unwrap(), entries, "torn at {length}");
        }
    }

    #[test]
    fn replaying_the_log_must_make_the_same_entries() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = entries(10, "a");
        let (other, _) = entries(10, "b");
        append(&Outbox::open(folder.path()).unwrap(), &first);
        let outbox = Outbox::open(folder.path()).unwrap();
        append(&outbox, &first[4..]);
        let diverged = outbox.append(NODE, other[6].clone());
        assert!(matches!(diverged, Err(OutboxFault::Diverged { seq: 7, .. })), "{diverged:?}");
        let (more, _) = entries(12, "a");
        let gap = outbox.append(NODE, more[11].clone());
        assert!(matches!(gap, Err(OutboxFault::Gap { head: 10, got: 12, .. })), "{gap:?}");
    }

    #[test]
    fn acknowledged_segments_are_deleted_unless_a_snapshot_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        let (entries, heads) = entries(60, &"x".repeat(200_000));
        for entry in &entries {
            append(&outbox, std::slice::from_ref(entry));
        }
        let before = segments(folder.path()).len();
        assert!(before > 2);
        let pin = outbox.pin();
        outbox.acknowledge(NODE, 60).unwrap();
        assert_eq!(segments(folder.path()).len(), before);
        drop(pin);
        outbox.acknowledge(NODE, 30).unwrap();
        let after = segments(folder.path()).len();
        assert!(after < before && after > 1);
        assert!(matches!(outbox.read(NODE, 0, 1), Err(OutboxFault::Gone { .. })));
        assert_eq!(outbox.read(NODE, 30, 1).unwrap(), entries[30..31]);
        append(&outbox, &entries[..5]);
        let outbox = Outbox::open(folder.path()).unwrap();
        assert_eq!(outbox.head(NODE).unwrap(), heads[60]);
    }

    #[test]
    fn a_rotten_segment_takes_all_later_ones_with_it() {
        let (entries, heads) = entries(60, &"x".repeat(200_000));
        // In the header, so that nothing of the file can be read; and in its first record.
        for offset in [20, 100] {
            for rotten in 0..2 {
                let folder = tempfile::tempdir().unwrap();
                let outbox = Outbox::open(folder.path()).unwrap();
                for entry in &entries {
                    append(&outbox, std::slice::from_ref(entry));
                }
                let paths = segments(folder.path());
                assert!(paths.len() > 2);
                let first: usize = paths[rotten].file_stem().unwrap().to_str().unwrap().parse().unwrap();
                let mut bytes = std::fs::read(&paths[rotten]).unwrap();
                bytes[offset] ^= 1;
                std::fs::write(&paths[rotten], bytes).unwrap();

                let outbox = Outbox::open(folder.path()).unwrap();
                assert_eq!(outbox.head(NODE).unwrap(), heads[first - 1], "the head falls back to before the damage");
                assert!(segments(folder.path()).len() <= rotten + 1);
                // The snapshot stands further on than what is left: its own entries fill the gap.
                let standing = FeedStanding { feed: feed(), head: heads[50], acknowledged: heads[10] };
                let exported = folder.path().join("exported");
                let whole = tempfile::tempdir().unwrap();
                let other = Outbox::open(whole.path()).unwrap();
                append(&other, &entries);
                other.export(&standing, &mut File::create(&exported).unwrap()).unwrap();
                let open = |_: &str| File::open(&exported).map(Some).map_err(StorageFault::io("x", &exported));
                outbox.install(std::iter::once(standing), open).unwrap();
                append(&outbox, &entries[50..]);
                let mut read = Vec::new();
                while read.len() < 50 {
                    read.extend(outbox.read(NODE, 10 + read.len() as u64, 1 << 20).unwrap());
                }
                assert_eq!(read, entries[10..], "segment {rotten}, byte {offset}");
            }
        }
    }

    #[test]
    fn a_snapshot_brings_a_replica_that_lacks_entries_to_its_place() {
        let (entries, heads) = entries(10, "");
        let from = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(from.path()).unwrap();
        append(&outbox, &entries);
        let standing = FeedStanding { feed: feed(), head: heads[8], acknowledged: heads[5] };
        let exported = from.path().join("exported");
        outbox.export(&standing, &mut File::create(&exported).unwrap()).unwrap();
        for have in [0, 3, 7, 8, 10] {
            let to = tempfile::tempdir().unwrap();
            append(&Outbox::open(to.path()).unwrap(), &entries[..have]);
            let outbox = Outbox::open(to.path()).unwrap();
            let open = |_: &str| File::open(&exported).map(Some).map_err(StorageFault::io("x", &exported));
            outbox.install(std::iter::once(standing.clone()), open).unwrap();
            append(&outbox, &entries[8..]);
            let outbox = Outbox::open(to.path()).unwrap();
            assert_eq!(outbox.head(NODE).unwrap(), heads[10], "had {have}");
            assert_eq!(outbox.read(NODE, 5, 1 << 20).unwrap(), entries[5..]);
        }
    }
}
