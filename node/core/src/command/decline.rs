//! DeclineAllocation: the node will not ship part of an allocation.
//!
//! NOT_FOUND takes the units off sellable stock, DAMAGED moves them to damaged; both count as lost to promising. When fewer
//! units are on hand than declined (they were lost in a shortfall before), only those on hand are lost now: the rest is
//! cancelled, and the coordinator's aim for the shortfall takes it in.

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AllocationDeclined, DeclineReason};
use stockmesh_proto::node::v1::DeclineAllocationResponse;
use stockmesh_types::{AllocationId, Quantity, Reason, Reject};

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
        let left = draft.allocation(id)?.left();
        if quantity > left {
            return Err(exceeds(id, "left", left, quantity));
        }
        check_in_time(draft, id, reason)?;
        decline(draft, id, quantity, reason)?;
        draft.settle();
        Ok(Answer::Declined(DeclineAllocationResponse { task: Some(draft.task(id)?) }))
    }
}

/// A person may give these reasons, and this one not too late: a customer was promised something since.
pub(super) fn check_in_time(draft: &mut Draft<'_>, id: AllocationId, reason: DeclineReason) -> Result<(), Reject> {
    let message = match reason {
        DeclineReason::NotFound | DeclineReason::Damaged => return Ok(()),
        DeclineReason::NoCapacity | DeclineReason::Closed => {
            let Some(within) = draft.state().rules().reject_within_ms else { return Ok(()) };
            let accepted = draft.allocation(id)?.accepted_time.0;
            if draft.meta.time.0 - accepted <= within {
                return Ok(());
            }
            let message = format!("{id} could be rejected because of the site within {} min: ship it", within / 60_000);
            return Err(Reject::new(Reason::RejectedTooLate, message).field("reason"));
        }
        DeclineReason::PickupExpired => "a pickup that is over is declined by ExpirePickups",
        DeclineReason::CatchWeight => "a lighter piece is declined by PickWeighed",
        DeclineReason::Unspecified => "reason is not stated",
    };
    Err(Reject::new(Reason::InvalidValue, message).field("reason"))
}

/// Declines units of an allocation that are left; the caller has checked that they are.
pub(super) fn decline(
    draft: &mut Draft<'_>,
    id: AllocationId,
    quantity: Quantity,
    reason: DeclineReason,
) -> Result<(), Reject> {
    let stock_key = draft.allocation(id)?.stock_key.clone();
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
    Ok(())
}
