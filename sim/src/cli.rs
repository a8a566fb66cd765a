//! The command line of the simulator.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use stockmesh_proto::finance::v1::ExportFormat;

use crate::bench::BenchArgs;
use crate::demo::{self, DemoOptions, DemoResult};
use crate::network::{Network, ServiceKind};
use crate::report::{Figures, html, json, summary};
use crate::streams::generate::{GenerateOptions, generate};
use crate::streams::{self, ReadOptions, Stream};

/// Exit status when a check fails.
const CHECK_FAILED: u8 = 3;

/// Runs Stockmesh networks on this machine, plays orders against them, and checks what they did
#[derive(Parser)]
#[command(name = "stockmesh-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a network, play a stream of orders with faults, ship everything, and check the result
    ///
    /// Starts three coordinator replicas, the nodes and finance as real processes on free loopback ports with mutual TLS, in a
    /// fresh temporary folder. Plays a stream of orders while the leader, a distribution center and finance are killed and
    /// started again and stores sell at their counters; ships everything, takes returns, and waits until the books are
    /// complete. Prints a summary. Exit status: 0 all checks passed, 3 a check failed, 1 the run failed, 2 wrong usage
    Demo(DemoArgs),
    /// Measure a coordinator group: orders a second, one by one and on a stream, with their latency
    ///
    /// Starts three replicas as real processes on free loopback ports without TLS, gives nodes rights for every item, and
    /// places orders with so many in flight, level by level. Prints a table with what it ran on. Use a release build
    Bench(BenchArgs),
}

#[derive(Args)]
struct DemoArgs {
    /// Real orders in place of generated ones: the CSV (or .csv.gz) of UCI Online Retail or Complete Journey
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// With --replay: stop after this many sale invoices or baskets
    #[arg(long, value_name = "N", requires = "replay", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// With --replay of Complete Journey: the largest stores that become nodes
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(0..=200))]
    stores: u32,
    /// Orders to generate
    #[arg(long, value_name = "N", default_value_t = 2_000, conflicts_with = "replay", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    orders: u32,
    /// Items of the generated catalog
    #[arg(long, value_name = "N", default_value_t = 1_200, conflicts_with = "replay", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    items: u32,
    /// Seed of everything that is drawn
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Orders and counter sales a second; without it, as fast as they are answered
    #[arg(long, value_name = "N")]
    order_rate: Option<f64>,
    /// Leave the network running at the end, until Ctrl-C, with its addresses printed
    #[arg(long)]
    keep: bool,
    /// Data folder of the network: kept. Must be empty or missing
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where to write the report, one HTML page [default: a new file in the system's temporary folder]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the books into this folder: books.beancount, postings.csv
    #[arg(long, value_name = "DIR")]
    export_dir: Option<PathBuf>,
}

/// Runs the simulator.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let outcome = match cli.command {
        Command::Demo(args) => run(&args),
        Command::Bench(args) => bench(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(CHECK_FAILED),
        Err(error) => {
            eprintln!("error: {}", said_once(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, each said once: many of ours name their cause in their own text.
fn said_once(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        text if text.contains(&cause) => said,
        text => format!("{text}: {cause}"),
    })
}

fn run(args: &DemoArgs) -> anyhow::Result<bool> {
    if args.order_rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
        bail!("--order-rate must be above 0");
    }
    if let Some(dir) = &args.out
        && dir.read_dir().is_ok_and(|mut entries| entries.next().is_some())
    {
        bail!("{} is not empty: give a new folder to --out, or none for a temporary one", dir.display());
    }
    let stream = stream_of(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        tokio::select! {
            // Ctrl-C drops the run, and with it every process.
            () = stockmesh_service::server::shutdown_signal(), if !args.keep => bail!("interrupted"),
            passed = demo(args, stream) => passed,
        }
    })
}

