use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::find::{LimitScope, Lookup, series_of_kind};
use super::inner::Registry;
use crate::counter::{CounterValue, TimeCounterValue};
use crate::error::RegisterError;
use crate::gauge::GaugeValue;
use crate::histogram::HistogramValue;
use crate::kind::Kind;
use crate::name::{LabelText, sanitised, sanitised_label};
use crate::series::{Series, read, write};
use crate::storage::StoredValue;
use crate::summary::SummaryValue;

impl Registry {
    /// Finds or creates a series. Only valid names are accepted.
    pub(super) fn strict<C: StoredValue>(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        new: impl FnOnce(&str) -> C,
    ) -> Result<Arc<Series<C>>, RegisterError> {
        check(name, C::KIND, labels.iter().map(|(label, _)| *label))?;
        let found = self.series(name, labels.iter().copied(), LimitScope::Limited, new);
        found.map(|found| found.series)
    }

    /// Finds or creates a series after correcting its names. A rejection is counted, and logged
    /// once for each reason.
    pub(crate) fn lenient<'a, C: StoredValue>(
        &self,
        name: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        new: impl Fn(&str) -> C,
    ) -> Option<Lookup<C>> {
        let is_odd = !C::KIND.is_counter() && name.ends_with("_total");
        if is_odd && !self.0.logged[LINT].swap(true, Ordering::Relaxed) {
            tracing::warn!(
                name,
                kind = %C::KIND,
                "metric with `_total` is not a counter, leave the suffix out; further ones are not logged"
            );
        }
        let mut result = self.series(name, labels.clone(), LimitScope::Limited, &new);
        if let Err(error @ RegisterError::DuplicateLabel { .. }) = &result {
            self.reject(error);
            // The last of the duplicate labels applies.
            let mut kept = Vec::<(&str, &str)>::new();
            for (label, value) in labels {
                kept.retain(|(other, _)| sanitised_label(other) != sanitised_label(label));
                kept.push((label, value));
            }
            result = self.series(name, kept.into_iter(), LimitScope::Limited, &new);
        }
        result.inspect_err(|error| self.reject(error)).ok()
    }

    /// Counts a rejected registration whose caller gets no error. The first rejection for each
    /// reason is logged.
    pub(crate) fn reject(&self, error: &RegisterError) {
        self.0.rejected.fetch_add(1, Ordering::Relaxed);
        let reason = match error {
            RegisterError::InvalidName { .. } => 0,
            RegisterError::InvalidLabel { .. } => 1,
            RegisterError::ReservedLabel { .. } => 2,
            RegisterError::DuplicateLabel { .. } => 3,
            RegisterError::KindConflict { .. } => 4,
            RegisterError::NameTaken { .. } => 5,
            RegisterError::Full { .. } => 6,
            RegisterError::TotalSuffix { .. } => LINT,
            RegisterError::InvalidBuckets { .. }
            | RegisterError::BucketConflict { .. }
            | RegisterError::NoBuckets { .. } => 8,
        };
        if !self.0.logged[reason].swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "metric rejected; further ones for the same reason are only counted");
        }
    }

    /// Checks that no name belongs to another metric, without registering the metrics.
    pub(crate) fn check_names(&self, names: &[(&str, Kind)]) -> Result<(), RegisterError> {
        let families = read(&self.0.families);
        for &(raw_name, kind) in names {
            let name = self.exported(raw_name, kind);
            let found = families.get(&name);
            if found.is_some_and(|found| found.kind() == kind && *found.raw_name == *raw_name) {
                continue;
            }
            if let Some(taken) = families.taken(&name, kind) {
                return Err(families.error(raw_name, kind, taken));
            }
        }
        Ok(())
    }

    /// Reserves a name for a kind, and checks the names of its labels. Only a full registry can
    /// reject a series after that.
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
            Kind::Counter => self.reserve::<CounterValue>(name),
            Kind::TimeCounter => self.reserve::<TimeCounterValue>(name),
            Kind::Gauge => self.reserve::<GaugeValue>(name),
            Kind::Histogram => self.reserve::<HistogramValue>(name),
            Kind::Summary => self.reserve::<SummaryValue>(name),
        }?;
        if let Some(count) = label_sets {
            let exported = self.exported(name, kind);
            let mut declared = write(&self.0.declared);
            declared.label_sets.insert((&*exported).into(), count);
        }
        Ok(())
    }

    fn reserve<C: StoredValue>(&self, name: &str) -> Result<(), RegisterError> {
        let family = self.find_family::<C>(name, LimitScope::Limited)?;
        series_of_kind::<C>(name, &family).map(|_| ())
    }

    /// Returns the exported name: valid, with the prefix, and with the `_total` of a counter.
    pub(crate) fn exported<'a>(&self, raw_name: &'a str, kind: Kind) -> Cow<'a, str> {
        let name = self.prefixed(sanitised(raw_name));
        let has_total = name
            .strip_suffix("_total")
            .is_some_and(|base| !base.is_empty());
        if kind.is_counter() && !has_total {
            return [&name, "_total"].concat().into();
        }
        name
    }
}

/// The index of the reason that a name ends with `_total` and is not a counter.
const LINT: usize = 7;

/// Checks that the names are valid.
fn check<'a>(
    name: &str,
    kind: Kind,
    mut labels: impl Iterator<Item = &'a str>,
) -> Result<(), RegisterError> {
    if sanitised(name) != name {
        return Err(RegisterError::InvalidName { name: name.into() });
    }
    if !kind.is_counter() && name.ends_with("_total") {
        return Err(RegisterError::TotalSuffix {
            name: name.into(),
            kind,
        });
    }
    match labels.find(|label| sanitised_label(label) != *label) {
        Some(label) => Err(RegisterError::InvalidLabel {
            metric: name.into(),
            label: label.into(),
        }),
        None => Ok(()),
    }
}
