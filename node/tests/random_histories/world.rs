//! The node on its disk, the people who ask it, and what they wrote down.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use prost::Message;
use stockmesh_node::engine::{Engine, Group, Opened, open};
use stockmesh_node::store::{Mark, Store};
use stockmesh_node_core::command::{Command, ReceivedCondition};
use stockmesh_node_core::{Allocation, Answer, Archive, BodyHash, Context, GrantPolicy, Identity, Key, RequestStamp};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::FeedEntry;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AdjustReason, DeclineReason, Disposition, EntryBody};
use stockmesh_types::{Epoch, Group as GroupId, LogTime, NodeId, Principal, Reject};

use crate::common::*;
use crate::disk::LossyStore;
use crate::network::{Peer, Wire};
use crate::{ITEMS, Step};

/// What a person with a notebook writes down of one item.
#[derive(Clone, Default, Debug, PartialEq)]
struct Shelf {
    sellable: i64,
    quarantined: i64,
    damaged: i64,
    pending: i64,
}

type Shelves = [Shelf; 2];

/// A request, and its answer once it was given.
#[derive(Clone, Debug)]
struct Asked {
    stamp: RequestStamp,
    command: Command,
    answer: Option<Answer>,
}

/// A group between being worked out and being answered.
struct UnderWay {
    group: Group,
    /// Requests that it answers.
    answers: Vec<(usize, Answer)>,
    /// The shelves with it.
    shelves: Shelves,
    synced: bool,
}

pub struct World {
    policy: GrantPolicy,
    disk: LossyStore,
    engine: Engine,
    mark: Option<Mark>,
    /// The open group's requests and answers.
    open: Vec<(usize, Answer)>,
    under_way: VecDeque<UnderWay>,
    shelves: Shelves,
    /// As of the last group that was answered.
    answered: Shelves,
    asked: Vec<Asked>,
    /// Everything that was shown to links.
    shown: Vec<FeedEntry>,
    returns: Vec<usize>,
    documents: u64,
    peer: Peer,
    up: Wire,
    down: Wire,
}

fn identity() -> Identity {
    Identity { group: GroupId(1), node: NodeId::new("dc-1").unwrap(), epoch: Epoch(1) }
}

fn start(disk: &LossyStore, policy: GrantPolicy, mark: Option<Mark>) -> Engine {
    match open(Arc::new(disk.clone()), identity(), policy, mark) {
        Ok(Opened::Ready(engine)) => *engine,
        Ok(Opened::Recovering(_, reason)) => panic!("recovering after a crash: {reason}"),
        Err(error) => panic!("the store does not open: {error}"),
    }
}

impl World {
    pub fn new(policy: GrantPolicy) -> Self {
        let disk = LossyStore::default();
        let mut engine = start(&disk, policy, None);
        let peer = Peer::new(&ITEMS);
        let now = LogTime(NOON);
        engine.follow(now, now.date(), peer.feed(), &peer.entries).unwrap();
        let group = engine.take_group().unwrap().unwrap();
        disk.write(&group.batch).unwrap();
        disk.sync().unwrap();
        Self {
            policy,
            disk,
            engine,
            mark: Some(group.mark),
            open: Vec::new(),
            under_way: VecDeque::new(),
            shelves: Shelves::default(),
            answered: Shelves::default(),
            asked: Vec::new(),
            shown: Vec::new(),
            returns: Vec::new(),
            documents: 0,
            peer,
            up: Wire::default(),
            down: Wire::default(),
        }
    }

    fn context(request: Option<RequestStamp>) -> Context {
        let now = LogTime(NOON);
        Context { now, business_date: now.date(), principal: Principal::insecure(), request }
    }

    fn document(&mut self) -> String {
        self.documents += 1;
        format!("d-{}", self.documents)
    }

    /// The nth allocation that the node knows, latest first.
    fn nth_work(&self, n: usize) -> Option<u64> {
        let known: Vec<u64> =
            self.peer.coordinator.allocations.keys().copied().filter(|n| self.known(*n).is_some()).collect();
        (!known.is_empty()).then(|| known[known.len() - 1 - n % known.len()])
    }

