//! `RecallRights`: free rights go back to a node, for its counter (transition 8).

use stockmesh_proto::convert;
use stockmesh_proto::raft::v1::RecallRights;
use stockmesh_types::{Reason, Reject, quantity};

use super::{Stop, Tx};
use crate::records::RememberedOutcome;

impl Tx<'_> {
    pub(super) fn recall_rights(&mut self, command: &RecallRights) -> Result<RememberedOutcome, Stop> {
        let units = quantity::positive(command.quantity, "quantity")?;
        let node = self.state.known_node(&command.node, "node")?;
        let stock_key = convert::stock_key(&command.stock_key, "stock_key")?;
        self.state.known_item(stock_key.item.as_str(), "stock_key.item")?;
        let key = self.state.key_index(&stock_key).filter(|key| self.state.cell(*key, node).is_some());
        let Some(key) = key else {
            let message = format!("node {} never granted rights for {stock_key}", command.node);
            return Err(Reject::new(Reason::UnknownCell, message).field("stock_key").into());
        };
        let free = self.state.cell(key, node).map_or(0, |cell| cell.free());
        if free < units {
            let message = format!("{free} units of {stock_key} are free at {}, and {units} are recalled", command.node);
            return Err(Reject::new(Reason::InsufficientRights, message).field("quantity").into());
        }
        self.change_cell(key, node, |cell| cell.returned += units)?;
        self.emit_returned();
        Ok(RememberedOutcome::RightsRecalled { key, node })
    }
}
