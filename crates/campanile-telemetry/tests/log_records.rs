//! Records of the `log` crate, for which there is one logger in a process.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::num::NonZeroU32;
use std::time::Duration;

use campanile_correlation::{Correlation, CorrelationId};
use campanile_telemetry::{
    Capture, FlightRecorder, LogSchema, Telemetry, TelemetryBuilder, Writer,
};
use serde_json::Value;
use tracing_log::{format_trace, log};

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

fn record(target: &str, line: u32) {
    let record = log::Record::builder()
        .target(target)
        .module_path(Some("rdkafka::client"))
        .file(Some("client.rs"))
        .line(Some(line))
        .level(log::Level::Info)
        .args(format_args!("broker down"))
        .build();
    format_trace(&record).unwrap();
}

#[test]
fn records_are_what_they_say() {
    for recorder in [false, true] {
        let builder = Telemetry::builder("test").filter("warn,rdkafka=info");
        let builder = match recorder {
            true => builder.flight_recorder(FlightRecorder::new()),
            false => builder,
        };
        let lines = lines(builder, || {
            record("rdkafka", 7);
            record("hyper", 8);
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        for (key, value) in [
            ("level", Value::from("INFO")),
            ("message", "broker down".into()),
            ("target", "rdkafka".into()),
            ("module", "rdkafka::client".into()),
            ("line", 7.into()),
            ("log.target", Value::Null),
            ("log.file", Value::Null),
        ] {
            assert_eq!(lines[0][key], value, "{key}");
        }
    }
    let ecs = Telemetry::builder("test").schema(LogSchema::Ecs);
    let ecs = lines(ecs, || record("rdkafka", 7));
    assert_eq!(ecs[0]["log.logger"], "rdkafka");
    assert_eq!(ecs[0]["log.origin.file.line"], 7);
}

#[test]
fn each_place_of_a_record_has_its_own_limit() {
    let builder = Telemetry::builder("test").rate_limit(NonZeroU32::new(1).unwrap());
    let lines = lines(builder, || {
        for line in 0..10 {
            record("rdkafka", line);
            record("redis", line);
        }
    });
    assert_eq!(lines.len(), 20);
}

#[test]
fn an_installed_telemetry_has_the_records_of_dependencies() {
    let memory = Memory::default();
    let builder = Telemetry::builder("test").filter("warn,rdkafka=debug");
    let builder = builder.capture(Capture::new().max_lines(10));
    let guard = builder
        .writer(Writer::new(memory.clone()))
        .install()
        .unwrap();
    let id: CorrelationId = "abc".parse().unwrap();
    Correlation::from(id).enter(|| {
        log::error!("disk is failing");
        log::info!("quiet");
        log::debug!(target: "rdkafka", "detail");
    });
    let targets = guard.telemetry().capture().unwrap().counts().by_target;
    assert_eq!((targets["log_records"], targets["rdkafka"]), (1, 1));
    assert!(guard.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0]["message"], "disk is failing");
    assert_eq!(lines[0]["level"], "ERROR");
    assert_eq!(lines[0]["target"], module_path!());
    assert_eq!(lines[0]["correlation_id"], "abc");
    assert_eq!(lines[1]["message"], "detail");
}
