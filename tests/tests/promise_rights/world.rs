//! One node, one cell, one coordinator, and a network that loses, duplicates and reorders: everything ever sent may arrive at any
//! time, any number of times, or never.
//!
//! The specification in small, written apart from the code that ships, so that both can be held against each other.

use std::collections::BTreeSet;

use crate::coordinator::{Coordinator, Line};
use crate::node::{Node, Work};

/// An allocation's id: incarnation, and a number within it. It never recurs.
pub type Id = (i8, i8);

/// A deliberate bug. Each must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    SendBeforeFlush,
    ReturnAsDifference,
    FreeOnCancelRequest,
    NoEpochCheck,
    NoIncarnationCheck,
    NodeTakesBackByItself,
    ReturnSentBeforeCommit,
    SameIdAcceptedTwice,
    RestoreKeepsSelling,
    NoManifestAudit,
    PromiseWithoutFreeCheck,
    ReservationForgottenAtRestore,
    AllocationsNotRestamped,
    SubstituteOpenedBeforeCancellation,
    DeclinedUnitsThroughFree,
    ClaimNotGrantedAtReceipt,
}

/// How often a thing may still happen: what keeps the search finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Counter sales.
    pub sales: i8,
    /// Declines by the node, lost or not.
    pub declines: i8,
    /// Units stolen, and found missing at once.
    pub losses: i8,
    /// Lost units found again.
    pub finds: i8,
    /// Rights given back by the coordinator.
    pub returns: i8,
    /// Cancellations by the customer.
    pub cancels: i8,
    /// Reservations.
    pub reservations: i8,
    /// Units that arrive and were promised ahead.
    pub claimed_arrivals: i8,
    /// Crashes of the node before a flush (seen only by a mutant: the protocol sends nothing before).
    pub crashes: i8,
    /// Restores of the node from a backup.
    pub node_restores: i8,
    /// Restores of the coordinator from a backup.
    pub coordinator_restores: i8,
}

/// A configuration of the search.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// Units at the start.
    pub units: i8,
    /// Units that each order line asks for.
    pub lines: &'static [i8],
    pub budget: Budget,
    pub mutant: Option<Mutant>,
}

/// What the two sides say to each other. Counters are cumulative and absolute.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    // From the node.
    Granted { epoch: i8, granted: i8 },
    Progress { epoch: i8, id: Id, shipped: i8, cancelled: i8, lost: i8, answered: i8 },
    Shortfall { epoch: i8, number: i8, level: i8, returned: i8, lost: i8 },
    Hello { recovery: i8 },
    Report { incarnation: i8, node: Box<Node> },
    // From the coordinator.
    Open { incarnation: i8, epoch: i8, id: Id, line: usize, quantity: i8 },
    Cancel { incarnation: i8, id: Id, requested: i8 },
    Returned { incarnation: i8, epoch: i8, returned: i8 },
    Welcome { incarnation: i8, recovery: i8, epoch: i8, granted: i8, work: Vec<(Id, Work, i8)> },
    WantReport { incarnation: i8 },
}

/// What really happened, whatever anybody recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Truth {
    /// Units on the shelf.
    pub on_shelf: i8,
    /// Units that came in, the first ones included, or were found.
    pub came: i8,
    pub sold: i8,
    pub lost: i8,
    /// Units that left for each order line, from here or from elsewhere.
    pub shipped_of_line: Vec<i8>,
    /// Paper manifests: units of each allocation that left from here.
    pub manifests: Vec<(Id, usize, i8)>,
    /// Substitutes opened at another place for each order line, and not shipped yet. That place has a store of its own.
    pub elsewhere: Vec<i8>,
    /// A claimed unit was sold to a walk-in (I9).
    pub claim_sold: bool,
    /// *Too late* was concluded of units that the node could still cancel.
    pub too_late_was_wrong: bool,
}

impl Truth {
    pub fn manifest(&self, id: Id) -> i8 {
        self.manifests.iter().find(|(known, ..)| *known == id).map_or(0, |(_, _, shipped)| *shipped)
    }

