use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use metrics::CounterFn;

use crate::cell::{CounterCell, GaugeCell, HistogramCell};
use crate::error::{InstallError, RegisterError};
use crate::family::{Cell, Family, read, write};
use crate::name::{LabelText, sanitised, sanitised_label};
use crate::snapshot::{FamilySnapshot, Kind, Snapshot, Value};
use crate::{Counter, Gauge, Histogram, RegistryBuilder, text};

/// Counters, gauges and histograms that can be read back.
///
/// A clone is the same registry (an `Arc`).
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    families: RwLock<BTreeMap<Arc<str>, Arc<Family>>>,
    descriptions: RwLock<BTreeMap<Box<str>, Box<str>>>,
    caps: Caps,
    buckets: Arc<[f64]>,
    series: AtomicUsize,
    refused: AtomicU64,
    truncated: AtomicU64,
    dropped: Arc<AtomicU64>,
    /// For each reason of a refusal, whether the log has it.
    logged: [AtomicBool; 7],
}

/// How many series there may be.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Caps {
    series_per_family: usize,
    series: usize,
}

impl Caps {
    /// For the registry's own metrics, of which there is one series for each family at most.
    const NONE: Self = Self {
        series_per_family: usize::MAX,
        series: usize::MAX,
    };
}

impl Registry {
    /// Returns an empty registry with all settings at their defaults.
    pub fn new() -> Self {
        Self::from_builder(RegistryBuilder::default())
    }

    /// Returns a builder for a registry with settings of its own.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// Makes this registry the process's recorder, to which the `metrics` macros write everywhere.
    ///
    /// Handles that were made by the macros before stay without effect.
    ///
    /// # Errors
    ///
    /// If the process has a recorder already.
    pub fn install(&self) -> Result<(), InstallError> {
        metrics::set_global_recorder(self.clone()).map_err(|_| InstallError::Taken)
    }

