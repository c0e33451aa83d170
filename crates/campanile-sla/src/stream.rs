use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::counts::SliCounts;
use crate::shards::Shards;
use crate::sketch::Sketch;
use crate::windows::Windows;

/// The number of seconds by which an event may be late and still count in the current second,
/// without a lock.
const MAX_LATENESS: u64 = 2;

/// The counts of one indicator or route: events, uptime or time slices of a gauge.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The origin of monotonic times.
    origin: Instant,
    /// The current second, since the origin.
    second: AtomicU64,
    counts: Shards,
    sketches: Vec<Sketch>,
    /// Whether maintenance was in progress at the last roll.
    is_in_maintenance: AtomicBool,
    windows: Mutex<Windows>,
}

impl Stream {
    /// Creates a stream that starts at the wall clock time `wall`, with windows and percentiles of
    /// these lengths. All are in milliseconds.
    pub(crate) fn new(origin: Instant, wall: u64, spans: &[u64], sketches: &[u64]) -> Self {
        let sketch = |window: &u64| Sketch::new(*window, wall);
        Self {
            origin,
            second: AtomicU64::new(0),
            counts: Shards::new(),
            sketches: sketches.iter().map(sketch).collect(),
            is_in_maintenance: AtomicBool::new(false),
            windows: Mutex::new(Windows::new(wall, spans)),
        }
    }

    /// Creates an empty stream with the same time and maintenance.
    pub(crate) fn new_sibling(&self, spans: &[u64], now: Instant) -> Self {
        let windows = self.windows(now);
        let other = Self::new(self.origin, windows.offset(), spans, &[]);
        other.windows(now).set_maintenance(windows.maintenance());
        other
    }

    /// Counts an event that ended at a time.
    ///
    /// It waits for a lock only if the time is more than two seconds ago. If another thread is
    /// moving the counts into the rings, the event may count in the second before.
    #[inline]
    pub(crate) fn record(&self, good: bool, latency: Duration, at: Instant) {
        let second = at.saturating_duration_since(self.origin).as_secs();
        let current = self.second.load(Ordering::Relaxed);
        if second > current {
            self.try_roll(at);
        } else if second + MAX_LATENESS < current {
            self.record_late(good, latency, at);
            return;
        }
        self.counts.add(good, latency);
        if !self.sketches.is_empty() && !self.is_in_maintenance.load(Ordering::Relaxed) {
            for sketch in &self.sketches {
                sketch.record(latency);
            }
        }
    }

    /// Counts a late event at its time.
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
        if windows.is_in_maintenance(time) {
            return;
        }
        windows.add_at(time, SliCounts::one(good, latency));
        for sketch in &self.sketches {
            sketch.record_at(time, latency);
        }
    }

    /// Moves the counts into the rings, unless another thread is doing so.
    #[cold]
    fn try_roll(&self, now: Instant) {
        let windows = match self.windows.try_lock() {
            Ok(windows) => Some(windows),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut windows) = windows {
            self.roll(&mut windows, now);
        }
    }

    /// Compares the time with the wall clock, and sets the maintenance windows.
    ///
    /// Returns the milliseconds by which all counts were shifted, if they were.
    pub(crate) fn compare(
        &self,
        windows: &mut Windows,
        wall: u64,
        maintenance: &[(u64, u64)],
    ) -> Option<i64> {
        let shifted = windows.compare(wall);
        windows.set_maintenance(maintenance);
        let time = windows.time();
        for sketch in &self.sketches {
            match shifted {
                Some(by) => sketch.shift(by),
                None => sketch.advance(time),
            }
        }
        self.is_in_maintenance
            .store(windows.is_in_maintenance(time), Ordering::Relaxed);
        shifted
    }

    /// Sets whether the time from `at` on is good or bad; `None` for unknown.
    pub(crate) fn set_up(&self, up: Option<bool>, at: Instant) {
        self.windows(at).set_state(up);
    }

    /// Returns the windows, including all counts until now.
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
        let is_in_maintenance = windows.is_in_maintenance(windows.time());
        self.is_in_maintenance
            .store(is_in_maintenance, Ordering::Relaxed);
    }
}