fn bench(args: &BenchArgs) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let report = runtime.block_on(async {
        tokio::select! {
            // Ctrl-C drops the run, and with it every process.
            () = stockmesh_service::server::shutdown_signal() => bail!("interrupted"),
            report = crate::bench::run(args) => report,
        }
    })?;
    report.print();
    Ok(report.replicas_agree)
}

fn stream_of(args: &DemoArgs) -> anyhow::Result<Stream> {
    let Some(file) = &args.replay else {
        return Ok(generate(GenerateOptions {
            seed: args.seed,
            orders: args.orders as usize,
            items: args.items as usize,
            stores: 3,
        }));
    };
    let options =
        ReadOptions { limit: args.limit.map(|limit| limit as usize), stores: args.stores as usize, seed: args.seed };
    Ok(streams::read(file, options)?)
}

async fn demo(args: &DemoArgs, stream: Stream) -> anyhow::Result<bool> {
    let options = DemoOptions { stream, seed: args.seed, rate: args.order_rate, dir: args.out.clone() };
    let run = demo::run(options);
    let (mut network, result) = if args.keep {
        tokio::select! {
            () = stockmesh_service::server::shutdown_signal() => bail!("interrupted"),
            outcome = run => outcome?,
        }
    } else {
        run.await?
    };
    let figures = Figures::of(&result);
    println!("{}", summary::text(&result, &figures));
    write_files(args, &network, &result, &figures).await?;
    let passed = figures.all_passed();
    println!("{}", if passed { "all checks passed" } else { "CHECKS FAILED" });
    if args.keep {
        keep(&mut network).await?;
    }
    network.shut_down().await?;
    Ok(passed)
}

async fn write_files(args: &DemoArgs, network: &Network, result: &DemoResult, figures: &Figures) -> anyhow::Result<()> {
    let write = |path: &Path, bytes: &[u8]| {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
        }
        std::fs::write(path, bytes).with_context(|| format!("{} can't be written", path.display()))
    };
    let fresh = || std::env::temp_dir().join(format!("stockmesh-demo-{}.html", std::process::id()));
    let report = args.report.clone().unwrap_or_else(fresh);
    write(&report, html::page(result, figures).as_bytes())?;
    println!("report: {}", report.display());
    if let Some(path) = &args.json {
        write(path, serde_json::to_string_pretty(&json::value(result, figures))?.as_bytes())?;
        println!("JSON: {}", path.display());
    }
    if let Some(dir) = &args.export_dir {
        for (format, name) in [(ExportFormat::Beancount, "books.beancount"), (ExportFormat::Csv, "postings.csv")] {
            let file = network.clients().export_ledger(format).await;
            let file = file.map_err(|status| anyhow::anyhow!("{}", stockmesh_service::status::explain(&status)))?;
            write(&dir.join(name), &file)?;
            println!("books: {}", dir.join(name).display());
        }
    }
    Ok(())
}

async fn keep(network: &mut Network) -> anyhow::Result<()> {
    println!("\nThe network is up; its data is in {}", network.dir().display());
    for (name, kind, address, nodes) in network.addresses() {
        let nodes = if kind == ServiceKind::Node { format!("  {}", nodes.join(", ")) } else { String::new() };
        println!("  {address:<18}{name}{nodes}");
    }
    let certificates = network.dir().join("certificates");
    println!("To call it:");
    for (flag, file) in [("CA", "ca"), ("CERT", "simulator"), ("KEY", "simulator-key")] {
        println!("  export STOCKMESH_TLS_{flag}={}", certificates.join(format!("{file}.pem")).display());
    }
    println!("Ctrl-C ends it.");
    stockmesh_service::server::shutdown_signal().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_said_once() {
        let io = || std::io::Error::other("disk on fire");
        let ours = streams::StreamError::Io { path: "a.csv".into(), source: io() };
        assert_eq!(said_once(&ours.into()), "cannot read a.csv: disk on fire");
        assert_eq!(
            said_once(&anyhow::Error::from(io()).context("b can't be written")),
            "b can't be written: disk on fire"
        );
    }
}
