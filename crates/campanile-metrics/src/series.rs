use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::ops::{Bound, Deref};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

/// A series: its labels and its value.
#[derive(Default)]
pub(crate) struct Series<C> {
    /// The labels as they are exposed, which identify the series in its family.
    pub(crate) labels: Arc<str>,
    /// The time of creation, in milliseconds since the Unix epoch.
    pub(crate) created: u64,
    /// Whether one of its labels has the name of a constant label.
    pub(crate) overrides: bool,
    /// The last sweep before which it was looked up, or at which it had a handle.
    touched: AtomicU32,
    /// Whether it is not exported.
    is_detached: bool,
    /// Whether it sums the values of rejected series.
    is_overflow: AtomicBool,
    /// Whether it was set to a value that was counted elsewhere.
    is_absolute: AtomicBool,
    cell: C,
}

impl<C> Series<C> {
    pub(crate) fn new(labels: Arc<str>, created: u64, sweep: u32, cell: C) -> Self {
        Self {
            labels,
            created,
            overrides: false,
            touched: AtomicU32::new(sweep),
            is_detached: false,
            is_overflow: AtomicBool::new(false),
            is_absolute: AtomicBool::new(false),
            cell,
        }
    }

    /// Returns a series that is not exported.
    pub(crate) fn detached(cell: C) -> Arc<Self> {
        let series = Self::new("".into(), 0, 0, cell);
        Arc::new(Self {
            is_detached: true,
            ..series
        })
    }

    /// Returns whether the series is exported and belongs to one label set only.
    pub(crate) fn is_own(&self) -> bool {
        !self.is_detached && !self.is_overflow()
    }

    /// Makes this the overflow series of the family.
    pub(crate) fn overflow(&self) {
        self.is_overflow.store(true, Relaxed);
    }

    /// Returns whether the series sums several label sets, so that none of them can set its value.
    pub(crate) fn is_overflow(&self) -> bool {
        self.is_overflow.load(Relaxed)
    }

    /// Records that the value was counted elsewhere.
    pub(crate) fn set_absolute(&self) {
        self.is_absolute.store(true, Relaxed);
    }

    /// Returns the start of the count in milliseconds since the Unix epoch, if it is known.
    pub(crate) fn counted_since(&self) -> Option<u64> {
        (!self.is_absolute.load(Relaxed)).then_some(self.created)
    }

    #[inline]
    pub(crate) fn touch(&self, sweep: u32) {
        // A store would take the value's cache line from other threads at each lookup.
        if self.touched.load(Relaxed) != sweep {
            self.touched.store(sweep, Relaxed);
        }
    }
}

impl<C> Deref for Series<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.cell
    }
}

/// The series of a family.
pub(crate) struct SeriesSet<C>(RwLock<Map<C>>);

impl<C> Default for SeriesSet<C> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

/// The locked series of a family.
pub(crate) struct Map<C> {
    /// In the order of their labels, so that all scrape responses have the same order.
    ordered: BTreeSet<ByLabels<C>>,
    /// The same series by the hash of their labels. Each step of the hash depends on random seeds,
    /// because labels can come from clients: a client can't prepare values that collide.
    hashed: HashSet<ByLabels<C>, SeedableRandomState>,
}

/// The references of a [`Map`] to each of its series.
const OWN_REFERENCES: usize = 2;

/// Returns a number from the random keys of the standard library.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

impl<C> Default for Map<C> {
    fn default() -> Self {
        static SHARED: LazyLock<SharedSeed> = LazyLock::new(|| SharedSeed::from_u64(random()));
        Self {
            ordered: BTreeSet::new(),
            hashed: HashSet::with_hasher(SeedableRandomState::with_seed(random(), &SHARED)),
        }
    }
}

impl<C> Map<C> {
    #[inline]
    pub(crate) fn get(&self, labels: &str) -> Option<&Arc<Series<C>>> {
        self.hashed.get(labels).map(|ByLabels(series)| series)
    }

    pub(crate) fn contains(&self, labels: &str) -> bool {
        self.hashed.contains(labels)
    }

    pub(crate) fn len(&self) -> usize {
        self.ordered.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }

    pub(crate) fn insert(&mut self, series: &Arc<Series<C>>) {
        self.ordered.insert(ByLabels(Arc::clone(series)));
        self.hashed.insert(ByLabels(Arc::clone(series)));
    }
}

impl<C> SeriesSet<C> {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Map<C>> {
        read(&self.0)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Map<C>> {
        write(&self.0)
    }

    pub(crate) fn get(&self, labels: &str) -> Option<Arc<Series<C>>> {
        self.read().get(labels).cloned()
    }

    /// Calls a closure for the series after a label set, until it returns false. Then it returns
    /// the labels of the last series.
    pub(crate) fn walk(
        &self,
        after: Option<&str>,
        mut each: impl FnMut(&Series<C>) -> bool,
    ) -> Option<Arc<str>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let set = self.read();
        for ByLabels(series) in set.ordered.range::<str, _>((from, Bound::Unbounded)) {
            if !each(series) {
                return Some(Arc::clone(&series.labels));
            }
        }
        None
    }

