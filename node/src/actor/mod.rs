//! The actor: the one writer of a node.
//!
//! Asks wait in a bounded queue. While no group is under way, the actor works out all that wait into one group, sends it to the
//! store's thread, and answers every ask once the group is durable (group commit). Reads are asks too: they see a state only when
//! it is durable. What does not fit in the queue is answered OVERLOADED.
//!
//! Must not know: gRPC, sled, what a command means.

mod handle;

use std::collections::VecDeque;
use std::sync::Arc;

use actix::{Actor, ActorFutureExt, AsyncContext, Context as ActorContext, Handler, Message, WrapFuture};
use stockmesh_node_core::{Answer, Context, Key, change};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_types::{LogTime, Reason, Reject, RequestId};

pub use handle::{Ask, NodeHandle, View};
use handle::{Look, Question, Reply, overloaded};

use crate::engine::{Engine, Opened, RecoveryReason};
use crate::store::StoreHandle;
use crate::store::thread::Commit;
use crate::tail::FeedTail;

/// Asks that may be in the actor's mailbox.
const MAILBOX: usize = 1_024;
/// Asks that may wait for a group.
const MAX_WAITING: usize = 4_096;
/// Asks in one group.
const GROUP_ASKS: usize = 1_024;
/// Bytes of writes in one group, about.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// Reads a clock. The actor's only one, so that tests can set it.
pub type Clock = Box<dyn Fn() -> LogTime + Send>;

/// An answer that waits for its group to be durable.
enum Waiting {
    Answer(Result<Answer, Reject>, Reply<Answer>),
    /// The answer is the value with this place among those that the group's commit reads.
    Remembered(usize, Reply<Answer>),
    Head(Result<Head, Reject>, Reply<Head>),
    Read(Look),
}

/// Where a node is in its life.
enum Life {
    Serving(Box<Engine>),
    Recovering(Box<Engine>, RecoveryReason),
}

/// See the module.
pub struct NodeActor {
    life: Life,
    queue: VecDeque<Question>,
    /// A group is on its way to the store: nothing is worked out meanwhile.
    under_way: bool,
    /// A turn is in the mailbox.
    turn_is_due: bool,
    store: StoreHandle,
    tail: Arc<FeedTail>,
    clock: Clock,
}

/// Begin a group with what waits.
struct Turn;

impl Message for Turn {
    type Result = ();
}

/// Starts a node's actor on an arbiter. `peers` are the consumers that trimming waits for.
#[must_use]
pub fn start(
    arbiter: &actix::ArbiterHandle,
    opened: Opened,
    store: StoreHandle,
    peers: &[String],
    clock: Clock,
) -> NodeHandle {
    let life = match opened {
        Opened::Ready(engine) => Life::Serving(engine),
        Opened::Recovering(engine, reason) => Life::Recovering(engine, reason),
    };
    let (Life::Serving(engine) | Life::Recovering(engine, _)) = &life;
    let tail = Arc::new(FeedTail::new(engine.feed().clone(), engine.head(), peers));
    let actor = NodeActor {
        life,
        queue: VecDeque::new(),
        under_way: false,
        turn_is_due: false,
        store,
        tail: Arc::clone(&tail),
        clock,
    };
    let address = NodeActor::start_in_arbiter(arbiter, move |context| {
        context.set_mailbox_capacity(MAILBOX);
        actor
    });
    NodeHandle { address, tail }
}

impl Actor for NodeActor {
    type Context = ActorContext<Self>;
}

impl Handler<Ask> for NodeActor {
    type Result = ();

    fn handle(&mut self, Ask(question): Ask, context: &mut Self::Context) {
        if self.queue.len() >= MAX_WAITING {
            return question.refuse(overloaded());
        }
        self.queue.push_back(question);
        self.call_turn(context);
    }
}

impl Handler<Turn> for NodeActor {
    type Result = ();

    fn handle(&mut self, _: Turn, context: &mut Self::Context) {
        self.turn_is_due = false;
        if !self.under_way {
            self.begin(context);
        }
    }
}

impl NodeActor {
    /// Has a turn come after what is in the mailbox by now, so that a burst becomes one group.
    fn call_turn(&mut self, context: &mut ActorContext<Self>) {
        if !self.under_way && !self.turn_is_due {
            self.turn_is_due = true;
            context.notify(Turn);
        }
    }

    fn begin(&mut self, context: &mut ActorContext<Self>) {
        let now = (self.clock)();
        let disk_is_low = self.store.disk_is_low();
        let mut group = Forming { now, disk_is_low, waiting: Vec::new(), wanted: Vec::new() };
        let mut bytes = 0;
        while group.waiting.len() < GROUP_ASKS && bytes < GROUP_BYTES {
            let Some(question) = self.queue.pop_front() else { break };
            bytes = group.work_out(&mut self.life, question);
        }
        let Forming { now: _, disk_is_low: _, waiting, wanted } = group;
        let closed = match &mut self.life {
            Life::Serving(engine) => engine.take_group(self.tail.acknowledged_by_all()),
            Life::Recovering(..) => None,
        };
        let Some(closed) = closed else {
            if wanted.is_empty() && !disk_is_low {
                return self.answer(waiting, Vec::new(), context);
            }
            // Nothing to write, but answers to read, or the disk to be looked at again.
            let (engine, batch) = (self.engine(), crate::store::Batch::new());
            let mark = crate::store::Mark { epoch: engine.feed().epoch, head: engine.head() };
            return self.commit(Commit { batch, mark, wanted }, Vec::new(), waiting, context);
        };
        let commit = Commit { batch: closed.batch, mark: closed.mark, wanted };
        self.commit(commit, closed.entries, waiting, context);
    }

