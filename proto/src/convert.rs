//! Checked conversions: from the wire's strings and integers to values, and back.
//!
//! What is wrong is said by field and reason; nothing is corrected silently, but for the defaults that the `.proto`
//! comments state.

use stockmesh_types::{
    AllocationId, Currency, Grade, Incarnation, ItemId, Principal, PrincipalKind, Reason, Reject, StockKey,
};

use crate::common::v1 as wire;

/// The value of a message field that must be set.
///
/// # Errors
/// [`Reason::MissingField`], naming it.
pub fn required<'a, T>(value: &'a Option<T>, field: &str) -> Result<&'a T, Reject> {
    value.as_ref().ok_or_else(|| Reject::new(Reason::MissingField, format!("{field} is missing")).field(field))
}

/// A known, specified value of an enumeration.
///
/// # Errors
/// [`Reason::UnspecifiedEnum`], naming the field, for 0 and for numbers that this build does not know.
pub fn specified<T: TryFrom<i32>>(value: i32, field: &str) -> Result<T, Reject> {
    let refuse = |what: &str| Reject::new(Reason::UnspecifiedEnum, format!("{field} {what}")).field(field);
    if value == 0 {
        return Err(refuse("is not set"));
    }
    T::try_from(value).map_err(|_| refuse(&format!("has a value that is not known: {value}")))
}

/// A stock key; an unset grade is NEW.
///
/// # Errors
/// [`Reason::MissingField`], [`Reason::InvalidId`], [`Reason::UnspecifiedEnum`], below `field`.
pub fn stock_key(key: &Option<wire::StockKey>, field: &str) -> Result<StockKey, Reject> {
    let key = required(key, field)?;
    stock_key_of(key).map_err(|reject| reject.within(field))
}

fn stock_key_of(key: &wire::StockKey) -> Result<StockKey, Reject> {
    let item = ItemId::new(&key.item).map_err(|reject| reject.field("item"))?;
    let grade = match key.grade {
        0 => Grade::New,
        other => match specified::<wire::Grade>(other, "grade")? {
            wire::Grade::Unspecified | wire::Grade::New => Grade::New,
            wire::Grade::Refurbished => Grade::Refurbished,
        },
    };
    StockKey::new(item, grade, key.owner.clone(), key.shelf_life_class.clone())
}

/// An allocation id.
///
/// # Errors
/// [`Reason::MissingField`] when it is not set.
pub fn allocation_id(id: &Option<wire::AllocationId>, field: &str) -> Result<AllocationId, Reject> {
    let id = required(id, field)?;
    Ok(AllocationId { incarnation: Incarnation(id.incarnation), log_index: id.log_index, n: id.n })
}

/// A place: a country code of two capital letters, coordinates on the globe.
///
/// # Errors
/// [`Reason::MissingField`], [`Reason::InvalidPlace`], [`Reason::TextTooLong`].
pub fn check_place(place: &Option<wire::Place>, field: &str) -> Result<(), Reject> {
    let place = required(place, field)?;
    let country = place.country_code.as_bytes();
    if country.len() != 2 || !country.iter().all(u8::is_ascii_uppercase) {
        let shown: String = place.country_code.chars().take(20).collect();
        return Err(Reject::new(
            Reason::InvalidPlace,
            format!("country code {shown:?} is not an ISO 3166-1 code of two capital letters"),
        )
        .field(format!("{field}.country_code")));
    }
    if place.latitude_e7.unsigned_abs() > 900_000_000 || place.longitude_e7.unsigned_abs() > 1_800_000_000 {
        return Err(Reject::new(
            Reason::InvalidPlace,
            "coordinates are not on the globe: they are in 1e-7 degrees".to_owned(),
        )
        .field(field));
    }
    if place.postal_code.len() > 16 {
        return Err(Reject::new(Reason::TextTooLong, "postal code is longer than 16 characters")
            .field(format!("{field}.postal_code")));
    }
    Ok(())
}

