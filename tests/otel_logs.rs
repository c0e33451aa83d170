//! OpenTelemetry's own log, which feature `internal-logs` of `opentelemetry` turns on.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::io::sink;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use campanile::correlation::CorrelationIdLayer;
use campanile::http::ObserveLayer;
use campanile::telemetry::otel::opentelemetry::Context;
use campanile::telemetry::otel::opentelemetry::trace::TraceContextExt;
use campanile::telemetry::{FlightRecorder, HttpSpans, Otlp, Telemetry, Writer};
use http::{Request, Response};
use opentelemetry::global;
use opentelemetry::trace::{Tracer, TracerProvider};
use tower::{Layer, ServiceExt, service_fn};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer as SubscriberLayer;
use tracing_subscriber::layer::{self, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// A layer that logs, and makes a span, for each event.
struct Chatty;

impl<S: Subscriber + for<'a> LookupSpan<'a>> SubscriberLayer<S> for Chatty {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        if event.metadata().target() == "chatty" {
            return;
        }
        tracing::debug!(target: "chatty", "seen");
        tracing::debug_span!(target: "chatty", "looking").in_scope(|| ());
        tracing::debug!(target: "chatty", trace_id = ?Context::current().span().span_context().trace_id());
    }
}

/// OpenTelemetry logs while it holds locks.
#[test]
fn what_opentelemetry_logs_itself_locks_nothing() {
    let (done, is_done) = channel();
    let work = thread::spawn(move || {
        for has_recorder in [false, true] {
            run(has_recorder);
        }
        done.send(()).unwrap();
    });
    if is_done.recv_timeout(Duration::from_secs(30)).is_err() {
        assert!(work.is_finished(), "still at it after 30 s");
    }
    work.join().unwrap();
}

fn run(has_recorder: bool) {
    // Nothing listens there.
    let mut builder = Telemetry::builder("test")
        .writer(Writer::new(sink()))
        .filter("trace")
        .otlp(Otlp::new("http://127.0.0.1:9").retry_for(Duration::ZERO));
    if has_recorder {
        builder = builder
            .filter("warn")
            .flight_recorder(FlightRecorder::new());
    }
    let telemetry = builder.build().unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(telemetry.layer_with_spans().with_filter(telemetry.filter()))
        .with(Chatty);
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(answer());
        let provider = telemetry.tracer_provider().unwrap().clone();
        let outer = tracing::info_span!("outer").entered();
        provider.tracer("x").in_span("of the API", |_| {
            tracing::info_span!("inner").in_scope(|| tracing::info!("within"));
        });
        // More contexts than the stack has room for, which OpenTelemetry logs.
        let contexts: Vec<_> = (0..70_000).map(|_| Context::current().attach()).collect();
        tracing::info!("deep");
        drop(contexts);
        drop(outer);
        // A second shutdown is an error that it logs.
        for _ in 0..2 {
            let _ = provider.shutdown();
        }
        global::tracer("nothing installed").in_span("nowhere", |_| ());
    });
    let _ = telemetry.shutdown(Duration::ZERO);
}

async fn answer() {
    let service = service_fn(async |_: Request<String>| {
        tracing::debug!("at work");
        Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    });
    let service = ObserveLayer::new(HttpSpans::new()).layer(service);
    let service = CorrelationIdLayer::new().layer(service);
    let request = Request::new(String::new());
    let response = service.oneshot(request).await.unwrap();
    drop(http_body_util::BodyExt::collect(response.into_body()).await);
}
