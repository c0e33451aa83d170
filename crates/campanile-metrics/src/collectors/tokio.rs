use std::time::Duration;

use tokio::runtime::{Handle, RuntimeMetrics};

use crate::{Counter, Gauge, Histogram, Kind, RegisterError, Registry, TimeCounter};

/// Metrics of a tokio runtime.
///
/// | metric | kind | meaning |
/// |---|---|---|
/// | `tokio_workers` | gauge | worker threads; 1 for a current-thread runtime |
/// | `tokio_alive_tasks` | gauge | tasks that have not ended |
/// | `tokio_global_queue_depth` | gauge | tasks in the queue that all workers share |
/// | `tokio_worker_busy_seconds_total` | counter | time in which workers ran tasks, summed over the workers |
/// | `tokio_worker_parks_total` | counter | number of times that workers parked, mostly because they were idle, summed over the workers |
/// | `tokio_scheduling_lag_seconds` | histogram | delay until the runtime polled a task that was ready |
///
/// ```
/// use campanile_metrics::collectors::TokioMetrics;
/// use campanile_metrics::Registry;
/// use tokio::runtime::Handle;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), campanile_metrics::RegisterError> {
/// let registry = Registry::new();
/// let runtime = TokioMetrics::register(&registry, &Handle::current())?;
/// assert!(registry.render().contains("tokio_workers 1\n"));
///
/// tokio::spawn(runtime.watch());
/// # Ok(())
/// # }
/// ```
///
/// [`collect`](Self::collect) reads all but the last from the counters of the runtime, without
/// `tokio_unstable`. The lag has samples only while [`watch`](Self::watch) runs. A worker reports
/// its busy time between tasks, so the time of a long task is reported late.
///
/// Use one runtime per registry. A second one would write to the same series.
#[derive(Clone, Debug)]
pub struct TokioMetrics {
    metrics: RuntimeMetrics,
    workers: Gauge,
    alive_tasks: Gauge,
    global_queue_depth: Gauge,
    busy: TimeCounter,
    parks: Counter,
    lag: Histogram,
}

impl TokioMetrics {
    /// Registers the metrics of a runtime and collects them once.
    ///
    /// # Errors
    ///
    /// If one of the names belongs to another metric. Then no metric is registered.
    pub fn register(registry: &Registry, runtime: &Handle) -> Result<Self, RegisterError> {
        registry.check_names(&[
            ("tokio_workers", Kind::Gauge),
            ("tokio_alive_tasks", Kind::Gauge),
            ("tokio_global_queue_depth", Kind::Gauge),
            ("tokio_worker_busy_seconds_total", Kind::TimeCounter),
            ("tokio_worker_parks_total", Kind::Counter),
            ("tokio_scheduling_lag_seconds", Kind::Histogram),
        ])?;
        let described = |name, help| {
            registry.describe(name, help);
            name
        };
        let gauge = |name, help| registry.gauge(described(name, help), &[]);
        let runtime = Self {
            metrics: runtime.metrics(),
            workers: gauge("tokio_workers", "Worker threads.")?,
            alive_tasks: gauge("tokio_alive_tasks", "Tasks that have not ended.")?,
            global_queue_depth: gauge(
                "tokio_global_queue_depth",
                "Tasks in the queue that all workers share.",
            )?,
            busy: registry.time_counter(
                described(
                    "tokio_worker_busy_seconds_total",
                    "Time in which workers ran tasks, in seconds.",
                ),
                &[],
            )?,
            parks: registry.counter(
                described("tokio_worker_parks_total", "Times that workers parked."),
                &[],
            )?,
            lag: registry.histogram(
                described(
                    "tokio_scheduling_lag_seconds",
                    "Delay until the runtime polls a task that is ready, in seconds.",
                ),
                &[],
            )?,
        };
        runtime.collect();
        Ok(runtime)
    }

    /// Reads the counters of the runtime.
    pub fn collect(&self) {
        let workers = self.metrics.num_workers();
        self.workers.set(workers as f64);
        self.alive_tasks.set(self.metrics.num_alive_tasks() as f64);
        self.global_queue_depth
            .set(self.metrics.global_queue_depth() as f64);
        // These require 64-bit atomics, as the registry does.
        let busy = (0..workers).map(|worker| self.metrics.worker_total_busy_duration(worker));
        self.busy
            .absolute(busy.fold(Duration::ZERO, Duration::saturating_add));
        let parks = (0..workers).map(|worker| self.metrics.worker_park_count(worker));
        self.parks.absolute(parks.fold(0, u64::wrapping_add));
    }

