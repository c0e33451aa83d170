//! Clients that send or read slowly, and connections at the limit.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, Bytes};
use http_body_util::StreamBody;

use super::*;

const LIMIT: Duration = Duration::from_millis(200);

/// A body without an end.
fn endless() -> Body {
    let chunk = || Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(&[b'a'; 16_384])));
    let frames = futures_util::stream::repeat_with(chunk);
    Body::new(StreamBody::new(frames))
}

fn slow_app() -> Router {
    app()
        .route("/endless", get(async || endless()))
        .route(
            "/quiet",
            get(async || {
                let never =
                    futures_util::stream::pending::<Result<http_body::Frame<Bytes>, Infallible>>();
                Body::new(StreamBody::new(never))
            }),
        )
        .route(
            "/upload",
            axum::routing::post(async |body: Result<Bytes, _>| match body {
                Ok(body) => Ok(body.len().to_string()),
                Err(axum::extract::rejection::BytesRejection::FailedToBufferBody(error)) => {
                    Err(error)
                }
                Err(_) => panic!("expected a failure to read"),
            }),
        )
}

#[cfg(feature = "metrics")]
impl Server {
    fn timeouts(&self, stage: &str) -> Option<campanile_metrics::Value> {
        let labels = [("stage", stage)];
        self.campanile
            .metrics()
            .get("campanile_server_timeouts_total", &labels)
    }
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    use campanile_metrics::Value;

