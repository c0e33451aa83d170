//! The failures that an objective allows, and how fast they are used: chapter 5 of the SRE workbook, "Alerting on SLOs".

use std::time::Duration;

use crate::objective::WHOLE;
use crate::ring::Reading;
use crate::windows::Windows;

/// The failures that an objective allows, and how fast they are used.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Budget {
    /// The share of the valid exchanges that may be bad, from 0 to 1.
    pub allowed: f64,
    /// How much of the budget is used, of what the window's valid exchanges allow: 1 is all, and more is more than there is. 0 without a valid
    /// exchange.
    pub consumed: f64,
    /// How fast it is used in the windows of the [alerts](BurnAlert), from the shortest to the longest.
    pub burn_rates: Vec<BurnRate>,
    /// When it is used up if the last hour goes on, from now; zero if it is, and `None` if it never will be.
    pub exhausted_in: Option<Duration>,
}

impl Budget {
    /// Returns how much of the budget is left: below 0 if more was used than there is.
    #[must_use]
    pub fn remaining(&self) -> f64 {
        1.0 - self.consumed
    }
}

/// How fast a budget is used.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BurnRate {
    /// The time that it is of, up to now.
    pub window: Duration,
    /// The share of bad exchanges, in terms of what is allowed: at 1 the budget lasts for exactly the objective's window. `None` without a valid
    /// exchange.
    pub rate: Option<f64>,
}

/// How loud an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Urgency {
    /// Somebody has to come now.
    Page,
    /// Somebody has to look at it in the next days.
    Ticket,
}

impl Urgency {
    /// Returns the urgency in words: `page`, `ticket`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
        }
    }
}

/// A budget that is used too fast, over a long window and over a short one.
///
/// For an objective over 30 days they are those of the workbook: 14.4 over 1 h and 5 min, 6 over 6 h and 30 min, which page, 3 over 1 d and 2 h, 1 over
/// 3 d and 6 h, which don't. For another window the rates are such that the long window uses the same share of the budget (2, 5, 10 and
/// 10 %). Objectives over less than a week have none, nor are there rates that no share of failures can reach.
///
/// One rings only if there were three bad exchanges in its long window, and as many valid ones as it takes for a single bad one to be no alarm.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BurnAlert {
    /// The objective.
    pub objective: String,
    /// How loud it is.
    pub urgency: Urgency,
    /// The long window.
    pub long: Duration,
    /// The short one, which ends the alert soon after the failures have ended.
    pub short: Duration,
    /// The rate that both have to be above.
    pub factor: f64,
    /// The rate over the long window; `None` without a valid exchange.
    pub rate: Option<f64>,
    /// Whether it rings.
    pub is_firing: bool,
}

/// A budget's share in thousandths, the long window, the short one in seconds, and how loud.
const ALERTS: [(u64, u64, u64, Urgency); 4] = [
    (20, HOUR, 5 * 60, Urgency::Page),
    (50, 6 * HOUR, 30 * 60, Urgency::Page),
    (100, 24 * HOUR, 2 * HOUR, Urgency::Ticket),
    (100, 72 * HOUR, 6 * HOUR, Urgency::Ticket),
];

const HOUR: u64 = 60 * 60;

/// The shortest window whose objectives have alerts.
const WEEK: Duration = Duration::from_secs(7 * 24 * HOUR);

/// The fewest bad exchanges that ring.
const LEAST_BAD: u64 = 3;

/// Returns a budget of so many bad parts of `WHOLE`.
pub(crate) fn budget(allowed: u64, window: Duration, windows: &Windows) -> Budget {
    let share = allowed as f64 / WHOLE as f64;
    let rate = |reading: Reading| reading.error_rate().map(|rate| rate / share);
    let mut spans: Vec<_> = ALERTS
        .iter()
        .flat_map(|(_, long, short, _)| [*long, *short])
        .collect();
    spans.sort_unstable();
    spans.dedup();
    let burn_rates = spans
        .into_iter()
        .map(Duration::from_secs)
        .map(|window| BurnRate {
            window,
            rate: rate(windows.last(window)),
        });
    let consumed = rate(windows.last(window)).unwrap_or(0.0);
    let last_hour = rate(windows.last(Duration::from_secs(HOUR))).unwrap_or(0.0);
    let left = (1.0 - consumed).max(0.0);
    let exhausted_in = match left > 0.0 {
        false => Some(Duration::ZERO),
        // What takes longer than can be told never comes.
        true => Duration::try_from_secs_f64(left * window.as_secs_f64() / last_hour).ok(),
    };
    Budget {
        allowed: share,
        consumed,
        burn_rates: burn_rates.collect(),
        exhausted_in,
    }
}

/// Returns the alerts of an objective, and whether they ring.
pub(crate) fn alerts(
    objective: &str,
    allowed: u64,
    window: Duration,
    windows: &Windows,
) -> Vec<BurnAlert> {
    let all = ALERTS.iter().filter(|_| window >= WEEK);
    let alert = |&(per_mille, long, short, urgency): &(u64, u64, u64, Urgency)| {
        let limit = Limit {
            allowed,
            per_mille,
            period: window.as_secs(),
            long,
        };
        if !limit.is_reachable() {
            return None;
        }
        let (long, short) = (Duration::from_secs(long), Duration::from_secs(short));
        let (over_long, over_short) = (windows.last(long), windows.last(short));
        let is_enough = over_long.bad() >= LEAST_BAD && limit.has_enough(over_long.valid());
        let share = allowed as f64 / WHOLE as f64;
        Some(BurnAlert {
            objective: objective.to_owned(),
            urgency,
            long,
            short,
            factor: limit.factor(),
            rate: over_long.error_rate().map(|rate| rate / share),
            is_firing: is_enough && limit.is_exceeded(over_long) && limit.is_exceeded(over_short),
        })
    };
    all.filter_map(alert).collect()
}

