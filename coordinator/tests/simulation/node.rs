//! One replica as it runs: the replica struct over a disk, the real state machine, and what a leader does with calls.
//!
//! It does what the production driver does, in the same order, without threads and sockets.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message as _;
use raft::eraftpb::{Message, SnapshotMetadata};
use rand::RngExt;
use rand::rngs::StdRng;
use stockmesh_coordinator::replica::clock::{ClockWatch, Reading, Verdict};
use stockmesh_coordinator::replica::hashes::{Digest, Divergence, HashWatch};
use stockmesh_coordinator::replica::members::{Change, Directory, StoreId, in_order};
use stockmesh_coordinator::replica::{Committed, Effect, Replica, Settings};
use stockmesh_coordinator_core::decide::{self, OrderDecision, Overlay};
use stockmesh_coordinator_core::{Answer, State};
use stockmesh_proto::raft::v1::{Command, LogEntry, command};
use stockmesh_types::{Principal, PrincipalKind, Reason, Reject};

use crate::disk::{Disk, Stored, Write};
use crate::history::{Ask, Told};
use crate::requests::{create_command, order, promised};
use crate::world::Mutant;

/// Entries behind which a snapshot is taken, and those that stay in the log.
const SNAPSHOT_EVERY: u64 = 40;
const KEEP: u64 = 6;

/// What came of one turn at work.
#[derive(Default)]
pub struct Worked {
    pub messages: Vec<Message>,
    pub told: Vec<(usize, Told)>,
    /// Not done, for certain.
    pub void: Vec<usize>,
    pub unknown: usize,
    pub applied: Vec<(u64, Digest)>,
    pub crashed: bool,
    /// It must stop for good.
    pub fault: Option<String>,
    pub installed: usize,
    pub refused: usize,
}

/// What a replica tells of itself.
pub struct Theirs {
    pub store: StoreId,
    pub wall_ms: i64,
    pub hashes: Vec<(u64, Digest)>,
    pub settled: bool,
}

/// Whether a call is taken.
pub enum Taken {
    Waits,
    AtOnce(Told),
    /// Not done, for certain.
    Void,
}

pub struct Node {
    pub id: u64,
    pub store: StoreId,
    pub disk: Disk,
    /// Voters of the beginning; none for one that joins.
    beginning: Vec<u64>,
    pub replica: Option<Replica<Disk>>,
    pub state: State,
    overlay: Overlay,
    pub clock_off_ms: i64,
    pub started_step: i64,
    pub paused_until: i64,
    pub stopped: bool,
    /// Its disk is not the one that joined.
    pub impostor: bool,
    clocks: ClockWatch,
    pub hashes: HashWatch,
    heard: BTreeMap<u64, StoreId>,
    right: bool,
    led: bool,
    /// A learner joined since the last snapshot.
    snapshot_wanted: bool,
    /// A step of work that goes on by itself is in flight.
    backlog: Option<u64>,
    gathered: Vec<(Command, Option<usize>)>,
    proposed: BTreeMap<u64, Vec<Option<usize>>>,
    refusals: Vec<(usize, Told)>,
    confirming: BTreeMap<u64, Vec<(usize, Told)>>,
    reads: BTreeMap<u64, (usize, usize)>,
    next_ticket: u64,
    mutant: Mutant,
}

impl Node {
    pub fn new(id: u64, store: StoreId, disk: Disk, beginning: &[u64]) -> Self {
        Self {
            id,
            store,
            disk,
            beginning: beginning.to_vec(),
            replica: None,
            state: State::new(),
            overlay: Overlay::new(),
            clock_off_ms: 0,
            started_step: 0,
            paused_until: 0,
            stopped: false,
            impostor: false,
            clocks: ClockWatch::default(),
            hashes: HashWatch::default(),
            heard: BTreeMap::new(),
            right: false,
            led: false,
            snapshot_wanted: false,
            backlog: None,
            gathered: vec![],
            proposed: BTreeMap::new(),
            refusals: vec![],
            confirming: BTreeMap::new(),
            reads: BTreeMap::new(),
            next_ticket: 1,
            mutant: Mutant::None,
        }
    }

