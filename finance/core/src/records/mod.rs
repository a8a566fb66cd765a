//! What the books remember between facts: nodes, sales and their lines, stock and its cost layers, issues, returns,
//! business documents, and facts that wait.
//!
//! Records are values. Where they are kept is the business of whoever implements [`Records`]; changes come back as
//! [`crate::books::Changes`], to be written together with the entries that they belong to.

mod custody;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use stockmesh_types::{Currency, FeedId, ItemId, LegalEntity, NodeId, StockKey};

use crate::accounts::Role;
use crate::journal::LedgerHead;
pub use crate::suspense::{Stage, Suspended};
pub use custody::*;

/// An epoch of a node that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Which.
    pub epoch: u64,
    /// Its last entry.
    pub seq: u64,
    /// The last of its entries that somebody has: what is behind it is lost.
    pub expected_seq: u64,
}

/// A node, as registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Whose books its stock is in.
    pub entity: LegalEntity,
    /// Life of its history that is open.
    #[serde(default = "first_epoch")]
    pub epoch: u64,
    /// Lives before it, as many as the node was restored.
    #[serde(default)]
    pub sealed: Vec<Sealed>,
}

fn first_epoch() -> u64 {
    1
}

/// A tax of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tax {
    /// Who levies it.
    pub jurisdiction: String,
    /// Due on prepayments too.
    pub vat: bool,
    /// Rate, parts per million.
    pub rate_ppm: u32,
    /// Minor units.
    pub tax_minor: i64,
}

/// Prices of a quantity of goods, minor units, tax excluded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Before discounts.
    pub sales_minor: i64,
    /// Granted by the retailer.
    pub discount_minor: i64,
    /// Paid by a manufacturer.
    pub coupon_minor: i64,
    /// Taxes.
    pub taxes: Vec<Tax>,
}

/// A sale: an order (`order:<id>`) or a till document (`sale:<node>:<id>`).
pub type SaleId = String;

/// Names the id of an order's sale.
#[must_use]
pub fn order_key(order_id: &str) -> SaleId {
    format!("order:{order_id}")
}

/// Names the id of a till document's sale.
#[must_use]
pub fn counter_key(node: &str, sale_id: &str) -> SaleId {
    format!("sale:{node}:{sale_id}")
}

/// What a document key names, as people say it: `order O1`, `counter sale C1 at st-1`, `receipt R1 at dc-1`.
#[must_use]
pub fn spoken(key: &str) -> String {
    let (kind, rest) = key.split_once(':').unwrap_or((key, ""));
    match (kind, rest.split_once(':')) {
        ("order", _) | (_, None) => format!("{kind} {rest}"),
        ("sale", Some((node, id))) => format!("counter sale {id} at {node}"),
        ("passage", Some((kind, rest))) => {
            let (node, id) = rest.split_once(':').unwrap_or((rest, ""));
            let id = id.rsplit_once(':').map_or(id, |(id, _)| id);
            format!("{kind} {id} at {node}")
        }
        ("decline", Some((node, id))) => {
            let allocation = id.rsplit_once(':').map_or(id, |(allocation, _)| allocation);
            format!("decline of allocation {allocation} at {node}")
        }
        (_, Some((node, id))) => format!("{kind} {id} at {node}"),
    }
}

/// How a sale is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Settlement {
    /// Captured when the order was placed.
    Deposit,
    /// Captured when goods leave.
    Psp,
    /// Invoiced.
    Receivable,
    /// At a counter.
    Cash,
    /// At a counter.
    Card,
}

impl Settlement {
    /// Its account.
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Self::Deposit => Role::CustomerDeposits,
            Self::Psp => Role::PspClearing,
            Self::Receivable => Role::AccountsReceivable,
            Self::Cash => Role::CashClearing,
            Self::Card => Role::CardClearing,
        }
    }
}

/// Head of a sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sale {
    /// Entity that holds the deposit (orders), or sold (counter).
    pub entity: LegalEntity,
    /// Channel.
    pub channel: String,
    /// Currency of its prices.
    pub currency: Currency,
    /// How it is paid.
    pub settlement: Settlement,
    /// Numbers of its lines.
    pub lines: Vec<u32>,
}

/// Units of a line that left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supply {
    /// The issue that took them from stock.
    pub issue: IssueId,
    /// Units.
    pub quantity: i64,
    /// Units of those that came back, from the first on.
    #[serde(default)]
    pub returned: i64,
}

