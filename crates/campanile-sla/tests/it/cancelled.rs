//! Cancelled requests.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use campanile_http::{Clock, ObserveLayer, Route};
use campanile_sla::{ServiceLevels, Slo};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyStream, Full, StreamBody};
use tower::{Layer, ServiceExt};

use super::*;

type Body = Full<&'static [u8]>;

/// Sends a request to a service that hangs, and cancels it after a time: before the head, or after a
/// head with a content type.
async fn leave(sla: &ServiceLevels, start: Now, after: Duration, head: Option<&'static str>) {
    leave_call(sla, start, after, head, None, head.is_some()).await;
}

/// Sends a gRPC call with a deadline, and cancels it before or after the head.
async fn leave_call(
    sla: &ServiceLevels,
    start: Now,
    after: Duration,
    head: Option<&'static str>,
    grpc_timeout: Option<&'static str>,
    has_head: bool,
) {
    let time = Arc::new(Mutex::new(start.mono));
    let clock = Clock::new({
        let time = Arc::clone(&time);
        move || *time.lock().unwrap()
    });
    let layer = ObserveLayer::builder(sla.observer()).clock(clock).build();
    let service = layer.layer(tower::service_fn(async |_: Request<Body>| {
        let Some(content_type) = head.filter(|_| has_head) else {
            return std::future::pending().await;
        };
        let response = Response::builder().header("content-type", content_type);
        // A body of unknown length.
        let body = StreamBody::new(BodyStream::new(Body::new(b"x")));
        Ok::<_, Infallible>(response.body(body).unwrap())
    }));
    let mut request = Request::new(Body::default());
    if head.is_some_and(|head| head.starts_with("application/grpc")) {
        let content_type = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(CONTENT_TYPE, content_type);
        *request.method_mut() = Method::POST;
    }
    if let Some(timeout) = grpc_timeout {
        let timeout = HeaderValue::from_static(timeout);
        request.headers_mut().insert("grpc-timeout", timeout);
    }
    request.extensions_mut().insert(Route::from_static("/buy"));
    let mut exchange = Box::pin(service.oneshot(request));
    let response = std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match exchange.as_mut().poll(cx) {
            std::task::Poll::Ready(response) => Some(response),
            std::task::Poll::Pending => None,
        })
    });
    let response = response.await;
    *time.lock().unwrap() += after;
    drop((response, exchange));
}

#[tokio::test]
async fn a_cancelled_request_counts_by_the_time_that_its_client_waited() {
    let bound = Duration::from_millis(300);
    let slos = || {
        [
            Slo::availability("available", "99.9%"),
            Slo::availability("patient", "99.9%").abandoned_after(MINUTE),
            Slo::error_rate("error_rate", "1%").route("/buy"),
            Slo::latency("fast", "99%", bound),
            Slo::latency("slow", "99%", MINUTE),
            Slo::success_within("both", "99%", bound),
            Slo::success_within("slow_both", "99%", MINUTE),
            Slo::availability("valid", "99%").valid_if(|_| true),
            Slo::availability("good", "99%").good_if(|end| !end.status().is_server_error()),
            Slo::availability("own", "99%")
                .valid_if(|_| true)
                .good_if(|_| true),
        ]
    };
    let check = async |after, head, expected: [(u64, u64); 10]| {
        let start = start();
        let builder = slos().into_iter();
        let builder = builder.fold(ServiceLevels::builder(), |all, one| all.slo(one));
        let sla = builder.build_at(start).unwrap();
        leave(&sla, start, after, head).await;
        let report = sla.report_at(start + DAY);
        for (found, expected) in report.slos.iter().zip(expected) {
            let counts = (found.samples - found.bad, found.bad);
            assert_eq!(counts, expected, "{} after {after:?}", found.name);
        }
    };
    let (none, good, bad) = ((0, 0), (1, 0), (0, 1));
    let tick = Duration::from_nanos(1);
    let early = [none, none, none, none, none, none, none, good, none, good];
    check(bound, None, early).await;
    let late = [none, none, none, bad, none, bad, none, good, none, good];
    check(bound + tick, None, late).await;
    check(SECOND * 10 - tick, None, late).await;
    let abandoned = [bad, none, bad, bad, none, bad, bad, bad, bad, good];
    check(SECOND * 10, None, abandoned).await;
    check(SECOND * 10, Some("text/plain"), abandoned).await;
    let all = [bad, bad, bad, bad, bad, bad, bad, bad, bad, good];
    check(MINUTE + tick, None, all).await;
    // The client may close an event stream at any time.
    check(HOUR, Some("text/event-stream"), early).await;
}

