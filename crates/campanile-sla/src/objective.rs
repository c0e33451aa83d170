use std::sync::Arc;
use std::time::Duration;

use crate::Problem;
use crate::budget::{self, BurnAlert};
use crate::report::{ObjectiveReport, Standing};
use crate::ring::Reading;
use crate::state::Kept;
use crate::windows::{LONGEST, Windows};

/// A service level objective: a figure of the service's exchanges, and what it should be.
///
/// | setting | default |
/// |---|---|
/// | [`over`](Self::over) | 30 days |
#[derive(Clone, Debug)]
#[must_use = "an objective does nothing until it is given to a builder"]
pub struct Slo {
    name: String,
    target: TargetText,
    window: Duration,
}

/// A target as given, which the builder checks.
#[derive(Clone, Debug)]
enum TargetText {
    Availability(String),
    ResponseTime(Duration),
    ErrorRate(String),
    Throughput(f64),
}

impl Slo {
    /// Returns the objective that so many of the valid exchanges are good, such as `99.9%`: from 0 % to below 100 %, with at most
    /// seven decimal places. The name is 1 to 64 characters of `[A-Za-z0-9._-]`.
    pub fn availability(name: impl Into<String>, target: impl Into<String>) -> Self {
        Self::new(name.into(), TargetText::Availability(target.into()))
    }

    /// Returns the objective that the mean latency is no more than this; above 0.
    pub fn response_time(name: impl Into<String>, target: Duration) -> Self {
        Self::new(name.into(), TargetText::ResponseTime(target))
    }

    /// Returns the objective that no more of the valid exchanges are bad, such as `1%`: from above 0 % to 100 %.
    pub fn error_rate(name: impl Into<String>, target: impl Into<String>) -> Self {
        Self::new(name.into(), TargetText::ErrorRate(target.into()))
    }

    /// Returns the objective that there are at least so many valid exchanges in a second; above 0.
    pub fn throughput(name: impl Into<String>, per_second: f64) -> Self {
        Self::new(name.into(), TargetText::Throughput(per_second))
    }

    /// Sets the window that is judged, up to now: from 1 s to 30 days.
    ///
    /// Defaults to 30 days.
    pub fn over(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    fn new(name: String, target: TargetText) -> Self {
        Self {
            name,
            target,
            window: LONGEST,
        }
    }

    /// Returns the objective, if all is well with it.
    pub(crate) fn check(self, problems: &mut Vec<Problem>) -> Option<Objective> {
        let Self {
            name,
            target,
            window,
        } = self;
        let before = problems.len();
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_valid) {
            problems.push(Problem::Name { name: name.clone() });
        }
        if window < Duration::from_secs(1) || window > LONGEST {
            problems.push(Problem::Window {
                name: name.clone(),
                window,
            });
        }
        let mut target_problem = |target: String, expected| {
            problems.push(Problem::Target {
                name: name.clone(),
                target,
                expected,
            });
        };
        let target = match target {
            TargetText::Availability(text) => match parts_of(&text) {
                Some(parts) if parts < WHOLE => Target::Availability(parts),
                _ => {
                    target_problem(text, "a percentage from 0% to below 100%, such as 99.9%");
                    Target::Availability(0)
                }
            },
            TargetText::ErrorRate(text) => match parts_of(&text) {
                Some(parts) if parts > 0 => Target::ErrorRate(parts),
                _ => {
                    target_problem(text, "a percentage from above 0% to 100%, such as 1%");
                    Target::ErrorRate(0)
                }
            },
            TargetText::ResponseTime(time) => {
                if time.is_zero() {
                    target_problem("0".to_owned(), "a time above 0");
                }
                Target::ResponseTime(time)
            }
            TargetText::Throughput(rate) => {
                if !(rate.is_finite() && rate > 0.0) {
                    target_problem(rate.to_string(), "a number above 0");
                }
                Target::Throughput(rate)
            }
        };
        (problems.len() == before).then(|| Objective {
            name,
            target,
            window,
            kept: Arc::default(),
        })
    }
}

/// An objective that was checked.
#[derive(Debug)]
pub(crate) struct Objective {
    pub(crate) name: String,
    target: Target,
    window: Duration,
    /// How it stood last.
    pub(crate) kept: Arc<Kept>,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    /// In parts of `WHOLE`.
    Availability(u64),
    ResponseTime(Duration),
    /// In parts of `WHOLE`.
    ErrorRate(u64),
    Throughput(f64),
}

