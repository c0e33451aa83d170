use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use campanile_http::TraceRef;
use metrics::{Key, Label, Level, Metadata, Recorder};

use crate::cell::{CounterCell, GaugeCell};
use crate::series::Series;
use crate::{Counter, Gauge, Histogram, Registry};

/// Where the metrics of exchanges go.
#[derive(Clone)]
pub(super) enum Sink {
    Registry(Registry),
    /// Another library's, which can't be read back.
    Recorder(Arc<dyn Recorder + Send + Sync>),
}

/// A handle of either.
pub(super) enum Either<O, R> {
    Registry(O),
    Recorder(R),
}

impl Sink {
    pub(super) fn describe(&self, name: &str, help: &str) {
        if let Self::Registry(registry) = self {
            registry.describe(name, help);
        }
    }

    pub(super) fn scope<T>(&self, poll: impl FnOnce() -> T) -> T {
        match self {
            Self::Registry(registry) => metrics::with_local_recorder(registry, poll),
            Self::Recorder(recorder) => metrics::with_local_recorder(&**recorder, poll),
        }
    }

    pub(super) fn counter(
        &self,
        name: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Either<Counter, metrics::Counter> {
        match self {
            Self::Registry(registry) => {
                let labels = labels.iter().copied();
                let found = registry.lenient(name, labels, |_| CounterCell::default());
                let series = found.map(|found| found.series);
                let refused = || Series::detached(CounterCell::default());
                Either::Registry(Counter(series.unwrap_or_else(refused)))
            }
            Self::Recorder(recorder) => {
                Either::Recorder(recorder.register_counter(&key(name, labels), &METADATA))
            }
        }
    }

    pub(super) fn gauge(&self, name: &'static str) -> Either<Gauge, metrics::Gauge> {
        match self {
            Self::Registry(registry) => {
                let found = registry.lenient(name, std::iter::empty(), |_| GaugeCell::default());
                let series = found.map(|found| found.series);
                let refused = || Series::detached(GaugeCell::default());
                Either::Registry(Gauge(series.unwrap_or_else(refused)))
            }
            Self::Recorder(recorder) => {
                Either::Recorder(recorder.register_gauge(&key(name, &[]), &METADATA))
            }
        }
    }

    pub(super) fn histogram(
        &self,
        name: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Either<Histogram, metrics::Histogram> {
        match self {
            Self::Registry(registry) => {
                let labels = labels.iter().copied();
                let found = registry.lenient(name, labels, |name| registry.new_histogram(name));
                let series = found.map(|found| found.series);
                let refused = || Series::detached(registry.new_histogram(name));
                Either::Registry(Histogram(series.unwrap_or_else(refused)))
            }
            Self::Recorder(recorder) => {
                Either::Recorder(recorder.register_histogram(&key(name, labels), &METADATA))
            }
        }
    }
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// The key of a metric; to Prometheus a label without a value is one that isn't there.
fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels = labels.iter().filter(|(_, value)| !value.is_empty());
    let labels = labels.map(|&(name, value)| Label::new(name, value.to_owned()));
    Key::from_parts(name, labels.collect::<Vec<_>>())
}

impl Either<Counter, metrics::Counter> {
    pub(super) fn increment(&self) {
        match self {
            Self::Registry(counter) => counter.increment(1),
            Self::Recorder(counter) => counter.increment(1),
        }
    }
}

impl Either<Gauge, metrics::Gauge> {
    pub(super) fn move_by(&self, by: f64) {
        match self {
            Self::Registry(gauge) => gauge.increment(by),
            Self::Recorder(gauge) => gauge.increment(by),
        }
    }
}

impl Either<Histogram, metrics::Histogram> {
    #[inline]
    pub(super) fn record(&self, time: Duration, trace: Option<TraceRef>) {
        match self {
            Self::Registry(histogram) => match trace {
                Some(trace) => histogram.record_duration_in_trace(time, trace),
                None => histogram.record_duration(time),
            },
            Self::Recorder(histogram) => histogram.record(time),
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
