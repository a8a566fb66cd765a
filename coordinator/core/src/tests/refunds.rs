//! Refunds and return authorisations: what of an order line may be refunded, whoever asks.

use proptest::prelude::*;
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::common::v1::ShortagePolicy::Backorder;
use stockmesh_proto::coordinator::v1 as api;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_types::{OrderId, Reason};

use super::audit::audit;
use super::transfers::opened;
use super::world::{World, key, order};
use crate::{Answer, ExceptionFilter};

/// An order of 7 units, charged 1,000 net and 201 tax, of which `shipped` have left n0.
fn sold(shipped: i64) -> World {
    let mut world = World::with(1, 1);
    world.grant("n0", "A", 7);
    let mut placed = order("o", Backorder, &[("A", 7)]);
    placed.lines[0].price = Some(wire::LinePrice {
        sales_minor: 1_105,
        discount_minor: 100,
        manufacturer_coupon_minor: 5,
        taxes: vec![wire::TaxLine {
            jurisdiction: "GB".into(),
            regime: wire::TaxRegime::Vat.into(),
            rate_ppm: 200_000,
            taxable_minor: 1_005,
            tax_minor: 201,
        }],
    });
    world.place(&placed).unwrap();
    let work = opened(&world, "n0").remove(0);
    let line = feed::ShipmentLine {
        allocation: work.allocation,
        line: 1,
        stock_key: work.stock_key,
        quantity: shipped,
        shipped_total: shipped,
        ..Default::default()
    };
    let shipment = feed::ShipmentDispatched {
        shipment_id: "s".into(),
        order_id: "o".into(),
        lines: vec![line],
        ..Default::default()
    };
    world.fact("n0", Fact::ShipmentDispatched(shipment)).unwrap();
    world
}

fn come_back(world: &mut World, id: &str, quantity: i64, authorisation: &str) {
    let returned = feed::ReturnReceived {
        return_id: id.into(),
        order_id: "o".into(),
        line: 1,
        stock_key: Some(key("A")),
        quantity,
        authorisation_id: authorisation.into(),
        ..Default::default()
    };
    world.fact("n0", Fact::ReturnReceived(returned)).unwrap();
}

fn ask(id: &str, quantity: i64, with_return: bool, amount_minor: i64) -> Kind {
    Kind::RequestRefund(log::RequestRefund {
        refund_id: id.into(),
        order_id: "o".into(),
        line: 1,
        quantity,
        with_return,
        amount_minor,
    })
}

fn node_asks(world: &mut World, id: &str, quantity: i64, return_id: &str) -> feed::RefundDecided {
    let asked = feed::RefundRequested {
        refund_id: id.into(),
        order_id: "o".into(),
        line: 1,
        quantity,
        return_id: return_id.into(),
        ..Default::default()
    };
    world.fact("n0", Fact::RefundRequested(asked)).unwrap();
    let Some(Fact::RefundDecided(decided)) = world.sent("node/n0").pop() else { panic!("no decision") };
    decided
}

fn committed(world: &World) -> Vec<feed::RefundCommitted> {
    let facts = world.sent("finance/main").into_iter();
    facts.filter_map(|fact| if let Fact::RefundCommitted(refund) = fact { Some(refund) } else { None }).collect()
}

fn standing(world: &World) -> api::GetRefundsResponse {
    world.state.refunds(&OrderId::new("o").unwrap()).unwrap()
}