    /// Opens the disk, as the process does.
    pub fn start(&mut self, life: u64, step: i64, mutant: Mutant) -> Result<(), String> {
        let stored = self.disk.open();
        let (index, term) = stored.as_ref().map_or((0, 0), |stored| (stored.metadata.index, stored.metadata.term));
        let mut settings = Settings::new(self.id, life, index, term);
        settings.store = self.store;
        settings.directory = match &stored {
            Some(stored) => stored.directory.clone(),
            None => Directory::seeded(self.beginning.iter().map(|id| (*id, address(*id)))),
        };
        self.state = stored.map_or_else(State::new, |stored| State::restore(stored.chunks.iter().cloned()).unwrap());
        // Fixed and different, because raft-rs draws election timeouts from a generator of its own.
        let ticks = 11 + 2 * usize::try_from(self.id).unwrap();
        (settings.election_ticks, settings.election_range) = (10, Some((ticks, ticks + 1)));
        settings.max_message_bytes = 4_096;
        self.overlay.clear();
        (self.clocks, self.hashes) = (ClockWatch::default(), HashWatch::default());
        (self.right, self.led, self.started_step, self.mutant) = (false, false, step, mutant);
        if mutant == Mutant::AnyDisk {
            settings.directory = Directory::seeded((1..=32).map(|id| (id, address(id))));
        }
        self.replica = Some(Replica::new(&settings, self.disk.clone()).map_err(|fault| fault.to_string())?);
        Ok(())
    }

    /// The process is gone. Gives how many writes nobody knows the outcome of.
    pub fn forget_waiting(&mut self) -> usize {
        let unknown = self.proposed.values().map(|calls| calls.iter().flatten().count()).sum();
        self.proposed.clear();
        self.gathered.clear();
        self.backlog = None;
        self.refusals.clear();
        self.confirming.clear();
        self.reads.clear();
        unknown
    }

    pub fn told_hashes(&self, id: u64) -> Vec<(u64, Digest)> {
        self.hashes.of(id).collect()
    }

    pub fn is_settled(&self) -> bool {
        self.replica.as_ref().is_some_and(Replica::is_settled)
    }

    pub fn hear(&mut self, peer: u64, theirs: &Theirs, ours: Reading) {
        let Theirs { store, wall_ms, hashes, settled } = theirs;
        if *settled && let Some(replica) = &mut self.replica {
            replica.met_settled(peer);
        }
        self.heard.insert(peer, *store);
        self.clocks.compare(peer, *wall_ms, ours, ours);
        for (index, digest) in hashes {
            self.hashes.note(peer, *index, *digest);
        }
    }

    pub fn beginning(&self) -> &[u64] {
        &self.beginning
    }

    pub fn takes_writes(&self) -> bool {
        let Some(replica) = &self.replica else { return false };
        let status = replica.status();
        status.leads && replica.applied().1 == status.term && (self.right || self.mutant == Mutant::AnyClock)
    }

    /// Takes a call.
    pub fn ask(&mut self, call: usize, item: usize, ask: Ask, now: Reading) -> Taken {
        if ask == Ask::Read {
            if self.mutant == Mutant::LocalReads {
                return Taken::AtOnce(Told::Free(crate::requests::free(&self.state, item)));
            }
            let ticket = self.ticket();
            self.reads.insert(ticket, (call, item));
            return Taken::Waits;
        }
        if !self.takes_writes() {
            return Taken::Void;
        }
        let Ask::Place { order: id, units } = ask else {
            let now_ms = now.wall_ms.max(self.state.log_time().0);
            self.gathered.push((create_command(item, now_ms, call), Some(call)));
            return Taken::Waits;
        };
        self.place(call, item, id, units, now)
    }

    fn place(&mut self, call: usize, item: usize, id: u32, units: i64, now: Reading) -> Taken {
        let (order, hash) = order(item, id, units);
        let now_ms = now.wall_ms.max(self.state.log_time().0);
        match decide::order(&self.state, &self.overlay, &order, hash, 0, now_ms) {
            Ok(OrderDecision::Commit(commit)) => {
                let kind = command::Kind::CommitOrder(commit);
                let number = self.replica.as_ref().map_or(0, Replica::next_proposal);
                self.overlay.add(number, &self.state, &kind);
                self.gathered.push((own(kind), Some(call)));
                Taken::Waits
            }
            // It is in the state: no leader can take that back.
            Ok(OrderDecision::AlreadyPlaced) => {
                Taken::AtOnce(Told::Placed { promised: promised(&self.state, &order.order_id) })
            }
            Err(reject) => match refusal(&reject) {
                Some(told) => {
                    self.refusals.push((call, told));
                    Taken::Waits
                }
                None => Taken::Void,
            },
        }
    }

    fn ticket(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        if let Some(replica) = &mut self.replica {
            replica.read(ticket);
        }
        ticket
    }

    /// Gathers a command of the test itself.
    pub fn submit(&mut self, kind: command::Kind, request_id: String) {
        self.gathered.push((Command { request_id, request_hash: vec![0; 32], ..own(kind) }, None));
    }

