//! Recovery of nodes: epochs sealed, Welcomes in pages; and nodes that two people give up as lost.
//!
//! A node speaks for itself, operators for any. Who a person is, their certificate says; only where nobody is
//! authenticated (--insecure-dev) the request is believed.

use stockmesh_coordinator_core::Answer;
use stockmesh_proto::coordinator::v1::node_recovery_service_client::NodeRecoveryServiceClient;
use stockmesh_proto::coordinator::v1::node_recovery_service_server::NodeRecoveryService;
use stockmesh_proto::coordinator::v1::node_retirement_service_client::NodeRetirementServiceClient;
use stockmesh_proto::coordinator::v1::node_retirement_service_server::NodeRetirementService;
use stockmesh_proto::coordinator::v1::{
    AcceptDuplicatesRequest, AcceptDuplicatesResponse, ApproveRetirementRequest, ApproveRetirementResponse,
    GetEpochRequest, GetEpochResponse, GetRetirementRequest, GetRetirementResponse, GetWelcomeRequest,
    GetWelcomeResponse, Node, ProposeRetirementRequest, ProposeRetirementResponse, ReinstateNodeRequest,
    ReinstateNodeResponse, Retirement, SealEpochRequest, SealEpochResponse,
};
use stockmesh_proto::feed::v1::FeedRef;
use stockmesh_proto::raft::v1::{OpenNodeEpoch, RetireNode, RetirementStep, command};
use stockmesh_service::page::{decode_token, encode_token};
use stockmesh_service::status::to_status;
use stockmesh_types::{NodeId, Principal, PrincipalKind, Reason, Reject, RequestId};
use tonic::{Request, Response, Status};

use super::{Asked, READERS, command_of, other_answer, own_command, service};

/// Who may speak of a node's recovery: the node itself, and people.
const RECOVERERS: &[PrincipalKind] = &[PrincipalKind::Node, PrincipalKind::User];
/// Who may give a node up.
const PEOPLE: &[PrincipalKind] = &[PrincipalKind::User];

const PAGES: &str = "welcome";
/// Records of one page of a Welcome.
const PAGE: usize = 1_000;

service!(Recoveries);
service!(Retirements);

fn check_node(node: &str) -> Result<NodeId, Status> {
    NodeId::new(node).map_err(|reject| to_status(&reject.field("node")))
}

/// A node speaks for itself only.
fn check_own(principal: &Principal, node: &NodeId) -> Result<(), Status> {
    if principal.kind != PrincipalKind::Node || principal.id == node.as_str() {
        return Ok(());
    }
    let message = format!("node {} asked about node {node}: only an operator may", principal.id);
    Err(to_status(&Reject::new(Reason::NotAllowed, message).field("node")))
}

#[tonic::async_trait]
impl NodeRecoveryService for Recoveries {
    async fn get_epoch(&self, request: Request<GetEpochRequest>) -> Result<Response<GetEpochResponse>, Status> {
        let asked = self.asked(&request, READERS)?;
        let node = check_node(&request.into_inner().node)?;
        check_own(&asked.principal, &node)?;
        self.linearize().await?;
        let state = self.handle.state().read();
        let (epoch, cursor, standing) = state.node_epoch(&node).map_err(|reject| to_status(&reject))?;
        let identity = self.handle.identity();
        Ok(Response::new(GetEpochResponse {
            epoch,
            cursor: Some(cursor.to_wire()),
            standing: standing.into(),
            group: identity.group,
            incarnation: identity.incarnation,
        }))
    }