#[test]
fn units_and_amounts_are_bound_by_what_was_shipped_and_charged() {
    let mut world = sold(5);
    come_back(&mut world, "r1", 2, "");
    let cases = [
        ("six are more than shipped", ask("x", 6, false, 0), Reason::RefundExceedsUnits, "quantity"),
        ("two of five came back", ask("x", 4, false, 0), Reason::RefundExceedsUnits, "quantity"),
        ("only two came back", ask("x", 3, true, 0), Reason::RefundExceedsUnits, "quantity"),
        ("2 of 7 units were 343", ask("x", 2, true, 344), Reason::RefundExceedsCharge, "amount_minor"),
        ("nothing is refunded", ask("x", 0, true, 0), Reason::QuantityNotPositive, "quantity"),
        ("below nothing", ask("x", 1, true, -1), Reason::AmountNegative, "amount_minor"),
    ];
    for (what, kind, reason, field) in cases {
        let reject = world.write(kind).unwrap_err();
        assert_eq!((reject.reason, reject.field.as_str()), (reason, field), "{what}");
    }
    assert!(committed(&world).is_empty());
    let Ok(Answer::Refunded(refund)) = world.write(ask("c1", 2, true, 0)) else { panic!("refused") };
    // 1,201 x 2 / 7 = 343.14.
    assert_eq!((refund.amount.unwrap().minor, refund.with_return), (343, true));
    let known = committed(&world).remove(0);
    // 201 x 2 / 7 = 57.43, 1,005 x 2 / 7 = 287.14.
    assert_eq!((known.net_minor, known.taxes[0].tax_minor, known.taxes[0].taxable_minor), (286, 57, 287));
    assert_eq!((known.refunded_total, known.node.as_str()), (2, ""));
    assert_eq!(world.write(ask("c1", 1, false, 0)).unwrap_err().reason, Reason::DocumentIdReused);
    // Goodwill of 100 for one of the three that stayed: a part of its share, tax in proportion.
    world.write(ask("c2", 1, false, 100)).unwrap();
    let known = committed(&world).remove(1);
    // The third unit's share is 515 - 343 = 172, its tax 86 - 57 = 29; 29 x 100 / 172 = 16.9.
    assert_eq!((known.net_minor, known.taxes[0].tax_minor), (83, 17));
    world.write(ask("c3", 2, false, 0)).unwrap();
    assert_eq!(world.write(ask("c4", 1, false, 0)).unwrap_err().reason, Reason::RefundExceedsUnits);
    let line = standing(&world).lines.remove(0);
    assert_eq!((line.refunded_with_return, line.refunded_without_return, line.charged_minor), (2, 3, 1_201));
    // 343 + 100 + (1,201 x 5 / 7 = 857.86, less the share of three, 514.71).
    assert_eq!(line.refunded_minor, 343 + 100 + (858 - 515));
    audit(&world.state);
}

#[test]
fn a_node_is_answered_whatever_the_answer_and_a_repeat_alike() {
    let mut world = sold(5);
    come_back(&mut world, "r1", 1, "");
    let first = node_asks(&mut world, "f1", 1, "r1");
    assert_eq!((first.approved, first.amount.clone().map(|amount| amount.minor)), (true, Some(172)));
    assert_eq!(node_asks(&mut world, "f1", 1, "r1"), first, "the same refund is committed once");
    assert_eq!(committed(&world).len(), 1);
    let second = node_asks(&mut world, "f2", 1, "r1");
    assert_eq!((second.approved, second.amount, second.reason.as_str()), (false, None, "REFUND_EXCEEDS_UNITS"));
    let asked = feed::RefundRequested { refund_id: "f3".into(), order_id: "nil".into(), ..Default::default() };
    world.fact("n0", Fact::RefundRequested(asked)).unwrap();
    let Some(Fact::RefundDecided(third)) = world.sent("node/n0").pop() else { panic!("no decision") };
    assert!(!third.approved);
    audit(&world.state);
}

#[test]
fn what_was_paid_offline_is_recorded_and_its_excess_is_an_exception() {
    let mut world = sold(2);
    let pay = |world: &mut World, id: &str, quantity: i64, amount_minor: i64| {
        let paid = feed::RefundPaidOffline {
            refund_id: id.into(),
            order_id: "o".into(),
            line: 1,
            quantity,
            amount_minor,
            currency_code: "GBP".into(),
            ..Default::default()
        };
        world.fact("n0", Fact::RefundPaidOffline(paid)).unwrap();
    };
    pay(&mut world, "p1", 1, 172);
    assert!(world.state.list_exceptions(0, 9, &ExceptionFilter::default()).0.items.is_empty());
    pay(&mut world, "p2", 1, 200);
    pay(&mut world, "p2", 1, 200);
    pay(&mut world, "p3", 1, 50);
    let (page, _) = world.state.list_exceptions(0, 9, &ExceptionFilter::default());
    let found: Vec<_> = page.items.iter().map(|one| (one.code_name.as_str(), one.document_id.as_str())).collect();
    assert_eq!(found, [("REFUND_EXCEEDED", "p2"), ("REFUND_EXCEEDED", "p3")]);
    let refunds = standing(&world);
    // Two units are 343, of which 172 were paid: 171 is left of the second one's share.
    let excess: Vec<_> = refunds.refunds.iter().map(|refund| refund.excess_minor).collect();
    assert_eq!((excess, refunds.lines[0].refunded_minor), (vec![0, 29, 50], 422));
    assert!(committed(&world).is_empty(), "finance hears of them from the node");
    // Nothing is left to be asked for.
    assert!(!node_asks(&mut world, "f1", 1, "").approved);
    let number = page.items[0].exception_number;
    let resolve =
        |number| Kind::ResolveException(log::ResolveException { exception_number: number, resolution: "ok".into() });
    world.write(resolve(number)).unwrap();
    assert_eq!(world.write(resolve(number)).unwrap_err().reason, Reason::UnknownException);
    audit(&world.state);
}

