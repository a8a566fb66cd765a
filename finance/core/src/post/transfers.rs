//! Transfers: goods leave one node, are in transit, and arrive at another, at the value with which they left.
//!
//! A receipt books the units of its line of the transfer behind those that were booked before, in the order in which they left:
//! so which units it books does not depend on how the two nodes' feeds interleave. What is declared missing is lost by the
//! entity that sent it.

use stockmesh_proto::feed::v1::{TransferReceived, TransferReceivedLine, TransferShipped};
use stockmesh_types::quantity::positive;
use stockmesh_types::{NodeId, OrderId, Reason, Reject, StockKey};

use super::shipments::{Leave, Leaving};
use super::{Incoming, Posted, Stop, Wait, fingerprint, node_key, own_key, units};
use crate::books::{Books, Stamp};
use crate::passages::segments_of;
use crate::records::{
    CellKey, Expense, Node, Passage, PassageId, PassageKind, PassagePart, Records, Stage, Supply, TransitId,
    passage_key, transit_key,
};
use crate::rules::TRANSFER_SHIPPED;

/// What receipts wait for that came before the shipment of their goods.
fn transit_wait(id: &TransitId) -> String {
    format!("transit:{id}")
}

/// One line of a receipt, checked.
struct Line {
    number: u32,
    stock_key: StockKey,
    /// Arrived, in order or damaged.
    arrived: i64,
    short: i64,
    /// Units of the transfer's line that were booked before.
    before: i64,
}

impl<R: Records> Books<R> {
    pub(super) fn transfer_shipped(&mut self, incoming: &Incoming<'_>, fact: &TransferShipped) -> Posted<(), R> {
        let (node, record) = self.writer(incoming)?;
        let id = OrderId::new(&fact.shipment_id)?;
        let document = format!("shipment:{node}:{id}");
        if !self.is_new_document(&document, fact)? {
            return Ok(());
        }
        let stamp = incoming.stamp()?;
        let transfer = OrderId::new(&fact.transfer_id)?;
        let lane = format!("{node}-to-{}", NodeId::new(&fact.destination_node)?);
        let line = |(n, line): (usize, &stockmesh_proto::feed::v1::TransferLine)| {
            Ok(Leaving {
                id: format!("{document}:{n}"),
                stock_key: own_key(&line.stock_key, &format!("lines[{n}].stock_key"))?,
                quantity: positive(line.quantity, &format!("lines[{n}].quantity"))?,
            })
        };
        let leaving = fact.lines.iter().enumerate().map(line).collect::<Result<Vec<_>, Reject>>()?;
        let about = format!("shipment {id} from {node} to {}, transfer {transfer}", fact.destination_node);
        let leave =
            Leave { rule: &TRANSFER_SHIPPED, expense: Expense::InTransit, channel: "", lane: &lane, about: &about };
        self.leave(&leave, &node, &record.entity, "", &leaving, &stamp)?;
        for (line, leaving) in fact.lines.iter().zip(leaving) {
            let key = transit_key(&node, transfer.as_str(), line.line);
            let mut transit = self.transit(&key)?;
            transit.lane.clone_from(&lane);
            transit.supplies.push(Supply { issue: leaving.id, quantity: leaving.quantity, returned: 0 });
            self.known.push_back(transit_wait(&key));
            self.put_transit(key, transit);
        }
        self.put_document(document, fingerprint(fact));
        Ok(())
    }

    pub(super) fn transfer_received(
        &mut self,
        incoming: &Incoming<'_>,
        fact: &TransferReceived,
        stage: Stage,
    ) -> Posted<(), R> {
        let (node, record) = self.writer(incoming)?;
        let id = OrderId::new(&fact.receipt_id)?;
        let document = format!("receipt:{node}:{id}");
        if stage == Stage::Whole && !self.is_new_document(&document, fact)? {
            return Ok(());
        }
        let stamp = incoming.stamp()?;
        let source = NodeId::new(&fact.source_node)?;
        let transfer = OrderId::new(&fact.transfer_id)?;
        let lines = fact.lines.iter().enumerate().map(checked).collect::<Result<Vec<_>, Reject>>()?;
        if lines.is_empty() {
            return Err(Reject::new(Reason::MissingField, "the receipt has no lines").field("lines").into());
        }
        let key = |n| passage_key("transfer", node.as_str(), id.as_str(), n);
        if stage == Stage::Whole {
            for (n, line) in lines.iter().enumerate() {
                self.book_arrival(key(n), &node, &record, &source, line, &stamp)?;
            }
            self.put_document(document, fingerprint(fact));
        }
        let mut waits = None;
        for (n, line) in lines.iter().enumerate() {
            match self.transfer_origin(&key(n), &source, &transfer, line, &stamp) {
                Err(Stop::Wait(wait)) => waits = waits.or(Some(wait)),
                done => done?,
            }
        }
        waits.map_or(Ok(()), |wait| Err(Stop::Wait(wait)))
    }

