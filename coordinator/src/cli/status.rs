//! `atp …`, `cells …`, `rights …`, `cluster …`.

use stockmesh_proto::coordinator::v1::availability_service_client::AvailabilityServiceClient;
use stockmesh_proto::coordinator::v1::cluster_service_client::ClusterServiceClient;
use stockmesh_proto::coordinator::v1::{
    Cell, GetAvailabilityRequest, GetClusterStatusRequest, GetClusterStatusResponse, ListCellsRequest, ReadConsistency,
    RecallRightsRequest,
};
use stockmesh_service::output::{Table, print};
use stockmesh_service::request::new_request_id;
use stockmesh_service::status::explain;
use tonic::{Request, Status};

use super::order_file::key;
use super::policy::{self, MetricsArgs, PolicyCommand};
use super::{Asking, CliError, call, json};

#[derive(clap::Subcommand, Debug)]
pub(super) enum AtpCommand {
    /// What can be promised of items now, and from where
    Get {
        /// Items
        #[arg(required = true)]
        items: Vec<String>,
        /// Read at least what is committed now, not what this replica happens to know
        #[arg(long)]
        linearizable: bool,
    },
    /// Totals of items over all nodes, with how old they may be
    Totals {
        /// Items, up to 10,000
        #[arg(required = true)]
        items: Vec<String>,
        /// Ask the leader first when the replica may lack what was committed so long ago; 0: whatever it has
        #[arg(long, value_name = "MS", default_value_t = 0)]
        max_staleness_ms: u32,
    },
    /// Totals, and then each change as it happens; goes on at another replica when one ends
    Watch {
        /// Items; none: all
        items: Vec<String>,
        /// Gather changes for so long, 10 to 60,000
        #[arg(long, value_name = "MS", default_value_t = 100)]
        interval_ms: u32,
        /// End when everything was shown once
        #[arg(long)]
        once: bool,
    },
}

#[derive(clap::Subcommand, Debug)]
pub(super) enum CellsCommand {
    /// Rights granted, promised and free
    List {
        /// Only this node
        #[arg(long)]
        node: Option<String>,
        /// Only this item
        #[arg(long)]
        item: Option<String>,
    },
}

#[derive(clap::Subcommand, Debug)]
pub(super) enum RightsCommand {
    /// How much nodes keep back for their counters
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Rights behind silent nodes, and counter sales that promises cost
    Metrics(MetricsArgs),
    /// Give free rights back to a node, for its counter
    Recall {
        /// Node
        node: String,
        /// Item
        item: String,
        /// Units
        quantity: i64,
        /// Id of this request, a UUIDv7: give it again to repeat the request
        #[arg(long, value_name = "UUID")]
        request_id: Option<String>,
    },
}

#[derive(clap::Subcommand, Debug)]
pub(super) enum ClusterCommand {
    /// Every address given, as it sees the group: leader, term, log, state
    Status,
    /// Members of the group: who votes, who learns, who was removed
    #[command(subcommand)]
    Member(super::members::MemberCommand),
    /// Let another voter lead: before its machine goes down, or because its clock is off
    Transfer {
        /// Replica id of the voter; none: the one that has most of the log
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        to: u64,
    },
    /// Allow what this release brought, once every replica runs it. There is no way back
    RaiseLevel {
        /// Feature level; none: the highest that all members speak
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        level: u32,
    },
}

pub(super) async fn run_atp(asking: &Asking, command: AtpCommand) -> Result<(), CliError> {
    let (items, linearizable) = match command {
        AtpCommand::Get { items, linearizable } => (items, linearizable),
        AtpCommand::Totals { items, max_staleness_ms } => {
            return super::bulk::totals(asking, &items, max_staleness_ms).await;
        }
        AtpCommand::Watch { items, interval_ms, once } => {
            return super::bulk::watch(asking, &items, interval_ms, once).await;
        }
    };
    let consistency = if linearizable { ReadConsistency::Linearizable } else { ReadConsistency::Local };
    let request = GetAvailabilityRequest {
        stock_keys: items.iter().map(|item| key(item)).collect(),
        consistency: consistency.into(),
    };
    let response = call!(asking, AvailabilityServiceClient, get_availability, request)?;
    let mut table = Table::new(&["item", "available", "waiting", "from"]);
    for availability in &response.availability {
        let from: Vec<String> =
            availability.nodes.iter().map(|node| format!("{} {}", node.available, node.node)).collect();
        table.push(vec![
            availability.stock_key.as_ref().map_or_else(String::new, json::stock_key_text),
            availability.available_to_fulfill.to_string(),
            availability.backordered.to_string(),
            from.join(", "),
        ]);
    }
    let value = serde_json::json!({
        "as_of_time_ms": response.as_of_time_ms,
        "as_of_index": response.as_of_index,
        "availability": response.availability.iter().map(json::availability).collect::<Vec<_>>(),
    });
    print(asking.output, &table, &value);
    Ok(())
}

