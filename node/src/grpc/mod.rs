//! The node's API over gRPC: who may call, which node is meant, and what its answers look like.
//!
//! People, systems and the node itself may call; the coordinator's facts are taken from its link only.
//!
//! Must not know: stock. Requests become commands in [`parse`], answers come from the actor.

mod inbound;
mod outbound;
pub mod parse;
mod parse_outbound;
pub mod parse_stock;
mod print;
mod stock;

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use sha2::{Digest, Sha256};
use stockmesh_node_core::command::Command;
use stockmesh_node_core::views::TaskFilter;
use stockmesh_node_core::{Answer, BodyHash, Context, RequestStamp};
use stockmesh_proto::node::v1::count_service_server::CountServiceServer;
use stockmesh_proto::node::v1::exception_service_server::ExceptionServiceServer;
use stockmesh_proto::node::v1::inbound_service_server::InboundServiceServer;
use stockmesh_proto::node::v1::node_service_server::{NodeService, NodeServiceServer};
use stockmesh_proto::node::v1::stock_service_server::StockServiceServer;
use stockmesh_proto::node::v1::*;
use stockmesh_service::link::LinkState;
use stockmesh_service::page::{decode_token, encode_token, page_size};
use stockmesh_service::status::{internal, to_status};
use stockmesh_service::{Caller, MAX_MESSAGE_BYTES, Security};
use stockmesh_types::{ItemId, NodeId, OrderId, Principal, PrincipalKind, Reason, Reject, RequestId, StockKey};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::actor::NodeHandle;

/// Longest encoded request: what it makes must fit into one value of the store.
const MAX_REQUEST_BYTES: usize = 48 * 1024;

/// The state of a link, by peer.
#[derive(Clone, Debug)]
pub struct PeerLinks {
    /// `coordinator/1`, `finance/main`.
    pub peer: String,
    /// Our feed to it.
    pub push: Arc<LinkState>,
    /// Its feed to us, where it has one.
    pub pull: Option<Arc<LinkState>>,
}

/// A node of this process.
#[derive(Clone, Debug)]
pub struct Hosted {
    /// Its actor.
    pub node: NodeHandle,
    /// Its links.
    pub links: Vec<PeerLinks>,
}

/// The service.
#[derive(Debug)]
pub struct NodeApi {
    nodes: BTreeMap<NodeId, Hosted>,
    security: Security,
}

/// Requests that change something.
trait Change: Message {
    /// Tells requests with the same bytes apart.
    const METHOD: &'static str;
    fn node(&self) -> &str;
    fn request_id(&self) -> &str;
    fn command(&self, request: RequestId) -> Result<Command, Reject>;
}

macro_rules! changes {
    ($($request:ty => $parse:path,)*) => {
        $(impl Change for $request {
            const METHOD: &'static str = stringify!($request);
            fn node(&self) -> &str { &self.node }
            fn request_id(&self) -> &str { &self.request_id }
            fn command(&self, request: RequestId) -> Result<stockmesh_node_core::Command, Reject> { $parse(self, request) }
        })*
    };
}

use changes;

changes! {
    ReceiveStockRequest => parse::receive,
    SellAtCounterRequest => parse::sell,
    PickItemsRequest => parse::pick,
    PackItemsRequest => parse::pack,
    ShipItemsRequest => parse_outbound::ship,
    DeclineAllocationRequest => parse::decline,
    AdjustStockRequest => parse::adjust,
    ReceiveReturnRequest => parse_outbound::receive_return,
    InspectReturnRequest => parse_outbound::inspect_return,
    MoveStockRequest => parse_stock::move_stock,
    PutAwayStockRequest => parse_stock::put_away,
    SetBinsRequest => parse_stock::set_bins,
    ExpireLotsRequest => parse_stock::expire_lots,
    ResolveExceptionRequest => parse_stock::resolve_exception,
    CloseInboundRequest => parse_stock::close_inbound,
    ResolveReceiptDifferenceRequest => parse_stock::resolve_difference,
    RequestCountRequest => parse_stock::request_count,
    StartCountRequest => parse_stock::start_count,
    RecordCountRequest => parse_stock::record_count,
    FinishCountRequest => parse_stock::finish_count,
    ReviewCountRequest => parse_stock::review_count,
    CancelCountRequest => parse_stock::cancel_count,
}

