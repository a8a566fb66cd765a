//! Orders in bulk, answered as they commit; and quotes, which promise nothing.
//!
//! ```text
//!   client ──orders──> reader ──bundles──> driver ──outcomes──> writer ──> client
//!                        ^                                         │
//!                        └──────────── room for as many ───────────┘
//! ```
//!
//! A stream has at most [`STREAM_WINDOW`] orders under way. Whoever does not take answers is not read from: what waits for
//! a slow client is that window, and nothing grows.

use std::sync::{Arc, Mutex, PoisonError};

use prost::Message;
use sha2::{Digest, Sha256};
use stockmesh_coordinator_core::decide::{self, Overlay};
use stockmesh_coordinator_core::{Answer, validate};
use stockmesh_proto::convert::required;
use stockmesh_proto::coordinator::v1::order_outcome::Outcome;
use stockmesh_proto::coordinator::v1::order_stream_service_server::OrderStreamService;
use stockmesh_proto::coordinator::v1::{
    OrderOutcome, PlaceOrderRequest, PlaceOrdersRequest, PlaceOrdersResponse, PlacedOrder, QuoteOrderRequest,
    QuoteOrderResponse, RefusedOrder,
};
use stockmesh_service::status::{retry_delay, to_status};
use stockmesh_types::{Principal, Reason, Reject};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Context, ORDERS};
use crate::driver::{Bundle, Handle, OrderRequest, STREAM_WINDOW};

/// Orders of one message at most.
const MAX_ORDERS: usize = 500;
/// Answers that wait for the transport.
const ANSWERS_WAITING: usize = 4;

pub(super) struct OrderStreams {
    context: Arc<Context>,
    /// What quotes work out on the way. One quote at a time: orders go first.
    quotes: Mutex<Overlay>,
}

impl OrderStreams {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context, quotes: Mutex::default() }
    }
}

/// What came of an order, with its id.
type Outcomes = mpsc::Sender<(String, Result<Answer, Reject>)>;

#[tonic::async_trait]
impl OrderStreamService for OrderStreams {
    type PlaceOrdersStream = ReceiverStream<Result<PlaceOrdersResponse, Status>>;

    async fn place_orders(
        &self,
        request: Request<Streaming<PlaceOrdersRequest>>,
    ) -> Result<Response<Self::PlaceOrdersStream>, Status> {
        let asked = self.context.asked(&request, ORDERS)?;
        self.context.await_leader().await;
        if !self.context.leads() {
            return Err(self.context.refuse(&Reject::new(Reason::NotLeader, "another replica leads")));
        }
        let (answers, stream) = mpsc::channel(ANSWERS_WAITING);
        let (outcomes, came) = mpsc::channel(STREAM_WINDOW);
        let window = Arc::new(Semaphore::new(STREAM_WINDOW));
        let reader = Reader {
            handle: self.context.handle.clone(),
            principal: asked.principal,
            window: window.clone(),
            answers: answers.clone(),
            outcomes,
        };
        tokio::spawn(reader.run(request.into_inner()));
        tokio::spawn(write(self.context.clone(), came, answers, window));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn quote_order(&self, request: Request<QuoteOrderRequest>) -> Result<Response<QuoteOrderResponse>, Status> {
        self.context.asked(&request, ORDERS)?;
        let QuoteOrderRequest { order } = request.into_inner();
        let quoted = required(&order, "order").and_then(|order| {
            validate::order(order)?;
            let quotes = self.quotes.lock().unwrap_or_else(PoisonError::into_inner);
            decide::quote(&self.context.handle.state().read(), &quotes, order)
        });
        quoted.map(Response::new).map_err(|reject| to_status(&reject))
    }
}

/// Takes orders from the client.
struct Reader {
    handle: Handle,
    principal: Principal,
    window: Arc<Semaphore>,
    answers: mpsc::Sender<Result<PlaceOrdersResponse, Status>>,
    outcomes: Outcomes,
}

impl Reader {
    async fn run(self, mut from: Streaming<PlaceOrdersRequest>) {
        loop {
            // The client has gone, or was told that this replica does not lead any more.
            let message = tokio::select! {
                () = self.answers.closed() => return,
                message = from.message() => message,
            };
            let ended = match message {
                Ok(Some(PlaceOrdersRequest { orders })) => self.take(orders).await,
                // The client has sent everything; it gets the answers that are under way.
                Ok(None) => return,
                Err(status) => Err(status),
            };
            if let Err(status) = ended {
                // A client that has gone away needs no status.
                let _ = self.answers.send(Err(status)).await;
                return;
            }
        }
    }

