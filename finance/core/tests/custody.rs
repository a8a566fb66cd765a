//! Posting rules of goods that are held, set aside, written off, sent to other nodes, converted or refunded, with amounts
//! computed by hand.

mod common;

use common::*;
use stockmesh_finance_core::Settings;
use stockmesh_proto::common::v1::PaymentTerms::{OnShipment, Prepaid};
use stockmesh_proto::common::v1::{Condition, Tender};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{Disposition, DispositionOutcome, MoveReason, ReceiptDecision};

fn price(minor: i64) -> Option<stockmesh_proto::common::v1::LinePrice> {
    vat_price(minor, 0, 0)
}

#[test]
fn goods_held_in_receiving_are_no_stock_until_somebody_decides() {
    let mut ledger = Ledger::new();
    expect(
        ledger.send("node/dc-1", received_held("R1", "A", 3, 100, "E1")),
        "receipt.held/1 uk 2026-01-07/2026-01-07
         Assets:GoodsHeld:Dc-1 100
         Liabilities:Grni -100",
    );
    // One of three for 100 is 33; a third of the rest, 67 for two, is half: 33.5 rounds to 34 (half to even).
    expect(
        ledger.send("node/dc-1", decided("E1", 1, "A", 1, ReceiptDecision::Accept)),
        "held.accepted/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:Dc-1 33
         Assets:GoodsHeld:Dc-1 -33",
    );
    expect(
        ledger.send("node/dc-1", decided("E1", 2, "A", 1, ReceiptDecision::Refuse)),
        "held.refused/1 uk 2026-01-07/2026-01-07
         Liabilities:Grni 34
         Assets:GoodsHeld:Dc-1 -34",
    );
    let repeat = decided("E1", 2, "A", 1, ReceiptDecision::Refuse);
    expect(ledger.send("node/dc-1", repeat), "");
    expect(
        ledger.send("node/dc-1", decided("E1", 3, "A", 1, ReceiptDecision::Accept)),
        "held.accepted/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:Dc-1 33
         Assets:GoodsHeld:Dc-1 -33",
    );
    ledger.send("node/dc-1", decided("E1", 4, "A", 1, ReceiptDecision::Accept));
    ledger.send("node/dc-1", decided("E2", 1, "A", 1, ReceiptDecision::Accept));
    assert_eq!(ledger.reasons(), ["EXCEEDS_RETURN whole", "RECEIPT_NOT_KNOWN whole"]);
    assert_eq!(ledger.balances().get("uk Assets:GoodsHeld:Dc-1 GBP"), None);
}

#[test]
fn held_goods_that_stay_are_those_that_were_sold_ahead_of_them() {
    let mut ledger = Ledger::new();
    ledger.send("node/st-1", received("R0", "A", 1, 90));
    ledger.send("node/st-1", received_held("R1", "A", 2, 220, "E1"));
    // Two are sold: one at 90, one that only receiving has, at provisional 90.
    ledger.send("node/st-1", sold("C1", Tender::Cash, &[("A", 2, price(300))]));
    expect(
        ledger.send("node/st-1", decided("E1", 1, "A", 2, ReceiptDecision::Accept)),
        "held.accepted/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:St-1 220
         Assets:GoodsHeld:St-1 -220
         cost.unreceived/1 uk 2026-01-07/2026-01-07
         Liabilities:UnreceivedStock:St-1 90
         Expenses:CostOfGoodsSold 20
         Assets:Inventory:St-1 -110",
    );
}

