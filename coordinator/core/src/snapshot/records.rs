//! Each record as bytes, and back. Destructured without `..`, so that the compiler finds the forgotten field.
//!
//! What can be worked out again is not written: id indices, the sums and queues of stock keys.

use std::sync::Arc;

use prost::Message;
use stockmesh_proto::common::v1::{NodeKind, Place};
use stockmesh_proto::coordinator::v1::NodeCosts;
use stockmesh_types::{
    AllocationId, FeedId, Grade, Incarnation, ItemId, LegalEntity, NodeId, OrderId, Reject, StockKey,
};

use super::codec::{Reader, Writer, Wrong};
use crate::cow::CowMap;
use crate::records::{
    AllocationRecord, Cell, DestinationRecord, ItemRecord, KeyRecord, LineRecord, NodeFixed, NodeRecord, OrderRecord,
    Remembered, RememberedOutcome,
};
use crate::recovery::Marks;

/// A record that a snapshot holds.
pub(crate) trait Saved: Sized {
    fn write(&self, to: &mut Writer);
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong>;
}

fn id<T>(parsed: Result<T, Reject>) -> Result<T, Wrong> {
    parsed.map_err(|reject| reject.to_string())
}

pub(super) fn message<T: Message + Default>(bytes: &[u8]) -> Result<T, Wrong> {
    T::decode(bytes).map_err(|error| error.to_string())
}

impl Saved for DestinationRecord {
    fn write(&self, to: &mut Writer) {
        // `feed` follows from the group and the name.
        let Self { name, feed: _, head, acknowledged } = self;
        to.slice(name.as_bytes());
        to.head(*head);
        to.head(*acknowledged);
    }
    /// The group in `feed` is set by the caller, who knows it.
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        let name = from.shared_text()?;
        let feed = Arc::new(FeedId { participant: String::new(), destination: name.to_string(), epoch: 0 });
        Ok(Self { name, feed, head: from.head()?, acknowledged: from.head()? })
    }
}

impl Saved for ItemRecord {
    fn write(&self, to: &mut Writer) {
        // `keys` come back with the stock keys.
        let Self { id, description, weight_grams, keys: _ } = self;
        to.slice(id.as_str().as_bytes());
        to.slice(description.as_bytes());
        to.i64(*weight_grams);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        let item = id(ItemId::new(from.text()?))?;
        Ok(Self { id: item, description: from.shared_text()?, weight_grams: from.i64()?, keys: Vec::new() })
    }
}

impl Saved for NodeRecord {
    fn write(&self, to: &mut Writer) {
        // `direction` is worked out again, and so are `marks`.
        let Self { id, fixed, direction: _, destination, epoch, cursor, marks: _, ranged } = self;
        let NodeFixed { kind, place, legal_entity, costs } = &**fixed;
        to.slice(id.as_str().as_bytes());
        to.u32((*kind).into_number());
        to.slice(&place.encode_to_vec());
        to.slice(legal_entity.as_str().as_bytes());
        to.slice(&costs.encode_to_vec());
        to.u32(*destination);
        to.u64(*epoch);
        to.head(*cursor);
        to.len(ranged.len());
        ranged.iter().for_each(|(item, ())| to.u32(*item));
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        let node = id(NodeId::new(from.text()?))?;
        let kind = NodeKind::from_number(from.u32()?)?;
        let place: Place = message(from.slice()?)?;
        let legal_entity = id(LegalEntity::new(from.text()?))?;
        let costs: NodeCosts = message(from.slice()?)?;
        let fixed = Arc::new(NodeFixed { kind, place, legal_entity, costs });
        let (destination, epoch, cursor) = (from.u32()?, from.u64()?, from.head()?);
        let mut ranged = CowMap::default();
        for _ in 0..from.u64()? {
            ranged.insert(from.u32()?, ());
        }
        Ok(Self {
            id: node,
            fixed,
            direction: Arc::default(),
            destination,
            epoch,
            cursor,
            marks: Marks::default(),
            ranged,
        })
    }
}

/// Enumerations as numbers.
trait Number: Sized {
    fn into_number(self) -> u32;
    fn from_number(number: u32) -> Result<Self, Wrong>;
}

impl Number for NodeKind {
    fn into_number(self) -> u32 {
        // Enumeration numbers are small and positive.
        u32::try_from(i32::from(self)).unwrap_or(0)
    }
    fn from_number(number: u32) -> Result<Self, Wrong> {
        let known = i32::try_from(number).ok().and_then(|number| Self::try_from(number).ok());
        known.ok_or_else(|| format!("{number} is no kind of a node"))
    }
}

