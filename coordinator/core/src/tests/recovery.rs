//! Epochs of nodes and their rejects, what surfaces late, and a lost node that owes more than one step can ask for.

use stockmesh_proto::common::v1::ShortagePolicy;
use stockmesh_proto::coordinator::v1::GrantPolicy;
use stockmesh_proto::coordinator::v1::grant_policy::{Items, Nodes};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{
    EntryBody, FeedPosition, NodeEpochOpened, RecoveryEnded, RightsGranted, ShortfallReported,
};
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_types::{ChainHash, FeedId, Reason, Reject};

use super::audit::audit;
use super::supply::{create, line, purchase};
use super::world::{World, key, node_feed, order, request_id};
use crate::apply::MAX_ASKED;
use crate::decide::{self, Overlay};
use crate::{Answer, Notice, State};

const START: i64 = super::world::START_MS;

fn open(node: &str, epoch: u64, last: Head, n: u32, lost_to: Option<Head>) -> Kind {
    Kind::OpenNodeEpoch(log::OpenNodeEpoch {
        node: node.into(),
        epoch,
        r#final: Some(last.to_wire()),
        recovery_id: request_id(START, n),
        lost_to: lost_to.map(Head::to_wire),
    })
}

fn retire(step: log::RetirementStep, person: &str) -> Kind {
    let (node, person, reason) = ("n0".to_owned(), person.to_owned(), "fire".to_owned());
    Kind::RetireNode(log::RetireNode { node, person, step: step.into(), reason })
}

/// Facts of a node in a later epoch, from its start.
fn say(world: &mut World, node: &str, epoch: u64, facts: Vec<Fact>) -> Result<Answer, Reject> {
    let (mut head, feed) = (Head::START, node_feed(node, epoch));
    let id = FeedId::from(&feed);
    let entries = facts.into_iter().map(|fact| head.append(&id, &EntryBody { fact: Some(fact), ..Default::default() }));
    let entries = entries.collect();
    world.run(Kind::ApplyFacts(log::ApplyFacts { feed: Some(feed), entries }))
}

#[test]
fn an_epoch_is_sealed_where_the_coordinator_stands_or_not_at_all() {
    let mut world = World::with(1, 1);
    world.grant("n0", "A", 5);
    world.grant("n0", "A", 7);
    let end = world.feeds["n0"];
    let before = Head { seq: 1, hash: ChainHash([1; 32]) };
    let ahead = Head { seq: 3, hash: ChainHash([3; 32]) };
    let fork = Head { hash: ChainHash([9; 32]), ..end };
    let no_id = Kind::OpenNodeEpoch(log::OpenNodeEpoch {
        node: "n0".into(),
        epoch: 1,
        r#final: Some(end.to_wire()),
        recovery_id: "of-the-store".into(),
        lost_to: None,
    });
    let no_hash = Kind::OpenNodeEpoch(log::OpenNodeEpoch {
        node: "n0".into(),
        epoch: 1,
        r#final: Some(FeedPosition { seq: 2, hash: vec![1] }),
        recovery_id: request_id(START, 1),
        lost_to: None,
    });
    let cases = [
        (open("n9", 1, end, 1, None), Reason::UnknownNode, "node"),
        (open("n0", 2, end, 1, None), Reason::StaleEpoch, "epoch"),
        (open("n0", 1, ahead, 1, None), Reason::SealBehind, "final"),
        (open("n0", 1, before, 1, None), Reason::SealAhead, "final"),
        (open("n0", 1, before, 1, Some(fork)), Reason::SealAhead, "final"),
        (open("n0", 1, fork, 1, None), Reason::FeedForked, "final"),
        (no_id, Reason::InvalidValue, "recovery_id"),
        (no_hash, Reason::InvalidValue, "final"),
    ];
    let untouched = world.state.snapshot().chunks().filter(|chunk| chunk.name != "head").collect::<Vec<_>>();
    for (kind, reason, field) in cases {
        let reject = world.run(kind).unwrap_err();
        assert_eq!((reject.reason, reject.field.as_str()), (reason, field));
        let after = world.state.snapshot().chunks().filter(|chunk| chunk.name != "head").collect::<Vec<_>>();
        let same = |chunk: &&crate::SnapshotChunk| chunk.name != "tail";
        assert!(after.iter().filter(same).eq(untouched.iter().filter(same)), "nothing changed");
    }
    // Sealed short of what was applied here, on purpose: people are told of the gap.
    let opened = world.run(open("n0", 1, before, 1, Some(end))).unwrap();
    assert!(matches!(opened, Answer::NodeEpochOpened { epoch: 2, .. }));
    assert!(matches!(world.notices.last(), Some(Notice::HistoryLost { from_seq: 2, to_seq: 2, .. })));
    let (exceptions, _) = world.state.list_exceptions(0, 9, &crate::ExceptionFilter::default());
    assert_eq!(exceptions.items.len(), 1, "{exceptions:?}");
    let told = world.sent("finance/main").pop().unwrap();
    let Fact::NodeEpochOpened(NodeEpochOpened { epoch, sealed_seq, lost_from_seq, .. }) = told else { panic!() };
    assert_eq!((epoch, sealed_seq, lost_from_seq), (2, 2, 2));
    // The same id again is the same recovery, for another epoch it is refused; a fresh one goes on from here.
    assert_eq!(world.run(open("n0", 1, before, 1, Some(end))).unwrap(), opened);
    assert_eq!(world.run(open("n0", 2, Head::START, 1, None)).unwrap_err().reason, Reason::StaleRecovery);
    assert_eq!(world.state.welcome("n0", &request_id(START, 2), 0, 9).unwrap_err().reason, Reason::StaleRecovery);
    world.run(open("n0", 2, Head::START, 2, None)).unwrap();
    assert_eq!(world.state.welcome("n0", &request_id(START, 1), 0, 9).unwrap_err().reason, Reason::StaleRecovery);
    let page = world.state.welcome("n0", &request_id(START, 2), 0, 9).unwrap();
    assert_eq!((page.epoch, page.cells[0].granted, page.cells[0].returned), (3, 7, 0));
    audit(&world.state);
}

