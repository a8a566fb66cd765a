//! From the state to a sourcing problem, and from its answer to promises.

use stockmesh_proto::common::v1::Place;
use stockmesh_proto::coordinator::v1::{NodeCosts, SourcingCost, SourcingSummary};
use stockmesh_types::Quantity;

use super::Overlay;
use super::atlas::{Found, Load};
use super::distance::{Direction, direction, kilometres};
use super::sourcing::{self, Answer, Cost, MICRO, Need, Problem, Shipper, Take, started_kg};
use crate::State;
use crate::records::Cell;

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
    /// Nodes whose cost was looked at. The others can't be part of a better answer.
    pub considered: usize,
}

/// Where wanted units may come from.
pub(crate) struct Offer<'a, M, L> {
    pub overlay: &'a Overlay,
    pub wanted: &'a [Wanted],
    pub ship_to: &'a Place,
    /// Which nodes are asked at all.
    pub may: M,
    /// Nodes that ship for the order anyway: one line more costs them no further shipment.
    pub ships: &'a [u32],
    /// Units of a node, by dense index, that are spoken for beyond the overlay.
    pub less: L,
}

/// Cells of a stock key up to which all of them are weighed up against each other. With more, those that are cheapest for
/// each need are, and the gap to a lower bound over all nodes is stated.
const WEIGHED: usize = 64;

/// Of a stock key with more cells: the cheapest that have all units of a need, and the cheapest that have any.
const HAVING_ALL: usize = 8;
const HAVING_ANY: usize = 16;

impl<M: Fn(u32) -> bool, L: Fn(u32) -> Quantity> Offer<'_, M, L> {
    /// Units of a need that a node can ship.
    fn available(&self, state: &State, need: usize, node: u32) -> Quantity {
        let Some(key) = self.wanted[need].key else { return 0 };
        let free = state.keys[key].cells.get_dense(node).map_or(0, Cell::free);
        if free <= 0 || !(self.may)(node) || state.is_fenced(node) {
            return 0;
        }
        (free - self.overlay.taken(key, node) - (self.less)(node)).max(0)
    }

    /// Units of a need to take: what is wanted, as far as it is there. Too many when nodes are left out that have some.
    fn take(&self, state: &State, need: usize) -> Quantity {
        let Wanted { key, quantity, at_most, weight_grams: _ } = self.wanted[need];
        let Some(key) = key else { return 0 };
        let wanted = quantity.min(at_most);
        let record = &state.keys[key];
        let taken = self.overlay.of_key(key);
        let mut had = state.free_of_key(record);
        if !taken.is_empty() && had - self.overlay.total(key) < wanted {
            // What is taken in flight may be gone already: it does not count twice.
            let gone = |(node, units): &(u32, Quantity)| {
                record.cells.get_dense(*node).map_or(0, |cell| cell.free().clamp(0, *units))
            };
            had -= taken.iter().map(gone).sum::<Quantity>();
        }
        wanted.min(had).max(0)
    }
}

impl State {
    pub(crate) fn direction_of(&self, node: u32) -> Direction {
        let record = &self.nodes[node];
        *record.direction.get_or_init(|| direction(&record.fixed.place))
    }

