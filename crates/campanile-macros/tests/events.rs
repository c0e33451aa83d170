//! What `#[observe]` says to the log: the span, an event for each call, one more for each failure.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::future::{Future, pending};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use campanile_metrics::metrics::with_local_recorder;
use campanile_metrics::{Labels, Registry, observe};
use tracing_subscriber::fmt::MakeWriter;

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Returns what a function logs, without times and durations.
fn logged(level: tracing::Level, function: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_max_level(level)
        .with_ansi(false)
        .without_time()
        .finish();
    tracing::subscriber::with_default(subscriber, function);
    let bytes = log.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    let without_duration = |line: &str| {
        let words = line.split(' ');
        let words = words.filter(|word| !word.is_empty() && !word.starts_with("duration_seconds="));
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(without_duration).collect()
}

#[derive(Clone, Copy, Labels)]
enum Channel {
    Web,
}

#[observe(labels(channel))]
async fn order(channel: Channel, fails: bool) -> Result<(), String> {
    tracing::info!("at work");
    if fails {
        return Err(format!("no {}\nERROR forged", "stock"));
    }
    let _ = channel;
    Ok(())
}

#[observe(name = "stuck", level = "debug")]
async fn stuck() {
    pending().await
}

#[observe]
fn broken() {
    panic!("on purpose");
}

fn now(future: impl Future) {
    let polled = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_ready());
}

#[test]
fn calls_are_spans_with_an_event_at_their_end() {
    let registry = Registry::new();
    let scoped = |function: &dyn Fn()| with_local_recorder(&registry, function);
    let here = module_path!();
    let lines = logged(tracing::Level::DEBUG, || {
        scoped(&|| {
            now(order(Channel::Web, false));
            now(order(Channel::Web, true));
            let polled = pin!(stuck()).poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!(polled, Poll::Pending);
            let panicked = catch_unwind(AssertUnwindSafe(broken));
            assert!(panicked.is_err());
        });
    });
    let span = format!("order{{channel=\"web\"}}: {here}:");
    assert_eq!(
        lines,
        [
            format!("INFO {span} at work"),
            format!("DEBUG {span} called code.function.name=\"order\" outcome=\"ok\""),
            format!("INFO {span} at work"),
            format!("DEBUG {span} called code.function.name=\"order\" outcome=\"error\""),
            format!(
                "ERROR {span} failed code.function.name=\"order\" outcome=\"error\" error.type=\"String\" error=\"no stock\\nERROR forged\""
            ),
            format!(
                "DEBUG stuck: {here}: called code.function.name=\"stuck\" outcome=\"cancelled\""
            ),
            format!(
                "DEBUG broken: {here}: called code.function.name=\"broken\" outcome=\"panicked\""
            ),
            format!(
                "ERROR broken: {here}: failed code.function.name=\"broken\" outcome=\"panicked\""
            ),
        ]
    );
    // Where only errors are wanted, there is neither a span nor an event for a call that is not
    // one.
    let lines = logged(tracing::Level::ERROR, || {
        scoped(&|| {
            now(order(Channel::Web, false));
            now(order(Channel::Web, true));
        });
    });
    let failed = "failed code.function.name=\"order\" outcome=\"error\" error.type=\"String\" error=\"no stock\\nERROR forged\"";
    assert_eq!(lines, [format!("ERROR {here}: {failed}")]);
}

#[test]
fn without_a_recorder_the_log_says_so_once() {
    let lines = logged(tracing::Level::WARN, || {
        now(order(Channel::Web, false));
        now(order(Channel::Web, false));
        std::thread::spawn(|| now(order(Channel::Web, false)))
            .join()
            .unwrap();
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("called without a metrics recorder"),
        "{lines:?}"
    );
}
