use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyperloglockless::HyperLogLog;

use crate::registry::Refresh;
use crate::{Gauge, RegisterError, Registry, clock};

/// A gauge with the estimated number of distinct values in a window of time, such as the users of
/// the last day.
///
/// ```
/// use std::time::Duration;
///
/// use campanile_metrics::{DistinctCount, Registry};
///
/// let registry = Registry::new();
/// let day = Duration::from_secs(24 * 60 * 60);
/// let users = DistinctCount::new(&registry, "daily_active_users", day)?;
/// for user in ["ada", "grace", "ada"] {
///     users.insert(user);
/// }
/// assert!((1..=2).contains(&users.count())); // an estimate: all but certainly 2
/// # Ok::<_, campanile_metrics::RegisterError>(())
/// ```
///
/// The estimate has a standard error of 1.6 % (HyperLogLog with 4,096 registers). Each 24th of the
/// window has its own sketch, so the count covers between one window and 25/24 of it. It takes 100
/// KiB for any number of values, and stores only hashes with a random key of the process. It starts
/// empty with the process. Counts of several processes can't be summed.
///
/// [`Registry::refresh`] updates the gauge. `Campanile::run` calls it every 10 s.
///
/// A clone shares the state (an `Arc`).
#[derive(Clone)]
pub struct DistinctCount(Arc<Inner>);

struct Inner {
    gauge: Gauge,
    /// The duration of a slot.
    slot: Duration,
    begun: Instant,
    hasher: RandomState,
    ring: Mutex<Ring>,
}

/// The sketches of the window and of the current slot.
struct Ring {
    /// The number of the current slot since the start.
    newest: u64,
    sketches: Vec<HyperLogLog<RandomState>>,
}

/// The number of slots of a window, besides the current one.
const SLOTS: u64 = 24;

/// The binary logarithm of the number of registers.
const PRECISION: u8 = 12;

impl DistinctCount {
    /// Registers a gauge, and returns the count for a window.
    ///
    /// # Errors
    ///
    /// If the name is invalid or belongs to another metric.
    pub fn new(registry: &Registry, name: &str, window: Duration) -> Result<Self, RegisterError> {
        let gauge = registry.gauge(name, &[])?;
        let hasher = RandomState::new();
        let empty = || HyperLogLog::with_hasher(PRECISION, hasher.clone());
        let inner = Arc::new(Inner {
            gauge,
            slot: (window / SLOTS as u32).max(Duration::from_nanos(1)),
            begun: clock::now(),
            ring: Mutex::new(Ring {
                newest: 0,
                sketches: (0..=SLOTS).map(|_| empty()).collect(),
            }),
            hasher,
        });
        registry.add_refreshed(Arc::downgrade(&inner) as _);
        Ok(Self(inner))
    }

    /// Adds a value. A value that is in the window already changes nothing.
    pub fn insert<T: Hash + ?Sized>(&self, thing: &T) {
        self.0.insert(self.0.hasher.hash_one(thing), clock::now());
    }

    /// Returns the estimated number of distinct values in the window. Takes a tenth of a
    /// millisecond.
    pub fn count(&self) -> u64 {
        self.0.count(clock::now())
    }
}

impl Inner {
    fn insert(&self, hash: u64, now: Instant) {
        let mut ring = self.advanced(now);
        let newest = place(ring.newest);
        if let Some(sketch) = ring.sketches.get_mut(newest) {
            sketch.insert_hash(hash);
        }
    }

    fn count(&self, now: Instant) -> u64 {
        let ring = self.advanced(now);
        let mut all = self.empty();
        for sketch in &ring.sketches {
            // The union only fails for sketches of different lengths.
            let _ = all.union(sketch);
        }
        drop(ring);
        all.raw_count().round() as u64
    }

    /// Returns the sketches after the expired ones were cleared.
    fn advanced(&self, now: Instant) -> MutexGuard<'_, Ring> {
        let slot = now.saturating_duration_since(self.begun).as_nanos() / self.slot.as_nanos();
        let slot = u64::try_from(slot).unwrap_or(u64::MAX);
        // No code that can panic runs under the lock.
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = slot.saturating_sub(ring.newest).min(SLOTS + 1);
        for slot in (0..gone).map(|back| slot - back) {
            if let Some(sketch) = ring.sketches.get_mut(place(slot)) {
                *sketch = self.empty();
            }
        }
        ring.newest = ring.newest.max(slot);
        ring
    }

    fn empty(&self) -> HyperLogLog<RandomState> {
        HyperLogLog::with_hasher(PRECISION, self.hasher.clone())
    }
}

/// Returns the index of the sketch of a slot.
fn place(slot: u64) -> usize {
    (slot % (SLOTS + 1)) as usize
}

impl Refresh for Inner {
    fn refresh(&self, now: Instant) {
        self.gauge.set(self.count(now) as f64);
    }
}

impl fmt::Debug for DistinctCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistinctCount")
            .field("window", &(self.0.slot * SLOTS as u32))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[test]
    fn what_came_a_window_ago_is_forgotten() {
        let registry = Registry::new();
        let users = DistinctCount::new(&registry, "users", 24 * HOUR).unwrap();
        let begun = users.0.begun;
        // Always the same hashes, and so the same estimates.
        let hash = |user: u32| u64::from(user + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let insert = |user: u32, hour: u32| users.0.insert(hash(user), begun + HOUR * hour);
        let count = |hour: u32| users.0.count(begun + HOUR * hour);
        (0..100).for_each(|user| insert(user, 0));
        (50..120).for_each(|user| insert(user, 10));
        let about = |count: u64, expected: u64| count.abs_diff(expected) <= 3;
        assert!(about(count(10), 120), "{}", count(10));
        assert!(about(count(24), 120), "{}", count(24));
        assert!(about(count(25), 70), "{}", count(25));
        // Time that goes backwards changes nothing.
        assert!(about(count(3), 70), "{}", count(3));
        assert_eq!(count(35), 0);
        insert(7, 1_000);
        assert_eq!(count(1_000), 1);
        registry.refresh(begun + HOUR * 1_000);
        assert_eq!(registry.get("users", &[]), Some(Value::Gauge(1.0)));
        drop(users);
        registry.refresh(begun + HOUR * 2_000);
        assert_eq!(registry.get("users", &[]), Some(Value::Gauge(1.0)));
    }

    #[test]
    fn a_million_things_are_counted_to_a_few_percent() {
        let things = DistinctCount::new(&Registry::new(), "things", HOUR).unwrap();
        for thing in 0..1_000_000 {
            things.insert(&thing);
            if thing % 3 == 0 {
                things.insert(&thing);
            }
        }
        let count = things.count();
        // Five standard deviations.
        assert!(count.abs_diff(1_000_000) < 80_000, "{count}");
    }

    #[test]
    fn threads_may_insert_at_the_same_time() {
        let things = DistinctCount::new(&Registry::new(), "things", HOUR).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let things = &things;
                scope.spawn(move || {
                    (0..1_000).for_each(|thing| things.insert(&(thread * 500 + thing)));
                });
            }
        });
        assert!(things.count().abs_diff(2_500) < 200, "{}", things.count());
    }

    #[test]
    fn a_window_of_nothing_is_none_to_fear() {
        let things = DistinctCount::new(&Registry::new(), "things", Duration::ZERO).unwrap();
        things.insert("a");
        assert!(things.count() <= 1);
    }
}
