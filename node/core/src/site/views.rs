//! What people may see of a site, in pages.
//!
//! Must not know: commands; nothing here changes anything.

use std::ops::Bound;

use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::node::v1 as api;
use stockmesh_types::{BusinessDate, ExceptionCode, ItemId, OrderId, Quantity, StockKey};

use super::condition::Condition;
use super::units::{HoldingKey, Label};
use super::{Exception, ExceptionId, Inbound, Site};
use crate::state::NodeState;

/// A page of a list: its entries, and the key of the last one when more follow.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T, K> {
    /// Entries.
    pub entries: Vec<T>,
    /// Key after which the next page begins.
    pub next_after: Option<K>,
}

/// Takes a page of at most `limit` entries.
pub(crate) fn page<T, K>(found: impl Iterator<Item = (K, T)>, limit: usize) -> Page<T, K> {
    let mut found = found;
    let mut entries = Vec::new();
    let mut last = None;
    for (key, entry) in found.by_ref().take(limit) {
        entries.push(entry);
        last = Some(key);
    }
    Page { entries, next_after: found.next().and(last) }
}

/// An expected receipt as answered to callers. `held`: units of its lines that wait in receiving.
pub(crate) fn inbound(id: &OrderId, inbound: &Inbound, held: &[(u32, Quantity)], today: BusinessDate) -> api::Inbound {
    let Inbound { kind, reference, source, expected_date, revision, lines, closed, closed_time_ms: _, notices } =
        inbound;
    let line = |line: &super::InboundLine| api::ExpectedLine {
        line: line.line,
        stock_key: line.stock_key.clone(),
        expected: line.expected,
        received: line.received,
        held: held.iter().filter(|(of, _)| *of == line.line).map(|(_, units)| units).sum(),
        claimed: line.claimed,
        cost: line.cost.clone(),
    };
    let past = BusinessDate::parse(expected_date).is_ok_and(|date| date < today);
    api::Inbound {
        inbound_id: id.to_string(),
        kind: *kind,
        reference: reference.clone(),
        source: source.clone(),
        expected_date: expected_date.clone(),
        revision: *revision,
        lines: lines.iter().map(line).collect(),
        closed: *closed,
        late: past && !closed && lines.iter().any(|line| line.received < line.expected),
        notices: notices.clone(),
    }
}

fn exception(record: &Exception) -> api::NodeException {
    let Exception { raised, raised_time_ms, held } = record;
    let number = raised.as_ref().and_then(|raised| u32::try_from(raised.code).ok()).unwrap_or_default();
    let code = ExceptionCode::from_number(number);
    api::NodeException {
        raised: raised.clone(),
        raised_time_ms: *raised_time_ms,
        held: held.as_ref().map_or(0, |held| held.quantity),
        severity: code.map(|code| code.severity().word()).unwrap_or_default().to_owned(),
        owner_role: code.map(|code| code.owner_role()).unwrap_or_default().to_owned(),
        closed_by: code.map(|code| code.closed_by()).unwrap_or_default().to_owned(),
    }
}

impl Site {
    /// Bins after `after`, at most `limit`, of one zone or of all.
    #[must_use]
    pub fn list_bins(&self, after: Option<&Label>, limit: usize, zone: Option<&Label>) -> Page<feed::Bin, Label> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found =
            self.bins.range((start, Bound::Unbounded)).filter(|(_, bin)| zone.is_none_or(|zone| bin.zone == *zone));
        let wire = |(name, bin): (&Label, &super::Bin)| {
            let (zone, accessible, walk_order) = (bin.zone.to_string(), bin.accessible, bin.walk_order);
            (name.clone(), feed::Bin { bin: name.to_string(), zone, accessible, walk_order })
        };
        page(found.map(wire), limit)
    }

    /// Units with serial numbers of an item after `after`, at most `limit`, or the only one with that number.
    #[must_use]
    pub fn list_serials(
        &self,
        item: &ItemId,
        after: Option<&Label>,
        limit: usize,
        only: Option<&Label>,
    ) -> Page<api::SerialUnit, Label> {
        let first = (item.clone(), after.or(only).cloned().unwrap_or_else(Label::none));
        let start = if after.is_some() { Bound::Excluded(&first) } else { Bound::Included(&first) };
        let found = self
            .serials
            .range((start, Bound::Unbounded))
            .take_while(|((of, serial), _)| of == item && only.is_none_or(|only| serial == only));
        let wire = |((_, serial), unit): (&(ItemId, Label), &super::Serial)| {
            let wire = api::SerialUnit {
                serial: serial.to_string(),
                stock_key: Some((&unit.stock_key).into()),
                condition: unit.condition.wire().into(),
                lot: unit.lot.to_string(),
                bin: unit.bin.to_string(),
            };
            (serial.clone(), wire)
        };
        page(found.map(wire), limit)
    }

    /// Open exceptions after `after`, the oldest first, at most `limit`, of one code or of all.
    #[must_use]
    pub fn list_exceptions(
        &self,
        after: Option<ExceptionId>,
        limit: usize,
        code: Option<i32>,
    ) -> Page<api::NodeException, ExceptionId> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let of_code = |record: &Exception| {
            code.is_none_or(|code| record.raised.as_ref().is_some_and(|raised| raised.code == code))
        };
        let found = self.exceptions.range((start, Bound::Unbounded)).filter(|(_, record)| of_code(record));
        page(found.map(|(id, record)| (*id, exception(record))), limit)
    }

    /// Expected receipts that are open after `after`, at most `limit`; or the one named, closed or not.
    #[must_use]
    pub fn list_inbounds(
        &self,
        after: Option<&OrderId>,
        limit: usize,
        only: Option<&OrderId>,
        today: BusinessDate,
    ) -> Page<api::Inbound, OrderId> {
        let start = match (after, only) {
            (Some(after), _) => Bound::Excluded(after),
            (None, Some(only)) => Bound::Included(only),
            (None, None) => Bound::Unbounded,
        };
        let found = self
            .inbounds
            .range::<OrderId, _>((start, Bound::Unbounded))
            .take_while(|(id, _)| only.is_none_or(|only| *id == only))
            .filter(|(_, record)| only.is_some() || !record.closed);
        page(found.map(|(id, record)| (id.clone(), inbound(id, record, &self.held_of(id), today))), limit)
    }

    fn held_of(&self, id: &OrderId) -> Vec<(u32, Quantity)> {
        let held = self.exceptions.values().filter_map(|exception| exception.held.as_ref());
        held.filter(|held| held.inbound_id == id.as_str()).map(|held| (held.inbound_line, held.quantity)).collect()
    }
}

