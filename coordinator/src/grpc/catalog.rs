//! Items.

use stockmesh_coordinator_core::{Answer, validate};
use stockmesh_proto::coordinator::v1::catalog_service_client::CatalogServiceClient;
use stockmesh_proto::coordinator::v1::catalog_service_server::CatalogService;
use stockmesh_proto::coordinator::v1::{CreateItemsRequest, CreateItemsResponse, ListItemsRequest, ListItemsResponse};
use stockmesh_proto::raft::v1::{CreateItems, command};
use stockmesh_service::page::{decode_token, encode_token, page_size};
use stockmesh_service::status::to_status;
use tonic::{Request, Response, Status};

use super::{MASTER_DATA, READERS, command_of, other_answer, service};

const LIST: &str = "items";

service!(Catalog);

#[tonic::async_trait]
impl CatalogService for Catalog {
    async fn create_items(
        &self,
        request: Request<CreateItemsRequest>,
    ) -> Result<Response<CreateItemsResponse>, Status> {
        let asked = self.asked(&request, MASTER_DATA)?;
        let message = request.into_inner();
        validate::create_items(&message).map_err(|reject| to_status(&reject))?;
        self.await_leader().await;
        if !self.leads() {
            let forward =
                |channel, request| async move { CatalogServiceClient::new(channel).create_items(request).await };
            return self.forward(&asked, message, forward).await;
        }
        let kind = command::Kind::CreateItems(CreateItems { items: message.items.clone() });
        match self.submit(command_of(&asked, &message.request_id, &message, kind)).await? {
            Answer::ItemsCreated { created, existing } => Ok(Response::new(CreateItemsResponse { created, existing })),
            other => Err(other_answer(&other)),
        }
    }

    async fn list_items(&self, request: Request<ListItemsRequest>) -> Result<Response<ListItemsResponse>, Status> {
        self.asked(&request, READERS)?;
        let ListItemsRequest { page_size: wanted, page_token } = request.into_inner();
        let limit = page_size(wanted).map_err(|reject| to_status(&reject))?;
        let after = decode_token(LIST, &page_token).map_err(|reject| to_status(&reject))?.unwrap_or(0);
        self.linearize().await?;
        let page = self.handle.state().read().list_items(after, limit);
        let next_page_token = page.next.map_or_else(String::new, |next| encode_token(LIST, next));
        Ok(Response::new(ListItemsResponse { items: page.items, next_page_token }))
    }
}
