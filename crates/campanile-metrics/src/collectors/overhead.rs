use std::cell::Cell;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::metric::Metric;
use crate::{Gauge, Kind, RegisterError, Registry, TimeCounter, clock};

/// The CPU time that observing costs the process.
///
/// | metric | kind | meaning |
/// |---|---|---|
/// | `campanile_cpu_seconds_total{part="background"}` | counter | CPU time of [metered](Self::meter) futures and [measured](Self::measure) code |
/// | `campanile_cpu_seconds_total{part="exchanges"}` | counter | estimated time of [sampled](Self::sample) code: the time of one section in 257, times 257 |
/// | `campanile_cpu_seconds_total{part="scrapes"}` | counter | CPU time in which scrape responses of this registry were encoded and compressed |
/// | `campanile_cpu_ratio` | gauge | share of these in the CPU time of the process, since the previous [collection](Self::collect) |
///
/// ```
/// use campanile_metrics::collectors::OverheadMetrics;
/// use campanile_metrics::Registry;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), campanile_metrics::RegisterError> {
/// let registry = Registry::new();
/// let overhead = OverheadMetrics::register(&registry)?;
/// overhead.meter(async { registry.snapshot() }).await;
/// assert!(overhead.sample(|| 7) == 7);
/// overhead.collect();
/// # Ok(())
/// # }
/// ```
///
/// Only metered, measured or sampled code is included. Of Campanile these are the observers of
/// requests, scrapes, and the collection of metrics, the service levels and the rules of
/// `Campanile::run`. Not included are the threads of the log, the export and the store, correlation
/// ids, `#[observe]`, health checks and business collectors.
///
/// Only Linux reports CPU time. Other systems have the part `exchanges` only. Sampled code is timed
/// by the wall clock. A section that takes more than 20 µs was interrupted, and counts as 20 µs.
///
/// A clone shares the state (an `Arc`).
#[derive(Clone, Debug)]
pub struct OverheadMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    background: TimeCounter,
    exchanges: TimeCounter,
    scrapes: TimeCounter,
    last: Mutex<Last>,
}

/// The values at the previous collection.
#[derive(Debug, Default)]
struct Last {
    own: Duration,
    process: Option<Duration>,
    /// `None` until there is a ratio.
    ratio: Option<Gauge>,
}

const CPU: &str = "campanile_cpu_seconds_total";
const RATIO: &str = "campanile_cpu_ratio";

/// One of this number of code sections is timed. It is odd, because each request has two sections.
const SAMPLED: u32 = 257;

/// The maximum time that is counted for a section. A longer one was interrupted.
const MAX_TIME: Duration = Duration::from_micros(20);

impl OverheadMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    ///
    /// If one of the names belongs to another metric, or the registry has its maximum number of
    /// series. Then no metric is registered.
    pub fn register(registry: &Registry) -> Result<Self, RegisterError> {
        registry.check_names(&[(CPU, Kind::TimeCounter), (RATIO, Kind::Gauge)])?;
        registry.describe(CPU, "CPU time of observing, in seconds.");
        registry.describe(RATIO, "Share of observing in the CPU time of the process.");
        let has_cpu_time = clock::of_thread().is_some();
        let part = |part, is_measured: bool| {
            // A part that can't be measured would be 0 in the registry.
            match is_measured {
                true => registry.time_counter(CPU, &[("part", part)]),
                false => Ok(TimeCounter::detached(registry)),
            }
        };
        Ok(Self(Arc::new(Inner {
            background: part("background", has_cpu_time)?,
            exchanges: part("exchanges", true)?,
            scrapes: part("scrapes", has_cpu_time)?,
            registry: registry.clone(),
            last: Mutex::default(),
        })))
    }

    /// Returns a future whose CPU time is counted as `background`.
    pub fn meter<F: Future>(&self, future: F) -> Metered<F> {
        Metered {
            inner: future,
            counter: self.0.background.clone(),
        }
    }

    /// Runs code and counts its CPU time as `background`.
    pub fn measure<T>(&self, code: impl FnOnce() -> T) -> T {
        counted(&self.0.background, code)
    }

    /// Runs a section of code, and times one in 257 sections of each thread.
    #[inline]
    pub fn sample<T>(&self, code: impl FnOnce() -> T) -> T {
        thread_local! {
            static NUMBER: Cell<u32> = const { Cell::new(0) };
        }
        let number = NUMBER.get().wrapping_add(1);
        NUMBER.set(number);
        if number.is_multiple_of(SAMPLED) {
            self.timed(code)
        } else {
            code()
        }
    }

    #[cold]
    fn timed<T>(&self, code: impl FnOnce() -> T) -> T {
        let [first, started] = [clock::now(), clock::now()];
        let done = code();
        let elapsed = clock::now().saturating_duration_since(started);
        // Without the time of reading the clock.
        let elapsed = elapsed.saturating_sub(started.saturating_duration_since(first));
        let elapsed = elapsed.min(MAX_TIME);
        self.0.exchanges.increment(elapsed.saturating_mul(SAMPLED));
        done
    }

    /// Updates the counters and the ratio.
    pub fn collect(&self) {
        let Inner {
            registry,
            background,
            exchanges,
            scrapes,
            last,
        } = &*self.0;
        scrapes.absolute(registry.scrape_time());
        let own = [background, exchanges, scrapes].map(TimeCounter::value);
        let own = own
            .into_iter()
            .fold(Duration::ZERO, Duration::saturating_add);
        let process = clock::of_process();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |now: Duration, then| now.saturating_sub(then).as_secs_f64();
        if let Some((now, then)) = process.zip(last.process)
            && now > then
        {
            let ratio = (since(own, last.own) / since(now, then)).min(1.0);
            let gauge = last
                .ratio
                .take()
                .or_else(|| registry.gauge(RATIO, &[]).ok());
            if let Some(gauge) = &gauge {
                gauge.set(ratio);
            }
            last.ratio = gauge;
        }
        (last.own, last.process) = (own, process);
    }
}

