//! Cost layers: what stock is worth, first in, first out, and what units cost that left.
//!
//! Layers of a cell are made, and taken from, in the order of its node's feed, whatever else arrives in between: so the
//! cost of every unit is the same in whatever order feeds reach finance. What is not known yet at that moment is valued
//! provisionally and trued up once, later:
//!
//! - units that leave before their receipt leave at the cost of the cell's last receipt (0 when there was none), against
//!   *unreceived stock*; the next goods that come from outside (a receipt, a find) are theirs. Returned goods are not:
//!   they stay a layer beside, or a unit could become its own cost. Nor do units that come from elsewhere (transfers,
//!   conversions) change what those units cost who follows them: they take the units' place, at the provisional cost, and the
//!   difference stays with what took the units;
//! - returned goods whose sale has not arrived make a layer of value 0 that is not *settled*; whoever takes from it is
//!   remembered, and gets its share when the value is known.
//!
//! A layer's value is spread over its units by `share`: a layer without units left has no value left.

use stockmesh_types::{LegalEntity, share};

use crate::accounts::Role;
use crate::books::{Books, Fault, Stamp};
use crate::records::{
    Cell, CellKey, Expense, Issue, IssueId, IssuePart, Layer, Records, ReturnId, Taker, UnitCost, Unreceived,
};
use crate::rules::{COST_LATE, COST_UNRECEIVED, Line};

/// The largest estimate of a cost, minor units: a wrong quantity in one fact must not overflow a balance.
pub const MAX_ESTIMATE_MINOR: i64 = 1_000_000_000_000_000;

/// What an issue took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    pub cost_minor: i64,
    pub provisional_minor: i64,
}

impl Layer {
    fn part(&self, from: i64, to: i64) -> i64 {
        share(self.value_minor, from, to, self.quantity)
    }
}

impl Issue {
    /// What an entry of this issue's cost is about.
    fn line<'a>(&'a self, key: &'a CellKey) -> Line<'a> {
        Line {
            node: Some(&key.node),
            item: Some(key.item()),
            channel: &self.channel,
            order_id: &self.order_id,
            expense: self.expense.role(),
            lane: &self.lane,
            ..Line::new()
        }
    }

    /// Where a cost goes that does not follow the units: to what took them, but for units that went on with their value.
    fn difference_role(&self) -> Role {
        match self.expense {
            Expense::InTransit | Expense::Conversion => Role::Shrinkage,
            Expense::CostOfGoodsSold | Expense::Shrinkage | Expense::WriteOff | Expense::InternalUse => {
                self.expense.role()
            }
        }
    }

    /// Cost of units `from..to`.
    pub(crate) fn value(&self, from: i64, to: i64) -> i64 {
        self.overlaps(from, to).map(|(part, low, high)| share(part.value_minor, low, high, part.quantity)).sum()
    }

    /// Whether the cost of units `from..to` is final.
    pub(crate) fn settled(&self, from: i64, to: i64) -> bool {
        self.overlaps(from, to).all(|(part, _, _)| part.settled)
    }

    fn overlaps(&self, from: i64, to: i64) -> impl Iterator<Item = (&IssuePart, i64, i64)> {
        self.parts
            .iter()
            .scan(0, move |start, part| {
                let at = *start;
                *start += part.quantity;
                Some((part, (from - at).max(0), (to - at).min(part.quantity)))
            })
            .filter(|(_, low, high)| low < high)
    }

    /// Gives units `from..to`, which lie within one part, a value; the part is split around them.
    fn revalue(&mut self, from: i64, to: i64, value_minor: i64, settled: bool) {
        let mut parts = Vec::with_capacity(self.parts.len() + 2);
        let mut start = 0;
        for part in self.parts.drain(..) {
            let (low, high) = ((from - start).max(0), (to - start).min(part.quantity));
            start += part.quantity;
            if low >= high {
                parts.push(part);
                continue;
            }
            let rest = |low, high| IssuePart {
                quantity: high - low,
                value_minor: share(part.value_minor, low, high, part.quantity),
                settled: part.settled,
            };
            let new = IssuePart { quantity: high - low, value_minor, settled };
            parts.extend([rest(0, low), new, rest(high, part.quantity)].into_iter().filter(|part| part.quantity > 0));
        }
        self.parts = parts;
    }
}

