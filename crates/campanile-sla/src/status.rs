//! How a figure stands to its target.

use crate::budget::LEAST_BAD;
use crate::report::Standing;
use crate::ring::Reading;
use crate::share::WHOLE;

/// How much of its window an objective is judged by, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    /// Since the window began, or since anything was counted.
    pub(crate) passed: u64,
    pub(crate) whole: u64,
}

impl Part {
    pub(crate) fn is_full(self) -> bool {
        self.passed >= self.whole
    }
}

/// The fewest samples of a mean or a percentile, and of an error rate while its window is not full.
const LEAST: u64 = 20;
/// The shortest time of a rate, in milliseconds.
const LEAST_TIME: u64 = 60 * 1_000;

/// Returns the number of samples that a share takes: of fewer a single bad one would be over the target.
pub(crate) fn needed(allowed: u64, unit: u64) -> u64 {
    WHOLE.div_ceil(allowed.max(1)).saturating_mul(unit)
}

/// How a share stands, by its budget over its window and its use in the last hour.
pub(crate) fn by_budget(
    allowed: u64,
    unit: u64,
    (reading, last_hour): (Reading, Reading),
    part: Part,
) -> Standing {
    if reading.valid() == 0 {
        return Standing::NoData;
    }
    if is_too_little(reading, needed(allowed, unit), unit, part) {
        return Standing::Provisional;
    }
    let allowed = u128::from(allowed);
    // Both in parts of an exchange.
    let budget = u128::from(reading.valid()) * allowed;
    let used = u128::from(reading.bad()) * u128::from(WHOLE);
    let burns =
        u128::from(last_hour.bad()) * u128::from(WHOLE) > u128::from(last_hour.valid()) * allowed;
    if reading.bad() > 0 && used >= budget {
        overspent(reading, allowed, part)
    } else if burns || used * 4 > budget * 3 {
        Standing::Warning
    } else {
        Standing::Compliant
    }
}

/// How a rate of errors stands: within a tenth of its target it is a warning.
pub(crate) fn by_rate(target: f64, allowed: u64, reading: Reading, part: Part) -> Standing {
    if reading.valid() == 0 {
        return Standing::NoData;
    }
    if is_too_little(reading, needed_of_rate(allowed), 1, part) {
        return Standing::Provisional;
    }
    let rate = reading.error_rate().map(|rate| 100.0 * rate);
    match at_most(target, rate) {
        Standing::Violated => overspent(reading, allowed.into(), part),
        standing => standing,
    }
}

/// How a mean or a percentile stands.
pub(crate) fn by_latency(target: f64, current: Option<f64>, samples: u64) -> Standing {
    match current {
        Some(_) if samples < LEAST => Standing::Provisional,
        current => at_most(target, current),
    }
}

/// Returns the number of samples that a mean or a percentile takes.
pub(crate) fn needed_of_latency() -> u64 {
    LEAST
}

/// Returns the number of samples that an error rate takes.
pub(crate) fn needed_of_rate(allowed: u64) -> u64 {
    needed(allowed, 1).max(LEAST)
}

/// How a throughput stands.
pub(crate) fn by_throughput(target: f64, reading: Reading, part: Part) -> Standing {
    match reading.throughput() {
        Some(_) if reading.covered < LEAST_TIME.min(part.whole) => Standing::Provisional,
        current => at_least(target, current),
    }
}

/// Returns whether a window that is not full has too little to judge by. Three bad ones are enough, whatever they are of.
fn is_too_little(reading: Reading, needed: u64, unit: u64, part: Part) -> bool {
    let few = reading.valid() < needed && reading.bad() < LEAST_BAD * unit;
    few && !part.is_full()
}

/// How an objective stands that has failed more than its window so far allows: it is violated once the whole window, at the same traffic, could not
/// pay for it any more.
fn overspent(reading: Reading, allowed: u128, part: Part) -> Standing {
    let used = u128::from(reading.bad()) * u128::from(WHOLE);
    let budget = u128::from(reading.valid()) * allowed;
    let used = used.saturating_mul(part.passed.into());
    if part.is_full() || used >= budget.saturating_mul(part.whole.into()) {
        Standing::Violated
    } else {
        Standing::Warning
    }
}

/// How far a figure may miss its target before it is violated.
const TOLERANCE: f64 = 0.1;

pub(crate) fn at_most(target: f64, current: Option<f64>) -> Standing {
    match current {
        None => Standing::NoData,
        Some(current) if current <= target => Standing::Compliant,
        Some(current) if current <= target * (1.0 + TOLERANCE) => Standing::Warning,
        Some(_) => Standing::Violated,
    }
}

