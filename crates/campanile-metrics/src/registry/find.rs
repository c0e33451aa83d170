use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::inner::Registry;
use crate::clock;
use crate::error::RegisterError;
use crate::name::{LabelText, sanitised_label, truncated_value};
use crate::series::{Map, Series, SeriesSet, read, write};
use crate::storage::{AnyFamily, StoredValue};

/// Which limits apply to a new series.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LimitScope {
    /// All limits of the registry.
    Limited,
    /// No limits, for the registry's self-metrics. They have at most one series per family.
    Exempt,
}

/// The result of a lookup.
pub(crate) struct Lookup<C> {
    pub(crate) series: Arc<Series<C>>,
    /// Whether the series has the requested labels, and is not the overflow series.
    pub(crate) is_own: bool,
}

impl Registry {
    /// Finds or creates a series.
    pub(super) fn series<'a, C: StoredValue>(
        &self,
        name: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        scope: LimitScope,
        new: impl FnOnce(&str) -> C,
    ) -> Result<Lookup<C>, RegisterError> {
        let settings = &self.0.settings;
        let mut labels: Vec<_> = labels
            .map(|(name, value)| (sanitised_label(name), value))
            .collect();
        // The label of the self-metrics is a family name, which is not cut.
        let max_bytes = match scope {
            LimitScope::Limited => settings.max_label_value_bytes,
            LimitScope::Exempt => usize::MAX,
        };
        self.drop_constant(&mut labels, max_bytes);
        let text = LabelText::new(name, C::KIND, &mut labels, max_bytes)?;
        if text.truncated > 0 {
            let truncated = &self.0.truncated;
            truncated.fetch_add(text.truncated, Ordering::Relaxed);
        }
        loop {
            let family = self.find_family::<C>(name, scope)?;
            let exported = &family.name;
            let set = series_of_kind::<C>(name, &family)?;
            let max_series = settings.max_series_per_family.min(C::MAX_SERIES);
            let is_full = |set: &Map<C>| {
                // The single series without labels is always allowed.
                scope == LimitScope::Limited
                    && !text.text.is_empty()
                    && (set.len()
                        >= max_series.saturating_add(family.overflows(|of| set.contains(of)))
                        || self.0.series.load(Ordering::Relaxed) >= settings.max_series)
            };
            let sweep = self.0.sweep.load(Ordering::Relaxed);
            let found = |series: &Arc<Series<C>>, is_own| {
                series.touch(sweep);
                let series = Arc::clone(series);
                Ok(Lookup { series, is_own })
            };
            {
                let set = set.read();
                if let Some(series) = set.get(text.text.as_str()) {
                    return found(series, true);
                }
                if !C::IS_SUMMABLE && is_full(&set) {
                    drop(set);
                    if family.reject_labels(&text.text) {
                        self.record_overflow(exported, max_series);
                    }
                    let series = Series::detached(new(exported));
                    let is_own = false;
                    return Ok(Lookup { series, is_own });
                }
                let overflow = family.overflow.get().and_then(|text| set.get(text));
                if let Some(series) = overflow.filter(|_| is_full(&set)) {
                    family.reject_labels(&text.text);
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
            // If another thread created the last allowed series, a gauge tries again.
            let is_own = !is_full(&set);
            if !is_own && !C::IS_SUMMABLE {
                continue;
            }
            let mut is_first_overflow = false;
            let labels: Arc<str> = if is_own {
                text.text.into()
            } else {
                is_first_overflow = family.reject_labels(&text.text);
                let other = || LabelText::other(&labels).into();
                let overflow = family.overflow.get_or_init(other);
                if let Some(series) = set.get(overflow) {
                    // The application may have created a series with these labels.
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
            // A tracing subscriber may look up a series too.
            drop(set);
            if is_first_overflow {
                self.record_overflow(exported, max_series);
            }
            return Ok(Lookup { series, is_own });
        }
    }

    /// Removes the constant labels, so that a series is the same with and without them.
    pub(super) fn drop_constant(&self, labels: &mut Vec<(Cow<'_, str>, &str)>, max_bytes: usize) {
        let constant = self.constant();
        if constant.text.is_empty() {
            return;
        }
        labels.retain(|(name, value)| !constant.has(name, truncated_value(value, max_bytes)));
    }

    /// Returns the family of a name, which is created if it is new.
    pub(super) fn find_family<C: StoredValue>(
        &self,
        raw_name: &str,
        scope: LimitScope,
    ) -> Result<Arc<AnyFamily>, RegisterError> {
        let name = self.exported(raw_name, C::KIND);
        let found = read(&self.0.families).get(&name).cloned();
        let family = match found {
            Some(found) => found,
            None if scope == LimitScope::Limited
                && self.0.series.load(Ordering::Relaxed) >= self.0.settings.max_series =>
            {
                return Err(RegisterError::Full {
                    name: raw_name.into(),
                    max_series: self.0.settings.max_series,
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
        // The caller reports a name of another kind.
        if *family.raw_name != *raw_name && family.kind() == C::KIND {
            return Err(RegisterError::NameTaken {
                name: raw_name.into(),
                exported: (*family.name).into(),
                by: (*family.raw_name).into(),
            });
        }
        Ok(family)
    }
}

/// Returns the series of a family, if they have a kind.
pub(super) fn series_of_kind<'a, C: StoredValue>(
    name: &str,
    family: &'a AnyFamily,
) -> Result<&'a SeriesSet<C>, RegisterError> {
    C::series(&family.series).ok_or_else(|| RegisterError::KindConflict {
        name: name.into(),
        existing: family.kind(),
        requested: C::KIND,
    })
}
