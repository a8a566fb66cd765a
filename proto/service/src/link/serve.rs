//! Both kinds of link, the serving side.
//!
//! A session ends with the status that says why: a reject of the sink or source, or `SHUTTING_DOWN`. The dialling side comes
//! back and resumes from the cursor.

use std::fmt::Display;
use std::sync::Arc;

use futures::FutureExt;
use stockmesh_proto::FEATURE_LEVEL;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::{
    FeedEntry, FeedRef, PullRequest, PullResponse, PullWelcome, PushAck, PushRequest, PushResponse, PushWelcome,
    pull_request, pull_response, push_request, push_response,
};
use stockmesh_types::{FeedId, Reason, Reject};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::pull::skips_are_not_taken;
use super::push::bytes_of;
use super::redial::{HELLO_TIMEOUT, down};
use super::window::{Beyond, Window, forked, position};
use super::{FeedSink, FeedSource, HelloInfo, LinkError, MAX_APPLY_BYTES, MAX_UNACKNOWLEDGED};
use crate::status::{internal, to_status};

/// Why a session ended.
enum Ended {
    /// The dialling side is gone: nobody to tell.
    PeerGone,
    /// To be told.
    Status(Status),
}

impl From<Reject> for Ended {
    fn from(reject: Reject) -> Self {
        if reject.reason == Reason::FeedForked {
            tracing::error!(error = %reject, "a feed has forked: it is refused until a person has looked");
        }
        Self::Status(to_status(&reject))
    }
}

impl From<LinkError> for Ended {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Rejected(reject) => reject.into(),
            LinkError::Fault(fault) => Self::Status(internal(&fault)),
        }
    }
}

fn shutting_down() -> Ended {
    Reject::new(Reason::ShuttingDown, "this process is going down: dial again").into()
}

/// Tells the dialling side why its session ended.
async fn end<T>(responses: &mpsc::Sender<Result<T, Status>>, ended: Ended) {
    if let Ended::Status(status) = ended {
        // An error means that it is gone meanwhile.
        let _ = responses.send(Err(status)).await;
    }
}

async fn answer<T>(responses: &mpsc::Sender<Result<T, Status>>, message: T) -> Result<(), Ended> {
    responses.send(Ok(message)).await.map_err(|_| Ended::PeerGone)
}

fn feed_of(feed: Option<&FeedRef>) -> Result<FeedId, Reject> {
    let feed = feed.ok_or_else(|| Reject::new(Reason::MissingField, "hello.feed is missing").field("hello.feed"))?;
    Ok(FeedId::from(feed))
}

fn no_hello(detail: &dyn Display) -> Ended {
    Reject::new(Reason::MissingField, format!("a link begins with a hello: {detail}")).field("hello").into()
}

/// Serves one push: takes the caller's feed into `sink`. `authorize` says whether this caller may write that feed; `welcome`
/// is what this side says about itself. The session ends when `shutdown` turns true.
pub fn serve_push<S: FeedSink>(
    sink: Arc<S>,
    requests: Streaming<PushRequest>,
    authorize: impl Fn(&FeedId) -> Result<(), Reject> + Send + 'static,
    welcome: HelloInfo,
    shutdown: watch::Receiver<bool>,
) -> ReceiverStream<Result<PushResponse, Status>> {
    let (responses, stream) = mpsc::channel(MAX_UNACKNOWLEDGED);
    tokio::spawn(async move {
        let session = take_push(&*sink, requests, authorize, welcome, shutdown, &responses);
        if let Err(ended) = session.await {
            end(&responses, ended).await;
        }
    });
    ReceiverStream::new(stream)
}

async fn take_push<S: FeedSink>(
    sink: &S,
    mut requests: Streaming<PushRequest>,
    authorize: impl Fn(&FeedId) -> Result<(), Reject> + Send,
    welcome: HelloInfo,
    mut shutdown: watch::Receiver<bool>,
    responses: &mpsc::Sender<Result<PushResponse, Status>>,
) -> Result<(), Ended> {
    let first = timeout(HELLO_TIMEOUT, requests.message()).await.map_err(|_| no_hello(&"none came within 10 s"))?;
    let first = first.map_err(|_| Ended::PeerGone)?;
    let Some(push_request::Message::Hello(hello)) = first.and_then(|request| request.message) else {
        return Err(no_hello(&"the first message is something else"));
    };
    let feed = feed_of(hello.feed.as_ref())?;
    authorize(&feed)?;
    check_group(hello.group, hello.incarnation, welcome)?;
    let head = position(hello.head.as_ref(), "hello.head")?;
    let cursor = match sink.cursor(&feed).await {
        Err(reject) if reject.reason == Reason::StaleEpoch => {
            sink.surfaced(&feed, head).await?;
            return Err(reject.into());
        }
        cursor => cursor?,
    };
    check_head(&feed, head, cursor)?;
    let greeting = PushWelcome {
        cursor: Some(cursor.to_wire()),
        group: welcome.group,
        incarnation: welcome.incarnation,
        feature_level: FEATURE_LEVEL.min(hello.feature_level),
    };
    answer(responses, PushResponse { message: Some(push_response::Message::Welcome(greeting)) }).await?;
    loop {
        let request = tokio::select! {
            () = down(&mut shutdown) => return Err(shutting_down()),
            () = responses.closed() => return Err(Ended::PeerGone),
            request = requests.message() => request.map_err(|_| Ended::PeerGone)?,
        };
        let Some(request) = request else { return Ok(()) };
        let entries = gather(request, &mut requests)?;
        let cursor = sink.apply(&feed, entries).await?;
        let ack = PushAck { cursor: Some(cursor.to_wire()) };
        answer(responses, PushResponse { message: Some(push_response::Message::Ack(ack)) }).await?;
    }
}

