use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::HistogramFn;
use sketches_ddsketch::{Config, DDSketch};

use crate::clock::now;
use crate::encode::{Encoder, Format};
use crate::kind::Kind;
use crate::series::Series;
use crate::snapshot::{SummarySnapshot, Value};
use crate::value::{MetricValue, debug_by_value};

/// A handle to a summary: quantiles of the last minute, accurate to 1 %.
///
/// The quantiles are p50, p90, p95, p99 and p99.9 of the samples of the last 50 to 60 s. The count
/// and the sum cover all samples. Quantiles of several instances can't be combined, but those of a
/// [`Histogram`](crate::Histogram) can. Prefer a histogram unless there is only one process.
///
/// The quantiles come from a sketch (Masson, Rim, Lee: "DDSketch", 2019) with at most 512 bins per
/// 10 s. That suffices for values that differ by a factor of 25,000. Beyond it, the smallest values
/// share a bin. A summary takes up to 25 KiB, or twice as much with negative values, so a family
/// has at most 200 of them.
///
/// A clone writes to the same series.
#[derive(Clone)]
pub struct Summary(pub(crate) Arc<Series<SummaryValue>>);

impl Summary {
    /// Records a sample. A sample that is not finite is dropped and counted.
    pub fn record(&self, value: f64) {
        SummaryValue::record(&self.0, value, now());
    }

    /// Records a duration in seconds.
    pub fn record_duration(&self, time: Duration) {
        self.record(time.as_secs_f64());
    }

    /// Returns the quantiles of the last minute, and the count and the sum of all samples.
    pub fn value(&self) -> SummarySnapshot {
        self.0.snapshot(now())
    }
}

debug_by_value!(Summary);

/// The quantiles, and their labels after a comma.
const QUANTILES: [(f64, &str); 5] = [
    (0.5, ",quantile=\"0.5\""),
    (0.9, ",quantile=\"0.9\""),
    (0.95, ",quantile=\"0.95\""),
    (0.99, ",quantile=\"0.99\""),
    (0.999, ",quantile=\"0.999\""),
];

/// The number of slots of the window, and the duration of a slot.
const SLOTS: usize = 6;
const SLOT: Duration = Duration::from_secs(10);

/// The maximum relative error of a quantile.
const ACCURACY: f64 = 0.01;
const BINS: u32 = 512;
/// Values closer to 0 count as 0.
const MIN_VALUE: f64 = 1e-9;

/// The value of a [`Summary`].
pub(crate) struct SummaryValue {
    begun: Instant,
    ring: Mutex<Ring>,
    /// The number of samples that are not finite, for the whole registry.
    dropped: Arc<AtomicU64>,
}

#[derive(Default)]
struct Ring {
    /// Each slot with its number.
    slots: [Option<(u64, DDSketch)>; SLOTS],
    count: u64,
    sum: f64,
}

impl SummaryValue {
    /// The number of its lines in an exposition, without `_created`.
    pub(crate) const SAMPLES: usize = QUANTILES.len() + 2;

    pub(crate) fn new(dropped: Arc<AtomicU64>) -> Self {
        Self::at(now(), dropped)
    }

    fn at(begun: Instant, dropped: Arc<AtomicU64>) -> Self {
        Self {
            begun,
            ring: Mutex::default(),
            dropped,
        }
    }

    fn record(&self, value: f64, now: Instant) {
        self.record_many(value, 1, now);
    }

    fn record_many(&self, value: f64, count: u64, now: Instant) {
        if !value.is_finite() {
            self.dropped.fetch_add(count, Ordering::Relaxed);
            return;
        }
        if count == 0 {
            return;
        }
        let number = self.number(now);
        let mut ring = self.ring();
        ring.count = ring.count.wrapping_add(count);
        ring.sum += value * count as f64;
        let slot = &mut ring.slots[(number % SLOTS as u64) as usize];
        match slot {
            Some((of, sketch)) if *of >= number => sketch.add_with_count(value, count),
            _ => {
                let mut sketch = sketch();
                sketch.add_with_count(value, count);
                *slot = Some((number, sketch));
            }
        }
    }