    async fn seal_epoch(&self, request: Request<SealEpochRequest>) -> Result<Response<SealEpochResponse>, Status> {
        let asked = self.asked(&request, RECOVERERS)?;
        let message = request.into_inner();
        check_own(&asked.principal, &check_node(&message.node)?)?;
        self.await_leader().await;
        if !self.leads() {
            let forward =
                |channel, request| async move { NodeRecoveryServiceClient::new(channel).seal_epoch(request).await };
            return self.forward(&asked, message, forward).await;
        }
        let SealEpochRequest { node, epoch, r#final, recovery_id, lost_to } = message;
        let kind = command::Kind::OpenNodeEpoch(OpenNodeEpoch { node, epoch, r#final, recovery_id, lost_to });
        // The recovery id is what makes a repeat known.
        let mut command = own_command(String::new(), kind);
        command.principal = Some((&asked.principal).into());
        match self.submit(command).await? {
            Answer::NodeEpochOpened { node: _, epoch, recovery_id } => {
                Ok(Response::new(SealEpochResponse { epoch, recovery_id }))
            }
            other => Err(other_answer(&other)),
        }
    }

    async fn get_welcome(&self, request: Request<GetWelcomeRequest>) -> Result<Response<GetWelcomeResponse>, Status> {
        let asked = self.asked(&request, RECOVERERS)?;
        let GetWelcomeRequest { node, recovery_id, page_token } = request.into_inner();
        check_own(&asked.principal, &check_node(&node)?)?;
        let after = decode_token(PAGES, &page_token).map_err(|reject| to_status(&reject))?.unwrap_or(0);
        self.linearize().await?;
        let page = self.handle.state().read().welcome(&node, &recovery_id, after, PAGE);
        let page = page.map_err(|reject| to_status(&reject))?;
        Ok(Response::new(GetWelcomeResponse {
            recovery_id: page.recovery_id,
            epoch: page.epoch,
            work_feed: Some(FeedRef::from(&page.work_feed)),
            work_cursor: Some(page.work_cursor.to_wire()),
            standing: page.standing,
            cells: page.cells,
            allocations: page.allocations,
            next_page_token: page.next.map_or_else(String::new, |next| encode_token(PAGES, next)),
        }))
    }
}

/// Who signs: the person of the certificate, or of the request where nobody is authenticated.
fn person(principal: &Principal, named: &str) -> Result<String, Status> {
    if principal.kind != PrincipalKind::Insecure {
        return Ok(principal.id.clone());
    }
    if named.is_empty() {
        let message = "nobody is authenticated here: name the person";
        return Err(to_status(&Reject::new(Reason::MissingField, message).field("person")));
    }
    Ok(named.to_owned())
}

/// A step that a person takes.
struct Step<'a> {
    request_id: &'a str,
    node: &'a str,
    person: &'a str,
    reason: &'a str,
    step: RetirementStep,
}

impl Retirements {
    async fn take<M: prost::Message>(&self, asked: &Asked, message: &M, step: Step<'_>) -> Result<Node, Status> {
        let Step { request_id, node, person: named, reason, step } = step;
        RequestId::new(request_id).map_err(|reject| to_status(&reject.field("request_id")))?;
        let node = check_node(node)?.to_string();
        let retire =
            RetireNode { node, person: person(&asked.principal, named)?, step: step.into(), reason: reason.to_owned() };
        let kind = command::Kind::RetireNode(retire);
        match self.submit(command_of(asked, request_id, message, kind)).await? {
            Answer::NodeRetirement { node } => Ok(node),
            other => Err(other_answer(&other)),
        }
    }

    /// How far it is, worked out apart from the state that goes on.
    async fn status_of(&self, node: &str) -> Result<Retirement, Status> {
        let node = check_node(node)?;
        let snapshot = self.handle.state().read().snapshot();
        let retirement = tokio::task::spawn_blocking(move || snapshot.state().retirement(&node)).await;
        retirement.map_err(|error| Status::internal(error.to_string()))?.map_err(|reject| to_status(&reject))
    }
}

#[tonic::async_trait]
impl NodeRetirementService for Retirements {
    async fn propose_retirement(
        &self,
        request: Request<ProposeRetirementRequest>,
    ) -> Result<Response<ProposeRetirementResponse>, Status> {
        let asked = self.asked(&request, PEOPLE)?;
        let message = request.into_inner();
        self.await_leader().await;
        if !self.leads() {
            let forward = |channel, request| async move {
                NodeRetirementServiceClient::new(channel).propose_retirement(request).await
            };
            return self.forward(&asked, message, forward).await;
        }
        let ProposeRetirementRequest { request_id, node, reason, person } = &message;
        let step = Step { request_id, node, person, reason, step: RetirementStep::Propose };
        self.take(&asked, &message, step).await?;
        Ok(Response::new(ProposeRetirementResponse { retirement: Some(self.status_of(node).await?) }))
    }

    async fn approve_retirement(
        &self,
        request: Request<ApproveRetirementRequest>,
    ) -> Result<Response<ApproveRetirementResponse>, Status> {
        let asked = self.asked(&request, PEOPLE)?;
        let message = request.into_inner();
        self.await_leader().await;
        if !self.leads() {
            let forward = |channel, request| async move {
                NodeRetirementServiceClient::new(channel).approve_retirement(request).await
            };
            return self.forward(&asked, message, forward).await;
        }
        let ApproveRetirementRequest { request_id, node, person } = &message;
        let step = Step { request_id, node, person, reason: "", step: RetirementStep::Approve };
        self.take(&asked, &message, step).await?;
        Ok(Response::new(ApproveRetirementResponse { retirement: Some(self.status_of(node).await?) }))
    }

    async fn accept_duplicates(
        &self,
        request: Request<AcceptDuplicatesRequest>,
    ) -> Result<Response<AcceptDuplicatesResponse>, Status> {
        let asked = self.asked(&request, PEOPLE)?;
        let message = request.into_inner();
        self.await_leader().await;
        if !self.leads() {
            let forward = |channel, request| async move {
                NodeRetirementServiceClient::new(channel).accept_duplicates(request).await
            };
            return self.forward(&asked, message, forward).await;
        }
        let AcceptDuplicatesRequest { request_id, node, person } = &message;
        let step = Step { request_id, node, person, reason: "", step: RetirementStep::AcceptDuplicates };
        self.take(&asked, &message, step).await?;
        Ok(Response::new(AcceptDuplicatesResponse { retirement: Some(self.status_of(node).await?) }))
    }

    async fn reinstate_node(
        &self,
        request: Request<ReinstateNodeRequest>,
    ) -> Result<Response<ReinstateNodeResponse>, Status> {
        let asked = self.asked(&request, PEOPLE)?;
        let message = request.into_inner();
        self.await_leader().await;
        if !self.leads() {
            let forward = |channel, request| async move {
                NodeRetirementServiceClient::new(channel).reinstate_node(request).await
            };
            return self.forward(&asked, message, forward).await;
        }
        let ReinstateNodeRequest { request_id, node, person } = &message;
        let step = Step { request_id, node, person, reason: "", step: RetirementStep::Reinstate };
        let node = self.take(&asked, &message, step).await?;
        Ok(Response::new(ReinstateNodeResponse { standing: node.standing }))
    }

    async fn get_retirement(
        &self,
        request: Request<GetRetirementRequest>,
    ) -> Result<Response<GetRetirementResponse>, Status> {
        self.asked(&request, READERS)?;
        let node = request.into_inner().node;
        self.linearize().await?;
        Ok(Response::new(GetRetirementResponse { retirement: Some(self.status_of(&node).await?) }))
    }
}
