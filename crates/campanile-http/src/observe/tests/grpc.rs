//! gRPC calls, as a server sees them.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Empty};
use tower::{Layer, Service, service_fn};

use crate::{Clock, End, ObserveLayer, Observer, RequestHead, Route};

/// Keeps a line for the last end.
#[derive(Clone, Default)]
struct Last(Arc<Mutex<String>>);

impl Observer for Last {
    type Exchange = ();

    fn begin(&self, _: &mut RequestHead<'_>) {}

    fn end(&self, (): (), end: &End) {
        let (route, status, outcome) = (end.route(), end.status().as_u16(), end.outcome().as_str());
        *self.0.lock().unwrap() = format!("{route} {status} {outcome} {:?}", end.grpc());
    }
}

/// What a service answers a call with.
#[derive(Clone, Default)]
struct Answer {
    content_type: &'static str,
    headers: Option<&'static str>,
    data: bool,
    trailers: Option<&'static str>,
    /// Leave the stream open, and let the client leave.
    open: bool,
}

const GRPC: Answer = Answer {
    content_type: "application/grpc",
    headers: None,
    data: true,
    trailers: None,
    open: false,
};

fn status(text: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        text.parse().unwrap(),
    )])
}

async fn call(layer: &ObserveLayer<Last>, path: &str, content_type: &str, answer: Answer) {
    let mut service = layer.layer(service_fn(async |_| {
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(4);
        if answer.data {
            sender.send_data(Bytes::from("data")).await.unwrap();
        }
        if let Some(text) = answer.trailers {
            sender.send(Frame::trailers(status(text))).await.unwrap();
        }
        let open = answer.open.then_some(sender);
        let mut response = Response::new(body.map_frame(move |frame| {
            let _open = &open;
            frame
        }));
        response
            .headers_mut()
            .extend(answer.headers.map(status).unwrap_or_default());
        response
            .headers_mut()
            .insert(CONTENT_TYPE, answer.content_type.parse().unwrap());
        Ok::<_, Infallible>(response)
    }));
    let request = Request::post(path)
        .header(CONTENT_TYPE, content_type)
        .body(Empty::<Bytes>::new())
        .unwrap();
    let mut body = service.call(request).await.unwrap().into_body();
    if answer.open {
        body.frame().await.unwrap().unwrap();
    } else {
        body.collect().await.unwrap();
    }
}

#[tokio::test]
async fn the_status_is_in_the_trailers_or_the_headers() {
    async fn check(answer: Answer, expected: &str) {
        let last = Last::default();
        call(
            &ObserveLayer::new(last.clone()),
            "/pkg.Service/Method",
            "application/grpc+proto",
            answer,
        )
        .await;
        assert_eq!(*last.0.lock().unwrap(), expected);
    }
    let route = "/pkg.Service/Method 200 completed";
    check(
        Answer {
            trailers: Some("0"),
            ..GRPC
        },
        &format!("{route} Some(OK)"),
    )
    .await;
    check(
        Answer {
            trailers: Some("14"),
            ..GRPC
        },
        &format!("{route} Some(UNAVAILABLE)"),
    )
    .await;
    check(
        Answer {
            headers: Some("5"),
            data: false,
            ..GRPC
        },
        &format!("{route} Some(NOT_FOUND)"),
    )
    .await;
    check(
        Answer {
            trailers: Some("99999999999999999999"),
            ..GRPC
        },
        &format!("{route} Some(UNKNOWN)"),
    )
    .await;
    check(
        Answer {
            trailers: Some("-1"),
            ..GRPC
        },
        &format!("{route} Some(UNKNOWN)"),
    )
    .await;
    check(GRPC, &format!("{route} Some(UNKNOWN)")).await;
    check(
        Answer {
            trailers: Some("12"),
            ..GRPC
        },
        "_unmatched_ 200 completed Some(UNIMPLEMENTED)",
    )
    .await;
    check(
        Answer { open: true, ..GRPC },
        "/pkg.Service/Method 200 cancelled Some(CANCELLED)",
    )
    .await;
    // What answers with something else is no gRPC service.
    check(
        Answer {
            content_type: "text/html",
            ..GRPC
        },
        "_unmatched_ 200 completed None",
    )
    .await;
}

#[tokio::test]
async fn an_exchange_that_is_no_call_has_no_status() {
    let last = Last::default();
    let layer = ObserveLayer::new(last.clone());
    call(
        &layer,
        "/pkg.Service/Method",
        "application/json",
        Answer {
            trailers: Some("0"),
            ..GRPC
        },
    )
    .await;
    assert_eq!(*last.0.lock().unwrap(), "_unmatched_ 200 completed None");
}

