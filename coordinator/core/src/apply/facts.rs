//! The rules of each fact of a node: what it changes here, and what it must not contradict.
//!
//! Counters are cumulative and absolute, merged by maximum: a fact that comes twice changes nothing the second time.

use stockmesh_proto::common::v1::CancelReason;
use stockmesh_proto::convert::{self, allocation_id};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{
    AllocationDeclined, CancellationAnswered, DeclineReason, RecallRequested, ReturnReceived, RightsGranted,
    SaleRecorded, ShipmentDispatched, ShortfallReported, SoldAtCounter, TransferShipped,
};
use stockmesh_types::{Quantity, Reason, Reject};

use super::{Stop, Tx};
use crate::answer::Notice;
use crate::rights::{Cancelled, MAX_KEYS};

/// The largest cumulative count that a fact may name: sums of them stay far within 64 bits.
const MAX_TOTAL: Quantity = 1_000_000_000_000_000;

fn total(value: Quantity, field: &str) -> Result<Quantity, Reject> {
    if (0..=MAX_TOTAL).contains(&value) {
        return Ok(value);
    }
    Err(Reject::new(Reason::InvalidValue, format!("{field} is {value}, and must be 0 to {MAX_TOTAL}")).field(field))
}

/// Why units that a node declined are cancelled on their order, where another node would be no help.
fn cancelled_for_good(reason: i32) -> Option<CancelReason> {
    match DeclineReason::try_from(reason) {
        Ok(DeclineReason::PickupExpired) => Some(CancelReason::PickupExpired),
        Ok(DeclineReason::CatchWeight) => Some(CancelReason::CatchWeight),
        Ok(
            DeclineReason::Unspecified
            | DeclineReason::NotFound
            | DeclineReason::Damaged
            | DeclineReason::NoCapacity
            | DeclineReason::Closed,
        )
        | Err(_) => None,
    }
}

