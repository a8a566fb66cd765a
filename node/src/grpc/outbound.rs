//! The services of the way out: counter, transfers, fulfillment, pickups, returns, kits, labour.
//!
//! Must not know: stock. Requests become commands in [`super::parse_outbound`], answers come from the actor.

use stockmesh_node_core::Answer;
use stockmesh_node_core::outbound::views::Page;
use stockmesh_proto::node::v1::counter_service_server::CounterService;
use stockmesh_proto::node::v1::fulfillment_service_server::FulfillmentService;
use stockmesh_proto::node::v1::kit_service_server::KitService;
use stockmesh_proto::node::v1::labour_service_server::LabourService;
use stockmesh_proto::node::v1::pickup_service_server::PickupService;
use stockmesh_proto::node::v1::return_service_server::ReturnService;
use stockmesh_proto::node::v1::transfer_service_server::TransferService;
use stockmesh_proto::node::v1::*;
use stockmesh_service::page::{decode_token, encode_token, page_size};
use stockmesh_service::status::{internal, to_status};
use stockmesh_types::{OrderId, Reason, Reject, RequestId};
use tonic::{Request, Response, Status};

use super::{Change, NodeApi, change_method, changes, parse_outbound as parse, print};
use crate::writer::View;

changes! {
    SellRequest => parse::sell,
    RecordSaleRequest => parse::record_sale,
    VoidSaleRequest => parse::void_sale,
    ReturnAtCounterRequest => parse::return_at_counter,
    ReceiveTransferRequest => parse::receive_transfer,
    HoldFulfillmentOrderRequest => parse::hold,
    ResumeFulfillmentOrderRequest => parse::resume,
    RejectFulfillmentOrderRequest => parse::reject,
    CreateWaveRequest => parse::create_wave,
    ReportShortPickRequest => parse::short_pick,
    PickWeighedRequest => parse::pick_weighed,
    StagePickupRequest => parse::stage_pickup,
    ReplacePickupCodeRequest => parse::replace_code,
    HandOverPickupRequest => parse::hand_over,
    ExpirePickupsRequest => parse::expire_pickups,
    AssembleKitsRequest => parse::assemble,
    DisassembleKitsRequest => parse::disassemble,
    SetCapacityRequest => parse::set_capacity,
    FinishDispositionRequest => parse::finish,
    RequestRefundRequest => parse::refund,
}

type Answered<T> = Result<Response<T>, Status>;

impl NodeApi {
    /// Admits a caller and looks at the state of the node that is named.
    pub(super) async fn look<T, R: Send + 'static>(
        &self,
        request: &Request<T>,
        node: &str,
        look: impl FnOnce(&View<'_>) -> Result<R, Reject> + Send + 'static,
    ) -> Result<R, Status> {
        let (hosted, ..) = self.admit(request, node).map_err(|reject| to_status(&reject))?;
        hosted.node.read(look).await.map_err(|reject| to_status(&reject))
    }
}

fn document(text: &str, field: &str) -> Result<OrderId, Status> {
    OrderId::new(text).map_err(|reject| to_status(&reject.field(field)))
}

/// Where a page begins, by an id, and how long it is.
fn page_of(list: &str, token: &str, size: i32) -> Result<(Option<OrderId>, usize), Status> {
    let parsed = || {
        let wrong =
            |_| Reject::new(Reason::InvalidPageToken, "the page token is not one of this list").field("page_token");
        let after = decode_token::<String>(list, token)?;
        let after = after.map(|text| OrderId::new(&text).map_err(wrong)).transpose()?;
        Ok((after, page_size(size)?))
    };
    parsed().map_err(|reject: Reject| to_status(&reject))
}

fn next<T>(list: &str, page: &Page<T, OrderId>) -> String {
    page.next_after.as_ref().map(|after| encode_token(list, after.to_string())).unwrap_or_default()
}

#[tonic::async_trait]
impl CounterService for NodeApi {
    async fn sell(&self, r: Request<SellRequest>) -> Answered<SellResponse> {
        change_method!(self, r, Sell)
    }

    async fn record_sale(&self, r: Request<RecordSaleRequest>) -> Answered<RecordSaleResponse> {
        change_method!(self, r, SaleRecorded)
    }

    async fn void_sale(&self, r: Request<VoidSaleRequest>) -> Answered<VoidSaleResponse> {
        change_method!(self, r, SaleVoided)
    }

