//! PickItems: units of an allocation are taken from the shelf. They stay on hand until they leave.

use stockmesh_proto::feed::v1::ItemPicked;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::node::v1::PickItemsResponse;
use stockmesh_types::{AllocationId, Quantity, Reject};

use super::ship::exceeds;
use crate::draft::Draft;
use crate::effects::Answer;

/// Picks.
#[derive(Clone, Debug, PartialEq)]
pub struct PickItems {
    /// Allocation.
    pub allocation: AllocationId,
    /// Units picked now, positive.
    pub quantity: Quantity,
}

impl PickItems {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { allocation: id, quantity } = self;
        draft.require_not_held(id)?;
        let allocation = draft.allocation(id)?;
        let unpicked = allocation.quantity - allocation.cancelled - allocation.picked;
        if quantity > unpicked {
            return Err(exceeds(id, "to pick", unpicked, quantity));
        }
        allocation.picked += quantity;
        let picked_total = allocation.picked;
        draft.say(Fact::ItemPicked(ItemPicked { allocation: Some(id.into()), picked_total }));
        Ok(Answer::Picked(PickItemsResponse { task: Some(draft.task(id)?) }))
    }
}
