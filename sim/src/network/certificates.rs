//! Certificates of a network's processes and of the simulator itself, from a development CA of its own.

use std::path::Path;

use stockmesh_service::certs::{CertsError, DevCa};
use stockmesh_types::{Principal, PrincipalKind};

use super::layout::Layout;
use super::{FINANCE, GROUP, REPLICAS};

/// Name of the simulator's own certificate.
pub const SIMULATOR: &str = "simulator";
/// Name of the certificate with which the checks read the heads of feeds, as their consumer would.
pub const AUDITOR: &str = "auditor";

fn principal(kind: PrincipalKind, id: &str) -> Principal {
    Principal { kind, id: id.to_owned() }
}

/// Makes the CA and a certificate for each process, named like it.
///
/// # Errors
/// See [`CertsError`].
pub fn issue(dir: &Path, layout: &Layout) -> Result<DevCa, CertsError> {
    let ca = DevCa::init(dir)?;
    for replica in 1..=REPLICAS {
        let name = super::config::replica_name(replica);
        ca.issue(&name, &[principal(PrincipalKind::Coordinator, &GROUP.to_string())], &[])?;
    }
    for (host, nodes) in layout.processes() {
        let hosted: Vec<_> = nodes.iter().map(|node| principal(PrincipalKind::Node, &node.node)).collect();
        ca.issue(&super::config::node_process_name(&host), &hosted, &[])?;
    }
    let finance = principal(PrincipalKind::Finance, FINANCE);
    ca.issue(super::config::FINANCE_PROCESS, std::slice::from_ref(&finance), &[])?;
    ca.issue(AUDITOR, &[finance], &[])?;
    ca.issue(
        SIMULATOR,
        &[principal(PrincipalKind::System, "simulator"), principal(PrincipalKind::User, "simulator")],
        &[],
    )?;
    Ok(ca)
}
