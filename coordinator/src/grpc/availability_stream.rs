//! Availability for channels: totals in bulk with their staleness, and as they change.
//!
//! Answered from this replica's memory. Nothing is kept for a watcher: it gets totals as they are when it takes them, and
//! one that fell behind what is remembered of changes begins anew.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use stockmesh_proto::common::v1::StockKey;
use stockmesh_proto::coordinator::v1::availability_stream_service_server::AvailabilityStreamService;
use stockmesh_proto::coordinator::v1::{
    BatchGetAvailabilityRequest, BatchGetAvailabilityResponse, WatchAvailabilityRequest, WatchAvailabilityResponse,
    WatchCursor,
};
use stockmesh_service::status::to_status;
use stockmesh_types::{Reason, Reject};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Context, READERS};
use crate::changes::Since;
use crate::driver::NodeStatus;

/// Stock keys of one request at most.
const MAX_KEYS: usize = 10_000;
/// Keys that are read under one lock: applying waits no longer than for these.
const KEYS_AT_ONCE: usize = 1_000;
/// Watchers of one replica, some 1 MB each at most.
const MAX_WATCHERS: usize = 256;
/// How long changes are gathered when the watcher does not say.
const USUAL_INTERVAL_MS: u32 = 100;

pub(super) struct AvailabilityStreams {
    context: Arc<Context>,
    /// When a quorum was last asked how far this replica has to be, of the times when it got there.
    confirmed: Mutex<Option<Instant>>,
    watchers: Arc<Semaphore>,
}

impl AvailabilityStreams {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context, confirmed: Mutex::default(), watchers: Arc::new(Semaphore::new(MAX_WATCHERS)) }
    }

    fn staleness(&self) -> Option<Duration> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).map(|asked| asked.elapsed())
    }

    /// Makes sure that everything is here that was committed `most` ago.
    async fn freshen(&self, most: Duration) -> Result<(), Status> {
        if self.staleness().is_some_and(|staleness| staleness <= most) {
            return Ok(());
        }
        let asked = Instant::now();
        self.context.linearize().await?;
        let mut confirmed = self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        // Others may have asked later, and been answered sooner.
        *confirmed = (*confirmed).max(Some(asked));
        Ok(())
    }
}

fn check_keys(keys: &[StockKey], least: usize) -> Result<(), Reject> {
    if keys.len() < least || keys.len() > MAX_KEYS {
        let message = format!("{} stock keys, and one request names {least} to {MAX_KEYS}", keys.len());
        return Err(Reject::new(Reason::TooManyLines, message).field("stock_keys"));
    }
    match keys.iter().position(|key| key.item.is_empty()) {
        Some(n) => Err(Reject::new(Reason::MissingField, "item is missing").field(format!("stock_keys[{n}].item"))),
        None => Ok(()),
    }
}

#[tonic::async_trait]
impl AvailabilityStreamService for AvailabilityStreams {
    async fn batch_get_availability(
        &self,
        request: Request<BatchGetAvailabilityRequest>,
    ) -> Result<Response<BatchGetAvailabilityResponse>, Status> {
        self.context.asked(&request, READERS)?;
        let BatchGetAvailabilityRequest { stock_keys, max_staleness_ms } = request.into_inner();
        check_keys(&stock_keys, 1).map_err(|reject| to_status(&reject))?;
        if max_staleness_ms > 0 {
            self.freshen(Duration::from_millis(max_staleness_ms.into())).await?;
        }
        let staleness = self.staleness();
        let mut answer = BatchGetAvailabilityResponse {
            available_to_fulfill: Vec::with_capacity(stock_keys.len()),
            backordered: Vec::with_capacity(stock_keys.len()),
            staleness_ms: staleness.map(|staleness| u32::try_from(staleness.as_millis()).unwrap_or(u32::MAX)),
            ..BatchGetAvailabilityResponse::default()
        };
        for (n, keys) in stock_keys.chunks(KEYS_AT_ONCE).enumerate() {
            let state = self.context.handle.state().read();
            if n == 0 {
                // Later ones are newer: no total is older than this.
                (answer.as_of_time_ms, answer.as_of_index) = (state.log_time().0, state.applied_index());
            }
            for key in keys {
                let index = state.stock_key_index(key);
                let (free, waiting) = index.map_or((0, 0), |index| state.availability_total(index));
                answer.available_to_fulfill.push(free);
                answer.backordered.push(waiting);
            }
        }
        Ok(Response::new(answer))
    }

    type WatchAvailabilityStream = ReceiverStream<Result<WatchAvailabilityResponse, Status>>;

    async fn watch_availability(
        &self,
        request: Request<WatchAvailabilityRequest>,
    ) -> Result<Response<Self::WatchAvailabilityStream>, Status> {
        self.context.asked(&request, READERS)?;
        let WatchAvailabilityRequest { stock_keys, resume_after, interval_ms } = request.into_inner();
        check_keys(&stock_keys, 0).map_err(|reject| to_status(&reject))?;
        let interval_ms = if interval_ms == 0 { USUAL_INTERVAL_MS } else { interval_ms };
        if !(10..=60_000).contains(&interval_ms) {
            let message = format!("interval_ms is {interval_ms}, and must be 10 to 60,000, or 0 for 100");
            return Err(to_status(&Reject::new(Reason::InvalidValue, message).field("interval_ms")));
        }
        let permit = self.watchers.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{MAX_WATCHERS} watchers follow this replica already: ask another, or later");
            to_status(&Reject::new(Reason::Overloaded, message))
        })?;
        let incarnation = self.context.handle.identity().incarnation;
        let resumed = resume_after.filter(|cursor| cursor.incarnation == incarnation).map(|cursor| cursor.index);
        let (messages, stream) = mpsc::channel(1);
        let watcher = Watcher {
            context: self.context.clone(),
            names: stock_keys,
            interval: Duration::from_millis(interval_ms.into()),
            messages,
            _permit: permit,
        };
        tokio::spawn(watcher.run(resumed));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// One watcher.
