//! Fulfillment orders: what the node ships for one order waits, goes on, or is given back; what a picker found to be wrong.
//!
//! Must not know: waves, pickups; they look at holds.

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{
    AdjustReason, DeclineReason, FulfillmentHeld, FulfillmentResumed, ItemPicked, StockAdjusted,
};
use stockmesh_proto::node::v1::{
    HoldFulfillmentOrderResponse, PickWeighedResponse, RejectFulfillmentOrderResponse, ReportShortPickResponse,
    ResumeFulfillmentOrderResponse, ShortPickReason,
};
use stockmesh_types::{AllocationId, ExceptionCode, OrderId, Quantity, Reason, Reject};

use super::decline::{check_in_time, decline};
use crate::draft::Draft;
use crate::effects::Answer;
use crate::outbound::{Hold, OutboundKey, OutboundValue};

/// Has the work for an order wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldFulfillmentOrder {
    /// Order.
    pub order_id: OrderId,
    /// Why.
    pub reason: String,
}

impl HoldFulfillmentOrder {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { order_id, reason } = self;
        draft.require_open(&order_id)?;
        draft.outbound.put(OutboundKey::Hold(order_id.clone()), OutboundValue::Hold(Hold { reason: reason.clone() }));
        draft.say(Fact::FulfillmentHeld(FulfillmentHeld { order_id: order_id.to_string(), reason }));
        let fulfillment_order = Some(draft.fulfillment_order(&order_id));
        Ok(Answer::FulfillmentHeld(HoldFulfillmentOrderResponse { fulfillment_order }))
    }
}

/// Has it go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeFulfillmentOrder {
    /// Order.
    pub order_id: OrderId,
}

impl ResumeFulfillmentOrder {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { order_id } = self;
        draft.require_open(&order_id)?;
        if draft.outbound.hold(&order_id).is_none() {
            let message = format!("the work for order {order_id} does not wait");
            return Err(Reject::new(Reason::NotOnHold, message).field("order_id"));
        }
        draft.outbound.remove(OutboundKey::Hold(order_id.clone()));
        draft.say(Fact::FulfillmentResumed(FulfillmentResumed { order_id: order_id.to_string() }));
        let fulfillment_order = Some(draft.fulfillment_order(&order_id));
        Ok(Answer::FulfillmentResumed(ResumeFulfillmentOrderResponse { fulfillment_order }))
    }
}

/// Gives everything back that is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectFulfillmentOrder {
    /// Order.
    pub order_id: OrderId,
    /// Why: it decides what happens to the stock figure.
    pub reason: DeclineReason,
}

impl RejectFulfillmentOrder {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { order_id, reason } = self;
        let open = draft.require_open(&order_id)?;
        for id in &open {
            check_in_time(draft, *id, reason)?;
        }
        for id in open {
            let left = draft.allocation(id)?.left();
            decline(draft, id, left, reason)?;
        }
        draft.settle();
        let fulfillment_order = Some(draft.fulfillment_order(&order_id));
        Ok(Answer::FulfillmentRejected(RejectFulfillmentOrderResponse { fulfillment_order }))
    }
}

/// Fewer units were found than were to pick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportShortPick {
    /// Allocation.
    pub allocation: AllocationId,
    /// Base units found and picked now.
    pub found: Quantity,
    /// What is wrong with the rest.
    pub reason: ShortPickReason,
}

