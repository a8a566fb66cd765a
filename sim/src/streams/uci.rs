//! The UCI Online Retail file (Daqing Chen et al., doi 10.1057/dbm.2012.17): invoice lines of a wholesaler of gifts.
//!
//! Exactly what is replayed, so that anyone can recompute it. A line is taken when, in this order, it
//! 1. can be read: eight columns, an invoice number, an integer quantity of at most 1,000,000,000 either way, a time,
//!    a decimal price;
//! 2. has an invoice number of digits (a sale), or `C` and digits (a credit note), in either case;
//! 3. names a good: the stock code, trimmed and in capitals, begins with five digits or with `DCGS`;
//! 4. has a unit price above zero;
//! 5. is a sale with a quantity above zero, or a credit note with one below.
//!
//! Sales: each invoice is an order, each line a line of it (an item may come twice); more than 2,000 lines are split into
//! orders `<invoice>-2`, `-3`. Net amount of a line = quantity x unit price, in pence, half to even; prices are taken as
//! net of VAT. VAT of a line = net x rate, half to even: the United Kingdom's rate on the invoice's day for customers
//! there (and of country "Unspecified"), zero for all others.
//!
//! Credit notes are matched in [`super::uci_returns`]. With a limit of N, reading stops at the line that begins sale
//! invoice N + 1.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;
use stockmesh_proto::common::v1::{PaymentTerms, TaxRegime};
use stockmesh_types::{LogTime, MAX_QUANTITY};

use super::file::Lines;
use super::items::{self, ItemBook};
use super::left_out::{LeftOut, LeftOutReason};
use super::model::{Event, Stream, StreamLine, StreamOrder};
use super::places::{self, Destination};
use super::row::{self, Columns};
use super::uci_returns::{CreditLine, Returns};
use super::{ReadOptions, StreamError, amount, tax};

/// The columns, as UCI names them.
pub const COLUMNS: [&str; 8] =
    ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"];

/// Their spellings in both editions of the file.
pub const COLUMN_NAMES: [&[&str]; 8] = [
    &["InvoiceNo", "Invoice"],
    &["StockCode"],
    &["Description"],
    &["Quantity"],
    &["InvoiceDate"],
    &["UnitPrice", "Price"],
    &["CustomerID"],
    &["Country"],
];

/// Lines that one order may have.
const MAX_ORDER_LINES: usize = 2_000;

/// A line that can be read.
struct Row {
    invoice: String,
    code: String,
    description: String,
    quantity: i64,
    time_ms: i64,
    price: Decimal,
    customer: Option<String>,
    country: String,
}

/// What kind of document a line belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Document {
    Sale,
    CreditNote,
    Other,
}

impl Row {
    fn parse(fields: [String; 8]) -> Result<Self, String> {
        let [invoice, code, description, quantity, time, price, customer, country] = fields;
        if invoice.is_empty() || code.is_empty() {
            return Err("invoice number or stock code is empty".to_owned());
        }
        let quantity: i64 =
            quantity.parse().map_err(|_| format!("quantity {:?} is not an integer", shortened(&quantity)))?;
        if quantity.unsigned_abs() > MAX_QUANTITY.unsigned_abs() {
            return Err(format!("quantity {quantity} is beyond {MAX_QUANTITY}"));
        }
        let time_ms = row::time_ms(&time).ok_or_else(|| format!("time {:?} can't be read", shortened(&time)))?;
        let price = amount::decimal(&price).ok_or_else(|| format!("price {:?} is not a number", shortened(&price)))?;
        let customer = customer.trim_end_matches(".0").to_owned();
        let customer = (!customer.is_empty() && customer != "NA").then_some(customer);
        if customer.as_ref().is_some_and(|customer| !customer.chars().all(|c| c.is_ascii_alphanumeric())) {
            return Err("customer id has other characters than letters and digits".to_owned());
        }
        Ok(Self { invoice, code: code.to_ascii_uppercase(), description, quantity, time_ms, price, customer, country })
    }

