//! What a command may look up: the store, with the open group over it.
//!
//! Must not know: what is looked up.

use std::cell::RefCell;
use std::ops::Bound;

use stockmesh_node_core::{Archive, CorruptValue};

use crate::store::{Batch, Store, StoreError};

/// See the module. A fault is kept, and everything is absent from then on: whoever looked asks for it afterwards.
pub struct Overlay<'a> {
    store: &'a dyn Store,
    batch: &'a Batch,
    fault: RefCell<Option<StoreError>>,
}

impl std::fmt::Debug for Overlay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay").field("fault", &self.fault).finish_non_exhaustive()
    }
}

impl<'a> Overlay<'a> {
    pub(crate) fn new(store: &'a dyn Store, batch: &'a Batch) -> Self {
        Self { store, batch, fault: RefCell::new(None) }
    }

    /// What went wrong while things were looked up.
    #[must_use]
    pub fn fault(self) -> Option<StoreError> {
        self.fault.into_inner()
    }

    fn failed(&self, error: StoreError) {
        self.fault.borrow_mut().get_or_insert(error);
    }
}

impl Archive for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        if let Some(written) = self.batch.get(key) {
            return written.clone();
        }
        self.store.get(key).unwrap_or_else(|error| {
            self.failed(error);
            None
        })
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        if from >= to {
            return;
        }
        let mut written = self.batch.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))).peekable();
        let mut goes_on = true;
        let scanned = self.store.scan(from, to, &mut |key, value| {
            while let Some((new, new_value)) = written.next_if(|(new, _)| new.as_slice() < key) {
                goes_on = new_value.as_ref().is_none_or(|new_value| visit(new, new_value));
                if !goes_on {
                    return false;
                }
            }
            goes_on = match written.next_if(|(new, _)| new.as_slice() == key) {
                Some((new, Some(new_value))) => visit(new, new_value),
                Some((_, None)) => true,
                None => visit(key, value),
            };
            goes_on
        });
        if let Err(error) = scanned {
            return self.failed(error);
        }
        for (new, new_value) in written {
            if !goes_on {
                return;
            }
            goes_on = new_value.as_ref().is_none_or(|new_value| visit(new, new_value));
        }
    }

    fn damaged(&self, what: &CorruptValue) {
        self.failed(StoreError::Damaged(what.to_string()));
    }
}