#[test]
fn what_surfaces_of_an_epoch_that_is_over_has_no_effect_and_is_told_once() {
    let mut world = World::with(1, 1);
    world.grant("n0", "A", 5);
    let end = world.feeds["n0"];
    world.run(open("n0", 1, end, 1, None)).unwrap();
    let granted = |total| Fact::RightsGranted(RightsGranted { stock_key: Some(key("A")), granted_total: total });
    let late = say(&mut world, "n0", 1, vec![granted(5), granted(50)]).unwrap_err();
    assert_eq!(late.reason, Reason::StaleEpoch);
    let note = |seq| {
        let head = Some(Head { seq, hash: ChainHash([7; 32]) }.to_wire());
        Kind::NoteLateFacts(log::NoteLateFacts { node: "n0".into(), epoch: 1, head })
    };
    for (seq, noted) in [(1, false), (2, true), (2, false), (3, true)] {
        assert_eq!(world.run(note(seq)).unwrap(), Answer::LateFactsNoted { noted }, "{seq}");
    }
    let told = world.notices.iter().filter(|notice| matches!(notice, Notice::LateFacts { .. })).count();
    assert_eq!((told, world.cell("A", "n0").granted), (2, 5));
    // Fenced until the node has opened, whatever else it says before.
    assert!(world.cell("A", "n0").fenced);
    say(&mut world, "n0", 2, vec![granted(6)]).unwrap();
    assert!(world.cell("A", "n0").fenced);
    let ended = Fact::RecoveryEnded(RecoveryEnded::default());
    say(&mut world, "n0", 2, vec![granted(6), ended]).unwrap();
    assert_eq!((world.cell("A", "n0").fenced, world.cell("A", "n0").free), (false, 6));
}

