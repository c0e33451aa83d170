//! Applications that have an OpenTelemetry pipeline of their own.

#![cfg(feature = "otlp")]
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use campanile_correlation::{Correlation, CorrelationIdLayer};
use campanile_http::ObserveLayer;
use campanile_telemetry::otel::opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer, TracerProvider,
};
use campanile_telemetry::otel::opentelemetry::{Context, KeyValue, Value};
use campanile_telemetry::otel::opentelemetry_sdk::error::OTelSdkResult;
use campanile_telemetry::otel::opentelemetry_sdk::trace::{
    SdkTracerProvider, SpanData, SpanExporter,
};
use campanile_telemetry::otel::tracing_opentelemetry::{self, OpenTelemetrySpanExt};
use campanile_telemetry::{HttpSpans, Otlp, Telemetry, TelemetryBuilder, Writer, note};
use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tracing::field::Empty;
use tracing::{Dispatch, Span};
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt;

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT_ID: &str = "00f067aa0ba902b7";

/// An exporter that keeps what it gets.
#[derive(Clone, Debug, Default)]
struct Exported(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Exported {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Exported {
    fn provider(&self) -> SdkTracerProvider {
        let provider = SdkTracerProvider::builder();
        provider.with_simple_exporter(self.clone()).build()
    }

    #[track_caller]
    fn one(&self, name: &str) -> SpanData {
        let spans = self.0.lock().unwrap();
        let mut named = spans.iter().filter(|span| span.name == name);
        let span = named.next().unwrap_or_else(|| panic!("{name}: {spans:?}"));
        assert!(named.next().is_none(), "{spans:?}");
        span.clone()
    }
}

fn attribute<'a>(span: &'a SpanData, key: &str) -> Option<&'a Value> {
    let mut pairs = span
        .attributes
        .iter()
        .filter(|pair| pair.key.as_str() == key);
    let found = pairs.next().map(|pair| &pair.value);
    assert!(pairs.next().is_none(), "{span:?}");
    found
}

fn builder() -> TelemetryBuilder {
    Telemetry::builder("test").writer(Writer::new(io::sink()))
}

/// The trace that the task, tracing and OpenTelemetry name.
fn current() -> [String; 3] {
    let trace = Correlation::current().trace().cloned().unwrap();
    let of = |context: Context| context.span().span_context().trace_id().to_string();
    [
        format!("{:032x}", trace.parent.trace_id()),
        of(Context::current()),
        of(Span::current().context()),
    ]
}

