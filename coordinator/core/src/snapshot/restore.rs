//! From chunks back to the state. Every chunk is checked before anything is believed; what was not written is worked out.

use prost::bytes::Bytes;
use sha2::{Digest, Sha256};
use stockmesh_types::Quantity;

use super::codec::Reader;
use super::head::{Counts, Head};
use super::records::Saved;
use super::{SNAPSHOT_VERSION, SnapshotChunk, SnapshotError};
use crate::State;
use crate::records::{ItemRecord, KeyRecord, LineRecord, Remembered};
use crate::recovery::{Kept, NodeRights, Scope, Velocity, Work};
use crate::state::GroupRecord;

impl State {
    /// The state from the chunks of a snapshot, all of them and in order.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn restore(chunks: impl IntoIterator<Item = SnapshotChunk>) -> Result<Self, SnapshotError> {
        let mut chunks = Chunks { from: chunks.into_iter().peekable(), seal: Sha256::new() };
        let (name, bytes) = chunks.next("head".to_owned())?;
        let mut reader = Reader::new(&bytes);
        let head = Head::read(&mut reader).map_err(|what| SnapshotError::Malformed { name, what })?;
        let Head { group, feature_level, applied_index, log_time, digest, requests_forgotten_ms, counts } = head;
        let mut state =
            Self { group, feature_level, applied_index, log_time, digest, requests_forgotten_ms, ..Self::default() };
        let Counts { feeds, items, nodes, keys, orders, lines, allocations, shortfalls, requests, added } = counts;
        chunks.records("feeds", feeds, |mut record: crate::records::DestinationRecord| {
            let name = record.name.clone();
            let GroupRecord { group, incarnation, finance: _ } = state.group.as_ref()?;
            record.feed = GroupRecord::feed(*group, *incarnation, &name);
            state.destination_index.insert(name, state.destinations.push(record)?);
            Some(())
        })?;
        chunks.records("items", items, |record: ItemRecord| {
            let id = record.id.clone();
            state.item_index.insert(id, state.items.push(record)?);
            Some(())
        })?;
        chunks.records("nodes", nodes, |record: crate::records::NodeRecord| {
            state.destinations.get(record.destination)?;
            let id = record.id.clone();
            state.node_index.insert(id, state.nodes.push(record)?);
            Some(())
        })?;
        chunks.records("keys", keys, |record: KeyRecord| state.restore_key(record))?;
        chunks.records("orders", orders, |record: crate::records::OrderRecord| {
            let (id, transfer) = (record.id.clone(), record.is_transfer());
            state.open_orders += u64::from(record.open_units > 0 && !transfer);
            let index = state.orders.push(record)?;
            if !transfer {
                state.order_index.insert(id, index);
            }
            Some(())
        })?;
        chunks.records("lines", lines, |record: LineRecord| state.restore_line(record))?;
        chunks.records("allocations", allocations, |record: crate::records::AllocationRecord| {
            state.lines.get(record.line)?;
            state.nodes.get(record.node)?;
            state.allocations.push(record).map(|_| ())
        })?;
        chunks.records("shortfalls", shortfalls, |cell: (u32, u32)| {
            state.cell(cell.0, cell.1)?;
            state.shortfalls.insert(cell, ());
            Some(())
        })?;
        chunks.records("requests", requests, |(id, remembered): ([u8; 16], Remembered)| {
            state.requests.insert(id, remembered);
            Some(())
        })?;
        let [rights, lives, works, substitutes, policies, velocities] = added;
        chunks.records("rights", rights, |(node, record): (u32, NodeRights)| state.restore_rights(node, record))?;
        chunks.records("lives", lives, |(key, node, life): (u32, u32, u32)| {
            state.keys.get(key)?;
            state.keys[key].cells.get_mut(&node)?.life = life;
            Some(())
        })?;
        chunks.records("works", works, |(number, work): (u64, Work)| {
            state.recovery.works.insert(number, work);
            Some(())
        })?;
        chunks.records("substitutes", substitutes, |((allocation, node), units): ((u32, u32), Quantity)| {
            state.restore_substitute(allocation, node, units)
        })?;
        chunks.records("policies", policies, |(scope, kept): (Scope, Kept)| state.restore_policy(scope, kept))?;
        chunks.records("velocities", velocities, |(cell, velocity): ((u32, u32), Velocity)| {
            state.recovery.policy.velocities.insert(cell, velocity);
            Some(())
        })?;
        chunks.section("supply", |record| state.restore_supply(record))?;
        chunks.end()?;
        state.work_out_supply();
        state.find_wanting();
        for key in 0..u32::try_from(state.keys.len()).unwrap_or(u32::MAX) {
            if state.is_ready(key) {
                state.ready.insert(key, ());
            }
        }
        Ok(state)
    }

    fn restore_key(&mut self, mut record: KeyRecord) -> Option<()> {
        record.key.item = self.items.get(record.item)?.id.clone();
        let item = record.item;
        if record.cells.iter().any(|(node, _)| self.nodes.get(*node).is_none()) {
            return None;
        }
        let index = self.keys.push(record)?;
        self.items[item].keys.push(index);
        Some(())
    }

    fn restore_line(&mut self, record: LineRecord) -> Option<()> {
        self.orders.get(record.order)?;
        self.keys.get(record.key)?;
        let index = self.lines.push(record)?;
        if record.waiting > 0 {
            let key = &mut self.keys[record.key];
            key.waiting.insert(index, ());
            key.waiting_total += record.waiting;
            key.waiting_excluding += u32::from(record.excludes);
            self.waiting_units += record.waiting;
        }
        Some(())
    }
}

