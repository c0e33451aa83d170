//! Objectives from OpenSLO's definitions.

use std::collections::BTreeMap;
use std::time::Duration;

use campanile_series::parse_duration;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::{Location, Spanned};

use super::openslo::{PREFIX, shorthand};
use crate::check::is_name;
use crate::{Bound, Slo, Window};

/// Returns the objectives of OpenSLO's definitions in YAML, of which there may be several, with `---` between them.
///
/// The annotations `campanile/…` define what counts, as [`Export::open_slo`](crate::Export::open_slo) writes them. `campanile/objective` is
/// required: one of `availability`, `latency`, `combined`, `error_rate`, `uptime` and `gauge`. The second and the third also require
/// `campanile/within`. The time window and the target come from the definition. The name is the display name if that is valid, or
/// else the name.
///
/// The indicator is required by OpenSLO, and ignored: it is a query for other engines.
///
/// These are errors: an unknown field or annotation, another kind or version, alert policies, more than one objective or time window,
/// and a `campanile/window` that contradicts the time window.
///
/// ```
/// use campanile_sla::from_open_slo;
///
/// let definitions = r#"
/// apiVersion: openslo/v1
/// kind: SLO
/// metadata:
///   name: checkout
///   annotations:
///     campanile/objective: latency
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
/// # Ok::<_, campanile_sla::OpenSloError>(())
/// ```
///
/// # Errors
///
/// If it is no YAML, or something in it is not as it has to be: the first of what is wrong.
pub fn from_open_slo(definitions: &str) -> Result<Vec<Slo>, OpenSloError> {
    let documents: Vec<Document> = serde_saphyr::from_multiple(definitions).map_err(|error| {
        let at = error.location();
        OpenSloError {
            line: at.map_or(0, |at| at.line()),
            column: at.map_or(0, |at| at.column()),
            field: String::new(),
            problem: error.without_snippet().to_string(),
        }
    })?;
    documents.into_iter().map(Document::slo).collect()
}

/// A definition can't be made an objective.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}{}: {problem}", if .field.is_empty() { String::new() } else { format!(", {}", .field) })]
pub struct OpenSloError {
    line: u64,
    column: u64,
    field: String,
    problem: String,
}

impl OpenSloError {
    fn new(at: Location, field: &str, problem: impl Into<String>) -> Self {
        Self {
            line: at.line(),
            column: at.column(),
            field: field.to_owned(),
            problem: problem.into(),
        }
    }

    /// Returns the line, from 1 on; 0 if it is not known.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Returns the column, from 1 on; 0 if it is not known.
    pub fn column(&self) -> u64 {
        self.column
    }

    /// Returns the path of the field, such as `spec.timeWindow[0].duration`; empty if it is no YAML, or none that has these fields.
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

type Result1<T> = Result<T, OpenSloError>;

impl Document {
    fn slo(self) -> Result1<Slo> {
        let wrong = |of: &Spanned<String>, field: &str, problem: String| {
            Err(OpenSloError::new(of.referenced, field, problem))
        };
        if self.api_version.value != "openslo/v1" {
            let problem = format!("{:?} is not known: give openslo/v1", self.api_version.value);
            return wrong(&self.api_version, "apiVersion", problem);
        }
        if self.kind.value != "SLO" {
            let problem = format!("{:?} is no objective: give SLO", self.kind.value);
            return wrong(&self.kind, "kind", problem);
        }
        let indicators = (self.spec.indicator.is_some(), &self.spec.indicator_ref);
        match indicators {
            (false, None) => {
                let problem = "there is no indicator: give spec.indicator or spec.indicatorRef";
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
            let problem = format!("{:?} is not taken: give Occurrences", method.value);
            return wrong(method, "spec.budgetingMethod", problem);
        }
        let window = self.spec.window()?;
        let target = self.spec.target()?;
        // A display name may be any text; one that an objective can have is its name.
        let display = self.metadata.display_name.as_ref();
        let name = display.filter(|name| is_name(&name.value));
        let name = name.unwrap_or(&self.metadata.name);
        let slo = self.metadata.goal(&name.value, target)?;
        self.metadata
            .settings(slo.over(window), &self.spec.time_window.value)
    }
}

impl Spec {
    fn window(&self) -> Result1<Window> {
        let [window] = &self.time_window.value[..] else {
            let at = self.time_window.referenced;
            return Err(OpenSloError::new(
                at,
                "spec.timeWindow",
                "give one time window",
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
                    let problem = format!("{error}: give one such as 30d");
                    OpenSloError::new(duration.referenced, field, problem)
                })?;
                Ok(Window::rolling(time))
            }
            (false, Some(calendar)) => match &*duration.value {
                "1M" => Ok(Window::month(&*calendar.time_zone.value)),
                "1Q" => Ok(Window::quarter(&*calendar.time_zone.value)),
                other => {
                    let problem = format!("{other:?} is not taken of a calendar: give 1M or 1Q");
                    Err(OpenSloError::new(duration.referenced, field, problem))
                }
            },
            _ => {
                let problem = "give a calendar if it is false, and none if it is true";
                let field = "spec.timeWindow[0].isRolling";
                Err(OpenSloError::new(is_rolling.referenced, field, problem))
            }
        }
    }

