//! DeclineAllocation: the node will not ship part of an allocation.
//!
//! NOT_FOUND takes the units off sellable stock, DAMAGED moves them to damaged; both count as lost to promising. When fewer
//! units are on hand than declined (they were lost in a shortfall before), only those on hand are lost now: the rest is
//! cancelled, and the coordinator's aim for the shortfall takes it in.

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AllocationDeclined, DeclineReason};
use stockmesh_proto::node::v1::DeclineAllocationResponse;
use stockmesh_types::{AllocationId, Quantity, Reject};

use super::ship::exceeds;
use crate::draft::Draft;
use crate::effects::Answer;

/// Declines work.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclineAllocation {
    /// Allocation.
    pub allocation: AllocationId,
    /// Units that will not be shipped, positive.
    pub quantity: Quantity,
    /// Why.
    pub reason: DeclineReason,
}

impl DeclineAllocation {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { allocation: id, quantity, reason } = self;
        let allocation = draft.allocation(id)?;
        if quantity > allocation.left() {
            return Err(exceeds(id, "left", allocation.left(), quantity));
        }
        let stock_key = allocation.stock_key.clone();
        let cell = draft.cell(&stock_key);
        cell.open -= quantity;
        let lost = match reason {
            DeclineReason::NotFound => {
                let lost = quantity.min(cell.on_hand);
                cell.on_hand -= lost;
                cell.adjusted_total -= lost;
                lost
            }
            DeclineReason::Damaged => {
                let lost = quantity.min(cell.on_hand);
                cell.on_hand -= lost;
                cell.damaged += lost;
                lost
            }
            DeclineReason::NoCapacity
            | DeclineReason::Closed
            | DeclineReason::PickupExpired
            | DeclineReason::CatchWeight
            | DeclineReason::Unspecified => 0,
        };
        let allocation = draft.allocation(id)?;
        allocation.cancelled += quantity;
        allocation.lost += lost;
        let (cancelled_total, lost_total) = (allocation.cancelled, allocation.lost);
        draft.say(Fact::AllocationDeclined(AllocationDeclined {
            allocation: Some(id.into()),
            cancelled_total,
            lost_total,
            reason: reason.into(),
            stock_key: Some((&stock_key).into()),
            lost_quantity: lost,
        }));
        draft.settle();
        Ok(Answer::Declined(DeclineAllocationResponse { task: Some(draft.task(id)?) }))
    }
}