impl ReportShortPick {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { allocation: id, found, reason } = self;
        draft.require_not_held(id)?;
        let allocation = draft.allocation(id)?;
        let (to_pick, stock_key) = (allocation.to_pick(), allocation.stock_key.clone());
        if found >= to_pick {
            let message = format!("{found} units were found, and {to_pick} are to pick: nothing is short");
            return Err(Reject::new(Reason::NothingShort, message).field("found"));
        }
        let (declined, words) = match reason {
            ShortPickReason::NothingThere if found > 0 => {
                let message = format!("{found} units were found: the reason is SOME_MISSING");
                return Err(Reject::new(Reason::InvalidValue, message).field("reason"));
            }
            ShortPickReason::SomeMissing if found == 0 => {
                let message = "no unit was found: the reason is NOTHING_THERE";
                return Err(Reject::new(Reason::InvalidValue, message).field("reason"));
            }
            ShortPickReason::NothingThere | ShortPickReason::SomeMissing => (DeclineReason::NotFound, "not there"),
            ShortPickReason::Damaged => (DeclineReason::Damaged, "damaged"),
            ShortPickReason::Unspecified => {
                return Err(Reject::new(Reason::UnspecifiedEnum, "reason is not stated").field("reason"));
            }
        };
        if found > 0 {
            pick(draft, id, found)?;
        }
        let short = to_pick - found;
        decline(draft, id, short, declined)?;
        let words = format!("{short} of {to_pick} units of {stock_key} to pick for {id} were {words}");
        let code = ExceptionCode::ShortPick;
        let exception_id = draft.except(code, Some(&stock_key), short, "allocation", &id.to_string(), words);
        draft.settle();
        Ok(Answer::ShortPick(ReportShortPickResponse { task: Some(draft.task(id)?), exception_id }))
    }
}

fn pick(draft: &mut Draft<'_>, id: AllocationId, quantity: Quantity) -> Result<(), Reject> {
    let allocation = draft.allocation(id)?;
    allocation.picked += quantity;
    let picked_total = allocation.picked;
    draft.say(Fact::ItemPicked(ItemPicked { allocation: Some(id.into()), picked_total }));
    Ok(())
}

/// Everything that is left to pick of a weighed item was put on the scales.
///
/// A lighter piece within the tolerance: the rest is cancelled on the order. A heavier one: the surplus goes along and is booked out
/// as given away, of what the node retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PickWeighed {
    /// Allocation.
    pub allocation: AllocationId,
    /// Weight, grams, positive.
    pub weight_grams: Quantity,
}

impl PickWeighed {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { allocation: id, weight_grams } = self;
        draft.require_not_held(id)?;
        let allocation = draft.allocation(id)?;
        let (to_pick, stock_key) = (allocation.to_pick(), allocation.stock_key.clone());
        if to_pick == 0 {
            return Err(super::ship::exceeds(id, "to pick", 0, weight_grams).field("weight_grams"));
        }
        if !draft.item_attributes(&stock_key.item).is_some_and(|attributes| attributes.weighed) {
            let message = format!("{} is not sold by weight: use PickItems", stock_key.item);
            return Err(Reject::new(Reason::NotWeighed, message).field("allocation"));
        }
        let tolerance = draft.state().rules().weight_tolerance(to_pick);
        let (under, over) = ((to_pick - weight_grams).max(0), (weight_grams - to_pick).max(0));
        if under.max(over) > tolerance {
            let message = format!(
                "{weight_grams} g were picked of {to_pick} g ordered, and {tolerance} g may differ: take another piece, or report a \
                 short pick"
            );
            return Err(Reject::new(Reason::OutsideTolerance, message).field("weight_grams"));
        }
        pick(draft, id, to_pick - under)?;
        if under > 0 {
            decline(draft, id, under, DeclineReason::CatchWeight)?;
        }
        if over > 0 {
            let cell = draft.cell(&stock_key);
            let retained = cell.retained().min(cell.on_hand).max(0);
            if retained < over {
                let message = format!("{over} g go beyond the order, and {retained} g of {stock_key} are not promised");
                return Err(Reject::new(Reason::InsufficientRetained, message).field("weight_grams"));
            }
            cell.on_hand -= over;
            cell.adjusted_total -= over;
            let picked = draft.allocation(id)?.picked;
            draft.say(Fact::StockAdjusted(StockAdjusted {
                // What is picked of an allocation grows with each such pick: the number never comes again.
                adjustment_id: format!("{id}/overweight/{picked}"),
                stock_key: Some((&stock_key).into()),
                delta: -over,
                reason: AdjustReason::Loss.into(),
                ..StockAdjusted::default()
            }));
        }
        draft.settle();
        let response = PickWeighedResponse { task: Some(draft.task(id)?), under_grams: under, over_grams: over };
        Ok(Answer::PickedByWeight(response))
    }
}
