//! Where units of broken promises are reserved while the node that may still ship them has not answered.

use std::collections::BTreeMap;

use stockmesh_proto::raft::v1::{ReserveSubstitutes, Substitute};

use super::Overlay;
use super::candidates::{Offer, Wanted};
use crate::State;
use crate::validate::MAX_CELLS;

/// Stock keys that one step looks at.
const KEYS_AT_ONCE: usize = 1_024;

/// Substitutes for broken promises of stock keys that have free rights: at most `budget`, and 256. Neither the node of the
/// broken promise nor one that declined the line is asked. `None`: nothing to do now.
#[must_use]
pub fn substitutes(state: &State, overlay: &Overlay, budget: usize) -> Option<ReserveSubstitutes> {
    let budget = budget.min(MAX_CELLS);
    let mut substitutes = Vec::new();
    for (key, ()) in state.recovery.substitutable.iter().take(KEYS_AT_ONCE) {
        let record = &state.keys[*key];
        // What this step takes of the key, on top of what is in flight.
        let mut taken: BTreeMap<u32, i64> = BTreeMap::new();
        let mut free = state.free_of_key(record) - overlay.total(*key);
        let wanting = state.recovery.wanting.iter_from(&(*key, 0)).take_while(|((of, _), ())| of == key);
        for ((_, allocation), ()) in wanting {
            if free <= 0 {
                break;
            }
            let broken = &state.allocations[*allocation];
            let line = &state.lines[broken.line];
            let ship_to = State::order_body(&state.orders[line.order]).ship_to.unwrap_or_default();
            let units = state.unsubstituted(*allocation);
            let wanted = Wanted {
                key: Some(*key),
                weight_grams: state.items[record.item].weight_grams,
                quantity: units,
                at_most: units,
            };
            let may = |node| node != broken.node && !(line.excludes && state.excludes(line, node));
            let less = |node: u32| taken.get(&node).copied().unwrap_or(0);
            let offer = Offer { overlay, wanted: &[wanted], ship_to: &ship_to, may, ships: &[], less };
            let (candidates, answer) = state.source(&offer);
            for take in answer.takes {
                if substitutes.len() >= budget {
                    return Some(ReserveSubstitutes { substitutes });
                }
                let node_index = candidates.nodes[take.node].0;
                *taken.entry(node_index).or_default() += take.units;
                free -= take.units;
                let allocation = Some(broken.id.into());
                substitutes.push(Substitute { allocation, node_index, quantity: take.units });
            }
        }
    }
    (!substitutes.is_empty()).then_some(ReserveSubstitutes { substitutes })
}
