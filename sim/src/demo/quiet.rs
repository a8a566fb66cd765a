//! Waiting until the network has worked off what it was given: no fixed times, only states that are reached, and an error
//! when nothing moves any more.

use std::time::Duration;

use stockmesh_proto::coordinator::v1::Node;
use stockmesh_proto::feed::v1::{FeedPosition, FeedRef};
use stockmesh_proto::finance::v1::{FeedCursor, GetPostingStatusRequest};
use stockmesh_proto::node::v1::{GetNodeStatusRequest, GetNodeStatusResponse, LinkStatus};
use tokio::time::Instant;

use super::context::{CallError, Tried};
use crate::network::{Clients, FINANCE, GROUP};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The longest time without any change before waiting is given up.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Why it does not become quiet.
#[derive(Debug, thiserror::Error)]
pub enum QuietError {
    /// A call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Nothing moves.
    #[error(
        "the network does not come to rest: waited for {what}, and nothing has moved for {seconds} s; it stands at\n{state}"
    )]
    Stalled {
        /// What was waited for.
        what: &'static str,
        /// How long.
        seconds: u64,
        /// What was last seen.
        state: String,
    },
}

/// Where every node and its links stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Positions {
    /// As the coordinator knows them.
    pub nodes: Vec<Node>,
    /// As they themselves do, in the same order.
    pub statuses: Vec<GetNodeStatusResponse>,
}

impl Positions {
    /// Asks everybody.
    ///
    /// # Errors
    /// The call that failed.
    pub async fn read(clients: &Clients) -> Result<Self, CallError> {
        let nodes = clients.all_nodes().await.tried("nodes can't be listed")?;
        let calls = nodes.iter().map(|node| async {
            let request = GetNodeStatusRequest { node: node.node.clone() };
            clients.get_node_status(request).await.tried(format!("the status of {} can't be read", node.node))
        });
        let statuses = futures::future::try_join_all(calls).await?;
        Ok(Self { nodes, statuses })
    }

    /// Every entry of the coordinator for a node took effect there, as the node says: what the coordinator has noted of it
    /// may be a little older.
    #[must_use]
    pub fn work_delivered(&self) -> bool {
        self.nodes.iter().zip(&self.statuses).all(|(node, status)| applied(status) >= node.work_seq)
    }

    /// Every entry of every node took effect at the coordinator.
    #[must_use]
    pub fn facts_applied(&self) -> bool {
        self.nodes.iter().zip(&self.statuses).all(|(node, status)| node.feed_seq >= status.feed_seq)
    }

    /// Open tasks of all nodes.
    #[must_use]
    pub fn open_tasks(&self) -> u64 {
        self.statuses.iter().map(|status| status.open_tasks).sum()
    }

