use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::source::Source;
use crate::{Sla, UnknownObjective};

/// Counts for an objective that is [tracked](crate::Slo::tracked): jobs, messages, anything that is good or bad; from
/// [`Sla::tracker`](crate::Sla::tracker).
///
/// A clone is the same.
#[derive(Clone, Debug)]
pub struct Tracker(pub(crate) Handle);

/// Says when something is up and when it is down, for an [uptime](crate::Slo::uptime); from [`Sla::uptime`](crate::Sla::uptime).
///
/// Before it is told for the first time, the time is neither. A clone is the same.
#[derive(Clone, Debug)]
pub struct Uptime(pub(crate) Handle);

/// Takes the values of a [gauge](crate::Slo::gauge) in; from [`Sla::slices`](crate::Sla::slices).
///
/// A slice without a value is neither good nor bad. A clone is the same.
#[derive(Clone, Debug)]
pub struct Slices(pub(crate) Handle);

impl Tracker {
    /// Counts a valid thing with its latency, at the time that it ended; for a latency and a combined objective, it is good if it was also fast
    /// enough.
    ///
    /// A time in the past counts in the windows that contain it. A time in the future moves the objective's clock there, so don't pass a deadline.
    /// It takes as little as [an exchange](crate#cost), and waits only if the time is more than two seconds ago.
    #[inline]
    pub fn record(&self, good: bool, latency: Duration, at: Instant) {
        self.0.source().record(good, latency, at);
    }
}

impl Uptime {
    /// Sets the state from now on: up, down, or `None` for unknown. `at` is the current time; an earlier one is treated as the current time.
    pub fn set(&self, up: impl Into<Option<bool>>, at: Instant) {
        self.0.source().stream.set_up(up.into(), at);
    }
}

impl Slices {
    /// Takes a value in; NaN is none.
    pub fn observe(&self, value: f64, at: Instant) {
        let source = self.0.source();
        if let Some(slices) = &source.slices {
            slices.observe(&source.stream, value, at);
        }
    }
}

/// A source of service levels.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) sla: Sla,
    /// Which of its sources.
    pub(crate) source: usize,
    pub(crate) name: Arc<str>,
}

impl Handle {
    fn source(&self) -> &Source {
        self.sla.source(self.source)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.name).finish()
    }
}

/// Nothing can be counted for an objective.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrackError {
    /// There is no objective of the name.
    #[error(transparent)]
    Unknown(#[from] UnknownObjective),
    /// It counts something else.
    #[error("the objective {name:?} {counts}: ask for {instead}")]
    Other {
        /// The objective.
        name: String,
        /// What it counts.
        counts: &'static str,
        /// What is for that.
        instead: &'static str,
    },
}
