use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use campanile_http::TraceRef;
use metrics::HistogramFn;

use crate::encode::{self, Encoder, Format};
use crate::exemplar::{Exemplar, ExemplarCell};
use crate::kind::Kind;
use crate::series::Series;
use crate::snapshot::{self, HistogramSnapshot, Value};
use crate::value::{MetricValue, add, debug_by_value};

/// A handle to a histogram with fixed buckets, which is aggregated as it is recorded.
///
/// A clone writes to the same series.
#[derive(Clone)]
pub struct Histogram(pub(crate) Arc<Series<HistogramValue>>);

impl Histogram {
    /// Records a sample. A sample that is not finite is dropped and counted.
    #[inline]
    pub fn record(&self, value: f64) {
        HistogramValue::record(&self.0, value);
    }

    /// Records a sample `count` times, at the cost of one. A sample that is not finite is dropped,
    /// and counted `count` times.
    #[inline]
    pub fn record_many(&self, value: f64, count: u64) {
        HistogramValue::record_many(&self.0, value, count);
    }

    /// Records a duration in seconds. The sum is kept in whole nanoseconds, which is exact for 584
    /// years.
    #[inline]
    pub fn record_duration(&self, time: Duration) {
        self.0.record_duration(time);
    }

    /// Records a sample that belongs to a trace. If the trace is sampled, it may become the
    /// exemplar of the bucket in OpenMetrics: the greatest sample since the last exposition.
    pub fn record_in_trace(&self, value: f64, trace: TraceRef) {
        if let Some(bucket) = HistogramValue::record(&self.0, value) {
            self.0.exemplify(bucket, value, trace);
        }
    }

    /// Records a duration in seconds that belongs to a trace, as
    /// [`record_in_trace`](Self::record_in_trace) does.
    pub fn record_duration_in_trace(&self, time: Duration, trace: TraceRef) {
        let bucket = self.0.record_duration(time);
        self.0.exemplify(bucket, time.as_secs_f64(), trace);
    }

    /// Returns the samples recorded so far.
    pub fn value(&self) -> HistogramSnapshot {
        self.0.snapshot()
    }
}

debug_by_value!(Histogram);

/// The bounds of the buckets, finite and ascending, and their labels.
pub(crate) struct Bounds {
    values: Box<[f64]>,
    /// The label `le` of each bound and of `+Inf`, after a comma.
    labels: Box<[Box<str>]>,
}

impl Bounds {
    /// Returns the bounds if there are any, and they are finite and ascending.
    pub(crate) fn checked(values: &[f64]) -> Option<Arc<Self>> {
        let are_finite = values.iter().all(|value| value.is_finite());
        let rise = values.is_sorted_by(|one, next| one < next);
        (!values.is_empty() && are_finite && rise).then(|| Self::new(values).into())
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    pub(crate) fn new(values: &[f64]) -> Self {
        let all = values.iter().copied().chain([f64::INFINITY]);
        Self {
            values: values.into(),
            labels: all
                .map(|value| format!(",le=\"{}\"", encode::bound(value)).into())
                .collect(),
        }
    }
}

/// The value of a [`Histogram`].
pub(crate) struct HistogramValue {
    bounds: Arc<Bounds>,
    /// The number of samples in each bucket; the last bucket is above all bounds.
    buckets: Box<[AtomicU64]>,
    sums: [Sum; SUMS],
    of_name: Arc<SharedByName>,
    /// The exemplar of each bucket, after the first sample with a trace.
    exemplars: OnceLock<Box<[ExemplarCell]>>,
}

/// The state that all histograms of a name share.
pub(crate) struct SharedByName {
    name: Box<str>,
    /// The bounds by unit, for histograms without configured bounds.
    pub(crate) by_unit: Arc<Bounds>,
    /// The number of samples that are not finite, for the whole registry.
    dropped: Arc<AtomicU64>,
    /// Whether the warning about samples above all bounds was logged.
    is_logged: AtomicBool,
}

impl SharedByName {
    pub(crate) fn new(name: &str, by_unit: Arc<Bounds>, dropped: Arc<AtomicU64>) -> Self {
        Self {
            name: name.into(),
            by_unit,
            dropped,
            is_logged: AtomicBool::new(false),
        }
    }
}

/// The number of first samples above all bounds after which a warning is logged.
const ABOVE: u64 = 1_000;

/// A shard of the sum. Threads that record at the same time mostly use different shards.
#[derive(Default)]
#[repr(align(64))]
struct Sum {
    /// The bits of the float sum.
    floats: AtomicU64,
    /// The sum of durations.
    nanoseconds: AtomicU64,
}

/// The number of shards of a sum, a power of two.
const SUMS: usize = 4;

thread_local! {
    /// The shard that this thread adds to.
    static PART: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % SUMS
    };
}

