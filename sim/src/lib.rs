//! The Stockmesh simulator: a whole network of real processes on one machine, played against a stream of orders, with
//! parts of it killed, and judged by checks that compare what it says with what it had acknowledged.
//!
//! ```text
//!   streams ── orders of real retailers, or generated in their shape (pure)
//!      │
//!   network ── certificates, ports, processes, clients        service: this program as one of the services
//!      │
//!   demo ───── set-up, customers, nodes' people, faults, aftermath; what was acknowledged
//!      │
//!   checks ─── one guarantee to a file, over the evidence     report: summary, page, JSON
//!
//!   bench ──── a coordinator group under load: orders a second, latency
//! ```
//!
//! Reading order: [`streams`], [`network`], [`demo`], [`checks`], [`report`]. Tests that need a network use
//! [`network::Network`]; nothing of the product imports this package.

pub mod bench;
pub mod checks;
pub mod cli;
pub mod demo;
pub mod network;
pub mod report;
pub mod service;
pub mod streams;

pub use service::{SERVICE_ARGUMENT, service_main};