#[test]
fn stock_written_off_and_used() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 3, 100));
    expect(ledger.send("node/dc-1", moved("M1", "A", 2, Condition::Sellable, Condition::Damaged)), "");
    expect(
        ledger.send("node/dc-1", written_off("M2", "A", 1, MoveReason::WriteOff)),
        "stock.written-off/1 uk 2026-01-07/2026-01-07
         Expenses:WriteOff:Dc-1 33
         Assets:Inventory:Dc-1 -33",
    );
    expect(
        ledger.send("node/dc-1", written_off("M3", "A", 1, MoveReason::InternalUse)),
        "stock.written-off/1 uk 2026-01-07/2026-01-07
         Expenses:InternalUse:Dc-1 34
         Assets:Inventory:Dc-1 -34",
    );
    ledger.send("node/dc-1", moved("M4", "A", 1, Condition::ReturnPending, Condition::Damaged));
    assert_eq!(ledger.reasons(), ["NOT_IN_THIS_RELEASE whole"]);
}

#[test]
fn a_transfer_is_value_neutral_and_what_is_missing_is_the_senders_loss() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 2, 200));
    ledger.send("node/dc-1", received("R2", "A", 4, 480));
    // 2 at 100 and 3 at 120.
    expect(
        ledger.send("node/dc-1", transfer_shipped("S1", "X1", "st-1", &[(1, "A", 5)])),
        "transfer.shipped/1 uk 2026-01-07/2026-01-07
         Assets:InTransit:Dc-1-to-st-1 560
         Assets:Inventory:Dc-1 -560",
    );
    // Two in order, one damaged (still there, at its cost): 2 x 100 + 120. Then one in order, one missing: 2 x 120.
    expect(
        ledger.send("node/st-1", transfer_received("B1", "X1", "dc-1", (1, "A"), [2, 1, 0], [0; 3])),
        "transfer.received/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:St-1 320
         Assets:InTransit:Dc-1-to-st-1 -320",
    );
    expect(
        ledger.send("node/st-1", transfer_received("B2", "X1", "dc-1", (1, "A"), [1, 0, 1], [2, 1, 0])),
        "transfer.received/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:St-1 120
         Assets:InTransit:Dc-1-to-st-1 -120
         transfer.short/1 uk 2026-01-07/2026-01-07
         Expenses:TransitLoss:Dc-1 120
         Assets:InTransit:Dc-1-to-st-1 -120",
    );
    let balances = ledger.balances();
    assert_eq!(balances.get("uk Assets:InTransit:Dc-1-to-st-1 GBP"), None);
    assert_eq!((balances["uk Assets:Inventory:Dc-1 GBP"], balances["uk Assets:Inventory:St-1 GBP"]), (120, 440));
    // More than ever left is not believed: its units are there, and their value waits.
    ledger.send("node/st-1", transfer_received("B3", "X1", "dc-1", (1, "A"), [1, 0, 0], [3, 1, 1]));
    assert_eq!(ledger.reasons(), ["SHIPMENT_NOT_KNOWN passage"]);
}

#[test]
fn a_transfer_to_another_entity_passes_on_at_cost() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 2, 210));
    ledger.send("node/dc-1", transfer_shipped("S1", "X1", "dc-2", &[(1, "A", 2)]));
    expect(
        ledger.send("node/dc-2", transfer_received("B1", "X1", "dc-1", (1, "A"), [1, 0, 1], [0; 3])),
        "transfer.passed-on/1 uk 2026-01-07/2026-01-07
         Assets:Intercompany:Ie 105
         Assets:InTransit:Dc-1-to-dc-2 -105
         transfer.taken-over/1 ie 2026-01-07/2026-01-07
         Assets:Inventory:Dc-2 105
         Assets:Intercompany:Uk -105
         transfer.short/1 uk 2026-01-07/2026-01-07
         Expenses:TransitLoss:Dc-1 105
         Assets:InTransit:Dc-1-to-dc-2 -105",
    );
}

