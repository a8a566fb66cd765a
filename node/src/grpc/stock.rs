//! Stock by condition, bin, lot and serial number over gRPC, its movements, and exceptions.
//!
//! Must not know: stock. Requests become commands in [`super::parse_stock`].

use stockmesh_node_core::Answer;
use stockmesh_node_core::movements;
use stockmesh_node_core::site::scan;
use stockmesh_node_core::site::views::HoldingFilter;
use stockmesh_node_core::site::{ExceptionId, Label};
use stockmesh_proto::convert;
use stockmesh_proto::node::v1::exception_service_server::ExceptionService;
use stockmesh_proto::node::v1::stock_service_server::StockService;
use stockmesh_proto::node::v1::*;
use stockmesh_service::page::{decode_token, encode_token, page_size};
use stockmesh_service::status::{internal, to_status};
use stockmesh_types::quantity::positive;
use stockmesh_types::{ItemId, Reason, Reject};
use tonic::{Request, Response, Status};

use super::{NodeApi, change_method, optional, parse_stock};
use crate::feed_pages::{self, FeedPage};

fn label(text: &str, field: &str) -> Result<Option<Label>, Reject> {
    optional(text, |text| Label::new(text, field))
}

#[tonic::async_trait]
impl StockService for NodeApi {
    async fn move_stock(&self, r: Request<MoveStockRequest>) -> Result<Response<MoveStockResponse>, Status> {
        change_method!(self, r, Moved)
    }

    async fn put_away_stock(&self, r: Request<PutAwayStockRequest>) -> Result<Response<PutAwayStockResponse>, Status> {
        change_method!(self, r, PutAway)
    }

    async fn set_bins(&self, r: Request<SetBinsRequest>) -> Result<Response<SetBinsResponse>, Status> {
        change_method!(self, r, BinsSet)
    }

    async fn expire_lots(&self, r: Request<ExpireLotsRequest>) -> Result<Response<ExpireLotsResponse>, Status> {
        change_method!(self, r, LotsExpired)
    }

    async fn list_bins(&self, request: Request<ListBinsRequest>) -> Result<Response<ListBinsResponse>, Status> {
        let prepared = || {
            let body = request.get_ref();
            let (hosted, ..) = self.admit(&request, &body.node)?;
            let after = decode_token::<String>("bins", &body.page_token)?;
            let after = after.map(|text| Label::new(&text, "page_token")).transpose()?;
            Ok((hosted, after, page_size(body.page_size)?, label(&body.zone, "zone")?))
        };
        let (hosted, after, limit, zone) = prepared().map_err(|reject: Reject| to_status(&reject))?;
        let page = hosted
            .node
            .read(move |view| Ok(view.state.site().list_bins(after.as_ref(), limit, zone.as_ref())))
            .await
            .map_err(|reject| to_status(&reject))?;
        let next_page_token = page.next_after.map(|after| encode_token("bins", after)).unwrap_or_default();
        Ok(Response::new(ListBinsResponse { bins: page.entries, next_page_token }))
    }

    async fn list_holdings(
        &self,
        request: Request<ListHoldingsRequest>,
    ) -> Result<Response<ListHoldingsResponse>, Status> {
        let prepared = || {
            let body = request.get_ref();
            let (hosted, ..) = self.admit(&request, &body.node)?;
            let item = optional(&body.item, |text| ItemId::new(text).map_err(|reject| reject.field("item")))?;
            let filter = HoldingFilter { item, bin: label(&body.bin, "bin")? };
            let after = decode_token::<String>("holdings", &body.page_token)?;
            let after = after.map(|text| parse_stock::holding_of_token(&text)).transpose()?;
            Ok((hosted, after, page_size(body.page_size)?, filter))
        };
        let (hosted, after, limit, filter) = prepared().map_err(|reject: Reject| to_status(&reject))?;
        let page = hosted.node.read(move |view| Ok(view.state.holdings(after.as_ref(), limit, &filter))).await;
        let page = page.map_err(|reject| to_status(&reject))?;
        let token = |key| encode_token("holdings", parse_stock::token_of_holding(&key));
        let next_page_token = page.next_after.map(token).unwrap_or_default();
        Ok(Response::new(ListHoldingsResponse { holdings: page.entries, next_page_token }))
    }

    async fn list_serials(
        &self,
        request: Request<ListSerialsRequest>,
    ) -> Result<Response<ListSerialsResponse>, Status> {
        let prepared = || {
            let body = request.get_ref();
            let (hosted, ..) = self.admit(&request, &body.node)?;
            let item = ItemId::new(&body.item).map_err(|reject| reject.field("item"))?;
            let after = decode_token::<String>("serials", &body.page_token)?;
            let after = after.map(|text| Label::new(&text, "page_token")).transpose()?;
            Ok((hosted, item, after, page_size(body.page_size)?, label(&body.serial, "serial")?))
        };
        let (hosted, item, after, limit, only) = prepared().map_err(|reject: Reject| to_status(&reject))?;
        let page = hosted
            .node
            .read(move |view| Ok(view.state.site().list_serials(&item, after.as_ref(), limit, only.as_ref())))
            .await
            .map_err(|reject| to_status(&reject))?;
        let next_page_token = page.next_after.map(|after| encode_token("serials", after)).unwrap_or_default();
        Ok(Response::new(ListSerialsResponse { serials: page.entries, next_page_token }))
    }

