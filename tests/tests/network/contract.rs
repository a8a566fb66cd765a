//! The contract for bad input: each request is refused with its reason, and nothing has changed afterwards.

use std::pin::Pin;

use stockmesh_proto::common::v1::{AllocationId, Order, PaymentTerms, Tender};
use stockmesh_proto::coordinator::v1 as coordinator;
use stockmesh_proto::feed::v1::{AdjustReason, CounterSaleLine, DeclineReason, Disposition};
use stockmesh_proto::finance::v1 as finance;
use stockmesh_proto::node::v1 as node;
use stockmesh_service::request::new_request_id;
use stockmesh_service::status::{field_of, reason_of};
use stockmesh_sim::network::{Clients, clients};
use tonic::Status;

use crate::world::{World, create_items, key_of, price, receipt, shipment, web_order};

const ITEM: &str = "MUG-1";
/// A UUIDv7 of 2020: older than anything that is remembered.
const OLD_REQUEST_ID: &str = "0171b5f0-0000-7000-8000-000000000001";

/// One refused call.
struct Case {
    what: &'static str,
    reason: &'static str,
    call: Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>,
}

/// The cases of one test, in order.
struct Cases {
    clients: Clients,
    cases: Vec<Case>,
}

macro_rules! refuse {
    ($cases:expr, $what:expr, $reason:literal, $call:ident, $request:expr) => {{
        let (clients, request) = ($cases.clients.clone(), $request);
        let call = Box::pin(async move { clients.$call(request).await.map(|_| ()) });
        $cases.cases.push(Case { what: $what, reason: $reason, call });
    }};
}

impl Cases {
    fn of(world: &World) -> Self {
        Self { clients: world.clients.clone(), cases: Vec::new() }
    }

    fn order(&mut self, what: &'static str, reason: &'static str, wrong: impl FnOnce(&mut Order)) {
        let mut order = web_order("BAD-1", &[(ITEM, 2), (ITEM, 1)]);
        wrong(&mut order);
        let (clients, request) =
            (self.clients.clone(), coordinator::PlaceOrderRequest { order: Some(order), incarnation: 0 });
        let call = Box::pin(async move { clients.place_order(request).await.map(|_| ()) });
        self.cases.push(Case { what, reason, call });
    }

