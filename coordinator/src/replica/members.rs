//! Who belongs to the group: Raft's configuration, and beside it the directory of everyone who ever belonged, with
//! address and disk.
//!
//! Both are replicated: a change of members is a log entry whose context carries the directory's records and the members
//! that it was decided on. A replica whose own members differ from those is not of this group, and stops.
//!
//! The directory is what makes a lost disk harmless: it binds an id to the disk that joined under it. A replica that comes
//! back on another disk has forgotten its votes; its peers refuse it, and it stops.

use std::collections::BTreeMap;

use prost::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};
use stockmesh_proto::raft::v1::{MemberChange, MemberRecord};

/// Identity of a disk: random, drawn when a replica's folder is made.
pub type StoreId = [u8; 16];

/// Ids that one group may ever have used; removed ones count, because they are never used again.
pub const MAX_RECORDS: usize = 1_024;
/// Voters and learners at a time.
pub const MAX_MEMBERS: usize = 32;

/// What is known of one id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// host:port.
    pub address: String,
    /// The disk that joined; `None` until it was met.
    pub store: Option<StoreId>,
    /// It was removed.
    pub removed: bool,
}

/// Everyone who ever belonged to the group, by Raft id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory(BTreeMap<u64, Record>);

impl Directory {
    /// Of a fresh group, or of one that kept none so far: addresses as configured.
    pub fn seeded(addresses: impl IntoIterator<Item = (u64, String)>) -> Self {
        Self(addresses.into_iter().map(|(id, address)| (id, Record { address, ..Record::default() })).collect())
    }

    /// From the records of a snapshot.
    ///
    /// # Errors
    /// A store id that is not 16 bytes.
    pub fn of(records: impl IntoIterator<Item = MemberRecord>) -> Result<Self, MalformedRecord> {
        let mut directory = Self::default();
        records.into_iter().try_for_each(|record| directory.take(record))?;
        Ok(directory)
    }

    /// The records, by id.
    #[must_use]
    pub fn records(&self) -> Vec<MemberRecord> {
        let wire = |(id, record): (&u64, &Record)| {
            let Record { address, store, removed } = record;
            MemberRecord {
                replica_id: *id,
                address: address.clone(),
                store_id: store.map_or_else(Vec::new, |store| store.to_vec()),
                removed: *removed,
            }
        };
        self.0.iter().map(wire).collect()
    }

    /// Encoded, as it travels with a snapshot.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        MemberChange { records: self.records(), ..MemberChange::default() }.encode_to_vec()
    }

    /// What is known of an id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Record> {
        self.0.get(&id)
    }

    /// All records, by id.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Record)> {
        self.0.iter().map(|(id, record)| (*id, record))
    }

    /// Takes a logged record. A disk that was met, and a removal, stay.
    fn take(&mut self, record: MemberRecord) -> Result<(), MalformedRecord> {
        let MemberRecord { replica_id, address, store_id, removed } = record;
        let store = match store_id.len() {
            0 => None,
            _ => Some(StoreId::try_from(store_id.as_slice()).map_err(|_| MalformedRecord(replica_id))?),
        };
        let known = self.0.entry(replica_id).or_default();
        known.address = address;
        known.store = known.store.or(store);
        known.removed |= removed;
        Ok(())
    }
}

/// A record whose store id is not 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store id of replica {0} is not 16 bytes")]
pub struct MalformedRecord(u64);

/// Raft's members and the directory, as of the last applied change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members {
    /// Voters, learners, and those of a change that is under way.
    pub conf: ConfState,
    /// Everyone who ever belonged.
    pub directory: Directory,
}

/// Why a replica's messages are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Another disk than the one that joined.
    #[error(
        "replica {0} joined on another disk: what it voted for is lost with that disk, so this one must not go on under \
         the same id. Remove {0} from the group, and add this machine under a new id: `cluster member remove {0}`, then \
         `cluster member add NEW-ID --address HOST:PORT`"
    )]
    StoreReplaced(u64),
    /// It was removed.
    #[error(
        "replica {0} was removed from the group, and its id is never used again: add this machine under a new id, on an \
         empty folder"
    )]
    Removed(u64),
}

