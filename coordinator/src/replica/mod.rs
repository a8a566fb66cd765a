//! One replica of the group, without I/O: a struct over raft-rs's `RawNode`.
//!
//! It takes ticks, messages, proposals and reads, and hands out [`Effect`]s: what to send, persist, apply and answer, in
//! the only order that is safe. The production driver and simulations drive this same struct; nothing here knows a
//! socket, a disk, a clock or what a command means.
//!
//! ```text
//!   tick, step, propose, read ──> Replica ──turn()──> Turn ──next()──> Effect, Effect, … ──> done
//! ```
//!
//! A [`Turn`] borrows the replica until it is done: raft-rs forbids stepping, proposing and campaigning between `ready`
//! and `advance`, and so does the compiler.

mod admission;
pub mod clock;
pub mod hashes;
mod log_bridge;
pub mod members;
mod proposals;
mod reads;
mod turn;

use std::collections::BTreeSet;

use protobuf::Message as _;
use raft::eraftpb::{ConfChangeV2, Message};
use raft::{Config, ProgressState, RawNode, ReadOnlyOption, SnapshotStatus, StateRole, Storage};

pub use admission::Malformed;
pub use turn::{Committed, Effect, Turn};

use members::{Change, ChangeError, Directory, MalformedRecord, Members, StoreId, in_order};

use proposals::Proposals;
use reads::Reads;

/// How a replica runs. Times are in ticks; the driver says how long one is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Raft id of this replica, from 1.
    pub id: u64,
    /// A value that no earlier life of this replica used: keeps its read contexts from being taken for older ones.
    pub life: u64,
    /// Ticks without a leader's message before an election; raft-rs draws from `election_ticks + 1 ..= 2 * election_ticks`.
    pub election_ticks: usize,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// Bounds of the drawn election timeout, for simulations that need it fixed: `(n, n + 1)`.
    pub election_range: Option<(usize, usize)>,
    /// Largest append message, bytes.
    pub max_message_bytes: u64,
    /// Append messages in flight for each follower.
    pub max_inflight_messages: usize,
    /// Bytes of proposals that are not committed; more are refused.
    pub max_uncommitted_bytes: u64,
    /// Bytes of committed entries handed out at once.
    pub max_committed_bytes_per_turn: u64,
    /// Identity of this replica's disk.
    pub store: StoreId,
    /// Who belongs to the group and ever did, as of `applied`; the log holds Raft's members as of there.
    pub directory: Directory,
    /// Index that the state machine has applied already: that of the snapshot it was loaded from.
    pub applied: u64,
    /// Term of that entry.
    pub applied_term: u64,
}

impl Settings {
    /// The usual settings for replica `id`, whose state machine was loaded at `applied` of `applied_term`.
    #[must_use]
    pub fn new(id: u64, life: u64, applied: u64, applied_term: u64) -> Self {
        Self {
            id,
            life,
            election_ticks: 8,
            heartbeat_ticks: 2,
            election_range: None,
            max_message_bytes: 1 << 20,
            max_inflight_messages: 64,
            max_uncommitted_bytes: 32 << 20,
            max_committed_bytes_per_turn: 4 << 20,
            store: StoreId::default(),
            directory: Directory::default(),
            applied,
            applied_term,
        }
    }

    fn raft(&self) -> Config {
        // Beyond `election_ticks`, so that one that must not campaign can wait at the brink and still give its vote: peers
        // hold back their votes for that long after a leader's last word.
        let drawn = (self.election_ticks + 1, 2 * self.election_ticks + 1);
        let (min_election_tick, max_election_tick) = self.election_range.unwrap_or(drawn);
        Config {
            id: self.id,
            election_tick: self.election_ticks,
            heartbeat_tick: self.heartbeat_ticks,
            applied: self.applied,
            max_size_per_msg: self.max_message_bytes,
            max_inflight_msgs: self.max_inflight_messages,
            // A leader that no quorum hears steps down, and one that was cut off does not disturb the others on return.
            check_quorum: true,
            pre_vote: true,
            min_election_tick,
            max_election_tick,
            // Leases trust clocks; this asks a quorum each time.
            read_only_option: ReadOnlyOption::Safe,
            max_uncommitted_size: self.max_uncommitted_bytes,
            max_committed_size_per_ready: self.max_committed_bytes_per_turn,
            ..Config::default()
        }
    }
}

/// Why a proposal was not taken. It was not appended: nothing can come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another replica leads, or none.
    #[error("this replica does not lead")]
    NotLeader,
    /// Too much is in flight, or leadership is being handed over.
    #[error("too much is in flight, or leadership is being handed over")]
    Busy,
}

