use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::Registry;
use super::register::Under;
use crate::Counter;
use crate::cell::CounterCell;
use crate::series::read;

/// The registry's own metrics and what they count.
const OWN: [(&str, &str); 4] = [
    (
        "campanile_registry_overflow_total",
        "Times that a new series of the family was turned away, to its `_other_` series or, for a gauge, to none.",
    ),
    (
        "campanile_registry_refused_total",
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

/// From how many names on those of families that are gone are forgotten.
const MAX_OVERFLOWING: usize = 1_000;

impl Registry {
    /// Puts the registry's own losses among its metrics, once there are any; a full registry has room for them.
    pub(crate) fn publish_own(&self) {
        let [overflow, refused, truncated, dropped] = OWN;
        for (own, count) in [
            (refused, &self.0.refused),
            (truncated, &self.0.truncated),
            (dropped, &*self.0.dropped),
        ] {
            self.publish(own, &[], count.load(Ordering::Relaxed));
        }
        let overflowing = self.overflowing().clone();
        for (name, before) in overflowing {
            let family = read(&self.0.families).get(&name).cloned();
            if let Some(family) = family {
                let all = before.saturating_add(family.overflowed());
                self.publish(overflow, &[("family", &name)], all);
            }
        }
    }

    /// Does so if a name is one of them.
    pub(super) fn publish_if_own(&self, name: &str) {
        if name.starts_with("campanile_registry_") {
            self.publish_own();
        }
    }

    /// Takes note of a family's first overflow.
    pub(super) fn note_overflow(&self, family: &Arc<str>, cap: usize) {
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
    pub(super) fn note_gone(&self, family: &str, overflowed: u64) {
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
        let found = self.series(name, labels, Under::None, |_| CounterCell::default());
        if let Ok(found) = found {
            Counter(found.series).absolute(value);
        }
    }
}
