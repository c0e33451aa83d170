use std::convert::Infallible;

use campanile_http::ObserveLayer;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::Value;

type Body = Full<&'static [u8]>;

/// Sends a request to a service that answers with a status, and reads the response.
async fn exchange(metrics: &HttpMetrics, method: Method, route: &'static str, status: u16) {
    let layer = ObserveLayer::builder(metrics.clone())
        .route(move |_| Some(route.into()))
        .build();
    let service = layer.layer(service_fn(async |_: Request<Empty<&'static [u8]>>| {
        Response::builder()
            .status(status)
            .body(Body::from(&b"body"[..]))
    }));
    let request = Request::builder()
        .method(method)
        .body(Empty::new())
        .unwrap();
    service
        .oneshot(request)
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap();
}

fn counter(registry: &Registry, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
    match registry.get(name, labels)? {
        Value::Counter(value) => Some(value),
        other => panic!("{other:?} is not a counter"),
    }
}

fn requests(registry: &Registry, method: &str, endpoint: &str, status: &str) -> Option<u64> {
    counter(
        registry,
        REQUESTS,
        &[
            ("method", method),
            ("endpoint", endpoint),
            ("status_code", status),
        ],
    )
}

#[test]
fn every_method_keeps_its_label() {
    let names = METHODS.iter().chain(&["PURGE", "get"]);
    for name in names.filter(|name| **name != "_OTHER") {
        let method = Method::from_bytes(name.as_bytes()).unwrap();
        assert_eq!(MethodLabel::new(&method).label(), method_label(&method));
    }
    assert!(size_of::<Option<HttpExchange>>() <= 40);
}

#[tokio::test]
async fn counts_and_times_by_route_method_and_status() {
    let registry = Registry::new();
    let metrics = HttpMetrics::register(&registry).unwrap();
    exchange(&metrics, Method::GET, "/a", 200).await;
    exchange(&metrics, Method::GET, "/a", 200).await;
    exchange(&metrics, Method::GET, "/a", 503).await;
    exchange(&metrics, Method::from_bytes(b"BREW").unwrap(), "/b", 418).await;
    assert_eq!(requests(&registry, "GET", "/a", "200"), Some(2));
    assert_eq!(requests(&registry, "GET", "/a", "503"), Some(1));
    assert_eq!(requests(&registry, "_OTHER", "/b", "418"), Some(1));
    let duration = registry.get(DURATION, &[("method", "GET"), ("endpoint", "/a")]);
    assert!(
        matches!(duration, Some(Value::Histogram(histogram)) if histogram.count == 3 && histogram.sum > 0.0)
    );
    assert_eq!(registry.get(IN_FLIGHT, &[]), Some(Value::Gauge(0.0)));
    assert!(!registry.render().contains(&format!("# TYPE {INCOMPLETE}")));
}

#[tokio::test]
async fn an_exchange_in_progress_is_in_flight_and_a_cancelled_one_is_abnormal() {
    let registry = Registry::new();
    let layer = ObserveLayer::new(HttpMetrics::register(&registry).unwrap());
    let service = layer.layer(service_fn(|_: Request<()>| {
        std::future::pending::<Result<Response<Body>, Infallible>>()
    }));
    let mut future = Box::pin(service.oneshot(Request::new(())));
    assert!(
        future
            .as_mut()
            .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
            .is_pending()
    );
    assert_eq!(registry.get(IN_FLIGHT, &[]), Some(Value::Gauge(1.0)));
    drop(future);
    assert_eq!(registry.get(IN_FLIGHT, &[]), Some(Value::Gauge(0.0)));
    assert_eq!(requests(&registry, "GET", "_unmatched_", "499"), Some(1));
    let labels = [
        ("method", "GET"),
        ("endpoint", "_unmatched_"),
        ("outcome", "cancelled"),
    ];
    assert_eq!(counter(&registry, INCOMPLETE, &labels), Some(1));
}

