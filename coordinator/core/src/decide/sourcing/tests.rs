//! The solvers against enumeration, and against each other.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::problem::{Answer, Cost, MICRO, Need, Problem, Shipper, Take};
use super::{bounded, exact, solve};

fn shipper() -> impl Strategy<Value = Shipper> {
    (0i64..30, 0i64..12, 0i64..3, 0i64..3).prop_map(|(fixed, per_kg, rate, per_unit)| {
        let minor = |amount: i64| Cost::from(amount) * MICRO;
        Shipper::new(minor(fixed), minor(per_kg), Cost::from(rate) * 900, minor(per_unit))
    })
}

/// Rates as carriers and sites have them: a parcel costs more than its kilograms.
fn usual_shipper() -> impl Strategy<Value = Shipper> {
    (300i64..900, 15i64..60, 5i64..1_500, 2i64..30).prop_map(|(fixed, per_kg, distance_km, per_unit)| {
        let minor = |amount: i64| Cost::from(amount) * MICRO;
        Shipper::new(minor(fixed), minor(per_kg), Cost::from(distance_km) * 60, minor(per_unit))
    })
}

fn problem(needs: usize, nodes: usize, units: i64) -> impl Strategy<Value = Problem> {
    problem_of(needs, nodes, units, shipper)
}

fn problem_of<S: Strategy<Value = Shipper>>(
    needs: usize,
    nodes: usize,
    units: i64,
    shipper: fn() -> S,
) -> impl Strategy<Value = Problem> {
    let sizes = (1..=needs, 1..=nodes);
    sizes.prop_flat_map(move |(needs, nodes)| {
        (
            prop::collection::vec((1..=units, prop_oneof![1i64..400, 300i64..1_800]), needs),
            prop::collection::vec(shipper(), nodes),
            prop::collection::vec(prop_oneof![Just(0), 0..=units, Just(units)], needs * nodes),
        )
            .prop_map(|(wanted, nodes, available)| {
                let had = |need: usize| available[need * nodes.len()..(need + 1) * nodes.len()].iter().sum::<i64>();
                let needs = wanted
                    .iter()
                    .enumerate()
                    .map(|(need, (units, weight_grams))| Need {
                        take: (*units).min(had(need)),
                        weight_grams: *weight_grams,
                    })
                    .collect();
                Problem { needs, nodes, available }
            })
            .prop_filter("something is there", |problem| problem.needs.iter().any(|need| need.take > 0))
    })
}

/// The least cost, by trying everything.
fn enumerate(problem: &Problem, need: usize, node: usize, left: i64, takes: &mut Vec<Take>) -> Option<Cost> {
    if need == problem.needs.len() {
        return Some(problem.cost(takes));
    }
    if left == 0 {
        let next = problem.needs.get(need + 1).map_or(0, |need| need.take);
        return enumerate(problem, need + 1, 0, next, takes);
    }
    if node == problem.nodes.len() {
        return None;
    }
    let mut best: Option<Cost> = None;
    for units in 0..=left.min(problem.available(need, node)) {
        takes.push(Take { need, node, units });
        if let Some(cost) = enumerate(problem, need, node + 1, left - units, takes) {
            best = Some(best.map_or(cost, |best| best.min(cost)));
        }
        takes.pop();
    }
    best
}

fn check_takes(problem: &Problem, answer: &Answer) -> Result<(), TestCaseError> {
    for (need, of) in problem.needs.iter().enumerate() {
        let taken: i64 = answer.takes.iter().filter(|take| take.need == need).map(|take| take.units).sum();
        prop_assert_eq!(taken, of.take, "all that can be had is taken");
    }
    let pairs: Vec<(usize, usize)> = answer.takes.iter().map(|take| (take.need, take.node)).collect();
    prop_assert!(pairs.windows(2).all(|pair| pair[0] < pair[1]), "sorted, none twice: {pairs:?}");
    for take in &answer.takes {
        prop_assert!(take.units > 0 && take.units <= problem.available(take.need, take.node));
    }
    prop_assert_eq!(problem.cost(&answer.takes), answer.cost);
    prop_assert!(answer.lower_bound <= answer.cost);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_exact_search_finds_what_enumeration_finds(problem in problem(3, 4, 4)) {
        let first = problem.needs[0].take;
        let least = enumerate(&problem, 0, 0, first, &mut Vec::new()).unwrap();
        let answer = exact::solve(&problem, 14).unwrap();
        check_takes(&problem, &answer)?;
        prop_assert!(answer.proven(), "so small a problem is proven");
        prop_assert_eq!(answer.cost, least);
        let bounded = bounded::solve(&problem);
        check_takes(&problem, &bounded)?;
        prop_assert!(bounded.cost >= least && bounded.lower_bound <= least);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn larger_problems_are_feasible_and_bounded(problem in problem(30, 40, 60)) {
        let answer = solve(&problem);
        check_takes(&problem, &answer)?;
        let bounded = bounded::solve(&problem);
        check_takes(&problem, &bounded)?;
        prop_assert!(answer.lower_bound <= bounded.cost, "a lower bound holds for every answer");
        prop_assert!(bounded.lower_bound <= answer.cost, "a lower bound holds for every answer");
        if answer.proven() {
            prop_assert!(answer.cost <= bounded.cost);
        }
    }
}

/// Stocks so thin that most orders need several nodes: the hard end of what is ordinary. Always the same instances, so
/// that the share says something.
#[test]
fn nearly_all_ordinary_orders_are_proven_even_where_stock_is_thin() {
    let mut runner = TestRunner::deterministic();
    let problems = problem_of(8, 12, 6, usual_shipper);
    let (tried, mut split, mut proven) = (1_000, 0, 0);
    for _ in 0..tried {
        let problem = problems.new_tree(&mut runner).unwrap().current();
        let answer = solve(&problem);
        check_takes(&problem, &answer).unwrap();
        let nodes: BTreeSet<usize> = answer.takes.iter().map(|take| take.node).collect();
        split += usize::from(nodes.len() > 1);
        proven += usize::from(answer.proven());
    }
    assert!(split > tried / 2, "{split} of {tried} orders are split");
    assert!(proven * 100 >= tried * 99, "{proven} of {tried} orders are proven");
}

#[test]
fn a_split_that_saves_a_started_kilogram_is_found() {
    // 1,001 g alone are two kilograms; one unit from the second node, at a fixed cost of nothing, saves one.
    let node = |per_started_kg: Cost| Shipper::new(0, per_started_kg * MICRO, 0, 0);
    let problem = Problem {
        needs: vec![Need { take: 13, weight_grams: 77 }],
        nodes: vec![node(100), node(101)],
        available: vec![13, 13],
    };
    let answer = solve(&problem);
    assert!(answer.proven());
    assert_eq!(answer.cost, 200 * MICRO, "two kilograms at one node beat one at each");
    let problem = Problem { nodes: vec![node(100), node(7)], available: vec![13, 1], ..problem };
    let answer = solve(&problem);
    assert_eq!((answer.cost, answer.takes.len(), answer.proven()), (107 * MICRO, 2, true));
}

#[test]
fn nothing_to_take_costs_nothing() {
    let problem = Problem { needs: vec![Need { take: 0, weight_grams: 5 }], nodes: Vec::new(), available: Vec::new() };
    let answer = solve(&problem);
    assert_eq!((answer.takes.len(), answer.cost, answer.proven(), answer.gap_ppm()), (0, 0, true, 0));
}
