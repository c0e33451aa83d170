use std::fmt;
use std::future::Future;
use std::sync::Arc;

#[cfg(feature = "health")]
use campanile_health::Health;
#[cfg(feature = "monitor")]
use campanile_metrics::Business;
#[cfg(feature = "metrics")]
use campanile_metrics::Registry;
#[cfg(feature = "monitor")]
use campanile_monitor::Monitor;
#[cfg(feature = "sla")]
use campanile_sla::Sla;
#[cfg(feature = "telemetry")]
use campanile_telemetry::Telemetry;
use tokio::net::TcpListener;
use tokio::sync::watch;

#[cfg(feature = "metrics")]
use crate::background::Background;
use crate::runs::Runs;
use crate::{Builder, CampanileLayer, Serve};

/// A service's observability: what the builder made, to be wired into the service.
///
/// A clone is the same campanile (an `Arc`).
#[derive(Clone)]
pub struct Campanile(Arc<Parts>);

/// What a builder makes.
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) layer: CampanileLayer,
    pub(crate) runs: Arc<Runs>,
    #[cfg(feature = "health")]
    pub(crate) health: Health,
    #[cfg(feature = "metrics")]
    pub(crate) background: Background,
    #[cfg(feature = "monitor")]
    pub(crate) business: Business,
    #[cfg(feature = "metrics")]
    pub(crate) registry: Registry,
    #[cfg(feature = "monitor")]
    pub(crate) monitor: Monitor,
    #[cfg(feature = "sla")]
    pub(crate) sla: Sla,
    #[cfg(feature = "telemetry")]
    pub(crate) telemetry: Option<Telemetry>,
    /// What keeps the log that is the process's.
    #[cfg(all(feature = "metrics", feature = "telemetry"))]
    pub(crate) log: crate::layer::LogGuard,
}

impl Campanile {
    /// Returns a builder for the service with this name: 1 to 255 characters, none of them a control character.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Returns the service's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the registry, to add metrics of the service's own and to read values back.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn metrics(&self) -> &Registry {
        &self.0.registry
    }

    /// Returns the health: what the checks found, and the probes' answers.
    #[cfg(feature = "health")]
    #[cfg_attr(docsrs, doc(cfg(feature = "health")))]
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// Returns the service levels: what was counted, and how the objectives stand.
    #[cfg(feature = "sla")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sla")))]
    pub fn sla(&self) -> &Sla {
        &self.0.sla
    }

    /// Returns what tells how an objective stood at the last tick, without a lock: to shed load, to hold a rollout, to bound retries.
    ///
    /// # Errors
    ///
    /// If there is none of this name.
    #[cfg(feature = "sla")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sla")))]
    pub fn slo(
        &self,
        name: &str,
    ) -> Result<campanile_sla::SloHandle, campanile_sla::UnknownObjective> {
        self.0.sla.slo(name)
    }

    /// Returns the monitor: the alerts, the store, and the answers of all routes.
    #[cfg(feature = "monitor")]
    #[cfg_attr(docsrs, doc(cfg(feature = "monitor")))]
    pub fn monitor(&self) -> &Monitor {
        &self.0.monitor
    }

    /// Returns the figures of the business, as they were collected last.
    #[cfg(feature = "monitor")]
    #[cfg_attr(docsrs, doc(cfg(feature = "monitor")))]
    pub fn business(&self) -> &Business {
        &self.0.business
    }

    /// Returns the telemetry, whose layer writes the log; `None` if it was neither [set](Builder::telemetry) nor installed.
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

    /// Returns the layer for a tower stack: correlation id outermost, then what observes.
    ///
    /// An axum router is better [wrapped](Self::wrap).
    pub fn layer(&self) -> CampanileLayer {
        self.0.layer.clone()
    }

    /// Serves an axum router, or any other tower service, on a listener, until SIGTERM or SIGINT comes; see [`Serve`] for
    /// its limits.
    ///
    /// ```no_run
    /// # use axum::Router;
    /// # use campanile::Campanile;
    /// # async fn serve(campanile: Campanile, app: Router) -> std::io::Result<()> {
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    /// campanile.serve(listener, campanile.wrap(app)).await
    /// # }
    /// ```
    pub fn serve<S>(&self, listener: TcpListener, app: S) -> Serve<S> {
        Serve::new(self.clone(), listener, app)
    }

    /// Runs all background work until `shutdown` completes, and then for at most 5 s more to send the last notifications and
    /// write the last counts. [`serve`](Self::serve) calls it; another server needs it
    /// [beside it](crate::guide::serve_yourself).
    ///
    /// One run of a handle works at a time: a second one, and so a second server, takes over when the first ends.
    ///
    /// It is the health checks, the rules, the notices, what is written to the store, the collectors of business figures, and every 10 s
    /// the metrics of the process, the system, and the runtime that this is called in. The system is read on a thread of its own,
    /// `campanile-system`.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        self.0.runs.begin();
        let (running, stopped) = watch::channel(());
        let stop = || {
            let mut stopped = stopped.clone();
            // It changes only by being closed.
            async move { while stopped.changed().await.is_ok() {} }
        };
        #[cfg(feature = "health")]
        let checks = self.0.health.run(stop());
        #[cfg(not(feature = "health"))]
        let checks = stop();
        #[cfg(all(feature = "health", feature = "metrics"))]
        let transitions = async {
            let counted = crate::health_metrics::watch(&self.0.registry, &self.0.health);
            tokio::select! {
                () = stop() => {}
                () = self.0.background.metered(counted) => {}
            }
        };
        #[cfg(not(all(feature = "health", feature = "metrics")))]
        let transitions = stop();
        #[cfg(feature = "monitor")]
        let monitor = self.0.background.metered(self.0.monitor.run(stop()));
        #[cfg(not(feature = "monitor"))]
        let monitor = stop();
        #[cfg(feature = "metrics")]
        let background = self.0.background.run(stop());
        #[cfg(not(feature = "metrics"))]
        let background = stop();
        #[cfg(feature = "monitor")]
        let business = self.0.business.run(stop());
        #[cfg(not(feature = "monitor"))]
        let business = stop();
        let shutdown = async {
            shutdown.await;
            drop(running);
        };
        let work = async { tokio::join!(transitions, monitor, background, business) };
        tokio::join!(shutdown, checks, self.0.runs.take_turns(work, stop()));
        #[cfg(feature = "telemetry")]
        if let Some(telemetry) = self.0.telemetry.clone() {
            let flushed = move || telemetry.flush(LAST_EXPORT);
            // A runtime that ends has no threads any more: then it is done when the log ends.
            let _ = tokio::task::spawn_blocking(flushed).await;
        }
    }
}

/// How long the last lines and exports may take; when the guard is dropped there are 3 s more.
#[cfg(feature = "telemetry")]
const LAST_EXPORT: std::time::Duration = std::time::Duration::from_secs(2);

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
        assert!(registry.family("idle").is_some());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(registry.family("idle").is_none());
        let is_linux = cfg!(target_os = "linux");
        // What is on another thread does not go by this test's clock.
        for _ in 0..10_000 {
            if !is_linux || registry.family("cpu_available_cores").is_some() {
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
}