    fn document(&self) -> Document {
        let digits = |text: &str| (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        match self.invoice.strip_prefix(['C', 'c']) {
            Some(rest) if digits(rest) => Document::CreditNote,
            None if digits(&self.invoice) => Document::Sale,
            _ => Document::Other,
        }
    }

    /// A good by its code: what the shop calls five digits and a variant, or its own gift range.
    fn is_good(&self) -> bool {
        let sku = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        let shape = self.code.len() <= 64 && self.code.chars().all(sku);
        let five_digits = self.code.len() >= 5 && self.code.bytes().take(5).all(|b| b.is_ascii_digit());
        shape && (five_digits || self.code.starts_with("DCGS"))
    }

    /// Quantity x price in pence, half to even, with the quantity's sign.
    fn net_minor(&self) -> Option<i64> {
        Decimal::from(self.quantity).checked_mul(self.price).and_then(amount::hundredths)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(30).collect()
}

/// A sale invoice while its lines come in.
struct Invoice {
    order: StreamOrder,
    vat_ppm: u32,
}

struct Reader {
    orders: Vec<Invoice>,
    by_invoice: HashMap<String, usize>,
    items: ItemBook,
    left_out: LeftOut,
    returns: Returns,
    unknown_countries: BTreeMap<String, u64>,
    lines_read: u64,
}

/// Reads the file.
///
/// # Errors
/// [`StreamError::Io`]; lines that can't be read are counted instead.
pub fn read(mut lines: Lines, options: ReadOptions) -> Result<Stream, StreamError> {
    let columns = Columns::find(lines.header(), &COLUMN_NAMES)
        .map_err(|_| StreamError::UnknownFormat { path: lines.name(), found: lines.header().to_owned() })?;
    let mut reader = Reader {
        orders: Vec::new(),
        by_invoice: HashMap::new(),
        items: ItemBook::default(),
        left_out: LeftOut::default(),
        returns: Returns::default(),
        unknown_countries: BTreeMap::new(),
        lines_read: 0,
    };
    let mut sale_invoices = std::collections::HashSet::new();
    while let Some((number, line)) = lines.next_line()? {
        if line.is_empty() {
            continue;
        }
        match columns.fields(&line).and_then(Row::parse) {
            Ok(row) => {
                if row.document() == Document::Sale && !sale_invoices.contains(&row.invoice) {
                    if options.limit.is_some_and(|limit| sale_invoices.len() >= limit) {
                        break;
                    }
                    sale_invoices.insert(row.invoice.clone());
                }
                reader.lines_read += 1;
                reader.take(number, row);
            }
            Err(why) => {
                reader.lines_read += 1;
                reader.left_out.malformed(number, &why);
            }
        }
    }
    Ok(reader.finish(lines.name()))
}

impl Reader {
    fn take(&mut self, number: u64, row: Row) {
        let Some(net_minor) = row.net_minor() else {
            self.left_out.malformed(number, "the line's amount is beyond any sale");
            return;
        };
        let document = row.document();
        let reason = match document {
            Document::Other => LeftOutReason::OtherDocument,
            _ if !row.is_good() => LeftOutReason::NotAGood,
            _ if row.price <= Decimal::ZERO => LeftOutReason::NoPrice,
            _ if row.quantity == 0 => LeftOutReason::ZeroQuantity,
            Document::Sale if row.quantity < 0 => LeftOutReason::StockAdjustment,
            Document::Sale => return self.sale(number, row, net_minor),
            Document::CreditNote if row.quantity > 0 => LeftOutReason::PositiveCredit,
            Document::CreditNote => return self.credit(&row, net_minor),
        };
        let class = self.left_out.add(reason, row.quantity, net_minor);
        if matches!(reason, LeftOutReason::NotAGood | LeftOutReason::OtherDocument) {
            class.named(&row.code);
        }
    }

    fn sale(&mut self, number: u64, row: Row, net_minor: i64) {
        let at = match self.by_invoice.get(&row.invoice) {
            Some(&at) if self.orders[at].order.lines.len() < MAX_ORDER_LINES => at,
            Some(_) => self.open(&row, Some(self.parts(&row.invoice) + 1)),
            None => self.open(&row, None),
        };
        let invoice = &mut self.orders[at];
        let Ok(price) = tax::priced(net_minor, 0, 0, places::UK, TaxRegime::Vat, invoice.vat_ppm) else {
            self.left_out.malformed(number, "the line's tax is beyond any sale");
            return;
        };
        let item = self.items.intern(&row.code, &row.description);
        self.items.saw_price(item, net_minor, row.quantity);
        invoice.order.lines.push(StreamLine { item, quantity: row.quantity, price });
        if let Some(customer) = &row.customer {
            let line = u32::try_from(invoice.order.lines.len()).unwrap_or(u32::MAX);
            self.returns.sold(customer, item, &invoice.order.order_id, line, row.quantity);
        }
    }

    fn parts(&self, invoice: &str) -> usize {
        let continued = format!("{invoice}-");
        1 + self.orders.iter().filter(|known| known.order.order_id.starts_with(&continued)).count()
    }

    fn open(&mut self, row: &Row, part: Option<usize>) -> usize {
        // A sale over the web shop has no customer number: each invoice is then a customer of its own.
        let customer = row.customer.as_ref().map_or_else(|| format!("web-{}", row.invoice), |id| format!("uci-{id}"));
        let (ship_to, destination) = places::by_country(&row.country, &customer);
        let vat_ppm = match destination {
            Destination::Uk => tax::uk_vat_ppm(LogTime(row.time_ms).date()),
            Destination::Abroad => 0,
            Destination::Unknown => {
                *self.unknown_countries.entry(shortened(&row.country)).or_default() += 1;
                0
            }
        };
        let order_id = part.map_or_else(|| row.invoice.clone(), |part| format!("{}-{part}", row.invoice));
        let payment_terms = if row.customer.is_some() { PaymentTerms::OnAccount } else { PaymentTerms::Prepaid };
        let order = StreamOrder {
            order_id,
            channel: if row.customer.is_some() { "wholesale" } else { "web" },
            placed_time_ms: row.time_ms,
            customer,
            ship_to,
            payment_terms,
            lines: Vec::new(),
        };
        self.orders.push(Invoice { order, vat_ppm });
        let at = self.orders.len() - 1;
        self.by_invoice.insert(row.invoice.clone(), at);
        at
    }

    fn credit(&mut self, row: &Row, net_minor: i64) {
        let Some(customer) = &row.customer else {
            self.left_out.add(LeftOutReason::CreditWithoutCustomer, row.quantity, net_minor);
            return;
        };
        let item = self.items.intern(&row.code, &row.description);
        let credit = CreditLine { note: &row.invoice, customer, item, quantity: -row.quantity };
        let unmatched = self.returns.take_back(&credit);
        if unmatched > 0 {
            let amount = net_minor / -row.quantity * unmatched;
            self.left_out.add(LeftOutReason::CreditWithoutSale, unmatched, amount);
        }
    }

    fn finish(self, name: String) -> Stream {
        let mut assumptions = vec![
            "prices are net of VAT; all goods at the standard rate: 17.5 % until 2011-01-03, 20 % from 2011-01-04 (15 % before 2010), tax rounded half to even per line".to_owned(),
            "customers outside the United Kingdom are zero-rated (exports, and reverse charge within the EU); country \"Unspecified\" is taken as the United Kingdom".to_owned(),
            "the file has no counter sales: stores only send orders".to_owned(),
            "a stock code means the same good in capitals and small letters".to_owned(),
            "customers of the United Kingdom are spread over 25 cities by a hash of their number, others stand at one point of their country".to_owned(),
            "invoices with a customer number are paid on account; those without are web orders, prepaid".to_owned(),
            "a credit note takes goods back from the customer's latest earlier purchases of that item, at the price and VAT rate of that purchase".to_owned(),
            items::ASSUMPTION.to_owned(),
        ];
        for (country, orders) in &self.unknown_countries {
            assumptions
                .push(format!("country {country:?} is not in the table ({orders} orders): zero-rated, sent to London"));
        }
        Stream {
            name: format!("UCI Online Retail ({name})"),
            source: "UCI Online Retail, Daqing Chen et al., doi 10.1057/dbm.2012.17 (CC BY 4.0)".to_owned(),
            currency_code: "GBP",
            lines_read: self.lines_read,
            items: self.items.finish(),
            stores: Vec::new(),
            events: self.orders.into_iter().map(|invoice| Event::Order(invoice.order)).collect(),
            returns: self.returns.finish(),
            left_out: self.left_out,
            assumptions,
        }
    }
}

#[cfg(test)]
mod tests;
