//! Dialling again: from address to address with backoff, after the leader where one is named, and no further after a fork.

use std::future::Future;
use std::time::Duration;

use stockmesh_types::{Reason, Reject};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use super::{LinkError, LinkState};
use crate::client::Backoff;
use crate::status::{explain, leader_of, reject_of};

/// Bounds of the delay between dials.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// An outage that lasts this long is for somebody to look at.
const WARN_AFTER: Duration = Duration::from_secs(10);
/// Leaders followed in a row without a welcome: then slow down.
const MAX_HINTS: u32 = 3;
/// Longest wait for a hello or a welcome.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Which link, for log lines.
#[derive(Clone, Debug)]
pub(super) struct LinkName {
    pub direction: &'static str,
    pub feed: String,
    pub peer: String,
}

/// How one connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// This process goes down.
    Shutdown,
    /// Try again.
    Again(Trouble),
    /// Never again: the feed has forked, or its life is over.
    Halted(Reject),
}

/// Why a connection ended, and where to go next.
#[derive(Debug)]
pub(super) struct Trouble {
    error: String,
    leader: Option<String>,
}

impl End {
    pub(super) fn again(error: impl Into<String>) -> Self {
        Self::Again(Trouble { error: error.into(), leader: None })
    }
}

impl From<Reject> for End {
    fn from(reject: Reject) -> Self {
        match reject.reason {
            Reason::FeedForked | Reason::StaleEpoch => Self::Halted(reject),
            _ => Self::again(reject.to_string()),
        }
    }
}

impl From<LinkError> for End {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Rejected(reject) => reject.into(),
            LinkError::Fault(_) => Self::again(error.to_string()),
        }
    }
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        match reject_of(&status) {
            Some(reject) => match Self::from(reject) {
                Self::Again(trouble) => Self::Again(Trouble { leader: leader_of(&status), ..trouble }),
                end => end,
            },
            None => Self::again(explain(&status)),
        }
    }
}

/// Completes when the process goes down, or the sender is gone.
pub(super) async fn down(shutdown: &mut watch::Receiver<bool>) {
    // An error means that nobody can say it any more: the process is going down.
    let _ = shutdown.wait_for(|down| *down).await;
}

/// Runs `once` against one address after the other until the process goes down or the link is halted.
pub(super) async fn redial<F, Fut>(
    name: &LinkName,
    addresses: &[String],
    state: &LinkState,
    mut shutdown: watch::Receiver<bool>,
    mut once: F,
) where
    F: FnMut(String) -> Fut,
    Fut: Future<Output = End>,
{
    let LinkName { direction, feed, peer } = name;
    if addresses.is_empty() {
        tracing::error!(direction, feed, peer, "the link has no address to dial: give one in the config");
        state.down("no address is configured");
        return;
    }
    let mut backoff = Backoff::new(BACKOFF);
    let (mut turn, mut hints) = (0_usize, 0_u32);
    let mut leader: Option<String> = None;
    let mut outage: Option<(Instant, bool)> = None;
    loop {
        if *shutdown.borrow() {
            return;
        }
        let address = leader.take().unwrap_or_else(|| addresses[turn % addresses.len()].clone());
        let trouble = match once(address.clone()).await {
            End::Shutdown => return state.down("this process is going down"),
            End::Halted(reject) => {
                tracing::error!(direction, feed, peer, address, error = %reject, "the link is halted: nothing more goes over it");
                return state.halted(&reject);
            }
            End::Again(trouble) => trouble,
        };
        let welcomed = state.connected();
        state.down(&trouble.error);
        if welcomed {
            tracing::info!(direction, feed, peer, address, error = trouble.error, "the link is down; dialling again");
            backoff.reset();
            (hints, outage) = (0, None);
        } else {
            tracing::debug!(direction, feed, peer, address, error = trouble.error, "no link; dialling again");
        }
        let (since, warned) = outage.get_or_insert_with(|| (Instant::now(), false));
        if !*warned && since.elapsed() >= WARN_AFTER {
            *warned = true;
            tracing::warn!(
                direction,
                feed,
                peer,
                address,
                error = trouble.error,
                "the link has been down for 10 s; dialling on"
            );
        }
        turn = turn.wrapping_add(1);
        leader = trouble.leader.filter(|leader| *leader != address);
        hints = if leader.is_some() { hints.saturating_add(1) } else { hints };
        if leader.is_none() || hints > MAX_HINTS {
            tokio::select! {
                () = down(&mut shutdown) => return,
                () = tokio::time::sleep(backoff.delay()) => {}
            }
        }
    }
}

/// Notes that both sides have said hello.
pub(super) fn up(name: &LinkName, state: &LinkState, address: &str, from_seq: u64) {
    let LinkName { direction, feed, peer } = name;
    tracing::info!(direction, feed, peer, address, from_seq, "the link is up");
    state.up(address);
}
