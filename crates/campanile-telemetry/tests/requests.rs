//! The span and the access line of a request, under campanile-correlation's layer.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::io::{self};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use campanile_correlation::{Correlation, CorrelationId, CorrelationIdLayer, TraceParent};
use campanile_http::{ObserveLayer, Route, TraceRef};
use campanile_telemetry::{
    FlightRecorder, HttpClientSpans, HttpSpans, RequestLines, Telemetry, Writer, note,
};
use http::{Request, Response, StatusCode};
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};
use tracing::Instrument;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt;

use self::memory::Memory;

mod memory;

/// What is logged while a request is answered, and what its handler saw.
async fn logged(
    headers: &[(&str, &str)],
    status: StatusCode,
) -> (Vec<Value>, Correlation, Option<TraceRef>) {
    logged_with("info", headers, status).await
}

async fn logged_with(
    filter: &str,
    headers: &[(&str, &str)],
    status: StatusCode,
) -> (Vec<Value>, Correlation, Option<TraceRef>) {
    let memory = Memory::default();
    let telemetry = Telemetry::builder("test").filter(filter);
    let telemetry = telemetry
        .writer(Writer::new(memory.clone()))
        .build()
        .unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(telemetry.filter())
        .with(telemetry.layer());
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let seen = Arc::new(Mutex::new(None));
    let service = {
        let seen = Arc::clone(&seen);
        service_fn(move |request: Request<String>| {
            let seen = Arc::clone(&seen);
            async move {
                tracing::info!("at work");
                let trace = request.extensions().get::<TraceRef>().copied();
                *seen.lock().unwrap() = Some((Correlation::current(), trace));
                // A task of its own that has the span but not what is current.
                let elsewhere = async { tracing::info!("elsewhere") };
                tokio::spawn(elsewhere.in_current_span()).await.unwrap();
                let response = Response::builder().status(status).body("answer".to_owned());
                Ok::<_, io::Error>(response.unwrap())
            }
        })
    };
    let observe = ObserveLayer::builder(HttpSpans::new());
    let observe = observe.route(|_| Some(Route::from("/users/{id}"))).build();
    let service = CorrelationIdLayer::new().layer(observe.layer(service));
    let mut request = Request::get("/users/7?secret=1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = service.oneshot(request.body(String::new()).unwrap()).await;
    // The exchange ends with the body.
    let body = response.unwrap().into_body();
    drop(http_body_util::BodyExt::collect(body).await);
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    assert!(!text.contains("secret"), "{text}");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let (correlation, trace) = seen.lock().unwrap().take().unwrap();
    (lines.collect(), correlation, trace)
}

#[tokio::test]
async fn all_lines_of_a_request_have_its_ids() {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let headers = [("traceparent", &*parent), ("x-correlation-id", "abc")];
    let (lines, correlation, reference) = logged(&headers, StatusCode::OK).await;
    assert_eq!(lines.len(), 3, "{lines:?}");
    let place = correlation.trace().unwrap().parent;
    assert_eq!(format!("{:032x}", place.trace_id()), trace);
    assert_ne!(format!("{:016x}", place.parent_id()), "b7ad6b7169203331");
    assert_eq!(reference.unwrap().to_string(), trace);
    assert_eq!(reference.unwrap().span_id(), Some(place.parent_id()));
    for line in &lines {
        assert_eq!(line["correlation_id"], "abc", "{line}");
        assert_eq!(line["trace_id"], trace, "{line}");
        assert_eq!(
            line["span_id"],
            format!("{:016x}", place.parent_id()),
            "{line}"
        );
        assert_eq!(line["http.request.method"], "GET");
        assert_eq!(line["url.path"], "/users/7");
    }
    let last = &lines[2];
    assert_eq!(last["message"], "request ended");
    assert_eq!(
        (&last["level"], &last["outcome"]),
        (&"INFO".into(), &"completed".into())
    );
    assert_eq!(last["http.route"], "/users/{id}");
    assert_eq!(last["http.response.status_code"], 200);
    assert_eq!(last["http.response.body.size"], 6);
    assert_eq!(last["error.type"], Value::Null);
    assert!(last["duration_seconds"].as_f64().unwrap() < 60.0);
}

#[tokio::test]
async fn a_request_without_a_trace_begins_one() {
    let (lines, correlation, reference) = logged(&[], StatusCode::NOT_FOUND).await;
    let place = correlation.trace().unwrap().parent;
    assert!(place.is_undecided() && !place.is_sampled());
    let id = correlation.id().unwrap();
    assert_eq!(
        place.trace_id(),
        TraceParent::from_correlation_id(id).trace_id()
    );
    let mut headers = http::HeaderMap::new();
    correlation
        .clone()
        .enter(|| campanile_correlation::inject(&mut headers));
    assert!(!headers.contains_key("traceparent"), "{headers:?}");
    assert_eq!(reference, None);
    assert_eq!(lines[2]["trace_id"], format!("{:032x}", place.trace_id()));
    assert_eq!(lines[2]["level"], "INFO");
    assert_eq!(
        lines[2]["correlation_id"],
        correlation.id().unwrap().as_str()
    );
}

#[tokio::test]
async fn a_failure_is_an_error() {
    let (lines, ..) = logged(&[], StatusCode::BAD_GATEWAY).await;
    assert_eq!(
        (&lines[2]["level"], &lines[2]["error.type"]),
        (&"ERROR".into(), &"502".into())
    );
}

/// If spans of requests are disabled, the line of a failed request describes it all the same.
#[tokio::test]
async fn a_failure_says_what_it_was_without_a_span() {
    let (lines, correlation, _) = logged_with("warn", &[], StatusCode::BAD_GATEWAY).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    for (key, value) in [
        ("level", Value::from("ERROR")),
        ("http.request.method", "GET".into()),
        ("url.path", "/users/7".into()),
        ("http.route", "/users/{id}".into()),
        ("http.response.status_code", 502.into()),
        ("error.type", "502".into()),
        ("correlation_id", correlation.id().unwrap().as_str().into()),
    ] {
        assert_eq!(lines[0][key], value, "{key}");
    }
    let place = correlation.trace().unwrap().parent;
    assert_eq!(lines[0]["trace_id"], format!("{:032x}", place.trace_id()));
}

/// A worker's span lives as long as the process; the messages that it handles have ids of their own.
#[test]
fn lines_of_a_message_have_its_id_below_a_workers_span_too() {
    let memory = Memory::default();
    let telemetry = Telemetry::builder("test").writer(Writer::new(memory.clone()));
    #[cfg(feature = "otlp")]
    let telemetry = telemetry.otlp(
        campanile_telemetry::Otlp::new("http://127.0.0.1:9")
            .logs(false)
            .retry_for(Duration::ZERO),
    );
    let telemetry = telemetry.build().unwrap();
    telemetry.in_scope(|| {
        let _worker = tracing::info_span!("worker").entered();
        for id in ["msg-1", "msg-2"] {
            let message = Correlation::from(id.parse::<CorrelationId>().unwrap());
            message.enter(|| {
                tracing::info!(expected = id, "directly");
                tracing::info_span!("handle").in_scope(|| tracing::info!(expected = id, "within"));
            });
        }
    });
    let _ = telemetry.shutdown(Duration::from_secs(5));
    let text = memory.take();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<_> = lines.filter(|line| line["expected"].is_string()).collect();
    assert_eq!(lines.len(), 4);
    for line in lines {
        assert_eq!(line["correlation_id"], line["expected"], "{line}");
    }
}

/// What is set for a request holds in a task that has only its span.
#[tokio::test]
async fn a_request_is_followed_into_its_tasks() {
    let memory = Memory::default();
    let telemetry = Telemetry::builder("test").writer(Writer::new(memory.clone()));
    let telemetry = telemetry.build().unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry.layer());
    let subscriber = subscriber.with(telemetry.filter());
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let service = service_fn(async |_: Request<String>| {
        let task = async {
            tracing::debug!("in a task");
            tracing::trace!("not this");
        };
        tokio::spawn(task.in_current_span()).await.unwrap();
        Ok::<_, io::Error>(Response::new(String::new()))
    });
    let service = ObserveLayer::new(HttpSpans::new()).layer(service);
    let service = CorrelationIdLayer::new().layer(service);
    let filter = telemetry.filter();
    let hour = Duration::from_secs(3_600);
    let override_for_request =
        |directives| filter.override_for_request("abc".parse().unwrap(), directives, hour);
    override_for_request("debug").unwrap();
    let error = override_for_request("[span]=debug")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("only supported by `override_for`"),
        "{error}"
    );
    for id in ["abc", "def"] {
        let request = Request::get("/").header("x-correlation-id", id);
        let request = request.body(String::new()).unwrap();
        drop(service.clone().oneshot(request).await.unwrap());
    }
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.contains("in a task"))
        .collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].contains(r#""correlation_id":"abc""#), "{text}");
    assert!(!text.contains("not this"));
}

