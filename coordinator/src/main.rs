//! The `stockmesh-coordinator` binary.

fn main() -> std::process::ExitCode {
    stockmesh_coordinator::cli::main(std::env::args_os())
}
