//! Error budgets and burn rate alerts, after chapter 5 of the SRE workbook, "Alerting on SLOs".

use std::time::Duration;

use crate::counts::SliCounts;
use crate::ratio::PARTS;
use crate::view::AdjustedCounts;
use crate::window::{Bounds, Period};

/// The error budget of an SLO: the allowed share of bad events, and how fast it is consumed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Budget {
    /// The allowed share of bad events among the valid ones, from 0 to 1.
    pub allowed: f64,
    /// The consumed share of the budget: 1 is the whole budget, and more is overspent. It relates
    /// to the valid events of the window until now, and is 0 without any.
    pub consumed: f64,
    /// The burn rates of the last hour and of the windows of the [alerts](BurnAlert), in ascending
    /// order of the window. Windows longer than the SLO's are not included.
    pub burn_rates: Vec<BurnRate>,
    /// The time until the budget is exhausted at the burn rate of the last hour; zero if it is
    /// exhausted.
    ///
    /// It is `None` if nothing failed in the last hour, or if the calendar month or quarter ends
    /// before. For a rolling window it is a lower bound, because it assumes that no failure leaves
    /// the window. At a burn rate of at most 1 the budget may never be exhausted.
    pub exhausted_in: Option<Duration>,
}

impl Budget {
    /// Returns the budget of a past window.
    pub(crate) fn past(allowed: u64, valid: u64, bad: u64) -> Self {
        let allowed = allowed as f64 / PARTS as f64;
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

    /// Returns the remaining share of the budget; negative if it is overspent.
    #[must_use]
    pub fn remaining(&self) -> f64 {
        1.0 - self.consumed
    }
}

/// The speed at which a budget is consumed over a window.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BurnRate {
    /// The window, which ends now.
    pub window: Duration,
    /// The share of bad events divided by the allowed share: at 1 the budget lasts for exactly the
    /// SLO's window. `None` without a valid event.
    pub rate: Option<f64>,
}

/// The urgency of a burn rate alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Urgency {
    /// The alert requires attention now.
    Page,
    /// The alert requires attention within days.
    Ticket,
}

impl Urgency {
    /// Returns the urgency as a string: `page` or `ticket`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
        }
    }
}

/// A burn rate alert, over a long and a short window.
///
/// It fires if the burn rates of both windows exceed its factor. For an SLO over 30 days the alerts
/// are those of the SRE workbook:
///
/// | urgency | long window | short window | factor | consumed budget |
/// |---|---|---|---|---|
/// | page | 1 h | 5 min | 14.4 | 2 % |
/// | page | 6 h | 30 min | 6 | 5 % |
/// | ticket | 1 d | 2 h | 3 | 10 % |
/// | ticket | 3 d | 6 h | 1 | 10 % |
///
/// For another window the factors are such that the long windows consume the same shares of the
/// budget. An SLO over less than a week has no alerts. An alert whose factor no share of failures
/// can reach is left out.
///
/// An alert fires only under these conditions:
///
/// - Its long window has at least three bad events (for an uptime 30 s of downtime).
/// - Its long window is covered for at least the length of the short one. So after a start without
///   a store, the first page fires after five minutes at the earliest.
///
/// A firing alert continues to fire while its short window has no valid events and its long window
/// exceeds the factor. The exported rules implement this by the series `ALERTS`.
///
/// `campanile_monitor::burn_rate_rules` and the
/// [exported rules](crate::export::Export::prometheus_rules) combine the alerts of an SLO into one
/// page and one ticket.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BurnAlert {
    /// The SLO's name.
    pub slo: String,
    /// The urgency.
    pub urgency: Urgency,
    /// The long window.
    pub long: Duration,
    /// The short window, which resolves the alert soon after the failures have ended.
    pub short: Duration,
    /// The burn rate that both windows must exceed.
    pub factor: f64,
    /// The burn rate of the long window; `None` without a valid event.
    pub rate: Option<f64>,
    /// Whether the alert is firing.
    pub is_firing: bool,
}

