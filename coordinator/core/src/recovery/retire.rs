//! `RetireNode`: a node is given up as lost, and what it owes is sourced elsewhere. Two people each time.
//!
//! The approval fences the node in O(1). Its units are reserved elsewhere at once, and leave from there only when the node
//! has cancelled them, or when two people signed that they may ship twice.

use stockmesh_proto::coordinator::v1 as api;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{DuplicatesAccepted, NodeRetired};
use stockmesh_proto::raft::v1::{RetireNode, RetirementStep};
use stockmesh_types::{Quantity, Reason, Reject};

use super::{Retirement, Standing, Work};
use crate::State;
use crate::answer::Notice;
use crate::apply::{Stop, Tx};
use crate::records::{NONE, RememberedOutcome};
use crate::rights::Cancelled;

/// Characters of a reason or a person's name.
const MAX_TEXT: usize = 200;

fn text(text: &str, field: &str) -> Result<(), Reject> {
    if text.trim().is_empty() {
        return Err(Reject::new(Reason::MissingField, format!("{field} is missing")).field(field));
    }
    if text.chars().count() > MAX_TEXT {
        let message = format!("{field} is longer than {MAX_TEXT} characters");
        return Err(Reject::new(Reason::TextTooLong, message).field(field));
    }
    Ok(())
}

fn two_people(first: &str, second: &str) -> Result<(), Reject> {
    if first != second {
        return Ok(());
    }
    let message = format!("{first} asked for this before: it takes a second person");
    Err(Reject::new(Reason::SamePerson, message).field("person"))
}

impl Tx<'_> {
    pub(crate) fn retire_node(&mut self, command: &RetireNode) -> Result<RememberedOutcome, Stop> {
        let RetireNode { node, person, step, reason } = command;
        let node = self.state.known_node(node, "node")?;
        text(person, "person")?;
        match RetirementStep::try_from(*step).unwrap_or(RetirementStep::Unspecified) {
            RetirementStep::Propose => self.propose_retirement(node, person, reason)?,
            RetirementStep::Approve => self.approve_retirement(node, person)?,
            RetirementStep::AcceptDuplicates => self.accept_duplicates(node, person)?,
            RetirementStep::Reinstate => self.reinstate(node)?,
            RetirementStep::Unspecified => {
                return Err(Reject::new(Reason::UnspecifiedEnum, "step is missing").field("step").into());
            }
        }
        self.effects.extend_from_slice(person.as_bytes());
        Ok(RememberedOutcome::NodeRetirement { node })
    }

    fn name(&self, node: u32) -> String {
        self.state.nodes[node].id.to_string()
    }

    fn propose_retirement(&mut self, node: u32, person: &str, reason: &str) -> Result<(), Reject> {
        text(reason, "reason")?;
        if self.state.recovery.standing(node) == Standing::Lost {
            let message = format!("node {} was given up as lost already", self.name(node));
            return Err(Reject::new(Reason::NodeLost, message).field("node"));
        }
        let retirement =
            Retirement { reason: reason.to_owned(), proposed_by: person.to_owned(), ..Retirement::default() };
        self.state.recovery.of(node).retirement = Some(retirement);
        Ok(())
    }

    fn approve_retirement(&mut self, node: u32, person: &str) -> Result<(), Reject> {
        let name = self.name(node);
        let proposed = self.state.recovery.nodes.get(&node).and_then(|rights| rights.retirement.clone());
        let Some(proposed) = proposed.filter(|retirement| retirement.approved_by.is_empty()) else {
            let message = format!("nobody proposed to give node {name} up, or it was approved already");
            return Err(Reject::new(Reason::NotProposed, message).field("node"));
        };
        two_people(&proposed.proposed_by, person)?;
        self.check_recoveries(node)?;
        // No recovery of the node's own began this epoch: no Welcome can be asked for it.
        self.begin_epoch(node, [0; 16], 0, Standing::Lost);
        let retirement = Retirement { approved_by: person.to_owned(), ..proposed.clone() };
        self.state.recovery.of(node).retirement = Some(retirement);
        self.state.recovery.queue(Work::Retire { node, next_key: 0 });
        let fact = NodeRetired {
            node: name,
            epoch: self.state.nodes[node].epoch,
            reason: proposed.reason,
            proposed_by: proposed.proposed_by,
            approved_by: person.to_owned(),
        };
        self.emit_finance(&Fact::NodeRetired(fact));
        Ok(())
    }

    fn accept_duplicates(&mut self, node: u32, person: &str) -> Result<(), Reject> {
        let name = self.name(node);
        let retirement = self.state.recovery.nodes.get(&node).and_then(|rights| rights.retirement.clone());
        let lost = self.state.recovery.standing(node) == Standing::Lost;
        let Some(mut retirement) = retirement.filter(|_| lost) else {
            let message = format!("node {name} was not given up as lost: its own word is waited for");
            return Err(Reject::new(Reason::NotProposed, message).field("node"));
        };
        if !retirement.duplicates_accepted_by.is_empty() {
            return Ok(());
        }
        if retirement.duplicates_proposed_by.is_empty() {
            retirement.duplicates_proposed_by = person.to_owned();
            self.state.recovery.of(node).retirement = Some(retirement);
            return Ok(());
        }
        two_people(&retirement.duplicates_proposed_by, person)?;
        retirement.duplicates_accepted_by = person.to_owned();
        let fact = DuplicatesAccepted {
            node: name,
            proposed_by: retirement.duplicates_proposed_by.clone(),
            accepted_by: person.to_owned(),
        };
        let rights = self.state.recovery.of(node);
        rights.retirement = Some(retirement);
        rights.signed = true;
        // Behind the work of the retirement itself, which asks for every unit first.
        self.state.recovery.queue(Work::Sign { node, next_key: 0 });
        self.emit_finance(&Fact::DuplicatesAccepted(fact));
        Ok(())
    }

    fn reinstate(&mut self, node: u32) -> Result<(), Reject> {
        if self.state.recovery.standing(node) != Standing::Lost {
            let message = format!("node {} was not given up as lost", self.name(node));
            return Err(Reject::new(Reason::NotProposed, message).field("node"));
        }
        let busy = self.state.recovery.works.iter().any(|(_, work)| match work {
            Work::Retire { node: of, .. } | Work::Sign { node: of, .. } => *of == node,
            Work::Reopen { .. } | Work::Raise { .. } | Work::Announce { .. } => false,
        });
        if busy {
            let message = format!("the retirement of node {} is still being worked off", self.name(node));
            return Err(Reject::new(Reason::NodeRecovering, message).field("node"));
        }
        self.state.recovery.of(node).retirement = None;
        self.set_standing(node, Standing::Found);
        Ok(())
    }

    /// What counts as shipped of an allocation of which a node says `shipped`. Units that two people signed away and that
    /// had left all the same are the duplicates that were signed for: they are told, and have no effect.
    pub(crate) fn signed_away(&mut self, node: u32, allocation: u32, shipped: Quantity) -> Quantity {
        let record = &self.state.allocations[allocation];
        let most = record.quantity - record.cancelled;
        let signed = self.state.recovery.nodes.get(&node).is_some_and(|rights| rights.signed);
        if shipped <= most || !signed {
            return shipped;
        }
        let notice = Notice::ShippedTwice {
            node: self.state.nodes[node].id.clone(),
            allocation: record.id,
            quantity: shipped - most,
        };
        self.applied.notices.push(notice);
        most.max(record.shipped)
    }

    /// One cell of a lost node: what is free goes back, and every promise is asked back.
    pub(super) fn retire_cell(&mut self, key: u32, node: u32, left: u32) -> Result<(u32, bool), Stop> {
        self.release_holds(key, node, Quantity::MAX)?;
        // The node is gone: `change_cell` gives back what is free.
        let cell = self.change_cell(key, node, |_| {})?;
        if cell.held > 0 {
            return Ok((left, false));
        }
        let (mut used, mut next, mut asked) = (1, cell.last_open, 0);
        let mut touched = Vec::new();
        while next != NONE && used < left.max(2) {
            let record = self.state.allocations[next];
            let units = record.unasked();
            if units > 0 {
                self.state.allocations[next].ask_broken += units;
                self.request(next, stockmesh_proto::common::v1::CancelReason::PromiseBroken);
                asked += units;
                used += 1;
                touched.push(next);
            }
            next = record.earlier_in_cell;
        }
        if asked > 0 {
            self.change_cell(key, node, |cell| cell.asked += asked)?;
        }
        for allocation in touched {
            self.fit_substitutes(allocation)?;
        }
        Ok((used, next == NONE))
    }

    /// One cell of a lost node for which duplicates were accepted: what is open counts as cancelled, by signature.
    pub(super) fn sign_cell(&mut self, key: u32, node: u32, left: u32) -> Result<(u32, bool), Stop> {
        let mut used = 0;
        while used < left.max(1) {
            let Some(cell) = self.state.cell(key, node) else { return Ok((used + 1, true)) };
            let allocation = cell.last_open;
            if allocation == NONE {
                return Ok((used + 1, true));
            }
            let record = self.state.allocations[allocation];
            let word = Cancelled {
                cancelled_total: record.cancelled + record.open(),
                lost_total: record.lost,
                declined: false,
                answers: Some(record.requested),
                for_good: None,
            };
            self.settle(allocation, &word)?;
            used += 1;
        }
        Ok((used, false))
    }
}

