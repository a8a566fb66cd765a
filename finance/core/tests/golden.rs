//! Every posting rule, with amounts computed by hand.

mod common;

use common::*;
use stockmesh_proto::common::v1::PaymentTerms::{OnAccount, OnShipment, Prepaid};
use stockmesh_proto::common::v1::{TaxRegime, Tender};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AdjustReason, DeclineReason, Disposition, ReceiptKind};

#[test]
fn a_receipt_on_a_purchase_order() {
    let mut ledger = Ledger::new();
    expect(
        ledger.send("node/dc-1", received("R1", "A", 10, 1_000)),
        "receipt.purchase/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:Dc-1 1000
         Liabilities:Grni -1000",
    );
}

#[test]
fn opening_stock_leaves_migration_clearing_at_zero() {
    let mut ledger = Ledger::new();
    let Fact::StockReceived(mut fact) = received("R1", "A", 10, 1_000) else { unreachable!("a receipt") };
    fact.kind = ReceiptKind::OpeningStock.into();
    expect(
        ledger.send("node/dc-1", Fact::StockReceived(fact)),
        "receipt.opening/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:Dc-1 1000
         Equity:MigrationClearing -1000
         Equity:MigrationClearing 1000
         Equity:OpeningBalances -1000",
    );
}

#[test]
fn a_prepaid_order_from_deposit_to_supply_and_cancellation() {
    // 3 units: sales 10.00, discount 1.00, VAT 20 % of 9.00 = 1.80: the customer pays 10.80.
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 10, 1_000));
    expect(
        ledger.send("coordinator/1", ordered("O1", Prepaid, &[("A", 3, vat_price(1_000, 100, 0))])),
        "order.deposit/1 uk 2026-01-05/2026-01-07
         Assets:PspClearing 1080
         Liabilities:CustomerDeposits -1080
         order.deposit-vat/1 uk 2026-01-05/2026-01-07
         Assets:VatOnDeposits:GB 180
         Liabilities:OutputVat:GB -180",
    );
    // The first unit: a third of 1000 is 333, of 100 is 33, of 180 is 60; 333 - 33 + 60 = 360.
    expect(
        ledger.send("node/dc-1", shipped("S1", "O1", &[(1, "A", 1)])),
        "shipment.cost/1 uk 2026-01-07/2026-01-07
         Expenses:CostOfGoodsSold 100
         Assets:Inventory:Dc-1 -100
         shipment.revenue/1 uk 2026-01-07/2026-01-07
         Liabilities:CustomerDeposits 360
         Income:Discounts:Web 33
         Income:Sales:Web -333
         Liabilities:TaxPayable:GB -60
         shipment.deposit-vat/1 uk 2026-01-07/2026-01-07
         Liabilities:OutputVat:GB 60
         Assets:VatOnDeposits:GB -60",
    );
    // The third unit is cancelled: 1000 - 667 = 333, 100 - 67 = 33, 180 - 120 = 60.
    expect(
        ledger.send("coordinator/1", cancelled("O1", 1, 1)),
        "cancel.deposit/1 uk 2026-01-07/2026-01-07
         Liabilities:CustomerDeposits 360
         Liabilities:RefundsPayable -360
         Liabilities:OutputVat:GB 60
         Assets:VatOnDeposits:GB -60",
    );
    // The second: 667 - 333 = 334, 67 - 33 = 34, 120 - 60 = 60; 334 - 34 + 60 = 360.
    expect(
        ledger.send("node/dc-1", shipped("S2", "O1", &[(1, "A", 1)])),
        "shipment.cost/1 uk 2026-01-07/2026-01-07
         Expenses:CostOfGoodsSold 100
         Assets:Inventory:Dc-1 -100
         shipment.revenue/1 uk 2026-01-07/2026-01-07
         Liabilities:CustomerDeposits 360
         Income:Discounts:Web 34
         Income:Sales:Web -334
         Liabilities:TaxPayable:GB -60
         shipment.deposit-vat/1 uk 2026-01-07/2026-01-07
         Liabilities:OutputVat:GB 60
         Assets:VatOnDeposits:GB -60",
    );
    let balances = ledger.balances();
    for account in ["Liabilities:CustomerDeposits", "Liabilities:OutputVat:GB", "Assets:VatOnDeposits:GB"] {
        assert_eq!(balances.get(&format!("uk {account} GBP")), None, "{account}");
    }
}

