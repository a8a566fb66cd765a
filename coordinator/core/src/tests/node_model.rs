//! A node as the specification's words say, and nothing more: the naive partner of the core under test.

use std::collections::BTreeMap;

use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::coordinator::v1::{WelcomeAllocation, WelcomeCell};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{self as feed, EntryBody, FeedEntry};
use stockmesh_types::{AllocationId, FeedId, Incarnation};

use super::world::{key, node_feed};
use crate::WelcomePage;

#[derive(Clone, Debug, Default)]
pub struct Work {
    pub item: String,
    pub quantity: i64,
    pub shipped: i64,
    pub cancelled: i64,
    pub lost: i64,
}

/// A cell at the node.
#[derive(Clone, Debug, Default)]
pub struct Stock {
    pub on_hand: i64,
    pub granted: i64,
    pub returned: i64,
    pub consumed: i64,
    pub level: i64,
    /// Its last word on a shortfall is the coordinator's memory: it is said again even when it did not change.
    pub welcome: bool,
}

impl Stock {
    pub fn outstanding(&self) -> i64 {
        self.granted - self.returned - self.consumed
    }
    fn retained(&self) -> i64 {
        self.on_hand - self.outstanding()
    }
}

/// What a store holds: it can be rolled back.
#[derive(Clone, Debug, Default)]
pub struct Store {
    pub stock: BTreeMap<String, Stock>,
    pub work: BTreeMap<(u32, u64, u32), Work>,
}

/// The node.
pub struct Node {
    pub name: String,
    pub stock: BTreeMap<String, Stock>,
    pub work: BTreeMap<(u32, u64, u32), Work>,
    pub head: Head,
    pub entries: Vec<FeedEntry>,
    /// Of the coordinator's feed to it.
    pub cursor: Head,
    pub epoch: u64,
    /// The store after each entry of this epoch; first as the epoch began.
    pub past: Vec<Store>,
    /// What is on the shelf, and what the manifests say: no restore changes it.
    pub shelf: BTreeMap<String, i64>,
    pub manifests: BTreeMap<(u32, u64, u32), i64>,
    /// Entries of this epoch that finance has.
    pub archived: usize,
    /// Its store was rolled back: it does nothing until it is recovered. The id of the recovery, once it was drawn.
    pub recovering: bool,
    pub recovery_id: String,
    /// Allocations that a Welcome brought: they may come again by the feed.
    welcomed: std::collections::BTreeSet<(u32, u64, u32)>,
}

impl Node {
    pub fn new(name: String) -> Self {
        Self {
            name,
            stock: BTreeMap::new(),
            work: BTreeMap::new(),
            head: Head::START,
            entries: Vec::new(),
            cursor: Head::START,
            epoch: 1,
            past: vec![Store::default()],
            shelf: BTreeMap::new(),
            manifests: BTreeMap::new(),
            archived: 0,
            recovering: false,
            recovery_id: String::new(),
            welcomed: std::collections::BTreeSet::new(),
        }
    }

    fn say(&mut self, fact: Fact) {
        let body = EntryBody { fact: Some(fact), ..EntryBody::default() };
        self.entries.push(self.head.append(&FeedId::from(&node_feed(&self.name, self.epoch)), &body));
        self.past.push(Store { stock: self.stock.clone(), work: self.work.clone() });
    }

    /// The store is gone, and `kept` entries of it are all that a backup has. Finance's archive may have more of them:
    /// the longer chain is replayed.
    pub fn lose_store(&mut self, kept: usize, recovery_id: String) {
        let known = kept.min(self.entries.len()).max(self.archived);
        self.entries.truncate(known);
        self.past.truncate(known + 1);
        let Store { stock, work } = self.past.last().unwrap().clone();
        (self.stock, self.work) = (stock, work);
        self.head = Head::START;
        let feed = FeedId::from(&node_feed(&self.name, self.epoch));
        for entry in &self.entries {
            self.head.accept(&feed, entry).unwrap().unwrap();
        }
        self.recovering = true;
        self.recovery_id = recovery_id;
    }

