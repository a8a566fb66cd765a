//! What a node knows and does not keep in memory: documents, remembered requests, closed allocations. They are read where they
//! are kept, one by one, when a command names them.
//!
//! A lookup sees every write so far, those that are not yet durable too: the shell puts its open batch over its store.
//!
//! Must not know: an engine.

use prost::Message;
use stockmesh_types::{AllocationId, OrderId, RequestId};

use crate::allocation::Allocation;
use crate::change::{Change, CorruptValue, Document, DocumentKind};
use crate::keys::Key;
use crate::requests::BodyHash;
use crate::site::{CountId, SiteChange, SiteKey};

/// Reads key values. It answers for a store that is in order: a fault of the store ends the process, and a value that can't be
/// read is told to [`Archive::damaged`], after which nothing more is written.
pub trait Archive {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;

    /// Visits keys in `from..to`, in order, until `visit` returns false.
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool);

    /// A value can't be read: a fault, whatever the command makes of it.
    fn damaged(&self, what: &CorruptValue);
}

impl<'a> dyn Archive + 'a {
    fn change(&self, key: Key) -> Option<Change> {
        let value = self.get(&key.encode())?;
        Change::decode(key, &value).unwrap_or_else(|error| {
            self.damaged(&error);
            None
        })
    }

    /// A document.
    #[must_use]
    pub fn document(&self, kind: DocumentKind, id: &OrderId) -> Option<Document> {
        match self.change(Key::Document(kind, id.clone()))? {
            Change::Document(_, _, document) => Some(document),
            _ => None,
        }
    }

    /// An allocation, open or closed.
    #[must_use]
    pub fn allocation(&self, id: AllocationId) -> Option<Allocation> {
        match self.change(Key::Allocation(id))? {
            Change::Allocation(_, allocation) => Some(allocation),
            _ => None,
        }
    }

    /// A count that is closed, as it was answered.
    #[must_use]
    pub fn closed_count(&self, id: CountId) -> Option<stockmesh_proto::node::v1::Count> {
        match self.change(Key::Site(Box::new(SiteKey::ClosedCount(id))))? {
            Change::Site(SiteChange::ClosedCount(_, count)) => Some(count),
            _ => None,
        }
    }

    /// The body of a remembered request.
    pub(crate) fn request(&self, id: RequestId) -> Option<BodyHash> {
        match self.change(Key::Request(id))? {
            Change::Request(_, body, _) => Some(body),
            _ => None,
        }
    }

    /// The oldest remembered requests.
    pub(crate) fn oldest_requests(&self, count: usize) -> Vec<RequestId> {
        let mut found = Vec::new();
        self.scan(b"r", b"s", &mut |key, _| {
            if let Some(Key::Request(id)) = Key::decode(key) {
                found.push(id);
            }
            found.len() < count
        });
        found
    }

    /// Allocations by the number under which they were taken on, after `after`: all of them, or those of one order.
    pub(crate) fn tasks(&self, after: u64, order: Option<&OrderId>, visit: &mut dyn FnMut(u64, AllocationId) -> bool) {
        let key = |number| match order {
            Some(order) => Key::TaskOfOrder(order.clone(), number).encode(),
            None => Key::TaskNumber(number).encode(),
        };
        let Some(first) = after.checked_add(1) else { return };
        self.scan(&key(first), &key(u64::MAX), &mut |key, value| match (Key::decode(key), TaskValue::read(value)) {
            (Some(Key::TaskNumber(number) | Key::TaskOfOrder(_, number)), Some(id)) => visit(number, id),
            (Some(key), None) => {
                self.damaged(&CorruptValue { key, why: "no allocation id".to_owned() });
                false
            }
            _ => false,
        });
    }
}

/// The value of the keys that find an allocation.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct TaskValue {
    #[prost(uint32, tag = "1")]
    incarnation: u32,
    #[prost(uint64, tag = "2")]
    log_index: u64,
    #[prost(uint32, tag = "3")]
    n: u32,
}

impl TaskValue {
    pub(crate) fn write(id: AllocationId) -> Vec<u8> {
        let AllocationId { incarnation, log_index, n } = id;
        Self { incarnation: incarnation.0, log_index, n }.encode_to_vec()
    }

    pub(crate) fn read(value: &[u8]) -> Option<AllocationId> {
        let Self { incarnation, log_index, n } = Self::decode(value).ok()?;
        Some(AllocationId { incarnation: stockmesh_types::Incarnation(incarnation), log_index, n })
    }
}
