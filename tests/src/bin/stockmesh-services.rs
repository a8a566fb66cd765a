//! All services in one program, so that the tests here can start each as a process of its own: they are the services' real entry
//! points, which the binaries of the services call as well.

use std::process::ExitCode;

fn main() -> ExitCode {
    stockmesh_sim::service_main(std::env::args_os()).unwrap_or_else(|| {
        eprintln!(
            "error: this program only runs services: give `service coordinator|node|finance serve --config FILE`"
        );
        ExitCode::from(2)
    })
}
