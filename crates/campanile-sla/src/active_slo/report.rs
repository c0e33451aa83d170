//! The reports of an SLO.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ActiveSlo;
use crate::budget::{self, Budget};
use crate::counts::SliCounts;
use crate::indicator::Indicator;
use crate::ratio::{PARTS, percent};
use crate::report::{RouteReport, SloReport};
use crate::status::{
    self, Elapsed, SloStatus, by_budget, by_latency, by_rate, by_throughput, samples_needed,
};
use crate::stream::Stream;
use crate::target::Target;
use crate::time::from_millis;
use crate::view::AdjustedCounts;
use crate::window::{Bounds, Window};
use crate::windows::Windows;

const HOUR: u64 = 60 * 60 * 1_000;

/// The limit of routes in a report.
const MAX_REPORTED_ROUTES: usize = 10;

/// The measured value of an SLO and its status.
struct Measurement {
    target: f64,
    current: Option<f64>,
    unit: &'static str,
    status: SloStatus,
}

impl ActiveSlo {
    /// Returns the report of the current window, without routes, and updates the latest state.
    pub(crate) fn report(&self, indicator: &Indicator, windows: &Windows) -> SloReport {
        let bounds = self.period.at(windows.time());
        let history = self.history();
        let counts = AdjustedCounts::new(windows, &history.adjustments);
        let time = counts.time();
        let spans = match self.target.allowed() {
            Some(_) => budget::spans(self.period.nominal()),
            None => vec![HOUR],
        };
        let starts = spans.iter().map(|span| time.saturating_sub(*span));
        let starts: Vec<_> = starts.chain([bounds.from]).collect();
        let mut all_counts = counts.since(&starts);
        let in_window = all_counts.pop().unwrap_or_default();
        let spans: Vec<_> = spans.into_iter().zip(all_counts).collect();
        let last_hour = spans.iter().find(|(span, _)| *span == HOUR);
        let last_hour = last_hour.map(|(_, counts)| *counts).unwrap_or_default();
        let budget = |allowed| {
            let bounds = (bounds, time);
            budget::budget(allowed, &self.period, bounds, in_window, &spans)
        };
        let budget = self.target.allowed().map(budget);
        let window = (&self.definition.window, bounds);
        let report = SloReport {
            budget,
            adjustments: counts.adjustments(bounds.from, time).cloned().collect(),
            incidents: history.incidents.since(from_millis(bounds.from)),
            incidents_dropped: history.incidents.dropped(),
            ..self.evaluate(indicator, window, windows, (in_window, last_hour))
        };
        self.state.update(&report);
        report
    }

    /// Returns the report of a past or current month; `None` for a percentile, whose counts are
    /// not retained.
    pub(crate) fn monthly_report(
        &self,
        indicator: &Indicator,
        windows: &Windows,
        (month, bounds): (&Window, Bounds),
    ) -> Option<SloReport> {
        if matches!(self.target, Target::Percentile(..)) {
            return None;
        }
        let history = self.history();
        let counts = AdjustedCounts::new(windows, &history.adjustments);
        // The bucket that starts when the month ends belongs to the next month.
        let until = bounds.until.saturating_sub(1).min(counts.time());
        let in_month = counts.between(bounds.from, until);
        // The last hour is irrelevant for a past month.
        let last_hour = match bounds.until < counts.time() {
            true => SliCounts::default(),
            false => counts.last(HOUR),
        };
        let mut report = self.evaluate(indicator, (month, bounds), windows, (in_month, last_hour));
        let budget = |allowed| Budget::past(allowed, report.samples, report.bad);
        report.budget = self.target.allowed().map(budget);
        let (from, until) = (from_millis(bounds.from), from_millis(bounds.until));
        let adjustments = counts.adjustments(bounds.from, bounds.until.saturating_sub(1));
        report.adjustments = adjustments.cloned().collect();
        report.incidents_dropped = history.incidents.dropped();
        report.incidents = history.incidents.since(from);
        report.incidents.retain(|incident| incident.from < until);
        Some(report)
    }

