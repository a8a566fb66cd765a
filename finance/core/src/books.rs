//! The books: records and entries between two writes of the store.
//!
//! Facts change records here, in memory; [`Books::take_changes`] hands over everything that changed, to be written in one
//! transaction with the cursors of the feeds. Records are read on demand from [`Records`] and kept as long as they are few:
//! at most [`MAX_CACHED`] of a kind after each write, then all of that kind are dropped and read again when needed. Nothing
//! is kept for the lifetime of the process.
//!
//! Must not know: what facts mean (`post`), how layers work (`layers`), where records are kept.

use std::collections::{BTreeMap, VecDeque};

use stockmesh_types::{BusinessDate, ChainHash, Currency, LegalEntity, NodeId};

use crate::journal::{Entry, LedgerHead, Source};
use crate::records::{
    Cell, CellKey, Issue, IssueId, Meta, Node, Records, Return, ReturnId, Sale, SaleId, SaleLine, Suspended,
};
use crate::rules::{Line, Rule};
use crate::settings::Settings;

/// Records of one kind that are kept between writes, some 500 bytes each.
pub const MAX_CACHED: usize = 20_000;

/// Why posting stops: never a business answer. The process that keeps the books ends, and starts again from the last write.
#[derive(Debug, thiserror::Error)]
pub enum Fault<E> {
    /// The store.
    #[error("the store of the books failed")]
    Records(#[source] E),
    /// Records contradict each other.
    #[error("the books contradict themselves: {0}")]
    Corrupt(String),
    /// An amount is beyond what 64 bits hold.
    #[error("an amount or number is beyond 64 bits: {0}")]
    Overflow(String),
}

/// Dates of the entries that a fact makes.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    pub source: Source,
    pub effective: BusinessDate,
    pub posting: BusinessDate,
}

/// An account's balance, or a change of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Sum of debits, minor units.
    pub debit_minor: i64,
    /// Sum of credits, minor units.
    pub credit_minor: i64,
}

/// Legal entity, account, currency.
pub type BalanceKey = (String, String, Currency);

/// Everything that changed since the last write, to be written together.
#[derive(Debug, Default)]
pub struct Changes {
    /// Entries, by number.
    pub entries: Vec<Entry>,
    /// What to add to balances.
    pub balances: BTreeMap<BalanceKey, Balance>,
    /// The books' place.
    pub meta: Meta,
    /// Nodes.
    pub nodes: Vec<(NodeId, Node)>,
    /// Sales.
    pub sales: Vec<(SaleId, Sale)>,
    /// Their lines.
    pub sale_lines: Vec<((SaleId, u32), SaleLine)>,
    /// Cells.
    pub cells: Vec<(CellKey, Cell)>,
    /// Issues.
    pub issues: Vec<(IssueId, Issue)>,
    /// Returns.
    pub returns: Vec<(ReturnId, Return)>,
    /// Documents and their fingerprints.
    pub documents: Vec<(String, [u8; 32])>,
    /// Suspended facts by number; `None`: no longer.
    pub suspense: BTreeMap<u64, Option<Suspended>>,
}

struct Slot<V> {
    value: V,
    dirty: bool,
}

/// Records of one kind.
struct Shelf<K, V> {
    slots: BTreeMap<K, Slot<V>>,
    dirty: Vec<K>,
}

impl<K: Ord + Clone, V: Clone> Shelf<K, V> {
    fn new() -> Self {
        Self { slots: BTreeMap::new(), dirty: Vec::new() }
    }

    fn get<E>(&mut self, key: &K, load: impl FnOnce() -> Result<Option<V>, E>) -> Result<Option<&V>, Fault<E>> {
        if !self.slots.contains_key(key) {
            let Some(value) = load().map_err(Fault::Records)? else { return Ok(None) };
            self.slots.insert(key.clone(), Slot { value, dirty: false });
        }
        Ok(self.slots.get(key).map(|slot| &slot.value))
    }

    fn put(&mut self, key: K, value: V) {
        let was = self.slots.insert(key.clone(), Slot { value, dirty: true });
        if !was.is_some_and(|slot| slot.dirty) {
            self.dirty.push(key);
        }
    }

    fn take_dirty(&mut self) -> Vec<(K, V)> {
        let mut changed = Vec::with_capacity(self.dirty.len());
        for key in std::mem::take(&mut self.dirty) {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.dirty = false;
                changed.push((key, slot.value.clone()));
            }
        }
        if self.slots.len() > MAX_CACHED {
            self.slots.clear();
        }
        changed
    }
}

