//! Percentiles of latencies, by a DDSketch with a fixed number of buckets.
//!
//! Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
//! guarantees" (VLDB 2019).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The maximum relative error of a percentile.
const ERROR: f64 = 0.01;
/// The factor between the bounds of two buckets: `(1 + ERROR) / (1 - ERROR)`.
const GAMMA: f64 = (1.0 + ERROR) / (1.0 - ERROR);
/// The upper bound of the first bucket, in seconds.
const MIN_LATENCY: f64 = 1e-5;
/// The number of buckets up to 1,000 s. Longer latencies count in the last bucket.
const BUCKETS: usize = 923;
/// The number of parts into which a window is divided.
const PARTS: u64 = 24;

/// The latencies of a window, in parts that expire separately.
///
/// Recording takes no lock. Advancing and reading happen under the lock of the stream's windows.
#[derive(Debug)]
pub(crate) struct Sketch {
    /// The length of a part, in milliseconds.
    width: u64,
    parts: Box<[Part]>,
    /// The number of the newest part.
    newest: AtomicU64,
}

type Part = Box<[AtomicU32]>;

/// Returns the window that belongs to a width of parts, in milliseconds.
pub(crate) fn max_window(width: u64) -> u64 {
    width.saturating_mul(PARTS)
}

impl Sketch {
    /// Creates a sketch for a window of up to a day, in milliseconds.
    pub(crate) fn new(window: u64, time: u64) -> Self {
        let part = || (0..BUCKETS).map(|_| AtomicU32::new(0)).collect();
        let width = window.div_ceil(PARTS).max(1);
        Self {
            width,
            parts: (0..=PARTS).map(|_| part()).collect(),
            newest: AtomicU64::new(time / width),
        }
    }