fn stamp<R: Change>(request: &R, id: RequestId) -> RequestStamp {
    let mut hasher = Sha256::new();
    hasher.update(R::METHOD);
    hasher.update(request.encode_to_vec());
    let hash: [u8; 32] = hasher.finalize().into();
    let mut body = [0; 16];
    body.copy_from_slice(&hash[..16]);
    RequestStamp { id, body: BodyHash(body) }
}

/// Names of the services, for health checks.
pub const SERVICES: &[&str] = &[
    "stockmesh.node.v1.NodeService",
    "stockmesh.node.v1.StockService",
    "stockmesh.node.v1.InboundService",
    "stockmesh.node.v1.CountService",
    "stockmesh.node.v1.ExceptionService",
    "stockmesh.node.v1.CounterService",
    "stockmesh.node.v1.TransferService",
    "stockmesh.node.v1.FulfillmentService",
    "stockmesh.node.v1.PickupService",
    "stockmesh.node.v1.ReturnService",
    "stockmesh.node.v1.KitService",
    "stockmesh.node.v1.LabourService",
];

/// Everything that a process answers.
#[must_use]
pub fn routes(api: NodeApi) -> Routes {
    let api = Arc::new(api);
    macro_rules! limited {
        ($server:ty) => {
            <$server>::from_arc(Arc::clone(&api))
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES)
        };
    }
    Routes::new(limited!(NodeServiceServer<NodeApi>))
        .add_service(limited!(StockServiceServer<NodeApi>))
        .add_service(limited!(InboundServiceServer<NodeApi>))
        .add_service(limited!(CountServiceServer<NodeApi>))
        .add_service(limited!(ExceptionServiceServer<NodeApi>))
        .add_service(limited!(counter_service_server::CounterServiceServer<NodeApi>))
        .add_service(limited!(transfer_service_server::TransferServiceServer<NodeApi>))
        .add_service(limited!(fulfillment_service_server::FulfillmentServiceServer<NodeApi>))
        .add_service(limited!(pickup_service_server::PickupServiceServer<NodeApi>))
        .add_service(limited!(return_service_server::ReturnServiceServer<NodeApi>))
        .add_service(limited!(kit_service_server::KitServiceServer<NodeApi>))
        .add_service(limited!(labour_service_server::LabourServiceServer<NodeApi>))
}

impl NodeApi {
    /// Of the nodes of a process.
    #[must_use]
    pub fn new(nodes: BTreeMap<NodeId, Hosted>, security: Security) -> Self {
        Self { nodes, security }
    }

    /// The node that a request names, and its caller if they may call.
    fn admit<T>(&self, request: &Request<T>, node: &str) -> Result<(&Hosted, NodeId, Principal), Reject> {
        let caller = Caller::of(request, &self.security)?;
        let id = NodeId::new(node).map_err(|reject| reject.field("node"))?;
        let Some(hosted) = self.nodes.get(&id) else {
            let message = format!("node {id} is not hosted here: ListHostedNodes names those that are");
            return Err(Reject::new(Reason::UnknownNode, message).field("node"));
        };
        if !caller.is(PrincipalKind::Node, id.as_str()) {
            caller.require(&[PrincipalKind::User, PrincipalKind::System])?;
        }
        Ok((hosted, id, caller.principal().clone()))
    }

    /// What a receipt would be answered with, without booking it.
    async fn check_receipt(
        &self,
        request: &Request<ReceiveStockRequest>,
    ) -> Result<Response<ReceiveStockResponse>, Status> {
        let prepared = || {
            let body = request.get_ref();
            let (hosted, _, principal) = self.admit(request, &body.node)?;
            let id = RequestId::new(&body.request_id).map_err(|reject| reject.field("request_id"))?;
            Ok((hosted, principal, parse::receive(body, id)?))
        };
        let (hosted, principal, command) = prepared().map_err(|reject: Reject| to_status(&reject))?;
        let checked = hosted.node.read(move |view| {
            let context = Context { now: view.now, business_date: view.now.date(), principal, request: None };
            view.state.check(&context, command, view.archive)
        });
        match checked.await.map_err(|reject| to_status(&reject))? {
            Answer::StockReceived(response) => Ok(Response::new(response)),
            other => Err(internal(&format!("an answer of another kind: {other:?}"))),
        }
    }

