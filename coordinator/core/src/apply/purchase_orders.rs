//! `CreatePurchaseOrder`, `AmendPurchaseOrder`, `ClosePurchaseOrder`, `RecordShipNotice`, `FindLateSupply`: dated supply, as
//! far as promising needs it. The receiving node is told of every change.

use stockmesh_proto::common::v1::{Money, StockKey as WireKey};
use stockmesh_proto::convert::{self, required};
use stockmesh_proto::coordinator::v1::{PurchaseOrder, PurchaseOrderLine, PurchaseOrderState};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{
    InboundAnnounced, InboundCloseReason, InboundClosed, InboundKind, InboundLine, InboundReceiptsClosed, ShipNotice,
    StockReceived,
};
use stockmesh_proto::raft::v1::{
    AmendPurchaseOrder, ClosePurchaseOrder, CreatePurchaseOrder, FindLateSupply, RecordShipNotice,
};
use stockmesh_types::{ExceptionCode, Quantity, Reason, Reject};

use super::{Stop, Tx};
use crate::State;
use crate::answer::Answer;
use crate::records::RememberedOutcome;
use crate::rights::MAX_KEYS_BY_ORDERS;
use crate::supply::{MAX_SUPPLIES, PURCHASE_PREFIX, SupplyKey, TRANSFER_PREFIX, date_of, day_of};
use crate::validate::{MAX_CELLS, check_purchase_line, check_purchase_order, check_ship_notice};

