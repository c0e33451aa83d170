use std::fmt;
use std::time::Duration;

use campanile_series::format_duration;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use crate::windows::MAX_WINDOW;

/// The window of an SLO: a rolling one such as the last 30 days, or the current month or quarter.
///
/// A [`Duration`] converts into a rolling window.
///
/// ```
/// use std::time::Duration;
/// use campanile_sla::{Slo, Window};
///
/// let slo = Slo::availability("orders", "99.9%");
/// let rolling = slo.clone().over(Window::days(90));
/// let contract = slo.clone().over(Window::month("Europe/Berlin"));
/// let hour = slo.over(Duration::from_secs(3_600));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Rolling(Duration),
    Calendar(Unit, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Month,
    Quarter,
}

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;
const DAY_LONG: Duration = Duration::from_secs(DAY);

impl Window {
    /// Creates a rolling window: 1 s to 92 days.
    #[must_use]
    pub fn rolling(time: Duration) -> Self {
        Self(Kind::Rolling(time))
    }

    /// Creates a rolling window of 1 to 92 days of 24 hours.
    #[must_use]
    pub fn days(days: u32) -> Self {
        Self::rolling(Duration::from_secs(DAY * u64::from(days)))
    }

    /// Creates a rolling window of 1 to 2,208 hours.
    #[must_use]
    pub fn hours(hours: u32) -> Self {
        Self::rolling(Duration::from_secs(HOUR * u64::from(hours)))
    }

    /// Creates the window of the current calendar month in a time zone: `UTC`, or a name of the
    /// IANA database such as `Europe/Berlin`.
    #[must_use]
    pub fn month(zone: impl Into<String>) -> Self {
        Self(Kind::Calendar(Unit::Month, zone.into()))
    }

    /// Creates the window of the current calendar quarter in a time zone. Quarters start in
    /// January, April, July and October.
    #[must_use]
    pub fn quarter(zone: impl Into<String>) -> Self {
        Self(Kind::Calendar(Unit::Quarter, zone.into()))
    }

    /// Returns the unit and the time zone of a calendar window.
    pub(crate) fn calendar(&self) -> Option<(Unit, &str)> {
        match &self.0 {
            Kind::Rolling(_) => None,
            Kind::Calendar(unit, zone) => Some((*unit, zone)),
        }
    }

    /// Returns the length of a rolling window; zero for a calendar window.
    pub(crate) fn length(&self) -> Duration {
        match self.0 {
            Kind::Rolling(time) => time,
            Kind::Calendar(..) => Duration::ZERO,
        }
    }

    /// Returns the validated window.
    pub(crate) fn check(&self) -> Result<Period, WindowProblem> {
        match &self.0 {
            Kind::Rolling(time) if (Duration::from_secs(1)..=MAX).contains(time) => {
                Ok(Period::Rolling(*time))
            }
            Kind::Rolling(_) => Err(WindowProblem::Length),
            Kind::Calendar(unit, zone) => match TimeZone::get(zone) {
                Ok(zone) => Ok(Period::Calendar(*unit, zone)),
                Err(_) => Err(WindowProblem::Zone(zone.clone())),
            },
        }
    }
}

/// The longest rolling window, which is also the length of the longest quarter.
const MAX: Duration = Duration::from_secs(92 * DAY);

#[derive(Debug)]
pub(crate) enum WindowProblem {
    Length,
    Zone(String),
}

/// The last 30 days.
impl Default for Window {
    fn default() -> Self {
        Self::days(30)
    }
}

impl From<Duration> for Window {
    fn from(time: Duration) -> Self {
        Self::rolling(time)
    }
}

/// Writes `24h`, `30d`, `month in Europe/Berlin` or `quarter in UTC`. One and two days are in
/// hours.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Rolling(time) if *time == DAY_LONG || *time == DAY_LONG * 2 => {
                write!(f, "{}h", time.as_secs() / HOUR)
            }
            Kind::Rolling(time) => f.write_str(&format_duration(*time)),
            Kind::Calendar(Unit::Month, zone) => write!(f, "month in {zone}"),
            Kind::Calendar(Unit::Quarter, zone) => write!(f, "quarter in {zone}"),
        }
    }
}

/// A validated window.
#[derive(Clone, Debug)]
pub(crate) enum Period {
    Rolling(Duration),
    Calendar(Unit, TimeZone),
}

/// The start and the end of a window, in milliseconds since 1970. A rolling window ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) from: u64,
    pub(crate) until: u64,
}

impl Bounds {
    pub(crate) fn length(self) -> Duration {
        Duration::from_millis(self.until - self.from)
    }
}

impl Period {
    /// Returns the maximum length, in milliseconds.
    pub(crate) fn span(&self) -> u64 {
        match self {
            Self::Rolling(time) => u64::try_from(time.as_millis()).unwrap_or(MAX_WINDOW),
            Self::Calendar(Unit::Month, _) => 32 * DAY * 1_000,
            Self::Calendar(Unit::Quarter, _) => MAX_WINDOW,
        }
    }

    /// Returns the bounds of the window at a time.
    pub(crate) fn at(&self, time: u64) -> Bounds {
        match self {
            Self::Rolling(_) => Bounds {
                from: time.saturating_sub(self.span()),
                until: time,
            },
            Self::Calendar(unit, zone) => {
                // A time out of the calendar's range has an empty window.
                calendar(*unit, zone, time).unwrap_or(Bounds {
                    from: time,
                    until: time,
                })
            }
        }
    }

