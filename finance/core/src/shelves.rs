//! Records between two writes of the store, each kind on a shelf of its own: read when they are first asked for, kept as long
//! as they are few, handed over when they changed.
//!
//! Must not know: what records mean.

use std::collections::BTreeMap;

use stockmesh_types::NodeId;

use crate::books::{Books, Fault, Read};
use crate::records::{
    Cell, CellKey, Held, HeldId, Issue, IssueId, Node, Passage, PassageId, Records, Return, ReturnId, Sale, SaleId,
    SaleLine, Transit, TransitId,
};

/// Records of one kind that are kept between writes, some 500 bytes each.
pub const MAX_CACHED: usize = 20_000;

/// Every kind of record that is read by its key.
#[derive(Default)]
pub(crate) struct Shelves {
    pub nodes: Shelf<NodeId, Node>,
    pub sales: Shelf<SaleId, Sale>,
    pub sale_lines: Shelf<(SaleId, u32), SaleLine>,
    pub cells: Shelf<CellKey, Cell>,
    pub issues: Shelf<IssueId, Issue>,
    pub returns: Shelf<ReturnId, Return>,
    pub passages: Shelf<PassageId, Passage>,
    pub transits: Shelf<TransitId, Transit>,
    pub helds: Shelf<HeldId, Held>,
    pub documents: Shelf<String, [u8; 32]>,
}

struct Slot<V> {
    value: V,
    dirty: bool,
}

/// Records of one kind.
pub(crate) struct Shelf<K, V> {
    slots: BTreeMap<K, Slot<V>>,
    dirty: Vec<K>,
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self { slots: BTreeMap::new(), dirty: Vec::new() }
    }
}

impl<K: Ord + Clone, V: Clone> Shelf<K, V> {
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

    pub(crate) fn take_dirty(&mut self) -> Vec<(K, V)> {
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

impl<R: Records> Books<R> {
    pub(crate) fn node(&mut self, node: &NodeId) -> Read<Option<Node>, R> {
        let Self { shelves, records, .. } = self;
        Ok(shelves.nodes.get(node, || records.node(node))?.cloned())
    }
    pub(crate) fn put_node(&mut self, id: NodeId, node: Node) {
        self.shelves.nodes.put(id, node);
    }

    pub(crate) fn sale(&mut self, id: &SaleId) -> Read<Option<Sale>, R> {
        let Self { shelves, records, .. } = self;
        Ok(shelves.sales.get(id, || records.sale(id))?.cloned())
    }
    pub(crate) fn put_sale(&mut self, id: SaleId, sale: Sale) {
        self.shelves.sales.put(id, sale);
    }

    pub(crate) fn sale_line(&mut self, sale: &SaleId, line: u32) -> Read<Option<SaleLine>, R> {
        let Self { shelves, records, .. } = self;
        let key = (sale.clone(), line);
        Ok(shelves.sale_lines.get(&key, || records.sale_line(&key))?.cloned())
    }
    pub(crate) fn put_sale_line(&mut self, sale: SaleId, line: u32, record: SaleLine) {
        self.shelves.sale_lines.put((sale, line), record);
    }

    /// A cell; an empty one when nothing is known of it.
    pub(crate) fn cell(&mut self, key: &CellKey) -> Read<Cell, R> {
        let Self { shelves, records, .. } = self;
        Ok(shelves.cells.get(key, || records.cell(key))?.cloned().unwrap_or_default())
    }
    pub(crate) fn put_cell(&mut self, key: CellKey, cell: Cell) {
        self.shelves.cells.put(key, cell);
    }

    /// An issue that a record refers to.
    pub(crate) fn issue(&mut self, id: &IssueId) -> Read<Issue, R> {
        let Self { shelves, records, .. } = self;
        let issue = shelves.issues.get(id, || records.issue(id))?.cloned();
        issue.ok_or_else(|| Fault::Corrupt(format!("issue {id} is referred to and not there")))
    }
    pub(crate) fn put_issue(&mut self, id: IssueId, issue: Issue) {
        self.shelves.issues.put(id, issue);
    }

    pub(crate) fn return_of(&mut self, id: &ReturnId) -> Read<Option<Return>, R> {
        let Self { shelves, records, .. } = self;
        Ok(shelves.returns.get(id, || records.return_of(id))?.cloned())
    }
    pub(crate) fn put_return(&mut self, id: ReturnId, record: Return) {
        self.shelves.returns.put(id, record);
    }

    /// A passage.
    pub(crate) fn passage(&mut self, id: &PassageId) -> Read<Option<Passage>, R> {
        let Self { shelves, records, .. } = self;
        Ok(shelves.passages.get(id, || records.passage(id))?.cloned())
    }
    pub(crate) fn put_passage(&mut self, id: PassageId, record: Passage) {
        self.shelves.passages.put(id, record);
    }

    /// A line of a transfer; an empty one when nothing is known of it.
    pub(crate) fn transit(&mut self, id: &TransitId) -> Read<Transit, R> {
        let Self { shelves, records, .. } = self;
        Ok(shelves.transits.get(id, || records.transit(id))?.cloned().unwrap_or_default())
    }
    pub(crate) fn put_transit(&mut self, id: TransitId, record: Transit) {
        self.shelves.transits.put(id, record);
    }

    /// Goods held in receiving.
    pub(crate) fn held(&mut self, id: &HeldId) -> Read<Option<Held>, R> {
        let Self { shelves, records, .. } = self;
        Ok(shelves.helds.get(id, || records.held(id))?.cloned())
    }
    pub(crate) fn put_held(&mut self, id: HeldId, record: Held) {
        self.shelves.helds.put(id, record);
    }

    pub(crate) fn document(&mut self, key: &str) -> Read<Option<[u8; 32]>, R> {
        let Self { shelves, records, .. } = self;
        Ok(shelves.documents.get(&key.to_owned(), || records.document(key))?.copied())
    }
    pub(crate) fn put_document(&mut self, key: String, fingerprint: [u8; 32]) {
        self.shelves.documents.put(key, fingerprint);
    }
}
