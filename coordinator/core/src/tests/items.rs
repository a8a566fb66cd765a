//! Items that change, and nodes that are told of it in steps.

use stockmesh_proto::common::v1::{ItemAttributes, KitComponent, Pack, ScanCode};
use stockmesh_proto::coordinator::v1 as api;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_types::Reason;

use super::audit::audit;
use super::world::{World, item, node};
use crate::decide::{Overlay, next_step};
use crate::{Answer, State};

fn update(items: Vec<api::Item>, allow_missing: bool) -> Kind {
    Kind::UpdateItems(log::UpdateItems { items, allow_missing })
}

fn with(mut item: api::Item, attributes: ItemAttributes) -> api::Item {
    item.attributes = Some(attributes);
    item
}

fn coded(code: &str) -> ItemAttributes {
    ItemAttributes { scan_codes: vec![ScanCode { code: code.into(), pack: String::new() }], ..Default::default() }
}

/// Versions of an item that a node was told, in order.
fn told(world: &World, node: &str, item: &str) -> Vec<(i64, usize)> {
    let facts = world.sent(&format!("node/{node}")).into_iter();
    let ranged = facts.filter_map(|fact| match fact {
        Fact::ItemRanged(ranged) if ranged.item == item => {
            Some((ranged.weight_grams, ranged.attributes.map_or(0, |attributes| attributes.packs.len())))
        }
        _ => None,
    });
    ranged.collect()
}

#[test]
fn a_change_reaches_the_nodes_where_the_item_is_ranged() {
    let mut world = World::with(2, 3);
    world.write(Kind::CreateItems(log::CreateItems { items: vec![item("Z", 5)] })).unwrap();
    let packs = vec![Pack { name: "case".into(), base_units: 12 }];
    let changed = with(item("A", 250), ItemAttributes { packs, ..Default::default() });
    let answer = world.write(update(vec![changed.clone(), item("B", 200), item("N", 9)], true)).unwrap();
    assert_eq!(answer, Answer::ItemsUpdated { updated: 1, created: 1, unchanged: 1 });
    assert_eq!(world.state.item("A").map(|(item, to_tell)| (item.version, to_tell)), Some((2, 3)));
    world.settle();
    assert_eq!(world.state.item("A").unwrap().1, 0);
    for name in ["n0", "n1", "n2"] {
        assert_eq!((told(&world, name, "A"), told(&world, name, "B").len()), (vec![(100, 0), (250, 1)], 1));
    }
    // Who ranges it later hears of it as it is.
    world.write(Kind::RegisterNode(log::RegisterNode { node: Some(node(3)) })).unwrap();
    world.write(Kind::RangeItems(log::RangeItems { node: "n3".into(), items: vec!["A".into()] })).unwrap();
    assert_eq!(told(&world, "n3", "A"), [(250, 1)]);
    // The catalog lists attributes, and a repeat of what stands creates nothing.
    assert_eq!(world.state.list_items(0, 1).items[0].attributes, changed.attributes);
    let again = Kind::CreateItems(log::CreateItems { items: vec![changed] });
    assert_eq!(world.write(again).unwrap(), Answer::ItemsCreated { created: 0, existing: 1 });
    audit(&world.state);
}

#[test]
fn many_nodes_are_told_in_bounded_steps_that_survive_a_snapshot() {
    let mut world = World::with(1, 0);
    for n in 0..300 {
        let name = format!("m{n}");
        let node = api::Node { node: name.clone(), ..node(0) };
        world.write(Kind::RegisterNode(log::RegisterNode { node: Some(node) })).unwrap();
        world.write(Kind::RangeItems(log::RangeItems { node: name, items: vec!["A".into()] })).unwrap();
    }
    world.write(update(vec![item("A", 7)], false)).unwrap();
    let step = |state: &State| next_step(state, &Overlay::new(), 256);
    let first = step(&world.state).unwrap();
    assert_eq!(world.run(first).unwrap(), Answer::ItemsAnnounced { told: 256 });
    assert_eq!(world.state.item("A").unwrap().1, 44);
    // A snapshot in the middle, and a further change that begins again.
    world.state = State::restore(world.state.snapshot().chunks()).unwrap();
    let second = step(&world.state).unwrap();
    assert_eq!(world.run(second).unwrap(), Answer::ItemsAnnounced { told: 44 });
    assert_eq!(step(&world.state), None);
    world.write(update(vec![item("A", 8)], false)).unwrap();
    assert_eq!(world.state.item("A").map(|(item, to_tell)| (item.version, to_tell)), Some((3, 300)));
}

#[test]
fn which_reject_wins_and_what_a_dry_run_tells() {
    let mut world = World::with(3, 1);
    world.write(update(vec![with(item("A", 100), coded("A-CODE"))], false)).unwrap();
    let kit = |of: &str| ItemAttributes {
        kit_components: vec![KitComponent { item: of.into(), units_per_kit: 1 }],
        ..Default::default()
    };
    world.write(update(vec![with(item("B", 200), kit("C"))], false)).unwrap();
    world.grant("n0", "A", 1);
    let weighed = ItemAttributes { weighed: true, ..Default::default() };
    let stale = api::Item { version: 1, ..item("A", 9) };
    let cases = [
        (vec![item("Q", 1)], Reason::UnknownItem, "items[0].item"),
        (vec![item("C", 1), stale], Reason::ItemChanged, "items[1].version"),
        (vec![item("C", 0)], Reason::InvalidValue, "items[0].weight_grams"),
        (vec![item("C", 1), item("C", 1)], Reason::DuplicateLine, "items"),
        (vec![with(item("C", 1), coded("A-CODE"))], Reason::CodeInUse, "items[0].attributes.scan_codes[0].code"),
        (vec![with(item("C", 1), coded("X")), with(item("A", 1), coded("X"))], Reason::DuplicateLine, "items"),
        (vec![with(item("C", 1), kit("B"))], Reason::InvalidValue, "items[0].attributes.kit_components[0].item"),
        (vec![with(item("C", 1), kit("Q"))], Reason::UnknownItem, "items[0].attributes.kit_components[0].item"),
        (vec![with(item("A", 1), weighed)], Reason::ItemInUse, "items[0].attributes.weighed"),
    ];
    for (items, reason, field) in cases {
        let dry = world.state.item_problems(&items, false, 10);
        assert!(
            dry.problems.iter().any(|one| (one.reason.as_str(), one.field.as_str()) == (reason.code(), field)),
            "{dry:?}"
        );
        let reject = world.write(update(items, false)).unwrap_err();
        assert_eq!((reject.reason, reject.field.as_str()), (reason, field));
    }
    assert_eq!(world.state.item("C").unwrap().0.version, 1, "all or none");
    // A code is free again once its item gave it up.
    world.write(update(vec![item("A", 100)], false)).unwrap();
    world.write(update(vec![with(item("C", 300), coded("A-CODE"))], false)).unwrap();
    let dry = world.state.item_problems(&[item("A", 1), item("N", 1), item("B", 0)], true, 1);
    assert_eq!((dry.updated, dry.created, dry.unchanged, dry.problems.len()), (1, 1, 0, 1));
    audit(&world.state);
}
