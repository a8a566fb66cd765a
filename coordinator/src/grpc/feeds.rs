//! Feeds: nodes push theirs to the leader, nodes and finance pull ours from any replica.

use std::sync::{Arc, OnceLock};

use stockmesh_coordinator_core::{Answer, validate};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::feed_service_server::FeedService;
use stockmesh_proto::feed::v1::{FeedEntry, FeedRef, PullRequest, PullResponse, PushRequest, PushResponse};
use stockmesh_proto::raft::v1::{ApplyFacts, Command, NoteLateFacts, command};
use stockmesh_service::Caller;
use stockmesh_service::link::{FeedSink, FeedSource, HelloInfo, LinkError, serve_pull, serve_push};
use stockmesh_service::status::{not_leader, to_status};
use stockmesh_types::{FeedId, NodeId, Principal, PrincipalKind, Reason, Reject};
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::service;
use super::sessions::Session;
use crate::driver::Handle;
use crate::outbox::OutboxFault;

/// Bytes of facts in one command, about.
const MAX_COMMAND_BYTES: usize = 256 << 10;
/// Bytes of one fact: a node's own store takes no more than 100 KiB.
const MAX_ENTRY_BYTES: usize = 256 << 10;

service!(Feeds);

impl Feeds {
    fn hello(&self) -> HelloInfo {
        let identity = self.handle.identity();
        HelloInfo { group: identity.group, incarnation: identity.incarnation }
    }
}

fn unknown_feed(feed: &FeedId, what: &str) -> Reject {
    Reject::new(Reason::UnknownFeed, format!("{feed}: {what}")).field("hello.feed")
}

fn may(caller: &Caller, name: &str) -> bool {
    let Some((word, id)) = name.split_once('/') else { return false };
    match PrincipalKind::from_word(word) {
        Some(kind @ (PrincipalKind::Node | PrincipalKind::Finance)) => caller.is(kind, id),
        _ => false,
    }
}

fn not_allowed(caller: &Caller, feed: &FeedId) -> Reject {
    Reject::new(Reason::NotAllowed, format!("{} is not whose feed this is: {feed}", caller.principal()))
}

#[tonic::async_trait]
impl FeedService for Feeds {
    type PushStream = ReceiverStream<Result<PushResponse, Status>>;

    async fn push(&self, request: Request<Streaming<PushRequest>>) -> Result<Response<Self::PushStream>, Status> {
        let caller = Caller::of(&request, &self.security).map_err(|reject| to_status(&reject))?;
        if !self.leads() {
            return Err(not_leader(self.leader_address().as_deref()));
        }
        let (sessions, session) = (self.sessions.clone(), Arc::new(OnceLock::new()));
        let held = session.clone();
        let authorize = move |feed: &FeedId| {
            if !feed.participant.starts_with("node/") || !feed.destination.is_empty() {
                return Err(unknown_feed(feed, "the coordinator takes feeds of nodes, for everyone"));
            }
            if !may(&caller, &feed.participant) {
                return Err(not_allowed(&caller, feed));
            }
            // A stream says hello once: the place is free when its sink is gone.
            let _ = held.set(sessions.open(&format!("push {}", feed.participant))?);
            Ok(())
        };
        let sink = Arc::new(NodeFacts { handle: self.handle.clone(), _session: session });
        let stream = serve_push(sink, request.into_inner(), authorize, self.hello(), self.shutdown.clone());
        Ok(Response::new(stream))
    }

    type PullStream = ReceiverStream<Result<PullResponse, Status>>;

    async fn pull(&self, request: Request<Streaming<PullRequest>>) -> Result<Response<Self::PullStream>, Status> {
        let caller = Caller::of(&request, &self.security).map_err(|reject| to_status(&reject))?;
        let (handle, sessions) = (self.handle.clone(), self.sessions.clone());
        let open = move |feed: &FeedId| {
            if !may(&caller, &feed.destination) {
                return Err(not_allowed(&caller, feed));
            }
            let session = sessions.open(&format!("pull {}", feed.destination))?;
            OurFeed::open(handle, feed, session).map(Arc::new)
        };
        let stream = serve_pull(open, request.into_inner(), self.hello(), self.shutdown.clone());
        Ok(Response::new(stream))
    }
}

/// A node's feed, taken into the log. The cursor is in the state: it moves with the effect.
struct NodeFacts {
    handle: Handle,
    /// Its place among the participant's streams.
    _session: Arc<OnceLock<Session>>,
}

fn node_of(feed: &FeedId) -> Result<NodeId, Reject> {
    let id = feed.participant.strip_prefix("node/").ok_or_else(|| unknown_feed(feed, "it is no node's"))?;
    NodeId::new(id)
}

impl FeedSink for NodeFacts {
    async fn cursor(&self, feed: &FeedId) -> Result<Head, Reject> {
        let node = node_of(feed)?;
        // A new leader's state may be behind what is committed: then the node sends again what has taken effect, and
        // apply passes over it.
        let (epoch, head) = self.handle.state().read().node_cursor(&node).ok_or_else(|| {
            Reject::new(Reason::UnknownNode, format!("node {node} is not registered: register it first"))
        })?;
        match epoch.0.cmp(&feed.epoch) {
            std::cmp::Ordering::Equal => Ok(head),
            std::cmp::Ordering::Less => Ok(Head::START),
            std::cmp::Ordering::Greater => {
                Err(Reject::new(Reason::StaleEpoch, format!("epoch {} of {node} is over", feed.epoch)))
            }
        }
    }

