//! The `stockmesh-sim` binary.

fn main() {}
