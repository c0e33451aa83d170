//! A check and its results.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::check::{Kind, Thresholds};
use crate::outcome::Level;
use crate::{Check, Importance, Outcome, Status};

pub(crate) struct CheckState {
    pub(crate) check: Check,
    pub(crate) name: Arc<str>,
    /// The numbers of the checks that it depends on.
    pub(crate) depends_on: Vec<usize>,
    /// Requests a call before it is due.
    pub(crate) refresh: Notify,
    start: Instant,
    results: Mutex<Results>,
    /// A copy of the level that is read without a lock: 0 for none, otherwise 1 plus the level.
    level: AtomicU8,
    /// The time of the last result, in nanoseconds since the start.
    at: AtomicU64,
    /// The status of the last published transition.
    published: Mutex<Status>,
    /// Held during a call. A blocking call that has timed out still holds it.
    pub(crate) call: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Results {
    hysteresis: Hysteresis,
    last: Option<LastResult>,
    /// The number of results in a row with the level of the last one.
    repeated: u32,
}

#[derive(Clone)]
pub(crate) struct LastResult {
    pub(crate) outcome: Outcome,
    pub(crate) duration: Duration,
    pub(crate) wall: SystemTime,
}

/// A check's level, and the number of results in a row that differ from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hysteresis {
    level: Option<Level>,
    /// Whether these results are worse, and their number.
    against: (bool, u32),
}

impl Hysteresis {
    /// Applies a result, and returns the level.
    pub(crate) fn step(&mut self, result: Level, thresholds: Thresholds) -> Level {
        let Some(level) = self.level.filter(|level| *level != result) else {
            return self.settle(result);
        };
        let is_worse = result > level;
        let before = match self.against {
            (side, count) if side == is_worse => count,
            _ => 0,
        };
        let needed = match is_worse {
            true => thresholds.failures,
            false => thresholds.successes,
        };
        if before + 1 >= needed {
            return self.settle(result);
        }
        self.against = (is_worse, before + 1);
        level
    }

    fn settle(&mut self, level: Level) -> Level {
        *self = Self {
            level: Some(level),
            against: (false, 0),
        };
        level
    }
}

impl CheckState {
    pub(crate) fn new(check: Check, depends_on: Vec<usize>, start: Instant) -> Self {
        Self {
            name: check.name.as_str().into(),
            depends_on,
            refresh: Notify::new(),
            start,
            results: Mutex::default(),
            level: AtomicU8::new(0),
            at: AtomicU64::new(0),
            published: Mutex::new(Status::Unknown),
            call: Arc::default(),
            check,
        }
    }

    /// Records a result.
    pub(crate) fn record(
        &self,
        outcome: Outcome,
        duration: Duration,
        at: Instant,
        wall: SystemTime,
    ) {
        let mut results = self.results();
        if self.age(at) > self.check.max_age() {
            // The level is outdated.
            results.hysteresis = Hysteresis::default();
        }
        let is_repeated = results
            .last
            .as_ref()
            .is_some_and(|last| last.outcome.level == outcome.level);
        results.repeated = if is_repeated {
            results.repeated.saturating_add(1)
        } else {
            1
        };
        let level = results
            .hysteresis
            .step(outcome.level, self.check.thresholds);
        results.last = Some(LastResult {
            outcome,
            duration,
            wall,
        });
        self.at.store(self.nanoseconds(at), Ordering::Relaxed);
        self.level.store(1 + level as u8, Ordering::Release);
    }

    /// Returns the time from the start of the last call to the start of the next: the interval, or
    /// less while the check is not healthy or about to change.
    pub(crate) fn delay(&self) -> Duration {
        let results = self.results();
        let is_settled = results.hysteresis.against.1 == 0;
        if is_settled && results.hysteresis.level == Some(Level::Healthy) {
            return self.check.interval;
        }
        let factor = 1_u32.checked_shl(results.repeated.saturating_sub(1));
        let delay = self
            .check
            .retry_interval
            .saturating_mul(factor.unwrap_or(u32::MAX));
        delay.min(self.check.interval)
    }

    /// Returns the status. It takes no lock, and runs only checks that are immediate.
    pub(crate) fn status(&self, now: Instant) -> Status {
        match (self.level(now), self.check.importance) {
            (None, _) => Status::Unknown,
            (Some(Level::Healthy), _) => Status::Healthy,
            (Some(Level::Unhealthy), Importance::Critical) => Status::Unhealthy,
            (Some(Level::Unhealthy | Level::Degraded), _) => Status::Degraded,
        }
    }

    /// Returns whether the checked dependency works, independent of the check's importance. `None`
    /// if the status is unknown.
    pub(crate) fn works(&self, now: Instant) -> Option<bool> {
        self.level(now).map(|level| level != Level::Unhealthy)
    }

    fn level(&self, now: Instant) -> Option<Level> {
        match &self.check.kind {
            Kind::Immediate(check) => Some(check().level),
            Kind::Async(_) | Kind::Blocking(_) => match self.level.load(Ordering::Acquire) {
                0 => None,
                _ if self.age(now) > self.check.max_age() => None,
                1 => Some(Level::Healthy),
                2 => Some(Level::Degraded),
                _ => Some(Level::Unhealthy),
            },
        }
    }

    /// Returns the age of the last result.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        let at = self.at.load(Ordering::Relaxed);
        Duration::from_nanos(self.nanoseconds(now).saturating_sub(at))
    }

    /// Returns the last result, if there is one.
    pub(crate) fn last(&self) -> Option<LastResult> {
        match &self.check.kind {
            Kind::Immediate(check) => Some(LastResult {
                outcome: check(),
                duration: Duration::ZERO,
                wall: crate::clock::wall(),
            }),
            Kind::Async(_) | Kind::Blocking(_) => self.results().last.clone(),
        }
    }

    /// Calls a function with the old and the new status if the status has changed since the last
    /// call. Calls are serialized.
    pub(crate) fn if_changed(&self, now: Instant, publish: impl FnOnce(Status, Status)) {
        // Code under the lock cannot panic.
        let mut published = self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let status = self.status(now);
        let before = std::mem::replace(&mut *published, status);
        if before != status {
            publish(before, status);
        }
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn results(&self) -> MutexGuard<'_, Results> {
        // Code under the lock cannot panic.
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies the thresholds to a whole history.
    fn naive(history: &[Level], failures: usize, successes: usize) -> Level {
        let mut level = history[0];
        let mut from = 1;
        for end in 1..=history.len() {
            let run = |is_against: &dyn Fn(&Level) -> bool| {
                let results = history[from..end].iter().rev();
                results.take_while(|result| is_against(result)).count()
            };
            let worse = run(&|result| *result > level);
            let better = run(&|result| *result < level);
            if worse >= failures || better >= successes {
                level = history[end - 1];
                from = end;
            }
        }
        level
    }

    #[test]
    fn thresholds_agree_with_a_naive_implementation() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            let (failures, successes) = (random.u32(1..5), random.u32(1..5));
            let thresholds = Thresholds {
                failures,
                successes,
            };
            let mut hysteresis = Hysteresis::default();
            let mut history = Vec::new();
            for _ in 0..random.usize(1..30) {
                let levels = [Level::Healthy, Level::Degraded, Level::Unhealthy];
                history.push(levels[random.usize(..3)]);
                let level = hysteresis.step(history[history.len() - 1], thresholds);
                let expected = naive(&history, failures as usize, successes as usize);
                assert_eq!(level, expected, "{history:?} {thresholds:?}");
            }
        }
    }
}
