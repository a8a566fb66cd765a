//! `apply`: the one place where the state changes, the same way at every replica.
//!
//! One command, one file. Each command checks everything first, then changes a bounded number of cells, or is rejected
//! and changes nothing. Integers only; no clock: the entry's stamp is the time.
//! Must not know: who leads, who waits, where the log is kept.

mod acknowledge_feed;
mod allocate_backorders;
mod apply_facts;
mod authorisations;
mod cancel_order;
pub(crate) mod commit_order;
mod create_items;
mod emit;
mod facts;
mod incidents;
mod initialize_group;
mod purchase_orders;
mod raise_feature_level;
mod range_items;
mod recall_rights;
mod refunds;
mod register_node;
mod remember;
mod transfers;
pub(crate) mod update_items;
mod work_off_shortfalls;

pub(crate) use self::apply_facts::FIRST_EPOCH;
pub(crate) use self::emit::{Delivery, OpenedParts};
pub(crate) use self::purchase_orders::line_day;
pub use self::raise_feature_level::required_feature_level;
#[cfg(test)]
pub(crate) use self::remember::MAX_REMEMBERED;
use sha2::{Digest, Sha256};
use stockmesh_proto::FEATURE_LEVEL;
use stockmesh_proto::common::v1::Principal;
use stockmesh_proto::raft::v1::{Command, LogEntry, command};
use stockmesh_types::{LogTime, Reason, Reject};

use crate::State;
use crate::answer::{Answer, Applied, Fault};

/// Allocations that one command may ask back because of shortfalls; what needs more is continued by
/// `WorkOffShortfalls`.
pub(crate) const MAX_ASKED: u32 = 256;

/// Claims on supply that one command may turn into allocations; what is left goes on with `AllocateBackorders`.
pub(crate) const MAX_CLAIMED: u32 = 256;

/// A command at work: the state, where it stands in the log, and what comes out.
pub(crate) struct Tx<'a> {
    pub state: &'a mut State,
    /// Of the log entry.
    pub index: u64,
    /// Of the command within it.
    pub position: usize,
    /// Allocations that this entry has made so far.
    pub allocations: u32,
    /// Date of the log time, as it is written.
    pub date: String,
    /// Of the command; caused what is emitted.
    pub principal: Option<Principal>,
    pub request_id: String,
    pub applied: Applied,
    /// What goes into the digest.
    pub effects: Vec<u8>,
    /// Cells whose `returned` grew and whose node was not told yet.
    pub returned: Vec<(u32, u32)>,
    /// Allocations that this command may still ask back.
    pub may_ask: u32,
    /// How every entry that the command emits begins; empty until it emits one.
    pub header: Vec<u8>,
    /// Work space of encoders, empty between them.
    pub scratch: Vec<u8>,
    pub parts: Vec<u8>,
    /// Claims that this command may still turn into allocations.
    pub may_claim: u32,
    /// Stock keys whose claims on supply are to be worked out again.
    pub claims: Vec<u32>,
    /// Transfers whose lines changed.
    pub transfers: Vec<u64>,
    /// Document that is being announced: its claims are told with it, not one by one.
    pub announcing: u64,
}

/// Why a command ends early.
pub(crate) enum Stop {
    /// It is refused, and changed nothing.
    Reject(Reject),
    /// The replica stops.
    Fault(Fault),
}

