use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Registry;
use crate::clock;
use crate::error::RegisterError;
use crate::family::{AnyFamily, Cell};
use crate::name::{LabelText, sanitised, sanitised_label, truncated_value};
use crate::series::{Map, Series, SeriesSet, read, write};
use crate::snapshot::Kind;

/// All families, and whose the names are that they take.
#[derive(Default)]
pub(super) struct Families {
    by_name: BTreeMap<Arc<str>, Arc<AnyFamily>>,
    /// For each name of a family's samples, in any format, the family's.
    taken: BTreeMap<Box<str>, Arc<str>>,
}

impl Families {
    pub(super) fn get(&self, name: &str) -> Option<&Arc<AnyFamily>> {
        self.by_name.get(name)
    }

    pub(super) fn get_key_value(&self, name: &str) -> Option<(Arc<str>, Arc<AnyFamily>)> {
        let (name, family) = self.by_name.get_key_value(name)?;
        Some((Arc::clone(name), Arc::clone(family)))
    }

    pub(super) fn next(&self, from: Bound<&str>) -> Option<(Arc<str>, Arc<AnyFamily>)> {
        let mut after = self.by_name.range::<str, _>((from, Bound::Unbounded));
        let (name, family) = after.next()?;
        Some((Arc::clone(name), Arc::clone(family)))
    }

    /// Returns whether there is a family that a description may be of.
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name) || self.by_name.contains_key(&*[name, "_total"].concat())
    }

    /// Removes a family that has no series; returns whether it did.
    pub(super) fn remove_if_empty(&mut self, name: &str, family: &Arc<AnyFamily>) -> bool {
        let is_it = self
            .by_name
            .get(name)
            .is_some_and(|found| Arc::ptr_eq(found, family));
        let is_gone = is_it && family.remove_if_empty();
        if is_gone {
            self.by_name.remove(name);
            for sample in sample_names(name, family.kind()) {
                self.taken.remove(sample.as_str());
            }
        }
        is_gone
    }

    /// Returns the first of a new family's names that is taken, and by which family.
    fn taken(&self, name: &str, kind: Kind) -> Option<(String, Arc<str>)> {
        sample_names(name, kind).into_iter().find_map(|name| {
            let by = Arc::clone(self.taken.get(name.as_str())?);
            Some((name, by))
        })
    }

    /// Returns whether a family has this name in any format.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        self.taken.contains_key(name)
    }

    /// Returns the error of a name that is taken.
    fn error(
        &self,
        raw_name: &str,
        kind: Kind,
        (exported, by): (String, Arc<str>),
    ) -> RegisterError {
        match self.get(&by) {
            Some(by) if *by.raw_name == *raw_name => RegisterError::KindConflict {
                name: raw_name.into(),
                is: by.kind(),
                asked: kind,
            },
            _ => RegisterError::NameTaken {
                name: raw_name.into(),
                exported,
                by: (*by).into(),
            },
        }
    }

    /// Adds a family, unless one of its names is taken: then the error is that name, and whose it is.
    fn insert<C: Cell>(
        &mut self,
        name: &str,
        raw_name: &str,
    ) -> Result<Arc<AnyFamily>, (String, Arc<str>)> {
        if let Some(taken) = self.taken(name, C::KIND) {
            return Err(taken);
        }
        let names = sample_names(name, C::KIND);
        let name: Arc<str> = name.into();
        for sample in names {
            self.taken.insert(sample.into(), Arc::clone(&name));
        }
        let family = Arc::new(AnyFamily::new::<C>(Arc::clone(&name), raw_name));
        self.by_name.insert(name, Arc::clone(&family));
        Ok(family)
    }
}

/// The names that a family has in any format: its own and those of its samples.
pub(crate) fn sample_names(name: &str, kind: Kind) -> Vec<String> {
    let (base, suffixes): (_, &[&str]) = match kind {
        // OpenMetrics names a counter without its suffix.
        Kind::Counter | Kind::TimeCounter => (
            name.strip_suffix("_total").unwrap_or(name),
            &["", "_total", "_created"],
        ),
        Kind::Gauge => (name, &[""]),
        Kind::Summary => (name, &["", "_sum", "_count", "_created"]),
        Kind::Histogram => (name, &["", "_bucket", "_sum", "_count", "_created"]),
    };
    suffixes
        .iter()
        .map(|suffix| [base, suffix].concat())
        .collect()
}

/// Which caps a series is under.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Under {
    Caps,
    /// For the registry's own metrics, of which there is one series for each family at most.
    None,
}

