//! `RegisterNode`: a node joins the network; finance learns whose books its stock is in.

use std::sync::Arc;

use stockmesh_proto::common::v1::NodeKind;
use stockmesh_proto::convert::{required, specified};
use stockmesh_proto::coordinator::v1::Node;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::NodeRegistered;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::raft::v1::RegisterNode;
use stockmesh_types::{LegalEntity, NodeId, Reason, Reject};

use super::{Stop, Tx};
use crate::cow::CowMap;
use crate::records::{NodeFixed, NodeRecord, RememberedOutcome};
use crate::recovery::Marks;
use crate::state::full;
use crate::validate::check_node;

impl Tx<'_> {
    pub(super) fn register_node(&mut self, command: &RegisterNode) -> Result<RememberedOutcome, Stop> {
        let node = required(&command.node, "node")?;
        check_node(node).map_err(|reject| reject.within("node"))?;
        // Epoch and sequence numbers are output only: what a caller puts there is not looked at.
        let Node { node: name, kind, place, legal_entity, costs, .. } = node;
        let kind = specified::<NodeKind>(*kind, "node.kind")?;
        let fixed = NodeFixed {
            kind,
            place: required(place, "node.place")?.clone(),
            legal_entity: LegalEntity::new(legal_entity)?,
            costs: *required(costs, "node.costs")?,
        };
        if let Some(index) = self.state.node_index.get(name) {
            if *self.state.nodes[index].fixed == fixed {
                return Ok(RememberedOutcome::NodeRegistered { node: index });
            }
            let message = format!("node {name} is registered with another kind, place, legal entity or costs");
            return Err(Reject::new(Reason::NodeExists, message).field("node").into());
        }
        let id = NodeId::new(name)?;
        // Every command but the first runs within a group.
        let Some(group) = self.state.group.clone() else { return Err(full("groups").into()) };
        let destination = self.add_destination(group.group, group.incarnation, &format!("node/{id}"))?;
        let record = NodeRecord {
            id: id.clone(),
            fixed: Arc::new(fixed),
            direction: Arc::default(),
            destination,
            epoch: 0,
            cursor: Head::START,
            marks: Marks::default(),
            ranged: CowMap::default(),
        };
        let index = self.state.nodes.push(record).ok_or_else(|| full("nodes"))?;
        self.state.node_index.insert(id, index);
        let fact = NodeRegistered { node: name.clone(), kind: kind.into(), legal_entity: legal_entity.clone() };
        self.emit_finance(&Fact::NodeRegistered(fact));
        Ok(RememberedOutcome::NodeRegistered { node: index })
    }
}
