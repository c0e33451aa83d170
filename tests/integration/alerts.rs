use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use campanile_tests::{Client, Orders, eventually};
use http::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A server that alerts are posted to.
struct Sink {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The key and the body of each accepted notification.
    notices: Mutex<Vec<(String, Value)>>,
    /// The number of repetitions with an accepted key: a process that is killed after it has sent a
    /// notification, and before it has stored that, sends it again.
    repeats: AtomicU64,
    is_down: AtomicBool,
}

impl Sink {
    async fn start() -> Self {
        let inner = Arc::new(Inner::default());
        let take =
            async |State(inner): State<Arc<Inner>>, headers: HeaderMap, Json(body): Json<Value>| {
                if inner.is_down.load(Ordering::Relaxed) {
                    return StatusCode::SERVICE_UNAVAILABLE;
                }
                let key = headers["idempotency-key"].to_str().unwrap().to_owned();
                let mut notices = inner.notices.lock().unwrap();
                if notices.iter().any(|(taken, _)| *taken == key) {
                    inner.repeats.fetch_add(1, Ordering::Relaxed);
                } else {
                    notices.push((key, body));
                }
                StatusCode::OK
            };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/hook", post(take))
            .with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, inner }
    }

    /// What was told: the event and the alert's name and start.
    fn told(&self) -> Vec<(String, String, String)> {
        let notices = self.inner.notices.lock().unwrap();
        let notice = |(_, body): &(String, Value)| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let alert = &body["alerts"][0];
            (
                text(&body["status"]),
                text(&alert["labels"]["alertname"]),
                text(&alert["startsAt"]),
            )
        };
        notices.iter().map(notice).collect()
    }

    fn repeats(&self) -> u64 {
        self.inner.repeats.load(Ordering::Relaxed)
    }

    fn events(&self) -> Vec<String> {
        self.told().into_iter().map(|(event, ..)| event).collect()
    }
}

/// A orders whose rule on errors looks back on 3 s.
fn start(sink: &Sink, store: Option<&TempDir>) -> Orders {
    let url = format!("http://{}/hook", sink.address);
    let store = store.map(|folder| folder.path().join("store.redb"));
    let store = store.as_ref().map_or("", |path| path.to_str().unwrap());
    Orders::start_with(&[
        ("ALERT_WEBHOOK", &url),
        ("ERROR_WINDOW", "3s"),
        ("CAMPANILE_STORE", store),
    ])
}

async fn active(orders: &Orders) -> Vec<(String, bool)> {
    let (status, body) = orders.json("/api/v1/monitor/alerts/active").await;
    assert_eq!(status, 200);
    let alerts = body["alerts"].as_array().unwrap().iter();
    alerts
        .map(|alert| {
            (
                alert["status"].as_str().unwrap().to_owned(),
                alert["awaiting_history"].as_bool().unwrap(),
            )
        })
        .collect()
}

/// Waits for this number of further evaluations of the rules.
async fn ticks(orders: &Orders, more: u64) {
    let count = async || -> u64 {
        let page = orders.page().await;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix("campanile_rule_evaluations_total "));
        line.unwrap().parse().unwrap()
    };
    let end = count().await + more;
    eventually(true, async || count().await >= end).await;
}

#[tokio::test]
async fn a_burst_of_errors_rings_once_and_is_resolved_once() {
    let sink = Sink::start().await;
    let orders = start(&sink, None);
    orders.order(40, 0).await;
    ticks(&orders, 2).await;
    assert_eq!(sink.events(), Vec::<String>::new());
    orders.order(20, 20).await;
    eventually(vec!["firing".to_owned()], async || sink.events()).await;
    assert_eq!(active(&orders).await, [("firing".to_owned(), false)]);
    eventually(
        vec!["firing".to_owned(), "resolved".to_owned()],
        async || sink.events(),
    )
    .await;
    ticks(&orders, 5).await;
    let told = sink.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        (told[0].1.as_str(), &told[0].2),
        ("HighErrorRate", &told[1].2)
    );
    assert_eq!(active(&orders).await, []);
    assert_eq!(sink.repeats(), 0);
    assert!(orders.process.terminate().success());
}

