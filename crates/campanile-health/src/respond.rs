use std::collections::BTreeMap;
use std::time::SystemTime;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::{Health, Report, Status};

#[derive(Clone, Copy)]
enum Probe {
    Health,
    Detailed,
    Readiness,
    Liveness,
}

impl Health {
    /// The [paths](crate#paths), each with and without a final slash.
    pub const PATHS: [&'static str; 12] = [
        "/health",
        "/health/",
        "/health/detailed",
        "/health/detailed/",
        "/health/live",
        "/health/live/",
        "/health/liveness",
        "/health/liveness/",
        "/health/readiness",
        "/health/readiness/",
        "/health/ready",
        "/health/ready/",
    ];

    /// Answers a GET of one of the [paths](Self::PATHS) with what anybody may see; `None` if this is not one of them.
    pub fn respond(&self, path: &str) -> Option<Response<String>> {
        self.respond_with(path, &Details::default())
    }

    /// Answers a GET of one of the [paths](Self::PATHS) with more details; `None` if this is not one of them.
    pub fn respond_with(&self, path: &str, details: &Details) -> Option<Response<String>> {
        let probe = match path.strip_suffix('/').unwrap_or(path) {
            "/health" => Probe::Health,
            "/health/detailed" => Probe::Detailed,
            "/health/live" | "/health/liveness" => Probe::Liveness,
            "/health/ready" | "/health/readiness" => Probe::Readiness,
            _ => return None,
        };
        Some(self.answer(probe, details))
    }

    /// Returns the [paths](Self::PATHS) as an axum router.
    #[cfg(feature = "axum")]
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn routes(&self) -> axum::Router {
        Self::PATHS
            .into_iter()
            .fold(axum::Router::new(), |router, path| {
                let health = self.clone();
                let answer = async move || health.respond(path).ok_or(StatusCode::NOT_FOUND);
                router.route(path, axum::routing::get(answer))
            })
    }

    fn answer(&self, probe: Probe, details: &Details) -> Response<String> {
        let report = self.report();
        let is_down = report.status == Status::Unhealthy;
        let status = match probe {
            Probe::Liveness => "alive",
            Probe::Readiness if is_down => "not_ready",
            Probe::Readiness => "ready",
            Probe::Health | Probe::Detailed => report.status.as_str(),
        };
        let body = Body {
            status,
            timestamp: matches!(probe, Probe::Health | Probe::Detailed | Probe::Liveness)
                .then(timestamp),
            detail: matches!(probe, Probe::Detailed).then(|| Detail::new(&report, details)),
        };
        // Texts and numbers can always be written as JSON.
        let mut response = Response::new(serde_json::to_string(&body).unwrap_or_default());
        if is_down && !matches!(probe, Probe::Liveness) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// What `/health/detailed` shows beside the names and statuses of the checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Whether to show what the checks failed with, and how long they took: not for everybody.
    pub errors: bool,
    /// More members of the answer, each a name and a text.
    pub notes: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
struct Body<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(flatten)]
    detail: Option<Detail<'a>>,
}

#[derive(Serialize)]
struct Detail<'a> {
    /// In seconds.
    uptime: f64,
    checks: Vec<CheckDetail<'a>>,
    failed_checks: Vec<&'a str>,
    total_checks: usize,
    passed_checks: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
    #[serde(flatten)]
    notes: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct CheckDetail<'a> {
    name: &'a str,
    status: &'static str,
    critical: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
}

impl<'a> Detail<'a> {
    fn new(report: &'a Report, details: &'a Details) -> Self {
        let checks = report.checks.iter();
        let failed = checks
            .clone()
            .filter(|check| check.status != Status::Healthy);
        let failed_checks: Vec<_> = failed.map(|check| check.name.as_str()).collect();
        let detail = |check: &'a crate::CheckReport| CheckDetail {
            name: &check.name,
            status: check.status.as_str(),
            critical: check.is_critical,
            error: check.error.as_deref().filter(|_| details.errors),
            duration: check
                .duration
                .filter(|_| details.errors)
                .map(|duration| duration.as_secs_f64()),
        };
        Self {
            uptime: report.uptime.as_secs_f64(),
            total_checks: report.checks.len(),
            passed_checks: report.checks.len() - failed_checks.len(),
            checks: checks.map(detail).collect(),
            failed_checks,
            warning: (!report.is_running).then_some("campanile.run is not running: no check runs"),
            notes: details
                .notes
                .iter()
                .map(|(name, text)| (*name, text.as_str()))
                .collect(),
        }
    }
}

/// The time in UTC, as RFC 3339 has it.
fn timestamp() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "an answer says when it was given"
    )]
    let now = SystemTime::now();
    jiff::Timestamp::try_from(now)
        .unwrap_or_default()
        .to_string()
}
