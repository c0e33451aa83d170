use std::time::Duration;

use campanile_series::format_duration;

use crate::active_slo::ActiveSlo;
use crate::budget;
use crate::ratio::PARTS;

/// A warning about a valid SLO of little use; from
/// [`ServiceLevels::lints`](crate::ServiceLevels::lints).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Lint {
    /// An alert can never fire: a window with failures only does not reach its burn rate. It is
    /// left out, here and in exported rules.
    #[error(
        "unreachable burn rate {factor} of SLO {slo:?} over {}: expected a target of at least \
         {min_target:.3}%",
        format_duration(*long)
    )]
    UnreachableBurnRate {
        /// The SLO's name.
        slo: String,
        /// The alert's long window.
        long: Duration,
        /// The alert's burn rate.
        factor: f64,
        /// The lowest target with this alert, in percent of good events.
        min_target: f64,
    },
    /// An alert can never fire: its windows contain too few time slices of the gauge. It is left
    /// out, here and in exported rules.
    #[error(
        "too long time slice {} of SLO {slo:?} for the alert over {}: expected a shorter one",
        format_duration(*slice),
        format_duration(*long)
    )]
    TooFewSlices {
        /// The SLO's name.
        slo: String,
        /// The alert's long window.
        long: Duration,
        /// The length of a time slice.
        slice: Duration,
    },
    /// No request has matched the SLO's routes, and at least 100 other requests were counted since
    /// the process started.
    #[error(
        "unmatched route{} {} of SLO {slo:?} after {requests} requests: expected a full route \
         template, including the prefix of `nest`, as in the label `endpoint` of the HTTP metrics",
        if routes.len() == 1 { "" } else { "s" },
        routes.iter().map(|route| format!("{route:?}")).collect::<Vec<_>>().join(", ")
    )]
    UnmatchedRoute {
        /// The SLO's name.
        slo: String,
        /// The SLO's routes.
        routes: Vec<String>,
        /// The number of valid requests.
        requests: u64,
    },
    /// The application called [`SloHandle::good`](crate::SloHandle::good) or
    /// [`SloHandle::bad`](crate::SloHandle::bad), but the SLO has another source or kind.
    #[error(
        "ignored events of SLO {slo:?}: expected `Slo::source(Source::Manual)`, and neither an \
         uptime nor a gauge"
    )]
    IgnoredEvents {
        /// The SLO's name.
        slo: String,
    },
}

/// The number of requests after which an unmatched route is reported.
pub(crate) const MIN_REQUESTS: u64 = 100;

/// Returns the lints of an SLO that don't depend on its counts.
pub(crate) fn lints(slo: &ActiveSlo) -> Vec<Lint> {
    let Some(allowed) = slo.target.allowed() else {
        return Vec::new();
    };
    let limits = budget::limits(allowed, slo.period.nominal());
    let lint = |(_, limit, long, short): (_, budget::Limit, _, _)| {
        let slice = slo.slice();
        if let Some(slice) = slice.filter(|slice| !budget::Limit::fits(*slice, long, short)) {
            return Some(Lint::TooFewSlices {
                slo: slo.name.clone(),
                long,
                slice,
            });
        }
        (!limit.is_reachable()).then(|| Lint::UnreachableBurnRate {
            slo: slo.name.clone(),
            long,
            factor: (limit.factor() * 1e3).round() / 1e3,
            // Rounded up to the third decimal place.
            min_target: ((PARTS - limit.reachable()).div_ceil(10_000) * 10_000) as f64
                / (PARTS / 100) as f64,
        })
    };
    limits.filter_map(lint).collect()
}
