//! What the replica says must be done, done: in its order, one effect after the other.

use raft::eraftpb::MessageType;

use super::{Driver, Peers};
use crate::fault::Fault;
use crate::machine::Landed;
use crate::replica::Effect;
use crate::storage::log::Write;
use crate::storage::snapshots::Place;

impl<P: Peers> Driver<P> {
    /// Lets the replica have its turns until it has nothing left to do.
    pub(super) fn turns(&mut self) -> Result<(), Fault> {
        loop {
            // Fields apart, because a turn borrows the replica.
            let Self {
                replica,
                log,
                machine,
                snapshots,
                peers,
                flight,
                reads,
                changing,
                watched,
                transfers,
                snapshot_wanted,
                ..
            } = self;
            let Some(mut turn) = replica.turn() else { break };
            let mut unreachable = Vec::new();
            while let Some(effect) = turn.next()? {
                match effect {
                    Effect::Send(messages) => {
                        for message in messages {
                            let (to, is_snapshot) = (message.to, message.get_msg_type() == MessageType::MsgSnapshot);
                            let metadata = message.get_snapshot().get_metadata();
                            let place = Place { index: metadata.index, term: metadata.term };
                            if !peers.send(message) {
                                unreachable.push((to, is_snapshot));
                            } else if is_snapshot {
                                transfers.insert(to, (snapshots.hold(place), None));
                            }
                        }
                    }
                    Effect::Install(metadata) => {
                        let place = Place { index: metadata.index, term: metadata.term };
                        tracing::info!(index = place.index, term = place.term, "installing a snapshot");
                        let manifest = machine.install(snapshots, place)?;
                        log.offer_snapshot(manifest.announcement()?);
                        self.last_snapshot = place;
                        self.applied_bytes = 0;
                    }
                    Effect::Persist { snapshot, entries, hard_state, sync } => {
                        log.write(Write { snapshot, entries, hard_state }, sync)?;
                    }
                    Effect::PersistCommit(commit) => log.write_commit(commit)?,
                    Effect::MembersChanged { members, proposal } => {
                        tracing::info!(conf = ?members.conf, "the members changed");
                        *snapshot_wanted |= !members.conf.learners.is_empty();
                        if let Some(reply) = proposal.and_then(|number| changing.remove(&number)) {
                            // A caller that has gone away needs no answer.
                            let _ = reply.send(Ok(()));
                        }
                        watched.members_changed(self.identity.replica_id, &members)?;
                        peers.members(&members);
                        transfers.retain(|peer, _| members.contains(*peer));
                    }
                    Effect::Apply(entries) => {
                        self.applied_bytes += entries.iter().map(|entry| entry.data.len() as u64).sum::<u64>();
                        let Landed { done, hashes } = machine.apply(&entries)?;
                        for (index, digest) in hashes {
                            watched.hashes.note(self.identity.replica_id, index, digest);
                        }
                        for done in done {
                            let Some(number) = done.proposal else { continue };
                            let landed = flight.landed(number, done.outcomes);
                            self.again.extend(landed.again);
                            if let Some(moved) = landed.backlog {
                                self.backlog_busy = false;
                                self.backlog_rests = moved == 0;
                            }
                        }
                    }
                    Effect::Unknown(numbers) => {
                        flight.unknown(&numbers);
                        for reply in numbers.iter().filter_map(|number| changing.remove(number)) {
                            let _ = reply.send(Err(super::flight::outcome_unknown()));
                        }
                    }
                    Effect::Readable(tickets) => {
                        tickets.iter().for_each(|ticket| flight.confirmed(*ticket));
                        for reply in tickets.iter().filter_map(|ticket| reads.remove(ticket)) {
                            // A reader that has gone away needs no answer.
                            let _ = reply.send(Ok(()));
                        }
                    }
                }
            }
            for (peer, is_snapshot) in unreachable {
                self.replica.report_unreachable(peer);
                if is_snapshot {
                    self.replica.report_snapshot(peer, false);
                }
            }
        }
        let leads = self.replica.leads();
        if self.led != leads {
            self.led = leads;
            let term = self.replica.status().term;
            tracing::info!(leads, term, "leadership changed");
            self.flight.forget_decisions();
            self.replica.forget_reads(&self.flight.deposed());
            (self.initializing, self.backlog_busy, self.backlog_rests) = (false, false, false);
        }
        Ok(())
    }
}
