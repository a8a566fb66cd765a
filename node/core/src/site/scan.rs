//! Scanned codes: GTINs, GS1 element strings, and any other text that an item carries.
//!
//! A GTIN of 8, 12 or 13 digits is the same as with leading zeros to 14. An element string is a row of application identifiers (AIs)
//! with their values: fixed lengths need no end, others end with FNC1 (0x1D) or with the string. The form with brackets, as people
//! write it below the bars, is read as well.
//!
//! Must not know: who scans what for which purpose.

use std::collections::BTreeMap;

use stockmesh_proto::node::v1::ResolveScanResponse;
use stockmesh_types::{BusinessDate, ItemId, Reason, Reject};

use super::packs::base_units;
use crate::change::Item;
use crate::state::NodeState;

/// Longest scanned text.
const MAX_SCAN: usize = 256;
/// FNC1 as scanners send it.
const FNC1: char = '\u{1d}';

/// What a scanned text says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// The code that finds the item: a GTIN with 14 digits, or the text itself.
    pub code: String,
    /// It is a GTIN.
    pub is_gtin: bool,
    /// Lot (AI 10).
    pub lot: String,
    /// Last day of use (AI 17, or 15 when there is no 17).
    pub expiry: Option<BusinessDate>,
    /// Serial number (AI 21).
    pub serial: String,
    /// Net weight in grams (AI 310n).
    pub weight_grams: i64,
}

fn invalid(message: impl Into<String>) -> Reject {
    Reject::new(Reason::InvalidScan, message).field("code")
}

/// Reads a scanned text. `today` tells the century of a date with two digits for its year.
///
/// # Errors
/// [`Reason::InvalidScan`], [`Reason::TextTooLong`].
pub fn read(text: &str, today: BusinessDate) -> Result<Scanned, Reject> {
    if text.len() > MAX_SCAN {
        return Err(
            Reject::new(Reason::TextTooLong, format!("a scanned text has at most {MAX_SCAN} bytes")).field("code")
        );
    }
    let text = text.trim();
    // Symbology identifiers of GS1-128, GS1 DataMatrix, GS1 QR Code and GS1 DataBar.
    let marked = ["]C1", "]d2", "]Q3", "]e0"].iter().find_map(|mark| text.strip_prefix(mark));
    let elements = marked.or_else(|| text.strip_prefix(FNC1));
    if let Some(elements) = elements {
        return of_elements(split_elements(elements)?, today);
    }
    if text.starts_with('(') {
        return of_elements(split_brackets(text)?, today);
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && matches!(text.len(), 8 | 12 | 13 | 14) {
        return Ok(Scanned { code: gtin(text)?, is_gtin: true, ..Scanned::default() });
    }
    // Plain element strings begin with the GTIN's AI.
    if text.len() > 16 && text.starts_with("01") && text.bytes().take(16).all(|byte| byte.is_ascii_digit()) {
        return of_elements(split_elements(text)?, today);
    }
    if text.is_empty() || text.len() > 48 || text.chars().any(char::is_control) {
        return Err(invalid("a code has 1 to 48 printable characters"));
    }
    Ok(Scanned { code: text.to_owned(), ..Scanned::default() })
}

/// A GTIN with 14 digits, its check digit verified.
fn gtin(digits: &str) -> Result<String, Reject> {
    let padded = format!("{digits:0>14}");
    let weigh = |(at, byte): (usize, u8)| u32::from(byte - b'0') * if at % 2 == 0 { 3 } else { 1 };
    let sum: u32 = padded.bytes().take(13).enumerate().map(weigh).sum();
    let check = (10 - sum % 10) % 10;
    if padded.bytes().last().map(|byte| u32::from(byte - b'0')) != Some(check) {
        return Err(invalid(format!("{digits} is no GTIN: its check digit should be {check}")));
    }
    Ok(padded)
}

/// Length of the value of an AI that has a fixed one; `None`: it ends with FNC1. The AI itself has 2 to 4 digits.
fn ai(text: &str) -> Result<(usize, Option<usize>), Reject> {
    let two = text.get(..2).ok_or_else(|| invalid("the text ends within an AI"))?;
    Ok(match two {
        "00" => (2, Some(18)),
        "01" | "02" | "03" => (2, Some(14)),
        "11" | "12" | "13" | "15" | "16" | "17" => (2, Some(6)),
        "20" => (2, Some(2)),
        "10" | "21" | "22" | "30" | "37" | "90" | "91" | "92" | "93" | "94" | "95" | "96" | "97" | "98" | "99" => {
            (2, None)
        }
        "23" | "24" | "25" => (3, None),
        "31" | "32" | "33" | "34" | "35" | "36" => (4, Some(6)),
        "39" | "70" | "71" | "72" | "80" | "81" | "82" | "43" => (4, None),
        "40" => (3, None),
        "41" => (3, Some(13)),
        "42" => (3, None),
        other => return Err(invalid(format!("application identifier {other} is not known"))),
    })
}

type Elements = BTreeMap<String, String>;

fn split_elements(text: &str) -> Result<Elements, Reject> {
    let mut elements = Elements::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (length, fixed) = ai(rest)?;
        let name = rest.get(..length).filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        let name = name.ok_or_else(|| invalid(format!("{rest:?} does not begin with an application identifier")))?;
        let behind = &rest[length..];
        let end = match fixed {
            Some(fixed) => fixed,
            None => behind.find(FNC1).unwrap_or(behind.len()),
        };
        let value = behind.get(..end).ok_or_else(|| invalid(format!("AI {name} needs {end} characters")))?;
        add(&mut elements, name, value)?;
        rest = behind[end..].strip_prefix(FNC1).unwrap_or(&behind[end..]);
    }
    Ok(elements)
}

