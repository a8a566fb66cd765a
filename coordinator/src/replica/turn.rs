//! One turn: a raft-rs `Ready`, worked off in the one order that keeps its promises: nothing is said before it is durable.
//!
//! Each step is an [`Effect`]; asking for the next one says that the one before is done (for [`Effect::Persist`]:
//! durable). A turn that is dropped half-way leaves the replica unusable: only a fault, which ends the process, does.

use std::collections::VecDeque;

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeV2, ConfState, Entry, EntryType, HardState, Message, SnapshotMetadata};
use raft::{LightReady, Ready, Storage};

use super::Replica;

/// An entry that a quorum has.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// Log index.
    pub index: u64,
    /// Term that it was appended in.
    pub term: u64,
    /// What was proposed. Empty for a new leader's first entry and for membership changes.
    pub data: Bytes,
    /// The number under which it was proposed here, when somebody waits for it.
    pub proposal: Option<u64>,
}

/// What the driver must do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Hand these to their peers. A message that is lost is repeated by Raft; it must not be delayed by waiting.
    Send(Vec<Message>),
    /// Load the snapshot that stands at this place; its files are on disk, durably, since before its message was stepped.
    Install(SnapshotMetadata),
    /// Write all of it in *one* durable write.
    Persist {
        /// The log is replaced by this snapshot: everything that it held before is gone.
        snapshot: Option<SnapshotMetadata>,
        /// Entries; they replace what the log holds from the first one's index on.
        entries: Vec<Entry>,
        /// Term, vote, commit.
        hard_state: Option<HardState>,
        /// False when only the commit index moved: then the write may be lost in a crash.
        sync: bool,
    },
    /// The commit index moved. Raft finds it again after a crash: write it without syncing.
    PersistCommit(u64),
    /// The members changed at this index; write it with the next entries.
    PersistMembers(ConfState),
    /// Apply in order, and answer those that have a proposal number.
    Apply(Vec<Committed>),
    /// Outcome unknown: leadership was lost while these proposals were in flight.
    Unknown(Vec<u64>),
    /// These reads may be answered from the applied state now.
    Readable(Vec<u64>),
}

enum Phase {
    Messages(Box<Ready>),
    Snapshot(Box<Ready>),
    Persist(Box<Ready>),
    PersistedMessages(Box<Ready>),
    ApplyCommitted(Box<Ready>),
    Advance(Box<Ready>),
    LightMessages(LightReady),
    LightCommitted(LightReady),
    AdvanceApply,
    Unknown,
    Readable,
    Done,
}

/// One turn. See the module.
pub struct Turn<'a, L: Storage> {
    replica: &'a mut Replica<L>,
    phase: Phase,
    /// Effects of the present phase that are not handed out yet.
    pending: VecDeque<Effect>,
}

impl<'a, L: Storage> Turn<'a, L> {
    pub(super) fn begin(replica: &'a mut Replica<L>) -> Self {
        let phase =
            if replica.node.has_ready() { Phase::Messages(Box::new(replica.node.ready())) } else { Phase::Unknown };
        Self { replica, phase, pending: VecDeque::new() }
    }

