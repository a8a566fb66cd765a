//! The `stockmesh-finance` binary.

fn main() -> std::process::ExitCode {
    stockmesh_finance::cli::main(std::env::args_os())
}
