//! What other replicas send: Raft messages, snapshots, acknowledgements of consumers that pull there.

use std::sync::Arc;

use raft::eraftpb::{Message, MessageType};
use stockmesh_proto::entry::Head;
use stockmesh_proto::raft::v1::raft_service_server::RaftService;
use stockmesh_proto::raft::v1::{
    ReportAcknowledgementsRequest, ReportAcknowledgementsResponse, SendRequest, SendResponse, SendSnapshotRequest,
    SendSnapshotResponse,
};
use stockmesh_service::Caller;
use stockmesh_service::status::{not_leader, to_status};
use stockmesh_types::{PrincipalKind, Reason, Reject};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Context;
use crate::driver::{Control, Handle};
use crate::replica::Replica;
use crate::replica::members::{NotAdmitted, in_order};
use crate::storage::log::DiskLog;
use crate::storage::snapshots::{Place, Snapshots};

/// Acknowledgements of one report.
const MAX_ACKNOWLEDGEMENTS: usize = 1_000;

pub(super) struct Raft {
    context: Arc<Context>,
    /// One snapshot is received at a time: each may be as large as the state.
    receiving: Arc<Semaphore>,
}

impl Raft {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context, receiving: Arc::new(Semaphore::new(1)) }
    }

    fn require_replica<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let caller = Caller::of(request, &self.context.security).map_err(|reject| to_status(&reject))?;
        if caller.is(PrincipalKind::Coordinator, &self.context.group()) {
            return Ok(());
        }
        Err(to_status(&Reject::new(Reason::NotAllowed, "only replicas of this group may talk Raft to it")))
    }
}

/// A message of another group or life must never be stepped: it would mix two histories.
pub(super) fn check_group(handle: &Handle, group: u32, incarnation: u32) -> Result<(), Status> {
    let identity = handle.identity();
    if (group, incarnation) == (identity.group, identity.incarnation) {
        return Ok(());
    }
    Err(to_status(&Reject::new(
        Reason::StaleIncarnation,
        format!(
            "this is group {} incarnation {}, and the sender is of group {group} incarnation {incarnation}",
            identity.group, identity.incarnation
        ),
    )))
}

/// Messages of a replica on another disk than the one that joined, or of one that was removed, must never be stepped: it
/// would vote a second time.
pub(super) fn check_sender(handle: &Handle, replica: u64, store: &[u8]) -> Result<(), Status> {
    handle.board().members.admit(replica, store).map_err(|not| {
        let reason = match not {
            NotAdmitted::StoreReplaced(_) => Reason::StoreReplaced,
            NotAdmitted::Removed(_) => Reason::MemberRemoved,
        };
        to_status(&Reject::new(reason, not.to_string()))
    })
}

#[tonic::async_trait]
impl RaftService for Raft {
    type SendStream = ReceiverStream<Result<SendResponse, Status>>;