impl Saved for KeyRecord {
    fn write(&self, to: &mut Writer) {
        // Sums and the queue come back with the lines.
        let Self { key, item, free_total: _, waiting_total: _, waiting_excluding: _, cells, waiting: _ } = self;
        let StockKey { item: _, grade, owner, shelf_life_class } = key;
        to.u32(*item);
        to.u8(match grade {
            Grade::New => 1,
            Grade::Refurbished => 2,
        });
        to.slice(owner.as_bytes());
        to.slice(shelf_life_class.as_bytes());
        to.len(cells.len());
        for (node, cell) in cells.iter() {
            to.u32(*node);
            cell.write(to);
        }
    }
    /// The item of `key` is set by the caller, who knows its name.
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        let item = from.u32()?;
        let grade = match from.u8()? {
            1 => Grade::New,
            2 => Grade::Refurbished,
            other => return Err(format!("{other} is no grade")),
        };
        let (owner, shelf_life_class) = (from.text()?.to_owned(), from.text()?.to_owned());
        let nameless = id(ItemId::new("unnamed"))?;
        let key = id(StockKey::new(nameless, grade, owner, shelf_life_class))?;
        let (mut cells, mut free_total) = (CowMap::default(), 0);
        for _ in 0..from.u64()? {
            let node = from.u32()?;
            let cell = Cell::read(from)?;
            free_total += cell.free();
            cells.insert(node, cell);
        }
        let waiting = CowMap::default();
        Ok(Self { key, item, free_total, waiting_total: 0, waiting_excluding: 0, cells, waiting })
    }
}

impl Saved for Cell {
    fn write(&self, to: &mut Writer) {
        // `life` stands in a section of its own, for the few cells that are not in their first.
        let Self { granted, returned, shipped, open, held, level, aim, asked, last_open, life: _ } = self;
        for counter in [granted, returned, shipped, open, held, level, aim, asked] {
            to.i64(*counter);
        }
        to.u32(*last_open);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        Ok(Self {
            granted: from.i64()?,
            returned: from.i64()?,
            shipped: from.i64()?,
            open: from.i64()?,
            held: from.i64()?,
            level: from.i64()?,
            aim: from.i64()?,
            asked: from.i64()?,
            last_open: from.u32()?,
            life: 0,
        })
    }
}

impl Saved for OrderRecord {
    fn write(&self, to: &mut Writer) {
        let (order, sourcing) = (self.order(), self.sourcing());
        let Self { id, body: _, order_bytes: _, hash, committed_ms, first_line, lines, open_units, cancels_shortage } =
            self;
        to.slice(id.as_str().as_bytes());
        to.slice(order);
        to.slice(sourcing);
        to.array(hash);
        to.i64(*committed_ms);
        to.u32(*first_line);
        to.u32(*lines);
        to.i64(*open_units);
        to.u8(u8::from(*cancels_shortage));
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        let id = id(OrderId::new(from.text()?))?;
        let (order, sourcing) = (from.slice()?, from.slice()?);
        let (body, order_bytes) = OrderRecord::body_of(order, sourcing);
        Ok(Self {
            id,
            body,
            order_bytes,
            hash: from.array()?,
            committed_ms: from.i64()?,
            first_line: from.u32()?,
            lines: from.u32()?,
            open_units: from.i64()?,
            cancels_shortage: from.flag()?,
        })
    }
}

impl Saved for LineRecord {
    fn write(&self, to: &mut Writer) {
        let Self {
            order,
            line,
            key,
            first_allocation,
            last_allocation,
            ordered,
            cancelled,
            waiting,
            shipped,
            returned,
            excludes,
        } = self;
        for index in [order, line, key, first_allocation, last_allocation] {
            to.u32(*index);
        }
        for units in [ordered, cancelled, waiting, shipped, returned] {
            to.i64(*units);
        }
        to.u8(u8::from(*excludes));
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        Ok(Self {
            order: from.u32()?,
            line: from.u32()?,
            key: from.u32()?,
            first_allocation: from.u32()?,
            last_allocation: from.u32()?,
            ordered: from.i64()?,
            cancelled: from.i64()?,
            waiting: from.i64()?,
            shipped: from.i64()?,
            returned: from.i64()?,
            excludes: from.flag()?,
        })
    }
}

