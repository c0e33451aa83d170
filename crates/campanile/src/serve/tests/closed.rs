//! What closes connections, and how it is counted.

use campanile_metrics::Value;

use super::*;

impl Server {
    async fn closed(&self, reason: &str, expected: u64) {
        let metrics = self.campanile.metrics();
        let closed = || {
            let labels = [("reason", reason)];
            metrics.get("campanile_server_connections_closed_total", &labels)
        };
        eventually(reason, || closed() == Some(Value::Counter(expected))).await;
    }
}

#[tokio::test]
async fn each_connection_is_counted_by_what_closed_it() {
    let (short, long) = (Duration::from_millis(200), Duration::from_secs(60));
    let large = format!(
        "GET / HTTP/1.1\r\nhost: a\r\ncookie: {}\r\n\r\n",
        "a".repeat(1 << 20)
    );
    for (sent, answer, reason, header_timeout, idle_timeout) in [
        (
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200",
            "client",
            long,
            long,
        ),
        ("\0\0\r\n\r\n", "HTTP/1.1 400", "bad_request", long, long),
        (&*large, "", "head_too_large", long, long),
        ("GET /", "", "head_timeout", short, long),
        (GET, "HTTP/1.1 200", "idle", long, short),
    ] {
        let server = Server::start(app(), |serve| {
            serve
                .header_timeout(header_timeout)
                .idle_timeout(idle_timeout)
        });
        let server = server.await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // The server may close before it has read all of it.
        let _ = stream.write_all(sent.as_bytes()).await;
        let received = rest(stream).await;
        assert!(received.starts_with(answer), "{reason}: {received}");
        server.closed(reason, 1).await;
    }
}

/// A proxy's body fails as its upstream's connection does, for which the client is not to blame.
#[tokio::test]
async fn a_body_of_the_application_that_fails_is_an_error() {
    for kind in [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset] {
        let body = move || {
            let failed = Err::<http_body::Frame<axum::body::Bytes>, _>(io::Error::from(kind));
            let frames = futures_util::stream::once(std::future::ready(failed));
            axum::body::Body::new(http_body_util::StreamBody::new(frames))
        };
        let app = Router::new().route("/", get(async move || body()));
        let server = Server::start(app, |serve| serve).await;
        rest(server.send(GET).await).await;
        server.closed("error", 1).await;
    }
}

#[tokio::test]
async fn a_connection_ends_at_its_age_after_its_requests() {
    let server = Server::start(app(), |serve| serve.max_connection_age(Duration::ZERO)).await;
    let mut kept = server.send(GET).await;
    response(&mut kept).await;
    assert_eq!(rest(kept).await, "");
    server.closed("age", 1).await;
}

#[tokio::test]
async fn a_connection_has_the_streams_that_are_set() {
    let (entered, mut waiting) = mpsc::channel(10);
    let handler = get(async move || -> &'static str {
        entered.send(()).await.unwrap();
        std::future::pending().await
    });
    let app = Router::new().route("/stuck", handler);
    let server = Server::start(app, |serve| serve.max_streams(2)).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let mut sender = sender.clone();
        let request = Request::get("http://test/stuck").body(Empty::<&[u8]>::new());
        tokio::spawn(async move { sender.send_request(request.unwrap()).await });
    }
    for _ in 0..2 {
        waiting.recv().await.unwrap();
    }
    timeout(Duration::from_millis(200), waiting.recv())
        .await
        .expect_err("a third request was begun");
}

#[tokio::test]
async fn a_connection_that_is_cut_or_panics_is_counted_once() {
    let (entered, mut waiting) = mpsc::channel(1);
    let stuck = get(async move || -> &'static str {
        entered.send(()).await.unwrap();
        std::future::pending().await
    });
    let panic = get(async || -> &'static str { panic!("on purpose") });
    let app = app().route("/stuck", stuck).route("/panic", panic);
    let server = Server::start(app, |serve| serve).await;
    let head = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    let panicked = server.send(&head("/panic")).await;
    assert_eq!(rest(panicked).await, "");
    let _stuck = server.send(&head("/stuck")).await;
    waiting.recv().await.unwrap();
    server.closed("error", 1).await;
    let campanile = server.campanile.clone();
    // Time moves once no task has work, so the cut has all the time that it takes.
    tokio::time::pause();
    server.stop.send(()).unwrap();
    server.serving.await.unwrap().unwrap();
    let closed = |reason| {
        let labels = [("reason", reason)];
        let metrics = campanile.metrics();
        metrics.get("campanile_server_connections_closed_total", &labels)
    };
    assert_eq!(closed("cut"), Some(Value::Counter(1)));
    assert_eq!(closed("stop"), Some(Value::Counter(0)));
}

/// The last write of counts follows the server.
#[tokio::test]
async fn streams_that_are_cut_have_ended_before_the_server_returns() {
    let (entered, mut waiting) = mpsc::channel(100);
    let stuck = get(async move || -> &'static str {
        entered.send(()).await.unwrap();
        std::future::pending().await
    });
    let campanile = Campanile::builder("test").build().unwrap();
    let app = campanile.wrap(Router::new().route("/stuck", stuck));
    let server = Server::of(campanile, app, |serve| serve).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    for _ in 0..100 {
        let mut sender = sender.clone();
        let request = Request::get("http://test/stuck").body(Empty::<&[u8]>::new());
        tokio::spawn(async move { sender.send_request(request.unwrap()).await });
    }
    for _ in 0..100 {
        waiting.recv().await.unwrap();
    }
    let campanile = server.campanile.clone();
    let serving = server.serving;
    // Time moves once no task has work, so the cut has all the time that it takes.
    tokio::time::pause();
    server.stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    let metrics = campanile.metrics();
    assert_eq!(
        metrics.get("http_requests_in_flight", &[]),
        Some(Value::Gauge(0.0))
    );
}
