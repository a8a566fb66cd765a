//! The store's own thread: blocking work never runs on an executor.
//!
//! It takes jobs from a bounded queue. After each it looks how much room the disk has, so that the node stops writing in time. A group is written, synced, marked, and only then reported durable. On the first error it
//! stops for good and says so to [`OnFault`], which ends the process.
//!
//! Must not know: what is in a group.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use stockmesh_proto::feed::v1::FeedEntry;
use tokio::sync::{mpsc, oneshot};

use super::space::{Gauge, LOW_WATER_BYTES};
use super::{Batch, Mark, MarkerFile, Store, StoreError};
use crate::engine::decode_entry;

/// Jobs that may wait: one group, and reads of links.
const QUEUE: usize = 64;

/// What to do about a fault. In production: log, and end the process.
pub type OnFault = Box<dyn FnOnce(&StoreError) + Send>;

/// One group to make durable.
#[derive(Debug)]
pub struct Commit {
    /// Writes.
    pub batch: Batch,
    /// Head of the feed afterwards, for the marker.
    pub mark: Mark,
    /// Keys whose values are wanted afterwards (answers of repeated requests).
    pub wanted: Vec<Vec<u8>>,
}

enum Job {
    Commit(Commit, oneshot::Sender<Vec<Option<Vec<u8>>>>),
    Get(Vec<u8>, oneshot::Sender<Option<Vec<u8>>>),
    ReadFeed { epoch: u64, after: u64, upto: u64, max_bytes: usize, answer: oneshot::Sender<Vec<FeedEntry>> },
}

/// The thread is gone: a fault stopped it, or the process is going down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store's thread is gone")]
pub struct StoreGone;

/// Sends jobs to a store's thread. When the last handle is dropped, the thread ends.
#[derive(Clone, Debug)]
pub struct StoreHandle {
    jobs: mpsc::Sender<Job>,
    disk_is_low: Arc<AtomicBool>,
}

impl StoreHandle {
    /// Starts the thread.
    ///
    /// # Panics
    /// When the system has no thread left, which is a start-up fault.
    pub fn spawn(
        name: &str,
        store: impl Store,
        marker: MarkerFile,
        gauge: Gauge,
        on_fault: OnFault,
    ) -> (Self, JoinHandle<()>) {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let disk_is_low = Arc::new(AtomicBool::new(false));
        let room = Room { gauge, low: Arc::clone(&disk_is_low) };
        let run = move || {
            if let Err(error) = work(store, marker, room, queue) {
                on_fault(&error);
            }
        };
        let thread = std::thread::Builder::new().name(format!("store-{name}")).spawn(run);
        (Self { jobs, disk_is_low }, thread.expect("a thread can be started"))
    }

    /// The disk is nearly full: only reads are answered. Looked at again after every job.
    #[must_use]
    pub fn disk_is_low(&self) -> bool {
        self.disk_is_low.load(Ordering::Relaxed)
    }

    /// Makes a group durable, and returns the wanted values.
    ///
    /// # Errors
    /// [`StoreGone`]: whether it became durable is unknown.
    pub async fn commit(&self, commit: Commit) -> Result<Vec<Option<Vec<u8>>>, StoreGone> {
        self.ask(|answer| Job::Commit(commit, answer)).await
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`StoreGone`].
    pub async fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreGone> {
        self.ask(|answer| Job::Get(key, answer)).await
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
        self.ask(|answer| Job::ReadFeed { epoch, after, upto, max_bytes, answer }).await
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, StoreGone> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(job(answer)).await.map_err(|_| StoreGone)?;
        answered.await.map_err(|_| StoreGone)
    }
}

/// Room on the disk, as the thread finds it and others read it.
struct Room {
    gauge: Gauge,
    low: Arc<AtomicBool>,
}

impl Room {
    fn look(&self) -> Result<(), StoreError> {
        let bytes = (self.gauge)()?;
        let low = bytes < LOW_WATER_BYTES;
        if self.low.swap(low, Ordering::Relaxed) != low {
            if low {
                tracing::error!(
                    bytes,
                    low_water_bytes = LOW_WATER_BYTES,
                    "the disk is nearly full: the node only reads until there is room again"
                );
            } else {
                tracing::info!(bytes, "the disk has room again: the node writes again");
            }
        }
        Ok(())
    }
}

fn work(
    mut store: impl Store,
    mut marker: MarkerFile,
    room: Room,
    mut queue: mpsc::Receiver<Job>,
) -> Result<(), StoreError> {
    room.look()?;
    while let Some(job) = queue.blocking_recv() {
        // An answer that nobody waits for any more is dropped with its channel: the work is done all the same.
        match job {
            Job::Commit(Commit { batch, mark, wanted }, answer) => {
                if !batch.is_empty() {
                    // The order matters: an acknowledged entry is in the store, and the marker never runs ahead of it.
                    store.write(&batch)?;
                    store.sync()?;
                    marker.write(mark)?;
                }
                room.look()?;
                let values = wanted.iter().map(|key| store.get(key)).collect::<Result<_, _>>()?;
                let _ = answer.send(values);
            }
            Job::Get(key, answer) => {
                let _ = answer.send(store.get(&key)?);
            }
            Job::ReadFeed { epoch, after, upto, max_bytes, answer } => {
                let _ = answer.send(read_feed(&store, epoch, after, upto, max_bytes)?);
            }
        }
    }
    Ok(())
}

/// Entries of a feed in the store.
pub(crate) fn read_feed(
    store: &impl Store,
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
