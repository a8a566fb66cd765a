//! Commands on their way: gathered into one log entry, proposed, and matched with what came of them.
//!
//! Commands that wait together share an entry, and so a disk sync. It must not know sockets, disks or Raft's messages;
//! the leader's decisions are the core's.

use std::collections::BTreeMap;

use prost::Message;
use stockmesh_coordinator_core::decide::{self, OrderDecision, Overlay};
use stockmesh_coordinator_core::{Answer, State, required_feature_level};
use stockmesh_proto::FEATURE_LEVEL;
use stockmesh_proto::raft::v1::{Command, LogEntry, command};
use stockmesh_types::{Reason, Reject};

use super::handle::{OrderRequest, Reply};

/// Commands that one log entry may hold.
const MAX_COMMANDS: usize = 256;
/// Bytes of commands that one log entry may hold, about: a single larger command still goes, alone.
const MAX_BYTES: usize = 512 << 10;
/// Commands in flight; above it, requests stay in their queue.
const MAX_IN_FLIGHT: usize = 4_096;
/// How often an order is decided again when rights changed under it.
const MAX_DECISIONS: u32 = 3;

/// Who waits for a command.
enum Waiter {
    /// A call.
    Call(Reply),
    /// A call that places an order: decided again when rights change under the decision.
    Order(Box<OrderRequest>, Reply, u32),
    /// The backlog worker.
    Backlog,
    /// The first command of the group.
    Initialize,
}

/// An order to decide: how often it was decided before.
pub(super) struct Undecided {
    request: Box<OrderRequest>,
    reply: Reply,
    decided: u32,
}

impl Undecided {
    pub(super) fn new(request: Box<OrderRequest>, reply: Reply) -> Self {
        Self { request, reply, decided: 0 }
    }

    pub(super) fn refuse(self, reject: Reject) {
        self.reply.send(Err(reject));
    }
}

/// What came of an applied entry, beyond its answers.
#[derive(Default)]
pub(super) struct Landed {
    /// Orders to decide again.
    pub(super) again: Vec<Undecided>,
    /// The backlog worker's step is done; units that it promised or asked back.
    pub(super) backlog: Option<i64>,
}

/// Commands on their way.
#[derive(Default)]
pub(super) struct Flight {
    overlay: Overlay,
    commands: Vec<Command>,
    bytes: usize,
    waiters: Vec<Waiter>,
    proposed: BTreeMap<u64, Vec<Waiter>>,
    in_flight: usize,
    /// The group's feature level; 0 before its first command.
    level: u32,
    /// Refused, and not asked to be confirmed yet.
    refusals: Vec<(Reply, Reject)>,
    /// By ticket of the read that confirms them.
    confirming: BTreeMap<u64, Vec<(Reply, Reject)>>,
}

impl Flight {
    pub(super) fn has_room(&self) -> bool {
        let refused: usize = self.confirming.values().map(Vec::len).sum();
        self.in_flight + self.waiters.len() + refused + self.refusals.len() < MAX_IN_FLIGHT
    }

