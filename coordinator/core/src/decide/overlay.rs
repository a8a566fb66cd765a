//! The leader's own decisions in flight: promises that are proposed and not applied yet.
//!
//! Without it, two decisions in a row would promise the same free units, and the second be rejected in `apply`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use stockmesh_proto::convert::allocation_id;
use stockmesh_proto::raft::v1::{BackorderPromise, Substitute, command};
use stockmesh_types::Quantity;

use super::atlas::Atlas;
use crate::State;

/// Units promised by proposals in flight, by stock key and node; and what the leader worked out to decide quickly.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    by_key: BTreeMap<u32, Taken>,
    /// What each proposal holds: `(key, node, units)`.
    proposals: BTreeMap<u64, Vec<(u32, u32, Quantity)>>,
    /// Order lines with a backorder promise in flight: they are not proposed twice.
    waiting_lines: BTreeMap<u32, u64>,
    /// Worked out as decisions need it, and forgotten without harm.
    pub(super) atlas: RefCell<Atlas>,
}

/// What is taken of a stock key.
#[derive(Clone, Debug, Default)]
struct Taken {
    total: Quantity,
    /// By node, sorted.
    nodes: Vec<(u32, Quantity)>,
}

impl Overlay {
    /// Nothing in flight.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes what a command takes, under the number of its proposal (several commands may share one).
    /// Call it when the command is decided; call [`Overlay::remove`] when the proposal is applied or given up.
    pub fn add(&mut self, proposal: u64, state: &State, kind: &command::Kind) {
        let mut taken = Vec::new();
        match kind {
            command::Kind::CommitOrder(commit) => {
                let Some(order) = commit.order.as_ref() else { return };
                for promise in &commit.promises {
                    let line = order.lines.iter().find(|line| line.line == promise.line);
                    let key = line.and_then(|line| line.stock_key.as_ref()).and_then(|key| state.wire_key_index(key));
                    if let Some(key) = key {
                        taken.push((key, promise.node_index, promise.quantity));
                    }
                }
            }
            command::Kind::AllocateBackorders(allocate) => {
                for BackorderPromise { order_id, promise } in &allocate.promises {
                    let Some(promise) = promise else { continue };
                    let order = state.order_index.get(order_id).and_then(|index| state.orders.get(index));
                    let Some(index) = order.and_then(|order| state.line_index(order, promise.line)) else { continue };
                    let Some(line) = state.lines.get(index) else { continue };
                    taken.push((line.key, promise.node_index, promise.quantity));
                    self.waiting_lines.insert(index, proposal);
                }
            }
            command::Kind::ReserveSubstitutes(reserve) => {
                for Substitute { allocation, node_index, quantity } in &reserve.substitutes {
                    let id = allocation_id(allocation, "allocation").ok();
                    let index = id.and_then(|id| state.allocation_index(id));
                    let Some(line) = index.and_then(|index| state.lines.get(state.allocations[index].line)) else {
                        continue;
                    };
                    taken.push((line.key, *node_index, *quantity));
                }
            }
            command::Kind::OpenNodeEpoch(_)
            | command::Kind::NoteLateFacts(_)
            | command::Kind::ContinueWork(_)
            | command::Kind::RetireNode(_)
            | command::Kind::SetGrantPolicies(_)
            | command::Kind::InitializeGroup(_)
            | command::Kind::CreateItems(_)
            | command::Kind::RegisterNode(_)
            | command::Kind::RangeItems(_)
            | command::Kind::CancelOrder(_)
            | command::Kind::ApplyFacts(_)
            | command::Kind::AcknowledgeFeed(_)
            | command::Kind::RecallRights(_)
            | command::Kind::WorkOffShortfalls(_)
            | command::Kind::RaiseFeatureLevel(_)
            | command::Kind::UpdateItems(_)
            | command::Kind::AnnounceItems(_)
            | command::Kind::CreatePurchaseOrder(_)
            | command::Kind::AmendPurchaseOrder(_)
            | command::Kind::ClosePurchaseOrder(_)
            | command::Kind::RecordShipNotice(_)
            | command::Kind::CreateTransfer(_)
            | command::Kind::ReleaseTransfer(_)
            | command::Kind::CancelTransfer(_)
            | command::Kind::ChangeTransferDate(_)
            | command::Kind::RequestRefund(_)
            | command::Kind::AuthoriseReturn(_)
            | command::Kind::CancelReturnAuthorisation(_)
            | command::Kind::ResolveException(_)
            | command::Kind::FindLateSupply(_) => return,
        }
        for (key, node, units) in &taken {
            let taken = self.by_key.entry(*key).or_default();
            taken.total += units;
            match taken.nodes.binary_search_by_key(node, |(node, _)| *node) {
                Ok(at) => taken.nodes[at].1 += units,
                Err(at) => taken.nodes.insert(at, (*node, *units)),
            }
        }
        self.proposals.entry(proposal).or_default().extend(taken);
    }

    /// Forgets a proposal: its promises are in the state now, or will never be.
    pub fn remove(&mut self, proposal: u64) {
        for (key, node, units) in self.proposals.remove(&proposal).unwrap_or_default() {
            let Some(taken) = self.by_key.get_mut(&key) else { continue };
            taken.total -= units;
            if let Ok(at) = taken.nodes.binary_search_by_key(&node, |(node, _)| *node) {
                taken.nodes[at].1 -= units;
                if taken.nodes[at].1 <= 0 {
                    taken.nodes.remove(at);
                }
            }
            if taken.nodes.is_empty() {
                self.by_key.remove(&key);
            }
        }
        self.waiting_lines.retain(|_, of| *of != proposal);
    }

    /// Forgets everything: leadership was lost.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Proposals in flight that hold promises.
    #[must_use]
    pub fn len(&self) -> usize {
        self.proposals.len()
    }

    /// Nothing in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.proposals.is_empty()
    }

    /// What is taken of a stock key, by node, sorted.
    pub(crate) fn of_key(&self, key: u32) -> &[(u32, Quantity)] {
        self.by_key.get(&key).map_or(&[], |taken| taken.nodes.as_slice())
    }

    /// What is taken of a stock key at a node.
    pub(crate) fn taken(&self, key: u32, node: u32) -> Quantity {
        let Some(taken) = self.by_key.get(&key) else { return 0 };
        taken.nodes.binary_search_by_key(&node, |(node, _)| *node).map_or(0, |at| taken.nodes[at].1)
    }

    /// What is taken of a stock key over all nodes.
    pub(crate) fn total(&self, key: u32) -> Quantity {
        self.by_key.get(&key).map_or(0, |taken| taken.total)
    }

    /// A backorder promise for this line is in flight.
    pub(crate) fn has_line(&self, line: u32) -> bool {
        self.waiting_lines.contains_key(&line)
    }
}
