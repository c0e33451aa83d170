use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ring::Reading;
use crate::sketch::Sketch;
use crate::windows::Windows;

/// What is counted of one thing: exchanges, times in which something is up, or slices of a gauge's time.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The origin of monotonic times.
    origin: Instant,
    /// The second, since the origin, that is being counted.
    second: AtomicU64,
    good: AtomicU64,
    bad: AtomicU64,
    /// In nanoseconds.
    latency: AtomicU64,
    sketches: Vec<Sketch>,
    windows: Mutex<Windows>,
}

impl Stream {
    /// Starts at a time of the wall clock in milliseconds, with windows and percentiles of these lengths.
    pub(crate) fn new(origin: Instant, wall: u64, spans: &[u64], sketches: &[u64]) -> Self {
        let sketch = |window: &u64| Sketch::new(*window, wall);
        Self {
            origin,
            second: AtomicU64::new(0),
            good: AtomicU64::new(0),
            bad: AtomicU64::new(0),
            latency: AtomicU64::new(0),
            sketches: sketches.iter().map(sketch).collect(),
            windows: Mutex::new(Windows::new(wall, spans)),
        }
    }

    /// Counts something that ended at a moment.
    ///
    /// It never waits: in the one case that another thread is moving the counts into the rings, it counts for the second before.
    #[inline]
    pub(crate) fn record(&self, good: bool, latency: Duration, at: Instant) {
        let second = at.saturating_duration_since(self.origin).as_secs();
        if second > self.second.load(Ordering::Relaxed)
            && let Ok(mut windows) = self.windows.try_lock()
        {
            self.roll(&mut windows, at);
        }
        let counter = if good { &self.good } else { &self.bad };
        counter.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency.fetch_add(nanoseconds, Ordering::Relaxed);
        for sketch in &self.sketches {
            sketch.record(latency);
        }
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
        let counted = Reading {
            good: self.good.swap(0, Ordering::Relaxed),
            bad: self.bad.swap(0, Ordering::Relaxed),
            latency: self.latency.swap(0, Ordering::Relaxed),
            covered: 0,
        };
        windows.add(second.saturating_mul(1_000), counted);
        windows.advance(u64::try_from(mono.as_millis()).unwrap_or(u64::MAX));
        for sketch in &self.sketches {
            sketch.advance(windows.time());
        }
    }
}
