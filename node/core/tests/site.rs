//! Conditions, packs, lots, serial numbers, bins, expected receipts: which answer each command gives, and what it leaves behind.

mod common;

use common::*;
use stockmesh_node_core::command::*;
use stockmesh_node_core::site::units::Bin;
use stockmesh_node_core::site::{Asked, Condition, CountId, ExceptionId, Issued, Label, UnitGroup};
use stockmesh_node_core::{Answer, GrantPolicy, Item};
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AdjustReason, MoveReason, ReceiptDecision, ReceiptKind};
use stockmesh_proto::node::v1::CountDecision;
use stockmesh_types::{BusinessDate, Currency, LogTime, Money, Quantity, Reason};

const SELLABLE: ReceivedCondition = ReceivedCondition::Sellable;

fn label(text: &str) -> Label {
    Label::new(text, "label").unwrap()
}

fn group(quantity: Quantity, lot: &str, expiry: &str, bin: &str) -> UnitGroup {
    let expiry = (!expiry.is_empty()).then(|| BusinessDate::parse(expiry).unwrap());
    UnitGroup { quantity, lot: label(lot), expiry, bin: label(bin), serials: Vec::new() }
}

fn serials(lot: &str, bin: &str, numbers: &[&str]) -> UnitGroup {
    let quantity = Quantity::try_from(numbers.len()).unwrap();
    UnitGroup { serials: numbers.iter().map(|n| label(n)).collect(), ..group(quantity, lot, "", bin) }
}

fn item(lots: bool, serials: bool) -> Item {
    let case = wire::Pack { name: "case".into(), base_units: 12 };
    let attributes = wire::ItemAttributes {
        packs: vec![case],
        track_lots: lots,
        track_serials: serials,
        shelf_life_days: if lots { 30 } else { 0 },
        ..Default::default()
    };
    Item { description: "it".into(), weight_grams: 100, attributes: Some(attributes), version: 1 }
}

/// A: plain with cases of 12; L: by lot; S: with serial numbers; bins A-1 (walk 2) and A-2 (walk 1).
fn site(policy: GrantPolicy) -> TestNode {
    let mut node = TestNode::new(policy);
    for (name, details) in [("A", item(false, false)), ("L", item(true, false)), ("S", item(false, true))] {
        node.follow(Work::RangeItem { item: key(name).item, details }).unwrap();
    }
    let bin = |walk_order| Bin { zone: label("Z"), accessible: false, walk_order };
    node.ask(set_bins(vec![(label("A-1"), bin(2)), (label("A-2"), bin(1))], &[])).unwrap();
    node
}

fn set_bins(set: Vec<(Label, Bin)>, removed: &[&str]) -> Command {
    Command::SetBins(SetBins { set, removed: removed.iter().map(|bin| label(bin)).collect() })
}

fn goods(id: &str, item: &str, quantity: Quantity, condition: ReceivedCondition, units: Vec<UnitGroup>) -> Command {
    against(id, None, 0, item, quantity, condition, units)
}

fn against(
    id: &str,
    inbound: Option<&str>,
    inbound_line: u32,
    item: &str,
    quantity: Quantity,
    condition: ReceivedCondition,
    units: Vec<UnitGroup>,
) -> Command {
    let cost = inbound.is_none().then(|| Money { currency: Currency::new("EUR").unwrap(), minor: 1_000 });
    let quantity = Asked::base(quantity);
    Command::ReceiveStock(ReceiveStock {
        receipt_id: doc(id),
        kind: ReceiptKind::PurchaseOrder,
        reference: "po-1".into(),
        lines: vec![ReceiptLine { stock_key: key(item), quantity, condition, cost, inbound_line, units }],
        inbound: inbound.map(doc),
    })
}

fn moving(item: &str, quantity: Asked, from: Condition, to: Option<Condition>, reason: MoveReason) -> MoveStock {
    let reference = "note".to_owned();
    MoveStock { movement_id: doc("m"), stock_key: key(item), quantity, from, to, reason, reference, units: Vec::new() }
}

fn put_away(item: &str, quantity: Quantity, units: Vec<UnitGroup>, to: &str) -> Command {
    Command::PutAwayStock(PutAwayStock {
        movement_id: doc("p"),
        stock_key: key(item),
        quantity: Asked::base(quantity),
        condition: Condition::Sellable,
        units,
        to_bin: label(to),
    })
}

