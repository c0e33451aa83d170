//! The smallest service: ids, metrics, health, SLOs, alerts and a log for an axum router.
//!
//! ```sh
//! cargo run --release --example quickstart
//! curl -i http://127.0.0.1:8000/users/7
//! curl http://127.0.0.1:8000/metrics
//! curl http://127.0.0.1:8000/health
//! curl http://127.0.0.1:8000/monitoring/sla
//! ```

use axum::{Router, extract::Path, routing::get};
use campanile::Campanile;
use tokio::net::TcpListener;

async fn user(Path(id): Path<u64>) -> String {
    format!("user {id}\n")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let campanile = Campanile::builder("quickstart").install()?;
    let app = Router::new().route("/users/{id}", get(user));
    let listener = TcpListener::bind("127.0.0.1:8000").await?;
    campanile.serve(listener, campanile.wrap(app)).await?;
    Ok(())
}
