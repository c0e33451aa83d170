//! OpenSLO, `openslo/v1`: the specification is that of github.com/OpenSLO/OpenSLO.

use std::collections::HashSet;
use std::fmt::Write;
use std::time::Duration;

use campanile_series::format_duration;

use super::yaml::{indented, map, quoted};
use super::{Export, Exported};
use crate::Slo;
use crate::share::{WHOLE, ratio};
use crate::slo::{ABANDONED, Bound, Goal};
use crate::window::Unit;

/// What the keys of our annotations begin with.
pub(super) const PREFIX: &str = "campanile/";

impl Export {
    /// Returns a definition for each objective, in OpenSLO's YAML: a ratio of good ones and all, over the counter in Prometheus. What OpenSLO has no
    /// words for, such as the bound of a latency, is in annotations `campanile/…`, by which `from_open_slo` makes the same objectives of
    /// it.
    #[must_use]
    pub fn open_slo(&self) -> String {
        let mut names = HashSet::new();
        let documents = self.slos.iter().map(|slo| {
            let mut name = resource_name(&slo.name);
            let stem = name.clone();
            let mut number = 2;
            while !names.insert(name.clone()) {
                name = format!("{stem}-{number}");
                number += 1;
            }
            self.document(slo, &name)
        });
        documents.collect::<Vec<_>>().join("---\n")
    }

    fn document(&self, slo: &Exported, name: &str) -> String {
        let mut out = String::from("apiVersion: openslo/v1\nkind: SLO\nmetadata:\n");
        let _ = writeln!(
            out,
            "  name: {}\n  displayName: {}",
            quoted(name),
            quoted(&slo.name)
        );
        let annotations = annotations(&slo.definition).into_iter();
        let annotations = annotations.map(|(key, value)| (format!("{PREFIX}{key}"), value));
        map(&mut out, 2, "annotations", annotations);
        let _ = writeln!(out, "spec:\n  service: {}", quoted(&self.service));
        let _ = writeln!(
            out,
            "  indicator:\n    metadata:\n      name: {}",
            quoted(name)
        );
        out += "    spec:\n      ratioMetric:\n        counter: true\n";
        for (part, result) in [("good", ",result=\"good\""), ("total", "")] {
            let query = format!("sum({})", self.events(slo, result));
            let _ = writeln!(out, "        {part}:");
            out += "          metricSource:\n            type: Prometheus\n";
            let _ = writeln!(
                out,
                "            spec:\n              query: {}",
                quoted(&query)
            );
        }
        out += &indented(&time_window(&slo.definition), 2);
        out += "  budgetingMethod: Occurrences\n  objectives:\n";
        let _ = writeln!(out, "  - target: {}", ratio(WHOLE - slo.allowed));
        out
    }
}

/// Makes a name that OpenSLO takes: a label of the domain name system (RFC 1123).
fn resource_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase().replace(['.', '_'], "-");
    let name: String = lower.trim_matches('-').chars().take(60).collect();
    match name.trim_end_matches('-') {
        "" => "slo".to_owned(),
        name => name.to_owned(),
    }
}

fn time_window(slo: &Slo) -> String {
    let (duration, zone) = match slo.window.calendar() {
        None => (shorthand(slo.window.length()).0, None),
        Some((Unit::Month, zone)) => ("1M".to_owned(), Some(zone)),
        Some((Unit::Quarter, zone)) => ("1Q".to_owned(), Some(zone)),
    };
    let mut out = format!(
        "timeWindow:\n- duration: {duration}\n  isRolling: {}\n",
        zone.is_none()
    );
    if let Some(zone) = zone {
        // A January from which both months and quarters can be counted.
        let _ = write!(
            out,
            "  calendar:\n    startTime: \"2026-01-01 00:00:00\"\n    timeZone: {}\n",
            quoted(zone)
        );
    }
    out
}

/// Writes a duration as OpenSLO does, in one unit, and returns whether it is exact.
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

/// What OpenSLO has no words for.
fn annotations(slo: &Slo) -> Vec<(&'static str, String)> {
    let (objective, within) = match &slo.goal {
        Goal::Availability(_) => ("availability", None),
        Goal::Latency(_, within) => ("latency", Some(within)),
        Goal::Combined(_, within) => ("combined", Some(within)),
        Goal::Uptime(_) => ("uptime", None),
        Goal::Gauge(..) => ("gauge", None),
        Goal::ErrorRate(_) => ("error_rate", None),
        // Those have no budget, and are not exported.
        Goal::ResponseTime(_) | Goal::Percentile(..) | Goal::Throughput(_) => ("", None),
    };
    let mut all = vec![("objective", objective.to_owned())];
    all.extend(within.map(|within| ("within", nanoseconds(*within))));
    if let Goal::Gauge(_, bound) = &slo.goal {
        let (name, number) = match bound {
            Bound::AtMost(most) => ("at_most", most),
            Bound::AtLeast(least) => ("at_least", least),
        };
        all.push((name, number.to_string()));
    }
    let select = &slo.select;
    let closures = [
        ("requests", select.requests.is_some()),
        ("valid", select.valid.is_some()),
        ("good", select.good.is_some()),
    ];
    let closures: Vec<_> = closures
        .iter()
        .filter(|(_, is_set)| *is_set)
        .map(|(name, _)| *name)
        .collect();
    let length = slo.window.calendar().is_none().then(|| slo.window.length());
    let inexact = length.filter(|length| !shorthand(*length).1);
    let flag = |is_set: bool| is_set.then(|| "true".to_owned());
    for (name, value) in [
        ("window", inexact.map(nanoseconds)),
        (
            "routes",
            Some(select.routes.join(" ")).filter(|routes| !routes.is_empty()),
        ),
        (
            "abandoned_after",
            Some(select.abandoned_after)
                .filter(|latency| *latency != ABANDONED)
                .map(nanoseconds),
        ),
        ("per_route", slo.per_route.map(|routes| routes.to_string())),
        ("tracked", flag(slo.tracked)),
        ("down_while_gone", flag(slo.down_while_gone)),
        ("check", slo.check.clone()),
        ("slice", slo.slice.map(format_duration)),
        ("series", slo.series.clone()),
        (
            "closures",
            Some(closures.join(" ")).filter(|names| !names.is_empty()),
        ),
    ] {
        all.extend(value.map(|value| (name, value)));
    }
    all
}

/// Writes a duration to the nanosecond, as Prometheus would if it could.
pub(super) fn nanoseconds(time: Duration) -> String {
    match time.subsec_nanos() % 1_000_000 {
        0 => format_duration(time),
        _ => format!("{}ns", time.as_nanos()),
    }
}
