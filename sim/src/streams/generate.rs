//! A generated stream in the shape of the real ones: line counts, quantities and prices from the quantiles of the UCI file
//! (median 13 lines, 43 % of orders with at most 10, a tail beyond 600), items by Zipf, a tenth of the orders from abroad.
//! The same seed gives the same stream.

use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};
use stockmesh_proto::common::v1::{LinePrice, PaymentTerms, TaxRegime};

use super::items::{self, StreamItem};
use super::left_out::LeftOut;
use super::model::{Counter, Event, Stream, StreamLine, StreamOrder, StreamReturn};
use super::{places, tax};

/// Quantiles: share of the whole in tenths of a percent, value.
type Quantiles = [(u32, i64)];

/// Lines per invoice.
const LINES: &Quantiles = &[
    (0, 1),
    (100, 1),
    (150, 2),
    (200, 3),
    (250, 4),
    (300, 6),
    (350, 8),
    (400, 9),
    (430, 10),
    (500, 13),
    (550, 16),
    (600, 18),
    (650, 20),
    (700, 23),
    (750, 28),
    (800, 33),
    (850, 41),
    (900, 51),
    (950, 76),
    (970, 117),
    (980, 156),
    (990, 340),
    (995, 455),
    (1_000, 675),
];
/// Units per line.
const UNITS: &Quantiles = &[
    (0, 1),
    (300, 1),
    (350, 2),
    (450, 2),
    (500, 3),
    (600, 4),
    (700, 6),
    (800, 12),
    (900, 20),
    (950, 25),
    (980, 60),
    (995, 144),
    (1_000, 600),
];
/// Median price of an item, pence.
const PRICES: &Quantiles = &[
    (0, 10),
    (50, 42),
    (100, 65),
    (200, 85),
    (300, 125),
    (400, 166),
    (500, 246),
    (600, 295),
    (700, 375),
    (800, 495),
    (900, 795),
    (950, 995),
    (980, 1_579),
    (990, 2_495),
    (1_000, 17_500),
];

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct GenerateOptions {
    /// Seed.
    pub seed: u64,
    /// Orders.
    pub orders: usize,
    /// Items of the catalog.
    pub items: usize,
    /// Stores with a counter.
    pub stores: usize,
}

/// Counter sales per 100 orders.
const COUNTER_PERCENT: usize = 25;
/// Share of orders and counter sales with a return, percent.
const RETURN_PERCENT: u32 = 4;
/// Zipf's exponent of item popularity, as near as one number comes to the UCI file.
const ZIPF: f64 = 0.85;
/// 2020-01-06 08:00 UTC: the first order. The longest stream ends in 2022: orders of the future are refused.
const START_MS: i64 = 1_578_297_600_000;

fn draw(quantiles: &Quantiles, rng: &mut StdRng) -> i64 {
    let at = rng.random_range(0..1_000u32);
    for pair in quantiles.windows(2) {
        let [(from, low), (to, high)] = pair else { continue };
        if at < *to {
            return low + (high - low) * i64::from(at - from) / i64::from(to - from);
        }
    }
    quantiles.last().map_or(1, |(_, value)| *value)
}

struct Generator {
    rng: StdRng,
    prices_minor: Vec<i64>,
    popularity: Option<Zipf<f64>>,
}

impl Generator {
    fn item(&mut self) -> usize {
        let rank = self.popularity.map_or(1.0, |zipf| zipf.sample(&mut self.rng));
        // Ranks are whole numbers from 1 to the number of items.
        (rank as usize).clamp(1, self.prices_minor.len()) - 1
    }

    fn price(&self, item: usize, quantity: i64, vat_ppm: u32) -> LinePrice {
        // Wholesale: from 24 units on a tenth is taken off. Amounts are far too small to overflow.
        let sales = self.prices_minor[item] * quantity;
        let discount = if quantity >= 24 { sales / 10 } else { 0 };
        tax::priced(sales, discount, 0, places::UK, TaxRegime::Vat, vat_ppm).unwrap_or_default()
    }

    fn lines(&mut self, count: i64, small: bool, vat_ppm: u32) -> Vec<StreamLine> {
        let mut seen = HashSet::new();
        let mut lines = Vec::new();
        for _ in 0..count {
            let item = self.item();
            // The same item twice in an order does occur in the real data, though not often.
            if !seen.insert(item) && self.rng.random_range(0..10u32) > 0 {
                continue;
            }
            let quantity = if small { self.rng.random_range(1..=2) } else { draw(UNITS, &mut self.rng) };
            lines.push(StreamLine { item, quantity, price: self.price(item, quantity, vat_ppm) });
        }
        lines
    }

    fn order(&mut self, number: usize, time_ms: i64) -> StreamOrder {
        let customer = format!("c{:05}", self.rng.random_range(0..20_000u32));
        let abroad = self.rng.random_range(0..100u32) < 9;
        let (ship_to, vat_ppm) = if abroad {
            (places::abroad(self.rng.random_range(0..1_000)), 0)
        } else {
            (places::in_the_uk(&customer), 200_000)
        };
        let (channel, payment_terms) = match self.rng.random_range(0..100u32) {
            0..40 => ("wholesale", PaymentTerms::OnAccount),
            40..80 => ("web", PaymentTerms::Prepaid),
            _ => ("marketplace", PaymentTerms::OnShipment),
        };
        let count = draw(LINES, &mut self.rng);
        let lines = self.lines(count, false, vat_ppm);
        StreamOrder {
            order_id: format!("o{number:06}"),
            channel,
            placed_time_ms: time_ms,
            customer,
            ship_to,
            payment_terms,
            lines,
        }
    }

