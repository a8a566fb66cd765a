//! The shell of a node: the actor that owns a site's stock, its durable store, its links, its API and its command line.
//!
//! ```text
//!   gRPC ── parse ──┐                                     ┌──> sync thread: one sync, marker
//!   links (pull) ───┼──> NodeActor ──> writer: Engine ────┤
//!   pages of reads ─┘    (mailbox)     (NodeState, store) └──> then: answers leave, entries show to links (push)
//! ```
//!
//! The writer drains what waits, works all of it out on the [core](stockmesh_node_core)'s state, writes it as one group, and the
//! group is answered once it is synced and marked. Nothing leaves before: no answer, no feed entry.
//!
//! Must not be here: a decision about stock or rights. Those are the core's.
//!
//! Reading order: [`config`], [`store`], [`engine`], [`writer`], [`actor`], [`tail`], [`links`], [`grpc`], [`serve`], [`cli`].

pub mod actor;
pub mod carrier;
pub mod cli;

pub mod config;
pub mod engine;
pub mod feed_pages;
pub mod grpc;
pub mod links;
pub mod paper;
pub mod serve;
pub mod store;
pub mod tail;
pub mod writer;