/// Which holdings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldingFilter {
    /// Only this item.
    pub item: Option<ItemId>,
    /// Only what lies in this bin.
    pub bin: Option<Label>,
}

impl NodeState {
    /// Units by stock key, condition, lot and bin, after `after`, at most `limit`. What a cell counts beyond its holdings is one more,
    /// without lot or bin, before them.
    #[must_use]
    pub fn holdings(
        &self,
        after: Option<&HoldingKey>,
        limit: usize,
        filter: &HoldingFilter,
    ) -> Page<api::Holding, HoldingKey> {
        if let Some(bin) = &filter.bin {
            let of_item = |key: &&HoldingKey| filter.item.as_ref().is_none_or(|item| key.stock_key.item == *item);
            let found = self.site().in_bin(bin).filter(|key| after.is_none_or(|after| *key > after)).filter(of_item);
            return page(found.map(|key| (key.clone(), self.holding(key))), limit);
        }
        let start = match (after, &filter.item) {
            (Some(after), _) => Bound::Included(after.stock_key.clone()),
            (None, Some(item)) => Bound::Included(StockKey::of(item.clone())),
            (None, None) => Bound::Unbounded,
        };
        let cells = self
            .cells_from(start)
            .take_while(|(key, _)| filter.item.as_ref().is_none_or(|item| key.item <= *item))
            .filter(|(key, _)| filter.item.as_ref().is_none_or(|item| key.item == *item));
        let rows = cells.flat_map(|(key, cell)| {
            Condition::ALL.into_iter().flat_map(move |condition| {
                let held: Vec<(HoldingKey, Quantity)> = self.site().held_in(key, condition);
                let loose = condition.of(cell) - held.iter().map(|(_, units)| units).sum::<Quantity>();
                let (stock_key, lot, bin) = (key.clone(), Label::none(), Label::none());
                let rest = (loose > 0).then_some((HoldingKey { stock_key, condition, lot, bin }, loose));
                rest.into_iter().chain(held)
            })
        });
        let rows = rows.filter(|(key, _)| after.is_none_or(|after| key > after));
        page(rows.map(|(key, units)| (key.clone(), api::Holding { quantity: units, ..self.holding(&key) })), limit)
    }

    fn holding(&self, key: &HoldingKey) -> api::Holding {
        let HoldingKey { stock_key, condition, lot, bin } = key;
        let expiry = self.site().lot(stock_key, lot).and_then(|lot| lot.expiry);
        api::Holding {
            stock_key: Some(stock_key.into()),
            condition: condition.wire().into(),
            lot: lot.to_string(),
            expiry_date: expiry.map(|date| date.to_string()).unwrap_or_default(),
            bin: bin.to_string(),
            quantity: self.site().units_of(key),
            serials: Vec::new(),
        }
    }

    /// Which sellable units to take for a quantity, first expired first out, and how many can't be proposed.
    #[must_use]
    pub fn propose(
        &self,
        archive: &dyn crate::archive::Archive,
        key: &StockKey,
        quantity: Quantity,
        today: BusinessDate,
    ) -> api::ProposeUnitsResponse {
        let mut draft = crate::draft::Draft::new(self, archive, self.meta().time);
        let (units, missing) = draft.propose(key, quantity, today);
        // Plain units are proposed as well: a group without lot and bin.
        let mut wire = super::UnitGroup::to_wire(&units);
        if wire.is_empty() {
            let plain = |group: &super::UnitGroup| stockmesh_proto::common::v1::UnitGroup {
                quantity: group.quantity,
                ..Default::default()
            };
            wire = units.iter().map(plain).collect();
        }
        api::ProposeUnitsResponse { units: wire, missing }
    }
}