/// A line of a sale.
///
/// Its units are numbered `0..quantity`. Supplies take them from the bottom in the order in which they are posted,
/// cancellations from the top: what has been shipped, and what cancelled, then has the same amounts in whatever order the
/// facts arrive, and both add up to the line when nothing is left. Refunds take the amounts of units from the bottom, however
/// many supplies there were; the goods of a return are those of the parcel that it names, or of the first ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaleLine {
    /// What was sold.
    pub stock_key: StockKey,
    /// Units ordered.
    pub quantity: i64,
    /// Price of all of them.
    pub price: Price,
    /// Units supplied, with revenue posted.
    pub shipped: i64,
    /// Units that will not be supplied.
    pub cancelled: i64,
    /// Units that came back.
    pub returned: i64,
    /// Supplies, in the order posted.
    pub supplies: Vec<Supply>,
}

impl SaleLine {
    /// Says at the supplies what came back, where an earlier release said it at the line only: from the first supply on.
    pub fn place_returns(&mut self) {
        let mut left = self.returned - self.supplies.iter().map(|supply| supply.returned).sum::<i64>();
        for supply in &mut self.supplies {
            let units = left.clamp(0, supply.quantity - supply.returned);
            supply.returned += units;
            left -= units;
        }
    }
}

/// Stock of one stock key at one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CellKey {
    /// Node.
    pub node: NodeId,
    /// Stock key.
    pub stock_key: StockKey,
}

impl CellKey {
    /// Item.
    #[must_use]
    pub fn item(&self) -> &ItemId {
        &self.stock_key.item
    }
}

/// A number of units at a cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitCost {
    /// Units.
    pub quantity: i64,
    /// Their cost, minor units.
    pub value_minor: i64,
}

/// Units of an issue that took from a layer whose value is not settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taker {
    /// Issue.
    pub issue: IssueId,
    /// First of its units.
    pub from: i64,
    /// End of its units.
    pub to: i64,
    /// The layer's unit that its unit `from` is.
    pub at: i64,
    /// Cost posted so far, of units that left before this layer came and whose own cost is final: what the layer turns out to
    /// be worth beyond it goes to what took them, and no further. None: the issue's cost follows the layer.
    #[serde(default)]
    pub posted_minor: Option<i64>,
}

/// Units that arrived together, at one cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Number within the cell, from 1: the FIFO key, given in the order of the node's feed.
    pub number: u64,
    /// Units that arrived.
    pub quantity: i64,
    /// Cost of all of them, minor units.
    pub value_minor: i64,
    /// Units that left, from the first on.
    pub taken: i64,
    /// Whether the value is final. It is not, while goods came back whose original cost is not known.
    pub settled: bool,
    /// Who took from it while it is not settled.
    pub takers: Vec<Taker>,
}

/// Units that left before their receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreceived {
    /// Issue.
    pub issue: IssueId,
    /// First of its units.
    pub from: i64,
    /// End of its units.
    pub to: i64,
    /// Provisional cost posted, minor units.
    pub value_minor: i64,
}

/// Cost layers of one cell, first in, first out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Currency of its costs; set by the first of them.
    pub currency: Option<Currency>,
    /// Number of the next layer, less 1.
    pub last_layer: u64,
    /// Layers with units left, or not settled; oldest first.
    pub layers: VecDeque<Layer>,
    /// Cost of the last receipt: what units are valued at that are found, or sold ahead of their receipt.
    pub last_cost: Option<UnitCost>,
    /// Units that left before their receipt, oldest first.
    pub unreceived: VecDeque<Unreceived>,
    /// Units in layers.
    pub quantity: i64,
    /// Value of those, minor units.
    pub value_minor: i64,
    /// Units that came back and are not inspected.
    pub pending_quantity: i64,
    /// Value of those, minor units.
    pub pending_value_minor: i64,
    /// Units that are held in receiving.
    #[serde(default)]
    pub held_quantity: i64,
    /// Value of those, minor units.
    #[serde(default)]
    pub held_value_minor: i64,
    /// Units that came back and wait to be refurbished, sold off, or sent back.
    #[serde(default)]
    pub set_aside_quantity: i64,
    /// What those are carried at, minor units.
    #[serde(default)]
    pub set_aside_value_minor: i64,
}

/// One taking of units from stock: a shipment's or counter sale's line, a loss. `<document>:<n>`.
pub type IssueId = String;

/// What an issue debits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expense {
    /// Sold.
    CostOfGoodsSold,
    /// Lost.
    Shrinkage,
    /// Sent to another node.
    InTransit,
    /// Taken to become other goods.
    Conversion,
    /// Written off.
    WriteOff,
    /// Used by the node itself.
    InternalUse,
}

