//! Pull, the dialling side: the consumer fetches a feed from its writer.

use std::sync::Arc;

use futures::FutureExt;
use stockmesh_proto::FEATURE_LEVEL;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::feed_service_client::FeedServiceClient;
use stockmesh_proto::feed::v1::{
    FeedEntry, FeedRef, PullAck, PullHello, PullRequest, PullResponse, pull_request, pull_response,
};
use stockmesh_types::{FeedId, Reason, Reject};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::push::bytes_of;
use super::redial::{End, HELLO_TIMEOUT, LinkName, down, redial, up};
use super::{FeedSink, HelloInfo, LinkState, MAX_APPLY_BYTES, MAX_UNACKNOWLEDGED};
use crate::MAX_MESSAGE_BYTES;
use crate::client::Dialer;

/// Pulls `feed` from the writer at one of `addresses` into `sink` until `shutdown` is true (or its sender gone), or the feed is
/// found forked. `peer` is the writer's name: `coordinator/1`.
#[allow(clippy::too_many_arguments)]
pub async fn run_pull(
    sink: Arc<impl FeedSink>,
    feed: FeedId,
    peer: String,
    dialer: Dialer,
    addresses: Vec<String>,
    hello: HelloInfo,
    state: Arc<LinkState>,
    shutdown: watch::Receiver<bool>,
) {
    let name = LinkName { direction: "pull", feed: feed.to_string(), peer };
    redial(&name, &addresses, &state, shutdown.clone(), |address| {
        let session = Session { sink: &*sink, feed: &feed, name: &name, dialer: &dialer, hello, state: &state };
        let shutdown = shutdown.clone();
        async move {
            match session.run(&address, shutdown).await {
                Ok(never) => match never {},
                Err(end) => end,
            }
        }
    })
    .await;
}

/// One connection.
struct Session<'a, S> {
    sink: &'a S,
    feed: &'a FeedId,
    name: &'a LinkName,
    dialer: &'a Dialer,
    hello: HelloInfo,
    state: &'a LinkState,
}

impl<S: FeedSink> Session<'_, S> {
    async fn run(&self, address: &str, mut shutdown: watch::Receiver<bool>) -> Result<std::convert::Infallible, End> {
        let cursor = self.sink.cursor(self.feed).await?;
        self.state.applied(cursor);
        // Room for the hello and an acknowledgement of every batch that may be under way.
        let (requests, outgoing) = mpsc::channel(MAX_UNACKNOWLEDGED + 2);
        let mut responses = tokio::select! {
            () = down(&mut shutdown) => return Err(End::Shutdown),
            opened = self.open(address, cursor, &requests, outgoing) => opened?,
        };
        up(self.name, self.state, address, cursor.seq);

        loop {
            let response = tokio::select! {
                () = down(&mut shutdown) => return Err(End::Shutdown),
                response = responses.message() => response?,
            };
            let entries = self.take(response, &mut responses)?;
            // Not interrupted by a shutdown: what is being made durable is made durable.
            let cursor = self.sink.apply(self.feed, entries).await.map_err(|reject| match reject.reason {
                // Passing over a fact that this build can't read would lose its effect: it takes a newer build.
                Reason::UnknownFact => End::Halted(reject),
                _ => End::from(reject),
            })?;
            self.state.applied(cursor);
            let ack = pull_request::Message::Ack(PullAck { cursor: Some(cursor.to_wire()) });
            tokio::select! {
                () = down(&mut shutdown) => return Err(End::Shutdown),
                // An error means that the connection is gone: the next response says why.
                _ = requests.send(PullRequest { message: Some(ack) }) => {}
            }
        }
    }

    async fn open(
        &self,
        address: &str,
        cursor: Head,
        requests: &mpsc::Sender<PullRequest>,
        outgoing: mpsc::Receiver<PullRequest>,
    ) -> Result<Streaming<PullResponse>, End> {
        let channel = self.dialer.channel(address).map_err(|error| End::again(error.to_string()))?;
        let mut client = FeedServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let hello = PullHello {
            feed: Some(FeedRef::from(self.feed)),
            cursor: Some(cursor.to_wire()),
            feature_level: FEATURE_LEVEL,
        };
        // There is room: it is the first message.
        let _ = requests.send(PullRequest { message: Some(pull_request::Message::Hello(hello)) }).await;
        let opened = timeout(HELLO_TIMEOUT, client.pull(ReceiverStream::new(outgoing))).await;
        let mut responses = opened.map_err(|_| End::again("no answer to the hello within 10 s"))??.into_inner();
        let response = timeout(HELLO_TIMEOUT, responses.message()).await;
        let response = response.map_err(|_| End::again("no welcome within 10 s"))??;
        let Some(pull_response::Message::Welcome(welcome)) = response.and_then(|response| response.message) else {
            return Err(End::again("the other side did not begin with a welcome"));
        };
        if self.hello.group != 0 && welcome.group != 0 && welcome.group != self.hello.group {
            return Err(End::again(format!(
                "{address} belongs to group {}, and group {} is wanted: mend the config",
                welcome.group, self.hello.group
            )));
        }
        Ok(responses)
    }

    /// The entries of a response, and of those that have come meanwhile: a backlog is made durable in few writes.
    fn take(
        &self,
        first: Option<PullResponse>,
        responses: &mut Streaming<PullResponse>,
    ) -> Result<Vec<FeedEntry>, End> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let mut response = first;
        loop {
            let message = response.ok_or_else(|| End::again("the other side ended the link"))?.message;
            match message {
                Some(pull_response::Message::Batch(batch)) => {
                    bytes += bytes_of(&batch);
                    entries.extend(batch.entries);
                }
                Some(pull_response::Message::Skip(_)) => return Err(skips_are_not_taken().into()),
                Some(pull_response::Message::Welcome(_)) | None => return Err(End::again("a message out of turn")),
            }
            if bytes >= MAX_APPLY_BYTES {
                return Ok(entries);
            }
            match responses.message().now_or_never() {
                // An end or an error shows again at the next turn, after these entries are safe.
                None | Some(Ok(None) | Err(_)) => return Ok(entries),
                Some(Ok(next)) => response = next,
            }
        }
    }
}

/// No consumer of this release asks for a part of a feed.
pub(super) fn skips_are_not_taken() -> Reject {
    Reject::new(Reason::NotInThisRelease, "this consumer takes whole feeds only, and was sent a skip")
}
