//! The exact search: branch and bound over sets of nodes, then over units within a set.
//!
//! With started kilograms taken by the gram, lines decouple once the set of nodes is fixed: that bound prunes almost all
//! sets. What is left is settled unit by unit, with splitting a line over nodes and the steps of weight.

use stockmesh_types::Quantity;

use super::problem::{Answer, Cost, Problem, Take, started_kg};

/// Partial answers that one search looks at before it gives what it has, with its gap.
const EFFORT: u32 = 60_000;

/// The optimum, or the best answer within the effort; `None` when more than `max_nodes` remain after dropping those that
/// can't be part of a better answer.
pub(crate) fn solve(problem: &Problem, max_nodes: usize) -> Option<Answer> {
    let relaxed = problem.relaxed_over_all();
    let alone = problem.best_alone();
    // Most orders end here: no two nodes together can beat the best one alone.
    if let Some((node, cost)) = alone.filter(|(_, cost)| problem.two_fixed() + relaxed >= *cost) {
        return Some(Answer { takes: all_from(problem, node), cost, lower_bound: cost });
    }
    let nodes = candidates(problem, relaxed, alone.map(|(_, cost)| cost));
    if nodes.len() > max_nodes {
        return None;
    }
    let small = problem.only(&nodes);
    let mut search = Search::new(&small, alone.map(|(_, cost)| cost));
    let all = (1u32 << nodes.len()) - 1;
    search.sets(0, all, false);
    let takes = match (search.best_takes, alone) {
        (Some(takes), _) => takes.iter().map(|take| Take { node: nodes[take.node], ..*take }).collect(),
        (None, Some((node, _))) => all_from(problem, node),
        (None, None) => return None,
    };
    let cost = search.best;
    let floor = match alone {
        Some((_, cost)) => cost.min(problem.two_fixed() + relaxed),
        None => problem.two_fixed() + relaxed,
    };
    let lower_bound = if search.effort == 0 { floor.min(cost) } else { cost };
    Some(Answer { takes, cost, lower_bound })
}

fn all_from(problem: &Problem, node: usize) -> Vec<Take> {
    let takes = problem.needs.iter().enumerate().map(|(need, of)| Take { need, node, units: of.take });
    takes.filter(|take| take.units > 0).collect()
}

/// Nodes that may be part of an answer better than the best single one.
fn candidates(problem: &Problem, relaxed: Cost, best: Option<Cost>) -> Vec<usize> {
    let useful = |node: &usize| (0..problem.needs.len()).any(|need| problem.available(need, *node) > 0);
    let mut nodes: Vec<usize> = (0..problem.nodes.len()).filter(useful).collect();
    if let Some(best) = best {
        let two = problem.two_fixed();
        let cheapest = nodes.iter().map(|node| problem.nodes[*node].fixed).min().unwrap_or(0);
        nodes.retain(|node| (problem.nodes[*node].fixed + cheapest).max(two) + relaxed < best);
    }
    let dominated = |node: usize| {
        let better = |other: usize| {
            other != node
                && stands_in(problem, other, node)
                // Of two that can stand in for each other, the first stays.
                && (other < node || !stands_in(problem, node, other))
        };
        nodes.iter().any(|other| better(*other))
    };
    nodes.iter().copied().filter(|node| !dominated(*node)).collect()
}

/// Whatever `node` ships, `other` can ship at no more cost, on top of what it ships itself.
fn stands_in(problem: &Problem, other: usize, node: usize) -> bool {
    let (a, b) = (&problem.nodes[other], &problem.nodes[node]);
    let needs = || problem.needs.iter().enumerate().filter(|(need, _)| problem.available(*need, node) > 0);
    a.fixed <= b.fixed
        && a.per_started_kg <= b.per_started_kg
        && needs().all(|(need, of)| {
            problem.available(need, other) >= of.take && problem.unit_cost(need, other) <= problem.unit_cost(need, node)
        })
}

impl Problem {
    /// The same with some of the nodes.
    fn only(&self, nodes: &[usize]) -> Self {
        let needs = 0..self.needs.len();
        let available = needs.flat_map(|need| nodes.iter().map(move |node| self.available(need, *node))).collect();
        let shippers = nodes.iter().map(|node| self.nodes[*node].clone()).collect();
        Self { needs: self.needs.clone(), nodes: shippers, available }
    }
}

