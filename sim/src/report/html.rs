//! The report as one page: light and dark, printable, nothing from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::demo::DemoResult;

use super::charts::{Mark, bars_over_time, line_over_time, named_bars};
use super::figures::Figures;
use super::{grouped, money, signed};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --panel: #f6f8fa; --rule: #d0d7de; --accent: #0b63c5; --good: #1a7f37; --bad: #c4281c; --mark: #b35900; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9da7b3; --paper: #0d1117; --panel: #161b22; --rule: #30363d; --accent: #58a6ff; --good: #3fb950; --bad: #ff7b72; --mark: #e3a04f; } }
* { box-sizing: border-box } body { margin: 0 auto; padding: 1.5rem; max-width: 68rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; border-bottom: 1px solid var(--rule); padding-bottom: .2rem } .soft { color: var(--soft) }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .7rem; margin: 1rem 0 } .card { background: var(--panel); border: 1px solid var(--rule); border-radius: 6px; padding: .6rem .8rem } .card b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums }
.verdict { font-weight: 600; padding: .15rem .6rem; border-radius: 1rem; color: var(--paper); background: var(--good) } .verdict.failed { background: var(--bad) } .good { color: var(--good); font-weight: 600 } .bad { color: var(--bad); font-weight: 600 }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--rule); vertical-align: top } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
figure { margin: 1rem 0 } figcaption { font-weight: 600; margin-bottom: .3rem } svg { width: 100%; height: auto; background: var(--panel); border: 1px solid var(--rule); border-radius: 6px }
.grid { stroke: var(--rule); stroke-width: 1 } .axis { fill: var(--soft); font: 11px system-ui, sans-serif } .bar { fill: var(--accent) } .line { fill: none; stroke: var(--accent); stroke-width: 2 } .mark { stroke: var(--mark); stroke-width: 1.5; stroke-dasharray: 4 3 } .number { fill: var(--mark); font: 600 10px system-ui, sans-serif } .legend { color: var(--soft); font-size: .85rem; margin: .3rem 0 } .legend span { margin-right: .8rem }
";

fn card(label: &str, value: &str, more: &str) -> Markup {
    html! { div.card { span.soft { (label) } b { (value) } span.soft { (more) } } }
}

/// The page.
#[must_use]
pub fn page(result: &DemoResult, figures: &Figures) -> String {
    let passed = figures.all_passed();
    let failed = figures.verdicts.iter().filter(|verdict| !verdict.findings.passed()).count();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Stockmesh demo: " (result.stream.name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Stockmesh demo " @if passed { span.verdict { "all checks passed" } } @else { span class="verdict failed" { (failed) " checks failed" } } }
                p.soft { (result.stream.name) ". Source: " (result.stream.source) "." }
                (cards(result, figures))
                (over_time(result, figures))
                (checks(figures))
                (orders(result, figures))
                (units(figures))
                (balance(result, figures))
                (stated(result))
            }
        }
    };
    page.into_string()
}

fn cards(result: &DemoResult, figures: &Figures) -> Markup {
    let orders = &figures.orders;
    let p = |wanted: f64| {
        figures.latency_us.iter().find(|(percent, _)| (percent - wanted).abs() < 1e-9).map_or(0, |(_, us)| *us)
    };
    html! {
        div.cards {
            (card("orders promised", &grouped(orders.placed as u64), &format!("{} lines", grouped(orders.lines as u64))))
            (card("split over nodes", &format!("{:.0} %", orders.split as f64 * 100.0 / orders.placed.max(1) as f64), &format!("{} orders", grouped(orders.split as u64))))
            (card("lines short at first", &format!("{:.1} %", orders.short_lines as f64 * 100.0 / orders.lines.max(1) as f64), &format!("{} units", signed(orders.short_units))))
            (card("units shipped", &signed(orders.shipped_units), &format!("{} shipments", grouped(result.acks.shipments))))
            (card("sold at counters", &signed(figures.units.sold), &format!("{} sales", grouped(result.acks.sales.len() as u64))))
            (card("orders per second", &format!("{:.0}", figures.orders_per_second), &format!("{:.0} lines per second", figures.lines_per_second)))
            (card("latency, median", &format!("{:.1} ms", p(50.0) as f64 / 1e3), &format!("p99 {:.1} ms", p(99.0) as f64 / 1e3)))
            (card("without a leader", &format!("{:.2} s", result.faults.without_leader_us as f64 / 1e6), &format!("longest gap {:.2} s", figures.longest_gap_us as f64 / 1e6)))
        }
    }
}

fn marks(result: &DemoResult) -> Vec<Mark> {
    let of = |(at_us, what): &(u64, String)| Mark { at: *at_us as f64 / 1e6, what: what.clone() };
    result.acks.marks.iter().map(of).collect()
}