#[test]
fn an_order_paid_on_shipment_with_sales_tax_and_a_manufacturer_coupon() {
    // 2 units: sales 5.00, coupon 0.50, sales tax 7.25 % of 5.00 = 36.25 -> 0.36. Owed 4.86.
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 10, 1_000));
    let price = price(500, 0, 50, &[("US-OH", TaxRegime::SalesTax, 72_500)]);
    expect(ledger.send("coordinator/1", ordered("O1", OnShipment, &[("A", 2, price)])), "");
    expect(
        ledger.send("node/dc-1", shipped("S1", "O1", &[(1, "A", 2)])),
        "shipment.cost/1 uk 2026-01-07/2026-01-07
         Expenses:CostOfGoodsSold 200
         Assets:Inventory:Dc-1 -200
         shipment.revenue/1 uk 2026-01-07/2026-01-07
         Assets:PspClearing 486
         Assets:CouponReceivable 50
         Income:Sales:Web -500
         Liabilities:TaxPayable:US-OH -36",
    );
    // One unit back: half of each; the coupon is not claimed for it. 250 + 18 - 25 = 243.
    expect(
        ledger.send("node/st-1", returned_order("T1", "O1", 1, "A", 1)),
        "return.revenue/1 uk 2026-01-07/2026-01-07
         Income:SalesReturns:Web 250
         Liabilities:TaxPayable:US-OH 18
         Liabilities:RefundsPayable -243
         Assets:CouponReceivable -25
         return.cost/1 uk 2026-01-07/2026-01-07
         Assets:ReturnsPending:St-1 100
         Expenses:CostOfGoodsSold -100",
    );
}

#[test]
fn sales_tax_on_a_prepaid_order_is_not_due_before_supply() {
    let mut ledger = Ledger::new();
    let price = price(500, 0, 0, &[("US-OH", TaxRegime::SalesTax, 100_000)]);
    expect(
        ledger.send("coordinator/1", ordered("O1", Prepaid, &[("A", 2, price)])),
        "order.deposit/1 uk 2026-01-05/2026-01-07
         Assets:PspClearing 550
         Liabilities:CustomerDeposits -550",
    );
}

#[test]
fn an_order_on_account_is_receivable_and_its_cancellation_posts_nothing() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 10, 1_000));
    expect(ledger.send("coordinator/1", ordered("O1", OnAccount, &[("A", 2, vat_price(300, 0, 0))])), "");
    expect(ledger.send("coordinator/1", cancelled("O1", 1, 1)), "");
    expect(
        ledger.send("node/dc-1", shipped("S1", "O1", &[(1, "A", 1)])),
        "shipment.cost/1 uk 2026-01-07/2026-01-07
         Expenses:CostOfGoodsSold 100
         Assets:Inventory:Dc-1 -100
         shipment.revenue/1 uk 2026-01-07/2026-01-07
         Assets:AccountsReceivable 180
         Income:Sales:Web -150
         Liabilities:TaxPayable:GB -30",
    );
}

