//! What the layers add to a tower service that does nothing.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use axum_prometheus::BaseMetricLayer;
use bytes::Bytes;
use campanile::Campanile;
use campanile::correlation::CorrelationIdLayer;
use campanile::http::ObserveLayer;
use campanile::metrics::{HttpMetrics, Registry, metrics};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::{Empty, Full};
use metrics_exporter_prometheus::PrometheusBuilder;
use pin_project_lite::pin_project;
use tower::{Layer, Service, ServiceBuilder, service_fn};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::trace::TraceLayer;

use crate::figure::{Effort, Figure};

const REQUESTS: usize = 200_000;

pub(crate) fn against_peers(effort: Effort) -> Figure {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let id = HeaderName::from_static("x-request-id");
    let mut peers = ServiceBuilder::new()
        .layer(SetRequestIdLayer::new(id.clone(), MakeRequestUuid))
        .layer(PropagateRequestIdLayer::new(id))
        .layer(TraceLayer::new_for_http())
        .layer(BaseMetricLayer::new())
        .service(service_fn(nothing));
    let peer = || {
        let time =
            metrics::with_local_recorder(&recorder, || time(&mut peers, effort.of(REQUESTS)));
        // The exporter keeps every sample until its upkeep runs, for which an application pays too.
        handle.run_upkeep();
        time
    };
    let (ours, peer) = added(effort, peer);
    let name = "tower-http 0.7 request-id, TraceLayer; axum-prometheus 0.10";
    Figure::compare(("http.stack", "ns"), &ours, (name, &peer), 0.25)
}

pub(crate) fn against_floor(effort: Effort) -> Figure {
    let mut floor = FloorLayer::default().layer(service_fn(nothing));
    let (ours, floor) = added(effort, || time(&mut floor, effort.of(REQUESTS)));
    Figure::compare(
        ("http.stack.floor", "ns"),
        &ours,
        ("a hand-written layer", &floor),
        2.0,
    )
}

/// The cost of the correlation layer for a request; every other request has an id.
pub(crate) fn correlation(effort: Effort) -> Figure {
    let mut ours = CorrelationIdLayer::new().layer(service_fn(nothing));
    let mut peer = ServiceBuilder::new()
        .layer(SetRequestIdLayer::new(X_REQUEST_ID, MakeRequestUuid))
        .layer(PropagateRequestIdLayer::new(X_REQUEST_ID))
        .service(service_fn(nothing));
    let mut bare = service_fn(nothing);
    // The first round only warms up.
    let (ours, peer): (Vec<_>, Vec<_>) = (0..=effort.rounds)
        .map(|_| {
            let bare = with_and_without_id(&mut bare, effort);
            let ours = with_and_without_id(&mut ours, effort);
            (ours - bare, with_and_without_id(&mut peer, effort) - bare)
        })
        .skip(1)
        .unzip();
    let peers = "tower-http 0.7 SetRequestId, PropagateRequestId";
    Figure::compare(("correlation", "ns"), &ours, (peers, &peer), 0.65)
}

fn with_and_without_id<S, B>(service: &mut S, effort: Effort) -> f64
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    B: Body,
{
    let half = effort.of(REQUESTS) / 2;
    let with = time_of(service, half, |request| {
        const ID: HeaderValue = HeaderValue::from_static("0191e9f0-9c5b-7c6e-8a3d-2f0a1b2c3d4e");
        request.headers_mut().insert(X_REQUEST_ID, ID);
    });
    (with + time(service, half)) / 2.0
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// For each round, the nanoseconds that our layers and the peer's add to a request.
fn added(effort: Effort, mut peer: impl FnMut() -> f64) -> (Vec<f64>, Vec<f64>) {
    let campanile = Campanile::builder("scoreboard").build();
    let sli = campanile.expect("the defaults are valid").sla().observer();
    let observe = ObserveLayer::builder((
        HttpMetrics::register(&Registry::new()).expect("the names are free"),
        sli,
    ))
    .route(|_| Some("/users/{id}".into()))
    .build();
    let mut ours = ServiceBuilder::new()
        .layer(CorrelationIdLayer::new())
        .layer(observe)
        .service(service_fn(nothing));
    let mut bare = service_fn(nothing);
    let requests = effort.of(REQUESTS);
    // The first round only warms up.
    (0..=effort.rounds)
        .map(|_| {
            let bare = time(&mut bare, requests);
            (time(&mut ours, requests) - bare, peer() - bare)
        })
        .skip(1)
        .unzip()
}

async fn nothing(_: Request<Empty<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("ok")))
}

