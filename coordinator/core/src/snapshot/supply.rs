//! Supply, documents, refunds, attributes, exceptions: one section of tagged records after those of the first format. A
//! snapshot of a group that has none of them has no such section, and is byte for byte one of the first format.

use std::sync::Arc;

use prost::Message;
use stockmesh_proto::common::v1::{ItemAttributes, StockKey};
use stockmesh_proto::coordinator::v1::{NodeCapacity, PurchaseOrder, Refund, ReturnAuthorisation, Transfer};
use stockmesh_types::Quantity;

use super::codec::{Reader, Writer, Wrong};
use super::records::{Saved, message};
use crate::State;
use crate::apply::line_day;
use crate::supply::{Details, Document, Incident, LineRefunds, Subject, SupplyRow, day_of};

/// One record, by its tag.
pub(super) enum SupplyRecord {
    /// Counters of documents and exceptions.
    Counters {
        next_document: u64,
        next_incident: u64,
        forgotten: u64,
    },
    PurchaseOrder(u64, PurchaseOrder),
    Transfer(u64, Transfer),
    Authorisation(u64, ReturnAuthorisation),
    TransferOrder {
        order: u32,
        transfer: u64,
    },
    Day {
        day: i64,
        document: u64,
    },
    Due {
        key: u32,
        node: u32,
        units: Quantity,
    },
    Refunds(u32, LineRefunds),
    OwnRefund {
        name: Arc<str>,
        line: u32,
    },
    Capacity {
        node: u32,
        day: i64,
        capacity: NodeCapacity,
    },
    Details(u32, Details),
    ToTell {
        item: u32,
        node: u32,
    },
    Incident(u64, Incident),
}

/// Everything of a state, in a stated order.
pub(super) fn records(state: &State) -> impl Iterator<Item = SupplyRecord> + '_ {
    let supply = &state.supply;
    let counters = SupplyRecord::Counters {
        next_document: supply.next_document,
        next_incident: supply.incidents.next,
        forgotten: supply.incidents.forgotten,
    };
    let used = supply.next_document > 0 || !supply.incidents.is_empty();
    let of_document = |(number, order): (u64, &PurchaseOrder)| SupplyRecord::PurchaseOrder(number, order.clone());
    used.then_some(counters)
        .into_iter()
        .chain(supply.purchase_orders.iter_from(0).map(of_document))
        .chain(supply.transfers.iter_from(0).map(|(number, of)| SupplyRecord::Transfer(number, of.clone())))
        .chain(supply.authorisations.iter_from(0).map(|(number, of)| SupplyRecord::Authorisation(number, of.clone())))
        .chain(
            supply
                .transfer_orders
                .iter()
                .map(|(order, transfer)| SupplyRecord::TransferOrder { order: *order, transfer: *transfer }),
        )
        .chain(supply.days.iter().map(|((day, document), ())| SupplyRecord::Day { day: *day, document: *document }))
        .chain(supply.due.iter().map(|((key, node), units)| SupplyRecord::Due {
            key: *key,
            node: *node,
            units: *units,
        }))
        .chain(supply.refunds.iter().map(|(line, refunds)| SupplyRecord::Refunds(*line, (**refunds).clone())))
        .chain(
            supply.own_refunds.iter().map(|(name, line)| SupplyRecord::OwnRefund { name: name.clone(), line: *line }),
        )
        .chain(supply.capacities.iter().map(|((node, day), capacity)| SupplyRecord::Capacity {
            node: *node,
            day: *day,
            capacity: (**capacity).clone(),
        }))
        .chain(supply.items.iter().map(|(item, details)| SupplyRecord::Details(*item, (**details).clone())))
        .chain(supply.items.to_tell.iter().map(|(item, node)| SupplyRecord::ToTell { item: *item, node: *node }))
        .chain(supply.incidents.iter_from(0).map(|(number, incident)| SupplyRecord::Incident(number, incident.clone())))
}