impl From<Reject> for Stop {
    fn from(reject: Reject) -> Self {
        Self::Reject(reject)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl State {
    /// Applies the log entry at `index`; log time becomes the maximum of all stamps so far.
    ///
    /// # Errors
    /// A [`Fault`]: the replica must stop. The state is then unusable.
    pub fn apply(&mut self, index: u64, entry: &LogEntry) -> Result<Applied, Fault> {
        if entry.feature_level > FEATURE_LEVEL {
            return Err(Fault::FeatureLevel { index, needed: entry.feature_level, spoken: FEATURE_LEVEL });
        }
        self.pass(index)?;
        self.feature_level = self.feature_level.max(entry.feature_level);
        self.log_time = self.log_time.max(LogTime(entry.stamp_ms));
        let mut tx = Tx {
            date: self.log_time.date().to_string(),
            state: self,
            index,
            position: 0,
            allocations: 0,
            principal: None,
            request_id: String::new(),
            applied: Applied::default(),
            effects: Vec::with_capacity(256 * entry.commands.len().clamp(1, 256)),
            returned: Vec::new(),
            may_ask: 0,
            header: Vec::with_capacity(128),
            scratch: Vec::with_capacity(1_024),
            parts: Vec::with_capacity(256),
            may_claim: 0,
            claims: Vec::new(),
            transfers: Vec::new(),
            announcing: 0,
        };
        tx.applied.outcomes.reserve_exact(entry.commands.len());
        for (position, command) in entry.commands.iter().enumerate() {
            tx.position = position;
            tx.principal.clone_from(&command.principal);
            tx.request_id.clone_from(&command.request_id);
            tx.may_ask = MAX_ASKED;
            tx.header.clear();
            tx.may_claim = MAX_CLAIMED;
            let outcome = match tx.run(command).and_then(|answer| tx.follow_up().map(|()| answer)) {
                Ok(answer) => Ok(answer),
                Err(Stop::Reject(reject)) => Err(reject),
                Err(Stop::Fault(fault)) => return Err(fault),
            };
            let number = outcome.as_ref().err().map_or(0, |reject| reject.reason.number());
            tx.effects.extend_from_slice(&number.to_be_bytes());
            tx.applied.outcomes.push(outcome);
        }
        let Tx { applied, effects, .. } = tx;
        let mut hasher = Sha256::new();
        hasher.update(self.digest);
        hasher.update(index.to_be_bytes());
        hasher.update(self.log_time.0.to_be_bytes());
        hasher.update(effects);
        self.digest = hasher.finalize().into();
        Ok(applied)
    }

    /// Passes an index of the log that holds nothing for the state: a new leader's empty entry, a change of members.
    ///
    /// # Errors
    /// [`Fault::OutOfOrder`] when the index was applied before.
    pub fn pass(&mut self, index: u64) -> Result<(), Fault> {
        if index <= self.applied_index {
            return Err(Fault::OutOfOrder { expected: self.applied_index + 1, got: index });
        }
        self.applied_index = index;
        Ok(())
    }
}

impl Tx<'_> {
    /// What follows from a command's changes, once for all of them: transfers first, because they change supplies.
    fn follow_up(&mut self) -> Result<(), Stop> {
        self.refresh_transfers()?;
        self.refresh_claims();
        Ok(())
    }

    fn run(&mut self, command: &Command) -> Result<Answer, Stop> {
        let unknown = Fault::UnknownCommand { index: self.index, position: self.position };
        let kind = command.kind.as_ref().ok_or(unknown)?;
        if self.state.group.is_none() && !matches!(kind, command::Kind::InitializeGroup(_)) {
            let message = "the group has no life yet: its first command has not been committed";
            return Err(Reject::new(Reason::GroupNotInitialized, message).into());
        }
        match kind {
            command::Kind::InitializeGroup(initialize) => self.initialize_group(initialize),
            command::Kind::CreateItems(create) => self.once(command, |tx| tx.create_items(create)),
            command::Kind::RegisterNode(register) => self.once(command, |tx| tx.register_node(register)),
            command::Kind::RangeItems(range) => self.once(command, |tx| tx.range_items(range)),
            command::Kind::CancelOrder(cancel) => self.once(command, |tx| tx.cancel_order(cancel)),
            command::Kind::RecallRights(recall) => self.once(command, |tx| tx.recall_rights(recall)),
            command::Kind::CommitOrder(commit) => self.commit_order(commit),
            command::Kind::AllocateBackorders(allocate) => self.allocate_backorders(allocate),
            command::Kind::ApplyFacts(facts) => self.apply_facts(facts),
            command::Kind::AcknowledgeFeed(acknowledge) => self.acknowledge_feed(acknowledge),
            command::Kind::WorkOffShortfalls(work) => self.work_off_shortfalls(work),
            command::Kind::OpenNodeEpoch(open) => self.open_node_epoch(open),
            command::Kind::NoteLateFacts(late) => self.note_late_facts(late),
            command::Kind::ContinueWork(work) => self.continue_work(work),
            command::Kind::RetireNode(retire) => self.once(command, |tx| tx.retire_node(retire)),
            command::Kind::SetGrantPolicies(set) => self.once(command, |tx| tx.set_grant_policies(set)),
            command::Kind::ReserveSubstitutes(reserve) => self.reserve_substitutes(reserve),
            command::Kind::RaiseFeatureLevel(raise) => self.raise_feature_level(raise),
            command::Kind::UpdateItems(update) => self.once(command, |tx| tx.update_items(update)),
            command::Kind::AnnounceItems(announce) => self.announce_items(announce),
            command::Kind::CreatePurchaseOrder(create) => self.once(command, |tx| tx.create_purchase_order(create)),
            command::Kind::AmendPurchaseOrder(amend) => self.once(command, |tx| tx.amend_purchase_order(amend)),
            command::Kind::ClosePurchaseOrder(close) => self.once(command, |tx| tx.close_purchase_order(close)),
            command::Kind::RecordShipNotice(record) => self.once(command, |tx| tx.record_ship_notice(record)),
            command::Kind::FindLateSupply(find) => self.find_late_supply(find),
            command::Kind::CreateTransfer(create) => self.once(command, |tx| tx.create_transfer(create)),
            command::Kind::ReleaseTransfer(release) => self.once(command, |tx| tx.release_transfer(release)),
            command::Kind::CancelTransfer(cancel) => self.once(command, |tx| tx.cancel_transfer(cancel)),
            command::Kind::ChangeTransferDate(change) => self.once(command, |tx| tx.change_transfer_date(change)),
            command::Kind::RequestRefund(request) => self.once(command, |tx| tx.request_refund(request)),
            command::Kind::AuthoriseReturn(authorise) => self.once(command, |tx| tx.authorise_return(authorise)),
            command::Kind::CancelReturnAuthorisation(cancel) => {
                self.once(command, |tx| tx.cancel_return_authorisation(cancel))
            }
            command::Kind::ResolveException(resolve) => self.once(command, |tx| tx.resolve_exception(resolve)),
        }
    }
}
