//! A node as its callers know it, and what they may ask. Every question has one answer, or the caller learns that none came.
//!
//! Must not know: groups, the store.

use std::sync::Arc;

use actix::{Addr, Message};
use stockmesh_node_core::command::{Command, ReviewGrants};
use stockmesh_node_core::{Answer, NodeState, RequestStamp};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_types::{FeedId, Principal, PrincipalKind, Reason, Reject};
use tokio::sync::oneshot;

use super::NodeActor;
use crate::engine::RecoveryReason;
use crate::tail::FeedTail;

/// What a read may see.
#[derive(Debug)]
pub struct View<'a> {
    /// State; all of it is durable.
    pub state: &'a NodeState,
    /// Where the own feed ends.
    pub head: Head,
    /// Why the node is recovering, if it is.
    pub recovering: Option<&'a RecoveryReason>,
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, Reject>>;
pub(super) type Look = Box<dyn FnOnce(Result<&View<'_>, Reject>) + Send>;

/// Something that an actor is asked.
pub struct Ask(pub(super) Question);

impl Message for Ask {
    type Result = ();
}

pub(super) enum Question {
    Command { principal: Principal, request: Option<RequestStamp>, command: Command, reply: Reply<Answer> },
    Follow { feed: FeedId, entries: Vec<FeedEntry>, reply: Reply<Head> },
    Cursor { feed: FeedId, reply: Reply<Head> },
    Read(Look),
}

impl Question {
    pub(super) fn refuse(self, reject: Reject) {
        // Errors mean that the caller is gone.
        match self {
            Self::Command { reply, .. } => drop(reply.send(Err(reject))),
            Self::Follow { reply, .. } | Self::Cursor { reply, .. } => drop(reply.send(Err(reject))),
            Self::Read(look) => look(Err(reject)),
        }
    }
}

/// A node as its callers know it.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    pub(super) address: Addr<NodeActor>,
    pub(super) tail: Arc<FeedTail>,
}

impl NodeHandle {
    /// Has a command worked out; the answer comes once it is durable.
    ///
    /// # Errors
    /// The business answer that says no, or [`Reason::Overloaded`], [`Reason::ShuttingDown`].
    pub async fn command(
        &self,
        principal: Principal,
        request: Option<RequestStamp>,
        command: Command,
    ) -> Result<Answer, Reject> {
        self.ask(|reply| Question::Command { principal, request, command, reply }).await
    }

    /// Takes entries of the coordinator's feed; answers with the cursor once their effects are durable.
    ///
    /// # Errors
    /// As [`Engine::follow`], and as [`Self::command`].
    pub async fn follow(&self, feed: FeedId, entries: Vec<FeedEntry>) -> Result<Head, Reject> {
        self.ask(|reply| Question::Follow { feed, entries, reply }).await
    }

    /// How far a feed to this node took effect.
    ///
    /// # Errors
    /// As [`Engine::cursor`], and as [`Self::command`].
    pub async fn cursor(&self, feed: FeedId) -> Result<Head, Reject> {
        self.ask(|reply| Question::Cursor { feed, reply }).await
    }

    /// Looks at the state.
    ///
    /// # Errors
    /// What `look` refuses, or as [`Self::command`].
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> Result<T, Reject> + Send + 'static,
    ) -> Result<T, Reject> {
        self.ask(|reply| {
            Question::Read(Box::new(move |view| {
                // An error means that the caller is gone.
                let _ = reply.send(view.and_then(look));
            }))
        })
        .await
    }

    /// The durable end of the node's feed.
    #[must_use]
    pub fn tail(&self) -> &Arc<FeedTail> {
        &self.tail
    }

    /// Grants what the policy allows now, in case that it changed since the last run.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub async fn review_grants(&self, node: &str) -> Result<(), Reject> {
        let principal = Principal { kind: PrincipalKind::Node, id: node.to_owned() };
        let mut after = None;
        loop {
            let command = Command::ReviewGrants(ReviewGrants { after });
            match self.command(principal.clone(), None, command).await? {
                Answer::GrantsReviewed(Some(next)) => after = Some(next),
                _ => return Ok(()),
            }
        }
    }

    async fn ask<T>(&self, question: impl FnOnce(Reply<T>) -> Question) -> Result<T, Reject> {
        let (reply, replied) = oneshot::channel();
        self.address.try_send(Ask(question(reply))).map_err(|error| match error {
            actix::prelude::SendError::Full(_) => overloaded(),
            actix::prelude::SendError::Closed(_) => going_down(),
        })?;
        replied.await.map_err(|_| going_down())?
    }
}

pub(super) fn overloaded() -> Reject {
    Reject::new(Reason::Overloaded, "the node has more work waiting than it takes on: repeat with the same id")
}

fn going_down() -> Reject {
    Reject::new(Reason::ShuttingDown, "the node is going down, the outcome is unknown: repeat with the same id")
}
