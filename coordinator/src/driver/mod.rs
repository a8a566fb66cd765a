//! The driver: one thread that owns the replica, its log and its state machine, and does what the replica says.
//!
//! ```text
//!   gRPC handlers ──requests──>┐                        ┌──messages──> peers (bounded queues)
//!   peers ─────────messages───>│ Driver ── Replica ──> ─┤
//!   transport, snapshots ─────>┘    (effects in order)  ├──> DiskLog: one synced write a turn
//!   ticks ────────────────────>                         └──> Machine: apply, answer
//! ```
//!
//! Its own thread, because a synced write blocks it. Everything that comes in waits in a bounded queue.

mod effects;
mod flight;
mod handle;
mod members;
mod open;
mod snapshotting;
mod watched;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use raft::Storage;
use raft::eraftpb::Message;
use stockmesh_proto::raft::v1::{Command, InitializeGroup, command};
use stockmesh_types::{Principal, PrincipalKind, Reason, Reject};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

pub use handle::{
    Board, Bundle, Control, Handle, Heard, MemberCommand, NodeStatus, OrderRequest, PeerView, Reply, Request,
    STREAM_WINDOW,
};
pub use open::{Beginning, Opened, open};

use crate::fault::Fault;
use crate::machine::Machine;
use crate::replica::members::{Members, StoreId};
use crate::replica::{ProposeError, Replica};
use crate::storage::identity::Identity;
use crate::storage::log::DiskLog;
use crate::storage::snapshots::{Hold, Place, Snapshots};
use flight::{Flight, Undecided};
use watched::Watched;

/// Messages taken in one go before the replica gets its turn.
const MESSAGES_AT_ONCE: usize = 1_024;
/// How long the log is kept from a snapshot's place on for a peer that has got it and has not gone on yet.
const CATCH_UP_TICKS: u32 = 600;
/// Orders of streams taken in one go: calls and what was decided go first.
const BULK_AT_ONCE: usize = 512;
/// Reads that may wait for a quorum; one more is refused as overloaded.
const MAX_READS: usize = 8_192;
/// Promises that one step of the backlog may make.
const BACKLOG_BUDGET: usize = 64;

/// Where messages to peers go.
pub trait Peers: Send {
    /// Hands a message over without waiting. False: it was dropped, because the peer's queue is full.
    fn send(&mut self, message: Message) -> bool;

    /// The members are these now: queues of others are closed, new ones are opened.
    fn members(&mut self, members: &Members);
}

/// When snapshots are taken, and what stays of the log behind them.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    /// After this many applied entries.
    pub every_entries: u64,
    /// Or after this many bytes of them.
    pub every_bytes: u64,
    /// Entries that stay behind a snapshot, for followers that are only a little late.
    pub keep_entries: u64,
}

/// How the driver runs.
#[derive(Clone, Debug)]
pub struct DriverOptions {
    /// Length of a tick.
    pub tick: Duration,
    /// Snapshots.
    pub snapshots: SnapshotPolicy,
    /// Finance participants of a fresh group: ids.
    pub finance: Vec<String>,
    /// Wall clock, milliseconds since 1970-01-01T00:00:00Z.
    pub clock: fn() -> i64,
}

/// The driver. See the module.
pub struct Driver<P: Peers> {
    identity: Identity,
    store: StoreId,
    options: DriverOptions,
    replica: Replica<DiskLog>,
    log: DiskLog,
    machine: Machine,
    snapshots: Snapshots,
    peers: P,
    flight: Flight,
    reads: BTreeMap<u64, oneshot::Sender<Result<(), Reject>>>,
    next_read: u64,
    again: Vec<Undecided>,
    /// Changes of members that somebody waits for, by number of their proposal. Raft lets one be under way at a time.
    changing: BTreeMap<u64, oneshot::Sender<Result<(), Reject>>>,
    /// Clocks, hashes, and what else is heard of the others.
    watched: Watched,
    status: watch::Sender<NodeStatus>,
    control: mpsc::WeakSender<Control>,
    led: bool,
    initializing: bool,
    /// A step of the backlog is in flight, or the last one got nowhere: not before the next tick.
    backlog_busy: bool,
    backlog_rests: bool,
    last_snapshot: Place,
    applied_bytes: u64,
    snapshotting: bool,
    /// The members changed since the last snapshot: who joined can only be sent one that names it.
    snapshot_wanted: bool,
    /// Snapshots under way to peers, and ticks that are left to those that arrived until the peer has gone on from there.
    transfers: BTreeMap<u64, (Hold, Option<u32>)>,
    leaving: Option<u32>,
    purge: Option<std::thread::JoinHandle<()>>,
}

