//! Passages: units that left stock and arrived in stock, with their value: transfers, conversions, voided sales.
//!
//! The units arrive in the order of their node's feed, as a layer whose value is not known yet; what they cost follows the
//! issues that took them out, however late that is known, and is passed on to who took from the layer.
//!
//! Must not know: facts.

use stockmesh_types::{Reason, share};

use crate::books::{Books, Fault, Stamp};
use crate::layers::issue_key;
use crate::post::{Posted, Wait};
use crate::records::Segment;
use crate::records::{CellKey, Passage, PassageId, PassageKind, PassagePart, Records, Stage, Supply, spoken};
use crate::rules::{
    CONVERSION_MADE, Line, TRANSFER_PASSED_ON, TRANSFER_RECEIVED, TRANSFER_SHORT, TRANSFER_TAKEN_OVER, VOID_COST,
};

/// Units `from..to` of what left in `supplies`, by the issues that took them out; fewer when fewer left.
pub(crate) fn segments_of(supplies: &[Supply], from: i64, to: i64) -> Vec<Segment> {
    let mut start = 0;
    let mut segments = Vec::new();
    for supply in supplies {
        let (low, high) = ((from - start).max(0), (to - start).min(supply.quantity));
        if low < high {
            segments.push(Segment { issue: supply.issue.clone(), from: low, to: high, value_minor: 0 });
        }
        start += supply.quantity;
    }
    segments
}

impl Passage {
    fn cell(&self, part: &PassagePart) -> CellKey {
        CellKey { node: self.node.clone(), stock_key: part.stock_key.clone() }
    }
}

impl<R: Records> Books<R> {
    /// Posts what a passage brought, as far as it is known, once it is known where it came from; what is still provisional is
    /// trued up later.
    pub(crate) fn cost_passage(&mut self, id: &PassageId, stamp: &Stamp) -> Posted<(), R> {
        let mut passage = self.known_passage(id)?;
        if passage.costed {
            return Ok(());
        }
        let mut currency = None;
        for segment in &passage.segments {
            let issue = self.issue(&segment.issue)?;
            // Units that were found before anything had a cost are worth nothing, in no currency.
            let worthless = issue.settled(segment.from, segment.to) && issue.value(segment.from, segment.to) == 0;
            let Some(found) = issue.currency else {
                if worthless {
                    continue;
                }
                return Err(Wait::partner(
                    Stage::Passage,
                    "COST_NOT_KNOWN",
                    issue_key(&segment.issue),
                    format!("waits for a first receipt of {}: its cost was never known", issue.stock_key),
                )
                .into());
            };
            if *currency.get_or_insert(found) != found {
                let message = format!("the units of {} left at costs in several currencies", spoken(id));
                return Err(Wait::person(Stage::Passage, Reason::NotInThisRelease.code(), message).into());
            }
        }
        let arrived: Vec<_> =
            passage.parts.iter().filter(|part| part.layer.is_some()).map(|part| passage.cell(part)).collect();
        for key in &arrived {
            if let (Some(known), Some(cost)) = (self.cell(key)?.currency, currency)
                && known != cost
            {
                let message =
                    format!("{} at {} is kept in {known}, and came at a cost in {cost}", key.stock_key, key.node);
                return Err(Wait::person(Stage::Passage, Reason::NotInThisRelease.code(), message).into());
            }
        }
        for key in arrived {
            let mut cell = self.cell(&key)?;
            cell.currency = cell.currency.or(currency);
            self.put_cell(key, cell);
        }
        for segment in &passage.segments {
            let mut issue = self.issue(&segment.issue)?;
            if !issue.settled(segment.from, segment.to) && !issue.open_returns.contains(id) {
                issue.open_returns.push(id.clone());
                self.put_issue(segment.issue.clone(), issue);
            }
        }
        passage.costed = true;
        self.put_passage(id.clone(), passage);
        Ok(self.passage_changed(id, stamp)?)
    }

