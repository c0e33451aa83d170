use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{CounterFn, GaugeFn};

use crate::family::{AnySeries, Cell, is_kind};
use crate::page::Lines;
use crate::series::{Series, SeriesSet};
use crate::snapshot::{Kind, Value};

/// A handle to a counter: an unsigned 64-bit integer that only rises, and wraps at its end, which Prometheus sees as a reset.
///
/// A clone writes to the same series.
#[derive(Clone)]
pub struct Counter(pub(crate) Arc<Series<CounterCell>>);

impl Counter {
    /// Adds to the counter.
    #[inline]
    pub fn increment(&self, by: u64) {
        self.0.increment(by);
    }

    /// Raises the counter to a value that was counted elsewhere; one that is lower changes nothing.
    ///
    /// OpenMetrics then has no `_created` line for the counter, since the count began at another
    /// time.
    ///
    /// The overflow series of a family is not changed: the values of several series can't be told
    /// apart there.
    pub fn absolute(&self, value: u64) {
        CounterFn::absolute(&*self.0, value);
    }

    /// Returns the counter's value.
    pub fn value(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }
}

/// A handle to a counter of time: whole nanoseconds, exposed as seconds, as in `process_cpu_seconds_total`.
///
/// A clone writes to the same series.
#[derive(Clone)]
pub struct TimeCounter(pub(crate) Arc<Series<TimeCounterCell>>);

impl TimeCounter {
    /// Adds a time.
    pub fn increment(&self, by: Duration) {
        let TimeCounterCell(nanoseconds) = &**self.0;
        nanoseconds.fetch_add(whole(by), Ordering::Relaxed);
    }

    /// Raises the counter to a time that was counted elsewhere; one that is lower changes nothing.
    ///
    /// OpenMetrics then has no `_created` line for the counter, since the count began at another
    /// time.
    ///
    /// The overflow series of a family is not changed, as with [`Counter::absolute`].
    pub fn absolute(&self, value: Duration) {
        if self.0.is_overflow() {
            return;
        }
        self.0.set_absolute();
        let TimeCounterCell(nanoseconds) = &**self.0;
        nanoseconds.fetch_max(whole(value), Ordering::Relaxed);
    }

    /// Returns the counter's value.
    pub fn value(&self) -> Duration {
        self.0.duration()
    }
}

/// The nanoseconds of a time, which are enough for 584 years.
fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A handle to a gauge: a 64-bit float that is set, or moves up and down.
///
/// A clone writes to the same series.
#[derive(Clone)]
pub struct Gauge(pub(crate) Arc<Series<GaugeCell>>);

impl Gauge {
    /// Sets the gauge. NaN and the infinities are kept and exposed.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// Adds to the gauge.
    #[inline]
    pub fn increment(&self, by: f64) {
        self.0.increment(by);
    }

    /// Takes from the gauge.
    #[inline]
    pub fn decrement(&self, by: f64) {
        self.0.decrement(by);
    }

    /// Returns the gauge's value.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.0.load(Ordering::Relaxed))
    }
}

macro_rules! debug_by_value {
    ($($type:ident),+) => {
        $(impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($type)).field(&self.value()).finish()
            }
        })+
    };
}

pub(crate) use debug_by_value;

debug_by_value!(Counter, TimeCounter, Gauge);

/// The value behind a [`Counter`].
#[derive(Default)]
pub(crate) struct CounterCell(AtomicU64);

impl CounterCell {
    #[inline]
    fn increment(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}

impl CounterFn for Series<CounterCell> {
    #[inline]
    fn increment(&self, by: u64) {
        CounterCell::increment(self, by);
    }

    fn absolute(&self, value: u64) {
        if !self.is_overflow() {
            self.set_absolute();
            CounterCell::absolute(self, value);
        }
    }
}

impl Cell for CounterCell {
    is_kind!(Counter);

    fn read(&self) -> Value {
        Value::Counter(self.0.load(Ordering::Relaxed))
    }

    fn write(&self, series: &Series<Self>, lines: &mut Lines<'_>) {
        lines.integer("_total", &series.labels, "", self.0.load(Ordering::Relaxed));
        lines.created(&series.labels, series.counted_since());
    }
}

/// The value behind a [`TimeCounter`].
#[derive(Default)]
pub(crate) struct TimeCounterCell(AtomicU64);

impl TimeCounterCell {
    fn duration(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl Cell for TimeCounterCell {
    is_kind!(TimeCounter);

    fn read(&self) -> Value {
        Value::TimeCounter(self.duration())
    }

    fn write(&self, series: &Series<Self>, lines: &mut Lines<'_>) {
        let seconds = self.duration().as_secs_f64();
        lines.float("_total", &series.labels, "", seconds);
        lines.created(&series.labels, series.counted_since());
    }
}

/// The value behind a [`Gauge`]: a float's bits.
#[derive(Default)]
pub(crate) struct GaugeCell(AtomicU64);

impl GaugeCell {
    #[inline]
    fn increment(&self, by: f64) {
        add(&self.0, by);
    }

    #[inline]
    fn decrement(&self, by: f64) {
        add(&self.0, -by);
    }

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
}

impl GaugeFn for Series<GaugeCell> {
    fn increment(&self, by: f64) {
        GaugeCell::increment(self, by);
    }

    fn decrement(&self, by: f64) {
        GaugeCell::decrement(self, by);
    }

    fn set(&self, value: f64) {
        GaugeCell::set(self, value);
    }
}

impl Cell for GaugeCell {
    is_kind!(Gauge);

    /// The last of several series to set the value would hide the others.
    const SUMS: bool = false;

    fn read(&self) -> Value {
        Value::Gauge(f64::from_bits(self.0.load(Ordering::Relaxed)))
    }

    fn write(&self, series: &Series<Self>, lines: &mut Lines<'_>) {
        let value = f64::from_bits(self.0.load(Ordering::Relaxed));
        lines.float("", &series.labels, "", value);
    }
}

/// Adds to a float that is kept as bits.
#[inline]
pub(crate) fn add(bits: &AtomicU64, by: f64) {
    let add = |bits| Some((f64::from_bits(bits) + by).to_bits());
    // The closure never refuses, so neither does the update.
    let _ = bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_wrap_and_absolute_never_falls() {
        let counter = Counter(Series::detached(CounterCell::default()));
        counter.absolute(u64::MAX);
        counter.absolute(3);
        assert_eq!(counter.value(), u64::MAX);
        counter.increment(2);
        assert_eq!(counter.value(), 1);
    }

    #[test]
    fn gauges_move_from_many_threads() {
        let gauge = Gauge(Series::detached(GaugeCell::default()));
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
