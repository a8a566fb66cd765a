//! Measures a coordinator group: three replicas in real processes on this machine, orders one by one and on a stream.
//!
//! ```text
//!   group.rs     three replicas, items, nodes, rights
//!   load.rs      orders that are drawn; calls and streams with so many orders in flight
//!   hardware.rs  what it ran on
//!   report.rs    table and JSON
//! ```
//!
//! Closed loop: a level has a number of orders in flight, and sends the next when one is answered. Every answer is durable
//! on a majority. Replicas and load share the machine, and the loopback has no TLS: compare figures of one machine only.

mod group;
mod hardware;
mod load;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use group::Group;
use load::{Load, Orders};
pub use report::Report;

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct BenchArgs {
    /// Nodes, each with rights for every item
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    nodes: u32,
    /// Items; orders choose them by Zipf's law with exponent 1.05
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    items: u32,
    /// Lines of an order
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    lines: u32,
    /// Every order is for one and the same item
    #[arg(long)]
    hot: bool,
    /// Orders in flight, one level after the other
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 4, 16, 64, 256])]
    in_flight: Vec<usize>,
    /// Orders in flight on the stream, one level after the other
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [256, 4_096])]
    stream_in_flight: Vec<usize>,
    /// Orders of one message of a stream
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    message: u32,
    /// How long each level is measured, after a warm-up of a fifth of it
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Connections of unary calls
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    connections: u32,
    /// Folder of the replicas, on the disk to be measured [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Write the figures as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs the benchmark.
///
/// # Errors
/// A process that does not start, a call that fails, a file that can't be written.
pub async fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let group = Group::start(args.dir.clone()).await?;
    eprintln!("three replicas serve; giving {} nodes rights for {} items", args.nodes, args.items);
    group.stock(args.nodes, args.items).await?;
    let mut report = Report::new(args);
    let leader = group.leader().await?;
    let period = Duration::from_secs(args.seconds);
    let orders = Orders::new(args.items, args.lines, args.hot);
    for (n, in_flight) in args.in_flight.iter().enumerate() {
        let load = Load { orders: orders.clone(), in_flight: *in_flight, period, prefix: format!("U{n}") };
        let channels = (0..args.connections).map(|_| group.channel(&leader)).collect::<anyhow::Result<Vec<_>>>()?;
        let figures = load.unary(channels).await.context("unary calls")?;
        report.add("unary", *in_flight, figures);
    }
    for (n, in_flight) in args.stream_in_flight.iter().enumerate() {
        let load = Load { orders: orders.clone(), in_flight: *in_flight, period, prefix: format!("S{n}") };
        let figures = load.stream(group.channel(&leader)?, args.message as usize).await.context("the stream")?;
        report.add("stream", *in_flight, figures);
    }
    report.replicas_agree = group.agree().await?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report.json())?;
        std::fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))?;
    }
    Ok(report)
}