impl Cell {
    /// Cost of `quantity` units at the last receipt's unit cost, 0 without one; at most [`MAX_ESTIMATE_MINOR`].
    pub(crate) fn at_last_cost(&self, quantity: i64) -> i64 {
        let Some(last) = self.last_cost.filter(|last| last.quantity > 0) else { return 0 };
        // Whole multiples first: share() takes parts of a whole.
        let (whole, rest) = (quantity / last.quantity, quantity % last.quantity);
        let exact = i128::from(last.value_minor) * i128::from(whole)
            + i128::from(share(last.value_minor, 0, rest, last.quantity));
        i64::try_from(exact).unwrap_or(i64::MAX).min(MAX_ESTIMATE_MINOR)
    }

    fn push(&mut self, quantity: i64, value_minor: i64, settled: bool) -> u64 {
        self.last_layer += 1;
        let (number, takers) = (self.last_layer, Vec::new());
        self.layers.push_back(Layer { number, quantity, value_minor, taken: 0, settled, takers });
        self.quantity += quantity;
        self.value_minor += value_minor;
        number
    }

    fn drop_spent(&mut self) {
        self.layers.retain(|layer| layer.taken < layer.quantity || !layer.settled);
    }
}

impl<R: Records> Books<R> {
    /// Takes units out of a cell, oldest layers first, as a new issue. Without enough of them, the rest leaves at
    /// provisional cost.
    pub(crate) fn take_units(
        &mut self,
        key: &CellKey,
        id: &IssueId,
        quantity: i64,
        mut issue: Issue,
    ) -> Result<Taken, Fault<R::Error>> {
        let mut cell = self.cell(key)?;
        let mut taken = Taken::default();
        let mut at = 0;
        for layer in &mut cell.layers {
            let units = (quantity - at).min(layer.quantity - layer.taken);
            if units == 0 {
                continue;
            }
            let value_minor = layer.part(layer.taken, layer.taken + units);
            if !layer.settled {
                let posted_minor = None;
                layer.takers.push(Taker { issue: id.clone(), from: at, to: at + units, at: layer.taken, posted_minor });
            }
            issue.parts.push(IssuePart { quantity: units, value_minor, settled: layer.settled });
            layer.taken += units;
            taken.cost_minor += value_minor;
            at += units;
        }
        cell.quantity -= at;
        cell.value_minor -= taken.cost_minor;
        if at < quantity {
            let value_minor = cell.at_last_cost(quantity - at);
            issue.parts.push(IssuePart { quantity: quantity - at, value_minor, settled: false });
            cell.unreceived.push_back(Unreceived { issue: id.clone(), from: at, to: quantity, value_minor });
            taken.provisional_minor = value_minor;
        }
        cell.drop_spent();
        issue.currency = cell.currency;
        self.put_cell(key.clone(), cell);
        self.put_issue(id.clone(), issue);
        Ok(taken)
    }

