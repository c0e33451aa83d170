use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use campanile_alerts::Alerts;
use campanile_metrics::Business;
use campanile_series::Now;
use campanile_sla::{Adjustment, Maintenance};
use campanile_store::Store;
use tokio::sync::{Mutex, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::guard::{Guard, Refusal};
use crate::levels::ServiceLevels;
use crate::publish::Published;
use crate::{DecisionError, MonitorBuilder, Sources};

/// The tick, the REST API and the guard.
///
/// A clone is the same (an `Arc`).
#[derive(Clone)]
pub struct Monitor(Arc<Inner>);

struct Inner {
    parts: Parts,
    published: Published,
    /// Held by the active run.
    turn: Mutex<()>,
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
    pub(crate) guard: Guard,
    pub(crate) tick: Duration,
    pub(crate) business: Business,
    pub(crate) levels: ServiceLevels,
    pub(crate) env_warnings: Vec<String>,
}

/// The interval of writes of the service levels' counts.
const SLA_PERIOD: Duration = Duration::from_secs(10);
/// The limit of time of the last write.
const LAST_WRITE: Duration = Duration::from_secs(5);

impl Monitor {
    /// Returns a builder.
    pub fn builder(sources: Sources) -> MonitorBuilder {
        MonitorBuilder::new(sources)
    }

    pub(crate) fn new(parts: Parts) -> Self {
        let published = Published::new(parts.sources.metrics());
        published.update(&parts.alerts, &parts.levels, &*parts.store, now().wall);
        Self(Arc::new(Inner {
            parts,
            published,
            turn: Mutex::new(()),
        }))
    }

    /// Ticks, sends notices and writes counts down, until `shutdown` completes and then for as long as the last notices and the last
    /// write take: 5 s at most.
    ///
    /// One run works at a time; a second one takes over when the first ends. The health checks have a
    /// `run` of their own.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let inner = &*self.0;
        let mut shutdown = pin!(shutdown);
        let _turn = tokio::select! {
            biased;
            turn = inner.turn.lock() => turn,
            () = shutdown.as_mut() => return,
        };
        if !inner.store.status().durable {
            tracing::warn!(
                "alerts and service levels are kept in memory, and end with the process: give a store"
            );
        }
        inner.levels.restore(&*inner.store, now()).await;
        let (stopping, stopped) = watch::channel(false);
        let until_stop = || {
            let mut stopped = stopped.clone();
            // The sender lives for as long as this function.
            async move { drop(stopped.wait_for(|stopped| *stopped).await) }
        };
        let stop = async {
            shutdown.await;
            stopping.send_replace(true);
        };
        tokio::join!(
            stop,
            inner.alerts.run(until_stop()),
            inner.levels.follow_health(until_stop()),
            inner.writes(until_stop()),
            inner.ticks(until_stop())
        );
    }

    /// Returns the alerts.
    pub fn alerts(&self) -> &Alerts {
        &self.0.alerts
    }

    /// Returns what rules can read.
    pub fn sources(&self) -> &Sources {
        &self.0.sources
    }

    /// Returns where things are kept.
    pub fn store(&self) -> &dyn Store {
        &*self.0.store
    }

    /// Forgives an objective failures, as [`Sla::adjust`](campanile_sla::Sla::adjust) does, and writes the decision down: into the store's
    /// journal, and with the counts.
    ///
    /// # Errors
    ///
    /// If it is not valid; nothing changes then. If the store doesn't take it, it holds all the same, and is written with the next counts.
    pub async fn adjust(
        &self,
        objective: &str,
        adjustment: Adjustment,
    ) -> Result<(), DecisionError> {
        let Parts { levels, store, .. } = &self.0.parts;
        levels.adjust(&**store, objective, adjustment, now()).await
    }

    /// Plans a time in which no objective counts anything, as [`Sla::maintain`](campanile_sla::Sla::maintain) does, and writes the decision
    /// down.
    ///
    /// # Errors
    ///
    /// As of [`adjust`](Self::adjust).
    pub async fn maintain(&self, maintenance: Maintenance) -> Result<(), DecisionError> {
        let Parts { levels, store, .. } = &self.0.parts;
        levels.maintain(&**store, maintenance, now()).await
    }

    /// Ends the maintenance that is, as [`Sla::end_maintenance`](campanile_sla::Sla::end_maintenance) does, and writes down who did. Returns
    /// whether there was one.
    ///
    /// # Errors
    ///
    /// If the store doesn't take it, it has ended all the same, and is written with the next counts.
    pub async fn end_maintenance(&self, author: &str) -> Result<bool, DecisionError> {
        let Parts { levels, store, .. } = &self.0.parts;
        levels.end_maintenance(&**store, author, now()).await
    }

    pub(crate) fn business(&self) -> &Business {
        &self.0.business
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.0.guard
    }

    pub(crate) fn note_refusal(&self, refusal: Refusal) {
        self.0.published.refused(refusal);
    }

    /// Returns what `/health/detailed` says of the monitor.
    pub(crate) fn notes(&self, errors: bool) -> Vec<(&'static str, campanile_health::Value)> {
        let status = self.0.store.status();
        let store = match (&status.error, status.durable) {
            (Some(error), _) if errors => format!("degraded: {error}"),
            (Some(_), _) => "degraded".to_owned(),
            (None, true) => "durable".to_owned(),
            (None, false) => "memory: what it holds ends with the process".to_owned(),
        };
        let notice = status.notice.filter(|_| errors);
        let mut notes = vec![("store", store.into())];
        notes.extend(notice.map(|notice| ("store_notice", notice.into())));
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
    async fn ticks(&self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut ticks = interval(self.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.as_mut() => break,
            }
            let now = now();
            self.levels.tick(now);
            self.alerts.tick(now).await;
            self.published.ticked();
            self.published
                .update(&self.alerts, &self.levels, &*self.store, now.wall);
        }
    }

    /// Writes the service levels down, at least every so often and at the end.
    async fn writes(&self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut writes = interval(SLA_PERIOD);
        writes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        writes.reset();
        loop {
            tokio::select! {
                _ = writes.tick() => {}
                () = stop.as_mut() => break,
            }
            let now = now();
            self.levels.tick(now);
            self.levels.write(&*self.store, now).await;
        }
        let last = self.levels.write_all(&*self.store, now());
        if timeout(LAST_WRITE, last).await.is_err() {
            tracing::error!("the service levels' last counts could not be written down in time");
        }
    }
}

pub(crate) fn now() -> Now {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tick and the routes are edges"
    )]
    Now {
        wall: SystemTime::now(),
        mono: Instant::now(),
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("sources", &self.0.sources)
            .field("alerts", &self.0.alerts)
            .field("guard", &self.0.guard)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
