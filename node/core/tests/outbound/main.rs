//! The way out of a node: which reject wins for each command, and what each does to stock, rights and facts.

#[path = "../common/mod.rs"]
mod common;
mod models;
mod scenes;

use common::*;
use scenes::*;
use stockmesh_node_core::command::*;
use stockmesh_proto::common::v1::Tender;
use stockmesh_proto::feed::v1::{DeclineReason, Disposition, DispositionOutcome, RefundReason};
use stockmesh_proto::node::v1::ShortPickReason;
use stockmesh_types::{Reason, StockKey};

#[test]
fn which_reject_wins() {
    let other_kit = StockKey { owner: "acme".into(), ..key("KIT") };
    let cases: Vec<(&str, Command, Option<Reason>)> = vec![
        // Counter.
        ("sell", sell("c-2", &[("A", 1)], true), None),
        ("sell beyond, no recall", sell("c-2", &[("A", 9)], false), Some(Reason::InsufficientRetained)),
        ("sell beyond, recall", sell("c-2", &[("A", 5)], true), None),
        ("recall of what is not there", sell("c-2", &[("A", 99)], true), Some(Reason::InsufficientRetained)),
        ("sale number taken", sell("c-1", &[("A", 1)], true), Some(Reason::DocumentIdReused)),
        ("unknown item", sell("c-2", &[("Z", 1)], true), Some(Reason::UnknownItem)),
        ("record anything", record("c-2", &[("Z", 7), ("A", 99)]), None),
        ("record again", record("c-1", &[("A", 1)]), None),
        ("record another content", record("c-1", &[("A", 2)]), None),
        ("void", void("c-1", &[("A", 1)]), None),
        ("void unknown", void("c-9", &[("A", 1)]), Some(Reason::UnknownSale)),
        ("void another content", void("c-1", &[("A", 2)]), Some(Reason::SaleDiffers)),
        ("return at the counter", counter_return("cr-1", "c-1", 1, Some(Disposition::Resale)), None),
        ("bought elsewhere", counter_return("cr-1", "c-77", 1, None), None),
        ("return number taken", counter_return("ret", "c-1", 1, None), Some(Reason::DocumentIdReused)),
        // Work.
        ("hold", hold("o-1"), None),
        ("hold unknown", hold("o-9"), Some(Reason::UnknownOrder)),
        ("resume what goes on", resume("o-1"), Some(Reason::NotOnHold)),
        ("reject", reject("o-1", DeclineReason::Closed), None),
        ("reject unknown", reject("o-9", DeclineReason::Closed), Some(Reason::UnknownOrder)),
        (
            "reject for a reason of the node's own",
            reject("o-1", DeclineReason::CatchWeight),
            Some(Reason::InvalidValue),
        ),
        ("decline for one", decline(1, 1, DeclineReason::PickupExpired), Some(Reason::InvalidValue)),
        ("short", short(1, 1, ShortPickReason::SomeMissing), None),
        ("nothing short", short(1, 3, ShortPickReason::SomeMissing), Some(Reason::NothingShort)),
        ("some, but nothing there", short(1, 1, ShortPickReason::NothingThere), Some(Reason::InvalidValue)),
        ("none, but some missing", short(1, 0, ShortPickReason::SomeMissing), Some(Reason::InvalidValue)),
        ("short unknown", short(9, 0, ShortPickReason::NothingThere), Some(Reason::UnknownAllocation)),
        ("weigh", weigh(4, 980), None),
        ("weigh too light", weigh(4, 949), Some(Reason::OutsideTolerance)),
        ("weigh too heavy", weigh(4, 1_051), Some(Reason::OutsideTolerance)),
        ("weigh what is counted", weigh(1, 3), Some(Reason::NotWeighed)),
        ("wave", wave(NOON + HOUR), None),
        ("wave too late", wave(NOON), Some(Reason::InvalidDate)),
        ("capacity of a day long ago", capacity(-2, 5, &[]), Some(Reason::InvalidDate)),
        ("capacity too far ahead", capacity(31, 5, &[]), Some(Reason::InvalidDate)),
        ("capacity", capacity(30, 5, &[(23, 2)]), None),
        ("substitute", substitute(3, 1, "B"), None),
        ("no substitute wanted", substitute(1, 1, "B"), Some(Reason::SubstitutionNotAllowed)),
        ("no substitute of it", substitute(3, 1, "W"), Some(Reason::NotASubstitute)),
        ("more than the order", substitute(3, 3, "B"), Some(Reason::ExceedsAllocation)),
        // Pickups.
        ("stage", stage("p-2", "o-2"), None),
        ("nothing picked", stage("p-2", "o-3"), Some(Reason::NothingToStage)),
        ("pickup number taken", stage("p-1", "o-2"), Some(Reason::DocumentIdReused)),
        ("hand over", hand_over("p-1", "123456", true), None),
        ("age not checked", hand_over("p-1", "123456", false), Some(Reason::AgeCheckRequired)),
        ("unknown pickup", hand_over("p-9", "123456", true), Some(Reason::UnknownPickup)),
        ("ship what is set aside", ship("s-2", &[(5, 1)]), Some(Reason::SetAside)),
        // Kits.
        ("kits", kits("k-1", key("KIT"), 2, &[]), None),
        ("scanned kits", kits("k-1", key("KIT"), 1, &["4006381333931", "B-PAIR"]), None),
        ("wrong scans", kits("k-1", key("KIT"), 1, &["4006381333931"]), Some(Reason::KitScansDiffer)),
        ("scan of another item", kits("k-1", key("KIT"), 1, &["nothing"]), Some(Reason::KitScansDiffer)),
        ("no kit", kits("k-1", key("A"), 1, &[]), Some(Reason::NotAKit)),
        ("components promised", kits("k-1", key("KIT"), 3, &[]), Some(Reason::InsufficientRetained)),
        ("components of another owner", kits("k-1", other_kit, 1, &[]), Some(Reason::InsufficientRetained)),
        ("no kits to take apart", unkit("k-1", 1), Some(Reason::InsufficientRetained)),
        // Returns.
        ("finish", finish("f-1", Disposition::Refurbish, 1, DispositionOutcome::Refurbished), None),
        ("write off after all", finish("f-1", Disposition::Refurbish, 1, DispositionOutcome::WrittenOff), None),
        (
            "another outcome",
            finish("f-1", Disposition::Refurbish, 1, DispositionOutcome::Liquidated),
            Some(Reason::OutcomeMismatch),
        ),
        (
            "too much",
            finish("f-1", Disposition::Refurbish, 2, DispositionOutcome::Refurbished),
            Some(Reason::NothingAwaits),
        ),
        (
            "carried out before",
            finish("f-1", Disposition::Resale, 1, DispositionOutcome::WrittenOff),
            Some(Reason::InvalidValue),
        ),
        ("refund", refund("rf-1", RefundReason::Return, Some("ret-1"), None), None),
        ("no return", refund("rf-1", RefundReason::Return, None, None), Some(Reason::MissingField)),
        ("unknown return", refund("rf-1", RefundReason::Return, Some("ret-9"), None), Some(Reason::UnknownReturn)),
        ("goodwill", refund("rf-1", RefundReason::Goodwill, None, None), None),
        ("paid", refund("rf-1", RefundReason::Goodwill, None, Some((1_000, Tender::Cash))), None),
        (
            "beyond the limit",
            refund("rf-1", RefundReason::Goodwill, None, Some((1_001, Tender::Cash))),
            Some(Reason::RefundLimitExceeded),
        ),
        // Transfers.
        ("transfer", transfer("tr-1", "dc-2", 2, 1, 1), None),
        ("from itself", transfer("tr-1", "dc-1", 1, 0, 0), Some(Reason::InvalidValue)),
    ];
    for (case, command, expected) in cases {
        let mut node = store();
        assert_eq!(node.reason(command), expected, "{case}");
        sound(&node, case);
    }
}