impl Members {
    /// True for voters and learners, and for those who leave when the change that is under way is over.
    #[must_use]
    pub fn contains(&self, id: u64) -> bool {
        let ConfState { voters, learners, voters_outgoing, learners_next, .. } = &self.conf;
        [voters, learners, voters_outgoing, learners_next].iter().any(|ids| ids.contains(&id))
    }

    /// Voters of the configuration that is in force or coming.
    #[must_use]
    pub fn is_voter(&self, id: u64) -> bool {
        self.conf.voters.contains(&id)
    }

    /// A change is under way: old and new majorities are both asked.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.conf.voters_outgoing.is_empty()
    }

    /// Addresses of the members, by id. One that has just joined knows no members yet: then all that it was told of.
    pub fn addresses(&self) -> impl Iterator<Item = (u64, &str)> {
        let knows_none = self.conf.voters.is_empty();
        let meant = move |id: u64, record: &Record| {
            (knows_none && !record.removed || self.contains(id)) && !record.address.is_empty()
        };
        let all = self.directory.iter().filter(move |(id, record)| meant(*id, record));
        all.map(|(id, record)| (id, record.address.as_str()))
    }

    /// Whether messages of `replica`, on the disk `store`, may be stepped.
    ///
    /// # Errors
    /// [`NotAdmitted`], for which the log holds proof. Of an id that is not known here nothing is concluded: this replica may
    /// be behind.
    pub fn admit(&self, replica: u64, store: &[u8]) -> Result<(), NotAdmitted> {
        let Some(record) = self.directory.get(replica) else { return Ok(()) };
        if record.removed && !self.contains(replica) {
            return Err(NotAdmitted::Removed(replica));
        }
        match record.store {
            Some(joined) if joined != *store => Err(NotAdmitted::StoreReplaced(replica)),
            _ => Ok(()),
        }
    }
}

/// A change of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A fresh id joins as learner.
    Add {
        /// Raft id.
        id: u64,
        /// host:port.
        address: String,
    },
    /// A learner becomes a voter.
    Promote {
        /// Learner.
        id: u64,
        /// Voter that leaves in the same step.
        instead_of: Option<u64>,
    },
    /// A member leaves.
    Remove {
        /// Member.
        id: u64,
    },
    /// A member's disk was met for the first time.
    Met {
        /// Member.
        id: u64,
        /// Its disk.
        store: StoreId,
    },
}

/// Why members were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Another replica leads.
    #[error("this replica does not lead")]
    NotLeader,
    /// Too much is in flight.
    #[error("too much is in flight, or leadership is being handed over")]
    Busy,
    /// Another change is under way.
    #[error("another change of members is under way")]
    Changing,
    /// No such member.
    #[error("{0} is no member of the group")]
    Unknown(u64),
    /// The id was used by a replica that was removed.
    #[error("replica id {0} belonged to a replica that was removed: draw a new one")]
    Removed(u64),
    /// A member has this id with another address, or this address under another id.
    #[error("member {id} is at {address} already")]
    Exists {
        /// Member.
        id: u64,
        /// Its address.
        address: String,
    },
    /// The learner is not ready.
    #[error("{0}")]
    Behind(String),
    /// It is no learner, or no voter, as the change needs it to be.
    #[error("member {0} votes already, or does not vote: see `cluster member list`")]
    Role(u64),
    /// The group would have no voter left.
    #[error("the group would have no voter left")]
    LastVoter,
    /// The leader can't remove itself: another must lead first.
    #[error("{0} leads: another replica must lead first")]
    Leads(u64),
    /// Too many members, or ids ever used.
    #[error("a group has at most {MAX_MEMBERS} members, and {MAX_RECORDS} ids in its life")]
    Full,
    /// The id or the address can't be.
    #[error("{0}")]
    Invalid(String),
}

/// A change as Raft takes it.
#[derive(Debug, PartialEq)]
pub(super) struct Planned {
    pub(super) conf_change: ConfChangeV2,
}

