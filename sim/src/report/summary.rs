//! The summary on the terminal: a minute's reading.

use std::fmt::Write;

use crate::demo::DemoResult;

use super::figures::Figures;
use super::{grouped, money, signed};

fn seconds(us: u64) -> String {
    format!("{:.2} s", us as f64 / 1e6)
}

fn share(part: usize, whole: usize) -> String {
    format!("{:.0} %", part as f64 * 100.0 / whole.max(1) as f64)
}

/// The summary as text.
#[must_use]
pub fn text(result: &DemoResult, figures: &Figures) -> String {
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = write(&mut out, result, figures);
    out
}

fn write(out: &mut String, result: &DemoResult, figures: &Figures) -> std::fmt::Result {
    let (acks, orders, exponent) = (&result.acks, &figures.orders, figures.exponent);
    let currency = result.stream.currency_code;
    let count = |number: usize| grouped(number as u64);
    writeln!(out, "\n{}", result.stream.name)?;
    writeln!(out, "  source    {}", result.stream.source)?;
    let totals = &figures.stream;
    writeln!(
        out,
        "  placed    {} orders and {} counter sales, {} lines, {} units, net {} {currency}, tax {}",
        grouped(totals.orders),
        grouped(totals.counter_sales),
        grouped(totals.lines),
        signed(totals.units),
        money(totals.net_minor(), exponent),
        money(totals.tax_minor(), exponent)
    )?;
    writeln!(out, "\nOrders")?;
    writeln!(
        out,
        "  promised  {} orders of {} lines; {} split over nodes ({}); {} short at first ({}): {} of {} lines, {} units",
        count(orders.placed),
        count(orders.lines),
        count(orders.split),
        share(orders.split, orders.placed),
        count(orders.short),
        share(orders.short, orders.placed),
        count(orders.short_lines),
        count(orders.lines),
        signed(orders.short_units)
    )?;
    writeln!(
        out,
        "  became    {} units ordered = {} shipped + {} cancelled + {} waiting",
        signed(orders.units),
        signed(orders.shipped_units),
        signed(orders.cancelled_units),
        signed(orders.waiting_units)
    )?;
    writeln!(
        out,
        "  why       {} orders cancelled by customers ({} too late); {} given up at the end: discontinued items, and what nodes could not find",
        grouped(acks.cancellations),
        grouped(acks.cancelled_too_late),
        grouped(acks.given_up_orders)
    )?;
    writeln!(
        out,
        "  shipped   {} shipments ({} of them partial), {} tasks picked and packed step by step, {} declined: {}",
        grouped(acks.shipments),
        grouped(acks.partial_shipments),
        grouped(acks.picked_and_packed),
        grouped(acks.declines),
        acks.declined_units.iter().map(|(why, units)| format!("{units} units {why}")).collect::<Vec<_>>().join(", ")
    )?;
    writeln!(
        out,
        "  counters  {} sales, {} more were ordered instead of breaking a promise; {} returns taken, {} not shipped before",
        count(acks.sales.len()),
        grouped(acks.sales_ordered_instead),
        count(acks.returns.len()),
        grouped(acks.returns_not_shipped)
    )?;
    if !acks.refused_orders.is_empty() {
        writeln!(
            out,
            "  REFUSED   {} orders, the first: {:?}",
            acks.refused_orders.len(),
            acks.refused_orders.first()
        )?;
    }
    writeln!(out, "\nSpeed and faults")?;
    let latency: Vec<String> =
        figures.latency_us.iter().map(|(percent, us)| format!("p{percent} {:.1} ms", *us as f64 / 1e3)).collect();
    writeln!(
        out,
        "  rate      {:.0} orders/s, {:.0} lines/s, with everything on this machine",
        figures.orders_per_second, figures.lines_per_second
    )?;
    writeln!(out, "  latency   {}", latency.join(", "))?;
    writeln!(
        out,
        "  killed    {}; {} without a leader, {} the longest between two orders",
        result.faults.killed.join(", "),
        seconds(result.faults.without_leader_us),
        seconds(figures.longest_gap_us)
    )?;
    let durations = result.durations;
    writeln!(
        out,
        "  took      start {} ms, set-up {} ms, stream {} ms, until at rest {} ms, reading back {} ms",
        durations.start_ms, durations.set_up_ms, durations.play_ms, durations.aftermath_ms, durations.evidence_ms
    )?;
    units(out, figures)?;
    writeln!(out, "\nTrial balance ({currency})")?;
    for balance in &result.evidence.balances {
        let amount = balance.debit_minor - balance.credit_minor;
        let (debit, credit) = if amount >= 0 {
            (money(amount, exponent), String::new())
        } else {
            (String::new(), money(-amount, exponent))
        };
        writeln!(out, "  {:<44}{debit:>18}{credit:>18}", balance.account)?;
    }
    let total: i64 = result.evidence.balances.iter().map(|b| (b.debit_minor - b.credit_minor).max(0)).sum();
    let total = money(total, exponent);
    writeln!(
        out,
        "  {:<44}{total:>18}{total:>18}",
        format!("{} journal entries", grouped(result.evidence.journal_entries))
    )?;
    writeln!(out, "\nAssumptions")?;
    for assumption in &result.assumptions {
        writeln!(out, "  - {assumption}")?;
    }
    if !result.stream.left_out.classes.is_empty() {
        writeln!(
            out,
            "\nLeft out: {} of {} lines",
            grouped(result.stream.left_out.lines()),
            grouped(result.stream.lines_read)
        )?;
        for sentence in result.stream.left_out.sentences() {
            writeln!(out, "  - {sentence}")?;
        }
    }
    checks(out, figures)
}

fn units(out: &mut String, figures: &Figures) -> std::fmt::Result {
    let units = &figures.units;
    writeln!(out, "\nUnits by state, over all nodes")?;
    writeln!(
        out,
        "  came      {} received, {} returned by customers, {} lost",
        signed(units.received),
        signed(units.customer_returned),
        signed(units.lost)
    )?;
    writeln!(
        out,
        "  are there {} on hand ({} of them promisable), {} damaged, {} quarantined, {} return pending",
        signed(units.on_hand),
        signed(units.outstanding),
        signed(units.damaged),
        signed(units.quarantined),
        signed(units.return_pending)
    )?;
    writeln!(
        out,
        "  left      {} shipped, {} sold, {} written off",
        signed(units.shipped),
        signed(units.sold),
        signed(units.disposed)
    )?;
    for node in &figures.nodes {
        writeln!(
            out,
            "  {:<10}{:>8} tasks {:>10} shipped {:>8} sold {:>10} on hand {:>9} feed entries",
            node.node,
            grouped(node.tasks),
            signed(node.shipped),
            signed(node.sold),
            signed(node.on_hand),
            grouped(node.feed)
        )?;
    }
    Ok(())
}

fn checks(out: &mut String, figures: &Figures) -> std::fmt::Result {
    writeln!(out, "\nChecks")?;
    for verdict in &figures.verdicts {
        let word = if verdict.findings.passed() { "passed" } else { "FAILED" };
        writeln!(out, "  {word}  {} ({})", verdict.check.name, verdict.findings.looked_at)?;
        for violation in &verdict.findings.violations {
            writeln!(out, "          {violation}")?;
        }
        let more = verdict.findings.violation_count.saturating_sub(verdict.findings.violations.len() as u64);
        if more > 0 {
            writeln!(out, "          and {more} more")?;
        }
    }
    Ok(())
}
