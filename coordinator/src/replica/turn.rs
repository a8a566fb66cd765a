//! One turn: a raft-rs `Ready`, worked off in the one order that keeps its promises: nothing is said before it is durable.
//!
//! Each step is an [`Effect`]; asking for the next one says that the one before is done (for [`Effect::Persist`]:
//! durable). A turn that is dropped half-way leaves the replica unusable: only a fault, which ends the process, does.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::{
    ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2, Entry, EntryType, HardState, Message, SnapshotMetadata,
};
use raft::{LightReady, Ready, Storage};
use stockmesh_proto::raft::v1::MemberChange;

use super::members::{Directory, in_order, sorted};
use super::{Members, Replica, ReplicaFault};

/// An entry that a quorum has.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// Log index.
    pub index: u64,
    /// Term that it was appended in.
    pub term: u64,
    /// What was proposed. Empty for a new leader's first entry.
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
    /// The members changed. Nothing is to be written: they are part of the log and of snapshots.
    MembersChanged {
        /// As they are now.
        members: Members,
        /// The number under which the change was proposed here, when somebody waits for it.
        proposal: Option<u64>,
    },
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
    /// [`ReplicaFault`]: the replica must stop.
    #[allow(clippy::should_implement_trait)] // It fails, and an iterator could be collected: each step must be done first.
    pub fn next(&mut self) -> Result<Option<Effect>, ReplicaFault> {
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
                        self.install(ready.snapshot())?;
                    }
                    Phase::Persist(ready)
                }
                // One write, so that no crash separates a vote or an entry from the term it belongs to.
                Phase::Persist(mut ready) => {
                    let snapshot = (!ready.snapshot().is_empty()).then(|| ready.snapshot().get_metadata().clone());
                    let (hard_state, sync) = (ready.hs().cloned(), ready.must_sync());
                    let entries = ready.take_entries();
                    let is_change = |entry: &&Entry| entry.get_entry_type() != EntryType::EntryNormal;
                    if let Some(change) = entries.iter().rev().find(is_change) {
                        self.replica.last_change = self.replica.last_change.max(change.index);
                    }
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

    fn install(&mut self, snapshot: &raft::eraftpb::Snapshot) -> Result<(), ReplicaFault> {
        let metadata = snapshot.get_metadata().clone();
        self.replica.applied = (metadata.index, metadata.term);
        self.replica.members.conf = in_order(metadata.get_conf_state().clone());
        // A replica of the first release sends none: then what is known here stays.
        if !snapshot.data.is_empty() {
            let change = MemberChange::decode(&snapshot.data[..])
                .map_err(|error| ReplicaFault::Change { index: metadata.index, what: error.to_string() })?;
            self.replica.members.directory = Directory::of(change.records)?;
        }
        self.check_own_disk()?;
        self.pending.push_back(Effect::Install(metadata));
        self.announce(None);
        Ok(())
    }

    fn apply(&mut self, entries: Vec<Entry>) -> Result<(), ReplicaFault> {
        let mut batch = Vec::with_capacity(entries.len());
        for mut entry in entries {
            self.replica.applied = (entry.index, entry.term);
            let proposal = self.replica.proposals.committed(&entry.context, entry.index, entry.term);
            let change = match entry.get_entry_type() {
                EntryType::EntryNormal => {
                    let data = std::mem::take(&mut entry.data);
                    batch.push(Committed { index: entry.index, term: entry.term, data, proposal });
                    continue;
                }
                EntryType::EntryConfChange => {
                    raft_proto_v2(&ConfChange::parse_from_bytes(&entry.data).map_err(raft::Error::from)?)
                }
                EntryType::EntryConfChangeV2 => {
                    ConfChangeV2::parse_from_bytes(&entry.data).map_err(raft::Error::from)?
                }
            };
            // What stands before it in the log is applied before it is announced.
            if !batch.is_empty() {
                self.pending.push_back(Effect::Apply(std::mem::take(&mut batch)));
            }
            self.change(entry.index, &change)?;
            self.announce(proposal);
        }
        if !batch.is_empty() {
            self.pending.push_back(Effect::Apply(batch));
        }
        Ok(())
    }

    fn change(&mut self, index: u64, change: &ConfChangeV2) -> Result<(), ReplicaFault> {
        let context = MemberChange::decode(&change.context[..])
            .map_err(|error| ReplicaFault::Change { index, what: error.to_string() })?;
        let MemberChange { records, voters_before, learners_before } = context;
        if !change.context.is_empty() {
            self.begin_with(index, voters_before, &learners_before)?;
        }
        let raft = &mut self.replica.node.raft;
        if raft.state == raft::StateRole::Leader && leaves(&self.replica.members, raft.id, change) {
            // Raft-rs does not step down by itself, and its leader must be a member. A majority of the others has the entry.
            let term = raft.term;
            raft.become_follower(term, raft::INVALID_ID);
        }
        self.replica.members.conf = in_order(self.replica.node.apply_conf_change(change)?);
        self.replica.members.took(records)?;
        self.check_own_disk()
    }

    /// Compares the members that the change was decided on with those that are known here; a replica that has just joined
    /// knows none, and begins with them.
    fn begin_with(&mut self, index: u64, voters: Vec<u64>, learners: &[u64]) -> Result<(), ReplicaFault> {
        let Members { conf, .. } = &self.replica.members;
        if conf.voters.is_empty() && conf.learners.is_empty() {
            let voters = voters.into_iter().map(|id| (id, ConfChangeType::AddNode));
            let learners = learners.iter().map(|id| (*id, ConfChangeType::AddLearnerNode));
            for (node_id, kind) in voters.chain(learners) {
                let mut single = ConfChangeSingle { node_id, ..ConfChangeSingle::default() };
                single.set_change_type(kind);
                let mut one = ConfChangeV2::default();
                one.mut_changes().push(single);
                self.replica.members.conf = in_order(self.replica.node.apply_conf_change(&one)?);
            }
            return Ok(());
        }
        if sorted(&conf.voters) == voters && sorted(&conf.learners) == learners {
            return Ok(());
        }
        Err(ReplicaFault::OtherMembers { index, theirs: voters, ours: sorted(&conf.voters) })
    }

    /// The log knows another disk under this replica's id: whoever it was, it voted under this id.
    fn check_own_disk(&self) -> Result<(), ReplicaFault> {
        let Replica { node, members, store, .. } = &*self.replica;
        match members.directory.get(node.raft.id).and_then(|record| record.store) {
            Some(joined) if joined != *store => Err(super::members::NotAdmitted::StoreReplaced(node.raft.id).into()),
            _ => Ok(()),
        }
    }

    fn announce(&mut self, proposal: Option<u64>) {
        let members = self.replica.members.clone();
        self.pending.push_back(Effect::MembersChanged { members, proposal });
    }
}

/// True when `me` is no member any more after the change.
fn leaves(members: &Members, me: u64, change: &ConfChangeV2) -> bool {
    let conf = &members.conf;
    if change.changes.is_empty() {
        return !conf.voters.contains(&me) && !conf.learners.contains(&me) && !conf.learners_next.contains(&me);
    }
    // With several changes the configuration is joint at first, and it still belongs to the old half.
    let removed =
        |single: &ConfChangeSingle| single.node_id == me && single.get_change_type() == ConfChangeType::RemoveNode;
    change.changes.len() == 1 && change.changes.iter().any(removed)
}

/// A change in Raft's older form, which earlier tools may have written.
fn raft_proto_v2(change: &ConfChange) -> ConfChangeV2 {
    let mut single = ConfChangeSingle { node_id: change.node_id, ..ConfChangeSingle::default() };
    single.set_change_type(change.get_change_type());
    let mut changed = ConfChangeV2::default();
    changed.mut_changes().push(single);
    changed
}
