//! Pickups: goods of an order wait until the customer fetches them, or until their time is over.
//!
//! What is set aside is shipped by a handover only. The code that the customer brings is kept as a salted hash; after
//! [`MAX_WRONG_CODES`] wrong ones a new code is needed. A wrong code is remembered, so it is an answer and no reject.
//!
//! Must not know: how a customer learns the code.

use std::collections::BTreeMap;

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{DeclineReason, PickupHandover, PickupLine, PickupStaged};
use stockmesh_proto::node::v1::{
    ExpirePickupsResponse, HandOverPickupResponse, ReplacePickupCodeResponse, StagePickupResponse,
};
use stockmesh_types::{AllocationId, ExceptionCode, OrderId, Reason, Reject};

use super::decline::decline;
use super::ship::{ShipItems, ShipLine, ShipParcel};
use crate::change::{Document, DocumentKind};
use crate::draft::Draft;
use crate::effects::{Answer, Context};
use crate::outbound::records::MAX_WRONG_CODES;
use crate::outbound::views::pickup_view;
use crate::outbound::{OutboundKey, OutboundValue, Pickup};
use crate::site::UnitGroup;

/// Pickups that one command ends.
const EXPIRED_AT_ONCE: usize = 100;

/// Sets everything picked of an order aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagePickup {
    /// Pickup, unique at the node.
    pub pickup_id: OrderId,
    /// Order.
    pub order_id: OrderId,
    /// From when the customer may come; `None`: now.
    pub ready_time_ms: Option<i64>,
    /// Until when the goods wait; `None`: as the node's rules say.
    pub expires_time_ms: Option<i64>,
    /// Code, checked for its form.
    pub code: String,
    /// Salt for its hash, drawn by the shell.
    pub salt: Vec<u8>,
}

impl StagePickup {
    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { pickup_id, order_id, ready_time_ms, expires_time_ms, code, salt } = self;
        draft.new_document(DocumentKind::Pickup, &pickup_id, Document::Taken, "pickup_id")?;
        let open = draft.require_open(&order_id)?;
        let ready_time_ms = ready_time_ms.unwrap_or(context.now.0);
        let expires_time_ms =
            expires_time_ms.unwrap_or_else(|| ready_time_ms.saturating_add(draft.state().rules().pickup_wait_ms));
        if expires_time_ms <= ready_time_ms.max(context.now.0) {
            let message = "the goods would wait until before the customer may come";
            return Err(Reject::new(Reason::InvalidDate, message).field("expires_time_ms"));
        }
        let (mut lines, mut minimum_age_years) = (Vec::new(), 0);
        for id in open {
            draft.require_not_held(id)?;
            let allocation = draft.allocation(id)?;
            let quantity = (allocation.picked - allocation.shipped).min(allocation.left());
            if quantity <= 0 || !allocation.handling.pickup_id.is_empty() {
                continue;
            }
            if !allocation.handling.transfer_id.is_empty() {
                let message = "a transfer is not fetched by a customer";
                return Err(Reject::new(Reason::InvalidValue, message).field("order_id"));
            }
            allocation.handling.pickup_id = pickup_id.to_string();
            let item = allocation.stock_key.item.clone();
            lines.push(PickupLine { allocation: Some(id.into()), quantity });
            let age = draft.item_attributes(&item).map_or(0, |attributes| attributes.minimum_age_years);
            minimum_age_years = minimum_age_years.max(age);
        }
        if lines.is_empty() {
            let message = format!("nothing of order {order_id} is picked and not set aside: pick first");
            return Err(Reject::new(Reason::NothingToStage, message).field("order_id"));
        }
        draft.say(Fact::PickupStaged(PickupStaged {
            pickup_id: pickup_id.to_string(),
            order_id: order_id.to_string(),
            lines: lines.clone(),
            ready_time_ms,
            expires_time_ms,
            minimum_age_years,
        }));
        let order_id = order_id.to_string();
        let mut pickup =
            Pickup { order_id, lines, ready_time_ms, expires_time_ms, minimum_age_years, ..Pickup::default() };
        pickup.set_code(&salt, &code);
        let shown = Some(pickup_view(&pickup_id, &pickup));
        draft.outbound.put(OutboundKey::Pickup(pickup_id), OutboundValue::Pickup(pickup));
        Ok(Answer::PickupStaged(StagePickupResponse { pickup: shown }))
    }
}

fn known(draft: &Draft<'_>, id: &OrderId) -> Result<Pickup, Reject> {
    draft.outbound.pickup(id).cloned().ok_or_else(|| {
        let message = format!("node {} has no pickup {id} that is not over", draft.node());
        Reject::new(Reason::UnknownPickup, message).field("pickup_id")
    })
}

/// Gives a pickup another code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacePickupCode {
    /// Pickup.
    pub pickup_id: OrderId,
    /// Code.
    pub code: String,
    /// Salt for its hash.
    pub salt: Vec<u8>,
}

impl ReplacePickupCode {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { pickup_id, code, salt } = self;
        let mut pickup = known(draft, &pickup_id)?;
        pickup.set_code(&salt, &code);
        let shown = Some(pickup_view(&pickup_id, &pickup));
        draft.outbound.put(OutboundKey::Pickup(pickup_id), OutboundValue::Pickup(pickup));
        Ok(Answer::PickupCodeReplaced(ReplacePickupCodeResponse { pickup: shown }))
    }
}

