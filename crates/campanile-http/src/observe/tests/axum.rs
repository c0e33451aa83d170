//! The layer in axum's places.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::{any_service, get, post};
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::mpsc::UnboundedReceiver;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;

use super::Log;
use crate::ObserveLayer;

/// Sends one request and asserts what was observed.
async fn check(app: fn(ObserveLayer<Log>) -> Router, method: Method, path: &str, expected: &str) {
    let log = Log::default();
    let app = app(ObserveLayer::new(log.clone()));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    let response = app.oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
    log.assert_end(expected);
}

fn users() -> Router {
    Router::new()
        .route("/users/{id}", get(async |Path(id): Path<String>| id))
        .route("/users", post(async || "made"))
}

#[tokio::test]
async fn routes_and_what_matches_none() {
    fn app(layer: ObserveLayer<Log>) -> Router {
        users().layer(layer)
    }
    check(
        app,
        Method::GET,
        "/users/7?q=secret",
        "GET /users/{id} 200 completed 1",
    )
    .await;
    check(app, Method::POST, "/users", "POST /users 200 completed 4").await;
    check(
        app,
        Method::HEAD,
        "/users/7",
        "HEAD /users/{id} 200 completed 0",
    )
    .await;
    check(
        app,
        Method::DELETE,
        "/users/7",
        "DELETE /users/{id} 405 completed 0",
    )
    .await;
    check(
        app,
        Method::from_bytes(b"FOO").unwrap(),
        "/users/7",
        "_OTHER /users/{id} 405 completed 0",
    )
    .await;
    check(
        app,
        Method::GET,
        "/nothing/here",
        "GET _unmatched_ 404 completed 0",
    )
    .await;
}

#[tokio::test]
async fn a_custom_fallback_has_no_route() {
    fn app(layer: ObserveLayer<Log>) -> Router {
        users()
            .fallback(async || (StatusCode::IM_A_TEAPOT, "short and stout"))
            .layer(layer)
    }
    check(
        app,
        Method::GET,
        "/nothing",
        "GET _unmatched_ 418 completed 15",
    )
    .await;
    check(
        app,
        Method::GET,
        "/users/7",
        "GET /users/{id} 200 completed 1",
    )
    .await;
}

#[tokio::test]
async fn nested_routers() {
    fn outside(layer: ObserveLayer<Log>) -> Router {
        Router::new().nest("/api", users()).layer(layer)
    }
    check(
        outside,
        Method::GET,
        "/api/users/7",
        "GET /api/users/{id} 200 completed 1",
    )
    .await;
    check(
        outside,
        Method::GET,
        "/api/nothing",
        "GET _unmatched_ 404 completed 0",
    )
    .await;
    fn inside(layer: ObserveLayer<Log>) -> Router {
        Router::new().nest("/api", users().layer(layer))
    }
    check(
        inside,
        Method::GET,
        "/api/users/7",
        "GET /api/users/{id} 200 completed 1",
    )
    .await;
}

#[tokio::test]
async fn nested_services() {
    fn inside(layer: ObserveLayer<Log>) -> Router {
        Router::new().nest_service("/api", users().layer(layer))
    }
    check(
        inside,
        Method::GET,
        "/api/users/7",
        "GET /api/users/{id} 200 completed 1",
    )
    .await;
    // From outside the service is opaque, until it leaves its route in the response.
    fn outside(layer: ObserveLayer<Log>) -> Router {
        Router::new().nest_service("/api", users()).layer(layer)
    }
    check(
        outside,
        Method::GET,
        "/api/users/7",
        "GET _unmatched_ 200 completed 1",
    )
    .await;
    fn told(layer: ObserveLayer<Log>) -> Router {
        let files = tower::service_fn(async |_: Request<Body>| {
            let mut response = http::Response::new(Body::from("file"));
            response
                .extensions_mut()
                .insert(crate::Route::from_static("/files/{*path}"));
            Ok::<_, std::convert::Infallible>(response)
        });
        Router::new()
            .nest_service("/files", files)
            .route("/any", any_service(files))
            .layer(layer)
    }
    check(
        told,
        Method::GET,
        "/files/a/b",
        "GET /files/{*path} 200 completed 4",
    )
    .await;
    check(told, Method::GET, "/any", "GET /any 200 completed 4").await;
}

