//! The Raft log, on raft-engine.
//!
//! Layout, by raft-engine's "region":
//!
//! ```text
//!   region 1           keys: hard_state, members (eraftpb: of the beginning, or of the last installed snapshot), bounds (three u64, big-endian: generation, index, term)
//!   region 2 + g       the entries of generation g
//! ```
//!
//! `bounds` names the last entry that is *not* in the log any more: compacted, or covered by an installed snapshot. An
//! installed snapshot replaces the whole log: it begins a new generation, in one write, because raft-engine can't drop
//! a tail, and a region that was once cleaned must not be used again.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use raft_engine::{Command, Config, Engine, LogBatch, MessageExt, ReadableSize};

use super::StorageFault;

const STATE_REGION: u64 = 1;
const FIRST_LOG_REGION: u64 = 2;
const HARD_STATE: &[u8] = b"hard_state";
const MEMBERS: &[u8] = b"members";
const BOUNDS: &[u8] = b"bounds";

/// Recent entries kept in memory: what followers and `apply` ask for next. Bounded by both.
const RECENT_ENTRIES: usize = 4_096;
const RECENT_BYTES: usize = 16 << 20;

#[derive(Clone)]
struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;
    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

struct Kept {
    hard_state: HardState,
    members: ConfState,
    generation: u64,
    /// Last entry before the log: index and term.
    before: (u64, u64),
    last_index: u64,
    recent: VecDeque<Entry>,
    recent_bytes: usize,
    /// The newest snapshot on disk, as offered to followers: its place and members, and the directory as its data.
    snapshot: Option<Snapshot>,
}

struct Inner {
    engine: Engine,
    kept: RwLock<Kept>,
}

/// The log of one replica. Clones share it; one thread writes.
#[derive(Clone)]
pub struct DiskLog(Arc<Inner>);

/// One durable write.
#[derive(Debug, Default)]
pub struct Write {
    /// Replaces the whole log.
    pub snapshot: Option<SnapshotMetadata>,
    /// Entries, replacing what is there from the first one on.
    pub entries: Vec<Entry>,
    /// Term, vote, commit.
    pub hard_state: Option<HardState>,
}

impl DiskLog {
    /// Opens or makes the log in `folder`. A fresh one begins with `voters` as its members.
    ///
    /// # Errors
    /// I/O and corruption.
    pub fn open(folder: &Path, voters: &[u64]) -> Result<Self, StorageFault> {
        super::make_folder(folder)?;
        let config = Config {
            dir: folder.to_string_lossy().into_owned(),
            target_file_size: ReadableSize::mb(32),
            purge_threshold: ReadableSize::mb(128),
            batch_compression_threshold: ReadableSize::kb(64),
            ..Config::default()
        };
        let engine = Engine::open(config)?;
        let hard_state: Option<HardState> = engine.get_message(STATE_REGION, HARD_STATE)?;
        let members: Option<ConfState> = engine.get_message(STATE_REGION, MEMBERS)?;
        let bounds = engine.get(STATE_REGION, BOUNDS).map(|bytes| decode_bounds(&bytes)).transpose()?;
        let fresh = members.is_none();
        let (generation, before) = bounds.unwrap_or((0, (0, 0)));
        let last_index = engine.last_index(FIRST_LOG_REGION + generation).unwrap_or(before.0).max(before.0);
        let log = Self(Arc::new(Inner {
            engine,
            kept: RwLock::new(Kept {
                hard_state: hard_state.unwrap_or_default(),
                members: members.unwrap_or_default(),
                generation,
                before,
                last_index,
                recent: VecDeque::new(),
                recent_bytes: 0,
                snapshot: None,
            }),
        }));
        if fresh {
            let members = ConfState { voters: voters.to_vec(), ..ConfState::default() };
            let mut batch = LogBatch::default();
            batch.put_message(STATE_REGION, MEMBERS.to_vec(), &members)?;
            log.0.engine.write(&mut batch, true)?;
            log.kept_mut().members = members;
        }
        let kept = log.kept();
        if let Some(first) = log.0.engine.first_index(FIRST_LOG_REGION + generation)
            && first > kept.before.0 + 1
        {
            return Err(StorageFault::Corrupt(format!(
                "log begins at {first}, and everything up to {} only is known to be in a snapshot",
                kept.before.0
            )));
        }
        if kept.hard_state.commit > kept.last_index {
            return Err(StorageFault::Corrupt(format!(
                "log ends at {}, before the committed index {}: entries that were synced are gone",
                kept.last_index, kept.hard_state.commit
            )));
        }
        drop(kept);
        Ok(log)
    }

