//! `CreateTransfer`, `ReleaseTransfer`, `CancelTransfer`, `ChangeTransferDate`, and what nodes say of transfers
//! (transition 11): an allocation whose customer is a node.
//!
//! A released transfer is an order of the group's own: its lines have allocations at the source, and all rules of
//! allocations hold. It is never sourced anew, is no order to anybody else, and finance hears of it from the nodes.

use prost::Message;
use stockmesh_proto::common::v1::{CancelReason, Order, OrderLine};
use stockmesh_proto::convert::{self, required};
use stockmesh_proto::coordinator::v1::{Transfer, TransferLine, TransferState};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{
    InboundAnnounced, InboundCloseReason, InboundClosed, InboundKind, InboundLine, TransferReceived, TransferRef,
};
use stockmesh_proto::raft::v1::{CancelTransfer, ChangeTransferDate, CreateTransfer, ReleaseTransfer};
use stockmesh_types::{ExceptionCode, OrderId, Quantity, Reason, Reject};

use super::{Delivery, Stop, Tx};
use crate::State;
use crate::records::{LineRecord, NONE, OrderRecord, RememberedOutcome};
use crate::rights::NewAllocation;
use crate::state::full;
use crate::supply::{TRANSFER_PREFIX, day_of};
use crate::validate::check_transfer;

impl State {
    /// The transfer that an order of the group's own stands for.
    pub(crate) fn transfer_of_order(&self, order: u32) -> Option<u64> {
        if self.supply.transfer_orders.is_empty() {
            return None;
        }
        self.supply.transfer_orders.get(&order).copied()
    }

    /// What the node is told of an allocation that belongs to a transfer.
    pub(crate) fn transfer_ref(&self, order: u32) -> Option<TransferRef> {
        let transfer = self.supply.transfers.get(self.transfer_of_order(order)?)?;
        Some(TransferRef {
            transfer_id: transfer.transfer_id.clone(),
            destination_node: transfer.destination_node.clone(),
        })
    }
}

