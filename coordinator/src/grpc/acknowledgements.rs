//! What consumers of our feeds have is logged, so that every replica can delete it: a few times a second, the latest of
//! each destination. A follower tells the leader. One that gets lost is followed by a later one.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use stockmesh_proto::entry::Head;
use stockmesh_proto::raft::v1::raft_service_client::RaftServiceClient;
use stockmesh_proto::raft::v1::{AcknowledgeFeed, FeedAcknowledgement, ReportAcknowledgementsRequest, command};
use tokio::time::MissedTickBehavior;
use tonic::Request;

use super::{Context, own_command};

/// How often positions are logged.
const INTERVAL: Duration = Duration::from_millis(250);
/// Positions logged or reported in one go.
const AT_ONCE: usize = 500;
const REPORT_PATIENCE: Duration = Duration::from_secs(2);

/// Runs until the process goes down.
pub async fn report_acknowledgements(context: Arc<Context>) {
    let mut shutdown = context.shutdown.clone();
    let mut ticker = tokio::time::interval(INTERVAL);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticker.tick() => {}
            _ = shutdown.wait_for(|down| *down) => return,
        }
        let waiting = context.handle.take_acknowledged();
        for some in waiting.chunks(AT_ONCE) {
            let done = if context.leads() { log(&context, some).await } else { tell_leader(&context, some).await };
            if !done {
                note_again(&context, some);
            }
        }
    }
}

async fn log(context: &Context, acknowledgements: &[FeedAcknowledgement]) -> bool {
    let mut submitted: FuturesUnordered<_> = acknowledgements
        .iter()
        .cloned()
        .map(|FeedAcknowledgement { destination, cursor }| {
            let kind = command::Kind::AcknowledgeFeed(AcknowledgeFeed { destination, cursor });
            context.handle.submit(own_command(context.group(), kind))
        })
        .collect();
    let mut all = true;
    while let Some(outcome) = submitted.next().await {
        if let Err(reject) = outcome {
            tracing::debug!(%reject, "an acknowledgement was not logged; it is tried again");
            all = false;
        }
    }
    all
}

async fn tell_leader(context: &Context, acknowledgements: &[FeedAcknowledgement]) -> bool {
    let (identity, leader) = (context.handle.identity(), context.handle.status().leader_id);
    let Some(address) = context.address(leader) else { return false };
    let Ok(channel) = context.channel(leader, &address) else { return false };
    let mut request = Request::new(ReportAcknowledgementsRequest {
        group: identity.group,
        incarnation: identity.incarnation,
        from_replica: identity.replica_id,
        acknowledgements: acknowledgements.to_vec(),
    });
    request.set_timeout(REPORT_PATIENCE);
    let mut client = RaftServiceClient::new(channel);
    match tokio::time::timeout(REPORT_PATIENCE, client.report_acknowledgements(request)).await {
        Ok(Ok(_)) => true,
        Ok(Err(status)) => {
            tracing::debug!(error = status.message(), "the leader did not take acknowledgements; tried again");
            false
        }
        Err(_) => false,
    }
}

fn note_again(context: &Context, acknowledgements: &[FeedAcknowledgement]) {
    for FeedAcknowledgement { destination, cursor } in acknowledgements {
        // Made from a position a moment ago: it reads back.
        if let Some(cursor) = cursor.as_ref().and_then(Head::from_wire) {
            context.handle.note_acknowledged(destination, cursor);
        }
    }
}
