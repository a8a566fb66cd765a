//! `item …` and `node …`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use stockmesh_proto::common::v1::{NodeKind, Place};
use stockmesh_proto::coordinator::v1::catalog_service_client::CatalogServiceClient;
use stockmesh_proto::coordinator::v1::network_service_client::NetworkServiceClient;
use stockmesh_proto::coordinator::v1::{
    CreateItemsRequest, Item, ListItemsRequest, ListNodesRequest, Node, NodeCosts, RangeItemsRequest,
    RegisterNodeRequest,
};
use stockmesh_service::output::{Table, print};
use stockmesh_service::request::new_request_id;

use tonic::Status;

use super::recovery::{RecoveryCommand, RetireCommand, standing_word};
use super::{Asking, CliError, call, json};

#[derive(clap::Subcommand, Debug)]
pub(super) enum ItemCommand {
    /// Create one item, or those of a CSV file
    #[command(group = clap::ArgGroup::new("which").required(true).args(["item", "file"]))]
    Create {
        /// SKU
        item: Option<String>,
        /// Description
        #[arg(long, default_value = "")]
        description: String,
        /// Weight of a base unit in grams
        #[arg(long, default_value_t = 500)]
        weight_grams: i64,
        /// CSV with a heading and columns item, description, weight_grams
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List items in the order of their creation
    List {
        /// At most this many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum KindArg {
    DistributionCenter,
    Store,
    DarkStore,
    ThirdPartyLogistics,
    DropShipSupplier,
}

impl From<KindArg> for NodeKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::DistributionCenter => Self::DistributionCenter,
            KindArg::Store => Self::Store,
            KindArg::DarkStore => Self::DarkStore,
            KindArg::ThirdPartyLogistics => Self::ThirdPartyLogistics,
            KindArg::DropShipSupplier => Self::DropShipSupplier,
        }
    }
}

#[derive(clap::Subcommand, Debug)]
pub(super) enum NodeCommand {
    /// Register a node
    Register(RegisterArgs),
    /// List nodes in the order of their registration
    List,
    /// Epochs of a node whose store was restored or replaced
    #[command(subcommand)]
    Recovery(RecoveryCommand),
    /// Give a node up as lost: two people
    #[command(subcommand)]
    Retire(RetireCommand),
    /// Say which items a node may handle
    Range {
        /// Node
        node: String,
        /// Items
        #[arg(required_unless_present = "all")]
        items: Vec<String>,
        /// Every item of the catalog
        #[arg(long, conflicts_with = "items")]
        all: bool,
        /// Wait up to this long until the node has taken it: then it accepts the goods
        #[arg(long, value_name = "SECONDS")]
        wait: Option<u64>,
    },
}

#[derive(clap::Args, Debug)]
pub(super) struct RegisterArgs {
    /// Node: a-z 0-9 -, the first a letter
    node: String,
    /// Kind
    #[arg(long, value_enum)]
    kind: KindArg,
    /// Country, ISO 3166-1 alpha-2
    #[arg(long, default_value = "GB")]
    country: String,
    /// Postal code
    #[arg(long, default_value = "")]
    postal_code: String,
    /// Latitude in 1e-7 degrees
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    latitude_e7: i32,
    /// Longitude in 1e-7 degrees
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    longitude_e7: i32,
    /// Legal entity whose books its stock is in
    #[arg(long, value_name = "ENTITY", default_value = "MAIN")]
    entity: String,
    /// Handling per shipment, minor units
    #[arg(long, default_value_t = 100)]
    handling_per_shipment_minor: i64,
    /// Handling per unit, minor units
    #[arg(long, default_value_t = 20)]
    handling_per_unit_minor: i64,
    /// Carrier: per parcel, minor units
    #[arg(long, default_value_t = 300)]
    parcel_fixed_minor: i64,
    /// Carrier: per started kilogram, minor units
    #[arg(long, default_value_t = 50)]
    parcel_per_kg_minor: i64,
    /// Carrier: per kilogram and 1,000 km, minor units
    #[arg(long, default_value_t = 100)]
    parcel_per_kg_1000km_minor: i64,
}

/// Items of one request.
const AT_ONCE: usize = 1_000;

pub(super) async fn run_item(asking: &Asking, command: ItemCommand) -> Result<(), CliError> {
    match command {
        ItemCommand::Create { item, description, weight_grams, file } => {
            let items = match (item, file) {
                (Some(item), _) => vec![Item { item, description, weight_grams, ..Item::default() }],
                (None, Some(path)) => read_items(&path)?,
                // clap asks for one of them.
                (None, None) => Vec::new(),
            };
            let (mut created, mut existing) = (0, 0);
            for some in items.chunks(AT_ONCE) {
                let request = CreateItemsRequest { request_id: new_request_id(), items: some.to_vec() };
                let response = call!(asking, CatalogServiceClient, create_items, request)?;
                created += response.created;
                existing += response.existing;
            }
            let table = Table::new(&["created", "existing"]).row(vec![created.to_string(), existing.to_string()]);
            print(asking.output, &table, &serde_json::json!({ "created": created, "existing": existing }));
        }
        ItemCommand::List { limit } => {
            let items = list_items(asking, limit).await?;
            let mut table = Table::new(&["item", "description", "weight (g)"]);
            for item in &items {
                table.push(vec![item.item.clone(), item.description.clone(), item.weight_grams.to_string()]);
            }
            print(asking.output, &table, &items.iter().map(json::item).collect());
        }
    }
    Ok(())
}

