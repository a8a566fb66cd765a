//! `CancelOrder`: the customer cancels. Waiting units are cancelled at once; for units at a node the node is asked, the
//! latest allocation first, and only its answer frees them (transition 6).

use stockmesh_proto::common::v1::CancelReason;
use stockmesh_proto::coordinator::v1::CancelLine;
use stockmesh_proto::raft::v1::CancelOrder;
use stockmesh_types::{Quantity, Reason, Reject, quantity};

use super::{Stop, Tx};
use crate::records::{NONE, RememberedOutcome};

/// A line with what the customer takes back of it.
struct Wanted {
    line: u32,
    waiting: Quantity,
    /// Allocations and units to ask for, latest first.
    asks: Vec<(u32, Quantity)>,
}

impl Tx<'_> {
    pub(super) fn cancel_order(&mut self, command: &CancelOrder) -> Result<RememberedOutcome, Stop> {
        let CancelOrder { order_id, lines } = command;
        let order = self.state.order_index.get(order_id).ok_or_else(|| {
            let shown: String = order_id.chars().take(80).collect();
            Reject::new(Reason::UnknownOrder, format!("there is no order {shown:?}")).field("order_id")
        })?;
        let wanted = self.wanted(order, lines)?;
        if wanted.is_empty() {
            let message =
                format!("nothing of order {order_id} is left to cancel: see what became of it with a look-up");
            return Err(Reject::new(Reason::NothingToCancel, message).field("order_id").into());
        }
        let (mut cancelled, mut requested) = (0, 0);
        for Wanted { line, waiting, asks } in wanted {
            let left = self.state.lines[line].waiting - waiting;
            if waiting > 0 {
                self.set_waiting(line, left);
                self.cancel_for_good(line, waiting, CancelReason::Customer);
            }
            cancelled += waiting;
            for (allocation, units) in asks {
                self.state.allocations[allocation].ask_customer += units;
                self.request(allocation, CancelReason::Customer);
                self.fit_substitutes(allocation)?;
                requested += units;
            }
        }
        Ok(RememberedOutcome::OrderCancelled { order, cancelled, requested })
    }

    /// What the request means for each line; lines without anything to cancel are left out when all are meant.
    fn wanted(&self, order: u32, lines: &[CancelLine]) -> Result<Vec<Wanted>, Reject> {
        let record = &self.state.orders[order];
        if lines.is_empty() {
            let all = record.first_line..record.first_line + record.lines;
            let all = all.map(|line| self.take_back(line, Quantity::MAX));
            return Ok(all.filter(|wanted| wanted.waiting > 0 || !wanted.asks.is_empty()).collect());
        }
        let mut wanted: Vec<Wanted> = Vec::with_capacity(lines.len());
        let (mut left_in_all, mut exceeds) = (0, None);
        for (n, CancelLine { line: number, quantity }) in lines.iter().enumerate() {
            let line = self.state.line_index(record, *number).ok_or_else(|| {
                Reject::new(Reason::UnknownOrderLine, format!("order {} has no line {number}", record.id))
                    .field(format!("lines[{n}].line"))
            })?;
            let units = quantity::positive(*quantity, &format!("lines[{n}].quantity"))?;
            if wanted.iter().any(|other| other.line == line) {
                let message = format!("line number {number} stands twice");
                return Err(Reject::new(Reason::DuplicateLine, message).field(format!("lines[{n}].line")));
            }
            let taken = self.take_back(line, units);
            let found = taken.waiting + taken.asks.iter().map(|(_, units)| units).sum::<Quantity>();
            left_in_all += found;
            if found < units && exceeds.is_none() {
                let message = format!("{found} units of line {number} are left to cancel, and {units} are named");
                exceeds = Some(Reject::new(Reason::ExceedsLine, message).field(format!("lines[{n}].quantity")));
            }
            wanted.push(taken);
        }
        match exceeds {
            // Nothing at all is left of what is named: that is the plainer answer.
            Some(_) if left_in_all == 0 => Ok(Vec::new()),
            Some(reject) => Err(reject),
            None => Ok(wanted),
        }
    }

    /// Asks nodes to cancel everything of a line that is open and not asked back yet; gives the units.
    pub(super) fn ask_back(&mut self, line: u32) -> Quantity {
        let mut requested = 0;
        for (allocation, units) in self.take_back(line, Quantity::MAX).asks {
            self.state.allocations[allocation].ask_customer += units;
            self.request(allocation, CancelReason::Customer);
            requested += units;
        }
        requested
    }

    /// Up to `units` of a line: waiting ones first, then those at nodes, latest allocation first. Units that were asked
    /// back for a shortfall count as well: the customer's request is filled before the broken promise's.
    fn take_back(&self, line: u32, units: Quantity) -> Wanted {
        let record = &self.state.lines[line];
        let waiting = record.waiting.min(units);
        let mut list = Vec::new();
        let mut next = record.first_allocation;
        while next != NONE {
            list.push(next);
            next = self.state.allocations[next].next_of_line;
        }
        let (mut left, mut asks) = (units - waiting, Vec::new());
        for allocation in list.into_iter().rev() {
            let record = &self.state.allocations[allocation];
            let take = (record.open() - record.ask_customer).min(left);
            if take > 0 {
                asks.push((allocation, take));
                left -= take;
            }
        }
        Wanted { line, waiting, asks }
    }
}
