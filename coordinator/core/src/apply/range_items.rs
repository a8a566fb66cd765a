//! `RangeItems`: which items a node may handle; the node is told, with what it must know of them.

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::raft::v1::RangeItems;
use stockmesh_types::{Reason, Reject};

use super::{Stop, Tx};
use crate::records::RememberedOutcome;
use crate::validate::MAX_ITEMS;

impl Tx<'_> {
    pub(super) fn range_items(&mut self, command: &RangeItems) -> Result<RememberedOutcome, Stop> {
        let node = self.state.known_node(&command.node, "node")?;
        if command.items.len() > MAX_ITEMS {
            let message = format!("{} items, and one call holds at most {MAX_ITEMS}", command.items.len());
            return Err(Reject::new(Reason::TooManyLines, message).field("items").into());
        }
        let mut items = Vec::with_capacity(command.items.len());
        for (n, item) in command.items.iter().enumerate() {
            items.push(self.state.known_item(item, &format!("items[{n}]"))?);
        }
        let mut ranged = 0;
        for item in items {
            if self.state.nodes[node].ranged.insert(item, ()).is_some() {
                continue;
            }
            ranged += 1;
            let fact = self.state.item_ranged(item);
            let destination = self.state.nodes[node].destination;
            self.emit(destination, Fact::ItemRanged(fact));
        }
        Ok(RememberedOutcome::ItemsRanged { ranged })
    }
}
