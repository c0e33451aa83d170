use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::adjustment::{self, Adjustment};
use crate::budget::{self, BurnAlert, Urgency};
use crate::error::AdjustError;
use crate::history::History;
use crate::indicator::Indicator;
use crate::slo::{Goal, Slo};
use crate::source::Source;
use crate::state::AtomicState;
use crate::target::Target;
use crate::time::{from_millis, to_millis};
use crate::view::AdjustedCounts;
use crate::window::Period;
use crate::windows::Windows;

mod report;

/// A validated SLO with its history and latest state.
#[derive(Debug)]
pub(crate) struct ActiveSlo {
    pub(crate) name: String,
    /// The SLO as given.
    pub(crate) definition: Slo,
    pub(crate) target: Target,
    pub(crate) period: Period,
    pub(crate) feeder: Feeder,
    /// The index of its indicator.
    pub(crate) indicator: usize,
    pub(crate) state: Arc<AtomicState>,
    history: Mutex<History>,
}

/// The component that provides the data of an SLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Feeder {
    /// The observer, or the application.
    Application,
    /// The monitor, from the health of the service or of one check.
    Health(Option<String>),
    /// The monitor, from the series that match a selector.
    Series(String),
}

impl ActiveSlo {
    pub(crate) fn new(definition: Slo, target: Target, period: Period) -> Self {
        let feeder = match (&definition.goal, definition.source_or_default()) {
            (Goal::Uptime(_), Source::Health) => Feeder::Health(None),
            (Goal::Uptime(_), Source::Check(check)) => Feeder::Health(Some(check)),
            (Goal::Gauge(..), Source::Series(selector)) => Feeder::Series(selector),
            _ => Feeder::Application,
        };
        Self {
            name: definition.name.clone(),
            definition,
            target,
            period,
            feeder,
            indicator: 0,
            state: Arc::default(),
            history: Mutex::default(),
        }
    }

    /// Returns the number of samples that correspond to one request.
    pub(crate) fn unit(&self) -> u64 {
        self.definition.unit()
    }

    /// Returns the length of the time slices of a gauge.
    pub(crate) fn slice(&self) -> Option<Duration> {
        self.definition.slice_of_gauge()
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Excludes failures. There must be as many around that time that are not excluded yet.
    pub(crate) fn exclude_failures(
        &self,
        windows: &Windows,
        adjustment: Adjustment,
        now: u64,
    ) -> Result<(), AdjustError> {
        let mut history = self.history();
        // The wall clock may be slightly ahead of the clock of the windows.
        let time_of = |adjustment: &Adjustment| to_millis(adjustment.at).min(windows.time());
        let (from, to) = windows.around(time_of(&adjustment));
        let counted = windows.between(from, to).bad();
        let others = history.adjustments.iter();
        let others = others.filter(|other| (from..=to).contains(&time_of(other)));
        let excluded = others.map(|other| other.bad).fold(0, u64::saturating_add);
        let available = counted.saturating_sub(excluded);
        if adjustment.bad > available && !history.adjustments.contains(&adjustment) {
            return Err(AdjustError::TooManyBad {
                bad: adjustment.bad,
                available,
            });
        }
        adjustment::add(&mut history.adjustments, adjustment, now, |adjustment| {
            adjustment.at
        })
    }

    /// Returns the burn rate alerts.
    pub(crate) fn burn_alerts(&self, windows: &Windows) -> Vec<BurnAlert> {
        self.evaluate_alerts(&mut self.history(), windows)
    }

    fn evaluate_alerts(&self, history: &mut History, windows: &Windows) -> Vec<BurnAlert> {
        let Some(allowed) = self.target.allowed() else {
            return Vec::new();
        };
        let counts = AdjustedCounts::new(windows, &history.adjustments);
        // After a restart only the open incident shows that a page was firing.
        let is_paging = history.incidents.is_open();
        let was_firing = |urgency, long| {
            (is_paging && urgency == Urgency::Page) || history.firing.contains(&long)
        };
        let kind = (self.slice(), self.unit());
        let alerts = budget::alerts(&self.name, allowed, &self.period, kind, counts, was_firing);
        let firing = alerts.iter().filter(|alert| alert.is_firing);
        history.firing = firing.map(|alert| alert.long).collect();
        alerts
    }

    /// Updates the latest state and the incidents.
    pub(crate) fn update(&self, indicator: &Indicator, windows: &Windows) {
        let report = self.report(indicator, windows);
        let mut history = self.history();
        let alerts = self.evaluate_alerts(&mut history, windows);
        let at = from_millis(windows.time());
        let bad = windows.total().bad;
        history.incidents.update(report.status, &alerts, at, bad);
    }
}
