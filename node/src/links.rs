//! The node's links: its feed goes out to the coordinator and to finance, its work comes in from the coordinator.
//!
//! Both resume from cursors. What came in takes effect exactly once, because the cursor is written with the effect; what went out
//! was durable before.
//!
//! Must not know: facts, but for the one after which grants are reviewed.

use std::sync::Arc;

use prost::Message;
use stockmesh_node_core::Key;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{EntryBody, FeedEntry};
use stockmesh_service::link::{FeedSink, FeedSource, LinkError};
use stockmesh_types::{FeedId, Reason, Reject};
use tokio::sync::watch;

use crate::actor::NodeHandle;
use crate::engine::decode_entry;
use crate::tail::{FeedTail, Found};
use crate::writer::{StoreGone, WriterHandle};

/// The node's feed, for links that push it.
#[derive(Debug)]
pub struct NodeFeed {
    tail: Arc<FeedTail>,
    store: WriterHandle,
}

impl NodeFeed {
    /// Of a node.
    #[must_use]
    pub fn new(node: &NodeHandle, store: WriterHandle) -> Self {
        Self { tail: Arc::clone(node.tail()), store }
    }

    async fn hash_of(&self, seq: u64) -> Result<Option<Vec<u8>>, LinkError> {
        if let Some(entry) = self.tail.entry(seq) {
            return Ok(Some(entry.hash));
        }
        let key = Key::FeedEntry { epoch: self.tail.feed().epoch, seq }.encode();
        let value = self.store.get(key).await.map_err(gone)?;
        Ok(value.as_deref().and_then(decode_entry).map(|entry| entry.hash))
    }
}

fn gone(error: StoreGone) -> LinkError {
    LinkError::Fault(error.to_string())
}

impl FeedSource for NodeFeed {
    fn feed(&self) -> FeedId {
        self.tail.feed().clone()
    }

    fn head(&self) -> Head {
        self.tail.head()
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.tail.watch()
    }

    async fn read(&self, after: u64, max_bytes: usize) -> Result<Vec<FeedEntry>, LinkError> {
        let upto = match self.tail.after(after, max_bytes) {
            Found::Here(entries) => return Ok(entries),
            Found::InStore(upto) => upto,
        };
        let entries = self.store.read_feed(self.tail.feed().epoch, after, upto, max_bytes).await.map_err(gone)?;
        if entries.first().is_none_or(|entry| entry.seq != after + 1) {
            let message =
                format!("entry {} of {} is no longer kept here: restore the consumer", after + 1, self.feed());
            return Err(Reject::new(Reason::FeedGap, message).into());
        }
        Ok(entries)
    }

    async fn acknowledged(&self, peer: &str, cursor: Head) -> Result<(), LinkError> {
        let forked = |what: String| LinkError::from(Reject::new(Reason::FeedForked, what));
        if cursor.seq > self.tail.head().seq {
            let message = format!("{peer} has entry {} of {}, which ends before", cursor.seq, self.feed());
            return Err(forked(message));
        }
        if cursor.seq > 0
            && let Some(hash) = self.hash_of(cursor.seq).await?
            && hash != cursor.hash.0
        {
            return Err(forked(format!("{peer} has another entry {} of {}", cursor.seq, self.feed())));
        }
        self.tail.acknowledge(peer, cursor.seq);
        Ok(())
    }
}

/// The node as the consumer of its work.
#[derive(Debug)]
pub struct NodeWork {
    node: NodeHandle,
}

impl NodeWork {
    /// Of a node.
    #[must_use]
    pub fn new(node: NodeHandle) -> Self {
        Self { node }
    }
}

/// An entry that sets a grant policy.
fn sets_policy(entry: &FeedEntry) -> bool {
    let body = EntryBody::decode(entry.body.clone());
    body.is_ok_and(|body| matches!(body.fact, Some(Fact::GrantPolicySet(_))))
}

impl FeedSink for NodeWork {
    async fn cursor(&self, feed: &FeedId) -> Result<Head, Reject> {
        self.node.cursor(feed.clone()).await
    }

    async fn apply(&self, feed: &FeedId, entries: Vec<FeedEntry>) -> Result<Head, Reject> {
        let policies = entries.iter().any(sets_policy);
        let cursor = self.node.follow(feed.clone(), entries).await?;
        if policies {
            // What a segment's policy now allows is granted cell by cell. Should the node stop in between, it reviews all
            // of them when it starts.
            let name = feed.destination.strip_prefix("node/").unwrap_or_default();
            self.node.review_grants(name).await?;
        }
        Ok(cursor)
    }
}