/// A share of failures, as a fraction of whole numbers: `factor * allowed`, where the factor is the budget's share times the period by the long window.
#[derive(Clone, Copy)]
struct Limit {
    /// In parts of `WHOLE`.
    allowed: u64,
    per_mille: u64,
    /// In seconds.
    period: u64,
    long: u64,
}

impl Limit {
    fn above(self) -> u128 {
        u128::from(self.allowed) * u128::from(self.per_mille) * u128::from(self.period)
    }

    fn below(self) -> u128 {
        u128::from(WHOLE) * 1_000 * u128::from(self.long)
    }

    fn factor(self) -> f64 {
        self.per_mille as f64 / 1_000.0 * self.period as f64 / self.long as f64
    }

    /// Returns whether failures alone would exceed it.
    fn is_reachable(self) -> bool {
        self.above() < self.below()
    }

    /// Returns whether a single bad exchange among so many is within it.
    fn has_enough(self, valid: u64) -> bool {
        u128::from(valid) * self.above() >= self.below()
    }

    fn is_exceeded(self, reading: Reading) -> bool {
        u128::from(reading.bad()).saturating_mul(self.below())
            > u128::from(reading.valid()).saturating_mul(self.above())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * HOUR);

    /// Windows in which so many exchanges were good and bad in each second up to now.
    fn windows(seconds: u64, good: u64, bad: u64) -> Windows {
        let mut windows = Windows::new(1_700_000_000_000);
        for second in 0..seconds {
            let reading = Reading {
                good,
                bad,
                ..Reading::default()
            };
            windows.add(second * 1_000, reading);
            windows.advance((second + 1) * 1_000);
        }
        windows
    }

    /// 99.9 %.
    const ALLOWED: u64 = 1_000_000;

    #[test]
    fn rates_are_those_of_the_workbook() {
        let factors = |days: u32, allowed| -> Vec<f64> {
            let alerts = alerts("a", allowed, DAY * days, &windows(1, 1, 0));
            alerts
                .iter()
                .map(|alert| (alert.factor * 1_000.0).round() / 1_000.0)
                .collect()
        };
        assert_eq!(factors(30, ALLOWED), [14.4, 6.0, 3.0, 1.0]);
        assert_eq!(factors(28, ALLOWED), [13.44, 5.6, 2.8, 0.933]);
        assert!(factors(6, ALLOWED).is_empty());
        // 14.4 is reached from 93.06 % on, 6 from 83.3 %.
        let of = |percent: u64| WHOLE / 10_000 * (10_000 - percent);
        assert_eq!(factors(30, of(9_306)).len(), 4);
        assert_eq!(factors(30, of(9_305)).len(), 3);
        assert_eq!(factors(30, of(8_333)).len(), 2);
        assert_eq!(factors(30, WHOLE).len(), 0);
    }

    #[test]
    fn an_alert_needs_both_windows_and_enough_exchanges() {
        let firing = |windows: &Windows| -> Vec<bool> {
            let alerts = alerts("a", ALLOWED, DAY * 30, windows);
            alerts.iter().map(|alert| alert.is_firing).collect()
        };
        // 2 % of all fail, 20 times what is allowed.
        assert_eq!(firing(&windows(3_600, 98, 2)), [true; 4]);
        // Exactly 14.4 times is not more.
        assert_eq!(firing(&windows(100, 9_856, 144)), [false, true, true, true]);
        assert_eq!(firing(&windows(100, 9_855, 144)), [true; 4]);
        // It has ended: the short window knows.
        let mut ended = windows(3_600, 98, 2);
        ended.advance((3_600 + 330) * 1_000);
        assert_eq!(firing(&ended), [false, true, true, true]);
        // Two bad ones are no alarm, and three of ten neither: with so few a single one would be.
        assert_eq!(firing(&windows(1, 500, 2)), [false; 4]);
        assert_eq!(firing(&windows(1, 67, 3)), [true, false, false, false]);
        assert_eq!(firing(&windows(1, 7, 3)), [false; 4]);
    }

    #[test]
    fn a_budget_is_used_and_lasts() {
        let windows = windows(7_200, 999, 1);
        let of = budget(ALLOWED, DAY * 30, &windows);
        assert!(
            (of.consumed - 1.0).abs() < 1e-9 && of.remaining().abs() < 1e-9,
            "{of:?}"
        );
        assert_eq!(of.exhausted_in, Some(Duration::ZERO));
        let of = budget(ALLOWED * 2, DAY * 30, &windows);
        assert!((of.consumed - 0.5).abs() < 1e-9);
        // At half the rate half of it lasts for the whole window.
        let lasts = of.exhausted_in.map(|time| time.as_secs_f64().round());
        assert_eq!(lasts, Some(30.0 * 86_400.0));
        let spans: Vec<_> = of
            .burn_rates
            .iter()
            .map(|burn| burn.window.as_secs() / 60)
            .collect();
        assert_eq!(spans, [5, 30, 60, 120, 360, 1_440, 4_320]);
        assert!(
            of.burn_rates
                .iter()
                .all(|burn| burn.rate.is_some_and(|rate| (rate - 0.5).abs() < 1e-9))
        );
        let nothing = budget(ALLOWED, DAY, &Windows::new(0));
        assert_eq!((nothing.consumed, nothing.exhausted_in), (0.0, None));
        assert!(nothing.burn_rates.iter().all(|burn| burn.rate.is_none()));
    }
}
