//! Lines of counts: what a scope comes to, figures, and the trace of a record while it is counted.

use std::collections::BTreeSet;

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{CountState, StockCounted};
use stockmesh_proto::node::v1 as api;
use stockmesh_types::{MAX_QUANTITY, Quantity, Reason, Reject, StockKey};

use super::{MAX_COUNT_LINES, RequestCount, in_state, lines_of, shown};
use crate::draft::Draft;
use crate::effects::{Answer, Context};
use crate::site::records::{Figure, MAX_TRACE, Recorded};
use crate::site::{Asked, Condition, CountId, CountLine, Label, key_of};

/// What a line is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CountedLine {
    /// Stock key.
    pub stock_key: StockKey,
    /// Bin; none: all sellable units.
    pub bin: Label,
    /// Lot; none: not told apart.
    pub lot: Label,
}

impl CountedLine {
    pub(super) fn record(&self) -> CountLine {
        let Self { stock_key, bin, lot } = self;
        CountLine {
            stock_key: Some(stock_key.into()),
            bin: bin.to_string(),
            lot: lot.to_string(),
            ..CountLine::default()
        }
    }

    pub(super) fn of(line: &CountLine) -> Option<Self> {
        Some(Self {
            stock_key: key_of(&line.stock_key)?,
            bin: Label::new(&line.bin, "bin").ok()?,
            lot: Label::new(&line.lot, "lot").ok()?,
        })
    }

    /// Both can't be counted at once: the same place, or one of them the whole stock key.
    fn overlaps(&self, other: &Self) -> bool {
        let meets = |a: &Label, b: &Label| a.is_none() || b.is_none() || a == b;
        self.stock_key == other.stock_key && meets(&self.bin, &other.bin) && meets(&self.lot, &other.lot)
    }
}

/// The lines that a scope comes to.
pub(super) fn of_scope(draft: &mut Draft<'_>, scope: &RequestCount) -> Result<Vec<CountedLine>, Reject> {
    let mut found = BTreeSet::new();
    for (n, key) in scope.stock_keys.iter().enumerate() {
        draft.ranged(&key.item).map_err(|reject| reject.field(format!("scope.stock_keys[{n}].item")))?;
        let lots: BTreeSet<Label> =
            draft.site.held(key, Condition::Sellable).into_iter().map(|(held, _)| held.lot).collect();
        // Lots are counted one by one; what has none is a line of its own only when nothing is told apart.
        let lots = if lots.iter().all(Label::is_none) { BTreeSet::from([Label::none()]) } else { lots };
        found.extend(lots.into_iter().map(|lot| CountedLine { stock_key: key.clone(), bin: Label::none(), lot }));
    }
    let mut bins = scope.bins.clone();
    if !scope.zone.is_none() {
        bins.extend(draft.state().site().bins_of_zone(&scope.zone).cloned());
    }
    for (n, bin) in bins.iter().enumerate() {
        if draft.site.bins.get(bin).is_none() {
            return Err(
                Reject::new(Reason::UnknownBin, format!("there is no bin {bin}")).field(format!("scope.bins[{n}]"))
            );
        }
        let here = draft.state().site().in_bin(bin).filter(|held| held.condition == Condition::Sellable);
        found.extend(here.map(|held| CountedLine {
            stock_key: held.stock_key.clone(),
            bin: bin.clone(),
            lot: held.lot.clone(),
        }));
    }
    if scope.stock_keys.is_empty() && bins.is_empty() {
        let message = "scope is empty: name stock keys, bins, or a zone that has bins";
        return Err(Reject::new(Reason::MissingField, message).field("scope"));
    }
    if found.len() > MAX_COUNT_LINES {
        let message = format!("the count would have {} lines, at most {MAX_COUNT_LINES}: ask for parts", found.len());
        return Err(Reject::new(Reason::TooManyLines, message).field("scope"));
    }
    found.iter().try_for_each(|line| free(draft, line, None))?;
    Ok(found.into_iter().collect())
}

/// Refuses what another open count, or another line of this one, counts already.
fn free(draft: &Draft<'_>, line: &CountedLine, own: Option<CountId>) -> Result<(), Reject> {
    let known = draft.state().site().lines_counting(&line.stock_key);
    let fresh = own.into_iter().flat_map(|id| lines_of(draft, id)).map(|(at, _)| at);
    for at in known.copied().chain(fresh) {
        let other = draft.site.count_lines.get(&at).and_then(CountedLine::of);
        if other.is_some_and(|other| other.overlaps(line)) {
            let message = format!("{} is counted by line {} of {}", line.stock_key, at.1, at.0);
            return Err(Reject::new(Reason::AlreadyInCount, message).field("scope"));
        }
    }
    Ok(())
}