impl State {
    /// How far the retirement of a node is. Looks at every stock key: never in `apply`.
    pub(crate) fn retirement_message(&self, node: u32) -> api::Retirement {
        let rights = self.recovery.nodes.get(&node).cloned().unwrap_or_default();
        let (mut unanswered, mut elsewhere) = (0, 0);
        if rights.standing == Standing::Lost {
            for record in self.keys.iter() {
                unanswered += record.cells.get(&node).map_or(0, |cell| cell.open);
            }
            let of_node = |allocation: u32| self.allocations[allocation].node == node;
            let held = self.recovery.substitutes.iter().filter(|((allocation, _), _)| of_node(*allocation));
            elsewhere = held.map(|(_, units)| *units).sum();
        }
        let Retirement { reason, proposed_by, approved_by, duplicates_proposed_by, duplicates_accepted_by } =
            rights.retirement.unwrap_or_default();
        let stage = if !duplicates_accepted_by.is_empty() {
            api::RetirementStage::DuplicatesAccepted
        } else if !duplicates_proposed_by.is_empty() {
            api::RetirementStage::DuplicatesProposed
        } else if !approved_by.is_empty() {
            api::RetirementStage::Retired
        } else if !proposed_by.is_empty() {
            api::RetirementStage::Proposed
        } else {
            api::RetirementStage::Unspecified
        };
        api::Retirement {
            node: self.node_name(node),
            stage: stage.into(),
            reason,
            proposed_by,
            approved_by,
            duplicates_proposed_by,
            duplicates_accepted_by,
            units_unanswered: unanswered,
            units_reserved_elsewhere: elsewhere,
        }
    }
}
