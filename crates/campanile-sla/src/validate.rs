//! Validates an [`Slo`], and derives the indicator that it requires.

use std::time::Duration;

use crate::active_slo::ActiveSlo;
use crate::budget;
use crate::error::Problem;
use crate::ratio::{PARTS, parts_of};
use crate::slo::{ABANDONED_AFTER, Filters, Goal, Slo};
use crate::source::Source;
use crate::spec::{Criterion, IndicatorSpec, SourceKind};
use crate::target::Target;
use crate::window::{Period, WindowProblem};
use crate::windows::MAX_WINDOW;

const HOUR: u64 = 60 * 60 * 1_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The limit of routes that all SLOs track in total.
pub(crate) const MAX_ROUTES: usize = 200;

impl Slo {
    /// Returns the validated SLO and its indicator, or adds its problems.
    pub(crate) fn checked(self, problems: &mut Vec<Problem>) -> Option<(ActiveSlo, IndicatorSpec)> {
        let before = problems.len();
        if !is_name(&self.name) {
            problems.push(Problem::Name {
                name: self.name.clone(),
            });
        }
        self.check_source(problems);
        self.check_settings(problems);
        let period = self.check_window(problems);
        let target = self.check_target(problems);
        let (period, target) = period.zip(target).filter(|_| problems.len() == before)?;
        let kind = self.source_kind();
        // The longest window is always included, for the reports of the last two months.
        let mut spans = vec![MAX_WINDOW, period.span(), HOUR];
        if target.allowed().is_some() {
            spans.extend(budget::spans(period.nominal()));
        }
        let sketch = match target {
            Target::Percentile(..) => Some(period.span()),
            _ => None,
        };
        let spec = IndicatorSpec {
            key: self.key(&kind),
            kind,
            criterion: self.criterion(),
            spans,
            sketches: sketch.into_iter().collect(),
            routes: self.per_route.map(|limit| (limit, period.span())),
            filters: self.filters.clone(),
        };
        Some((ActiveSlo::new(self, target, period), spec))
    }

    /// Returns the length of the time slices of a gauge.
    pub(crate) fn slice_of_gauge(&self) -> Option<Duration> {
        let is_gauge = matches!(self.goal, Goal::Gauge(..));
        is_gauge.then(|| self.time_slice.unwrap_or(TIME_SLICE))
    }

    /// Returns the number of samples that correspond to one request. The samples of an uptime are
    /// milliseconds, of which 10 s correspond to one request.
    pub(crate) fn unit(&self) -> u64 {
        match self.goal {
            Goal::Uptime(_) => 10_000,
            _ => 1,
        }
    }

    /// Returns the source, which is validated separately.
    pub(crate) fn source_or_default(&self) -> Source {
        let default = match self.goal {
            Goal::Uptime(_) => Source::Health,
            Goal::Gauge(..) => Source::Manual,
            _ => Source::Http,
        };
        self.source.clone().unwrap_or(default)
    }

    fn source_kind(&self) -> SourceKind {
        match &self.goal {
            Goal::Uptime(_) => SourceKind::Uptime {
                count_restart_as_down: self.count_restart_as_down,
            },
            Goal::Gauge(_, bound) => SourceKind::Gauge {
                bound: *bound,
                slice: self.time_slice.unwrap_or(TIME_SLICE),
            },
            _ if self.source == Some(Source::Manual) => SourceKind::Manual,
            _ => SourceKind::Http,
        }
    }

    fn criterion(&self) -> Criterion {
        match self.goal {
            Goal::Latency(_, limit) => Criterion::Fast(limit),
            Goal::SuccessWithin(_, limit) => Criterion::GoodAndFast(limit),
            _ => Criterion::Good,
        }
    }

