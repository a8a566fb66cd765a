//! ResolveException: a person closes what nothing else closes.

use stockmesh_proto::node::v1::ResolveExceptionResponse;
use stockmesh_types::{Reason, Reject};

use crate::draft::Draft;
use crate::effects::Answer;
use crate::site::ExceptionId;

/// Closes an exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveException {
    /// Exception.
    pub exception: ExceptionId,
    /// What was done.
    pub resolution: String,
}

impl ResolveException {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { exception, resolution } = self;
        if let Some(held) = &draft.open_exception(exception)?.held {
            let message =
                format!("exception {exception} holds {} units in receiving: accept or refuse them", held.quantity);
            return Err(Reject::new(Reason::ExceptionHolds, message).field("exception_id"));
        }
        draft.close_exception(exception, &resolution);
        Ok(Answer::ExceptionResolved(ResolveExceptionResponse { exception_id: exception.to_string() }))
    }
}
