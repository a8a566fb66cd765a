//! Allocations: opened by a promise, shipped, and cancelled by the node's word only (transitions 3 to 7).

use stockmesh_proto::common::v1::{CancelReason, Order};
use stockmesh_proto::feed::v1::AllocationOpened;
use stockmesh_types::{AllocationId, Quantity};

use crate::State;
use crate::apply::{Delivery, OpenedParts, Stop, Tx};
use crate::records::{AllocationRecord, Cell, NONE};
use crate::state::full;

/// What a promise needs to become work.
pub(crate) struct NewAllocation<'a> {
    pub line: u32,
    pub node: u32,
    pub quantity: Quantity,
    /// Order of the line.
    pub order: &'a Order,
    /// Where it goes, for whom.
    pub delivery: &'a Delivery,
}

/// A node's word on what of an allocation will not ship.
pub(crate) struct Cancelled {
    /// Cumulative.
    pub cancelled_total: Quantity,
    /// Cumulative, part of `cancelled_total`.
    pub lost_total: Quantity,
    /// By its own decision: the node is not asked again for this line.
    pub declined: bool,
    /// The cumulative amount asked that this answers.
    pub answers: Option<Quantity>,
    /// The customer does not get the units elsewhere either: they are cancelled on the order, not sourced anew.
    pub for_good: Option<CancelReason>,
}

impl State {
    /// What a node is told of an allocation, in its present epoch.
    pub(crate) fn allocation_opened(&self, allocation: &AllocationRecord, order: &Order) -> AllocationOpened {
        let line = &self.lines[allocation.line];
        AllocationOpened {
            allocation: Some(allocation.id.into()),
            epoch: self.nodes[allocation.node].epoch,
            order_id: order.order_id.clone(),
            line: line.line,
            stock_key: Some((&self.keys[line.key].key).into()),
            quantity: allocation.quantity,
            ship_to: order.ship_to.clone(),
            customer: order.customer.clone(),
            channel: order.channel.clone(),
            transfer: self.transfer_ref(line.order),
            allow_substitution: allows_substitution(order, line.line),
        }
    }
}

