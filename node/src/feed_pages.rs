//! The node's own feed in pages, for people and exports. Links have their own way to it.
//!
//! Read on the writer's thread, a bounded stretch at once: nothing waits for long.
//!
//! Must not know: what an entry is for, but for the movements in it.

use prost::Message;
use stockmesh_node_core::{Key, movements};
use stockmesh_proto::feed::v1::{EntryBody, FeedEntry};
use stockmesh_proto::node::v1::Movement;
use stockmesh_types::{Reason, Reject};

use crate::engine::decode_entry;
use crate::writer::View;

/// Bytes of entries in one page, about.
const PAGE_BYTES: usize = 256 * 1024;

/// A page of entries.
#[derive(Debug)]
pub struct FeedPage {
    /// Entries, in order.
    pub entries: Vec<FeedEntry>,
    /// Epoch that they are of.
    pub epoch: u64,
    /// Last entry of the feed.
    pub head_seq: u64,
}

/// A page of movements.
#[derive(Debug)]
pub struct MovementPage {
    /// Movements, in the order of the feed.
    pub movements: Vec<Movement>,
    /// Entry after which the next page begins.
    pub next_after: Option<u64>,
}

/// Entries after `after` up to `upto`; from the first that is kept when `after` is 0.
///
/// # Errors
/// [`Reason::FeedTrimmed`] when entries after `after` are no longer kept.
pub fn entries(view: &View<'_>, after: u64, upto: u64) -> Result<FeedPage, Reject> {
    let (epoch, head_seq) = (view.state.identity().epoch.0, view.head.seq);
    let key = |seq: u64| Key::FeedEntry { epoch, seq }.encode();
    let (mut entries, mut bytes): (Vec<FeedEntry>, _) = (Vec::new(), 0);
    let last = upto.min(head_seq);
    if after < last {
        view.archive.scan(&key(after + 1), &key(last.saturating_add(1)), &mut |_, value| {
            // A damaged entry ends the page; the check at the start names it.
            let Some(entry) = decode_entry(value) else { return false };
            bytes += value.len();
            entries.push(entry);
            bytes < PAGE_BYTES
        });
    }
    let first = entries.first().map(|entry| entry.seq);
    if after > 0 && after < last && first != Some(after + 1) {
        let message = match first {
            Some(first) => format!("entry {} is no longer kept: begin after {}", after + 1, first - 1),
            None => format!("entry {} is no longer kept", after + 1),
        };
        return Err(Reject::new(Reason::FeedTrimmed, message).field("after_seq"));
    }
    Ok(FeedPage { entries, epoch, head_seq })
}

/// Movements after entry `after`, at most about `limit`: those of one entry stay together.
///
/// # Errors
/// As [`entries`].
pub fn movements(
    view: &View<'_>,
    after: u64,
    limit: usize,
    filter: &movements::Filter,
) -> Result<MovementPage, Reject> {
    let page = entries(view, after, u64::MAX)?;
    let (mut found, mut last) = (Vec::new(), None);
    for entry in &page.entries {
        let body = EntryBody::decode(entry.body.clone())
            .map_err(|error| Reject::new(Reason::UnknownFact, format!("entry {} can't be read: {error}", entry.seq)))?;
        let wanted = movements::of_entry(entry.seq, &body).into_iter().filter(|movement| filter.wants(movement));
        found.extend(wanted);
        last = Some(entry.seq);
        if found.len() >= limit {
            break;
        }
    }
    Ok(MovementPage { movements: found, next_after: last.filter(|last| *last < page.head_seq) })
}
