//! `OpenNodeEpoch` and `NoteLateFacts`: a node's history is sealed, and goes on in a new epoch.
//!
//! The marker is O(1): the node's life counts one more, which makes every cell of it one of an earlier life, and the node
//! is fenced until it speaks in the new epoch.

use stockmesh_proto::convert::required;
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{FeedPosition, NodeEpochOpened};
use stockmesh_proto::raft::v1::{NoteLateFacts, OpenNodeEpoch};
use stockmesh_types::{ExceptionCode, Reason, Reject};

use super::records::MAX_RECOVERIES;
use super::{LateFacts, Recovery, Standing, Work};
use crate::State;
use crate::answer::{Answer, Notice};
use crate::apply::{FIRST_EPOCH, Stop, Tx};

/// The 16 bytes of a UUID, whatever its version.
pub(crate) fn uuid(text: &str, field: &str) -> Result<[u8; 16], Reject> {
    let wrong = || {
        let shown: String = text.chars().take(80).collect();
        Reject::new(Reason::InvalidValue, format!("{shown:?} is not a UUID")).field(field)
    };
    let bytes = text.as_bytes();
    if bytes.len() != 36 || [8, 13, 18, 23].iter().any(|at| bytes[*at] != b'-') {
        return Err(wrong());
    }
    let mut id = [0; 16];
    let mut digits = bytes.iter().filter(|byte| **byte != b'-').map(|byte| char::from(*byte).to_digit(16));
    for byte in &mut id {
        let (high, low) = (digits.next().flatten(), digits.next().flatten());
        let (Some(high), Some(low)) = (high, low) else { return Err(wrong()) };
        // Two digits of base 16 fit a byte.
        *byte = u8::try_from(high * 16 + low).unwrap_or(0);
    }
    if digits.next().is_some() || id == [0; 16] {
        return Err(wrong());
    }
    Ok(id)
}

/// A UUID as text.
pub(crate) fn uuid_text(id: &[u8; 16]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{}-{}-{}-{}-{}", hex(&id[..4]), hex(&id[4..6]), hex(&id[6..8]), hex(&id[8..10]), hex(&id[10..]))
}

fn position(position: &FeedPosition, field: &str) -> Result<Head, Reject> {
    Head::from_wire(position)
        .ok_or_else(|| Reject::new(Reason::InvalidValue, format!("{field}.hash is not 32 bytes")).field(field))
}

impl State {
    /// The recovery with this id, of a node.
    pub(crate) fn recovery_of(&self, node: u32, id: &[u8; 16]) -> Option<&Recovery> {
        self.recovery.nodes.get(&node)?.recoveries.iter().find(|recovery| recovery.id == *id)
    }
}