/// Lots L-1 (5, expires first), L-2 (7, later) of L; serial numbers s1 to s3 of S; 24 of A, 6 of them in A-1, 4 in A-2.
fn stocked() -> TestNode {
    let mut node = site(GrantPolicy::default());
    let lots = vec![group(7, "L-2", "2027-03-31", ""), group(5, "L-1", "2027-01-31", "A-1")];
    node.ask(goods("r-l", "L", 12, SELLABLE, lots)).unwrap();
    node.ask(goods("r-s", "S", 3, SELLABLE, vec![serials("", "", &["s1", "s2", "s3"])])).unwrap();
    node.ask(goods("r-a", "A", 24, SELLABLE, Vec::new())).unwrap();
    node.ask(put_away("A", 6, Vec::new(), "A-1")).unwrap();
    node.ask(put_away("A", 4, Vec::new(), "A-2")).unwrap();
    assert_eq!((node.state.flaw(), node.reloaded() == node.state), (None, true));
    node
}

/// Holdings as `condition lot bin units`.
fn holdings(node: &TestNode, item: &str) -> Vec<String> {
    let filter = stockmesh_node_core::site::views::HoldingFilter { item: Some(key(item).item), bin: None };
    let page = node.state.holdings(None, 100, &filter);
    let word = |number| Condition::of_wire(wire::Condition::try_from(number).unwrap()).unwrap().word();
    let show = |row: &stockmesh_proto::node::v1::Holding| {
        format!("{} {} {} {}", word(row.condition), row.lot, row.bin, row.quantity)
    };
    page.entries.iter().map(show).collect()
}

