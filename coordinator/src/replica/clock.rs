//! Whether this replica's clock may stamp the log.
//!
//! Log time is the maximum of all stamps and never falls, so that one stamp a year ahead would last a year. A leader
//! therefore stamps only while its clock is within [`TOLERANCE_MS`] of the median of a majority of voters, itself
//! included, and while its wall clock has moved as its monotonic clock has since that was found. Otherwise it hands
//! leadership over. With two clocks that differ, nobody knows which is right: the one behind counts, because it can't take
//! log time anywhere.
//!
//! Times come in; nothing here reads a clock.

use std::collections::BTreeMap;

/// How far a clock may be off.
pub const TOLERANCE_MS: i64 = 500;
/// A comparison older than this says nothing any more.
const FRESH_MS: i64 = 10_000;
/// A comparison whose round trip took longer is too vague.
const MAX_ROUND_TRIP_MS: i64 = 1_500;

/// Both clocks of this machine at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Wall clock, milliseconds since 1970-01-01T00:00:00Z.
    pub wall_ms: i64,
    /// Milliseconds since some fixed moment of this process; never jumps.
    pub monotonic_ms: i64,
}

/// A peer's clock against ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Compared {
    /// Theirs minus ours.
    offset_ms: i64,
    /// Half of the round trip: how much the offset may be off.
    error_ms: i64,
    at_monotonic_ms: i64,
}

/// What is thought of this replica's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the tolerance of a majority's median.
    Right,
    /// It was never compared with a majority, or jumped since.
    Unknown,
    /// Off by this much (ours minus the median).
    Off(i64),
}

/// Compares this replica's clock with the others'.
#[derive(Clone, Debug, Default)]
pub struct ClockWatch {
    compared: BTreeMap<u64, Compared>,
    /// Wall minus monotonic time, as of the last comparison.
    anchor_ms: Option<i64>,
    /// Found right, and neither found off nor seen to jump since: that holds when peers are slow to answer.
    trusted: bool,
}

impl ClockWatch {
    /// A peer answered with its clock; `asked` and `answered` are our readings before and after.
    pub fn compare(&mut self, peer: u64, theirs_ms: i64, asked: Reading, answered: Reading) {
        let round_trip = answered.monotonic_ms - asked.monotonic_ms;
        if !(0..=MAX_ROUND_TRIP_MS).contains(&round_trip) {
            return;
        }
        let anchor = answered.wall_ms - answered.monotonic_ms;
        if self.jumped(answered) {
            // What was compared before speaks of another clock than the present one.
            self.compared.clear();
            self.trusted = false;
        }
        if (asked.wall_ms - asked.monotonic_ms - anchor).abs() > TOLERANCE_MS {
            // It jumped while the answer was under way.
            (self.anchor_ms, self.trusted) = (None, false);
            return;
        }
        // A slow drift, or a clock that is being slewed, moves the anchor with it.
        self.anchor_ms = Some(anchor);
        let error_ms = round_trip / 2 + 1;
        let offset_ms = theirs_ms - (answered.wall_ms - round_trip / 2);
        self.compared.insert(peer, Compared { offset_ms, error_ms, at_monotonic_ms: answered.monotonic_ms });
    }

    /// A peer's clock minus ours, when it was compared lately.
    #[must_use]
    pub fn offset_ms(&self, peer: u64, now: Reading) -> Option<i64> {
        let compared = self.compared.get(&peer)?;
        (!self.jumped(now) && now.monotonic_ms - compared.at_monotonic_ms <= FRESH_MS).then_some(compared.offset_ms)
    }

    /// Forgets peers that are no members any more.
    pub fn retain(&mut self, mut member: impl FnMut(u64) -> bool) {
        self.compared.retain(|peer, _| member(*peer));
    }

    /// What is thought of our clock, `me` being among `voters` or not.
    #[must_use]
    pub fn verdict(&mut self, me: u64, voters: &[u64], now: Reading) -> Verdict {
        if voters == [me] {
            return Verdict::Right;
        }
        if self.jumped(now) {
            self.trusted = false;
            return Verdict::Unknown;
        }
        let mut vague_ms = 0;
        let mut offsets: Vec<i64> = voters
            .iter()
            .filter_map(|voter| {
                if *voter == me {
                    return Some(0);
                }
                let compared = self.compared.get(voter)?;
                vague_ms = vague_ms.max(compared.error_ms);
                (now.monotonic_ms - compared.at_monotonic_ms <= FRESH_MS).then_some(compared.offset_ms)
            })
            .collect();
        if offsets.len() <= voters.len() / 2 {
            return if self.trusted { Verdict::Right } else { Verdict::Unknown };
        }
        offsets.sort_unstable();
        // Of an even number the lower one.
        let median = offsets[(offsets.len() - 1) / 2];
        self.trusted = median.abs() <= TOLERANCE_MS + vague_ms;
        if self.trusted { Verdict::Right } else { Verdict::Off(-median) }
    }

