//! The failures that an objective allows, and how fast they are used: chapter 5 of the SRE workbook, "Alerting on SLOs".

use std::time::Duration;

use crate::objective::View;
use crate::ring::Reading;
use crate::share::WHOLE;
use crate::window::{Bounds, Period};

/// The failures that an objective allows, and how fast they are used.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Budget {
    /// The share of the valid ones that may be bad, from 0 to 1.
    pub allowed: f64,
    /// How much of the budget is used, of what the window's valid ones allow so far: 1 is all, and more is more than there is. 0 without a valid one.
    pub consumed: f64,
    /// How fast it is used in the last hour and in the windows of the [alerts](BurnAlert) that are no longer than the objective's, from the
    /// shortest to the longest.
    pub burn_rates: Vec<BurnRate>,
    /// The time until the budget is used up if the last hour goes on; zero if it is used up. `None` if nothing failed in the last hour, or not before
    /// a calendar's month or quarter ends.
    ///
    /// For a rolling window it is the shortest time: it assumes that no failure leaves the window. At a burn rate of up to 1 the budget may never
    /// be used up.
    pub exhausted_in: Option<Duration>,
}

impl Budget {
    /// Returns what was used of a budget whose window is over.
    pub(crate) fn past(allowed: u64, valid: u64, bad: u64) -> Self {
        let allowed = allowed as f64 / WHOLE as f64;
        let consumed = match valid {
            0 => 0.0,
            _ => bad as f64 / (valid as f64 * allowed),
        };
        Self {
            allowed,
            consumed,
            burn_rates: Vec::new(),
            exhausted_in: None,
        }
    }

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
    /// It needs attention now.
    Page,
    /// It needs attention in the next days.
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
/// One rings only if there were three bad exchanges in its long window (for an uptime 30 s), however few valid ones there were: fewer than three failures
/// in three days never ring.
/// An alert that fires goes on while no valid request is counted in its short window, as long as its long window is above
/// the rate. The exported rules do the same, by the series `ALERTS`.
///
/// It also takes a long window that is covered for as long as the short one: after a start without a store, the first page comes after five minutes.
///
/// `campanile_monitor::burn_rate_rules` and the [exported rules](crate::Export::prometheus_rules) make one page and one ticket of an objective's pairs.
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
pub(crate) const LEAST_BAD: u64 = 3;

/// Returns the windows over which is told how fast a budget is used, in milliseconds.
pub(crate) fn spans(period: Duration) -> Vec<u64> {
    let spans = ALERTS
        .iter()
        .flat_map(|(_, long, short, _)| [*long, *short]);
    let spans = spans.filter(|seconds| Duration::from_secs(*seconds) <= period);
    // The last hour is asked for in any case.
    let mut spans: Vec<_> = spans.chain([HOUR]).map(|seconds| seconds * 1_000).collect();
    spans.sort_unstable();
    spans.dedup();
    spans
}

/// Returns a budget of so many bad parts of `WHOLE`: by what was counted in its window so far, and in the ones that end now.
pub(crate) fn budget(
    allowed: u64,
    period: &Period,
    (bounds, time): (Bounds, u64),
    so_far: Reading,
    spans: &[(u64, Reading)],
) -> Budget {
    let share = allowed as f64 / WHOLE as f64;
    let rate = |reading: Reading| reading.error_rate().map(|rate| rate / share);
    let burn_rates = spans.iter().map(|(window, reading)| BurnRate {
        window: Duration::from_millis(*window),
        rate: rate(*reading),
    });
    let burn_rates: Vec<_> = burn_rates.collect();
    let consumed = rate(so_far).unwrap_or(0.0);
    let hour = Duration::from_secs(HOUR);
    let last_hour = burn_rates.iter().find(|burn| burn.window == hour);
    let last_hour = last_hour.and_then(|burn| burn.rate).unwrap_or(0.0);
    let left = (1.0 - consumed).max(0.0);
    let exhausted_in = match left > 0.0 {
        false => Some(Duration::ZERO),
        // What takes longer than can be told never comes.
        true if period.is_calendar() => {
            // Its budget grows with what is counted: as fast as it is used at a rate of 1.
            let watched = so_far.covered().as_secs_f64();
            let lasts = left * watched / (last_hour - 1.0).max(0.0);
            // With a new month comes a new budget.
            let rest = Duration::from_millis(bounds.until.saturating_sub(time));
            let lasts = Duration::try_from_secs_f64(lasts).ok();
            lasts.filter(|time| *time <= rest)
        }
        true => {
            let lasts = left * bounds.length().as_secs_f64() / last_hour;
            Duration::try_from_secs_f64(lasts).ok()
        }
    };
    Budget {
        allowed: share,
        consumed,
        burn_rates,
        exhausted_in,
    }
}

/// Returns the alerts of an objective, and whether they ring.
pub(crate) fn alerts(
    objective: &str,
    allowed: u64,
    period: &Period,
    (slice, unit): (Option<Duration>, u64),
    view: View<'_>,
    was_firing: impl Fn(Urgency, Duration) -> bool,
) -> Vec<BurnAlert> {
    let alert = |(urgency, limit, long, short): (Urgency, Limit, Duration, Duration)| {
        let last = |window: Duration| view.last(window.as_secs() * 1_000);
        let (over_long, over_short) = (last(long), last(short));
        let is_enough = over_long.bad() >= LEAST_BAD * unit
            // Of a long window that has hardly begun, no failures tell anything.
            && over_long.covered() >= short;
        // Without requests nothing has recovered: the load balancer may have removed the service. Time that does not count,
        // such as that of a maintenance, says nothing of it.
        let is_silent = over_short.valid() == 0 && over_short.covered() > Duration::ZERO;
        let goes_on = is_silent && was_firing(urgency, long);
        let share = allowed as f64 / WHOLE as f64;
        BurnAlert {
            objective: objective.to_owned(),
            urgency,
            long,
            short,
            factor: limit.factor(),
            rate: over_long.error_rate().map(|rate| rate / share),
            is_firing: is_enough
                && limit.is_exceeded(over_long)
                && (goes_on || limit.is_exceeded(over_short)),
        }
    };
    ringing(allowed, period.nominal(), slice)
        .map(alert)
        .collect()
}

/// Returns what each alert that can ring takes, if at most one thing is counted in each slice of the time.
pub(crate) fn ringing(
    allowed: u64,
    period: Duration,
    slice: Option<Duration>,
) -> impl Iterator<Item = (Urgency, Limit, Duration, Duration)> {
    let all = limits(allowed, period);
    all.filter(move |(_, limit, long, short)| {
        limit.is_reachable() && slice.is_none_or(|slice| Limit::fits(slice, *long, *short))
    })
}

/// Returns how loud each alert over a period is, what it takes, and its windows.
pub(crate) fn limits(
    allowed: u64,
    period: Duration,
) -> impl Iterator<Item = (Urgency, Limit, Duration, Duration)> {
    let all = ALERTS.iter().filter(move |_| period >= WEEK);
    all.map(move |&(per_mille, long, short, urgency)| {
        let limit = Limit {
            allowed,
            per_mille,
            period: period.as_secs(),
            long,
        };
        (
            urgency,
            limit,
            Duration::from_secs(long),
            Duration::from_secs(short),
        )
    })
}

/// A share of failures, as a fraction of whole numbers: `factor * allowed`, where the factor is the budget's share times the period by the long window.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
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