    /// The new epoch begins with what the coordinator still holds and with every allocation as the coordinator knows it;
    /// then shelves are counted, manifests are audited, and requests are answered.
    pub fn begin_epoch(&mut self, pages: Vec<WelcomePage>) {
        self.epoch = pages[0].epoch;
        self.cursor = pages[0].work_cursor;
        (self.stock, self.work) = (BTreeMap::new(), BTreeMap::new());
        (self.head, self.entries, self.archived) = (Head::START, Vec::new(), 0);
        let mut requested = Vec::new();
        for page in pages {
            for cell in page.cells {
                let WelcomeCell { stock_key, granted, returned, shortfall_level } = cell;
                let stock = Stock { on_hand: 0, granted, returned, consumed: 0, level: shortfall_level, welcome: true };
                assert!(self.stock.insert(stock_key.unwrap().item, stock).is_none(), "a cell came twice");
            }
            for allocation in page.allocations {
                let WelcomeAllocation { opened, shipped, cancelled, lost, requested: asked, reason: _ } = allocation;
                let opened = opened.unwrap();
                assert_eq!(opened.epoch, self.epoch);
                let id = model_id(opened.allocation.unwrap());
                let item = opened.stock_key.unwrap().item;
                let work = Work { item, quantity: opened.quantity, shipped, cancelled, lost };
                assert!(self.work.insert(id, work).is_none(), "an allocation came twice");
                self.welcomed.insert(id);
                if asked > cancelled {
                    requested.push((id, asked));
                }
            }
        }
        self.past = vec![Store { stock: self.stock.clone(), work: self.work.clone() }];
        // The count: what is on the shelf is on hand.
        for (item, units) in self.shelf.clone() {
            self.stock.entry(item).or_default().on_hand = units;
        }
        self.audit();
        for (id, asked) in requested {
            self.cancel(id, asked);
        }
        let items: Vec<String> = self.stock.keys().cloned().collect();
        for item in items {
            self.report(&item);
        }
        self.recovering = false;
        self.say(Fact::RecoveryEnded(feed::RecoveryEnded::default()));
    }

    /// What manifests show as gone beyond the progress counts as consumed, but for what was signed away meanwhile.
    fn audit(&mut self) {
        for (id, gone) in self.manifests.clone() {
            let work = self.work.get_mut(&id).expect("the coordinator knows every allocation that it made");
            if gone > work.shipped {
                let most = work.quantity - work.cancelled;
                let stock = self.stock.get_mut(&work.item).unwrap();
                stock.consumed += (gone.min(most) - work.shipped).max(0);
                work.shipped = gone.min(most).max(work.shipped);
                self.say_shipped(id, gone);
            }
        }
    }

    fn say_shipped(&mut self, id: (u32, u64, u32), shipped_total: i64) {
        let line = feed::ShipmentLine { allocation: Some(wire_id(id)), shipped_total, ..Default::default() };
        self.say(Fact::ShipmentDispatched(feed::ShipmentDispatched { lines: vec![line], ..Default::default() }));
    }

    /// Cancels up to a total that was asked, and answers.
    fn cancel(&mut self, id: (u32, u64, u32), requested_total: i64) {
        let work = self.work.get_mut(&id).unwrap();
        let open = work.quantity - work.shipped - work.cancelled;
        work.cancelled += (requested_total - work.cancelled).clamp(0, open);
        let (cancelled_total, lost_total) = (work.cancelled, work.lost);
        self.say(Fact::CancellationAnswered(feed::CancellationAnswered {
            allocation: Some(wire_id(id)),
            requested_total,
            cancelled_total,
            lost_total,
        }));
    }

    /// Tells of a shortfall at every change of its level.
    fn report(&mut self, item: &str) {
        let Some(stock) = self.stock.get_mut(item) else { return };
        let level = (stock.outstanding() - stock.on_hand).max(0);
        if level == stock.level && !std::mem::take(&mut stock.welcome) {
            return;
        }
        stock.level = level;
        let returned_total = stock.returned;
        self.say(Fact::ShortfallReported(feed::ShortfallReported {
            stock_key: Some(key(item)),
            level,
            returned_total,
        }));
    }

    pub fn adjust(&mut self, item: &str, delta: i64) {
        let stock = self.stock.entry(item.to_owned()).or_default();
        let delta = delta.max(-stock.on_hand);
        stock.on_hand += delta;
        *self.shelf.entry(item.to_owned()).or_default() += delta;
        let adjusted = feed::StockAdjusted { stock_key: Some(key(item)), delta, ..Default::default() };
        self.say(Fact::StockAdjusted(adjusted));
        self.report(item);
    }