impl Tx<'_> {
    pub(super) fn create_transfer(&mut self, command: &CreateTransfer) -> Result<RememberedOutcome, Stop> {
        let given = required(&command.transfer, "transfer")?;
        check_transfer(given).map_err(|reject| reject.within("transfer"))?;
        let known = self.state.supply.transfers.check_new(&given.transfer_id);
        known.map_err(|reject| reject.within("transfer"))?;
        let source = self.state.known_node(&given.source_node, "transfer.source_node")?;
        let destination = self.state.known_node(&given.destination_node, "transfer.destination_node")?;
        let mut lines = Vec::with_capacity(given.lines.len());
        for (n, line) in given.lines.iter().enumerate() {
            let at = |reject: Reject| reject.within(&format!("transfer.lines[{n}]"));
            self.check_ranged(source, &line.stock_key).map_err(at)?;
            self.check_ranged(destination, &line.stock_key).map_err(at)?;
            let stock_key = convert::stock_key(&line.stock_key, "stock_key").map_err(at)?;
            lines.push(TransferLine {
                line: line.line,
                stock_key: Some((&stock_key).into()),
                quantity: line.quantity,
                ..TransferLine::default()
            });
        }
        lines.sort_unstable_by_key(|line| line.line);
        let transfer = Transfer {
            lines,
            revision: 1,
            state: TransferState::Draft.into(),
            created_time_ms: self.state.log_time.0,
            closed_time_ms: 0,
            created_by: self.principal.clone(),
            ..given.clone()
        };
        let number = self.next_document();
        self.put_transfer(number, transfer);
        Ok(RememberedOutcome::Transfer { number, cancelled: 0, requested: 0 })
    }

    pub(super) fn release_transfer(&mut self, command: &ReleaseTransfer) -> Result<RememberedOutcome, Stop> {
        let ReleaseTransfer { transfer_id, allow_partial } = command;
        let (number, transfer) = self.transfer_in(transfer_id, &[TransferState::Draft], Reason::TransferNotDraft)?;
        let source = self.state.known_node(&transfer.source_node, "source_node")?;
        let destination = self.state.known_node(&transfer.destination_node, "destination_node")?;
        if self.state.is_fenced(source) {
            let message =
                format!("nothing is promised from node {} now: it recovers, or is lost", transfer.source_node);
            return Err(Reject::new(Reason::InsufficientRights, message).field("transfer_id").into());
        }
        let order = self.order_of(&transfer, destination);
        // What each line gets: lines of one stock key share what is free.
        let mut keys = Vec::with_capacity(transfer.lines.len());
        for (n, line) in transfer.lines.iter().enumerate() {
            let stock_key = convert::stock_key(&line.stock_key, "stock_key")?;
            let key = self.state.key_index(&stock_key);
            let taken: Quantity =
                keys.iter().filter(|(other, _)| key.is_some() && *other == key).map(|(_, units)| *units).sum();
            let free = key.and_then(|key| self.state.cell(key, source)).map_or(0, |cell| cell.free());
            // Units that wait go first, wherever they may ship from: a transfer takes what the queue leaves.
            let left = key.map_or(0, |key| {
                let record = &self.state.keys[key];
                free.min((self.state.free_of_key(record) - record.waiting_total).max(0))
            });
            let units = line.quantity.min((left - taken).max(0));
            if units < line.quantity && !allow_partial {
                let message = format!(
                    "{} units of {stock_key} are free at {}, and {} are to be moved: allow a partial release, or lower it",
                    (left - taken).max(0),
                    transfer.source_node,
                    line.quantity
                );
                let reject = Reject::new(Reason::InsufficientRights, message);
                return Err(reject.field(format!("lines[{n}].quantity")).into());
            }
            keys.push((key, units));
        }
        if keys.iter().all(|(_, units)| *units == 0) {
            let message = format!("nothing of transfer {transfer_id} is free at {}", transfer.source_node);
            return Err(Reject::new(Reason::InsufficientRights, message).field("transfer_id").into());
        }
        let first_line = self.add_order(number, &transfer, &order)?;
        let reference =
            TransferRef { transfer_id: transfer_id.clone(), destination_node: transfer.destination_node.clone() };
        let delivery = Delivery::of_transfer(&order, &reference);
        for ((line, record), (_, units)) in (first_line..).zip(&transfer.lines).zip(&keys) {
            if *units > 0 {
                let new = NewAllocation { line, node: source, quantity: *units, order: &order, delivery: &delivery };
                self.open_allocation(&new)?;
            }
            self.cancel_for_good(line, record.quantity - units, CancelReason::Shortage);
        }
        self.transfers.push(number);
        Ok(RememberedOutcome::Transfer { number, cancelled: 0, requested: 0 })
    }

    pub(super) fn cancel_transfer(&mut self, command: &CancelTransfer) -> Result<RememberedOutcome, Stop> {
        let open = [
            TransferState::Draft,
            TransferState::ReadyToShip,
            TransferState::InTransit,
            TransferState::PartiallyReceived,
        ];
        let (number, mut transfer) = self.transfer_in(&command.transfer_id, &open, Reason::TransferEnded)?;
        if transfer.state == i32::from(TransferState::Draft) {
            let cancelled = transfer.lines.iter().map(|line| line.quantity).sum();
            transfer.lines.iter_mut().for_each(|line| line.cancelled = line.quantity);
            transfer.state = TransferState::Cancelled.into();
            transfer.closed_time_ms = self.state.log_time.0.max(1);
            transfer.revision += 1;
            self.put_transfer(number, transfer);
            return Ok(RememberedOutcome::Transfer { number, cancelled, requested: 0 });
        }
        let mut requested = 0;
        if let Some((first, lines)) = self.order_lines(number) {
            for line in first..first + lines {
                requested += self.ask_back(line);
            }
        }
        if requested == 0 {
            let message = format!("everything of transfer {} has left, or is cancelled", command.transfer_id);
            return Err(Reject::new(Reason::NothingToCancel, message).field("transfer_id").into());
        }
        Ok(RememberedOutcome::Transfer { number, cancelled: 0, requested })
    }

    pub(super) fn change_transfer_date(&mut self, command: &ChangeTransferDate) -> Result<RememberedOutcome, Stop> {
        let open = [
            TransferState::Draft,
            TransferState::ReadyToShip,
            TransferState::InTransit,
            TransferState::PartiallyReceived,
        ];
        let (number, before) = self.transfer_in(&command.transfer_id, &open, Reason::TransferEnded)?;
        let day = day_of(&before.expected_date);
        self.state.supply.days.remove(&(day, number));
        let mut changed = before.clone();
        changed.expected_date.clone_from(&command.expected_date);
        for line in &before.lines {
            if let Some((key, destination)) = self.state.lane(&before, line) {
                self.set_supply((key, day, number, line.line), destination, true, 0);
            }
        }
        let inbound = format!("{TRANSFER_PREFIX}{}", changed.transfer_id);
        let node = changed.destination_node.clone();
        self.settle_incident(ExceptionCode::LateReceipt, &node, ("inbound", &inbound, 0), "a new day was agreed");
        self.state.supply.transfers.put(number, changed);
        self.transfers.push(number);
        Ok(RememberedOutcome::Transfer { number, cancelled: 0, requested: 0 })
    }

    /// The destination booked goods in. Counters are cumulative: they are merged by maximum.
    pub(super) fn transfer_received(&mut self, node: u32, fact: &TransferReceived) -> Result<(), Stop> {
        let transfers = &self.state.supply.transfers;
        let known = transfers.number(&fact.transfer_id);
        let Some((number, mut transfer)) = known.and_then(|number| Some((number, transfers.get(number)?.clone())))
        else {
            return self.unexpected_transfer(node, fact);
        };
        if transfer.destination_node != self.state.nodes[node].id.as_str() {
            return self.unexpected_transfer(node, fact);
        }
        let mut arrived = Vec::new();
        for received in &fact.lines {
            let Ok(place) = transfer.lines.binary_search_by_key(&received.line, |line| line.line) else {
                self.unexpected_transfer(node, fact)?;
                continue;
            };
            let line = &mut transfer.lines[place];
            let more = (received.received_total - line.received).max(0);
            line.received = line.received.max(received.received_total);
            line.damaged = line.damaged.max(received.damaged_total);
            line.short = line.short.max(received.short_total);
            if let Some((key, _)) = self.state.lane(&transfer, &transfer.lines[place].clone()) {
                arrived.push(((key, day_of(&transfer.expected_date), number, received.line), more));
            }
        }
        for (at, units) in arrived {
            self.claims_arrived(at, node, units)?;
        }
        self.state.supply.transfers.put(number, transfer);
        self.transfers.push(number);
        Ok(())
    }

    /// A receipt that names a transfer that there is not, or that goes elsewhere: a person must look.
    fn unexpected_transfer(&mut self, node: u32, fact: &TransferReceived) -> Result<(), Stop> {
        let units = fact.lines.iter().map(|line| line.quantity.max(0).saturating_add(line.damaged.max(0)));
        let units = units.fold(0, Quantity::saturating_add);
        let node = self.state.nodes[node].id.to_string();
        let description = format!(
            "receipt {} names transfer {} or a line of it that was never sent there",
            shown(&fact.receipt_id),
            shown(&fact.transfer_id)
        );
        let about = ("transfer", fact.transfer_id.as_str(), 0);
        self.raise_incident(ExceptionCode::OverReceipt, &node, about, None, units, description);
        Ok(())
    }

    /// Works out again what became of transfers whose lines changed. Runs at the end of each command.
    pub(super) fn refresh_transfers(&mut self) -> Result<(), Stop> {
        let mut numbers = std::mem::take(&mut self.transfers);
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().try_for_each(|number| self.transfer_changed(number))
    }

    /// What a transfer has become after its lines changed: shipped, received, cancelled. Tells the destination of what is
    /// on its way, and keeps its supply.
    fn transfer_changed(&mut self, number: u64) -> Result<(), Stop> {
        let Some(mut transfer) = self.state.supply.transfers.get(number).cloned() else { return Ok(()) };
        let before = transfer.clone();
        if let Some((first, lines)) = self.order_lines(number) {
            for (line, index) in transfer.lines.iter_mut().zip(first..first + lines) {
                let record = &self.state.lines[index];
                line.cancelled = record.cancelled;
                line.shipped = record.shipped;
            }
            transfer.state = state_of(&transfer).into();
        }
        let ended =
            matches!(TransferState::try_from(transfer.state), Ok(TransferState::Received | TransferState::Cancelled));
        if ended && transfer.closed_time_ms == 0 {
            transfer.closed_time_ms = self.state.log_time.0.max(1);
        }
        let day = day_of(&transfer.expected_date);
        for line in &transfer.lines {
            if let Some((key, destination)) = self.state.lane(&transfer, line) {
                let on_way = line.shipped - line.received - line.damaged - line.short;
                self.set_supply((key, day, number, line.line), destination, true, on_way);
            }
        }
        self.balance_receipts(&transfer);
        let late = (day, number);
        let inbound_id = format!("{TRANSFER_PREFIX}{}", transfer.transfer_id);
        let shipped = |transfer: &Transfer| transfer.lines.iter().map(|line| line.shipped).sum::<Quantity>();
        if ended {
            self.state.supply.days.remove(&late);
            let about = ("inbound", inbound_id.as_str(), 0);
            self.settle_incident(ExceptionCode::LateReceipt, &transfer.destination_node, about, "accounted for");
        } else if shipped(&transfer) > 0 {
            self.state.supply.days.insert(late, ());
        }
        transfer.revision = before.revision + 1;
        let (announce, destination_node) = (shipped(&transfer) > 0, transfer.destination_node.clone());
        let revision = transfer.revision;
        self.put_transfer(number, transfer);
        if !announce {
            return Ok(());
        }
        self.refresh_claims_announcing(number);
        let node = self.state.known_node(&destination_node, "destination_node")?;
        let destination = self.state.nodes[node].destination;
        let fact = if ended {
            let reason = InboundCloseReason::Closed.into();
            Fact::InboundClosed(InboundClosed { inbound_id, revision, reason })
        } else {
            match self.state.supply.transfers.get(number) {
                Some(transfer) => Fact::InboundAnnounced(self.state.transfer_announcement(number, transfer)),
                None => return Ok(()),
            }
        };
        self.emit(destination, fact);
        Ok(())
    }

    /// More accounted for at the destination than left the source is an exception, until the source's word explains it.
    fn balance_receipts(&mut self, transfer: &Transfer) {
        let TransferId { id, node } = TransferId::of(transfer);
        for line in &transfer.lines {
            let beyond = line.received + line.damaged + line.short - line.shipped;
            let about = ("transfer", id.as_str(), line.line);
            if beyond > 0 {
                let description = format!(
                    "{} units of line {} of transfer {id} are accounted for at {node}, and {} left the source",
                    line.received + line.damaged + line.short,
                    line.line,
                    line.shipped
                );
                let key = line.stock_key.as_ref().and_then(|key| self.state.wire_key_index(key));
                self.raise_incident(ExceptionCode::OverReceipt, &node, about, key, beyond, description);
            } else {
                self.settle_incident(ExceptionCode::OverReceipt, &node, about, "the source has shipped them");
            }
        }
    }

    fn put_transfer(&mut self, number: u64, transfer: Transfer) {
        self.effects.extend_from_slice(&number.to_be_bytes());
        self.effects.extend_from_slice(&transfer.revision.to_be_bytes());
        self.effects.extend_from_slice(&transfer.state.to_be_bytes());
        self.state.supply.transfers.put(number, transfer);
    }

    fn transfer_in(&self, id: &str, states: &[TransferState], refusal: Reason) -> Result<(u64, Transfer), Reject> {
        let (number, transfer) = self.state.supply.transfers.known(id)?;
        if states.iter().any(|state| transfer.state == i32::from(*state)) {
            return Ok((number, transfer.clone()));
        }
        let state = TransferState::try_from(transfer.state).unwrap_or(TransferState::Unspecified);
        let message = format!("transfer {id} is in state {}", state.as_str_name());
        Err(Reject::new(refusal, message).field("transfer_id"))
    }

    /// First line and number of lines of the order that stands for a transfer; `None` for a draft.
    fn order_lines(&self, number: u64) -> Option<(u32, u32)> {
        let order = self.state.supply.transfer_order(number)?;
        let record = &self.state.orders[order];
        Some((record.first_line, record.lines))
    }

    /// The order that stands for a transfer, as allocations need it.
    fn order_of(&self, transfer: &Transfer, destination: u32) -> Order {
        let line = |line: &TransferLine| OrderLine {
            line: line.line,
            stock_key: line.stock_key.clone(),
            quantity: line.quantity,
            ..OrderLine::default()
        };
        Order {
            order_id: format!("{TRANSFER_PREFIX}{}", transfer.transfer_id),
            placed_time_ms: self.state.log_time.0,
            ship_to: Some(self.state.nodes[destination].fixed.place.clone()),
            lines: transfer.lines.iter().map(line).collect(),
            ..Order::default()
        }
    }

    /// Records the order that stands for a transfer; gives the dense index of its first line.
    fn add_order(&mut self, number: u64, transfer: &Transfer, order: &Order) -> Result<u32, Stop> {
        let first_line = u32::try_from(self.state.lines.len()).map_err(|_| full("order lines"))?;
        let (body, order_bytes) = OrderRecord::body_of(&order.encode_to_vec(), &[]);
        let record = OrderRecord {
            id: OrderId::new(&order.order_id)?,
            body,
            order_bytes,
            hash: OrderRecord::NO_HASH,
            committed_ms: self.state.log_time.0,
            first_line,
            lines: u32::try_from(transfer.lines.len()).map_err(|_| full("order lines"))?,
            open_units: transfer.lines.iter().map(|line| line.quantity).sum(),
            cancels_shortage: true,
        };
        // It has no place in the index of orders: nobody looks it up by its name.
        let index = self.state.orders.push(record).ok_or_else(|| full("orders"))?;
        self.state.supply.stand_for(index, number);
        for line in &transfer.lines {
            let stock_key = convert::stock_key(&line.stock_key, "stock_key")?;
            let item = self.state.known_item(stock_key.item.as_str(), "stock_key.item")?;
            let key = self.intern_key(item, &stock_key)?;
            let record = LineRecord {
                order: index,
                line: line.line,
                key,
                first_allocation: NONE,
                last_allocation: NONE,
                ordered: line.quantity,
                cancelled: 0,
                waiting: 0,
                shipped: 0,
                returned: 0,
                excludes: false,
            };
            self.state.lines.push(record).ok_or_else(|| full("order lines"))?;
        }
        Ok(first_line)
    }
}

