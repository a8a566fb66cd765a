//! The coordinator's side of one cell. Every step is one committed entry of its log.

use std::collections::BTreeMap;

use crate::node::{Node, Work};
use crate::world::{Budget, Id, Message, Mutant, Protocol, Truth};

/// An allocation as the coordinator keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Promise {
    pub work: Work,
    /// Cumulative units asked to be cancelled.
    pub requested: i8,
    /// Part of what is asked and not answered: the customer's; a broken promise's.
    pub for_customer: i8,
    pub broken: i8,
    /// Epoch that it counts in.
    pub stamp: i8,
}

/// An order line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Line {
    pub waiting: i8,
    pub cancelled: i8,
    /// Units that a person must look at.
    pub exceptions: i8,
}

/// A shortfall as reported last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shortfall {
    pub number: i8,
    pub level: i8,
    pub returned: i8,
    pub lost: i8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Coordinator {
    pub incarnation: i8,
    pub epoch: i8,
    /// Restored from a backup, and the node has not reported: promises nothing.
    pub awaiting_report: bool,
    pub granted: i8,
    pub returned: i8,
    /// In this epoch.
    pub shipped: i8,
    pub held: i8,
    /// Units lost by declines in this epoch.
    pub lost: i8,
    pub shortfall: Shortfall,
    pub promises: BTreeMap<Id, Promise>,
    pub lines: Vec<Line>,
    pub next: i8,
    pub last_recovery: i8,
}

impl Coordinator {
    pub fn new(lines: Vec<Line>) -> Self {
        Self {
            incarnation: 1,
            epoch: 1,
            awaiting_report: false,
            granted: 0,
            returned: 0,
            shipped: 0,
            held: 0,
            lost: 0,
            shortfall: Shortfall::default(),
            promises: BTreeMap::new(),
            lines,
            next: 1,
            last_recovery: 0,
        }
    }

    pub fn open(&self, protocol: &Protocol) -> i8 {
        let freed = protocol.is(Mutant::FreeOnCancelRequest);
        let open = |promise: &Promise| promise.work.left() - if freed { promise.for_customer } else { 0 };
        self.promises.values().map(open).sum()
    }

    pub fn free(&self, protocol: &Protocol) -> i8 {
        if self.awaiting_report {
            return 0;
        }
        self.granted - self.returned - self.shipped - self.open(protocol) - self.held
    }

    /// Units asked back for broken promises, not answered.
    pub fn asked(&self) -> i8 {
        self.promises.values().map(|promise| promise.broken).sum()
    }

    /// Total of `returned` that covers every loss and shortfall that was applied.
    pub fn aim(&self) -> i8 {
        self.shortfall.returned + self.shortfall.level + (self.lost - self.shortfall.lost).max(0)
    }

    /// Transition 3.
    pub fn promise(&mut self, line: usize, free: i8, out: &mut Vec<Message>) -> bool {
        let quantity = self.lines[line].waiting.min(free);
        if quantity < 1 || self.awaiting_report {
            return false;
        }
        self.lines[line].waiting -= quantity;
        self.open_work(line, quantity, out);
        true
    }

    pub fn reserve(&mut self, protocol: &Protocol, left: &mut Budget) -> bool {
        let may = self.free(protocol) >= 1;
        left.reservations -= i8::from(may);
        self.held += i8::from(may);
        may
    }

    /// A reservation becomes an order in one entry.
    pub fn order_reserved(&mut self, line: usize, out: &mut Vec<Message>) -> bool {
        if self.lines[line].waiting < 1 || self.held < 1 || self.awaiting_report {
            return false;
        }
        self.held -= 1;
        self.lines[line].waiting -= 1;
        self.open_work(line, 1, out);
        true
    }

    /// Transition 10.
    pub fn expire_reservation(&mut self, protocol: &Protocol, truth: &mut Truth, out: &mut Vec<Message>) -> bool {
        if self.awaiting_report {
            return false;
        }
        self.held -= 1;
        self.settle(protocol, truth, out);
        true
    }

    /// Transition 8.
    pub fn return_rights(&mut self, protocol: &Protocol, left: &mut Budget, out: &mut Vec<Message>) -> bool {
        if self.free(protocol) < 1 {
            return false;
        }
        left.returns -= 1;
        self.returned += 1;
        self.say_returned(out);
        if protocol.is(Mutant::ReturnSentBeforeCommit) {
            // The leader that sent it is gone, and its entry with it.
            self.returned -= 1;
        }
        true
    }

    /// Transition 6, the customer's: all that is left.
    pub fn cancel(&mut self, id: Id, left: &mut Budget, out: &mut Vec<Message>) -> bool {
        let Some(promise) = self.promises.get_mut(&id) else { return false };
        let units = promise.work.left() - promise.for_customer - promise.broken;
        if units < 1 || self.awaiting_report {
            return false;
        }
        left.cancels -= 1;
        promise.for_customer += units;
        self.ask(id, out);
        true
    }

