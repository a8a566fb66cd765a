//! Lives of nodes: a node that was restored goes on in a new epoch, and the old one is sealed.
//!
//! What lacks of a sealed epoch is named, in suspense, until it has come; what is lost stays there, for a person. What comes
//! behind a seal is set apart, never posted in silence. Facts of the new epoch wait until the coordinator says that it is open:
//! what was before is then sealed, whichever feed comes first.

use stockmesh_proto::feed::v1::NodeEpochOpened;
use stockmesh_types::{FeedId, NodeId, Reason, Reject};

use super::{Incoming, Posted, Stop, Wait, node_key};
use crate::books::{Books, Fault};
use crate::journal::Source;
use crate::records::{Node, Records, Sealed, Stage};

/// The feed of a node's epoch.
fn feed_of(node: &NodeId, epoch: u64) -> FeedId {
    FeedId { participant: format!("node/{node}"), destination: String::new(), epoch }
}

/// What facts of an epoch wait for that is not open yet.
fn epoch_key(node: &NodeId, epoch: u64) -> String {
    format!("epoch:{node}:{epoch}")
}

/// What a gap waits for: the last entry of a sealed epoch that somebody has.
fn sealed_key(node: &NodeId, epoch: u64) -> String {
    format!("sealed:{node}:{epoch}")
}

impl<R: Records> Books<R> {
    pub(super) fn node_epoch_opened(
        &mut self,
        incoming: &Incoming<'_>,
        fact: &NodeEpochOpened,
        stage: Stage,
    ) -> Posted<(), R> {
        Self::check_coordinator(incoming)?;
        let id = NodeId::new(&fact.node)?;
        let Some(mut node) = self.node(&id)? else {
            let message = format!("waits until the coordinator has registered node {id} with its legal entity");
            return Err(Wait::partner(Stage::Whole, "NODE_NOT_REGISTERED", node_key(&id), message).into());
        };
        if stage != Stage::Note {
            if fact.epoch <= node.epoch {
                // Heard before.
                return Ok(());
            }
            if fact.sealed_epoch >= fact.epoch {
                let message = format!("epoch {} of node {id} can't follow {}", fact.epoch, fact.sealed_epoch);
                return Err(Reject::new(Reason::InvalidValue, message).field("sealed_epoch").into());
            }
            let lost = fact.lost_from_seq > 0 && fact.lost_from_seq <= fact.sealed_seq;
            let expected_seq = if lost { fact.lost_from_seq - 1 } else { fact.sealed_seq };
            node.sealed.push(Sealed { epoch: fact.sealed_epoch, seq: fact.sealed_seq, expected_seq });
            node.epoch = fact.epoch;
            self.known.push_back(epoch_key(&id, fact.epoch));
            self.put_node(id.clone(), node.clone());
        }
        self.check_seal(&id, &node, fact)
    }

    /// Names what of a sealed epoch is not in the books, and what is in the books though it was not sealed.
    fn check_seal(&mut self, id: &NodeId, node: &Node, fact: &NodeEpochOpened) -> Posted<(), R> {
        let Some(sealed) = node.sealed.iter().find(|sealed| sealed.epoch == fact.sealed_epoch) else { return Ok(()) };
        let Sealed { epoch, seq, expected_seq } = *sealed;
        let posted = self.posted_seq(&feed_of(id, epoch))?;
        if posted < expected_seq {
            let message = format!(
                "entries {} to {expected_seq} of epoch {epoch} of node {id} have not come yet: the epoch is sealed at {seq}",
                posted + 1
            );
            return Err(Wait::partner(Stage::Note, "FEED_GAP", sealed_key(id, epoch), message).into());
        }
        if posted > seq {
            let message = format!(
                "entries {} to {posted} of epoch {epoch} of node {id} are posted, and the epoch is sealed at {seq}: compare \
                 what they say with the recount",
                seq + 1
            );
            return Err(Wait::person(Stage::Note, "FEED_BEYOND_SEAL", message).into());
        }
        if posted < seq {
            let message = format!(
                "entries {} to {seq} of epoch {epoch} of node {id} are lost: nobody holds them, and the recount decided",
                posted + 1
            );
            return Err(Wait::person(Stage::Note, "FEED_GAP", message).into());
        }
        Ok(())
    }

    /// Refuses a node's fact that belongs to no open life of it.
    pub(super) fn check_epoch(&self, source: &Source, id: &NodeId, node: &Node) -> Result<(), Stop<R::Error>> {
        let epoch = source.feed.epoch;
        if epoch == node.epoch {
            return Ok(());
        }
        if epoch > node.epoch {
            let message = format!("waits until the coordinator says that epoch {epoch} of node {id} is open");
            return Err(Wait::partner(Stage::Whole, "EPOCH_NOT_OPEN", epoch_key(id, epoch), message).into());
        }
        let sealed = node.sealed.iter().find(|sealed| sealed.epoch == epoch);
        if sealed.is_some_and(|sealed| source.seq <= sealed.seq) {
            return Ok(());
        }
        let message = match sealed {
            Some(sealed) => {
                format!("epoch {epoch} of node {id} was sealed at entry {}; this one surfaced later", sealed.seq)
            }
            None => format!("epoch {epoch} of node {id} is over, and was never open"),
        };
        Err(Wait::person(Stage::Whole, "LATE_FACT_OF_SEALED_EPOCH", message).into())
    }

    /// Lets gaps be looked at again when the last entry that they wait for has come.
    pub(super) fn note_sealed(&mut self, source: &Source) -> Result<(), Fault<R::Error>> {
        if self.meta.suspended == 0 {
            return Ok(());
        }
        let Some(Ok(id)) = source.feed.participant.strip_prefix("node/").map(NodeId::new) else { return Ok(()) };
        let Some(node) = self.node(&id)?.filter(|node| source.feed.epoch < node.epoch) else { return Ok(()) };
        let complete = |sealed: &&Sealed| sealed.epoch == source.feed.epoch && sealed.expected_seq == source.seq;
        if let Some(sealed) = node.sealed.iter().find(complete) {
            self.known.push_back(sealed_key(&id, sealed.epoch));
        }
        Ok(())
    }
}