/// A hanging service exceeds the deadlines of its gRPC calls. A client ends a stream by cancelling it.
#[tokio::test]
async fn a_grpc_call_is_bad_if_its_deadline_passes_and_not_if_its_stream_ends() {
    let grpc = Some("application/grpc");
    for (after, deadline, has_head, expected) in [
        (SECOND, Some("1S"), false, (0, 1)),
        (SECOND, Some("1S"), true, (0, 1)),
        // The client cancelled before the deadline.
        (SECOND, Some("5S"), false, (0, 0)),
        (SECOND * 10, None, false, (0, 1)),
        (HOUR, None, true, (0, 0)),
    ] {
        let start = start();
        let sla = one(Slo::availability("a", "99.9%"), start);
        leave_call(&sla, start, after, grpc, deadline, has_head).await;
        let report = sla.slo_report_at("a", start + DAY).unwrap();
        let counts = (report.samples - report.bad, report.bad);
        assert_eq!(counts, expected, "{after:?} {deadline:?} {has_head}");
    }
}

/// A call without a response is not fast.
#[tokio::test]
async fn a_passed_deadline_below_the_limit_is_not_valid() {
    let start = start();
    let bound = Duration::from_millis(300);
    let sla = ServiceLevels::builder()
        .slo(Slo::latency("fast", "99%", bound))
        .slo(Slo::success_within("both", "99%", bound))
        .build_at(start)
        .unwrap();
    let grpc = Some("application/grpc");
    for _ in 0..50 {
        let after = Duration::from_millis(100);
        leave_call(&sla, start, after, grpc, Some("100m"), false).await;
    }
    let report = sla.report_at(start + DAY);
    let counts = report.slos.iter();
    let counts: Vec<_> = counts.map(|one| (one.samples, one.bad)).collect();
    assert_eq!(counts, [(0, 0), (50, 50)]);
}

/// All clients cancel after two seconds.
#[tokio::test]
async fn a_service_that_hangs_has_data() {
    let start = start();
    let slo = Slo::latency("fast", "99%", Duration::from_millis(300)).per_route(3);
    let sla = one(slo, start);
    for _ in 0..500 {
        leave(&sla, start, SECOND * 2, None).await;
    }
    let report = sla.slo_report_at("fast", start + MINUTE).unwrap();
    assert_eq!((report.current, report.bad), (Some(0.0), 500));
    assert_eq!(
        (&*report.routes[0].route, report.routes[0].bad),
        ("/buy", 500)
    );
}

/// The latencies of a hanging service must not be those of its fast requests only.
#[tokio::test]
async fn latencies_include_the_time_that_clients_waited() {
    let start = start();
    let builder = ServiceLevels::builder()
        .slo(Slo::mean_latency("mean", SECOND))
        .slo(Slo::latency_percentile("p", "50%", SECOND));
    let sla = builder.build_at(start).unwrap();
    for _ in 0..50 {
        // The deadline passes, and the client cancels.
        leave_call(
            &sla,
            start,
            SECOND * 5,
            Some("application/grpc"),
            Some("5S"),
            false,
        )
        .await;
        leave(&sla, start, SECOND * 15, None).await;
        // Too early to be valid.
        leave(&sla, start, SECOND, None).await;
    }
    let [mean, percentile] = &sla.report_at(start + MINUTE).slos[..] else {
        panic!("there are two");
    };
    assert_eq!((mean.samples, mean.current), (100, Some(10_000.0)));
    assert_eq!(percentile.samples, 100);
    let median = percentile.current.unwrap();
    assert!((4_900.0..5_100.0).contains(&median), "{median}");
}
