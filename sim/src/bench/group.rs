//! Three replicas to measure, and what orders need: items, nodes, rights.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use stockmesh_proto::common::v1::{Grade, NodeKind, Place, StockKey};
use stockmesh_proto::coordinator::v1::catalog_service_client::CatalogServiceClient;
use stockmesh_proto::coordinator::v1::cluster_service_client::ClusterServiceClient;
use stockmesh_proto::coordinator::v1::network_service_client::NetworkServiceClient;
use stockmesh_proto::coordinator::v1::{
    CreateItemsRequest, GetClusterStatusRequest, GetClusterStatusResponse, Item, Node, NodeCosts, RegisterNodeRequest,
};
use stockmesh_proto::entry::Head;
use stockmesh_proto::feed::v1::entry_body::Fact;
use stockmesh_proto::feed::v1::{EntryBody, FeedEntry, RightsGranted};
use stockmesh_service::client::{Cluster, Dialer};
use stockmesh_service::link::{FeedSource, HelloInfo, LinkError, LinkState, run_push};
use stockmesh_service::request::new_request_id;
use stockmesh_service::tls::Security;
use stockmesh_types::FeedId;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tonic::transport::Channel;

use super::load::{Random, item_name};
use crate::network::ports;

/// How long something may take that should take moments.
const PATIENCE: Duration = Duration::from_secs(120);
/// Units of each item at each node: more than any run asks for.
const UNITS: i64 = 100_000_000;
/// Items of one call.
const ITEMS_AT_ONCE: usize = 1_000;
/// Nodes whose rights are sent at once.
const NODES_AT_ONCE: usize = 4;

/// Three replicas. Dropping it ends them.
pub(super) struct Group {
    addresses: Vec<String>,
    dialer: Dialer,
    client: Cluster,
    _replicas: Vec<Child>,
    /// Removed at the end; `None` when the folder was given.
    _folder: Option<TempDir>,
}

