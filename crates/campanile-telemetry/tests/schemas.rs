//! In the schemas that Elasticsearch reads, no line of the log makes it reject another.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::io;
use std::time::Duration;

use campanile_http::ObserveLayer;
use campanile_telemetry::{
    FlightRecorder, HttpClientSpans, HttpSpans, LogSchema, Telemetry, Writer, client_span,
};
use http::{Request, Response};
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};
use tracing_subscriber::layer::SubscriberExt;

use self::mapper::Mapper;
use self::memory::Memory;

mod mapper;
mod memory;

/// Returns what is logged with some names.
fn logged(names: LogSchema, function: impl FnOnce()) -> String {
    let memory = Memory::default();
    let builder = Telemetry::builder("test").version("1").instance("a-1");
    let telemetry = builder
        .environment("test")
        .schema(names)
        .flight_recorder(FlightRecorder::new())
        .writer(Writer::new(memory.clone()))
        .build()
        .unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(telemetry.filter())
        .with(telemetry.layer());
    tracing::subscriber::with_default(subscriber, function);
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    memory.take()
}

macro_rules! log_each {
    ($($key:literal)*) => {
        $( tracing::info!({ $key = 1 }, "one"); )*
        tracing::info!({ $( $key = 2, )* }, "all");
        tracing::info_span!("span", $( $key = "3", )*).in_scope(|| tracing::info!("span"));
        $( tracing::info_span!("span", $key = "4").in_scope(|| tracing::info!(error = true, "error")); )*
    };
}

/// Keys that contradict each other, and the schemas.
fn hostile() {
    log_each!("a" "a.b" "a.b.c" "a_b" "a_b_c" "a_" "a." ".a" "." ".." "" " " "a. .b" "_id" "_source");
    log_each!("error" "error.message" "error.message.text" "error.type" "error.type.name" "error_" "error.");
    log_each!("service" "service.name" "service.name.first" "service_" "service.name_" "service.node" "service.instance");
    log_each!("log" "log.level" "log.level.x" "log.origin" "log.origin.file" "log.origin.file.line.column" "log.logger");
    log_each!("labels" "labels.correlation_id" "labels.correlation_id.x" "labels.module" "labels.a.b" "labels.a");
    log_each!("trace" "trace.id" "trace.id.x" "trace_id" "trace_id.x" "span" "span.id" "ecs" "ecs.version" "ecs.version.x");
    log_each!("message.x" "body" "body.x" "@timestamp" "@timestamp.x" "timestamp.x" "severity_text.x" "target.x" "module.x");
    log_each!("function.x" "code" "code.line" "code.line.number" "code.line.number.x" "code.function" "code.function.name");
    log_each!("http" "http.request" "http.request.method" "http.request.method.x" "http.request.header" "http.request.header.a");
    log_each!("url" "url.path" "url.path.x" "user" "user.id" "user.id.x" "deployment.environment" "deployment.environment.name");
    log_each!("recorded" "recorded.x" "suppressed" "suppressed.x" "recorded_events_gone" "order" "order.id" "order_id");
}

#[test]
fn no_key_of_any_line_is_an_object_elsewhere() {
    for names in [LogSchema::Ecs, LogSchema::OpenTelemetry] {
        let text = logged(names, || {
            hostile();
            requests();
        });
        let mut mapper = Mapper::default();
        for line in text.lines() {
            mapper.add(line).unwrap();
        }
        assert!(text.lines().count() > 150);
    }
}

/// Lines of requests, in spans of servers, clients and calls, one of them from the flight recorder.
fn requests() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        for status in [200, 500] {
            let service = service_fn(async |request: Request<u16>| {
                let status = *request.body();
                tracing::debug!(error = "recorded", "step");
                let client = service_fn(async |_: Request<String>| {
                    client_span("postgresql", "SELECT", "orders")
                        .in_scope(|| tracing::warn!(error = %io::Error::other("x"), "call"));
                    Ok::<_, io::Error>(Response::builder().status(404).body(String::new()).unwrap())
                });
                let client = ObserveLayer::client(HttpClientSpans::new()).layer(client);
                let request = Request::get("http://stock/items/7").body(String::new());
                client.oneshot(request.unwrap()).await?;
                Ok::<_, io::Error>(
                    Response::builder()
                        .status(status)
                        .body(String::new())
                        .unwrap(),
                )
            });
            let service = ObserveLayer::new(HttpSpans::new()).layer(service);
            drop(service.oneshot(Request::new(status)).await.unwrap());
        }
    });
}

#[test]
fn a_service_has_one_name_and_an_error_its_message() {
    for names in [LogSchema::Ecs, LogSchema::OpenTelemetry] {
        let text = logged(names, || {
            tracing::error!(
                error = "boom",
                service = "mine",
                order.id = 7,
                user.id = 8,
                "failed"
            );
        });
        let line: Value = serde_json::from_str(text.trim_end()).unwrap();
        for (key, value) in [
            ("error.message", Value::from("boom")),
            ("service.name", "test".into()),
            ("service_", "mine".into()),
            ("order_id", 7.into()),
            ("user.id", 8.into()),
            ("error", Value::Null),
            ("service", Value::Null),
        ] {
            assert_eq!(line[key], value, "{key}: {line}");
        }
    }
}

#[tokio::test]
async fn lines_of_the_library_have_no_place_in_its_code() {
    let memory = Memory::default();
    let telemetry = Telemetry::builder("test").writer(Writer::new(memory.clone()));
    let telemetry = telemetry.build().unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(telemetry.filter())
        .with(telemetry.layer());
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let service = service_fn(async |_: Request<String>| {
        tracing::info!("of the application");
        Ok::<_, io::Error>(Response::new(String::new()))
    });
    let service = ObserveLayer::new(HttpSpans::new()).layer(service);
    drop(service.oneshot(Request::new(String::new())).await.unwrap());
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // The last one says that there was no route.
    assert_eq!(lines.len(), 3, "{text}");
    for key in ["module", "function", "line"] {
        assert_ne!(lines[0][key], Value::Null, "{key}");
        assert_eq!(lines[1][key], Value::Null, "{key}");
        assert_eq!(lines[2][key], Value::Null, "{key}");
    }
    assert_eq!(lines[1]["target"], "campanile_telemetry::http");
}
