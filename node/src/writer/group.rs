//! A group in the making: what was asked, worked out one after the other, and the answers that leave once it is durable.
//!
//! Reads are asks too: they see the state as it is when they are worked out, and their answers wait with the group, so that
//! nobody sees what is not durable.
//!
//! Must not know: threads, the store's engine.

use stockmesh_node_core::command::Command;
use stockmesh_node_core::{Answer, Archive, Context, NodeState, RequestStamp};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_types::{FeedId, LogTime, Principal, Reason, Reject};
use tokio::sync::oneshot;

use super::Life;
use crate::engine::{Engine, RecoveryReason};

/// What a read may see.
pub struct View<'a> {
    /// State.
    pub state: &'a NodeState,
    /// The node's clock.
    pub now: LogTime,
    /// What is not in memory.
    pub archive: &'a dyn Archive,
    /// The engine that has it all.
    pub engine: &'a Engine,
    /// Where the own feed ends.
    pub head: Head,
    /// Why the node is recovering, if it is.
    pub recovering: Option<&'a RecoveryReason>,
}

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, Reject>>;
/// Lets an answer out.
pub(super) type Release = Box<dyn FnOnce() + Send>;
/// Looks at a state, and has the answer ready to be let out.
pub type Look = Box<dyn FnOnce(Result<&View<'_>, Reject>) -> Release + Send>;

/// What a node may be asked. Every question has one answer, or the caller learns that none came.
pub enum Question {
    /// A command.
    Command {
        /// Who asks.
        principal: Principal,
        /// Id of the request, for what can be repeated.
        request: Option<RequestStamp>,
        /// What is asked.
        command: Box<Command>,
        /// Where the answer goes.
        reply: Reply<Answer>,
    },
    /// Entries of the coordinator's feed.
    Follow {
        /// Feed.
        feed: FeedId,
        /// Entries.
        entries: Vec<FeedEntry>,
        /// Where the cursor goes.
        reply: Reply<Head>,
    },
    /// How far a feed to this node took effect.
    Cursor {
        /// Feed.
        feed: FeedId,
        /// Where the cursor goes.
        reply: Reply<Head>,
    },
    /// A look at the state.
    Read(Look),
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Command { .. } => "Command",
            Self::Follow { .. } => "Follow",
            Self::Cursor { .. } => "Cursor",
            Self::Read(_) => "Read",
        })
    }
}

impl Question {
    /// Refuses.
    pub fn refuse(self, reject: Reject) {
        self.refusal(reject)();
    }

    fn refusal(self, reject: Reject) -> Release {
        match self {
            Self::Command { reply, .. } => release(reply, Err(reject)),
            Self::Follow { reply, .. } | Self::Cursor { reply, .. } => release(reply, Err(reject)),
            Self::Read(look) => look(Err(reject)),
        }
    }
}

pub(crate) fn release<T: Send + 'static>(reply: Reply<T>, answer: Result<T, Reject>) -> Release {
    // An error means that the caller is gone; what it asked for is done all the same.
    Box::new(move || drop(reply.send(answer)))
}

/// A group in the making.
pub(super) struct Forming {
    now: LogTime,
    disk_is_low: bool,
    pub(super) waiting: Vec<Release>,
}

impl Forming {
    pub(super) fn new(now: LogTime, disk_is_low: bool) -> Self {
        Self { now, disk_is_low, waiting: Vec::new() }
    }

    /// Works out one question; returns the bytes of writes so far.
    pub(super) fn work_out(&mut self, life: &mut Life, question: Question) -> usize {
        let (engine, reason) = match life {
            Life::Serving(engine) => (engine, None),
            Life::Recovering(engine, reason) => (engine, Some(&*reason)),
        };
        let answer = match question {
            Question::Read(look) => {
                let archive = engine.archive();
                let (state, head) = (engine.state(), engine.head());
                let answer =
                    look(Ok(&View { state, now: self.now, archive: &archive, engine, head, recovering: reason }));
                if let Some(fault) = archive.fault() {
                    engine.failed(fault);
                }
                answer
            }
            Question::Command { .. } | Question::Follow { .. } | Question::Cursor { .. } if reason.is_some() => {
                question.refusal(reason.map_or_else(read_only, recovering))
            }
            Question::Command { .. } | Question::Follow { .. } if self.disk_is_low => question.refusal(read_only()),
            Question::Command { principal, request, command, reply } => {
                let context = Context { now: self.now, business_date: self.now.date(), principal, request };
                release(reply, engine.handle(&context, *command))
            }
            Question::Follow { feed, entries, reply } => {
                let head = engine.follow(self.now, self.now.date(), &feed, &entries);
                if let Err(reject) = &head {
                    tracing::error!(node = %engine.state().identity().node, %feed, error = %reject,
                        "work from the coordinator can't be taken: the link stands still until this is mended");
                }
                release(reply, head)
            }
            Question::Cursor { feed, reply } => release(reply, engine.cursor(&feed)),
        };
        self.waiting.push(answer);
        engine.group_bytes()
    }
}

fn read_only() -> Reject {
    Reject::new(Reason::ReadOnly, "the node's disk is nearly full: free some room, then repeat with the same id")
}

pub(super) fn recovering(reason: &RecoveryReason) -> Reject {
    let message = format!(
        "the node is recovering and changes nothing: {reason}. Put back the newer store, or have the node recovered"
    );
    Reject::new(Reason::Recovering, message)
}
