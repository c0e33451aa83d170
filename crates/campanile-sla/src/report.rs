use std::time::{Duration, SystemTime};

use crate::Budget;

/// How an objective stands, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Standing {
    /// Nothing was counted, so that nothing can be said.
    NoData,
    /// It is met.
    Compliant,
    /// It is about to be missed, or missed by little.
    Warning,
    /// It is missed.
    Violated,
}

impl Standing {
    /// Returns the standing in words: `no_data`, `compliant`, `warning`, `violated`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoData => "no_data",
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
    pub window: Duration,
    /// How many valid exchanges the figure is made of.
    pub samples: u64,
    /// Which part of the window was watched, from 0 to 1.
    pub coverage: f64,
    /// What it allows, and how fast that is used; of availability and error rate only.
    pub budget: Option<Budget>,
}

impl Report {
    pub(crate) fn new(objectives: Vec<ObjectiveReport>, at: SystemTime) -> Self {
        let standings = objectives.iter().map(|objective| objective.standing);
        Self {
            overall: standings.max().unwrap_or(Standing::NoData),
            at,
            objectives,
        }
    }
}
