//! Money: integer minor units of a currency. Never a float, never silently another currency.

use std::fmt;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use crate::reject::{Reason, Reject};

/// An ISO 4217 currency code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// Currencies whose minor unit is not a hundredth (ISO 4217, list one): exponent by code.
const EXPONENTS: [(&str, u32); 24] = [
    ("BHD", 3),
    ("BIF", 0),
    ("CLF", 4),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("IQD", 3),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("PYG", 0),
    ("RWF", 0),
    ("TND", 3),
    ("UGX", 0),
    ("UYW", 4),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XPF", 0),
];

impl Currency {
    /// Reads a code of three capital letters.
    ///
    /// # Errors
    /// [`Reason::InvalidCurrency`].
    pub fn new(code: &str) -> Result<Self, Reject> {
        match code.as_bytes() {
            [a, b, c] if [a, b, c].iter().all(|x| x.is_ascii_uppercase()) => Ok(Self([*a, *b, *c])),
            _ => {
                let shown: String = code.chars().take(20).collect();
                Err(Reject::new(
                    Reason::InvalidCurrency,
                    format!("currency {shown:?} is not an ISO 4217 code of three capital letters"),
                )
                .field("currency_code"))
            }
        }
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &str {
        // The constructor admits ASCII letters only.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// Digits after the decimal point: 2 for most, 0 for the yen, 3 for the Kuwaiti dinar.
    #[must_use]
    pub fn exponent(&self) -> u32 {
        let code = self.code();
        EXPONENTS.iter().find(|(c, _)| *c == code).map_or(2, |(_, e)| *e)
    }
}

impl TryFrom<String> for Currency {
    type Error = Reject;
    fn try_from(code: String) -> Result<Self, Reject> {
        Self::new(&code)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Currency.
    pub currency: Currency,
    /// Minor units.
    pub minor: i64,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Decimal::new(self.minor, self.currency.exponent()), self.currency)
    }
}

/// The part of `total` that belongs to units `from..to` of `whole` units, when the total is spread over them in order:
/// `round(total * to / whole) - round(total * from / whole)`, half to even. The parts of a whole always add up to the
/// total, whatever the sizes of the parts: no minor unit is lost or made.
///
/// # Panics
/// When `whole` is not positive or `from..to` is not within `0..=whole`: a caller's error, checked where quantities enter.
#[must_use]
pub fn share(total: i64, from: i64, to: i64, whole: i64) -> i64 {
    assert!(whole > 0 && 0 <= from && from <= to && to <= whole, "share {from}..{to} of {whole}");
    let upto = |units: i64| round_half_even(i128::from(total) * i128::from(units), i128::from(whole));
    upto(to) - upto(from)
}

/// `numerator / denominator`, rounded half to even; the quotient of two 64-bit products always fits here.
fn round_half_even(numerator: i128, denominator: i128) -> i64 {
    let floor = numerator.div_euclid(denominator);
    let twice_rest = 2 * numerator.rem_euclid(denominator);
    let up = twice_rest > denominator || (twice_rest == denominator && floor % 2 != 0);
    // |numerator / denominator| <= |total|, which was an i64.
    i64::try_from(floor + i128::from(up)).unwrap_or(i64::MAX)
}

/// Tax on an amount at a rate in parts per million, rounded half to even to the minor unit.
///
/// # Errors
/// [`Reason::AmountTooLarge`] when it does not fit.
pub fn tax_of(taxable_minor: i64, rate_ppm: u32) -> Result<i64, Reject> {
    let exact = Decimal::from(taxable_minor) * Decimal::from(rate_ppm) / Decimal::from(1_000_000);
    let rounded = exact.round_dp_with_strategy(0, RoundingStrategy::MidpointNearestEven);
    i64::try_from(rounded).map_err(|_| Reject::new(Reason::AmountTooLarge, format!("tax {exact} is too large")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn minor_units_follow_iso_4217() {
        for (code, minor, shown) in
            [("GBP", 1234, "12.34 GBP"), ("JPY", 1234, "1234 JPY"), ("KWD", -1234, "-1.234 KWD")]
        {
            let currency = Currency::new(code).unwrap();
            assert_eq!(Money { currency, minor }.to_string(), shown);
        }
        for wrong in ["", "gbp", "GB", "GBPX", "G1P"] {
            assert_eq!(Currency::new(wrong).unwrap_err().reason, Reason::InvalidCurrency);
        }
    }

    #[test]
    fn tax_is_rounded_half_even() {
        // 17.5 % of 0.20 = 3.5 pence -> 4; of 0.60 = 10.5 -> 10; 20 % of 0.99 = 19.8 -> 20.
        for (taxable, ppm, tax) in [(20, 175_000, 4), (60, 175_000, 10), (99, 200_000, 20), (-20, 175_000, -4)] {
            assert_eq!(tax_of(taxable, ppm).unwrap(), tax, "{taxable} at {ppm}");
        }
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole(total in -1_000_000_000_000i64..1_000_000_000_000, whole in 1i64..10_000, cuts in proptest::collection::vec(0i64..10_000, 0..6)) {
            let mut at: Vec<i64> = cuts.into_iter().map(|c| c % (whole + 1)).chain([0, whole]).collect();
            at.sort_unstable();
            let sum: i64 = at.windows(2).map(|w| share(total, w[0], w[1], whole)).sum();
            prop_assert_eq!(sum, total);
        }
    }
}