#[test]
fn which_reject_wins() {
    let case = |quantity| Asked::of_wire(0, &Some(wire::EnteredQuantity { quantity, pack: "case".into() })).unwrap();
    let base = Asked::base;
    use Condition::{Damaged, InReceiving, Quarantined, ReturnPending, Sellable};
    use MoveReason::{Damage, Quarantine, Release, WriteOff};
    let moved = |it: &str, quantity, from, to, why| Command::MoveStock(moving(it, quantity, from, to, why));
    let of_units = |it: &str, quantity, units: Vec<UnitGroup>| {
        Command::MoveStock(MoveStock { units, ..moving(it, base(quantity), Sellable, Some(Damaged), Damage) })
    };
    let (some, none) = (Some(Damaged), None);
    let cases: Vec<(&str, Command, Option<Reason>)> = vec![
        ("damage", moved("A", base(24), Sellable, some, Damage), None),
        ("two cases", moved("A", case(2), Sellable, some, Damage), None),
        ("three cases of two", moved("A", case(3), Sellable, some, Damage), Some(Reason::InsufficientOnHand)),
        ("no case of S", moved("S", case(1), Sellable, some, Damage), Some(Reason::InsufficientOnHand)),
        ("the way before the item", moved("Z", base(1), Sellable, some, Release), Some(Reason::MoveNotAllowed)),
        ("unknown item", moved("Z", base(1), Sellable, some, Damage), Some(Reason::UnknownItem)),
        ("nothing damaged", moved("A", base(1), Damaged, none, WriteOff), Some(Reason::InsufficientInCondition)),
        ("returned goods", moved("A", base(1), ReturnPending, none, WriteOff), Some(Reason::MoveNotAllowed)),
        ("held goods", moved("A", base(1), InReceiving, Some(Sellable), Release), Some(Reason::MoveNotAllowed)),
        ("write off", moved("A", base(24), Sellable, none, WriteOff), None),
        ("quarantine", moved("A", base(1), Sellable, Some(Quarantined), Quarantine), None),
        (
            "to where it is",
            moved("A", base(1), Sellable, Some(Sellable), MoveReason::Correction),
            Some(Reason::MoveNotAllowed),
        ),
        ("named fewer", of_units("A", 2, vec![group(1, "", "", "A-1")]), Some(Reason::UnitsMismatch)),
        ("named bin", of_units("A", 6, vec![group(6, "", "", "A-1")]), None),
        ("bin has fewer", of_units("A", 7, vec![group(7, "", "", "A-1")]), Some(Reason::InsufficientInPlace)),
        ("lot has fewer", of_units("L", 6, vec![group(6, "L-1", "", "")]), Some(Reason::InsufficientInPlace)),
        ("serials missing", of_units("S", 1, Vec::new()), Some(Reason::SerialsRequired)),
        ("serial unknown", of_units("S", 1, vec![serials("", "", &["s9"])]), Some(Reason::UnknownSerial)),
        ("serial", of_units("S", 1, vec![serials("", "", &["s2"])]), None),
        ("lot missing", goods("r", "L", 1, SELLABLE, Vec::new()), Some(Reason::LotRequired)),
        (
            "lot with another date",
            goods("r", "L", 1, SELLABLE, vec![group(1, "L-1", "2027-02-01", "")]),
            Some(Reason::LotConflict),
        ),
        ("lot without its date", goods("r", "L", 1, SELLABLE, vec![group(1, "L-1", "", "")]), None),
        ("lot of what has none", goods("r", "A", 1, SELLABLE, vec![group(1, "L-1", "", "")]), Some(Reason::NotTracked)),
        (
            "serials of what has none",
            goods("r", "A", 1, SELLABLE, vec![serials("", "", &["x"])]),
            Some(Reason::NotTracked),
        ),
        (
            "serial here already",
            goods("r", "S", 1, SELLABLE, vec![serials("", "", &["s1"])]),
            Some(Reason::SerialExists),
        ),
        (
            "fewer named than came",
            goods("r", "S", 2, SELLABLE, vec![serials("", "", &["s4"])]),
            Some(Reason::UnitsMismatch),
        ),
        ("unknown bin", goods("r", "A", 1, SELLABLE, vec![group(1, "", "", "B-9")]), Some(Reason::UnknownBin)),
        ("number before lot", goods("r-a", "L", 1, SELLABLE, Vec::new()), Some(Reason::DocumentIdReused)),
        ("put away to nowhere", put_away("A", 1, Vec::new(), "B-9"), Some(Reason::UnknownBin)),
        ("put away what lies in bins", put_away("A", 15, Vec::new(), "A-1"), Some(Reason::InsufficientInPlace)),
        ("put away too much", put_away("A", 25, Vec::new(), "A-1"), Some(Reason::InsufficientInPlace)),
        ("bin to bin", put_away("A", 4, vec![group(4, "", "", "A-2")], "A-1"), None),
        ("out of bins", put_away("A", 4, vec![group(4, "", "", "A-2")], ""), None),
        ("bin with goods", set_bins(Vec::new(), &["A-1"]), Some(Reason::BinNotEmpty)),
        ("no such bin", set_bins(Vec::new(), &["B-9"]), Some(Reason::UnknownBin)),
        ("loss", Command::AdjustStock(AdjustStock::plain(doc("a"), key("A"), -24, AdjustReason::Loss)), None),
        (
            "found without lot",
            Command::AdjustStock(AdjustStock::plain(doc("a"), key("L"), 1, AdjustReason::Found)),
            Some(Reason::LotRequired),
        ),
        (
            "loss without serial",
            Command::AdjustStock(AdjustStock::plain(doc("a"), key("S"), -1, AdjustReason::Loss)),
            Some(Reason::SerialsRequired),
        ),
        (
            "no such exception",
            Command::ResolveException(ResolveException { exception: exception(9), resolution: "x".into() }),
            Some(Reason::UnknownException),
        ),
        (
            "no such receipt expected",
            Command::CloseInbound(CloseInbound { inbound: doc("po/9") }),
            Some(Reason::UnknownInbound),
        ),
        ("against nothing", against("r", Some("po/9"), 1, "A", 1, SELLABLE, Vec::new()), Some(Reason::UnknownInbound)),
    ];
    for (name, command, expected) in cases {
        let mut node = stocked();
        assert_eq!(node.reason(command), expected, "{name}");
        assert_eq!(node.state.flaw(), None, "{name}");
        assert!(node.reloaded() == node.state, "{name}: a restart gives another state");
    }
}

fn exception(n: u64) -> ExceptionId {
    ExceptionId(Issued { epoch: 1, n })
}