    async fn run(self) {
        let mut wrong = Vec::new();
        for Case { what, reason, call } in self.cases {
            match call.await {
                Ok(()) => wrong.push(format!("{what}: accepted; {reason} expected")),
                Err(status) if reason_of(&status).as_deref() == Some(reason) => {
                    if status.message().is_empty() {
                        wrong.push(format!("{what}: {reason} without a message"));
                    }
                }
                Err(status) => wrong.push(format!(
                    "{what}: {reason} expected; {:?} {:?} {:?}",
                    reason_of(&status),
                    status.message(),
                    field_of(&status)
                )),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Everything that a refused request might have changed.
async fn everything(world: &World) -> String {
    let clients = &world.clients;
    let items =
        clients
            .coordinator()
            .call(|channel| async move {
                clients::catalog(channel).list_items(coordinator::ListItemsRequest::default()).await
            })
            .await
            .unwrap();
    let mut all = format!(
        "{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}",
        items,
        clients.all_nodes().await.unwrap(),
        clients.all_orders().await.unwrap(),
        clients.all_cells().await.unwrap(),
        world.trial_balance().await,
        clients.all_stock_values().await.unwrap(),
        clients.all_suspense().await.unwrap(),
    );
    for node in crate::world::NODES {
        let (stock, tasks) = (clients.all_stock(node).await.unwrap(), clients.all_tasks(node, false).await.unwrap());
        all = format!("{all}\n{stock:#?}\n{tasks:#?}");
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_with_its_reason_and_changes_nothing() {
    let world = World::start().await;
    world.master_data(&[ITEM]).await;
    world.receive("dc-1", ITEM, 50, 250).await;
    world.receive("store-1", ITEM, 10, 250).await;
    world.wait_until_available(ITEM, 50 + 10 - crate::world::STORE_RESERVE).await;
    world.place(&web_order("GOOD-1", &[(ITEM, 2)])).await.unwrap();
    let work = world.work_of("GOOD-1", 2).await;
    world.settle().await;
    let before = everything(&world).await;

    let mut cases = Cases::of(&world);
    bad_orders(&mut cases);
    bad_master_data(&world, &mut cases);
    bad_cancellations(&mut cases);
    bad_lists(&mut cases);
    let (node, task) = &work[0];
    bad_work(&mut cases, node, task);
    bad_stock(&mut cases);
    cases.run().await;
    other_calls(&world).await;

    world.settle().await;
    let after = everything(&world).await;
    assert!(before == after, "refused requests changed something.\nbefore: {before}\nafter: {after}");
    let errors = world.log_lines(&["ERROR"]);
    assert!(errors.is_empty(), "bad input is no error of the service: {errors:#?}");
}

fn bad_orders(cases: &mut Cases) {
    refuse!(cases, "no order", "MISSING_FIELD", place_order, coordinator::PlaceOrderRequest::default());
    cases.order("no id", "MISSING_FIELD", |order| order.order_id.clear());
    cases.order("an id with a space", "INVALID_ID", |order| order.order_id = "BAD 1".into());
    cases.order("an id of 65 characters", "INVALID_ID", |order| order.order_id = "X".repeat(65));
    cases.order("no lines", "MISSING_FIELD", |order| order.lines.clear());
    cases.order("an unknown item", "UNKNOWN_ITEM", |order| order.lines[0].stock_key = Some(key_of("NO-SUCH-ITEM")));
    cases.order("no stock key", "MISSING_FIELD", |order| order.lines[0].stock_key = None);
    cases.order("quantity 0", "QUANTITY_NOT_POSITIVE", |order| order.lines[0].quantity = 0);
    cases.order("a negative quantity", "QUANTITY_NOT_POSITIVE", |order| order.lines[1].quantity = -3);
    cases.order("a huge quantity", "QUANTITY_TOO_LARGE", |order| order.lines[0].quantity = 1_000_000_001);
    cases.order("the largest quantity there is", "QUANTITY_TOO_LARGE", |order| order.lines[0].quantity = i64::MAX);
    cases.order("a line number twice", "DUPLICATE_LINE", |order| order.lines[1].line = 1);
    cases.order("no price", "MISSING_FIELD", |order| order.lines[0].price = None);
    cases.order("a negative amount", "AMOUNT_NEGATIVE", |order| {
        order.lines[0].price.as_mut().unwrap().sales_minor = -1;
    });
    cases.order("a huge amount", "AMOUNT_TOO_LARGE", |order| {
        order.lines[0].price.as_mut().unwrap().sales_minor = i64::MAX;
    });
    cases.order("tax that its rate does not give", "TAX_MISMATCH", |order| {
        order.lines[0].price.as_mut().unwrap().taxes[0].tax_minor += 1;
    });
    cases.order("placed before 1970", "INVALID_DATE", |order| order.placed_time_ms = -1);
    cases.order("placed in an hour", "INVALID_DATE", |order| order.placed_time_ms += 3_600_000);
    cases.order("placed at the end of time", "INVALID_DATE", |order| order.placed_time_ms = i64::MAX);
    cases.order("no currency", "MISSING_FIELD", |order| order.currency_code.clear());
    cases.order("no ISO 4217 code", "INVALID_CURRENCY", |order| order.currency_code = "gbp".into());
    cases.order("a latitude beyond the pole", "INVALID_PLACE", |order| {
        order.ship_to.as_mut().unwrap().latitude_e7 = 900_000_001;
    });
    cases.order("no place", "MISSING_FIELD", |order| order.ship_to = None);
    cases.order("no payment terms", "UNSPECIFIED_ENUM", |order| {
        order.payment_terms = PaymentTerms::Unspecified.into();
    });
    cases.order("payment terms that nobody knows", "UNSPECIFIED_ENUM", |order| order.payment_terms = 99);
    cases.order("2,001 lines", "TOO_MANY_LINES", |order| {
        let line = order.lines[0].clone();
        order.lines = (1..=2001).map(|n| coordinator_line(&line, n)).collect();
    });
    cases.order("another order with an id that is taken", "ORDER_ID_REUSED", |order| order.order_id = "GOOD-1".into());
}

fn coordinator_line(
    line: &stockmesh_proto::common::v1::OrderLine,
    number: u32,
) -> stockmesh_proto::common::v1::OrderLine {
    stockmesh_proto::common::v1::OrderLine { line: number, ..line.clone() }
}

fn bad_master_data(world: &World, cases: &mut Cases) {
    let with = |wrong: &dyn Fn(&mut coordinator::CreateItemsRequest)| {
        let mut request = create_items(&["NEW-1", "NEW-2"]);
        wrong(&mut request);
        request
    };
    let wrong_id = with(&|request| request.request_id = "not a uuid".into());
    refuse!(cases, "a request id that is none", "INVALID_REQUEST_ID", create_items, wrong_id);
    let version_4 = with(&|request| request.request_id = "7b1d2f6e-3f4a-4c58-9a41-1c2f3a4b5c6d".into());
    refuse!(cases, "a UUIDv4", "INVALID_REQUEST_ID", create_items, version_4);
    let no_id = with(&|request| request.request_id.clear());
    refuse!(cases, "no request id", "MISSING_FIELD", create_items, no_id);
    let old = with(&|request| request.request_id = OLD_REQUEST_ID.into());
    refuse!(cases, "a request id of years ago", "REQUEST_EXPIRED", create_items, old);
    let weightless = with(&|request| request.items[1].weight_grams = 0);
    refuse!(cases, "an item without weight", "INVALID_VALUE", create_items, weightless);
    let mut other = create_items(&[ITEM]);
    other.items[0].weight_grams = 7;
    refuse!(cases, "an item that exists otherwise", "ITEM_EXISTS", create_items, other);
    let long = with(&|request| request.items[0].description = "x".repeat(201));
    refuse!(cases, "a long description", "TEXT_TOO_LONG", create_items, long);

    let layout = world.network.layout();
    let register = |wrong: &dyn Fn(&mut coordinator::Node)| {
        let mut node = layout.nodes[0].registration(&layout.legal_entity);
        wrong(&mut node);
        coordinator::RegisterNodeRequest { request_id: new_request_id(), node: Some(node) }
    };
    let nothing = coordinator::RegisterNodeRequest { request_id: new_request_id(), node: None };
    refuse!(cases, "no node", "MISSING_FIELD", register_node, nothing);
    let capitals = register(&|node| node.node = "DC-9".into());
    refuse!(cases, "a node in capitals", "INVALID_ID", register_node, capitals);
    let kindless = register(&|node| {
        node.node = "dc-9".into();
        node.kind = 0;
    });
    refuse!(cases, "a node of no kind", "UNSPECIFIED_ENUM", register_node, kindless);
    let moved = register(&|node| node.place.as_mut().unwrap().country_code = "FR".into());
    refuse!(cases, "a node that exists otherwise", "NODE_EXISTS", register_node, moved);

    let range = |node: &str, item: &str| coordinator::RangeItemsRequest {
        request_id: new_request_id(),
        node: node.into(),
        items: vec![item.into()],
    };
    refuse!(cases, "ranging at an unknown node", "UNKNOWN_NODE", range_items, range("nowhere", ITEM));
    refuse!(cases, "ranging an unknown item", "UNKNOWN_ITEM", range_items, range("dc-1", "NO-SUCH-ITEM"));
}

fn bad_cancellations(cases: &mut Cases) {
    let cancel = |order_id: &str, line: u32, quantity: i64| coordinator::CancelOrderRequest {
        request_id: new_request_id(),
        order_id: order_id.into(),
        lines: vec![coordinator::CancelLine { line, quantity }],
    };
    refuse!(cases, "an unknown order", "UNKNOWN_ORDER", cancel_order, cancel("NO-SUCH-ORDER", 1, 1));
    refuse!(cases, "an unknown line", "UNKNOWN_ORDER_LINE", cancel_order, cancel("GOOD-1", 9, 1));
    refuse!(cases, "more than the line has", "EXCEEDS_LINE", cancel_order, cancel("GOOD-1", 1, 3));
    refuse!(cases, "cancelling nothing", "QUANTITY_NOT_POSITIVE", cancel_order, cancel("GOOD-1", 1, 0));
    let mut wrong_id = cancel("GOOD-1", 1, 1);
    wrong_id.request_id = "1".into();
    refuse!(cases, "cancelling under no UUID", "INVALID_REQUEST_ID", cancel_order, wrong_id);
    let get = coordinator::GetOrderRequest { order_id: "NO-SUCH-ORDER".into() };
    refuse!(cases, "looking up an unknown order", "UNKNOWN_ORDER", get_order, get);
}

fn bad_lists(cases: &mut Cases) {
    let token = "never given";
    let orders = coordinator::ListOrdersRequest { page_token: token.into(), ..Default::default() };
    refuse!(cases, "a token of no list of orders", "INVALID_PAGE_TOKEN", list_orders, orders);
    let orders = coordinator::ListOrdersRequest { page_size: -1, ..Default::default() };
    refuse!(cases, "a negative page", "INVALID_VALUE", list_orders, orders);
    let nodes = coordinator::ListNodesRequest { page_token: token.into(), ..Default::default() };
    refuse!(cases, "a token of no list of nodes", "INVALID_PAGE_TOKEN", list_nodes, nodes);
    let cells = coordinator::ListCellsRequest { page_token: token.into(), ..Default::default() };
    refuse!(cases, "a token of no list of cells", "INVALID_PAGE_TOKEN", list_cells, cells);
    let tasks = node::ListTasksRequest { node: "dc-1".into(), page_token: token.into(), ..Default::default() };
    refuse!(cases, "a token of no list of tasks", "INVALID_PAGE_TOKEN", list_tasks, tasks);
    let stock = node::ListStockRequest { node: "dc-1".into(), page_token: token.into(), ..Default::default() };
    refuse!(cases, "a token of no list of stock", "INVALID_PAGE_TOKEN", list_stock, stock);
    let journal = finance::ListJournalEntriesRequest { page_token: token.into(), ..Default::default() };
    refuse!(cases, "a token of no journal", "INVALID_PAGE_TOKEN", list_journal_entries, journal);
    let values = finance::ListStockValuesRequest { page_token: token.into(), ..Default::default() };
    refuse!(cases, "a token of no list of values", "INVALID_PAGE_TOKEN", list_stock_values, values);
    let suspense = finance::ListSuspenseRequest { page_token: token.into(), ..Default::default() };
    refuse!(cases, "a token of no list of suspense", "INVALID_PAGE_TOKEN", list_suspense, suspense);
}

fn bad_work(cases: &mut Cases, at: &str, task: &node::Task) {
    let nothing = AllocationId { incarnation: 1, log_index: 999_999, n: 0 };
    let unknown = node::Task { allocation: Some(nothing), ..task.clone() };
    refuse!(cases, "shipping unknown work", "UNKNOWN_ALLOCATION", ship_items, shipment(at, &unknown, 1));
    let none = node::Task { allocation: None, ..task.clone() };
    refuse!(cases, "shipping no work", "MISSING_FIELD", ship_items, shipment(at, &none, 1));
    refuse!(cases, "shipping too much", "EXCEEDS_ALLOCATION", ship_items, shipment(at, task, task.quantity + 1));
    refuse!(cases, "shipping nothing", "QUANTITY_NOT_POSITIVE", ship_items, shipment(at, task, 0));
    let mut empty = shipment(at, task, 1);
    empty.lines.clear();
    refuse!(cases, "an empty shipment", "MISSING_FIELD", ship_items, empty);
    let mut wrong_id = shipment(at, task, 1);
    wrong_id.request_id = "x".into();
    refuse!(cases, "shipping under no UUID", "INVALID_REQUEST_ID", ship_items, wrong_id);
    let mut old = shipment(at, task, 1);
    old.request_id = OLD_REQUEST_ID.into();
    refuse!(cases, "shipping under an id of years ago", "REQUEST_EXPIRED", ship_items, old);

    let (allocation, node) = (task.allocation, at.to_owned());
    let pick = node::PickItemsRequest {
        node: node.clone(),
        request_id: new_request_id(),
        allocation,
        quantity: task.quantity + 1,
    };
    refuse!(cases, "picking too much", "EXCEEDS_ALLOCATION", pick_items, pick);
    let pack = node::PackItemsRequest { node: node.clone(), request_id: new_request_id(), allocation, quantity: 1 };
    refuse!(cases, "packing what is not picked", "NOT_PICKED", pack_items, pack);
    let decline = |quantity, reason: DeclineReason| node::DeclineAllocationRequest {
        node: node.clone(),
        request_id: new_request_id(),
        allocation,
        quantity,
        reason: reason.into(),
    };
    let too_many = decline(task.quantity + 1, DeclineReason::NoCapacity);
    refuse!(cases, "declining too much", "EXCEEDS_ALLOCATION", decline_allocation, too_many);
    let why = decline(1, DeclineReason::Unspecified);
    refuse!(cases, "declining without a reason", "UNSPECIFIED_ENUM", decline_allocation, why);
}

fn bad_stock(cases: &mut Cases) {
    let booked = |wrong: &dyn Fn(&mut node::ReceiveStockRequest)| {
        let mut request = receipt("dc-1", ITEM, 5, 250);
        wrong(&mut request);
        request
    };
    refuse!(cases, "goods nobody knows", "UNKNOWN_ITEM", receive_stock, receipt("dc-1", "NO-SUCH-ITEM", 5, 250));
    refuse!(cases, "a receipt of -5", "QUANTITY_NOT_POSITIVE", receive_stock, receipt("dc-1", ITEM, -5, 250));
    refuse!(cases, "a huge receipt", "QUANTITY_TOO_LARGE", receive_stock, receipt("dc-1", ITEM, 2_000_000_000, 1));
    refuse!(cases, "an empty receipt", "MISSING_FIELD", receive_stock, booked(&|request| request.lines.clear()));
    refuse!(cases, "a receipt of no kind", "UNSPECIFIED_ENUM", receive_stock, booked(&|request| request.kind = 0));
    let free = booked(&|request| request.lines[0].cost.as_mut().unwrap().minor = -1);
    refuse!(cases, "a negative cost", "AMOUNT_NEGATIVE", receive_stock, free);
    let costless = booked(&|request| request.lines[0].cost = None);
    refuse!(cases, "a receipt without cost", "MISSING_FIELD", receive_stock, costless);

    let sale = |quantity| node::SellAtCounterRequest {
        node: "store-1".into(),
        request_id: new_request_id(),
        sale_id: String::new(),
        currency_code: "GBP".into(),
        lines: vec![CounterSaleLine {
            stock_key: Some(key_of(ITEM)),
            quantity,
            price: Some(price(quantity.max(1), 10)),
            ..Default::default()
        }],
        tender: Tender::Card.into(),
        sold_time_ms: 0,
    };
    let beyond = crate::world::STORE_RESERVE + 1;
    refuse!(cases, "selling what orders were promised", "INSUFFICIENT_RETAINED", sell_at_counter, sale(beyond));
    refuse!(cases, "selling -1", "QUANTITY_NOT_POSITIVE", sell_at_counter, sale(-1));
    let untendered = node::SellAtCounterRequest { tender: 0, ..sale(1) };
    refuse!(cases, "selling for nothing known", "UNSPECIFIED_ENUM", sell_at_counter, untendered);

    let back = |quantity| node::ReceiveReturnRequest {
        node: "dc-1".into(),
        request_id: new_request_id(),
        order_id: "GOOD-1".into(),
        line: 1,
        stock_key: Some(key_of(ITEM)),
        quantity,
        ..Default::default()
    };
    refuse!(cases, "a return of -1", "QUANTITY_NOT_POSITIVE", receive_return, back(-1));
    let homeless = node::ReceiveReturnRequest { order_id: String::new(), ..back(1) };
    refuse!(cases, "a return of no purchase", "MISSING_FIELD", receive_return, homeless);
    let inspect = node::InspectReturnRequest {
        node: "dc-1".into(),
        request_id: new_request_id(),
        return_id: "NO-SUCH-RETURN".into(),
        quantity: 1,
        disposition: Disposition::Resale.into(),
        ..Default::default()
    };
    refuse!(cases, "inspecting no return", "UNKNOWN_RETURN", inspect_return, inspect);
}

/// Calls that go to a process beside what clients of a network offer.
async fn other_calls(world: &World) {
    let at_dc = world.clients.node("dc-1").unwrap();
    let request = &receipt("nowhere", ITEM, 5, 250);
    let answer = at_dc.call(|channel| async move { clients::node(channel).receive_stock(request.clone()).await }).await;
    assert_eq!(reason_of(&answer.unwrap_err()).as_deref(), Some("UNKNOWN_NODE"));

    let request = &node::AdjustStockRequest {
        node: "dc-1".into(),
        request_id: new_request_id(),
        stock_key: Some(key_of(ITEM)),
        delta: -1_000,
        reason: AdjustReason::Loss.into(),
        ..node::AdjustStockRequest::default()
    };
    let answer = at_dc.call(|channel| async move { clients::node(channel).adjust_stock(request.clone()).await }).await;
    assert_eq!(reason_of(&answer.unwrap_err()).as_deref(), Some("INSUFFICIENT_ON_HAND"));

    let recall = &coordinator::RecallRightsRequest {
        request_id: new_request_id(),
        node: "dc-1".into(),
        stock_key: Some(key_of(ITEM)),
        quantity: 1_000,
    };
    let coordinators = world.clients.coordinator();
    let answer =
        coordinators.call(|channel| async move { clients::availability(channel).recall_rights(recall.clone()).await });
    assert_eq!(reason_of(&answer.await.unwrap_err()).as_deref(), Some("INSUFFICIENT_RIGHTS"));

    let refused = world.clients.export_ledger(finance::ExportFormat::Unspecified).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("UNSPECIFIED_ENUM"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_answered_the_same_and_another_body_is_refused() {
    let world = World::start().await;
    world.master_data(&[ITEM]).await;
    world.receive("dc-1", ITEM, 50, 250).await;

    let request = receipt("dc-1", ITEM, 5, 250);
    let first = world.clients.receive_stock(request.clone()).await.unwrap();
    assert_eq!(world.clients.receive_stock(request.clone()).await.unwrap(), first);
    let mut other = request.clone();
    other.lines[0].quantity = 6;
    let mut same_document = receipt("dc-1", ITEM, 5, 250);
    same_document.receipt_id.clone_from(&first.receipt_id);
    let create = create_items(&["NEW-1"]);
    world.clients.create_items(create.clone()).await.unwrap();
    let mut other_items = create_items(&["NEW-2"]);
    other_items.request_id = create.request_id;

    let mut cases = Cases::of(&world);
    refuse!(cases, "a receipt with the id of another", "REQUEST_ID_REUSED", receive_stock, other);
    refuse!(cases, "a second receipt of one number", "DOCUMENT_ID_REUSED", receive_stock, same_document);
    refuse!(cases, "items with the id of others", "REQUEST_ID_REUSED", create_items, other_items);
    cases.run().await;
    assert_eq!(world.level("dc-1", ITEM).await.received_total, 55);
}