    async fn return_at_counter(&self, r: Request<ReturnAtCounterRequest>) -> Answered<ReturnAtCounterResponse> {
        change_method!(self, r, ReturnedAtCounter)
    }
}

#[tonic::async_trait]
impl TransferService for NodeApi {
    async fn receive_transfer(&self, r: Request<ReceiveTransferRequest>) -> Answered<ReceiveTransferResponse> {
        change_method!(self, r, TransferReceived)
    }

    async fn list_transfers(&self, request: Request<ListTransfersRequest>) -> Answered<ListTransfersResponse> {
        let body = request.get_ref();
        let (after, limit) = page_of("transfers", &body.page_token, body.page_size)?;
        let look = move |view: &View<'_>| Ok(view.state.transfers(after.as_ref(), limit, view.archive));
        let page = self.look(&request, &body.node, look).await?;
        let next_page_token = next("transfers", &page);
        Ok(Response::new(ListTransfersResponse { transfers: page.found, next_page_token }))
    }
}

#[tonic::async_trait]
impl FulfillmentService for NodeApi {
    async fn get_fulfillment_order(
        &self,
        request: Request<GetFulfillmentOrderRequest>,
    ) -> Answered<GetFulfillmentOrderResponse> {
        let body = request.get_ref();
        let order = document(&body.order_id, "order_id")?;
        let look = move |view: &View<'_>| view.state.fulfillment_order(&order, view.archive);
        let fulfillment_order = Some(self.look(&request, &body.node, look).await?);
        Ok(Response::new(GetFulfillmentOrderResponse { fulfillment_order }))
    }

    async fn hold_fulfillment_order(
        &self,
        r: Request<HoldFulfillmentOrderRequest>,
    ) -> Answered<HoldFulfillmentOrderResponse> {
        change_method!(self, r, FulfillmentHeld)
    }

    async fn resume_fulfillment_order(
        &self,
        r: Request<ResumeFulfillmentOrderRequest>,
    ) -> Answered<ResumeFulfillmentOrderResponse> {
        change_method!(self, r, FulfillmentResumed)
    }

    async fn reject_fulfillment_order(
        &self,
        r: Request<RejectFulfillmentOrderRequest>,
    ) -> Answered<RejectFulfillmentOrderResponse> {
        change_method!(self, r, FulfillmentRejected)
    }

    async fn create_wave(&self, r: Request<CreateWaveRequest>) -> Answered<CreateWaveResponse> {
        change_method!(self, r, WaveCreated)
    }

    async fn list_waves(&self, request: Request<ListWavesRequest>) -> Answered<ListWavesResponse> {
        let body = request.get_ref();
        let prepared =
            || Ok((decode_token::<u64>("waves", &body.page_token)?.unwrap_or(0), page_size(body.page_size)?));
        let (after, limit) = prepared().map_err(|reject: Reject| to_status(&reject))?;
        let page = self.look(&request, &body.node, move |view| Ok(view.state.waves(after, limit))).await?;
        let next_page_token = page.next_after.map(|after| encode_token("waves", after)).unwrap_or_default();
        Ok(Response::new(ListWavesResponse { waves: page.found, next_page_token }))
    }

    async fn get_pick_list(&self, request: Request<GetPickListRequest>) -> Answered<GetPickListResponse> {
        let body = request.get_ref();
        let of = parse::pick_list_of(body.wave, &body.order_id).map_err(|reject| to_status(&reject))?;
        let look = move |view: &View<'_>| view.state.pick_list(&of, view.archive);
        let lines = self.look(&request, &body.node, look).await?;
        Ok(Response::new(GetPickListResponse { lines }))
    }

    async fn report_short_pick(&self, r: Request<ReportShortPickRequest>) -> Answered<ReportShortPickResponse> {
        change_method!(self, r, ShortPick)
    }

    async fn pick_weighed(&self, r: Request<PickWeighedRequest>) -> Answered<PickWeighedResponse> {
        change_method!(self, r, PickedByWeight)
    }

    async fn print_pick_list(&self, request: Request<PrintPickListRequest>) -> Answered<PrintPickListResponse> {
        print::pick_list(self, &request).await.map(Response::new)
    }

    async fn print_packing_slip(
        &self,
        request: Request<PrintPackingSlipRequest>,
    ) -> Answered<PrintPackingSlipResponse> {
        print::packing_slip(self, &request).await.map(Response::new)
    }

