use crate::budget::MIN_BAD;
use crate::counts::SliCounts;
use crate::ratio::PARTS;

/// The status of an SLO, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SloStatus {
    /// Nothing was counted.
    NoData,
    /// There are too few samples for a verdict: the window is [young](crate#young-windows), or
    /// there are fewer than 20 latencies.
    Provisional,
    /// The target is met.
    Compliant,
    /// The target is at risk, or missed by little.
    Warning,
    /// The target is missed.
    Violated,
}

impl SloStatus {
    /// Returns the status as a string: `no_data`, `provisional`, `compliant`, `warning` or
    /// `violated`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoData => "no_data",
            Self::Provisional => "provisional",
            Self::Compliant => "compliant",
            Self::Warning => "warning",
            Self::Violated => "violated",
        }
    }
}

/// The part of an SLO's window that has passed, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Elapsed {
    /// Since the window or the counts started, whichever is later.
    pub(crate) passed: u64,
    pub(crate) whole: u64,
}

impl Elapsed {
    pub(crate) fn is_full(self) -> bool {
        self.passed >= self.whole
    }
}

/// The minimum number of samples of a mean or a percentile, and of an error rate in a young window.
pub(crate) const MIN_SAMPLES: u64 = 20;
/// The minimum covered time of a throughput, in milliseconds.
const MIN_TIME: u64 = 60 * 1_000;

/// Returns the number of samples that a share requires: with fewer, a single bad one would exceed
/// the target.
pub(crate) fn samples_needed(allowed: u64, unit: u64) -> u64 {
    PARTS.div_ceil(allowed.max(1)).saturating_mul(unit)
}

/// Returns the number of samples that an error rate requires.
pub(crate) fn samples_needed_for_rate(allowed: u64) -> u64 {
    samples_needed(allowed, 1).max(MIN_SAMPLES)
}

/// Returns the status of a share, by its error budget over the window and in the last hour.
pub(crate) fn by_budget(
    allowed: u64,
    unit: u64,
    (counts, last_hour): (SliCounts, SliCounts),
    elapsed: Elapsed,
) -> SloStatus {
    if counts.valid() == 0 {
        return SloStatus::NoData;
    }
    if has_too_few(counts, samples_needed(allowed, unit), unit, elapsed) {
        return SloStatus::Provisional;
    }
    let allowed = u128::from(allowed);
    // Both are in parts of an event.
    let budget = u128::from(counts.valid()) * allowed;
    let used = u128::from(counts.bad()) * u128::from(PARTS);
    let burns =
        u128::from(last_hour.bad()) * u128::from(PARTS) > u128::from(last_hour.valid()) * allowed;
    if counts.bad() > 0 && used >= budget {
        overspent(counts, allowed, elapsed)
    } else if burns || used * 4 > budget * 3 {
        SloStatus::Warning
    } else {
        SloStatus::Compliant
    }
}

/// Returns the status of an error rate: a warning up to a tenth above the target.
pub(crate) fn by_rate(target: f64, allowed: u64, counts: SliCounts, elapsed: Elapsed) -> SloStatus {
    if counts.valid() == 0 {
        return SloStatus::NoData;
    }
    if has_too_few(counts, samples_needed_for_rate(allowed), 1, elapsed) {
        return SloStatus::Provisional;
    }
    let rate = counts.error_rate().map(|rate| 100.0 * rate);
    match at_most(target, rate) {
        SloStatus::Violated => overspent(counts, allowed.into(), elapsed),
        status => status,
    }
}

/// Returns the status of a mean or a percentile.
pub(crate) fn by_latency(target: f64, current: Option<f64>, samples: u64) -> SloStatus {
    match current {
        Some(_) if samples < MIN_SAMPLES => SloStatus::Provisional,
        current => at_most(target, current),
    }
}

/// Returns the status of a throughput.
pub(crate) fn by_throughput(target: f64, counts: SliCounts, elapsed: Elapsed) -> SloStatus {
    match counts.throughput() {
        Some(_) if counts.covered < MIN_TIME.min(elapsed.whole) => SloStatus::Provisional,
        current => at_least(target, current),
    }
}

/// Returns whether a young window has too few samples for a verdict. Three bad events are enough,
/// however few valid ones there are.
fn has_too_few(counts: SliCounts, needed: u64, unit: u64, elapsed: Elapsed) -> bool {
    let few = counts.valid() < needed && counts.bad() < MIN_BAD * unit;
    few && !elapsed.is_full()
}

/// Returns the status of an SLO that has overspent the budget of its window until now.
///
/// It is violated if the budget of the whole window, at the same traffic, is overspent too.
fn overspent(counts: SliCounts, allowed: u128, elapsed: Elapsed) -> SloStatus {
    let used = u128::from(counts.bad()) * u128::from(PARTS);
    let budget = u128::from(counts.valid()) * allowed;
    let used = used.saturating_mul(elapsed.passed.into());
    if elapsed.is_full() || used >= budget.saturating_mul(elapsed.whole.into()) {
        SloStatus::Violated
    } else {
        SloStatus::Warning
    }
}

/// The share of its target by which a value may miss it with a warning.
const TOLERANCE: f64 = 0.1;

pub(crate) fn at_most(target: f64, current: Option<f64>) -> SloStatus {
    match current {
        None => SloStatus::NoData,
        Some(current) if current <= target => SloStatus::Compliant,
        Some(current) if current <= target * (1.0 + TOLERANCE) => SloStatus::Warning,
        Some(_) => SloStatus::Violated,
    }
}

