use axum::Router;
use axum::body::Body;
use axum::routing::get as on_get;
use axum_tracing_opentelemetry::middleware::OtelAxumLayer;
use campanile::correlation::{CorrelationIdLayer, Trust};
use campanile::http::ObserveLayer;
use campanile::telemetry::HttpSpans;
use http::Request;
use opentelemetry::trace::{Span as _, Tracer};
use opentelemetry::{KeyValue, global};
use opentelemetry_instrumentation_tower::http::server::LayerBuilder;
use serde_json::Value;
use tonic_tracing_opentelemetry::middleware::server::OtelGrpcLayer;
use tracing::field::Empty;

use super::sink::attribute;
use super::{PARENT_ID, current_trace, get, installed, ours, serve};

type Wrap = fn(Router) -> Router;

fn axum_tracing_opentelemetry(router: Router) -> Router {
    router.layer(OtelAxumLayer::default())
}

fn opentelemetry_instrumentation_tower(router: Router) -> Router {
    let layer = LayerBuilder::builder()
        .with_metrics(false)
        .with_route_extractor_fn(|_: &Request<Body>| Some("/items/{item}".to_owned()))
        .build();
    router.layer(layer.unwrap())
}

fn tonic_tracing_opentelemetry(router: Router) -> Router {
    router.layer(OtelGrpcLayer::default())
}

/// Works with spans of both APIs.
async fn handler() -> String {
    let mut span = global::tracer("x").start("of the API");
    span.set_attribute(KeyValue::new("password", "hunter2"));
    span.end();
    tracing::info_span!("of tracing", count = 7_u64, late = Empty).in_scope(|| {
        tracing::Span::current().record("late", 8_u32);
        global::tracer("x").in_span("innermost", |_| ());
    });
    current_trace()
}

/// The value of an attribute that is an integer.
fn integer<'a>(of: &'a Value, key: &str) -> &'a Value {
    let mut attributes = of["attributes"].as_array().unwrap().iter();
    let found = attributes.find(|pair| pair["key"] == key);
    found.map_or(&Value::Null, |pair| &pair["value"]["int_value"])
}

/// A span of each layer is exported, the inner one below the outer one, and the handler's spans
/// below both.
async fn are_one_trace(theirs: Wrap) {
    let installed = installed();
    for is_ours_inside in [true, false] {
        for has_parent in [true, false] {
            let what = format!("ours inside: {is_ours_inside}, parent: {has_parent}");
            let router = Router::new().route("/items/{item}", on_get(handler));
            let router = match is_ours_inside {
                true => theirs(ours(router)),
                false => ours(theirs(router)),
            };
            let address = serve(router).await;
            let inbound = format!("{:032x}", fastrand::u128(1..));
            let traceparent = format!("00-{inbound}-{PARENT_ID}-01");
            let traceparent = has_parent.then_some(&*traceparent);
            let trace = get(address, "/items/7", traceparent).await;
            assert_eq!(trace == inbound, has_parent, "{what}");

            let spans = installed.trace(&trace, 5).await;
            let below = |parent: &Value| {
                let mut below = spans
                    .iter()
                    .filter(|span| &span["parent_span_id"] == parent);
                let first = below.next().unwrap_or_else(|| panic!("{what}: {spans:#?}"));
                (first, below.next())
            };
            let begun_by = match has_parent {
                true => PARENT_ID.into(),
                false => Value::Null,
            };
            let (outer, none) = below(&begun_by);
            assert!(none.is_none(), "{what}: {spans:#?}");
            let (inner, none) = below(&outer["span_id"]);
            assert!(none.is_none(), "{what}: {spans:#?}");
            for span in [outer, inner] {
                assert_eq!(span["kind"], "SPAN_KIND_SERVER", "{what}");
            }
            let ours = if is_ours_inside { inner } else { outer };
            assert_eq!(ours["name"], "GET /items/{item}", "{what}");
            assert_eq!(integer(ours, "http.response.status_code"), "200");
            let named = |name: &str| {
                let span = spans.iter().find(|span| span["name"] == name);
                span.unwrap_or_else(|| panic!("{what}: {name}: {spans:#?}"))
            };
            for name in ["of the API", "of tracing"] {
                assert_eq!(named(name)["parent_span_id"], inner["span_id"], "{what}");
            }
            let of_tracing = named("of tracing");
            assert_eq!(integer(of_tracing, "count"), "7");
            assert_eq!(integer(of_tracing, "late"), "8");
            assert_eq!(named("innermost")["parent_span_id"], of_tracing["span_id"]);
            assert_eq!(attribute(named("of the API"), "password"), "[redacted]");
            // All that is done within the request has its id.
            let id = attribute(ours, "correlation_id");
            assert!(id.is_string(), "{ours}");
            for name in ["of the API", "of tracing", "innermost"] {
                assert_eq!(attribute(named(name), "correlation_id"), id, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn axum_tracing_opentelemetry_and_ours_are_one_trace() {
    are_one_trace(axum_tracing_opentelemetry).await;
}

#[tokio::test]
async fn opentelemetry_instrumentation_tower_and_ours_are_one_trace() {
    are_one_trace(opentelemetry_instrumentation_tower).await;
}

#[tokio::test]
async fn tonic_tracing_opentelemetry_and_ours_are_one_trace() {
    are_one_trace(tonic_tracing_opentelemetry).await;
}

#[tokio::test]
async fn a_trace_that_is_not_trusted_is_not_taken_up_further_in() {
    let installed = installed();
    let router = Router::new().route("/items/{item}", on_get(handler));
    let router = axum_tracing_opentelemetry(router)
        .layer(ObserveLayer::new(HttpSpans::new()))
        .layer(CorrelationIdLayer::new().trust(Trust::Never));
    let address = serve(router).await;
    let inbound = format!("{:032x}", fastrand::u128(1..));
    let traceparent = format!("00-{inbound}-{PARENT_ID}-01");
    let trace = get(address, "/items/7", Some(&traceparent)).await;
    assert_ne!(trace, inbound);
    installed.trace(&trace, 5).await;
    installed.trace(&inbound, 0).await;
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_is_carried_but_not_exported() {
    let installed = installed();
    let router = Router::new().route("/items/{item}", on_get(handler));
    let router = axum_tracing_opentelemetry(ours(opentelemetry_instrumentation_tower(router)));
    let address = serve(router).await;
    let inbound = format!("{:032x}", fastrand::u128(1..));
    let traceparent = format!("00-{inbound}-{PARENT_ID}-00");
    let trace = get(address, "/items/7", Some(&traceparent)).await;
    assert_eq!(trace, inbound);
    installed.trace(&trace, 0).await;
}
