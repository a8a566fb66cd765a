//! Promise rights at the coordinator: what happens to a cell, its allocations and its queue, whatever the command.
//!
//! `cell` keeps the counters and absorbs what a shortfall is owed; `allocations` opens, ships and settles; `shortfall`
//! asks promises back; `queue` holds units that wait. Transitions and invariants are numbered as in the specification.
//! Must not know: which command is at work.

mod allocations;
mod cell;
mod queue;
mod shortfall;

pub(crate) use allocations::{Cancelled, NewAllocation};
pub(crate) use cell::{MAX_KEYS, MAX_KEYS_BY_ORDERS};
