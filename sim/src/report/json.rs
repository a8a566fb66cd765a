//! The report as JSON, for programs: `stream` is what an independent reading of the same file must find by the rules at the
//! top of [`crate::streams::uci`] and [`crate::streams::complete_journey`].

use serde_json::{Value, json};

use crate::checks::customer_totals::Supplied;
use crate::demo::DemoResult;

use super::figures::Figures;

fn supplied(sums: &Supplied) -> Value {
    let Supplied { units, sales_minor, discount_minor, coupon_minor, tax_minor } = sums;
    json!({
        "units": units,
        "sales_minor": sales_minor,
        "discount_minor": discount_minor,
        "net_minor": sales_minor - discount_minor,
        "coupon_minor": coupon_minor,
        "tax_minor": tax_minor,
    })
}

/// The report.
#[must_use]
pub fn value(result: &DemoResult, figures: &Figures) -> Value {
    let (acks, totals, orders, units) = (&result.acks, &figures.stream, &figures.orders, &figures.units);
    let taxes: Vec<Value> = totals
        .taxes
        .iter()
        .map(|((jurisdiction, rate_ppm), (taxable_minor, tax_minor))| {
            json!({ "jurisdiction": jurisdiction, "rate_ppm": rate_ppm, "taxable_minor": taxable_minor, "tax_minor": tax_minor })
        })
        .collect();
    let left_out: Vec<Value> = result
        .stream
        .left_out
        .classes
        .iter()
        .map(|(reason, class)| {
            json!({
                "reason": reason.code(), "rule": reason.rule(), "lines": class.lines, "units": class.units,
                "amount_minor": class.amount_minor, "names": class.names, "examples": class.examples,
            })
        })
        .collect();
    let checks: Vec<Value> = figures
        .verdicts
        .iter()
        .map(|verdict| {
            json!({
                "name": verdict.check.name, "guarantee": verdict.check.guarantee, "source": verdict.check.source,
                "passed": verdict.findings.passed(), "looked_at": verdict.findings.looked_at,
                "violations": verdict.findings.violations, "violation_count": verdict.findings.violation_count,
            })
        })
        .collect();
    let balances: Vec<Value> = result
        .evidence
        .balances
        .iter()
        .map(|balance| {
            json!({
                "entity": balance.entity, "account": balance.account, "currency_code": balance.currency_code,
                "debit_minor": balance.debit_minor, "credit_minor": balance.credit_minor,
            })
        })
        .collect();
    let latency: serde_json::Map<String, Value> =
        figures.latency_us.iter().map(|(percent, us)| (format!("p{percent}"), json!(us))).collect();
    json!({
        "passed": figures.all_passed(),
        "stream": {
            "name": result.stream.name, "source": result.stream.source, "currency_code": result.stream.currency_code,
            "lines_read": result.stream.lines_read, "orders": totals.orders, "counter_sales": totals.counter_sales,
            "lines": totals.lines, "units": totals.units, "sales_minor": totals.sales_minor,
            "discount_minor": totals.discount_minor, "coupon_minor": totals.coupon_minor,
            "net_minor": totals.net_minor(), "tax_minor": totals.tax_minor(), "taxes": taxes,
            "returns": totals.returns, "returned_units": totals.returned_units,
        },
        "left_out": left_out,
        "assumptions": result.assumptions,
        "orders": {
            "placed": orders.placed, "refused": acks.refused_orders.len(), "split": orders.split, "short_at_first": orders.short,
            "lines": orders.lines, "lines_short_at_first": orders.short_lines, "lines_of_several_nodes": orders.split_lines,
            "units": orders.units, "units_short_at_first": orders.short_units, "units_shipped": orders.shipped_units,
            "units_cancelled": orders.cancelled_units, "units_waiting": orders.waiting_units,
            "cancelled_by_customers": acks.cancellations, "cancelled_too_late": acks.cancelled_too_late,
            "given_up": acks.given_up_orders,
        },
        "work": {
            "shipments": acks.shipments, "partial_shipments": acks.partial_shipments, "declines": acks.declines,
            "declined_units": acks.declined_units, "receipts": acks.receipts, "counter_sales": acks.sales.len(),
            "counter_sales_ordered_instead": acks.sales_ordered_instead, "returns": acks.returns.len(),
        },
        "supplied": supplied(&figures.supplied.0),
        "returned": supplied(&figures.supplied.1),
        "units": {
            "received": units.received, "customer_returned": units.customer_returned, "lost": units.lost,
            "on_hand": units.on_hand, "outstanding": units.outstanding, "damaged": units.damaged,
            "quarantined": units.quarantined, "return_pending": units.return_pending, "sold": units.sold,
            "shipped": units.shipped, "disposed": units.disposed,
        },
        "speed": {
            "orders_per_second": figures.orders_per_second, "lines_per_second": figures.lines_per_second,
            "latency_us": latency, "longest_gap_us": figures.longest_gap_us,
            "without_leader_us": result.faults.without_leader_us, "killed": result.faults.killed,
        },
        "durations_ms": {
            "start": result.durations.start_ms, "set_up": result.durations.set_up_ms, "stream": result.durations.play_ms,
            "until_at_rest": result.durations.aftermath_ms, "reading_back": result.durations.evidence_ms,
        },
        "trial_balance": balances,
        "journal_entries": result.evidence.journal_entries,
        "checks": checks,
    })
}
