//! AdjustStock: recorded stock was wrong, or units were damaged. Losses come out of what the node retained; what goes beyond is
//! a shortfall. Never below 0 on hand.

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AdjustReason, StockAdjusted};
use stockmesh_proto::node::v1::AdjustStockResponse;
use stockmesh_types::{OrderId, Quantity, Reason, Reject, StockKey};

use crate::draft::Draft;
use crate::effects::{Answer, Context};
use crate::site::{Asked, Condition, TakeRule, UnitGroup};

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
    /// Document or note; may be empty.
    pub reference: String,
    /// Quantity in packs, without sign: `delta` then gives the direction (1 or -1), or says the same in base units.
    pub entered: Option<common::EnteredQuantity>,
    /// Which units; none: any.
    pub units: Vec<UnitGroup>,
}

impl AdjustStock {
    /// Base units, without reference, lots, bins or serial numbers.
    #[must_use]
    pub fn plain(adjustment_id: OrderId, stock_key: StockKey, delta: Quantity, reason: AdjustReason) -> Self {
        Self { adjustment_id, stock_key, delta, reason, reference: String::new(), entered: None, units: Vec::new() }
    }

    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { adjustment_id, stock_key, delta, reason, reference, entered, units } = self;
        check_sign(reason, delta)?;
        let item = draft.ranged(&stock_key.item).map_err(|reject| reject.field("stock_key.item"))?;
        let base = match &entered {
            Some(_) if delta.abs() == 1 => None,
            _ => Some(delta.abs()),
        };
        let quantity = Asked { base, entered: entered.clone() }.convert(item)?.base;
        let delta = quantity * delta.signum();
        let in_delta = |reject: Reject| if reject.field == "quantity" { reject.field("delta") } else { reject };
        let units = if delta > 0 {
            draft.fits(&stock_key, quantity).map_err(in_delta)?;
            let units = draft.identified(&stock_key, quantity, units, context.business_date)?;
            draft.put_units(&stock_key, Condition::Sellable, &units)?;
            units
        } else {
            draft.take_units(&stock_key, Condition::Sellable, quantity, &units, TakeRule::WITHIN).map_err(in_delta)?
        };
        if reason == AdjustReason::Damage {
            // A change of condition: no unit came or went.
            draft.put_units(&stock_key, Condition::Damaged, &units)?;
        } else {
            draft.cell(&stock_key).adjusted_total += delta;
        }
        draft.say(Fact::StockAdjusted(StockAdjusted {
            adjustment_id: adjustment_id.to_string(),
            stock_key: Some((&stock_key).into()),
            delta,
            reason: reason.into(),
            reference,
            entered,
            units: UnitGroup::to_wire(&units),
            count_id: String::new(),
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