/// A line's price: amounts in range, the discount at most the sales value, each tax what its rate gives on the line's own base.
///
/// # Errors
/// [`Reason::MissingField`], [`Reason::AmountNegative`], [`Reason::AmountTooLarge`], [`Reason::TaxMismatch`],
/// [`Reason::UnspecifiedEnum`], [`Reason::InvalidValue`].
pub fn check_price(price: &Option<wire::LinePrice>, field: &str) -> Result<(), Reject> {
    let price = required(price, field)?;
    let within = |reason, message: String, part: &str| Reject::new(reason, message).field(format!("{field}.{part}"));
    for (amount, part) in [
        (price.sales_minor, "sales_minor"),
        (price.discount_minor, "discount_minor"),
        (price.manufacturer_coupon_minor, "manufacturer_coupon_minor"),
    ] {
        if amount < 0 {
            return Err(within(Reason::AmountNegative, format!("{part} is {amount}"), part));
        }
        if amount > MAX_AMOUNT_MINOR {
            return Err(within(Reason::AmountTooLarge, format!("{part} is {amount}, beyond {MAX_AMOUNT_MINOR}"), part));
        }
    }
    let net = price.sales_minor - price.discount_minor;
    if net < price.manufacturer_coupon_minor {
        return Err(within(
            Reason::InvalidValue,
            format!("discount and manufacturer coupon are more than the sales value of {}", price.sales_minor),
            "discount_minor",
        ));
    }
    if price.taxes.len() > 8 {
        return Err(within(Reason::TooManyLines, "more than 8 taxes on a line".to_owned(), "taxes"));
    }
    for (n, tax) in price.taxes.iter().enumerate() {
        let part = format!("taxes[{n}]");
        if tax.jurisdiction.is_empty() || tax.jurisdiction.len() > 16 {
            return Err(within(Reason::MissingField, "jurisdiction is missing or too long".to_owned(), &part));
        }
        specified::<wire::TaxRegime>(tax.regime, "regime").map_err(|r| r.within(&format!("{field}.{part}")))?;
        if tax.rate_ppm > 1_000_000 {
            return Err(within(Reason::InvalidValue, format!("rate {} ppm is above 100 %", tax.rate_ppm), &part));
        }
        if tax.taxable_minor < 0 || tax.taxable_minor > net {
            return Err(within(
                Reason::TaxMismatch,
                format!("taxable amount {} is not within the line's net of {net}", tax.taxable_minor),
                &part,
            ));
        }
        let due = stockmesh_types::money::tax_of(tax.taxable_minor, tax.rate_ppm)?;
        if due != tax.tax_minor {
            return Err(within(
                Reason::TaxMismatch,
                format!("tax is {}, and {} at {} ppm gives {due}", tax.tax_minor, tax.taxable_minor, tax.rate_ppm),
                &part,
            ));
        }
    }
    Ok(())
}

/// The largest amount of one line, minor units: sums of 2,000 lines stay far within 64 bits.
pub const MAX_AMOUNT_MINOR: i64 = 1_000_000_000_000;

/// A currency code.
///
/// # Errors
/// [`Reason::MissingField`], [`Reason::InvalidCurrency`].
pub fn currency(code: &str, field: &str) -> Result<Currency, Reject> {
    if code.is_empty() {
        return Err(Reject::new(Reason::MissingField, format!("{field} is missing")).field(field));
    }
    Currency::new(code).map_err(|reject| reject.field(field))
}

impl From<&StockKey> for wire::StockKey {
    fn from(key: &StockKey) -> Self {
        let grade = match key.grade {
            Grade::New => wire::Grade::New,
            Grade::Refurbished => wire::Grade::Refurbished,
        };
        Self {
            item: key.item.to_string(),
            grade: grade.into(),
            owner: key.owner.clone(),
            shelf_life_class: key.shelf_life_class.clone(),
        }
    }
}

impl From<AllocationId> for wire::AllocationId {
    fn from(id: AllocationId) -> Self {
        Self { incarnation: id.incarnation.0, log_index: id.log_index, n: id.n }
    }
}