impl Tx<'_> {
    pub(crate) fn open_node_epoch(&mut self, command: &OpenNodeEpoch) -> Result<Answer, Stop> {
        let OpenNodeEpoch { node, epoch, r#final, recovery_id, lost_to } = command;
        let id = uuid(recovery_id, "recovery_id")?;
        let node = self.state.known_node(node, "node")?;
        let name = self.state.nodes[node].id.clone();
        if let Some(known) = self.state.recovery_of(node, &id) {
            if known.epoch == epoch + 1 {
                return Ok(Answer::NodeEpochOpened { node: name, epoch: known.epoch, recovery_id: uuid_text(&id) });
            }
            let message = format!("recovery {recovery_id} of {name} opened epoch {}: draw a fresh id", known.epoch);
            return Err(Reject::new(Reason::StaleRecovery, message).field("recovery_id").into());
        }
        if self.state.recovery.standing(node) == Standing::Lost {
            let message = format!("node {name} was given up as lost: reinstate it first");
            return Err(Reject::new(Reason::NodeLost, message).field("node").into());
        }
        let record = &self.state.nodes[node];
        let (present, cursor) = (record.epoch.max(FIRST_EPOCH), record.cursor);
        if *epoch != present {
            let message = format!("node {name} is in epoch {present}, and epoch {epoch} is to be sealed");
            return Err(Reject::new(Reason::StaleEpoch, message).field("epoch").into());
        }
        let last = position(required(r#final, "final")?, "final")?;
        let lost_to = lost_to.as_ref().map(|to| position(to, "lost_to")).transpose()?;
        let lost_from = seal(last, cursor, lost_to)?;
        self.check_recoveries(node)?;
        self.begin_epoch(node, id, lost_from, Standing::Recovering);
        let epoch = self.state.nodes[node].epoch;
        if lost_from > 0 {
            let lost = i64::try_from(cursor.seq - lost_from + 1).unwrap_or(i64::MAX);
            let description = format!(
                "entries {lost_from} to {} of epoch {present} of node {name} exist nowhere any more: recount it",
                cursor.seq
            );
            let about = present.to_string();
            self.raise_incident(ExceptionCode::FeedGap, name.as_str(), ("epoch", &about, 0), None, lost, description);
            self.applied.notices.push(Notice::HistoryLost {
                node: name.clone(),
                epoch: stockmesh_types::Epoch(present),
                from_seq: lost_from,
                to_seq: cursor.seq,
            });
        }
        Ok(Answer::NodeEpochOpened { node: name, epoch, recovery_id: uuid_text(&id) })
    }

    /// Every epoch that was opened is remembered: there is room for one more.
    pub(super) fn check_recoveries(&self, node: u32) -> Result<(), Reject> {
        if self.state.recovery.nodes.get(&node).is_none_or(|rights| rights.recoveries.len() < MAX_RECOVERIES) {
            return Ok(());
        }
        let name = &self.state.nodes[node].id;
        let message = format!("node {name} was recovered {MAX_RECOVERIES} times: register it under a new name");
        Err(Reject::new(Reason::TooManyRecoveries, message).field("node"))
    }

    /// Ends the present epoch of a node at the cursor, and begins the next one: fenced, every cell of it of an earlier
    /// life. Finance is told.
    pub(crate) fn begin_epoch(&mut self, node: u32, id: [u8; 16], lost_from: u64, standing: Standing) {
        let record = &mut self.state.nodes[node];
        let sealed = std::mem::replace(&mut record.cursor, Head::START);
        let sealed_epoch = record.epoch.max(FIRST_EPOCH);
        record.epoch = sealed_epoch + 1;
        let (epoch, name) = (record.epoch, record.id.to_string());
        let work = self.state.destinations[record.destination].head;
        self.state.recovery.of(node).recoveries.push(Recovery { id, epoch, sealed, lost_from, work });
        self.set_standing(node, standing);
        self.state.recovery.set_fenced(node, true);
        self.applied.touched_all = true;
        self.effects.extend_from_slice(&id);
        self.effects.extend_from_slice(&epoch.to_be_bytes());
        let fact = NodeEpochOpened {
            node: name,
            epoch,
            sealed_epoch,
            sealed_seq: sealed.seq,
            sealed_hash: sealed.hash.0.to_vec(),
            lost_from_seq: lost_from,
            recovery_id: if id == [0; 16] { String::new() } else { uuid_text(&id) },
        };
        self.emit_finance(&Fact::NodeEpochOpened(fact));
    }

    /// Changes the standing of a node, and what its record holds of it.
    pub(super) fn set_standing(&mut self, node: u32, standing: Standing) {
        self.state.recovery.of(node).standing = standing;
        self.state.nodes[node].marks = self.state.recovery.marks(node);
    }

    /// The node has recounted and opened: its rights can be used again.
    pub(crate) fn end_recovery(&mut self, node: u32) {
        if self.state.recovery.standing(node) != Standing::Recovering {
            return;
        }
        self.set_standing(node, Standing::Open);
        self.state.recovery.set_fenced(node, false);
        self.applied.touched_all = true;
        self.state.recovery.queue(Work::Reopen { node, next_key: 0 });
        self.effects.extend_from_slice(b"open");
    }

    pub(crate) fn note_late_facts(&mut self, command: &NoteLateFacts) -> Result<Answer, Stop> {
        let NoteLateFacts { node, epoch, head } = command;
        let node = self.state.known_node(node, "node")?;
        let head = position(required(head, "head")?, "head")?;
        if !self.state.is_late(node, *epoch, head.seq) {
            return Ok(Answer::LateFactsNoted { noted: false });
        }
        let name = self.state.nodes[node].id.clone();
        let late = &mut self.state.recovery.of(node).late;
        match late.iter_mut().find(|late| late.epoch == *epoch) {
            Some(known) => known.to_seq = head.seq,
            None => late.push(LateFacts { epoch: *epoch, to_seq: head.seq }),
        }
        self.effects.extend_from_slice(&head.hash.0);
        let description = format!(
            "node {name} came up with entries of epoch {epoch}, which is over, up to {}: they have no effect",
            head.seq
        );
        let about = epoch.to_string();
        self.raise_incident(ExceptionCode::FeedGap, name.as_str(), ("epoch", &about, 0), None, 0, description);
        let epoch = stockmesh_types::Epoch(*epoch);
        self.applied.notices.push(Notice::LateFacts { node: name, epoch, to_seq: head.seq });
        Ok(Answer::LateFactsNoted { noted: true })
    }
}

impl State {
    /// A feed of an epoch that was sealed holds more than was sealed, and more than is noted already.
    pub(crate) fn is_late(&self, node: u32, epoch: u64, to_seq: u64) -> bool {
        let Some(rights) = self.recovery.nodes.get(&node) else { return false };
        let sealed = rights.recoveries.iter().find(|recovery| recovery.epoch == epoch + 1);
        let noted = rights.late.iter().find(|late| late.epoch == epoch).map_or(0, |late| late.to_seq);
        sealed.is_some_and(|sealed| to_seq > sealed.sealed.seq.max(noted))
    }
}

/// Whether an epoch may be sealed: `last` is the last entry that exists, `cursor` what was applied here. Gives the first
/// entry that is lost; 0: none.
fn seal(last: Head, cursor: Head, lost_to: Option<Head>) -> Result<u64, Reject> {
    match last.seq.cmp(&cursor.seq) {
        std::cmp::Ordering::Equal if last.hash != cursor.hash => {
            let message =
                format!("entry {} of the epoch has hash {} here, and {} there", last.seq, cursor.hash, last.hash);
            Err(Reject::new(Reason::FeedForked, message).field("final"))
        }
        std::cmp::Ordering::Equal => Ok(0),
        std::cmp::Ordering::Greater => {
            let message = format!(
                "the epoch ends at entry {}, and the coordinator has {}: push the rest before it is sealed",
                last.seq, cursor.seq
            );
            Err(Reject::new(Reason::SealBehind, message).field("final"))
        }
        std::cmp::Ordering::Less if lost_to == Some(cursor) => Ok(last.seq + 1),
        std::cmp::Ordering::Less => {
            let message = format!(
                "the coordinator has the epoch up to entry {} (hash {}), and it is to end at {}: replay the rest from \
                 finance's archive, or name that entry as lost_to when nobody has it",
                cursor.seq, cursor.hash, last.seq
            );
            Err(Reject::new(Reason::SealAhead, message).field("final"))
        }
    }
}
