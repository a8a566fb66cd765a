//! Looking at a few nodes against looking at all of them.

use proptest::prelude::*;
use stockmesh_proto::common::v1::Place;
use stockmesh_proto::coordinator::v1 as api;
use stockmesh_proto::raft::v1 as log;
use stockmesh_proto::raft::v1::command::Kind;
use stockmesh_types::Quantity;

use super::Overlay;
use super::candidates::{Offer, Wanted};
use super::sourcing;
use crate::tests::world::{World, item_name, node};

fn place() -> impl Strategy<Value = Place> {
    // All over the world, the poles and the date line too; or within a few degrees.
    let anywhere = (-900_000_000i32..=900_000_000, -1_800_000_000i32..=1_800_000_000);
    let nearby = (500_000_000i32..=530_000_000, -20_000_000i32..=20_000_000);
    prop_oneof![anywhere, nearby.clone(), nearby].prop_map(|(latitude_e7, longitude_e7)| Place {
        country_code: "GB".into(),
        latitude_e7,
        longitude_e7,
        ..Place::default()
    })
}

fn costs() -> impl Strategy<Value = api::NodeCosts> {
    (0i64..200, 0i64..30, 0i64..400, 0i64..60, 0i64..90).prop_map(|(shipment, unit, parcel, kg, distance)| {
        api::NodeCosts {
            handling_per_shipment_minor: shipment,
            handling_per_unit_minor: unit,
            parcel_fixed_minor: parcel,
            parcel_per_kg_minor: kg,
            parcel_per_kg_1000km_minor: distance,
        }
    })
}

#[derive(Clone, Debug)]
struct Case {
    nodes: Vec<(Place, api::NodeCosts)>,
    /// By node, then item.
    stock: Vec<Vec<Quantity>>,
    wanted: Vec<Quantity>,
    ship_to: Place,
    ships: Vec<u32>,
    /// Not asked.
    left_out: u32,
}

fn case() -> impl Strategy<Value = Case> {
    (1usize..90, 1usize..4).prop_flat_map(|(nodes, items)| {
        let units = prop_oneof![3 => Just(0i64), 3 => 1i64..4, 1 => Just(20)];
        let node = u32::try_from(nodes).unwrap_or(1);
        (
            prop::collection::vec((place(), costs()), nodes),
            prop::collection::vec(prop::collection::vec(units, items), nodes),
            prop::collection::vec(1i64..7, items),
            place(),
            prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(0..node, 1..3)],
            0..node,
        )
            .prop_map(|(nodes, stock, wanted, ship_to, mut ships, left_out)| {
                ships.sort_unstable();
                ships.dedup();
                Case { nodes, stock, wanted, ship_to, ships, left_out }
            })
    })
}

fn world_of(case: &Case) -> World {
    let mut world = World::with(case.wanted.len(), 0);
    for (n, ((place, costs), stock)) in case.nodes.iter().zip(&case.stock).enumerate() {
        let node = api::Node { place: Some(place.clone()), costs: Some(*costs), ..node(n) };
        world.write(Kind::RegisterNode(log::RegisterNode { node: Some(node) })).unwrap();
        for (item, units) in stock.iter().enumerate().filter(|(_, units)| **units > 0) {
            world.grant(&format!("n{n}"), &item_name(item), *units);
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_is_not_looked_at_is_not_cheaper(case in case()) {
        let world = world_of(&case);
        let state = &world.state;
        let wanted: Vec<Wanted> = (0..)
            .zip(&case.wanted)
            .map(|(item, quantity)| Wanted {
                key: state.items[item].keys.first().copied(),
                weight_grams: state.items[item].weight_grams,
                quantity: *quantity,
                at_most: Quantity::MAX,
            })
            .collect();
        let overlay = Overlay::new();
        let offer = Offer {
            overlay: &overlay,
            wanted: &wanted,
            ship_to: &case.ship_to,
            may: |node| node != case.left_out,
            ships: &case.ships,
            less: |node| Quantity::from(node % 5 == 0),
        };
        let (few, answer) = state.source(&offer);
        let all = state.all_nodes(&offer, super::distance::direction(&case.ship_to));
        let full = sourcing::solve(&all.problem);
        // Every unit that there is, is taken.
        for (need, of) in all.problem.needs.iter().enumerate() {
            let taken: Quantity = answer.takes.iter().filter(|take| take.need == need).map(|take| take.units).sum();
            prop_assert_eq!(taken, of.take, "need {}", need);
        }
        for take in &answer.takes {
            prop_assert!(take.units <= few.problem.available(take.need, take.node));
        }
        prop_assert_eq!(few.problem.cost(&answer.takes), answer.cost);
        prop_assert!(answer.lower_bound <= full.cost, "{} against {}", answer.lower_bound, full.cost);
        prop_assert!(full.lower_bound <= answer.cost);
        if answer.proven() {
            prop_assert!(answer.cost <= full.cost);
        }
        // As few cells as are all weighed up lose no proof.
        if case.nodes.len() <= 64 && full.proven() {
            prop_assert!(answer.proven());
            prop_assert_eq!(answer.cost, full.cost);
        }
    }
}
