//! The group under test: replicas on disks, a network, clocks, and clients, all driven by one seed.

use std::collections::{BTreeMap, BTreeSet};

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stockmesh_coordinator::replica::clock::Reading;
use stockmesh_coordinator::replica::members::{Change, StoreId};

use crate::clients::Clients;
use crate::disk::{Disk, Stored};
use crate::history::Call;
use crate::node::{Node, Theirs};
use crate::requests::{STOCKED, UNITS, beginning, free};

/// Milliseconds of one step.
pub const STEP_MS: i64 = 10;
/// 2026-11-21.
pub const START_MS: i64 = 1_795_000_000_000;
/// How far log time may be ahead of true time: the tolerance of clocks, and what a comparison may be off.
const AHEAD_MS: i64 = 600;

/// What is done on purpose wrongly, to see that it is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutant {
    #[default]
    None,
    /// Refusals leave without being confirmed.
    UnconfirmedRefusals,
    /// Reads are answered from whatever the replica knows.
    LocalReads,
    /// A follower says yes before its disk does.
    AnswersBeforeSync,
    /// Wrong clocks stamp.
    AnyClock,
    /// A lost disk is let back in.
    AnyDisk,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts {
    pub answered: usize,
    pub unknown: usize,
    pub crashes: usize,
    pub lost: usize,
    pub doubled: usize,
    pub snapshots_installed: usize,
    pub transfers_broken: usize,
    pub transfers_resumed: usize,
    pub reads: usize,
    pub refusals: usize,
    pub cuts: usize,
    pub pauses: usize,
    pub jumps: usize,
    pub joined: usize,
    pub promoted: usize,
    pub removed: usize,
    pub wiped: usize,
    pub refused_disks: usize,
    pub log_entries: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        macro_rules! sum {
            ($($field:ident)*) => { $(self.$field += other.$field;)* };
        }
        sum!(answered unknown crashes lost doubled snapshots_installed transfers_broken transfers_resumed reads refusals
             cuts pauses jumps joined promoted removed wiped refused_disks log_entries);
    }

    /// The faults were there: otherwise the runs show nothing.
    pub fn were_tried(&self) {
        let least = [
            (self.answered, 10_000, "calls answered"),
            (self.unknown, 100, "outcomes unknown"),
            (self.crashes, 300, "crashes"),
            (self.snapshots_installed, 100, "snapshots installed"),
            (self.transfers_broken, 50, "transfers broken off"),
            (self.transfers_resumed, 20, "transfers resumed"),
            (self.refusals, 300, "refusals"),
            (self.jumps, 100, "clocks that jumped"),
            (self.promoted, 50, "learners promoted"),
            (self.removed, 30, "members removed"),
            (self.wiped, 20, "lost disks"),
            (self.refused_disks, 20, "lost disks refused"),
        ];
        for (found, least, what) in least {
            assert!(found >= least, "{found} {what}: too few to try anything");
        }
    }
}

/// A snapshot under way.
pub struct Transfer {
    pub message: Message,
    pub stored: Stored,
    pub chunk: usize,
}

pub struct World {
    pub seed: u64,
    pub random: StdRng,
    pub mutant: Mutant,
    pub faults: bool,
    pub step: i64,
    pub nodes: BTreeMap<u64, Node>,
    /// Ids that were ever used.
    pub next_id: u64,
    pub lives: u64,
    /// Messages under way, with the steps until they arrive; sender's disk.
    pub wire: Vec<(u32, StoreId, Message)>,
    pub transfers: Vec<Transfer>,
    /// Directed links that are cut.
    pub cut: BTreeSet<(u64, u64)>,
    /// The state's digest after each log index, by whoever applied it first.
    pub decided: BTreeMap<u64, [u8; 32]>,
    pub events: u64,
    pub calls: Vec<Call>,
    /// Calls that were not done, for certain.
    pub void: BTreeSet<usize>,
    pub counts: Counts,
    pub trace: u64,
}

impl World {
    pub fn new(seed: u64, replicas: u64, mutant: Mutant) -> Self {
        let mut world = Self {
            seed,
            random: StdRng::seed_from_u64(seed),
            mutant,
            faults: false,
            step: 0,
            nodes: BTreeMap::new(),
            next_id: replicas + 1,
            lives: 0,
            wire: vec![],
            transfers: vec![],
            cut: BTreeSet::new(),
            decided: BTreeMap::new(),
            events: 0,
            calls: vec![],
            void: BTreeSet::new(),
            counts: Counts::default(),
            trace: 0xcbf2_9ce4_8422_2325,
        };
        let voters: Vec<u64> = (1..=replicas).collect();
        for id in &voters {
            let store = world.draw_store();
            world.nodes.insert(*id, Node::new(*id, store, Disk::new(&voters), &voters));
            world.start(*id);
        }
        world
    }

