//! Random histories of a small network that could have happened: facts by feed, in the order of each feed.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stockmesh_proto::common::v1::{LinePrice, PaymentTerms, Tender};
use stockmesh_proto::feed::v1::{
    AdjustReason, DeclineReason, Disposition, DispositionOutcome, MoveReason, ReceiptDecision,
};

use crate::common::{
    Feeds, Sent, adjusted, cancelled, committed, converted, decided, declined, finished, inspected, ordered,
    paid_at_counter, received, received_held, recorded, registered, returned_order, returned_sale, shipped, sold,
    transfer_received, transfer_shipped, vat_price, voided, written_off,
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
    let step = (0_u8..20, 0_usize..3, 0_usize..1_000, 1_i64..6, 0_i64..2_000);
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
    price: Option<LinePrice>,
}

struct Back {
    id: String,
    node: usize,
    item: &'static str,
    left: i64,
    /// Units that wait, by what they wait for.
    set_aside: Vec<(Disposition, i64)>,
}

struct Moving {
    id: String,
    source: usize,
    destination: usize,
    item: &'static str,
    shipped: i64,
    /// In order, damaged, missing.
    booked: [i64; 3],
}

struct Holding {
    exception: String,
    node: usize,
    item: &'static str,
    left: i64,
    part: u32,
}

