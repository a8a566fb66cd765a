//! Push, the dialling side: the writer sends its feed to a consumer.

use std::sync::Arc;
use std::time::Duration;

use stockmesh_proto::FEATURE_LEVEL;
use stockmesh_proto::feed::v1::feed_service_client::FeedServiceClient;
use stockmesh_proto::feed::v1::{
    EntryBatch, FeedRef, PushAck, PushHello, PushRequest, PushResponse, push_request, push_response,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::redial::{End, HELLO_TIMEOUT, LinkName, down, redial, up};
use super::window::{Beyond, Window, position};
use super::{FeedSource, HelloInfo, LinkState, MAX_UNACKNOWLEDGED};
use crate::MAX_MESSAGE_BYTES;
use crate::client::Dialer;

/// A consumer that has batches and acknowledges nothing for this long is dialled anew.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// Pushes `source` to the consumer at one of `addresses` until `shutdown` is true (or its sender gone), or the feed is found
/// forked. `peer` is the consumer's name: `coordinator/1`, `finance/main`.
#[allow(clippy::too_many_arguments)]
pub async fn run_push(
    source: Arc<impl FeedSource>,
    peer: String,
    dialer: Dialer,
    addresses: Vec<String>,
    hello: HelloInfo,
    state: Arc<LinkState>,
    shutdown: watch::Receiver<bool>,
) {
    let name = LinkName { direction: "push", feed: source.feed().to_string(), peer };
    redial(&name, &addresses, &state, shutdown.clone(), |address| {
        let session = Session { source: &source, name: &name, dialer: &dialer, hello, state: &state };
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
    source: &'a Arc<S>,
    name: &'a LinkName,
    dialer: &'a Dialer,
    hello: HelloInfo,
    state: &'a LinkState,
}

impl<S: FeedSource> Session<'_, S> {
    async fn run(&self, address: &str, mut shutdown: watch::Receiver<bool>) -> Result<std::convert::Infallible, End> {
        // Room for the hello and for every batch that may be under way: sending never waits.
        let (requests, outgoing) = mpsc::channel(MAX_UNACKNOWLEDGED + 2);
        let mut responses = tokio::select! {
            () = down(&mut shutdown) => return Err(End::Shutdown),
            opened = self.open(address, &requests, outgoing) => opened?,
        };
        let mut window = tokio::select! {
            () = down(&mut shutdown) => return Err(End::Shutdown),
            welcomed = self.welcome(&mut responses) => welcomed?,
        };
        up(self.name, self.state, address, self.state.acknowledged_seq());

        let mut heard = Instant::now();
        loop {
            while let Some(batch) = window.next_batch().await? {
                if window.is_idle() {
                    heard = Instant::now();
                }
                if requests.send(message(push_request::Message::Batch(batch))).await.is_err() {
                    // The connection is gone: the response says why.
                    break;
                }
            }
            tokio::select! {
                () = down(&mut shutdown) => return Err(End::Shutdown),
                response = responses.message() => {
                    let ack = expect_ack(response?)?;
                    let cursor = window.acknowledge(ack.cursor.as_ref()).await?;
                    self.state.acknowledged(cursor);
                    heard = Instant::now();
                }
                alive = window.changed(), if !window.is_full() => {
                    if !alive {
                        return Err(End::Shutdown);
                    }
                    if window.is_idle() {
                        heard = Instant::now();
                    }
                }
                () = sleep_until(heard + ACK_TIMEOUT), if !window.is_idle() => {
                    return Err(End::again("the other side acknowledged nothing for 30 s"));
                }
            }
        }
    }

    async fn open(
        &self,
        address: &str,
        requests: &mpsc::Sender<PushRequest>,
        outgoing: mpsc::Receiver<PushRequest>,
    ) -> Result<Streaming<PushResponse>, End> {
        let channel = self.dialer.channel(address).map_err(|error| End::again(error.to_string()))?;
        let mut client = FeedServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let hello = PushHello {
            feed: Some(FeedRef::from(&self.source.feed())),
            head: Some(self.source.head().to_wire()),
            feature_level: FEATURE_LEVEL,
            group: self.hello.group,
            incarnation: self.hello.incarnation,
            recovery_id: String::new(),
        };
        // There is room: it is the first message.
        let _ = requests.send(message(push_request::Message::Hello(hello))).await;
        let opened = timeout(HELLO_TIMEOUT, client.push(ReceiverStream::new(outgoing))).await;
        Ok(opened.map_err(|_| End::again("no answer to the hello within 10 s"))??.into_inner())
    }

    /// Reads the welcome and opens the window at the consumer's cursor.
    async fn welcome(&self, responses: &mut Streaming<PushResponse>) -> Result<Window<S>, End> {
        let response = timeout(HELLO_TIMEOUT, responses.message()).await;
        let response = response.map_err(|_| End::again("no welcome within 10 s"))??;
        let Some(push_response::Message::Welcome(welcome)) = response.and_then(|response| response.message) else {
            return Err(End::again("the other side did not begin with a welcome"));
        };
        let cursor = position(welcome.cursor.as_ref(), "welcome.cursor")?;
        let window = Window::open(Arc::clone(self.source), &self.name.peer, cursor, Beyond::Fork).await?;
        self.state.acknowledged(cursor);
        Ok(window)
    }
}

fn message(message: push_request::Message) -> PushRequest {
    PushRequest { message: Some(message) }
}

fn expect_ack(response: Option<PushResponse>) -> Result<PushAck, End> {
    let response = response.ok_or_else(|| End::again("the other side ended the link"))?;
    match response.message {
        Some(push_response::Message::Ack(ack)) => Ok(ack),
        Some(push_response::Message::Welcome(_)) => Err(End::again("a second welcome")),
        None => Err(End::again("an empty message")),
    }
}

/// Bytes of the entries of a batch, about.
pub(super) fn bytes_of(batch: &EntryBatch) -> usize {
    batch.entries.iter().map(|entry| entry.body.len() + entry.hash.len() + 8).sum()
}
