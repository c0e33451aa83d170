//! What applications do with spans that must cost no panic, no line and no fact of a request.

#![cfg(feature = "otlp")]
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use campanile_correlation::{Correlation, TraceContext, TraceParent, TraceState};
use campanile_http::{ObserveLayer, Route};
use campanile_telemetry::otel::opentelemetry::Context;
use campanile_telemetry::otel::opentelemetry::propagation::TextMapPropagator;
use campanile_telemetry::otel::opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use campanile_telemetry::otel::opentelemetry_sdk::trace::SdkTracerProvider;
use campanile_telemetry::otel::{propagator, tracing_opentelemetry};
use campanile_telemetry::{
    FlightRecorder, HttpSpans, Otlp, Sampler, Telemetry, TelemetryBuilder, Writer, note,
};
use http::{Request, Response};
use http_body_util::BodyExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tower::{Layer, ServiceExt, service_fn};
use tracing::Dispatch;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt;

use self::memory::Memory;

mod memory;

/// A collector of traces.
fn collector() -> (Otlp, Arc<Mutex<Vec<Span>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let spans = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&spans);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let all = Arc::clone(&all);
            thread::spawn(move || take(&connection, &all));
        }
    });
    let otlp = Otlp::new(format!("http://127.0.0.1:{port}"));
    (otlp.logs(false), spans)
}

fn take(connection: &TcpStream, spans: &Mutex<Vec<Span>>) -> Option<()> {
    let mut reader = BufReader::new(connection);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let request = ExportTraceServiceRequest::decode(&*body).unwrap();
        let scopes = request.resource_spans.into_iter();
        let scopes = scopes.flat_map(|of_resource| of_resource.scope_spans);
        let mut all = spans.lock().unwrap();
        all.extend(scopes.flat_map(|of_scope| of_scope.spans));
        drop(all);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        (&*connection).write_all(answer).ok()?;
    }
}

fn nowhere() -> Otlp {
    Otlp::new("http://127.0.0.1:9")
        .logs(false)
        .retry_for(Duration::ZERO)
}

fn builder(memory: &Memory) -> TelemetryBuilder {
    Telemetry::builder("test").writer(Writer::new(memory.clone()))
}

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a Value> {
    let pair = span.attributes.iter().find(|pair| pair.key == key)?;
    pair.value.as_ref()?.value.as_ref()
}

/// Sends a request through a service.
async fn answered<F>(status: u16, work: impl Fn() -> F + Clone)
where
    F: Future<Output = ()>,
{
    let service = service_fn(move |_: Request<String>| {
        let work = work.clone();
        async move {
            work().await;
            let response = Response::builder().status(status);
            Ok::<_, Infallible>(response.body("answer".to_owned()).unwrap())
        }
    });
    let observe = ObserveLayer::builder(HttpSpans::new());
    let observe = observe.route(|_| Some(Route::from("/users/{id}"))).build();
    let request = Request::get("/users/7").body(String::new()).unwrap();
    let response = observe.layer(service).oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
}

#[test]
fn an_own_layer_of_tracing_opentelemetry_stands_beside_ours() {
    let memory = Memory::default();
    let provider = SdkTracerProvider::builder().build();
    let telemetry = builder(&memory).otlp(nowhere()).build().unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(telemetry.layer().with_filter(telemetry.filter()))
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("own")));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info_span!("work").in_scope(|| tracing::info!("done"));
    });
    let _ = telemetry.shutdown(Duration::from_secs(10));
    assert!(memory.take().contains("done"));
}