    /// One loop of the driver.
    pub fn work(&mut self, now: Reading, random: &mut StdRng, faults: bool) -> Worked {
        let mut worked = Worked::default();
        let Some(mut replica) = self.replica.take() else { return worked };
        replica.tick();
        let verdict = self.clocks.verdict(self.id, &replica.members().conf.voters, now);
        self.right = verdict == Verdict::Right;
        if self.mutant != Mutant::AnyClock {
            replica.set_fit(!matches!(verdict, Verdict::Off(_)));
        }
        self.replica = Some(replica);
        self.confirm(&mut worked);
        if self.takes_writes() {
            self.meet();
            self.work_off();
        }
        self.propose(now, &mut worked);
        let Some(mut replica) = self.replica.take() else { return worked };
        self.turns(&mut replica, random, faults, &mut worked);
        if self.led != replica.leads() {
            self.led = replica.leads();
            self.overlay.clear();
            self.backlog = None;
            for (ticket, refusals) in std::mem::take(&mut self.confirming) {
                replica.forget_reads(&[ticket]);
                worked.void.extend(refusals.into_iter().map(|(call, _)| call));
            }
        }
        let conf = &replica.members().conf;
        if let Some(Divergence::Ours { index, .. }) =
            self.hashes.judge(self.id, conf.voters.len() + conf.learners.len())
        {
            panic!("replica {} differs at {index}", self.id);
        }
        let record = replica.members().directory.get(self.id);
        if record.is_some_and(|record| record.removed) && !replica.members().contains(self.id) {
            worked.fault = Some("removed".to_owned());
        }
        self.maybe_snapshot(&replica);
        self.replica = Some(replica);
        worked
    }

    fn confirm(&mut self, worked: &mut Worked) {
        if self.refusals.is_empty() {
            return;
        }
        let refusals = std::mem::take(&mut self.refusals);
        worked.refused += refusals.len();
        if self.mutant == Mutant::UnconfirmedRefusals {
            worked.told.extend(refusals);
            return;
        }
        let ticket = self.ticket();
        self.confirming.insert(ticket, refusals);
    }

    /// Binds a member that was met to its disk.
    fn meet(&mut self) {
        let Some(replica) = &mut self.replica else { return };
        let members = replica.members();
        let unmet = |id: u64| members.directory.get(id).is_none_or(|record| record.store.is_none());
        let own = unmet(self.id).then_some((self.id, self.store));
        let other = || self.heard.iter().find(|(id, _)| members.contains(**id) && unmet(**id));
        let met = own.or_else(|| other().map(|(id, store)| (*id, *store)));
        if let Some((id, store)) = met {
            // Another change may be under way: later, then.
            let _ = replica.change(&Change::Met { id, store });
        }
    }

    /// Promises units that wait.
    fn work_off(&mut self) {
        let Some(replica) = &self.replica else { return };
        if self.backlog.is_some() || !self.state.backlog_nonempty() {
            return;
        }
        let number = replica.next_proposal();
        let Some(kind) = decide::next_step(&self.state, &self.overlay, 8) else { return };
        self.overlay.add(number, &self.state, &kind);
        self.gathered.push((own(kind), None));
        self.backlog = Some(number);
    }

    fn propose(&mut self, now: Reading, worked: &mut Worked) {
        let writes = self.takes_writes();
        let Some(replica) = &mut self.replica else { return };
        if self.gathered.is_empty() {
            return;
        }
        let (commands, calls): (Vec<_>, Vec<_>) = std::mem::take(&mut self.gathered).into_iter().unzip();
        if !writes {
            // It was deposed since, or its clock jumped.
            self.overlay.clear();
            self.backlog = None;
            worked.void.extend(calls.into_iter().flatten());
            return;
        }
        let stamp_ms = now.wall_ms.max(self.state.log_time().0);
        let number = replica.next_proposal();
        let entry = LogEntry { feature_level: 2, stamp_ms, proposer: self.id, proposal: number, commands };
        if replica.propose(entry.encode_to_vec()).is_ok() {
            self.proposed.insert(number, calls);
        } else {
            self.overlay.remove(number);
            self.backlog = None;
            worked.void.extend(calls.into_iter().flatten());
        }
    }

    fn turns(&mut self, replica: &mut Replica<Disk>, random: &mut StdRng, faults: bool, worked: &mut Worked) {
        while let Some(mut turn) = replica.turn() {
            loop {
                match turn.next() {
                    Ok(Some(effect)) => self.perform(effect, worked),
                    Ok(None) => break,
                    Err(fault) => {
                        worked.fault = Some(fault.to_string());
                        return;
                    }
                }
                if faults && random.random_range(0..6_000) == 0 {
                    worked.crashed = true;
                    return;
                }
            }
        }
    }

