//! Facts that can't be posted: what they say, when they post after all, and that nothing else is held up.

mod common;

use common::*;
use prost::Message;
use stockmesh_finance_core::{PostError, Source};
use stockmesh_proto::common::v1::{PaymentTerms::Prepaid, Tender};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AdjustReason, Disposition, EntryBody, ReturnReceived};
use stockmesh_types::FeedId;

fn price() -> Option<stockmesh_proto::common::v1::LinePrice> {
    vat_price(300, 0, 0)
}

#[test]
fn everything_of_a_node_waits_for_its_registration_and_then_posts_in_order() {
    let mut ledger = Ledger::empty();
    ledger.send("node/st-1", received("R1", "A", 2, 200));
    ledger.send("node/st-1", sold("C1", Tender::Cash, &[("A", 1, price())]));
    ledger.send("node/dc-1", received("R1", "A", 2, 200));
    ledger.send("node/st-1", returned_sale("T1", "st-1", "C1", "A", 1));
    assert_eq!(ledger.reasons(), ["NODE_NOT_REGISTERED whole"; 4]);
    let entries = ledger.send("coordinator/1", registered("st-1", "uk"));
    let rules: Vec<_> = entries.iter().filter(|line| line.contains('/')).filter_map(|l| l.split(' ').next()).collect();
    assert_eq!(
        rules,
        ["receipt.purchase/1", "counter.revenue/1", "counter.cost/1", "return.revenue/1", "return.cost/1"]
    );
    assert_eq!(ledger.reasons(), ["NODE_NOT_REGISTERED whole"]);
}

#[test]
fn a_shipment_before_its_order_posts_its_cost_at_once_and_its_revenue_later() {
    let mut ledger = Ledger::new();
    ledger.send("node/dc-1", received("R1", "A", 5, 500));
    let entries = ledger.send("node/dc-1", shipped("S1", "O1", &[(1, "A", 2)]));
    assert_eq!(entries[0], "shipment.cost/1 uk 2026-01-07/2026-01-07");
    // A return before shipment and order, and a second shipment.
    ledger.send("node/dc-1", returned_order("T1", "O1", 1, "A", 3));
    ledger.send("node/dc-1", inspected("T1", "A", 3, Disposition::Resale));
    assert_eq!(ledger.reasons(), ["ORDER_NOT_KNOWN revenue", "ORDER_NOT_KNOWN return-origin"]);
    ledger.send("coordinator/1", ordered("O1", Prepaid, &[("A", 3, price())]));
    assert_eq!(ledger.reasons(), ["SHIPMENT_NOT_KNOWN return-origin"]);
    ledger.send("node/dc-1", shipped("S2", "O1", &[(1, "A", 1)]));
    assert_eq!(ledger.reasons(), Vec::<String>::new());
    let balances = ledger.balances();
    // All three are back on the shelf at 100 each.
    assert_eq!(balances["uk Assets:Inventory:Dc-1 GBP"], 500);
    assert_eq!(balances.get("uk Expenses:CostOfGoodsSold GBP"), None);
    assert_eq!(balances["uk Liabilities:RefundsPayable GBP"], -360);
}

#[test]
fn an_order_waits_for_a_first_entity() {
    let mut ledger = Ledger::empty();
    ledger.send("coordinator/1", ordered("O1", Prepaid, &[("A", 3, price())]));
    assert_eq!(ledger.reasons(), ["ENTITY_NOT_KNOWN whole"]);
    assert_eq!(ledger.send("coordinator/1", registered("st-1", "uk"))[0], "order.deposit/1 uk 2026-01-05/2026-01-07");
    assert_eq!(ledger.reasons(), Vec::<String>::new());
}

