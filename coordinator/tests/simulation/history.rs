//! What clients asked and were told, and whether one order of it all explains every answer.
//!
//! Linearizability is local: a history is linearizable when its part for each item is. For each item, the checker (after
//! Wing and Gong, with Lowe's memory of configurations that were tried) looks for an order of the operations that keeps real
//! time, and in which a plain model gives every answer that was given. An operation whose outcome is unknown may have
//! happened at any time after it was asked, or never.

use std::collections::{BTreeMap, HashSet};

/// What a client asked about one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Put it into the catalog.
    Create,
    /// Order units under an id.
    Place { order: u32, units: i64 },
    /// How many units can be promised?
    Read,
}

/// What it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Created,
    Placed { promised: i64 },
    UnknownItem,
    IdReused,
    Free(i64),
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub item: usize,
    pub ask: Ask,
    pub asked_at: u64,
    /// When and what was answered; `None`: nobody knows what came of it.
    pub answer: Option<(u64, Told)>,
}

/// The plain model of one item. Units that an order lacks wait in a queue, and whoever leads promises them by and by: when,
/// only a read tells. An order may get less than is free, because decisions in flight hold units that they give back when
/// they come to nothing; never more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    pub exists: bool,
    /// Units that can be promised, of which the queue may have taken some already.
    pub free: i64,
    /// Units in the queue, unless they were promised meanwhile.
    pub waiting: i64,
    /// Units ordered and promised at first, by order.
    pub orders: BTreeMap<u32, (i64, i64)>,
}

impl Item {
    /// Whether this may be told now; if so, it has happened.
    fn act(&mut self, ask: Ask, told: Option<Told>) -> bool {
        match (ask, told) {
            (Ask::Create, Some(Told::Created) | None) => {
                self.exists = true;
                true
            }
            (Ask::Read, Some(Told::Free(free))) => {
                let queued = self.free - free;
                self.free -= queued.max(0);
                self.waiting -= queued.max(0);
                queued >= 0 && self.waiting >= 0
            }
            (Ask::Place { order, units }, told) => match (self.orders.get(&order), told) {
                (Some((known, promised)), Some(Told::Placed { promised: told })) => {
                    *known == units && (*promised..=units).contains(&told)
                }
                (Some((known, _)), Some(Told::IdReused)) => *known != units,
                (None, Some(Told::UnknownItem)) => !self.exists,
                (None, Some(Told::Placed { promised })) => self.placed(order, units, promised),
                // Nobody knows what it got: as much as there was takes the most from others, and the queue the rest.
                (None, None) => self.placed(order, units, 0),
                _ => false,
            },
            _ => false,
        }
    }

    fn placed(&mut self, order: u32, units: i64, promised: i64) -> bool {
        self.orders.insert(order, (units, promised));
        self.free -= promised;
        self.waiting += units - promised;
        self.exists && promised <= units && self.free >= 0
    }
}

/// Looks for an order that explains all answers; the calls are of one item that began as `item`.
pub fn linearizable(calls: &[Call], item: &Item) -> bool {
    let mut calls: Vec<&Call> = calls.iter().collect();
    // What may never have happened, and would be seen by nobody, is left out.
    calls.retain(|call| call.answer.is_some() || call.ask != Ask::Read);
    calls.sort_by_key(|call| call.asked_at);
    let mut tried: HashSet<(Vec<u64>, Item)> = HashSet::new();
    let mut done = vec![0u64; calls.len().div_ceil(64)];
    search(&calls, &mut done, item, &mut tried)
}

fn is_done(done: &[u64], at: usize) -> bool {
    done[at / 64] >> (at % 64) & 1 == 1
}