fn over_time(result: &DemoResult, figures: &Figures) -> Markup {
    let last = figures.per_second.len() as f64;
    let orders_marks: Vec<Mark> = marks(result).into_iter().filter(|mark| mark.at < last).collect();
    let waiting: Vec<(f64, f64)> = result
        .samples
        .iter()
        .filter_map(|sample| Some((sample.at_us as f64 / 1e6, sample.backordered_units? as f64)))
        .collect();
    let shipped: Vec<(f64, f64)> =
        result.samples.iter().map(|sample| (sample.at_us as f64 / 1e6, sample.shipped_units as f64)).collect();
    let latency: Vec<(String, f64)> =
        figures.latency_us.iter().map(|(percent, us)| (format!("p{percent}"), *us as f64 / 1e3)).collect();
    html! {
        h2 { "What happened" }
        (bars_over_time("Orders acknowledged per second", &figures.per_second, &orders_marks))
        (line_over_time("Units waiting in backorder queues", &waiting, &marks(result)))
        (line_over_time("Units shipped", &shipped, &[]))
        (named_bars("Latency of an order, from its intended start, by percentile", " ms", &latency))
    }
}

fn checks(figures: &Figures) -> Markup {
    html! {
        h2 { "Checks" }
        div.scroll { table {
            thead { tr { th { "" } th { "check" } th { "guarantee" } th { "looked at" } } }
            tbody { @for verdict in &figures.verdicts {
                tr {
                    td { @if verdict.findings.passed() { span.good { "passed" } } @else { span.bad { "FAILED" } } }
                    td { (verdict.check.name) }
                    td { (verdict.check.guarantee) " " span.soft { "(" (verdict.check.source) ")" }
                        @if !verdict.findings.violations.is_empty() { ul { @for violation in &verdict.findings.violations { li.bad { (violation) } } } } }
                    td { (verdict.findings.looked_at) }
                }
            } }
        } }
    }
}

fn orders(result: &DemoResult, figures: &Figures) -> Markup {
    let (orders, acks) = (&figures.orders, &result.acks);
    let rows = [
        ("units ordered", orders.units, String::new()),
        (
            "short when ordered",
            orders.short_units,
            format!(
                "{} lines of {} orders: no node could promise them then",
                grouped(orders.short_lines as u64),
                grouped(orders.short as u64)
            ),
        ),
        (
            "shipped",
            orders.shipped_units,
            format!("{} shipments, {} of them partial", grouped(acks.shipments), grouped(acks.partial_shipments)),
        ),
        (
            "cancelled",
            orders.cancelled_units,
            format!(
                "{} orders by customers ({} too late), {} given up at the end: discontinued items, and what nodes could not find",
                grouped(acks.cancellations),
                grouped(acks.cancelled_too_late),
                grouped(acks.given_up_orders)
            ),
        ),
        ("still waiting", orders.waiting_units, String::new()),
    ];
    html! {
        h2 { "What became of the orders" }
        div.scroll { table { tbody { @for (what, units, why) in rows { tr { td { (what) } td.n { (signed(units)) } td.soft { (why) } } }
            @for (why, units) in &acks.declined_units { tr { td { "declined: " (why) } td.n { (signed(*units)) } td.soft { "units that a node would not ship, sourced anew" } } }
        } } }
    }
}

fn units(figures: &Figures) -> Markup {
    let units = &figures.units;
    let rows = [
        ("received", units.received),
        ("returned by customers", units.customer_returned),
        ("on hand", units.on_hand),
        ("of those, promisable by the coordinator", units.outstanding),
        ("damaged", units.damaged),
        ("quarantined", units.quarantined),
        ("return pending", units.return_pending),
        ("shipped", units.shipped),
        ("sold at counters", units.sold),
        ("lost", units.lost),
        ("written off", units.disposed),
    ];
    let shipped: Vec<(String, f64)> =
        figures.nodes.iter().map(|node| (node.node.clone(), node.shipped as f64)).collect();
    html! {
        h2 { "Units by state" }
        div.scroll { table { tbody { @for (what, number) in rows { tr { td { (what) } td.n { (signed(number)) } } } } } }
        (named_bars("Units shipped by node", "", &shipped))
    }
}

fn balance(result: &DemoResult, figures: &Figures) -> Markup {
    html! {
        h2 { "Trial balance (" (result.stream.currency_code) ")" }
        div.scroll { table {
            thead { tr { th { "account" } th.n { "debit" } th.n { "credit" } th.n { "balance" } } }
            tbody { @for balance in &result.evidence.balances { tr {
                td { (balance.account) }
                td.n { (money(balance.debit_minor, figures.exponent)) }
                td.n { (money(balance.credit_minor, figures.exponent)) }
                td.n { (money(balance.debit_minor - balance.credit_minor, figures.exponent)) }
            } } }
        } }
        p.soft { (grouped(result.evidence.journal_entries)) " journal entries." }
    }
}

fn stated(result: &DemoResult) -> Markup {
    let left_out = &result.stream.left_out;
    html! {
        h2 { "Assumptions" }
        ul { @for assumption in &result.assumptions { li { (assumption) } } }
        @if !left_out.classes.is_empty() {
            h2 { "Left out: " (grouped(left_out.lines())) " of " (grouped(result.stream.lines_read)) " lines" }
            ul { @for sentence in left_out.sentences() { li { (sentence) } } }
        }
    }
}
