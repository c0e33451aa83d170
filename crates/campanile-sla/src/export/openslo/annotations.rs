use std::time::Duration;

use campanile_series::format_duration;

use crate::slo::{ABANDONED_AFTER, Bound, Goal, Slo};

/// The prefix of the keys of our annotations.
pub(super) const PREFIX: &str = "campanile/";

/// Formats a duration in one unit, as OpenSLO does, and returns whether it is exact.
pub(super) fn shorthand(time: Duration) -> (String, bool) {
    let seconds = time.as_secs();
    let is_whole = time.subsec_nanos() == 0;
    let units = [("d", 86_400), ("h", 3_600), ("m", 60)];
    let exact = units
        .into_iter()
        .find(|(_, unit)| seconds.is_multiple_of(*unit));
    match exact.filter(|_| is_whole && seconds > 0) {
        Some((name, unit)) => (format!("{}{name}", seconds / unit), true),
        None => (format!("{}m", seconds / 60 + 1), false),
    }
}

/// Returns the annotations for the parts of an SLO that OpenSLO does not define.
pub(super) fn annotations(slo: &Slo) -> Vec<(&'static str, String)> {
    let (kind, within) = match &slo.goal {
        Goal::Availability(_) => ("availability", None),
        Goal::Latency(_, within) => ("latency", Some(within)),
        Goal::SuccessWithin(_, within) => ("success_within", Some(within)),
        Goal::Uptime(_) => ("uptime", None),
        Goal::Gauge(..) => ("gauge", None),
        Goal::ErrorRate(_) => ("error_rate", None),
        // These have no error budget, and are not exported.
        Goal::MeanLatency(_) | Goal::Percentile(..) | Goal::Throughput(_) => ("", None),
    };
    let mut all = vec![("kind", kind.to_owned())];
    all.extend(within.map(|within| ("within", nanoseconds(*within))));
    if let Goal::Gauge(_, bound) = &slo.goal {
        let (name, number) = match bound {
            Bound::AtMost(max) => ("at_most", max),
            Bound::AtLeast(min) => ("at_least", min),
        };
        all.push((name, number.to_string()));
    }
    let filters = &slo.filters;
    let predicates = [
        ("filter", filters.filter.is_some()),
        ("valid_if", filters.valid.is_some()),
        ("good_if", filters.good.is_some()),
    ];
    let predicates: Vec<_> = predicates
        .iter()
        .filter(|(_, is_set)| *is_set)
        .map(|(name, _)| *name)
        .collect();
    let length = slo.window.calendar().is_none().then(|| slo.window.length());
    let inexact = length.filter(|length| !shorthand(*length).1);
    for (name, value) in [
        ("window", inexact.map(nanoseconds)),
        (
            "routes",
            Some(filters.routes.join(" ")).filter(|routes| !routes.is_empty()),
        ),
        (
            "abandoned_after",
            Some(filters.abandoned_after)
                .filter(|latency| *latency != ABANDONED_AFTER)
                .map(nanoseconds),
        ),
        ("per_route", slo.per_route.map(|routes| routes.to_string())),
        ("source", slo.source.as_ref().map(ToString::to_string)),
        (
            "count_restart_as_down",
            slo.count_restart_as_down.then(|| "true".to_owned()),
        ),
        ("time_slice", slo.time_slice.map(format_duration)),
        (
            "predicates",
            Some(predicates.join(" ")).filter(|names| !names.is_empty()),
        ),
    ] {
        all.extend(value.map(|value| (name, value)));
    }
    all
}

/// Formats a duration as Prometheus does, or in nanoseconds if it is not in whole milliseconds.
pub(super) fn nanoseconds(time: Duration) -> String {
    match time.subsec_nanos() % 1_000_000 {
        0 => format_duration(time),
        _ => format!("{}ns", time.as_nanos()),
    }
}
