use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::find::LimitScope;
use super::inner::Registry;
use crate::clock;
use crate::counter::{Counter, CounterValue};
use crate::gauge::{Gauge, GaugeValue};
use crate::series::read;

/// The self-metrics and their descriptions.
const OWN: [(&str, &str); 4] = [
    (
        "campanile_registry_overflow_total",
        "New series of the family past a limit: summed in `_other_`, or not exported for gauges.",
    ),
    (
        "campanile_registry_rejected_total",
        "Rejected descriptions, and rejected registrations and duplicate labels of macros.",
    ),
    (
        "campanile_registry_truncated_labels_total",
        "Label values cut at the length limit.",
    ),
    (
        "campanile_registry_dropped_samples_total",
        "Dropped samples of histograms and summaries that were not finite.",
    ),
];

/// The self-metrics of the external exporter.
const FAILED: (&str, &str) = (
    "campanile_registry_exporter_failed_reads_total",
    "Failed reads of the external exporter.",
);
const AGE: (&str, &str) = (
    "campanile_registry_exporter_age_seconds",
    "Age of the values of the external exporter, in seconds.",
);
const OMITTED: (&str, &str) = (
    "campanile_registry_exporter_omitted_lines",
    "Lines of the external exporter that the last read omitted.",
);

/// The number of names from which on those of removed families are dropped.
const MAX_OVERFLOWING: usize = 1_000;

impl Registry {
    /// Updates the self-metrics. They appear with their first count, and are exempt from limits.
    pub(crate) fn publish_self_metrics(&self) {
        let [overflow, rejected, truncated, dropped] = OWN;
        for (own, count) in [
            (rejected, &self.0.rejected),
            (truncated, &self.0.truncated),
            (dropped, &*self.0.dropped),
        ] {
            self.publish(own, &[], count.load(Ordering::Relaxed));
        }
        self.publish_reading();
        let overflowing = self.overflowing().clone();
        for (name, before) in overflowing {
            let family = read(&self.0.families).get(&name).cloned();
            if let Some(family) = family {
                let all = before.saturating_add(family.overflowed());
                self.publish(overflow, &[("family", &name)], all);
            }
        }
    }

    /// Updates the self-metrics of the external exporter, if there is one.
    fn publish_reading(&self) {
        let Some(exporter) = &self.0.exporter else {
            return;
        };
        let now = clock::now();
        let reading = exporter.reading(now, self.constant());
        let taken = reading.families().iter();
        let taken = taken.filter(|external| self.has_names_of(external));
        let taken: u64 = taken.map(|external| external.lines).sum();
        let (age, failed) = exporter.status(now);
        self.publish(FAILED, &[], failed);
        if let Some(age) = age {
            self.publish_gauge(AGE, &[], age.as_secs_f64());
        }
        for (reason, lines) in [
            ("invalid", reading.invalid),
            ("name_taken", reading.taken + taken),
            ("over_limit", reading.over),
        ] {
            self.publish_gauge(OMITTED, &[("reason", reason)], lines as f64);
        }
    }

    fn publish_gauge(&self, (name, help): (&str, &str), labels: &[(&str, &str)], value: f64) {
        self.describe(name, help);
        let labels = labels.iter().copied();
        let found = self.series(name, labels, LimitScope::Exempt, |_| GaugeValue::default());
        if let Ok(found) = found {
            Gauge(found.series).set(value);
        }
    }

    /// Updates the self-metrics if a name is one of them.
    pub(super) fn publish_if_self_metric(&self, name: &str) {
        if name.starts_with("campanile_registry_") {
            self.publish_self_metrics();
        }
    }

    /// Records the first overflow of a family.
    pub(super) fn record_overflow(&self, family: &Arc<str>, max_series: usize) {
        {
            let mut overflowing = self.overflowing();
            if overflowing.len() >= MAX_OVERFLOWING {
                let families = read(&self.0.families);
                overflowing.retain(|name, _| families.get(name).is_some());
            }
            overflowing.entry(Arc::clone(family)).or_default();
        }
        tracing::warn!(
            %family,
            max_series,
            "series limit reached: new series are summed in `_other_`, new gauges are not exported"
        );
    }

    /// Records the overflows of a removed family, so that its count continues if it returns.
    pub(super) fn record_removed_overflow(&self, family: &str, overflowed: u64) {
        if let Some(before) = self.overflowing().get_mut(family) {
            *before = before.saturating_add(overflowed);
        }
    }

    fn overflowing(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, u64>> {
        let overflowing = self.0.overflowing.lock();
        overflowing.unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, (name, help): (&str, &str), labels: &[(&str, &str)], value: u64) {
        if value == 0 {
            return;
        }
        self.describe(name, help);
        let labels = labels.iter().copied();
        // This fails only if the application has another kind under this name.
        let found = self.series(name, labels, LimitScope::Exempt, |_| {
            CounterValue::default()
        });
        if let Ok(found) = found {
            Counter(found.series).absolute(value);
        }
    }
}
