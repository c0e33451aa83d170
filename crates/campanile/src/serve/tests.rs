use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{any, get};
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;

#[cfg(feature = "metrics")]
mod closed;
mod drain;
mod listener;
mod slow;
mod unsent;

/// A server on a free port, and what stops it.
struct Server {
    #[cfg_attr(
        not(feature = "metrics"),
        expect(dead_code, reason = "its metrics are read")
    )]
    campanile: Campanile,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
}

impl Server {
    async fn start(app: Router, with: impl FnOnce(Serve<Router>) -> Serve<Router>) -> Self {
        Self::of(Campanile::builder("test").build().unwrap(), app, with).await
    }

    async fn of(
        campanile: Campanile,
        app: Router,
        with: impl FnOnce(Serve<Router>) -> Serve<Router>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serve = with(campanile.serve(listener, app)).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        Self {
            campanile,
            address,
            stop,
            serving: tokio::spawn(serve.into_future()),
        }
    }

    /// What the campanile's page says of a metric without labels.
    #[cfg(feature = "metrics")]
    fn metric(&self, name: &str) -> String {
        let page = self.campanile.metrics().render();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in\n{page}"))
            .to_owned()
    }

    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }
}

/// Reads to the end of the stream, and fails if it doesn't come.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    // A connection that is cut may end with a reset.
    let _ = timeout(Duration::from_secs(20), stream.read_to_string(&mut text))
        .await
        .expect("the connection stays open");
    text
}

/// Reads one response with a body of two bytes.
async fn response(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\nok") {
        let mut bytes = [0; 1024];
        let read = timeout(Duration::from_secs(20), stream.read(&mut bytes))
            .await
            .expect("no response")
            .unwrap();
        assert_ne!(read, 0, "the connection was closed after {text:?}");
        text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    text
}

/// Waits until a condition holds.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let held = timeout(Duration::from_secs(20), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    held.await.unwrap_or_else(|_| panic!("{what}"));
}

/// Sends requests on new connections until one is answered with 200.
async fn eventually_ok(server: &Server, path: &str, what: &str) {
    let head = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    let answered = timeout(Duration::from_secs(20), async {
        while !rest(server.send(&head).await)
            .await
            .starts_with("HTTP/1.1 200")
        {}
    });
    answered.await.unwrap_or_else(|_| panic!("{what}"));
}

fn app() -> Router {
    Router::new().route("/", get(async || "ok"))
}

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

#[tokio::test]
async fn slow_heads_are_cut_off_while_others_are_served() {
    let server = Server::start(app(), |serve| serve.header_timeout(Duration::from_secs(1))).await;
    let mut other = server.send(GET).await;
    let mut half_sent = Vec::new();
    for head in ["", "G", "GET / HTTP/1.1\r\nhost: te", "PRI * HTTP/2.0\r\n"] {
        for _ in 0..10 {
            half_sent.push(server.send(head).await);
        }
    }
    // Each byte comes in time, and the head never does.
    let (dripping, mut drip) = server.send("GET / HTTP/1.1\r\n").await.into_split();
    let drip = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while drip.write_all(b"a").await.is_ok() {
            ticks.tick().await;
        }
    });
    assert!(response(&mut other).await.starts_with("HTTP/1.1 200"));
    for stream in half_sent {
        let answer = rest(stream).await;
        assert!(!answer.contains("200"), "{answer}");
    }
    timeout(Duration::from_secs(20), drip)
        .await
        .expect("the dripping connection stays open")
        .unwrap();
    drop(dripping);
    // The connection that was served has been idle for longer than that, which is no slow head.
    other.write_all(GET.as_bytes()).await.unwrap();
    assert!(response(&mut other).await.starts_with("HTTP/1.1 200"));
    // Its next head, half sent, is.
    other.write_all(b"GET / HT").await.unwrap();
    assert_eq!(rest(other).await, "");
}

