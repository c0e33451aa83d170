use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::find::LimitScope;
use super::inner::Registry;
use crate::clock;
use crate::counter::{Counter, CounterValue};
use crate::gauge::{Gauge, GaugeValue};
use crate::series::read;

/// The registry's own metrics and what they count.
const OWN: [(&str, &str); 4] = [
    (
        "campanile_registry_overflow_total",
        "Times that a new series of the family was turned away, to its `_other_` series or, for a gauge, to none.",
    ),
    (
        "campanile_registry_rejected_total",
        "Descriptions, and registrations and duplicate labels whose caller gets no error, that were refused.",
    ),
    (
        "campanile_registry_truncated_labels_total",
        "Times that a label value was cut.",
    ),
    (
        "campanile_registry_dropped_samples_total",
        "Samples of histograms that were not finite and were dropped.",
    ),
];

/// What is known of the exporter beside the registry, if there is one.
const FAILED: (&str, &str) = (
    "campanile_registry_exporter_failed_reads_total",
    "Failed readings of the exporter beside the registry.",
);
const AGE: (&str, &str) = (
    "campanile_registry_exporter_age_seconds",
    "Age of the values of the exporter beside the registry.",
);
const LEFT_OUT: (&str, &str) = (
    "campanile_registry_exporter_omitted_lines",
    "Encoder of the exporter beside the registry that the last reading left out.",
);

/// From how many names on those of families that are gone are forgotten.
const MAX_OVERFLOWING: usize = 1_000;

impl Registry {
    /// Puts the registry's own losses among its metrics, once there are any; a full registry has room for them.
    pub(crate) fn publish_self_metrics(&self) {
        let [overflow, refused, truncated, dropped] = OWN;
        for (own, count) in [
            (refused, &self.0.refused),
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

    /// Publishes what was read of the other exporter, if there is one.
    fn publish_reading(&self) {
        let Some(exporter) = &self.0.exporter else {
            return;
        };
        let now = clock::now();
        let reading = exporter.reading(now, self.constant());
        let taken = reading.families().iter();
        let taken = taken.filter(|theirs| self.has_names_of(theirs));
        let taken: u64 = taken.map(|theirs| theirs.lines).sum();
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
            self.publish_gauge(LEFT_OUT, &[("reason", reason)], lines as f64);
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

    /// Does so if a name is one of them.
    pub(super) fn publish_if_self_metric(&self, name: &str) {
        if name.starts_with("campanile_registry_") {
            self.publish_self_metrics();
        }
    }

    /// Takes note of a family's first overflow.
    pub(super) fn record_overflow(&self, family: &Arc<str>, cap: usize) {
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
            cap,
            "family or registry is full: new series are summed in the series `_other_`, new gauges are dropped"
        );
    }

    /// Takes note of what a family that is gone turned away, so that the count goes on if it comes
    /// back.
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
        // The host can only be in the way with a metric of another kind under this name.
        let found = self.series(name, labels, LimitScope::Exempt, |_| {
            CounterValue::default()
        });
        if let Ok(found) = found {
            Counter(found.series).absolute(value);
        }
    }
}
