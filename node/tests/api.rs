//! The API: every field that can be wrong is named, answers are of the request's kind, pages and status are right.

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
use stockmesh_proto::node::v1::node_service_server::NodeService;
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

fn sale(n: u64) -> SellAtCounterRequest {
    SellAtCounterRequest {
        node: "dc-1".into(),
        request_id: id(n),
        sale_id: String::new(),
        currency_code: "EUR".into(),
        lines: vec![feed::CounterSaleLine {
            stock_key: stock_key("A"),
            quantity: 1,
            price: Some(wire::LinePrice { sales_minor: 500, ..Default::default() }),
            ..Default::default()
        }],
        tender: wire::Tender::Cash.into(),
        sold_time_ms: 0,
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<Response<T>, Status>) -> (Option<Reason>, String) {
    let status = result.expect_err("a refusal");
    (known_reason(&status), field_of(&status).unwrap_or_default())
}

#[test]
fn what_is_wrong_with_a_receipt_is_named() {
    type Spoil = fn(&mut ReceiveStockRequest);
    let cases: [(Spoil, Reason, &str); 24] = [
        (|r| r.node = String::new(), Reason::MissingField, "node"),
        (|r| r.node = "DC".into(), Reason::InvalidId, "node"),
        (|r| r.node = "dc-2".into(), Reason::UnknownNode, "node"),
        (|r| r.request_id = String::new(), Reason::MissingField, "request_id"),
        (|r| r.request_id = "7".into(), Reason::InvalidRequestId, "request_id"),
        (|r| r.request_id = "9b2d8a3e-5f0b-4c1d-8e2f-000000000000".into(), Reason::InvalidRequestId, "request_id"),
        (
            |r| r.request_id = format!("{:012x}70008000000000000001", NOON - 90_000_000),
            Reason::RequestExpired,
            "request_id",
        ),
        (
            |r| r.request_id = format!("{:012x}70008000000000000001", NOON + 301_000),
            Reason::InvalidRequestId,
            "request_id",
        ),
        (|r| r.receipt_id = "r 1".into(), Reason::InvalidId, "receipt_id"),
        (|r| r.receipt_id = "r-0".into(), Reason::DocumentIdReused, "receipt_id"),
        (|r| r.kind = 0, Reason::UnspecifiedEnum, "kind"),
        (|r| r.kind = 77, Reason::UnspecifiedEnum, "kind"),
        (|r| r.reference = "x".repeat(65), Reason::TextTooLong, "reference"),
        (|r| r.reference = "a\nb".into(), Reason::InvalidValue, "reference"),
        (|r| r.lines.clear(), Reason::MissingField, "lines"),
        (|r| r.lines = vec![receipt_line("A", 1); 201], Reason::TooManyLines, "lines"),
        (|r| r.lines.push(receipt_line("", 1)), Reason::MissingField, "lines[1].stock_key.item"),
        (|r| r.lines.push(receipt_line("Z", 1)), Reason::UnknownItem, "lines[1].stock_key.item"),
        (|r| r.lines.push(receipt_line("A", 0)), Reason::QuantityNotPositive, "lines[1].quantity"),
        (|r| r.lines.push(receipt_line("A", -3)), Reason::QuantityNotPositive, "lines[1].quantity"),
        (|r| r.lines.push(receipt_line("A", i64::MAX)), Reason::QuantityTooLarge, "lines[1].quantity"),
        (|r| r.lines[0].cost = None, Reason::MissingField, "lines[0].cost"),
        (|r| r.lines[0].cost.as_mut().unwrap().minor = -1, Reason::AmountNegative, "lines[0].cost.minor"),
        (|r| r.lines[0].condition = 4, Reason::InvalidValue, "lines[0].condition"),
    ];
    run(async |api| {
        let before = api.list_stock(Request::new(list_stock())).await.unwrap().into_inner();
        for (spoil, reason, field) in cases {
            let mut request = receipt("r-1", 5);
            spoil(&mut request);
            let refused = refusal(api.receive_stock(Request::new(request)).await);
            assert_eq!(refused, (Some(reason), field.to_owned()));
        }
        let mut two = receipt("r-1", 5);
        two.lines.push(receipt_line("B", 1));
        two.lines[1].cost.as_mut().unwrap().currency_code = "GBP".into();
        let refused = refusal(api.receive_stock(Request::new(two)).await);
        assert_eq!(refused, (Some(Reason::CurrencyMismatch), "lines[1].cost.currency_code".to_owned()));
        assert_eq!(api.list_stock(Request::new(list_stock())).await.unwrap().into_inner(), before);
        api.receive_stock(Request::new(receipt("r-1", 5))).await.unwrap();
    });
}

fn list_stock() -> ListStockRequest {
    ListStockRequest { node: "dc-1".into(), ..Default::default() }
}

#[test]
fn what_is_wrong_with_the_others_is_named() {
    run(async |api| {
        type Spoil = fn(&mut SellAtCounterRequest);
        let cases: [(Spoil, Reason, &str); 7] = [
            (|r| r.currency_code = "eur".into(), Reason::InvalidCurrency, "currency_code"),
            (|r| r.tender = 0, Reason::UnspecifiedEnum, "tender"),
            (|r| r.sold_time_ms = -1, Reason::InvalidDate, "sold_time_ms"),
            (|r| r.sold_time_ms = NOON + 400_000, Reason::InvalidDate, "sold_time_ms"),
            (|r| r.lines[0].price = None, Reason::MissingField, "lines[0].price"),
            (
                |r| r.lines[0].price.as_mut().unwrap().sales_minor = -1,
                Reason::AmountNegative,
                "lines[0].price.sales_minor",
            ),
            (|r| r.lines[0].quantity = 10, Reason::InsufficientRetained, "lines[0].quantity"),
        ];
        for (spoil, reason, field) in cases {
            let mut request = sale(50);
            spoil(&mut request);
            assert_eq!(refusal(api.sell_at_counter(Request::new(request)).await), (Some(reason), field.to_owned()));
        }
        let node = || "dc-1".to_owned();
        let pick = PickItemsRequest { node: node(), request_id: id(60), allocation: None, quantity: 1 };
        assert_eq!(refusal(api.pick_items(Request::new(pick)).await).1, "allocation");
        let ship = |n, quantity| ShipItemsRequest {
            node: node(),
            request_id: id(61),
            lines: vec![ShipLine { allocation: Some(allocation(n).into()), quantity, ..Default::default() }],
            ..Default::default()
        };
        let refused = refusal(api.ship_items(Request::new(ship(9, 1))).await);
        assert_eq!(refused, (Some(Reason::UnknownAllocation), "lines[0].allocation".to_owned()));
        let refused = refusal(api.ship_items(Request::new(ship(1, 0))).await);
        assert_eq!(refused, (Some(Reason::QuantityNotPositive), "lines[0].quantity".to_owned()));
        let goods = |order: &str, line, sale: &str, sale_node: &str| ReceiveReturnRequest {
            node: node(),
            request_id: id(62),
            return_id: "ret-1".into(),
            order_id: order.into(),
            line,
            stock_key: stock_key("A"),
            quantity: 1,
            sale_id: sale.into(),
            sale_node: sale_node.into(),
            ..Default::default()
        };
        for (request, reason, field) in [
            (goods("", 0, "", ""), Reason::MissingField, "order_id"),
            (goods("o-1", 0, "", ""), Reason::MissingField, "line"),
            (goods("o-1", 1, "c-1", "dc-1"), Reason::InvalidValue, "sale_id"),
            (goods("", 0, "c-1", ""), Reason::MissingField, "sale_node"),
        ] {
            assert_eq!(refusal(api.receive_return(Request::new(request)).await), (Some(reason), field.to_owned()));
        }
        api.receive_return(Request::new(goods("o-1", 1, "", ""))).await.unwrap();
        let inspect = |disposition: feed::Disposition| InspectReturnRequest {
            node: node(),
            request_id: id(63),
            return_id: "ret-1".into(),
            quantity: 1,
            disposition: disposition.into(),
            ..Default::default()
        };
        let refused = refusal(api.inspect_return(Request::new(inspect(feed::Disposition::Unspecified))).await);
        assert_eq!(refused, (Some(Reason::UnspecifiedEnum), "disposition".to_owned()));
        let adjust = |delta, reason: feed::AdjustReason| AdjustStockRequest {
            node: node(),
            request_id: id(64),
            stock_key: stock_key("A"),
            delta,
            reason: reason.into(),
            ..Default::default()
        };
        let refused = refusal(api.adjust_stock(Request::new(adjust(0, feed::AdjustReason::Count))).await);
        assert_eq!(refused, (Some(Reason::QuantityNotPositive), "delta".to_owned()));
    });
}

#[test]
fn requests_repeat_and_differ_by_their_bodies() {
    run(async |api| {
        let first = api.receive_stock(Request::new(receipt("r-1", 5))).await.unwrap().into_inner();
        assert_eq!((first.receipt_id.as_str(), first.levels[0].on_hand), ("r-1", 14));
        assert_eq!(api.receive_stock(Request::new(receipt("r-1", 5))).await.unwrap().into_inner(), first);
        let refused = refusal(api.receive_stock(Request::new(receipt("r-1", 6))).await);
        assert_eq!(refused, (Some(Reason::RequestIdReused), "request_id".to_owned()));
        // The same id on another method is another body.
        let other = SellAtCounterRequest { request_id: receipt("r-1", 5).request_id, ..sale(0) };
        assert_eq!(refusal(api.sell_at_counter(Request::new(other)).await).0, Some(Reason::RequestIdReused));
    });
}

#[test]
fn work_is_listed_picked_packed_and_shipped() {
    run(async |api| {
        let list = |page_size, page_token: &str, open_only| {
            let page_token = page_token.to_owned();
            Request::new(ListTasksRequest {
                node: "dc-1".into(),
                page_size,
                page_token,
                open_only,
                order_id: String::new(),
            })
        };
        let page = api.list_tasks(list(1, "", false)).await.unwrap().into_inner();
        assert_eq!((page.tasks.len(), page.tasks[0].order_id.as_str()), (1, "o-1"));
        let rest = api.list_tasks(list(1, &page.next_page_token, false)).await.unwrap().into_inner();
        assert_eq!((rest.tasks[0].order_id.as_str(), rest.next_page_token.as_str()), ("o-2", ""));
        let wrong = refusal(api.list_tasks(list(1, "nonsense", false)).await);
        assert_eq!(wrong, (Some(Reason::InvalidPageToken), "page_token".to_owned()));
        assert_eq!(refusal(api.list_tasks(list(-1, "", false)).await).0, Some(Reason::InvalidValue));

        let (node, work) = ("dc-1".to_owned(), Some(allocation(1).into()));
        let pick = PickItemsRequest { node: node.clone(), request_id: id(70), allocation: work, quantity: 4 };
        let task = api.pick_items(Request::new(pick)).await.unwrap().into_inner().task.unwrap();
        assert_eq!((task.picked, task.state()), (4, TaskState::Picking));
        let pack = PackItemsRequest { node: node.clone(), request_id: id(71), allocation: work, quantity: 3 };
        let task = api.pack_items(Request::new(pack)).await.unwrap().into_inner().task.unwrap();
        assert_eq!((task.packed, task.state()), (3, TaskState::Packed));
        let ship = ShipItemsRequest {
            node: node.clone(),
            request_id: id(72),
            lines: vec![ShipLine { allocation: work, quantity: 3, ..Default::default() }],
            ..Default::default()
        };
        let shipped = api.ship_items(Request::new(ship)).await.unwrap().into_inner();
        assert_eq!((shipped.tasks[0].shipped, shipped.tasks[0].state()), (3, TaskState::PartiallyShipped));
        assert_eq!(shipped.shipment_id, stockmesh_types::RequestId::new(&id(72)).unwrap().to_string());
        let decline = DeclineAllocationRequest {
            node: node.clone(),
            request_id: id(73),
            allocation: work,
            quantity: 1,
            reason: feed::DeclineReason::NotFound.into(),
        };
        let task = api.decline_allocation(Request::new(decline)).await.unwrap().into_inner().task.unwrap();
        assert_eq!((task.cancelled, task.lost, task.state()), (1, 1, TaskState::Shipped));
        let open = api.list_tasks(list(0, "", true)).await.unwrap().into_inner().tasks;
        assert_eq!(open.iter().map(|task| task.order_id.as_str()).collect::<Vec<_>>(), ["o-2"]);

        let status = api.get_node_status(Request::new(GetNodeStatusRequest::default())).await.unwrap().into_inner();
        assert_eq!(
            (status.node.as_str(), status.open_tasks, status.stock_keys, status.recovering),
            ("dc-1", 1, 1, false)
        );
        let hosted = api.list_hosted_nodes(Request::new(ListHostedNodesRequest {})).await.unwrap().into_inner();
        assert_eq!(hosted.nodes, ["dc-1"]);
        let level = api.list_stock(Request::new(list_stock())).await.unwrap().into_inner().levels.remove(0);
        let came = level.received_total + level.customer_returned_total + level.adjusted_total;
        let gone = level.sold_total + level.shipped_total + level.disposed_total;
        assert_eq!(came, level.on_hand + level.damaged + level.quarantined + level.return_pending + gone);
    });
}
