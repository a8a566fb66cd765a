//! From the state to a sourcing problem, and from its answer to promises.

use stockmesh_proto::coordinator::v1::{NodeCosts, SourcingCost, SourcingSummary};
use stockmesh_types::Quantity;

use super::Overlay;
use super::distance::{Direction, direction, kilometres};
use super::sourcing::{Answer, Cost, MICRO, Need, Problem, Shipper, Take, started_kg};
use crate::State;

/// Units of one stock key that an order wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// `None`: nobody ever granted or ordered it, so that nothing is there.
    pub key: Option<u32>,
    pub weight_grams: i64,
    pub quantity: Quantity,
    /// Units that the queue leaves: those that wait go first.
    pub at_most: Quantity,
}

/// A problem together with what its nodes are.
pub(crate) struct Candidates {
    pub problem: Problem,
    /// By node of the problem: dense index in the state, and distance.
    pub nodes: Vec<(u32, i64)>,
}

impl State {
    pub(crate) fn direction_of(&self, node: u32) -> Direction {
        let record = &self.nodes[node];
        *record.direction.get_or_init(|| direction(&record.fixed.place))
    }

    /// What is there for `wanted`, at nodes that `may` allows, less what decisions in flight take.
    pub(crate) fn candidates(
        &self,
        overlay: &Overlay,
        wanted: &[Wanted],
        to: Direction,
        may: impl Fn(u32) -> bool,
        ships_already: &[u32],
    ) -> Candidates {
        let mut found: Vec<(u32, usize, Quantity)> = Vec::with_capacity(64 * wanted.len().min(16));
        let mut had = vec![0; wanted.len()];
        for (need, of) in wanted.iter().enumerate() {
            let Some(key) = of.key else { continue };
            let taken = overlay.of_key(key);
            for (node, cell) in self.keys[key].cells.iter() {
                let mut free = cell.free();
                if free > 0 && !taken.is_empty() {
                    free -= taken.iter().find(|(other, _)| other == node).map_or(0, |(_, units)| *units);
                }
                if free > 0 && may(*node) && !self.is_fenced(*node) {
                    found.push((*node, need, free));
                    had[need] += free;
                }
            }
        }
        let mut nodes: Vec<u32> = found.iter().map(|(node, _, _)| *node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let mut available = vec![0; wanted.len() * nodes.len()];
        for (node, need, free) in found {
            let at = nodes.partition_point(|other| *other < node);
            available[need * nodes.len() + at] = free;
        }
        let needs = wanted
            .iter()
            .zip(had)
            .map(|(of, had)| Need { take: of.quantity.min(of.at_most).min(had).max(0), weight_grams: of.weight_grams });
        let needs = needs.collect();
        let nodes: Vec<(u32, i64)> =
            nodes.into_iter().map(|node| (node, kilometres(self.direction_of(node), to))).collect();
        let shippers = nodes.iter().map(|(node, distance_km)| {
            let mut shipper = shipper(&self.nodes[*node].fixed.costs, *distance_km);
            if ships_already.contains(node) {
                shipper.fixed = 0;
            }
            shipper
        });
        let shippers = shippers.collect();
        Candidates { problem: Problem { needs, nodes: shippers, available }, nodes }
    }

    /// The answer as the API tells it. Parts are rounded by node, the total is their sum.
    pub(crate) fn summary(
        &self,
        candidates: &Candidates,
        takes: &[Take],
        answer: &Answer,
        short: Quantity,
    ) -> SourcingSummary {
        let problem = &candidates.problem;
        let mut chosen: Vec<SourcingCost> = Vec::new();
        let mut total = 0i64;
        let mut used: Vec<usize> = takes.iter().map(|take| take.node).collect();
        used.sort_unstable();
        used.dedup();
        for local in used {
            let (node, distance_km) = &candidates.nodes[local];
            let (mut units, mut grams) = (0, 0i128);
            for take in takes.iter().filter(|take| take.node == local) {
                units += take.units;
                grams += i128::from(take.units) * i128::from(problem.needs[take.need].weight_grams);
            }
            let NodeCosts {
                handling_per_shipment_minor,
                handling_per_unit_minor,
                parcel_fixed_minor,
                parcel_per_kg_minor,
                parcel_per_kg_1000km_minor,
            } = self.nodes[*node].fixed.costs;
            let by_distance = grams * i128::from(*distance_km) * i128::from(parcel_per_kg_1000km_minor);
            let shipment = i128::from(parcel_fixed_minor)
                + i128::from(parcel_per_kg_minor) * started_kg(grams)
                + (by_distance + MICRO / 2) / MICRO;
            let handling =
                i128::from(handling_per_shipment_minor) + i128::from(handling_per_unit_minor) * i128::from(units);
            let (shipment_minor, handling_minor) = (saturate(shipment), saturate(handling));
            total = total.saturating_add(shipment_minor).saturating_add(handling_minor);
            let node = self.node_name(*node);
            chosen.push(SourcingCost { node, units, shipment_minor, handling_minor, distance_km: *distance_km });
        }
        SourcingSummary {
            chosen,
            total_minor: total,
            proven_optimal: answer.proven(),
            gap_ppm: answer.gap_ppm(),
            short_units: short,
            candidates: u32::try_from(candidates.nodes.len()).unwrap_or(u32::MAX),
        }
    }
}

fn saturate(cost: i128) -> i64 {
    i64::try_from(cost).unwrap_or(i64::MAX)
}

fn shipper(costs: &NodeCosts, distance_km: i64) -> Shipper {
    let NodeCosts {
        handling_per_shipment_minor,
        handling_per_unit_minor,
        parcel_fixed_minor,
        parcel_per_kg_minor,
        parcel_per_kg_1000km_minor,
    } = *costs;
    Shipper::new(
        (Cost::from(handling_per_shipment_minor) + Cost::from(parcel_fixed_minor)) * MICRO,
        Cost::from(parcel_per_kg_minor) * MICRO,
        // A gram over a kilometre is a millionth of a kilogram over 1,000 km.
        Cost::from(distance_km) * Cost::from(parcel_per_kg_1000km_minor),
        Cost::from(handling_per_unit_minor) * MICRO,
    )
}