    async fn surfaced(&self, feed: &FeedId, head: Head) -> Result<(), Reject> {
        let node = node_of(feed)?;
        if !self.handle.state().read().surfaced_late(&node, feed.epoch, head) {
            return Ok(());
        }
        let late = NoteLateFacts { node: node.to_string(), epoch: feed.epoch, head: Some(head.to_wire()) };
        let principal = Principal { kind: PrincipalKind::Node, id: node.to_string() };
        let kind = command::Kind::NoteLateFacts(late);
        let command = Command { principal: Some((&principal).into()), kind: Some(kind), ..Command::default() };
        self.handle.submit(command).await.map(|_| ())
    }

    async fn apply(&self, feed: &FeedId, mut entries: Vec<FeedEntry>) -> Result<Head, Reject> {
        let principal = Principal { kind: PrincipalKind::Node, id: node_of(feed)?.to_string() };
        let feed_ref = FeedRef::from(feed);
        // No node writes one as large; a stranger's would hold up the log for everybody.
        if let Some(entry) = entries.iter().find(|entry| entry.body.len() > MAX_ENTRY_BYTES) {
            let message =
                format!("entry {} has {} bytes, and holds at most {MAX_ENTRY_BYTES}", entry.seq, entry.body.len());
            return Err(Reject::new(Reason::TextTooLong, message).field("batch.entries"));
        }
        let mut cursor = None;
        while !entries.is_empty() {
            let rest = entries.split_off(validate::cut_batch(&entries, MAX_COMMAND_BYTES)?.min(entries.len()));
            validate::facts(&feed_ref, &entries)?;
            let facts = ApplyFacts { feed: Some(feed_ref.clone()), entries };
            let command = Command {
                principal: Some((&principal).into()),
                kind: Some(command::Kind::ApplyFacts(facts)),
                ..Command::default()
            };
            match self.handle.submit(command).await? {
                Answer::FactsApplied { cursor: _, applied: _, refused: Some(reject) } => return Err(reject),
                Answer::FactsApplied { cursor: head, applied: _, refused: None } => cursor = Some(head),
                other => {
                    tracing::error!(?other, "facts were answered with something else");
                    return Err(Reject::new(Reason::OutcomeUnknown, "facts were answered with something else"));
                }
            }
            entries = rest;
        }
        match cursor {
            Some(cursor) => Ok(cursor),
            None => self.cursor(feed).await,
        }
    }
}

/// The coordinator's feed to one destination.
struct OurFeed {
    handle: Handle,
    feed: FeedId,
    heads: watch::Receiver<u64>,
    /// Its place among the participant's streams.
    _session: Session,
}

impl OurFeed {
    fn open(handle: Handle, feed: &FeedId, session: Session) -> Result<Self, Reject> {
        let standing = handle.state().read().feed_head(&feed.destination);
        // Not known here: not registered, or this replica has not applied that yet.
        let standing = standing.ok_or_else(|| unknown_feed(feed, "there is no such destination, or not yet here"))?;
        if standing.feed.participant != feed.participant {
            return Err(unknown_feed(feed, &format!("this is {}", standing.feed.participant)));
        }
        if standing.feed.epoch != feed.epoch {
            return Err(Reject::new(
                Reason::StaleEpoch,
                format!("the incarnation is {}, and the caller asks for {}", standing.feed.epoch, feed.epoch),
            ));
        }
        let heads = handle.outbox().watch(&feed.destination).map_err(|fault| rejected(&fault))?;
        Ok(Self { handle, feed: standing.feed, heads, _session: session })
    }
}

/// I/O on our own feed: the driver meets the same fault and stops the process; the reader goes elsewhere.
fn rejected(fault: &OutboxFault) -> Reject {
    tracing::error!(%fault, "a feed can't be read");
    Reject::new(Reason::ShuttingDown, "the feed can't be read here: ask another replica")
}

impl FeedSource for OurFeed {
    fn feed(&self) -> FeedId {
        self.feed.clone()
    }

    fn head(&self) -> Head {
        self.handle.outbox().head(&self.feed.destination).unwrap_or(Head::START)
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.heads.clone()
    }

    async fn read(&self, after: u64, max_bytes: usize) -> Result<Vec<FeedEntry>, LinkError> {
        let (outbox, destination) = (self.handle.outbox().clone(), self.feed.destination.clone());
        let read = tokio::task::spawn_blocking(move || outbox.read(&destination, after, max_bytes)).await;
        match read.map_err(|error| LinkError::Fault(error.to_string()))? {
            Ok(entries) => Ok(entries),
            Err(fault @ OutboxFault::Gone { .. }) => {
                Err(Reject::new(Reason::FeedGap, format!("{fault}; it must begin from a snapshot of its own")).into())
            }
            Err(fault) => Err(LinkError::Fault(fault.to_string())),
        }
    }

    async fn acknowledged(&self, _peer: &str, cursor: Head) -> Result<(), LinkError> {
        if cursor == Head::START {
            return Ok(());
        }
        let (outbox, destination) = (self.handle.outbox().clone(), self.feed.destination.clone());
        let position = tokio::task::spawn_blocking(move || outbox.position(&destination, cursor.seq)).await;
        let position = position.map_err(|error| LinkError::Fault(error.to_string()))?;
        match position.map_err(|fault| LinkError::Fault(fault.to_string()))? {
            Some(ours) if ours != cursor => Err(Reject::new(
                Reason::FeedForked,
                format!("{} has two histories: the consumer has another entry {}", self.feed, cursor.seq),
            )
            .into()),
            // Deleted, because it was acknowledged before.
            Some(_) | None => {
                self.handle.note_acknowledged(&self.feed.destination, cursor);
                Ok(())
            }
        }
    }
}
