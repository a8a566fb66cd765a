//! The state machine that the log drives: the core's state and the feeds that it emits, moving together.
//!
//! One thread applies; readers take the read lock for as long as they copy an answer. It must not know Raft's messages,
//! nor who waits for an answer.

use std::io::{BufRead, Read, Write};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use prost::Message;
use stockmesh_coordinator_core::{Answer, FeedStanding, Notice, Snapshot, SnapshotChunk, State};
use stockmesh_proto::raft::v1::LogEntry;
use stockmesh_types::Reject;

use crate::changes::Changes;
use crate::fault::Fault;
use crate::outbox::{Outbox, Pin};
use crate::replica::Committed;
use crate::replica::hashes::{Digest, HashWatch};
use crate::replica::members::Members;
use crate::storage::StorageFault;
use crate::storage::identity::{FORMAT, Identity};
use crate::storage::snapshots::{Manifest, Place, Snapshots};

/// File of a snapshot that holds the state's chunks.
const STATE_FILE: &str = "state";
/// A longer part of a chunk's frame is damage.
const MAX_CHUNK_BYTES: usize = 64 << 20;

/// The state, shared with readers.
#[derive(Clone, Default)]
pub struct SharedState(Arc<RwLock<State>>);

impl SharedState {
    /// For as long as an answer is copied: `apply` waits meanwhile.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        // Only a panic of the applying thread poisons it, and that ends the process.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one of our own entries came to.
#[derive(Debug)]
pub struct Done {
    /// Its number, when somebody waits here.
    pub proposal: Option<u64>,
    /// One for each command.
    pub outcomes: Vec<Result<Answer, Reject>>,
}

/// What came of applied entries.
#[derive(Debug)]
pub struct Landed {
    /// One for each entry that held commands.
    pub done: Vec<Done>,
    /// The state's digest at the indices at which replicas compare it.
    pub hashes: Vec<(u64, Digest)>,
}

/// State and feeds.
pub struct Machine {
    state: SharedState,
    changes: Changes,
    outbox: Arc<Outbox>,
}

impl Machine {
    /// On an opened outbox, before the first entry.
    #[must_use]
    pub fn new(outbox: Arc<Outbox>) -> Self {
        Self { state: SharedState::default(), changes: Changes::default(), outbox }
    }

    /// The state, for readers.
    #[must_use]
    pub fn state(&self) -> SharedState {
        self.state.clone()
    }

    /// Which stock keys changed lately.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.changes.clone()
    }

    /// The feeds.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Applies committed entries in order, and makes what they emitted readable.
    ///
    /// # Errors
    /// [`Fault`]: the replica must stop.
    pub fn apply(&self, entries: &[Committed]) -> Result<Landed, Fault> {
        let mut hashes = Vec::new();
        let (mut done, mut emitted, mut notices) = (Vec::with_capacity(entries.len()), Vec::new(), Vec::new());
        {
            let mut state = self.state.0.write().unwrap_or_else(PoisonError::into_inner);
            for Committed { index, term: _, data, proposal } in entries {
                // Empty: a new leader's first entry.
                if !data.is_empty() {
                    let entry =
                        LogEntry::decode(data.clone()).map_err(|error| Fault::Undecodable { index: *index, error })?;
                    let applied = state.apply(*index, &entry)?;
                    if applied.touched_all {
                        self.changes.forget(*index);
                    } else {
                        self.changes.note(*index, &applied.touched);
                    }
                    emitted.extend(applied.emitted);
                    notices.extend(applied.notices);
                    done.push(Done { proposal: *proposal, outcomes: applied.outcomes });
                }
                if HashWatch::is_due(*index) {
                    hashes.push((*index, state.digest()));
                }
            }
        }
        for one in emitted {
            self.outbox.append(&one.destination, one.entry)?;
        }
        self.outbox.flush()?;
        for outcome in done.iter().flat_map(|done| &done.outcomes) {
            if let Ok(Answer::FeedAcknowledged { destination, cursor }) = outcome {
                self.outbox.acknowledge(destination, cursor.seq)?;
            }
        }
        notices.iter().for_each(tell);
        Ok(Landed { done, hashes })
    }

    /// Replaces state and feeds by a snapshot on disk.
    ///
    /// # Errors
    /// [`Fault`]: the replica must stop.
    pub fn install(&self, snapshots: &Snapshots, place: Place) -> Result<Manifest, Fault> {
        let manifest = snapshots.verify(place)?;
        let mut chunks = ReadChunks::new(snapshots.file(place, STATE_FILE)?);
        let restored = State::restore(&mut chunks);
        if let Some(error) = chunks.error {
            return Err(StorageFault::Corrupt(format!("chunk {} of a snapshot: {error}", chunks.number)).into());
        }
        let state = restored?;
        let has = |name: &str| manifest.files.iter().any(|file| file.name == name);
        self.outbox.install(state.feed_heads(), |destination| {
            let name = feed_file(destination);
            has(&name).then(|| snapshots.file(place, &name)).transpose()
        })?;
        let index = state.applied_index();
        *self.state.0.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.changes.forget(index);
        Ok(manifest)
    }