    /// Puts units into a cell that come from outside, at a final cost in the cell's currency, and gives them to those who
    /// left before.
    pub(crate) fn receive_units(
        &mut self,
        key: &CellKey,
        quantity: i64,
        value_minor: i64,
        entity: &LegalEntity,
        stamp: &Stamp,
    ) -> Result<(), Fault<R::Error>> {
        let mut cell = self.cell(key)?;
        let number = cell.push(quantity, value_minor, true);
        let mut trued_up = Vec::new();
        while let (Some(waiting), Some(layer)) = (cell.unreceived.front_mut(), cell.layers.back_mut()) {
            let units = (waiting.to - waiting.from).min(layer.quantity - layer.taken);
            if units == 0 {
                break;
            }
            let span = waiting.to - waiting.from;
            let cost_minor = layer.part(layer.taken, layer.taken + units);
            let provisional_minor = share(waiting.value_minor, 0, units, span);
            layer.taken += units;
            cell.quantity -= units;
            cell.value_minor -= cost_minor;
            trued_up.push((waiting.issue.clone(), waiting.from, waiting.from + units, cost_minor, provisional_minor));
            waiting.from += units;
            waiting.value_minor -= provisional_minor;
            if units == span {
                cell.unreceived.pop_front();
            }
        }
        cell.drop_spent();
        let currency = cell.currency;
        self.put_cell(key.clone(), cell);
        for (id, from, to, cost_minor, provisional_minor) in trued_up {
            let mut issue = self.issue(&id)?;
            issue.revalue(from, to, cost_minor, true);
            if issue.currency.is_none() && currency.is_some() {
                issue.currency = currency;
                self.known.push_back(issue_key(&id));
            }
            if let Some(currency) = issue.currency {
                let line = Line { cost_minor, provisional_minor, ..issue.line(key) };
                let about = format!("{} at {}, layer {number}", key.stock_key, key.node);
                self.enter(&COST_UNRECEIVED, entity, currency, stamp, &about, &[line])?;
            }
            self.issue_changed(&id, issue, stamp)?;
        }
        Ok(())
    }

    /// Puts units into a cell that come from elsewhere in the network, as a layer whose value is not known yet, and lets them
    /// take the place of those that left before: these keep their provisional cost.
    pub(crate) fn arrive_units(
        &mut self,
        key: &CellKey,
        quantity: i64,
        entity: &LegalEntity,
        stamp: &Stamp,
    ) -> Result<u64, Fault<R::Error>> {
        let mut cell = self.cell(key)?;
        let number = cell.push(quantity, 0, false);
        let mut covered = Vec::new();
        while let (Some(waiting), Some(layer)) = (cell.unreceived.front_mut(), cell.layers.back_mut()) {
            let units = (waiting.to - waiting.from).min(layer.quantity - layer.taken);
            if units == 0 {
                break;
            }
            let span = waiting.to - waiting.from;
            let provisional_minor = share(waiting.value_minor, 0, units, span);
            let (issue, from, to, at) = (waiting.issue.clone(), waiting.from, waiting.from + units, layer.taken);
            layer.takers.push(Taker { issue: issue.clone(), from, to, at, posted_minor: Some(0) });
            layer.taken += units;
            cell.quantity -= units;
            covered.push((issue, from, to, provisional_minor));
            waiting.from += units;
            waiting.value_minor -= provisional_minor;
            if units == span {
                cell.unreceived.pop_front();
            }
        }
        let currency = cell.currency;
        self.put_cell(key.clone(), cell);
        for (id, from, to, provisional_minor) in covered {
            let mut issue = self.issue(&id)?;
            issue.revalue(from, to, provisional_minor, true);
            if let Some(currency) = issue.currency.or(currency) {
                // The layer is worth nothing yet: what it turns out to be worth goes the other way.
                let expense = issue.difference_role();
                let line = Line { cost_minor: 0, provisional_minor, expense, ..issue.line(key) };
                let about = format!("{} at {}, layer {number}", key.stock_key, key.node);
                self.enter(&COST_UNRECEIVED, entity, currency, stamp, &about, &[line])?;
            }
            self.issue_changed(&id, issue, stamp)?;
        }
        Ok(number)
    }

    /// Sets the cost of a receipt as the cell's last one.
    pub(crate) fn note_cost(&mut self, key: &CellKey, cost: UnitCost) -> Result<(), Fault<R::Error>> {
        let mut cell = self.cell(key)?;
        cell.last_cost = Some(cost);
        self.put_cell(key.clone(), cell);
        Ok(())
    }