fn search(calls: &[&Call], done: &mut Vec<u64>, item: &Item, tried: &mut HashSet<(Vec<u64>, Item)>) -> bool {
    let open = |done: &[u64]| (0..calls.len()).filter(|at| !is_done(done, *at)).collect::<Vec<_>>();
    let left = open(done);
    // The earliest answer among those left: nothing that was asked after it may come before it.
    let Some(deadline) = left.iter().filter_map(|at| calls[*at].answer.map(|(at, _)| at)).min() else { return true };
    if !tried.insert((done.clone(), item.clone())) {
        return false;
    }
    for at in left {
        let call = calls[at];
        if call.asked_at > deadline {
            break;
        }
        let mut next = item.clone();
        let possible = next.act(call.ask, call.answer.map(|(_, told)| told));
        // What has no effect, and was told to nobody, need not have happened.
        if !possible || (call.answer.is_none() && next == *item) {
            continue;
        }
        done[at / 64] |= 1 << (at % 64);
        if search(calls, done, &next, tried) {
            return true;
        }
        done[at / 64] &= !(1 << (at % 64));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(ask: Ask, asked_at: u64, answer: Option<(u64, Told)>) -> Call {
        Call { item: 0, ask, asked_at, answer }
    }

    fn stocked(free: i64) -> Item {
        Item { exists: true, free, waiting: 0, orders: BTreeMap::new() }
    }

    #[test]
    fn the_checker_tells_good_histories_from_bad_ones() {
        let place = |order, units| Ask::Place { order, units };
        let placed = |promised| Told::Placed { promised };
        let cases: Vec<(&str, Vec<Call>, bool)> = vec![
            (
                "one after the other",
                vec![call(place(1, 3), 1, Some((2, placed(3)))), call(Ask::Read, 3, Some((4, Told::Free(2))))],
                true,
            ),
            (
                "a stale read",
                vec![call(place(1, 3), 1, Some((2, placed(3)))), call(Ask::Read, 3, Some((4, Told::Free(5))))],
                false,
            ),
            (
                "a read beside it may see either",
                vec![
                    call(place(1, 3), 1, Some((5, placed(3)))),
                    call(Ask::Read, 2, Some((3, Told::Free(5)))),
                    call(Ask::Read, 4, Some((6, Told::Free(2)))),
                ],
                true,
            ),
            (
                "back in time",
                vec![
                    call(place(1, 3), 1, Some((9, placed(3)))),
                    call(Ask::Read, 2, Some((3, Told::Free(2)))),
                    call(Ask::Read, 4, Some((5, Told::Free(5)))),
                ],
                false,
            ),
            (
                "a unit twice",
                vec![call(place(1, 5), 1, Some((3, placed(5)))), call(place(2, 5), 2, Some((4, placed(5))))],
                false,
            ),
            (
                "an unknown one may have happened",
                vec![call(place(1, 5), 1, None), call(place(2, 5), 2, Some((4, placed(0))))],
                true,
            ),
            ("or not", vec![call(place(1, 5), 1, None), call(place(2, 5), 2, Some((4, placed(5))))], true),
            ("nothing is taken by nobody", vec![call(Ask::Read, 2, Some((4, Told::Free(3))))], false),
            (
                "nor by what was asked later",
                vec![call(Ask::Read, 2, Some((4, Told::Free(3)))), call(place(1, 2), 5, Some((6, placed(2))))],
                false,
            ),
            (
                "the queue takes what is left",
                vec![
                    call(place(1, 4), 1, Some((2, placed(2)))),
                    call(Ask::Read, 3, Some((4, Told::Free(3)))),
                    call(Ask::Read, 5, Some((6, Told::Free(1)))),
                    call(place(1, 4), 7, Some((8, placed(4)))),
                ],
                true,
            ),
            (
                "and not more than it lacks",
                vec![call(place(1, 4), 1, Some((2, placed(4)))), call(Ask::Read, 5, Some((6, Told::Free(0))))],
                false,
            ),
            (
                "a repeat has the first answer",
                vec![
                    call(place(1, 4), 1, Some((2, placed(4)))),
                    call(place(1, 4), 3, Some((4, placed(4)))),
                    call(place(1, 2), 5, Some((6, Told::IdReused))),
                    call(Ask::Read, 7, Some((8, Told::Free(1)))),
                ],
                true,
            ),
            (
                "a definite refusal of what exists",
                vec![
                    call(Ask::Create, 1, Some((2, Told::Created))),
                    call(place(1, 1), 3, Some((4, Told::UnknownItem))),
                ],
                false,
            ),
        ];
        for (name, calls, expected) in cases {
            assert_eq!(linearizable(&calls, &stocked(5)), expected, "{name}");
        }
        let fresh = Item { exists: false, ..stocked(0) };
        let refused = vec![call(Ask::Place { order: 1, units: 1 }, 1, Some((2, Told::UnknownItem)))];
        assert!(linearizable(&refused, &fresh));
    }
}
