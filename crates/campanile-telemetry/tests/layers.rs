//! The telemetry's layer beside other layers, with its filter for it alone.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use campanile_http::ObserveLayer;
use campanile_telemetry::{
    FlightRecorder, Format, HttpSpans, LogSchema, Output, Telemetry, TelemetryBuilder, Writer,
};
use http::{Request, Response};
use serde_json::Value;
use tower::{ServiceExt, service_fn};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use self::memory::Memory;

mod memory;

/// Another layer, which counts the events at DEBUG.
#[derive(Clone, Default)]
struct Debugs(Arc<AtomicUsize>);

impl<S: Subscriber> Layer<S> for Debugs {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == Level::DEBUG {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A telemetry, and what it writes to.
fn telemetry(configure: impl FnOnce(TelemetryBuilder) -> TelemetryBuilder) -> (Telemetry, Memory) {
    let memory = Memory::default();
    let builder = Telemetry::builder("test").writer(Writer::new(memory.clone()));
    (configure(builder).build().unwrap(), memory)
}

/// Ends a telemetry, and returns its lines.
fn lines(telemetry: &Telemetry, memory: &Memory) -> Vec<Value> {
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn messages(lines: &[Value]) -> Vec<&str> {
    let messages = lines.iter().map(|line| line["message"].as_str().unwrap());
    messages.collect()
}

/// Answers a request with a status, and logs meanwhile.
async fn answer(status: u16) {
    let service = service_fn(async |request: Request<u16>| {
        tracing::debug!(target: "app", "step");
        let response = Response::builder().status(*request.body());
        Ok::<_, io::Error>(response.body(String::new()).unwrap())
    });
    let service = tower::Layer::layer(&ObserveLayer::new(HttpSpans::new()), service);
    let request = Request::get("/a").body(status).unwrap();
    drop(service.oneshot(request).await.unwrap());
}

#[test]
fn the_filter_is_for_its_layer_alone() {
    let (telemetry, memory) = telemetry(|log| log.filter("warn"));
    let (filter, debugs) = (telemetry.filter(), Debugs::default());
    let subscriber = tracing_subscriber::registry()
        .with(debugs.clone())
        .with(telemetry.layer().with_filter(telemetry.filter()));
    tracing::subscriber::with_default(subscriber, || {
        let log = |text: &str| tracing::debug!("{text}");
        log("for the other layer");
        tracing::warn!("for both");
        filter
            .override_for("debug", Duration::from_secs(3_600))
            .unwrap();
        log("for both from now on");
        filter.reset();
        log("not any more");
        filter
            .override_for("[span{id=7}]=debug", Duration::from_secs(3_600))
            .unwrap();
        log("nor here");
        tracing::info_span!("span", id = 7).in_scope(|| log("in a span"));
    });
    assert_eq!(debugs.0.load(Ordering::Relaxed), 5);
    let mut lines = lines(&telemetry, &memory);
    lines.retain(|line| line["target"] != "campanile_telemetry");
    let expected = ["for both", "for both from now on", "in a span"];
    assert_eq!(messages(&lines), expected);
}

/// People read the one, machines the other.
#[test]
fn each_output_has_its_format_names_and_level() {
    let file = Memory::default();
    let outputs = [
        Output::new(Writer::new(file.clone())).schema(LogSchema::Ecs),
        Output::new(Writer::new(io::sink())).level(LevelFilter::OFF),
    ];
    let (telemetry, memory) = telemetry(|log| {
        let log = log.filter("debug").format(Format::Compact);
        let log = log.writer_level(LevelFilter::INFO);
        outputs.into_iter().fold(log, TelemetryBuilder::output)
    });
    telemetry.in_scope(|| {
        let _span = tracing::info_span!("span", x = 1, level = 7).entered();
        tracing::info!(service = "mine", "for both");
        tracing::debug!(password = "hunter2", "for the file");
    });
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("for both") && text.contains(" service_=\"mine\" x=1 level_=7"));
    let text = file.take();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    assert_eq!(messages(&lines), ["for both", "for the file"]);
    assert_eq!((&lines[0]["x"], &lines[0]["level"]), (&1.into(), &7.into()));
    assert_eq!(lines[0]["service_"], "mine");
    assert_eq!(lines[1]["log.level"], "DEBUG");
    assert_eq!(lines[1]["password"], "[redacted]");
}

#[test]
fn lines_that_any_output_loses_are_counted() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (telemetry, memory) = telemetry(|log| log.output(Output::new(Writer::new(Full))));
    telemetry.in_scope(|| tracing::info!("here at least"));
    assert_eq!(telemetry.flush(Duration::from_secs(10)).lines, 1);
    assert_eq!(telemetry.stats().failed, 1);
    assert!(memory.take().contains("here at least"));
    let outputs = (0..8).map(|_| Output::new(Writer::new(io::sink())));
    let builder = outputs.fold(Telemetry::builder("test"), TelemetryBuilder::output);
    let error = builder.build().unwrap_err();
    assert_eq!(error.to_string(), "too many outputs 8: expected at most 7");
}

/// The flight recorder's events are enabled for its layer only.
#[tokio::test]
async fn no_other_layer_sees_what_is_only_recorded() {
    let (telemetry, memory) = telemetry(|log| log.flight_recorder(FlightRecorder::new()));
    let debugs = Debugs::default();
    let subscriber = tracing_subscriber::registry()
        .with(debugs.clone().with_filter(LevelFilter::INFO))
        .with(telemetry.layer().with_filter(telemetry.filter()));
    let _subscriber = tracing::subscriber::set_default(subscriber);
    answer(200).await;
    answer(500).await;
    assert_eq!(debugs.0.load(Ordering::Relaxed), 0);
    let lines = lines(&telemetry, &memory);
    let of_app = lines.iter().filter(|line| line["target"] == "app");
    assert_eq!(of_app.count(), 1, "{lines:?}");
}

/// A layer that sees all must not make a request's line the poorer.
#[tokio::test]
async fn a_failure_says_what_it_was_under_a_filter_for_the_layer_alone() {
    for own in [true, false] {
        let (telemetry, memory) = telemetry(|log| log.filter("warn"));
        let layer = match own {
            true => telemetry.layer().with_filter(telemetry.filter()).boxed(),
            false => telemetry.layer().with_filter(LevelFilter::WARN).boxed(),
        };
        let subscriber = tracing_subscriber::registry().with(Debugs::default());
        let _subscriber = tracing::subscriber::set_default(subscriber.with(layer));
        answer(502).await;
        let lines = lines(&telemetry, &memory);
        assert_eq!(messages(&lines), ["request ended"]);
        for (key, value) in [
            ("url.path", Value::from("/a")),
            ("http.request.method", "GET".into()),
            ("http.response.status_code", 502.into()),
            ("error.type", "502".into()),
        ] {
            assert_eq!(lines[0][key], value, "{key}");
        }
    }
}

/// Where the log is at WARN, the request's span is made for the recorder.
#[tokio::test]
async fn a_recorder_of_one_target_records_under_a_log_at_warn() {
    for alone in [true, false] {
        let recorder = FlightRecorder::new().filter("app=debug");
        let (telemetry, memory) = telemetry(|log| log.filter("warn").flight_recorder(recorder));
        let dispatch: tracing::Dispatch = match alone {
            true => tracing_subscriber::registry()
                .with(telemetry.layer().with_filter(telemetry.filter()))
                .into(),
            false => tracing_subscriber::registry()
                .with(telemetry.filter())
                .with(telemetry.layer())
                .into(),
        };
        let _subscriber = tracing::dispatcher::set_default(&dispatch);
        answer(500).await;
        let lines = lines(&telemetry, &memory);
        assert_eq!(messages(&lines), ["step", "request ended"]);
        assert_eq!(lines[1]["url.path"], "/a");
    }
}

/// A writer that waits, and tells when it is dropped.
struct Waits {
    go_on: mpsc::Receiver<()>,
    _open: Option<mpsc::Sender<()>>,
}

impl io::Write for Waits {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // An error means that the test has dropped the sender.
        let _ = self.go_on.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_hangs_takes_no_time_from_the_others() {
    let (go_on, hangs) = mpsc::channel();
    let (open, is_open) = mpsc::channel();
    let hangs = Waits {
        go_on: hangs,
        _open: None,
    };
    let works = Waits {
        go_on: mpsc::channel().1,
        _open: Some(open),
    };
    let telemetry = Telemetry::builder("test")
        .writer(Writer::new(hangs))
        .output(Output::new(Writer::new(works)))
        .build()
        .unwrap();
    telemetry.in_scope(|| tracing::info!("one"));
    assert_eq!(telemetry.flush(Duration::from_millis(100)).lines, 1);
    assert_eq!(telemetry.shutdown(Duration::from_millis(300)).lines, 1);
    // The other thread has ended, so its writer is dropped.
    assert_eq!(is_open.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    drop(go_on);
}

#[test]
fn a_notice_after_the_end_is_no_lost_line() {
    let (telemetry, _) = telemetry(|log| log);
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let filter = telemetry.filter();
    filter.raise("debug", Duration::from_secs(3_600)).unwrap();
    filter.reset();
    assert_eq!(telemetry.stats().dropped, 0);
    assert!(telemetry.flush(Duration::ZERO).is_empty());
}

/// With a layer for spans beside it, and without one.
#[test]
fn without_a_filter_the_layer_writes_all_events() {
    let (telemetry, memory) = telemetry(|log| log);
    let subscriber = tracing_subscriber::registry().with(telemetry.layer());
    tracing::subscriber::with_default(subscriber, || tracing::trace!("written"));
    assert_eq!(messages(&lines(&telemetry, &memory)), ["written"]);
}
