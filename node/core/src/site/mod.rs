//! A site: what a node knows of its units beyond the counters of cells: bins, lots, serial numbers, expected receipts, counts,
//! exceptions.
//!
//! ```text
//!   cell: 40 sellable ──┬── holding: lot L1, bin A-01   12
//!                       ├── holding: lot L1, no bin     18
//!                       └── the rest: no lot, no bin    10   (not stored)
//! ```
//!
//! A [`Holding`](HoldingKey) is stored where units have a lot, a bin, or both; what a cell counts beyond its holdings has neither.
//! A site without bins whose items have no lots stores nothing here.
//!
//! **In memory**: holdings (about 250 bytes each), lots (150), serial numbers (250), bins (100): all proportional to the stock that
//! is here, and gone with it; expected receipts, counts and exceptions (a few hundred bytes for each line) while they are open.
//!
//! Must not know: promise rights.

pub mod change;
pub mod condition;
pub(crate) mod count_views;
mod overlay;
pub mod packs;
pub(crate) mod raise;
pub mod records;
pub mod scan;
mod take;
pub mod units;
pub mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use stockmesh_types::{BusinessDate, ItemId, OrderId, Quantity, StockKey};

pub use change::{CountId, ExceptionId, Issued, SiteChange, SiteKey};
pub use condition::Condition;
pub(crate) use overlay::Overlay;
pub use packs::{Asked, Converted};
pub use records::{Count, CountLine, Exception, Held, Inbound, InboundLine};
pub use take::TakeRule;
pub use units::{Bin, HoldingKey, Label, Lot, Serial, UnitGroup};

use crate::cell::Cell;

/// What is the same for the whole life of a process: settings of the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SitePolicy {
    /// Counts that differ by more base units than this in all go to review.
    pub count_threshold: Quantity,
    /// Days between two counts of a stock key, by class A, B, C.
    pub count_days: [u32; 3],
}

impl Default for SitePolicy {
    fn default() -> Self {
        Self { count_threshold: 0, count_days: [30, 90, 180] }
    }
}

