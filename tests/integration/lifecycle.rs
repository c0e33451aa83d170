use std::convert::Infallible;
use std::io;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use bytes::Bytes;
use campanile::http::{GrpcStatus, Outcome};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::host::{Connection, Host, VERSIONS, request};

/// A response whose body the test sends.
fn streamed<E: Into<axum::BoxError> + Send + 'static>(
    head: http::response::Builder,
) -> (Sender<Bytes, E>, Response<Body>) {
    let (sender, body) = Channel::new(1);
    (sender, head.body(Body::new(body)).unwrap())
}

/// An app with one route, `/`, and what that sends bodies through.
fn app(content_type: &'static str) -> (Router, mpsc::Receiver<Sender<Bytes, io::Error>>) {
    let (senders, received) = mpsc::channel(1);
    let handler = get(async move || {
        let (sender, response) = streamed(Response::builder().header("content-type", content_type));
        senders.send(sender).await.unwrap();
        response
    });
    (Router::new().route("/", handler), received)
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_is_499_and_no_fault() {
    for version in VERSIONS {
        let host = Host::start(Router::new().route(
            "/",
            get(async || std::future::pending::<&'static str>().await),
        ))
        .await;
        let mut connection = Connection::open(version, host.address).await;
        let leaving = tokio::spawn(async move { connection.get("/").await.map(drop) });
        host.in_flight(1.0).await;
        leaving.abort();
        host.in_flight(0.0).await;
        assert_eq!(
            host.count("http_requests_total", Some(("status_code", "499"))),
            1
        );
        assert_eq!(host.count("http_requests_total", None), 1);
        assert_eq!(
            host.count(
                "http_requests_incomplete_total",
                Some(("outcome", "cancelled"))
            ),
            1
        );
        assert_eq!(host.count("http_request_duration_seconds", None), 1);
        assert_eq!(host.good_and_bad(), (0, 0));
        drop(host.stop().await);
    }
}

#[tokio::test]
async fn a_client_that_leaves_after_the_head_has_its_status() {
    for version in VERSIONS {
        let (app, mut senders) = app("text/plain");
        let host = Host::start(app).await;
        let mut connection = Connection::open(version, host.address).await;
        let response = connection.get("/").await.unwrap();
        let mut body = response.into_body();
        let mut sender = senders.recv().await.unwrap();
        sender.send_data(Bytes::from("half")).await.unwrap();
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "half"
        );
        host.in_flight(1.0).await;
        drop((body, connection));
        host.in_flight(0.0).await;
        assert_eq!(
            host.count("http_requests_total", Some(("status_code", "200"))),
            1
        );
        assert_eq!(
            host.count(
                "http_requests_incomplete_total",
                Some(("outcome", "cancelled"))
            ),
            1
        );
        assert_eq!(host.ends()[0].body_bytes(), 4);
        assert_eq!(host.good_and_bad(), (0, 0));
        drop(host.stop().await);
    }
}

#[tokio::test]
async fn a_panic_is_500_or_the_heads_status_and_a_fault() {
    struct Bomb;
    impl http_body::Body for Bomb {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            panic!("in body, on purpose")
        }
    }
    for version in VERSIONS {
        let app = Router::new()
            .route(
                "/handler",
                get(async || -> &'static str { panic!("in handler, on purpose") }),
            )
            .route("/body", get(async || Body::new(Bomb)));
        let host = Host::start(app).await;
        for (path, status) in [("/handler", "500"), ("/body", "200")] {
            let mut connection = Connection::open(version, host.address).await;
            match connection.get(path).await {
                Ok(response) => assert!(response.into_body().collect().await.is_err()),
                Err(error) => assert!(!error.is_timeout()),
            }
            host.in_flight(0.0).await;
            assert_eq!(
                host.count("http_requests_total", Some(("status_code", status))),
                1
            );
        }
        assert_eq!(host.count("http_requests_total", None), 2);
        assert_eq!(
            host.count(
                "http_requests_incomplete_total",
                Some(("outcome", "panicked"))
            ),
            2
        );
        assert_eq!(host.good_and_bad(), (0, 2));
        drop(host.stop().await);
    }
}

#[tokio::test]
async fn a_body_error_keeps_its_200_and_is_a_fault() {
    for version in VERSIONS {
        let (app, mut senders) = app("text/plain");
        let host = Host::start(app).await;
        let mut connection = Connection::open(version, host.address).await;
        let body = connection.get("/").await.unwrap().into_body();
        let mut sender = senders.recv().await.unwrap();
        sender.send_data(Bytes::from("half")).await.unwrap();
        sender.abort(io::Error::other("on purpose"));
        body.collect().await.unwrap_err();
        host.in_flight(0.0).await;
        assert_eq!(
            host.count("http_requests_total", Some(("status_code", "200"))),
            1
        );
        assert_eq!(
            host.count(
                "http_requests_incomplete_total",
                Some(("outcome", "body_error"))
            ),
            1
        );
        assert_eq!(host.good_and_bad(), (0, 1));
        drop(host.stop().await);
    }
}

#[tokio::test]
async fn a_stream_lasts_to_its_last_byte_and_an_event_stream_counts_to_its_head() {
    for version in VERSIONS {
        for content_type in ["application/octet-stream", "text/event-stream"] {
            let (app, mut senders) = app(content_type);
            let host = Host::start(app).await;
            let mut connection = Connection::open(version, host.address).await;
            let mut body = connection.get("/").await.unwrap().into_body();
            let mut sender = senders.recv().await.unwrap();
            #[expect(clippy::disallowed_methods, reason = "the test is the edge")]
            let open = Instant::now();
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                sender.send_data(Bytes::from("data: 1\n\n")).await.unwrap();
                body.frame().await.unwrap().unwrap();
                host.in_flight(1.0).await;
            }
            let open = open.elapsed();
            drop(sender);
            assert_eq!(body.collect().await.unwrap().to_bytes(), "");
            host.in_flight(0.0).await;
            let end = &host.ends()[0];
            assert_eq!((end.outcome(), end.body_bytes()), (Outcome::Completed, 45));
            assert!(end.duration() >= open);
            assert_eq!(
                end.latency() >= open,
                content_type != "text/event-stream",
                "{end:?}"
            );
            assert_eq!(host.good_and_bad(), (1, 0));
            drop(host.stop().await);
        }
    }
}

