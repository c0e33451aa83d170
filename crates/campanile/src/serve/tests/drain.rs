//! Clients that keep their connections while the server stops.

use super::*;

const DELAY: Duration = Duration::from_secs(1);

#[tokio::test]
async fn clients_are_asked_to_move_while_the_server_drains() {
    let server = Server::start(app(), |serve| serve.drain_delay(DELAY)).await;
    let mut kept = server.send(GET).await;
    assert!(!response(&mut kept).await.contains("connection: close"));
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let moved = tokio::spawn(connection);
    let request = || {
        let request = Request::get("http://test/");
        request.body(Empty::<&[u8]>::new()).unwrap()
    };
    sender.send_request(request()).await.unwrap();
    server.stop.send(()).unwrap();
    // HTTP/2 gets a GOAWAY before the delay is over.
    timeout(Duration::from_secs(20), moved)
        .await
        .expect("no GOAWAY")
        .unwrap()
        .unwrap();
    assert!(sender.send_request(request()).await.is_err());
    // HTTP/1 is told with a response, and a new connection is accepted.
    kept.write_all(GET.as_bytes()).await.unwrap();
    let answer = rest(kept).await;
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    let mut new = TcpStream::connect(server.address).await.unwrap();
    new.write_all(GET.as_bytes()).await.unwrap();
    let answer = rest(new).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    timeout(Duration::from_secs(20), server.serving)
        .await
        .expect("the server goes on")
        .unwrap()
        .unwrap();
}

/// A client of the system's queue has connected, and may have sent its request.
#[tokio::test]
async fn a_listener_gives_away_the_connections_in_its_queue() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    let queued = listener.close();
    assert_eq!(queued.len(), 3);
    for ((mut stream, _), client) in queued.into_iter().zip(&mut clients) {
        stream.write_all(b"ok").await.unwrap();
        let mut bytes = [0; 2];
        client.read_exact(&mut bytes).await.unwrap();
    }
    assert!(TcpStream::connect(address).await.is_err());
}

/// A connection that was accepted a moment before the stop is served.
#[tokio::test]
async fn a_request_that_arrives_at_the_stop_is_answered() {
    let server = Server::start(app(), |serve| serve).await;
    let mut idle = server.send(GET).await;
    response(&mut idle).await;
    let mut new = TcpStream::connect(server.address).await.unwrap();
    server.stop.send(()).unwrap();
    for stream in [&mut idle, &mut new] {
        stream.write_all(GET.as_bytes()).await.unwrap();
    }
    for stream in [idle, new] {
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    }
}

/// A client of HTTP/2 that does not answer a GOAWAY does not hold the stop.
#[tokio::test]
async fn a_stop_cuts_an_idle_connection_that_its_client_does_not_close() {
    let server = Server::start(app(), |serve| serve).await;
    let mut silent = server
        .send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await;
    let mut bytes = [0; 1024];
    assert_ne!(silent.read(&mut bytes).await.unwrap(), 0);
    server.stop.send(()).unwrap();
    // The stop timeout is 25 s.
    timeout(Duration::from_secs(10), server.serving)
        .await
        .expect("the server waits for the client")
        .unwrap()
        .unwrap();
}

#[cfg(feature = "health")]
#[tokio::test]
async fn a_server_that_stops_leaves_another_of_the_handle_ready() {
    let campanile = Campanile::builder("test").build().unwrap();
    let start = async || {
        let app = campanile.wrap(app());
        Server::of(campanile.clone(), app, |serve| serve).await
    };
    let (first, second) = (start().await, start().await);
    first.stop.send(()).unwrap();
    first.serving.await.unwrap().unwrap();
    eventually_ok(&second, "/readyz", "the other server is not ready").await;
    let health = campanile.health().clone();
    second.stop.send(()).unwrap();
    second.serving.await.unwrap().unwrap();
    assert_eq!(health.phase(), campanile_health::Phase::Stopped);
}
