//! How a figure stands to its target.

use crate::report::Standing;
use crate::ring::Reading;
use crate::share::WHOLE;

/// How a share stands, by its budget over its window and its use in the last hour.
pub(crate) fn by_budget(target: u64, reading: Reading, last_hour: Reading) -> Standing {
    let allowed = u128::from(WHOLE - target);
    // Both in parts of an exchange.
    let budget = u128::from(reading.valid()) * allowed;
    let used = u128::from(reading.bad()) * u128::from(WHOLE);
    let burns =
        u128::from(last_hour.bad()) * u128::from(WHOLE) > u128::from(last_hour.valid()) * allowed;
    if reading.bad() > 0 && used >= budget {
        Standing::Violated
    } else if burns || used * 4 > budget * 3 {
        Standing::Warning
    } else {
        Standing::Compliant
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
            assert_eq!(
                by_budget(parts_of(target).unwrap(), reading, last_hour),
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