    pub(crate) fn is_calendar(&self) -> bool {
        matches!(self, Self::Calendar(..))
    }

    /// Returns the length, independent of the current time: a month has 30 days, and a quarter 90.
    pub(crate) fn nominal(&self) -> Duration {
        match self {
            Self::Rolling(time) => *time,
            Self::Calendar(Unit::Month, _) => Duration::from_secs(30 * DAY),
            Self::Calendar(Unit::Quarter, _) => Duration::from_secs(90 * DAY),
        }
    }
}

fn calendar(unit: Unit, zone: &TimeZone, time: u64) -> Option<Bounds> {
    let now = Timestamp::from_millisecond(i64::try_from(time).ok()?).ok()?;
    let date = now.to_zoned(zone.clone()).date();
    let (month, months) = match unit {
        Unit::Month => (date.month(), 1),
        Unit::Quarter => ((date.month() - 1) / 3 * 3 + 1, 3),
    };
    month_bounds(zone, Date::new(date.year(), month, 1).ok()?, months)
}

/// Returns the bounds of a number of months that start at a date.
pub(crate) fn month_bounds(zone: &TimeZone, first: Date, months: i64) -> Option<Bounds> {
    // A day does not start at midnight if the clocks are set forward then.
    let start = |date: Date| -> Option<u64> {
        let zoned: Zoned = date
            .to_datetime(Time::midnight())
            .to_zoned(zone.clone())
            .ok()?;
        u64::try_from(zoned.start_of_day().ok()?.timestamp().as_millisecond()).ok()
    };
    let next = first.checked_add(Span::new().months(months)).ok()?;
    Some(Bounds {
        from: start(first)?,
        until: start(next)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(window: &Window, now: &str, from: &str, until: &str) {
        let time = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond() as u64;
        let period = window.check().unwrap();
        let bounds = period.at(time(now));
        assert_eq!(
            bounds,
            Bounds {
                from: time(from),
                until: time(until)
            },
            "{window}"
        );
        assert!(bounds.until - bounds.from <= period.span(), "{window}");
    }

    #[test]
    fn months_start_at_the_midnight_of_the_zone() {
        let utc = Window::month("UTC");
        check(
            &utc,
            "2026-11-21T10:00:00Z",
            "2026-11-01T00:00:00Z",
            "2026-12-01T00:00:00Z",
        );
        check(
            &utc,
            "2026-11-01T00:00:00Z",
            "2026-11-01T00:00:00Z",
            "2026-12-01T00:00:00Z",
        );
        check(
            &utc,
            "2026-10-31T23:59:59Z",
            "2026-10-01T00:00:00Z",
            "2026-11-01T00:00:00Z",
        );
        let berlin = Window::month("Europe/Berlin");
        check(
            &berlin,
            "2026-10-31T23:30:00Z",
            "2026-10-31T23:00:00Z",
            "2026-11-30T23:00:00Z",
        );
        // October has an additional hour.
        check(
            &berlin,
            "2026-10-31T22:30:00Z",
            "2026-09-30T22:00:00Z",
            "2026-10-31T23:00:00Z",
        );
        let kathmandu = Window::month("Asia/Kathmandu");
        check(
            &kathmandu,
            "2026-02-10T00:00:00Z",
            "2026-01-31T18:15:00Z",
            "2026-02-28T18:15:00Z",
        );
    }

    #[test]
    fn quarters_are_three_months() {
        let utc = Window::quarter("UTC");
        check(
            &utc,
            "2026-11-21T10:00:00Z",
            "2026-10-01T00:00:00Z",
            "2027-01-01T00:00:00Z",
        );
        check(
            &utc,
            "2024-02-29T10:00:00Z",
            "2024-01-01T00:00:00Z",
            "2024-04-01T00:00:00Z",
        );
        let lisbon = Window::quarter("Europe/Lisbon");
        check(
            &lisbon,
            "2026-12-31T23:59:59Z",
            "2026-09-30T23:00:00Z",
            "2027-01-01T00:00:00Z",
        );
    }

    #[test]
    fn windows_are_validated_and_formatted() {
        for (window, text) in [
            (Window::days(30), "30d"),
            (Window::hours(1), "1h"),
            (Window::days(1), "24h"),
            (Window::rolling(Duration::from_secs(90)), "1m30s"),
            (Window::month("Europe/Berlin"), "month in Europe/Berlin"),
            (Window::quarter("UTC"), "quarter in UTC"),
            (Window::days(92), "92d"),
        ] {
            assert_eq!(window.to_string(), text);
            assert!(window.check().is_ok(), "{text}");
        }
        for window in [
            Window::days(93),
            Window::hours(0),
            Window::rolling(Duration::MAX),
            Window::month("Berlin"),
            Window::quarter(""),
        ] {
            assert!(window.check().is_err(), "{window}");
        }
        // Each time has bounds.
        for time in [0, 1, u64::MAX, i64::MAX as u64] {
            for window in [
                Window::month("Europe/Berlin"),
                Window::quarter("UTC"),
                Window::days(92),
            ] {
                let bounds = window.check().unwrap().at(time);
                assert!(bounds.from <= bounds.until);
            }
        }
    }
}
