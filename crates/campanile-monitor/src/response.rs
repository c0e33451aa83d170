//! JSON bodies and responses.

use std::collections::BTreeMap;
use std::time::SystemTime;

use campanile_alerts::Alert;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

/// Creates a JSON response that must not be cached.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response<String> {
    // Strings and numbers always serialize.
    let body = serde_json::to_string(body).unwrap_or_default();
    page(status, HeaderValue::from_static("application/json"), body)
}

/// Creates a response that must not be cached.
pub(crate) fn page(status: StatusCode, media_type: HeaderValue, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Creates an error response with a code for programs and a text for people.
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

/// Creates the 404 response for an unknown name.
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
    /// The known names.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<Vec<String>>,
}

/// Returns a time in RFC 3339, in UTC, with milliseconds.
pub(crate) fn timestamp(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or_default();
    format!("{at:.3}")
}

#[derive(Serialize)]
pub(crate) struct AlertsBody<'a> {
    timestamp: String,
    total: usize,
    alerts: Vec<AlertBody<'a>>,
}

#[derive(Serialize)]
struct AlertBody<'a> {
    /// The alert's id, which is unique to this activation.
    id: String,
    name: &'a str,
    severity: &'static str,
    status: &'static str,
    message: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    annotations: &'a BTreeMap<String, String>,
    active_at: String,
    /// Null while the alert is pending.
    starts_at: Option<String>,
    /// Null for NaN and infinities, which JSON does not have.
    value: f64,
    fingerprint: String,
    /// Whether the alert was restored and cannot resolve yet.
    awaiting_history: bool,
}

impl<'a> AlertsBody<'a> {
    pub(crate) fn new(alerts: &'a [Alert], now: SystemTime) -> Self {
        Self {
            timestamp: timestamp(now),
            total: alerts.len(),
            alerts: alerts.iter().map(AlertBody::new).collect(),
        }
    }
}

impl<'a> AlertBody<'a> {
    fn new(alert: &'a Alert) -> Self {
        Self {
            id: alert.id(),
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
            active_at: timestamp(alert.active_at),
            starts_at: alert.starts_at.map(timestamp),
            value: alert.value,
            fingerprint: alert.labels.fingerprint().to_string(),
            awaiting_history: alert.awaiting_history,
        }
    }
}
