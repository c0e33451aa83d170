//! What is different for the process's own subscriber, which is one to a process.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::fmt;
use std::time::Duration;

use campanile_telemetry::{InstallError, Telemetry, Writer};
use serde_json::Value;

use self::memory::Memory;

mod memory;

/// Logs while it is formatted.
struct Logs;

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::info!(inner = 1, "from within");
        f.write_str("formatted")
    }
}

#[test]
fn values_that_log_threads_and_the_end() {
    let memory = Memory::default();
    let builder = || Telemetry::builder("test").writer(Writer::new(memory.clone()));
    // A value directive formats what it is compared with.
    let filter = "info,[span{field=formatted}]=trace";
    let guard = builder().filter(filter).install().unwrap();
    assert!(matches!(builder().install(), Err(InstallError::Taken)));

    let span = tracing::info_span!("span", field = ?Logs, late = tracing::field::Empty);
    span.in_scope(|| {
        span.record("late", tracing::field::debug(&Logs));
        tracing::info!(value = ?Logs, "outer");
    });
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || (0..100).for_each(|number| tracing::info!(thread, number, "many")));
        }
        // Meanwhile the filter changes.
        scope.spawn(|| {
            for _ in 0..20 {
                let filter = guard.telemetry().filter();
                filter.override_for("trace", Duration::ZERO).unwrap();
            }
        });
    });
    let telemetry = guard.telemetry().clone();
    assert!(guard.shutdown(Duration::from_secs(10)).is_empty());
    // What comes after the end is dropped and counted.
    tracing::info!("too late");
    assert!(telemetry.stats().dropped >= 1);

    let text = memory.take();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let with = |message: &'static str| lines.iter().filter(move |line| line["message"] == message);
    assert_eq!(with("many").count(), 400);
    assert_eq!(with("too late").count(), 0);
    assert!(with("from within").count() >= 3, "{text}");
    let outer = with("outer").next().unwrap();
    assert_eq!(
        (&outer["value"], &outer["late"]),
        (&"formatted".into(), &"formatted".into())
    );
    assert_eq!(outer["inner"], Value::Null);
}