#[test]
fn another_entity_ships_and_yet_another_takes_the_return_in() {
    // uk holds the deposit of 120, ie ships at cost 70, uk takes the goods back.
    let mut ledger = Ledger::new();
    ledger.send("node/dc-2", received("R1", "A", 1, 70));
    ledger.send("coordinator/1", ordered("O1", Prepaid, &[("A", 1, vat_price(100, 0, 0))]));
    expect(
        ledger.send("node/dc-2", shipped("S1", "O1", &[(1, "A", 1)])),
        "shipment.cost/1 ie 2026-01-07/2026-01-07
         Expenses:CostOfGoodsSold 70
         Assets:Inventory:Dc-2 -70
         shipment.deposit-transfer/1 uk 2026-01-07/2026-01-07
         Liabilities:CustomerDeposits 120
         Assets:Intercompany:Ie -120
         shipment.revenue/1 ie 2026-01-07/2026-01-07
         Assets:Intercompany:Uk 120
         Income:Sales:Web -100
         Liabilities:TaxPayable:GB -20
         shipment.deposit-vat/1 uk 2026-01-07/2026-01-07
         Liabilities:OutputVat:GB 20
         Assets:VatOnDeposits:GB -20",
    );
    expect(
        ledger.send("node/st-1", returned_order("T1", "O1", 1, "A", 1)),
        "return.revenue/1 ie 2026-01-07/2026-01-07
         Income:SalesReturns:Web 100
         Liabilities:TaxPayable:GB 20
         Liabilities:RefundsPayable -120
         return.cost-seller/1 ie 2026-01-07/2026-01-07
         Assets:Intercompany:Uk 70
         Expenses:CostOfGoodsSold -70
         return.cost-taker/1 uk 2026-01-07/2026-01-07
         Assets:ReturnsPending:St-1 70
         Assets:Intercompany:Ie -70",
    );
}

#[test]
fn counter_sales_by_tender() {
    let mut ledger = Ledger::new();
    ledger.send("node/st-1", received("R1", "A", 10, 1_000));
    for (id, tender, account) in
        [("C1", Tender::Cash, "Assets:CashClearing:St-1"), ("C2", Tender::Card, "Assets:CardClearing:St-1")]
    {
        // 2 units: sales 4.00, discount 0.40, coupon 0.60, VAT 20 % of 3.60 = 0.72: 3.72 at the till.
        expect(
            ledger.send("node/st-1", sold(id, tender, &[("A", 2, vat_price(400, 40, 60))])),
            &format!(
                "counter.revenue/1 uk 2026-01-05/2026-01-07
                 {account} 372
                 Income:Discounts:Store 40
                 Assets:CouponReceivable 60
                 Income:Sales:Store -400
                 Liabilities:TaxPayable:GB -72
                 counter.cost/1 uk 2026-01-05/2026-01-07
                 Expenses:CostOfGoodsSold 200
                 Assets:Inventory:St-1 -200"
            ),
        );
    }
}

#[test]
fn fifo_layers_and_returns_at_the_cost_at_which_they_left() {
    // Layers: 2 at 1.00, 3 at 1.50 (4.50). Selling 3 takes 2 x 100 + 150 = 350.
    let mut ledger = Ledger::new();
    ledger.send("node/st-1", received("R1", "A", 2, 200));
    ledger.send("node/st-1", received("R2", "A", 3, 450));
    let price = || vat_price(900, 0, 0);
    let entries = ledger.send("node/st-1", sold("C1", Tender::Cash, &[("A", 3, price())]));
    assert_eq!(entries[5], "  Expenses:CostOfGoodsSold 350");
    // The first two units back: at 100 each. Resale makes a new layer behind the 2 left at 150.
    expect(
        ledger.send("node/dc-1", returned_sale("T1", "st-1", "C1", "A", 2)),
        "return.revenue/1 uk 2026-01-07/2026-01-07
         Income:SalesReturns:Store 600
         Liabilities:TaxPayable:GB 120
         Liabilities:RefundsPayable -720
         return.cost/1 uk 2026-01-07/2026-01-07
         Assets:ReturnsPending:Dc-1 200
         Expenses:CostOfGoodsSold -200",
    );
    expect(
        ledger.send("node/dc-1", inspected("T1", "A", 1, Disposition::Resale)),
        "inspection.resale/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:Dc-1 100
         Assets:ReturnsPending:Dc-1 -100",
    );
    expect(
        ledger.send("node/dc-1", inspected("T1", "A", 1, Disposition::WriteOff)),
        "inspection.write-off/1 uk 2026-01-07/2026-01-07
         Expenses:WriteOff:Dc-1 100
         Assets:ReturnsPending:Dc-1 -100",
    );
    // The third unit back: it left at 150.
    let entries = ledger.send("node/st-1", returned_sale("T2", "st-1", "C1", "A", 1));
    assert_eq!(entries[5], "  Assets:ReturnsPending:St-1 150");
    ledger.send("node/st-1", inspected("T2", "A", 1, Disposition::Resale));
    // 2 at 150 and the returned one at 150.
    let entries = ledger.send("node/st-1", sold("C2", Tender::Cash, &[("A", 3, price())]));
    assert_eq!(entries[5], "  Expenses:CostOfGoodsSold 450");
    assert_eq!(ledger.balances().get("uk Assets:Inventory:St-1 GBP"), None);
}