#[test]
fn a_lost_distribution_center_is_worked_off_in_steps_while_orders_go_on() {
    let mut world = World::with(3, 3);
    for item in ["A", "B"] {
        world.grant("n0", item, 700);
    }
    for n in 0..600 {
        world.place(&order(&format!("o{n}"), ShortagePolicy::Backorder, &[("A", 1), ("B", 1)])).unwrap();
    }
    world.grant("n1", "A", 1_000);
    world.grant("n2", "B", 1_000);
    world.write(retire(log::RetirementStep::Propose, "ann")).unwrap();
    assert_eq!(world.write(retire(log::RetirementStep::Approve, "ann")).unwrap_err().reason, Reason::SamePerson);
    assert_eq!(world.cell("A", "n0").free, 100, "a proposal changes nothing");
    world.write(retire(log::RetirementStep::Approve, "bob")).unwrap();
    // Fenced in that very entry: a new order goes elsewhere, though the old cells are still to be worked off.
    let asked = |state: &State| state.allocations.iter().filter(|of| of.ask_broken > 0).count();
    assert_eq!(asked(&world.state), 0);
    let new = world.place(&order("new", ShortagePolicy::Backorder, &[("A", 1)])).unwrap();
    assert_eq!(new.lines[0].allocations[0].node, "n1");
    let (mut steps, mut before) = (0, 0);
    while let Some(kind) = decide::next_step(&world.state, &Overlay::new(), 256) {
        world.run(kind).unwrap();
        let now = asked(&world.state);
        assert!(now - before <= MAX_ASKED as usize, "{} asked at once", now - before);
        (before, steps) = (now, steps + 1);
        audit(&world.state);
        // Between any two steps, orders go on.
        world.place(&order(&format!("between{steps}"), ShortagePolicy::Backorder, &[("B", 1)])).unwrap();
    }
    assert_eq!(before, 1_200);
    assert!((5..60).contains(&steps), "{steps} steps");
    assert_eq!((world.cell("A", "n0").free, world.cell("A", "n1").held, world.cell("B", "n2").held), (0, 600, 600));
    let opened = |world: &World, node: &str| {
        world.sent(&format!("node/{node}")).iter().filter(|fact| matches!(fact, Fact::AllocationOpened(_))).count()
    };
    let (at_n1, at_n2) = (opened(&world, "n1"), opened(&world, "n2"));
    assert_eq!((at_n1, at_n2), (1, steps), "what is held for the lost node's word is no work yet");

    // Two signatures stand for the word.
    world.write(retire(log::RetirementStep::AcceptDuplicates, "ann")).unwrap();
    world.settle();
    assert_eq!(opened(&world, "n1"), 1);
    let same = world.write(retire(log::RetirementStep::AcceptDuplicates, "ann")).unwrap_err();
    assert_eq!(same.reason, Reason::SamePerson);
    world.write(retire(log::RetirementStep::AcceptDuplicates, "bob")).unwrap();
    world.settle();
    audit(&world.state);
    assert_eq!((opened(&world, "n1"), opened(&world, "n2")), (at_n1 + 600, at_n2 + 600));
    assert_eq!((world.cell("A", "n0").open, world.cell("A", "n1").held), (0, 0));
    assert_eq!(world.state.counters().backordered_units, 0);
}

#[test]
fn a_retirement_takes_its_steps_in_order() {
    let mut world = World::with(1, 1);
    world.grant("n0", "A", 5);
    use log::RetirementStep::{AcceptDuplicates, Approve, Propose, Reinstate};
    let cases = [
        (Approve, "ann", Some(Reason::NotProposed)),
        (AcceptDuplicates, "ann", Some(Reason::NotProposed)),
        (Reinstate, "ann", Some(Reason::NotProposed)),
        (Propose, " ", Some(Reason::MissingField)),
        (Propose, "ann", None),
        (Approve, "ann", Some(Reason::SamePerson)),
        (Approve, "bob", None),
        (Approve, "cyd", Some(Reason::NotProposed)),
        (Propose, "ann", Some(Reason::NodeLost)),
    ];
    for (step, person, refused) in cases {
        let outcome = world.write(retire(step, person));
        assert_eq!(outcome.err().map(|reject| reject.reason), refused, "{step:?} by {person:?}");
    }
    // Neither its feed nor a recovery is taken before it is reinstated, and then only in a new epoch.
    let granted = Fact::RightsGranted(RightsGranted { stock_key: Some(key("A")), granted_total: 9 });
    for epoch in [1, 2] {
        let refused = say(&mut world, "n0", epoch, vec![granted.clone()]).unwrap_err();
        assert_eq!(refused.reason, Reason::NodeLost);
    }
    assert_eq!(world.run(open("n0", 2, Head::START, 1, None)).unwrap_err().reason, Reason::NodeLost);
    assert_eq!(world.write(retire(Reinstate, "ann")).unwrap_err().reason, Reason::NodeRecovering, "it is worked off");
    world.settle();
    world.write(retire(Reinstate, "ann")).unwrap();
    assert_eq!(say(&mut world, "n0", 2, vec![granted.clone()]).unwrap_err().reason, Reason::NodeLost);
    world.run(open("n0", 2, Head::START, 1, None)).unwrap();
    say(&mut world, "n0", 3, vec![granted, Fact::RecoveryEnded(RecoveryEnded::default())]).unwrap();
    world.settle();
    audit(&world.state);
    assert_eq!((world.cell("A", "n0").free, world.cell("A", "n0").epoch), (9, 3));
}

