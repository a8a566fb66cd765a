//! What people and links may see of a state, in pages.
//!
//! Must not know: commands; nothing here changes anything.

use std::ops::Bound;

use stockmesh_proto::node::v1::{StockLevel, Task};
use stockmesh_types::{AllocationId, ItemId, OrderId, StockKey};

use crate::allocation::Allocation;
use crate::archive::Archive;
use crate::cell::Cell;
use crate::outbound::{OutboundKey, OutboundValue};
use crate::state::NodeState;

/// A cell as answered to callers.
#[must_use]
pub fn level(key: &StockKey, cell: &Cell) -> StockLevel {
    StockLevel {
        stock_key: Some(key.into()),
        on_hand: cell.on_hand,
        quarantined: cell.quarantined,
        damaged: cell.damaged,
        return_pending: cell.return_pending,
        granted: cell.granted,
        returned: cell.returned,
        consumed: cell.consumed,
        outstanding: cell.outstanding(),
        retained: cell.retained(),
        received_total: cell.received_total,
        sold_total: cell.sold_total,
        adjusted_total: cell.adjusted_total,
        shipped_total: cell.shipped_total,
        customer_returned_total: cell.customer_returned_total,
        disposed_total: cell.disposed_total,
        in_receiving: cell.in_receiving,
        sold_ahead: cell.sold_ahead,
        in_disposition: cell.in_disposition,
        transferred_in_total: cell.transferred_in_total,
        converted_total: cell.converted_total,
    }
}

/// Which tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Only those with units left to ship.
    pub open_only: bool,
    /// Only those of this order.
    pub order_id: Option<OrderId>,
}

/// A page of tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskPage {
    /// Tasks, in the order in which they were taken on.
    pub tasks: Vec<Task>,
    /// Number of the last one, when more follow.
    pub next_after: Option<u64>,
}

/// A page of stock levels.
#[derive(Clone, Debug, PartialEq)]
pub struct StockPage {
    /// Levels, by stock key.
    pub levels: Vec<StockLevel>,
    /// Key of the last one, when more follow.
    pub next_after: Option<StockKey>,
}

impl NodeState {
    /// Tasks taken on after number `after`, at most `limit`. What is not in memory is read from the archive.
    #[must_use]
    pub fn tasks(&self, after: u64, limit: usize, filter: &TaskFilter, archive: &dyn Archive) -> TaskPage {
        let mut page = TaskPage { tasks: Vec::new(), next_after: None };
        let mut last = after;
        let mut take = |number: u64, id: AllocationId, allocation: &Allocation| {
            if page.tasks.len() == limit {
                page.next_after = Some(last);
                return false;
            }
            let hold_reason = match self.outbound().get(&OutboundKey::Hold(allocation.order_id.clone())) {
                Some(OutboundValue::Hold(hold)) => hold.reason.clone(),
                _ => String::new(),
            };
            page.tasks.push(Task { hold_reason, ..allocation.task(id) });
            last = number;
            true
        };
        match &filter.order_id {
            None if filter.open_only => {
                let _ = self.open_tasks_after(after).all(|(number, allocation, id)| take(number, id, allocation));
            }
            order => archive.tasks(after, order.as_ref(), &mut |number, id| {
                match self.open_allocation(id) {
                    Some(open) => take(number, id, open),
                    None if filter.open_only => true,
                    // The index stands in the same batch as the allocation.
                    None => archive.allocation(id).is_none_or(|closed| take(number, id, &closed)),
                }
            }),
        }
        page
    }

    /// Levels of the stock keys after `after`, at most `limit`, of one item or of all.
    #[must_use]
    pub fn stock(&self, after: Option<&StockKey>, limit: usize, item: Option<&ItemId>) -> StockPage {
        let start = match (after, item) {
            (Some(key), _) => Bound::Excluded(key.clone()),
            // The first stock key of an item: the least grade, no owner, no class.
            (None, Some(item)) => Bound::Included(StockKey::of(item.clone())),
            (None, None) => Bound::Unbounded,
        };
        let mut found = self
            .cells_from(start)
            .take_while(|(key, _)| item.is_none_or(|item| key.item <= *item))
            .filter(|(key, _)| item.is_none_or(|item| key.item == *item));
        let page: Vec<_> = found.by_ref().take(limit).collect();
        let next_after = found.next().and(page.last().map(|(key, _)| (*key).clone()));
        StockPage { levels: page.into_iter().map(|(key, cell)| level(key, cell)).collect(), next_after }
    }
}
