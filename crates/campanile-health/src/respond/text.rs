//! The text of `kube-apiserver`'s probes
//! (`staging/src/k8s.io/apiserver/pkg/server/healthz/healthz.go`).

use std::collections::BTreeSet;
use std::fmt::Write;

use http::StatusCode;

use super::detail::ResponseDetail;
use super::probe::{Probe, Verdict, View, is_success};
use crate::check_state::CheckState;
use crate::report::service_status;
use crate::{Health, Status};

impl Health {
    pub(super) fn text(
        &self,
        probe: &Probe<'_>,
        verdict: &Verdict,
        details: &ResponseDetail,
    ) -> String {
        let is_success = verdict.is_success();
        let mut out = String::new();
        if let Some(check) = probe.check {
            return match is_success {
                true => "ok".to_owned(),
                false => {
                    line(&mut out, check, verdict, probe, details);
                    out
                }
            };
        }
        if is_success && !probe.is_verbose {
            return "ok".to_owned();
        }
        let mut members = self.members(probe).map(|(_, state)| state).peekable();
        if members.peek().is_none() {
            out.push_str("[+]ping ok\n");
        }
        for state in members {
            line(&mut out, state, verdict, probe, details);
        }
        if verdict.fails_by_phase {
            let phase = verdict.phase.as_str();
            // Writing to a `String` cannot fail.
            let _ = writeln!(out, "[-]{phase} failed: reason withheld");
        }
        let known: BTreeSet<_> = match probe.excluded.is_empty() {
            true => BTreeSet::new(),
            false => self.members(probe).map(|(_, state)| &*state.name).collect(),
        };
        let unknown = probe.excluded.iter().filter(|name| !known.contains(**name));
        let unknown: Vec<_> = unknown.map(|name| format!("{name:?}")).collect();
        if !unknown.is_empty() {
            let unknown = unknown.join(",");
            let text = "warn: some health checks cannot be excluded: no matches for";
            let _ = writeln!(out, "{text} {unknown}");
        }
        let name = match (probe.view, probe.group) {
            (View::Readiness, _) => "readyz",
            (View::Liveness, _) => "livez",
            (View::Startup, _) => "startupz",
            (_, Some(group)) => &group.name,
            (_, None) => "health",
        };
        let verdict = if is_success { "passed" } else { "failed" };
        let _ = writeln!(out, "{name} check {verdict}");
        out
    }
}

fn line(
    out: &mut String,
    state: &CheckState,
    verdict: &Verdict,
    probe: &Probe<'_>,
    details: &ResponseDetail,
) {
    let name = &*state.name;
    let status = state.status(verdict.now);
    let code = |status: Status| match probe.group {
        Some(group) => group.code(service_status(state.check.importance, status)),
        None if service_status(state.check.importance, status) == Status::Unhealthy => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        None => StatusCode::OK,
    };
    let is_passed = is_success(code(status));
    let reason = || {
        let last = state.last().filter(|_| details.errors);
        let message = last.and_then(|last| last.outcome.message);
        let message = message.map(|message| message.replace(['\n', '\r'], " "));
        message.unwrap_or_else(|| "reason withheld".to_owned())
    };
    let _ = match (probe.counts(state), status) {
        (false, _) => writeln!(out, "[+]{name} excluded: ok"),
        (true, Status::Healthy) => writeln!(out, "[+]{name} ok"),
        (true, status) if is_passed => {
            writeln!(out, "[+]{name} {}: {}", status.as_str(), reason())
        }
        (true, _) => writeln!(out, "[-]{name} failed: {}", reason()),
    };
}