impl HistogramValue {
    pub(crate) fn new(bounds: Arc<Bounds>, of_name: Arc<SharedByName>) -> Self {
        let buckets = bounds.labels.iter().map(|_| AtomicU64::new(0)).collect();
        Self {
            bounds,
            buckets,
            sums: Default::default(),
            of_name,
            exemplars: OnceLock::new(),
        }
    }

    /// Records a sample, and returns its bucket unless the sample is dropped.
    #[inline]
    fn record(&self, value: f64) -> Option<usize> {
        self.record_many(value, 1)
    }

    #[inline]
    fn record_many(&self, value: f64, count: u64) -> Option<usize> {
        if !value.is_finite() {
            self.of_name.dropped.fetch_add(count, Ordering::Relaxed);
            return None;
        }
        let bucket = self.count(value, count);
        add(&self.part().floats, value * count as f64);
        Some(bucket)
    }

    #[inline]
    fn record_duration(&self, time: Duration) -> usize {
        let bucket = self.count(time.as_secs_f64(), 1);
        self.part().nanoseconds.fetch_add(
            u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        bucket
    }

    fn exemplify(&self, bucket: usize, value: f64, trace: TraceRef) {
        if trace.is_sampled() {
            let new = || {
                self.buckets
                    .iter()
                    .map(|_| ExemplarCell::default())
                    .collect()
            };
            self.exemplars.get_or_init(new)[bucket].offer(value, trace);
        }
    }

    #[inline]
    fn count(&self, value: f64, count: u64) -> usize {
        // There are few bounds, so comparing all of them is faster than a binary search.
        let below = self
            .bounds
            .values
            .iter()
            .map(|&bound| usize::from(bound < value));
        let bucket = below.sum::<usize>();
        let before = self.buckets[bucket].fetch_add(count, Ordering::Relaxed);
        if bucket == self.bounds.values.len() && before < ABOVE && before + count >= ABOVE {
            self.check_bounds();
        }
        bucket
    }

    /// Logs, once per name, that all samples so far are above all bounds.
    #[cold]
    fn check_bounds(&self) {
        let (_, below) = self.buckets.split_last().unzip();
        let below: &[AtomicU64] = below.unwrap_or_default();
        if below
            .iter()
            .all(|bucket| bucket.load(Ordering::Relaxed) == 0)
            && !self.of_name.name.is_empty()
            && !self.of_name.is_logged.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                name = %self.of_name.name,
                greatest = self.bounds.values.last(),
                "first {ABOVE} samples of a histogram above all of its buckets, set others with `Registry::set_buckets`"
            );
        }
    }

    /// Returns the shard of the sum that this thread adds to.
    #[inline]
    fn part(&self) -> &Sum {
        &self.sums[PART.try_with(|part| *part).unwrap_or_default()]
    }

    fn sum(&self) -> f64 {
        let load = |of: fn(&Sum) -> &AtomicU64| {
            self.sums
                .iter()
                .map(move |sum| of(sum).load(Ordering::Relaxed))
        };
        let nanoseconds = load(|sum| &sum.nanoseconds).fold(0, u64::wrapping_add);
        load(|sum| &sum.floats).map(f64::from_bits).sum::<f64>() + nanoseconds as f64 / 1e9
    }

    /// Returns the number of samples up to each bound, and the number of all samples.
    fn cumulative(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().scan(0, |count, bucket| {
            *count += bucket.load(Ordering::Relaxed);
            Some(*count)
        })
    }

    fn snapshot(&self) -> HistogramSnapshot {
        let mut cumulative = self.cumulative();
        let bounds = self.bounds.values.iter().copied();
        let buckets = bounds.zip(cumulative.by_ref()).collect();
        HistogramSnapshot {
            buckets,
            count: cumulative.last().unwrap_or_default(),
            sum: self.sum(),
            exemplars: self.exemplars(ExemplarCell::get),
        }
    }

    fn exemplars(
        &self,
        each: impl Fn(&ExemplarCell) -> Option<Exemplar>,
    ) -> Vec<snapshot::Exemplar> {
        let cells = self.exemplars.get().into_iter().flatten();
        let exemplar = |Exemplar { value, trace, at }| snapshot::Exemplar {
            value,
            trace,
            at: UNIX_EPOCH + Duration::from_millis(at),
        };
        cells.filter_map(each).map(exemplar).collect()
    }
}

