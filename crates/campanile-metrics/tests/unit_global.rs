//! An application whose global recorder is a type without fields.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use campanile_http::ObserveLayer;
use campanile_metrics::{HttpMetrics, Registry, Value};
use http::{Request, Response};
use http_body_util::Empty;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit, counter};
use tower::{Layer, ServiceExt, service_fn};

/// Counts all counters in a static.
struct Statics;

static COUNTED: AtomicU64 = AtomicU64::new(0);

struct Counted;

impl metrics::CounterFn for Counted {
    fn increment(&self, value: u64) {
        COUNTED.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, _: u64) {}
}

impl metrics::Recorder for Statics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(Counted))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[cfg(feature = "macros")]
#[campanile_metrics::observe]
fn work() {}

#[tokio::test]
async fn a_recorder_without_fields_counts_as_any_other() {
    let registry = Registry::new();
    let layer = ObserveLayer::new(HttpMetrics::register(&registry).unwrap());
    let service = layer.layer(service_fn(async |_: Request<()>| {
        counter!("orders_total").increment(1);
        Ok::<_, Infallible>(Response::new(Empty::<&'static [u8]>::new()))
    }));
    let exchange = async || drop(service.clone().oneshot(Request::new(())).await.unwrap());
    exchange().await;
    assert_eq!(COUNTED.load(Ordering::Relaxed), 0);
    metrics::set_global_recorder(Statics).unwrap();
    exchange().await;
    assert_eq!(COUNTED.load(Ordering::Relaxed), 1);
    assert_eq!(
        registry.get("orders_total", &[]),
        Some(Value::Counter(2)),
        "the registry counts both"
    );
    #[cfg(feature = "macros")]
    {
        work();
        assert_eq!(COUNTED.load(Ordering::Relaxed), 2);
    }
}
