//! The `stockmesh-node` binary.

fn main() -> std::process::ExitCode {
    stockmesh_node::cli::main(std::env::args_os())
}
