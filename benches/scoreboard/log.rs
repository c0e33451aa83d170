//! The cost of a log line for the logging thread, and for its writer, which discards it.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use campanile::correlation::CorrelationIdLayer;
use campanile::http::ObserveLayer;
use campanile_telemetry::{FlightRecorder, HttpSpans, Telemetry, TelemetryBuilder, Writer};
use http::{Request, Response};
use http_body::Body;
use http_body_util::{Empty, Full};
use tower::{Layer, Service, ServiceBuilder, service_fn};
use tower_http::trace::{DefaultMakeSpan, DefaultOnResponse, TraceLayer};
use tracing::{Level, Subscriber};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use crate::figure::{Effort, Figure};
use crate::registry::rounds;

const EVENTS: usize = 50_000;

/// The span of a request and its one line at the end.
pub(crate) fn line(effort: Effort) -> Figure {
    let requests = effort.of(EVENTS);
    let observe = ObserveLayer::builder(HttpSpans::new());
    let observe = observe.route(|_| Some("/users/{id}".into())).build();
    let mut ours = CorrelationIdLayer::new().layer(observe.layer(service_fn(nothing)));
    let mut correlated = CorrelationIdLayer::new().layer(service_fn(nothing));
    let mut bare = service_fn(nothing);
    let mut peer = ServiceBuilder::new()
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(DefaultMakeSpan::new().level(Level::INFO))
                .on_response(DefaultOnResponse::new().level(Level::INFO)),
        )
        .service(service_fn(nothing));
    let (ours, peer) = rounds(
        effort,
        || {
            let (telemetry, subscriber) = ours_to_nowhere();
            let flushed = || {
                let _ = telemetry.flush(Duration::from_secs(60));
            };
            with(subscriber, || {
                let ours = requests_through(&mut ours, requests, flushed);
                ours - requests_through(&mut correlated, requests, || ())
            })
        },
        || {
            with(theirs_to_nowhere(), || {
                let theirs = requests_through(&mut peer, requests, || ());
                theirs - requests_through(&mut bare, requests, || ())
            })
        },
    );
    let name = "tower-http TraceLayer, tracing-subscriber json";
    Figure::compare(("log.line", "ns"), &ours, (name, &peer), 0.5)
}

/// An event with five fields inside of three spans.
pub(crate) fn event(effort: Effort) -> Figure {
    let theirs = || with(theirs_to_nowhere(), || events(effort, || ()));
    let (ours, peer) = rounds(effort, || ours(effort), theirs);
    let name = "tracing-subscriber json, flattened";
    Figure::compare(("log.event", "ns"), &ours, (name, &peer), 0.5)
}

pub(crate) fn event_against_json_subscriber(effort: Effort) -> Figure {
    let theirs = || {
        let layer = json_subscriber::fmt::layer()
            .with_writer(io::sink)
            .flatten_event(true);
        let subscriber = tracing_subscriber::registry().with(layer);
        with(subscriber, || events(effort, || ()))
    };
    let (ours, peer) = rounds(effort, || ours(effort), theirs);
    let name = "json-subscriber, flattened";
    Figure::compare(("log.event.subscriber", "ns"), &ours, (name, &peer), 0.5)
}

/// Ten DEBUG events in a successful request: the flight recorder keeps and discards them. The peer
/// is half of the cost of writing them.
pub(crate) fn recorder(effort: Effort) -> Figure {
    let requests = effort.of(EVENTS / 5);
    let observe = ObserveLayer::new(HttpSpans::new());
    let mut service = CorrelationIdLayer::new().layer(observe.layer(service_fn(chatty)));
    let mut time = |builder: TelemetryBuilder| {
        let (telemetry, subscriber) = to_nowhere(builder);
        let subscriber = subscriber.with(telemetry.filter());
        let flushed = || {
            let _ = telemetry.flush(Duration::from_secs(60));
        };
        with(subscriber, || {
            requests_through(&mut service, requests, flushed)
        })
    };
    let builder = || Telemetry::builder("scoreboard");
    let (kept, written) = (0..=effort.rounds)
        .map(|_| {
            let filtered = time(builder().filter("info"));
            let recorder = FlightRecorder::new();
            let kept = time(builder().filter("info").flight_recorder(recorder));
            let written = time(builder().filter("debug"));
            (kept - filtered, (written - filtered) / 2.0)
        })
        // The first only warms up.
        .skip(1)
        .unzip::<_, _, Vec<_>, Vec<_>>();
    let name = "midpoint of filtered out and written";
    Figure::compare(("log.recorder", "ns"), &kept, (name, &written), 1.0)
}

async fn chatty(_: Request<Empty<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    for number in 0..10 {
        tracing::debug!(number, table = "users", "a row is read");
    }
    Ok(Response::new(Full::from("ok")))
}

fn ours(effort: Effort) -> f64 {
    let (telemetry, subscriber) = ours_to_nowhere();
    let flushed = || {
        let _ = telemetry.flush(Duration::from_secs(60));
    };
    with(subscriber, || events(effort, flushed))
}

fn ours_to_nowhere() -> (Telemetry, impl Subscriber + Send + Sync) {
    to_nowhere(Telemetry::builder("scoreboard"))
}

fn to_nowhere(
    builder: TelemetryBuilder,
) -> (
    Telemetry,
    impl Subscriber + Send + Sync + for<'a> LookupSpan<'a>,
) {
    let telemetry = builder
        .writer(Writer::new(io::sink()))
        // So that nothing is dropped, which would be too easy.
        .max_waiting_bytes(1 << 30)
        .build()
        .expect("the settings are valid");
    let subscriber = tracing_subscriber::registry().with(telemetry.layer());
    (telemetry, subscriber)
}

fn theirs_to_nowhere() -> impl Subscriber + Send + Sync {
    let layer = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(io::sink);
    tracing_subscriber::registry().with(layer)
}

fn with<T>(subscriber: impl Subscriber + Send + Sync + 'static, measure: impl FnOnce() -> T) -> T {
    tracing::subscriber::with_default(subscriber, measure)
}

/// The nanoseconds of an event, to the end of its being written.
fn events(effort: Effort, flush: impl FnOnce()) -> f64 {
    let count = effort.of(EVENTS);
    let _one = tracing::info_span!("request", method = "GET", path = "/users/7").entered();
    let _two = tracing::info_span!("handler", user = 7_u64).entered();
    let _three = tracing::info_span!("query", table = "users", rows = 3_u64).entered();
    time(count, || {
        for number in 0..count {
            tracing::info!(number, kind = "a", ratio = 0.5, ok = true, name = %"x", "an event");
        }
        flush();
    })
}

fn requests_through<S, B>(service: &mut S, count: usize, flush: impl FnOnce()) -> f64
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    B: Body,
{
    let mut context = Context::from_waker(Waker::noop());
    time(count, || {
        for _ in 0..count {
            let mut request = Request::new(Empty::new());
            *request.uri_mut() = http::Uri::from_static("/users/7");
            let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut context) else {
                unreachable!("the service waits for nothing and never fails");
            };
            let mut body = pin!(response.into_body());
            while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut context) {
                std::hint::black_box(frame.is_ok());
            }
        }
        flush();
    })
}

async fn nothing(_: Request<Empty<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("ok")))
}

/// The nanoseconds of one of many events, until the writer's thread has written all of them.
fn time(count: usize, work: impl FnOnce()) -> f64 {
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    let begun = Instant::now();
    work();
    begun.elapsed().as_nanos() as f64 / count as f64
}
