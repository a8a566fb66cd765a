//! What is expected to arrive, who waits for it, and the documents about it.
//!
//! ```text
//!   documents   purchase orders, transfers, return authorisations, by name
//!   supplies    dated supply by stock key, earliest first: what claims are made on
//!   claims      the queue's claims on it (transition 12), worked out, never stored
//!   items       attributes of items, and which nodes are still to be told of a change
//!   incidents   exceptions that wait for a person
//! ```
//!
//! A claim is no record: the queue of a stock key lays claim to its supplies in commit order, earliest supply first, so
//! that a change of either side re-promises everybody at once and nothing can disagree.
//! Must not know: which command is at work.

mod claims;
mod documents;
mod incidents;
mod items;

use std::sync::Arc;

use stockmesh_proto::coordinator::v1::{NodeCapacity, PurchaseOrder, Refund, ReturnAuthorisation, Transfer};
use stockmesh_types::{BusinessDate, Quantity};

pub(crate) use documents::{Document, Documents};
pub(crate) use incidents::{Incident, Incidents, Subject};
pub(crate) use items::{Details, ItemBook};

use crate::cow::CowMap;

/// Open supplies of one stock key at most: every change of its queue walks them.
pub(crate) const MAX_SUPPLIES: usize = 64;
/// Days of labour that are kept of each node, the latest.
pub(crate) const MAX_DAYS: usize = 14;
/// Refunds of one order line at most.
pub(crate) const MAX_REFUNDS: usize = 64;
/// Order of ids of transfers among allocations: the allocation's order is `transfer/<id>`.
pub(crate) const TRANSFER_PREFIX: &str = "transfer/";
/// Expected receipts of purchase orders: `po/<id>`.
pub(crate) const PURCHASE_PREFIX: &str = "po/";
/// The day of a supply whose day is not known: after all others.
const NO_DAY: i64 = i64::MAX;

/// Where a supply stands in the order of claims: stock key, day, number of its document, line.
pub(crate) type SupplyKey = (u32, i64, u64, u32);

/// A line of a document that is still to arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SupplyRow {
    /// Node that it arrives at.
    pub node: u32,
    /// It comes from another node.
    pub transfer: bool,
    /// Base units still to arrive, above 0.
    pub remaining: Quantity,
    /// Base units of them that the queue lays claim to, as the node was told.
    pub claimed: Quantity,
}

/// Refunds of one order line.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LineRefunds {
    /// Base units refunded after they came back.
    pub with_return: Quantity,
    /// Base units refunded that the customer keeps.
    pub without_return: Quantity,
    /// Refunded in all.
    pub minor: i64,
    /// At most [`MAX_REFUNDS`].
    pub refunds: Vec<Refund>,
}

/// Everything that this module keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct SupplyState {
    /// Number of the next document.
    pub next_document: u64,
    pub purchase_orders: Documents<PurchaseOrder>,
    pub transfers: Documents<Transfer>,
    pub authorisations: Documents<ReturnAuthorisation>,
    /// Transfers whose units are promised: by dense index of the order that stands for them. As long-lived as orders are.
    pub transfer_orders: CowMap<u32, u64, 64>,
    /// The other way round.
    order_of_transfer: CowMap<u64, u32, 64>,
    /// Worked out from open documents.
    pub supplies: CowMap<SupplyKey, SupplyRow, 64>,
    /// Open documents by expected day, those that are late already left out: `(day, document)`.
    pub days: CowMap<(i64, u64), (), 64>,
    /// Base units of claims that have arrived and whose rights are still to come, or to be turned into allocations:
    /// by stock key and node.
    pub due: CowMap<(u32, u32), Quantity, 64>,
    /// By dense index of the order line. As long-lived as the line is.
    pub refunds: CowMap<u32, Arc<LineRefunds>, 64>,
    /// Refunds that customer service named, by their name: the dense index of their line.
    pub own_refunds: CowMap<Arc<str>, u32, 64>,
    /// Base units that open return authorisations let come back, by dense index of the order line. Worked out from them.
    pub authorised: CowMap<u32, Quantity, 64>,
    /// By node and day: at most [`MAX_DAYS`] for each node.
    pub capacities: CowMap<(u32, i64), Arc<NodeCapacity>, 64>,
    pub items: ItemBook,
    pub incidents: Incidents,
}

/// The day of a date; [`NO_DAY`] for an empty one and for one that can't be, which was refused before.
pub(crate) fn day_of(date: &str) -> i64 {
    BusinessDate::parse(date).map_or(NO_DAY, BusinessDate::days)
}

/// A day as a date; empty when it is not known.
pub(crate) fn date_of(day: i64) -> String {
    if day == NO_DAY { String::new() } else { BusinessDate::from_days(day).to_string() }
}

impl SupplyState {
    /// An order of the group's own stands for a transfer from now on.
    pub fn stand_for(&mut self, order: u32, transfer: u64) {
        self.transfer_orders.insert(order, transfer);
        self.order_of_transfer.insert(transfer, order);
    }

    /// The order that stands for a transfer; `None` for a draft.
    pub fn transfer_order(&self, transfer: u64) -> Option<u32> {
        self.order_of_transfer.get(&transfer).copied()
    }

    /// Changes how many units of a line open authorisations let come back.
    pub fn change_authorised(&mut self, line: u32, change: Quantity) {
        let now = self.authorised.get(&line).copied().unwrap_or(0) + change;
        if now > 0 {
            self.authorised.insert(line, now);
        } else {
            self.authorised.remove(&line);
        }
    }

    /// Days of labour of one node, the earliest first.
    pub fn capacities_of(&self, node: u32) -> impl Iterator<Item = &((u32, i64), Arc<NodeCapacity>)> {
        self.capacities.iter_from(&(node, i64::MIN)).take_while(move |((of, _), _)| *of == node)
    }
}
