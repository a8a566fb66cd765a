//! Inspections of returned goods, and what becomes of those that are set aside: refurbished, sold off, sent back.
//!
//! Goods that are set aside keep the cost at which they came back; those that are to be sold off are written down to the net
//! realisable value that the settings state. What they turn out to have cost later goes the same way.

use stockmesh_proto::convert::specified;
use stockmesh_proto::feed::v1::{Disposition, DispositionFinished, DispositionOutcome, ReturnInspected};
use stockmesh_types::quantity::positive;
use stockmesh_types::{Currency, LegalEntity, OrderId, Reason, Reject, share};

use super::{Incoming, Posted, Wait, fingerprint, own_key, units};
use crate::accounts::Role;
use crate::books::{Books, Fault, Stamp};
use crate::records::{CellKey, Disposal, Inspection, Outcome, Records, Return, Stage, return_key};
use crate::rules::{
    DISPOSITION_LIQUIDATED, DISPOSITION_REFURBISHED, DISPOSITION_RETURNED, DISPOSITION_WRITTEN_OFF,
    INSPECTION_LIQUIDATE, INSPECTION_REFURBISH, INSPECTION_RESALE, INSPECTION_TO_VENDOR, INSPECTION_WRITE_OFF, Line,
    Rule,
};
use crate::settings::WHOLE_PPM;

impl Disposal {
    fn rule(self) -> &'static Rule {
        match self {
            Self::Resale => &INSPECTION_RESALE,
            Self::WriteOff => &INSPECTION_WRITE_OFF,
            Self::Refurbish => &INSPECTION_REFURBISH,
            Self::Liquidate => &INSPECTION_LIQUIDATE,
            Self::ReturnToVendor => &INSPECTION_TO_VENDOR,
        }
    }
}

impl Outcome {
    fn rule(&self) -> &'static Rule {
        match self {
            Self::Refurbished(_) => &DISPOSITION_REFURBISHED,
            Self::Liquidated => &DISPOSITION_LIQUIDATED,
            Self::ReturnedToVendor => &DISPOSITION_RETURNED,
            Self::WrittenOff => &DISPOSITION_WRITTEN_OFF,
        }
    }
}

impl Inspection {
    /// What its units are carried at when those of the whole return are worth `total_minor`. However parts are split, they
    /// add up.
    pub(super) fn carried(&self, total_minor: i64, quantity: i64) -> i64 {
        let up_to =
            |unit| share(share(total_minor, 0, unit, quantity), 0, i64::from(self.carried_ppm), i64::from(WHOLE_PPM));
        up_to(self.to) - up_to(self.from)
    }

    /// The layer that its units became, when they became sellable.
    pub(super) fn layer_of(&self, returned: &CellKey) -> Option<(CellKey, u64)> {
        let number = self.layer?;
        let key = match &self.outcome {
            Some(Outcome::Refurbished(stock_key)) => {
                CellKey { node: returned.node.clone(), stock_key: stock_key.clone() }
            }
            _ => returned.clone(),
        };
        Some((key, number))
    }
}

