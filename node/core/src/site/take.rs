//! Units come and go: which lots, bins and serial numbers a cell's counter stands for.
//!
//! Every command that changes a cell's counter does it through [`Draft::take_units`] and [`Draft::put_units`], so that holdings
//! never say more than the counter. They change the counter of one condition and the holdings below it, nothing else: totals, facts
//! and rights are the command's.
//!
//! ```text
//!   ship     take_units(key, Sellable, q, named, FOR_CUSTOMER) -> groups for the fact
//!   move     take_units(key, from, q, named, WITHIN) -> groups ──> put_units(key, to, &groups)
//!   receive  put_units(key, condition, &groups)
//! ```
//!
//! What is not named is taken first expired first out; within a lot, what lies in no bin before what lies in bins, bins in walk order.
//!
//! Must not know: which command takes or puts.

use std::cmp::Reverse;
use std::ops::Bound;

use stockmesh_types::{BusinessDate, ItemId, Quantity, Reason, Reject, StockKey};

use super::condition::Condition;
use super::units::{HoldingKey, Label, Lot, Serial, UnitGroup};
use crate::draft::Draft;

/// What a taking may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakeRule {
    /// Lots whose last day is before this one are not taken; `None`: any lot is.
    pub not_expired_on: Option<BusinessDate>,
    /// A lot that is named must be the first to expire of those that are left.
    pub first_expired_first: bool,
    /// Items with serial numbers must have them named.
    pub needs_serials: bool,
}

impl TakeRule {
    /// Units within the site, or that leave it other than to a customer: any lot, serial numbers named.
    pub const WITHIN: Self = Self { not_expired_on: None, first_expired_first: false, needs_serials: true };
    /// What has happened already and is only recorded (a sale at a till, units that are not to be found): nothing is refused for its
    /// lot or serial number.
    pub const RECORDED: Self = Self { not_expired_on: None, first_expired_first: false, needs_serials: false };

    /// Units for a customer: not expired, first expired first out, serial numbers named.
    #[must_use]
    pub fn for_customer(today: BusinessDate) -> Self {
        Self { not_expired_on: Some(today), first_expired_first: true, needs_serials: true }
    }
}

/// Units that could be taken: those of one holding, or those in none.
#[derive(Clone, Debug)]
struct Source {
    key: HoldingKey,
    expiry: Option<BusinessDate>,
    left: Quantity,
}

