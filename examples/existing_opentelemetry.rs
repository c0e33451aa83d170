//! A service with its own OpenTelemetry pipeline, which also gets Campanile's spans.
//!
//! The span of a request, spans of `tracing`, and spans of libraries that use OpenTelemetry's API
//! are in one trace. The log lines have the trace's ids. Spans go to the standard error, the log
//! goes to the standard output.
//!
//! ```sh
//! cargo run --example existing_opentelemetry
//! ```

#![expect(clippy::print_stderr, reason = "it stands for an exporter")]

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::get;
use campanile::Campanile;
use http::Request;
use http_body_util::BodyExt;
use opentelemetry::global;
use opentelemetry::trace::Tracer;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tower::ServiceExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The service's own pipeline. A real one has the exporter of `opentelemetry-otlp` and a batch processor.
    let exporter = SdkTracerProvider::builder().with_simple_exporter(Print);
    let provider = exporter.build();
    global::set_tracer_provider(provider.clone());

    let own = provider.clone();
    let campanile = Campanile::builder("orders")
        .telemetry(move |log| log.tracer_provider(&own))
        .install()?;
    // `install` sets the subscriber and the propagator of `traceparent`. A service that needs another propagator sets it now.
    //
    // A service that has the layer of `tracing-opentelemetry` in its own subscriber hands over no provider:
    //
    //     let campanile = Campanile::builder("orders").telemetry(|log| log).build()?;
    //     let telemetry = campanile.telemetry().ok_or("it was asked for")?;
    //     tracing_subscriber::registry()
    //         .with(telemetry.layer().with_filter(telemetry.filter()))
    //         .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("orders")))
    //         .init();
    //     global::set_text_map_propagator(campanile::telemetry::otel::propagator());

    let app = Router::new().route(
        "/orders/{id}",
        get(async |Path(id): Path<u64>| {
            // As a library does it.
            global::tracer("database").in_span("SELECT orders", |_| {
                tracing::info!(id, "found");
            });
            "found"
        }),
    );
    // A request that another service sends.
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = Request::get("/orders/7").header("traceparent", traceparent);
    let response = campanile.wrap(app).oneshot(request.body(Body::empty())?);
    // The span ends with the last byte of the response.
    response.await?.into_body().collect().await?;
    provider.shutdown()?;
    Ok(())
}

/// Prints spans.
#[derive(Debug)]
struct Print;

impl SpanExporter for Print {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        for span in spans {
            let context = &span.span_context;
            let (trace, id) = (context.trace_id(), context.span_id());
            eprintln!("{trace} {id} below {}: {}", span.parent_span_id, span.name);
        }
        Ok(())
    }
}