/// Why a replica must stop.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaFault {
    /// Raft could not read its log.
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
    /// A membership change in the log can't be read: corruption.
    #[error("the change of members at log index {index} can't be read: {what}")]
    Change {
        /// Log index.
        index: u64,
        /// What is wrong.
        what: String,
    },
    /// This replica is not of the group whose log it has.
    #[error(
        "the change of members at log index {index} was decided in a group of voters {theirs:?}, and this replica knows \
         {ours:?}: it began with another configuration. Stop it, and add this machine anew under a new id"
    )]
    OtherMembers {
        /// Log index.
        index: u64,
        /// As the log says.
        theirs: Vec<u64>,
        /// As this replica knows.
        ours: Vec<u64>,
    },
    /// The log says that this replica's id joined on another disk.
    #[error(transparent)]
    NotAdmitted(#[from] members::NotAdmitted),
    /// A record of a member can't be read.
    #[error(transparent)]
    Record(#[from] MalformedRecord),
}

/// What a replica is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// This replica.
    pub id: u64,
    /// The leader that it knows; 0: none.
    pub leader_id: u64,
    /// True when it leads itself.
    pub leads: bool,
    /// Term.
    pub term: u64,
    /// Committed index.
    pub commit_index: u64,
    /// Applied index: what the driver has reported done.
    pub applied_index: u64,
}

/// One replica. See the module.
pub struct Replica<L: Storage> {
    node: RawNode<L>,
    proposals: Proposals,
    reads: Reads,
    /// Index and term of the last entry that the state machine has applied.
    applied: (u64, u64),
    members: Members,
    store: StoreId,
    election_ticks: usize,
    /// False: it may vote, and neither campaigns nor stays leader.
    fit: bool,
    /// Ticks for which an unfit replica has held back from an election.
    held_back: usize,
    /// A voter on an empty disk: it may be one of a fresh group, or one that lost its disk and forgot its votes. Whom of the
    /// others it has met, until there are enough of them to know.
    dormant: Option<BTreeSet<u64>>,
    /// No change of members stands in the log behind this index.
    last_change: u64,
}

/// Elections that an unfit replica sits out before it campaigns all the same: it may be the only one with the whole log, and
/// hands over as soon as another has it.
const ELECTIONS_SAT_OUT: usize = 6;
/// A learner is promoted when it lacks no more entries than this.
const PROMOTE_WITHIN: u64 = 1_000;

impl<L: Storage> Replica<L> {
    /// Starts on what `log` holds.
    ///
    /// # Errors
    /// When the settings contradict themselves, the log can't be read, or the id joined on another disk.
    pub fn new(settings: &Settings, log: L) -> Result<Self, ReplicaFault> {
        let node = RawNode::new(&settings.raft(), log, &log_bridge::logger(settings.id))?;
        let conf = in_order(node.raft.prs().conf().to_conf_state());
        let members = Members { conf, directory: settings.directory.clone() };
        // Bound to another disk before this start: it would vote twice.
        members.admit(settings.id, &settings.store)?;
        let raft = &node.raft;
        let blank = raft.term == 0 && raft.raft_log.last_index() == 0 && settings.applied == 0;
        let dormant = (blank && members.is_voter(settings.id) && members.conf.voters.len() > 1).then(BTreeSet::new);
        // What the log holds beyond what is applied is not looked at: any of it may be one.
        let last_change = raft.raft_log.last_index();
        Ok(Self {
            dormant,
            last_change,
            members,
            store: settings.store,
            election_ticks: settings.election_ticks,
            fit: true,
            held_back: 0,
            node,
            proposals: Proposals::new(settings.id),
            reads: Reads::new(settings.id, settings.life, settings.election_ticks),
            applied: (settings.applied, settings.applied_term),
        })
    }

    /// One tick of time has passed.
    pub fn tick(&mut self) {
        self.reads.tick();
        if self.dormant.is_some() || self.holds_back() {
            return;
        }
        self.node.tick();
        self.end_joint();
        if !self.fit && self.leads() && self.node.raft.lead_transferee.is_none() {
            self.hand_over();
        }
    }

    /// True for a voter on an empty disk that has not met enough of the others yet to know that it is none that lost its disk.
    #[must_use]
    pub fn is_dormant(&self) -> bool {
        self.dormant.is_some()
    }

