//! The one way to change a cell.
//!
//! Keeps the sums per stock key, and the rule that nothing is free while a shortfall is owed (I8): what becomes free goes
//! to `returned` in the same entry, and the node is told.

use stockmesh_types::{Reason, Reject, StockKey};

use crate::State;
use crate::answer::Fault;
use crate::apply::{Stop, Tx};
use crate::cow::CowMap;
use crate::records::{Cell, KeyRecord};
use crate::state::full;

impl State {
    /// The dense index of a node that must be registered.
    pub(crate) fn known_node(&self, node: &str, field: &str) -> Result<u32, Reject> {
        self.node_index.get(node).ok_or_else(|| {
            let shown: String = node.chars().take(80).collect();
            Reject::new(Reason::UnknownNode, format!("node {shown:?} is not registered: register it first"))
                .field(field)
        })
    }

    /// The dense index of an item that must be in the catalog.
    pub(crate) fn known_item(&self, item: &str, field: &str) -> Result<u32, Reject> {
        self.item_index.get(item).ok_or_else(|| {
            let shown: String = item.chars().take(80).collect();
            Reject::new(Reason::UnknownItem, format!("item {shown:?} is not in the catalog: create it first"))
                .field(field)
        })
    }
}

impl Tx<'_> {
    /// The dense index of a stock key, made now when it is new.
    pub(crate) fn intern_key(&mut self, item: u32, stock_key: &StockKey) -> Result<u32, Fault> {
        if let Some(known) = self.state.key_index(stock_key) {
            return Ok(known);
        }
        let record = KeyRecord {
            key: stock_key.clone(),
            item,
            free_total: 0,
            waiting_total: 0,
            waiting_excluding: 0,
            cells: CowMap::default(),
            waiting: CowMap::default(),
        };
        let key = self.state.keys.push(record).ok_or_else(|| full("stock keys"))?;
        self.state.items[item].keys.push(key);
        Ok(key)
    }

    /// Changes a cell, made now when it is new; gives it as it stands after.
    pub(crate) fn change_cell(&mut self, key: u32, node: u32, change: impl FnOnce(&mut Cell)) -> Result<Cell, Stop> {
        let record = &mut self.state.keys[key];
        if record.cells.get(&node).is_none() {
            record.cells.insert(node, Cell::EMPTY);
        }
        let Some(cell) = record.cells.get_mut(&node) else {
            return Err(full("cells").into());
        };
        let before = *cell;
        change(cell);
        // I8: while less was returned or asked back than is owed, nothing stays free.
        let owed = cell.free().min(cell.deficit()).max(0);
        cell.returned += owed;
        debug_assert!(cell.free() >= 0, "I3: {cell:?} after {before:?}");
        let after = *cell;
        record.free_total += after.free() - before.free();
        if after.returned != before.returned && !self.returned.contains(&(key, node)) {
            self.returned.push((key, node));
        }
        for number in [i64::from(key), i64::from(node), after.free(), after.open, after.returned] {
            self.effects.extend_from_slice(&number.to_be_bytes());
        }
        if after.free() != before.free() {
            self.refresh_ready(key);
        }
        Ok(after)
    }
}
