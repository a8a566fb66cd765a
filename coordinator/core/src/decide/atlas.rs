//! Which nodes are cheap from where: so that an order looks at a few nodes, however many there are.
//!
//! The earth is cut into regions of a degree or two. For each region that orders come from, nodes stand in the order of
//! what a small parcel costs from there, in blocks, each with a floor under the rates of its nodes and of all that follow.
//! A search goes through the blocks and ends where the floor of the rest is above what it has: what it did not look at
//! can't be cheaper, that is proven and not assumed.
//!
//! At most [`MAX_BYTES`] of regions are kept; the one used longest ago goes first. Only the leader's decisions look here.
//! Must not know: stock, orders in flight.

use std::collections::BTreeMap;

use stockmesh_proto::common::v1::Place;
use stockmesh_proto::coordinator::v1::NodeCosts;

use super::distance::{Direction, RADIUS_KM, direction, kilometres};
use super::sourcing::{Cost, MICRO, started_kg};
use crate::State;

/// Nodes of a block.
const BLOCK: usize = 16;

/// Memory that regions may take together.
const MAX_BYTES: usize = 64 << 20;

/// Nodes from which on regions are two degrees wide: fewer of them, for fewer to be worked out.
const MANY_NODES: usize = 1_000;

/// Grams and units of the parcel that nodes are put in order by.
const USUAL_GRAMS: f64 = 1_000.0;
const USUAL_UNITS: f64 = 2.0;

/// Kilometres that rounding may take off a distance, and the last bits of floats.
const SLACK_KM: f64 = 1.0;

/// Rates of a node, in minor units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    costs: NodeCosts,
    direction: Direction,
}

/// A parcel, or several that one node might ship.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub grams: i128,
    pub units: i128,
}

impl Rates {
    /// What the node takes for being part of an answer at all, millionths of a minor unit.
    pub fn fixed(&self) -> Cost {
        (Cost::from(self.costs.handling_per_shipment_minor) + Cost::from(self.costs.parcel_fixed_minor)) * MICRO
    }

    /// What the node takes for a whole load, one parcel.
    pub fn alone(&self, to: Direction, load: Load, fixed: Cost) -> Cost {
        let Load { grams, units } = load;
        let by_distance = grams * i128::from(kilometres(self.direction, to));
        fixed
            + Cost::from(self.costs.parcel_per_kg_minor) * started_kg(grams) * MICRO
            + by_distance * Cost::from(self.costs.parcel_per_kg_1000km_minor)
            + units * Cost::from(self.costs.handling_per_unit_minor) * MICRO
    }

    /// At most what [`Rates::alone`] gives, and quick: a straight line through the earth is never longer than the way
    /// around it.
    fn below(&self, to: Direction, load: &FloatLoad) -> f64 {
        let chord_squared: f64 = self.direction.iter().zip(to).map(|(x, y)| (x - y) * (x - y)).sum();
        let km = (RADIUS_KM * chord_squared.sqrt() - SLACK_KM).max(0.0);
        Floor::of(&self.costs, km).cost(load)
    }
}

/// A load in floats, for floors.
#[derive(Clone, Copy, Debug)]
struct FloatLoad {
    grams: f64,
    kg: f64,
    units: f64,
}

impl FloatLoad {
    #[allow(clippy::cast_precision_loss)]
    fn of(load: Load) -> Self {
        Self { grams: load.grams as f64, kg: started_kg(load.grams) as f64, units: load.units as f64 }
    }
}

/// A floor under the rates of some nodes, millionths of a minor unit.
#[derive(Clone, Copy, Debug)]
struct Floor {
    fixed: f64,
    per_kg: f64,
    per_gram: f64,
    per_unit: f64,
}

impl Floor {
    const NOTHING: Self =
        Self { fixed: f64::INFINITY, per_kg: f64::INFINITY, per_gram: f64::INFINITY, per_unit: f64::INFINITY };

    #[allow(clippy::cast_precision_loss)]
    fn of(costs: &NodeCosts, km: f64) -> Self {
        let minor = |amount: i64| amount as f64 * 1e6;
        Self {
            fixed: minor(costs.handling_per_shipment_minor) + minor(costs.parcel_fixed_minor),
            per_kg: minor(costs.parcel_per_kg_minor),
            per_gram: km * costs.parcel_per_kg_1000km_minor as f64,
            per_unit: minor(costs.handling_per_unit_minor),
        }
    }

    fn lower(self, other: Self) -> Self {
        Self {
            fixed: self.fixed.min(other.fixed),
            per_kg: self.per_kg.min(other.per_kg),
            per_gram: self.per_gram.min(other.per_gram),
            per_unit: self.per_unit.min(other.per_unit),
        }
    }