    /// What a snapshot is written from, on another thread: shares the state, and keeps feeds from being deleted.
    #[must_use]
    pub fn begin_snapshot(&self, identity: Identity, place: Place, members: &Members) -> SnapshotJob {
        SnapshotJob {
            snapshot: self.state.read().snapshot(),
            outbox: self.outbox.clone(),
            _pin: self.outbox.pin(),
            manifest: Manifest {
                format: FORMAT,
                group: identity.group,
                incarnation: identity.incarnation,
                index: place.index,
                term: place.term,
                voters: members.conf.voters.clone(),
                learners: members.conf.learners.clone(),
                voters_outgoing: members.conf.voters_outgoing.clone(),
                learners_next: members.conf.learners_next.clone(),
                directory: Manifest::members_of(&members.directory),
                files: Vec::new(),
            },
        }
    }
}

/// A snapshot to be written.
pub struct SnapshotJob {
    snapshot: Snapshot,
    outbox: Arc<Outbox>,
    _pin: Pin,
    manifest: Manifest,
}

impl SnapshotJob {
    /// Writes it. When this returns, the log may be compacted behind it: the feeds up to it are synced as well.
    ///
    /// # Errors
    /// I/O.
    pub fn write(self, snapshots: &Snapshots) -> Result<Manifest, Fault> {
        self.outbox.sync()?;
        let mut partial = snapshots.begin("taken")?;
        partial.add(STATE_FILE, |out| {
            for chunk in self.snapshot.chunks() {
                write_chunk(&chunk, out).map_err(StorageFault::io("could not write", Path::new(STATE_FILE)))?;
            }
            Ok(())
        })?;
        let standings: Vec<FeedStanding> = self.snapshot.state().feed_heads().collect();
        for standing in standings.iter().filter(|standing| standing.acknowledged.seq < standing.head.seq) {
            partial.add(&feed_file(&standing.feed.destination), |out| {
                self.outbox.export(standing, out).map_err(|fault| StorageFault::Corrupt(fault.to_string()))
            })?;
        }
        Ok(partial.finish(self.manifest)?)
    }
}

fn feed_file(destination: &str) -> String {
    format!("outbox-{}", destination.replace('/', "."))
}

/// Frame: length of name (u32), name, version (u32), checksum (32), length of bytes (u32), bytes. Big-endian.
fn write_chunk(chunk: &SnapshotChunk, out: &mut dyn Write) -> std::io::Result<()> {
    let SnapshotChunk { name, version, checksum, bytes } = chunk;
    let length = |bytes: usize| u32::try_from(bytes).map_err(std::io::Error::other);
    out.write_all(&length(name.len())?.to_be_bytes())?;
    out.write_all(name.as_bytes())?;
    out.write_all(&version.to_be_bytes())?;
    out.write_all(checksum)?;
    out.write_all(&length(bytes.len())?.to_be_bytes())?;
    out.write_all(bytes)
}

/// A snapshot's chunks, read one after the other: the state is never in memory as bytes as a whole.
struct ReadChunks {
    file: std::io::BufReader<std::fs::File>,
    number: u64,
    /// Why it ended early.
    error: Option<std::io::Error>,
}

impl ReadChunks {
    fn new(file: std::fs::File) -> Self {
        Self { file: std::io::BufReader::with_capacity(256 << 10, file), number: 0, error: None }
    }

    fn read(&mut self) -> std::io::Result<Option<SnapshotChunk>> {
        if self.file.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let name = self.read_part()?;
        let mut version = [0; 4];
        self.file.read_exact(&mut version)?;
        let mut checksum = [0; 32];
        self.file.read_exact(&mut checksum)?;
        let bytes = self.read_part()?;
        self.number += 1;
        Ok(Some(SnapshotChunk {
            name: String::from_utf8(name).map_err(std::io::Error::other)?,
            version: u32::from_be_bytes(version),
            checksum,
            bytes: bytes.into(),
        }))
    }

    fn read_part(&mut self) -> std::io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.file.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_CHUNK_BYTES {
            return Err(std::io::Error::other("a length is beyond what a chunk holds"));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Iterator for ReadChunks {
    type Item = SnapshotChunk;

    fn next(&mut self) -> Option<SnapshotChunk> {
        match self.read() {
            Ok(chunk) => chunk,
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }
}

/// What apply noticed, for people. Every replica says it: each has its own log.
fn tell(notice: &Notice) {
    match notice {
        Notice::NodeConnected { node, epoch } => tracing::info!(%node, %epoch, "node connected for the first time"),
        Notice::Shortfall { node, stock_key, level } => {
            tracing::info!(%node, stock_key, level, "node reported a shortfall level");
        }
        Notice::Declined { node, allocation, quantity } => {
            tracing::info!(%node, %allocation, quantity, "node declined work");
        }
        Notice::HistoryLost { node, epoch, from_seq, to_seq } => {
            tracing::error!(%node, %epoch, from_seq, to_seq, "entries of the node's history exist nowhere: recount");
        }
        Notice::LateFacts { node, epoch, to_seq } => {
            tracing::warn!(%node, %epoch, to_seq, "facts of an epoch that is over surfaced, and have no effect");
        }
        Notice::ShippedTwice { node, allocation, quantity } => {
            tracing::warn!(%node, %allocation, quantity, "a lost node had shipped what two people signed away");
        }
        other => tracing::info!(notice = ?other, "oddity in a node's facts"),
    }
}
