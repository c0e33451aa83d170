use std::collections::HashSet;
use std::fmt::Write;

use super::annotations::{PREFIX, annotations, shorthand};
use crate::export::definition::{Export, ExportedSlo};
use crate::export::yaml::{indented, map, quoted};
use crate::ratio::{PARTS, ratio};
use crate::slo::Slo;
use crate::window::Unit;

impl Export {
    /// Returns the SLOs as OpenSLO definitions in YAML.
    ///
    /// The indicator is the ratio of good and all events of the counter in Prometheus. The parts of
    /// an SLO that OpenSLO does not define, such as a latency limit, are in annotations
    /// `campanile/…`, which `from_open_slo` reads.
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

    fn document(&self, slo: &ExportedSlo, name: &str) -> String {
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
        let _ = writeln!(out, "  - target: {}", ratio(PARTS - slo.allowed));
        out
    }
}

/// Returns a name that is valid in OpenSLO: a DNS label (RFC 1123).
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
        // Both months and quarters start in January.
        let _ = write!(
            out,
            "  calendar:\n    startTime: \"2026-01-01 00:00:00\"\n    timeZone: {}\n",
            quoted(zone)
        );
    }
    out
}