    async fn create_label(&self, request: Request<CreateLabelRequest>) -> Answered<CreateLabelResponse> {
        print::label(self, &request).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl PickupService for NodeApi {
    async fn stage_pickup(&self, r: Request<StagePickupRequest>) -> Answered<StagePickupResponse> {
        change_method!(self, r, PickupStaged)
    }

    async fn replace_pickup_code(&self, r: Request<ReplacePickupCodeRequest>) -> Answered<ReplacePickupCodeResponse> {
        change_method!(self, r, PickupCodeReplaced)
    }

    async fn hand_over_pickup(&self, r: Request<HandOverPickupRequest>) -> Answered<HandOverPickupResponse> {
        match self.change(&r).await? {
            Answer::PickupHandedOver(response) => Ok(Response::new(response)),
            // It was remembered, so it is no reject of the core; to the caller it is one.
            Answer::WrongPickupCode(left) => {
                let message = format!("the code is not the pickup's: {left} more may be tried");
                Err(to_status(&Reject::new(Reason::WrongPickupCode, message).field("code")))
            }
            other => Err(internal(&format!("an answer of another kind: {other:?}"))),
        }
    }

    async fn expire_pickups(&self, r: Request<ExpirePickupsRequest>) -> Answered<ExpirePickupsResponse> {
        change_method!(self, r, PickupsExpired)
    }

    async fn list_pickups(&self, request: Request<ListPickupsRequest>) -> Answered<ListPickupsResponse> {
        let body = request.get_ref();
        let (after, limit) = page_of("pickups", &body.page_token, body.page_size)?;
        // As of the node's latest entry: reads have no clock of their own.
        let overdue = body.overdue_only;
        let look = move |view: &View<'_>| {
            let now = overdue.then_some(view.state.meta().time.0);
            Ok(view.state.pickups(after.as_ref(), limit, now))
        };
        let page = self.look(&request, &body.node, look).await?;
        let next_page_token = next("pickups", &page);
        Ok(Response::new(ListPickupsResponse { pickups: page.found, next_page_token }))
    }
}

#[tonic::async_trait]
impl ReturnService for NodeApi {
    async fn finish_disposition(&self, r: Request<FinishDispositionRequest>) -> Answered<FinishDispositionResponse> {
        change_method!(self, r, DispositionFinished)
    }

    async fn get_return(&self, request: Request<GetReturnRequest>) -> Answered<GetReturnResponse> {
        let body = request.get_ref();
        let id = document(&body.return_id, "return_id")?;
        let look = move |view: &View<'_>| view.state.customer_return(&id, view.archive);
        let customer_return = Some(self.look(&request, &body.node, look).await?);
        Ok(Response::new(GetReturnResponse { customer_return }))
    }

    async fn request_refund(&self, r: Request<RequestRefundRequest>) -> Answered<RequestRefundResponse> {
        change_method!(self, r, RefundRequested)
    }

    async fn get_refund(&self, request: Request<GetRefundRequest>) -> Answered<GetRefundResponse> {
        let body = request.get_ref();
        let id = document(&body.refund_id, "refund_id")?;
        let look = move |view: &View<'_>| view.state.refund(&id, view.archive);
        let refund = Some(self.look(&request, &body.node, look).await?);
        Ok(Response::new(GetRefundResponse { refund }))
    }
}

#[tonic::async_trait]
impl KitService for NodeApi {
    async fn assemble_kits(&self, r: Request<AssembleKitsRequest>) -> Answered<AssembleKitsResponse> {
        change_method!(self, r, KitsAssembled)
    }

    async fn disassemble_kits(&self, r: Request<DisassembleKitsRequest>) -> Answered<DisassembleKitsResponse> {
        change_method!(self, r, KitsDisassembled)
    }
}

#[tonic::async_trait]
impl LabourService for NodeApi {
    async fn set_capacity(&self, r: Request<SetCapacityRequest>) -> Answered<SetCapacityResponse> {
        change_method!(self, r, CapacitySet)
    }

    async fn list_capacity(&self, request: Request<ListCapacityRequest>) -> Answered<ListCapacityResponse> {
        let body = request.get_ref();
        let days = self.look(&request, &body.node, |view| Ok(view.state.capacity())).await?;
        Ok(Response::new(ListCapacityResponse { days }))
    }
}