    async fn change<R: Change>(&self, request: &Request<R>) -> Result<Answer, Status> {
        let prepared = || {
            let body = request.get_ref();
            let (hosted, _, principal) = self.admit(request, body.node())?;
            let id = RequestId::new(body.request_id()).map_err(|reject| reject.field("request_id"))?;
            let bytes = body.encoded_len();
            if bytes > MAX_REQUEST_BYTES {
                let message = format!("the request has {bytes} bytes, at most {MAX_REQUEST_BYTES}: send fewer lines");
                return Err(Reject::new(Reason::TooManyLines, message));
            }
            Ok((hosted, principal, stamp(body, id), body.command(id)?))
        };
        let (hosted, principal, stamp, command) = prepared().map_err(|reject| to_status(&reject))?;
        hosted.node.command(principal, Some(stamp), command).await.map_err(|reject| to_status(&reject))
    }
}

/// Implements a method that changes something: a command's answer of one kind.
macro_rules! change_method {
    ($self:ident, $request:ident, $answer:ident) => {
        match $self.change(&$request).await? {
            Answer::$answer(response) => Ok(Response::new(response)),
            other => Err(internal(&format!("an answer of another kind: {other:?}"))),
        }
    };
}

/// The same for an answer that is kept in a box.
macro_rules! boxed_change_method {
    ($self:ident, $request:ident, $answer:ident) => {
        match $self.change(&$request).await? {
            Answer::$answer(response) => Ok(Response::new(*response)),
            other => Err(internal(&format!("an answer of another kind: {other:?}"))),
        }
    };
}

use {boxed_change_method, change_method};

/// A field that may be left out.
fn optional<T>(text: &str, read: impl FnOnce(&str) -> Result<T, Reject>) -> Result<Option<T>, Reject> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

#[tonic::async_trait]
impl NodeService for NodeApi {
    async fn receive_stock(&self, r: Request<ReceiveStockRequest>) -> Result<Response<ReceiveStockResponse>, Status> {
        if r.get_ref().validate_only {
            return self.check_receipt(&r).await;
        }
        change_method!(self, r, StockReceived)
    }

    async fn sell_at_counter(
        &self,
        r: Request<SellAtCounterRequest>,
    ) -> Result<Response<SellAtCounterResponse>, Status> {
        change_method!(self, r, SoldAtCounter)
    }

    async fn pick_items(&self, r: Request<PickItemsRequest>) -> Result<Response<PickItemsResponse>, Status> {
        change_method!(self, r, Picked)
    }

    async fn pack_items(&self, r: Request<PackItemsRequest>) -> Result<Response<PackItemsResponse>, Status> {
        change_method!(self, r, Packed)
    }

    async fn ship_items(&self, r: Request<ShipItemsRequest>) -> Result<Response<ShipItemsResponse>, Status> {
        change_method!(self, r, Shipped)
    }

    async fn decline_allocation(
        &self,
        r: Request<DeclineAllocationRequest>,
    ) -> Result<Response<DeclineAllocationResponse>, Status> {
        change_method!(self, r, Declined)
    }

    async fn adjust_stock(&self, r: Request<AdjustStockRequest>) -> Result<Response<AdjustStockResponse>, Status> {
        change_method!(self, r, Adjusted)
    }

    async fn receive_return(
        &self,
        r: Request<ReceiveReturnRequest>,
    ) -> Result<Response<ReceiveReturnResponse>, Status> {
        change_method!(self, r, ReturnReceived)
    }

    async fn inspect_return(
        &self,
        r: Request<InspectReturnRequest>,
    ) -> Result<Response<InspectReturnResponse>, Status> {
        change_method!(self, r, ReturnInspected)
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        let prepared = || {
            let body = request.get_ref();
            let (hosted, ..) = self.admit(&request, &body.node)?;
            let order_id = match body.order_id.as_str() {
                "" => None,
                text => Some(OrderId::new(text).map_err(|reject| reject.field("order_id"))?),
            };
            let after: u64 = decode_token("tasks", &body.page_token)?.unwrap_or(0);
            let filter = TaskFilter { open_only: body.open_only, order_id };
            Ok((hosted, after, page_size(body.page_size)?, filter))
        };
        let (hosted, after, limit, filter) = prepared().map_err(|reject: Reject| to_status(&reject))?;
        let page = hosted.node.read(move |view| Ok(view.state.tasks(after, limit, &filter, view.archive))).await;
        let page = page.map_err(|reject| to_status(&reject))?;
        let next_page_token = page.next_after.map(|after| encode_token("tasks", after)).unwrap_or_default();
        Ok(Response::new(ListTasksResponse { tasks: page.tasks, next_page_token }))
    }

