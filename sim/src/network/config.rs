//! The TOML files that the services start from, and the plan of processes behind them.

use std::path::{Path, PathBuf};

use serde::Serialize;
use stockmesh_service::certs::DevCa;
use stockmesh_service::tls::{Security, TlsError, TlsFiles};

use super::certificates::{AUDITOR, SIMULATOR};
use super::layout::{Layout, NodeSpec};
use super::process::ServiceKind;
use super::{FINANCE, GROUP, NetworkError, REPLICAS};

/// Name of finance's process.
pub const FINANCE_PROCESS: &str = "finance";

/// Name of a replica's process.
#[must_use]
pub fn replica_name(replica: u64) -> String {
    format!("coordinator-{replica}")
}

/// Name of the process of the nodes of a host.
#[must_use]
pub fn node_process_name(host: &str) -> String {
    format!("node-{host}")
}

/// One process to be.
pub struct Planned {
    /// Name: of its certificate, config, log and data too.
    pub name: String,
    /// Which service.
    pub kind: ServiceKind,
    /// Where it listens.
    pub address: String,
    /// Nodes that it hosts.
    pub nodes: Vec<String>,
    /// Its config file.
    pub config: PathBuf,
    text: Config,
}

/// Every process of a network.
pub struct Plan {
    /// Processes.
    pub processes: Vec<Planned>,
    certificates: DevCa,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Config {
    Coordinator(CoordinatorConfig),
    Node(NodeConfig),
    Finance(FinanceConfig),
}

#[derive(Serialize)]
struct Tls {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

#[derive(Serialize)]
struct CoordinatorConfig {
    group: u32,
    replica_id: u64,
    listen: String,
    data_dir: PathBuf,
    finance: Vec<String>,
    replicas: Vec<ReplicaConfig>,
    tls: Tls,
}

#[derive(Clone, Serialize)]
struct ReplicaConfig {
    id: u64,
    address: String,
}

#[derive(Serialize)]
struct NodeConfig {
    listen: String,
    data_dir: PathBuf,
    group: u32,
    coordinator: Vec<String>,
    finance_id: String,
    finance: Vec<String>,
    nodes: Vec<HostedNode>,
    tls: Tls,
}

#[derive(Serialize)]
struct HostedNode {
    id: String,
    floor: i64,
    walk_in_reserve: i64,
}

#[derive(Serialize)]
struct FinanceConfig {
    id: String,
    listen: String,
    data_dir: PathBuf,
    group: u32,
    coordinator: Vec<String>,
    tls: Tls,
}

fn tls(files: TlsFiles) -> Tls {
    let TlsFiles { ca, cert, key } = files;
    Tls { ca: ca.unwrap_or_default(), cert: cert.unwrap_or_default(), key: key.unwrap_or_default() }
}

impl Plan {
    /// Plans the processes of a layout; `ports` has one for each.
    #[must_use]
    pub fn new(dir: &Path, layout: &Layout, ports: &[u16], certificates: DevCa) -> Self {
        let mut addresses = ports.iter().map(|port| format!("127.0.0.1:{port}"));
        let mut address = || addresses.next().unwrap_or_default();
        let replicas: Vec<ReplicaConfig> = (1..=REPLICAS).map(|id| ReplicaConfig { id, address: address() }).collect();
        let coordinator: Vec<String> = replicas.iter().map(|replica| replica.address.clone()).collect();
        let finance_address = address();
        let data_dir = |name: &str| dir.join("data").join(name);
        let config = |name: &str| dir.join("config").join(format!("{name}.toml"));
        let mut processes = Vec::new();
        for replica in &replicas {
            let name = replica_name(replica.id);
            let text = Config::Coordinator(CoordinatorConfig {
                group: GROUP,
                replica_id: replica.id,
                listen: replica.address.clone(),
                data_dir: data_dir(&name),
                finance: vec![FINANCE.to_owned()],
                replicas: replicas.clone(),
                tls: tls(certificates.files_of(&name)),
            });
            let address = replica.address.clone();
            let config = config(&name);
            processes.push(Planned { name, kind: ServiceKind::Coordinator, address, nodes: Vec::new(), config, text });
        }
        for (host, nodes) in layout.processes() {
            let (name, address) = (node_process_name(&host), address());
            let text = Config::Node(NodeConfig {
                listen: address.clone(),
                data_dir: data_dir(&name),
                group: GROUP,
                coordinator: coordinator.clone(),
                finance_id: FINANCE.to_owned(),
                finance: vec![finance_address.clone()],
                nodes: nodes.iter().map(|node| hosted(node)).collect(),
                tls: tls(certificates.files_of(&name)),
            });
            let nodes = nodes.iter().map(|node| node.node.clone()).collect();
            let config = config(&name);
            processes.push(Planned { name, kind: ServiceKind::Node, address, nodes, config, text });
        }
        let name = FINANCE_PROCESS.to_owned();
        let text = Config::Finance(FinanceConfig {
            id: FINANCE.to_owned(),
            listen: finance_address.clone(),
            data_dir: data_dir(&name),
            group: GROUP,
            coordinator,
            tls: tls(certificates.files_of(&name)),
        });
        let config = config(&name);
        let (kind, address) = (ServiceKind::Finance, finance_address);
        processes.push(Planned { name, kind, address, nodes: Vec::new(), config, text });
        Self { processes, certificates }
    }

    /// Writes the config files.
    ///
    /// # Errors
    /// [`NetworkError::Io`], [`NetworkError::Config`].
    pub fn write(&self) -> Result<(), NetworkError> {
        for planned in &self.processes {
            let text = toml::to_string(&planned.text)?;
            let folder = planned.config.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&planned.config, text)).map_err(|source| {
                NetworkError::Io { what: format!("{} can't be written", planned.config.display()), source }
            })?;
        }
        Ok(())
    }

    /// The simulator's own identity.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn security(&self) -> Result<Security, TlsError> {
        Security::load(&self.certificates.files_of(SIMULATOR), false)
    }

    /// The identity with which heads of feeds to finance are read.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn auditor(&self) -> Result<Security, TlsError> {
        Security::load(&self.certificates.files_of(AUDITOR), false)
    }

    /// Addresses of the processes of a kind.
    #[must_use]
    pub fn addresses(&self, kind: ServiceKind) -> Vec<String> {
        self.processes.iter().filter(|planned| planned.kind == kind).map(|planned| planned.address.clone()).collect()
    }
}

fn hosted(node: &NodeSpec) -> HostedNode {
    HostedNode { id: node.node.clone(), floor: node.floor, walk_in_reserve: node.walk_in_reserve }
}
