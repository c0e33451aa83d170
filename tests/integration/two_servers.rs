//! Two servers of one handle, as an application with a port for its operators has them.
//!
//! Each server started the background work, so two of them sent notifications twice, dropped others
//! unsent, and doubled the counts of the SLOs at each start.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use campanile::Campanile;
use campanile::alerts::{BoxFuture, Channel, ChannelError, Notification, Rule};
use campanile::sla::Slo;
use campanile::store::Redb;
use campanile_tests::{eventually, get as fetch};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A channel that takes its time, and counts the notifications by their key.
#[derive(Clone, Default)]
struct Slow(Arc<Mutex<BTreeMap<String, usize>>>);

impl Channel for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn send<'a>(
        &'a self,
        notification: &'a Notification,
    ) -> BoxFuture<'a, Result<(), ChannelError>> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            *self
                .0
                .lock()
                .unwrap()
                .entry(notification.key())
                .or_default() += 1;
            Ok(())
        })
    }
}

/// The two servers of a handle.
struct Servers {
    stop: watch::Sender<bool>,
    serving: Vec<JoinHandle<std::io::Result<()>>>,
    public: SocketAddr,
}

impl Servers {
    async fn start(campanile: &Campanile) -> Self {
        let (stop, stopped) = watch::channel(false);
        let public = campanile.wrap(Router::new().route("/", get(async || "ok")));
        let mut addresses = Vec::new();
        let mut serving = Vec::new();
        for app in [public, campanile.routes()] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            let mut stopped = stopped.clone();
            let shutdown = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
            let serve = campanile
                .serve(listener, app)
                .with_graceful_shutdown(shutdown);
            serving.push(tokio::spawn(serve.into_future()));
        }
        Self {
            stop,
            serving,
            public: addresses[0],
        }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        for serving in self.serving {
            serving.await.unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_notification_is_sent_once() {
    let channel = Slow::default();
    let campanile = Campanile::builder("orders")
        .rule(Rule::expr("Deep", "queue_depth > 10"))
        .channel(channel.clone())
        .evaluation_interval(Duration::from_millis(100))
        .build()
        .unwrap();
    for queue in 0..20 {
        let queue = queue.to_string();
        let depth = campanile
            .metrics()
            .gauge("queue_depth", &[("queue", &queue)]);
        depth.unwrap().set(99.0);
    }
    let servers = Servers::start(&campanile).await;
    let sent = || channel.0.lock().unwrap().clone();
    eventually(20, async || sent().len()).await;
    servers.stop().await;
    let sent = sent();
    assert!(
        sent.len() == 20 && sent.values().all(|times| *times == 1),
        "{sent:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_restored_once_at_each_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let start = async |path: &Path| {
        let campanile = Campanile::builder("orders")
            .slo(Slo::availability("availability", "99.9%"))
            .store(Redb::open(path).unwrap())
            .build()
            .unwrap();
        let servers = Servers::start(&campanile).await;
        (campanile, servers)
    };
    let good = |campanile: &Campanile| {
        let hour = Duration::from_secs(3_600);
        campanile.sla().counts(hour).good()
    };
    let (campanile, servers) = start(&path).await;
    for _ in 0..10 {
        fetch(servers.public, "/").await.unwrap();
    }
    assert_eq!(good(&campanile), 10);
    servers.stop().await;
    drop(campanile);
    for _ in 0..2 {
        let (campanile, servers) = start(&path).await;
        eventually(10, async || good(&campanile)).await;
        servers.stop().await;
        assert_eq!(good(&campanile), 10);
    }
    // A run after a run finds the counts of the process itself in the store.
    let (campanile, servers) = start(&path).await;
    eventually(10, async || good(&campanile)).await;
    servers.stop().await;
    for _ in 0..2 {
        Servers::start(&campanile).await.stop().await;
        assert_eq!(good(&campanile), 10);
    }
}
