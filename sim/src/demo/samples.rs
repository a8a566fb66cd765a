//! Samples of the run for its charts, and the progress bar.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

use super::context::Context;

/// Between two samples.
const EVERY: Duration = Duration::from_millis(250);

/// One look at the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Since the start of the run, microseconds.
    pub at_us: u64,
    /// Orders acknowledged.
    pub orders: u64,
    /// Units shipped.
    pub shipped_units: i64,
    /// Units sold at counters.
    pub counter_units: i64,
    /// Units that wait in backorder queues; `None` while nobody answers.
    pub backordered_units: Option<i64>,
}

/// A bar on a terminal; nothing where there is none.
#[must_use]
pub fn bar(length: usize) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} orders and sales  {elapsed}  {msg}") {
        bar.set_style(style);
    }
    bar
}

/// Samples until told to stop.
pub async fn collect(context: &Context, bar: &ProgressBar, mut stop: watch::Receiver<bool>) -> Vec<Sample> {
    let mut samples = Vec::new();
    while !*stop.borrow() {
        let statuses = context.clients.replica_statuses().await;
        let leading = statuses.into_iter().filter_map(|(_, status)| status).max_by_key(|status| status.applied_index);
        let sample = Sample {
            at_us: context.book.now_us(),
            orders: context.gauges.orders.load(Relaxed),
            shipped_units: context.gauges.shipped_units.load(Relaxed),
            counter_units: context.gauges.counter_units.load(Relaxed),
            backordered_units: leading.map(|status| status.backordered_units),
        };
        samples.push(sample);
        bar.set_position(*context.done.borrow() as u64);
        let waiting = sample.backordered_units.map_or_else(|| "?".to_owned(), |units| units.to_string());
        bar.set_message(format!("{} units shipped, {waiting} waiting", sample.shipped_units));
        let _ = tokio::time::timeout(EVERY, stop.changed()).await;
    }
    samples
}
