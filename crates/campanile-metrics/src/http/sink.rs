use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use campanile_http::TraceRef;
use metrics::{Key, Label, Level, Metadata, Recorder, Unit};

use crate::counter::CounterValue;
use crate::gauge::GaugeValue;
use crate::kind::Kind;
use crate::registry::Lookup;
use crate::series::Series;
use crate::{Counter, Gauge, Histogram, Registry};

/// The destination of the metrics.
#[derive(Clone)]
pub(super) enum Sink {
    Registry(Registry),
    /// The recorder of another library, which can't be read.
    Recorder(Arc<dyn Recorder + Send + Sync>),
}

/// A handle of the registry, or the key of a metric in another recorder.
///
/// Another recorder may remove an idle series, and a cached handle would write to the removed
/// series. So only the key is cached, and the handle is looked up for each write.
pub(super) enum Either<O> {
    Registry(O),
    Recorder(Arc<dyn Recorder + Send + Sync>, Key),
}

/// A handle, and whether it can be cached: whether it belongs to the requested labels only, and is
/// exported.
pub(super) struct CachedHandle<T> {
    pub(super) handle: T,
    pub(super) is_own: bool,
}

impl<C> CachedHandle<Arc<Series<C>>> {
    fn from(found: Option<Lookup<C>>, refused: impl FnOnce() -> C) -> Self {
        match found {
            Some(Lookup { series, is_own }) => Self {
                handle: series,
                is_own,
            },
            None => Self {
                handle: Series::detached(refused()),
                is_own: false,
            },
        }
    }

    fn map<T>(self, then: impl FnOnce(Arc<Series<C>>) -> T) -> CachedHandle<T> {
        CachedHandle {
            handle: then(self.handle),
            is_own: self.is_own,
        }
    }
}

impl Sink {
    pub(super) fn describe(&self, name: &'static str, help: &'static str, kind: Kind) {
        let unit = name.ends_with("_seconds").then_some(Unit::Seconds);
        match self {
            Self::Registry(registry) => registry.describe_with_unit(name, help, unit),
            Self::Recorder(recorder) => match kind {
                Kind::Counter => recorder.describe_counter(name.into(), unit, help.into()),
                Kind::Gauge => recorder.describe_gauge(name.into(), unit, help.into()),
                _ => recorder.describe_histogram(name.into(), unit, help.into()),
            },
        }
    }

    pub(super) fn scope<T>(&self, poll: impl FnOnce() -> T) -> T {
        match self {
            Self::Registry(registry) => registry.scope(poll),
            Self::Recorder(recorder) => metrics::with_local_recorder(&**recorder, poll),
        }
    }

    pub(super) fn counter(
        &self,
        name: &'static str,
        labels: &[(&'static str, &str)],
    ) -> CachedHandle<Either<Counter>> {
        match self {
            Self::Registry(registry) => {
                let labels = labels.iter().copied();
                let found = registry.lenient(name, labels, |_| CounterValue::default());
                let given = CachedHandle::from(found, CounterValue::default);
                given.map(|series| Either::Registry(Counter(series)))
            }
            Self::Recorder(recorder) => CachedHandle {
                handle: Either::Recorder(Arc::clone(recorder), key(name, labels)),
                is_own: true,
            },
        }
    }

    pub(super) fn gauge(&self, name: &'static str) -> Either<Gauge> {
        match self {
            Self::Registry(registry) => {
                let found = registry.lenient(name, std::iter::empty(), |_| GaugeValue::default());
                let series = found.map(|found| found.series);
                let refused = || Series::detached(GaugeValue::default());
                Either::Registry(Gauge(series.unwrap_or_else(refused)))
            }
            Self::Recorder(recorder) => Either::Recorder(Arc::clone(recorder), key(name, &[])),
        }
    }

    pub(super) fn histogram(
        &self,
        name: &'static str,
        labels: &[(&'static str, &str)],
    ) -> CachedHandle<Either<Histogram>> {
        match self {
            Self::Registry(registry) => {
                let labels = labels.iter().copied();
                let found = registry.lenient(name, labels, |name| registry.new_histogram(name));
                let given = CachedHandle::from(found, || registry.new_histogram(name));
                given.map(|series| Either::Registry(Histogram(series)))
            }
            Self::Recorder(recorder) => CachedHandle {
                handle: Either::Recorder(Arc::clone(recorder), key(name, labels)),
                is_own: true,
            },
        }
    }
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// Returns the key of a metric. In Prometheus a label with an empty value is the same as no label.
fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels = labels.iter().filter(|(_, value)| !value.is_empty());
    let labels = labels.map(|&(name, value)| Label::new(name, value.to_owned()));
    Key::from_parts(name, labels.collect::<Vec<_>>())
}

impl Either<Counter> {
    pub(super) fn increment(&self) {
        match self {
            Self::Registry(counter) => counter.increment(1),
            Self::Recorder(recorder, key) => {
                recorder.register_counter(key, &METADATA).increment(1);
            }
        }
    }
}

impl Either<Gauge> {
    /// Adds 1. If the gauge belongs to another recorder, returns the handle to decrement. A later
    /// lookup could find a new series, which would become negative.
    pub(super) fn begin(&self) -> Option<Box<metrics::Gauge>> {
        match self {
            Self::Registry(gauge) => {
                gauge.increment(1.0);
                None
            }
            Self::Recorder(recorder, key) => {
                let gauge = recorder.register_gauge(key, &METADATA);
                gauge.increment(1.0);
                Some(Box::new(gauge))
            }
        }
    }

    /// Subtracts 1.
    pub(super) fn end(&self, begun: Option<Box<metrics::Gauge>>) {
        match (self, begun) {
            (_, Some(gauge)) => gauge.decrement(1.0),
            (Self::Registry(gauge), None) => gauge.decrement(1.0),
            (Self::Recorder(..), None) => {}
        }
    }
}

impl Either<Histogram> {
    #[inline]
    pub(super) fn record(&self, time: Duration, trace: Option<TraceRef>) {
        match self {
            Self::Registry(histogram) => match trace {
                Some(trace) => histogram.record_duration_in_trace(time, trace),
                None => histogram.record_duration(time),
            },
            Self::Recorder(recorder, key) => {
                recorder.register_histogram(key, &METADATA).record(time);
            }
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(registry) => registry.fmt(f),
            Self::Recorder(_) => f.write_str("Recorder"),
        }
    }
}
