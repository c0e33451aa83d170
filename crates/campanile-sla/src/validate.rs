//! From an objective as it was given to one that can be judged, and to what has to be counted for it.

use std::time::Duration;

use crate::objective::{Objective, Target};
use crate::share::{WHOLE, parts_of};
use crate::slo::{ABANDONED, Goal, Select, Slo};
use crate::source::{Class, Input, Spec};
use crate::window::{Period, WindowProblem};
use crate::windows::LONGEST;
use crate::{Problem, budget};

const HOUR: u64 = 60 * 60 * 1_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The limit of routes that all objectives together track.
pub(crate) const MAX_ROUTES: usize = 200;

impl Slo {
    /// Returns the objective and what it counts, if all is well with it.
    pub(crate) fn checked(self, problems: &mut Vec<Problem>) -> Option<(Objective, Spec)> {
        let before = problems.len();
        if !is_name(&self.name) {
            problems.push(Problem::Name {
                name: self.name.clone(),
            });
        }
        self.check_settings(problems);
        let period = self.check_window(problems);
        let target = self.check_target(problems);
        let (period, target) = period.zip(target).filter(|_| problems.len() == before)?;
        let input = self.input();
        // All that can be kept, for the statements of the last two months.
        let mut spans = vec![LONGEST, period.span(), HOUR];
        if target.allowed().is_some() {
            spans.extend(budget::spans(period.nominal()));
        }
        let sketch = match target {
            Target::Percentile(..) => Some(period.span()),
            _ => None,
        };
        let spec = Spec {
            key: self.key(&input),
            input,
            class: self.class(),
            spans,
            sketches: sketch.into_iter().collect(),
            routes: self.per_route.map(|most| (most, period.span())),
            select: self.select.clone(),
        };
        Some((Objective::new(self, target, period), spec))
    }

    pub(crate) fn slice_of_gauge(&self) -> Option<Duration> {
        let is_gauge = matches!(self.goal, Goal::Gauge(..));
        is_gauge.then(|| self.slice.unwrap_or(SLICE))
    }

    /// Returns how many samples are as good as one request.
    pub(crate) fn unit(&self) -> u64 {
        match self.goal {
            Goal::Uptime(_) => 10_000,
            _ => 1,
        }
    }

    fn input(&self) -> Input {
        match &self.goal {
            Goal::Uptime(_) => Input::Uptime {
                down_while_gone: self.down_while_gone,
            },
            Goal::Gauge(_, bound) => Input::Gauge {
                bound: *bound,
                slice: self.slice.unwrap_or(SLICE),
            },
            _ if self.tracked => Input::Tracked,
            _ => Input::Exchanges,
        }
    }

    /// Returns which of what counts is good.
    fn class(&self) -> Class {
        match self.goal {
            Goal::Latency(_, longest) => Class::Fast(longest),
            Goal::Combined(_, longest) => Class::GoodAndFast(longest),
            _ => Class::Good,
        }
    }

    /// Returns what says whether two objectives count the same, in this process and in the ones before.
    fn key(&self, input: &Input) -> String {
        let what = match input {
            Input::Exchanges if self.select.has_closures() => format!("exchanges:{}", self.name),
            Input::Exchanges => "exchanges".to_owned(),
            Input::Tracked => format!("tracked:{}", self.name),
            Input::Uptime { .. } => format!("uptime:{}", self.name),
            Input::Gauge { bound, slice } => format!("gauge:{}{bound}/{slice:?}", self.name),
        };
        let class = match self.class() {
            Class::Good => String::new(),
            Class::Fast(longest) => format!(" within {longest:?}"),
            Class::GoodAndFast(longest) => format!(" good within {longest:?}"),
        };
        let routes = self.select.routes.iter().map(|route| format!(" {route:?}"));
        let abandoned = match self.select.abandoned_after {
            ABANDONED => String::new(),
            latency => format!(" abandoned after {latency:?}"),
        };
        format!("{what}{class}{abandoned}{}", routes.collect::<String>())
    }

