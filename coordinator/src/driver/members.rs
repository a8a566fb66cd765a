//! Changing the members: asked for by people, or because a member's disk was met for the first time.

use stockmesh_types::{Reason, Reject};
use tokio::sync::oneshot;

use super::handle::MemberCommand;
use super::{Driver, Peers, not_leader};
use crate::replica::members::{Change, ChangeError};

/// The feature level from which members are changed through the log.
const LEVEL: u32 = 2;

impl<P: Peers> Driver<P> {
    pub(super) fn change_members(&mut self, command: MemberCommand, reply: oneshot::Sender<Result<(), Reject>>) {
        let answer = match command {
            MemberCommand::Change(change) => match self.propose_change(&change) {
                Ok(Some(number)) => {
                    self.changing.insert(number, reply);
                    return;
                }
                Ok(None) => Ok(()),
                Err(reject) => Err(reject),
            },
            MemberCommand::Transfer(heir) => self.transfer(heir),
        };
        // A caller that has gone away needs no answer.
        let _ = reply.send(answer);
    }

    fn propose_change(&mut self, change: &Change) -> Result<Option<u64>, Reject> {
        if !self.replica.leads() {
            return Err(not_leader());
        }
        let level = self.machine.state().read().feature_level();
        if level < LEVEL {
            let message = format!(
                "members are changed from feature level {LEVEL} on, and the group's is {level}: upgrade every replica, then \
                 raise it with `cluster raise-level`"
            );
            return Err(Reject::new(Reason::FeatureLevelTooLow, message));
        }
        self.replica.change(change).map_err(|error| {
            if let ChangeError::Leads(_) = error {
                // The caller repeats its request, and finds the next leader.
                self.replica.hand_over();
            }
            reject_of(&error)
        })
    }

    fn transfer(&mut self, heir: u64) -> Result<(), Reject> {
        if !self.replica.leads() {
            return Err(not_leader());
        }
        if heir == 0 {
            let none = || Reject::new(Reason::NotAVoter, "no other voter has answered lately");
            return self.replica.hand_over().map(|_| ()).ok_or_else(none);
        }
        if heir == self.identity.replica_id || self.replica.hand_over_to(heir) {
            return Ok(());
        }
        Err(Reject::new(Reason::NotAVoter, format!("replica {heir} is no voter: it can't lead")).field("replica_id"))
    }

    /// The leader binds each member's id to the disk that it was met on, one at a time.
    pub(super) fn meet(&mut self) {
        if !self.takes_writes() || self.machine.state().read().feature_level() < LEVEL {
            return;
        }
        let (me, store) = (self.identity.replica_id, self.store);
        let unmet = |id: u64| self.replica.members().directory.get(id).is_none_or(|record| record.store.is_none());
        let own = unmet(me).then_some((me, store));
        let met = own.or_else(|| {
            let mut heard = self.watched.stores();
            heard.find(|(id, _)| self.replica.members().contains(*id) && unmet(*id))
        });
        let Some((id, store)) = met else { return };
        match self.replica.change(&Change::Met { id, store }) {
            Ok(_) => {}
            // Another change is under way, or much is in flight: the next tick tries again.
            Err(error) => tracing::debug!(id, %error, "a member's disk is noted later"),
        }
    }
}

fn reject_of(error: &ChangeError) -> Reject {
    let reason = match error {
        ChangeError::NotLeader | ChangeError::Leads(_) => Reason::NotLeader,
        ChangeError::Busy => Reason::Overloaded,
        ChangeError::Changing => Reason::MembersChanging,
        ChangeError::Unknown(_) => Reason::UnknownMember,
        ChangeError::Removed(_) => Reason::MemberRemoved,
        ChangeError::Exists { .. } => Reason::MemberExists,
        ChangeError::Behind(_) => Reason::MemberBehind,
        ChangeError::Role(_) => Reason::NotAVoter,
        ChangeError::LastVoter => Reason::LastVoter,
        ChangeError::Full => Reason::TooManyLines,
        ChangeError::Invalid(_) => Reason::InvalidValue,
    };
    Reject::new(reason, error.to_string())
}