    /// The cost of a passage's units changed: posts the difference, and passes it on to the layers. A settled one is done.
    pub(crate) fn passage_changed(&mut self, id: &PassageId, stamp: &Stamp) -> Result<(), Fault<R::Error>> {
        let Some(mut passage) = self.passage(id)?.filter(|passage| passage.costed && !passage.settled) else {
            return Ok(());
        };
        let mut currency = None;
        passage.settled = true;
        passage.value_minor = 0;
        for segment in &mut passage.segments {
            let issue = self.issue(&segment.issue)?;
            currency = currency.or(issue.currency);
            passage.settled &= issue.settled(segment.from, segment.to);
            segment.value_minor = issue.value(segment.from, segment.to);
            passage.value_minor += segment.value_minor;
        }
        let (value_minor, whole) = (passage.value_minor, passage.whole);
        let mut changes = Vec::with_capacity(passage.parts.len());
        for part in &mut passage.parts {
            let part_minor = share(value_minor, part.from, part.to, whole);
            changes.push((part_minor - part.value_minor, part.clone()));
            part.value_minor = part_minor;
        }
        self.put_passage(id.clone(), passage.clone());
        // Without a currency nothing of it has a cost.
        for (cost_minor, part) in changes.iter().filter(|(cost_minor, _)| *cost_minor != 0) {
            let Some(currency) = currency else { continue };
            self.enter_passage(id, &passage, part, *cost_minor, currency, stamp)?;
        }
        for part in &passage.parts {
            if let Some(number) = part.layer {
                self.layer_changed(&passage.cell(part), number, part.value_minor, passage.settled, stamp)?;
            }
        }
        Ok(())
    }

    fn enter_passage(
        &mut self,
        id: &PassageId,
        passage: &Passage,
        part: &PassagePart,
        cost_minor: i64,
        currency: stockmesh_types::Currency,
        stamp: &Stamp,
    ) -> Result<(), Fault<R::Error>> {
        let Passage { kind, node, entity, source_node, source_entity, lane, channel, order_id, .. } = passage;
        let about = format!("{} at {node}, {}", part.stock_key, spoken(id));
        let line = |node, counterparty| Line {
            node: Some(node),
            item: Some(&part.stock_key.item),
            channel,
            order_id,
            counterparty: Some(counterparty),
            lane,
            cost_minor,
            ..Line::new()
        };
        let own = [line(node, source_entity)];
        match (kind, part.layer.is_some()) {
            (PassageKind::Transfer, true) if entity == source_entity => {
                self.enter(&TRANSFER_RECEIVED, entity, currency, stamp, &about, &own)
            }
            (PassageKind::Transfer, true) => {
                let theirs = [line(source_node, entity)];
                self.enter(&TRANSFER_PASSED_ON, source_entity, currency, stamp, &about, &theirs)?;
                self.enter(&TRANSFER_TAKEN_OVER, entity, currency, stamp, &about, &own)
            }
            (PassageKind::Transfer, false) => {
                let theirs = [line(source_node, entity)];
                self.enter(&TRANSFER_SHORT, source_entity, currency, stamp, &about, &theirs)
            }
            (PassageKind::Conversion, _) => self.enter(&CONVERSION_MADE, entity, currency, stamp, &about, &own),
            (PassageKind::Void, _) => self.enter(&VOID_COST, entity, currency, stamp, &about, &own),
        }
    }

    pub(crate) fn known_passage(&mut self, id: &PassageId) -> Result<Passage, Fault<R::Error>> {
        self.passage(id)?.ok_or_else(|| Fault::Corrupt(format!("{} waits, and is not there", spoken(id))))
    }

    /// Posts what several passages of one fact brought; each goes as far as it can. The first that waits says for what.
    pub(crate) fn cost_passages(&mut self, ids: &[PassageId], stamp: &Stamp) -> Posted<(), R> {
        let mut waits = None;
        for id in ids {
            match self.cost_passage(id, stamp) {
                Err(crate::post::Stop::Wait(wait)) => waits = waits.or(Some(wait)),
                done => done?,
            }
        }
        waits.map_or(Ok(()), |wait| Err(crate::post::Stop::Wait(wait)))
    }
}
