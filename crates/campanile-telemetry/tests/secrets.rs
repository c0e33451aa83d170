//! Secrets inside of messages and values.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::io;
use std::time::Duration;

use campanile_telemetry::{Telemetry, TelemetryBuilder, Writer};
use serde_json::Value;

use self::memory::Memory;

mod memory;

/// Returns the lines that a function logs.
fn lines(builder: TelemetryBuilder, function: impl FnOnce()) -> Vec<Value> {
    let memory = Memory::default();
    let telemetry = builder.writer(Writer::new(memory.clone())).build().unwrap();
    telemetry.in_scope(function);
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[derive(Debug)]
#[expect(dead_code, reason = "the fields are read by `Debug`")]
struct Config {
    url: &'static str,
    password: Option<&'static str>,
}

fn log_secrets() {
    let config = Config {
        url: "redis://:hunter2@cache",
        password: Some("hunter2"),
    };
    let error = io::Error::other("GET http://a/?token=hunter2 failed");
    let _span = tracing::info_span!("call", header = "Bearer hunter2").entered();
    tracing::info!(
        ?config,
        dsn_of = "postgres://app:hunter2@db/orders",
        error = &error as &(dyn std::error::Error + 'static),
        "connecting with password={}",
        "hunter2"
    );
}

#[test]
fn secrets_inside_of_messages_and_fields_are_redacted() {
    let lines = lines(Telemetry::builder("test"), log_secrets);
    let line = &lines[0];
    assert!(!line.to_string().contains("hunter2"), "{line}");
    assert_eq!(line["message"], "connecting with password=[redacted]");
    assert_eq!(line["header"], "Bearer [redacted]");
    assert_eq!(line["error"], "GET http://a/?token=[redacted] failed");
}

#[test]
fn the_default_patterns_can_be_disabled() {
    let lines = lines(Telemetry::builder("test").redact_values(false), log_secrets);
    assert_eq!(lines[0]["header"], "Bearer hunter2");
}

#[test]
fn the_application_replaces_what_it_knows_to_be_secret() {
    let builder = Telemetry::builder("test")
        .scrub(|key, text| (key == "card").then(|| format!("…{}", &text[text.len() - 4..])))
        .scrub(|_, text| {
            assert!(!text.contains("panic"), "a scrubber that panics");
            text.contains("sk_live_")
                .then(|| text.replace("sk_live_1", "[key]"))
        });
    let lines = lines(builder, || {
        tracing::info!(card = "4111111111111111", text = %"a panic", "with \"sk_live_1\" and token=x");
        let long = "é".repeat(20_000);
        tracing::info!(long, "cut");
    });
    assert_eq!(lines[0]["message"], "with \"[key]\" and token=[redacted]");
    assert_eq!(lines[0]["card"], "…1111");
    assert_eq!(lines[0]["text"], "[redacted]");
    let long = lines[1]["long"].as_str().unwrap();
    assert!(long.ends_with("é…") && long.len() == (16 << 10) + "…".len());
}
