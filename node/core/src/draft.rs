//! A draft: copies of what a command touches, over the present state. A reject drops it, and nothing has happened.
//!
//! [`Draft::settle`] is where the node's side of promise rights is kept after whatever a command did to a cell: a shortfall is
//! reported at every change of its level, and the grant policy delegates what it allows once units on hand rose.
//!
//! Must not know: which command works on it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use stockmesh_proto::common::v1::ItemAttributes;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{RightsGranted, ShortfallReported};
use stockmesh_proto::node::v1::{StockLevel, Task};
use stockmesh_types::{AllocationId, ItemId, LogTime, MAX_QUANTITY, OrderId, Quantity, Reason, Reject, StockKey};

use crate::allocation::Allocation;
use crate::archive::Archive;
use crate::cell::Cell;
use crate::change::{Change, Document, DocumentKind, Item, Meta};
use crate::outbound::OutboundDraft;
use crate::policy::{Policies, PolicyScope, SetPolicy};
use crate::site::{Issued, SiteDraft};
use crate::state::NodeState;
use crate::views;

pub(crate) struct Draft<'a> {
    state: &'a NodeState,
    archive: &'a dyn Archive,
    pub(crate) meta: Meta,
    cells: BTreeMap<StockKey, Cell>,
    allocations: BTreeMap<AllocationId, Allocation>,
    documents: BTreeMap<(DocumentKind, OrderId), Document>,
    items: BTreeMap<ItemId, Item>,
    facts: Vec<Fact>,
    pub(crate) site: SiteDraft<'a>,
    /// Rights that are granted ahead of the policy: orders wait for these units.
    ahead: BTreeMap<StockKey, Quantity>,
    pub(crate) outbound: OutboundDraft<'a>,
    /// Cells that the policy looks at although their units did not rise.
    under_review: BTreeSet<StockKey>,
    /// The policies, where this command sets one; else those of the state hold.
    policies: Option<Policies>,
    set_policies: Vec<(PolicyScope, SetPolicy)>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(state: &'a NodeState, archive: &'a dyn Archive, time: LogTime) -> Self {
        Self {
            state,
            archive,
            meta: Meta { time, ..state.meta() },
            cells: BTreeMap::new(),
            allocations: BTreeMap::new(),
            documents: BTreeMap::new(),
            items: BTreeMap::new(),
            facts: Vec::new(),
            site: SiteDraft::new(state.site()),
            ahead: BTreeMap::new(),
            outbound: OutboundDraft::new(state.outbound()),
            under_review: BTreeSet::new(),
            policies: None,
            set_policies: Vec::new(),
        }
    }

    pub(crate) fn state(&self) -> &'a NodeState {
        self.state
    }

    /// Says that something happened. Facts become feed entries in the order in which they are said.
    pub(crate) fn say(&mut self, fact: Fact) {
        self.facts.push(fact);
    }

    /// The item, as it is ranged here.
    pub(crate) fn ranged(&self, item: &ItemId) -> Result<&Item, Reject> {
        if let Some(known) = self.items.get(item).or_else(|| self.state.item(item)) {
            return Ok(known);
        }
        let message = format!("item {item} is not ranged at node {}: register it, and wait for the link", self.node());
        Err(Reject::new(Reason::UnknownItem, message))
    }

    /// Packs, codes, tracking and the like of an item, where it has any.
    pub(crate) fn item_attributes(&self, item: &ItemId) -> Option<&ItemAttributes> {
        self.items.get(item).or_else(|| self.state.item(item))?.attributes.as_ref()
    }

    /// A number that no other exception or count of this node has.
    pub(crate) fn issue(&mut self) -> Issued {
        self.meta.issued += 1;
        Issued { epoch: self.state.identity().epoch.0, n: self.meta.issued }
    }

    /// Orders wait for these units: rights for them are granted with the same entry, ahead of floors and walk-in sales.
    pub(crate) fn grant_ahead(&mut self, key: &StockKey, quantity: Quantity) {
        *self.ahead.entry(key.clone()).or_default() += quantity;
    }

    pub(crate) fn put_item(&mut self, id: ItemId, item: Item) {
        self.items.insert(id, item);
    }

    pub(crate) fn cell(&mut self, key: &StockKey) -> &mut Cell {
        // Looked up before it is entered: most commands touch a cell more than once, and cloning a key costs more.
        if !self.cells.contains_key(key) {
            let present = self.state.cell(key).copied().unwrap_or_default();
            self.cells.insert(key.clone(), present);
        }
        self.cells.entry(key.clone()).or_default()
    }

    /// Refuses units beyond what one cell may hold in all conditions.
    pub(crate) fn fits(&mut self, key: &StockKey, more: Quantity) -> Result<(), Reject> {
        let present = self.cell(key).present();
        if present + more > MAX_QUANTITY {
            let message = format!("{present} units of {key} are here, and {more} more would be beyond {MAX_QUANTITY}");
            return Err(Reject::new(Reason::QuantityTooLarge, message).field("quantity"));
        }
        Ok(())
    }

    pub(crate) fn allocation(&mut self, id: AllocationId) -> Result<&mut Allocation, Reject> {
        let unknown = || {
            Reject::new(
                Reason::UnknownAllocation,
                format!("node {} has no allocation {id}", self.state.identity().node),
            )
            .field("allocation")
        };
        match self.allocations.entry(id) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let open = self.state.open_allocation(id).cloned();
                let known = open.or_else(|| self.archive.allocation(id)).ok_or_else(unknown)?;
                Ok(entry.insert(known))
            }
        }
    }

    /// The allocation was taken on before, and may be closed by now.
    pub(crate) fn knows_allocation(&self, id: AllocationId) -> bool {
        self.allocations.contains_key(&id)
            || self.state.open_allocation(id).is_some()
            || self.archive.allocation(id).is_some()
    }

    pub(crate) fn put_allocation(&mut self, id: AllocationId, allocation: Allocation) {
        self.allocations.insert(id, allocation);
    }

    /// A document of this node.
    pub(crate) fn document(&self, kind: DocumentKind, id: &OrderId) -> Option<Document> {
        match self.documents.get(&(kind, id.clone())) {
            Some(document) => Some(document.clone()),
            None => self.archive.document(kind, id),
        }
    }

    /// Takes a document's number; `field` names it in the request.
    pub(crate) fn new_document(
        &mut self,
        kind: DocumentKind,
        id: &OrderId,
        document: Document,
        field: &str,
    ) -> Result<(), Reject> {
        if self.document(kind, id).is_some() {
            let message = format!("{} {id} exists at node {}: use another number", kind.word(), self.node());
            return Err(Reject::new(Reason::DocumentIdReused, message).field(field));
        }
        self.documents.insert((kind, id.clone()), document);
        Ok(())
    }

    pub(crate) fn put_document(&mut self, kind: DocumentKind, id: &OrderId, document: Document) {
        self.documents.insert((kind, id.clone()), document);
    }

    /// The coordinator set a policy. What it now allows is granted for a stock key at once, for a segment by reviews.
    pub(crate) fn set_policy(&mut self, scope: PolicyScope, policy: SetPolicy) {
        let policies = self.policies.get_or_insert_with(|| self.state.policies().clone());
        // A lower version is an older word that came late.
        if policies.set.get(&scope).is_some_and(|known| known.version >= policy.version) {
            return;
        }
        policies.set.insert(scope.clone(), policy);
        if let PolicyScope::Key(key) = &scope {
            self.review(key);
        }
        self.set_policies.push((scope, policy));
    }

    /// Has the policy look at a cell whose units did not rise (the policy itself changed).
    pub(crate) fn review(&mut self, key: &StockKey) {
        self.cell(key);
        self.under_review.insert(key.clone());
    }

    /// Reports shortfalls and grants rights for every cell touched so far. Doing it twice says nothing new.
    pub(crate) fn settle(&mut self) {
        for cell in self.cells.values_mut() {
            // Units that were sold before they were booked in go with the first that come.
            let owed = cell.sold_ahead.min(cell.on_hand);
            cell.sold_ahead -= owed;
            cell.on_hand -= owed;
        }
        let touched: Vec<StockKey> = self.cells.keys().cloned().collect();
        self.settle_holdings(&touched);
        let policies = self.policies.as_ref().unwrap_or(self.state.policies());
        for (key, cell) in &mut self.cells {
            let level = cell.shortfall();
            if level != cell.reported_shortfall {
                cell.reported_shortfall = level;
                let fact = ShortfallReported { stock_key: Some(key.into()), level, returned_total: cell.returned };
                self.facts.push(Fact::ShortfallReported(fact));
            }
            let on_hand_before = self.state.cell(key).map_or(0, |before| before.on_hand);
            // Only what raises the target lets the policy grant: a right that the coordinator gave back stays here.
            let raised = cell.on_hand > on_hand_before || self.under_review.contains(key);
            let allowed = if raised {
                let item = self.items.get(&key.item).or_else(|| self.state.item(&key.item));
                let class = item.and_then(|item| item.attributes.as_ref()).map_or("", |of| of.abc_class.as_str());
                policies.of(key, class).target(cell.on_hand) - cell.outstanding()
            } else {
                0
            };
            // What orders wait for goes first, as far as the units are there and not owed in a shortfall.
            let awaited = self.ahead.remove(key).unwrap_or(0).min(cell.retained());
            let due = allowed.max(awaited);
            if due > 0 {
                cell.granted += due;
                let fact = RightsGranted { stock_key: Some(key.into()), granted_total: cell.granted };
                self.facts.push(Fact::RightsGranted(fact));
            }
        }
    }

    pub(crate) fn level(&mut self, key: &StockKey) -> StockLevel {
        views::level(key, self.cell(key))
    }

    /// Levels of stock keys, each once, in the order of their first mention.
    pub(crate) fn levels<'k>(&mut self, keys: impl Iterator<Item = &'k StockKey>) -> Vec<StockLevel> {
        let mut seen = BTreeSet::new();
        keys.filter(|key| seen.insert(*key)).map(|key| self.level(key)).collect()
    }

    pub(crate) fn task(&mut self, id: AllocationId) -> Result<Task, Reject> {
        Ok(self.allocation(id)?.task(id))
    }

    /// What changed against the present state, and what happened.
    pub(crate) fn finish(mut self) -> (Vec<Change>, Vec<Fact>) {
        if self.state.site().is_counting() {
            let held = self.site.holdings.touched().map(|held| &held.stock_key);
            let moved: BTreeSet<StockKey> = self.cells.keys().chain(held).cloned().collect();
            let last = self.state.position() + self.facts.len() as u64;
            self.trace_counts(&moved, last);
        }
        let Self {
            state,
            archive: _,
            meta,
            cells,
            allocations,
            documents,
            items,
            facts,
            site,
            outbound,
            ahead: _,
            under_review: _,
            policies: _,
            set_policies,
        } = self;
        let mut changes = vec![Change::Meta(meta)];
        changes.extend(set_policies.into_iter().map(|(scope, policy)| Change::Policy(scope, policy)));
        changes.extend(items.into_iter().map(|(id, item)| Change::Item(id, item)));
        // A cell that was looked at and never had anything is no cell; one that comes back to nothing is.
        let touched = cells.into_iter().filter(|(key, cell)| match state.cell(key) {
            Some(before) => before != cell,
            None => *cell != Cell::default(),
        });
        changes.extend(touched.map(|(key, cell)| Change::Cell(key, cell)));
        for (id, allocation) in allocations {
            let number = allocation.number;
            if number > state.meta().accepted {
                changes.push(Change::TaskNumber(number, id));
                changes.push(Change::TaskOfOrder(allocation.order_id.clone(), number, id));
            }
            let (was_open, is_open) = (state.open_allocation(id).is_some(), allocation.left() > 0);
            if was_open != is_open {
                changes.push(Change::OpenTask(number, is_open.then_some(id)));
            }
            changes.push(Change::Allocation(id, allocation));
        }
        changes.extend(documents.into_iter().map(|((kind, id), document)| Change::Document(kind, id, document)));
        changes.extend(site.finish().into_iter().map(Change::Site));
        changes.extend(outbound.finish().map(|(key, value)| Change::Outbound(key, value)));
        (changes, facts)
    }

    pub(crate) fn archive(&self) -> &'a dyn Archive {
        self.archive
    }

    /// Allocations touched so far that something open may belong to.
    pub(crate) fn touched_allocations(&self) -> Vec<Allocation> {
        let quiet = self.state.outbound().is_empty() && self.outbound.is_untouched();
        if quiet { Vec::new() } else { self.allocations.values().cloned().collect() }
    }

    /// A copy of an allocation, open or closed.
    pub(crate) fn peek_allocation(&self, id: AllocationId) -> Option<Allocation> {
        let here = self.allocations.get(&id).or_else(|| self.state.open_allocation(id));
        here.cloned().or_else(|| self.archive.allocation(id))
    }

    /// Work for an order with units left to ship, in the order in which it was taken on.
    pub(crate) fn open_of_order(&self, order: &OrderId) -> Vec<AllocationId> {
        let mut found = Vec::new();
        self.archive.tasks(0, Some(order), &mut |_, id| {
            if self.peek_allocation(id).is_some_and(|allocation| allocation.left() > 0) {
                found.push(id);
            }
            true
        });
        found
    }

    /// The node.
    pub(crate) fn node(&self) -> &stockmesh_types::NodeId {
        &self.state.identity().node
    }
}
