use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// The lifecycle phase of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// A [hold](crate::Health::hold_startup) exists, or the group `startup` has not been healthy
    /// yet.
    Starting,
    /// The service has started.
    Ready,
    /// The service finishes its requests, and readiness fails so that it gets no new ones.
    Draining,
    /// The last [`run`](crate::Health::run) has ended.
    Stopped,
}

impl Phase {
    /// Returns the phase's name: `starting`, `ready`, `draining` or `stopped`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// The bit of the state that is set once the service was ready.
const STARTED: u8 = 1 << 7;

/// The current phase. It only advances, except that a new run restarts a stopped service.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    /// The phase, and [`STARTED`].
    state: AtomicU8,
    holds: Arc<AtomicUsize>,
}

impl Lifecycle {
    pub(crate) fn phase(&self) -> Phase {
        match self.state.load(Ordering::Relaxed) & !STARTED {
            0 => Phase::Starting,
            1 => Phase::Ready,
            2 => Phase::Draining,
            _ => Phase::Stopped,
        }
    }

    /// Returns whether the service has been ready since its last start.
    pub(crate) fn has_started(&self) -> bool {
        self.state.load(Ordering::Relaxed) & STARTED != 0
    }

    /// Advances to a phase; returns whether that changed anything.
    pub(crate) fn advance(&self, phase: Phase) -> bool {
        let started = if phase == Phase::Ready { STARTED } else { 0 };
        self.update(|state| {
            ((state & !STARTED) < phase as u8).then_some(state & STARTED | started | phase as u8)
        })
    }

    /// Starts over if the service has stopped; returns whether it had.
    pub(crate) fn restart(&self) -> bool {
        self.update(|state| {
            (state & !STARTED == Phase::Stopped as u8).then_some(Phase::Starting as u8)
        })
    }

    fn update(&self, next: impl Fn(u8) -> Option<u8>) -> bool {
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        self.state.fetch_update(success, failure, next).is_ok()
    }

    pub(crate) fn is_held(&self) -> bool {
        self.holds.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn hold(&self) -> StartupHold {
        self.holds.fetch_add(1, Ordering::Relaxed);
        StartupHold(Arc::clone(&self.holds))
    }
}

/// Keeps the service [starting](Phase::Starting) until it is dropped, from
/// [`Health::hold_startup`](crate::Health::hold_startup).
#[derive(Debug)]
#[must_use = "dropping the hold ends it"]
pub struct StartupHold(Arc<AtomicUsize>);

impl Drop for StartupHold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
