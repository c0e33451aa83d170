use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{CounterFn, GaugeFn, HistogramFn};

use crate::snapshot::{HistogramSnapshot, Value};

/// A handle to a counter: an unsigned 64-bit integer that only rises, and wraps at its end, which Prometheus sees as a reset.
///
/// A clone writes to the same series.
#[derive(Clone)]
pub struct Counter(pub(crate) Arc<CounterCell>);

impl Counter {
    /// Adds to the counter.
    pub fn increment(&self, by: u64) {
        self.0.increment(by);
    }

    /// Raises the counter to a value that was counted elsewhere; one that is lower changes nothing.
    pub fn absolute(&self, value: u64) {
        self.0.absolute(value);
    }

    /// Returns the counter's value.
    pub fn value(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }
}

/// A handle to a gauge: a 64-bit float that is set, or moves up and down.
///
/// A clone writes to the same series.
#[derive(Clone)]
pub struct Gauge(pub(crate) Arc<GaugeCell>);

impl Gauge {
    /// Sets the gauge. NaN and the infinities are kept and exposed.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// Adds to the gauge.
    pub fn increment(&self, by: f64) {
        self.0.increment(by);
    }

    /// Takes from the gauge.
    pub fn decrement(&self, by: f64) {
        self.0.decrement(by);
    }

    /// Returns the gauge's value.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.0.load(Ordering::Relaxed))
    }
}

/// A handle to a histogram with fixed buckets, aggregated as it is recorded.
///
/// A clone writes to the same series.
#[derive(Clone)]
pub struct Histogram(pub(crate) Arc<HistogramCell>);

impl Histogram {
    /// Records a sample. One that is not finite is dropped and counted.
    pub fn record(&self, value: f64) {
        self.0.record(value);
    }

    /// Records a time in seconds. The sum is kept in whole nanoseconds, and so is exact for 584 years of them.
    pub fn record_duration(&self, time: Duration) {
        self.0.record_duration(time);
    }

    /// Returns what was recorded so far.
    pub fn value(&self) -> HistogramSnapshot {
        self.0.read()
    }
}

macro_rules! debug_by_value {
    ($($type:ident),+) => {
        $(impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($type)).field(&self.value()).finish()
            }
        })+
    };
}

debug_by_value!(Counter, Gauge, Histogram);

/// The value behind a [`Counter`].
#[derive(Default)]
pub(crate) struct CounterCell(AtomicU64);

impl CounterFn for CounterCell {
    fn increment(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}

/// The value behind a [`Gauge`]: a float's bits.
#[derive(Default)]
pub(crate) struct GaugeCell(AtomicU64);

impl GaugeFn for GaugeCell {
    fn increment(&self, by: f64) {
        add(&self.0, by);
    }

    fn decrement(&self, by: f64) {
        add(&self.0, -by);
    }

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
}

/// The value behind a [`Histogram`].
pub(crate) struct HistogramCell {
    /// Upper bounds, inclusive, finite and rising.
    bounds: Arc<[f64]>,
    /// Samples between each bound and the one before it; the last is above all bounds.
    buckets: Box<[AtomicU64]>,
    /// The sum of what was recorded as floats, as bits.
    sum: AtomicU64,
    /// The sum of what was recorded as durations.
    nanoseconds: AtomicU64,
    /// Counts samples that are not finite, for the whole registry.
    dropped: Arc<AtomicU64>,
}

impl HistogramCell {
    pub(crate) fn new(bounds: Arc<[f64]>, dropped: Arc<AtomicU64>) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self {
            bounds,
            buckets,
            sum: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
            dropped,
        }
    }

    fn record_duration(&self, time: Duration) {
        self.count(time.as_secs_f64());
        self.nanoseconds.fetch_add(
            u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    fn count(&self, value: f64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> HistogramSnapshot {
        let mut count = 0;
        let mut cumulative = self.buckets.iter().map(|bucket| {
            count += bucket.load(Ordering::Relaxed);
            count
        });
        let buckets = self
            .bounds
            .iter()
            .copied()
            .zip(cumulative.by_ref())
            .collect();
        let count = cumulative.last().unwrap_or_default();
        let nanoseconds = self.nanoseconds.load(Ordering::Relaxed);
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed)) + nanoseconds as f64 / 1e9;
        HistogramSnapshot {
            buckets,
            count,
            sum,
        }
    }
}

impl HistogramFn for HistogramCell {
    fn record(&self, value: f64) {
        if !value.is_finite() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.count(value);
        add(&self.sum, value);
    }
}

fn add(bits: &AtomicU64, by: f64) {
    let add = |bits| Some((f64::from_bits(bits) + by).to_bits());
    // The closure never refuses, so neither does the update.
    let _ = bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
}

impl Counter {
    pub(crate) fn read(cell: &CounterCell) -> Value {
        Value::Counter(cell.0.load(Ordering::Relaxed))
    }
}

impl Gauge {
    pub(crate) fn read(cell: &GaugeCell) -> Value {
        Value::Gauge(f64::from_bits(cell.0.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(bounds: &[f64]) -> (Histogram, Arc<AtomicU64>) {
        let dropped = Arc::default();
        (
            Histogram(Arc::new(HistogramCell::new(
                bounds.into(),
                Arc::clone(&dropped),
            ))),
            dropped,
        )
    }

    #[test]
    fn bounds_are_inclusive() {
        let (histogram, _) = histogram(&[1.0, 2.0]);
        for sample in [-1.0, 1.0, 1.5, 2.0, 2.000_001] {
            histogram.record(sample);
        }
        let HistogramSnapshot {
            buckets,
            count,
            sum,
        } = histogram.value();
        assert_eq!((buckets, count), (vec![(1.0, 2), (2.0, 4)], 5));
        assert!((sum - 5.500_001).abs() < 1e-9);
    }

    #[test]
    fn durations_sum_exactly() {
        let (histogram, _) = histogram(&[0.005, 1.0]);
        for _ in 0..1_000 {
            histogram.record_duration(Duration::from_millis(5));
        }
        assert_eq!(
            histogram.value(),
            HistogramSnapshot {
                buckets: vec![(0.005, 1_000), (1.0, 1_000)],
                count: 1_000,
                sum: 5.0
            }
        );
    }

    #[test]
    fn samples_that_are_not_finite_are_dropped_and_counted() {
        let (histogram, dropped) = histogram(&[1.0]);
        for sample in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            histogram.record(sample);
        }
        assert_eq!((histogram.value().count, histogram.value().sum), (0, 0.0));
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn counters_wrap_and_absolute_never_falls() {
        let counter = Counter(Arc::default());
        counter.0.absolute(u64::MAX);
        counter.0.absolute(3);
        assert_eq!(counter.value(), u64::MAX);
        counter.increment(2);
        assert_eq!(counter.value(), 1);
    }

    #[test]
    fn gauges_move_from_many_threads() {
        let gauge = Gauge(Arc::default());
        gauge.set(0.5);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| gauge.increment(2.0)));
                scope.spawn(|| (0..10_000).for_each(|_| gauge.decrement(1.0)));
            }
        });
        assert_eq!(gauge.value(), 40_000.5);
    }
}
