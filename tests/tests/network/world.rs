//! A small network for one test, and the requests that tests build.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stockmesh_proto::common::v1::{
    Condition, LinePrice, Money, Order, OrderLine, PartyRef, PaymentTerms, Place, ShortagePolicy, StockKey, TaxLine,
    TaxRegime,
};
use stockmesh_proto::coordinator::v1::{
    CreateItemsRequest, GetAvailabilityRequest, Item, OrderState, OrderStatus, PlaceOrderRequest, RangeItemsRequest,
    ReadConsistency, RegisterNodeRequest,
};
use stockmesh_proto::feed::v1::{ReceiptKind, ReceiptLine};
use stockmesh_proto::finance::v1::{AccountBalance, GetPostingStatusRequest, GetTrialBalanceRequest};
use stockmesh_proto::node::v1::{
    GetNodeStatusRequest, ReceiveStockRequest, ShipItemsRequest, ShipLine, StockLevel, Task,
};
use stockmesh_service::request::new_request_id;
use stockmesh_service::status::{explain, reason_of};
use stockmesh_sim::network::{Clients, Layout, Network, NetworkOptions};
use tonic::Status;

/// The nodes: a distribution center, and a store that keeps some units of each item for its counter.
pub const NODES: [&str; 2] = ["dc-1", "store-1"];
/// Units of each stock key that the store keeps for its counter.
pub const STORE_RESERVE: i64 = 6;
/// Longest wait for anything: machines of a CI are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// A network that is kept, with its logs, when its test fails.
pub struct World {
    pub network: Network,
    pub clients: Clients,
}

impl World {
    pub async fn start() -> Self {
        let mut layout = Layout::european();
        layout.nodes.retain(|node| NODES.contains(&node.node.as_str()));
        for node in &mut layout.nodes {
            node.walk_in_reserve = if node.node == "store-1" { STORE_RESERVE } else { 0 };
        }
        let options = NetworkOptions {
            layout,
            dir: None,
            program: env!("CARGO_BIN_EXE_stockmesh-services").into(),
            log_filter: "info".into(),
            ready_within: PATIENCE,
        };
        let network =
            Network::start(options).await.unwrap_or_else(|error| panic!("the network does not start: {error}"));
        let clients = network.clients().clone();
        Self { network, clients }
    }

    /// Items in the catalog, both nodes registered, every item ranged at both.
    pub async fn master_data(&self, items: &[&str]) {
        self.clients.create_items(create_items(items)).await.expect("items are created");
        for node in &self.network.layout().nodes {
            let registration = node.registration(&self.network.layout().legal_entity);
            let request = RegisterNodeRequest { request_id: new_request_id(), node: Some(registration) };
            self.clients.register_node(request).await.expect("a node is registered");
            let items = items.iter().map(|item| (*item).to_owned()).collect();
            let request = RangeItemsRequest { request_id: new_request_id(), node: node.node.clone(), items };
            self.clients.range_items(request).await.expect("items are ranged");
        }
    }

    /// Books goods in at a cost per unit, as soon as the node knows the item.
    pub async fn receive(&self, node: &str, item: &str, quantity: i64, unit_cost_minor: i64) {
        let request = receipt(node, item, quantity, unit_cost_minor);
        let what = format!("{node} knows {item}");
        let received = eventually(&what, || async {
            match self.clients.receive_stock(request.clone()).await {
                Err(status) if reason_of(&status).as_deref() == Some("UNKNOWN_ITEM") => Err(explain(&status)),
                answer => Ok(answer),
            }
        });
        received.await.expect("goods are booked in");
    }

    /// Units of an item that can be promised, over all nodes.
    pub async fn available(&self, item: &str) -> i64 {
        let request = GetAvailabilityRequest {
            stock_keys: vec![key_of(item)],
            consistency: ReadConsistency::Linearizable.into(),
        };
        let answer = self.clients.get_availability(request).await.expect("availability is answered");
        answer.availability[0].available_to_fulfill
    }

    pub async fn wait_until_available(&self, item: &str, units: i64) {
        eventually(&format!("{units} of {item} can be promised"), || async {
            let available = self.available(item).await;
            if available == units { Ok(()) } else { Err(format!("{available} can")) }
        })
        .await;
    }