impl From<&Principal> for wire::Principal {
    fn from(principal: &Principal) -> Self {
        let kind = match principal.kind {
            PrincipalKind::User => wire::PrincipalKind::User,
            PrincipalKind::Node => wire::PrincipalKind::Node,
            PrincipalKind::Coordinator => wire::PrincipalKind::Coordinator,
            PrincipalKind::Finance => wire::PrincipalKind::Finance,
            PrincipalKind::System => wire::PrincipalKind::System,
            PrincipalKind::Insecure => wire::PrincipalKind::Insecure,
        };
        Self { kind: kind.into(), id: principal.id.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(sales: i64, discount: i64, taxable: i64, rate_ppm: u32, tax: i64) -> Option<wire::LinePrice> {
        Some(wire::LinePrice {
            sales_minor: sales,
            discount_minor: discount,
            manufacturer_coupon_minor: 0,
            taxes: vec![wire::TaxLine {
                jurisdiction: "GB".into(),
                regime: wire::TaxRegime::Vat.into(),
                rate_ppm,
                taxable_minor: taxable,
                tax_minor: tax,
            }],
        })
    }

    #[test]
    fn prices_are_checked_field_by_field() {
        let cases = [
            (price(1_000, 0, 1_000, 200_000, 200), None),
            (price(1_000, 100, 900, 175_000, 158), None), // 157.5 to even
            (price(-1, 0, 0, 0, 0), Some((Reason::AmountNegative, "p.sales_minor"))),
            (price(i64::MAX, 0, 0, 0, 0), Some((Reason::AmountTooLarge, "p.sales_minor"))),
            (price(1_000, 1_001, 0, 0, 0), Some((Reason::InvalidValue, "p.discount_minor"))),
            (price(1_000, 0, 1_001, 0, 0), Some((Reason::TaxMismatch, "p.taxes[0]"))),
            (price(1_000, 0, 1_000, 200_000, 201), Some((Reason::TaxMismatch, "p.taxes[0]"))),
            (price(1_000, 0, 1_000, 1_000_001, 0), Some((Reason::InvalidValue, "p.taxes[0]"))),
            (None, Some((Reason::MissingField, "p"))),
        ];
        for (price, wrong) in cases {
            let got = check_price(&price, "p").err().map(|reject| (reject.reason, reject.field));
            assert_eq!(got, wrong.map(|(reason, field)| (reason, field.to_owned())), "{price:?}");
        }
    }

    #[test]
    fn exception_codes_are_the_same_on_the_wire_and_in_the_table() {
        for code in stockmesh_types::ExceptionCode::ALL {
            let number = i32::try_from(code.number()).unwrap();
            let wire = wire::ExceptionCode::try_from(number).unwrap();
            assert_eq!(wire.as_str_name(), format!("EXCEPTION_CODE_{}", code.code()));
        }
        let beyond = i32::try_from(stockmesh_types::ExceptionCode::ALL.len() + 1).unwrap();
        assert!(wire::ExceptionCode::try_from(beyond).is_err(), "a code is on the wire and not in the table");
    }

    #[test]
    fn stock_keys_default_to_new_and_name_what_is_wrong() {
        let key = |item: &str, grade| Some(wire::StockKey { item: item.into(), grade, ..Default::default() });
        assert_eq!(stock_key(&key("A", 0), "k").unwrap(), StockKey::of(ItemId::new("A").unwrap()));
        assert_eq!(stock_key(&key("A", 2), "k").unwrap().grade, Grade::Refurbished);
        let wrong = stock_key(&key("", 0), "lines[0].stock_key").unwrap_err();
        assert_eq!((wrong.reason, wrong.field.as_str()), (Reason::MissingField, "lines[0].stock_key.item"));
        assert_eq!(stock_key(&key("A", 99), "k").unwrap_err().reason, Reason::UnspecifiedEnum);
        assert_eq!(stock_key(&None, "k").unwrap_err().reason, Reason::MissingField);
    }
}
