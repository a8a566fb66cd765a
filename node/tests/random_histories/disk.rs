//! A disk that loses what was not synced, in whole groups.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use stockmesh_node::store::{Batch, Store, StoreError};

#[derive(Debug, Default)]
struct Disk {
    visible: BTreeMap<Vec<u8>, Vec<u8>>,
    durable: BTreeMap<Vec<u8>, Vec<u8>>,
    unsynced: Vec<Batch>,
}

#[derive(Clone, Debug, Default)]
pub struct LossyStore(Arc<Mutex<Disk>>);

fn write(keys: &mut BTreeMap<Vec<u8>, Vec<u8>>, batch: &Batch) {
    for (key, value) in batch {
        match value {
            Some(value) => keys.insert(key.clone(), value.clone()),
            None => keys.remove(key),
        };
    }
}

impl LossyStore {
    /// The machine loses power: of the groups that were not synced, the first `kept` are there.
    pub fn crash(&self, kept: usize) {
        let mut disk = self.0.lock().unwrap();
        let unsynced = std::mem::take(&mut disk.unsynced);
        let mut durable = std::mem::take(&mut disk.durable);
        unsynced.iter().take(kept).for_each(|batch| write(&mut durable, batch));
        disk.visible = durable.clone();
        disk.durable = durable;
    }

    pub fn unsynced(&self) -> usize {
        self.0.lock().unwrap().unsynced.len()
    }
}

impl Store for LossyStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.lock().unwrap().visible.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        let disk = self.0.lock().unwrap();
        let _ = disk.visible.range(from.to_vec()..to.to_vec()).all(|(key, value)| visit(key, value));
        Ok(())
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut disk = self.0.lock().unwrap();
        write(&mut disk.visible, batch);
        disk.unsynced.push(batch.clone());
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut disk = self.0.lock().unwrap();
        let unsynced = std::mem::take(&mut disk.unsynced);
        unsynced.iter().for_each(|batch| write(&mut disk.durable, batch));
        Ok(())
    }
}
