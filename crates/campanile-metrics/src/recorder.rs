use metrics::{Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::Registry;
use crate::cell::{CounterCell, GaugeCell};

/// The macros' way in: names are made valid, and what is refused is counted and gets a handle without effect.
impl Recorder for Registry {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(name.as_str(), &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(name.as_str(), &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(name.as_str(), &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> metrics::Counter {
        let cell = self.lenient(key.name(), labels(key), CounterCell::default);
        cell.map_or_else(metrics::Counter::noop, metrics::Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> metrics::Gauge {
        let cell = self.lenient(key.name(), labels(key), GaugeCell::default);
        cell.map_or_else(metrics::Gauge::noop, metrics::Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        let cell = self.lenient(key.name(), labels(key), || self.new_histogram());
        cell.map_or_else(metrics::Histogram::noop, metrics::Histogram::from_arc)
    }
}

fn labels(key: &Key) -> impl Iterator<Item = (&str, &str)> {
    key.labels().map(|label| (label.key(), label.value()))
}
