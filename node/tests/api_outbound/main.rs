//! The services of the way out: each call from its request to its answer, and fields that can be wrong named.

#[path = "../common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Coordinator, LossyStore, NOON, allocation, opened};
use stockmesh_node::actor::start;
use stockmesh_node::grpc::{Hosted, NodeApi};
use stockmesh_node::store::{Mark, MarkerFile, StoreError};
use stockmesh_node::writer::{self, Parts};
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::node::v1::counter_service_server::CounterService;
use stockmesh_proto::node::v1::fulfillment_service_server::FulfillmentService;
use stockmesh_proto::node::v1::labour_service_server::LabourService;
use stockmesh_proto::node::v1::node_service_server::NodeService;
use stockmesh_proto::node::v1::pickup_service_server::PickupService;
use stockmesh_proto::node::v1::return_service_server::ReturnService;
use stockmesh_proto::node::v1::transfer_service_server::TransferService;
use stockmesh_proto::node::v1::*;
use stockmesh_service::Security;
use stockmesh_service::status::{field_of, known_reason};
use stockmesh_types::{LogTime, NodeId, Reason};
use tonic::{Request, Response, Status};

fn run(test: impl AsyncFnOnce(NodeApi)) {
    actix_rt::System::new().block_on(async {
        let disk = LossyStore::default();
        let dir = tempfile::tempdir().unwrap();
        let (marker, _) = MarkerFile::open(&dir.path().join("marker")).unwrap();
        let parts = Parts {
            name: "dc-1".into(),
            opened: opened(&disk, Some(Mark { epoch: 1, head: stockmesh_proto::entry::Head::START })),
            store: Arc::new(disk),
            marker,
            gauge: Box::new(|| Ok(u64::MAX)),
            clock: Box::new(|| LogTime(NOON)),
            peers: Vec::new(),
            keep_ms: 0,
            on_fault: Arc::new(|error: &StoreError| panic!("{error}")),
        };
        let (writer, tail, _) = writer::spawn(parts);
        let node = start(&actix::Arbiter::current(), writer, tail);
        let mut coordinator = Coordinator::default();
        ["A", "B"].iter().for_each(|item| coordinator.range(item));
        node.follow(coordinator.feed.clone(), coordinator.entries.clone()).await.unwrap();
        let nodes = BTreeMap::from([(NodeId::new("dc-1").unwrap(), Hosted { node: node.clone(), links: Vec::new() })]);
        let api = NodeApi::new(nodes, Security::InsecureDev);
        api.receive_stock(Request::new(receipt("r-0", 9))).await.unwrap();
        coordinator.open(1, "A", 4);
        coordinator.open(2, "A", 2);
        node.follow(coordinator.feed.clone(), coordinator.entries.clone()).await.unwrap();
        test(api).await;
    });
}

fn id(n: u64) -> String {
    format!("{NOON:012x}70008000{n:012x}")
}

fn stock_key(item: &str) -> Option<wire::StockKey> {
    Some(wire::StockKey { item: item.into(), ..Default::default() })
}

fn receipt(receipt_id: &str, quantity: i64) -> ReceiveStockRequest {
    let n = receipt_id.bytes().fold(7, |hash: u64, byte| (hash * 31 + u64::from(byte)) % 1_000_000_007);
    ReceiveStockRequest {
        node: "dc-1".into(),
        request_id: id(n),
        receipt_id: receipt_id.into(),
        kind: feed::ReceiptKind::PurchaseOrder.into(),
        reference: "po-1".into(),
        lines: vec![receipt_line("A", quantity)],
        ..Default::default()
    }
}