#[tokio::test]
async fn inside_of_an_exchange_the_macros_reach_its_registry() {
    let registries = [Registry::new(), Registry::new()];
    for registry in &registries {
        let layer = ObserveLayer::new(HttpMetrics::register(registry).unwrap());
        let service = layer.layer(service_fn(async |_: Request<()>| {
            tokio::task::yield_now().await;
            metrics::counter!("handled_total").increment(1);
            Ok::<_, Infallible>(Response::new(Body::default()))
        }));
        let _response = service.oneshot(Request::new(())).await.unwrap();
    }
    for registry in &registries {
        assert_eq!(registry.get("handled_total", &[]), Some(Value::Counter(1)));
    }
}

#[tokio::test]
async fn routes_past_the_cap_are_summed_in_the_overflow_series() {
    let registry = Registry::builder()
        .max_series_per_family(3)
        .build()
        .unwrap();
    let metrics = HttpMetrics::register(&registry).unwrap();
    for _ in 0..2 {
        for route in ["/1", "/2", "/3", "/4", "/5"] {
            exchange(&metrics, Method::GET, route, 200).await;
        }
    }
    assert_eq!(requests(&registry, "GET", "/3", "200"), Some(2));
    assert_eq!(requests(&registry, "GET", "/4", "200"), None);
    assert_eq!(
        requests(&registry, "_other_", "_other_", "_other_"),
        Some(4)
    );
}

#[test]
fn a_taken_name_is_an_error_and_one_taken_later_is_rejected() {
    let registry = Registry::new();
    let metrics = HttpMetrics::register(&registry).unwrap();
    // The name of the counter in OpenMetrics.
    let base = REQUESTS.trim_end_matches("_total");
    registry.gauge(base, &[]).unwrap();
    assert!(matches!(
        HttpMetrics::register(&registry),
        Err(RegisterError::NameTaken { .. })
    ));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(exchange(&metrics, Method::GET, "/a", 200));
    let duration = registry.get(DURATION, &[("method", "GET"), ("endpoint", "/a")]);
    assert!(matches!(duration, Some(Value::Histogram(histogram)) if histogram.count == 1));
    assert!(
        registry
            .render()
            .contains("campanile_registry_rejected_total 1\n")
    );
}

#[tokio::test]
async fn presets_choose_the_names() {
    for naming in [
        HttpNaming::Classic,
        HttpNaming::OpenTelemetry,
        HttpNaming::Both,
    ] {
        let registry = Registry::builder().http_naming(naming).build().unwrap();
        let metrics = HttpMetrics::register(&registry).unwrap();
        exchange(&metrics, Method::GET, "/a", 200).await;
        exchange(&metrics, Method::GET, "/a", 503).await;
        let classic = requests(&registry, "GET", "/a", "200").map(|_| ());
        assert_eq!(classic.is_some(), naming != HttpNaming::OpenTelemetry);
        let telemetry = [("200", ""), ("503", "503")].map(|(status, error)| {
            let labels = [
                ("http_request_method", "GET"),
                ("http_route", "/a"),
                ("http_response_status_code", status),
                ("error_type", error),
                ("network_protocol_version", "1.1"),
                ("url_scheme", "http"),
            ];
            registry.get(SERVER_DURATION, &labels).is_some()
        });
        assert_eq!(
            telemetry,
            [naming != HttpNaming::Classic; 2],
            "{}",
            registry.render()
        );
    }
}

#[tokio::test]
async fn durations_have_the_trace_that_an_observer_before_has_left() {
    /// Leaves a trace in the request's extensions.
    struct Traces(Option<TraceRef>);
    impl Observer for Traces {
        type Exchange = ();
        fn begin(&self, head: &mut RequestHead<'_>) {
            self.0.map(|trace| head.extensions_mut().insert(trace));
        }
        fn end(&self, (): (), _: &End) {}
    }
    let id = std::num::NonZeroU128::new(0xabc).unwrap();
    let span = std::num::NonZeroU64::new(0xdef).unwrap();
    for (trace, is_shown) in [
        (Some(TraceRef::new(id, true)), true),
        (Some(TraceRef::new(id, true).with_span(span)), true),
        (Some(TraceRef::new(id, false)), false),
        (None, false),
    ] {
        let registry = Registry::new();
        let observers = (Traces(trace), HttpMetrics::register(&registry).unwrap());
        let service = ObserveLayer::new(observers).layer(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(Body::default()))
        }));
        drop(service.oneshot(Request::new(())).await.unwrap());
        let page = registry.render_open_metrics();
        let line = page
            .lines()
            .find(|line| line.contains("_bucket") && line.contains(" # "));
        let exemplar = match trace.and_then(|trace| trace.span_id()) {
            Some(_) => {
                r#" 1 # {trace_id="00000000000000000000000000000abc",span_id="0000000000000def"} "#
            }
            None => r#" 1 # {trace_id="00000000000000000000000000000abc"} "#,
        };
        assert_eq!(
            line.is_some_and(|line| line.contains(exemplar)),
            is_shown,
            "{page}"
        );
        assert!(!registry.render().contains(" # {"));
    }
}