impl SitePolicy {
    /// Milliseconds between two counts of an item of this class; unclassed items count as C.
    #[must_use]
    pub fn count_interval_ms(&self, abc_class: &str) -> i64 {
        let days = match abc_class {
            "A" => self.count_days[0],
            "B" => self.count_days[1],
            _ => self.count_days[2],
        };
        i64::from(days) * 86_400_000
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Site {
    bins: BTreeMap<Label, Bin>,
    holdings: BTreeMap<HoldingKey, Quantity>,
    lots: BTreeMap<(StockKey, Label), Lot>,
    serials: BTreeMap<(ItemId, Label), Serial>,
    inbounds: BTreeMap<OrderId, Inbound>,
    counts: BTreeMap<CountId, Count>,
    count_lines: BTreeMap<(CountId, u32), CountLine>,
    exceptions: BTreeMap<ExceptionId, Exception>,
    // Derived.
    by_bin: BTreeMap<Label, BTreeSet<HoldingKey>>,
    expiring: BTreeSet<(BusinessDate, StockKey, Label)>,
    /// Lines of open counts, by what they are about.
    counting: BTreeMap<StockKey, BTreeSet<(CountId, u32)>>,
}

impl Site {
    /// Takes a key value over, as a command wrote it or as a store holds it.
    pub(crate) fn absorb(&mut self, change: SiteChange) {
        match change {
            SiteChange::Bin(bin, value) => put(&mut self.bins, bin, value),
            SiteChange::Holding(key, quantity) => {
                if !key.bin.is_none() {
                    let here = self.by_bin.entry(key.bin.clone()).or_default();
                    if quantity.is_some() {
                        here.insert(key.clone())
                    } else {
                        here.remove(&key)
                    };
                    if here.is_empty() {
                        self.by_bin.remove(&key.bin);
                    }
                }
                put(&mut self.holdings, key, quantity);
            }
            SiteChange::Lot(key, lot, value) => {
                let at = (key, lot);
                if let Some(Lot { expiry: Some(expiry) }) = self.lots.get(&at) {
                    self.expiring.remove(&(*expiry, at.0.clone(), at.1.clone()));
                }
                if let Some(Lot { expiry: Some(expiry) }) = &value {
                    self.expiring.insert((*expiry, at.0.clone(), at.1.clone()));
                }
                put(&mut self.lots, at, value);
            }
            SiteChange::Serial(item, serial, value) => put(&mut self.serials, (item, serial), value),
            SiteChange::Inbound(id, value) => put(&mut self.inbounds, id, value),
            SiteChange::Count(id, value) => put(&mut self.counts, id, value),
            SiteChange::CountLine(id, line, value) => {
                self.note_counting(&(id, line), value.as_ref());
                put(&mut self.count_lines, (id, line), value);
            }
            SiteChange::ClosedCount(..) => {}
            SiteChange::Exception(id, value) => put(&mut self.exceptions, id, value),
        }
    }

    fn note_counting(&mut self, at: &(CountId, u32), line: Option<&CountLine>) {
        let known = line.or(self.count_lines.get(at)).and_then(|line| key_of(&line.stock_key));
        let Some(key) = known else { return };
        let lines = self.counting.entry(key.clone()).or_default();
        if line.is_some() {
            lines.insert(*at)
        } else {
            lines.remove(at)
        };
        if lines.is_empty() {
            self.counting.remove(&key);
        }
    }

    /// What is wrong with it, in words; `None` when it is in order: no cell has more in holdings than it counts, every holding has
    /// its lot and bin, every serial number stands where its units are.
    pub(crate) fn flaw(&self, cells: &BTreeMap<StockKey, Cell>) -> Option<String> {
        let mut sums: BTreeMap<(&StockKey, Condition), Quantity> = BTreeMap::new();
        for (key, quantity) in &self.holdings {
            let HoldingKey { stock_key, condition, lot, bin } = key;
            if *quantity <= 0 {
                return Some(format!("holding {key:?} has {quantity} units"));
            }
            if lot.is_none() && bin.is_none() {
                return Some(format!("holding {key:?} has neither lot nor bin"));
            }
            if !lot.is_none() && !self.lots.contains_key(&(stock_key.clone(), lot.clone())) {
                return Some(format!("lot {lot} of {stock_key} is held and not known"));
            }
            if !bin.is_none() && !self.bins.contains_key(bin) {
                return Some(format!("bin {bin} holds {stock_key} and is not known"));
            }
            *sums.entry((stock_key, *condition)).or_default() += quantity;
        }
        let counted = |key: &StockKey, condition: Condition| cells.get(key).map_or(0, |cell| condition.of(cell));
        let too_many = sums.iter().find(|((key, condition), sum)| **sum > counted(key, *condition));
        if let Some(((key, condition), sum)) = too_many {
            return Some(format!(
                "{sum} units of {key} are {} in holdings, the cell counts {}",
                condition.word(),
                counted(key, *condition)
            ));
        }
        let homeless = self.lots.keys().find(|(key, lot)| !self.lot_is_held(key, lot));
        if let Some((key, lot)) = homeless {
            return Some(format!("lot {lot} of {key} is known and not held"));
        }
        let astray = self.count_lines.keys().find(|(count, _)| !self.counts.contains_key(count));
        astray.map(|(count, line)| format!("line {line} of count {count} has no count"))
    }

    fn holds(&self, key: &StockKey, condition: Condition, lot: &Label) -> bool {
        let from = HoldingKey { stock_key: key.clone(), condition, lot: lot.clone(), bin: Label::none() };
        self.holdings.range(&from..).next().is_some_and(|(found, _)| same_lot(found, &from))
    }

    fn lot_is_held(&self, key: &StockKey, lot: &Label) -> bool {
        Condition::ALL.iter().any(|condition| self.holds(key, *condition, lot))
    }

    /// An open exception.
    #[must_use]
    pub fn exception(&self, id: ExceptionId) -> Option<&Exception> {
        self.exceptions.get(&id)
    }

    /// An expected receipt.
    #[must_use]
    pub fn inbound(&self, id: &OrderId) -> Option<&Inbound> {
        self.inbounds.get(id)
    }

    /// An open count.
    #[must_use]
    pub fn count(&self, id: CountId) -> Option<&Count> {
        self.counts.get(&id)
    }

    /// A bin.
    #[must_use]
    pub fn bin(&self, bin: &Label) -> Option<&Bin> {
        self.bins.get(bin)
    }

    /// A lot that is here.
    #[must_use]
    pub fn lot(&self, key: &StockKey, lot: &Label) -> Option<Lot> {
        self.lots.get(&(key.clone(), lot.clone())).copied()
    }

    /// A unit that is here.
    #[must_use]
    pub fn serial(&self, item: &ItemId, serial: &Label) -> Option<&Serial> {
        self.serials.get(&(item.clone(), serial.clone()))
    }

    /// Expected receipts that were closed before a time, at most `limit`.
    pub(crate) fn inbounds_closed_before(&self, time_ms: i64, limit: usize) -> Vec<OrderId> {
        let old = self.inbounds.iter().filter(|(_, inbound)| inbound.closed && inbound.closed_time_ms < time_ms);
        old.take(limit).map(|(id, _)| id.clone()).collect()
    }

    /// Units in holdings of a stock key in a condition.
    pub(crate) fn held_in(&self, key: &StockKey, condition: Condition) -> Vec<(HoldingKey, Quantity)> {
        let from = HoldingKey { stock_key: key.clone(), condition, lot: Label::none(), bin: Label::none() };
        let found = self.holdings.range(&from..);
        let here = found.take_while(|(found, _)| found.stock_key == *key && found.condition == condition);
        here.map(|(key, units)| (key.clone(), *units)).collect()
    }

    /// Units of a holding.
    pub(crate) fn units_of(&self, key: &HoldingKey) -> Quantity {
        self.holdings.get(key).copied().unwrap_or(0)
    }

    /// Bins.
    pub(crate) fn bins_count(&self) -> usize {
        self.bins.len()
    }

    /// Sellable units of a lot are here.
    pub(crate) fn has_sellable(&self, key: &StockKey, lot: &Label) -> bool {
        self.holds(key, Condition::Sellable, lot)
    }

    /// Lots whose last day is before `date`, the earliest first.
    pub(crate) fn expired_before(&self, date: BusinessDate) -> impl Iterator<Item = &(BusinessDate, StockKey, Label)> {
        self.expiring.iter().take_while(move |(expiry, ..)| *expiry < date)
    }

    /// A count is open.
    pub(crate) fn is_counting(&self) -> bool {
        !self.counting.is_empty()
    }

    pub(crate) fn lines_counting(&self, key: &StockKey) -> impl Iterator<Item = &(CountId, u32)> {
        self.counting.get(key).into_iter().flatten()
    }

    pub(crate) fn bins_of_zone(&self, zone: &Label) -> impl Iterator<Item = &Label> {
        self.bins.iter().filter(move |(_, bin)| bin.zone == *zone).map(|(name, _)| name)
    }

    pub(crate) fn in_bin(&self, bin: &Label) -> impl Iterator<Item = &HoldingKey> {
        self.by_bin.get(bin).into_iter().flatten()
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

fn same_lot(a: &HoldingKey, b: &HoldingKey) -> bool {
    a.stock_key == b.stock_key && a.condition == b.condition && a.lot == b.lot
}

/// A stock key of a record; records are written from checked ones.
pub(crate) fn key_of(key: &Option<stockmesh_proto::common::v1::StockKey>) -> Option<StockKey> {
    stockmesh_proto::convert::stock_key(key, "stock_key").ok()
}

/// What a draft changed of a site.
pub(crate) struct SiteDraft<'a> {
    pub(crate) bins: Overlay<'a, Label, Bin>,
    pub(crate) holdings: Overlay<'a, HoldingKey, Quantity>,
    pub(crate) lots: Overlay<'a, (StockKey, Label), Lot>,
    pub(crate) serials: Overlay<'a, (ItemId, Label), Serial>,
    pub(crate) inbounds: Overlay<'a, OrderId, Inbound>,
    pub(crate) counts: Overlay<'a, CountId, Count>,
    pub(crate) count_lines: Overlay<'a, (CountId, u32), CountLine>,
    pub(crate) exceptions: Overlay<'a, ExceptionId, Exception>,
    pub(crate) closed_counts: Vec<(CountId, stockmesh_proto::node::v1::Count)>,
}

impl<'a> SiteDraft<'a> {
    pub(crate) fn new(site: &'a Site) -> Self {
        Self {
            bins: Overlay::new(&site.bins),
            holdings: Overlay::new(&site.holdings),
            lots: Overlay::new(&site.lots),
            serials: Overlay::new(&site.serials),
            inbounds: Overlay::new(&site.inbounds),
            counts: Overlay::new(&site.counts),
            count_lines: Overlay::new(&site.count_lines),
            exceptions: Overlay::new(&site.exceptions),
            closed_counts: Vec::new(),
        }
    }

    /// Units in holdings of a stock key in a condition.
    pub(crate) fn held(&self, key: &StockKey, condition: Condition) -> Vec<(HoldingKey, Quantity)> {
        let (lot, bin) = (Label::none(), Label::none());
        let from = HoldingKey { stock_key: key.clone(), condition, lot, bin };
        let wanted = |found: &HoldingKey| found.stock_key == *key && found.condition == condition;
        self.holdings.range(Bound::Included(&from), wanted)
    }

    /// Forgets lots of which nothing is here any more.
    pub(crate) fn forget_empty_lots(&mut self) {
        let touched: BTreeSet<(StockKey, Label)> = self
            .holdings
            .touched()
            .filter(|key| !key.lot.is_none())
            .map(|key| (key.stock_key.clone(), key.lot.clone()))
            .collect();
        for (key, lot) in touched {
            let held = Condition::ALL.iter().any(|condition| {
                let (lot, bin) = (lot.clone(), Label::none());
                let from = HoldingKey { stock_key: key.clone(), condition: *condition, lot, bin };
                !self.holdings.range(Bound::Included(&from), |found| same_lot(found, &from)).is_empty()
            });
            if !held {
                self.lots.remove((key, lot));
            }
        }
    }

    /// What is different now, in an order that can be absorbed.
    pub(crate) fn finish(self) -> Vec<SiteChange> {
        let Self { bins, holdings, lots, serials, inbounds, counts, count_lines, exceptions, closed_counts } = self;
        let mut changes = Vec::new();
        changes.extend(bins.finish().map(|(bin, value)| SiteChange::Bin(bin, value)));
        changes.extend(lots.finish().map(|((key, lot), value)| SiteChange::Lot(key, lot, value)));
        changes.extend(holdings.finish().map(|(key, value)| SiteChange::Holding(key, value)));
        changes.extend(serials.finish().map(|((item, serial), value)| SiteChange::Serial(item, serial, value)));
        changes.extend(inbounds.finish().map(|(id, value)| SiteChange::Inbound(id, value)));
        changes.extend(counts.finish().map(|(id, value)| SiteChange::Count(id, value)));
        changes.extend(count_lines.finish().map(|((id, line), value)| SiteChange::CountLine(id, line, value)));
        changes.extend(closed_counts.into_iter().map(|(id, count)| SiteChange::ClosedCount(id, count)));
        changes.extend(exceptions.finish().map(|(id, value)| SiteChange::Exception(id, value)));
        changes
    }
}
