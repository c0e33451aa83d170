use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::adjustment::{self, AdjustError, Adjustment};
use crate::budget::{self, Budget, BurnAlert};
use crate::incident::Incidents;
use crate::judge::{self, Part, by_budget, by_latency, by_rate, by_throughput};
use crate::report::{ObjectiveReport, RouteReport, Standing};
use crate::ring::Reading;
use crate::share::{WHOLE, percent};
use crate::slo::{Goal, Slo};
use crate::source::Source;
use crate::state::Kept;
use crate::window::{Bounds, Period};
use crate::windows::Windows;
use crate::{Urgency, Window};

mod view;

pub(crate) use self::view::View;

/// An objective that was checked.
#[derive(Debug)]
pub(crate) struct Objective {
    pub(crate) name: String,
    /// As it was given.
    pub(crate) definition: Slo,
    pub(crate) target: Target,
    pub(crate) period: Period,
    pub(crate) feed: Feed,
    /// Where among all sources its own is.
    pub(crate) source: usize,
    /// How it stood last.
    pub(crate) kept: Arc<Kept>,
    history: Mutex<History>,
}

/// What was decided about an objective, and what became of it.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// By time.
    pub(crate) adjustments: Vec<Adjustment>,
    pub(crate) incidents: Incidents,
    /// The long windows of the alerts that ring.
    ringing: Vec<Duration>,
}

impl History {
    /// Moves all of it in time, by milliseconds.
    pub(crate) fn shift(&mut self, by: i64) {
        for adjustment in &mut self.adjustments {
            adjustment.at = shifted(adjustment.at, by);
        }
        self.incidents.shift(by);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// So much is good, in parts of `WHOLE`.
    Share(u64),
    /// So much is bad, in parts of `WHOLE`.
    ErrorRate(u64),
    ResponseTime(Duration),
    /// A percentile in parts of `WHOLE`, and its time.
    Percentile(u64, Duration),
    Throughput(f64),
}

impl Target {
    /// Returns how much of what is valid may be bad, in parts of `WHOLE`, if that is what it is about.
    pub(crate) fn allowed(self) -> Option<u64> {
        match self {
            Self::Share(parts) => Some(WHOLE - parts),
            Self::ErrorRate(parts) => Some(parts),
            Self::ResponseTime(_) | Self::Percentile(..) | Self::Throughput(_) => None,
        }
    }
}

/// Who says what is to be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Feed {
    /// The host, and what is built into its service.
    Host,
    /// The health checks, or one of them.
    Health(Option<String>),
    /// The metrics' series that a selector takes.
    Series(String),
}

const HOUR: u64 = 60 * 60 * 1_000;

/// How many routes a report has.
const WORST: usize = 10;

impl Objective {
    pub(crate) fn new(definition: Slo, target: Target, period: Period) -> Self {
        let feed = match (&definition.goal, &definition.series) {
            (Goal::Uptime(_), _) if definition.tracked => Feed::Host,
            (Goal::Uptime(_), _) => Feed::Health(definition.check.clone()),
            (_, Some(series)) => Feed::Series(series.clone()),
            _ => Feed::Host,
        };
        Self {
            name: definition.name.clone(),
            definition,
            target,
            period,
            feed,
            source: 0,
            kept: Arc::default(),
            history: Mutex::default(),
        }
    }

    /// Returns how many samples are as good as one request: an uptime's are milliseconds, of which ten seconds are one.
    pub(crate) fn unit(&self) -> u64 {
        self.definition.unit()
    }

