//! The one writer of the books: a thread that takes feed entries from a bounded queue, posts what waits as one batch, writes
//! it in one transaction with the raw entries and the feeds' cursors, and answers everyone after the commit. It also signs the
//! head of the journal's chain, when asked, between two batches.
//!
//! A business answer (a gap, a fork, a fact of a newer release) goes to the link that brought it; the entries before it take
//! effect. A fault ends the thread, and with it the process: the books in memory are never used again after one.
//!
//! Must not know: gRPC, posting rules.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use stockmesh_finance_core::{Books, Fault, PostError, Settings, Source};
use stockmesh_proto::entry::{ChainError, Head};
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_types::{FeedId, Reason, Reject};
use tokio::sync::{mpsc, oneshot};

use crate::signing::Signer;
use crate::store::{Batch, SignedHead, Store, StoreError};

/// Requests that may wait for the writer, each of at most about 1 MiB: beyond it, links wait before they hand over more.
const QUEUE: usize = 64;
/// Entries after which a batch is written, though more wait.
const MAX_BATCH: usize = 4_000;

/// Why the writer stopped: the process must end.
#[derive(Debug, thiserror::Error)]
pub enum WriterFault {
    /// The books can't be posted to.
    #[error(transparent)]
    Books(#[from] Fault<StoreError>),
    /// A batch can't be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread can't be started, or panicked.
    #[error("the writer's thread failed: {0}")]
    Thread(String),
}

enum Request {
    /// Entries of a feed.
    Entries { feed: FeedId, entries: Vec<FeedEntry>, reply: oneshot::Sender<Result<Head, Reject>> },
    /// Sign the present head.
    Sign { reply: oneshot::Sender<SignedHead> },
}

/// How far every feed is posted, durably.
type Cursors = Arc<RwLock<BTreeMap<FeedId, Head>>>;

/// Hands entries to the writer. Cheap to clone.
#[derive(Clone)]
pub struct WriterHandle {
    requests: mpsc::Sender<Request>,
    cursors: Cursors,
}

impl WriterHandle {
    /// How far a feed is posted, durably.
    #[must_use]
    pub fn cursor(&self, feed: &FeedId) -> Head {
        let cursors = self.cursors.read().unwrap_or_else(PoisonError::into_inner);
        cursors.get(feed).copied().unwrap_or(Head::START)
    }

