//! The `stockmesh-coordinator` binary.

fn main() {}
