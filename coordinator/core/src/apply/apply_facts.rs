//! `ApplyFacts`: a node's facts take effect, each once, together with the cursor (I7).
//!
//! Entries come as received and are verified against the chain; repeats are passed over. An entry that contradicts what
//! was promised is refused with everything after it: cursor and effects of those before it stand. `facts` has the rules
//! of each fact.

use stockmesh_proto::convert::required;
use stockmesh_proto::entry::{ChainError, Head};
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_proto::raft::v1::ApplyFacts;
use stockmesh_types::{FeedId, Reason, Reject};

use super::{Stop, Tx};
use crate::answer::{Answer, Fault, Notice};
use crate::validate::{MAX_CELLS, writer};

/// The first life of a node's store. Later ones are opened by `OpenNodeEpoch`.
pub(crate) const FIRST_EPOCH: u64 = 1;

impl Tx<'_> {
    pub(super) fn apply_facts(&mut self, command: &ApplyFacts) -> Result<Answer, Stop> {
        let feed = required(&command.feed, "feed")?;
        let id = writer(feed)?;
        let node = self.state.known_node(id.as_str(), "feed.participant")?;
        self.check_epoch(node, feed.epoch)?;
        let feed = FeedId::from(feed);
        let (mut cells, mut applied) = (0, 0);
        for entry in &command.entries {
            let outcome = self.apply_entry(node, &feed, entry, &mut cells);
            match outcome {
                Ok(news) => applied += u32::from(news),
                Err(Stop::Fault(fault)) => return Err(Stop::Fault(fault)),
                Err(Stop::Reject(reject)) if applied == 0 => return Err(Stop::Reject(reject)),
                Err(Stop::Reject(reject)) => {
                    let cursor = self.state.nodes[node].cursor;
                    return Ok(Answer::FactsApplied { cursor, applied, refused: Some(reject) });
                }
            }
        }
        if applied > 0 {
            self.state.recovery.of(node).heard_ms = self.state.log_time.0;
        }
        Ok(Answer::FactsApplied { cursor: self.state.nodes[node].cursor, applied, refused: None })
    }

    fn check_epoch(&self, node: u32, epoch: u64) -> Result<(), Reject> {
        let record = &self.state.nodes[node];
        let known = record.epoch;
        if record.marks.gone {
            let message = format!("node {} was given up as lost: reinstate it, and recover its store", record.id);
            return Err(Reject::new(Reason::NodeLost, message).field("feed.participant"));
        }
        if epoch < known.max(FIRST_EPOCH) {
            let message = format!("the feed names epoch {epoch}, and node {} is in epoch {known}", record.id);
            return Err(Reject::new(Reason::StaleEpoch, message).field("feed.epoch"));
        }
        if epoch > known.max(FIRST_EPOCH) {
            let message = format!(
                "node {} comes with epoch {epoch}, which nobody opened here: seal epoch {} first",
                record.id,
                known.max(FIRST_EPOCH)
            );
            return Err(Reject::new(Reason::StaleEpoch, message).field("feed.epoch"));
        }
        Ok(())
    }

    /// Gives whether the entry was new.
    fn apply_entry(&mut self, node: u32, feed: &FeedId, entry: &FeedEntry, cells: &mut usize) -> Result<bool, Stop> {
        let mut cursor = self.state.nodes[node].cursor;
        let body = match cursor.accept(feed, entry) {
            Ok(Some(body)) => body,
            Ok(None) => return Ok(false),
            Err(error @ ChainError::Gap { .. }) => {
                return Err(Reject::new(Reason::FeedGap, error.to_string()).field("entries").into());
            }
            Err(error @ ChainError::Forked { .. }) => {
                return Err(Reject::new(Reason::FeedForked, error.to_string()).field("entries").into());
            }
            Err(ChainError::Undecodable { error, .. }) => return Err(self.unknown_fact(feed, entry.seq, error).into()),
        };
        let Some(fact) = body.fact else {
            return Err(self.unknown_fact(feed, entry.seq, "no fact".to_owned()).into());
        };
        let Some(more) = crate::validate::cells_of(&fact) else {
            return Err(self.unknown_fact(feed, entry.seq, "not a node's fact".to_owned()).into());
        };
        *cells += more;
        if *cells > MAX_CELLS {
            let message = format!("the batch touches more than {MAX_CELLS} cells from entry {} on: cut it", entry.seq);
            return Err(Reject::new(Reason::TooManyCells, message).field("entries").into());
        }
        self.apply_fact(node, &fact)?;
        self.emit_returned();
        self.move_cursor(node, feed.epoch, cursor);
        Ok(true)
    }

    fn move_cursor(&mut self, node: u32, epoch: u64, cursor: Head) {
        self.effects.extend_from_slice(&cursor.hash.0);
        let record = &mut self.state.nodes[node];
        record.cursor = cursor;
        if record.epoch != epoch {
            record.epoch = epoch;
            let notice = Notice::NodeConnected { node: record.id.clone(), epoch: stockmesh_types::Epoch(epoch) };
            self.applied.notices.push(notice);
        }
    }

    fn unknown_fact(&self, feed: &FeedId, seq: u64, what: String) -> Fault {
        Fault::UnknownFact { index: self.index, feed: feed.to_string(), seq, what }
    }
}
