//! The background tasks: they call the checks and publish transitions.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::{Health, Inner};
use crate::check_state::CheckState;
use crate::{Phase, Status, Transition, clock};

/// The interval of the search for outdated results and missing heartbeats.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(500);

/// The time limit for cancelling calls at the end of a run.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

impl Health {
    /// Returns a future that runs the checks until `shutdown` completes: spawn it.
    ///
    /// Each check runs immediately, then once per [interval](crate::Check::interval), and after a
    /// failure [earlier](crate::Check::retry_interval). When the last run ends, the service has
    /// [stopped](Phase::Stopped). A run after that starts over.
    ///
    /// ```
    /// use campanile_health::Health;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let health = Health::builder().build()?;
    /// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    /// let running = tokio::spawn(health.run(async { drop(stopped.await) }));
    /// // The service works until here.
    /// drop(stop);
    /// running.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Each check has its own task, which ends with this future. The builder limits the number of
    /// [concurrent calls](crate::HealthBuilder::concurrency), and one check has at most one call in
    /// progress. A check that blocks its thread delays the end by at most 1 s. The
    /// [watchdog](crate::Watchdog)'s threads also end with this future.
    ///
    /// A second `run` waits until the first one ends.
    pub fn run<F>(&self, shutdown: F) -> impl Future<Output = ()> + use<F>
    where
        F: Future<Output = ()>,
    {
        let health = self.clone();
        async move {
            let mut shutdown = pin!(shutdown);
            let _run = Run::begin(&health);
            loop {
                // Registered before `start`, so that the end of the other run is not missed.
                let mut freed = pin!(health.0.freed.notified());
                freed.as_mut().enable();
                if let Some(_running) = Running::start(&health.0) {
                    return health.work(shutdown).await;
                }
                tokio::select! {
                    () = shutdown.as_mut() => return,
                    () = freed => {}
                }
            }
        }
    }

    async fn work(&self, shutdown: impl Future<Output = ()>) {
        let mut tasks = JoinSet::new();
        let slots = Arc::new(Semaphore::new(self.0.concurrency));
        for number in 0..self.0.checks.len() {
            let (inner, slots) = (Arc::clone(&self.0), Arc::clone(&slots));
            if !inner.checks[number].check.is_liveness() {
                tasks.spawn(async move { inner.run_check(number, &slots).await });
            }
        }
        let inner = Arc::clone(&self.0);
        tasks.spawn(async move { inner.expire_results().await });
        let _threads = self.0.watchdog.as_ref().map(|watchdog| {
            let state = Arc::clone(watchdog);
            tasks.spawn(async move { state.reply().await });
            let health = self.clone();
            watchdog.start(Arc::new(move |request| health.respond(request)))
        });
        shutdown.await;
        // A call that blocks its thread cannot be cancelled.
        let _ = timeout(STOP_TIMEOUT, tasks.shutdown()).await;
    }
}

impl Inner {
    /// Calls a check whenever it is due or requested.
    async fn run_check(&self, number: usize, slots: &Semaphore) {
        let state = &self.checks[number];
        loop {
            // A blocking call that has timed out still holds it.
            let call = Arc::clone(&state.call).lock_owned().await;
            let begun = {
                // The semaphore is never closed.
                let _permit = slots.acquire().await;
                // This call serves all requests so far.
                pin!(state.refresh.notified()).enable();
                let begun = clock::now();
                let outcome = state.check.run(call).await;
                let now = clock::now();
                let duration = now.saturating_duration_since(begun);
                state.record(outcome, duration, now, clock::wall());
                self.publish_transition(state, now);
                begun
            };
            let delay = state.delay();
            let jitter = delay.mul_f64(self.jitter * fastrand::f64());
            let next = begun.checked_add(delay.saturating_add(jitter));
            let due = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = state.refresh.notified() => {}
            }
        }
    }

    /// Publishes the transitions that time alone causes: outdated results and missing heartbeats.
    async fn expire_results(&self) {
        let mut ticks = interval(EXPIRY_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // After a stall, the current time differs from the time at which the tick was due.
            ticks.tick().await;
            let now = clock::now();
            for state in &self.checks {
                self.publish_transition(state, now);
            }
            self.phase(now);
        }
    }

    /// Publishes a transition if the status of a check has changed.
    fn publish_transition(&self, state: &CheckState, now: Instant) {
        let mut published = None;
        state.if_changed(now, |from, to| {
            let reason = match to {
                Status::Unknown => Some("no recent result".to_owned()),
                _ => state.last().and_then(|last| last.outcome.message),
            };
            let transition = Transition {
                check: Arc::clone(&state.name),
                importance: state.check.importance,
                from,
                to,
                reason: reason.map(Arc::from),
                at: clock::wall(),
            };
            self.transitions_so_far.fetch_add(1, Ordering::Relaxed);
            // There may be no receiver.
            let _ = self.transitions.send(transition.clone());
            published = Some(transition);
        });
        let Some(Transition {
            check,
            from,
            to,
            reason,
            ..
        }) = published
        else {
            return;
        };
        let error = reason.as_deref().unwrap_or_default();
        match to {
            Status::Healthy if from == Status::Unknown => {}
            Status::Healthy => tracing::info!(check = &*check, "health check recovered"),
            Status::Degraded | Status::Unknown | Status::Unhealthy => {
                let status = to.as_str();
                tracing::warn!(check = &*check, status, error, "health check failed");
            }
        }
        self.changes.send_modify(|number| *number += 1);
        self.phase(now);
    }
}

/// A `run` call, active or waiting.
struct Run<'a>(&'a Health);

impl<'a> Run<'a> {
    fn begin(health: &'a Health) -> Self {
        let is_first = health.0.runs.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first && health.0.lifecycle.restart() {
            health.0.changes.send_modify(|number| *number += 1);
        }
        Self(health)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.0.0.runs.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.advance(Phase::Stopped);
        }
    }
}

/// The guard of the active run.
struct Running<'a>(&'a Inner);

impl<'a> Running<'a> {
    fn start(inner: &'a Inner) -> Option<Self> {
        let was_running = inner.is_running.swap(true, Ordering::Relaxed);
        (!was_running).then(|| Self(inner))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.is_running.store(false, Ordering::Relaxed);
        self.0.freed.notify_waiters();
    }
}
