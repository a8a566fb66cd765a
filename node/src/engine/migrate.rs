//! Bringing a store of an earlier format to the present one, in steps that a crash may interrupt anywhere: the format's number
//! is written last, and every step may be done again.
//!
//! | format | what it brought |
//! |---|---|
//! | 1 | the first |
//! | 2 | work is found by its number, its order, and whether it is open, without reading all of it; the number of remembered requests; a checkpoint to fold the feed from |
//!
//! Must not know: what commands do.

use prost::Message;
use stockmesh_node_core::{Change, Key};

use super::FeedHeadValue;
use super::open::OpenError;
use super::retention::CheckpointValue;
use crate::store::{Batch, Store};

/// Version of the layout of keys and values.
pub const FORMAT: u32 = 2;
/// Keys written at once.
const STEP_KEYS: usize = 4_000;

/// Checks the format, gives it to a new store, and migrates an old one.
pub(super) fn prepare(store: &dyn Store) -> Result<(), OpenError> {
    let found = match store.get(&Key::Format.encode())? {
        Some(bytes) => bytes.try_into().map_or(0, u32::from_be_bytes),
        None => {
            let format = (Key::Format.encode(), Some(FORMAT.to_be_bytes().to_vec()));
            store.write(&Batch::from([format]))?;
            store.sync()?;
            FORMAT
        }
    };
    match found {
        FORMAT => Ok(()),
        1 => from_1(store),
        _ => Err(OpenError::Format { found }),
    }
}

fn from_1(store: &dyn Store) -> Result<(), OpenError> {
    tracing::info!("the store has format 1: it is brought to format {FORMAT}");
    let mut after = vec![b'a'];
    while let Some(last) = index_work(store, &after)? {
        after = [last.as_slice(), &[0]].concat();
    }
    let mut requests = 0;
    store.scan(b"r", b"s", &mut |_, _| {
        requests += 1;
        true
    })?;
    let mut last = Batch::new();
    // Facts of format 1 do not say what work was taken on: the feed is folded from here on.
    let mut after = vec![b'c'];
    while let Some(key) = checkpoint_cells(store, &after)? {
        after = [key.as_slice(), &[0]].concat();
    }
    if let Some(value) = store.get(&Key::FeedHead.encode())? {
        let head = FeedHeadValue::decode(value.as_slice()).map_err(|error| OpenError::Damaged(error.to_string()))?;
        let mut accepted = 0;
        if let Some(value) = store.get(&Key::Meta.encode())?
            && let Some(Change::Meta(meta)) = Change::decode(Key::Meta, &value)?
        {
            accepted = meta.accepted;
        }
        let FeedHeadValue { epoch, seq, hash, first_seq: _ } = head;
        let checkpoint = CheckpointValue { epoch, seq, hash, accepted };
        last.insert(Key::Checkpoint.encode(), Some(checkpoint.encode_to_vec()));
    }
    if let Some(value) = store.get(&Key::Meta.encode())?
        && let Some(Change::Meta(meta)) = Change::decode(Key::Meta, &value)?
    {
        let (key, value) = Change::Meta(stockmesh_node_core::Meta { requests, ..meta }).encode();
        last.insert(key, value);
    }
    last.insert(Key::Format.encode(), Some(FORMAT.to_be_bytes().to_vec()));
    store.write(&last)?;
    Ok(store.sync()?)
}

/// Copies some cells from a key on into the checkpoint; returns the last one, `None` when there is none.
fn checkpoint_cells(store: &dyn Store, from: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
    let (mut batch, mut last) = (Batch::new(), None);
    store.scan(from, b"d", &mut |bytes, value| {
        if let Some(Key::Cell(key)) = Key::decode(bytes) {
            batch.insert(Key::CheckpointCell(key).encode(), Some(value.to_vec()));
        }
        last = Some(bytes.to_vec());
        batch.len() < STEP_KEYS
    })?;
    if !batch.is_empty() {
        store.write(&batch)?;
        store.sync()?;
    }
    Ok(last)
}

/// Indexes some allocations from a key on; returns the last one looked at, `None` when there is none.
fn index_work(store: &dyn Store, from: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
    let (mut batch, mut last, mut trouble) = (Batch::new(), None, None);
    store.scan(from, b"b", &mut |bytes, value| {
        let decoded = Key::decode(bytes).map(|key| Change::decode(key, value));
        let Some(Ok(Some(Change::Allocation(id, allocation)))) = decoded else {
            let why = match decoded {
                Some(Err(error)) => OpenError::Value(error),
                _ => OpenError::Damaged(format!("key {bytes:02x?} is none of a node's")),
            };
            trouble = Some(why);
            return false;
        };
        let number = allocation.number;
        let order = Change::TaskOfOrder(allocation.order_id.clone(), number, id);
        let open = (allocation.left() > 0).then_some(Change::OpenTask(number, Some(id)));
        if open.is_some() {
            batch.insert(Key::CheckpointWork(id).encode(), Some(value.to_vec()));
        }
        batch.extend([Change::TaskNumber(number, id), order].into_iter().chain(open).map(|change| change.encode()));
        last = Some(bytes.to_vec());
        batch.len() < STEP_KEYS
    })?;
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    if !batch.is_empty() {
        store.write(&batch)?;
        store.sync()?;
    }
    Ok(last)
}
