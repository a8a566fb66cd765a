//! Counts as people may see them, and what is due to be counted.
//!
//! Must not know: commands; nothing here changes anything.

use std::ops::Bound;

use stockmesh_proto::feed::v1::CountState;
use stockmesh_proto::node::v1 as api;
use stockmesh_types::{LogTime, StockKey};

use super::views::{Page, page};
use super::{Count, CountId, CountLine, Site};
use crate::state::NodeState;

/// A count as answered to callers. While a blind one goes on, what is expected is not told.
pub(crate) fn count<'l>(id: CountId, count: &Count, lines: impl Iterator<Item = (u32, &'l CountLine)>) -> api::Count {
    let Count { state, scope, blind, reference, lines: _, requested_time_ms, requested_by, exception_id: _ } = count;
    let going_on = matches!(count.state(), CountState::Requested | CountState::Counting | CountState::Recount);
    let hidden = *blind && going_on;
    let line =
        |(n, line): (u32, &CountLine)| {
            let figure = line.figure.as_ref();
            let shown = |value: i64| if hidden { 0 } else { value };
            api::CountLine {
                line: n,
                stock_key: line.stock_key.clone(),
                bin: line.bin.clone(),
                lot: line.lot.clone(),
                has_figure: figure.is_some(),
                counted: figure.map_or(0, |figure| figure.counted),
                expected: shown(figure.map_or_else(
                    || line.trace.last().map_or(0, |recorded| recorded.expected),
                    |figure| figure.expected,
                )),
                variance: shown(figure.map_or(0, |figure| figure.counted - figure.expected)),
                position_seq: figure.map_or(0, |figure| figure.position_seq),
                attempts: line.attempts,
                counter: line.counters.last().cloned(),
                recount: line.recount,
            }
        };
    api::Count {
        count_id: id.to_string(),
        state: *state,
        scope: scope.clone(),
        blind: *blind,
        reference: reference.clone(),
        lines: lines.map(line).collect(),
        requested_time_ms: *requested_time_ms,
        requested_by: requested_by.clone(),
    }
}

impl Site {
    /// Open counts after `after`, at most `limit`, in one state or in any, without their lines.
    #[must_use]
    pub fn list_counts(
        &self,
        after: Option<CountId>,
        limit: usize,
        state: Option<CountState>,
    ) -> Page<api::Count, CountId> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let wanted = |record: &Count| state.is_none_or(|state| record.state() == state);
        let found = self.counts.range((start, Bound::Unbounded)).filter(|(_, record)| wanted(record));
        page(found.map(|(id, record)| (*id, count(*id, record, std::iter::empty()))), limit)
    }

    /// An open count with its lines.
    #[must_use]
    pub fn show_count(&self, id: CountId) -> Option<api::Count> {
        let record = self.count(id)?;
        let lines = self.count_lines.range((id, 0)..=(id, u32::MAX)).map(|((_, n), line)| (*n, line));
        Some(count(id, record, lines))
    }
}

impl NodeState {
    /// Stock keys with sellable units that are due to be counted at `now`, after `after`, at most `limit`.
    #[must_use]
    pub fn due_counts(&self, after: Option<&StockKey>, limit: usize, now: LogTime) -> Page<api::DueCount, StockKey> {
        let start = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.clone()));
        let due = self.cells_from(start).filter(|(_, cell)| cell.on_hand > 0).filter_map(|(key, cell)| {
            let attributes = self.item(&key.item).and_then(|item| item.attributes.as_ref());
            let class = attributes.map(|attributes| attributes.abc_class.clone()).unwrap_or_default();
            let last = cell.last_counted_ms;
            let due = if last == 0 { 0 } else { last + self.site_policy().count_interval_ms(&class) };
            (due <= now.0).then(|| {
                let wire = api::DueCount {
                    stock_key: Some(key.into()),
                    abc_class: class,
                    last_counted_time_ms: last,
                    due_time_ms: due,
                    in_count: self.site().lines_counting(key).next().is_some(),
                };
                (key.clone(), wire)
            })
        });
        page(due, limit)
    }
}