impl Tx<'_> {
    pub(super) fn create_purchase_order(&mut self, command: &CreatePurchaseOrder) -> Result<RememberedOutcome, Stop> {
        let given = required(&command.purchase_order, "purchase_order")?;
        check_purchase_order(given).map_err(|reject| reject.within("purchase_order"))?;
        let orders = &self.state.supply.purchase_orders;
        orders.check_new(&given.purchase_order_id).map_err(|reject| reject.within("purchase_order"))?;
        let node = self.state.known_node(&given.node, "purchase_order.node")?;
        for (n, line) in given.lines.iter().enumerate() {
            let at = |reject: Reject| reject.within(&format!("purchase_order.lines[{n}]"));
            self.check_ranged(node, &line.stock_key).map_err(at)?;
        }
        self.check_room(&given.lines, &[]).map_err(|reject| reject.within("purchase_order"))?;
        let mut order = PurchaseOrder {
            revision: 0,
            state: PurchaseOrderState::Open.into(),
            notices: Vec::new(),
            late: false,
            created_time_ms: self.state.log_time.0,
            closed_time_ms: 0,
            created_by: self.principal.clone(),
            ..given.clone()
        };
        order.lines.sort_unstable_by_key(|line| line.line);
        for line in &mut order.lines {
            line.stock_key = Some((&convert::stock_key(&line.stock_key, "stock_key")?).into());
            line.received = 0;
            line.claimed = 0;
        }
        let number = self.next_document();
        self.save_purchase_order(number, None, order)?;
        Ok(RememberedOutcome::PurchaseOrder { number })
    }

    pub(super) fn amend_purchase_order(&mut self, command: &AmendPurchaseOrder) -> Result<RememberedOutcome, Stop> {
        let AmendPurchaseOrder { purchase_order_id, revision, expected_date, lines } = command;
        let (number, before) = self.open_purchase_order(purchase_order_id)?;
        if *revision != 0 && *revision != before.revision {
            let message = format!("purchase order {purchase_order_id} has revision {} by now", before.revision);
            return Err(Reject::new(Reason::RevisionChanged, message).field("revision").into());
        }
        let node = self.state.known_node(&before.node, "node")?;
        let mut order = before.clone();
        if !expected_date.is_empty() {
            order.expected_date.clone_from(expected_date);
        }
        for (n, given) in lines.iter().enumerate() {
            let at = |reject: Reject| reject.within(&format!("lines[{n}]"));
            self.check_ranged(node, &given.stock_key).map_err(at)?;
            amend_line(&mut order, given).map_err(at)?;
        }
        if order.lines.is_empty() {
            let message = "nothing would be left of the purchase order: cancel it instead";
            return Err(Reject::new(Reason::MissingField, message).field("lines").into());
        }
        check_purchase_order(&order)?;
        self.check_room(&order.lines, &before.lines)?;
        order.late = false;
        self.save_purchase_order(number, Some(before), order)?;
        Ok(RememberedOutcome::PurchaseOrder { number })
    }

    pub(super) fn close_purchase_order(&mut self, command: &ClosePurchaseOrder) -> Result<RememberedOutcome, Stop> {
        let ClosePurchaseOrder { purchase_order_id, cancel } = command;
        let (number, before) = self.open_purchase_order(purchase_order_id)?;
        if *cancel && before.lines.iter().any(|line| line.received > 0) {
            let message = format!("some of purchase order {purchase_order_id} has arrived: close it instead");
            return Err(Reject::new(Reason::BelowReceived, message).field("cancel").into());
        }
        self.end_purchase_order(number, before, *cancel)?;
        Ok(RememberedOutcome::PurchaseOrder { number })
    }

    pub(super) fn record_ship_notice(&mut self, command: &RecordShipNotice) -> Result<RememberedOutcome, Stop> {
        let RecordShipNotice { purchase_order_id, notice } = command;
        let notice = required(notice, "notice")?;
        let (number, before) = self.open_purchase_order(purchase_order_id)?;
        check_ship_notice(&before, notice).map_err(|reject| reject.within("notice"))?;
        let mut order = before.clone();
        if !notice.expected_date.is_empty() {
            apply_date(&mut order, notice);
            order.late = false;
        }
        match order.notices.iter_mut().find(|known| known.notice_id == notice.notice_id) {
            Some(known) => known.clone_from(notice),
            None => order.notices.push(notice.clone()),
        }
        check_purchase_order(&order)?;
        self.save_purchase_order(number, Some(before), order)?;
        Ok(RememberedOutcome::PurchaseOrder { number })
    }

    /// Raises an exception for every document whose day is past; it is said once for each expected day.
    pub(super) fn find_late_supply(&mut self, command: &FindLateSupply) -> Result<Answer, Stop> {
        let today = self.state.log_time.date().days();
        let limit = usize::try_from(command.limit).unwrap_or(MAX_CELLS).clamp(1, MAX_CELLS);
        let days = self.state.supply.days.iter().take_while(|((day, _), ())| *day < today);
        let late: Vec<(i64, u64)> = days.take(limit).map(|(at, ())| *at).collect();
        let mut found = 0;
        for (day, number) in late {
            self.state.supply.days.remove(&(day, number));
            if let Some(order) = self.state.supply.purchase_orders.get(number).cloned() {
                let missing = order.lines.iter().map(|line| (line.quantity - line.received).max(0)).sum();
                let (node, id) = (order.node.clone(), format!("{PURCHASE_PREFIX}{}", order.purchase_order_id));
                self.state.supply.purchase_orders.put(number, PurchaseOrder { late: true, ..order });
                self.raise_late(&node, &id, missing, day);
            } else if let Some(transfer) = self.state.supply.transfers.get(number) {
                let on_way = |line: &stockmesh_proto::coordinator::v1::TransferLine| {
                    (line.shipped - line.received - line.damaged - line.short).max(0)
                };
                let missing = transfer.lines.iter().map(on_way).sum();
                let (node, id) =
                    (transfer.destination_node.clone(), format!("{TRANSFER_PREFIX}{}", transfer.transfer_id));
                self.raise_late(&node, &id, missing, day);
            } else {
                continue;
            }
            found += 1;
        }
        Ok(Answer::LateSupplyFound { found })
    }

    fn raise_late(&mut self, node: &str, inbound: &str, missing: Quantity, day: i64) {
        let description = format!("{missing} units were expected by {}, and have not arrived", date_of(day));
        self.raise_incident(ExceptionCode::LateReceipt, node, ("inbound", inbound, 0), None, missing, description);
    }

    /// A node received goods: those of a purchase order lower what is still to arrive, whatever their condition.
    pub(super) fn stock_received(&mut self, node: u32, fact: &StockReceived) -> Result<(), Stop> {
        let orders = &self.state.supply.purchase_orders;
        let name = match fact.inbound_id.strip_prefix(PURCHASE_PREFIX) {
            Some(name) => name,
            None if fact.inbound_id.is_empty() => fact.reference.as_str(),
            None => return Ok(()),
        };
        // Receipts may name purchase orders that only the buyer's own system knows.
        let Some((number, before)) = orders.number(name).and_then(|n| Some((n, orders.get(n)?.clone()))) else {
            return Ok(());
        };
        if before.node != self.state.nodes[node].id.as_str() {
            return Ok(());
        }
        let mut order = before.clone();
        let (mut arrived, mut beyond) = (Vec::new(), 0);
        for received in &fact.lines {
            let Ok(stock_key) = convert::stock_key(&received.stock_key, "stock_key") else { continue };
            let quantity = received.quantity.max(0);
            let wanted = WireKey::from(&stock_key);
            let Some(line) = line_of(&mut order, received.inbound_line, &wanted) else {
                beyond += quantity;
                continue;
            };
            let expected = (line.quantity - line.received).max(0);
            line.received += quantity;
            beyond += (quantity - expected).max(0);
            // Units that are held in receiving, or damaged, can't be promised yet: they are not due.
            let sellable = received.condition == i32::from(stockmesh_proto::common::v1::Condition::Sellable)
                || received.condition == i32::from(stockmesh_proto::common::v1::Condition::Unspecified);
            if let (true, Some(key)) = (sellable, self.state.key_index(&stock_key)) {
                let at = (key, line_day(&before, line), number, line.line);
                arrived.push((at, quantity.min(expected)));
            }
        }
        for (at, units) in arrived {
            self.claims_arrived(at, node, units)?;
        }
        let ended = before.closed_time_ms != 0;
        if ended && beyond > 0 {
            let (id, node) = (format!("{PURCHASE_PREFIX}{}", before.purchase_order_id), before.node.clone());
            let description = format!("{beyond} units arrived after the purchase order had ended, or beyond it");
            self.raise_incident(ExceptionCode::OverReceipt, &node, ("inbound", &id, 0), None, beyond, description);
        }
        let done = order.lines.iter().all(|line| line.received >= line.quantity);
        order.state = match (ended, done) {
            (true, _) => before.state,
            (false, true) => PurchaseOrderState::Received.into(),
            (false, false) => PurchaseOrderState::PartiallyReceived.into(),
        };
        if !ended && done {
            order.closed_time_ms = self.state.log_time.0.max(1);
            self.close_late(&order);
        }
        self.put_purchase_order(number, Some(&before), order)?;
        Ok(())
    }

    /// A node receives no more against an expected receipt: what is missing will not come.
    pub(super) fn inbound_receipts_closed(&mut self, fact: &InboundReceiptsClosed) -> Result<(), Stop> {
        let Some(name) = fact.inbound_id.strip_prefix(PURCHASE_PREFIX) else { return Ok(()) };
        let orders = &self.state.supply.purchase_orders;
        let known = orders.number(name).and_then(|number| Some((number, orders.get(number)?.clone())));
        match known {
            Some((number, order)) if order.closed_time_ms == 0 => self.end_purchase_order(number, order, false),
            Some(_) | None => Ok(()),
        }
    }

    fn end_purchase_order(&mut self, number: u64, before: PurchaseOrder, cancel: bool) -> Result<(), Stop> {
        let mut order = before.clone();
        let state = if cancel { PurchaseOrderState::Cancelled } else { PurchaseOrderState::Closed };
        order.state = state.into();
        order.closed_time_ms = self.state.log_time.0.max(1);
        order.revision += 1;
        let (node, inbound_id) = (order.node.clone(), format!("{PURCHASE_PREFIX}{}", order.purchase_order_id));
        let reason = if cancel { InboundCloseReason::Cancelled } else { InboundCloseReason::Closed };
        let fact = InboundClosed { inbound_id, revision: order.revision, reason: reason.into() };
        self.close_late(&order);
        self.put_purchase_order(number, Some(&before), order)?;
        let node = self.state.known_node(&node, "node")?;
        let destination = self.state.nodes[node].destination;
        self.emit(destination, Fact::InboundClosed(fact));
        Ok(())
    }

    fn close_late(&mut self, order: &PurchaseOrder) {
        let id = format!("{PURCHASE_PREFIX}{}", order.purchase_order_id);
        self.settle_incident(ExceptionCode::LateReceipt, &order.node, ("inbound", &id, 0), "received or closed");
    }

    /// Saves a change that the node must know of.
    fn save_purchase_order(
        &mut self,
        number: u64,
        before: Option<PurchaseOrder>,
        mut order: PurchaseOrder,
    ) -> Result<(), Stop> {
        order.revision += 1;
        if before.as_ref().is_some_and(|before| before.late) && !order.late {
            self.close_late(&order);
        }
        self.put_purchase_order(number, before.as_ref(), order)?;
        // Claims first: the announcement says them.
        self.refresh_claims_announcing(number);
        let Some(order) = self.state.supply.purchase_orders.get(number) else { return Ok(()) };
        let fact = self.state.announcement(number, order);
        let node = self.state.known_node(&order.node, "node")?;
        let destination = self.state.nodes[node].destination;
        self.emit(destination, Fact::InboundAnnounced(fact));
        Ok(())
    }

    /// Keeps a purchase order, and with it its supplies and days.
    fn put_purchase_order(
        &mut self,
        number: u64,
        before: Option<&PurchaseOrder>,
        order: PurchaseOrder,
    ) -> Result<(), Stop> {
        let node = self.state.known_node(&order.node, "node")?;
        if let Some(before) = before {
            self.state.supply.days.remove(&(day_of(&before.expected_date), number));
            for line in &before.lines {
                if let Some(key) = line.stock_key.as_ref().and_then(|key| self.state.wire_key_index(key)) {
                    let at = (key, line_day(before, line), number, line.line);
                    // Unless it stays where it is.
                    if supply_at(&order, line, number, key) != Some(at) {
                        self.set_supply(at, node, false, 0);
                    }
                }
            }
        }
        let open = order.closed_time_ms == 0;
        for line in &order.lines {
            let stock_key = convert::stock_key(&line.stock_key, "stock_key")?;
            let item = self.state.known_item(stock_key.item.as_str(), "stock_key.item")?;
            let key = self.intern_key(item, &stock_key)?;
            let remaining = if open { line.quantity - line.received } else { 0 };
            self.set_supply((key, line_day(&order, line), number, line.line), node, false, remaining);
        }
        if open && !order.late {
            self.state.supply.days.insert((day_of(&order.expected_date), number), ());
        }
        self.effects.extend_from_slice(&number.to_be_bytes());
        self.effects.extend_from_slice(&order.revision.to_be_bytes());
        self.effects.extend_from_slice(&order.state.to_be_bytes());
        self.state.supply.purchase_orders.put(number, order);
        Ok(())
    }

    fn open_purchase_order(&self, name: &str) -> Result<(u64, PurchaseOrder), Reject> {
        let (number, order) = self.state.supply.purchase_orders.known(name)?;
        if order.closed_time_ms == 0 {
            return Ok((number, order.clone()));
        }
        let message = format!("purchase order {name} is received, closed or cancelled");
        Err(Reject::new(Reason::PurchaseOrderEnded, message).field("purchase_order_id"))
    }

    /// The item of a line may be handled at the node, and has room for its stock key.
    pub(super) fn check_ranged(&self, node: u32, key: &Option<WireKey>) -> Result<(), Reject> {
        let stock_key = convert::stock_key(key, "stock_key")?;
        let item = self.state.known_item(stock_key.item.as_str(), "stock_key.item")?;
        if self.state.nodes[node].ranged.get(&item).is_none() {
            let message = format!("item {} is not ranged at node {}", stock_key.item, self.state.nodes[node].id);
            return Err(Reject::new(Reason::NotRanged, message).field("stock_key.item"));
        }
        if self.state.key_index(&stock_key).is_none() {
            self.state.check_new_keys(item, 1, MAX_KEYS_BY_ORDERS).map_err(|reject| reject.field("stock_key"))?;
        }
        Ok(())
    }

    /// Each stock key has room for the supplies that a document adds to it.
    fn check_room(&self, lines: &[PurchaseOrderLine], before: &[PurchaseOrderLine]) -> Result<(), Reject> {
        for (n, line) in lines.iter().enumerate() {
            let Some(wanted) = &line.stock_key else { continue };
            let same =
                |lines: &[PurchaseOrderLine]| lines.iter().filter(|other| other.stock_key == line.stock_key).count();
            let new = same(lines).saturating_sub(same(before));
            let known = self.state.wire_key_index(wanted);
            let fits = known.map_or(new <= MAX_SUPPLIES, |key| self.state.has_room_for_supply(key, new));
            if !fits {
                let message = format!("item {} would have more than {MAX_SUPPLIES} open supplies", wanted.item);
                return Err(Reject::new(Reason::TooManySupplies, message).field(format!("lines[{n}].stock_key")));
            }
        }
        Ok(())
    }

    pub(super) fn next_document(&mut self) -> u64 {
        self.state.supply.next_document += 1;
        self.state.supply.next_document
    }
}

