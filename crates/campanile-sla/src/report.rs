use std::time::SystemTime;

use crate::{Adjustment, Budget, Incident, Maintenance, Window};

/// How an objective stands, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Standing {
    /// Nothing was counted, so that nothing can be said.
    NoData,
    /// There are figures, but too few samples for a verdict. The window is [young](crate#young-windows), or there are fewer than 20 latencies.
    Provisional,
    /// It is met.
    Compliant,
    /// It is about to be missed, or missed by little.
    Warning,
    /// It is missed.
    Violated,
}

impl Standing {
    /// Returns the standing in words: `no_data`, `provisional`, `compliant`, `warning`, `violated`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoData => "no_data",
            Self::Provisional => "provisional",
            Self::Compliant => "compliant",
            Self::Warning => "warning",
            Self::Violated => "violated",
        }
    }
}

/// How all objectives stand; from [`Sla::report`](crate::Sla::report).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The worst of the objectives' standings.
    pub overall: Standing,
    /// The moment that the report is of.
    pub at: SystemTime,
    /// The objectives, in the order in which they were added.
    pub objectives: Vec<ObjectiveReport>,
    /// The times of maintenance that are known of.
    pub maintenance: Vec<Maintenance>,
}

/// How one objective stands.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ObjectiveReport {
    /// The name.
    pub name: String,
    /// What the figure should be, in the unit.
    pub target: f64,
    /// What the figure is, in the unit; `None` without data.
    pub current: Option<f64>,
    /// The unit: `%`, `ms` or `req/s`.
    pub unit: &'static str,
    /// How it stands.
    pub standing: Standing,
    /// The window that is judged.
    pub window: Window,
    /// When the window began.
    pub from: SystemTime,
    /// When the window ends; of one that rolls on, now.
    pub until: SystemTime,
    /// How many valid ones the figure is made of: exchanges, or what its tracker was told; of an uptime milliseconds, and of a gauge slices.
    pub samples: u64,
    /// How many of them were bad.
    pub bad: u64,
    /// The number of samples that a verdict takes while the window is young, in the unit of `samples`; 0 for a throughput, which takes a minute.
    pub samples_needed: u64,
    /// Whether the window is [young](crate#young-windows): `standing` then allows for the rest of the window. All figures are as they were counted.
    pub is_estimated: bool,
    /// Which part of the window, up to now, was watched, from 0 to 1.
    pub coverage: f64,
    /// What it allows, and how fast that is used; of objectives that allow a share of failures only.
    pub budget: Option<Budget>,
    /// The ten routes that used most of the budget, from the worst on, if routes are [told apart](crate::Slo::per_route).
    pub routes: Vec<RouteReport>,
    /// The objective's routes, if no request has matched any of them while at least 100 others were observed; else empty. See
    /// [`Lint::UnmatchedRoute`](crate::Lint::UnmatchedRoute).
    pub unmatched_routes: Vec<String>,
    /// What was forgiven in the window, by time.
    pub adjustments: Vec<Adjustment>,
    /// The [incidents](Incident) in the window, from the oldest on.
    pub incidents: Vec<Incident>,
    /// The number of incidents that were dropped because of the limit of a day, since the process began.
    pub incidents_dropped: u64,
}

/// What a route has to do with an objective.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RouteReport {
    /// The route; `_other_` is all that are too many.
    pub route: String,
    /// How many valid ones there were.
    pub samples: u64,
    /// How many of them were bad.
    pub bad: u64,
    /// How much of the objective's budget they used: 1 is all of it.
    pub consumed: f64,
}

impl Report {
    /// Leaves out all objectives but the one with a name.
    pub fn retain(&mut self, name: &str) {
        self.objectives.retain(|one| one.name == name);
        self.overall = worst(&self.objectives);
    }

    pub(crate) fn new(
        objectives: Vec<ObjectiveReport>,
        maintenance: Vec<Maintenance>,
        at: SystemTime,
    ) -> Self {
        Self {
            overall: worst(&objectives),
            at,
            objectives,
            maintenance,
        }
    }
}

fn worst(objectives: &[ObjectiveReport]) -> Standing {
    let standings = objectives.iter().map(|objective| objective.standing);
    standings.max().unwrap_or(Standing::NoData)
}
