//! What probes take through the service, and over sockets.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::get;
use campanile::Campanile;
use campanile::health::Check;
use campanile_tests::Client;
use http::{Method, StatusCode};
use http_body::Body as _;
use tower::Service;

use crate::figure::{Effort, Figure};
use crate::server::Server;

const PROBES: usize = 50_000;
const CHECKS: usize = 20;

/// Twenty checks, one of them of 50 ms, and the number of their calls.
fn with_checks() -> (Campanile, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let mut campanile = Campanile::builder("scoreboard");
    for number in 0..CHECKS {
        let count = Arc::clone(&calls);
        let check = Check::new(format!("check-{number}"), move || {
            count.fetch_add(1, Ordering::Relaxed);
            async move {
                if number == 0 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok::<_, Infallible>(())
            }
        });
        // It doesn't come twice while this lasts.
        campanile = campanile.check(check.critical().interval(Duration::from_secs(3_600)));
    }
    (campanile.build().expect("the checks are valid"), calls)
}

pub(crate) fn readiness(effort: Effort) -> Figure {
    let (campanile, calls) = with_checks();
    let mut ours = campanile.wrap(Router::new().route("/", get(async || "ok")));
    let constant = async || {
        (
            [
                ("content-type", "text/plain; charset=utf-8"),
                ("cache-control", "no-store"),
            ],
            "ok",
        )
    };
    let mut floor = Router::new().route("/readyz", get(constant));

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system gives a runtime");
    let (ours, floor) = runtime.block_on(async {
        let run = pin!(campanile.run(std::future::pending::<()>()));
        let measure = pin!(async {
            while probe(&mut ours).0 != StatusCode::OK {
                tokio::task::yield_now().await;
            }
            // The first round only warms up.
            (0..=effort.rounds)
                .map(|_| (time(&mut ours, effort), time(&mut floor, effort)))
                .skip(1)
                .unzip()
        });
        tokio::select! {
            () = run => unreachable!("it runs until its future ends, which never does"),
            rounds = measure => rounds,
        }
    });
    let (ours, floor): (Vec<f64>, Vec<f64>) = (ours, floor);
    let calls = calls.load(Ordering::Relaxed);
    assert_eq!(calls, CHECKS, "no probe calls a check");
    Figure::at_most(
        ("health.ready", "ns"),
        &ours,
        ("an axum route with a constant answer", &floor),
        2_000.0,
    )
}

/// The nanoseconds of a probe, from the creation of the request to the last byte of the response.
fn time(router: &mut Router, effort: Effort) -> f64 {
    let probes = effort.of(PROBES);
    let start = now();
    for _ in 0..probes {
        let (status, bytes) = black_box(probe(router));
        assert!(status == StatusCode::OK && bytes > 0);
    }
    start.elapsed().as_nanos() as f64 / probes as f64
}

fn probe(router: &mut Router) -> (StatusCode, usize) {
    let mut context = Context::from_waker(Waker::noop());
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = http::Uri::from_static("/readyz");
    let Poll::Ready(Ok(response)) = pin!(call(router, request)).poll(&mut context) else {
        unreachable!("a probe waits for nothing and never fails");
    };
    let (parts, body) = response.into_parts();
    let (mut body, mut bytes) = (pin!(body), 0);
    while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut context) {
        bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
    }
    (parts.status, bytes)
}

fn call(
    router: &mut Router,
    request: Request,
) -> impl Future<Output = Result<Response, Infallible>> {
    Service::<Request>::call(router, request)
}

/// The service that gets requests over sockets, and its background work.
pub(crate) fn app(runtime: &tokio::runtime::Runtime) -> Router {
    let (campanile, _) = with_checks();
    let app = campanile.wrap(Router::new().route("/constant", get(async || "ok")));
    runtime.spawn(async move { campanile.run(std::future::pending()).await });
    app
}

/// The slowest of a hundred detailed responses, at 2,000 per second over 100 connections. Requests
/// are sent on time, even if earlier ones have no response yet.
pub(crate) fn detailed(effort: Effort) -> Figure {
    let (ours, constant) = over_sockets(effort, 100);
    let name = "the same of a route with a constant answer";
    Figure::at_most(("health.detailed", "ms"), &ours, (name, &constant), 5.0)
}

/// The same over 1,000 connections.
pub(crate) fn detailed_of_many(effort: Effort) -> Figure {
    let (ours, constant) = over_sockets(effort, 1_000);
    let name = "the same of a route with a constant answer";
    Figure::compare(
        ("health.detailed.1000", "ms"),
        &ours,
        (name, &constant),
        2.0,
    )
}

fn over_sockets(effort: Effort, connections: usize) -> (Vec<f64>, Vec<f64>) {
    let server = Server::start("health");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system gives a runtime");
    runtime.block_on(async {
        let mut client = Client::connect(server.address).await;
        let client = client.as_mut().expect("the server listens");
        while client.send(Method::GET, "/readyz", "").await.0 != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    });
    let measure = |path| runtime.block_on(p99(server.address, path, connections));
    // The first round only warms up.
    (0..=effort.rounds.min(9))
        .map(|_| (measure("/health/detailed"), measure("/constant")))
        .skip(1)
        .unzip()
}

/// Milliseconds, each counted from when the request was to be sent.
async fn p99(address: SocketAddr, path: &'static str, connections: usize) -> f64 {
    const PER_SECOND: u32 = 2_000;
    let requests = PER_SECOND as usize / connections;
    let step = Duration::from_secs(1) / PER_SECOND;
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(Client::connect(address).await.expect("the server listens"));
    }
    let begin = tokio::time::Instant::from_std(now()) + Duration::from_millis(20);
    let mut tasks = Vec::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        tasks.push(tokio::spawn(async move {
            let mut took = Vec::with_capacity(requests);
            for request in 0..requests {
                let due = begin + step * (request * connections + number) as u32;
                tokio::time::sleep_until(due).await;
                let (status, body) = client.send(Method::GET, path, "").await;
                assert!(status == StatusCode::OK && !body.is_empty());
                took.push(due.elapsed().as_secs_f64() * 1_000.0);
            }
            took
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("a client failed"));
    }
    all.sort_by(f64::total_cmp);
    all[all.len() * 99 / 100]
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    Instant::now()
}