#[tokio::test]
async fn a_route_that_was_turned_away_has_its_series_once_there_is_room() {
    let second = std::time::Duration::from_secs(1);
    let registry = Registry::builder()
        .max_series(3)
        .idle_timeout(second)
        .build()
        .unwrap();
    let metrics = HttpMetrics::register(&registry).unwrap();
    // Together with the gauge of requests in flight, the registry is full.
    registry.gauge("filler", &[("k", "1")]).unwrap();
    registry.gauge("filler", &[("k", "2")]).unwrap();
    exchange(&metrics, Method::GET, "/a", 200).await;
    assert_eq!(requests(&registry, "GET", "/a", "200"), None);
    let now = crate::clock::now();
    registry.sweep(now + second * 10);
    registry.sweep(now + second * 20);
    exchange(&metrics, Method::GET, "/a", 200).await;
    assert_eq!(requests(&registry, "GET", "/a", "200"), Some(1));
}

/// Sends a gRPC call to a service that answers with a status in its head.
async fn call(metrics: &HttpMetrics, path: &str, route: Option<&'static str>, status: &str) {
    let layer = ObserveLayer::builder(metrics.clone())
        .route(move |_| route.map(Route::from_static))
        .build();
    let service = layer.layer(service_fn(async |_: Request<Empty<&'static [u8]>>| {
        Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", status)
            .body(Empty::<&'static [u8]>::new())
    }));
    let request = Request::post(path)
        .header("content-type", "application/grpc")
        .body(Empty::new())
        .unwrap();
    drop(service.oneshot(request).await.unwrap());
}

#[tokio::test]
async fn grpc_calls_have_their_status_in_families_of_their_own() {
    for naming in [
        HttpNaming::Classic,
        HttpNaming::OpenTelemetry,
        HttpNaming::Both,
    ] {
        let registry = Registry::builder().http_naming(naming).build().unwrap();
        let metrics = HttpMetrics::register(&registry).unwrap();
        call(&metrics, "/shop.Shop/Buy", None, "0").await;
        for _ in 0..2 {
            call(&metrics, "/shop.Shop/Buy", None, "5").await;
            call(&metrics, "/shop.Shop/Buy", None, "13").await;
            call(&metrics, "/evil.Text/Buy", None, "14").await;
            call(&metrics, "/shop.Shop/Buy", Some("/mine"), "13").await;
        }
        let page = registry.render();
        let handled = |service, method, code| {
            let labels = [
                ("grpc_type", "unknown"),
                ("grpc_service", service),
                ("grpc_method", method),
                ("grpc_code", code),
            ];
            counter(&registry, "grpc_server_handled_total", &labels)
        };
        let duration = |name: &str, labels: &[(&str, &str)]| match registry.get(name, labels) {
            Some(Value::Histogram(histogram)) => Some(histogram.count),
            _ => None,
        };
        let handling = |service, method| {
            let labels = [
                ("grpc_type", "unknown"),
                ("grpc_service", service),
                ("grpc_method", method),
            ];
            duration("grpc_server_handling_seconds", &labels)
        };
        let telemetry = |method, status, error| {
            let labels = [
                ("rpc_system_name", "grpc"),
                ("rpc_method", method),
                ("rpc_response_status_code", status),
                ("error_type", error),
            ];
            duration("rpc_server_call_duration_seconds", &labels)
        };
        let classic = |count| (naming != HttpNaming::OpenTelemetry).then_some(count);
        let semantic = |count| (naming != HttpNaming::Classic).then_some(count);
        assert_eq!(handled("shop.Shop", "Buy", "OK"), classic(1), "{page}");
        assert_eq!(handled("shop.Shop", "Buy", "NotFound"), classic(2));
        assert_eq!(handled("shop.Shop", "Buy", "Internal"), classic(2));
        assert_eq!(
            handled("_unmatched_", "_unmatched_", "Unavailable"),
            classic(2)
        );
        assert_eq!(handled("/mine", "/mine", "Internal"), classic(2));
        assert_eq!(handling("shop.Shop", "Buy"), classic(5));
        assert_eq!(
            requests(&registry, "POST", "/shop.Shop/Buy", "200"),
            classic(5)
        );
        assert_eq!(telemetry("shop.Shop/Buy", "OK", ""), semantic(1));
        assert_eq!(telemetry("shop.Shop/Buy", "NOT_FOUND", ""), semantic(2));
        assert_eq!(
            telemetry("shop.Shop/Buy", "INTERNAL", "INTERNAL"),
            semantic(2)
        );
        assert_eq!(
            telemetry("_OTHER", "UNAVAILABLE", "UNAVAILABLE"),
            semantic(2)
        );
        assert_eq!(telemetry("/mine", "INTERNAL", "INTERNAL"), semantic(2));
        assert!(!page.contains("evil"), "{page}");
    }
}