#[tokio::test]
async fn slow_handlers_bodies_and_streams_are_not_slow_heads() {
    let slow = Duration::from_millis(1_200);
    let handler = get(async move || {
        tokio::time::sleep(slow).await;
        "ok"
    });
    let stream = get(async move || {
        let (mut sender, body) = http_body_util::channel::Channel::<&[u8], Infallible>::new(1);
        tokio::spawn(async move {
            for part in ["o", "k"] {
                tokio::time::sleep(slow / 2).await;
                sender.send_data(part.as_bytes()).await.unwrap();
            }
        });
        (
            [("content-length", "2")],
            axum::body::Body::new(body.map_err(io::Error::other).map_frame(to_bytes)),
        )
    });
    let app = app()
        .route("/slow", handler)
        .route("/stream", stream)
        .route("/echo", any(async |body: String| body));
    let server = Server::start(app, |serve| {
        serve.header_timeout(Duration::from_millis(600))
    })
    .await;
    let head = "HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n";
    let mut upload = server.send(&format!("POST /echo {head}o")).await;
    let mut stream = server
        .send("GET /stream HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    // The next head comes in one piece while the handler is busy.
    let mut pipelined = server
        .send(&format!("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n{GET}"))
        .await;
    tokio::time::sleep(slow).await;
    upload.write_all(b"k").await.unwrap();
    assert!(response(&mut upload).await.starts_with("HTTP/1.1 200"));
    assert!(response(&mut stream).await.starts_with("HTTP/1.1 200"));
    let mut both = response(&mut pipelined).await;
    if both.matches("HTTP/1.1 200").count() == 1 {
        both += &response(&mut pipelined).await;
    }
    assert_eq!(both.matches("HTTP/1.1 200").count(), 2);
}

fn to_bytes(frame: http_body::Frame<&'static [u8]>) -> http_body::Frame<axum::body::Bytes> {
    frame.map_data(axum::body::Bytes::from_static)
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let idle_timeout = Duration::from_millis(200);
    let server = Server::start(app(), |serve| serve.idle_timeout(idle_timeout)).await;
    let mut stream = server.send(GET).await;
    response(&mut stream).await;
    assert_eq!(rest(stream).await, "");

    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let closed = tokio::spawn(connection);
    let request = Request::get("http://test/")
        .body(Empty::<&[u8]>::new())
        .unwrap();
    assert_eq!(
        sender.send_request(request).await.unwrap().status(),
        StatusCode::OK
    );
    timeout(Duration::from_secs(20), closed)
        .await
        .expect("the connection stays open")
        .unwrap()
        .unwrap();
}

/// Answers every two bytes with a line of its own.
fn echo() -> Router {
    let upgrade = any(async |request: axum::extract::Request| {
        tokio::spawn(async move {
            let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
            let mut bytes = [0; 2];
            while io.read_exact(&mut bytes).await.is_ok() {
                io.write_all(b"\r\n\r\nok").await.unwrap();
            }
        });
        (
            StatusCode::SWITCHING_PROTOCOLS,
            [("connection", "upgrade"), ("upgrade", "echo")],
        )
    });
    app().route("/up", upgrade)
}

async fn upgraded(server: &Server) -> TcpStream {
    let mut stream = server
        .send("GET /up HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
        .await;
    let mut bytes = [0; 1024];
    let read = stream.read(&mut bytes).await.unwrap();
    assert!(bytes[..read].starts_with(b"HTTP/1.1 101"));
    stream
}

#[tokio::test]
async fn upgraded_and_http2_connections_may_be_silent_and_then_speak() {
    let header_timeout = Duration::from_millis(300);
    let server = Server::start(echo(), |serve| serve.header_timeout(header_timeout)).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut upgraded = upgraded(&server).await;
    for _ in 0..2 {
        tokio::time::sleep(header_timeout * 2).await;
        upgraded.write_all(b"hi").await.unwrap();
        assert_eq!(response(&mut upgraded).await, "\r\n\r\nok");
        let request = Request::get("http://test/")
            .body(Empty::<&[u8]>::new())
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    }
}

#[tokio::test]
async fn timeouts_that_never_end_are_fine() {
    let server = Server::start(app(), |serve| {
        serve
            .header_timeout(Duration::MAX)
            .idle_timeout(Duration::MAX)
            .stop_timeout(Duration::MAX)
    })
    .await;
    let mut stream = server.send(GET).await;
    response(&mut stream).await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    assert!(response(&mut stream).await.starts_with("HTTP/1.1 200"));
    server.stop.send(()).unwrap();
    timeout(Duration::from_secs(20), server.serving)
        .await
        .expect("the server goes on")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn an_upgraded_connection_counts_for_the_cap() {
    let server = Server::start(echo(), |serve| serve.max_connections(1)).await;
    let mut first = upgraded(&server).await;
    let second = server.send(GET).await;
    first.write_all(b"hi").await.unwrap();
    assert_eq!(response(&mut first).await, "\r\n\r\nok");
    // It is not idle, so the second one is not served.
    assert!(rest(second).await.starts_with("HTTP/1.1 503"));
    drop(first);
    eventually_ok(&server, "/", "the place is not free again").await;
}

#[tokio::test]
async fn a_stop_lets_requests_end_and_closes_idle_connections() {
    let (entered, mut waiting) = mpsc::channel(1);
    let release = Arc::new(tokio::sync::Notify::new());
    let handler = {
        let release = Arc::clone(&release);
        get(async move || {
            entered.send(()).await.unwrap();
            release.notified().await;
            "ok"
        })
    };
    let server = Server::start(app().route("/slow", handler), |serve| serve).await;
    let mut idle = server.send(GET).await;
    response(&mut idle).await;
    let mut busy = server
        .send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    waiting.recv().await.unwrap();
    server.stop.send(()).unwrap();
    assert_eq!(rest(idle).await, "");
    assert!(TcpStream::connect(server.address).await.is_err());
    assert!(!server.serving.is_finished());
    release.notify_one();
    assert!(response(&mut busy).await.starts_with("HTTP/1.1 200"));
    timeout(Duration::from_secs(20), server.serving)
        .await
        .expect("the server goes on")
        .unwrap()
        .unwrap();
}

#[cfg(feature = "health")]
#[tokio::test]
async fn health_checks_run_while_it_serves() {
    let campanile = Campanile::builder("test");
    let check = campanile_health::Check::new("db", || async { Ok::<_, &str>(()) }).critical();
    let campanile = campanile.check(check).build().unwrap();
    let app = campanile.wrap(app());
    let server = Server::of(campanile, app, |serve| serve).await;
    eventually_ok(&server, "/health/ready", "it is never ready").await;
    server.stop.send(()).unwrap();
    timeout(Duration::from_secs(20), server.serving)
        .await
        .expect("the server goes on")
        .unwrap()
        .unwrap();
    assert!(!server.campanile.health().report().is_running);
}

#[tokio::test]
async fn a_stop_has_an_end() {
    let (entered, mut waiting) = mpsc::channel(1);
    let handler = get(async move || -> &'static str {
        entered.send(()).await.unwrap();
        std::future::pending().await
    });
    let app = Router::new().route("/stuck", handler);
    let server = Server::start(app, |serve| serve.stop_timeout(Duration::from_millis(75))).await;
    let stuck = server
        .send("GET /stuck HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    waiting.recv().await.unwrap();
    server.stop.send(()).unwrap();
    timeout(Duration::from_secs(20), server.serving)
        .await
        .expect("the server goes on")
        .unwrap()
        .unwrap();
    assert_eq!(rest(stuck).await, "");
}

#[tokio::test]
async fn handlers_know_their_peer_and_a_panic_ends_one_connection_only() {
    let app = app()
        .route(
            "/peer",
            get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()),
        )
        .route(
            "/panic",
            get(async || -> &'static str { panic!("on purpose") }),
        );
    let server = Server::start(app, |serve| serve).await;
    let stream = server
        .send("GET /peer HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        .await;
    let own = stream.local_addr().unwrap().to_string();
    assert!(rest(stream).await.ends_with(&own));
    assert_eq!(
        rest(
            server
                .send("GET /panic HTTP/1.1\r\nhost: test\r\n\r\n")
                .await
        )
        .await,
        ""
    );
    let mut stream = server.send(GET).await;
    assert!(response(&mut stream).await.starts_with("HTTP/1.1 200"));
}