/// The nanoseconds that a request takes, from its making to the last byte of its response.
fn time<S, B>(service: &mut S, requests: usize) -> f64
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    B: Body,
{
    time_of(service, requests, |_| {})
}

/// The same for requests that are prepared in some way.
fn time_of<S, B>(service: &mut S, requests: usize, prepare: fn(&mut Request<Empty<Bytes>>)) -> f64
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    B: Body,
{
    let mut context = Context::from_waker(Waker::noop());
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    let start = Instant::now();
    for _ in 0..requests {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = http::Uri::from_static("/users/7");
        request.headers_mut().insert(
            http::header::HOST,
            HeaderValue::from_static("localhost:8000"),
        );
        request.headers_mut().insert(
            http::header::USER_AGENT,
            HeaderValue::from_static("scoreboard/1.0"),
        );
        prepare(&mut request);
        assert!(service.poll_ready(&mut context).is_ready());
        let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut context) else {
            unreachable!("the service waits for nothing and never fails");
        };
        let (parts, body) = response.into_parts();
        let mut body = pin!(body);
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut context) {
            black_box(frame.is_ok());
        }
        black_box(parts);
    }
    start.elapsed().as_nanos() as f64 / requests as f64
}

/// The least work of a layer that gives a request an id, times it and counts it: two clock reads,
/// 128 random bits, a header in the request, one in the response, an extension, and four atomic
/// adds.
#[derive(Clone, Default)]
struct FloorLayer(Arc<Counters>);

#[derive(Default)]
struct Counters {
    in_flight: AtomicU64,
    requests: AtomicU64,
    nanoseconds: AtomicU64,
}

#[derive(Clone)]
struct Id(#[expect(dead_code, reason = "a handler would read it")] HeaderValue);

struct Floor<S> {
    inner: S,
    counters: Arc<Counters>,
}

pin_project! {
    struct FloorFuture<F> {
        #[pin]
        inner: F,
        id: HeaderValue,
        start: Instant,
        counters: Arc<Counters>,
    }
}

const X_ID: HeaderName = HeaderName::from_static("x-correlation-id");

impl<S> Layer<S> for FloorLayer {
    type Service = Floor<S>;

    fn layer(&self, inner: S) -> Floor<S> {
        Floor {
            inner,
            counters: Arc::clone(&self.0),
        }
    }
}

impl<S, A, B> Service<Request<A>> for Floor<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = FloorFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let start = Instant::now();
        self.counters.in_flight.fetch_add(1, Ordering::Relaxed);
        let mut random = fastrand::u128(..);
        let digits: [u8; 32] = std::array::from_fn(|_| {
            let digit = b"0123456789abcdef"[(random & 15) as usize];
            random >>= 4;
            digit
        });
        let id = HeaderValue::from_bytes(&digits).unwrap_or_else(|_| HeaderValue::from_static("-"));
        request.headers_mut().insert(X_ID, id.clone());
        request.extensions_mut().insert(Id(id.clone()));
        FloorFuture {
            inner: self.inner.call(request),
            id,
            start,
            counters: Arc::clone(&self.counters),
        }
    }
}

impl<F, B, E> Future for FloorFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut result = ready!(this.inner.poll(cx));
        if let Ok(response) = &mut result {
            response.headers_mut().insert(X_ID, this.id.clone());
        }
        let nanoseconds = this.start.elapsed().as_nanos() as u64;
        this.counters
            .nanoseconds
            .fetch_add(nanoseconds, Ordering::Relaxed);
        this.counters.requests.fetch_add(1, Ordering::Relaxed);
        this.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        Poll::Ready(result)
    }
}