    pub fn ship(&mut self, id: Id, line: usize) {
        self.on_shelf -= 1;
        self.shipped_of_line[line] += 1;
        match self.manifests.iter_mut().find(|(known, ..)| *known == id) {
            Some((_, _, shipped)) => *shipped += 1,
            None => {
                self.manifests.push((id, line, 1));
                self.manifests.sort_unstable();
            }
        }
    }
}

/// A state of the whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub node: Node,
    /// What of the node is durable, where that differs.
    pub disk: Option<Node>,
    pub node_backup: Option<Node>,
    pub coordinator: Coordinator,
    pub coordinator_backup: Option<Coordinator>,
    /// Everything ever sent.
    pub wire: BTreeSet<Message>,
    pub truth: Truth,
    pub left: Budget,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Deliver(Message),
    // The node and its people.
    Sell,
    Grant,
    Ship(Id),
    Decline {
        id: Id,
        lost: bool,
    },
    Lose,
    Find,
    ClaimedArrival,
    TakeBack,
    Crash,
    BackUpNode,
    RestoreNode,
    // The coordinator and its clients.
    Promise {
        line: usize,
    },
    Reserve,
    OrderReserved {
        line: usize,
    },
    ExpireReservation,
    ReturnRights,
    CancelByCustomer(Id),
    BackUpCoordinator,
    RestoreCoordinator,
    /// A substitute leaves from elsewhere.
    ShipElsewhere {
        line: usize,
    },
}

impl Protocol {
    pub fn start(&self) -> World {
        let lines = self.lines.iter().map(|ordered| Line { waiting: *ordered, ..Line::default() }).collect();
        World {
            node: Node::new(self.units, self.budget.claimed_arrivals),
            disk: None,
            node_backup: None,
            coordinator: Coordinator::new(lines),
            coordinator_backup: None,
            wire: BTreeSet::new(),
            truth: Truth {
                on_shelf: self.units,
                came: self.units,
                shipped_of_line: vec![0; self.lines.len()],
                elsewhere: vec![0; self.lines.len()],
                ..Truth::default()
            },
            left: self.budget,
        }
    }

    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Every step that may be possible; those that are not change nothing.
    pub fn steps(&self, world: &World, steps: &mut Vec<Step>) {
        steps.extend(world.wire.iter().cloned().map(Step::Deliver));
        let left = &world.left;
        let when = |allowed: bool, step: Step, steps: &mut Vec<Step>| {
            if allowed {
                steps.push(step);
            }
        };
        when(left.sales > 0, Step::Sell, steps);
        steps.push(Step::Grant);
        for id in world.node.work.keys() {
            steps.push(Step::Ship(*id));
            when(left.declines > 0, Step::Decline { id: *id, lost: false }, steps);
            when(left.declines > 0, Step::Decline { id: *id, lost: true }, steps);
        }
        when(left.losses > 0, Step::Lose, steps);
        when(left.finds > 0 && world.truth.lost > 0, Step::Find, steps);
        when(left.claimed_arrivals > 0, Step::ClaimedArrival, steps);
        when(self.is(Mutant::NodeTakesBackByItself), Step::TakeBack, steps);
        when(left.crashes > 0 && world.disk.is_some(), Step::Crash, steps);
        when(left.node_restores > 0 && world.node_backup.is_none(), Step::BackUpNode, steps);
        when(left.node_restores > 0 && world.node_backup.is_some(), Step::RestoreNode, steps);
        for line in 0..self.lines.len() {
            steps.push(Step::Promise { line });
            when(world.coordinator.held > 0, Step::OrderReserved { line }, steps);
            steps.push(Step::ShipElsewhere { line });
        }
        when(left.reservations > 0, Step::Reserve, steps);
        when(world.coordinator.held > 0, Step::ExpireReservation, steps);
        when(left.returns > 0, Step::ReturnRights, steps);
        if left.cancels > 0 {
            steps.extend(world.coordinator.promises.keys().map(|id| Step::CancelByCustomer(*id)));
        }
        let restores = left.coordinator_restores > 0;
        when(restores && world.coordinator_backup.is_none(), Step::BackUpCoordinator, steps);
        when(restores && world.coordinator_backup.is_some(), Step::RestoreCoordinator, steps);
    }

