//! The report on all checks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::{Health, Inner};
use crate::check::Kind;
use crate::check_state::CheckState;
use crate::report::service_status;
use crate::{CheckReport, Report, Status, clock};

impl Health {
    /// Returns a report from the last results of the checks. It calls no check.
    pub fn report(&self) -> Report {
        let now = clock::now();
        let statuses: Vec<_> = self
            .0
            .checks
            .iter()
            .map(|state| state.status(now))
            .collect();
        let root_causes = self.0.root_causes(&statuses);
        let known = (&*statuses, &*root_causes);
        let checks = self.0.checks.iter().enumerate();
        let checks: Vec<_> = checks
            .map(|(number, state)| self.0.report(number, state, known, now))
            .collect();
        let status = checks
            .iter()
            .map(|check| service_status(check.importance, check.status))
            .max();
        Report {
            status: status.unwrap_or(Status::Healthy),
            checks,
            phase: self.phase(),
            uptime: now.saturating_duration_since(self.0.start),
            is_running: self.0.is_running.load(Ordering::Relaxed),
        }
    }
}

impl Inner {
    /// Returns the report on one check.
    pub(crate) fn report(
        &self,
        number: usize,
        state: &CheckState,
        (statuses, root_causes): (&[Status], &[bool]),
        now: Instant,
    ) -> CheckReport {
        let last = state.last();
        let outcome = last.as_ref().map(|last| &last.outcome);
        let is_immediate = matches!(state.check.kind, Kind::Immediate(_));
        CheckReport {
            name: Arc::clone(&state.name),
            importance: state.check.importance,
            status: statuses[number],
            works: state.works(now),
            message: outcome.and_then(|outcome| outcome.message.clone()),
            is_error: outcome.is_some_and(|outcome| !outcome.is_healthy()),
            details: outcome.map_or_else(Vec::new, |outcome| outcome.details.clone()),
            duration: last
                .as_ref()
                .filter(|_| !is_immediate)
                .map(|last| last.duration),
            age: last.as_ref().map(|_| match is_immediate {
                true => Duration::ZERO,
                false => state.age(now),
            }),
            at: last.map(|last| last.wall),
            root_causes: self.causes_of(number, statuses, root_causes),
        }
    }
}
