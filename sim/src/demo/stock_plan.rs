//! Opening stock and later deliveries, which no file has: sized from the stream so that scarcity is real. Pure.
//!
//! Each item falls, by a hash of its name and the seed, into one of four classes: most are in good supply; some open short
//! and are delivered half-way; some open short and are delivered when all orders are in; a few are discontinued: what is
//! short of them stays short. And into one of five spreads over the warehouses, so that many orders must be split.

use std::collections::BTreeMap;

use stockmesh_proto::common::v1::NodeKind;

use crate::network::Layout;
use crate::streams::{Stream, stable_hash};

/// Units of an item for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Place of the node in the layout.
    pub node: usize,
    /// Place of the item in the stream.
    pub item: usize,
    /// Base units.
    pub quantity: i64,
}

/// What stands where, and what comes later.
#[derive(Clone, Debug, Default)]
pub struct StockPlan {
    /// Items that each node may handle, by node.
    pub ranged: Vec<Vec<usize>>,
    /// Opening stock.
    pub opening: Vec<Delivery>,
    /// Delivered when half of the orders are placed.
    pub half_way: Vec<Delivery>,
    /// Delivered when all are.
    pub late: Vec<Delivery>,
    /// Assumptions, for the report.
    pub assumptions: Vec<String>,
}

/// How an item is supplied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Supply {
    Plenty,
    HalfWay,
    Late,
    Discontinued,
}

impl Supply {
    fn of(draw: u64) -> Self {
        match draw % 100 {
            0..72 => Self::Plenty,
            72..90 => Self::HalfWay,
            90..97 => Self::Late,
            _ => Self::Discontinued,
        }
    }

    /// Opening stock for a demand.
    fn opening(self, demand: i64) -> i64 {
        // Rounded down: of an item that is wanted once, nothing stands there when it opens short.
        let percent = |percent: i64| demand * percent / 100;
        match self {
            Self::Plenty => percent(110) + 1,
            Self::HalfWay => percent(50),
            Self::Late => percent(40),
            Self::Discontinued => percent(70),
        }
    }
}

/// Places in the layout of the two distribution centers and the 3PL.
struct Warehouses {
    first: usize,
    second: usize,
    third_party: usize,
}

impl Warehouses {
    fn of(layout: &Layout) -> Self {
        let mut centers = layout.nodes.iter().enumerate().filter(|(_, n)| n.kind == NodeKind::DistributionCenter);
        let first = centers.next().map_or(0, |(at, _)| at);
        let second = centers.next().map_or(first, |(at, _)| at);
        let third = layout.nodes.iter().position(|n| n.kind == NodeKind::ThirdPartyLogistics);
        Self { first, second, third_party: third.unwrap_or(first) }
    }

    /// Where an item is kept, with shares in percent; the first gets what rounding leaves, and later deliveries.
    fn spread(&self, assortment: Assortment, draw: u64) -> Vec<(usize, i64)> {
        let [both, first, second, third, _mixed] = assortment.percent();
        match draw % 100 {
            draw if draw < both => vec![(self.first, 60), (self.second, 40)],
            draw if draw < both + first => vec![(self.first, 100)],
            draw if draw < both + first + second => vec![(self.second, 100)],
            draw if draw < both + first + second + third => vec![(self.third_party, 100)],
            _ => vec![(self.first, 50), (self.third_party, 50)],
        }
    }
}

/// How alike the warehouses' assortments are. An order of many lines is split even when few items are missing from the
/// nearest place; one of a line or two only when assortments differ much.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Assortment {
    Alike,
    Apart,
}

/// Mean lines of an order below which assortments are taken to differ.
const SMALL_ORDER_LINES: usize = 5;

impl Assortment {
    fn of(stream: &Stream) -> Self {
        let (mut orders, mut lines) = (0, 0);
        for order in stream.orders() {
            orders += 1;
            lines += order.lines.len();
        }
        if lines < orders * SMALL_ORDER_LINES { Self::Apart } else { Self::Alike }
    }

    /// Percent of the items in: both centers, the first, the second, the 3PL, first center and 3PL.
    fn percent(self) -> [u64; 5] {
        match self {
            Self::Alike => [72, 14, 7, 4, 3],
            Self::Apart => [25, 29, 25, 16, 5],
        }
    }
}

