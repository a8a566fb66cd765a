//! Verbs of counts.
//!
//! Must not know: how arguments are read.

use serde_json::{Value, json};
use stockmesh_proto::feed::v1::CountScope;
use stockmesh_proto::node::v1::count_service_client::CountServiceClient;
use stockmesh_proto::node::v1::*;
use stockmesh_service::output::print;
use stockmesh_service::{MAX_MESSAGE_BYTES, Security};

use super::args::{CountStep, CountTarget};
use super::{ask, pages, show};
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::lines::wire;

fn shown(client: &Client, count: Option<&Count>) {
    if let Some(count) = count {
        print(client.output, &show::count_table(count), &show::count_json(count));
    }
}

impl CountStep {
    pub(super) async fn execute(self, security: Security) -> Result<(), Failure> {
        match self {
            Self::Request { target, once, items, bins, zone, open, reference } => {
                let client = Client::new(target, security);
                let stock_keys = items.iter().filter_map(wire).collect();
                let scope = Some(CountScope { stock_keys, bins, zone });
                let (node, request_id) = (client.node().await?, once.id());
                let request = RequestCountRequest { node, request_id, scope, open, reference };
                shown(&client, ask!(client, CountServiceClient, request_count, request).count.as_ref());
            }
            Self::Start(CountTarget { target, once, count: count_id }) => {
                let client = Client::new(target, security);
                let request = StartCountRequest { node: client.node().await?, request_id: once.id(), count_id };
                shown(&client, ask!(client, CountServiceClient, start_count, request).count.as_ref());
            }
            Self::Record { count, line, quantity, item, position, units } => {
                let CountTarget { target, once, count: count_id } = count;
                let client = Client::new(target, security);
                let (counted, entered) = if quantity == 0 { (0, None) } else { units.quantity(quantity) };
                let figure = CountFigure {
                    line,
                    stock_key: item.as_ref().and_then(wire),
                    bin: units.bin.clone(),
                    lot: units.lot.clone(),
                    counted,
                    entered,
                    position_seq: position,
                    serials: units.serials.clone(),
                };
                let (node, request_id) = (client.node().await?, once.id());
                let request = RecordCountRequest { node, request_id, count_id, figures: vec![figure] };
                shown(&client, ask!(client, CountServiceClient, record_count, request).count.as_ref());
            }
            Self::Finish(CountTarget { target, once, count: count_id }) => {
                let client = Client::new(target, security);
                let request = FinishCountRequest { node: client.node().await?, request_id: once.id(), count_id };
                shown(&client, ask!(client, CountServiceClient, finish_count, request).count.as_ref());
            }
            Self::Review { count, decision, lines, note } => {
                let CountTarget { target, once, count: count_id } = count;
                let client = Client::new(target, security);
                let (node, request_id, decision) = (client.node().await?, once.id(), decision.wire());
                let request = ReviewCountRequest { node, request_id, count_id, decision, lines, note };
                shown(&client, ask!(client, CountServiceClient, review_count, request).count.as_ref());
            }
            Self::Cancel { count, note } => {
                let CountTarget { target, once, count: count_id } = count;
                let client = Client::new(target, security);
                let request = CancelCountRequest { node: client.node().await?, request_id: once.id(), count_id, note };
                shown(&client, ask!(client, CountServiceClient, cancel_count, request).count.as_ref());
            }
            Self::List { target } => {
                let client = Client::new(target, security);
                let request = ListCountsRequest { node: client.node().await?, ..Default::default() };
                let found = pages!(client, CountServiceClient, list_counts, request, counts, usize::MAX);
                let json: Vec<Value> = found.iter().map(show::count_json).collect();
                print(client.output, &show::counts_table(&found), &json!({ "counts": json }));
            }
            Self::Show { target, count: count_id } => {
                let client = Client::new(target, security);
                let request = GetCountRequest { node: client.node().await?, count_id };
                shown(&client, ask!(client, CountServiceClient, get_count, request).count.as_ref());
            }
            Self::Due { target, limit } => {
                let client = Client::new(target, security);
                let request = ListDueCountsRequest { node: client.node().await?, ..Default::default() };
                let found = pages!(client, CountServiceClient, list_due_counts, request, due, limit);
                let json: Vec<Value> = found.iter().map(show::due_json).collect();
                print(client.output, &show::due_table(&found), &json!({ "due": json }));
            }
        }
        Ok(())
    }
}
