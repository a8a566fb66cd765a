//! `RaiseFeatureLevel`: what later releases can do is allowed from here on.
//!
//! Whether every member speaks the level is for the leader to know, before it logs this.

use stockmesh_proto::FEATURE_LEVEL;
use stockmesh_proto::raft::v1::{RaiseFeatureLevel, command};

use super::{Stop, Tx};
use crate::answer::{Answer, Fault};

impl Tx<'_> {
    pub(super) fn raise_feature_level(&mut self, command: &RaiseFeatureLevel) -> Result<Answer, Stop> {
        let RaiseFeatureLevel { level } = *command;
        if level > FEATURE_LEVEL {
            return Err(Fault::FeatureLevel { index: self.index, needed: level, spoken: FEATURE_LEVEL }.into());
        }
        self.state.feature_level = self.state.feature_level.max(level);
        self.effects.extend_from_slice(&self.state.feature_level.to_be_bytes());
        Ok(Answer::FeatureLevelRaised { level: self.state.feature_level })
    }
}

/// The feature level that a group must have before this command may be logged: replicas of earlier releases stop at a
/// command that they don't know.
#[must_use]
pub fn required_feature_level(kind: &command::Kind) -> u32 {
    match kind {
        // The first release would drop them.
        command::Kind::CreateItems(create) if create.items.iter().any(|item| item.attributes.is_some()) => 2,
        command::Kind::InitializeGroup(_)
        | command::Kind::CreateItems(_)
        | command::Kind::RegisterNode(_)
        | command::Kind::RangeItems(_)
        | command::Kind::CommitOrder(_)
        | command::Kind::CancelOrder(_)
        | command::Kind::AllocateBackorders(_)
        | command::Kind::ApplyFacts(_)
        | command::Kind::AcknowledgeFeed(_)
        | command::Kind::RecallRights(_)
        | command::Kind::WorkOffShortfalls(_)
        // It raises the level itself: the leader logs it when every member speaks the new one.
        | command::Kind::RaiseFeatureLevel(_) => 1,
        // Whatever came after the first release.
        #[allow(unreachable_patterns)]
        _ => 2,
    }
}
