//! What goes wrong in a demo: `kill -9` of the leader, of a distribution center and of finance, each started again later.

use std::time::Duration;

use crate::network::config::FINANCE_PROCESS;
use crate::network::{Network, NetworkError};

use super::context::Context;

/// How long a killed process stays away.
const AWAY: Duration = Duration::from_millis(2_000);
/// Shares of the stream at which they happen, percent.
const LEADER_AT: usize = 35;
const CENTER_AT: usize = 60;
const FINANCE_AT: usize = 80;

/// What the faults did.
#[derive(Clone, Debug, Default)]
pub struct FaultReport {
    /// Processes killed and started again.
    pub killed: Vec<String>,
    /// From the kill of the leader until another replica said that it leads, microseconds.
    pub without_leader_us: u64,
}

/// The assumption, for the report.
#[must_use]
pub fn assumption() -> String {
    format!(
        "kill -9 of the leader at {LEADER_AT} % of the stream, of a distribution center at {CENTER_AT} %, of finance at {FINANCE_AT} %, each started again {} s later",
        AWAY.as_secs()
    )
}

/// Waits for each moment of the stream, and does it.
///
/// # Errors
/// When a process does not come up again.
pub async fn inject(context: &Context, network: &mut Network) -> Result<FaultReport, NetworkError> {
    let mut report = FaultReport::default();
    context.wait_for_share(LEADER_AT).await;
    let leader = network.wait_for_leader(None).await?;
    context.book.mark(format!("leader {leader} killed"));
    let killed_us = context.book.now_us();
    network.kill(&leader).await?;
    let next = network.wait_for_leader(Some(&leader)).await?;
    report.without_leader_us = context.book.now_us() - killed_us;
    context.book.mark(format!("{next} leads"));
    tokio::time::sleep(AWAY).await;
    network.restart(&leader).await?;
    context.book.mark(format!("{leader} is back"));
    report.killed.push(leader);

    context.wait_for_share(CENTER_AT).await;
    let center = context
        .layout
        .nodes
        .iter()
        .rev()
        .find(|node| node.kind == stockmesh_proto::common::v1::NodeKind::DistributionCenter);
    let center = center.and_then(|node| network.process_of_node(&node.node)).map(str::to_owned);
    if let Some(center) = center {
        kill_for_a_while(context, network, &center).await?;
        report.killed.push(center);
    }
    context.wait_for_share(FINANCE_AT).await;
    kill_for_a_while(context, network, FINANCE_PROCESS).await?;
    report.killed.push(FINANCE_PROCESS.to_owned());
    Ok(report)
}

async fn kill_for_a_while(context: &Context, network: &mut Network, name: &str) -> Result<(), NetworkError> {
    context.book.mark(format!("{name} killed"));
    network.kill(name).await?;
    tokio::time::sleep(AWAY).await;
    network.restart(name).await?;
    context.book.mark(format!("{name} is back"));
    Ok(())
}
