//! The Stockmesh simulator: a whole network on one machine, played against a stream of orders.
//!
//! Reading order: [`streams`].

pub mod streams;