/// For each alert the share of the budget in thousandths, the long and the short window in seconds,
/// and the urgency.
const ALERTS: [(u64, u64, u64, Urgency); 4] = [
    (20, HOUR, 5 * 60, Urgency::Page),
    (50, 6 * HOUR, 30 * 60, Urgency::Page),
    (100, 24 * HOUR, 2 * HOUR, Urgency::Ticket),
    (100, 72 * HOUR, 6 * HOUR, Urgency::Ticket),
];

const HOUR: u64 = 60 * 60;

/// The shortest window of an SLO with alerts.
const WEEK: Duration = Duration::from_secs(7 * 24 * HOUR);

/// The minimum number of bad events of a firing alert.
pub(crate) const MIN_BAD: u64 = 3;

/// Returns the windows of the burn rates, in milliseconds.
pub(crate) fn spans(period: Duration) -> Vec<u64> {
    let spans = ALERTS
        .iter()
        .flat_map(|(_, long, short, _)| [*long, *short]);
    let spans = spans.filter(|seconds| Duration::from_secs(*seconds) <= period);
    // The last hour is always included.
    let mut spans: Vec<_> = spans.chain([HOUR]).map(|seconds| seconds * 1_000).collect();
    spans.sort_unstable();
    spans.dedup();
    spans
}

