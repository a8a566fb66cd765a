//! Random histories of a small network that could have happened: facts by feed, in the order of each feed.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stockmesh_proto::common::v1::{PaymentTerms, Tender};
use stockmesh_proto::feed::v1::{AdjustReason, DeclineReason, Disposition};

use crate::common::{
    Feeds, Sent, adjusted, cancelled, declined, inspected, ordered, received, registered, returned_order,
    returned_sale, shipped, sold, vat_price,
};

pub const NODES: [&str; 3] = ["dc-1", "st-1", "st-2"];
/// `st-2` belongs to another entity.
const ENTITIES: [&str; 3] = ["uk", "uk", "ie"];
const ITEMS: [&str; 2] = ["A", "B"];

/// One step; indexes are taken modulo what there is.
#[derive(Clone, Debug)]
pub struct Step {
    kind: u8,
    node: usize,
    pick: usize,
    quantity: i64,
    amount: i64,
}

pub fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0_u8..12, 0_usize..3, 0_usize..1_000, 1_i64..6, 0_i64..2_000);
    let step = step.prop_map(|(kind, node, pick, quantity, amount)| Step { kind, node, pick, quantity, amount });
    proptest::collection::vec(step, 1..most)
}

struct Placed {
    id: String,
    item: &'static str,
    node: usize,
    quantity: i64,
    shipped: i64,
    cancelled: i64,
    returned: i64,
    return_node: usize,
}

struct SoldDocument {
    id: String,
    node: usize,
    item: &'static str,
    quantity: i64,
    returned: i64,
    return_node: usize,
}

struct Back {
    id: String,
    node: usize,
    item: &'static str,
    left: i64,
}

/// Facts of each feed, and what the shelves hold at the end.
#[derive(Default)]
pub struct World {
    pub feeds: BTreeMap<String, Vec<Sent>>,
    /// Units on hand by node and item; negative where more left than was received.
    pub on_hand: BTreeMap<(String, String), i64>,
    numbers: Feeds,
}

impl World {
    fn send(&mut self, participant: &str, fact: stockmesh_proto::feed::v1::entry_body::Fact) {
        let sent = self.numbers.send(participant, fact);
        self.feeds.entry(participant.to_owned()).or_default().push(sent);
    }

    fn node(&mut self, node: usize, fact: stockmesh_proto::feed::v1::entry_body::Fact) {
        self.send(&format!("node/{}", NODES[node]), fact);
    }

    fn move_units(&mut self, node: usize, item: &str, change: i64) {
        *self.on_hand.entry((NODES[node].to_owned(), item.to_owned())).or_default() += change;
    }

    /// Every order line is supplied by one node, and what is sold together comes back to one node: which units a return
    /// brings back is then the same however feeds interleave. `finish`: in the end all orders are shipped or cancelled.
    pub fn of(steps: &[Step], finish: bool) -> Self {
        let mut world = Self::default();
        for (node, entity) in NODES.iter().zip(ENTITIES) {
            world.send("coordinator/1", registered(node, entity));
        }
        let (mut orders, mut sales, mut backs) = (Vec::<Placed>::new(), Vec::<SoldDocument>::new(), Vec::<Back>::new());
        for (n, step) in steps.iter().enumerate() {
            world.step(n, step, &mut orders, &mut sales, &mut backs);
        }
        if finish {
            for (n, order) in orders.iter_mut().enumerate() {
                let left = order.quantity - order.shipped - order.cancelled;
                if left > 0 && n % 2 == 0 {
                    let line = [(1, order.item, left)];
                    world.node(order.node, shipped(&format!("END{n}"), &order.id, &line));
                    world.move_units(order.node, order.item, -left);
                } else if left > 0 {
                    world.send("coordinator/1", cancelled(&order.id, 1, order.cancelled + left));
                }
            }
        }
        world
    }

