//! What holds for every history: balance, layers equal to accounts, the same totals however feeds interleave, nothing twice.

mod common;
#[path = "common/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::*;
use proptest::prelude::*;
use stockmesh_finance_core::Source;
use stockmesh_finance_core::accounts::part;
use stockmesh_finance_core::memory::MemoryRecords;
use stockmesh_finance_core::records::{Expense, PassageKind};
use stockmesh_proto::common::v1::{PaymentTerms, Tender};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_types::{ChainHash, FeedId, share};
use world::{World, steps};

fn ledger_of(facts: &[Sent], batch: usize) -> Ledger {
    let mut ledger = Ledger::empty();
    for (n, sent) in facts.iter().enumerate() {
        ledger.post(sent);
        if n % batch == 0 {
            ledger.write();
        }
    }
    ledger.write();
    ledger
}

/// Units and value on hand, units and value pending, units and value unreceived, by node and stock key.
fn stock(records: &MemoryRecords) -> BTreeMap<String, [i64; 6]> {
    let cells = records.cells.iter().map(|(key, cell)| {
        let unreceived: i64 = cell.unreceived.iter().map(|span| span.to - span.from).sum();
        let provisional = cell.unreceived.iter().map(|span| span.value_minor).sum();
        let values =
            [cell.quantity, cell.value_minor, cell.pending_quantity, cell.pending_value_minor, unreceived, provisional];
        (format!("{} {}", key.node, key.stock_key), values)
    });
    cells.collect()
}

fn check_books(ledger: &mut Ledger) {
    let balances = ledger.balances();
    let records = ledger.books.records();
    let mut previous = ChainHash::START;
    let parts: BTreeSet<_> = records.entries.iter().map(|entry| (&entry.source, &entry.rule, entry.part)).collect();
    assert_eq!(parts.len(), records.entries.len(), "each part of a rule's entries of a fact is posted once");
    for (entry, number) in records.entries.iter().zip(1..) {
        assert_eq!(entry.number, number);
        assert!(entry.balanced(), "{entry:?}");
        assert!(entry.postings.iter().all(|posting| posting.amount_minor != 0));
        assert_eq!(entry.hash, entry.chain_hash(&previous));
        previous = entry.hash;
    }
    let mut by_account: BTreeMap<String, i64> = BTreeMap::new();
    for (key, cell) in &records.cells {
        let left = cell.layers.iter().map(|layer| layer.quantity - layer.taken).sum::<i64>();
        let value: i64 =
            cell.layers.iter().map(|layer| share(layer.value_minor, layer.taken, layer.quantity, layer.quantity)).sum();
        assert_eq!((cell.quantity, cell.value_minor), (left, value), "layers of {} at {}", key.stock_key, key.node);
        assert!(left > 0 || value == 0, "nothing on hand has no value");
        let unreceived: i64 = cell.unreceived.iter().map(|span| span.value_minor).sum();
        for (account, value) in [
            ("Assets:Inventory", cell.value_minor),
            ("Assets:ReturnsPending", cell.pending_value_minor),
            ("Assets:GoodsHeld", cell.held_value_minor),
            ("Liabilities:UnreceivedStock", -unreceived),
        ] {
            *by_account.entry(format!("{account}:{}", part(key.node.as_str()))).or_default() += value;
        }
    }
    for (account, value) in by_account {
        let posted: i64 =
            balances.iter().filter(|(name, _)| name.split(' ').nth(1) == Some(&account)).map(|(_, minor)| minor).sum();
        assert_eq!(posted, value, "{account} equals its layers");
    }
    check_custody(records, &balances);
}

