//! What replicas ask each other beside Raft, once a second: clocks, hashes of their state, whose disk they have.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use stockmesh_proto::FEATURE_LEVEL;
use stockmesh_proto::raft::v1::replica_service_client::ReplicaServiceClient;
use stockmesh_proto::raft::v1::{ExchangeRequest, ExchangeResponse, StateHash};
use stockmesh_service::Dialer;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::driver::{Control, Handle, Heard};
use crate::replica::hashes::Digest;
use crate::replica::members::StoreId;
use crate::transport::is_expelled;

/// How often, once this replica's clock was found right.
const INTERVAL: Duration = Duration::from_secs(1);
/// And before: nothing is stamped until then.
const FIRST_INTERVAL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(2);
/// Hashes that one message carries.
pub(crate) const MAX_HASHES: usize = 16;

/// Runs until the process goes down.
pub async fn run(handle: Handle, dialer: Dialer, mut shutdown: watch::Receiver<bool>) {
    let mut channels: BTreeMap<String, Channel> = BTreeMap::new();
    loop {
        let board = handle.board();
        let me = handle.identity().replica_id;
        let others: Vec<(u64, String)> = board
            .members
            .addresses()
            .filter(|(id, _)| *id != me)
            .map(|(id, address)| (id, address.to_owned()))
            .collect();
        channels.retain(|address, _| others.iter().any(|(_, other)| other == address));
        let mut asked: FuturesUnordered<_> = others
            .into_iter()
            .filter_map(|(peer, address)| {
                if !channels.contains_key(&address) {
                    // An address that is none is told of by the stream of messages, which dials it as well.
                    channels.insert(address.clone(), dialer.channel(&address).ok()?);
                }
                let channel = channels.get(&address)?.clone();
                Some(ask(handle.clone(), channel, peer))
            })
            .collect();
        let pause = if board.may_stamp { INTERVAL } else { FIRST_INTERVAL };
        let round = async {
            while asked.next().await.is_some() {}
            tokio::time::sleep(pause).await;
        };
        tokio::select! {
            () = round => {}
            _ = shutdown.wait_for(|down| *down) => return,
        }
    }
}

async fn ask(handle: Handle, channel: Channel, peer: u64) {
    let identity = handle.identity();
    let mut request = Request::new(ExchangeRequest {
        group: identity.group,
        incarnation: identity.incarnation,
        from_replica: identity.replica_id,
        to_replica: peer,
        store_id: handle.store().to_vec(),
        feature_level: FEATURE_LEVEL,
        hashes: hashes_of(&handle),
    });
    request.set_timeout(PATIENCE);
    let before = handle.reading();
    let answer = timeout(PATIENCE, ReplicaServiceClient::new(channel).exchange(request)).await;
    let after = handle.reading();
    match answer {
        Ok(Ok(answer)) => {
            let ExchangeResponse { replica_id, store_id, feature_level, clock_ms, hashes, settled } =
                answer.into_inner();
            let Ok(store) = StoreId::try_from(store_id.as_slice()) else { return };
            if replica_id != peer {
                tracing::warn!(peer, replica_id, "another replica answers at this member's address");
                return;
            }
            let clock = Some((clock_ms, before, after));
            let hashes = digests(hashes);
            handle.tell(Control::Heard(Heard { peer, store, feature_level, hashes, clock, settled })).await;
        }
        Ok(Err(status)) if is_expelled(&status) => {
            let why = stockmesh_service::status::explain(&status);
            handle.tell(Control::Refused { peer, why }).await;
        }
        // It is down, or of the first release.
        Ok(Err(status)) => quiet(peer, &status),
        Err(_) => {}
    }
}

fn quiet(peer: u64, status: &Status) {
    if status.code() != Code::Unavailable && status.code() != Code::Unimplemented {
        tracing::debug!(peer, error = status.message(), "a replica does not tell of itself");
    }
}

/// This replica's hashes, to be told.
pub(crate) fn hashes_of(handle: &Handle) -> Vec<StateHash> {
    let hash = |(index, digest): &(u64, Digest)| StateHash { index: *index, digest: digest.to_vec() };
    handle.board().hashes.iter().take(MAX_HASHES).map(hash).collect()
}

/// Another's hashes; what is no digest is passed over.
pub(crate) fn digests(hashes: Vec<StateHash>) -> Vec<(u64, Digest)> {
    let digest = |StateHash { index, digest }: StateHash| Some((index, Digest::try_from(digest.as_slice()).ok()?));
    hashes.into_iter().take(MAX_HASHES).filter_map(digest).collect()
}
