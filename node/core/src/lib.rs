//! The pure core of a node: its stock, its work, its promise rights.
//!
//! ```text
//!   Command + Context ──> NodeState::handle ──> Effects { changes, entries, answer }
//!                              │                    │
//!                       a Draft over the      one durable batch,
//!                       present state         then the answer
//! ```
//!
//! A command is worked out on a [`Draft`](draft) over the present state: a reject leaves nothing behind. What it changed comes
//! back as data ([`Effects`]): typed key values and feed entries that must become durable together, before the
//! answer leaves. [`NodeState::absorb`] takes the same key values when a store is opened, so that a restart is a replay of
//! what was written and nothing else.
//!
//! Must never be here: a clock, randomness, I/O, hash maps, floats. Time and principals are passed in.
//!
//! Reading order: [`cell`], [`allocation`], [`draft`], [`command`], [`requests`], [`site`], [`state`], [`archive`],
//! [`keys`], [`change`], [`fold`].

pub mod allocation;
pub mod archive;
pub mod cell;
pub mod change;
pub mod command;
pub mod documents;
mod draft;
pub mod effects;
pub mod fold;
pub mod keys;
pub mod movements;
pub mod outbound;
pub mod policy;
pub mod requests;
pub mod site;
pub mod state;
pub mod views;

pub use allocation::Allocation;
pub use archive::Archive;
pub use cell::Cell;
pub use change::{Change, CorruptValue, Document, DocumentKind, Item, Meta};
pub use command::Command;
pub use effects::{Answer, Context, Effects, RequestStamp};
pub use fold::{Fold, FoldError};
pub use keys::Key;
pub use outbound::Rules;
pub use policy::{GrantPolicy, PolicyScope, SetPolicy};
pub use requests::BodyHash;
pub use state::{Identity, NodeState};