    /// Writes all of it at once; durable when this returns, if `sync`.
    ///
    /// # Errors
    /// I/O: the process must stop, because what is on disk is not known any more.
    pub fn write(&self, write: Write, sync: bool) -> Result<(), StorageFault> {
        let Write { snapshot, entries, hard_state } = write;
        let mut kept = self.kept_mut();
        let mut batch = LogBatch::default();
        let (mut generation, mut before) = (kept.generation, kept.before);
        let mut members = None;
        let mut hard_state = hard_state;
        if let Some(metadata) = &snapshot {
            batch.add_command(FIRST_LOG_REGION + generation, Command::Clean);
            generation += 1;
            before = (metadata.index, metadata.term);
            batch.put(STATE_REGION, BOUNDS.to_vec(), encode_bounds(generation, before))?;
            members = Some(metadata.get_conf_state().clone());
            // Raft's own hard state of this turn says so as well; the disk must never name a commit before the log.
            let state = hard_state.get_or_insert_with(|| kept.hard_state.clone());
            state.commit = state.commit.max(metadata.index);
        }
        batch.add_entries::<Entries>(FIRST_LOG_REGION + generation, &entries)?;
        if let Some(state) = &hard_state {
            batch.put_message(STATE_REGION, HARD_STATE.to_vec(), state)?;
        }
        if let Some(members) = &members {
            batch.put_message(STATE_REGION, MEMBERS.to_vec(), members)?;
        }
        self.0.engine.write(&mut batch, sync)?;
        // Memory follows the disk, never the other way round.
        if snapshot.is_some() {
            kept.recent.clear();
            kept.recent_bytes = 0;
            kept.last_index = before.0;
        }
        (kept.generation, kept.before) = (generation, before);
        if let Some(state) = hard_state {
            kept.hard_state = state;
        }
        if let Some(members) = members {
            kept.members = members;
        }
        kept.remember(entries);
        Ok(())
    }

    /// Writes the commit index, unsynced: Raft finds it again after a crash.
    ///
    /// # Errors
    /// I/O.
    pub fn write_commit(&self, commit: u64) -> Result<(), StorageFault> {
        let mut state = self.kept().hard_state.clone();
        state.commit = commit;
        self.write(Write { hard_state: Some(state), ..Write::default() }, false)
    }

    /// Offers this snapshot to followers that are too far behind.
    pub fn offer_snapshot(&self, snapshot: Snapshot) {
        self.kept_mut().snapshot = Some(snapshot);
    }

    /// The state machine stands at a snapshot whose members are these: changes behind it come from the log once more.
    /// Without this, the members would be those of a later index than the state, and the same changes be made twice.
    pub fn stand_at(&self, members: ConfState) {
        self.kept_mut().members = members;
    }

    /// Drops entries up to `index` (included). Only behind a snapshot that is synced.
    ///
    /// # Errors
    /// I/O, and an index that is not in the log.
    pub fn compact(&self, index: u64) -> Result<(), StorageFault> {
        if index <= self.kept().before.0 {
            return Ok(());
        }
        let term = self.term(index)?;
        let mut kept = self.kept_mut();
        let mut batch = LogBatch::default();
        let before = (index, term);
        batch.put(STATE_REGION, BOUNDS.to_vec(), encode_bounds(kept.generation, before))?;
        batch.add_command(FIRST_LOG_REGION + kept.generation, Command::Compact { index: index + 1 });
        // Unsynced: a crash before it reaches the disk leaves a longer log, which is as good.
        self.0.engine.write(&mut batch, false)?;
        kept.before = before;
        while kept.recent.front().is_some_and(|entry| entry.index <= index) {
            kept.forget_oldest();
        }
        Ok(())
    }

    /// Gives disk space back to the file system. Slow: not for the thread that runs the replica.
    ///
    /// # Errors
    /// I/O.
    pub fn purge(&self) -> Result<(), StorageFault> {
        self.0.engine.purge_expired_files()?;
        Ok(())
    }

    /// Last entry that is not in the log any more: index and term.
    #[must_use]
    pub fn before(&self) -> (u64, u64) {
        self.kept().before
    }