pub(crate) fn at_least(target: f64, current: Option<f64>) -> Standing {
    match current {
        None => Standing::NoData,
        Some(current) if current >= target => Standing::Compliant,
        Some(current) if current >= target * (1.0 - TOLERANCE) => Standing::Warning,
        Some(_) => Standing::Violated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::parts_of;

    const FULL: Part = Part {
        passed: 1,
        whole: 1,
    };

    #[test]
    fn a_young_window_is_judged_by_what_the_whole_one_can_pay_for() {
        #[track_caller]
        fn check((good, bad): (u64, u64), passed: u64, standing: Standing) {
            let reading = Reading {
                good,
                bad,
                ..Reading::default()
            };
            let part = Part {
                passed,
                whole: 1_000,
            };
            let found = by_budget(WHOLE / 1_000, 1, (reading, Reading::default()), part);
            assert_eq!(found, standing, "{good} {bad} {passed}");
        }
        check((2, 1), 1, Standing::Provisional);
        check((999, 0), 1, Standing::Provisional);
        check((997, 2), 999, Standing::Provisional);
        check((1_000, 0), 1, Standing::Compliant);
        // Three bad ones are enough, and it takes as long as the whole window takes to pay for them.
        check((97, 3), 1, Standing::Warning);
        check((97, 3), 33, Standing::Warning);
        check((97, 3), 34, Standing::Violated);
        check((998, 2), 499, Standing::Warning);
        check((998, 2), 500, Standing::Violated);
        check((0, 0), 1, Standing::NoData);
        check((0, 0), 1_000, Standing::NoData);
        // At the very start of a month.
        check((0, 10), 0, Standing::Warning);
        // What is full is judged whatever there is.
        check((2, 1), 1_000, Standing::Violated);
        check((2, 0), 1_000, Standing::Compliant);
    }

    #[test]
    fn figures_of_too_little_are_no_verdict() {
        assert_eq!(by_latency(1.0, None, 0), Standing::NoData);
        assert_eq!(by_latency(1.0, Some(2.0), 19), Standing::Provisional);
        assert_eq!(by_latency(1.0, Some(2.0), 20), Standing::Violated);
        let of = |bad, covered| Reading {
            good: 10,
            bad,
            covered,
            latency: 0,
        };
        let young = Part {
            passed: 1,
            whole: 1_000_000,
        };
        assert_eq!(
            by_rate(50.0, WHOLE / 2, of(2, 0), young),
            Standing::Provisional
        );
        assert_eq!(
            by_rate(1.0, WHOLE / 100, of(3, 0), young),
            Standing::Warning
        );
        assert_eq!(
            by_rate(1.0, WHOLE / 100, of(1, 0), FULL),
            Standing::Violated
        );
        assert_eq!(by_throughput(1.0, of(0, 0), young), Standing::NoData);
        assert_eq!(
            by_throughput(1.0, of(0, 59_999), young),
            Standing::Provisional
        );
        assert_eq!(by_throughput(1.0, of(0, 60_000), young), Standing::Violated);
    }

    #[test]
    fn budgets_are_exact_to_the_exchange() {
        let reading = |good, bad| Reading {
            good,
            bad,
            ..Reading::default()
        };
        let quiet = Reading::default();
        #[track_caller]
        fn check(target: &str, reading: Reading, last_hour: Reading, standing: Standing) {
            let allowed = WHOLE - parts_of(target).unwrap();
            assert_eq!(
                by_budget(allowed, 1, (reading, last_hour), FULL),
                standing,
                "{reading:?}"
            );
        }
        check("99.9%", reading(1_000, 0), quiet, Standing::Compliant);
        check("99.9%", reading(999, 1), quiet, Standing::Violated);
        check("99.9%", reading(1_000, 1), quiet, Standing::Warning);
        // A quarter is left, then less.
        check("99.9%", reading(3_997, 3), quiet, Standing::Compliant);
        check("99.9%", reading(3_996, 3), quiet, Standing::Warning);
        // The last hour burns at 1, then faster.
        check(
            "99.9%",
            reading(100_000, 1),
            reading(999, 1),
            Standing::Compliant,
        );
        check(
            "99.9%",
            reading(100_000, 1),
            reading(998, 1),
            Standing::Warning,
        );
        check("0%", reading(0, 10), reading(0, 10), Standing::Violated);
        check(
            "99.9%",
            reading(u64::MAX / 2, 1),
            quiet,
            Standing::Compliant,
        );
    }

    #[test]
    fn figures_within_a_tenth_of_their_target_are_a_warning() {
        let check = |current| (at_most(200.0, current), at_least(200.0, current));
        assert_eq!(check(Some(180.0)), (Standing::Compliant, Standing::Warning));
        assert_eq!(
            check(Some(200.0)),
            (Standing::Compliant, Standing::Compliant)
        );
        assert_eq!(check(Some(219.9)), (Standing::Warning, Standing::Compliant));
        assert_eq!(
            check(Some(220.1)),
            (Standing::Violated, Standing::Compliant)
        );
        assert_eq!(
            check(Some(179.9)),
            (Standing::Compliant, Standing::Violated)
        );
        assert_eq!(check(None), (Standing::NoData, Standing::NoData));
    }
}
