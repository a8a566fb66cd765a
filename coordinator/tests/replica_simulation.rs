//! Three replicas in one process, on a network that loses, doubles and reorders, and disks that lose what was not synced.
//!
//! Named guarantees: an acknowledged proposal is in every later state (durability); all replicas apply the same sequence
//! (agreement); a linearizable read sees what was acknowledged before it began (freshness); when the faults end, the
//! group takes proposals again (liveness). One seed gives one run, which is checked by running it twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType, Snapshot, SnapshotMetadata};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stockmesh_coordinator::replica::{Effect, Replica, Settings};

/// What is on a disk: synced, and what a crash loses.
#[derive(Clone, Default)]
struct Disk {
    hard_state: HardState,
    members: ConfState,
    before: (u64, u64),
    entries: Vec<Entry>,
    /// Snapshot's place and the state at it.
    snapshot: Option<(SnapshotMetadata, Vec<u64>)>,
}

impl Disk {
    fn last_index(&self) -> u64 {
        self.before.0 + self.entries.len() as u64
    }

    fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.before.0 && first.index <= self.last_index() + 1, "a gap in the log");
        self.entries.truncate(usize::try_from(first.index - self.before.0 - 1).unwrap());
        self.entries.extend_from_slice(entries);
    }
}

/// The log of one replica: `now` is what it reads, `synced` what a crash leaves.
#[derive(Clone, Default)]
struct MemoryLog(Arc<Mutex<(Disk, Disk)>>);

impl MemoryLog {
    fn write(&self, sync: bool, change: impl FnOnce(&mut Disk)) {
        let mut disks = self.0.lock().unwrap();
        change(&mut disks.0);
        if sync {
            disks.1 = disks.0.clone();
        }
    }

    fn now<T>(&self, read: impl FnOnce(&Disk) -> T) -> T {
        read(&self.0.lock().unwrap().0)
    }

    /// After a crash: unsynced writes may be there as a whole, or not.
    fn crash(&self, keep_unsynced: bool) -> Self {
        let disks = self.0.lock().unwrap();
        let left = if keep_unsynced { disks.0.clone() } else { disks.1.clone() };
        Self(Arc::new(Mutex::new((left.clone(), left))))
    }
}

impl Storage for MemoryLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.now(|disk| RaftState::new(disk.hard_state.clone(), disk.members.clone())))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        self.now(|disk| {
            if low <= disk.before.0 {
                return Err(raft::Error::Store(StorageError::Compacted));
            }
            let at = |index: u64| usize::try_from(index - disk.before.0 - 1).unwrap();
            let mut entries = disk.entries[at(low)..at(high)].to_vec();
            raft::util::limit_size(&mut entries, max_size.into());
            Ok(entries)
        })
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        self.now(|disk| match index.checked_sub(disk.before.0) {
            None => Err(raft::Error::Store(StorageError::Compacted)),
            Some(0) => Ok(disk.before.1),
            Some(offset) => disk
                .entries
                .get(usize::try_from(offset - 1).unwrap())
                .map(|entry| entry.term)
                .ok_or(raft::Error::Store(StorageError::Unavailable)),
        })
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.now(|disk| disk.before.0 + 1))
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.now(Disk::last_index))
    }

    fn snapshot(&self, request_index: u64, _: u64) -> raft::Result<Snapshot> {
        self.now(|disk| match &disk.snapshot {
            Some((metadata, state)) if metadata.index >= request_index => {
                let mut snapshot = Snapshot::default();
                snapshot.set_metadata(metadata.clone());
                snapshot.data = state.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<u8>>().into();
                Ok(snapshot)
            }
            _ => Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable)),
        })
    }
}

/// One replica, up or down.
struct Node {
    log: MemoryLog,
    replica: Option<Replica<MemoryLog>>,
    /// The state machine: values in the order in which they were applied.
    state: Vec<u64>,
    /// Proposal number to value, of those that wait.
    waiting: BTreeMap<u64, u64>,
    /// Read ticket to what had been acknowledged when it began.
    reads: BTreeMap<u64, BTreeSet<u64>>,
}

