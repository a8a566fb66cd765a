//! Taking snapshots, and cutting the log behind them.
//!
//! A snapshot is written on a thread of its own, from a state that shares what did not change since. The log is cut only
//! when it is synced, and keeps a tail.

use super::{Control, Driver, Peers};
use crate::fault::Fault;
use crate::storage::snapshots::{Manifest, Place};

impl<P: Peers> Driver<P> {
    /// Begins one when it is time.
    pub(super) fn maybe_snapshot(&mut self) -> Result<(), Fault> {
        let policy = self.options.snapshots;
        let (index, term) = self.replica.applied();
        let entries = index.saturating_sub(self.last_snapshot.index);
        if self.snapshotting
            || entries == 0
            || (!self.snapshot_wanted && entries < policy.every_entries && self.applied_bytes < policy.every_bytes)
        {
            return Ok(());
        }
        let Some(control) = self.control.upgrade() else { return Ok(()) };
        let place = Place { index, term };
        let job = self.machine.begin_snapshot(self.identity, place, self.replica.members());
        let snapshots = self.snapshots.clone();
        self.snapshotting = true;
        self.snapshot_wanted = false;
        self.applied_bytes = 0;
        std::thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || {
                let taken = job.write(&snapshots);
                // The driver has stopped when this fails: nobody is left to tell.
                let _ = control.blocking_send(Control::SnapshotTaken { place, taken });
            })
            .map_err(Fault::Thread)?;
        Ok(())
    }

    /// One is written and synced, or failed.
    pub(super) fn snapshot_taken(&mut self, place: Place, taken: Result<Manifest, Fault>) -> Result<(), Fault> {
        self.snapshotting = false;
        if place <= self.last_snapshot {
            // A newer one was installed meanwhile, and may have replaced feeds while this one was written.
            return Ok(());
        }
        let manifest = taken?;
        let before = std::mem::replace(&mut self.last_snapshot, place);
        self.log.offer_snapshot(manifest.announcement()?);
        // Behind the snapshot only, which is synced, and so are the feeds up to it.
        // A peer that is being sent an older one goes on from there, and would otherwise need this one as well, and so on.
        let sent = self.transfers.values().map(|(hold, _)| hold.place().index).min().unwrap_or(place.index);
        self.log.compact(place.index.saturating_sub(self.options.snapshots.keep_entries).min(sent))?;
        self.snapshots.remove_before(before)?;
        let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
        tracing::info!(index = place.index, bytes, files = manifest.files.len(), "took a snapshot");
        let log = self.log.clone();
        let purge = std::thread::Builder::new()
            .name("log-purge".to_owned())
            .spawn(move || {
                if let Err(error) = log.purge() {
                    tracing::warn!(%error, "the log's old files could not be removed: the disk fills up");
                }
            })
            .map_err(Fault::Thread)?;
        self.purge = Some(purge);
        Ok(())
    }
}