pub(crate) fn at_least(target: f64, current: Option<f64>) -> SloStatus {
    match current {
        None => SloStatus::NoData,
        Some(current) if current >= target => SloStatus::Compliant,
        Some(current) if current >= target * (1.0 - TOLERANCE) => SloStatus::Warning,
        Some(_) => SloStatus::Violated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::parts_of;

    const FULL: Elapsed = Elapsed {
        passed: 1,
        whole: 1,
    };

    #[test]
    fn a_young_window_is_judged_by_what_the_whole_one_can_pay_for() {
        #[track_caller]
        fn check((good, bad): (u64, u64), passed: u64, status: SloStatus) {
            let reading = SliCounts {
                good,
                bad,
                ..SliCounts::default()
            };
            let elapsed = Elapsed {
                passed,
                whole: 1_000,
            };
            let found = by_budget(PARTS / 1_000, 1, (reading, SliCounts::default()), elapsed);
            assert_eq!(found, status, "{good} {bad} {passed}");
        }
        check((2, 1), 1, SloStatus::Provisional);
        check((999, 0), 1, SloStatus::Provisional);
        check((997, 2), 999, SloStatus::Provisional);
        check((1_000, 0), 1, SloStatus::Compliant);
        // Three bad ones are enough, and it takes as long as the whole window takes to pay for
        // them.
        check((97, 3), 1, SloStatus::Warning);
        check((97, 3), 33, SloStatus::Warning);
        check((97, 3), 34, SloStatus::Violated);
        check((998, 2), 499, SloStatus::Warning);
        check((998, 2), 500, SloStatus::Violated);
        check((0, 0), 1, SloStatus::NoData);
        check((0, 0), 1_000, SloStatus::NoData);
        // At the very start of a month.
        check((0, 10), 0, SloStatus::Warning);
        // What is full is judged whatever there is.
        check((2, 1), 1_000, SloStatus::Violated);
        check((2, 0), 1_000, SloStatus::Compliant);
    }

    #[test]
    fn figures_of_too_little_are_no_verdict() {
        assert_eq!(by_latency(1.0, None, 0), SloStatus::NoData);
        assert_eq!(by_latency(1.0, Some(2.0), 19), SloStatus::Provisional);
        assert_eq!(by_latency(1.0, Some(2.0), 20), SloStatus::Violated);
        let of = |bad, covered| SliCounts {
            good: 10,
            bad,
            covered,
            latency: 0,
        };
        let young = Elapsed {
            passed: 1,
            whole: 1_000_000,
        };
        assert_eq!(
            by_rate(50.0, PARTS / 2, of(2, 0), young),
            SloStatus::Provisional
        );
        assert_eq!(
            by_rate(1.0, PARTS / 100, of(3, 0), young),
            SloStatus::Warning
        );
        assert_eq!(
            by_rate(1.0, PARTS / 100, of(1, 0), FULL),
            SloStatus::Violated
        );
        assert_eq!(by_throughput(1.0, of(0, 0), young), SloStatus::NoData);
        assert_eq!(
            by_throughput(1.0, of(0, 59_999), young),
            SloStatus::Provisional
        );
        assert_eq!(
            by_throughput(1.0, of(0, 60_000), young),
            SloStatus::Violated
        );
    }

    #[test]
    fn budgets_are_exact_to_the_exchange() {
        let reading = |good, bad| SliCounts {
            good,
            bad,
            ..SliCounts::default()
        };
        let quiet = SliCounts::default();
        #[track_caller]
        fn check(target: &str, reading: SliCounts, last_hour: SliCounts, status: SloStatus) {
            let allowed = PARTS - parts_of(target).unwrap();
            assert_eq!(
                by_budget(allowed, 1, (reading, last_hour), FULL),
                status,
                "{reading:?}"
            );
        }
        check("99.9%", reading(1_000, 0), quiet, SloStatus::Compliant);
        check("99.9%", reading(999, 1), quiet, SloStatus::Violated);
        check("99.9%", reading(1_000, 1), quiet, SloStatus::Warning);
        // A quarter is left, then less.
        check("99.9%", reading(3_997, 3), quiet, SloStatus::Compliant);
        check("99.9%", reading(3_996, 3), quiet, SloStatus::Warning);
        // The last hour burns at 1, then faster.
        check(
            "99.9%",
            reading(100_000, 1),
            reading(999, 1),
            SloStatus::Compliant,
        );
        check(
            "99.9%",
            reading(100_000, 1),
            reading(998, 1),
            SloStatus::Warning,
        );
        check("0%", reading(0, 10), reading(0, 10), SloStatus::Violated);
        check(
            "99.9%",
            reading(u64::MAX / 2, 1),
            quiet,
            SloStatus::Compliant,
        );
    }

    #[test]
    fn figures_within_a_tenth_of_their_target_are_a_warning() {
        let check = |current| (at_most(200.0, current), at_least(200.0, current));
        assert_eq!(
            check(Some(180.0)),
            (SloStatus::Compliant, SloStatus::Warning)
        );
        assert_eq!(
            check(Some(200.0)),
            (SloStatus::Compliant, SloStatus::Compliant)
        );
        assert_eq!(
            check(Some(219.9)),
            (SloStatus::Warning, SloStatus::Compliant)
        );
        assert_eq!(
            check(Some(220.1)),
            (SloStatus::Violated, SloStatus::Compliant)
        );
        assert_eq!(
            check(Some(179.9)),
            (SloStatus::Compliant, SloStatus::Violated)
        );
        assert_eq!(check(None), (SloStatus::NoData, SloStatus::NoData));
    }
}
