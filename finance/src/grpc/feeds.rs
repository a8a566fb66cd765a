//! Feeds into the books: nodes push theirs, and the coordinator's is pulled into the same sink.

use std::sync::Arc;

use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::feed_service_server::FeedService;
use stockmesh_proto::feed::v1::{FeedEntry, PullRequest, PullResponse, PushRequest, PushResponse};
use stockmesh_service::link::{FeedSink, HelloInfo, serve_push};
use stockmesh_service::status::to_status;
use stockmesh_service::{Caller, Security};
use stockmesh_types::{FeedId, Group, NodeId, PrincipalKind, Reason, Reject};
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::writer::WriterHandle;

/// The writer as the consumer of feeds.
pub struct Sink(pub WriterHandle);

impl FeedSink for Sink {
    async fn cursor(&self, feed: &FeedId) -> Result<Head, Reject> {
        Ok(self.0.cursor(feed))
    }

    async fn apply(&self, feed: &FeedId, entries: Vec<FeedEntry>) -> Result<Head, Reject> {
        self.0.apply(feed.clone(), entries).await
    }
}

/// The feed service.
pub struct Feeds {
    sink: Arc<Sink>,
    security: Security,
    group: Group,
    shutdown: watch::Receiver<bool>,
}

impl Feeds {
    /// Into a writer.
    #[must_use]
    pub fn new(sink: Arc<Sink>, security: Security, group: Group, shutdown: watch::Receiver<bool>) -> Self {
        Self { sink, security, group, shutdown }
    }
}

/// A node's own feed may be pushed by that node alone. The coordinator's is pulled, never pushed.
fn authorize(caller: &Caller, feed: &FeedId) -> Result<(), Reject> {
    let refuse = |reason, message: String| Err(Reject::new(reason, message).field("hello.feed"));
    let node = feed.participant.strip_prefix("node/").filter(|id| NodeId::new(id).is_ok());
    let Some(node) = node.filter(|_| feed.destination.is_empty() && feed.epoch > 0) else {
        return refuse(Reason::UnknownFeed, format!("finance takes nodes' own feeds, and {feed} is none"));
    };
    if !caller.is(PrincipalKind::Node, node) {
        let message =
            format!("{} may not push the feed of node {node}: its certificate names others", caller.principal());
        return refuse(Reason::NotAllowed, message);
    }
    Ok(())
}

#[tonic::async_trait]
impl FeedService for Feeds {
    type PushStream = ReceiverStream<Result<PushResponse, Status>>;
    type PullStream = ReceiverStream<Result<PullResponse, Status>>;

    async fn push(&self, request: Request<Streaming<PushRequest>>) -> Result<Response<Self::PushStream>, Status> {
        let caller = Caller::of(&request, &self.security).map_err(|reject| to_status(&reject))?;
        let welcome = HelloInfo { group: self.group.0, incarnation: 0 };
        let authorize = move |feed: &FeedId| authorize(&caller, feed);
        let answers = serve_push(self.sink.clone(), request.into_inner(), authorize, welcome, self.shutdown.clone());
        Ok(Response::new(answers))
    }

    async fn pull(&self, _: Request<Streaming<PullRequest>>) -> Result<Response<Self::PullStream>, Status> {
        Err(to_status(&Reject::new(
            Reason::NotInThisRelease,
            "finance writes no feed in this release (credit limits and signed chain heads will be one)",
        )))
    }
}

#[cfg(test)]
mod tests {
    use stockmesh_types::Principal;

    use super::*;

    #[test]
    fn only_a_node_pushes_its_own_feed() {
        let caller = |kind, id: &str| Caller { principals: vec![Principal { kind, id: id.to_owned() }] };
        let feed = |participant: &str, destination: &str, epoch| FeedId {
            participant: participant.to_owned(),
            destination: destination.to_owned(),
            epoch,
        };
        let dc = || caller(PrincipalKind::Node, "dc-1");
        let cases = [
            (dc(), feed("node/dc-1", "", 1), None),
            (Caller { principals: vec![Principal::insecure()] }, feed("node/dc-1", "", 1), None),
            (dc(), feed("node/dc-2", "", 1), Some(Reason::NotAllowed)),
            (caller(PrincipalKind::User, "dc-1"), feed("node/dc-1", "", 1), Some(Reason::NotAllowed)),
            (caller(PrincipalKind::Coordinator, "1"), feed("node/dc-1", "", 1), Some(Reason::NotAllowed)),
            (dc(), feed("coordinator/1", "finance/main", 1), Some(Reason::UnknownFeed)),
            (dc(), feed("node/dc-1", "finance/main", 1), Some(Reason::UnknownFeed)),
            (dc(), feed("node/dc-1", "", 0), Some(Reason::UnknownFeed)),
            (dc(), feed("node/DC 1", "", 1), Some(Reason::UnknownFeed)),
        ];
        for (caller, feed, refused) in cases {
            assert_eq!(authorize(&caller, &feed).err().map(|reject| reject.reason), refused, "{caller:?} {feed}");
        }
    }
}
