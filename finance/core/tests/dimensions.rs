//! What accountants read and sum by: descriptions, tax rates, nodes and channels.

mod common;

use common::*;
use stockmesh_finance_core::Posting;
use stockmesh_proto::common::v1::PaymentTerms::Prepaid;
use stockmesh_proto::common::v1::{TaxRegime, Tender};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AdjustReason, DeclineReason, Disposition};

#[test]
fn descriptions_are_for_people() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 10, 1_000));
    ledger.send("coordinator/1", ordered("O1", Prepaid, &[("A", 4, vat_price(1_000, 0, 0))]));
    ledger.send("node/dc-1", shipped("S1", "O1", &[(1, "A", 2)]));
    ledger.send("coordinator/1", cancelled("O1", 1, 1));
    ledger.send("node/dc-1", returned_order("T1", "O1", 1, "A", 1));
    ledger.send("node/dc-1", inspected("T1", "A", 1, Disposition::Resale));
    ledger.send("node/st-1", received("R2", "A", 2, 200));
    ledger.send("node/st-1", sold("C1", Tender::Cash, &[("A", 1, vat_price(400, 0, 0))]));
    ledger.send("node/dc-1", returned_sale("T2", "st-1", "C1", "A", 1));
    ledger.send("node/dc-1", inspected("T2", "A", 1, Disposition::WriteOff));
    ledger.send("node/dc-1", adjusted("A1", "A", -1, AdjustReason::Loss));
    ledger.send("node/dc-1", adjusted("A2", "A", 2, AdjustReason::Found));
    ledger.send("node/dc-1", declined(0, "A", 1, DeclineReason::NotFound));
    let entries = &ledger.books.records().entries;
    let descriptions: Vec<_> = entries.iter().map(|entry| entry.description.clone()).collect();
    expect(
        descriptions,
        "Received R1 at dc-1 for PO-1
         Prepaid order O1
         VAT on prepayment of order O1
         Cost of shipment S1 from dc-1, order O1
         Revenue of shipment S1 from dc-1, order O1
         VAT on prepayment reversed at shipment S1 from dc-1, order O1
         Cancelled 1 unit of order O1, line 1
         Refund of return T1 at dc-1, order O1
         Cost of return T1 at dc-1, A
         Back to stock: 1 unit of A at dc-1, return T1
         Received R2 at st-1 for PO-1
         Revenue of counter sale C1 at st-1
         Cost of counter sale C1 at st-1
         Refund of return T2 at dc-1, counter sale C1 at st-1
         Cost of return T2 at dc-1, A
         Written off: 1 unit of A at dc-1, return T2
         Stock lost: 1 unit of A at dc-1, adjustment A1
         Stock found: 2 units of A at dc-1, adjustment A2
         Stock lost: 1 unit of A at dc-1, allocation k1-9-0",
    );
}

/// Postings of the last entry of a rule, with jurisdiction and tax rate.
fn taxed(ledger: &mut Ledger, rule: &str) -> Vec<String> {
    let entry = ledger.books.records().entries.iter().rev().find(|entry| entry.rule == rule).unwrap();
    let line = |posting: &Posting| {
        let Posting { account, amount_minor, jurisdiction, tax_rate_ppm, .. } = posting;
        if jurisdiction.is_empty() {
            assert_eq!(*tax_rate_ppm, 0);
            return format!("{account} {amount_minor}");
        }
        format!("{account} {amount_minor} {jurisdiction} {tax_rate_ppm}")
    };
    entry.postings.iter().map(line).collect()
}

#[test]
fn base_rate_and_tax_are_in_the_journal() {
    let mut ledger = Ledger::new();
    ledger.send("node/st-1", received("R1", "A", 10, 1_000));
    // 20 % of 10.00 - 1.00 is 1.80; 5 % of 5.00 is 0.25; zero-rated 2.00; 5.75 % and 2.25 % of 100.00.
    let lines = [
        ("A", 1, vat_price(1_000, 100, 0)),
        ("A", 1, price(500, 0, 0, &[("GB", TaxRegime::Vat, 50_000)])),
        ("A", 1, price(200, 0, 0, &[("GB", TaxRegime::Vat, 0)])),
        ("A", 1, price(10_000, 0, 0, &[("US-OH", TaxRegime::SalesTax, 57_500), ("CUY", TaxRegime::SalesTax, 22_500)])),
    ];
    ledger.send("node/st-1", sold("C1", Tender::Cash, &lines));
    expect(
        taxed(&mut ledger, "counter.revenue/1"),
        "Assets:CashClearing:St-1 1080
         Income:Discounts:Store 100 GB 200000
         Income:Sales:Store -1000 GB 200000
         Liabilities:TaxPayable:GB -180 GB 200000
         Assets:CashClearing:St-1 525
         Income:Sales:Store -500 GB 50000
         Liabilities:TaxPayable:GB -25 GB 50000
         Assets:CashClearing:St-1 200
         Income:Sales:Store -200 GB 0
         Assets:CashClearing:St-1 10800
         Income:Sales:Store -10000
         Liabilities:TaxPayable:US-OH -575 US-OH 57500
         Liabilities:TaxPayable:CUY -225 CUY 22500",
    );
    // VAT on a prepayment, and the return of the first line: 9.00 net at 20 %.
    ledger.send("coordinator/1", ordered("O1", Prepaid, &[("A", 1, vat_price(1_000, 100, 0))]));
    expect(
        taxed(&mut ledger, "order.deposit-vat/1"),
        "Assets:VatOnDeposits:GB 180 GB 200000
         Liabilities:OutputVat:GB -180 GB 200000",
    );
    ledger.send("node/st-1", returned_sale("T1", "st-1", "C1", "A", 1));
    expect(
        taxed(&mut ledger, "return.revenue/1"),
        "Income:SalesReturns:Store 900 GB 200000
         Liabilities:TaxPayable:GB 180 GB 200000
         Liabilities:RefundsPayable -1080",
    );
}

#[test]
fn cost_of_goods_sold_is_kept_by_node_and_channel() {
    let mut ledger = Ledger::new();
    let mut costs = |participant: &str, fact: Fact| {
        let before = ledger.books.records().entries.len();
        ledger.send(participant, fact);
        let postings = ledger.books.records().entries[before..].iter().flat_map(|entry| &entry.postings);
        let costs = postings.filter(|posting| posting.account == "Expenses:CostOfGoodsSold");
        costs
            .map(|posting| format!("{} {}/{}", posting.amount_minor, posting.node, posting.channel))
            .collect::<Vec<_>>()
    };
    costs("node/dc-1", received("R1", "A", 1, 100));
    // The order is not known yet: the node alone.
    assert_eq!(costs("node/dc-1", shipped("S1", "O1", &[(1, "A", 1)])), ["100 dc-1/"]);
    assert!(costs("coordinator/1", ordered("O1", Prepaid, &[("A", 2, vat_price(600, 0, 0))])).is_empty());
    // Provisional at 1.00, trued up to 1.30.
    assert_eq!(costs("node/dc-1", shipped("S2", "O1", &[(1, "A", 1)])), ["100 dc-1/web"]);
    assert_eq!(costs("node/dc-1", received("R2", "A", 1, 130)), ["30 dc-1/web"]);
    // The unit of the first shipment comes back: its channel is known by now.
    assert_eq!(costs("node/dc-1", returned_order("T1", "O1", 1, "A", 1)), ["-100 dc-1/web"]);
    assert_eq!(costs("node/dc-1", sold("C1", Tender::Cash, &[("A", 1, vat_price(300, 0, 0))])), ["130 dc-1/store"]);
}