impl Tx<'_> {
    /// Promises units of a cell to a line, and opens the work at the node. The caller has checked `free` (I3).
    pub(crate) fn open_allocation(&mut self, new: &NewAllocation<'_>) -> Result<u32, Stop> {
        self.open(new, 0)
    }

    /// The same for units that the cell already holds for the line: they are not free in between.
    pub(crate) fn open_held_allocation(&mut self, new: &NewAllocation<'_>) -> Result<u32, Stop> {
        self.open(new, new.quantity)
    }

    fn open(&mut self, new: &NewAllocation<'_>, held: Quantity) -> Result<u32, Stop> {
        let NewAllocation { line, node, quantity, order, delivery } = *new;
        // Every command runs within a group.
        let Some(incarnation) = self.state.incarnation() else { return Err(full("incarnations").into()) };
        let id = AllocationId { incarnation, log_index: self.index, n: self.allocations };
        self.allocations += 1;
        let record = self.state.lines[line];
        let earlier = self.state.cell(record.key, node).map_or(NONE, |cell| cell.last_open);
        let allocation = AllocationRecord {
            id,
            line,
            node,
            next_of_line: NONE,
            earlier_in_cell: earlier,
            later_in_cell: NONE,
            declined: false,
            quantity,
            shipped: 0,
            cancelled: 0,
            lost: 0,
            requested: 0,
            ask_customer: 0,
            ask_broken: 0,
        };
        let index = self.state.allocations.push(allocation).ok_or_else(|| full("allocations"))?;
        if earlier != NONE {
            self.state.allocations[earlier].later_in_cell = index;
        }
        let mine = &mut self.state.lines[line];
        let last = std::mem::replace(&mut mine.last_allocation, index);
        if last == NONE {
            mine.first_allocation = index;
        } else {
            self.state.allocations[last].next_of_line = index;
        }
        self.change_cell(record.key, node, |cell| {
            cell.open += quantity;
            cell.held -= held;
            cell.last_open = index;
        })?;
        let to = &self.state.nodes[node];
        let (destination, epoch) = (to.destination, to.epoch);
        let stock_key = (&self.state.keys[record.key].key).into();
        let parts = OpenedParts {
            id,
            epoch,
            order_id: &order.order_id,
            line: record.line,
            stock_key,
            quantity,
            delivery,
            allow_substitution: allows_substitution(order, record.line),
        };
        self.emit_opened(destination, &parts);
        Ok(index)
    }

    /// Units of an allocation left the node (transition 5). The caller has checked that so many were open (I5).
    pub(crate) fn ship(&mut self, allocation: u32, shipped_total: Quantity) -> Result<(), Stop> {
        let record = &mut self.state.allocations[allocation];
        let units = (shipped_total - record.shipped).max(0);
        if units == 0 {
            return Ok(());
        }
        record.shipped += units;
        let late = drop_unanswerable(record);
        let (line, node) = (record.line, record.node);
        let line = &mut self.state.lines[line];
        line.shipped += units;
        let (key, order) = (line.key, line.order);
        self.change_cell(key, node, |cell| {
            cell.shipped += units;
            cell.open -= units;
            cell.asked -= late;
        })?;
        self.close_units(order, units);
        self.unlink_closed(allocation)?;
        self.fit_substitutes(allocation)?;
        self.break_promises(key, node)?;
        Ok(())
    }

    /// A node's word on an allocation (transitions 6 and 7). The caller has checked it against the quantity (I5).
    ///
    /// Units cancelled for whatever reason first fill the customer's open request, then the broken promise's; only what
    /// is left is sourced anew. Lost units, and those of a broken promise, go to `returned`, never through `free`.
    pub(crate) fn settle(&mut self, allocation: u32, word: &Cancelled) -> Result<(), Stop> {
        let Cancelled { cancelled_total, lost_total, declined, answers, for_good } = *word;
        let record = &mut self.state.allocations[allocation];
        let units = (cancelled_total - record.cancelled).max(0);
        let lost = (lost_total - record.lost).clamp(0, units);
        let asked_before = record.ask_broken;
        let for_customer = units.min(record.ask_customer);
        let broken = (units - for_customer).min(record.ask_broken);
        record.cancelled += units;
        record.lost += lost;
        record.ask_customer -= for_customer;
        record.ask_broken -= broken;
        record.declined |= declined;
        // Only the answer to the latest amount asked means that it is too late for the rest.
        if answers.is_some_and(|answered| answered >= record.requested) {
            record.ask_customer = 0;
            record.ask_broken = 0;
        }
        drop_unanswerable(record);
        let asked_after = record.ask_broken;
        let (line, node) = (record.line, record.node);
        let key = self.state.lines[line].key;
        self.change_cell(key, node, |cell| {
            cell.open -= units;
            cell.returned += units.min(lost + broken);
            // A loss is owed on top of the shortfall that was reported before it: what covers one does not cover both.
            cell.aim += lost;
            cell.asked -= asked_before - asked_after;
        })?;
        self.unlink_closed(allocation)?;
        if declined {
            self.set_excludes(line);
        }
        self.cancel_for_good(line, for_customer, CancelReason::Customer);
        match for_good {
            Some(reason) => self.cancel_for_good(line, units - for_customer, reason),
            None => {
                let substituted = self.open_substitutes(allocation, units - for_customer)?;
                self.source_anew(line, units - for_customer - substituted);
            }
        }
        self.fit_substitutes(allocation)?;
        self.break_promises(key, node)?;
        Ok(())
    }

    /// A closed allocation leaves the list of its cell.
    fn unlink_closed(&mut self, allocation: u32) -> Result<(), Stop> {
        let AllocationRecord { line, node, earlier_in_cell, later_in_cell, .. } = self.state.allocations[allocation];
        let key = self.state.lines[line].key;
        let listed =
            later_in_cell != NONE || self.state.cell(key, node).is_some_and(|cell: &Cell| cell.last_open == allocation);
        if self.state.allocations[allocation].open() > 0 || !listed {
            return Ok(());
        }
        if later_in_cell == NONE {
            self.change_cell(key, node, |cell| cell.last_open = earlier_in_cell)?;
        } else {
            self.state.allocations[later_in_cell].earlier_in_cell = earlier_in_cell;
        }
        if earlier_in_cell != NONE {
            self.state.allocations[earlier_in_cell].later_in_cell = later_in_cell;
        }
        let record = &mut self.state.allocations[allocation];
        record.earlier_in_cell = NONE;
        record.later_in_cell = NONE;
        Ok(())
    }
}

/// Whether a line of an order takes a substitute. Most orders number their lines from 1 in order: looked at there first.
fn allows_substitution(order: &Order, line: u32) -> bool {
    let place = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
    let there = order.lines.get(place).filter(|found| found.line == line);
    there.or_else(|| order.lines.iter().find(|found| found.line == line)).is_some_and(|found| found.allow_substitution)
}

/// What was asked beyond the units still open can't be answered any more: they are gone. Gives the broken promise's part.
fn drop_unanswerable(record: &mut AllocationRecord) -> Quantity {
    let open = record.open();
    let before = record.ask_broken;
    record.ask_customer = record.ask_customer.min(open);
    record.ask_broken = record.ask_broken.min(open);
    before - record.ask_broken
}
