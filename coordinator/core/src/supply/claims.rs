//! Claims of waiting lines on dated supply (transition 12).
//!
//! The queue of a stock key claims its supplies like water that fills a row of basins: first what has arrived and awaits
//! its rights (`due`), then each supply by its day. The node of a supply is told how many of its units are claimed, so that
//! its receipt grants them ahead of floors and walk-ins (I9).

use stockmesh_proto::coordinator::v1::{Expectation, Supply};
use stockmesh_proto::feed::v1::InboundClaimed;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_types::Quantity;

use super::{MAX_SUPPLIES, PURCHASE_PREFIX, SupplyKey, SupplyRow, TRANSFER_PREFIX, date_of};
use crate::State;
use crate::apply::{Delivery, Stop, Tx};
use crate::records::LineRecord;
use crate::rights::NewAllocation;
use crate::validate::MAX_CELLS;

/// Lines of a queue that one conversion of claims looks at: those that the node declined are passed over.
const LINES_AT_ONCE: usize = 4 * MAX_CELLS;

impl State {
    /// Supplies of a stock key, the earliest first.
    pub(crate) fn supplies_of(&self, key: u32) -> impl Iterator<Item = &(SupplyKey, SupplyRow)> {
        let from = (key, i64::MIN, 0, 0);
        self.supply.supplies.iter_from(&from).take_while(move |((of, ..), _)| *of == key)
    }

    fn dues_of(&self, key: u32) -> impl Iterator<Item = (u32, Quantity)> {
        let dues = self.supply.due.iter_from(&(key, 0)).take_while(move |((of, _), _)| *of == key);
        dues.map(|((_, node), units)| (*node, *units))
    }

    /// What a supply is called at the node that expects it.
    pub(crate) fn inbound_id(&self, document: u64, transfer: bool) -> String {
        if transfer {
            let name = self.supply.transfers.get(document).map_or("", |transfer| &transfer.transfer_id);
            format!("{TRANSFER_PREFIX}{name}")
        } else {
            let name = self.supply.purchase_orders.get(document).map_or("", |order| &order.purchase_order_id);
            format!("{PURCHASE_PREFIX}{name}")
        }
    }

    /// Where the waiting units of a line should come from, as things stand. Walks the queue up to the line, and no further
    /// than supply reaches.
    pub(crate) fn expectations(&self, index: u32, line: &LineRecord) -> Vec<Expectation> {
        let mut expectations = Vec::new();
        if line.waiting == 0 || (self.supply.supplies.is_empty() && self.supply.due.is_empty()) {
            return expectations;
        }
        let due = self.dues_of(line.key).map(|(node, units)| (units, node, None));
        let dated = self.supplies_of(line.key).map(|((_, day, document, _), row)| {
            (row.remaining, row.node, Some((*day, self.inbound_id(*document, row.transfer))))
        });
        let sources: Vec<_> = due.chain(dated).collect();
        let all: Quantity = sources.iter().map(|(units, ..)| *units).sum();
        let mut ahead = 0;
        for (other, ()) in self.keys[line.key].waiting.iter() {
            if *other == index || ahead >= all {
                break;
            }
            ahead += self.lines[*other].waiting;
        }
        let mut wants = line.waiting;
        for (units, node, dated) in sources {
            let passed = units.min(ahead);
            ahead -= passed;
            let quantity = (units - passed).min(wants);
            if quantity == 0 {
                continue;
            }
            wants -= quantity;
            let (day, inbound_id) = dated.unwrap_or_else(|| (self.log_time.date().days(), String::new()));
            let node = self.node_name(node);
            expectations.push(Expectation { quantity, expected_date: date_of(day), inbound_id, node });
        }
        expectations
    }

    /// Supplies of a stock key as the API tells them.
    pub(crate) fn supply_messages(&self, key: u32) -> Vec<Supply> {
        let supplies = self.supplies_of(key).map(|((_, day, document, line), row)| Supply {
            inbound_id: self.inbound_id(*document, row.transfer),
            line: *line,
            node: self.node_name(row.node),
            expected_date: date_of(*day),
            quantity: row.remaining,
            claimed: row.claimed,
        });
        supplies.collect()
    }

    /// Claims on all supplies, worked out at once: what [`Tx::refresh_claims`] keeps up to date.
    pub(crate) fn fill_claims(&mut self) {
        let (mut of, mut left) = (None, 0);
        let mut claims = Vec::with_capacity(self.supply.supplies.len());
        for (at, row) in self.supply.supplies.iter() {
            if of != Some(at.0) {
                of = Some(at.0);
                let due: Quantity = self.dues_of(at.0).map(|(_, units)| units).sum();
                left = self.keys[at.0].waiting_total - due;
            }
            let claimed = row.remaining.min(left);
            left -= claimed;
            claims.push((*at, claimed));
        }
        for (at, claimed) in claims {
            if let Some(row) = self.supply.supplies.get_mut(&at) {
                row.claimed = claimed;
            }
        }
    }

    /// Units of a line of a document that are claimed.
    pub(crate) fn claimed(&self, key: u32, day: i64, document: u64, line: u32) -> Quantity {
        self.supply.supplies.get(&(key, day, document, line)).map_or(0, |row| row.claimed)
    }

    /// Whether a stock key may get one more supply.
    pub(crate) fn has_room_for_supply(&self, key: u32, new: usize) -> bool {
        self.supplies_of(key).count() + new <= MAX_SUPPLIES
    }
}