/// A search under way. Sets of nodes are bit masks.
struct Search<'a> {
    problem: &'a Problem,
    /// Nodes of each need by smooth cost, and by unit cost.
    order: Vec<Vec<usize>>,
    unit_order: Vec<Vec<usize>>,
    /// Started kilograms of everything in one parcel: parcels of any answer have no fewer.
    kg: i128,
    best: Cost,
    best_takes: Option<Vec<Take>>,
    effort: u32,
    /// The set whose units are placed, and the cheapest started kilogram in it.
    set: u32,
    cheapest_kg: Cost,
    /// Work space of the search over units.
    grams: Vec<i128>,
    takes: Vec<Take>,
    /// Needs in the order in which they are placed, and what those from each place on cost at least.
    sequence: Vec<usize>,
    smooth_rest: Vec<Cost>,
    unit_rest: Vec<Cost>,
}

impl<'a> Search<'a> {
    fn new(problem: &'a Problem, best: Option<Cost>) -> Self {
        Self {
            problem,
            order: problem.order_by(Problem::smooth_cost),
            unit_order: problem.order_by(Problem::unit_cost),
            kg: started_kg(problem.grams()),
            best: best.unwrap_or(Cost::MAX / 2),
            best_takes: None,
            effort: EFFORT,
            set: 0,
            cheapest_kg: 0,
            grams: vec![0; problem.nodes.len()],
            takes: Vec::new(),
            sequence: Vec::new(),
            smooth_rest: Vec::new(),
            unit_rest: Vec::new(),
        }
    }

    fn within(set: u32) -> impl Fn(&usize) -> bool {
        move |node| set & (1 << node) != 0
    }

    /// All sets that hold `chosen` and lie within `allowed`; `grown`: `chosen` was not looked at before.
    fn sets(&mut self, chosen: u32, allowed: u32, grown: bool) {
        if self.effort == 0 {
            return;
        }
        self.effort -= 1;
        let Some(smooth) = self.problem.relaxed(&self.order, |node| allowed & (1 << node) != 0) else { return };
        let fixed = self.fixed(chosen);
        let undecided = allowed & !chosen;
        let (further, next) = self.further(chosen, undecided);
        if fixed + further + smooth.max(self.by_kilogram(chosen, allowed)) >= self.best {
            return;
        }
        if grown && further == 0 && self.covers(chosen) {
            self.units_of(chosen, fixed);
        }
        // Any other set within `allowed` has at least one more node.
        if undecided == 0 || fixed + further.max(self.cheapest(undecided)) + smooth >= self.best {
            return;
        }
        let bit = 1 << next.unwrap_or_else(|| self.wanted(allowed, undecided));
        self.sets(chosen | bit, allowed, true);
        self.sets(chosen, allowed & !bit, false);
    }

    /// What the nodes cost at least, once each, that `chosen` needs to have enough; and the one that brings most for it.
    fn further(&self, chosen: u32, undecided: u32) -> (Cost, Option<usize>) {
        let problem = self.problem;
        let nodes = || (0..problem.nodes.len()).filter(Self::within(undecided));
        let mut brings = vec![0i64; problem.nodes.len()];
        let (mut missing, mut count) = (0, 0);
        for (need, of) in problem.needs.iter().enumerate() {
            let had = (0..problem.nodes.len()).filter(Self::within(chosen)).map(|node| problem.available(need, node));
            let short = of.take - had.sum::<Quantity>();
            if short <= 0 {
                continue;
            }
            missing += short;
            let mut units: Vec<Quantity> = nodes().map(|node| problem.available(need, node).min(short)).collect();
            nodes().zip(&units).for_each(|(node, units)| brings[node] += units);
            // No fewer nodes than the largest stocks of this need alone take.
            units.sort_unstable_by_key(|units| -units);
            let mut left = short;
            let fewest = units.iter().take_while(|units| {
                let more = left > 0;
                left -= **units;
                more
            });
            count = count.max(fewest.count());
        }
        if missing == 0 {
            return (0, None);
        }
        let mut costs: Vec<Cost> = nodes().map(|node| problem.nodes[node].fixed).collect();
        costs.sort_unstable();
        let by_count: Cost = costs.iter().take(count).sum();
        // The nodes that bring most for their cost, the last one in part: no set that has enough costs less.
        let mut ranked: Vec<usize> = nodes().filter(|node| brings[*node] > 0).collect();
        ranked.sort_by(|a, b| {
            let (a_cost, b_cost) = (problem.nodes[*a].fixed, problem.nodes[*b].fixed);
            (a_cost * Cost::from(brings[*b])).cmp(&(b_cost * Cost::from(brings[*a]))).then(a.cmp(b))
        });
        let (mut left, mut by_share) = (missing, 0);
        for node in &ranked {
            let units = left.min(brings[*node]);
            by_share += problem.nodes[*node].fixed * Cost::from(units) / Cost::from(brings[*node]);
            left -= units;
            if left == 0 {
                break;
            }
        }
        (by_count.max(by_share), ranked.first().copied())
    }