    let server = Server::start(slow_app(), |serve| serve.write_timeout(LIMIT)).await;
    let unread = server
        .send("GET /endless HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    // A response that has nothing to send waits for no client.
    let mut quiet = server
        .send("GET /quiet HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    eventually("the connection stays open", || {
        server.timeouts("response") == Some(Value::Counter(1))
    })
    .await;
    eventually("the connection stays open", || {
        server.metric("campanile_server_connections") == "1"
    })
    .await;
    drop(unread);
    let mut bytes = [0; 1024];
    let read = timeout(Duration::from_secs(20), quiet.read(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    assert!(bytes[..read].starts_with(b"HTTP/1.1 200"));
    timeout(LIMIT * 2, quiet.read(&mut bytes))
        .await
        .expect_err("the quiet response was cut off");
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn a_stream_that_is_not_read_is_reset_and_its_connection_goes_on() {
    use campanile_metrics::Value;

    let server = Server::start(slow_app(), |serve| serve.write_timeout(LIMIT)).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut client = http2::Builder::new(TokioExecutor::new());
    client
        .initial_stream_window_size(65_535)
        .initial_connection_window_size(1 << 20);
    let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut send = async |path: &str| {
        let request = Request::get(format!("http://test{path}"));
        sender
            .send_request(request.body(Empty::<&[u8]>::new()).unwrap())
            .await
            .unwrap()
    };
    let unread = send("/endless").await;
    let quiet = send("/quiet").await;
    eventually("the stream stays open", || {
        server.timeouts("response") == Some(Value::Counter(1))
    })
    .await;
    // What had arrived can be read, and then there is an error.
    let read = timeout(Duration::from_secs(20), unread.into_body().collect())
        .await
        .unwrap();
    assert!(read.is_err());
    let answer = send("/").await;
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    timeout(LIMIT * 2, quiet.into_body().collect())
        .await
        .expect_err("the quiet response was cut off");
    assert_eq!(server.timeouts("response"), Some(Value::Counter(1)));
}

#[tokio::test]
async fn a_body_that_does_not_arrive_fails_its_request() {
    let server = Server::start(slow_app(), |serve| serve.body_timeout(LIMIT)).await;
    let head = "POST /upload HTTP/1.1\r\nhost: test\r\ncontent-length: 900\r\n\r\n";
    let silent = server.send(&format!("{head}a")).await;
    // Each byte is a sign of life, and not enough of one.
    let (dripping, mut drip) = server.send(head).await.into_split();
    let drip = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(LIMIT / 20);
        while drip.write_all(b"a").await.is_ok() {
            ticks.tick().await;
        }
    });
    assert!(rest(silent).await.starts_with("HTTP/1.1 400"));
    timeout(Duration::from_secs(20), drip)
        .await
        .expect("the dripping connection stays open")
        .unwrap();
    drop(dripping);
    // A body in time is read.
    let mut stream = server.send(head).await;
    stream.write_all(&[b'a'; 900]).await.unwrap();
    let mut bytes = [0; 1024];
    let read = timeout(Duration::from_secs(20), stream.read(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    assert!(bytes[..read].starts_with(b"HTTP/1.1 200"));
    #[cfg(feature = "metrics")]
    assert_eq!(
        server.timeouts("request_body"),
        Some(campanile_metrics::Value::Counter(2))
    );
}

#[tokio::test]
async fn the_request_stream_of_a_grpc_call_may_be_silent() {
    let ended = Arc::new(AtomicBool::new(false));
    let watched = Arc::clone(&ended);
    let read = axum::routing::post(async move |body: Bytes| {
        watched.store(true, Ordering::Relaxed);
        body.len().to_string()
    });
    let app = Router::new().route("/orders.Orders/Watch", read);
    let server = Server::start(app, |serve| serve.body_timeout(LIMIT)).await;
    let head = "POST /orders.Orders/Watch HTTP/1.1\r\nhost: test\r\ncontent-type: application/grpc+proto\r\ncontent-length: 2\r\n\r\na";
    let mut stream = server.send(head).await;
    let mut bytes = [0; 1024];
    timeout(LIMIT * 3, stream.read(&mut bytes))
        .await
        .expect_err("the call was cut off");
    assert!(!ended.load(Ordering::Relaxed));
    stream.write_all(b"b").await.unwrap();
    let read = timeout(Duration::from_secs(20), stream.read(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    assert!(bytes[..read].starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn the_connection_that_is_idle_longest_makes_room() {
    let server = Server::start(app(), |serve| serve.max_connections(3)).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = server.send(GET).await;
        response(&mut stream).await;
        streams.push(stream);
    }
    // The first is used again, so the second has been idle longest.
    streams[0].write_all(GET.as_bytes()).await.unwrap();
    response(&mut streams[0]).await;
    let mut late = server.send(GET).await;
    assert!(response(&mut late).await.starts_with("HTTP/1.1 200"));
    let second = streams.remove(1);
    assert_eq!(rest(second).await, "");
    for stream in &mut streams {
        stream.write_all(GET.as_bytes()).await.unwrap();
        assert!(response(stream).await.starts_with("HTTP/1.1 200"));
    }
    #[cfg(feature = "metrics")]
    assert_eq!(
        server.metric("campanile_server_connections_evicted_total"),
        "1"
    );
}

/// A client of HTTP/2 that never closes its connection makes room, too.
#[tokio::test]
async fn a_connection_that_ignores_the_request_to_close_is_cut() {
    let server = Server::start(app(), |serve| serve.max_connections(1)).await;
    let mut silent = server
        .send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await;
    let mut bytes = [0; 1024];
    timeout(Duration::from_secs(20), silent.read(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    // It may be answered from the reserve before.
    eventually_ok(&server, "/", "the silent connection keeps its place").await;
}

#[tokio::test]
async fn probes_are_answered_when_no_connection_is_idle() {
    let app = echo().route("/svc/livez", get(async || "ok"));
    let server = Server::start(app, |serve| serve.max_connections(1)).await;
    let _busy = upgraded(&server).await;
    for _ in 0..3 {
        let probe = server
            .send("GET /svc/livez HTTP/1.1\r\nhost: test\r\n\r\n")
            .await;
        let answer = rest(probe).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"),
            "{answer}"
        );
        let other = rest(server.send(GET).await).await;
        assert!(other.starts_with("HTTP/1.1 503"), "{other}");
        assert!(other.contains("retry-after: 1\r\n"), "{other}");
    }
}

/// An upgrade of HTTP/1 begins after the request's body, so it does not excuse a slow one.
#[tokio::test]
async fn a_header_of_the_client_does_not_turn_the_body_timeout_off() {
    let server = Server::start(slow_app(), |serve| serve.body_timeout(LIMIT)).await;
    for header in ["upgrade: x", "content-type: application/grpcx"] {
        let head = format!(
            "POST /upload HTTP/1.1\r\nhost: test\r\n{header}\r\ncontent-length: 9\r\n\r\na"
        );
        let answer = rest(server.send(&head).await).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{header}: {answer}");
    }
}

/// A handler that reads a part, works for a while and reads on does not use up the client's time.
#[tokio::test]
async fn the_pauses_of_a_handler_are_not_those_of_the_client() {
    let read = axum::routing::post(async |mut body: Body| {
        let first = timeout(Duration::from_millis(1), body.frame()).await;
        assert!(first.is_err());
        tokio::time::sleep(LIMIT * 3).await;
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => length += frame.data_ref().map_or(0, Bytes::len),
                Err(error) => return error.to_string(),
            }
        }
        length.to_string()
    });
    let app = Router::new().route("/", read);
    let server = Server::start(app, |serve| serve.body_timeout(LIMIT)).await;
    let head = "POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 4\r\n\r\n";
    let mut stream = server.send(head).await;
    // The data is there long before the handler reads it.
    tokio::time::sleep(LIMIT / 4).await;
    stream.write_all(b"aa").await.unwrap();
    tokio::time::sleep(LIMIT * 3).await;
    stream.write_all(b"bb").await.unwrap();
    let answer = rest(stream).await;
    assert!(answer.ends_with("\r\n\r\n4"), "{answer}");
}

/// The head of its next request may take as long as the head timeout says.
#[tokio::test]
async fn a_new_client_waits_for_the_place_of_an_idle_connection() {
    let server = Server::start(app(), |serve| serve.max_connections(1)).await;
    let _half_sent = server.send("GET / HTTP/1.1\r\nhost: te").await;
    tokio::time::sleep(LIMIT / 2).await;
    let get = "GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let answer = rest(server.send(get).await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_probe_does_not_wait_behind_other_requests() {
    let app = echo().route("/livez", get(async || "ok"));
    let server = Server::start(app, |serve| serve.max_connections(1)).await;
    let _busy = upgraded(&server).await;
    let mut others = Vec::new();
    for _ in 0..200 {
        others.push(server.send(GET).await);
    }
    let probe = server
        .send("GET /livez HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    // 50 ms for each of them would be 10 s.
    let answer = timeout(Duration::from_secs(5), rest(probe)).await;
    let answer = answer.expect("the probe waits behind the others");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// The end of the application's half of a tunnel leaves the other half open, also on a connection
/// whose earlier request had a body that was not read.
#[tokio::test]
async fn the_application_gets_what_a_client_sends_after_the_end_of_its_half() {
    let (received, mut receives) = mpsc::channel(1);
    let up = any(async move |request: axum::extract::Request| {
        tokio::spawn(async move {
            let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
            io.shutdown().await.unwrap();
            let mut text = String::new();
            io.read_to_string(&mut text).await.unwrap();
            received.send(text).await.unwrap();
        });
        (
            StatusCode::SWITCHING_PROTOCOLS,
            [("connection", "upgrade"), ("upgrade", "tunnel")],
        )
    });
    let unread = axum::routing::post(async || "ok");
    let app = Router::new().route("/", unread).route("/up", up);
    let server = Server::start(app, |serve| serve).await;
    let mut stream = server
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\nhi")
        .await;
    response(&mut stream).await;
    let head = "GET /up HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: tunnel\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = timeout(Duration::from_secs(20), stream.read_to_string(&mut answer));
    read.await.expect("the half stays open").unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    stream.write_all(b"late").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(receives.recv().await.unwrap(), "late");
}

/// A client that sends all of an upload before it reads gets the response that rejects it.
#[tokio::test]
async fn a_rejected_upload_can_be_sent_to_its_end() {
    const SIZE: usize = 8 << 20;
    let reject = axum::routing::post(async || StatusCode::PAYLOAD_TOO_LARGE);
    let server = Server::start(Router::new().route("/", reject), |serve| serve).await;
    let head = format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {SIZE}\r\n\r\n");
    let mut stream = server.send(&head).await;
    for _ in 0..SIZE / 65_536 {
        stream.write_all(&[b'a'; 65_536]).await.unwrap();
    }
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer:?}");
}
