use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use campanile_series::Now;

use crate::objective::Objective;
use crate::report::{ObjectiveReport, Report};
use crate::ring::Reading;
use crate::windows::Windows;
use crate::{
    BurnAlert, RestoreError, SlaBuilder, SliObserver, SloHandle, UnknownObjective, snapshot,
};

/// A service's objectives, and the counts that they are judged by.
///
/// A clone is the same (an `Arc`).
#[derive(Clone)]
pub struct Sla(Arc<Inner>);

struct Inner {
    objectives: Vec<Objective>,
    /// The origin of monotonic times.
    origin: Instant,
    /// The second, since the origin, that is being counted.
    second: AtomicU64,
    good: AtomicU64,
    bad: AtomicU64,
    /// In nanoseconds.
    latency: AtomicU64,
    windows: Mutex<Windows>,
}

impl Sla {
    /// Returns a builder.
    pub fn builder() -> SlaBuilder {
        SlaBuilder::default()
    }

    pub(crate) fn new(objectives: Vec<Objective>, now: Now) -> Self {
        Self(Arc::new(Inner {
            objectives,
            origin: now.mono,
            second: AtomicU64::new(0),
            good: AtomicU64::new(0),
            bad: AtomicU64::new(0),
            latency: AtomicU64::new(0),
            windows: Mutex::new(Windows::new(milliseconds(now.wall))),
        }))
    }

    /// Returns an observer that records each exchange that a layer sees.
    pub fn observer(&self) -> SliObserver {
        SliObserver::new(self.clone())
    }

    /// Counts a valid exchange that ended at a moment.
    ///
    /// It never waits: in the one case that another thread is moving the counts into the rings, it counts for the second before.
    #[inline]
    pub fn record(&self, good: bool, latency: Duration, at: Instant) {
        let inner = &*self.0;
        let second = at.saturating_duration_since(inner.origin).as_secs();
        if second > inner.second.load(Ordering::Relaxed)
            && let Ok(mut windows) = inner.windows.try_lock()
        {
            inner.roll(&mut windows, at);
        }
        let counter = if good { &inner.good } else { &inner.bad };
        counter.fetch_add(1, Ordering::Relaxed);
        let latency = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        inner.latency.fetch_add(latency, Ordering::Relaxed);
    }

    /// Compares its time with the wall clock, to leave a gap where the machine was suspended, and takes note of how the objectives
    /// [stand](Self::slo); to be called every few seconds.
    pub fn advance(&self, now: Now) {
        let mut windows = self.windows(now.mono);
        windows.compare(milliseconds(now.wall));
        for objective in &self.0.objectives {
            objective.report(&windows);
        }
    }

    /// Returns what tells how an objective stood at the last [look](Self::advance), without a lock.
    ///
    /// # Errors
    ///
    /// If there is none of this name.
    pub fn slo(&self, name: &str) -> Result<SloHandle, UnknownObjective> {
        let mut objectives = self.0.objectives.iter();
        let found = objectives.clone().find(|slo| slo.name == name);
        found
            .map(|objective| SloHandle(Arc::clone(&objective.kept)))
            .ok_or_else(|| UnknownObjective {
                name: name.to_owned(),
                known: objectives.by_ref().map(|slo| slo.name.clone()).collect(),
            })
    }

    /// Returns what was counted in the last so much time, 30 days at most.
    pub fn read(&self, window: Duration, now: Now) -> Reading {
        self.windows(now.mono).last(window)
    }

    /// Returns how all objectives stand.
    pub fn report(&self, now: Now) -> Report {
        let windows = self.windows(now.mono);
        let objectives = self.0.objectives.iter();
        Report::new(
            objectives
                .map(|objective| objective.report(&windows))
                .collect(),
            now.wall,
        )
    }

    /// Returns how one objective stands; `None` if there is none of this name.
    pub fn objective(&self, name: &str, now: Now) -> Option<ObjectiveReport> {
        let objective = self.0.objectives.iter().find(|slo| slo.name == name)?;
        Some(objective.report(&self.windows(now.mono)))
    }

    /// Returns the alerts on the budgets of all objectives, and whether they ring.
    pub fn burn_alerts(&self, now: Now) -> Vec<BurnAlert> {
        let windows = self.windows(now.mono);
        let objectives = self.0.objectives.iter();
        let alerts = objectives.flat_map(|objective| objective.burn_alerts(&windows));
        alerts.collect()
    }

    /// Returns all counts, to be [restored](Self::restore) later; at most 60 KB.
    pub fn snapshot(&self, now: Now) -> Vec<u8> {
        snapshot::write(&self.windows(now.mono))
    }

    /// Adds counts from before a restart. The time since then is a gap.
    ///
    /// Counts from the future, which a wall clock that was set back leaves behind, are kept: time goes on from them.
    ///
    /// # Errors
    ///
    /// If it is not a snapshot, or a damaged one; nothing is restored then.
    pub fn restore(&self, snapshot: &[u8], now: Now) -> Result<(), RestoreError> {
        let (time, readings) = snapshot::read(snapshot)?;
        self.windows(now.mono).merge(time, readings);
        Ok(())
    }

    /// Returns the rings, with all that has been counted in them.
    fn windows(&self, now: Instant) -> MutexGuard<'_, Windows> {
        // Nothing that can panic runs under the lock.
        let windows = self.0.windows.lock();
        let mut windows = windows.unwrap_or_else(PoisonError::into_inner);
        self.0.roll(&mut windows, now);
        windows
    }
}

impl Inner {
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
    }
}

fn milliseconds(wall: SystemTime) -> u64 {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Sla {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sla")
            .field("objectives", &self.0.objectives.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