    /// Removes the series with these labels unless it has a handle. Returns whether it was removed.
    #[cfg(feature = "business")]
    pub(crate) fn remove(&self, labels: &str) -> bool {
        let mut set = self.write();
        let is_free = |series: &Arc<Series<C>>| Arc::strong_count(series) <= OWN_REFERENCES;
        set.get(labels).is_some_and(is_free)
            && set.hashed.remove(labels)
            && set.ordered.remove(labels)
    }

    /// Removes the series that were not used since a sweep, and returns their number. A series with
    /// a handle is in use, because writes through a handle leave no trace.
    pub(crate) fn remove_idle(&self, before: u32, now: u32) -> usize {
        let mut set = self.write();
        let Map { ordered, hashed } = &mut *set;
        let all = ordered.len();
        // New handles come from this map only, which is locked.
        ordered.retain(|ByLabels(series)| {
            if Arc::strong_count(series) > OWN_REFERENCES {
                series.touch(now);
            }
            let is_kept = series.touched.load(Relaxed) >= before;
            if !is_kept {
                hashed.remove(&*series.labels);
            }
            is_kept
        });
        if hashed.len() < hashed.capacity() / 4 {
            hashed.shrink_to_fit();
        }
        all - ordered.len()
    }
}

/// A series, ordered and hashed by its labels.
struct ByLabels<C>(Arc<Series<C>>);

impl<C> Borrow<str> for ByLabels<C> {
    fn borrow(&self) -> &str {
        &self.0.labels
    }
}

impl<C> Ord for ByLabels<C> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.labels.cmp(&other.0.labels)
    }
}

impl<C> PartialOrd for ByLabels<C> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<C> PartialEq for ByLabels<C> {
    fn eq(&self, other: &Self) -> bool {
        self.0.labels == other.0.labels
    }
}

impl<C> Eq for ByLabels<C> {}

impl<C> Hash for ByLabels<C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.labels.hash(state);
    }
}

/// Locks for reading. No code that can panic runs under these locks, so poisoning is ignored.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing.
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_of_a_map_have_the_same_series() {
        let set = SeriesSet::<u8>::default();
        let label = |number: u32| format!("k=\"{number}\"");
        let series: Vec<_> = (0..1_000)
            .map(|number| Arc::new(Series::new(label(number).into(), 0, number % 10, 0)))
            .collect();
        series.iter().for_each(|series| set.write().insert(series));
        let held = Arc::clone(&series[3]);
        drop(series);
        assert_eq!(set.remove_idle(9, 9), 899);
        let map = set.read();
        assert_eq!((map.len(), map.hashed.len()), (101, 101));
        assert!(map.hashed.capacity() < 500, "{}", map.hashed.capacity());
        let ordered: Vec<_> = map.ordered.iter().map(|ByLabels(series)| series).collect();
        assert!(ordered.is_sorted_by_key(|series| &series.labels));
        for series in ordered {
            let found = map.get(&series.labels);
            assert!(found.is_some_and(|found| Arc::ptr_eq(found, series)));
        }
        assert!(map.contains(&held.labels));
        assert!(!map.contains(&label(4)));
    }

    /// Returns labels of 48 bytes that have one hash with the constants of `rustc_hash`, whatever
    /// its seed is.
    fn colliding() -> Vec<String> {
        let state = |block: &str| {
            let half =
                |at: usize| u64::from_le_bytes(block.as_bytes()[at..at + 8].try_into().unwrap());
            let product = u128::from(0x243f_6a88_85a3_08d3 ^ half(0))
                * u128::from(0xa409_3822_299f_31d0 ^ half(8));
            (product as u64 ^ (product >> 64) as u64).to_le_bytes()
        };
        // A factor of the last product is zero, so that the other one makes no difference.
        let is_text = |bytes: &[u8; 8]| bytes.iter().all(u8::is_ascii_alphanumeric);
        let mut blocks = (0u64..).map(|number| format!("k=\"{number:013}"));
        let block = blocks.find(|block| is_text(&state(block))).unwrap();
        let state = String::from_utf8(state(&block).into()).unwrap();
        let label = |number| format!("{block}0123456789abcdef{state}{number:07}\"");
        (0..1_000).map(label).collect()
    }

    /// A lookup among 1,000 series with one hash would take 23 µs.
    #[test]
    fn values_that_collide_for_each_seed_of_a_weak_hash_do_not_collide() {
        let labels = colliding();
        for seed in [0, 1, 7_777] {
            let weak = rustc_hash::FxSeededState::with_seed(seed);
            let first = weak.hash_one(labels[0].as_str());
            let is_first = |label: &String| weak.hash_one(label.as_str()) == first;
            assert!(labels.iter().all(is_first));
        }
        let map = Map::<u8>::default();
        let hashes = |map: &Map<u8>| -> BTreeSet<u64> {
            let hash = |label: &String| map.hashed.hasher().hash_one(label.as_str());
            labels.iter().map(hash).collect()
        };
        let here = hashes(&map);
        assert!(here.len() > 990, "{} hashes of 1,000 labels", here.len());
        let other = hashes(&Map::default());
        assert!(
            here.intersection(&other).count() < 10,
            "each map has its own seed"
        );
    }
}
