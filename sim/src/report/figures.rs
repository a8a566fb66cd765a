//! Every number of the report, computed once.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use stockmesh_types::Currency;

use crate::checks::customer_totals::{self, Supplied};
use crate::checks::{self, Verdict};
use crate::demo::DemoResult;
use crate::streams::Totals;

/// Percentiles that are shown.
pub const PERCENTILES: [f64; 6] = [50.0, 75.0, 90.0, 99.0, 99.9, 100.0];

/// Units by state, over all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// Received.
    pub received: i64,
    /// Sellable.
    pub on_hand: i64,
    /// Part of it whose rights the coordinator has.
    pub outstanding: i64,
    /// Quarantined.
    pub quarantined: i64,
    /// Damaged.
    pub damaged: i64,
    /// Returned, not inspected.
    pub return_pending: i64,
    /// Sold at counters.
    pub sold: i64,
    /// Shipped.
    pub shipped: i64,
    /// Brought back by customers.
    pub customer_returned: i64,
    /// Lost, less found.
    pub lost: i64,
    /// Written off.
    pub disposed: i64,
}

/// One node's part.
#[derive(Clone, Debug, Default)]
pub struct NodeFigures {
    /// Node.
    pub node: String,
    /// Tasks.
    pub tasks: u64,
    /// Units shipped.
    pub shipped: i64,
    /// Units sold at the counter.
    pub sold: i64,
    /// Units on hand.
    pub on_hand: i64,
    /// Entries of its feed.
    pub feed: u64,
}

/// What became of what was ordered.
#[derive(Clone, Copy, Debug, Default)]
pub struct OrderFigures {
    /// Acknowledged.
    pub placed: usize,
    /// Shipped from more than one node, by the first answer.
    pub split: usize,
    /// With a line that could not be filled at once.
    pub short: usize,
    /// Lines.
    pub lines: usize,
    /// Lines short at once.
    pub short_lines: usize,
    /// Lines with units of several nodes.
    pub split_lines: usize,
    /// Units ordered.
    pub units: i64,
    /// Units short at once.
    pub short_units: i64,
    /// Units cancelled, for whatever reason.
    pub cancelled_units: i64,
    /// Units shipped.
    pub shipped_units: i64,
    /// Units that still wait.
    pub waiting_units: i64,
}

/// Every number.
pub struct Figures {
    /// Of the stream as placed.
    pub stream: Totals,
    /// Digits of the currency's minor unit.
    pub exponent: u32,
    /// Orders.
    pub orders: OrderFigures,
    /// Latency in microseconds by percentile.
    pub latency_us: Vec<(f64, u64)>,
    /// Orders per second between the first and the last answer.
    pub orders_per_second: f64,
    /// Order lines per second.
    pub lines_per_second: f64,
    /// The longest time between two acknowledged orders, microseconds.
    pub longest_gap_us: u64,
    /// Units by state.
    pub units: Units,
    /// By node.
    pub nodes: Vec<NodeFigures>,
    /// What left, and what came back.
    pub supplied: (Supplied, Supplied),
    /// Orders acknowledged in each second of the run.
    pub per_second: Vec<u64>,
    /// The checks.
    pub verdicts: Vec<Verdict>,
}

impl Figures {
    /// Computes them; runs the checks.
    #[must_use]
    pub fn of(result: &DemoResult) -> Self {
        let acks = &result.acks;
        let mut at: Vec<u64> = acks.orders.iter().map(|order| order.at_us).collect();
        at.sort_unstable();
        let span_us = at.last().copied().unwrap_or(0).saturating_sub(at.first().copied().unwrap_or(0)).max(1);
        let per = |count: usize| count as f64 / (span_us as f64 / 1e6);
        let lines = acks.orders.iter().map(|order| order.order.lines.len()).sum();
        let mut per_second = vec![0u64; usize::try_from(at.last().copied().unwrap_or(0) / 1_000_000 + 1).unwrap_or(1)];
        for us in &at {
            if let Some(count) = usize::try_from(us / 1_000_000).ok().and_then(|second| per_second.get_mut(second)) {
                *count += 1;
            }
        }
        Self {
            stream: result.stream.totals(),
            exponent: Currency::new(result.stream.currency_code).map_or(2, |currency| currency.exponent()),
            orders: orders(result),
            latency_us: latency(result),
            orders_per_second: per(acks.orders.len()),
            lines_per_second: per(lines),
            longest_gap_us: at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0),
            units: units(result),
            nodes: nodes(result),
            supplied: customer_totals::recompute(result),
            per_second,
            verdicts: checks::run_all(result),
        }
    }

    /// Every check passed.
    #[must_use]
    pub fn all_passed(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.findings.passed())
    }
}

fn latency(result: &DemoResult) -> Vec<(f64, u64)> {
    let mut histogram = match Histogram::<u64>::new_with_bounds(1, 600_000_000, 3) {
        Ok(histogram) => histogram,
        Err(_) => return Vec::new(),
    };
    for order in &result.acks.orders {
        histogram.saturating_record(order.latency_us);
    }
    PERCENTILES.iter().map(|percent| (*percent, histogram.value_at_percentile(*percent))).collect()
}

fn orders(result: &DemoResult) -> OrderFigures {
    let mut figures = OrderFigures { placed: result.acks.orders.len(), ..OrderFigures::default() };
    for order in &result.acks.orders {
        figures.split += usize::from(order.nodes > 1);
        figures.short += usize::from(order.short_lines > 0);
        figures.lines += order.order.lines.len();
        figures.short_lines += order.short_lines;
        figures.split_lines += order.split_lines;
        figures.short_units += order.short_units;
    }
    for line in result.evidence.orders.iter().flat_map(|order| &order.lines) {
        figures.units += line.ordered;
        figures.cancelled_units += line.cancelled;
        figures.shipped_units += line.shipped;
        figures.waiting_units += line.backordered;
    }
    figures
}

fn units(result: &DemoResult) -> Units {
    let mut units = Units::default();
    for level in result.evidence.levels.values().flatten() {
        units.received += level.received_total;
        units.on_hand += level.on_hand;
        units.outstanding += level.outstanding;
        units.quarantined += level.quarantined;
        units.damaged += level.damaged;
        units.return_pending += level.return_pending;
        units.sold += level.sold_total;
        units.shipped += level.shipped_total;
        units.customer_returned += level.customer_returned_total;
        units.lost -= level.adjusted_total;
        units.disposed += level.disposed_total;
    }
    units
}

fn nodes(result: &DemoResult) -> Vec<NodeFigures> {
    let evidence = &result.evidence;
    let feeds: BTreeMap<&str, u64> =
        evidence.positions.statuses.iter().map(|status| (status.node.as_str(), status.feed_seq)).collect();
    let of = |node: &str| {
        let levels = evidence.levels.get(node).map(Vec::as_slice).unwrap_or_default();
        NodeFigures {
            node: node.to_owned(),
            tasks: evidence.tasks.get(node).map_or(0, |tasks| tasks.len() as u64),
            shipped: levels.iter().map(|level| level.shipped_total).sum(),
            sold: levels.iter().map(|level| level.sold_total).sum(),
            on_hand: levels.iter().map(|level| level.on_hand).sum(),
            feed: feeds.get(node).copied().unwrap_or(0),
        }
    };
    result.layout.nodes.iter().map(|spec| of(&spec.node)).collect()
}