    fn nodes_of(&self, set: u32) -> impl Iterator<Item = &super::problem::Shipper> {
        let nodes = self.problem.nodes.iter().enumerate();
        nodes.filter(move |(node, _)| set & (1 << node) != 0).map(|(_, shipper)| shipper)
    }

    fn fixed(&self, set: u32) -> Cost {
        self.nodes_of(set).map(|shipper| shipper.fixed).sum()
    }

    fn cheapest(&self, set: u32) -> Cost {
        self.nodes_of(set).map(|shipper| shipper.fixed).min().unwrap_or(0)
    }

    /// What units and whole kilograms cost at least: each chosen node starts one, the rest goes by the cheapest.
    fn by_kilogram(&self, chosen: u32, allowed: u32) -> Cost {
        let of = |(need, nodes): (usize, &Vec<usize>)| {
            self.problem.fill(need, nodes.iter().copied().filter(Self::within(allowed)), Problem::unit_cost)
        };
        let units: Cost = self.unit_order.iter().enumerate().filter_map(of).sum();
        let first: Cost = self.nodes_of(chosen).map(|shipper| shipper.per_started_kg).sum();
        let cheapest = self.nodes_of(allowed).map(|shipper| shipper.per_started_kg).min().unwrap_or(0);
        units + first + (self.kg - i128::from(chosen.count_ones())).max(0) * cheapest
    }

    fn covers(&self, set: u32) -> bool {
        self.problem.needs.iter().enumerate().all(|(need, of)| {
            let nodes = (0..self.problem.nodes.len()).filter(Self::within(set));
            nodes.map(|node| self.problem.available(need, node)).sum::<Quantity>() >= of.take
        })
    }

    /// An undecided node, best one that the cheapest units of some need come from.
    fn wanted(&self, allowed: u32, undecided: u32) -> usize {
        let mut firsts = self.order.iter().filter_map(|nodes| nodes.iter().copied().find(Self::within(allowed)));
        let first = firsts.find(Self::within(undecided));
        first.unwrap_or(undecided.trailing_zeros() as usize)
    }

    /// The best answer that ships from every node of a set.
    fn units_of(&mut self, set: u32, fixed: Cost) {
        let problem = self.problem;
        let takes = problem.cheapest_first(&self.order, |node| set & (1 << node) != 0);
        self.offer(&takes);
        if set.count_ones() == 1 || fixed + self.by_kilogram(set, set) >= self.best {
            return;
        }
        self.set = set;
        self.cheapest_kg = self.nodes_of(set).map(|shipper| shipper.per_started_kg).min().unwrap_or(0);
        // Needs with the least freedom first, then the heaviest: bounds bite early.
        let freedom = |need: usize| {
            let nodes = (0..problem.nodes.len()).filter(Self::within(set));
            let had: Quantity = nodes.map(|node| problem.available(need, node).min(problem.needs[need].take)).sum();
            had - problem.needs[need].take
        };
        self.sequence.clear();
        self.sequence.extend((0..problem.needs.len()).filter(|need| problem.needs[*need].take > 0));
        self.sequence.sort_by_key(|need| (freedom(*need), -problem.needs[*need].weight_grams, *need));
        self.smooth_rest = vec![0; self.sequence.len() + 1];
        self.unit_rest = vec![0; self.sequence.len() + 1];
        for (place, need) in self.sequence.iter().copied().enumerate().rev() {
            let smooth = self.order[need].iter().copied().filter(Self::within(set));
            let unit = self.unit_order[need].iter().copied().filter(Self::within(set));
            // The set covers every need.
            let smooth = problem.fill(need, smooth, Problem::smooth_cost).unwrap_or(0);
            let unit = problem.fill(need, unit, Problem::unit_cost).unwrap_or(0);
            self.smooth_rest[place] = self.smooth_rest[place + 1] + smooth;
            self.unit_rest[place] = self.unit_rest[place + 1] + unit;
        }
        self.grams.iter_mut().for_each(|grams| *grams = 0);
        self.takes.clear();
        if let Some(need) = self.sequence.first() {
            self.place(0, 0, problem.needs[*need].take, fixed, fixed);
        }
    }