    fn describe(&self) -> String {
        let lines = self.nodes.iter().zip(&self.statuses).map(|(node, status)| {
            format!(
                "  {}: feed {} of {} at the coordinator; work {} of {} at the node; {} open tasks; links {}",
                node.node,
                node.feed_seq,
                status.feed_seq,
                node.work_acknowledged_seq,
                node.work_seq,
                status.open_tasks,
                status
                    .links
                    .iter()
                    .map(|link| {
                        let up = if link.connected { "up" } else { "down" };
                        format!(
                            "{} {up} acknowledged {} applied {} {}",
                            link.peer, link.acknowledged_seq, link.applied_seq, link.last_error
                        )
                    })
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The last entry of the coordinator that took effect at a node.
fn applied(status: &GetNodeStatusResponse) -> u64 {
    let ours = |link: &&LinkStatus| link.peer == format!("coordinator/{GROUP}");
    status.links.iter().find(ours).map_or(0, |link| link.applied_seq)
}

/// Looks until `reached`, as long as anything moves.
async fn wait(
    clients: &Clients,
    what: &'static str,
    stalled_after: Duration,
    reached: impl Fn(&Positions) -> bool,
) -> Result<Positions, QuietError> {
    let mut seen: Option<Positions> = None;
    let mut moved = Instant::now();
    loop {
        let now = Positions::read(clients).await?;
        if reached(&now) {
            return Ok(now);
        }
        if seen.as_ref() != Some(&now) {
            moved = Instant::now();
        } else if moved.elapsed() > stalled_after {
            return Err(QuietError::Stalled { what, seconds: stalled_after.as_secs(), state: now.describe() });
        }
        seen = Some(now);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until nodes have taken in all that the coordinator sent them.
///
/// # Errors
/// [`QuietError`].
pub async fn work_delivered(clients: &Clients) -> Result<(), QuietError> {
    wait(clients, "nodes to take in the coordinator's entries", STALLED_AFTER, Positions::work_delivered).await?;
    Ok(())
}

/// Waits until the coordinator has taken in all that nodes told it.
///
/// # Errors
/// [`QuietError`].
pub async fn feeds_applied(clients: &Clients, stalled_after: Duration) -> Result<(), QuietError> {
    wait(clients, "the coordinator to take in the nodes' facts", stalled_after, Positions::facts_applied).await?;
    Ok(())
}

/// Waits until all work is done: no open task, nothing under way in either direction, seen twice in a row unchanged.
///
/// # Errors
/// [`QuietError`].
pub async fn work_done(clients: &Clients) -> Result<Positions, QuietError> {
    let done = |now: &Positions| now.open_tasks() == 0 && now.work_delivered() && now.facts_applied();
    loop {
        let first = wait(clients, "all work to be shipped", STALLED_AFTER, done).await?;
        tokio::time::sleep(LOOK_EVERY * 2).await;
        let second = Positions::read(clients).await?;
        let same = first.nodes == second.nodes
            && first
                .statuses
                .iter()
                .zip(&second.statuses)
                .all(|(a, b)| (a.feed_seq, a.open_tasks) == (b.feed_seq, b.open_tasks));
        if same {
            return Ok(second);
        }
    }
}

/// The coordinator's feed to finance.
#[must_use]
pub fn feed_to_finance(incarnation: u32) -> FeedRef {
    FeedRef {
        participant: format!("coordinator/{GROUP}"),
        destination: format!("finance/{FINANCE}"),
        epoch: u64::from(incarnation),
    }
}

/// Waits until finance has posted every feed to its head; gives its cursors and the coordinator's head.
///
/// # Errors
/// [`QuietError`].
pub async fn posted(clients: &Clients) -> Result<(Vec<FeedCursor>, FeedPosition), QuietError> {
    let mut moved = Instant::now();
    let mut seen = Vec::new();
    loop {
        let positions = Positions::read(clients).await?;
        let request = GetPostingStatusRequest {};
        let status = clients.get_posting_status(request).await.tried("the posting status can't be read")?;
        let at = |participant: &str| {
            let of = status
                .cursors
                .iter()
                .find(|cursor| cursor.feed.as_ref().is_some_and(|feed| feed.participant == participant));
            of.and_then(|cursor| cursor.position.clone()).unwrap_or_default()
        };
        let behind: Vec<String> = positions
            .statuses
            .iter()
            .map(|node| (node, at(&format!("node/{}", node.node))))
            .filter(|(node, cursor)| cursor.seq < node.feed_seq)
            .map(|(node, cursor)| format!("  {}: {} of {}", node.node, cursor.seq, node.feed_seq))
            .collect();
        let feed = feed_to_finance(incarnation(clients).await);
        let cursor = at(&feed.participant);
        let head = clients.finance_feed_head(&feed, &cursor).await.tried("the feed to finance has no head")?;
        if behind.is_empty() && cursor.seq == head.seq {
            return Ok((status.cursors, head));
        }
        if seen != status.cursors {
            moved = Instant::now();
        } else if moved.elapsed() > STALLED_AFTER {
            let state = format!("{}\n  coordinator: {} of {}", behind.join("\n"), cursor.seq, head.seq);
            let what = "finance to post every feed to its head";
            return Err(QuietError::Stalled { what, seconds: STALLED_AFTER.as_secs(), state });
        }
        seen = status.cursors;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn incarnation(clients: &Clients) -> u32 {
    let statuses = clients.replica_statuses().await;
    statuses.into_iter().filter_map(|(_, status)| status).map(|status| status.incarnation).max().unwrap_or(1)
}
