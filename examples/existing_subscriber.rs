//! A service that has its own tracing subscriber, to which Campanile's layer is added.
//!
//! The log filter applies to Campanile's layer alone. Other layers, such as `fmt`, tokio-console or
//! Sentry, have their own filters, and get no event that only the flight recorder wants. For your
//! own OpenTelemetry pipeline, see `existing_opentelemetry`.
//!
//! ```sh
//! cargo run --example existing_subscriber
//! ```
//!
//! | variable | default | what it is |
//! |---|---|---|
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | none | the collector; without it nothing is exported |

use std::time::Duration;

use campanile::Campanile;
use campanile::telemetry::FlightRecorder;
use campanile::telemetry::otel::propagator;
use opentelemetry::global;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // This changes no global state. The layer writes JSON to the standard output; where traces are exported, the layer of
    // `tracing-opentelemetry` is in it.
    let (campanile, layer) = Campanile::builder("orders")
        .telemetry(|log| log.flight_recorder(FlightRecorder::new()))
        .from_env()
        .build_with_layer()?;
    // The service's own layer, for people, on the standard error.
    let own = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(own.with_filter(LevelFilter::INFO))
        .with(layer)
        .init();
    // Without it the `metrics` macros and `#[observe]` record only while a request is being handled.
    campanile.metrics().install()?;
    let telemetry = campanile.telemetry().ok_or("the layer is part of it")?;
    // Without these, the spans of libraries that use OpenTelemetry's API go nowhere, and they send no `traceparent`.
    if let Some(provider) = telemetry.tracer_provider() {
        global::set_tracer_provider(provider.clone());
    }
    global::set_text_map_propagator(propagator());

    tracing::info!(items = 3, "accepted");
    let _ = telemetry.shutdown(Duration::from_secs(5));
    Ok(())
}
