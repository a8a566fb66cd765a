//! What the leader decides before it logs: where orders ship from, which waiting units are promised next.
//!
//! Runs at the leader only, on applied state plus an [`Overlay`] of its own decisions in flight. A decision is a
//! proposal: `apply` checks every promise again. Floats are allowed here (distances), and nowhere else.
//! Must not know: the log, who asked, how many replicas there are.

mod atlas;
mod backorders;
mod candidates;
mod distance;
#[cfg(test)]
mod nearness_tests;
mod order;
mod overlay;
mod sourcing;
mod substitutes;

pub use backorders::backorders;
pub use order::{OrderDecision, order, quote};
pub use overlay::Overlay;
use stockmesh_proto::raft::v1::{AnnounceItems, ContinueWork, FindLateSupply, WorkOffShortfalls, command};
pub use substitutes::substitutes;

use crate::State;
use crate::apply::MAX_ASKED;
use crate::apply::update_items::MAX_TOLD;

/// The next step of work that goes on by itself: a shortfall that one entry could not work off, or waiting units that
/// can be promised (at most `budget` promises).
///
/// The leader calls it whenever [`State::backlog_nonempty`], proposes what it gives, adds it to the overlay, and calls
/// again once that is applied. `None`: nothing to do until something else was applied.
#[must_use]
pub fn next_step(state: &State, overlay: &Overlay, budget: usize) -> Option<command::Kind> {
    if !state.shortfalls.is_empty() {
        return Some(command::Kind::WorkOffShortfalls(WorkOffShortfalls { limit: MAX_ASKED }));
    }
    if !state.recovery.works.is_empty() {
        return Some(command::Kind::ContinueWork(ContinueWork { limit: MAX_ASKED }));
    }
    // Those whose promise is broken were promised before those who wait.
    if let Some(step) = substitutes(state, overlay, budget) {
        return Some(command::Kind::ReserveSubstitutes(step));
    }
    if let Some(step) = backorders(state, overlay, budget) {
        return Some(command::Kind::AllocateBackorders(step));
    }
    if state.has_late_supply() {
        return Some(command::Kind::FindLateSupply(FindLateSupply { limit: MAX_ASKED }));
    }
    let tell = !state.supply.items.to_tell.is_empty();
    tell.then_some(command::Kind::AnnounceItems(AnnounceItems { limit: MAX_TOLD }))
}