fn check_group(group: u32, incarnation: u32, ours: HelloInfo) -> Result<(), Reject> {
    if group != 0 && ours.group != 0 && group != ours.group {
        return Err(Reject::new(
            Reason::InvalidValue,
            format!("the caller belongs to group {group}, and this is group {}: mend its config", ours.group),
        )
        .field("hello.group"));
    }
    if ours.incarnation != 0 && incarnation > ours.incarnation {
        return Err(Reject::new(
            Reason::StaleIncarnation,
            format!("the caller knows incarnation {incarnation}, and this is {}", ours.incarnation),
        )
        .field("hello.incarnation"));
    }
    Ok(())
}

/// A writer that has less than this consumer, or another hash at the same place, has lost its history.
fn check_head(feed: &FeedId, head: Head, cursor: Head) -> Result<(), LinkError> {
    if head.seq < cursor.seq {
        return Err(forked(feed, format!("it ends at {} there, and entry {} is here", head.seq, cursor.seq)));
    }
    if head.seq == cursor.seq && head.hash != cursor.hash {
        return Err(forked(feed, format!("entry {} has another hash here", cursor.seq)));
    }
    Ok(())
}

/// The entries of a request, and of those that have come meanwhile: a backlog is made durable in few writes.
fn gather(first: PushRequest, requests: &mut Streaming<PushRequest>) -> Result<Vec<FeedEntry>, Ended> {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    let mut request = first;
    loop {
        match request.message {
            Some(push_request::Message::Batch(batch)) => {
                bytes += bytes_of(&batch);
                entries.extend(batch.entries);
            }
            Some(push_request::Message::Skip(_)) => return Err(skips_are_not_taken().into()),
            Some(push_request::Message::Hello(_)) | None => return Err(no_hello(&"and has one only")),
        }
        if bytes >= MAX_APPLY_BYTES {
            return Ok(entries);
        }
        match requests.message().now_or_never() {
            // An end or an error shows again at the next turn, after these entries are safe.
            None | Some(Ok(None) | Err(_)) => return Ok(entries),
            Some(Ok(Some(next))) => request = next,
        }
    }
}

/// Serves one pull: sends the feed that the caller asks for. `open` says whether it may have that feed, and gives it;
/// acknowledgements are noted under the feed's destination. The session ends when `shutdown` turns true.
pub fn serve_pull<S: FeedSource>(
    open: impl FnOnce(&FeedId) -> Result<Arc<S>, Reject> + Send + 'static,
    requests: Streaming<PullRequest>,
    welcome: HelloInfo,
    shutdown: watch::Receiver<bool>,
) -> ReceiverStream<Result<PullResponse, Status>> {
    let (responses, stream) = mpsc::channel(MAX_UNACKNOWLEDGED);
    tokio::spawn(async move {
        let session = give_pull(open, requests, welcome, shutdown, &responses);
        if let Err(ended) = session.await {
            end(&responses, ended).await;
        }
    });
    ReceiverStream::new(stream)
}

async fn give_pull<S: FeedSource>(
    open: impl FnOnce(&FeedId) -> Result<Arc<S>, Reject> + Send,
    mut requests: Streaming<PullRequest>,
    welcome: HelloInfo,
    mut shutdown: watch::Receiver<bool>,
    responses: &mpsc::Sender<Result<PullResponse, Status>>,
) -> Result<(), Ended> {
    let first = timeout(HELLO_TIMEOUT, requests.message()).await.map_err(|_| no_hello(&"none came within 10 s"))?;
    let first = first.map_err(|_| Ended::PeerGone)?;
    let Some(pull_request::Message::Hello(hello)) = first.and_then(|request| request.message) else {
        return Err(no_hello(&"the first message is something else"));
    };
    let feed = feed_of(hello.feed.as_ref())?;
    let cursor = position(hello.cursor.as_ref(), "hello.cursor")?;
    let source = open(&feed)?;
    let head = source.head();
    let mut window = Window::open(source, &feed.destination, cursor, Beyond::Lag).await?;
    let greeting = PullWelcome {
        head: Some(head.to_wire()),
        group: welcome.group,
        incarnation: welcome.incarnation,
        feature_level: FEATURE_LEVEL.min(hello.feature_level),
    };
    answer(responses, PullResponse { message: Some(pull_response::Message::Welcome(greeting)) }).await?;
    loop {
        while let Some(batch) = window.next_batch().await? {
            answer(responses, PullResponse { message: Some(pull_response::Message::Batch(batch)) }).await?;
        }
        tokio::select! {
            () = down(&mut shutdown) => return Err(shutting_down()),
            () = responses.closed() => return Err(Ended::PeerGone),
            request = requests.message() => {
                match request.map_err(|_| Ended::PeerGone)? {
                    None => return Ok(()),
                    Some(PullRequest { message: Some(pull_request::Message::Ack(ack)) }) => {
                        window.acknowledge(ack.cursor.as_ref()).await?;
                    }
                    Some(_) => return Err(no_hello(&"and has one only")),
                }
            }
            alive = window.changed(), if !window.is_full() => {
                if !alive {
                    return Err(shutting_down());
                }
            }
        }
    }
}
