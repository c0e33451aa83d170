use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;

use super::*;

async fn get(url: &str) -> (http::StatusCode, String) {
    let client: Client<_, http_body_util::Empty<&[u8]>> =
        Client::builder(TokioExecutor::new()).build_http();
    let response = client.get(url.parse().unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn axum_serve_has_the_background_work_and_local_clients() {
    let check = campanile_health::Check::new("db", async || Ok::<_, String>(())).critical();
    let campanile = Campanile::builder("orders").check(check).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let app = campanile.wrap(Router::new());
    let service = campanile.make_service(app);
    let serving = tokio::spawn(async move {
        axum::serve(listener, service)
            .with_graceful_shutdown(async { drop(stopped.await) })
            .await
    });
    let deadline = crate::builder::instant() + Duration::from_secs(30);
    while get(&format!("{url}/readyz")).await.0 != http::StatusCode::OK {
        assert!(
            crate::builder::instant() < deadline,
            "the check did not run"
        );
        tokio::task::yield_now().await;
    }
    // The client is local, so it may read.
    let (status, _) = get(&format!("{url}/monitoring/sla")).await;
    assert_eq!(status, http::StatusCode::OK);
    let (_, detailed) = get(&format!("{url}/health/detailed")).await;
    assert!(!detailed.contains("background_work"), "{detailed}");
    drop(stop);
    serving.await.unwrap().unwrap();
    campanile.finished().await;
    // No run is active any more.
    let parts = |path: &str| http::Request::get(path).body(()).unwrap().into_parts().0;
    let response = campanile.monitor().respond(&parts("/health/detailed"));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(
        body.contains(r#""background_work":"not running""#),
        "{body}"
    );
}

#[tokio::test(start_paused = true)]
async fn drained_fails_readiness_for_five_seconds() {
    let campanile = Campanile::builder("orders").build().unwrap();
    let drained = campanile.drained(std::future::ready(()));
    let status = campanile.health().get("/readyz").status();
    assert_eq!(status, http::StatusCode::OK);
    let almost = tokio::time::timeout(Duration::from_millis(4_999), drained);
    assert!(almost.await.is_err());
    let status = campanile.health().get("/readyz").status();
    assert_eq!(status, http::StatusCode::SERVICE_UNAVAILABLE);
}