    fn jumped(&self, now: Reading) -> bool {
        self.anchor_ms.is_some_and(|anchor| (now.wall_ms - now.monotonic_ms - anchor).abs() > TOLERANCE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOTERS: [u64; 3] = [1, 2, 3];

    fn at(monotonic_ms: i64, ahead_ms: i64) -> Reading {
        Reading { wall_ms: 1_000_000 + monotonic_ms + ahead_ms, monotonic_ms }
    }

    /// Replica 1, whose clock is `ours` ahead, has compared itself with the others.
    fn watch(ours: i64, theirs: &[(u64, i64)]) -> ClockWatch {
        let mut watch = ClockWatch::default();
        for (peer, ahead) in theirs {
            watch.compare(*peer, at(5, *ahead).wall_ms, at(0, ours), at(10, ours));
        }
        watch
    }

    #[test]
    fn a_clock_is_judged_by_the_median_of_a_majority() {
        const YEAR: i64 = 365 * 24 * 3_600_000;
        type Others = &'static [(u64, i64)];
        let cases: &[(i64, Others, Verdict)] = &[
            (0, &[(2, 3), (3, -4)], Verdict::Right),
            (400, &[(2, 0), (3, 0)], Verdict::Right),
            (YEAR, &[(2, 0), (3, 0)], Verdict::Off(YEAR)),
            (-3_600_000, &[(2, 0), (3, 0)], Verdict::Off(-3_600_000)),
            // Another's clock is wrong: the median is right.
            (0, &[(2, YEAR), (3, 1)], Verdict::Right),
            // Two of three: the one behind counts.
            (YEAR, &[(2, 0)], Verdict::Off(YEAR)),
            (0, &[(2, YEAR)], Verdict::Right),
            (0, &[], Verdict::Unknown),
        ];
        for (ours, theirs, expected) in cases {
            assert_eq!(watch(*ours, theirs).verdict(1, &VOTERS, at(20, *ours)), *expected, "{ours} {theirs:?}");
        }
        assert_eq!(ClockWatch::default().verdict(1, &[1], at(0, 0)), Verdict::Right, "alone");
    }

    #[test]
    fn a_jump_is_noticed_before_the_next_comparison() {
        let mut watch = watch(0, &[(2, 0), (3, 0)]);
        assert_eq!(watch.verdict(1, &VOTERS, at(500, 0)), Verdict::Right);
        assert_eq!(watch.verdict(1, &VOTERS, at(500, 3_600_000)), Verdict::Unknown);
        assert_eq!(watch.offset_ms(2, at(500, 3_600_000)), None);
        // Compared anew, the jumped clock is off; when it jumps back it is right again.
        watch.compare(2, at(605, 0).wall_ms, at(600, 3_600_000), at(610, 3_600_000));
        watch.compare(3, at(605, 0).wall_ms, at(600, 3_600_000), at(610, 3_600_000));
        assert_eq!(watch.verdict(1, &VOTERS, at(620, 3_600_000)), Verdict::Off(3_600_000));
        assert_eq!(watch.verdict(1, &VOTERS, at(630, 0)), Verdict::Unknown);
        watch.compare(2, at(645, 0).wall_ms, at(640, 0), at(650, 0));
        assert_eq!(
            watch.verdict(1, &VOTERS, at(660, 0)),
            Verdict::Right,
            "what was compared before the jump is forgotten"
        );
    }

    #[test]
    fn a_jump_between_two_verdicts_is_not_forgotten() {
        let mut watch = watch(0, &[(2, 0), (3, 0)]);
        assert_eq!(watch.verdict(1, &VOTERS, at(20, 0)), Verdict::Right);
        // It jumps, and one of five is compared with, before anybody asks.
        let voters = [1, 2, 3, 4, 5];
        watch.compare(2, at(605, 0).wall_ms, at(600, 3_600_000), at(610, 3_600_000));
        assert_eq!(watch.verdict(1, &voters, at(620, 3_600_000)), Verdict::Unknown);
    }

    #[test]
    fn old_and_vague_comparisons_say_nothing() {
        let mut watch = watch(0, &[(2, 0), (3, 0)]);
        assert_eq!(watch.verdict(1, &VOTERS, at(20_000, 0)), Verdict::Unknown);
        watch.compare(2, at(21_000, 0).wall_ms, at(20_000, 0), at(22_000, 0));
        assert_eq!(watch.verdict(1, &VOTERS, at(22_001, 0)), Verdict::Unknown, "two seconds under way");
        // Once found right, it is so while peers are slow, until it jumps.
        watch.compare(2, at(22_105, 0).wall_ms, at(22_100, 0), at(22_110, 0));
        assert_eq!(watch.verdict(1, &VOTERS, at(22_120, 0)), Verdict::Right);
        assert_eq!(watch.verdict(1, &VOTERS, at(90_000, 0)), Verdict::Right);
        assert_eq!(watch.verdict(1, &VOTERS, at(90_001, 501)), Verdict::Unknown);
        assert_eq!(watch.verdict(1, &VOTERS, at(90_002, 0)), Verdict::Unknown, "and then it is compared anew");
    }
}
