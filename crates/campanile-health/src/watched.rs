//! A check, and what is known of it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::check::{Kind, Thresholds};
use crate::outcome::Level;
use crate::{Check, Importance, Outcome, Status};

pub(crate) struct Watched {
    pub(crate) check: Check,
    pub(crate) name: Arc<str>,
    /// The checks that it depends on, by their numbers.
    pub(crate) depends_on: Vec<usize>,
    /// Asks for a call before it is due.
    pub(crate) refresh: Notify,
    start: Instant,
    state: Mutex<State>,
    /// A copy of the state's level that is read without a lock: 0 for none, else 1 and the level.
    level: AtomicU8,
    /// When the last result came, in nanoseconds since the start.
    at: AtomicU64,
    /// The status that was reported last.
    told: Mutex<Status>,
    /// The right to call the check.
    pub(crate) place: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    standing: Standing,
    last: Option<Last>,
    /// How many results in a row were of the last one's level.
    repeated: u32,
}

/// The last result.
#[derive(Clone)]
pub(crate) struct Last {
    pub(crate) outcome: Outcome,
    pub(crate) duration: Duration,
    pub(crate) wall: SystemTime,
}

/// A check's level, and the number of results in a row that differ from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    level: Option<Level>,
    /// Whether they are worse, and how many.
    against: (bool, u32),
}

impl Standing {
    /// Takes a result into account; returns the level.
    pub(crate) fn step(&mut self, result: Level, thresholds: Thresholds) -> Level {
        let Some(level) = self.level.filter(|level| *level != result) else {
            *self = Self {
                level: Some(result),
                against: (false, 0),
            };
            return result;
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

impl Watched {
    pub(crate) fn new(check: Check, depends_on: Vec<usize>, start: Instant) -> Self {
        Self {
            name: check.name.as_str().into(),
            depends_on,
            refresh: Notify::new(),
            start,
            state: Mutex::default(),
            level: AtomicU8::new(0),
            at: AtomicU64::new(0),
            told: Mutex::new(Status::Unknown),
            place: Arc::default(),
            check,
        }
    }

    /// Takes a result into account.
    pub(crate) fn note(&self, outcome: Outcome, duration: Duration, at: Instant, wall: SystemTime) {
        let mut state = self.state();
        if self.age(at) > self.check.longest() {
            // The level is outdated.
            state.standing = Standing::default();
        }
        let is_repeated = state
            .last
            .as_ref()
            .is_some_and(|last| last.outcome.level == outcome.level);
        state.repeated = if is_repeated {
            state.repeated.saturating_add(1)
        } else {
            1
        };
        let level = state.standing.step(outcome.level, self.check.thresholds);
        state.last = Some(Last {
            outcome,
            duration,
            wall,
        });
        self.at.store(self.nanoseconds(at), Ordering::Relaxed);
        self.level.store(1 + level as u8, Ordering::Release);
    }

    /// Returns the time from the start of the last call to that of the next: the period, or less
    /// while the check is not healthy or about to change.
    pub(crate) fn delay(&self) -> Duration {
        let state = self.state();
        let is_steady = state.standing.against.1 == 0;
        if is_steady && state.standing.level == Some(Level::Healthy) {
            return self.check.interval;
        }
        let doubled = 1_u32.checked_shl(state.repeated.saturating_sub(1));
        let retry = self
            .check
            .retry_interval
            .saturating_mul(doubled.unwrap_or(u32::MAX));
        retry.min(self.check.interval)
    }

    /// Returns how the check is; no lock is taken, and nothing is called but what is known at any time.
    pub(crate) fn status(&self, now: Instant) -> Status {
        match (self.level(now), self.check.importance) {
            (None, _) => Status::Unknown,
            (Some(Level::Healthy), _) => Status::Healthy,
            (Some(Level::Unhealthy), Importance::Critical) => Status::Unhealthy,
            (Some(Level::Unhealthy | Level::Degraded), _) => Status::Degraded,
        }
    }

    /// Returns whether what is checked works, whatever that means for the service; `None` if it is not known.
    pub(crate) fn works(&self, now: Instant) -> Option<bool> {
        self.level(now).map(|level| level != Level::Unhealthy)
    }

    fn level(&self, now: Instant) -> Option<Level> {
        match &self.check.kind {
            Kind::Immediate(find) => Some(find().level),
            Kind::Async(_) | Kind::Blocking(_) => match self.level.load(Ordering::Acquire) {
                0 => None,
                _ if self.age(now) > self.check.longest() => None,
                1 => Some(Level::Healthy),
                2 => Some(Level::Degraded),
                _ => Some(Level::Unhealthy),
            },
        }
    }

    /// Returns how long ago the last result came.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        let at = self.at.load(Ordering::Relaxed);
        Duration::from_nanos(self.nanoseconds(now).saturating_sub(at))
    }

    /// Returns the last result, if there is one.
    pub(crate) fn last(&self) -> Option<Last> {
        match &self.check.kind {
            Kind::Immediate(find) => Some(Last {
                outcome: find(),
                duration: Duration::ZERO,
                wall: crate::clock::wall(),
            }),
            Kind::Async(_) | Kind::Blocking(_) => self.state().last.clone(),
        }
    }

    /// Calls a function with how the check was when this was asked last and how it is, if that is something else: one after the other.
    pub(crate) fn if_changed(&self, now: Instant, tell: impl FnOnce(Status, Status)) {
        // Nothing that can panic runs under the lock.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let status = self.status(now);
        let before = std::mem::replace(&mut *told, status);
        if before != status {
            tell(before, status);
        }
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule, read off a whole history.
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
    fn thresholds_agree_with_the_rule() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            let (failures, successes) = (random.u32(1..5), random.u32(1..5));
            let thresholds = Thresholds {
                failures,
                successes,
            };
            let mut standing = Standing::default();
            let mut history = Vec::new();
            for _ in 0..random.usize(1..30) {
                let levels = [Level::Healthy, Level::Degraded, Level::Unhealthy];
                history.push(levels[random.usize(..3)]);
                let level = standing.step(history[history.len() - 1], thresholds);
                let expected = naive(&history, failures as usize, successes as usize);
                assert_eq!(level, expected, "{history:?} {thresholds:?}");
            }
        }
    }
}
