//! What the leader decides before it logs: where orders ship from, which waiting units are promised next.
//!
//! Runs at the leader only, on applied state plus an [`Overlay`] of its own decisions in flight. A decision is a
//! proposal: `apply` checks every promise again. Floats are allowed here (distances), and nowhere else.
//! Must not know: the log, who asked, how many replicas there are.

mod overlay;

pub use overlay::Overlay;
use stockmesh_proto::common::v1::Order;
use stockmesh_proto::raft::v1::{AllocateBackorders, CommitOrder, command};
use stockmesh_types::Reject;

use crate::State;

/// What to do with an order.
#[derive(Clone, Debug, PartialEq)]
pub enum OrderDecision {
    /// Log this.
    Commit(CommitOrder),
    /// It was placed before with the same body: answer with [`State::order`], log nothing.
    AlreadyPlaced,
}

/// Decides where an order ships from: fewest short units first, then least cost.
/// `order_hash` is the SHA-256 of the order as the client sent it; `incarnation` the one that the client named (0: none).
///
/// # Errors
/// [`stockmesh_types::Reason::OrderIdReused`], `UnknownItem`, `InsufficientRights` (an order that is all or nothing),
/// `TooManyCells`, `StaleIncarnation`, `GroupNotInitialized`. The shape was checked before: [`crate::validate::order`].
pub fn order(
    state: &State,
    overlay: &Overlay,
    order: &Order,
    order_hash: [u8; 32],
    incarnation: u32,
) -> Result<OrderDecision, Reject> {
    let _ = (state, overlay, order_hash, incarnation, order);
    Err(Reject::new(stockmesh_types::Reason::NotInThisRelease, "sourcing follows"))
}

/// Promises for waiting units, in queue order, for stock keys that have both free rights and waiting units; at most
/// `budget` promises (and 256). `None`: nothing to do now.
#[must_use]
pub fn backorders(state: &State, overlay: &Overlay, budget: usize) -> Option<AllocateBackorders> {
    let _ = (state, overlay, budget);
    None
}

/// The next step of work that goes on by itself: a shortfall that one entry could not work off, or waiting units that
/// can be promised. The leader calls it whenever [`State::backlog_nonempty`], proposes what it gives, adds it to the
/// overlay, and calls again once that is applied.
#[must_use]
pub fn next_step(state: &State, overlay: &Overlay, budget: usize) -> Option<command::Kind> {
    backorders(state, overlay, budget).map(command::Kind::AllocateBackorders)
}