    fn check_settings(&self, problems: &mut Vec<Problem>) {
        let Select {
            routes,
            abandoned_after,
            requests,
            valid,
            good,
        } = &self.select;
        let is_exchanges = self.input() == Input::Exchanges;
        let judges = matches!(
            self.goal,
            Goal::Availability(_) | Goal::Combined(..) | Goal::ErrorRate(_)
        );
        let has_budget = judges || matches!(self.goal, Goal::Latency(..));
        let is_gauge = matches!(self.goal, Goal::Gauge(..));
        let is_uptime = matches!(self.goal, Goal::Uptime(_));
        for (setting, is_set, applies) in [
            ("route", !routes.is_empty(), is_exchanges),
            ("requests", requests.is_some(), is_exchanges),
            ("valid", valid.is_some(), is_exchanges),
            ("good", good.is_some(), is_exchanges && judges),
            (
                "abandoned_after",
                *abandoned_after != ABANDONED,
                is_exchanges && !matches!(self.goal, Goal::Latency(..)),
            ),
            (
                "per_route",
                self.per_route.is_some(),
                is_exchanges && has_budget,
            ),
            ("tracked", self.tracked, !is_gauge && self.check.is_none()),
            ("down_while_gone", self.down_while_gone, is_uptime),
            ("check", self.check.is_some(), is_uptime),
            ("slice", self.slice.is_some(), is_gauge),
            ("series", self.series.is_some(), is_gauge),
        ] {
            if is_set && !applies {
                problems.push(Problem::Setting {
                    name: self.name.clone(),
                    setting,
                });
            }
        }
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
        let (least, most) = (Duration::from_millis(1), DAY / 24);
        range(
            "abandoned_after",
            format!("{abandoned_after:?}"),
            (least..=most).contains(abandoned_after),
            "1ms to 1h",
        );
        if let Some(routes) = self.per_route {
            let is_valid = (1..=MAX_ROUTES).contains(&routes);
            range("per_route", routes.to_string(), is_valid, "1 to 200");
        }
        if let Some(slice) = self.slice {
            let is_valid = (Duration::from_secs(1)..=DAY / 24).contains(&slice);
            range("slice", format!("{slice:?}"), is_valid, "1s to 1h");
        }
        let slice = self.slice.unwrap_or(SLICE);
        if is_gauge
            && self
                .window
                .check()
                .is_ok_and(|period| period.nominal() < slice)
        {
            let value = format!("{slice:?}");
            range(
                "slice",
                value,
                false,
                "one that is no longer than the window",
            );
        }
    }

    fn check_window(&self, problems: &mut Vec<Problem>) -> Option<Period> {
        let is_percentile = matches!(self.goal, Goal::Percentile(..));
        let expected = match is_percentile {
            true => "a duration from 1s to 24h",
            false => "1s to 92d, or a month or a quarter",
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
                .filter(|parts| *parts < WHOLE)
                .map(Target::Share)
        };
        let expected = "a percentage from 0% to below 100%, such as 99.9%";
        match &self.goal {
            Goal::Availability(text) | Goal::Uptime(text) => {
                share(text).or_else(|| problem(text, expected))
            }
            Goal::Latency(text, longest) | Goal::Combined(text, longest) => {
                if longest.is_zero() {
                    problem(&"0", "a time above 0");
                }
                share(text).or_else(|| problem(text, expected))
            }
            Goal::Gauge(text, bound) => {
                if !bound.number().is_finite() {
                    problem(bound, "a bound that is a number");
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
            Goal::ResponseTime(time) => {
                if time.is_zero() {
                    problem(&"0", "a time above 0");
                }
                Some(Target::ResponseTime(*time))
            }
            Goal::Percentile(text, time) => {
                if time.is_zero() {
                    problem(&"0", "a time above 0");
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

const SLICE: Duration = Duration::from_secs(60);

/// Returns whether a text can be the name of an objective.
pub(crate) fn is_name(text: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text.len() <= 64 && text.bytes().all(is_valid)
}
