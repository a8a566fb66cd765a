//! The whole in real processes: three coordinator replicas, two nodes and finance, over mTLS on loopback.
//!
//! The tests see what a client sees: gRPC, and processes that they kill. They know nothing of how a service works inside.

mod contract;
mod doors;
mod kills;
mod repeats;
mod walk;
mod world;
