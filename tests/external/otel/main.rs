//! Libraries that use OpenTelemetry's API, beside an installed telemetry. The tests share the
//! subscriber and the globals of this process.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use campanile::Campanile;
use campanile::correlation::Correlation;
use campanile::telemetry::{Otlp, Telemetry, TelemetryGuard, Writer};
use campanile_tests::{Client, eventually};
use http::{Method, StatusCode};
use opentelemetry::trace::TraceContextExt;
use serde_json::Value;
use tokio::net::TcpListener;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use self::sink::Sink;

// Clients of others.
mod clients;

// Variables that nothing asks for.
mod environment;

// Layers of others around ours, and ours around theirs.
mod servers;

#[path = "../sink.rs"]
mod sink;

const PARENT_ID: &str = "00f067aa0ba902b7";

/// The telemetry of this process, and the collector that it exports to.
struct Installed {
    guard: TelemetryGuard,
    sink: Sink,
}

fn installed() -> &'static Installed {
    static INSTALLED: OnceLock<Installed> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let sink = Sink::start(&[]);
        let guard = Telemetry::builder("interop")
            .writer(Writer::new(io::sink()))
            // The spans of tracing-opentelemetry-instrumentation-sdk are at TRACE.
            .filter("info,otel::tracing=trace")
            .otlp(Otlp::new(format!("http://127.0.0.1:{}", sink.http)))
            .install();
        Installed {
            guard: guard.unwrap(),
            sink,
        }
    })
}

impl Installed {
    /// Returns the spans of a trace, once there are that many.
    async fn trace(&self, id: &str, count: usize) -> Vec<Value> {
        let telemetry = self.guard.telemetry().clone();
        let flush = move || telemetry.flush(Duration::from_secs(30));
        let lost = tokio::task::spawn_blocking(flush).await.unwrap();
        assert_eq!((lost.spans, lost.records), (0, 0));
        let of_trace = || {
            let spans = self.sink.spans().into_iter();
            spans
                .filter(|span| span["trace_id"] == id)
                .collect::<Vec<_>>()
        };
        eventually(count, async || of_trace().len()).await;
        of_trace()
    }
}

/// Returns the trace that the task is in, as all name it.
#[track_caller]
fn current_trace() -> String {
    let trace = Correlation::current().trace().cloned().unwrap();
    let trace_id = format!("{:032x}", trace.parent.trace_id());
    for context in [opentelemetry::Context::current(), Span::current().context()] {
        let span = context.span();
        assert_eq!(span.span_context().trace_id().to_string(), trace_id);
        assert_eq!(span.span_context().is_sampled(), trace.parent.is_sampled());
    }
    trace_id
}

/// Wraps a router in our layer.
fn ours(router: Router) -> Router {
    let campanile = Campanile::builder("interop").build().unwrap();
    router.layer(campanile.layer())
}

/// Serves a router on a free port.
async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}

/// Gets a path, and returns the response.
async fn get(address: SocketAddr, path: &str, traceparent: Option<&str>) -> String {
    let mut client = Client::connect(address).await.unwrap();
    if let Some(traceparent) = traceparent {
        client = client.header("traceparent", traceparent);
    }
    let (status, body) = client.send(Method::GET, path, "").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}