#[test]
fn packs_stay_known_as_they_were_entered() {
    let mut node = stocked();
    let entered = Some(wire::EnteredQuantity { quantity: 2, pack: "case".into() });
    let quantity = Asked::of_wire(0, &entered).unwrap();
    let command = moving("A", quantity, Condition::Sellable, Some(Condition::Quarantined), MoveReason::Quarantine);
    node.ask(Command::MoveStock(command)).unwrap();
    let Some(Fact::StockMoved(moved)) = node.facts().into_iter().rev().find(|fact| matches!(fact, Fact::StockMoved(_)))
    else {
        panic!("no movement")
    };
    assert_eq!((moved.quantity, moved.entered.clone(), moved.reference.as_str()), (24, entered, "note"));
    // Loose units first, then bins in walk order; their places go with them.
    let places: Vec<_> = moved.units.iter().map(|group| (group.bin.as_str(), group.quantity)).collect();
    assert_eq!(places, [("", 14), ("A-2", 4), ("A-1", 6)]);
    assert_eq!(holdings(&node, "A"), ["quarantined   14", "quarantined  A-1 6", "quarantined  A-2 4"]);
    let cell = node.cell("A");
    assert_eq!((cell.on_hand, cell.quarantined, cell.reported_shortfall), (0, 24, 24));
}

#[test]
fn lots_go_first_expired_first_and_leave_when_their_day_is_past() {
    let mut node = stocked();
    let today = LogTime(node.now).date();
    let proposed = node.propose("L", 8, today);
    let lots: Vec<_> =
        proposed.units.iter().map(|unit| (unit.lot.as_str(), unit.bin.as_str(), unit.quantity)).collect();
    assert_eq!((lots, proposed.missing), (vec![("L-1", "A-1", 5), ("L-2", "", 3)], 0));
    // The last day itself is a day of use.
    let expire = || Command::ExpireLots(ExpireLots { movement_id: doc("e") });
    for (date, left) in [("2027-01-31", 12), ("2027-02-01", 7), ("2027-02-02", 7), ("2027-04-01", 0)] {
        node.now = BusinessDate::parse(date).unwrap().days() * 86_400_000;
        node.ask(expire()).unwrap();
        assert_eq!((node.cell("L").on_hand, node.state.flaw()), (left, None), "{date}");
    }
    assert_eq!(holdings(&node, "L"), ["quarantined L-1 A-1 5", "quarantined L-2  7"]);
    let said = node.state.site().list_exceptions(None, 9, None);
    assert_eq!((said.entries.len(), said.entries[0].severity.as_str()), (2, "info"));
    let shortfall = node.cell("L").reported_shortfall;
    assert_eq!(shortfall, 12, "they were promised away");
    // Written off, nothing of the lots is left to remember.
    let off = moving("L", Asked::base(12), Condition::Quarantined, None, MoveReason::WriteOff);
    node.ask(Command::MoveStock(off)).unwrap();
    assert!(node.state.site().lot(&key("L"), &label("L-1")).is_none());
    assert_eq!((holdings(&node, "L").len(), node.cell("L").disposed_total, node.state.flaw()), (0, 12, None));
    assert!(node.reloaded() == node.state);
}

#[test]
fn a_lot_without_a_date_gets_the_shelf_life_of_its_item() {
    let mut node = stocked();
    node.ask(goods("r", "L", 1, SELLABLE, vec![group(1, "L-9", "", "")])).unwrap();
    let lot = node.state.site().lot(&key("L"), &label("L-9")).unwrap();
    assert_eq!(lot.expiry, Some(BusinessDate::from_days(LogTime(node.now).date().days() + 30)));
}

#[test]
fn counters_lowered_without_naming_units_take_them_first_expired_first() {
    let mut node = stocked();
    node.open(1, "L", 6).unwrap();
    node.ask(ship("s-1", &[(1, 6)])).unwrap();
    assert_eq!((holdings(&node, "L"), node.state.flaw()), (vec!["sellable L-2  6".to_owned()], None));
}

/// po/7: line 1 of 10 A at 100 minor, line 2 of 4 S without a price; `claimed` of line 1.
fn announce(node: &mut TestNode, revision: u64, quantity: Quantity, claimed: Quantity) {
    let line = |line, item: &str, quantity, claimed_quantity, cost: Option<i64>| feed::InboundLine {
        line,
        stock_key: Some((&key(item)).into()),
        quantity,
        cost: cost.map(|minor| wire::Money { currency_code: "EUR".into(), minor }),
        claimed_quantity,
        expected_date: String::new(),
    };
    let announced = feed::InboundAnnounced {
        inbound_id: "po/7".into(),
        revision,
        kind: feed::InboundKind::PurchaseOrder.into(),
        reference: "7".into(),
        supplier: "acme".into(),
        expected_date: "2026-11-20".into(),
        lines: vec![line(1, "A", quantity, claimed, Some(100)), line(2, "S", 4, 0, None)],
        ..Default::default()
    };
    node.follow(Work::Announce(Box::new(announced))).unwrap();
}