    /// Puts returned units into a cell, as a layer of their own.
    pub(crate) fn restock_units(
        &mut self,
        key: &CellKey,
        quantity: i64,
        value_minor: i64,
        settled: bool,
    ) -> Result<u64, Fault<R::Error>> {
        let mut cell = self.cell(key)?;
        let number = cell.push(quantity, value_minor, settled);
        self.put_cell(key.clone(), cell);
        Ok(number)
    }

    /// The value of a layer of returned goods became known, or nearer to it: those who took from it get their share.
    pub(crate) fn layer_changed(
        &mut self,
        key: &CellKey,
        number: u64,
        value_minor: i64,
        settled: bool,
        stamp: &Stamp,
    ) -> Result<(), Fault<R::Error>> {
        let mut cell = self.cell(key)?;
        let Some(layer) = cell.layers.iter_mut().find(|layer| layer.number == number) else {
            return Err(Fault::Corrupt(format!("layer {number} of {} at {} is gone", key.stock_key, key.node)));
        };
        let left_before = layer.part(layer.taken, layer.quantity);
        layer.value_minor = value_minor;
        layer.settled = settled;
        let change = layer.part(layer.taken, layer.quantity) - left_before;
        let takers = if settled { std::mem::take(&mut layer.takers) } else { layer.takers.clone() };
        let shares: Vec<_> =
            takers.into_iter().map(|taker| (layer.part(taker.at, taker.at + taker.to - taker.from), taker)).collect();
        let (value_minor, quantity) = (layer.value_minor, layer.quantity);
        for taker in layer.takers.iter_mut().filter(|taker| taker.posted_minor.is_some()) {
            taker.posted_minor = Some(share(value_minor, taker.at, taker.at + taker.to - taker.from, quantity));
        }
        cell.value_minor += change;
        cell.drop_spent();
        let currency = cell.currency;
        self.put_cell(key.clone(), cell);
        for (share_minor, taker) in shares {
            let mut issue = self.issue(&taker.issue)?;
            let before = taker.posted_minor.unwrap_or_else(|| issue.value(taker.from, taker.to));
            let cost_minor = share_minor - before;
            if taker.posted_minor.is_none() {
                issue.revalue(taker.from, taker.to, share_minor, settled);
            }
            if issue.currency.is_none() && currency.is_some() {
                issue.currency = currency;
                self.known.push_back(issue_key(&taker.issue));
            }
            if let Some(currency) = issue.currency {
                let follows = taker.posted_minor.is_none();
                let expense = if follows { issue.expense.role() } else { issue.difference_role() };
                let line = Line { cost_minor, expense, ..issue.line(key) };
                let entity = issue.entity.clone();
                let about = format!("{} at {}, layer {number}", key.stock_key, key.node);
                self.enter(&COST_LATE, &entity, currency, stamp, &about, &[line])?;
            }
            self.issue_changed(&taker.issue, issue, stamp)?;
        }
        Ok(())
    }

    /// Writes an issue whose cost changed, and passes the change on to the returns and passages of its units. Ends, because a unit's
    /// cost depends only on what left before it.
    fn issue_changed(&mut self, id: &IssueId, mut issue: Issue, stamp: &Stamp) -> Result<(), Fault<R::Error>> {
        let followers: Vec<ReturnId> = issue.open_returns.clone();
        if issue.parts.iter().all(|part| part.settled) {
            issue.open_returns.clear();
        }
        self.put_issue(id.clone(), issue);
        followers.iter().try_for_each(|id| {
            // Kinds of ids keep apart by how they begin.
            let passage = id.starts_with("passage:");
            if passage { self.passage_changed(id, stamp) } else { self.return_changed(id, stamp) }
        })
    }
}

/// What facts wait for that need the currency of an issue's cost.
pub(crate) fn issue_key(id: &IssueId) -> String {
    format!("cost:{id}")
}
