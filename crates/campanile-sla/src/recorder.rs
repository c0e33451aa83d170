use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::indicator::Indicator;

/// Counts the events of an SLO whose source is [`Source::Manual`](crate::Source::Manual), for
/// example jobs or messages.
///
/// It is created by [`ServiceLevels::event_recorder`](crate::ServiceLevels::event_recorder). A
/// clone counts for the same SLO (an `Arc`).
#[derive(Clone, Debug)]
pub struct EventRecorder(pub(crate) Recorder);

/// Sets the state of an [uptime](crate::Slo::uptime) SLO: up, down or unknown.
///
/// It is created by [`ServiceLevels::uptime_recorder`](crate::ServiceLevels::uptime_recorder). The
/// state is unknown until the first call. A clone sets the same state (an `Arc`).
#[derive(Clone, Debug)]
pub struct UptimeRecorder(pub(crate) Recorder);

/// Records the values of a [gauge](crate::Slo::gauge) SLO.
///
/// It is created by [`ServiceLevels::gauge_recorder`](crate::ServiceLevels::gauge_recorder). A time
/// slice without a value does not count. A clone records for the same SLO (an `Arc`).
#[derive(Clone, Debug)]
pub struct GaugeRecorder(pub(crate) Recorder);

impl EventRecorder {
    /// Counts a good event that took `latency` and ended now.
    ///
    /// A latency SLO, and one of [`success_within`](crate::Slo::success_within), count it as bad if
    /// it took too long.
    #[inline]
    pub fn good(&self, latency: Duration) {
        self.record_at(true, latency, instant());
    }

    /// Counts a bad event that took `latency` and ended now.
    ///
    /// A latency SLO counts it as good if it was fast enough.
    #[inline]
    pub fn bad(&self, latency: Duration) {
        self.record_at(false, latency, instant());
    }

    /// Counts an event that ended at `at`.
    ///
    /// A past event counts in the windows that contain its time. Don't pass a time in the future,
    /// such as a deadline: it moves the SLO's clock there. The call waits for a lock only if `at`
    /// is more than two seconds ago.
    #[inline]
    pub fn record_at(&self, good: bool, latency: Duration, at: Instant) {
        self.0.indicator.record(good, latency, at);
    }
}

impl UptimeRecorder {
    /// Sets the state from now on: up, down, or `None` for unknown.
    pub fn set(&self, up: impl Into<Option<bool>>) {
        self.set_at(up, instant());
    }

    /// Sets the state at the current time `at`. An earlier time is treated as the current time.
    pub fn set_at(&self, up: impl Into<Option<bool>>, at: Instant) {
        self.0.indicator.stream.set_up(up.into(), at);
    }
}

impl GaugeRecorder {
    /// Records a value; NaN is ignored.
    pub fn observe(&self, value: f64) {
        self.observe_at(value, instant());
    }

    /// Records a value at a time; NaN is ignored.
    pub fn observe_at(&self, value: f64, at: Instant) {
        let Indicator { slices, stream, .. } = &*self.0.indicator;
        if let Some(slices) = slices {
            slices.observe(stream, value, at);
        }
    }
}

/// The indicator that a recorder records into.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) indicator: Arc<Indicator>,
    /// The SLO's name.
    pub(crate) slo: Arc<str>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorder").field(&self.slo).finish()
    }
}

/// Returns the current monotonic time.
#[inline]
#[expect(
    clippy::disallowed_methods,
    reason = "applications record without a time, and tests pass one"
)]
pub(crate) fn instant() -> Instant {
    Instant::now()
}
