//! Complete Journey (84.51°): grocery baskets of households at stores.
//!
//! Exactly what is replayed, so that anyone can recompute it. A line is taken when, in this order, it
//! 1. can be read: ten columns, integer ids and quantity (at most 1,000,000,000), decimal amounts, a time;
//! 2. has a quantity of 1 or more;
//! 3. is no fuel: fuel is sold by thousandths of a gallon, which shows as 100 units or more at less than a cent each;
//! 4. has a value: no amount is negative, and sales value and retail discount are not both zero.
//!
//! Amounts are taken to the cent, half to even. `sales_value` is what the retailer takes in: sales before discount =
//! sales_value + retail_disc, net revenue = sales_value. `coupon_disc` is the manufacturer's, and pays part of that; above
//! the sales value it is capped at it. Groceries are taxed at 0 %.
//!
//! The largest stores by lines become nodes; a seeded share of their baskets is sold at the counter, all others are orders
//! sent home. With a limit of N, reading stops at the line that begins basket N + 1.

use std::collections::{BTreeMap, HashMap, HashSet};

use rust_decimal::Decimal;
use stockmesh_proto::common::v1::{PaymentTerms, TaxRegime};
use stockmesh_types::MAX_QUANTITY;

use super::file::Lines;
use super::items::{self, ItemBook};
use super::left_out::{LeftOut, LeftOutReason};
use super::model::{Counter, Event, Stream, StreamLine, StreamOrder, StreamReturn, StreamStore};
use super::row::{self, Columns};
use super::{ReadOptions, StreamError, amount, places, stable_hash, tax};

/// The columns.
pub const COLUMNS: [&str; 10] = [
    "basket_id",
    "store_id",
    "household_id",
    "product_id",
    "quantity",
    "sales_value",
    "retail_disc",
    "coupon_disc",
    "week",
    "transaction_timestamp",
];

/// Their spellings.
pub const COLUMN_NAMES: [&[&str]; 10] = [
    &["basket_id"],
    &["store_id"],
    &["household_id"],
    &["product_id"],
    &["quantity"],
    &["sales_value"],
    &["retail_disc"],
    &["coupon_disc"],
    &["week"],
    &["transaction_timestamp"],
];

/// Share of a hosted store's baskets that are sold at its counter, percent.
const COUNTER_PERCENT: u64 = 50;
/// Share of baskets with a return, per mille: the file has none, so they are drawn.
const RETURNS_PER_MILLE: u64 = 20;
/// Lines that one counter sale may have.
const MAX_COUNTER_LINES: usize = 200;
/// Where sales tax would fall due; the file does not say in which states the stores are.
const JURISDICTION: &str = "US";

struct Row {
    basket: u64,
    store: u64,
    household: u64,
    product: u64,
    quantity: i64,
    sales: Decimal,
    retail_discount: Decimal,
    coupon: Decimal,
    time_ms: i64,
}

impl Row {
    fn parse(fields: [String; 10]) -> Result<Self, String> {
        let [basket, store, household, product, quantity, sales, retail, coupon, _week, time] = fields;
        let id = |text: &str, what: &str| {
            text.parse::<u64>()
                .map_err(|_| format!("{what} {:?} is not a number", text.chars().take(30).collect::<String>()))
        };
        let money = |text: &str, what: &str| {
            amount::decimal(text)
                .ok_or_else(|| format!("{what} {:?} is not a number", text.chars().take(30).collect::<String>()))
        };
        let shown: String = quantity.chars().take(30).collect();
        let quantity: i64 = quantity.parse().map_err(|_| format!("quantity {shown:?} is not an integer"))?;
        if quantity.unsigned_abs() > MAX_QUANTITY.unsigned_abs() {
            return Err(format!("quantity {quantity} is beyond {MAX_QUANTITY}"));
        }
        Ok(Self {
            basket: id(&basket, "basket")?,
            store: id(&store, "store")?,
            household: id(&household, "household")?,
            product: id(&product, "product")?,
            quantity,
            sales: money(&sales, "sales value")?,
            retail_discount: money(&retail, "retail discount")?,
            coupon: money(&coupon, "coupon")?,
            time_ms: row::time_ms(&time).ok_or_else(|| "time can't be read".to_owned())?,
        })
    }
}

