//! The replicas that applied the same log have the same state.

use std::collections::BTreeMap;

use super::{Check, Findings};
use crate::demo::DemoResult;

/// The check.
pub const CHECK: Check = Check {
    name: "replicas agree",
    guarantee: "all coordinator replicas are up, have applied the same index, and have the same digest of their state there",
    source: "ARCHITECTURE.md, Time, errors, determinism",
    run,
};

fn run(result: &DemoResult) -> Findings {
    let mut findings = Findings::new();
    let mut hashes: BTreeMap<u64, (String, &str)> = BTreeMap::new();
    for (address, status) in &result.evidence.replicas {
        let Some(status) = status else {
            findings.expect(false, || format!("the replica at {address} does not answer"));
            continue;
        };
        let first = hashes.entry(status.applied_index).or_insert((address.clone(), &status.state_hash));
        findings.expect(first.1 == status.state_hash, || {
            format!("at index {} the digests of {} and {address} differ", status.applied_index, first.0)
        });
    }
    findings.expect(hashes.len() == 1, || format!("replicas stand at {:?}", hashes.keys().collect::<Vec<_>>()));
    findings.over(result.evidence.replicas.len(), "replicas")
}