    fn known(&self, n: u64) -> Option<Allocation> {
        let overlay = self.engine.archive();
        (&overlay as &dyn Archive).allocation(allocation(n))
    }

    /// Asks; the notebook is kept by the answer, whether or not it leaves in the end.
    fn ask(&mut self, command: Command, note: impl FnOnce(&mut Shelves)) -> Result<Answer, Reject> {
        let id = request_id(NOON, self.asked.len() as u64 + 1);
        let stamp = RequestStamp { id, body: BodyHash([1; 16]) };
        self.asked.push(Asked { stamp, command: command.clone(), answer: None });
        let answer = self.engine.handle(&Self::context(Some(stamp)), command)?;
        note(&mut self.shelves);
        self.open.push((self.asked.len() - 1, answer.clone()));
        Ok(answer)
    }

    pub fn take(&mut self, step: &Step) {
        match *step {
            Step::Receive(item, units, condition) => {
                let id = self.document();
                let _ = self.ask(receipt(&id, &[(ITEMS[item], units, condition)]), |shelves| match condition {
                    ReceivedCondition::Damaged => shelves[item].damaged += units,
                    ReceivedCondition::Quarantined => shelves[item].quarantined += units,
                    _ => shelves[item].sellable += units,
                });
            }
            Step::Sell(item, units) => {
                let id = self.document();
                let retained = self.engine.state().cell(&key(ITEMS[item])).map_or(0, |cell| cell.retained());
                let sold = self.ask(sale(&id, &[(ITEMS[item], units)]), |shelves| shelves[item].sellable -= units);
                assert_eq!(sold.is_ok(), retained >= units, "{sold:?}");
            }
            Step::Pick(n, units) => {
                if let Some(n) = self.nth_work(n) {
                    let _ = self.ask(pick(n, units), |_| {});
                }
            }
            Step::Pack(n, units) => {
                if let Some(n) = self.nth_work(n) {
                    let _ = self.ask(pack(n, units), |_| {});
                }
            }
            Step::Ship(n, units) => {
                let Some(n) = self.nth_work(n) else { return };
                let (number, item) = (self.document(), self.peer.coordinator.allocations[&n].item);
                let _ = self.ask(ship(&number, &[(n, units)]), |shelves| shelves[item].sellable -= units);
            }
            Step::Decline(n, units, reason) => {
                let Some(n) = self.nth_work(n) else { return };
                let item = self.peer.coordinator.allocations[&n].item;
                let _ = self.ask(decline(n, units, reason), |shelves| {
                    let gone = if reason == DeclineReason::NoCapacity { 0 } else { units.min(shelves[item].sellable) };
                    shelves[item].sellable -= gone;
                    if reason == DeclineReason::Damaged {
                        shelves[item].damaged += gone;
                    }
                });
            }
            Step::Adjust(item, delta, reason) => {
                let _ = self.ask(adjust(ITEMS[item], delta, reason), |shelves| {
                    shelves[item].sellable += delta;
                    if reason == AdjustReason::Damage {
                        shelves[item].damaged -= delta;
                    }
                });
            }
            Step::ReturnGoods(item, units) => {
                let id = format!("ret-{}", self.returns.len());
                self.returns.push(item);
                let _ = self.ask(return_goods(&id, ITEMS[item], units), |shelves| shelves[item].pending += units);
            }
            Step::Inspect(n, units, disposition) => {
                let Some(item) = self.returns.get(n).copied() else { return };
                let _ = self.ask(inspect(&format!("ret-{n}"), units, disposition), |shelves| {
                    shelves[item].pending -= units;
                    if disposition == Disposition::Resale {
                        shelves[item].sellable += units;
                    }
                });
            }
            Step::Promise(item, units) => self.peer.coordinator.promise(item, units),
            Step::RequestCancel(n, units) => self.peer.coordinator.request_cancel(n as u64 + 1, units),
            Step::GiveBack(item, units) => self.peer.coordinator.give_back(item, units),
            Step::Repeat(n) => self.repeat(n),
            Step::Write => self.write(),
            Step::Sync => self.sync(),
            Step::MarkAndAnswer => self.mark_and_answer(),
            Step::MarkAndDie => {
                let synced = self.under_way.iter().rev().find(|under_way| under_way.synced);
                if let Some(mark) = synced.map(|under_way| under_way.group.mark) {
                    self.mark = Some(mark);
                }
                self.crash(0);
            }
            Step::Crash(kept) => self.crash(kept),
            Step::Send(up, count) => self.send(up, count),
            Step::Deliver(up, n, again) => self.deliver(up, n, again),
            Step::Lose(up, n) => drop(if up { self.up.deliver(n, false) } else { self.down.deliver(n, false) }),
        }
        self.peer.speak();
    }