/// Percentages are kept in parts of this, so that a budget is exact to the exchange.
pub(crate) const WHOLE: u64 = 1_000_000_000;

const HOUR: Duration = Duration::from_secs(60 * 60);

impl Objective {
    /// Returns how many of the valid exchanges may be bad, in parts of `WHOLE`, if that is what it is about.
    fn allowed(&self) -> Option<u64> {
        match self.target {
            Target::Availability(parts) => Some(WHOLE - parts),
            Target::ErrorRate(parts) => Some(parts),
            Target::ResponseTime(_) | Target::Throughput(_) => None,
        }
    }

    /// Returns the alerts on its budget.
    pub(crate) fn burn_alerts(&self, windows: &Windows) -> Vec<BurnAlert> {
        let allowed = self.allowed().into_iter();
        let alerts = |allowed| budget::alerts(&self.name, allowed, self.window, windows);
        allowed.flat_map(alerts).collect()
    }

    pub(crate) fn report(&self, windows: &Windows) -> ObjectiveReport {
        let reading = windows.last(self.window);
        let is_known = reading.valid() > 0;
        let (target, current, unit, standing) = match self.target {
            Target::Availability(parts) => (
                percent(parts),
                reading
                    .error_rate()
                    .map(|_| 100.0 * reading.good() as f64 / reading.valid() as f64),
                "%",
                by_budget(parts, reading, windows.last(HOUR)),
            ),
            Target::ErrorRate(parts) => {
                let (target, current) = (
                    percent(parts),
                    reading.error_rate().map(|rate| 100.0 * rate),
                );
                (target, current, "%", at_most(target, current))
            }
            Target::ResponseTime(time) => {
                let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
                let (target, current) =
                    (milliseconds(time), reading.mean_latency().map(milliseconds));
                (target, current, "ms", at_most(target, current))
            }
            Target::Throughput(rate) => {
                let current = reading.throughput().filter(|_| is_known);
                (rate, current, "req/s", at_least(rate, current))
            }
        };
        let report = ObjectiveReport {
            name: self.name.clone(),
            target,
            current,
            unit,
            standing: if is_known { standing } else { Standing::NoData },
            window: self.window,
            samples: reading.valid(),
            budget: self
                .allowed()
                .map(|allowed| budget::budget(allowed, self.window, windows)),
            coverage: (reading.covered().as_secs_f64() / self.window.as_secs_f64()).min(1.0),
        };
        self.kept.keep(&report);
        report
    }
}

/// How an availability stands, by its budget over its window and its use in the last hour.
fn by_budget(target: u64, reading: Reading, last_hour: Reading) -> Standing {
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

fn at_most(target: f64, current: Option<f64>) -> Standing {
    match current {
        None => Standing::NoData,
        Some(current) if current <= target => Standing::Compliant,
        Some(current) if current <= target * (1.0 + TOLERANCE) => Standing::Warning,
        Some(_) => Standing::Violated,
    }
}

fn at_least(target: f64, current: Option<f64>) -> Standing {
    match current {
        None => Standing::NoData,
        Some(current) if current >= target => Standing::Compliant,
        Some(current) if current >= target * (1.0 - TOLERANCE) => Standing::Warning,
        Some(_) => Standing::Violated,
    }
}

/// Reads a percentage such as `99.9%`, in parts of `WHOLE`.
fn parts_of(text: &str) -> Option<u64> {
    let number = text.strip_suffix('%')?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > 7 || whole.len() > 3 {
        return None;
    }
    // One percent is 10,000,000 parts: seven decimal places.
    let parts = format!("{whole}{decimals:0<7}").parse().ok()?;
    (parts <= WHOLE).then_some(parts)
}

fn percent(parts: u64) -> f64 {
    parts as f64 / (WHOLE / 100) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read_exactly() {
        #[track_caller]
        fn check(text: &str, parts: Option<u64>) {
            assert_eq!(parts_of(text), parts, "{text}");
        }
        check("99.9%", Some(999_000_000));
        check("99.9999999%", Some(999_999_999));
        check("0%", Some(0));
        check("100%", Some(WHOLE));
        check("1%", Some(10_000_000));
        check("0.05%", Some(500_000));
        for text in [
            "",
            "%",
            "99.9",
            "100.1%",
            "-1%",
            "+1%",
            "1e1%",
            ".5%",
            "5.%",
            "99.99999999%",
            " 1%",
            "NaN%",
            "1000%",
        ] {
            check(text, None);
        }
        assert_eq!(percent(999_000_000), 99.9);
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
