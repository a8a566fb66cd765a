//! Settings of a node process: a TOML file, which flags override.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use stockmesh_node_core::site::SitePolicy;
use stockmesh_node_core::{GrantPolicy, Rules};
use stockmesh_service::TlsFiles;
use stockmesh_types::{Currency, Group, MAX_QUANTITY, NodeId, PartyId, Reject};

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Folder for the stores: a folder and a marker file for each node, and a lock file.
    pub data_dir: PathBuf,
    /// Coordinator group.
    #[serde(default = "first_group")]
    pub group: Group,
    /// Addresses of the coordinator's replicas. None: no link; the node works alone.
    #[serde(default)]
    pub coordinator: Vec<String>,
    /// Name of finance.
    #[serde(default = "main_finance")]
    pub finance_id: String,
    /// Addresses of finance. None: no link.
    #[serde(default)]
    pub finance: Vec<String>,
    /// Days that entries of a node's feed are kept after every registered consumer has them.
    #[serde(default = "month")]
    pub feed_retention_days: u32,
    /// Certificates.
    #[serde(default)]
    pub tls: TlsFiles,
    /// The nodes that this process hosts, 1 or more.
    pub nodes: Vec<NodeSettings>,
}

fn first_group() -> Group {
    Group(1)
}

/// A month.
#[must_use]
pub fn month() -> u32 {
    30
}

fn main_finance() -> String {
    "main".to_owned()
}

/// One node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSettings {
    /// Name, as registered with the coordinator.
    pub id: NodeId,
    /// Units of every stock key that stay on display.
    #[serde(default)]
    pub floor: i64,
    /// Units of every stock key that are kept for walk-in sales.
    #[serde(default)]
    pub walk_in_reserve: i64,
    /// Counts that differ by more base units than this in all must be approved by somebody who did not count.
    #[serde(default)]
    pub count_threshold: i64,
    /// Days between two counts of an item of class A, B and C.
    #[serde(default = "count_days")]
    pub count_days: [u32; 3],
    /// What its people may do by themselves.
    #[serde(default)]
    pub rules: RulesSettings,
}

fn count_days() -> [u32; 3] {
    SitePolicy::default().count_days
}

/// What the people of a node may do by themselves. Nothing set: what [`Rules`] has by default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesSettings {
    /// Minutes after work was taken on in which it may be rejected because of the site; not set: at any time.
    pub reject_within_minutes: Option<u32>,
    /// Refunds that may be paid on one day without asking; not set: none.
    pub refund_offline: Option<RefundLimit>,
    /// Hours that goods wait for a customer where a pickup does not say; not set: 168.
    pub pickup_wait_hours: Option<u32>,
    /// How far the weight of a weighed item may be from what was ordered, parts per million; not set: 50,000 (5 %).
    pub weight_tolerance_ppm: Option<u32>,
}

/// An amount on one day.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundLimit {
    /// ISO 4217 code.
    pub currency: String,
    /// Minor units on one business date.
    pub minor_per_day: i64,
}

impl NodeSettings {
    /// A node with default settings.
    #[must_use]
    pub fn new(id: NodeId, floor: i64, walk_in_reserve: i64) -> Self {
        Self {
            id,
            floor,
            walk_in_reserve,
            count_threshold: 0,
            count_days: count_days(),
            rules: RulesSettings::default(),
        }
    }

    /// Settings of the site.
    #[must_use]
    pub fn site_policy(&self) -> SitePolicy {
        SitePolicy { count_threshold: self.count_threshold, count_days: self.count_days }
    }

    /// The grant policy.
    #[must_use]
    pub fn policy(&self) -> GrantPolicy {
        GrantPolicy { floor: self.floor, walk_in_reserve: self.walk_in_reserve }
    }

