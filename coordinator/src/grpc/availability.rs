//! Promise rights and what can be promised from them.

use stockmesh_coordinator_core::{Answer, validate};
use stockmesh_proto::coordinator::v1::availability_service_client::AvailabilityServiceClient;
use stockmesh_proto::coordinator::v1::availability_service_server::AvailabilityService;
use stockmesh_proto::coordinator::v1::{
    GetAvailabilityRequest, GetAvailabilityResponse, ListCellsRequest, ListCellsResponse, ReadConsistency,
    RecallRightsRequest, RecallRightsResponse,
};
use stockmesh_proto::raft::v1::{RecallRights, command};
use stockmesh_service::page::{decode_token, encode_token, page_size};
use stockmesh_service::status::to_status;
use stockmesh_types::{Reason, Reject};
use tonic::{Request, Response, Status};

use super::{MASTER_DATA, READERS, command_of, other_answer, service};

const LIST: &str = "cells";

service!(Availability);

#[tonic::async_trait]
impl AvailabilityService for Availability {
    async fn get_availability(
        &self,
        request: Request<GetAvailabilityRequest>,
    ) -> Result<Response<GetAvailabilityResponse>, Status> {
        self.asked(&request, READERS)?;
        let GetAvailabilityRequest { stock_keys, consistency } = request.into_inner();
        let keys = validate::stock_keys(&stock_keys).map_err(|reject| to_status(&reject))?;
        match ReadConsistency::try_from(consistency) {
            Ok(ReadConsistency::Unspecified | ReadConsistency::Local) => {}
            Ok(ReadConsistency::Linearizable) => self.linearize().await?,
            Err(_) => {
                let reject = Reject::new(Reason::UnspecifiedEnum, format!("consistency {consistency} is not known"));
                return Err(to_status(&reject.field("consistency")));
            }
        }
        let state = self.handle.state().read();
        Ok(Response::new(GetAvailabilityResponse {
            availability: state.availability(&keys),
            as_of_time_ms: state.log_time().0,
            as_of_index: state.applied_index(),
        }))
    }

    async fn list_cells(&self, request: Request<ListCellsRequest>) -> Result<Response<ListCellsResponse>, Status> {
        self.asked(&request, READERS)?;
        let ListCellsRequest { page_size: wanted, page_token, node, item } = request.into_inner();
        let limit = page_size(wanted).map_err(|reject| to_status(&reject))?;
        let after = decode_token(LIST, &page_token).map_err(|reject| to_status(&reject))?.unwrap_or(0);
        let given = |text: String| (!text.is_empty()).then_some(text);
        let (node, item) = (given(node), given(item));
        self.linearize().await?;
        let page = self.handle.state().read().list_cells(after, limit, node.as_deref(), item.as_deref());
        let next_page_token = page.next.map_or_else(String::new, |next| encode_token(LIST, next));
        Ok(Response::new(ListCellsResponse { cells: page.items, next_page_token }))
    }

    async fn recall_rights(
        &self,
        request: Request<RecallRightsRequest>,
    ) -> Result<Response<RecallRightsResponse>, Status> {
        let asked = self.asked(&request, MASTER_DATA)?;
        let message = request.into_inner();
        validate::recall_rights(&message).map_err(|reject| to_status(&reject))?;
        self.await_leader().await;
        if !self.leads() {
            let forward =
                |channel, request| async move { AvailabilityServiceClient::new(channel).recall_rights(request).await };
            return self.forward(&asked, message, forward).await;
        }
        let kind = command::Kind::RecallRights(RecallRights {
            node: message.node.clone(),
            stock_key: message.stock_key.clone(),
            quantity: message.quantity,
        });
        match self.submit(command_of(&asked, &message.request_id, &message, kind)).await? {
            Answer::RightsRecalled { cell } => Ok(Response::new(RecallRightsResponse { cell: Some(cell) })),
            other => Err(other_answer(&other)),
        }
    }
}
