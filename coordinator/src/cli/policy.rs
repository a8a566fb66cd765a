//! `rights policy …` and `rights metrics`: what nodes keep for their counters, and what that costs.

use stockmesh_proto::common::v1::NodeKind;
use stockmesh_proto::coordinator::v1::grant_policy::{Items, Nodes};
use stockmesh_proto::coordinator::v1::grant_policy_service_client::GrantPolicyServiceClient;
use stockmesh_proto::coordinator::v1::{
    GetRightsMetricsRequest, GrantPolicy, ListGrantPoliciesRequest, ProposeGrantPoliciesRequest,
    SetGrantPoliciesRequest,
};
use stockmesh_service::output::{Table, print};
use stockmesh_service::request::new_request_id;

use super::master::KindArg;
use super::order_file::key;
use super::recovery::standing_word;
use super::{Asking, CliError, call, json};

#[derive(clap::Subcommand, Debug)]
pub(super) enum PolicyCommand {
    /// Set how much nodes keep back. Raising it gives free rights back to them
    #[command(group = clap::ArgGroup::new("nodes").required(true).args(["node", "kind"]))]
    Set {
        /// One node
        #[arg(long)]
        node: Option<String>,
        /// Every node of a kind that has no policy of its own for these items
        #[arg(long, value_enum)]
        kind: Option<KindArg>,
        /// Only this item
        #[arg(long, conflicts_with = "segment")]
        item: Option<String>,
        /// Only items of this ABC class; without it and without --item: every item that nothing else is said of
        #[arg(long, value_name = "A|B|C")]
        segment: Option<String>,
        /// Units that stay for display
        #[arg(long, default_value_t = 0)]
        floor: i64,
        /// Units for walk-in sales until the next delivery
        #[arg(long, default_value_t = 0)]
        walk_in_reserve: i64,
        /// Refuse when the policies changed since this version; 0: whatever it is
        #[arg(long, default_value_t = 0)]
        expected_version: u64,
        /// Id of this request, a UUIDv7: give it again to repeat the request
        #[arg(long, value_name = "UUID")]
        request_id: Option<String>,
    },
    /// Policies in force
    List,
    /// Walk-in reserves that counter sales at a node ask for. Nothing changes until they are set
    Propose {
        /// Node
        node: String,
        /// Days until the next delivery
        #[arg(long, default_value_t = 7)]
        cover_days: u32,
    },
}

#[derive(clap::Args, Debug)]
pub(super) struct MetricsArgs {
    /// A node counts as out of reach when nothing was heard of it for so long
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    silent: u32,
}

fn nodes_text(policy: &GrantPolicy) -> String {
    match &policy.nodes {
        Some(Nodes::Node(node)) => node.clone(),
        Some(Nodes::NodeKind(kind)) => format!("every {}", json::node_kind(*kind)),
        None => String::new(),
    }
}

fn items_text(policy: &GrantPolicy) -> String {
    match &policy.items {
        Some(Items::StockKey(key)) => json::stock_key_text(key),
        Some(Items::Segment(segment)) if segment.is_empty() => "every other item".to_owned(),
        Some(Items::Segment(segment)) => format!("class {segment}"),
        None => String::new(),
    }
}

