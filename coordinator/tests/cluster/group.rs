//! A group of replicas in this process, over real sockets and disks, and what its tests ask of it.

use std::sync::Arc;
use std::time::Duration;

use stockmesh_coordinator::config::{Config, ReplicaConfig};
use stockmesh_coordinator::serve::{Stop, run};
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::coordinator::v1::availability_service_client::AvailabilityServiceClient;
use stockmesh_proto::coordinator::v1::catalog_service_client::CatalogServiceClient;
use stockmesh_proto::coordinator::v1::cluster_service_client::ClusterServiceClient;
use stockmesh_proto::coordinator::v1::network_service_client::NetworkServiceClient;
use stockmesh_proto::coordinator::v1::order_service_client::OrderServiceClient;
use stockmesh_proto::coordinator::v1::{
    CreateItemsRequest, CreateItemsResponse, GetAvailabilityRequest, GetClusterStatusRequest, GetClusterStatusResponse,
    GetOrderRequest, Item, Node, NodeCosts, OrderStatus, PlaceOrderRequest, PlaceOrderResponse, RangeItemsRequest,
    ReadConsistency, RegisterNodeRequest,
};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::feed_service_client::FeedServiceClient;
use stockmesh_proto::feed::v1::{
    EntryBody, FeedEntry, FeedRef, PullHello, PullRequest, RightsGranted, entry_body, pull_request, pull_response,
};
use stockmesh_service::link::{FeedSource, HelloInfo, LinkError, LinkState, run_push};
use stockmesh_service::request::new_request_id;
use stockmesh_service::{Cluster, Dialer, Security};
use stockmesh_types::FeedId;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Running {
    pub(crate) stop: oneshot::Sender<Stop>,
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
}

pub(crate) struct Group {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) addresses: Vec<String>,
    pub(crate) replicas: Vec<Option<Running>>,
    pub(crate) snapshot_every: u64,
    /// Ids of the replicas, and those that joined a group that ran.
    pub(crate) ids: Vec<u64>,
    pub(crate) joined: Vec<u64>,
    /// The replicas' certificate, and that of who asks them.
    pub(crate) security: Security,
    pub(crate) asker: Security,
}

impl Group {
    pub(crate) async fn start(snapshot_every: u64) -> Self {
        Self::start_secured(snapshot_every, Security::InsecureDev, Security::InsecureDev).await
    }

    pub(crate) async fn start_secured(snapshot_every: u64, security: Security, asker: Security) -> Self {
        let mut listeners = Vec::new();
        for _ in 0..3 {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
        let mut group = Self {
            folder: tempfile::tempdir().unwrap(),
            addresses,
            replicas: (0..3).map(|_| None).collect(),
            snapshot_every,
            ids: vec![1, 2, 3],
            joined: Vec::new(),
            security,
            asker,
        };
        for (at, listener) in listeners.into_iter().enumerate() {
            group.run(at, listener);
        }
        group
    }

    pub(crate) fn run(&mut self, at: usize, listener: TcpListener) {
        let id = self.ids[at];
        let all = self.ids.iter().zip(&self.addresses);
        // Those of the beginning don't know of later ones; who joins knows all.
        let known = all.filter(|(other, _)| **other <= 3 || **other == id);
        let replicas = known.map(|(id, address)| ReplicaConfig { id: *id, address: address.clone() });
        let config = Config {
            group: 1,
            replica_id: id,
            listen: self.addresses[at].parse().unwrap(),
            data_dir: self.data_dir(at),
            replicas: replicas.collect(),
            finance: vec!["main".to_owned()],
            tls: stockmesh_service::TlsFiles::default(),
            tick_ms: 30,
            election_ticks: 10,
            snapshot_every_entries: self.snapshot_every,
            snapshot_every_mib: 64,
            log_keep_entries: 10,
            join: self.joined.contains(&id),
        };
        let (stop, stopped) = oneshot::channel();
        let stopped = async { stopped.await.unwrap_or(Stop::AtOnce) };
        let task = tokio::spawn(run(config, self.security.clone(), listener, stopped));
        self.replicas[at] = Some(Running { stop, task });
    }

    /// A fresh replica that joins under this id; gives its position.
    pub(crate) async fn join(&mut self, id: u64) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.addresses.push(listener.local_addr().unwrap().to_string());
        self.replicas.push(None);
        self.ids.push(id);
        self.joined.push(id);
        let at = self.replicas.len() - 1;
        self.run(at, listener);
        at
    }

    pub(crate) fn data_dir(&self, at: usize) -> std::path::PathBuf {
        self.folder.path().join(self.ids[at].to_string())
    }

    pub(crate) async fn restart(&mut self, at: usize) {
        let listener =
            eventually("the port to be free", || async { TcpListener::bind(&self.addresses[at]).await.ok() }).await;
        self.run(at, listener);
    }

    pub(crate) async fn stop(&mut self, at: usize, how: Stop) {
        let Running { stop, task } = self.replicas[at].take().expect("it runs");
        stop.send(how).unwrap();
        tokio::time::timeout(PATIENCE, task).await.expect("it stops").unwrap().unwrap();
    }