    /// A caller repeats a request: an answer that was given is given again, and nothing happens twice.
    fn repeat(&mut self, n: usize) {
        if self.asked.is_empty() {
            return;
        }
        let n = self.asked.len() - 1 - n % self.asked.len();
        let Asked { stamp, command, answer } = self.asked[n].clone();
        let head = self.engine.head();
        let took_effect = self.engine.archive().get(&Key::Request(stamp.id).encode()).is_some();
        assert!(took_effect || answer.is_none(), "a request that was answered is forgotten");
        if !took_effect {
            // It was refused, or its effect was lost with a crash: whoever asked asks anew.
            return;
        }
        let repeated = self.engine.handle(&Self::context(Some(stamp)), command).expect("the first answer");
        assert_eq!(self.engine.head(), head, "a repeat took effect");
        if let Some(answer) = answer {
            assert_eq!(repeated, answer, "another answer than the first");
        }
    }

    fn write(&mut self) {
        let Some(group) = self.engine.take_group().unwrap() else { return };
        self.disk.write(&group.batch).unwrap();
        let answers = std::mem::take(&mut self.open);
        self.under_way.push_back(UnderWay { group, answers, shelves: self.shelves.clone(), synced: false });
    }

    fn sync(&mut self) {
        self.disk.sync().unwrap();
        self.under_way.iter_mut().for_each(|under_way| under_way.synced = true);
    }

    fn mark_and_answer(&mut self) {
        while self.under_way.front().is_some_and(|under_way| under_way.synced) {
            let Some(UnderWay { group, answers, shelves, .. }) = self.under_way.pop_front() else { return };
            self.mark = Some(group.mark);
            for (n, answer) in answers {
                self.asked[n].answer = Some(answer);
            }
            self.shown.extend(group.entries);
            self.answered = shelves;
        }
    }

    fn crash(&mut self, kept: usize) {
        let kept = kept.min(self.disk.unsynced());
        self.disk.crash(kept);
        let synced = self.under_way.iter().filter(|under_way| under_way.synced).count();
        // What is there was worked out; it shows to links after the restart, though nobody was answered.
        let mut shelves = self.answered.clone();
        for UnderWay { group, shelves: with_it, .. } in self.under_way.drain(..).take(synced + kept) {
            self.shown.extend(group.entries);
            shelves = with_it;
        }
        self.shelves = shelves.clone();
        self.answered = shelves;
        self.open.clear();
        self.engine = start(&self.disk, self.policy, self.mark);
        assert_eq!(
            self.engine.head().seq,
            self.shown.len() as u64,
            "the store has what was shown, and what was written"
        );
        self.mark = Some(Mark { epoch: 1, head: self.engine.head() });
        // Links dial anew.
        self.up.clear();
        self.down.clear();
        for asked in self.asked.clone() {
            if let Some(answer) = asked.answer {
                let again = self.engine.handle(&Self::context(Some(asked.stamp)), asked.command).expect("remembered");
                assert_eq!(again, answer, "what was answered is lost");
            }
        }
    }

    fn send(&mut self, up: bool, count: usize) {
        if up {
            let from = usize::try_from(self.peer.heard.seq).unwrap();
            self.up.send(self.shown.iter().skip(from).take(count).cloned().collect());
        } else {
            let from = usize::try_from(self.engine.cursor(self.peer.feed()).unwrap().seq).unwrap();
            self.down.send(self.peer.entries.iter().skip(from).take(count).cloned().collect());
        }
    }

