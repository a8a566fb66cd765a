//! The `stockmesh-node` binary.

fn main() {}
