//! Listeners other than that of TCP.

use super::*;

/// A handshake: the client sends `hi`, and the server responds with the same.
async fn greet(mut stream: TcpStream) -> io::Result<TcpStream> {
    let mut bytes = [0; 2];
    stream.read_exact(&mut bytes).await?;
    if bytes != *b"hi" {
        return Err(io::Error::other("impolite"));
    }
    stream.write_all(b"hi").await?;
    Ok(stream)
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let campanile = Campanile::builder("test").build().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let app = app().route(
        "/peer",
        get(
            async |peer: Option<axum::Extension<ConnectInfo<SocketAddr>>>| {
                peer.is_some().to_string()
            },
        ),
    );
    let serving = campanile.serve(listener, campanile.wrap(app));
    let serving = serving.with_graceful_shutdown(async { drop(stopped.await) });
    let serving = tokio::spawn(serving.into_future());
    let get = async |path: &str| {
        let mut stream = tokio::net::UnixStream::connect(dir.path().join("socket"))
            .await
            .unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    };
    assert!(get("/").await.ends_with("\r\n\r\nok"));
    // A client of a Unix socket may be a proxy: it is not known to be local.
    assert!(get("/peer").await.ends_with("false"));
    #[cfg(feature = "monitor")]
    {
        let text = get("/monitoring/sla/").await;
        assert!(text.starts_with("HTTP/1.1 401"), "{text}");
    }
    stop.send(()).unwrap();
    timeout(Duration::from_secs(20), serving)
        .await
        .expect("the server goes on")
        .unwrap()
        .unwrap();
}

/// Starts a server whose connections begin with the handshake. It ends with the runtime.
async fn polite(header_timeout: Duration) -> (Campanile, SocketAddr) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let campanile = Campanile::builder("test").build().unwrap();
    let serving = campanile
        .serve(tcp.with_handshake(greet), app())
        .header_timeout(header_timeout)
        .with_graceful_shutdown(std::future::pending());
    tokio::spawn(serving.into_future());
    (campanile, address)
}

#[tokio::test]
async fn a_handshake_holds_no_other_connection_up() {
    let (_campanile, address) = polite(Duration::from_secs(60)).await;
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut impolite = TcpStream::connect(address).await.unwrap();
    impolite.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let mut polite = TcpStream::connect(address).await.unwrap();
    polite.write_all(b"hi").await.unwrap();
    let mut greeting = [0; 2];
    timeout(Duration::from_secs(20), polite.read_exact(&mut greeting))
        .await
        .expect("the silent connection holds the others up")
        .unwrap();
    polite.write_all(GET.as_bytes()).await.unwrap();
    assert!(response(&mut polite).await.starts_with("HTTP/1.1 200"));
    assert_eq!(rest(impolite).await, "");
}

#[tokio::test]
async fn a_handshake_is_timed() {
    let (_campanile, address) = polite(Duration::from_millis(200)).await;
    let silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(rest(silent).await, "");
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn a_failed_handshake_is_counted_as_such() {
    use campanile_metrics::Value;

    let (campanile, address) = polite(Duration::from_secs(60)).await;
    let closed = |reason| {
        let labels = [("reason", reason)];
        let metrics = campanile.metrics();
        match metrics.get("campanile_server_connections_closed_total", &labels) {
            Some(Value::Counter(count)) => count,
            // The server has not begun.
            _ => 0,
        }
    };
    for (sent, reason) in [
        ("GET / HTTP/1.1\r\n", "handshake"),
        // The client leaves before the end.
        ("h", "client"),
        ("", "client"),
    ] {
        let before = closed(reason);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        rest(stream).await;
        eventually(reason, || closed(reason) > before).await;
    }
    assert_eq!(closed("error"), 0);
}

/// Fails each time at once, and stops the server at the tenth time.
struct Broken {
    accepted: usize,
    stop: Option<oneshot::Sender<()>>,
}

impl Listener for Broken {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        self.accepted += 1;
        if self.accepted == 10 {
            self.stop.take().unwrap().send(()).unwrap();
        }
        assert!(self.accepted < 10_000, "the server does not stop");
        Err(ErrorKind::ConnectionReset.into())
    }
}

#[tokio::test]
async fn a_listener_whose_connections_are_all_reset_lets_the_server_stop() {
    let campanile = Campanile::builder("test").build().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let listener = Broken {
        accepted: 0,
        stop: Some(stop),
    };
    let serving = campanile
        .serve(listener, app())
        .with_graceful_shutdown(async { drop(stopped.await) });
    timeout(Duration::from_secs(20), serving.into_future())
        .await
        .expect("the server goes on")
        .unwrap();
}
