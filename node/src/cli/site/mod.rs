//! Verbs about stock, expected receipts, counts, exceptions and the node's own feed.
//!
//! Must not know: how arguments are read, how a node is reached.

pub(crate) mod args;
mod counts;
mod epcis;
mod import;
mod show;

use args::{BinStep, ExceptionStep, FeedFormat, FeedStep, InboundStep, SiteVerb};
use prost::Message;
use serde_json::{Value, json};
use stockmesh_node_core::movements;
use stockmesh_proto::common::v1 as common;
use stockmesh_proto::feed::v1 as feed;
use stockmesh_proto::feed::v1::EntryBody;
use stockmesh_proto::node::v1::exception_service_client::ExceptionServiceClient;
use stockmesh_proto::node::v1::inbound_service_client::InboundServiceClient;
use stockmesh_proto::node::v1::stock_service_client::StockServiceClient;
use stockmesh_proto::node::v1::*;
use stockmesh_service::output::print;
use stockmesh_service::{MAX_MESSAGE_BYTES, Security};

use super::Failure;
use super::client::{Client, call};
use super::lines::wire;

/// Sends one request to a service of the node and waits for its answer.
macro_rules! ask {
    ($client:expr, $service:ident, $method:ident, $request:expr) => {{
        let request = $request;
        $client
            .cluster
            .call(|channel| {
                let request = request.clone();
                async move {
                    $service::new(channel)
                        .max_decoding_message_size(MAX_MESSAGE_BYTES)
                        .max_encoding_message_size(MAX_MESSAGE_BYTES)
                        .$method(request)
                        .await
                }
            })
            .await?
    }};
}

/// All pages of a list, at most about `limit` entries.
macro_rules! pages {
    ($client:expr, $service:ident, $method:ident, $request:expr, $entries:ident, $limit:expr) => {{
        let mut request = $request;
        request.page_size = 1_000;
        let mut all = Vec::new();
        loop {
            let page = ask!($client, $service, $method, request.clone());
            all.extend(page.$entries);
            if page.next_page_token.is_empty() || all.len() >= $limit {
                all.truncate($limit);
                break all;
            }
            request.page_token = page.next_page_token;
        }
    }};
}

use {ask, pages};

impl SiteVerb {
    pub(crate) fn run(self, security: Security) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Other(error.into()))?;
        runtime.block_on(self.execute(security))
    }

    async fn execute(self, security: Security) -> Result<(), Failure> {
        match self {
            Self::Move { target, once, item, quantity, from, to, reason, reference, units } => {
                let client = Client::new(target, security);
                let (quantity, entered) = units.quantity(quantity);
                let request = MoveStockRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    stock_key: wire(&item),
                    quantity,
                    entered,
                    from: from.wire(),
                    to: to.map_or(0, args::ConditionArg::wire),
                    reason: reason.wire(),
                    reference,
                    units: units.groups(),
                };
                let done = ask!(client, StockServiceClient, move_stock, request);
                client.levels("movement_id", &done.movement_id, done.level.as_slice());
            }
            Self::PutAway { target, once, item, quantity, to, condition, units } => {
                let client = Client::new(target, security);
                let (quantity, entered) = units.quantity(quantity);
                let request = PutAwayStockRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    stock_key: wire(&item),
                    quantity,
                    entered,
                    condition: condition.wire(),
                    units: units.groups(),
                    to_bin: to,
                };
                let done = ask!(client, StockServiceClient, put_away_stock, request);
                let json = json!({ "movement_id": done.movement_id, "units": show::units_json(&done.units) });
                print(client.output, &show::units_table(&done.units), &json);
            }
            Self::Bins { step } => step.execute(security).await?,
            Self::Holdings { target, item, bin, limit } => {
                let client = Client::new(target, security);
                let request = ListHoldingsRequest { node: client.node().await?, item, bin, ..Default::default() };
                let found = pages!(client, StockServiceClient, list_holdings, request, holdings, limit);
                print(
                    client.output,
                    &show::holdings_table(&found),
                    &json!({ "holdings": show::holdings_json(&found) }),
                );
            }
            Self::Serials { target, item, serial, limit } => {
                let client = Client::new(target, security);
                let request = ListSerialsRequest { node: client.node().await?, item, serial, ..Default::default() };
                let found = pages!(client, StockServiceClient, list_serials, request, serials, limit);
                print(client.output, &show::serials_table(&found), &json!({ "serials": show::serials_json(&found) }));
            }
            Self::Propose { target, item, quantity } => {
                let client = Client::new(target, security);
                let request = ProposeUnitsRequest { node: client.node().await?, stock_key: wire(&item), quantity };
                let found = ask!(client, StockServiceClient, propose_units, request);
                let json = json!({ "units": show::units_json(&found.units), "missing": found.missing });
                print(client.output, &show::units_table(&found.units), &json);
                if found.missing > 0 {
                    eprintln!("{} units are missing or past their last day", found.missing);
                }
            }
            Self::Scan { target, code } => {
                let client = Client::new(target, security);
                let request = ResolveScanRequest { node: client.node().await?, code };
                let found = ask!(client, StockServiceClient, resolve_scan, request);
                print(client.output, &show::scan_table(&found), &show::scan_json(&found));
            }
            Self::ExpireLots { target, once } => {
                let client = Client::new(target, security);
                let request = ExpireLotsRequest { node: client.node().await?, request_id: once.id() };
                let done = ask!(client, StockServiceClient, expire_lots, request);
                let json = json!({ "expired": show::holdings_json(&done.expired), "more": done.more });
                print(client.output, &show::holdings_table(&done.expired), &json);
            }
            Self::Movements { target, item, after, limit } => {
                let client = Client::new(target, security);
                let request =
                    ListMovementsRequest { node: client.node().await?, item, after_seq: after, ..Default::default() };
                let found = pages!(client, StockServiceClient, list_movements, request, movements, limit);
                let json: Vec<Value> = found.iter().map(show::movement_json).collect();
                print(client.output, &show::movements_table(&found), &json!({ "movements": json }));
            }
            Self::Inbound { step } => step.execute(security).await?,
            Self::Count { step } => step.execute(security).await?,
            Self::Exceptions { step } => step.execute(security).await?,
            Self::Feed { step } => step.execute(security).await?,
            Self::ImportStock { target, file, currency, name, dry_run } => {
                import::run(&Client::new(target, security), &file, currency, &name, dry_run).await?;
            }
        }
        Ok(())
    }
}