/// Names for messages.
struct TransferId {
    id: String,
    node: String,
}

impl TransferId {
    fn of(transfer: &Transfer) -> Self {
        Self { id: transfer.transfer_id.clone(), node: transfer.destination_node.clone() }
    }
}

/// A foreign text, cut to what a message holds.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The state of a released transfer, from its lines.
fn state_of(transfer: &Transfer) -> TransferState {
    let sum = |count: fn(&TransferLine) -> Quantity| transfer.lines.iter().map(count).sum::<Quantity>();
    let to_ship = sum(|line| line.quantity - line.cancelled - line.shipped);
    let (shipped, accounted) = (sum(|line| line.shipped), sum(|line| line.received + line.damaged + line.short));
    let on_way = transfer.lines.iter().any(|line| line.shipped > line.received + line.damaged + line.short);
    match (shipped, to_ship) {
        (0, 0) => TransferState::Cancelled,
        (0, _) => TransferState::ReadyToShip,
        (_, 0) if !on_way => TransferState::Received,
        _ if accounted > 0 => TransferState::PartiallyReceived,
        _ => TransferState::InTransit,
    }
}

impl State {
    /// What the receiving node is told of a transfer, once anything of it was shipped.
    pub(crate) fn transfer_announcement(&self, number: u64, transfer: &Transfer) -> InboundAnnounced {
        let day = day_of(&transfer.expected_date);
        let lines = transfer.lines.iter().filter(|line| line.shipped > 0).map(|line| InboundLine {
            line: line.line,
            stock_key: line.stock_key.clone(),
            quantity: line.shipped,
            cost: None,
            claimed_quantity: self.lane(transfer, line).map_or(0, |(key, _)| self.claimed(key, day, number, line.line)),
            expected_date: String::new(),
        });
        InboundAnnounced {
            inbound_id: format!("{TRANSFER_PREFIX}{}", transfer.transfer_id),
            revision: transfer.revision,
            kind: InboundKind::Transfer.into(),
            reference: transfer.transfer_id.clone(),
            supplier: String::new(),
            source_node: transfer.source_node.clone(),
            expected_date: transfer.expected_date.clone(),
            lines: lines.collect(),
            notices: Vec::new(),
        }
    }

    /// Stock key and destination of a line, once its stock key is known here.
    fn lane(&self, transfer: &Transfer, line: &TransferLine) -> Option<(u32, u32)> {
        let key = self.wire_key_index(line.stock_key.as_ref()?)?;
        Some((key, self.node_index.get(&transfer.destination_node)?))
    }
}