/// The ends of the queues that the driver takes from.
pub struct Inbox {
    requests: mpsc::Receiver<(Instant, Request)>,
    bulk: mpsc::Receiver<Bundle>,
    messages: mpsc::Receiver<Message>,
    control: mpsc::Receiver<Control>,
}

impl<P: Peers> Driver<P> {
    /// Puts an opened replica together with its peers. `life` differs from that of every earlier start.
    ///
    /// # Errors
    /// When Raft refuses the log.
    pub fn new(opened: Opened, peers: P, options: DriverOptions) -> Result<(Self, Inbox, Handle), Fault> {
        let Opened { identity, settings, log, machine, snapshots, snapshot } = opened;
        let replica = Replica::new(&settings, log.clone())?;
        let (request_sender, requests) = mpsc::channel(handle::REQUEST_QUEUE);
        let (bulk_sender, bulk) = mpsc::channel(handle::BULK_QUEUE);
        let (message_sender, messages) = mpsc::channel(handle::MESSAGE_QUEUE);
        let (control_sender, control) = mpsc::channel(handle::CONTROL_QUEUE);
        let (status, status_receiver) = watch::channel(NodeStatus::default());
        let (watched, board) = Watched::new(replica.members(), options.clock);
        let handle = Handle {
            identity,
            requests: request_sender,
            bulk: bulk_sender,
            messages: message_sender,
            control: control_sender.clone(),
            status: status_receiver,
            state: machine.state(),
            changes: machine.changes(),
            outbox: machine.outbox().clone(),
            snapshots: snapshots.clone(),
            acknowledged: Arc::default(),
            store: settings.store,
            board,
            clock: watched.clock(),
        };
        let driver = Self {
            identity,
            store: settings.store,
            options,
            replica,
            log,
            machine,
            snapshots,
            peers,
            flight: Flight::default(),
            reads: BTreeMap::new(),
            next_read: 1,
            again: Vec::new(),
            changing: BTreeMap::new(),
            watched,
            status,
            control: control_sender.downgrade(),
            led: false,
            initializing: false,
            backlog_busy: false,
            backlog_rests: false,
            last_snapshot: snapshot,
            applied_bytes: 0,
            snapshotting: false,
            snapshot_wanted: false,
            transfers: BTreeMap::new(),
            leaving: None,
            purge: None,
        };
        Ok((driver, Inbox { requests, bulk, messages, control }, handle))
    }