#[test]
fn what_orders_wait_for_is_granted_with_its_receipt_before_the_counter_sees_it() {
    // A store that keeps everything for its counter.
    let mut node = site(GrantPolicy { floor: 1_000, walk_in_reserve: 0 });
    announce(&mut node, 1, 10, 6);
    let before = node.entries.len();
    node.ask(against("r-1", Some("po/7"), 1, "A", 4, SELLABLE, Vec::new())).unwrap();
    assert_eq!(node.said_since(before), ["received", "granted 4"]);
    assert_eq!(node.reason(sale("c-1", &[("A", 1)])), Some(Reason::InsufficientRetained));
    // Two of the claim are left, then the counter gets the rest.
    node.ask(against("r-2", Some("po/7"), 1, "A", 5, SELLABLE, Vec::new())).unwrap();
    assert_eq!((node.cell("A").granted, node.cell("A").retained()), (6, 3));
    node.ask(sale("c-1", &[("A", 3)])).unwrap();
    assert!(node.reloaded() == node.state);
}

#[test]
fn what_goes_beyond_or_arrives_damaged_is_held_until_it_is_decided() {
    let mut node = site(GrantPolicy { floor: 1_000, walk_in_reserve: 0 });
    announce(&mut node, 1, 10, 12);
    let damaged = ReceivedCondition::Damaged;
    node.ask(against("r-1", Some("po/7"), 1, "A", 2, damaged, Vec::new())).unwrap();
    let Ok(Answer::StockReceived(answer)) = node.ask(against("r-2", Some("po/7"), 1, "A", 11, SELLABLE, Vec::new()))
    else {
        panic!("not received")
    };
    assert_eq!(answer.exception_ids, ["x1-2"]);
    let cell = node.cell("A");
    assert_eq!((cell.on_hand, cell.damaged, cell.in_receiving, cell.granted), (8, 0, 5, 8));
    let Some(Fact::StockReceived(fact)) =
        node.facts().into_iter().rev().find(|fact| matches!(fact, Fact::StockReceived(_)))
    else {
        panic!("no receipt")
    };
    // 8 of the expected 10 after the 2 damaged ones, and 3 beyond, at the same price.
    let lines: Vec<_> =
        fact.lines.iter().map(|line| (line.quantity, line.condition, line.cost.as_ref().unwrap().minor)).collect();
    assert_eq!(lines, [(8, 1, 80), (3, 5, 30)]);
    let resolve = |n, quantity, decision| {
        let reference = String::new();
        Command::ResolveReceiptDifference(ResolveReceiptDifference {
            exception: exception(n),
            quantity,
            decision,
            reference,
        })
    };
    let by_hand = Command::ResolveException(ResolveException { exception: exception(1), resolution: String::new() });
    assert_eq!(node.reason(by_hand), Some(Reason::ExceptionHolds));
    assert_eq!(node.reason(resolve(2, Some(4), ReceiptDecision::Accept)), Some(Reason::NothingHeld));
    node.ask(resolve(1, None, ReceiptDecision::Accept)).unwrap();
    node.ask(resolve(2, Some(1), ReceiptDecision::Accept)).unwrap();
    node.ask(resolve(2, None, ReceiptDecision::Refuse)).unwrap();
    let cell = node.cell("A");
    assert_eq!((cell.on_hand, cell.damaged, cell.in_receiving, cell.disposed_total), (9, 2, 0, 2));
    // The claim of 12 was filled by 8; the accepted one fills it further.
    assert_eq!(cell.granted, 9);
    assert_eq!(node.reason(resolve(2, None, ReceiptDecision::Refuse)), Some(Reason::UnknownException));
    assert_eq!((node.state.flaw(), node.reloaded() == node.state), (None, true));
}

