//! The coordinator's shell: the replica and its driver, the log on disk, the feeds, gRPC, and the command line.
//!
//! ```text
//!   cli ── grpc (handlers, forwarding, feeds) ── driver ── replica (sans-I/O Raft)
//!               │                                  │  └── storage (log, snapshots)
//!               └── transport (peers)              └── machine (coordinator core) ── outbox (our feeds)
//! ```
//!
//! Business is decided in `stockmesh-coordinator-core`; nothing here knows what an order means.
//!
//! Reading order: [`replica`], [`storage`], [`outbox`], [`machine`], [`driver`], [`transport`], [`grpc`], [`serve`].

pub mod changes;
pub mod cli;
pub mod config;
pub mod driver;
pub mod exchange;
pub mod fault;
pub mod grpc;
pub mod machine;
pub mod outbox;
pub mod replica;
pub mod serve;
pub mod storage;
pub mod transport;