impl Tx<'_> {
    /// Sets what of a line of a document is still to arrive; 0 takes it out. Claims follow with [`Tx::refresh_claims`].
    pub(crate) fn set_supply(&mut self, at: SupplyKey, node: u32, transfer: bool, remaining: Quantity) {
        let supplies = &mut self.state.supply.supplies;
        if remaining <= 0 {
            supplies.remove(&at);
        } else if let Some(row) = supplies.get_mut(&at) {
            row.remaining = remaining;
        } else {
            supplies.insert(at, SupplyRow { node, transfer, remaining, claimed: 0 });
        }
        self.touch_claims(at.0);
    }

    /// The claims on supplies of this stock key are worked out again at the end of the command.
    pub(crate) fn touch_claims(&mut self, key: u32) {
        let supply = &self.state.supply;
        if supply.supplies.is_empty() && supply.due.is_empty() {
            return;
        }
        self.claims.push(key);
    }

    /// Works claims out again where a queue or a supply changed, and tells nodes. Runs at the end of each command.
    pub(crate) fn refresh_claims(&mut self) {
        if self.claims.is_empty() {
            return;
        }
        let mut keys = std::mem::take(&mut self.claims);
        keys.sort_unstable();
        keys.dedup();
        for key in keys.drain(..) {
            self.refresh_claims_of(key);
        }
        self.claims = keys;
    }

    /// The same, for a document that is announced next: its own claims are told with it.
    pub(crate) fn refresh_claims_announcing(&mut self, document: u64) {
        self.announcing = document;
        self.refresh_claims();
        self.announcing = 0;
    }

    fn refresh_claims_of(&mut self, key: u32) {
        let mut left = self.state.keys[key].waiting_total;
        // Nobody waits any more for what has arrived: it is free as soon as it is granted.
        let dues: Vec<_> = self.state.dues_of(key).collect();
        for (node, units) in dues {
            let wanted = units.min(left);
            left -= wanted;
            self.set_due(key, node, wanted);
        }
        let mut changed = Vec::new();
        for (at, row) in self.state.supplies_of(key) {
            let claimed = row.remaining.min(left);
            left -= claimed;
            if claimed != row.claimed {
                changed.push((*at, claimed));
            }
        }
        for (at, claimed) in changed {
            let Some(row) = self.state.supply.supplies.get_mut(&at) else { continue };
            row.claimed = claimed;
            let (node, transfer, (_, _, document, line)) = (row.node, row.transfer, at);
            if document == self.announcing {
                continue;
            }
            let inbound_id = self.state.inbound_id(document, transfer);
            let destination = self.state.nodes[node].destination;
            let fact = InboundClaimed { inbound_id, line, claimed_quantity: claimed };
            self.emit(destination, Fact::InboundClaimed(fact));
        }
    }

    fn set_due(&mut self, key: u32, node: u32, units: Quantity) {
        if units <= 0 {
            self.state.supply.due.remove(&(key, node));
        } else {
            self.state.supply.due.insert((key, node), units);
        }
    }

    /// Units of a supply arrived in sellable condition: what the queue laid claim to is due, and becomes allocations as
    /// far as rights go. The caller has not lowered the supply yet.
    pub(crate) fn claims_arrived(&mut self, at: SupplyKey, node: u32, sellable: Quantity) -> Result<(), Stop> {
        let claimed = self.state.supply.supplies.get(&at).map_or(0, |row| row.claimed);
        let units = sellable.min(claimed);
        if units > 0 {
            let before = self.state.supply.due.get(&(at.0, node)).copied().unwrap_or(0);
            self.set_due(at.0, node, before + units);
            self.touch_claims(at.0);
        }
        self.turn_claims(at.0, node)
    }

    /// Turns claims whose units have arrived into allocations, in queue order, as far as `free` goes. The others stay due
    /// until a grant covers them. What this command may no longer do goes on with `AllocateBackorders`.
    pub(crate) fn turn_claims(&mut self, key: u32, node: u32) -> Result<(), Stop> {
        let Some(due) = self.state.supply.due.get(&(key, node)).copied() else { return Ok(()) };
        if self.state.is_fenced(node) {
            return Ok(());
        }
        let mut units = due.min(self.state.cell(key, node).map_or(0, |cell| cell.free()));
        if units <= 0 {
            return Ok(());
        }
        let waiting: Vec<u32> =
            self.state.keys[key].waiting.iter().take(LINES_AT_ONCE).map(|(line, ())| *line).collect();
        for line in waiting {
            if units == 0 || self.may_claim == 0 {
                break;
            }
            let record = self.state.lines[line];
            if record.excludes && self.state.excludes(&record, node) {
                continue;
            }
            let quantity = record.waiting.min(units);
            units -= quantity;
            self.may_claim -= 1;
            self.set_waiting(line, record.waiting - quantity);
            let order = State::order_body(&self.state.orders[record.order]);
            let delivery = Delivery::of(&order);
            self.open_allocation(&NewAllocation { line, node, quantity, order: &order, delivery: &delivery })?;
            self.claim_met(key, node, quantity);
        }
        Ok(())
    }

    /// Waiting units of a stock key were promised from a node: so many fewer are due there.
    pub(crate) fn claim_met(&mut self, key: u32, node: u32, units: Quantity) {
        if let Some(due) = self.state.supply.due.get(&(key, node)).copied() {
            self.set_due(key, node, due - units);
        }
        self.touch_claims(key);
    }
}
