//! Statuses: how a reject crosses gRPC, and how a client reads it back.
//!
//! The code follows from the reject's kind, without a wildcard arm; the reason travels as `google.rpc.ErrorInfo`, the field
//! at fault as `BadRequest`, and when to try again as `RetryInfo`.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use stockmesh_types::{Reason, Reject, RejectKind};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Domain of every reason of ours.
pub const DOMAIN: &str = "stockmesh";
/// Key of the leader's address in the metadata of `NOT_LEADER`.
pub const LEADER_ADDRESS: &str = "leader_address";

/// Delay that a full queue asks for.
const OVERLOAD_DELAY: Duration = Duration::from_millis(250);
/// Delay that a replica without leader, or one going down, asks for.
const UNAVAILABLE_DELAY: Duration = Duration::from_millis(50);

/// The status for a reject.
#[must_use]
pub fn to_status(reject: &Reject) -> Status {
    build(reject, HashMap::new())
}

/// `NOT_LEADER`, with the leader's address where it is known.
#[must_use]
pub fn not_leader(leader_address: Option<&str>) -> Status {
    let reject = match leader_address {
        Some(address) => Reject::new(Reason::NotLeader, format!("another replica leads, at {address}: ask there")),
        None => Reject::new(Reason::NotLeader, "no leader is known here: ask again, or another replica"),
    };
    build(&reject, leader_address.map(|address| (LEADER_ADDRESS.to_owned(), address.to_owned())).into_iter().collect())
}

/// When the same request may be tried again; `None`: it can't succeed as it is.
#[must_use]
pub fn retry_delay(reason: Reason) -> Option<Duration> {
    match reason.kind() {
        RejectKind::ResourceExhausted => Some(OVERLOAD_DELAY),
        RejectKind::Unavailable => Some(UNAVAILABLE_DELAY),
        RejectKind::InvalidArgument
        | RejectKind::NotFound
        | RejectKind::AlreadyExists
        | RejectKind::FailedPrecondition
        | RejectKind::PermissionDenied
        | RejectKind::Unimplemented => None,
    }
}

fn build(reject: &Reject, metadata: HashMap<String, String>) -> Status {
    let code = match reject.reason.kind() {
        RejectKind::InvalidArgument => Code::InvalidArgument,
        RejectKind::NotFound => Code::NotFound,
        RejectKind::AlreadyExists => Code::AlreadyExists,
        RejectKind::FailedPrecondition => Code::FailedPrecondition,
        RejectKind::PermissionDenied if reject.reason == Reason::Unauthenticated => Code::Unauthenticated,
        RejectKind::PermissionDenied => Code::PermissionDenied,
        RejectKind::ResourceExhausted => Code::ResourceExhausted,
        RejectKind::Unavailable => Code::Unavailable,
        RejectKind::Unimplemented => Code::Unimplemented,
    };
    let delay = retry_delay(reject.reason);
    let mut details = ErrorDetails::with_error_info(reject.reason.code(), DOMAIN, metadata);
    if !reject.field.is_empty() {
        details.add_bad_request_violation(&reject.field, &reject.message);
    }
    if delay.is_some() {
        details.set_retry_info(delay);
    }
    Status::with_error_details(code, &reject.message, details)
}

/// The status for a fault. What happened is for the log, not for the caller.
#[must_use]
pub fn internal(error: &dyn std::fmt::Display) -> Status {
    tracing::error!(%error, "a request failed from a fault");
    Status::internal(
        "an internal fault, recorded in the service's log; the outcome is unknown: repeat with the same id",
    )
}

/// The reason's code, of a status that carries one of ours.
#[must_use]
pub fn reason_of(status: &Status) -> Option<String> {
    status.get_details_error_info().filter(|info| info.domain == DOMAIN).map(|info| info.reason)
}

/// The reason, of a status that carries one that this build knows.
#[must_use]
pub fn known_reason(status: &Status) -> Option<Reason> {
    let code = reason_of(status)?;
    Reason::ALL.iter().copied().find(|reason| reason.code() == code)
}