struct World {
    random: StdRng,
    nodes: Vec<Node>,
    /// Messages under way, with the number of steps until they arrive.
    wire: Vec<(u32, Message)>,
    /// Sender and receiver of snapshots that got lost.
    lost_snapshots: Vec<(u64, u64)>,
    acknowledged: BTreeSet<u64>,
    applied: Vec<u64>,
    next_value: u64,
    next_ticket: u64,
    lives: u64,
    faults: bool,
    counts: Counts,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    acknowledged: usize,
    unknown: usize,
    crashes: usize,
    lost: usize,
    doubled: usize,
    snapshots_installed: usize,
    reads: usize,
}

const IDS: [u64; 3] = [1, 2, 3];

impl World {
    fn new(seed: u64) -> Self {
        let nodes = IDS
            .iter()
            .map(|_| {
                let log = MemoryLog::default();
                log.write(true, |disk| disk.members.voters = IDS.to_vec());
                Node { log, replica: None, state: vec![], waiting: BTreeMap::new(), reads: BTreeMap::new() }
            })
            .collect();
        let mut world = Self {
            random: StdRng::seed_from_u64(seed),
            nodes,
            wire: vec![],
            lost_snapshots: vec![],
            acknowledged: BTreeSet::new(),
            applied: vec![],
            next_value: 1,
            next_ticket: 1,
            lives: 0,
            faults: true,
            counts: Counts::default(),
        };
        (0..3).for_each(|at| world.start(at));
        world
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn start(&mut self, at: usize) {
        self.lives += 1;
        let node = &mut self.nodes[at];
        let (metadata, state) = node.log.now(|disk| disk.snapshot.clone()).unwrap_or_default();
        let mut settings = Settings::new(IDS[at], self.lives, metadata.index, metadata.term);
        // Fixed and different, because raft-rs draws election timeouts from a generator of its own.
        let ticks = 10 + 3 * at;
        (settings.election_ticks, settings.election_range) = (10, Some((ticks, ticks + 1)));
        settings.max_message_bytes = 512;
        node.state = state;
        node.replica = Some(Replica::new(&settings, node.log.clone()).unwrap());
    }

    fn crash(&mut self, at: usize) {
        let keep = self.chance(50);
        let node = &mut self.nodes[at];
        node.log = node.log.crash(keep);
        node.replica = None;
        node.waiting.clear();
        node.reads.clear();
        self.counts.crashes += 1;
    }

    /// Lets one replica work. With faults on it may crash between any two effects.
    fn work(&mut self, at: usize) {
        let Some(mut replica) = self.nodes[at].replica.take() else { return };
        let mut crashed = false;
        'turns: while let Some(mut turn) = replica.turn() {
            while let Some(effect) = turn.next().unwrap() {
                self.perform(at, effect);
                if self.faults && self.random.random_range(0..4_000) == 0 {
                    crashed = true;
                    break 'turns;
                }
            }
        }
        self.nodes[at].replica = Some(replica);
        if crashed {
            self.crash(at);
        } else {
            self.maybe_compact(at);
        }
    }

