use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;

use crate::check::Kind;
use crate::group::Resolved;
use crate::phase::Lifecycle;
use crate::report::service_status;
use crate::watchdog::Guarding;
use crate::watched::Watched;
use crate::{Check, CheckReport, Report, Status, Transition, Transitions, clock, transitions};

mod causes;
mod lifecycle;
mod run;

/// A service's checks and what they have found.
///
/// A clone is the same health (an `Arc`).
#[derive(Clone)]
pub struct Health(Arc<Inner>);

pub(crate) struct Inner {
    start: Instant,
    pub(crate) checks: Vec<Watched>,
    pub(crate) groups: Vec<Resolved>,
    pub(crate) lifecycle: Lifecycle,
    jitter: f64,
    concurrency: usize,
    is_running: AtomicBool,
    /// The number of `run` calls, including the waiting ones.
    runs: AtomicUsize,
    /// Wakes the waiting `run` calls when the active one ends.
    freed: Notify,
    transitions: broadcast::Sender<Transition>,
    transitions_so_far: AtomicU64,
    /// A number that grows with each change of a check or of the phase.
    changes: watch::Sender<u64>,
    pub(crate) version: Option<String>,
    watchdog: Option<Arc<Guarding>>,
}

/// The validated settings of a [`Health`].
pub(crate) struct Parts {
    pub(crate) checks: Vec<(Check, Vec<usize>)>,
    pub(crate) groups: Vec<Resolved>,
    pub(crate) jitter: f64,
    pub(crate) concurrency: usize,
    pub(crate) version: Option<String>,
    pub(crate) watchdog: Option<Arc<Guarding>>,
}

impl Health {
    pub(crate) fn new(parts: Parts) -> Self {
        let start = clock::now();
        let watched = |(check, depends_on)| Watched::new(check, depends_on, start);
        Self(Arc::new(Inner {
            start,
            checks: parts.checks.into_iter().map(watched).collect(),
            groups: parts.groups,
            lifecycle: Lifecycle::default(),
            jitter: parts.jitter,
            concurrency: parts.concurrency,
            is_running: AtomicBool::new(false),
            runs: AtomicUsize::new(0),
            freed: Notify::new(),
            transitions: broadcast::channel(transitions::WAITING).0,
            transitions_so_far: AtomicU64::new(0),
            changes: watch::channel(0).0,
            version: parts.version,
            watchdog: parts.watchdog,
        }))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Returns the service's status from the last results of the checks. It calls no check.
    pub fn report(&self) -> Report {
        let now = clock::now();
        let statuses: Vec<_> = self.0.checks.iter().map(|of| of.status(now)).collect();
        let culprits = self.0.culprits(&statuses);
        let known = (&*statuses, &*culprits);
        let checks = self.0.checks.iter().enumerate();
        let checks = checks.map(|(number, watched)| self.0.report(number, watched, known, now));
        let checks: Vec<_> = checks.collect();
        let of_checks = checks
            .iter()
            .map(|check| service_status(check.importance, check.status));
        Report {
            status: of_checks.max().unwrap_or(Status::Healthy),
            checks,
            phase: self.phase(),
            uptime: now.saturating_duration_since(self.0.start),
            is_running: self.0.is_running.load(Ordering::Relaxed),
        }
    }

    /// Returns the status of a group's checks, independent of the [phase](Self::phase); `None` if there is no such group.
    pub fn group(&self, name: &str) -> Option<Status> {
        let group = self.0.group(name)?;
        Some(self.0.status_of(group, clock::now(), |_| true))
    }

    /// Returns the status changes of the checks from now on. There are none unless [`run`](Self::run) is running.
    pub fn transitions(&self) -> Transitions {
        Transitions::new(self.0.transitions.subscribe())
    }

    /// Returns the number of [transitions](Self::transitions) so far.
    pub fn transitions_so_far(&self) -> u64 {
        self.0.transitions_so_far.load(Ordering::Relaxed)
    }

    /// Returns a receiver that is notified of each change of a check or of the phase.
    #[cfg_attr(
        not(feature = "grpc"),
        expect(dead_code, reason = "gRPC's `Watch` waits for it")
    )]
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Requests a call of a check before it is due. Requests that come before the call begins share it.
    /// Returns whether the check exists.
    pub fn refresh(&self, check: &str) -> bool {
        let found = self.0.checks.iter().find(|of| &*of.name == check);
        found.map(|of| of.refresh.notify_one()).is_some()
    }

    /// Returns how long the runtime takes to poll a new task: the last measurement, or the duration so far of
    /// the one in progress if that is longer. `None` without a [watchdog](crate::Watchdog) or unless
    /// [`run`](Self::run) is running.
    pub fn watchdog_lag(&self) -> Option<Duration> {
        self.0.watchdog.as_ref()?.lag()
    }

    pub(crate) fn watchdog_port(&self) -> Option<u16> {
        self.0.watchdog.as_ref()?.public_port()
    }
}

impl Inner {
    /// Returns a group by its name or an alias of it.
    pub(crate) fn group(&self, name: &str) -> Option<&Resolved> {
        let name = match name {
            "ready" => "readiness",
            "live" => "liveness",
            name => name,
        };
        self.groups.iter().find(|group| group.name == name)
    }

    /// Returns the status of a group by its checks that `is_counted` accepts.
    pub(crate) fn status_of(
        &self,
        group: &Resolved,
        now: Instant,
        is_counted: impl Fn(&Watched) -> bool,
    ) -> Status {
        let members = group.members.iter().map(|&number| &self.checks[number]);
        let members = members.filter(|watched| is_counted(watched));
        let statuses = members.map(|of| service_status(of.check.importance, of.status(now)));
        statuses.max().unwrap_or(Status::Healthy)
    }

    pub(crate) fn report(
        &self,
        number: usize,
        watched: &Watched,
        (statuses, culprits): (&[Status], &[bool]),
        now: Instant,
    ) -> CheckReport {
        let last = watched.last();
        let outcome = last.as_ref().map(|last| &last.outcome);
        let is_known = matches!(watched.check.kind, Kind::Immediate(_));
        CheckReport {
            name: Arc::clone(&watched.name),
            importance: watched.check.importance,
            status: statuses[number],
            works: watched.works(now),
            message: outcome.and_then(|outcome| outcome.message.clone()),
            is_error: outcome.is_some_and(|outcome| !outcome.is_healthy()),
            details: outcome.map_or_else(Vec::new, |outcome| outcome.details.clone()),
            duration: last
                .as_ref()
                .filter(|_| !is_known)
                .map(|last| last.duration),
            age: last.as_ref().map(|_| match is_known {
                true => Duration::ZERO,
                false => watched.age(now),
            }),
            at: last.map(|last| last.wall),
            root_causes: self.to_blame(number, statuses, culprits),
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("checks", &self.0.checks.len())
            .field("phase", &self.0.lifecycle.phase())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