    /// The best answer for what is wanted, with the nodes that it was chosen from.
    ///
    /// Proven to be the optimum over all nodes when it is one shipment that two could not beat, or when no stock key has
    /// more than [`WEIGHED`] cells and the problem is of ordinary size. Otherwise its gap holds over all nodes.
    pub(crate) fn source<M: Fn(u32) -> bool, L: Fn(u32) -> Quantity>(
        &self,
        offer: &Offer<'_, M, L>,
    ) -> (Candidates, Answer) {
        let wanted = offer.wanted;
        let takes: Vec<Quantity> = (0..wanted.len()).map(|need| offer.take(self, need)).collect();
        if takes.iter().all(|take| *take == 0) {
            let nothing = self.problem(offer, &takes, Vec::new(), 0, Direction::default());
            let answer = sourcing::solve(&nothing.problem);
            return (nothing, answer);
        }
        let mut atlas = offer.overlay.atlas.borrow_mut();
        let view = atlas.seen_from(self, offer.ship_to);
        let load = |need: usize| Load {
            grams: i128::from(takes[need]) * i128::from(wanted[need].weight_grams),
            units: i128::from(takes[need]),
        };
        let whole = (0..wanted.len())
            .map(load)
            .fold(Load::default(), |sum, load| Load { grams: sum.grams + load.grams, units: sum.units + load.units });
        let has_all = |node: u32| {
            let needs = takes.iter().enumerate().filter(|(_, take)| **take > 0);
            needs.into_iter().all(|(need, take)| offer.available(self, need, node) >= *take)
        };
        let Found { best, looked_at } = view.cheapest(whole, offer.ships, has_all);
        let two_fixed = match offer.ships {
            [] => view.two_fixed,
            [_] => view.least_fixed,
            [_, _, ..] => 0,
        };
        let two_or_more = two_fixed + view.smooth_floor(whole);
        if let Some((node, cost)) = best.filter(|(_, cost)| *cost <= two_or_more) {
            let alone = self.problem(offer, &takes, vec![node], looked_at, view.to());
            let takes = takes.iter().enumerate().filter(|(_, take)| **take > 0);
            let takes = takes.map(|(need, units)| Take { need, node: 0, units: *units }).collect();
            return (alone, Answer { takes, cost, lower_bound: cost });
        }
        let keys = || wanted.iter().filter_map(|of| of.key).map(|key| &self.keys[key]);
        if keys().all(|key| key.cells.len() <= WEIGHED) {
            let all = self.all_nodes(offer, view.to());
            let answer = sourcing::solve(&all.problem);
            return (all, answer);
        }
        let mut few: Vec<u32> = best.iter().map(|(node, _)| *node).collect();
        few.extend(offer.ships);
        for (need, take) in takes.iter().enumerate().filter(|(_, take)| **take > 0) {
            few.extend(view.cheapest_few(load(need), HAVING_ALL, |node| offer.available(self, need, node) >= *take));
            few.extend(view.cheapest_few(load(need), HAVING_ANY, |node| offer.available(self, need, node) > 0));
        }
        few.sort_unstable();
        few.dedup();
        let considered = looked_at.max(few.len());
        let weighed = self.problem(offer, &takes, few, considered, view.to());
        let covered = |need: usize| {
            let nodes = 0..weighed.nodes.len();
            nodes.map(|node| weighed.problem.available(need, node)).sum::<Quantity>() >= takes[need]
        };
        if !(0..takes.len()).all(covered) {
            // Scattered over more nodes than were picked: all of them, however long it takes.
            let all = self.all_nodes(offer, view.to());
            let answer = sourcing::solve(&all.problem);
            return (all, answer);
        }
        let mut answer = sourcing::solve(&weighed.problem);
        // Shipments of one node were all looked at; no other answer is cheaper than this.
        answer.lower_bound = answer.lower_bound.min(two_or_more);
        (weighed, answer)
    }

    /// The problem with all nodes that have any of what is wanted.
    pub(super) fn all_nodes<M: Fn(u32) -> bool, L: Fn(u32) -> Quantity>(
        &self,
        offer: &Offer<'_, M, L>,
        to: Direction,
    ) -> Candidates {
        let keys = offer.wanted.iter().filter_map(|of| of.key).map(|key| &self.keys[key]);
        let mut nodes: Vec<u32> = keys.flat_map(|key| key.cells.iter()).map(|(node, _)| *node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|node| (0..offer.wanted.len()).any(|need| offer.available(self, need, *node) > 0));
        let had = |need: usize| nodes.iter().map(|node| offer.available(self, need, *node)).sum::<Quantity>();
        let takes: Vec<Quantity> = (0..offer.wanted.len())
            .map(|need| offer.wanted[need].quantity.min(offer.wanted[need].at_most).min(had(need)).max(0))
            .collect();
        let considered = nodes.len();
        self.problem(offer, &takes, nodes, considered, to)
    }

    /// The problem with these nodes.
    fn problem<M: Fn(u32) -> bool, L: Fn(u32) -> Quantity>(
        &self,
        offer: &Offer<'_, M, L>,
        takes: &[Quantity],
        nodes: Vec<u32>,
        considered: usize,
        to: Direction,
    ) -> Candidates {
        let wanted = offer.wanted.iter().zip(takes);
        let needs = wanted.map(|(of, take)| Need { take: *take, weight_grams: of.weight_grams }).collect();
        let needs_and_nodes = (0..offer.wanted.len()).flat_map(|need| nodes.iter().map(move |node| (need, *node)));
        let available = needs_and_nodes.map(|(need, node)| offer.available(self, need, node)).collect();
        let nodes: Vec<(u32, i64)> =
            nodes.into_iter().map(|node| (node, kilometres(self.direction_of(node), to))).collect();
        let shippers = nodes.iter().map(|(node, distance_km)| {
            let mut shipper = shipper(&self.nodes[*node].fixed.costs, *distance_km);
            if offer.ships.contains(node) {
                shipper.fixed = 0;
            }
            shipper
        });
        let shippers = shippers.collect();
        Candidates { problem: Problem { needs, nodes: shippers, available }, nodes, considered }
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
            candidates: u32::try_from(candidates.considered).unwrap_or(u32::MAX),
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
