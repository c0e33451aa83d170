use campanile_series::Now;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use campanile_alerts::Alerts;
use campanile_metrics::collectors::BusinessMetrics;
use campanile_sla::{Adjustment, MaintenanceWindow};
use campanile_store::Store;
use tokio::sync::{Mutex, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::auth::{AuthError, Authorizer};
use crate::error::DecisionError;
use crate::self_metrics::SelfMetrics;
use crate::slo_driver::SloDriver;
use crate::sources::Sources;

/// Evaluates the alert rules, persists the SLOs, and serves the REST API.
///
/// A clone refers to the same monitor (an `Arc`).
#[derive(Clone)]
pub struct Monitor(Arc<Inner>);

struct Inner {
    parts: Parts,
    self_metrics: SelfMetrics,
    /// Locked by the active `run`.
    running: Mutex<()>,
}

impl Deref for Inner {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// The validated settings of a monitor.
pub(crate) struct Parts {
    pub(crate) sources: Sources,
    pub(crate) alerts: Alerts,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) authorizer: Authorizer,
    pub(crate) evaluation_interval: Duration,
    pub(crate) business: BusinessMetrics,
    pub(crate) levels: SloDriver,
    pub(crate) env_warnings: Vec<String>,
}

/// The interval between writes of the SLO counts.
const WRITE_INTERVAL: Duration = Duration::from_secs(10);
/// The timeout of the last write.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(5);

impl Monitor {
    pub(crate) fn new(parts: Parts) -> Self {
        let self_metrics = SelfMetrics::new(parts.sources.metrics());
        self_metrics.update(
            &parts.alerts,
            &parts.levels,
            &*parts.store,
            Now::system().wall,
        );
        Self(Arc::new(Inner {
            parts,
            self_metrics,
            running: Mutex::new(()),
        }))
    }

    /// Evaluates the rules, sends notifications and persists the SLO counts until `shutdown` completes. Then it sends
    /// queued notifications and writes the counts, for at most 5 s.
    ///
    /// Only one `run` works at a time. A second one waits until the first ends. It runs no health checks:
    /// [`Health::run`](campanile_health::Health::run) does.
    ///
    /// The future owns its state, so it can be spawned: `tokio::spawn(monitor.run(shutdown))`.
    pub fn run<F: Future<Output = ()>>(&self, shutdown: F) -> impl Future<Output = ()> + use<F> {
        let inner = Arc::clone(&self.0);
        async move { inner.run(shutdown).await }
    }

    /// Returns the alerts.
    pub fn alerts(&self) -> &Alerts {
        &self.0.alerts
    }

    /// Returns the sources that rules read.
    pub fn sources(&self) -> &Sources {
        &self.0.sources
    }

    /// Returns the store.
    pub fn store(&self) -> &dyn Store {
        &*self.0.store
    }

    /// Excludes past failures of an SLO, as
    /// [`ServiceLevels::exclude_failures`](campanile_sla::ServiceLevels::exclude_failures) does, and
    /// stores the decision in the store's journal and with the counts.
    ///
    /// # Errors
    ///
    /// Returns an error if the adjustment is not valid; nothing changes then. Returns
    /// [`DecisionError::Store`] if the store fails; the adjustment is then applied, and stored with
    /// the next counts.
    pub async fn exclude_failures(
        &self,
        slo: &str,
        adjustment: Adjustment,
    ) -> Result<(), DecisionError> {
        let Parts { levels, store, .. } = &self.0.parts;
        levels
            .exclude_failures(&**store, slo, adjustment, Now::system())
            .await
    }

    /// Schedules a maintenance window, in which no SLO counts events or time, as
    /// [`ServiceLevels::schedule_maintenance`](campanile_sla::ServiceLevels::schedule_maintenance)
    /// does, and stores the decision.
    ///
    /// # Errors
    ///
    /// As [`exclude_failures`](Self::exclude_failures).
    pub async fn schedule_maintenance(
        &self,
        maintenance: MaintenanceWindow,
    ) -> Result<(), DecisionError> {
        let Parts { levels, store, .. } = &self.0.parts;
        levels
            .schedule_maintenance(&**store, maintenance, Now::system())
            .await
    }

    /// Ends the current maintenance, as
    /// [`ServiceLevels::end_maintenance`](campanile_sla::ServiceLevels::end_maintenance) does, and
    /// stores the author. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// Returns [`DecisionError::Store`] if the store fails. The maintenance has then ended
    /// nevertheless, and the decision is stored with the next counts.
    pub async fn end_maintenance(&self, author: &str) -> Result<bool, DecisionError> {
        let Parts { levels, store, .. } = &self.0.parts;
        levels
            .end_maintenance(&**store, author, Now::system())
            .await
    }

    pub(crate) fn business(&self) -> &BusinessMetrics {
        &self.0.business
    }

    pub(crate) fn authorizer(&self) -> &Authorizer {
        &self.0.authorizer
    }

    pub(crate) fn count_auth_error(&self, error: AuthError) {
        self.0.self_metrics.count_auth_error(error);
    }

    /// Returns the notes of the monitor for `/health/detailed`.
    pub(crate) fn notes(&self, errors: bool) -> Vec<(&'static str, campanile_health::Value)> {
        let status = self.0.store.status();
        let store = match (&status.error, status.durable) {
            (Some(error), _) if errors => format!("degraded: {error}"),
            (Some(_), _) => "degraded".to_owned(),
            (None, true) => "durable".to_owned(),
            (None, false) => "memory: its contents end with the process".to_owned(),
        };
        let warning = status.warning.filter(|_| errors);
        let mut notes = vec![("store", store.into())];
        if self.0.running.try_lock().is_ok() {
            notes.push(("background_work", "not running".into()));
        }
        notes.extend(warning.map(|warning| ("store_warning", warning.into())));
        if !self.0.env_warnings.is_empty() {
            let texts = || self.0.env_warnings.join("; ").into();
            let number = i64::try_from(self.0.env_warnings.len()).unwrap_or(i64::MAX);
            let note = if errors {
                texts()
            } else {
                campanile_health::Value::Integer(number)
            };
            notes.push(("env_warnings", note));
        }
        notes
    }
}

impl Inner {
    async fn run(&self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let _running = tokio::select! {
            biased;
            running = self.running.lock() => running,
            () = shutdown.as_mut() => return,
        };
        if !self.store.status().durable {
            tracing::warn!(
                "alerts and SLO counts are in memory and end with the process; set a store to keep them"
            );
        }
        self.levels.restore(&*self.store, Now::system()).await;
        let (stopping, stopped) = watch::channel(false);
        let until_stop = || {
            let mut stopped = stopped.clone();
            // The sender outlives this future.
            async move { drop(stopped.wait_for(|stopped| *stopped).await) }
        };
        let stop = async {
            shutdown.await;
            stopping.send_replace(true);
        };
        tokio::join!(
            stop,
            self.alerts.run(until_stop()),
            self.levels.follow_health(until_stop()),
            self.writes(until_stop()),
            self.ticks(until_stop())
        );
    }

    async fn ticks(&self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut ticks = interval(self.evaluation_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.as_mut() => break,
            }
            let now = Now::system();
            self.levels.tick(now);
            self.alerts.tick(now).await;
            self.self_metrics.count_evaluation();
            self.self_metrics
                .update(&self.alerts, &self.levels, &*self.store, now.wall);
        }
    }

    /// Writes the SLO counts at an interval and at the end.
    async fn writes(&self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut writes = interval(WRITE_INTERVAL);
        writes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        writes.reset();
        loop {
            tokio::select! {
                _ = writes.tick() => {}
                () = stop.as_mut() => break,
            }
            let now = Now::system();
            self.levels.tick(now);
            self.levels.write(&*self.store, now).await;
        }
        let last = self.levels.write_all(&*self.store, Now::system());
        if timeout(LAST_WRITE_TIMEOUT, last).await.is_err() {
            tracing::error!("failed to write the last SLO counts: timed out");
        }
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("sources", &self.0.sources)
            .field("alerts", &self.0.alerts)
            .field("authorizer", &self.0.authorizer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
