//! Typed clients of a network. They follow the leader, and repeat what found nobody, always with the same request.

use std::collections::BTreeMap;
use std::time::Duration;

use stockmesh_proto::coordinator::v1 as coordinator;
use stockmesh_proto::coordinator::v1::availability_service_client::AvailabilityServiceClient;
use stockmesh_proto::coordinator::v1::catalog_service_client::CatalogServiceClient;
use stockmesh_proto::coordinator::v1::cluster_service_client::ClusterServiceClient;
use stockmesh_proto::coordinator::v1::network_service_client::NetworkServiceClient;
use stockmesh_proto::coordinator::v1::order_service_client::OrderServiceClient;
use stockmesh_proto::feed::v1::feed_service_client::FeedServiceClient;
use stockmesh_proto::feed::v1::{FeedPosition, FeedRef, PullHello, PullRequest, pull_request, pull_response};
use stockmesh_proto::finance::v1::ledger_service_client::LedgerServiceClient;
use stockmesh_proto::node::v1::node_service_client::NodeServiceClient;
use stockmesh_service::client::{Cluster, Dialer};
use tonic::Status;
use tonic::transport::Channel;

use super::NetworkError;
use super::config::Plan;
use super::process::ServiceKind;

/// Largest answer that is taken: pages of long orders are large.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// How long a call goes on trying: longer than any process is away in a demo.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long a replica may take to say where a feed ends.
const AUDIT_DEADLINE: Duration = Duration::from_secs(5);

/// Clients of every service. Cheap to clone.
#[derive(Clone)]
pub struct Clients {
    coordinator: Cluster,
    nodes: BTreeMap<String, Cluster>,
    finance: Cluster,
    replicas: Vec<(String, Channel)>,
    auditors: Vec<Cluster>,
}

macro_rules! typed {
    ($(#[$doc:meta])* $name:ident, $client:ident) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(channel: Channel) -> $client<Channel> {
            $client::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES).max_encoding_message_size(MAX_ANSWER_BYTES)
        }
    };
}

typed!(
    /// Orders.
    orders, OrderServiceClient
);
typed!(
    /// Items.
    catalog, CatalogServiceClient
);
typed!(
    /// Nodes of the network.
    network, NetworkServiceClient
);
typed!(
    /// Rights.
    availability, AvailabilityServiceClient
);
typed!(
    /// The group.
    cluster, ClusterServiceClient
);
typed!(
    /// A node's stock and work.
    node, NodeServiceClient
);
typed!(
    /// The books.
    ledger, LedgerServiceClient
);

impl Clients {
    /// Clients of a planned network.
    ///
    /// # Errors
    /// [`NetworkError::Tls`], [`NetworkError::Dial`].
    pub fn new(plan: &Plan) -> Result<Self, NetworkError> {
        let dialer = Dialer::new(plan.security()?);
        let replicas = plan.addresses(ServiceKind::Coordinator);
        let mut nodes = BTreeMap::new();
        for process in &plan.processes {
            let cluster = Cluster::new(dialer.clone(), vec![process.address.clone()], DEADLINE);
            for hosted in &process.nodes {
                nodes.insert(hosted.clone(), cluster.clone());
            }
        }
        let channels: Result<Vec<_>, NetworkError> =
            replicas.iter().map(|address| Ok((address.clone(), dialer.channel(address)?))).collect();
        let auditor = Dialer::new(plan.auditor()?);
        let auditors = replicas
            .iter()
            .map(|replica| Cluster::new(auditor.clone(), vec![replica.clone()], AUDIT_DEADLINE))
            .collect();
        Ok(Self {
            coordinator: Cluster::new(dialer.clone(), replicas.clone(), DEADLINE),
            nodes,
            finance: Cluster::new(dialer, plan.addresses(ServiceKind::Finance), DEADLINE),
            replicas: channels?,
            auditors,
        })
    }

    /// The coordinator group: `clients.coordinator().call(|channel| async move { orders(channel).place_order(…).await })`.
    #[must_use]
    pub fn coordinator(&self) -> &Cluster {
        &self.coordinator
    }

    /// The process of a node.
    ///
    /// # Errors
    /// `NOT_FOUND` for a node that the network does not have.
    pub fn node(&self, node: &str) -> Result<&Cluster, Status> {
        self.nodes.get(node).ok_or_else(|| Status::not_found(format!("this network has no node {node:?}")))
    }

    /// Finance.
    #[must_use]
    pub fn finance(&self) -> &Cluster {
        &self.finance
    }

    /// Names of the nodes.
    pub fn node_names(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// Status of each replica, by address; `None`: no answer within half a second.
    pub async fn replica_statuses(&self) -> Vec<(String, Option<coordinator::GetClusterStatusResponse>)> {
        let calls = self.replicas.iter().map(|(address, channel)| async move {
            let mut client = cluster(channel.clone());
            let call = client.get_cluster_status(coordinator::GetClusterStatusRequest {});
            let answer = tokio::time::timeout(Duration::from_millis(500), call).await;
            (address.clone(), answer.ok().and_then(Result::ok).map(tonic::Response::into_inner))
        });
        futures::future::join_all(calls).await
    }

    /// Raft id of the leader: the one that itself says so, in the highest term.
    pub async fn leader(&self) -> Option<u64> {
        let statuses = self.replica_statuses().await;
        let leaders = statuses.into_iter().filter_map(|(_, status)| status).filter(|s| s.leader_id == s.replica_id);
        leaders.max_by_key(|status| status.term).map(|status| status.replica_id)
    }

    /// Where the coordinator's feed to finance ends, asked as finance would ask: from the position that finance has. Of the
    /// replicas' answers, the furthest.
    ///
    /// # Errors
    /// When no replica answers.
    pub async fn finance_feed_head(&self, feed: &FeedRef, cursor: &FeedPosition) -> Result<FeedPosition, Status> {
        let heads = self.auditors.iter().map(|replica| {
            replica.call(|channel| async move { feed_head(channel, feed.clone(), cursor.clone()).await })
        });
        let mut furthest = Err(Status::unavailable("there is no replica"));
        for head in futures::future::join_all(heads).await {
            let seq = |head: &Result<FeedPosition, Status>| head.as_ref().map_or(0, |head| head.seq);
            if furthest.is_err() || seq(&head) > seq(&furthest) {
                furthest = head;
            }
        }
        furthest
    }
}

async fn feed_head(
    channel: Channel,
    feed: FeedRef,
    cursor: FeedPosition,
) -> Result<tonic::Response<FeedPosition>, Status> {
    let hello = PullHello { feed: Some(feed), cursor: Some(cursor), feature_level: stockmesh_proto::FEATURE_LEVEL };
    let hello = PullRequest { message: Some(pull_request::Message::Hello(hello)) };
    // The request stream stays open: at its end the link would be over before the answer.
    let requests = tokio_stream::StreamExt::chain(tokio_stream::iter([hello]), tokio_stream::pending());
    let mut client = FeedServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
    let mut answers = client.pull(requests).await?;
    let first = answers.get_mut().message().await?;
    match first.and_then(|first| first.message) {
        Some(pull_response::Message::Welcome(welcome)) => {
            let head = welcome.head.ok_or_else(|| Status::internal("the welcome names no head"))?;
            Ok(tonic::Response::new(head))
        }
        _ => Err(Status::unavailable("the pull of a feed began without a welcome")),
    }
}
