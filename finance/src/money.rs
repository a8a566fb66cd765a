//! Amounts as text, with the digits of their currency.

use rust_decimal::Decimal;
use stockmesh_types::Currency;

/// `12.34`, without the currency.
pub fn decimal(minor: i64, currency: Currency) -> String {
    Decimal::new(minor, currency.exponent()).to_string()
}

/// The same, for an amount whose currency comes as a code; the minor units as they are when it is none.
pub fn decimal_of(minor: i64, currency_code: &str) -> String {
    Currency::new(currency_code).map_or_else(|_| minor.to_string(), |currency| decimal(minor, currency))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_follow_the_currency() {
        for (minor, code, shown) in
            [(-5, "GBP", "-0.05"), (1_234, "JPY", "1234"), (1_234, "KWD", "1.234"), (0, "GBP", "0.00"), (7, "", "7")]
        {
            assert_eq!(decimal_of(minor, code), shown, "{minor} {code}");
        }
    }
}
