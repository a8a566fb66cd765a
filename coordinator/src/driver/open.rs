//! Opening a replica's folder: the newest good snapshot, and the log to replay behind it.

use std::path::Path;

use raft::Storage;

use crate::fault::Fault;
use crate::machine::Machine;
use crate::outbox::Outbox;
use crate::replica::Settings;
use crate::storage::StorageFault;
use crate::storage::identity::{self, Identity};
use crate::storage::log::DiskLog;
use crate::storage::snapshots::{Place, Snapshots};

/// An opened replica, its state as of the newest good snapshot. Replaying the log is the replica's first turn.
pub struct Opened {
    /// Whose folder it is.
    pub identity: Identity,
    /// Raft's settings, at the snapshot's place; to be tuned before the driver starts.
    pub settings: Settings,
    /// The log.
    pub log: DiskLog,
    /// State and feeds.
    pub machine: Machine,
    /// Snapshots.
    pub snapshots: Snapshots,
    /// Where the state stands; index 0: no snapshot.
    pub snapshot: Place,
}

/// Opens or makes `data_dir`. `life` differs from that of every earlier start; a fresh group begins with `voters`.
///
/// # Errors
/// I/O, damage that no other copy on this disk mends, and a folder that is another replica's.
pub fn open(data_dir: &Path, identity: Identity, voters: &[u64], life: u64) -> Result<Opened, Fault> {
    identity::claim(data_dir, identity)?;
    let log = DiskLog::open(&data_dir.join("log"), voters)?;
    check_members(&log, voters)?;
    let snapshots = Snapshots::open(&data_dir.join("snapshots"))?;
    let machine = Machine::new(Outbox::open(&data_dir.join("outbox"))?);
    let snapshot = load_newest(&log, &snapshots, &machine)?;
    let settings = Settings::new(identity.replica_id, life, snapshot.index, snapshot.term);
    let (commit, last) = (log.hard_state().commit, log.last_index()?);
    tracing::info!(snapshot = snapshot.index, commit, last, "opened; replaying the log behind the snapshot");
    Ok(Opened { identity, settings, log, machine, snapshots, snapshot })
}

/// The members that the log knows are those of the configuration: with others, two halves of a group could each think that
/// they are all of it.
fn check_members(log: &DiskLog, voters: &[u64]) -> Result<(), StorageFault> {
    let mut known = log.members().voters;
    let mut configured = voters.to_vec();
    known.sort_unstable();
    configured.sort_unstable();
    if known == configured {
        return Ok(());
    }
    Err(StorageFault::WrongIdentity(format!(
        "this folder's log belongs to a group of replicas {known:?}, and [[replicas]] names {configured:?}: changing the \
         members of a group is not in this release; put the configuration back, or begin a new group in empty folders"
    )))
}

fn load_newest(log: &DiskLog, snapshots: &Snapshots, machine: &Machine) -> Result<Place, Fault> {
    let (commit, before) = (log.hard_state().commit, log.before());
    for place in snapshots.list()? {
        // Beyond the committed index: received, and the crash came before the log took it over. Raft sends it again.
        // Before the log's beginning: entries between are gone.
        if place.index > commit.max(before.0) || place.index < before.0 {
            continue;
        }
        if log.term(place.index).is_ok_and(|term| term != place.term) {
            return Err(StorageFault::Corrupt(format!(
                "the snapshot at {} is of term {}, and the log says otherwise",
                place.index, place.term
            ))
            .into());
        }
        match machine.install(snapshots, place) {
            Ok(manifest) => {
                log.offer_snapshot(manifest.metadata());
                return Ok(place);
            }
            Err(Fault::Storage(fault)) => {
                tracing::error!(index = place.index, %fault, "a snapshot is damaged; trying an older one");
            }
            Err(fault) => return Err(fault),
        }
    }
    if before.0 == 0 {
        return Ok(Place { index: 0, term: 0 });
    }
    Err(StorageFault::Corrupt(format!(
        "the log begins after {}, and no good snapshot reaches it: this replica can't restore its state; \
         remove it from the group and add a new one under a new id",
        before.0
    ))
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_not_opened_with_other_members_than_its_log_knows() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity { format: identity::FORMAT, group: 1, incarnation: 1, replica_id: 1 };
        drop(open(dir.path(), identity, &[1], 1).unwrap());
        let Err(Fault::Storage(StorageFault::WrongIdentity(message))) = open(dir.path(), identity, &[1, 2, 3], 2)
        else {
            panic!("a group of one was opened as a group of three");
        };
        assert!(message.contains("[1]") && message.contains("[1, 2, 3]"), "{message}");
        drop(open(dir.path(), identity, &[1], 3).unwrap());
    }
}