/// Returns a budget, from the counts of its window until now and of the windows that end now.
///
/// `allowed` is the share of bad events, in parts of [`PARTS`].
pub(crate) fn budget(
    allowed: u64,
    period: &Period,
    (bounds, time): (Bounds, u64),
    in_window: SliCounts,
    spans: &[(u64, SliCounts)],
) -> Budget {
    let share = allowed as f64 / PARTS as f64;
    let rate = |counts: SliCounts| counts.error_rate().map(|rate| rate / share);
    let burn_rates = spans.iter().map(|(window, counts)| BurnRate {
        window: Duration::from_millis(*window),
        rate: rate(*counts),
    });
    let burn_rates: Vec<_> = burn_rates.collect();
    let consumed = rate(in_window).unwrap_or(0.0);
    let hour = Duration::from_secs(HOUR);
    let last_hour = burn_rates.iter().find(|burn| burn.window == hour);
    let last_hour = last_hour.and_then(|burn| burn.rate).unwrap_or(0.0);
    let left = (1.0 - consumed).max(0.0);
    let exhausted_in = match left > 0.0 {
        false => Some(Duration::ZERO),
        // A time that is too long for a duration is never reached.
        true if period.is_calendar() => {
            // The budget grows with the traffic, as fast as a burn rate of 1 consumes it.
            let observed = in_window.covered().as_secs_f64();
            let lasts = left * observed / (last_hour - 1.0).max(0.0);
            // A new month has a new budget.
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

/// Returns the alerts of an SLO.
///
/// `slice` is the length of the time slices of a gauge, and `unit` the number of samples that
/// correspond to one request.
pub(crate) fn alerts(
    slo: &str,
    allowed: u64,
    period: &Period,
    (slice, unit): (Option<Duration>, u64),
    counts: AdjustedCounts<'_>,
    was_firing: impl Fn(Urgency, Duration) -> bool,
) -> Vec<BurnAlert> {
    let alert = |(urgency, limit, long, short): (Urgency, Limit, Duration, Duration)| {
        let last = |window: Duration| counts.last(window.as_secs() * 1_000);
        let (over_long, over_short) = (last(long), last(short));
        let is_enough = over_long.bad() >= MIN_BAD * unit
            // A long window that has hardly started is no basis for an alert.
            && over_long.covered() >= short;
        // Without requests nothing has recovered: the load balancer may have removed the service.
        // Uncovered time, such as maintenance, is no such silence.
        let is_silent = over_short.valid() == 0 && over_short.covered() > Duration::ZERO;
        let continues = is_silent && was_firing(urgency, long);
        let share = allowed as f64 / PARTS as f64;
        BurnAlert {
            slo: slo.to_owned(),
            urgency,
            long,
            short,
            factor: limit.factor(),
            rate: over_long.error_rate().map(|rate| rate / share),
            is_firing: is_enough
                && limit.is_exceeded(over_long)
                && (continues || limit.is_exceeded(over_short)),
        }
    };
    reachable_alerts(allowed, period.nominal(), slice)
        .map(alert)
        .collect()
}

/// Returns the alerts that can fire, if at most one event is counted in each time slice.
pub(crate) fn reachable_alerts(
    allowed: u64,
    period: Duration,
    slice: Option<Duration>,
) -> impl Iterator<Item = (Urgency, Limit, Duration, Duration)> {
    let all = limits(allowed, period);
    all.filter(move |(_, limit, long, short)| {
        limit.is_reachable() && slice.is_none_or(|slice| Limit::fits(slice, *long, *short))
    })
}

/// Returns the urgency, the limit, and the long and short window of each alert over a period.
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

/// The share of bad events above which an alert fires: `factor * allowed`, as a fraction of
/// integers.
///
/// The factor is the share of the budget, times the period, divided by the long window.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    /// In parts of [`PARTS`].
    allowed: u64,
    per_mille: u64,
    /// In seconds.
    period: u64,
    /// In seconds.
    long: u64,
}

impl Limit {
    fn numerator(self) -> u128 {
        u128::from(self.allowed) * u128::from(self.per_mille) * u128::from(self.period)
    }

    fn denominator(self) -> u128 {
        u128::from(PARTS) * 1_000 * u128::from(self.long)
    }

    pub(crate) fn factor(self) -> f64 {
        self.per_mille as f64 / 1_000.0 * self.period as f64 / self.long as f64
    }

    /// Returns whether a window with failures only exceeds it.
    pub(crate) fn is_reachable(self) -> bool {
        self.numerator() < self.denominator()
    }

    /// Returns whether the long window has enough slices, and the short one at least one.
    pub(crate) fn fits(slice: Duration, long: Duration, short: Duration) -> bool {
        let slices = long.as_millis() / slice.as_millis().max(1);
        slices >= MIN_BAD.into() && short >= slice
    }

    /// Returns the highest allowed share, in parts of [`PARTS`], for which it is reachable.
    pub(crate) fn reachable(self) -> u64 {
        let parts = u128::from(PARTS) * 1_000 * u128::from(self.long);
        let parts = parts.div_ceil((u128::from(self.per_mille) * u128::from(self.period)).max(1));
        u64::try_from(parts.saturating_sub(1)).unwrap_or(u64::MAX)
    }

    fn is_exceeded(self, counts: SliCounts) -> bool {
        u128::from(counts.bad()).saturating_mul(self.denominator())
            > u128::from(counts.valid()).saturating_mul(self.numerator())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Window;
    use crate::windows::{MAX_WINDOW, Windows};

    const DAY: Duration = Duration::from_secs(24 * HOUR);

    /// Windows with good and bad events in each second up to now.
    fn windows(seconds: u64, good: u64, bad: u64) -> Windows {
        after(0, seconds, good, bad)
    }

    /// The same after some seconds without events.
    fn after(quiet: u64, seconds: u64, good: u64, bad: u64) -> Windows {
        let spans = [120_000, HOUR * 1_000, 24 * HOUR * 1_000, MAX_WINDOW];
        let mut windows = Windows::new(START, &spans);
        windows.advance(quiet * 1_000);
        for second in quiet..quiet + seconds {
            let counted = SliCounts {
                good: good * (second - quiet + 1),
                bad: bad * (second - quiet + 1),
                ..SliCounts::default()
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
                AdjustedCounts::new(&windows(1, 1, 0), &[]),
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
        let of = |percent: u64| PARTS / 10_000 * (10_000 - percent);
        assert_eq!(factors(30, of(9_306)).len(), 4);
        assert_eq!(factors(30, of(9_305)).len(), 3);
        assert_eq!(factors(30, of(8_333)).len(), 2);
        assert_eq!(factors(30, PARTS).len(), 0);
    }

    #[test]
    fn an_alert_requires_both_windows_and_enough_events() {
        let of = |unit: u64, windows: &Windows| -> Vec<bool> {
            let view = AdjustedCounts::new(windows, &[]);
            let alerts = alerts("a", ALLOWED, &period(30), (None, unit), view, |_, _| false);
            alerts.iter().map(|alert| alert.is_firing).collect()
        };
        let firing = |seconds, good, bad| of(1, &after(6 * HOUR, seconds, good, bad));
        // 2 % of all fail, 20 times what is allowed.
        assert_eq!(firing(3_600, 98, 2), [true; 4]);
        // Exactly 14.4 times is not more.
        assert_eq!(firing(100, 9_856, 144), [false, true, true, true]);
        assert_eq!(firing(100, 9_855, 144), [true; 4]);
        // The failures have ended, so the short window has none.
        let mut ended = after(6 * HOUR, 3_600, 98, 2);
        ended.advance((6 * HOUR + 3_600 + 330) * 1_000);
        assert_eq!(of(1, &ended), [false, true, true, true]);
        // Two bad events never fire; three do, however few valid ones there are.
        assert_eq!(firing(1, 5, 2), [false; 4]);
        assert_eq!(firing(1, 67, 3), [true; 4]);
        assert_eq!(firing(1, 0, 3), [true; 4]);
        // For an uptime the minimum is half a minute.
        assert_eq!(of(10_000, &after(6 * HOUR, 1, 0, 29_999)), [false; 4]);
        assert_eq!(of(10_000, &after(6 * HOUR, 1, 0, 30_000)), [true; 4]);
    }

    #[test]
    fn an_alert_requires_that_its_long_window_is_covered_for_the_length_of_its_short_one() {
        let firing = |seconds: u64| -> Vec<bool> {
            let windows = windows(seconds, 0, 10);
            let view = AdjustedCounts::new(&windows, &[]);
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
    fn a_budget_is_consumed() {
        let windows = windows(7_200, 999, 1);
        let of = |allowed, period: &Period, windows: &Windows| {
            let (bounds, view) = (period.at(windows.time()), AdjustedCounts::new(windows, &[]));
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
        // At half the rate, half of the budget lasts for the whole window.
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
        // The month, which started on the first of November, ends before half of the budget is
        // consumed.
        let month = Window::month("UTC").check().unwrap();
        let in_month = of(ALLOWED * 2, &month, &windows);
        assert_eq!(
            (in_month.consumed, in_month.exhausted_in),
            (half.consumed, None)
        );
        // Two good hours, then half an hour at three times the allowed rate.
        let mut worse = self::windows(7_200, 1_000, 0);
        for second in 7_200..9_000u64 {
            let counted = SliCounts {
                good: 7_200_000 + 997 * (second - 7_199),
                bad: 3 * (second - 7_199),
                ..SliCounts::default()
            };
            worse.add_up_to(second * 1_000, counted);
            worse.advance((second + 1) * 1_000);
        }
        let fast = of(ALLOWED, &month, &worse);
        let lasts = fast.exhausted_in.map(|time| time.as_secs_f64().round());
        assert_eq!(lasts, Some(7_200.0), "{fast:?}");
        let nothing = of(ALLOWED, &period(1), &Windows::new(0, &[MAX_WINDOW]));
        assert_eq!((nothing.consumed, nothing.exhausted_in), (0.0, None));
        assert_eq!(spans(&nothing), [5, 30, 60, 120, 360, 1_440]);
        assert!(nothing.burn_rates.iter().all(|burn| burn.rate.is_none()));
    }

    #[test]
    fn the_reachable_limit_is_exact() {
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