    /// Takes the units of a line in, at a value that is not known yet.
    fn book_arrival(
        &mut self,
        id: PassageId,
        node: &NodeId,
        record: &Node,
        source: &NodeId,
        line: &Line,
        stamp: &Stamp,
    ) -> Posted<(), R> {
        let Line { stock_key, arrived, short, .. } = line;
        let cell = CellKey { node: node.clone(), stock_key: stock_key.clone() };
        let part = |from, to, layer| PassagePart { stock_key: stock_key.clone(), from, to, layer, value_minor: 0 };
        let mut parts = Vec::new();
        if *arrived > 0 {
            let layer = self.arrive_units(&cell, *arrived, &record.entity, stamp)?;
            parts.push(part(0, *arrived, Some(layer)));
        }
        if *short > 0 {
            parts.push(part(*arrived, arrived + short, None));
        }
        let passage = Passage {
            kind: PassageKind::Transfer,
            node: node.clone(),
            entity: record.entity.clone(),
            source_node: source.clone(),
            source_entity: record.entity.clone(),
            lane: format!("{source}-to-{node}"),
            channel: String::new(),
            order_id: String::new(),
            segments: Vec::new(),
            whole: arrived + short,
            parts,
            costed: false,
            value_minor: 0,
            settled: false,
        };
        self.put_passage(id, passage);
        Ok(())
    }

    /// Finds the units that left, and posts what they are worth.
    fn transfer_origin(
        &mut self,
        id: &PassageId,
        source: &NodeId,
        transfer: &OrderId,
        line: &Line,
        stamp: &Stamp,
    ) -> Posted<(), R> {
        let mut passage = self.known_passage(id)?;
        if passage.segments.is_empty() {
            let Some(sender) = self.node(source)? else {
                let message = format!("waits until the coordinator has registered node {source} with its legal entity");
                return Err(Wait::partner(Stage::Passage, "NODE_NOT_REGISTERED", node_key(source), message).into());
            };
            let key = transit_key(source, transfer.as_str(), line.number);
            let mut transit = self.transit(&key)?;
            let left: i64 = transit.supplies.iter().map(|supply| supply.quantity).sum();
            let booked = line.before + passage.whole;
            if booked > left {
                let message = format!(
                    "{} of transfer {transfer}, line {} booked in all, and {left} left {source} so far: waits for the rest",
                    units(booked),
                    line.number
                );
                return Err(Wait::partner(Stage::Passage, "SHIPMENT_NOT_KNOWN", transit_wait(&key), message).into());
            }
            passage.segments = segments_of(&transit.supplies, line.before, booked);
            passage.source_entity = sender.entity;
            self.put_passage(id.clone(), passage);
            transit.booked = transit.booked.max(booked);
            self.put_transit(key, transit);
        }
        self.cost_passage(id, stamp)
    }
}

fn checked((n, line): (usize, &TransferReceivedLine)) -> Result<Line, Reject> {
    let field = |part: &str| format!("lines[{n}].{part}");
    let TransferReceivedLine { quantity, damaged, short, received_total, damaged_total, short_total, .. } = line;
    let counts = [quantity, damaged, short, received_total, damaged_total, short_total];
    if counts.iter().any(|count| **count < 0 || **count > stockmesh_types::quantity::MAX_QUANTITY) {
        return Err(Reject::new(Reason::InvalidValue, "a quantity is negative or too large").field(field("quantity")));
    }
    let (arrived, booked) = (quantity + damaged, quantity + damaged + short);
    positive(booked, &field("quantity"))?;
    let before = received_total + damaged_total + short_total - booked;
    if before < 0 {
        let message = format!("{} booked, and fewer in all", units(booked));
        return Err(Reject::new(Reason::InvalidValue, message).field(field("received_total")));
    }
    Ok(Line {
        number: line.line,
        stock_key: own_key(&line.stock_key, &field("stock_key"))?,
        arrived,
        short: *short,
        before,
    })
}
