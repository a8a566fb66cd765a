//! Grant policy: who is told what, what raising one gives back, what proposals are made of.

use stockmesh_proto::common::v1::{NodeKind, ShortagePolicy};
use stockmesh_proto::coordinator::v1::GrantPolicy;
use stockmesh_proto::coordinator::v1::grant_policy::{Items, Nodes};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{CounterSaleLine, GrantPolicySet, RecallRequested, SoldAtCounter, grant_policy_set};
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_types::{NodeId, Reason, Reject};

use super::audit::audit;
use super::world::{World, key, order};
use crate::{Answer, State};

fn policy(nodes: Nodes, items: Items, floor: i64, walk_in_reserve: i64) -> GrantPolicy {
    GrantPolicy { nodes: Some(nodes), items: Some(items), floor, walk_in_reserve, version: 0 }
}

fn every() -> Nodes {
    Nodes::NodeKind(NodeKind::DistributionCenter.into())
}

fn others() -> Items {
    Items::Segment(String::new())
}

fn set(world: &mut World, policies: Vec<GrantPolicy>, expected_version: u64) -> Result<Answer, Reject> {
    world.write(Kind::SetGrantPolicies(log::SetGrantPolicies { policies, expected_version }))
}

/// What a node was told, in order: item (none: every other), floor and reserve together, version.
fn told(world: &World, node: &str) -> Vec<(Option<String>, i64, u64)> {
    let policies = world.sent(&format!("node/{node}")).into_iter().filter_map(|fact| match fact {
        Fact::GrantPolicySet(GrantPolicySet { items, floor, walk_in_reserve, version }) => {
            let item = match items.unwrap() {
                grant_policy_set::Items::StockKey(key) => Some(key.item),
                grant_policy_set::Items::Segment(_) => None,
            };
            Some((item, floor + walk_in_reserve, version))
        }
        _ => None,
    });
    policies.collect()
}

#[test]
fn raising_a_policy_gives_free_rights_back_and_no_more() {
    let mut world = World::with(2, 3);
    for (node, item, units) in [("n0", "A", 10), ("n0", "B", 2), ("n1", "A", 10), ("n2", "A", 1)] {
        world.grant(node, item, units);
    }
    // Seven of n0's are promised.
    world.place(&order("o", ShortagePolicy::Backorder, &[("A", 7)])).unwrap();
    assert_eq!(set(&mut world, vec![policy(every(), others(), 2, 2)], 0), Ok(Answer::PoliciesSet { version: 1 }));
    assert!(world.state.backlog_nonempty());
    world.settle();
    audit(&world.state);
    let free = |world: &World, item: &str, node: &str| world.cell(item, node).free;
    assert_eq!((free(&world, "A", "n0"), free(&world, "B", "n0")), (0, 0));
    assert_eq!((free(&world, "A", "n1"), free(&world, "A", "n2")), (6, 0));
    assert_eq!(world.cell("A", "n0").open, 7, "what is promised stays promised");
    for node in ["n0", "n1", "n2"] {
        assert_eq!(told(&world, node), [(None, 4, 1)]);
        let facts = world.sent(&format!("node/{node}"));
        let at = |wanted: fn(&Fact) -> bool| facts.iter().rposition(wanted).unwrap();
        let (returned, said) =
            (at(|fact| matches!(fact, Fact::RightsReturned(_))), at(|fact| matches!(fact, Fact::GrantPolicySet(_))));
        assert!(returned < said, "a node that hears the policy knows what it has back");
    }

    // A node's own goes before its kind's, a stock key before every other item; only what it goes beyond is given back.
    let own = policy(Nodes::Node("n1".into()), Items::StockKey(key("A")), 5, 0);
    set(&mut world, vec![own], 1).unwrap();
    world.settle();
    assert_eq!(free(&world, "A", "n1"), 1, "its own policy is new: nothing was kept back by it before");
    assert_eq!(told(&world, "n1"), [(None, 4, 1), (Some("A".into()), 5, 2)]);
    assert_eq!(told(&world, "n0").len(), 1);
    // The kind's is raised: n1's stock key is not concerned. Lowering gives nothing back.
    world.grant("n0", "B", 12);
    set(&mut world, vec![policy(every(), others(), 7, 0)], 0).unwrap();
    world.settle();
    assert_eq!((free(&world, "A", "n1"), free(&world, "B", "n0")), (1, 7));
    set(&mut world, vec![policy(every(), others(), 1, 0)], 0).unwrap();
    world.settle();
    assert_eq!((free(&world, "A", "n1"), free(&world, "B", "n0")), (1, 7));
    audit(&world.state);

    let listed = world.state.list_policies(0, 10).items;
    assert_eq!(listed.iter().map(|of| (of.floor, of.version)).collect::<Vec<_>>(), [(1, 4), (5, 2)]);
    let restored = State::restore(world.state.snapshot().chunks()).unwrap();
    assert_eq!(restored.policy_version(), 4);
    assert_eq!(restored.list_policies(0, 10).items, listed);
    assert_eq!(restored.snapshot().chunks().collect::<Vec<_>>(), world.state.snapshot().chunks().collect::<Vec<_>>());
}