fn read_items(path: &std::path::Path) -> Result<Vec<Item>, CliError> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        item: String,
        description: String,
        weight_grams: i64,
    }
    let wrong = |error: csv::Error| CliError::Usage(format!("{}: {error}", path.display()));
    let mut reader = csv::Reader::from_path(path).map_err(wrong)?;
    reader
        .deserialize::<Row>()
        .map(|row| {
            let item =
                |Row { item, description, weight_grams }| Item { item, description, weight_grams, ..Item::default() };
            row.map(item).map_err(wrong)
        })
        .collect()
}

async fn list_items(asking: &Asking, limit: usize) -> Result<Vec<Item>, CliError> {
    let (mut items, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListItemsRequest { page_size: 1_000, page_token };
        let response = call!(asking, CatalogServiceClient, list_items, request)?;
        items.extend(response.items);
        page_token = response.next_page_token;
        if page_token.is_empty() || items.len() >= limit {
            items.truncate(limit);
            return Ok(items);
        }
    }
}

pub(super) async fn run_node(asking: &Asking, command: NodeCommand) -> Result<(), CliError> {
    match command {
        NodeCommand::Register(args) => {
            let request = RegisterNodeRequest { request_id: new_request_id(), node: Some(node_of(args)) };
            let response = call!(asking, NetworkServiceClient, register_node, request)?;
            let node = response.node.unwrap_or_default();
            print(asking.output, &nodes_table(std::slice::from_ref(&node)), &json::node(&node));
        }
        NodeCommand::Recovery(command) => super::recovery::run_recovery(asking, command).await?,
        NodeCommand::Retire(command) => super::recovery::run_retire(asking, command).await?,
        NodeCommand::List => {
            let nodes = list_nodes(asking).await?;
            print(asking.output, &nodes_table(&nodes), &nodes.iter().map(json::node).collect());
        }
        NodeCommand::Range { node, items, all, wait } => {
            let items = if all {
                list_items(asking, usize::MAX).await?.into_iter().map(|item| item.item).collect()
            } else {
                items
            };
            let mut ranged = 0;
            for some in items.chunks(AT_ONCE) {
                let request =
                    RangeItemsRequest { request_id: new_request_id(), node: node.clone(), items: some.to_vec() };
                ranged += call!(asking, NetworkServiceClient, range_items, request)?.ranged;
            }
            let table = Table::new(&["node", "newly ranged"]).row(vec![node.clone(), ranged.to_string()]);
            if let Some(seconds) = wait {
                until_taken(asking, &node, Duration::from_secs(seconds)).await?;
            }
            print(asking.output, &table, &serde_json::json!({ "node": node, "ranged": ranged }));
        }
    }
    Ok(())
}

/// How often a waiting command looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Waits until the node has acknowledged everything that was sent to it so far.
async fn until_taken(asking: &Asking, node: &str, patience: Duration) -> Result<(), CliError> {
    let end = Instant::now() + patience;
    let mut sent = None;
    loop {
        let nodes = list_nodes(asking).await?;
        let Some(known) = nodes.iter().find(|known| known.node == node) else {
            return Err(CliError::Usage(format!("node {node} is not registered")));
        };
        // What is sent later need not be waited for.
        let sent = *sent.get_or_insert(known.work_seq);
        if known.work_acknowledged_seq >= sent {
            return Ok(());
        }
        if Instant::now() >= end {
            let (taken, seconds) = (known.work_acknowledged_seq, patience.as_secs());
            let message = format!(
                "node {node} has taken {taken} of {sent} entries after {seconds} s: is it running, and linked? See its `status`"
            );
            return Err(Status::unavailable(message).into());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn list_nodes(asking: &Asking) -> Result<Vec<Node>, CliError> {
    let (mut nodes, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListNodesRequest { page_size: 1_000, page_token };
        let response = call!(asking, NetworkServiceClient, list_nodes, request)?;
        nodes.extend(response.nodes);
        page_token = response.next_page_token;
        if page_token.is_empty() {
            return Ok(nodes);
        }
    }
}

fn node_of(args: RegisterArgs) -> Node {
    let kind = NodeKind::from(args.kind);
    Node {
        node: args.node,
        kind: kind.into(),
        place: Some(Place {
            country_code: args.country,
            postal_code: args.postal_code,
            latitude_e7: args.latitude_e7,
            longitude_e7: args.longitude_e7,
        }),
        legal_entity: args.entity,
        costs: Some(NodeCosts {
            handling_per_shipment_minor: args.handling_per_shipment_minor,
            handling_per_unit_minor: args.handling_per_unit_minor,
            parcel_fixed_minor: args.parcel_fixed_minor,
            parcel_per_kg_minor: args.parcel_per_kg_minor,
            parcel_per_kg_1000km_minor: args.parcel_per_kg_1000km_minor,
        }),
        ..Node::default()
    }
}

fn nodes_table(nodes: &[Node]) -> Table {
    let mut table =
        Table::new(&["node", "kind", "entity", "country", "epoch", "its feed", "work sent", "work taken", "rights"]);
    for node in nodes {
        table.push(vec![
            node.node.clone(),
            json::node_kind(node.kind),
            node.legal_entity.clone(),
            node.place.as_ref().map_or_else(String::new, |place| place.country_code.clone()),
            node.epoch.to_string(),
            node.feed_seq.to_string(),
            node.work_seq.to_string(),
            node.work_acknowledged_seq.to_string(),
            standing_word(node.standing).to_owned(),
        ]);
    }
    table
}
