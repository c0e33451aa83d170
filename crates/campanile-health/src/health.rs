use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{Check, CheckReport, HealthBuilder, Report, Status};

/// A service's checks and what they have found.
///
/// A clone is the same health (an `Arc`).
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    start: Instant,
    checks: Vec<Watched>,
    is_running: AtomicBool,
}

/// A check and its last result.
struct Watched {
    check: Check,
    last: Mutex<Option<Outcome>>,
}

struct Outcome {
    error: Option<String>,
    at: Instant,
    duration: Duration,
}

/// The most bytes that are kept of a check's error.
const MAX_ERROR: usize = 1_024;

impl Health {
    /// Returns a builder.
    pub fn builder() -> HealthBuilder {
        HealthBuilder::default()
    }

    pub(crate) fn new(checks: Vec<Check>) -> Self {
        let checks = checks
            .into_iter()
            .map(|check| Watched {
                check,
                last: Mutex::default(),
            })
            .collect();
        Self(Arc::new(Inner {
            start: now(),
            checks,
            is_running: AtomicBool::new(false),
        }))
    }

    /// Runs the checks, each at once and then once a period, until `shutdown` completes.
    ///
    /// Each has a task of its own, which ends with this future. Only one call of a check is in progress at a time; for the same
    /// reason a second `run` beside the first only waits.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let Some(_running) = Running::start(&self.0) else {
            tracing::warn!("the health checks are running already: a second run only waits");
            return shutdown.await;
        };
        let mut tasks = JoinSet::new();
        for number in 0..self.0.checks.len() {
            let inner = Arc::clone(&self.0);
            tasks.spawn(async move { inner.checks[number].watch().await });
        }
        shutdown.await;
    }

    /// Returns how the service is, from what the checks found last; no check runs for it.
    pub fn report(&self) -> Report {
        let now = now();
        let checks = self
            .0
            .checks
            .iter()
            .map(|watched| watched.report(now))
            .collect();
        let is_running = self.0.is_running.load(Ordering::Relaxed);
        Report::new(
            checks,
            now.saturating_duration_since(self.0.start),
            is_running,
        )
    }
}

impl Watched {
    async fn watch(&self) {
        let mut ticks = interval(self.check.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let start = now();
            let error = self.check.run().await.err().map(truncated);
            let (at, name) = (now(), self.check.name.as_str());
            let outcome = Outcome {
                error: error.clone(),
                at,
                duration: at.saturating_duration_since(start),
            };
            let before = self.last().replace(outcome);
            // The log has each change, and not each call.
            match (before.map(|before| before.error.is_some()), error) {
                (Some(true), Some(_)) | (None | Some(false), None) => {}
                (_, Some(error)) => tracing::warn!(check = name, error, "a health check fails"),
                (Some(true), None) => tracing::info!(check = name, "a health check is well again"),
            }
        }
    }

    fn report(&self, now: Instant) -> CheckReport {
        let Check {
            name,
            is_critical,
            timeout,
            period,
            ..
        } = &self.check;
        let last = self.last();
        let longest = period.saturating_mul(3).saturating_add(*timeout);
        let status = match &*last {
            Some(last) if now.saturating_duration_since(last.at) > longest => Status::Unknown,
            Some(Outcome { error: None, .. }) => Status::Healthy,
            Some(_) if *is_critical => Status::Unhealthy,
            Some(_) => Status::Degraded,
            None => Status::Unknown,
        };
        CheckReport {
            name: name.clone(),
            is_critical: *is_critical,
            status,
            error: last.as_ref().and_then(|last| last.error.clone()),
            duration: last.as_ref().map(|last| last.duration),
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<Outcome>> {
        // Nothing that can panic runs under the lock.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn truncated(mut error: String) -> String {
    let end = (0..=MAX_ERROR.min(error.len()))
        .rev()
        .find(|&end| error.is_char_boundary(end));
    error.truncate(end.unwrap_or(0));
    error
}

/// The mark of the one run that there may be.
struct Running<'a>(&'a AtomicBool);

impl<'a> Running<'a> {
    fn start(inner: &'a Inner) -> Option<Self> {
        let was_running = inner.is_running.swap(true, Ordering::Relaxed);
        (!was_running).then(|| Self(&inner.is_running))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the scheduler and the probes are edges"
    )]
    Instant::now()
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("checks", &self.0.checks.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
