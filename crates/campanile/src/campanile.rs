use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

#[cfg(feature = "health")]
use campanile_health::Health;
#[cfg(feature = "metrics")]
use campanile_metrics::Registry;
#[cfg(feature = "monitor")]
use campanile_metrics::collectors::BusinessMetrics;
#[cfg(feature = "monitor")]
use campanile_monitor::Monitor;
#[cfg(feature = "sla")]
use campanile_sla::ServiceLevels;
#[cfg(feature = "telemetry")]
use campanile_telemetry::Telemetry;
use tokio::sync::watch;
use tokio::time::timeout;

#[cfg(feature = "metrics")]
use crate::background::Background;
use crate::builder::Builder;
use crate::last_work::LastWork;
use crate::layer::CampanileLayer;
use crate::runs::Runs;
use crate::supervise::{self, stop};

/// The observability of a service: a handle to wire into it.
///
/// A clone refers to the same handle (an `Arc`).
#[derive(Clone)]
#[must_use = "the log that `install` set up ends when the last clone is dropped"]
pub struct Campanile(Arc<Parts>);

/// The parts of a handle.
pub(crate) struct Parts {
    pub(crate) name: String,
    /// The prefix of our routes, without a final slash.
    #[cfg(feature = "axum")]
    pub(crate) prefix: String,
    pub(crate) layer: CampanileLayer,
    pub(crate) runs: Arc<Runs>,
    #[cfg(feature = "health")]
    pub(crate) health: Health,
    /// The transitions since the build, for the first run: checks may run before their metrics.
    #[cfg(all(feature = "health", feature = "metrics"))]
    pub(crate) transitions: std::sync::Mutex<Option<campanile_health::Transitions>>,
    #[cfg(feature = "metrics")]
    pub(crate) background: Background,
    #[cfg(feature = "monitor")]
    pub(crate) business: BusinessMetrics,
    #[cfg(feature = "metrics")]
    pub(crate) registry: Registry,
    #[cfg(feature = "metrics")]
    pub(crate) client_metrics: campanile_metrics::HttpClientMetrics,
    #[cfg(feature = "monitor")]
    pub(crate) monitor: Monitor,
    #[cfg(feature = "sla")]
    pub(crate) sla: ServiceLevels,
    #[cfg(feature = "telemetry")]
    pub(crate) telemetry: Option<Telemetry>,
    /// Keeps the installed log open.
    #[cfg(all(feature = "metrics", feature = "telemetry"))]
    pub(crate) log: crate::layer::LogGuard,
}

impl Campanile {
    /// Creates a builder. The service's name has 1 to 255 characters and no control character.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    pub(crate) fn runs(&self) -> &Arc<Runs> {
        &self.0.runs
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn client_metrics(&self) -> &campanile_metrics::HttpClientMetrics {
        &self.0.client_metrics
    }