#[test]
fn authorisations_share_what_may_come_back() {
    let mut world = sold(5);
    let authorise = |id: &str, quantity: i64, node: &str| {
        let lines = vec![api::ReturnAuthorisationLine { line: 1, quantity, received: 0 }];
        let authorisation = api::ReturnAuthorisation {
            authorisation_id: id.into(),
            order_id: "o".into(),
            lines,
            node: node.into(),
            ..Default::default()
        };
        Kind::AuthoriseReturn(log::AuthoriseReturn { authorisation: Some(authorisation) })
    };
    let cancel = |id: &str| {
        let authorisation_id = id.to_owned();
        Kind::CancelReturnAuthorisation(log::CancelReturnAuthorisation { authorisation_id })
    };
    world.write(authorise("a1", 3, "n0")).unwrap();
    let refused = world.write(authorise("a2", 3, "")).unwrap_err();
    assert_eq!(
        (refused.reason, refused.field.as_str()),
        (Reason::ExceedsReturnable, "authorisation.lines[0].quantity")
    );
    world.write(authorise("a2", 2, "")).unwrap();
    audit(&world.state);
    come_back(&mut world, "r1", 2, "a1");
    assert_eq!(world.state.authorisation("a1").unwrap().lines[0].received, 2);
    assert_eq!(world.write(authorise("a3", 1, "")).unwrap_err().reason, Reason::ExceedsReturnable);
    world.write(cancel("a2")).unwrap();
    world.write(authorise("a3", 2, "")).unwrap();
    come_back(&mut world, "r2", 1, "a1");
    assert_eq!(world.state.authorisation("a1").unwrap().state(), api::ReturnAuthorisationState::Received);
    assert_eq!(world.write(cancel("a1")).unwrap_err().reason, Reason::AuthorisationEnded);
    assert_eq!(world.write(authorise("a1", 1, "")).unwrap_err().reason, Reason::DocumentIdReused);
    assert_eq!(world.write(cancel("zz")).unwrap_err().reason, Reason::UnknownAuthorisation);
    let told: Vec<_> = world
        .sent("node/n0")
        .into_iter()
        .filter(|fact| matches!(fact, Fact::ReturnAuthorised(_) | Fact::ReturnAuthorisationClosed(_)))
        .collect();
    assert_eq!(told.len(), 2, "only the node that it names is told: {told:?}");
    assert_eq!(world.state.list_authorisations(0, 9, 0, "o").items.len(), 3);
    audit(&world.state);
}

proptest! {
    /// However refunds of a line are cut, units and money stay within what was shipped, returned and charged.
    #[test]
    fn refunds_never_exceed_the_line(
        shipped in 1i64..=7,
        steps in prop::collection::vec((0u8..4, 1i64..4, 0i64..400), 1..12),
    ) {
        let mut world = sold(shipped);
        let (mut with, mut without, mut returned, mut minor) = (0, 0, 0, 0);
        for (n, (what, units, amount)) in steps.into_iter().enumerate() {
            if what == 0 {
                come_back(&mut world, &format!("r{n}"), units, "");
                returned += units;
                continue;
            }
            let with_return = what == 1;
            let amount = if what == 3 { amount } else { 0 };
            let back: i64 = std::cmp::min(returned, shipped);
            let fits = if with_return { with + units <= back } else { back + without + units <= shipped };
            let fits = fits && with + without + units <= shipped;
            match world.write(ask(&format!("c{n}"), units, with_return, amount)) {
                Ok(Answer::Refunded(refund)) => {
                    prop_assert!(fits);
                    if with_return { with += units } else { without += units }
                    minor += refund.amount.unwrap().minor;
                }
                Ok(other) => prop_assert!(false, "{other:?}"),
                Err(reject) => prop_assert!(!fits || reject.reason == Reason::RefundExceedsCharge, "{reject}"),
            }
            prop_assert!(minor <= 1_201 * (with + without) / 7 + 1);
        }
        let facts = committed(&world);
        prop_assert_eq!(facts.iter().map(|fact| fact.amount.as_ref().unwrap().minor).sum::<i64>(), minor);
        for fact in &facts {
            let tax: i64 = fact.taxes.iter().map(|tax| tax.tax_minor).sum();
            prop_assert_eq!(fact.net_minor + tax, fact.amount.as_ref().unwrap().minor);
        }
        audit(&world.state);
    }
}