#[test]
fn a_transfer_that_arrives_in_the_books_before_it_left_is_valued_later() {
    let mut ledger = Ledger::new();
    expect(ledger.send("node/st-1", transfer_received("B1", "X1", "dc-1", (1, "A"), [2, 0, 0], [0; 3])), "");
    assert_eq!(ledger.reasons(), ["SHIPMENT_NOT_KNOWN passage"]);
    // Sold at once: at no cost, as none is known.
    let entries = ledger.send("node/st-1", sold("C1", Tender::Cash, &[("A", 1, price(300))]));
    assert_eq!(entries[0], "counter.revenue/1 uk 2026-01-05/2026-01-07");
    assert_eq!(entries.len(), 4);
    ledger.send("node/dc-1", received("R1", "A", 2, 210));
    expect(
        ledger.send("node/dc-1", transfer_shipped("S1", "X1", "st-1", &[(1, "A", 2)])),
        "transfer.shipped/1 uk 2026-01-07/2026-01-07
         Assets:InTransit:Dc-1-to-st-1 210
         Assets:Inventory:Dc-1 -210
         transfer.received/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:St-1 210
         Assets:InTransit:Dc-1-to-st-1 -210
         cost.late/1 uk 2026-01-07/2026-01-07
         Expenses:CostOfGoodsSold 105
         Assets:Inventory:St-1 -105",
    );
    assert_eq!(ledger.reasons(), Vec::<String>::new());
}

#[test]
fn units_sold_ahead_of_a_transfer_keep_their_provisional_cost_and_the_difference_goes_with_them() {
    let mut ledger = Ledger::new();
    ledger.send("node/st-1", received("R0", "A", 1, 80));
    ledger.send("node/st-1", sold("C1", Tender::Cash, &[("A", 2, price(300))]));
    assert_eq!(ledger.balances()["uk Liabilities:UnreceivedStock:St-1 GBP"], -80);
    ledger.send("node/dc-1", received("R1", "A", 3, 300));
    ledger.send("node/dc-1", transfer_shipped("S1", "X1", "st-1", &[(1, "A", 3)]));
    // One of the three is the unit that was sold.
    expect(
        ledger.send("node/st-1", transfer_received("B1", "X1", "dc-1", (1, "A"), [3, 0, 0], [0; 3])),
        "cost.unreceived/1 uk 2026-01-07/2026-01-07
         Liabilities:UnreceivedStock:St-1 80
         Expenses:CostOfGoodsSold -80
         transfer.received/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:St-1 300
         Assets:InTransit:Dc-1-to-st-1 -300
         cost.late/1 uk 2026-01-07/2026-01-07
         Expenses:CostOfGoodsSold 100
         Assets:Inventory:St-1 -100",
    );
    let balances = ledger.balances();
    assert_eq!(balances["uk Expenses:CostOfGoodsSold GBP"], 80 + 100);
    assert_eq!(balances["uk Assets:Inventory:St-1 GBP"], 200);
}

#[test]
fn kits_take_the_value_of_their_components_and_give_it_back() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 4, 400));
    ledger.send("node/dc-1", received("R2", "B", 2, 60));
    // Two kits of two A and one B: 400 + 60.
    expect(
        ledger.send("node/dc-1", converted("K1", "KIT", 2, &[("A", 4), ("B", 2)])),
        "conversion.taken/1 uk 2026-01-07/2026-01-07
         Assets:Conversion:Dc-1 400
         Assets:Inventory:Dc-1 -400
         Assets:Conversion:Dc-1 60
         Assets:Inventory:Dc-1 -60
         conversion.made/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:Dc-1 460
         Assets:Conversion:Dc-1 -460",
    );
    let entries = ledger.send("node/dc-1", sold("C1", Tender::Cash, &[("KIT", 1, price(900))]));
    assert_eq!(entries[5], "  Expenses:CostOfGoodsSold 230");
    // The other one is taken apart: 230 by what two A and one B last cost, 200 to 30.
    expect(
        ledger.send("node/dc-1", converted("K2", "KIT", -1, &[("A", 2), ("B", 1)])),
        "conversion.taken/1 uk 2026-01-07/2026-01-07
         Assets:Conversion:Dc-1 230
         Assets:Inventory:Dc-1 -230
         conversion.made/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:Dc-1 200
         Assets:Conversion:Dc-1 -200
         conversion.made/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:Dc-1 30
         Assets:Conversion:Dc-1 -30",
    );
    let entries = ledger.send("node/dc-1", sold("C2", Tender::Cash, &[("B", 1, price(900))]));
    assert_eq!(entries[5], "  Expenses:CostOfGoodsSold 30");
    assert_eq!(ledger.balances().get("uk Assets:Conversion:Dc-1 GBP"), None);
}