    pub fn grant(&mut self, item: &str, units: i64) {
        let stock = self.stock.entry(item.to_owned()).or_default();
        let units = units.min(stock.retained());
        if units > 0 {
            stock.granted += units;
            let granted_total = stock.granted;
            self.say(Fact::RightsGranted(feed::RightsGranted { stock_key: Some(key(item)), granted_total }));
        }
    }

    pub fn sell(&mut self, item: &str, units: i64) {
        let stock = self.stock.entry(item.to_owned()).or_default();
        let units = units.min(stock.retained()).max(0);
        stock.on_hand -= units;
        *self.shelf.entry(item.to_owned()).or_default() -= units;
        if units > 0 {
            // So that every change of the store is an entry of its feed.
            self.say(Fact::SoldAtCounter(feed::SoldAtCounter::default()));
        }
    }

    pub fn nth_work(&self, n: usize) -> Option<(u32, u64, u32)> {
        let open: Vec<_> = self
            .work
            .iter()
            .filter(|(_, work)| work.quantity > work.shipped + work.cancelled)
            .map(|(id, _)| *id)
            .collect();
        if open.is_empty() { None } else { Some(open[n % open.len()]) }
    }

    pub fn ship(&mut self, id: (u32, u64, u32), units: i64) {
        let work = self.work.get_mut(&id).unwrap();
        let stock = self.stock.get_mut(&work.item).unwrap();
        let units = units.min(work.quantity - work.shipped - work.cancelled).min(stock.on_hand);
        if units == 0 {
            return;
        }
        work.shipped += units;
        stock.on_hand -= units;
        stock.consumed += units;
        *self.shelf.entry(work.item.clone()).or_default() -= units;
        let shipped = work.shipped;
        *self.manifests.entry(id).or_default() += units;
        self.say_shipped(id, shipped);
    }

    pub fn decline(&mut self, id: (u32, u64, u32), units: i64, lost: bool) {
        let work = self.work.get_mut(&id).unwrap();
        let stock = self.stock.get_mut(&work.item).unwrap();
        let units = units.min(work.quantity - work.shipped - work.cancelled);
        work.cancelled += units;
        if lost {
            work.lost += units;
            let gone = units.min(stock.on_hand);
            stock.on_hand -= gone;
            *self.shelf.entry(work.item.clone()).or_default() -= gone;
        }
        let (item, cancelled_total, lost_total) = (work.item.clone(), work.cancelled, work.lost);
        let allocation = Some(wire_id(id));
        self.say(Fact::AllocationDeclined(feed::AllocationDeclined {
            allocation,
            cancelled_total,
            lost_total,
            ..Default::default()
        }));
        self.report(&item);
    }

    /// An entry of the coordinator's feed arrives: the next one, one that came before, or one too far ahead.
    pub fn receive(&mut self, entry: &FeedEntry) {
        let feed = FeedId { participant: "coordinator/1".into(), destination: format!("node/{}", self.name), epoch: 1 };
        let Ok(Some(body)) = self.cursor.accept(&feed, entry) else { return };
        match body.fact.unwrap() {
            Fact::AllocationOpened(opened) => {
                let item = opened.stock_key.unwrap().item;
                let work = Work { item, quantity: opened.quantity, ..Work::default() };
                let id = model_id(opened.allocation.unwrap());
                if self.welcomed.contains(&id) {
                    return;
                }
                assert_eq!(opened.epoch, self.epoch);
                assert!(self.work.insert(id, work).is_none(), "an id came twice");
            }
            Fact::CancellationRequested(request) => {
                self.cancel(model_id(request.allocation.unwrap()), request.requested_total);
            }
            Fact::RightsReturned(returned) => {
                if returned.epoch != self.epoch {
                    return;
                }
                let item = returned.stock_key.unwrap().item;
                let stock = self.stock.get_mut(&item).unwrap();
                stock.returned = stock.returned.max(returned.returned_total);
                self.report(&item);
            }
            Fact::ItemRanged(_) => {}
            other => panic!("not for a node: {other:?}"),
        }
    }
}

fn model_id(id: wire::AllocationId) -> (u32, u64, u32) {
    (id.incarnation, id.log_index, id.n)
}

fn wire_id((incarnation, log_index, n): (u32, u64, u32)) -> wire::AllocationId {
    wire::AllocationId { incarnation, log_index, n }
}

/// The id of a piece of work, as the core has it.
pub fn allocation_id((incarnation, log_index, n): (u32, u64, u32)) -> AllocationId {
    AllocationId { incarnation: Incarnation(incarnation), log_index, n }
}
