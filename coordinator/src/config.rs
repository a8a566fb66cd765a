//! Configuration of a replica: a TOML file, and flags over it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use stockmesh_service::TlsFiles;
use stockmesh_types::{NodeId, Reject};

/// One replica of the group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicaConfig {
    /// Raft id, from 1; never used again for another replica.
    pub id: u64,
    /// `host:port` at which the others and clients reach it.
    pub address: String,
}

/// Configuration of one replica.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Coordinator group.
    #[serde(default = "default_group")]
    pub group: u32,
    /// Which of `replicas` this is.
    pub replica_id: u64,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Folder of its own.
    pub data_dir: PathBuf,
    /// The replicas that a fresh group begins with, alike in every replica's file. A group that has begun keeps its members
    /// in its log: `cluster member` changes them, and this list only says where others may be found at first.
    pub replicas: Vec<ReplicaConfig>,
    /// This replica joins a group that runs: it was added with `cluster member add` under an id that nobody had, and stands in
    /// its own file's `replicas` beside those that it may ask. It matters for an empty folder only.
    #[serde(default)]
    pub join: bool,
    /// Ids of the finance services that a fresh group tells its facts to.
    #[serde(default)]
    pub finance: Vec<String>,
    /// Certificates.
    #[serde(default)]
    pub tls: TlsFiles,
    /// Milliseconds of a tick.
    #[serde(default = "default_tick_ms")]
    pub tick_ms: u64,
    /// Ticks without a leader before an election; up to twice as many are drawn.
    #[serde(default = "default_election_ticks")]
    pub election_ticks: usize,
    /// A snapshot is taken after this many log entries.
    #[serde(default = "default_snapshot_entries")]
    pub snapshot_every_entries: u64,
    /// Or after this many MiB of them.
    #[serde(default = "default_snapshot_mib")]
    pub snapshot_every_mib: u64,
    /// Entries that stay in the log behind a snapshot, for followers that are a little late.
    #[serde(default = "default_keep_entries")]
    pub log_keep_entries: u64,
}

fn default_group() -> u32 {
    1
}
fn default_tick_ms() -> u64 {
    50
}
fn default_election_ticks() -> usize {
    8
}
fn default_snapshot_entries() -> u64 {
    10_000
}
fn default_snapshot_mib() -> u64 {
    64
}
fn default_keep_entries() -> u64 {
    2_000
}

/// What contradicts itself in a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigProblem {
    /// `replica_id` is not among `replicas`.
    #[error("replica_id {0} is not among [[replicas]]: add it there, with its address")]
    NotAReplica(u64),
    /// An id twice, or 0.
    #[error("replica id {0} stands twice among [[replicas]], or is 0: ids begin at 1 and are unique")]
    ReplicaIds(u64),
    /// An address twice.
    #[error("address {0} stands twice among [[replicas]]")]
    Addresses(String),
    /// A number out of range.
    #[error("{what} is {value}; it is {range}")]
    Range {
        /// Key.
        what: &'static str,
        /// Value.
        value: u64,
        /// What it may be.
        range: &'static str,
    },
    /// A finance id that is none.
    #[error("finance: {0}")]
    Finance(Reject),
}

impl Config {
    /// Checks what the file's form does not.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), ConfigProblem> {
        let (mut ids, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for replica in &self.replicas {
            if replica.id == 0 || !ids.insert(replica.id) {
                return Err(ConfigProblem::ReplicaIds(replica.id));
            }
            if !addresses.insert(&replica.address) {
                return Err(ConfigProblem::Addresses(replica.address.clone()));
            }
        }
        if !ids.contains(&self.replica_id) {
            return Err(ConfigProblem::NotAReplica(self.replica_id));
        }
        let range = |what, value, good: bool, range| {
            if good { Ok(()) } else { Err(ConfigProblem::Range { what, value, range }) }
        };
        range("group", u64::from(self.group), self.group > 0, "1 or more")?;
        range("tick_ms", self.tick_ms, (5..=10_000).contains(&self.tick_ms), "5 to 10,000")?;
        let ticks = self.election_ticks as u64;
        range("election_ticks", ticks, (4..=1_000).contains(&ticks), "4 to 1,000")?;
        range("snapshot_every_entries", self.snapshot_every_entries, self.snapshot_every_entries > 0, "1 or more")?;
        range("snapshot_every_mib", self.snapshot_every_mib, self.snapshot_every_mib > 0, "1 or more")?;
        // Ids of finance services are written like those of nodes.
        self.finance.iter().try_for_each(|id| NodeId::new(id).map(|_| ())).map_err(ConfigProblem::Finance)
    }

    /// Addresses by Raft id.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<u64, String> {
        self.replicas.iter().map(|replica| (replica.id, replica.address.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        replica_id = 1
        listen = "127.0.0.1:7101"
        data_dir = "data/1"
        finance = ["main"]
        [[replicas]]
        id = 1
        address = "127.0.0.1:7101"
        [[replicas]]
        id = 2
        address = "127.0.0.1:7102"
    "#;

    #[test]
    fn a_configuration_is_checked_and_says_what_is_wrong() {
        let good: Config = toml::from_str(GOOD).unwrap();
        good.check().unwrap();
        assert_eq!((good.group, good.tick_ms, good.addresses().len()), (1, 50, 2));
        let cases = [
            ("replica_id = 1", "replica_id = 3", "not among"),
            ("id = 2", "id = 1", "twice"),
            ("7102\"", "7101\"", "twice"),
            ("replica_id = 1", "replica_id = 1\ntick_ms = 0", "tick_ms is 0"),
            ("\"main\"", "\"Main/x\"", "finance"),
        ];
        for (from, to, message) in cases {
            let config: Config = toml::from_str(&GOOD.replacen(from, to, 1)).unwrap();
            let problem = config.check().unwrap_err().to_string();
            assert!(problem.contains(message), "{problem}");
        }
        let unknown = toml::from_str::<Config>(&format!("tick = 5\n{GOOD}")).unwrap_err().to_string();
        assert!(unknown.contains("tick"), "{unknown}");
    }
}
