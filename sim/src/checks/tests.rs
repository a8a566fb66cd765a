//! Each check passes on a small run that is right, and fails when just its guarantee is broken.

use std::sync::Arc;

use stockmesh_proto::common::v1::{AllocationId, CellId, Order, OrderLine, PaymentTerms, StockKey, TaxRegime};
use stockmesh_proto::coordinator::v1::{Allocation, Cell, GetClusterStatusResponse, OrderLineStatus, OrderStatus};
use stockmesh_proto::feed::v1::{FeedPosition, FeedRef};
use stockmesh_proto::finance::v1::{AccountBalance, FeedCursor, JournalEntry, Posting, StockValue, SuspenseItem};
use stockmesh_proto::node::v1::{GetNodeStatusResponse, StockLevel, Task};

use super::evidence::{Evidence, Journal};
use super::run_all;
use crate::demo::acks::{AcknowledgedOrder, Acks};
use crate::demo::quiet::Positions;
use crate::demo::{DemoResult, Durations, faults::FaultReport};
use crate::network::Layout;
use crate::streams::items::StreamItem;
use crate::streams::model::StreamLine;
use crate::streams::{Event, LeftOut, Stream, StreamOrder, places, tax};

fn key() -> Option<StockKey> {
    Some(StockKey { item: "A".into(), grade: 1, ..StockKey::default() })
}

fn entry(number: u64, rule: &str, seq: u64, postings: &[(&str, i64)]) -> JournalEntry {
    JournalEntry {
        number,
        entity: "retail".into(),
        currency_code: "GBP".into(),
        rule: rule.into(),
        source: Some(FeedRef { participant: "node/dc-1".into(), destination: String::new(), epoch: 1 }),
        source_seq: seq,
        postings: postings
            .iter()
            .map(|(account, amount_minor)| Posting {
                account: (*account).into(),
                amount_minor: *amount_minor,
                ..Posting::default()
            })
            .collect(),
        ..JournalEntry::default()
    }
}

