//! gRPC: feeds come in, books are read.

mod archive;
mod feeds;
mod heads;
mod ledger;
mod readers;
mod wire;

pub use archive::Archive;
pub use feeds::{Feeds, Sink};
pub use heads::Heads;
pub use ledger::Ledger;
pub use readers::Readers;

/// Services that health reports beside the whole.
pub const SERVICE_NAMES: [&str; 4] = [
    "stockmesh.feed.v1.FeedService",
    "stockmesh.finance.v1.LedgerService",
    "stockmesh.finance.v1.FeedArchiveService",
    "stockmesh.finance.v1.LedgerHeadService",
];
