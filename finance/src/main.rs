//! The `stockmesh-finance` binary.

fn main() {}