    /// Returns the target as a percentage, exactly as it is written.
    fn target(&self) -> Result1<String> {
        let [objective] = &self.objectives.value[..] else {
            let at = self.objectives.referenced;
            return Err(OpenSloError::new(
                at,
                "spec.objectives",
                "give one objective",
            ));
        };
        let field = "spec.objectives[0].target";
        let (number, percent) = match (&objective.target, &objective.target_percent) {
            (Some(target), None) => (target, shifted(target.value)),
            (None, Some(target)) => (target, Some(format!("{}%", target.value))),
            _ => {
                let problem = "give either target or targetPercent";
                return Err(OpenSloError::new(
                    self.objectives.referenced,
                    field,
                    problem,
                ));
            }
        };
        percent.ok_or_else(|| {
            let problem = format!(
                "{} is not valid: give 0 to below 1, such as 0.999",
                number.value
            );
            OpenSloError::new(number.referenced, field, problem)
        })
    }
}

/// Writes a number from 0 to 1 as a percentage, by its decimal digits.
fn shifted(number: f64) -> Option<String> {
    if !(0.0..=1.0).contains(&number) {
        return None;
    }
    // The shortest digits that are this float: the ones that were read.
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
        let problem = format!("{:?} is not valid: give {expected}", of.value);
        OpenSloError::new(of.referenced, &field, problem)
    }

    /// Returns an annotation that is needed.
    fn needed(&self, name: &str, expected: &str) -> Result1<&Spanned<String>> {
        self.annotation(name).ok_or_else(|| {
            let problem = format!("{PREFIX}{name} is missing: give {expected}");
            OpenSloError::new(self.name.referenced, "metadata.annotations", problem)
        })
    }

    fn goal(&self, name: &str, target: String) -> Result1<Slo> {
        let kinds = "availability, latency, combined, error_rate, uptime or gauge";
        let within = || -> Result1<Duration> {
            let of = self.needed("within", "a duration, such as 250ms")?;
            duration(&of.value)
                .ok_or_else(|| Self::error(of, "within", "a duration, such as 250ms"))
        };
        let objective = self.needed("objective", kinds)?;
        let slo = match &*objective.value {
            "availability" => Slo::availability(name, target),
            "latency" => Slo::latency(name, target, within()?),
            "combined" => Slo::combined(name, target, within()?),
            "uptime" => Slo::uptime(name, target),
            "error_rate" => Slo::error_rate(name, complement(&target)),
            "gauge" => {
                let number = |of: &Spanned<String>, name| {
                    let number = of.value.parse();
                    number.map_err(|_| Self::error(of, name, "a number"))
                };
                let bound = match self.annotation("at_least") {
                    Some(least) => Bound::AtLeast(number(least, "at_least")?),
                    None => {
                        let expected = "a number, or campanile/at_least";
                        Bound::AtMost(number(self.needed("at_most", expected)?, "at_most")?)
                    }
                };
                Slo::gauge(name, target, bound)
            }
            _ => return Err(Self::error(objective, "objective", kinds)),
        };
        // What another kind has is a mistake here, and not to be passed over.
        let is_fast = matches!(&*objective.value, "latency" | "combined");
        let is_gauge = objective.value == "gauge";
        for (name, applies) in [
            ("within", is_fast),
            ("at_most", is_gauge && self.annotation("at_least").is_none()),
            ("at_least", is_gauge),
        ] {
            if let Some(of) = self.annotation(name).filter(|_| !applies) {
                return Err(Self::error(
                    of,
                    name,
                    "nothing: it doesn't apply to the objective",
                ));
            }
        }
        Ok(slo)
    }

    fn settings(&self, mut slo: Slo, windows: &[TimeWindow]) -> Result1<Slo> {
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
                "objective" | "within" | "at_most" | "at_least" => slo,
                "window" => {
                    let time = time()?;
                    // OpenSLO has no such window, so the definition has it rounded up.
                    let rounded = shorthand(time).0;
                    let is_same = |window: &TimeWindow| {
                        window.is_rolling.value && window.duration.value == rounded
                    };
                    if !windows.iter().any(is_same) {
                        let expected = format!("it with a rolling time window of {rounded}");
                        return Err(Self::error(value, name, &expected));
                    }
                    slo.over(time)
                }
                "slice" => slo.slice(time()?),
                "abandoned_after" => slo.abandoned_after(time()?),
                "routes" => text.split_whitespace().fold(slo, Slo::route),
                "check" => slo.check(text),
                "series" => slo.series(text),
                "per_route" => {
                    let most = text.parse();
                    slo.per_route(most.map_err(|_| Self::error(value, name, "a number"))?)
                }
                "tracked" => {
                    flag()?;
                    slo.tracked()
                }
                "down_while_gone" => {
                    flag()?;
                    slo.down_while_gone()
                }
                "closures" => {
                    let expected = "the objective in code: a definition has no closures";
                    return Err(Self::error(value, name, expected));
                }
                _ => return Err(Self::error(value, name, "an annotation that there is")),
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

/// Returns what is missing to all, as a percentage.
fn complement(percent: &str) -> String {
    use crate::share::{WHOLE, parts_of};
    match parts_of(percent) {
        Some(parts) => {
            let rest = WHOLE - parts;
            format!("{}.{:07}%", rest / (WHOLE / 100), rest % (WHOLE / 100))
        }
        None => percent.to_owned(),
    }
}
