//! `AllocateBackorders`: waiting units are promised. Each promise that still holds commits, the others stay in the queue.

use stockmesh_proto::raft::v1::{AllocateBackorders, BackorderPromise, Promise};
use stockmesh_types::{Reason, Reject};

use super::emit::Delivery;
use super::{Stop, Tx};
use crate::State;
use crate::answer::Answer;
use crate::rights::NewAllocation;
use crate::validate::MAX_CELLS;

impl Tx<'_> {
    pub(super) fn allocate_backorders(&mut self, command: &AllocateBackorders) -> Result<Answer, Stop> {
        if command.promises.len() > MAX_CELLS {
            let message = format!("{} promises, and a command holds at most {MAX_CELLS}", command.promises.len());
            return Err(Reject::new(Reason::TooManyCells, message).field("promises").into());
        }
        let (mut promised, mut left_out) = (0, 0);
        for BackorderPromise { order_id, promise } in &command.promises {
            let holds = promise.as_ref().and_then(|promise| self.holds(order_id, promise));
            let (Some(line), Some(promise)) = (holds, promise) else {
                left_out += 1;
                continue;
            };
            let waiting = self.state.lines[line].waiting - promise.quantity;
            self.set_waiting(line, waiting);
            let order = State::order_body(&self.state.orders[self.state.lines[line].order]);
            let (node, quantity) = (promise.node_index, promise.quantity);
            let delivery = Delivery::of(&order);
            self.open_allocation(&NewAllocation { line, node, quantity, order: &order, delivery: &delivery })?;
            self.claim_met(self.state.lines[line].key, node, quantity);
            promised += quantity;
        }
        Ok(Answer::BackordersAllocated { promised, left_out })
    }

    /// The line of a promise, when so much of it waits, the cell has the rights, and the node did not decline it.
    fn holds(&self, order_id: &str, promise: &Promise) -> Option<u32> {
        let Promise { line, node_index, quantity } = *promise;
        let order = &self.state.orders[self.state.order_index.get(order_id)?];
        let index = self.state.line_index(order, line)?;
        let record = &self.state.lines[index];
        let free = self.state.cell(record.key, node_index)?.free();
        let holds = quantity > 0
            && quantity <= record.waiting
            && quantity <= free
            && !self.state.is_fenced(node_index)
            && !(record.excludes && self.state.excludes(record, node_index));
        holds.then_some(index)
    }
}