    fn commit(
        &mut self,
        commit: Commit,
        entries: Vec<FeedEntry>,
        waiting: Vec<Waiting>,
        context: &mut ActorContext<Self>,
    ) {
        self.under_way = true;
        let (store, head) = (self.store.clone(), commit.mark.head);
        let durable = async move { store.commit(commit).await };
        let finish = durable.into_actor(self).map(move |durable, actor, context| {
            let Ok(values) = durable else {
                // The process is ending: a fault of the store stops it. Whoever waits learns that the outcome is unknown.
                return;
            };
            actor.under_way = false;
            if !entries.is_empty() {
                actor.tail.publish(entries, head);
            }
            actor.answer(waiting, values, context);
        });
        context.spawn(finish);
    }

    fn answer(&mut self, waiting: Vec<Waiting>, mut values: Vec<Option<Vec<u8>>>, context: &mut ActorContext<Self>) {
        let recovering = match &self.life {
            Life::Serving(_) => None,
            Life::Recovering(_, reason) => Some(reason),
        };
        let engine = self.engine();
        let view = View { state: engine.state(), head: engine.head(), recovering };
        for answer in waiting {
            // An error means that the caller is gone; what it asked for is done all the same.
            match answer {
                Waiting::Answer(answer, reply) => drop(reply.send(answer)),
                Waiting::Head(head, reply) => drop(reply.send(head)),
                Waiting::Remembered(place, reply) => {
                    let value = values.get_mut(place).and_then(Option::take);
                    drop(reply.send(remembered(value.as_deref())));
                }
                Waiting::Read(look) => look(Ok(&view)),
            }
        }
        if !self.queue.is_empty() {
            self.call_turn(context);
        }
    }

    fn engine(&self) -> &Engine {
        match &self.life {
            Life::Serving(engine) | Life::Recovering(engine, _) => engine,
        }
    }
}

/// The first answer of a request, as the store kept it.
fn remembered(value: Option<&[u8]>) -> Result<Answer, Reject> {
    let answer = value.and_then(change::split_request).and_then(|(_, answer)| Answer::decode(answer));
    answer.ok_or_else(|| {
        Reject::new(Reason::RequestExpired, "the request took effect, and its answer is no longer kept: look it up")
    })
}

/// A group in the making.
struct Forming {
    now: LogTime,
    disk_is_low: bool,
    waiting: Vec<Waiting>,
    wanted: Vec<Vec<u8>>,
}

impl Forming {
    /// Works out one question; returns the bytes of writes so far.
    fn work_out(&mut self, life: &mut Life, question: Question) -> usize {
        let engine = match life {
            Life::Serving(engine) => engine,
            Life::Recovering(_, reason) => {
                match question {
                    Question::Read(look) => self.waiting.push(Waiting::Read(look)),
                    other => other.refuse(recovering(reason)),
                }
                return 0;
            }
        };
        match question {
            Question::Command { .. } | Question::Follow { .. } if self.disk_is_low => question.refuse(read_only()),
            Question::Command { principal, request, command, reply } => {
                let context = Context { now: self.now, business_date: self.now.date(), principal, request };
                let waiting = match engine.handle(&context, command) {
                    Ok(Answer::Repeated(id)) => Waiting::Remembered(self.want(id), reply),
                    answer => Waiting::Answer(answer, reply),
                };
                self.waiting.push(waiting);
            }
            Question::Follow { feed, entries, reply } => {
                let head = engine.follow(self.now, self.now.date(), &feed, &entries);
                if let Err(reject) = &head {
                    tracing::error!(node = %engine.state().identity().node, %feed, error = %reject,
                        "work from the coordinator can't be taken: the link stands still until this is mended");
                }
                self.waiting.push(Waiting::Head(head, reply));
            }
            Question::Cursor { feed, reply } => self.waiting.push(Waiting::Head(engine.cursor(&feed), reply)),
            Question::Read(look) => self.waiting.push(Waiting::Read(look)),
        }
        engine.group_bytes()
    }

    fn want(&mut self, id: RequestId) -> usize {
        self.wanted.push(Key::Request(id).encode());
        self.wanted.len() - 1
    }
}

fn read_only() -> Reject {
    Reject::new(Reason::ReadOnly, "the node's disk is nearly full: free some room, then repeat with the same id")
}

fn recovering(reason: &RecoveryReason) -> Reject {
    let message = format!(
        "the node is recovering and changes nothing: {reason}. Put back the newer store, or have the node recovered"
    );
    Reject::new(Reason::Recovering, message)
}
