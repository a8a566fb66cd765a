//! Facts and random histories of the core's tests, as feeds with hash chains.
#![allow(dead_code)]

#[path = "../../core/tests/common/mod.rs"]
pub mod facts;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

pub use facts::*;
use stockmesh_finance::signing::{FILE_NAME as KEY_FILE, Signer};
use stockmesh_finance::store::Store;
use stockmesh_finance::writer::{self, Writer, WriterHandle};
use stockmesh_finance_core::Settings;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_service::link::{FeedSource, LinkError};
use stockmesh_types::FeedId;
use tokio::sync::watch;

/// The writer of the books in a folder.
pub fn start(dir: &Path) -> (WriterHandle, Writer) {
    start_with(dir, Settings::default())
}

pub fn start_with(dir: &Path, settings: Settings) -> (WriterHandle, Writer) {
    let store = Store::open(dir, "main").unwrap();
    writer::start(store, settings, Signer::open(&dir.join(KEY_FILE), "main").unwrap()).unwrap()
}

/// Chains of feeds, in the order in which facts are given.
#[derive(Default)]
pub struct Chains {
    heads: BTreeMap<FeedId, Head>,
}

impl Chains {
    pub fn append(&mut self, sent: &Sent) -> (FeedId, FeedEntry) {
        let feed = sent.source.feed.clone();
        let head = self.heads.entry(feed.clone()).or_insert(Head::START);
        let entry = head.append(&feed, &sent.body);
        (feed, entry)
    }

    pub fn heads(&self) -> &BTreeMap<FeedId, Head> {
        &self.heads
    }
}

/// A feed in memory, as its writer offers it.
pub struct MemorySource {
    feed: FeedId,
    entries: Mutex<Vec<FeedEntry>>,
    head: Mutex<Head>,
    seq: watch::Sender<u64>,
    acknowledged: Mutex<u64>,
}

impl MemorySource {
    pub fn new(feed: FeedId) -> Self {
        Self {
            feed,
            entries: Mutex::default(),
            head: Mutex::new(Head::START),
            seq: watch::Sender::new(0),
            acknowledged: Mutex::default(),
        }
    }

    pub fn append(&self, sent: &Sent) {
        let mut head = self.head.lock().unwrap();
        self.entries.lock().unwrap().push(head.append(&self.feed, &sent.body));
        self.seq.send_replace(head.seq);
    }

    pub fn acknowledged(&self) -> u64 {
        *self.acknowledged.lock().unwrap()
    }
}

impl FeedSource for MemorySource {
    fn feed(&self) -> FeedId {
        self.feed.clone()
    }

    fn head(&self) -> Head {
        *self.head.lock().unwrap()
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.seq.subscribe()
    }

    async fn read(&self, after: u64, max_bytes: usize) -> Result<Vec<FeedEntry>, LinkError> {
        let entries = self.entries.lock().unwrap();
        let mut bytes = 0;
        let from = usize::try_from(after).unwrap().min(entries.len());
        let wanted = entries[from..].iter().take_while(|entry| {
            let first = bytes == 0;
            bytes += entry.body.len();
            first || bytes <= max_bytes
        });
        Ok(wanted.cloned().collect())
    }

    async fn acknowledged(&self, _: &str, cursor: Head) -> Result<(), LinkError> {
        let mut acknowledged = self.acknowledged.lock().unwrap();
        *acknowledged = cursor.seq.max(*acknowledged);
        Ok(())
    }
}
