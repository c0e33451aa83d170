use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::{Extension, Router};
use campanile_health::Health;
use campanile_metrics::{Registry, Value};
use campanile_sla::ServiceLevels;
use http::StatusCode;
use http::header::AUTHORIZATION;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::{Role, Sources, Token};

fn sources() -> Sources {
    let sla = ServiceLevels::builder().build_at(Now::system()).unwrap();
    Sources::new(Registry::new(), Health::builder().build().unwrap(), sla)
}

fn app(monitor: &Monitor, access: Access) -> Router {
    let name = async |Extension(principal): Extension<Principal>| {
        format!("{:?} {:?}", principal.name(), principal.is_local())
    };
    Router::new()
        .route("/admin", get(name))
        .route_layer(monitor.authorize(access))
}

async fn get_admin(app: &Router, token: Option<&str>, peer: &str) -> (StatusCode, String) {
    let mut request = Request::get("/admin").header("host", "localhost");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let mut request = request.body(Body::empty()).unwrap();
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn tokens_guard_routes_of_the_application() {
    let (viewer, viewer_secret) = Token::generate("ada", Role::Viewer).unwrap();
    let (operator, operator_secret) = Token::generate("bob", Role::Operator).unwrap();
    let sources = sources();
    let monitor = Monitor::builder(sources.clone())
        .token(viewer)
        .token(operator)
        .build()
        .unwrap();
    let app = app(&monitor, Access::Role(Role::Operator));
    let remote = "10.0.0.1:1";
    let (status, body) = get_admin(&app, Some(&operator_secret), remote).await;
    assert_eq!((status, &*body), (StatusCode::OK, r#"Some("bob") false"#));
    for (token, status) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some("guess"), StatusCode::UNAUTHORIZED),
        (Some(&*viewer_secret), StatusCode::FORBIDDEN),
    ] {
        assert_eq!(get_admin(&app, token, remote).await.0, status, "{token:?}");
    }
    let rejected = |reason| {
        let labels = [("reason", reason)];
        sources
            .metrics()
            .get("campanile_auth_failures_total", &labels)
    };
    for reason in ["missing", "unknown", "forbidden"] {
        assert_eq!(rejected(reason), Some(Value::Counter(1)), "{reason}");
    }
}

#[tokio::test]
async fn without_tokens_local_clients_may_read() {
    let monitor = Monitor::builder(sources()).build().unwrap();
    let app = app(&monitor, Access::Read);
    let (status, body) = get_admin(&app, None, "127.0.0.1:1").await;
    assert_eq!((status, &*body), (StatusCode::OK, "None true"));
    let (status, _) = get_admin(&app, None, "10.0.0.1:1").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}
