use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;

use crate::check_state::CheckState;
use crate::group::Resolved;
use crate::phase::Lifecycle;
use crate::report::service_status;
use crate::watchdog::WatchdogState;
use crate::{Check, Status, Transition, Transitions, clock, transitions};

mod lifecycle;
mod report;
mod root_causes;
mod run;

/// The health of a service: its checks, their last results, and the service's
/// [phase](crate::Phase).
///
/// [`builder`](Self::builder) creates it, [`run`](Self::run) calls the checks, and
/// [`respond`](Self::respond), [`service`](Self::service) and `routes` (feature `axum`) answer
/// probes.
///
/// A clone shares everything (an `Arc`).
#[derive(Clone)]
pub struct Health(Arc<Inner>);

pub(crate) struct Inner {
    start: Instant,
    pub(crate) checks: Vec<CheckState>,
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
    watchdog: Option<Arc<WatchdogState>>,
}

/// The validated settings of a [`Health`].
pub(crate) struct Parts {
    pub(crate) checks: Vec<(Check, Vec<usize>)>,
    pub(crate) groups: Vec<Resolved>,
    pub(crate) jitter: f64,
    pub(crate) concurrency: usize,
    pub(crate) version: Option<String>,
    pub(crate) watchdog: Option<Arc<WatchdogState>>,
}

impl Health {
    pub(crate) fn new(parts: Parts) -> Self {
        let start = clock::now();
        let state = |(check, depends_on)| CheckState::new(check, depends_on, start);
        Self(Arc::new(Inner {
            start,
            checks: parts.checks.into_iter().map(state).collect(),
            groups: parts.groups,
            lifecycle: Lifecycle::default(),
            jitter: parts.jitter,
            concurrency: parts.concurrency,
            is_running: AtomicBool::new(false),
            runs: AtomicUsize::new(0),
            freed: Notify::new(),
            transitions: broadcast::channel(transitions::QUEUE_LENGTH).0,
            transitions_so_far: AtomicU64::new(0),
            changes: watch::channel(0).0,
            version: parts.version,
            watchdog: parts.watchdog,
        }))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Returns the status of a group's checks, independent of the [phase](Self::phase). `None` for
    /// an unknown group.
    pub fn group(&self, name: &str) -> Option<Status> {
        let group = self.0.group(name)?;
        Some(self.0.status_of(group, clock::now(), |_| true))
    }

    /// Returns a stream of the checks' status changes from now on. There are none unless
    /// [`run`](Self::run) is running.
    pub fn transitions(&self) -> Transitions {
        Transitions::new(self.0.transitions.subscribe())
    }

    /// Returns the number of [transitions](Self::transitions) since the health was built.
    pub fn transitions_so_far(&self) -> u64 {
        self.0.transitions_so_far.load(Ordering::Relaxed)
    }

    /// Returns a receiver that is notified of each change of a check or of the phase.
    #[cfg_attr(
        not(feature = "grpc"),
        expect(dead_code, reason = "used by gRPC's `Watch`")
    )]
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Requests a call of a check before it is due. Returns whether the check exists.
    ///
    /// All requests before the call begins share it.
    pub fn refresh(&self, check: &str) -> bool {
        let found = self.0.checks.iter().find(|state| &*state.name == check);
        found.map(|state| state.refresh.notify_one()).is_some()
    }

    /// Returns the delay until the runtime reacts to the [watchdog](crate::Watchdog)'s thread.
    ///
    /// It is the last measurement, or the one in progress if that takes longer already. `None`
    /// without a watchdog, and while no [`run`](Self::run) is active.
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
        is_counted: impl Fn(&CheckState) -> bool,
    ) -> Status {
        let members = group.members.iter().map(|&number| &self.checks[number]);
        let members = members.filter(|state| is_counted(state));
        let statuses =
            members.map(|state| service_status(state.check.importance, state.status(now)));
        statuses.max().unwrap_or(Status::Healthy)
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