impl Tx<'_> {
    /// Applies one fact, or refuses it and changes nothing.
    pub(super) fn apply_fact(&mut self, node: u32, fact: &Fact) -> Result<(), Stop> {
        match fact {
            Fact::RightsGranted(granted) => self.rights_granted(node, granted),
            Fact::ShipmentDispatched(shipment) => self.shipment_dispatched(node, shipment),
            Fact::AllocationDeclined(declined) => self.allocation_declined(node, declined),
            Fact::CancellationAnswered(answer) => self.cancellation_answered(node, answer),
            Fact::ShortfallReported(shortfall) => self.shortfall_reported(node, shortfall),
            Fact::ReturnReceived(returned) => self.return_received(node, returned),
            Fact::RecoveryEnded(_) => {
                self.end_recovery(node);
                Ok(())
            }
            // The node's own goods: what is kept is how fast they sell.
            Fact::SoldAtCounter(sale) => {
                self.counter_sold(node, sale);
                Ok(())
            }
            Fact::SaleRecorded(SaleRecorded { sale, beyond: _ }) => {
                if let Some(sale) = sale {
                    self.counter_sold(node, sale);
                }
                Ok(())
            }
            Fact::RecallRequested(recall) => self.recall_requested(node, recall),
            Fact::TransferShipped(transfer) => self.transfer_shipped(node, transfer),
            Fact::TransferReceived(transfer) => self.transfer_received(node, transfer),
            Fact::StockReceived(receipt) => self.stock_received(node, receipt),
            Fact::InboundReceiptsClosed(closed) => self.inbound_receipts_closed(closed),
            Fact::RefundRequested(refund) => self.refund_requested(node, refund),
            Fact::RefundPaidOffline(refund) => self.refund_paid_offline(node, refund),
            Fact::ExceptionRaised(raised) => {
                self.exception_raised(node, raised);
                Ok(())
            }
            Fact::ExceptionResolved(resolved) => {
                self.exception_resolved(node, resolved);
                Ok(())
            }
            Fact::CapacityReported(capacity) => {
                self.capacity_reported(node, capacity);
                Ok(())
            }
            // The node's own movements: the cursor is all that the coordinator keeps of them.
            Fact::AllocationAccepted(_)
            // What the node says of its new epoch: the coordinator began it by its own command.
            | Fact::EpochOpened(_)
            | Fact::ItemPicked(_)
            | Fact::ItemPacked(_)
            | Fact::ReturnInspected(_)
            | Fact::StockMoved(_)
            | Fact::StockWrittenOff(_)
            | Fact::StockPutAway(_)
            | Fact::ReceiptDifferenceResolved(_)
            | Fact::CountRequested(_)
            | Fact::StockCounted(_)
            | Fact::CountStateChanged(_)
            | Fact::BinsChanged(_)
            | Fact::StockAdjusted(_)
            | Fact::SaleVoided(_)
            | Fact::CounterRefundPaid(_)
            | Fact::FulfillmentHeld(_)
            | Fact::FulfillmentResumed(_)
            | Fact::WaveCreated(_)
            | Fact::PickupStaged(_)
            | Fact::PickupClosed(_)
            | Fact::KitsConverted(_)
            | Fact::DispositionFinished(_) => Ok(()),
            // Never a node's: `apply_facts` has stopped at them before.
            Fact::ItemRanged(_)
            | Fact::AllocationOpened(_)
            | Fact::CancellationRequested(_)
            | Fact::RightsReturned(_)
            | Fact::GrantPolicySet(_)
            | Fact::NodeEpochOpened(_)
            | Fact::NodeRetired(_)
            | Fact::DuplicatesAccepted(_)
            | Fact::InboundAnnounced(_)
            | Fact::InboundClosed(_)
            | Fact::RefundDecided(_)
            | Fact::ReturnAuthorised(_)
            | Fact::InboundClaimed(_)
            | Fact::ReturnAuthorisationClosed(_)
            | Fact::NodeRegistered(_)
            | Fact::OrderPlaced(_)
            | Fact::OrderLineCancelled(_)
            | Fact::RefundCommitted(_) => {
                Err(Reject::new(Reason::UnknownFact, "not a node's fact").field("entries").into())
            }
        }
    }

    /// The dense index of a stock key that a fact names; its item must be in the catalog.
    fn fact_key(&mut self, key: &Option<stockmesh_proto::common::v1::StockKey>) -> Result<u32, Stop> {
        let stock_key = convert::stock_key(key, "stock_key")?;
        let item = self.state.known_item(stock_key.item.as_str(), "stock_key.item")?;
        if self.state.key_index(&stock_key).is_none() {
            self.state.check_new_keys(item, 1, MAX_KEYS).map_err(|reject| reject.field("stock_key"))?;
        }
        Ok(self.intern_key(item, &stock_key)?)
    }

    /// The allocation that a fact names; it must be this node's.
    fn fact_allocation(
        &self,
        node: u32,
        id: &Option<stockmesh_proto::common::v1::AllocationId>,
    ) -> Result<u32, Reject> {
        let id = allocation_id(id, "allocation")?;
        let index = self.state.allocation_index(id).filter(|index| self.state.allocations[*index].node == node);
        index.ok_or_else(|| {
            let message = format!("node {} has no allocation {id}", self.state.nodes[node].id);
            Reject::new(Reason::UnknownAllocation, message).field("allocation")
        })
    }

    /// Transition 2: rights are delegated. What a shortfall is owed goes straight back.
    fn rights_granted(&mut self, node: u32, fact: &RightsGranted) -> Result<(), Stop> {
        let granted = total(fact.granted_total, "granted_total")?;
        let key = self.fact_key(&fact.stock_key)?;
        self.change_cell(key, node, |cell| cell.granted = cell.granted.max(granted))?;
        self.turn_claims(key, node)
    }

    /// Transition 5. All lines are checked before the first takes effect.
    fn shipment_dispatched(&mut self, node: u32, fact: &ShipmentDispatched) -> Result<(), Stop> {
        let mut lines = Vec::with_capacity(fact.lines.len());
        for (n, line) in fact.lines.iter().enumerate() {
            let at = |reject: Reject| reject.within(&format!("lines[{n}]"));
            lines.push(self.shipped_line(node, &line.allocation, line.shipped_total).map_err(at)?);
        }
        self.ship_lines(lines)
    }

    /// Transition 11: an allocation whose customer is a node spends its rights when it is shipped, as any other.
    fn transfer_shipped(&mut self, node: u32, fact: &TransferShipped) -> Result<(), Stop> {
        let mut lines = Vec::with_capacity(fact.lines.len());
        for (n, line) in fact.lines.iter().enumerate() {
            let at = |reject: Reject| reject.within(&format!("lines[{n}]"));
            lines.push(self.shipped_line(node, &line.allocation, line.shipped_total).map_err(at)?);
        }
        self.ship_lines(lines)
    }

    /// The allocation of a line that left, and its cumulative units, checked against I5.
    fn shipped_line(
        &mut self,
        node: u32,
        allocation: &Option<stockmesh_proto::common::v1::AllocationId>,
        shipped_total: Quantity,
    ) -> Result<(u32, Quantity), Reject> {
        let index = self.fact_allocation(node, allocation)?;
        let shipped = total(shipped_total, "shipped_total")?;
        let shipped = self.signed_away(node, index, shipped);
        self.fits(index, shipped, 0, "shipped_total")?;
        Ok((index, shipped))
    }

    fn ship_lines(&mut self, lines: Vec<(u32, Quantity)>) -> Result<(), Stop> {
        for (index, shipped) in lines {
            self.ship(index, shipped)?;
        }
        Ok(())
    }

    /// I5: shipped + cancelled <= quantity, with the totals that a fact brings.
    fn fits(&self, allocation: u32, shipped: Quantity, cancelled: Quantity, field: &str) -> Result<(), Reject> {
        let record = &self.state.allocations[allocation];
        if record.shipped.max(shipped) + record.cancelled.max(cancelled) <= record.quantity {
            return Ok(());
        }
        let message = format!(
            "allocation {} of {} units has {} shipped and {} cancelled: {field} goes beyond it",
            record.id, record.quantity, record.shipped, record.cancelled
        );
        Err(Reject::new(Reason::ExceedsAllocation, message).field(field))
    }

    /// Checks a node's word on what it will not ship.
    fn cancelled(&self, allocation: u32, cancelled: Quantity, lost: Quantity) -> Result<(), Reject> {
        let (cancelled, lost) = (total(cancelled, "cancelled_total")?, total(lost, "lost_total")?);
        self.fits(allocation, 0, cancelled, "cancelled_total")?;
        let record = &self.state.allocations[allocation];
        if lost > cancelled || lost - record.lost > (cancelled - record.cancelled).max(0) {
            let message = format!("{lost} units lost of {cancelled} cancelled, after {} lost", record.lost);
            return Err(Reject::new(Reason::InvalidValue, message).field("lost_total"));
        }
        Ok(())
    }

    /// Transition 7: a decline frees what is there, and returns what is lost.
    fn allocation_declined(&mut self, node: u32, fact: &AllocationDeclined) -> Result<(), Stop> {
        let AllocationDeclined { allocation, cancelled_total, lost_total, reason, stock_key: _, lost_quantity: _ } =
            fact;
        let index = self.fact_allocation(node, allocation)?;
        self.cancelled(index, *cancelled_total, *lost_total)?;
        let before = self.state.allocations[index].cancelled;
        let word = Cancelled {
            cancelled_total: *cancelled_total,
            lost_total: *lost_total,
            declined: *cancelled_total > before,
            answers: None,
            for_good: cancelled_for_good(*reason),
        };
        self.settle(index, &word)?;
        let quantity = self.state.allocations[index].cancelled - before;
        if quantity > 0 {
            let (id, node) = (self.state.allocations[index].id, self.state.nodes[node].id.clone());
            self.applied.notices.push(Notice::Declined { node, allocation: id, quantity });
        }
        Ok(())
    }

    /// Transition 6: the node's answer to a request, or to an older one.
    fn cancellation_answered(&mut self, node: u32, fact: &CancellationAnswered) -> Result<(), Stop> {
        let CancellationAnswered { allocation, requested_total, cancelled_total, lost_total } = fact;
        let index = self.fact_allocation(node, allocation)?;
        self.cancelled(index, *cancelled_total, *lost_total)?;
        let word = Cancelled {
            cancelled_total: *cancelled_total,
            lost_total: *lost_total,
            declined: false,
            answers: Some(total(*requested_total, "requested_total")?),
            for_good: None,
        };
        self.settle(index, &word)
    }

    /// Transition 9: the aim is what the node had back when it counted, plus what it is short.
    fn shortfall_reported(&mut self, node: u32, fact: &ShortfallReported) -> Result<(), Stop> {
        let level = total(fact.level, "level")?;
        let returned = total(fact.returned_total, "returned_total")?;
        let known = fact.stock_key.as_ref().and_then(|key| self.state.wire_key_index(key));
        let known = known.and_then(|key| self.state.cell(key, node)).map_or(0, |cell| cell.returned);
        if returned > known {
            // I4: the node can't have applied more than was committed here.
            let message = format!("the node has {returned} units back, and {known} were returned to it");
            return Err(Reject::new(Reason::InvalidValue, message).field("returned_total").into());
        }
        let key = self.fact_key(&fact.stock_key)?;
        self.change_cell(key, node, |cell| {
            cell.level = level;
            cell.aim = returned + level;
        })?;
        self.break_promises(key, node)?;
        let notice = Notice::Shortfall {
            node: self.state.nodes[node].id.clone(),
            stock_key: self.state.keys[key].key.to_string(),
            level,
        };
        self.applied.notices.push(notice);
        Ok(())
    }

    /// How fast goods sell at a counter is what proposals of policies are made from. Keys that nobody granted sell too.
    fn counter_sold(&mut self, node: u32, sale: &SoldAtCounter) {
        for line in &sale.lines {
            if let Some(key) = line.stock_key.as_ref().and_then(|key| self.state.wire_key_index(key)) {
                self.sold(node, key, line.quantity.clamp(0, MAX_TOTAL));
            }
        }
    }

    /// Transition 8, as the counter asks: what is free goes back, up to what it lacks; for the rest it has its answer.
    fn recall_requested(&mut self, node: u32, fact: &RecallRequested) -> Result<(), Stop> {
        let RecallRequested { stock_key, quantity, reference: _ } = fact;
        let wanted = total(*quantity, "quantity")?;
        // A cell that was never granted has nothing to give back.
        let key = stock_key.as_ref().and_then(|key| self.state.wire_key_index(key));
        let Some(key) = key.filter(|key| self.state.cell(*key, node).is_some()) else { return Ok(()) };
        let mut given = 0;
        self.change_cell(key, node, |cell| {
            given = cell.free().min(wanted);
            cell.returned += given;
        })?;
        let rights = self.state.recovery.of(node);
        rights.recall_requested = rights.recall_requested.saturating_add(wanted);
        rights.recall_returned = rights.recall_returned.saturating_add(given);
        Ok(())
    }

    /// A customer's goods came back. Finance judges whether they may; here they are counted.
    fn return_received(&mut self, node: u32, fact: &ReturnReceived) -> Result<(), Stop> {
        // Returns of counter sales concern no order.
        if fact.order_id.is_empty() {
            return Ok(());
        }
        let quantity = total(fact.quantity, "quantity")?;
        let node = self.state.nodes[node].id.clone();
        let order = self.state.order_index.get(&fact.order_id).map(|index| &self.state.orders[index]);
        let Some(line) = order.and_then(|order| self.state.line_index(order, fact.line)) else {
            let (order_id, line) = (fact.order_id.clone(), fact.line);
            self.applied.notices.push(Notice::UnmatchedReturn { node, order_id, line, quantity });
            return Ok(());
        };
        let record = &mut self.state.lines[line];
        record.returned = record.returned.saturating_add(quantity);
        let (returned, shipped) = (record.returned, record.shipped);
        if !fact.authorisation_id.is_empty() {
            self.returned_under(&fact.authorisation_id, fact.line, quantity)?;
        }
        if returned > shipped {
            let (order_id, line) = (fact.order_id.clone(), fact.line);
            self.applied.notices.push(Notice::ReturnBeyondShipped { node, order_id, line, returned, shipped });
        }
        Ok(())
    }
}