    /// Returns the counter with this name and these labels, at 0 if it is new.
    ///
    /// # Errors
    ///
    /// If the name or a label is not valid, or the name is another metric's. Past a cap the overflow series is returned,
    /// and that is not an error.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> Result<Counter, RegisterError> {
        self.strict(name, labels, CounterCell::default).map(Counter)
    }

    /// Returns the gauge with this name and these labels, at 0 if it is new.
    ///
    /// # Errors
    ///
    /// As [`counter`](Self::counter).
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Result<Gauge, RegisterError> {
        self.strict(name, labels, GaugeCell::default).map(Gauge)
    }

    /// Returns the histogram with this name and these labels, empty if it is new.
    ///
    /// # Errors
    ///
    /// As [`counter`](Self::counter).
    pub fn histogram(
        &self,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<Histogram, RegisterError> {
        self.strict(name, labels, || self.new_histogram())
            .map(Histogram)
    }

    /// Describes a metric, for the exposition's `# HELP` line. The first description of a name holds.
    pub fn describe(&self, name: &str, help: &str) {
        let name = sanitised(name);
        let mut descriptions = write(&self.0.descriptions);
        if descriptions.contains_key(&*name) {
            return;
        }
        if descriptions.len() < MAX_DESCRIPTIONS {
            descriptions.insert(name.into(), help.into());
        } else {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the value of a series, or `None` if there is none with this name and exactly these labels.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<Value> {
        let mut labels: Vec<_> = labels
            .iter()
            .map(|&(name, value)| (Cow::Borrowed(name), value))
            .collect();
        let labels = LabelText::new(name, &mut labels).ok()?;
        let family = read(&self.0.families).get(name).cloned()?;
        family.get(&labels.text)
    }

    /// Returns all values.
    pub fn snapshot(&self) -> Snapshot {
        self.publish_own();
        let families: Vec<_> = read(&self.0.families)
            .iter()
            .map(|(name, family)| (Arc::clone(name), Arc::clone(family)))
            .collect();
        let families = families.into_iter();
        Snapshot {
            families: families
                .map(|(name, family)| self.family_snapshot(name, &family))
                .collect(),
        }
    }

    /// Returns the values of one name, or `None` if there are none.
    pub fn family(&self, name: &str) -> Option<FamilySnapshot> {
        let families = read(&self.0.families);
        let (name, family) = families.get_key_value(name)?;
        let (name, family) = (Arc::clone(name), Arc::clone(family));
        drop(families);
        Some(self.family_snapshot(name, &family))
    }

    fn family_snapshot(&self, name: Arc<str>, family: &Family) -> FamilySnapshot {
        FamilySnapshot {
            kind: family.kind(),
            help: read(&self.0.descriptions)
                .get(&*name)
                .map(|help| help.as_ref().to_owned()),
            series: family.snapshot(),
            name,
        }
    }

    /// Returns all values in Prometheus' text format 0.0.4, to be sent with [`CONTENT_TYPE`](crate::CONTENT_TYPE).
    pub fn render(&self) -> String {
        text::render(&self.snapshot())
    }

    pub(crate) fn new_histogram(&self) -> HistogramCell {
        HistogramCell::new(Arc::clone(&self.0.buckets), Arc::clone(&self.0.dropped))
    }

    /// Finds or makes a series, and takes only names that are valid as they are.
    fn strict<C: Cell>(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        new: impl FnOnce() -> C,
    ) -> Result<Arc<C>, RegisterError> {
        if sanitised(name) != name {
            return Err(RegisterError::InvalidName { name: name.into() });
        }
        if let Some((label, _)) = labels
            .iter()
            .find(|(label, _)| sanitised_label(label) != *label)
        {
            return Err(RegisterError::InvalidLabel {
                metric: name.into(),
                label: (*label).into(),
            });
        }
        self.series(name, labels.iter().copied(), self.0.caps, new)
    }

    /// Finds or makes a series, after making its names valid. A refusal is counted, and logged once for each reason.
    pub(crate) fn lenient<'a, C: Cell>(
        &self,
        name: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        new: impl FnOnce() -> C,
    ) -> Option<Arc<C>> {
        let result = self.series(name, labels, self.0.caps, new);
        if let Err(error) = &result {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            let reason = match error {
                RegisterError::InvalidName { .. } => 0,
                RegisterError::InvalidLabel { .. } => 1,
                RegisterError::ReservedLabel { .. } => 2,
                RegisterError::DuplicateLabel { .. } => 3,
                RegisterError::KindConflict { .. } => 4,
                RegisterError::NameTaken { .. } => 5,
                RegisterError::Full { .. } => 6,
            };
            if !self.0.logged[reason].swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, "a metric was refused; others for the same reason are counted only");
            }
        }
        result.ok()
    }

    fn series<'a, C: Cell>(
        &self,
        name: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        caps: Caps,
        new: impl FnOnce() -> C,
    ) -> Result<Arc<C>, RegisterError> {
        let mut labels: Vec<_> = labels
            .map(|(name, value)| (sanitised_label(name), value))
            .collect();
        let text = LabelText::new(name, &mut labels)?;
        if text.truncated > 0 && caps != Caps::NONE {
            self.0
                .truncated
                .fetch_add(text.truncated, Ordering::Relaxed);
        }
        let family = self.find_family::<C>(name, caps)?;
        let Some(series) = C::series(&family.series) else {
            let (is, asked) = (family.kind(), C::KIND);
            return Err(RegisterError::KindConflict {
                name: name.into(),
                is,
                asked,
            });
        };
        let is_full = |series: &BTreeMap<_, _>| {
            // The one series without labels always has room.
            !text.text.is_empty()
                && (series.len() >= caps.series_per_family
                    || self.0.series.load(Ordering::Relaxed) >= caps.series)
        };
        {
            let series = read(series);
            if let Some(cell) = series.get(text.text.as_str()) {
                return Ok(Arc::clone(cell));
            }
            let overflow = family.overflow.get().and_then(|text| series.get(text));
            if let Some(cell) = overflow.filter(|_| is_full(&series)) {
                family.overflowed.fetch_add(1, Ordering::Relaxed);
                return Ok(Arc::clone(cell));
            }
        }

        let mut series = write(series);
        let text = if is_full(&series) && !series.contains_key(text.text.as_str()) {
            family.overflowed.fetch_add(1, Ordering::Relaxed);
            Arc::clone(
                family
                    .overflow
                    .get_or_init(|| LabelText::other(&labels).into()),
            )
        } else {
            text.text.into()
        };
        Ok(match series.entry(text) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => {
                self.0.series.fetch_add(1, Ordering::Relaxed);
                Arc::clone(entry.insert(Arc::new(new())))
            }
        })
    }

    fn find_family<C: Cell>(
        &self,
        raw_name: &str,
        caps: Caps,
    ) -> Result<Arc<Family>, RegisterError> {
        let name = sanitised(raw_name);
        let found = read(&self.0.families).get(&*name).cloned();
        let family = match found {
            Some(family) => family,
            None if self.0.series.load(Ordering::Relaxed) >= caps.series => {
                return Err(RegisterError::Full {
                    name: raw_name.into(),
                    cap: caps.series,
                });
            }
            None => {
                let mut families = write(&self.0.families);
                let taken = taken_sample_name(&families, &name, C::KIND);
                if let Some((exported, by)) = taken.filter(|_| !families.contains_key(&*name)) {
                    return Err(RegisterError::NameTaken {
                        name: raw_name.into(),
                        exported,
                        by,
                    });
                }
                let family = families.entry(name.as_ref().into());
                Arc::clone(family.or_insert_with(|| Arc::new(Family::new::<C>(raw_name))))
            }
        };
        if *family.raw_name != *raw_name {
            return Err(RegisterError::NameTaken {
                name: raw_name.into(),
                exported: name.into_owned(),
                by: family.raw_name.clone().into(),
            });
        }
        Ok(family)
    }

    /// Puts the registry's own losses among its metrics, once there are any; a full registry has room for them.
    fn publish_own(&self) {
        let publish = |name, help, labels: &[(&str, &str)], value| {
            if value > 0 {
                self.describe(name, help);
                // The host can only be in the way with a metric of another kind under this name.
                if let Ok(counter) = self.series(
                    name,
                    labels.iter().copied(),
                    Caps::NONE,
                    CounterCell::default,
                ) {
                    counter.absolute(value);
                }
            }
        };
        let [overflow, refused, truncated, dropped] = OWN;
        publish(
            refused.0,
            refused.1,
            &[],
            self.0.refused.load(Ordering::Relaxed),
        );
        publish(
            truncated.0,
            truncated.1,
            &[],
            self.0.truncated.load(Ordering::Relaxed),
        );
        publish(
            dropped.0,
            dropped.1,
            &[],
            self.0.dropped.load(Ordering::Relaxed),
        );
        let overflowed: Vec<_> = read(&self.0.families)
            .iter()
            .filter(|(_, family)| family.overflowed() > 0)
            .map(|(name, family)| (Arc::clone(name), family.overflowed()))
            .collect();
        for (family, times) in overflowed {
            publish(overflow.0, overflow.1, &[("family", &family)], times);
        }
    }
}