    /// The state after a step; `None` when it is not possible, or changes nothing.
    pub fn after(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        let mut out = Vec::new();
        let possible = match step {
            Step::Deliver(message) => self.deliver(&mut next, message, &mut out),
            Step::Sell => next.node.sell(&mut next.truth, &mut next.left),
            Step::Grant => {
                let before = next.node.clone();
                let granted = next.node.grant(&mut out);
                if granted && self.is(Mutant::SendBeforeFlush) {
                    next.disk.get_or_insert(before);
                }
                granted
            }
            Step::Ship(id) => next.node.ship(id, &mut next.truth, &mut out),
            Step::Decline { id, lost } => next.node.decline(id, lost, &mut next.truth, &mut next.left, &mut out),
            Step::Lose => next.node.lose(&mut next.truth, &mut next.left, &mut out),
            Step::Find => next.node.find(&mut next.truth, &mut next.left, &mut out),
            Step::ClaimedArrival => {
                let grants = !self.is(Mutant::ClaimNotGrantedAtReceipt);
                next.node.claimed_arrival(grants, &mut next.truth, &mut next.left, &mut out)
            }
            Step::TakeBack => next.node.take_back_by_itself(),
            Step::Crash => next.disk.take().is_some_and(|durable| {
                next.left.crashes -= 1;
                next.node = durable;
                true
            }),
            Step::BackUpNode => {
                next.node_backup = Some(next.node.clone());
                next.node.open
            }
            Step::RestoreNode => next.node_backup.clone().is_some_and(|backup| {
                next.left.node_restores -= 1;
                let recovery = next.node.recovery + 1;
                next.node = Node { recovery, incarnation: backup.incarnation, ..backup };
                if !self.is(Mutant::RestoreKeepsSelling) {
                    next.node.open = false;
                    out.push(Message::Hello { recovery });
                }
                true
            }),
            Step::Promise { line } => {
                let free = if self.is(Mutant::PromiseWithoutFreeCheck) { i8::MAX } else { next.coordinator.free(self) };
                next.coordinator.promise(line, free, &mut out)
            }
            Step::Reserve => next.coordinator.reserve(self, &mut next.left),
            Step::OrderReserved { line } => next.coordinator.order_reserved(line, &mut out),
            Step::ExpireReservation => next.coordinator.expire_reservation(self, &mut next.truth, &mut out),
            Step::ReturnRights => next.coordinator.return_rights(self, &mut next.left, &mut out),
            Step::CancelByCustomer(id) => next.coordinator.cancel(id, &mut next.left, &mut out),
            Step::BackUpCoordinator => {
                next.coordinator_backup = Some(next.coordinator.clone());
                !next.coordinator.awaiting_report
            }
            Step::RestoreCoordinator => next.coordinator_backup.clone().is_some_and(|backup| {
                next.left.coordinator_restores -= 1;
                let incarnation = next.coordinator.incarnation + 1;
                next.coordinator = Coordinator { incarnation, awaiting_report: true, ..backup };
                out.push(Message::WantReport { incarnation });
                true
            }),
            Step::ShipElsewhere { line } => {
                let substitutes = &mut next.truth.elsewhere[line];
                let any = *substitutes > 0;
                if any {
                    *substitutes -= 1;
                    next.truth.shipped_of_line[line] += 1;
                }
                any
            }
        };
        next.wire.extend(out);
        (possible && next != *world).then_some(next)
    }

    fn deliver(&self, next: &mut World, message: Message, out: &mut Vec<Message>) -> bool {
        match message {
            Message::Granted { .. }
            | Message::Progress { .. }
            | Message::Shortfall { .. }
            | Message::Hello { .. }
            | Message::Report { .. } => next.coordinator.take(self, &next.node, message, &mut next.truth, out),
            _ => next.node.take(self, message, &mut next.truth, out),
        }
        true
    }
}