/// Chunks as they come, each checked.
struct Chunks<I: Iterator> {
    from: std::iter::Peekable<I>,
    seal: Sha256,
}

impl<I: Iterator<Item = SnapshotChunk>> Chunks<I> {
    fn next(&mut self, expected: String) -> Result<(String, Bytes), SnapshotError> {
        let Some(chunk) = self.from.next() else {
            return Err(SnapshotError::Incomplete { expected, got: "the end".to_owned() });
        };
        if !chunk.is_whole() {
            return Err(SnapshotError::Damaged { name: chunk.name });
        }
        let SnapshotChunk { name, version, checksum, bytes } = chunk;
        if version != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version { name, version });
        }
        if name != expected {
            return Err(SnapshotError::Incomplete { expected, got: name });
        }
        if name != "tail" {
            self.seal.update(checksum);
        }
        Ok((name, bytes))
    }

    /// `count` records of a kind, over as many chunks as they take. `keep` gives `None` for one that leads nowhere.
    fn records<T: Saved>(
        &mut self,
        kind: &str,
        count: usize,
        mut keep: impl FnMut(T) -> Option<()>,
    ) -> Result<(), SnapshotError> {
        let mut left = count;
        let mut number = 0u64;
        while left > 0 {
            let (name, bytes) = self.next(format!("{kind}/{number:08}"))?;
            let malformed = |what: String| SnapshotError::Malformed { name: name.clone(), what };
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() {
                let record = T::read(&mut reader).map_err(malformed)?;
                keep(record).ok_or_else(|| malformed("a record names one that there is not".to_owned()))?;
                left = left.checked_sub(1).ok_or_else(|| malformed(format!("more than {count} records")))?;
            }
            number += 1;
        }
        Ok(())
    }

    /// Records of a kind that was added to the format: as many chunks as there are, maybe none. Nothing can be missing
    /// unseen: the tail is a hash over all chunks.
    fn section<T: Saved>(&mut self, kind: &str, mut keep: impl FnMut(T) -> Option<()>) -> Result<(), SnapshotError> {
        for number in 0u64.. {
            let name = format!("{kind}/{number:08}");
            if self.from.peek().is_none_or(|chunk| chunk.name != name) {
                break;
            }
            let (name, bytes) = self.next(name)?;
            let malformed = |what: String| SnapshotError::Malformed { name: name.clone(), what };
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() {
                let record = T::read(&mut reader).map_err(malformed)?;
                keep(record).ok_or_else(|| malformed("a record names one that there is not".to_owned()))?;
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), SnapshotError> {
        let (name, bytes) = self.next("tail".to_owned())?;
        if *bytes != *self.seal.finalize() {
            return Err(SnapshotError::Damaged { name });
        }
        match self.from.next() {
            None => Ok(()),
            Some(chunk) => Err(SnapshotError::Incomplete { expected: "the end".to_owned(), got: chunk.name }),
        }
    }
}
