//! Counts: people say what is there, the node says what should be, and the difference is booked.
//!
//! ```text
//!   requested ─start─> counting ─finish─┬─ within the threshold ──> approved
//!                         ^             └─> in review ─approve──> approved
//!                         └── recount <──────── ┘
//! ```
//!
//! Stock moves while people count. So each line remembers how its record moved since they began, by entry of the feed; a figure is held
//! against the record as of the entry that the counter's device knew, and only the difference is booked, whenever that is.
//!
//! Must not know: who may call; only that who counted does not approve.

mod book;
mod lines;

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{CountRequested, CountScope, CountState, CountStateChanged};
use stockmesh_proto::node::v1 as api;
use stockmesh_types::{ExceptionCode, PrincipalKind, Reason, Reject};

pub use lines::{CountFigure, CountedLine, RecordCount};

use crate::draft::Draft;
use crate::effects::{Answer, Context};
use crate::site::raise::Raise;
use crate::site::{Count, CountId, CountLine, ExceptionId, Label, count_views};

/// Lines of one count: it is kept as one value when it is closed.
pub const MAX_COUNT_LINES: usize = 300;

/// Asks for a count.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestCount {
    /// Stock keys, of which all sellable units are counted.
    pub stock_keys: Vec<stockmesh_types::StockKey>,
    /// Bins.
    pub bins: Vec<Label>,
    /// Zone, or none.
    pub zone: Label,
    /// Counters don't see what is expected.
    pub blind: bool,
    /// Note; may be empty.
    pub reference: String,
}

impl RequestCount {
    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let found = lines::of_scope(draft, &self)?;
        let Self { stock_keys, bins, zone, blind, reference } = self;
        let id = CountId(draft.issue());
        let scope = CountScope {
            stock_keys: stock_keys.iter().map(Into::into).collect(),
            bins: bins.iter().map(ToString::to_string).collect(),
            zone: zone.to_string(),
        };
        let lines = u32::try_from(found.len()).unwrap_or(u32::MAX);
        for (line, subject) in (1..).zip(found) {
            draft.site.count_lines.put((id, line), subject.record());
        }
        let count = Count {
            state: CountState::Requested.into(),
            scope: Some(scope.clone()),
            blind,
            reference: reference.clone(),
            lines,
            requested_time_ms: draft.meta.time.0,
            requested_by: Some((&context.principal).into()),
            exception_id: String::new(),
        };
        draft.site.counts.put(id, count);
        let count_id = id.to_string();
        draft.say(Fact::CountRequested(CountRequested { count_id, scope: Some(scope), blind, reference, lines }));
        Ok(Answer::CountRequested(Box::new(api::RequestCountResponse { count: Some(shown(draft, id)?) })))
    }
}

/// Begins a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartCount {
    /// Count.
    pub count: CountId,
}

impl StartCount {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { count: id } = self;
        in_state(draft, id, &[CountState::Requested])?;
        let position_seq = draft.state().position();
        for (at, mut line) in lines_of(draft, id) {
            lines::begin_trace(draft, &mut line);
            draft.site.count_lines.put(at, line);
        }
        go_on(draft, id, CountState::Counting, "")?;
        let count = Some(shown(draft, id)?);
        Ok(Answer::CountStarted(Box::new(api::StartCountResponse { count, position_seq })))
    }
}

/// Says that every line has a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishCount {
    /// Count.
    pub count: CountId,
}

impl FinishCount {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { count: id } = self;
        in_state(draft, id, &[CountState::Counting, CountState::Recount])?;
        let lines = lines_of(draft, id);
        let open: Vec<_> = lines.iter().filter(|(_, line)| line.figure.is_none()).map(|((_, n), _)| *n).collect();
        if let Some(first) = open.first() {
            let message = format!("{} lines of {id} have no figure, line {first} the first of them", open.len());
            return Err(Reject::new(Reason::CountIncomplete, message).field("count_id"));
        }
        go_on(draft, id, CountState::Counted, "")?;
        let apart: i64 = lines.iter().map(|(_, line)| variance(line).abs()).sum();
        let response = if apart > draft.state().site_policy().count_threshold {
            let raise = Raise {
                code: ExceptionCode::CountVariance,
                stock_key: None,
                quantity: apart,
                document_kind: "count",
                document_id: &id.to_string(),
                line: 0,
                description: format!("count {id} differs from the records by {apart} units: somebody else must look"),
            };
            let exception = draft.raise(raise, None);
            go_on(draft, id, CountState::InReview, "")?;
            if let Some(mut count) = draft.site.counts.get(&id).cloned() {
                count.exception_id = exception.to_string();
                draft.site.counts.put(id, count);
            }
            shown(draft, id)?
        } else {
            close(draft, id, CountState::Approved, "within the threshold")?
        };
        Ok(Answer::CountFinished(Box::new(api::FinishCountResponse { count: Some(response) })))
    }
}

/// Decides about a count in review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewCount {
    /// Count.
    pub count: CountId,
    /// Book the differences, or count again.
    pub decision: api::CountDecision,
    /// Lines to count again; none: all that differ.
    pub lines: Vec<u32>,
    /// Note; may be empty.
    pub note: String,
}

