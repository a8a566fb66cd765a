//! A feed service over a source and a sink in memory, in processes that can be killed: a runtime of their own, dropped at once.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stockmesh_proto::entry::{ChainError, Head};
use stockmesh_proto::feed::v1::feed_service_server::{FeedService, FeedServiceServer};
use stockmesh_proto::feed::v1::{EntryBody, FeedEntry, PullRequest, PullResponse, PushRequest, PushResponse};
use stockmesh_service::link::{FeedSink, FeedSource, HelloInfo, LinkError, serve_pull, serve_push};
use stockmesh_service::server::{Limits, ServerOptions, bind, serve};
use stockmesh_service::status::{not_leader, to_status};
use stockmesh_service::{Caller, Security};
use stockmesh_types::{FeedId, PrincipalKind, Reason, Reject};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use tokio_stream::Stream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

pub const GROUP: HelloInfo = HelloInfo { group: 1, incarnation: 1 };

pub fn node_feed() -> FeedId {
    FeedId { participant: "node/dc-1".into(), destination: String::new(), epoch: 1 }
}

/// A writer's feed, always durable.
pub struct Log {
    feed: FeedId,
    entries: Mutex<(Head, Vec<FeedEntry>)>,
    heads: watch::Sender<u64>,
    pub reads: Mutex<Vec<(u64, usize)>>,
    pub acknowledged: Mutex<Head>,
}

impl Log {
    pub fn new(feed: FeedId) -> Arc<Self> {
        let heads = watch::Sender::new(0);
        let acknowledged = Mutex::new(Head::START);
        Arc::new(Self {
            feed,
            entries: Mutex::new((Head::START, vec![])),
            heads,
            reads: Mutex::default(),
            acknowledged,
        })
    }

    /// Appends an entry whose time is its own number plus `salt`.
    pub fn append(&self, count: u64, salt: i64, padding: usize) {
        let mut log = self.entries.lock().unwrap();
        let (head, entries) = &mut *log;
        for _ in 0..count {
            let time_ms = salt + i64::try_from(head.seq + 1).unwrap();
            let body = EntryBody { time_ms, business_date: "x".repeat(padding), ..EntryBody::default() };
            entries.push(head.append(&self.feed, &body));
        }
        let seq = head.seq;
        drop(log);
        self.heads.send_replace(seq);
    }
}

impl FeedSource for Log {
    fn feed(&self) -> FeedId {
        self.feed.clone()
    }

    fn head(&self) -> Head {
        self.entries.lock().unwrap().0
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.heads.subscribe()
    }

    async fn read(&self, after: u64, max_bytes: usize) -> Result<Vec<FeedEntry>, LinkError> {
        let entries = self.entries.lock().unwrap();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for entry in &entries.1[usize::try_from(after).unwrap()..] {
            bytes += entry.body.len();
            if bytes > max_bytes && !taken.is_empty() {
                break;
            }
            taken.push(entry.clone());
        }
        self.reads.lock().unwrap().push((after, taken.len()));
        Ok(taken)
    }

    async fn acknowledged(&self, peer: &str, cursor: Head) -> Result<(), LinkError> {
        let entries = self.entries.lock().unwrap();
        let ours = match cursor.seq {
            0 => Head::START.hash.0.to_vec(),
            seq => entries.1[usize::try_from(seq - 1).unwrap()].hash.clone(),
        };
        if ours != cursor.hash.0 {
            return Err(Reject::new(Reason::FeedForked, format!("{peer} has another entry {}", cursor.seq)).into());
        }
        *self.acknowledged.lock().unwrap() = cursor;
        Ok(())
    }
}

/// A consumer that keeps the cursor with the effect.
#[derive(Default)]
pub struct Books {
    pub state: Mutex<BooksState>,
    /// While true, `apply` waits.
    pub blocked: watch::Sender<bool>,
}

#[derive(Default)]
pub struct BooksState {
    pub cursors: BTreeMap<FeedId, Head>,
    /// The effect: one for each entry.
    pub effects: Vec<i64>,
    /// Every n-th `apply` becomes durable and then fails, so that its acknowledgement is lost.
    pub fail_every: usize,
    pub applies: usize,
    pub refuse: Option<Reason>,
}

impl Books {
    pub fn effects(&self) -> Vec<i64> {
        self.state.lock().unwrap().effects.clone()
    }
}

impl FeedSink for Books {
    async fn cursor(&self, feed: &FeedId) -> Result<Head, Reject> {
        let state = self.state.lock().unwrap();
        if let Some(reason) = state.refuse {
            return Err(Reject::new(reason, "refused by the test"));
        }
        Ok(state.cursors.get(feed).copied().unwrap_or(Head::START))
    }

    async fn apply(&self, feed: &FeedId, entries: Vec<FeedEntry>) -> Result<Head, Reject> {
        // An error means that the sender is gone, and it lives in `self`.
        let _ = self.blocked.subscribe().wait_for(|blocked| !blocked).await;
        let mut state = self.state.lock().unwrap();
        let mut cursor = state.cursors.get(feed).copied().unwrap_or(Head::START);
        for entry in &entries {
            match cursor.accept(feed, entry) {
                Ok(None) => {}
                Ok(Some(body)) => {
                    state.effects.push(body.time_ms);
                    state.cursors.insert(feed.clone(), cursor);
                }
                Err(error @ ChainError::Gap { .. }) => return Err(Reject::new(Reason::FeedGap, error.to_string())),
                Err(error) => return Err(Reject::new(Reason::FeedForked, error.to_string())),
            }
        }
        state.applies += 1;
        if state.fail_every > 0 && state.applies.is_multiple_of(state.fail_every) {
            return Err(Reject::new(Reason::Overloaded, "the acknowledgement is lost on purpose"));
        }
        Ok(cursor)
    }
}

