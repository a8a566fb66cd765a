//! Emitting: what the coordinator tells nodes and finance, chained per destination.
//!
//! Heads are part of the state, so that every replica makes the same entries with the same hashes.

use prost::Message;
use prost::bytes::Bytes;
use prost::encoding::{self, WireType};
use stockmesh_proto::common::v1::{AllocationId, CancelReason, Order, StockKey};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{CancellationRequested, EntryBody, OrderLineCancelled, RightsReturned, TransferRef};

use stockmesh_types::Quantity;

use super::Tx;
use crate::answer::Emitted;

/// Field numbers of the facts that are encoded from parts here; a test compares the bytes with the generated encoder's.
const ALLOCATION_OPENED: u32 = 101;
const ORDER_PLACED: u32 = 121;

/// What every allocation of an order tells its node, encoded once for all of them.
pub(crate) struct Delivery(Vec<u8>);

impl Delivery {
    /// The same for an order that stands for a transfer.
    pub fn of_transfer(order: &Order, transfer: &TransferRef) -> Self {
        let Self(mut bytes) = Self::of(order);
        encoding::message::encode(10, transfer, &mut bytes);
        Self(bytes)
    }

    /// Destination, customer and channel of an order.
    pub fn of(order: &Order) -> Self {
        let mut bytes = Vec::with_capacity(64);
        if let Some(ship_to) = &order.ship_to {
            encoding::message::encode(7, ship_to, &mut bytes);
        }
        if let Some(customer) = &order.customer {
            encoding::message::encode(8, customer, &mut bytes);
        }
        if !order.channel.is_empty() {
            encoding::string::encode(9, &order.channel, &mut bytes);
        }
        Self(bytes)
    }
}

/// An [`AllocationOpened`] in parts: what is known already is not copied into a message first.
///
/// [`AllocationOpened`]: stockmesh_proto::feed::v1::AllocationOpened
pub(crate) struct OpenedParts<'a> {
    pub id: stockmesh_types::AllocationId,
    pub epoch: u64,
    pub order_id: &'a String,
    pub line: u32,
    pub stock_key: StockKey,
    pub quantity: Quantity,
    pub delivery: &'a Delivery,
    /// The customer takes a substitute.
    pub allow_substitution: bool,
}

impl OpenedParts<'_> {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let Self { id, epoch, order_id, line, stock_key, quantity, delivery: Delivery(delivery), allow_substitution } =
            self;
        encoding::message::encode(1, &AllocationId::from(*id), bytes);
        if *epoch != 0 {
            encoding::uint64::encode(2, epoch, bytes);
        }
        if !order_id.is_empty() {
            encoding::string::encode(3, order_id, bytes);
        }
        if *line != 0 {
            encoding::uint32::encode(4, line, bytes);
        }
        encoding::message::encode(5, stock_key, bytes);
        if *quantity != 0 {
            encoding::int64::encode(6, quantity, bytes);
        }
        bytes.extend_from_slice(delivery);
        if *allow_substitution {
            encoding::bool::encode(50, allow_substitution, bytes);
        }
    }
}

/// An encoded fact, or any other message, as a field.
fn put_message(number: u32, message: &[u8], bytes: &mut Vec<u8>) {
    encoding::encode_key(number, WireType::LengthDelimited, bytes);
    encoding::encode_varint(message.len() as u64, bytes);
    bytes.extend_from_slice(message);
}