    async fn take(&self, orders: Vec<PlaceOrderRequest>) -> Result<(), Status> {
        if orders.is_empty() || orders.len() > MAX_ORDERS {
            let message = format!("{} orders in one message, and it holds 1 to {MAX_ORDERS}", orders.len());
            return Err(to_status(&Reject::new(Reason::TooManyLines, message).field("orders")));
        }
        let room = u32::try_from(orders.len()).unwrap_or(u32::MAX);
        let stopped = || to_status(&Reject::new(Reason::ShuttingDown, "the stream ends: repeat what was not answered"));
        // Given back one by one as answers are taken.
        self.window.acquire_many(room).await.map_err(|_| stopped())?.forget();
        let mut bundle = Vec::with_capacity(orders.len());
        for PlaceOrderRequest { order, incarnation } in orders {
            let order = order.unwrap_or_default();
            if let Err(reject) = validate::order(&order) {
                // There is room: this order was given some above.
                let _ = self.outcomes.try_send((order.order_id, Err(reject)));
                continue;
            }
            let hash = Sha256::digest(order.encode_to_vec()).into();
            bundle.push(OrderRequest { principal: self.principal.clone(), order, hash, incarnation });
        }
        if bundle.is_empty() {
            return Ok(());
        }
        let bundle = Bundle { orders: bundle, outcomes: self.outcomes.clone() };
        self.handle.place_bundle(bundle).await.map_err(|reject| to_status(&reject))
    }
}

/// Tells the client what came of its orders, as many at once as there are.
async fn write(
    context: Arc<Context>,
    mut came: mpsc::Receiver<(String, Result<Answer, Reject>)>,
    answers: mpsc::Sender<Result<PlaceOrdersResponse, Status>>,
    window: Arc<Semaphore>,
) {
    let mut outcomes = Vec::with_capacity(MAX_ORDERS);
    let mut shutdown = context.shutdown.clone();
    loop {
        let taken = tokio::select! {
            biased;
            taken = came.recv_many(&mut outcomes, MAX_ORDERS) => taken,
            () = async { drop(shutdown.wait_for(|down| *down).await) }, if !came.is_closed() => {
                // The driver has answered what was in flight before this turned true: what is left is told, no more comes.
                came.close();
                continue;
            }
        };
        if taken == 0 {
            // Every order is answered.
            if *context.shutdown.borrow() {
                let reject =
                    Reject::new(Reason::ShuttingDown, "this replica is going down: repeat what was not answered");
                let _ = answers.send(Err(to_status(&reject))).await;
                window.close();
            }
            return;
        }
        let mut deposed = false;
        let response = {
            let state = context.handle.state().read();
            let told = outcomes.drain(..).map(|(order_id, outcome)| {
                let outcome = match outcome {
                    Ok(Answer::OrderPlaced { order_id, already_placed }) => {
                        // It was applied here before the driver said so.
                        let totals = state.order_totals(order_id.as_str()).unwrap_or_default();
                        Outcome::Placed(PlacedOrder {
                            already_placed,
                            promised_units: totals.promised,
                            backordered_units: totals.backordered,
                            cancelled_units: totals.cancelled,
                            committed_time_ms: totals.committed_ms,
                        })
                    }
                    Ok(other) => Outcome::Refused(refused(&Reject::new(
                        Reason::OutcomeUnknown,
                        format!("the order was answered with {other:?}: look it up"),
                    ))),
                    Err(reject) => {
                        deposed |= matches!(reject.reason, Reason::NotLeader | Reason::OutcomeUnknown);
                        Outcome::Refused(refused(&reject))
                    }
                };
                OrderOutcome { order_id, outcome: Some(outcome) }
            });
            PlaceOrdersResponse { outcomes: told.collect(), incarnation: context.handle.identity().incarnation }
        };
        let told = response.outcomes.len();
        if answers.send(Ok(response)).await.is_err() {
            // The client has gone: its orders stand, and nobody waits for their outcomes.
            window.close();
            return;
        }
        window.add_permits(told);
        if deposed && came.is_empty() {
            // What was in flight is answered; the next orders belong elsewhere.
            let status = context.refuse(&Reject::new(Reason::NotLeader, "another replica leads"));
            let _ = answers.send(Err(status)).await;
            window.close();
            return;
        }
    }
}

fn refused(reject: &Reject) -> RefusedOrder {
    let delay = retry_delay(reject.reason).map_or(0, |delay| u32::try_from(delay.as_millis()).unwrap_or(u32::MAX));
    RefusedOrder {
        reason: reject.reason.code().to_owned(),
        message: reject.message.clone(),
        field: reject.field.clone(),
        retry_after_ms: delay,
    }
}