    fn perform(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Send(messages) => messages.into_iter().for_each(|message| self.send(message)),
            Effect::Install(metadata) => {
                self.counts.snapshots_installed += 1;
                let node = &mut self.nodes[at];
                let (at_disk, state) =
                    node.log.now(|disk| disk.snapshot.clone()).expect("stored before it was stepped");
                assert_eq!(at_disk.index, metadata.index);
                assert!(state.len() >= node.state.len(), "a snapshot must not take the state back");
                node.state = state;
            }
            Effect::Persist { snapshot, entries, hard_state, sync } => {
                self.nodes[at].log.write(sync, |disk| {
                    if let Some(metadata) = snapshot {
                        disk.before = (metadata.index, metadata.term);
                        disk.entries.clear();
                        disk.members = metadata.get_conf_state().clone();
                    }
                    disk.append(&entries);
                    if let Some(state) = hard_state {
                        disk.hard_state = state;
                    }
                });
            }
            Effect::PersistCommit(commit) => self.nodes[at].log.write(false, |disk| disk.hard_state.commit = commit),
            Effect::PersistMembers(members) => self.nodes[at].log.write(false, |disk| disk.members = members),
            Effect::Apply(entries) => {
                for entry in entries {
                    if entry.data.is_empty() {
                        continue;
                    }
                    let value = u64::from_be_bytes(entry.data[..].try_into().unwrap());
                    let node = &mut self.nodes[at];
                    node.state.push(value);
                    let place = node.state.len() - 1;
                    // Agreement: the first to apply a place decides it for all.
                    match self.applied.get(place) {
                        Some(decided) => assert_eq!(*decided, value, "replica {at} applied another value at {place}"),
                        None => self.applied.push(value),
                    }
                    if let Some(number) = entry.proposal {
                        assert_eq!(node.waiting.remove(&number), Some(value), "answered with another's outcome");
                        self.acknowledged.insert(value);
                        self.counts.acknowledged += 1;
                    }
                }
            }
            Effect::Unknown(numbers) => {
                for number in numbers {
                    assert!(self.nodes[at].waiting.remove(&number).is_some());
                    self.counts.unknown += 1;
                }
            }
            Effect::Readable(tickets) => {
                for ticket in tickets {
                    let node = &mut self.nodes[at];
                    let acknowledged_before = node.reads.remove(&ticket).expect("asked");
                    let seen: BTreeSet<u64> = node.state.iter().copied().collect();
                    assert!(acknowledged_before.is_subset(&seen), "replica {at} served a stale read");
                    self.counts.reads += 1;
                }
            }
        }
    }

    fn send(&mut self, message: Message) {
        if self.faults && self.chance(10) {
            self.counts.lost += 1;
            // A lost snapshot is reported, as the transport does.
            if message.get_msg_type() == MessageType::MsgSnapshot {
                self.lost_snapshots.push((message.from, message.to));
            }
            return;
        }
        let delay = if self.faults { self.random.random_range(1..8) } else { 1 };
        if self.faults && self.chance(5) {
            self.counts.doubled += 1;
            let later = delay + self.random.random_range(1..20);
            self.wire.push((later, message.clone()));
        }
        self.wire.push((delay, message));
    }

    fn deliver(&mut self) {
        for (from, to) in std::mem::take(&mut self.lost_snapshots) {
            let sender = IDS.iter().position(|id| *id == from).unwrap();
            if let Some(replica) = &mut self.nodes[sender].replica {
                replica.report_snapshot(to, false);
            }
        }
        let mut due = vec![];
        for (delay, message) in std::mem::take(&mut self.wire) {
            if delay == 1 { due.push(message) } else { self.wire.push((delay - 1, message)) }
        }
        for message in due {
            let Some(at) = IDS.iter().position(|id| *id == message.to) else { continue };
            // Over bytes, as between processes.
            let mut message = Replica::<MemoryLog>::decode(&message.write_to_bytes().unwrap()).unwrap();
            if message.get_msg_type() == MessageType::MsgSnapshot {
                self.receive_snapshot(at, &mut message);
            }
            if let Some(replica) = &mut self.nodes[at].replica {
                replica.step(message);
            }
        }
    }

    /// Stores the snapshot durably before its message is stepped, and reports to the sender.
    fn receive_snapshot(&mut self, at: usize, message: &mut Message) {
        let arrived = self.nodes[at].replica.is_some();
        if arrived {
            let snapshot = message.mut_snapshot();
            let metadata = snapshot.get_metadata().clone();
            let state: Vec<u64> =
                snapshot.data.chunks(8).map(|value| u64::from_be_bytes(value.try_into().unwrap())).collect();
            snapshot.data.clear();
            let node = &mut self.nodes[at];
            let newest = node.log.now(|disk| disk.snapshot.as_ref().map_or(0, |(metadata, _)| metadata.index));
            // A crash before the log takes it over leaves the older one in charge: as long as the log holds what is
            // between, both give the same state. Here only newer ones than all that is committed are kept.
            let commit = node.log.now(|disk| disk.hard_state.commit);
            if metadata.index > newest && metadata.index > commit {
                node.log.write(true, |disk| disk.snapshot = Some((metadata, state)));
            }
        }
        let sender = IDS.iter().position(|id| *id == message.from).unwrap();
        if let Some(replica) = &mut self.nodes[sender].replica {
            replica.report_snapshot(message.to, arrived);
        }
    }

    fn maybe_compact(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let Some(replica) = &node.replica else { return };
        let (index, term) = replica.applied();
        if index < node.log.now(|disk| disk.before.0) + 30 {
            return;
        }
        let mut metadata = SnapshotMetadata { index, term, ..SnapshotMetadata::default() };
        metadata.set_conf_state(replica.members());
        let state = node.state.clone();
        // First the snapshot, synced; then the log is cut behind it, and keeps a tail.
        node.log.write(true, |disk| disk.snapshot = Some((metadata, state)));
        node.log.write(false, |disk| {
            let keep = index - 5;
            let cut = usize::try_from(keep - disk.before.0).unwrap();
            let term = disk.entries[cut - 1].term;
            disk.entries.drain(..cut);
            disk.before = (keep, term);
        });
    }

    fn step(&mut self) {
        for at in 0..3 {
            if self.nodes[at].replica.is_none() && (!self.faults || self.chance(3)) {
                self.start(at);
            }
            if let Some(replica) = &mut self.nodes[at].replica {
                replica.tick();
            }
        }
        if self.faults && self.random.random_range(0..300) == 0 {
            let at = self.random.random_range(0..3);
            if self.nodes[at].replica.is_some() {
                self.crash(at);
            }
        }
        self.deliver();
        for at in 0..3 {
            let (propose, read) = (self.chance(40), self.chance(10));
            let (value, ticket) = (self.next_value, self.next_ticket);
            let node = &mut self.nodes[at];
            if let Some(replica) = &mut node.replica {
                if propose && let Ok(number) = replica.propose(value.to_be_bytes().to_vec()) {
                    node.waiting.insert(number, value);
                    self.next_value += 1;
                }
                if read && node.reads.len() < 8 {
                    replica.read(ticket);
                    node.reads.insert(ticket, self.acknowledged.clone());
                    self.next_ticket += 1;
                }
            }
            self.work(at);
        }
    }

    fn check_durability(&self) {
        let applied: BTreeSet<u64> = self.applied.iter().copied().collect();
        assert!(self.acknowledged.is_subset(&applied));
        for (at, node) in self.nodes.iter().enumerate() {
            assert_eq!(node.state, self.applied, "replica {at} has caught up with all that was applied");
        }
    }
}