    /// Runs until it is told to stop, or a fault. Call it on a thread of its own: it blocks while it writes.
    ///
    /// # Errors
    /// [`Fault`]: the process must stop.
    pub fn run(mut self, inbox: Inbox) -> Result<(), Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(Fault::Thread)?;
        let ended = runtime.block_on(self.serve(inbox));
        // It holds the log's lock: whoever opens the folder next must not find it taken.
        if let Some(purge) = self.purge.take()
            && purge.join().is_err()
        {
            tracing::error!("the thread that removes old log files panicked");
        }
        ended
    }

    async fn serve(&mut self, mut inbox: Inbox) -> Result<(), Fault> {
        let mut ticker = tokio::time::interval(self.options.tick);
        // After a stall, time goes on from where it was: a burst of ticks would start an election for nothing.
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.peers.members(self.replica.members());
        self.turns()?;
        self.publish();
        loop {
            let mut ticked = false;
            tokio::select! {
                biased;
                _ = ticker.tick() => ticked = true,
                Some(control) = inbox.control.recv() => self.control(control)?,
                Some(message) = inbox.messages.recv() => self.step(message),
                Some(request) = inbox.requests.recv(), if self.flight.has_room() => self.request(request),
                Some(bundle) = inbox.bulk.recv(), if self.flight.has_room() => self.bundle(bundle),
                else => return Ok(()),
            }
            while let Ok(control) = inbox.control.try_recv() {
                self.control(control)?;
            }
            // Before the tick: heartbeats that came during a stall must count before time does.
            for _ in 0..MESSAGES_AT_ONCE {
                let Ok(message) = inbox.messages.try_recv() else { break };
                self.step(message);
            }
            if ticked {
                self.tick()?;
            }
            self.judge_clock();
            self.flight.allow(self.machine.state().read().feature_level());
            for undecided in std::mem::take(&mut self.again) {
                self.order(undecided);
            }
            while self.flight.has_room()
                && let Ok(request) = inbox.requests.try_recv()
            {
                self.request(request);
            }
            let mut taken = 0;
            while self.flight.has_room()
                && taken < BULK_AT_ONCE
                && let Ok(bundle) = inbox.bulk.try_recv()
            {
                taken += bundle.orders.len();
                self.bundle(bundle);
            }
            let (replica, next_read) = (&mut self.replica, &mut self.next_read);
            self.flight.confirm_refusals(|| {
                let ticket = *next_read;
                *next_read += 1;
                replica.read(ticket);
                ticket
            });
            self.backlog();
            self.propose();
            self.turns()?;
            self.maybe_snapshot()?;
            self.publish();
            if self.may_leave() {
                return Ok(());
            }
        }
    }

    fn step(&mut self, message: Message) {
        let (from, kind) = (message.from, message.get_msg_type());
        if let Err(malformed) = self.replica.step(message) {
            tracing::error!(from, ?kind, %malformed, "refused a Raft message that can't be");
        }
    }

    fn tick(&mut self) -> Result<(), Fault> {
        self.replica.tick();
        self.backlog_rests = false;
        let gone: Vec<u64> = self.reads.iter().filter(|(_, reply)| reply.is_closed()).map(|(id, _)| *id).collect();
        for ticket in &gone {
            self.reads.remove(ticket);
        }
        if !gone.is_empty() {
            self.replica.forget_reads(&gone);
        }
        if let Some(ticks) = &mut self.leaving {
            *ticks = ticks.saturating_sub(1);
        }
        let replica = &self.replica;
        self.transfers.retain(|peer, (hold, left)| match left {
            None => true,
            Some(ticks) => {
                *ticks = ticks.saturating_sub(1);
                *ticks > 0 && replica.matched(*peer).is_some_and(|matched| matched < hold.place().index)
            }
        });
        self.initialize();
        self.meet();
        self.watch()
    }

    fn control(&mut self, control: Control) -> Result<(), Fault> {
        match control {
            Control::Unreachable(peer) => self.replica.report_unreachable(peer),
            Control::SnapshotSent { peer, arrived } => {
                tracing::info!(peer, arrived, "sending a snapshot ended");
                self.replica.report_snapshot(peer, arrived);
                if !arrived {
                    self.transfers.remove(&peer);
                } else if let Some((_, left)) = self.transfers.get_mut(&peer) {
                    *left = Some(CATCH_UP_TICKS);
                }
            }
            Control::SnapshotReceived(message) => self.step(*message),
            Control::Heard(heard) => self.heard(heard)?,
            Control::Refused { peer, why } => return Err(Fault::Refused { peer, why }),
            Control::SnapshotTaken { place, taken } => self.snapshot_taken(place, taken)?,
            Control::Shutdown => {
                let heir = self.replica.hand_over();
                tracing::info!(?heir, "stopping");
                // Twice an election's patience for the heir to take over.
                self.leaving = Some(if heir.is_some() { 16 } else { 0 });
            }
            Control::Stop => self.leaving = Some(0),
        }
        Ok(())
    }

    fn may_leave(&self) -> bool {
        self.leaving.is_some_and(|ticks| ticks == 0 || !self.replica.leads())
    }

    fn bundle(&mut self, bundle: Bundle) {
        let Bundle { orders, outcomes } = bundle;
        for order in orders {
            let reply = Reply::Stream(outcomes.clone(), order.order.order_id.clone());
            self.order(Undecided::new(Box::new(order), reply));
        }
    }

    fn request(&mut self, (since, request): (Instant, Request)) {
        if since.elapsed() > handle::MAX_WAIT {
            request.refuse(&Reject::new(
                Reason::Overloaded,
                format!("it waited for {} ms and was not begun: repeat after a delay", handle::MAX_WAIT.as_millis()),
            ));
            return;
        }
        match request {
            Request::Order(request, reply) => self.order(Undecided::new(request, reply)),
            Request::Command(command, reply) => {
                if self.takes_writes() {
                    self.flight.command(*command, reply);
                    self.propose_full();
                } else {
                    reply.send(Err(self.why_not()));
                }
            }
            Request::Members(command, reply) => self.change_members(command, reply),
            Request::Read(reply) if self.reads.len() >= MAX_READS => {
                // A caller that has gone away needs no answer.
                let _ = reply.send(Err(Reject::new(
                    Reason::Overloaded,
                    format!("{MAX_READS} reads wait for a quorum already: repeat after a delay"),
                )));
            }
            Request::Read(reply) => {
                let ticket = self.next_read;
                self.next_read += 1;
                self.reads.insert(ticket, reply);
                self.replica.read(ticket);
            }
        }
    }

    fn order(&mut self, undecided: Undecided) {
        if !self.takes_writes() {
            undecided.refuse(self.why_not());
            return;
        }
        let now_ms = self.now_ms();
        let state = self.machine.state();
        self.flight.order(self.replica.next_proposal(), &state.read(), undecided, now_ms);
        self.propose_full();
    }

    /// Leads, and has applied everything that was committed before its term: its first entry of the term stands behind it
    /// all. A refusal decided on less could be wrong, and refusals are final to their caller.
    fn takes_writes(&self) -> bool {
        let status = self.replica.status();
        status.leads && self.replica.applied().1 == status.term && self.leaving.is_none() && self.watched.may_stamp()
    }

    /// Why a write is not taken.
    fn why_not(&self) -> Reject {
        if self.replica.leads() && !self.watched.may_stamp() {
            return Reject::new(
                Reason::ClockOff,
                "this leader's clock was not found right by a majority: repeat with the same id in a moment",
            );
        }
        not_leader()
    }

    /// The first leader of a fresh group gives it its number, life and finance.
    fn initialize(&mut self) {
        if self.initializing || !self.takes_writes() || self.machine.state().read().group().is_some() {
            return;
        }
        self.initializing = true;
        let finance = self.options.finance.iter().map(|id| format!("finance/{id}")).collect();
        let first = InitializeGroup { group: self.identity.group, incarnation: self.identity.incarnation, finance };
        self.flight.initialize(Command {
            principal: Some((&self.principal()).into()),
            kind: Some(command::Kind::InitializeGroup(first)),
            ..Command::default()
        });
    }

    fn backlog(&mut self) {
        if self.backlog_busy || self.backlog_rests || !self.takes_writes() {
            return;
        }
        let state = self.machine.state();
        let state = state.read();
        if state.backlog_nonempty() {
            let principal = self.principal();
            self.backlog_busy = self.flight.backlog(self.replica.next_proposal(), &state, BACKLOG_BUDGET, &principal);
        }
    }

    fn principal(&self) -> Principal {
        Principal { kind: PrincipalKind::Coordinator, id: self.identity.replica_id.to_string() }
    }

    fn propose_full(&mut self) {
        if self.flight.is_full() {
            self.propose();
        }
    }

    /// This replica's clock as it was judged last, and never before log time, which does not run backwards whatever the clock
    /// does. Not read anew: it could have jumped since.
    fn now_ms(&self) -> i64 {
        self.watched.judged_ms().max(self.machine.state().read().log_time().0)
    }

    /// Proposes what was gathered as one log entry.
    fn propose(&mut self) {
        if self.flight.is_empty() {
            return;
        }
        let number = self.replica.next_proposal();
        let entry = self.flight.take_entry(self.identity.replica_id, number, self.now_ms());
        match self.replica.propose(entry) {
            Ok(number) => self.flight.proposed(number),
            Err(error) => {
                let reject = match error {
                    ProposeError::NotLeader => not_leader(),
                    ProposeError::Busy => Reject::new(Reason::Overloaded, error.to_string()),
                };
                self.flight.refused(number, &reject);
                self.backlog_busy = false;
                self.initializing = false;
            }
        }
    }

    fn publish(&self) {
        let status = self.replica.status();
        let now = NodeStatus {
            leader_id: status.leader_id,
            leads: status.leads,
            term: status.term,
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            // Kept in memory: it does not fail.
            first_index: self.log.first_index().unwrap_or(0),
            settled: self.replica.is_settled(),
        };
        self.status.send_if_modified(|before| std::mem::replace(before, now) != now);
    }
}

fn not_leader() -> Reject {
    Reject::new(Reason::NotLeader, "this replica does not lead")
}
