//! Two services, one calls the other: all their log lines have the same trace and correlation id.
//!
//! ```sh
//! cargo run --example two_services
//! ```

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use campanile::Campanile;
use campanile::correlation::PropagationLayer;
use campanile::telemetry::Telemetry;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, ServiceExt, service_fn};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let _log = Telemetry::builder("two_services").install()?;

    let stock = Router::new().route(
        "/stock/{item}",
        get(async || {
            tracing::info!(left = 3, "looked up");
            "3"
        }),
    );
    let stock = start("stock", stock).await?;
    let shop = Router::new().route(
        "/items/{item}",
        get(async move || match ask(stock, "/stock/tower").await {
            Ok(left) => format!("{left} left"),
            Err(error) => {
                tracing::error!(error = &*error as &dyn std::error::Error, "no stock");
                "unknown".to_owned()
            }
        }),
    );
    let shop = start("shop", shop).await?;

    // Out of a request nothing goes along: the shop begins the trace.
    let answer = ask(shop, "/items/tower").await?;
    tracing::info!(answer, "asked");
    Ok(())
}

/// Starts a service on a free port.
async fn start(name: &str, app: Router) -> Result<SocketAddr, Error> {
    let campanile = Campanile::builder(name).build()?;
    let app = campanile.wrap(app);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // A server of another library needs the background work beside it.
    tokio::spawn(async move { campanile.run(std::future::pending()).await });
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

/// Asks a service, and takes along what the task carries.
async fn ask(address: SocketAddr, path: &str) -> Result<String, Error> {
    let client = service_fn(move |request| send(address, request));
    let client = PropagationLayer::new().layer(client);
    let request = Request::get(path).header("host", address.to_string());
    let response = client.oneshot(request.body(Empty::new())?).await?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec())?)
}

async fn send(
    address: SocketAddr,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, Error> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    // Its end shows at the sender.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}
