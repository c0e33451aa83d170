//! A plain hyper server without axum and the facade, with its own `/metrics`.
//!
//! ```sh
//! cargo run --example hyper
//! ```
//!
//! `CAMPANILE_ADDR` is the address to listen on (127.0.0.1:8000).

#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::convert::Infallible;
use std::time::Duration;

use campanile_correlation::CorrelationIdLayer;
use campanile_http::{ObserveLayer, Route};
use campanile_metrics::export::ScrapeBody;
use campanile_metrics::{HttpMetrics, Registry};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::new();
    let observe = ObserveLayer::builder(HttpMetrics::register(&registry)?)
        // A hand-written router knows its routes.
        .route(|head| match head.uri().path() {
            "/" => Some(Route::from_static("/")),
            "/metrics" => Some(Route::from_static("/metrics")),
            _ => None,
        })
        .exclude(|head| head.uri().path() == "/metrics")
        .build();
    let service = ServiceBuilder::new()
        .layer(CorrelationIdLayer::new())
        .layer(observe)
        .service_fn(move |request: Request<Incoming>| {
            let registry = registry.clone();
            async move { Ok::<_, Infallible>(answer(request, &registry)) }
        });

    let address = std::env::var("CAMPANILE_ADDR").unwrap_or_else(|_| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("CAMPANILE_ADDR={address}: {error}"))?;
    println!("http://{}/metrics", listener.local_addr()?);
    loop {
        // A client that has left, or a lack of file descriptors, must not end the service.
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                println!("failed to accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                println!("a connection ended: {error}");
            }
        });
    }
}

fn answer<B>(request: Request<B>, registry: &Registry) -> Response<ScrapeBody> {
    let (request, _) = request.into_parts();
    match request.uri.path() {
        "/" => Response::new(ScrapeBody::from("hello\n")),
        "/metrics" => registry.respond(&request),
        _ => {
            let mut response = Response::new(ScrapeBody::from("nothing here\n"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}
