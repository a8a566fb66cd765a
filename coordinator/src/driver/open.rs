//! Opening a replica's folder: the newest good snapshot, and the log to replay behind it.

use std::collections::BTreeMap;
use std::path::Path;

use raft::Storage;

use crate::fault::Fault;
use crate::machine::Machine;
use crate::outbox::Outbox;
use crate::replica::Settings;
use crate::replica::members::Directory;
use crate::storage::StorageFault;
use crate::storage::identity::{self, Identity};
use crate::storage::log::DiskLog;
use crate::storage::snapshots::{Manifest, Place, Snapshots, hex};

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

/// What a folder begins with; one that has begun keeps its own.
#[derive(Clone, Debug, Default)]
pub struct Beginning {
    /// Voters of a fresh group; none for a replica that joins one.
    pub voters: Vec<u64>,
    /// Addresses by Raft id, until the log names them.
    pub addresses: BTreeMap<u64, String>,
}

/// Opens or makes `data_dir`. `life` differs from that of every earlier start.
///
/// # Errors
/// I/O, damage that no other copy on this disk mends, and a folder that is another replica's.
pub fn open(data_dir: &Path, identity: Identity, beginning: &Beginning, life: u64) -> Result<Opened, Fault> {
    let store = identity::claim(data_dir, identity, identity::draw)?;
    let log = DiskLog::open(&data_dir.join("log"), &beginning.voters)?;
    let snapshots = Snapshots::open(&data_dir.join("snapshots"))?;
    let machine = Machine::new(Outbox::open(&data_dir.join("outbox"))?);
    let manifest = load_newest(&log, &snapshots, &machine)?;
    let snapshot = manifest.as_ref().map_or(Place { index: 0, term: 0 }, Manifest::place);
    let mut settings = Settings::new(identity.replica_id, life, snapshot.index, snapshot.term);
    settings.store = store;
    settings.directory = match &manifest {
        Some(manifest) if !manifest.directory.is_empty() => manifest.directory()?,
        // Of the first release, or none: addresses as configured.
        _ => Directory::seeded(beginning.addresses.clone()),
    };
    let (commit, last) = (log.hard_state().commit, log.last_index().map_err(StorageFault::from)?);
    tracing::info!(
        snapshot = snapshot.index,
        commit,
        last,
        store = hex(&store),
        "opened; replaying the log behind the snapshot"
    );
    Ok(Opened { identity, settings, log, machine, snapshots, snapshot })
}

fn load_newest(log: &DiskLog, snapshots: &Snapshots, machine: &Machine) -> Result<Option<Manifest>, Fault> {
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
                log.offer_snapshot(manifest.announcement()?);
                log.stand_at(manifest.metadata().get_conf_state().clone());
                return Ok(Some(manifest));
            }
            Err(Fault::Storage(fault)) => {
                tracing::error!(index = place.index, %fault, "a snapshot is damaged; trying an older one");
            }
            Err(fault) => return Err(fault),
        }
    }
    if before.0 == 0 {
        return Ok(None);
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
    fn a_folder_that_has_begun_keeps_its_members_whatever_the_configuration_says() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity { format: identity::FORMAT, group: 1, incarnation: 1, replica_id: 1 };
        let beginning = |voters: &[u64]| Beginning { voters: voters.to_vec(), addresses: BTreeMap::new() };
        let store = open(dir.path(), identity, &beginning(&[1]), 1).unwrap().settings.store;
        let opened = open(dir.path(), identity, &beginning(&[1, 2, 3]), 2).unwrap();
        assert_eq!(opened.log.initial_state().unwrap().conf_state.voters, vec![1]);
        assert_eq!(opened.settings.store, store, "the disk is the same");
    }
}
