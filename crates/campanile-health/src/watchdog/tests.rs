use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;

use http::StatusCode;

use tokio::sync::oneshot;

use super::*;
use crate::{Health, clock};

/// Sends a request, and returns the response. It blocks the thread.
fn get(address: SocketAddr, request: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn a_runtime_that_is_stuck_is_not_alive() {
    let address = free();
    let watchdog = Watchdog::new()
        .timeout(Duration::from_millis(200))
        .listen(address);
    let health = Health::builder().watchdog(watchdog).build().unwrap();
    assert_eq!(health.watchdog_lag(), None);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (stuck, go_on) = std::sync::mpsc::channel::<()>();
    let running = std::thread::spawn({
        let health = health.clone();
        move || {
            runtime.block_on(async {
                let run = health.run(async { drop(stopped.await) });
                let blocks = async {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    // No task gets a turn any more, until this test lets go.
                    let _ = go_on.recv();
                };
                tokio::join!(run, blocks);
            });
        }
    });
    let eventually = |expected: &str| {
        let begun = clock::now();
        loop {
            let answer = get(address, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
            if answer.starts_with(expected) {
                return answer;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{answer}");
            std::thread::yield_now();
        }
    };
    eventually("HTTP/1.1 200 OK\r\n");
    let answer = eventually("HTTP/1.1 503 Service Unavailable\r\n");
    assert!(
        answer.ends_with("[-]executor failed: reason withheld\nlivez check failed\n"),
        "{answer}"
    );
    assert!(health.watchdog_lag().unwrap() > Duration::from_millis(200));
    assert_eq!(
        health.get("/livez").status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    drop(stuck);
    eventually("HTTP/1.1 200 OK\r\n");
    // Malformed and unknown requests.
    for (request, expected) in [
        (
            "GET /nothing HTTP/1.1\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\n",
        ),
        (
            "POST /livez HTTP/1.1\r\n\r\n",
            "HTTP/1.1 405 Method Not Allowed\r\n",
        ),
        ("\0\u{7f}\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"),
        (
            "GET /livez HTTP/1.1\r\naccept: application/json\r\n\r\n",
            "HTTP/1.1 200 OK\r\n",
        ),
    ] {
        let answer = get(address, request);
        assert!(answer.starts_with(expected), "{request:?} {answer}");
    }
    drop(stop);
    running.join().unwrap();
    assert_eq!(health.watchdog_lag(), None);
}

#[test]
fn oversized_and_silent_requests_are_dropped() {
    let address = free();
    let health = Health::builder()
        .watchdog(Watchdog::new().listen(address))
        .build()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let requests = async {
        let send = |request: String| {
            tokio::task::spawn_blocking(move || {
                let mut connection = TcpStream::connect(address).unwrap();
                // It may be closed meanwhile.
                let _ = connection.write_all(request.as_bytes());
                let mut answer = Vec::new();
                let _ = connection.read_to_end(&mut answer);
                answer
            })
        };
        assert!(
            send("GET / HTTP/1.1\r\n".to_owned() + &"x".repeat(100_000))
                .await
                .unwrap()
                .is_empty()
        );
        assert!(send("GET /li".to_owned()).await.unwrap().is_empty());
        let answer = send("GET /livez HTTP/1.1\r\n\r\n".to_owned())
            .await
            .unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    };
    runtime.block_on(health.run(requests));
}

/// Health with a watchdog that listens, whose run another thread drives until the sender is
/// dropped.
fn running(address: SocketAddr) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let watchdog = Watchdog::new().listen(address);
    let health = Health::builder().watchdog(watchdog).build().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(health.run(async { drop(stopped.await) }));
    });
    (stop, running)
}

#[test]
fn silent_connections_delay_no_probe() {
    let address = free();
    let (stop, running) = running(address);
    while TcpStream::connect(address).is_err() {
        std::thread::yield_now();
    }
    get(address, "GET /livez HTTP/1.1\r\n\r\n");
    for round in 0..3 {
        let idle: Vec<_> = (0..200)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let begun = clock::now();
        let answer = get(address, "GET /livez HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(1), "{round}: {took:?}");
        drop(idle);
    }
    drop(stop);
    running.join().unwrap();
}

#[test]
fn kubernetes_is_not_sent_to_a_loopback_address() {
    let liveness = |address: &str| {
        let watchdog = Watchdog::new().listen(address.parse().unwrap());
        let health = Health::builder().watchdog(watchdog).build().unwrap();
        let yaml = health.probes_yaml("8080");
        let (_, rest) = yaml.split_once("path: /livez\n    port: ").unwrap();
        rest.lines().next().unwrap().to_owned()
    };
    assert_eq!(liveness("127.0.0.1:0"), "8080");
    assert_ne!(liveness("0.0.0.0:0"), "8080");
}

#[cfg(feature = "grpc")]
#[test]
fn each_grpc_probe_has_a_service() {
    let yaml = Health::builder().build().unwrap().grpc_probes_yaml(9_000);
    for group in ["startup", "liveness", "readiness"] {
        let probe = format!("{group}Probe:\n  grpc:\n    port: 9000\n    service: {group}\n");
        assert!(yaml.contains(&probe), "{yaml}");
    }
}