#[test]
fn what_is_missing_at_the_close_is_an_exception_and_what_comes_later_is_held() {
    let mut node = site(GrantPolicy::default());
    announce(&mut node, 1, 10, 0);
    let price = node.reason(against("r-0", Some("po/7"), 2, "S", 1, SELLABLE, vec![serials("", "", &["a"])]));
    assert_eq!(price, Some(Reason::MissingField), "line 2 has no price, and none was given");
    node.ask(against("r-1", Some("po/7"), 1, "A", 3, SELLABLE, Vec::new())).unwrap();
    let wrong = |line, item| against("r-2", Some("po/7"), line, item, 1, SELLABLE, Vec::new());
    assert_eq!(node.reason(wrong(3, "A")), Some(Reason::UnknownInboundLine));
    assert_eq!(node.reason(wrong(2, "A")), Some(Reason::UnknownInboundLine));
    let close = || Command::CloseInbound(CloseInbound { inbound: doc("po/7") });
    let Ok(Answer::InboundClosed(closed)) = node.ask(close()) else { panic!("not closed") };
    assert_eq!(closed.exception_ids.len(), 2);
    assert_eq!(node.reason(close()), Some(Reason::InboundClosed));
    node.ask(against("r-2", Some("po/7"), 1, "A", 1, SELLABLE, Vec::new())).unwrap();
    assert_eq!((node.cell("A").on_hand, node.cell("A").in_receiving), (3, 1));
    // An older revision says nothing, a newer one keeps what came.
    announce(&mut node, 1, 99, 0);
    announce(&mut node, 2, 20, 0);
    let page = node.state.site().list_inbounds(None, 9, Some(&doc("po/7")), LogTime(node.now).date());
    let line = &page.entries[0].lines[0];
    assert_eq!((line.expected, line.received, line.held, page.entries[0].closed), (20, 4, 1, true));
    assert!(node.reloaded() == node.state);
}

fn request_count(node: &mut TestNode, keys: &[&str], bins: &[&str]) -> CountId {
    let command = Command::RequestCount(RequestCount {
        stock_keys: keys.iter().map(|item| key(item)).collect(),
        bins: bins.iter().map(|bin| label(bin)).collect(),
        zone: Label::none(),
        blind: true,
        reference: "cycle".into(),
    });
    let Answer::CountRequested(answer) = node.ask(command).unwrap() else { panic!("no count") };
    answer.count.unwrap().count_id.parse().unwrap()
}

fn figure(line: u32, counted: Quantity) -> CountFigure {
    let counted = (counted > 0).then(|| Asked::base(counted));
    CountFigure { line: Ok(line), counted, position_seq: None, serials: Vec::new() }
}

fn record(count: CountId, figures: Vec<CountFigure>) -> Command {
    Command::RecordCount(RecordCount { count, figures })
}

fn review(count: CountId, decision: CountDecision, lines: &[u32]) -> Command {
    Command::ReviewCount(ReviewCount { count, decision, lines: lines.to_vec(), note: String::new() })
}

fn by(node: &mut TestNode, who: &str, command: Command) -> Result<Answer, Reason> {
    node.principal = stockmesh_types::Principal { kind: stockmesh_types::PrincipalKind::User, id: who.into() };
    node.ask(command).map_err(|reject| reject.reason)
}

#[test]
fn a_count_is_held_against_the_record_as_of_when_the_shelf_was_seen() {
    let mut node = stocked();
    let count = request_count(&mut node, &["A"], &[]);
    node.ask(Command::StartCount(StartCount { count })).unwrap();
    // Somebody sees 23 of the 24 at the shelf; before it is entered, five are sold and ten arrive.
    let seen_at = node.state.position();
    node.open(7, "A", 5).unwrap();
    node.ask(ship("s-1", &[(7, 5)])).unwrap();
    node.ask(goods("r-2", "A", 10, SELLABLE, Vec::new())).unwrap();
    assert_eq!(node.cell("A").on_hand, 29);
    let late = CountFigure { position_seq: Some(seen_at), ..figure(1, 23) };
    let Ok(Answer::CountRecorded(answer)) = node.ask(record(count, vec![late])) else { panic!("not recorded") };
    let line = &answer.count.unwrap().lines[0];
    assert_eq!((line.expected, line.variance, line.counted), (0, 0, 23), "a blind count does not tell");
    assert!(node.reloaded() == node.state);
    by(&mut node, "ann", Command::FinishCount(FinishCount { count })).unwrap();
    let Ok(Answer::CountReviewed(answer)) = by(&mut node, "bob", review(count, CountDecision::Approve, &[])) else {
        panic!("not approved")
    };
    let line = &answer.count.unwrap().lines[0];
    assert_eq!((line.expected, line.variance, line.position_seq), (24, -1, seen_at));
    assert_eq!((node.cell("A").on_hand, node.cell("A").adjusted_total), (28, -1));
    assert_eq!(node.cell("A").last_counted_ms, node.now);
    assert!(node.state.site().count(count).is_none(), "a closed count is not kept in memory");
    assert_eq!((node.state.flaw(), node.reloaded() == node.state), (None, true));
    let due = node.state.due_counts(None, 9, LogTime(node.now));
    assert!(due.entries.iter().all(|due| due.stock_key.as_ref().unwrap().item != "A"), "just counted");
    let later = node.state.due_counts(None, 9, LogTime(node.now + 180 * 86_400_000));
    assert!(later.entries.iter().any(|due| due.stock_key.as_ref().unwrap().item == "A"));
}

