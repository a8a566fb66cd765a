//! The stream as a value: events in the order of their time.

use std::collections::BTreeMap;

use stockmesh_proto::common::v1::{LinePrice, PaymentTerms, Place};

use super::items::StreamItem;
use super::left_out::LeftOut;

/// One line of an order or counter sale.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamLine {
    /// Place of the item in [`Stream::items`].
    pub item: usize,
    /// Base units, 1 or more.
    pub quantity: i64,
    /// Price of the whole line.
    pub price: LinePrice,
}

/// An order.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamOrder {
    /// Order id: the file's invoice or basket.
    pub order_id: String,
    /// Channel.
    pub channel: &'static str,
    /// When it was placed, milliseconds since 1970, as the file says.
    pub placed_time_ms: i64,
    /// Customer reference.
    pub customer: String,
    /// Where it goes.
    pub ship_to: Place,
    /// Payment terms.
    pub payment_terms: PaymentTerms,
    /// Lines; the same item may come twice.
    pub lines: Vec<StreamLine>,
}

/// A sale over a store's counter.
#[derive(Clone, Debug, PartialEq)]
pub struct Counter {
    /// Till document.
    pub sale_id: String,
    /// Place of the store in [`Stream::stores`].
    pub store: usize,
    /// When, milliseconds since 1970, as the file says.
    pub sold_time_ms: i64,
    /// Customer reference, should the goods have to be sent after them.
    pub customer: String,
    /// Lines.
    pub lines: Vec<StreamLine>,
}

/// Goods that a customer brings back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamReturn {
    /// Return number.
    pub return_id: String,
    /// Order (or till document) they were bought on.
    pub bought_on: String,
    /// Line of it, from 1.
    pub line: u32,
    /// Place of the item in [`Stream::items`].
    pub item: usize,
    /// Base units.
    pub quantity: i64,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An order is placed.
    Order(StreamOrder),
    /// A store sells at its counter.
    Counter(Counter),
}

/// A store of the stream that becomes a node.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamStore {
    /// Node name.
    pub node: String,
    /// Where it stands.
    pub place: Place,
}

/// A stream of orders.
#[derive(Clone, Debug)]
pub struct Stream {
    /// What it is, for the report.
    pub name: String,
    /// Who made the data, and under which licence.
    pub source: String,
    /// ISO 4217 code of every amount.
    pub currency_code: &'static str,
    /// Data lines read, the header aside.
    pub lines_read: u64,
    /// Items.
    pub items: Vec<StreamItem>,
    /// Stores with a counter, as far as the stream names them; empty: the network has its own.
    pub stores: Vec<StreamStore>,
    /// Orders and counter sales by time.
    pub events: Vec<Event>,
    /// Returns, by time.
    pub returns: Vec<StreamReturn>,
    /// What was left out.
    pub left_out: LeftOut,
    /// Every assumption that the reader made.
    pub assumptions: Vec<String>,
}

/// Sums of a stream: what an independent reading of the same file must find.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Orders.
    pub orders: u64,
    /// Counter sales.
    pub counter_sales: u64,
    /// Lines of both.
    pub lines: u64,
    /// Units of both.
    pub units: i64,
    /// Sales value before discounts, minor units.
    pub sales_minor: i64,
    /// Retailer's discounts.
    pub discount_minor: i64,
    /// Manufacturers' coupons.
    pub coupon_minor: i64,
    /// Taxable amount and tax, minor units, by jurisdiction and rate in parts per million.
    pub taxes: BTreeMap<(String, u32), (i64, i64)>,
    /// Returns.
    pub returns: u64,
    /// Units of them.
    pub returned_units: i64,
}

impl Totals {
    /// Net revenue: sales less discounts, tax excluded, minor units.
    #[must_use]
    pub fn net_minor(&self) -> i64 {
        self.sales_minor - self.discount_minor
    }

    /// Tax in all, minor units.
    #[must_use]
    pub fn tax_minor(&self) -> i64 {
        self.taxes.values().map(|(_, tax)| tax).sum()
    }

    /// Adds a line.
    pub fn add_line(&mut self, quantity: i64, price: &LinePrice) {
        self.lines += 1;
        self.units += quantity;
        self.sales_minor += price.sales_minor;
        self.discount_minor += price.discount_minor;
        self.coupon_minor += price.manufacturer_coupon_minor;
        for tax in &price.taxes {
            let sums = self.taxes.entry((tax.jurisdiction.clone(), tax.rate_ppm)).or_default();
            sums.0 += tax.taxable_minor;
            sums.1 += tax.tax_minor;
        }
    }
}

impl Stream {
    /// Sums over all events and returns.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for event in &self.events {
            let lines = match event {
                Event::Order(order) => {
                    totals.orders += 1;
                    &order.lines
                }
                Event::Counter(sale) => {
                    totals.counter_sales += 1;
                    &sale.lines
                }
            };
            for line in lines {
                totals.add_line(line.quantity, &line.price);
            }
        }
        totals.returns = self.returns.len() as u64;
        totals.returned_units = self.returns.iter().map(|back| back.quantity).sum();
        totals
    }

    /// The orders.
    pub fn orders(&self) -> impl Iterator<Item = &StreamOrder> {
        self.events.iter().filter_map(|event| match event {
            Event::Order(order) => Some(order),
            Event::Counter(_) => None,
        })
    }

    /// The counter sales.
    pub fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.events.iter().filter_map(|event| match event {
            Event::Counter(sale) => Some(sale),
            Event::Order(_) => None,
        })
    }
}