impl Saved for SupplyRecord {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Counters { next_document, next_incident, forgotten } => {
                to.u8(0);
                to.u64(*next_document);
                to.u64(*next_incident);
                to.u64(*forgotten);
            }
            Self::PurchaseOrder(number, order) => numbered(to, 1, *number, order),
            Self::Transfer(number, transfer) => numbered(to, 2, *number, transfer),
            Self::Authorisation(number, authorisation) => numbered(to, 3, *number, authorisation),
            Self::TransferOrder { order, transfer } => {
                to.u8(4);
                to.u32(*order);
                to.u64(*transfer);
            }
            Self::Day { day, document } => {
                to.u8(5);
                to.i64(*day);
                to.u64(*document);
            }
            Self::Due { key, node, units } => {
                to.u8(6);
                to.u32(*key);
                to.u32(*node);
                to.i64(*units);
            }
            Self::Refunds(line, LineRefunds { with_return, without_return, minor, refunds }) => {
                to.u8(7);
                to.u32(*line);
                to.i64(*with_return);
                to.i64(*without_return);
                to.i64(*minor);
                to.len(refunds.len());
                refunds.iter().for_each(|refund| to.slice(&refund.encode_to_vec()));
            }
            Self::OwnRefund { name, line } => {
                to.u8(8);
                to.slice(name.as_bytes());
                to.u32(*line);
            }
            Self::Capacity { node, day, capacity } => {
                to.u8(9);
                to.u32(*node);
                to.i64(*day);
                to.slice(&capacity.encode_to_vec());
            }
            Self::Details(item, Details { version, attributes }) => {
                to.u8(10);
                to.u32(*item);
                to.u64(*version);
                optional(to, attributes.as_ref());
            }
            Self::ToTell { item, node } => {
                to.u8(11);
                to.u32(*item);
                to.u32(*node);
            }
            Self::Incident(number, incident) => {
                to.u8(12);
                to.u64(*number);
                write_incident(to, incident);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        Ok(match from.u8()? {
            0 => Self::Counters { next_document: from.u64()?, next_incident: from.u64()?, forgotten: from.u64()? },
            1 => Self::PurchaseOrder(from.u64()?, message(from.slice()?)?),
            2 => Self::Transfer(from.u64()?, message(from.slice()?)?),
            3 => Self::Authorisation(from.u64()?, message(from.slice()?)?),
            4 => Self::TransferOrder { order: from.u32()?, transfer: from.u64()? },
            5 => Self::Day { day: from.i64()?, document: from.u64()? },
            6 => Self::Due { key: from.u32()?, node: from.u32()?, units: from.i64()? },
            7 => {
                let line = from.u32()?;
                let (with_return, without_return, minor) = (from.i64()?, from.i64()?, from.i64()?);
                let refunds = (0..from.u64()?).map(|_| message::<Refund>(from.slice()?)).collect::<Result<_, _>>()?;
                Self::Refunds(line, LineRefunds { with_return, without_return, minor, refunds })
            }
            8 => Self::OwnRefund { name: from.shared_text()?, line: from.u32()? },
            9 => Self::Capacity { node: from.u32()?, day: from.i64()?, capacity: message(from.slice()?)? },
            10 => {
                let (item, version) = (from.u32()?, from.u64()?);
                let attributes: Option<ItemAttributes> = read_optional(from)?;
                Self::Details(item, Details { version, attributes })
            }
            11 => Self::ToTell { item: from.u32()?, node: from.u32()? },
            12 => Self::Incident(from.u64()?, read_incident(from)?),
            other => return Err(format!("{other} is no tag of supply")),
        })
    }
}

fn numbered(to: &mut Writer, tag: u8, number: u64, document: &impl Message) {
    to.u8(tag);
    to.u64(number);
    to.slice(&document.encode_to_vec());
}

fn optional(to: &mut Writer, value: Option<&impl Message>) {
    to.u8(u8::from(value.is_some()));
    if let Some(value) = value {
        to.slice(&value.encode_to_vec());
    }
}

fn read_optional<T: Message + Default>(from: &mut Reader<'_>) -> Result<Option<T>, Wrong> {
    if from.flag()? { message(from.slice()?).map(Some) } else { Ok(None) }
}

fn write_incident(to: &mut Writer, incident: &Incident) {
    let Incident { code, node, subject, stock_key, quantity, description, raised_ms, resolved_ms, resolution } =
        incident;
    let Subject { exception_id, document_kind, document_id, line } = subject;
    to.u32(*code);
    for text in [node, exception_id, document_kind, document_id, description, resolution] {
        to.slice(text.as_bytes());
    }
    to.u32(*line);
    optional(to, stock_key.as_ref());
    for number in [quantity, raised_ms, resolved_ms] {
        to.i64(*number);
    }
}

