//! ExpireLots: lots that are past their last day leave sellable stock, a bounded number at once. Where they were promised, that is a
//! shortfall. The time is passed in: the business date of the command.

use std::collections::BTreeSet;

use stockmesh_proto::feed::v1::MoveReason;
use stockmesh_proto::node::v1::{ExpireLotsResponse, Holding};
use stockmesh_types::{ExceptionCode, OrderId, Reject, StockKey};

use super::move_stock::Moved;
use crate::draft::Draft;
use crate::effects::{Answer, Context};
use crate::site::raise::Raise;
use crate::site::{Condition, Label, TakeRule, UnitGroup};

/// Lots looked at by one command.
const LOTS_AT_ONCE: usize = 64;

/// Takes expired lots out of sellable stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpireLots {
    /// Movement number of the first; the others have its form with a number behind.
    pub movement_id: OrderId,
}

impl ExpireLots {
    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { movement_id } = self;
        let due: Vec<(StockKey, Label)> = draft
            .state()
            .site()
            .expired_before(context.business_date)
            .filter(|(_, key, lot)| draft.state().site().has_sellable(key, lot))
            .take(LOTS_AT_ONCE + 1)
            .map(|(_, key, lot)| (key.clone(), lot.clone()))
            .collect();
        let more = due.len() > LOTS_AT_ONCE;
        let mut expired = Vec::new();
        let mut keys = BTreeSet::new();
        for (n, (key, lot)) in due.into_iter().take(LOTS_AT_ONCE).enumerate() {
            let groups: Vec<UnitGroup> = draft.all_of_lot(&key, Condition::Sellable, &lot);
            let quantity = UnitGroup::total(&groups);
            let taken = draft.take_units(&key, Condition::Sellable, quantity, &groups, TakeRule::RECORDED)?;
            draft.put_units(&key, Condition::Quarantined, &taken)?;
            let id = if n == 0 { movement_id.clone() } else { OrderId::new(&format!("{movement_id}.{n}"))? };
            let (from, reason) = (Condition::Sellable, MoveReason::Expired);
            let moved = Moved { movement_id: &id, stock_key: &key, base: quantity, from, reason };
            draft.say(moved.fact(Condition::Quarantined, lot.to_string(), None, &taken));
            let raise = Raise {
                code: ExceptionCode::LotExpired,
                stock_key: Some(&key),
                quantity,
                document_kind: "",
                document_id: "",
                line: 0,
                description: format!("lot {lot} is past its last day: {quantity} units left sellable stock"),
            };
            draft.raise(raise, None);
            expired.extend(taken.iter().map(|group| Holding {
                stock_key: Some((&key).into()),
                condition: Condition::Quarantined.wire().into(),
                lot: group.lot.to_string(),
                expiry_date: group.expiry.map(|date| date.to_string()).unwrap_or_default(),
                bin: group.bin.to_string(),
                quantity: group.quantity,
                serials: group.serials.iter().take(100).map(ToString::to_string).collect(),
            }));
            keys.insert(key);
        }
        draft.settle();
        Ok(Answer::LotsExpired(ExpireLotsResponse { expired, more }))
    }
}
