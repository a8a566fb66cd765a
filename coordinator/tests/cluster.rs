//! Three replicas in one process, over real sockets and disks: orders through followers, a killed leader, a follower that
//! comes back so late that it needs a snapshot.

use std::collections::BTreeMap;
use std::path::Path;
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
    GetOrderRequest, Item, Node, NodeCosts, OrderState, OrderStatus, PlaceOrderRequest, PlaceOrderResponse,
    RangeItemsRequest, ReadConsistency, RegisterNodeRequest,
};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::feed_service_client::FeedServiceClient;
use stockmesh_proto::feed::v1::{
    EntryBody, FeedEntry, FeedRef, PullHello, PullRequest, RightsGranted, entry_body, pull_request, pull_response,
};
use stockmesh_proto::raft::v1::raft_service_client::RaftServiceClient;
use stockmesh_service::certs::DevCa;
use stockmesh_service::link::{FeedSource, HelloInfo, LinkError, LinkState, run_push};
use stockmesh_service::request::new_request_id;
use stockmesh_service::status::{known_reason, leader_of};
use stockmesh_service::{Cluster, Dialer, Security};
use stockmesh_types::{FeedId, Principal, PrincipalKind, Reason};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    stop: oneshot::Sender<Stop>,
    task: JoinHandle<anyhow::Result<()>>,
}

struct Group {
    folder: tempfile::TempDir,
    addresses: Vec<String>,
    replicas: Vec<Option<Running>>,
    snapshot_every: u64,
    /// The replicas' certificate, and that of who asks them.
    security: Security,
    asker: Security,
}

impl Group {
    async fn start(snapshot_every: u64) -> Self {
        Self::start_secured(snapshot_every, Security::InsecureDev, Security::InsecureDev).await
    }

    async fn start_secured(snapshot_every: u64, security: Security, asker: Security) -> Self {
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
            security,
            asker,
        };
        for (at, listener) in listeners.into_iter().enumerate() {
            group.run(at, listener);
        }
        group
    }

    fn run(&mut self, at: usize, listener: TcpListener) {
        let replicas = (1..).zip(&self.addresses).map(|(id, address)| ReplicaConfig { id, address: address.clone() });
        let config = Config {
            group: 1,
            replica_id: at as u64 + 1,
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
        };
        let (stop, stopped) = oneshot::channel();
        let stopped = async { stopped.await.unwrap_or(Stop::AtOnce) };
        let task = tokio::spawn(run(config, self.security.clone(), listener, stopped));
        self.replicas[at] = Some(Running { stop, task });
    }

    fn data_dir(&self, at: usize) -> std::path::PathBuf {
        self.folder.path().join(at.to_string())
    }

    async fn restart(&mut self, at: usize) {
        let listener =
            eventually("the port to be free", || async { TcpListener::bind(&self.addresses[at]).await.ok() }).await;
        self.run(at, listener);
    }

    async fn stop(&mut self, at: usize, how: Stop) {
        let Running { stop, task } = self.replicas[at].take().expect("it runs");
        stop.send(how).unwrap();
        tokio::time::timeout(PATIENCE, task).await.expect("it stops").unwrap().unwrap();
    }

    fn channel(&self, at: usize) -> Channel {
        self.channel_as(&self.asker, at)
    }

    fn channel_as(&self, asker: &Security, at: usize) -> Channel {
        Dialer::new(asker.clone()).channel(&self.addresses[at]).unwrap()
    }

    fn client(&self) -> Cluster {
        Cluster::new(Dialer::new(self.asker.clone()), self.addresses.clone(), PATIENCE)
    }

    async fn status(&self, at: usize) -> Option<GetClusterStatusResponse> {
        let mut client = ClusterServiceClient::new(self.channel(at));
        client.get_cluster_status(GetClusterStatusRequest {}).await.ok().map(tonic::Response::into_inner)
    }

    /// The position of a replica that leads and whose followers know it.
    async fn leader(&self) -> usize {
        eventually("a leader", || async {
            let (mut leaders, mut asked) = (Vec::new(), 0);
            for at in 0..3 {
                if self.replicas[at].is_some() {
                    asked += 1;
                    leaders.push(self.status(at).await?.leader_id);
                }
            }
            let first = *leaders.first()?;
            (first != 0 && leaders.len() == asked && leaders.iter().all(|leader| *leader == first))
                .then_some(usize::try_from(first).ok()? - 1)
        })
        .await
    }

    /// All running replicas have applied the same log, to the same state.
    async fn agree(&self) {
        eventually("all replicas to hold the same state", || async {
            let mut seen = Vec::new();
            for at in 0..3 {
                if self.replicas[at].is_some() {
                    let status = self.status(at).await?;
                    seen.push((status.applied_index, status.state_hash));
                }
            }
            seen.windows(2).all(|two| two[0] == two[1]).then_some(())
        })
        .await;
    }

    async fn end(mut self) {
        for at in 0..3 {
            if self.replicas[at].is_some() {
                self.stop(at, Stop::AtOnce).await;
            }
        }
    }
}

