//! One service in a process of its own: started, watched until it serves, killed, started again.
//!
//! A child ends with the simulator in each case: it is killed when its handle is dropped, and, should the simulator itself
//! be killed, by the signal that it asked the system for at its start ([`crate::service_main`]).

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stockmesh_service::client::Dialer;
use stockmesh_service::tls::Security;
use tokio::process::{Child, Command};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::config::Planned;

/// Lines of a log that an error shows.
const TAIL_LINES: usize = 15;
/// Bytes at the end of a log among which those lines are looked for.
const TAIL_BYTES: u64 = 16 * 1024;

/// Which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// A coordinator replica.
    Coordinator,
    /// A process of nodes.
    Node,
    /// Finance.
    Finance,
}

impl ServiceKind {
    /// The word after `service`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Node => "node",
            Self::Finance => "finance",
        }
    }
}

/// Why a process is not as wanted.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It can't be started.
    #[error("{name} can't be started from {program}: {source}")]
    Spawn {
        /// Process.
        name: String,
        /// Program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its log can't be written, or it can't be waited for.
    #[error("{name}: {source}")]
    Io {
        /// Process.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended before it served.
    #[error("{name} ended ({status}) before it served. The end of its log, {log}:\n{tail}")]
    Ended {
        /// Process.
        name: String,
        /// How.
        status: ExitStatus,
        /// Log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// It does not serve.
    #[error("{name} did not serve within {seconds} s ({last}). The end of its log, {log}:\n{tail}")]
    NotReady {
        /// Process.
        name: String,
        /// Deadline.
        seconds: u64,
        /// Last answer of its health service.
        last: String,
        /// Log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// Its address can't be dialled.
    #[error(transparent)]
    Dial(#[from] stockmesh_service::client::DialError),
}

/// One service.
pub struct ServiceProcess {
    name: String,
    kind: ServiceKind,
    address: String,
    nodes: Vec<String>,
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    log_filter: String,
    channel: Channel,
    child: Option<Child>,
}

impl ServiceProcess {
    /// Prepares a process; [`Self::spawn`] starts it.
    ///
    /// # Errors
    /// [`ProcessError::Io`] when there can be no log.
    pub fn new(
        planned: &Planned,
        program: &Path,
        dir: &Path,
        log_filter: &str,
        security: Security,
    ) -> Result<Self, ProcessError> {
        let logs = dir.join("logs");
        std::fs::create_dir_all(&logs).map_err(|source| ProcessError::Io { name: planned.name.clone(), source })?;
        Ok(Self {
            name: planned.name.clone(),
            kind: planned.kind,
            address: planned.address.clone(),
            nodes: planned.nodes.clone(),
            program: program.to_owned(),
            config: planned.config.clone(),
            log: logs.join(format!("{}.log", planned.name)),
            log_filter: log_filter.to_owned(),
            channel: Dialer::new(security).channel(&planned.address)?,
            child: None,
        })
    }

    /// Name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which service.
    #[must_use]
    pub fn kind(&self) -> ServiceKind {
        self.kind
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Nodes that it hosts.
    #[must_use]
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Starts it; the log goes on where it was.
    ///
    /// # Errors
    /// [`ProcessError::Spawn`], [`ProcessError::Io`].
    pub fn spawn(&mut self) -> Result<(), ProcessError> {
        let io = |source| ProcessError::Io { name: self.name.clone(), source };
        let log = OpenOptions::new().create(true).append(true).open(&self.log).map_err(io)?;
        let child = Command::new(&self.program)
            .arg(crate::service::SERVICE_ARGUMENT)
            .arg(self.kind.word())
            .arg("serve")
            .arg("--config")
            .arg(&self.config)
            .env("RUST_LOG", &self.log_filter)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().map_err(io)?))
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ProcessError::Spawn { name: self.name.clone(), program: self.program.clone(), source })?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// [`ProcessError::Ended`], [`ProcessError::NotReady`], each with the end of the log.
    pub async fn ready(&mut self, within: Duration) -> Result<(), ProcessError> {
        let end = tokio::time::Instant::now() + within;
        let mut health = HealthClient::new(self.channel.clone());
        let mut last = String::from("no answer yet");
        while tokio::time::Instant::now() < end {
            if let Some(status) = self.try_wait()? {
                let (name, log, tail) = (self.name.clone(), self.log.clone(), self.tail());
                self.child = None;
                return Err(ProcessError::Ended { name, status, log, tail });
            }
            let check = health.check(HealthCheckRequest { service: String::new() });
            match tokio::time::timeout(Duration::from_secs(2), check).await {
                Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving => return Ok(()),
                Ok(Ok(answer)) => last = format!("health: {}", answer.get_ref().status().as_str_name()),
                Ok(Err(status)) => last = status.message().to_owned(),
                Err(_) => "health did not answer within 2 s".clone_into(&mut last),
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        let (name, log, tail) = (self.name.clone(), self.log.clone(), self.tail());
        Err(ProcessError::NotReady { name, seconds: within.as_secs(), last, log, tail })
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// [`ProcessError::Io`].
    pub async fn kill(&mut self) -> Result<(), ProcessError> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.map_err(|source| ProcessError::Io { name: self.name.clone(), source })?;
        }
        Ok(())
    }

    /// SIGTERM; after the limit `kill -9`.
    ///
    /// # Errors
    /// [`ProcessError::Io`].
    pub async fn stop(&mut self, within: Duration) -> Result<(), ProcessError> {
        self.signal(Signal::SIGTERM)?;
        if let Some(child) = &mut self.child {
            let io = |source| ProcessError::Io { name: self.name.clone(), source };
            match tokio::time::timeout(within, child.wait()).await {
                Ok(ended) => {
                    ended.map_err(io)?;
                }
                Err(_) => {
                    tracing::warn!(
                        process = self.name,
                        "did not end after SIGTERM within {} s: killed",
                        within.as_secs()
                    );
                    child.kill().await.map_err(io)?;
                }
            }
        }
        self.child = None;
        Ok(())
    }

    /// Sends a signal: SIGSTOP and SIGCONT make it hang and go on.
    ///
    /// # Errors
    /// [`ProcessError::Io`].
    pub fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        let Some(id) = self.id().and_then(|id| i32::try_from(id).ok()) else { return Ok(()) };
        match kill(Pid::from_raw(id), signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(errno) => Err(ProcessError::Io { name: self.name.clone(), source: errno.into() }),
        }
    }

    /// `Some` with the end of its log when it ended though nobody killed or stopped it.
    pub fn died_by_itself(&mut self) -> Option<String> {
        let status = self.try_wait().ok().flatten()?;
        Some(format!("{} ended by itself ({status}); the end of {}:\n{}", self.name, self.log.display(), self.tail()))
    }

    fn try_wait(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        match &mut self.child {
            Some(child) => child.try_wait().map_err(|source| ProcessError::Io { name: self.name.clone(), source }),
            None => Ok(None),
        }
    }

    /// The last lines of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        use std::io::{Read, Seek, SeekFrom};
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&self.log).and_then(|mut file| {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            file.read_to_end(&mut bytes)
        });
        if let Err(error) = read {
            return format!("  (the log can't be read: {error})");
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..]
            .iter()
            .map(|line| format!("  {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}
