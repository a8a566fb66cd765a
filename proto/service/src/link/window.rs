//! The sender's window: what is under way on a link without acknowledgement. Used by push and by the server's side of pull.

use std::collections::VecDeque;
use std::sync::Arc;

use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::{EntryBatch, FeedPosition};
use stockmesh_types::{ChainHash, FeedId, Reason, Reject};
use tokio::sync::watch;

use super::{FeedSource, LinkError, MAX_BATCH_BYTES, MAX_UNACKNOWLEDGED};

/// What it means that a peer has entries that this source does not have.
#[derive(Clone, Copy)]
pub(super) enum Beyond {
    /// Only the writer makes entries: the peer remembers a life that this store has lost.
    Fork,
    /// A replica may lag: another one has them, or this one will.
    Lag,
}

/// Batches sent from a source to one peer and not acknowledged yet.
pub(super) struct Window<S> {
    source: Arc<S>,
    feed: FeedId,
    peer: String,
    heads: watch::Receiver<u64>,
    beyond: Beyond,
    acknowledged: Head,
    /// The peer has everything up to here, or it is under way.
    sent_seq: u64,
    /// End of each batch under way.
    under_way: VecDeque<Head>,
}

impl<S: FeedSource> Window<S> {
    /// From the cursor that the peer begins with.
    pub(super) async fn open(source: Arc<S>, peer: &str, cursor: Head, beyond: Beyond) -> Result<Self, LinkError> {
        let (feed, heads) = (source.feed(), source.watch());
        let window = Self {
            source,
            feed,
            peer: peer.to_owned(),
            heads,
            beyond,
            acknowledged: cursor,
            sent_seq: cursor.seq,
            under_way: VecDeque::with_capacity(MAX_UNACKNOWLEDGED),
        };
        window.note(cursor).await?;
        Ok(window)
    }

    /// Tells the source, which knows the hashes of its entries, what the peer has.
    async fn note(&self, cursor: Head) -> Result<(), LinkError> {
        let head = self.source.head();
        if cursor.seq <= head.seq {
            return self.source.acknowledged(&self.peer, cursor).await;
        }
        let Self { feed, peer, .. } = self;
        let what = format!("{peer} has entry {}, and it ends here at {}", cursor.seq, head.seq);
        Err(match self.beyond {
            Beyond::Fork => forked(feed, what),
            Beyond::Lag => Reject::new(Reason::FeedGap, format!("{feed}: {what}: ask another replica")).into(),
        })
    }

    pub(super) fn is_full(&self) -> bool {
        self.under_way.len() >= MAX_UNACKNOWLEDGED
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The next batch, when there is one and room for it.
    pub(super) async fn next_batch(&mut self) -> Result<Option<EntryBatch>, LinkError> {
        let head_seq = *self.heads.borrow_and_update();
        if self.is_full() || head_seq <= self.sent_seq {
            return Ok(None);
        }
        let entries = self.source.read(self.sent_seq, MAX_BATCH_BYTES).await?;
        let fault = |what: String| LinkError::Fault(format!("{}: {what}", self.feed));
        let Some(last) = entries.last() else {
            return Err(fault(format!("entry {} is missing though the head is {head_seq}", self.sent_seq + 1)));
        };
        if let Some((at, entry)) = (self.sent_seq + 1..).zip(&entries).find(|(at, entry)| *at != entry.seq) {
            return Err(fault(format!("entry {} was read where {at} is next", entry.seq)));
        }
        let hash = ChainHash::from_bytes(&last.hash).ok_or_else(|| fault(format!("entry {} has no hash", last.seq)))?;
        self.sent_seq = last.seq;
        self.under_way.push_back(Head { seq: last.seq, hash });
        Ok(Some(EntryBatch { entries }))
    }

    /// The peer has everything up to `cursor`. That may be more than this session sent: what an earlier one had under way
    /// can take effect after this one began.
    pub(super) async fn acknowledge(&mut self, cursor: Option<&FeedPosition>) -> Result<Head, LinkError> {
        let cursor = position(cursor, "cursor")?;
        if cursor.seq < self.acknowledged.seq {
            return Err(LinkError::Fault(format!(
                "{} took back an acknowledgement: {} after {}",
                self.peer, cursor.seq, self.acknowledged.seq
            )));
        }
        while let Some(end) = self.under_way.front().copied().filter(|end| end.seq <= cursor.seq) {
            if end.seq == cursor.seq && end.hash != cursor.hash {
                return Err(forked(&self.feed, format!("{} has another entry {}", self.peer, cursor.seq)));
            }
            self.under_way.pop_front();
        }
        self.note(cursor).await?;
        self.sent_seq = self.sent_seq.max(cursor.seq);
        self.acknowledged = cursor;
        Ok(cursor)
    }

    /// Completes when the source has more. `false`: the source is gone.
    pub(super) async fn changed(&mut self) -> bool {
        self.heads.changed().await.is_ok()
    }
}

pub(super) fn forked(feed: &FeedId, what: String) -> LinkError {
    Reject::new(Reason::FeedForked, format!("{feed} has two histories: {what}")).into()
}

/// A position as it came.
pub(super) fn position(position: Option<&FeedPosition>, field: &str) -> Result<Head, Reject> {
    let position =
        position.ok_or_else(|| Reject::new(Reason::MissingField, format!("{field} is missing")).field(field))?;
    Head::from_wire(position)
        .ok_or_else(|| Reject::new(Reason::InvalidValue, format!("{field}.hash is not 32 bytes")).field(field))
}
