//! What a demo tells people and programs: a summary for a minute's reading, a page with charts, JSON.
//!
//! [`figures`] computes every number once; the three others only show them.

pub mod charts;
pub mod figures;
pub mod html;
pub mod json;
pub mod summary;

pub use figures::Figures;

/// An amount of minor units with its decimals, thousands apart: `1,958,751.16`.
#[must_use]
pub fn money(minor: i64, exponent: u32) -> String {
    let unit = 10u64.pow(exponent);
    let absolute = minor.unsigned_abs();
    let sign = if minor < 0 { "-" } else { "" };
    let whole = grouped(absolute / unit);
    if exponent == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{:0width$}", absolute % unit, width = exponent as usize)
}

/// A number with its thousands apart.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The same, with its sign.
#[must_use]
pub fn signed(number: i64) -> String {
    format!("{}{}", if number < 0 { "-" } else { "" }, grouped(number.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_for_people() {
        for (minor, exponent, text) in
            [(195_875_116, 2, "1,958,751.16"), (-5, 2, "-0.05"), (0, 2, "0.00"), (1_234, 0, "1,234"), (999, 3, "0.999")]
        {
            assert_eq!(money(minor, exponent), text);
        }
        assert_eq!((grouped(1_000), grouped(999), signed(-12_345)), ("1,000".into(), "999".into(), "-12,345".into()));
    }
}