    /// Term, vote, commit, as written last.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.kept().hard_state.clone()
    }

    /// Members: those of the snapshot that the state stands at, or of the beginning.
    #[must_use]
    pub fn members(&self) -> ConfState {
        self.kept().members.clone()
    }

    // A poisoned lock means that a thread panicked while it wrote: what is kept may be half a change, so panic as well.
    fn kept(&self) -> RwLockReadGuard<'_, Kept> {
        self.0.kept.read().expect("no thread panicked while it changed the log")
    }

    fn kept_mut(&self) -> RwLockWriteGuard<'_, Kept> {
        self.0.kept.write().expect("no thread panicked while it changed the log")
    }
}

impl Kept {
    fn remember(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first().map(|entry| entry.index) else { return };
        while self.recent.back().is_some_and(|entry| entry.index >= first) {
            if let Some(entry) = self.recent.pop_back() {
                self.recent_bytes -= entry.data.len();
            }
        }
        for entry in entries {
            self.last_index = entry.index;
            self.recent_bytes += entry.data.len();
            self.recent.push_back(entry);
        }
        while self.recent.len() > RECENT_ENTRIES || (self.recent_bytes > RECENT_BYTES && self.recent.len() > 1) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(entry) = self.recent.pop_front() {
            self.recent_bytes -= entry.data.len();
        }
    }

    fn recent(&self, index: u64) -> Option<usize> {
        let first = self.recent.front()?.index;
        usize::try_from(index.checked_sub(first)?).ok().filter(|at| *at < self.recent.len())
    }
}

