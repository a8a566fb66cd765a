//! Facts made briefly, and books to post them to.
#![allow(dead_code, unused_imports)]

mod moves;

use std::collections::BTreeMap;

pub use moves::*;

use prost::Message;
use stockmesh_finance_core::memory::MemoryRecords;
use stockmesh_finance_core::{Books, Entry, Settings, Source};
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{self as feed, EntryBody};
use stockmesh_types::FeedId;
use stockmesh_types::money::tax_of;

/// 2026-01-05T12:00:00Z.
pub const TIME_MS: i64 = 1_767_614_400_000;
pub const DATE: &str = "2026-01-07";

/// A fact of a feed, at its place.
#[derive(Clone, Debug)]
pub struct Sent {
    pub source: Source,
    pub body: EntryBody,
}

/// Numbers the entries of feeds.
#[derive(Default)]
pub struct Feeds {
    seq: BTreeMap<FeedId, u64>,
}

impl Feeds {
    pub fn send(&mut self, participant: &str, fact: Fact) -> Sent {
        let destination = if participant.starts_with("coordinator") { "finance/main" } else { "" };
        let feed = FeedId { participant: participant.into(), destination: destination.into(), epoch: 1 };
        let seq = self.seq.entry(feed.clone()).or_default();
        *seq += 1;
        let body = EntryBody {
            time_ms: TIME_MS,
            business_date: DATE.into(),
            group: 1,
            incarnation: 1,
            fact: Some(fact),
            ..EntryBody::default()
        };
        Sent { source: Source { feed, seq: *seq }, body }
    }
}

/// Books in memory, with the feeds that fill them.
pub struct Ledger {
    pub books: Books<MemoryRecords>,
    pub feeds: Feeds,
}

impl Ledger {
    pub fn empty() -> Self {
        Self { books: Books::open(MemoryRecords::default(), Settings::default()).unwrap(), feeds: Feeds::default() }
    }

    /// With nodes `dc-1`, `st-1` of entity `uk` and `dc-2` of entity `ie`.
    pub fn new() -> Self {
        let mut ledger = Self::empty();
        for (node, entity) in [("dc-1", "uk"), ("st-1", "uk"), ("dc-2", "ie")] {
            ledger.send("coordinator/1", registered(node, entity));
        }
        ledger
    }

    pub fn post(&mut self, sent: &Sent) {
        self.books.post(&sent.source, &sent.body.encode_to_vec(), &sent.body, TIME_MS).unwrap();
    }

    pub fn write(&mut self) {
        let changes = self.books.take_changes();
        self.books.records().write(changes);
    }

    /// Posts a fact, writes, and shows the entries that it made.
    pub fn send(&mut self, participant: &str, fact: Fact) -> Vec<String> {
        let sent = self.feeds.send(participant, fact);
        self.post(&sent);
        let before = self.books.records().entries.len();
        self.write();
        self.books.records().entries[before..].iter().flat_map(show).collect()
    }

    pub fn balances(&mut self) -> BTreeMap<String, i64> {
        let balances = &self.books.records().balances;
        let net = balances.iter().map(|((entity, account, currency), balance)| {
            (format!("{entity} {account} {currency}"), balance.debit_minor - balance.credit_minor)
        });
        net.filter(|(_, minor)| *minor != 0).collect()
    }

    pub fn reasons(&mut self) -> Vec<String> {
        self.books.records().suspense.values().map(|one| format!("{} {}", one.reason, one.stage.word())).collect()
    }
}

/// `rule entity effective/posting`, then a line for each posting.
pub fn show(entry: &Entry) -> Vec<String> {
    let head = format!("{} {} {}/{}", entry.rule, entry.entity, entry.effective_date, entry.posting_date);
    let postings = entry.postings.iter().map(|posting| format!("  {} {}", posting.account, posting.amount_minor));
    std::iter::once(head).chain(postings).collect()
}

pub fn key(item: &str) -> Option<wire::StockKey> {
    Some(wire::StockKey { item: item.into(), ..Default::default() })
}

pub fn money(minor: i64) -> Option<wire::Money> {
    Some(wire::Money { currency_code: "GBP".into(), minor })
}

/// Sales, discount and coupon, with VAT of 20 % on sales less discount.
pub fn vat_price(sales: i64, discount: i64, coupon: i64) -> Option<wire::LinePrice> {
    price(sales, discount, coupon, &[("GB", wire::TaxRegime::Vat, 200_000)])
}

pub fn price(
    sales: i64,
    discount: i64,
    coupon: i64,
    taxes: &[(&str, wire::TaxRegime, u32)],
) -> Option<wire::LinePrice> {
    let taxable_minor = sales - discount;
    let taxes = taxes.iter().map(|(jurisdiction, regime, rate_ppm)| wire::TaxLine {
        jurisdiction: (*jurisdiction).into(),
        regime: (*regime).into(),
        rate_ppm: *rate_ppm,
        taxable_minor,
        tax_minor: tax_of(taxable_minor, *rate_ppm).unwrap(),
    });
    Some(wire::LinePrice {
        sales_minor: sales,
        discount_minor: discount,
        manufacturer_coupon_minor: coupon,
        taxes: taxes.collect(),
    })
}

