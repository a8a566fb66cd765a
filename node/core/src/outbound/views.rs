//! What people may see of the way out: pick lists, waves, pickups, fulfillment orders, refunds, labour.
//!
//! Must not know: commands; nothing here changes anything.

use std::collections::BTreeMap;
use std::ops::Bound;

use stockmesh_proto::feed::v1::CapacityReported;
use stockmesh_proto::node::v1 as api;
use stockmesh_types::{AllocationId, ItemId, OrderId, Quantity, Reason, Reject, StockKey};

use super::{OutboundKey, OutboundValue, Pickup, Wave};
use crate::allocation::Allocation;
use crate::archive::Archive;
use crate::change::{Document, DocumentKind};
use crate::documents::RefundDocument;
use crate::keys::Key;
use crate::state::NodeState;

/// Allocations of one pick list or packing slip.
const MAX_LISTED: usize = 2_000;

/// A page of something, and where the next one begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T, K> {
    /// What is on it.
    pub found: Vec<T>,
    /// Key of the last one, when more follow.
    pub next_after: Option<K>,
}

/// A pickup as answered to callers: never its code.
#[must_use]
pub fn pickup_view(id: &OrderId, pickup: &Pickup) -> api::Pickup {
    api::Pickup {
        pickup_id: id.to_string(),
        order_id: pickup.order_id.clone(),
        lines: pickup.lines.clone(),
        ready_time_ms: pickup.ready_time_ms,
        expires_time_ms: pickup.expires_time_ms,
        minimum_age_years: pickup.minimum_age_years,
        wrong_codes: pickup.wrong_codes,
    }
}

/// A refund as answered to callers.
#[must_use]
pub fn refund_view(id: &OrderId, refund: &RefundDocument) -> api::Refund {
    let RefundDocument { state, amount_minor, currency_code, refused_because } = refund.clone();
    api::Refund { refund_id: id.to_string(), state, amount_minor, currency_code, refused_because }
}

/// A wave as answered to callers; `to_pick` is what is left of it.
#[must_use]
pub(crate) fn wave_view(number: u64, wave: &Wave, to_pick: Quantity) -> api::Wave {
    api::Wave {
        wave: number,
        cut_off_time_ms: wave.cut_off_time_ms,
        quantity: wave.lines.iter().map(|line| line.quantity).sum(),
        to_pick,
        // A wave has at most 1,000.
        allocations: u32::try_from(wave.lines.len()).unwrap_or(u32::MAX),
    }
}

/// What a pick list is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PickListOf {
    /// A wave.
    Wave(u64),
    /// An order.
    Order(OrderId),
}

impl NodeState {
    fn wave_ids(&self, number: u64) -> Result<Vec<AllocationId>, Reject> {
        let Some(OutboundValue::Wave(wave)) = self.outbound().get(&OutboundKey::Wave(number)) else {
            let message = format!("node {} has no wave {number} with units to pick", self.identity().node);
            return Err(Reject::new(Reason::UnknownWave, message).field("wave"));
        };
        let id = |line: &stockmesh_proto::feed::v1::WaveLine| {
            stockmesh_proto::convert::allocation_id(&line.allocation, "allocation").ok()
        };
        Ok(wave.lines.iter().filter_map(id).collect())
    }

    /// What to take from the shelves, by stock key.
    ///
    /// # Errors
    /// [`Reason::UnknownWave`], [`Reason::UnknownOrder`].
    pub fn pick_list(&self, of: &PickListOf, archive: &dyn Archive) -> Result<Vec<api::PickListLine>, Reject> {
        let ids = match of {
            PickListOf::Wave(number) => self.wave_ids(*number)?,
            PickListOf::Order(order) => self.work_of_order(order, archive)?.into_iter().map(|(id, _)| id).collect(),
        };
        let mut lines: BTreeMap<StockKey, api::PickListLine> = BTreeMap::new();
        for id in ids {
            // What is closed has nothing to pick.
            let Some(allocation) = self.open_allocation(id).filter(|allocation| allocation.to_pick() > 0) else {
                continue;
            };
            let key = &allocation.stock_key;
            let line = lines.entry(key.clone()).or_insert_with(|| self.pick_line(key));
            let quantity = allocation.to_pick();
            line.quantity += quantity;
            line.parts.push(api::PickListPart {
                allocation: Some(id.into()),
                order_id: allocation.order_id.to_string(),
                line: allocation.line,
                quantity,
            });
        }
        Ok(lines.into_values().collect())
    }

