//! A store in the middle of its day, and its commands in short.

use std::collections::BTreeMap;

use stockmesh_node_core::allocation::Handling;
use stockmesh_node_core::command::*;
use stockmesh_node_core::{GrantPolicy, Item, Rules};
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::feed::v1::{DeclineReason, Disposition, DispositionOutcome, RefundReason};
use stockmesh_proto::node::v1::ShortPickReason;
use stockmesh_types::{Currency, ItemId, LogTime, Money, NodeId, Quantity, StockKey};

use crate::common::*;

pub const HOUR: i64 = 3_600_000;

fn euros(minor: i64) -> Money {
    Money { currency: Currency::new("EUR").unwrap(), minor }
}

pub fn rules() -> Rules {
    Rules { reject_within_ms: Some(30 * 60_000), refund_offline: Some((euros(0).currency, 1_000)), ..Rules::default() }
}

pub fn range_with(node: &mut TestNode, item: &str, attributes: wire::ItemAttributes) {
    let details = Item { attributes: Some(attributes), ..Item::default() };
    node.follow(Work::RangeItem { item: ItemId::new(item).unwrap(), details }).unwrap();
}

/// Of each item four stay with the store, which is all of B: orders o-1 of three A, o-2 of three A
/// that are picked, o-3 of two A that takes B instead, o-4 of 1,000 g of W, o-5 of one ADULT set aside as p-1 with code 123456. Sale c-1
/// of one A; return ret-1 of two A, one of them to be refurbished. KIT is one A and two B.
pub fn store() -> TestNode {
    let mut node = TestNode::new(GrantPolicy { floor: 3, walk_in_reserve: 1 });
    node.state.set_rules(rules());
    let code = |code: &str, pack: &str| wire::ScanCode { code: code.into(), pack: pack.into() };
    let part = |item: &str, units_per_kit| wire::KitComponent { item: item.into(), units_per_kit };
    range_with(
        &mut node,
        "A",
        wire::ItemAttributes {
            substitutes: vec!["B".into()],
            scan_codes: vec![code("4006381333931", "")],
            ..Default::default()
        },
    );
    range_with(
        &mut node,
        "B",
        wire::ItemAttributes {
            packs: vec![wire::Pack { name: "pair".into(), base_units: 2 }],
            scan_codes: vec![code("B-PAIR", "pair")],
            ..Default::default()
        },
    );
    range_with(&mut node, "W", wire::ItemAttributes { weighed: true, ..Default::default() });
    range_with(&mut node, "ADULT", wire::ItemAttributes { minimum_age_years: 18, ..Default::default() });
    range_with(
        &mut node,
        "KIT",
        wire::ItemAttributes { kit_components: vec![part("A", 1), part("B", 2)], ..Default::default() },
    );
    node.receive("r-1", "A", 16);
    node.receive("r-2", "B", 4);
    node.receive("r-3", "W", 5_000);
    node.receive("r-4", "ADULT", 5);
    node.open(1, "A", 3).unwrap();
    node.open(2, "A", 3).unwrap();
    open_with(&mut node, 3, "A", 2, Handling { allow_substitution: true, ..Handling::default() });
    node.open(4, "W", 1_000).unwrap();
    node.open(5, "ADULT", 1).unwrap();
    node.ask(pick(2, 3)).unwrap();
    node.ask(pick(5, 1)).unwrap();
    node.ask(stage("p-1", "o-5")).unwrap();
    node.ask(sale("c-1", &[("A", 1)])).unwrap();
    node.ask(return_goods("ret-1", "A", 2)).unwrap();
    node.ask(return_goods("ret/1", "A", 1)).unwrap();
    node.ask(inspect("ret-1", 1, Disposition::Refurbish)).unwrap();
    node
}

pub fn open_with(node: &mut TestNode, n: u64, item: &str, quantity: Quantity, handling: Handling) {
    let Work::Open { id, epoch, order_id, line, stock_key, quantity, ship_to, .. } =
        opened(n, &format!("o-{n}"), item, quantity)
    else {
        unreachable!("opened opens")
    };
    node.follow(Work::Open { id, epoch, order_id, line, stock_key, quantity, ship_to, handling }).unwrap();
}

/// No flaw, and a restart finds the same.
pub fn sound(node: &TestNode, case: &str) {
    assert_eq!(node.state.flaw(), None, "{case}");
    let mut reloaded = node.reloaded();
    reloaded.set_rules(*node.state.rules());
    assert_eq!(reloaded, node.state, "{case}");
}

fn sale_of(id: &str, lines: &[(&str, Quantity)], sold_time_ms: Option<i64>) -> SellAtCounter {
    match sale(id, lines) {
        Command::SellAtCounter(sale) => SellAtCounter { sold_time_ms, ..sale },
        other => unreachable!("{other:?}"),
    }
}

pub fn sell(id: &str, lines: &[(&str, Quantity)], recall: bool) -> Command {
    Command::Sell(Sell { sale: sale_of(id, lines, None), recall })
}

pub fn record(id: &str, lines: &[(&str, Quantity)]) -> Command {
    Command::RecordSale(RecordSale { sale: sale_of(id, lines, Some(NOON - HOUR)) })
}