    /// What the parcels cost at least: those started so far, one kilogram for each node of the set that has none yet,
    /// and as many more as all goods together take.
    fn parcels(&self) -> Cost {
        let (mut cost, mut kg) = (0, 0);
        for (node, shipper) in self.problem.nodes.iter().enumerate() {
            if self.set & (1 << node) != 0 {
                let started = started_kg(self.grams[node]).max(1);
                kg += started;
                cost += started * shipper.per_started_kg;
            }
        }
        cost + (self.kg - kg).max(0) * self.cheapest_kg
    }

    /// Places `left` units of the need at `place` in the sequence, from the `at`-th node of its order on.
    /// `smooth` and `units` are what is placed so far costs: with kilograms by the gram, and without them.
    fn place(&mut self, place: usize, at: usize, left: Quantity, smooth: Cost, units: Cost) {
        if self.effort == 0 {
            return;
        }
        self.effort -= 1;
        let problem = self.problem;
        if left == 0 {
            let floor = (smooth + self.smooth_rest[place + 1]).max(units + self.parcels() + self.unit_rest[place + 1]);
            if floor >= self.best {
                return;
            }
            match self.sequence.get(place + 1) {
                Some(need) => self.place(place + 1, 0, problem.needs[*need].take, smooth, units),
                None => {
                    let takes = std::mem::take(&mut self.takes);
                    self.offer(&takes);
                    self.takes = takes;
                }
            }
            return;
        }
        let need = self.sequence[place];
        let within = Self::within(self.set);
        let Some(node) = self.order[need].get(at).copied() else { return };
        if !within(&node) {
            return self.place(place, at + 1, left, smooth, units);
        }
        let after = || self.order[need][at + 1..].iter().copied().filter(&within);
        let later: Quantity = after().map(|node| problem.available(need, node)).sum();
        // What the units cost at least that are left for later nodes.
        let next_smooth = after().next().map_or(0, |node| problem.smooth_cost(need, node));
        let weight = i128::from(problem.needs[need].weight_grams);
        let (smooth_unit, unit) = (problem.smooth_cost(need, node), problem.unit_cost(need, node));
        let (most, least) = (left.min(problem.available(need, node)), (left - later).max(0));
        for take in (least..=most).rev() {
            let rest = Cost::from(left - take) * next_smooth;
            let smooth_now = smooth + Cost::from(take) * smooth_unit;
            // Fewer units here means more at a node that costs at least as much: it only gets worse.
            if smooth_now + rest + self.smooth_rest[place + 1] >= self.best || self.effort == 0 {
                return;
            }
            self.grams[node] += i128::from(take) * weight;
            if take > 0 {
                self.takes.push(Take { need, node, units: take });
            }
            self.place(place, at + 1, left - take, smooth_now, units + Cost::from(take) * unit);
            if take > 0 {
                self.takes.pop();
            }
            self.grams[node] -= i128::from(take) * weight;
        }
    }

    fn offer(&mut self, takes: &[Take]) {
        let cost = self.problem.cost(takes);
        if cost < self.best {
            self.best = cost;
            let mut takes: Vec<Take> = takes.to_vec();
            takes.sort_unstable_by_key(|take| (take.need, take.node));
            self.best_takes = Some(takes);
        }
    }
}