struct Basket {
    id: u64,
    store: u64,
    household: u64,
    time_ms: i64,
    lines: Vec<StreamLine>,
}

#[derive(Default)]
struct Reader {
    baskets: Vec<Basket>,
    by_id: HashMap<u64, usize>,
    items: ItemBook,
    left_out: LeftOut,
    capped_coupons: u64,
    capped_minor: i64,
    lines_read: u64,
}

/// Reads the file.
///
/// # Errors
/// [`StreamError::Io`]; lines that can't be read are counted instead.
pub fn read(mut lines: Lines, options: ReadOptions) -> Result<Stream, StreamError> {
    let columns = Columns::find(lines.header(), &COLUMN_NAMES)
        .map_err(|_| StreamError::UnknownFormat { path: lines.name(), found: lines.header().to_owned() })?;
    let mut reader = Reader::default();
    let mut baskets = HashSet::new();
    while let Some((number, line)) = lines.next_line()? {
        if line.is_empty() {
            continue;
        }
        match columns.fields(&line).and_then(Row::parse) {
            Ok(row) => {
                if !baskets.contains(&row.basket) {
                    if options.limit.is_some_and(|limit| baskets.len() >= limit) {
                        break;
                    }
                    baskets.insert(row.basket);
                }
                reader.lines_read += 1;
                reader.take(number, &row);
            }
            Err(why) => {
                reader.lines_read += 1;
                reader.left_out.malformed(number, &why);
            }
        }
    }
    Ok(reader.finish(lines.name(), options))
}

impl Reader {
    fn take(&mut self, number: u64, row: &Row) {
        let amounts = [row.sales, row.retail_discount, row.coupon].map(amount::hundredths);
        let [Some(sales_minor), Some(retail_minor), Some(coupon_minor)] = amounts else {
            self.left_out.malformed(number, "an amount is beyond any sale");
            return;
        };
        let reason = if row.quantity <= 0 {
            Some(LeftOutReason::ZeroQuantity)
        } else if row.quantity >= 100 && sales_minor + retail_minor < row.quantity {
            Some(LeftOutReason::Fuel)
        } else if sales_minor < 0 || retail_minor < 0 || coupon_minor < 0 || sales_minor + retail_minor == 0 {
            Some(LeftOutReason::NoValue)
        } else {
            None
        };
        if let Some(reason) = reason {
            let class = self.left_out.add(reason, row.quantity, sales_minor);
            if reason == LeftOutReason::Fuel {
                class.named(&row.product.to_string());
            }
            return;
        }
        if coupon_minor > sales_minor {
            self.capped_coupons += 1;
            self.capped_minor += coupon_minor - sales_minor;
        }
        let (gross, coupon) = (sales_minor + retail_minor, coupon_minor.min(sales_minor));
        let Ok(price) = tax::priced(gross, retail_minor, coupon, JURISDICTION, TaxRegime::SalesTax, 0) else {
            self.left_out.malformed(number, "an amount is beyond any sale");
            return;
        };
        let item = self.items.intern(&row.product.to_string(), &format!("product {}", row.product));
        self.items.saw_price(item, sales_minor, row.quantity);
        let at = *self.by_id.entry(row.basket).or_insert_with(|| {
            let Row { basket, store, household, time_ms, .. } = *row;
            self.baskets.push(Basket { id: basket, store, household, time_ms, lines: Vec::new() });
            self.baskets.len() - 1
        });
        self.baskets[at].lines.push(StreamLine { item, quantity: row.quantity, price });
    }