/// The books of one finance service.
pub struct Books<R: Records> {
    records: R,
    pub(crate) meta: Meta,
    pub(crate) settings: Settings,
    entries: Vec<Entry>,
    balances: BTreeMap<BalanceKey, Balance>,
    /// How many entries each rule made of the present fact.
    parts: BTreeMap<&'static str, u32>,
    nodes: Shelf<NodeId, Node>,
    sales: Shelf<SaleId, Sale>,
    sale_lines: Shelf<(SaleId, u32), SaleLine>,
    cells: Shelf<CellKey, Cell>,
    issues: Shelf<IssueId, Issue>,
    returns: Shelf<ReturnId, Return>,
    documents: Shelf<String, [u8; 32]>,
    suspense: BTreeMap<u64, Option<Suspended>>,
    /// What became known while the present fact was posted: facts that wait for it are tried again.
    pub(crate) known: VecDeque<String>,
}

type Read<T, R> = Result<T, Fault<<R as Records>::Error>>;

impl<R: Records> Books<R> {
    /// Opens the books where the records stand, to be kept by `settings` from here on.
    ///
    /// # Errors
    /// What the store says.
    pub fn open(records: R, settings: Settings) -> Read<Self, R> {
        let meta = records.meta().map_err(Fault::Records)?;
        Ok(Self {
            records,
            meta,
            settings,
            entries: Vec::new(),
            balances: BTreeMap::new(),
            parts: BTreeMap::new(),
            nodes: Shelf::new(),
            sales: Shelf::new(),
            sale_lines: Shelf::new(),
            cells: Shelf::new(),
            issues: Shelf::new(),
            returns: Shelf::new(),
            documents: Shelf::new(),
            suspense: BTreeMap::new(),
            known: VecDeque::new(),
        })
    }

