//! A service that does without what is not needed while its error budget is short.
//!
//! ```sh
//! cargo run --example slo_gate
//! curl -i localhost:8000/search                                   # with recommendations
//! for i in 1 2 3 4 5; do curl -s localhost:8000/broken; done      # half of the requests fail
//! curl -i localhost:8000/search                                   # without, until the budget recovers
//! curl -s localhost:8000/monitoring/sla/search
//! ```
//!
//! | variable | default | sets |
//! |---|---|---|
//! | `CAMPANILE_ADDR` | `127.0.0.1:8000` | where it listens |

#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use campanile::Campanile;
use campanile::monitor::burn_rate_rules;
use campanile::sla::{Slo, SloHandle};
use campanile::telemetry::Writer;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let campanile = Campanile::builder("search")
        .telemetry(|log| log.writer(Writer::stderr()))
        .slo(Slo::availability("search", "99%"))
        // Rings if the budget is used too fast.
        .rules(|sources| burn_rate_rules(sources.sla()))
        .evaluation_interval(Duration::from_millis(100))
        .install()?;
    let slo = campanile.slo("search")?;
    let app = Router::new()
        .route("/search", get(search))
        .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .with_state(slo);
    let app = campanile.wrap(app);

    let address = std::env::var("CAMPANILE_ADDR").unwrap_or_else(|_| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("CAMPANILE_ADDR={address}: {error}"))?;
    println!("http://{}", listener.local_addr()?);
    campanile.serve(listener, app).await?;
    Ok(())
}

/// Reads a few atomics, and so may ask at each request.
async fn search(State(slo): State<SloHandle>) -> &'static str {
    if slo.budget_remaining() < 0.1 {
        return "three results\n";
    }
    "three results, and what others looked for\n"
}