    pub(crate) fn channel(&self, at: usize) -> Channel {
        self.channel_as(&self.asker, at)
    }

    pub(crate) fn channel_as(&self, asker: &Security, at: usize) -> Channel {
        Dialer::new(asker.clone()).channel(&self.addresses[at]).unwrap()
    }

    pub(crate) fn client(&self) -> Cluster {
        Cluster::new(Dialer::new(self.asker.clone()), self.addresses.clone(), PATIENCE)
    }

    pub(crate) async fn status(&self, at: usize) -> Option<GetClusterStatusResponse> {
        let mut client = ClusterServiceClient::new(self.channel(at));
        client.get_cluster_status(GetClusterStatusRequest {}).await.ok().map(tonic::Response::into_inner)
    }

    /// The position of a replica that leads and whose followers know it.
    pub(crate) async fn leader(&self) -> usize {
        eventually("a leader", || async {
            let (mut leaders, mut asked) = (Vec::new(), 0);
            for at in 0..self.replicas.len() {
                if self.replicas[at].is_some() {
                    asked += 1;
                    leaders.push(self.status(at).await?.leader_id);
                }
            }
            let first = *leaders.first()?;
            // 0: it knows of no leader.
            let position = self.ids.iter().position(|id| *id == first)?;
            (leaders.len() == asked && leaders.iter().all(|leader| *leader == first)).then_some(position)
        })
        .await
    }

    /// All running replicas have applied the same log, to the same state.
    pub(crate) async fn agree(&self) {
        eventually("all replicas to hold the same state", || async {
            let mut seen = Vec::new();
            for at in 0..self.replicas.len() {
                if self.replicas[at].is_some() {
                    let status = self.status(at).await?;
                    seen.push((status.applied_index, status.state_hash));
                }
            }
            seen.windows(2).all(|two| two[0] == two[1]).then_some(())
        })
        .await;
    }

    pub(crate) async fn end(mut self) {
        for at in 0..self.replicas.len() {
            if self.replicas[at].is_some() {
                self.stop(at, Stop::AtOnce).await;
            }
        }
    }
}