    /// The next thing to do; the one before is done. `None`: the turn is over.
    ///
    /// # Errors
    /// When a membership change in the log can't be read: corruption.
    #[allow(clippy::should_implement_trait)] // It fails, and an iterator could be collected: each step must be done first.
    pub fn next(&mut self) -> Result<Option<Effect>, raft::Error> {
        loop {
            if let Some(effect) = self.pending.pop_front() {
                return Ok(Some(effect));
            }
            self.phase = match std::mem::replace(&mut self.phase, Phase::Done) {
                // A leader's messages leave before its own write: followers write in parallel, and Raft counts the
                // leader's vote for an entry only after `advance` (Raft thesis 10.2.1).
                Phase::Messages(mut ready) => {
                    self.send(ready.take_messages());
                    Phase::Snapshot(ready)
                }
                // Before the log says that it begins after the snapshot, the snapshot must be there and readable.
                Phase::Snapshot(ready) => {
                    if !ready.snapshot().is_empty() {
                        let metadata = ready.snapshot().get_metadata().clone();
                        self.replica.applied = (metadata.index, metadata.term);
                        self.pending.push_back(Effect::Install(metadata));
                    }
                    Phase::Persist(ready)
                }
                // One write, so that no crash separates a vote or an entry from the term it belongs to.
                Phase::Persist(mut ready) => {
                    let snapshot = (!ready.snapshot().is_empty()).then(|| ready.snapshot().get_metadata().clone());
                    let (hard_state, sync) = (ready.hs().cloned(), ready.must_sync());
                    let entries = ready.take_entries();
                    if snapshot.is_some() || hard_state.is_some() || !entries.is_empty() {
                        self.pending.push_back(Effect::Persist { snapshot, entries, hard_state, sync });
                    }
                    Phase::PersistedMessages(ready)
                }
                // Votes and acknowledgements are promises about what was just written: never before it.
                Phase::PersistedMessages(mut ready) => {
                    self.send(ready.take_persisted_messages());
                    Phase::ApplyCommitted(ready)
                }
                // After the write: what is applied here is answered, and must be found again after a crash.
                Phase::ApplyCommitted(mut ready) => {
                    for read in ready.take_read_states() {
                        self.replica.reads.confirmed(&read.request_ctx, read.index);
                    }
                    self.apply(ready.take_committed_entries())?;
                    Phase::Advance(ready)
                }
                // Tells Raft that the write is durable; that may commit more at once (a group of one, a leader last).
                Phase::Advance(ready) => {
                    let light = self.replica.node.advance(*ready);
                    if let Some(commit) = light.commit_index() {
                        self.pending.push_back(Effect::PersistCommit(commit));
                    }
                    Phase::LightMessages(light)
                }
                Phase::LightMessages(mut light) => {
                    self.send(light.take_messages());
                    Phase::LightCommitted(light)
                }
                Phase::LightCommitted(mut light) => {
                    self.apply(light.take_committed_entries())?;
                    Phase::AdvanceApply
                }
                Phase::AdvanceApply => {
                    self.replica.node.advance_apply();
                    Phase::Unknown
                }
                // After applying: what committed in this very turn is answered, not given up.
                Phase::Unknown => {
                    let (leads, term) = (self.replica.leads(), self.replica.node.raft.term);
                    let lost = self.replica.proposals.take_lost(leads, term);
                    if !lost.is_empty() {
                        self.pending.push_back(Effect::Unknown(lost));
                    }
                    Phase::Readable
                }
                Phase::Readable => {
                    let readable = self.replica.reads.take_readable(self.replica.applied.0);
                    if !readable.is_empty() {
                        self.pending.push_back(Effect::Readable(readable));
                    }
                    Phase::Done
                }
                Phase::Done => return Ok(None),
            };
        }
    }

    fn send(&mut self, messages: Vec<Message>) {
        if !messages.is_empty() {
            self.pending.push_back(Effect::Send(messages));
        }
    }

    fn apply(&mut self, entries: Vec<Entry>) -> Result<(), raft::Error> {
        let mut batch = Vec::with_capacity(entries.len());
        for mut entry in entries {
            self.replica.applied = (entry.index, entry.term);
            let data = match entry.get_entry_type() {
                EntryType::EntryNormal => std::mem::take(&mut entry.data),
                EntryType::EntryConfChange => {
                    let change = ConfChange::parse_from_bytes(&entry.data)?;
                    self.replica.node.apply_conf_change(&change).map(|members| self.changed(members))?
                }
                EntryType::EntryConfChangeV2 => {
                    let change = ConfChangeV2::parse_from_bytes(&entry.data)?;
                    self.replica.node.apply_conf_change(&change).map(|members| self.changed(members))?
                }
            };
            let proposal = self.replica.proposals.committed(&entry.context, entry.index, entry.term);
            batch.push(Committed { index: entry.index, term: entry.term, data, proposal });
        }
        if !batch.is_empty() {
            self.pending.push_back(Effect::Apply(batch));
        }
        Ok(())
    }

    fn changed(&mut self, members: ConfState) -> Bytes {
        self.pending.push_back(Effect::PersistMembers(members));
        Bytes::new()
    }
}