    /// Returns the identity of the indicator, in this process and in earlier ones.
    fn key(&self, kind: &SourceKind) -> String {
        let name = &self.name;
        let source = match kind {
            SourceKind::Http if self.filters.has_closures() => format!("http:{name}"),
            SourceKind::Http => "http".to_owned(),
            SourceKind::Manual => format!("manual:{name}"),
            SourceKind::Uptime { .. } => format!("uptime:{name}"),
            SourceKind::Gauge { bound, slice } => format!("gauge:{name}{bound}/{slice:?}"),
        };
        let criterion = match self.criterion() {
            Criterion::Good => String::new(),
            Criterion::Fast(limit) => format!(" within {limit:?}"),
            Criterion::GoodAndFast(limit) => format!(" good within {limit:?}"),
        };
        let routes = self.filters.routes.iter();
        let routes: String = routes.map(|route| format!(" {route:?}")).collect();
        let abandoned = match self.filters.abandoned_after {
            ABANDONED_AFTER => String::new(),
            latency => format!(" abandoned after {latency:?}"),
        };
        format!("{source}{criterion}{abandoned}{routes}")
    }

    fn check_source(&self, problems: &mut Vec<Problem>) {
        let Some(source) = &self.source else {
            return;
        };
        let (is_valid, expected) = match self.goal {
            Goal::Uptime(_) => (
                matches!(source, Source::Health | Source::Check(_) | Source::Manual),
                "Source::Health, Source::Check or Source::Manual",
            ),
            Goal::Gauge(..) => (
                matches!(source, Source::Manual | Source::Series(_)),
                "Source::Manual or Source::Series",
            ),
            _ => (
                matches!(source, Source::Http | Source::Manual),
                "Source::Http or Source::Manual",
            ),
        };
        if !is_valid {
            problems.push(Problem::Source {
                name: self.name.clone(),
                source_name: source.to_string(),
                expected,
            });
        }
    }

    fn check_settings(&self, problems: &mut Vec<Problem>) {
        let Filters {
            routes,
            abandoned_after,
            filter,
            valid,
            good,
        } = &self.filters;
        let is_http = self.source_kind() == SourceKind::Http;
        let has_verdict = matches!(
            self.goal,
            Goal::Availability(_) | Goal::SuccessWithin(..) | Goal::ErrorRate(_)
        );
        let is_latency = matches!(self.goal, Goal::Latency(..));
        let is_gauge = matches!(self.goal, Goal::Gauge(..));
        let is_uptime = matches!(self.goal, Goal::Uptime(_));
        let is_patient = *abandoned_after != ABANDONED_AFTER;
        for (setting, is_set, applies) in [
            ("route", !routes.is_empty(), is_http),
            ("filter", filter.is_some(), is_http),
            ("valid_if", valid.is_some(), is_http),
            ("good_if", good.is_some(), is_http && has_verdict),
            ("abandoned_after", is_patient, is_http && !is_latency),
            (
                "per_route",
                self.per_route.is_some(),
                is_http && (has_verdict || is_latency),
            ),
            (
                "count_restart_as_down",
                self.count_restart_as_down,
                is_uptime,
            ),
            ("time_slice", self.time_slice.is_some(), is_gauge),
        ] {
            if is_set && !applies {
                problems.push(Problem::Setting {
                    name: self.name.clone(),
                    setting,
                });
            }
        }
        self.check_ranges(is_gauge, problems);
    }

