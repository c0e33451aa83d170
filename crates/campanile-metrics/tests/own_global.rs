//! An application whose global recorder is the layer's registry.

use std::convert::Infallible;

use campanile_http::ObserveLayer;
use campanile_metrics::{HttpMetrics, Registry, Value};
use http::{Request, Response};
use http_body_util::Empty;
use metrics::counter;
use tower::{Layer, ServiceExt, service_fn};

#[tokio::test]
async fn macros_in_a_handler_count_once() {
    let registry = Registry::new();
    // Without `install`, so that the registry is not told.
    metrics::set_global_recorder(registry.clone()).unwrap();
    let layer = ObserveLayer::new(HttpMetrics::register(&registry).unwrap());
    let service = layer.layer(service_fn(async |_: Request<()>| {
        counter!("orders_total").increment(1);
        Ok::<_, Infallible>(Response::new(Empty::<&'static [u8]>::new()))
    }));
    drop(service.oneshot(Request::new(())).await.unwrap());
    let count = registry.get("orders_total", &[]);
    assert_eq!(count, Some(Value::Counter(1)));
}