/// Both kinds of link on one address.
pub struct Service {
    pub security: Security,
    pub books: Arc<Books>,
    pub log: Arc<Log>,
    /// Answer NOT_LEADER with this address.
    pub leader: Option<String>,
    pub shutdown: watch::Receiver<bool>,
    /// `Pull` of a feed with epoch 99 waits here before it answers.
    pub gate: Arc<Notify>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl FeedService for Service {
    type PushStream = Answers<PushResponse>;
    type PullStream = Answers<PullResponse>;

    async fn push(&self, request: Request<Streaming<PushRequest>>) -> Result<Response<Self::PushStream>, Status> {
        let caller = Caller::of(&request, &self.security).map_err(|reject| to_status(&reject))?;
        if let Some(leader) = &self.leader {
            return Err(not_leader(Some(leader)));
        }
        let authorize = move |feed: &FeedId| match feed.participant.strip_prefix("node/") {
            Some(node) if caller.is(PrincipalKind::Node, node) => Ok(()),
            _ => Err(Reject::new(Reason::NotAllowed, format!("{} may not write {feed}", caller.principal()))),
        };
        let books = Arc::clone(&self.books);
        let stream = serve_push(books, request.into_inner(), authorize, GROUP, self.shutdown.clone());
        Ok(Response::new(Box::pin(stream)))
    }

    async fn pull(&self, request: Request<Streaming<PullRequest>>) -> Result<Response<Self::PullStream>, Status> {
        if request.metadata().contains_key("wait-at-gate") {
            self.gate.notified().await;
        }
        let log = Arc::clone(&self.log);
        let open = move |feed: &FeedId| {
            let ours = log.feed();
            if feed.participant != ours.participant {
                return Err(Reject::new(Reason::UnknownFeed, format!("no feed {feed}")));
            }
            if feed.epoch != ours.epoch {
                return Err(Reject::new(Reason::StaleEpoch, format!("{feed} is over")));
            }
            Ok(log)
        };
        let stream = serve_pull(open, request.into_inner(), GROUP, self.shutdown.clone());
        Ok(Response::new(Box::pin(stream)))
    }
}

/// A server with a runtime of its own.
pub struct Server {
    runtime: Option<Runtime>,
    pub address: SocketAddr,
    pub shutdown: watch::Sender<bool>,
    pub gate: Arc<Notify>,
    pub ended: Option<tokio::task::JoinHandle<()>>,
}

impl Server {
    pub fn start(listen: &str, security: Security, books: &Arc<Books>, log: &Arc<Log>, leader: Option<String>) -> Self {
        Self::start_with(listen, security, books, log, leader, Limits::default())
    }

    pub fn start_with(
        listen: &str,
        security: Security,
        books: &Arc<Books>,
        log: &Arc<Log>,
        leader: Option<String>,
        limits: Limits,
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let (shutdown, mut down) = watch::channel(false);
        let gate = Arc::new(Notify::new());
        let service = Service {
            security: security.clone(),
            books: Arc::clone(books),
            log: Arc::clone(log),
            leader,
            shutdown: down.clone(),
            gate: Arc::clone(&gate),
        };
        let listen: SocketAddr = listen.parse().unwrap();
        let listener = block_on_thread(runtime.handle(), listen, security.clone());
        let address = listener.local_addr().unwrap();
        let routes = Routes::new(FeedServiceServer::new(service));
        let options = ServerOptions { limits, ..ServerOptions::new(address, security) };
        let ended = runtime.spawn(async move {
            let shutdown = async move {
                let _ = down.wait_for(|down| *down).await;
            };
            serve(options, listener, routes, &["stockmesh.feed.v1.FeedService"], shutdown)
                .await
                .expect("the server runs");
        });
        Self { runtime: Some(runtime), address, shutdown, gate, ended: Some(ended) }
    }

    /// As `kill -9`: connections and handlers are gone at once, whatever they were doing.
    pub fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Binds from a test that may itself be async.
fn block_on_thread(handle: &tokio::runtime::Handle, listen: SocketAddr, security: Security) -> TcpListener {
    let deadline = Instant::now() + Duration::from_secs(10);
    std::thread::scope(|scope| {
        let bound = scope.spawn(|| {
            loop {
                // A killed server's listener goes when its runtime's threads do: the port may still be taken for a moment.
                match handle.block_on(bind(listen, &security)) {
                    Ok(listener) => return listener,
                    Err(error) => assert!(Instant::now() < deadline, "{error}"),
                }
            }
        });
        bound.join().unwrap()
    })
}

/// Waits until `done`, 30 s at most.
pub async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// 1 to n.
pub fn up_to(n: i64) -> Vec<i64> {
    (1..=n).collect()
}
