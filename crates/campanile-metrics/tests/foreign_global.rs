//! An application that has a global recorder of its own, and a layer whose registry is not
//! installed.

use std::convert::Infallible;

use campanile_http::ObserveLayer;
use campanile_metrics::{HttpMetrics, Registry, Value};
use http::{Request, Response};
use http_body_util::Empty;
use metrics::counter;
use tower::{Layer, ServiceExt, service_fn};

#[tokio::test]
async fn macros_in_a_handler_also_reach_the_global_recorder() {
    let [own, global] = [Registry::new(), Registry::new()];
    let layer = ObserveLayer::new(HttpMetrics::register(&own).unwrap());
    let service = layer.layer(service_fn(async |_: Request<()>| {
        counter!("orders_total").increment(1);
        tokio::task::yield_now().await;
        counter!("orders_total").increment(1);
        let spawned = tokio::spawn(async { counter!("orders_total").increment(1) });
        spawned.await.unwrap();
        Ok::<_, Infallible>(Response::new(Empty::<&'static [u8]>::new()))
    }));
    let exchange = async || drop(service.clone().oneshot(Request::new(())).await.unwrap());
    exchange().await;
    // The recorder may come after the layer.
    metrics::set_global_recorder(global.clone()).unwrap();
    exchange().await;
    // A cron task.
    counter!("orders_total").increment(1);
    let count = |registry: &Registry| registry.get("orders_total", &[]);
    assert_eq!(count(&global), Some(Value::Counter(4)));
    assert_eq!(count(&own), Some(Value::Counter(4)));
    // The layer's own metrics are in its registry alone.
    assert!(own.family_snapshot("http_requests_total").is_some());
    assert!(global.family_snapshot("http_requests_total").is_none());
}
