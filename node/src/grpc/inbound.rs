//! Expected receipts and counts over gRPC.
//!
//! Must not know: stock. Requests become commands in [`super::parse_stock`].

use stockmesh_node_core::Answer;
use stockmesh_node_core::site::CountId;
use stockmesh_proto::feed::v1::CountState;
use stockmesh_proto::node::v1::count_service_server::CountService;
use stockmesh_proto::node::v1::inbound_service_server::InboundService;
use stockmesh_proto::node::v1::*;
use stockmesh_service::page::{decode_token, encode_token, page_size};
use stockmesh_service::status::{internal, to_status};
use stockmesh_types::{OrderId, Reason, Reject};
use tonic::{Request, Response, Status};

use super::parse::stock_key_of_token;
use super::{NodeApi, boxed_change_method, change_method, optional, parse};

#[tonic::async_trait]
impl InboundService for NodeApi {
    async fn list_inbounds(
        &self,
        request: Request<ListInboundsRequest>,
    ) -> Result<Response<ListInboundsResponse>, Status> {
        let prepared = || {
            let body = request.get_ref();
            let (hosted, ..) = self.admit(&request, &body.node)?;
            let id = |text: &str| OrderId::new(text).map_err(|reject| reject.field("inbound_id"));
            let after = decode_token::<OrderId>("inbounds", &body.page_token)?;
            Ok((hosted, after, page_size(body.page_size)?, optional(&body.inbound_id, id)?))
        };
        let (hosted, after, limit, only) = prepared().map_err(|reject: Reject| to_status(&reject))?;
        let page = hosted.node.read(move |view| {
            let today = view.now.date();
            Ok(view.state.site().list_inbounds(after.as_ref(), limit, only.as_ref(), today))
        });
        let page = page.await.map_err(|reject| to_status(&reject))?;
        let next_page_token = page.next_after.map(|after| encode_token("inbounds", after)).unwrap_or_default();
        Ok(Response::new(ListInboundsResponse { inbounds: page.entries, next_page_token }))
    }

    async fn close_inbound(&self, r: Request<CloseInboundRequest>) -> Result<Response<CloseInboundResponse>, Status> {
        boxed_change_method!(self, r, InboundClosed)
    }

    async fn resolve_receipt_difference(
        &self,
        r: Request<ResolveReceiptDifferenceRequest>,
    ) -> Result<Response<ResolveReceiptDifferenceResponse>, Status> {
        change_method!(self, r, DifferenceResolved)
    }
}

#[tonic::async_trait]
impl CountService for NodeApi {
    async fn request_count(&self, r: Request<RequestCountRequest>) -> Result<Response<RequestCountResponse>, Status> {
        boxed_change_method!(self, r, CountRequested)
    }

    async fn start_count(&self, r: Request<StartCountRequest>) -> Result<Response<StartCountResponse>, Status> {
        boxed_change_method!(self, r, CountStarted)
    }

    async fn record_count(&self, r: Request<RecordCountRequest>) -> Result<Response<RecordCountResponse>, Status> {
        boxed_change_method!(self, r, CountRecorded)
    }

    async fn finish_count(&self, r: Request<FinishCountRequest>) -> Result<Response<FinishCountResponse>, Status> {
        boxed_change_method!(self, r, CountFinished)
    }

    async fn review_count(&self, r: Request<ReviewCountRequest>) -> Result<Response<ReviewCountResponse>, Status> {
        boxed_change_method!(self, r, CountReviewed)
    }

    async fn cancel_count(&self, r: Request<CancelCountRequest>) -> Result<Response<CancelCountResponse>, Status> {
        boxed_change_method!(self, r, CountCancelled)
    }

    async fn list_counts(&self, request: Request<ListCountsRequest>) -> Result<Response<ListCountsResponse>, Status> {
        let prepared = || {
            let body = request.get_ref();
            let (hosted, ..) = self.admit(&request, &body.node)?;
            let state = Some(body.state()).filter(|state| *state != CountState::Unspecified);
            Ok((hosted, decode_token::<CountId>("counts", &body.page_token)?, page_size(body.page_size)?, state))
        };
        let (hosted, after, limit, state) = prepared().map_err(|reject: Reject| to_status(&reject))?;
        let page = hosted.node.read(move |view| Ok(view.state.site().list_counts(after, limit, state))).await;
        let page = page.map_err(|reject| to_status(&reject))?;
        let next_page_token = page.next_after.map(|after| encode_token("counts", after)).unwrap_or_default();
        Ok(Response::new(ListCountsResponse { counts: page.entries, next_page_token }))
    }

    async fn get_count(&self, request: Request<GetCountRequest>) -> Result<Response<GetCountResponse>, Status> {
        let prepared = || {
            let body = request.get_ref();
            let (hosted, ..) = self.admit(&request, &body.node)?;
            let id: CountId = body.count_id.parse().map_err(|reject: Reject| reject.field("count_id"))?;
            Ok((hosted, id))
        };
        let (hosted, id) = prepared().map_err(|reject: Reject| to_status(&reject))?;
        let count = hosted.node.read(move |view| {
            let open = view.state.site().show_count(id);
            open.or_else(|| view.archive.closed_count(id)).ok_or_else(|| {
                let message = format!("node {} has no count {id}", view.state.identity().node);
                Reject::new(Reason::UnknownCount, message).field("count_id")
            })
        });
        let count = count.await.map_err(|reject| to_status(&reject))?;
        Ok(Response::new(GetCountResponse { count: Some(count) }))
    }

    async fn list_due_counts(
        &self,
        request: Request<ListDueCountsRequest>,
    ) -> Result<Response<ListDueCountsResponse>, Status> {
        let prepared = || {
            let body = request.get_ref();
            let (hosted, ..) = self.admit(&request, &body.node)?;
            let after = decode_token::<String>("due-counts", &body.page_token)?;
            let after = after.map(|text| stock_key_of_token(&text)).transpose()?;
            Ok((hosted, after, page_size(body.page_size)?))
        };
        let (hosted, after, limit) = prepared().map_err(|reject: Reject| to_status(&reject))?;
        let page = hosted.node.read(move |view| Ok(view.state.due_counts(after.as_ref(), limit, view.now))).await;
        let page = page.map_err(|reject| to_status(&reject))?;
        let token = |key| encode_token("due-counts", parse::token_of_stock_key(&key));
        let next_page_token = page.next_after.map(token).unwrap_or_default();
        Ok(Response::new(ListDueCountsResponse { due: page.entries, next_page_token }))
    }
}
