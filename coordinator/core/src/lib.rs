//! The pure core of the coordinator: the replicated state, what changes it, and what the leader decides.
//!
//! ```text
//!   request --validate--> decide (leader: state + overlay) --> command --> Raft log
//!                                                                            |
//!   answer, emitted feed entries <-- apply (every replica: checks rights, bounded cells, integers only)
//!                                                                            |
//!                                        read, snapshot <-- state (copy on write)
//! ```
//!
//! The law: no unit is promised again until the node that may ship it has said durably that it will not.
//! The design page on promise rights is the specification of the rights; the numbers of its transitions and invariants
//! stand in comments.
//!
//! Here is no clock, no randomness, no I/O, and no float outside [`decide`]: the same log gives the same bytes.
//!
//! Reading order: [`State`], `records`, `rights`, `recovery`, `apply` (one command, one file), [`decide`], [`snapshot`].

mod answer;
mod apply;
mod cow;
pub mod decide;
mod read;
mod read_supply;
mod records;
mod recovery;
mod rights;
pub mod snapshot;
mod state;
mod supply;
#[cfg(test)]
mod tests;
pub mod validate;

pub use answer::{Answer, Applied, Emitted, Fault, Notice};
pub use apply::required_feature_level;
pub use read::{OrderTotals, Page};
pub use read_supply::{ExceptionFilter, PurchaseOrderFilter, TransferFilter};
pub use recovery::WelcomePage;
pub use snapshot::{Snapshot, SnapshotChunk, SnapshotError};
pub use state::{Counters, FeedStanding, State};