    async fn list_stock(&self, request: Request<ListStockRequest>) -> Result<Response<ListStockResponse>, Status> {
        let prepared = || {
            let body = request.get_ref();
            let (hosted, ..) = self.admit(&request, &body.node)?;
            let item = match body.item.as_str() {
                "" => None,
                text => Some(ItemId::new(text).map_err(|reject| reject.field("item"))?),
            };
            let after = decode_token::<String>("stock", &body.page_token)?;
            let after = after.map(|text| parse::stock_key_of_token(&text)).transpose()?;
            Ok((hosted, after, page_size(body.page_size)?, item))
        };
        let (hosted, after, limit, item): (_, Option<StockKey>, _, _) =
            prepared().map_err(|reject: Reject| to_status(&reject))?;
        let page = hosted.node.read(move |view| Ok(view.state.stock(after.as_ref(), limit, item.as_ref()))).await;
        let page = page.map_err(|reject| to_status(&reject))?;
        let token = |key: StockKey| encode_token("stock", parse::token_of_stock_key(&key));
        let next_page_token = page.next_after.map(token).unwrap_or_default();
        Ok(Response::new(ListStockResponse { levels: page.levels, next_page_token }))
    }

    async fn get_node_status(
        &self,
        request: Request<GetNodeStatusRequest>,
    ) -> Result<Response<GetNodeStatusResponse>, Status> {
        let named = &request.get_ref().node;
        let only = self.nodes.keys().next().filter(|_| self.nodes.len() == 1);
        let node = only.filter(|_| named.is_empty()).map_or(named.as_str(), NodeId::as_str);
        let (hosted, id, _) = self.admit(&request, node).map_err(|reject| to_status(&reject))?;
        let links = hosted.links.iter().map(link_status).collect();
        let status = hosted.node.read(move |view| {
            Ok(GetNodeStatusResponse {
                node: id.to_string(),
                epoch: view.state.identity().epoch.0,
                feed_seq: view.head.seq,
                feed_hash: view.head.hash.to_string(),
                links,
                open_tasks: view.state.open_tasks() as u64,
                recovering: view.recovering.is_some(),
                stock_keys: view.state.stock_keys() as u64,
            })
        });
        status.await.map(Response::new).map_err(|reject| to_status(&reject))
    }

    async fn list_hosted_nodes(
        &self,
        request: Request<ListHostedNodesRequest>,
    ) -> Result<Response<ListHostedNodesResponse>, Status> {
        let caller = Caller::of(&request, &self.security).map_err(|reject| to_status(&reject))?;
        let kinds = [PrincipalKind::User, PrincipalKind::System, PrincipalKind::Node];
        caller.require(&kinds).map_err(|reject| to_status(&reject))?;
        Ok(Response::new(ListHostedNodesResponse { nodes: self.nodes.keys().map(ToString::to_string).collect() }))
    }
}

fn link_status(links: &PeerLinks) -> LinkStatus {
    let PeerLinks { peer, push, pull } = links;
    let pushed = push.snapshot();
    let pulled = pull.as_ref().map(|pull| pull.snapshot());
    let errors = [Some(pushed.last_error), pulled.as_ref().map(|pulled| pulled.last_error.clone())];
    let errors: Vec<String> = errors.into_iter().flatten().filter(|error| !error.is_empty()).collect();
    LinkStatus {
        peer: peer.clone(),
        connected: pushed.connected && pulled.as_ref().is_none_or(|pulled| pulled.connected),
        acknowledged_seq: pushed.acknowledged_seq,
        applied_seq: pulled.map_or(0, |pulled| pulled.applied_seq),
        last_error: errors.join("; "),
    }
}
