//! `ContinueWork`: goes on with what one command could not do, the oldest work first.
//!
//! One step touches at most 256 cells, and looks at a bounded number of stock keys for them.

use stockmesh_proto::raft::v1::ContinueWork;

use super::Work;
use crate::answer::Answer;
use crate::apply::{MAX_ASKED, Stop, Tx};

/// Stock keys that one step looks at, whether the node has a cell of them or not.
pub(super) const KEYS_AT_ONCE: u32 = 4_096;

impl Tx<'_> {
    pub(crate) fn continue_work(&mut self, command: &ContinueWork) -> Result<Answer, Stop> {
        let limit = command.limit.clamp(1, MAX_ASKED);
        let Some((number, work)) = self.state.recovery.works.first().cloned() else {
            return Ok(Answer::WorkContinued { more: false });
        };
        let next = match work {
            Work::Reopen { node, next_key } => {
                let next = self.each_cell(node, next_key, limit, Self::reopen_cell)?;
                next.map(|next_key| Work::Reopen { node, next_key })
            }
            Work::Retire { node, next_key } => {
                let next = self.each_cell(node, next_key, limit, Self::retire_cell)?;
                if next.is_none() {
                    // Nothing is free there any more, and nothing can be granted: the fence has done its work.
                    self.state.recovery.set_fenced(node, false);
                    self.applied.touched_all = true;
                }
                next.map(|next_key| Work::Retire { node, next_key })
            }
            Work::Raise { scope, units, next_key, next_node } => {
                let next = self.raise(scope, units, (next_key, next_node), limit)?;
                next.map(|(next_key, next_node)| Work::Raise { scope, units, next_key, next_node })
            }
            Work::Announce { scope, next_node } => {
                let next = self.announce(scope, next_node, limit);
                next.map(|next_node| Work::Announce { scope, next_node })
            }
            Work::Sign { node, next_key } => {
                let next = self.each_cell(node, next_key, limit, Self::sign_cell)?;
                next.map(|next_key| Work::Sign { node, next_key })
            }
        };
        match next {
            Some(next) => self.state.recovery.works.insert(number, next),
            None => self.state.recovery.works.remove(&number),
        };
        self.emit_returned();
        self.effects.extend_from_slice(&number.to_be_bytes());
        Ok(Answer::WorkContinued { more: !self.state.recovery.works.is_empty() })
    }

    /// Does something to cells of a node, from a stock key on, until `limit` is used up. `cell` gives what it used, and
    /// whether it is done with the cell. Gives the key to go on with.
    fn each_cell(
        &mut self,
        node: u32,
        from: u32,
        limit: u32,
        cell: impl Fn(&mut Self, u32, u32, u32) -> Result<(u32, bool), Stop>,
    ) -> Result<Option<u32>, Stop> {
        let keys = u32::try_from(self.state.keys.len()).unwrap_or(u32::MAX);
        let (mut key, mut left) = (from, limit);
        let end = from.saturating_add(KEYS_AT_ONCE).min(keys);
        while key < end {
            if left == 0 {
                return Ok(Some(key));
            }
            if self.state.cell(key, node).is_some() {
                let (used, done) = cell(self, key, node, left)?;
                left = left.saturating_sub(used);
                if !done {
                    return Ok(Some(key));
                }
            }
            key += 1;
        }
        Ok((end < keys).then_some(end))
    }

    /// Those who wait for this stock key may use the node's rights again.
    fn reopen_cell(&mut self, key: u32, _node: u32, _left: u32) -> Result<(u32, bool), Stop> {
        self.refresh_ready(key);
        Ok((1, true))
    }
}