/// The day of a line: its own, or that of the whole.
pub(crate) fn line_day(order: &PurchaseOrder, line: &PurchaseOrderLine) -> i64 {
    day_of(if line.expected_date.is_empty() { &order.expected_date } else { &line.expected_date })
}

/// Where a line's supply stands in a changed order, when its stock key is the same.
fn supply_at(order: &PurchaseOrder, line: &PurchaseOrderLine, number: u64, key: u32) -> Option<SupplyKey> {
    let now = order.lines.iter().find(|other| other.line == line.line)?;
    (now.stock_key == line.stock_key).then(|| (key, line_day(order, now), number, now.line))
}

/// The line that received units count for: the one that the receipt names, else the first of the stock key that lacks
/// some, else the first of the stock key.
fn line_of<'a>(order: &'a mut PurchaseOrder, named: u32, key: &WireKey) -> Option<&'a mut PurchaseOrderLine> {
    let lines = &mut order.lines;
    let is = |line: &PurchaseOrderLine| line.stock_key.as_ref() == Some(key);
    let place = lines
        .iter()
        .position(|line| named != 0 && line.line == named && is(line))
        .or_else(|| lines.iter().position(|line| is(line) && line.received < line.quantity))
        .or_else(|| lines.iter().position(is));
    place.map(|place| &mut lines[place])
}

