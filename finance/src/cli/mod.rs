//! The command line: the service, and its own client.

mod client;
mod local;
mod show;
mod show_raw;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use stockmesh_service::certs::CertsArgs;
use stockmesh_service::logging::{self, LogFormat};
use stockmesh_service::output::{EXIT_REFUSED, EXIT_USAGE, OutputFormat};
use stockmesh_service::{Security, TlsFiles, config};

use crate::config::Config;
use crate::serve;

/// Stockmesh finance: double-entry books from the network's facts
#[derive(Parser, Debug)]
#[command(name = "stockmesh-finance", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// Flags of every command
#[derive(clap::Args, Clone, Debug)]
struct Common {
    /// Address of the service, for client commands
    #[arg(
        long,
        env = "STOCKMESH_FINANCE_ADDRESS",
        default_value = "127.0.0.1:7301",
        global = true,
        value_name = "HOST:PORT"
    )]
    address: String,
    /// Form of output
    #[arg(long, value_enum, default_value_t = OutputFormat::Table, global = true)]
    output: OutputFormat,
    #[command(flatten)]
    tls: TlsFiles,
    /// No TLS and no authentication; loopback only
    #[arg(long, global = true)]
    insecure_dev: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the service
    ///
    /// It takes nodes' feeds, pulls the coordinator's, and keeps the books in DATA_DIR/books.sqlite, which any SQL tool may
    /// read (see the views trial_balance, journal, stock_value, suspense_list).
    ///
    /// A config file:
    ///
    ///   id = "main"
    ///   listen = "127.0.0.1:7301"
    ///   data_dir = "/var/lib/stockmesh/finance"
    ///   coordinator = ["127.0.0.1:7101", "127.0.0.1:7102", "127.0.0.1:7103"]
    ///   [accounting]
    ///   deposit_entity = "retail-uk"   # holds deposits on prepaid orders; unset: the first node's entity
    ///   deposit_entities = { "web-de" = "retail-de" }   # the same for single channels
    ///   liquidation_value_ppm = 400000   # goods to be sold off are carried at 40 % of cost; unset: at cost
    ///   signing_key = "keys/head-signing.key"   # made when missing; unset: in data_dir
    ///   [tls]
    ///   ca = "certs/ca.pem"
    ///   cert = "certs/finance-main.pem"
    ///   key = "certs/finance-main-key.pem"
    #[command(verbatim_doc_comment)]
    Serve {
        /// Config file (TOML)
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Listen here instead
        #[arg(long, value_name = "IP:PORT")]
        listen: Option<SocketAddr>,
        /// Keep the books here instead
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// Form of log lines on standard error; RUST_LOG filters them
        #[arg(long, value_enum, default_value_t = LogFormat::Text)]
        log_format: LogFormat,
    },
    /// Balances of all accounts, with totals
    TrialBalance {
        /// Only this legal entity
        #[arg(long, default_value = "")]
        entity: String,
    },
    /// Journal entries, by number
    Journal {
        /// Only entries about this order or till document
        #[arg(long, default_value = "", value_name = "ID")]
        order: String,
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Go on after the page that gave this token
        #[arg(long, default_value = "", value_name = "TOKEN")]
        page_token: String,
    },
    /// Facts that wait for a partner or for a person, and why
    Suspense {
        /// At most this many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
        /// Go on after the page that gave this token
        #[arg(long, default_value = "", value_name = "TOKEN")]
        page_token: String,
    },
    /// Stock at cost, by node and stock key
    StockValues {
        /// Only this node
        #[arg(long, default_value = "")]
        node: String,
        /// At most this many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
        /// Go on after the page that gave this token
        #[arg(long, default_value = "", value_name = "TOKEN")]
        page_token: String,
    },
    /// How far each feed is posted
    Status,
    /// The books as a file for another tool
    Export {
        /// Format
        #[arg(long, value_enum, default_value_t = Format::Beancount)]
        format: Format,
        /// Only this legal entity
        #[arg(long, default_value = "")]
        entity: String,
        /// File to write; an existing one is replaced when the export is complete
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Raw feeds as received: what a restored node takes its history from, and `verify` recomputes the books from
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// Signed heads of the journal's hash chain: keep copies apart from the books, and check them with `verify --heads`
    #[command(subcommand)]
    Head(HeadCommand),
    /// Check a file of books: chain, balances, layers, signed heads; then post the archived raw feeds anew, and compare
    ///
    /// Works while the service runs, and without it. Nothing is changed. The recomputation needs as much room below --scratch
    /// as the books have, and some time; --quick leaves it out.
    Verify {
        /// Folder of the books, or the file itself
        #[arg(long, value_name = "DIR", required_unless_present = "config", conflicts_with = "config")]
        data_dir: Option<PathBuf>,
        /// Config file that names the folder
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Signed heads that were kept elsewhere: the JSON of `head list --output json`. Each must be in this chain
        #[arg(long, value_name = "FILE")]
        heads: Option<PathBuf>,
        /// Check the file against itself only; don't recompute it from the raw feeds
        #[arg(long)]
        quick: bool,
        /// Folder for the recomputed books, which are removed at the end; unset: the system's folder for temporary files
        #[arg(long, value_name = "DIR")]
        scratch: Option<PathBuf>,
    },
    /// Certificates for development
    Certs(CertsArgs),
    /// Completions for a shell, on standard output
    Completions {
        /// Shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// What to do with the archive
#[derive(Subcommand, Debug)]
enum ArchiveCommand {
    /// Every feed, and how much of it is archived
    List {
        /// Only this participant's: node/dc-1, coordinator/1
        #[arg(long, default_value = "")]
        participant: String,
        /// At most this many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
        /// Go on after the page that gave this token
        #[arg(long, default_value = "", value_name = "TOKEN")]
        page_token: String,
    },
    /// Entries of one feed, decoded; JSON has the body as received, in hexadecimal
    Read {
        /// Who wrote it: node/dc-1, coordinator/1
        #[arg(long)]
        participant: String,
        /// For whom; a node's feed is for everyone, and has none
        #[arg(long, default_value = "")]
        destination: String,
        /// Life of the writer's history
        #[arg(long, default_value_t = 1)]
        epoch: u64,
        /// Entries after this one
        #[arg(long, default_value_t = 0, value_name = "SEQ")]
        after: u64,
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
}

/// What to do with signed heads
#[derive(Subcommand, Debug)]
enum HeadCommand {
    /// Sign the present head now; one is signed at every end of a day (UTC) anyway
    Sign,
    /// Every head that was signed
    List {
        /// At most this many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
        /// Go on after the page that gave this token
        #[arg(long, default_value = "", value_name = "TOKEN")]
        page_token: String,
    },
}

/// Format of an export
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// beancount 3
    Beancount,
    /// hledger
    Hledger,
    /// One posting per row, with every dimension
    Csv,
}

/// Runs the command line; `args` begins with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output with exit code 0, errors to standard error with 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE));
        }
    };
    let Cli { command, common } = cli;
    match command {
        Command::Serve { config, listen, data_dir, log_format } => {
            logging::init(matches!(log_format, LogFormat::Json));
            match settings(&config, listen, data_dir) {
                Ok(config) => run_service(config, &common),
                Err(error) => usage(&error),
            }
        }
        Command::Verify { data_dir, config, heads, quick, scratch } => {
            let path = match (data_dir, config) {
                (Some(path), _) => Ok(path),
                (None, Some(file)) => settings(&file, None, None).map(|config| config.data_dir),
                (None, None) => Err("give --data-dir or --config".to_owned()),
            };
            let scratch = (!quick).then(|| scratch.unwrap_or_else(std::env::temp_dir));
            path.map_or_else(
                |error| usage(&error),
                |path| local::verify(&path, heads.as_deref(), scratch.as_deref(), common.output),
            )
        }
        Command::Certs(certs) => match certs.run(&mut std::io::stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refused(&error),
        },
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "stockmesh-finance", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        request @ (Command::TrialBalance { .. }
        | Command::Journal { .. }
        | Command::Suspense { .. }
        | Command::StockValues { .. }
        | Command::Status
        | Command::Archive(_)
        | Command::Head(_)
        | Command::Export { .. }) => client::run(request, &common),
    }
}

/// The file, with the flags over it.
fn settings(file: &std::path::Path, listen: Option<SocketAddr>, data_dir: Option<PathBuf>) -> Result<Config, String> {
    let mut settings: Config = config::load_toml(file).map_err(|error| error.to_string())?;
    settings.listen = listen.unwrap_or(settings.listen);
    settings.data_dir = data_dir.unwrap_or(settings.data_dir);
    settings.check().map_err(|reject| format!("{}: {reject}", file.display()))?;
    Ok(settings)
}

fn run_service(config: Config, common: &Common) -> ExitCode {
    let files = common.tls.clone().or(config.tls.clone());
    // Files in the config would contradict the flag, which is an explicit wish.
    let files = if common.insecure_dev { common.tls.clone() } else { files };
    let security = match Security::load(&files, common.insecure_dev) {
        Ok(security) => security,
        Err(error) => return usage(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refused(&error),
    };
    let ended = runtime.block_on(serve::run(config, security));
    // Reads of the API on threads of their own need not finish.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "finance ended by a failure");
            refused(&error)
        }
    }
}

fn usage(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(EXIT_USAGE)
}

fn refused(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(EXIT_REFUSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