    /// The stores with most lines, ties to the lower number.
    fn largest_stores(&self, most: usize) -> Vec<u64> {
        let mut lines: BTreeMap<u64, usize> = BTreeMap::new();
        for basket in &self.baskets {
            *lines.entry(basket.store).or_default() += basket.lines.len();
        }
        let mut stores: Vec<_> = lines.into_iter().collect();
        stores.sort_by_key(|(store, lines)| (std::cmp::Reverse(*lines), *store));
        stores.truncate(most);
        stores.into_iter().map(|(store, _)| store).collect()
    }

    fn finish(self, name: String, options: ReadOptions) -> Stream {
        let hosted = self.largest_stores(options.stores);
        let all_stores: HashSet<u64> = self.baskets.iter().map(|basket| basket.store).collect();
        let mut events = Vec::with_capacity(self.baskets.len());
        let mut returns = Vec::new();
        let mut elsewhere = 0u64;
        for basket in self.baskets {
            let draw = stable_hash(&format!("{}/{}", options.seed, basket.id));
            let store = hosted.iter().position(|store| *store == basket.store);
            elsewhere += u64::from(store.is_none());
            let at_counter = store.filter(|_| draw % 100 < COUNTER_PERCENT && basket.lines.len() <= MAX_COUNTER_LINES);
            if (draw >> 20) % 1_000 < RETURNS_PER_MILLE {
                returns.extend(drawn_return(&basket));
            }
            let place = places::in_the_us(&format!("store-{}", basket.store));
            let household = format!("household-{}", basket.household);
            events.push(match at_counter {
                Some(store) => Event::Counter(Counter {
                    sale_id: format!("b{}", basket.id),
                    store,
                    sold_time_ms: basket.time_ms,
                    customer: household,
                    lines: basket.lines,
                }),
                None => Event::Order(StreamOrder {
                    order_id: format!("b{}", basket.id),
                    channel: "web",
                    placed_time_ms: basket.time_ms,
                    ship_to: places::near(&place, &household),
                    customer: household,
                    payment_terms: PaymentTerms::OnShipment,
                    lines: basket.lines,
                }),
            });
        }
        let mut assumptions = vec![
            format!("the {} largest of {} stores by lines become nodes; the {elsewhere} baskets of the others are web orders", hosted.len(), all_stores.len()),
            format!("{COUNTER_PERCENT} % of the baskets of a store that is a node, drawn by seed, are sold at its counter; the others are orders sent to the household, near its store"),
            "where stores stand is not in the data: each is put at one of 24 cities by a hash of its number".to_owned(),
            "groceries are taxed at 0 % sales tax; sales_value is net revenue after retail_disc; coupon_disc is paid by the manufacturer".to_owned(),
            format!("the data has no returns: {RETURNS_PER_MILLE} in 1,000 baskets, drawn by seed, bring one line back"),
            items::ASSUMPTION.to_owned(),
        ];
        if self.capped_coupons > 0 {
            assumptions.push(format!(
                "coupon_disc above the sales value is capped at it: {} lines, {}.{:02} USD in all",
                self.capped_coupons,
                self.capped_minor / 100,
                self.capped_minor % 100
            ));
        }
        let stores = hosted
            .iter()
            .map(|store| StreamStore {
                node: format!("store-{store}"),
                place: places::in_the_us(&format!("store-{store}")),
            })
            .collect();
        Stream {
            name: format!("Complete Journey ({name})"),
            source: "The Complete Journey, 84.51\u{b0} (CC0, R package completejourney)".to_owned(),
            currency_code: "USD",
            lines_read: self.lines_read,
            items: self.items.finish(),
            stores,
            events,
            returns,
            left_out: self.left_out,
            assumptions,
        }
    }
}

