//! The layers on a tower service, with neither axum nor the facade.
//!
//! ```sh
//! cargo run --example layers_only
//! ```

#![expect(clippy::print_stdout, reason = "it shows what the layers did")]

use bytes::Bytes;
use campanile_correlation::{CorrelationId, CorrelationIdLayer};
use campanile_http::ObserveLayer;
use campanile_metrics::{HttpMetrics, Registry};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Service, ServiceBuilder, ServiceExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::new();
    let observe = ObserveLayer::builder(HttpMetrics::register(&registry)?)
        .route(|head| (head.uri().path() == "/hello").then(|| "/hello".into()))
        .build();
    let mut service = ServiceBuilder::new()
        .layer(CorrelationIdLayer::new())
        .layer(observe)
        .service_fn(hello);

    for path in ["/hello", "/hello", "/missing"] {
        let request = Request::get(path)
            .header("x-correlation-id", "example")
            .body(Empty::new())?;
        let response = service.ready().await?.call(request).await?;
        let (status, id) = (
            response.status(),
            response.headers()["x-correlation-id"].clone(),
        );
        let body = response.into_body().collect().await?.to_bytes();
        println!("{path} -> {status}, {id:?}, {body:?}");
    }
    println!("\n{}", registry.render());
    Ok(())
}

async fn hello(request: Request<Empty<Bytes>>) -> Result<Response<Full<Bytes>>, http::Error> {
    let id = CorrelationId::current()
        .map(|id| id.to_string())
        .unwrap_or_default();
    let (status, body) = match request.uri().path() {
        "/hello" => (StatusCode::OK, format!("hello, {id}")),
        _ => (StatusCode::NOT_FOUND, "nothing here".to_owned()),
    };
    Response::builder().status(status).body(Full::from(body))
}
