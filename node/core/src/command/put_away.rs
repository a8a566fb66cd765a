//! PutAwayStock: units go into a bin, or from bin to bin. Their condition and the cell's counters stay.

use stockmesh_proto::feed::v1::StockPutAway;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::node::v1::PutAwayStockResponse;
use stockmesh_types::{OrderId, Reason, Reject, StockKey};

use crate::draft::Draft;
use crate::effects::Answer;
use crate::site::{Asked, Condition, Converted, Label, TakeRule, UnitGroup};

/// Puts units into a bin.
#[derive(Clone, Debug, PartialEq)]
pub struct PutAwayStock {
    /// Movement number: the request's id.
    pub movement_id: OrderId,
    /// Stock key.
    pub stock_key: StockKey,
    /// How many.
    pub quantity: Asked,
    /// Their condition.
    pub condition: Condition,
    /// Where they are; none: in no bin.
    pub units: Vec<UnitGroup>,
    /// Where they go; none: out of bins.
    pub to_bin: Label,
}

impl PutAwayStock {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { movement_id, stock_key, quantity, condition, units, to_bin } = self;
        let item = draft.ranged(&stock_key.item).map_err(|reject| reject.field("stock_key.item"))?;
        let Converted { base, entered } = quantity.convert(item)?;
        let bin = draft.site.bins.get(&to_bin).cloned();
        if !to_bin.is_none() && bin.is_none() {
            let message = format!("node {} has no bin {to_bin}: set it up first", draft.state().identity().node);
            return Err(Reject::new(Reason::UnknownBin, message).field("to_bin"));
        }
        let from = if units.is_empty() { draft.unplaced(&stock_key, condition, base)? } else { units };
        let taken = draft.take_units(&stock_key, condition, base, &from, TakeRule::WITHIN)?;
        let put: Vec<UnitGroup> =
            taken.iter().map(|group| UnitGroup { bin: to_bin.clone(), ..group.clone() }).collect();
        draft.put_units(&stock_key, condition, &put)?;
        draft.say(Fact::StockPutAway(StockPutAway {
            movement_id: movement_id.to_string(),
            stock_key: Some((&stock_key).into()),
            quantity: base,
            condition: condition.wire().into(),
            to_bin: to_bin.to_string(),
            units: UnitGroup::to_wire(&taken),
            entered,
            accessible: bin.is_some_and(|bin| bin.accessible),
        }));
        draft.settle();
        Ok(Answer::PutAway(PutAwayStockResponse {
            movement_id: movement_id.to_string(),
            units: UnitGroup::to_wire(&taken),
        }))
    }
}
