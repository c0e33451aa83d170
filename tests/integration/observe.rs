use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use campanile::Campanile;
use campanile::metrics::collectors::BusinessCollector;
use http::Version;
use http_body_util::BodyExt;

use crate::host::{Connection, Host, VERSIONS};

#[derive(Clone, Copy, campanile::Labels)]
enum Step {
    Charge,
    Ship,
}

#[campanile::observe(labels(step))]
async fn work(step: Step) -> Result<&'static str, StatusCode> {
    match step {
        Step::Charge => Ok("charged"),
        Step::Ship => Err(StatusCode::BAD_GATEWAY),
    }
}

#[campanile::observe]
async fn hang() {
    std::future::pending().await
}

#[campanile::observe]
async fn panics() {
    panic!("on purpose");
}

fn app() -> Router {
    Router::new()
        .route("/charge", get(async || work(Step::Charge).await))
        .route("/ship", get(async || work(Step::Ship).await))
        .route("/hang", get(hang))
        .route("/panics", get(panics))
}

/// The functions that a request calls are counted without anything installed, however the request
/// ends.
#[tokio::test]
async fn functions_are_counted_where_their_request_is() {
    for version in VERSIONS {
        let (host, other) = (Host::start(app()).await, Host::start(app()).await);
        for path in ["/charge", "/ship"] {
            let mut connection = Connection::open(version, host.address).await;
            let response = connection.get(path).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
        let mut connection = Connection::open(version, host.address).await;
        let _ = connection.get("/panics").await;
        let mut connection = Connection::open(version, host.address).await;
        let leaving = tokio::spawn(async move { connection.get("/hang").await.map(drop) });
        host.in_flight(1.0).await;
        leaving.abort();
        host.in_flight(0.0).await;
        for (outcome, function) in [
            ("ok", "work"),
            ("error", "work"),
            ("panicked", "panics"),
            ("cancelled", "hang"),
        ] {
            let calls = host.count("function_calls_total", Some(("outcome", outcome)));
            assert_eq!(calls, 1, "{outcome}, {version:?}");
            let timed = host.count("function_duration_seconds", Some(("function", function)));
            assert!(timed > 0, "{function}");
        }
        let calls = host.count("function_calls_total", Some(("step", "ship")));
        assert_eq!(calls, 1);
        let errors = host.count("function_errors_total", Some(("error", "StatusCode")));
        assert_eq!(errors, 1);
        for function in ["work", "hang", "panics"] {
            let page = host.campanile.metrics().render();
            let gauge = |line: &&str| {
                line.starts_with("function_in_flight{")
                    && line.contains(&format!("function=\"{function}\""))
            };
            let mut lines = page.lines().filter(gauge);
            assert!(lines.all(|line| line.ends_with(" 0")), "{page}");
        }
        assert_eq!(other.count("function_calls_total", None), 0);
        drop(host.stop().await);
        drop(other.stop().await);
    }
}

/// Business metrics of a running service, for a client on the same machine.
#[tokio::test]
async fn business_figures_are_served() {
    let figures = async || Ok::<_, String>(std::collections::BTreeMap::from([("active", 5)]));
    let campanile = Campanile::builder("shop").collector(BusinessCollector::new("users", figures));
    let host = Host::start_with(campanile, Router::new()).await;
    host.gauge("business_users_active", 5.0).await;
    let mut connection = Connection::open(Version::HTTP_11, host.address).await;
    let request = http::Request::get("/metrics/business").header("host", "localhost");
    let request = request.body(http_body_util::Empty::new()).unwrap();
    let response = connection.send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["users"]["active"], 5);
    assert_eq!(body["users"]["stale"], false);
    assert!(body["users"]["as_of"].is_string() && body["timestamp"].is_string());
    drop(host.stop().await);
}
