//! The cluster, as this replica sees it.

use stockmesh_proto::coordinator::v1::cluster_service_server::ClusterService;
use stockmesh_proto::coordinator::v1::{GetClusterStatusRequest, GetClusterStatusResponse, Replica};
use tonic::{Request, Response, Status};

use super::{READERS, service};
use crate::storage::snapshots::hex;

service!(Cluster);

#[tonic::async_trait]
impl ClusterService for Cluster {
    async fn get_cluster_status(
        &self,
        request: Request<GetClusterStatusRequest>,
    ) -> Result<Response<GetClusterStatusResponse>, Status> {
        self.asked(&request, READERS)?;
        let (identity, status) = (self.handle.identity(), self.handle.status());
        let board = self.handle.board();
        let replicas = board
            .members
            .addresses()
            .map(|(id, address)| Replica {
                replica_id: id,
                address: address.to_owned(),
                voter: board.members.is_voter(id),
            })
            .collect();
        let state = self.handle.state().read();
        let counters = state.counters();
        Ok(Response::new(GetClusterStatusResponse {
            group: identity.group,
            incarnation: identity.incarnation,
            replica_id: identity.replica_id,
            leader_id: status.leader_id,
            term: status.term,
            commit_index: status.commit_index,
            // The state may be ahead of the status, which follows each turn; and Raft's own entries, which hold no
            // command, are not in the state.
            applied_index: state.applied_index().max(status.applied_index),
            first_index: status.first_index,
            log_time_ms: state.log_time().0,
            state_hash: hex(&state.digest()),
            feature_level: state.feature_level(),
            replicas,
            backordered_units: counters.backordered_units,
            open_orders: counters.open_orders,
            orders: counters.orders,
        }))
    }
}