    /// A load costs at least this at any of the nodes. A little less than the sum, for the last bits of floats.
    fn cost(&self, load: &FloatLoad) -> f64 {
        let sum = self.fixed + self.per_kg * load.kg + self.per_gram * load.grams + self.per_unit * load.units;
        sum * (1.0 - 1e-9) - 1.0
    }

    /// The same but for the fixed part, and with kilograms by the gram.
    fn smooth(&self, load: &FloatLoad) -> f64 {
        let per_gram = self.per_gram + (self.per_kg / 1_000.0).floor();
        let sum = per_gram * load.grams + self.per_unit * load.units;
        (sum * (1.0 - 1e-9) - 1.0).max(0.0)
    }
}

/// Nodes in the order of what they cost from somewhere.
#[derive(Clone, Debug)]
struct Region {
    /// Dense indices.
    nodes: Vec<u32>,
    /// Under each block, and under it and all that follow.
    blocks: Vec<(Floor, Floor)>,
    /// When it was used last, by count of uses.
    used: u64,
}

/// Regions, as far as orders came from there.
#[derive(Clone, Debug, Default)]
pub(super) struct Atlas {
    nodes: Vec<Rates>,
    /// The two lowest fixed costs of all nodes, together.
    two_fixed: Cost,
    least_fixed: Cost,
    regions: BTreeMap<(i32, i32), Region>,
    uses: u64,
}

impl Atlas {
    /// The nodes as seen from a place. Nodes only join, and keep their place and costs.
    pub fn seen_from<'a>(&'a mut self, state: &State, place: &Place) -> View<'a> {
        if self.nodes.len() != state.nodes.len() {
            self.read(state);
        }
        let width = if self.nodes.len() > MANY_NODES { 2 } else { 1 };
        let cell = |e7: i32| e7.div_euclid(width * 10_000_000);
        let at = (cell(place.latitude_e7), cell(place.longitude_e7));
        self.uses += 1;
        if !self.regions.contains_key(&at) {
            self.make_room();
            let region = Region::of(&self.nodes, at, width);
            self.regions.insert(at, region);
        }
        let Self { nodes, two_fixed, least_fixed, regions, uses } = self;
        // It was made above when it was not there.
        let region = regions.entry(at).or_insert_with(|| Region::of(nodes, at, width));
        region.used = *uses;
        View { nodes, region, to: direction(place), two_fixed: *two_fixed, least_fixed: *least_fixed }
    }

    fn read(&mut self, state: &State) {
        self.regions.clear();
        let rates = (0..).zip(state.nodes.iter());
        let rates =
            rates.map(|(node, record)| Rates { costs: record.fixed.costs, direction: state.direction_of(node) });
        self.nodes = rates.collect();
        let mut fixed: Vec<Cost> = self.nodes.iter().map(Rates::fixed).collect();
        fixed.sort_unstable();
        self.least_fixed = fixed.first().copied().unwrap_or(0);
        self.two_fixed = fixed.iter().take(2).sum();
    }

    fn make_room(&mut self) {
        let bytes = self.nodes.len() * 4 + self.nodes.len().div_ceil(BLOCK) * size_of::<(Floor, Floor)>() + 100;
        if self.regions.len() < (MAX_BYTES / bytes).max(1) {
            return;
        }
        let oldest = self.regions.iter().min_by_key(|(_, region)| region.used).map(|(at, _)| *at);
        oldest.and_then(|at| self.regions.remove(&at));
    }
}

impl Region {
    fn of(rates: &[Rates], at: (i32, i32), width: i32) -> Self {
        let corner = |latitude: i32, longitude: i32| {
            let e7 = |degrees: i32, most: i32| (degrees * width).clamp(-most, most) * 10_000_000;
            direction(&Place { latitude_e7: e7(latitude, 90), longitude_e7: e7(longitude, 180), ..Place::default() })
        };
        let corners = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(north, east)| corner(at.0 + north, at.1 + east));
        let sum = corners.iter().fold([0.0; 3], |sum, corner| [0, 1, 2].map(|n| sum[n] + corner[n]));
        let length = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
        let centre: Direction = sum.map(|x| x / length);
        let radius = corners.iter().map(|corner| kilometres(centre, *corner)).max().unwrap_or(0);
        let floor = |node: &Rates| {
            // No place of the region is nearer. A side of it bulges out beyond its corners by less than 2 km.
            let km = kilometres(node.direction, centre) - radius - 3;
            #[allow(clippy::cast_precision_loss)]
            Floor::of(&node.costs, km.max(0) as f64)
        };
        let usual = FloatLoad { grams: USUAL_GRAMS, kg: 1.0, units: USUAL_UNITS };
        let mut nodes: Vec<(f64, u32, Floor)> = (0..)
            .zip(rates)
            .map(|(node, rates)| {
                let floor = floor(rates);
                (floor.cost(&usual), node, floor)
            })
            .collect();
        nodes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let under =
            |block: &[(f64, u32, Floor)]| block.iter().fold(Floor::NOTHING, |low, (_, _, floor)| low.lower(*floor));
        let mut blocks: Vec<(Floor, Floor)> = nodes.chunks(BLOCK).map(|block| (under(block), under(block))).collect();
        let mut rest = Floor::NOTHING;
        for (_, from_here) in blocks.iter_mut().rev() {
            rest = rest.lower(*from_here);
            *from_here = rest;
        }
        Self { nodes: nodes.into_iter().map(|(_, node, _)| node).collect(), blocks, used: 0 }
    }
}

