use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::ring::Reading;
use crate::shards::Shards;
use crate::sketch::Sketch;
use crate::windows::Windows;

/// Events that ended up to this number of seconds before the current one count in it, without a lock.
const LATE: u64 = 2;

/// What is counted of one thing: exchanges, times in which something is up, or slices of a gauge's time.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The origin of monotonic times.
    origin: Instant,
    /// The second, since the origin, that is being counted.
    second: AtomicU64,
    counts: Shards,
    sketches: Vec<Sketch>,
    /// Whether nothing counts, as of the last move.
    is_maintained: AtomicBool,
    windows: Mutex<Windows>,
}

impl Stream {
    /// Starts at a time of the wall clock in milliseconds, with windows and percentiles of these lengths.
    pub(crate) fn new(origin: Instant, wall: u64, spans: &[u64], sketches: &[u64]) -> Self {
        let sketch = |window: &u64| Sketch::new(*window, wall);
        Self {
            origin,
            second: AtomicU64::new(0),
            counts: Shards::new(),
            sketches: sketches.iter().map(sketch).collect(),
            is_maintained: AtomicBool::new(false),
            windows: Mutex::new(Windows::new(wall, spans)),
        }
    }

    /// Returns another one that has the same time, and nothing yet.
    pub(crate) fn beside(&self, spans: &[u64], now: Instant) -> Self {
        let windows = self.windows(now);
        let other = Self::new(self.origin, windows.offset(), spans, &[]);
        other.windows(now).maintain(windows.maintenance());
        other
    }

    /// Counts something that ended at a time.
    ///
    /// It never waits, unless the time is more than two seconds ago: in the one case that another thread is moving the counts into the rings, it may count for the second before.
    #[inline]
    pub(crate) fn record(&self, good: bool, latency: Duration, at: Instant) {
        let second = at.saturating_duration_since(self.origin).as_secs();
        let current = self.second.load(Ordering::Relaxed);
        if second > current {
            self.turn(at);
        } else if second + LATE < current {
            self.record_late(good, latency, at);
            return;
        }
        self.counts.add(good, latency);
        if !self.sketches.is_empty() && !self.is_maintained.load(Ordering::Relaxed) {
            for sketch in &self.sketches {
                sketch.record(latency);
            }
        }
    }

    /// Counts something that ended before the current second, at its own time.
    #[cold]
    fn record_late(&self, good: bool, latency: Duration, at: Instant) {
        let windows = self.windows.lock();
        let mut windows = windows.unwrap_or_else(PoisonError::into_inner);
        let (offset, milliseconds) = (windows.offset(), |time: Duration| {
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        });
        let time = match at.checked_duration_since(self.origin) {
            Some(after) => offset.saturating_add(milliseconds(after)),
            None => offset.saturating_sub(milliseconds(self.origin.duration_since(at))),
        };
        if windows.is_maintained(time) {
            return;
        }
        windows.add_at(time, Reading::one(good, latency));
        for sketch in &self.sketches {
            sketch.record_at(time, latency);
        }
    }

    /// Moves the counts into the rings, unless another thread does.
    #[cold]
    fn turn(&self, now: Instant) {
        let windows = match self.windows.try_lock() {
            Ok(windows) => Some(windows),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut windows) = windows {
            self.roll(&mut windows, now);
        }
    }

    /// Compares with the wall clock, and sets the times in which nothing counts.
    ///
    /// Returns by how many milliseconds all counts moved, if they did.
    pub(crate) fn compare(
        &self,
        windows: &mut Windows,
        wall: u64,
        maintenance: &[(u64, u64)],
    ) -> Option<i64> {
        let shifted = windows.compare(wall);
        windows.maintain(maintenance);
        let time = windows.time();
        for sketch in &self.sketches {
            match shifted {
                Some(by) => sketch.shift(by),
                None => sketch.advance(time),
            }
        }
        self.is_maintained
            .store(windows.is_maintained(time), Ordering::Relaxed);
        shifted
    }

    /// Says whether the time is good or bad from a moment on, or that it is not known.
    pub(crate) fn set_up(&self, up: Option<bool>, at: Instant) {
        self.windows(at).set_state(up);
    }

    /// Returns the rings, with all that has been counted in them.
    pub(crate) fn windows(&self, now: Instant) -> MutexGuard<'_, Windows> {
        // Nothing that can panic runs under the lock.
        let windows = self.windows.lock();
        let mut windows = windows.unwrap_or_else(PoisonError::into_inner);
        self.roll(&mut windows, now);
        windows
    }

    pub(crate) fn sketches(&self) -> &[Sketch] {
        &self.sketches
    }

    /// Moves the counts into the rings.
    #[cold]
    fn roll(&self, windows: &mut Windows, now: Instant) {
        let mono = now.saturating_duration_since(self.origin);
        let second = self.second.fetch_max(mono.as_secs(), Ordering::Relaxed);
        windows.add_up_to(second.saturating_mul(1_000), self.counts.sum());
        windows.advance(u64::try_from(mono.as_millis()).unwrap_or(u64::MAX));
        for sketch in &self.sketches {
            sketch.advance(windows.time());
        }
        let is_maintained = windows.is_maintained(windows.time());
        self.is_maintained.store(is_maintained, Ordering::Relaxed);
    }
}