    fn pick_line(&self, key: &StockKey) -> api::PickListLine {
        let item = self.item(&key.item);
        let attributes = item.and_then(|item| item.attributes.clone()).unwrap_or_default();
        let component = |part: stockmesh_proto::common::v1::KitComponent| {
            let item = ItemId::new(&part.item).ok().and_then(|id| self.item(&id));
            api::PickListComponent {
                description: item.map(|item| item.description.clone()).unwrap_or_default(),
                item: part.item,
                units_per_kit: part.units_per_kit,
            }
        };
        api::PickListLine {
            stock_key: Some(key.into()),
            description: item.map(|item| item.description.clone()).unwrap_or_default(),
            components: attributes.kit_components.into_iter().map(component).collect(),
            scan_codes: attributes.scan_codes.into_iter().map(|code| code.code).collect(),
            substitutes: attributes.substitutes,
            weighed: attributes.weighed,
            ..api::PickListLine::default()
        }
    }

    /// Work for an order here, closed work too, in the order in which it was taken on; at most [`MAX_LISTED`].
    ///
    /// # Errors
    /// [`Reason::UnknownOrder`].
    pub fn work_of_order(
        &self,
        order: &OrderId,
        archive: &dyn Archive,
    ) -> Result<Vec<(AllocationId, Allocation)>, Reject> {
        let mut found = Vec::new();
        archive.tasks(0, Some(order), &mut |_, id| {
            let open = self.open_allocation(id).cloned();
            found.extend(open.or_else(|| archive.allocation(id)).map(|allocation| (id, allocation)));
            found.len() < MAX_LISTED
        });
        if found.is_empty() {
            let message = format!("node {} ships nothing for order {order}", self.identity().node);
            return Err(Reject::new(Reason::UnknownOrder, message).field("order_id"));
        }
        Ok(found)
    }

    /// What the node ships for one order.
    ///
    /// # Errors
    /// [`Reason::UnknownOrder`].
    pub fn fulfillment_order(&self, order: &OrderId, archive: &dyn Archive) -> Result<api::FulfillmentOrder, Reject> {
        let work = self.work_of_order(order, archive)?;
        let hold_reason = match self.outbound().get(&OutboundKey::Hold(order.clone())) {
            Some(OutboundValue::Hold(hold)) => hold.reason.clone(),
            _ => String::new(),
        };
        Ok(fulfillment_order(order, &work, &hold_reason, self.rules().reject_within_ms))
    }

    /// Waves with units to pick, after number `after`.
    #[must_use]
    pub fn waves(&self, after: u64, limit: usize) -> Page<api::Wave, u64> {
        let from = Bound::Excluded(OutboundKey::Wave(after));
        let numbered = self.outbound().range((from, Bound::Unbounded)).map_while(|(key, value)| match (key, value) {
            (OutboundKey::Wave(number), OutboundValue::Wave(wave)) => Some((*number, wave)),
            _ => None,
        });
        let view = |(number, wave): (u64, &Wave)| {
            let ids = self.wave_ids(number).unwrap_or_default();
            let to_pick = ids.iter().filter_map(|id| self.open_allocation(*id)).map(Allocation::to_pick).sum();
            (number, wave_view(number, wave, to_pick))
        };
        page(numbered.map(view), limit)
    }

    /// Pickups that are not over, after `after`; only those whose time was over at `overdue_at_ms`, where it is given.
    #[must_use]
    pub fn pickups(
        &self,
        after: Option<&OrderId>,
        limit: usize,
        overdue_at_ms: Option<i64>,
    ) -> Page<api::Pickup, OrderId> {
        let from = match after {
            Some(after) => Bound::Excluded(OutboundKey::Pickup(after.clone())),
            None => Bound::Unbounded,
        };
        let open = self.outbound().range((from, Bound::Unbounded)).filter_map(|(key, value)| match (key, value) {
            (OutboundKey::Pickup(id), OutboundValue::Pickup(pickup)) => Some((id.clone(), pickup)),
            _ => None,
        });
        let wanted = open.filter(|(_, pickup)| overdue_at_ms.is_none_or(|now| pickup.expires_time_ms <= now));
        page(wanted.map(|(id, pickup)| (id.clone(), pickup_view(&id, pickup))), limit)
    }