impl Draft<'_> {
    /// Takes units off a condition's counter and off the holdings below it; returns which they were.
    ///
    /// `named` says which units are meant, together as many as `quantity`; an empty lot or bin in a group means any. None: any units.
    ///
    /// # Errors
    /// [`Reason::InsufficientOnHand`] or [`Reason::InsufficientInCondition`], [`Reason::UnitsMismatch`],
    /// [`Reason::InsufficientInPlace`], [`Reason::LotExpired`], [`Reason::FefoViolated`], [`Reason::SerialsRequired`],
    /// [`Reason::UnknownSerial`]. Nothing of the draft should be used after one.
    pub(crate) fn take_units(
        &mut self,
        key: &StockKey,
        condition: Condition,
        quantity: Quantity,
        named: &[UnitGroup],
        rule: TakeRule,
    ) -> Result<Vec<UnitGroup>, Reject> {
        let counted = condition.of(self.cell(key));
        if counted < quantity {
            return Err(too_few(key, condition, counted, quantity));
        }
        let mut named = named.to_vec();
        UnitGroup::fill(&mut named, quantity)?;
        let named = named.as_slice();
        let tracked = self.item_attributes(&key.item).is_some_and(|attributes| attributes.track_serials);
        let needs_serials = tracked && rule.needs_serials;
        if needs_serials && (named.is_empty() || named.iter().any(|group| group.serials.is_empty())) {
            let message = format!("{} has serial numbers: name the {quantity} that are meant", key.item);
            return Err(Reject::new(Reason::SerialsRequired, message).field("units"));
        }
        let mut sources = self.sources(key, condition);
        *condition.counter(self.cell(key)) -= quantity;
        // The common case: nothing tells units of this cell apart.
        if named.is_empty() && sources.len() <= 1 && sources.iter().all(|source| source.key.is_loose()) {
            return Ok(vec![UnitGroup::plain(quantity)]);
        }
        let mut taken = Vec::new();
        if named.is_empty() {
            let any = UnitGroup::plain(quantity);
            take_group(&mut sources, &any, rule, &mut taken).map_err(|reject| reject.field("quantity"))?;
        }
        for (n, group) in named.iter().enumerate() {
            let result = if group.serials.is_empty() {
                take_group(&mut sources, group, rule, &mut taken)
            } else {
                self.take_serials(key, condition, group, rule, &mut sources, &mut taken)
            };
            result.map_err(|reject| reject.within(&format!("units[{n}]")))?;
        }
        if rule.first_expired_first && !named.is_empty() {
            check_first_expired(&sources, &taken, rule)?;
        }
        for source in &sources {
            self.set_holding(source);
        }
        Ok(taken)
    }

    /// Puts units on a condition's counter and into holdings. Room in the cell is the caller's to check ([`Draft::fits`]).
    ///
    /// # Errors
    /// [`Reason::UnknownBin`], [`Reason::LotConflict`], [`Reason::SerialExists`].
    pub(crate) fn put_units(
        &mut self,
        key: &StockKey,
        condition: Condition,
        units: &[UnitGroup],
    ) -> Result<(), Reject> {
        *condition.counter(self.cell(key)) += UnitGroup::total(units);
        for (n, group) in units.iter().enumerate() {
            self.put_group(key, condition, group).map_err(|reject| reject.within(&format!("units[{n}]")))?;
        }
        Ok(())
    }

    fn put_group(&mut self, key: &StockKey, condition: Condition, group: &UnitGroup) -> Result<(), Reject> {
        let UnitGroup { quantity, lot, expiry, bin, serials } = group;
        if !bin.is_none() && self.site.bins.get(bin).is_none() {
            let message = format!("node has no bin {bin}: set it up first");
            return Err(Reject::new(Reason::UnknownBin, message).field("bin"));
        }
        if !lot.is_none() {
            let at = (key.clone(), lot.clone());
            match (self.site.lots.get(&at).copied(), expiry) {
                (Some(Lot { expiry: Some(known) }), Some(given)) if known != *given => {
                    let message = format!("lot {lot} of {key} expires on {known}, {given} was given");
                    return Err(Reject::new(Reason::LotConflict, message).field("expiry_date"));
                }
                (Some(Lot { expiry: Some(_) }), _) | (Some(_), None) => {}
                (Some(Lot { expiry: None }), given @ Some(_)) => self.site.lots.put(at, Lot { expiry: *given }),
                (None, given) => self.site.lots.put(at, Lot { expiry: *given }),
            }
        }
        let (lot, bin) = (lot.clone(), bin.clone());
        for serial in serials {
            let at = (key.item.clone(), serial.clone());
            let recorded = self.site.serials.get(&at).cloned();
            if recorded.is_some_and(|unit| !self.left_unnamed(&unit, key, condition)) {
                let message = format!("serial number {serial} of {} is here already", key.item);
                return Err(Reject::new(Reason::SerialExists, message).field("serials"));
            }
            let unit = Serial { stock_key: key.clone(), condition, lot: lot.clone(), bin: bin.clone() };
            self.site.serials.put(at, unit);
        }
        let holding = HoldingKey { stock_key: key.clone(), condition, lot, bin };
        if !holding.is_loose() {
            let here = self.site.holdings.get(&holding).copied().unwrap_or(0);
            self.site.holdings.put(holding, here + quantity);
        }
        Ok(())
    }

    /// A recorded unit may have left without being named (a counter sale): then more serial numbers are on record than units are
    /// there, and the number that comes back is one of them.
    fn left_unnamed(&mut self, unit: &Serial, key: &StockKey, condition: Condition) -> bool {
        // Where units are being put, the counter is ahead of the serial numbers.
        if unit.stock_key == *key && unit.condition == condition {
            return false;
        }
        let recorded = self.serials_at(&unit.stock_key, unit.condition, &Label::none(), &Label::none());
        Quantity::try_from(recorded.len()).is_ok_and(|count| count > unit.condition.of(self.cell(&unit.stock_key)))
    }

    /// Checks that units that come in say what their item asks for, and gives lots without a date the item's shelf life.
    ///
    /// # Errors
    /// [`Reason::UnitsMismatch`], [`Reason::LotRequired`], [`Reason::SerialsRequired`], [`Reason::NotTracked`].
    pub(crate) fn identified(
        &self,
        key: &StockKey,
        quantity: Quantity,
        units: Vec<UnitGroup>,
        today: BusinessDate,
    ) -> Result<Vec<UnitGroup>, Reject> {
        let mut units = if units.is_empty() { vec![UnitGroup::plain(quantity)] } else { units };
        UnitGroup::fill(&mut units, quantity)?;
        let attributes = self.item_attributes(&key.item);
        let (lots, serials, days) = attributes.map_or((false, false, 0), |attributes| {
            (attributes.track_lots, attributes.track_serials, i64::from(attributes.shelf_life_days))
        });
        for (n, group) in units.iter_mut().enumerate() {
            let refuse = |reason, words: &str, field: &str| {
                Err(Reject::new(reason, format!("{} {words}", key.item)).field(format!("units[{n}].{field}")))
            };
            if lots && group.lot.is_none() {
                return refuse(Reason::LotRequired, "is received by lot: name it", "lot");
            }
            if !lots && !group.lot.is_none() {
                return refuse(Reason::NotTracked, "is not kept by lot", "lot");
            }
            if serials && group.serials.is_empty() {
                return refuse(Reason::SerialsRequired, "has serial numbers: give one for each unit", "serials");
            }
            if !serials && !group.serials.is_empty() {
                return refuse(Reason::NotTracked, "has no serial numbers", "serials");
            }
            let known = self.site.lots.get(&(key.clone(), group.lot.clone())).is_some();
            if lots && group.expiry.is_none() && days > 0 && !known {
                group.expiry = Some(BusinessDate::from_days(today.days() + days));
            }
        }
        Ok(units)
    }

    /// Units that lie in no bin, as they would be taken.
    ///
    /// # Errors
    /// [`Reason::InsufficientInPlace`].
    pub(crate) fn unplaced(
        &mut self,
        key: &StockKey,
        condition: Condition,
        quantity: Quantity,
    ) -> Result<Vec<UnitGroup>, Reject> {
        let mut sources = self.sources(key, condition);
        sources.retain(|source| source.key.bin.is_none());
        let mut taken = Vec::new();
        take_group(&mut sources, &UnitGroup::plain(quantity), TakeRule::WITHIN, &mut taken).map_err(|_| {
            let message = format!("fewer than {quantity} units of {key} lie in no bin: name the bins they come from");
            Reject::new(Reason::InsufficientInPlace, message).field("quantity")
        })?;
        Ok(taken)
    }

    /// All units of a lot in a condition, by bin, with their serial numbers.
    pub(crate) fn all_of_lot(&mut self, key: &StockKey, condition: Condition, lot: &Label) -> Vec<UnitGroup> {
        let here = |unit: &Serial| unit.stock_key == *key && unit.condition == condition && unit.lot == *lot;
        let serials: Vec<(Label, Label)> = self
            .serials_of(&key.item)
            .into_iter()
            .filter(|(_, unit)| here(unit))
            .map(|(serial, unit)| (unit.bin, serial))
            .collect();
        let of_lot = self.site.held(key, condition).into_iter().filter(|(holding, _)| holding.lot == *lot);
        let groups = of_lot.map(|(HoldingKey { bin, .. }, quantity)| {
            let here: Vec<Label> =
                serials.iter().filter(|(place, _)| *place == bin).map(|(_, serial)| serial.clone()).collect();
            let complete = i64::try_from(here.len()) == Ok(quantity);
            let serials = if complete { here } else { Vec::new() };
            UnitGroup { quantity, lot: lot.clone(), expiry: None, bin, serials }
        });
        groups.collect()
    }

    /// Serial numbers on record for a stock key in a condition; an empty bin or lot means any.
    pub(crate) fn serials_at(&self, key: &StockKey, condition: Condition, bin: &Label, lot: &Label) -> Vec<Label> {
        let here = |unit: &Serial| {
            unit.stock_key == *key
                && unit.condition == condition
                && (bin.is_none() || unit.bin == *bin)
                && (lot.is_none() || unit.lot == *lot)
        };
        let found = self.serials_of(&key.item).into_iter().filter(|(_, unit)| here(unit));
        found.map(|(serial, _)| serial).collect()
    }

    fn serials_of(&self, item: &ItemId) -> Vec<(Label, Serial)> {
        let from = (item.clone(), Label::none());
        let found = self.site.serials.range(Bound::Included(&from), |(of, _)| of == item);
        found.into_iter().map(|((_, serial), unit)| (serial, unit)).collect()
    }

    /// Which sellable units to take, and how many could not be proposed. Changes nothing.
    pub(crate) fn propose(
        &mut self,
        key: &StockKey,
        quantity: Quantity,
        today: BusinessDate,
    ) -> (Vec<UnitGroup>, Quantity) {
        let mut left = quantity;
        let mut proposed = Vec::new();
        for source in self.sources(key, Condition::Sellable) {
            let usable = source.expiry.is_none_or(|expiry| expiry >= today);
            let take = if usable { left.min(source.left) } else { 0 };
            if take > 0 {
                proposed.push(source.group(take, Vec::new()));
                left -= take;
            }
        }
        (proposed, left)
    }

    /// Lowers holdings of touched cells to what their counters say. A safety net: it only finds something when a counter was lowered
    /// without [`Self::take_units`]; the units are then taken as if nobody had named them.
    pub(crate) fn settle_holdings(&mut self, keys: &[StockKey]) {
        for key in keys {
            for condition in Condition::ALL {
                let held = self.site.held(key, condition);
                if held.is_empty() {
                    continue;
                }
                let counted = condition.of(self.cell(key));
                let mut excess = held.iter().map(|(_, quantity)| quantity).sum::<Quantity>() - counted;
                for mut source in self.sources(key, condition) {
                    let take = excess.clamp(0, source.left);
                    if take > 0 && !source.key.is_loose() {
                        source.left -= take;
                        excess -= take;
                        self.set_holding(&source);
                    }
                }
            }
        }
        self.site.forget_empty_lots();
    }

    /// Units of a condition by holding, in the order in which they are taken.
    fn sources(&mut self, key: &StockKey, condition: Condition) -> Vec<Source> {
        let held = self.site.held(key, condition);
        let counted = condition.of(self.cell(key));
        let loose = counted - held.iter().map(|(_, quantity)| quantity).sum::<Quantity>();
        let loose_key = HoldingKey { stock_key: key.clone(), condition, lot: Label::none(), bin: Label::none() };
        let mut sources: Vec<Source> = held
            .into_iter()
            .map(|(holding, left)| {
                let lot = self.site.lots.get(&(key.clone(), holding.lot.clone()));
                Source { expiry: lot.and_then(|lot| lot.expiry), key: holding, left }
            })
            .collect();
        if loose > 0 {
            sources.push(Source { key: loose_key, expiry: None, left: loose });
        }
        sources.sort_by_cached_key(|source| {
            let walk = self.site.bins.get(&source.key.bin).map_or(0, |bin| bin.walk_order);
            // Dates first, the earliest; then lots without one, then what has no lot.
            let date = Reverse(source.expiry.map(|date| Reverse(date.days())));
            (
                date,
                source.key.lot.is_none(),
                source.key.lot.clone(),
                !source.key.bin.is_none(),
                walk,
                source.key.bin.clone(),
            )
        });
        sources
    }

    fn take_serials(
        &mut self,
        key: &StockKey,
        condition: Condition,
        group: &UnitGroup,
        rule: TakeRule,
        sources: &mut [Source],
        taken: &mut Vec<UnitGroup>,
    ) -> Result<(), Reject> {
        for serial in &group.serials {
            let at = (key.item.clone(), serial.clone());
            let unit = self.site.serials.get(&at).cloned();
            let fits = |unit: &Serial| {
                unit.stock_key == *key
                    && unit.condition == condition
                    && (group.lot.is_none() || unit.lot == group.lot)
                    && (group.bin.is_none() || unit.bin == group.bin)
            };
            let one = match unit.filter(fits) {
                Some(unit) => {
                    self.site.serials.remove(at);
                    UnitGroup { quantity: 1, lot: unit.lot, expiry: None, bin: unit.bin, serials: vec![serial.clone()] }
                }
                None if rule.needs_serials => {
                    let message = format!("no {} unit of {key} with serial number {serial} is there", condition.word());
                    return Err(Reject::new(Reason::UnknownSerial, message).field("serials"));
                }
                // What happened is recorded as it was said.
                None => UnitGroup { quantity: 1, serials: vec![serial.clone()], ..group.clone() },
            };
            take_group(sources, &one, rule, taken)?;
        }
        Ok(())
    }

    fn set_holding(&mut self, source: &Source) {
        if source.key.is_loose() {
            return;
        }
        if source.left > 0 {
            self.site.holdings.put(source.key.clone(), source.left);
        } else {
            self.site.holdings.remove(source.key.clone());
        }
    }
}