/// Answers requests of `/200` and `/500`, and returns all lines.
async fn with_spans(spans: HttpSpans) -> Vec<Value> {
    let memory = Memory::default();
    let telemetry = Telemetry::builder("test").writer(Writer::new(memory.clone()));
    let telemetry = telemetry.build().unwrap();
    let subscriber = tracing_subscriber::registry();
    let subscriber = subscriber.with(telemetry.layer().with_filter(telemetry.filter()));
    let _subscriber = tracing::subscriber::set_default(subscriber);
    assert!(!note("nowhere", 1), "there is no request");
    let service = service_fn(async |request: Request<u16>| {
        assert!(note("user.id", 7_u64));
        let task = async {
            tracing::info_span!("deep").in_scope(|| note("cache", "miss"));
            note("api_key", "hunter2");
            note("big", u64::MAX);
            note("share", 0.5);
            note("user.id", 8_u64);
        };
        tokio::spawn(task.in_current_span()).await.unwrap();
        let response = Response::builder().status(*request.body());
        Ok::<_, io::Error>(response.body(String::new()).unwrap())
    });
    let observe = ObserveLayer::builder(spans).route(|_| Some(Route::from("/{status}")));
    let service = observe.build().layer(service);
    for status in [200, 500] {
        let request = Request::get(format!("/{status}")).header("user-agent", "test/1");
        let request = request.body(status).unwrap();
        drop(service.clone().oneshot(request).await.unwrap());
    }
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[tokio::test]
async fn an_application_adds_fields_to_a_requests_line() {
    let spans = HttpSpans::new()
        .field("agent", |head| {
            Some(head.headers().get("user-agent")?.to_str().ok()?.into())
        })
        .field("none", |_| None)
        .path(|_| "/hidden".into());
    let lines = with_spans(spans).await;
    assert_eq!(lines.len(), 2);
    for (key, value) in [
        ("agent", Value::from("test/1")),
        ("none", Value::Null),
        ("url.path", "/hidden".into()),
        ("user.id", 8.into()),
        ("cache", "miss".into()),
        ("api_key", "[redacted]".into()),
        ("big", "18446744073709551615".into()),
        ("share", 0.5.into()),
    ] {
        assert_eq!(lines[0][key], value, "{key}");
    }
}

#[tokio::test]
async fn the_line_of_a_request_can_be_switched_off() {
    for (which, expected) in [
        (RequestLines::All, 2),
        (RequestLines::Failures, 1),
        (RequestLines::Never, 0),
    ] {
        let lines = with_spans(HttpSpans::new().lines(which)).await;
        assert_eq!(lines.len(), expected, "{lines:?}");
        if which == RequestLines::Failures {
            assert_eq!(lines[0]["level"], "ERROR");
        }
    }
}

#[tokio::test]
async fn a_request_has_a_limited_number_of_fields() {
    let keys: Vec<&'static str> = (0..100).map(|n| &*format!("key_{n}").leak()).collect();
    let spans = keys.iter().fold(HttpSpans::new(), |spans, key| {
        spans.field(key, |_| Some(1_u64.into()))
    });
    let lines = with_spans(spans).await;
    let object = lines[0].as_object().unwrap();
    let fields = object.keys().filter(|key| key.starts_with("key_"));
    assert_eq!(fields.count(), 32);
}

/// a reverse proxy under the layers of a whole service.
#[tokio::test]
async fn a_proxy_passes_on_its_own_span_as_parent() {
    let memory = Memory::default();
    let telemetry = Telemetry::builder("test")
        .writer(Writer::new(memory.clone()))
        .build()
        .unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(telemetry.filter())
        .with(telemetry.layer());
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let upstream = service_fn(async |request: Request<String>| {
        let sent = request
            .headers()
            .get("traceparent")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        Ok::<_, io::Error>(Response::new(sent))
    });
    let own = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&own);
    let proxy = service_fn(move |request: Request<String>| {
        *seen.lock().unwrap() = Correlation::current().trace().unwrap().parent.to_string();
        campanile_correlation::PropagationLayer::new()
            .layer(upstream)
            .oneshot(request)
    });
    let observe = ObserveLayer::builder(HttpSpans::new()).build();
    let service = CorrelationIdLayer::new().layer(observe.layer(proxy));
    let request = Request::get("/").header(
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );
    let response = service
        .oneshot(request.body(String::new()).unwrap())
        .await
        .unwrap();
    let sent = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap()
        .to_bytes();
    let sent = String::from_utf8(sent.to_vec()).unwrap();
    assert!(!sent.contains("b7ad6b7169203331"), "{sent}");
}

