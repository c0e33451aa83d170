use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::GaugeFn;

use crate::encode::Encoder;
use crate::kind::Kind;
use crate::series::Series;
use crate::snapshot::Value;
use crate::value::{MetricValue, add, debug_by_value};

/// A handle to a gauge: a 64-bit float that can be set, increased and decreased.
///
/// A clone writes to the same series.
#[derive(Clone)]
pub struct Gauge(pub(crate) Arc<Series<GaugeValue>>);

impl Gauge {
    /// Sets the value. NaN and the infinities are stored and exposed.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// Adds to the value.
    #[inline]
    pub fn increment(&self, by: f64) {
        self.0.increment(by);
    }

    /// Subtracts from the value.
    #[inline]
    pub fn decrement(&self, by: f64) {
        self.0.decrement(by);
    }

    /// Returns the value of the gauge.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.0.load(Ordering::Relaxed))
    }
}

debug_by_value!(Gauge);

/// The value of a [`Gauge`]: the bits of a float.
#[derive(Default)]
pub(crate) struct GaugeValue(AtomicU64);

impl GaugeValue {
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

impl GaugeFn for Series<GaugeValue> {
    fn increment(&self, by: f64) {
        GaugeValue::increment(self, by);
    }

    fn decrement(&self, by: f64) {
        GaugeValue::decrement(self, by);
    }

    fn set(&self, value: f64) {
        GaugeValue::set(self, value);
    }
}

impl MetricValue for GaugeValue {
    const KIND: Kind = Kind::Gauge;

    /// In an overflow series, the last write would hide the others.
    const IS_SUMMABLE: bool = false;

    fn read(&self) -> Value {
        Value::Gauge(f64::from_bits(self.0.load(Ordering::Relaxed)))
    }

    fn write(&self, series: &Series<Self>, encoder: &mut Encoder<'_>) {
        let value = f64::from_bits(self.0.load(Ordering::Relaxed));
        encoder.float("", &series.labels, "", value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_move_from_many_threads() {
        let gauge = Gauge(Series::detached(GaugeValue::default()));
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
