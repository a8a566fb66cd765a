//! Orders that are drawn, and the two ways to place them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use stockmesh_proto::common::v1::{LinePrice, Order, OrderLine, PartyRef, PaymentTerms, ShortagePolicy};
use stockmesh_proto::coordinator::v1::order_outcome::Outcome;
use stockmesh_proto::coordinator::v1::order_service_client::OrderServiceClient;
use stockmesh_proto::coordinator::v1::order_stream_service_client::OrderStreamServiceClient;
use stockmesh_proto::coordinator::v1::{PlaceOrderRequest, PlaceOrdersRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Channel;

use super::group::stock_key;
use super::report::Figures;

/// SplitMix64: the same stream in every run.
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

pub(super) fn item_name(n: u32) -> String {
    format!("SKU-{n:06}")
}

/// What orders are like.
#[derive(Clone)]
pub(super) struct Orders {
    /// Cumulative weights of items.
    cumulative: Arc<Vec<f64>>,
    lines: u32,
}

impl Orders {
    /// By Zipf's law with exponent 1.05; or all for one item.
    pub fn new(items: u32, lines: u32, hot: bool) -> Self {
        let mut sum = 0.0;
        let items = if hot { 1 } else { items };
        let weights = (1..=items).map(|rank| {
            sum += 1.0 / f64::from(rank).powf(1.05);
            sum
        });
        Self { cumulative: Arc::new(weights.collect()), lines }
    }

    fn draw(&self, id: String, random: &mut Random) -> Order {
        let total = self.cumulative.last().copied().unwrap_or(1.0);
        let line = |line: u32, random: &mut Random| {
            let at = random.next() as f64 / u64::MAX as f64 * total;
            let item = self.cumulative.partition_point(|sum| *sum < at).min(self.cumulative.len() - 1);
            OrderLine {
                line,
                // Items are numbered by 32 bits.
                stock_key: Some(stock_key(&item_name(item as u32))),
                quantity: 1 + random.below(3) as i64,
                price: Some(LinePrice { sales_minor: 1_000, ..LinePrice::default() }),
                ..OrderLine::default()
            }
        };
        Order {
            order_id: id,
            channel: "web".into(),
            placed_time_ms: 1,
            customer: Some(PartyRef { id: "c-1".into() }),
            ship_to: Some(random.place()),
            currency_code: "GBP".into(),
            lines: (1..=self.lines).map(|n| line(n, random)).collect(),
            shortage_policy: ShortagePolicy::Backorder.into(),
            payment_terms: PaymentTerms::OnShipment.into(),
        }
    }
}

/// One level of load.
pub(super) struct Load {
    pub orders: Orders,
    pub in_flight: usize,
    pub period: Duration,
    /// Of order ids: levels must not repeat each other's.
    pub prefix: String,
}

/// What is measured, and when.
#[derive(Clone)]
struct Measured {
    from: Instant,
    until: Instant,
    placed: u64,
    refused: u64,
    latency_us: Histogram<u64>,
}

impl Measured {
    fn over(period: Duration) -> anyhow::Result<Self> {
        let from = Instant::now() + period / 5;
        // A minute at most, three digits.
        let latency_us = Histogram::new_with_bounds(1, 60_000_000, 3)?;
        Ok(Self { from, until: from + period, placed: 0, refused: 0, latency_us })
    }

    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    fn note(&mut self, sent: Instant, placed: bool) {
        let now = Instant::now();
        if now < self.from || now > self.until {
            return;
        }
        if placed {
            self.placed += 1;
            self.latency_us.saturating_record(u64::try_from((now - sent).as_micros()).unwrap_or(u64::MAX));
        } else {
            self.refused += 1;
        }
    }

    fn figures(self) -> Figures {
        let Self { from, until, placed, refused, latency_us } = self;
        Figures { placed, refused, seconds: (until - from).as_secs_f64(), latency_us }
    }
}

impl Load {
    /// One call an order.
    pub async fn unary(&self, channels: Vec<Channel>) -> anyhow::Result<Figures> {
        let measured = Measured::over(self.period)?;
        let mut workers = Vec::with_capacity(self.in_flight);
        for worker in 0..self.in_flight {
            let channel = channels[worker % channels.len()].clone();
            let (orders, mut measured) = (self.orders.clone(), measured.clone());
            let prefix = format!("{}-{worker}", self.prefix);
            workers.push(tokio::spawn(async move {
                let mut client = OrderServiceClient::new(channel);
                let mut random = Random::new(worker as u64 + 1);
                for n in 0u64.. {
                    if !measured.goes_on() {
                        break;
                    }
                    let order = orders.draw(format!("{prefix}-{n}"), &mut random);
                    let sent = Instant::now();
                    match client.place_order(PlaceOrderRequest { order: Some(order), incarnation: 0 }).await {
                        Ok(_) => measured.note(sent, true),
                        Err(status) if matches!(status.code(), Code::ResourceExhausted | Code::Unavailable) => {
                            measured.note(sent, false);
                        }
                        Err(status) => return Err(status),
                    }
                }
                Ok(measured)
            }));
        }
        let mut all = measured;
        for worker in workers {
            let Measured { placed, refused, latency_us, .. } = worker.await??;
            all.placed += placed;
            all.refused += refused;
            all.latency_us.add(latency_us)?;
        }
        Ok(all.figures())
    }

    /// All orders on one stream.
    pub async fn stream(&self, channel: Channel, message: usize) -> anyhow::Result<Figures> {
        let mut measured = Measured::over(self.period)?;
        let message = message.min(self.in_flight).max(1);
        let (sender, requests) = mpsc::channel(4);
        let mut answers =
            OrderStreamServiceClient::new(channel).place_orders(ReceiverStream::new(requests)).await?.into_inner();
        let mut random = Random::new(1);
        let mut under_way: BTreeMap<String, Instant> = BTreeMap::new();
        let mut number = 0u64;
        let mut sender = Some(sender);
        loop {
            while measured.goes_on()
                && under_way.len() + message <= self.in_flight
                && let Some(open) = &sender
            {
                let sent = Instant::now();
                let orders = (0..message).map(|_| {
                    number += 1;
                    let id = format!("{}-{number}", self.prefix);
                    under_way.insert(id.clone(), sent);
                    PlaceOrderRequest { order: Some(self.orders.draw(id, &mut random)), incarnation: 0 }
                });
                let request = PlaceOrdersRequest { orders: orders.collect() };
                if open.send(request).await.is_err() {
                    break;
                }
            }
            if !measured.goes_on() {
                sender = None;
            }
            let Some(answer) = answers.message().await? else { break };
            for outcome in answer.outcomes {
                let Some(sent) = under_way.remove(&outcome.order_id) else { continue };
                measured.note(sent, matches!(outcome.outcome, Some(Outcome::Placed(_))));
            }
        }
        Ok(measured.figures())
    }
}
