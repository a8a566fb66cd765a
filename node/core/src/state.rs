//! The state of a node: everything it knows, rebuilt from its key values and changed by commands.
//!
//! In memory for the life of the store: a cell (about 250 bytes) for each stock key, an allocation (about 350 bytes) for each
//! piece of work ever taken on, a document number (about 150 bytes) for each receipt, sale, shipment and return; requests as
//! [`crate::requests`] says. Allocations and documents are never evicted, because an id that came once must be known again.
//!
//! Must not know: sled, gRPC, actors.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use stockmesh_proto::feed::v1::EntryBody;
use stockmesh_types::{AllocationId, Epoch, Group, Incarnation, ItemId, LogTime, NodeId, OrderId, Reject, StockKey};

use crate::allocation::Allocation;
use crate::cell::Cell;
use crate::change::{Change, Document, DocumentKind, Item, Meta};
use crate::command::Command;
use crate::draft::Draft;
use crate::effects::{Answer, Context, Effects};
use crate::policy::GrantPolicy;
use crate::requests::{CAPACITY, Recall, RequestMemory};

/// Who the node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Coordinator group.
    pub group: Group,
    /// Name.
    pub node: NodeId,
    /// Life of its store.
    pub epoch: Epoch,
}

/// A node's state.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeState {
    identity: Identity,
    policy: GrantPolicy,
    meta: Meta,
    items: BTreeMap<ItemId, Item>,
    cells: BTreeMap<StockKey, Cell>,
    allocations: BTreeMap<AllocationId, Allocation>,
    documents: BTreeMap<(DocumentKind, OrderId), Document>,
    requests: RequestMemory,
    // Derived from allocations.
    by_number: BTreeMap<u64, AllocationId>,
    open: BTreeSet<u64>,
    by_order: BTreeMap<OrderId, BTreeSet<u64>>,
}

impl NodeState {
    /// A node that knows nothing yet.
    #[must_use]
    pub fn new(identity: Identity, policy: GrantPolicy) -> Self {
        Self::with_request_capacity(identity, policy, CAPACITY)
    }

    /// The same with a smaller memory of requests.
    #[must_use]
    pub fn with_request_capacity(identity: Identity, policy: GrantPolicy, capacity: usize) -> Self {
        let requests = RequestMemory::new(capacity);
        let meta = Meta {
            time: LogTime(0),
            incarnation: Incarnation(0),
            accepted: 0,
            forgotten_upto_ms: requests.forgotten_upto_ms,
        };
        Self {
            identity,
            policy,
            meta,
            items: BTreeMap::new(),
            cells: BTreeMap::new(),
            allocations: BTreeMap::new(),
            documents: BTreeMap::new(),
            requests,
            by_number: BTreeMap::new(),
            open: BTreeSet::new(),
            by_order: BTreeMap::new(),
        }
    }

    /// Works a command out, takes its effects over, and returns them. A reject changes nothing.
    ///
    /// The state is ahead of the store until the effects are durable: whoever calls this shows nothing of it before.
    ///
    /// # Errors
    /// The business answer that says no.
    pub fn handle(&mut self, context: &Context, command: Command) -> Result<Effects, Reject> {
        let time = self.meta.time.max(context.now);
        if let Some(request) = context.request {
            match self.requests.recall(context.now, request.id, request.body)? {
                Recall::New => {}
                Recall::Repeated => {
                    let answer = Answer::Repeated(request.id);
                    return Ok(Effects { changes: Vec::new(), entries: Vec::new(), answer });
                }
            }
        }
        let mut draft = Draft::new(self, time);
        let answer = command.execute(context, &mut draft)?;
        draft.settle();
        if let Some(request) = context.request {
            let forgotten = self.requests.evictions(context.now);
            if let Some(last) = forgotten.last() {
                draft.meta.forgotten_upto_ms = draft.meta.forgotten_upto_ms.max(last.time_ms());
            }
            let (mut changes, facts) = draft.finish();
            changes.extend(forgotten.into_iter().map(Change::ForgetRequest));
            changes.push(Change::Request(request.id, request.body, answer.encode()));
            return Ok(self.take_over(context, time, changes, facts, answer));
        }
        let (changes, facts) = draft.finish();
        Ok(self.take_over(context, time, changes, facts, answer))
    }