impl Saved for AllocationRecord {
    fn write(&self, to: &mut Writer) {
        let Self {
            id,
            line,
            node,
            next_of_line,
            earlier_in_cell,
            later_in_cell,
            declined,
            quantity,
            shipped,
            cancelled,
            lost,
            requested,
            ask_customer,
            ask_broken,
        } = self;
        let AllocationId { incarnation, log_index, n } = id;
        to.u32(incarnation.0);
        to.u64(*log_index);
        for index in [n, line, node, next_of_line, earlier_in_cell, later_in_cell] {
            to.u32(*index);
        }
        to.u8(u8::from(*declined));
        for units in [quantity, shipped, cancelled, lost, requested, ask_customer, ask_broken] {
            to.i64(*units);
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        Ok(Self {
            id: AllocationId { incarnation: Incarnation(from.u32()?), log_index: from.u64()?, n: from.u32()? },
            line: from.u32()?,
            node: from.u32()?,
            next_of_line: from.u32()?,
            earlier_in_cell: from.u32()?,
            later_in_cell: from.u32()?,
            declined: from.flag()?,
            quantity: from.i64()?,
            shipped: from.i64()?,
            cancelled: from.i64()?,
            lost: from.i64()?,
            requested: from.i64()?,
            ask_customer: from.i64()?,
            ask_broken: from.i64()?,
        })
    }
}

/// A cell `(key, node)` whose shortfall is not worked off.
impl Saved for (u32, u32) {
    fn write(&self, to: &mut Writer) {
        to.u32(self.0);
        to.u32(self.1);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        Ok((from.u32()?, from.u32()?))
    }
}

/// A remembered request with its id.
impl Saved for ([u8; 16], Remembered) {
    fn write(&self, to: &mut Writer) {
        let (id, Remembered { hash, outcome }) = self;
        to.array(id);
        to.array(hash);
        match outcome {
            RememberedOutcome::Refused { reason, message, field } => {
                to.u8(0);
                to.u32(*reason);
                to.slice(message.as_bytes());
                to.slice(field.as_bytes());
            }
            RememberedOutcome::ItemsCreated { created, existing } => {
                to.u8(1);
                to.u32(*created);
                to.u32(*existing);
            }
            RememberedOutcome::NodeRegistered { node } => {
                to.u8(2);
                to.u32(*node);
            }
            RememberedOutcome::ItemsRanged { ranged } => {
                to.u8(3);
                to.u32(*ranged);
            }
            RememberedOutcome::OrderCancelled { order, cancelled, requested } => {
                to.u8(4);
                to.u32(*order);
                to.i64(*cancelled);
                to.i64(*requested);
            }
            RememberedOutcome::PoliciesSet { version } => {
                to.u8(31);
                to.u64(*version);
            }
            RememberedOutcome::NodeRetirement { node } => {
                to.u8(30);
                to.u32(*node);
            }
            RememberedOutcome::RightsRecalled { key, node } => {
                to.u8(5);
                to.u32(*key);
                to.u32(*node);
            }
            RememberedOutcome::ItemsUpdated { updated, created, unchanged } => {
                to.u8(45);
                [updated, created, unchanged].into_iter().for_each(|count| to.u32(*count));
            }
            RememberedOutcome::PurchaseOrder { number } => {
                to.u8(46);
                to.u64(*number);
            }
            RememberedOutcome::Transfer { number, cancelled, requested } => {
                to.u8(47);
                to.u64(*number);
                to.i64(*cancelled);
                to.i64(*requested);
            }
            RememberedOutcome::Refunded { line, number } => {
                to.u8(48);
                to.u32(*line);
                to.u32(*number);
            }
            RememberedOutcome::Authorisation { number } => {
                to.u8(49);
                to.u64(*number);
            }
            RememberedOutcome::ExceptionResolved { number } => {
                to.u8(50);
                to.u64(*number);
            }
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        let (id, hash) = (from.array()?, from.array()?);
        let outcome = match from.u8()? {
            0 => RememberedOutcome::Refused {
                reason: from.u32()?,
                message: from.shared_text()?,
                field: from.shared_text()?,
            },
            1 => RememberedOutcome::ItemsCreated { created: from.u32()?, existing: from.u32()? },
            2 => RememberedOutcome::NodeRegistered { node: from.u32()? },
            3 => RememberedOutcome::ItemsRanged { ranged: from.u32()? },
            4 => {
                RememberedOutcome::OrderCancelled { order: from.u32()?, cancelled: from.i64()?, requested: from.i64()? }
            }
            5 => RememberedOutcome::RightsRecalled { key: from.u32()?, node: from.u32()? },
            30 => RememberedOutcome::NodeRetirement { node: from.u32()? },
            31 => RememberedOutcome::PoliciesSet { version: from.u64()? },
            45 => {
                RememberedOutcome::ItemsUpdated { updated: from.u32()?, created: from.u32()?, unchanged: from.u32()? }
            }
            46 => RememberedOutcome::PurchaseOrder { number: from.u64()? },
            47 => RememberedOutcome::Transfer { number: from.u64()?, cancelled: from.i64()?, requested: from.i64()? },
            48 => RememberedOutcome::Refunded { line: from.u32()?, number: from.u32()? },
            49 => RememberedOutcome::Authorisation { number: from.u64()? },
            50 => RememberedOutcome::ExceptionResolved { number: from.u64()? },
            other => return Err(format!("{other} is no outcome")),
        };
        Ok((id, Remembered { hash, outcome }))
    }
}