#[test]
fn which_reject_wins_in_counts() {
    let setup = || {
        let mut node = stocked();
        let count = request_count(&mut node, &["A", "S"], &[]);
        node.ask(Command::StartCount(StartCount { count })).unwrap();
        (node, count)
    };
    let (_, count) = setup();
    let unknown = CountId(Issued { epoch: 1, n: 99 });
    let extra = |item: &str, bin: &str| CountFigure {
        line: Err(CountedLine { stock_key: key(item), bin: label(bin), lot: Label::none() }),
        ..figure(0, 1)
    };
    let at = |position| CountFigure { position_seq: Some(position), ..figure(1, 1) };
    let request = |item: &str| {
        let (bins, zone, reference) = (Vec::new(), Label::none(), String::new());
        Command::RequestCount(RequestCount { stock_keys: vec![key(item)], bins, zone, blind: true, reference })
    };
    let cases: Vec<(&str, Command, Option<Reason>)> = vec![
        ("figure", record(count, vec![figure(1, 24)]), None),
        ("unknown count", record(unknown, vec![figure(1, 24)]), Some(Reason::UnknownCount)),
        ("unknown line", record(count, vec![figure(9, 24)]), Some(Reason::InvalidValue)),
        ("started already", Command::StartCount(StartCount { count }), Some(Reason::CountState)),
        ("not in review", review(count, CountDecision::Approve, &[]), Some(Reason::CountState)),
        ("lines without figures", Command::FinishCount(FinishCount { count }), Some(Reason::CountIncomplete)),
        ("as expected needs no serial numbers", record(count, vec![figure(2, 3)]), None),
        ("another number of units needs them", record(count, vec![figure(2, 2)]), Some(Reason::SerialsRequired)),
        (
            "serials of what has none",
            record(count, vec![CountFigure { serials: vec![label("x")], ..figure(1, 1) }]),
            Some(Reason::NotTracked),
        ),
        ("from before it began", record(count, vec![at(1)]), Some(Reason::PositionTooOld)),
        ("from the future", record(count, vec![at(9_999)]), Some(Reason::InvalidValue)),
        ("counted by another line", record(count, vec![extra("A", "A-1")]), Some(Reason::AlreadyInCount)),
        ("found where nobody expected it", record(count, vec![extra("L", "A-2")]), None),
        ("in a bin that is none", record(count, vec![extra("L", "B-9")]), Some(Reason::UnknownBin)),
        ("unknown item", record(count, vec![extra("Z", "")]), Some(Reason::UnknownItem)),
        ("counted already", request("A"), Some(Reason::AlreadyInCount)),
        ("another item", request("L"), None),
        ("an item that is none", request("Z"), Some(Reason::UnknownItem)),
        ("cancel", Command::CancelCount(CancelCount { count, note: String::new() }), None),
    ];
    for (name, command, expected) in cases {
        let (mut node, _) = setup();
        assert_eq!(node.reason(command), expected, "{name}");
        assert_eq!((node.state.flaw(), node.reloaded() == node.state), (None, true), "{name}");
    }
}

