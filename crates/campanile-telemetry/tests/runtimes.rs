//! A service's telemetry on each kind of runtime and without one, in processes of their own, each of which has to end by itself.

#![cfg(feature = "otlp")]
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]
#![expect(clippy::print_stdout, reason = "the child tells its parent")]

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use campanile_http::ObserveLayer;
use campanile_telemetry::{HttpSpans, Otlp, Telemetry, TelemetryGuard};
use http::{Request, Response};
use tokio::runtime::Builder;
use tower::{Layer, ServiceExt, service_fn};

/// What the child is to do: a runtime and an action.
const CASE: &str = "CAMPANILE_TEST_CASE";
const COLLECTOR: &str = "CAMPANILE_TEST_COLLECTOR";

const RUNTIMES: [&str; 4] = ["none", "current thread", "one worker", "two workers"];

const ACTIONS: [&str; 9] = [
    "init",
    "emit",
    "flush",
    "shutdown",
    "drop",
    "drop after the runtime",
    "panic in a handler",
    "shutdown in a drop",
    "log after shutdown",
];

const EVENTS: u64 = 1_000;

/// How long a shutdown may wait.
const WAIT: Duration = Duration::from_secs(2);

/// What a child has for all of it. A drop alone may take 5 s.
const WATCHDOG: Duration = Duration::from_secs(15);

#[test]
fn all_end_where_the_collector_takes_what_it_gets() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let counted = Arc::clone(&counted);
            thread::spawn(move || take(&connection, &counted));
        }
    });
    run_all(port, |action, output| {
        // Who ends without the guard may lose the last lines, and so all of them if they are the first too.
        if !matches!(action, "init" | "emit") {
            assert!(output.contains("lost nothing"), "{action}");
            assert!(output.contains(r#""message":"emitted""#), "{action}");
        }
        if action == "panic in a handler" {
            assert!(output.contains(r#""outcome":"panicked""#), "{action}");
        }
    });
    assert!(requests.load(Ordering::Relaxed) > 2 * RUNTIMES.len());
}

#[test]
fn all_end_where_the_collector_never_answers() {
    // Connections are made, but nobody takes them.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    run_all(listener.local_addr().unwrap().port(), |action, output| {
        // The log is written all the same.
        if !matches!(action, "init" | "emit") {
            let lines = output.matches(r#""message":"emitted""#).count();
            assert_eq!(lines as u64, EVENTS, "{action}");
        }
        if !matches!(action, "init" | "emit" | "drop" | "drop after the runtime") {
            assert!(output.contains("lost something"), "{action}");
        }
    });
}

fn run_all(port: u16, check: fn(&'static str, &str)) {
    thread::scope(|scope| {
        let runs: Vec<_> = RUNTIMES
            .into_iter()
            .flat_map(|runtime| ACTIONS.map(|action| (runtime, action)))
            .map(|(runtime, action)| {
                scope.spawn(move || check(action, &run(runtime, action, port)))
            })
            .collect();
        runs.into_iter().for_each(|run| run.join().unwrap());
    });
}

/// Runs a child to its end; returns what it wrote.
fn run(runtime: &str, action: &str, port: u16) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(CASE, format!("{runtime}/{action}"))
        .env(COLLECTOR, format!("http://127.0.0.1:{port}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        output.read_to_end(&mut text).unwrap();
        sender.send(String::from_utf8(text).unwrap())
    });
    // The output ends with the process.
    let output = receiver.recv_timeout(WATCHDOG);
    let _ = child.kill();
    let status = child.wait().unwrap();
    let output = output.unwrap_or_else(|_| panic!("{runtime}, {action}: still there after 15 s"));
    let end = output.lines().rev().take(5).collect::<Vec<_>>();
    assert!(status.success(), "{runtime}, {action}: {status} {end:?}");
    assert!(output.contains("the end"), "{runtime}, {action}: {end:?}");
    output
}

#[test]
#[ignore = "is the child of the tests above"]
fn child() {
    let case = std::env::var(CASE).unwrap();
    let (runtime, action) = case.split_once('/').unwrap();
    let runtime = match runtime {
        "none" => None,
        "current thread" => Some(Builder::new_current_thread().enable_all().build()),
        "one worker" => Some(
            Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build(),
        ),
        _ => Some(
            Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build(),
        ),
    };
    let runtime = runtime.transpose().unwrap();
    let act = {
        let action = action.to_owned();
        move || act(&action)
    };
    let left = match &runtime {
        None => act(),
        // In a task, so on a worker where there are any.
        Some(runtime) => {
            runtime.block_on(async { tokio::spawn(async move { act() }).await.unwrap() })
        }
    };
    drop(runtime);
    drop(left);
    println!("the end");
}

/// Returns what is left to be dropped where there is no runtime any more.
fn act(action: &str) -> Option<TelemetryGuard> {
    let otlp = Otlp::new(std::env::var(COLLECTOR).unwrap());
    let guard = Telemetry::builder("child").otlp(otlp).install().unwrap();
    if action == "init" {
        std::mem::forget(guard);
        return None;
    }
    for number in 0..EVENTS {
        let _span = tracing::info_span!("work").entered();
        tracing::info!(number, "emitted");
    }
    match action {
        "emit" => std::mem::forget(guard),
        "flush" => {
            say(guard.telemetry().flush(WAIT).is_empty());
            std::mem::forget(guard);
        }
        "shutdown" => say(guard.shutdown(WAIT).is_empty()),
        "drop" => {
            let telemetry = guard.telemetry().clone();
            drop(guard);
            say(telemetry.stats().dropped == 0 && is_exported(&telemetry));
        }
        "drop after the runtime" => {
            println!("lost nothing, so far");
            return Some(guard);
        }
        "panic in a handler" => {
            let service = service_fn(
                async |_: Request<String>| -> Result<Response<String>, Infallible> {
                    panic!("this is what the test is about")
                },
            );
            let service = ObserveLayer::new(HttpSpans::new()).layer(service);
            let answer = async { service.oneshot(Request::new(String::new())).await };
            let caught = thread::spawn(|| {
                let runtime = Builder::new_current_thread().build().unwrap();
                runtime.block_on(answer).is_ok()
            });
            assert!(caught.join().is_err());
            say(guard.shutdown(WAIT).is_empty());
        }
        "shutdown in a drop" => drop(Ends(Some(guard))),
        "log after shutdown" => {
            let telemetry = guard.telemetry().clone();
            say(guard.shutdown(WAIT).is_empty());
            (0..EVENTS).for_each(|number| tracing::info!(number, "too late"));
            // Lines that tell of the exporter may have come late too.
            assert!(telemetry.stats().dropped >= EVENTS);
        }
        action => unreachable!("{action}"),
    }
    None
}

fn is_exported(telemetry: &Telemetry) -> bool {
    let exports = telemetry.exports().unwrap();
    (exports.traces.exported, exports.logs.exported) == (EVENTS, EVENTS)
}

/// Shuts down when it is dropped.
struct Ends(Option<TelemetryGuard>);

impl Drop for Ends {
    fn drop(&mut self) {
        say(self.0.take().unwrap().shutdown(WAIT).is_empty());
    }
}

fn say(is_nothing: bool) {
    println!("lost {}", if is_nothing { "nothing" } else { "something" });
}

/// Answers each request of a connection with 200.
fn take(connection: &TcpStream, requests: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::new(connection);
    loop {
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        requests.fetch_add(1, Ordering::Relaxed);
        let answer =
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        (&*connection).write_all(answer).ok()?;
    }
}