    fn counter(&mut self, number: usize, stores: usize, time_ms: i64) -> Counter {
        let count = self.rng.random_range(1..=3);
        Counter {
            sale_id: format!("t{number:06}"),
            store: self.rng.random_range(0..stores.max(1)),
            sold_time_ms: time_ms,
            customer: format!("walk-in-{number}"),
            lines: self.lines(count, true, 200_000),
        }
    }

    fn maybe_return(&mut self, bought_on: &str, lines: &[StreamLine]) -> Option<StreamReturn> {
        if lines.is_empty() || self.rng.random_range(0..100u32) >= RETURN_PERCENT {
            return None;
        }
        let at = self.rng.random_range(0..lines.len());
        let quantity = self.rng.random_range(1..=lines[at].quantity);
        Some(StreamReturn {
            return_id: format!("r-{bought_on}"),
            bought_on: bought_on.to_owned(),
            line: u32::try_from(at + 1).unwrap_or(1),
            item: lines[at].item,
            quantity,
        })
    }
}

/// Generates a stream.
#[must_use]
pub fn generate(options: GenerateOptions) -> Stream {
    let GenerateOptions { seed, orders, items: item_count, stores } = options;
    let mut rng = StdRng::seed_from_u64(seed);
    let item_count = item_count.max(1);
    let prices_minor: Vec<i64> = (0..item_count).map(|_| draw(PRICES, &mut rng).max(1)).collect();
    let items = prices_minor
        .iter()
        .enumerate()
        .map(|(n, price_minor)| StreamItem {
            item: format!("{}", 20_000 + n),
            description: format!("article {}", 20_000 + n),
            weight_grams: (100 + 40 * price_minor / 100).min(5_000),
            unit_cost_minor: (price_minor * items::COST_PERCENT / 100).max(1),
        })
        .collect();
    let popularity = Zipf::new(item_count as f64, ZIPF).ok();
    let mut generator = Generator { rng, prices_minor, popularity };
    let mut events = Vec::with_capacity(orders + orders * COUNTER_PERCENT / 100);
    let mut returns = Vec::new();
    let mut counters = 0;
    for number in 1..=orders {
        let time_ms = START_MS + 90_000 * i64::try_from(number).unwrap_or(0);
        let order = generator.order(number, time_ms);
        returns.extend(generator.maybe_return(&order.order_id, &order.lines));
        events.push(Event::Order(order));
        while stores > 0 && counters * 100 < number * COUNTER_PERCENT {
            counters += 1;
            let sale = generator.counter(counters, stores, time_ms);
            returns.extend(generator.maybe_return(&sale.sale_id, &sale.lines));
            events.push(Event::Counter(sale));
        }
    }
    Stream {
        name: format!("generated (seed {seed})"),
        source: "generated in the shape of UCI Online Retail".to_owned(),
        currency_code: "GBP",
        lines_read: 0,
        items,
        stores: Vec::new(),
        events,
        returns,
        left_out: LeftOut::default(),
        assumptions: vec![
            format!(
                "{orders} orders with the line counts, quantities and prices of the UCI file's quantiles; {item_count} items by Zipf {ZIPF}; 9 % of customers abroad, zero-rated"
            ),
            format!(
                "{COUNTER_PERCENT} counter sales per 100 orders; {RETURN_PERCENT} % of both bring a line back, in whole or part"
            ),
            items::ASSUMPTION.to_owned(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(seed: u64) -> GenerateOptions {
        GenerateOptions { seed, orders: 2_000, items: 800, stores: 3 }
    }

    #[test]
    fn the_same_seed_gives_the_same_stream_and_another_one_another() {
        let (a, b, c) = (generate(options(1)), generate(options(1)), generate(options(2)));
        assert_eq!((&a.events, &a.returns), (&b.events, &b.returns));
        assert_ne!(a.events, c.events);
    }

    #[test]
    fn it_has_the_shape_of_the_real_data() {
        let stream = generate(options(7));
        let mut counts: Vec<usize> = stream.orders().map(|order| order.lines.len()).collect();
        counts.sort_unstable();
        let median = counts[counts.len() / 2];
        let small = counts.iter().filter(|count| **count <= 10).count() * 100 / counts.len();
        assert!((11..=15).contains(&median), "median {median}");
        assert!((38..=48).contains(&small), "{small} % with at most 10 lines");
        assert!(counts.last().is_some_and(|most| (200..=700).contains(most)), "{:?}", counts.last());
        assert!(stream.orders().any(|order| order.ship_to.country_code != "GB"));
        assert_eq!(stream.counters().count(), 500);
    }

    #[test]
    fn every_line_is_what_the_contract_allows() {
        let stream = generate(options(3));
        for order in stream.orders() {
            assert!(!order.lines.is_empty(), "{}", order.order_id);
            for line in &order.lines {
                assert!(line.quantity > 0 && line.item < stream.items.len());
                stockmesh_proto::convert::check_price(&Some(line.price.clone()), "p").unwrap();
            }
        }
        for back in &stream.returns {
            assert!(back.quantity > 0);
        }
    }
}