    /// A peer that has applied every change of members in its log ([`Self::is_settled`]) did not refuse this replica: it knows
    /// of no other disk under this id. As many as any majority lacks, and one more, know of every disk that the group's log
    /// has bound: then this replica takes part.
    pub fn met_settled(&mut self, peer: u64) {
        let Some(met) = &mut self.dormant else { return };
        let voters = &self.members.conf.voters;
        if peer != self.node.raft.id && voters.contains(&peer) {
            met.insert(peer);
        }
        if met.len() >= voters.len().div_ceil(2) {
            self.dormant = None;
        }
    }

    /// It has applied every change of members that its log holds.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.last_change <= self.applied.0
    }

    /// An unfit replica waits at the brink of an election, where it still gives its vote.
    fn holds_back(&mut self) -> bool {
        let raft = &self.node.raft;
        let at_the_brink = raft.election_elapsed + 1 >= raft.randomized_election_timeout();
        if self.fit || self.leads() || !at_the_brink {
            return false;
        }
        self.held_back += 1;
        if self.held_back <= ELECTIONS_SAT_OUT * self.election_ticks {
            return true;
        }
        self.held_back = 0;
        false
    }

    /// Whether this replica may lead: its clock is right. An unfit one votes on, hands leadership over, and campaigns only
    /// when nobody else did for long.
    pub fn set_fit(&mut self, fit: bool) {
        if fit {
            self.held_back = 0;
        }
        self.fit = fit;
    }

    /// Ends the joint configuration that a change of several members began. Whoever leads does it, as soon as it knows of it.
    fn end_joint(&mut self) {
        if !self.members.is_joint() || !self.settled() || self.node.raft.has_pending_conf() {
            return;
        }
        if !self.members.is_voter(self.node.raft.id) {
            // It leaves with the configuration that ends: one that stays must do it.
            self.hand_over();
            return;
        }
        // Not taken when too much is in flight: the next tick tries again.
        if let Err(error) = self.node.propose_conf_change(Vec::new(), ConfChangeV2::default()) {
            tracing::debug!(%error, "the end of a change of members was not taken");
        }
    }

    /// Leads, and has applied an entry of its own term: everything that was committed before stands behind it.
    fn settled(&self) -> bool {
        self.leads() && self.applied.1 == self.node.raft.term
    }

    /// A peer's message. One that can't be taken is dropped: Raft repeats what matters.
    ///
    /// # Errors
    /// [`Malformed`]: no replica that is well sends it.
    pub fn step(&mut self, message: Message) -> Result<(), Malformed> {
        // Commands reach the leader as requests, so that they are checked and decided there; a proposal that comes as a
        // raft message would pass that by.
        admission::check(&self.node.raft, &message)?;
        if self.dormant.is_some() {
            return Ok(());
        }
        let kind = message.get_msg_type();
        if let Err(error) = self.node.step(message) {
            tracing::debug!(?kind, %error, "raft message not taken");
        }
        Ok(())
    }

    /// An encoded message, as peers send it; `None` when it can't be decoded.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Message> {
        Message::parse_from_bytes(bytes).ok()
    }

    /// The number that the next proposal gets.
    #[must_use]
    pub fn next_proposal(&self) -> u64 {
        self.proposals.next()
    }

    /// Appends an entry, when this replica leads. It ends in [`Effect::Apply`] under the returned number, or in
    /// [`Effect::Unknown`].
    ///
    /// # Errors
    /// [`ProposeError`]; nothing was appended.
    pub fn propose(&mut self, data: Vec<u8>) -> Result<u64, ProposeError> {
        // raft-rs forwards a follower's proposal as a message, and drops it silently on the way: not ours.
        if !self.leads() {
            return Err(ProposeError::NotLeader);
        }
        let number = self.proposals.next();
        self.node.propose(self.proposals.context(number), data).map_err(|_| ProposeError::Busy)?;
        let index = self.node.raft.raft_log.last_index();
        self.proposals.began(number, index, self.node.raft.term);
        Ok(number)
    }

    /// Asks for a moment at which everything that was committed when this is called has been applied.
    /// Ends in [`Effect::Readable`] with the same ticket, unless it is forgotten first.
    pub fn read(&mut self, ticket: u64) {
        self.reads.ask(ticket);
    }

    /// Nobody waits for these reads any more; sorted.
    pub fn forget_reads(&mut self, tickets: &[u64]) {
        self.reads.forget(tickets);
    }

    /// The last message to this peer could not be handed to it.
    pub fn report_unreachable(&mut self, peer: u64) {
        self.node.report_unreachable(peer);
    }

    /// How the transfer of a snapshot ended. Until it is told, Raft sends that peer nothing else.
    pub fn report_snapshot(&mut self, peer: u64, arrived: bool) {
        self.node.report_snapshot(peer, if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure });
    }

    /// Hands leadership to the voter that has most of the log. Returns its id; `None` when this replica does not lead,
    /// or is alone.
    pub fn hand_over(&mut self) -> Option<u64> {
        if !self.leads() {
            return None;
        }
        let me = self.node.raft.id;
        let (heir, _) = self
            .node
            .raft
            .prs()
            .iter()
            .filter(|(id, progress)| **id != me && self.members.is_voter(**id) && progress.recent_active)
            .map(|(id, progress)| (*id, progress.matched))
            .max_by_key(|(id, matched)| (*matched, *id))?;
        self.node.transfer_leader(heir);
        Some(heir)
    }

    /// Begins to work off what has gathered; `None` when there is nothing.
    pub fn turn(&mut self) -> Option<Turn<'_, L>> {
        // Asked here, not when the read came: one round of heartbeats serves all reads that wait together.
        if let Some(context) = self.reads.begin_attempt() {
            self.node.read_index(context);
        }
        if self.node.has_ready() || self.proposals.any_lost(self.leads(), self.node.raft.term) {
            Some(Turn::begin(self))
        } else {
            None
        }
    }

    /// True when this replica leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        let raft = &self.node.raft;
        ReplicaStatus {
            id: raft.id,
            leader_id: raft.leader_id,
            leads: self.leads(),
            term: raft.term,
            commit_index: raft.raft_log.committed,
            applied_index: self.applied.0,
        }
    }

    /// Index and term of the last applied entry: where a snapshot of the state machine stands.
    #[must_use]
    pub fn applied(&self) -> (u64, u64) {
        self.applied
    }

    /// The members, as of the last applied change.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Proposes a change of members. It ends in [`Effect::MembersChanged`] under the returned number, or in
    /// [`Effect::Unknown`]. `None`: it is so already.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing was appended.
    pub fn change(&mut self, change: &Change) -> Result<Option<u64>, ChangeError> {
        let me = self.node.raft.id;
        if !self.leads() {
            return Err(ChangeError::NotLeader);
        }
        let leaves = match change {
            Change::Remove { id } => Some(*id),
            Change::Promote { instead_of, .. } => *instead_of,
            Change::Add { .. } | Change::Met { .. } => None,
        };
        let Some(planned) = self.members.plan(change)? else { return Ok(None) };
        if leaves == Some(me) {
            return Err(ChangeError::Leads(me));
        }
        if !self.settled() {
            return Err(ChangeError::Busy);
        }
        if self.node.raft.has_pending_conf() {
            return Err(ChangeError::Changing);
        }
        if let Change::Promote { id, .. } = change {
            self.check_caught_up(*id)?;
        }
        let number = self.proposals.next_change();
        let context = self.proposals.context(number);
        self.node.propose_conf_change(context, planned.conf_change).map_err(|_| ChangeError::Busy)?;
        self.proposals.began(number, self.node.raft.raft_log.last_index(), self.node.raft.term);
        Ok(Some(number))
    }

    fn check_caught_up(&self, learner: u64) -> Result<(), ChangeError> {
        let met = self.members.directory.get(learner).is_some_and(|record| record.store.is_some());
        if !met {
            return Err(ChangeError::Behind(format!("member {learner} was never met: start it, and promote it then")));
        }
        let raft = &self.node.raft;
        let progress = raft.prs().get(learner).filter(|progress| progress.recent_active);
        // Probed, or sent a snapshot: what it has is not known yet.
        let matched = progress.map(|known| if known.state == ProgressState::Replicate { known.matched } else { 0 });
        match matched {
            None => {
                Err(ChangeError::Behind(format!("member {learner} has not answered lately: promote it when it runs")))
            }
            Some(matched) if matched == 0 || matched + PROMOTE_WITHIN < raft.raft_log.committed => {
                Err(ChangeError::Behind(format!(
                    "member {learner} has {matched} of {} log entries: promote it when it has caught up",
                    raft.raft_log.committed
                )))
            }
            Some(_) => Ok(()),
        }
    }

    /// Log index up to which a member is known to have everything; `None` unless this replica leads.
    #[must_use]
    pub fn matched(&self, member: u64) -> Option<u64> {
        if !self.leads() {
            return None;
        }
        self.node.raft.prs().get(member).map(|progress| progress.matched)
    }

    /// Hands leadership to this voter. False when this replica does not lead, or it is no other voter.
    pub fn hand_over_to(&mut self, heir: u64) -> bool {
        if !self.leads() || heir == self.node.raft.id || !self.members.is_voter(heir) {
            return false;
        }
        self.node.transfer_leader(heir);
        true
    }
}
