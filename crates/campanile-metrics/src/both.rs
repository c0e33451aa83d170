//! The recorder of the `metrics` macros while a request is handled: the registry and the recorder
//! that was current before.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit, with_local_recorder,
};

use crate::Registry;
use crate::recorder::is_none;

impl Registry {
    /// Runs code whose macros write to this registry and to the current recorder. If the registry
    /// reads another exporter, they write to the current recorder only.
    #[inline]
    pub(crate) fn scope<T>(&self, run: impl FnOnce() -> T) -> T {
        // The code runs outside of the lookup, so its output moves through fewer calls.
        let is_alone =
            self.0.is_installed.load(Ordering::Relaxed) || metrics::with_recorder(is_none);
        if is_alone {
            return with_local_recorder(self, run);
        }
        self.scope_with_outer(run)
    }

    #[inline(never)]
    fn scope_with_outer<T>(&self, run: impl FnOnce() -> T) -> T {
        // The registry reads those values from the exporter. Its own values would hide them.
        if self.has_exporter() {
            return run();
        }
        metrics::with_recorder(|outer| {
            let registry = self;
            with_local_recorder(&Both { registry, outer }, run)
        })
    }

    /// Returns whether this thread is registering a metric here already, through another recorder
    /// that writes to this registry too.
    #[inline]
    pub(crate) fn is_registering(&self) -> bool {
        let is_any = DEPTH.try_with(|depth| depth.get() > 0).unwrap_or(false);
        is_any && {
            let id = self.id();
            let is_this = |all: &RefCell<Vec<usize>>| all.borrow().contains(&id);
            REGISTERING.try_with(is_this).unwrap_or(false)
        }
    }

    fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

thread_local! {
    /// The registries with which this thread has registered a metric that it now registers with
    /// their outer recorders.
    static REGISTERING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    /// The number of those registries.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

struct Registering;

impl Registering {
    fn new(registry: &Registry) -> Self {
        // While a thread is torn down, a metric can be counted twice.
        let _ = REGISTERING.try_with(|all| all.borrow_mut().push(registry.id()));
        let _ = DEPTH.try_with(|depth| depth.set(depth.get() + 1));
        Self
    }
}

impl Drop for Registering {
    fn drop(&mut self) {
        let _ = REGISTERING.try_with(|all| all.borrow_mut().pop());
        let _ = DEPTH.try_with(|depth| depth.set(depth.get().saturating_sub(1)));
    }
}

/// A registry and another recorder.
struct Both<'a> {
    registry: &'a Registry,
    outer: &'a dyn Recorder,
}

impl Both<'_> {
    /// Registers with the outer recorder. If it writes to the registry too, nothing is counted
    /// twice.
    fn outer<T>(&self, register: impl FnOnce(&dyn Recorder) -> T) -> T {
        let _registering = Registering::new(self.registry);
        register(self.outer)
    }
}

impl Recorder for Both<'_> {
    // The outer recorder gets each description once, because observed functions describe their
    // metrics often.
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        if self.registry.describe_both(name.as_str(), &help, unit) {
            self.outer.describe_counter(name, unit, help);
        }
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        if self.registry.describe_both(name.as_str(), &help, unit) {
            self.outer.describe_gauge(name, unit, help);
        }
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        if self.registry.describe_both(name.as_str(), &help, unit) {
            self.outer.describe_histogram(name, unit, help);
        }
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        let own = self.registry.register_counter(key, metadata);
        let outer = self.outer(|outer| outer.register_counter(key, metadata));
        Counter::from_arc(Arc::new(Pair(own, outer)))
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        let own = self.registry.register_gauge(key, metadata);
        let outer = self.outer(|outer| outer.register_gauge(key, metadata));
        Gauge::from_arc(Arc::new(Pair(own, outer)))
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        let own = self.registry.register_histogram(key, metadata);
        let outer = self.outer(|outer| outer.register_histogram(key, metadata));
        Histogram::from_arc(Arc::new(Pair(own, outer)))
    }
}

