//! The lines of a whole service, in the schemas that Elasticsearch reads.

use std::future::IntoFuture;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use campanile_alerts::Rule;
use campanile_health::Check;
use campanile_telemetry::{Capture, HttpSpans, LogSchema, RequestLines, Writer};
use http::{Request, StatusCode};
use tower::ServiceExt;

use self::mapper::Mapper;
use crate::Campanile;

#[path = "../../../../campanile-telemetry/tests/mapper/mod.rs"]
mod mapper;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs what it does of all kinds, and ends.
async fn work(campanile: &Campanile) {
    let app = Router::new().route("/", get(async || StatusCode::BAD_GATEWAY));
    let app = campanile.wrap(app);
    let request = Request::get("/").body(axum::body::Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    axum::body::to_bytes(response.into_body(), 1_024)
        .await
        .unwrap();
    #[cfg(feature = "macros")]
    {
        #[crate::observe(crate = crate::metrics)]
        fn find() -> Result<(), io::Error> {
            Err(io::ErrorKind::NotFound.into())
        }
        drop(find());
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let log = campanile.telemetry().unwrap().capture().unwrap().clone();
    let until_all_is_said = async move {
        for text in ["health check failed", "alert firing"] {
            while log
                .search(1, |record| record.line.contains(text))
                .is_empty()
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    let serve = campanile
        .serve(listener, app)
        .with_graceful_shutdown(until_all_is_said);
    let serve = tokio::time::timeout(Duration::from_secs(30), serve.into_future());
    serve.await.unwrap().unwrap();
}

#[test]
fn elasticsearch_accepts_every_line_of_a_service() {
    for names in [LogSchema::Ecs, LogSchema::OpenTelemetry] {
        let memory = Memory::default();
        let writer = memory.clone();
        let check = Check::new("db", async || Err::<(), _>("refused"));
        let campanile = Campanile::builder("orders")
            .telemetry(move |log| {
                let log = log.schema(names).writer(Writer::new(writer));
                log.filter("debug").capture(Capture::new().max_lines(1_000))
            })
            .check(check)
            .rule(Rule::expr("Up", "process_start_time_seconds > 0"))
            .evaluation_interval(Duration::from_millis(100))
            .build()
            .unwrap();
        let telemetry = campanile.telemetry().unwrap().clone();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        telemetry.in_scope(|| runtime.block_on(work(&campanile)));
        assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        let mut mapper = Mapper::default();
        for line in text.lines() {
            mapper.add(line).unwrap();
            assert!(!line.contains("service_"), "{line}");
        }
        for message in ["request ended", "serving", "draining", "alert firing"] {
            assert!(text.contains(message), "{message}: {text}");
        }
    }
}

#[tokio::test]
async fn a_service_adds_to_its_requests_and_can_switch_their_lines_off() {
    for lines in [RequestLines::All, RequestLines::Never] {
        let memory = Memory::default();
        let writer = memory.clone();
        let spans = HttpSpans::new().lines(lines);
        let campanile = Campanile::builder("orders")
            .telemetry(|log| log.writer(Writer::new(writer)))
            .request_spans(spans.field("plan", |_| Some("gold".into())))
            .build()
            .unwrap();
        let handler = async || assert!(campanile_telemetry::note("user.id", 7_u64));
        let app = campanile.wrap(Router::new().route("/", get(handler)));
        let telemetry = campanile.telemetry().unwrap();
        let dispatch = telemetry.in_scope(|| tracing::dispatcher::get_default(Clone::clone));
        let _subscriber = tracing::dispatcher::set_default(&dispatch);
        let request = Request::get("/").body(axum::body::Body::empty()).unwrap();
        drop(app.oneshot(request).await.unwrap());
        assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        let is_there = text.contains(r#""request ended""#);
        assert_eq!(is_there, lines == RequestLines::All, "{text}");
        let has_both = text.contains(r#""plan":"gold""#) && text.contains(r#""user.id":7"#);
        assert_eq!(has_both, is_there, "{text}");
    }
}

#[test]
fn all_calls_of_telemetry_count() {
    let memory = Memory::default();
    let writer = memory.clone();
    let campanile = Campanile::builder("orders")
        .telemetry(|log| log.schema(LogSchema::Ecs).filter("warn"))
        .telemetry(|log| log.writer(Writer::new(writer)).filter("info"))
        .build()
        .unwrap();
    let telemetry = campanile.telemetry().unwrap();
    telemetry.in_scope(|| tracing::info!("shown"));
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains(r#""service.name":"orders""#), "{text}");
}

#[tokio::test]
async fn the_path_below_a_prefix_is_the_clients() {
    let memory = Memory::default();
    let writer = memory.clone();
    let campanile = Campanile::builder("orders")
        .telemetry(|log| log.writer(Writer::new(writer)))
        .build()
        .unwrap();
    let app = campanile.wrap(Router::new().route("/a", get(async || "")));
    let app = Router::new().nest("/svc", app);
    let telemetry = campanile.telemetry().unwrap();
    let dispatch = telemetry.in_scope(|| tracing::dispatcher::get_default(Clone::clone));
    let _subscriber = tracing::dispatcher::set_default(&dispatch);
    let request = Request::get("/svc/a")
        .body(axum::body::Body::empty())
        .unwrap();
    drop(app.oneshot(request).await.unwrap());
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains(r#""url.path":"/svc/a""#), "{text}");
    assert!(text.contains(r#""http.route":"/svc/a""#), "{text}");
}

/// An application builds the telemetry before it can make it a part of its subscriber.
#[test]
fn the_log_has_what_is_logged_before_there_is_a_subscriber() {
    let memory = Memory::default();
    let writer = memory.clone();
    let campanile = Campanile::builder("test")
        .telemetry(|log| log.writer(Writer::new(writer)))
        .observe(|layer| {
            tracing::warn!("logged by the build");
            layer
        })
        .build()
        .unwrap();
    tracing::warn!("logged after the build");
    let telemetry = campanile.telemetry().unwrap();
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("logged by the build"), "{text}");
    assert!(!text.contains("logged after the build"), "{text}");
}

/// An application's own layer neither loses lines to the filter of the log nor gets more by it.
#[tokio::test]
async fn the_log_joins_the_subscriber_of_an_application() {
    use tracing_subscriber::Layer;
    use tracing_subscriber::filter::LevelFilter;
    use tracing_subscriber::layer::SubscriberExt;

    let (memory, own) = (Memory::default(), Memory::default());
    let writer = memory.clone();
    let (campanile, layer) = Campanile::builder("orders")
        .telemetry(|log| log.filter("warn").writer(Writer::new(writer)))
        .build_with_layer()
        .unwrap();
    let make_writer = {
        let own = own.clone();
        move || own.clone()
    };
    let fmt = tracing_subscriber::fmt::layer().with_writer(make_writer);
    let subscriber = tracing_subscriber::registry()
        .with(fmt.with_ansi(false).with_filter(LevelFilter::INFO))
        .with(layer);
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let telemetry = campanile.telemetry().unwrap().clone();
    let filter = telemetry.filter();
    let handler = async move || {
        tracing::info!("looked up");
        tracing::debug!("of no interest");
        filter
            .override_for("debug", Duration::from_secs(60))
            .unwrap();
        tracing::debug!("of interest now");
    };
    let app = campanile.wrap(Router::new().route("/", get(handler)));
    let request = Request::get("/").header("x-correlation-id", "checkout-42");
    let request = request.body(axum::body::Body::empty()).unwrap();
    drop(app.oneshot(request).await.unwrap());
    assert!(telemetry.shutdown(Duration::from_secs(10)).is_empty());
    let text = |memory: &Memory| String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
    let (log, own) = (text(&memory), text(&own));
    for (message, is_in_log, is_in_own) in [
        ("looked up", false, true),
        ("of no interest", false, false),
        ("of interest now", true, false),
    ] {
        let found = (log.contains(message), own.contains(message));
        assert_eq!(found, (is_in_log, is_in_own), "{message}: {log} {own}");
    }
    let line = own.lines().find(|line| line.contains("looked up")).unwrap();
    assert!(line.contains(r#"correlation_id="checkout-42""#), "{line}");
}
