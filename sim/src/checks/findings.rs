//! What a check found.

/// Violations shown; all are counted.
const SHOWN: usize = 8;

/// What a check looked at, and what was wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What was looked at, for people: "18,072 cells".
    pub looked_at: String,
    /// The first violations.
    pub violations: Vec<String>,
    /// All of them.
    pub violation_count: u64,
}

impl Findings {
    /// Nothing wrong so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a violation when `holds` is false.
    pub fn expect(&mut self, holds: bool, violation: impl FnOnce() -> String) {
        if !holds {
            self.violation_count += 1;
            if self.violations.len() < SHOWN {
                self.violations.push(violation());
            }
        }
    }

    /// Counts a violation when two values differ.
    pub fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: impl FnOnce() -> String, got: &T, want: &T) {
        self.expect(got == want, || format!("{}: {got:?} instead of {want:?}", what()));
    }

    /// Says what was looked at; nothing at all is a violation: a check that saw nothing proves nothing.
    #[must_use]
    pub fn over(mut self, count: usize, what: &str) -> Self {
        self.looked_at = format!("{count} {what}");
        self.expect(count > 0, || format!("no {what} to look at"));
        self
    }

    /// Nothing is wrong.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.violation_count == 0
    }
}
