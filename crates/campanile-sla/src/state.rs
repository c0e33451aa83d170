use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Standing;
use crate::report::ObjectiveReport;

/// How an objective stood a few seconds ago: read without a lock, so that each request can ask. From [`Sla::slo`](crate::Sla::slo).
///
/// It is kept up to date by [`Sla::advance`](crate::Sla::advance), which `Campanile` calls at each tick (5 s), and by each report.
///
/// A clone is the same (an `Arc`).
#[derive(Clone, Debug)]
pub struct SloHandle(pub(crate) Arc<Kept>);

/// What is kept of a report.
#[derive(Debug)]
pub(crate) struct Kept {
    standing: AtomicU64,
    /// The bits of floats; NaN is nothing.
    current: AtomicU64,
    consumed: AtomicU64,
    last_hour: AtomicU64,
    /// In seconds.
    exhausted_in: AtomicU64,
}

/// How an objective stood.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SloState {
    /// How it stood.
    pub standing: Standing,
    /// The figure, in the objective's unit; `None` without data.
    pub current: Option<f64>,
    consumed: f64,
    last_hour: Option<f64>,
    exhausted_in: Option<Duration>,
}

impl SloState {
    /// Returns whether there is too little to judge by, so that the budget is told as if there were no data.
    #[must_use]
    pub fn is_provisional(&self) -> bool {
        self.standing == Standing::Provisional
    }

    /// Returns how much of the error budget is left, from 1 down; below 0 if more was used than there is. 1 for objectives that have none, without
    /// data, and while it is [provisional](Self::is_provisional).
    #[must_use]
    pub fn budget_remaining(&self) -> f64 {
        1.0 - self.consumed
    }

    /// Returns how fast the budget was used in the last hour: at 1 it lasts for exactly the objective's window. `None` without data, and
    /// while it is provisional.
    #[must_use]
    pub fn burn_rate(&self) -> Option<f64> {
        self.last_hour
    }

    /// Returns when the budget is used up if the last hour goes on; zero if it is, and `None` if it never will be.
    #[must_use]
    pub fn exhausted_in(&self) -> Option<Duration> {
        self.exhausted_in
    }
}

impl SloHandle {
    /// Returns how the objective stood.
    #[must_use]
    pub fn state(&self) -> SloState {
        let float = |bits: &AtomicU64| f64::from_bits(bits.load(Ordering::Relaxed));
        let known = |value: f64| Some(value).filter(|value| !value.is_nan());
        let standing = self.0.standing.load(Ordering::Relaxed);
        SloState {
            standing: STANDINGS
                .into_iter()
                .find(|of| *of as u64 == standing)
                .unwrap_or(Standing::NoData),
            current: known(float(&self.0.current)),
            consumed: float(&self.0.consumed),
            last_hour: known(float(&self.0.last_hour)),
            exhausted_in: known(float(&self.0.exhausted_in))
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        }
    }
}

const STANDINGS: [Standing; 5] = [
    Standing::NoData,
    Standing::Provisional,
    Standing::Compliant,
    Standing::Warning,
    Standing::Violated,
];

const HOUR: Duration = Duration::from_secs(60 * 60);

impl Kept {
    pub(crate) fn keep(&self, report: &ObjectiveReport) {
        // A gate stays open until there is something to close it for.
        let budget = report.budget.as_ref();
        let budget = budget.filter(|_| report.standing != Standing::Provisional);
        let burn_rates = budget.map_or(&[][..], |budget| &budget.burn_rates);
        let last_hour = burn_rates.iter().find(|burn| burn.window == HOUR);
        let last_hour = last_hour.and_then(|burn| burn.rate).unwrap_or(f64::NAN);
        let consumed = budget.map_or(0.0, |budget| budget.consumed);
        let exhausted_in = budget.and_then(|budget| budget.exhausted_in);
        let exhausted_in = exhausted_in.map_or(f64::NAN, |time| time.as_secs_f64());
        for (place, value) in [
            (&self.current, report.current.unwrap_or(f64::NAN)),
            (&self.consumed, consumed),
            (&self.last_hour, last_hour),
            (&self.exhausted_in, exhausted_in),
        ] {
            place.store(value.to_bits(), Ordering::Relaxed);
        }
        self.standing
            .store(report.standing as u64, Ordering::Relaxed);
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            standing: AtomicU64::new(Standing::NoData as u64),
            current: AtomicU64::new(f64::NAN.to_bits()),
            consumed: AtomicU64::new(0),
            last_hour: AtomicU64::new(f64::NAN.to_bits()),
            exhausted_in: AtomicU64::new(f64::NAN.to_bits()),
        }
    }
}

/// There is no objective of a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no objective {name:?}: there are {}", .known.join(", "))]
#[non_exhaustive]
pub struct UnknownObjective {
    /// The name as given.
    pub name: String,
    /// The names that there are.
    pub known: Vec<String>,
}
