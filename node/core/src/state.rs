//! The state of a node: everything it knows, rebuilt from its key values and changed by commands.
//!
//! In memory: a cell (about 250 bytes) for each stock key, an allocation (about 350 bytes) for each piece of work with units left
//! to ship. Everything that only has to be known again (documents, requests, closed allocations) is read from the
//! [`Archive`] when a command names it: memory is O(stock keys + open work), however old the store is.
//!
//! Must not know: sled, gRPC, actors.

use std::collections::BTreeMap;
use std::ops::Bound;

use stockmesh_proto::feed::v1::EntryBody;
use stockmesh_types::{AllocationId, Epoch, Group, Incarnation, ItemId, LogTime, NodeId, Reject, StockKey};

use crate::allocation::Allocation;
use crate::archive::Archive;
use crate::cell::Cell;
use crate::change::{Change, Item, Meta};
use crate::command::Command;
use crate::draft::Draft;
use crate::effects::{Answer, Context, Effects};
use crate::outbound::{Outbound, Rules};
use crate::policy::{GrantPolicy, Policies};
use crate::requests::{self, CAPACITY, Recall, RequestMemory};
use crate::site::scan::lookup_code;
use crate::site::{Site, SitePolicy};

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
    policies: Policies,
    meta: Meta,
    items: BTreeMap<ItemId, Item>,
    /// Items and their packs by scan code, GTINs with 14 digits.
    codes: BTreeMap<String, (ItemId, String)>,
    cells: BTreeMap<StockKey, Cell>,
    /// Those with units left to ship.
    allocations: BTreeMap<AllocationId, Allocation>,
    /// The same, by number.
    open: BTreeMap<u64, AllocationId>,
    /// Holds, waves, pickups, labour: see [`crate::outbound`].
    outbound: Outbound,
    rules: Rules,
    requests: RequestMemory,
    site: Site,
    site_policy: SitePolicy,
    /// Last entry of the own feed in this epoch. Not written: the head of the feed is.
    position: u64,
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
            forgotten_upto_ms: i64::MIN,
            requests: 0,
            issued: 0,
        };
        Self {
            identity,
            policies: Policies { configured: policy, ..Policies::default() },
            meta,
            items: BTreeMap::new(),
            codes: BTreeMap::new(),
            cells: BTreeMap::new(),
            allocations: BTreeMap::new(),
            open: BTreeMap::new(),
            outbound: Outbound::new(),
            rules: Rules::default(),
            requests,
            site: Site::default(),
            site_policy: SitePolicy::default(),
            position: 0,
        }
    }

    /// Works a command out, takes its effects over, and returns them. A reject changes nothing.
    ///
    /// The state is ahead of the store until the effects are durable: whoever calls this shows nothing of it before.
    ///
    /// # Errors
    /// The business answer that says no.
    pub fn handle(&mut self, context: &Context, command: Command, archive: &dyn Archive) -> Result<Effects, Reject> {
        let time = self.meta.time.max(context.now);
        if let Some(request) = context.request {
            let known = archive.request(request.id);
            match requests::recall(context.now, request, known, self.meta.forgotten_upto_ms)? {
                Recall::New => {}
                Recall::Repeated => {
                    let answer = Answer::Repeated(request.id);
                    return Ok(Effects { changes: Vec::new(), entries: Vec::new(), answer });
                }
            }
        }
        // Looked up before the command: a reject forgets nothing, and asks again.
        let forgotten = context.request.map_or_else(Vec::new, |request| {
            self.requests.evictions(context.now, request.id, self.meta.requests, archive)
        });
        let mut draft = Draft::new(self, archive, time);
        let answer = command.execute(context, &mut draft)?;
        draft.settle();
        draft.clear_away();
        if let Some(request) = context.request {
            if let Some(last) = forgotten.last() {
                draft.meta.forgotten_upto_ms = draft.meta.forgotten_upto_ms.max(last.time_ms());
            }
            draft.meta.requests = (draft.meta.requests + 1).saturating_sub(forgotten.len() as u64);
            let (mut changes, facts) = draft.finish();
            changes.extend(forgotten.into_iter().map(Change::ForgetRequest));
            changes.push(Change::Request(request.id, request.body, answer.encode()));
            return Ok(self.take_over(context, time, changes, facts, answer));
        }
        let (changes, facts) = draft.finish();
        Ok(self.take_over(context, time, changes, facts, answer))
    }

    /// What a command would answer. Changes nothing, and remembers no request.
    ///
    /// # Errors
    /// The business answer that says no.
    pub fn check(&self, context: &Context, command: Command, archive: &dyn Archive) -> Result<Answer, Reject> {
        let mut draft = Draft::new(self, archive, self.meta.time.max(context.now));
        command.execute(context, &mut draft)
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
        self.position += facts.len() as u64;
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
            Change::Meta(meta) => self.meta = meta,
            Change::Item(id, item) => {
                self.note_codes(&id, &item);
                self.items.insert(id, item);
            }
            Change::Cell(key, cell) => {
                self.cells.insert(key, cell);
            }
            Change::Allocation(id, allocation) => {
                if allocation.left() > 0 {
                    self.open.insert(allocation.number, id);
                    self.allocations.insert(id, allocation);
                } else {
                    self.open.remove(&allocation.number);
                    self.allocations.remove(&id);
                }
            }
            Change::Outbound(key, Some(value)) => {
                self.outbound.insert(key, value);
            }
            Change::Outbound(key, None) => {
                self.outbound.remove(&key);
            }
            // Read from the archive when a command names them.
            Change::Document(..)
            | Change::Request(..)
            | Change::ForgetRequest(_)
            | Change::TaskNumber(..)
            | Change::TaskOfOrder(..)
            | Change::OpenTask(..) => {}
            Change::Policy(scope, policy) => {
                self.policies.set.insert(scope, policy);
            }
            Change::Site(change) => self.site.absorb(change),
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
        if self.open.len() != self.allocations.len() {
            return Some("two open allocations have the same number".to_owned());
        }
        let flaw = self.cells.iter().find_map(|(key, cell)| {
            let open = open.get(key).copied().unwrap_or(0);
            let apart = (open != cell.open).then(|| format!("{} units open, allocations say {open}", cell.open));
            cell.flaw().or(apart).map(|flaw| format!("cell {key}: {flaw}"))
        });
        flaw.or_else(|| self.site.flaw(&self.cells))
    }

    /// Who the node is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What its people may do by themselves.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Sets what its people may do by themselves, as the node is configured now.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// What is open on the way out.
    #[must_use]
    pub fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// Its grant policies.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Bins, lots, serial numbers, expected receipts, counts, exceptions.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Settings of the site.
    #[must_use]
    pub fn site_policy(&self) -> SitePolicy {
        self.site_policy
    }

    /// Takes settings of the site over.
    pub fn set_site_policy(&mut self, policy: SitePolicy) {
        self.site_policy = policy;
    }

    /// Last entry of the own feed in this epoch.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Says where the own feed ends, once, when a store was opened; from then on every fact moves it.
    pub fn set_position(&mut self, seq: u64) {
        self.position = seq;
    }

    /// What it knows about itself.
    #[must_use]
    pub fn meta(&self) -> Meta {
        self.meta
    }

    /// Codes of an item as it is now; those that it had before are no more.
    fn note_codes(&mut self, id: &ItemId, item: &Item) {
        let codes = |item: &Item| -> Vec<(String, String)> {
            let codes = item.attributes.iter().flat_map(|attributes| &attributes.scan_codes);
            codes.map(|code| (lookup_code(&code.code), code.pack.clone())).collect()
        };
        for (code, _) in self.items.get(id).map(codes).unwrap_or_default() {
            if self.codes.get(&code).is_some_and(|(of, _)| of == id) {
                self.codes.remove(&code);
            }
        }
        for (code, pack) in codes(item) {
            self.codes.insert(code, (id.clone(), pack));
        }
    }

    pub(crate) fn item_with_code(&self, code: &str) -> Option<(&ItemId, &Item, String)> {
        let (id, pack) = self.codes.get(code)?;
        let (id, item) = self.items.get_key_value(id)?;
        Some((id, item, pack.clone()))
    }

    pub(crate) fn ranged_item(&self, name: &str) -> Option<(&ItemId, &Item)> {
        self.items.get_key_value(name)
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

    /// An allocation with units left to ship. [`Archive::allocation`](dyn Archive::allocation) has closed ones too.
    #[must_use]
    pub fn open_allocation(&self, id: AllocationId) -> Option<&Allocation> {
        self.allocations.get(&id)
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
    pub fn requests_remembered(&self) -> u64 {
        self.meta.requests
    }

    /// Every cell.
    pub fn cells(&self) -> impl Iterator<Item = (&StockKey, &Cell)> {
        self.cells.iter()
    }

    /// Every allocation with units left to ship.
    pub fn open_work(&self) -> impl Iterator<Item = (AllocationId, &Allocation)> {
        self.allocations.iter().map(|(id, allocation)| (*id, allocation))
    }

    pub(crate) fn cells_from(&self, start: Bound<StockKey>) -> impl Iterator<Item = (&StockKey, &Cell)> {
        self.cells.range((start, Bound::Unbounded))
    }

    pub(crate) fn open_tasks_after(&self, after: u64) -> impl Iterator<Item = (u64, &Allocation, AllocationId)> + '_ {
        let open = self.open.range((Bound::Excluded(after), Bound::Unbounded));
        open.filter_map(|(number, id)| Some((*number, self.allocations.get(id)?, *id)))
    }
}