    fn take_over(
        &mut self,
        context: &Context,
        time: LogTime,
        changes: Vec<Change>,
        facts: Vec<stockmesh_proto::feed::v1::entry_body::Fact>,
        answer: Answer,
    ) -> Effects {
        changes.iter().cloned().for_each(|change| self.absorb(change));
        let template = EntryBody {
            time_ms: time.0,
            business_date: context.business_date.to_string(),
            principal: Some((&context.principal).into()),
            request_id: context.request.map(|request| request.id.to_string()).unwrap_or_default(),
            group: self.identity.group.0,
            incarnation: self.meta.incarnation.0,
            fact: None,
        };
        let entries = facts.into_iter().map(|fact| EntryBody { fact: Some(fact), ..template.clone() }).collect();
        Effects { changes, entries, answer }
    }

    /// Takes a key value over, as a command wrote it or as a store holds it.
    pub fn absorb(&mut self, change: Change) {
        match change {
            Change::Meta(meta) => {
                self.requests.forgotten_upto_ms = meta.forgotten_upto_ms;
                self.meta = meta;
            }
            Change::Item(id, item) => {
                self.items.insert(id, item);
            }
            Change::Cell(key, cell) => {
                self.cells.insert(key, cell);
            }
            Change::Allocation(id, allocation) => {
                if self.by_number.insert(allocation.number, id).is_none() {
                    self.by_order.entry(allocation.order_id.clone()).or_default().insert(allocation.number);
                }
                if allocation.left() > 0 {
                    self.open.insert(allocation.number);
                } else {
                    self.open.remove(&allocation.number);
                }
                self.allocations.insert(id, allocation);
            }
            Change::Document(kind, id, document) => {
                self.documents.insert((kind, id), document);
            }
            Change::Request(id, body, _answer) => self.requests.remember(id, body),
            Change::ForgetRequest(id) => self.requests.forget(id),
        }
    }

    /// What is wrong with a state that was rebuilt, in words; `None` when it is in order. Bounded by its size, no I/O.
    #[must_use]
    pub fn flaw(&self) -> Option<String> {
        let mut open: BTreeMap<&StockKey, i64> = BTreeMap::new();
        for (id, allocation) in &self.allocations {
            let Allocation { quantity, picked, packed, shipped, cancelled, lost, .. } = allocation;
            let ordered = 0 <= *shipped && shipped <= packed && packed <= picked && picked <= quantity;
            if !ordered || allocation.left() < 0 || *lost < 0 || lost > cancelled {
                return Some(format!("allocation {id} has impossible progress: {allocation:?}"));
            }
            *open.entry(&allocation.stock_key).or_default() += allocation.left();
        }
        if self.by_number.len() != self.allocations.len() {
            return Some("two allocations have the same number".to_owned());
        }
        self.cells.iter().find_map(|(key, cell)| {
            let open = open.get(key).copied().unwrap_or(0);
            let apart = (open != cell.open).then(|| format!("{} units open, allocations say {open}", cell.open));
            cell.flaw().or(apart).map(|flaw| format!("cell {key}: {flaw}"))
        })
    }

    /// Who the node is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its grant policy.
    #[must_use]
    pub fn policy(&self) -> GrantPolicy {
        self.policy
    }

    /// What it knows about itself.
    #[must_use]
    pub fn meta(&self) -> Meta {
        self.meta
    }

    /// A ranged item.
    #[must_use]
    pub fn item(&self, id: &ItemId) -> Option<&Item> {
        self.items.get(id)
    }

    /// A cell.
    #[must_use]
    pub fn cell(&self, key: &StockKey) -> Option<&Cell> {
        self.cells.get(key)
    }

    /// An allocation.
    #[must_use]
    pub fn allocation(&self, id: AllocationId) -> Option<&Allocation> {
        self.allocations.get(&id)
    }

    /// A document.
    #[must_use]
    pub fn document(&self, kind: DocumentKind, id: &OrderId) -> Option<&Document> {
        self.documents.get(&(kind, id.clone()))
    }

    /// Tasks with units left to ship.
    #[must_use]
    pub fn open_tasks(&self) -> usize {
        self.open.len()
    }

    /// Stock keys.
    #[must_use]
    pub fn stock_keys(&self) -> usize {
        self.cells.len()
    }

    /// Requests remembered.
    #[must_use]
    pub fn requests_remembered(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn cells_from(&self, start: Bound<StockKey>) -> impl Iterator<Item = (&StockKey, &Cell)> {
        self.cells.range((start, Bound::Unbounded))
    }

    pub(crate) fn allocation_by_number(&self, number: u64) -> Option<AllocationId> {
        self.by_number.get(&number).copied()
    }

    pub(crate) fn open_tasks_after(&self, after: u64) -> impl Iterator<Item = u64> + '_ {
        self.open.range((Bound::Excluded(after), Bound::Unbounded)).copied()
    }

    pub(crate) fn tasks_of_order(&self, order: &OrderId) -> impl Iterator<Item = u64> + '_ {
        self.by_order.get(order).into_iter().flatten().copied()
    }
}
