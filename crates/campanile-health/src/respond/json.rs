use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::detail::ResponseDetail;
use super::probe::{Probe, Verdict, View};
use crate::report::service_status;
use crate::{CheckReport, Health, Importance, Phase, Status, Value, clock};

impl Health {
    /// Renders JSON in our own format.
    pub(super) fn json(
        &self,
        probe: &Probe<'_>,
        verdict: &Verdict,
        details: &ResponseDetail,
    ) -> String {
        if probe.check.is_some() {
            let reports = self.reports(probe, verdict);
            let check = reports
                .first()
                .map(|report| CheckBody::new(report, details));
            return serialize(&check);
        }
        // The status agrees with the code.
        let status = match (probe.view, verdict.is_success()) {
            (View::Readiness, false) => "not_ready",
            (View::Readiness, true) => "ready",
            (View::Liveness, false) => "not_alive",
            (View::Liveness, true) => "alive",
            (View::Startup, false) => "starting",
            (View::Startup, true) => "started",
            (View::Health | View::Detailed | View::Group, _) => verdict.status.as_str(),
        };
        let is_long = matches!(probe.view, View::Detailed | View::Group) || probe.is_verbose;
        let reports = is_long.then(|| self.reports(probe, verdict));
        let is_regular = matches!(verdict.phase, Phase::Ready | Phase::Starting);
        let body = Body {
            status,
            timestamp: (probe.view != View::Readiness || is_long).then(|| rfc_3339(clock::wall())),
            phase: (is_long || !is_regular || verdict.fails_by_phase)
                .then(|| verdict.phase.as_str()),
            checks: reports
                .as_ref()
                .map(|reports| Checks::new(reports, probe, details)),
            service: (probe.view == View::Detailed).then(|| self.service_body(details)),
        };
        serialize(&body)
    }

    /// Renders `application/health+json` (draft-inadarei-api-health-check-06).
    pub(super) fn health_json(
        &self,
        probe: &Probe<'_>,
        verdict: &Verdict,
        details: &ResponseDetail,
    ) -> String {
        let is_long = probe.check.is_some()
            || probe.is_verbose
            || !matches!(probe.view, View::Readiness | View::Liveness | View::Startup);
        let reports = is_long.then(|| self.reports(probe, verdict));
        let checks = reports.iter().flatten().map(|report| {
            let duration = report.duration.filter(|_| details.messages);
            let name = match duration {
                Some(_) => format!("{}:responseTime", report.name),
                None => report.name.to_string(),
            };
            let observation = Observation {
                status: pass(report.status, report.importance),
                observed_value: duration.map(|duration| duration.as_secs_f64() * 1_000.0),
                observed_unit: duration.map(|_| "ms"),
                time: report.at.filter(|_| details.messages).map(rfc_3339),
                // The draft forbids it for checks that pass.
                output: report
                    .message
                    .as_deref()
                    .filter(|_| details.errors && report.status != Status::Healthy),
            };
            (name, [observation])
        });
        let checks: BTreeMap<_, _> = checks.collect();
        let body = HealthBody {
            // In the draft, `pass` and `warn` have a code of 2xx or 3xx, and `fail` one of 4xx or
            // 5xx.
            status: match (verdict.is_success(), verdict.status) {
                (false, _) => "fail",
                (true, Status::Healthy) => "pass",
                (true, _) => "warn",
            },
            version: self.inner().version.as_deref(),
            notes: verdict
                .fails_by_phase
                .then(|| [format!("the service is {}", verdict.phase.as_str())]),
            checks: is_long.then_some(checks),
        };
        serialize(&body)
    }

    fn reports(&self, probe: &Probe<'_>, verdict: &Verdict) -> Vec<CheckReport> {
        let inner = self.inner();
        let statuses: Vec<_> = inner
            .checks
            .iter()
            .map(|state| state.status(verdict.now))
            .collect();
        let root_causes = inner.root_causes(&statuses);
        let known = (&*statuses, &*root_causes);
        let members = self.members(probe);
        let members = members.filter(|(_, state)| probe.counts(state));
        members
            .map(|(number, state)| inner.report(number, state, known, verdict.now))
            .collect()
    }

    fn service_body<'a>(&'a self, details: &'a ResponseDetail) -> Service<'a> {
        let report = self.report();
        Service {
            version: self.inner().version.as_deref(),
            uptime: report.uptime.as_secs_f64(),
            warning: (!report.is_running)
                .then_some("background work is not running: no check runs until `run` is spawned"),
            notes: details
                .notes
                .iter()
                .map(|(name, value)| (*name, value))
                .collect(),
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'static str>,
    #[serde(flatten)]
    checks: Option<Checks<'a>>,
    #[serde(flatten)]
    service: Option<Service<'a>>,
}

#[derive(Serialize)]
struct Checks<'a> {
    checks: Vec<CheckBody<'a>>,
    failed_checks: Vec<&'a str>,
    total_checks: usize,
    passed_checks: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    excluded_checks: Vec<&'a str>,
}

impl<'a> Checks<'a> {
    fn new(reports: &'a [CheckReport], probe: &'a Probe<'_>, details: &ResponseDetail) -> Self {
        let failed = reports
            .iter()
            .filter(|check| check.status != Status::Healthy);
        let failed_checks: Vec<_> = failed.map(|check| &*check.name).collect();
        Self {
            total_checks: reports.len(),
            passed_checks: reports.len() - failed_checks.len(),
            checks: reports
                .iter()
                .map(|check| CheckBody::new(check, details))
                .collect(),
            failed_checks,
            excluded_checks: probe.excluded.clone(),
        }
    }
}

#[derive(Serialize)]
struct Service<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    /// In seconds.
    uptime: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
    #[serde(flatten)]
    notes: BTreeMap<&'static str, &'a Value>,
}

#[derive(Serialize)]
struct CheckBody<'a> {
    name: &'a str,
    status: &'static str,
    critical: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    informational: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    root_causes: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    /// The time at which the last call ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<BTreeMap<&'a str, &'a Value>>,
}

impl<'a> CheckBody<'a> {
    fn new(report: &'a CheckReport, details: &ResponseDetail) -> Self {
        let is_shown = match report.is_error {
            true => details.errors,
            false => details.messages,
        };
        let values = report.details.iter().map(|(name, value)| (&**name, value));
        let values: BTreeMap<_, _> = values.collect();
        Self {
            name: &report.name,
            status: report.status.as_str(),
            critical: report.importance == Importance::Critical,
            informational: report.importance == Importance::Informational,
            root_causes: report.root_causes.iter().map(|name| &**name).collect(),
            message: report.message.as_deref().filter(|_| is_shown),
            duration: report
                .duration
                .filter(|_| details.messages)
                .as_ref()
                .map(Duration::as_secs_f64),
            timestamp: report.at.filter(|_| details.messages).map(rfc_3339),
            details: Some(values).filter(|values| details.messages && !values.is_empty()),
        }
    }
}

#[derive(Serialize)]
struct HealthBody<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<[String; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<BTreeMap<String, [Observation<'a>; 1]>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Observation<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_unit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
}

fn pass(status: Status, importance: Importance) -> &'static str {
    match (status, service_status(importance, status)) {
        (Status::Healthy, _) => "pass",
        (_, Status::Unhealthy) => "fail",
        _ => "warn",
    }
}

/// Serializes a body, which cannot fail: it has strings and numbers only.
fn serialize(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_default()
}

/// Returns a time in UTC, in the format of RFC 3339.
fn rfc_3339(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .unwrap_or_default()
        .to_string()
}
