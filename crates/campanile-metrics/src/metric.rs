use crate::counter::{CounterValue, TimeCounterValue};
use crate::gauge::GaugeValue;
use crate::series::Series;
use crate::{Counter, Gauge, Histogram, Kind, RegisterError, Registry, Summary, TimeCounter};

/// A handle to a series: [`Counter`], [`TimeCounter`], [`Gauge`], [`Histogram`] or [`Summary`].
pub trait Metric: Clone {
    /// The kind of the metric.
    const KIND: Kind;

    /// Whether 0 is the true value of a series without writes.
    const BEGINS_AT_ZERO: bool;

    /// The unit of the kind.
    const UNIT: Option<&'static str>;

    /// Returns the series with this name and these labels, which is created if it is new.
    ///
    /// # Errors
    ///
    /// As [`Registry::counter`].
    fn find(
        registry: &Registry,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<Self, RegisterError>;

    /// Returns a series that is not exported.
    fn detached(registry: &Registry) -> Self;

    /// Returns whether the series is exported and belongs to one label set only, so it is neither
    /// detached nor an overflow series.
    fn is_own(&self) -> bool;
}

macro_rules! metrics {
    ($($type:ident, $find:ident, $at_zero:literal, $unit:expr, $registry:ident => $cell:expr);+ $(;)?) => {
        $(impl Metric for $type {
            const KIND: Kind = Kind::$type;
            const BEGINS_AT_ZERO: bool = $at_zero;
            const UNIT: Option<&'static str> = $unit;

            fn find(
                registry: &Registry,
                name: &str,
                labels: &[(&str, &str)],
            ) -> Result<Self, RegisterError> {
                registry.$find(name, labels)
            }

            fn detached($registry: &Registry) -> Self {
                Self(Series::detached($cell))
            }

            fn is_own(&self) -> bool {
                self.0.is_own()
            }
        })+
    };
}

metrics! {
    Counter, counter, true, None, _registry => CounterValue::default();
    TimeCounter, time_counter, true, Some("seconds"), _registry => TimeCounterValue::default();
    Gauge, gauge, false, None, _registry => GaugeValue::default();
    Histogram, histogram, true, None, registry => registry.new_histogram("");
    Summary, summary, false, None, registry => registry.new_summary();
}
