//! An orders service with SLOs, alert rules, a webhook, a store and a database check.
//!
//! ```sh
//! cargo run --release --example orders
//! ```
//!
//! | variable | default | sets |
//! |---|---|---|
//! | `CAMPANILE_ADDR` | `127.0.0.1:8000` | the address to listen on |
//! | `CAMPANILE_STORE` | memory | the file that keeps alerts and SLOs across restarts |
//! | `CAMPANILE_TOKENS` | none | tokens with read access, besides the printed token |
//! | `ALERT_WEBHOOK` | the log | the URL that alerts are posted to |
//! | `ERROR_WINDOW` | `1m` | the window of the error rule; with `5s` it fires and resolves while you watch |
//! | `DATABASE_URL` | none | a PostgreSQL that the service needs |

#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use campanile::Campanile;
use campanile::alerts::{Rule, Severity, Webhook};
use campanile::correlation::CorrelationId;
use campanile::health::checks;
use campanile::monitor::{Role, Sources, Token};
use campanile::series::{Now, parse_duration};
use campanile::sla::Slo;
use campanile::telemetry::Writer;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let error_window = variable("ERROR_WINDOW").unwrap_or_else(|| "1m".to_owned());
    let error_window =
        parse_duration(&error_window).map_err(|error| format!("ERROR_WINDOW: {error}"))?;
    let (token, secret) = Token::generate("orders", Role::Admin)?;
    let mut builder = Campanile::builder("orders")
        .from_env()
        .telemetry(|log| log.writer(Writer::stderr()))
        .token(token)
        .evaluation_interval(
            (error_window / 10).clamp(Duration::from_millis(100), Duration::from_secs(5)),
        )
        .slo(Slo::availability("availability", "99.9%").over(30 * DAY))
        .slo(Slo::mean_latency("response_time", Duration::from_millis(200)).over(DAY))
        .slo(Slo::error_rate("error_rate", "1%").over(DAY))
        .slo(Slo::throughput("throughput", 1_000.0).over(DAY / 24))
        .rule(
            Rule::expr("ManyRequestsInFlight", "http_requests_in_flight > 1000")
                .pending_for(Duration::from_secs(30))
                .summary("More than 1,000 requests are in progress."),
        )
        .rules(move |sources| [high_error_rate(sources, error_window)]);
    if let Some(url) = variable("ALERT_WEBHOOK") {
        builder = builder.channel(Webhook::alertmanager("webhook", url));
    }
    if let Some(url) = variable("DATABASE_URL") {
        let check =
            checks::postgres("postgres", &url).map_err(|error| format!("DATABASE_URL: {error}"))?;
        // Without its database the service is not ready. `Group` shows how to leave a check out.
        let check = check.critical().timeout(Duration::from_secs(2));
        builder = builder.check(check.interval(Duration::from_secs(2)));
    }
    let campanile = builder.install()?;
    campanile
        .metrics()
        .describe("orders_created_total", "Orders accepted, by product.");
    let app = Router::new()
        .route("/users/{id}", get(user))
        .route("/orders", post(create_order));
    let app = campanile.wrap(app);

    let address = variable("CAMPANILE_ADDR").unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("CAMPANILE_ADDR={address}: {error}"))?;
    print_welcome(&format!("http://{}", listener.local_addr()?), &secret);
    campanile.serve(listener, app).await?;
    println!("stopped");
    Ok(())
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Fires while more than one request in twenty fails.
fn high_error_rate(sources: &Sources, window: Duration) -> Rule {
    let sla = sources.sla().clone();
    let error_rate = move |now: Now| {
        sla.counts_at(window, now)
            .error_rate()
            .filter(|rate| *rate > 0.05)
    };
    Rule::when("HighErrorRate", error_rate)
        .look_back(window)
        .severity(Severity::High)
        .summary("More than 5 % of the requests failed.")
}

fn print_welcome(url: &str, secret: &str) {
    println!("orders service");
    println!("  {url}/users/7");
    println!("  {url}/orders");
    println!("  {url}/metrics");
    println!("  {url}/health/detailed");
    println!("  {url}/monitoring/sla");
    println!("  {url}/api/v1/monitor/alerts/active");
    println!();
    println!("admin token, until it stops: {secret}");
    println!();
    println!("try");
    println!("  curl -i {url}/users/7");
    println!(
        "  curl -i {url}/orders -H 'content-type: application/json' -d '{{\"product\":\"bell\",\"quantity\":2,\"price\":950}}'"
    );
    println!(
        "  curl -i {url}/orders -H 'content-type: application/json' -d '{{\"product\":\"bell\",\"quantity\":2,\"price\":950,\"fail\":true}}'"
    );
    println!("  curl {url}/metrics");
    println!("  curl -H 'authorization: Bearer {secret}' {url}/monitoring/sla");
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
    /// The price of one item, in cents.
    price: u64,
    /// Requests a failure.
    #[serde(default)]
    fail: bool,
    /// Requests a slow response, by at most 10 s.
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
    campanile::counter!("orders_created_total", "product" => product).increment(1);
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