/// Hands all or part over.
#[derive(Clone, Debug, PartialEq)]
pub struct HandOverPickup {
    /// Pickup.
    pub pickup_id: OrderId,
    /// Code that was brought.
    pub code: String,
    /// Shipment number of the handover.
    pub shipment_id: OrderId,
    /// What is fetched; empty: everything.
    pub lines: Vec<ShipLine>,
    /// Which units, where they are named.
    pub units: BTreeMap<AllocationId, Vec<UnitGroup>>,
    /// Someone else fetches it.
    pub proxy: bool,
    /// The age was checked.
    pub age_checked: bool,
}

impl HandOverPickup {
    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { pickup_id, code, shipment_id, lines, units, proxy, age_checked } = self;
        let mut pickup = known(draft, &pickup_id)?;
        if pickup.wrong_codes >= MAX_WRONG_CODES {
            let message = format!("{} wrong codes were given: replace the code", pickup.wrong_codes);
            return Err(Reject::new(Reason::PickupLocked, message).field("pickup_id"));
        }
        if context.now.0 < pickup.ready_time_ms {
            return Err(Reject::new(Reason::PickupNotReady, "the goods are not ready yet").field("pickup_id"));
        }
        if !pickup.is_code(&code) {
            pickup.wrong_codes += 1;
            let left = MAX_WRONG_CODES - pickup.wrong_codes;
            draft.outbound.put(OutboundKey::Pickup(pickup_id), OutboundValue::Pickup(pickup));
            return Ok(Answer::WrongPickupCode(left));
        }
        if pickup.minimum_age_years > 0 && !age_checked {
            let message = format!("whoever fetches it must be {} or older: check it", pickup.minimum_age_years);
            return Err(Reject::new(Reason::AgeCheckRequired, message).field("age_checked"));
        }
        pickup.wrong_codes = 0;
        let staged: Vec<AllocationId> = allocations_of(&pickup);
        let lines = if lines.is_empty() { everything(draft, &staged)? } else { lines };
        if let Some(n) = lines.iter().position(|line| !staged.contains(&line.allocation)) {
            let message = format!("allocation {} is not part of pickup {pickup_id}", lines[n].allocation);
            return Err(Reject::new(Reason::InvalidValue, message).field(format!("lines[{n}].allocation")));
        }
        draft.outbound.put(OutboundKey::Pickup(pickup_id.clone()), OutboundValue::Pickup(pickup.clone()));
        let handover = PickupHandover { pickup_id: pickup_id.to_string(), proxy, age_checked };
        let ship =
            ShipItems { shipment_id: shipment_id.clone(), lines, carrier: String::new(), tracking: String::new() };
        let parcel = ShipParcel { ship, substitutes: BTreeMap::new(), units, pickup: Some(handover) };
        let tasks = parcel.leave(draft)?;
        draft.settle();
        let waits = staged.iter().any(|id| draft.allocation(*id).is_ok_and(|allocation| allocation.left() > 0));
        Ok(Answer::PickupHandedOver(HandOverPickupResponse {
            shipment_id: shipment_id.to_string(),
            tasks,
            pickup: waits.then(|| pickup_view(&pickup_id, &pickup)),
        }))
    }
}

fn allocations_of(pickup: &Pickup) -> Vec<AllocationId> {
    let id = |line: &PickupLine| stockmesh_proto::convert::allocation_id(&line.allocation, "allocation").ok();
    pickup.lines.iter().filter_map(id).collect()
}

/// All that is left of what was set aside.
fn everything(draft: &mut Draft<'_>, staged: &[AllocationId]) -> Result<Vec<ShipLine>, Reject> {
    let mut lines = Vec::with_capacity(staged.len());
    for id in staged {
        let quantity = draft.allocation(*id)?.left();
        if quantity > 0 {
            lines.push(ShipLine { allocation: *id, quantity });
        }
    }
    Ok(lines)
}

/// Ends pickups whose time is over: the goods go back to stock, and the customer's order loses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpirePickups;

impl ExpirePickups {
    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let mut overdue = draft.outbound.overdue_pickups(context.now.0, EXPIRED_AT_ONCE + 1);
        let more = overdue.len() > EXPIRED_AT_ONCE;
        overdue.truncate(EXPIRED_AT_ONCE);
        let mut pickup_ids = Vec::with_capacity(overdue.len());
        for (pickup_id, pickup) in overdue {
            let mut back = 0;
            for id in allocations_of(&pickup) {
                let left = draft.allocation(id)?.left();
                if left > 0 {
                    decline(draft, id, left, DeclineReason::PickupExpired)?;
                    back += left;
                }
            }
            let words = format!("nobody fetched pickup {pickup_id} of order {} in time", pickup.order_id);
            let (code, id) = (ExceptionCode::OverduePickup, pickup_id.as_str());
            draft.except(code, None, back, "pickup", id, words);
            pickup_ids.push(pickup_id.to_string());
        }
        draft.settle();
        Ok(Answer::PickupsExpired(ExpirePickupsResponse { pickup_ids, more }))
    }
}