fn read_incident(from: &mut Reader<'_>) -> Result<Incident, Wrong> {
    let code = from.u32()?;
    let node = from.shared_text()?;
    let (exception_id, document_kind, document_id) = (from.shared_text()?, from.shared_text()?, from.shared_text()?);
    let (description, resolution) = (from.shared_text()?, from.shared_text()?);
    let subject = Subject { exception_id, document_kind, document_id, line: from.u32()? };
    let stock_key: Option<StockKey> = read_optional(from)?;
    Ok(Incident {
        code,
        node,
        subject,
        stock_key,
        description,
        resolution,
        quantity: from.i64()?,
        raised_ms: from.i64()?,
        resolved_ms: from.i64()?,
    })
}

impl State {
    /// Keeps one record. `None`: it names one that there is not.
    pub(super) fn restore_supply(&mut self, record: SupplyRecord) -> Option<()> {
        let supply = &mut self.supply;
        match record {
            SupplyRecord::Counters { next_document, next_incident, forgotten } => {
                supply.next_document = next_document;
                supply.incidents.next = next_incident;
                supply.incidents.forgotten = forgotten;
            }
            SupplyRecord::PurchaseOrder(number, order) => supply.purchase_orders.put(number, order),
            SupplyRecord::Transfer(number, transfer) => supply.transfers.put(number, transfer),
            SupplyRecord::Authorisation(number, authorisation) => supply.authorisations.put(number, authorisation),
            SupplyRecord::TransferOrder { order, transfer } => {
                self.orders.get(order)?;
                supply.stand_for(order, transfer);
            }
            SupplyRecord::Day { day, document } => {
                supply.days.insert((day, document), ());
            }
            SupplyRecord::Due { key, node, units } => {
                self.keys.get(key)?;
                self.nodes.get(node)?;
                supply.due.insert((key, node), units);
            }
            SupplyRecord::Refunds(line, refunds) => {
                self.lines.get(line)?;
                supply.refunds.insert(line, Arc::new(refunds));
            }
            SupplyRecord::OwnRefund { name, line } => {
                supply.own_refunds.insert(name, line);
            }
            SupplyRecord::Capacity { node, day, capacity } => {
                self.nodes.get(node)?;
                supply.capacities.insert((node, day), Arc::new(capacity));
            }
            SupplyRecord::Details(item, details) => {
                self.items.get(item)?;
                supply.items.set(item, details);
            }
            SupplyRecord::ToTell { item, node } => {
                self.items.get(item)?;
                supply.items.to_tell.insert(item, node);
            }
            SupplyRecord::Incident(number, incident) => supply.incidents.put(number, incident),
        }
        Some(())
    }

    /// Works out what was not written: dated supplies and the claims on them, and what open authorisations let come back.
    pub(super) fn work_out_supply(&mut self) {
        let mut rows = Vec::new();
        for (number, order) in self.supply.purchase_orders.iter_from(0).filter(|(_, order)| order.ended_ms() == 0) {
            let Some(node) = self.node_index.get(&order.node) else { continue };
            for line in &order.lines {
                let key = line.stock_key.as_ref().and_then(|key| self.wire_key_index(key));
                let remaining = line.quantity - line.received;
                if let Some(key) = key.filter(|_| remaining > 0) {
                    let row = SupplyRow { node, transfer: false, remaining, claimed: 0 };
                    rows.push(((key, line_day(order, line), number, line.line), row));
                }
            }
        }
        for (number, transfer) in self.supply.transfers.iter_from(0) {
            let Some(node) = self.node_index.get(&transfer.destination_node) else { continue };
            for line in &transfer.lines {
                let key = line.stock_key.as_ref().and_then(|key| self.wire_key_index(key));
                let remaining = line.shipped - line.received - line.damaged - line.short;
                if let Some(key) = key.filter(|_| remaining > 0) {
                    let row = SupplyRow { node, transfer: true, remaining, claimed: 0 };
                    rows.push(((key, day_of(&transfer.expected_date), number, line.line), row));
                }
            }
        }
        for (at, row) in rows {
            self.supply.supplies.insert(at, row);
        }
        self.fill_claims();
        let mut authorised = Vec::new();
        for (_, of) in self.supply.authorisations.iter_from(0).filter(|(_, of)| of.ended_ms() == 0) {
            let order = self.order_index.get(&of.order_id).map(|order| &self.orders[order]);
            for part in &of.lines {
                let line = order.and_then(|order| self.line_index(order, part.line));
                authorised.extend(line.map(|line| (line, (part.quantity - part.received).max(0))));
            }
        }
        for (line, units) in authorised {
            self.supply.change_authorised(line, units);
        }
    }
}
