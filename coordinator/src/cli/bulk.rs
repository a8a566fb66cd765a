//! `order place-many`, `order quote`, `atp totals`, `atp watch`: orders and availability in bulk.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use stockmesh_proto::common::v1 as wire;
use stockmesh_proto::coordinator::v1::availability_stream_service_client::AvailabilityStreamServiceClient;
use stockmesh_proto::coordinator::v1::order_outcome::Outcome;
use stockmesh_proto::coordinator::v1::order_stream_service_client::OrderStreamServiceClient;
use stockmesh_proto::coordinator::v1::{
    BatchGetAvailabilityRequest, OrderOutcome, PlaceOrderRequest, PlaceOrdersRequest, QuoteOrderRequest,
    WatchAvailabilityRequest, WatchAvailabilityResponse,
};
use stockmesh_service::output::{OutputFormat, Table, print};
use stockmesh_service::status::{explain, is_retryable};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::order_file::{key, parse};
use super::{Asking, CliError, call, json as told};

/// Orders under way: sent, and not answered.
const WINDOW: usize = 2_048;
/// Orders of one message.
const AT_ONCE: usize = 100;
/// How often an order is sent that is answered with "try again".
const MAX_SENDS: u32 = 20;
/// Refusals that are listed; the others are counted.
const LISTED: usize = 1_000;

/// Orders that are under way, and what came of the others.
#[derive(Default)]
struct Progress {
    /// By id: the order, and how often it was sent.
    under_way: BTreeMap<String, (wire::Order, u32)>,
    /// To be sent, or sent again.
    waiting: Vec<String>,
    placed: u64,
    placed_before: u64,
    refused: u64,
    refusals: Vec<(String, String, String)>,
}

impl Progress {
    fn add(&mut self, order: wire::Order) -> Result<(), CliError> {
        let id = order.order_id.clone();
        if self.under_way.insert(id.clone(), (order, 0)).is_some() {
            return Err(CliError::Usage(format!("order {id} stands twice")));
        }
        self.waiting.push(id);
        Ok(())
    }

    fn next_message(&mut self) -> Option<PlaceOrdersRequest> {
        let taken = self.waiting.len().min(AT_ONCE);
        let ids: Vec<String> = self.waiting.drain(..taken).collect();
        let mut orders = Vec::with_capacity(taken);
        for id in ids {
            let Some((order, sends)) = self.under_way.get_mut(&id) else { continue };
            *sends += 1;
            orders.push(PlaceOrderRequest { order: Some(order.clone()), incarnation: 0 });
        }
        (!orders.is_empty()).then_some(PlaceOrdersRequest { orders })
    }

    /// The connection broke: whatever was not answered is sent again. An order id is placed once.
    fn begin_again(&mut self) {
        self.waiting = self.under_way.keys().cloned().collect();
    }

    /// Gives true when the order is to be sent again after a pause.
    fn take(&mut self, answer: OrderOutcome) -> bool {
        let OrderOutcome { order_id, outcome } = answer;
        let Some((_, sends)) = self.under_way.get(&order_id) else { return false };
        match outcome {
            Some(Outcome::Refused(refused)) if refused.retry_after_ms > 0 && *sends < MAX_SENDS => {
                self.waiting.push(order_id);
                return true;
            }
            Some(Outcome::Refused(refused)) => {
                self.refused += 1;
                if self.refusals.len() < LISTED {
                    self.refusals.push((order_id.clone(), refused.reason, refused.message));
                }
            }
            Some(Outcome::Placed(placed)) if placed.already_placed => self.placed_before += 1,
            Some(Outcome::Placed(_)) => self.placed += 1,
            // A newer server's word: it says no more than that it is done with the order.
            None => {}
        }
        self.under_way.remove(&order_id);
        false
    }
}

