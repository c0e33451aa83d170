use std::io;
use std::process::Command;
use std::time::Duration;

use campanile::telemetry::{Otlp, Protocol, Telemetry, Writer};
use campanile_tests::{eventually, free_port};
use serde_json::Value;

use super::sink::{Sink, attribute};

/// The collector of the child process: its protocol and its address.
const CHILD: &str = "CAMPANILE_TEST_CHILD";

#[tokio::test]
async fn the_variables_of_opentelemetry_have_no_effect_unless_they_are_asked_for() {
    if let Ok(child) = std::env::var(CHILD) {
        let (protocol, address) = child.split_once(' ').unwrap();
        return export(protocol, address);
    }
    let sink = Sink::start(&[]);
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let name = std::thread::current().name().unwrap().to_owned();
    for (protocol, port) in [("http", sink.http), ("grpc", sink.grpc)] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", &name, "--nocapture"]);
        child.env(CHILD, format!("{protocol} http://127.0.0.1:{port}"));
        for signal in ["", "TRACES_", "LOGS_", "METRICS_"] {
            for (setting, value) in [
                ("ENDPOINT", &*nowhere),
                ("HEADERS", "x-of-environment=1"),
                ("COMPRESSION", "gzip"),
                ("TIMEOUT", "1"),
                ("PROTOCOL", "http/json"),
                ("INSECURE", "false"),
                ("CERTIFICATE", "/nonexistent"),
                ("CLIENT_CERTIFICATE", "/nonexistent"),
                ("CLIENT_KEY", "/nonexistent"),
            ] {
                child.env(format!("OTEL_EXPORTER_OTLP_{signal}{setting}"), value);
            }
        }
        child.envs([
            ("OTEL_SDK_DISABLED", "true"),
            ("OTEL_SERVICE_NAME", "of_environment"),
            ("OTEL_RESOURCE_ATTRIBUTES", "of_environment=1"),
            ("OTEL_TRACES_SAMPLER", "always_off"),
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none"),
            ("OTEL_PROPAGATORS", "none"),
            ("OTEL_ATTRIBUTE_COUNT_LIMIT", "1"),
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "1"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1"),
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "1"),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", "0"),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", "0"),
            ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "1"),
            ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "1"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "3600000"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1"),
        ]);
        let output = tokio::task::spawn_blocking(move || child.output()).await;
        let output = output.unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");

        let of = |all: Vec<Value>| -> Vec<Value> {
            let all = all.into_iter();
            all.filter(|one| one["service"] == protocol).collect()
        };
        let spans = || of(sink.spans());
        let records = || of(sink.all("logs", "log_records"));
        eventually((1, 1), async || (spans().len(), records().len())).await;
        for one in [&spans()[0], &records()[0]] {
            assert_eq!(attribute(one, "first"), "a value");
            assert_eq!(attribute(one, "second"), "another value");
        }
    }
    let requests = sink.requests.lock().unwrap();
    assert_eq!(requests.len(), 4, "{requests:?}");
    for request in &*requests {
        let headers = request["headers"].as_object().unwrap();
        assert!(!headers.contains_key("x-of-environment"), "{headers:?}");
        assert!(!headers.contains_key("content-encoding"), "{headers:?}");
        assert!(!request.to_string().contains("of_environment"), "{request}");
    }
}

fn export(protocol: &str, address: &str) {
    let otlp = Otlp::new(address).protocol(match protocol {
        "grpc" => Protocol::Grpc,
        _ => Protocol::HttpProtobuf,
    });
    let telemetry = Telemetry::builder(protocol).writer(Writer::new(io::sink()));
    let telemetry = telemetry.otlp(otlp).build().unwrap();
    telemetry.in_scope(|| {
        let span = tracing::info_span!("work", first = "a value", second = "another value");
        span.in_scope(|| tracing::info!("at work"));
    });
    assert!(telemetry.shutdown(Duration::from_secs(30)).is_empty());
}