impl BinStep {
    async fn execute(self, security: Security) -> Result<(), Failure> {
        let (client, set, removed, once) = match self {
            Self::List { target, zone } => {
                let client = Client::new(target, security);
                let request = ListBinsRequest { node: client.node().await?, zone, ..Default::default() };
                let found = pages!(client, StockServiceClient, list_bins, request, bins, usize::MAX);
                print(client.output, &show::bins_table(&found), &json!({ "bins": show::bins_json(&found) }));
                return Ok(());
            }
            Self::Set { target, once, bin, zone, accessible, walk_order } => {
                let bin = feed::Bin { bin, zone, accessible, walk_order };
                (Client::new(target, security), vec![bin], Vec::new(), once)
            }
            Self::Remove { target, once, bin } => (Client::new(target, security), Vec::new(), vec![bin], once),
        };
        let request = SetBinsRequest { node: client.node().await?, request_id: once.id(), set, removed };
        let done = ask!(client, StockServiceClient, set_bins, request);
        print(client.output, &show::bins_count_table(done.bins), &json!({ "bins": done.bins }));
        Ok(())
    }
}

impl InboundStep {
    async fn execute(self, security: Security) -> Result<(), Failure> {
        match self {
            Self::List { target, id } => {
                let client = Client::new(target, security);
                let request = ListInboundsRequest { node: client.node().await?, inbound_id: id, ..Default::default() };
                let found = pages!(client, InboundServiceClient, list_inbounds, request, inbounds, usize::MAX);
                let json: Vec<Value> = found.iter().map(show::inbound_json).collect();
                print(client.output, &show::inbounds_table(&found), &json!({ "inbounds": json }));
            }
            Self::Receive { target, once, id, line, quantity, condition, receipt_id, units } => {
                let client = Client::new(target, security);
                let node = client.node().await?;
                let stock_key = line_key(&client, &node, &id, line).await?;
                let (quantity, entered) = units.quantity(quantity);
                let line = feed::ReceiptLine {
                    stock_key: Some(stock_key),
                    quantity,
                    entered,
                    condition: condition.wire(),
                    units: units.groups(),
                    inbound_line: line,
                    ..Default::default()
                };
                let request = ReceiveStockRequest {
                    node,
                    request_id: once.id(),
                    receipt_id,
                    kind: feed::ReceiptKind::PurchaseOrder.into(),
                    reference: id.clone(),
                    lines: vec![line],
                    inbound_id: id,
                    ..Default::default()
                };
                let done = call!(client, receive_stock, request);
                client.levels("receipt_id", &done.receipt_id, &done.levels);
                for exception in &done.exception_ids {
                    eprintln!("held in receiving by {exception}: decide with `inbound resolve {exception}`");
                }
            }
            Self::Close { target, once, id } => {
                let client = Client::new(target, security);
                let request = CloseInboundRequest { node: client.node().await?, request_id: once.id(), inbound_id: id };
                let done = ask!(client, InboundServiceClient, close_inbound, request);
                let json: Vec<Value> = done.inbound.iter().map(show::inbound_json).collect();
                let json = json!({ "inbound": json.first(), "exception_ids": done.exception_ids });
                print(client.output, &show::inbounds_table(done.inbound.as_slice()), &json);
            }
            Self::Resolve { target, once, exception, decision, quantity, reference } => {
                let client = Client::new(target, security);
                let request = ResolveReceiptDifferenceRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    exception_id: exception.clone(),
                    quantity,
                    decision: decision.wire(),
                    reference,
                };
                let done = ask!(client, InboundServiceClient, resolve_receipt_difference, request);
                client.levels("exception_id", &exception, done.level.as_slice());
            }
        }
        Ok(())
    }
}