struct Watcher {
    context: Arc<Context>,
    /// Keys that it follows; none: all.
    names: Vec<StockKey>,
    interval: Duration,
    messages: mpsc::Sender<Result<WatchAvailabilityResponse, Status>>,
    _permit: OwnedSemaphorePermit,
}

/// It has gone away.
struct Gone;

/// What a watcher waits for.
enum More {
    /// Something was applied.
    Changes,
    /// The process goes down.
    Down,
    /// Nobody listens any more, or nothing comes.
    Gone,
}

impl Watcher {
    async fn run(self, resumed: Option<u64>) {
        let (mut status, mut shutdown) = (self.context.handle.watch_status(), self.context.shutdown.clone());
        let mut cursor = resumed;
        loop {
            match self.pass(cursor).await {
                Ok(reached) => cursor = Some(reached),
                Err(Gone) => return,
            }
            tokio::time::sleep(self.interval).await;
            // What a watch lends is let go before anything else is waited for.
            let more = tokio::select! {
                () = self.messages.closed() => More::Gone,
                down = async { shutdown.wait_for(|down| *down).await.is_ok() } => {
                    if down { More::Down } else { More::Gone }
                }
                applied = async {
                    let beyond = |now: &NodeStatus| cursor.is_none_or(|cursor| now.applied_index > cursor);
                    status.wait_for(beyond).await.is_ok()
                } => if applied { More::Changes } else { More::Gone },
            };
            match more {
                More::Changes => {}
                More::Gone => return,
                More::Down => {
                    // One that has gone away needs no status.
                    let reject = Reject::new(Reason::ShuttingDown, "this replica is going down: resume at another");
                    let _ = self.messages.send(Err(to_status(&reject))).await;
                    return;
                }
            }
        }
    }

    /// Sends what changed after `cursor`; everything when that is not known. Gives how far it came.
    async fn pass(&self, cursor: Option<u64>) -> Result<u64, Gone> {
        let changes = self.context.handle.changes();
        let since = match cursor {
            Some(cursor) => changes.since(cursor),
            None => Since::Unknown(self.context.handle.state().read().applied_index()),
        };
        let (changed, reached) = match since {
            Since::Keys(changed, reached) => (Some(changed), reached),
            Since::Unknown(reached) => (None, reached),
        };
        let reset = changed.is_none();
        let followed = match (changed, self.names.is_empty()) {
            // As many as there are: they are counted up, not listed.
            (None, true) => Followed::All,
            (None, false) => Followed::These(self.followed().into_iter().collect()),
            (Some(changed), true) => Followed::These(changed),
            (Some(changed), false) => {
                let mine = self.followed();
                Followed::These(changed.into_iter().filter(|key| mine.contains(key)).collect())
            }
        };
        if !reset && matches!(&followed, Followed::These(keys) if keys.is_empty()) {
            return Ok(reached);
        }
        self.send(&followed, reset, reached).await?;
        Ok(reached)
    }

    /// The keys that it follows, as far as they were ever granted or ordered.
    fn followed(&self) -> BTreeSet<u32> {
        let chunks = self.names.chunks(KEYS_AT_ONCE);
        let of = |names: &[StockKey]| {
            let state = self.context.handle.state().read();
            names.iter().filter_map(|name| state.stock_key_index(name)).collect::<Vec<u32>>()
        };
        chunks.flat_map(of).collect()
    }

    async fn send(&self, keys: &Followed, reset: bool, reached: u64) -> Result<(), Gone> {
        let incarnation = self.context.handle.identity().incarnation;
        let (mut at, mut first) = (0usize, reset);
        loop {
            let (message, ended) = {
                let state = self.context.handle.state().read();
                let (page, ended): (Vec<_>, bool) = match keys {
                    Followed::These(keys) => {
                        let page = keys.iter().skip(at).take(KEYS_AT_ONCE);
                        let totals = page.filter_map(|key| state.availability_message(*key));
                        (totals.collect(), at + KEYS_AT_ONCE >= keys.len())
                    }
                    Followed::All => {
                        let from = u32::try_from(at).unwrap_or(u32::MAX);
                        let totals = (from..).take(KEYS_AT_ONCE).map_while(|key| state.availability_message(key));
                        let page: Vec<_> = totals.collect();
                        let ended = page.len() < KEYS_AT_ONCE;
                        (page, ended)
                    }
                };
                let message = WatchAvailabilityResponse {
                    reset: first,
                    totals: page,
                    cursor: ended.then_some(WatchCursor { incarnation, index: reached }),
                    as_of_time_ms: state.log_time().0,
                };
                (message, ended)
            };
            self.messages.send(Ok(message)).await.map_err(|_| Gone)?;
            if ended {
                return Ok(());
            }
            at += KEYS_AT_ONCE;
            first = false;
        }
    }
}

/// Keys to send, by dense index.
enum Followed {
    All,
    These(Vec<u32>),
}
