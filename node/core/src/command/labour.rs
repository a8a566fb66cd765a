//! SetCapacity: how much the people of the node can pick on a day. Waves are cut to it; the coordinator hears of it.
//!
//! What is planned already stays planned, also when less can be done than was thought.
//!
//! Must not know: who works when.

use std::collections::BTreeMap;

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{CapacityReported, HourCapacity};
use stockmesh_proto::node::v1::SetCapacityResponse;
use stockmesh_types::{BusinessDate, Quantity, Reason, Reject};

use crate::draft::Draft;
use crate::effects::{Answer, Context};
use crate::outbound::{OutboundKey, OutboundValue};

/// How far ahead a day may be.
const DAYS_AHEAD: i64 = 30;

/// Sets what can be done on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCapacity {
    /// Day, by UTC.
    pub date: BusinessDate,
    /// Base units on the whole day.
    pub day_units: Quantity,
    /// Base units by hour, 0 to 23.
    pub hours: BTreeMap<u32, Quantity>,
}

impl SetCapacity {
    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { date, day_units, hours } = self;
        let today = context.now.date().days();
        if !(today - 1..=today + DAYS_AHEAD).contains(&date.days()) {
            let message = format!("{date} is not from yesterday to {DAYS_AHEAD} days ahead");
            return Err(Reject::new(Reason::InvalidDate, message).field("date"));
        }
        let text = date.to_string();
        let before = draft.outbound.capacity(&text).cloned().unwrap_or_default();
        let planned = |hour: u32| before.hours.iter().find(|known| known.hour == hour).map_or(0, |h| h.planned_units);
        let hours = hours.into_iter().map(|(hour, capacity_units)| HourCapacity {
            hour,
            capacity_units,
            planned_units: planned(hour),
        });
        let capacity = CapacityReported {
            date: text.clone(),
            day_capacity_units: day_units,
            day_planned_units: before.day_planned_units,
            hours: hours.collect(),
        };
        // Days that are over are of no use to anyone.
        for old in draft.outbound.capacity_days() {
            if BusinessDate::parse(&old).is_ok_and(|old| old.days() < today - 1) {
                draft.outbound.remove(OutboundKey::Capacity(old));
            }
        }
        draft.outbound.put(OutboundKey::Capacity(text), OutboundValue::Capacity(capacity.clone()));
        draft.say(Fact::CapacityReported(capacity.clone()));
        Ok(Answer::CapacitySet(SetCapacityResponse { capacity: Some(capacity) }))
    }
}
