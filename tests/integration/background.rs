//! Background work that panics or blocks.
//!
//! It was polled by the task that accepts connections: a panic in an application's store ended the
//! server, and a rule that blocked its thread stopped accepting.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get as route;
use campanile::Campanile;
use campanile::alerts::{Channel, ChannelError, Notification, Rule};
use campanile::store::{Batch, BoxFuture, Entry, Memory, Record, Status, Store, StoreError};
use campanile_tests::{eventually, get};
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A custom store, with its own error.
struct Panics(Memory, AtomicUsize);

impl Store for Panics {
    fn commit(&self, _: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        panic!("an application's unwrap")
    }

    fn get<'a>(
        &'a self,
        table: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        self.0.get(table, key)
    }

    fn scan<'a>(
        &'a self,
        table: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>, StoreError>> {
        self.0.scan(table, after, limit)
    }

    fn journal(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        self.0.journal(after, limit)
    }

    fn status(&self) -> Status {
        self.0.status()
    }
}

/// A channel that counts notifications.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Channel for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn send<'a>(&'a self, _: &'a Notification) -> BoxFuture<'a, Result<(), ChannelError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_or_a_stall_does_not_reach_the_server() {
    let store = Arc::new(Panics(Memory::new(), AtomicUsize::new(0)));
    let channel = Counting::default();
    let blocks = Arc::new(AtomicBool::new(false));
    let is_blocking = Arc::clone(&blocks);
    let release = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&release);
    let campanile = Campanile::builder("orders")
        .store(Arc::clone(&store))
        // Its notification is committed, and the second evaluation blocks its thread.
        .rule(Rule::when("Blocks", move |_| {
            while is_blocking.load(Ordering::Relaxed) && !released.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            true
        }))
        .channel(channel.clone())
        .evaluation_interval(Duration::from_millis(100))
        .build()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = campanile.wrap(Router::new().route("/", route(async || "ok")));
    let (stop, stopped) = oneshot::channel::<()>();
    let serve = campanile
        .serve(listener, app)
        .with_graceful_shutdown(async { drop(stopped.await) });
    let serving = tokio::spawn(serve.into_future());
    // What the store does not take is sent all the same.
    eventually(1, async || channel.0.load(Ordering::Relaxed)).await;
    assert!(store.1.load(Ordering::Relaxed) > 0);
    blocks.store(true, Ordering::Relaxed);
    for _ in 0..10 {
        // Each request has its own connection.
        assert_eq!(
            get(address, "/").await,
            Some((StatusCode::OK, "ok".to_owned()))
        );
    }
    assert!(!serving.is_finished());
    release.store(true, Ordering::Relaxed);
    drop(stop);
    serving.await.unwrap().unwrap();
}
