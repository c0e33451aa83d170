//! An orders service that is observed.
//!
//! ```sh
//! cargo run --release --example quickstart
//! ```
//!
//! `CAMPANILE_ADDR` is the address to listen on (127.0.0.1:8000).

#![expect(clippy::print_stdout, reason = "it talks to whoever started it")]

use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use campanile::Campanile;
use campanile::correlation::CorrelationId;
use campanile::metrics::metrics;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();

    let campanile = Campanile::builder("orders").install()?;
    campanile
        .metrics()
        .describe("orders_created_total", "Orders accepted, by product.");
    let app = Router::new()
        .route("/users/{id}", get(user))
        .route("/orders", post(create_order));
    let app = campanile.wrap(app);

    let address = std::env::var("CAMPANILE_ADDR").unwrap_or_else(|_| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("CAMPANILE_ADDR={address}: {error}"))?;
    print_welcome(&format!("http://{}", listener.local_addr()?));
    campanile.serve(listener, app).await?;
    println!("stopped");
    Ok(())
}

fn print_welcome(url: &str) {
    println!("orders service");
    println!("  {url}/users/7");
    println!("  {url}/orders");
    println!("  {url}/metrics");
    println!("  {url}/health/detailed");
    println!();
    println!("try");
    println!("  curl -i {url}/users/7");
    println!(
        "  curl -i {url}/orders -H 'content-type: application/json' -d '{{\"product\":\"bell\",\"quantity\":2,\"price\":950}}'"
    );
    println!("  curl {url}/metrics");
    println!();
}

#[derive(Serialize)]
struct User {
    id: u64,
    name: &'static str,
    correlation_id: String,
}

async fn user(
    Path(id): Path<u64>,
    correlation_id: CorrelationId,
) -> Result<Json<User>, OrderError> {
    let names = [
        "Ada", "Grace", "Edsger", "Barbara", "Donald", "Frances", "Tony", "Radia", "Alan", "Hedy",
    ];
    let name = usize::try_from(id)
        .ok()
        .and_then(|id| names.get(id))
        .ok_or(OrderError::UnknownUser(id))?;
    Ok(Json(User {
        id,
        name,
        correlation_id: correlation_id.to_string(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    product: String,
    quantity: u32,
    /// For one piece, in cents.
    price: u64,
    /// Asks for a failure.
    #[serde(default)]
    fail: bool,
    /// Asks for a slow answer, by at most 10 s.
    #[serde(default)]
    delay_ms: u64,
}

#[derive(Serialize)]
struct Receipt {
    product: &'static str,
    quantity: u32,
    total: u64,
}

const PRODUCTS: [&str; 3] = ["bell", "clapper", "rope"];

async fn create_order(
    order: Result<Json<Order>, JsonRejection>,
) -> Result<(StatusCode, Json<Receipt>), OrderError> {
    let Json(order) = order?;
    tokio::time::sleep(Duration::from_millis(order.delay_ms.min(10_000))).await;
    if order.fail {
        return Err(OrderError::Failed);
    }
    if order.quantity == 0 {
        return Err(OrderError::NoQuantity);
    }
    // A label takes the name from the list, not from the client.
    let product = PRODUCTS
        .into_iter()
        .find(|product| *product == order.product);
    let product = product.ok_or(OrderError::UnknownProduct)?;
    let total = order
        .price
        .checked_mul(order.quantity.into())
        .ok_or(OrderError::TooMuch)?;
    metrics::counter!("orders_created_total", "product" => product).increment(1);
    Ok((
        StatusCode::CREATED,
        Json(Receipt {
            product,
            quantity: order.quantity,
            total,
        }),
    ))
}

enum OrderError {
    BadJson(JsonRejection),
    Failed,
    NoQuantity,
    TooMuch,
    UnknownProduct,
    UnknownUser(u64),
}

impl From<JsonRejection> for OrderError {
    fn from(rejection: JsonRejection) -> Self {
        Self::BadJson(rejection)
    }
}

impl IntoResponse for OrderError {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::BadJson(rejection) => (rejection.status(), rejection.body_text()),
            Self::Failed => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the order asked to fail".to_owned(),
            ),
            Self::NoQuantity => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "`quantity` is 0: order at least 1".to_owned(),
            ),
            Self::TooMuch => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "`price` times `quantity` is too large".to_owned(),
            ),
            Self::UnknownProduct => (
                StatusCode::NOT_FOUND,
                format!("`product` is none of {}", PRODUCTS.join(", ")),
            ),
            Self::UnknownUser(id) => (
                StatusCode::NOT_FOUND,
                format!("there is no user {id}: try 0 to 9"),
            ),
        };
        (status, Json(Problem { error })).into_response()
    }
}

#[derive(Serialize)]
struct Problem {
    error: String,
}