pub fn registered(node: &str, entity: &str) -> Fact {
    Fact::NodeRegistered(feed::NodeRegistered { node: node.into(), kind: 1, legal_entity: entity.into() })
}

pub fn received(id: &str, item: &str, quantity: i64, cost: i64) -> Fact {
    Fact::StockReceived(feed::StockReceived {
        receipt_id: id.into(),
        kind: feed::ReceiptKind::PurchaseOrder.into(),
        reference: "PO-1".into(),
        lines: vec![feed::ReceiptLine {
            stock_key: key(item),
            quantity,
            condition: 1,
            cost: money(cost),
            ..Default::default()
        }],
        ..Default::default()
    })
}

pub fn ordered(id: &str, terms: wire::PaymentTerms, lines: &[(&str, i64, Option<wire::LinePrice>)]) -> Fact {
    let lines = lines.iter().zip(1..).map(|((item, quantity, price), line)| wire::OrderLine {
        line,
        stock_key: key(item),
        quantity: *quantity,
        price: price.clone(),
        ..Default::default()
    });
    Fact::OrderPlaced(feed::OrderPlaced {
        order: Some(wire::Order {
            order_id: id.into(),
            channel: "web".into(),
            placed_time_ms: TIME_MS,
            currency_code: "GBP".into(),
            lines: lines.collect(),
            payment_terms: terms.into(),
            ..Default::default()
        }),
    })
}

pub fn shipped(id: &str, order: &str, lines: &[(u32, &str, i64)]) -> Fact {
    let lines = lines.iter().map(|(line, item, quantity)| feed::ShipmentLine {
        allocation: None,
        line: *line,
        stock_key: key(item),
        quantity: *quantity,
        shipped_total: 0,
        ..Default::default()
    });
    Fact::ShipmentDispatched(feed::ShipmentDispatched {
        shipment_id: id.into(),
        order_id: order.into(),
        lines: lines.collect(),
        ..Default::default()
    })
}

pub fn cancelled(order: &str, line: u32, total: i64) -> Fact {
    Fact::OrderLineCancelled(feed::OrderLineCancelled {
        order_id: order.into(),
        line,
        cancelled_total: total,
        reason: wire::CancelReason::Customer.into(),
    })
}

pub fn sold(id: &str, tender: wire::Tender, lines: &[(&str, i64, Option<wire::LinePrice>)]) -> Fact {
    let lines = lines.iter().map(|(item, quantity, price)| feed::CounterSaleLine {
        stock_key: key(item),
        quantity: *quantity,
        price: price.clone(),
        ..Default::default()
    });
    Fact::SoldAtCounter(feed::SoldAtCounter {
        sale_id: id.into(),
        currency_code: "GBP".into(),
        lines: lines.collect(),
        tender: tender.into(),
        sold_time_ms: TIME_MS,
    })
}

pub fn returned_order(id: &str, order: &str, line: u32, item: &str, quantity: i64) -> Fact {
    Fact::ReturnReceived(feed::ReturnReceived {
        return_id: id.into(),
        order_id: order.into(),
        line,
        stock_key: key(item),
        quantity,
        ..Default::default()
    })
}

pub fn returned_sale(id: &str, node: &str, sale: &str, item: &str, quantity: i64) -> Fact {
    Fact::ReturnReceived(feed::ReturnReceived {
        return_id: id.into(),
        stock_key: key(item),
        quantity,
        sale_id: sale.into(),
        sale_node: node.into(),
        ..Default::default()
    })
}

pub fn inspected(id: &str, item: &str, quantity: i64, disposition: feed::Disposition) -> Fact {
    Fact::ReturnInspected(feed::ReturnInspected {
        return_id: id.into(),
        stock_key: key(item),
        quantity,
        disposition: disposition.into(),
        ..Default::default()
    })
}

pub fn adjusted(id: &str, item: &str, delta: i64, reason: feed::AdjustReason) -> Fact {
    Fact::StockAdjusted(feed::StockAdjusted {
        adjustment_id: id.into(),
        stock_key: key(item),
        delta,
        reason: reason.into(),
        ..Default::default()
    })
}

pub fn declined(n: u32, item: &str, lost: i64, reason: feed::DeclineReason) -> Fact {
    Fact::AllocationDeclined(feed::AllocationDeclined {
        allocation: Some(wire::AllocationId { incarnation: 1, log_index: 9, n }),
        cancelled_total: lost,
        lost_total: lost,
        reason: reason.into(),
        stock_key: key(item),
        lost_quantity: lost,
    })
}

/// Compares lines with a text that has one on each line.
pub fn expect(got: Vec<String>, expected: &str) {
    let lines: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let got: Vec<&str> = got.iter().map(|line| line.trim()).collect();
    assert_eq!(got, lines, "\n{}", got.join("\n"));
}
