//! This program as one of the services: what a network's processes run.

use std::ffi::OsString;
use std::process::ExitCode;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// First argument that makes this program a service: `stockmesh-sim service node serve --config node.toml`.
pub const SERVICE_ARGUMENT: &str = "service";

/// Runs a service when the arguments ask for one; `None`: they don't, and the program is to go on as itself.
///
/// Any program may call this first in its `main`, and then be the `program` of [`crate::network::NetworkOptions`].
#[must_use]
pub fn service_main(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    if args.next()? != SERVICE_ARGUMENT {
        return None;
    }
    // A service of a simulated network has no reason to outlive the simulator, however that ends.
    if let Err(errno) = set_pdeathsig(Signal::SIGKILL) {
        eprintln!("error: the end of the simulator can't be followed ({errno})");
        return Some(ExitCode::FAILURE);
    }
    let kind = args.next().unwrap_or_default();
    let of = |name: &str| [OsString::from(name)].into_iter().chain(args);
    Some(match kind.to_str() {
        Some("coordinator") => stockmesh_coordinator::cli::main(of("stockmesh-coordinator")),
        Some("node") => stockmesh_node::cli::main(of("stockmesh-node")),
        Some("finance") => stockmesh_finance::cli::main(of("stockmesh-finance")),
        _ => {
            eprintln!("error: {kind:?} is no service: give coordinator, node or finance");
            ExitCode::from(2)
        }
    })
}
