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
use crate::recovery::Marks;
use crate::state::full;

/// Stock keys of one item at most: they are searched one by one.
pub(crate) const MAX_KEYS: usize = 1_000;

/// Stock keys of one item that orders bring at most. The rest is left to what nodes grant: orders for owners and classes
/// that nobody has can't bring a node's feed to a halt.
pub(crate) const MAX_KEYS_BY_ORDERS: usize = 800;

impl State {
    /// Whether an item may have `new` more stock keys.
    pub(crate) fn check_new_keys(&self, item: u32, new: usize, limit: usize) -> Result<(), Reject> {
        let record = &self.items[item];
        if record.keys.len() + new <= limit {
            return Ok(());
        }
        let message = format!(
            "item {} has {} stock keys, and would have more than {limit}: name one that is known",
            record.id,
            record.keys.len()
        );
        Err(Reject::new(Reason::TooManyStockKeys, message))
    }

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
    /// The dense index of a stock key, made now when it is new, which [`State::check_new_keys`] has allowed.
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

    /// Notes that the availability of a stock key changed.
    pub(crate) fn touch(&mut self, key: u32) {
        if self.applied.touched.last() != Some(&key) {
            self.applied.touched.push(key);
        }
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
        let Marks { life, gone } = self.state.nodes[node].marks;
        *cell = cell.restamped(life);
        let before = *cell;
        change(cell);
        // I8: while less was returned or asked back than is owed, nothing stays free. A lost node keeps nothing here.
        let owed = if gone { cell.free().max(0) } else { cell.free().min(cell.deficit()).max(0) };
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
            self.touch(key);
            self.refresh_ready(key);
        }
        Ok(after)
    }
}
