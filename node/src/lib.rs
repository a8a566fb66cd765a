//! The shell of a node: the actor that owns a site's stock, its durable store, its links, its API and its command line.
//!
//! ```text
//!   gRPC ── parse ──┐                                   ┌──> store thread: one batch, one sync, marker
//!   links (pull) ───┼──> NodeActor ── Engine ── group ──┤
//!   pages of reads ─┘     (one writer)  (NodeState)     └──> then: answers leave, entries show to links (push)
//! ```
//!
//! An actor drains what waits, works all of it out on the [core](stockmesh_node_core)'s state, hands the group to the store's
//! own thread, and answers all of it once that is durable. Nothing leaves before: no answer, no feed entry.
//!
//! Must not be here: a decision about stock or rights. Those are the core's.
//!
//! Reading order: [`config`], [`store`], [`engine`], [`actor`], [`tail`], [`links`], [`grpc`], [`serve`], [`cli`].

pub mod actor;
pub mod cli;

pub mod config;
pub mod engine;
pub mod grpc;
pub mod links;
pub mod serve;
pub mod store;
pub mod tail;
