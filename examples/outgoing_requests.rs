//! A service that calls two others, with reqwest and with the client of hyper-util. Both clients
//! have the same layer: ids in the headers, spans, metrics, and a health check that follows the
//! outcomes.
//!
//! ```sh
//! cargo run --example outgoing_requests
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use bytes::Bytes;
use campanile::health::PassiveCheck;
use campanile::http::Route;
use campanile::{Campanile, ClientLayer};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The clients of the shop.
#[derive(Clone)]
struct Clients {
    stock: Stock,
    payments: Payments,
}

/// Calls the stock with hyper-util.
#[derive(Clone)]
struct Stock {
    client: StockClient,
    address: SocketAddr,
}

type StockClient = <ClientLayer as Layer<Client<HttpConnector, Empty<Bytes>>>>::Service;

impl Stock {
    fn new(campanile: &Campanile, address: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            client: campanile.client_layer().layer(client),
            address,
        }
    }

    async fn left(&self, item: &str) -> Result<String, Error> {
        let url = format!("http://{}/items/{item}", self.address);
        // The template is a label; the path is not.
        let request = Request::get(url).extension(Route::from_static("/items/{item}"));
        let request = request.body(Empty::new())?;
        let response = self.client.clone().oneshot(request).await?;
        let body = response.into_body().collect().await?.to_bytes();
        Ok(String::from_utf8(body.to_vec())?)
    }
}

/// Calls the payments with reqwest.
#[derive(Clone)]
struct Payments {
    client: ClientWithMiddleware,
    address: SocketAddr,
}

impl Payments {
    fn new(layer: ClientLayer, address: SocketAddr) -> Result<Self, Error> {
        // A timeout of reqwest is inside of the layer, and so an error of the service that is called.
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2));
        Ok(Self {
            client: ClientBuilder::new(client.build()?).with(layer).build(),
            address,
        })
    }

    async fn charge(&self, item: &str) -> Result<StatusCode, Error> {
        let url = format!("http://{}/charges/{item}", self.address);
        let request = self.client.post(url);
        let request = request.with_extension(Route::from_static("/charges/{item}"));
        Ok(request.send().await?.status())
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let payments = PassiveCheck::new();
    // The probe is called while there are fewer than five requests in a minute.
    let probe = || async { Ok::<_, std::io::Error>(()) };
    let check = payments.check("payments", probe).critical();
    let campanile = Campanile::builder("shop")
        .check(check.interval(Duration::from_millis(100)))
        .install()?;

    let stock = Router::new().route("/items/{item}", get(async || "3"));
    let stock = start("stock", stock).await?;
    let charge = post(async |Path(item): Path<String>| match &*item {
        "tower" => StatusCode::CREATED,
        _ => StatusCode::BAD_GATEWAY,
    });
    let bank = start("payments", Router::new().route("/charges/{item}", charge)).await?;

    let layer = campanile.client_layer().check(&payments);
    let clients = Clients {
        stock: Stock::new(&campanile, stock),
        payments: Payments::new(layer, bank)?,
    };
    let shop = Router::new().route("/orders/{item}", post(order));
    let app = campanile.wrap(shop.with_state(clients));
    let working = campanile.clone();
    tokio::spawn(async move { working.run(std::future::pending()).await });

    for item in ["tower", "bell", "bell", "bell", "bell", "bell"] {
        let request = Request::post(format!("/orders/{item}")).body(axum::body::Body::empty())?;
        app.clone().oneshot(request).await?;
    }
    while campanile.health().report().status != campanile::health::Status::Unhealthy {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tracing::warn!("the payments fail, and so the shop is not ready");
    let page = campanile.metrics().render();
    let name = "http_client_request_duration_seconds_count";
    for sample in page.lines().filter(|line| line.starts_with(name)) {
        tracing::info!(sample, "counted");
    }
    Ok(())
}

/// Orders an item that is left.
async fn order(State(clients): State<Clients>, Path(item): Path<String>) -> StatusCode {
    let ordered = async {
        let left = clients.stock.left(&item).await?;
        tracing::info!(left, "looked up");
        clients.payments.charge(&item).await
    };
    ordered.await.unwrap_or_else(|error: Error| {
        tracing::error!(error = &*error as &dyn std::error::Error, "no order");
        StatusCode::BAD_GATEWAY
    })
}

/// Starts one of the services that are called.
async fn start(name: &str, app: Router) -> Result<SocketAddr, Error> {
    let campanile = Campanile::builder(name).build()?;
    let app = campanile.wrap(app);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { campanile.run(std::future::pending()).await });
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}