#[test]
fn losses_finds_damage_and_declines() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 3, 100));
    // Units of 100 over 3: 33, 34 (66.67 -> 67), 33.
    expect(
        ledger.send("node/dc-1", adjusted("A1", "A", -1, AdjustReason::Loss)),
        "stock.lost/1 uk 2026-01-07/2026-01-07
         Expenses:Shrinkage:Dc-1 33
         Assets:Inventory:Dc-1 -33",
    );
    expect(
        ledger.send("node/dc-1", declined(0, "A", 1, DeclineReason::NotFound)),
        "stock.lost/1 uk 2026-01-07/2026-01-07
         Expenses:Shrinkage:Dc-1 34
         Assets:Inventory:Dc-1 -34",
    );
    expect(ledger.send("node/dc-1", declined(1, "A", 1, DeclineReason::Damaged)), "");
    expect(ledger.send("node/dc-1", declined(2, "A", 0, DeclineReason::NoCapacity)), "");
    expect(ledger.send("node/dc-1", adjusted("A2", "A", -1, AdjustReason::Damage)), "");
    // Found at the last receipt's cost: 2 of 3 for 100 is 67.
    expect(
        ledger.send("node/dc-1", adjusted("A3", "A", 2, AdjustReason::Found)),
        "stock.found/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:Dc-1 67
         Expenses:Shrinkage:Dc-1 -67",
    );
    assert_eq!(ledger.balances()["uk Assets:Inventory:Dc-1 GBP"], 33 + 67);
}

#[test]
fn sold_before_received_is_trued_up_at_receipt() {
    let mut ledger = Ledger::new();
    ledger.send("node/st-1", received("R1", "A", 1, 100));
    // One from the layer at 100, two at provisional 100 each.
    let entries = ledger.send("node/st-1", sold("C1", Tender::Cash, &[("A", 3, None.or(vat_price(300, 0, 0)))]));
    expect(
        entries[4..].to_vec(),
        "counter.cost/1 uk 2026-01-05/2026-01-07
         Expenses:CostOfGoodsSold 100
         Assets:Inventory:St-1 -100
         Expenses:CostOfGoodsSold 200
         Liabilities:UnreceivedStock:St-1 -200",
    );
    // One of them comes back before the receipt, at provisional cost, and goes on the shelf.
    let entries = ledger.send("node/st-1", returned_sale("T1", "st-1", "C1", "A", 2));
    assert_eq!(entries[5], "  Assets:ReturnsPending:St-1 200");
    ledger.send("node/st-1", inspected("T1", "A", 2, Disposition::Resale));
    // The receipt of 4 at 120: two are those that left; the second came back and is revalued by 20.
    expect(
        ledger.send("node/st-1", received("R2", "A", 4, 480)),
        "receipt.purchase/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:St-1 480
         Liabilities:Grni -480
         cost.unreceived/1 uk 2026-01-07/2026-01-07
         Liabilities:UnreceivedStock:St-1 200
         Expenses:CostOfGoodsSold 40
         Assets:Inventory:St-1 -240
         return.cost/1 uk 2026-01-07/2026-01-07
         Assets:ReturnsPending:St-1 20
         Expenses:CostOfGoodsSold -20
         inspection.resale/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:St-1 20
         Assets:ReturnsPending:St-1 -20",
    );
    // On hand: the returned ones at 100 and 120, two of the receipt at 120.
    let balances = ledger.balances();
    assert_eq!(balances["uk Assets:Inventory:St-1 GBP"], 220 + 240);
    assert_eq!(balances["uk Expenses:CostOfGoodsSold GBP"], 120);
    assert_eq!(balances.get("uk Liabilities:UnreceivedStock:St-1 GBP"), None);
}

