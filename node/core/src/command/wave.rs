//! CreateWave: open work is put together to be picked in one walk, by the cut-off of its carrier.
//!
//! Work is taken in the order in which the node took it on, whole allocations, as far as the labour of the cut-off's hour and day
//! goes. A day or hour without a capacity binds nothing.
//!
//! Must not know: bins; the pick list is a view.

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{CapacityReported, WaveCreated, WaveLine};
use stockmesh_proto::node::v1::CreateWaveResponse;
use stockmesh_types::{AllocationId, LogTime, Quantity, Reason, Reject};

use crate::draft::Draft;
use crate::effects::{Answer, Context};
use crate::outbound::{Counters, OutboundKey, OutboundValue, Wave};

/// Allocations in one wave.
pub const MAX_WAVE: usize = 1_000;
const HOUR_MS: i64 = 3_600_000;

/// Puts a wave together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateWave {
    /// When its parcels must have left.
    pub cut_off_time_ms: i64,
    /// Only work taken on until this time.
    pub accepted_until_ms: Option<i64>,
    /// At most this many allocations, 1 to [`MAX_WAVE`].
    pub max_allocations: usize,
}

impl CreateWave {
    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { cut_off_time_ms, accepted_until_ms, max_allocations } = self;
        if cut_off_time_ms <= context.now.0 {
            let message = "the cut-off is over: give the next one";
            return Err(Reject::new(Reason::InvalidDate, message).field("cut_off_time_ms"));
        }
        let date = LogTime(cut_off_time_ms).date().to_string();
        let capacity = draft.outbound.capacity(&date).cloned();
        let hour = u32::try_from(cut_off_time_ms.rem_euclid(24 * HOUR_MS) / HOUR_MS).unwrap_or_default();
        let mut room = capacity.as_ref().map_or(Quantity::MAX, |capacity| left_at(capacity, hour));
        let (mut lines, mut left_for_labour) = (Vec::new(), 0);
        for (id, quantity) in draft.unplanned(accepted_until_ms.unwrap_or(i64::MAX)) {
            if lines.len() == max_allocations {
                break;
            }
            if quantity > room {
                left_for_labour += quantity;
                continue;
            }
            room -= quantity;
            lines.push((id, quantity));
        }
        if lines.is_empty() {
            let message = if left_for_labour > 0 {
                format!("{left_for_labour} units wait, and the labour of the cut-off's hour or day is used up")
            } else {
                "nothing waits to be picked".to_owned()
            };
            return Err(Reject::new(Reason::NothingToWave, message));
        }
        let number = draft.outbound.counters().map_or(0, |counters| counters.waves) + 1;
        draft.outbound.put(OutboundKey::Counters, OutboundValue::Counters(Counters { waves: number }));
        let planned: Quantity = lines.iter().map(|(_, quantity)| quantity).sum();
        let lines = into_wave(draft, number, lines)?;
        let wave = Wave { cut_off_time_ms, lines: lines.clone() };
        let shown = draft.wave_view(number, &wave);
        draft.outbound.put(OutboundKey::Wave(number), OutboundValue::Wave(wave));
        draft.say(Fact::WaveCreated(WaveCreated { wave: number, cut_off_time_ms, lines }));
        if let Some(mut capacity) = capacity {
            capacity.day_planned_units += planned;
            for known in capacity.hours.iter_mut().filter(|known| known.hour == hour) {
                known.planned_units += planned;
            }
            draft.outbound.put(OutboundKey::Capacity(date), OutboundValue::Capacity(capacity.clone()));
            draft.say(Fact::CapacityReported(capacity));
        }
        Ok(Answer::WaveCreated(CreateWaveResponse { wave: Some(shown), left_for_labour }))
    }
}

fn into_wave(
    draft: &mut Draft<'_>,
    number: u64,
    lines: Vec<(AllocationId, Quantity)>,
) -> Result<Vec<WaveLine>, Reject> {
    let mut wire = Vec::with_capacity(lines.len());
    for (id, quantity) in lines {
        draft.allocation(id)?.handling.wave = number;
        wire.push(WaveLine { allocation: Some(id.into()), quantity });
    }
    Ok(wire)
}

/// Units that the labour of an hour still allows.
fn left_at(capacity: &CapacityReported, hour: u32) -> Quantity {
    let day = capacity.day_capacity_units - capacity.day_planned_units;
    let hour = capacity.hours.iter().find(|known| known.hour == hour);
    hour.map_or(day, |known| day.min(known.capacity_units - known.planned_units)).max(0)
}
