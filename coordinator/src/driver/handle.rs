//! How the rest of the process talks to the driver: bounded queues in, one answer each out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use raft::eraftpb::Message;
use stockmesh_coordinator_core::Answer;
use stockmesh_proto::common::v1::Order;
use stockmesh_proto::entry::Head;
use stockmesh_proto::raft::v1::{Command, FeedAcknowledgement};
use stockmesh_types::{Principal, Reason, Reject};
use tokio::sync::{mpsc, oneshot, watch};

use crate::changes::Changes;
use crate::fault::Fault;
use crate::machine::SharedState;
use crate::outbox::Outbox;
use crate::replica::clock::Reading;
use crate::replica::hashes::Digest;
use crate::replica::members::{Change, Members, StoreId};
use crate::storage::identity::Identity;
use crate::storage::snapshots::{Manifest, Place, Snapshots};

/// Requests that may wait; one more is refused as overloaded.
pub const REQUEST_QUEUE: usize = 4_096;
/// Raft messages that may wait; one more is dropped, and Raft repeats what matters.
pub const MESSAGE_QUEUE: usize = 4_096;
/// Notices of transport and snapshots that may wait; their senders wait.
pub const CONTROL_QUEUE: usize = 256;
/// Destinations whose acknowledgements wait to be logged: all that there are, one position each.
const READ_PATIENCE: Duration = Duration::from_secs(5);

/// Orders of one stream that may be under way: decided, in flight, or answered and not taken yet.
pub const STREAM_WINDOW: usize = 4_096;
/// Bundles of orders from streams that may wait; streams wait with the next.
pub const BULK_QUEUE: usize = 8;
/// How long a request may wait before it is taken. Later it is refused, so that what is accepted stays quick under any
/// load.
pub const MAX_WAIT: Duration = Duration::from_millis(500);

/// Who hears what came of a request.
#[derive(Debug)]
pub enum Reply {
    /// A call.
    Call(oneshot::Sender<Result<Answer, Reject>>),
    /// A stream that sent an order.
    Stream(mpsc::Sender<(String, Result<Answer, Reject>)>, String),
}

impl Reply {
    /// Tells it. One that has gone away is told nothing; its command stands.
    pub(super) fn send(self, outcome: Result<Answer, Reject>) {
        match self {
            Self::Call(call) => {
                let _ = call.send(outcome);
            }
            // There is room: a stream has no more orders under way than its queue of outcomes holds.
            Self::Stream(stream, order_id) => {
                let _ = stream.try_send((order_id, outcome));
            }
        }
    }
}

/// Orders of a stream, taken together.
#[derive(Debug)]
pub struct Bundle {
    /// Orders.
    pub orders: Vec<OrderRequest>,
    /// Where what came of each goes. The stream sees to it that it has room for all.
    pub outcomes: mpsc::Sender<(String, Result<Answer, Reject>)>,
}

/// An order to be decided and placed.
#[derive(Debug)]
pub struct OrderRequest {
    /// Who asks.
    pub principal: Principal,
    /// The order, its shape checked.
    pub order: Order,
    /// SHA-256 of it as sent.
    pub hash: [u8; 32],
    /// Incarnation that the client named; 0: none.
    pub incarnation: u32,
}

/// What the driver is asked to do.
#[derive(Debug)]
pub enum Request {
    /// Decide and place an order.
    Order(Box<OrderRequest>, Reply),
    /// Log a command.
    Command(Box<Command>, Reply),
    /// Say when everything that is committed now has been applied here.
    Read(oneshot::Sender<Result<(), Reject>>),
    /// Change the members, or who leads.
    Members(MemberCommand, oneshot::Sender<Result<(), Reject>>),
}

/// What members are asked to do.
#[derive(Clone, Debug)]
pub enum MemberCommand {
    /// Change them.
    Change(Change),
    /// Let this voter lead; 0: the one that has most of the log.
    Transfer(u64),
}

/// What a peer told of itself.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Who.
    pub peer: u64,
    /// Its disk.
    pub store: StoreId,
    /// Highest feature level that it speaks.
    pub feature_level: u32,
    /// Digests of its state, by index.
    pub hashes: Vec<(u64, Digest)>,
    /// Its wall clock, and ours before and after it was asked.
    pub clock: Option<(i64, Reading, Reading)>,
    /// It has applied every change of members that its log holds, and did not refuse this replica.
    pub settled: bool,
}

