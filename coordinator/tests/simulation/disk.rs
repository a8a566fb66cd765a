//! A disk that loses what was not synced: after a crash some first part of the unsynced writes is there, or none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use stockmesh_coordinator::replica::members::Directory;
use stockmesh_coordinator_core::SnapshotChunk;

/// What a log holds.
#[derive(Clone, Default)]
struct Content {
    hard_state: HardState,
    /// Index and term before the first entry.
    before: (u64, u64),
    entries: Vec<Entry>,
}

/// One write to the log.
#[derive(Clone)]
pub enum Write {
    Log { snapshot: Option<(u64, u64)>, entries: Vec<Entry>, hard_state: Option<HardState> },
    Commit(u64),
    Compact(u64),
}

impl Content {
    fn last_index(&self) -> u64 {
        self.before.0 + self.entries.len() as u64
    }

    fn at(&self, index: u64) -> usize {
        usize::try_from(index - self.before.0 - 1).unwrap()
    }

    fn take(&mut self, write: &Write) {
        match write {
            Write::Log { snapshot, entries, hard_state } => {
                if let Some(place) = snapshot {
                    self.before = *place;
                    self.entries.clear();
                }
                if let Some(first) = entries.first() {
                    assert!(first.index > self.before.0 && first.index <= self.last_index() + 1, "a gap in the log");
                    self.entries.truncate(self.at(first.index));
                    self.entries.extend_from_slice(entries);
                }
                if let Some(state) = hard_state {
                    self.hard_state = state.clone();
                }
            }
            Write::Commit(commit) => self.hard_state.commit = *commit,
            Write::Compact(index) => {
                if *index > self.before.0 {
                    let cut = self.at(*index) + 1;
                    let term = self.entries[cut - 1].term;
                    self.entries.drain(..cut);
                    self.before = (*index, term);
                }
            }
        }
    }
}

/// A snapshot on disk; it is there whole, or not.
#[derive(Clone)]
pub struct Stored {
    pub metadata: SnapshotMetadata,
    pub directory: Directory,
    pub chunks: Arc<Vec<SnapshotChunk>>,
}

impl Stored {
    fn names(&self, member: u64) -> bool {
        let conf = self.metadata.get_conf_state();
        [&conf.voters, &conf.learners, &conf.voters_outgoing].iter().any(|ids| ids.contains(&member))
    }
}

#[derive(Default)]
struct Inner {
    now: Content,
    synced: Content,
    /// Writes since the last sync.
    unsynced: Vec<Write>,
    snapshots: BTreeMap<(u64, u64), Stored>,
    /// Chunks of a snapshot that is being received: its place, and how many are there.
    partial: Option<((u64, u64), usize)>,
    /// Members at the beginning, or of the snapshot that the state was loaded from.
    stands_at: ConfState,
    beginning: ConfState,
    offered: Option<(u64, u64)>,
}

/// The disk of one replica. Clones share it.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    pub fn new(voters: &[u64]) -> Self {
        let disk = Self::default();
        let beginning = ConfState { voters: voters.to_vec(), ..ConfState::default() };
        disk.with(|inner| (inner.beginning, inner.stands_at) = (beginning.clone(), beginning));
        disk
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    pub fn write(&self, write: Write, sync: bool) {
        self.with(|inner| {
            inner.now.take(&write);
            inner.unsynced.push(write);
            if sync {
                inner.unsynced.clear();
                inner.synced = inner.now.clone();
            }
        });
    }

    /// A crash: of the unsynced writes the first `keep` of a hundred are there.
    pub fn crash(&self, keep_percent: usize) {
        self.with(|inner| {
            let keep = inner.unsynced.len() * keep_percent / 100;
            let mut left = inner.synced.clone();
            inner.unsynced.drain(..).take(keep).for_each(|write| left.take(&write));
            (inner.now, inner.synced, inner.offered) = (left.clone(), left, None);
        });
    }

    /// Stores a snapshot, synced.
    pub fn store(&self, stored: Stored) {
        let place = (stored.metadata.index, stored.metadata.term);
        self.with(|inner| {
            inner.snapshots.entry(place).or_insert(stored);
        });
    }

    pub fn stored(&self, place: (u64, u64)) -> Option<Stored> {
        self.with(|inner| inner.snapshots.get(&place).cloned())
    }

    pub fn remove_snapshots_before(&self, place: (u64, u64)) {
        self.with(|inner| inner.snapshots.retain(|at, _| *at >= place));
    }

    /// What there is of a snapshot that is being received.
    pub fn partial(&self, place: (u64, u64)) -> usize {
        self.with(|inner| inner.partial.filter(|(of, _)| *of == place).map_or(0, |(_, chunks)| chunks))
    }

    pub fn set_partial(&self, place: (u64, u64), chunks: usize) {
        self.with(|inner| inner.partial = Some((place, chunks)));
    }

    /// Picks the snapshot to start from, as a replica does that opens its folder.
    pub fn open(&self) -> Option<Stored> {
        self.with(|inner| {
            let (commit, before) = (inner.now.hard_state.commit, inner.now.before);
            let fits = |place: &(u64, u64)| place.0 <= commit.max(before.0) && place.0 >= before.0;
            let chosen = inner
                .snapshots
                .iter()
                .rev()
                .find(|(place, _)| fits(place))
                .map(|(place, stored)| (*place, stored.clone()));
            assert!(chosen.is_some() || before.0 == 0, "no snapshot reaches the log");
            inner.offered = chosen.as_ref().map(|(place, _)| *place);
            inner.stands_at = chosen
                .as_ref()
                .map_or_else(|| inner.beginning.clone(), |(_, stored)| stored.metadata.get_conf_state().clone());
            chosen.map(|(_, stored)| stored)
        })
    }

    pub fn offer(&self, place: (u64, u64)) {
        self.with(|inner| inner.offered = Some(place));
    }

    pub fn before(&self) -> u64 {
        self.with(|inner| inner.now.before.0)
    }
}

impl Storage for Disk {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.with(|inner| RaftState::new(inner.now.hard_state.clone(), inner.stands_at.clone())))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        self.with(|inner| {
            if low <= inner.now.before.0 {
                return Err(raft::Error::Store(StorageError::Compacted));
            }
            let mut entries = inner.now.entries[inner.now.at(low)..inner.now.at(high)].to_vec();
            raft::util::limit_size(&mut entries, max_size.into());
            Ok(entries)
        })
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        self.with(|inner| match index.checked_sub(inner.now.before.0) {
            None => Err(raft::Error::Store(StorageError::Compacted)),
            Some(0) => Ok(inner.now.before.1),
            Some(offset) => inner
                .now
                .entries
                .get(usize::try_from(offset - 1).unwrap())
                .map(|entry| entry.term)
                .ok_or(raft::Error::Store(StorageError::Unavailable)),
        })
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.with(|inner| inner.now.before.0 + 1))
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.with(|inner| inner.now.last_index()))
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        self.with(|inner| match inner.offered.and_then(|place| inner.snapshots.get(&place)) {
            Some(stored) if stored.metadata.index >= request_index && stored.names(to) => {
                let mut snapshot = Snapshot::default();
                snapshot.set_metadata(stored.metadata.clone());
                snapshot.data = stored.directory.encode().into();
                Ok(snapshot)
            }
            _ => Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable)),
        })
    }
}