/// One whole line of the basket comes back.
fn drawn_return(basket: &Basket) -> Option<StreamReturn> {
    let line = basket.lines.first()?;
    Some(StreamReturn {
        return_id: format!("r{}", basket.id),
        bought_on: format!("b{}", basket.id),
        line: 1,
        item: line.item,
        quantity: line.quantity,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read_text(body: &str, stores: usize, limit: Option<usize>) -> Stream {
        let text = format!("{}\n{body}", COLUMNS.join(","));
        let lines = Lines::from_reader(Path::new("t.csv"), Box::new(std::io::Cursor::new(text.into_bytes()))).unwrap();
        read(lines, ReadOptions { limit, stores, seed: 1 }).unwrap()
    }

    #[test]
    fn every_class_of_line_goes_where_the_rules_say() {
        use LeftOutReason::*;
        let cases = [
            ("1,2,3,4,1,1.5,0.29,0.0,1,2017-01-01 12:30:27", None),
            ("1,2,3,4,1,0.0,2.99,0.0,1,2017-01-01 12:30:27", None),
            ("1,2,3,4,54,5.4,2.7,0.0,1,2017-01-01 12:30:27", None),
            ("1,2,3,4,100,1.00,0.0,0.0,1,2017-01-01 12:30:27", None),
            ("1,2,3,4,100,0.99,0.0,0.0,1,2017-01-01 12:30:27", Some(Fuel)),
            ("1,2,3,4,8396,18.46,0.84,0.0,1,2017-01-01 12:30:27", Some(Fuel)),
            ("1,2,3,4,0,4.440892e-16,0.0,0.0,1,2017-01-01 12:30:27", Some(ZeroQuantity)),
            ("1,2,3,4,1,0.0,0.0,1.0,1,2017-01-01 12:30:27", Some(NoValue)),
            ("1,2,3,4,1,-1.0,0.0,0.0,1,2017-01-01 12:30:27", Some(NoValue)),
            ("1,2,3,4,x,1.0,0.0,0.0,1,2017-01-01 12:30:27", Some(Malformed)),
            ("1,2,3,4,1,1.0,0.0,0.0,1", Some(Malformed)),
        ];
        for (line, want) in cases {
            let stream = read_text(line, 12, None);
            let got: Vec<_> = stream.left_out.classes.keys().copied().collect();
            assert_eq!(got, want.into_iter().collect::<Vec<_>>(), "{line}");
            assert_eq!(stream.events.len(), usize::from(want.is_none()), "{line}");
        }
    }

    #[test]
    fn discounts_are_the_retailers_and_coupons_the_manufacturers_capped() {
        let stream = read_text(
            "1,2,3,4,1,37.34,1.10,4.0,1,2017-01-01 12:30:27\n1,2,3,5,1,0.50,0.25,0.75,1,2017-01-01 12:30:27\n",
            0,
            None,
        );
        let totals = stream.totals();
        assert_eq!((totals.sales_minor, totals.discount_minor, totals.coupon_minor), (3_919, 135, 450));
        assert_eq!((totals.net_minor(), totals.tax_minor(), totals.orders), (3_784, 0, 1));
        assert!(stream.assumptions.iter().any(|a| a.contains("capped at it: 1 lines, 0.25 USD")));
    }

    #[test]
    fn the_largest_stores_become_nodes_and_share_their_baskets() {
        let mut body = String::new();
        for basket in 0..200 {
            let store = if basket % 4 == 0 { 7 } else { 8 };
            body.push_str(&format!("{basket},{store},3,4,1,1.5,0,0,1,2017-01-01 12:30:27\n"));
        }
        let stream = read_text(&body, 1, None);
        assert_eq!(stream.stores.iter().map(|s| s.node.as_str()).collect::<Vec<_>>(), ["store-8"]);
        let counters = stream.counters().count();
        assert!((50..100).contains(&counters), "{counters}");
        assert_eq!(stream.orders().count() + counters, 200);
        assert_eq!(read_text(&body, 1, Some(10)).events.len(), 10);
    }
}