async fn eventually<T, Fut: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> Fut) -> T {
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
struct GrantingNode {
    feed: FeedId,
    entries: Vec<FeedEntry>,
    head: Head,
    heads: watch::Receiver<u64>,
    _sender: watch::Sender<u64>,
}

impl GrantingNode {
    fn new(node: &str, grants: &[(&str, i64)]) -> Self {
        let feed = FeedId { participant: format!("node/{node}"), destination: String::new(), epoch: 1 };
        let mut head = Head::START;
        let entries: Vec<FeedEntry> = (1..)
            .zip(grants)
            .map(|(time_ms, (item, granted_total))| {
                let fact = entry_body::Fact::RightsGranted(RightsGranted {
                    stock_key: Some(key(item)),
                    granted_total: *granted_total,
                });
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

fn key(item: &str) -> wire::StockKey {
    wire::StockKey { item: item.to_owned(), ..wire::StockKey::default() }
}

fn order(id: &str, item: &str, quantity: i64) -> wire::Order {
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
        }],
        shortage_policy: wire::ShortagePolicy::Backorder.into(),
        payment_terms: wire::PaymentTerms::Prepaid.into(),
    }
}

async fn place_at(channel: Channel, order: wire::Order) -> Result<PlaceOrderResponse, Status> {
    let request = PlaceOrderRequest { order: Some(order), incarnation: 0 };
    OrderServiceClient::new(channel).place_order(request).await.map(tonic::Response::into_inner)
}

async fn place(group: &Group, order: wire::Order) -> PlaceOrderResponse {
    let client = group.client();
    let placed = client.call(|channel| {
        let request = PlaceOrderRequest { order: Some(order.clone()), incarnation: 0 };
        async move { OrderServiceClient::new(channel).place_order(request).await }
    });
    placed.await.unwrap()
}

async fn create(group: &Group, request_id: &str, item: &str) -> CreateItemsResponse {
    let request = CreateItemsRequest {
        request_id: request_id.to_owned(),
        items: vec![Item { item: item.to_owned(), description: "an item".to_owned(), weight_grams: 100 }],
    };
    let client = group.client();
    let created = client.call(|channel| {
        let request = request.clone();
        async move { CatalogServiceClient::new(channel).create_items(request).await }
    });
    created.await.unwrap()
}

/// Items, one node that may handle them, and rights to promise.
async fn stock(group: &Group, grants: &[(&str, i64)]) {
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
    let source = Arc::new(GrantingNode::new("dc-1", grants));
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

async fn available(group: &Group, at: usize, item: &str) -> i64 {
    let request =
        GetAvailabilityRequest { stock_keys: vec![key(item)], consistency: ReadConsistency::Linearizable.into() };
    let answer = AvailabilityServiceClient::new(group.channel(at)).get_availability(request).await.unwrap();
    answer.into_inner().availability[0].available_to_fulfill
}

async fn get(group: &Group, at: usize, order_id: &str) -> OrderStatus {
    let request = GetOrderRequest { order_id: order_id.to_owned() };
    let mut client = OrderServiceClient::new(group.channel(at));
    client.get_order(request).await.unwrap().into_inner().status.unwrap()
}

/// Pulls our feed to a destination from its start, checks the chain, and returns its last position.
async fn pull(group: &Group, at: usize, destination: &str, until: u64) -> Head {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_go_through_any_replica_and_survive_the_leader() {
    let mut group = Group::start(10_000).await;
    stock(&group, &[("MUG-1", 10), ("MUG-2", 3)]).await;
    let leader = group.leader().await;
    let followers: Vec<usize> = (0..3).filter(|at| *at != leader).collect();

    // Through a follower, and read at another replica at once.
    let first = place_at(group.channel(followers[0]), order("A1", "MUG-1", 4)).await.unwrap();
    assert!(!first.already_placed);
    let first = first.status.unwrap();
    assert_eq!(first.state, i32::from(OrderState::Promised));
    assert_eq!(get(&group, followers[1], "A1").await, first);
    for at in 0..3 {
        assert_eq!(available(&group, at, "MUG-1").await, 6);
    }
    // The same order again changes nothing; another body under its id is refused, and changes nothing.
    let again = place_at(group.channel(followers[1]), order("A1", "MUG-1", 4)).await.unwrap();
    assert_eq!((again.already_placed, again.status.unwrap()), (true, first.clone()));
    let other = place_at(group.channel(followers[0]), order("A1", "MUG-1", 5)).await.unwrap_err();
    assert_eq!(known_reason(&other), Some(Reason::OrderIdReused));
    let unknown = place_at(group.channel(followers[0]), order("A2", "NO-SUCH", 1)).await.unwrap_err();
    assert_eq!(known_reason(&unknown), Some(Reason::UnknownItem));
    assert_eq!(available(&group, leader, "MUG-1").await, 6);

    // A write whose answer the client lost with the leader.
    let request_id = new_request_id();
    let answer = create(&group, &request_id, "MUG-3").await;
    assert_eq!((answer.created, answer.existing), (1, 0));
    group.stop(leader, Stop::AtOnce).await;
    assert_eq!(create(&group, &request_id, "MUG-3").await, answer, "the first answer, not a second execution");
    let again = place(&group, order("A1", "MUG-1", 4)).await;
    assert_eq!((again.already_placed, again.status.unwrap()), (true, first.clone()));
    let second = place(&group, order("A3", "MUG-2", 5)).await.status.unwrap();
    assert_eq!(second.state, i32::from(OrderState::PartiallyPromised));
    assert_eq!((second.lines[0].backordered, second.lines[0].allocations[0].quantity), (2, 3));

    group.restart(leader).await;
    group.leader().await;
    group.agree().await;
    assert_eq!(get(&group, leader, "A1").await, first);
    assert_eq!(get(&group, leader, "A3").await, second);
    group.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_orders_at_once_never_promise_a_unit_twice() {
    let mut group = Group::start(10_000).await;
    stock(&group, &[("MUG-1", 50)]).await;
    let mut placing = Vec::new();
    for n in 0..80 {
        let (client, order) = (group.client(), order(&format!("B{n}"), "MUG-1", 1));
        placing.push(tokio::spawn(async move {
            let placed = client.call(|channel| {
                let request = PlaceOrderRequest { order: Some(order.clone()), incarnation: 0 };
                async move { OrderServiceClient::new(channel).place_order(request).await }
            });
            placed.await.unwrap().status.unwrap()
        }));
        if n == 40 {
            let leader = group.leader().await;
            group.stop(leader, Stop::Gracefully).await;
            group.restart(leader).await;
        }
    }
    for placed in placing {
        placed.await.unwrap();
    }
    let (mut promised, mut waiting) = (0, 0);
    for n in 0..80 {
        let status = get(&group, n % 3, &format!("B{n}")).await;
        promised += status.lines[0].allocations.iter().map(|one| one.quantity - one.cancelled).sum::<i64>();
        waiting += status.lines[0].backordered;
    }
    assert_eq!((promised, waiting), (50, 30));
    group.agree().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_too_late_gets_a_snapshot() {
    let mut group = Group::start(40).await;
    stock(&group, &[("MUG-1", 10)]).await;
    let leader = group.leader().await;
    let late = (0..3).find(|at| *at != leader).unwrap();
    group.agree().await;
    let seen = group.status(late).await.unwrap().applied_index;
    group.stop(late, Stop::AtOnce).await;
    for n in 0..150 {
        place(&group, order(&format!("C{n}"), "MUG-1", 1)).await;
    }
    let leader = group.leader().await;
    eventually("the log to be compacted beyond the follower", || async {
        (group.status(leader).await?.first_index > seen + 1).then_some(())
    })
    .await;
    group.restart(late).await;
    group.agree().await;
    let snapshots = std::fs::read_dir(group.data_dir(late).join("snapshots")).unwrap().count();
    assert!(snapshots >= 1, "it was caught up by a snapshot");

    // Its feeds came with it: the whole chain, the same as the leader's.
    let placed: u64 = 150;
    let expected = pull(&group, leader, "finance/main", placed).await;
    assert_eq!(pull(&group, late, "finance/main", expected.seq).await, expected);

    // And it starts again from what is on its disk.
    group.stop(late, Stop::AtOnce).await;
    assert_log_begins_late(&group.data_dir(late));
    group.restart(late).await;
    group.agree().await;
    let (here, there) = (group.status(late).await.unwrap(), group.status(leader).await.unwrap());
    assert_eq!((here.orders, here.state_hash), (there.orders, there.state_hash));
    group.end().await;
}

fn assert_log_begins_late(data_dir: &Path) {
    use raft::Storage;
    let log = stockmesh_coordinator::storage::log::DiskLog::open(&data_dir.join("log"), &[]).unwrap();
    assert!(log.first_index().unwrap() > 20, "the log before the snapshot is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_feeds_are_logged_through_any_replica_and_pushes_find_the_leader() {
    let group = Group::start(10_000).await;
    stock(&group, &[("MUG-1", 10)]).await;
    let leader = group.leader().await;
    let follower = (0..3).find(|at| *at != leader).unwrap();
    group.agree().await;

    // A push to a follower names the leader.
    let (_requests, outgoing) = mpsc::channel(1);
    let refused =
        FeedServiceClient::new(group.channel(follower)).push(ReceiverStream::new(outgoing)).await.unwrap_err();
    assert_eq!(known_reason(&refused), Some(Reason::NotLeader));
    assert_eq!(leader_of(&refused).as_deref(), Some(group.addresses[leader].as_str()));

    // A node that has its work, from a follower: the acknowledgement reaches the log.
    let nodes = |at: usize| {
        let channel = group.channel(at);
        async move {
            let request = stockmesh_proto::coordinator::v1::ListNodesRequest::default();
            let listed = NetworkServiceClient::new(channel).list_nodes(request).await.unwrap().into_inner();
            let node = listed.nodes[0].clone();
            (node.work_seq, node.work_acknowledged_seq)
        }
    };
    let (work, acknowledged) = nodes(leader).await;
    assert_eq!((work, acknowledged), (1, 0), "one item was ranged");
    let head = pull(&group, follower, "node/dc-1", 1).await;
    let feed = FeedId { participant: "coordinator/1".to_owned(), destination: "node/dc-1".to_owned(), epoch: 1 };
    let (requests, outgoing) = mpsc::channel(4);
    let hello = PullHello { feed: Some(FeedRef::from(&feed)), cursor: Some(head.to_wire()), feature_level: 1 };
    requests.send(PullRequest { message: Some(pull_request::Message::Hello(hello)) }).await.unwrap();
    let mut client = FeedServiceClient::new(group.channel(follower));
    let mut responses = client.pull(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    responses.message().await.unwrap().unwrap();
    eventually("the acknowledgement to be logged", || async { (nodes(leader).await.1 == 1).then_some(()) }).await;
    drop(requests);
    group.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nothing_is_promised_and_nothing_stale_is_read() {
    let mut group = Group::start(10_000).await;
    stock(&group, &[("MUG-1", 10)]).await;
    let leader = group.leader().await;
    let others: BTreeMap<usize, ()> = (0..3).filter(|at| *at != leader).map(|at| (at, ())).collect();
    for at in others.keys() {
        group.stop(*at, Stop::AtOnce).await;
    }
    let placed = place_at(group.channel(leader), order("D1", "MUG-1", 1)).await.unwrap_err();
    let reason = known_reason(&placed);
    assert!(matches!(reason, Some(Reason::OutcomeUnknown | Reason::NotLeader)), "{placed:?}");
    let request = GetOrderRequest { order_id: "D1".to_owned() };
    let read = OrderServiceClient::new(group.channel(leader)).get_order(request).await.unwrap_err();
    assert_eq!(known_reason(&read), Some(Reason::NotLeader), "{read:?}");
    for at in others.keys() {
        group.restart(*at).await;
    }
    // The same order again, with the same id: placed once, whatever became of the first try.
    place(&group, order("D1", "MUG-1", 1)).await;
    let leader = group.leader().await;
    assert_eq!(available(&group, leader, "MUG-1").await, 9);
    group.agree().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_say_who_may_do_what_at_every_replica() {
    let folder = tempfile::tempdir().unwrap();
    let ca = DevCa::init(&folder.path().join("ca")).unwrap();
    let issue = |kind: PrincipalKind, id: &str| {
        let name = format!("{}-{id}", kind.word());
        ca.issue(&name, &[Principal { kind, id: id.to_owned() }], &[]).unwrap();
        Security::load(&ca.files_of(&name), false).unwrap()
    };
    let replicas = issue(PrincipalKind::Coordinator, "1");
    let (user, node) = (issue(PrincipalKind::User, "alice"), issue(PrincipalKind::Node, "dc-1"));
    let group = Group::start_secured(10_000, replicas, user.clone()).await;
    create(&group, &new_request_id(), "MUG-1").await;
    let leader = group.leader().await;

    for at in 0..3 {
        // A user's order is taken through any replica: forwarded, it is still the user's.
        place_at(group.channel(at), order(&format!("E{at}"), "MUG-1", 1)).await.unwrap();
        let by_node = place_at(group.channel_as(&node, at), order("E9", "MUG-1", 1)).await.unwrap_err();
        assert_eq!(known_reason(&by_node), Some(Reason::NotAllowed), "{by_node:?}");

        // Nobody but a replica speaks for others.
        let mut request =
            tonic::Request::new(PlaceOrderRequest { order: Some(order("E9", "MUG-1", 1)), incarnation: 0 });
        request.metadata_mut().insert("stockmesh-on-behalf-of", "stockmesh://user/bob".parse().unwrap());
        let forged = OrderServiceClient::new(group.channel(at)).place_order(request).await.unwrap_err();
        assert_eq!(known_reason(&forged), Some(Reason::NotAllowed), "{forged:?}");

        // Raft is for replicas, a feed for whom it is meant.
        let (_requests, outgoing) = mpsc::channel(1);
        let raft = RaftServiceClient::new(group.channel(at)).send(ReceiverStream::new(outgoing)).await.unwrap_err();
        assert_eq!(known_reason(&raft), Some(Reason::NotAllowed), "{raft:?}");
        let feed = FeedId { participant: "coordinator/1".to_owned(), destination: "finance/main".to_owned(), epoch: 1 };
        let (requests, outgoing) = mpsc::channel(4);
        let cursor = Some(Head::START.to_wire());
        let hello = PullHello { feed: Some(FeedRef::from(&feed)), cursor, feature_level: 1 };
        requests.send(PullRequest { message: Some(pull_request::Message::Hello(hello)) }).await.unwrap();
        let mut client = FeedServiceClient::new(group.channel_as(&node, at));
        let mut responses = client.pull(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        let refused = responses.message().await.unwrap_err();
        assert_eq!(known_reason(&refused), Some(Reason::NotAllowed), "{refused:?}");
    }
    assert_eq!(get(&group, leader, "E0").await.state, i32::from(OrderState::Backordered));
    let request = GetOrderRequest { order_id: "E9".to_owned() };
    let none = OrderServiceClient::new(group.channel(leader)).get_order(request).await.unwrap_err();
    assert_eq!(known_reason(&none), Some(Reason::UnknownOrder), "what was refused changed nothing");
    group.end().await;
}
