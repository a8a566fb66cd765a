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

mod log_bridge;
mod proposals;
mod reads;
mod turn;

use protobuf::Message as _;
use raft::eraftpb::{ConfState, Message, MessageType};
use raft::{Config, RawNode, ReadOnlyOption, SnapshotStatus, StateRole, Storage};

pub use turn::{Committed, Effect, Turn};

use proposals::Proposals;
use reads::Reads;

/// How a replica runs. Times are in ticks; the driver says how long one is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Raft id of this replica, from 1.
    pub id: u64,
    /// A value that no earlier life of this replica used: keeps its read contexts from being taken for older ones.
    pub life: u64,
    /// Ticks without a leader's message before an election; raft-rs draws from `election_ticks..2 * election_ticks`.
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
            applied,
            applied_term,
        }
    }

    fn raft(&self) -> Config {
        let (min_election_tick, max_election_tick) = self.election_range.unwrap_or((0, 0));
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
}

impl<L: Storage> Replica<L> {
    /// Starts on what `log` holds.
    ///
    /// # Errors
    /// When the settings contradict themselves or the log can't be read.
    pub fn new(settings: &Settings, log: L) -> Result<Self, raft::Error> {
        let node = RawNode::new(&settings.raft(), log, &log_bridge::logger(settings.id))?;
        Ok(Self {
            node,
            proposals: Proposals::new(settings.id),
            reads: Reads::new(settings.id, settings.life, settings.election_ticks),
            applied: (settings.applied, settings.applied_term),
        })
    }

    /// One tick of time has passed.
    pub fn tick(&mut self) {
        self.node.tick();
        self.reads.tick();
    }

    /// A peer's message. One that can't be taken is dropped: Raft repeats what matters.
    pub fn step(&mut self, message: Message) {
        let kind = message.get_msg_type();
        // Commands reach the leader as requests, so that they are checked and decided there; a proposal that comes as a
        // raft message would pass that by.
        if kind == MessageType::MsgPropose {
            tracing::warn!(from = message.from, "refused a proposal that came as a raft message");
            return;
        }
        if let Err(error) = self.node.step(message) {
            tracing::debug!(?kind, %error, "raft message not taken");
        }
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

    /// Nobody waits for this read any more.
    pub fn forget_read(&mut self, ticket: u64) {
        self.reads.forget(ticket);
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
        let voters = self.node.raft.prs().conf().voters().ids();
        let (heir, _) = self
            .node
            .raft
            .prs()
            .iter()
            .filter(|(id, progress)| **id != me && voters.contains(**id) && progress.recent_active)
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
    pub fn members(&self) -> ConfState {
        self.node.raft.prs().conf().to_conf_state()
    }
}
