//! Orders as people write them: flags (`MUG-1=2@4.95`) and JSON files.

use std::path::Path;

use clap::ValueEnum;
use serde::Deserialize;
use stockmesh_proto::common::v1 as wire;
use stockmesh_types::{Currency, Reject, money::tax_of};

use super::CliError;

/// `ITEM=QTY@UNIT_PRICE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LineArg {
    item: String,
    quantity: i64,
    unit_price: String,
}

impl std::str::FromStr for LineArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not of the form ITEM=QTY@UNIT_PRICE, like MUG-1=2@4.95");
        // The last `=`: an item has none, but a typing error should show as a wrong item.
        let (item, rest) = text.rsplit_once('=').ok_or_else(wrong)?;
        let (quantity, price) = rest.split_once('@').ok_or_else(wrong)?;
        if item.is_empty() || price.is_empty() {
            return Err(wrong());
        }
        let quantity = quantity.parse().map_err(|_| wrong())?;
        Ok(Self { item: item.to_owned(), quantity, unit_price: price.to_owned() })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Shortage {
    /// What can't be promised waits for stock
    Backorder,
    /// What can't be promised is cancelled
    Cancel,
    /// Refused unless everything can be promised now
    AllOrNothing,
}

impl Shortage {
    pub(super) fn wire(self) -> i32 {
        match self {
            Self::Backorder => wire::ShortagePolicy::Backorder,
            Self::Cancel => wire::ShortagePolicy::Cancel,
            Self::AllOrNothing => wire::ShortagePolicy::AllOrNothing,
        }
        .into()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Payment {
    /// Paid when the order is placed
    Prepaid,
    /// Paid when goods leave
    OnShipment,
    /// Invoiced
    OnAccount,
}

impl Payment {
    pub(super) fn wire(self) -> i32 {
        match self {
            Self::Prepaid => wire::PaymentTerms::Prepaid,
            Self::OnShipment => wire::PaymentTerms::OnShipment,
            Self::OnAccount => wire::PaymentTerms::OnAccount,
        }
        .into()
    }
}

/// Minor units of `amount`, exactly: `4.95` is 495 pence.
fn minor_of(amount: &str, currency: Currency) -> Result<i64, CliError> {
    let exponent = currency.exponent() as usize;
    let wrong =
        || CliError::Usage(format!("{amount:?} is no amount of {}: at most {exponent} decimals", currency.code()));
    let (whole, part) = amount.split_once('.').unwrap_or((amount, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > exponent {
        return Err(wrong());
    }
    format!("{whole}{part:0<exponent$}").parse().map_err(|_| wrong())
}

/// Lines from flags, each taxed alike.
pub(super) fn lines(
    args: &[LineArg],
    currency: &str,
    country: &str,
    vat_ppm: Option<u32>,
) -> Result<Vec<wire::OrderLine>, CliError> {
    let currency = Currency::new(currency).map_err(CliError::usage)?;
    let mut lines = Vec::with_capacity(args.len());
    for (number, LineArg { item, quantity, unit_price }) in (1..).zip(args) {
        let unit_minor = minor_of(unit_price, currency)?;
        let sales_minor = unit_minor
            .checked_mul(*quantity)
            .ok_or_else(|| CliError::Usage(format!("{quantity} times {unit_price} is beyond what the books hold")))?;
        let taxes = match vat_ppm {
            None => Vec::new(),
            Some(rate_ppm) => vec![tax(country, rate_ppm, sales_minor).map_err(CliError::usage)?],
        };
        lines.push(wire::OrderLine {
            line: number,
            stock_key: Some(key(item)),
            quantity: *quantity,
            price: Some(wire::LinePrice { sales_minor, discount_minor: 0, manufacturer_coupon_minor: 0, taxes }),
            allow_substitution: false,
        });
    }
    Ok(lines)
}

fn tax(jurisdiction: &str, rate_ppm: u32, taxable_minor: i64) -> Result<wire::TaxLine, Reject> {
    Ok(wire::TaxLine {
        jurisdiction: jurisdiction.to_owned(),
        regime: wire::TaxRegime::Vat.into(),
        rate_ppm,
        taxable_minor,
        tax_minor: tax_of(taxable_minor, rate_ppm)?,
    })
}

pub(super) fn key(item: &str) -> wire::StockKey {
    wire::StockKey { item: item.to_owned(), ..wire::StockKey::default() }
}

/// `20` or `17.5` percent in parts per million, exactly.
pub(super) fn percent_ppm(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is no percentage of at most 4 decimals, like 20 or 17.5");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || part.len() > 4 || !format!("{whole}{part}").bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    format!("{whole}{part:0<4}").parse().ok().filter(|ppm| *ppm <= 1_000_000).ok_or_else(wrong)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderFile {
    order_id: String,
    #[serde(default = "web")]
    channel: String,
    /// Left out: set by the coordinator, so that the same file is the same order whenever it is sent.
    #[serde(default)]
    placed_time_ms: i64,
    #[serde(default = "guest")]
    customer: String,
    ship_to: PlaceFile,
    currency_code: String,
    lines: Vec<LineFile>,
    #[serde(default = "backorder")]
    shortage_policy: Shortage,
    #[serde(default = "prepaid")]
    payment_terms: Payment,
}

fn guest() -> String {
    "guest".to_owned()
}
fn web() -> String {
    "web".to_owned()
}
fn backorder() -> Shortage {
    Shortage::Backorder
}
fn prepaid() -> Payment {
    Payment::Prepaid
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceFile {
    country_code: String,
    #[serde(default)]
    postal_code: String,
    #[serde(default)]
    latitude_e7: i32,
    #[serde(default)]
    longitude_e7: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineFile {
    line: Option<u32>,
    item: String,
    #[serde(default)]
    refurbished: bool,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    shelf_life_class: String,
    /// The customer takes a substitute of the item.
    #[serde(default)]
    allow_substitution: bool,
    quantity: i64,
    sales_minor: i64,
    #[serde(default)]
    discount_minor: i64,
    #[serde(default)]
    manufacturer_coupon_minor: i64,
    #[serde(default)]
    taxes: Vec<TaxFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaxFile {
    jurisdiction: String,
    /// `vat` or `sales-tax`.
    #[serde(default = "vat")]
    regime: String,
    rate_ppm: u32,
    taxable_minor: i64,
    tax_minor: i64,
}

fn vat() -> String {
    "vat".to_owned()
}

/// Reads an order from a JSON file.
pub(super) fn read(path: &Path) -> Result<wire::Order, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::Usage(format!("can't read {}: {error}", path.display())))?;
    parse(&text).map_err(|error| match error {
        CliError::Usage(message) => CliError::Usage(format!("{}: {message}", path.display())),
        other => other,
    })
}

pub(super) fn parse(text: &str) -> Result<wire::Order, CliError> {
    let file: OrderFile = serde_json::from_str(text).map_err(CliError::usage)?;
    let lines = (1..).zip(file.lines).map(|(number, line)| line.wire(number)).collect::<Result<Vec<_>, CliError>>()?;
    Ok(wire::Order {
        order_id: file.order_id,
        channel: file.channel,
        placed_time_ms: file.placed_time_ms,
        customer: Some(wire::PartyRef { id: file.customer }),
        ship_to: Some(wire::Place {
            country_code: file.ship_to.country_code,
            postal_code: file.ship_to.postal_code,
            latitude_e7: file.ship_to.latitude_e7,
            longitude_e7: file.ship_to.longitude_e7,
        }),
        currency_code: file.currency_code,
        lines,
        shortage_policy: file.shortage_policy.wire(),
        payment_terms: file.payment_terms.wire(),
    })
}

impl LineFile {
    fn wire(self, number: u32) -> Result<wire::OrderLine, CliError> {
        let grade = if self.refurbished { wire::Grade::Refurbished } else { wire::Grade::New };
        let taxes = self
            .taxes
            .into_iter()
            .map(|tax| {
                let regime = match tax.regime.as_str() {
                    "vat" => wire::TaxRegime::Vat,
                    "sales-tax" => wire::TaxRegime::SalesTax,
                    other => return Err(CliError::Usage(format!("regime {other:?} is neither vat nor sales-tax"))),
                };
                Ok(wire::TaxLine {
                    jurisdiction: tax.jurisdiction,
                    regime: regime.into(),
                    rate_ppm: tax.rate_ppm,
                    taxable_minor: tax.taxable_minor,
                    tax_minor: tax.tax_minor,
                })
            })
            .collect::<Result<_, CliError>>()?;
        Ok(wire::OrderLine {
            line: self.line.unwrap_or(number),
            stock_key: Some(wire::StockKey {
                item: self.item,
                grade: grade.into(),
                owner: self.owner,
                shelf_life_class: self.shelf_life_class,
            }),
            quantity: self.quantity,
            price: Some(wire::LinePrice {
                sales_minor: self.sales_minor,
                discount_minor: self.discount_minor,
                manufacturer_coupon_minor: self.manufacturer_coupon_minor,
                taxes,
            }),
            allow_substitution: self.allow_substitution,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        let (gbp, jpy) = (Currency::new("GBP").unwrap(), Currency::new("JPY").unwrap());
        for (text, currency, minor) in [("4.95", gbp, 495), ("4.9", gbp, 490), ("4", gbp, 400), ("400", jpy, 400)] {
            assert_eq!(minor_of(text, currency).unwrap(), minor, "{text}");
        }
        for (text, currency) in [("4.955", gbp), ("-1", gbp), (".5", gbp), ("1e3", gbp), ("4.0", jpy), ("", gbp)] {
            assert!(minor_of(text, currency).is_err(), "{text}");
        }
        assert_eq!((percent_ppm("20"), percent_ppm("17.5")), (Ok(200_000), Ok(175_000)));
        for text in ["", "x", "101", "1.00001", "-1", ".5"] {
            assert!(percent_ppm(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lines_are_read_and_taxed() {
        let line: LineArg = "MUG-1=3@4.95".parse().unwrap();
        let lines = lines(&[line], "GBP", "GB", Some(175_000)).unwrap();
        let price = lines[0].price.clone().unwrap();
        assert_eq!((lines[0].quantity, price.sales_minor, price.taxes[0].tax_minor), (3, 1_485, 260));
        for text in ["MUG-1", "MUG-1=3", "=3@1", "MUG-1=x@1", "MUG-1=3@"] {
            assert!(text.parse::<LineArg>().is_err(), "{text}");
        }
    }

    #[test]
    fn files_are_read_and_typing_errors_told() {
        let good = r#"{"order_id":"A1","currency_code":"GBP","ship_to":{"country_code":"GB"},
            "lines":[{"item":"MUG-1","quantity":2,"sales_minor":990,
                      "taxes":[{"jurisdiction":"GB","rate_ppm":200000,"taxable_minor":990,"tax_minor":198}]}]}"#;
        let order = parse(good).unwrap();
        assert_eq!((order.placed_time_ms, order.lines[0].line, order.channel.as_str()), (0, 1, "web"));
        let wrong = parse(&good.replace("quantity", "quantitty")).unwrap_err();
        assert!(wrong.to_string().contains("quantitty"), "{wrong}");
    }
}