    #[cfg(feature = "axum")]
    pub(crate) fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// Returns the service's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the metrics registry, to register metrics and to read values.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn metrics(&self) -> &Registry {
        &self.0.registry
    }

    /// Returns the health checks and probes.
    #[cfg(feature = "health")]
    #[cfg_attr(docsrs, doc(cfg(feature = "health")))]
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// Returns the service levels: the SLOs and their counts.
    #[cfg(feature = "sla")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sla")))]
    pub fn sla(&self) -> &ServiceLevels {
        &self.0.sla
    }

    /// Returns a handle to an SLO: its latest state, and its events.
    ///
    /// Reading takes no lock. A request handler can use it to shed load, and a deployment to stop a
    /// rollout.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not known.
    #[cfg(feature = "sla")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sla")))]
    pub fn slo(&self, name: &str) -> Result<campanile_sla::SloHandle, campanile_sla::UnknownSlo> {
        self.0.sla.slo(name)
    }

    /// Returns the alerts: the state of the rules, and the active alerts.
    #[cfg(feature = "monitor")]
    #[cfg_attr(docsrs, doc(cfg(feature = "monitor")))]
    pub fn alerts(&self) -> &campanile_alerts::Alerts {
        self.0.monitor.alerts()
    }

    /// Returns the store of alerts, notifications and SLO counts.
    #[cfg(feature = "monitor")]
    #[cfg_attr(docsrs, doc(cfg(feature = "monitor")))]
    pub fn store(&self) -> &dyn campanile_store::Store {
        self.0.monitor.store()
    }

    /// Returns a layer that lets the tokens of this service guard routes of the application. See
    /// [`Monitor::authorize`].
    #[cfg(feature = "monitor")]
    #[cfg_attr(docsrs, doc(cfg(feature = "monitor")))]
    pub fn authorize(
        &self,
        access: campanile_monitor::Access,
    ) -> campanile_monitor::AuthorizeLayer {
        self.0.monitor.authorize(access)
    }

    /// Returns the monitor, which evaluates the rules and serves the routes.
    #[cfg(feature = "monitor")]
    #[cfg_attr(docsrs, doc(cfg(feature = "monitor")))]
    pub fn monitor(&self) -> &Monitor {
        &self.0.monitor
    }

    /// Returns the business metrics.
    #[cfg(feature = "monitor")]
    #[cfg_attr(docsrs, doc(cfg(feature = "monitor")))]
    pub fn business(&self) -> &BusinessMetrics {
        &self.0.business
    }

    /// Returns the telemetry, whose layer writes the log. `None` if it was neither [configured](Builder::telemetry) nor
    /// installed.
    #[cfg(feature = "telemetry")]
    #[cfg_attr(docsrs, doc(cfg(feature = "telemetry")))]
    pub fn telemetry(&self) -> Option<&Telemetry> {
        self.0.telemetry.as_ref()
    }

    #[cfg(all(feature = "metrics", feature = "telemetry"))]
    pub(crate) fn install_log(&self) -> Result<(), crate::InstallError> {
        if let Some(telemetry) = &self.0.telemetry {
            let guard = telemetry.install();
            let guard = guard.map_err(|_| crate::InstallError::Subscriber)?;
            self.0.log.get_or_init(|| guard);
        }
        Ok(())
    }

    /// Returns the layer for a tower stack: the correlation id, and inside of it the observers.
    ///
    /// For an axum router use [`wrap`](Self::wrap).
    pub fn layer(&self) -> CampanileLayer {
        self.0.layer.clone()
    }

    /// Runs all background work until `shutdown` completes. Then it sends queued notifications and writes the last
    /// counts for at most 4 s, and exports for at most 2 s.
    ///
    /// [`serve`](Self::serve) and [`make_service`](Self::make_service) call it. Any other server needs it
    /// [beside it](crate::guide::serve_yourself), for example as `tokio::spawn(campanile.run(shutdown))`. A service that
    /// handles requests without it logs a warning, and `/health/detailed` shows it.
    ///
    /// The background work is:
    ///
    /// - the health checks,
    /// - the alert rules, the notifications and the writes to the store,
    /// - the collectors of business metrics,
    /// - every 10 s the metrics of the process, the system and the current tokio runtime. A thread, `campanile-system`,
    ///   reads the process and the system.
    ///
    /// Each part is a task, so a part that panics or blocks stops no other. A part that panicked starts again after 5 s,
    /// and `campanile_background_panics_total{part}` counts it. Dropping the future aborts all parts.
    ///
    /// Only one `run` of a handle works at a time. A second one waits until the first ends.
    pub fn run<F: Future<Output = ()>>(&self, shutdown: F) -> impl Future<Output = ()> + use<F> {
        let (this, run) = (self.clone(), self.0.runs.enter());
        async move {
            let _run = run;
            this.run_within(shutdown, LastWork::default()).await;
        }
    }

    pub(crate) async fn run_within(&self, shutdown: impl Future<Output = ()>, last: LastWork) {
        let _run = self.0.runs.enter();
        self.0.runs.begin();
        let (stopping, stopped) = watch::channel(false);
        let work = async {
            #[cfg_attr(not(feature = "health"), expect(unused_mut, reason = "there are none"))]
            let mut checks = self.parts(&stopped);
            #[cfg(feature = "health")]
            checks.start("health", self.part(|this, stop| this.health.run(stop)));
            let others = async { self.others(&stopped).join().await };
            tokio::join!(
                checks.join(),
                self.0.runs.take_turns(others, stop(stopped.clone()))
            );
        };
        let mut work = pin!(work);
        let mut shutdown = pin!(shutdown);
        tokio::select! {
            // The work completes first only if the runtime shuts down.
            () = work.as_mut() => return shutdown.await,
            () = shutdown.as_mut() => {}
        }
        stopping.send_replace(true);
        if timeout(last.work, work).await.is_err() {
            tracing::error!(limit = ?last.work, "background work did not end in time");
        }
        #[cfg(feature = "telemetry")]
        if let Some(telemetry) = self.0.telemetry.clone() {
            let flushed = move || telemetry.flush(last.export);
            // A runtime that shuts down has no threads. Then dropping the log flushes it.
            let _ = tokio::task::spawn_blocking(flushed).await;
        }
    }
}

