//! Counters with one shard per thread.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::counts::SliCounts;

/// Counts since the start of the process.
///
/// They only grow, so a reader computes differences and does not reset them.
#[derive(Debug)]
pub(crate) struct Shards {
    own: [Shard; PLACES],
    /// The shard of the threads without a place.
    shared: Shard,
}

/// The number of threads that have an exclusive shard.
const PLACES: usize = 32;

/// The counts of one thread, in a separate cache line to prevent false sharing.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard {
    good: AtomicU64,
    bad: AtomicU64,
    /// In nanoseconds.
    latency: AtomicU64,
}

/// The longest counted latency: 10 years in seconds. It limits the effect of a wrong one on the
/// sum.
const MAX_LATENCY: u64 = 10 * 365 * 24 * 60 * 60;

impl Shards {
    pub(crate) fn new() -> Self {
        Self {
            own: std::array::from_fn(|_| Shard::default()),
            shared: Shard::default(),
        }
    }

    #[inline]
    pub(crate) fn add(&self, good: bool, latency: Duration) {
        let nanoseconds = latency.as_secs().min(MAX_LATENCY) * 1_000_000_000;
        let nanoseconds = nanoseconds + u64::from(latency.subsec_nanos());
        match self.own.get(place()) {
            Some(shard) => {
                // Only this thread writes here, so no atomic read-modify-write is required.
                let add = |to: &AtomicU64, number: u64| {
                    let sum = to.load(Ordering::Relaxed).wrapping_add(number);
                    to.store(sum, Ordering::Relaxed);
                };
                add(if good { &shard.good } else { &shard.bad }, 1);
                add(&shard.latency, nanoseconds);
            }
            None => {
                let shard = &self.shared;
                let count = if good { &shard.good } else { &shard.bad };
                count.fetch_add(1, Ordering::Relaxed);
                shard.latency.fetch_add(nanoseconds, Ordering::Relaxed);
            }
        }
    }

    /// Returns the sum of all shards.
    pub(crate) fn sum(&self) -> SliCounts {
        let mut sum = SliCounts::default();
        for shard in self.own.iter().chain([&self.shared]) {
            let add =
                |to: &mut u64, of: &AtomicU64| *to = to.wrapping_add(of.load(Ordering::Relaxed));
            add(&mut sum.good, &shard.good);
            add(&mut sum.bad, &shard.bad);
            add(&mut sum.latency, &shard.latency);
        }
        sum
    }
}

thread_local! {
    /// The index of the thread's shard.
    static PLACE: Cell<usize> = const { Cell::new(UNKNOWN) };
    /// Returns the index to the pool when the thread ends. It is separate, so that counting does
    /// not have to check for destruction.
    static LEASE: Lease = const { Lease };
}

const UNKNOWN: usize = usize::MAX;

struct Lease;

/// The free indices, and the first index that was never used.
static FREE: Mutex<(Vec<usize>, usize)> = Mutex::new((Vec::new(), 0));

/// Returns the index of this thread's shard; [`PLACES`] if all are in use.
#[inline]
fn place() -> usize {
    match PLACE.get() {
        UNKNOWN => take(),
        number => number,
    }
}

#[cold]
fn take() -> usize {
    // A thread that is ending can't return an index any more.
    let number = LEASE.try_with(|_| {
        // The lock also makes the writes of the previous thread visible to the next one.
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, next) = &mut *free;
        left.pop().unwrap_or_else(|| {
            let number = *next;
            *next = (number + 1).min(PLACES);
            number
        })
    });
    let number = number.unwrap_or(PLACES);
    PLACE.set(number);
    number
}

impl Drop for Lease {
    fn drop(&mut self) {
        let number = PLACE.replace(PLACES);
        if number < PLACES {
            let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
            free.0.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts with more threads than shards, sequentially and concurrently.
    #[test]
    fn nothing_is_lost() {
        let shards = Shards::new();
        let tick = Duration::from_nanos(3);
        for _ in 0..3 {
            std::thread::scope(|scope| {
                for thread in 0..PLACES * 2 {
                    let shards = &shards;
                    scope.spawn(move || (0..1_000).for_each(|_| shards.add(thread % 2 == 0, tick)));
                }
            });
        }
        let sum = shards.sum();
        let each = PLACES as u64 * 3_000;
        assert_eq!((sum.good, sum.bad, sum.latency), (each, each, each * 6));
    }

    #[test]
    fn an_absurd_latency_is_cut() {
        let shards = Shards::new();
        shards.add(true, Duration::MAX);
        assert_eq!(shards.sum().latency / 1_000_000_000, MAX_LATENCY);
    }
}