impl Group {
    pub async fn start(dir: Option<PathBuf>) -> anyhow::Result<Self> {
        let (dir, folder) = match dir {
            Some(dir) => (dir, None),
            None => {
                let folder = tempfile::Builder::new().prefix("stockmesh-bench-").tempdir()?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        std::fs::create_dir_all(&dir).with_context(|| format!("{} can't be made", dir.display()))?;
        let addresses: Vec<String> = ports::free(3)?.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let program = std::env::current_exe().context("this program's own file can't be found")?;
        let mut replicas = Vec::new();
        for (id, address) in (1..).zip(&addresses) {
            let mut config = toml::Table::new();
            config.insert("group".into(), 1.into());
            config.insert("replica_id".into(), i64::from(id).into());
            config.insert("listen".into(), address.as_str().into());
            config.insert("data_dir".into(), dir.join(format!("replica-{id}")).to_string_lossy().as_ref().into());
            config.insert("finance".into(), toml::Value::Array(vec!["main".into()]));
            let members = (1i64..).zip(&addresses).map(|(id, address)| {
                let mut member = toml::Table::new();
                member.insert("id".into(), id.into());
                member.insert("address".into(), address.as_str().into());
                toml::Value::Table(member)
            });
            config.insert("replicas".into(), toml::Value::Array(members.collect()));
            let file = dir.join(format!("replica-{id}.toml"));
            std::fs::write(&file, toml::to_string(&config)?)
                .with_context(|| format!("{} can't be written", file.display()))?;
            let log = std::fs::File::create(dir.join(format!("replica-{id}.log")))?;
            let child = Command::new(&program)
                .args([crate::SERVICE_ARGUMENT, "coordinator", "--insecure-dev", "serve", "--config"])
                .arg(&file)
                .env("RUST_LOG", "warn")
                .env("NO_COLOR", "1")
                .stdin(Stdio::null())
                .stdout(Stdio::from(log.try_clone()?))
                .stderr(Stdio::from(log))
                .kill_on_drop(true)
                .spawn()
                .context("a replica can't be started")?;
            replicas.push(child);
        }
        let dialer = Dialer::new(Security::InsecureDev);
        let client = Cluster::new(dialer.clone(), addresses.clone(), PATIENCE);
        let group = Self { addresses, dialer, client, _replicas: replicas, _folder: folder };
        group.leader().await?;
        Ok(group)
    }

    pub fn channel(&self, address: &str) -> anyhow::Result<Channel> {
        Ok(self.dialer.channel(address)?)
    }

    async fn status(&self, address: &str) -> Option<GetClusterStatusResponse> {
        let mut client = ClusterServiceClient::new(self.channel(address).ok()?);
        let status = client.get_cluster_status(GetClusterStatusRequest {});
        Some(tokio::time::timeout(Duration::from_secs(2), status).await.ok()?.ok()?.into_inner())
    }

    /// The leader's address, once there is one.
    pub async fn leader(&self) -> anyhow::Result<String> {
        let end = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < end {
            for address in &self.addresses {
                if let Some(status) = self.status(address).await
                    && status.leader_id == status.replica_id
                    && status.applied_index > 1
                {
                    return Ok(address.clone());
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("no replica became leader within {} s", PATIENCE.as_secs())
    }

    /// All replicas have applied the same log, to the same state.
    pub async fn agree(&self) -> anyhow::Result<bool> {
        let end = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < end {
            let mut seen = Vec::new();
            for address in &self.addresses {
                let status = self.status(address).await.with_context(|| format!("{address} does not answer"))?;
                seen.push((status.applied_index, status.state_hash));
            }
            if seen.iter().all(|(index, _)| *index == seen[0].0) {
                return Ok(seen.iter().all(|one| *one == seen[0]));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the replicas did not come to rest within {} s", PATIENCE.as_secs())
    }

    /// Items, nodes all over a country, and rights for every item at each of them.
    pub async fn stock(&self, nodes: u32, items: u32) -> anyhow::Result<()> {
        let names: Vec<String> = (0..items).map(item_name).collect();
        for names in names.chunks(ITEMS_AT_ONCE) {
            let items = names.iter().map(|name| Item { item: name.clone(), weight_grams: 250, ..Item::default() });
            let request = CreateItemsRequest { request_id: new_request_id(), items: items.collect() };
            let created = self.client.call(|channel| {
                let request = request.clone();
                async move { CatalogServiceClient::new(channel).create_items(request).await }
            });
            created.await?;
        }
        let mut random = Random::new(7);
        for n in 0..nodes {
            let node = Node {
                node: node_name(n),
                kind: NodeKind::Store.into(),
                place: Some(random.place()),
                legal_entity: "R".into(),
                costs: Some(NodeCosts {
                    handling_per_shipment_minor: 80 + random.below(120) as i64,
                    handling_per_unit_minor: 5 + random.below(20) as i64,
                    parcel_fixed_minor: 250,
                    parcel_per_kg_minor: 40,
                    parcel_per_kg_1000km_minor: 60,
                }),
                ..Node::default()
            };
            let request = RegisterNodeRequest { request_id: new_request_id(), node: Some(node) };
            let registered = self.client.call(|channel| {
                let request = request.clone();
                async move { NetworkServiceClient::new(channel).register_node(request).await }
            });
            registered.await?;
        }
        let names = Arc::new(names);
        let nodes: Vec<u32> = (0..nodes).collect();
        for nodes in nodes.chunks(NODES_AT_ONCE) {
            futures::future::try_join_all(nodes.iter().map(|node| self.grant(*node, names.clone()))).await?;
        }
        Ok(())
    }

    async fn grant(&self, node: u32, items: Arc<Vec<String>>) -> anyhow::Result<()> {
        let source = Arc::new(Granting::new(&node_name(node), &items));
        let (head, state) = (source.head, Arc::new(LinkState::new()));
        let (down, shutdown) = watch::channel(false);
        let hello = HelloInfo { group: 1, incarnation: 1 };
        let link = tokio::spawn(run_push(
            source,
            "coordinator/1".to_owned(),
            self.dialer.clone(),
            self.addresses.clone(),
            hello,
            state.clone(),
            shutdown,
        ));
        let end = tokio::time::Instant::now() + PATIENCE;
        while state.acknowledged_seq() < head.seq {
            if tokio::time::Instant::now() > end {
                bail!("the rights of a node were not taken within {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The link hears it, or has ended already.
        let _ = down.send(true);
        link.await?;
        Ok(())
    }
}

fn node_name(n: u32) -> String {
    format!("n{n}")
}

pub(super) fn stock_key(item: &str) -> StockKey {
    StockKey { item: item.to_owned(), grade: Grade::New.into(), ..StockKey::default() }
}

impl Random {
    /// Somewhere on an island of 900 by 400 kilometres.
    pub fn place(&mut self) -> Place {
        Place {
            country_code: "GB".into(),
            latitude_e7: 500_000_000 + self.below(80_000_000) as i32,
            longitude_e7: -50_000_000 + self.below(60_000_000) as i32,
            ..Place::default()
        }
    }
}

/// A node's feed in memory: it grants rights for every item.
struct Granting {
    feed: FeedId,
    entries: Vec<FeedEntry>,
    head: Head,
    heads: watch::Receiver<u64>,
    _sender: watch::Sender<u64>,
}

impl Granting {
    fn new(node: &str, items: &[String]) -> Self {
        let feed = FeedId { participant: format!("node/{node}"), destination: String::new(), epoch: 1 };
        let mut head = Head::START;
        let entry = |(time_ms, item): (i64, &String)| {
            let fact = Fact::RightsGranted(RightsGranted { stock_key: Some(stock_key(item)), granted_total: UNITS });
            let business_date = "2026-11-21".to_owned();
            head.append(
                &feed,
                &EntryBody { time_ms, business_date, group: 1, fact: Some(fact), ..EntryBody::default() },
            )
        };
        let entries: Vec<FeedEntry> = (1..).zip(items).map(entry).collect();
        let (sender, heads) = watch::channel(entries.len() as u64);
        Self { feed, entries, head, heads, _sender: sender }
    }
}

impl FeedSource for Granting {
    fn feed(&self) -> FeedId {
        self.feed.clone()
    }

    fn head(&self) -> Head {
        self.head
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.heads.clone()
    }

    async fn read(&self, after: u64, max_bytes: usize) -> Result<Vec<FeedEntry>, LinkError> {
        let from = usize::try_from(after).unwrap_or(usize::MAX).min(self.entries.len());
        let mut bytes = 0;
        let within = |entry: &&FeedEntry| {
            let first = bytes == 0;
            bytes += entry.body.len();
            first || bytes <= max_bytes
        };
        Ok(self.entries[from..].iter().take_while(within).cloned().collect())
    }

    async fn acknowledged(&self, _: &str, _: Head) -> Result<(), LinkError> {
        Ok(())
    }
}