/// Ten units of A came at 6 each; an order of three was placed at 100 each and 20 % VAT; two were shipped, one cancelled.
fn right() -> DemoResult {
    let price = tax::priced(300, 0, 0, "GB", TaxRegime::Vat, 200_000).unwrap();
    let order = StreamOrder {
        order_id: "o1".into(),
        channel: "web",
        placed_time_ms: 1,
        customer: "c".into(),
        ship_to: places::in_the_uk("c"),
        payment_terms: PaymentTerms::OnAccount,
        lines: vec![StreamLine { item: 0, quantity: 3, price: price.clone() }],
    };
    let id = Some(AllocationId { incarnation: 1, log_index: 7, n: 0 });
    let allocation =
        Allocation { id, node: "dc-1".into(), quantity: 3, shipped: 2, cancelled: 1, ..Allocation::default() };
    let line = OrderLineStatus {
        line: 1,
        stock_key: key(),
        ordered: 3,
        cancelled: 1,
        shipped: 2,
        allocations: vec![allocation],
        ..OrderLineStatus::default()
    };
    let lines = vec![OrderLine { line: 1, stock_key: key(), quantity: 3, price: Some(price), ..Default::default() }];
    let wire = Order { order_id: "o1".into(), lines, ..Order::default() };
    let mut journal = Journal::default();
    journal.add(entry(1, "receipt.opening/1", 1, &[("Assets:Inventory:Dc-1", 60), ("Equity:OpeningBalances", -60)]));
    let revenue = [("Assets:AccountsReceivable", 240), ("Income:Sales:Web", -200), ("Liabilities:TaxPayable:GB", -40)];
    journal.add(entry(2, "shipment.revenue/1", 4, &revenue));
    journal.add(entry(3, "shipment.cost/1", 4, &[("Expenses:CostOfGoodsSold", 12), ("Assets:Inventory:Dc-1", -12)]));
    let balances =
        journal.accounts.iter().map(|((entity, account, currency), (debit_minor, credit_minor))| AccountBalance {
            entity: entity.clone(),
            account: account.clone(),
            currency_code: currency.clone(),
            debit_minor: *debit_minor,
            credit_minor: *credit_minor,
        });
    let balances = balances.collect();
    let head = FeedPosition { seq: 4, hash: vec![0xab; 32] };
    let cursor = |participant: &str| FeedCursor {
        feed: Some(FeedRef { participant: participant.into(), destination: String::new(), epoch: 1 }),
        position: Some(head.clone()),
    };
    let level = StockLevel {
        stock_key: key(),
        on_hand: 8,
        granted: 10,
        consumed: 2,
        outstanding: 8,
        received_total: 10,
        shipped_total: 2,
        ..StockLevel::default()
    };
    let cell_id = CellId { group: 1, node: "dc-1".into(), stock_key: key() };
    let cell = Cell { id: Some(cell_id), granted: 10, shipped: 2, free: 8, ..Cell::default() };
    let task = Task {
        allocation: id,
        order_id: "o1".into(),
        line: 1,
        stock_key: key(),
        quantity: 3,
        shipped: 2,
        cancelled: 1,
        ..Task::default()
    };
    let status =
        GetNodeStatusResponse { node: "dc-1".into(), feed_seq: 4, feed_hash: "ab".repeat(32), ..Default::default() };
    let replica = |n: u64| {
        (
            format!("127.0.0.1:{n}"),
            Some(GetClusterStatusResponse { applied_index: 9, state_hash: "aa".into(), ..Default::default() }),
        )
    };
    let evidence = Evidence {
        orders: vec![OrderStatus { order: Some(wire), lines: vec![line], ..OrderStatus::default() }],
        cells: vec![cell],
        levels: [("dc-1".to_owned(), vec![level])].into(),
        tasks: [("dc-1".to_owned(), vec![task])].into(),
        positions: Positions { nodes: Vec::new(), statuses: vec![status] },
        cursors: vec![cursor("node/dc-1"), cursor("coordinator/1")],
        finance_feed_head: head,
        balances,
        journal_entries: 3,
        values: vec![StockValue {
            node: "dc-1".into(),
            item: "A".into(),
            grade: 1,
            quantity: 8,
            value_minor: 48,
            ..Default::default()
        }],
        journal,
        replicas: vec![replica(1), replica(2), replica(3)],
        suspense: Vec::new(),
    };
    let placed = AcknowledgedOrder {
        order: order.clone(),
        at_us: 1,
        latency_us: 1,
        nodes: 2,
        split_lines: 1,
        short_lines: 0,
        short_units: 0,
    };
    let acks = Acks {
        orders: vec![placed],
        received: [(("dc-1".to_owned(), "A".to_owned()), 10)].into(),
        receipts: 1,
        received_cost_minor: 60,
        shipments: 1,
        shipped_units: 2,
        ..Acks::default()
    };
    let stream = Stream {
        name: "t".into(),
        source: "t".into(),
        currency_code: "GBP",
        lines_read: 0,
        items: vec![StreamItem { item: "A".into(), description: "A".into(), weight_grams: 1, unit_cost_minor: 6 }],
        stores: Vec::new(),
        events: vec![Event::Order(order)],
        returns: Vec::new(),
        left_out: LeftOut::default(),
        assumptions: Vec::new(),
    };
    DemoResult {
        stream: Arc::new(stream),
        layout: Layout::european(),
        acks,
        evidence,
        faults: FaultReport::default(),
        samples: Vec::new(),
        durations: Durations::default(),
        assumptions: Vec::new(),
    }
}

#[test]
fn a_run_that_is_right_passes_every_check() {
    for verdict in run_all(&right()) {
        assert!(verdict.findings.passed(), "{}: {:?}", verdict.check.name, verdict.findings.violations);
    }
}

#[test]
fn a_node_that_did_nothing_is_no_violation() {
    let mut result = right();
    let idle = GetNodeStatusResponse { node: "store-1".into(), feed_hash: "00".repeat(32), ..Default::default() };
    result.evidence.positions.statuses.push(idle);
    assert!(run_all(&result).iter().all(|verdict| verdict.findings.passed()));
}