    /// A message of the node. `node` is looked at by a check only.
    pub fn take(
        &mut self,
        protocol: &Protocol,
        node: &Node,
        message: Message,
        truth: &mut Truth,
        out: &mut Vec<Message>,
    ) {
        if let Message::Report { incarnation, node } = message {
            if self.awaiting_report && incarnation == self.incarnation {
                self.rebuild(protocol, *node, truth, out);
            }
            return;
        }
        if self.awaiting_report {
            return;
        }
        let fits = |epoch: i8, own: i8| epoch == own || protocol.is(Mutant::NoEpochCheck);
        match message {
            Message::Granted { epoch, granted } if fits(epoch, self.epoch) => {
                self.granted = self.granted.max(granted);
            }
            Message::Shortfall { epoch, number, level, returned, lost } if fits(epoch, self.epoch) => {
                if number > self.shortfall.number {
                    self.shortfall = Shortfall { number, level, returned, lost };
                }
            }
            Message::Progress { epoch, id, shipped, cancelled, lost, answered } if fits(epoch, self.epoch) => {
                self.progress(protocol, node, id, [shipped, cancelled, lost, answered], truth);
            }
            Message::Hello { recovery } if recovery > self.last_recovery => self.welcome(protocol, recovery, out),
            _ => return,
        }
        self.settle(protocol, truth, out);
        // Whatever changed `returned`, the node hears of it.
        self.say_returned(out);
    }

    fn progress(
        &mut self,
        protocol: &Protocol,
        node: &Node,
        id: Id,
        [shipped, cancelled, lost, answered]: [i8; 4],
        truth: &mut Truth,
    ) {
        let Some(promise) = self.promises.get_mut(&id) else { return };
        let left = (shipped - promise.work.shipped).max(0);
        promise.work.shipped += left;
        if promise.stamp == self.epoch {
            self.shipped += left;
        }
        let units = (cancelled - promise.work.cancelled).max(0);
        let lost = (lost - promise.work.lost).clamp(0, units);
        let for_customer = units.min(promise.for_customer);
        let broken = (units - for_customer).min(promise.broken);
        promise.work.cancelled += units;
        promise.work.lost += lost;
        promise.for_customer -= for_customer;
        promise.broken -= broken;
        self.lost += lost;
        let kept = if protocol.is(Mutant::DeclinedUnitsThroughFree) { 0 } else { lost };
        self.returned += units.min(kept + broken);
        let line = promise.work.line;
        self.lines[line].cancelled += for_customer;
        let early = if protocol.is(Mutant::SubstituteOpenedBeforeCancellation) { broken } else { 0 };
        truth.elsewhere[line] += units - for_customer - early;
        if answered > 0 && answered >= promise.requested {
            // Only the answer to the latest amount asked means *too late*, and the node must have nothing left to cancel.
            let too_late = promise.for_customer + promise.broken;
            let cancellable = node.work.get(&id).map_or(0, Work::left);
            truth.too_late_was_wrong |= too_late > 0 && node.open && cancellable > 0 && node.epoch == self.epoch;
            promise.for_customer = 0;
            promise.broken = 0;
        }
        let open = promise.work.left();
        promise.for_customer = promise.for_customer.min(open);
        promise.broken = promise.broken.min(open);
    }

    /// A node comes back from a restore: a new epoch, in one entry.
    fn welcome(&mut self, protocol: &Protocol, recovery: i8, out: &mut Vec<Message>) {
        let held = if protocol.is(Mutant::ReservationForgottenAtRestore) { 0 } else { self.held };
        let granted = self.free(protocol) + self.open(protocol) + held;
        self.last_recovery = recovery;
        self.epoch += 1;
        self.granted = granted;
        self.returned = 0;
        self.shipped = 0;
        self.lost = 0;
        self.shortfall = Shortfall::default();
        if !protocol.is(Mutant::AllocationsNotRestamped) {
            self.promises.values_mut().for_each(|promise| promise.stamp = self.epoch);
        }
        let work = self.promises.iter().map(|(id, promise)| (*id, promise.work, promise.requested)).collect();
        let (incarnation, epoch) = (self.incarnation, self.epoch);
        out.push(Message::Welcome { incarnation, recovery, epoch, granted, work });
    }