impl<R: Records> Books<R> {
    pub(super) fn return_inspected(&mut self, incoming: &Incoming<'_>, fact: &ReturnInspected) -> Posted<(), R> {
        let (node, _) = self.writer(incoming)?;
        let id = return_key(node.as_str(), OrderId::new(&fact.return_id)?.as_str());
        let stamp = incoming.stamp()?;
        let document = match fact.inspection_id.as_str() {
            "" => None,
            inspection => Some(format!("inspection:{node}:{}", OrderId::new(inspection)?)),
        };
        if let Some(document) = &document
            && !self.is_new_document(document, fact)?
        {
            return Ok(());
        }
        let Some(mut record) = self.return_of(&id)? else {
            let message = format!("waits for return {}", fact.return_id);
            return Err(Wait::partner(Stage::Whole, "RETURN_NOT_KNOWN", id, message).into());
        };
        let quantity = positive(fact.quantity, "quantity")?;
        check_inspection(fact, &record, quantity)?;
        let disposal = disposal(specified::<Disposition>(fact.disposition, "disposition")?);
        let liquidated = disposal == Disposal::Liquidate;
        let carried_ppm = if liquidated { self.settings.liquidation_value_ppm.min(WHOLE_PPM) } else { WHOLE_PPM };
        let (from, to) = (record.inspected, record.inspected + quantity);
        let mut part = Inspection {
            from,
            to,
            layer: None,
            value_minor: share(record.value_minor, from, to, record.quantity),
            disposal: Some(disposal),
            carried_ppm,
            carried_minor: 0,
            outcome: None,
        };
        part.carried_minor = part.carried(record.value_minor, record.quantity);
        let key = CellKey { node: node.clone(), stock_key: record.stock_key.clone() };
        let mut cell = self.cell(&key)?;
        cell.pending_quantity -= quantity;
        cell.pending_value_minor -= part.value_minor;
        if part.waits() {
            cell.set_aside_quantity += quantity;
            cell.set_aside_value_minor += part.carried_minor;
        }
        let currency = cell.currency;
        self.put_cell(key.clone(), cell);
        if let Some(currency) = currency {
            let about = format!("{} of {} at {node}, return {}", units(quantity), key.stock_key, fact.return_id);
            let amounts = (part.value_minor, part.carried_minor);
            self.enter_inspected(&record.entity, &key, currency, &part, amounts, &about, &stamp)?;
        }
        if disposal == Disposal::Resale {
            part.layer = Some(self.restock_units(&key, quantity, part.value_minor, record.settled)?);
        }
        record.inspected = to;
        record.inspections.push(part);
        self.put_return(id, record);
        if let Some(document) = document {
            self.put_document(document, fingerprint(fact));
        }
        Ok(())
    }

    pub(super) fn disposition_finished(
        &mut self,
        incoming: &Incoming<'_>,
        fact: &DispositionFinished,
    ) -> Posted<(), R> {
        let (node, _) = self.writer(incoming)?;
        let document = format!("disposition:{node}:{}", OrderId::new(&fact.finish_id)?);
        if !self.is_new_document(&document, fact)? {
            return Ok(());
        }
        let stamp = incoming.stamp()?;
        let id = return_key(node.as_str(), OrderId::new(&fact.return_id)?.as_str());
        let Some(mut record) = self.return_of(&id)? else {
            let message = format!("waits for return {}", fact.return_id);
            return Err(Wait::partner(Stage::Whole, "RETURN_NOT_KNOWN", id, message).into());
        };
        let quantity = positive(fact.quantity, "quantity")?;
        let disposal = disposal(specified::<Disposition>(fact.disposition, "disposition")?);
        let outcome = match specified::<DispositionOutcome>(fact.outcome, "outcome")? {
            DispositionOutcome::Refurbished => Outcome::Refurbished(own_key(&fact.sellable_as, "sellable_as")?),
            DispositionOutcome::Liquidated => Outcome::Liquidated,
            DispositionOutcome::ReturnedToVendor => Outcome::ReturnedToVendor,
            DispositionOutcome::Unspecified | DispositionOutcome::WrittenOff => Outcome::WrittenOff,
        };
        let waits = |part: &Inspection| part.waits() && part.decided() == disposal;
        let waiting: i64 = record.inspections.iter().filter(|part| waits(part)).map(|part| part.to - part.from).sum();
        if own_key(&fact.stock_key, "stock_key")? != record.stock_key || quantity > waiting {
            let message = format!(
                "{} of return {} finished, of {waiting} of {} that wait for it",
                units(quantity),
                fact.return_id,
                record.stock_key
            );
            return Err(Reject::new(Reason::ExceedsReturn, message).into());
        }
        let key = CellKey { node: node.clone(), stock_key: record.stock_key.clone() };
        let currency = self.cell(&key)?.currency;
        if let Outcome::Refurbished(stock_key) = &outcome {
            let sellable = CellKey { node: node.clone(), stock_key: stock_key.clone() };
            let mut cell = self.cell(&sellable)?;
            if let (Some(known), Some(cost)) = (cell.currency, currency)
                && known != cost
            {
                let message = format!("{stock_key} is kept in {known}, and what was refurbished cost {cost}");
                return Err(Reject::new(Reason::NotInThisRelease, message).into());
            }
            cell.currency = cell.currency.or(currency);
            self.put_cell(sellable, cell);
        }
        let about = format!("{} of {} at {node}, return {}", units(quantity), key.stock_key, fact.return_id);
        let (mut left, mut parts) = (quantity, Vec::with_capacity(record.inspections.len() + 1));
        for part in std::mem::take(&mut record.inspections) {
            if left == 0 || !waits(&part) {
                parts.push(part);
                continue;
            }
            let at = part.from + left.min(part.to - part.from);
            left -= at - part.from;
            let (mut finished, rest) = split(part, at, &record);
            finished.outcome = Some(outcome.clone());
            let mut cell = self.cell(&key)?;
            cell.set_aside_quantity -= finished.to - finished.from;
            cell.set_aside_value_minor -= finished.carried_minor;
            self.put_cell(key.clone(), cell);
            if let Some(currency) = currency {
                let line = inspected_line(&key, &finished, (0, finished.carried_minor));
                self.enter(outcome.rule(), &record.entity, currency, &stamp, &about, &[line])?;
            }
            if let Outcome::Refurbished(stock_key) = &outcome {
                let sellable = CellKey { node: node.clone(), stock_key: stock_key.clone() };
                let restocked = finished.to - finished.from;
                finished.layer =
                    Some(self.restock_units(&sellable, restocked, finished.carried_minor, record.settled)?);
            }
            parts.push(finished);
            parts.extend(rest);
        }
        record.inspections = parts;
        self.put_return(id, record);
        self.put_document(document, fingerprint(fact));
        Ok(())
    }

