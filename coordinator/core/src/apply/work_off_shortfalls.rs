//! `WorkOffShortfalls`: goes on asking promises back where one entry could not ask for all.

use stockmesh_proto::raft::v1::WorkOffShortfalls;

use super::{MAX_ASKED, Stop, Tx};
use crate::answer::Answer;

impl Tx<'_> {
    pub(super) fn work_off_shortfalls(&mut self, command: &WorkOffShortfalls) -> Result<Answer, Stop> {
        self.may_ask = command.limit.clamp(1, MAX_ASKED);
        let mut asked = 0;
        while self.may_ask > 0 {
            let Some(((key, node), ())) = self.state.shortfalls.first().copied() else { break };
            asked += self.break_promises(key, node)?;
        }
        self.emit_returned();
        Ok(Answer::ShortfallsWorkedOff { asked })
    }
}