impl HoldingKey {
    /// Neither lot nor bin: such units are not stored as a holding.
    pub(crate) fn is_loose(&self) -> bool {
        self.lot.is_none() && self.bin.is_none()
    }
}

impl Source {
    fn group(&self, quantity: Quantity, serials: Vec<Label>) -> UnitGroup {
        let HoldingKey { lot, bin, .. } = &self.key;
        UnitGroup { quantity, lot: lot.clone(), expiry: self.expiry, bin: bin.clone(), serials }
    }
}

/// Takes a group's units from sources that fit, in their order.
fn take_group(
    sources: &mut [Source],
    group: &UnitGroup,
    rule: TakeRule,
    taken: &mut Vec<UnitGroup>,
) -> Result<(), Reject> {
    let mut left = group.quantity;
    let mut expired = 0;
    let fits = |source: &Source| {
        (group.lot.is_none() || source.key.lot == group.lot) && (group.bin.is_none() || source.key.bin == group.bin)
    };
    for source in sources.iter_mut().filter(|source| fits(source)) {
        if source.expiry.zip(rule.not_expired_on).is_some_and(|(expiry, today)| expiry < today) {
            expired += source.left;
            continue;
        }
        let take = left.min(source.left);
        if take == 0 {
            continue;
        }
        source.left -= take;
        left -= take;
        match taken.last_mut() {
            // Serial numbers of one holding, one after the other, are one group.
            Some(last)
                if last.lot == source.key.lot
                    && last.bin == source.key.bin
                    && last.serials.is_empty() == group.serials.is_empty() =>
            {
                last.quantity += take;
                last.serials.extend(group.serials.iter().cloned());
            }
            _ => taken.push(source.group(take, group.serials.clone())),
        }
    }
    if left == 0 {
        return Ok(());
    }
    let missing = |what: &str| format!("{} units asked, {} of them are {what}", group.quantity, left);
    if expired > 0 {
        return Err(Reject::new(Reason::LotExpired, missing("past the last day of their lot")).field("lot"));
    }
    let place = match (group.lot.is_none(), group.bin.is_none()) {
        (false, false) => format!("not in lot {} in bin {}", group.lot, group.bin),
        (false, true) => format!("not in lot {}", group.lot),
        (true, _) => format!("not in bin {}", group.bin),
    };
    Err(Reject::new(Reason::InsufficientInPlace, missing(&place)).field("quantity"))
}