    async fn propose_units(
        &self,
        request: Request<ProposeUnitsRequest>,
    ) -> Result<Response<ProposeUnitsResponse>, Status> {
        let prepared = || {
            let body = request.get_ref();
            let (hosted, ..) = self.admit(&request, &body.node)?;
            let key = convert::stock_key(&body.stock_key, "stock_key")?;
            Ok((hosted, key, positive(body.quantity, "quantity")?))
        };
        let (hosted, key, quantity) = prepared().map_err(|reject: Reject| to_status(&reject))?;
        let proposed = hosted.node.read(move |view| {
            let today = view.now.date();
            Ok(view.state.propose(view.archive, &key, quantity, today))
        });
        proposed.await.map(Response::new).map_err(|reject| to_status(&reject))
    }

    async fn resolve_scan(
        &self,
        request: Request<ResolveScanRequest>,
    ) -> Result<Response<ResolveScanResponse>, Status> {
        let prepared = || {
            let body = request.get_ref();
            let (hosted, ..) = self.admit(&request, &body.node)?;
            Ok((hosted, body.code.clone()))
        };
        let (hosted, code) = prepared().map_err(|reject: Reject| to_status(&reject))?;
        let resolved = hosted.node.read(move |view| {
            let scanned = scan::read(&code, view.now.date())?;
            view.state.resolve(&scanned)
        });
        resolved.await.map(Response::new).map_err(|reject| to_status(&reject))
    }

    async fn list_movements(
        &self,
        request: Request<ListMovementsRequest>,
    ) -> Result<Response<ListMovementsResponse>, Status> {
        let prepared = || {
            let body = request.get_ref();
            let (hosted, ..) = self.admit(&request, &body.node)?;
            let item = optional(&body.item, |text| ItemId::new(text).map_err(|reject| reject.field("item")))?;
            let key = match &body.stock_key {
                None => None,
                key => Some(convert::stock_key(key, "stock_key")?),
            };
            let after = decode_token::<u64>("movements", &body.page_token)?.unwrap_or(body.after_seq);
            Ok((hosted, after, page_size(body.page_size)?, movements::Filter { item, key }))
        };
        let (hosted, after, limit, filter) = prepared().map_err(|reject: Reject| to_status(&reject))?;
        let page = hosted.node.read(move |view| feed_pages::movements(view, after, limit, &filter)).await;
        let page = page.map_err(|reject| to_status(&reject))?;
        let next_page_token = page.next_after.map(|last| encode_token("movements", last)).unwrap_or_default();
        Ok(Response::new(ListMovementsResponse { movements: page.movements, next_page_token }))
    }

    async fn read_feed(&self, request: Request<ReadFeedRequest>) -> Result<Response<ReadFeedResponse>, Status> {
        let body = request.get_ref();
        let (hosted, ..) = self.admit(&request, &body.node).map_err(|reject| to_status(&reject))?;
        let upto = if body.upto_seq == 0 { u64::MAX } else { body.upto_seq };
        if upto < body.after_seq {
            let message = format!("upto_seq is {upto}, and after_seq {}: nothing lies between", body.after_seq);
            return Err(to_status(&Reject::new(Reason::InvalidValue, message).field("upto_seq")));
        }
        let after = body.after_seq;
        let read = hosted.node.read(move |view| feed_pages::entries(view, after, upto)).await;
        let FeedPage { entries, epoch, head_seq } = read.map_err(|reject| to_status(&reject))?;
        Ok(Response::new(ReadFeedResponse { entries, epoch, head_seq }))
    }
}

#[tonic::async_trait]
impl ExceptionService for NodeApi {
    async fn list_exceptions(
        &self,
        request: Request<ListExceptionsRequest>,
    ) -> Result<Response<ListExceptionsResponse>, Status> {
        let prepared = || {
            let body = request.get_ref();
            let (hosted, ..) = self.admit(&request, &body.node)?;
            let code = (body.code != 0).then_some(body.code);
            Ok((hosted, decode_token::<ExceptionId>("exceptions", &body.page_token)?, page_size(body.page_size)?, code))
        };
        let (hosted, after, limit, code) = prepared().map_err(|reject: Reject| to_status(&reject))?;
        let page = hosted.node.read(move |view| Ok(view.state.site().list_exceptions(after, limit, code))).await;
        let page = page.map_err(|reject| to_status(&reject))?;
        let next_page_token = page.next_after.map(|after| encode_token("exceptions", after)).unwrap_or_default();
        Ok(Response::new(ListExceptionsResponse { exceptions: page.entries, next_page_token }))
    }

    async fn resolve_exception(
        &self,
        r: Request<ResolveExceptionRequest>,
    ) -> Result<Response<ResolveExceptionResponse>, Status> {
        change_method!(self, r, ExceptionResolved)
    }
}
