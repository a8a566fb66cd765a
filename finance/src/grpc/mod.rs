//! gRPC: feeds come in, books are read.

mod feeds;
mod ledger;
mod wire;

pub use feeds::{Feeds, Sink};
pub use ledger::Ledger;

/// Services that health reports beside the whole.
pub const SERVICE_NAMES: [&str; 2] = ["stockmesh.feed.v1.FeedService", "stockmesh.finance.v1.LedgerService"];