#[test]
fn what_waits_is_not_touched_until_it_goes_on() {
    let held = || {
        let mut node = store();
        node.ask(hold("o-1")).unwrap();
        node
    };
    for command in [pick(1, 1), pack(1, 1), ship("s-9", &[(1, 1)]), short(1, 0, ShortPickReason::NothingThere)] {
        assert_eq!(held().reason(command.clone()), Some(Reason::OnHold), "{command:?}");
        let mut node = held();
        node.ask(resume("o-1")).unwrap();
        assert_ne!(node.reason(command.clone()), Some(Reason::OnHold), "{command:?}");
    }
    // The coordinator's cancellation and the node's own word that it won't ship are not stopped; the last one clears the hold.
    let mut node = held();
    node.follow(cancel(1, 3)).unwrap();
    assert!(node.state.outbound().keys().all(|key| format!("{key:?}") != "Hold(o-1)"), "{:?}", node.state.outbound());
    sound(&node, "a hold of nothing is over");
}

#[test]
fn rejects_of_the_site_are_accepted_within_its_time_only() {
    for (minutes, reason, expected) in [
        (30, DeclineReason::NoCapacity, None),
        (31, DeclineReason::NoCapacity, Some(Reason::RejectedTooLate)),
        (31, DeclineReason::Closed, Some(Reason::RejectedTooLate)),
        (31, DeclineReason::NotFound, None),
        (31, DeclineReason::Damaged, None),
    ] {
        for command in [reject("o-1", reason), decline(1, 3, reason)] {
            let mut node = store();
            node.now += minutes * 60_000;
            assert_eq!(node.reason(command), expected, "{minutes} {reason:?}");
        }
    }
}