    /// Returns the number of the slot at a time.
    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_secs() / SLOT.as_secs()
    }

    fn snapshot(&self, now: Instant) -> SummarySnapshot {
        let number = self.number(now);
        // The slots are only copied under the lock, because writers wait for it.
        let (slots, count, sum) = {
            let mut ring = self.ring();
            for slot in &mut ring.slots {
                // Expired slots free their memory.
                slot.take_if(|(of, _)| *of + SLOTS as u64 <= number);
            }
            (ring.slots.clone(), ring.count, ring.sum)
        };
        let mut window = sketch();
        for (_, sketch) in slots.iter().flatten() {
            // Merging fails only for different settings.
            drop(window.merge(sketch));
        }
        let quantile = |(quantile, _)| {
            let value = window.quantile(quantile).ok().flatten();
            (quantile, value.unwrap_or(f64::NAN))
        };
        SummarySnapshot {
            quantiles: QUANTILES.map(quantile).into(),
            count,
            sum,
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HistogramFn for Series<SummaryValue> {
    fn record(&self, value: f64) {
        SummaryValue::record(self, value, now());
    }

    fn record_many(&self, value: f64, count: usize) {
        SummaryValue::record_many(self, value, count as u64, now());
    }
}

impl MetricValue for SummaryValue {
    const MAX_SERIES: usize = 200;
    const WEIGHT: usize = 8;

    const KIND: Kind = Kind::Summary;

    fn read(&self) -> Value {
        Value::Summary(self.snapshot(now()))
    }

    fn write(&self, series: &Series<Self>, encoder: &mut Encoder<'_>) {
        let labels = &series.labels;
        let snapshot = self.snapshot(now());
        // OpenMetrics allows no negative values here.
        let is_allowed = |value: f64| encoder.format() == Format::Text || value >= 0.0;
        let (quantiles, sum) = (snapshot.quantiles.iter(), is_allowed(snapshot.sum));
        let shown: Vec<_> = quantiles
            .zip(QUANTILES)
            .filter(|((_, value), _)| value.is_nan() || is_allowed(*value))
            .collect();
        for ((_, value), (_, label)) in shown {
            encoder.float("", labels, label, *value);
        }
        if sum {
            encoder.float("_sum", labels, "", snapshot.sum);
            encoder.integer("_count", labels, "", snapshot.count);
        }
        encoder.created(labels, series.counted_since());
    }
}

fn sketch() -> DDSketch {
    DDSketch::new(Config::new(ACCURACY, BINS, MIN_VALUE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantile(values: &mut [f64], quantile: f64) -> f64 {
        values.sort_unstable_by(f64::total_cmp);
        values[(quantile * (values.len() - 1) as f64) as usize]
    }

    #[test]
    fn quantiles_are_within_a_percent() {
        let mut random = fastrand::Rng::with_seed(5);
        for spread in [1.0, 4.0, 10.0] {
            let cell = SummaryValue::at(now(), Arc::default());
            let mut values: Vec<f64> = (0..20_000)
                .map(|_| (random.f64() * spread).exp() * 1e-3)
                .collect();
            values
                .iter()
                .for_each(|value| cell.record(*value, cell.begun));
            let snapshot = cell.snapshot(cell.begun);
            for (of, value) in snapshot.quantiles {
                let exact = quantile(&mut values, of);
                assert!(
                    (value / exact - 1.0).abs() < 0.011,
                    "{of}: {value}, not {exact}"
                );
            }
            assert_eq!(snapshot.count, 20_000);
        }
    }

    #[test]
    fn many_samples_take_no_longer_than_one() {
        let cell = Series::detached(SummaryValue::at(now(), Arc::default()));
        let foreign = metrics::Histogram::from_arc(Arc::clone(&cell));
        foreign.record_many(2.0, 3_000_000_000);
        let snapshot = cell.snapshot(cell.begun);
        assert_eq!((snapshot.count, snapshot.sum), (3_000_000_000, 6e9));
        assert!(
            (snapshot.quantiles[0].1 - 2.0).abs() < 0.021,
            "{snapshot:?}"
        );
    }

    #[test]
    fn the_window_forgets_and_the_sum_does_not() {
        let cell = SummaryValue::at(now(), Arc::default());
        let at = |seconds| cell.begun + Duration::from_secs(seconds);
        let median = |seconds| cell.snapshot(at(seconds)).quantiles[0].1;
        assert!(median(0).is_nan());
        cell.record(100.0, at(5));
        for seconds in [5, 50, 59] {
            assert!((median(seconds) - 100.0).abs() < 1.0, "{seconds}");
        }
        assert!(median(60).is_nan());
        cell.record(1.0, at(65));
        assert!((median(65) - 1.0).abs() < 0.011);
        // A slot that is used again begins anew.
        assert!((cell.snapshot(at(65)).quantiles[4].1 - 1.0).abs() < 0.011);
        assert!(median(1_000_000).is_nan());
        let snapshot = cell.snapshot(at(2_000_000));
        assert_eq!((snapshot.count, snapshot.sum), (2, 101.0));
    }

    #[test]
    fn any_number_can_be_recorded_and_the_space_has_a_bound() {
        let dropped = Arc::default();
        let cell = SummaryValue::at(now(), Arc::clone(&dropped));
        let mut random = fastrand::Rng::with_seed(9);
        for value in [
            f64::NAN,
            f64::INFINITY,
            0.0,
            -0.0,
            f64::MAX,
            f64::MIN,
            5e-324,
        ] {
            cell.record(value, cell.begun);
        }
        for _ in 0..10_000 {
            cell.record(f64::from_bits(random.u64(..)), cell.begun);
        }
        assert!(dropped.load(Ordering::Relaxed) >= 2);
        let quantiles = cell.snapshot(cell.begun).quantiles;
        assert!(
            quantiles.is_sorted_by(|(_, one), (_, next)| one <= next),
            "{quantiles:?}"
        );
        let ring = cell.ring();
        let (_, sketch) = ring.slots[0].as_ref().unwrap();
        assert!(sketch.length() <= 2 * BINS as usize, "{}", sketch.length());
    }
}