/// Notes the correlation id of each request's span, as Sentry's or an application's own layer would.
#[derive(Clone, Default)]
struct OtherLayer(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for OtherLayer {
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        _: &tracing::span::Id,
        _: tracing_subscriber::layer::Context<'_, S>,
    ) {
        struct Visitor<'a>(&'a OtherLayer);
        impl tracing::field::Visit for Visitor<'_> {
            fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                if field.name() == "correlation_id" {
                    self.0.0.lock().unwrap().push(value.to_owned());
                }
            }
        }
        attributes.record(&mut Visitor(self));
    }
}

#[tokio::test]
async fn other_layers_see_the_correlation_id_and_lines_have_it_once() {
    let memory = Memory::default();
    let telemetry = Telemetry::builder("orders").writer(Writer::new(memory.clone()));
    let telemetry = telemetry.build().unwrap();
    let other = OtherLayer::default();
    let subscriber = tracing_subscriber::registry()
        .with(other.clone())
        .with(telemetry.layer());
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let service = service_fn(async |_: Request<String>| {
        tracing::info!("working");
        Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    });
    let service = ObserveLayer::new(HttpSpans::new()).layer(service);
    let service = CorrelationIdLayer::new().layer(service);
    let request = Request::get("/").header("x-correlation-id", "checkout-42");
    let request = request.body(String::new()).unwrap();
    service.oneshot(request).await.unwrap();
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    assert_eq!(*other.0.lock().unwrap(), ["checkout-42"]);
    let text = memory.take();
    for line in text.lines() {
        assert_eq!(line.matches("correlation_id").count(), 1, "{line}");
        assert!(line.contains(r#""correlation_id":"checkout-42""#), "{line}");
    }
    assert!(text.lines().count() >= 2, "{text}");
}

/// A line describes the call that it is in, or the request around it, but no mixture.
#[tokio::test]
async fn a_line_in_a_call_to_others_describes_that_call_alone() {
    let memory = Memory::default();
    let telemetry = Telemetry::builder("test")
        .flight_recorder(FlightRecorder::new())
        .writer(Writer::new(memory.clone()))
        .build()
        .unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(telemetry.filter())
        .with(telemetry.layer());
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let client = ObserveLayer::client(HttpClientSpans::new());
    let client = client.layer(service_fn(async |_: Request<()>| {
        tracing::info!("connected");
        tracing::debug!("connected (recorded)");
        let query = tracing::info_span!("query", otel.kind = "client", db.system.name = "x");
        query.in_scope(|| tracing::info!("queried"));
        Ok::<_, io::Error>(Response::new(String::new()))
    }));
    let service = service_fn(move |_: Request<String>| {
        note("user.id", 7_u64);
        let request = Request::post("http://stock/items").body(()).unwrap();
        let call = client.clone().oneshot(request);
        async {
            call.await?;
            tracing::info!("answered");
            Ok::<_, io::Error>(Response::builder().status(500).body(String::new()).unwrap())
        }
    });
    let observe = ObserveLayer::builder(HttpSpans::new());
    let observe = observe.route(|_| Some(Route::from("/users/{id}"))).build();
    let service = observe.layer(service);
    let request = Request::get("/users/7").body(String::new()).unwrap();
    drop(service.oneshot(request).await.unwrap());
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    let line = |message: &str| -> Value {
        let of_message = format!("\"message\":\"{message}\"");
        let line = text.lines().find(|line| line.contains(&of_message));
        serde_json::from_str(line.unwrap()).unwrap()
    };
    for message in ["connected", "connected (recorded)"] {
        let line = line(message);
        assert_eq!(line["http.request.method"], "POST", "{message}");
        assert_eq!(line["url.full"], "http://stock/items", "{message}");
        for key in ["http.route", "url.path"] {
            assert_eq!(line[key], Value::Null, "{message} {key}");
        }
        assert_eq!(line["user.id"], 7, "{message}");
    }
    let queried = line("queried");
    assert_eq!(queried["db.system.name"], "x");
    assert_eq!(queried["http.request.method"], "POST");
    assert_eq!(queried["http.route"], Value::Null);
    let answered = line("answered");
    assert_eq!(answered["http.request.method"], "GET");
    assert_eq!(answered["url.path"], "/users/7");
    assert_eq!(answered["url.full"], Value::Null);
}
