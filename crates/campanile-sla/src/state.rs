use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::report::SloReport;
use crate::status::SloStatus;

/// The latest state of an SLO, readable without a lock.
#[derive(Debug)]
pub(crate) struct AtomicState {
    status: AtomicU64,
    /// The bits of a float, of which NaN is `None`; as the fields below.
    current: AtomicU64,
    consumed: AtomicU64,
    burn_rate: AtomicU64,
    /// In seconds.
    exhausted_in: AtomicU64,
    /// Whether events were ignored, because the SLO's source is not manual.
    has_ignored: AtomicBool,
}

const STATUSES: [SloStatus; 5] = [
    SloStatus::NoData,
    SloStatus::Provisional,
    SloStatus::Compliant,
    SloStatus::Warning,
    SloStatus::Violated,
];

const HOUR: Duration = Duration::from_secs(60 * 60);

impl AtomicState {
    /// Sets the state from a report.
    pub(crate) fn update(&self, report: &SloReport) {
        // While the status is provisional the budget is reported as without data, so that an
        // application does not shed load for a single failure after a start.
        let budget = report.budget.as_ref();
        let budget = budget.filter(|_| report.status != SloStatus::Provisional);
        let burn_rates = budget.map_or(&[][..], |budget| &budget.burn_rates);
        let last_hour = burn_rates.iter().find(|burn| burn.window == HOUR);
        let burn_rate = last_hour.and_then(|burn| burn.rate).unwrap_or(f64::NAN);
        let consumed = budget.map_or(0.0, |budget| budget.consumed);
        let exhausted_in = budget.and_then(|budget| budget.exhausted_in);
        let exhausted_in = exhausted_in.map_or(f64::NAN, |time| time.as_secs_f64());
        for (field, value) in [
            (&self.current, report.current.unwrap_or(f64::NAN)),
            (&self.consumed, consumed),
            (&self.burn_rate, burn_rate),
            (&self.exhausted_in, exhausted_in),
        ] {
            field.store(value.to_bits(), Ordering::Relaxed);
        }
        self.status.store(report.status as u64, Ordering::Relaxed);
    }

    pub(crate) fn status(&self) -> SloStatus {
        let number = self.status.load(Ordering::Relaxed);
        let mut statuses = STATUSES.into_iter();
        let status = statuses.find(|status| *status as u64 == number);
        status.unwrap_or(SloStatus::NoData)
    }

    pub(crate) fn current(&self) -> Option<f64> {
        known(&self.current)
    }

    /// Returns the consumed share of the budget; 0 without one.
    pub(crate) fn consumed(&self) -> f64 {
        known(&self.consumed).unwrap_or(0.0)
    }

    pub(crate) fn burn_rate(&self) -> Option<f64> {
        known(&self.burn_rate)
    }

    pub(crate) fn exhausted_in(&self) -> Option<Duration> {
        let seconds = known(&self.exhausted_in)?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// Remembers that an event was ignored.
    pub(crate) fn set_ignored(&self) {
        self.has_ignored.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_ignored(&self) -> bool {
        self.has_ignored.load(Ordering::Relaxed)
    }
}

/// Returns a float, unless it is NaN.
fn known(bits: &AtomicU64) -> Option<f64> {
    let value = f64::from_bits(bits.load(Ordering::Relaxed));
    Some(value).filter(|value| !value.is_nan())
}

impl Default for AtomicState {
    fn default() -> Self {
        let none = || AtomicU64::new(f64::NAN.to_bits());
        Self {
            status: AtomicU64::new(SloStatus::NoData as u64),
            current: none(),
            consumed: AtomicU64::new(0),
            burn_rate: none(),
            exhausted_in: none(),
            has_ignored: AtomicBool::new(false),
        }
    }
}