    /// Returns a future that measures the scheduling lag every 500 ms and never completes. Spawn it
    /// on the runtime.
    ///
    /// It sleeps until a deadline and records how much later it is polled. A delay up to 1 ms, the
    /// resolution of tokio's timers, is recorded as 0. `tokio_scheduling_lag_seconds` shows the
    /// delay of any task that became ready at that time: because of tasks before it in the queue,
    /// and tasks that block their thread.
    ///
    /// If a runtime is stuck, there are no samples until it continues, and then one. A task that
    /// blocks for less than 500 ms may fall between two deadlines.
    ///
    /// # Panics
    ///
    /// The future panics outside of a tokio runtime, or in a runtime without timers.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + use<> {
        let metrics = self.clone();
        async move {
            loop {
                metrics.sample(INTERVAL).await;
            }
        }
    }

    async fn sample(&self, after: Duration) {
        let sleep = tokio::time::sleep(after);
        let deadline = sleep.deadline();
        sleep.await;
        let late = deadline.elapsed().saturating_sub(GRANULARITY);
        self.lag.record_duration(late);
    }
}

/// The time between two deadlines.
const INTERVAL: Duration = Duration::from_millis(500);

/// The delay of a timer that is within its resolution.
const GRANULARITY: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    fn here() -> (Registry, TokioMetrics) {
        let registry = Registry::new();
        let runtime = TokioMetrics::register(&registry, &Handle::current()).unwrap();
        (registry, runtime)
    }

    #[tokio::test]
    async fn if_a_name_is_taken_no_metric_is_there() {
        let registry = Registry::new();
        let _own = registry.gauge("tokio_scheduling_lag_seconds", &[]).unwrap();
        let before = registry.render();
        assert!(TokioMetrics::register(&registry, &Handle::current()).is_err());
        assert_eq!(registry.render(), before);
    }

    #[tokio::test]
    async fn the_figures_are_the_runtimes() {
        let (registry, runtime) = here();
        let tasks: Vec<_> = (0..3)
            .map(|_| tokio::spawn(std::future::pending::<()>()))
            .collect();
        runtime.collect();
        let gauge = |name| match registry.get(name, &[]) {
            Some(Value::Gauge(value)) => value,
            other => panic!("{name} is {other:?}"),
        };
        assert_eq!(gauge("tokio_workers"), 1.0);
        assert_eq!(gauge("tokio_alive_tasks"), 3.0);
        // Tasks of this thread are in its local queue.
        assert_eq!(gauge("tokio_global_queue_depth"), 0.0);
        for task in tasks {
            task.abort();
        }
        let deadline = crate::clock::now() + Duration::from_secs(10);
        while runtime.parks.value() == 0 || runtime.busy.value().is_zero() {
            assert!(crate::clock::now() < deadline, "{runtime:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
            runtime.collect();
        }
        runtime.collect();
        assert_eq!(runtime.alive_tasks.value(), 0.0);
        assert!(runtime.busy.value() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn a_task_that_blocks_is_a_lag() {
        let (_registry, runtime) = here();
        let block = async {
            // The timer was set before this is polled, and is due meanwhile.
            std::thread::sleep(Duration::from_millis(60));
        };
        tokio::join!(biased; runtime.sample(Duration::from_millis(10)), block);
        let lag = runtime.lag.value();
        assert_eq!(lag.count, 1);
        assert!(lag.sum >= 0.049, "{lag:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_samples_twice_a_second_and_a_free_runtime_has_no_lag() {
        let (_registry, runtime) = here();
        let watch = tokio::time::timeout(Duration::from_millis(5_300), runtime.watch());
        assert!(watch.await.is_err());
        let lag = runtime.lag.value();
        assert_eq!((lag.count, lag.sum), (10, 0.0));
        // The timer fires at the next whole millisecond.
        runtime.sample(Duration::from_micros(10_300)).await;
        let lag = runtime.lag.value();
        assert_eq!((lag.count, lag.sum), (11, 0.0));
    }

    #[tokio::test]
    async fn a_name_that_is_taken_is_an_error() {
        let registry = Registry::new();
        registry.counter("tokio_workers_total", &[]).unwrap();
        assert!(TokioMetrics::register(&registry, &Handle::current()).is_err());
    }

    #[test]
    fn it_can_be_shared_and_watched_by_any_thread() {
        fn check<T: Send + Sync>(_: fn(&T)) {}
        fn is_send<T: Send>(value: T) -> T {
            value
        }
        check::<TokioMetrics>(|runtime| drop(is_send(runtime.watch())));
    }
}
