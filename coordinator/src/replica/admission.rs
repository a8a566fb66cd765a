//! What a peer's message must be before it may be stepped. raft-rs takes its peers for honest and well: it panics on a
//! message that can't be, and one damaged message must not end a replica.

use raft::eraftpb::{Message, MessageType};
use raft::{Raft, StateRole, Storage};

/// Why a message is not stepped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Local messages, proposals, transfers: nothing that a peer sends.
    #[error("a peer does not send this kind of message")]
    Kind,
    /// No sender, or this replica as its own peer.
    #[error("the sender is nobody, or this replica itself")]
    Sender,
    /// Only forwarded requests have no term.
    #[error("the message has no term")]
    Term,
    /// Entries don't follow each other, or their terms fall or go beyond the message's.
    #[error("its entries do not follow each other")]
    Entries,
    /// It would replace an entry that is committed here: one of the two is not what it was.
    #[error("it replaces entry {0}, which is committed here")]
    Committed(u64),
    /// It speaks of entries that this replica does not have and would have to.
    #[error("it takes entry {0} for stored here, and the log ends before")]
    Beyond(u64),
    /// A read request or answer without its context.
    #[error("a read without its context")]
    Read,
    /// A snapshot that names no place or no voters.
    #[error("a snapshot without a place or members")]
    Snapshot,
}

/// Whether raft-rs may step the message in its present state.
///
/// # Errors
/// [`Malformed`].
pub(super) fn check<L: Storage>(raft: &Raft<L>, message: &Message) -> Result<(), Malformed> {
    let kind = message.get_msg_type();
    if message.from == 0 || message.from == raft.id {
        return Err(Malformed::Sender);
    }
    match kind {
        MessageType::MsgAppend
        | MessageType::MsgAppendResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgSnapshot
        | MessageType::MsgHeartbeat
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgTimeoutNow
        | MessageType::MsgReadIndexResp => {
            if message.term == 0 {
                return Err(Malformed::Term);
            }
        }
        MessageType::MsgReadIndex => {
            // Forwarded to the leader without a term. Raft-rs takes the first entry for its context.
            return if message.entries.len() == 1 { Ok(()) } else { Err(Malformed::Read) };
        }
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader => return Err(Malformed::Kind),
    }
    match kind {
        MessageType::MsgAppend => check_entries(raft, message),
        MessageType::MsgHeartbeat => within_log(raft, message, message.commit),
        // Judged by the leader of that term only; elsewhere it is passed over.
        MessageType::MsgAppendResponse if raft.state == StateRole::Leader && message.term == raft.term => {
            let index = if message.reject { 0 } else { message.index };
            within_log(raft, message, index.max(message.commit))
        }
        MessageType::MsgReadIndexResp if message.entries.len() != 1 => Err(Malformed::Read),
        MessageType::MsgSnapshot => {
            let metadata = message.get_snapshot().get_metadata();
            let placed = metadata.index > 0 && metadata.term > 0 && metadata.term <= message.term;
            let conf = metadata.get_conf_state();
            if placed && !conf.voters.is_empty() && distinct(conf) { Ok(()) } else { Err(Malformed::Snapshot) }
        }
        _ => Ok(()),
    }
}

/// A heartbeat's commit index is what this replica acknowledged: it has those entries, unless its disk was replaced.
fn within_log<L: Storage>(raft: &Raft<L>, message: &Message, index: u64) -> Result<(), Malformed> {
    if message.term >= raft.term && index > raft.raft_log.last_index() {
        return Err(Malformed::Beyond(index));
    }
    Ok(())
}

fn check_entries<L: Storage>(raft: &Raft<L>, message: &Message) -> Result<(), Malformed> {
    let (mut index, mut term) = (message.index, message.log_term);
    for entry in &message.entries {
        if Some(entry.index) != index.checked_add(1) || entry.term < term || entry.term > message.term {
            return Err(Malformed::Entries);
        }
        (index, term) = (entry.index, entry.term);
    }
    if message.term < raft.term {
        // Of an earlier leader: answered, and not taken.
        return Ok(());
    }
    // From the committed index down the log is final.
    let committed = raft.raft_log.committed;
    let overlap = message.entries.iter().take_while(|entry| entry.index <= committed);
    for entry in overlap {
        // What was compacted can't be compared; Raft passes over it as well.
        if raft.raft_log.term(entry.index).is_ok_and(|term| term != 0 && term != entry.term) {
            return Err(Malformed::Committed(entry.index));
        }
    }
    Ok(())
}

fn distinct(conf: &raft::eraftpb::ConfState) -> bool {
    let unique = |ids: &[u64]| {
        let mut sorted = super::members::sorted(ids);
        sorted.dedup();
        sorted.len() == ids.len() && !sorted.contains(&0)
    };
    unique(&conf.voters)
        && unique(&conf.voters_outgoing)
        && unique(&conf.learners)
        && conf.learners.iter().all(|id| !conf.voters.contains(id) && !conf.voters_outgoing.contains(id))
        && conf.learners_next.iter().all(|id| conf.voters_outgoing.contains(id))
}
