use std::fmt;
use std::time::Duration;

use campanile_series::Matcher;

use crate::slo::Slo;

/// The SLOs in the formats of other tools; from
/// [`ServiceLevels::export`](crate::ServiceLevels::export).
///
/// All formats read the counter `campanile_slo_events_total{slo, result}`, which the monitor
/// publishes. It counts good and bad events as this process does, including predicates and exact
/// latency limits. So Prometheus evaluates the same counts. [Excluded
/// failures](crate::ServiceLevels::exclude_failures) remain in the counter.
///
/// SLOs without an error budget are not exported. The rules use the last 30 days for a calendar
/// month, and the last 90 days for a quarter.
#[derive(Clone, Debug)]
pub struct Export {
    pub(super) service: String,
    /// The matchers of the counter.
    pub(super) matchers: Vec<Matcher>,
    pub(super) slos: Vec<ExportedSlo>,
}

/// An SLO to export.
#[derive(Clone, Debug)]
pub(super) struct ExportedSlo {
    pub(super) name: String,
    /// In parts of [`PARTS`](crate::ratio::PARTS).
    pub(super) allowed: u64,
    /// The window of the rules.
    pub(super) period: Duration,
    pub(super) definition: Slo,
}

/// The counter that all formats read.
pub(super) const EVENTS: &str = "campanile_slo_events_total";

impl ExportedSlo {
    /// Returns the SLO's identifier in Sloth's labels.
    pub(super) fn id(&self, service: &str) -> String {
        format!("{service}-{}", self.name)
    }
}

/// The selector of the series of one SLO.
pub(super) struct Selector<'a> {
    pub(super) service: &'a str,
    pub(super) slo: &'a ExportedSlo,
}

/// Writes `{sloth_id="orders-availability", sloth_service="orders", sloth_slo="availability"}`.
impl fmt::Display for Selector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, slo } = self;
        let (id, name) = (slo.id(service), &slo.name);
        write!(
            f,
            "{{sloth_id=\"{id}\", sloth_service=\"{service}\", sloth_slo=\"{name}\"}}"
        )
    }
}