impl Expense {
    /// Its account.
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Self::CostOfGoodsSold => Role::CostOfGoodsSold,
            Self::Shrinkage => Role::Shrinkage,
            Self::InTransit => Role::InTransit,
            Self::Conversion => Role::Conversion,
            Self::WriteOff => Role::WriteOff,
            Self::InternalUse => Role::InternalUse,
        }
    }
}

/// Consecutive units of an issue with one cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuePart {
    /// Units.
    pub quantity: i64,
    /// Cost, minor units.
    pub value_minor: i64,
    /// Whether it is final.
    pub settled: bool,
}

/// Units taken from stock, with the cost at which they left: what returns come back at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// Node that they left.
    pub node: NodeId,
    /// Entity of that node.
    pub entity: LegalEntity,
    /// Stock key.
    pub stock_key: StockKey,
    /// Currency of the cost; none while no cost is known.
    pub currency: Option<Currency>,
    /// What is debited.
    pub expense: Expense,
    /// Order or till document; may be empty.
    pub order_id: String,
    /// Sales channel; empty while the order is not known, and for losses.
    pub channel: String,
    /// Lane, of goods that left for another node; empty: none.
    #[serde(default)]
    pub lane: String,
    /// Parts, in the order of units.
    pub parts: Vec<IssuePart>,
    /// Returns and passages that wait for this issue's cost to be settled.
    pub open_returns: Vec<ReturnId>,
}

/// What the books are at, besides records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Last entry.
    pub head: LedgerHead,
    /// Entity of the first node that was registered: it holds deposits, unless the settings name another.
    pub first_entity: Option<LegalEntity>,
    /// Number of the last suspended fact.
    pub last_suspense: u64,
    /// Facts in suspense now.
    pub suspended: u64,
}

impl Default for Meta {
    fn default() -> Self {
        Self { head: LedgerHead::START, first_entity: None, last_suspense: 0, suspended: 0 }
    }
}

/// Where records are kept, as of the last changes that were written.
pub trait Records {
    /// An I/O error or damage: a fault.
    type Error: std::error::Error + Send + Sync + 'static;

    /// What the books are at.
    fn meta(&self) -> Result<Meta, Self::Error>;
    /// A node.
    fn node(&self, node: &NodeId) -> Result<Option<Node>, Self::Error>;
    /// A sale.
    fn sale(&self, id: &SaleId) -> Result<Option<Sale>, Self::Error>;
    /// A line of one.
    fn sale_line(&self, id: &(SaleId, u32)) -> Result<Option<SaleLine>, Self::Error>;
    /// A cell's layers.
    fn cell(&self, key: &CellKey) -> Result<Option<Cell>, Self::Error>;
    /// An issue.
    fn issue(&self, id: &IssueId) -> Result<Option<Issue>, Self::Error>;
    /// A passage.
    fn passage(&self, id: &PassageId) -> Result<Option<Passage>, Self::Error>;
    /// What was sent on a line of a transfer.
    fn transit(&self, id: &TransitId) -> Result<Option<Transit>, Self::Error>;
    /// Goods held in receiving.
    fn held(&self, id: &HeldId) -> Result<Option<Held>, Self::Error>;
    /// Last entry of a feed that took effect; 0: none.
    fn feed_seq(&self, feed: &FeedId) -> Result<u64, Self::Error>;
    /// A return.
    fn return_of(&self, id: &ReturnId) -> Result<Option<Return>, Self::Error>;
    /// Fingerprint of the document with this business key.
    fn document(&self, key: &str) -> Result<Option<[u8; 32]>, Self::Error>;
    /// The first suspended fact after `after` that waits for `key`.
    fn waiting(&self, key: &str, after: u64) -> Result<Option<Suspended>, Self::Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_do_not_read_keys() {
        for (key, text) in [
            (order_key("536378"), "order 536378"),
            (order_key("2026:7"), "order 2026:7"),
            (counter_key("st-1", "C1"), "counter sale C1 at st-1"),
            (return_key("dc-1", "C536379-3"), "return C536379-3 at dc-1"),
            ("receipt:dc-1:R:1".to_owned(), "receipt R:1 at dc-1"),
            ("adjustment:dc-1:A1".to_owned(), "adjustment A1 at dc-1"),
            (passage_key("void", "st-1", "V:1", 0), "void V:1 at st-1"),
            ("decline:dc-1:k1-9-0:2".to_owned(), "decline of allocation k1-9-0 at dc-1"),
        ] {
            assert_eq!(spoken(&key), text);
        }
    }
}