impl Members {
    /// Checks a change against these members; `None` when it is done already. What depends on progress is the replica's to
    /// check.
    pub(super) fn plan(&self, change: &Change) -> Result<Option<Planned>, ChangeError> {
        let record = |id: u64| self.directory.get(id).cloned().unwrap_or_default();
        let wire = |id: u64, record: Record| MemberRecord {
            replica_id: id,
            address: record.address,
            store_id: record.store.map_or_else(Vec::new, |store| store.to_vec()),
            removed: record.removed,
        };
        let (steps, records) = match change {
            Change::Add { id, address } => {
                if self.is_added(*id, address)? {
                    return Ok(None);
                }
                let joined = Record { address: address.clone(), ..Record::default() };
                (vec![(*id, ConfChangeType::AddLearnerNode)], vec![wire(*id, joined)])
            }
            Change::Promote { id, instead_of } => {
                if self.is_voter(*id) && instead_of.is_none_or(|out| !self.contains(out)) {
                    return Ok(None);
                }
                if !self.conf.learners.contains(id) {
                    return Err(if self.contains(*id) { ChangeError::Role(*id) } else { ChangeError::Unknown(*id) });
                }
                let mut steps = vec![(*id, ConfChangeType::AddNode)];
                let mut records = vec![wire(*id, record(*id))];
                if let Some(out) = *instead_of {
                    if !self.is_voter(out) {
                        return Err(if self.contains(out) {
                            ChangeError::Role(out)
                        } else {
                            ChangeError::Unknown(out)
                        });
                    }
                    steps.push((out, ConfChangeType::RemoveNode));
                    records.push(wire(out, Record { removed: true, ..record(out) }));
                }
                (steps, records)
            }
            Change::Remove { id } => {
                if !self.contains(*id) {
                    let removed = self.directory.get(*id).is_some_and(|record| record.removed);
                    return if removed { Ok(None) } else { Err(ChangeError::Unknown(*id)) };
                }
                if self.conf.voters == [*id] {
                    return Err(ChangeError::LastVoter);
                }
                let left = Record { removed: true, ..record(*id) };
                (vec![(*id, ConfChangeType::RemoveNode)], vec![wire(*id, left)])
            }
            Change::Met { id, store } => {
                if !self.contains(*id) || record(*id).store.is_some() {
                    return Ok(None);
                }
                // It changes nothing for Raft: a log entry that carries the record, under Raft's rule that one change of
                // members is under way at a time.
                let role = if self.is_voter(*id) { ConfChangeType::AddNode } else { ConfChangeType::AddLearnerNode };
                (vec![(*id, role)], vec![wire(*id, Record { store: Some(*store), ..record(*id) })])
            }
        };
        if self.is_joint() {
            return Err(ChangeError::Changing);
        }
        let context = MemberChange {
            records,
            voters_before: sorted(&self.conf.voters),
            learners_before: sorted(&self.conf.learners),
        };
        let mut conf_change = ConfChangeV2::default();
        // Explicit: whoever leads ends the joint configuration. Raft's own automatism forgets it when the leader changes
        // between the two steps.
        if steps.len() > 1 {
            conf_change.set_transition(ConfChangeTransition::Explicit);
        }
        conf_change.context = context.encode_to_vec().into();
        for (id, kind) in steps {
            let mut single = ConfChangeSingle { node_id: id, ..ConfChangeSingle::default() };
            single.set_change_type(kind);
            conf_change.mut_changes().push(single);
        }
        Ok(Some(Planned { conf_change }))
    }

    fn is_added(&self, id: u64, address: &str) -> Result<bool, ChangeError> {
        let known = self.directory.get(id);
        if known.is_some_and(|record| record.removed) {
            return Err(ChangeError::Removed(id));
        }
        if id == 0 || address.is_empty() || address.len() > 255 || !address.contains(':') {
            return Err(ChangeError::Invalid("a member has an id from 1 and an address host:port".to_owned()));
        }
        if self.contains(id) {
            let present = known.map_or_else(String::new, |record| record.address.clone());
            return if present == address { Ok(true) } else { Err(ChangeError::Exists { id, address: present }) };
        }
        if let Some((other, _)) = self.addresses().find(|(_, taken)| *taken == address) {
            return Err(ChangeError::Exists { id: other, address: address.to_owned() });
        }
        let ConfState { voters, learners, .. } = &self.conf;
        if voters.len() + learners.len() >= MAX_MEMBERS || self.directory.0.len() >= MAX_RECORDS {
            return Err(ChangeError::Full);
        }
        Ok(false)
    }

    /// Takes the records of an applied change, the members being changed already.
    ///
    /// # Errors
    /// A context that can't be read: corruption.
    pub(super) fn took(&mut self, records: Vec<MemberRecord>) -> Result<(), MalformedRecord> {
        records.into_iter().try_for_each(|record| self.directory.take(record))
    }
}