#[test]
fn what_is_wrong_by_itself_waits_for_a_person_and_says_why() {
    let mut wrong_date = Feeds::default().send("node/dc-1", received("R9", "A", 1, 1));
    wrong_date.body.business_date = "2026-02-30".into();
    let mut impossible_year = Feeds::default().send("node/dc-1", received("R9", "A", 1, 1));
    impossible_year.body.business_date = "0207-01-01".into();
    let other_currency = {
        let Fact::StockReceived(mut fact) = received("R8", "A", 1, 1) else { unreachable!("a receipt") };
        fact.lines[0].cost.as_mut().unwrap().currency_code = "EUR".into();
        Fact::StockReceived(fact)
    };
    let consigned = {
        let Fact::StockReceived(mut fact) = received("R7", "A", 1, 1) else { unreachable!("a receipt") };
        fact.lines[0].stock_key.as_mut().unwrap().owner = "acme".into();
        Fact::StockReceived(fact)
    };
    let both = Fact::ReturnReceived(ReturnReceived {
        return_id: "T9".into(),
        order_id: "O1".into(),
        sale_id: "C1".into(),
        sale_node: "st-1".into(),
        stock_key: key("A"),
        quantity: 1,
        ..Default::default()
    });
    let send = |participant: &str, fact| Feeds::default().send(participant, fact);
    let cases = [
        (wrong_date, "INVALID_DATE whole"),
        (impossible_year, "INVALID_DATE whole"),
        (send("node/dc-1", received("R9", "A", 0, 1)), "QUANTITY_NOT_POSITIVE whole"),
        (send("node/dc-1", received("R9", "A", 2_000_000_000, 1)), "QUANTITY_TOO_LARGE whole"),
        (send("node/dc-1", received("R9", "A", 1, -1)), "AMOUNT_NEGATIVE whole"),
        (send("node/dc-1", received("R9", "A", 1, i64::MAX)), "AMOUNT_TOO_LARGE whole"),
        (send("node/dc-1", received("R9", "no such item!", 1, 1)), "INVALID_ID whole"),
        (send("node/dc-1", received("", "A", 1, 1)), "MISSING_FIELD whole"),
        (send("node/dc-1", received("R1", "A", 6, 500)), "DOCUMENT_ID_REUSED whole"),
        (send("node/dc-1", other_currency), "CURRENCY_MISMATCH whole"),
        (send("node/dc-1", consigned), "NOT_IN_THIS_RELEASE whole"),
        (send("node/dc-1", sold("C9", Tender::Unspecified, &[("A", 1, price())])), "UNSPECIFIED_ENUM whole"),
        (send("node/dc-1", sold("C9", Tender::Cash, &[("A", 1, None)])), "MISSING_FIELD whole"),
        (send("node/dc-1", shipped("S9", "O1", &[(1, "A", 99)])), "EXCEEDS_LINE revenue"),
        (send("node/dc-1", shipped("S9", "O1", &[(1, "A", 2), (1, "A", 2)])), "EXCEEDS_LINE revenue"),
        (send("node/dc-1", shipped("S9", "O1", &[(7, "A", 1)])), "UNKNOWN_ORDER_LINE revenue"),
        (send("node/dc-1", shipped("S9", "O1", &[(1, "B", 1)])), "INVALID_VALUE revenue"),
        (send("coordinator/1", cancelled("O1", 1, 4)), "EXCEEDS_LINE whole"),
        (send("coordinator/1", cancelled("O1", 2, 1)), "UNKNOWN_ORDER_LINE whole"),
        (send("coordinator/1", cancelled("O9", 1, 1)), "ORDER_NOT_KNOWN whole"),
        (send("coordinator/1", registered("dc-1", "other")), "NODE_EXISTS whole"),
        (send("coordinator/1", ordered("O1", Prepaid, &[("A", 2, price())])), "DOCUMENT_ID_REUSED whole"),
        (send("node/dc-1", ordered("O9", Prepaid, &[("A", 2, price())])), "NOT_ALLOWED whole"),
        (send("node/dc-1", registered("dc-9", "uk")), "NOT_ALLOWED whole"),
        (send("coordinator/1", received("R9", "A", 1, 1)), "NOT_ALLOWED whole"),
        (send("node/dc-1", returned_order("T9", "O1", 1, "A", 4)), "EXCEEDS_LINE return-origin"),
        (send("node/dc-1", returned_order("T9", "O1", 1, "B", 1)), "UNKNOWN_ORDER_LINE return-origin"),
        (send("node/dc-1", returned_sale("T9", "st-1", "C1", "A", 1)), "SALE_NOT_KNOWN return-origin"),
        (send("node/dc-1", both), "INVALID_VALUE whole"),
        (send("node/dc-1", inspected("T9", "A", 1, Disposition::Resale)), "RETURN_NOT_KNOWN whole"),
        (send("node/dc-1", inspected("T1", "A", 2, Disposition::Resale)), "EXCEEDS_RETURN whole"),
        (send("node/dc-1", inspected("T1", "A", 1, Disposition::Unspecified)), "UNSPECIFIED_ENUM whole"),
        (send("node/dc-1", adjusted("A9", "A", 0, AdjustReason::Count)), "QUANTITY_NOT_POSITIVE whole"),
    ];
    for (sent, expected) in cases {
        let mut ledger = Ledger::new();
        ledger.send("node/dc-1", received("R1", "A", 5, 500));
        ledger.send("coordinator/1", ordered("O1", Prepaid, &[("A", 3, price())]));
        ledger.send("node/dc-1", shipped("S1", "O1", &[(1, "A", 1)]));
        ledger.send("node/dc-1", returned_order("T1", "O1", 1, "A", 1));
        let before = ledger.balances();
        ledger.post(&sent);
        ledger.write();
        assert_eq!(ledger.reasons(), [expected], "{:?}", sent.body.fact);
        if expected.ends_with("whole") {
            assert_eq!(ledger.balances(), before, "{:?}", sent.body.fact);
        }
        // Nothing else is held up.
        assert!(!ledger.send("node/dc-1", received("R2", "A", 5, 500)).is_empty());
    }
}