/// Value that is on its way, or waits for something, is what its records say, and nothing else.
fn check_custody(records: &MemoryRecords, balances: &BTreeMap<String, i64>) {
    let posted = |names: &[&str]| -> i64 {
        let of = |name: &str| names.iter().any(|prefix| name.split(' ').nth(1).is_some_and(|n| n.starts_with(prefix)));
        balances.iter().filter(|(name, _)| of(name)).map(|(_, minor)| minor).sum()
    };
    let set_aside: i64 = records.cells.values().map(|cell| cell.set_aside_value_minor).sum();
    assert_eq!(posted(&["Assets:Refurbishment:", "Assets:LiquidationStock:", "Assets:VendorReturns:"]), set_aside);
    for (kind, expense, account) in [
        (PassageKind::Transfer, Expense::InTransit, "Assets:InTransit:"),
        (PassageKind::Conversion, Expense::Conversion, "Assets:Conversion:"),
    ] {
        let out: i64 = records
            .issues
            .values()
            .filter(|issue| issue.expense == expense)
            .flat_map(|issue| issue.parts.iter().map(|part| part.value_minor))
            .sum();
        let arrived = records.passages.values().filter(|passage| passage.kind == kind && passage.costed);
        let arrived: i64 = arrived.map(|passage| passage.value_minor).sum();
        assert_eq!(posted(&[account]), out - arrived, "{account}");
    }
    for passage in records.passages.values().filter(|passage| passage.costed) {
        let parts: i64 = passage.parts.iter().map(|part| part.value_minor).sum();
        assert_eq!(parts, passage.value_minor, "the parts of a passage are the whole");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn books_hold_whatever_happens(steps in steps(60), choices in proptest::collection::vec(0_usize..4, 0..120)) {
        let world = World::of(&steps, false);
        let mut ledger = ledger_of(&world.interleaved(&choices), 1);
        check_books(&mut ledger);
        // Units in the books are units on the shelf, less those that left before their receipt.
        let stock = stock(ledger.books.records());
        for ((node, item), on_hand) in &world.on_hand {
            let [quantity, _, _, _, unreceived, _] = stock.get(&format!("{node} {item}")).copied().unwrap_or_default();
            prop_assert_eq!(quantity - unreceived, *on_hand, "{} at {}", item, node);
        }
    }

    #[test]
    fn any_interleaving_of_feeds_gives_the_same_books(
        steps in steps(60),
        choices in proptest::collection::vec(0_usize..4, 0..150),
        others in proptest::collection::vec(0_usize..4, 0..150),
    ) {
        let world = World::of(&steps, false);
        let mut one = ledger_of(&world.interleaved(&choices), 1);
        let mut other = ledger_of(&world.interleaved(&others), 7);
        prop_assert_eq!(one.balances(), other.balances());
        prop_assert_eq!(stock(one.books.records()), stock(other.books.records()));
    }

    #[test]
    fn the_same_arrival_order_gives_the_same_bytes(
        steps in steps(40), choices in proptest::collection::vec(0_usize..4, 0..100), batch in 1_usize..50,
    ) {
        let facts = World::of(&steps, false).interleaved(&choices);
        let mut one = ledger_of(&facts, 1);
        let mut other = ledger_of(&facts, batch);
        let (one, other) = (one.books.records(), other.books.records());
        prop_assert_eq!(one.meta.head.hash, other.meta.head.hash);
        prop_assert_eq!(&one.suspense, &other.suspense);
        prop_assert_eq!(&one.cells, &other.cells);
        prop_assert_eq!(&one.balances, &other.balances);
    }

    #[test]
    fn documents_that_come_again_in_another_epoch_change_nothing(
        steps in steps(40), choices in proptest::collection::vec(0_usize..4, 0..100),
    ) {
        let world = World::of(&steps, false);
        let facts = world.interleaved(&choices);
        let mut ledger = ledger_of(&facts, 1);
        for node in world::NODES {
            let sealed = world.feeds.get(&format!("node/{node}")).map_or(0, |facts| facts.len() as u64);
            ledger.send("coordinator/1", epoch_opened(node, 2, sealed, 0));
        }
        let (before, entries) = (ledger.balances(), ledger.books.records().entries.len());
        let suspended = ledger.books.records().suspense.len();
        for sent in &facts {
            // An inspection has no number of its own: it is told apart by its place in the feed alone.
            if !matches!(sent.body.fact, Some(Fact::ReturnInspected(_))) {
                let feed = FeedId { epoch: 2, ..sent.source.feed.clone() };
                ledger.post(&Sent { source: Source { feed, seq: sent.source.seq }, body: sent.body.clone() });
            }
        }
        ledger.write();
        prop_assert_eq!(ledger.balances(), before);
        prop_assert_eq!(ledger.books.records().entries.len(), entries);
        prop_assert_eq!(ledger.books.records().suspense.len(), suspended);
    }

    #[test]
    fn nothing_is_left_of_deposits_when_every_order_is_done(
        steps in steps(60), choices in proptest::collection::vec(0_usize..4, 0..120),
    ) {
        let mut ledger = ledger_of(&World::of(&steps, true).interleaved(&choices), 5);
        let balances = ledger.balances();
        for account in ["Liabilities:CustomerDeposits", "Liabilities:OutputVat:GB", "Assets:VatOnDeposits:GB"] {
            prop_assert_eq!(balances.get(&format!("uk {account} GBP")), None, "{}", account);
        }
        // What entities owe each other is the same from both sides.
        let owed = |entity: &str, other: &str| {
            balances.get(&format!("{entity} Assets:Intercompany:{other} GBP")).copied().unwrap_or(0)
        };
        prop_assert_eq!(owed("uk", "Ie"), -owed("ie", "Uk"));
        prop_assert!(ledger.reasons().iter().all(|reason| reason.starts_with("COST_NOT_KNOWN ")));
    }

    /// Splits of one line over shipments, cancellations and returns, against the line's own totals.
    #[test]
    fn parts_of_a_line_add_up_to_it(
        quantity in 1_i64..40, sales in 0_i64..100_000, cuts in proptest::collection::vec((1_i64..9, 0_u8..3), 1..40),
    ) {
        let mut ledger = Ledger::new();
        ledger.send("node/dc-1", received("R", "A", quantity, 3 * quantity + 1));
        let (discount, coupon) = (sales / 9, sales / 13);
        ledger.send(
            "coordinator/1",
            ordered("O", PaymentTerms::Prepaid, &[("A", quantity, vat_price(sales, discount, coupon))]),
        );
        let (mut gone, mut off, mut back) = (0, 0, 0);
        for (n, (units, kind)) in cuts.iter().chain([&(1_000, 0), &(1_000, 2)]).enumerate() {
            let open = (*units).min(quantity - gone - off);
            match kind {
                0 if open > 0 => {
                    gone += open;
                    ledger.send("node/dc-1", shipped(&format!("S{n}"), "O", &[(1, "A", open)]));
                }
                1 if open > 0 => {
                    off += open;
                    ledger.send("coordinator/1", cancelled("O", 1, off));
                }
                2 if gone > back => {
                    let units = (*units).min(gone - back);
                    back += units;
                    ledger.send("node/dc-1", returned_order(&format!("T{n}"), "O", 1, "A", units));
                }
                _ => {}
            }
        }
        prop_assert_eq!((gone + off, back), (quantity, gone));
        let balances = ledger.balances();
        let of = |account: &str| balances.get(&format!("uk {account} GBP")).copied().unwrap_or(0);
        // All came back or was cancelled: what was paid is to be refunded, and nothing else is left of the sale.
        let tax = stockmesh_types::money::tax_of(sales - discount, 200_000).unwrap();
        prop_assert_eq!(of("Assets:PspClearing"), sales - discount - coupon + tax);
        prop_assert_eq!(of("Liabilities:RefundsPayable"), -(sales - discount - coupon + tax));
        prop_assert_eq!(of("Liabilities:TaxPayable:GB"), 0);
        prop_assert_eq!(of("Assets:CouponReceivable"), 0);
        prop_assert_eq!(of("Income:Sales:Web") + of("Income:Discounts:Web") + of("Income:SalesReturns:Web"), 0);
        prop_assert_eq!(of("Expenses:CostOfGoodsSold"), 0);
        prop_assert_eq!(of("Assets:ReturnsPending:Dc-1") + of("Assets:Inventory:Dc-1"), 3 * quantity + 1);
    }

    /// First in, first out, against a queue of single units; sales may come before receipts.
    #[test]
    fn cost_is_first_in_first_out(moves in proptest::collection::vec((any::<bool>(), 1_i64..8, 0_i64..500), 1..40)) {
        let mut ledger = Ledger::new();
        let (mut units, mut owed, mut cost) = (VecDeque::new(), 0_i64, 0_i64);
        for (n, (arrives, quantity, value)) in moves.iter().enumerate() {
            if *arrives {
                ledger.send("node/st-1", received(&format!("R{n}"), "A", *quantity, *value));
                units.extend((0..*quantity).map(|unit| share(*value, unit, unit + 1, *quantity)));
            } else {
                ledger.send("node/st-1", sold(&format!("C{n}"), Tender::Cash, &[("A", *quantity, vat_price(9, 0, 0))]));
                owed += quantity;
            }
            while owed > 0 && let Some(unit) = units.pop_front() {
                owed -= 1;
                cost += unit;
            }
        }
        let balances = ledger.balances();
        let of = |account: &str| balances.get(&format!("uk {account} GBP")).copied().unwrap_or(0);
        prop_assert_eq!(of("Assets:Inventory:St-1"), units.iter().sum::<i64>());
        prop_assert_eq!(of("Expenses:CostOfGoodsSold") + of("Liabilities:UnreceivedStock:St-1"), cost);
        if owed == 0 {
            prop_assert_eq!(of("Liabilities:UnreceivedStock:St-1"), 0);
        }
    }
}
