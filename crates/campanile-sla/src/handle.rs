use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::indicator::Indicator;
use crate::recorder::instant;
use crate::spec::SourceKind;
use crate::state::AtomicState;
use crate::status::SloStatus;

/// A handle to one SLO, from [`ServiceLevels::slo`](crate::ServiceLevels::slo): its latest state,
/// and its events.
///
/// Each reader takes a few atomic loads, so a request handler can call it. The state is updated by
/// [`ServiceLevels::tick`](crate::ServiceLevels::tick), which `Campanile` calls every 5 s, and by
/// each report.
///
/// ```
/// use std::time::Duration;
///
/// use campanile_sla::{ServiceLevels, Slo, Source};
///
/// let levels = ServiceLevels::builder()
///     .slo(Slo::availability("jobs", "99%").source(Source::Manual))
///     .build()?;
/// let jobs = levels.slo("jobs")?;
/// jobs.good(Duration::from_secs(3));
/// jobs.bad(Duration::from_secs(30));
///
/// assert_eq!(levels.slo_report("jobs")?.bad, 1);
/// assert_eq!(jobs.current(), Some(50.0));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// A clone refers to the same SLO (an `Arc`).
#[derive(Clone)]
pub struct SloHandle {
    state: Arc<AtomicState>,
    indicator: Arc<Indicator>,
}

impl SloHandle {
    pub(crate) fn new(state: Arc<AtomicState>, indicator: Arc<Indicator>) -> Self {
        Self { state, indicator }
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> SloStatus {
        self.state.status()
    }

    /// Returns the measured value, in the SLO's unit; `None` without data.
    #[must_use]
    pub fn current(&self) -> Option<f64> {
        self.state.current()
    }

    /// Returns the remaining share of the error budget: at most 1, and negative if the budget is
    /// overspent.
    ///
    /// It is 1 for an SLO without an error budget, without data, and while the status is
    /// [`SloStatus::Provisional`].
    #[must_use]
    pub fn budget_remaining(&self) -> f64 {
        1.0 - self.state.consumed()
    }

    /// Returns the burn rate of the last hour: at 1 the budget lasts for exactly the SLO's window.
    ///
    /// It is `None` without data, and while the status is [`SloStatus::Provisional`].
    #[must_use]
    pub fn burn_rate(&self) -> Option<f64> {
        self.state.burn_rate()
    }

    /// Returns the time until the budget is exhausted at the burn rate of the last hour.
    ///
    /// It is zero if the budget is exhausted, and `None` if it will not be.
    #[must_use]
    pub fn exhausted_in(&self) -> Option<Duration> {
        self.state.exhausted_in()
    }

    /// Counts a good event that took `latency` and ended now.
    ///
    /// A latency SLO, and one of [`success_within`](crate::Slo::success_within), count it as bad if
    /// it took too long. If the SLO's source is not [`Source::Manual`](crate::Source::Manual), or
    /// the SLO is an uptime or a gauge, the event is not counted, and
    /// [`Lint::IgnoredEvents`](crate::Lint::IgnoredEvents) reports it.
    #[inline]
    pub fn good(&self, latency: Duration) {
        self.record(true, latency);
    }

    /// Counts a bad event that took `latency` and ended now, as [`good`](Self::good) does.
    ///
    /// A latency SLO counts it as good if it was fast enough.
    #[inline]
    pub fn bad(&self, latency: Duration) {
        self.record(false, latency);
    }

    #[inline]
    fn record(&self, good: bool, latency: Duration) {
        match self.indicator.kind {
            SourceKind::Manual => self.indicator.record(good, latency, instant()),
            _ => self.state.set_ignored(),
        }
    }
}

impl fmt::Debug for SloHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SloHandle")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