/// The members in ascending order: Raft names them in any, and replicas must write the same bytes.
#[must_use]
pub fn in_order(mut conf: ConfState) -> ConfState {
    for ids in [&mut conf.voters, &mut conf.learners, &mut conf.voters_outgoing, &mut conf.learners_next] {
        ids.sort_unstable();
    }
    conf
}

pub(super) fn sorted(ids: &[u64]) -> Vec<u64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Members {
        let conf = ConfState { voters: vec![1, 2, 3], learners: vec![4], ..ConfState::default() };
        let directory = Directory::seeded((1..=4).map(|id| (id, format!("host-{id}:7101"))));
        Members { conf, directory }
    }

    #[test]
    fn changes_are_checked_against_the_members() {
        let add = |id, address: &str| Change::Add { id, address: address.to_owned() };
        let cases: Vec<(Change, Result<bool, ChangeError>)> = vec![
            (add(5, "host-5:7101"), Ok(true)),
            (add(4, "host-4:7101"), Ok(false)),
            (add(4, "host-9:7101"), Err(ChangeError::Exists { id: 4, address: "host-4:7101".into() })),
            (add(5, "host-2:7101"), Err(ChangeError::Exists { id: 2, address: "host-2:7101".into() })),
            (add(0, "x:1"), Err(ChangeError::Invalid("a member has an id from 1 and an address host:port".into()))),
            (Change::Promote { id: 4, instead_of: None }, Ok(true)),
            (Change::Promote { id: 4, instead_of: Some(2) }, Ok(true)),
            (Change::Promote { id: 4, instead_of: Some(9) }, Err(ChangeError::Unknown(9))),
            (Change::Promote { id: 2, instead_of: None }, Ok(false)),
            (Change::Promote { id: 7, instead_of: None }, Err(ChangeError::Unknown(7))),
            (Change::Remove { id: 3 }, Ok(true)),
            (Change::Remove { id: 9 }, Err(ChangeError::Unknown(9))),
            (Change::Met { id: 3, store: [1; 16] }, Ok(true)),
        ];
        for (change, expected) in cases {
            assert_eq!(members().plan(&change).map(|planned| planned.is_some()), expected, "{change:?}");
        }
    }

    #[test]
    fn an_id_is_bound_to_its_first_disk_and_a_removed_one_stays_removed() {
        let mut members = members();
        let record = |id, store: &[u8], removed| MemberRecord {
            replica_id: id,
            address: format!("host-{id}:7101"),
            store_id: store.to_vec(),
            removed,
        };
        members.took(vec![record(1, &[1; 16], false)]).unwrap();
        members.took(vec![record(1, &[2; 16], false)]).unwrap();
        assert_eq!(members.admit(1, &[1; 16]), Ok(()));
        assert_eq!(members.admit(1, &[2; 16]), Err(NotAdmitted::StoreReplaced(1)));
        assert_eq!(members.admit(1, &[]), Err(NotAdmitted::StoreReplaced(1)));
        assert_eq!(members.admit(2, &[7; 16]), Ok(()), "not met yet");
        assert_eq!(members.admit(9, &[7; 16]), Ok(()), "not known here");
        members.took(vec![record(3, &[], true)]).unwrap();
        assert_eq!(members.admit(3, &[3; 16]), Ok(()), "as long as the change is under way it is heard");
        members.conf.voters = vec![1, 2];
        assert_eq!(members.admit(3, &[3; 16]), Err(NotAdmitted::Removed(3)));
        let again = Change::Add { id: 3, address: "host-3:7101".into() };
        assert_eq!(members.plan(&again).map(|_| ()), Err(ChangeError::Removed(3)));
        assert_eq!(members.plan(&Change::Remove { id: 3 }), Ok(None), "a repeat");
        let copy = Directory::of(members.directory.records()).unwrap();
        assert_eq!(copy, members.directory);
    }

    #[test]
    fn the_last_voter_stays() {
        let conf = ConfState { voters: vec![1], learners: vec![2], ..ConfState::default() };
        let members = Members { conf, directory: Directory::default() };
        assert_eq!(members.plan(&Change::Remove { id: 1 }), Err(ChangeError::LastVoter));
    }
}