/// The clocks of this process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub(super) wall: fn() -> i64,
    pub(super) started: Instant,
}

impl Clock {
    /// Both clocks now.
    #[must_use]
    pub fn now(&self) -> Reading {
        // A process does not run for 292 million years.
        let monotonic_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        Reading { wall_ms: (self.wall)(), monotonic_ms }
    }
}

/// What is known of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerView {
    /// Highest feature level that it speaks; 0: not heard of.
    pub feature_level: u32,
    /// Its clock minus ours, when it was compared lately.
    pub clock_offset_ms: Option<i64>,
    /// Log index up to which it has everything, when this replica leads.
    pub matched: Option<u64>,
}

/// What transport, exchange and lists of members look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Board {
    /// The members.
    pub members: Members,
    /// Digests of this replica's state, latest first.
    pub hashes: Vec<(u64, Digest)>,
    /// What is known of the members.
    pub peers: BTreeMap<u64, PeerView>,
    /// This replica's clock may stamp the log.
    pub may_stamp: bool,
}

impl Request {
    /// Says no. A caller that has gone away is told nothing.
    pub(super) fn refuse(self, reject: &Reject) {
        match self {
            Self::Order(_, reply) | Self::Command(_, reply) => reply.send(Err(reject.clone())),
            Self::Read(reply) | Self::Members(_, reply) => {
                let _ = reply.send(Err(reject.clone()));
            }
        }
    }
}

/// What transport and snapshot writers tell the driver.
pub enum Control {
    /// A peer can't be reached.
    Unreachable(u64),
    /// A snapshot was sent, or failed to be.
    SnapshotSent {
        /// Peer.
        peer: u64,
        /// It is stored there.
        arrived: bool,
    },
    /// A snapshot was received and is stored; this is the message that announced it.
    SnapshotReceived(Box<Message>),
    /// A snapshot was written.
    SnapshotTaken {
        /// Of what.
        place: Place,
        /// Its manifest, or why not.
        taken: Result<Manifest, Fault>,
    },
    /// A peer told of itself.
    Heard(Heard),
    /// A peer has proof that this replica must not go on.
    Refused {
        /// Who.
        peer: u64,
        /// Why, in its words.
        why: String,
    },
    /// Hand leadership over and stop.
    Shutdown,
    /// Stop at once.
    Stop,
}

/// What this replica is doing, for status, forwarding and health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// The leader; 0: none known.
    pub leader_id: u64,
    /// This replica leads.
    pub leads: bool,
    /// Term.
    pub term: u64,
    /// Committed index.
    pub commit_index: u64,
    /// Applied index.
    pub applied_index: u64,
    /// First index still in the log.
    pub first_index: u64,
    /// It has applied every change of members that its log holds.
    pub settled: bool,
}

/// The way to the driver. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) identity: Identity,
    pub(super) requests: mpsc::Sender<(Instant, Request)>,
    pub(super) bulk: mpsc::Sender<Bundle>,
    pub(super) messages: mpsc::Sender<Message>,
    pub(super) control: mpsc::Sender<Control>,
    pub(super) status: watch::Receiver<NodeStatus>,
    pub(super) state: SharedState,
    pub(super) changes: Changes,
    pub(super) outbox: Arc<Outbox>,
    pub(super) snapshots: Snapshots,
    /// Latest position of each consumer that pulls here, not logged yet.
    pub(super) acknowledged: Arc<Mutex<BTreeMap<String, Head>>>,
    pub(super) store: StoreId,
    pub(super) board: watch::Receiver<Arc<Board>>,
    pub(super) clock: Clock,
}

impl Handle {
    /// Whose disk this is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Identity of this replica's disk.
    #[must_use]
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// The members, and what is known of them.
    #[must_use]
    pub fn board(&self) -> Arc<Board> {
        self.board.borrow().clone()
    }