#[tokio::test]
async fn a_call_cancelled_before_its_head_shows_nothing_of_its_method() {
    let last = Last::default();
    let layer = ObserveLayer::new(last.clone());
    let mut service = layer.layer(service_fn(|_: Request<()>| {
        std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>()
    }));
    let leave = |service: &mut _| {
        let request = Request::post("/pkg.Service/Method")
            .header(CONTENT_TYPE, "application/grpc")
            .body(())
            .unwrap();
        drop(Service::call(service, request));
    };
    leave(&mut service);
    assert_eq!(
        *last.0.lock().unwrap(),
        "_unmatched_ 499 cancelled Some(CANCELLED)"
    );
    call(
        &layer,
        "/pkg.Service/Method",
        "application/grpc",
        Answer {
            trailers: Some("0"),
            ..GRPC
        },
    )
    .await;
    leave(&mut service);
    assert_eq!(
        *last.0.lock().unwrap(),
        "/pkg.Service/Method 499 cancelled Some(CANCELLED)"
    );
}

#[tokio::test]
async fn a_route_of_the_hosts_holds() {
    let last = Last::default();
    let layer = ObserveLayer::builder(last.clone())
        .route(|_| Some(Route::from_static("/mine")))
        .build();
    call(
        &layer,
        "/pkg.Service/Method",
        "application/grpc",
        Answer {
            trailers: Some("12"),
            ..GRPC
        },
    )
    .await;
    assert_eq!(
        *last.0.lock().unwrap(),
        "/mine 200 completed Some(UNIMPLEMENTED)"
    );
}

#[tokio::test]
async fn a_call_that_is_dropped_after_its_deadline_is_deadline_exceeded() {
    async fn check(timeout: Option<&'static str>, has_head: bool, after: u64, expected: &str) {
        let begun = Clock::system().now();
        let now = Arc::new(Mutex::new(begun));
        let clock = Clock::new({
            let now = Arc::clone(&now);
            move || *now.lock().unwrap()
        });
        let last = Last::default();
        let layer = ObserveLayer::builder(last.clone()).clock(clock).build();
        let mut service = layer.layer(service_fn(move |_: Request<()>| async move {
            if !has_head {
                std::future::pending::<()>().await;
            }
            let (sender, body) = Channel::<Bytes, Infallible>::new(1);
            let body = body.map_frame(move |frame| {
                let _open = &sender;
                frame
            });
            let mut response = Response::new(body);
            let grpc = "application/grpc".parse().unwrap();
            response.headers_mut().insert(CONTENT_TYPE, grpc);
            Ok::<_, Infallible>(response)
        }));
        let mut request =
            Request::post("/pkg.Service/Method").header(CONTENT_TYPE, "application/grpc");
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let mut future = Box::pin(service.call(request.body(()).unwrap()));
        let response = super::futures_poll_once(future.as_mut());
        assert_eq!(response.is_some(), has_head);
        *now.lock().unwrap() = begun + Duration::from_millis(after);
        drop((future, response));
        let last = last.0.lock().unwrap();
        assert!(last.ends_with(expected), "{last}");
    }
    for has_head in [false, true] {
        let exceeded = "cancelled Some(DEADLINE_EXCEEDED)";
        let cancelled = "cancelled Some(CANCELLED)";
        check(Some("100m"), has_head, 100, exceeded).await;
        check(Some("100m"), has_head, 50, cancelled).await;
        check(Some("1S"), has_head, 5_000, exceeded).await;
        check(Some("1s"), has_head, 5_000, cancelled).await;
        check(None, has_head, 5_000, cancelled).await;
    }
}

#[tokio::test]
async fn a_rejection_by_a_layer_makes_no_route() {
    let last = Last::default();
    let layer = ObserveLayer::new(last.clone());
    let content_type = "application/grpc";
    for number in 0..200 {
        let rejection = Answer {
            headers: Some("8"),
            data: false,
            ..GRPC
        };
        let path = format!("/evil.Text/Number{number}");
        call(&layer, &path, content_type, rejection).await;
        let line = "_unmatched_ 200 completed Some(RESOURCE_EXHAUSTED)";
        assert_eq!(*last.0.lock().unwrap(), line);
    }
    let ok = Answer {
        trailers: Some("0"),
        ..GRPC
    };
    call(&layer, "/orders.Orders/Get", content_type, ok).await;
    let line = "/orders.Orders/Get 200 completed Some(OK)";
    assert_eq!(*last.0.lock().unwrap(), line);
}

