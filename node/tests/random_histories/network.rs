//! The coordinator's end of the feeds, and messages under way: they may be lost, repeated and overtaken.

use stockmesh_node_core::command::Work;
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::entry::{ChainError, Head};
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{AllocationOpened, CancellationRequested, EntryBody, FeedEntry, RightsReturned};
use stockmesh_types::FeedId;

use crate::common::NOON;
use crate::coordinator::Coordinator;

/// The coordinator with its feed to the node, and how far it has the node's.
pub struct Peer {
    pub coordinator: Coordinator,
    pub heard: Head,
    feed: FeedId,
    head: Head,
    pub entries: Vec<FeedEntry>,
}

impl Peer {
    pub fn new(items: &[&str]) -> Self {
        let feed = FeedId { participant: "coordinator/1".into(), destination: "node/dc-1".into(), epoch: 1 };
        let mut peer = Self {
            coordinator: Coordinator::default(),
            heard: Head::START,
            feed,
            head: Head::START,
            entries: Vec::new(),
        };
        for item in items {
            let ranged = stockmesh_proto::feed::v1::ItemRanged { item: (*item).into(), ..Default::default() };
            peer.say(Fact::ItemRanged(ranged));
        }
        peer
    }

    pub fn feed(&self) -> &FeedId {
        &self.feed
    }

    pub fn head(&self) -> Head {
        self.head
    }

    fn say(&mut self, fact: Fact) {
        let body = EntryBody { time_ms: NOON, group: 1, incarnation: 1, fact: Some(fact), ..EntryBody::default() };
        let entry = self.head.append(&self.feed, &body);
        self.entries.push(entry);
    }

    /// What the coordinator decided becomes entries of its feed.
    pub fn speak(&mut self) {
        while let Some(work) = self.coordinator.outbox.pop_front() {
            self.say(fact(work));
        }
    }

    /// Takes a message with the node's entries; what does not follow on is refused.
    pub fn hear(&mut self, feed: &FeedId, entries: &[FeedEntry]) {
        for entry in entries {
            let mut next = self.heard;
            match next.accept(feed, entry) {
                Ok(Some(body)) => {
                    self.heard = next;
                    self.coordinator.heard += 1;
                    assert_eq!(self.coordinator.heard as u64, next.seq, "I7: an entry took effect twice, or none");
                    self.coordinator.hear(&body.fact.expect("every entry says something"));
                }
                Ok(None) => {}
                Err(ChainError::Gap { .. }) => return,
                Err(error) => panic!("I7: {error}"),
            }
        }
    }
}

fn fact(work: Work) -> Fact {
    match work {
        Work::Open { id, epoch, order_id, line, stock_key, quantity, .. } => Fact::AllocationOpened(AllocationOpened {
            allocation: Some(id.into()),
            epoch: epoch.0,
            order_id: order_id.to_string(),
            line,
            stock_key: Some(wire::StockKey::from(&stock_key)),
            quantity,
            ..Default::default()
        }),
        Work::Cancel { id, requested_total, .. } => Fact::CancellationRequested(CancellationRequested {
            allocation: Some(id.into()),
            requested_total,
            ..Default::default()
        }),
        Work::TakeBackRights { epoch, stock_key, returned_total, .. } => Fact::RightsReturned(RightsReturned {
            epoch: epoch.0,
            stock_key: Some((&stock_key).into()),
            returned_total,
        }),
        other => panic!("the model says no {other:?}"),
    }
}

/// Messages under way in one direction.
#[derive(Default)]
pub struct Wire(Vec<Vec<FeedEntry>>);

/// Messages that may be under way.
const ROOM: usize = 12;

impl Wire {
    pub fn send(&mut self, entries: Vec<FeedEntry>) {
        if !entries.is_empty() {
            self.0.push(entries);
        }
        if self.0.len() > ROOM {
            self.0.remove(0);
        }
    }

    pub fn deliver(&mut self, n: usize, again: bool) -> Vec<FeedEntry> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let n = n % self.0.len();
        if again { self.0[n].clone() } else { self.0.remove(n) }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