#[test]
fn a_repeat_of_a_document_is_passed_over_whatever_epoch_brings_it() {
    let mut ledger = Ledger::new();
    let sent = ledger.feeds.send("node/dc-1", received("R1", "A", 5, 500));
    ledger.post(&sent);
    ledger.send("coordinator/1", epoch_opened("dc-1", 2, 1, 0));
    let again = FeedId { epoch: 2, ..sent.source.feed.clone() };
    ledger.post(&Sent { source: Source { feed: again, seq: 1 }, body: sent.body.clone() });
    ledger.write();
    assert_eq!(ledger.books.records().entries.len(), 1);
    assert_eq!(ledger.reasons(), Vec::<String>::new());
}

#[test]
fn a_fact_of_a_newer_release_is_refused_not_skipped() {
    let mut ledger = Ledger::new();
    let mut sent = ledger.feeds.send("node/dc-1", received("R1", "A", 5, 500));
    // Field 99 of the entry: a fact that this build does not know.
    sent.body.fact = None;
    let mut bytes = sent.body.encode_to_vec();
    bytes.extend([0x9a, 0x06, 0x00]);
    let body = EntryBody::decode(bytes.as_slice()).unwrap();
    let refused = ledger.books.post(&sent.source, &bytes, &body, TIME_MS).unwrap_err();
    assert!(matches!(refused, PostError::UnknownFact(source) if source == sent.source));
}

#[test]
fn a_return_that_came_first_takes_the_first_unit_though_its_partners_come_late() {
    // Facts of st-1 arrive first, and wait: two returns of one line, with the shipment of dc-1 arriving between them.
    let mut ledger = Ledger::empty();
    ledger.send("node/st-1", returned_order("T1", "O1", 1, "A", 1));
    ledger.send("node/dc-1", received("R1", "A", 1, 5));
    ledger.send("node/dc-1", received("R2", "A", 1, 7));
    ledger.send("node/dc-1", shipped("S1", "O1", &[(1, "A", 2)]));
    ledger.send("node/st-1", returned_order("T2", "O1", 1, "A", 1));
    ledger.send("node/st-1", inspected("T1", "A", 1, Disposition::WriteOff));
    ledger.send("coordinator/1", registered("st-1", "uk"));
    ledger.send("coordinator/1", registered("dc-1", "uk"));
    ledger.send("coordinator/1", ordered("O1", Prepaid, &[("A", 2, price())]));
    assert_eq!(ledger.reasons(), Vec::<String>::new());
    let balances = ledger.balances();
    assert_eq!(balances["uk Expenses:WriteOff:St-1 GBP"], 5);
    assert_eq!(balances["uk Assets:ReturnsPending:St-1 GBP"], 7);
}
