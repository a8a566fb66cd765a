//! Exceptions: those that nodes raise and resolve, those that only the coordinator sees, and a person's word on them.
//! Labour that nodes report is kept here as well: it waits for decisions of a later release.

use std::sync::Arc;

use stockmesh_proto::coordinator::v1::{NodeCapacity, NodeHourCapacity};
use stockmesh_proto::feed::v1::{CapacityReported, ExceptionRaised, ExceptionResolved};
use stockmesh_proto::raft::v1::ResolveException;
use stockmesh_types::{BusinessDate, ExceptionCode, Quantity, Reason, Reject};

use super::{Stop, Tx};
use crate::records::RememberedOutcome;
use crate::supply::{Incident, MAX_DAYS, Subject};

/// What an exception is about: kind of document, its id, line.
type About<'a> = (&'a str, &'a str, u32);

/// Longest text of a node that is kept, in characters.
const MAX_TEXT: usize = 200;
/// A node's resolution names the number of its exception only, not the code.
const BY_NUMBER: u32 = 0;

fn text(given: &str) -> Arc<str> {
    if given.chars().count() <= MAX_TEXT {
        Arc::from(given)
    } else {
        given.chars().take(MAX_TEXT).collect::<String>().into()
    }
}

fn subject(exception_id: &str, (kind, id, line): About<'_>) -> Subject {
    Subject { exception_id: text(exception_id), document_kind: text(kind), document_id: text(id), line }
}

impl Tx<'_> {
    /// Raises an exception of the coordinator's own, once while it is open.
    pub(crate) fn raise_incident(
        &mut self,
        code: ExceptionCode,
        node: &str,
        about: About<'_>,
        key: Option<u32>,
        quantity: Quantity,
        description: String,
    ) {
        let incident = Incident {
            code: code as u32,
            node: Arc::from(node),
            subject: subject("", about),
            stock_key: key.map(|key| (&self.state.keys[key].key).into()),
            quantity,
            description: text(&description),
            raised_ms: self.state.log_time.0,
            resolved_ms: 0,
            resolution: Arc::from(""),
        };
        self.state.supply.incidents.raise(incident);
        self.effects.extend_from_slice(&self.state.supply.incidents.next.to_be_bytes());
    }

    /// Closes an exception of the coordinator's own, if it is open: what was wrong is so no more.
    pub(crate) fn settle_incident(&mut self, code: ExceptionCode, node: &str, about: About<'_>, resolution: &str) {
        let now_ms = self.state.log_time.0;
        let incidents = &mut self.state.supply.incidents;
        if let Some(number) = incidents.open_one(code as u32, node, &subject("", about)) {
            incidents.resolve(number, now_ms, resolution);
            self.effects.extend_from_slice(&number.to_be_bytes());
        }
    }

    pub(super) fn exception_raised(&mut self, node: u32, fact: &ExceptionRaised) {
        let incident = Incident {
            // Numbers are small and positive; one that is neither is kept as not stated.
            code: u32::try_from(fact.code).unwrap_or(0),
            node: Arc::from(self.state.nodes[node].id.as_str()),
            subject: subject(&fact.exception_id, (&fact.document_kind, &fact.document_id, fact.line)),
            stock_key: fact.stock_key.clone(),
            quantity: fact.quantity,
            description: text(&fact.description),
            raised_ms: self.state.log_time.0,
            resolved_ms: 0,
            resolution: Arc::from(""),
        };
        self.state.supply.incidents.raise(incident);
        self.effects.extend_from_slice(&self.state.supply.incidents.next.to_be_bytes());
    }

    pub(super) fn exception_resolved(&mut self, node: u32, fact: &ExceptionResolved) {
        let now_ms = self.state.log_time.0;
        let node = self.state.nodes[node].id.clone();
        let incidents = &mut self.state.supply.incidents;
        let named = Subject::of_node(&text(&fact.exception_id));
        if let Some(number) = incidents.open_one(BY_NUMBER, node.as_str(), &named) {
            incidents.resolve(number, now_ms, &text(&fact.resolution));
            self.effects.extend_from_slice(&number.to_be_bytes());
        }
    }

    /// A person closes an exception. Those of nodes are closed at the node, which knows what was done.
    pub(super) fn resolve_exception(&mut self, command: &ResolveException) -> Result<RememberedOutcome, Stop> {
        let ResolveException { exception_number: number, resolution } = command;
        let incidents = &self.state.supply.incidents;
        let Some(known) = incidents.get(*number).filter(|known| known.resolved_ms == 0) else {
            let message = format!("there is no open exception {number}");
            return Err(Reject::new(Reason::UnknownException, message).field("exception_number").into());
        };
        if !known.subject.exception_id.is_empty() {
            let message = format!(
                "exception {number} is {} of node {}: resolve it there",
                known.subject.exception_id, known.node
            );
            return Err(Reject::new(Reason::NotForPeople, message).field("exception_number").into());
        }
        let now_ms = self.state.log_time.0;
        self.state.supply.incidents.resolve(*number, now_ms, &text(resolution));
        self.effects.extend_from_slice(&number.to_be_bytes());
        Ok(RememberedOutcome::ExceptionResolved { number: *number })
    }

    /// The latest report of a day counts; of each node the latest days are kept.
    pub(super) fn capacity_reported(&mut self, node: u32, fact: &CapacityReported) {
        // A day that can't be is passed over: no decision could use it.
        let Ok(day) = BusinessDate::parse(&fact.date).map(BusinessDate::days) else { return };
        let hours = fact.hours.iter().take(24).map(|hour| NodeHourCapacity {
            hour: hour.hour,
            capacity_units: hour.capacity_units,
            planned_units: hour.planned_units,
        });
        let capacity = NodeCapacity {
            node: self.state.nodes[node].id.to_string(),
            date: fact.date.clone(),
            capacity_units: fact.day_capacity_units,
            planned_units: fact.day_planned_units,
            hours: hours.collect(),
        };
        self.state.supply.capacities.insert((node, day), Arc::new(capacity));
        while self.state.supply.capacities_of(node).count() > MAX_DAYS {
            let Some(oldest) = self.state.supply.capacities_of(node).next().map(|(at, _)| *at) else { break };
            self.state.supply.capacities.remove(&oldest);
        }
        for number in [i64::from(node), day, fact.day_capacity_units, fact.day_planned_units] {
            self.effects.extend_from_slice(&number.to_be_bytes());
        }
    }
}
