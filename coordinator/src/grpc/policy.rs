//! Grant policy: set at the leader; read and proposed on any replica.

use stockmesh_coordinator_core::Answer;
use stockmesh_proto::coordinator::v1::grant_policy_service_client::GrantPolicyServiceClient;
use stockmesh_proto::coordinator::v1::grant_policy_service_server::GrantPolicyService;
use stockmesh_proto::coordinator::v1::{
    GetRightsMetricsRequest, GetRightsMetricsResponse, ListGrantPoliciesRequest, ListGrantPoliciesResponse,
    ProposeGrantPoliciesRequest, ProposeGrantPoliciesResponse, SetGrantPoliciesRequest, SetGrantPoliciesResponse,
};
use stockmesh_proto::raft::v1::{SetGrantPolicies, command};
use stockmesh_service::page::{decode_token, encode_token, page_size};
use stockmesh_service::status::to_status;
use stockmesh_types::{NodeId, Reason, Reject, RequestId};
use tonic::{Request, Response, Status};

use super::{MASTER_DATA, READERS, command_of, other_answer, service};

const LIST: &str = "policies";
const PROPOSALS: &str = "policy-proposals";
const METRICS: &str = "rights-metrics";
/// A node of which nothing was heard for so long counts as out of reach, unless the caller says otherwise.
const SILENT_MS: i64 = 10 * 60 * 1_000;

service!(GrantPolicies);

#[tonic::async_trait]
impl GrantPolicyService for GrantPolicies {
    async fn set_grant_policies(
        &self,
        request: Request<SetGrantPoliciesRequest>,
    ) -> Result<Response<SetGrantPoliciesResponse>, Status> {
        let asked = self.asked(&request, MASTER_DATA)?;
        let message = request.into_inner();
        RequestId::new(&message.request_id).map_err(|reject| to_status(&reject.field("request_id")))?;
        self.await_leader().await;
        if !self.leads() {
            let forward = |channel, request| async move {
                GrantPolicyServiceClient::new(channel).set_grant_policies(request).await
            };
            return self.forward(&asked, message, forward).await;
        }
        let SetGrantPoliciesRequest { request_id, policies, expected_version } = message.clone();
        let kind = command::Kind::SetGrantPolicies(SetGrantPolicies { policies, expected_version });
        match self.submit(command_of(&asked, &request_id, &message, kind)).await? {
            Answer::PoliciesSet { version } => Ok(Response::new(SetGrantPoliciesResponse { version })),
            other => Err(other_answer(&other)),
        }
    }

    async fn list_grant_policies(
        &self,
        request: Request<ListGrantPoliciesRequest>,
    ) -> Result<Response<ListGrantPoliciesResponse>, Status> {
        self.asked(&request, READERS)?;
        let ListGrantPoliciesRequest { page_size: wanted, page_token } = request.into_inner();
        let limit = page_size(wanted).map_err(|reject| to_status(&reject))?;
        let after = decode_token(LIST, &page_token).map_err(|reject| to_status(&reject))?.unwrap_or(0);
        self.linearize().await?;
        let state = self.handle.state().read();
        let page = state.list_policies(after, limit);
        Ok(Response::new(ListGrantPoliciesResponse {
            policies: page.items,
            next_page_token: page.next.map_or_else(String::new, |next| encode_token(LIST, next)),
            version: state.policy_version(),
        }))
    }

    async fn propose_grant_policies(
        &self,
        request: Request<ProposeGrantPoliciesRequest>,
    ) -> Result<Response<ProposeGrantPoliciesResponse>, Status> {
        self.asked(&request, READERS)?;
        let ProposeGrantPoliciesRequest { node, cover_days, page_size: wanted, page_token } = request.into_inner();
        let node = NodeId::new(&node).map_err(|reject| to_status(&reject.field("node")))?;
        let limit = page_size(wanted).map_err(|reject| to_status(&reject))?;
        let after = decode_token(PROPOSALS, &page_token).map_err(|reject| to_status(&reject))?.unwrap_or(0);
        self.linearize().await?;
        let page = self.handle.state().read().propose_policies(&node, cover_days, after, limit);
        let page = page.map_err(|reject| to_status(&reject))?;
        Ok(Response::new(ProposeGrantPoliciesResponse {
            proposals: page.items,
            next_page_token: page.next.map_or_else(String::new, |next| encode_token(PROPOSALS, next)),
        }))
    }

    async fn get_rights_metrics(
        &self,
        request: Request<GetRightsMetricsRequest>,
    ) -> Result<Response<GetRightsMetricsResponse>, Status> {
        self.asked(&request, READERS)?;
        let GetRightsMetricsRequest { silent_ms, page_size: wanted, page_token } = request.into_inner();
        if silent_ms < 0 {
            let message = format!("silent_ms is {silent_ms}, and must be 0 or more");
            return Err(to_status(&Reject::new(Reason::InvalidValue, message).field("silent_ms")));
        }
        let silent_ms = if silent_ms == 0 { SILENT_MS } else { silent_ms };
        let limit = page_size(wanted).map_err(|reject| to_status(&reject))?;
        let after = decode_token(METRICS, &page_token).map_err(|reject| to_status(&reject))?.unwrap_or(0);
        self.linearize().await?;
        // Every cell is looked at: apart from the state that goes on, and from the threads that answer others.
        let snapshot = self.handle.state().read().snapshot();
        let page = tokio::task::spawn_blocking(move || snapshot.state().rights_metrics(silent_ms, after, limit)).await;
        let page = page.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(GetRightsMetricsResponse {
            nodes: page.items,
            next_page_token: page.next.map_or_else(String::new, |next| encode_token(METRICS, next)),
        }))
    }
}