#[test]
fn an_event_may_name_a_span_that_is_gone_or_of_another_subscriber() {
    let memory = Memory::default();
    let telemetry = builder(&memory).otlp(nowhere()).build().unwrap();
    let other = tracing_subscriber::registry();
    let foreign = tracing::subscriber::with_default(other, || {
        let all: Vec<_> = (0..9).map(|_| tracing::info_span!("other")).collect();
        all.into_iter().next_back()
    });
    telemetry.in_scope(|| {
        let gone = tracing::info_span!("gone").id();
        tracing::info!(parent: gone, "of one that is gone");
        tracing::info!(parent: &foreign.unwrap(), "of another subscriber");
    });
    let _ = telemetry.shutdown(Duration::from_secs(10));
    let text = memory.take();
    assert!(text.contains("of one that is gone") && text.contains("of another subscriber"));
}

#[tokio::test]
async fn what_is_noted_in_a_loop_leaves_the_facts_of_the_request() {
    let (otlp, spans) = collector();
    let telemetry = builder(&Memory::default()).otlp(otlp).build().unwrap();
    let dispatch = telemetry.in_scope(|| tracing::dispatcher::get_default(Dispatch::clone));
    let _subscriber = tracing::dispatcher::set_default(&dispatch);
    answered(503, || async {
        for number in 0..500_u64 {
            note("progress", number);
            tracing::Span::current().record("rpc.method", "again and again");
        }
    })
    .await;
    assert!(telemetry.shutdown(Duration::from_secs(30)).is_empty());
    let spans = spans.lock().unwrap();
    let span = spans.first().unwrap();
    assert_eq!(attribute(span, "progress"), Some(&Value::IntValue(499)));
    let status = attribute(span, "http.response.status_code");
    assert_eq!(status, Some(&Value::IntValue(503)));
    let route = attribute(span, "http.route");
    assert_eq!(route, Some(&Value::StringValue("/users/{id}".to_owned())));
    assert!(attribute(span, "error.type").is_some());
}

/// A request whose own parent is undecided receives a message that another service has sampled.
#[tokio::test]
async fn a_message_keeps_its_decision_within_a_request() {
    let off = Sampler::parent_based(Sampler::always_off());
    let telemetry = builder(&Memory::default()).otlp(nowhere()).sampler(off);
    let telemetry = telemetry.build().unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry.layer_with_spans());
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let undecided = TraceContext::new(TraceParent::generate(), TraceState::default());
    let correlation = Correlation::default().with_trace(undecided);
    let is_sampled = Arc::new(Mutex::new(false));
    let seen = Arc::clone(&is_sampled);
    let tracer = telemetry.tracer_provider().unwrap().tracer("messages");
    let request = answered(200, move || {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let headers = HashMap::from([("traceparent".to_owned(), trace.to_owned())]);
        let context = propagator().extract_with_context(&Context::current(), &headers);
        let span = tracer.start_with_context("message", &context);
        *seen.lock().unwrap() = span.span_context().is_sampled();
        async {}
    });
    campanile_correlation::scope(correlation, request).await;
    assert!(*is_sampled.lock().unwrap());
    let _ = telemetry.shutdown(Duration::ZERO);
}

/// A thread that has the OpenTelemetry context of a request, but not its span, makes a request of its own.
#[test]
fn a_request_within_another_does_not_discard_its_recording() {
    let memory = Memory::default();
    let telemetry = builder(&memory)
        .filter("info")
        .flight_recorder(FlightRecorder::new())
        .otlp(nowhere())
        .build()
        .unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(telemetry.layer_with_spans().with_filter(telemetry.filter()));
    let dispatch = Dispatch::new(subscriber);
    let block_on = |future: std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future);
    };
    let _subscriber = tracing::dispatcher::set_default(&dispatch);
    block_on(Box::pin(answered(503, move || {
        tracing::debug!("recorded of the outer");
        let (context, dispatch) = (Context::current(), dispatch.clone());
        let inner = thread::spawn(move || {
            let _subscriber = tracing::dispatcher::set_default(&dispatch);
            let _context = context.attach();
            block_on(Box::pin(answered(200, || async {})));
        });
        inner.join().unwrap();
        async {}
    })));
    let _ = telemetry.shutdown(Duration::from_secs(10));
    let text = memory.take();
    assert!(text.contains("recorded of the outer"), "{text}");
}
