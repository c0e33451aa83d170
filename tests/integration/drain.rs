use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get as route;
use campanile::Campanile;
use campanile::health::{Check, Phase};
use campanile_tests::{Client, eventually, get};
use http::{Method, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// A client polls readiness as a load balancer does, and sends 500 requests per second while the
/// service is ready. None of its requests fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_obeys_readiness_notices_nothing_of_a_stop() {
    let check = Check::new("db", async || Ok::<_, &str>(())).critical();
    let campanile = Campanile::builder("drain").check(check).build().unwrap();
    let slow = async || {
        tokio::time::sleep(Duration::from_millis(20)).await;
        "done"
    };
    let app = campanile.wrap(Router::new().route("/slow", route(slow)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = campanile
        .serve(listener, app)
        .with_graceful_shutdown(async { drop(stopped.await) })
        .drain_delay(Duration::from_secs(1));
    let server = tokio::spawn(server.into_future());
    let ready = async || get(address, "/readyz").await.map(|(status, _)| status);
    eventually(Some(StatusCode::OK), ready).await;

    let is_ready = Arc::new(AtomicBool::new(true));
    let (sent, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut pool = JoinSet::new();
    let load = tokio::spawn({
        let (is_ready, sent, failed) = (
            Arc::clone(&is_ready),
            Arc::clone(&sent),
            Arc::clone(&failed),
        );
        async move {
            let mut requests = JoinSet::new();
            let mut ticks = interval(Duration::from_millis(2));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            while is_ready.load(Ordering::Relaxed) {
                ticks.tick().await;
                sent.fetch_add(1, Ordering::Relaxed);
                let failed = Arc::clone(&failed);
                requests.spawn(async move {
                    let answer = get(address, "/slow").await;
                    if answer != Some((StatusCode::OK, "done".to_owned())) {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            while let Some(request) = requests.join_next().await {
                // A request that was cut panicked.
                failed.fetch_add(usize::from(request.is_err()), Ordering::Relaxed);
            }
        }
    });
    // Clients with a pool keep their connections until a response says that they close.
    let (pooled, pooled_failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..8 {
        let (is_ready, sent, failed) = (
            Arc::clone(&is_ready),
            Arc::clone(&pooled),
            Arc::clone(&pooled_failed),
        );
        pool.spawn(async move {
            let mut connection = None;
            while is_ready.load(Ordering::Relaxed) {
                let mut client = match connection.take() {
                    Some(client) => client,
                    None => Client::connect(address).await.unwrap(),
                };
                sent.fetch_add(1, Ordering::Relaxed);
                match client.try_send(Method::GET, "/slow", "").await {
                    Ok(response) => {
                        let headers = response.headers();
                        let closes = headers
                            .get("connection")
                            .is_some_and(|value| value == "close");
                        connection = (!closes).then_some(client);
                    }
                    Err(_) => {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
    }
    eventually(true, async || sent.load(Ordering::Relaxed) > 250).await;

    drop(stop);
    eventually(Phase::Draining, async || campanile.health().phase()).await;
    #[expect(clippy::disallowed_methods, reason = "a balancer has a clock")]
    let draining = Instant::now();
    assert_eq!(ready().await, Some(StatusCode::SERVICE_UNAVAILABLE));
    let before = sent.load(Ordering::Relaxed);
    // The balancer takes a while to react.
    tokio::time::sleep_until(draining + Duration::from_millis(500)).await;
    is_ready.store(false, Ordering::Relaxed);
    load.await.unwrap();
    while pool.join_next().await.is_some() {}
    let (sent, failed) = (sent.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    assert_eq!(failed, 0, "of {sent}");
    let pooled = pooled.load(Ordering::Relaxed);
    assert_eq!(pooled_failed.load(Ordering::Relaxed), 0, "of {pooled}");
    assert!(pooled > 100, "{pooled}");
    assert!(sent > before + 50, "{sent} of {before}");
    server.await.unwrap().unwrap();
    assert_eq!(campanile.health().phase(), Phase::Stopped);
    assert_eq!(get(address, "/readyz").await, None);
}
