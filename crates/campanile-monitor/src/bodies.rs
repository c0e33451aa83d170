//! The forms in which things are shown.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use campanile_alerts::Alert;
use campanile_series::format_duration;
use campanile_sla::{Budget, ObjectiveReport, Report};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

/// Returns an answer in JSON that is not to be kept.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response<String> {
    // Texts and numbers can always be written as JSON.
    let mut response = Response::new(serde_json::to_string(body).unwrap_or_default());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Returns an answer that tells of an error, for programs and for people.
pub(crate) fn error(status: StatusCode, code: &'static str, text: &str) -> Response<String> {
    json(
        status,
        &ErrorBody {
            code,
            error: text,
            known: None,
        },
    )
}

/// Returns the answer that there is nothing of a name.
pub(crate) fn unknown(text: &str, known: Vec<String>) -> Response<String> {
    let known = Some(known);
    json(
        StatusCode::NOT_FOUND,
        &ErrorBody {
            code: "not_found",
            error: text,
            known,
        },
    )
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'static str,
    error: &'a str,
    /// The names that there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<Vec<String>>,
}

/// Returns a moment in UTC, as RFC 3339 has it.
pub(crate) fn moment(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or_default();
    format!("{at:.3}")
}

#[derive(Serialize)]
pub(crate) struct SlaBody<'a> {
    overall_status: &'static str,
    timestamp: String,
    metrics: BTreeMap<&'a str, ObjectiveBody<'a>>,
    sla_definitions: BTreeMap<&'a str, DefinitionBody>,
}

#[derive(Serialize)]
pub(crate) struct ObjectiveBody<'a> {
    name: &'a str,
    target: f64,
    /// Null without data.
    current: Option<f64>,
    unit: &'static str,
    status: &'static str,
    measurement_period: String,
    samples: u64,
    coverage: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_budget: Option<BudgetBody>,
}

/// Shares are of the budget: 1 is all of it.
#[derive(Serialize)]
struct BudgetBody {
    consumed: f64,
    remaining: f64,
    /// By window; null without data.
    burn_rates: BTreeMap<String, Option<f64>>,
    /// If the last hour goes on; null if it never will be.
    exhausted_in_seconds: Option<f64>,
}

impl BudgetBody {
    fn new(budget: &Budget) -> Self {
        let burn_rates = budget.burn_rates.iter();
        Self {
            consumed: budget.consumed,
            remaining: budget.remaining(),
            burn_rates: burn_rates
                .map(|burn| (format_duration(burn.window), burn.rate))
                .collect(),
            exhausted_in_seconds: budget.exhausted_in.map(|time| time.as_secs_f64()),
        }
    }
}

#[derive(Serialize)]
struct DefinitionBody {
    target: f64,
    unit: &'static str,
    period: String,
}

impl<'a> SlaBody<'a> {
    pub(crate) fn new(report: &'a Report) -> Self {
        let objectives = report.objectives.iter();
        let definition = |objective: &'a ObjectiveReport| DefinitionBody {
            target: objective.target,
            unit: objective.unit,
            period: window(objective.window),
        };
        Self {
            overall_status: report.overall.as_str(),
            timestamp: moment(report.at),
            sla_definitions: objectives
                .clone()
                .map(|objective| (objective.name.as_str(), definition(objective)))
                .collect(),
            metrics: objectives
                .map(|objective| (objective.name.as_str(), ObjectiveBody::new(objective)))
                .collect(),
        }
    }
}

impl<'a> ObjectiveBody<'a> {
    pub(crate) fn new(objective: &'a ObjectiveReport) -> Self {
        Self {
            name: &objective.name,
            target: objective.target,
            current: objective.current,
            unit: objective.unit,
            status: objective.standing.as_str(),
            measurement_period: window(objective.window),
            samples: objective.samples,
            coverage: objective.coverage,
            error_budget: objective.budget.as_ref().map(BudgetBody::new),
        }
    }
}

/// Writes a window in whole hours if it is one or two days or less, as people speak of 24 hours.
fn window(window: Duration) -> String {
    let (hours, rest) = (window.as_secs() / 3_600, window.as_secs() % 3_600);
    if (1..=48).contains(&hours) && rest == 0 && window.subsec_nanos() == 0 {
        return format!("{hours}h");
    }
    format_duration(window)
}

#[derive(Serialize)]
pub(crate) struct AlertsBody<'a> {
    timestamp: String,
    total: usize,
    alerts: Vec<AlertBody<'a>>,
}

#[derive(Serialize)]
struct AlertBody<'a> {
    /// Of this alert in this episode: another one has another start.
    id: String,
    name: &'a str,
    severity: &'static str,
    status: &'static str,
    message: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    annotations: &'a BTreeMap<String, String>,
    active_at: String,
    /// Null while it is pending.
    starts_at: Option<String>,
    /// Null for what JSON has no number for.
    value: f64,
    fingerprint: String,
    warming: bool,
}

impl<'a> AlertsBody<'a> {
    pub(crate) fn new(alerts: &'a [Alert], now: SystemTime) -> Self {
        Self {
            timestamp: moment(now),
            total: alerts.len(),
            alerts: alerts.iter().map(AlertBody::new).collect(),
        }
    }
}

impl<'a> AlertBody<'a> {
    fn new(alert: &'a Alert) -> Self {
        let fingerprint = alert.labels.fingerprint().to_string();
        let start = alert
            .active_at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            id: format!("{fingerprint}-{}", start.as_millis()),
            name: &alert.rule,
            severity: alert.severity.as_str(),
            status: if alert.starts_at.is_some() {
                "firing"
            } else {
                "pending"
            },
            message: alert.annotations.get("summary").map_or("", String::as_str),
            labels: alert.labels.iter().collect(),
            annotations: &alert.annotations,
            active_at: moment(alert.active_at),
            starts_at: alert.starts_at.map(moment),
            value: alert.value,
            fingerprint,
            warming: alert.is_warming,
        }
    }
}
