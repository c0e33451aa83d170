use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// Where a service is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// A [hold](crate::Health::hold_startup) is left, or the group `startup` has not been healthy yet.
    Starting,
    /// It works.
    Ready,
    /// It is about to end: it works, but is not ready for more.
    Draining,
    /// It has ended.
    Stopped,
}

impl Phase {
    /// Returns the phase in words: `starting`, `ready`, `draining`, `stopped`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// The phase. It only advances, except that a new run restarts a service that has stopped.
#[derive(Debug, Default)]
pub(crate) struct Life {
    phase: AtomicU8,
    holds: Arc<AtomicUsize>,
}

impl Life {
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            2 => Phase::Draining,
            _ => Phase::Stopped,
        }
    }

    /// Goes on to a phase, unless it is past it; returns whether it was not there yet.
    pub(crate) fn advance(&self, phase: Phase) -> bool {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed) < phase as u8
    }

    /// Starts over if the service has stopped; returns whether it had.
    pub(crate) fn restart(&self) -> bool {
        let (stopped, starting) = (Phase::Stopped as u8, Phase::Starting as u8);
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        let restarted = self
            .phase
            .compare_exchange(stopped, starting, success, failure);
        restarted.is_ok()
    }

    pub(crate) fn is_held(&self) -> bool {
        self.holds.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn hold(&self) -> StartupHold {
        self.holds.fetch_add(1, Ordering::Relaxed);
        StartupHold(Arc::clone(&self.holds))
    }
}

/// While there is one, the service is [starting](Phase::Starting); from [`Health::hold_startup`](crate::Health::hold_startup).
#[derive(Debug)]
#[must_use = "the service starts without it once this is dropped"]
pub struct StartupHold(Arc<AtomicUsize>);

impl Drop for StartupHold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