    /// Days with a capacity, by date.
    #[must_use]
    pub fn capacity(&self) -> Vec<CapacityReported> {
        let days = self.outbound().values().filter_map(|value| match value {
            OutboundValue::Capacity(day) => Some(day.clone()),
            _ => None,
        });
        days.collect()
    }

    /// A return and how far it got.
    ///
    /// # Errors
    /// [`Reason::UnknownReturn`].
    pub fn customer_return(&self, id: &OrderId, archive: &dyn Archive) -> Result<api::CustomerReturn, Reject> {
        match archive.document(DocumentKind::Return, id) {
            Some(Document::Return { stock_key, quantity, inspected, waiting }) => Ok(api::CustomerReturn {
                return_id: id.to_string(),
                stock_key: Some((&stock_key).into()),
                quantity,
                inspected,
                to_refurbish: waiting.refurbish,
                to_liquidate: waiting.liquidate,
                to_vendor: waiting.vendor,
            }),
            _ => {
                let message = format!("node {} has no return {id}", self.identity().node);
                Err(Reject::new(Reason::UnknownReturn, message).field("return_id"))
            }
        }
    }

    /// A refund.
    ///
    /// # Errors
    /// [`Reason::UnknownRefund`].
    pub fn refund(&self, id: &OrderId, archive: &dyn Archive) -> Result<api::Refund, Reject> {
        match archive.document(DocumentKind::Refund, id) {
            Some(Document::Refund(refund)) => Ok(refund_view(id, &refund)),
            _ => {
                let message = format!("node {} has no refund {id}", self.identity().node);
                Err(Reject::new(Reason::UnknownRefund, message).field("refund_id"))
            }
        }
    }

    /// Transfers of which something was booked here, after `after`.
    #[must_use]
    pub fn transfers(
        &self,
        after: Option<&OrderId>,
        limit: usize,
        archive: &dyn Archive,
    ) -> Page<api::TransferProgress, OrderId> {
        let prefix = vec![b'd', DocumentKind::Transfer.number()];
        let first =
            after.map_or_else(|| prefix.clone(), |after| Key::Document(DocumentKind::Transfer, after.clone()).encode());
        // Ids are ASCII: no key of this kind sorts after this one.
        let end = [prefix.as_slice(), &[0x7f]].concat();
        let mut found = Vec::new();
        archive.scan(&first, &end, &mut |key, value| {
            if let Some(Key::Document(_, id)) = Key::decode(key)
                && Some(&id) != after
                && let Ok(Some(crate::Change::Document(_, _, Document::Transfer(progress)))) =
                    crate::Change::decode(Key::Document(DocumentKind::Transfer, id.clone()), value)
            {
                found.push((id.clone(), transfer_view(&id, progress)));
            }
            found.len() <= limit
        });
        page(found.into_iter(), limit)
    }
}

fn transfer_view(id: &OrderId, progress: crate::documents::TransferDocument) -> api::TransferProgress {
    let line = |line: crate::documents::TransferLine| api::TransferProgressLine {
        line: line.line,
        stock_key: line.stock_key,
        received: line.received,
        damaged: line.damaged,
        short: line.short,
    };
    api::TransferProgress {
        transfer_id: id.to_string(),
        source_node: progress.source_node,
        lines: progress.lines.into_iter().map(line).collect(),
    }
}

pub(crate) fn fulfillment_order(
    order: &OrderId,
    work: &[(AllocationId, Allocation)],
    hold_reason: &str,
    reject_within_ms: Option<i64>,
) -> api::FulfillmentOrder {
    let task = |(id, allocation): &(AllocationId, Allocation)| api::Task {
        hold_reason: hold_reason.to_owned(),
        ..allocation.task(*id)
    };
    // The last part that came decides: what was taken on later may be rejected later.
    let accepted = work.iter().map(|(_, allocation)| allocation.accepted_time.0).max();
    api::FulfillmentOrder {
        order_id: order.to_string(),
        tasks: work.iter().map(task).collect(),
        hold_reason: hold_reason.to_owned(),
        reject_until_ms: reject_within_ms.zip(accepted).map_or(0, |(within, accepted)| accepted.saturating_add(within)),
    }
}

fn page<T, K>(found: impl Iterator<Item = (K, T)>, limit: usize) -> Page<T, K> {
    let mut found = found;
    let mut page = Page { found: Vec::new(), next_after: None };
    let mut last = None;
    for (key, value) in found.by_ref().take(limit) {
        last = Some(key);
        page.found.push(value);
    }
    page.next_after = found.next().and(last);
    page
}
