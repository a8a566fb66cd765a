//! The bounded search, for orders that are too large to prove: local search over sets of nodes.
//!
//! Lines take the cheapest units of the set; nodes are dropped, added and swapped while that pays, with a stated effort.

use super::problem::{Answer, Cost, Problem, Take, started_kg};

/// Looks at one need at one node that a search may spend.
const EFFORT: i64 = 4_000_000;

/// Nodes beyond those that the cheapest units come from that are tried.
const OTHERS: usize = 40;

/// A good answer, with a lower bound.
pub(crate) fn solve(problem: &Problem) -> Answer {
    let order = problem.order_by(Problem::smooth_cost);
    // Needs never exceed what is available, so that all nodes together are enough.
    let relaxed = problem.relaxed(&order, |_| true).unwrap_or(0);
    let alone = problem.best_alone();
    let cheapest = problem.nodes.iter().map(|node| node.fixed).min().unwrap_or(0);
    let lower_bound = match alone {
        Some((_, cost)) => cost.min(problem.two_fixed() + relaxed),
        None if problem.nodes.len() > 1 => problem.two_fixed() + relaxed,
        None => cheapest + relaxed,
    };
    let mut search = Search { problem, order: &order, grams: vec![0; problem.nodes.len()], effort: EFFORT };
    let by_units = search.used(&vec![true; problem.nodes.len()]);
    let tried = search.tried(&by_units);
    let mut starts = vec![by_units, search.cover(&tried)];
    if let Some((node, _)) = alone {
        starts.push((0..problem.nodes.len()).map(|other| other == node).collect());
    }
    let mut best: Option<(Cost, Vec<bool>)> = None;
    for start in starts {
        let Some(cost) = search.cost(&start) else { continue };
        let found = search.improve(start, cost, &tried);
        if best.as_ref().is_none_or(|(cost, _)| found.0 < *cost) {
            best = Some(found);
        }
    }
    let set = best.map_or_else(|| vec![true; problem.nodes.len()], |(_, set)| set);
    let mut takes: Vec<Take> = problem.cheapest_first(&order, |node| set[node]);
    takes.sort_unstable_by_key(|take| (take.need, take.node));
    let cost = problem.cost(&takes);
    Answer { takes, cost, lower_bound: lower_bound.min(cost) }
}

struct Search<'a> {
    problem: &'a Problem,
    order: &'a [Vec<usize>],
    grams: Vec<i128>,
    effort: i64,
}

impl Search<'_> {
    /// What a set costs when each need takes its cheapest units; `None` when the set does not have enough.
    fn cost(&mut self, set: &[bool]) -> Option<Cost> {
        let problem = self.problem;
        self.grams.iter_mut().for_each(|grams| *grams = -1);
        let mut cost = 0;
        for (need, nodes) in self.order.iter().enumerate() {
            let mut left = problem.needs[need].take;
            for node in nodes.iter().copied() {
                if left == 0 {
                    break;
                }
                self.effort -= 1;
                if !set[node] {
                    continue;
                }
                let units = left.min(problem.available(need, node));
                let grams = i128::from(units) * i128::from(problem.needs[need].weight_grams);
                self.grams[node] = self.grams[node].max(0) + grams;
                cost += Cost::from(units) * problem.unit_cost(need, node);
                left -= units;
            }
            if left > 0 {
                return None;
            }
        }
        for (node, grams) in self.grams.iter().enumerate().filter(|(_, grams)| **grams >= 0) {
            cost += problem.nodes[node].fixed + problem.nodes[node].per_started_kg * started_kg(*grams);
        }
        Some(cost)
    }

    /// The nodes of a set that units come from.
    fn used(&self, set: &[bool]) -> Vec<bool> {
        let mut used = vec![false; set.len()];
        for take in self.problem.cheapest_first(self.order, |node| set[node]) {
            used[take.node] = true;
        }
        used
    }

    /// Nodes worth a try: those of the cheapest units, and those that hold most of the order.
    fn tried(&self, used: &[bool]) -> Vec<usize> {
        let problem = self.problem;
        let held = |node: usize| -> i128 {
            let of = |need: usize| i128::from(problem.available(need, node).min(problem.needs[need].take));
            (0..problem.needs.len()).map(of).sum()
        };
        let mut others: Vec<usize> = (0..used.len()).filter(|node| !used[*node]).collect();
        others.sort_by_cached_key(|node| (-held(*node), problem.nodes[*node].fixed, *node));
        others.truncate(OTHERS);
        let mut tried: Vec<usize> = (0..used.len()).filter(|node| used[*node]).chain(others).collect();
        tried.sort_unstable();
        tried
    }

    /// A small set that has enough: again and again the node that adds units at the least cost for each.
    fn cover(&mut self, tried: &[usize]) -> Vec<bool> {
        let problem = self.problem;
        let mut set = vec![false; problem.nodes.len()];
        let mut left: Vec<i64> = problem.needs.iter().map(|need| need.take).collect();
        while left.iter().any(|units| *units > 0) && self.effort > 0 {
            let mut best: Option<(Cost, usize)> = None;
            for node in tried.iter().copied().filter(|node| !set[*node]) {
                let (mut units, mut cost) = (0, problem.nodes[node].fixed);
                for (need, left) in left.iter().enumerate() {
                    let take = (*left).min(problem.available(need, node));
                    units += Cost::from(take);
                    cost += Cost::from(take) * problem.smooth_cost(need, node);
                }
                self.effort -= left.len() as i64;
                if units > 0 && best.is_none_or(|(best, _)| cost / units < best) {
                    best = Some((cost / units, node));
                }
            }
            let Some((_, node)) = best else { break };
            set[node] = true;
            for (need, left) in left.iter_mut().enumerate() {
                *left -= (*left).min(problem.available(need, node));
            }
        }
        set
    }

    /// Drops, adds and swaps nodes while that pays.
    fn improve(&mut self, mut set: Vec<bool>, mut cost: Cost, tried: &[usize]) -> (Cost, Vec<bool>) {
        loop {
            let before = cost;
            for a in tried.iter().copied() {
                if self.effort <= 0 {
                    return (cost, set);
                }
                cost = self.flip(&mut set, &[a], cost);
                if !set[a] {
                    continue;
                }
                for b in tried.iter().copied() {
                    if set[a] && !set[b] && self.effort > 0 {
                        cost = self.flip(&mut set, &[a, b], cost);
                    }
                }
            }
            if cost == before {
                return (cost, set);
            }
        }
    }

    /// Flips nodes in and out of the set, and back when that does not pay; gives the cost after.
    fn flip(&mut self, set: &mut [bool], nodes: &[usize], cost: Cost) -> Cost {
        nodes.iter().for_each(|node| set[*node] = !set[*node]);
        match self.cost(set) {
            Some(new) if new < cost => new,
            _ => {
                nodes.iter().for_each(|node| set[*node] = !set[*node]);
                cost
            }
        }
    }
}