/// Two handles that are written together.
struct Pair<T>(T, T);

impl CounterFn for Pair<Counter> {
    fn increment(&self, value: u64) {
        self.0.increment(value);
        self.1.increment(value);
    }

    fn absolute(&self, value: u64) {
        self.0.absolute(value);
        self.1.absolute(value);
    }
}

impl GaugeFn for Pair<Gauge> {
    fn increment(&self, value: f64) {
        self.0.increment(value);
        self.1.increment(value);
    }

    fn decrement(&self, value: f64) {
        self.0.decrement(value);
        self.1.decrement(value);
    }

    fn set(&self, value: f64) {
        self.0.set(value);
        self.1.set(value);
    }
}

impl HistogramFn for Pair<Histogram> {
    fn record(&self, value: f64) {
        self.0.record(value);
        self.1.record(value);
    }

    fn record_many(&self, value: f64, count: usize) {
        self.0.record_many(value, count);
        self.1.record_many(value, count);
    }
}

#[cfg(test)]
mod tests {
    use metrics::{counter, describe_counter, gauge, histogram};

    use super::*;
    use crate::Value;

    /// Writes once to each kind of metric.
    fn write() {
        describe_counter!("c_total", "Some.");
        counter!("c_total", "k" => "v").increment(2);
        gauge!("g").set(3.0);
        gauge!("g").decrement(1.0);
        histogram!("h", "k" => 7.to_string()).record(0.5);
        counter!("absolute_total").absolute(9);
    }

    #[track_caller]
    fn check(registry: &Registry, times: u64) {
        let page = registry.render();
        if times == 0 {
            assert_eq!(page, "");
            return;
        }
        let counter = registry.get("c_total", &[("k", "v")]);
        assert_eq!(counter, Some(Value::Counter(2 * times)), "{page}");
        assert_eq!(registry.get("g", &[]), Some(Value::Gauge(2.0)));
        let histogram = registry.get("h", &[("k", "7")]);
        let Some(Value::Histogram(histogram)) = histogram else {
            panic!("{page}")
        };
        assert_eq!(histogram.count, times);
        let absolute = registry.get("absolute_total", &[]);
        assert_eq!(absolute, Some(Value::Counter(9)));
    }

    #[test]
    fn the_registry_and_the_recorder_that_was_current_both_count() {
        let [own, outer] = [Registry::new(), Registry::new()];
        own.scope(write);
        check(&own, 1);
        with_local_recorder(&outer, || own.scope(write));
        check(&own, 2);
        check(&outer, 1);
        let page = outer.render();
        assert!(page.contains("# HELP c_total Some.\n"), "{page}");
        with_local_recorder(&outer, write);
        check(&outer, 2);
        check(&own, 2);
    }

    #[test]
    fn nothing_counts_twice_whatever_leads_to_the_registry() {
        let [own, other] = [Registry::new(), Registry::new()];
        with_local_recorder(&own, || own.scope(write));
        check(&own, 1);
        own.scope(|| own.scope(|| own.scope(write)));
        check(&own, 2);
        other.scope(|| own.scope(|| other.scope(|| own.scope(write))));
        check(&own, 3);
        check(&other, 1);
        // A pair of another registry, with this one as its outer recorder.
        let pair = Both {
            registry: &other,
            outer: &own,
        };
        with_local_recorder(&pair, || own.scope(write));
        check(&own, 4);
        check(&other, 2);
        assert!(!own.is_registering());
    }

    #[test]
    fn a_handle_that_is_kept_goes_on_writing_to_both() {
        let [own, outer] = [Registry::new(), Registry::new()];
        let counter = with_local_recorder(&outer, || own.scope(|| counter!("c_total")));
        counter.increment(5);
        for registry in [own, outer] {
            assert_eq!(registry.get("c_total", &[]), Some(Value::Counter(5)));
        }
    }
}
