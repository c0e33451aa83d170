use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use campanile_series::parse_duration;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::{Location, Spanned};

use super::annotations::{PREFIX, shorthand};
use crate::ratio::{PARTS, parts_of};
use crate::slo::{Bound, Slo};
use crate::source::Source;
use crate::validate::is_name;
use crate::window::Window;

/// Parses SLOs from OpenSLO definitions in YAML, which `---` separates.
///
/// The time window and the target come from the definition. The name is the display name if it is a
/// valid SLO name, and the name otherwise. OpenSLO requires an indicator, which is ignored, because
/// it is a query for another engine.
///
/// These annotations define the rest, as [`Export::open_slo`](crate::export::Export::open_slo)
/// writes them:
///
/// | annotation `campanile/…` | value |
/// |---|---|
/// | `kind` (required) | `availability`, `latency`, `success_within`, `error_rate`, `uptime`, `gauge` |
/// | `within` | the limit of `latency` and `success_within`, which require it |
/// | `at_most`, `at_least` | the bound of `gauge`, which requires one of them |
/// | `source` | `http`, `manual`, `health`, `check:<name>`, `series:<selector>` |
/// | `routes` | routes, separated by spaces |
/// | `abandoned_after`, `time_slice`, `per_route`, `count_restart_as_down` | as the settings of [`Slo`] |
/// | `window` | the exact window, if the time window is rounded up |
///
/// These are errors: an unknown field or annotation, another kind or version, alert policies, more
/// than one objective or time window, and a `campanile/window` that contradicts the time window.
///
/// ```
/// use campanile_sla::export::from_open_slo;
///
/// let definitions = r#"
/// apiVersion: openslo/v1
/// kind: SLO
/// metadata:
///   name: checkout
///   annotations:
///     campanile/kind: latency
///     campanile/within: 250ms
/// spec:
///   service: orders
///   indicatorRef: checkout
///   timeWindow:
///   - duration: 30d
///     isRolling: true
///   budgetingMethod: Occurrences
///   objectives:
///   - target: 0.99
/// "#;
/// assert_eq!(from_open_slo(definitions)?.len(), 1);
///
/// let error = from_open_slo(&definitions.replace("250ms", "quick")).unwrap_err();
/// assert_eq!((error.line(), error.field()), (8, "metadata.annotations.campanile/within"));
/// # Ok::<_, campanile_sla::export::OpenSloError>(())
/// ```
///
/// # Errors
///
/// Returns the first problem, with its line and field.
pub fn from_open_slo(definitions: &str) -> Result<Vec<Slo>, OpenSloError> {
    let documents: Vec<Document> = serde_saphyr::from_multiple(definitions).map_err(|error| {
        let at = error.location();
        OpenSloError {
            line: at.map_or(0, |at| at.line()),
            column: at.map_or(0, |at| at.column()),
            field: String::new(),
            problem: "invalid definition: expected YAML with the fields of OpenSLO".to_owned(),
            source: Some(Arc::new(error)),
        }
    })?;
    documents.into_iter().map(Document::slo).collect()
}

