//! Booking of a count's differences: each line's, as an adjustment that names the count.

use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AdjustReason, StockAdjusted};
use stockmesh_types::{Quantity, Reject};

use super::lines::CountedLine;
use super::{lines_of, variance};
use crate::draft::Draft;
use crate::site::{Condition, CountId, CountLine, Label, TakeRule, UnitGroup};

/// Books the differences of all lines.
///
/// # Errors
/// [`stockmesh_types::Reason::InsufficientOnHand`] when fewer units are left than are missing, and
/// [`stockmesh_types::Reason::QuantityTooLarge`]: count such a line again.
pub(super) fn differences(draft: &mut Draft<'_>, id: CountId) -> Result<(), Reject> {
    let (reference, time) =
        (draft.site.counts.get(&id).map(|count| count.reference.clone()).unwrap_or_default(), draft.meta.time.0);
    for ((_, n), line) in lines_of(draft, id) {
        let Some(subject) = CountedLine::of(&line) else { continue };
        if subject.bin.is_none() {
            draft.cell(&subject.stock_key).last_counted_ms = time;
        }
        let moved = apply(draft, &subject, &line).map_err(|reject| reject.field(format!("lines[{n}]")))?;
        for (part, (delta, units)) in moved.into_iter().enumerate() {
            draft.cell(&subject.stock_key).adjusted_total += delta;
            let adjustment_id = if part == 0 { format!("{id}/{n}") } else { format!("{id}/{n}.{part}") };
            draft.say(Fact::StockAdjusted(StockAdjusted {
                adjustment_id,
                stock_key: line.stock_key.clone(),
                delta,
                reason: AdjustReason::Count.into(),
                reference: reference.clone(),
                entered: None,
                units: UnitGroup::to_wire(&units),
                count_id: id.to_string(),
            }));
        }
    }
    Ok(())
}

/// Takes away what is missing and puts what was found; the changes of sellable units with the units that they are.
fn apply(
    draft: &mut Draft<'_>,
    subject: &CountedLine,
    line: &CountLine,
) -> Result<Vec<(Quantity, Vec<UnitGroup>)>, Reject> {
    let CountedLine { stock_key, bin, lot } = subject;
    let figure = line.figure.clone().unwrap_or_default();
    if !figure.missing.is_empty() || !figure.extra.is_empty() {
        return serials(draft, subject, &figure.missing, &figure.extra);
    }
    let delta = variance(line);
    let group = |quantity| UnitGroup { lot: lot.clone(), bin: bin.clone(), ..UnitGroup::plain(quantity) };
    if delta > 0 {
        draft.fits(stock_key, delta)?;
        let units = vec![group(delta)];
        draft.put_units(stock_key, Condition::Sellable, &units)?;
        return Ok(vec![(delta, units)]);
    }
    if delta == 0 {
        return Ok(Vec::new());
    }
    // Units may have left the place since it was counted: then the rest is taken wherever the stock key lies.
    let here = super::lines::expected_now(draft, subject).min(-delta);
    let mut units = Vec::new();
    if here > 0 {
        units.extend(draft.take_units(stock_key, Condition::Sellable, here, &[group(here)], TakeRule::RECORDED)?);
    }
    let elsewhere = -delta - here;
    if elsewhere > 0 {
        units.extend(draft.take_units(stock_key, Condition::Sellable, elsewhere, &[], TakeRule::RECORDED)?);
    }
    Ok(vec![(delta, units)])
}

/// Books serial numbers: those that are still on record and were not seen leave, those that were seen and are still not here come.
fn serials(
    draft: &mut Draft<'_>,
    subject: &CountedLine,
    missing: &[String],
    extra: &[String],
) -> Result<Vec<(Quantity, Vec<UnitGroup>)>, Reject> {
    let CountedLine { stock_key, bin, lot } = subject;
    let here = draft.serials_at(stock_key, Condition::Sellable, bin, lot);
    let known = |text: &String| Label::new(text, "serials").ok();
    let gone: Vec<Label> = missing.iter().filter_map(known).filter(|serial| here.contains(serial)).collect();
    let item = &stock_key.item;
    let absent = |serial: &Label| draft.site.serials.get(&(item.clone(), serial.clone())).is_none();
    let come: Vec<Label> = extra.iter().filter_map(known).filter(absent).collect();
    let group = |serials: Vec<Label>| UnitGroup {
        // Serial numbers of one count are few.
        quantity: Quantity::try_from(serials.len()).unwrap_or(Quantity::MAX),
        lot: lot.clone(),
        expiry: None,
        bin: bin.clone(),
        serials,
    };
    let mut moved = Vec::new();
    if !gone.is_empty() {
        let lost = group(gone);
        let quantity = lost.quantity;
        let units = draft.take_units(stock_key, Condition::Sellable, quantity, &[lost], TakeRule::WITHIN)?;
        moved.push((-quantity, units));
    }
    if !come.is_empty() {
        let found = vec![group(come)];
        let quantity = UnitGroup::total(&found);
        draft.fits(stock_key, quantity)?;
        draft.put_units(stock_key, Condition::Sellable, &found)?;
        moved.push((quantity, found));
    }
    Ok(moved)
}