#[test]
fn a_voided_sale_is_as_if_it_had_not_been() {
    let mut ledger = Ledger::new();
    ledger.send("node/st-1", received("R1", "A", 3, 330));
    let before = ledger.balances();
    let lines = [("A", 2, vat_price(400, 40, 60))];
    ledger.send("node/st-1", recorded("C1", Tender::Card, &lines));
    expect(
        ledger.send("node/st-1", voided("V1", "C1", Tender::Card, &lines)),
        "void.revenue/1 uk 2026-01-07/2026-01-07
         Income:Sales:Store 400
         Liabilities:TaxPayable:GB 72
         Assets:CardClearing:St-1 -372
         Income:Discounts:Store -40
         Assets:CouponReceivable -60
         void.cost/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:St-1 220
         Expenses:CostOfGoodsSold -220",
    );
    assert_eq!(ledger.balances(), before);
    // Nothing of it can come back now.
    ledger.send("node/st-1", returned_sale("T1", "st-1", "C1", "A", 1));
    ledger.send("node/st-1", voided("V2", "C9", Tender::Card, &lines));
    ledger.send("node/st-1", voided("V3", "C1", Tender::Card, &lines));
    assert_eq!(ledger.reasons(), ["EXCEEDS_LINE return-origin", "SALE_NOT_KNOWN whole", "EXCEEDS_LINE whole"]);
}

#[test]
fn a_recorded_sale_ahead_of_its_receipt_is_provisional_and_trued_up() {
    let mut ledger = Ledger::new();
    ledger.send("node/st-1", received("R1", "A", 1, 100));
    let entries = ledger.send("node/st-1", recorded("C1", Tender::Cash, &[("A", 2, price(300))]));
    assert_eq!(
        entries[5..],
        [
            "  Expenses:CostOfGoodsSold 100",
            "  Assets:Inventory:St-1 -100",
            "  Expenses:CostOfGoodsSold 100",
            "  Liabilities:UnreceivedStock:St-1 -100"
        ]
    );
    // The same document by the other door has no second effect.
    expect(ledger.send("node/st-1", sold("C1", Tender::Cash, &[("A", 2, price(300))])), "");
    let entries = ledger.send("node/st-1", received("R2", "A", 1, 130));
    assert_eq!(
        entries[4..],
        ["  Liabilities:UnreceivedStock:St-1 100", "  Expenses:CostOfGoodsSold 30", "  Assets:Inventory:St-1 -130"]
    );
}

/// Books with three units of `A` sold for 3 x 1.00 and VAT, at cost 100, 120 and 140, that came back to st-1.
fn returned_three(settings: Settings) -> Ledger {
    let mut ledger = Ledger::new();
    ledger.books.keep_by(settings);
    for (n, cost) in [100, 120, 140].into_iter().enumerate() {
        ledger.send("node/st-1", received(&format!("R{n}"), "A", 1, cost));
    }
    ledger.send("node/st-1", sold("C1", Tender::Cash, &[("A", 3, price(300))]));
    ledger.send("node/st-1", returned_sale("T1", "st-1", "C1", "A", 3));
    ledger
}

