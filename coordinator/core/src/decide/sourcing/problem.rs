//! A sourcing problem, and what any answer to it costs.

use stockmesh_types::Quantity;

/// Millionths of a minor unit: every product of integer rates, grams and kilometres is exact.
pub(crate) type Cost = i128;

/// Millionths in a minor unit.
pub(crate) const MICRO: Cost = 1_000_000;

/// Units of one stock key that are wanted and can be had.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    /// Units to take, at most what is available over all nodes: then every answer takes all of them.
    pub take: Quantity,
    pub weight_grams: i64,
}

/// A node that may ship: what it costs.
#[derive(Clone, Debug)]
pub(crate) struct Shipper {
    /// Once, when it ships anything.
    pub fixed: Cost,
    /// For each started kilogram of its parcel.
    pub per_started_kg: Cost,
    /// For each gram of its parcel: distance.
    pub per_gram: Cost,
    /// The same with a thousandth of a started kilogram, rounded down.
    pub smooth_per_gram: Cost,
    /// For each unit.
    pub per_unit: Cost,
}

impl Shipper {
    /// From its rates.
    pub fn new(fixed: Cost, per_started_kg: Cost, per_gram: Cost, per_unit: Cost) -> Self {
        Self { fixed, per_started_kg, per_gram, smooth_per_gram: per_gram + per_started_kg / 1_000, per_unit }
    }
}

/// What is wanted, from where it can come.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub needs: Vec<Need>,
    pub nodes: Vec<Shipper>,
    /// Units available, by need, then node.
    pub available: Vec<Quantity>,
}

/// Units of a need taken from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Take {
    pub need: usize,
    pub node: usize,
    pub units: Quantity,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// By need, then node; no empty ones.
    pub takes: Vec<Take>,
    pub cost: Cost,
    /// No answer costs less.
    pub lower_bound: Cost,
}

impl Answer {
    /// Nothing costs less.
    pub fn proven(&self) -> bool {
        self.cost <= self.lower_bound
    }

    /// Upper bound on (cost - lower bound) / lower bound.
    pub fn gap_ppm(&self) -> i64 {
        let gap = (self.cost - self.lower_bound).max(0);
        if gap == 0 {
            return 0;
        }
        // A gap above nothing is as large as can be said.
        i64::try_from(gap * 1_000_000 / self.lower_bound.max(1)).unwrap_or(i64::MAX)
    }
}

/// Grams as started kilograms.
pub(crate) fn started_kg(grams: i128) -> i128 {
    // Nearly always within 64 bits, where division is quick.
    match u64::try_from(grams) {
        Ok(grams) => i128::from(grams.div_ceil(1_000)),
        Err(_) => (grams + 999).div_euclid(1_000),
    }
}

impl Problem {
    pub fn available(&self, need: usize, node: usize) -> Quantity {
        self.available[need * self.nodes.len() + node]
    }

    /// Cost of one unit of a need at a node, but for the fixed part and the started kilograms.
    pub fn unit_cost(&self, need: usize, node: usize) -> Cost {
        let node = &self.nodes[node];
        Cost::from(self.needs[need].weight_grams) * node.per_gram + node.per_unit
    }

    /// The same with started kilograms taken as if they could be bought by the gram: never more than they cost.
    pub fn smooth_cost(&self, need: usize, node: usize) -> Cost {
        let node = &self.nodes[node];
        Cost::from(self.needs[need].weight_grams) * node.smooth_per_gram + node.per_unit
    }

    /// What taking so costs.
    pub fn cost(&self, takes: &[Take]) -> Cost {
        let mut grams = vec![0i128; self.nodes.len()];
        let mut used = vec![false; self.nodes.len()];
        let mut cost = 0;
        for Take { need, node, units } in takes {
            grams[*node] += i128::from(*units) * i128::from(self.needs[*need].weight_grams);
            used[*node] |= *units > 0;
            cost += Cost::from(*units) * self.unit_cost(*need, *node);
        }
        for (node, shipper) in self.nodes.iter().enumerate().filter(|(node, _)| used[*node]) {
            cost += shipper.fixed + shipper.per_started_kg * started_kg(grams[node]);
        }
        cost
    }