pin_project! {
    /// A future whose CPU time is counted; from [`OverheadMetrics::meter`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Metered<F> {
        #[pin]
        inner: F,
        counter: TimeCounter,
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        counted(this.counter, || this.inner.poll(cx))
    }
}

/// Adds the CPU time of code to a counter.
fn counted<T>(counter: &TimeCounter, code: impl FnOnce() -> T) -> T {
    let before = clock::of_thread();
    let done = code();
    if let Some((before, after)) = before.zip(clock::of_thread()) {
        counter.increment(after.saturating_sub(before));
    }
    done
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::Value;

    /// Uses a processor for a while.
    fn work() {
        let used = || clock::of_thread().unwrap_or(Duration::MAX);
        let until = used().saturating_add(Duration::from_millis(5));
        while used() < until {
            std::hint::black_box((0..1_000_u64).fold(0, u64::wrapping_add));
        }
    }

    #[tokio::test]
    async fn what_is_used_is_counted_and_set_against_the_process() {
        let registry = Registry::new();
        let overhead = OverheadMetrics::register(&registry).unwrap();
        let ratio = || match registry.get(RATIO, &[]) {
            Some(Value::Gauge(ratio)) => Some(ratio),
            None => None,
            other => panic!("{other:?}"),
        };
        overhead.collect();
        assert_eq!(ratio(), None);
        overhead
            .meter(async {
                work();
                tokio::task::yield_now().await;
                work();
            })
            .await;
        let background = overhead.0.background.value();
        assert!(background >= Duration::from_millis(10), "{background:?}");
        work();
        overhead.collect();
        let ratio = ratio().unwrap();
        assert!(ratio > 0.0 && ratio < 1.0, "{ratio}");
    }

    #[test]
    fn one_piece_of_code_in_many_stands_for_all() {
        // The two sections of a request are both timed.
        for slow in [0, 1] {
            let overhead = OverheadMetrics::register(&Registry::new()).unwrap();
            for piece in 0..2 * SAMPLED {
                overhead.sample(|| {
                    if piece % 2 == slow {
                        std::hint::black_box((0..1_000_u64).fold(0, |sum, x| sum ^ (x * x)));
                    }
                });
            }
            let exchanges = overhead.0.exchanges.value();
            assert!(exchanges > Duration::from_nanos(u64::from(SAMPLED) * 100));
            assert!(exchanges <= 2 * SAMPLED * MAX_TIME);
        }
    }

    #[test]
    fn pages_are_counted() {
        let registry = Registry::new();
        let overhead = OverheadMetrics::register(&registry).unwrap();
        for number in 0..1_000 {
            let number = number.to_string();
            registry.counter("a_total", &[("k", &number)]).unwrap();
        }
        let (request, ()) = http::Request::new(()).into_parts();
        registry.respond(&request);
        overhead.collect();
        assert!(!overhead.0.scrapes.value().is_zero());
    }
}
