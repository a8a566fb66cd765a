//! A whole network in real processes on this machine: certificates, configs, ports, processes, clients.
//!
//! Each service is this program (or another that dispatches to [`crate::service_main`]) started again, so that one build is
//! enough. A [`Network`] starts all of it, kills and restarts parts of it, and hands out clients. It knows nothing of what
//! is played against it: no streams, no checks.
//!
//! ```text
//!   layout.rs        which nodes stand where, in which process
//!   certificates.rs, ports.rs, config.rs   what a process needs before it starts
//!   process.rs       one child: start, ready, kill -9, restart, log
//!   clients.rs, calls.rs   typed clients over mTLS
//! ```

pub mod calls;
pub mod certificates;
pub mod clients;
pub mod config;
pub mod layout;
pub mod ports;
pub mod process;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::try_join_all;
use tempfile::TempDir;

pub use clients::Clients;
pub use layout::{Layout, NodeSpec};
pub use process::{ProcessError, ServiceKind, ServiceProcess};

/// Coordinator group.
pub const GROUP: u32 = 1;
/// Finance's id.
pub const FINANCE: &str = "main";
/// Coordinator replicas.
pub const REPLICAS: u64 = 3;

/// Why a network can't be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Certificates.
    #[error("certificates can't be made: {0}")]
    Certificates(#[from] stockmesh_service::certs::CertsError),
    /// TLS files.
    #[error("certificates can't be used: {0}")]
    Tls(#[from] stockmesh_service::tls::TlsError),
    /// An address.
    #[error(transparent)]
    Dial(#[from] stockmesh_service::client::DialError),
    /// Files and sockets.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A config can't be written as TOML.
    #[error("a config can't be written: {0}")]
    Config(#[from] toml::ser::Error),
    /// No process of this name.
    #[error("no process is called {0:?}")]
    UnknownProcess(String),
    /// Nobody leads.
    #[error("no coordinator replica became leader within {0} s; see the logs in the data folder")]
    NoLeader(u64),
}

/// What to start.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// Nodes.
    pub layout: Layout,
    /// Data folder; `None`: a fresh temporary one, removed when the network is dropped.
    pub dir: Option<PathBuf>,
    /// The program to start for each service; its first arguments are `service <kind>`.
    pub program: PathBuf,
    /// `RUST_LOG` of the services.
    pub log_filter: String,
    /// How long a process may take to serve, and the group to elect a leader.
    pub ready_within: Duration,
}

impl NetworkOptions {
    /// With this program's own binary as the services.
    ///
    /// # Errors
    /// When the system does not tell where this program is.
    pub fn of_this_program(layout: Layout) -> Result<Self, NetworkError> {
        let program = std::env::current_exe()
            .map_err(|source| NetworkError::Io { what: "this program's own file can't be found".into(), source })?;
        Ok(Self { layout, dir: None, program, log_filter: "info".into(), ready_within: Duration::from_secs(30) })
    }
}

/// A running network. Dropping it kills its processes.
pub struct Network {
    dir: PathBuf,
    /// Removes the folder when it is dropped; `None` when the folder was given, or is kept.
    temporary: Option<TempDir>,
    layout: Layout,
    processes: BTreeMap<String, ServiceProcess>,
    clients: Clients,
    ready_within: Duration,
}

impl Network {
    /// Starts everything, and waits until every process serves and a leader is known.
    ///
    /// # Errors
    /// [`NetworkError`]; a process that does not come up is named, with the end of its log.
    pub async fn start(options: NetworkOptions) -> Result<Self, NetworkError> {
        let NetworkOptions { layout, dir, program, log_filter, ready_within } = options;
        let io = |what: &str, source| NetworkError::Io { what: what.to_owned(), source };
        let (dir, temporary) = match dir {
            Some(dir) => {
                std::fs::create_dir_all(&dir).map_err(|e| io("the data folder can't be made", e))?;
                (dir, None)
            }
            None => {
                let temporary = tempfile::Builder::new().prefix("stockmesh-").tempdir();
                let temporary = temporary.map_err(|e| io("no temporary folder can be made", e))?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let node_processes = layout.processes();
        let count = usize::try_from(REPLICAS).unwrap_or(3) + node_processes.len() + 1;
        let ports = ports::free(count).map_err(|e| io("no free ports on 127.0.0.1", e))?;
        let certificates = certificates::issue(&dir.join("certificates"), &layout)?;
        let plan = config::Plan::new(&dir, &layout, &ports, certificates);
        plan.write()?;
        let mut processes = BTreeMap::new();
        for planned in &plan.processes {
            let process = ServiceProcess::new(planned, &program, &dir, &log_filter, plan.security()?)?;
            processes.insert(planned.name.clone(), process);
        }
        let clients = Clients::new(&plan)?;
        let mut network = Self { dir, temporary, layout, processes, clients, ready_within };
        for process in network.processes.values_mut() {
            process.spawn()?;
        }
        try_join_all(network.processes.values_mut().map(|process| process.ready(ready_within))).await?;
        network.wait_for_leader(None).await?;
        Ok(network)
    }

    /// The data folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The nodes.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Clients; they stay good over restarts.
    #[must_use]
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Names of the processes: `coordinator-1`, `nodes-dc-1`, `finance`.
    pub fn process_names(&self) -> impl Iterator<Item = &str> {
        self.processes.keys().map(String::as_str)
    }

    /// The process that hosts a node.
    #[must_use]
    pub fn process_of_node(&self, node: &str) -> Option<&str> {
        self.processes.values().find(|process| process.nodes().iter().any(|n| n == node)).map(ServiceProcess::name)
    }

    /// A process.
    ///
    /// # Errors
    /// [`NetworkError::UnknownProcess`].
    pub fn process(&mut self, name: &str) -> Result<&mut ServiceProcess, NetworkError> {
        self.processes.get_mut(name).ok_or_else(|| NetworkError::UnknownProcess(name.to_owned()))
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// [`NetworkError::UnknownProcess`], [`ProcessError`].
    pub async fn kill(&mut self, name: &str) -> Result<(), NetworkError> {
        Ok(self.process(name)?.kill().await?)
    }

    /// SIGTERM, and waits for a graceful end.
    ///
    /// # Errors
    /// [`NetworkError::UnknownProcess`], [`ProcessError`].
    pub async fn stop(&mut self, name: &str) -> Result<(), NetworkError> {
        Ok(self.process(name)?.stop(Duration::from_secs(20)).await?)
    }

    /// Starts it again on its data, and waits until it serves.
    ///
    /// # Errors
    /// [`NetworkError::UnknownProcess`], [`ProcessError`].
    pub async fn restart(&mut self, name: &str) -> Result<(), NetworkError> {
        let within = self.ready_within;
        let process = self.process(name)?;
        process.spawn()?;
        Ok(process.ready(within).await?)
    }

    /// Every process that is not running though it was not killed or stopped, with the end of its log.
    pub fn died_by_themselves(&mut self) -> Vec<String> {
        self.processes.values_mut().filter_map(ServiceProcess::died_by_itself).collect()
    }

    /// The leader's process, once there is one other than `other_than`.
    ///
    /// # Errors
    /// [`NetworkError::NoLeader`].
    pub async fn wait_for_leader(&self, other_than: Option<&str>) -> Result<String, NetworkError> {
        let end = tokio::time::Instant::now() + self.ready_within;
        while tokio::time::Instant::now() < end {
            if let Some(leader) = self.clients.leader().await {
                let name = config::replica_name(leader);
                if other_than != Some(name.as_str()) {
                    return Ok(name);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(NetworkError::NoLeader(self.ready_within.as_secs()))
    }

    /// Stops everything gracefully, nodes first. What does not end in time is killed.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub async fn shut_down(&mut self) -> Result<(), NetworkError> {
        for kind in [ServiceKind::Node, ServiceKind::Finance, ServiceKind::Coordinator] {
            let of_kind = self.processes.values_mut().filter(|process| process.kind() == kind);
            try_join_all(of_kind.map(|process| process.stop(Duration::from_secs(10)))).await?;
        }
        Ok(())
    }

    /// Leaves the data folder where it is when the network is dropped.
    pub fn keep_folder(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let _ = temporary.keep();
        }
    }

    /// Name, kind and address of every process, for people.
    #[must_use]
    pub fn addresses(&self) -> Vec<(String, ServiceKind, String, Vec<String>)> {
        self.processes
            .values()
            .map(|process| {
                (process.name().to_owned(), process.kind(), process.address().to_owned(), process.nodes().to_vec())
            })
            .collect()
    }
}
