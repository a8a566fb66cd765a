//! Amounts of the files: exact decimals in, minor units out. No float comes near money.

use rust_decimal::{Decimal, RoundingStrategy};

/// A decimal as the files write it, exponents included (`4.440892e-16` is how one exporter writes nothing at all).
#[must_use]
pub fn decimal(text: &str) -> Option<Decimal> {
    if text.len() > 40 {
        return None;
    }
    text.parse().ok().or_else(|| Decimal::from_scientific(text).ok()).or_else(|| vanishing(text))
}

/// A number too small for 28 decimals is nothing, if it is a number.
fn vanishing(text: &str) -> Option<Decimal> {
    let (mantissa, exponent) = text.split_once(['e', 'E'])?;
    mantissa.parse::<Decimal>().ok()?;
    (exponent.parse::<i32>().ok()? < -20).then_some(Decimal::ZERO)
}

/// Hundredths of an amount, rounded half to even; `None` beyond what one line may be worth.
#[must_use]
pub fn hundredths(amount: Decimal) -> Option<i64> {
    let exact = amount.checked_mul(Decimal::ONE_HUNDRED)?;
    let minor: i64 = exact.round_dp_with_strategy(0, RoundingStrategy::MidpointNearestEven).try_into().ok()?;
    (minor.abs() <= stockmesh_proto::convert::MAX_AMOUNT_MINOR).then_some(minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (text, want) in [
            ("2.55", Some(255)),
            ("0.29", Some(29)),
            ("1e2", Some(10_000)),
            ("4.440892e-16", Some(0)),
            ("1e-30", Some(0)),
            ("0.125", Some(12)),
            ("0.135", Some(14)),
            ("-3", Some(-300)),
            ("1e25", None),
            ("", None),
            ("abc", None),
            ("1,5", None),
            ("NaN", None),
            ("e-30", None),
        ] {
            assert_eq!(decimal(text).and_then(hundredths), want, "{text:?}");
        }
    }
}
