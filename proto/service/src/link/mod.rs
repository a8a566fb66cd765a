//! Feed links: entries from a writer to a consumer, in order, resumed from the consumer's cursor, over gRPC.
//!
//! A link must not know what the entries say. It is allowed to send an entry twice and never allowed to leave one out; that it
//! takes effect once is the consumer's doing, which stores its cursor in the same write as the effect.
//!
//! ```text
//!   run_push (writer dials)  ── hello ──▶ serve_push          run_pull (consumer dials) ── hello, cursor ──▶ serve_pull
//!       FeedSource           ◀─ welcome, cursor ─ FeedSink        FeedSink              ◀─ welcome, head ──── FeedSource
//!                            ── batches ──▶                                             ◀─ batches ──
//!                            ◀─ ack ──  (cumulative)                                    ── ack ──▶
//! ```
//!
//! Memory: at most [`MAX_UNACKNOWLEDGED`] batches of about [`MAX_BATCH_BYTES`] are under way on a link. A fork
//! (`FEED_FORKED`) or a life that is over (`STALE_EPOCH`) halts the link with an ERROR; everything else is tried again.

mod pull;
mod push;
mod redial;
mod serve;
mod state;
mod window;

use std::future::Future;

use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_types::{FeedId, Reject};
use tokio::sync::watch;

pub use pull::run_pull;
pub use push::run_push;
pub use serve::{serve_pull, serve_push};
pub use state::{LinkSnapshot, LinkState};

/// Batches that may be under way without acknowledgement.
pub const MAX_UNACKNOWLEDGED: usize = 8;
/// Bytes of entries in one batch, about: a single larger entry still goes, alone.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;
/// Bytes of entries that a consumer takes in one go, so that a backlog is made durable in few writes.
const MAX_APPLY_BYTES: usize = 1024 * 1024;

/// Why a source can't serve its feed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A business answer: the feed has forked, the entries are gone, the feed is not for this peer.
    #[error("{0}")]
    Rejected(#[from] Reject),
    /// I/O or corruption.
    #[error("the feed can't be read: {0}")]
    Fault(String),
}

/// The writer's end of a feed.
pub trait FeedSource: Send + Sync + 'static {
    /// Which feed.
    fn feed(&self) -> FeedId;

    /// Last durable entry.
    fn head(&self) -> Head;

    /// Follows the sequence number of [`Self::head`]. An entry is readable before its number shows here.
    fn watch(&self) -> watch::Receiver<u64>;

    /// Durable entries after `after`, without gaps, about `max_bytes` together, one at least when there is one.
    fn read(&self, after: u64, max_bytes: usize) -> impl Future<Output = Result<Vec<FeedEntry>, LinkError>> + Send;

    /// `peer` has everything up to `cursor`, durably. Also called with the cursor that a peer begins with.
    /// A cursor whose hash is not the feed's own at that number is a fork: refuse it with `FEED_FORKED`.
    fn acknowledged(&self, peer: &str, cursor: Head) -> impl Future<Output = Result<(), LinkError>> + Send;
}

/// The consumer's end of feeds.
pub trait FeedSink: Send + Sync + 'static {
    /// How far this consumer has the feed, durably; [`Head::START`] for one that it has nothing of.
    fn cursor(&self, feed: &FeedId) -> impl Future<Output = Result<Head, Reject>> + Send;

    /// Takes entries in order, passes over those it has, and answers with its cursor once the effects are durable, in one
    /// write with the cursor. Checks the chain ([`Head::accept`]): `FEED_GAP`, `FEED_FORKED`.
    fn apply(&self, feed: &FeedId, entries: Vec<FeedEntry>) -> impl Future<Output = Result<Head, Reject>> + Send;

    /// A feed of an epoch that is over came up, and ends at `head`; it is refused. For those who must know that facts
    /// surfaced which have no effect.
    fn surfaced(&self, _feed: &FeedId, _head: Head) -> impl Future<Output = Result<(), Reject>> + Send {
        std::future::ready(Ok(()))
    }
}

/// What each side says about itself at the start of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HelloInfo {
    /// Coordinator group; 0: does not apply.
    pub group: u32,
    /// Incarnation of that group, as known; 0: none yet.
    pub incarnation: u32,
}