/// A lot was named that expires after one that still has units.
fn check_first_expired(sources: &[Source], taken: &[UnitGroup], rule: TakeRule) -> Result<(), Reject> {
    let usable = |source: &&Source| {
        source.left > 0 && source.expiry.zip(rule.not_expired_on).is_none_or(|(expiry, today)| expiry >= today)
    };
    let first = sources.iter().filter(usable).filter_map(|source| Some((source.expiry?, &source.key.lot))).min();
    let Some((first, lot)) = first else { return Ok(()) };
    let later = taken.iter().find(|group| group.expiry.is_none_or(|expiry| expiry > first) && !group.lot.is_none());
    match later {
        Some(group) => {
            let message =
                format!("lot {} was named, and lot {lot} expires before it, on {first}: take that one", group.lot);
            Err(Reject::new(Reason::FefoViolated, message).field("units"))
        }
        None => Ok(()),
    }
}

fn too_few(key: &StockKey, condition: Condition, there: Quantity, asked: Quantity) -> Reject {
    let reason = match condition {
        Condition::Sellable => Reason::InsufficientOnHand,
        _ => Reason::InsufficientInCondition,
    };
    let what = if condition == Condition::Sellable { "on hand" } else { condition.word() };
    Reject::new(reason, format!("{there} units of {key} are {what}, {asked} asked")).field("quantity")
}