    /// The gathered entry is as large as it may be: propose it before gathering more.
    pub(super) fn is_full(&self) -> bool {
        self.commands.len() >= MAX_COMMANDS || self.bytes >= MAX_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// The feature level that is in force: what needs a higher one is refused.
    pub(super) fn allow(&mut self, level: u32) {
        self.level = level;
    }

    /// Gathers a call's command.
    pub(super) fn command(&mut self, command: Command, reply: Reply) {
        self.gather(command, Waiter::Call(reply));
    }

    /// Gathers the group's first command.
    pub(super) fn initialize(&mut self, command: Command) {
        self.gather(command, Waiter::Initialize);
    }

    /// Decides an order and gathers its commit, under the number of the proposal to come. `now_ms`: the leader's clock.
    pub(super) fn order(&mut self, number: u64, state: &State, undecided: Undecided, now_ms: i64) {
        let Undecided { request, reply, decided } = undecided;
        let OrderRequest { order, hash, incarnation, .. } = &*request;
        match decide::order(state, &self.overlay, order, *hash, *incarnation, now_ms) {
            Ok(OrderDecision::Commit(commit)) => {
                let kind = command::Kind::CommitOrder(commit);
                self.overlay.add(number, state, &kind);
                let command =
                    Command { principal: Some((&request.principal).into()), kind: Some(kind), ..Command::default() };
                self.gather(command, Waiter::Order(request, reply, decided + 1));
            }
            Ok(OrderDecision::AlreadyPlaced) => {
                // Its form was checked when it was placed.
                let placed = stockmesh_types::OrderId::new(&request.order.order_id)
                    .map(|order_id| Answer::OrderPlaced { order_id, already_placed: true });
                reply.send(placed);
            }
            Err(reject) => self.refusals.push((reply, reject)),
        }
    }

    /// Refusals that wait to be confirmed: a refusal decided on the state of a leader that was deposed without knowing it
    /// could be wrong, and is final to its caller. `ticket` is a read that was asked for after they were decided: when it may
    /// be answered, this replica led at that moment, and its state was the latest.
    pub(super) fn confirm_refusals(&mut self, ticket: impl FnOnce() -> u64) {
        if !self.refusals.is_empty() {
            self.confirming.insert(ticket(), std::mem::take(&mut self.refusals));
        }
    }

    /// The read may be answered.
    pub(super) fn confirmed(&mut self, ticket: u64) {
        for (reply, reject) in self.confirming.remove(&ticket).unwrap_or_default() {
            reply.send(Err(reject));
        }
    }

    /// Leadership is lost: what was refused and not confirmed may be wrong. Nothing was done. Gives the reads that nobody
    /// waits for any more.
    pub(super) fn deposed(&mut self) -> Vec<u64> {
        let confirming = std::mem::take(&mut self.confirming);
        let tickets = confirming.keys().copied().collect();
        let waiting = confirming.into_values().flatten().chain(std::mem::take(&mut self.refusals));
        let reject =
            Reject::new(Reason::NotLeader, "leadership was lost before this could be decided: ask the new leader");
        for (reply, _) in waiting {
            reply.send(Err(reject.clone()));
        }
        tickets
    }

    /// Gathers the next step of work that goes on by itself; false when there is none now.
    pub(super) fn backlog(
        &mut self,
        number: u64,
        state: &State,
        budget: usize,
        principal: &stockmesh_types::Principal,
    ) -> bool {
        let Some(kind) = decide::next_step(state, &self.overlay, budget) else { return false };
        if required_feature_level(&kind) > self.level {
            return false;
        }
        self.overlay.add(number, state, &kind);
        let command = Command { principal: Some(principal.into()), kind: Some(kind), ..Command::default() };
        self.gather(command, Waiter::Backlog);
        true
    }

    fn gather(&mut self, command: Command, waiter: Waiter) {
        let needed = command.kind.as_ref().map_or(0, required_feature_level);
        if self.level > 0 && needed > self.level {
            let message = format!(
                "this needs feature level {needed}, and the group's is {}: upgrade every replica, then raise it with \
                 `cluster raise-level`",
                self.level
            );
            waiter.give_up(&Reject::new(Reason::FeatureLevelTooLow, message));
            return;
        }
        self.bytes += command.encoded_len();
        self.commands.push(command);
        self.waiters.push(waiter);
    }

    /// The gathered entry, encoded.
    pub(super) fn take_entry(&mut self, proposer: u64, number: u64, stamp_ms: i64) -> Vec<u8> {
        self.bytes = 0;
        let commands = std::mem::take(&mut self.commands);
        // A fresh group begins at what its first leader speaks; from then on only a command of its own raises the level.
        let feature_level = if self.level == 0 { FEATURE_LEVEL } else { self.level };
        LogEntry { feature_level, stamp_ms, proposer, proposal: number, commands }.encode_to_vec()
    }

    /// The entry was appended under this number.
    pub(super) fn proposed(&mut self, number: u64) {
        let waiters = std::mem::take(&mut self.waiters);
        self.in_flight += waiters.len();
        self.proposed.insert(number, waiters);
    }

    /// The entry was not appended: nothing can come of it.
    pub(super) fn refused(&mut self, number: u64, reject: &Reject) {
        self.overlay.remove(number);
        for waiter in std::mem::take(&mut self.waiters) {
            waiter.give_up(reject);
        }
    }

    /// An entry of ours was applied.
    pub(super) fn landed(&mut self, number: u64, outcomes: Vec<Result<Answer, Reject>>) -> Landed {
        self.overlay.remove(number);
        let waiters = self.proposed.remove(&number).unwrap_or_default();
        self.in_flight -= waiters.len();
        let mut landed = Landed::default();
        for (waiter, outcome) in waiters.into_iter().zip(outcomes) {
            match waiter {
                Waiter::Call(reply) => reply.send(outcome),
                Waiter::Order(request, reply, decided) => match outcome {
                    Err(reject) if reject.reason == Reason::RightsChanged && decided < MAX_DECISIONS => {
                        landed.again.push(Undecided { request, reply, decided });
                    }
                    outcome => reply.send(outcome),
                },
                Waiter::Backlog => {
                    landed.backlog = Some(match outcome {
                        Ok(Answer::BackordersAllocated { promised, left_out: _ }) => promised,
                        Ok(Answer::ShortfallsWorkedOff { asked }) => asked,
                        Ok(Answer::SubstitutesReserved { reserved, left_out: _ }) => reserved,
                        // Each step looks at more, whatever it finds.
                        Ok(Answer::WorkContinued { more: _ }) => 1,
                        Ok(Answer::ItemsAnnounced { told: count } | Answer::LateSupplyFound { found: count }) => {
                            i64::from(count)
                        }
                        Ok(_) => 0,
                        Err(reject) => {
                            tracing::info!(%reject, "a step of the backlog was refused; it is decided again");
                            0
                        }
                    });
                }
                Waiter::Initialize => match outcome {
                    Ok(answer) => tracing::info!(?answer, "group initialized"),
                    Err(reject) => tracing::error!(%reject, "the group's first command was refused"),
                },
            }
        }
        landed
    }

    /// Leadership was lost while these were in flight: what came of them is not known here.
    pub(super) fn unknown(&mut self, numbers: &[u64]) {
        let reject = outcome_unknown();
        for number in numbers {
            self.overlay.remove(*number);
            let waiters = self.proposed.remove(number).unwrap_or_default();
            self.in_flight -= waiters.len();
            waiters.into_iter().for_each(|waiter| waiter.give_up(&reject));
        }
    }

    /// Another replica leads: its decisions count, not ours.
    pub(super) fn forget_decisions(&mut self) {
        self.overlay.clear();
    }
}

impl Waiter {
    fn give_up(self, reject: &Reject) {
        match self {
            Self::Call(reply) | Self::Order(_, reply, _) => reply.send(Err(reject.clone())),
            Self::Backlog | Self::Initialize => {}
        }
    }
}

pub(super) fn outcome_unknown() -> Reject {
    Reject::new(
        Reason::OutcomeUnknown,
        "leadership was lost while this was in flight: it may or may not have been done; repeat it with the same id",
    )
}
