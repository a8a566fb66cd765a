//! Exceptions are raised and closed by the commands that find their cause or its cure.
//!
//! Must not know: what an exception is about; who works it off stands in [`stockmesh_types::exception`].

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{ExceptionRaised, ExceptionResolved};
use stockmesh_types::{ExceptionCode, Quantity, Reason, Reject, StockKey};

use super::change::ExceptionId;
use super::records::{Exception, Held};
use crate::draft::Draft;

/// What an exception is about.
#[derive(Clone, Debug)]
pub(crate) struct Raise<'a> {
    /// What went wrong.
    pub code: ExceptionCode,
    /// Stock key, where there is one.
    pub stock_key: Option<&'a StockKey>,
    /// Base units; 0: none.
    pub quantity: Quantity,
    /// Kind of the document that it is about, as the feed's contract lists them; may be empty.
    pub document_kind: &'static str,
    /// Its id.
    pub document_id: &'a str,
    /// Line of it; 0: none.
    pub line: u32,
    /// What happened, for people; no personal data.
    pub description: String,
}

impl Draft<'_> {
    /// Raises an exception, and says so. `held`: units in receiving that wait for its decision.
    pub(crate) fn raise(&mut self, raise: Raise<'_>, held: Option<Held>) -> ExceptionId {
        let id = ExceptionId(self.issue());
        let Raise { code, stock_key, quantity, document_kind, document_id, line, description } = raise;
        let raised = ExceptionRaised {
            exception_id: id.to_string(),
            // Codes are few.
            code: i32::try_from(code.number()).unwrap_or_default(),
            stock_key: stock_key.map(Into::into),
            quantity,
            document_kind: document_kind.to_owned(),
            document_id: document_id.to_owned(),
            line,
            description,
        };
        let record = Exception { raised: Some(raised.clone()), raised_time_ms: self.meta.time.0, held };
        self.site.exceptions.put(id, record);
        self.say(Fact::ExceptionRaised(raised));
        id
    }

    /// An open exception.
    ///
    /// # Errors
    /// [`Reason::UnknownException`].
    pub(crate) fn open_exception(&self, id: ExceptionId) -> Result<&Exception, Reject> {
        self.site.exceptions.get(&id).ok_or_else(|| {
            let message = format!("node {} has no open exception {id}", self.state().identity().node);
            Reject::new(Reason::UnknownException, message).field("exception_id")
        })
    }

    /// Closes an exception, and says so.
    pub(crate) fn close_exception(&mut self, id: ExceptionId, resolution: &str) {
        self.site.exceptions.remove(id);
        let fact = ExceptionResolved { exception_id: id.to_string(), resolution: resolution.to_owned() };
        self.say(Fact::ExceptionResolved(fact));
    }
}