/// A figure for a line.
#[derive(Clone, Debug, PartialEq)]
pub struct CountFigure {
    /// A line of the count, or something that nobody expected.
    pub line: Result<u32, CountedLine>,
    /// Units seen; `None`: none were.
    pub counted: Option<Asked>,
    /// Entry of the feed that the counter's device knew; `None`: now.
    pub position_seq: Option<u64>,
    /// Serial numbers seen.
    pub serials: Vec<Label>,
}

/// Enters figures.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordCount {
    /// Count.
    pub count: CountId,
    /// 1 or more.
    pub figures: Vec<CountFigure>,
}

impl RecordCount {
    pub(in crate::command) fn execute(self, context: &Context, draft: &mut Draft<'_>) -> Result<Answer, Reject> {
        let Self { count: id, figures } = self;
        let state = in_state(draft, id, &[CountState::Counting, CountState::Recount])?.state();
        for (n, figure) in figures.into_iter().enumerate() {
            enter(context, draft, id, state, figure).map_err(|reject| reject.within(&format!("figures[{n}]")))?;
        }
        Ok(Answer::CountRecorded(Box::new(api::RecordCountResponse { count: Some(shown(draft, id)?) })))
    }
}

fn enter(
    context: &Context,
    draft: &mut Draft<'_>,
    id: CountId,
    state: CountState,
    figure: CountFigure,
) -> Result<(), Reject> {
    let CountFigure { line, counted, position_seq, serials } = figure;
    let n = match line {
        Ok(n) => n,
        Err(subject) => add_line(draft, id, &subject)?,
    };
    let Some(mut line) = draft.site.count_lines.get(&(id, n)).cloned() else {
        return Err(Reject::new(Reason::InvalidValue, format!("{id} has no line {n}")).field("line"));
    };
    if state == CountState::Recount && !line.recount {
        let message = format!("line {n} of {id} is not to be counted again");
        return Err(Reject::new(Reason::CountState, message).field("line"));
    }
    let Some(subject) = CountedLine::of(&line) else {
        return Err(Reject::new(Reason::InvalidValue, format!("line {n} of {id} can't be read")).field("line"));
    };
    let item = draft.ranged(&subject.stock_key.item)?;
    let tracked = item.attributes.as_ref().is_some_and(|attributes| attributes.track_serials);
    let (counted, entered) = match counted {
        None => (0, None),
        Some(asked) => {
            let converted = asked.convert(item)?;
            (converted.base, converted.entered)
        }
    };
    let (position_seq, expected) = on_record(draft, &line, position_seq)?;
    let (missing, extra) = match tracked {
        true => serials_apart(draft, &subject, counted, expected, &serials)?,
        false if serials.is_empty() => (Vec::new(), Vec::new()),
        false => {
            let message = format!("{} has no serial numbers", subject.stock_key.item);
            return Err(Reject::new(Reason::NotTracked, message).field("serials"));
        }
    };
    let counter = (&context.principal).into();
    if !line.counters.contains(&counter) {
        line.counters.push(counter);
    }
    line.attempts += 1;
    draft.say(Fact::StockCounted(StockCounted {
        count_id: id.to_string(),
        line: n,
        stock_key: line.stock_key.clone(),
        bin: line.bin.clone(),
        lot: line.lot.clone(),
        counted,
        expected,
        position_seq,
        entered: entered.clone(),
        attempt: line.attempts,
        serials: serials.iter().map(ToString::to_string).collect(),
    }));
    line.figure = Some(Figure { counted, expected, position_seq, entered, missing, extra });
    draft.site.count_lines.put((id, n), line);
    Ok(())
}

