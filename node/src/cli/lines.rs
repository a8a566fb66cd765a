//! Lines and stock keys as people type them.
//!
//! A stock key is `ITEM[+refurbished][+owner:NAME][+life:CLASS]`, as the node prints it. A line of goods is `KEY=QTY`, with an
//! amount `@12.50` for the whole line where there is one, in units of the currency.

use stockmesh_proto::common::v1::{Condition, StockKey as WireStockKey};
use stockmesh_types::{AllocationId, Currency, Grade, ItemId, Reason, Reject, StockKey};

/// `KEY=QTY`, `KEY=QTY@AMOUNT`, `KEY=QTY@AMOUNT:damaged`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GoodsLine {
    pub stock_key: StockKey,
    pub quantity: i64,
    pub amount: Option<String>,
    pub condition: Condition,
}

/// `ALLOCATION=QTY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AllocationLine {
    pub allocation: AllocationId,
    pub quantity: i64,
}

fn wrong(message: String) -> Reject {
    Reject::new(Reason::InvalidValue, message)
}

fn quantity(text: &str) -> Result<i64, Reject> {
    text.parse().map_err(|_| wrong(format!("{text:?} is no quantity: give a whole number")))
}

pub(crate) fn stock_key(text: &str) -> Result<StockKey, Reject> {
    let mut parts = text.split('+');
    let item = ItemId::new(parts.next().unwrap_or_default())?;
    let (mut grade, mut owner, mut class) = (Grade::New, String::new(), String::new());
    for part in parts {
        match part.split_once(':') {
            None if part == "refurbished" => grade = Grade::Refurbished,
            Some(("owner", name)) => owner = name.to_owned(),
            Some(("life", name)) => class = name.to_owned(),
            _ => return Err(wrong(format!("{part:?} is none of +refurbished, +owner:NAME, +life:CLASS"))),
        }
    }
    StockKey::new(item, grade, owner, class)
}

pub(crate) fn goods_line(text: &str) -> Result<GoodsLine, Reject> {
    let form = || wrong(format!("{text:?} is not of the form ITEM=QTY or ITEM=QTY@AMOUNT"));
    let (key, rest) = text.split_once('=').ok_or_else(form)?;
    let (rest, condition) = match rest.split_once(':') {
        None => (rest, Condition::Sellable),
        Some((rest, "damaged")) => (rest, Condition::Damaged),
        Some((rest, "quarantined")) => (rest, Condition::Quarantined),
        Some((_, other)) => return Err(wrong(format!("{other:?} is none of :damaged, :quarantined"))),
    };
    let (units, amount) = match rest.split_once('@') {
        None => (rest, None),
        Some((units, amount)) => (units, Some(amount.to_owned())),
    };
    Ok(GoodsLine { stock_key: stock_key(key)?, quantity: quantity(units)?, amount, condition })
}

pub(crate) fn allocation_line(text: &str) -> Result<AllocationLine, Reject> {
    let (allocation, units) =
        text.split_once('=').ok_or_else(|| wrong(format!("{text:?} is not of the form ALLOCATION=QTY")))?;
    Ok(AllocationLine { allocation: allocation.parse()?, quantity: quantity(units)? })
}

/// Minor units of an amount like `12.50`: never rounded, an amount with more decimals than the currency has is refused.
pub(crate) fn minor_units(text: &str, currency: Currency) -> Result<i64, Reject> {
    let refuse = || wrong(format!("{text:?} is no amount in {currency}: at most {} decimals", currency.exponent()));
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let places = usize::try_from(currency.exponent()).map_err(|_| refuse())?;
    if whole.is_empty() || !digits(whole) || !digits(decimals) || decimals.len() > places {
        return Err(refuse());
    }
    format!("{whole}{decimals:0<places$}").parse().map_err(|_| refuse())
}

/// Parts per million of a rate like `17.5` (per cent).
pub(crate) fn rate_ppm(text: &str) -> Result<u32, Reject> {
    let refuse = || wrong(format!("{text:?} is no rate in per cent with at most four decimals, like 17.5"));
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(decimals) || decimals.len() > 4 {
        return Err(refuse());
    }
    format!("{whole}{decimals:0<4}").parse().map_err(|_| refuse())
}

pub(crate) fn wire(key: &StockKey) -> Option<WireStockKey> {
    Some(key.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stock_keys_are_read_as_they_are_printed() {
        for text in ["A", "85123A", "A+refurbished", "A+refurbished+owner:acme+life:short", "a/b+owner:x"] {
            assert_eq!(stock_key(text).unwrap().to_string(), text);
        }
        for wrong in ["", "A+used", "A+owner", "A+owner:a b", " A"] {
            assert!(stock_key(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn lines() {
        let line = goods_line("A+refurbished=3@12.50:damaged").unwrap();
        assert_eq!((line.quantity, line.amount.as_deref(), line.condition), (3, Some("12.50"), Condition::Damaged));
        assert_eq!(goods_line("A=3").unwrap().amount, None);
        for wrong in ["A", "A=", "A=x", "=3", "A=3@1:broken", "A=1.5"] {
            assert!(goods_line(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(allocation_line("k1-7-0=2").unwrap().quantity, 2);
        assert!(allocation_line("k1-7-0").is_err() && allocation_line("7=2").is_err());
    }

    #[test]
    fn amounts_are_exact() {
        let cases = [
            ("12.50", "EUR", Some(1_250)),
            ("12.5", "EUR", Some(1_250)),
            ("12", "EUR", Some(1_200)),
            ("12", "JPY", Some(12)),
            ("1.234", "KWD", Some(1_234)),
            ("12.505", "EUR", None),
            ("12.5", "JPY", None),
            ("-1", "EUR", None),
            (".5", "EUR", None),
            ("1e3", "EUR", None),
            ("99999999999999999999", "EUR", None),
        ];
        for (text, currency, expected) in cases {
            assert_eq!(minor_units(text, Currency::new(currency).unwrap()).ok(), expected, "{text} {currency}");
        }
        let rates =
            [("20", Some(200_000)), ("17.5", Some(175_000)), ("0.0001", Some(1)), ("1.00001", None), ("", None)];
        for (text, expected) in rates {
            assert_eq!(rate_ppm(text).ok(), expected, "{text}");
        }
    }
}