/// The reject that a status carries.
#[must_use]
pub fn reject_of(status: &Status) -> Option<Reject> {
    let reason = known_reason(status)?;
    let field = field_of(status).unwrap_or_default();
    Some(Reject::new(reason, status.message()).field(field))
}

/// The field at fault, where the status names one.
#[must_use]
pub fn field_of(status: &Status) -> Option<String> {
    let violations = status.get_details_bad_request()?.field_violations;
    violations.into_iter().next().map(|violation| violation.field)
}

/// The leader's address in a `NOT_LEADER`.
#[must_use]
pub fn leader_of(status: &Status) -> Option<String> {
    let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
    info.metadata.get(LEADER_ADDRESS).cloned()
}

/// Message of a status with what lies beneath it: tonic says only "transport error" for a refused connection.
#[must_use]
pub fn explain(status: &Status) -> String {
    let mut text = if status.message().is_empty() { status.code().to_string() } else { status.message().to_owned() };
    let mut source = status.source();
    while let Some(error) = source {
        let detail = error.to_string();
        if !text.contains(&detail) {
            text = format!("{text}: {detail}");
        }
        source = error.source();
    }
    text
}

/// Whether the same request may be sent again elsewhere: the service says so, or the connection broke.
#[must_use]
pub fn is_retryable(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => true,
        // A status that was made here from a broken connection has a source; one that came over the wire has none.
        Code::Unknown | Code::Internal => status.source().is_some(),
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_crosses_with_its_code_field_and_delay() {
        for reason in Reason::ALL {
            let reject = Reject::new(*reason, "what is wrong").field("lines[2].quantity");
            let status = to_status(&reject);
            let expected = match reason.kind() {
                RejectKind::InvalidArgument => Code::InvalidArgument,
                RejectKind::NotFound => Code::NotFound,
                RejectKind::AlreadyExists => Code::AlreadyExists,
                RejectKind::FailedPrecondition => Code::FailedPrecondition,
                RejectKind::PermissionDenied if *reason == Reason::Unauthenticated => Code::Unauthenticated,
                RejectKind::PermissionDenied => Code::PermissionDenied,
                RejectKind::ResourceExhausted => Code::ResourceExhausted,
                RejectKind::Unavailable => Code::Unavailable,
                RejectKind::Unimplemented => Code::Unimplemented,
            };
            assert_eq!(status.code(), expected, "{reason:?}");
            assert_eq!(reason_of(&status).as_deref(), Some(reason.code()));
            assert_eq!(reject_of(&status), Some(reject));
            let delayed = matches!(reason.kind(), RejectKind::ResourceExhausted | RejectKind::Unavailable);
            let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
            assert_eq!(delay.is_some_and(|delay| delay > Duration::ZERO), delayed, "{reason:?}");
        }
    }

    #[test]
    fn a_reject_without_field_names_none() {
        let status = to_status(&Reject::new(Reason::UnknownOrder, "no order A"));
        assert_eq!((field_of(&status), status.message()), (None, "no order A"));
    }

    #[test]
    fn not_leader_names_the_leader_where_it_is_known() {
        assert_eq!(leader_of(&not_leader(Some("127.0.0.1:7102"))).as_deref(), Some("127.0.0.1:7102"));
        assert_eq!(leader_of(&not_leader(None)), None);
        for status in [not_leader(None), not_leader(Some("a:1"))] {
            assert_eq!(known_reason(&status), Some(Reason::NotLeader));
            assert!(is_retryable(&status));
        }
    }

    #[test]
    fn reasons_of_others_are_not_ours() {
        let details = ErrorDetails::with_error_info("FEED_FORKED", "elsewhere.example", HashMap::new());
        let status = Status::with_error_details(Code::FailedPrecondition, "x", details);
        assert_eq!((reason_of(&status), reject_of(&status), leader_of(&status)), (None, None, None));
        assert_eq!(reason_of(&Status::unknown("plain")), None);
    }

    #[test]
    fn business_answers_are_final() {
        for reason in Reason::ALL {
            let status = to_status(&Reject::new(*reason, "x"));
            assert_eq!(is_retryable(&status), reason.kind() == RejectKind::Unavailable, "{reason:?}");
        }
        assert!(!is_retryable(&Status::internal("a fault at the other side")));
    }
}