#[test]
fn goods_to_be_refurbished_are_sellable_in_another_grade_afterwards() {
    let mut ledger = returned_three(Settings::default());
    let refurbish = |outcome| (Disposition::Refurbish, outcome);
    // 360 over three units.
    expect(
        ledger.send("node/st-1", inspected("T1", "A", 3, Disposition::Refurbish)),
        "inspection.refurbish/1 uk 2026-01-07/2026-01-07
         Assets:Refurbishment:St-1 360
         Assets:ReturnsPending:St-1 -360",
    );
    expect(
        ledger.send("node/st-1", finished("F1", "T1", "A", 2, refurbish(DispositionOutcome::Refurbished))),
        "disposition.refurbished/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:St-1 240
         Assets:Refurbishment:St-1 -240",
    );
    expect(
        ledger.send("node/st-1", finished("F2", "T1", "A", 1, refurbish(DispositionOutcome::WrittenOff))),
        "disposition.written-off/1 uk 2026-01-07/2026-01-07
         Expenses:WriteOff:St-1 120
         Assets:Refurbishment:St-1 -120",
    );
    ledger.send("node/st-1", finished("F3", "T1", "A", 1, refurbish(DispositionOutcome::Refurbished)));
    assert_eq!(ledger.reasons(), ["EXCEEDS_RETURN whole"]);
    let records = ledger.books.records();
    let cells: Vec<_> = records.cells.iter().map(|(key, cell)| (key.stock_key.to_string(), cell.quantity)).collect();
    assert_eq!(cells, [("A".to_owned(), 0), ("A+refurbished".to_owned(), 2)]);
}

#[test]
fn goods_to_be_sold_off_are_carried_at_the_value_that_the_settings_state() {
    let settings = Settings { liquidation_value_ppm: 400_000, ..Settings::default() };
    let mut ledger = returned_three(settings);
    // Two of three: 240, 40 % of it 96.
    expect(
        ledger.send("node/st-1", inspected("T1", "A", 2, Disposition::Liquidate)),
        "inspection.liquidate/1 uk 2026-01-07/2026-01-07
         Assets:LiquidationStock:St-1 96
         Expenses:WriteDown:St-1 144
         Assets:ReturnsPending:St-1 -240",
    );
    expect(
        ledger
            .send("node/st-1", finished("F1", "T1", "A", 1, (Disposition::Liquidate, DispositionOutcome::Liquidated))),
        "disposition.liquidated/1 uk 2026-01-07/2026-01-07
         Expenses:CostOfGoodsSold 48
         Assets:LiquidationStock:St-1 -48",
    );
    // Without a stated value, at cost.
    let mut ledger = returned_three(Settings::default());
    expect(
        ledger.send("node/st-1", inspected("T1", "A", 2, Disposition::Liquidate)),
        "inspection.liquidate/1 uk 2026-01-07/2026-01-07
         Assets:LiquidationStock:St-1 240
         Assets:ReturnsPending:St-1 -240",
    );
}

#[test]
fn goods_sent_back_to_the_supplier_are_claimed_at_cost() {
    let mut ledger = returned_three(Settings::default());
    expect(
        ledger.send("node/st-1", inspected("T1", "A", 1, Disposition::ReturnToVendor)),
        "inspection.to-vendor/1 uk 2026-01-07/2026-01-07
         Assets:VendorReturns:St-1 120
         Assets:ReturnsPending:St-1 -120",
    );
    expect(
        ledger.send(
            "node/st-1",
            finished("F1", "T1", "A", 1, (Disposition::ReturnToVendor, DispositionOutcome::ReturnedToVendor)),
        ),
        "disposition.returned/1 uk 2026-01-07/2026-01-07
         Assets:SupplierClaims 120
         Assets:VendorReturns:St-1 -120",
    );
}

