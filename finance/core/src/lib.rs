//! The pure core of finance: a fact in, balanced journal entries out.
//!
//! No I/O, no clock, no randomness. The books read records through a trait and give changes back, which the service writes in
//! one transaction with the cursors of the feeds: every fact posts exactly once, and the same arrival order gives the same
//! bytes.
//!
//! ```text
//!   feed entry --> post: which rule, which units --> layers: at which cost --+
//!                    |  (suspense: waits for a partner)                     |
//!                    +--> rules: which accounts --> books: entry, balances, chain --> Changes --> store
//! ```
//!
//! Reading order: [`accounts`] (chart, as data), [`rules`] (posting rules, as data), [`journal`] (entries and their hash
//! chain), [`records`] (what is remembered), [`suspense`], [`books`], `layers` (valuation), [`post`] (one file for each kind of fact).
//!
//! What is decided here, and stated:
//!
//! - **Entities.** A node's stock is in the books of its legal entity, which is the seller of what the node ships or sells.
//!   Deposits of prepaid orders are held by the entity that the settings name for their channel, or for all, else that of the
//!   first node that the coordinator registered; what it owes to another seller goes through `Assets:Intercompany`.
//! - **Splits.** Units of a line are shipped from its bottom, cancelled from its top, returned from its bottom; amounts follow
//!   by `share`, each by itself. When nothing is left, the parts add up to the line, to the minor unit.
//! - **Dates.** An order's entries take effect on the UTC date on which it was placed, a counter sale's on the UTC date on
//!   which it was sold, all others on the writer's business date. The posting date is the writer's business date.
//! - **Cost** is first in, first out per node and stock key, in one currency per cell. See `layers`.
//! - **Returns** are not estimated in this release. A return names a line, not a parcel: when units of one line left from
//!   several nodes at different costs, the shipment that was posted first is taken back first.
//! - **Not posted in this release:** goods of another owner, dispositions but resale and write-off, returns across
//!   currencies of cost. Such facts stay in suspense, visible, with `NOT_IN_THIS_RELEASE`; nothing is guessed.

pub mod accounts;
pub mod books;
pub mod journal;
mod layers;
pub mod memory;
pub mod post;
pub mod records;
pub mod rules;
pub mod settings;
pub mod suspense;

pub use books::{Balance, Books, Changes, Fault};
pub use journal::{Entry, LedgerHead, Posting, Source};
pub use layers::MAX_ESTIMATE_MINOR;
pub use post::PostError;
pub use settings::Settings;
