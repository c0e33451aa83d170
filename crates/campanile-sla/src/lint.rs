use std::time::Duration;

use campanile_series::format_duration;

use crate::budget;
use crate::objective::Objective;
use crate::share::WHOLE;

/// Something about an objective that is valid, but is of less use than it looks; from [`Sla::lints`](crate::Sla::lints).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Lint {
    /// An alert can never ring: even if all were bad, its burn rate would not be reached. It is left out, here and in exported rules.
    #[error(
        "the objective {objective:?} allows so many failures that a burn rate of {factor} can't be reached: there is no alert over {}; a target of at least {least:.3}% has it",
        format_duration(*long)
    )]
    UnreachableBurnRate {
        /// The objective.
        objective: String,
        /// The alert's long window.
        long: Duration,
        /// The burn rate that it would ring at.
        factor: f64,
        /// The least target that has it, in percent of good ones.
        least: f64,
    },
    /// An alert can never ring: its windows have too few of the gauge's slices to judge by. It is left out, here and in exported rules.
    #[error(
        "the objective {objective:?} has slices of {} that are too few in some windows: there is no alert over {}; shorter slices have it",
        format_duration(*slice),
        format_duration(*long)
    )]
    TooFewSlices {
        /// The objective.
        objective: String,
        /// The alert's long window.
        long: Duration,
        /// The time of a slice.
        slice: Duration,
    },
    /// No request has matched the objective's routes, while at least 100 others were observed since the process began.
    #[error(
        "no request of the last {requests} matched the route{} {} of the objective {objective:?}: expected a full route template, including the prefix of `nest`, as in the label `endpoint` of the HTTP metrics",
        if routes.len() == 1 { "" } else { "s" },
        routes.iter().map(|route| format!("{route:?}")).collect::<Vec<_>>().join(", ")
    )]
    UnmatchedRoute {
        /// The objective.
        objective: String,
        /// Its routes.
        routes: Vec<String>,
        /// The number of valid requests that were observed.
        requests: u64,
    },
}

/// From how many requests on a route that none of them matched is reported.
pub(crate) const OBSERVED: u64 = 100;

/// Returns what there is to say of an objective.
pub(crate) fn lints(objective: &Objective) -> Vec<Lint> {
    let Some(allowed) = objective.target.allowed() else {
        return Vec::new();
    };
    let limits = budget::limits(allowed, objective.period.nominal());
    let lint = |(_, limit, long, short): (_, budget::Limit, _, _)| {
        let slice = objective.slice();
        if let Some(slice) = slice.filter(|slice| !budget::Limit::fits(*slice, long, short)) {
            return Some(Lint::TooFewSlices {
                objective: objective.name.clone(),
                long,
                slice,
            });
        }
        (!limit.is_reachable()).then(|| Lint::UnreachableBurnRate {
            objective: objective.name.clone(),
            long,
            factor: (limit.factor() * 1e3).round() / 1e3,
            // To the third decimal, and no less.
            least: ((WHOLE - limit.reachable()).div_ceil(10_000) * 10_000) as f64
                / (WHOLE / 100) as f64,
        })
    };
    limits.filter_map(lint).collect()
}
