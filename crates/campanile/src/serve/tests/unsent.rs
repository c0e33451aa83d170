//! Responses whose body has ended, and whose last bytes are not sent yet.
//!
//! Hyper drops a body once it has the data. A connection was taken for idle from then on, and closed
//! while a download went on; a client that did not read one was never cut off.

use axum::body::Body;

use super::*;

const SIZE: usize = 40 << 20;
const LIMIT: Duration = Duration::from_millis(200);

fn large_app() -> Router {
    app().route("/large", get(async || Body::from(vec![b'x'; SIZE])))
}

async fn http2(server: &Server) -> http2::SendRequest<Empty<&'static [u8]>> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut client = http2::Builder::new(TokioExecutor::new());
    client
        .initial_stream_window_size(65_535)
        .initial_connection_window_size(1 << 20);
    let (sender, connection) = client.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn large() -> Request<Empty<&'static [u8]>> {
    Request::get("http://test/large")
        .body(Empty::new())
        .unwrap()
}

#[tokio::test]
async fn a_download_is_not_closed_to_make_room() {
    let server = Server::start(large_app(), |serve| serve.max_connections(1)).await;
    let head = "GET /large HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let mut download = server.send(head).await;
    let mut bytes = vec![0; 65_536];
    let mut received = download.read(&mut bytes).await.unwrap();
    let other = rest(server.send(GET).await).await;
    assert!(other.starts_with("HTTP/1.1 503"), "{other}");
    // Longer than an evicted connection may take to close.
    tokio::time::sleep(Duration::from_secs(2)).await;
    loop {
        match download.read(&mut bytes).await.unwrap() {
            0 => break,
            read => received += read,
        }
    }
    assert!(received > SIZE, "{received}");
}

#[tokio::test]
async fn a_download_over_http2_is_not_idle() {
    let idle = Duration::from_millis(100);
    let server = Server::start(large_app(), |serve| serve.idle_timeout(idle)).await;
    let response = http2(&server).await.send_request(large()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes().len(), SIZE);
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn a_response_of_one_piece_that_is_not_read_is_reset() {
    use campanile_metrics::Value;

    let server = Server::start(large_app(), |serve| serve.write_timeout(LIMIT)).await;
    let mut sender = http2(&server).await;
    let mut unread = Vec::new();
    for _ in 0..3 {
        unread.push(sender.send_request(large()).await.unwrap());
    }
    let labels = [("stage", "response")];
    let reset = || {
        server
            .campanile
            .metrics()
            .get("campanile_server_timeouts_total", &labels)
    };
    eventually("the streams stay open", || {
        reset() == Some(Value::Counter(3))
    })
    .await;
    for response in unread {
        response.into_body().collect().await.unwrap_err();
    }
    // A slow reader that reads is none of them.
    let mut body = sender.send_request(large()).await.unwrap().into_body();
    for _ in 0..5 {
        tokio::time::sleep(LIMIT / 2).await;
        body.frame().await.unwrap().unwrap();
    }
    body.collect().await.unwrap();
}

/// Small responses are left to the buffers of HTTP/2; a client that reads none of them loses its
/// connection.
#[cfg(feature = "metrics")]
#[tokio::test]
async fn a_connection_with_small_responses_that_are_not_read_is_closed() {
    let server = Server::start(app(), |serve| serve.write_timeout(LIMIT)).await;
    // Its window for a stream is one byte, and the response has two.
    let settings = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\x01";
    let mut stream = server.send(settings).await;
    // GET / of the host a, in HPACK without compression.
    let mut head = vec![0, 0, 6, 1, 5, 0, 0, 0, 1];
    head.extend([0x82, 0x84, 0x86, 0x41, 1, b'a']);
    stream.write_all(&head).await.unwrap();
    let mut bytes = Vec::new();
    timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes))
        .await
        .expect("the connection stays open")
        .ok();
    let closed = [("reason", "response_timeout")];
    let metrics = server.campanile.metrics();
    assert_eq!(
        metrics.get("campanile_server_connections_closed_total", &closed),
        Some(campanile_metrics::Value::Counter(1))
    );
}

