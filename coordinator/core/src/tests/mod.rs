//! Tests of the whole core: commands through `apply`, decisions through `decide`, nodes as naive models.

mod audit;
mod cancellation;
mod determinism;
mod facts;
mod golden;
mod group;
mod network;
mod node_model;
mod orders;
mod policy;
mod recovery;
mod rejects;
mod requests;
mod shortfalls;
pub(crate) mod world;