/// Returns the latency in seconds of a call whose response has these frames, 1 s after each other.
async fn latency_of(frames: Vec<Frame<Bytes>>, content_type: &'static str) -> u64 {
    #[derive(Clone, Default)]
    struct Latency(Arc<Mutex<Duration>>);

    impl Observer for Latency {
        type Exchange = ();
        fn begin(&self, _: &mut RequestHead<'_>) {}
        fn end(&self, (): (), end: &End) {
            *self.0.lock().unwrap() = end.latency();
        }
    }
    #[expect(clippy::disallowed_methods, reason = "the test is the edge")]
    let time = Arc::new(Mutex::new(std::time::Instant::now()));
    let clock = {
        let time = Arc::clone(&time);
        Clock::new(move || *time.lock().unwrap())
    };
    let latency = Latency::default();
    let layer = ObserveLayer::builder(latency.clone()).clock(clock).build();
    let mut frames = Some(frames);
    let mut service = layer.layer(service_fn(|_| {
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(8);
        for frame in frames.take().unwrap() {
            sender.try_send(frame).unwrap();
        }
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        std::future::ready(Ok::<_, Infallible>(response))
    }));
    let request = Request::post("/pkg.Service/Method")
        .header(CONTENT_TYPE, "application/grpc")
        .body(())
        .unwrap();
    let mut body = service.call(request).await.unwrap().into_body();
    loop {
        *time.lock().unwrap() += Duration::from_secs(1);
        if body.frame().await.is_none() {
            break;
        }
    }
    drop(body);
    latency.0.lock().unwrap().as_secs()
}

#[tokio::test]
async fn the_latency_of_a_call_ends_with_its_first_message() {
    let message = || Frame::data(Bytes::from("data"));
    let trailers = || Frame::trailers(status("0"));
    let grpc = "application/grpc";
    assert_eq!(latency_of(vec![message(), trailers()], grpc).await, 1);
    let stream = vec![message(), message(), message(), trailers()];
    assert_eq!(latency_of(stream, grpc).await, 1);
    assert_eq!(latency_of(vec![trailers()], grpc).await, 1);
    // Any other response lasts to its last byte.
    assert_eq!(
        latency_of(vec![message(), message()], "text/plain").await,
        3
    );
}

#[tokio::test]
async fn calls_of_the_health_service_are_left_out_by_default() {
    let path = "/grpc.health.v1.Health/Check";
    let answer = Answer {
        trailers: Some("0"),
        ..GRPC
    };
    let last = Last::default();
    let layer = ObserveLayer::new(last.clone());
    call(&layer, path, "application/grpc", answer.clone()).await;
    assert_eq!(*last.0.lock().unwrap(), "");
    // Another kind of request can't hide behind the path.
    call(&layer, path, "application/json", answer.clone()).await;
    assert_eq!(*last.0.lock().unwrap(), "_unmatched_ 200 completed None");
    let builder = ObserveLayer::builder(last.clone());
    let layer = builder.include_grpc_health().build();
    call(&layer, path, "application/grpc", answer).await;
    let expected = format!("{path} 200 completed Some(OK)");
    assert_eq!(*last.0.lock().unwrap(), expected);
}

#[tokio::test]
async fn the_status_of_grpc_web_is_in_the_body() {
    async fn check(request: &str, response: Response<Vec<&'static [u8]>>, expected: &str) {
        let last = Last::default();
        let layer = ObserveLayer::new(last.clone());
        let (head, chunks) = response.into_parts();
        let mut service = layer.layer(service_fn(async |_| {
            let (mut sender, body) = Channel::<Bytes, Infallible>::new(4);
            for chunk in &chunks {
                sender.send_data(Bytes::from_static(chunk)).await.unwrap();
            }
            Ok::<_, Infallible>(Response::from_parts(head.clone(), body))
        }));
        let request = Request::post("/pkg.Service/Method")
            .header(CONTENT_TYPE, request)
            .body(Empty::<Bytes>::new());
        let response = service.call(request.unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap();
        assert_eq!(*last.0.lock().unwrap(), expected);
    }
    let web = |headers: &[(&str, &str)]| {
        let mut response = Response::builder();
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response
    };
    let binary = ("content-type", "application/grpc-web+proto");
    let body = || vec![&b"\0\0\0\0\x02ab\x80\0\0\0\x11grpc-"[..], b"status: 14\r\n"];
    let response = web(&[binary]).body(body()).unwrap();
    let failed = "/pkg.Service/Method 200 completed Some(UNAVAILABLE)";
    check(binary.1, response, failed).await;
    let text = ("content-type", "application/grpc-web-text");
    let encoded = vec![&b"gAAAABFncnBjLXN0YXR1czogMTQNCg=="[..]];
    let response = web(&[text]).body(encoded).unwrap();
    check(text.1, response, failed).await;
    // A response that has trailers alone.
    let response = web(&[binary, ("grpc-status", "14")]).body(vec![]).unwrap();
    let rejected = "_unmatched_ 200 completed Some(UNAVAILABLE)";
    check(binary.1, response, rejected).await;
    // A body that ends too early, and a body that a layer has compressed.
    let response = web(&[binary]).body(vec![&b"\0\0\0\0\x02ab"[..]]).unwrap();
    let cut = "/pkg.Service/Method 200 completed Some(UNKNOWN)";
    check(binary.1, response, cut).await;
    let gzip = ("content-encoding", "gzip");
    let response = web(&[binary, gzip]).body(body()).unwrap();
    check(binary.1, response, "_unmatched_ 200 completed None").await;
}
