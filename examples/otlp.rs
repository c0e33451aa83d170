//! A service that exports traces, log and metrics to an OpenTelemetry collector. If it runs twice,
//! one instance calls the other.
//!
//! ```sh
//! export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318
//! OTEL_SERVICE_NAME=stock CAMPANILE_ADDR=127.0.0.1:8001 cargo run --example otlp &
//! OTEL_SERVICE_NAME=shop STOCK=127.0.0.1:8001 cargo run --example otlp &
//! curl http://127.0.0.1:8000/items/tower
//! ```
//!
//! | variable | default | what it is |
//! |---|---|---|
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | none | the collector; without it nothing is exported |
//! | `CAMPANILE_ADDR` | `127.0.0.1:8000` | the address to listen on |
//! | `STOCK` | none | the address of the other service |

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use bytes::Bytes;
use campanile::telemetry::client_span;
use campanile::{Campanile, ClientLayer};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry::global;
use opentelemetry::trace::Tracer;
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, ServiceExt, service_fn};
use tracing::Instrument;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let campanile = Campanile::builder("otlp").from_env().install()?;
    let stock = std::env::var("STOCK").ok();
    let stock: Option<SocketAddr> = stock.map(|address| address.parse()).transpose()?;
    let layer = campanile.client_layer();
    let app = Router::new().route(
        "/items/{item}",
        get(async move |Path(item): Path<String>| {
            let left = match stock {
                Some(stock) => ask(&layer, stock, &item).await,
                None => Ok(look_up(&item).await),
            };
            left.unwrap_or_else(|error| {
                tracing::error!(error = &*error as &dyn std::error::Error, item, "no stock");
                "unknown".to_owned()
            })
        }),
    );
    let address = std::env::var("CAMPANILE_ADDR");
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:8000")).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    campanile.serve(listener, campanile.wrap(app)).await?;
    Ok(())
}

/// Stands for a database.
async fn look_up(item: &str) -> String {
    let looking = async {
        // A library that uses OpenTelemetry's API is in the same trace.
        global::tracer("cache").in_span("GET stock", |_| ());
        tracing::info!(item, left = 3, "looked up");
        "3 left".to_owned()
    };
    let span = client_span("postgresql", "SELECT", "stock");
    looking.instrument(span).await
}

/// Asks the other service, which continues the trace.
async fn ask(layer: &ClientLayer, stock: SocketAddr, item: &str) -> Result<String, Error> {
    let client = layer.layer(service_fn(move |request| send(stock, request)));
    let request = Request::get(format!("http://{stock}/items/{item}"));
    let response = client.oneshot(request.body(Empty::new())?).await?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec())?)
}

async fn send(
    address: SocketAddr,
    mut request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, Error> {
    let host = address.to_string().parse()?;
    request.headers_mut().insert("host", host);
    *request.uri_mut() = request.uri().path().parse()?;
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    // Its end is the sender's error.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}
