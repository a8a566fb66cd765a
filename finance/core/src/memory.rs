//! Records kept in memory: for tests and deterministic simulation of the books. The service keeps them in SQLite.

use std::collections::BTreeMap;
use std::convert::Infallible;

use stockmesh_types::{FeedId, NodeId};

use crate::books::{Balance, BalanceKey, Changes};
use crate::journal::Entry;
use crate::records::{
    Cell, CellKey, Held, HeldId, Issue, IssueId, Meta, Node, Passage, PassageId, Records, Return, ReturnId, Sale,
    SaleId, SaleLine, Suspended, Transit, TransitId,
};

/// Everything that was written.
#[derive(Debug, Default)]
pub struct MemoryRecords {
    /// Entries, by number.
    pub entries: Vec<Entry>,
    /// Balances.
    pub balances: BTreeMap<BalanceKey, Balance>,
    /// Place.
    pub meta: Meta,
    /// Nodes.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Sales.
    pub sales: BTreeMap<SaleId, Sale>,
    /// Their lines.
    pub sale_lines: BTreeMap<(SaleId, u32), SaleLine>,
    /// Cells.
    pub cells: BTreeMap<CellKey, Cell>,
    /// Issues.
    pub issues: BTreeMap<IssueId, Issue>,
    /// Returns.
    pub returns: BTreeMap<ReturnId, Return>,
    /// Passages.
    pub passages: BTreeMap<PassageId, Passage>,
    /// Lines of transfers.
    pub transits: BTreeMap<TransitId, Transit>,
    /// Goods held in receiving.
    pub helds: BTreeMap<HeldId, Held>,
    /// Last entries of feeds.
    pub feeds: BTreeMap<FeedId, u64>,
    /// Documents.
    pub documents: BTreeMap<String, [u8; 32]>,
    /// Suspense.
    pub suspense: BTreeMap<u64, Suspended>,
}

impl MemoryRecords {
    /// Takes over what changed.
    pub fn write(&mut self, changes: Changes) {
        let Changes {
            entries,
            balances,
            meta,
            nodes,
            sales,
            sale_lines,
            cells,
            issues,
            returns,
            passages,
            transits,
            helds,
            feeds,
            documents,
            suspense,
        } = changes;
        self.entries.extend(entries);
        for (key, change) in balances {
            let balance = self.balances.entry(key).or_default();
            balance.debit_minor += change.debit_minor;
            balance.credit_minor += change.credit_minor;
        }
        self.meta = meta;
        self.nodes.extend(nodes);
        self.sales.extend(sales);
        self.sale_lines.extend(sale_lines);
        self.cells.extend(cells);
        self.issues.extend(issues);
        self.returns.extend(returns);
        self.passages.extend(passages);
        self.transits.extend(transits);
        self.helds.extend(helds);
        self.feeds.extend(feeds);
        self.documents.extend(documents);
        for (id, suspended) in suspense {
            match suspended {
                Some(suspended) => self.suspense.insert(id, suspended),
                None => self.suspense.remove(&id),
            };
        }
    }
}

impl Records for MemoryRecords {
    type Error = Infallible;

    fn meta(&self) -> Result<Meta, Infallible> {
        Ok(self.meta.clone())
    }
    fn node(&self, node: &NodeId) -> Result<Option<Node>, Infallible> {
        Ok(self.nodes.get(node).cloned())
    }
    fn sale(&self, id: &SaleId) -> Result<Option<Sale>, Infallible> {
        Ok(self.sales.get(id).cloned())
    }
    fn sale_line(&self, id: &(SaleId, u32)) -> Result<Option<SaleLine>, Infallible> {
        Ok(self.sale_lines.get(id).cloned())
    }
    fn cell(&self, key: &CellKey) -> Result<Option<Cell>, Infallible> {
        Ok(self.cells.get(key).cloned())
    }
    fn issue(&self, id: &IssueId) -> Result<Option<Issue>, Infallible> {
        Ok(self.issues.get(id).cloned())
    }
    fn return_of(&self, id: &ReturnId) -> Result<Option<Return>, Infallible> {
        Ok(self.returns.get(id).cloned())
    }
    fn passage(&self, id: &PassageId) -> Result<Option<Passage>, Infallible> {
        Ok(self.passages.get(id).cloned())
    }
    fn transit(&self, id: &TransitId) -> Result<Option<Transit>, Infallible> {
        Ok(self.transits.get(id).cloned())
    }
    fn held(&self, id: &HeldId) -> Result<Option<Held>, Infallible> {
        Ok(self.helds.get(id).cloned())
    }
    fn feed_seq(&self, feed: &FeedId) -> Result<u64, Infallible> {
        Ok(self.feeds.get(feed).copied().unwrap_or(0))
    }
    fn document(&self, key: &str) -> Result<Option<[u8; 32]>, Infallible> {
        Ok(self.documents.get(key).copied())
    }
    fn waiting(&self, key: &str, after: u64) -> Result<Option<Suspended>, Infallible> {
        Ok(self.suspense.range(after + 1..).map(|(_, one)| one).find(|one| one.waits_for == key).cloned())
    }
}
