//! The `stockmesh-sim` binary: the simulator, and each service that it starts.

use std::process::ExitCode;

fn main() -> ExitCode {
    match stockmesh_sim::service_main(std::env::args_os()) {
        Some(code) => code,
        None => stockmesh_sim::cli::main(std::env::args_os()),
    }
}