    /// Returns in how much time no more than one thing is counted, if it is a gauge.
    pub(crate) fn slice(&self) -> Option<Duration> {
        self.definition.slice_of_gauge()
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Excludes failures, of which there must be as many at that time that no other adjustment has excluded.
    pub(crate) fn adjust(
        &self,
        windows: &Windows,
        adjustment: Adjustment,
        now: u64,
    ) -> Result<(), AdjustError> {
        let mut history = self.history();
        let (from, to) = windows.around(milliseconds(adjustment.at).min(windows.time()));
        let counted = windows.between(from, to).bad();
        let others = history.adjustments.iter().filter(|one| {
            // The wall clock may be a little ahead of ours.
            (from..=to).contains(&milliseconds(one.at).min(windows.time()))
        });
        let excluded = others.map(|one| one.bad).fold(0, u64::saturating_add);
        let there_were = counted.saturating_sub(excluded);
        if adjustment.bad > there_were && !history.adjustments.contains(&adjustment) {
            return Err(AdjustError::TooManyBad {
                bad: adjustment.bad,
                there_were,
            });
        }
        adjustment::add(&mut history.adjustments, adjustment, now, |one| one.at)
    }

    /// Returns the alerts on its budget.
    pub(crate) fn burn_alerts(&self, windows: &Windows) -> Vec<BurnAlert> {
        self.alerts(&mut self.history(), windows)
    }

    fn alerts(&self, history: &mut History, windows: &Windows) -> Vec<BurnAlert> {
        let Some(allowed) = self.target.allowed() else {
            return Vec::new();
        };
        let view = View {
            windows,
            adjustments: &history.adjustments,
        };
        // After a restart it is the incident that knows.
        let is_paging = history.incidents.is_open();
        let was_firing = |urgency, long| {
            (is_paging && urgency == Urgency::Page) || history.ringing.contains(&long)
        };
        let kind = (self.slice(), self.unit());
        let alerts = budget::alerts(&self.name, allowed, &self.period, kind, view, was_firing);
        let ringing = alerts.iter().filter(|alert| alert.is_firing);
        history.ringing = ringing.map(|alert| alert.long).collect();
        alerts
    }

    /// Takes note of how it stands, and whether it is in an incident.
    pub(crate) fn look(&self, source: &Source, windows: &Windows) {
        let report = self.report(source, windows);
        let mut history = self.history();
        let alerts = self.alerts(&mut history, windows);
        history.incidents.look(
            &report,
            &alerts,
            moment(windows.time()),
            windows.total().bad,
        );
    }

    pub(crate) fn report(&self, source: &Source, windows: &Windows) -> ObjectiveReport {
        let bounds = self.period.at(windows.time());
        let history = self.history();
        let view = View {
            windows,
            adjustments: &history.adjustments,
        };
        let time = view.time();
        let spans = match self.target.allowed() {
            Some(_) => budget::spans(self.period.nominal()),
            None => vec![HOUR],
        };
        let starts = spans.iter().map(|span| time.saturating_sub(*span));
        let starts: Vec<_> = starts.chain([bounds.from]).collect();
        let mut readings = view.since(&starts);
        let reading = readings.pop().unwrap_or_default();
        let spans: Vec<_> = spans.into_iter().zip(readings).collect();
        let last_hour = spans.iter().find(|(span, _)| *span == HOUR);
        let last_hour = last_hour.map(|(_, reading)| *reading).unwrap_or_default();
        let budget = |allowed| {
            let bounds = (bounds, time);
            budget::budget(allowed, &self.period, bounds, reading, &spans)
        };
        let budget = self.target.allowed().map(budget);
        let report = ObjectiveReport {
            budget,
            adjustments: view
                .adjustments(bounds.from, view.time())
                .cloned()
                .collect(),
            incidents: history.incidents.since(moment(bounds.from)),
            incidents_dropped: history.incidents.dropped(),
            ..self.judge(
                source,
                (&self.definition.window, bounds),
                windows,
                (reading, last_hour),
            )
        };
        self.kept.keep(&report);
        report
    }

    /// Returns how it stands by what was counted in a window and in the last hour.
    fn judge(
        &self,
        source: &Source,
        (window, bounds): (&Window, Bounds),
        windows: &Windows,
        (reading, last_hour): (Reading, Reading),
    ) -> ObjectiveReport {
        let until = bounds.until.min(windows.time());
        let part = Part {
            passed: until.saturating_sub(bounds.from.max(windows.since_when())),
            // Nothing can be expected any more of what is over.
            whole: match bounds.until < windows.time() {
                true => 0,
                false => bounds.until.saturating_sub(bounds.from),
            },
        };
        let figure = self.figure(source, (reading, last_hour), part);
        let (target, current, unit, standing) = figure;
        let passed = Duration::from_millis(until.saturating_sub(bounds.from));
        let coverage = reading.covered().as_secs_f64() / passed.as_secs_f64();
        ObjectiveReport {
            name: self.name.clone(),
            target,
            current,
            unit,
            standing,
            window: window.clone(),
            from: moment(bounds.from),
            until: moment(bounds.until),
            samples: reading.valid(),
            bad: reading.bad(),
            samples_needed: match self.target {
                Target::Share(parts) => judge::needed(WHOLE - parts, self.unit()),
                Target::ErrorRate(parts) => judge::needed_of_rate(parts),
                Target::ResponseTime(_) | Target::Percentile(..) => judge::needed_of_latency(),
                Target::Throughput(_) => 0,
            },
            is_estimated: !part.is_full(),
            // The time at the very start of a month is nothing yet.
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

    /// Returns how it stood in a part of what is kept that is over; `None` if nothing is kept of that, as of percentiles.
    pub(crate) fn statement(
        &self,
        source: &Source,
        windows: &Windows,
        (month, bounds): (&Window, Bounds),
    ) -> Option<ObjectiveReport> {
        if matches!(self.target, Target::Percentile(..)) {
            return None;
        }
        let history = self.history();
        let view = View {
            windows,
            adjustments: &history.adjustments,
        };
        // The bucket that begins when the month ends is not in it.
        let until = bounds.until.saturating_sub(1).min(view.time());
        let reading = view.between(bounds.from, until);
        // Of a month that is over, the last hour says nothing.
        let last_hour = match bounds.until < view.time() {
            true => Reading::default(),
            false => view.last(HOUR),
        };
        let mut report = self.judge(source, (month, bounds), windows, (reading, last_hour));
        let budget = |allowed| Budget::past(allowed, report.samples, report.bad);
        report.budget = self.target.allowed().map(budget);
        let (from, until) = (moment(bounds.from), moment(bounds.until));
        let adjustments = view.adjustments(bounds.from, bounds.until.saturating_sub(1));
        report.adjustments = adjustments.cloned().collect();
        report.incidents_dropped = history.incidents.dropped();
        report.incidents = history.incidents.since(from);
        report.incidents.retain(|incident| incident.from < until);
        Some(report)
    }

    /// Returns the target, the figure, their unit, and how the one stands to the other.
    fn figure(
        &self,
        source: &Source,
        (reading, last_hour): (Reading, Reading),
        part: Part,
    ) -> (f64, Option<f64>, &'static str, Standing) {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let share = |part: u64| 100.0 * part as f64 / reading.valid() as f64;
        let is_known = reading.valid() > 0;
        match self.target {
            Target::Share(parts) => (
                percent(parts),
                is_known.then(|| share(reading.good())),
                "%",
                by_budget(WHOLE - parts, self.unit(), (reading, last_hour), part),
            ),
            Target::ErrorRate(parts) => {
                let target = percent(parts);
                let current = is_known.then(|| share(reading.bad()));
                (target, current, "%", by_rate(target, parts, reading, part))
            }
            Target::ResponseTime(time) => {
                let target = milliseconds(time);
                let current = reading.mean_latency().map(milliseconds);
                (
                    target,
                    current,
                    "ms",
                    by_latency(target, current, reading.valid()),
                )
            }
            Target::Percentile(parts, time) => {
                let at = source
                    .sketches
                    .iter()
                    .position(|of| *of == self.period.span());
                let sketch = at.map(|at| &source.stream.sketches()[at]);
                let found = sketch.and_then(|sketch| sketch.percentile(parts, WHOLE));
                let (target, current) = (milliseconds(time), found.map(milliseconds));
                (
                    target,
                    current,
                    "ms",
                    by_latency(target, current, reading.valid()),
                )
            }
            Target::Throughput(rate) => {
                let current = reading.throughput();
                (rate, current, "req/s", by_throughput(rate, reading, part))
            }
        }
    }

    /// Returns the routes that used most of the budget, from the worst on.
    pub(crate) fn worst_routes(
        &self,
        source: &Source,
        now: std::time::Instant,
    ) -> Vec<RouteReport> {
        let routes = source
            .routes
            .as_ref()
            .filter(|_| self.definition.per_route.is_some());
        let (Some(routes), Some(allowed)) = (routes, self.target.allowed()) else {
            return Vec::new();
        };
        let of_all = {
            let windows = source.stream.windows(now);
            let bounds = self.period.at(windows.time());
            windows.between(bounds.from, windows.time()).valid()
        };
        let budget = of_all as f64 * allowed as f64 / WHOLE as f64;
        let report = |(route, stream): (String, Arc<crate::stream::Stream>)| {
            let windows = stream.windows(now);
            let bounds = self.period.at(windows.time());
            let reading = windows.between(bounds.from, windows.time());
            RouteReport {
                route,
                samples: reading.valid(),
                bad: reading.bad(),
                consumed: if reading.bad() == 0 {
                    0.0
                } else {
                    reading.bad() as f64 / budget
                },
            }
        };
        let mut routes: Vec<_> = routes.all().into_iter().map(report).collect();
        routes.retain(|route| route.samples > 0);
        routes.sort_by(|one, other| {
            other
                .bad
                .cmp(&one.bad)
                .then_with(|| one.route.cmp(&other.route))
        });
        routes.truncate(WORST);
        routes
    }
}

/// Returns a moment in milliseconds since 1970.
pub(crate) fn milliseconds(wall: SystemTime) -> u64 {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn shifted(wall: SystemTime, by: i64) -> SystemTime {
    moment(milliseconds(wall).saturating_add_signed(by))
}

pub(crate) fn moment(milliseconds: u64) -> SystemTime {
    let since = Duration::from_millis(milliseconds);
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}