/// What has happened so far, as far as later steps depend on it.
#[derive(Default)]
struct Past {
    orders: Vec<Placed>,
    sales: Vec<SoldDocument>,
    backs: Vec<Back>,
    moving: Vec<Moving>,
    holding: Vec<Holding>,
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
        let mut past = Past::default();
        for (n, step) in steps.iter().enumerate() {
            if step.kind < 12 {
                world.step(n, step, &mut past.orders, &mut past.sales, &mut past.backs);
            } else {
                world.move_goods(n, step, &mut past);
            }
        }
        let mut orders = past.orders;
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
                let lines = [(item, quantity, price.clone())];
                let fact = if pick % 2 == 0 { sold } else { recorded };
                self.node(node, fact(&id, Tender::Card, &lines));
                self.move_units(node, item, -quantity);
                let (returned, return_node) = (0, pick / 7 % 3);
                sales.push(SoldDocument { id, node, item, quantity, returned, return_node, price });
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
                    backs.push(Back { id, node, item, left: units, set_aside: Vec::new() });
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
                    backs.push(Back { id, node, item, left: units, set_aside: Vec::new() });
                }
            }
            10 if !backs.is_empty() => {
                let at = pick % backs.len();
                let back = &mut backs[at];
                let units = quantity.min(back.left);
                if units > 0 {
                    back.left -= units;
                    let disposition = [
                        Disposition::Resale,
                        Disposition::WriteOff,
                        Disposition::Refurbish,
                        Disposition::Liquidate,
                        Disposition::ReturnToVendor,
                    ][pick / 11 % 5];
                    match disposition {
                        Disposition::Resale => self.move_units(back.node, back.item, units),
                        Disposition::WriteOff => {}
                        other => back.set_aside.push((other, units)),
                    }
                    self.node(back.node, inspected(&back.id, back.item, units, disposition));
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

    fn on_hand(&self, node: usize, item: &str) -> i64 {
        self.on_hand.get(&(NODES[node].to_owned(), item.to_owned())).copied().unwrap_or(0)
    }

    /// Steps of goods that go on with their value.
    fn move_goods(&mut self, n: usize, step: &Step, past: &mut Past) {
        let Step { kind, node, pick, quantity, amount } = *step;
        let item = ITEMS[pick % ITEMS.len()];
        let Past { orders, sales, backs, moving, holding } = past;
        match kind {
            // A node sends what it has: on a new transfer, or on one of before.
            12 => {
                let at = pick % (moving.len() + 1);
                if at == moving.len() {
                    let (id, destination) = (format!("X{n}"), (node + 1 + pick / 3 % 2) % 3);
                    moving.push(Moving { id, source: node, destination, item, shipped: 0, booked: [0; 3] });
                }
                let transfer = &mut moving[at];
                let (source, item) = (transfer.source, transfer.item);
                let units = quantity.min(self.on_hand(source, item));
                if units > 0 {
                    transfer.shipped += units;
                    let destination = NODES[transfer.destination];
                    let fact = transfer_shipped(&format!("S{n}"), &transfer.id, destination, &[(1, item, units)]);
                    self.node(source, fact);
                    self.move_units(source, item, -units);
                }
            }
            13 if !moving.is_empty() => {
                let at = pick % moving.len();
                let transfer = &mut moving[at];
                let left = transfer.shipped - transfer.booked.iter().sum::<i64>();
                let units = quantity.min(left);
                if units > 0 {
                    let short = i64::from(amount % 4 == 0);
                    let damaged = if amount % 5 == 0 { (units - short).min(1) } else { 0 };
                    let parts = [units - short - damaged, damaged, short];
                    let before = transfer.booked;
                    let (item, destination, source) = (transfer.item, transfer.destination, NODES[transfer.source]);
                    transfer.booked = [0, 1, 2].map(|at| before[at] + parts[at]);
                    let fact = transfer_received(&format!("B{n}"), &transfer.id, source, (1, item), parts, before);
                    self.node(destination, fact);
                    self.move_units(destination, item, units - short);
                }
            }
            14 if !sales.is_empty() => {
                let at = pick % sales.len();
                let sale = &mut sales[at];
                if sale.returned == 0 {
                    sale.returned = sale.quantity;
                    let lines = [(sale.item, sale.quantity, sale.price.clone())];
                    let fact = voided(&format!("V{n}"), &sale.id, Tender::Card, &lines);
                    let (node, item, quantity) = (sale.node, sale.item, sale.quantity);
                    self.node(node, fact);
                    self.move_units(node, item, quantity);
                }
            }
            15 => {
                let reason = if pick % 3 == 0 { MoveReason::InternalUse } else { MoveReason::WriteOff };
                self.node(node, written_off(&format!("M{n}"), item, quantity, reason));
                self.move_units(node, item, -quantity);
            }
            // Kits of two A and one B, as far as there are.
            16 => {
                let whole = quantity.min(self.on_hand(node, "A") / 2).min(self.on_hand(node, "B")).max(0);
                let apart = quantity.min(self.on_hand(node, "KIT")).max(0);
                let kits = if pick % 3 == 0 { -apart } else { whole };
                if kits != 0 {
                    let components = [("A", 2 * kits.abs()), ("B", kits.abs())];
                    self.node(node, converted(&format!("K{n}"), "KIT", kits, &components));
                    for (item, change) in [("KIT", kits), ("A", -2 * kits), ("B", -kits)] {
                        self.move_units(node, item, change);
                    }
                }
            }
            17 if pick % 2 == 0 || holding.is_empty() => {
                let exception = format!("E{n}");
                self.node(node, received_held(&format!("H{n}"), item, quantity, amount, &exception));
                holding.push(Holding { exception, node, item, left: quantity, part: 0 });
            }
            17 => {
                let at = pick % holding.len();
                let held = &mut holding[at];
                let units = quantity.min(held.left);
                if units > 0 {
                    held.left -= units;
                    held.part += 1;
                    let accepted = amount % 3 != 0;
                    let decision = if accepted { ReceiptDecision::Accept } else { ReceiptDecision::Refuse };
                    let (node, item) = (held.node, held.item);
                    let fact = decided(&held.exception, held.part, item, units, decision);
                    self.node(node, fact);
                    self.move_units(node, item, if accepted { units } else { 0 });
                }
            }
            18 => {
                let Some(back) = backs.iter_mut().find(|back| !back.set_aside.is_empty()) else { return };
                let (disposition, left) = back.set_aside[0];
                let units = quantity.min(left);
                back.set_aside[0].1 -= units;
                back.set_aside.retain(|(_, left)| *left > 0);
                let outcome = match disposition {
                    _ if amount % 4 == 0 => DispositionOutcome::WrittenOff,
                    Disposition::Refurbish => DispositionOutcome::Refurbished,
                    Disposition::Liquidate => DispositionOutcome::Liquidated,
                    _ => DispositionOutcome::ReturnedToVendor,
                };
                let (node, item) = (back.node, back.item);
                let fact = finished(&format!("F{n}"), &back.id, item, units, (disposition, outcome));
                self.node(node, fact);
                if outcome == DispositionOutcome::Refurbished {
                    self.move_units(node, &format!("{item}+refurbished"), units);
                }
            }
            19 if pick % 2 == 0 && !sales.is_empty() => {
                let sale = &sales[pick % sales.len()];
                let fact = paid_at_counter(&format!("P{n}"), NODES[sale.node], &sale.id, amount + 1);
                self.node(node, fact);
            }
            19 if !orders.is_empty() => {
                let order = &orders[pick % orders.len()];
                if order.shipped > 0 {
                    let fact = committed(&format!("P{n}"), &order.id, 1, 1, (amount + 1, amount / 5), false);
                    self.send("coordinator/1", fact);
                }
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
