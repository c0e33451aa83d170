//! What a line of the log costs that is exported, until a collector on this machine has it.

use std::io;
use std::time::Duration;

use campanile_telemetry::{Otlp, Telemetry, Writer};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_sdk::logs::{BatchConfigBuilder, BatchLogProcessor, SdkLoggerProvider};
use prost::Message;
use rustix::time::ClockId;
use tracing_subscriber::layer::SubscriberExt;

use crate::figure::{Effort, Figure};
use crate::registry::rounds;
use crate::trace::{Plain, Sink, cpu};

const LINES: usize = 20_000;

/// CPU time of the whole process that the export of a line adds. Our lines are also written, theirs
/// are not, so the cost of writing is subtracted. No span: theirs would not have its fields.
pub(crate) fn against_appender(effort: Effort) -> Figure {
    let sink = Sink::start();
    let count = effort.of(LINES);
    let added = || ours(count, Some(&sink)) - ours(count, None);
    let (ours, peer) = rounds(effort, added, || theirs(&sink, count));
    let name = "opentelemetry-appender-tracing, SDK's batches";
    Figure::compare(("log.export", "ns"), &ours, (name, &peer), 1.0)
}

fn ours(count: usize, sink: Option<&Sink>) -> f64 {
    let mut builder = Telemetry::builder("scoreboard")
        .writer(Writer::new(io::sink()))
        .max_waiting_bytes(1 << 30);
    if let Some(sink) = sink {
        let otlp = Otlp::new(format!("http://{}", sink.address)).traces(false);
        builder = builder.otlp(otlp.max_waiting_bytes(1 << 30));
    }
    let telemetry = builder.build().expect("the settings are valid");
    let subscriber = tracing_subscriber::registry().with(telemetry.layer());
    let took = tracing::subscriber::with_default(subscriber, || {
        lines(count, || {
            assert!(telemetry.flush(Duration::from_secs(60)).is_empty());
        })
    });
    if let Some(sink) = sink {
        has(sink, count);
    }
    let _ = telemetry.shutdown(Duration::ZERO);
    took
}

fn theirs(sink: &Sink, count: usize) -> f64 {
    let exporter = LogExporter::builder()
        .with_http()
        .with_http_client(Plain::connect(sink.address))
        .with_endpoint(format!("http://{}/v1/logs", sink.address))
        .build()
        .expect("the exporter's settings are valid");
    let batches = BatchConfigBuilder::default().with_max_queue_size(count.max(2_048));
    let processor = BatchLogProcessor::builder(exporter)
        .with_batch_config(batches.build())
        .build();
    let provider = SdkLoggerProvider::builder()
        .with_log_processor(processor)
        .build();
    let bridge = OpenTelemetryTracingBridge::new(&provider);
    let subscriber = tracing_subscriber::registry().with(bridge);
    let took = tracing::subscriber::with_default(subscriber, || {
        lines(count, || {
            provider.force_flush().expect("the sink takes everything");
        })
    });
    has(sink, count);
    took
}

/// The nanoseconds of a line.
fn lines(count: usize, flush: impl FnOnce()) -> f64 {
    let begun = cpu(ClockId::ProcessCPUTime);
    for number in 0..count {
        tracing::info!(number, kind = "a", ratio = 0.5, ok = true, name = %"x", "an event");
    }
    flush();
    (cpu(ClockId::ProcessCPUTime) - begun) / count as f64
}

/// Asserts the number of lines that have come since the last call.
fn has(sink: &Sink, count: usize) {
    let bodies = sink.taken().into_iter();
    let records = bodies
        .map(|body| ExportLogsServiceRequest::decode(&body[..]).expect("it is an export of lines"))
        .flat_map(|export| export.resource_logs)
        .flat_map(|resource| resource.scope_logs)
        .map(|scope| scope.log_records.len());
    assert_eq!(records.sum::<usize>(), count, "each line is exported");
}
