//! Tests of the whole core: commands through `apply`, decisions through `decide`, nodes as naive models.

mod audit;
mod cancellation;
mod determinism;
mod facts;
mod golden;
mod group;
mod items;
mod network;
mod node_model;
mod orders;
mod policy;
mod recovery;
mod refunds;
mod rejects;
mod requests;
mod shortfalls;
mod supply;
mod supply_random;
mod transfers;
pub(crate) mod world;