fn run(seed: u64) -> (Counts, Vec<u64>) {
    let mut world = World::new(seed);
    for _ in 0..1_500 {
        world.step();
    }
    let before = world.acknowledged.len();
    assert!(before >= 20, "seed {seed}: too little was achieved under faults: {:?}", world.counts);
    world.faults = false;
    for _ in 0..400 {
        world.step();
    }
    assert!(world.acknowledged.len() > before + 20, "seed {seed}: no progress after the faults: {:?}", world.counts);
    // Quiet: nothing new, until all have what there is.
    for _ in 0..100 {
        for at in 0..3 {
            if let Some(replica) = &mut world.nodes[at].replica {
                replica.tick();
            }
            world.work(at);
        }
        world.deliver();
    }
    world.check_durability();
    (world.counts, world.applied)
}

#[test]
fn nothing_acknowledged_is_lost_and_all_apply_the_same() {
    let mut total = Counts::default();
    for seed in 0..24 {
        let (counts, _) = run(seed);
        total.crashes += counts.crashes;
        total.unknown += counts.unknown;
        total.snapshots_installed += counts.snapshots_installed;
        total.reads += counts.reads;
    }
    // The faults were there: otherwise the run shows nothing.
    assert!(
        total.crashes > 60 && total.unknown > 10 && total.snapshots_installed > 10 && total.reads > 100,
        "{total:?}"
    );
}

#[test]
fn one_seed_gives_one_run() {
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).1, run(8).1);
}