fn split_brackets(text: &str) -> Result<Elements, Reject> {
    let mut elements = Elements::new();
    for part in text.split('(').skip(1) {
        let (name, value) = part.split_once(')').ok_or_else(|| invalid("a bracket is not closed"))?;
        let (length, fixed) = ai(name)?;
        let known = name.len() == length && name.bytes().all(|byte| byte.is_ascii_digit());
        if !known || fixed.is_some_and(|fixed| value.len() != fixed) {
            return Err(invalid(format!("({name}) has not the length that it should have")));
        }
        add(&mut elements, name, value)?;
    }
    Ok(elements)
}

fn add(elements: &mut Elements, name: &str, value: &str) -> Result<(), Reject> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid(format!("AI {name} has no value of printable characters")));
    }
    match elements.insert(name.to_owned(), value.to_owned()) {
        Some(before) if before != value => Err(invalid(format!("AI {name} stands twice, with different values"))),
        _ => Ok(()),
    }
}

fn of_elements(elements: Elements, today: BusinessDate) -> Result<Scanned, Reject> {
    let missing = || invalid("the text names no item: AI 01 or 02 is missing");
    let item = elements.get("01").or_else(|| elements.get("02")).ok_or_else(missing)?;
    if !item.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(format!("{item} is no GTIN")));
    }
    let text = |name: &str, longest: usize| match elements.get(name) {
        Some(value) if value.len() > longest => Err(invalid(format!("AI {name} has at most {longest} characters"))),
        value => Ok(value.cloned().unwrap_or_default()),
    };
    let expiry = elements.get("17").or_else(|| elements.get("15"));
    Ok(Scanned {
        code: gtin(item)?,
        is_gtin: true,
        lot: text("10", 20)?,
        expiry: expiry.map(|digits| date(digits, today)).transpose()?,
        serial: text("21", 20)?,
        weight_grams: weight(&elements)?,
    })
}

/// A date of six digits. Day 00 is the last of its month. A year that would lie more than 50 years ahead was in the century before, one
/// more than 49 years ago is in the next.
fn date(digits: &str, today: BusinessDate) -> Result<BusinessDate, Reject> {
    let wrong = || invalid(format!("{digits} is no date of the form YYMMDD"));
    let number =
        |range: std::ops::Range<usize>| digits.get(range).and_then(|part| part.parse::<i64>().ok()).ok_or_else(wrong);
    let (yy, month, day) = (number(0..2)?, number(2..4)?, number(4..6)?);
    let this_year = today.civil().0;
    let near = this_year - this_year.rem_euclid(100) + yy;
    let year = match near - this_year {
        51.. => near - 100,
        ..=-50 => near + 100,
        _ => near,
    };
    if day > 0 {
        return BusinessDate::parse(&format!("{year:04}-{month:02}-{day:02}")).map_err(|_| wrong());
    }
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    let next = BusinessDate::parse(&format!("{next_year:04}-{next_month:02}-01")).map_err(|_| wrong())?;
    Ok(BusinessDate::from_days(next.days() - 1))
}