pub(super) async fn run_cells(asking: &Asking, command: CellsCommand) -> Result<(), CliError> {
    let CellsCommand::List { node, item } = command;
    let (node, item) = (node.unwrap_or_default(), item.unwrap_or_default());
    let (mut cells, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListCellsRequest { page_size: 1_000, page_token, node: node.clone(), item: item.clone() };
        let response = call!(asking, AvailabilityServiceClient, list_cells, request)?;
        cells.extend(response.cells);
        page_token = response.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    print(asking.output, &cells_table(&cells), &cells.iter().map(json::cell).collect());
    Ok(())
}

pub(super) async fn run_rights(asking: &Asking, command: RightsCommand) -> Result<(), CliError> {
    let (node, item, quantity, request_id) = match command {
        RightsCommand::Policy(command) => return policy::run_policy(asking, command).await,
        RightsCommand::Metrics(args) => return policy::run_metrics(asking, args).await,
        RightsCommand::Recall { node, item, quantity, request_id } => (node, item, quantity, request_id),
    };
    let request_id = request_id.unwrap_or_else(new_request_id);
    let request = RecallRightsRequest { request_id, node, stock_key: Some(key(&item)), quantity };
    let cell = call!(asking, AvailabilityServiceClient, recall_rights, request)?.cell.unwrap_or_default();
    print(asking.output, &cells_table(std::slice::from_ref(&cell)), &json::cell(&cell));
    Ok(())
}

fn cells_table(cells: &[Cell]) -> Table {
    let mut table =
        Table::new(&["node", "item", "granted", "returned", "shipped", "open", "held", "free", "shortfall"]);
    for cell in cells {
        let id = cell.id.clone().unwrap_or_default();
        let numbers =
            [cell.granted, cell.returned, cell.shipped, cell.open, cell.held, cell.free, cell.shortfall_level];
        let mut row = vec![id.node, id.stock_key.as_ref().map_or_else(String::new, json::stock_key_text)];
        row.extend(numbers.iter().map(i64::to_string));
        table.push(row);
    }
    table
}

pub(super) async fn run_cluster(asking: &Asking, command: ClusterCommand) -> Result<(), CliError> {
    match command {
        ClusterCommand::Status => cluster_status(asking).await,
        ClusterCommand::Member(command) => super::members::run(asking, command).await,
        ClusterCommand::Transfer { to } => super::members::transfer(asking, to).await,
        ClusterCommand::RaiseLevel { level } => super::members::raise_level(asking, level).await,
    }
}

async fn cluster_status(asking: &Asking) -> Result<(), CliError> {
    let mut table = Table::new(&[
        "address",
        "replica",
        "role",
        "term",
        "committed",
        "applied",
        "orders",
        "open",
        "waiting",
        "state",
    ]);
    let (mut values, mut answered, mut last) = (Vec::new(), 0, None);
    for address in &asking.addresses {
        match ask_one(asking, address).await {
            Ok(status) => {
                answered += 1;
                table.push(row_of(address, &status));
                let mut value = json::cluster(&status);
                value["address"] = address.as_str().into();
                values.push(value);
            }
            Err(status) => {
                let mut row = vec![address.clone(), "?".to_owned(), "no answer".to_owned()];
                row.resize(10, String::new());
                table.push(row);
                values.push(serde_json::json!({ "address": address, "error": explain(&status) }));
                last = Some(status);
            }
        }
    }
    match last {
        Some(status) if answered == 0 => Err(status.into()),
        _ => {
            print(asking.output, &table, &values.into());
            Ok(())
        }
    }
}

fn row_of(address: &str, status: &GetClusterStatusResponse) -> Vec<String> {
    let role = if status.leader_id == status.replica_id {
        "leader".to_owned()
    } else if status.leader_id == 0 {
        "no leader known".to_owned()
    } else {
        format!("follows {}", status.leader_id)
    };
    vec![
        address.to_owned(),
        status.replica_id.to_string(),
        role,
        status.term.to_string(),
        status.commit_index.to_string(),
        status.applied_index.to_string(),
        status.orders.to_string(),
        status.open_orders.to_string(),
        status.backordered_units.to_string(),
        status.state_hash.chars().take(12).collect(),
    ]
}

/// One replica, whatever it is: the cluster's client would go on to the next.
async fn ask_one(asking: &Asking, address: &str) -> Result<GetClusterStatusResponse, Status> {
    let channel = asking.dialer.channel(address).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let mut request = Request::new(GetClusterStatusRequest {});
    request.set_timeout(std::time::Duration::from_secs(3));
    ClusterServiceClient::new(channel).get_cluster_status(request).await.map(tonic::Response::into_inner)
}