    /// Posts a change of what inspected units cost, and are carried at, through all that became of them.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn enter_inspected(
        &mut self,
        entity: &LegalEntity,
        key: &CellKey,
        currency: Currency,
        part: &Inspection,
        amounts: (i64, i64),
        about: &str,
        stamp: &Stamp,
    ) -> Result<(), Fault<R::Error>> {
        let line = inspected_line(key, part, amounts);
        self.enter(part.decided().rule(), entity, currency, stamp, about, std::slice::from_ref(&line))?;
        match &part.outcome {
            Some(outcome) => self.enter(outcome.rule(), entity, currency, stamp, about, &[line]),
            None => Ok(()),
        }
    }
}

/// A line about inspected units: their cost, and what they are carried at.
fn inspected_line<'a>(key: &'a CellKey, part: &Inspection, (cost_minor, carried_minor): (i64, i64)) -> Line<'a> {
    Line {
        node: Some(&key.node),
        item: Some(key.item()),
        set_aside: part.decided().set_aside().unwrap_or(Role::Refurbishment),
        cost_minor,
        carried_minor,
        ..Line::new()
    }
}

/// The units of a part before `at`, and those behind it, if any.
fn split(part: Inspection, at: i64, record: &Return) -> (Inspection, Option<Inspection>) {
    let valued = |from, to| {
        let mut new = Inspection { from, to, ..part.clone() };
        new.value_minor = share(record.value_minor, from, to, record.quantity);
        new.carried_minor = new.carried(record.value_minor, record.quantity);
        new
    };
    let rest = (at < part.to).then(|| valued(at, part.to));
    (valued(part.from, at), rest)
}

fn disposal(disposition: Disposition) -> Disposal {
    match disposition {
        Disposition::Resale => Disposal::Resale,
        Disposition::Refurbish => Disposal::Refurbish,
        Disposition::Liquidate => Disposal::Liquidate,
        Disposition::ReturnToVendor => Disposal::ReturnToVendor,
        // What is unspecified was refused before.
        Disposition::Unspecified | Disposition::WriteOff => Disposal::WriteOff,
    }
}

fn check_inspection(fact: &ReturnInspected, record: &Return, quantity: i64) -> Result<(), Reject> {
    if own_key(&fact.stock_key, "stock_key")? != record.stock_key {
        let message = format!(
            "return {} is of {}: a change of grade is not posted in this release",
            fact.return_id, record.stock_key
        );
        return Err(Reject::new(Reason::NotInThisRelease, message));
    }
    let left = record.quantity - record.inspected;
    if quantity > left {
        let message = format!("{} of return {} inspected, of {left} left", units(quantity), fact.return_id);
        return Err(Reject::new(Reason::ExceedsReturn, message));
    }
    Ok(())
}
