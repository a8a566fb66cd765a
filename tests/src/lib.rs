//! What the tests of the whole share: the work tree's files, and what they import.
//!
//! Must not know: how a service works inside. Tests here see files, processes and gRPC.

pub mod tree;
