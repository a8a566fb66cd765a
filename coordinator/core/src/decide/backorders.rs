//! Which waiting units are promised next: by stock key with free rights, in queue order, never by a search over orders.

use std::collections::BTreeMap;

use stockmesh_proto::common::v1::Place;
use stockmesh_proto::raft::v1::{AllocateBackorders, BackorderPromise, Promise};

use super::Overlay;
use super::candidates::{Offer, Wanted};
use crate::State;
use crate::records::NONE;
use crate::validate::MAX_CELLS;

/// Stock keys that one step looks at: those whose waiting lines can't use what is free now must not hold it up.
const KEYS_AT_ONCE: usize = 1_024;

/// What is needed of an order to source its lines.
struct Order {
    ship_to: Place,
    /// Nodes with open work for it: a line more costs them no further shipment.
    ships: Vec<u32>,
}

/// Promises for waiting units, in queue order, for stock keys that have both free rights and waiting units: at most
/// `budget`, and 256. Nodes that declined a line are not asked again for it. `None`: nothing to do now.
#[must_use]
pub fn backorders(state: &State, overlay: &Overlay, budget: usize) -> Option<AllocateBackorders> {
    let budget = budget.min(MAX_CELLS);
    let mut promises: Vec<BackorderPromise> = Vec::new();
    let mut orders: BTreeMap<u32, Order> = BTreeMap::new();
    for (key, ()) in state.ready.iter().take(KEYS_AT_ONCE) {
        let record = &state.keys[*key];
        // What this step takes of the key, on top of what is in flight.
        let mut taken: BTreeMap<u32, i64> = BTreeMap::new();
        let mut free = state.free_of_key(record) - overlay.total(*key);
        for (line_index, ()) in record.waiting.iter() {
            if promises.len() >= budget {
                return Some(AllocateBackorders { promises });
            }
            if free <= 0 {
                break;
            }
            if overlay.has_line(*line_index) {
                continue;
            }
            let line = &state.lines[*line_index];
            let order = orders.entry(line.order).or_insert_with(|| order_of(state, line.order));
            let wanted = Wanted {
                key: Some(*key),
                weight_grams: state.items[record.item].weight_grams,
                quantity: line.waiting,
                at_most: free,
            };
            let less = |node: u32| taken.get(&node).copied().unwrap_or(0);
            let may = |node: u32| !(line.excludes && state.excludes(line, node));
            let offer = Offer { overlay, wanted: &[wanted], ship_to: &order.ship_to, may, ships: &order.ships, less };
            let (candidates, answer) = state.source(&offer);
            for take in answer.takes {
                if promises.len() >= budget || take.units == 0 {
                    break;
                }
                let node_index = candidates.nodes[take.node].0;
                *taken.entry(node_index).or_default() += take.units;
                free -= take.units;
                order.ships.push(node_index);
                let promise = Promise { line: line.line, node_index, quantity: take.units };
                let order_id = state.orders[line.order].id.to_string();
                promises.push(BackorderPromise { order_id, promise: Some(promise) });
            }
        }
    }
    (!promises.is_empty()).then_some(AllocateBackorders { promises })
}

fn order_of(state: &State, order: u32) -> Order {
    let record = &state.orders[order];
    let ship_to = State::order_body(record).ship_to.unwrap_or_default();
    let mut ships = Vec::new();
    for line in state.lines.iter_from(record.first_line as usize).take(record.lines as usize) {
        let mut next = line.first_allocation;
        while next != NONE {
            let allocation = &state.allocations[next];
            if allocation.open() > 0 && !ships.contains(&allocation.node) {
                ships.push(allocation.node);
            }
            next = allocation.next_of_line;
        }
    }
    Order { ship_to, ships }
}