    fn step(
        &mut self,
        n: usize,
        step: &Step,
        orders: &mut Vec<Placed>,
        sales: &mut Vec<SoldDocument>,
        backs: &mut Vec<Back>,
    ) {
        let Step { kind, node, pick, quantity, amount } = *step;
        let item = ITEMS[pick % ITEMS.len()];
        let price = vat_price(amount, amount / 7, amount / 11);
        match kind {
            0 | 1 => {
                self.node(node, received(&format!("R{n}"), item, quantity, amount));
                self.move_units(node, item, quantity);
            }
            2 | 3 => {
                let id = format!("O{n}");
                let terms = [PaymentTerms::Prepaid, PaymentTerms::OnShipment, PaymentTerms::OnAccount][pick % 3];
                self.send("coordinator/1", ordered(&id, terms, &[(item, quantity, price)]));
                let (shipped, cancelled, returned, return_node) = (0, 0, 0, pick / 7 % 3);
                orders.push(Placed { id, item, node, quantity, shipped, cancelled, returned, return_node });
            }
            4 | 5 if !orders.is_empty() => {
                let at = pick % orders.len();
                let order = &mut orders[at];
                let units = quantity.min(order.quantity - order.shipped - order.cancelled);
                if units > 0 {
                    order.shipped += units;
                    let (node, item, id) = (order.node, order.item, order.id.clone());
                    self.node(node, shipped(&format!("S{n}"), &id, &[(1, item, units)]));
                    self.move_units(node, item, -units);
                }
            }
            6 if !orders.is_empty() => {
                let at = pick % orders.len();
                let order = &mut orders[at];
                let units = quantity.min(order.quantity - order.shipped - order.cancelled);
                if units > 0 {
                    order.cancelled += units;
                    let (id, total) = (order.id.clone(), order.cancelled);
                    self.send("coordinator/1", cancelled(&id, 1, total));
                }
            }
            7 => {
                let id = format!("C{n}");
                self.node(node, sold(&id, Tender::Card, &[(item, quantity, price)]));
                self.move_units(node, item, -quantity);
                sales.push(SoldDocument { id, node, item, quantity, returned: 0, return_node: pick / 7 % 3 });
            }
            8 if !orders.is_empty() => {
                let at = pick % orders.len();
                let order = &mut orders[at];
                let units = quantity.min(order.shipped - order.returned);
                if units > 0 {
                    order.returned += units;
                    let (id, node, item) = (format!("T{n}"), order.return_node, order.item);
                    let fact = returned_order(&id, &order.id, 1, item, units);
                    self.node(node, fact);
                    backs.push(Back { id, node, item, left: units });
                }
            }
            9 if !sales.is_empty() => {
                let at = pick % sales.len();
                let sale = &mut sales[at];
                let units = quantity.min(sale.quantity - sale.returned);
                if units > 0 {
                    sale.returned += units;
                    let (id, node, item) = (format!("T{n}"), sale.return_node, sale.item);
                    let fact = returned_sale(&id, NODES[sale.node], &sale.id, item, units);
                    self.node(node, fact);
                    backs.push(Back { id, node, item, left: units });
                }
            }
            10 if !backs.is_empty() => {
                let at = pick % backs.len();
                let back = &mut backs[at];
                let units = quantity.min(back.left);
                if units > 0 {
                    back.left -= units;
                    let resale = amount % 3 != 0;
                    let disposition = if resale { Disposition::Resale } else { Disposition::WriteOff };
                    let (id, node, item) = (back.id.clone(), back.node, back.item);
                    self.node(node, inspected(&id, item, units, disposition));
                    self.move_units(node, item, if resale { units } else { 0 });
                }
            }
            11 => {
                let (fact, change) = match pick % 4 {
                    0 => (adjusted(&format!("L{n}"), item, -quantity, AdjustReason::Loss), -quantity),
                    1 => (adjusted(&format!("F{n}"), item, quantity, AdjustReason::Found), quantity),
                    2 => (adjusted(&format!("D{n}"), item, -quantity, AdjustReason::Damage), 0),
                    _ => {
                        let number = u32::try_from(n).unwrap();
                        (declined(number, item, quantity, DeclineReason::NotFound), -quantity)
                    }
                };
                self.node(node, fact);
                self.move_units(node, item, change);
            }
            _ => {}
        }
    }

    /// The facts in the order in which they happened at each feed, feeds mixed as `choices` say.
    pub fn interleaved(&self, choices: &[usize]) -> Vec<Sent> {
        let mut queues: Vec<_> = self.feeds.values().map(|facts| facts.iter()).collect();
        let mut mixed = Vec::new();
        let mut choices = choices.iter().copied().chain((0_usize..).map(|n| n / 3));
        while !queues.is_empty() {
            let at = choices.next().unwrap_or(0) % queues.len();
            match queues[at].next() {
                Some(sent) => mixed.push(sent.clone()),
                None => drop(queues.remove(at)),
            }
        }
        mixed
    }
}