    /// Nodes by what a unit costs there, for each need; only those that have any of it.
    pub fn order_by(&self, cost: impl Fn(&Self, usize, usize) -> Cost) -> Vec<Vec<usize>> {
        let order = |need: usize| {
            let mut nodes: Vec<usize> = (0..self.nodes.len()).filter(|node| self.available(need, *node) > 0).collect();
            nodes.sort_by_cached_key(|node| (cost(self, need, *node), *node));
            nodes
        };
        (0..self.needs.len()).map(order).collect()
    }

    /// What a need costs when it takes the units of the nodes in the order given; `None` when they do not have enough.
    pub fn fill(
        &self,
        need: usize,
        nodes: impl Iterator<Item = usize>,
        cost: impl Fn(&Self, usize, usize) -> Cost,
    ) -> Option<Cost> {
        let (mut left, mut sum) = (self.needs[need].take, 0);
        for node in nodes {
            if left == 0 {
                break;
            }
            let units = left.min(self.available(need, node));
            sum += Cost::from(units) * cost(self, need, node);
            left -= units;
        }
        (left == 0).then_some(sum)
    }

    /// The smooth cost of all needs when each takes the cheapest units first, from the nodes that `may` allows; `None`
    /// when they do not have enough.
    pub fn relaxed(&self, order: &[Vec<usize>], may: impl Fn(usize) -> bool) -> Option<Cost> {
        let may = &may;
        let of = |(need, nodes): (usize, &Vec<usize>)| {
            self.fill(need, nodes.iter().copied().filter(|node| may(*node)), Self::smooth_cost)
        };
        order.iter().enumerate().map(of).sum()
    }

    /// Grams of everything that is taken.
    pub fn grams(&self) -> i128 {
        self.needs.iter().map(|need| i128::from(need.take) * i128::from(need.weight_grams)).sum()
    }

    /// [`Problem::relaxed`] over all nodes, without sorting them where one look is enough.
    pub fn relaxed_over_all(&self) -> Cost {
        let of = |need: usize| {
            let having = (0..self.nodes.len()).filter(|node| self.available(need, *node) > 0);
            let priced = having.map(|node| (self.smooth_cost(need, node), node));
            let take = self.needs[need].take;
            match priced.clone().min() {
                Some((cost, node)) if self.available(need, node) >= take => return Cost::from(take) * cost,
                Some(_) | None => {}
            }
            let mut costs: Vec<(Cost, usize)> = priced.collect();
            costs.sort_unstable();
            let (mut left, mut sum) = (take, 0);
            for (cost, node) in costs {
                let units = left.min(self.available(need, node));
                sum += Cost::from(units) * cost;
                left -= units;
            }
            sum
        };
        (0..self.needs.len()).map(of).sum()
    }

    /// The takes of [`Problem::relaxed`].
    pub fn cheapest_first(&self, order: &[Vec<usize>], may: impl Fn(usize) -> bool) -> Vec<Take> {
        let mut takes = Vec::with_capacity(self.needs.len());
        for (need, nodes) in order.iter().enumerate() {
            let mut left = self.needs[need].take;
            for node in nodes.iter().copied().filter(|node| may(*node)) {
                if left == 0 {
                    break;
                }
                let units = left.min(self.available(need, node));
                takes.push(Take { need, node, units });
                left -= units;
            }
        }
        takes
    }

    /// The cheapest node that can ship everything alone, with its cost.
    pub fn best_alone(&self) -> Option<(usize, Cost)> {
        let can = |node: &usize| (0..self.needs.len()).all(|need| self.available(need, *node) >= self.needs[need].take);
        let cost = |node: usize| {
            let shipper = &self.nodes[node];
            let (mut grams, mut cost) = (0i128, shipper.fixed);
            for need in &self.needs {
                grams += i128::from(need.take) * i128::from(need.weight_grams);
                cost += Cost::from(need.take) * shipper.per_unit;
            }
            cost + grams * shipper.per_gram + shipper.per_started_kg * started_kg(grams)
        };
        (0..self.nodes.len()).filter(can).map(|node| (node, cost(node))).min_by_key(|(node, cost)| (*cost, *node))
    }

    /// The fixed costs of the two cheapest nodes together: what any answer with two nodes or more costs at least.
    pub fn two_fixed(&self) -> Cost {
        let (mut first, mut second) = (Cost::MAX / 4, Cost::MAX / 4);
        for node in &self.nodes {
            if node.fixed < first {
                second = first;
                first = node.fixed;
            } else if node.fixed < second {
                second = node.fixed;
            }
        }
        first + second
    }
}