    /// Evaluates the counts of a window and of the last hour.
    fn evaluate(
        &self,
        indicator: &Indicator,
        (window, bounds): (&Window, Bounds),
        windows: &Windows,
        (counts, last_hour): (SliCounts, SliCounts),
    ) -> SloReport {
        let until = bounds.until.min(windows.time());
        let elapsed = Elapsed {
            passed: until.saturating_sub(bounds.from.max(windows.since_when())),
            // A past window has no rest that could change the verdict.
            whole: match bounds.until < windows.time() {
                true => 0,
                false => bounds.until.saturating_sub(bounds.from),
            },
        };
        let measurement = self.measure(indicator, (counts, last_hour), elapsed);
        let passed = Duration::from_millis(until.saturating_sub(bounds.from));
        let coverage = counts.covered().as_secs_f64() / passed.as_secs_f64();
        SloReport {
            name: self.name.clone(),
            target: measurement.target,
            current: measurement.current,
            unit: measurement.unit,
            status: measurement.status,
            window: window.clone(),
            from: from_millis(bounds.from),
            until: from_millis(bounds.until),
            samples: counts.valid(),
            bad: counts.bad(),
            samples_needed: self.samples_needed(),
            is_estimated: !elapsed.is_full(),
            // No time has passed at the very start of a month.
            coverage: if coverage.is_nan() {
                0.0
            } else {
                coverage.min(1.0)
            },
            budget: None,
            routes: Vec::new(),
            unmatched_routes: Vec::new(),
            adjustments: Vec::new(),
            incidents: Vec::new(),
            incidents_dropped: 0,
        }
    }

    fn samples_needed(&self) -> u64 {
        match self.target {
            Target::Share(parts) => samples_needed(PARTS - parts, self.unit()),
            Target::ErrorRate(parts) => status::samples_needed_for_rate(parts),
            Target::MeanLatency(_) | Target::Percentile(..) => status::MIN_SAMPLES,
            Target::Throughput(_) => 0,
        }
    }

    fn measure(
        &self,
        indicator: &Indicator,
        (counts, last_hour): (SliCounts, SliCounts),
        elapsed: Elapsed,
    ) -> Measurement {
        let has_data = counts.valid() > 0;
        let share = |part: u64| 100.0 * part as f64 / counts.valid() as f64;
        match self.target {
            Target::Share(parts) => Measurement {
                target: percent(parts),
                current: has_data.then(|| share(counts.good())),
                unit: "%",
                status: by_budget(PARTS - parts, self.unit(), (counts, last_hour), elapsed),
            },
            Target::ErrorRate(parts) => Measurement {
                target: percent(parts),
                current: has_data.then(|| share(counts.bad())),
                unit: "%",
                status: by_rate(percent(parts), parts, counts, elapsed),
            },
            Target::MeanLatency(time) => latency(time, counts.mean_latency(), counts),
            Target::Percentile(parts, time) => {
                let span = self.period.span();
                let mut sketches = indicator.sketches.iter();
                let at = sketches.position(|window| *window == span);
                let sketch = at.map(|at| &indicator.stream.sketches()[at]);
                let current = sketch.and_then(|sketch| sketch.percentile(parts, PARTS));
                latency(time, current, counts)
            }
            Target::Throughput(rate) => Measurement {
                target: rate,
                current: counts.throughput(),
                unit: "req/s",
                status: by_throughput(rate, counts, elapsed),
            },
        }
    }

    /// Returns the routes that consumed the most budget, in descending order.
    pub(crate) fn worst_routes(&self, indicator: &Indicator, now: Instant) -> Vec<RouteReport> {
        let is_tracked = self.definition.per_route.is_some();
        let routes = indicator.routes.as_ref().filter(|_| is_tracked);
        let (Some(routes), Some(allowed)) = (routes, self.target.allowed()) else {
            return Vec::new();
        };
        let total = {
            let windows = indicator.stream.windows(now);
            let bounds = self.period.at(windows.time());
            windows.between(bounds.from, windows.time()).valid()
        };
        let budget = total as f64 * allowed as f64 / PARTS as f64;
        let report = |(route, stream): (String, Arc<Stream>)| {
            let windows = stream.windows(now);
            let bounds = self.period.at(windows.time());
            let counts = windows.between(bounds.from, windows.time());
            RouteReport {
                route,
                samples: counts.valid(),
                bad: counts.bad(),
                consumed: if counts.bad() == 0 {
                    0.0
                } else {
                    counts.bad() as f64 / budget
                },
            }
        };
        let mut routes: Vec<_> = routes.all().into_iter().map(report).collect();
        routes.retain(|route| route.samples > 0);
        routes.sort_by(|left, right| {
            let by_bad = right.bad.cmp(&left.bad);
            by_bad.then_with(|| left.route.cmp(&right.route))
        });
        routes.truncate(MAX_REPORTED_ROUTES);
        routes
    }
}

fn latency(target: Duration, current: Option<Duration>, counts: SliCounts) -> Measurement {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let (target, current) = (milliseconds(target), current.map(milliseconds));
    Measurement {
        target,
        current,
        unit: "ms",
        status: by_latency(target, current, counts.valid()),
    }
}
