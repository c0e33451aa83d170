use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use campanile::metrics::Value;
use fastrand::Rng;
use http::Version;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::host::{Connection, Host, count};

const REQUESTS: u64 = 5_000;
const ABORTED: u64 = 2_000;

/// 5,000 requests. 2,000 are aborted: over HTTP/1 also before the head is complete, over both
/// versions before the response and in the middle of it. None is lost and none counted twice.
async fn check(version: Version) {
    let innermost = Arc::new(AtomicU64::new(0));
    let host = Host::start(app(&innermost)).await;
    let address = host.address;

    let whole = Arc::new(AtomicU64::new(0));
    let next = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..32)
        .map(|client| {
            let (whole, next) = (Arc::clone(&whole), Arc::clone(&next));
            tokio::spawn(async move {
                let mut rng = Rng::with_seed(client);
                let mut connection = None;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= REQUESTS {
                        return;
                    }
                    // 2 of every 5.
                    let abort = number % 5 < ABORTED * 5 / REQUESTS;
                    if version == Version::HTTP_2 {
                        let mut open = match connection.take() {
                            Some(open) => open,
                            None => Connection::open(version, address).await,
                        };
                        if abort {
                            abort_stream(&mut open, &mut rng).await;
                        } else {
                            request_stream(&mut open, &mut rng).await;
                        }
                        // One in eight loses its whole connection.
                        connection = (!abort || rng.u8(..8) > 0).then_some(open);
                    } else if abort {
                        let _ = abort_connection(address, &mut rng).await;
                    } else {
                        let response = request_connection(address, &mut rng).await.unwrap();
                        let text = String::from_utf8_lossy(&response);
                        assert!(is_whole(&response), "{text}");
                    }
                    whole.fetch_add(u64::from(!abort), Ordering::Relaxed);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    // Connections in the backlog may still begin a request. After the drain none can.
    host.gauge("campanile_server_connections", 0.0).await;
    let campanile = host.stop().await;
    assert_eq!(
        campanile.metrics().get("http_requests_in_flight", &[]),
        Some(Value::Gauge(0.0))
    );

    let count = |name, label| count(&campanile, name, label);
    let total = count("http_requests_total", None);
    let abnormal = count("http_requests_incomplete_total", None);
    let cancelled = count(
        "http_requests_incomplete_total",
        Some(("outcome", "cancelled")),
    );
    let completed = total - abnormal;
    let whole = whole.load(Ordering::Relaxed);
    assert_eq!(total, innermost.load(Ordering::Relaxed));
    assert_eq!(whole, REQUESTS - ABORTED);
    assert!(
        whole <= completed && completed <= total,
        "{whole} whole, {completed} completed, {total} in total"
    );
    assert_eq!(cancelled, abnormal);
    assert!(
        cancelled > ABORTED / 10,
        "only {cancelled} were cancelled: the test aborts too late"
    );
    let without_head = count("http_requests_total", Some(("status_code", "499")));
    assert!(
        without_head > 0 && without_head < cancelled,
        "{without_head} of {cancelled} before the response"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_exchange_over_http_1_is_counted_once() {
    check(Version::HTTP_11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_exchange_over_http_2_is_counted_once() {
    check(Version::HTTP_2).await;
}

fn app(innermost: &Arc<AtomicU64>) -> Router {
    let count = {
        let innermost = Arc::clone(innermost);
        tower::util::MapRequestLayer::new(move |request: axum::extract::Request| {
            innermost.fetch_add(1, Ordering::Relaxed);
            request
        })
    };
    Router::new()
        .route("/fast", get(async || "fast"))
        .route(
            "/slow",
            get(async || {
                tokio::time::sleep(Duration::from_millis(3)).await;
                "slow"
            }),
        )
        .route("/echo", post(async |body: String| body))
        .route(
            "/stream",
            get(async || {
                let (mut sender, body) =
                    http_body_util::channel::Channel::<bytes::Bytes, io::Error>::new(1);
                tokio::spawn(async move {
                    for _ in 0..64 {
                        tokio::task::yield_now().await;
                        if sender
                            .send_data(bytes::Bytes::from_static(&[b'x'; 16_384]))
                            .await
                            .is_err()
                        {
                            return;
                        }
                    }
                });
                Body::new(body)
            }),
        )
        .layer(count)
}

fn head(rng: &mut Rng) -> &'static str {
    [
        "GET /fast HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n",
        "GET /slow HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 4\r\n\r\necho",
        "GET /stream HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n",
    ][rng.usize(..4)]
}

async fn request_connection(address: SocketAddr, rng: &mut Rng) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(head(rng).as_bytes()).await?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await?;
    Ok(response)
}

async fn abort_connection(address: SocketAddr, rng: &mut Rng) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let head = head(rng).as_bytes();
    let sent = if rng.u8(..4) == 0 {
        rng.usize(..head.len())
    } else {
        head.len()
    };
    stream.write_all(&head[..sent]).await?;
    if rng.bool() {
        // As when the client's process dies: a reset instead of an orderly end.
        stream.set_zero_linger()?;
    }
    match rng.u8(..3) {
        0 => {}
        1 => tokio::time::sleep(Duration::from_micros(rng.u64(..4_000))).await,
        _ if sent == head.len() => {
            stream.read_exact(&mut vec![0; rng.usize(1..100)]).await?;
        }
        _ => {}
    }
    Ok(())
}

async fn request_stream(connection: &mut Connection, rng: &mut Rng) {
    let response = connection.get(PATHS[rng.usize(..3)]).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(matches!(&body[..], b"fast" | b"slow") || body.len() == 64 * 16_384);
}

/// Resets a stream after some time, after the head, or after a part of the body.
async fn abort_stream(connection: &mut Connection, rng: &mut Rng) {
    let response = connection.get(PATHS[rng.usize(..3)]);
    match rng.u8(..3) {
        0 => drop(timeout(Duration::from_micros(rng.u64(..4_000)), response).await),
        1 => drop(response.await.unwrap()),
        _ => drop(response.await.unwrap().into_body().frame().await),
    }
}

const PATHS: [&str; 3] = ["/fast", "/slow", "/stream"];

fn is_whole(response: &[u8]) -> bool {
    let end: &[u8] = if response.windows(7).any(|part| part == b"chunked") {
        b"\r\n0\r\n\r\n"
    } else {
        b""
    };
    let ends = [&b"\r\n\r\nfast"[..], b"\r\n\r\nslow", b"\r\n\r\necho", end];
    response.starts_with(b"HTTP/1.1 200")
        && ends
            .iter()
            .any(|end| !end.is_empty() && response.ends_with(end))
}