pub fn void(id: &str, lines: &[(&str, Quantity)]) -> Command {
    let sale = sale_of(id, lines, Some(NOON));
    Command::VoidSale(VoidSale { void_id: doc(&format!("v-{id}")), sale, reason: "wrong customer".into() })
}

pub fn counter_return(id: &str, sale: &str, quantity: Quantity, disposition: Option<Disposition>) -> Command {
    Command::ReturnAtCounter(ReturnAtCounter {
        return_id: doc(id),
        sale_id: doc(sale),
        sale_node: NodeId::new("dc-1").unwrap(),
        lines: vec![CounterReturnLine { stock_key: key("A"), quantity, disposition, units: Vec::new() }],
        refund: Some((euros(500), wire::Tender::Cash)),
    })
}

pub fn hold(order: &str) -> Command {
    Command::HoldFulfillmentOrder(HoldFulfillmentOrder { order_id: doc(order), reason: "address".into() })
}

pub fn resume(order: &str) -> Command {
    Command::ResumeFulfillmentOrder(ResumeFulfillmentOrder { order_id: doc(order) })
}

pub fn reject(order: &str, reason: DeclineReason) -> Command {
    Command::RejectFulfillmentOrder(RejectFulfillmentOrder { order_id: doc(order), reason })
}

pub fn short(n: u64, found: Quantity, reason: ShortPickReason) -> Command {
    Command::ReportShortPick(ReportShortPick { allocation: allocation(n), found, reason })
}

pub fn weigh(n: u64, weight_grams: Quantity) -> Command {
    Command::PickWeighed(PickWeighed { allocation: allocation(n), weight_grams })
}

pub fn wave(cut_off_time_ms: i64) -> Command {
    Command::CreateWave(CreateWave { cut_off_time_ms, accepted_until_ms: None, max_allocations: MAX_WAVE })
}

pub fn capacity(days_ahead: i64, day_units: Quantity, hours: &[(u32, Quantity)]) -> Command {
    let date = stockmesh_types::BusinessDate::from_days(LogTime(NOON).date().days() + days_ahead);
    Command::SetCapacity(SetCapacity { date, day_units, hours: hours.iter().copied().collect() })
}

pub fn substitute(n: u64, quantity: Quantity, item: &str) -> Command {
    let Command::ShipItems(ship) = ship("s-sub", &[(n, quantity)]) else { unreachable!("ship ships") };
    let substitutes = BTreeMap::from([(allocation(n), key(item))]);
    Command::ShipParcel(ShipParcel { ship, substitutes, units: BTreeMap::new(), pickup: None })
}

pub fn stage(id: &str, order: &str) -> Command {
    Command::StagePickup(StagePickup {
        pickup_id: doc(id),
        order_id: doc(order),
        ready_time_ms: None,
        expires_time_ms: None,
        code: "123456".into(),
        salt: b"salt".to_vec(),
    })
}

pub fn hand_over(id: &str, code: &str, age_checked: bool) -> Command {
    Command::HandOverPickup(HandOverPickup {
        pickup_id: doc(id),
        code: code.into(),
        shipment_id: doc(&format!("h-{id}-{code}")),
        lines: Vec::new(),
        units: BTreeMap::new(),
        proxy: false,
        age_checked,
    })
}

pub fn kits(id: &str, kit: StockKey, kits: Quantity, scans: &[&str]) -> Command {
    let scans = scans.iter().map(ToString::to_string).collect();
    Command::AssembleKits(AssembleKits { conversion_id: doc(id), kit, kits, scans })
}

pub fn unkit(id: &str, kits: Quantity) -> Command {
    Command::DisassembleKits(DisassembleKits { conversion_id: doc(id), kit: key("KIT"), kits })
}

pub fn finish(id: &str, disposition: Disposition, quantity: Quantity, outcome: DispositionOutcome) -> Command {
    let (finish_id, return_id) = (doc(id), doc("ret-1"));
    Command::FinishDisposition(FinishDisposition {
        finish_id,
        return_id,
        disposition,
        quantity,
        outcome,
        units: Vec::new(),
    })
}

pub fn refund(id: &str, reason: RefundReason, back: Option<&str>, paid: Option<(i64, wire::Tender)>) -> Command {
    Command::RequestRefund(RequestRefund {
        refund_id: doc(id),
        order_id: doc("o-1"),
        line: 1,
        quantity: 1,
        reason,
        return_id: back.map(doc),
        amount: paid.map(|(minor, _)| euros(minor)),
        pay_offline: paid.map(|(_, tender)| tender),
    })
}

pub fn transfer(id: &str, from: &str, quantity: Quantity, damaged: Quantity, short: Quantity) -> Command {
    Command::ReceiveTransfer(ReceiveTransfer {
        receipt_id: doc(&format!("{id}-receipt-{quantity}-{damaged}-{short}")),
        transfer_id: doc(id),
        source_node: NodeId::new(from).unwrap(),
        lines: vec![TransferReceiptLine { line: 1, stock_key: key("A"), quantity, damaged, short, units: Vec::new() }],
    })
}