/// Changes, adds or takes away one line.
fn amend_line(order: &mut PurchaseOrder, given: &PurchaseOrderLine) -> Result<(), Reject> {
    let place = order.lines.binary_search_by_key(&given.line, |line| line.line);
    let received = place.map_or(0, |at| order.lines[at].received);
    if given.quantity < received || (given.quantity == 0 && received > 0) {
        let message = format!("{received} units of line {} have arrived", given.line);
        return Err(Reject::new(Reason::BelowReceived, message).field("quantity"));
    }
    if given.quantity == 0 {
        return match place {
            Ok(at) => {
                order.lines.remove(at);
                Ok(())
            }
            Err(_) => {
                let message = format!("there is no line {} to take away", given.line);
                Err(Reject::new(Reason::UnknownOrderLine, message).field("line"))
            }
        };
    }
    check_purchase_line(given)?;
    let stock_key = Some((&convert::stock_key(&given.stock_key, "stock_key")?).into());
    let line = PurchaseOrderLine { received, claimed: 0, stock_key, ..given.clone() };
    match place {
        Ok(at) if received > 0 && order.lines[at].stock_key != line.stock_key => {
            let message = format!("{received} units of line {} have arrived: its stock key stays", given.line);
            Err(Reject::new(Reason::BelowReceived, message).field("stock_key"))
        }
        Ok(at) => {
            order.lines[at] = line;
            Ok(())
        }
        Err(at) => {
            order.lines.insert(at, line);
            Ok(())
        }
    }
}

