//! What this replica hears of the others, and of itself: clocks, hashes of the state, disks, feature levels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::handle::{Board, Clock, Heard, PeerView};
use super::{Driver, Peers};
use crate::fault::Fault;
use crate::replica::clock::{ClockWatch, Verdict};
use crate::replica::hashes::{Divergence, HashWatch};
use crate::replica::members::{Members, NotAdmitted, StoreId};

/// Ticks between two publications of the board, when nothing urgent changed.
const PUBLISH_TICKS: u32 = 4;

/// See the module.
pub(super) struct Watched {
    clock: Clock,
    clocks: ClockWatch,
    pub(super) hashes: HashWatch,
    verdict: Verdict,
    /// The wall clock that the verdict speaks of.
    judged_ms: i64,
    /// A group of the first release has replicas that tell no clocks: their leader stamps as it did.
    clocks_are_told: bool,
    peers: BTreeMap<u64, (StoreId, u32)>,
    board: watch::Sender<Arc<Board>>,
    ticks: u32,
}

impl Watched {
    pub(super) fn new(members: &Members, wall: fn() -> i64) -> (Self, watch::Receiver<Arc<Board>>) {
        let (board, receiver) = watch::channel(Arc::new(Board { members: members.clone(), ..Board::default() }));
        let watched = Self {
            clock: Clock { wall, started: Instant::now() },
            clocks: ClockWatch::default(),
            hashes: HashWatch::default(),
            verdict: Verdict::Unknown,
            judged_ms: 0,
            clocks_are_told: true,
            peers: BTreeMap::new(),
            board,
            ticks: 0,
        };
        (watched, receiver)
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// The wall clock at the last verdict.
    pub(super) fn judged_ms(&self) -> i64 {
        self.judged_ms
    }

    /// Whether this replica's clock may stamp the log.
    pub(super) fn may_stamp(&self) -> bool {
        match self.verdict {
            Verdict::Right => true,
            Verdict::Unknown => !self.clocks_are_told,
            Verdict::Off(_) => false,
        }
    }

    /// Disks of the others, as they said.
    pub(super) fn stores(&self) -> impl Iterator<Item = (u64, StoreId)> {
        self.peers.iter().map(|(id, (store, _))| (*id, *store))
    }

    pub(super) fn members_changed(&mut self, me: u64, members: &Members) -> Result<(), Fault> {
        self.peers.retain(|id, _| members.contains(*id));
        self.clocks.retain(|id| members.contains(id));
        self.hashes.retain(|id| members.contains(id));
        let removed = members.directory.get(me).is_some_and(|record| record.removed);
        if removed && !members.contains(me) {
            return Err(crate::replica::ReplicaFault::from(NotAdmitted::Removed(me)).into());
        }
        self.board.send_modify(|board| Arc::make_mut(board).members = members.clone());
        Ok(())
    }
}

impl<P: Peers> Driver<P> {
    /// A peer told of itself.
    pub(super) fn heard(&mut self, heard: Heard) -> Result<(), Fault> {
        let Heard { peer, store, feature_level, hashes, clock, settled } = heard;
        if !self.replica.members().contains(peer) {
            return Ok(());
        }
        self.watched.peers.insert(peer, (store, feature_level));
        if settled && self.replica.is_dormant() {
            self.replica.met_settled(peer);
            if !self.replica.is_dormant() {
                tracing::info!("enough of the other replicas know of no other disk under this id: taking part");
            }
        }
        if let Some((theirs_ms, asked, answered)) = clock {
            self.watched.clocks.compare(peer, theirs_ms, asked, answered);
        }
        for (index, digest) in hashes {
            self.watched.hashes.note(peer, index, digest);
        }
        self.compare_hashes()
    }

    fn compare_hashes(&mut self) -> Result<(), Fault> {
        let conf = &self.replica.members().conf;
        let members = conf.voters.len() + conf.learners.len();
        match self.watched.hashes.judge(self.identity.replica_id, members) {
            None => Ok(()),
            Some(Divergence::Ours { index, others }) => Err(Fault::Diverged { index, others }),
            Some(Divergence::Theirs { index, others }) => {
                tracing::error!(
                    index,
                    ?others,
                    "the state of these replicas differs from this one's, which no majority contradicts: look at them"
                );
                Ok(())
            }
        }
    }

    /// Looks at the clock before anything is stamped; a leader that is off lets another lead.
    pub(super) fn judge_clock(&mut self) {
        let now = self.watched.clock.now();
        let voters = &self.replica.members().conf.voters;
        let verdict = self.watched.clocks.verdict(self.identity.replica_id, voters, now);
        self.watched.judged_ms = now.wall_ms;
        let before = std::mem::replace(&mut self.watched.verdict, verdict);
        if before == verdict {
            return;
        }
        match verdict {
            Verdict::Right => tracing::info!("the clock agrees with a majority's"),
            Verdict::Unknown => {
                tracing::info!("the clock jumped, or was not compared yet: it stamps nothing until then")
            }
            Verdict::Off(by_ms) if !matches!(before, Verdict::Off(_)) => {
                tracing::error!(
                    by_ms,
                    "the clock is off the majority's: this replica neither stamps nor leads; set it"
                );
            }
            Verdict::Off(_) => {}
        }
        self.replica.set_fit(!matches!(verdict, Verdict::Off(_)));
    }

    /// Once a tick: what others may look at.
    pub(super) fn watch(&mut self) -> Result<(), Fault> {
        let watched = &mut self.watched;
        watched.ticks += 1;
        if watched.ticks < PUBLISH_TICKS {
            return Ok(());
        }
        watched.ticks = 0;
        // 0: a fresh group, whose replicas are all of this release.
        watched.clocks_are_told = self.machine.state().read().feature_level() != 1;
        let now = watched.clock.now();
        let members = self.replica.members();
        let view = |id: u64| {
            let known = watched.peers.get(&id);
            PeerView {
                feature_level: known.map_or(0, |(_, level)| *level),
                clock_offset_ms: watched.clocks.offset_ms(id, now),
                matched: self.replica.matched(id),
            }
        };
        let board = Board {
            members: members.clone(),
            hashes: watched.hashes.of(self.identity.replica_id).collect(),
            peers: members.directory.iter().map(|(id, _)| (id, view(id))).collect(),
            may_stamp: watched.may_stamp(),
        };
        watched.board.send_if_modified(|before| {
            let news = **before != board;
            if news {
                *before = Arc::new(board);
            }
            news
        });
        self.compare_hashes()
    }
}