/// The stock key of a line of an expected receipt.
async fn line_key(client: &Client, node: &str, id: &str, line: u32) -> Result<common::StockKey, Failure> {
    let request = ListInboundsRequest { node: node.to_owned(), inbound_id: id.to_owned(), ..Default::default() };
    let found = ask!(client, InboundServiceClient, list_inbounds, request).inbounds;
    let lines = found.iter().flat_map(|inbound| &inbound.lines);
    let key = lines.clone().find(|known| known.line == line).and_then(|known| known.stock_key.clone());
    key.ok_or_else(|| {
        let known: Vec<String> = lines.map(|line| line.line.to_string()).collect();
        let known = if known.is_empty() { "nothing is expected under that id".to_owned() } else { known.join(", ") };
        Failure::Usage(format!("{id} has no line {line} here: {known}"))
    })
}

impl ExceptionStep {
    async fn execute(self, security: Security) -> Result<(), Failure> {
        match self {
            Self::List { target, code } => {
                let client = Client::new(target, security);
                let number = match code.as_str() {
                    "" => 0,
                    name => common::ExceptionCode::from_str_name(&format!("EXCEPTION_CODE_{}", name.to_uppercase()))
                        .ok_or_else(|| Failure::Usage(format!("no exception has the code {name:?}")))?
                        .into(),
                };
                let request = ListExceptionsRequest { node: client.node().await?, code: number, ..Default::default() };
                let found = pages!(client, ExceptionServiceClient, list_exceptions, request, exceptions, usize::MAX);
                let json: Vec<Value> = found.iter().map(show::exception_json).collect();
                print(client.output, &show::exceptions_table(&found), &json!({ "exceptions": json }));
            }
            Self::Resolve { target, once, exception, resolution } => {
                let client = Client::new(target, security);
                let request = ResolveExceptionRequest {
                    node: client.node().await?,
                    request_id: once.id(),
                    exception_id: exception,
                    resolution,
                };
                let done = ask!(client, ExceptionServiceClient, resolve_exception, request);
                print(
                    client.output,
                    &show::closed_table(&done.exception_id),
                    &json!({ "exception_id": done.exception_id }),
                );
            }
        }
        Ok(())
    }
}

impl FeedStep {
    async fn execute(self, security: Security) -> Result<(), Failure> {
        let Self::Export { target, mut after, upto, format } = self;
        let client = Client::new(target, security);
        let node = client.node().await?;
        let mut document = epcis::Document::new(&node);
        loop {
            let request = ReadFeedRequest { node: node.clone(), after_seq: after, upto_seq: upto };
            let page = ask!(client, StockServiceClient, read_feed, request);
            let Some(last) = page.entries.last().map(|entry| entry.seq) else { break };
            for entry in &page.entries {
                let body = EntryBody::decode(entry.body.clone());
                let body = body.map_err(|error| Failure::Other(anyhow::anyhow!("entry {}: {error}", entry.seq)))?;
                match format {
                    FeedFormat::Epcis => document.add(page.epoch, entry, &body),
                    FeedFormat::Movements => {
                        for movement in movements::of_entry(entry.seq, &body) {
                            println!("{}", show::movement_json(&movement));
                        }
                    }
                }
            }
            after = last;
        }
        if format == FeedFormat::Epcis {
            println!("{:#}", document.finish());
        }
        Ok(())
    }
}
