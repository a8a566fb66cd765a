//! Verification: the feed's chain is computed again, its facts are folded over the checkpoint, and the outcome is compared with the
//! state. Nothing of it uses what commands wrote but the feed itself.
//!
//! Reading goes on beside the writer; only the last stretch and the comparison are done where nothing changes meanwhile.
//!
//! Must not know: threads.

use std::sync::Arc;

use prost::Message;
use stockmesh_node_core::fold::{Fold, difference};
use stockmesh_node_core::{Allocation, Archive, Key};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::{EntryBody, FeedEntry};
use stockmesh_types::{AllocationId, ChainHash, FeedId, chain_hash};

use super::retention::{CheckpointBase, CheckpointValue};
use super::{Engine, decode_entry};
use crate::store::{Store, StoreError};
use crate::writer::read_feed;

/// Findings that are told at most.
const MAX_FINDINGS: usize = 100;
/// Bytes of entries read at once.
const READ_BYTES: usize = 1024 * 1024;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// First entry that was checked.
    pub from_seq: u64,
    /// Entries.
    pub entries: u64,
    /// Cells.
    pub cells: u64,
    /// Allocations.
    pub allocations: u64,
    /// What differs, in words.
    pub findings: Vec<String>,
}

/// A verification under way.
#[derive(Debug)]
pub struct Verification {
    fold: Fold<CheckpointBase>,
    feed: FeedId,
    at: Head,
    outcome: Verified,
    _pin: Arc<()>,
}

impl Engine {
    /// Begins a verification; while it lives, no entry is removed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin_verification(&self) -> Result<Verification, StoreError> {
        let checkpoint = CheckpointValue::read(&*self.store)?;
        let hash = ChainHash::from_bytes(&checkpoint.hash)
            .ok_or_else(|| StoreError::Damaged("the checkpoint has no hash".to_owned()))?;
        let at = if checkpoint.epoch == self.feed.epoch { Head { seq: checkpoint.seq, hash } } else { Head::START };
        Ok(Verification {
            fold: Fold::new(CheckpointBase::new(Arc::clone(&self.store)), checkpoint.accepted),
            feed: self.feed.clone(),
            at,
            outcome: Verified { from_seq: at.seq + 1, ..Verified::default() },
            _pin: Arc::clone(&self.pin),
        })
    }
}

impl Verification {
    /// Folds entries up to `upto`, which are durable.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn run(&mut self, store: &dyn Store, upto: u64) -> Result<(), StoreError> {
        while self.at.seq < upto {
            let entries = read_feed(store, self.feed.epoch, self.at.seq, upto, READ_BYTES)?;
            if entries.is_empty() {
                self.find(format!("entry {} is missing", self.at.seq + 1));
                return Ok(());
            }
            entries.iter().for_each(|entry| self.hear(entry));
            for (id, allocation) in self.fold.take_closed() {
                // A closed allocation changes no more: the store has it as it ended.
                let stored = store.get(&Key::Allocation(id).encode())?;
                let kept = stored.and_then(|value| decode_allocation(id, &value));
                self.compare_work(id, &allocation, kept.as_ref());
            }
        }
        Ok(())
    }

    /// Folds the rest, and compares with the state that `engine` has at this moment.
    #[must_use]
    pub fn finish(mut self, engine: &Engine) -> Verified {
        let overlay = engine.archive();
        let from = Key::FeedEntry { epoch: self.feed.epoch, seq: self.at.seq + 1 }.encode();
        let to = Key::FeedEntry { epoch: self.feed.epoch, seq: engine.head().seq + 1 }.encode();
        let mut rest = Vec::new();
        overlay.scan(&from, &to, &mut |_, value| {
            rest.extend(decode_entry(value));
            true
        });
        rest.iter().for_each(|entry| self.hear(entry));
        if self.at != engine.head() {
            self.find(format!("the chain ends in entry {}, the head says {}", self.at.seq, engine.head().seq));
        }
        let archive: &dyn Archive = &overlay;
        let state = engine.state();
        self.fold.include(state.cells().map(|(key, _)| key.clone()), state.open_work().map(|(id, _)| id));
        for (id, _) in state.open_work() {
            if !self.fold.allocations().contains_key(&id) {
                self.outcome.allocations += 1;
                self.find(format!("allocation {id} is in the store, and not in the feed"));
            }
        }
        let work: Vec<_> = self.fold.allocations().iter().map(|(id, said)| (*id, said.clone())).collect();
        for (id, said) in work {
            self.compare_work(id, &said, archive.allocation(id).as_ref());
        }
        self.compare_cells(engine);
        if let Some(fault) = self.fold.base().fault().or_else(|| overlay.fault()) {
            self.find(fault.to_string());
        }
        self.outcome
    }

    fn compare_cells(&mut self, engine: &Engine) {
        let passed_over: Vec<_> = self.fold.passed_over().iter().copied().collect();
        if !passed_over.is_empty() {
            self.find(format!("cells are not compared: facts are not folded: {}", passed_over.join(", ")));
            return;
        }
        let cells: Vec<_> = self.fold.cells().iter().map(|(key, said)| (key.clone(), *said)).collect();
        for (key, said) in cells {
            self.outcome.cells += 1;
            let is = engine.state().cell(&key).copied().unwrap_or_default();
            if let Some(words) = difference(&said, &is) {
                self.find(format!("cell {key}: {words}"));
            }
        }
    }

    fn compare_work(&mut self, id: AllocationId, said: &Allocation, is: Option<&Allocation>) {
        self.outcome.allocations += 1;
        let counters = |of: &Allocation| {
            (of.quantity, of.picked, of.packed, of.shipped, of.cancelled, of.lost, of.stock_key.clone(), of.number)
        };
        match is {
            None => self.find(format!("allocation {id} is in the feed, and not in the store")),
            Some(is) if counters(is) != counters(said) => {
                self.find(format!("allocation {id}: the feed says {said:?}, the state {is:?}"));
            }
            Some(_) => {}
        }
    }

    fn hear(&mut self, entry: &FeedEntry) {
        let seq = self.at.seq + 1;
        let hash = chain_hash(&self.at.hash, &self.feed, seq, &entry.body);
        if entry.seq != seq || entry.hash != hash.0 {
            self.find(format!("entry {} does not continue the chain after {}", entry.seq, self.at.seq));
        }
        self.at = Head { seq, hash };
        self.outcome.entries += 1;
        match EntryBody::decode(entry.body.clone()) {
            Ok(body) => {
                if let Err(error) = self.fold.hear(&body) {
                    self.find(format!("entry {seq}: {error}"));
                }
            }
            Err(error) => self.find(format!("entry {seq}: {error}")),
        }
    }

    fn find(&mut self, what: String) {
        if self.outcome.findings.len() < MAX_FINDINGS {
            self.outcome.findings.push(what);
        }
    }
}

fn decode_allocation(id: AllocationId, value: &[u8]) -> Option<Allocation> {
    match stockmesh_node_core::Change::decode(Key::Allocation(id), value) {
        Ok(Some(stockmesh_node_core::Change::Allocation(_, allocation))) => Some(allocation),
        _ => None,
    }
}
