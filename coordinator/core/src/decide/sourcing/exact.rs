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
    order: Vec<Vec<usize>>,
    best: Cost,
    best_takes: Option<Vec<Take>>,
    effort: u32,
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
            order: problem.by_smooth_cost(),
            best: best.unwrap_or(Cost::MAX / 2),
            best_takes: None,
            effort: EFFORT,
            grams: vec![0; problem.nodes.len()],
            takes: Vec::new(),
            sequence: Vec::new(),
            smooth_rest: Vec::new(),
            unit_rest: Vec::new(),
        }
    }

    /// All sets that hold `chosen` and lie within `allowed`; `grown`: `chosen` was not looked at before.
    fn sets(&mut self, chosen: u32, allowed: u32, grown: bool) {
        if self.effort == 0 {
            return;
        }
        self.effort -= 1;
        let Some(smooth) = self.problem.relaxed(&self.order, |node| allowed & (1 << node) != 0) else { return };
        let fixed = self.fixed(chosen);
        if fixed + smooth >= self.best {
            return;
        }
        if grown && self.covers(chosen) {
            self.units_of(chosen, fixed);
        }
        // Any other set within `allowed` has at least one more node.
        let undecided = allowed & !chosen;
        if undecided == 0 || fixed + self.cheapest(undecided) + smooth >= self.best {
            return;
        }
        // First a node that the cheapest units come from.
        let wanted = undecided & self.wanted(allowed);
        let next = if wanted != 0 { wanted } else { undecided };
        let bit = 1 << next.trailing_zeros();
        self.sets(chosen | bit, allowed, true);
        self.sets(chosen, allowed & !bit, false);
    }

    fn fixed(&self, set: u32) -> Cost {
        let nodes = self.problem.nodes.iter().enumerate();
        nodes.filter(|(node, _)| set & (1 << node) != 0).map(|(_, shipper)| shipper.fixed).sum()
    }

    fn cheapest(&self, set: u32) -> Cost {
        let nodes = self.problem.nodes.iter().enumerate();
        nodes.filter(|(node, _)| set & (1 << node) != 0).map(|(_, shipper)| shipper.fixed).min().unwrap_or(0)
    }

    fn covers(&self, set: u32) -> bool {
        self.problem.needs.iter().enumerate().all(|(need, of)| {
            let nodes = (0..self.problem.nodes.len()).filter(|node| set & (1 << node) != 0);
            nodes.map(|node| self.problem.available(need, node)).sum::<Quantity>() >= of.take
        })
    }

    /// Nodes of a set that hold the cheapest units of some need.
    fn wanted(&self, set: u32) -> u32 {
        let firsts = self.order.iter().filter_map(|nodes| nodes.iter().find(|node| set & (1 << **node) != 0));
        firsts.fold(0, |wanted, node| wanted | (1 << node))
    }

    /// The best answer that ships from the nodes of a set.
    fn units_of(&mut self, set: u32, fixed: Cost) {
        let problem = self.problem;
        let takes = problem.cheapest_first(&self.order, |node| set & (1 << node) != 0);
        self.offer(&takes);
        if set.count_ones() == 1 {
            return;
        }
        // Needs with the least freedom first, then the heaviest: bounds bite early.
        let freedom = |need: usize| {
            let nodes = (0..problem.nodes.len()).filter(|node| set & (1 << node) != 0);
            let had: Quantity = nodes.map(|node| problem.available(need, node).min(problem.needs[need].take)).sum();
            had - problem.needs[need].take
        };
        self.sequence.clear();
        self.sequence.extend(0..problem.needs.len());
        self.sequence.sort_by_key(|need| (freedom(*need), -problem.needs[*need].weight_grams, *need));
        self.smooth_rest = vec![0; self.sequence.len() + 1];
        self.unit_rest = vec![0; self.sequence.len() + 1];
        for (place, need) in self.sequence.iter().copied().enumerate().rev() {
            let (smooth, unit) = self.floors(need, set);
            self.smooth_rest[place] = self.smooth_rest[place + 1] + smooth;
            self.unit_rest[place] = self.unit_rest[place + 1] + unit;
        }
        self.grams.iter_mut().for_each(|grams| *grams = 0);
        self.takes.clear();
        let left = problem.needs[self.sequence[0]].take;
        self.place(set, 0, 0, left, fixed, fixed);
    }

    /// What a need costs at least within a set: by smooth cost, and by unit cost alone.
    fn floors(&self, need: usize, set: u32) -> (Cost, Cost) {
        let problem = self.problem;
        let within = |node: &usize| set & (1 << node) != 0;
        let sum = |nodes: &mut dyn Iterator<Item = usize>, cost: &dyn Fn(usize) -> Cost| {
            let (mut left, mut total) = (problem.needs[need].take, 0);
            for node in nodes {
                let units = left.min(problem.available(need, node));
                total += Cost::from(units) * cost(node);
                left -= units;
            }
            total
        };
        let mut smooth_order = self.order[need].iter().copied().filter(within);
        let smooth = sum(&mut smooth_order, &|node| problem.smooth_cost(need, node));
        let mut by_unit: Vec<usize> = self.order[need].iter().copied().filter(within).collect();
        by_unit.sort_by_key(|node| problem.unit_cost(need, *node));
        let unit = sum(&mut by_unit.into_iter(), &|node| problem.unit_cost(need, node));
        (smooth, unit)
    }

    /// Places `left` units of the need at `place` in the sequence, from the `at`-th node of its order on.
    /// `smooth` and `units` are what is placed so far costs: with kilograms by the gram, and without them.
    fn place(&mut self, set: u32, place: usize, at: usize, left: Quantity, smooth: Cost, units: Cost) {
        if self.effort == 0 {
            return;
        }
        self.effort -= 1;
        let problem = self.problem;
        if left == 0 {
            let steps: Cost = (0..problem.nodes.len())
                .map(|node| problem.nodes[node].per_started_kg * started_kg(self.grams[node]))
                .sum();
            let floor = (smooth + self.smooth_rest[place + 1]).max(units + steps + self.unit_rest[place + 1]);
            if floor >= self.best {
                return;
            }
            match self.sequence.get(place + 1) {
                Some(need) => self.place(set, place + 1, 0, problem.needs[*need].take, smooth, units),
                None => {
                    let takes = std::mem::take(&mut self.takes);
                    self.offer(&takes);
                    self.takes = takes;
                }
            }
            return;
        }
        let need = self.sequence[place];
        let Some(node) = self.order[need].get(at).copied() else { return };
        if set & (1 << node) == 0 {
            return self.place(set, place, at + 1, left, smooth, units);
        }
        let later: Quantity = self.order[need][at + 1..]
            .iter()
            .filter(|node| set & (1 << **node) != 0)
            .map(|node| problem.available(need, *node))
            .sum();
        let weight = i128::from(problem.needs[need].weight_grams);
        let (smooth_unit, unit) = (problem.smooth_cost(need, node), problem.unit_cost(need, node));
        // What the units cost at least that are left for later nodes.
        let next = self.order[need][at + 1..].iter().find(|node| set & (1 << **node) != 0);
        let next_smooth = next.map_or(0, |node| problem.smooth_cost(need, *node));
        let (most, least) = (left.min(problem.available(need, node)), (left - later).max(0));
        let mut take = most;
        while take >= least {
            let rest = Cost::from(left - take) * next_smooth;
            let smooth_now = smooth + Cost::from(take) * smooth_unit;
            // Fewer units here means more at a node that costs at least as much: it only gets worse.
            if smooth_now + rest + self.smooth_rest[place + 1] >= self.best {
                return;
            }
            self.grams[node] += i128::from(take) * weight;
            if take > 0 {
                self.takes.push(Take { need, node, units: take });
            }
            self.place(set, place, at + 1, left - take, smooth_now, units + Cost::from(take) * unit);
            if take > 0 {
                self.takes.pop();
            }
            self.grams[node] -= i128::from(take) * weight;
            if self.effort == 0 {
                return;
            }
            take -= 1;
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