    pub(crate) fn factor(self) -> f64 {
        self.per_mille as f64 / 1_000.0 * self.period as f64 / self.long as f64
    }

    /// Returns whether failures alone would exceed it.
    pub(crate) fn is_reachable(self) -> bool {
        self.above() < self.below()
    }

    /// Returns whether there are enough slices in the long window, and at least one in the short one.
    pub(crate) fn fits(slice: Duration, long: Duration, short: Duration) -> bool {
        let slices = long.as_millis() / slice.as_millis().max(1);
        slices >= LEAST_BAD.into() && short >= slice
    }

    /// Returns the share of bad ones, in parts of `WHOLE`, that would make it reachable.
    pub(crate) fn reachable(self) -> u64 {
        let parts = u128::from(WHOLE) * 1_000 * u128::from(self.long);
        let parts = parts.div_ceil((u128::from(self.per_mille) * u128::from(self.period)).max(1));
        u64::try_from(parts.saturating_sub(1)).unwrap_or(u64::MAX)
    }

    fn is_exceeded(self, reading: Reading) -> bool {
        u128::from(reading.bad()).saturating_mul(self.below())
            > u128::from(reading.valid()).saturating_mul(self.above())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Window;
    use crate::windows::{LONGEST, Windows};

    const DAY: Duration = Duration::from_secs(24 * HOUR);

    /// Windows in which so many exchanges were good and bad in each second up to now.
    fn windows(seconds: u64, good: u64, bad: u64) -> Windows {
        after(0, seconds, good, bad)
    }

    /// The same after some seconds without any.
    fn after(quiet: u64, seconds: u64, good: u64, bad: u64) -> Windows {
        let spans = [120_000, HOUR * 1_000, 24 * HOUR * 1_000, LONGEST];
        let mut windows = Windows::new(START, &spans);
        windows.advance(quiet * 1_000);
        for second in quiet..quiet + seconds {
            let counted = Reading {
                good: good * (second - quiet + 1),
                bad: bad * (second - quiet + 1),
                ..Reading::default()
            };
            windows.add_up_to(second * 1_000, counted);
            windows.advance((second + 1) * 1_000);
        }
        windows
    }

    const START: u64 = 1_700_000_000_000;

    fn period(days: u32) -> Period {
        Window::days(days).check().unwrap()
    }

    /// 99.9 %.
    const ALLOWED: u64 = 1_000_000;

    #[test]
    fn rates_are_those_of_the_workbook() {
        let factors = |days: u32, allowed| -> Vec<f64> {
            let alerts = alerts(
                "a",
                allowed,
                &period(days),
                (None, 1),
                View::new(&windows(1, 1, 0)),
                |_, _| false,
            );
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
        let of = |unit: u64, windows: &Windows| -> Vec<bool> {
            let view = View::new(windows);
            let alerts = alerts("a", ALLOWED, &period(30), (None, unit), view, |_, _| false);
            alerts.iter().map(|alert| alert.is_firing).collect()
        };
        let firing = |seconds, good, bad| of(1, &after(6 * HOUR, seconds, good, bad));
        // 2 % of all fail, 20 times what is allowed.
        assert_eq!(firing(3_600, 98, 2), [true; 4]);
        // Exactly 14.4 times is not more.
        assert_eq!(firing(100, 9_856, 144), [false, true, true, true]);
        assert_eq!(firing(100, 9_855, 144), [true; 4]);
        // It has ended: the short window knows.
        let mut ended = after(6 * HOUR, 3_600, 98, 2);
        ended.advance((6 * HOUR + 3_600 + 330) * 1_000);
        assert_eq!(of(1, &ended), [false, true, true, true]);
        // Two bad ones are no alarm, and three are one, of however few.
        assert_eq!(firing(1, 5, 2), [false; 4]);
        assert_eq!(firing(1, 67, 3), [true; 4]);
        assert_eq!(firing(1, 0, 3), [true; 4]);
        // Of an uptime three are half a minute.
        assert_eq!(of(10_000, &after(6 * HOUR, 1, 0, 29_999)), [false; 4]);
        assert_eq!(of(10_000, &after(6 * HOUR, 1, 0, 30_000)), [true; 4]);
    }

    #[test]
    fn an_alert_needs_a_long_window_that_is_covered_for_as_long_as_its_short_one() {
        let firing = |seconds: u64| -> Vec<bool> {
            let windows = windows(seconds, 0, 10);
            let view = View::new(&windows);
            let alerts = alerts("a", ALLOWED, &period(30), (None, 1), view, |_, _| false);
            alerts.iter().map(|alert| alert.is_firing).collect()
        };
        assert_eq!(firing(299), [false; 4]);
        assert_eq!(firing(300), [true, false, false, false]);
        assert_eq!(firing(1_800), [true, true, false, false]);
        assert_eq!(firing(7_200), [true, true, true, false]);
        assert_eq!(firing(6 * HOUR), [true; 4]);
    }

    #[test]
    fn a_budget_is_used_and_lasts() {
        let windows = windows(7_200, 999, 1);
        let of = |allowed, period: &Period, windows: &Windows| {
            let (bounds, view) = (period.at(windows.time()), View::new(windows));
            let starts = spans(period.nominal()).into_iter();
            let spans: Vec<_> = starts.map(|span| (span, view.last(span))).collect();
            let so_far = view.between(bounds.from, windows.time());
            budget(allowed, period, (bounds, windows.time()), so_far, &spans)
        };
        let used = of(ALLOWED, &period(30), &windows);
        assert!(
            (used.consumed - 1.0).abs() < 1e-9 && used.remaining().abs() < 1e-9,
            "{used:?}"
        );
        assert_eq!(used.exhausted_in, Some(Duration::ZERO));
        let half = of(ALLOWED * 2, &period(30), &windows);
        assert!((half.consumed - 0.5).abs() < 1e-9);
        // At half the rate half of it lasts for the whole window.
        let lasts = half.exhausted_in.map(|time| time.as_secs_f64().round());
        assert_eq!(lasts, Some(30.0 * 86_400.0));
        let spans = |budget: &Budget| -> Vec<_> {
            let rates = budget.burn_rates.iter();
            rates.map(|burn| burn.window.as_secs() / 60).collect()
        };
        assert_eq!(spans(&half), [5, 30, 60, 120, 360, 1_440, 4_320]);
        let rates = half.burn_rates.iter();
        assert!(
            rates
                .flat_map(|burn| burn.rate)
                .all(|rate| (rate - 0.5).abs() < 1e-9)
        );
        // The month, which began on the first of November, ends before half of it is used.
        let month = Window::month("UTC").check().unwrap();
        let in_month = of(ALLOWED * 2, &month, &windows);
        assert_eq!(
            (in_month.consumed, in_month.exhausted_in),
            (half.consumed, None)
        );
        // Two good hours, then half an hour at three times what is allowed: it lasts for as long as it takes to use what they have left.
        let mut worse = self::windows(7_200, 1_000, 0);
        for second in 7_200..9_000u64 {
            let counted = Reading {
                good: 7_200_000 + 997 * (second - 7_199),
                bad: 3 * (second - 7_199),
                ..Reading::default()
            };
            worse.add_up_to(second * 1_000, counted);
            worse.advance((second + 1) * 1_000);
        }
        let fast = of(ALLOWED, &month, &worse);
        let lasts = fast.exhausted_in.map(|time| time.as_secs_f64().round());
        assert_eq!(lasts, Some(7_200.0), "{fast:?}");
        let nothing = of(ALLOWED, &period(1), &Windows::new(0, &[LONGEST]));
        assert_eq!((nothing.consumed, nothing.exhausted_in), (0.0, None));
        assert_eq!(spans(&nothing), [5, 30, 60, 120, 360, 1_440]);
        assert!(nothing.burn_rates.iter().all(|burn| burn.rate.is_none()));
    }

    #[test]
    fn what_it_takes_is_known() {
        let (_, limit, ..) = limits(ALLOWED, DAY * 30).next().unwrap();
        // 93.06 %
        assert_eq!(limit.reachable() / 1_000, 69_444);
        for (allowed, is_reachable) in [(limit.reachable(), true), (limit.reachable() + 1, false)] {
            let limit = Limit { allowed, ..limit };
            assert_eq!(limit.is_reachable(), is_reachable);
        }
        let fits = |slice: u64| {
            let slice = Duration::from_secs(slice);
            Limit::fits(slice, Duration::from_secs(HOUR), Duration::from_secs(300))
        };
        assert!(fits(60) && fits(300) && !fits(301));
    }
}