/// A process that is killed at the worst times.
#[tokio::test]
async fn a_kill_between_firing_and_resolving_changes_neither() {
    let (sink, folder) = (Sink::start().await, TempDir::new().unwrap());
    let orders = start(&sink, Some(&folder));
    orders.order(0, 20).await;
    eventually(1, async || sink.events().len()).await;
    drop(orders);

    let orders = start(&sink, Some(&folder));
    // It has seen nothing yet, and so resolves nothing.
    eventually(vec![("firing".to_owned(), true)], async || {
        active(&orders).await
    })
    .await;
    let (_, details) = orders.json("/health/detailed").await;
    assert_eq!(details["store"], "durable");
    eventually(
        vec!["firing".to_owned(), "resolved".to_owned()],
        async || sink.events(),
    )
    .await;
    drop(orders);

    let orders = start(&sink, Some(&folder));
    ticks(&orders, 15).await;
    let told = sink.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0].2, told[1].2);

    // The next episode is another one.
    orders.order(0, 20).await;
    eventually(3, async || sink.events().len()).await;
    let notices = sink.inner.notices.lock().unwrap();
    assert!(notices[2].0 != notices[0].0 && notices[1].0 != notices[0].0);
    assert!(sink.repeats() <= 2, "more than one for each kill");
}

#[tokio::test]
async fn a_notice_that_waits_for_its_channel_survives_kills() {
    let (sink, folder) = (Sink::start().await, TempDir::new().unwrap());
    sink.inner.is_down.store(true, Ordering::Relaxed);
    let orders = start(&sink, Some(&folder));
    orders.order(0, 20).await;
    let failed = r#"campanile_notifications_total{channel="webhook",outcome="failed"} "#;
    let has_failed = async |orders: &Orders| {
        let page = orders.page().await;
        let line = page.lines().find_map(|line| line.strip_prefix(failed));
        line.is_some_and(|count| count != "0")
    };
    eventually(true, async || has_failed(&orders).await).await;
    drop(orders);
    let orders = start(&sink, Some(&folder));
    eventually(true, async || has_failed(&orders).await).await;
    // Resolved while the channel is down.
    eventually(0, async || active(&orders).await.len()).await;
    drop(orders);
    sink.inner.is_down.store(false, Ordering::Relaxed);
    let orders = start(&sink, Some(&folder));
    eventually(
        vec!["firing".to_owned(), "resolved".to_owned()],
        async || sink.events(),
    )
    .await;
    ticks(&orders, 5).await;
    assert_eq!((sink.events().len(), sink.repeats()), (2, 0));
}

#[tokio::test]
async fn what_was_counted_survives_a_stop() {
    let (sink, folder) = (Sink::start().await, TempDir::new().unwrap());
    let orders = start(&sink, Some(&folder));
    orders.order(95, 5).await;
    assert!(orders.process.terminate().success());
    let orders = start(&sink, Some(&folder));
    let availability =
        async || orders.json("/monitoring/sla/availability").await.1["samples"].clone();
    eventually(Value::from(100), availability).await;
    let (status, unknown) = orders.json("/monitoring/sla/nothing").await;
    assert_eq!(
        (status, unknown["known"].as_array().unwrap().len()),
        (404, 4)
    );
}

#[tokio::test]
async fn reads_need_the_token_that_is_printed() {
    let sink = Sink::start().await;
    let orders = start(&sink, None);
    let ask = async |headers: &[(&str, &str)]| {
        let mut client = Client::connect(orders.address).await.unwrap();
        for (name, value) in headers {
            client = client.header(name, value);
        }
        let answer = client.send(Method::GET, "/monitoring/sla", "").await;
        answer.0.as_u16()
    };
    let bearer = format!("Bearer {}", orders.token);
    let proxied = ("x-forwarded-for", "1.1.1.1");
    assert_eq!(ask(&[("authorization", &bearer), proxied]).await, 200);
    assert_eq!(ask(&[("authorization", &bearer)]).await, 200);
    assert_eq!(ask(&[("authorization", "Bearer x")]).await, 401);
    assert_eq!(ask(&[]).await, 401);
}
