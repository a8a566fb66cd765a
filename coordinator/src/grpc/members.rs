//! The members of the group: who they are, and how they change.

use stockmesh_coordinator_core::Answer;
use stockmesh_proto::FEATURE_LEVEL;
use stockmesh_proto::coordinator::v1::member_service_client::MemberServiceClient;
use stockmesh_proto::coordinator::v1::member_service_server::MemberService;
use stockmesh_proto::coordinator::v1::{
    AddMemberRequest, AddMemberResponse, ListMembersRequest, ListMembersResponse, Member, MemberRole,
    PromoteMemberRequest, PromoteMemberResponse, RaiseFeatureLevelRequest, RaiseFeatureLevelResponse,
    RemoveMemberRequest, RemoveMemberResponse, TransferLeadershipRequest, TransferLeadershipResponse,
};
use stockmesh_proto::raft::v1::{Command, RaiseFeatureLevel, command};
use stockmesh_service::status::to_status;
use stockmesh_types::{Reason, Reject};
use tonic::{Request, Response, Status};

use super::{MASTER_DATA, READERS, other_answer, service};
use crate::driver::{Board, MemberCommand};
use crate::replica::members::{Change, Members as Known};
use crate::storage::snapshots::hex;

service!(MemberHandlers);

fn role(members: &Known, id: u64) -> MemberRole {
    let conf = &members.conf;
    if conf.voters.contains(&id) {
        MemberRole::Voter
    } else if conf.voters_outgoing.contains(&id) {
        MemberRole::Leaving
    } else if conf.learners.contains(&id) {
        MemberRole::Learner
    } else {
        MemberRole::Removed
    }
}

impl MemberHandlers {
    fn member(&self, board: &Board, id: u64) -> Member {
        let record = board.members.directory.get(id).cloned().unwrap_or_default();
        let me = self.handle.identity().replica_id;
        let peer = board.peers.get(&id).copied().unwrap_or_default();
        let offset = if id == me { Some(0) } else { peer.clock_offset_ms };
        Member {
            replica_id: id,
            address: record.address,
            role: role(&board.members, id).into(),
            store_id: record.store.map_or_else(String::new, |store| hex(&store)),
            matched_index: peer.matched.unwrap_or(0),
            leads: self.handle.status().leader_id == id,
            clock_offset_ms: offset.unwrap_or(0),
            clock_known: offset.is_some(),
            feature_level: if id == me { FEATURE_LEVEL } else { peer.feature_level },
        }
    }

    async fn change(&self, change: Change, id: u64) -> Result<Member, Status> {
        let changed = self.handle.members(MemberCommand::Change(change)).await;
        changed.map_err(|reject| self.refuse(&reject))?;
        Ok(self.member(&self.handle.board(), id))
    }

    /// The highest level that all members speak, and one that does not speak `wanted`.
    fn spoken(&self, wanted: u32) -> (u32, Option<(u64, u32)>) {
        let (board, me) = (self.handle.board(), self.handle.identity().replica_id);
        let levels = board.members.directory.iter().filter(|(id, _)| *id != me && board.members.contains(*id));
        let levels = levels.map(|(id, _)| (id, board.peers.get(&id).map_or(0, |peer| peer.feature_level)));
        let lowest = levels.min_by_key(|(_, level)| *level);
        let all = lowest.map_or(FEATURE_LEVEL, |(_, level)| level.min(FEATURE_LEVEL));
        let wanted = if wanted == 0 { all.max(1) } else { wanted };
        let lacking = lowest.filter(|(_, level)| *level < wanted);
        (wanted, lacking.or((wanted > FEATURE_LEVEL).then_some((me, FEATURE_LEVEL))))
    }
}