#[test]
fn a_sale_without_any_known_cost_is_provisional_at_zero() {
    let mut ledger = Ledger::new();
    let entries = ledger.send("node/st-1", sold("C1", Tender::Cash, &[("A", 1, vat_price(300, 0, 0))]));
    assert_eq!(entries.len(), 4, "revenue only: {entries:?}");
    // Its return is refunded; its cost waits for the first receipt.
    let entries = ledger.send("node/st-1", returned_sale("T1", "st-1", "C1", "A", 1));
    assert_eq!(entries[0], "return.revenue/1 uk 2026-01-07/2026-01-07");
    assert_eq!(ledger.reasons(), ["COST_NOT_KNOWN return-cost"]);
    ledger.send("node/st-1", inspected("T1", "A", 1, Disposition::Resale));
    ledger.send("node/st-1", received("R1", "A", 1, 77));
    assert_eq!(ledger.reasons(), Vec::<String>::new());
    // The receipt is the unit that was sold; the unit on the shelf is the one that came back, at the same cost.
    let balances = ledger.balances();
    assert_eq!(balances["uk Assets:Inventory:St-1 GBP"], 77);
    assert_eq!(balances.get("uk Expenses:CostOfGoodsSold GBP"), None);
}

#[test]
fn every_balance_ends_as_the_sum_of_its_postings() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 10, 999));
    ledger.send("coordinator/1", ordered("O1", Prepaid, &[("A", 7, vat_price(1_001, 3, 5))]));
    ledger.send("node/dc-1", shipped("S1", "O1", &[(1, "A", 5)]));
    let mut sums = std::collections::BTreeMap::<String, i64>::new();
    for entry in &ledger.books.records().entries {
        for posting in &entry.postings {
            *sums.entry(format!("{} {} GBP", entry.entity, posting.account)).or_default() += posting.amount_minor;
        }
    }
    sums.retain(|_, minor| *minor != 0);
    assert_eq!(ledger.balances(), sums);
}

#[test]
fn a_settled_return_is_done_while_other_units_of_its_sale_still_wait_for_a_receipt() {
    let mut ledger = Ledger::new();
    ledger.send("node/st-1", received("R0", "A", 1, 100));
    ledger.send("node/st-1", sold("C0", Tender::Cash, &[("A", 1, vat_price(300, 0, 0))]));
    // Two units ahead of their receipt; one comes back, goes on the shelf and is sold again.
    ledger.send("node/st-1", sold("C1", Tender::Cash, &[("A", 2, vat_price(600, 0, 0))]));
    ledger.send("node/st-1", returned_sale("T1", "st-1", "C1", "A", 1));
    ledger.send("node/st-1", inspected("T1", "A", 1, Disposition::Resale));
    ledger.send("node/st-1", sold("C2", Tender::Cash, &[("A", 1, vat_price(300, 0, 0))]));
    // The unit that came back was worth 130; the other one is 170, and concerns neither the return nor its resale.
    ledger.send("node/st-1", received("R1", "A", 1, 130));
    assert_eq!(ledger.balances()["uk Expenses:CostOfGoodsSold GBP"], 100 + 100 + 130);
    expect(
        ledger.send("node/st-1", received("R2", "A", 1, 170)),
        "receipt.purchase/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:St-1 170
         Liabilities:Grni -170
         cost.unreceived/1 uk 2026-01-07/2026-01-07
         Liabilities:UnreceivedStock:St-1 100
         Expenses:CostOfGoodsSold 70
         Assets:Inventory:St-1 -170",
    );
    assert_eq!(ledger.balances().get("uk Assets:Inventory:St-1 GBP"), None);
}
