use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use campanile_metrics::{Metered, Overhead, Process, Registry, Runtime, System};
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};

/// The metrics that nobody records: they are read from the system.
///
/// A host that has one of their names for something else keeps it, and goes without the others that belong to it.
#[derive(Debug)]
pub(crate) struct Background {
    registry: Registry,
    process: Option<Process>,
    system: Option<System>,
    overhead: Overhead,
}

/// How far two readings are apart.
const EVERY: Duration = Duration::from_secs(10);

impl Background {
    /// Registers and reads the metrics, with the disks of these paths.
    pub(crate) fn new(registry: &Registry, overhead: &Overhead, disks: &[String]) -> Self {
        let disks: Vec<_> = disks.iter().map(String::as_str).collect();
        Self {
            registry: registry.clone(),
            process: Process::new(registry).ok(),
            system: System::with_disks(registry, &disks).ok(),
            overhead: overhead.clone(),
        }
    }

    /// Returns the future, whose time on processors is counted as ours.
    pub(crate) fn metered<F: Future>(&self, future: F) -> Metered<F> {
        self.overhead.meter(future)
    }

    /// Keeps the metrics up to date, and sweeps idle series out, until `stop` completes.
    pub(crate) async fn run(&self, stop: impl Future<Output = ()>) {
        let runtime = Runtime::new(&self.registry, &Handle::current()).ok();
        let lag = async {
            match &runtime {
                Some(runtime) => runtime.watch().await,
                None => std::future::pending().await,
            }
        };
        let collect = async {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let now = ticks.tick().await;
                self.registry.sweep(now.into_std());
                self.registry.refresh(now.into_std());
                if let Some(process) = &self.process {
                    process.collect();
                }
                if let Some(system) = &self.system {
                    system.collect();
                }
                if let Some(runtime) = &runtime {
                    runtime.collect();
                }
                self.overhead.collect();
            }
        };
        let work = async { tokio::join!(lag, self.metered(collect)) };
        tokio::select! {
            _ = pin!(work) => {}
            () = pin!(stop) => {}
        }
    }
}