    /// Counts a latency.
    #[inline]
    pub(crate) fn record(&self, time: Duration) {
        let part = &self.parts[place(self.newest.load(Ordering::Relaxed))];
        part[bucket(time)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a latency at a past time, in milliseconds since 1970, unless its part has expired.
    pub(crate) fn record_at(&self, at: u64, time: Duration) {
        let number = at / self.width;
        if number <= self.newest.load(Ordering::Relaxed) {
            self.merge(number, [(bucket(time) as u64, 1)].into_iter());
        }
    }

    /// Advances to a time, in milliseconds since 1970.
    pub(crate) fn advance(&self, time: u64) {
        let number = time / self.width;
        let newest = self.newest.load(Ordering::Relaxed);
        if number <= newest {
            return;
        }
        for number in (newest + 1).max(number.saturating_sub(PARTS))..=number {
            for bucket in &self.parts[place(number)] {
                bucket.store(0, Ordering::Relaxed);
            }
        }
        self.newest.store(number, Ordering::Relaxed);
    }

    /// Moves all counts by a number of milliseconds.
    pub(crate) fn shift(&self, by: i64) {
        let parts = self.filled();
        for bucket in self.parts.iter().flat_map(|part| part.iter()) {
            bucket.store(0, Ordering::Relaxed);
        }
        let width = i64::try_from(self.width).unwrap_or(i64::MAX);
        let moved = |number: u64| number.saturating_add_signed(by / width);
        let newest = self.newest.load(Ordering::Relaxed);
        self.newest.store(moved(newest), Ordering::Relaxed);
        for (number, counts) in parts {
            self.merge(moved(number), counts.into_iter());
        }
    }

    /// Returns the percentile `parts / whole`, by the nearest-rank method; `None` without
    /// latencies.
    pub(crate) fn percentile(&self, parts: u64, whole: u64) -> Option<Duration> {
        let mut sums = [0u64; BUCKETS];
        for part in &self.parts {
            for (sum, bucket) in sums.iter_mut().zip(part) {
                *sum += u64::from(bucket.load(Ordering::Relaxed));
            }
        }
        let count: u64 = sums.iter().sum();
        let rank = (u128::from(count) * u128::from(parts)).div_ceil(u128::from(whole.max(1)));
        let mut seen = 0;
        let at = sums.iter().position(|sum| {
            seen += u128::from(*sum);
            seen >= rank.max(1)
        });
        at.map(value)
    }

    pub(crate) fn width(&self) -> u64 {
        self.width
    }

    /// Returns the number of each part that is not empty, and its counts by bucket.
    pub(crate) fn filled(&self) -> Vec<(u64, Vec<(u64, u64)>)> {
        let newest = self.newest.load(Ordering::Relaxed);
        let parts = (newest.saturating_sub(PARTS)..=newest).map(|number| {
            let buckets = self.parts[place(number)].iter().zip(0..);
            let counts = buckets.map(|(count, at)| (at, count.load(Ordering::Relaxed).into()));
            (number, counts.filter(|(_, count)| *count > 0).collect())
        });
        parts
            .filter(|(_, counts): &(_, Vec<_>)| !counts.is_empty())
            .collect()
    }

    /// Adds restored counts to a part.
    pub(crate) fn merge(&self, number: u64, counts: impl Iterator<Item = (u64, u64)>) {
        self.advance(number.saturating_mul(self.width));
        if number.saturating_add(PARTS) < self.newest.load(Ordering::Relaxed) {
            return;
        }
        for (at, count) in counts {
            let bucket = usize::try_from(at)
                .ok()
                .and_then(|at| self.parts[place(number)].get(at));
            if let Some(bucket) = bucket {
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                let sum = bucket.load(Ordering::Relaxed).saturating_add(count);
                bucket.store(sum, Ordering::Relaxed);
            }
        }
    }
}

fn place(number: u64) -> usize {
    // The remainder is below the number of parts.
    (number % (PARTS + 1)) as usize
}

fn bucket(time: Duration) -> usize {
    let above = time.as_secs_f64() / MIN_LATENCY;
    // The cast saturates for values out of range.
    let at = (above.ln() / GAMMA.ln()).ceil() as usize;
    at.min(BUCKETS - 1)
}

/// Returns the value of a bucket, which is within [`ERROR`] of all latencies in it.
fn value(bucket: usize) -> Duration {
    let upper = MIN_LATENCY * GAMMA.powf(bucket as f64);
    Duration::from_secs_f64(upper * 2.0 / (1.0 + GAMMA))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: u64 = 1_000;

    #[test]
    fn percentiles_are_within_a_hundredth() {
        for seed in 0..100 {
            let mut random = fastrand::Rng::with_seed(seed);
            let sketch = Sketch::new(3_600_000, 0);
            let mut times: Vec<_> = (0..random.usize(1..2_000))
                .map(|_| Duration::from_secs_f64(10f64.powf(random.f64() * 7.9 - 4.95)))
                .collect();
            for time in &times {
                sketch.record(*time);
            }
            times.sort();
            for parts in [1, 500, 900, 990, 999, WHOLE] {
                let rank = (times.len() as u64 * parts).div_ceil(WHOLE).max(1);
                let exact = times[rank as usize - 1].as_secs_f64();
                let found = sketch.percentile(parts, WHOLE).unwrap().as_secs_f64();
                let error = (found - exact).abs() / exact;
                assert!(error <= ERROR + 1e-6, "{seed} {parts}: {found} {exact}");
            }
        }
    }

    #[test]
    fn latencies_out_of_range_count_in_the_outer_buckets() {
        let sketch = Sketch::new(1_000, 0);
        assert_eq!(sketch.percentile(500, WHOLE), None);
        sketch.record(Duration::ZERO);
        assert!(sketch.percentile(500, WHOLE).unwrap() <= Duration::from_micros(10));
        sketch.record(Duration::MAX);
        let longest = sketch.percentile(WHOLE, WHOLE).unwrap();
        assert!(longest > Duration::from_secs(990), "{longest:?}");
    }

    #[test]
    fn parts_expire_and_are_restored() {
        let (second, day) = (Duration::from_secs(1), 24 * 3_600_000);
        let sketch = Sketch::new(day, 0);
        sketch.record(second);
        sketch.advance(day);
        sketch.record(second * 100);
        let saved = sketch.filled();
        assert_eq!(
            saved.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
            [0, 24]
        );
        let other = Sketch::new(day, day);
        for (number, counts) in saved {
            other.merge(number, counts.into_iter());
        }
        assert_eq!(other.filled(), sketch.filled());
        sketch.advance(day + day / PARTS);
        assert_eq!(sketch.filled().len(), 1);
        sketch.advance(u64::MAX);
        assert_eq!(sketch.percentile(500, WHOLE), None);
    }
}
