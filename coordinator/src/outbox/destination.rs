//! The feed to one destination: its segments, in order.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_types::ChainHash;
use tokio::sync::watch;

use super::OutboxFault;
use super::segment::{Found, Records, Segment, put_record, sync_names};
use crate::storage::{StorageFault, make_folder};

/// A segment that has this much is followed by a new one: what an acknowledgement can delete.
const SEGMENT_BYTES: u64 = 4 << 20;
const VERIFY_BYTES: usize = 256 << 10;
const EXPORT_HEADER: usize = 40;

pub(super) struct Destination {
    name: String,
    folder: PathBuf,
    /// Never empty: the last one is appended to.
    segments: VecDeque<Segment>,
    /// Appended, not yet in the file.
    pending: Vec<(FeedEntry, Head)>,
    /// Written since the last sync.
    unsynced: bool,
    /// Positions of entries that are being regenerated, read ahead.
    verify: VecDeque<Head>,
    head: watch::Sender<u64>,
}

impl Destination {
    /// Opens the folder, or makes it with a feed that has no entry.
    pub(super) fn open(name: &str, folder: PathBuf) -> Result<Self, OutboxFault> {
        make_folder(&folder)?;
        let mut segments = VecDeque::new();
        let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
            .and_then(|files| files.map(|file| file.map(|file| file.path())).collect())
            .map_err(StorageFault::io("could not list", &folder))?;
        paths.sort();
        let mut good = 0;
        for path in &paths {
            match Segment::open(path)? {
                Found::Segment(segment)
                    if segments.back().is_none_or(|before: &Segment| before.head == segment.base) =>
                {
                    segments.push_back(segment);
                }
                _ => break,
            }
            good += 1;
        }
        remove_damaged(&paths[good..])?;
        if segments.is_empty() {
            segments.push_back(Segment::create(&folder, Head::START)?);
        }
        let mut destination = Self {
            name: name.to_owned(),
            folder,
            segments,
            pending: Vec::new(),
            unsynced: true,
            verify: VecDeque::new(),
            head: watch::channel(0).0,
        };
        destination.announce();
        destination.sync()?;
        Ok(destination)
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// The last entry that readers can see.
    pub(super) fn head(&self) -> Head {
        self.last().head
    }

    /// Position before the oldest entry that is kept.
    pub(super) fn tail(&self) -> Head {
        // Never empty, see the field.
        self.segments.front().map_or(Head::START, |segment| segment.base)
    }

    /// Takes an entry that `apply` emitted: the next one, or one that is being made again by replaying the log.
    pub(super) fn append(&mut self, entry: FeedEntry) -> Result<(), OutboxFault> {
        let hash = ChainHash::from_bytes(&entry.hash)
            .ok_or_else(|| StorageFault::Corrupt(format!("an entry to {} without a hash", self.name)))?;
        let head = self.pending.last().map_or(self.head(), |(_, head)| *head);
        if entry.seq == head.seq + 1 {
            self.pending.push((entry, Head { seq: head.seq + 1, hash }));
            return Ok(());
        }
        if entry.seq > head.seq {
            return Err(OutboxFault::Gap { destination: self.name.clone(), head: head.seq, got: entry.seq });
        }
        if entry.seq <= self.tail().seq {
            // Deleted, because a later log entry acknowledges it.
            return Ok(());
        }
        let stored = self.stored_hash(entry.seq)?;
        if stored == hash {
            return Ok(());
        }
        Err(OutboxFault::Diverged { destination: self.name.clone(), seq: entry.seq })
    }

    fn stored_hash(&mut self, seq: u64) -> Result<ChainHash, OutboxFault> {
        while self.verify.front().is_some_and(|head| head.seq < seq) {
            self.verify.pop_front();
        }
        if self.verify.front().is_none_or(|head| head.seq != seq) {
            self.verify = self
                .read(seq - 1, VERIFY_BYTES)?
                .iter()
                .filter_map(|entry| Some(Head { seq: entry.seq, hash: ChainHash::from_bytes(&entry.hash)? }))
                .collect();
        }
        match self.verify.front() {
            Some(head) if head.seq == seq => Ok(head.hash),
            _ => Err(StorageFault::Corrupt(format!("entry {seq} to {} can't be read back", self.name)).into()),
        }
    }

    /// Makes what was appended visible to readers.
    pub(super) fn flush(&mut self) -> Result<(), OutboxFault> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.last().bytes >= SEGMENT_BYTES {
            self.sync()?;
            let base = self.head();
            self.segments.push_back(Segment::create(&self.folder, base)?);
        }
        let pending = std::mem::take(&mut self.pending);
        self.last_mut().append(&pending)?;
        self.unsynced = true;
        self.announce();
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), OutboxFault> {
        if self.unsynced {
            self.last().sync()?;
            sync_names(&self.folder)?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Entries after `after`, until they have `max_bytes`; at least one, if there is one.
    pub(super) fn read(&self, after: u64, max_bytes: usize) -> Result<Vec<FeedEntry>, OutboxFault> {
        if after < self.tail().seq {
            return Err(OutboxFault::Gone { destination: self.name.clone(), after, tail: self.tail().seq });
        }
        let at = self.segments.partition_point(|segment| segment.head.seq <= after);
        match self.segments.get(at) {
            Some(segment) => Ok(segment.read(after, max_bytes)?),
            None => Ok(Vec::new()),
        }
    }

    /// The position of entry `seq`; `None` when it is not kept.
    pub(super) fn position(&self, seq: u64) -> Result<Option<Head>, OutboxFault> {
        if let Some(segment) = self.segments.iter().find(|segment| segment.base.seq == seq) {
            return Ok(Some(segment.base));
        }
        if seq == self.head().seq {
            return Ok(Some(self.head()));
        }
        if seq <= self.tail().seq || seq > self.head().seq {
            return Ok(None);
        }
        let entries = self.read(seq - 1, 0)?;
        let hash = entries.first().and_then(|entry| ChainHash::from_bytes(&entry.hash));
        Ok(hash.map(|hash| Head { seq, hash }))
    }

    /// Deletes segments that the consumer has as a whole.
    pub(super) fn acknowledge(&mut self, seq: u64) -> Result<(), OutboxFault> {
        while self.segments.len() > 1 && self.segments.front().is_some_and(|segment| segment.head.seq <= seq) {
            if let Some(segment) = self.segments.pop_front() {
                segment.remove()?;
            }
        }
        Ok(())
    }

    /// Where an export for somebody who has everything up to `after` begins.
    pub(super) fn export_base(&self, after: Head) -> Head {
        // A tail beyond `after`: deleted, because a later log entry acknowledges it.
        if self.tail().seq > after.seq { self.tail() } else { after }
    }

    /// The next records of an export, of entries `at+1..=up_to`, and the last entry's number; `None` at the end.
    pub(super) fn export_piece(&self, at: u64, up_to: u64) -> Result<Option<(Vec<u8>, u64)>, OutboxFault> {
        let entries = if at < up_to { self.read(at, VERIFY_BYTES)? } else { Vec::new() };
        let mut buffer = Vec::new();
        for entry in entries.iter().filter(|entry| entry.seq <= up_to) {
            put_record(entry, &mut buffer);
        }
        Ok(entries.last().map(|last| (buffer, last.seq)))
    }

    /// Drops everything, and takes over what [`super::Outbox::export`] wrote, which must end at `head`. Nothing was written when
    /// everything up to `head` is acknowledged.
    pub(super) fn replace(&mut self, exported: Option<&File>, head: Head) -> Result<(), OutboxFault> {
        let base = match exported {
            Some(file) => self.exported_base(file, head)?,
            None => head,
        };
        for segment in self.segments.drain(..) {
            segment.remove()?;
        }
        self.pending.clear();
        self.verify.clear();
        self.segments.push_back(Segment::create(&self.folder, base)?);
        if let Some(file) = exported {
            let wrap = || StorageFault::io("could not read the snapshot of", &self.folder);
            let length = file.metadata().map_err(wrap())?.len();
            let mut records = Records::new(file, EXPORT_HEADER as u64, length);
            while let Some((entry, _, _)) = records.next().map_err(StorageFault::io("could not read", &self.folder))? {
                self.append(entry)?;
                if self.pending.len() >= 4_096 {
                    self.flush()?;
                }
            }
            self.flush()?;
        }
        if self.head() != head {
            return Err(self.unreadable(head));
        }
        self.announce();
        self.unsynced = true;
        self.sync()
    }

    fn exported_base(&self, exported: &File, head: Head) -> Result<Head, OutboxFault> {
        let mut position = [0; EXPORT_HEADER];
        exported
            .read_exact_at(&mut position, 0)
            .map_err(StorageFault::io("could not read the snapshot of", &self.folder))?;
        let (seq, hash) = position.split_at(8);
        match (<[u8; 8]>::try_from(seq), ChainHash::from_bytes(hash)) {
            (Ok(seq), Some(hash)) => Ok(Head { seq: u64::from_be_bytes(seq), hash }),
            _ => Err(self.unreadable(head)),
        }
    }

    fn unreadable(&self, head: Head) -> OutboxFault {
        StorageFault::Corrupt(format!(
            "the snapshot's entries to {} end at {}, and its state says {}",
            self.name,
            self.head().seq,
            head.seq
        ))
        .into()
    }

    fn announce(&self) {
        self.head.send_replace(self.head().seq);
    }

    fn last(&self) -> &Segment {
        self.segments.back().expect("an outbox always has a segment: it begins with one, and keeps the last")
    }

    fn last_mut(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("an outbox always has a segment: it begins with one, and keeps the last")
    }
}

/// Removes the first file that is damaged or does not continue the one before, and all that follow it: they are made again
/// from the log, or from the snapshot. Kept, later ones would pass for a feed that was acknowledged up to where they begin.
fn remove_damaged(paths: &[PathBuf]) -> Result<(), StorageFault> {
    let Some(first) = paths.first() else { return Ok(()) };
    if paths.len() == 1 {
        tracing::info!(file = %first.display(), "removed an outbox file that was being made");
    } else {
        tracing::warn!(file = %first.display(), files = paths.len(), "removed a damaged outbox file and those after it");
    }
    // The last one first: should this be interrupted, the damage still stands before what is left.
    for path in paths.iter().rev() {
        std::fs::remove_file(path).map_err(StorageFault::io("could not remove", path))?;
    }
    Ok(())
}

/// The folder of a destination: its name with `.` for `/`.
pub(super) fn folder_of(outbox: &Path, destination: &str) -> PathBuf {
    outbox.join(destination.replace('/', "."))
}
