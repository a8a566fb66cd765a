//! The writer: the one thread that owns a node's engine and its store. Blocking work never runs on an executor.
//!
//! ```text
//!   asks ──> Inbox ──> writer thread: works a group out, writes it ──> sync thread: sync, marker, then answers and entries
//!                          ^  reads of the store in between              |
//!                          +------------- that group is done ------------+
//! ```
//!
//! The order of a group never changes: written, synced, marked, answered. One sync may cover two groups, and the next group may be
//! worked out and written while a sync is under way: it waits for a sync that began after its write.
//! On the first error both threads stop for good and say so to [`OnFault`], which ends the process.
//!
//! Must not know: gRPC, what a command means.

mod group;
mod inbox;
mod sync;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;

use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_types::{LogTime, Reason, Reject};
use tokio::sync::oneshot;

use group::Forming;
pub(crate) use group::release;
pub use group::{Question, Reply, View};
pub use inbox::Inbox;
use inbox::Next;
use sync::{Room, Syncer, Written};

use crate::engine::{Engine, Opened, RecoveryReason, decode_entry};
use crate::store::space::Gauge;
use crate::store::{MarkerFile, Store, StoreError};
use crate::tail::FeedTail;

/// Bytes of writes in one group, about.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// Reads a clock. The writer's only one, so that tests can set it.
pub type Clock = Box<dyn Fn() -> LogTime + Send>;

/// What to do about a fault. In production: log, and end the process.
pub type OnFault = Arc<dyn Fn(&StoreError) + Send + Sync>;

/// Something to read from the store.
enum Job {
    Get(Vec<u8>, oneshot::Sender<Option<Vec<u8>>>),
    ReadFeed { epoch: u64, after: u64, upto: u64, max_bytes: usize, answer: oneshot::Sender<Vec<FeedEntry>> },
}

/// The writer is gone: a fault stopped it, or the process is going down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store's thread is gone")]
pub struct StoreGone;

/// Where a node is in its life.
pub(crate) enum Life {
    Serving(Box<Engine>),
    Recovering(Box<Engine>, RecoveryReason),
}

impl Life {
    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Self::Serving(engine) | Self::Recovering(engine, _) => engine,
        }
    }
}

/// Asks a node's writer. When the last handle is dropped, its threads end.
#[derive(Clone, Debug)]
pub struct WriterHandle {
    inbox: Arc<Inbox<Question, Job>>,
    disk_is_low: Arc<AtomicBool>,
    /// Dropped with the last handle.
    _open: Arc<Open>,
}

#[derive(Debug)]
struct Open(Arc<Inbox<Question, Job>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Get(..) => "Get",
            Self::ReadFeed { .. } => "ReadFeed",
        })
    }
}

/// What a writer works with.
pub struct Parts {
    /// Name of the node, for its threads.
    pub name: String,
    /// The node as it was opened.
    pub opened: Opened,
    /// Its store.
    pub store: Arc<dyn Store>,
    /// Its marker.
    pub marker: MarkerFile,
    /// Room on its disk.
    pub gauge: Gauge,
    /// Clock.
    pub clock: Clock,
    /// Consumers that the config names: the feed waits for them, and for those that were registered before.
    pub peers: Vec<String>,
    /// How long entries are kept after every consumer has them, milliseconds.
    pub keep_ms: i64,
    /// What to do about a fault.
    pub on_fault: OnFault,
}

/// Starts a node's threads.
///
/// # Panics
/// When the system has no thread left, which is a start-up fault.
#[must_use]
pub fn spawn(parts: Parts) -> (WriterHandle, Arc<FeedTail>, JoinHandle<()>) {
    let Parts { name, opened, store, marker, gauge, clock, peers, keep_ms, on_fault } = parts;
    let life = match opened {
        Opened::Ready(mut engine) => {
            // Written with the first group.
            engine.register_consumers(clock(), &peers);
            Life::Serving(engine)
        }
        Opened::Recovering(engine, reason) => Life::Recovering(engine, reason),
    };
    let tail = Arc::new(FeedTail::new(life.engine().feed().clone(), life.engine().head(), life.engine().consumers()));
    let inbox = Arc::new(Inbox::default());
    let disk_is_low = Arc::new(AtomicBool::new(false));
    let room = Arc::new(Room::new(gauge, Arc::clone(&disk_is_low)));
    // One place for each group that may be under way: handing one over never waits long.
    let (to_sync, written) = std::sync::mpsc::sync_channel(2);
    let syncer = Syncer {
        store: Arc::clone(&store),
        marker,
        tail: Arc::clone(&tail),
        room: Arc::clone(&room),
        inbox: Arc::clone(&inbox),
        written,
    };
    let writer =
        Writer { life, store, tail: Arc::clone(&tail), keep_ms, clock, room, inbox: Arc::clone(&inbox), to_sync };
    let fault = Arc::clone(&on_fault);
    let syncing = std::thread::Builder::new().name(format!("sync-{name}")).spawn(move || {
        let inbox = Arc::clone(&syncer.inbox);
        if let Err(error) = syncer.run() {
            fault(&error);
            inbox.abandon();
        }
    });
    let syncing = syncing.expect("a thread can be started");
    let writing = std::thread::Builder::new().name(format!("write-{name}")).spawn(move || {
        let inbox = Arc::clone(&writer.inbox);
        let ended = writer.run();
        // Its sender is gone: the other thread answers what it has, and ends.
        let _ = syncing.join();
        if let Err(error) = ended {
            on_fault(&error);
        }
        inbox.abandon();
    });
    let handle = WriterHandle { _open: Arc::new(Open(Arc::clone(&inbox))), inbox, disk_is_low };
    (handle, tail, writing.expect("a thread can be started"))
}