/// Returns the name of a sample that a new family would have in common with one that is there, and that one's name: a
/// histogram exposes its samples under names of their own.
fn taken_sample_name(
    families: &BTreeMap<Arc<str>, Arc<Family>>,
    name: &str,
    kind: Kind,
) -> Option<(String, String)> {
    ["_bucket", "_sum", "_count"]
        .into_iter()
        .find_map(|suffix| {
            let sample = format!("{name}{suffix}");
            if kind == Kind::Histogram && families.contains_key(sample.as_str()) {
                return Some((sample.clone(), sample));
            }
            let histogram = name.strip_suffix(suffix)?;
            let taken = families.get(histogram)?.kind() == Kind::Histogram;
            taken.then(|| (name.to_owned(), histogram.to_owned()))
        })
}

/// The most names that can be described.
const MAX_DESCRIPTIONS: usize = 10_000;

/// The registry's own metrics and what they count.
const OWN: [(&str, &str); 4] = [
    (
        "campanile_registry_overflow_total",
        "Times that a new series of the family was turned away to its `_other_` series.",
    ),
    (
        "campanile_registry_refused_total",
        "Registrations through the macros, and descriptions, that were refused.",
    ),
    (
        "campanile_registry_truncated_labels_total",
        "Times that a label value was cut to 256 bytes.",
    ),
    (
        "campanile_registry_dropped_samples_total",
        "Histogram samples that were not finite and were dropped.",
    ),
];

impl Registry {
    pub(crate) fn from_builder(builder: RegistryBuilder) -> Self {
        Self(Arc::new(Inner {
            families: RwLock::default(),
            descriptions: RwLock::default(),
            caps: Caps {
                series_per_family: builder.series_per_family,
                series: builder.series,
            },
            buckets: builder.buckets.into(),
            series: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            truncated: AtomicU64::new(0),
            dropped: Arc::default(),
            logged: Default::default(),
        }))
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let series = self.0.series.load(Ordering::Relaxed);
        f.debug_struct("Registry")
            .field("series", &series)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
