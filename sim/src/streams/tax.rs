//! Taxes of the streams: which rate a sale has, by its date and where it goes.

use stockmesh_proto::common::v1::{LinePrice, TaxLine, TaxRegime};
use stockmesh_types::{BusinessDate, Reject, money};

/// Standard rate of VAT in the United Kingdom on a date, parts per million.
/// 15 % until 2009-12-31, 17.5 % until 2011-01-03, 20 % from 2011-01-04 (HMRC, Notice 700 and Finance (No. 2) Act 2010).
#[must_use]
pub fn uk_vat_ppm(date: BusinessDate) -> u32 {
    match date.days() {
        ..=14_609 => 150_000,
        14_610..=14_977 => 175_000,
        _ => 200_000,
    }
}

/// A price with one tax line on the whole net amount.
///
/// # Errors
/// When the tax does not fit 64 bits.
pub fn priced(
    sales_minor: i64,
    discount_minor: i64,
    manufacturer_coupon_minor: i64,
    jurisdiction: &str,
    regime: TaxRegime,
    rate_ppm: u32,
) -> Result<LinePrice, Reject> {
    let taxable_minor = sales_minor - discount_minor;
    let tax_minor = money::tax_of(taxable_minor, rate_ppm)?;
    let tax =
        TaxLine { jurisdiction: jurisdiction.to_owned(), regime: regime.into(), rate_ppm, taxable_minor, tax_minor };
    Ok(LinePrice { sales_minor, discount_minor, manufacturer_coupon_minor, taxes: vec![tax] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_changes_on_its_days() {
        for (date, ppm) in [
            ("2009-12-31", 150_000),
            ("2010-01-01", 175_000),
            ("2011-01-03", 175_000),
            ("2011-01-04", 200_000),
            ("2026-11-21", 200_000),
        ] {
            assert_eq!(uk_vat_ppm(BusinessDate::parse(date).unwrap()), ppm, "{date}");
        }
    }
}