#[tokio::test]
async fn every_grpc_status_has_its_go_name() {
    let registry = Registry::new();
    let metrics = HttpMetrics::register(&registry).unwrap();
    // More statuses than the cache probes slots for one hash.
    for _ in 0..2 {
        for code in 0..=16 {
            call(&metrics, "/", Some("/a.B/C"), &code.to_string()).await;
        }
    }
    let handled = registry
        .family_snapshot("grpc_server_handled_total")
        .unwrap();
    let codes = handled.series.iter().map(|series| {
        assert_eq!(series.value, Value::Counter(2));
        series.label("grpc_code").unwrap().into_owned()
    });
    let codes: Vec<_> = codes.collect();
    let expected = [
        "Aborted",
        "AlreadyExists",
        "Canceled",
        "DataLoss",
        "DeadlineExceeded",
        "FailedPrecondition",
        "Internal",
        "InvalidArgument",
        "NotFound",
        "OK",
        "OutOfRange",
        "PermissionDenied",
        "ResourceExhausted",
        "Unauthenticated",
        "Unavailable",
        "Unimplemented",
        "Unknown",
    ];
    assert_eq!(codes, expected);
    assert_eq!(metrics.0.table.len(), 17);
}

#[tokio::test]
async fn a_recorder_of_another_library_gets_the_families_of_grpc() {
    let registry = Registry::new();
    let metrics = HttpMetrics::with_recorder(registry.clone(), HttpNaming::Both);
    call(&metrics, "/shop.Shop/Buy", None, "0").await;
    call(&metrics, "/shop.Shop/Buy", None, "13").await;
    let page = registry.render();
    for line in [
        r#"grpc_server_handled_total{grpc_code="Internal",grpc_method="Buy",grpc_service="shop.Shop",grpc_type="unknown"} 1"#,
        r#"rpc_server_call_duration_seconds_count{error_type="INTERNAL",rpc_method="shop.Shop/Buy",rpc_response_status_code="INTERNAL",rpc_system_name="grpc"} 1"#,
    ] {
        assert!(page.contains(line), "{page}");
    }
}

/// A recorder that can drop all its series, as metrics-exporter-prometheus drops idle ones. A handle
/// from before then writes to a series that is not exported.
#[derive(Clone, Default)]
struct Forgetful(Arc<std::sync::Mutex<Registry>>);

impl Forgetful {
    fn registry(&self) -> Registry {
        self.0.lock().unwrap().clone()
    }
}