#[test]
fn a_cost_that_is_known_late_goes_through_all_that_became_of_the_goods() {
    let settings = Settings { liquidation_value_ppm: 500_000, ..Settings::default() };
    let mut ledger = Ledger::new();
    ledger.books.keep_by(settings);
    ledger.send("node/st-1", received("R0", "A", 1, 100));
    ledger.send("node/st-1", sold("C0", Tender::Cash, &[("A", 1, price(100))]));
    // Two ahead of their receipt at provisional 100 each; both come back. One is refurbished and sold, one sold off.
    ledger.send("node/st-1", sold("C1", Tender::Cash, &[("A", 2, price(200))]));
    ledger.send("node/st-1", returned_sale("T1", "st-1", "C1", "A", 2));
    ledger.send("node/st-1", inspected("T1", "A", 1, Disposition::Refurbish));
    ledger.send("node/st-1", inspected("T1", "A", 1, Disposition::Liquidate));
    let refurbished = (Disposition::Refurbish, DispositionOutcome::Refurbished);
    ledger.send("node/st-1", finished("F1", "T1", "A", 1, refurbished));
    ledger.send("node/st-1", finished("F2", "T1", "A", 1, (Disposition::Liquidate, DispositionOutcome::Liquidated)));
    // They had cost 130 each: 60 more.
    expect(
        ledger.send("node/st-1", received("R1", "A", 2, 260)),
        "receipt.purchase/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:St-1 260
         Liabilities:Grni -260
         cost.unreceived/1 uk 2026-01-07/2026-01-07
         Liabilities:UnreceivedStock:St-1 200
         Expenses:CostOfGoodsSold 60
         Assets:Inventory:St-1 -260
         return.cost/1 uk 2026-01-07/2026-01-07
         Assets:ReturnsPending:St-1 60
         Expenses:CostOfGoodsSold -60
         inspection.refurbish/1 uk 2026-01-07/2026-01-07
         Assets:Refurbishment:St-1 30
         Assets:ReturnsPending:St-1 -30
         disposition.refurbished/1 uk 2026-01-07/2026-01-07
         Assets:Inventory:St-1 30
         Assets:Refurbishment:St-1 -30
         inspection.liquidate/1 uk 2026-01-07/2026-01-07
         Assets:LiquidationStock:St-1 15
         Expenses:WriteDown:St-1 15
         Assets:ReturnsPending:St-1 -30
         disposition.liquidated/1 uk 2026-01-07/2026-01-07
         Expenses:CostOfGoodsSold 15
         Assets:LiquidationStock:St-1 -15",
    );
    assert_eq!(ledger.balances()["uk Assets:Inventory:St-1 GBP"], 130);
}

#[test]
fn a_return_that_names_its_parcel_comes_back_at_that_parcels_cost() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 1, 70));
    ledger.send("node/st-1", received("R1", "A", 1, 90));
    ledger.send("coordinator/1", ordered("O1", OnShipment, &[("A", 2, price(200))]));
    ledger.send("node/dc-1", shipped("S1", "O1", &[(1, "A", 1)]));
    let named = |id: &str, node: &str, shipment: &str| {
        let Fact::ReturnReceived(mut fact) = returned_order(id, "O1", 1, "A", 1) else { unreachable!("a return") };
        (fact.shipment_node, fact.shipment_id) = (node.into(), shipment.into());
        Fact::ReturnReceived(fact)
    };
    // Its parcel has not come to the books yet.
    ledger.send("node/st-1", named("T1", "st-1", "S2"));
    assert_eq!(ledger.reasons(), ["SHIPMENT_NOT_KNOWN return-origin"]);
    let entries = ledger.send("node/st-1", shipped("S2", "O1", &[(1, "A", 1)]));
    assert_eq!(entries.last().unwrap(), "  Expenses:CostOfGoodsSold -90");
    // The same parcel brought one unit only.
    ledger.send("node/st-1", named("T2", "st-1", "S2"));
    assert_eq!(ledger.reasons(), ["EXCEEDS_LINE return-origin"]);
    let entries = ledger.send("node/st-1", named("T3", "dc-1", "S1"));
    assert_eq!(entries.last().unwrap(), "  Expenses:CostOfGoodsSold -70");
    // Both refunds add up to the line, whichever parcel came first.
    assert_eq!(ledger.balances()["uk Liabilities:RefundsPayable GBP"], -240);
}

