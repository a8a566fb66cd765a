//! The node's side of one cell.

use std::collections::BTreeMap;

use crate::world::{Budget, Id, Message, Mutant, Protocol, Truth};

/// An allocation as the node keeps it: for good, so that an id is accepted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Work {
    pub line: usize,
    pub quantity: i8,
    pub shipped: i8,
    pub cancelled: i8,
    pub lost: i8,
}

impl Work {
    pub fn left(&self) -> i8 {
        self.quantity - self.shipped - self.cancelled
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    pub epoch: i8,
    /// Lower incarnations of the coordinator are refused.
    pub incarnation: i8,
    /// Not recovering.
    pub open: bool,
    /// Number of its latest recovery.
    pub recovery: i8,
    pub on_hand: i8,
    pub granted: i8,
    pub returned: i8,
    pub consumed: i8,
    /// Units lost by declines in this epoch.
    pub lost: i8,
    pub work: BTreeMap<Id, Work>,
    /// Number and level of its latest shortfall report.
    pub reports: i8,
    pub level: i8,
    /// Units that will arrive and were promised ahead.
    pub claimed: i8,
    /// Units that arrived, were claimed, and not granted: only a mutant has any.
    pub claims_due: i8,
}

impl Node {
    pub fn new(units: i8, claimed: i8) -> Self {
        Self {
            epoch: 1,
            incarnation: 1,
            open: true,
            recovery: 0,
            on_hand: units,
            granted: 0,
            returned: 0,
            consumed: 0,
            lost: 0,
            work: BTreeMap::new(),
            reports: 0,
            level: 0,
            claimed,
            claims_due: 0,
        }
    }

    pub fn outstanding(&self) -> i8 {
        self.granted - self.returned - self.consumed
    }

    pub fn retained(&self) -> i8 {
        self.on_hand - self.outstanding()
    }

    /// Transition 1.
    pub fn sell(&mut self, truth: &mut Truth, left: &mut Budget) -> bool {
        if !self.open || self.retained() < 1 || truth.on_shelf < 1 {
            return false;
        }
        left.sales -= 1;
        truth.claim_sold |= self.retained() <= self.claims_due;
        self.on_hand -= 1;
        truth.on_shelf -= 1;
        truth.sold += 1;
        true
    }

    /// Transition 2.
    pub fn grant(&mut self, out: &mut Vec<Message>) -> bool {
        if !self.open || self.retained() - self.claims_due < 1 {
            return false;
        }
        self.granted += 1;
        out.push(Message::Granted { epoch: self.epoch, granted: self.granted });
        true
    }

    /// Transition 5.
    pub fn ship(&mut self, id: Id, truth: &mut Truth, out: &mut Vec<Message>) -> bool {
        if !self.open || self.on_hand < 1 || truth.on_shelf < 1 || self.work[&id].left() < 1 {
            return false;
        }
        let line = self.work[&id].line;
        self.change(id, |work| work.shipped += 1);
        self.consumed += 1;
        self.on_hand -= 1;
        truth.ship(id, line);
        self.say_progress(id, 0, out);
        self.settle(out);
        true
    }

    /// Transition 7: all that is left of an allocation.
    pub fn decline(
        &mut self,
        id: Id,
        lost: bool,
        truth: &mut Truth,
        left: &mut Budget,
        out: &mut Vec<Message>,
    ) -> bool {
        let units = self.work[&id].left();
        if !self.open || units < 1 || (lost && (self.on_hand < units || truth.on_shelf < units)) {
            return false;
        }
        left.declines -= 1;
        self.change(id, |work| work.cancelled += units);
        if lost {
            self.change(id, |work| work.lost += units);
            self.lost += units;
            self.on_hand -= units;
            truth.on_shelf -= units;
            truth.lost += units;
        }
        self.say_progress(id, 0, out);
        self.settle(out);
        true
    }

    /// Transition 9, its cause.
    pub fn lose(&mut self, truth: &mut Truth, left: &mut Budget, out: &mut Vec<Message>) -> bool {
        if !self.open || self.on_hand < 1 || truth.on_shelf < 1 {
            return false;
        }
        left.losses -= 1;
        self.on_hand -= 1;
        truth.on_shelf -= 1;
        truth.lost += 1;
        self.settle(out);
        true
    }

    /// Transition 9, its cure.
    pub fn find(&mut self, truth: &mut Truth, left: &mut Budget, out: &mut Vec<Message>) -> bool {
        if !self.open {
            return false;
        }
        left.finds -= 1;
        self.on_hand += 1;
        truth.on_shelf += 1;
        truth.came += 1;
        self.settle(out);
        true
    }

    /// Transition 12: the receipt grants what was claimed, in the same write.
    pub fn claimed_arrival(
        &mut self,
        grants: bool,
        truth: &mut Truth,
        left: &mut Budget,
        out: &mut Vec<Message>,
    ) -> bool {
        if !self.open {
            return false;
        }
        left.claimed_arrivals -= 1;
        truth.on_shelf += 1;
        truth.came += 1;
        self.on_hand += 1;
        self.claimed -= 1;
        if grants {
            self.granted += 1;
            out.push(Message::Granted { epoch: self.epoch, granted: self.granted });
        } else {
            self.claims_due += 1;
        }
        self.settle(out);
        true
    }

