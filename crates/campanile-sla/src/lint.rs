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
}

/// Returns what there is to say of an objective.
pub(crate) fn lints(objective: &Objective) -> Vec<Lint> {
    let Some(allowed) = objective.target.allowed() else {
        return Vec::new();
    };
    let limits = budget::limits(allowed, objective.period.nominal());
    let unreachable = limits.filter(|(_, limit, ..)| !limit.is_reachable());
    unreachable
        .map(|(_, limit, long, _)| Lint::UnreachableBurnRate {
            objective: objective.name.clone(),
            long,
            factor: (limit.factor() * 1e3).round() / 1e3,
            least: 100.0 * (1.0 - limit.reachable() as f64 / WHOLE as f64),
        })
        .collect()
}
