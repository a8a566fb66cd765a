//! The command line: `serve` runs a replica, everything else is a client of one.
//!
//! It must not know how a replica works; what it prints, programs may read (`--output json`).

mod bulk;
mod json;
mod master;
mod members;
mod order_file;
mod orders;
mod policy;
mod recovery;
mod serve;
mod status;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use stockmesh_service::certs::CertsArgs;
use stockmesh_service::output::{EXIT_REFUSED, EXIT_USAGE, OutputFormat, print_error};
use stockmesh_service::{Cluster, Dialer, Security, TlsFiles};
use tonic::Status;

/// Promises stock to orders: runs a coordinator replica, and asks a running group.
#[derive(Parser, Debug)]
#[command(name = "stockmesh-coordinator", version, max_term_width = 110)]
#[command(after_long_help = "EXAMPLES:
  stockmesh-coordinator serve --config coordinator-1.toml --insecure-dev
  stockmesh-coordinator --insecure-dev --address 127.0.0.1:7101 --address 127.0.0.1:7102 cluster status
  stockmesh-coordinator --insecure-dev item create MUG-1 --description 'Mug, blue' --weight-grams 350
  stockmesh-coordinator --insecure-dev node register dc-1 --kind distribution-center --country GB --entity UK
  stockmesh-coordinator --insecure-dev node range dc-1 MUG-1
  stockmesh-coordinator --insecure-dev order place --line MUG-1=2@4.95 --country GB --vat-percent 20
  stockmesh-coordinator --insecure-dev --output json order get ORDER-1

EXIT STATUS: 0 done, 1 refused, 2 wrong usage, 3 nobody answered")]
struct Args {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args, Debug)]
struct ClientArgs {
    /// Address of a replica, host:port; repeat it for the others of the group
    #[arg(
        long,
        global = true,
        env = "STOCKMESH_COORDINATOR",
        value_delimiter = ',',
        default_value = "127.0.0.1:7101",
        value_name = "HOST:PORT"
    )]
    address: Vec<String>,
    /// No TLS: loopback only, and nobody is authenticated
    #[arg(long, global = true, env = "STOCKMESH_INSECURE_DEV")]
    insecure_dev: bool,
    #[command(flatten)]
    tls: TlsFiles,
    /// Form of what is printed
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: OutputFormat,
    /// How long to try, over all addresses
    #[arg(long, global = true, default_value_t = 15, value_name = "SECONDS")]
    deadline: u64,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run one replica of a coordinator group
    Serve(serve::ServeArgs),
    /// Place, look up and cancel orders
    #[command(subcommand)]
    Order(orders::OrderCommand),
    /// Items of the catalog
    #[command(subcommand)]
    Item(master::ItemCommand),
    /// Nodes of the network
    #[command(subcommand)]
    Node(master::NodeCommand),
    /// Availability: what can be promised now
    #[command(subcommand)]
    Atp(status::AtpCommand),
    /// Promise rights, cell by cell (a stock key at a node)
    #[command(subcommand)]
    Cells(status::CellsCommand),
    /// Give promise rights back to a node
    #[command(subcommand)]
    Rights(status::RightsCommand),
    /// The coordinator group itself
    #[command(subcommand)]
    Cluster(status::ClusterCommand),
    /// Certificates for development
    Certs(CertsArgs),
    /// Print a completion script for a shell
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// The command line, a file or a configuration is wrong.
    #[error("{0}")]
    Usage(String),
    /// The service said no, or nobody answered.
    #[error("{}", .0.message())]
    Status(Box<Status>),
    /// A replica stopped.
    #[error("{0:#}")]
    Stopped(anyhow::Error),
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl CliError {
    fn usage(error: impl std::fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Runs a command line, the program's name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Args { client, command } = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // Standard output or error is closed: nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE));
        }
    };
    match run(client, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError::Usage(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(EXIT_USAGE)
        }
        Err(CliError::Status(status)) => print_error(&status),
        Err(CliError::Stopped(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::from(EXIT_REFUSED)
        }
    }
}

fn run(client: ClientArgs, command: Command) -> Result<(), CliError> {
    match command {
        Command::Serve(args) => return serve::run(args, client.tls, client.insecure_dev),
        Command::Certs(args) => return args.run(&mut std::io::stdout()).map_err(CliError::usage),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "stockmesh-coordinator", &mut std::io::stdout());
            return Ok(());
        }
        Command::Order(_)
        | Command::Item(_)
        | Command::Node(_)
        | Command::Atp(_)
        | Command::Cells(_)
        | Command::Rights(_)
        | Command::Cluster(_) => {}
    }
    let security = Security::load(&client.tls, client.insecure_dev).map_err(CliError::usage)?;
    let dialer = Dialer::new(security);
    let asking = Asking {
        cluster: Cluster::new(dialer.clone(), client.address.clone(), Duration::from_secs(client.deadline.max(1))),
        dialer,
        addresses: client.address,
        output: client.output,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Stopped(error.into()))?;
    runtime.block_on(async {
        match command {
            Command::Order(command) => orders::run(&asking, command).await,
            Command::Item(command) => master::run_item(&asking, command).await,
            Command::Node(command) => master::run_node(&asking, command).await,
            Command::Atp(command) => status::run_atp(&asking, command).await,
            Command::Cells(command) => status::run_cells(&asking, command).await,
            Command::Rights(command) => status::run_rights(&asking, command).await,
            Command::Cluster(command) => status::run_cluster(&asking, command).await,
            // Done above.
            Command::Serve(_) | Command::Certs(_) | Command::Completions { .. } => Ok(()),
        }
    })
}

/// A client of a running group.
struct Asking {
    cluster: Cluster,
    dialer: Dialer,
    addresses: Vec<String>,
    output: OutputFormat,
}

/// Calls a method of a service on whichever replica answers.
macro_rules! call {
    ($asking:expr, $client:ident, $method:ident, $request:expr) => {{
        let request = $request;
        $asking
            .cluster
            .call(|channel| {
                let request = request.clone();
                async move {
                    $client::new(channel)
                        .max_decoding_message_size(stockmesh_service::MAX_MESSAGE_BYTES)
                        .max_encoding_message_size(stockmesh_service::MAX_MESSAGE_BYTES)
                        .$method(request)
                        .await
                }
            })
            .await
    }};
}
pub(crate) use call;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn wrong_usage_exits_with_2() {
        for args in [vec!["x"], vec!["x", "order", "place"], vec!["x", "--output", "xml", "cluster", "status"]] {
            let code = main(args.into_iter().map(OsString::from));
            assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(EXIT_USAGE)));
        }
    }
}
