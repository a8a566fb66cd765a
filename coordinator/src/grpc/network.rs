//! Nodes, and which items they may handle.

use stockmesh_coordinator_core::{Answer, validate};
use stockmesh_proto::coordinator::v1::network_service_client::NetworkServiceClient;
use stockmesh_proto::coordinator::v1::network_service_server::NetworkService;
use stockmesh_proto::coordinator::v1::{
    ListNodesRequest, ListNodesResponse, RangeItemsRequest, RangeItemsResponse, RegisterNodeRequest,
    RegisterNodeResponse,
};
use stockmesh_proto::raft::v1::{RangeItems, RegisterNode, command};
use stockmesh_service::page::{decode_token, encode_token, page_size};
use stockmesh_service::status::to_status;
use tonic::{Request, Response, Status};

use super::{MASTER_DATA, READERS, command_of, other_answer, service};

const LIST: &str = "nodes";

service!(Network);

#[tonic::async_trait]
impl NetworkService for Network {
    async fn register_node(
        &self,
        request: Request<RegisterNodeRequest>,
    ) -> Result<Response<RegisterNodeResponse>, Status> {
        let asked = self.asked(&request, MASTER_DATA)?;
        let message = request.into_inner();
        validate::register_node(&message).map_err(|reject| to_status(&reject))?;
        self.await_leader().await;
        if !self.leads() {
            let forward =
                |channel, request| async move { NetworkServiceClient::new(channel).register_node(request).await };
            return self.forward(&asked, message, forward).await;
        }
        let kind = command::Kind::RegisterNode(RegisterNode { node: message.node.clone() });
        match self.submit(command_of(&asked, &message.request_id, &message, kind)).await? {
            Answer::NodeRegistered { node } => Ok(Response::new(RegisterNodeResponse { node: Some(node) })),
            other => Err(other_answer(&other)),
        }
    }

    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        self.asked(&request, READERS)?;
        let ListNodesRequest { page_size: wanted, page_token } = request.into_inner();
        let limit = page_size(wanted).map_err(|reject| to_status(&reject))?;
        let after = decode_token(LIST, &page_token).map_err(|reject| to_status(&reject))?.unwrap_or(0);
        self.linearize().await?;
        let page = self.handle.state().read().list_nodes(after, limit);
        let next_page_token = page.next.map_or_else(String::new, |next| encode_token(LIST, next));
        Ok(Response::new(ListNodesResponse { nodes: page.items, next_page_token }))
    }

    async fn range_items(&self, request: Request<RangeItemsRequest>) -> Result<Response<RangeItemsResponse>, Status> {
        let asked = self.asked(&request, MASTER_DATA)?;
        let message = request.into_inner();
        validate::range_items(&message).map_err(|reject| to_status(&reject))?;
        self.await_leader().await;
        if !self.leads() {
            let forward =
                |channel, request| async move { NetworkServiceClient::new(channel).range_items(request).await };
            return self.forward(&asked, message, forward).await;
        }
        let kind = command::Kind::RangeItems(RangeItems { node: message.node.clone(), items: message.items.clone() });
        match self.submit(command_of(&asked, &message.request_id, &message, kind)).await? {
            Answer::ItemsRanged { ranged } => Ok(Response::new(RangeItemsResponse { ranged })),
            other => Err(other_answer(&other)),
        }
    }
}