impl WriterHandle {
    /// Hands a question over. It is answered through itself: refused at once when too many wait, or the writer is gone.
    pub(crate) fn ask(&self, question: Question) {
        if let Err((question, gone)) = self.inbox.ask(question) {
            question.refuse(if gone { going_down() } else { overloaded() });
        }
    }

    /// The disk is nearly full: only reads are answered.
    #[must_use]
    pub fn disk_is_low(&self) -> bool {
        self.disk_is_low.load(Ordering::Relaxed)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`StoreGone`].
    pub async fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreGone> {
        self.read(|answer| Job::Get(key, answer)).await
    }

    /// Reads entries of the own feed after `after`, up to `upto`: about `max_bytes`, one at least.
    ///
    /// # Errors
    /// [`StoreGone`].
    pub async fn read_feed(
        &self,
        epoch: u64,
        after: u64,
        upto: u64,
        max_bytes: usize,
    ) -> Result<Vec<FeedEntry>, StoreGone> {
        self.read(|answer| Job::ReadFeed { epoch, after, upto, max_bytes, answer }).await
    }

    async fn read<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, StoreGone> {
        let (answer, answered) = oneshot::channel();
        let mut job = job(answer);
        while let Err((refused, gone)) = self.inbox.job(job) {
            if gone {
                return Err(StoreGone);
            }
            // A read takes microseconds: there is room in a moment.
            job = refused;
            tokio::task::yield_now().await;
        }
        answered.await.map_err(|_| StoreGone)
    }
}

pub(crate) fn overloaded() -> Reject {
    Reject::new(Reason::Overloaded, "the node has more work waiting than it takes on: repeat with the same id")
}

pub(crate) fn going_down() -> Reject {
    Reject::new(Reason::ShuttingDown, "the node is going down, the outcome is unknown: repeat with the same id")
}

struct Writer {
    life: Life,
    store: Arc<dyn Store>,
    tail: Arc<FeedTail>,
    keep_ms: i64,
    clock: Clock,
    room: Arc<Room>,
    inbox: Arc<Inbox<Question, Job>>,
    to_sync: SyncSender<Written>,
}

impl Writer {
    fn run(mut self) -> Result<(), StoreError> {
        self.room.look()?;
        loop {
            match self.inbox.next() {
                Next::End => return Ok(()),
                Next::Job(job) => self.serve(job)?,
                Next::Asks(asks) => self.group(asks)?,
            }
        }
    }

    fn serve(&self, job: Job) -> Result<(), StoreError> {
        // An answer that nobody waits for any more is dropped with its channel.
        match job {
            Job::Get(key, answer) => drop(answer.send(self.store.get(&key)?)),
            Job::ReadFeed { epoch, after, upto, max_bytes, answer } => {
                drop(answer.send(read_feed(&*self.store, epoch, after, upto, max_bytes)?));
            }
        }
        Ok(())
    }

    /// Works asks out into a group, writes it, and hands it over to be synced.
    fn group(&mut self, asks: Vec<Question>) -> Result<(), StoreError> {
        if self.room.is_low() {
            self.room.look()?;
        }
        let now = (self.clock)();
        let mut forming = Forming::new(now, self.room.is_low());
        let mut asks = asks.into_iter();
        let mut bytes = 0;
        while bytes < GROUP_BYTES
            && let Some(question) = asks.next()
        {
            bytes = forming.work_out(&mut self.life, question);
        }
        self.inbox.put_back(asks);
        let group = match &mut self.life {
            Life::Serving(engine) => {
                if !self.room.is_low() {
                    engine.maintain(now, &self.tail.acknowledged(), self.keep_ms)?;
                }
                engine.take_group()?
            }
            Life::Recovering(..) => None,
        };
        if let Some(group) = &group {
            self.store.write(&group.batch)?;
        }
        let waiting = forming.waiting;
        if group.is_none() && self.inbox.groups_under_way() == 0 {
            // Nothing was written, and what they saw is durable.
            let answered = waiting.len();
            waiting.into_iter().for_each(|answer| answer());
            self.inbox.groups_done(0, answered);
            return Ok(());
        }
        self.inbox.group_begun();
        let written = Written { group: group.map(|group| (group.mark, group.entries)), waiting };
        // An error means that the other thread stopped by a fault, which it has told.
        let _ = self.to_sync.send(written);
        Ok(())
    }
}

/// Entries of a feed in the store.
pub(crate) fn read_feed(
    store: &dyn Store,
    epoch: u64,
    after: u64,
    upto: u64,
    max_bytes: usize,
) -> Result<Vec<FeedEntry>, StoreError> {
    use stockmesh_node_core::Key;
    let from = Key::FeedEntry { epoch, seq: after.saturating_add(1) }.encode();
    let to = Key::FeedEntry { epoch, seq: upto.saturating_add(1) }.encode();
    let (mut entries, mut bytes) = (Vec::new(), 0);
    store.scan(&from, &to, &mut |_, value| {
        let Some(entry) = decode_entry(value) else {
            // A gap shows to the link, which refuses to go on; the start-up check names the entry.
            return false;
        };
        bytes += value.len();
        entries.push(entry);
        bytes < max_bytes
    })?;
    Ok(entries)
}
