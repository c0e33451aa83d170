//! The flight recorder: what of a request is written only if it ends badly.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::io;
use std::time::Duration;

use campanile_http::ObserveLayer;
use campanile_telemetry::{FlightRecorder, HttpSpans, Telemetry, TelemetryBuilder, Writer};
use http::{Request, Response, StatusCode};
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

use self::memory::Memory;

mod memory;

/// Logs for each of these statuses what a request that is answered so logs; its lines, without those of others.
async fn answered(
    configure: impl FnOnce(TelemetryBuilder) -> TelemetryBuilder,
    statuses: &[u16],
) -> Vec<Value> {
    let memory = Memory::default();
    let builder = Telemetry::builder("test").writer(Writer::new(memory.clone()));
    let telemetry = configure(builder).build().unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(telemetry.filter())
        .with(telemetry.layer());
    let _subscriber = tracing::subscriber::set_default(subscriber);
    tracing::debug!("of no request");
    let service = service_fn(async |request: Request<u16>| {
        tracing::debug!(step = 1, "began");
        tracing::trace!("never");
        let inner = tracing::info_span!("inner", of_inner = 7);
        async { tracing::debug!(step = 2, password = "hunter2", "within") }
            .instrument(inner)
            .await;
        tracing::info!("usual");
        let elsewhere = async { tracing::debug!(step = 3, "elsewhere") };
        tokio::spawn(elsewhere.in_current_span()).await.unwrap();
        let status = StatusCode::from_u16(*request.body()).unwrap();
        if status == 599 {
            panic!("on purpose");
        }
        let response = Response::builder().status(status).body(String::new());
        Ok::<_, io::Error>(response.unwrap())
    });
    let service = ObserveLayer::new(HttpSpans::new()).layer(service);
    for status in statuses {
        let request = Request::get(format!("/{status}")).body(*status).unwrap();
        let answer = tokio::spawn(service.clone().oneshot(request).in_current_span());
        drop(answer.await);
    }
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn messages<'a>(lines: &'a [Value], path: &str) -> Vec<&'a str> {
    let of = lines.iter().filter(|line| line["url.path"] == path);
    of.map(|line| line["message"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_request_that_ends_badly_tells_all() {
    let recorder = FlightRecorder::new();
    let lines = answered(|log| log.flight_recorder(recorder), &[200, 500, 404, 599]).await;
    let usual = ["usual", "request ended"];
    let all = ["usual", "began", "within", "elsewhere", "request ended"];
    assert_eq!(messages(&lines, "/200"), usual);
    assert_eq!(messages(&lines, "/404"), usual);
    assert_eq!(messages(&lines, "/500"), all);
    assert_eq!(messages(&lines, "/599"), all);
    assert!(lines.iter().all(|line| line["message"] != "of no request"));

    let of = |message: &str| {
        let is_it = |line: &&Value| line["message"] == message && line["url.path"] == "/500";
        lines.iter().find(is_it).unwrap()
    };
    let (within, ended) = (of("within"), of("request ended"));
    assert_eq!(
        (&within["level"], &within["step"]),
        (&"DEBUG".into(), &2.into())
    );
    assert_eq!(
        (&within["of_inner"], &within["function"]),
        (&7.into(), &"inner".into())
    );
    assert_eq!(within["password"], "[redacted]");
    assert_eq!(
        (&within["recorded"], &of("usual")["recorded"]),
        (&true.into(), &Value::Null)
    );
    assert_eq!(within["trace_id"], ended["trace_id"]);
    // It has the time at which it came.
    assert!(within["timestamp"].as_str() < of("usual")["timestamp"].as_str());
}

#[tokio::test]
async fn one_that_is_slow_does_so_too() {
    let recorder = FlightRecorder::new().slower_than(Duration::ZERO);
    let lines = answered(|log| log.flight_recorder(recorder), &[200]).await;
    assert_eq!(messages(&lines, "/200").len(), 5);
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let recorder = FlightRecorder::new().max_events(1);
    let lines = answered(|log| log.flight_recorder(recorder), &[500]).await;
    assert_eq!(
        messages(&lines, "/500"),
        ["usual", "elsewhere", "request ended"]
    );
    assert_eq!(lines[1]["recorded_events_gone"], 2);
    let recorder = FlightRecorder::new().max_bytes(0);
    let lines = answered(|log| log.flight_recorder(recorder), &[500]).await;
    assert_eq!(messages(&lines, "/500"), ["usual", "request ended"]);
}

#[tokio::test]
async fn it_records_what_it_is_told_to() {
    let recorder = FlightRecorder::new().filter("recorder=trace,off");
    let log = |log: TelemetryBuilder| log.filter("error").flight_recorder(recorder);
    let lines = answered(log, &[500]).await;
    assert_eq!(messages(&lines, "/500").last(), Some(&"request ended"));
    let recorder = FlightRecorder::new().filter("trace");
    let log = |log: TelemetryBuilder| log.filter("error").flight_recorder(recorder);
    let lines = answered(log, &[500, 200]).await;
    let all = [
        "began",
        "never",
        "within",
        "usual",
        "elsewhere",
        "request ended",
    ];
    assert_eq!(messages(&lines, "/500"), all);
    assert_eq!(messages(&lines, "/200"), [""; 0]);
}

#[test]
fn a_filter_that_is_not_valid_is_named() {
    let recorder = FlightRecorder::new().filter("a=b=c");
    let error = Telemetry::builder("test").flight_recorder(recorder).build();
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("invalid flight recorder filter \"a=b=c\""),
        "{text}"
    );
}

#[cfg(feature = "otlp")]
#[tokio::test]
async fn its_trace_is_exported_though_it_was_not_to_be() {
    use campanile_telemetry::{Otlp, Sampler};

    // The queued spans are counted, so there is no collector.
    let exported = async |status| {
        let recorder = FlightRecorder::new();
        let memory = Memory::default();
        let telemetry = Telemetry::builder("test")
            .writer(Writer::new(memory))
            .flight_recorder(recorder)
            .sampler(Sampler::always_off())
            .otlp(Otlp::new("http://127.0.0.1:9").logs(false))
            .build()
            .unwrap();
        let subscriber = tracing_subscriber::registry()
            .with(telemetry.filter())
            .with(telemetry.layer_with_spans());
        let _subscriber = tracing::subscriber::set_default(subscriber);
        let service = service_fn(async |_: Request<String>| {
            tracing::info_span!("inner").in_scope(|| tracing::info!("at work"));
            let response = Response::builder().status(status).body(String::new());
            Ok::<_, io::Error>(response.unwrap())
        });
        let service = ObserveLayer::new(HttpSpans::new()).layer(service);
        let answer = service.oneshot(Request::new(String::new())).await;
        drop(answer.unwrap());
        let lost = telemetry.shutdown(Duration::ZERO);
        let emitted = telemetry.exports().unwrap().traces.emitted;
        assert_eq!(lost.spans, emitted);
        emitted
    };
    assert_eq!(exported(200).await, 0);
    assert_eq!(exported(503).await, 2);
}

/// A log with a recorder, as this thread's.
fn recording() -> (Memory, Telemetry, tracing::subscriber::DefaultGuard) {
    let memory = Memory::default();
    let telemetry = Telemetry::builder("test").writer(Writer::new(memory.clone()));
    let telemetry = telemetry.flight_recorder(FlightRecorder::new()).build();
    let telemetry = telemetry.unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(telemetry.filter())
        .with(telemetry.layer());
    let guard = tracing::subscriber::set_default(subscriber);
    (memory, telemetry, guard)
}

fn logs() -> u64 {
    tracing::debug!("before");
    tracing::info!("before too");
    7
}

#[tokio::test]
async fn values_that_log_bring_nothing_into_the_log() {
    let (memory, telemetry, _subscriber) = recording();
    let service = service_fn(async |request: Request<u16>| {
        tracing::debug!(value = logs(), "outer");
        let status = StatusCode::from_u16(*request.body()).unwrap();
        let response = Response::builder().status(status).body(String::new());
        Ok::<_, io::Error>(response.unwrap())
    });
    let observe = ObserveLayer::builder(HttpSpans::new());
    let service = observe.route(|_| Some("/".into())).build().layer(service);
    for (status, expected) in [
        (200, vec!["before too", "request ended"]),
        (500, vec!["before", "before too", "outer", "request ended"]),
    ] {
        memory.take();
        let request = Request::get("/").body(status).unwrap();
        service.clone().oneshot(request).await.unwrap();
        assert!(telemetry.flush(Duration::from_secs(10)).is_empty());
        let text = memory.take();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut messages: Vec<_> = lines
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect();
        messages.sort();
        assert_eq!(messages, expected);
    }
}

#[tokio::test]
async fn a_request_within_another_is_recorded_with_it() {
    let (memory, telemetry, _subscriber) = recording();
    let inner = service_fn(async |_: Request<String>| {
        let other = tracing::info_span!("not ours", otel.kind = "server");
        other.in_scope(|| tracing::debug!("within"));
        Ok::<_, io::Error>(Response::new(String::new()))
    });
    let inner = ObserveLayer::new(HttpSpans::new()).layer(inner);
    let outer = service_fn(move |request: Request<String>| {
        let inner = inner.clone();
        async move {
            inner.oneshot(request).await?;
            tracing::debug!("after");
            Err::<Response<String>, _>(io::Error::other("it fails after all"))
        }
    });
    let outer = ObserveLayer::new(HttpSpans::new()).layer(outer);
    assert!(outer.oneshot(Request::new(String::new())).await.is_err());
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    for message in ["within", "after"] {
        assert_eq!(
            text.matches(&format!(r#""message":"{message}""#)).count(),
            1,
            "{text}"
        );
    }
}

#[tokio::test]
async fn all_requests_together_have_a_cap() {
    let recorder = FlightRecorder::new().max_total_bytes(0);
    let lines = answered(|log| log.flight_recorder(recorder), &[500]).await;
    // The first fits as nothing is kept yet; the others do not.
    assert_eq!(
        messages(&lines, "/500"),
        ["usual", "began", "request ended"]
    );
}

/// A recorder logs a limited number of an outage's requests, and says what it left out.
#[tokio::test]
async fn an_outage_is_not_multiplied() {
    let (memory, telemetry, _subscriber) = recording();
    let service = service_fn(async |_: Request<String>| {
        for n in 0..100 {
            tracing::debug!(n, "step");
        }
        let response = Response::builder().status(503).body(String::new());
        Ok::<_, io::Error>(response.unwrap())
    });
    let service = ObserveLayer::new(HttpSpans::new()).layer(service);
    for _ in 0..500 {
        let answer = service.clone().oneshot(Request::new(String::new())).await;
        drop(answer.unwrap());
    }
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    assert_eq!(text.matches("request ended").count(), 500);
    let steps = text.matches(r#""message":"step""#).count();
    assert!((300..=10_000).contains(&steps), "{steps}");
    let suppressed = telemetry.stats().recordings_suppressed;
    assert_eq!(steps as u64 + 100 * suppressed, 50_000);
    let gone = text.matches(r#""recorded_events_gone":100"#).count();
    assert_eq!(gone as u64, suppressed);
}

/// The client controls how long a body takes, so that it must not decide what is logged.
#[tokio::test]
async fn a_slow_client_makes_no_request_slow() {
    let recorder = FlightRecorder::new().slower_than(Duration::from_millis(200));
    let memory = Memory::default();
    let telemetry = Telemetry::builder("test").writer(Writer::new(memory.clone()));
    let telemetry = telemetry.flight_recorder(recorder);
    let telemetry = telemetry.build().unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(telemetry.filter())
        .with(telemetry.layer());
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let service = service_fn(async |_: Request<String>| {
        tracing::debug!("step");
        Ok::<_, io::Error>(Response::new("body".to_owned()))
    });
    let service = ObserveLayer::new(HttpSpans::new()).layer(service);
    let response = service.oneshot(Request::new(String::new())).await.unwrap();
    // The client's own time.
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(http_body_util::BodyExt::collect(response.into_body()).await);
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    assert!(
        text.contains("request ended") && !text.contains("step"),
        "{text}"
    );
}

#[tokio::test]
async fn a_large_event_does_not_take_the_room_of_others() {
    let (memory, telemetry, _subscriber) = recording();
    let service = service_fn(async |_: Request<String>| {
        tracing::debug!("began");
        let a = "a".repeat(16_000);
        tracing::debug!(a, b = a, c = a, d = a, e = a, "large");
        let response = Response::builder().status(500).body(String::new());
        Ok::<_, io::Error>(response.unwrap())
    });
    let service = ObserveLayer::new(HttpSpans::new()).layer(service);
    drop(service.oneshot(Request::new(String::new())).await.unwrap());
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = memory.take();
    assert!(text.contains(r#""message":"began""#), "{text}");
    assert!(!text.contains(r#""message":"large""#));
    assert!(text.contains(r#""recorded_events_gone":1"#));
}
