//! Finance: turns the network's facts into double-entry books, and shows them.
//!
//! The core (`stockmesh-finance-core`) knows how facts post; this package gives it feeds, a file and an API.
//!
//! ```text
//!   nodes ── Push ──▶ grpc::Feeds ─┐                       ┌─ store (SQLite, one transaction per batch)
//!                                  ├─▶ writer (one thread) ┤      ▲
//!   coordinator ◀─ Pull ── serve ──┘    core: Books        │      │ snapshots
//!                                                          └──────┴── grpc::Ledger, export, CLI ──▶ people, tools
//! ```
//!
//! Reading order: [`config`], [`store`] (with `schema.sql`, made for accountants), [`signing`], [`writer`], [`fold`], [`grpc`],
//! [`export`], [`serve`], [`cli`].

pub mod cli;
pub mod config;
pub mod export;
pub mod fold;
pub mod grpc;
mod money;
pub mod serve;
pub mod signing;
pub mod store;
pub mod verify_heads;
pub mod writer;
