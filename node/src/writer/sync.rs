//! The sync thread: makes written groups durable, moves the marker, and only then lets answers and entries out.
//!
//! Must not know: what is in a group.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use stockmesh_proto::feed::v1::FeedEntry;

use super::group::{Question, Release};
use super::{Inbox, Job};
use crate::store::space::{Gauge, LOW_WATER_BYTES};
use crate::store::{Mark, MarkerFile, Store, StoreError};
use crate::tail::FeedTail;

/// A group that is written and not synced.
pub(super) struct Written {
    /// Where the feed ends with it, and what it added; `None`: it wrote nothing, and its answers wait for groups before it.
    pub(super) group: Option<(Mark, Vec<FeedEntry>)>,
    /// Answers that leave once it is durable.
    pub(super) waiting: Vec<Release>,
}

pub(super) struct Syncer {
    pub(super) store: Arc<dyn Store>,
    pub(super) marker: MarkerFile,
    pub(super) tail: Arc<FeedTail>,
    pub(super) room: Arc<Room>,
    pub(super) inbox: Arc<Inbox<Question, Job>>,
    pub(super) written: Receiver<Written>,
}

impl Syncer {
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        while let Ok(first) = self.written.recv() {
            // Everything here was written before the sync that begins now.
            let groups: Vec<Written> = std::iter::once(first).chain(self.written.try_iter()).collect();
            let mark = groups.iter().rev().find_map(|written| Some(written.group.as_ref()?.0));
            if let Some(mark) = mark {
                // The order matters: an acknowledged entry is in the store, and the marker never runs ahead of it.
                self.store.sync()?;
                self.marker.write(mark)?;
            }
            self.room.look()?;
            let count = groups.len();
            let mut answers = Vec::new();
            for Written { group, waiting } in groups {
                if let Some((mark, entries)) = group
                    && !entries.is_empty()
                {
                    self.tail.publish(entries, mark.head);
                }
                answers.extend(waiting);
            }
            let answered = answers.len();
            answers.into_iter().for_each(|answer| answer());
            self.inbox.groups_done(count, answered);
        }
        Ok(())
    }
}

/// Room on the disk, as the threads find it and others read it.
pub(super) struct Room {
    gauge: Gauge,
    low: Arc<AtomicBool>,
}

impl Room {
    pub(super) fn new(gauge: Gauge, low: Arc<AtomicBool>) -> Self {
        Self { gauge, low }
    }

    pub(super) fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    pub(super) fn look(&self) -> Result<(), StoreError> {
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
