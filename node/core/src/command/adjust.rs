//! AdjustStock: recorded stock was wrong, or units were damaged. Losses come out of what the node retained; what goes beyond is
//! a shortfall. Never below 0 on hand.

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AdjustReason, StockAdjusted};
use stockmesh_proto::node::v1::AdjustStockResponse;
use stockmesh_types::{OrderId, Quantity, Reason, Reject, StockKey};

use crate::draft::Draft;
use crate::effects::Answer;

/// Corrects recorded stock.
#[derive(Clone, Debug, PartialEq)]
pub struct AdjustStock {
    /// Business id of the adjustment: the request's id.
    pub adjustment_id: OrderId,
    /// Stock key.
    pub stock_key: StockKey,
    /// Change of sellable units, not 0.
    pub delta: Quantity,
    /// Why.
    pub reason: AdjustReason,
}

impl AdjustStock {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { adjustment_id, stock_key, delta, reason } = self;
        check_sign(reason, delta)?;
        draft.ranged(&stock_key.item).map_err(|reject| reject.field("stock_key.item"))?;
        if delta > 0 {
            draft.add_on_hand(&stock_key, delta).map_err(|reject| reject.field("delta"))?;
        } else {
            draft.take_on_hand(&stock_key, -delta).map_err(|reject| reject.field("delta"))?;
        }
        let cell = draft.cell(&stock_key);
        if reason == AdjustReason::Damage {
            // A change of condition: no unit came or went.
            cell.damaged -= delta;
        } else {
            cell.adjusted_total += delta;
        }
        draft.say(Fact::StockAdjusted(StockAdjusted {
            adjustment_id: adjustment_id.to_string(),
            stock_key: Some((&stock_key).into()),
            delta,
            reason: reason.into(),
            ..StockAdjusted::default()
        }));
        draft.settle();
        Ok(Answer::Adjusted(AdjustStockResponse { level: Some(draft.level(&stock_key)) }))
    }
}

fn check_sign(reason: AdjustReason, delta: Quantity) -> Result<(), Reject> {
    let refuse =
        |words: &str| Err(Reject::new(Reason::InvalidValue, format!("{words}, delta is {delta}")).field("delta"));
    match reason {
        AdjustReason::Found if delta < 0 => refuse("FOUND needs a positive delta"),
        AdjustReason::Loss if delta > 0 => refuse("LOSS needs a negative delta"),
        AdjustReason::Damage if delta > 0 => refuse("DAMAGE needs a negative delta"),
        AdjustReason::Unspecified
        | AdjustReason::Count
        | AdjustReason::Found
        | AdjustReason::Loss
        | AdjustReason::Damage => Ok(()),
    }
}
