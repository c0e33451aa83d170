//! A service that has metrics-exporter-prometheus installed, to which Campanile is added.
//!
//! The service's `metrics` macros and their recorder stay as they are. `/metrics` shows the values
//! of both, and rules read both.
//!
//! ```sh
//! cargo run --example existing_exporter
//! curl -X POST http://127.0.0.1:8000/orders
//! curl http://127.0.0.1:8000/metrics
//! ```
//!
//! | variable | default | what it is |
//! |---|---|---|
//! | `CAMPANILE_ADDR` | `127.0.0.1:8000` | the address to listen on |

#![expect(clippy::print_stdout, reason = "it shows where it listens")]

use axum::Router;
use axum::routing::post;
use campanile::alerts::Rule;
use campanile::metrics::Registry;
use campanile::{Campanile, counter, describe_counter, histogram};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What the service has already.
    let handle = PrometheusBuilder::new()
        .set_buckets(&[1.0, 10.0, 100.0])?
        .install_recorder()?;
    describe_counter!("orders_accepted", "Orders accepted.");

    // What is added. `serve` runs the exporter's upkeep.
    let registry = Registry::builder().beside(handle).build()?;
    let campanile = Campanile::builder("orders")
        .registry(registry)
        .rule(Rule::expr("ManyOrders", "orders_accepted > 1000"))
        .build()?;

    let app = campanile.wrap(Router::new().route("/orders", post(order)));
    let address = std::env::var("CAMPANILE_ADDR");
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:8000")).await?;
    println!("http://{}", listener.local_addr()?);
    campanile.serve(listener, app).await?;
    Ok(())
}

async fn order() -> &'static str {
    counter!("orders_accepted").increment(1);
    histogram!("order_items").record(3.0);
    "accepted\n"
}