    /// What a node never does.
    pub fn take_back_by_itself(&mut self) -> bool {
        let may = self.open && self.outstanding() > 0;
        self.returned += i8::from(may);
        may
    }

    /// A message of the coordinator.
    pub fn take(&mut self, protocol: &Protocol, message: Message, truth: &mut Truth, out: &mut Vec<Message>) {
        let incarnation = match &message {
            Message::Open { incarnation, .. }
            | Message::Cancel { incarnation, .. }
            | Message::Returned { incarnation, .. }
            | Message::Welcome { incarnation, .. }
            | Message::WantReport { incarnation } => *incarnation,
            _ => return,
        };
        if incarnation < self.incarnation && !protocol.is(Mutant::NoIncarnationCheck) {
            return;
        }
        self.incarnation = self.incarnation.max(incarnation);
        let epoch_fits = |epoch: i8, own: i8| epoch == own || protocol.is(Mutant::NoEpochCheck);
        match message {
            Message::Open { epoch, id, line, quantity, .. } => {
                let known = self.work.contains_key(&id) && !protocol.is(Mutant::SameIdAcceptedTwice);
                if self.open && epoch_fits(epoch, self.epoch) && !known {
                    self.work.insert(id, Work { line, quantity, shipped: 0, cancelled: 0, lost: 0 });
                }
            }
            Message::Cancel { id, requested, .. } if self.open && self.work.contains_key(&id) => {
                self.answer(id, requested, out);
            }
            Message::Returned { epoch, returned, .. } if self.open && epoch_fits(epoch, self.epoch) => {
                if protocol.is(Mutant::ReturnAsDifference) {
                    self.returned = (self.returned + 1).min(protocol.units + 2);
                } else {
                    self.returned = self.returned.max(returned);
                }
                self.settle(out);
            }
            Message::Welcome { recovery, epoch, granted, work, .. } if !self.open && recovery == self.recovery => {
                self.begin(epoch, granted, work, !protocol.is(Mutant::NoManifestAudit), truth, out);
            }
            Message::WantReport { incarnation } => {
                if !self.open {
                    self.audit(truth);
                }
                out.push(Message::Report { incarnation, node: Box::new(self.clone()) });
            }
            _ => {}
        }
    }

    /// The end of a recovery: counters and work as the coordinator knows them, what the manifests show beyond them, a recount,
    /// the open requests answered; then sales and shipments.
    fn begin(
        &mut self,
        epoch: i8,
        granted: i8,
        work: Vec<(Id, Work, i8)>,
        audits: bool,
        truth: &Truth,
        out: &mut Vec<Message>,
    ) {
        *self = Self {
            epoch,
            granted,
            on_hand: truth.on_shelf,
            returned: 0,
            consumed: 0,
            lost: 0,
            reports: 0,
            level: 0,
            open: true,
            work: work.iter().map(|(id, work, _)| (*id, *work)).collect(),
            ..self.clone()
        };
        if audits {
            for id in self.audit(truth) {
                self.say_progress(id, 0, out);
            }
        }
        for (id, _, requested) in work {
            self.answer(id, requested, out);
        }
        self.settle(out);
    }

    /// Counts as consumed what left beyond the recorded progress. Gives the allocations concerned.
    fn audit(&mut self, truth: &Truth) -> Vec<Id> {
        let mut beyond = Vec::new();
        for (id, line, shipped) in &truth.manifests {
            let fresh = Work { line: *line, quantity: *shipped, shipped: 0, cancelled: 0, lost: 0 };
            let work = self.work.entry(*id).or_insert(fresh);
            if *shipped > work.shipped {
                self.consumed += shipped - work.shipped;
                work.shipped = *shipped;
                beyond.push(*id);
            }
        }
        beyond
    }

    /// Transition 6.
    fn answer(&mut self, id: Id, requested: i8, out: &mut Vec<Message>) {
        let work = self.work[&id];
        let more = (requested - work.cancelled).clamp(0, work.left().max(0));
        self.change(id, |work| work.cancelled += more);
        if requested > 0 {
            self.say_progress(id, requested, out);
        }
    }

    fn change(&mut self, id: Id, change: impl FnOnce(&mut Work)) {
        if let Some(work) = self.work.get_mut(&id) {
            change(work);
        }
    }

    fn say_progress(&self, id: Id, answered: i8, out: &mut Vec<Message>) {
        let Work { shipped, cancelled, lost, .. } = self.work[&id];
        out.push(Message::Progress { epoch: self.epoch, id, shipped, cancelled, lost, answered });
    }

    /// Reports a shortfall at every change of its level.
    fn settle(&mut self, out: &mut Vec<Message>) {
        let level = (-self.retained()).max(0);
        if level != self.level {
            self.level = level;
            self.reports += 1;
            let Self { epoch, returned, lost, .. } = *self;
            out.push(Message::Shortfall { epoch, number: self.reports, level, returned, lost });
        }
    }
}
