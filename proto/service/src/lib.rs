//! What the shells of the services share: secure connections, callers, statuses, feed links, command lines.
//!
//! It knows the contract (`stockmesh-proto`) and the transport, and nothing of what any service does: no stock, no orders,
//! no books. Nothing here decides anything about business; a [`Reject`](stockmesh_types::Reject) passes through unchanged.
//!
//! ```text
//!   cli.rs of a service ── config, logging, output, page, request ── what people and configs say
//!          │
//!   shell of a service ─── server ── tls, principal, status ──────── requests come in
//!          │               client (Dialer, Cluster) ──────────────── requests go out
//!          └────────────── link (push, pull; both ends) ──────────── feeds, resumed from cursors
//! ```
//!
//! Reading order: [`tls`], [`principal`], [`status`], [`server`], [`client`], [`link`], then the small ones.

pub mod certs;
pub mod client;
pub mod config;
pub mod link;
pub mod logging;
pub mod output;
pub mod page;
pub mod principal;
pub mod request;
pub mod server;
pub mod status;
pub mod tls;

pub use client::{Cluster, DialError, Dialer};
pub use principal::Caller;
pub use tls::{Identity, Security, TlsError, TlsFiles};

/// Largest message that a server or client of ours takes or sends. Give it to every generated client and server:
/// `.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES)`.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
