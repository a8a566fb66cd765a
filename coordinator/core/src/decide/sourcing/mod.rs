//! Sourcing: which node ships how many units of what, so that fewest units stay short and the total cost is least.
//!
//! ```text
//!   problem   needs, nodes, what is available, what it costs; prices any answer
//!   exact     branch and bound over sets of nodes, then over units: proven, for ordinary orders
//!   bounded   local search over sets of nodes with a stated effort: its gap to a lower bound is reported
//! ```
//!
//! Cost of a node that ships: handling per shipment + parcel fixed + per started kilogram of its parcel + weight x distance
//! + handling per unit. Short units don't trade against cost: every unit that can be had is taken.
//!
//! Must not know: orders, the state, where the numbers come from.

mod bounded;
mod exact;
mod problem;
#[cfg(test)]
mod tests;

pub(crate) use problem::{Answer, Cost, MICRO, Need, Problem, Shipper, Take, started_kg};

/// Needs up to which the exact search is tried.
const EXACT_NEEDS: usize = 8;
/// Nodes, after those are dropped that can't be in a better answer, up to which the exact search is tried.
const EXACT_NODES: usize = 14;

/// Solves a problem: to the proven optimum where it is of ordinary size.
pub(crate) fn solve(problem: &Problem) -> Answer {
    if problem.needs.iter().all(|need| need.take == 0) {
        return Answer { takes: Vec::new(), cost: 0, lower_bound: 0 };
    }
    let exact = if problem.needs.len() <= EXACT_NEEDS { exact::solve(problem, EXACT_NODES) } else { None };
    exact.unwrap_or_else(|| bounded::solve(problem))
}