    /// What its people may do by themselves.
    ///
    /// # Errors
    /// [`SettingsError::Rules`].
    pub fn rules(&self) -> Result<Rules, SettingsError> {
        let wrong = |message: String| SettingsError::Rules { node: self.id.clone(), message };
        let RulesSettings { reject_within_minutes, refund_offline, pickup_wait_hours, weight_tolerance_ppm } =
            &self.rules;
        let usual = Rules::default();
        let refund_offline = match refund_offline {
            None => None,
            Some(RefundLimit { currency, minor_per_day }) => {
                let currency = Currency::new(currency).map_err(|reject| wrong(reject.to_string()))?;
                if *minor_per_day < 0 {
                    return Err(wrong(format!("refund_offline.minor_per_day is {minor_per_day}: it is 0 or more")));
                }
                Some((currency, *minor_per_day))
            }
        };
        if weight_tolerance_ppm.is_some_and(|ppm| ppm > 1_000_000) {
            return Err(wrong("weight_tolerance_ppm is 0 to 1,000,000".to_owned()));
        }
        Ok(Rules {
            reject_within_ms: reject_within_minutes.map(|minutes| i64::from(minutes) * 60_000),
            refund_offline,
            pickup_wait_ms: pickup_wait_hours.map_or(usual.pickup_wait_ms, |hours| i64::from(hours) * 3_600_000),
            weight_tolerance_ppm: weight_tolerance_ppm.unwrap_or(usual.weight_tolerance_ppm),
        })
    }
}

/// A setting that can't be.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Nothing to host.
    #[error("no node is configured: add a [[nodes]] table with an id, or give --node")]
    NoNodes,
    /// Twice the same.
    #[error("node {0} is configured twice")]
    Twice(NodeId),
    /// A policy out of range.
    #[error("{field} of node {node} is {value}: it is 0 to {MAX_QUANTITY}")]
    Policy {
        /// Node.
        node: NodeId,
        /// Setting.
        field: &'static str,
        /// Value.
        value: i64,
    },
    /// A rule that can't be.
    #[error("rules of node {node}: {message}")]
    Rules {
        /// Node.
        node: NodeId,
        /// What is wrong.
        message: String,
    },
    /// A name that can't be.
    #[error("finance_id: {0}")]
    Finance(#[from] Reject),
}

impl Config {
    /// Checks what the types don't.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.nodes.is_empty() {
            return Err(SettingsError::NoNodes);
        }
        PartyId::new(&self.finance_id)?;
        for (n, node) in self.nodes.iter().enumerate() {
            if self.nodes[..n].iter().any(|other| other.id == node.id) {
                return Err(SettingsError::Twice(node.id.clone()));
            }
            node.rules()?;
            let checked = [
                ("floor", node.floor),
                ("walk_in_reserve", node.walk_in_reserve),
                ("count_threshold", node.count_threshold),
            ];
            for (field, value) in checked {
                if !(0..=MAX_QUANTITY).contains(&value) {
                    return Err(SettingsError::Policy { node: node.id.clone(), field, value });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(nodes: &str) -> Result<Config, toml::de::Error> {
        toml::from_str(&format!("listen = \"127.0.0.1:0\"\ndata_dir = \"d\"\n{nodes}"))
    }

    #[test]
    fn defaults_and_checks() {
        let good =
            config("[[nodes]]\nid = \"dc-1\"\n[[nodes]]\nid = \"store-1\"\nfloor = 2\nwalk_in_reserve = 3\n").unwrap();
        good.check().unwrap();
        assert_eq!((good.group, good.finance_id.as_str(), good.coordinator.len()), (Group(1), "main", 0));
        assert_eq!(good.nodes[1].policy().target(9), 4);
        let cases = [
            ("nodes = []", "no node"),
            ("[[nodes]]\nid = \"a\"\n[[nodes]]\nid = \"a\"\n", "node a is configured twice"),
            ("[[nodes]]\nid = \"a\"\nfloor = -1\n", "floor of node a is -1"),
            (
                "[[nodes]]\nid = \"a\"\n[nodes.rules]\nrefund_offline = { currency = \"EURO\", minor_per_day = 1 }\n",
                "rules of node a",
            ),
            ("finance_id = \"a b\"\n[[nodes]]\nid = \"a\"\n", "finance_id"),
        ];
        for (nodes, words) in cases {
            let error = config(nodes).unwrap().check().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        for wrong in ["", "[[nodes]]\nid = \"DC\"\n", "[[nodes]]\nid = \"a\"\nfloors = 1\n"] {
            assert!(config(wrong).is_err(), "{wrong:?}");
        }
    }
}
