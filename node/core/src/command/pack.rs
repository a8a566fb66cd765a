//! PackItems: picked units are packed. They stay on hand until they leave.

use stockmesh_proto::feed::v1::ItemPacked;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::node::v1::PackItemsResponse;
use stockmesh_types::{AllocationId, Quantity, Reason, Reject};

use super::ship::exceeds;
use crate::draft::Draft;
use crate::effects::Answer;

/// Packs.
#[derive(Clone, Debug, PartialEq)]
pub struct PackItems {
    /// Allocation.
    pub allocation: AllocationId,
    /// Units packed now, positive.
    pub quantity: Quantity,
}

impl PackItems {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { allocation: id, quantity } = self;
        draft.require_not_held(id)?;
        let allocation = draft.allocation(id)?;
        let unpacked = allocation.quantity - allocation.cancelled - allocation.packed;
        if quantity > unpacked {
            return Err(exceeds(id, "to pack", unpacked, quantity));
        }
        let waiting = allocation.picked - allocation.packed;
        if quantity > waiting {
            let message = format!("{waiting} units of {id} are picked and not packed, {quantity} asked: pick first");
            return Err(Reject::new(Reason::NotPicked, message).field("quantity"));
        }
        allocation.packed += quantity;
        let packed_total = allocation.packed;
        draft.say(Fact::ItemPacked(ItemPacked { allocation: Some(id.into()), packed_total }));
        Ok(Answer::Packed(PackItemsResponse { task: Some(draft.task(id)?) }))
    }
}
