//! What a readiness probe takes through the service.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::get;
use campanile::Campanile;
use campanile::health::Check;
use http::{Method, StatusCode};
use http_body::Body as _;
use tower::Service;

use crate::figure::{Effort, Figure};

const PROBES: usize = 50_000;
const CHECKS: usize = 5;

pub(crate) fn readiness(effort: Effort) -> Figure {
    let mut campanile = Campanile::builder("scoreboard");
    for number in 0..CHECKS {
        let check = Check::new(format!("check-{number}"), async || Ok::<_, Infallible>(()));
        campanile = campanile.check(check.critical());
    }
    let campanile = campanile.build().expect("the checks are valid");
    let mut ours = campanile.wrap(Router::new().route("/", get(async || "ok")));
    let constant = async || {
        (
            [
                ("content-type", "application/json"),
                ("cache-control", "no-store"),
            ],
            r#"{"status":"ready"}"#,
        )
    };
    let mut floor = Router::new().route("/health/ready", get(constant));

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
    Figure::at_most(
        ("health.ready", "ns"),
        &ours,
        ("an axum route with a constant answer", &floor),
        2_000.0,
    )
}

/// The nanoseconds of a probe, from the request's making to the last byte of the answer.
fn time(router: &mut Router, effort: Effort) -> f64 {
    let probes = effort.of(PROBES);
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    let start = Instant::now();
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
    *request.uri_mut() = http::Uri::from_static("/health/ready");
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
