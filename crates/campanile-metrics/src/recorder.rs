use std::sync::Arc;
use std::sync::atomic::Ordering;

use metrics::{Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::counter::CounterValue;
use crate::error::InstallError;
use crate::gauge::GaugeValue;
use crate::key_cache::{Handle, is_constant};
use crate::kind::Kind;
use crate::registry::{Lookup, Registry};
use crate::series::Series;

/// The recorder of the `metrics` macros: invalid names are corrected, and a rejected registration
/// is counted and gets a handle without effect.
impl Recorder for Registry {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe_with_unit(name.as_str(), &help, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe_with_unit(name.as_str(), &help, unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe_with_unit(name.as_str(), &help, unit);
    }

    #[inline]
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> metrics::Counter {
        if self.is_registering() {
            return metrics::Counter::noop();
        }
        if let Some(Handle::Counter(counter)) = self.0.keys.get(key) {
            return metrics::Counter::from_arc(Arc::clone(counter));
        }
        let found = self.lenient(key.name(), labels(key), |_| CounterValue::default());
        self.remember(key, found, Handle::Counter)
            .map_or_else(metrics::Counter::noop, metrics::Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> metrics::Gauge {
        if self.is_registering() {
            return metrics::Gauge::noop();
        }
        if let Some(Handle::Gauge(gauge)) = self.0.keys.get(key) {
            return metrics::Gauge::from_arc(Arc::clone(gauge));
        }
        let found = self.lenient(key.name(), labels(key), |_| GaugeValue::default());
        self.remember(key, found, Handle::Gauge)
            .map_or_else(metrics::Gauge::noop, metrics::Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        if self.is_registering() {
            return metrics::Histogram::noop();
        }
        match self.0.keys.get(key) {
            Some(Handle::Histogram(histogram)) => {
                return metrics::Histogram::from_arc(Arc::clone(histogram));
            }
            Some(Handle::Summary(summary)) => {
                return metrics::Histogram::from_arc(Arc::clone(summary));
            }
            _ => {}
        }
        if self.is_summary(&self.exported(key.name(), Kind::Summary)) {
            let found = self.lenient(key.name(), labels(key), |_| self.new_summary());
            return self
                .remember(key, found, Handle::Summary)
                .map_or_else(metrics::Histogram::noop, metrics::Histogram::from_arc);
        }
        let found = self.lenient(key.name(), labels(key), |name| self.new_histogram(name));
        self.remember(key, found, Handle::Histogram)
            .map_or_else(metrics::Histogram::noop, metrics::Histogram::from_arc)
    }
}

impl Registry {
    /// Makes this registry the global recorder of the process, which all `metrics` macros write to.
    ///
    /// Handles that the macros created before stay without effect.
    ///
    /// # Errors
    ///
    /// If the process has a global recorder already.
    pub fn install(&self) -> Result<(), InstallError> {
        metrics::set_global_recorder(self.clone()).map_err(|_| InstallError::Taken)?;
        self.0.is_installed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Caches the series of a key if all its strings are literals.
    fn remember<C>(
        &self,
        key: &Key,
        found: Option<Lookup<C>>,
        handle: impl Fn(Arc<Series<C>>) -> Handle,
    ) -> Option<Arc<Series<C>>> {
        let Lookup { series, is_own } = found?;
        if is_own && is_constant(key) {
            self.0.keys.insert(key, handle(Arc::clone(&series)));
        }
        Some(series)
    }
}

fn labels(key: &Key) -> impl Iterator<Item = (&str, &str)> + Clone {
    key.labels().map(|label| (label.key(), label.value()))
}

/// Returns whether a recorder is the default of `metrics`, which an application has without a
/// global recorder.
///
/// The default recorder has no fields, and `metrics` keeps it in a `static`, which has an address.
/// A recorder of the application may have no fields either, but `metrics::set_global_recorder`
/// boxes it. The address of a boxed zero-sized value is its alignment.
#[inline]
pub(crate) fn is_none(recorder: &dyn Recorder) -> bool {
    let address = std::ptr::from_ref(recorder).cast::<()>().addr();
    size_of_val(recorder) == 0 && address != align_of_val(recorder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_series_is_found_by_dynamic_labels_with_few_allocations() {
        let registry = Registry::new();
        let labels = [("tenant", "t-1"), ("plan", "team"), ("ok", "true")];
        let labels = labels.map(|(name, value)| metrics::Label::new(name, value.to_owned()));
        let key = Key::from_parts("calls_total", labels.to_vec());
        let metadata = Metadata::new("", metrics::Level::INFO, None);
        let find = || drop(registry.register_counter(&key, &metadata));
        find();
        let allocations = allocation_counter::measure(find).count_total;
        // The list of labels, their text, and a copy of a value that detects that it is not a literal.
        assert_eq!(allocations, 3);
    }

    #[test]
    fn the_recorder_that_stands_for_none_is_told_from_others() {
        metrics::with_recorder(|recorder| assert!(is_none(recorder)));
        assert!(!is_none(&Registry::new()));
        let boxed: Box<dyn Recorder> = Box::new(metrics::NoopRecorder);
        assert!(!is_none(&*boxed));
    }
}