    async fn send(&self, request: Request<Streaming<SendRequest>>) -> Result<Response<Self::SendStream>, Status> {
        self.require_replica(&request)?;
        let (handle, mut shutdown) = (self.context.handle.clone(), self.context.shutdown.clone());
        let mut requests = request.into_inner();
        let (answers, stream) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = requests.message() => next,
                    _ = shutdown.wait_for(|down| *down) => return,
                };
                // An end or an error of the stream: the peer dials again.
                let Ok(Some(SendRequest { group, incarnation, from_replica, messages, store_id })) = next else {
                    return;
                };
                if let Err(status) = check_sender(&handle, from_replica, &store_id) {
                    tracing::warn!(from_replica, "refused Raft messages: {}", status.message());
                    // The peer may be gone meanwhile.
                    let _ = answers.send(Err(status)).await;
                    return;
                }
                if let Err(status) = check_group(&handle, group, incarnation) {
                    tracing::error!(group, incarnation, "refused Raft messages of another group or incarnation");
                    // The peer may be gone meanwhile.
                    let _ = answers.send(Err(status)).await;
                    return;
                }
                let me = handle.identity().replica_id;
                let decoded = messages.iter().filter_map(|bytes| Replica::<DiskLog>::decode(bytes));
                for message in decoded.filter(|message| message.to == me && message.from == from_replica) {
                    if message.get_msg_type() == MessageType::MsgSnapshot {
                        // Snapshots come by SendSnapshot, which stores the files first.
                        continue;
                    }
                    if !handle.deliver(message) {
                        tracing::debug!("dropped a Raft message: the queue is full");
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    type SendSnapshotStream = ReceiverStream<Result<SendSnapshotResponse, Status>>;

    async fn send_snapshot(
        &self,
        request: Request<Streaming<SendSnapshotRequest>>,
    ) -> Result<Response<Self::SendSnapshotStream>, Status> {
        self.require_replica(&request)?;
        let permit = self.receiving.clone().try_acquire_owned().map_err(|_| {
            to_status(&Reject::new(Reason::Overloaded, "a snapshot is being received already: send again later"))
        })?;
        let handle = self.context.handle.clone();
        let (answers, stream) = mpsc::channel(1);
        tokio::spawn(async move {
            let received = receive(&handle, request.into_inner(), permit).await;
            if let Err(status) = &received {
                tracing::info!(error = status.message(), "receiving a snapshot failed; it will be sent again");
            }
            // The sender may be gone meanwhile: it sends again, and finds it here.
            let _ = answers.send(received).await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn report_acknowledgements(
        &self,
        request: Request<ReportAcknowledgementsRequest>,
    ) -> Result<Response<ReportAcknowledgementsResponse>, Status> {
        self.require_replica(&request)?;
        let ReportAcknowledgementsRequest { group, incarnation, from_replica: _, acknowledgements } =
            request.into_inner();
        check_group(&self.context.handle, group, incarnation)?;
        if !self.context.leads() {
            return Err(not_leader(self.context.leader_address().as_deref()));
        }
        if acknowledgements.len() > MAX_ACKNOWLEDGEMENTS {
            let reject = Reject::new(Reason::TooManyLines, format!("more than {MAX_ACKNOWLEDGEMENTS} in one report"));
            return Err(to_status(&reject.field("acknowledgements")));
        }
        for acknowledgement in acknowledgements {
            let cursor = acknowledgement.cursor.as_ref().and_then(Head::from_wire).ok_or_else(|| {
                to_status(&Reject::new(Reason::InvalidValue, "an acknowledgement without a position").field("cursor"))
            })?;
            self.context.handle.note_acknowledged(&acknowledgement.destination, cursor);
        }
        Ok(Response::new(ReportAcknowledgementsResponse {}))
    }
}

/// Stores a snapshot's files durably, then lets the replica see the message that announced it.
async fn receive(
    handle: &Handle,
    mut requests: Streaming<SendSnapshotRequest>,
    _permit: OwnedSemaphorePermit,
) -> Result<SendSnapshotResponse, Status> {
    let broken = |what: &str| to_status(&Reject::new(Reason::InvalidValue, format!("snapshot: {what}")));
    let fault = |error: crate::storage::StorageFault| to_status(&Reject::new(Reason::InvalidValue, error.to_string()));
    let lost = |error: tokio::task::JoinError| Status::internal(error.to_string());
    let first = requests.message().await?.ok_or_else(|| broken("nothing came"))?;
    check_group(handle, first.group, first.incarnation)?;
    check_sender(handle, first.from_replica, &first.store_id)?;
    let message: Message = Replica::<DiskLog>::decode(&first.message)
        .filter(|message| message.get_msg_type() == MessageType::MsgSnapshot)
        .filter(|message| message.to == handle.identity().replica_id)
        .ok_or_else(|| broken("the first piece announces none for this replica"))?;
    let metadata = message.get_snapshot().get_metadata();
    let place = Place { index: metadata.index, term: metadata.term };
    let (snapshots, resumes) = (handle.snapshots().clone(), first.resumes);
    if resumes && is_complete(&snapshots, place).await? {
        // It arrived before, and the answer or what follows was lost.
        handle.tell(Control::SnapshotReceived(Box::new(message))).await;
        return Ok(SendSnapshotResponse {});
    }
    let mut partial =
        tokio::task::spawn_blocking(move || snapshots.receive(place, resumes)).await.map_err(lost)?.map_err(fault)?;
    while let Some(piece) = requests.message().await? {
        let SendSnapshotRequest { file, offset, data, crc32, .. } = piece;
        partial = tokio::task::spawn_blocking(move || partial.piece(&file, offset, &data, crc32).map(|()| partial))
            .await
            .map_err(lost)?
            .map_err(fault)?;
    }
    let group = handle.identity().group;
    let finished = tokio::task::spawn_blocking(move || partial.finish_received(place, group)).await;
    let manifest = finished.map_err(lost)?.map_err(fault)?;
    let stands = |of: &raft::eraftpb::SnapshotMetadata| (of.index, of.term, in_order(of.get_conf_state().clone()));
    if stands(&manifest.metadata()) != stands(metadata) {
        return Err(broken("its place or its members are not those that were announced"));
    }
    handle.tell(Control::SnapshotReceived(Box::new(message))).await;
    Ok(SendSnapshotResponse {})
}

/// Whether the snapshot is here whole, and good.
async fn is_complete(snapshots: &Snapshots, place: Place) -> Result<bool, Status> {
    let snapshots = snapshots.clone();
    let check = move || Ok(snapshots.progress(place)?.complete && snapshots.verify(place).is_ok());
    let checked: Result<bool, crate::storage::StorageFault> =
        tokio::task::spawn_blocking(check).await.map_err(|error| Status::internal(error.to_string()))?;
    checked.map_err(|fault| to_status(&Reject::new(Reason::InvalidValue, fault.to_string())))
}