    /// After a restore of the group: what the node reports is taken over.
    fn rebuild(&mut self, protocol: &Protocol, node: Node, truth: &mut Truth, out: &mut Vec<Message>) {
        let returned = if node.epoch == self.epoch { self.returned.max(node.returned) } else { node.returned };
        self.epoch = node.epoch;
        self.last_recovery = self.last_recovery.max(if node.open { node.recovery } else { 0 });
        self.granted = node.granted;
        self.returned = returned;
        self.shipped = node.consumed;
        self.lost = node.lost;
        self.shortfall =
            Shortfall { number: node.reports, level: node.level, returned: node.returned, lost: node.lost };
        self.awaiting_report = false;
        for (id, work) in &node.work {
            match self.promises.get_mut(id) {
                Some(promise) => {
                    // Beyond the restored state: perhaps sourced anew already, by what is forgotten now.
                    let units = (work.cancelled - promise.work.cancelled).max(0);
                    let for_customer = units.min(promise.for_customer);
                    promise.for_customer -= for_customer;
                    promise.broken -= (units - for_customer).min(promise.broken);
                    self.lines[work.line].cancelled += for_customer;
                    self.lines[work.line].exceptions += units - for_customer;
                    promise.work.shipped = promise.work.shipped.max(work.shipped);
                    promise.work.cancelled += units;
                    promise.work.lost = promise.work.lost.max(work.lost);
                    promise.for_customer = promise.for_customer.min(promise.work.left());
                    promise.broken = promise.broken.min(promise.work.left());
                }
                None => {
                    // Adopted under its order line.
                    let line = &mut self.lines[work.line];
                    line.waiting = (line.waiting - work.quantity).max(0);
                    line.exceptions += work.cancelled;
                    let promise = Promise {
                        work: *work,
                        requested: work.cancelled,
                        for_customer: 0,
                        broken: 0,
                        stamp: node.epoch,
                    };
                    self.promises.insert(*id, promise);
                }
            }
        }
        self.promises.values_mut().for_each(|promise| promise.stamp = node.epoch);
        if !node.open {
            // Counters of a store that was rolled back bound nothing: only what is promised stands, until the new epoch.
            self.held = 0;
            self.granted = self.returned + self.shipped + self.open(protocol);
        }
        while self.free(protocol) < 0 && self.held > 0 {
            self.held -= 1;
        }
        // Work that the node never heard of is sent again as far as rights cover it; the rest waits.
        let unknown: Vec<Id> = self.promises.keys().filter(|id| !node.work.contains_key(id)).copied().collect();
        for id in unknown.iter().rev() {
            if self.free(protocol) < 0
                && let Some(promise) = self.promises.remove(id)
            {
                self.lines[promise.work.line].waiting += promise.work.left();
            }
        }
        for (id, promise) in &self.promises {
            if unknown.contains(id) {
                let (incarnation, epoch) = (self.incarnation, self.epoch);
                let Work { line, quantity, .. } = promise.work;
                out.push(Message::Open { incarnation, epoch, id: *id, line, quantity });
            }
        }
        let asked: Vec<Id> =
            self.promises.iter().filter(|(_, p)| p.for_customer + p.broken > 0).map(|(id, _)| *id).collect();
        for id in asked {
            self.ask(id, out);
        }
        self.settle(protocol, truth, out);
        self.say_returned(out);
    }

    fn open_work(&mut self, line: usize, quantity: i8, out: &mut Vec<Message>) {
        let id = (self.incarnation, self.next);
        self.next += 1;
        let work = Work { line, quantity, shipped: 0, cancelled: 0, lost: 0 };
        self.promises.insert(id, Promise { work, requested: 0, for_customer: 0, broken: 0, stamp: self.epoch });
        out.push(Message::Open { incarnation: self.incarnation, epoch: self.epoch, id, line, quantity });
    }

    fn ask(&mut self, id: Id, out: &mut Vec<Message>) {
        if let Some(promise) = self.promises.get_mut(&id) {
            let wanted = promise.work.cancelled + promise.for_customer + promise.broken;
            promise.requested = promise.requested.max(wanted);
            out.push(Message::Cancel { incarnation: self.incarnation, id, requested: promise.requested });
        }
    }

    fn say_returned(&self, out: &mut Vec<Message>) {
        if self.returned > 0 {
            let Self { incarnation, epoch, returned, .. } = *self;
            out.push(Message::Returned { incarnation, epoch, returned });
        }
    }

    /// Transition 9: what is owed goes to `returned` from what is free, then from reservations, then promises are broken, the
    /// latest first. The substitute is opened when the node has cancelled.
    fn settle(&mut self, protocol: &Protocol, truth: &mut Truth, out: &mut Vec<Message>) {
        let lost =
            if protocol.is(Mutant::DeclinedUnitsThroughFree) { 0 } else { (self.lost - self.shortfall.lost).max(0) };
        let aim = self.shortfall.returned + self.shortfall.level + lost;
        let mut deficit = (aim - self.returned - self.asked()).max(0);
        let lapsing = deficit.min(self.free(protocol).max(0) + self.held);
        self.held -= (lapsing - self.free(protocol).max(0)).max(0);
        self.returned += lapsing;
        deficit -= lapsing;
        let latest_first: Vec<Id> = self.promises.keys().rev().copied().collect();
        for id in latest_first {
            let Some(promise) = self.promises.get_mut(&id) else { continue };
            let units = (promise.work.left() - promise.for_customer - promise.broken).min(deficit);
            if units > 0 {
                promise.broken += units;
                deficit -= units;
                if protocol.is(Mutant::SubstituteOpenedBeforeCancellation) {
                    truth.elsewhere[promise.work.line] += units;
                }
                self.ask(id, out);
            }
        }
    }
}