/// Something was found that no line is about.
fn add_line(draft: &mut Draft<'_>, id: CountId, subject: &CountedLine) -> Result<u32, Reject> {
    draft.ranged(&subject.stock_key.item).map_err(|reject| reject.field("stock_key.item"))?;
    if !subject.bin.is_none() && draft.site.bins.get(&subject.bin).is_none() {
        return Err(Reject::new(Reason::UnknownBin, format!("there is no bin {}", subject.bin)).field("bin"));
    }
    free(draft, subject, Some(id)).map_err(|reject| reject.field("stock_key"))?;
    let Some(mut count) = draft.site.counts.get(&id).cloned() else {
        return Err(Reject::new(Reason::UnknownCount, format!("no open count {id}")));
    };
    if count.lines as usize >= MAX_COUNT_LINES {
        let message = format!("{id} has {MAX_COUNT_LINES} lines: ask for another count");
        return Err(Reject::new(Reason::TooManyLines, message).field("line"));
    }
    count.lines += 1;
    let n = count.lines;
    let mut line = subject.record();
    line.recount = count.state() == CountState::Recount;
    begin_trace(draft, &mut line);
    draft.site.counts.put(id, count);
    draft.site.count_lines.put((id, n), line);
    Ok(n)
}

/// What the record said as of an entry of the feed.
fn on_record(draft: &Draft<'_>, line: &CountLine, position: Option<u64>) -> Result<(u64, Quantity), Reject> {
    let now = draft.state().position();
    let position = position.unwrap_or(now);
    if position > now {
        let message = format!("position_seq is {position}, and the feed ends at {now}");
        return Err(Reject::new(Reason::InvalidValue, message).field("position_seq"));
    }
    let known = line.trace.iter().rev().find(|recorded| recorded.seq <= position);
    known.map(|recorded| (position, recorded.expected)).ok_or_else(|| {
        let message =
            format!("what was on record as of entry {position} is not known: count the line again, as of now");
        Reject::new(Reason::PositionTooOld, message).field("position_seq")
    })
}

/// Serial numbers on record that were not seen, and those that were seen and are not on record.
fn serials_apart(
    draft: &Draft<'_>,
    subject: &CountedLine,
    counted: Quantity,
    expected: Quantity,
    seen: &[Label],
) -> Result<(Vec<String>, Vec<String>), Reject> {
    if seen.is_empty() && counted == expected {
        return Ok((Vec::new(), Vec::new()));
    }
    if Quantity::try_from(seen.len()) != Ok(counted) {
        let message = format!("{counted} units of {} were seen: name their serial numbers", subject.stock_key.item);
        return Err(Reject::new(Reason::SerialsRequired, message).field("serials"));
    }
    let recorded = draft.serials_at(&subject.stock_key, Condition::Sellable, &subject.bin, &subject.lot);
    let missing = recorded.iter().filter(|serial| !seen.contains(serial)).map(ToString::to_string).collect();
    let extra = seen.iter().filter(|serial| !recorded.contains(serial)).map(ToString::to_string).collect();
    Ok((missing, extra))
}

/// Units on record for a line, as of now.
pub(super) fn expected_now(draft: &mut Draft<'_>, subject: &CountedLine) -> Quantity {
    let CountedLine { stock_key, bin, lot } = subject;
    if bin.is_none() && lot.is_none() {
        return draft.cell(stock_key).on_hand;
    }
    let held = draft.site.held(stock_key, Condition::Sellable);
    let here = held.iter().filter(|(key, _)| (bin.is_none() || key.bin == *bin) && (lot.is_none() || key.lot == *lot));
    here.map(|(_, units)| units).sum::<Quantity>().min(MAX_QUANTITY)
}

/// From now on the line remembers how its record moves.
pub(super) fn begin_trace(draft: &mut Draft<'_>, line: &mut CountLine) {
    if let Some(subject) = CountedLine::of(line) {
        let expected = expected_now(draft, &subject);
        line.trace = vec![Recorded { seq: draft.state().position(), expected }];
    }
}

impl Draft<'_> {
    /// Notes on every line that is being counted how its record moved. `seq`: the last entry of this command.
    pub(crate) fn trace_counts(&mut self, keys: &BTreeSet<StockKey>, seq: u64) {
        for key in keys {
            let lines: Vec<_> = self.state().site().lines_counting(key).copied().collect();
            for at in lines {
                let Some(mut line) = self.site.count_lines.get(&at).cloned() else { continue };
                let Some(subject) = CountedLine::of(&line) else { continue };
                let expected = expected_now(self, &subject);
                // No trace: nobody has begun to count it.
                if line.trace.last().is_none_or(|last| last.expected == expected) {
                    continue;
                }
                if line.trace.len() == MAX_TRACE {
                    line.trace.remove(0);
                }
                line.trace.push(Recorded { seq, expected });
                self.site.count_lines.put(at, line);
            }
        }
    }
}