/// Net weight in grams of AI 310n: six digits of kilograms, n of them decimals. Never rounded.
fn weight(elements: &Elements) -> Result<i64, Reject> {
    let Some((name, value)) = elements.range("3100".to_owned()..="3109".to_owned()).next() else { return Ok(0) };
    let wrong = || invalid(format!("AI {name} is no weight in whole grams: {value}"));
    let number: i64 = value.parse().map_err(|_| wrong())?;
    let decimals: u32 = name.get(3..).and_then(|digit| digit.parse().ok()).ok_or_else(wrong)?;
    let thousandth = 10_i64.pow(decimals);
    let milli = number * 1_000;
    if milli % thousandth == 0 { Ok(milli / thousandth) } else { Err(wrong()) }
}

/// The code of an item as it is looked up: GTINs with 14 digits, other texts as they are.
pub(crate) fn lookup_code(code: &str) -> String {
    let digits = code.bytes().all(|byte| byte.is_ascii_digit());
    if digits && matches!(code.len(), 8 | 12 | 13 | 14) { format!("{code:0>14}") } else { code.to_owned() }
}

impl NodeState {
    /// The item and pack that a scanned text stands for.
    ///
    /// # Errors
    /// [`Reason::UnknownScan`].
    pub fn resolve(&self, scanned: &Scanned) -> Result<ResolveScanResponse, Reject> {
        let Scanned { code, is_gtin, lot, expiry, serial, weight_grams } = scanned;
        let found = self.item_with_code(code).or_else(|| self.item_named(code));
        let Some((id, item, pack)) = found else {
            let message = format!("no item that is ranged at node {} has the code {code}", self.identity().node);
            return Err(Reject::new(Reason::UnknownScan, message).field("code"));
        };
        Ok(ResolveScanResponse {
            item: id.to_string(),
            description: item.description.clone(),
            base_units: base_units(item, &pack)?,
            pack,
            lot: lot.clone(),
            expiry_date: expiry.map(|date| date.to_string()).unwrap_or_default(),
            serial: serial.clone(),
            weight_grams: *weight_grams,
            gtin: if *is_gtin { code.clone() } else { String::new() },
        })
    }

    fn item_named(&self, code: &str) -> Option<(&ItemId, &Item, String)> {
        let (id, item) = self.ranged_item(code)?;
        Some((id, item, String::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, Reason> {
        let today = BusinessDate::parse("2026-11-21").unwrap();
        let Scanned { code, lot, expiry, serial, weight_grams, .. } =
            read(text, today).map_err(|reject| reject.reason)?;
        let expiry = expiry.map(|date| date.to_string()).unwrap_or_default();
        Ok(format!("{code} {lot} {expiry} {serial} {weight_grams}"))
    }

    #[test]
    fn scanned_texts_are_read_or_refused() {
        let wrong = || Err(Reason::InvalidScan);
        let cases = [
            ("4006381333931", Ok("04006381333931    0")),
            ("96385074", Ok("00000096385074    0")),
            ("036000291452", Ok("00036000291452    0")),
            ("4006381333932", wrong()),
            ("PLU-4011", Ok("PLU-4011    0")),
            ("1234567", Ok("1234567    0")),
            ("(01)04006381333931(10)AB-1(17)270131(21)S/9", Ok("04006381333931 AB-1 2027-01-31 S/9 0")),
            ("]C1010400638133393110AB-1\u{1d}1727013121S9", Ok("04006381333931 AB-1 2027-01-31 S9 0")),
            ("]d2010400638133393117270100", Ok("04006381333931  2027-01-31  0")),
            ("0104006381333931172702003103001500", Ok("04006381333931  2027-02-28  1500")),
            ("(02)04006381333931(37)24(15)300630", Ok("04006381333931  2030-06-30  0")),
            ("(01)04006381333931(3101)000015", Ok("04006381333931    1500")),
            ("(01)04006381333931(3105)000015", wrong()),
            ("(01)04006381333931(3105)000100", Ok("04006381333931    1")),
            ("(01)04006381333931(17)271331", wrong()),
            ("(01)04006381333931(17)2701", wrong()),
            ("(01)04006381333931(17)770101", Ok("04006381333931  1977-01-01  0")),
            ("(01)04006381333931(10)A(10)B", wrong()),
            ("(01)04006381333931(10)", wrong()),
            ("(10)AB-1", wrong()),
            ("(01)0400638133393", wrong()),
            ("(05)1", wrong()),
            ("]C101040063813339", wrong()),
            ("", wrong()),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected.map(str::to_owned), "{text:?}");
        }
        assert_eq!(shown(&"1".repeat(300)), Err(Reason::TextTooLong));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\]C1|\\(|01)?[ -~\u{1d}é]{0,60}") {
            let _ = shown(&text);
        }
    }
}