/// Accepts upgrades and echoes what it receives.
fn echo() -> Router {
    Router::new().fallback(async |request: Request| {
        let status = if request.method() == Method::CONNECT {
            StatusCode::OK
        } else if request.headers().contains_key("upgrade") {
            StatusCode::SWITCHING_PROTOCOLS
        } else {
            return StatusCode::NOT_FOUND.into_response();
        };
        tokio::spawn(async move {
            let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
            let mut bytes = [0; 2];
            while io.read_exact(&mut bytes).await.is_ok() {
                io.write_all(&bytes).await.unwrap();
            }
        });
        if status == StatusCode::OK {
            return status.into_response();
        }
        (status, [("connection", "upgrade"), ("upgrade", "echo")]).into_response()
    })
}

#[tokio::test]
async fn an_upgrade_ends_the_request_and_is_a_gauge_until_its_own_end() {
    for (version, method, websocket) in [
        (Version::HTTP_11, Method::GET, false),
        (Version::HTTP_11, Method::CONNECT, false),
        (Version::HTTP_2, Method::CONNECT, false),
        (Version::HTTP_2, Method::CONNECT, true),
    ] {
        let host = Host::start(echo()).await;
        let mut connection = Connection::open(version, host.address).await;
        let mut request = request(method.clone(), "/");
        if method == Method::GET {
            let headers = request.headers_mut();
            headers.insert("connection", HeaderValue::from_static("upgrade"));
            headers.insert("upgrade", HeaderValue::from_static("echo"));
        } else if websocket {
            let protocol = hyper::ext::Protocol::from_static("websocket");
            request.extensions_mut().insert(protocol);
        } else {
            *request.uri_mut() = "test:80".parse().unwrap();
        }
        let response = connection.send(request).await.unwrap();
        let status = if method == Method::GET { "101" } else { "200" };
        assert_eq!(response.status().as_str(), status);
        let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        for bytes in [*b"hi", *b"ho"] {
            io.write_all(&bytes).await.unwrap();
            let mut echoed = [0; 2];
            io.read_exact(&mut echoed).await.unwrap();
            assert_eq!(echoed, bytes);
        }
        host.gauge("http_upgraded_connections", 1.0).await;
        host.in_flight(0.0).await;
        assert_eq!(
            host.count("http_requests_total", Some(("status_code", status))),
            1
        );
        assert_eq!(host.count("http_requests_incomplete_total", None), 0);
        drop(io);
        host.gauge("http_upgraded_connections", 0.0).await;
        if version == Version::HTTP_2 {
            // The connection goes on, and its other streams are no upgrades.
            let refused = connection.get("/").await.unwrap();
            assert_eq!(refused.status(), StatusCode::NOT_FOUND);
            host.gauge("http_upgraded_connections", 0.0).await;
        }
        drop(connection);
        drop(host.stop().await);
    }
}

fn grpc_status(text: &'static str) -> HeaderMap {
    [(
        "grpc-status".parse().unwrap(),
        HeaderValue::from_static(text),
    )]
    .into_iter()
    .collect()
}