    fn perform(&mut self, effect: Effect, worked: &mut Worked) {
        match effect {
            Effect::Send(messages) => worked.messages.extend(messages),
            Effect::Install(metadata) => {
                let stored = self.disk.stored((metadata.index, metadata.term)).expect("stored before it was stepped");
                let stands = |of: &SnapshotMetadata| (of.index, of.term, in_order(of.get_conf_state().clone()));
                assert_eq!(stands(&stored.metadata), stands(&metadata));
                let state = State::restore(stored.chunks.iter().cloned()).unwrap();
                assert!(state.applied_index() >= self.state.applied_index(), "a snapshot must not take the state back");
                self.state = state;
                self.disk.offer((metadata.index, metadata.term));
                worked.installed += 1;
            }
            Effect::Persist { snapshot, entries, hard_state, sync } => {
                let snapshot = snapshot.map(|metadata| (metadata.index, metadata.term));
                let sync = sync && self.mutant != Mutant::AnswersBeforeSync;
                self.disk.write(Write::Log { snapshot, entries, hard_state }, sync);
            }
            Effect::PersistCommit(commit) => self.disk.write(Write::Commit(commit), false),
            Effect::MembersChanged { members, .. } => {
                self.snapshot_wanted |= !members.conf.learners.is_empty();
                self.heard.retain(|id, _| members.contains(*id));
                self.clocks.retain(|id| members.contains(id));
                self.hashes.retain(|id| members.contains(id));
            }
            Effect::Apply(entries) => entries.into_iter().for_each(|entry| self.apply(&entry, worked)),
            Effect::Unknown(numbers) => {
                for number in numbers {
                    self.overlay.remove(number);
                    self.backlog.take_if(|waits| *waits == number);
                    let calls = self.proposed.remove(&number).unwrap_or_default();
                    worked.unknown += calls.into_iter().flatten().count();
                }
            }
            Effect::Readable(tickets) => {
                for ticket in tickets {
                    worked.told.extend(self.confirming.remove(&ticket).unwrap_or_default());
                    if let Some((call, item)) = self.reads.remove(&ticket) {
                        worked.told.push((call, Told::Free(crate::requests::free(&self.state, item))));
                    }
                }
            }
        }
    }

    fn apply(&mut self, entry: &Committed, worked: &mut Worked) {
        let Committed { index, data, proposal, .. } = entry;
        if !data.is_empty() {
            let entry = LogEntry::decode(data.clone()).unwrap();
            let applied = self.state.apply(*index, &entry).unwrap();
            let calls = proposal.and_then(|number| self.proposed.remove(&number)).unwrap_or_default();
            if let Some(number) = proposal {
                self.overlay.remove(*number);
                self.backlog.take_if(|waits| waits == number);
            }
            for (call, outcome) in calls.into_iter().zip(applied.outcomes) {
                let Some(call) = call else { continue };
                match outcome {
                    Ok(Answer::OrderPlaced { order_id, .. }) => {
                        worked.told.push((call, Told::Placed { promised: promised(&self.state, order_id.as_str()) }));
                    }
                    Ok(Answer::ItemsCreated { .. }) => worked.told.push((call, Told::Created)),
                    Ok(other) => panic!("{other:?}"),
                    Err(reject) => match refusal(&reject) {
                        Some(told) => worked.told.push((call, told)),
                        None => worked.void.push(call),
                    },
                }
            }
            worked.applied.push((*index, self.state.digest()));
        }
        if HashWatch::is_due(*index) {
            self.hashes.note(self.id, *index, self.state.digest());
        }
    }

    fn maybe_snapshot(&mut self, replica: &Replica<Disk>) {
        let (index, term) = replica.applied();
        let due = index >= self.disk.before() + SNAPSHOT_EVERY || self.snapshot_wanted;
        if !due || self.state.applied_index() == 0 || index < self.disk.before() + KEEP + 1 {
            return;
        }
        self.snapshot_wanted = false;
        let mut metadata = SnapshotMetadata { index, term, ..SnapshotMetadata::default() };
        metadata.set_conf_state(replica.members().conf.clone());
        let chunks = Arc::new(self.state.snapshot().chunks().collect());
        // First the snapshot, synced; then the log is cut behind it, and keeps a tail.
        self.disk.store(Stored { metadata, directory: replica.members().directory.clone(), chunks });
        self.disk.offer((index, term));
        self.disk.write(Write::Compact(index - KEEP), false);
        self.disk.remove_snapshots_before((index.saturating_sub(3 * SNAPSHOT_EVERY), 0));
    }
}

fn own(kind: command::Kind) -> Command {
    let principal = Principal { kind: PrincipalKind::System, id: "test".to_owned() };
    Command { principal: Some((&principal).into()), kind: Some(kind), ..Command::default() }
}

/// What a client may rely on; `None`: not done, and no statement about the state.
fn refusal(reject: &Reject) -> Option<Told> {
    match reject.reason {
        Reason::UnknownItem => Some(Told::UnknownItem),
        Reason::OrderIdReused => Some(Told::IdReused),
        _ => None,
    }
}

pub fn address(id: u64) -> String {
    format!("replica-{id}:7101")
}