/// Answers a request, in whose handler the function is called.
async fn request<T: Send + 'static>(
    handler: impl Fn() -> T + Clone + Send + 'static,
) -> Response<String> {
    let service = service_fn(move |_: Request<String>| {
        let handler = handler.clone();
        async move {
            handler();
            Ok::<_, Infallible>(Response::new("answer".to_owned()))
        }
    });
    let observe = ObserveLayer::builder(HttpSpans::new());
    let observe = observe.route(|_| Some("/users/{id}".into())).build();
    let service = CorrelationIdLayer::new().layer(observe.layer(service));
    let request = Request::get("/users/7")
        .header("traceparent", format!("00-{TRACE_ID}-{PARENT_ID}-01"))
        .body(String::new());
    let (head, body) = service
        .oneshot(request.unwrap())
        .await
        .unwrap()
        .into_parts();
    let body = http_body_util::BodyExt::collect(body).await.unwrap();
    Response::from_parts(head, String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

#[track_caller]
fn is_of_the_request(span: &SpanData) {
    assert_eq!(span.span_context.trace_id().to_string(), TRACE_ID);
    assert_eq!(span.parent_span_id.to_string(), PARENT_ID);
    assert!(span.parent_span_is_remote);
    assert_eq!(span.span_kind, SpanKind::Server);
    let facts = [
        ("http.request.method", "GET".into()),
        ("http.response.status_code", 200.into()),
        ("http.route", "/users/{id}".into()),
        ("url.path", "/users/7".into()),
    ];
    for (key, value) in facts {
        assert_eq!(attribute(span, key), Some(&value), "{key}");
    }
}

#[tokio::test]
async fn an_own_layer_has_the_spans_of_requests_in_the_trace_that_they_came_with() {
    for is_ours_first in [true, false] {
        let exported = Exported::default();
        let tracer = exported.provider().tracer("own");
        let telemetry = builder().build().unwrap();
        let registry = tracing_subscriber::registry();
        let dispatch: Dispatch = match is_ours_first {
            true => {
                let ours = telemetry.layer().with_filter(telemetry.filter());
                let own = tracing_opentelemetry::layer().with_tracer(tracer.clone());
                registry.with(ours).with(own).into()
            }
            false => {
                let own = tracing_opentelemetry::layer().with_tracer(tracer.clone());
                let ours = telemetry.layer().with_filter(telemetry.filter());
                registry.with(own).with(ours).into()
            }
        };
        let _subscriber = tracing::dispatcher::set_default(&dispatch);
        request(move || {
            assert_eq!(current(), [TRACE_ID; 3]);
            tracer.start("of the API").end();
            tracing::info_span!("of tracing").in_scope(|| assert_eq!(current(), [TRACE_ID; 3]));
        })
        .await;
        let server = exported.one("GET /users/{id}");
        is_of_the_request(&server);
        for name in ["of the API", "of tracing"] {
            let parent = exported.one(name).parent_span_id;
            assert_eq!(parent, server.span_context.span_id(), "{name}");
        }
    }
}

#[tokio::test]
async fn an_own_provider_has_the_spans_of_requests_at_any_level_of_the_log() {
    for filter in ["info", "warn", "off"] {
        let exported = Exported::default();
        let provider = exported.provider();
        let telemetry = builder().filter(filter).tracer_provider(&provider);
        let telemetry = telemetry.build().unwrap();
        let subscriber = tracing_subscriber::registry();
        let layer = telemetry.layer_with_spans().with_filter(telemetry.filter());
        let subscriber = subscriber.with(layer);
        let _subscriber = tracing::subscriber::set_default(subscriber);
        let tracer = provider.tracer("own");
        request(move || {
            // `Span::current()` is no span where the log has none.
            assert_eq!(current()[..2], [TRACE_ID; 2]);
            tracer.start("of the API").end();
        })
        .await;
        let server = exported.one("GET /users/{id}");
        is_of_the_request(&server);
        let id = attribute(&server, "correlation_id");
        assert_eq!(id, Some(&TRACE_ID.into()), "{filter}");
        // None of what the exporter of `otlp` tells itself.
        let is_ours = |pair: &KeyValue| pair.key.as_str().starts_with("campanile");
        assert!(!server.attributes.iter().any(is_ours), "{server:?}");
        let parent = exported.one("of the API").parent_span_id;
        assert_eq!(parent, server.span_context.span_id(), "{filter}");
    }
}

#[test]
fn an_own_provider_has_all_spans_though_lines_are_exported() {
    let exported = Exported::default();
    let nowhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nowhere = format!("http://{}", nowhere.local_addr().unwrap());
    let telemetry = builder().otlp(Otlp::new(nowhere));
    let telemetry = telemetry.tracer_provider(&exported.provider());
    let telemetry = telemetry.build().unwrap();
    telemetry.in_scope(|| {
        tracing::info_span!("work").in_scope(|| tracing::info!("at work"));
    });
    let _ = telemetry.shutdown(Duration::ZERO);
    exported.one("work");
    let exports = telemetry.exports().unwrap();
    assert_eq!((exports.traces.emitted, exports.logs.emitted), (0, 1));
    // `install` leaves the application's provider in its place.
    assert!(telemetry.tracer_provider().is_none());
}

#[tokio::test]
async fn the_span_of_a_request_ends_with_it_though_a_task_holds_it() {
    let exported = Exported::default();
    let telemetry = builder().tracer_provider(&exported.provider());
    let telemetry = telemetry.build().unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry.layer_with_spans());
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let held = Arc::new(Mutex::new(None));
    let holder = Arc::clone(&held);
    request(move || *holder.lock().unwrap() = Some(Span::current())).await;
    let server = exported.one("GET /users/{id}");
    is_of_the_request(&server);
    // What a task does later is below it, and does not change it.
    let span = held.lock().unwrap().take().unwrap();
    span.in_scope(|| tracing::info_span!("later").in_scope(|| ()));
    drop(span);
    let later = exported.one("later");
    assert_eq!(later.parent_span_id, server.span_context.span_id());
    exported.one("GET /users/{id}");
}

#[test]
fn names_and_states_that_come_late_are_those_of_spans() {
    let exported = Exported::default();
    let telemetry = builder().tracer_provider(&exported.provider());
    let telemetry = telemetry.build().unwrap();
    telemetry.in_scope(|| {
        let span = tracing::info_span!(
            "early",
            otel.name = Empty,
            otel.status_code = Empty,
            signed = 7,
            unsigned = 7_u64,
            late = Empty,
        );
        // Its OpenTelemetry span begins with the first entry.
        span.in_scope(|| {
            Span::current().record("otel.name", "late");
            Span::current().record("otel.status_code", "ERROR");
            Span::current().record("late", 8);
        });
    });
    let span = exported.one("late");
    assert_eq!(span.status, Status::error(""));
    // Each key is there once. Of unsigned integers the layer of tracing-opentelemetry makes texts.
    assert_eq!(attribute(&span, "signed"), Some(&7.into()));
    assert_eq!(attribute(&span, "late"), Some(&8.into()));
    assert_eq!(attribute(&span, "unsigned"), Some(&"7".into()));
}

#[test]
fn a_span_can_be_named_before_it_gets_its_parent() {
    let exported = Exported::default();
    let telemetry = builder().tracer_provider(&exported.provider());
    let telemetry = telemetry.build().unwrap();
    let parent = SpanContext::new(
        TraceId::from_hex(TRACE_ID).unwrap(),
        SpanId::from_hex(PARENT_ID).unwrap(),
        TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    telemetry.in_scope(|| {
        let span = tracing::info_span!("early", otel.name = Empty);
        span.record("otel.name", "named");
        let parent = Context::new().with_remote_span_context(parent);
        span.set_parent(parent).unwrap();
    });
    let span = exported.one("named");
    assert_eq!(span.span_context.trace_id().to_string(), TRACE_ID);
    assert_eq!(span.parent_span_id.to_string(), PARENT_ID);
}

#[tokio::test]
async fn what_is_noted_and_what_the_api_sets_is_of_the_request() {
    let exported = Exported::default();
    let telemetry = builder().tracer_provider(&exported.provider());
    let telemetry = telemetry.build().unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry.layer_with_spans());
    let _subscriber = tracing::subscriber::set_default(subscriber);
    request(|| {
        assert!(note("noted", 7_u64));
        Span::current().set_attribute("set", "by the extension");
        let context = Context::current();
        context.span().set_attribute(KeyValue::new("current", true));
    })
    .await;
    let server = exported.one("GET /users/{id}");
    assert_eq!(attribute(&server, "noted"), Some(&7.into()));
    assert_eq!(attribute(&server, "set"), Some(&"by the extension".into()));
    assert_eq!(attribute(&server, "current"), Some(&true.into()));
}

#[test]
fn spans_after_the_shutdown_have_ids_and_are_counted() {
    let nowhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nowhere = format!("http://{}", nowhere.local_addr().unwrap());
    let telemetry = builder().otlp(Otlp::new(nowhere)).build().unwrap();
    let provider = telemetry.tracer_provider().unwrap().clone();
    let _ = telemetry.shutdown(Duration::ZERO);
    let mut span = provider.tracer("own").start("late");
    assert!(span.span_context().is_valid());
    span.end();
    let traces = telemetry.exports().unwrap().traces;
    assert_eq!((traces.emitted, traces.dropped), (1, 1));
    // A provider outlives the telemetry, too.
    drop(telemetry);
    provider.tracer("own").start("later").end();
    provider.shutdown().unwrap();
}