/// Forwards to the leader, or goes on here.
macro_rules! at_leader {
    ($self:ident, $request:ident, $asked:ident, $method:ident) => {
        $self.await_leader().await;
        if !$self.leads() {
            let message = $request.into_inner();
            return $self
                .forward(&$asked, message, |channel, request| async move {
                    MemberServiceClient::new(channel).$method(request).await
                })
                .await;
        }
    };
}

#[tonic::async_trait]
impl MemberService for MemberHandlers {
    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        self.asked(&request, READERS)?;
        let board = self.handle.board();
        // A configuration may name others, which never joined.
        let directory = board.members.directory.iter();
        let listed = directory.filter(|(id, record)| record.removed || board.members.contains(*id));
        let mut members: Vec<Member> = listed.map(|(id, _)| self.member(&board, id)).collect();
        members.sort_by_key(|member| (member.role() == MemberRole::Removed, member.replica_id));
        let feature_level = self.handle.state().read().feature_level();
        Ok(Response::new(ListMembersResponse { members, changing: board.members.is_joint(), feature_level }))
    }

    async fn add_member(&self, request: Request<AddMemberRequest>) -> Result<Response<AddMemberResponse>, Status> {
        let asked = self.asked(&request, MASTER_DATA)?;
        at_leader!(self, request, asked, add_member);
        let AddMemberRequest { replica_id, address } = request.into_inner();
        let member = self.change(Change::Add { id: replica_id, address }, replica_id).await?;
        Ok(Response::new(AddMemberResponse { member: Some(member) }))
    }

    async fn promote_member(
        &self,
        request: Request<PromoteMemberRequest>,
    ) -> Result<Response<PromoteMemberResponse>, Status> {
        let asked = self.asked(&request, MASTER_DATA)?;
        at_leader!(self, request, asked, promote_member);
        let PromoteMemberRequest { replica_id, instead_of } = request.into_inner();
        let instead_of = (instead_of != 0).then_some(instead_of);
        let member = self.change(Change::Promote { id: replica_id, instead_of }, replica_id).await?;
        Ok(Response::new(PromoteMemberResponse { member: Some(member) }))
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<RemoveMemberResponse>, Status> {
        let asked = self.asked(&request, MASTER_DATA)?;
        at_leader!(self, request, asked, remove_member);
        let RemoveMemberRequest { replica_id } = request.into_inner();
        let member = self.change(Change::Remove { id: replica_id }, replica_id).await?;
        Ok(Response::new(RemoveMemberResponse { member: Some(member) }))
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        let asked = self.asked(&request, MASTER_DATA)?;
        at_leader!(self, request, asked, transfer_leadership);
        let TransferLeadershipRequest { replica_id } = request.into_inner();
        let asked = self.handle.members(MemberCommand::Transfer(replica_id)).await;
        asked.map_err(|reject| self.refuse(&reject))?;
        Ok(Response::new(TransferLeadershipResponse { replica_id }))
    }

    async fn raise_feature_level(
        &self,
        request: Request<RaiseFeatureLevelRequest>,
    ) -> Result<Response<RaiseFeatureLevelResponse>, Status> {
        let asked = self.asked(&request, MASTER_DATA)?;
        at_leader!(self, request, asked, raise_feature_level);
        let (level, lacking) = self.spoken(request.into_inner().level);
        if let Some((id, spoken)) = lacking {
            let what = if spoken == 0 { "was not heard of".to_owned() } else { format!("speaks {spoken}") };
            let message = format!("member {id} {what}, and the level would be {level}: upgrade or remove it first");
            return Err(to_status(&Reject::new(Reason::FeatureLevelNotSpoken, message).field("level")));
        }
        let kind = command::Kind::RaiseFeatureLevel(RaiseFeatureLevel { level });
        let principal = Some((&asked.principal).into());
        match self.submit(Command { principal, kind: Some(kind), ..Command::default() }).await? {
            Answer::FeatureLevelRaised { level } => Ok(Response::new(RaiseFeatureLevelResponse { level })),
            other => Err(other_answer(&other)),
        }
    }
}