#[test]
fn goods_shipped_in_place_of_others_cost_what_they_cost_and_come_back_as_what_they_are() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "B", 1, 70));
    ledger.send("coordinator/1", ordered("O1", OnShipment, &[("A", 1, price(100))]));
    let Fact::ShipmentDispatched(mut fact) = shipped("S1", "O1", &[(1, "B", 1)]) else { unreachable!("a shipment") };
    fact.lines[0].substituted_for = key("A");
    expect(
        ledger.send("node/dc-1", Fact::ShipmentDispatched(fact)),
        "shipment.cost/1 uk 2026-01-07/2026-01-07
         Expenses:CostOfGoodsSold 70
         Assets:Inventory:Dc-1 -70
         shipment.revenue/1 uk 2026-01-07/2026-01-07
         Assets:PspClearing 120
         Income:Sales:Web -100
         Liabilities:TaxPayable:GB -20",
    );
    let entries = ledger.send("node/dc-1", returned_order("T1", "O1", 1, "B", 1));
    assert_eq!(entries.last().unwrap(), "  Expenses:CostOfGoodsSold -70");
    assert_eq!(ledger.balances()["uk Liabilities:RefundsPayable GBP"], -120);
}

#[test]
fn a_piece_that_weighs_less_is_paid_by_what_it_weighs() {
    // 1,000 g ordered for 10.00 and VAT; 950 g left, 50 g are cancelled.
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "HAM", 10_000, 40_000));
    ledger.send("coordinator/1", ordered("O1", Prepaid, &[("HAM", 1_000, price(1_000))]));
    ledger.send("node/dc-1", shipped("S1", "O1", &[(1, "HAM", 950)]));
    ledger.send("coordinator/1", cancelled("O1", 1, 50));
    let balances = ledger.balances();
    assert_eq!(balances["uk Income:Sales:Web GBP"], -950);
    assert_eq!(balances["uk Liabilities:TaxPayable:GB GBP"], -190);
    assert_eq!(balances["uk Liabilities:RefundsPayable GBP"], -60);
    assert_eq!(balances["uk Expenses:CostOfGoodsSold GBP"], 3_800);
    assert_eq!(balances.get("uk Liabilities:CustomerDeposits GBP"), None);
}

#[test]
fn refunds_for_goods_that_the_customer_keeps() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 2, 140));
    ledger.send("coordinator/1", ordered("O1", OnShipment, &[("A", 2, price(200))]));
    // Before its shipment came to the books.
    ledger.send("coordinator/1", committed("F1", "O1", 1, 1, (50, 10), false));
    assert_eq!(ledger.reasons(), ["SHIPMENT_NOT_KNOWN whole"]);
    let entries = ledger.send("node/dc-1", shipped("S1", "O1", &[(1, "A", 2)]));
    expect(
        entries[entries.len() - 4..].to_vec(),
        "refund.allowance/1 uk 2026-01-07/2026-01-07
         Income:SalesAllowances:Web 50
         Liabilities:TaxPayable:GB 10
         Liabilities:RefundsPayable -60",
    );
    // Paid without asking, at a till of the same entity: of 120 charged for a unit, 20 were VAT; of 45 it is 7.5, which rounds
    // to 8. And at one of another: 2.5 of 15 rounds to 2.
    expect(
        ledger.send("node/st-1", paid_offline("F2", "O1", 45, Tender::Cash)),
        "refund.allowance/1 uk 2026-01-07/2026-01-07
         Income:SalesAllowances:Web 37
         Liabilities:TaxPayable:GB 8
         Liabilities:RefundsPayable -45
         refund.paid/1 uk 2026-01-07/2026-01-07
         Liabilities:RefundsPayable 45
         Assets:CashClearing:St-1 -45",
    );
    expect(
        ledger.send("node/dc-2", paid_offline("F3", "O1", 15, Tender::Card)),
        "refund.allowance/1 uk 2026-01-07/2026-01-07
         Income:SalesAllowances:Web 13
         Liabilities:TaxPayable:GB 2
         Liabilities:RefundsPayable -15
         refund.paid-for/1 ie 2026-01-07/2026-01-07
         Assets:Intercompany:Uk 15
         Assets:CardClearing:Dc-2 -15
         refund.owed-to-payer/1 uk 2026-01-07/2026-01-07
         Liabilities:RefundsPayable 15
         Assets:Intercompany:Ie -15",
    );
    // What was committed is still to be paid. For goods that came back, only the payment is news.
    assert_eq!(ledger.balances()["uk Liabilities:RefundsPayable GBP"], -60);
    let Fact::RefundPaidOffline(mut fact) = paid_offline("F4", "O1", 60, Tender::Cash) else {
        unreachable!("a payment")
    };
    fact.return_id = "T1".into();
    expect(
        ledger.send("node/st-1", Fact::RefundPaidOffline(fact)),
        "refund.paid/1 uk 2026-01-07/2026-01-07
         Liabilities:RefundsPayable 60
         Assets:CashClearing:St-1 -60",
    );
    // More than was charged has no more tax.
    let entries = ledger.send("node/st-1", paid_offline("F5", "O1", 150, Tender::Cash));
    assert_eq!(entries[1..3], ["  Income:SalesAllowances:Web 130", "  Liabilities:TaxPayable:GB 20"]);
}

