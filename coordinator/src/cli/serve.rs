//! `serve`: one replica, until a signal.

use std::net::SocketAddr;
use std::path::PathBuf;

use stockmesh_service::config::load_toml;
use stockmesh_service::logging::LogFormat;
use stockmesh_service::server::{bind, shutdown_signal};
use stockmesh_service::{Security, TlsFiles, logging};

use super::CliError;
use crate::config::Config;
use crate::serve::{Stop, run as run_replica};

#[derive(clap::Args, Debug)]
#[command(after_long_help = "THE CONFIGURATION (TOML; every replica has its own replica_id, listen and data_dir):
  group = 1
  replica_id = 1
  listen = \"127.0.0.1:7101\"
  data_dir = \"data/coordinator-1\"
  finance = [\"main\"]              # finance services that a fresh group tells its facts to
  # tick_ms = 50                   # clock of elections: a leader is missed after election_ticks to twice as many
  # election_ticks = 8
  # snapshot_every_entries = 10000 # or snapshot_every_mib = 64, whichever comes first
  # log_keep_entries = 2000
  # join = true                    # a new replica of a group that runs: see `cluster member --help`
  [[replicas]]
  id = 1
  address = \"127.0.0.1:7101\"
  [[replicas]]
  id = 2
  address = \"127.0.0.1:7102\"
  [[replicas]]
  id = 3
  address = \"127.0.0.1:7103\"
  [tls]                            # or --tls-*, or --insecure-dev on loopback
  ca = \"certs/ca.pem\"
  cert = \"certs/coordinator-1.pem\"
  key = \"certs/coordinator-1-key.pem\"

A replica whose folder was lost must not come back under its old id, because it forgot its votes: the others refuse it, and
it stops. `cluster member --help` says how to replace it.")]
pub(super) struct ServeArgs {
    /// Configuration file (see below)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Listen here instead of where the configuration says
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
    /// Use this folder instead of the configuration's
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Form of log lines
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
}

pub(super) fn run(args: ServeArgs, tls: TlsFiles, insecure_dev: bool) -> Result<(), CliError> {
    logging::init(args.log_format == LogFormat::Json);
    let mut config: Config = load_toml(&args.config).map_err(CliError::usage)?;
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    if let Some(data_dir) = args.data_dir {
        config.data_dir = data_dir;
    }
    config.check().map_err(CliError::usage)?;
    let security = Security::load(&tls.or(config.tls.clone()), insecure_dev).map_err(CliError::usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Stopped(error.into()))?;
    let ended = runtime.block_on(async {
        let listener = bind(config.listen, &security).await?;
        let stop = async {
            shutdown_signal().await;
            Stop::Gracefully
        };
        run_replica(config, security, listener, stop).await
    });
    // Links that are still open end with the process.
    runtime.shutdown_background();
    ended.map_err(CliError::Stopped)
}
