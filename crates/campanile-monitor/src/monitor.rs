use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use campanile_alerts::Alerts;
use campanile_metrics::Business;
use campanile_series::Now;
use campanile_store::{Batch, Store};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::guard::Refusal;
use crate::publish::Published;
use crate::{MonitorBuilder, Sources, Token};

/// The tick, the REST API and the guard.
///
/// A clone is the same (an `Arc`).
#[derive(Clone)]
pub struct Monitor(Arc<Inner>);

struct Inner {
    sources: Sources,
    alerts: Alerts,
    store: Arc<dyn Store>,
    tokens: Vec<Token>,
    tick: Duration,
    business: Business,
    published: Published,
}

/// Where the store has the counts of the service levels.
const SLA_TABLE: &str = "sla";
const SLA_KEY: &str = "windows";
/// How often they are written there.
const SLA_PERIOD: Duration = Duration::from_secs(10);
/// How long the last write may take.
const LAST_WRITE: Duration = Duration::from_secs(5);

impl Monitor {
    /// Returns a builder.
    pub fn builder(sources: Sources) -> MonitorBuilder {
        MonitorBuilder::new(sources)
    }

    pub(crate) fn new(
        sources: Sources,
        alerts: Alerts,
        store: Arc<dyn Store>,
        tokens: Vec<Token>,
        tick: Duration,
        business: Business,
    ) -> Self {
        let published = Published::new(sources.metrics());
        published.update(&alerts, &*store);
        Self(Arc::new(Inner {
            sources,
            alerts,
            store,
            tokens,
            tick,
            business,
            published,
        }))
    }

    /// Ticks, sends notices and writes counts down, until `shutdown` completes and then for as long as the last notices and the last
    /// write take: 5 s at most.
    ///
    /// The health checks have a `run` of their own.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let inner = &*self.0;
        if !inner.store.status().durable {
            tracing::warn!(
                "alerts and service levels are kept in memory, and end with the process: give a store"
            );
        }
        inner.restore().await;
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

    pub(crate) fn business(&self) -> &Business {
        &self.0.business
    }

    pub(crate) fn tokens(&self) -> &[Token] {
        &self.0.tokens
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
        notes
    }
}

impl Inner {
    async fn ticks(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut ticks = interval(self.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written = now().mono;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.as_mut() => break,
            }
            let now = now();
            self.sources.sla().advance(now);
            self.alerts.tick(now).await;
            if now.mono.saturating_duration_since(written) >= SLA_PERIOD {
                written = now.mono;
                self.write(now).await;
            }
            self.published.ticked();
            self.published.update(&self.alerts, &*self.store);
        }
        if timeout(LAST_WRITE, self.write(now())).await.is_err() {
            tracing::error!("the service levels' last counts could not be written down in time");
        }
    }

    /// Writes the counts of the service levels down.
    async fn write(&self, now: Now) {
        let mut batch = Batch::new();
        batch.put(SLA_TABLE, SLA_KEY, self.sources.sla().snapshot(now));
        if let Err(error) = self.store.commit(batch).await {
            tracing::error!(%error, "the service levels' counts can't be written down");
        }
    }

    /// Takes up the counts of the service levels from before.
    async fn restore(&self) {
        let restored = match self.store.get(SLA_TABLE, SLA_KEY).await {
            Ok(None) => return,
            Ok(Some(snapshot)) => {
                let restored = self.sources.sla().restore(&snapshot, now());
                restored.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match restored {
            Ok(()) => tracing::info!("the service levels' counts from before were taken up"),
            Err(error) => tracing::error!(
                error,
                "the service levels' counts from before can't be taken up"
            ),
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
            .field("tokens", &self.0.tokens)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