    /// Both clocks of this process.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.clock.now()
    }

    /// Changes the members, or who leads.
    ///
    /// # Errors
    /// Whatever the members say against it; `NOT_LEADER`, `OVERLOADED`, `OUTCOME_UNKNOWN`, `SHUTTING_DOWN`.
    pub async fn members(&self, command: MemberCommand) -> Result<(), Reject> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Members(command, reply))?;
        answer.await.map_err(|_| shutting_down())?
    }

    /// What this replica is doing.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        *self.status.borrow()
    }

    /// Follows [`Self::status`].
    #[must_use]
    pub fn watch_status(&self) -> watch::Receiver<NodeStatus> {
        self.status.clone()
    }

    /// The applied state.
    #[must_use]
    pub fn state(&self) -> &SharedState {
        &self.state
    }

    /// Which stock keys changed lately.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The feeds.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// The snapshots on disk.
    #[must_use]
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Places an order. When the caller goes away, the order may be placed all the same.
    ///
    /// # Errors
    /// Whatever the state says against it; `NOT_LEADER`, `OVERLOADED`, `OUTCOME_UNKNOWN`, `SHUTTING_DOWN`.
    pub async fn place_order(&self, request: OrderRequest) -> Result<Answer, Reject> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Order(Box::new(request), Reply::Call(reply)))?;
        answer.await.map_err(|_| shutting_down())?
    }

    /// Places orders of a stream; waits while others are taken. Each is answered where the bundle says.
    ///
    /// # Errors
    /// `SHUTTING_DOWN`: none was taken.
    pub async fn place_bundle(&self, bundle: Bundle) -> Result<(), Reject> {
        self.bulk.send(bundle).await.map_err(|_| shutting_down())
    }

    /// Logs a command.
    ///
    /// # Errors
    /// Whatever the state says against it; `NOT_LEADER`, `OVERLOADED`, `OUTCOME_UNKNOWN`, `SHUTTING_DOWN`.
    pub async fn submit(&self, command: Command) -> Result<Answer, Reject> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Command(Box::new(command), Reply::Call(reply)))?;
        answer.await.map_err(|_| shutting_down())?
    }

    /// Returns when everything that was committed at the call has been applied here.
    ///
    /// # Errors
    /// `OVERLOADED`, `SHUTTING_DOWN`, and `NOT_LEADER` when no quorum confirms in time.
    pub async fn linearize(&self) -> Result<(), Reject> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Read(reply))?;
        match tokio::time::timeout(READ_PATIENCE, answer).await {
            Ok(Ok(confirmed)) => confirmed,
            Ok(Err(_)) => Err(shutting_down()),
            Err(_) => Err(Reject::new(
                Reason::NotLeader,
                "no quorum confirmed the read in time: ask again, or ask with READ_CONSISTENCY_LOCAL",
            )),
        }
    }

    fn ask(&self, request: Request) -> Result<(), Reject> {
        self.requests.try_send((Instant::now(), request)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Reject::new(Reason::Overloaded, format!("{REQUEST_QUEUE} requests wait already: repeat after a delay"))
            }
            mpsc::error::TrySendError::Closed(_) => shutting_down(),
        })
    }

    /// Hands a peer's message over. False: dropped, because the queue is full. Raft tolerates a lost message, and a
    /// sender that waited here would only deliver staler ones.
    #[must_use]
    pub fn deliver(&self, message: Message) -> bool {
        self.messages.try_send(message).is_ok()
    }

    /// Tells the driver something; waits when it is busy. An error means that it has stopped: nothing is left to tell.
    pub async fn tell(&self, control: Control) {
        let _ = self.control.send(control).await;
    }

    /// Notes that a consumer has everything up to `cursor`; the latest of each is logged a few times a second.
    pub fn note_acknowledged(&self, destination: &str, cursor: Head) {
        let mut waiting = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get_mut(destination) {
            Some(noted) if noted.seq >= cursor.seq => {}
            Some(noted) => *noted = cursor,
            None => {
                waiting.insert(destination.to_owned(), cursor);
            }
        }
    }

    /// Takes what was noted since, as far as it is news to the state.
    #[must_use]
    pub fn take_acknowledged(&self) -> Vec<FeedAcknowledgement> {
        let waiting = std::mem::take(&mut *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner));
        let state = self.state.read();
        waiting
            .into_iter()
            .filter(|(destination, cursor)| {
                state.feed_head(destination).is_some_and(|standing| standing.acknowledged.seq < cursor.seq)
            })
            .map(|(destination, cursor)| FeedAcknowledgement { destination, cursor: Some(cursor.to_wire()) })
            .collect()
    }
}

fn shutting_down() -> Reject {
    Reject::new(Reason::ShuttingDown, "this replica is going down: repeat with the same id, here later or at another")
}
