//! What customers bought is what the books say: units, revenue, discounts, coupons, tax, returns.

use stockmesh_types::share;

use super::{Check, Findings};
use crate::demo::DemoResult;
use crate::streams::Event;
use crate::streams::model::StreamLine;

/// The check.
pub const CHECK: Check = Check {
    name: "customer totals",
    guarantee: "sales, discounts, coupons, tax, returns in the ledger = recomputed from the stream, less the stated cancellations",
    source: "ARCHITECTURE.md, Decisions: 7",
    run,
};

/// Sums of what was supplied and kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Supplied {
    /// Units.
    pub units: i64,
    /// Sales value.
    pub sales_minor: i64,
    /// Discounts.
    pub discount_minor: i64,
    /// Manufacturers' coupons.
    pub coupon_minor: i64,
    /// Tax.
    pub tax_minor: i64,
}

impl Supplied {
    /// Units `from..to` of a line.
    fn add(&mut self, line: &StreamLine, from: i64, to: i64) {
        let part = |total: i64| share(total, from, to, line.quantity);
        self.units += to - from;
        self.sales_minor += part(line.price.sales_minor);
        self.discount_minor += part(line.price.discount_minor);
        self.coupon_minor += part(line.price.manufacturer_coupon_minor);
        self.tax_minor += line.price.taxes.iter().map(|tax| part(tax.tax_minor)).sum::<i64>();
    }
}

/// What left, and what came back of it, recomputed from the stream and the units that were shipped.
#[must_use]
pub fn recompute(result: &DemoResult) -> (Supplied, Supplied) {
    let DemoResult { evidence, acks, stream, .. } = result;
    let (mut supplied, mut back) = (Supplied::default(), Supplied::default());
    let mut bought = std::collections::HashMap::new();
    let shipped: std::collections::HashMap<&str, _> = evidence
        .orders
        .iter()
        .filter_map(|status| Some((status.order.as_ref()?.order_id.as_str(), &status.lines)))
        .collect();
    for acknowledged in &acks.orders {
        let order = &acknowledged.order;
        let Some(lines) = shipped.get(order.order_id.as_str()) else { continue };
        for (line, status) in order.lines.iter().zip(*lines) {
            supplied.add(line, 0, status.shipped.clamp(0, line.quantity));
            bought.insert((order.order_id.clone(), status.line), line);
        }
    }
    for (sale_id, sale) in &acks.sales {
        if let Some(Event::Counter(counter)) = stream.events.get(sale.event) {
            for (line, number) in counter.lines.iter().zip(1..) {
                supplied.add(line, 0, line.quantity);
                bought.insert((sale_id.clone(), number), line);
            }
        }
    }
    // Returns of a line bring its units back in the order of the returns.
    let mut returned: std::collections::HashMap<(String, u32), i64> = std::collections::HashMap::new();
    for taken in &acks.returns {
        let planned = &stream.returns[taken.planned];
        let key = (planned.bought_on.clone(), planned.line);
        let Some(line) = bought.get(&key) else { continue };
        let from = returned.entry(key).or_default();
        let to = (*from + taken.quantity).min(line.quantity);
        back.add(line, *from, to);
        *from = to;
    }
    (supplied, back)
}

fn run(result: &DemoResult) -> Findings {
    let evidence = &result.evidence;
    let (supplied, back) = recompute(result);
    let mut findings = Findings::new();
    let credit = |account: &str| -evidence.balance_of(account);
    let debit = |account: &str| evidence.balance_of(account);
    findings.equal(|| "Income:Sales, and recomputed".into(), &credit("Income:Sales"), &supplied.sales_minor);
    findings.equal(|| "Income:Discounts, and recomputed".into(), &debit("Income:Discounts"), &supplied.discount_minor);
    let net_back = back.sales_minor - back.discount_minor;
    findings.equal(|| "Income:SalesReturns, and recomputed".into(), &debit("Income:SalesReturns"), &net_back);
    let tax = supplied.tax_minor - back.tax_minor;
    findings.equal(|| "Liabilities:TaxPayable, and recomputed".into(), &credit("Liabilities:TaxPayable"), &tax);
    let coupons = supplied.coupon_minor;
    let claimed = debit("Assets:CouponReceivable");
    // Goods that come back may take their coupon's claim with them.
    findings.expect(claimed == coupons || claimed == coupons - back.coupon_minor, || {
        format!("Assets:CouponReceivable is {claimed}; recomputed {coupons}, of which {} came back", back.coupon_minor)
    });
    for (account, why) in [
        ("Liabilities:CustomerDeposits", "everything prepaid is supplied or cancelled"),
        ("Liabilities:OutputVat", "no prepayment is left"),
        ("Assets:VatOnDeposits", "no prepayment is left"),
        ("Liabilities:UnreceivedStock", "everything sold was received"),
    ] {
        findings.equal(|| format!("{account}: {why}"), &debit(account), &0);
    }
    let units = usize::try_from(supplied.units).unwrap_or(0);
    findings.over(units, "units supplied")
}
