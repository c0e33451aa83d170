use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use crate::clock::now;
use crate::{Gauge, Histogram};

impl Histogram {
    /// Starts a timer. It records its duration when it is stopped or dropped, also on an early
    /// return, a panic or a cancellation.
    ///
    /// ```
    /// use campanile_metrics::Registry;
    ///
    /// let registry = Registry::new();
    /// let times = registry.histogram("parse_seconds", &[])?;
    /// let timer = times.start();
    /// assert!("7".parse::<u8>().is_ok());
    /// let took = timer.stop();
    /// assert_eq!(times.value().sum, took.as_secs_f64());
    /// # Ok::<_, campanile_metrics::RegisterError>(())
    /// ```
    pub fn start(&self) -> Timer {
        Timer {
            histogram: Some(self.clone()),
            begun: now(),
        }
    }
}

/// A running timer; from [`Histogram::start`].
#[derive(Debug)]
#[must_use = "a timer that is dropped at once has timed nothing"]
pub struct Timer {
    /// `None` after it was recorded or discarded.
    histogram: Option<Histogram>,
    begun: Instant,
}

impl Timer {
    /// Records the duration and returns it.
    pub fn stop(mut self) -> Duration {
        self.record()
    }

    /// Returns the duration so far.
    pub fn elapsed(&self) -> Duration {
        now().saturating_duration_since(self.begun)
    }

    /// Stops the timer without recording.
    pub fn discard(mut self) {
        self.histogram = None;
    }

    fn record(&mut self) -> Duration {
        let elapsed = self.elapsed();
        if let Some(histogram) = self.histogram.take() {
            histogram.record_duration(elapsed);
        }
        elapsed
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if self.histogram.is_some() {
            self.record();
        }
    }
}

/// Measures the duration of futures.
pub trait Timed: Future + Sized {
    /// Records the duration of the future, from its first poll until it completes or is dropped. A
    /// future that is never polled records nothing.
    ///
    /// ```
    /// use campanile_metrics::{Registry, Timed};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::new();
    /// let times = registry.histogram("charge_seconds", &[])?;
    /// let receipt = async { "paid" }.timed(&times).await;
    /// assert_eq!((receipt, times.value().count), ("paid", 1));
    /// # Ok(())
    /// # }
    /// ```
    fn timed(self, histogram: &Histogram) -> TimedFuture<'_, Self> {
        TimedFuture {
            inner: self,
            histogram,
            begun: None,
            is_done: false,
        }
    }
}

impl<F: Future> Timed for F {}

pin_project! {
    /// A future whose duration is recorded; from [`Timed::timed`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct TimedFuture<'a, F> {
        #[pin]
        inner: F,
        histogram: &'a Histogram,
        begun: Option<Instant>,
        is_done: bool,
    }

    impl<F> PinnedDrop for TimedFuture<'_, F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let (Some(begun), false) = (*this.begun, *this.is_done) {
                this.histogram.record_duration(now().saturating_duration_since(begun));
            }
        }
    }
}

impl<F: Future> Future for TimedFuture<'_, F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let begun = *this.begun.get_or_insert_with(now);
        let output = ready!(this.inner.poll(cx));
        *this.is_done = true;
        this.histogram
            .record_duration(now().saturating_duration_since(begun));
        Poll::Ready(output)
    }
}

impl Gauge {
    /// Adds 1 until the returned guard is dropped, also on an early return, a panic or a
    /// cancellation.
    ///
    /// ```
    /// use campanile_metrics::Registry;
    ///
    /// let registry = Registry::new();
    /// let jobs = registry.gauge("jobs_in_flight", &[])?;
    /// let job = jobs.in_flight();
    /// assert_eq!(jobs.value(), 1.0);
    /// drop(job);
    /// assert_eq!(jobs.value(), 0.0);
    /// # Ok::<_, campanile_metrics::RegisterError>(())
    /// ```
    pub fn in_flight(&self) -> InFlight {
        self.increment(1.0);
        InFlight(self.clone())
    }
}

/// A guard that counts 1 in a gauge; from [`Gauge::in_flight`].
#[derive(Debug)]
#[must_use = "what is dropped at once was never in flight"]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;

    fn times() -> Histogram {
        Registry::new().histogram("t", &[]).unwrap()
    }

    #[test]
    fn a_timer_records_once_however_it_ends() {
        let times = times();
        let took = times.start().stop();
        drop(times.start());
        times.start().discard();
        let panicked = std::panic::catch_unwind(|| {
            let _timer = times.start();
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        assert_eq!(times.value().count, 3);
        assert!(times.value().sum >= took.as_secs_f64());
    }

    #[test]
    fn a_future_is_timed_from_its_first_poll_until_its_end_or_drop() {
        let times = times();
        let mut context = Context::from_waker(std::task::Waker::noop());
        drop(async {}.timed(&times));
        assert_eq!(times.value().count, 0);
        let mut cancelled = Box::pin(std::future::pending::<()>().timed(&times));
        assert!(cancelled.as_mut().poll(&mut context).is_pending());
        assert_eq!(times.value().count, 0);
        drop(cancelled);
        assert_eq!(times.value().count, 1);
        let mut completed = Box::pin(async { 7 }.timed(&times));
        assert_eq!(completed.as_mut().poll(&mut context), Poll::Ready(7));
        assert_eq!(times.value().count, 2);
        drop(completed);
        assert_eq!(times.value().count, 2);
    }

    #[tokio::test]
    async fn what_is_in_flight_comes_down_when_it_is_cancelled() {
        let gauge = Registry::new().gauge("g", &[]).unwrap();
        let job = {
            let gauge = gauge.clone();
            tokio::spawn(async move {
                let _job = gauge.in_flight();
                std::future::pending::<()>().await;
            })
        };
        while gauge.value() != 1.0 {
            tokio::task::yield_now().await;
        }
        job.abort();
        assert!(job.await.unwrap_err().is_cancelled());
        assert_eq!(gauge.value(), 0.0);
    }
}