    /// The settings by which the next facts are posted.
    pub fn keep_by(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// The store, to write changes to.
    pub fn records(&mut self) -> &mut R {
        &mut self.records
    }

    /// Last entry, those not yet written included.
    #[must_use]
    pub fn head(&self) -> LedgerHead {
        self.meta.head
    }

    /// Everything that changed since the last call. When writing it fails, these books are lost: open them again.
    pub fn take_changes(&mut self) -> Changes {
        Changes {
            entries: std::mem::take(&mut self.entries),
            balances: std::mem::take(&mut self.balances),
            meta: self.meta.clone(),
            nodes: self.nodes.take_dirty(),
            sales: self.sales.take_dirty(),
            sale_lines: self.sale_lines.take_dirty(),
            cells: self.cells.take_dirty(),
            issues: self.issues.take_dirty(),
            returns: self.returns.take_dirty(),
            documents: self.documents.take_dirty(),
            suspense: std::mem::take(&mut self.suspense),
        }
    }

    /// Begins a fact, or another stage of one: the parts of its entries are numbered anew. No rule makes entries in two
    /// stages of one fact.
    pub(crate) fn begin_fact(&mut self) {
        self.parts.clear();
    }

    /// Posts one entry: each line gives its postings by the rule. Without any amount there is no entry.
    pub(crate) fn enter(
        &mut self,
        rule: &Rule,
        entity: &LegalEntity,
        currency: Currency,
        stamp: &Stamp,
        about: &str,
        lines: &[Line<'_>],
    ) -> Read<(), R> {
        let mut postings = Vec::with_capacity(lines.len() * rule.lines.len());
        for line in lines {
            line.post(rule, &mut postings);
        }
        if postings.is_empty() {
            return Ok(());
        }
        let part = self.parts.entry(rule.name).or_default();
        let mut entry = Entry {
            number: self.meta.head.number + 1,
            entity: entity.to_string(),
            currency,
            effective_date: stamp.effective,
            posting_date: stamp.posting,
            rule: rule.name.to_owned(),
            source: stamp.source.clone(),
            part: *part,
            description: format!("{} {about}", rule.title),
            postings,
            hash: ChainHash::START,
        };
        if !entry.balanced() {
            return Err(Fault::Corrupt(format!("rule {} made an entry that does not balance", rule.name)));
        }
        *part += 1;
        entry.hash = entry.chain_hash(&self.meta.head.hash);
        for posting in &entry.postings {
            let key = (entry.entity.clone(), posting.account.clone(), currency);
            let balance = self.balances.entry(key).or_default();
            let side = if posting.amount_minor > 0 { &mut balance.debit_minor } else { &mut balance.credit_minor };
            *side = side
                .checked_add(posting.amount_minor.abs())
                .ok_or_else(|| Fault::Overflow(format!("balance of {}", posting.account)))?;
        }
        self.meta.head = LedgerHead { number: entry.number, hash: entry.hash };
        self.entries.push(entry);
        Ok(())
    }

    /// Sets a fact apart: a new one, or one that waits on.
    pub(crate) fn suspend(&mut self, suspended: Suspended) {
        if suspended.id > self.meta.last_suspense {
            self.meta.last_suspense = suspended.id;
            self.meta.suspended += 1;
        }
        self.suspense.insert(suspended.id, Some(suspended));
    }

    /// Takes a suspended fact out, as it is posted.
    pub(crate) fn release(&mut self, id: u64) {
        self.meta.suspended = self.meta.suspended.saturating_sub(1);
        self.suspense.insert(id, None);
    }

    /// The next suspended fact after `after` that waits for `key`: of the store, or of what is not yet written.
    pub(crate) fn next_waiting(&self, key: &str, after: u64) -> Read<Option<Suspended>, R> {
        let mut stored = after;
        let from_store = loop {
            match self.records.waiting(key, stored).map_err(Fault::Records)? {
                Some(found) if self.suspense.contains_key(&found.id) => stored = found.id,
                other => break other,
            }
        };
        let unwritten =
            self.suspense.range(after + 1..).filter_map(|(_, one)| one.as_ref()).find(|one| one.waits_for == key);
        Ok(match (from_store, unwritten) {
            (Some(stored), Some(unwritten)) if unwritten.id < stored.id => Some(unwritten.clone()),
            (Some(stored), _) => Some(stored),
            (None, unwritten) => unwritten.cloned(),
        })
    }

    pub(crate) fn node(&mut self, node: &NodeId) -> Read<Option<Node>, R> {
        let Self { nodes, records, .. } = self;
        Ok(nodes.get(node, || records.node(node))?.cloned())
    }
    pub(crate) fn put_node(&mut self, id: NodeId, node: Node) {
        self.nodes.put(id, node);
    }

    pub(crate) fn sale(&mut self, id: &SaleId) -> Read<Option<Sale>, R> {
        let Self { sales, records, .. } = self;
        Ok(sales.get(id, || records.sale(id))?.cloned())
    }
    pub(crate) fn put_sale(&mut self, id: SaleId, sale: Sale) {
        self.sales.put(id, sale);
    }

    pub(crate) fn sale_line(&mut self, sale: &SaleId, line: u32) -> Read<Option<SaleLine>, R> {
        let Self { sale_lines, records, .. } = self;
        let key = (sale.clone(), line);
        Ok(sale_lines.get(&key, || records.sale_line(&key))?.cloned())
    }
    pub(crate) fn put_sale_line(&mut self, sale: SaleId, line: u32, record: SaleLine) {
        self.sale_lines.put((sale, line), record);
    }

    /// A cell; an empty one when nothing is known of it.
    pub(crate) fn cell(&mut self, key: &CellKey) -> Read<Cell, R> {
        let Self { cells, records, .. } = self;
        Ok(cells.get(key, || records.cell(key))?.cloned().unwrap_or_default())
    }
    pub(crate) fn put_cell(&mut self, key: CellKey, cell: Cell) {
        self.cells.put(key, cell);
    }

    /// An issue that a record refers to.
    pub(crate) fn issue(&mut self, id: &IssueId) -> Read<Issue, R> {
        let Self { issues, records, .. } = self;
        let issue = issues.get(id, || records.issue(id))?.cloned();
        issue.ok_or_else(|| Fault::Corrupt(format!("issue {id} is referred to and not there")))
    }
    pub(crate) fn put_issue(&mut self, id: IssueId, issue: Issue) {
        self.issues.put(id, issue);
    }

    pub(crate) fn return_of(&mut self, id: &ReturnId) -> Read<Option<Return>, R> {
        let Self { returns, records, .. } = self;
        Ok(returns.get(id, || records.return_of(id))?.cloned())
    }
    pub(crate) fn put_return(&mut self, id: ReturnId, record: Return) {
        self.returns.put(id, record);
    }

    pub(crate) fn document(&mut self, key: &str) -> Read<Option<[u8; 32]>, R> {
        let Self { documents, records, .. } = self;
        Ok(documents.get(&key.to_owned(), || records.document(key))?.copied())
    }
    pub(crate) fn put_document(&mut self, key: String, fingerprint: [u8; 32]) {
        self.documents.put(key, fingerprint);
    }
}