#[test]
fn what_is_kept_of_a_refund_for_returned_goods_is_a_fee() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 2, 140));
    ledger.send("coordinator/1", ordered("O1", OnShipment, &[("A", 2, price(200))]));
    ledger.send("node/dc-1", shipped("S1", "O1", &[(1, "A", 2)]));
    ledger.send("node/st-1", returned_order("T1", "O1", 1, "A", 2));
    assert_eq!(ledger.balances()["uk Liabilities:RefundsPayable GBP"], -240);
    // The whole share of the first unit, 120; of the second all but 15 and the VAT on it.
    expect(ledger.send("coordinator/1", committed("F1", "O1", 1, 1, (100, 20), true)), "");
    expect(
        ledger.send("coordinator/1", committed("F2", "O1", 1, 2, (85, 17), true)),
        "refund.fee/1 uk 2026-01-07/2026-01-07
         Liabilities:RefundsPayable 18
         Income:RestockingFees:Web -15
         Liabilities:TaxPayable:GB -3",
    );
    assert_eq!(ledger.balances()["uk Liabilities:RefundsPayable GBP"], -222);
    ledger.send("coordinator/1", committed("F3", "O1", 1, 2, (101, 20), true));
    ledger.send("coordinator/1", committed("F4", "O1", 1, 3, (85, 17), true));
    assert_eq!(ledger.reasons(), ["AMOUNT_TOO_LARGE whole", "EXCEEDS_LINE whole"]);
}

#[test]
fn money_of_a_counter_sale_goes_back_over_the_counter() {
    let mut ledger = Ledger::new();
    ledger.send("node/st-1", received("R1", "A", 2, 140));
    ledger.send("node/st-1", sold("C1", Tender::Card, &[("A", 1, price(100))]));
    ledger.send("node/st-1", returned_sale("T1", "st-1", "C1", "A", 1));
    expect(
        ledger.send("node/st-1", paid_at_counter("F1", "st-1", "C1", 120)),
        "refund.paid/1 uk 2026-01-07/2026-01-07
         Liabilities:RefundsPayable 120
         Assets:CashClearing:St-1 -120",
    );
    expect(ledger.send("node/st-1", paid_at_counter("F1", "st-1", "C1", 120)), "");
    ledger.send("node/st-1", paid_at_counter("F2", "st-1", "C9", 120));
    ledger.send("node/st-1", paid_at_counter("F3", "st-1", "C1", 0));
    assert_eq!(ledger.reasons(), ["SALE_NOT_KNOWN whole", "INVALID_VALUE whole"]);
}