/// An OpenSLO definition is not valid.
#[derive(Clone, Debug, thiserror::Error)]
#[error("line {line}, column {column}{}: {problem}", if .field.is_empty() { String::new() } else { format!(", {}", .field) })]
pub struct OpenSloError {
    line: u64,
    column: u64,
    field: String,
    problem: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl OpenSloError {
    fn new(at: Location, field: &str, problem: impl Into<String>) -> Self {
        Self {
            line: at.line(),
            column: at.column(),
            field: field.to_owned(),
            problem: problem.into(),
            source: None,
        }
    }

    /// Returns the line, starting at 1; 0 if unknown.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Returns the column, starting at 1; 0 if unknown.
    pub fn column(&self) -> u64 {
        self.column
    }

    /// Returns the path of the field, such as `spec.timeWindow[0].duration`; empty if the document
    /// could not be parsed.
    pub fn field(&self) -> &str {
        &self.field
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document {
    api_version: Spanned<String>,
    kind: Spanned<String>,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Metadata {
    name: Spanned<String>,
    display_name: Option<Spanned<String>>,
    #[serde(rename = "labels")]
    _labels: Option<IgnoredAny>,
    #[serde(default)]
    annotations: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "description")]
    _description: Option<String>,
    service: Spanned<String>,
    indicator: Option<IgnoredAny>,
    indicator_ref: Option<Spanned<IgnoredAny>>,
    time_window: Spanned<Vec<TimeWindow>>,
    budgeting_method: Spanned<String>,
    objectives: Spanned<Vec<Objective>>,
    alert_policies: Option<Spanned<Vec<IgnoredAny>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TimeWindow {
    duration: Spanned<String>,
    is_rolling: Spanned<bool>,
    calendar: Option<Calendar>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Calendar {
    #[serde(rename = "startTime")]
    _start_time: String,
    time_zone: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Objective {
    #[serde(rename = "displayName")]
    _display_name: Option<String>,
    target: Option<Spanned<f64>>,
    target_percent: Option<Spanned<f64>>,
}

type ParseResult<T> = Result<T, OpenSloError>;

impl Document {
    fn slo(self) -> ParseResult<Slo> {
        let wrong = |of: &Spanned<String>, field: &str, problem: String| {
            Err(OpenSloError::new(of.referenced, field, problem))
        };
        if self.api_version.value != "openslo/v1" {
            let problem = format!(
                "unknown version {:?}: expected openslo/v1",
                self.api_version.value
            );
            return wrong(&self.api_version, "apiVersion", problem);
        }
        if self.kind.value != "SLO" {
            let problem = format!("invalid kind {:?}: expected SLO", self.kind.value);
            return wrong(&self.kind, "kind", problem);
        }
        let indicators = (self.spec.indicator.is_some(), &self.spec.indicator_ref);
        match indicators {
            (false, None) => {
                let problem = "missing indicator: expected spec.indicator or spec.indicatorRef";
                return wrong(&self.spec.service, "spec.service", problem.to_owned());
            }
            (true, Some(other)) => {
                let problem = "duplicate indicator: expected spec.indicator or spec.indicatorRef";
                let at = other.referenced;
                return Err(OpenSloError::new(at, "spec.indicatorRef", problem));
            }
            (true, None) | (false, Some(_)) => {}
        }
        let policies = self.spec.alert_policies.as_ref();
        if let Some(policies) = policies.filter(|policies| !policies.value.is_empty()) {
            let problem = "invalid alert policies: expected none, since burn alerts follow from \
                           the target";
            let at = policies.referenced;
            return Err(OpenSloError::new(at, "spec.alertPolicies", problem));
        }
        let method = &self.spec.budgeting_method;
        if method.value != "Occurrences" {
            let problem = format!(
                "unknown budgeting method {:?}: expected Occurrences",
                method.value
            );
            return wrong(method, "spec.budgetingMethod", problem);
        }
        let window = self.spec.window()?;
        let target = self.spec.target()?;
        // A display name may be any string; it is used only if it is a valid SLO name.
        let display = self.metadata.display_name.as_ref();
        let name = display.filter(|name| is_name(&name.value));
        let name = name.unwrap_or(&self.metadata.name);
        let slo = self.metadata.goal(&name.value, target)?;
        self.metadata
            .settings(slo.over(window), &self.spec.time_window.value)
    }
}

impl Spec {
    fn window(&self) -> ParseResult<Window> {
        let [window] = &self.time_window.value[..] else {
            let at = self.time_window.referenced;
            return Err(OpenSloError::new(
                at,
                "spec.timeWindow",
                "invalid time windows: expected exactly one",
            ));
        };
        let TimeWindow {
            duration,
            is_rolling,
            calendar,
        } = window;
        let field = "spec.timeWindow[0].duration";
        match (is_rolling.value, calendar) {
            (true, None) => {
                let time = parse_duration(&duration.value);
                let time = time.map_err(|error| {
                    let problem = "invalid duration: expected one such as 30d";
                    OpenSloError {
                        source: Some(Arc::new(error)),
                        ..OpenSloError::new(duration.referenced, field, problem)
                    }
                })?;
                Ok(Window::rolling(time))
            }
            (false, Some(calendar)) => match &*duration.value {
                "1M" => Ok(Window::month(&*calendar.time_zone.value)),
                "1Q" => Ok(Window::quarter(&*calendar.time_zone.value)),
                other => {
                    let problem = format!("unknown calendar window {other:?}: expected 1M or 1Q");
                    Err(OpenSloError::new(duration.referenced, field, problem))
                }
            },
            _ => {
                let problem =
                    "invalid time window: expected a calendar if it does not roll, none if it does";
                let field = "spec.timeWindow[0].isRolling";
                Err(OpenSloError::new(is_rolling.referenced, field, problem))
            }
        }
    }

    /// Returns the target as a percentage, with exactly the written digits.
    fn target(&self) -> ParseResult<String> {
        let [objective] = &self.objectives.value[..] else {
            let at = self.objectives.referenced;
            return Err(OpenSloError::new(
                at,
                "spec.objectives",
                "invalid objectives: expected exactly one",
            ));
        };
        let field = "spec.objectives[0].target";
        let (number, percent) = match (&objective.target, &objective.target_percent) {
            (Some(target), None) => (target, shifted(target.value)),
            (None, Some(target)) => (target, Some(format!("{}%", target.value))),
            _ => {
                let problem = "invalid target: expected either target or targetPercent";
                return Err(OpenSloError::new(
                    self.objectives.referenced,
                    field,
                    problem,
                ));
            }
        };
        percent.ok_or_else(|| {
            let problem = format!(
                "invalid target {}: expected 0 to below 1, such as 0.999",
                number.value
            );
            OpenSloError::new(number.referenced, field, problem)
        })
    }
}

/// Formats a number from 0 to 1 as a percentage, by its decimal digits.
fn shifted(number: f64) -> Option<String> {
    if !(0.0..=1.0).contains(&number) {
        return None;
    }
    // The shortest digits of this float are those of the document.
    let text = format!("{number}");
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let digits = format!("{decimals:0<2}");
    let (hundredths, rest) = digits.split_at(2);
    let percent = format!("{whole}{hundredths}");
    let percent = match percent.trim_start_matches('0') {
        "" => "0",
        percent => percent,
    };
    Some(if rest.is_empty() {
        format!("{percent}%")
    } else {
        format!("{percent}.{rest}%")
    })
}

impl Metadata {
    fn annotation(&self, name: &str) -> Option<&Spanned<String>> {
        self.annotations.get(&format!("{PREFIX}{name}"))
    }

    fn error(of: &Spanned<String>, name: &str, expected: &str) -> OpenSloError {
        let field = format!("metadata.annotations.{PREFIX}{name}");
        let problem = format!("invalid {name} {:?}: expected {expected}", of.value);
        OpenSloError::new(of.referenced, &field, problem)
    }

    /// Returns a required annotation.
    fn required(&self, name: &str, expected: &str) -> ParseResult<&Spanned<String>> {
        self.annotation(name).ok_or_else(|| {
            let problem = format!("missing {PREFIX}{name}: expected {expected}");
            OpenSloError::new(self.name.referenced, "metadata.annotations", problem)
        })
    }

    fn goal(&self, name: &str, target: String) -> ParseResult<Slo> {
        let kinds = "availability, latency, success_within, error_rate, uptime or gauge";
        let within = || -> ParseResult<Duration> {
            let within = self.required("within", "a duration, such as 250ms")?;
            duration(&within.value)
                .ok_or_else(|| Self::error(within, "within", "a duration, such as 250ms"))
        };
        let kind = self.required("kind", kinds)?;
        let slo = match &*kind.value {
            "availability" => Slo::availability(name, target),
            "latency" => Slo::latency(name, target, within()?),
            "success_within" => Slo::success_within(name, target, within()?),
            "uptime" => Slo::uptime(name, target),
            "error_rate" => Slo::error_rate(name, complement(&target)),
            "gauge" => {
                let number = |of: &Spanned<String>, name| {
                    let number = of.value.parse();
                    number.map_err(|_| Self::error(of, name, "a number"))
                };
                let bound = match self.annotation("at_least") {
                    Some(min) => Bound::AtLeast(number(min, "at_least")?),
                    None => {
                        let expected = "a number, or campanile/at_least";
                        Bound::AtMost(number(self.required("at_most", expected)?, "at_most")?)
                    }
                };
                Slo::gauge(name, target, bound)
            }
            _ => return Err(Self::error(kind, "kind", kinds)),
        };
        // An annotation of another kind is an error.
        let is_fast = matches!(&*kind.value, "latency" | "success_within");
        let is_gauge = kind.value == "gauge";
        for (name, applies) in [
            ("within", is_fast),
            ("at_most", is_gauge && self.annotation("at_least").is_none()),
            ("at_least", is_gauge),
        ] {
            if let Some(of) = self.annotation(name).filter(|_| !applies) {
                return Err(Self::error(of, name, "none for this kind"));
            }
        }
        Ok(slo)
    }

    fn settings(&self, mut slo: Slo, windows: &[TimeWindow]) -> ParseResult<Slo> {
        for (key, value) in &self.annotations {
            let Some(name) = key.strip_prefix(PREFIX) else {
                continue;
            };
            let text = value.value.clone();
            let time = || {
                let time = duration(&text);
                time.ok_or_else(|| Self::error(value, name, "a duration, such as 1m30s"))
            };
            let flag = || match &*text {
                "true" => Ok(()),
                _ => Err(Self::error(value, name, "true, or leave it out")),
            };
            slo = match name {
                "kind" | "within" | "at_most" | "at_least" => slo,
                "window" => {
                    let time = time()?;
                    // OpenSLO has no such window, so the time window is rounded up.
                    let rounded = shorthand(time).0;
                    let is_same = |window: &TimeWindow| {
                        window.is_rolling.value && window.duration.value == rounded
                    };
                    if !windows.iter().any(is_same) {
                        let expected = format!("one with a rolling time window of {rounded}");
                        return Err(Self::error(value, name, &expected));
                    }
                    slo.over(time)
                }
                "time_slice" => slo.time_slice(time()?),
                "abandoned_after" => slo.abandoned_after(time()?),
                "routes" => text.split_whitespace().fold(slo, Slo::route),
                "source" => {
                    let expected = "http, manual, health, check:<name> or series:<selector>";
                    let source = Source::parse(&text);
                    slo.source(source.ok_or_else(|| Self::error(value, name, expected))?)
                }
                "per_route" => {
                    let limit = text.parse();
                    slo.per_route(limit.map_err(|_| Self::error(value, name, "a number"))?)
                }
                "count_restart_as_down" => {
                    flag()?;
                    slo.count_restart_as_down()
                }
                "predicates" => {
                    let expected =
                        "none, since a definition can't contain predicates; define the SLO in code";
                    return Err(Self::error(value, name, expected));
                }
                _ => return Err(Self::error(value, name, "a known annotation")),
            };
        }
        Ok(slo)
    }
}

fn duration(text: &str) -> Option<Duration> {
    match text.strip_suffix("ns") {
        Some(number) => number.parse().ok().map(Duration::from_nanos),
        None => parse_duration(text).ok(),
    }
}

/// Returns the difference to 100 %, as a percentage.
fn complement(percent: &str) -> String {
    match parts_of(percent) {
        Some(parts) => {
            let rest = PARTS - parts;
            format!("{}.{:07}%", rest / (PARTS / 100), rest % (PARTS / 100))
        }
        None => percent.to_owned(),
    }
}
