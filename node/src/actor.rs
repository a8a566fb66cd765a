//! The actor: a node's mailbox. It takes asks in order, bounded, and hands them to the node's [writer](crate::writer).
//!
//! What does not fit is answered OVERLOADED, never dropped.
//!
//! Must not know: gRPC, sled, what a command means.

use std::sync::Arc;

use actix::{Actor, Addr, Context as ActorContext, Handler, Message};
use stockmesh_node_core::command::{Command, ExpireLots, ReviewGrants};
use stockmesh_node_core::{Answer, RequestStamp};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_service::request::new_request_id;
use stockmesh_types::{FeedId, OrderId, Principal, PrincipalKind, Reject};
use tokio::sync::oneshot;

use crate::tail::FeedTail;
pub use crate::writer::View;
use crate::writer::{Question, Reply, WriterHandle, going_down, overloaded};

/// Asks that may be in the actor's mailbox.
const MAILBOX: usize = 1_024;

/// Something that an actor is asked.
pub struct Ask(Question);

impl Message for Ask {
    type Result = ();
}

/// See the module.
#[derive(Debug)]
pub struct NodeActor {
    writer: WriterHandle,
}

/// Starts a node's actor on an arbiter, in front of its writer.
#[must_use]
pub fn start(arbiter: &actix::ArbiterHandle, writer: WriterHandle, tail: Arc<FeedTail>) -> NodeHandle {
    let address = NodeActor::start_in_arbiter(arbiter, move |context| {
        context.set_mailbox_capacity(MAILBOX);
        NodeActor { writer }
    });
    NodeHandle { address, tail }
}

impl Actor for NodeActor {
    type Context = ActorContext<Self>;
}

impl Handler<Ask> for NodeActor {
    type Result = ();

    fn handle(&mut self, Ask(question): Ask, _: &mut Self::Context) {
        self.writer.ask(question);
    }
}

/// A node as its callers know it.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    address: Addr<NodeActor>,
    tail: Arc<FeedTail>,
}

impl NodeHandle {
    /// Has a command worked out; the answer comes once it is durable.
    ///
    /// # Errors
    /// The business answer that says no, or `OVERLOADED`, `SHUTTING_DOWN`.
    pub async fn command(
        &self,
        principal: Principal,
        request: Option<RequestStamp>,
        command: Command,
    ) -> Result<Answer, Reject> {
        self.ask(|reply| Question::Command { principal, request, command: Box::new(command), reply }).await
    }

    /// Takes entries of the coordinator's feed; answers with the cursor once their effects are durable.
    ///
    /// # Errors
    /// As [`Engine::follow`](crate::engine::Engine::follow), and as [`Self::command`].
    pub async fn follow(&self, feed: FeedId, entries: Vec<FeedEntry>) -> Result<Head, Reject> {
        self.ask(|reply| Question::Follow { feed, entries, reply }).await
    }

    /// How far a feed to this node took effect.
    ///
    /// # Errors
    /// As [`Engine::cursor`](crate::engine::Engine::cursor), and as [`Self::command`].
    pub async fn cursor(&self, feed: FeedId) -> Result<Head, Reject> {
        self.ask(|reply| Question::Cursor { feed, reply }).await
    }

    /// Looks at the state. What it saw is durable when the answer comes.
    ///
    /// # Errors
    /// What `look` refuses, or as [`Self::command`].
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> Result<T, Reject> + Send + 'static,
    ) -> Result<T, Reject> {
        self.ask(|reply: Reply<T>| {
            Question::Read(Box::new(move |view| crate::writer::release(reply, view.and_then(look))))
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

    /// Takes lots that are past their last day out of sellable stock.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub async fn expire_lots(&self, node: &str) -> Result<(), Reject> {
        let principal = Principal { kind: PrincipalKind::Node, id: node.to_owned() };
        loop {
            let movement_id = OrderId::new(&new_request_id())?;
            let command = Command::ExpireLots(ExpireLots { movement_id });
            match self.command(principal.clone(), None, command).await? {
                Answer::LotsExpired(answer) if answer.more => {}
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