#[test]
fn a_substitute_is_checked_when_it_is_reserved_and_goes_before_any_promise() {
    let mut world = World::with(1, 3);
    world.grant("n0", "A", 4);
    let broken = world.place(&order("o", ShortagePolicy::Backorder, &[("A", 4)])).unwrap().lines[0].allocations[0].id;
    world.grant("n1", "A", 3);
    let kept = world.place(&order("p", ShortagePolicy::Backorder, &[("A", 1)])).unwrap().lines[0].allocations[0].id;
    let short = |level| {
        let report = ShortfallReported { stock_key: Some(key("A")), level, returned_total: 0 };
        Fact::ShortfallReported(report)
    };
    world.fact("n0", short(3)).unwrap();
    let reserve = |allocation, node_index, quantity| {
        let substitutes = vec![log::Substitute { allocation, node_index, quantity }];
        Kind::ReserveSubstitutes(log::ReserveSubstitutes { substitutes })
    };
    let refused = [
        (broken, 0, 1, "the node of the broken promise itself"),
        (broken, 1, 3, "more than is free"),
        (broken, 2, 1, "a node that granted nothing"),
        (broken, 1, 0, "nothing"),
        (kept, 1, 1, "a promise that is not broken"),
    ];
    for (allocation, node, units, why) in refused {
        let answer = world.run(reserve(allocation, node, units)).unwrap();
        assert_eq!(answer, Answer::SubstitutesReserved { reserved: 0, left_out: 1 }, "{why}");
    }
    world.run(reserve(broken, 1, 2)).unwrap();
    world.grant("n2", "A", 4);
    let beyond = world.run(reserve(broken, 2, 2)).unwrap();
    assert_eq!(beyond, Answer::SubstitutesReserved { reserved: 0, left_out: 1 }, "more than is broken");
    assert_eq!((world.cell("A", "n1").held, world.cell("A", "n1").free), (2, 0));
    // n1 runs short in turn: what it holds goes first, and its own promise stands.
    world.fact("n1", short(2)).unwrap();
    let asked = |node: &str| {
        world.sent(&format!("node/{node}")).iter().filter(|fact| matches!(fact, Fact::CancellationRequested(_))).count()
    };
    assert_eq!((asked("n0"), asked("n1")), (1, 0));
    assert_eq!((world.cell("A", "n1").held, world.cell("A", "n1").returned, world.cell("A", "n1").open), (0, 2, 1));
    audit(&world.state);
    // Those units are held at n2 now, as far as it goes.
    world.settle();
    assert_eq!((world.cell("A", "n2").held, world.cell("A", "n2").free), (3, 1));
    audit(&world.state);
}

#[test]
fn the_welcome_holds_what_stands_page_by_page() {
    let mut world = World::with(2, 2);
    world.grant("n0", "A", 5);
    world.place(&order("o", ShortagePolicy::Backorder, &[("A", 2)])).unwrap();
    for (id, node) in [("p1", "n0"), ("p2", "n1"), ("p3", "n0")] {
        world.write(create(purchase(id, node, 3, &[line(1, "A", 4)]))).unwrap();
    }
    let close = log::ClosePurchaseOrder { purchase_order_id: "p3".into(), cancel: true };
    world.write(Kind::ClosePurchaseOrder(close)).unwrap();
    let kept = GrantPolicy {
        nodes: Some(Nodes::Node("n0".into())),
        items: Some(Items::Segment(String::new())),
        floor: 1,
        ..Default::default()
    };
    world.write(Kind::SetGrantPolicies(log::SetGrantPolicies { policies: vec![kept], expected_version: 0 })).unwrap();
    world.settle();
    let end = world.feeds["n0"];
    world.run(open("n0", 1, end, 1, None)).unwrap();
    for limit in [1, 2, 100] {
        let (mut standing, mut cells, mut allocations, mut after) = (Vec::new(), 0, 0, 0);
        loop {
            let page = world.state.welcome("n0", &request_id(START, 1), after, limit).unwrap();
            for body in page.standing {
                standing.push(match body.fact.unwrap() {
                    Fact::ItemRanged(item) => item.item,
                    Fact::GrantPolicySet(policy) => format!("floor {}", policy.floor),
                    Fact::InboundAnnounced(inbound) => inbound.inbound_id,
                    Fact::InboundClosed(closed) => format!("{} closed", closed.inbound_id),
                    other => panic!("{other:?}"),
                });
            }
            (cells, allocations) = (cells + page.cells.len(), allocations + page.allocations.len());
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        assert_eq!(standing, ["A", "B", "floor 1", "po/p1", "po/p3", "po/p3 closed"], "{limit} at once");
        assert_eq!((cells, allocations), (1, 1));
    }
}
