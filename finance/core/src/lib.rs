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
//! - **Returns** are not estimated in this release. A return takes the units of the parcel that it names; without one, those of
//!   the shipment that was posted first.
//! - **Transfers** move at cost, between legal entities too. Units that left a node ahead of a transfer's receipt keep their
//!   provisional cost; what they turn out to have cost beyond it goes to the same account, and no further.
//! - **Epochs.** Facts of a node's new epoch wait until the coordinator says that it is open; facts of an old one that come
//!   behind its seal are set apart.
//! - **Not posted in this release:** goods of another owner, goods that come back or arrive where their cost is kept in another
//!   currency. Such facts stay in suspense, visible, with `NOT_IN_THIS_RELEASE`; nothing is guessed.

pub mod accounts;
pub mod books;
pub mod journal;
mod layers;
pub mod memory;
mod passages;
pub mod post;
pub mod records;
pub mod rules;
pub mod settings;
pub mod shelves;
pub mod suspense;

pub use books::{Balance, Books, Changes, Fault};
pub use journal::{Entry, LedgerHead, Posting, Source};
pub use layers::MAX_ESTIMATE_MINOR;
pub use post::PostError;
pub use settings::Settings;
