//! `AuthoriseReturn`, `CancelReturnAuthorisation`, and what comes back under an authorisation.

use stockmesh_proto::convert::required;
use stockmesh_proto::coordinator::v1::{ReturnAuthorisation, ReturnAuthorisationState};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AuthorisedLine, ReturnAuthorisationClosed, ReturnAuthorised};
use stockmesh_proto::raft::v1::{AuthoriseReturn, CancelReturnAuthorisation};
use stockmesh_types::{Quantity, Reason, Reject};

use super::{Stop, Tx};
use crate::records::RememberedOutcome;
use crate::validate::check_authorisation;

impl Tx<'_> {
    pub(super) fn authorise_return(&mut self, command: &AuthoriseReturn) -> Result<RememberedOutcome, Stop> {
        let given = required(&command.authorisation, "authorisation")?;
        check_authorisation(given).map_err(|reject| reject.within("authorisation"))?;
        let known = self.state.supply.authorisations.check_new(&given.authorisation_id);
        known.map_err(|reject| reject.within("authorisation"))?;
        let order = self.state.order_index.get(&given.order_id).ok_or_else(|| {
            Reject::new(Reason::UnknownOrder, format!("there is no order {:?}", given.order_id))
                .field("authorisation.order_id")
        })?;
        let node = match given.node.as_str() {
            "" => None,
            name => Some(self.state.known_node(name, "authorisation.node")?),
        };
        let mut told = Vec::with_capacity(given.lines.len());
        for (n, line) in given.lines.iter().enumerate() {
            let at = |field: &str| format!("authorisation.lines[{n}].{field}");
            let index = self.state.line_index(&self.state.orders[order], line.line).ok_or_else(|| {
                let message = format!("order {} has no line {}", given.order_id, line.line);
                Reject::new(Reason::UnknownOrderLine, message).field(at("line"))
            })?;
            let record = &self.state.lines[index];
            let authorised = self.authorised(order, line.line);
            let left = record.shipped - record.returned.min(record.shipped) - authorised;
            if line.quantity > left {
                let message = format!(
                    "{} units of line {} were shipped, {} came back, and {authorised} more are authorised to",
                    record.shipped, line.line, record.returned
                );
                return Err(Reject::new(Reason::ExceedsReturnable, message).field(at("quantity")).into());
            }
            let stock_key = Some((&self.state.keys[record.key].key).into());
            told.push(AuthorisedLine { line: line.line, stock_key, quantity: line.quantity });
        }
        let mut authorisation = ReturnAuthorisation {
            state: ReturnAuthorisationState::Open.into(),
            created_time_ms: self.state.log_time.0,
            closed_time_ms: 0,
            ..given.clone()
        };
        authorisation.lines.iter_mut().for_each(|line| line.received = 0);
        let number = self.next_document();
        for part in &authorisation.lines {
            self.change_authorised(order, part.line, part.quantity);
        }
        self.put_authorisation(number, authorisation);
        if let Some(node) = node {
            let fact = ReturnAuthorised {
                authorisation_id: given.authorisation_id.clone(),
                order_id: given.order_id.clone(),
                lines: told,
                valid_until: given.valid_until.clone(),
            };
            let destination = self.state.nodes[node].destination;
            self.emit(destination, Fact::ReturnAuthorised(fact));
        }
        Ok(RememberedOutcome::Authorisation { number })
    }

    pub(super) fn cancel_return_authorisation(
        &mut self,
        command: &CancelReturnAuthorisation,
    ) -> Result<RememberedOutcome, Stop> {
        let id = &command.authorisation_id;
        let (number, known) = self.state.supply.authorisations.known(id)?;
        if known.closed_time_ms != 0 {
            let message = format!("return authorisation {id} is received or cancelled");
            return Err(Reject::new(Reason::AuthorisationEnded, message).field("authorisation_id").into());
        }
        let mut authorisation = known.clone();
        authorisation.state = ReturnAuthorisationState::Cancelled.into();
        self.end_authorisation(number, authorisation)?;
        Ok(RememberedOutcome::Authorisation { number })
    }

    /// Goods came back under an authorisation.
    pub(super) fn returned_under(&mut self, authorisation_id: &str, line: u32, quantity: Quantity) -> Result<(), Stop> {
        let authorisations = &self.state.supply.authorisations;
        let known = authorisations.number(authorisation_id);
        let Some((number, known)) = known.and_then(|number| Some((number, authorisations.get(number)?))) else {
            return Ok(());
        };
        let mut authorisation = known.clone();
        let Some(part) = authorisation.lines.iter_mut().find(|part| part.line == line) else { return Ok(()) };
        let before = part.received.min(part.quantity);
        part.received = part.received.saturating_add(quantity);
        let used = part.received.min(part.quantity) - before;
        if authorisation.closed_time_ms != 0 {
            self.put_authorisation(number, authorisation);
            return Ok(());
        }
        if let Some(order) = self.state.order_index.get(&authorisation.order_id) {
            self.change_authorised(order, line, -used);
        }
        if authorisation.lines.iter().all(|part| part.received >= part.quantity) {
            authorisation.state = ReturnAuthorisationState::Received.into();
            return self.end_authorisation(number, authorisation);
        }
        self.put_authorisation(number, authorisation);
        Ok(())
    }

    fn end_authorisation(&mut self, number: u64, mut authorisation: ReturnAuthorisation) -> Result<(), Stop> {
        authorisation.closed_time_ms = self.state.log_time.0.max(1);
        if let Some(order) = self.state.order_index.get(&authorisation.order_id) {
            for part in &authorisation.lines {
                self.change_authorised(order, part.line, -(part.quantity - part.received).max(0));
            }
        }
        let (node, authorisation_id) = (authorisation.node.clone(), authorisation.authorisation_id.clone());
        self.put_authorisation(number, authorisation);
        if !node.is_empty() {
            let node = self.state.known_node(&node, "node")?;
            let destination = self.state.nodes[node].destination;
            let fact = ReturnAuthorisationClosed { authorisation_id };
            self.emit(destination, Fact::ReturnAuthorisationClosed(fact));
        }
        Ok(())
    }

    fn put_authorisation(&mut self, number: u64, authorisation: ReturnAuthorisation) {
        self.effects.extend_from_slice(&number.to_be_bytes());
        self.effects.extend_from_slice(&authorisation.state.to_be_bytes());
        self.state.supply.authorisations.put(number, authorisation);
    }

    /// Units of an order line that open authorisations let come back.
    fn authorised(&self, order: u32, line: u32) -> Quantity {
        let index = self.state.line_index(&self.state.orders[order], line);
        index.and_then(|index| self.state.supply.authorised.get(&index).copied()).unwrap_or(0)
    }

    fn change_authorised(&mut self, order: u32, line: u32, change: Quantity) {
        if let Some(index) = self.state.line_index(&self.state.orders[order], line) {
            self.state.supply.change_authorised(index, change);
        }
    }
}