    fn check_ranges(&self, is_gauge: bool, problems: &mut Vec<Problem>) {
        let mut range = |setting, value: String, is_valid: bool, expected| {
            if !is_valid {
                problems.push(Problem::Range {
                    name: self.name.clone(),
                    setting,
                    value,
                    expected,
                });
            }
        };
        let abandoned_after = self.filters.abandoned_after;
        range(
            "abandoned_after",
            format!("{abandoned_after:?}"),
            (Duration::from_millis(1)..=DAY / 24).contains(&abandoned_after),
            "1ms to 1h",
        );
        if let Some(routes) = self.per_route {
            let is_valid = (1..=MAX_ROUTES).contains(&routes);
            range("per_route", routes.to_string(), is_valid, "1 to 200");
        }
        if let Some(slice) = self.time_slice {
            let is_valid = (Duration::from_secs(1)..=DAY / 24).contains(&slice);
            range("time_slice", format!("{slice:?}"), is_valid, "1s to 1h");
        }
        let slice = self.time_slice.unwrap_or(TIME_SLICE);
        let period = self.window.check();
        if is_gauge && period.is_ok_and(|period| period.nominal() < slice) {
            let value = format!("{slice:?}");
            range("time_slice", value, false, "at most the window");
        }
    }

    fn check_window(&self, problems: &mut Vec<Problem>) -> Option<Period> {
        let is_percentile = matches!(self.goal, Goal::Percentile(..));
        let expected = match is_percentile {
            true => "a duration from 1s to 24h",
            false => "1s to 92d, a month or a quarter",
        };
        let length = || Problem::Window {
            name: self.name.clone(),
            window: self.window.clone(),
            expected,
        };
        let is_short = |period: &Period| matches!(period, Period::Rolling(time) if *time <= DAY);
        let problem = match self.window.check() {
            Ok(period) if is_percentile && !is_short(&period) => length(),
            Ok(period) => return Some(period),
            Err(WindowProblem::Length) => length(),
            Err(WindowProblem::Zone(zone)) => Problem::Zone {
                name: self.name.clone(),
                zone,
            },
        };
        problems.push(problem);
        None
    }

    fn check_target(&self, problems: &mut Vec<Problem>) -> Option<Target> {
        let mut problem = |target: &dyn ToString, expected| {
            problems.push(Problem::Target {
                name: self.name.clone(),
                target: target.to_string(),
                expected,
            });
            None
        };
        let share = |text: &str| {
            parts_of(text)
                .filter(|parts| *parts < PARTS)
                .map(Target::Share)
        };
        let expected = "a percentage from 0% to below 100%, such as 99.9%";
        match &self.goal {
            Goal::Availability(text) | Goal::Uptime(text) => {
                share(text).or_else(|| problem(text, expected))
            }
            Goal::Latency(text, limit) | Goal::SuccessWithin(text, limit) => {
                if limit.is_zero() {
                    problem(&"0", "a duration above 0");
                }
                share(text).or_else(|| problem(text, expected))
            }
            Goal::Gauge(text, bound) => {
                if !bound.number().is_finite() {
                    problem(bound, "a finite bound");
                }
                share(text).or_else(|| problem(text, expected))
            }
            Goal::ErrorRate(text) => {
                let parts = parts_of(text).filter(|parts| *parts > 0);
                let expected = "a percentage from above 0% to 100%, such as 1%";
                parts
                    .map(Target::ErrorRate)
                    .or_else(|| problem(text, expected))
            }
            Goal::MeanLatency(time) => {
                if time.is_zero() {
                    problem(&"0", "a duration above 0");
                }
                Some(Target::MeanLatency(*time))
            }
            Goal::Percentile(text, time) => {
                if time.is_zero() {
                    problem(&"0", "a duration above 0");
                }
                let expected = "a percentage from above 0% to 100%, such as 99%";
                let parts = parts_of(text).filter(|parts| *parts > 0);
                let target = parts.map(|parts| Target::Percentile(parts, *time));
                target.or_else(|| problem(text, expected))
            }
            Goal::Throughput(rate) if rate.is_finite() && *rate > 0.0 => {
                Some(Target::Throughput(*rate))
            }
            Goal::Throughput(rate) => problem(rate, "a number above 0"),
        }
    }
}

/// The default length of a time slice.
const TIME_SLICE: Duration = Duration::from_secs(60);

/// Returns whether a string is a valid SLO name.
pub(crate) fn is_name(text: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text.len() <= 64 && text.bytes().all(is_valid)
}
