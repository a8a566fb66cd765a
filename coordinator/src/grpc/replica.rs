//! What replicas ask each other beside Raft.

use stockmesh_proto::FEATURE_LEVEL;
use stockmesh_proto::raft::v1::replica_service_server::ReplicaService;
use stockmesh_proto::raft::v1::{
    ExchangeRequest, ExchangeResponse, GetSnapshotProgressRequest, GetSnapshotProgressResponse, ReceivedFile,
};
use stockmesh_service::Caller;
use stockmesh_service::status::to_status;
use stockmesh_types::{PrincipalKind, Reason, Reject};
use tonic::{Request, Response, Status};

use super::raft::{check_group, check_sender};
use super::service;
use crate::driver::{Control, Heard};
use crate::exchange::{digests, hashes_of};
use crate::replica::members::StoreId;
use crate::storage::snapshots::Place;

service!(Replicas);

impl Replicas {
    fn require_replica<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let caller = Caller::of(request, &self.security).map_err(|reject| to_status(&reject))?;
        if caller.is(PrincipalKind::Coordinator, &self.group()) {
            return Ok(());
        }
        Err(to_status(&Reject::new(Reason::NotAllowed, "only replicas of this group may ask this")))
    }
}

#[tonic::async_trait]
impl ReplicaService for Replicas {
    async fn exchange(&self, request: Request<ExchangeRequest>) -> Result<Response<ExchangeResponse>, Status> {
        self.require_replica(&request)?;
        let ExchangeRequest { group, incarnation, from_replica, to_replica, store_id, feature_level, hashes } =
            request.into_inner();
        check_group(&self.handle, group, incarnation)?;
        check_sender(&self.handle, from_replica, &store_id)?;
        let me = self.handle.identity().replica_id;
        if to_replica != me {
            let message = format!("this is replica {me}, and the caller takes it for {to_replica}");
            return Err(to_status(&Reject::new(Reason::UnknownMember, message).field("to_replica")));
        }
        let store = StoreId::try_from(store_id.as_slice()).map_err(|_| {
            to_status(&Reject::new(Reason::InvalidValue, "a store's identity has 16 bytes").field("store_id"))
        })?;
        let heard =
            Heard { peer: from_replica, store, feature_level, hashes: digests(hashes), clock: None, settled: false };
        self.handle.tell(Control::Heard(heard)).await;
        Ok(Response::new(ExchangeResponse {
            replica_id: me,
            store_id: self.handle.store().to_vec(),
            feature_level: FEATURE_LEVEL,
            clock_ms: self.handle.reading().wall_ms,
            hashes: hashes_of(&self.handle),
            settled: self.handle.status().settled,
        }))
    }

    async fn get_snapshot_progress(
        &self,
        request: Request<GetSnapshotProgressRequest>,
    ) -> Result<Response<GetSnapshotProgressResponse>, Status> {
        self.require_replica(&request)?;
        let GetSnapshotProgressRequest { group, incarnation, from_replica: _, index, term } = request.into_inner();
        check_group(&self.handle, group, incarnation)?;
        let snapshots = self.handle.snapshots().clone();
        let progress = tokio::task::spawn_blocking(move || snapshots.progress(Place { index, term })).await;
        let progress = progress.map_err(|error| Status::internal(error.to_string()))?;
        let progress = progress.map_err(|fault| to_status(&Reject::new(Reason::InvalidValue, fault.to_string())))?;
        Ok(Response::new(GetSnapshotProgressResponse {
            complete: progress.complete,
            files: progress.files.into_iter().map(|(name, bytes)| ReceivedFile { name, bytes }).collect(),
        }))
    }
}
