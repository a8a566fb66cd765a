//! Time as data. Nothing here reads a clock: shells do, and pass it in.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::reject::{Reason, Reject};

/// Milliseconds since 1970-01-01T00:00:00Z. In the coordinator: the maximum of all stamps in the log so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogTime(pub i64);

impl LogTime {
    /// The later of two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Ord::max(self, other)
    }

    /// The UTC calendar date.
    #[must_use]
    pub fn date(self) -> BusinessDate {
        BusinessDate::from_days(self.0.div_euclid(86_400_000))
    }
}

/// A calendar date, ISO 8601.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BusinessDate {
    days: i64,
}

impl BusinessDate {
    /// Days since 1970-01-01.
    #[must_use]
    pub fn from_days(days: i64) -> Self {
        Self { days }
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub fn days(self) -> i64 {
        self.days
    }

    /// Reads `2026-11-21`.
    ///
    /// # Errors
    /// [`Reason::InvalidDate`].
    pub fn parse(text: &str) -> Result<Self, Reject> {
        let wrong = || {
            let shown: String = text.chars().take(40).collect();
            Reject::new(Reason::InvalidDate, format!("date {shown:?} is not of the form 2026-11-21"))
        };
        let bytes = text.as_bytes();
        let shaped = bytes.len() == 10
            && bytes.iter().enumerate().all(|(i, b)| if i == 4 || i == 7 { *b == b'-' } else { b.is_ascii_digit() });
        if !shaped {
            return Err(wrong());
        }
        let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().map_err(|_| wrong());
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        if !(1..=12).contains(&month) {
            return Err(wrong());
        }
        let date = Self { days: days_from_civil(year, month, day) };
        if date.civil() == (year, month, day) { Ok(date) } else { Err(wrong()) }
    }

    /// Year, month, day.
    #[must_use]
    pub fn civil(self) -> (i64, i64, i64) {
        civil_from_days(self.days)
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar. The year is counted from March, so that the leap
/// day is its last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let year = if month > 2 { year } else { year - 1 };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 153 days in any five months from March on; 719,468 days from 0000-03-01 to 1970-01-01.
    365 * year + leap_days + (153 * from_march + 2) / 5 + day - 1 - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    // The average Gregorian year has 365.2425 days: a first guess that is at most one year off, then corrected.
    let mut year = 1970 + (days * 10_000).div_euclid(3_652_425);
    while days_from_civil(year + 1, 1, 1) <= days {
        year += 1;
    }
    while days_from_civil(year, 1, 1) > days {
        year -= 1;
    }
    let month = (1..=12).rev().find(|month| days_from_civil(year, *month, 1) <= days).unwrap_or(1);
    (year, month, days - days_from_civil(year, month, 1) + 1)
}

impl fmt::Display for BusinessDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Debug for BusinessDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for BusinessDate {
    type Error = Reject;
    fn try_from(text: String) -> Result<Self, Reject> {
        Self::parse(&text)
    }
}

impl From<BusinessDate> for String {
    fn from(date: BusinessDate) -> Self {
        date.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_dates() {
        for (days, text) in [(0, "1970-01-01"), (14_978, "2011-01-04"), (11_016, "2000-02-29"), (-1, "1969-12-31")] {
            assert_eq!(BusinessDate::from_days(days).to_string(), text);
            assert_eq!(BusinessDate::parse(text).unwrap().days(), days);
        }
        for wrong in
            ["", "2011-02-29", "2011-13-01", "2011-00-01", "2011-01-00", "2011-1-1", "11-01-2011", "2011/01/04"]
        {
            assert_eq!(BusinessDate::parse(wrong).unwrap_err().reason, Reason::InvalidDate, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn dates_survive_text(days in -700_000i64..2_900_000) {
            let date = BusinessDate::from_days(days);
            prop_assert_eq!(BusinessDate::parse(&date.to_string()).unwrap(), date);
        }
    }
}
