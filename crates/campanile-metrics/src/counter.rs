use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::CounterFn;

use crate::encode::Encoder;
use crate::kind::Kind;
use crate::series::Series;
use crate::snapshot::Value;
use crate::value::{MetricValue, debug_by_value};

/// A handle to a counter: an unsigned 64-bit integer that only increases. It wraps at its end,
/// which Prometheus treats as a reset.
///
/// A clone writes to the same series.
#[derive(Clone)]
pub struct Counter(pub(crate) Arc<Series<CounterValue>>);

impl Counter {
    /// Adds to the counter.
    #[inline]
    pub fn increment(&self, by: u64) {
        self.0.increment(by);
    }

    /// Raises the counter to a value that was counted elsewhere. A lower value changes nothing.
    ///
    /// In OpenMetrics the counter then has no `_created` line, because the count started at another
    /// time. The overflow series of a family does not change, because it sums several series.
    pub fn absolute(&self, value: u64) {
        CounterFn::absolute(&*self.0, value);
    }

    /// Returns the value of the counter.
    pub fn value(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }
}

/// A handle to a counter of time: whole nanoseconds, exposed as seconds, as in
/// `process_cpu_seconds_total`.
///
/// A clone writes to the same series.
#[derive(Clone)]
pub struct TimeCounter(pub(crate) Arc<Series<TimeCounterValue>>);

impl TimeCounter {
    /// Adds a duration.
    pub fn increment(&self, by: Duration) {
        let TimeCounterValue(nanoseconds) = &**self.0;
        nanoseconds.fetch_add(whole(by), Ordering::Relaxed);
    }

    /// Raises the counter to a duration that was counted elsewhere. A shorter one changes nothing.
    ///
    /// As with [`Counter::absolute`], the counter then has no `_created` line, and the overflow
    /// series of a family does not change.
    pub fn absolute(&self, value: Duration) {
        if self.0.is_overflow() {
            return;
        }
        self.0.set_absolute();
        let TimeCounterValue(nanoseconds) = &**self.0;
        nanoseconds.fetch_max(whole(value), Ordering::Relaxed);
    }

    /// Returns the value of the counter.
    pub fn value(&self) -> Duration {
        self.0.duration()
    }
}

/// Returns whole nanoseconds, which last for 584 years.
fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

debug_by_value!(Counter, TimeCounter);

/// The value behind a [`Counter`].
#[derive(Default)]
pub(crate) struct CounterValue(AtomicU64);

impl CounterValue {
    #[inline]
    fn increment(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}

impl CounterFn for Series<CounterValue> {
    #[inline]
    fn increment(&self, by: u64) {
        CounterValue::increment(self, by);
    }

    fn absolute(&self, value: u64) {
        if !self.is_overflow() {
            self.set_absolute();
            CounterValue::absolute(self, value);
        }
    }
}

impl MetricValue for CounterValue {
    const KIND: Kind = Kind::Counter;

    fn read(&self) -> Value {
        Value::Counter(self.0.load(Ordering::Relaxed))
    }

    fn write(&self, series: &Series<Self>, encoder: &mut Encoder<'_>) {
        encoder.integer("_total", &series.labels, "", self.0.load(Ordering::Relaxed));
        encoder.created(&series.labels, series.counted_since());
    }
}

/// The value behind a [`TimeCounter`].
#[derive(Default)]
pub(crate) struct TimeCounterValue(AtomicU64);

impl TimeCounterValue {
    fn duration(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl MetricValue for TimeCounterValue {
    const KIND: Kind = Kind::TimeCounter;

    fn read(&self) -> Value {
        Value::TimeCounter(self.duration())
    }

    fn write(&self, series: &Series<Self>, encoder: &mut Encoder<'_>) {
        let seconds = self.duration().as_secs_f64();
        encoder.float("_total", &series.labels, "", seconds);
        encoder.created(&series.labels, series.counted_since());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_wrap_and_absolute_never_falls() {
        let counter = Counter(Series::detached(CounterValue::default()));
        counter.absolute(u64::MAX);
        counter.absolute(3);
        assert_eq!(counter.value(), u64::MAX);
        counter.increment(2);
        assert_eq!(counter.value(), 1);
    }
}