impl Registry {
    /// Finds or makes a series, and takes only names that are valid as they are.
    pub(super) fn strict<C: Cell>(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        new: impl FnOnce(&str) -> C,
    ) -> Result<Arc<Series<C>>, RegisterError> {
        check(name, C::KIND, labels.iter().map(|(label, _)| *label))?;
        let found = self.series(name, labels.iter().copied(), Under::Caps, new);
        found.map(|found| found.series)
    }

    /// Finds or makes a series, after making its names valid. A rejection is counted, and logged once
    /// for each reason.
    pub(crate) fn lenient<'a, C: Cell>(
        &self,
        name: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        new: impl Fn(&str) -> C,
    ) -> Option<Found<C>> {
        let is_odd = !C::KIND.is_counter() && name.ends_with("_total");
        if is_odd && !self.0.logged[LINT].swap(true, Ordering::Relaxed) {
            tracing::warn!(
                name,
                kind = %C::KIND,
                "a name that ends with `_total` is a counter's: leave `_total` out; others are not logged"
            );
        }
        let mut result = self.series(name, labels.clone(), Under::Caps, &new);
        if let Err(error @ RegisterError::DuplicateLabel { .. }) = &result {
            self.note_refusal(error);
            // The last one of a name holds, rather than that the metric is lost.
            let mut kept = Vec::<(&str, &str)>::new();
            for (label, value) in labels {
                kept.retain(|(other, _)| sanitised_label(other) != sanitised_label(label));
                kept.push((label, value));
            }
            result = self.series(name, kept.into_iter(), Under::Caps, &new);
        }
        result.inspect_err(|error| self.note_refusal(error)).ok()
    }

    /// Counts a rejected registration whose caller gets no error. The first of each reason is logged.
    pub(crate) fn note_refusal(&self, error: &RegisterError) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
        let reason = match error {
            RegisterError::InvalidName { .. } => 0,
            RegisterError::InvalidLabel { .. } => 1,
            RegisterError::ReservedLabel { .. } => 2,
            RegisterError::DuplicateLabel { .. } => 3,
            RegisterError::KindConflict { .. } => 4,
            RegisterError::NameTaken { .. } => 5,
            RegisterError::Full { .. } => 6,
            RegisterError::CountersSuffix { .. } => LINT,
            RegisterError::Buckets { .. }
            | RegisterError::BucketsTaken { .. }
            | RegisterError::NoBuckets { .. } => 8,
        };
        if !self.0.logged[reason].swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "a metric was refused; others for the same reason are counted only");
        }
    }

    pub(super) fn series<'a, C: Cell>(
        &self,
        name: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        under: Under,
        new: impl FnOnce(&str) -> C,
    ) -> Result<Found<C>, RegisterError> {
        let settings = &self.0.settings;
        let mut labels: Vec<_> = labels
            .map(|(name, value)| (sanitised_label(name), value))
            .collect();
        // The registry's own label is a family's name, which is not cut.
        let longest = match under {
            Under::Caps => settings.label_value_bytes,
            Under::None => usize::MAX,
        };
        self.drop_constant(&mut labels, longest);
        let text = LabelText::new(name, C::KIND, &mut labels, longest)?;
        if text.truncated > 0 {
            let truncated = &self.0.truncated;
            truncated.fetch_add(text.truncated, Ordering::Relaxed);
        }
        loop {
            let family = self.find_family::<C>(name, under)?;
            let exported = &family.name;
            let set = of_kind::<C>(name, &family)?;
            let cap = settings.series_per_family.min(C::CAP);
            let is_full = |set: &Map<C>| {
                // The one series without labels always has room.
                under == Under::Caps
                    && !text.text.is_empty()
                    && (set.len() >= cap.saturating_add(family.overflows(|of| set.contains(of)))
                        || self.0.series.load(Ordering::Relaxed) >= settings.series)
            };
            let sweep = self.0.sweep.load(Ordering::Relaxed);
            let found = |series: &Arc<Series<C>>, is_own| {
                series.touch(sweep);
                let series = Arc::clone(series);
                Ok(Found { series, is_own })
            };
            {
                let set = set.read();
                if let Some(series) = set.get(text.text.as_str()) {
                    return found(series, true);
                }
                if !C::SUMS && is_full(&set) {
                    drop(set);
                    if family.turn_away(&text.text) {
                        self.note_overflow(exported, cap);
                    }
                    let series = Series::detached(new(exported));
                    let is_own = false;
                    return Ok(Found { series, is_own });
                }
                let overflow = family.overflow.get().and_then(|text| set.get(text));
                if let Some(series) = overflow.filter(|_| is_full(&set)) {
                    family.turn_away(&text.text);
                    return found(series, false);
                }
            }

            let mut set = set.write();
            if family.is_removed() {
                continue;
            }
            if let Some(series) = set.get(text.text.as_str()) {
                return found(series, true);
            }
            // A gauge that finds the last place taken meanwhile tries again.
            let is_own = !is_full(&set);
            if !is_own && !C::SUMS {
                continue;
            }
            let mut is_first_overflow = false;
            let labels: Arc<str> = if is_own {
                text.text.into()
            } else {
                is_first_overflow = family.turn_away(&text.text);
                let other = || LabelText::other(&labels).into();
                let overflow = family.overflow.get_or_init(other);
                if let Some(series) = set.get(overflow) {
                    // An application can have made a series with these labels.
                    series.overflow();
                    return found(series, false);
                }
                Arc::clone(overflow)
            };
            self.0.series.fetch_add(1, Ordering::Relaxed);
            let cell = new(exported);
            let mut series = Series::new(labels, clock::milliseconds(), sweep, cell);
            series.overrides = self.constant().is_overridden(&series.labels);
            let series = Arc::new(series);
            if !is_own {
                series.overflow();
            }
            set.insert(&series);
            // A subscriber of the log may look up a series too.
            drop(set);
            if is_first_overflow {
                self.note_overflow(exported, cap);
            }
            return Ok(Found { series, is_own });
        }
    }

    /// Drops the labels that are exposed anyway, so that a series is the same with them and
    /// without.
    pub(super) fn drop_constant(&self, labels: &mut Vec<(Cow<'_, str>, &str)>, longest: usize) {
        let constant = self.constant();
        if constant.text.is_empty() {
            return;
        }
        labels.retain(|(name, value)| !constant.has(name, truncated_value(value, longest)));
    }

    /// Checks that metrics can be registered, without registering any: that no name is taken by
    /// another metric.
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

    /// Returns the family of a name as it was given.
    pub(super) fn find_family<C: Cell>(
        &self,
        raw_name: &str,
        under: Under,
    ) -> Result<Arc<AnyFamily>, RegisterError> {
        let name = self.exported(raw_name, C::KIND);
        let found = read(&self.0.families).get(&name).cloned();
        let family = match found {
            Some(found) => found,
            None if under == Under::Caps
                && self.0.series.load(Ordering::Relaxed) >= self.0.settings.series =>
            {
                return Err(RegisterError::Full {
                    name: raw_name.into(),
                    cap: self.0.settings.series,
                });
            }
            None => {
                let mut families = write(&self.0.families);
                match families.get(&name) {
                    Some(found) => Arc::clone(found),
                    None => {
                        let family = families.insert::<C>(&name, raw_name);
                        family.map_err(|taken| families.error(raw_name, C::KIND, taken))?
                    }
                }
            }
        };
        // A name of another kind has an error of its own.
        if *family.raw_name != *raw_name && family.kind() == C::KIND {
            return Err(RegisterError::NameTaken {
                name: raw_name.into(),
                exported: (*family.name).into(),
                by: (*family.raw_name).into(),
            });
        }
        Ok(family)
    }

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

/// Where it is noted that the log has a name ending as only a counter's may.
const LINT: usize = 7;

/// Checks names that are to be valid as they are.
pub(super) fn check<'a>(
    name: &str,
    kind: Kind,
    mut labels: impl Iterator<Item = &'a str>,
) -> Result<(), RegisterError> {
    if sanitised(name) != name {
        return Err(RegisterError::InvalidName { name: name.into() });
    }
    if !kind.is_counter() && name.ends_with("_total") {
        return Err(RegisterError::CountersSuffix {
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

/// Returns the series of a family, if they are of a kind.
pub(super) fn of_kind<'a, C: Cell>(
    name: &str,
    family: &'a AnyFamily,
) -> Result<&'a SeriesSet<C>, RegisterError> {
    C::set(&family.series).ok_or_else(|| RegisterError::KindConflict {
        name: name.into(),
        is: family.kind(),
        asked: C::KIND,
    })
}

/// A series that was asked for.
pub(crate) struct Found<C> {
    pub(crate) series: Arc<Series<C>>,
    /// Whether it has the labels that were asked for, and is not the overflow series.
    pub(crate) is_own: bool,
}
