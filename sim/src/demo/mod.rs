//! The demo: a network is started, a stream of orders is played against it while parts of it are killed, everything is
//! shipped, returns come back, and what the network then says is gathered for the checks and the report.
//!
//! ```text
//!   setup.rs -> place.rs (customers), work.rs (nodes), faults.rs, deliveries   at the same time
//!            -> aftermath.rs (returns, what is given up) -> quiet.rs -> evidence (crate::checks)
//! ```
//! `context.rs` is what all of them share, `acks.rs` what the network acknowledged to them.

pub mod acks;
pub mod aftermath;
pub mod context;
pub mod faults;
pub mod place;
pub mod quiet;
pub mod samples;
pub mod setup;
pub mod stock_plan;
pub mod work;

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use stockmesh_proto::feed::v1::ReceiptKind;
use tokio::sync::watch;

use crate::checks::evidence::Evidence;
use crate::network::{Layout, Network, NetworkError, NetworkOptions};
use crate::streams::Stream;

use acks::{AckBook, Acks};
use context::{CallError, Context, Gauges};
use faults::FaultReport;
use quiet::QuietError;
use samples::Sample;
use setup::SetupError;

/// Why a demo ends before its checks.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The set-up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It does not come to rest.
    #[error(transparent)]
    Quiet(#[from] QuietError),
    /// A process ended by itself.
    #[error("{0}")]
    Died(String),
}

/// What to play, and how.
pub struct DemoOptions {
    /// The stream.
    pub stream: Stream,
    /// Seed of every draw.
    pub seed: u64,
    /// Events a second; `None`: as fast as they are answered.
    pub rate: Option<f64>,
    /// Data folder; `None`: temporary.
    pub dir: Option<std::path::PathBuf>,
}

/// How long each part of a demo took, milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Durations {
    /// Processes and leader.
    pub start_ms: u64,
    /// Master data and opening stock.
    pub set_up_ms: u64,
    /// The stream.
    pub play_ms: u64,
    /// Until everything was shipped, returned and posted.
    pub aftermath_ms: u64,
    /// Reading back.
    pub evidence_ms: u64,
}

/// What came of it.
pub struct DemoResult {
    /// What was played.
    pub stream: Arc<Stream>,
    /// Nodes.
    pub layout: Layout,
    /// What the network acknowledged.
    pub acks: Acks,
    /// What the network says now.
    pub evidence: Evidence,
    /// Faults.
    pub faults: FaultReport,
    /// Samples.
    pub samples: Vec<Sample>,
    /// Durations.
    pub durations: Durations,
    /// Every assumption.
    pub assumptions: Vec<String>,
}

/// Runs a demo; gives the network, still running, and what came of it.
///
/// # Errors
/// [`DemoError`].
pub async fn run(options: DemoOptions) -> Result<(Network, DemoResult), DemoError> {
    let DemoOptions { stream, seed, rate, dir } = options;
    let layout = if stream.stores.is_empty() { Layout::european() } else { Layout::with_stores(&stream.stores) };
    let stock = stock_plan::plan(&stream, &layout, seed);
    let mut clock = std::time::Instant::now();
    let mut lap = move || {
        let ms = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        clock = std::time::Instant::now();
        ms
    };
    let bar = samples::bar(stream.events.len());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.set_message("starting the network");
    let mut durations = Durations::default();
    let mut network =
        Network::start(NetworkOptions { dir, ..NetworkOptions::of_this_program(layout.clone())? }).await?;
    durations.start_ms = lap();
    let context = Context {
        stream: Arc::new(stream),
        layout,
        stock,
        clients: network.clients().clone(),
        seed,
        book: AckBook::new(),
        gauges: Gauges::default(),
        done: watch::Sender::new(0),
    };
    setup::set_up(&context, |what| bar.set_message(what.to_owned())).await?;
    durations.set_up_ms = lap();
    context.book.mark("first order");
    let (faults, samples) = play(&context, &mut network, rate, &bar, &mut durations, &mut lap).await?;
    bar.set_message("reading back what the network says");
    let evidence = Evidence::gather(&context.clients).await?;
    durations.evidence_ms = lap();
    let died = network.died_by_themselves();
    if !died.is_empty() {
        return Err(DemoError::Died(died.join("\n")));
    }
    bar.finish_and_clear();
    let mut assumptions = context.stream.assumptions.clone();
    assumptions.extend(context.stock.assumptions.iter().cloned());
    assumptions.extend([place::assumption(), work::assumption(), aftermath::assumption(), faults::assumption()]);
    assumptions.push(
        "goods move, and are booked, on the day of the run; orders and counter sales keep the time, prices and tax rates of \
         the stream, and returns are taken after the last order"
            .to_owned(),
    );
    assumptions.push(
        "the books hold what the network does: damaged units stay in inventory at cost, refunds are owed and not yet paid, \
         suppliers have not invoiced, no returns are estimated ahead of time"
            .to_owned(),
    );
    let acks = context.book.take();
    let Context { stream, layout, .. } = context;
    let result = DemoResult { stream, layout, acks, evidence, faults, samples, durations, assumptions };
    Ok((network, result))
}

/// The stream, with work and faults beside it, until everything is at rest.
async fn play(
    context: &Context,
    network: &mut Network,
    rate: Option<f64>,
    bar: &indicatif::ProgressBar,
    durations: &mut Durations,
    lap: &mut impl FnMut() -> u64,
) -> Result<(FaultReport, Vec<Sample>), DemoError> {
    let (stop, stopped) = watch::channel(false);
    let workers: Vec<_> = context.layout.nodes.iter().map(|node| work::Worker::new(context, &node.node)).collect();
    let work = async {
        try_join_all(workers.iter().map(|worker| worker.run(stopped.clone()))).await?;
        Ok::<_, DemoError>(())
    };
    let customers = async {
        let deliveries = async {
            context.wait_for_share(50).await;
            setup::receive(context, &context.stock.half_way, ReceiptKind::PurchaseOrder, "half-way").await?;
            context.book.mark("deliveries half-way");
            Ok::<_, DemoError>(())
        };
        let orders = async { Ok(place::play(context, rate).await?) };
        let faults = async { Ok(faults::inject(context, network).await?) };
        let ((), (), report) = tokio::try_join!(orders, deliveries, faults)?;
        context.book.mark("last order");
        durations.play_ms = lap();
        bar.set_message("shipping what is left");
        setup::receive(context, &context.stock.late, ReceiptKind::PurchaseOrder, "late").await?;
        quiet::work_done(&context.clients).await?;
        bar.set_message("taking returns");
        aftermath::take_returns(context).await?;
        quiet::work_done(&context.clients).await?;
        // What returns put back to stock may have filled orders; what is declined after that may wait again.
        while aftermath::give_up_waiting(context).await? > 0 {
            quiet::work_done(&context.clients).await?;
        }
        bar.set_message("waiting for the books");
        quiet::posted(&context.clients).await?;
        context.book.mark("at rest");
        durations.aftermath_ms = lap();
        let _ = stop.send(true);
        Ok::<_, DemoError>(report)
    };
    let samples = async { Ok::<_, DemoError>(samples::collect(context, bar, stopped.clone()).await) };
    let ((), report, samples) = tokio::try_join!(work, customers, samples)?;
    Ok((report, samples))
}