    pub async fn place(&self, order: &Order) -> Result<OrderStatus, Status> {
        place(&self.clients, order).await
    }

    pub async fn order(&self, order_id: &str) -> OrderStatus {
        let request = stockmesh_proto::coordinator::v1::GetOrderRequest { order_id: order_id.to_owned() };
        self.clients.get_order(request).await.expect("the order is there").status.expect("it has a status")
    }

    pub async fn wait_until_order(&self, order_id: &str, state: OrderState) -> OrderStatus {
        eventually(&format!("order {order_id} is {state:?}"), || async {
            let status = self.order(order_id).await;
            if status.state() == state { Ok(status) } else { Err(format!("{:?}", status.state())) }
        })
        .await
    }

    /// Work of an order, over all nodes, once all of its units are there.
    pub async fn work_of(&self, order_id: &str, units: i64) -> Vec<(String, Task)> {
        eventually(&format!("nodes have the work of {order_id}"), || async {
            let mut work = Vec::new();
            for node in NODES {
                let tasks = self.clients.all_tasks(node, false).await.expect("tasks are listed");
                work.extend(
                    tasks.into_iter().filter(|task| task.order_id == order_id).map(|task| (node.to_owned(), task)),
                );
            }
            let taken: i64 = work.iter().map(|(_, task)| task.quantity).sum();
            if taken == units { Ok(work) } else { Err(format!("{taken} of {units} units")) }
        })
        .await
    }

    pub async fn level(&self, node: &str, item: &str) -> StockLevel {
        let levels = self.clients.all_stock(node).await.expect("stock is listed");
        levels.into_iter().find(|level| level.stock_key == Some(key_of(item))).unwrap_or_default()
    }

    /// Waits until every node's feed has reached the coordinator and finance, work has reached the nodes, and nothing is in
    /// suspense.
    pub async fn settle(&self) {
        eventually("every feed has reached everyone", || async {
            let nodes = self.clients.all_nodes().await.expect("nodes are listed");
            let posting =
                self.clients.get_posting_status(GetPostingStatusRequest {}).await.expect("posting status is answered");
            for node in NODES {
                let status = self.clients.get_node_status(GetNodeStatusRequest { node: node.to_owned() }).await;
                let seq = status.expect("a node's status is answered").feed_seq;
                let known = nodes.iter().find(|known| known.node == node).expect("the node is registered");
                let participant = format!("node/{node}");
                let posted = posting
                    .cursors
                    .iter()
                    .find(|cursor| cursor.feed.as_ref().is_some_and(|feed| feed.participant == participant));
                let posted = posted.and_then(|cursor| cursor.position.as_ref()).map_or(0, |position| position.seq);
                if known.feed_seq < seq || posted < seq || known.work_acknowledged_seq < known.work_seq {
                    return Err(format!(
                        "{node} has {seq} entries; coordinator {}, finance {posted}; work {} of {}",
                        known.feed_seq, known.work_acknowledged_seq, known.work_seq
                    ));
                }
            }
            if posting.suspense > 0 { Err(format!("{} facts in suspense", posting.suspense)) } else { Ok(()) }
        })
        .await;
    }

    pub async fn trial_balance(&self) -> Vec<AccountBalance> {
        let request = GetTrialBalanceRequest::default();
        self.clients.get_trial_balance(request).await.expect("the trial balance is answered").balances
    }

    /// Lines at one of these levels in the logs of all processes.
    pub fn log_lines(&self, levels: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        let folder = self.network.dir().join("logs");
        for entry in std::fs::read_dir(&folder).expect("there are logs") {
            let path = entry.expect("a log").path();
            let text = std::fs::read_to_string(&path).expect("a log is text");
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let lines = text.lines().filter(|line| line.split_whitespace().take(3).any(|word| levels.contains(&word)));
            found.extend(lines.map(|line| format!("{name}: {line}")));
        }
        found
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the network's folder, with logs, is kept: {}", self.network.dir().display());
            self.network.keep_folder();
        }
    }
}