/// A notice's day becomes that of the lines that it lists, or of the whole.
fn apply_date(order: &mut PurchaseOrder, notice: &ShipNotice) {
    let listed = |line: u32| notice.packages.iter().flat_map(|package| &package.lines).any(|part| part.line == line);
    let mut any = false;
    for line in &mut order.lines {
        if listed(line.line) {
            any = true;
            line.expected_date.clone_from(&notice.expected_date);
        }
    }
    if !any {
        order.expected_date.clone_from(&notice.expected_date);
        order.lines.iter_mut().for_each(|line| line.expected_date.clear());
    }
}

impl State {
    /// What the receiving node is told of a purchase order.
    pub(crate) fn announcement(&self, number: u64, order: &PurchaseOrder) -> InboundAnnounced {
        let lines = order.lines.iter().map(|line| {
            let key = line.stock_key.as_ref().and_then(|key| self.wire_key_index(key));
            InboundLine {
                line: line.line,
                stock_key: line.stock_key.clone(),
                quantity: line.quantity,
                cost: Some(Money { currency_code: order.currency_code.clone(), minor: line.cost_minor }),
                claimed_quantity: key.map_or(0, |key| self.claimed(key, line_day(order, line), number, line.line)),
                expected_date: line.expected_date.clone(),
            }
        });
        InboundAnnounced {
            inbound_id: format!("{PURCHASE_PREFIX}{}", order.purchase_order_id),
            revision: order.revision,
            kind: InboundKind::PurchaseOrder.into(),
            reference: order.purchase_order_id.clone(),
            supplier: order.supplier.clone(),
            source_node: String::new(),
            expected_date: order.expected_date.clone(),
            lines: lines.collect(),
            notices: order.notices.clone(),
        }
    }
}
