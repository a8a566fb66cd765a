//! The command line: `serve`, and a client verb for each thing that people do at a site.
//!
//! Exit codes: 0 done, 1 refused, 2 the command line or config is wrong, 3 nobody answered.
//!
//! Must not know: how a node works; verbs talk to it over its API.

mod args;
mod client;
mod lines;
mod outbound;
mod outbound_args;
mod show;
pub(crate) mod site;
mod verbs;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use stockmesh_service::certs::CertsArgs;
use stockmesh_service::config::load_toml;
use stockmesh_service::logging::{self, LogFormat};
use stockmesh_service::output::{EXIT_REFUSED, EXIT_USAGE, print_error};
use stockmesh_service::{Security, TlsFiles};
use stockmesh_types::{Group, NodeId, Reject};

use crate::config::{Config, NodeSettings, month};
use crate::serve;

/// A node of Stockmesh: the service that owns a site's stock, and its client.
#[derive(Debug, Parser)]
#[command(name = "stockmesh-node", version, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    tls: TlsFiles,
    /// No TLS and no authentication: on loopback only, for development
    #[arg(long, global = true, env = "STOCKMESH_INSECURE_DEV")]
    insecure_dev: bool,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  stockmesh-node serve --config node.toml
  stockmesh-node serve --insecure-dev --listen 127.0.0.1:7201 --data-dir data --node dc-1 --coordinator 127.0.0.1:7101
  stockmesh-node --insecure-dev receive --line 85123A=100@255.00 --currency GBP
  stockmesh-node --insecure-dev tasks --open
  stockmesh-node --insecure-dev ship --order o-1 --carrier DHL
  stockmesh-node --insecure-dev stock --output json

Exit status: 0 done, 1 refused, 2 command line or config wrong, 3 nobody answered.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run one or more nodes in this process
    #[command(after_help = CONFIG_HELP)]
    Serve(ServeArgs),
    #[command(flatten)]
    Client(args::ClientVerb),
    #[command(flatten)]
    Site(site::args::SiteVerb),
    /// Certificates for development: make a CA, issue certificates
    Certs(CertsArgs),
    /// Print completions for a shell
    Completions {
        /// Shell
        shell: Shell,
    },
}

