//! What commands on the way out ask of a draft.
//!
//! Must not know: which command asks.

use stockmesh_proto::feed::v1::WaveLine;
use stockmesh_proto::node::v1::{FulfillmentOrder, Wave as WaveShown};
use stockmesh_types::{AllocationId, ExceptionCode, OrderId, Quantity, Reason, Reject, StockKey};

use super::{Wave, views};
use crate::allocation::Allocation;
use crate::change::DocumentKind;
use crate::draft::Draft;
use crate::site::raise::Raise;

impl Draft<'_> {
    /// Says that something waits for a person; returns the exception's number.
    pub(crate) fn except(
        &mut self,
        code: ExceptionCode,
        stock_key: Option<&StockKey>,
        quantity: Quantity,
        document_kind: &'static str,
        document_id: &str,
        description: String,
    ) -> String {
        let raise = Raise { code, stock_key, quantity, document_kind, document_id, line: 0, description };
        self.raise(raise, None).to_string()
    }

    /// The number is free; it is not taken by this.
    pub(crate) fn check_new_document(&self, kind: DocumentKind, id: &OrderId, field: &str) -> Result<(), Reject> {
        if self.document(kind, id).is_none() {
            return Ok(());
        }
        let message = format!("{} {id} exists at node {}: use another number", kind.word(), self.node());
        Err(Reject::new(Reason::DocumentIdReused, message).field(field))
    }

    /// Work for an order with units left to ship; at least one.
    ///
    /// # Errors
    /// [`Reason::UnknownOrder`].
    pub(crate) fn require_open(&self, order: &OrderId) -> Result<Vec<AllocationId>, Reject> {
        let open = self.open_of_order(order);
        if !open.is_empty() {
            return Ok(open);
        }
        let message = format!("node {} has nothing left to ship for order {order}", self.node());
        Err(Reject::new(Reason::UnknownOrder, message).field("order_id"))
    }

    /// The work for the allocation's order does not wait.
    ///
    /// # Errors
    /// [`Reason::OnHold`], [`Reason::UnknownAllocation`].
    pub(crate) fn require_not_held(&mut self, id: AllocationId) -> Result<(), Reject> {
        let order = self.allocation(id)?.order_id.clone();
        let Some(hold) = self.outbound.hold(&order) else { return Ok(()) };
        let message = format!("the work for order {order} waits ({}): resume it first", hold.reason);
        Err(Reject::new(Reason::OnHold, message).field("allocation"))
    }

    /// What the node ships for one order, as it is now.
    pub(crate) fn fulfillment_order(&self, order: &OrderId) -> FulfillmentOrder {
        let mut work: Vec<(AllocationId, Allocation)> = Vec::new();
        self.archive().tasks(0, Some(order), &mut |_, id| {
            work.extend(self.peek_allocation(id).map(|allocation| (id, allocation)));
            true
        });
        let hold = self.outbound.hold(order).map(|hold| hold.reason.clone()).unwrap_or_default();
        views::fulfillment_order(order, &work, &hold, self.state().rules().reject_within_ms)
    }

    /// Work to pick that is in no wave and does not wait, taken on until a time, in the order in which it was taken on. As it was
    /// before this command.
    pub(crate) fn unplanned(&self, accepted_until_ms: i64) -> Vec<(AllocationId, Quantity)> {
        let open = self.state().open_tasks_after(0);
        let wanted = open.filter(|(_, allocation, _)| {
            allocation.handling.wave == 0
                && allocation.to_pick() > 0
                && allocation.accepted_time.0 <= accepted_until_ms
                && self.outbound.hold(&allocation.order_id).is_none()
        });
        wanted.map(|(_, allocation, id)| (id, allocation.to_pick())).collect()
    }

    /// A wave as answered to callers.
    pub(crate) fn wave_view(&self, number: u64, wave: &Wave) -> WaveShown {
        let id = |line: &WaveLine| stockmesh_proto::convert::allocation_id(&line.allocation, "allocation").ok();
        let work = wave.lines.iter().filter_map(id).filter_map(|id| self.peek_allocation(id));
        views::wave_view(number, wave, work.map(|allocation| allocation.to_pick()).sum())
    }
}