impl Recorder for Forgetful {
    fn describe_counter(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn describe_gauge(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn describe_histogram(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }

    fn register_counter(
        &self,
        key: &metrics::Key,
        metadata: &metrics::Metadata<'_>,
    ) -> metrics::Counter {
        self.registry().register_counter(key, metadata)
    }

    fn register_gauge(
        &self,
        key: &metrics::Key,
        metadata: &metrics::Metadata<'_>,
    ) -> metrics::Gauge {
        self.registry().register_gauge(key, metadata)
    }

    fn register_histogram(
        &self,
        key: &metrics::Key,
        metadata: &metrics::Metadata<'_>,
    ) -> metrics::Histogram {
        self.registry().register_histogram(key, metadata)
    }
}

#[tokio::test]
async fn a_series_that_another_recorder_removes_comes_back_with_the_next_request() {
    let recorder = Forgetful::default();
    let metrics = HttpMetrics::with_recorder(recorder.clone(), HttpNaming::Both);
    let layer = ObserveLayer::new(metrics.clone());
    for _ in 0..3 {
        exchange(&metrics, Method::GET, "/a", 200).await;
        call(&metrics, "/", Some("/a.B/C"), "0").await;
        let registry = recorder.registry();
        assert_eq!(requests(&registry, "GET", "/a", "200"), Some(1));
        assert_eq!(registry.get(IN_FLIGHT, &[]), Some(Value::Gauge(0.0)));
        for name in [
            DURATION,
            SERVER_DURATION,
            grpc::HANDLED,
            grpc::HANDLING,
            grpc::CALL_DURATION,
        ] {
            assert!(registry.family_snapshot(name).is_some(), "{name}");
        }
        // An exchange that is older than the series leaves no negative gauge behind.
        let service = layer.layer(service_fn(|_: Request<()>| {
            std::future::pending::<Result<Response<Body>, Infallible>>()
        }));
        let pending = Box::pin(service.oneshot(Request::new(())));
        let mut pending = pending;
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(pending.as_mut().poll(&mut context).is_pending());
        *recorder.0.lock().unwrap() = Registry::new();
        exchange(&metrics, Method::GET, "/b", 200).await;
        drop(pending);
        assert_eq!(
            recorder.registry().get(IN_FLIGHT, &[]),
            Some(Value::Gauge(0.0))
        );
        *recorder.0.lock().unwrap() = Registry::new();
    }
}

#[tokio::test]
async fn exchanges_count_although_a_constant_label_has_the_name_of_theirs() {
    let mut builder = Registry::builder().http_naming(HttpNaming::Both);
    for label in ["method", "endpoint", "outcome", "grpc_code", "error_type"] {
        builder = builder.constant_label(label, "x");
    }
    let registry = builder.build().unwrap();
    let metrics = HttpMetrics::register(&registry).unwrap();
    exchange(&metrics, Method::GET, "/a", 200).await;
    call(&metrics, "/", Some("/a.B/C"), "13").await;
    assert_eq!(requests(&registry, "GET", "/a", "200"), Some(1));
    let page = registry.render();
    for line in [
        r#"http_requests_total{error_type="x",grpc_code="x",outcome="x",endpoint="/a",method="GET",status_code="200"} 1"#,
        r#"grpc_code="Internal",grpc_method="C",grpc_service="a.B",grpc_type="unknown"} 1"#,
        r#"http_requests_in_flight{endpoint="x",error_type="x",grpc_code="x",method="x",outcome="x"} 0"#,
    ] {
        assert!(page.contains(line), "{page}");
    }
}

#[tokio::test]
async fn each_version_scheme_and_outcome_of_a_route_keeps_its_handles() {
    let registry = Registry::builder()
        .http_naming(HttpNaming::OpenTelemetry)
        .build()
        .unwrap();
    let metrics = HttpMetrics::register(&registry).unwrap();
    let layer = ObserveLayer::builder(metrics.clone())
        .route(|_| Some("/".into()))
        .build();
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Body::from(&b"body"[..])))
    }));
    let versions = [
        Version::HTTP_09,
        Version::HTTP_10,
        Version::HTTP_11,
        Version::HTTP_2,
        Version::HTTP_3,
    ];
    for version in versions {
        for scheme in ["http", "https"] {
            for is_read in [true, false] {
                let request = Request::builder()
                    .version(version)
                    .uri(format!("{scheme}://shop.example/"))
                    .body(())
                    .unwrap();
                let response = service.clone().oneshot(request).await.unwrap();
                if is_read {
                    response.into_body().collect().await.unwrap();
                }
            }
        }
    }
    // More than the table has places for one hash.
    assert_eq!(metrics.0.table.len(), 20);
}