const CONFIG_HELP: &str = "\
The file, with what may be left out after #:
  listen = \"127.0.0.1:7201\"
  data_dir = \"data/node\"
  group = 1                                # coordinator group
  coordinator = [\"127.0.0.1:7101\"]         # its replicas; none: the node works alone
  finance_id = \"main\"
  finance = [\"127.0.0.1:7301\"]             # none: no link to finance
  feed_retention_days = 30                 # entries of feeds are kept so long after every registered consumer has them
  [tls]                                    # or --insecure-dev on loopback
  ca = \"certs/ca.pem\"
  cert = \"certs/dc-1.pem\"
  key = \"certs/dc-1-key.pem\"
  [[nodes]]                                # one table for each node that the process hosts
  id = \"dc-1\"
  floor = 0                                # units of every stock key that stay on display
  walk_in_reserve = 0                      # and that are kept for walk-in sales; the rest is granted to the coordinator
  count_threshold = 0                      # counts that differ by more units must be approved by somebody else
  count_days = [30, 90, 180]               # days between counts of items of class A, B, C
  [nodes.rules]                            # what its people may do by themselves; all may be left out
  reject_within_minutes = 30               # to reject work because of the site; left out: at any time
  refund_offline = { currency = \"EUR\", minor_per_day = 20000 }  # refunds paid without asking; left out: none
  pickup_wait_hours = 168                  # how long goods wait for a customer
  weight_tolerance_ppm = 50000             # of weighed items, parts per million";

#[derive(Debug, clap::Args)]
struct ServeArgs {
    /// TOML file; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the API listens
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Folder for the stores
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Coordinator group
    #[arg(long)]
    group: Option<u32>,
    /// Address of a coordinator replica (may be repeated)
    #[arg(long, value_name = "ADDRESS:PORT")]
    coordinator: Vec<String>,
    /// Name of finance
    #[arg(long, value_name = "NAME")]
    finance_id: Option<String>,
    /// Address of finance
    #[arg(long, value_name = "ADDRESS:PORT")]
    finance: Vec<String>,
    /// A node to host (may be repeated); replaces those of the file
    #[arg(long = "node", value_name = "ID")]
    nodes: Vec<NodeId>,
    /// Units of every stock key that stay on display, for the nodes given by --node
    #[arg(long, default_value_t = 0, requires = "nodes")]
    floor: i64,
    /// Units of every stock key that are kept for walk-in sales, for the nodes given by --node
    #[arg(long, default_value_t = 0, requires = "nodes")]
    walk_in_reserve: i64,
    /// Form of log lines
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

impl ServeArgs {
    fn config(self) -> Result<Config, Failure> {
        let missing = |flag: &str| Failure::Usage(format!("give --config FILE, or {flag}"));
        let Self {
            config,
            listen,
            data_dir,
            group,
            coordinator,
            finance_id,
            finance,
            nodes,
            floor,
            walk_in_reserve,
            log_format: _,
        } = self;
        let mut settings = match config {
            Some(path) => load_toml::<Config>(&path).map_err(|error| Failure::Usage(error.to_string()))?,
            None => Config {
                listen: listen.ok_or_else(|| missing("--listen"))?,
                data_dir: data_dir.clone().ok_or_else(|| missing("--data-dir"))?,
                group: Group(1),
                coordinator: Vec::new(),
                finance_id: "main".to_owned(),
                finance: Vec::new(),
                feed_retention_days: month(),
                tls: TlsFiles::default(),
                nodes: Vec::new(),
            },
        };
        settings.listen = listen.unwrap_or(settings.listen);
        settings.data_dir = data_dir.unwrap_or(settings.data_dir);
        settings.group = group.map_or(settings.group, Group);
        settings.finance_id = finance_id.unwrap_or(settings.finance_id);
        if !coordinator.is_empty() {
            settings.coordinator = coordinator;
        }
        if !finance.is_empty() {
            settings.finance = finance;
        }
        if !nodes.is_empty() {
            settings.nodes = nodes.into_iter().map(|id| NodeSettings::new(id, floor, walk_in_reserve)).collect();
        }
        settings.check().map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(settings)
    }
}

/// Why a verb did not do it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or a file is wrong.
    Usage(String),
    /// The node's answer, or none.
    Status(Box<tonic::Status>),
    /// It could not be done here.
    Other(anyhow::Error),
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl From<Reject> for Failure {
    fn from(reject: Reject) -> Self {
        Self::Usage(reject.to_string())
    }
}

impl Failure {
    fn report(self) -> ExitCode {
        match self {
            Self::Usage(message) => {
                eprintln!("error: {message}");
                ExitCode::from(EXIT_USAGE)
            }
            Self::Status(status) => print_error(&status),
            Self::Other(error) => {
                eprintln!("error: {error:#}");
                ExitCode::from(EXIT_REFUSED)
            }
        }
    }
}

/// Runs the command line `args`, the program's name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too. A closed pipe is nobody's mistake.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let Cli { tls, insecure_dev, verb } = cli;
    let security =
        |tls: &TlsFiles| Security::load(tls, insecure_dev).map_err(|error| Failure::Usage(error.to_string()));
    match verb {
        Verb::Serve(args) => {
            logging::init(args.log_format == LogFormat::Json);
            let config = args.config()?;
            let security = security(&tls.or(config.tls.clone()))?;
            serve::run(config, security).map_err(Failure::Other)
        }
        Verb::Client(verb) => verb.run(security(&tls)?),
        Verb::Site(verb) => verb.run(security(&tls)?),
        Verb::Certs(args) => {
            args.run(&mut std::io::stdout()).map_err(|error| Failure::Other(anyhow::Error::new(error)))
        }
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "stockmesh-node", &mut std::io::stdout());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    fn serve_config(args: &[&str]) -> Result<Config, Failure> {
        let all = ["stockmesh-node", "serve"].iter().chain(args);
        match Cli::try_parse_from(all).expect("arguments that parse").verb {
            Verb::Serve(args) => args.config(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_override_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("node.toml");
        std::fs::write(&file, "listen = \"127.0.0.1:1\"\ndata_dir = \"a\"\n[[nodes]]\nid = \"dc-1\"\n").unwrap();
        let file = file.to_str().unwrap();
        let config = serve_config(&["--config", file, "--listen", "127.0.0.1:2", "--group", "3"]).unwrap();
        assert_eq!((config.listen.port(), config.group, config.nodes[0].id.as_str()), (2, Group(3), "dc-1"));
        let config = serve_config(&["--config", file, "--node", "s-1", "--floor", "2"]).unwrap();
        assert_eq!((config.nodes.len(), config.nodes[0].id.as_str(), config.nodes[0].floor), (1, "s-1", 2));
        let Err(Failure::Usage(message)) = serve_config(&["--listen", "127.0.0.1:2"]) else { panic!("no data folder") };
        assert!(message.contains("--data-dir"), "{message}");
        let none = serve_config(&["--listen", "127.0.0.1:2", "--data-dir", "d"]);
        assert!(matches!(none, Err(Failure::Usage(message)) if message.contains("--node")));
    }
}