/// Orders of a file, one JSON document a line, on a stream that is taken up again when it breaks.
pub(super) async fn place_many(asking: &Asking, path: &Path) -> Result<(), CliError> {
    let wrong = |error: &dyn std::fmt::Display| CliError::Usage(format!("{}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| wrong(&error))?;
    let mut lines = (1..).zip(BufReader::new(file).lines());
    let (mut progress, mut ended, mut breaks) = (Progress::default(), false, 0);
    while !ended || !progress.under_way.is_empty() {
        let (orders, mut answers) = open(asking).await?;
        progress.begin_again();
        let broke = loop {
            while !ended && progress.under_way.len() < WINDOW {
                match lines.next() {
                    None => ended = true,
                    Some((_, Ok(text))) if text.trim().is_empty() => {}
                    Some((number, text)) => {
                        let text = text.map_err(|error| wrong(&error))?;
                        let order = parse(&text).map_err(|error| wrong(&format!("line {number}: {error}")))?;
                        progress.add(order)?;
                    }
                }
            }
            if progress.under_way.is_empty() {
                break None;
            }
            let answered = tokio::select! {
                biased;
                answered = answers.message() => answered,
                room = orders.reserve(), if !progress.waiting.is_empty() => {
                    // Closed: the stream's end comes as an answer.
                    if let (Ok(room), Some(message)) = (room, progress.next_message()) {
                        room.send(message);
                    }
                    continue;
                }
            };
            match answered {
                Ok(Some(response)) => {
                    let mut again = false;
                    for outcome in response.outcomes {
                        again |= progress.take(outcome);
                    }
                    if again {
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                }
                Ok(None) => break Some(tonic::Status::unavailable("the stream ended")),
                Err(status) if is_retryable(&status) => break Some(status),
                Err(status) => return Err(status.into()),
            }
        };
        if let Some(status) = broke {
            breaks += 1;
            if breaks > 100 {
                return Err(status.into());
            }
            eprintln!("the stream broke ({}); {} orders are sent again", explain(&status), progress.under_way.len());
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }
    report(asking, &progress);
    Ok(())
}

type Answers = tonic::Streaming<stockmesh_proto::coordinator::v1::PlaceOrdersResponse>;

/// A stream to the leader.
async fn open(asking: &Asking) -> Result<(mpsc::Sender<PlaceOrdersRequest>, Answers), CliError> {
    let opened = Mutex::new(None);
    let answers = asking
        .cluster
        .call(|channel| {
            let (orders, stream) = mpsc::channel(2);
            *opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(orders);
            let mut client = OrderStreamServiceClient::new(channel);
            async move { client.place_orders(ReceiverStream::new(stream)).await }
        })
        .await?;
    let orders = opened.into_inner().unwrap_or_else(PoisonError::into_inner);
    let orders = orders.ok_or_else(|| CliError::Usage("no address was given to connect to".to_owned()))?;
    Ok((orders, answers))
}

fn report(asking: &Asking, progress: &Progress) {
    let Progress { placed, placed_before, refused, refusals, .. } = progress;
    let mut table = Table::new(&["order", "refused", "why"]);
    for (order, reason, message) in refusals {
        table.push(vec![order.clone(), reason.clone(), message.clone()]);
    }
    let listed: Vec<Value> = refusals
        .iter()
        .map(|(order_id, reason, message)| json!({ "order_id": order_id, "reason": reason, "message": message }))
        .collect();
    let value = json!({ "placed": placed, "placed_before": placed_before, "refused": refused, "refusals": listed });
    if asking.output == OutputFormat::Json || !refusals.is_empty() {
        print(asking.output, &table, &value);
    }
    if asking.output == OutputFormat::Table {
        println!("{placed} orders placed, {placed_before} had been placed before, {refused} refused");
    }
}

/// What an order would cost.
pub(super) async fn quote(asking: &Asking, order: wire::Order) -> Result<(), CliError> {
    let request = QuoteOrderRequest { order: Some(order) };
    let quote = call!(asking, OrderStreamServiceClient, quote_order, request)?;
    let sourcing = quote.sourcing.unwrap_or_default();
    let mut table = Table::new(&["line", "node", "units"]);
    for units in &quote.units {
        table.push(vec![units.line.to_string(), units.node.clone(), units.units.to_string()]);
    }
    for short in &quote.shortages {
        table.push(vec![short.line.to_string(), "(short)".to_owned(), short.units.to_string()]);
    }
    let units = quote.units.iter().map(|units| json!({ "line": units.line, "node": units.node, "units": units.units }));
    let short = quote.shortages.iter().map(|short| json!({ "line": short.line, "units": short.units }));
    let value = json!({
        "units": units.collect::<Vec<_>>(),
        "shortages": short.collect::<Vec<_>>(),
        "sourcing": told::sourcing(&sourcing),
        "as_of_time_ms": quote.as_of_time_ms,
        "as_of_index": quote.as_of_index,
    });
    print(asking.output, &table, &value);
    if asking.output == OutputFormat::Table {
        let proof = if sourcing.proven_optimal {
            "no other way is cheaper".to_owned()
        } else {
            format!("at most {:.2} % above the cheapest way", sourcing.gap_ppm as f64 / 10_000.0)
        };
        println!("\n{} minor units of the network's cost currency; {proof}; nothing is promised", sourcing.total_minor);
    }
    Ok(())
}

/// Totals of items.
pub(super) async fn totals(asking: &Asking, items: &[String], max_staleness_ms: u32) -> Result<(), CliError> {
    let request =
        BatchGetAvailabilityRequest { stock_keys: items.iter().map(|item| key(item)).collect(), max_staleness_ms };
    let response = call!(asking, AvailabilityStreamServiceClient, batch_get_availability, request)?;
    let mut table = Table::new(&["item", "available", "waiting"]);
    let mut values = Vec::with_capacity(items.len());
    let totals = response.available_to_fulfill.iter().zip(&response.backordered);
    for (item, (available, waiting)) in items.iter().zip(totals) {
        table.push(vec![item.clone(), available.to_string(), waiting.to_string()]);
        values.push(json!({ "item": item, "available_to_fulfill": available, "backordered": waiting }));
    }
    let value = json!({
        "as_of_time_ms": response.as_of_time_ms,
        "as_of_index": response.as_of_index,
        "staleness_ms": response.staleness_ms,
        "totals": values,
    });
    print(asking.output, &table, &value);
    if asking.output == OutputFormat::Table {
        match response.staleness_ms {
            Some(staleness) => println!("\nholds everything that was committed {staleness} ms ago"),
            None => println!("\nhow old this is, the replica does not know: ask with --max-staleness-ms"),
        }
    }
    Ok(())
}

/// Totals as they change, a line each, until the end of the stream, or of the first pass.
pub(super) async fn watch(asking: &Asking, items: &[String], interval_ms: u32, once: bool) -> Result<(), CliError> {
    let mut cursor = None;
    let mut breaks = 0;
    loop {
        let request = WatchAvailabilityRequest {
            stock_keys: items.iter().map(|item| key(item)).collect(),
            resume_after: cursor,
            interval_ms,
        };
        let mut stream = asking
            .cluster
            .call(|channel| {
                let request = request.clone();
                async move { AvailabilityStreamServiceClient::new(channel).watch_availability(request).await }
            })
            .await?;
        let status = loop {
            match stream.message().await {
                Ok(Some(message)) => {
                    show(asking, &message);
                    cursor = message.cursor.or(cursor);
                    if once && message.cursor.is_some() {
                        return Ok(());
                    }
                }
                Ok(None) => break tonic::Status::unavailable("the stream ended"),
                Err(status) if is_retryable(&status) => break status,
                Err(status) => return Err(status.into()),
            }
        };
        breaks += 1;
        if breaks > 100 {
            return Err(status.into());
        }
        eprintln!("the stream broke ({}); going on elsewhere", explain(&status));
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

fn show(asking: &Asking, message: &WatchAvailabilityResponse) {
    if message.reset && asking.output == OutputFormat::Table {
        println!("item available waiting");
    }
    for total in &message.totals {
        let item = total.stock_key.as_ref().map_or_else(String::new, told::stock_key_text);
        match asking.output {
            OutputFormat::Table => println!("{item} {} {}", total.available_to_fulfill, total.backordered),
            OutputFormat::Json => println!(
                "{}",
                json!({
                    "item": item,
                    "available_to_fulfill": total.available_to_fulfill,
                    "backordered": total.backordered,
                    "as_of_time_ms": message.as_of_time_ms,
                })
            ),
        }
    }
}