#[tokio::test]
async fn a_layer_around_the_router_sees_no_route() {
    fn app(layer: ObserveLayer<Log>) -> Router {
        Router::new().fallback_service(ServiceBuilder::new().layer(layer).service(users()))
    }
    check(
        app,
        Method::GET,
        "/users/7",
        "GET _unmatched_ 200 completed 1",
    )
    .await;
}

fn panicking() -> Router {
    Router::new().route(
        "/panic",
        get(async || -> &'static str { panic!("handler") }),
    )
}

#[tokio::test]
async fn a_panic_caught_inside_is_a_response() {
    fn app(layer: ObserveLayer<Log>) -> Router {
        panicking().layer(CatchPanicLayer::new()).layer(layer)
    }
    check(app, Method::GET, "/panic", "GET /panic 500 completed 16").await;
}

#[tokio::test]
async fn a_panic_caught_outside_is_a_panic() {
    fn app(layer: ObserveLayer<Log>) -> Router {
        panicking().layer(layer).layer(CatchPanicLayer::new())
    }
    check(app, Method::GET, "/panic", "GET /panic 500 panicked 0").await;
}

/// Returns a layer and the URIs that its observer sees.
fn uris() -> (ObserveLayer<()>, UnboundedReceiver<String>) {
    let (seen, sees) = tokio::sync::mpsc::unbounded_channel();
    let layer = ObserveLayer::builder(()).exclude(move |head| {
        seen.send(head.uri().to_string()).unwrap();
        false
    });
    (layer.build(), sees)
}

#[tokio::test]
async fn the_uri_of_a_nested_router_has_the_prefix() {
    let (layer, mut sees) = uris();
    let users = users().route("/", get(async || "all")).layer(layer);
    let app = Router::new().nest("/api", users);
    for uri in [
        "/api/users/7?q=1",
        "/api/users/7",
        "/api",
        "/api?q=1",
        // As in HTTP/2.
        "http://service.test/api/users/7?q=1",
    ] {
        let request = Request::get(uri).body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap();
        assert_eq!(sees.recv().await.unwrap(), uri);
    }
}

#[tokio::test]
async fn a_request_that_a_handler_forwards_has_its_own_uri() {
    for (received, forwarded) in [
        ("/api/users/7?q=1", "http://backend.test/users/7?q=1"),
        ("/api/users/7", "http://backend.test/api/users/7"),
        ("/api/users/7", "http://backend.test/"),
        (
            "http://service.test/api/users/7",
            "http://backend.test/users/7",
        ),
        ("/api/users/7", "/other/7"),
        ("/api/users/7?q=1", "/users/7?q=2"),
    ] {
        let (layer, mut sees) = uris();
        let client = ServiceBuilder::new()
            .layer(layer)
            .service_fn(async |_: Request<Body>| {
                Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
            });
        let forward = async move |mut request: Request<Body>| {
            *request.uri_mut() = forwarded.parse().unwrap();
            client.oneshot(request).await.unwrap()
        };
        let app = Router::new().nest("/api", Router::new().fallback(forward));
        let request = Request::get(received).body(Body::empty()).unwrap();
        app.oneshot(request).await.unwrap();
        assert_eq!(sees.recv().await.unwrap(), forwarded, "{received}");
    }
}

#[tokio::test]
async fn calls_of_the_health_service_below_a_prefix_are_left_out() {
    let log = Log::default();
    let layer = ObserveLayer::new(log.clone());
    let service = Router::new().fallback(async || "ok").layer(layer);
    let app = Router::new().nest("/grpc", service);
    let request = Request::post("/grpc/grpc.health.v1.Health/Check")
        .header(CONTENT_TYPE, "application/grpc")
        .body(Body::empty())
        .unwrap();
    app.oneshot(request).await.unwrap();
    log.assert(&[]);
}