pub(crate) async fn eventually<T, Fut: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> Fut) -> T {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ask().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A node's feed in memory: it grants rights.
pub(crate) struct GrantingNode {
    pub(crate) feed: FeedId,
    pub(crate) entries: Vec<FeedEntry>,
    pub(crate) head: Head,
    pub(crate) heads: watch::Receiver<u64>,
    pub(crate) _sender: watch::Sender<u64>,
}

impl GrantingNode {
    pub(crate) fn new(node: &str, grants: &[(&str, i64)]) -> Self {
        let facts = grants.iter().map(|(item, granted_total)| {
            entry_body::Fact::RightsGranted(RightsGranted { stock_key: Some(key(item)), granted_total: *granted_total })
        });
        Self::saying(node, 1, facts.collect())
    }

    /// A feed of an epoch with these facts.
    pub(crate) fn saying(node: &str, epoch: u64, facts: Vec<entry_body::Fact>) -> Self {
        let feed = FeedId { participant: format!("node/{node}"), destination: String::new(), epoch };
        let mut head = Head::START;
        let entries: Vec<FeedEntry> = (1..)
            .zip(facts)
            .map(|(time_ms, fact)| {
                let body = EntryBody {
                    time_ms,
                    business_date: "2026-11-21".to_owned(),
                    group: 1,
                    fact: Some(fact),
                    ..EntryBody::default()
                };
                head.append(&feed, &body)
            })
            .collect();
        let (sender, heads) = watch::channel(entries.len() as u64);
        Self { feed, entries, head, heads, _sender: sender }
    }
}

impl FeedSource for GrantingNode {
    fn feed(&self) -> FeedId {
        self.feed.clone()
    }
    fn head(&self) -> Head {
        self.head
    }
    fn watch(&self) -> watch::Receiver<u64> {
        self.heads.clone()
    }
    async fn read(&self, after: u64, _: usize) -> Result<Vec<FeedEntry>, LinkError> {
        Ok(self.entries[usize::try_from(after).unwrap()..].to_vec())
    }
    async fn acknowledged(&self, _: &str, _: Head) -> Result<(), LinkError> {
        Ok(())
    }
}

pub(crate) fn key(item: &str) -> wire::StockKey {
    wire::StockKey { item: item.to_owned(), ..wire::StockKey::default() }
}

pub(crate) fn order(id: &str, item: &str, quantity: i64) -> wire::Order {
    wire::Order {
        order_id: id.to_owned(),
        channel: "web".to_owned(),
        placed_time_ms: 1,
        customer: Some(wire::PartyRef { id: "guest".to_owned() }),
        ship_to: Some(wire::Place { country_code: "GB".to_owned(), ..wire::Place::default() }),
        currency_code: "GBP".to_owned(),
        lines: vec![wire::OrderLine {
            line: 1,
            stock_key: Some(key(item)),
            quantity,
            price: Some(wire::LinePrice { sales_minor: 100, ..wire::LinePrice::default() }),
            ..wire::OrderLine::default()
        }],
        shortage_policy: wire::ShortagePolicy::Backorder.into(),
        payment_terms: wire::PaymentTerms::Prepaid.into(),
    }
}

pub(crate) async fn place_at(channel: Channel, order: wire::Order) -> Result<PlaceOrderResponse, Status> {
    let request = PlaceOrderRequest { order: Some(order), incarnation: 0 };
    OrderServiceClient::new(channel).place_order(request).await.map(tonic::Response::into_inner)
}

pub(crate) async fn place(group: &Group, order: wire::Order) -> PlaceOrderResponse {
    let client = group.client();
    let placed = client.call(|channel| {
        let request = PlaceOrderRequest { order: Some(order.clone()), incarnation: 0 };
        async move { OrderServiceClient::new(channel).place_order(request).await }
    });
    placed.await.unwrap()
}

pub(crate) async fn create(group: &Group, request_id: &str, item: &str) -> CreateItemsResponse {
    let request = CreateItemsRequest {
        request_id: request_id.to_owned(),
        items: vec![Item {
            item: item.to_owned(),
            description: "an item".to_owned(),
            weight_grams: 100,
            ..Item::default()
        }],
    };
    let client = group.client();
    let created = client.call(|channel| {
        let request = request.clone();
        async move { CatalogServiceClient::new(channel).create_items(request).await }
    });
    created.await.unwrap()
}

/// Items, one node that may handle them, and rights to promise.
pub(crate) async fn stock(group: &Group, grants: &[(&str, i64)]) {
    for (item, _) in grants {
        create(group, &new_request_id(), item).await;
    }
    let node = Node {
        node: "dc-1".to_owned(),
        kind: wire::NodeKind::DistributionCenter.into(),
        place: Some(wire::Place { country_code: "GB".to_owned(), ..wire::Place::default() }),
        legal_entity: "UK".to_owned(),
        costs: Some(NodeCosts::default()),
        ..Node::default()
    };
    let register = RegisterNodeRequest { request_id: new_request_id(), node: Some(node) };
    let ranged = RangeItemsRequest {
        request_id: new_request_id(),
        node: "dc-1".to_owned(),
        items: grants.iter().map(|(item, _)| (*item).to_owned()).collect(),
    };
    let client = group.client();
    let registered = client.call(|channel| {
        let request = register.clone();
        async move { NetworkServiceClient::new(channel).register_node(request).await }
    });
    registered.await.unwrap();
    let ranging = client.call(|channel| {
        let request = ranged.clone();
        async move { NetworkServiceClient::new(channel).range_items(request).await }
    });
    ranging.await.unwrap();
    push(group, GrantingNode::new("dc-1", grants)).await;
}

/// Pushes a node's whole feed, until it is acknowledged.
pub(crate) async fn push(group: &Group, source: GrantingNode) {
    let source = Arc::new(source);
    let (head, state, (down, shutdown)) = (source.head, Arc::new(LinkState::new()), watch::channel(false));
    let hello = HelloInfo { group: 1, incarnation: 1 };
    let link = tokio::spawn(run_push(
        source,
        "coordinator/1".to_owned(),
        Dialer::new(group.asker.clone()),
        group.addresses.clone(),
        hello,
        state.clone(),
        shutdown,
    ));
    eventually("the grants to be taken", || async { (state.acknowledged_seq() == head.seq).then_some(()) }).await;
    down.send(true).unwrap();
    link.await.unwrap();
}

pub(crate) async fn available(group: &Group, at: usize, item: &str) -> i64 {
    let request =
        GetAvailabilityRequest { stock_keys: vec![key(item)], consistency: ReadConsistency::Linearizable.into() };
    let answer = AvailabilityServiceClient::new(group.channel(at)).get_availability(request).await.unwrap();
    answer.into_inner().availability[0].available_to_fulfill
}

pub(crate) async fn get(group: &Group, at: usize, order_id: &str) -> OrderStatus {
    let request = GetOrderRequest { order_id: order_id.to_owned() };
    let mut client = OrderServiceClient::new(group.channel(at));
    client.get_order(request).await.unwrap().into_inner().status.unwrap()
}

/// Pulls our feed to a destination from its start, checks the chain, and returns its last position.
pub(crate) async fn pull(group: &Group, at: usize, destination: &str, until: u64) -> Head {
    let feed = FeedId { participant: "coordinator/1".to_owned(), destination: destination.to_owned(), epoch: 1 };
    let (requests, outgoing) = mpsc::channel(4);
    let hello = PullHello { feed: Some(FeedRef::from(&feed)), cursor: Some(Head::START.to_wire()), feature_level: 1 };
    requests.send(PullRequest { message: Some(pull_request::Message::Hello(hello)) }).await.unwrap();
    let mut client = FeedServiceClient::new(group.channel(at));
    let mut responses = client.pull(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    let mut head = Head::START;
    while head.seq < until {
        let response = tokio::time::timeout(PATIENCE, responses.message()).await.unwrap().unwrap().unwrap();
        if let Some(pull_response::Message::Batch(batch)) = response.message {
            for entry in &batch.entries {
                head.accept(&feed, entry).unwrap();
            }
        }
    }
    head
}