    /// Every feed that there is, and how far it is posted.
    #[must_use]
    pub fn cursors(&self) -> BTreeMap<FeedId, Head> {
        self.cursors.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Posts entries of a feed, and answers with its cursor once they are durable. Waits while the queue is full.
    ///
    /// # Errors
    /// `FEED_GAP`, `FEED_FORKED`, `UNKNOWN_FACT`: the entries before took effect. `SHUTTING_DOWN`.
    pub async fn apply(&self, feed: FeedId, entries: Vec<FeedEntry>) -> Result<Head, Reject> {
        let (reply, answer) = oneshot::channel();
        let gone = || Reject::new(Reason::ShuttingDown, "finance is going down: send again");
        self.requests.send(Request::Entries { feed, entries, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Signs the present head of the journal's chain. One that was signed before is answered as it was.
    ///
    /// # Errors
    /// `SHUTTING_DOWN`.
    pub async fn sign_head(&self) -> Result<SignedHead, Reject> {
        let (reply, answer) = oneshot::channel();
        let gone = || Reject::new(Reason::ShuttingDown, "finance is going down: ask again");
        self.requests.send(Request::Sign { reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

/// The writer's thread.
pub struct Writer {
    thread: JoinHandle<Result<(), WriterFault>>,
    /// Resolves when the thread has ended, for whatever reason.
    pub ended: oneshot::Receiver<()>,
}

impl Writer {
    /// Waits for the end of the thread; it ends when every handle is gone, or by a fault.
    ///
    /// # Errors
    /// See [`WriterFault`].
    pub fn join(self) -> Result<(), WriterFault> {
        self.thread.join().map_err(|_| WriterFault::Thread("it panicked".to_owned()))?
    }
}

/// Starts the writer of a store, which posts by `settings`.
///
/// # Errors
/// See [`WriterFault`].
pub fn start(mut store: Store, settings: Settings, signer: Signer) -> Result<(WriterHandle, Writer), WriterFault> {
    store.note_settings(&settings)?;
    let cursors: Cursors = Arc::new(RwLock::new(store.cursors()?));
    let (requests, queue) = mpsc::channel(QUEUE);
    let (alive, ended) = oneshot::channel();
    let signed_head = store.last_signed_head()?;
    let mut state = State { books: Books::open(store, settings)?, cursors: cursors.clone(), signer, signed_head };
    let thread = std::thread::Builder::new()
        .name("finance-writer".to_owned())
        .spawn(move || {
            let result = state.run(queue);
            if let Err(fault) = &result {
                tracing::error!(error = %fault, "the books can't be kept: finance stops");
            }
            drop(alive);
            result
        })
        .map_err(|error| WriterFault::Thread(error.to_string()))?;
    Ok((WriterHandle { requests, cursors }, Writer { thread, ended }))
}

struct State {
    books: Books<Store>,
    cursors: Cursors,
    signer: Signer,
    /// The last head that was signed.
    signed_head: Option<SignedHead>,
}

impl State {
    fn run(&mut self, mut queue: mpsc::Receiver<Request>) -> Result<(), WriterFault> {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = Batch { arrived_time_ms: now_ms(), ..Batch::default() };
            let (mut answers, mut signatures) = (Vec::new(), Vec::new());
            let mut posted = 0;
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Entries { feed, entries, reply } => {
                        posted += entries.len();
                        let answer = self.post(feed, &entries, &mut batch)?;
                        answers.push((reply, answer));
                    }
                    Request::Sign { reply } => signatures.push(reply),
                }
                next = if posted < MAX_BATCH { queue.try_recv().ok() } else { None };
            }
            if !batch.cursors.is_empty() {
                let changes = self.books.take_changes();
                self.books.records().write(changes, &batch)?;
                self.cursors.write().unwrap_or_else(PoisonError::into_inner).extend(batch.cursors);
            }
            for (reply, answer) in answers {
                // An error means that the link is gone: it resumes from the cursor.
                let _ = reply.send(answer);
            }
            for reply in signatures {
                // An error means that nobody waits any more.
                let _ = reply.send(self.sign()?);
            }
        }
        Ok(())
    }

    /// Signs what is durable: it is called between two batches.
    fn sign(&mut self) -> Result<SignedHead, WriterFault> {
        let head = self.books.head();
        if let Some(known) = self.signed_head.as_ref().filter(|known| known.head == head) {
            return Ok(known.clone());
        }
        let signed_head = self.signer.sign(head, now_ms());
        self.books.records().write_signed_head(&signed_head)?;
        self.signed_head = Some(signed_head.clone());
        Ok(signed_head)
    }

    /// Posts entries up to the first that can't be taken.
    fn post(
        &mut self,
        feed: FeedId,
        entries: &[FeedEntry],
        batch: &mut Batch,
    ) -> Result<Result<Head, Reject>, WriterFault> {
        let durable = self.cursors.read().unwrap_or_else(PoisonError::into_inner).get(&feed).copied();
        let mut head = batch.cursors.get(&feed).copied().or(durable).unwrap_or(Head::START);
        for entry in entries {
            let mut next = head;
            let body = match next.accept(&feed, entry) {
                Ok(Some(body)) => body,
                Ok(None) => continue,
                Err(error) => return Ok(Err(refusal(&error))),
            };
            let source = Source { feed: feed.clone(), seq: entry.seq };
            match self.books.post(&source, &entry.body, &body, batch.arrived_time_ms) {
                Ok(()) => {}
                Err(PostError::Fault(fault)) => return Err(fault.into()),
                Err(unknown @ PostError::UnknownFact(_)) => {
                    tracing::error!(%feed, seq = entry.seq, "the feed holds a fact that this release does not know");
                    return Ok(Err(Reject::new(Reason::UnknownFact, unknown.to_string())));
                }
            }
            head = next;
            batch.arrivals.push(&feed, head, &entry.body);
            batch.cursors.insert(feed.clone(), head);
        }
        Ok(Ok(head))
    }
}

fn refusal(error: &ChainError) -> Reject {
    let reason = match error {
        ChainError::Gap { .. } => Reason::FeedGap,
        ChainError::Forked { .. } => Reason::FeedForked,
        ChainError::Undecodable { .. } => Reason::UnknownFact,
    };
    Reject::new(reason, error.to_string())
}

/// The wall clock, milliseconds since 1970-01-01T00:00:00Z: for times of arrival and signatures.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
