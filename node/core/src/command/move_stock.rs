//! MoveStock: units change condition, or leave as written off. Every change is one movement: who, when, why, on whose word, and the
//! quantity as it was entered.
//!
//! Units that are returned or in receiving move by their own commands: a return's disposition, a receipt's decision.

use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{MoveReason, StockMoved, StockWrittenOff};
use stockmesh_proto::node::v1::MoveStockResponse;
use stockmesh_types::{OrderId, Quantity, Reason, Reject, StockKey};

use crate::draft::Draft;
use crate::effects::Answer;
use crate::site::{Asked, Condition, Converted, TakeRule, UnitGroup};

/// Changes the condition of units.
#[derive(Clone, Debug, PartialEq)]
pub struct MoveStock {
    /// Movement number: the request's id.
    pub movement_id: OrderId,
    /// Stock key.
    pub stock_key: StockKey,
    /// How many.
    pub quantity: Asked,
    /// Condition before.
    pub from: Condition,
    /// Condition after; `None`: they leave.
    pub to: Option<Condition>,
    /// Why.
    pub reason: MoveReason,
    /// Document or note; may be empty.
    pub reference: String,
    /// Which units; none: any.
    pub units: Vec<UnitGroup>,
}

impl MoveStock {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { movement_id, stock_key, quantity, from, to, reason, reference, units } = self;
        check_way(reason, from, to)?;
        let item = draft.ranged(&stock_key.item).map_err(|reject| reject.field("stock_key.item"))?;
        let Converted { base, entered } = quantity.convert(item)?;
        let taken = draft.take_units(&stock_key, from, base, &units, TakeRule::WITHIN)?;
        let moved = Moved { movement_id: &movement_id, stock_key: &stock_key, base, from, reason };
        match to {
            Some(to) => {
                draft.put_units(&stock_key, to, &taken)?;
                draft.say(moved.fact(to, reference, entered, &taken));
            }
            None => {
                draft.cell(&stock_key).disposed_total += base;
                draft.say(Fact::StockWrittenOff(StockWrittenOff {
                    movement_id: movement_id.to_string(),
                    stock_key: Some((&stock_key).into()),
                    quantity: base,
                    from: from.wire().into(),
                    reason: reason.into(),
                    reference,
                    entered,
                    units: UnitGroup::to_wire(&taken),
                }));
            }
        }
        draft.settle();
        Ok(Answer::Moved(MoveStockResponse {
            movement_id: movement_id.to_string(),
            level: Some(draft.level(&stock_key)),
            units: UnitGroup::to_wire(&taken),
        }))
    }
}

/// A movement between conditions.
pub(super) struct Moved<'a> {
    pub(super) movement_id: &'a OrderId,
    pub(super) stock_key: &'a StockKey,
    pub(super) base: Quantity,
    pub(super) from: Condition,
    pub(super) reason: MoveReason,
}

impl Moved<'_> {
    pub(super) fn fact(
        &self,
        to: Condition,
        reference: String,
        entered: Option<common::EnteredQuantity>,
        units: &[UnitGroup],
    ) -> Fact {
        Fact::StockMoved(StockMoved {
            movement_id: self.movement_id.to_string(),
            stock_key: Some(self.stock_key.into()),
            quantity: self.base,
            from: self.from.wire().into(),
            to: to.wire().into(),
            reason: self.reason.into(),
            reference,
            entered,
            units: UnitGroup::to_wire(units),
        })
    }
}

/// Whether a reason leads from one condition to the other.
fn check_way(reason: MoveReason, from: Condition, to: Option<Condition>) -> Result<(), Reject> {
    use Condition::{Damaged, Quarantined, Sellable};
    let held = |condition| matches!(condition, Sellable | Quarantined | Damaged);
    let good = match (reason, to) {
        (MoveReason::Damage, Some(Damaged)) => matches!(from, Sellable | Quarantined),
        (MoveReason::Quarantine | MoveReason::ProductRecall, Some(Quarantined)) => matches!(from, Sellable | Damaged),
        (MoveReason::Release, Some(Sellable)) => from == Quarantined,
        (MoveReason::Rework, Some(Sellable)) => matches!(from, Quarantined | Damaged),
        (MoveReason::Expired, Some(Quarantined | Damaged)) => from == Sellable,
        (MoveReason::Correction, Some(to)) => held(from) && held(to) && from != to,
        (MoveReason::WriteOff | MoveReason::InternalUse, None) => held(from),
        _ => false,
    };
    if good {
        return Ok(());
    }
    let reason = reason.as_str_name().trim_start_matches("MOVE_REASON_");
    let to = to.map_or("out of stock", Condition::word);
    let message = format!("{reason} does not lead from {} to {to}", from.word());
    Err(Reject::new(Reason::MoveNotAllowed, message).field("reason"))
}
