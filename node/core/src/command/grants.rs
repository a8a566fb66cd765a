//! ReviewGrants: after the policy changed, what it now allows is granted, some cells at a time. A policy that allows less
//! takes nothing back: a recall is the coordinator's to grant.

use std::ops::Bound;

use stockmesh_types::StockKey;

use crate::draft::Draft;
use crate::effects::Answer;

/// Cells looked at by one command.
pub(super) const CELLS_AT_ONCE: usize = 256;

/// Grants what a changed policy allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReviewGrants {
    /// Begin after this cell; `None`: with the first.
    pub after: Option<StockKey>,
}

impl ReviewGrants {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Answer {
        let start = self.after.map_or(Bound::Unbounded, Bound::Excluded);
        let keys: Vec<StockKey> =
            draft.state().cells_from(start).take(CELLS_AT_ONCE).map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| draft.review(key));
        let more = (keys.len() == CELLS_AT_ONCE).then(|| keys.last().cloned()).flatten();
        Answer::GrantsReviewed(more)
    }
}
