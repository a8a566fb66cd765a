//! Orders: placed and cancelled at the leader, read anywhere, never stale: customers look at them.

use prost::Message;
use sha2::{Digest, Sha256};
use stockmesh_coordinator_core::{Answer, validate};
use stockmesh_proto::convert::required;
use stockmesh_proto::coordinator::v1::order_service_client::OrderServiceClient;
use stockmesh_proto::coordinator::v1::order_service_server::OrderService;
use stockmesh_proto::coordinator::v1::{
    CancelOrderRequest, CancelOrderResponse, GetOrderRequest, GetOrderResponse, ListOrdersRequest, ListOrdersResponse,
    OrderState, OrderStatus, PlaceOrderRequest, PlaceOrderResponse,
};
use stockmesh_proto::raft::v1::{CancelOrder, command};
use stockmesh_service::page::{decode_token, encode_token, page_size};
use stockmesh_service::status::to_status;
use stockmesh_types::{OrderId, Reason, Reject};
use tonic::{Request, Response, Status};

use super::{ORDERS, command_of, other_answer, service};
use crate::driver::OrderRequest;

const LIST: &str = "orders";

service!(Orders);

impl Orders {
    fn status_of(&self, order_id: &OrderId) -> Result<OrderStatus, Status> {
        self.handle.state().read().order(order_id).ok_or_else(|| {
            to_status(&Reject::new(Reason::UnknownOrder, format!("there is no order {order_id}")).field("order_id"))
        })
    }
}

#[tonic::async_trait]
impl OrderService for Orders {
    async fn place_order(&self, request: Request<PlaceOrderRequest>) -> Result<Response<PlaceOrderResponse>, Status> {
        let asked = self.asked(&request, ORDERS)?;
        let message = request.into_inner();
        let checked = required(&message.order, "order").and_then(validate::order);
        checked.map_err(|reject| to_status(&reject))?;
        self.await_leader().await;
        if !self.leads() {
            let forward = |channel, request| async move { OrderServiceClient::new(channel).place_order(request).await };
            return self.forward(&asked, message, forward).await;
        }
        let PlaceOrderRequest { order, incarnation } = message;
        let order = order.unwrap_or_default();
        let hash = Sha256::digest(order.encode_to_vec()).into();
        let placed = self.handle.place_order(OrderRequest { principal: asked.principal, order, hash, incarnation });
        match placed.await.map_err(|reject| self.refuse(&reject))? {
            Answer::OrderPlaced { order_id, already_placed } => Ok(Response::new(PlaceOrderResponse {
                status: Some(self.status_of(&order_id)?),
                already_placed,
                incarnation: self.handle.identity().incarnation,
            })),
            other => Err(other_answer(&other)),
        }
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<GetOrderResponse>, Status> {
        self.asked(&request, ORDERS)?;
        let order_id =
            OrderId::new(&request.get_ref().order_id).map_err(|reject| to_status(&reject.field("order_id")))?;
        self.linearize().await?;
        Ok(Response::new(GetOrderResponse { status: Some(self.status_of(&order_id)?) }))
    }

    async fn list_orders(&self, request: Request<ListOrdersRequest>) -> Result<Response<ListOrdersResponse>, Status> {
        self.asked(&request, ORDERS)?;
        let ListOrdersRequest { page_size: wanted, page_token, state } = request.into_inner();
        let limit = page_size(wanted).map_err(|reject| to_status(&reject))?;
        let after = decode_token(LIST, &page_token).map_err(|reject| to_status(&reject))?.unwrap_or(0);
        let state = OrderState::try_from(state).map_err(|_| {
            to_status(&Reject::new(Reason::UnspecifiedEnum, format!("state {state} is not known")).field("state"))
        })?;
        let filter = (state != OrderState::Unspecified).then_some(state);
        self.linearize().await?;
        let page = self.handle.state().read().list_orders(after, limit, filter);
        let next_page_token = page.next.map_or_else(String::new, |next| encode_token(LIST, next));
        Ok(Response::new(ListOrdersResponse { orders: page.items, next_page_token }))
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let asked = self.asked(&request, ORDERS)?;
        let message = request.into_inner();
        validate::cancel_order(&message).map_err(|reject| to_status(&reject))?;
        self.await_leader().await;
        if !self.leads() {
            let forward =
                |channel, request| async move { OrderServiceClient::new(channel).cancel_order(request).await };
            return self.forward(&asked, message, forward).await;
        }
        let kind = command::Kind::CancelOrder(CancelOrder {
            order_id: message.order_id.clone(),
            lines: message.lines.clone(),
        });
        match self.submit(command_of(&asked, &message.request_id, &message, kind)).await? {
            Answer::OrderCancelled { order_id, cancelled, requested } => Ok(Response::new(CancelOrderResponse {
                status: Some(self.status_of(&order_id)?),
                cancelled,
                requested,
            })),
            other => Err(other_answer(&other)),
        }
    }
}