impl Tx<'_> {
    /// Appends a fact to the feed of one destination.
    pub(crate) fn emit(&mut self, destination: u32, fact: Fact) {
        let mut encoded = std::mem::take(&mut self.scratch);
        fact.encode(&mut encoded);
        self.emit_encoded(destination, &encoded);
        encoded.clear();
        self.scratch = encoded;
    }

    /// Appends a fact to the feed of every finance.
    pub(crate) fn emit_finance(&mut self, fact: &Fact) {
        let mut encoded = std::mem::take(&mut self.scratch);
        fact.encode(&mut encoded);
        self.emit_finance_encoded(&encoded);
        encoded.clear();
        self.scratch = encoded;
    }

    /// Tells every finance of an order, from its encoding.
    pub(crate) fn emit_order_placed(&mut self, order: &[u8]) {
        let mut encoded = std::mem::take(&mut self.scratch);
        encoding::encode_key(ORDER_PLACED, WireType::LengthDelimited, &mut encoded);
        let field = 1 + encoding::encoded_len_varint(order.len() as u64) + order.len();
        encoding::encode_varint(field as u64, &mut encoded);
        put_message(1, order, &mut encoded);
        self.emit_finance_encoded(&encoded);
        encoded.clear();
        self.scratch = encoded;
    }

    /// Opens work at a node.
    pub(crate) fn emit_opened(&mut self, destination: u32, parts: &OpenedParts<'_>) {
        let (mut fact, mut encoded) = (std::mem::take(&mut self.parts), std::mem::take(&mut self.scratch));
        parts.encode(&mut fact);
        put_message(ALLOCATION_OPENED, &fact, &mut encoded);
        self.emit_encoded(destination, &encoded);
        fact.clear();
        encoded.clear();
        (self.parts, self.scratch) = (fact, encoded);
    }

    fn emit_finance_encoded(&mut self, fact: &[u8]) {
        for n in 0.. {
            let finance = self.state.group.as_ref().and_then(|group| group.finance.get(n)).copied();
            let Some(destination) = finance else { return };
            self.emit_encoded(destination, fact);
        }
    }

    /// Appends a fact, encoded as a field of an entry's body.
    fn emit_encoded(&mut self, destination: u32, fact: &[u8]) {
        // Nothing but InitializeGroup runs without a group, and it sets the group first.
        let Some(group) = self.state.group.as_ref() else { return };
        if self.header.is_empty() {
            // Whatever a command emits has the same beginning.
            let header = EntryBody {
                time_ms: self.state.log_time.0,
                business_date: self.date.clone(),
                principal: self.principal.clone(),
                request_id: self.request_id.clone(),
                group: group.group.0,
                incarnation: group.incarnation.0,
                fact: None,
            };
            self.header = header.encode_to_vec();
        }
        let mut body = Vec::with_capacity(self.header.len() + fact.len());
        body.extend_from_slice(&self.header);
        body.extend_from_slice(fact);
        let record = &mut self.state.destinations[destination];
        let entry = record.head.append_encoded(&record.feed, Bytes::from(body));
        self.effects.extend_from_slice(&entry.hash);
        self.applied.emitted.push(Emitted { destination: record.name.clone(), entry });
    }

    /// Tells finance that units of a line will not be supplied.
    pub(crate) fn emit_line_cancelled(&mut self, line: u32, reason: CancelReason) {
        let record = self.state.lines[line];
        let fact = Fact::OrderLineCancelled(OrderLineCancelled {
            order_id: self.state.orders[record.order].id.to_string(),
            line: record.line,
            cancelled_total: record.cancelled,
            reason: reason.into(),
        });
        self.emit_finance(&fact);
    }

    /// Asks a node to cancel, up to the allocation's `requested`.
    pub(crate) fn emit_cancellation(&mut self, allocation: u32, reason: CancelReason) {
        let record = self.state.allocations[allocation];
        let destination = self.state.nodes[record.node].destination;
        let fact = Fact::CancellationRequested(CancellationRequested {
            allocation: Some(AllocationId::from(record.id)),
            requested_total: record.requested,
            reason: reason.into(),
        });
        self.emit(destination, fact);
    }

    /// Tells nodes what rights they have back: once for each cell that changed, with the total (transition 8).
    pub(crate) fn emit_returned(&mut self) {
        let mut cells = std::mem::take(&mut self.returned);
        for (key, node) in cells.drain(..) {
            let Some(cell) = self.state.cell(key, node) else { continue };
            let (returned_total, record) = (cell.returned, &self.state.nodes[node]);
            let fact = Fact::RightsReturned(RightsReturned {
                epoch: record.epoch,
                stock_key: Some((&self.state.keys[key].key).into()),
                returned_total,
            });
            let destination = record.destination;
            self.emit(destination, fact);
        }
        self.returned = cells;
    }
}

#[cfg(test)]
mod tests {
    use stockmesh_proto::common::v1::{PartyRef, Place};
    use stockmesh_proto::feed::v1::{AllocationOpened, OrderPlaced};
    use stockmesh_types::Incarnation;

    use super::*;

    #[test]
    fn facts_in_parts_are_the_bytes_of_the_generated_encoder() {
        for full in [true, false] {
            let text = |text: &str| if full { text.to_owned() } else { String::new() };
            let number = |number: i64| if full { number } else { 0 };
            let order = Order {
                order_id: text("A-1"),
                ship_to: full.then(|| Place { country_code: text("GB"), latitude_e7: -5, ..Place::default() }),
                customer: full.then(|| PartyRef { id: text("c-1") }),
                channel: text("web"),
                ..Order::default()
            };
            let id = stockmesh_types::AllocationId { incarnation: Incarnation(2), log_index: 300, n: 4 };
            let transfer = TransferRef { transfer_id: text("t-1"), destination_node: text("n-2") };
            let stock_key = StockKey { item: text("SKU-1"), grade: 1, ..StockKey::default() };
            // Every field is named: a new one has to be encoded above as well.
            let message = AllocationOpened {
                allocation: Some(id.into()),
                epoch: number(300) as u64,
                order_id: order.order_id.clone(),
                line: number(7) as u32,
                stock_key: Some(stock_key.clone()),
                quantity: number(1_000),
                ship_to: order.ship_to.clone(),
                customer: order.customer.clone(),
                channel: order.channel.clone(),
                transfer: full.then(|| transfer.clone()),
                allow_substitution: full,
            };
            let delivery = if full { Delivery::of_transfer(&order, &transfer) } else { Delivery::of(&order) };
            let parts = OpenedParts {
                id,
                epoch: message.epoch,
                order_id: &order.order_id,
                line: message.line,
                stock_key,
                quantity: message.quantity,
                delivery: &delivery,
                allow_substitution: full,
            };
            let mut bytes = Vec::new();
            parts.encode(&mut bytes);
            assert_eq!(bytes, message.encode_to_vec());
            let mut field = Vec::new();
            put_message(ALLOCATION_OPENED, &bytes, &mut field);
            let fact = Some(Fact::AllocationOpened(message));
            assert_eq!(field, EntryBody { fact, ..EntryBody::default() }.encode_to_vec());
            let fact = Fact::OrderPlaced(OrderPlaced { order: Some(order.clone()) });
            let (mut placed, order) = (Vec::new(), order.encode_to_vec());
            put_message(1, &order, &mut placed);
            let mut field = Vec::new();
            put_message(ORDER_PLACED, &placed, &mut field);
            assert_eq!(field, EntryBody { fact: Some(fact), ..EntryBody::default() }.encode_to_vec());
        }
    }
}