    fn deliver(&mut self, up: bool, n: usize, again: bool) {
        if up {
            let entries = self.up.deliver(n, again);
            let feed = self.engine.feed().clone();
            self.peer.hear(&feed, &entries);
        } else {
            let entries = self.down.deliver(n, again);
            let now = LogTime(NOON);
            match self.engine.follow(now, now.date(), self.peer.feed(), &entries) {
                Ok(_) => {}
                Err(reject) if reject.reason == stockmesh_types::Reason::FeedGap => {}
                Err(reject) => panic!("a correct coordinator's work was refused: {reject}"),
            }
        }
    }

    pub fn check(&self) {
        let state = self.engine.state();
        // I2, I5 and I6 are what `flaw` says, in words.
        assert_eq!(state.flaw(), None);
        for (item, name) in ITEMS.iter().enumerate() {
            let cell = state.cell(&key(name)).copied().unwrap_or_default();
            let Shelf { sellable, quarantined, damaged, pending } = self.shelves[item].clone();
            let is = (cell.on_hand, cell.quarantined, cell.damaged, cell.return_pending);
            assert_eq!(is, (sellable, quarantined, damaged, pending), "{name}");
            let rights = &self.peer.coordinator.rights[item];
            assert!(self.peer.coordinator.free(item) >= 0, "I3");
            assert!(rights.granted <= cell.granted, "I4: granted");
            assert!(rights.returned >= cell.returned, "I4: returned");
            assert!(rights.shipped <= cell.consumed, "I4: shipped");
        }
        // A message leaves after the sync of what it says: nobody knows more than the disk has.
        assert!(self.peer.heard.seq <= self.shown.len() as u64, "I7");
    }

    /// Everything becomes durable and is delivered; both sides agree, and the feed folds into the state.
    pub fn settle(&mut self) {
        loop {
            self.write();
            self.sync();
            self.mark_and_answer();
            let cursor = self.engine.cursor(self.peer.feed()).unwrap();
            if self.peer.heard.seq == self.shown.len() as u64 && cursor == self.peer.head() {
                break;
            }
            let (feed, shown) = (self.engine.feed().clone(), self.shown.clone());
            self.peer.hear(&feed, &shown);
            self.peer.speak();
            let now = LogTime(NOON);
            self.engine.follow(now, now.date(), self.peer.feed(), &self.peer.entries).expect("work is taken");
            self.check();
        }
        for (item, name) in ITEMS.iter().enumerate() {
            let cell = self.engine.state().cell(&key(name)).copied().unwrap_or_default();
            let rights = &self.peer.coordinator.rights[item];
            let known = (rights.granted, rights.returned, rights.shipped);
            assert_eq!(known, (cell.granted, cell.returned, cell.consumed), "{name}");
            assert_eq!(cell.outstanding(), self.peer.coordinator.free(item) + cell.open, "{name}");
            assert_eq!(cell.shortfall(), 0, "a shortfall of {name} was not worked off");
        }
        for (n, promised) in &self.peer.coordinator.allocations {
            let known = self.known(*n).expect("accepted");
            assert_eq!((known.shipped, known.cancelled), (promised.shipped, promised.cancelled), "I5: {n}");
        }
        self.check_feed();
        let mut verification = self.engine.begin_verification().unwrap();
        verification.run(&self.disk, self.engine.head().seq / 2).unwrap();
        assert_eq!(verification.finish(&self.engine).findings, [""; 0], "the feed does not fold into the state");
    }

    /// I7: each document was booked once.
    fn check_feed(&self) {
        let mut head = Head::START;
        let mut booked: BTreeMap<String, usize> = BTreeMap::new();
        for entry in &self.shown {
            head.accept(self.engine.feed(), entry).expect("one chain");
            let fact = EntryBody::decode(entry.body.clone()).unwrap().fact;
            let document = match fact {
                Some(Fact::StockReceived(fact)) => fact.receipt_id,
                Some(Fact::SoldAtCounter(fact)) => fact.sale_id,
                Some(Fact::ShipmentDispatched(fact)) => fact.shipment_id,
                Some(Fact::ReturnReceived(fact)) => fact.return_id,
                _ => continue,
            };
            *booked.entry(document).or_default() += 1;
        }
        assert!(booked.values().all(|count| *count == 1), "a document was booked twice");
        assert_eq!(head, self.engine.head());
    }
}