pub(super) async fn run_policy(asking: &Asking, command: PolicyCommand) -> Result<(), CliError> {
    match command {
        PolicyCommand::Set { node, kind, item, segment, floor, walk_in_reserve, expected_version, request_id } => {
            let nodes = match (node, kind) {
                (Some(node), _) => Nodes::Node(node),
                (None, Some(kind)) => Nodes::NodeKind(NodeKind::from(kind).into()),
                (None, None) => return Err(CliError::Usage("name a node or a kind of nodes".to_owned())),
            };
            let items = match item {
                Some(item) => Items::StockKey(key(&item)),
                None => Items::Segment(segment.unwrap_or_default()),
            };
            let policy =
                GrantPolicy { nodes: Some(nodes), items: Some(items), floor, walk_in_reserve, ..Default::default() };
            let request_id = request_id.unwrap_or_else(new_request_id);
            let request = SetGrantPoliciesRequest { request_id, policies: vec![policy], expected_version };
            let version = call!(asking, GrantPolicyServiceClient, set_grant_policies, request)?.version;
            let table = Table::new(&["version"]).row(vec![version.to_string()]);
            print(asking.output, &table, &serde_json::json!({ "version": version }));
        }
        PolicyCommand::List => {
            let (mut policies, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = ListGrantPoliciesRequest { page_size: 1_000, page_token };
                let response = call!(asking, GrantPolicyServiceClient, list_grant_policies, request)?;
                policies.extend(response.policies);
                page_token = response.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            let mut table = Table::new(&["nodes", "items", "floor", "walk-in reserve", "version"]);
            for policy in &policies {
                table.push(vec![
                    nodes_text(policy),
                    items_text(policy),
                    policy.floor.to_string(),
                    policy.walk_in_reserve.to_string(),
                    policy.version.to_string(),
                ]);
            }
            let value = policies.iter().map(|policy| {
                serde_json::json!({
                    "nodes": nodes_text(policy), "items": items_text(policy), "floor": policy.floor,
                    "walk_in_reserve": policy.walk_in_reserve, "version": policy.version,
                })
            });
            print(asking.output, &table, &value.collect());
        }
        PolicyCommand::Propose { node, cover_days } => propose(asking, node, cover_days).await?,
    }
    Ok(())
}

async fn propose(asking: &Asking, node: String, cover_days: u32) -> Result<(), CliError> {
    let (mut proposals, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ProposeGrantPoliciesRequest { node: node.clone(), cover_days, page_size: 1_000, page_token };
        let response = call!(asking, GrantPolicyServiceClient, propose_grant_policies, request)?;
        proposals.extend(response.proposals);
        page_token = response.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let mut table = Table::new(&["item", "sold a day", "present reserve", "proposed reserve", "floor"]);
    let mut values = Vec::new();
    for proposal in &proposals {
        let policy = proposal.policy.clone().unwrap_or_default();
        let milli = proposal.velocity_milli_per_day;
        table.push(vec![
            items_text(&policy),
            format!("{}.{:03}", milli / 1_000, milli % 1_000),
            proposal.present_walk_in_reserve.to_string(),
            policy.walk_in_reserve.to_string(),
            policy.floor.to_string(),
        ]);
        values.push(serde_json::json!({
            "node": node, "items": items_text(&policy), "velocity_milli_per_day": milli,
            "present_walk_in_reserve": proposal.present_walk_in_reserve,
            "walk_in_reserve": policy.walk_in_reserve, "floor": policy.floor,
        }));
    }
    print(asking.output, &table, &values.into());
    Ok(())
}

pub(super) async fn run_metrics(asking: &Asking, args: MetricsArgs) -> Result<(), CliError> {
    let (mut nodes, mut page_token) = (Vec::new(), String::new());
    loop {
        let silent_ms = i64::from(args.silent) * 1_000;
        let request = GetRightsMetricsRequest { silent_ms, page_size: 1_000, page_token };
        let response = call!(asking, GrantPolicyServiceClient, get_rights_metrics, request)?;
        nodes.extend(response.nodes);
        page_token = response.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let mut table =
        Table::new(&["node", "rights", "silent", "stranded", "counter asked", "given back", "lost counter sales"]);
    let mut values = Vec::new();
    for node in &nodes {
        table.push(vec![
            node.node.clone(),
            standing_word(node.standing).to_owned(),
            if node.silent { "yes".to_owned() } else { "no".to_owned() },
            node.stranded_units.to_string(),
            node.recall_requested_units.to_string(),
            node.recall_returned_units.to_string(),
            node.lost_counter_units.to_string(),
        ]);
        values.push(serde_json::json!({
            "node": node.node, "standing": standing_word(node.standing), "silent": node.silent,
            "heard_time_ms": node.heard_time_ms, "stranded_units": node.stranded_units,
            "recall_requested_units": node.recall_requested_units,
            "recall_returned_units": node.recall_returned_units, "lost_counter_units": node.lost_counter_units,
        }));
    }
    print(asking.output, &table, &values.into());
    Ok(())
}
