use std::sync::Arc;

use super::inner::Registry;
use crate::error::RegisterError;
use crate::histogram::{Bounds, HistogramValue, SharedByName};
use crate::kind::Kind;
use crate::name::sanitised;
use crate::scale;
use crate::series::{read, write};

impl Registry {
    /// Sets the bounds of the buckets of one histogram, for series that are created later.
    ///
    /// Bounds that [`RegistryBuilder::buckets_for`](crate::RegistryBuilder::buckets_for) sets for
    /// exactly this name take precedence over these. These take precedence over bounds for prefixes
    /// and suffixes.
    ///
    /// # Errors
    ///
    /// If the name is invalid, the bounds are empty, not finite or not ascending, or the name has
    /// other bounds already.
    pub fn set_buckets(&self, name: &str, bounds: &[f64]) -> Result<(), RegisterError> {
        if sanitised(name) != name {
            return Err(RegisterError::InvalidName { name: name.into() });
        }
        let bounds = Bounds::checked(bounds).ok_or_else(|| RegisterError::InvalidBuckets {
            name: name.into(),
            bounds: bounds.into(),
        })?;
        let exported = self.exported(name, Kind::Histogram);
        let mut declared = write(&self.0.declared);
        let first = declared.buckets.entry((&*exported).into());
        let first = first.or_insert_with(|| Arc::clone(&bounds));
        if first.values() != bounds.values() {
            return Err(RegisterError::BucketConflict {
                name: name.into(),
                requested: bounds.values().into(),
                existing: first.values().into(),
            });
        }
        Ok(())
    }

    /// Returns the bounds of a histogram, by its exported name.
    pub(crate) fn bounds(&self, name: &str) -> Arc<Bounds> {
        let settings = &self.0.settings;
        let of_names = settings.buckets_for(name);
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

    pub(crate) fn new_histogram(&self, name: &str) -> HistogramValue {
        HistogramValue::new(self.bounds(name), self.shared_by_name(name))
    }

    /// Returns the state that the histograms of a name share.
    fn shared_by_name(&self, name: &str) -> Arc<SharedByName> {
        if let Some(found) = read(&self.0.declared).histograms.get(name) {
            return Arc::clone(found);
        }
        let dropped = Arc::clone(&self.0.dropped);
        let new = Arc::new(SharedByName::new(name, self.by_unit(name), dropped));
        // A detached histogram has no name.
        if name.is_empty() {
            return new;
        }
        let mut declared = write(&self.0.declared);
        Arc::clone(declared.histograms.entry(name.into()).or_insert(new))
    }
}