impl Campanile {
    fn parts(&self, stopped: &watch::Receiver<bool>) -> supervise::Parts {
        supervise::Parts::new(
            stopped,
            #[cfg(feature = "metrics")]
            &self.0.registry,
        )
    }

    /// Starts the parts that only one run of the handle runs.
    fn others(&self, stopped: &watch::Receiver<bool>) -> supervise::Parts {
        #[cfg_attr(
            not(feature = "metrics"),
            expect(unused_mut, reason = "there are none")
        )]
        let mut parts = self.parts(stopped);
        #[cfg(all(feature = "health", feature = "metrics"))]
        parts.start(
            "health_metrics",
            self.part(|this, stop| async move {
                let first = this
                    .transitions
                    .lock()
                    .ok()
                    .and_then(|mut first| first.take());
                let transitions = first.unwrap_or_else(|| this.health.transitions());
                let counted =
                    crate::health_metrics::watch(&this.registry, &this.health, transitions);
                tokio::select! {
                    () = stop => {}
                    () = this.background.metered(counted) => {}
                }
            }),
        );
        #[cfg(feature = "metrics")]
        parts.start(
            "system",
            self.part(|this, stop| async move { this.background.run(stop).await }),
        );
        #[cfg(feature = "monitor")]
        parts.start(
            "monitor",
            self.part(|this, stop| async move {
                this.background.metered(this.monitor.run(stop)).await;
            }),
        );
        #[cfg(feature = "monitor")]
        parts.start(
            "business",
            self.part(|this, stop| async move { this.business.run(stop).await }),
        );
        parts
    }

    #[cfg(any(feature = "health", feature = "metrics"))]
    fn part<F, W>(&self, work: W) -> impl Fn(supervise::BoxFuture) -> F + Send + 'static
    where
        W: Fn(Arc<Parts>, supervise::BoxFuture) -> F + Send + 'static,
    {
        let parts = Arc::clone(&self.0);
        move |stop| work(Arc::clone(&parts), stop)
    }
}

impl fmt::Debug for Campanile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Campanile")
            .field("name", &self.0.name)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "metrics")]
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn running_sweeps_idle_series_out_and_reads_the_process() {
        let registry = Registry::builder()
            .idle_timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        let campanile = Campanile::builder("test").registry(registry.clone());
        let campanile = campanile.build().unwrap();
        registry.gauge("idle", &[("k", "v")]).unwrap();
        let running = tokio::spawn({
            let campanile = campanile.clone();
            async move { campanile.run(std::future::pending()).await }
        });
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert!(registry.family_snapshot("idle").is_some());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(registry.family_snapshot("idle").is_none());
        let is_linux = cfg!(target_os = "linux");
        // What is on another thread does not go by this test's clock.
        for _ in 0..10_000 {
            if !is_linux || registry.family_snapshot("cpu_available_cores").is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let page = registry.render();
        for name in [
            "process_open_fds ",
            "cpu_available_cores ",
            "disk_usage_bytes{",
        ] {
            assert_eq!(page.contains(&format!("\n{name}")), is_linux, "{page}");
        }
        assert!(page.contains("\ntokio_workers 1\n"), "{page}");
        assert!(
            page.contains("\ncampanile_cpu_seconds_total{part=\"background\"} "),
            "{page}"
        );
        running.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn running_does_the_upkeep_of_an_exporter_every_five_seconds() {
        use std::sync::atomic::{AtomicUsize, Ordering};

        struct Counted(Arc<AtomicUsize>);

        impl campanile_metrics::export::Source for Counted {
            fn write(&self, _: &mut dyn std::io::Write) -> std::io::Result<()> {
                Ok(())
            }

            fn upkeep(&self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }

        let upkeeps = Arc::new(AtomicUsize::new(0));
        let registry = Registry::builder().beside(Counted(Arc::clone(&upkeeps)));
        let campanile = Campanile::builder("test").registry(registry.build().unwrap());
        let campanile = campanile.build().unwrap();
        campanile
            .run(tokio::time::sleep(Duration::from_millis(14_999)))
            .await;
        assert_eq!(upkeeps.load(Ordering::Relaxed), 3);
    }
}
