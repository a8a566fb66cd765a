//! What the network acknowledged to the simulator: the evidence that is independent of the network's own memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::streams::StreamOrder;

/// An order that was acknowledged.
#[derive(Clone, Debug)]
pub struct AcknowledgedOrder {
    /// The order as it was sent.
    pub order: StreamOrder,
    /// Since the start of the run, microseconds.
    pub at_us: u64,
    /// From the intended start to the answer, microseconds.
    pub latency_us: u64,
    /// Nodes that ship it, by the first answer.
    pub nodes: usize,
    /// Lines with units of more than one node.
    pub split_lines: usize,
    /// Lines with units that no node could promise at once.
    pub short_lines: usize,
    /// Units that no node could promise at once.
    pub short_units: i64,
}

/// A counter sale that was acknowledged.
#[derive(Clone, Debug)]
pub struct AcknowledgedSale {
    /// Node.
    pub node: String,
    /// Place of the event in the stream.
    pub event: usize,
}

/// A return that was taken.
#[derive(Clone, Debug)]
pub struct AcknowledgedReturn {
    /// Place in the stream's returns.
    pub planned: usize,
    /// Node.
    pub node: String,
    /// Units: those planned, as far as they had shipped.
    pub quantity: i64,
    /// Put back to stock, or written off.
    pub resale: bool,
}

/// Everything that was acknowledged.
#[derive(Debug, Default)]
pub struct Acks {
    /// Orders, in the order of their answers.
    pub orders: Vec<AcknowledgedOrder>,
    /// Orders that were refused, with the reason.
    pub refused_orders: Vec<(String, String)>,
    /// Counter sales by till document.
    pub sales: BTreeMap<String, AcknowledgedSale>,
    /// Counter sales that the store had no retained stock for, and were ordered instead.
    pub sales_ordered_instead: u64,
    /// Units received, by node and item.
    pub received: BTreeMap<(String, String), i64>,
    /// Cost of them, minor units.
    pub received_cost_minor: i64,
    /// Receipts.
    pub receipts: u64,
    /// Shipments.
    pub shipments: u64,
    /// Shipments that left part of their task for later.
    pub partial_shipments: u64,
    /// Units shipped.
    pub shipped_units: i64,
    /// Tasks picked and packed step by step.
    pub picked_and_packed: u64,
    /// Units declined, by reason.
    pub declined_units: BTreeMap<&'static str, i64>,
    /// Declines.
    pub declines: u64,
    /// Work that a cancellation had overtaken.
    pub overtaken: u64,
    /// Work that a node could not do because fewer units were there than it was asked for: what a double promise looks like
    /// to the people at the shelf.
    pub short_on_hand: u64,
    /// Units cancelled at customers' wish, as answered: at once, asked of nodes.
    pub cancellations: u64,
    /// Cancellations for which it was too late.
    pub cancelled_too_late: u64,
    /// Orders whose waiting units were cancelled at the end.
    pub given_up_orders: u64,
    /// Returns.
    pub returns: Vec<AcknowledgedReturn>,
    /// Returns for which nothing had shipped.
    pub returns_not_shipped: u64,
    /// What happened, for the chart: microseconds since the start, and what.
    pub marks: Vec<(u64, String)>,
}

/// Acknowledgements shared by the tasks of a run.
#[derive(Debug)]
pub struct AckBook {
    start: Instant,
    acks: Mutex<Acks>,
}

impl AckBook {
    /// Empty; the run starts now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now(), acks: Mutex::default() }
    }

    /// Since the start, microseconds.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The acknowledgements. Never held over an await.
    pub fn lock(&self) -> MutexGuard<'_, Acks> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a moment.
    pub fn mark(&self, what: impl Into<String>) {
        let at_us = self.now_us();
        self.lock().marks.push((at_us, what.into()));
    }

    /// The acknowledgements, when every task is done.
    #[must_use]
    pub fn take(&self) -> Acks {
        std::mem::take(&mut self.lock())
    }
}

impl Default for AckBook {
    fn default() -> Self {
        Self::new()
    }
}
