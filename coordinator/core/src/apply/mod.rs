//! `apply`: the one place where the state changes, the same way at every replica.
//!
//! One command, one file. Each command checks everything first, then changes a bounded number of cells, or is rejected
//! and changes nothing. Integers only; no clock: the entry's stamp is the time.
//! Must not know: who leads, who waits, where the log is kept.

use stockmesh_proto::raft::v1::LogEntry;

use crate::State;
use crate::answer::{Applied, Fault};

impl State {
    /// Applies the log entry at `index`; log time becomes the maximum of all stamps so far.
    ///
    /// # Errors
    /// A [`Fault`]: the replica must stop. The state is then unusable.
    pub fn apply(&mut self, index: u64, entry: &LogEntry) -> Result<Applied, Fault> {
        let _ = entry;
        Err(Fault::OutOfOrder { expected: self.applied_index + 1, got: index })
    }
}
