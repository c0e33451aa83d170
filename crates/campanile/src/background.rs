use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use campanile_metrics::collectors::{
    Metered, OverheadMetrics, ProcessMetrics, SystemMetrics, TokioMetrics,
};
use campanile_metrics::{RegisterError, Registry};
#[cfg(feature = "telemetry")]
use campanile_telemetry::Telemetry;
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};

/// The metrics that are read from the process, the system and the runtime.
///
/// If the application uses one of their names for another metric, its metric stays. The group of
/// metrics is then missing, and a warning is logged.
#[derive(Debug)]
pub(crate) struct Background {
    registry: Registry,
    process: Option<ProcessMetrics>,
    disks: Arc<[String]>,
    overhead: OverheadMetrics,
    #[cfg(feature = "telemetry")]
    telemetry: Option<Telemetry>,
}

/// How far two readings are apart.
const EVERY: Duration = Duration::from_secs(10);

/// How far two upkeeps of another exporter are apart.
const UPKEEP: Duration = Duration::from_secs(5);

impl Background {
    pub(crate) fn new(
        registry: &Registry,
        overhead: &OverheadMetrics,
        disks: Vec<String>,
        #[cfg(feature = "telemetry")] telemetry: Option<Telemetry>,
    ) -> Self {
        Self {
            registry: registry.clone(),
            process: registered("process", ProcessMetrics::register(registry)),
            disks: disks.into(),
            overhead: overhead.clone(),
            #[cfg(feature = "telemetry")]
            telemetry,
        }
    }

    /// Starts the thread `campanile-system`, which reads the process and the system once for each
    /// message, and ends when the sender is dropped. Many file descriptors, or a disk that does not
    /// respond, block no worker of the runtime.
    fn read_system(&self) -> SyncSender<()> {
        let (ask, asked) = sync_channel(1);
        let (registry, overhead) = (self.registry.clone(), self.overhead.clone());
        let disks = Arc::clone(&self.disks);
        let process = self.process.clone();
        let thread = std::thread::Builder::new().name("campanile-system".to_owned());
        let started = thread.spawn(move || {
            let disks: Vec<_> = disks.iter().map(String::as_str).collect();
            let register = || SystemMetrics::register_with_disks(&registry, &disks);
            let system = registered("system", overhead.measure(register));
            while asked.recv().is_ok() {
                overhead.measure(|| {
                    process.iter().for_each(ProcessMetrics::collect);
                    system.iter().for_each(SystemMetrics::collect);
                });
            }
        });
        if let Err(error) = started {
            tracing::warn!(%error, "failed to start the thread that reads the process and the system: their metrics are missing or stand still");
        }
        ask
    }

    /// Returns the future, whose time on processors is counted as ours.
    pub(crate) fn metered<F: Future>(&self, future: F) -> Metered<F> {
        self.overhead.meter(future)
    }

    /// Runs the upkeep of the exporter beside the registry, if there is one, for ever.
    async fn upkeep(&self) {
        if !self.registry.needs_upkeep() {
            return;
        }
        let mut ticks = interval(UPKEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let registry = self.registry.clone();
            let overhead = self.overhead.clone();
            // It aggregates all that was recorded since the last time.
            let upkeep = move || overhead.measure(|| registry.upkeep());
            let _ = tokio::task::spawn_blocking(upkeep).await;
        }
    }

    /// Keeps the metrics up to date, and sweeps idle series out, until `stop` completes.
    pub(crate) async fn run(&self, stop: impl Future<Output = ()>) {
        let runtime = TokioMetrics::register(&self.registry, &Handle::current());
        let runtime = registered("runtime", runtime);
        let lag = async {
            match &runtime {
                Some(runtime) => runtime.watch().await,
                None => std::future::pending().await,
            }
        };
        let system = self.read_system();
        let collect = async {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let now = ticks.tick().await;
                self.registry.sweep(now.into_std());
                self.registry.refresh(now.into_std());
                // It is still at the last one if there is no room.
                let _ = system.try_send(());
                if let Some(runtime) = &runtime {
                    runtime.collect();
                }
                #[cfg(feature = "telemetry")]
                if let Some(telemetry) = &self.telemetry {
                    crate::exports::count(&self.registry, telemetry);
                }
                self.overhead.collect();
            }
        };
        let work = async { tokio::join!(lag, self.metered(collect), self.upkeep()) };
        tokio::select! {
            _ = pin!(work) => {}
            () = pin!(stop) => {}
        }
    }
}
/// Returns a group of metrics, or logs why it is missing.
fn registered<T>(group: &str, metrics: Result<T, RegisterError>) -> Option<T> {
    metrics
        .inspect_err(|error| tracing::warn!(%error, group, "failed to register metrics"))
        .ok()
}
