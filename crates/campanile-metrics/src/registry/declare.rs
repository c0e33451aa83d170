use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Registry;
use super::register::{Under, check, of_kind};
use crate::cell::{CounterCell, GaugeCell, TimeCounterCell};
use crate::error::RegisterError;
use crate::family::Cell;
use crate::histogram::{Bounds, HistogramCell, OfName};
use crate::name::{LabelText, sanitised};
use crate::scale;
use crate::series::{read, write};
use crate::snapshot::Kind;
use crate::summary::SummaryCell;

/// What was said of metrics before their series came, by their exported names.
#[derive(Default)]
pub(super) struct Declared {
    /// How many label sets there are.
    label_sets: BTreeMap<Box<str>, usize>,
    buckets: BTreeMap<Box<str>, Arc<Bounds>>,
    /// What the histograms have that are there.
    histograms: BTreeMap<Box<str>, Arc<OfName>>,
    /// The names in descriptions of families that are gone, which may come back.
    pub(super) gone: BTreeSet<Box<str>>,
}

impl Declared {
    /// Forgets a family that is gone.
    pub(super) fn forget(&mut self, name: &str, described: Option<&str>) {
        self.histograms.remove(name);
        self.gone.extend(described.map(Box::from));
    }
}

/// How many series a family has, and how many it can get; from [`Registry::budget`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// The exported name.
    pub name: Arc<str>,
    /// What the metric is.
    pub kind: Kind,
    /// How many series there are.
    pub series: usize,
    /// How many there can be: one for each label set where they are known when the program is
    /// compiled, and else the limit and, except for gauges, the overflow series.
    pub most_series: usize,
    /// How many samples a series is on a page in OpenMetrics, which is what Prometheus stores: one
    /// for a gauge or counter, for a histogram one for each bucket and two more, for a summary
    /// seven; and for all but gauges one more, `_created`, unless the [registry leaves it
    /// out](crate::RegistryBuilder::without_created).
    ///
    /// Counters that are set to an absolute value have no `_created`, and so are one sample.
    pub samples: usize,
    /// Whether the label sets are known, and are fewer than the cap.
    pub is_bounded: bool,
}

impl Registry {
    /// Returns how many series each metric has and how many it can have, in the order of their names.
    ///
    /// A [`Family`](crate::Family) whose labels are enums has as many as there are label sets; any other metric is bounded by
    /// the [cap](crate::RegistryBuilder::series_per_family). The sum of `most_series` times `samples` is what a server
    /// that scrapes this process must be ready to store.
    pub fn budget(&self) -> Vec<Budget> {
        self.publish_own();
        let mut budget = Vec::new();
        let mut last = None::<Arc<str>>;
        while let Some((name, family)) = self.family_after(last.as_deref()) {
            let cap = self.0.settings.series_per_family.min(family.cap());
            let known = read(&self.0.declared).label_sets.get(&*name).copied();
            let known = known.filter(|&known| known <= cap);
            budget.push(Budget {
                name: Arc::clone(&name),
                kind: family.kind(),
                series: family.len(),
                // All but gauges have an overflow series.
                most_series: known.unwrap_or(cap + usize::from(family.kind() != Kind::Gauge)),
                samples: match family.kind() {
                    Kind::Histogram => self.bounds(&name).values().len() + 3,
                    Kind::Summary => SummaryCell::SAMPLES,
                    _ => 1,
                } + usize::from(family.kind() != Kind::Gauge && self.has_created()),
                is_bounded: known.is_some(),
            });
            last = Some(name);
        }
        budget
    }

    /// Sets the bounds of the buckets of one histogram, for its series that come after this. Bounds
    /// that the builder has for exactly this name go before; those for a beginning or an end do
    /// not.
    ///
    /// # Errors
    ///
    /// If the name is not valid, the bounds are empty, not finite or not rising, or the name has others already.
    pub fn buckets(&self, name: &str, bounds: &[f64]) -> Result<(), RegisterError> {
        if sanitised(name) != name {
            return Err(RegisterError::InvalidName { name: name.into() });
        }
        let bounds = Bounds::checked(bounds).ok_or_else(|| RegisterError::Buckets {
            name: name.into(),
            bounds: bounds.into(),
        })?;
        let exported = self.exported(name, Kind::Histogram);
        let mut declared = write(&self.0.declared);
        let first = declared.buckets.entry((&*exported).into());
        let first = first.or_insert_with(|| Arc::clone(&bounds));
        if first.values() != bounds.values() {
            return Err(RegisterError::BucketsTaken {
                name: name.into(),
                asked: bounds.values().into(),
                has: first.values().into(),
            });
        }
        Ok(())
    }

    /// Returns the bounds of a histogram, by its exported name.
    pub(crate) fn bounds(&self, name: &str) -> Arc<Bounds> {
        let settings = &self.0.settings;
        let of_names = settings.buckets_of(name);
        if let Some((exactly, true)) = of_names {
            return Arc::clone(exactly);
        }
        let (own, known) = {
            let declared = read(&self.0.declared);
            let own = declared.buckets.get(name).cloned();
            (own, declared.histograms.get(name).cloned())
        };
        own.or_else(|| of_names.map(|(bounds, _)| Arc::clone(bounds)))
            .or_else(|| settings.bounds.clone())
            .or_else(|| known.map(|of_name| Arc::clone(&of_name.by_unit)))
            .unwrap_or_else(|| self.by_unit(name))
    }

    fn by_unit(&self, name: &str) -> Arc<Bounds> {
        self.described(name, |_, unit| scale::bounds(name, unit))
    }

    pub(crate) fn new_histogram(&self, name: &str) -> HistogramCell {
        HistogramCell::new(self.bounds(name), self.of_name(name))
    }

    /// Returns what the histograms of a name share.
    fn of_name(&self, name: &str) -> Arc<OfName> {
        if let Some(found) = read(&self.0.declared).histograms.get(name) {
            return Arc::clone(found);
        }
        let dropped = Arc::clone(&self.0.dropped);
        let new = Arc::new(OfName::new(name, self.by_unit(name), dropped));
        // One that no page shows has no name.
        if name.is_empty() {
            return new;
        }
        let mut declared = write(&self.0.declared);
        Arc::clone(declared.histograms.entry(name.into()).or_insert(new))
    }

    /// Takes a name for a kind, and checks the names of its labels, so that a series can only be refused for the registry being full.
    pub(crate) fn declare<'a>(
        &self,
        name: &str,
        kind: Kind,
        labels: impl Iterator<Item = &'a str>,
        label_sets: Option<usize>,
    ) -> Result<(), RegisterError> {
        let mut labels: Vec<_> = labels.map(|label| (Cow::Borrowed(label), "")).collect();
        check(name, kind, labels.iter().map(|(label, _)| &**label))?;
        LabelText::new(name, kind, &mut labels, 0)?;
        match kind {
            Kind::Counter => self.reserve::<CounterCell>(name),
            Kind::TimeCounter => self.reserve::<TimeCounterCell>(name),
            Kind::Gauge => self.reserve::<GaugeCell>(name),
            Kind::Histogram => self.reserve::<HistogramCell>(name),
            Kind::Summary => self.reserve::<SummaryCell>(name),
        }?;
        if let Some(count) = label_sets {
            let exported = self.exported(name, kind);
            let mut declared = write(&self.0.declared);
            declared.label_sets.insert((&*exported).into(), count);
        }
        Ok(())
    }

    fn reserve<C: Cell>(&self, name: &str) -> Result<(), RegisterError> {
        let family = self.find_family::<C>(name, Under::Caps)?;
        of_kind::<C>(name, &family).map(|_| ())
    }
}
