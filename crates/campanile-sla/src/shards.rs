//! Counters that many threads add to, each at a place of its own.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::ring::Reading;

/// What was counted since the beginning: it is never taken back, so that who reads it need not write.
#[derive(Debug)]
pub(crate) struct Shards {
    own: [Shard; PLACES],
    /// Of the threads that have no place.
    shared: Shard,
}

/// How many threads have a place of their own.
const PLACES: usize = 32;

/// A cache line, so that threads don't wait for each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard {
    good: AtomicU64,
    bad: AtomicU64,
    /// In nanoseconds.
    latency: AtomicU64,
}

/// 10 years in seconds, so that a mistake in one does not spoil the sum of all.
const LONGEST: u64 = 10 * 365 * 24 * 60 * 60;

impl Shards {
    pub(crate) fn new() -> Self {
        Self {
            own: std::array::from_fn(|_| Shard::default()),
            shared: Shard::default(),
        }
    }

    #[inline]
    pub(crate) fn add(&self, good: bool, latency: Duration) {
        let nanoseconds = latency.as_secs().min(LONGEST) * 1_000_000_000;
        let nanoseconds = nanoseconds + u64::from(latency.subsec_nanos());
        match self.own.get(place()) {
            Some(shard) => {
                // No other thread writes here, so it takes no lock of the cache line.
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

    /// Returns all of it.
    pub(crate) fn sum(&self) -> Reading {
        let mut sum = Reading::default();
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
    /// The number of the thread's place.
    static PLACE: Cell<usize> = const { Cell::new(UNKNOWN) };
    /// What gives it to another thread when this one ends. It is apart, so that who counts need not ask whether it has ended.
    static LEASE: Lease = const { Lease };
}

const UNKNOWN: usize = usize::MAX;

struct Lease;

/// The places that threads have left, and the first one that none has had.
static FREE: Mutex<(Vec<usize>, usize)> = Mutex::new((Vec::new(), 0));

/// Returns the place of this thread; one that is none if all are taken.
#[inline]
fn place() -> usize {
    match PLACE.get() {
        UNKNOWN => take(),
        number => number,
    }
}

#[cold]
fn take() -> usize {
    // A thread that is about to end has none to give back.
    let number = LEASE.try_with(|_| {
        // The lock also shows the next thread what the last one has written at its place.
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

    /// More threads than there are places, one after the other and at once.
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
        assert_eq!(shards.sum().latency / 1_000_000_000, LONGEST);
    }
}