#[test]
fn who_counted_does_not_approve_and_lines_are_counted_again() {
    let mut node = stocked();
    let count = request_count(&mut node, &[], &["A-1", "A-2"]);
    node.ask(Command::StartCount(StartCount { count })).unwrap();
    // Lines: A in A-1 (6), A in A-2 (4), L-1 in A-1 (5).
    by(&mut node, "ann", record(count, vec![figure(1, 6), figure(2, 1), figure(3, 7)])).unwrap();
    by(&mut node, "ann", Command::FinishCount(FinishCount { count })).unwrap();
    let open = node.state.site().list_exceptions(None, 9, None);
    assert_eq!(open.entries[0].raised.as_ref().unwrap().quantity, 5);
    assert_eq!(by(&mut node, "ann", review(count, CountDecision::Approve, &[])).err(), Some(Reason::ReviewerCounted));
    assert_eq!(by(&mut node, "bob", review(count, CountDecision::Recount, &[9])).err(), Some(Reason::InvalidValue));
    by(&mut node, "bob", review(count, CountDecision::Recount, &[])).unwrap();
    assert!(node.state.site().list_exceptions(None, 9, None).entries.is_empty());
    assert_eq!(by(&mut node, "cid", record(count, vec![figure(1, 6)])).err(), Some(Reason::CountState));
    by(&mut node, "cid", record(count, vec![figure(2, 4), figure(3, 6)])).unwrap();
    by(&mut node, "cid", Command::FinishCount(FinishCount { count })).unwrap();
    assert_eq!(by(&mut node, "cid", review(count, CountDecision::Approve, &[])).err(), Some(Reason::ReviewerCounted));
    by(&mut node, "bob", review(count, CountDecision::Approve, &[])).unwrap();
    assert_eq!(holdings(&node, "L"), ["sellable L-1 A-1 6", "sellable L-2  7"]);
    assert_eq!((node.cell("A").on_hand, node.cell("L").on_hand), (24, 13));
    assert_eq!((node.state.flaw(), node.reloaded() == node.state), (None, true));
}

#[test]
fn serial_numbers_that_were_not_seen_leave_and_those_that_were_come() {
    let mut node = stocked();
    let count = request_count(&mut node, &["S"], &[]);
    node.ask(Command::StartCount(StartCount { count })).unwrap();
    let seen = ["s1", "s8", "s9"].map(label).to_vec();
    node.ask(record(count, vec![CountFigure { serials: seen, ..figure(1, 3) }])).unwrap();
    // s3 leaves before the count is approved.
    let off = MoveStock {
        units: vec![serials("", "", &["s3"])],
        ..moving("S", Asked::base(1), Condition::Sellable, None, MoveReason::WriteOff)
    };
    node.ask(Command::MoveStock(off)).unwrap();
    node.ask(Command::FinishCount(FinishCount { count })).unwrap();
    let page = node.state.site().list_serials(&key("S").item, None, 9, None);
    let left: Vec<_> = page.entries.iter().map(|unit| unit.serial.as_str()).collect();
    assert_eq!((left, node.cell("S").on_hand), (vec!["s1", "s8", "s9"], 3));
    assert_eq!((node.state.flaw(), node.reloaded() == node.state), (None, true));
}

#[test]
fn a_serial_number_that_left_unnamed_may_come_back() {
    let mut node = site(GrantPolicy { floor: 9, walk_in_reserve: 0 });
    node.ask(goods("r-s", "S", 2, SELLABLE, vec![serials("", "", &["s1", "s2"])])).unwrap();
    let back = |id: &str, numbers: &[&str]| {
        let Command::ReceiveReturn(receive) = return_goods(id, "S", 1) else { panic!("no return") };
        let units = UnitGroup::to_wire(&[serials("", "", numbers)]);
        Command::ReceiveKnownReturn(ReceiveKnownReturn { receive, origin: Origin { units, ..Origin::default() } })
    };
    assert_eq!(node.reason(back("ret-1", &["s1"])), Some(Reason::SerialExists), "both are on the shelf");
    node.ask(sale("c-1", &[("S", 1)])).unwrap();
    node.ask(back("ret-1", &["s1"])).unwrap();
    let page = node.state.site().list_serials(&key("S").item, None, 9, Some(&label("s1")));
    assert_eq!(page.entries[0].condition, Condition::ReturnPending.wire() as i32);
    assert_eq!((node.state.flaw(), node.reloaded() == node.state), (None, true));
}
