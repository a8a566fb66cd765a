//! The connection of client verbs to a node: one request at a time, repeated with the same id until it is answered.
//!
//! Must not know: what a verb means.

use std::time::Duration;

use serde_json::json;
use stockmesh_proto::node::v1::node_service_client::NodeServiceClient;
use stockmesh_proto::node::v1::{ListHostedNodesRequest, ListStockRequest, ListTasksRequest, StockLevel, Task};
use stockmesh_service::output::{OutputFormat, print};
use stockmesh_service::{Cluster, Dialer, MAX_MESSAGE_BYTES, Security};
use stockmesh_types::NodeId;
use tonic::transport::Channel;

use super::Failure;
use super::args::Target;
use super::show::{levels_json, levels_table, tasks_json, tasks_table};

/// A node that is asked.
pub(crate) struct Client {
    pub(crate) cluster: Cluster,
    node: Option<NodeId>,
    pub(crate) output: OutputFormat,
}

pub(crate) type Api = NodeServiceClient<Channel>;

pub(crate) fn api(channel: Channel) -> Api {
    NodeServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Sends one request and waits for its answer.
macro_rules! call {
    ($client:expr, $method:ident, $request:expr) => {{
        let request = $request;
        $client
            .cluster
            .call(|channel| {
                let request = request.clone();
                async move { $crate::cli::client::api(channel).$method(request).await }
            })
            .await?
    }};
}

/// The same with another service's client.
macro_rules! call_on {
    ($client:expr, $api:path, $method:ident, $request:expr) => {{
        use $api as Service;
        let request = $request;
        $client
            .cluster
            .call(|channel| {
                let request = request.clone();
                async move {
                    Service::new(channel)
                        .max_decoding_message_size(stockmesh_service::MAX_MESSAGE_BYTES)
                        .max_encoding_message_size(stockmesh_service::MAX_MESSAGE_BYTES)
                        .$method(request)
                        .await
                }
            })
            .await?
    }};
}

impl Client {
    pub(crate) fn new(target: Target, security: Security) -> Self {
        let Target { address, node, output, timeout } = target;
        let cluster = Cluster::new(Dialer::new(security), vec![address], Duration::from_secs(timeout));
        Self { cluster, node, output }
    }

    /// The node that is meant: the one named, or the only one.
    pub(crate) async fn node(&self) -> Result<String, Failure> {
        if let Some(node) = &self.node {
            return Ok(node.to_string());
        }
        let hosted = call!(self, list_hosted_nodes, ListHostedNodesRequest {}).nodes;
        match hosted.as_slice() {
            [only] => Ok(only.clone()),
            several => Err(Failure::Usage(format!("say which node with --node: {}", several.join(", ")))),
        }
    }

    pub(crate) fn levels(&self, id: &str, value: &str, levels: &[StockLevel]) {
        let json = json!({ id: value, "levels": levels_json(levels) });
        if self.output == OutputFormat::Table && !id.is_empty() {
            println!("{} {value}", id.replace('_', " "));
        }
        print(self.output, &levels_table(levels), &json);
    }

    pub(crate) fn tasks(&self, tasks: &[Task]) {
        print(self.output, &tasks_table(tasks), &json!({ "tasks": tasks_json(tasks) }));
    }

    pub(crate) async fn all_tasks(
        &self,
        open_only: bool,
        order_id: String,
        limit: usize,
    ) -> Result<Vec<Task>, Failure> {
        let mut request = ListTasksRequest {
            node: self.node().await?,
            page_size: 1_000,
            page_token: String::new(),
            open_only,
            order_id,
        };
        let mut tasks = Vec::new();
        loop {
            let page = call!(self, list_tasks, request.clone());
            tasks.extend(page.tasks);
            if page.next_page_token.is_empty() || tasks.len() >= limit {
                tasks.truncate(limit);
                return Ok(tasks);
            }
            request.page_token = page.next_page_token;
        }
    }

    pub(crate) async fn all_stock(&self, item: String, limit: usize) -> Result<Vec<StockLevel>, Failure> {
        let mut request =
            ListStockRequest { node: self.node().await?, page_size: 1_000, page_token: String::new(), item };
        let mut levels = Vec::new();
        loop {
            let page = call!(self, list_stock, request.clone());
            levels.extend(page.levels);
            if page.next_page_token.is_empty() || levels.len() >= limit {
                levels.truncate(limit);
                return Ok(levels);
            }
            request.page_token = page.next_page_token;
        }
    }
}

pub(crate) use {call, call_on};
