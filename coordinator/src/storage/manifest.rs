//! What a snapshot consists of: its place, its members, its files with their sums.

use raft::eraftpb::{ConfState, Snapshot, SnapshotMetadata};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stockmesh_proto::raft::v1::MemberRecord;

use super::StorageFault;
use super::identity::store_of;
use super::snapshots::{Place, hex};
use crate::replica::members::{Directory, Record};

/// One file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// Name: letters, digits, `.`, `-`, `_`.
    pub name: String,
    /// Length.
    pub bytes: u64,
    /// CRC-32 (IEEE) of the content.
    pub crc32: u32,
    /// SHA-256 of the content, hexadecimal.
    pub sha256: String,
}

/// A member, or one that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestMember {
    /// Raft id.
    pub id: u64,
    /// host:port.
    pub address: String,
    /// Identity of its disk, hexadecimal; empty: never met.
    pub store: String,
    /// It was removed.
    pub removed: bool,
}

/// What a snapshot consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format of the folder.
    pub format: u32,
    /// Coordinator group.
    pub group: u32,
    /// Its incarnation.
    pub incarnation: u32,
    /// Index of the last entry that it contains.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// Voters at that index.
    pub voters: Vec<u64>,
    /// Learners at that index.
    pub learners: Vec<u64>,
    /// Voters that leave with the change of members that is under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub voters_outgoing: Vec<u64>,
    /// Those of them that stay as learners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learners_next: Vec<u64>,
    /// Everyone who ever belonged to the group, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directory: Vec<ManifestMember>,
    /// Files, in the order in which they were written.
    pub files: Vec<ManifestFile>,
}

impl Manifest {
    /// Where it stands.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { index: self.index, term: self.term }
    }

    /// The place and the members, as Raft speaks of them.
    #[must_use]
    pub fn metadata(&self) -> SnapshotMetadata {
        let members = ConfState {
            voters: self.voters.clone(),
            learners: self.learners.clone(),
            voters_outgoing: self.voters_outgoing.clone(),
            learners_next: self.learners_next.clone(),
            ..ConfState::default()
        };
        let mut metadata = SnapshotMetadata { index: self.index, term: self.term, ..SnapshotMetadata::default() };
        metadata.set_conf_state(members);
        metadata
    }

    /// As Raft sends it: without the files, the directory of members for its data.
    ///
    /// # Errors
    /// A directory that can't be read.
    pub fn announcement(&self) -> Result<Snapshot, StorageFault> {
        let mut snapshot = Snapshot::default();
        snapshot.set_metadata(self.metadata());
        if !self.directory.is_empty() {
            snapshot.data = self.directory()?.encode().into();
        }
        Ok(snapshot)
    }

    /// Everyone who ever belonged to the group.
    ///
    /// # Errors
    /// A store that is not 16 bytes in hexadecimal.
    pub fn directory(&self) -> Result<Directory, StorageFault> {
        let record = |member: &ManifestMember| {
            let ManifestMember { id, address, store, removed } = member;
            let store_id = match store.is_empty() {
                true => Vec::new(),
                false => store_of(store)
                    .ok_or_else(|| {
                        StorageFault::Corrupt(format!("the manifest's store of replica {id} can't be read"))
                    })?
                    .to_vec(),
            };
            Ok(MemberRecord { replica_id: *id, address: address.clone(), store_id, removed: *removed })
        };
        let records = self.directory.iter().map(record).collect::<Result<Vec<_>, StorageFault>>()?;
        Directory::of(records).map_err(|error| StorageFault::Corrupt(error.to_string()))
    }

    /// The manifest's form of a directory.
    #[must_use]
    pub fn members_of(directory: &Directory) -> Vec<ManifestMember> {
        let member = |(id, record): (u64, &Record)| ManifestMember {
            id,
            address: record.address.clone(),
            store: record.store.map_or_else(String::new, |store| hex(&store)),
            removed: record.removed,
        };
        directory.iter().map(member).collect()
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, StorageFault> {
        let json = serde_json::to_string(self)
            .map_err(|error| StorageFault::Corrupt(format!("manifest can't be written: {error}")))?;
        Ok(format!("{json}\n{}\n", hex(&Sha256::digest(json.as_bytes()))).into_bytes())
    }

    pub(super) fn decode(text: &[u8]) -> Result<Self, StorageFault> {
        let wrong = |what: &str| StorageFault::Corrupt(format!("snapshot manifest {what}"));
        let text = std::str::from_utf8(text).map_err(|_| wrong("is not text"))?;
        let mut lines = text.lines();
        let (Some(json), Some(hash)) = (lines.next(), lines.next()) else { return Err(wrong("is cut")) };
        if hex(&Sha256::digest(json.as_bytes())) != hash {
            return Err(wrong("does not have its hash"));
        }
        serde_json::from_str(json).map_err(|error| wrong(&error.to_string()))
    }
}