fn encode_bounds(generation: u64, before: (u64, u64)) -> Vec<u8> {
    [generation, before.0, before.1].iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn decode_bounds(bytes: &[u8]) -> Result<(u64, (u64, u64)), StorageFault> {
    let numbers: Vec<u64> =
        bytes.chunks_exact(8).filter_map(|chunk| Some(u64::from_be_bytes(chunk.try_into().ok()?))).collect();
    match numbers[..] {
        [generation, index, term] if bytes.len() == 24 => Ok((generation, (index, term))),
        _ => Err(StorageFault::Corrupt("the log's bounds are not three numbers".to_owned())),
    }
}

fn names(snapshot: &Snapshot, member: u64) -> bool {
    let conf = snapshot.get_metadata().get_conf_state();
    [&conf.voters, &conf.learners, &conf.voters_outgoing].iter().any(|ids| ids.contains(&member))
}

fn other(error: raft_engine::Error) -> raft::Error {
    raft::Error::Store(StorageError::Other(Box::new(error)))
}

impl Storage for DiskLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let kept = self.kept();
        Ok(RaftState::new(kept.hard_state.clone(), kept.members.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let max_size = max_size.into();
        let kept = self.kept();
        if low <= kept.before.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if high > kept.last_index + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let mut entries = if let (Some(from), Some(to)) = (kept.recent(low), kept.recent(high - 1)) {
            kept.recent.range(from..=to).cloned().collect()
        } else {
            let mut entries = Vec::new();
            let limit = max_size.and_then(|size| usize::try_from(size).ok());
            let region = FIRST_LOG_REGION + kept.generation;
            self.0.engine.fetch_entries_to::<Entries>(region, low, high, limit, &mut entries).map_err(other)?;
            entries
        };
        raft::util::limit_size(&mut entries, max_size);
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let kept = self.kept();
        if index == kept.before.0 {
            return Ok(kept.before.1);
        }
        if index < kept.before.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if let Some(at) = kept.recent(index) {
            return Ok(kept.recent[at].term);
        }
        let entry = self.0.engine.get_entry::<Entries>(FIRST_LOG_REGION + kept.generation, index).map_err(other)?;
        entry.map(|entry| entry.term).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.kept().before.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.kept().last_index)
    }

    /// The place of the newest snapshot on disk, with the directory of members for its data. Its files go to the follower by
    /// a stream of their own.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        match &self.kept().snapshot {
            // A replica that has joined since would not take it: its name is not among the members. The next one will do.
            Some(snapshot) if snapshot.get_metadata().index >= request_index && names(snapshot, to) => {
                Ok(snapshot.clone())
            }
            _ => Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, data: format!("entry {index} of {term}").into_bytes().into(), ..Entry::default() }
    }

    fn hard_state(term: u64, commit: u64) -> HardState {
        HardState { term, vote: 1, commit, ..HardState::default() }
    }

    fn read(log: &DiskLog, low: u64, high: u64) -> Vec<(u64, u64)> {
        let entries = log.entries(low, high, None, GetEntriesContext::empty(false)).unwrap();
        entries.iter().map(|entry| (entry.index, entry.term)).collect()
    }

    fn append(log: &DiskLog, range: std::ops::RangeInclusive<u64>, term: u64, commit: u64) {
        let entries = range.map(|index| entry(index, term)).collect();
        log.write(Write { entries, hard_state: Some(hard_state(term, commit)), ..Write::default() }, true).unwrap();
    }

    #[test]
    fn what_was_written_is_there_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let log = DiskLog::open(folder.path(), &[1, 2, 3]).unwrap();
        append(&log, 1..=5, 1, 3);
        append(&log, 4..=6, 2, 4);
        let expected = vec![(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)];
        assert_eq!(read(&log, 1, 7), expected);
        drop(log);
        let log = DiskLog::open(folder.path(), &[9]).unwrap();
        assert_eq!(read(&log, 1, 7), expected);
        assert_eq!(log.members().voters, vec![1, 2, 3], "a log that has members keeps them");
        assert_eq!((log.hard_state().term, log.hard_state().commit), (2, 4));
        assert_eq!(log.term(0).unwrap(), 0);
    }

    #[test]
    fn compaction_keeps_the_tail_and_the_term_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = DiskLog::open(folder.path(), &[1]).unwrap();
        append(&log, 1..=10, 1, 10);
        log.compact(7).unwrap();
        append(&log, 11..=11, 2, 11);
        let check = |log: &DiskLog| {
            assert_eq!((log.first_index().unwrap(), log.last_index().unwrap()), (8, 11));
            assert_eq!((log.term(7).unwrap(), log.term(8).unwrap()), (1, 1));
            assert!(matches!(log.term(6), Err(raft::Error::Store(StorageError::Compacted))));
            assert_eq!(read(log, 8, 12), vec![(8, 1), (9, 1), (10, 1), (11, 2)]);
        };
        check(&log);
        drop(log);
        check(&DiskLog::open(folder.path(), &[1]).unwrap());
    }

    #[test]
    fn an_installed_snapshot_replaces_a_longer_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = DiskLog::open(folder.path(), &[1, 2]).unwrap();
        append(&log, 1..=20, 1, 3);
        let mut metadata = SnapshotMetadata { index: 10, term: 4, ..SnapshotMetadata::default() };
        metadata.mut_conf_state().voters = vec![1, 2, 3];
        log.write(Write { snapshot: Some(metadata), hard_state: Some(hard_state(4, 10)), ..Write::default() }, true)
            .unwrap();
        assert_eq!((log.first_index().unwrap(), log.last_index().unwrap()), (11, 10));
        append(&log, 11..=12, 4, 11);
        drop(log);
        let log = DiskLog::open(folder.path(), &[1, 2]).unwrap();
        assert_eq!((log.first_index().unwrap(), log.last_index().unwrap()), (11, 12));
        assert_eq!(read(&log, 11, 13), vec![(11, 4), (12, 4)]);
        assert_eq!((log.term(10).unwrap(), log.members().voters), (4, vec![1, 2, 3]));
    }

    #[test]
    fn entries_beyond_the_recent_ones_are_read_from_disk() {
        let folder = tempfile::tempdir().unwrap();
        let log = DiskLog::open(folder.path(), &[1]).unwrap();
        let count = RECENT_ENTRIES as u64 + 50;
        append(&log, 1..=count, 1, count);
        assert_eq!(read(&log, 1, count + 1).len() as u64, count);
        assert_eq!(log.entries(1, count + 1, Some(0), GetEntriesContext::empty(false)).unwrap().len(), 1);
    }

    #[test]
    fn a_torn_tail_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let log = DiskLog::open(folder.path(), &[1]).unwrap();
        append(&log, 1..=3, 1, 2);
        log.write(Write { entries: vec![entry(4, 1)], ..Write::default() }, true).unwrap();
        drop(log);
        let file = newest_log_file(folder.path());
        let length = std::fs::metadata(&file).unwrap().len();
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length - 3).unwrap();
        let log = DiskLog::open(folder.path(), &[1]).unwrap();
        assert_eq!(read(&log, 1, 4), vec![(1, 1), (2, 1), (3, 1)]);
        assert_eq!(log.last_index().unwrap(), 3, "the write that was cut is gone as a whole");
    }

    fn newest_log_file(folder: &Path) -> std::path::PathBuf {
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "raftlog"))
            .collect();
        files.sort();
        files.pop().unwrap()
    }
}