fn receipt_line(item: &str, quantity: i64) -> feed::ReceiptLine {
    feed::ReceiptLine {
        stock_key: stock_key(item),
        quantity,
        condition: 0,
        cost: Some(wire::Money { currency_code: "EUR".into(), minor: 1_000 }),
        ..Default::default()
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<Response<T>, Status>) -> (Option<Reason>, String) {
    let status = result.expect_err("a refusal");
    (known_reason(&status), field_of(&status).unwrap_or_default())
}

fn node() -> String {
    "dc-1".to_owned()
}

fn sale_lines(quantity: i64) -> Vec<feed::CounterSaleLine> {
    let price = Some(wire::LinePrice { sales_minor: 500, ..Default::default() });
    vec![feed::CounterSaleLine { stock_key: stock_key("A"), quantity, price, ..Default::default() }]
}

#[test]
fn a_counters_day() {
    run(async |api| {
        let record = |n, quantity, sold_time_ms| RecordSaleRequest {
            node: node(),
            request_id: id(n),
            sale_id: "t-1".into(),
            currency_code: "EUR".into(),
            lines: sale_lines(quantity),
            tender: wire::Tender::Cash.into(),
            sold_time_ms,
        };
        let refused = refusal(api.record_sale(Request::new(record(100, 2, 0))).await);
        assert_eq!(refused, (Some(Reason::MissingField), "sold_time_ms".to_owned()));
        let done = api.record_sale(Request::new(record(101, 2, NOON - 5))).await.unwrap().into_inner();
        assert_eq!((done.outcome(), done.beyond.len()), (RecordOutcome::Recorded, 1));
        let again = api.record_sale(Request::new(record(102, 2, NOON))).await.unwrap().into_inner();
        assert_eq!(again.outcome(), RecordOutcome::Repeated);
        let other = api.record_sale(Request::new(record(103, 3, NOON))).await.unwrap().into_inner();
        assert_eq!((other.outcome(), other.exception_id.is_empty()), (RecordOutcome::Conflict, false));
        let back = ReturnAtCounterRequest {
            node: node(),
            request_id: id(104),
            return_id: "cr-1".into(),
            sale_id: "t-1".into(),
            lines: vec![CounterReturnLine {
                stock_key: stock_key("A"),
                quantity: 1,
                disposition: feed::Disposition::Refurbish.into(),
                ..Default::default()
            }],
            refund: Some(wire::Money { currency_code: "EUR".into(), minor: 250 }),
            tender: wire::Tender::Cash.into(),
            ..Default::default()
        };
        let back = api.return_at_counter(Request::new(back)).await.unwrap().into_inner();
        assert_eq!((back.return_ids, back.refund_id.as_str()), (vec!["cr-1/1".to_owned()], "cr-1"));
        let void = VoidSaleRequest {
            node: node(),
            request_id: id(105),
            sale_id: "t-1".into(),
            currency_code: "EUR".into(),
            lines: sale_lines(2),
            tender: wire::Tender::Cash.into(),
            sold_time_ms: 0,
            reason: "mistake".into(),
        };
        assert_eq!(refusal(api.void_sale(Request::new(void)).await).0, Some(Reason::SaleHasReturns));
        let finish = FinishDispositionRequest {
            node: node(),
            request_id: id(106),
            return_id: "cr-1/1".into(),
            disposition: feed::Disposition::Refurbish.into(),
            quantity: 1,
            outcome: feed::DispositionOutcome::Refurbished.into(),
            ..Default::default()
        };
        let levels = api.finish_disposition(Request::new(finish)).await.unwrap().into_inner().levels;
        assert_eq!((levels.len(), levels[1].on_hand, levels[1].converted_total), (2, 1, 1));
        let get = GetReturnRequest { node: node(), return_id: "cr-1/1".into() };
        let found = api.get_return(Request::new(get)).await.unwrap().into_inner().customer_return.unwrap();
        assert_eq!((found.inspected, found.to_refurbish), (1, 0));
    });
}

#[test]
fn an_orders_way_out_with_its_papers() {
    run(async |api| {
        let capacity = SetCapacityRequest {
            node: node(),
            request_id: id(200),
            date: LogTime(NOON).date().to_string(),
            day_capacity_units: 5,
            hours: vec![SetHourCapacity { hour: 24, capacity_units: 1 }],
        };
        let refused = refusal(api.set_capacity(Request::new(capacity.clone())).await);
        assert_eq!(refused, (Some(Reason::InvalidValue), "hours[0].hour".to_owned()));
        api.set_capacity(Request::new(SetCapacityRequest { hours: Vec::new(), ..capacity })).await.unwrap();
        let wave = CreateWaveRequest {
            node: node(),
            request_id: id(201),
            cut_off_time_ms: NOON + 3_600_000,
            ..Default::default()
        };
        let made = api.create_wave(Request::new(wave)).await.unwrap().into_inner();
        assert_eq!((made.wave.unwrap().quantity, made.left_for_labour), (4, 2));
        let list = ListCapacityRequest { node: node() };
        let days = api.list_capacity(Request::new(list)).await.unwrap().into_inner().days;
        assert_eq!((days.len(), days[0].day_planned_units), (1, 4));
        let both = GetPickListRequest { node: node(), wave: 1, order_id: "o-1".into() };
        assert_eq!(refusal(api.get_pick_list(Request::new(both)).await).0, Some(Reason::InvalidValue));
        let lines = GetPickListRequest { node: node(), wave: 1, order_id: String::new() };
        let lines = api.get_pick_list(Request::new(lines)).await.unwrap().into_inner().lines;
        assert_eq!((lines.len(), lines[0].quantity, lines[0].parts[0].order_id.as_str()), (1, 4, "o-1"));
        let pick =
            PickItemsRequest { node: node(), request_id: id(202), allocation: Some(allocation(1).into()), quantity: 4 };
        api.pick_items(Request::new(pick)).await.unwrap();
        let waves = ListWavesRequest { node: node(), ..Default::default() };
        assert!(api.list_waves(Request::new(waves)).await.unwrap().into_inner().waves.is_empty(), "it is picked");

        for (format, begins) in [(DocumentFormat::Pdf, &b"%PDF-1.4"[..]), (DocumentFormat::Text, b"Packing slip")] {
            let slip = PrintPackingSlipRequest { node: node(), order_id: "o-1".into(), format: format.into() };
            let slip = api.print_packing_slip(Request::new(slip)).await.unwrap().into_inner();
            assert!(slip.content.starts_with(begins), "{format:?}");
        }
        let label = |format: DocumentFormat| CreateLabelRequest {
            node: node(),
            shipment_id: "s-1".into(),
            order_id: "o-1".into(),
            format: format.into(),
            ..Default::default()
        };
        let zpl = api.create_label(Request::new(label(DocumentFormat::Zpl))).await.unwrap().into_inner();
        let pdf = api.create_label(Request::new(label(DocumentFormat::Pdf))).await.unwrap().into_inner();
        assert!(zpl.content.starts_with(b"^XA") && pdf.content.starts_with(b"%PDF"));
        assert_eq!(zpl.tracking, pdf.tracking, "the same shipment");

        let stage = |code: &str| StagePickupRequest {
            node: node(),
            request_id: id(203),
            pickup_id: "p-1".into(),
            order_id: "o-1".into(),
            code: code.to_owned(),
            ..Default::default()
        };
        let refused = refusal(api.stage_pickup(Request::new(stage("12345"))).await);
        assert_eq!(refused, (Some(Reason::InvalidValue), "code".to_owned()));
        api.stage_pickup(Request::new(stage("493027"))).await.unwrap();
        let open = ListPickupsRequest { node: node(), ..Default::default() };
        let open = api.list_pickups(Request::new(open)).await.unwrap().into_inner().pickups;
        assert_eq!((open.len(), open[0].lines[0].quantity), (1, 4));
        let hand_over = |n, code: &str| HandOverPickupRequest {
            node: node(),
            request_id: id(n),
            pickup_id: "p-1".into(),
            code: code.to_owned(),
            ..Default::default()
        };
        // A repeat of a wrong code is the same guess, not another one.
        for _ in 0..2 {
            let wrong = refusal(api.hand_over_pickup(Request::new(hand_over(204, "493028"))).await);
            assert_eq!(wrong, (Some(Reason::WrongPickupCode), "code".to_owned()));
        }
        let open = ListPickupsRequest { node: node(), ..Default::default() };
        let open = api.list_pickups(Request::new(open)).await.unwrap().into_inner().pickups;
        assert_eq!(open[0].wrong_codes, 1);
        let done = api.hand_over_pickup(Request::new(hand_over(205, "493027"))).await.unwrap().into_inner();
        assert_eq!((done.tasks[0].shipped, done.pickup), (4, None));

        let hold = HoldFulfillmentOrderRequest {
            node: node(),
            request_id: id(206),
            order_id: "o-2".into(),
            reason: "address".into(),
        };
        let held = api.hold_fulfillment_order(Request::new(hold)).await.unwrap().into_inner();
        assert_eq!(held.fulfillment_order.unwrap().tasks[0].hold_reason, "address");
        let ship = ShipItemsRequest {
            node: node(),
            request_id: id(207),
            lines: vec![ShipLine { allocation: Some(allocation(2).into()), quantity: 2, ..Default::default() }],
            ..Default::default()
        };
        assert_eq!(refusal(api.ship_items(Request::new(ship)).await).0, Some(Reason::OnHold));
    });
}

#[test]
fn transfers_and_refunds_are_booked_and_shown() {
    run(async |api| {
        let line = |quantity, damaged, short| TransferReceiptLine {
            line: 1,
            stock_key: stock_key("B"),
            quantity,
            damaged,
            short,
            units: Vec::new(),
        };
        let receive = |n, transfer: &str, line| ReceiveTransferRequest {
            node: node(),
            request_id: id(n),
            receipt_id: String::new(),
            transfer_id: transfer.to_owned(),
            source_node: "dc-2".into(),
            lines: vec![line],
        };
        let nothing = refusal(api.receive_transfer(Request::new(receive(300, "tr-1", line(0, 0, 0)))).await);
        assert_eq!(nothing, (Some(Reason::QuantityNotPositive), "lines[0].quantity".to_owned()));
        let done = api.receive_transfer(Request::new(receive(301, "tr-1", line(5, 1, 2)))).await.unwrap().into_inner();
        assert_eq!((done.levels[0].on_hand, done.levels[0].damaged, done.levels[0].transferred_in_total), (5, 1, 6));
        api.receive_transfer(Request::new(receive(302, "tr-2", line(1, 0, 0)))).await.unwrap();
        let mut request = ListTransfersRequest { node: node(), page_size: 1, page_token: String::new() };
        let first = api.list_transfers(Request::new(request.clone())).await.unwrap().into_inner();
        assert_eq!((first.transfers[0].transfer_id.as_str(), first.transfers[0].lines[0].short), ("tr-1", 2));
        request.page_token = first.next_page_token;
        let rest = api.list_transfers(Request::new(request)).await.unwrap().into_inner();
        assert_eq!((rest.transfers[0].transfer_id.as_str(), rest.next_page_token.as_str()), ("tr-2", ""));

        let ask = |n, pay_offline| RequestRefundRequest {
            node: node(),
            request_id: id(n),
            refund_id: "rf-1".into(),
            order_id: "o-1".into(),
            line: 1,
            quantity: 1,
            reason: feed::RefundReason::Goodwill.into(),
            pay_offline,
            ..Default::default()
        };
        let how = refusal(api.request_refund(Request::new(ask(303, true))).await);
        assert_eq!(how, (Some(Reason::UnspecifiedEnum), "tender".to_owned()));
        let asked = api.request_refund(Request::new(ask(304, false))).await.unwrap().into_inner().refund.unwrap();
        assert_eq!(asked.state(), RefundState::Requested);
        let get = GetRefundRequest { node: node(), refund_id: "rf-1".into() };
        assert_eq!(api.get_refund(Request::new(get)).await.unwrap().into_inner().refund, Some(asked));
    });
}