#[test]
fn policies_that_can_not_be_are_refused() {
    let mut world = World::with(1, 1);
    world.grant("n0", "A", 3);
    set(&mut world, vec![policy(every(), others(), 1, 0)], 0).unwrap();
    let node = |name: &str| Nodes::Node(name.into());
    let cases = [
        (vec![], 0, Reason::TooManyLines, "policies"),
        (vec![policy(every(), others(), 1, 0)], 7, Reason::PolicyChanged, "expected_version"),
        (vec![policy(node("n9"), others(), 1, 0)], 0, Reason::UnknownNode, "policies[0].node"),
        (vec![policy(Nodes::NodeKind(0), others(), 1, 0)], 0, Reason::UnspecifiedEnum, "policies[0].node_kind"),
        (vec![policy(every(), Items::Segment("D".into()), 1, 0)], 0, Reason::InvalidValue, "policies[0].segment"),
        (vec![policy(every(), Items::StockKey(key("B")), 1, 0)], 0, Reason::UnknownCell, "policies[0].stock_key"),
        (vec![policy(every(), others(), -1, 0)], 0, Reason::InvalidValue, "policies[0].floor"),
        (vec![policy(every(), others(), 0, -1)], 0, Reason::InvalidValue, "policies[0].walk_in_reserve"),
        (vec![policy(every(), others(), 1, 0); 2], 0, Reason::DuplicateLine, "policies[1]"),
        (
            vec![GrantPolicy { items: Some(others()), ..Default::default() }],
            0,
            Reason::MissingField,
            "policies[0].nodes",
        ),
        (
            vec![GrantPolicy { nodes: Some(every()), ..Default::default() }],
            0,
            Reason::MissingField,
            "policies[0].items",
        ),
    ];
    for (policies, expected, reason, field) in cases {
        let reject = set(&mut world, policies, expected).unwrap_err();
        assert_eq!((reject.reason, reject.field.as_str()), (reason, field));
    }
    assert_eq!(world.state.policy_version(), 1);
}

#[test]
fn proposals_follow_counter_sales() {
    let mut world = World::with(1, 2);
    world.grant("n0", "A", 9);
    let sale = |units: i64| {
        let line = CounterSaleLine { stock_key: Some(key("A")), quantity: units, ..Default::default() };
        Fact::SoldAtCounter(SoldAtCounter { sale_id: "t".into(), lines: vec![line], ..Default::default() })
    };
    let propose = |world: &World, node: &str, days| {
        world.state.propose_policies(&NodeId::new(node).unwrap(), days, 0, 10).map(|page| page.items)
    };
    assert_eq!(propose(&world, "n0", 7).unwrap(), []);
    world.fact("n0", sale(2)).unwrap();
    world.fact("n0", sale(1)).unwrap();
    let proposed = propose(&world, "n0", 7).unwrap();
    assert_eq!((proposed.len(), proposed[0].velocity_milli_per_day), (1, 3_000));
    assert_eq!(proposed[0].policy.as_ref().unwrap().walk_in_reserve, 21);
    assert_eq!(propose(&world, "n1", 7).unwrap(), []);
    assert_eq!(propose(&world, "n0", 0).unwrap_err().reason, Reason::InvalidValue);
    // What is proposed can be set as it is, and is not proposed again.
    set(&mut world, vec![proposed[0].policy.clone().unwrap()], 0).unwrap();
    assert_eq!(propose(&world, "n0", 7).unwrap(), []);
}

#[test]
fn metrics_say_what_rights_cost_on_either_side() {
    let mut world = World::with(1, 2);
    world.grant("n0", "A", 5);
    world.grant("n1", "A", 4);
    let recall = RecallRequested { stock_key: Some(key("A")), quantity: 7, reference: String::new() };
    world.fact("n0", Fact::RecallRequested(recall)).unwrap();
    let metrics = |silent_ms| world.state.rights_metrics(silent_ms, 0, 10).items;
    let at_hand = metrics(1_000_000);
    assert_eq!(at_hand.iter().map(|of| of.stranded_units).collect::<Vec<_>>(), [0, 0]);
    let (asked, given, lost) =
        (at_hand[0].recall_requested_units, at_hand[0].recall_returned_units, at_hand[0].lost_counter_units);
    assert_eq!((asked, given, lost), (7, 5, 2));
    // Nobody was heard of in this very entry but n0.
    let stranded: Vec<(bool, i64)> = metrics(0).iter().map(|of| (of.silent, of.stranded_units)).collect();
    assert_eq!(stranded, [(false, 0), (true, 4)]);
    let second = world.state.rights_metrics(0, 1, 1);
    assert_eq!((second.items[0].node.as_str(), second.items[0].stranded_units), ("n1", 4));
}
