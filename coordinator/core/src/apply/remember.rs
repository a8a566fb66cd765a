//! Remembered requests: a repeat gets the first answer, another body is refused, and what may have been forgotten is
//! never executed.
//!
//! At most [`MAX_REMEMBERED`] are kept, for 24 hours. The oldest by its own time goes first, and from then on every
//! unknown request of that age is refused: an eviction can never let a request run twice. Nothing else is refused for its
//! age: log time never falls, and one clock that was ahead once would keep callers whose clocks are right out for as long.

use std::sync::Arc;

use stockmesh_proto::raft::v1::Command;
use stockmesh_types::{Reason, Reject, RequestId};

use super::{Stop, Tx};
use crate::answer::Answer;
use crate::records::{Remembered, RememberedOutcome};

/// Requests remembered at most, some 200 bytes each.
pub(crate) const MAX_REMEMBERED: usize = 100_000;

/// How long a request is remembered.
pub(super) const WINDOW_MS: i64 = 24 * 60 * 60 * 1_000;

/// How far ahead of log time the time in an id may be. Log time has the stamp of the entry by then, however long the
/// group was idle before.
const AHEAD_MS: i64 = 5 * 60 * 1_000;

/// Requests that one command forgets at most because of their age; it adds one, so that the backlog shrinks.
const FORGOTTEN_AT_ONCE: usize = 16;

impl Tx<'_> {
    /// Runs a command once for its request id.
    pub(super) fn once(
        &mut self,
        command: &Command,
        run: impl FnOnce(&mut Self) -> Result<RememberedOutcome, Stop>,
    ) -> Result<Answer, Stop> {
        let id = RequestId::new(&command.request_id).map_err(|reject| reject.field("request_id"))?;
        let hash = <[u8; 32]>::try_from(command.request_hash.as_slice())
            .map_err(|_| Reject::new(Reason::InvalidValue, "request_hash is not 32 bytes").field("request_hash"))?;
        if let Some(known) = self.state.requests.get(&id.bytes()) {
            if known.hash != hash {
                let message = format!("request {id} came before with another body: draw a new request id");
                return Err(Reject::new(Reason::RequestIdReused, message).field("request_id").into());
            }
            let outcome = known.outcome.clone();
            return self.answer(&outcome);
        }
        self.check_age(id)?;
        let outcome = match run(self) {
            Ok(outcome) => outcome,
            Err(Stop::Reject(reject)) => RememberedOutcome::Refused {
                reason: reject.reason.number(),
                message: Arc::from(reject.message),
                field: Arc::from(reject.field),
            },
            Err(Stop::Fault(fault)) => return Err(Stop::Fault(fault)),
        };
        let answer = self.answer(&outcome);
        self.state.requests.insert(id.bytes(), Remembered { hash, outcome });
        self.forget(id.time_ms());
        answer
    }

    fn check_age(&self, id: RequestId) -> Result<(), Reject> {
        let (drawn, now) = (id.time_ms(), self.state.log_time.0);
        if drawn <= self.state.requests_forgotten_ms {
            let message = format!(
                "request {id} is too old to know whether it ran before: look the outcome up, then draw a new id"
            );
            return Err(Reject::new(Reason::RequestExpired, message).field("request_id"));
        }
        if drawn > now + AHEAD_MS {
            let message = format!(
                "request {id} lies more than 5 minutes in the future: set the clock of the machine that drew it"
            );
            return Err(Reject::new(Reason::InvalidRequestId, message).field("request_id"));
        }
        Ok(())
    }

    /// Makes room after a request that was drawn at `newest_ms`. What is a day older than that goes, unless log time
    /// says that it is younger: neither a caller's clock nor a leader's that is ahead makes others forgotten early.
    fn forget(&mut self, newest_ms: i64) {
        let expired_ms = self.state.log_time.0.min(newest_ms) - WINDOW_MS;
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some((oldest, _)) = self.state.requests.first() else { return };
            let oldest = *oldest;
            let drawn = oldest[..6].iter().fold(0, |ms, byte| (ms << 8) | i64::from(*byte));
            if drawn >= expired_ms && self.state.requests.len() <= MAX_REMEMBERED {
                return;
            }
            self.state.requests.remove(&oldest);
            self.state.requests_forgotten_ms = self.state.requests_forgotten_ms.max(drawn);
        }
    }

    /// The answer of a remembered outcome: its numbers as they were, its records as they stand.
    fn answer(&self, outcome: &RememberedOutcome) -> Result<Answer, Stop> {
        Ok(match outcome {
            RememberedOutcome::Refused { reason, message, field } => {
                // A number that was written is never taken off the list; should it be, the refusal stays one.
                let reason = Reason::from_number(*reason).unwrap_or(Reason::NotAllowed);
                return Err(Reject::new(reason, message.to_string()).field(field.to_string()).into());
            }
            RememberedOutcome::ItemsCreated { created, existing } => {
                Answer::ItemsCreated { created: *created, existing: *existing }
            }
            RememberedOutcome::NodeRegistered { node } => {
                Answer::NodeRegistered { node: self.state.node_message(&self.state.nodes[*node]) }
            }
            RememberedOutcome::ItemsRanged { ranged } => Answer::ItemsRanged { ranged: *ranged },
            RememberedOutcome::OrderCancelled { order, cancelled, requested } => Answer::OrderCancelled {
                order_id: self.state.orders[*order].id.clone(),
                cancelled: *cancelled,
                requested: *requested,
            },
            RememberedOutcome::PoliciesSet { version } => Answer::PoliciesSet { version: *version },
            RememberedOutcome::NodeRetirement { node } => {
                Answer::NodeRetirement { node: self.state.node_message(&self.state.nodes[*node]) }
            }
            RememberedOutcome::ItemsUpdated { updated, created, unchanged } => {
                Answer::ItemsUpdated { updated: *updated, created: *created, unchanged: *unchanged }
            }
            RememberedOutcome::PurchaseOrder { number } => {
                Answer::PurchaseOrder(Box::new(self.state.purchase_order_numbered(*number)?))
            }
            RememberedOutcome::Transfer { number, cancelled, requested } => Answer::Transfer {
                transfer: Box::new(self.state.transfer_numbered(*number)?),
                cancelled: *cancelled,
                requested: *requested,
            },
            RememberedOutcome::Refunded { line, number } => {
                let refunds = self.state.line_refunds(*line).map(|known| known.refunds.as_slice()).unwrap_or_default();
                let refund = refunds.get(*number as usize).cloned().unwrap_or_default();
                Answer::Refunded(Box::new(refund))
            }
            RememberedOutcome::Authorisation { number } => {
                Answer::ReturnAuthorised(Box::new(self.state.authorisation_numbered(*number)?))
            }
            RememberedOutcome::ExceptionResolved { number } => Answer::ExceptionResolved { number: *number },
            RememberedOutcome::RightsRecalled { key, node } => {
                let cell = self.state.cell(*key, *node).copied().unwrap_or(crate::records::Cell::EMPTY);
                Answer::RightsRecalled { cell: self.state.cell_message(&self.state.keys[*key].key, *node, &cell) }
            }
        })
    }
}