#[tokio::test]
async fn a_calls_status_is_that_of_its_trailers_or_headers() {
    /// (headers, trailers, the status that counts, whether it is a fault)
    const CASES: [(Option<&str>, Option<&str>, GrpcStatus, bool); 9] = [
        (None, Some("0"), GrpcStatus::OK, false),
        (None, Some("5"), GrpcStatus::NOT_FOUND, false),
        (None, Some("14"), GrpcStatus::UNAVAILABLE, true),
        (Some("0"), Some("13"), GrpcStatus::INTERNAL, true),
        (Some("16"), None, GrpcStatus::UNAUTHENTICATED, false),
        (None, None, GrpcStatus::UNKNOWN, true),
        (None, Some("-1"), GrpcStatus::UNKNOWN, true),
        (None, Some("fine"), GrpcStatus::UNKNOWN, true),
        (
            None,
            Some("99999999999999999999"),
            GrpcStatus::UNKNOWN,
            true,
        ),
    ];
    let handler = post(async |request: Request| {
        let case: usize = request.headers()["case"].to_str().unwrap().parse().unwrap();
        let (headers, trailers, ..) = CASES[case];
        let (mut sender, mut response) =
            streamed::<Infallible>(Response::builder().header("content-type", "application/grpc"));
        if let Some(status) = headers {
            response.headers_mut().extend(grpc_status(status));
        }
        let Some(trailers) = trailers else {
            return response.map(|_| Body::empty());
        };
        tokio::spawn(async move {
            sender.send_data(Bytes::from("data")).await.unwrap();
            sender
                .send(Frame::trailers(grpc_status(trailers)))
                .await
                .unwrap();
        });
        response
    });
    let host = Host::start(Router::new().route("/pkg.Service/Method", handler)).await;
    let mut connection = Connection::open(Version::HTTP_2, host.address).await;
    for (case, (_, trailers, status, _)) in CASES.into_iter().enumerate() {
        let mut request = request(Method::POST, "/pkg.Service/Method");
        request
            .headers_mut()
            .insert("content-type", HeaderValue::from_static("application/grpc"));
        request.headers_mut().insert("case", case.into());
        let response = connection.send(request).await.unwrap();
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().is_some(), trailers.is_some());
        host.in_flight(0.0).await;
        let end = host.ends().pop().unwrap();
        assert_eq!(end.grpc(), Some(status), "case {case}");
        assert_eq!(
            (end.status(), end.outcome()),
            (StatusCode::OK, Outcome::Completed)
        );
    }
    let bad = CASES.iter().filter(|(.., is_bad)| *is_bad).count() as u64;
    assert_eq!(host.good_and_bad(), (CASES.len() as u64 - bad, bad));
    drop(connection);
    drop(host.stop().await);
}

#[tokio::test]
async fn responses_without_a_body_are_complete_with_their_head() {
    for version in VERSIONS {
        let app = Router::new()
            .route("/full", get(async || "never sent to HEAD"))
            .route("/204", any(async || StatusCode::NO_CONTENT))
            .route("/304", any(async || StatusCode::NOT_MODIFIED));
        let host = Host::start(app).await;
        let mut connection = Connection::open(version, host.address).await;
        for (method, path, status) in [
            (Method::HEAD, "/full", 200),
            (Method::GET, "/204", 204),
            (Method::GET, "/304", 304),
        ] {
            let response = connection.send(request(method, path)).await.unwrap();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "");
            host.in_flight(0.0).await;
            let end = host.ends().pop().unwrap();
            assert_eq!(
                (end.status().as_u16(), end.outcome(), end.body_bytes()),
                (status, Outcome::Completed, 0)
            );
        }
        drop(connection);
        drop(host.stop().await);
    }
}

#[tokio::test]
async fn http_1_0_and_interim_responses_are_exchanges_like_others() {
    let host = Host::start(Router::new().route("/", any(async |body: String| body + "ok"))).await;
    for (head, body, answer) in [
        ("GET / HTTP/1.0\r\n\r\n", "", "ok"),
        ("POST / HTTP/1.0\r\ncontent-length: 2\r\n\r\n", "hi", "hiok"),
        (
            "POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n",
            "hi",
            "hiok",
        ),
    ] {
        let mut stream = TcpStream::connect(host.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut read = String::new();
        if head.contains("100-continue") {
            let mut interim = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
            stream.read_exact(&mut interim).await.unwrap();
            assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        stream.write_all(body.as_bytes()).await.unwrap();
        stream.read_to_string(&mut read).await.unwrap();
        assert!(read.ends_with(&format!("\r\n\r\n{answer}")), "{read}");
        host.in_flight(0.0).await;
        let end = host.ends().pop().unwrap();
        assert_eq!(
            (end.outcome(), end.body_bytes()),
            (Outcome::Completed, answer.len() as u64)
        );
    }
    assert_eq!(
        host.count("http_requests_total", Some(("status_code", "200"))),
        3
    );
    assert_eq!(host.count("http_requests_total", None), 3);
    drop(host.stop().await);
}