/// The nodes as seen from a place.
pub(super) struct View<'a> {
    nodes: &'a [Rates],
    region: &'a Region,
    to: Direction,
    /// What any answer with two nodes or more takes for them at least.
    pub two_fixed: Cost,
    /// The least that one takes.
    pub least_fixed: Cost,
}

/// The cheapest node for a load, and how many nodes were looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub best: Option<(u32, Cost)>,
    pub looked_at: usize,
}

impl View<'_> {
    /// Where it is seen from.
    pub fn to(&self) -> Direction {
        self.to
    }

    /// The cheapest node for a load, of those that `can` ship it; the first by index of those that cost the same.
    /// Nodes in `paid` take nothing fixed.
    pub fn cheapest(&self, load: Load, paid: &[u32], can: impl Fn(u32) -> bool) -> Found {
        let mut found = Found::default();
        let offer = |node: u32, cost: Cost, found: &mut Found| {
            if found.best.is_none_or(|(other, least)| (cost, node) < (least, other)) && can(node) {
                found.best = Some((node, cost));
            }
        };
        for node in paid {
            found.looked_at += 1;
            offer(*node, self.nodes[*node as usize].alone(self.to, load, 0), &mut found);
        }
        let floats = FloatLoad::of(load);
        for (block, (here, rest)) in self.region.nodes.chunks(BLOCK).zip(&self.region.blocks) {
            let least = limit(&found);
            if rest.cost(&floats) > least {
                break;
            }
            if here.cost(&floats) > least {
                continue;
            }
            for node in block {
                let rates = &self.nodes[*node as usize];
                found.looked_at += 1;
                if rates.below(self.to, &floats) > limit(&found) || paid.contains(node) {
                    continue;
                }
                offer(*node, rates.alone(self.to, load, rates.fixed()), &mut found);
            }
        }
        found
    }

    /// Up to `limit` nodes, those that a load costs least at, of those that `can` ship some of it; cheapest first.
    pub fn cheapest_few(&self, load: Load, limit: usize, can: impl Fn(u32) -> bool) -> Vec<u32> {
        // Sorted, the dearest last.
        let mut few: Vec<(Cost, u32)> = Vec::with_capacity(limit + 1);
        let floats = FloatLoad::of(load);
        for (block, (here, rest)) in self.region.nodes.chunks(BLOCK).zip(&self.region.blocks) {
            let worst = |few: &Vec<(Cost, u32)>| match few.last() {
                #[allow(clippy::cast_precision_loss)]
                Some((cost, _)) if few.len() >= limit => *cost as f64,
                Some(_) | None => f64::INFINITY,
            };
            if rest.cost(&floats) > worst(&few) {
                break;
            }
            if here.cost(&floats) > worst(&few) {
                continue;
            }
            for node in block {
                let rates = &self.nodes[*node as usize];
                if rates.below(self.to, &floats) > worst(&few) || !can(*node) {
                    continue;
                }
                let cost = rates.alone(self.to, load, rates.fixed());
                let place = few.partition_point(|other| *other < (cost, *node));
                few.insert(place, (cost, *node));
                few.truncate(limit);
            }
        }
        few.into_iter().map(|(_, node)| node).collect()
    }

    /// What a load costs at least, but for what nodes take once: whichever nodes ship it, in however many parcels.
    pub fn smooth_floor(&self, load: Load) -> Cost {
        let under_all = self.region.blocks.first().map_or(Floor::NOTHING, |(_, rest)| *rest);
        let floor = under_all.smooth(&FloatLoad::of(load));
        // Beyond any real cost when there are no nodes: nothing can be had then.
        #[allow(clippy::cast_possible_truncation)]
        let floor = if floor.is_finite() { floor as Cost } else { 0 };
        floor
    }
}

#[allow(clippy::cast_precision_loss)]
fn limit(found: &Found) -> f64 {
    found.best.map_or(f64::INFINITY, |(_, cost)| cost as f64)
}