/// Places an order, or repeats it.
pub async fn place(clients: &Clients, order: &Order) -> Result<OrderStatus, Status> {
    let request = PlaceOrderRequest { order: Some(order.clone()), incarnation: 0 };
    let answer = clients.place_order(request).await?;
    Ok(answer.status.expect("an order that was placed has a status"))
}

/// Sum of a trial balance's accounts below a name: debit positive.
pub fn balance(balances: &[AccountBalance], account: &str) -> i64 {
    let below = format!("{account}:");
    let matching = balances.iter().filter(|one| one.account == account || one.account.starts_with(&below));
    matching.map(|one| one.debit_minor - one.credit_minor).sum()
}

/// Tries until `attempt` succeeds, with patience; tells the last failure otherwise.
pub async fn eventually<T, F, Fut>(what: &str, mut attempt: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(last) => assert!(Instant::now() < end, "not within {} s: {what}; last: {last}", PATIENCE.as_secs()),
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

pub fn now_ms() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(elapsed.as_millis()).expect("a time within 64 bits")
}

pub fn key_of(item: &str) -> StockKey {
    // Grade NEW is what an unset grade means; answers say it.
    StockKey { item: item.to_owned(), grade: 1, owner: String::new(), shelf_life_class: String::new() }
}

pub fn create_items(items: &[&str]) -> CreateItemsRequest {
    let items = items.iter().map(|item| Item {
        item: (*item).to_owned(),
        description: format!("{item} for tests"),
        weight_grams: 400,
        ..Item::default()
    });
    CreateItemsRequest { request_id: new_request_id(), items: items.collect() }
}

pub fn receipt(node: &str, item: &str, quantity: i64, unit_cost_minor: i64) -> ReceiveStockRequest {
    let line = ReceiptLine {
        stock_key: Some(key_of(item)),
        quantity,
        condition: Condition::Sellable.into(),
        cost: Some(Money { currency_code: "GBP".into(), minor: quantity.saturating_mul(unit_cost_minor) }),
        ..ReceiptLine::default()
    };
    ReceiveStockRequest {
        node: node.to_owned(),
        request_id: new_request_id(),
        receipt_id: String::new(),
        kind: ReceiptKind::PurchaseOrder.into(),
        reference: "PO-1".into(),
        lines: vec![line],
        ..ReceiveStockRequest::default()
    }
}

/// Price of a line at a net price per unit, with 20 % VAT.
pub fn price(quantity: i64, unit_net_minor: i64) -> LinePrice {
    let net = quantity.saturating_mul(unit_net_minor);
    let tax = TaxLine {
        jurisdiction: "GB".into(),
        regime: TaxRegime::Vat.into(),
        rate_ppm: 200_000,
        taxable_minor: net,
        tax_minor: net / 5,
    };
    LinePrice { sales_minor: net, discount_minor: 0, manufacturer_coupon_minor: 0, taxes: vec![tax] }
}

/// A prepaid web order, to London, of (item, units) at 10.00 a unit.
pub fn web_order(order_id: &str, lines: &[(&str, i64)]) -> Order {
    let lines = lines.iter().zip(1..).map(|((item, quantity), line)| OrderLine {
        line,
        stock_key: Some(key_of(item)),
        quantity: *quantity,
        price: Some(price(*quantity, 1000)),
        ..Default::default()
    });
    Order {
        order_id: order_id.to_owned(),
        channel: "web".into(),
        placed_time_ms: now_ms(),
        customer: Some(PartyRef { id: "c-1".into() }),
        ship_to: Some(Place {
            country_code: "GB".into(),
            postal_code: "N1".into(),
            latitude_e7: 515_000_000,
            longitude_e7: -1_000_000,
        }),
        currency_code: "GBP".into(),
        lines: lines.collect(),
        shortage_policy: ShortagePolicy::Backorder.into(),
        payment_terms: PaymentTerms::Prepaid.into(),
    }
}

pub fn shipment(node: &str, task: &Task, quantity: i64) -> ShipItemsRequest {
    ShipItemsRequest {
        node: node.to_owned(),
        request_id: new_request_id(),
        shipment_id: String::new(),
        lines: vec![ShipLine { allocation: task.allocation, quantity, ..Default::default() }],
        carrier: "post".into(),
        tracking: String::new(),
    }
}