#[tokio::test]
async fn a_web_socket_over_http2_is_not_idle() {
    let up = any(async |request: axum::extract::Request| {
        tokio::spawn(async move {
            let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
            let mut bytes = [0; 2];
            while io.read_exact(&mut bytes).await.is_ok() {
                io.write_all(b"ok").await.unwrap();
            }
        });
        StatusCode::OK
    });
    let app = app().route("/ws", up);
    let idle = Duration::from_millis(100);
    let server = Server::start(app, |serve| serve.idle_timeout(idle)).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    // The server's settings arrive with the first response.
    let first = Request::get("http://test/")
        .body(Empty::<&[u8]>::new())
        .unwrap();
    sender.send_request(first).await.unwrap();
    let connect = Request::connect("http://test/ws")
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .body(Empty::<&[u8]>::new())
        .unwrap();
    let answer = sender.send_request(connect).await.unwrap();
    let mut io = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    // Far longer than the idle timeout and the time to close.
    tokio::time::sleep(Duration::from_secs(2)).await;
    io.write_all(b"hi").await.unwrap();
    let mut bytes = [0; 2];
    io.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ok");
}

/// Returns how many bytes a client on a slow network gets that reads all the time, or what ended it.
async fn slow_reader(write_timeout: Duration) -> Result<usize, String> {
    use axum::body::Bytes;
    use http_body_util::StreamBody;
    let chunk = || Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(&[b'a'; 4_096])));
    let app = Router::new().route(
        "/endless",
        get(async move || Body::new(StreamBody::new(futures_util::stream::repeat_with(chunk)))),
    );
    let campanile = Campanile::builder("test").build().unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(16 << 10).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = campanile
        .serve(listener, app)
        .write_timeout(write_timeout)
        .with_graceful_shutdown(std::future::pending());
    let serving = tokio::spawn(serve.into_future());
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 << 10).unwrap();
    let (mut from, mut to) = socket.connect(address).await.unwrap().into_split();
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (mut read, mut write) = tokio::io::split(ours);
    tokio::spawn(async move { tokio::io::copy(&mut read, &mut to).await });
    let closed = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        let mut bytes = vec![0; 3_000];
        let mut all = 0;
        // Four write timeouts.
        for _ in 0..200 {
            ticks.tick().await;
            match from.read(&mut bytes).await {
                Ok(0) => return Err(format!("end after {all} bytes")),
                Err(error) => return Err(format!("{error} after {all} bytes")),
                Ok(count) => {
                    all += count;
                    write.write_all(&bytes[..count]).await.unwrap();
                }
            }
        }
        Ok(all)
    });
    let mut client = http2::Builder::new(TokioExecutor::new());
    client
        .initial_stream_window_size(16 << 20)
        .initial_connection_window_size(16 << 20);
    let (mut sender, connection) = client.handshake(TokioIo::new(theirs)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://test/endless")
        .body(Empty::<&'static [u8]>::new())
        .unwrap();
    let mut body = sender.send_request(request).await.unwrap().into_body();
    tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
    let result = closed.await.unwrap();
    serving.abort();
    result
}

#[tokio::test]
async fn a_slow_reader_is_not_cut_off() {
    let result = slow_reader(Duration::from_secs(1)).await;
    result.unwrap();
}

#[tokio::test]
async fn a_silent_client_does_not_outlive_its_goodbye() {
    let idle = Duration::from_millis(100);
    for write_timeout in [Duration::from_secs(30), LIMIT] {
        let server = Server::start(app(), |serve| {
            serve.idle_timeout(idle).write_timeout(write_timeout)
        })
        .await;
        let settings = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let mut stream = server.send(settings).await;
        let mut bytes = Vec::new();
        let read = timeout(Duration::from_secs(8), stream.read_to_end(&mut bytes)).await;
        assert!(read.is_ok(), "{write_timeout:?}");
    }
}
