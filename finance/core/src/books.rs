//! The books: records and entries between two writes of the store.
//!
//! Facts change records here, in memory; [`Books::take_changes`] hands over everything that changed, to be written in one
//! transaction with the cursors of the feeds. Records are read on demand from [`Records`] and kept as long as they are few:
//! at most [`crate::shelves::MAX_CACHED`] of a kind after each write, then all of that kind are dropped and read again when needed. Nothing
//! is kept for the lifetime of the process.
//!
//! Must not know: what facts mean (`post`), how layers work (`layers`), where records are kept.

use std::collections::{BTreeMap, VecDeque};

use stockmesh_types::{BusinessDate, ChainHash, Currency, FeedId, LegalEntity, NodeId};

use crate::journal::{Entry, LedgerHead, Source};
use crate::records::{
    Cell, CellKey, Held, HeldId, Issue, IssueId, Meta, Node, Passage, PassageId, Records, Return, ReturnId, Sale,
    SaleId, SaleLine, Suspended, Transit, TransitId,
};
use crate::rules::{Line, Rule};
use crate::settings::Settings;
use crate::shelves::Shelves;

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
    /// Passages.
    pub passages: Vec<(PassageId, Passage)>,
    /// Lines of transfers.
    pub transits: Vec<(TransitId, Transit)>,
    /// Goods held in receiving.
    pub helds: Vec<(HeldId, Held)>,
    /// Last entry of each feed that was posted.
    pub feeds: BTreeMap<FeedId, u64>,
    /// Documents and their fingerprints.
    pub documents: Vec<(String, [u8; 32])>,
    /// Suspended facts by number; `None`: no longer.
    pub suspense: BTreeMap<u64, Option<Suspended>>,
}

/// The books of one finance service.
pub struct Books<R: Records> {
    pub(crate) records: R,
    pub(crate) meta: Meta,
    pub(crate) settings: Settings,
    entries: Vec<Entry>,
    balances: BTreeMap<BalanceKey, Balance>,
    /// How many entries each rule made of the present fact.
    parts: BTreeMap<&'static str, u32>,
    pub(crate) shelves: Shelves,
    suspense: BTreeMap<u64, Option<Suspended>>,
    /// Last entries of feeds that were posted since the last write.
    feeds: BTreeMap<FeedId, u64>,
    /// What became known while the present fact was posted: facts that wait for it are tried again.
    pub(crate) known: VecDeque<String>,
}

pub(crate) type Read<T, R> = Result<T, Fault<<R as Records>::Error>>;

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
            shelves: Shelves::default(),
            suspense: BTreeMap::new(),
            feeds: BTreeMap::new(),
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
            nodes: self.shelves.nodes.take_dirty(),
            sales: self.shelves.sales.take_dirty(),
            sale_lines: self.shelves.sale_lines.take_dirty(),
            cells: self.shelves.cells.take_dirty(),
            issues: self.shelves.issues.take_dirty(),
            returns: self.shelves.returns.take_dirty(),
            passages: self.shelves.passages.take_dirty(),
            transits: self.shelves.transits.take_dirty(),
            helds: self.shelves.helds.take_dirty(),
            documents: self.shelves.documents.take_dirty(),
            feeds: std::mem::take(&mut self.feeds),
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

    /// Notes that an entry of a feed was posted.
    pub(crate) fn note_entry(&mut self, source: &Source) {
        match self.feeds.get_mut(&source.feed) {
            Some(seq) => *seq = source.seq,
            None => {
                self.feeds.insert(source.feed.clone(), source.seq);
            }
        }
    }

    /// Last entry of a feed that was posted; 0: none.
    pub(crate) fn posted_seq(&self, feed: &FeedId) -> Read<u64, R> {
        match self.feeds.get(feed) {
            Some(seq) => Ok(*seq),
            None => self.records.feed_seq(feed).map_err(Fault::Records),
        }
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
}
