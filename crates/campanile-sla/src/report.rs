use std::time::SystemTime;

use crate::adjustment::{Adjustment, MaintenanceWindow};
use crate::budget::Budget;
use crate::incident::Incident;
use crate::status::SloStatus;
use crate::window::Window;

/// The state of all SLOs at one time; from [`ServiceLevels::report`](crate::ServiceLevels::report).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The worst status of all SLOs.
    pub overall: SloStatus,
    /// The time of the report.
    pub at: SystemTime,
    /// The SLOs, in the order in which they were added.
    pub slos: Vec<SloReport>,
    /// The maintenance windows of the last 93 days, and the scheduled ones.
    pub maintenance: Vec<MaintenanceWindow>,
}

/// The state of one SLO.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SloReport {
    /// The SLO's name.
    pub name: String,
    /// The target value, in `unit`.
    pub target: f64,
    /// The measured value, in `unit`; `None` without data.
    pub current: Option<f64>,
    /// The unit: `%`, `ms` or `req/s`.
    pub unit: &'static str,
    /// The SLO's status.
    pub status: SloStatus,
    /// The SLO's window.
    pub window: Window,
    /// The start of the window.
    pub from: SystemTime,
    /// The end of the window; for a rolling window, the time of the report.
    pub until: SystemTime,
    /// The number of valid events in the window: milliseconds for an uptime SLO, and time slices
    /// for a gauge SLO.
    pub samples: u64,
    /// The number of bad events in the window.
    pub bad: u64,
    /// The number of samples that a status requires while the window is
    /// [young](crate#young-windows); 0 for a throughput SLO, which requires a minute.
    pub samples_needed: u64,
    /// Whether the window is [young](crate#young-windows). `status` then considers the rest of the
    /// window. All values are as counted.
    pub is_estimated: bool,
    /// The observed share of the window until now, from 0 to 1.
    pub coverage: f64,
    /// The error budget; `None` for an SLO without one.
    pub budget: Option<Budget>,
    /// The ten routes that consumed the most budget, in descending order. Empty unless
    /// [`Slo::per_route`](crate::Slo::per_route) is set.
    pub routes: Vec<RouteReport>,
    /// The SLO's routes, if no request has matched any of them and at least 100 other requests
    /// were counted; empty otherwise. See [`Lint::UnmatchedRoute`](crate::Lint::UnmatchedRoute).
    pub unmatched_routes: Vec<String>,
    /// The excluded failures of the window, in ascending order of their time.
    pub adjustments: Vec<Adjustment>,
    /// The [incidents](Incident) of the window, in ascending order of their start.
    pub incidents: Vec<Incident>,
    /// The number of incidents dropped because of the limit per day, since the process started.
    pub incidents_dropped: u64,
}

/// The share of one route in an SLO's budget.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RouteReport {
    /// The route; `_other_` for all routes beyond the limit.
    pub route: String,
    /// The number of valid requests.
    pub samples: u64,
    /// The number of bad requests.
    pub bad: u64,
    /// The consumed share of the SLO's budget: 1 is the whole budget.
    pub consumed: f64,
}

impl Report {
    /// Removes all SLOs except the one with this name.
    pub fn retain(&mut self, name: &str) {
        self.slos.retain(|slo| slo.name == name);
        self.overall = worst(&self.slos);
    }

    pub(crate) fn new(
        slos: Vec<SloReport>,
        maintenance: Vec<MaintenanceWindow>,
        at: SystemTime,
    ) -> Self {
        Self {
            overall: worst(&slos),
            at,
            slos,
            maintenance,
        }
    }
}

fn worst(slos: &[SloReport]) -> SloStatus {
    let statuses = slos.iter().map(|slo| slo.status);
    statuses.max().unwrap_or(SloStatus::NoData)
}