    pub fn draw_store(&mut self) -> StoreId {
        std::array::from_fn(|_| self.random.random_range(0..=255))
    }

    pub fn chance(&mut self, per_thousand: u32) -> bool {
        self.random.random_range(0..1_000) < per_thousand
    }

    pub fn true_ms(&self) -> i64 {
        START_MS + self.step * STEP_MS
    }

    pub fn reading(&self, id: u64) -> Reading {
        let node = &self.nodes[&id];
        Reading { wall_ms: self.true_ms() + node.clock_off_ms, monotonic_ms: (self.step - node.started_step) * STEP_MS }
    }

    /// Moves the one clock that orders events; part of what makes two runs of a seed comparable.
    pub fn event(&mut self, what: u64) -> u64 {
        self.events += 1;
        for byte in what.to_be_bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.events
    }

    pub fn is_up(&self, id: u64) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.replica.is_some() && node.paused_until <= self.step)
    }

    fn link(&self, from: u64, to: u64) -> bool {
        !self.cut.contains(&(from, to))
    }

    pub fn start(&mut self, id: u64) {
        self.lives += 1;
        let (life, step, mutant) = (self.lives, self.step, self.mutant);
        let outcome = self.nodes.get_mut(&id).map(|node| node.start(life, step, mutant));
        if let Some(Err(what)) = outcome {
            self.stop_for_good(id, &what);
        }
    }

    /// A replica that its peers refuse, or that finds it was replaced, stops and does not come back.
    pub fn stop_for_good(&mut self, id: u64, what: &str) {
        if what.contains("joined on another disk") {
            self.counts.refused_disks += 1;
        }
        self.fail_waiting(id);
        let node = self.nodes.get_mut(&id).unwrap();
        (node.replica, node.stopped) = (None, true);
        self.event(id ^ 0xdead);
    }

    pub fn crash(&mut self, id: u64) {
        self.counts.crashes += 1;
        let keep = self.random.random_range(0..=100);
        self.fail_waiting(id);
        let node = self.nodes.get_mut(&id).unwrap();
        node.disk.crash(keep);
        node.replica = None;
        node.paused_until = 0;
        self.event(id ^ 0xc0);
    }

    /// What waited at a replica that went down: nobody knows what came of it.
    fn fail_waiting(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        // Reads and refusals had no effect; of the others nobody knows.
        let unknown = node.forget_waiting();
        self.counts.unknown += unknown;
    }

    pub fn send(&mut self, from: u64, message: Message) {
        let store = self.nodes[&from].store;
        if message.get_msg_type() == MessageType::MsgSnapshot {
            self.begin_transfer(from, message);
            return;
        }
        if self.faults && self.chance(60) {
            self.counts.lost += 1;
            return;
        }
        let delay = if self.faults { self.random.random_range(1..8) } else { 1 };
        if self.faults && self.chance(40) {
            self.counts.doubled += 1;
            let later = delay + self.random.random_range(1..40);
            self.wire.push((later, store, message.clone()));
        }
        self.wire.push((delay, store, message));
    }

    fn begin_transfer(&mut self, from: u64, message: Message) {
        let metadata = message.get_snapshot().get_metadata();
        let place = (metadata.index, metadata.term);
        let Some(stored) = self.nodes[&from].disk.stored(place) else {
            self.report_snapshot(from, message.to, false);
            return;
        };
        let chunk = self.nodes.get(&message.to).map_or(0, |node| node.disk.partial(place));
        self.counts.transfers_resumed += usize::from(chunk > 0);
        self.transfers.push(Transfer { message, stored, chunk });
    }

    fn report_snapshot(&mut self, from: u64, to: u64, arrived: bool) {
        if let Some(replica) = self.nodes.get_mut(&from).and_then(|node| node.replica.as_mut()) {
            replica.report_snapshot(to, arrived);
        }
    }

    /// Moves snapshots on by a chunk or two; some break off.
    fn transfer(&mut self) {
        for mut transfer in std::mem::take(&mut self.transfers) {
            let (from, to) = (transfer.message.from, transfer.message.to);
            let ways = self.link(from, to) && self.link(to, from) && self.is_up(from) && self.is_up(to);
            if !ways || (self.faults && self.chance(80)) {
                self.counts.transfers_broken += 1;
                self.report_snapshot(from, to, false);
                continue;
            }
            let (node, stored) = (&self.nodes[&to], &transfer.stored);
            let place = (stored.metadata.index, stored.metadata.term);
            transfer.chunk = (transfer.chunk + 2).min(stored.chunks.len());
            node.disk.set_partial(place, transfer.chunk);
            if transfer.chunk < stored.chunks.len() {
                self.transfers.push(transfer);
                continue;
            }
            node.disk.store(stored.clone());
            // Between storing it and taking it over the process may end.
            if self.faults && self.chance(50) {
                self.crash(to);
                self.report_snapshot(from, to, false);
                continue;
            }
            let store = self.nodes[&from].store;
            self.hand_over(store, transfer.message);
            self.report_snapshot(from, to, true);
        }
    }

    fn deliver(&mut self) {
        let mut due = vec![];
        for (delay, store, message) in std::mem::take(&mut self.wire) {
            if delay <= 1 { due.push((store, message)) } else { self.wire.push((delay - 1, store, message)) }
        }
        for (store, message) in due {
            if self.link(message.from, message.to) && self.is_up(message.to) {
                self.hand_over(store, message);
            }
        }
    }

    /// Lets the receiver see a message, when the sender's disk is the one that joined.
    fn hand_over(&mut self, store: StoreId, message: Message) {
        let bytes = message.write_to_bytes().unwrap();
        let (from, to) = (message.from, message.to);
        let Some(node) = self.nodes.get_mut(&to) else { return };
        let Some(replica) = node.replica.as_mut() else { return };
        if self.mutant != Mutant::AnyDisk
            && let Err(not) = replica.members().admit(from, &store)
        {
            // Only to that disk: its successor under another id is not meant.
            let refused = self.nodes.get(&from).is_some_and(|sender| sender.store == store && sender.replica.is_some());
            if refused && self.link(to, from) {
                self.stop_for_good(from, &not.to_string());
            }
            return;
        }
        // Over bytes, as between processes.
        let message = stockmesh_coordinator::replica::Replica::<Disk>::decode(&bytes).unwrap();
        if let Err(malformed) = replica.step(message) {
            // What was acknowledged from the disk that is lost is unknown to its successor.
            assert!(node.impostor && self.mutant != Mutant::AnyDisk, "seed {}: {to}: {malformed}", self.seed);
        }
    }

    /// Replicas compare clocks and hashes.
    fn exchange(&mut self) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for asker in &ids {
            for other in &ids {
                let (a, b) = (*asker, *other);
                if a == b || !self.is_up(a) || !self.is_up(b) || !self.link(a, b) || !self.link(b, a) {
                    continue;
                }
                let ours = self.reading(a);
                let wall_ms = self.reading(b).wall_ms;
                let (node, own) = (&self.nodes[&b], self.nodes[&a].store);
                let theirs =
                    Theirs { store: node.store, wall_ms, hashes: node.told_hashes(b), settled: node.is_settled() };
                let admitted = |at: u64, id: u64, store: &StoreId| {
                    self.nodes[&at].replica.as_ref().is_none_or(|replica| replica.members().admit(id, store).is_ok())
                };
                let (we, they) = (admitted(b, a, &own), admitted(a, b, &theirs.store));
                if self.mutant != Mutant::AnyDisk && !we {
                    self.stop_for_good(a, "joined on another disk");
                    continue;
                }
                if they && let Some(node) = self.nodes.get_mut(&a) {
                    node.hear(b, &theirs, ours);
                }
            }
        }
    }

    /// One step of time for everybody.
    pub fn advance(&mut self, clients: &mut Clients) {
        self.step += 1;
        self.deliver();
        self.transfer();
        if self.step % 20 == 0 {
            self.exchange();
        }
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            if !self.nodes[&id].stopped && self.nodes[&id].replica.is_none() && (!self.faults || self.chance(30)) {
                self.start(id);
            }
            if self.is_up(id) {
                self.work(id, clients);
            }
        }
        self.check_log_time();
    }

    fn check_log_time(&self) {
        for (id, node) in &self.nodes {
            let ahead = node.state.log_time().0 - self.true_ms();
            assert!(ahead <= AHEAD_MS, "seed {}: log time at {id} is {ahead} ms ahead of true time", self.seed);
        }
    }

    pub fn leader(&self) -> Option<u64> {
        let leads =
            |id: &u64| self.is_up(*id) && self.nodes[id].replica.as_ref().is_some_and(|replica| replica.leads());
        let term = |id: &u64| self.nodes[id].replica.as_ref().map_or(0, |replica| replica.status().term);
        self.nodes.keys().copied().filter(leads).max_by_key(term)
    }

    /// A network with stock, before anything goes wrong.
    pub fn set_up(&mut self, clients: &mut Clients) {
        let mut asked = false;
        for _ in 0..2_000 {
            self.advance(clients);
            let leader = self.leader();
            if let Some(node) = leader.and_then(|id| self.nodes.get_mut(&id)) {
                if node.takes_writes() && !asked {
                    asked = true;
                    let time_ms = START_MS + self.step * STEP_MS;
                    for (kind, request_id) in beginning(time_ms) {
                        node.submit(kind, request_id);
                    }
                }
                let bound = |node: &Node| {
                    let members = node.replica.as_ref().map(|replica| replica.members().clone()).unwrap_or_default();
                    members
                        .conf
                        .voters
                        .iter()
                        .all(|id| members.directory.get(*id).is_some_and(|record| record.store.is_some()))
                };
                if self
                    .nodes
                    .values()
                    .all(|node| bound(node) && free(&node.state, STOCKED - 1) == UNITS.iter().sum::<i64>())
                {
                    return;
                }
            }
        }
        panic!("seed {}: the group did not begin", self.seed);
    }

    /// The faults end: everything that may run runs, and clocks are right.
    pub fn heal(&mut self) {
        self.faults = false;
        self.cut.clear();
        for node in self.nodes.values_mut() {
            (node.paused_until, node.clock_off_ms) = (0, 0);
        }
    }

    pub fn check_alive(&self, before: usize) {
        assert!(
            self.counts.answered > before + 5,
            "seed {}: no progress after the faults: {} answers, {:?}",
            self.seed,
            self.counts.answered - before,
            self.describe()
        );
    }

    fn describe(&self) -> Vec<String> {
        let one = |(id, node): (&u64, &Node)| {
            let status = node.replica.as_ref().map(|replica| (replica.status(), replica.members().conf.clone()));
            format!("{id}: stopped {} {status:?}", node.stopped)
        };
        self.nodes.iter().map(one).collect()
    }

    /// All members hold the same, and no change of members is half done.
    pub fn check_rest(&self) {
        let leader = self.leader().unwrap_or_else(|| panic!("seed {}: no leader: {:?}", self.seed, self.describe()));
        let members = self.nodes[&leader].replica.as_ref().map(|replica| replica.members().clone()).unwrap();
        assert!(!members.is_joint(), "seed {}: a change of members was never ended: {:?}", self.seed, members.conf);
        let state = &self.nodes[&leader].state;
        assert!(!state.backlog_nonempty(), "seed {}: units wait, and others are free", self.seed);
        for (id, node) in &self.nodes {
            if node.stopped || !members.contains(*id) {
                continue;
            }
            let here = (node.state.applied_index(), node.state.digest());
            assert_eq!(
                here,
                (state.applied_index(), state.digest()),
                "seed {}: {id}: {:?}",
                self.seed,
                self.describe()
            );
            let chunks = |state: &stockmesh_coordinator_core::State| state.snapshot().chunks().collect::<Vec<_>>();
            assert!(chunks(&node.state) == chunks(state), "seed {}: the state of {id} has other bytes", self.seed);
            let known = node.replica.as_ref().map(|replica| replica.members().clone());
            let sorted = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<_>>();
            let known = known.unwrap_or_default();
            assert_eq!(sorted(&known.conf.voters), sorted(&members.conf.voters), "seed {}: voters of {id}", self.seed);
            assert_eq!(known.directory, members.directory, "seed {}: the directory of {id}", self.seed);
        }
    }

    pub fn change_members(&mut self, change: &Change) -> bool {
        let Some(leader) = self.leader() else { return false };
        let node = self.nodes.get_mut(&leader).unwrap();
        node.replica.as_mut().is_some_and(|replica| replica.change(change).is_ok_and(|number| number.is_some()))
    }
}