#[test]
fn each_check_fails_when_its_guarantee_is_broken() {
    type Damage = fn(&mut DemoResult);
    let cases: [(&str, &str, Damage); 24] = [
        ("somebody found an empty shelf", "no unit promised twice", |r| r.acks.short_on_hand = 1),
        ("a receipt at half its cost", "inventory account = cost layers = recorded units", |r| {
            r.acks.received_cost_minor = 120
        }),
        ("a node shipped more than its task", "no unit promised twice", |r| {
            r.evidence.tasks.get_mut("dc-1").unwrap()[0].shipped = 3
        }),
        ("a node has work that nobody gave", "no unit promised twice", |r| {
            let mut task = r.evidence.tasks["dc-1"][0].clone();
            task.allocation = Some(AllocationId { incarnation: 1, log_index: 8, n: 0 });
            r.evidence.tasks.get_mut("dc-1").unwrap().push(task);
        }),
        ("an allocation is there twice", "no unit promised twice", |r| {
            let again = r.evidence.orders[0].lines[0].allocations[0].clone();
            r.evidence.orders[0].lines[0].allocations.push(again);
        }),
        ("a cell promises what it has not", "no unit promised twice", |r| r.evidence.cells[0].free = -1),
        ("a promise without rights", "no unit promised twice", |r| r.evidence.cells[0].open = 1),
        ("the node granted less", "rights agree and are covered", |r| r.evidence.cells[0].granted = 11),
        ("rights beyond the stock", "rights agree and are covered", |r| {
            r.evidence.levels.get_mut("dc-1").unwrap()[0].on_hand = 7
        }),
        ("a unit vanished", "units conserved", |r| r.evidence.levels.get_mut("dc-1").unwrap()[0].on_hand = 7),
        ("a shipment nobody asked for", "units conserved", |r| r.acks.shipped_units = 1),
        ("an order is gone", "no acknowledged order lost", |r| r.evidence.orders.clear()),
        ("an order is another", "no acknowledged order lost", |r| r.acks.orders[0].order.lines[0].quantity = 4),
        ("an order was refused", "no acknowledged order lost", |r| {
            r.acks.refused_orders.push(("o2".into(), "x".into()))
        }),
        ("finance lags", "every fact posted once", |r| r.evidence.positions.statuses[0].feed_seq = 5),
        ("another history", "every fact posted once", |r| r.evidence.positions.statuses[0].feed_hash = "00".into()),
        ("a fact waits", "every fact posted once", |r| r.evidence.suspense.push(SuspenseItem::default())),
        ("a shipment posted again", "every fact posted once", |r| {
            r.evidence.journal.add(entry(4, "cost.late/1", 1, &[]));
            r.evidence.journal.add(entry(5, "shipment.cost/1", 4, &[]));
        }),
        ("an account is off", "books balanced", |r| r.evidence.balances[0].debit_minor += 1),
        ("an entry is off", "books balanced", |r| r.evidence.journal.add(entry(4, "x/1", 9, &[("A", 1)]))),
        ("a layer too much", "inventory account = cost layers = recorded units", |r| r.evidence.values[0].quantity = 9),
        ("a layer's value", "inventory account = cost layers = recorded units", |r| {
            r.evidence.values[0].value_minor = 47
        }),
        ("revenue is off", "customer totals", |r| r.acks.orders[0].order.lines[0].price.sales_minor = 330),
        ("a replica differs", "replicas agree", |r| {
            r.evidence.replicas[1].1.as_mut().unwrap().state_hash = "bb".into()
        }),
    ];
    for (what, check, damage) in cases {
        let mut result = right();
        damage(&mut result);
        let failed: Vec<&str> =
            run_all(&result).iter().filter(|v| !v.findings.passed()).map(|verdict| verdict.check.name).collect();
        assert!(failed.contains(&check), "{what}: {failed:?}");
    }
}

#[test]
fn abundance_is_noticed() {
    for (orders, nodes, split_lines, passes) in
        [(100, 2, 1, true), (100, 1, 0, false), (100, 1, 1, false), (99, 1, 0, true)]
    {
        let mut result = right();
        let order = AcknowledgedOrder { nodes, split_lines, ..result.acks.orders[0].clone() };
        result.acks.orders = vec![order; orders];
        let verdict = run_all(&result).pop().unwrap();
        assert_eq!(
            (verdict.check.name, verdict.findings.passed()),
            ("scarcity was real", passes),
            "{orders} {nodes} {split_lines}"
        );
    }
}

#[test]
fn the_report_holds_everything_and_needs_nothing_from_elsewhere() {
    let mut result = right();
    result.evidence.cells[0].free = -1;
    result.assumptions.push("<assumed>".into());
    let figures = crate::report::Figures::of(&result);
    let page = crate::report::html::page(&result, &figures);
    assert!(page.contains("1 checks failed") && page.contains("&lt;assumed&gt;"), "{page}");
    for from_elsewhere in ["http://", "https://", "<script", "<link", "@import", "url("] {
        assert!(!page.contains(from_elsewhere), "{from_elsewhere}");
    }
    let json = crate::report::json::value(&result, &figures);
    assert_eq!(
        (&json["passed"], &json["stream"]["units"], &json["supplied"]["units"]),
        (&false.into(), &3.into(), &2.into())
    );
    let text = crate::report::summary::text(&result, &figures);
    assert!(text.contains("FAILED  no unit promised twice") && text.contains("passed  books balanced"), "{text}");
}