/// Plans stock for a stream.
#[must_use]
pub fn plan(stream: &Stream, layout: &Layout, seed: u64) -> StockPlan {
    let mut ordered = vec![0i64; stream.items.len()];
    for order in stream.orders() {
        for line in &order.lines {
            ordered[line.item] += line.quantity;
        }
    }
    let stores: Vec<usize> =
        layout.nodes.iter().enumerate().filter(|(_, node)| node.kind == NodeKind::Store).map(|(at, _)| at).collect();
    let mut counter: BTreeMap<(usize, usize), i64> = BTreeMap::new();
    for sale in stream.counters() {
        for line in &sale.lines {
            if let Some(&store) = stores.get(sale.store) {
                *counter.entry((line.item, store)).or_default() += line.quantity;
            }
        }
    }
    let warehouses = Warehouses::of(layout);
    let assortment = Assortment::of(stream);
    let mut plan = StockPlan { ranged: vec![Vec::new(); layout.nodes.len()], ..StockPlan::default() };
    for (item, demand) in ordered.iter().copied().enumerate() {
        let draw = stable_hash(&format!("{seed}/{}", stream.items[item].item));
        let mut opening: BTreeMap<usize, i64> = BTreeMap::new();
        if demand > 0 {
            let supply = Supply::of(draw);
            let spread = warehouses.spread(assortment, draw >> 16);
            let total = supply.opening(demand);
            let mut left = total;
            for (node, percent) in spread.iter().rev() {
                let units = if *node == spread[0].0 { left } else { total * percent / 100 };
                left -= units;
                *opening.entry(*node).or_default() += units;
            }
            // A fifth of the items also stand in one store, from where they may be sent.
            if !stores.is_empty() && (draw >> 32).is_multiple_of(5) {
                let store = stores[usize::try_from((draw >> 40) % stores.len() as u64).unwrap_or(0)];
                *opening.entry(store).or_default() += layout.nodes[store].walk_in_reserve + 1 + demand / 20;
            }
            let rest = demand - total + demand / 5 + 1;
            let later = Delivery { node: spread[0].0, item, quantity: rest };
            match supply {
                Supply::HalfWay => plan.half_way.push(later),
                Supply::Late => plan.late.push(later),
                Supply::Plenty | Supply::Discontinued => {}
            }
        }
        for (&(_, store), &units) in counter.range((item, 0)..(item + 1, 0)) {
            let units = if units <= layout.nodes[store].walk_in_reserve { units + 1 } else { units + units / 10 };
            *opening.entry(store).or_default() += units;
        }
        // Should a counter sale have to be sent after the customer, a warehouse must be able to.
        if demand == 0 && !opening.is_empty() {
            opening.insert(warehouses.first, 3);
        }
        for (node, quantity) in opening {
            plan.ranged[node].push(item);
            if quantity > 0 {
                plan.opening.push(Delivery { node, item, quantity });
            }
        }
    }
    plan.assumptions = assumptions(&plan, layout, assortment);
    plan
}

fn assumptions(plan: &StockPlan, layout: &Layout, assortment: Assortment) -> Vec<String> {
    let [both, ..] = assortment.percent();
    let units = |deliveries: &[Delivery]| deliveries.iter().map(|delivery| delivery.quantity).sum::<i64>();
    vec![
        format!(
            "opening stock is not in the data: sized from the demand of the stream, {} units in {} cells; 72 % of the items open with 110 % of it, 18 % with 50 %, 7 % with 40 %, 3 % with 70 %",
            units(&plan.opening),
            plan.opening.len()
        ),
        format!(
            "the 18 % are delivered half-way ({} units), the 7 % when all orders are placed ({} units), the 3 % never: they are discontinued, and what is short is cancelled at the end",
            units(&plan.half_way),
            units(&plan.late)
        ),
        format!(
            "{} nodes: {both} % of the items stand in both distribution centers, the others in one warehouse or in the 3PL; a fifth also in one store; a store keeps up to {} units of each item for walk-in customers",
            layout.nodes.len(),
            layout.nodes.iter().map(|node| node.walk_in_reserve).max().unwrap_or(0)
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::generate::{GenerateOptions, generate};

    #[test]
    fn stock_is_short_at_first_and_covers_all_but_the_discontinued_in_the_end() {
        let stream = generate(GenerateOptions { seed: 5, orders: 800, items: 500, stores: 3 });
        let layout = Layout::european();
        let plan = plan(&stream, &layout, 5);
        let mut demand = vec![0i64; stream.items.len()];
        for order in stream.orders() {
            order.lines.iter().for_each(|line| demand[line.item] += line.quantity);
        }
        let stores: Vec<bool> = layout.nodes.iter().map(|node| node.kind == NodeKind::Store).collect();
        let sum = |deliveries: &[Delivery], item: usize| -> i64 {
            deliveries.iter().filter(|d| d.item == item && !stores[d.node]).map(|d| d.quantity).sum()
        };
        let (mut short_at_first, mut short_in_the_end, mut sold) = (0, 0, 0);
        for (item, demand) in demand.iter().enumerate().filter(|(_, demand)| **demand > 1) {
            sold += 1;
            let opening = sum(&plan.opening, item);
            let all = opening + sum(&plan.half_way, item) + sum(&plan.late, item);
            short_at_first += i32::from(opening < *demand);
            short_in_the_end += i32::from(all < *demand);
        }
        assert!(short_at_first * 100 > 15 * sold && short_at_first * 100 < 45 * sold, "{short_at_first} of {sold}");
        assert!(short_in_the_end * 100 < 8 * sold, "{short_in_the_end} of {sold}");
        assert!(plan.opening.iter().all(|d| d.quantity > 0 && plan.ranged[d.node].contains(&d.item)));
        assert!(
            plan.half_way.iter().chain(&plan.late).all(|d| d.quantity > 0 && plan.ranged[d.node].contains(&d.item))
        );
    }
}