impl HistogramFn for Series<HistogramValue> {
    #[inline]
    fn record(&self, value: f64) {
        HistogramValue::record(self, value);
    }

    fn record_many(&self, value: f64, count: usize) {
        HistogramValue::record_many(self, value, count as u64);
    }
}

impl MetricValue for HistogramValue {
    const KIND: Kind = Kind::Histogram;

    fn read(&self) -> Value {
        Value::Histogram(self.snapshot())
    }

    fn show(&self) -> Value {
        Value::Histogram(HistogramSnapshot {
            exemplars: self.exemplars(ExemplarCell::show),
            ..self.snapshot()
        })
    }

    fn write(&self, series: &Series<Self>, encoder: &mut Encoder<'_>) {
        let labels = &series.labels;
        let exemplars = self
            .exemplars
            .get()
            .filter(|_| encoder.format() == Format::OpenMetrics);
        let mut count = 0;
        for (bucket, cumulative) in self.cumulative().enumerate() {
            count = cumulative;
            let exemplar = exemplars.and_then(|exemplars| exemplars[bucket].show());
            encoder.bucket(labels, &self.bounds.labels[bucket], count, exemplar);
        }
        let sum = self.sum();
        // OpenMetrics allows no sum that can be negative, and no count without a sum.
        if encoder.format() == Format::Text || (self.bounds.values[0] >= 0.0 && sum >= 0.0) {
            encoder.float("_sum", labels, "", sum);
            encoder.integer("_count", labels, "", count);
        }
        encoder.created(labels, series.counted_since());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(bounds: &[f64]) -> (Histogram, Arc<AtomicU64>) {
        let dropped = Arc::default();
        let bounds: Arc<Bounds> = Bounds::new(bounds).into();
        let of_name = SharedByName::new("h", Arc::clone(&bounds), Arc::clone(&dropped));
        let cell = HistogramValue::new(bounds, Arc::new(of_name));
        (Histogram(Series::detached(cell)), dropped)
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
            ..
        } = histogram.value();
        assert_eq!((buckets, count), (vec![(1.0, 2), (2.0, 4)], 5));
        assert!((sum - 5.500_001).abs() < 1e-9);
    }

    #[test]
    fn many_samples_take_no_longer_than_one() {
        let (histogram, dropped) = histogram(&[1.0, 2.0]);
        histogram.record_many(1.5, 1_000_000_000_000);
        histogram.record_many(f64::NAN, 7);
        let foreign = metrics::Histogram::from_arc(Arc::clone(&histogram.0));
        foreign.record_many(0.5, 2_000_000_000);
        let value = histogram.value();
        assert_eq!(
            value.buckets,
            [(1.0, 2_000_000_000), (2.0, 1_002_000_000_000)]
        );
        assert_eq!(value.sum, 1.501e12);
        assert_eq!(dropped.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn a_thousand_samples_above_all_bounds_are_told_of() {
        let is_logged =
            |histogram: &Histogram| histogram.0.of_name.is_logged.load(Ordering::Relaxed);
        let (above, _) = histogram(&[1.0, 10.0]);
        above.record_many(12.0, 999);
        assert!(!is_logged(&above));
        above.record(12.0);
        assert!(is_logged(&above));
        let (mixed, _) = histogram(&[1.0, 10.0]);
        mixed.record(10.0);
        mixed.record_many(12.0, 5_000);
        assert!(!is_logged(&mixed));
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
                sum: 5.0,
                exemplars: Vec::new(),
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
}