impl ReviewCount {
    pub(super) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { count: id, decision, lines: named, note } = self;
        in_state(draft, id, &[CountState::InReview])?;
        let lines = lines_of(draft, id);
        let reviewer = (&context.principal).into();
        let counted = lines.iter().any(|(_, line)| line.counters.contains(&reviewer));
        // Without authentication nobody can be told from anybody else: development on loopback only.
        if counted && context.principal.kind != PrincipalKind::Insecure {
            let message = format!("{} counted lines of {id}: somebody else must decide", context.principal);
            return Err(Reject::new(Reason::ReviewerCounted, message));
        }
        let count = match decision {
            api::CountDecision::Recount | api::CountDecision::Unspecified => {
                count_again(draft, id, lines, &named, &note)?;
                shown(draft, id)?
            }
            api::CountDecision::Approve => close(draft, id, CountState::Approved, &note)?,
        };
        Ok(Answer::CountReviewed(Box::new(api::ReviewCountResponse { count: Some(count) })))
    }
}

fn count_again(
    draft: &mut Draft<'_>,
    id: CountId,
    lines: Vec<((CountId, u32), CountLine)>,
    named: &[u32],
    note: &str,
) -> Result<(), Reject> {
    let unknown = named.iter().position(|line| !lines.iter().any(|((_, n), _)| n == line));
    if let Some(at) = unknown {
        let message = format!("{id} has no line {}", named[at]);
        return Err(Reject::new(Reason::InvalidValue, message).field(format!("lines[{at}]")));
    }
    for (at, mut line) in lines {
        let again = if named.is_empty() { variance(&line) != 0 } else { named.contains(&at.1) };
        if again {
            line.recount = true;
            line.figure = None;
            draft.site.count_lines.put(at, line);
        }
    }
    close_variance(draft, id, "counted again");
    go_on(draft, id, CountState::Recount, note)
}

/// Gives a count up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelCount {
    /// Count.
    pub count: CountId,
    /// Note; may be empty.
    pub note: String,
}

impl CancelCount {
    pub(super) fn execute(self, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { count: id, note } = self;
        open_count(draft, id)?;
        let count = Some(close(draft, id, CountState::Cancelled, &note)?);
        Ok(Answer::CountCancelled(Box::new(api::CancelCountResponse { count })))
    }
}

/// Closes a count: books its differences when it is approved, and forgets it; the store keeps it as answered here.
fn close(draft: &mut Draft<'_>, id: CountId, state: CountState, note: &str) -> Result<api::Count, Reject> {
    if state == CountState::Approved {
        book::differences(draft, id)?;
    }
    let word = if state == CountState::Approved { "approved" } else { "cancelled" };
    close_variance(draft, id, word);
    go_on(draft, id, state, note)?;
    let closed = shown(draft, id)?;
    for (at, _) in lines_of(draft, id) {
        draft.site.count_lines.remove(at);
    }
    draft.site.counts.remove(id);
    draft.site.closed_counts.push((id, closed.clone()));
    draft.settle();
    Ok(closed)
}

/// Closes the exception that a count in review raised.
fn close_variance(draft: &mut Draft<'_>, id: CountId, resolution: &str) {
    let raised = draft.site.counts.get(&id).and_then(|count| count.exception_id.parse::<ExceptionId>().ok());
    if let Some(exception) = raised.filter(|exception| draft.site.exceptions.get(exception).is_some()) {
        draft.close_exception(exception, resolution);
    }
}

fn go_on(draft: &mut Draft<'_>, id: CountId, state: CountState, note: &str) -> Result<(), Reject> {
    let count = Count { state: state.into(), ..open_count(draft, id)? };
    draft.site.counts.put(id, count);
    let (count_id, note) = (id.to_string(), note.to_owned());
    draft.say(Fact::CountStateChanged(CountStateChanged { count_id, state: state.into(), note }));
    Ok(())
}

fn open_count(draft: &Draft<'_>, id: CountId) -> Result<Count, Reject> {
    draft.site.counts.get(&id).cloned().ok_or_else(|| {
        let message = format!("node {} has no open count {id}", draft.state().identity().node);
        Reject::new(Reason::UnknownCount, message).field("count_id")
    })
}

fn in_state(draft: &Draft<'_>, id: CountId, wanted: &[CountState]) -> Result<Count, Reject> {
    let count = open_count(draft, id)?;
    if wanted.contains(&count.state()) {
        return Ok(count);
    }
    let word = |state: CountState| state.as_str_name().trim_start_matches("COUNT_STATE_").to_lowercase();
    let wanted: Vec<_> = wanted.iter().map(|state| word(*state)).collect();
    let message = format!("count {id} is {}, and must be {}", word(count.state()), wanted.join(" or "));
    Err(Reject::new(Reason::CountState, message).field("count_id"))
}

fn lines_of(draft: &Draft<'_>, id: CountId) -> Vec<((CountId, u32), CountLine)> {
    draft.site.count_lines.range(std::ops::Bound::Included(&(id, 0)), |(of, _)| *of == id)
}

/// What was seen less what was on record; 0 without a figure.
fn variance(line: &CountLine) -> i64 {
    line.figure.as_ref().map_or(0, |figure| figure.counted - figure.expected)
}

fn shown(draft: &Draft<'_>, id: CountId) -> Result<api::Count, Reject> {
    let count = open_count(draft, id)?;
    let lines = lines_of(draft, id);
    Ok(count_views::count(id, &count, lines.iter().map(|((_, n), line)| (*n, line))))
}
