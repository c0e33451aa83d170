//! The metrics of six domains, each a set that is declared as a type, in one service.
//!
//! ```sh
//! cargo run --example metric_sets
//! curl http://127.0.0.1:8000/orders -H 'content-type: application/json' -d '{"currency":"EUR","amount":1299}'
//! curl -X DELETE http://127.0.0.1:8000/cart
//! curl http://127.0.0.1:8000/products/7
//! curl http://127.0.0.1:8000/ask -H 'content-type: application/json' \
//!   -d '{"model":"small","type":"text","operation":"chat","text":"what is a campanile"}'
//! curl http://127.0.0.1:8000/metrics
//! ```
//!
//! `CAMPANILE_ADDR` is the address to listen on (127.0.0.1:8000).

#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Json;
use axum::routing::{delete, get, post};
use campanile::metrics::{RegisterError, Registry};
use campanile::{Campanile, Labels};
use tokio::net::TcpListener;

use crate::agent::Agent;
use crate::ai::Question;
use crate::blockchain::Chain;
use crate::cache::{Cache, CacheType};
use crate::database::Database;
use crate::shop::{Order, ShopMetrics};

mod agent;
mod ai;
mod blockchain;
mod cache;
mod database;
mod shop;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();

    let campanile = Campanile::builder("metric_sets").install()?;
    let service = Service::new(campanile.metrics())?;
    let cardinality = campanile.metrics().cardinality();
    let samples: usize = cardinality
        .iter()
        .map(|of| of.max_series * of.samples)
        .sum();
    tracing::info!(
        metrics = cardinality.len(),
        samples,
        "upper limit of samples"
    );

    let app = Router::new()
        .route("/orders", post(order))
        .route("/cart", delete(leave_cart))
        .route("/products/{id}", get(product))
        .route("/ask", post(ask))
        .with_state(Arc::new(service));
    let app = campanile.wrap(app);

    let address = std::env::var("CAMPANILE_ADDR").unwrap_or_else(|_| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("CAMPANILE_ADDR={address}: {error}"))?;
    println!("http://{}/metrics", listener.local_addr()?);
    campanile.serve(listener, app).await?;
    Ok(())
}

/// What the routes have, each part with its own metrics.
struct Service {
    agent: Agent,
    chain: Chain,
    database: Database,
    memory: Cache,
    shared: Cache,
    shop: ShopMetrics,
}

impl Service {
    /// Registers the metrics of all parts.
    fn new(registry: &Registry) -> Result<Self, RegisterError> {
        Ok(Self {
            agent: Agent::new(registry)?,
            chain: Chain::new(registry)?,
            database: Database::new(registry)?,
            memory: Cache::new(registry, CacheType::Memory, 100)?,
            shared: Cache::new(registry, CacheType::Shared, 1_000)?,
            shop: ShopMetrics::register(registry)?,
        })
    }

    /// Finds the page of a product: in memory, in the shared cache, or in the database.
    async fn page(&self, id: u64) -> Option<String> {
        if let Some(page) = self.memory.get(id).or_else(|| self.shared.get(id)) {
            return Some(page);
        }
        let page = self.database.product(id).await?;
        for cache in [&self.memory, &self.shared] {
            cache.set(id, &page);
        }
        Some(page)
    }
}

/// The routes, as labels.
#[derive(Clone, Copy, Labels)]
enum Endpoint {
    #[label(value = "/orders")]
    Orders,
    #[label(value = "/cart")]
    Cart,
    #[label(value = "/products/{id}")]
    Products,
    #[label(value = "/ask")]
    Ask,
}

async fn order(State(service): State<Arc<Service>>, Json(order): Json<Order>) -> StatusCode {
    let _visit = service.shop.visit(Endpoint::Orders);
    let _user = service.shop.user();
    service.database.insert_order().await;
    let is_paid = service.chain.pay(order.amount).await;
    service.shop.ordered(&order, is_paid);
    if is_paid {
        StatusCode::CREATED
    } else {
        StatusCode::PAYMENT_REQUIRED
    }
}

async fn leave_cart(State(service): State<Arc<Service>>) -> StatusCode {
    let _visit = service.shop.visit(Endpoint::Cart);
    service.shop.cart_left();
    StatusCode::NO_CONTENT
}

async fn product(
    State(service): State<Arc<Service>>,
    Path(id): Path<u64>,
) -> Result<String, StatusCode> {
    let _visit = service.shop.visit(Endpoint::Products);
    let page = service.page(id).await.ok_or(StatusCode::NOT_FOUND)?;
    service.shop.product_viewed(id);
    Ok(page)
}

async fn ask(
    State(service): State<Arc<Service>>,
    Json(question): Json<Question>,
) -> Result<String, (StatusCode, String)> {
    let _visit = service.shop.visit(Endpoint::Ask);
    match service.agent.ask(&question).await {
        Ok(answer) => Ok(answer.text),
        Err(error) => Err((StatusCode::UNPROCESSABLE_ENTITY, error.to_string())),
    }
}
